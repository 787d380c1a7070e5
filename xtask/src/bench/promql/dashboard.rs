//! Many panels at once, and the memory of one query over many samples.

use std::time::Instant;

use anyhow::{Context as _, Result};

use super::ask::{Asked, Asking, Window, all};
use super::load::Loaded;
use super::queries::{Call, Query};
use crate::bench::client::Client;
use crate::bench::report::{Report, Table};
use crate::bench::server::Running;
use crate::bench::{Bench, median, process, tell};

const PANELS: usize = 32;
const TIMES: i64 = 5;
const SHIFT_MS: i64 = 500;
const IN_MEMORY: Query = Query {
    name: "CPU by pod",
    call: Call::Range("sum by (pod) (rate(container_cpu_usage_seconds_total[5m]))"),
};

/// Asks for 32 panels of a dashboard at once, each on a connection of its own.
pub(crate) fn panels(
    bench: &Bench,
    loaded: &Loaded,
    queries: &[Query],
    window: Window,
    report: &mut Report,
) -> Result<()> {
    if bench.options.only.is_some() {
        return Ok(());
    }
    tell("32 panels at once");
    let panels: Vec<Asked> = all(queries, &[window], None).into_iter().take(PANELS).collect();
    let running = loaded.start()?;
    let (mut fresh_cpu, mut fresh_wall, mut next_cpu) = (Vec::new(), Vec::new(), Vec::new());
    for (server, running) in loaded.servers.iter().zip(&running) {
        let mut asking = Asking::new(server.kind, running)?;
        let first = loaded.end_ms - 20 * window.step_ms;
        at_once(running, &panels, first, server.kind.query_suffix())?;
        let (mut cpu, mut wall) = (Vec::new(), Vec::new());
        for turn in 1..=TIMES {
            let before = asking.cpu_ms()?;
            let begin = Instant::now();
            at_once(running, &panels, first + turn * SHIFT_MS, server.kind.query_suffix())?;
            wall.push(begin.elapsed().as_secs_f64());
            cpu.push((asking.cpu_ms()? - before) / 1e3);
        }
        let mut next = Vec::new();
        for turn in 1..=TIMES {
            let before = asking.cpu_ms()?;
            at_once(running, &panels, first + turn * window.step_ms, "")?;
            next.push((asking.cpu_ms()? - before) / 1e3);
        }
        fresh_cpu.push(Some(median(&cpu)));
        fresh_wall.push(Some(median(&wall)));
        next_cpu.push(Some(median(&next)));
    }
    report.heading(&format!("PromQL: {PANELS} panels at once"));
    report.line(&format!(
        "The first {PANELS} queries above over {}, each on a connection of its own, {TIMES} times (median).",
        window.name
    ));
    let mut table = Table::new("panels", &bench.contenders);
    table.row("never asked before: CPU s", fresh_cpu);
    table.row("never asked before: s until the last answer", fresh_wall);
    table.row("moved on by one step: CPU s", next_cpu);
    report.table(&table);
    Ok(())
}

fn at_once(running: &Running, panels: &[Asked], end_ms: i64, suffix: &str) -> Result<()> {
    // Connections are made before, as a browser keeps them.
    let clients = panels
        .iter()
        .map(|_| running.client())
        .collect::<Result<Vec<Client>>>()?;
    std::thread::scope(|scope| {
        let ask = |mut client: Client, path: String| move || client.fetch(&path).map(drop);
        let asked = panels.iter().zip(clients);
        let threads: Vec<_> = asked
            .map(|(panel, client)| scope.spawn(ask(client, panel.path(end_ms) + suffix)))
            .collect();
        for thread in threads {
            thread.join().map_err(|_| anyhow::anyhow!("a thread has panicked"))??;
        }
        Ok(())
    })
}

/// How far memory rises above that of the idle server while one query reads 11.5 million samples.
pub(crate) fn memory(bench: &Bench, loaded: &Loaded, window: Window, report: &mut Report) -> Result<()> {
    if bench.options.only.is_some() {
        return Ok(());
    }
    tell("memory of a query");
    let asked = Asked {
        query: IN_MEMORY,
        window,
    };
    let (mut idle, mut once, mut often) = (Vec::new(), Vec::new(), Vec::new());
    for server in &loaded.servers {
        let mut running = server.start()?;
        let path = |turn: i64| asked.path(loaded.end_ms - 10 * window.step_ms + turn * SHIFT_MS);
        let suffix = server.kind.query_suffix();
        running.first_answer("/api/v1/query?query=1", std::time::Duration::from_mins(1))?;
        let rss = running.memory()?.rss;
        if !process::forget_peak(running.pid()) {
            report
                .line("The kernel does not let the highest memory be read again; the figures hold the start as well.");
        }
        let mut client = running.client()?;
        let above =
            |running: &Running| -> Result<Option<f64>> { Ok(Some((running.memory()?.peak as f64 - rss as f64) / 1e6)) };
        client.fetch(&(path(0) + suffix)).with_context(|| server.kind.name())?;
        once.push(above(&running)?);
        for turn in 1..=9 {
            client.fetch(&(path(turn) + suffix))?;
        }
        often.push(above(&running)?);
        idle.push(Some(rss as f64 / 1e6));
    }
    report.heading("PromQL: memory of one query");
    let Call::Range(expr) = IN_MEMORY.call else {
        return Ok(());
    };
    report.line(&format!(
        "`{expr}` over {} with a step of {} s: {}, {} samples. RSS counts pages of mapped files as well.",
        window.name,
        window.step_ms / 1000,
        loaded.shape.name,
        loaded.samples,
    ));
    let mut table = Table::new("memory, MB", &bench.contenders);
    table.row("idle, after the start", idle);
    table.row("highest above idle, asked once", once);
    table.row("highest above idle, asked ten times", often);
    report.table(&table);
    Ok(())
}
