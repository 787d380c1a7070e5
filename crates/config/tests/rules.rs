//! Rule files: upstream's, and our own cases.

use std::path::{Path, PathBuf};
use std::time::Duration;

use cupola_config::rules::RuleKind;
use cupola_config::{DiskFiles, NameScheme, RuleFile, RuleOptions, load_rules, parse_rules};
use cupola_promql::ParseOptions;
use cupola_testkit::conformance_dir;

fn parse(text: &str) -> Result<RuleFile, Vec<String>> {
    parse_rules(text, Path::new("r.yml"), RuleOptions::default())
        .map_err(|errors| errors.iter().map(ToString::to_string).collect())
}

fn files_below(dir: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(dir).expect("the folder is there") {
        let path = entry.expect("the folder can be listed").path();
        if path.is_dir() {
            files_below(&path, found);
        } else if path.extension().is_some_and(|e| e == "yaml" || e == "yml") {
            found.push(path);
        }
    }
}

#[test]
fn upstream_files_get_upstream_verdicts() {
    let Some(dir) = conformance_dir("rulefmt") else { return };
    let mut files = Vec::new();
    files_below(&dir, &mut files);
    let legacy = RuleOptions {
        name_scheme: NameScheme::Legacy,
        ..RuleOptions::default()
    };
    for path in &files {
        let name = path.file_name().unwrap().to_string_lossy();
        let options = if name.starts_with("legacy") {
            legacy
        } else {
            RuleOptions::default()
        };
        let result = load_rules(path, options, &DiskFiles);
        assert_eq!(result.is_err(), name.contains(".bad."), "{name}: {result:?}");
        if let Err(errors) = result {
            assert!(errors.iter().all(|e| e.line > 0), "{errors}");
        }
    }
    eprintln!("rulefmt: {} files", files.len());
    assert!(files.len() >= 11);
}

#[test]
fn the_rules_of_the_field_load() {
    let Some(dir) = conformance_dir("rules") else { return };
    let mut files = Vec::new();
    files_below(&dir, &mut files);
    let mut rules = 0;
    for path in &files {
        // Objects of the kind PrometheusRule: the rule file is their spec.
        let text = std::fs::read_to_string(path).unwrap();
        let spec = text.lines().skip_while(|line| *line != "spec:").skip(1);
        let text: String = spec
            .map(|line| format!("{}\n", line.strip_prefix("  ").unwrap_or(line)))
            .collect();
        match parse_rules(&text, path, RuleOptions::default()) {
            Ok(file) => rules += file.groups.iter().map(|group| group.rules.len()).sum::<usize>(),
            Err(errors) => panic!("{errors}"),
        }
    }
    eprintln!("rules: {} files, {rules} rules", files.len());
    assert!(files.len() >= 50 && rules >= 300, "{} {rules}", files.len());
}

#[test]
fn promtool_files_get_promtool_verdicts() {
    let Some(dir) = conformance_dir("promtool") else { return };
    for (name, is_good) in [
        ("rules.yml", true),
        ("rules-bad.yml", false),
        ("rules_duplicates.yml", true),
        ("rules_large.yml", true),
        ("prometheus-rules.lint.yml", true),
        ("features.yml", false),
        ("negative-offset.yml", true),
    ] {
        let result = load_rules(&dir.join(name), RuleOptions::default(), &DiskFiles);
        assert_eq!(
            result.is_ok(),
            is_good,
            "{name}: {:?}",
            result.err().map(|e| e.to_string())
        );
    }
    let all = RuleOptions {
        promql: ParseOptions::all(),
        ..RuleOptions::default()
    };
    load_rules(&dir.join("features.yml"), all, &DiskFiles).unwrap();
    let errors = load_rules(&dir.join("rules-bad.yml"), RuleOptions::default(), &DiskFiles).unwrap_err();
    assert!(errors.to_string().contains("undefined variable \"$label\""), "{errors}");
}

#[test]
fn a_file_is_read_whole() {
    let file = parse(
        "
groups:
- name: g
  interval: 30s
  limit: 5
  query_offset: 1m
  labels: {team: infra, severity: none}
  rules:
  - record: job:up:sum
    expr: sum by (job) (up)
  - alert: Down
    expr: |
      up == 0
    for: 5m
    keep_firing_for: 10m
    labels: {severity: critical}
    annotations: {summary: '{{ $labels.job }} is at {{ $value }}'}
- name: empty
",
    )
    .unwrap();
    let group = &file.groups[0];
    assert_eq!(
        (group.interval, group.limit, group.query_offset),
        (Some(Duration::from_secs(30)), 5, Some(Duration::from_secs(60)))
    );
    let [recording, alerting] = group.rules.as_slice() else {
        panic!("two rules")
    };
    assert_eq!((recording.name(), recording.line), ("job:up:sum", 9));
    assert_eq!(recording.expr.to_string(), "sum by (job) (up)");
    assert_eq!(recording.labels["severity"], "none");
    assert_eq!(alerting.expr_text, "up == 0\n");
    assert_eq!(
        (alerting.labels["severity"].as_str(), alerting.labels["team"].as_str()),
        ("critical", "infra")
    );
    let RuleKind::Alerting {
        hold,
        keep_firing_for,
        annotations,
        ..
    } = &alerting.kind
    else {
        panic!("an alert")
    };
    assert_eq!(
        (*hold, *keep_firing_for),
        (Duration::from_secs(300), Duration::from_secs(600))
    );
    assert_eq!(annotations.len(), 1);
    assert!(file.groups[1].rules.is_empty());
    assert!(parse("").unwrap().groups.is_empty());
}

