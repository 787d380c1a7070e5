//! The answer of a range query that is all points: 100 series of 11,000, the most that upstream's API gives of each.

use anyhow::{Result, bail};

use crate::bench::machine::now_ms;
use crate::bench::process::CpuClock;
use crate::bench::report::{Report, Table};
use crate::bench::storage::{Fleet, points, send};
use crate::bench::{Bench, median, tell};

const SERIES: usize = 100;
const POINTS: i64 = 11_000;
const STEP_MS: i64 = 1000;
// Points of each series in a message.
const CHUNK: i64 = 500;
const RUNS: usize = 15;

pub(super) fn run(bench: &Bench, report: &mut Report) -> Result<()> {
    tell(&format!("JSON: {SERIES} series of {POINTS} points"));
    let fleet = Fleet::start(bench, "json")?;
    let mut clients = fleet.clients()?;
    let begin = (now_ms() / STEP_MS - POINTS - 60) * STEP_MS;
    for first in (0..POINTS).step_by(CHUNK as usize) {
        let ticks = first..(first + CHUNK).min(POINTS);
        let message = points(SERIES, ticks.map(|tick| (begin + tick * STEP_MS, tick)))?;
        send(&mut clients, &message)?;
    }
    let path = format!(
        "/api/v1/query_range?query=points&start={}&end={}&step={}",
        begin / 1000,
        (begin + (POINTS - 1) * STEP_MS) / 1000,
        STEP_MS / 1000
    );
    let (mut rates, mut sizes, mut cpu) = (Vec::new(), Vec::new(), Vec::new());
    for (client, running) in clients.iter_mut().zip(&fleet.running) {
        let mut clock = CpuClock::new(running.pid());
        let (mut times, mut size) = (Vec::new(), 0);
        for _ in 0..=RUNS {
            let before = clock.read_ms()?;
            let body = client.fetch(&path)?;
            times.push(clock.read_ms()? - before);
            size = body.len();
            let points = body.windows(3).filter(|w| w == b"\"]," || w == b"\"]]").count();
            if (points as i64) < SERIES as i64 * POINTS {
                bail!("an answer has {points} points");
            }
        }
        // The first one read the samples; caches may answer the others.
        let ms = median(times.get(1..).unwrap_or(&[]));
        rates.push(Some(size as f64 / 1e6 / (ms / 1e3)));
        cpu.push(Some(ms));
        sizes.push(Some(size as f64 / 1e6));
    }
    report.heading("A large answer");
    report.line(&format!(
        "`/api/v1/query_range` with {SERIES} series of {POINTS} points, half of the values whole numbers, the others with all their digits; the whole request as CPU time of the server, warm, median of {RUNS}. Cupola must write at least 300 MB of JSON per second.",
    ));
    let mut table = Table::new("a large answer", &bench.contenders);
    table.row("JSON, MB", sizes);
    table.row("CPU ms per answer", cpu);
    table.row("MB of JSON per CPU second", rates);
    report.table(&table);
    Ok(())
}
