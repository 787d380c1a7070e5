//! `promtool tsdb create-blocks-from rules`: what recording rules would have written, had they been there before.
//!
//! A running server evaluates them, a range query for each rule and block; each answer becomes a block.

use std::path::Path;
use std::time::Duration;

use cupola_config::rules::{Rule, RuleGroup, RuleKind};
use cupola_config::{RuleFile, RuleOptions, load_rules};
use cupola_env::{Clock as _, SystemClock};
use cupola_model::{Labels, METRIC_NAME, go_quote, parse_f64};
use cupola_promql::ParseOptions;
use serde_json::Value;

use super::super::Io;
use super::super::api::ApiServer;
use super::build::{Gathered, block_ms};
use super::{CreateArgs, Failure, RuleSourceArgs};

// Where the end is not told: younger samples may still be in the server's head.
const END_BEFORE_NOW_MS: i64 = 3 * 3_600_000;
const TIMEOUT: Duration = Duration::from_secs(300);

/// Writes the blocks. A rule that fails hinders no other.
pub(super) fn create(
    args: &CreateArgs,
    source: &RuleSourceArgs,
    options: &ParseOptions,
    io: &mut Io<'_>,
) -> Result<(), Failure> {
    let end = match &source.end {
        Some(text) => time(text).map_err(|error| Failure::Told(format!("error parsing end time: {error}")))?,
        None => (SystemClock.now_ms() - END_BEFORE_NOW_MS) / 1000,
    };
    let start = time(&source.start).map_err(|error| Failure::Told(format!("error parsing start time: {error}")))?;
    if start >= end {
        return Err(Failure::new("start time is not before end time"));
    }
    let mut server = ApiServer::new(&source.url, TIMEOUT).map_err(Failure::Told)?;
    let (from, to) = (date(start), date(end));
    writeln!(
        io.err,
        "level=INFO msg=\"new rule importer\" component=backfiller start=\"{from}\" end=\"{to}\""
    )?;
    let rule_options = RuleOptions {
        promql: *options,
        ..RuleOptions::default()
    };
    let mut files: Vec<RuleFile> = Vec::new();
    for file in &source.files {
        files.push(load_rules(file, rule_options, io.files).map_err(|errors| {
            let texts: Vec<String> = errors.iter().map(|error| error.to_string()).collect();
            Failure::Told(format!("rule importer parse error: {}", texts.join("\n")))
        })?);
    }
    let mut has_failed = false;
    for (file, group) in files
        .iter()
        .flat_map(|file| file.groups.iter().map(move |group| (file, group)))
    {
        let key = format!("{};{}", file.path.display(), group.name);
        writeln!(
            io.err,
            "level=INFO msg=\"processing group\" component=backfiller name={key}"
        )?;
        let records = group
            .rules
            .iter()
            .enumerate()
            .filter_map(|(id, rule)| match &rule.kind {
                RuleKind::Recording { .. } => Some((id, rule)),
                RuleKind::Alerting { .. } => None,
            });
        for (id, rule) in records {
            let name = rule.name();
            writeln!(
                io.err,
                "level=INFO msg=\"processing rule\" component=backfiller id={id} name={name}"
            )?;
            let steps = Steps::new(group, &key, source.eval_interval, (start, end));
            match import(
                rule,
                &steps,
                block_ms(args.max_block_duration),
                &mut server,
                &source.output_dir,
            ) {
                Ok(warnings) => {
                    for warning in warnings {
                        let warning = go_quote(&warning);
                        writeln!(
                            io.err,
                            "level=WARN msg=\"Range query returned warnings.\" warnings={warning}"
                        )?;
                    }
                }
                Err(error) => {
                    has_failed = true;
                    writeln!(io.err, "rule importer error: {error}")?;
                }
            }
        }
    }
    if has_failed {
        return Err(Failure::new("error importing rules"));
    }
    Ok(())
}

/// When a group is evaluated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Steps {
    interval_ms: i64,
    slot_ms: i64,
    // Seconds, both included.
    start: i64,
    end: i64,
}

impl Steps {
    // Each group has a slot of its own within the interval, by a hash of its name: as a server would evaluate it.
    fn new(group: &RuleGroup, key: &str, default_ms: i64, (start, end): (i64, i64)) -> Self {
        let own_ms = group
            .interval
            .map(|own| i64::try_from(own.as_millis()).unwrap_or(i64::MAX));
        let interval_ms = own_ms.unwrap_or(default_ms).max(1);
        let hash = Labels::from_pairs([("group", key)]).fingerprint();
        Self {
            interval_ms,
            slot_ms: (hash % interval_ms.unsigned_abs()) as i64,
            start,
            end,
        }
    }

    /// The first step and the end of the query for the block from `begin` on, in milliseconds; `None` where no step
    /// lies in it.
    fn within(&self, begin: i64, block_ms: i64) -> Option<(i64, i64)> {
        let from = begin.max(self.start.saturating_mul(1000));
        let to = ((begin.saturating_add(block_ms) - 1).div_euclid(1000)).min(self.end) * 1000;
        let passed = (from - self.slot_ms).rem_euclid(self.interval_ms);
        let first = if passed == 0 {
            from
        } else {
            from - passed + self.interval_ms
        };
        (first <= to).then_some((first, to))
    }
}

