//! The shapes of answers, as JSON schemas.

use serde_json::{Map, Value, json};

pub(super) fn string() -> Value {
    json!({ "type": "string" })
}

pub(super) fn number() -> Value {
    json!({ "type": "number" })
}

pub(super) fn integer() -> Value {
    json!({ "type": "integer" })
}

pub(super) fn boolean() -> Value {
    json!({ "type": "boolean" })
}

pub(super) fn one_of(texts: &[&str]) -> Value {
    json!({ "type": "string", "enum": texts })
}

pub(super) fn list(items: Value) -> Value {
    json!({ "type": "array", "items": items })
}

pub(super) fn map(values: Value) -> Value {
    json!({ "type": "object", "additionalProperties": values })
}

/// `{name: value}`.
pub(super) fn labelled(name: &str, value: Value) -> Value {
    Value::Object(Map::from_iter([(name.to_owned(), value)]))
}

/// An object with exactly these fields; one whose name ends in `?` may be absent.
pub(super) fn object(fields: &[(&str, Value)]) -> Value {
    let mut properties = Map::new();
    let mut required = Vec::new();
    for (name, schema) in fields {
        let plain = name.trim_end_matches('?');
        properties.insert(plain.to_owned(), schema.clone());
        if plain == *name {
            required.push(plain);
        }
    }
    json!({ "type": "object", "properties": properties, "required": required, "additionalProperties": false })
}

/// A refusal.
pub(super) fn error() -> Value {
    object(&[
        ("status", json!({ "const": "error" })),
        (
            "errorType",
            one_of(&[
                "bad_data",
                "execution",
                "canceled",
                "timeout",
                "internal",
                "not_found",
                "unavailable",
            ]),
        ),
        ("error", string()),
    ])
}

// Seconds since the epoch, and a value.
fn point(value: Value) -> Value {
    json!({ "type": "array", "prefixItems": [number(), value], "minItems": 2, "maxItems": 2 })
}

fn histogram() -> Value {
    let bucket = json!({ "type": "array", "prefixItems": [integer(), string(), string(), string()] });
    object(&[("count", string()), ("sum", string()), ("buckets?", list(bucket))])
}

/// The answer to a query.
pub(super) fn query() -> Value {
    let timings = [
        "evalTotalTime",
        "resultSortTime",
        "queryPreparationTime",
        "innerEvalTime",
        "execQueueTime",
        "execTotalTime",
    ]
    .map(|name| (name, number()));
    let samples = object(&[
        ("totalQueryableSamplesPerStep?", list(point(integer()))),
        ("totalQueryableSamples", integer()),
        ("peakSamples", integer()),
        ("samplesRead?", integer()),
        ("samplesReadPerStep?", list(point(integer()))),
    ]);
    let stats = object(&[("timings", object(&timings)), ("samples", samples)]);
    let row = |one: &str, value: Value, other: &str, histogram: Value| {
        list(object(&[("metric", map(string())), (one, value), (other, histogram)]))
    };
    let vector = row("value?", point(string()), "histogram?", point(histogram()));
    let matrix = row(
        "values?",
        list(point(string())),
        "histograms?",
        list(point(histogram())),
    );
    let kinds = [
        ("vector", vector),
        ("matrix", matrix),
        ("scalar", point(string())),
        ("string", point(string())),
    ];
    let kinds = kinds.map(|(kind, result)| {
        object(&[
            ("resultType", json!({ "const": kind })),
            ("result", result),
            ("stats?", stats.clone()),
        ])
    });
    json!({ "oneOf": kinds })
}

/// The answer to `targets`.
pub(super) fn targets() -> Value {
    let active = object(&[
        ("discoveredLabels", map(string())),
        ("labels", map(string())),
        ("scrapePool", string()),
        ("scrapeUrl", string()),
        ("globalUrl", string()),
        ("lastError", string()),
        ("lastScrape", string()),
        ("lastScrapeDuration", number()),
        ("health", one_of(&["up", "down", "unknown"])),
        ("scrapeInterval", string()),
        ("scrapeTimeout", string()),
    ]);
    let dropped = object(&[("discoveredLabels", map(string())), ("scrapePool", string())]);
    let counts = json!({ "type": ["object", "null"], "additionalProperties": integer() });
    object(&[
        ("activeTargets", list(active)),
        ("droppedTargets", list(dropped)),
        ("droppedTargetCounts", counts),
    ])
}

