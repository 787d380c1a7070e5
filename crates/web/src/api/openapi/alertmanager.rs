//! Alertmanager's API v2 (0.34); what of it is ours stands among the others.

use serde_json::Value;

use super::routes::{Data, Route};
use super::schema::{boolean, list, map, object, one_of, string};

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
        Data::Json(anything),
        "Sends one test message to a receiver and tells what was answered. Ours.",
    ),
];

fn anything() -> Value {
    Value::Bool(true)
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

fn history() -> Value {
    list(Value::Bool(true))
}
