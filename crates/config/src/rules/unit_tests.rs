//! Unit tests of rules: the files of `promtool test rules` (Prometheus 3.14, `cmd/promtool/unittest.go`).

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use cupola_model::Labels;

use crate::error::ConfigErrors;
use crate::read::{Reader, Section};
use crate::yaml::Node;

const MINUTE: Duration = Duration::from_secs(60);

/// A file of tests.
#[derive(Debug, Clone, PartialEq)]
pub struct UnitTests {
    /// Paths or patterns, resolved against the file's folder.
    pub rule_files: Vec<PathBuf>,
    /// How far apart the rules are evaluated.
    pub evaluation_interval: Duration,
    /// Names of groups, in the order they are evaluated; those that are not named follow.
    pub group_eval_order: Vec<String>,
    /// Values may differ in their last bit.
    pub fuzzy_compare: bool,
    /// The tests.
    pub tests: Vec<UnitTest>,
}

/// Some series and what rules make of them.
#[derive(Debug, Clone, PartialEq)]
pub struct UnitTest {
    /// Empty where it has none.
    pub name: String,
    /// How far apart the samples of the series are.
    pub interval: Duration,
    /// When the first sample is, milliseconds since the epoch.
    pub start_ms: i64,
    /// Each with its values, in the notation of PromQL's test scripts.
    pub input_series: Vec<(String, String)>,
    /// Which alerts are to fire.
    pub alerts: Vec<AlertTest>,
    /// What expressions are to give.
    pub expressions: Vec<ExpressionTest>,
    /// For templates.
    pub external_labels: Labels,
    /// For templates.
    pub external_url: String,
}

/// The alerts of one name that fire at a time.
#[derive(Debug, Clone, PartialEq)]
pub struct AlertTest {
    /// Since the start.
    pub eval_time: Duration,
    /// The rule's name.
    pub alertname: String,
    /// Labels, without the alert's name, and annotations.
    pub expected: Vec<(Labels, Labels)>,
}

/// What an expression gives at a time.
#[derive(Debug, Clone, PartialEq)]
pub struct ExpressionTest {
    /// The expression.
    pub expr: String,
    /// Since the start.
    pub eval_time: Duration,
    /// The samples, in no order.
    pub expected: Vec<ExpectedSample>,
}

/// One sample that is expected.
#[derive(Debug, Clone, PartialEq)]
pub struct ExpectedSample {
    /// In the notation of series.
    pub labels: String,
    /// Its value, where it is no histogram.
    pub value: f64,
    /// In the notation of PromQL's test scripts; empty where it is a number.
    pub histogram: String,
}

/// Reads a file of tests; `path` is used in messages and to resolve `rule_files`. With `ignore_unknown_fields`, fields that
/// upstream does not know are no mistake.
///
/// # Errors
/// Every mistake in the text.
pub fn parse_unit_tests(text: &str, path: &Path, ignore_unknown_fields: bool) -> Result<UnitTests, ConfigErrors> {
    let reader = Reader::new(path);
    let document = reader.document(text);
    let file = File {
        reader: &reader,
        ignore_unknown_fields,
    };
    let tests = match document.root.as_deref() {
        Some(root) => file.tests(root),
        None => file.whole(reader.no_section()),
    };
    reader.result(Some(tests))
}

struct File<'a> {
    reader: &'a Reader<'a>,
    ignore_unknown_fields: bool,
}

impl<'a> File<'a> {
    fn tests(&self, root: &'a Node) -> UnitTests {
        self.whole(self.reader.section(root, "main.unitTestFile"))
    }

    fn whole(&self, section: Section<'a>) -> UnitTests {
        let evaluation_interval = section.nonzero_duration("evaluation_interval").unwrap_or(MINUTE);
        let tests = UnitTests {
            rule_files: section
                .texts("rule_files")
                .iter()
                .map(|name| self.reader.resolve(name))
                .collect(),
            evaluation_interval,
            group_eval_order: section.texts("group_eval_order"),
            fuzzy_compare: section.bool("fuzzy_compare").unwrap_or(false),
            tests: self.list(&section, "tests", "main.testGroup", |test| {
                self.test(test, evaluation_interval)
            }),
        };
        self.finish(section);
        tests
    }

    fn finish(&self, section: Section<'_>) {
        if !self.ignore_unknown_fields {
            section.finish();
        }
    }

