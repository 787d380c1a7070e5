//! The shared goldens: templates rendered by Go, and the rule packs' annotations.

#![expect(clippy::unwrap_used, reason = "a test may stop at what it did not expect")]

use std::collections::BTreeMap;

use cupola_gotemplate::{Alert, Alerts, Data, Kv, Time, Value, check_alert_template, notification_set};
use cupola_testkit::conformance_dir;
use serde_json::Value as Json;

fn text(json: &Json, key: &str) -> String {
    json[key].as_str().unwrap_or("").to_owned()
}

fn kv(json: &Json) -> Kv {
    let object = json.as_object().cloned().unwrap_or_default();
    Kv::new(object.iter().map(|(k, v)| (k.clone(), v.as_str().unwrap().to_owned())))
}

fn time(json: &Json) -> Time {
    Time::parse("2006-01-02T15:04:05Z07:00", json.as_str().unwrap()).unwrap()
}

fn data(json: &Json) -> Value {
    let alert = |json: &Json| Alert {
        is_new: true,
        status: text(json, "status"),
        labels: kv(&json["labels"]),
        annotations: kv(&json["annotations"]),
        starts_at: time(&json["startsAt"]),
        ends_at: time(&json["endsAt"]),
        generator_url: text(json, "generatorURL"),
        fingerprint: text(json, "fingerprint"),
    };
    Value::object(Data {
        receiver: text(json, "receiver"),
        status: text(json, "status"),
        alerts: Alerts::new(json["alerts"].as_array().unwrap().iter().map(alert).collect()),
        group_labels: kv(&json["groupLabels"]),
        common_labels: kv(&json["commonLabels"]),
        common_annotations: kv(&json["commonAnnotations"]),
        external_url: text(json, "externalURL"),
        notification_reason: String::new(),
        route_labels: kv(&Json::Null),
    })
}

// Cases passed and cases run, of those of a type, text or html. The texts of errors are not normative, but ours are Go's
// wherever they do not come from the regular expressions.
fn run(file: &str, kind: &str) -> Option<(usize, usize)> {
    let dir = conformance_dir("alertmanager/templates")?;
    let golden: Json = serde_json::from_str(&std::fs::read_to_string(dir.join(file)).unwrap()).unwrap();
    let sets: BTreeMap<String, Value> = golden["data"]
        .as_object()
        .unwrap()
        .iter()
        .map(|(name, json)| (name.clone(), data(json)))
        .collect();
    let set = notification_set(|| Time::from_unix_ms(1_714_557_600_000)).unwrap();
    let (mut passed, mut all) = (0, 0);
    for case in golden["cases"].as_array().unwrap() {
        if case["type"] != kind {
            continue;
        }
        all += 1;
        let (template, data) = (text(case, "template"), &sets[&text(case, "data")]);
        let result = match kind {
            "html" => set.execute_html(&template, data),
            _ => set.execute_text(&template, data),
        };
        let is_right = match (&case["expect"], &result) {
            (Json::String(expected), Ok(got)) => expected == got,
            (Json::Null, Err(error)) => {
                let expected = text(case, "error");
                // Go shows its own states of the document.
                let is_same = kind == "html"
                    || expected == "must fail"
                    || expected.contains("regexp")
                    || error.to_string() == expected;
                assert!(is_same, "{}: want {expected}, got {error}", text(case, "id"));
                true
            }
            _ => false,
        };
        if is_right {
            passed += 1;
        } else {
            eprintln!(
                "{}: {}\n  want {}\n  got  {result:?}",
                text(case, "id"),
                text(case, "template"),
                case["expect"]
            );
        }
    }
    eprintln!("{file}: {passed} of {all} {kind} cases");
    Some((passed, all))
}

#[test]
fn texts_are_those_of_go() {
    if let Some((passed, all)) = run("golden.json", "text") {
        assert!(all >= 287, "cases are missing");
        assert_eq!(passed, all);
    }
}

#[test]
fn html_is_escaped_as_by_go() {
    if let Some((passed, all)) = run("golden.json", "html") {
        assert!(all >= 33, "cases are missing");
        assert_eq!(passed, all);
    }
}

#[test]
fn functions_after_0_25_give_what_is_expected() {
    if let Some((passed, all)) = run("newer_functions.json", "text") {
        assert!(all >= 17, "cases are missing");
        assert_eq!(passed, all);
    }
}

// The texts of all labels and annotations of the alerting rules in `yaml`.
fn rule_texts(yaml: &Json) -> Vec<(String, String)> {
    let mut texts = Vec::new();
    let groups = yaml["groups"].as_array().or_else(|| yaml["spec"]["groups"].as_array());
    for rule in groups
        .into_iter()
        .flatten()
        .flat_map(|g| g["rules"].as_array().into_iter().flatten())
    {
        for part in ["labels", "annotations"] {
            for value in rule[part].as_object().into_iter().flat_map(|o| o.values()) {
                texts.push((text(rule, "alert"), value.as_str().unwrap_or("").to_owned()));
            }
        }
    }
    texts
}

#[test]
fn the_annotations_of_rule_packs_parse() {
    let mut files = Vec::new();
    let mut folders: Vec<_> = conformance_dir("rules").into_iter().collect();
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|e| e == "yaml" || e == "yml") {
                files.push(path);
            }
        }
    }
    if files.is_empty() {
        return;
    }
    files.extend(conformance_dir("rulefmt").map(|dir| dir.join("test.yaml")));
    let mut count = 0;
    for file in files {
        let yaml: Json = serde_saphyr::from_str(&std::fs::read_to_string(&file).unwrap()).unwrap();
        for (alert, text) in rule_texts(&yaml) {
            count += usize::from(text.contains("{{"));
            if let Err(error) = check_alert_template(&alert, &text) {
                panic!("{}: {alert}: {error}\n{text}", file.display());
            }
        }
    }
    eprintln!("{count} templates of rules parse");
    assert!(count >= 150, "only {count} templates found");
}
