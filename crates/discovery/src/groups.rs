//! Lists of target groups as files and HTTP servers give them.

use std::collections::BTreeMap;
use std::path::Path;

use cupola_config::prometheus::{TargetGroup, parse_target_groups};
use cupola_model::{Labels, go_quote, is_valid_label_name};
use serde::Deserialize;

/// What is asked for or read is at most so long, so that nobody fills the memory.
pub(crate) const MAX_BYTES: usize = 128 << 20;

// Go takes names of fields in any case; these are the two that are seen.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct JsonGroup {
    #[serde(default, alias = "Targets")]
    targets: Option<Vec<String>>,
    #[serde(default, alias = "Labels")]
    labels: Option<BTreeMap<String, String>>,
}

/// Reads a JSON list of groups. The sources are `place:index`, and each group gets the label `name` with `place`.
pub(crate) fn read_json(bytes: &[u8], name: &str, place: &str) -> Result<Vec<TargetGroup>, String> {
    let groups: Option<Vec<Option<JsonGroup>>> = serde_json::from_slice(bytes).map_err(|e| e.to_string())?;
    let mut out = Vec::new();
    for (index, group) in groups.unwrap_or_default().into_iter().enumerate() {
        let group = group.ok_or_else(|| format!("nil target group item found (index {index})"))?;
        let labels = group.labels.unwrap_or_default();
        if let Some(bad) = labels.keys().find(|label| !is_valid_label_name(label)) {
            return Err(format!("{} is not a valid label name (index {index})", go_quote(bad)));
        }
        let labels = Labels::from_pairs(labels);
        let targets = group.targets.unwrap_or_default();
        out.push(TargetGroup::of_addresses(format!("{place}:{index}"), targets, labels));
    }
    Ok(with_label(out, name, place))
}

/// As [`read_json`], of YAML.
pub(crate) fn read_yaml(text: &str, name: &str, path: &Path) -> Result<Vec<TargetGroup>, String> {
    let groups = parse_target_groups(text, path).map_err(|errors| {
        let all: Vec<String> = errors.iter().map(ToString::to_string).collect();
        all.join("; ")
    })?;
    Ok(with_label(groups, name, &path.display().to_string()))
}

fn with_label(mut groups: Vec<TargetGroup>, name: &str, value: &str) -> Vec<TargetGroup> {
    for group in &mut groups {
        let mut labels = group.labels.to_builder();
        labels.set(name, value);
        group.labels = labels.build();
    }
    groups
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(groups: &Result<Vec<TargetGroup>, String>) -> String {
        match groups {
            Ok(groups) => {
                let all = groups
                    .iter()
                    .map(|g| format!("{} {} {:?}", g.source, g.labels, g.targets));
                all.collect::<Vec<_>>().join("\n")
            }
            Err(error) => error.clone(),
        }
    }

    #[test]
    fn json_and_yaml_give_the_same_groups() {
        let json =
            br#"[{"targets": ["a:1", "b:2"], "labels": {"env": "prod"}}, {"targets": ["c:3"]}, {"labels": null}]"#;
        let yaml = "- targets: ['a:1', 'b:2']\n  labels: {env: prod}\n- targets: ['c:3']\n- labels:\n";
        let of_json = read_json(json, "__meta_filepath", "/t/x.yml");
        assert_eq!(of_json, read_yaml(yaml, "__meta_filepath", Path::new("/t/x.yml")));
        assert_eq!(
            shown(&of_json),
            "/t/x.yml:0 {__meta_filepath=\"/t/x.yml\", env=\"prod\"} [{__address__=\"a:1\"}, {__address__=\"b:2\"}]\n\
             /t/x.yml:1 {__meta_filepath=\"/t/x.yml\"} [{__address__=\"c:3\"}]\n\
             /t/x.yml:2 {__meta_filepath=\"/t/x.yml\"} []"
        );
        assert_eq!(shown(&read_json(b"null", "n", "p")), "");
        assert_eq!(shown(&read_yaml("", "n", Path::new("p"))), "");
    }

    #[test]
    fn what_is_no_list_of_groups_is_told() {
        for (json, error) in [
            ("[null]", "nil target group item found (index 0)"),
            (
                r#"[{"targets": [], "labels": {"": "x"}}]"#,
                "\"\" is not a valid label name (index 0)",
            ),
            (
                "[{\"target\": []}]",
                "unknown field `target`, expected one of `Targets`, `targets`, `Labels`, `labels` at line 1 column 10",
            ),
            ("[", "EOF while parsing a list at line 1 column 1"),
        ] {
            assert_eq!(shown(&read_json(json.as_bytes(), "n", "p")), error, "{json}");
        }
        for (yaml, error) in [
            (
                "- target: []\n",
                "p.yml:1:3: field target not found in type targetgroup.Group (did you mean targets?)",
            ),
            ("-\n", "nil target group item found"),
            ("a: b\n", "cannot unmarshal !!map into []*targetgroup.Group"),
        ] {
            let got = shown(&read_yaml(yaml, "n", Path::new("p.yml")));
            assert!(got.contains(error), "{yaml}: {got}");
        }
    }

    #[test]
    fn no_bytes_break_the_readers() {
        let seeds = [
            br#"[{"targets": ["a:1"], "labels": {"env": "prod", "x": "\u00e9"}}, {"targets": []}]"#.to_vec(),
            b"- targets: ['a:1', b:2]\n  labels: {env: prod}\n".to_vec(),
        ];
        cupola_testkit::fuzz(2_000, &seeds, &["targets", "labels", "null", "- ", "{}"], |bytes| {
            let _ = read_json(bytes, "__meta_url", "http://x");
            let _ = read_yaml(&String::from_utf8_lossy(bytes), "__meta_filepath", Path::new("x.yml"));
        });
    }
}
