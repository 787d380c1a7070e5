//! Our description of Alertmanager's API against Alertmanager's own, of 0.27 and of 0.34.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use crate::api::openapi::document;

// Which of their definitions describes what, as a pointer into ours.
const SHAPES: &[(&str, &str, &str)] = &[
    ("alertmanagerStatus", "/status", ""),
    ("clusterStatus", "/status", "/properties/cluster"),
    ("peerStatus", "/status", "/properties/cluster/properties/peers/items"),
    ("alertmanagerConfig", "/status", "/properties/config"),
    ("versionInfo", "/status", "/properties/versionInfo"),
    ("receiver", "/receivers", "/items"),
    ("silence", "/silences", "/items"),
    ("gettableSilence", "/silences", "/items"),
    ("silenceStatus", "/silences", "/items/properties/status"),
    ("matcher", "/silences", "/items/properties/matchers/items"),
    ("silence", "/silence/{id}", ""),
    ("gettableSilence", "/silence/{id}", ""),
    ("alert", "/alerts", "/items"),
    ("gettableAlert", "/alerts", "/items"),
    ("alertStatus", "/alerts", "/items/properties/status"),
    ("alertGroup", "/alerts/groups", "/items"),
    ("gettableAlert", "/alerts/groups", "/items/properties/alerts/items"),
];

#[derive(Default)]
struct Theirs {
    // What can be asked, `GET /alerts`, with the parameters of the query.
    operations: BTreeMap<String, BTreeSet<String>>,
    // The fields of each definition, its own ones only, and which of them are always there.
    fields: BTreeMap<String, BTreeSet<String>>,
    required: BTreeMap<String, BTreeSet<String>>,
}

// As much of YAML as that file needs: everything is told by the depth of a line.
fn read(text: &str) -> Theirs {
    let mut theirs = Theirs::default();
    // The keys above a line, each with its depth.
    let mut above: Vec<(usize, String)> = Vec::new();
    // The item of a list of parameters that is being read: where it stands, and its name.
    let (mut place, mut name) = (String::new(), String::new());
    for line in text.lines().filter(|line| !line.trim().is_empty()) {
        let mut words = line.trim_start();
        let mut depth = line.len() - words.len();
        if let Some(item) = words.strip_prefix("- ") {
            (place, name) = (String::new(), String::new());
            words = item;
            depth += 2;
        }
        above.retain(|(above, _)| *above < depth);
        let keys: Vec<&str> = above.iter().map(|(_, key)| key.as_str()).collect();
        let (key, value) = words.split_once(": ").unwrap_or((words.trim_end_matches(':'), ""));
        let key = key.trim_matches('\'');
        match keys[..] {
            ["paths", path, method] if matches!(method, "get" | "post" | "delete") => {
                let operation = format!("{} {path}", method.to_uppercase());
                theirs.operations.entry(operation).or_default();
            }
            ["paths", path, method, "parameters"] => {
                match key {
                    "in" => value.clone_into(&mut place),
                    "name" => value.clone_into(&mut name),
                    "$ref" => {
                        let referred = value.trim_matches('\'').rsplit('/').next().unwrap();
                        assert_eq!(referred, "receiverMatchers");
                        (place, name) = ("query".into(), "receiver_matchers".into());
                    }
                    _ => {}
                }
                if place == "query" && !name.is_empty() {
                    let operation = format!("{} {path}", method.to_uppercase());
                    theirs.operations.entry(operation).or_default().insert(name.clone());
                }
            }
            ["definitions", definition, "properties"] | ["definitions", definition, "allOf", "properties"] => {
                theirs.fields.entry(definition.into()).or_default().insert(key.into());
            }
            ["definitions", definition, "required"] | ["definitions", definition, "allOf", "required"] => {
                theirs.required.entry(definition.into()).or_default().insert(key.into());
            }
            _ => {}
        }
        above.push((depth, key.to_owned()));
    }
    theirs
}

fn check(file: &str) {
    let Some(path) = cupola_testkit::conformance_dir(&format!("alertmanager/{file}")) else {
        return;
    };
    let theirs = read(&std::fs::read_to_string(path).unwrap());
    let ours = document("0", "");
    let operation = |method: &str, path: &str| {
        let path = format!("/api/v2{}", path.replace("{silenceID}", "{id}"));
        let found = &ours["paths"][path.as_str()][method.to_lowercase()];
        assert!(found.is_object(), "{file}: {method} {path} is not described");
        found.clone()
    };
    for (what, params) in &theirs.operations {
        let (method, path) = what.split_once(' ').unwrap();
        let described = operation(method, path);
        let all = described["parameters"].as_array().into_iter().flatten();
        let names: BTreeSet<&str> = all.map(|one| one["name"].as_str().unwrap()).collect();
        for param in params {
            assert!(
                names.contains(param.as_str()),
                "{file}: {what} has no {param}: {names:?}"
            );
        }
    }
    let (mut fields, mut required) = (0, 0);
    for (definition, path, pointer) in SHAPES {
        let described = operation("GET", path);
        let schema = &described["responses"]["200"]["content"]["application/json"]["schema"];
        let schema = schema.pointer(pointer).unwrap_or(&Value::Null);
        assert!(theirs.fields.contains_key(*definition), "{file}: no {definition}");
        for field in &theirs.fields[*definition] {
            assert!(
                schema["properties"][field].is_object(),
                "{file}: {definition} has no {field}: {schema}"
            );
            fields += 1;
        }
        let always = schema["required"].as_array().unwrap();
        for field in theirs.required.get(*definition).into_iter().flatten() {
            assert!(
                always.contains(&field.as_str().into()),
                "{file}: {definition} may lack {field}"
            );
            required += 1;
        }
    }
    assert_eq!(theirs.operations.len(), 9, "{file}: {:?}", theirs.operations);
    assert!(
        theirs.operations["GET /alerts"].len() >= 6,
        "{file}: {:?}",
        theirs.operations
    );
    assert!(
        fields >= 60 && required >= 50,
        "{file}: {fields} fields, {required} of them always there"
    );
}

#[test]
fn what_alertmanagers_api_describes_is_described() {
    check("openapi.yaml");
}

#[test]
fn what_the_api_of_alertmanager_0_27_describes_is_described() {
    check("openapi-0.27.yaml");
}
