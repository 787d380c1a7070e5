//! `promtool rules backtest`: what rules would have done over stored samples. Ours; Prometheus's promtool has none.

mod messages;

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use clap::{Args, Subcommand, ValueEnum};
use cupola_alert::PastAlert;
use cupola_config::rules::RuleOptions;
use cupola_config::{AlertmanagerConfig, RuleFile, load_rules};
use cupola_engine::{Cancel, Engine, EngineOptions};
use cupola_env::{Clock as _, RealFs, SystemClock};
use cupola_model::{Labels, format_duration, parse_duration};
use cupola_promql::ParseOptions;
use cupola_rules::{BacktestOptions, GroupSource, Made, ReportsJson, RuleReport, backtest};
use cupola_storage::{Queryable, Selection, Series, StorageError};
use cupola_tsdb::ReadOnly;
use serde_json::Value;

use super::api::ApiServer;
use super::{FAILURE, Io};

// A month of a large pack takes minutes.
const TIMEOUT: Duration = Duration::from_secs(3600);
// What is written about one alert at most.
const LONGEST_LABELS: usize = 160;

/// Tools for rules that are ours.
#[derive(Debug, Subcommand)]
pub(super) enum Rules {
    /// Replay rules over past data: when their alerts would have been pending, fired and been resolved.
    Backtest(BacktestArgs),
}

/// What is replayed over what.
#[derive(Debug, Args)]
pub(super) struct BacktestArgs {
    /// The rule files.
    #[arg(value_name = "FILE", required = true)]
    files: Vec<PathBuf>,
    /// The first moment: seconds since the epoch, RFC 3339, or a duration such as 30d before the end.
    #[arg(long, value_name = "TIME")]
    start: String,
    /// The last moment; now where it is not told.
    #[arg(long, value_name = "TIME")]
    end: Option<String>,
    /// A data folder to read, a server may run on it; else the server at --url is asked.
    #[arg(long, value_name = "DIR", conflicts_with = "url")]
    data: Option<PathBuf>,
    /// The server whose data and engine are used.
    #[arg(long, value_name = "URL", default_value = "http://localhost:9090")]
    url: String,
    /// Other versions of the rules, to be shown side by side.
    #[arg(long, value_name = "FILE")]
    against: Vec<PathBuf>,
    /// An alertmanager.yml: also tell how many messages its routes would have made of the alerts, by receiver. Grouping,
    /// timing, inhibition and time intervals are the Alertmanager's; there are no silences, and every message is taken.
    #[arg(long = "alertmanager-config", value_name = "FILE")]
    alertmanager_config: Option<PathBuf>,
    /// How often groups are evaluated that do not say it.
    #[arg(long, value_name = "DURATION", default_value = "1m")]
    eval_interval: String,
    /// How many alerts of each rule are listed, the latest last.
    #[arg(long, value_name = "NUMBER", default_value_t = 10)]
    limit: usize,
    /// How the result looks.
    #[arg(short, long, value_enum, default_value = "text")]
    output: Output,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Output {
    /// For people.
    Text,
    /// All of it, as /api/v1/rules/backtest answers it.
    Json,
}

/// Replays and prints.
pub(super) fn run(args: &BacktestArgs, promql: ParseOptions, io: &mut Io<'_>) -> io::Result<u8> {
    match replay(args, promql, io) {
        Ok(told) => {
            told.write(args, &mut io::BufWriter::new(&mut io.out))?;
            Ok(0)
        }
        Err(error) => {
            writeln!(io.err, "promtool: error: {error}")?;
            Ok(FAILURE)
        }
    }
}

fn replay(args: &BacktestArgs, promql: ParseOptions, io: &mut Io<'_>) -> Result<Told, String> {
    let now = SystemClock.now_ms();
    let end = args.end.as_deref().map_or(Ok(now), |text| moment("--end", text, now))?;
    let start = moment("--start", &args.start, end)?;
    if end < start {
        return Err("--end is before --start".to_owned());
    }
    let interval_ms = parse_duration(&args.eval_interval)
        .ok()
        .filter(|ms| *ms > 0)
        .ok_or_else(|| format!("--eval-interval: {:?} is no duration such as 1m", args.eval_interval))?;
    let alertmanager = args.alertmanager_config.as_deref().map(|path| messages::load(path, io));
    let alertmanager = alertmanager.transpose()?;
    let mut source = Source::open(args, promql, io)?;
    let mut of = |files: &[PathBuf], io: &mut Io<'_>| {
        let files = read(files, promql, io)?;
        let mut outcome = source.outcome(&files, start, end, interval_ms, io)?;
        if let Some(config) = &alertmanager {
            outcome.rehearse(config, end)?;
        }
        Ok::<_, String>(outcome)
    };
    let new = of(&args.files, io)?;
    let against = match args.against.as_slice() {
        [] => None,
        files => Some(of(files, io)?),
    };
    Ok(Told {
        start,
        end,
        new,
        against,
    })
}