fn import(
    rule: &Rule,
    steps: &Steps,
    block_ms: i64,
    server: &mut ApiServer,
    dir: &Path,
) -> Result<Vec<String>, String> {
    let mut warnings = Vec::new();
    let mut begin = steps.start.saturating_mul(1000).div_euclid(block_ms) * block_ms;
    while begin <= steps.end.saturating_mul(1000) {
        if let Some((first, to)) = steps.within(begin, block_ms) {
            let answer = query_range(server, &rule.expr_text, first, to, steps.interval_ms)
                .map_err(|error| format!("query range: {error}"))?;
            let told = answer.get("warnings").and_then(Value::as_array);
            warnings.extend(told.into_iter().flatten().filter_map(Value::as_str).map(str::to_owned));
            let gathered = gather(&answer, rule, block_ms)?;
            gathered
                .write(dir)
                .map_err(|error| format!("flush and commit: {error}"))?;
        }
        begin = begin.saturating_add(block_ms);
    }
    Ok(warnings)
}

// The samples of an answer under the rule's name and with its labels.
fn gather(answer: &Value, rule: &Rule, block_ms: i64) -> Result<Gathered, String> {
    let unreadable = || "query range: the answer is not what the API gives".to_owned();
    let data = answer.get("data").ok_or_else(unreadable)?;
    let kind = data.get("resultType").and_then(Value::as_str).unwrap_or_default();
    if kind != "matrix" {
        return Err(format!("rule result is wrong type {kind}"));
    }
    let mut gathered = Gathered::new(block_ms);
    for series in data.get("result").and_then(Value::as_array).ok_or_else(unreadable)? {
        let metric = series.get("metric").and_then(Value::as_object).ok_or_else(unreadable)?;
        let pairs = metric
            .iter()
            .map(|(name, value)| (name, value.as_str().unwrap_or_default()));
        let mut builder = Labels::from_pairs(pairs).to_builder();
        for (name, value) in &rule.labels {
            builder.set(name, value);
        }
        builder.set(METRIC_NAME, rule.name());
        let labels = builder.build();
        // Empty buckets, the zero threshold and unused custom bounds are not in the answer, so that what would be written
        // is not what the rule would have recorded. Upstream leaves such samples out without a word.
        if series.get("histograms").is_some() {
            return Err(format!(
                "series {labels}: it has native histograms, of which the API does not tell all that a block has to hold"
            ));
        }
        let number = gathered.series(&labels);
        for sample in series.get("values").and_then(Value::as_array).ok_or_else(unreadable)? {
            let ts = sample.get(0).and_then(Value::as_f64).ok_or_else(unreadable)?;
            let value = sample
                .get(1)
                .and_then(Value::as_str)
                .and_then(parse_f64)
                .ok_or_else(unreadable)?;
            let added = gathered.add(number, (ts * 1000.0).round() as i64, value);
            added.map_err(|why| format!("add: series {labels}: {}", why.text()))?;
        }
    }
    Ok(gathered)
}

// Times in milliseconds.
fn query_range(server: &mut ApiServer, query: &str, start: i64, end: i64, step: i64) -> Result<Value, String> {
    let seconds = |ms: i64| cupola_model::fmt_f64(ms as f64 / 1000.0);
    let (start, end, step) = (seconds(start), seconds(end), seconds(step));
    let form = [("query", query), ("start", &start), ("end", &end), ("step", &step)];
    server.post("/api/v1/query_range", &form)
}

// Seconds since the epoch, from seconds with or without a fraction, or from RFC 3339.
fn time(text: &str) -> Result<i64, String> {
    let unreadable = || format!("cannot parse {} to a valid timestamp", go_quote(text));
    if let Ok(seconds) = text.parse::<f64>() {
        // Farther away no time is a date.
        return if seconds.abs() < 1e12 {
            Ok(seconds.floor() as i64)
        } else {
            Err(unreadable())
        };
    }
    let parsed = text.parse::<jiff::Timestamp>().map_err(|_| unreadable())?;
    Ok(parsed.as_second())
}

// As RFC 822 has it.
fn date(seconds: i64) -> String {
    match jiff::Timestamp::from_second(seconds) {
        Ok(time) => time.strftime("%d %b %y %H:%M UTC").to_string(),
        Err(_) => seconds.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_seconds_or_dates() {
        for (text, seconds) in [
            ("5", Some(5)),
            ("1.9", Some(1)),
            ("1970-01-01T00:01:00Z", Some(60)),
            ("x", None),
            ("1e300", None),
            ("NaN", None),
        ] {
            assert_eq!(time(text).ok(), seconds, "{text}");
        }
        assert_eq!(time("x").unwrap_err(), "cannot parse \"x\" to a valid timestamp");
        assert_eq!(date(1_700_000_000), "14 Nov 23 22:13 UTC");
    }

    #[test]
    fn steps_stand_at_the_slot_of_the_group() {
        let steps = Steps {
            interval_ms: 60_000,
            slot_ms: 7_500,
            start: 100,
            end: 8_000,
        };
        assert_eq!(steps.within(0, 7_200_000), Some((127_500, 7_199_000)));
        assert_eq!(steps.within(7_200_000, 7_200_000), Some((7_207_500, 8_000_000)));
        let rare = Steps {
            interval_ms: 100_000_000,
            slot_ms: 9_000_000,
            ..steps
        };
        assert_eq!(rare.within(0, 7_200_000), None);
    }
}
