//! `promtool rules backtest`: rules replayed over days of a cluster. No peer has it.

use std::fmt::Write as _;
use std::fs::{self, File};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};

use super::rules::packs;
use crate::bench::machine::{now_ms, seconds};
use crate::bench::promql::{BLOCK_MS, Content, Shape, write_blocks};
use crate::bench::report::{Report, Table, rounded};
use crate::bench::server::Kind;
use crate::bench::{Bench, process, tell};

const TARGETS: usize = 10;
const SERIES: usize = 1000;
const STEP_MS: i64 = 60_000;
const LIMIT: Duration = Duration::from_mins(60);
const MONTH: f64 = 30.0;

pub(super) fn run(bench: &Bench, report: &mut Report) -> Result<()> {
    report.heading("Backtest");
    let Some(ours) = bench.contenders.iter().find(|contender| contender.kind == Kind::Cupola) else {
        return Ok(());
    };
    let dir = bench.scratch.folder("backtest")?;
    let Some(files) = packs(&dir)? else {
        report.line("The shared rule packs are not here (`CUPOLA_CONFORMANCE`), so nothing is replayed.");
        return Ok(());
    };
    let days = bench.options.days;
    tell(&format!("backtest: making {days} days of {TARGETS} x {SERIES} series"));
    let shape = Shape {
        name: "backtest",
        content: Content::Mix,
        targets: TARGETS,
        series: SERIES,
        hours: 24 * i64::try_from(days).context("too many days")?,
        step_ms: STEP_MS,
        replaced: 0.3,
    };
    let end = now_ms() / BLOCK_MS * BLOCK_MS;
    let data = dir.join("data");
    fs::create_dir_all(&data).with_context(|| format!("cannot make {}", data.display()))?;
    let samples = write_blocks(&shape.record(end)?, &shape, end, &data)?;
    tell("backtest: replaying");
    let answer = dir.join("answer.json");
    let out = File::create(&answer).with_context(|| format!("cannot make {}", answer.display()))?;
    let mut command = Command::new(&ours.binary);
    command.args(["promtool", "rules", "backtest", "--output=json", "--eval-interval=1m"]);
    command.args([format!("--start={days}d"), format!("--end={}", seconds(end))]);
    command.arg(format!("--data={}", data.display())).args(&files);
    let begin = Instant::now();
    let mut child = command
        .stdin(Stdio::null())
        .stdout(out)
        .spawn()
        .context("cannot start the backtest")?;
    let (mut cpu, mut peak) = (0.0, 0);
    let status = loop {
        // What it used in the last moments before its end is not seen.
        if let (Ok(used), Ok(memory)) = (process::cpu_seconds(child.id()), process::memory(child.id())) {
            (cpu, peak) = (used, memory.peak);
        }
        if let Some(status) = child.try_wait().context("cannot ask for the end of a process")? {
            break status;
        }
        if begin.elapsed() > LIMIT {
            // It may have ended between the two calls.
            let _ = child.kill();
            let _ = child.wait();
            bail!("the backtest takes longer than {LIMIT:?}");
        }
        std::thread::sleep(Duration::from_millis(20));
    };
    let took = begin.elapsed().as_secs_f64();
    let text = fs::read_to_string(&answer).context("the backtest has left nothing")?;
    if !status.success() {
        bail!("the backtest failed ({status})");
    }
    let reports: serde_json::Value = serde_json::from_str(&text).context("the backtest's answer")?;
    let rules = reports.get("rules").and_then(serde_json::Value::as_array);
    let rules = rules.context("the backtest tells of no rules")?;
    let sum = |name: &str| -> f64 { rules.iter().filter_map(|rule| rule.get(name)?.as_f64()).sum() };
    let mut table = Table::of("backtest", &[Kind::Cupola.name()]).with_notes(&["must"]);
    let mut row =
        |name: String, figure: f64, must: &str| table.noted_row(&name, vec![Some(figure)], vec![must.to_owned()]);
    row(format!("{days} days: minutes"), took / 60.0, "");
    row(format!("{days} days: CPU minutes"), cpu / 60.0, "");
    row(
        "minutes for a month, at that rate".to_owned(),
        took / 60.0 / days as f64 * MONTH,
        "minutes",
    );
    row(
        "CPU ms per 1,000 evaluations".to_owned(),
        cpu * 1e6 / sum("evaluations").max(1.0),
        "",
    );
    row("highest RSS, MB".to_owned(), peak as f64 / 1e6, "");
    let mut told = String::new();
    // Writing to a string cannot fail.
    let _ = write!(
        told,
        "{} rules of kube-prometheus, each minute, over {} series with {} samples in blocks; alerts fired {} times, {} evaluations failed.",
        rules.len(),
        rounded((TARGETS * SERIES) as f64),
        rounded(samples as f64),
        rounded(sum("fired")),
        rounded(sum("failures")),
    );
    report.line(&told);
    report.table(&table);
    Ok(())
}
