//! `promtool test rules`: rules and expressions over series that the test gives.

mod diff;
mod junit;

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use clap::Args;
use cupola_config::load_rules;
use cupola_config::rules::RuleOptions;
use cupola_config::rules::unit_tests::{AlertTest, ExpressionTest, UnitTest, UnitTests, parse_unit_tests};
use cupola_engine::script::{Item, MemoryStore, parse_labels, parse_series};
use cupola_engine::{Engine, EngineOptions, Query, QueryValue};
use cupola_env::{Clock as _, ManualClock, SystemClock};
use cupola_goregex::Regex;
use cupola_histogram::NativeHistogram;
use cupola_metrics::Registry;
use cupola_model::{ALERTNAME, Alert, AlertSink, Labels, SeriesRef, format_duration};
use cupola_promql::ParseOptions;
use cupola_rules::{Context, GroupSource, Parts, Rehearsal};
use cupola_storage::{
    AppendError, Appendable, Appender, CommitError, Queryable, SampleValue, Selection, Series, StorageError,
};
use jiff::Timestamp;
use parking_lot::RwLock;

use super::{FAILURE, Io};
use junit::{Case, Suite};

/// What is tested, and how.
#[derive(Debug, Args)]
pub(super) struct RuleTestArgs {
    /// The files of tests.
    #[arg(value_name = "FILE", required = true)]
    files: Vec<PathBuf>,
    /// Run only tests whose name matches this regular expression somewhere. May be given several times.
    #[arg(long, value_name = "REGEX")]
    run: Vec<String>,
    /// Accept fields that Prometheus does not know.
    #[arg(long)]
    ignore_unknown_fields: bool,
    /// Show what differs line by line and in colours, instead of what was expected and what came.
    #[arg(long)]
    diff: bool,
    /// Tell what is done, and all samples at the end of each test.
    #[arg(long)]
    debug: bool,
    /// Refused: which rules the tests cover is not measured.
    #[arg(long)]
    coverage: bool,
    /// Refused, but for 0: which rules the tests cover is not measured.
    #[arg(long, value_name = "PERCENT", default_value_t = 0.0)]
    coverage_threshold: f64,
}

// How the tests of a file are run.
struct How {
    promql: ParseOptions,
    is_fuzzy: bool,
    shows_diff: bool,
    // What is told while they run.
    debug: Option<String>,
}

impl How {
    fn debug(&mut self, line: impl FnOnce() -> String) {
        if let Some(told) = &mut self.debug {
            *told += &format!("DEBUG: {}\n", line());
        }
    }
}

/// Runs all files. What fails is told on the standard error, and written to the file `junit`.
pub(super) fn test(args: &RuleTestArgs, junit: Option<&Path>, promql: ParseOptions, io: &mut Io<'_>) -> io::Result<u8> {
    if io.tell_missing(&args.files)? {
        return Ok(FAILURE);
    }
    if args.coverage || args.coverage_threshold != 0.0 {
        let flag = if args.coverage {
            "--coverage"
        } else {
            "--coverage-threshold"
        };
        let what = "which rules the tests cover is not measured by this version; leave the flag out";
        writeln!(io.err, "promtool: error: {flag}: {what}")?;
        return Ok(FAILURE);
    }
    let run = args.run.join("|");
    let run = match Regex::unanchored(&run) {
        Ok(run) => Some(run).filter(|_| !args.run.is_empty()),
        Err(error) => {
            writeln!(io.err, "promtool: error: --run: {error}")?;
            return Ok(FAILURE);
        }
    };
    let mut is_failed = false;
    let mut suites = Vec::new();
    for file in &args.files {
        writeln!(io.out, "Unit Testing:  {}", file.display())?;
        let mut suite = Suite {
            name: file.display().to_string(),
            cases: Vec::new(),
            error: None,
            started: now(),
        };
        let errors = run_file(file, args, run.as_ref(), promql, &mut suite, io)?;
        suites.push(suite);
        if errors.is_empty() {
            writeln!(io.out, "  SUCCESS")?;
        } else {
            is_failed = true;
            writeln!(io.err, "  FAILED:")?;
            for error in errors {
                writeln!(io.err, "{error}")?;
                writeln!(io.out)?;
            }
        }
        writeln!(io.out)?;
    }
    if let Some(file) = junit
        && let Err(error) = std::fs::write(file, junit::document(&suites))
    {
        writeln!(io.err, "failed to write JUnit XML: {}: {error}", file.display())?;
        is_failed = true;
    }
    Ok(if is_failed { FAILURE } else { 0 })
}