/// What came of one version of the rules.
enum Outcome {
    /// Replayed here, and what would have been told of the alerts.
    Own(Vec<RuleReport>, Option<Value>),
    /// As a server's API gives it.
    Server(Value),
}

impl Outcome {
    fn rehearse(&mut self, config: &AlertmanagerConfig, end: i64) -> Result<(), String> {
        match self {
            Self::Own(reports, told) => {
                let lives = reports.iter().flat_map(|report| match &report.made {
                    Made::Alerting { lives, .. } => lives.as_slice(),
                    Made::Recording { .. } => &[],
                });
                let alerts = lives.filter_map(|life| {
                    Some(PastAlert {
                        labels: life.labels.clone(),
                        fired_at: life.fired_at?,
                        ended_at: life.ended_at,
                    })
                });
                *told = Some(messages::told(&alerts.collect::<Vec<_>>(), config, end)?);
                Ok(())
            }
            Self::Server(reports) => messages::add(reports, config),
        }
    }
}

/// All that is to be printed.
struct Told {
    start: i64,
    end: i64,
    new: Outcome,
    against: Option<Outcome>,
}

impl Told {
    // Of our own reports, with so many alerts of each rule.
    fn json<'a>(&self, outcome: &'a Outcome, latest: Option<usize>) -> Option<ReportsJson<'a>> {
        let Outcome::Own(reports, notifications) = outcome else {
            return None;
        };
        Some(ReportsJson {
            reports,
            start: self.start,
            end: self.end,
            latest,
            notifications: notifications.clone(),
            against: None,
        })
    }

    // Small enough to be looked at: for people.
    fn value(&self, outcome: &Outcome, latest: usize) -> io::Result<Value> {
        match (outcome, self.json(outcome, Some(latest))) {
            (Outcome::Server(value), _) => Ok(value.clone()),
            (_, reports) => Ok(serde_json::to_value(reports)?),
        }
    }

    fn write(self, args: &BacktestArgs, out: &mut dyn io::Write) -> io::Result<()> {
        match args.output {
            Output::Text => {
                let text = if let Some(against) = &self.against {
                    let (new, against) = (self.value(&self.new, 0)?, self.value(against, 0)?);
                    side_by_side(&new, &against) + &messages::side_by_side(&new, &against)
                } else {
                    let reports = self.value(&self.new, args.limit)?;
                    describe(&reports, args.limit) + &messages::describe(&reports)
                };
                out.write_all(text.as_bytes())?;
            }
            Output::Json => {
                let against = self.against.as_ref().and_then(|against| self.json(against, None));
                if let Some(reports) = self.json(&self.new, None) {
                    let reports = ReportsJson {
                        against: against.as_ref(),
                        ..reports
                    };
                    serde_json::to_writer_pretty(&mut *out, &reports)?;
                } else {
                    serde_json::to_writer_pretty(&mut *out, &self.joined())?;
                }
                out.write_all(b"\n")?;
            }
        }
        out.flush()
    }

    // What a server has told of both versions, as one answer.
    fn joined(self) -> Value {
        let Outcome::Server(mut reports) = self.new else {
            return Value::Null;
        };
        if let Some(Outcome::Server(mut against)) = self.against
            && let Some(object) = reports.as_object_mut()
        {
            let rules = against.get_mut("rules").map(Value::take);
            object.insert("against".to_owned(), rules.unwrap_or_default());
            if let Some(notifications) = against.get_mut("notifications") {
                object.insert("againstNotifications".to_owned(), notifications.take());
            }
        }
        reports
    }
}

