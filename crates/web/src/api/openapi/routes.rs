//! What there is to ask.

use serde_json::Value;

use super::schema::{
    alert, alert_history, backtest, blocks, boolean, dead_rules, integer, list, map, number, object, query,
    relabel_steps, rules, runtime, self_metrics, string, targets, tsdb,
};

/// One address.
pub(super) struct Route {
    pub path: &'static str,
    pub methods: &'static [&'static str],
    pub summary: &'static str,
    /// Names; one that must be given ends in `!`, one that may come several times in `[]`.
    pub params: &'static [&'static str],
    pub data: Data,
}

/// What is answered where all is well.
pub(super) enum Data {
    /// Prometheus's envelope with this as its `data`.
    Envelope(fn() -> Value),
    /// JSON without it.
    Json(fn() -> Value),
    /// Text of this type.
    Text(&'static str),
    /// No content, with the status 200.
    Done,
    /// No content.
    Nothing,
}

use Data::{Envelope, Json, Nothing, Text};

const GET: &[&str] = &["GET"];
const GET_POST: &[&str] = &["GET", "POST"];
const POST: &[&str] = &["POST"];
const DELETE: &[&str] = &["DELETE"];
const CHANGE: &[&str] = &["POST", "PUT"];
const PLAIN: &str = "text/plain";

macro_rules! routes {
    ($($methods:ident $path:literal [$($param:literal),*] $data:expr, $summary:literal;)*) => {
        &[$(Route { path: $path, methods: $methods, summary: $summary, params: &[$($param),*], data: $data }),*]
    };
}

pub(super) const ROUTES: &[Route] = routes! {
    GET_POST "/api/v1/query" ["query!", "time", "timeout", "limit", "lookback_delta", "stats", "max_source_resolution"]
        Envelope(query), "The value of an expression at one time. max_source_resolution is ours.";
    GET_POST "/api/v1/query_range"
        ["query!", "start!", "end!", "step!", "timeout", "limit", "lookback_delta", "stats", "max_source_resolution"]
        Envelope(query), "The values of an expression at every step of a range of time.";
    GET_POST "/api/v1/query_exemplars" ["query!", "start", "end"] Envelope(exemplars), "Exemplars of the series an expression names.";
    GET_POST "/api/v1/format_query" ["query!"] Envelope(string), "The expression over several lines.";
    GET_POST "/api/v1/parse_query" ["query!"] Envelope(anything), "The expression as a tree.";
    GET_POST "/api/v1/series" ["match[]!", "start", "end", "limit"] Envelope(label_sets), "The label sets that match.";
    GET_POST "/api/v1/labels" ["match[]", "start", "end", "limit"] Envelope(strings), "The label names that occur.";
    GET "/api/v1/label/{name}/values" ["match[]", "start", "end", "limit"] Envelope(strings), "The values that a label has.";
    GET "/api/v1/targets" ["state", "scrapePool"] Envelope(targets), "What is scraped and what relabelling dropped.";
    GET "/api/v1/metadata" ["limit", "limit_per_metric", "metric"] Envelope(metadata), "What is said about metric families.";
    GET "/api/v1/targets/metadata" ["match_target", "metric", "limit"] Envelope(targets_metadata),
        "What each target says about its metric families.";
    GET "/api/v1/targets/relabel_steps" ["scrapePool!", "labels!"] Envelope(relabel_steps),
        "What each step of relabelling does to labels.";
    GET "/api/v1/scrape_pools" [] Envelope(pools), "The names of all scrape pools.";
    GET "/api/v1/alertmanagers" [] Envelope(alertmanagers), "Where alerts are sent.";
    GET "/api/v1/rules"
        ["type", "rule_name[]", "rule_group[]", "file[]", "match[]", "exclude_alerts", "group_limit", "group_next_token"]
        Envelope(rules), "Rules by group, and the alerts they give.";
    GET_POST "/api/v1/rules/backtest"
        ["start!", "end!", "rules", "interval", "rule_name[]", "notifications", "alertmanager_config"] Envelope(backtest),
        "What rules, those of a text or those that are loaded, would have done. Ours.";
    GET "/api/v1/rules/dead" [] Envelope(dead_rules),
        "Rules whose selectors match no series, and what may be wrong with them. Ours.";
    GET "/api/v1/alerts" [] Envelope(alerts), "All pending and firing alerts.";
    GET "/api/v1/alerts/history" ["match[]", "start", "end", "limit", "format"] Envelope(alert_history),
        "What happened to alerts until they were sent, newest first; with format=jsonl one line each, oldest first. Ours.";
    GET "/api/v1/status/config" [] Envelope(yaml), "The configuration in force, secrets hidden.";
    GET "/api/v1/status/flags" [] Envelope(texts), "The flags in force.";
    GET "/api/v1/status/runtimeinfo" [] Envelope(runtime), "What the process is about.";
    GET "/api/v1/status/buildinfo" [] Envelope(build), "Which version this is.";
    GET "/api/v1/status/tsdb" ["limit"] Envelope(tsdb), "Figures of the head and who takes most of it.";
    GET "/api/v1/status/tsdb/blocks" [] Envelope(blocks), "The blocks on the disk.";
    GET "/api/v1/status/walreplay" [] Envelope(replay), "How far the log is read. done is ours.";
    GET "/api/v1/status/self_metrics" ["metric_name_pattern"] Envelope(self_metrics), "The server's own metrics.";
    GET "/api/v1/status/discovery" [] Envelope(discovery), "How the providers of service discovery fare. Ours.";
    GET "/api/v1/features" [] Envelope(features), "What the server can do.";
    GET "/api/v1/notifications" [] Envelope(notifications), "What is to be known of the server now.";
    GET "/api/v1/notifications/live" [] Text("text/event-stream"), "The same as it happens. 204 where too many listen.";
    GET "/api/v1/openapi.yaml" [] Text("application/yaml"), "This document.";
    CHANGE "/api/v1/admin/tsdb/delete_series" ["match[]!", "start", "end"] Nothing, "Deletes samples of the series that match.";
    CHANGE "/api/v1/admin/tsdb/clean_tombstones" [] Nothing, "Removes from the disk what was deleted.";
    CHANGE "/api/v1/admin/tsdb/snapshot" ["skip_head"] Envelope(snapshot), "Makes a snapshot of all data.";
    POST "/api/v1/write" [] Nothing, "Takes remote write, 1.0 and 2.0.";
    POST "/api/v1/read" [] Text("application/x-protobuf"), "Answers remote read, with samples or a stream of chunks.";
    POST "/api/v1/otlp/v1/metrics" [] Nothing, "Takes the metrics of OpenTelemetry.";
    GET "/federate" ["match[]"] Text(PLAIN), "The newest samples of the series that match, for another server.";
    GET "/metrics" [] Text(PLAIN), "The server's own metrics.";
    GET "/metrics/node" [] Text(PLAIN), "The host's metrics, where they are collected. Ours.";
    GET "/version" [] Json(build), "Which version this is.";
    GET "/api/v2/notifications" ["filter[]", "receiver", "outcome", "limit"] Json(told),
        "What the Alertmanager inside has sent, the latest first, each attempt. Ours.";
    GET "/api/v2/acknowledgements" [] Json(acknowledgements), "Which alerts somebody looks after. Ours.";
    POST "/api/v2/acknowledgements" [] Json(acknowledgement),
        "Acknowledges an alert that fires: fingerprint, by, note, endsAt. It is not repeated then. Ours.";
    DELETE "/api/v2/acknowledgement/{id}" ["by"] Nothing, "Takes the acknowledgement of a fingerprint back. Ours.";
    GET "/api/v2/recurring-silences" [] Json(recurring_silences), "Silences that come back every week. Ours.";
    POST "/api/v2/recurring-silences" [] Json(recurring_silence),
        "Makes one, or changes that of id: matchers, days, from, to, timeZone, startsAt, endsAt, createdBy, comment. Ours.";
    DELETE "/api/v2/recurring-silence/{id}" [] Nothing, "Deletes a recurring silence and ends its silences. Ours.";
    POST "/api/v2/silences/preview" [] Json(preview), "What a silence of these matchers would mute now. Ours.";
};

fn told() -> Value {
    let alert = object(&[("fingerprint", string()), ("labels", map(string()))]);
    list(object(&[
        ("at", string()),
        ("receiver", string()),
        ("integration", string()),
        ("groupKey", string()),
        ("reason", string()),
        ("outcome", string()),
        ("error", string()),
        ("answer", string()),
        ("attempts", integer()),
        ("firing", integer()),
        ("resolved", integer()),
        ("alerts", list(alert)),
    ]))
}

fn acknowledgements() -> Value {
    list(acknowledgement())
}

fn acknowledgement() -> Value {
    object(&[
        ("fingerprint", string()),
        ("labels", map(string())),
        ("by", string()),
        ("note", string()),
        ("at", string()),
        ("endsAt?", string()),
    ])
}

fn recurring_silences() -> Value {
    list(recurring_silence())
}

fn recurring_silence() -> Value {
    let window = object(&[("startsAt", string()), ("endsAt", string())]);
    object(&[
        ("id", string()),
        ("comment", string()),
        ("createdBy", string()),
        ("days", strings()),
        ("from", string()),
        ("to", string()),
        ("timeZone", string()),
        ("startsAt", string()),
        ("endsAt", string()),
        ("updatedAt", string()),
        ("matchers", list(anything())),
        ("next", list(window)),
    ])
}

fn preview() -> Value {
    let reach = object(&[
        ("matched", integer()),
        ("matchesAbsent", boolean()),
        ("matcher", string()),
    ]);
    object(&[
        ("firing", integer()),
        ("muted", integer()),
        ("firedLately", integer()),
        ("alerts", list(anything())),
        ("matchers", list(reach)),
        ("warnings", strings()),
    ])
}

fn anything() -> Value {
    Value::Bool(true)
}

fn strings() -> Value {
    list(string())
}

fn texts() -> Value {
    map(string())
}

fn label_sets() -> Value {
    list(map(string()))
}

fn exemplars() -> Value {
    let exemplar = object(&[("labels", map(string())), ("value", string()), ("timestamp", number())]);
    list(object(&[
        ("seriesLabels", map(string())),
        ("exemplars", list(exemplar)),
    ]))
}

fn metadata() -> Value {
    map(list(object(&[
        ("type", string()),
        ("help", string()),
        ("unit", string()),
    ])))
}

fn targets_metadata() -> Value {
    list(object(&[
        ("target", map(string())),
        ("metric?", string()),
        ("type", string()),
        ("help", string()),
        ("unit", string()),
    ]))
}

fn pools() -> Value {
    object(&[("scrapePools", list(string()))])
}

fn alertmanagers() -> Value {
    let url = || list(object(&[("url", string())]));
    object(&[("activeAlertmanagers", url()), ("droppedAlertmanagers", url())])
}

fn discovery() -> Value {
    let provider = object(&[
        ("manager", string()),
        ("mechanism", string()),
        ("place", string()),
        ("lastError", string()),
        ("configs", strings()),
        ("groups", integer()),
        ("targets", integer()),
        ("failures", integer()),
        ("lastRefresh", string()),
    ]);
    object(&[("providers", list(provider))])
}

fn alerts() -> Value {
    object(&[("alerts", list(alert()))])
}

fn yaml() -> Value {
    object(&[("yaml", string())])
}

fn build() -> Value {
    object(&["version", "revision", "branch", "buildUser", "buildDate", "goVersion"].map(|name| (name, string())))
}

fn replay() -> Value {
    object(&[
        ("min", integer()),
        ("max", integer()),
        ("current", integer()),
        ("done", boolean()),
    ])
}

fn features() -> Value {
    map(map(boolean()))
}

fn notifications() -> Value {
    list(object(&[
        ("text", string()),
        ("date", string()),
        ("detail?", string()),
        ("active", boolean()),
    ]))
}

fn snapshot() -> Value {
    object(&[("name", string())])
}
