//! What becomes of a rule's series when its group is loaded anew.

use std::collections::BTreeSet;

use cupola_model::Matcher;
use proptest::prelude::*;

use super::*;

// What is written at exactly `ts` under names that begin with `r`: `x` is the end of a series.
fn written(bench: &Bench, ts: i64) -> BTreeMap<String, String> {
    let matchers = [Matcher::new(METRIC_NAME, cupola_model::MatchOp::Regex, "r.*").unwrap()];
    let selection = Selection {
        matchers: &matchers,
        mint: ts,
        maxt: ts,
    };
    let mut out = BTreeMap::new();
    for series in bench.tsdb.select(&selection).unwrap() {
        let mut samples = Samples::default();
        series.source.read(ts, ts, &mut samples).unwrap();
        let ends = |value: &f64| is_stale_nan(*value);
        let told = match (samples.values.first(), samples.histograms.values.first()) {
            (Some(value), _) if ends(value) => "x".to_owned(),
            (Some(value), _) => value.to_string(),
            (None, Some(histogram)) if ends(&histogram.sum) => "x".to_owned(),
            (None, Some(histogram)) => format!("{} observations", histogram.count),
            (None, None) => continue,
        };
        out.insert(series.labels.to_string(), told);
    }
    out
}

fn reloaded(mut old: Group, rules: &str) -> Group {
    let mut new = Bench::group(rules);
    new.offset_ms = old.offset_ms;
    new.adopt(&mut old);
    new
}

#[test]
fn a_series_that_another_rule_goes_on_with_after_a_reload_has_no_hole() {
    let bench = Bench::new();
    let mut old = Bench::group("[{record: r, expr: vector(1), labels: {l: v}}]");
    old.evaluate(&bench.ctx, 1000);
    let other = "{record: r2, expr: vector(1)}";
    let same = r#"{record: r, expr: 'label_replace(vector(2), "l", "v", "", "")'}"#;
    let mut new = reloaded(old, &format!("[{other}, {same}]"));
    new.evaluate(&bench.ctx, 2000);
    assert_eq!(bench.series("r"), [r#"{l="v"}: 1 2"#]);
}

#[test]
fn the_series_of_removed_rules_end_although_no_rule_is_left_or_the_first_one_fails() {
    for rules in ["[]", "[{record: r2, expr: 'vector(1) + on() (m or n)'}]"] {
        let bench = Bench::new();
        for name in ["m", "n"] {
            bench.write(name, name, 2000, 1.0);
        }
        let mut old = Bench::group("[{record: r, expr: vector(1)}]");
        old.evaluate(&bench.ctx, 1000);
        let mut new = reloaded(old, rules);
        new.evaluate(&bench.ctx, 2000);
        assert!(new.status().rules.iter().all(|rule| rule.last_error.is_some()));
        assert_eq!(bench.series("r"), ["{}: 1 x"]);
        // Once.
        new.evaluate(&bench.ctx, 3000);
        assert_eq!(bench.series("r"), ["{}: 1 x"]);
    }
}

#[test]
fn the_series_of_a_removed_group_end_where_its_samples_are() {
    let bench = Bench::new();
    let mut group = Bench::group("[{record: r, expr: vector(1)}]");
    group.offset_ms = 60_000;
    group.evaluate(&bench.ctx, 100_000);
    group.end(&bench.ctx, 101_000);
    let end = BTreeMap::from([(r#"{__name__="r"}"#.to_owned(), "x".to_owned())]);
    assert_eq!(written(&bench, 41_000), end);
}

#[test]
fn a_series_whose_next_sample_cannot_be_stored_ends() {
    let bench = Bench::new();
    let mut group = Bench::group("[{record: r, expr: 'h * scalar(m)'}]");
    for (ts, factor) in [(1000, 1.0), (2000, -1.0), (3000, 2.0)] {
        bench.write("m", "a", ts, factor);
        let mut appender = bench.tsdb.appender();
        let histogram = Histogram {
            count: 2,
            sum: 2.0,
            zero_count: 2,
            zero_threshold: 0.1,
            ..Histogram::default()
        };
        let labels = Labels::from_pairs([(METRIC_NAME, "h")]);
        let histogram = NativeHistogram::Integer(histogram);
        appender.append_histogram(None, &labels, ts, histogram).unwrap();
        appender.commit().unwrap();
        group.evaluate(&bench.ctx, ts);
    }
    let told = [1000, 2000, 3000].map(|ts| written(&bench, ts).into_values().collect::<Vec<_>>().join(" "));
    assert_eq!(told, ["2 observations", "x", "4 observations"]);
}

// A rule that always gives one series, in one of two ways: the label `l` as the rule's own, or as the expression's. The
// other label keeps apart what a reload takes for the same rule: one that gives something else ends what it gave before,
// also where a later rule would go on with it, as upstream.
#[derive(Debug, Clone)]
struct Steady {
    name: u8,
    value: u8,
    by_expression: bool,
}

impl Steady {
    fn text(&self) -> String {
        let Self { name, value, .. } = self;
        if self.by_expression {
            format!(
                r#"{{record: r{name}, expr: 'label_replace(vector(1), "l", "v", "", "")', labels: {{k: '{value}'}}}}"#
            )
        } else {
            format!("{{record: r{name}, expr: vector(1), labels: {{k: '{value}', l: v}}}}")
        }
    }

    fn series(&self) -> String {
        format!(r#"{{__name__="r{}", k="{}", l="v"}}"#, self.name, self.value)
    }
}

fn rules() -> impl Strategy<Value = Vec<Steady>> {
    let rule = (0..3_u8, 0..3_u8, any::<bool>()).prop_map(|(name, value, by_expression)| Steady {
        name,
        value,
        by_expression,
    });
    prop::collection::vec(rule, 0..6)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]
    // After each reload exactly those series end that no rule gives any more, at once, and no other has a hole.
    #[test]
    fn exactly_the_series_that_no_rule_gives_any_more_end(
        configs in prop::collection::vec((rules(), 1..3_i64), 1..8),
        offset in prop_oneof![Just(0), Just(7_000_i64)],
    ) {
        let bench = Bench::new();
        let mut group = Bench::group("[]");
        group.offset_ms = offset;
        let (mut ts, mut before) = (1_000_000, BTreeSet::new());
        for (rules, evaluations) in configs {
            let texts: Vec<String> = rules.iter().map(Steady::text).collect();
            group = reloaded(group, &format!("[{}]", texts.join(", ")));
            for _ in 0..evaluations {
                ts += 1000;
                group.evaluate(&bench.ctx, ts);
                let given: BTreeSet<String> = rules.iter().map(Steady::series).collect();
                let ends = before.difference(&given).map(|series| (series.clone(), "x".to_owned()));
                let goes_on = given.iter().map(|series| (series.clone(), "1".to_owned()));
                let expected: BTreeMap<String, String> = ends.chain(goes_on).collect();
                prop_assert_eq!(written(&bench, ts - offset), expected);
                before = given;
            }
        }
    }
}