// Seconds since the epoch, RFC 3339, or so long before `end`.
fn moment(flag: &str, text: &str, end: i64) -> Result<i64, String> {
    if let Ok(seconds) = text.parse::<f64>()
        && seconds.abs() < 1e12
    {
        return Ok((seconds * 1000.0) as i64);
    }
    if let Ok(ms) = parse_duration(text) {
        return Ok(end - ms);
    }
    let parsed = text.parse::<jiff::Timestamp>();
    parsed.map(|time| time.as_millisecond()).map_err(|_| {
        format!("{flag}: {text:?} is neither seconds since the epoch, RFC 3339, nor a duration such as 30d")
    })
}

/// A rule file as text and as what it says.
struct Rulebook {
    text: String,
    file: RuleFile,
}

fn read(files: &[PathBuf], promql: ParseOptions, io: &Io<'_>) -> Result<Vec<Rulebook>, String> {
    let options = RuleOptions {
        promql,
        ..RuleOptions::default()
    };
    let one = |path: &PathBuf| {
        let text = super::read(path, io)?;
        let file = load_rules(path, options, io.files).map_err(|errors| {
            let all: Vec<String> = errors.iter().map(ToString::to_string).collect();
            all.join("\n")
        })?;
        Ok(Rulebook { text, file })
    };
    files.iter().map(one).collect()
}

/// What is replayed over.
enum Source {
    Folder(Arc<dyn Queryable>, Arc<Engine>),
    Server(ApiServer),
}

struct Folder(ReadOnly);

impl Queryable for Folder {
    fn select(&self, selection: &Selection<'_>) -> Result<Vec<Series>, StorageError> {
        self.0.select(selection)
    }

    fn label_names(&self, selection: &Selection<'_>) -> Result<Vec<String>, StorageError> {
        let series = self.select(selection)?;
        let names = series
            .iter()
            .flat_map(|series| series.labels.iter().map(|(name, _)| name.to_owned()));
        Ok(names.collect::<std::collections::BTreeSet<_>>().into_iter().collect())
    }

    fn label_values(&self, name: &str, selection: &Selection<'_>) -> Result<Vec<String>, StorageError> {
        let series = self.select(selection)?;
        let values = series
            .iter()
            .filter_map(|series| series.labels.get(name).map(str::to_owned));
        Ok(values.collect::<std::collections::BTreeSet<_>>().into_iter().collect())
    }
}

impl Source {
    fn open(args: &BacktestArgs, promql: ParseOptions, io: &mut Io<'_>) -> Result<Self, String> {
        let Some(dir) = &args.data else {
            return ApiServer::new(&args.url, TIMEOUT).map(Self::Server);
        };
        let folder = open_folder(dir)?;
        for problem in folder.broken_blocks().iter().chain(folder.damage()) {
            writeln!(io.err, "WARNING: {problem}").map_err(|error| error.to_string())?;
        }
        let engine = Engine::new(EngineOptions {
            timeout: TIMEOUT,
            max_samples: usize::MAX,
            result_cache_bytes: 0,
            parse: promql,
            ..EngineOptions::default()
        });
        Ok(Self::Folder(Arc::new(Folder(folder)), Arc::new(engine)))
    }

    // What comes of the rules of all files.
    fn outcome(
        &mut self,
        files: &[Rulebook],
        start: i64,
        end: i64,
        interval_ms: i64,
        io: &mut Io<'_>,
    ) -> Result<Outcome, String> {
        match self {
            Self::Folder(storage, engine) => {
                let of_file = |book: &Rulebook| {
                    let name = book.file.path.display().to_string();
                    let groups = book.file.groups.iter().cloned();
                    groups
                        .map(|group| GroupSource {
                            file: name.clone(),
                            group,
                        })
                        .collect::<Vec<_>>()
                };
                let groups: Vec<GroupSource> = files.iter().flat_map(of_file).collect();
                let options = BacktestOptions {
                    start,
                    end,
                    interval_ms,
                    query_offset_ms: 0,
                    external_url: String::new(),
                    external_labels: Labels::empty(),
                    cancel: Cancel::new(),
                };
                let reports = backtest(storage.clone(), engine.clone(), &groups, &options);
                Ok(Outcome::Own(reports.map_err(|error| error.to_string())?, None))
            }
            Self::Server(server) => {
                let [book] = files else {
                    return Err(
                        "a server is asked about one rule file at a time; several are replayed together with --data"
                            .to_owned(),
                    );
                };
                let seconds = |ms: i64| cupola_model::fmt_f64(ms as f64 / 1000.0);
                let (start, end, interval) = (seconds(start), seconds(end), seconds(interval_ms));
                let form = [
                    ("rules", book.text.as_str()),
                    ("start", &start),
                    ("end", &end),
                    ("interval", &interval),
                ];
                let mut answer = server.post("/api/v1/rules/backtest", &form)?;
                for warning in answer.get("warnings").and_then(Value::as_array).into_iter().flatten() {
                    writeln!(io.err, "WARNING: {warning}").map_err(|error| error.to_string())?;
                }
                Ok(Outcome::Server(
                    answer.get_mut("data").map(Value::take).unwrap_or_default(),
                ))
            }
        }
    }
}

