//! What two hours of samples take in memory, and what times do to it.

use std::time::Duration;

use anyhow::Result;

use super::fleet::{Fleet, send};
use super::message::{Source, Tick};
use super::{Goal, Rows};
use crate::bench::machine::now_ms;
use crate::bench::series::Random;
use crate::bench::{Bench, tell};

const TARGETS: usize = 20;
const SERIES: usize = 1000;
const TICKS: i64 = 480;
const SAMPLES_PER_MESSAGE: i64 = 10;
const STEP_MS: i64 = 15_000;
// A container's statistics carry the time at which they were collected, which is not when they are scraped.
const OWN_CLOCK_MS: u64 = 10_000;
// Garbage collectors come to rest.
const SETTLE: Duration = Duration::from_secs(20);

pub(super) fn run(bench: &Bench, rows: &mut Rows) -> Result<()> {
    held(bench, rows, "at the time of the scrape", 1)?;
    held(bench, rows, "that targets set, as cAdvisor does", OWN_CLOCK_MS)?;
    rows.note(format!(
        "Held: {TARGETS} targets x {SERIES} series with {TICKS} samples each at 15 s, no block cut yet; the times that targets set lie anywhere within {} s after it, the same for all series of a target.",
        OWN_CLOCK_MS / 1000,
    ));
    Ok(())
}

fn held(bench: &Bench, rows: &mut Rows, times: &str, spread_ms: u64) -> Result<()> {
    tell(&format!("two hours of {} series, times {times}", TARGETS * SERIES));
    let mut sources: Vec<Source> = (0..TARGETS).map(|number| Source::new(number, SERIES)).collect();
    let series: usize = sources.iter().map(Source::series).sum();
    let fleet = Fleet::start(bench, "held")?;
    std::thread::sleep(SETTLE);
    let mut empty = Vec::new();
    for running in &fleet.running {
        empty.push(running.memory()?.rss as f64);
    }
    let mut clients = fleet.clients()?;
    let begin = now_ms() - (TICKS + 2) * STEP_MS;
    for first in (0..TICKS).step_by(SAMPLES_PER_MESSAGE as usize) {
        for (number, source) in sources.iter_mut().enumerate() {
            let window: Vec<Tick> = (first..first + SAMPLES_PER_MESSAGE)
                .map(|tick| {
                    let own = Random((number as u64) << 40 ^ tick as u64).below(spread_ms) as i64;
                    source.tick(tick, begin + tick * STEP_MS + own)
                })
                .collect();
            send(&mut clients, &source.message(&window)?)?;
        }
    }
    drop(clients);
    std::thread::sleep(SETTLE);
    let mut rss = Vec::new();
    for (running, empty) in fleet.running.iter().zip(&empty) {
        rss.push(Some((running.memory()?.rss as f64 - empty) / series as f64));
    }
    rows.add(
        &format!("{TICKS} samples a series, times {times}: RSS beyond the empty server's, B per series"),
        Goal::NONE,
        rss,
    );
    Ok(())
}