fn now() -> Timestamp {
    Timestamp::from_millisecond(SystemClock.now_ms()).unwrap_or_default()
}

fn run_file(
    path: &Path,
    args: &RuleTestArgs,
    run: Option<&Regex>,
    promql: ParseOptions,
    suite: &mut Suite,
    io: &mut Io<'_>,
) -> io::Result<Vec<String>> {
    let ignore_unknown = args.ignore_unknown_fields;
    let mut warnings = Vec::new();
    let read = super::read(path, io).map_err(|error| vec![error]);
    let file = read.and_then(|text| {
        let told = |errors: cupola_config::ConfigErrors| errors.iter().map(ToString::to_string).collect::<Vec<_>>();
        let file = parse_unit_tests(&text, path, ignore_unknown).map_err(told)?;
        let groups = groups(&file, ignore_unknown, promql, &mut warnings, io)?;
        Ok((file, groups))
    });
    for warning in warnings {
        writeln!(io.err, "{warning}")?;
    }
    let (file, groups) = match file {
        Ok(read) => read,
        Err(errors) => {
            suite.error = Some(errors.join("\n"));
            return Ok(errors);
        }
    };
    let mut all = Vec::new();
    for (number, test) in file.tests.iter().enumerate() {
        if run.is_some_and(|run| !run.is_match(&test.name)) {
            continue;
        }
        let name = match test.name.as_str() {
            "" => format!("unnamed#{number}"),
            name => name.to_owned(),
        };
        let mut how = How {
            promql,
            is_fuzzy: file.fuzzy_compare,
            shows_diff: args.diff,
            debug: args.debug.then(String::new),
        };
        how.debug(|| format!("Starting test {name}"));
        let errors = run_test(&file, test, &groups, &mut how);
        how.debug(|| format!("Test {name} finished"));
        io.out.write_all(how.debug.unwrap_or_default().as_bytes())?;
        suite.cases.push(Case {
            name,
            failures: errors.clone(),
        });
        all.extend(errors);
    }
    Ok(all)
}

// The groups of all rule files, in the order in which they are evaluated.
fn groups(
    file: &UnitTests,
    ignore_unknown_fields: bool,
    promql: ParseOptions,
    warnings: &mut Vec<String>,
    io: &Io<'_>,
) -> Result<Vec<GroupSource>, Vec<String>> {
    let options = RuleOptions {
        promql,
        ignore_unknown_fields,
        ..RuleOptions::default()
    };
    let order = &file.group_eval_order;
    let twice = order
        .iter()
        .enumerate()
        .find(|(at, name)| order.iter().take(*at).any(|one| one == *name));
    if let Some((_, name)) = twice {
        return Err(vec![format!("group name repeated in evaluation order: {name}")]);
    }
    let (mut groups, mut errors) = (Vec::new(), Vec::new());
    let mut names: Vec<PathBuf> = Vec::new();
    for pattern in &file.rule_files {
        match io.files.glob(pattern) {
            Ok(found) if found.is_empty() => {
                warnings.push(format!("  WARNING: no file match pattern {}", pattern.display()));
            }
            Ok(found) => names.extend(found),
            Err(error) => errors.push(format!("{}: {error}", pattern.display())),
        }
    }
    for name in names {
        match load_rules(&name, options, io.files) {
            Ok(rules) => groups.extend(rules.groups.into_iter().map(|group| GroupSource {
                file: name.display().to_string(),
                group,
            })),
            Err(found) => errors.extend(found.iter().map(ToString::to_string)),
        }
    }
    if !errors.is_empty() {
        return Err(errors);
    }
    let place = |name: &str| order.iter().position(|first| first == name);
    groups.sort_by_key(|source| place(&source.group.name).unwrap_or(usize::MAX));
    Ok(groups)
}