fn open_folder(dir: &Path) -> Result<ReadOnly, String> {
    if !dir.is_dir() {
        return Err(format!("--data: there is no folder {}", dir.display()));
    }
    ReadOnly::open(dir, Arc::new(RealFs)).map_err(|error| error.to_string())
}

fn seconds(value: &Value, name: &str) -> Option<f64> {
    value.get(name).and_then(Value::as_f64)
}

fn number(value: &Value, name: &str) -> u64 {
    value.get(name).and_then(Value::as_u64).unwrap_or(0)
}

fn text<'a>(value: &'a Value, name: &str) -> &'a str {
    value.get(name).and_then(Value::as_str).unwrap_or_default()
}

fn date(seconds: f64) -> String {
    match jiff::Timestamp::from_second(seconds as i64) {
        Ok(time) => time.strftime("%Y-%m-%d %H:%M:%S").to_string(),
        Err(_) => seconds.to_string(),
    }
}

fn length(seconds: f64) -> String {
    format_duration((seconds as i64) * 1000)
}

fn rules(reports: &Value) -> impl Iterator<Item = &Value> {
    reports.get("rules").and_then(Value::as_array).into_iter().flatten()
}

fn header(reports: &Value) -> String {
    let (start, end) = (
        seconds(reports, "start").unwrap_or(0.0),
        seconds(reports, "end").unwrap_or(0.0),
    );
    format!("From {} to {} UTC, {}\n", date(start), date(end), length(end - start))
}

// One line on what an alerting rule did.
fn alerts_in_short(rule: &Value) -> String {
    let (fired, pending) = (number(rule, "fired"), number(rule, "pendingOnly"));
    let mut out = match fired {
        0 => "never fired".to_owned(),
        _ => format!(
            "fired {fired} {}, {} in all, {} at the longest",
            if fired == 1 { "time" } else { "times" },
            length(seconds(rule, "firingSeconds").unwrap_or(0.0)),
            length(seconds(rule, "longestSeconds").unwrap_or(0.0)),
        ),
    };
    if pending > 0 {
        let _ = write!(
            out,
            "; pending only {pending} {}",
            if pending == 1 { "time" } else { "times" }
        );
    }
    out
}

fn describe(reports: &Value, limit: usize) -> String {
    let end = seconds(reports, "end").unwrap_or(0.0);
    let mut out = header(reports);
    let mut group = ("", "");
    for rule in rules(reports) {
        let of = (text(rule, "file"), text(rule, "group"));
        if of != group {
            let _ = write!(out, "\n{}, group {}\n", of.0, of.1);
            group = of;
        }
        let name = text(rule, "name");
        if text(rule, "type") == "recording" {
            let (series, samples) = (number(rule, "series"), number(rule, "samples"));
            let _ = writeln!(out, "  {name}: {series} series, {samples} samples");
        } else {
            let _ = writeln!(out, "  {name}: {}", alerts_in_short(rule));
        }
        if let Some(failure) = rule.get("firstFailure") {
            let _ = writeln!(
                out,
                "    {} of {} evaluations fail; the first, at {}: {}",
                number(rule, "failures"),
                number(rule, "evaluations"),
                date(seconds(failure, "time").unwrap_or(0.0)),
                text(failure, "error"),
            );
        }
        let lives = rule
            .get("alerts")
            .and_then(Value::as_array)
            .map(Vec::as_slice)
            .unwrap_or_default();
        let fired: Vec<&Value> = lives.iter().filter(|life| life.get("firedAt").is_some()).collect();
        let shown = fired.len().min(limit);
        // There may be but the latest ones here.
        let left_out = (number(rule, "fired") as usize).max(fired.len()) - shown;
        if left_out > 0 {
            let _ = writeln!(out, "    ({left_out} before these)");
        }
        for life in fired.iter().skip(fired.len() - shown) {
            let from = seconds(life, "firedAt").unwrap_or(0.0);
            let ended = seconds(life, "endedAt");
            let lasted = length(ended.unwrap_or(end) - from);
            let until = ended.map_or_else(|| "still fires".to_owned(), |at| format!("until {}", date(at)));
            let _ = writeln!(
                out,
                "    {} {until} ({lasted}) {} = {}",
                date(from),
                labels(life),
                text(life, "value")
            );
        }
    }
    out
}

