//! Remote write as agents send it: one sample of each series in a message, a thousand series in a message.

use std::time::Duration;

use anyhow::Result;

use super::fleet::{Fleet, send};
use super::message::Source;
use super::{Goal, Rows};
use crate::bench::machine::now_ms;
use crate::bench::{Bench, tell};

const SERIES: usize = 1000;
const TICKS: usize = 120;
const STEP_MS: i64 = 15_000;
// What is written later than it is acknowledged is written by then.
const SETTLE: Duration = Duration::from_secs(10);

pub(super) fn run(bench: &Bench, rows: &mut Rows) -> Result<()> {
    let targets = (bench.options.storage.written / (SERIES * TICKS)).max(1);
    tell(&format!(
        "remote write: {targets} x {SERIES} series, {TICKS} samples each"
    ));
    let mut sources: Vec<Source> = (0..targets).map(|number| Source::new(number, SERIES)).collect();
    let series: usize = sources.iter().map(Source::series).sum();
    let fleet = Fleet::start(bench, "write")?;
    let mut clients = fleet.clients()?;
    let begin = now_ms() - (TICKS as i64 + 1) * STEP_MS;

    let before_first = fleet.cpu()?;
    let mut round = |tick: i64| -> Result<()> {
        for source in &mut sources {
            let sample = source.tick(tick, begin + tick * STEP_MS);
            send(&mut clients, &source.message(&[sample])?)?;
        }
        Ok(())
    };
    // The first samples make the series.
    round(0)?;
    std::thread::sleep(SETTLE);
    let before = fleet.cpu()?;
    let log_before = fleet.log_bytes();
    for tick in 1..=TICKS as i64 {
        round(tick)?;
    }
    let log_after = fleet.log_bytes();
    std::thread::sleep(SETTLE);
    let after = fleet.cpu()?;

    let samples = (series * TICKS) as f64;
    let steady = |i: usize| Some((after.get(i)? - before.get(i)?) / samples);
    rows.add(
        "remote write, one sample per series and message: CPU s per million samples",
        Goal::new("0.9", "0.5"),
        fleet.each(|i| Some(steady(i)? * 1e6)),
    );
    rows.add(
        "the same: CPU us per new series",
        Goal::new("8", "4"),
        fleet.each(|i| {
            let first = before.get(i)? - before_first.get(i)?;
            Some((first / series as f64 - steady(i)?) * 1e6)
        }),
    );
    rows.add(
        "the same: log written, B per sample",
        Goal::new("3", "2"),
        fleet.each(|i| {
            let (before, after) = ((*log_before.get(i)?)?, (*log_after.get(i)?)?);
            Some(after.saturating_sub(before) as f64 / samples)
        }),
    );
    rows.note(format!(
        "Remote write: {series} series, {TICKS} samples each at 15 s, {SERIES} series in a message, one message at a time; the first sample of each series counts for the new series only."
    ));
    Ok(())
}