    fn list<T>(
        &self,
        section: &Section<'a>,
        name: &'static str,
        type_name: &'static str,
        read: impl Fn(&Section<'a>) -> T,
    ) -> Vec<T> {
        let items = section.items(name, type_name, "");
        let each = items.into_iter().map(|node| {
            let item = self.reader.section(node, type_name);
            let read = read(&item);
            self.finish(item);
            read
        });
        each.collect()
    }

    fn test(&self, section: &Section<'a>, evaluation_interval: Duration) -> UnitTest {
        UnitTest {
            name: section.text("name").unwrap_or_default(),
            interval: section.nonzero_duration("interval").unwrap_or(evaluation_interval),
            start_ms: start(section),
            input_series: self.list(section, "input_series", "main.series", |series| {
                let text = |name| series.text(name).unwrap_or_default();
                (text("series"), text("values"))
            }),
            alerts: self.list(section, "alert_rule_test", "main.alertTestCase", |test| AlertTest {
                eval_time: test.duration("eval_time").unwrap_or_default(),
                alertname: test.text("alertname").unwrap_or_default(),
                expected: self.list(test, "exp_alerts", "main.alert", |alert| {
                    (texts(alert, "exp_labels"), texts(alert, "exp_annotations"))
                }),
            }),
            expressions: self.list(section, "promql_expr_test", "main.promqlTestCase", |test| {
                ExpressionTest {
                    expr: test.text("expr").unwrap_or_default(),
                    eval_time: test.duration("eval_time").unwrap_or_default(),
                    expected: self.list(test, "exp_samples", "main.sample", |sample| ExpectedSample {
                        labels: sample.text("labels").unwrap_or_default(),
                        value: sample.float("value").unwrap_or(0.0),
                        histogram: sample.text("histogram").unwrap_or_default(),
                    }),
                }
            }),
            external_labels: section
                .get("external_labels")
                .map_or_else(Labels::empty, |node| self.reader.labels(node)),
            external_url: section.text("external_url").unwrap_or_default(),
        }
    }
}

fn texts(section: &Section<'_>, name: &'static str) -> Labels {
    let map: BTreeMap<String, String> = section.text_map(name);
    Labels::from_pairs(map)
}

// RFC 3339, or seconds since the epoch.
fn start(section: &Section<'_>) -> i64 {
    let Some(text) = section.filled_text("start_timestamp") else {
        return 0;
    };
    if let Ok(time) = text.parse::<jiff::Timestamp>() {
        return time.as_millisecond();
    }
    match text.parse::<f64>() {
        Ok(seconds) if seconds.is_finite() && seconds.abs() < 1e12 => (seconds * 1000.0).round() as i64,
        _ => {
            section.error_at(
                "start_timestamp",
                "start_timestamp is neither RFC 3339 nor seconds since the epoch",
            );
            0
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn errors(text: &str) -> Vec<String> {
        let errors = parse_unit_tests(text, Path::new("t.yml"), false).unwrap_err();
        errors.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn defaults_are_upstreams() {
        let file = parse_unit_tests("", Path::new("dir/t.yml"), false).unwrap();
        assert_eq!((file.evaluation_interval, file.tests.len()), (MINUTE, 0));
        let text = "rule_files: [r.yml]\nevaluation_interval: 5s\ntests:\n- start_timestamp: 2020-01-01T00:00:00Z\n  input_series: [{series: a, values: 1}]\n";
        let file = parse_unit_tests(text, Path::new("dir/t.yml"), false).unwrap();
        let [test] = file.tests.as_slice() else {
            panic!("{file:?}")
        };
        assert_eq!(file.rule_files, [Path::new("dir/r.yml")]);
        assert_eq!(test.interval, Duration::from_secs(5));
        assert_eq!(test.start_ms, 1_577_836_800_000);
        assert_eq!(test.input_series, [("a".to_owned(), "1".to_owned())]);
    }

    #[test]
    fn mistakes_are_told_with_their_place() {
        assert_eq!(
            errors("tests:\n- alert_rule_test:\n  - {alertnam: a}\n"),
            ["t.yml:3:6: field alertnam not found in type main.alertTestCase (did you mean alertname?)"]
        );
        assert!(errors("tests: [{start_timestamp: soon}]")[0].contains("RFC 3339"));
        let known = parse_unit_tests("x: 1\ntests: [{y: 2}]", Path::new("t.yml"), true).unwrap();
        assert_eq!(known.tests.len(), 1);
    }
}
