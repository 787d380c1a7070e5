//! Alertmanager's API v2 (0.34); what of it is ours stands among the others.

use serde_json::{Value, json};

use super::routes::{Data, Route};
use super::schema::{boolean, integer, list, map, object, one_of, string};

const fn route(
    methods: &'static [&'static str],
    path: &'static str,
    params: &'static [&'static str],
    data: Data,
    summary: &'static str,
) -> Route {
    Route {
        path,
        methods,
        summary,
        params,
        data,
    }
}

const GET: &[&str] = &["GET"];
const POST: &[&str] = &["POST"];
const DELETE: &[&str] = &["DELETE"];

// Which alerts.
const ALERTS: &[&str] = &[
    "active",
    "silenced",
    "inhibited",
    "muted",
    "unprocessed",
    "filter[]",
    "receiver",
    "receiver_matchers[]",
];

pub(super) const ROUTES: &[Route] = &[
    route(
        GET,
        "/api/v2/status",
        &[],
        Data::Json(status),
        "What the Alertmanager inside is and has.",
    ),
    route(
        GET,
        "/api/v2/receivers",
        &["receiver_matchers[]"],
        Data::Json(receivers),
        "The names of all receivers.",
    ),
    route(
        GET,
        "/api/v2/alerts",
        ALERTS,
        Data::Json(alerts),
        "The alerts there are.",
    ),
    route(
        POST,
        "/api/v2/alerts",
        &[],
        Data::Done,
        "Takes alerts: a list of labels, annotations, startsAt, endsAt, generatorURL.",
    ),
    route(
        GET,
        "/api/v2/alerts/groups",
        ALERTS,
        Data::Json(groups),
        "The alerts as they are told together.",
    ),
    route(
        GET,
        "/api/v2/silences",
        &["filter[]", "active", "pending", "expired"],
        Data::Json(silences),
        "The silences there are.",
    ),
    route(
        POST,
        "/api/v2/silences",
        &[],
        Data::Json(made),
        "Makes a silence, or changes that of id: matchers, startsAt, endsAt, createdBy, comment.",
    ),
    route(GET, "/api/v2/silence/{id}", &[], Data::Json(silence), "One silence."),
    route(DELETE, "/api/v2/silence/{id}", &[], Data::Done, "Ends a silence."),
    route(
        GET,
        "/api/v2/history",
        &["filter[]", "limit"],
        Data::Json(history),
        "What happened to alerts, the latest first. Ours.",
    ),
    route(
        POST,
        "/api/v2/receivers/test",
        &[],
        Data::Json(tested),
        "Sends one test message to a receiver and tells what was answered. Ours.",
    ),
];

/// What is posted as JSON, where it is described.
pub(super) fn body(path: &str) -> Option<Value> {
    (path == "/api/v2/receivers/test").then(|| {
        object(&[
            ("receiver", string()),
            ("labels?", map(string())),
            ("annotations?", map(string())),
        ])
    })
}

// One entry for each integration of the receiver, and of each the requests that were answered.
fn tested() -> Value {
    let exchange = object(&[
        ("method", string()),
        ("host", string()),
        ("body", string()),
        ("status", integer()),
        ("answer", string()),
    ]);
    let with = |sent: bool, error: &[(&str, Value)]| {
        let fields = [
            ("integration", string()),
            ("sent", json!({ "const": sent })),
            ("exchanges", list(exchange.clone())),
        ];
        object(&[&fields[..], error].concat())
    };
    list(json!({ "oneOf": [with(true, &[]), with(false, &[("error", string())])] }))
}

fn name() -> Value {
    object(&[("name", string())])
}

fn status() -> Value {
    let peer = object(&[("name", string()), ("address", string())]);
    let versions = ["branch", "buildDate", "buildUser", "goVersion", "revision", "version"];
    object(&[
        (
            "cluster",
            object(&[
                ("name?", string()),
                ("status", one_of(&["ready", "settling", "disabled"])),
                ("peers", list(peer)),
            ]),
        ),
        ("config", object(&[("original", string())])),
        ("uptime", string()),
        ("versionInfo", object(&versions.map(|name| (name, string())))),
    ])
}

fn receivers() -> Value {
    list(object(&[("name", string()), ("labels", map(string()))]))
}

fn alert() -> Value {
    let strings = || list(string());
    let status = object(&[
        ("state", one_of(&["active", "suppressed", "unprocessed"])),
        ("silencedBy", strings()),
        ("inhibitedBy", strings()),
        ("mutedBy", strings()),
    ]);
    object(&[
        ("labels", map(string())),
        ("annotations", map(string())),
        ("startsAt", string()),
        ("endsAt", string()),
        ("updatedAt", string()),
        ("fingerprint", string()),
        ("generatorURL?", string()),
        ("receivers", list(name())),
        ("status", status),
    ])
}

fn alerts() -> Value {
    list(alert())
}

fn groups() -> Value {
    list(object(&[
        ("alerts", alerts()),
        ("labels", map(string())),
        ("receiver", name()),
        ("routeLabels", map(string())),
    ]))
}

fn silence() -> Value {
    let matcher = || {
        object(&[
            ("name", string()),
            ("value", string()),
            ("isRegex", boolean()),
            ("isEqual", boolean()),
        ])
    };
    object(&[
        ("id", string()),
        ("matchers", list(matcher())),
        ("matcherSets?", list(list(matcher()))),
        ("startsAt", string()),
        ("endsAt", string()),
        ("updatedAt", string()),
        ("createdBy", string()),
        ("comment", string()),
        ("annotations", map(string())),
        (
            "status",
            object(&[("state", one_of(&["active", "pending", "expired"]))]),
        ),
    ])
}

fn silences() -> Value {
    list(silence())
}

fn made() -> Value {
    object(&[("silenceID", string())])
}

// One thing that happened; the fields that all have, and these.
fn happened(events: &[&str], fields: &[(&str, Value)]) -> Value {
    let common = [
        ("at", string()),
        ("fingerprint", string()),
        ("labels", map(string())),
        ("event", one_of(events)),
    ];
    object(&[&common[..], fields].concat())
}

fn history() -> Value {
    let group = || ("groupKey", string());
    let kept_quiet = |by: &[(&str, Value)]| happened(&["suppressed"], &[&[group()][..], by].concat());
    let names = || list(string());
    list(json!({ "oneOf": [
        happened(&["fired", "refused", "resolved", "timedOut"], &[]),
        happened(&["grouped"], &[("receiver", string()), group(), ("flushAt", string())]),
        kept_quiet(&[("inhibitedBy", names()), ("inhibitRule", string())]),
        kept_quiet(&[("outsideOf", names())]),
        kept_quiet(&[("mutedBy", names())]),
        kept_quiet(&[("silencedBy", names())]),
        happened(&["released"], &[group()]),
        happened(
            &["sent", "retrying", "failed"],
            &[
                ("receiver", string()),
                ("integration", string()),
                group(),
                ("reason", string()),
                ("error?", string()),
                ("answer?", string()),
                ("attempts", integer()),
                ("firing", integer()),
                ("resolved", integer()),
            ],
        ),
        happened(&["acknowledged"], &[("by", string()), ("note", string()), ("endsAt?", string())]),
        happened(&["unacknowledged"], &[("by", string())]),
        happened(&["held"], &[group(), ("by", string())]),
    ] }))
}