fn run_test(file: &UnitTests, test: &UnitTest, groups: &[GroupSource], how: &mut How) -> Vec<String> {
    if let Some(nameless) = test.alerts.iter().find(|test| test.alertname.is_empty()) {
        let group = match test.name.as_str() {
            "" => String::new(),
            name => format!(" (in TestGroup {name})"),
        };
        let time = show_ms(ms(nameless.eval_time));
        return vec![format!(
            "an item under alert_rule_test misses required attribute alertname at eval_time {time}{group}"
        )];
    }
    let store = Store::default();
    let mut input = Vec::new();
    for (series, values) in &test.input_series {
        match parse_series(series, values) {
            Ok(line) => input.push((line.labels.clone(), line.samples(ms(test.interval)))),
            Err(error) => return vec![format!("    input_series {series}: {error}")],
        }
    }
    let engine = Arc::new(Engine::new(EngineOptions {
        default_subquery_step_ms: ms(file.evaluation_interval),
        ..EngineOptions::default()
    }));
    let parts = Parts {
        queryable: Arc::new(store.clone()),
        storage: Arc::new(store.clone()),
        engine: engine.clone(),
        clock: Arc::new(ManualClock::new(test.start_ms)),
        alerts: Arc::new(Nobody),
        external_url: test.external_url.clone(),
        external_labels: test.external_labels.clone(),
    };
    let context = Context::new(parts, &Registry::default());
    let mut rehearsal = Rehearsal::new(context, groups.to_vec(), ms(file.evaluation_interval));
    let mut errors = Vec::new();
    let mut alerts: Vec<&AlertTest> = test.alerts.iter().collect();
    alerts.sort_by_key(|test| test.eval_time);
    let mut alerts = alerts.into_iter().peekable();
    let times = alerts_and_expressions(test);
    let (last, step) = (
        times.into_iter().max().unwrap_or(0),
        ms(file.evaluation_interval).max(1),
    );
    let mut fed = vec![0_usize; input.len()];
    let mut at = 0;
    loop {
        for ((labels, samples), fed) in input.iter().zip(&mut fed) {
            let due = samples.iter().skip(*fed).take_while(|(ts, _, _)| *ts <= at);
            for (ts, value, _) in due {
                store.0.write().push(labels, test.start_ms + ts, value);
                *fed += 1;
            }
        }
        let failed = rehearsal.evaluate(test.start_ms + at);
        if !failed.is_empty() {
            let time = show_ms(at);
            errors.extend(
                failed
                    .into_iter()
                    .map(|(rule, error)| format!("    rule: {rule}, time: {time}, err: {error}")),
            );
            return errors;
        }
        while let Some(test_of_alert) = alerts.next_if(|test| ms(test.eval_time) < at + step) {
            errors.extend(compare_alerts(&test.name, test_of_alert, &mut rehearsal, how));
        }
        if at >= last {
            break;
        }
        at += step;
    }
    // What lies behind the last evaluation is seen by expressions as upstream sees it: all of it is in the storage.
    for ((labels, samples), fed) in input.iter().zip(fed) {
        for (ts, value, _) in samples.iter().skip(fed) {
            store.0.write().push(labels, test.start_ms + ts, value);
        }
    }
    for case in &test.expressions {
        let ts = test.start_ms + ms(case.eval_time);
        if let Err(error) = compare_samples(case, ts, &engine, &store, how) {
            errors.push(error);
        }
    }
    if how.debug.is_some() {
        let dumped = dump(&store, &engine, test.start_ms, last);
        how.debug(|| dumped);
    }
    errors
}

// All samples of the input and of rules, as upstream shows them.
fn dump(store: &Store, engine: &Engine, start_ms: i64, last_ms: i64) -> String {
    // Up to the next whole second.
    let range = (last_ms / 1000 + 1) * 1000;
    let time = show_ms(range);
    // A range is open at its left end, where the first samples are.
    let query = format!("{{__name__=~\".+\"}}[{}]", show_ms(range + 1));
    let expr = match cupola_promql::parse_with(&query, &ParseOptions::default()) {
        Ok(expr) => expr,
        Err(errors) => return format!("Failed querying: {}", cupola_promql::render_errors(&query, &errors)),
    };
    let all = match engine.query(store, &Query::instant(&query, &expr, start_ms + range)) {
        Ok(result) => match result.value {
            QueryValue::Matrix(all) => all,
            other => return format!("Got unexpected type {}", other.type_name()),
        },
        Err(error) => return format!("Failed query exec, expr: {query}, err: {error}"),
    };
    let mut out = format!("Dump of all data (input_series and rules) at {time}:");
    for (labels, samples) in all {
        out += &format!("\n{labels} =>");
        for (ts, value) in samples.ts.iter().zip(&samples.values) {
            out += &format!("\n{} @[{ts}]", cupola_model::fmt_f64(*value));
        }
        for (ts, histogram) in samples.histograms.ts.iter().zip(&samples.histograms.values) {
            out += &format!("\n{histogram} @[{ts}]");
        }
    }
    out
}

