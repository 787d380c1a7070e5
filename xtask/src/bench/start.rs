//! Size of the binary, time from exec to the first answer, and memory of a server with nothing to do.

use std::fs;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, Result};

use super::report::{Report, Table};
use super::server::{Kind, Running, Server, free_port};
use super::{Bench, median, tell};

const STARTS: usize = 5;
const LIMIT: Duration = Duration::from_secs(30);
pub(crate) const NO_TARGETS: &str = "global:\n  scrape_interval: 15s\n";

pub(crate) fn run(bench: &Bench, report: &mut Report) -> Result<()> {
    tell("size, start, idle memory");
    let mut sizes = Vec::new();
    let mut starts = Vec::new();
    for contender in &bench.contenders {
        let metadata = fs::metadata(&contender.binary);
        let metadata = metadata.with_context(|| format!("cannot look at {}", contender.binary.display()))?;
        sizes.push(Some(metadata.len() as f64 / 1e6));
        let mut times = Vec::new();
        for round in 0..STARTS {
            let dir = bench
                .scratch
                .folder(&format!("start-{}-{round}", contender.kind.name()))?;
            let mut running = Server::prepare(contender, dir, NO_TARGETS)?.start()?;
            times.push(running.first_answer("/-/ready", LIMIT)?.as_secs_f64() * 1e3);
        }
        starts.push(Some(median(&times)));
    }

    // All of them idle at the same time: none of them does anything.
    let mut idle = Vec::new();
    for contender in &bench.contenders {
        let dir = bench.scratch.folder(&format!("idle-{}", contender.kind.name()))?;
        let mut running = Server::prepare(contender, dir, NO_TARGETS)?.start()?;
        running.first_answer("/-/ready", LIMIT)?;
        idle.push(running);
    }
    let mut up = start_up(bench)?;
    if let Some(up) = &mut up {
        up.first_answer("/-/ready", LIMIT)?;
    }
    std::thread::sleep(bench.options.idle);
    let mut rss = Vec::new();
    let mut peak = Vec::new();
    for running in &idle {
        let memory = running.memory()?;
        rss.push(Some(memory.rss as f64 / 1e6));
        peak.push(Some(memory.peak as f64 / 1e6));
    }

    report.heading("Size, start, idle memory");
    let mut table = Table::new("no targets, empty data folder", &bench.contenders);
    table.row("binary, MB", sizes);
    table.row(
        &format!("exec to first answered `/-/ready`, ms (median of {STARTS})"),
        starts,
    );
    table.row(&format!("RSS after {} s, MB", bench.options.idle.as_secs()), rss);
    table.row("highest RSS, MB", peak);
    report.table(&table);
    if let Some(up) = &up {
        let memory = up.memory()?;
        report.line(&format!(
            "`cupola up` (host metrics, rules, alerts and pages in one process): {:.1} MB RSS after {} s, {:.1} MB at its highest.",
            memory.rss as f64 / 1e6,
            bench.options.idle.as_secs(),
            memory.peak as f64 / 1e6,
        ));
    }
    Ok(())
}

/// Starts `cupola up` with a new data folder; None where Cupola is not measured.
pub(crate) fn start_up(bench: &Bench) -> Result<Option<Running>> {
    let Some(contender) = bench.contenders.iter().find(|c| c.kind == Kind::Cupola) else {
        return Ok(None);
    };
    let port = free_port()?;
    let dir = bench.scratch.folder(&format!("up-{port}"))?;
    let mut command = Command::new(&contender.binary);
    command.args(["up", &format!("--listen=127.0.0.1:{port}"), "--log.level=error"]);
    command.arg("--data").arg(dir.join("data"));
    Running::start("cupola up", &mut command, port, dir.join("log")).map(Some)
}
