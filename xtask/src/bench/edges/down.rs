//! Ten thousand targets, none of which is there.

use std::time::{Duration, Instant};

use anyhow::{Result, bail};

use crate::bench::process::CpuClock;
use crate::bench::report::{Report, Table};
use crate::bench::server::{Running, Server};
use crate::bench::{Bench, tell};

const TARGETS: usize = 10_000;
const LIMIT: Duration = Duration::from_mins(1);
// Two whole intervals of Prometheus's default: all series are there then.
const SETTLE: Duration = Duration::from_secs(125);
const MEASURED: Duration = Duration::from_mins(2);

// Port 1 of as many addresses of this machine: each connection is refused at once. The interval is the default, a minute.
fn config() -> String {
    let mut yaml = "scrape_configs:\n- job_name: down\n  static_configs:\n  - targets:\n".to_owned();
    for n in 0..TARGETS {
        yaml.push_str(&format!("    - 127.1.{}.{}:1\n", n / 250, n % 250 + 1));
    }
    yaml
}

pub(super) fn run(bench: &Bench, report: &mut Report) -> Result<()> {
    tell(&format!("{TARGETS} targets that are down"));
    let mut running: Vec<Running> = Vec::new();
    for contender in &bench.contenders {
        let dir = bench.scratch.folder(&format!("down-{}", contender.kind.name()))?;
        let mut one = Server::prepare(contender, dir, &config())?.start()?;
        one.first_answer("/-/ready", LIMIT)?;
        running.push(one);
    }
    std::thread::sleep(SETTLE);
    for one in &running {
        let answer = one.client()?.get("/api/v1/query?query=count(up==0)")?;
        let told = String::from_utf8_lossy(&answer.body);
        if !told.contains(&format!("\"{TARGETS}\"")) {
            bail!("not all targets are down: {told}");
        }
    }
    let mut clocks: Vec<CpuClock> = running.iter().map(|one| CpuClock::new(one.pid())).collect();
    let before = clocks.iter_mut().map(CpuClock::read_ms).collect::<Result<Vec<f64>>>()?;
    let begin = Instant::now();
    std::thread::sleep(MEASURED);
    let after = clocks.iter_mut().map(CpuClock::read_ms).collect::<Result<Vec<f64>>>()?;
    let ms = begin.elapsed().as_secs_f64() * 1e3;
    let share = |i: usize| Some((after.get(i)? - before.get(i)?) / ms * 100.0);
    let mut memory = Vec::new();
    for one in &running {
        memory.push(Some(one.memory()?.rss as f64 / 1e6));
    }
    report.heading("Targets that are down");
    report.line(&format!(
        "{TARGETS} targets that refuse the connection, scraped every minute, for {} s. Cupola must stay below 1 % of a core.",
        MEASURED.as_secs()
    ));
    let mut table = Table::new("targets that are down", &bench.contenders);
    table.row("CPU, % of a core", (0..running.len()).map(share).collect());
    table.row("RSS, MB", memory);
    report.table(&table);
    Ok(())
}
