//! Scraping many targets: what it costs per sample and per series. Queries and restarts go on from there.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};

use super::exporter::Exporter;
use super::machine::now_ms;
use super::options::Measure;
use super::process::{folder_bytes, written};
use super::report::{Report, Table, rounded};
use super::server::{Running, Server};
use super::{Bench, median, queries, restart, series, tell};

const LIMIT: Duration = Duration::from_mins(2);

/// All servers, scraping the same targets.
pub(crate) struct Session {
    pub(crate) exporter: Exporter,
    pub(crate) servers: Vec<Server>,
    pub(crate) running: Vec<Running>,
    /// When scraping began.
    pub(crate) started: Instant,
    /// Milliseconds since the epoch from when on every server has scraped every target twice.
    pub(crate) settled_ms: i64,
}

pub(crate) fn run(bench: &Bench, report: &mut Report) -> Result<()> {
    let exporter = Exporter::start(&bench.options)?;
    let mut servers = Vec::new();
    for (index, contender) in bench.contenders.iter().enumerate() {
        let dir = bench.scratch.folder(&format!("scrape-{}", contender.kind.name()))?;
        servers.push(Server::prepare(contender, dir, &exporter.config(index))?);
    }
    let started = Instant::now();
    let running = servers.iter().map(Server::start).collect::<Result<Vec<Running>>>()?;
    let mut session = Session {
        exporter,
        servers,
        running,
        started,
        settled_ms: 0,
    };
    for running in &mut session.running {
        running.first_answer("/-/ready", LIMIT)?;
    }
    measure(bench, &mut session, report).context("measuring scrapes")?;
    session.exporter.pause();
    let paused_ms = now_ms();
    if bench.options.wants(Measure::Queries) {
        queries::run(bench, &session, paused_ms, report).context("measuring queries")?;
    }
    if bench.options.wants(Measure::Restart) {
        restart::run(bench, &mut session, report).context("measuring restarts")?;
    }
    Ok(())
}

fn measure(bench: &Bench, session: &mut Session, report: &mut Report) -> Result<()> {
    let options = &bench.options;
    let exporter = &session.exporter;
    let series = exporter.all_series();
    tell(&format!(
        "{} servers scrape {series} series for {:?}",
        session.servers.len(),
        options.scraping
    ));
    settle(session, options.interval * 6 + Duration::from_secs(20))?;
    session.settled_ms = now_ms();

    let cpu = |session: &Session| {
        session
            .running
            .iter()
            .map(Running::cpu_seconds)
            .collect::<Result<Vec<f64>>>()
    };
    let samples = |session: &Session| -> Vec<u64> {
        (0..session.servers.len())
            .map(|server| session.exporter.samples(server))
            .collect()
    };
    let on_disk =
        |session: &Session| -> Vec<Option<u64>> { session.running.iter().map(|r| written(r.pid())).collect() };
    let (cpu_before, samples_before, written_before) = (cpu(session)?, samples(session), on_disk(session));
    let begin = Instant::now();
    let mut rss: Vec<Vec<f64>> = vec![Vec::new(); session.running.len()];
    while begin.elapsed() < options.scraping {
        std::thread::sleep(Duration::from_secs(1).min(options.scraping.saturating_sub(begin.elapsed())));
        // The last third counts: garbage collectors make memory rise and fall.
        if begin.elapsed() * 3 > options.scraping * 2 {
            for (running, seen) in session.running.iter().zip(&mut rss) {
                seen.push(running.memory()?.rss as f64);
            }
        }
    }
    let (cpu_after, samples_after, written_after) = (cpu(session)?, samples(session), on_disk(session));

    let shares = series::shares(options.series, 60);
    report.heading("Scraping");
    report.line(&format!(
        "{} targets x {} series every {} s for {} s, {}; {} more with explicit timestamps twice as often; {:.0} B of text per series, {:.0} % of the series constant, {:.0} % of the samples differ from the one before.",
        options.targets,
        options.series,
        options.interval.as_secs(),
        options.scraping.as_secs(),
        if options.gzip { "gzip" } else { "plain text" },
        rounded((series - session.exporter.series()) as f64),
        shares.bytes,
        shares.constant * 100.0,
        shares.changed * 100.0,
    ));
    let each = |figure: &dyn Fn(usize) -> Option<f64>| (0..session.servers.len()).map(figure).collect::<Vec<_>>();
    let scraped = |i: usize| Some((samples_after.get(i)? - samples_before.get(i)?) as f64);
    let mut table = Table::new("scraping", &bench.contenders);
    table.row(
        "samples scraped per second",
        each(&|i| Some(scraped(i)? / options.scraping.as_secs_f64())),
    );
    table.row(
        "CPU s per million samples",
        each(&|i| Some((cpu_after.get(i)? - cpu_before.get(i)?) / scraped(i)? * 1e6)),
    );
    table.row(
        "start and first two scrapes: CPU us per series",
        each(&|i| Some(cpu_before.get(i)? / series as f64 * 1e6)),
    );
    table.row(
        "RSS, MB (median of the last third)",
        each(&|i| Some(median(rss.get(i)?) / 1e6)),
    );
    table.row(
        "RSS per series, B",
        each(&|i| Some(median(rss.get(i)?) / series as f64)),
    );
    let mut peaks = Vec::new();
    for running in &session.running {
        peaks.push(Some(running.memory()?.peak as f64 / 1e6));
    }
    table.row("highest RSS, MB", peaks);
    table.row(
        "written to disk, B per sample",
        each(&|i| {
            let bytes = (*written_after.get(i)?)?.saturating_sub((*written_before.get(i)?)?);
            Some(bytes as f64 / scraped(i)?)
        }),
    );
    table.row(
        "data folder at the end, B per sample so far",
        each(&|i| Some(folder_bytes(&session.servers.get(i)?.data()) as f64 / *samples_after.get(i)? as f64)),
    );
    report.table(&table);
    Ok(())
}

// Waits until every server has been sent about two pages of every target: then all series are known to it.
fn settle(session: &Session, limit: Duration) -> Result<()> {
    let wanted = 2 * session.exporter.series() as u64;
    loop {
        let now = Instant::now();
        let behind = (0..session.servers.len()).find(|i| session.exporter.bench_samples(*i, now) < wanted);
        let Some(behind) = behind.and_then(|i| session.servers.get(i)) else {
            return Ok(());
        };
        if session.started.elapsed() > limit {
            bail!(
                "{} has not scraped all targets twice within {limit:?}",
                behind.kind.name()
            );
        }
        std::thread::sleep(Duration::from_millis(100));
    }
}