fn alerts_and_expressions(test: &UnitTest) -> Vec<i64> {
    let alerts = test.alerts.iter().map(|test| ms(test.eval_time));
    alerts
        .chain(test.expressions.iter().map(|test| ms(test.eval_time)))
        .collect()
}

fn ms(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}

fn show_ms(at: i64) -> String {
    format_duration(at)
}

fn named(name: &str) -> String {
    if name.is_empty() {
        String::new()
    } else {
        format!("    name: {name},\n")
    }
}

fn compare_alerts(name: &str, test: &AlertTest, rehearsal: &mut Rehearsal, how: &How) -> Option<String> {
    let mut expected: Vec<(Labels, Labels)> = test
        .expected
        .iter()
        .map(|(labels, annotations)| {
            let mut labels = labels.to_builder();
            labels.set(ALERTNAME, &test.alertname);
            (labels.build(), annotations.clone())
        })
        .collect();
    let firing = rehearsal.firing(&test.alertname).into_iter();
    let mut got: Vec<(Labels, Labels)> = firing.map(|alert| (alert.labels, alert.annotations)).collect();
    expected.sort();
    got.sort();
    if expected == got {
        return None;
    }
    let (name, alertname, time) = (named(name), &test.alertname, show_ms(ms(test.eval_time)));
    let (exp, got) = (show_alerts(&expected), show_alerts(&got));
    let differs = match how.shows_diff {
        true => format!("diff: {}", diff::lines(&exp, &got, "            ")),
        false => format!("exp:{exp}, \n        got:{got}"),
    };
    Some(format!(
        "{name}    alertname: {alertname}, time: {time}, \n        {differs}"
    ))
}

fn show_alerts(all: &[(Labels, Labels)]) -> String {
    if all.is_empty() {
        return "[]".to_owned();
    }
    let each = all.iter().enumerate().map(|(at, (labels, annotations))| {
        format!("\n            {at}:\n              Labels:{labels}\n              Annotations:{annotations}")
    });
    format!("[{}\n            ]", each.collect::<Vec<_>>().join(","))
}

// A sample as it is compared: a histogram by its text.
#[derive(Debug, Clone, PartialEq)]
struct Shown {
    labels: Labels,
    value: f64,
    histogram: String,
}

impl Shown {
    fn of(labels: Labels, value: &SampleValue) -> Self {
        let (value, histogram) = match value {
            SampleValue::Float(value) => (*value, String::new()),
            SampleValue::Histogram(histogram) => {
                let mut plain = cupola_histogram::FloatHistogram::clone(histogram);
                plain.compact(0);
                (0.0, plain.test_expression())
            }
        };
        Self {
            labels,
            value,
            histogram,
        }
    }

    fn is(&self, other: &Self, is_fuzzy: bool) -> bool {
        let (a, b) = (self.value, other.value);
        let same = a == b || (a.is_nan() && b.is_nan()) || (is_fuzzy && (a.next_up() == b || a.next_down() == b));
        self.labels == other.labels && self.histogram == other.histogram && same
    }
}

fn show(all: &[Shown]) -> String {
    let each = all.iter().map(|sample| {
        if sample.histogram.is_empty() {
            format!(
                "{} {}",
                sample.labels,
                cupola_model::fmt_f64_e(sample.value).replace('e', "E")
            )
        } else {
            format!("{} {}", sample.labels, sample.histogram)
        }
    });
    let text = each.collect::<Vec<_>>().join(", ");
    if text.is_empty() { "nil".to_owned() } else { text }
}