pub(super) fn alert() -> Value {
    object(&[
        ("labels", map(string())),
        ("annotations", map(string())),
        ("state", one_of(&["pending", "firing", "inactive"])),
        ("activeAt", string()),
        ("keepFiringSince?", string()),
        ("value", string()),
    ])
}

/// The answer to `alerts/history`.
pub(super) fn alert_history() -> Value {
    let events = [
        "pending",
        "firing",
        "kept",
        "given",
        "resolved",
        "ended",
        "restored",
        "forgotten",
        "sent",
        "sendFailed",
        "dropped",
        "lost",
        "nobody",
    ];
    let rule = object(&[
        ("file", string()),
        ("group", string()),
        ("name", string()),
        ("query", string()),
    ]);
    let event = object(&[
        ("at", number()),
        ("fingerprint", string()),
        ("labels", map(string())),
        ("rule?", rule),
        ("event", one_of(&events)),
        ("value?", string()),
        ("since?", number()),
        ("error?", string()),
        ("alertmanager?", string()),
        ("resolved?", boolean()),
        ("sentAs?", string()),
    ]);
    object(&[("events", list(event))])
}

/// The answer to `rules/dead`.
pub(super) fn dead_rules() -> Value {
    let selector = object(&[
        ("selector", string()),
        ("reason", string()),
        ("label?", string()),
        ("nearest?", string()),
    ]);
    let rule = object(&[
        ("file", string()),
        ("group", string()),
        ("name", string()),
        ("type", one_of(&["alerting", "recording"])),
        ("query", string()),
        ("dead", boolean()),
        ("selectors", list(selector)),
    ]);
    object(&[("rules", list(rule))])
}

/// The answer to `rules/backtest`.
pub(super) fn backtest() -> Value {
    let failure = object(&[("time", number()), ("error", string())]);
    let life = object(&[
        ("labels", map(string())),
        ("activeAt", number()),
        ("firedAt?", number()),
        ("endedAt?", number()),
        ("value", string()),
    ]);
    let common = [
        ("file", string()),
        ("group", string()),
        ("name", string()),
        ("query", string()),
        ("labels", map(string())),
        ("evaluations", integer()),
        ("failures", integer()),
        ("firstFailure?", failure),
    ];
    let rule = |own: &[(&str, Value)]| {
        let fields: Vec<_> = common.iter().chain(own).cloned().collect();
        object(&fields)
    };
    let recording = rule(&[
        ("type", json!({ "const": "recording" })),
        ("series", integer()),
        ("samples", integer()),
    ]);
    let alerting = rule(&[
        ("type", json!({ "const": "alerting" })),
        ("duration", number()),
        ("keepFiringFor", number()),
        ("fired", integer()),
        ("pendingOnly", integer()),
        ("firingSeconds", number()),
        ("longestSeconds", number()),
        ("alerts", list(life)),
    ]);
    let rules = list(json!({ "oneOf": [recording, alerting] }));
    let integration = object(&[
        ("receiver", string()),
        ("integration", string()),
        ("messages", integer()),
        ("reasons", map(integer())),
    ]);
    let group = object(&[("receiver", string()), ("groupKey", string()), ("messages", integer())]);
    let notifications = object(&[
        ("messages", integer()),
        ("integrations", list(integration)),
        ("groups", integer()),
        ("neverTold", integer()),
        ("keptQuiet", integer()),
        ("busiestGroups", list(group)),
    ]);
    object(&[
        ("start", number()),
        ("end", number()),
        ("rules", rules),
        ("notifications?", notifications),
    ])
}

/// The answer to `rules`.
pub(super) fn rules() -> Value {
    let common = [
        ("name", string()),
        ("query", string()),
        ("labels", map(string())),
        ("health", one_of(&["ok", "err", "unknown"])),
        ("lastError?", string()),
        ("evaluationTime", number()),
        ("lastEvaluation", string()),
    ];
    let rule = |own: &[(&str, Value)]| {
        let fields: Vec<_> = common.iter().chain(own).cloned().collect();
        object(&fields)
    };
    let alerting = rule(&[
        ("state", one_of(&["inactive", "pending", "firing", "unknown"])),
        ("duration", number()),
        ("keepFiringFor", number()),
        ("annotations", map(string())),
        ("alerts", list(alert())),
        ("type", json!({ "const": "alerting" })),
    ]);
    let recording = rule(&[("type", json!({ "const": "recording" }))]);
    let group = object(&[
        ("name", string()),
        ("file", string()),
        ("rules", list(json!({ "oneOf": [alerting, recording] }))),
        ("interval", number()),
        ("limit", integer()),
        ("evaluationTime", number()),
        ("lastEvaluation", string()),
    ]);
    object(&[("groups", list(group)), ("groupNextToken?", string())])
}

