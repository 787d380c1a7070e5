//! Host metrics: our collectors against node_exporter, with the collectors that each has on by default.

use std::process::Command;
use std::time::Duration;

use anyhow::Result;

use super::client::Client;
use super::report::{Report, rounded};
use super::server::{self, Kind, NODE_EXPORTER, Running, Server, free_port};
use super::start::{NO_TARGETS, start_up};
use super::{Bench, tell};

// Many, as one costs about as much as a tick of the kernel's CPU clock.
const SCRAPES: usize = 300;
const LIMIT: Duration = Duration::from_secs(30);
const OURS: &str = "/metrics/node";
// Without a route of its own the cost shows in `cupola up`, which collects every 10 s. Ten of them for a minute make 60
// rounds: one alone would use too few ticks of that clock to say anything.
const OBSERVED: Duration = Duration::from_mins(1);
const SERVERS: usize = 10;
const ROUNDS: f64 = 60.0;

struct Figures {
    cpu_s_per_60: f64,
    samples: usize,
    rss: f64,
}

pub(crate) fn run(bench: &Bench, report: &mut Report) -> Result<()> {
    tell("host metrics");
    report.heading("Host metrics");
    let theirs = match server::in_path(NODE_EXPORTER) {
        None => None,
        Some(binary) => {
            let port = free_port()?;
            let dir = bench.scratch.folder("node-exporter")?;
            let mut command = Command::new(binary);
            command.args([&format!("--web.listen-address=127.0.0.1:{port}"), "--log.level=error"]);
            let mut running = Running::start("node-exporter", &mut command, port, dir.join("log"))?;
            running.first_answer("/", LIMIT)?;
            Some(scraped(&running, "/metrics")?)
        }
    };
    let Some(mut up) = start_up(bench)? else {
        report.line(&theirs.map_or_else(|| "Nothing to measure here.".to_owned(), |t| row("node_exporter", &t)));
        return Ok(());
    };
    up.first_answer("/-/ready", LIMIT)?;
    let has_route = up.client()?.get(OURS)?.body.starts_with(b"# ");
    if has_route {
        let ours = scraped(&up, OURS)?;
        report.line(&format!(
            "{SCRAPES} scrapes in a row, plain text; CPU time of the whole process. RSS of Cupola is that of the whole server."
        ));
        let mut table =
            "| host metrics | CPU s per 60 scrapes | CPU ms per scrape | samples | RSS, MB |\n|---|--:|--:|--:|--:|\n"
                .to_owned();
        table.push_str(&row(&format!("`cupola up`, `{OURS}`"), &ours));
        if let Some(theirs) = &theirs {
            table.push('\n');
            table.push_str(&row(
                &format!("node_exporter {}", server::package_version(NODE_EXPORTER)),
                theirs,
            ));
            let ratio = rounded(ours.cpu_s_per_60 / theirs.cpu_s_per_60);
            table.push_str(&format!("\n| Cupola : node_exporter | {ratio} | {ratio} | - | - |"));
        }
        report.line(&table);
        return Ok(());
    }
    let rss = up.memory()?.rss as f64 / 1e6;
    drop(up);
    let difference = observed(bench)?;
    report.line(&format!(
        "This version has no `{OURS}`, so the figure is the CPU time of {SERVERS} x `cupola up` above that of {SERVERS} x `cupola prometheus` without targets, in the same {} s. A round of `cupola up` collects the host's metrics and its own, stores them and evaluates its rules; a scrape of node_exporter ({SCRAPES} in a row, plain text) only collects and sends.",
        OBSERVED.as_secs(),
    ));
    let mut table = HEAD.to_owned();
    table.push_str(&format!(
        "| `cupola up`, rounds with storage and rules | {difference:.3} | {:.2} | - | {rss:.1} |",
        difference / ROUNDS * 1e3
    ));
    if let Some(theirs) = &theirs {
        table.push('\n');
        table.push_str(&row(
            &format!("node_exporter {}", server::package_version(NODE_EXPORTER)),
            theirs,
        ));
        let ratio = rounded(difference / theirs.cpu_s_per_60);
        table.push_str(&format!("\n| Cupola : node_exporter | {ratio} | {ratio} | - | - |"));
    }
    report.line(&table);
    Ok(())
}

const HEAD: &str = "| host metrics | CPU s per 60 | CPU ms each | samples | RSS, MB |\n|---|--:|--:|--:|--:|\n";

fn row(name: &str, figures: &Figures) -> String {
    let cpu = figures.cpu_s_per_60;
    format!(
        "| {name} | {cpu:.3} | {:.2} | {} | {:.1} |",
        cpu / 60.0 * 1e3,
        figures.samples,
        figures.rss
    )
}

fn scraped(running: &Running, path: &str) -> Result<Figures> {
    let mut client: Client = running.client()?;
    // The first scrapes fill caches and pools.
    let mut page = Vec::new();
    for _ in 0..5 {
        page = client.fetch(path)?;
    }
    let before = running.cpu_seconds()?;
    for _ in 0..SCRAPES {
        client.fetch(path)?;
    }
    let used = running.cpu_seconds()? - before;
    let lines = page.split(|b| *b == b'\n');
    Ok(Figures {
        cpu_s_per_60: used / SCRAPES as f64 * 60.0,
        samples: lines.filter(|line| !line.is_empty() && !line.starts_with(b"#")).count(),
        rss: running.memory()?.rss as f64 / 1e6,
    })
}

// CPU seconds that all `cupola up` used more than as many servers with nothing to do, in the same minute.
fn observed(bench: &Bench) -> Result<f64> {
    let Some(contender) = bench.contenders.iter().find(|c| c.kind == Kind::Cupola) else {
        return Ok(0.0);
    };
    let mut ups = Vec::new();
    let mut idles = Vec::new();
    for number in 0..SERVERS {
        let dir = bench.scratch.folder(&format!("host-idle-{number}"))?;
        idles.push(Server::prepare(contender, dir, NO_TARGETS)?.start()?);
        ups.extend(start_up(bench)?);
    }
    for running in ups.iter_mut().chain(&mut idles) {
        running.first_answer("/-/ready", LIMIT)?;
    }
    let cpu = |all: &[Running]| all.iter().map(Running::cpu_seconds).sum::<Result<f64>>();
    let before = (cpu(&ups)?, cpu(&idles)?);
    std::thread::sleep(OBSERVED);
    Ok((cpu(&ups)? - before.0) - (cpu(&idles)? - before.1))
}