#[test]
fn a_limit_below_zero_was_refused_and_is_none() {
    let file = parse("groups: [{name: a, limit: -1}, {name: b, limit: 3}]\n").unwrap();
    assert_eq!((file.groups[0].limit, file.groups[1].limit), (0, 3));
    let errors = parse("groups: [{name: a, limit: x}]\n").unwrap_err();
    assert_eq!(errors, ["r.yml:1:27: cannot unmarshal !!str `x` into int"]);
}

#[test]
fn every_mistake_is_told_with_its_place() {
    let text = "\
groups:
- name: a
  rules:
  - record: x
    alert: y
    expr: 1
  - expr: 1
  - alert: z
  - record: 'a{b=\"c\"}'
    expr: rate(foo)
    for: 1m
    annotations: {a: b}
  - alert: t
    expr: up
    labels: {__name__: x, ok: '{{ $nope }}'}
    annotations: {s: '{{ foo }}'}
    severity: page
- name: a
- rules: []
  intervall: 5m
";
    assert_eq!(
        parse(text).unwrap_err(),
        [
            "r.yml:4:5: group \"a\", rule 1, \"x\": only one of 'record' and 'alert' must be set",
            "r.yml:7:5: group \"a\", rule 2, \"\": one of 'record' or 'alert' must be set",
            "r.yml:8:5: group \"a\", rule 3, \"z\": field 'expr' must be set in rule",
            "r.yml:9:5: group \"a\", rule 4, \"a{b=\\\"c\\\"}\": braces present in the recording rule name; should it be \
             in expr?: a{b=\"c\"}",
            "r.yml:10:16: group \"a\", rule 4, \"a{b=\\\"c\\\"}\": could not parse expression: 1:6: parse error: expected \
             type range vector in call to function \"rate\", got instant vector",
            "r.yml:11:5: group \"a\", rule 4, \"a{b=\\\"c\\\"}\": invalid field 'for' in recording rule",
            "r.yml:12:5: group \"a\", rule 4, \"a{b=\\\"c\\\"}\": invalid field 'annotations' in recording rule",
            "r.yml:15:5: group \"a\", rule 5, \"t\": invalid label name: __name__",
            "r.yml:15:31: group \"a\", rule 5, \"t\": label \"ok\": template: __alert_t:1: undefined variable \"$nope\"",
            "r.yml:16:22: group \"a\", rule 5, \"t\": annotation \"s\": template: __alert_t:1: function \"foo\" not defined",
            "r.yml:17:5: field severity not found in type rulefmt.Rule",
            "r.yml:18:3: groupname: \"a\" is repeated in the same file (the first is at line 2)",
            "r.yml:19:3: Groupname must not be empty",
            "r.yml:20:3: field intervall not found in type rulefmt.RuleGroup (did you mean interval?)",
        ]
    );
}

#[test]
fn a_mistake_in_an_expression_is_underlined_where_it_stands() {
    for (expr, place) in [
        ("sum(up", "4:17"),
        ("'sum(up'", "4:11"),
        ("|\n      up\n      + sum(rate(x))", "6:18"),
        ("|\n\n      up + +", "6:13"),
        (">-\n      up\n      + sum(rate(x))", "5:7"),
    ] {
        let errors = parse(&format!(
            "groups:\n- name: g\n  rules:\n  - expr: {expr}\n    record: r\n"
        ))
        .unwrap_err();
        assert!(errors[0].starts_with(&format!("r.yml:{place}: ")), "{expr}: {errors:?}");
    }
}

// promtool 2.42 says of each of these that it is fine, and how many rules are in it.
#[test]
fn what_is_null_in_a_list_is_not_there() {
    for (text, groups, rules) in [
        ("groups: [null]", 0, 0),
        ("groups: [~, ~]", 0, 0),
        ("groups: ~", 0, 0),
        ("groups:\n- name: a\n  rules: [~]\n", 1, 0),
        (
            "groups:\n-\n- name: a\n  rules:\n  - record: x\n    expr: 1\n  -\n  - record: y\n    expr: 1\n",
            1,
            2,
        ),
    ] {
        let file = parse(text).unwrap();
        let read: usize = file.groups.iter().map(|group| group.rules.len()).sum();
        assert_eq!((file.groups.len(), read), (groups, rules), "{text}");
    }
    // What is wrong beside it is told still, with the number that upstream gives it.
    let errors = parse("groups:\n- name: a\n  rules:\n  -\n  - record: x\n").unwrap_err();
    assert_eq!(errors.len(), 1);
    assert!(
        errors[0].contains("group \"a\", rule 1, \"x\": field 'expr' must be set in rule"),
        "{errors:?}"
    );
}