/// The answer to `status/tsdb`; what begins with `seriesCountByJob` is ours.
pub(super) fn tsdb() -> Value {
    let counts = || list(object(&[("name", string()), ("value", integer())]));
    let refused = object(&[
        ("limit", one_of(&["total", "metric", "job"])),
        ("most", integer()),
        ("name", string()),
        ("value", integer()),
        ("firstTime", integer()),
        ("lastTime", integer()),
        ("example", map(string())),
    ]);
    object(&[
        (
            "headStats",
            object(&["numSeries", "numLabelPairs", "chunkCount", "minTime", "maxTime"].map(|name| (name, integer()))),
        ),
        ("seriesCountByMetricName", counts()),
        ("labelValueCountByLabelName", counts()),
        ("memoryInBytesByLabelName", counts()),
        ("seriesCountByLabelValuePair", counts()),
        ("seriesCountByJob", counts()),
        ("newSeriesByMetricName", counts()),
        ("newSeriesByJob", counts()),
        ("refusedSeries", list(refused)),
        (
            "seriesLimits",
            object(&["total", "metric", "job"].map(|name| (name, integer()))),
        ),
        (
            "storage",
            object(&[
                ("logBytes", integer()),
                ("blockBytes", integer()),
                ("memoryBytes", number()),
                ("retention", string()),
            ]),
        ),
    ])
}

/// The answer to `status/tsdb/blocks`; `bytes` is ours.
pub(super) fn blocks() -> Value {
    let block = object(&[
        ("ulid", string()),
        ("minTime", integer()),
        ("maxTime", integer()),
        ("stats", object(&[("numSamples", integer()), ("numSeries", integer())])),
        ("compaction", object(&[("level", integer())])),
        ("version", integer()),
        ("bytes", integer()),
    ]);
    object(&[("blocks", list(block))])
}

/// The answer to `status/runtimeinfo`.
pub(super) fn runtime() -> Value {
    object(&[
        ("startTime", string()),
        ("CWD", string()),
        ("hostname", string()),
        ("serverTime", string()),
        ("reloadConfigSuccess", boolean()),
        ("lastConfigTime", string()),
        ("corruptionCount", integer()),
        ("goroutineCount", integer()),
        ("GOMAXPROCS", integer()),
        ("GOMEMLIMIT", integer()),
        ("GOGC", string()),
        ("GODEBUG", string()),
        ("storageRetention", string()),
    ])
}

/// The answer to `status/self_metrics`: protocol buffers as JSON.
pub(super) fn self_metrics() -> Value {
    // A number, or `NaN`, `Infinity`, `-Infinity` as a text.
    let double = || json!({ "type": ["number", "string"] });
    let value = || object(&[("value", double())]);
    let bucket = object(&[("cumulativeCount", string()), ("upperBound", double())]);
    let quantile = object(&[("quantile", double()), ("value", double())]);
    let metric = object(&[
        ("label", list(object(&[("name", string()), ("value", string())]))),
        ("counter?", value()),
        ("gauge?", value()),
        (
            "histogram?",
            object(&[
                ("sampleCount", string()),
                ("sampleSum", double()),
                ("bucket", list(bucket)),
            ]),
        ),
        (
            "summary?",
            object(&[
                ("sampleCount", string()),
                ("sampleSum", double()),
                ("quantile", list(quantile)),
            ]),
        ),
    ]);
    list(object(&[
        ("name", string()),
        ("help", string()),
        ("type", one_of(&["COUNTER", "GAUGE", "HISTOGRAM", "SUMMARY"])),
        ("metric", list(metric)),
    ]))
}

/// The answer to `targets/relabel_steps`.
pub(super) fn relabel_steps() -> Value {
    let rule = object(&[
        ("sourceLabels?", list(string())),
        ("separator?", string()),
        ("regex?", string()),
        ("modulus?", integer()),
        ("targetLabel?", string()),
        ("replacement?", string()),
        ("action", string()),
    ]);
    let step = object(&[("rule", rule), ("output", map(string())), ("keep", boolean())]);
    object(&[("steps", list(step))])
}