fn compare_samples(case: &ExpressionTest, ts: i64, engine: &Engine, store: &Store, how: &How) -> Result<(), String> {
    let time = show_ms(ms(case.eval_time));
    let what = format!("    expr: {}, time: {time}", cupola_model::go_quote(&case.expr));
    let told = |error: String| format!("{what}, err: {error}");
    let mut expected = Vec::new();
    for sample in &case.expected {
        let (labels, rest) = match sample.labels.trim() {
            "" => (Labels::empty(), ""),
            text => parse_labels(text).map_err(|error| told(format!("labels {}", error)))?,
        };
        if !rest.trim().is_empty() {
            return Err(told(format!(
                "labels {}: cannot read {rest:?}",
                cupola_model::go_quote(&sample.labels)
            )));
        }
        let value = match sample.histogram.as_str() {
            "" => SampleValue::Float(sample.value),
            text => match parse_series("x", text).map_err(told)?.values.into_iter().next() {
                Some(Item::Histogram(written)) => SampleValue::Histogram(written.value),
                _ => return Err(told(format!("histogram {text:?} is none"))),
            },
        };
        expected.push(Shown::of(labels, &value));
    }
    let expr = cupola_promql::parse_with(&case.expr, &how.promql)
        .map_err(|errors| told(cupola_promql::render_errors(&case.expr, &errors)))?;
    let result = engine
        .query(store, &Query::instant(&case.expr, &expr, ts))
        .map_err(|error| told(error.to_string()))?;
    let mut got: Vec<Shown> = match result.value {
        QueryValue::Vector(rows) => rows
            .into_iter()
            .map(|(labels, _, value)| Shown::of(labels, &value))
            .collect(),
        QueryValue::Scalar(_, value) => vec![Shown::of(Labels::empty(), &SampleValue::Float(value))],
        _ => return Err(told("the result is neither a vector nor a scalar".to_owned())),
    };
    expected.sort_by(|a, b| a.labels.cmp(&b.labels));
    got.sort_by(|a, b| a.labels.cmp(&b.labels));
    let is_same = expected.len() == got.len() && expected.iter().zip(&got).all(|(a, b)| a.is(b, how.is_fuzzy));
    if is_same {
        return Ok(());
    }
    let differs = match how.shows_diff {
        true => {
            let each = |all: &[Shown]| {
                all.iter()
                    .map(|one| show(std::slice::from_ref(one)) + "\n")
                    .collect::<String>()
            };
            format!("diff: {}", diff::lines(&each(&expected), &each(&got), "            "))
        }
        false => format!("exp: {}\n        got: {}", show(&expected), show(&got)),
    };
    Err(format!("{what},\n        {differs}"))
}

// Alerts are looked at where they are made.
struct Nobody;

impl AlertSink for Nobody {
    fn post(&self, _: &[Alert]) {}
}

// The input, and what rules write. Shared by cloning.
#[derive(Clone, Default)]
struct Store(Arc<RwLock<MemoryStore>>);

impl Queryable for Store {
    fn select(&self, selection: &Selection<'_>) -> Result<Vec<Series>, StorageError> {
        self.0.read().select(selection)
    }

    fn label_names(&self, selection: &Selection<'_>) -> Result<Vec<String>, StorageError> {
        self.0.read().label_names(selection)
    }

    fn label_values(&self, name: &str, selection: &Selection<'_>) -> Result<Vec<String>, StorageError> {
        self.0.read().label_values(name, selection)
    }
}

impl Appendable for Store {
    fn appender(&self) -> Box<dyn Appender + '_> {
        Box::new(Batch {
            store: self,
            samples: Vec::new(),
        })
    }
}

struct Batch<'a> {
    store: &'a Store,
    samples: Vec<(Labels, i64, SampleValue)>,
}

