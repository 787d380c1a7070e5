//! A day that is filled in afterwards, and what it takes on disk once blocks are cut and merged.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};

use super::fleet::{Fleet, blocks_and_rest, metric, send};
use super::message::{Source, Tick};
use super::{Goal, Rows};
use crate::bench::machine::now_ms;
use crate::bench::process::folder_bytes;
use crate::bench::restart::count_samples;
use crate::bench::server::{Kind, Running, Server};
use crate::bench::{Bench, tell};

const SERIES: usize = 1000;
const SAMPLES_PER_MESSAGE: i64 = 10;
const STEP_MS: i64 = 15_000;
const HOUR_MS: i64 = 3_600_000;
// Blocks are looked after once a minute.
const QUIET: Duration = Duration::from_secs(70);
const QUIET_MERGED: Duration = Duration::from_secs(15);
const LIMIT: Duration = Duration::from_mins(8);

pub(super) fn run(bench: &Bench, rows: &mut Rows) -> Result<()> {
    let sizes = bench.options.storage;
    let targets = sizes.backfill.div_ceil(SERIES).max(1);
    let mut sources: Vec<Source> = (0..targets)
        .map(|number| Source::new(number, sizes.backfill / targets))
        .collect();
    let series: usize = sources.iter().map(Source::series).sum();
    let ticks = sizes.hours as i64 * HOUR_MS / STEP_MS / SAMPLES_PER_MESSAGE * SAMPLES_PER_MESSAGE;
    let samples = series as f64 * ticks as f64;
    tell(&format!("backfill: {series} series for {} h", sizes.hours));
    let fleet = Fleet::start(bench, "backfill")?;
    let mut clients = fleet.clients()?;
    let before = fleet.cpu()?;
    let begin = now_ms() - ticks * STEP_MS - STEP_MS;
    for first in (0..ticks).step_by(SAMPLES_PER_MESSAGE as usize) {
        for source in &mut sources {
            let window: Vec<Tick> = (first..first + SAMPLES_PER_MESSAGE)
                .map(|tick| source.tick(tick, begin + tick * STEP_MS))
                .collect();
            send(&mut clients, &source.message(&window)?)?;
        }
    }
    let sent = fleet.cpu()?;
    drop(clients);
    let rested = rest(&fleet)?;

    let names: BTreeSet<String> = sources.iter().flat_map(|source| source.names().clone()).collect();
    let names: Vec<String> = names.into_iter().collect();
    let mut missing = Vec::new();
    for (server, running) in fleet.servers.iter().zip(&fleet.running) {
        let range = (now_ms() - begin) / 1000 + 60;
        let found = count_samples(running, server.kind, &names, range, now_ms())?;
        missing.push(Some(samples - found as f64));
    }
    rows.add(
        &format!(
            "{} h filled in afterwards: CPU s per million samples, merging included",
            sizes.hours
        ),
        Goal::new("0.35", "0.2"),
        fleet.each(|i| Some((rested.get(i)?.cpu - before.get(i)?) / samples * 1e6)),
    );
    rows.add(
        "the same without the wait for merging",
        Goal::NONE,
        fleet.each(|i| Some((sent.get(i)? - before.get(i)?) / samples * 1e6)),
    );
    let on_disk: Vec<(u64, u64)> = fleet.servers.iter().map(blocks_and_rest).collect();
    let all = |i: usize| on_disk.get(i).map(|(blocks, rest)| (blocks + rest) as f64 / samples);
    rows.add(
        &format!("{} h at 15 s on disk, all files: B per sample", sizes.hours),
        Goal::new("0.9 x VictoriaMetrics", "0.7 x"),
        fleet.each(all),
    );
    rows.add(
        "of it blocks (VictoriaMetrics: data and index)",
        Goal::NONE,
        fleet.each(|i| Some(on_disk.get(i)?.0 as f64 / samples)),
    );
    let mut peaks = Vec::new();
    for running in &fleet.running {
        peaks.push(Some(running.memory()?.peak as f64 / 1e6));
    }
    rows.add("the same: highest RSS, MB", Goal::NONE, peaks);
    rows.add(
        "the same: samples that queries do not find",
        Goal::new("0", "0"),
        missing,
    );
    rows.note(format!(
        "Filled in: {series} series, {ticks} samples each at 15 s, {SAMPLES_PER_MESSAGE} samples of {} series in a message, in order of time; on disk once blocks were cut and merged and nothing had changed for {} s (VictoriaMetrics: after a forced merge, whose CPU time is not counted).",
        series / targets,
        QUIET.as_secs(),
    ));
    Ok(())
}

// How a server comes to rest.
struct Rest {
    bytes: u64,
    changed: Instant,
    // When the folder changed last.
    cpu: f64,
    merged: bool,
}

// Waits until no server has anything left to cut or to merge.
fn rest(fleet: &Fleet) -> Result<Vec<Rest>> {
    tell("waiting for cutting and merging");
    let begin = Instant::now();
    let mut all: Vec<Rest> = fleet
        .cpu()?
        .into_iter()
        .map(|cpu| Rest {
            bytes: 0,
            changed: begin,
            cpu,
            merged: false,
        })
        .collect();
    loop {
        let mut is_resting = true;
        let cpu = fleet.cpu()?;
        for (index, rest) in all.iter_mut().enumerate() {
            let (Some(server), Some(running), Some(cpu)) =
                (fleet.servers.get(index), fleet.running.get(index), cpu.get(index))
            else {
                continue;
            };
            let bytes = folder_bytes(&server.data());
            if bytes != rest.bytes {
                rest.changed = Instant::now();
                rest.bytes = bytes;
                if !rest.merged {
                    rest.cpu = *cpu;
                }
            }
            is_resting &= step(server, running, rest)?;
        }
        if is_resting {
            return Ok(all);
        }
        if begin.elapsed() > LIMIT {
            bail!("a server still cuts or merges blocks after {LIMIT:?}");
        }
        std::thread::sleep(Duration::from_secs(1));
    }
}

// Whether the server rests; tells VictoriaMetrics to merge once it does by itself.
fn step(server: &Server, running: &Running, rest: &mut Rest) -> Result<bool> {
    let quiet = rest.changed.elapsed();
    match server.kind {
        Kind::Cupola | Kind::Prometheus => {
            if quiet < QUIET {
                return Ok(false);
            }
            let time = |name: &str| metric(running, &format!("prometheus_tsdb_head_{name}_time"));
            // A block is cut when the head spans more than a block and a half.
            let (min, max) = (time("min")?.unwrap_or(0.0), time("max")?.unwrap_or(0.0));
            Ok(max - min <= 3.0 * HOUR_MS as f64)
        }
        Kind::VictoriaMetrics => {
            if quiet < QUIET_MERGED {
                return Ok(false);
            }
            if !rest.merged {
                rest.merged = true;
                running.client()?.fetch("/internal/force_merge")?;
                rest.changed = Instant::now();
                return Ok(false);
            }
            Ok(metric(running, "vm_active_force_merges")?.unwrap_or(0.0) == 0.0)
        }
    }
}
