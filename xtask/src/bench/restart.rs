//! SIGKILL in the middle of scraping: how long until queries are answered again, and what is lost.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use serde_json::Value;

use super::client::escape;
use super::machine::{now_ms, seconds};
use super::report::{Report, Table};
use super::scrape::Session;
use super::server::{Kind, Running};
use super::{Bench, tell};

const LIMIT: Duration = Duration::from_mins(5);
// What was sent later than this before the kill may still have been under way.
const IN_FLIGHT: Duration = Duration::from_secs(1);

pub(crate) fn run(bench: &Bench, session: &mut Session, report: &mut Report) -> Result<()> {
    tell("restart after SIGKILL");
    session.exporter.resume();
    std::thread::sleep(bench.options.interval * 4);

    let seen_at = now_ms();
    let mut seen = Vec::new();
    for (server, running) in session.servers.iter().zip(&session.running) {
        seen.push(count(running, server.kind, session, seen_at)?);
    }
    for running in &mut session.running {
        running.kill()?;
    }
    let killed = Instant::now();
    session.exporter.pause();

    let mut first_answers = Vec::new();
    let mut cpu = Vec::new();
    let mut seen_lost = Vec::new();
    let mut sent_lost = Vec::new();
    // One after the other, so that none has to share the machine.
    session.running.clear();
    for (index, (server, seen)) in session.servers.iter().zip(seen).enumerate() {
        let mut running = server.start()?;
        // An answer without data is no answer.
        let probe = format!(
            "/api/v1/query?query={}&time={}{}",
            escape("count(node_load1{job=\"bench\"})"),
            seconds(seen_at),
            server.kind.query_suffix()
        );
        let has_data = |body: &[u8]| sum(body).is_ok_and(|n| n > 0);
        first_answers.push(Some(running.first_accepted(&probe, LIMIT, has_data)?.as_secs_f64()));
        cpu.push(Some(running.cpu_seconds()?));
        let seen_after = count(&running, server.kind, session, seen_at)?;
        seen_lost.push(Some(seen.saturating_sub(seen_after) as f64));
        let found = count(&running, server.kind, session, now_ms())?;
        let sent = session
            .exporter
            .bench_samples(index, killed.checked_sub(IN_FLIGHT).unwrap_or(killed));
        sent_lost.push(Some(sent.saturating_sub(found) as f64));
    }
    report.heading("Restart after SIGKILL");
    report.line(&format!(
        "Killed while scraping {} series ({} s of data); then started again on the same folder.",
        session.exporter.all_series(),
        (killed - session.started).as_secs(),
    ));
    let mut table = Table::new("restart", &bench.contenders);
    table.row("exec to first query answered with data, s", first_answers);
    table.row("CPU s until then", cpu);
    table.row("samples that a query had shown before, lost", seen_lost);
    table.row("samples scraped 1 s or more before the kill, lost", sent_lost);
    report.table(&table);
    Ok(())
}

// How many scraped samples queries at `at_ms` find.
fn count(running: &Running, kind: Kind, session: &Session, at_ms: i64) -> Result<u64> {
    let range = session.started.elapsed().as_secs() as i64 + 60;
    count_samples(running, kind, &session.exporter.names(), range, at_ms)
}

/// How many samples of job `bench` under `names` queries at `at_ms` find in the `range` seconds before.
pub(crate) fn count_samples(running: &Running, kind: Kind, names: &[String], range: i64, at_ms: i64) -> Result<u64> {
    let mut client = running.client()?;
    let mut found = 0;
    // Name by name: a function over a range drops the name, and without it series are no longer told apart.
    for name in names {
        let expr = escape(&format!("sum(count_over_time({name}{{job=\"bench\"}}[{range}s]))"));
        let path = format!(
            "/api/v1/query?query={expr}&time={}{}",
            seconds(at_ms),
            kind.query_suffix()
        );
        found += sum(&client.fetch(&path)?).with_context(|| kind.name())?;
    }
    Ok(found)
}

/// The value of an answer with one series; 0 where it has none.
pub(crate) fn sum(body: &[u8]) -> Result<u64> {
    let json: Value = serde_json::from_slice(body).context("the answer is no JSON")?;
    let result = json
        .pointer("/data/result")
        .and_then(Value::as_array)
        .context("the answer has no result")?;
    let Some(series) = result.first() else {
        return Ok(0);
    };
    let value = series.pointer("/value/1").and_then(Value::as_str);
    value
        .and_then(|v| v.parse::<f64>().ok())
        .map(|v| v as u64)
        .context("the answer has no value")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_without_series_counts_nothing() {
        for (body, count) in [
            (r#"{"data":{"result":[]}}"#, 0),
            (r#"{"data":{"result":[{"metric":{},"value":[1,"52000"]}]}}"#, 52_000),
        ] {
            assert_eq!(sum(body.as_bytes()).unwrap(), count);
        }
        assert!(sum(b"{}").is_err());
    }
}