impl Appender for Batch<'_> {
    fn append(&mut self, _: Option<SeriesRef>, labels: &Labels, ts: i64, value: f64) -> Result<SeriesRef, AppendError> {
        self.samples.push((labels.clone(), ts, SampleValue::Float(value)));
        Ok(SeriesRef(0))
    }

    fn append_known(&mut self, _: SeriesRef, _: i64, _: f64) -> Result<bool, AppendError> {
        // Nobody is told a reference that means anything.
        Ok(false)
    }

    fn append_histogram(
        &mut self,
        _: Option<SeriesRef>,
        labels: &Labels,
        ts: i64,
        histogram: NativeHistogram,
    ) -> Result<SeriesRef, AppendError> {
        let value = SampleValue::Histogram(Arc::new(histogram.to_float()));
        self.samples.push((labels.clone(), ts, value));
        Ok(SeriesRef(0))
    }

    fn commit(self: Box<Self>) -> Result<(), CommitError> {
        let mut store = self.store.0.write();
        for (labels, ts, value) in self.samples {
            store.push(&labels, ts, value);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use cupola_config::DiskFiles;
    use cupola_testkit::conformance_dir;

    // Exit code, standard output and error.
    fn run(dir: &Path, file: &str, run: &[&str]) -> (u8, String, String) {
        let (mut out, mut err) = (Vec::new(), Vec::new());
        let mut io = Io {
            files: &DiskFiles,
            input: &mut io::empty(),
            out: &mut out,
            err: &mut err,
        };
        let args = RuleTestArgs {
            files: vec![dir.join(file)],
            run: run.iter().map(ToString::to_string).collect(),
            ignore_unknown_fields: false,
            diff: false,
            debug: false,
            coverage: false,
            coverage_threshold: 0.0,
        };
        let code = test(&args, None, ParseOptions::default(), &mut io).unwrap();
        let text = |bytes: Vec<u8>| {
            String::from_utf8(bytes)
                .unwrap()
                .replace(&format!("{}/", dir.display()), "")
        };
        (code, text(out), text(err))
    }

    #[test]
    fn the_references_tests_end_as_there() {
        let Some(dir) = conformance_dir("promtool") else { return };
        for (file, names, code) in [
            ("unittest.yml", &[][..], 0),
            ("long-period.yml", &[], 0),
            ("no-test-group-interval.yml", &[], 0),
            ("negative-offset-test.yml", &[], 0),
            ("rules_run.yml", &[], 1),
            ("rules_run.yml", &["correct"], 0),
            ("rules_run.yml", &["wrong"], 1),
            ("rules_run_fuzzy.yml", &["correct"], 0),
            ("rules_run_fuzzy.yml", &["wrong"], 1),
            ("rules_run_no_fuzzy.yml", &[], 1),
            ("failing.yml", &[], 1),
            ("bad-input-series.yml", &[], 1),
            ("bad-rules-error-test.yml", &[], 1),
        ] {
            let (got, out, err) = run(&dir, file, names);
            assert_eq!(got, code, "{file} {names:?}: {out}{err}");
            assert_eq!(out.contains("  SUCCESS"), code == 0, "{file}: {out}");
        }
    }

    #[test]
    fn an_alert_without_a_name_and_an_order_that_names_a_group_twice_were_passed_over() {
        let dir = tempfile::tempdir().unwrap();
        for (text, told) in [
            (
                "tests: [{name: n1, input_series: [], alert_rule_test: [{eval_time: 1m}]}]\n",
                "an item under alert_rule_test misses required attribute alertname at eval_time 1m (in TestGroup n1)\n",
            ),
            (
                "group_eval_order: [g, h, g]\ntests: [{input_series: []}]\n",
                "group name repeated in evaluation order: g\n",
            ),
        ] {
            std::fs::write(dir.path().join("t.yml"), text).unwrap();
            let (code, out, err) = run(dir.path(), "t.yml", &[]);
            assert_eq!((code, out.contains("SUCCESS")), (1, false), "{out}");
            assert_eq!(err, format!("  FAILED:\n{told}"));
        }
    }

    #[test]
    fn what_differs_is_told_as_upstream_tells_it() {
        let Some(dir) = conformance_dir("promtool") else { return };
        let (_, out, err) = run(&dir, "failing.yml", &[]);
        assert_eq!(out, "Unit Testing:  failing.yml\n\n\n\n\n\n");
        let expected = r#"  FAILED:
    name: Failing test,
    alertname: Test, time: 0s, 
        exp:[
            0:
              Labels:{alertname="Test"}
              Annotations:{}
            ], 
        got:[]
    expr: "test", time: 0s,
        exp: {__name__="test"} 1E+00
        got: {__name__="test"} 0E+00
    name: Failing alert test,
    alertname: InstanceDown, time: 5m, 
        exp:[], 
        got:[
            0:
              Labels:{alertname="InstanceDown", job="test", severity="page"}
              Annotations:{description=" of job test has been down for more than 5 minutes.", summary="Instance  down"}
            ]
    name: Failing alert test,
    alertname: AlwaysFiring, time: 5m, 
        exp:[], 
        got:[
            0:
              Labels:{alertname="AlwaysFiring"}
              Annotations:{}
            ]
"#;
        assert_eq!(err, expected);
    }
}