fn labels(life: &Value) -> String {
    let pairs = life.get("labels").and_then(Value::as_object).into_iter().flatten();
    let pairs = pairs
        .filter(|(name, _)| *name != "alertname")
        .map(|(name, value)| format!("{name}={value}"));
    let all = format!("{{{}}}", pairs.collect::<Vec<_>>().join(", "));
    match all.char_indices().nth(LONGEST_LABELS) {
        Some((at, _)) => format!("{}…", all.get(..at).unwrap_or_default()),
        None => all,
    }
}

// The alerting rules of two versions, by name.
fn side_by_side(new: &Value, old: &Value) -> String {
    let mut names: BTreeMap<&str, [Vec<&Value>; 2]> = BTreeMap::new();
    for (side, reports) in [old, new].into_iter().enumerate() {
        for rule in rules(reports).filter(|rule| text(rule, "type") == "alerting") {
            if let Some(rules) = names.entry(text(rule, "name")).or_default().get_mut(side) {
                rules.push(rule);
            }
        }
    }
    let mut out = header(new);
    for (name, sides) in names {
        let _ = write!(out, "\n{name}\n");
        for (what, rules) in ["against", "new"].into_iter().zip(sides) {
            if rules.is_empty() {
                let _ = writeln!(out, "  {what:>7}: has no such rule");
            }
            for rule in rules {
                let failed = match number(rule, "failures") {
                    0 => String::new(),
                    count => format!("; {count} evaluations fail"),
                };
                let _ = writeln!(out, "  {what:>7}: {}{failed}", alerts_in_short(rule));
            }
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use expect_test::expect;
    use serde_json::json;

    use super::*;

    fn reports(fired: u64) -> Value {
        let alert = json!({
            "labels": {"alertname": "A", "instance": "x"}, "activeAt": 0.0, "firedAt": 60.0, "endedAt": 360.0, "value": "7",
        });
        let still = json!({"labels": {"alertname": "A"}, "activeAt": 400.0, "firedAt": 500.0, "value": "1"});
        json!({"start": 0.0, "end": 600.0, "rules": [
            {"file": "r.yml", "group": "g", "name": "r", "type": "recording", "series": 2, "samples": 20},
            {"file": "r.yml", "group": "g", "name": "A", "type": "alerting", "evaluations": 10, "failures": 1,
             "firstFailure": {"time": 120.0, "error": "no"}, "fired": fired, "pendingOnly": 1, "firingSeconds": 400.0,
             "longestSeconds": 300.0, "alerts": [alert, still]},
        ]})
    }

    #[test]
    fn a_report_is_read_in_one_look() {
        expect![[r#"
            From 1970-01-01 00:00:00 to 1970-01-01 00:10:00 UTC, 10m

            r.yml, group g
              r: 2 series, 20 samples
              A: fired 2 times, 6m40s in all, 5m at the longest; pending only 1 time
                1 of 10 evaluations fail; the first, at 1970-01-01 00:02:00: no
                (1 before these)
                1970-01-01 00:08:20 still fires (1m40s) {} = 1
        "#]]
        .assert_eq(&describe(&reports(2), 1));
    }

    #[test]
    fn two_versions_stand_side_by_side() {
        expect![[r#"
            From 1970-01-01 00:00:00 to 1970-01-01 00:10:00 UTC, 10m

            A
              against: has no such rule
                  new: never fired; pending only 1 time; 1 evaluations fail
        "#]]
        .assert_eq(&side_by_side(
            &reports(0),
            &json!({"start": 0.0, "end": 600.0, "rules": []}),
        ));
    }

    #[test]
    fn times_are_told_in_three_ways() {
        let end = 10_000_000;
        assert_eq!(moment("--start", "1h", end), Ok(end - 3_600_000));
        assert_eq!(moment("--start", "1.5", end), Ok(1500));
        assert_eq!(moment("--start", "1970-01-01T00:00:02Z", end), Ok(2000));
        assert!(moment("--start", "soon", end).is_err());
    }
}
