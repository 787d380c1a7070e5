//! The description of the API in OpenAPI 3.1, made from one table; a test asks every route and holds the answers against
//! it.

mod alertmanager;
mod routes;
mod schema;
mod yaml;

use serde_json::{Map, Value, json};

use super::answer::Ask;
use super::json::{Answer, ApiError};
use routes::{Data, ROUTES, Route};
use schema::{error, labelled, object, string};

/// `openapi.yaml`.
pub(super) fn openapi(ask: &Ask<'_>) -> Result<Answer, ApiError> {
    let text = yaml::write(&document(&ask.app.version, &ask.app.route_prefix));
    Ok(Answer::of("application/yaml; charset=utf-8", text.into_bytes()))
}

/// The methods of the routes whose path `is_it`, each once.
pub(crate) fn methods(is_it: impl Fn(&str) -> bool) -> Vec<&'static str> {
    let routes = ROUTES
        .iter()
        .chain(alertmanager::ROUTES)
        .filter(|route| is_it(route.path));
    let mut methods: Vec<&str> = routes.flat_map(|route| route.methods.iter().copied()).collect();
    // Not described, because it does nothing.
    if is_it("/api/v1/series") {
        methods.push("DELETE");
    }
    methods
}

/// The whole document; `prefix` is what stands before every path.
pub(crate) fn document(version: &str, prefix: &str) -> Value {
    let mut paths = Map::new();
    for route in ROUTES.iter().chain(alertmanager::ROUTES) {
        let mut operations = Map::new();
        for method in route.methods {
            operations.insert(method.to_lowercase(), operation(route, method));
        }
        // One address may answer differently to each method.
        match paths.get_mut(route.path).and_then(Value::as_object_mut) {
            Some(known) => known.append(&mut operations),
            None => _ = paths.insert(route.path.to_owned(), Value::Object(operations)),
        }
    }
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "Cupola: the Prometheus API",
            "version": version,
            "description": "What Prometheus answers, what Alertmanager answers below /api/v2, and a little more, which is said to be ours.",
        },
        "servers": [{ "url": if prefix.is_empty() { "/" } else { prefix } }],
        "paths": paths,
    })
}

fn operation(route: &Route, method: &str) -> Value {
    let in_path = route
        .path
        .split('/')
        .filter_map(|part| part.strip_prefix('{')?.strip_suffix('}'))
        .map(|name| json!({ "name": name, "in": "path", "required": true, "schema": string() }));
    let in_query = route.params.iter().map(|param| {
        let (name, is_needed) = param.strip_suffix('!').map_or((*param, false), |name| (name, true));
        let schema = if name.ends_with("[]") {
            json!({ "type": "array", "items": string() })
        } else {
            string()
        };
        // Prometheus's names end so themselves, Alertmanager's do not.
        let name = match route.path.starts_with("/api/v2/") {
            true => name.trim_end_matches("[]"),
            false => name,
        };
        json!({ "name": name, "in": "query", "required": is_needed, "schema": schema })
    });
    // Alertmanager's refusals are a text or an object.
    let refusal = if route.path.starts_with("/api/v2/") {
        Value::Bool(true)
    } else {
        error()
    };
    let mut operation = json!({
        "operationId": operation_id(route.path, method),
        "summary": route.summary,
        "responses": { "default": { "description": "A refusal.", "content": { "application/json": { "schema": refusal } } } },
    });
    let parameters: Vec<Value> = in_path.chain(in_query).collect();
    if !parameters.is_empty() {
        operation["parameters"] = parameters.into();
    }
    if let Some(body) = alertmanager::body(route.path) {
        operation["requestBody"] = json!({ "required": true, "content": { "application/json": { "schema": body } } });
    }
    let (status, content) = match &route.data {
        Data::Envelope(data) => (
            "200",
            json!({ "application/json": { "schema": object(&[
                ("status", json!({ "const": "success" })),
                ("data", data()),
                ("warnings?", json!({ "type": "array", "items": string() })),
                ("infos?", json!({ "type": "array", "items": string() })),
            ]) } }),
        ),
        Data::Json(data) => ("200", json!({ "application/json": { "schema": data() } })),
        Data::Text(kind) => ("200", labelled(kind, json!({ "schema": string() }))),
        Data::Done => ("200", Value::Null),
        Data::Nothing => ("204", Value::Null),
    };
    let mut answer = json!({ "description": "What was asked for." });
    if !content.is_null() {
        answer["content"] = content;
    }
    operation["responses"][status] = answer;
    operation
}

// `get_api_v1_label_name_values`.
fn operation_id(path: &str, method: &str) -> String {
    let words = path
        .split(|c: char| !c.is_ascii_alphanumeric())
        .filter(|word| !word.is_empty());
    std::iter::once(method.to_lowercase().as_str())
        .chain(words)
        .collect::<Vec<_>>()
        .join("_")
}
