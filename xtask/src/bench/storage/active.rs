//! Many series that are scraped: memory, new series, the log; and a restart after SIGKILL.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};

use super::fleet::{Fleet, ready};
use super::message::acknowledged;
use super::{Goal, Rows};
use crate::bench::client::{Client, escape};
use crate::bench::exporter::Exporter;
use crate::bench::machine::{now_ms, seconds};
use crate::bench::options::Options;
use crate::bench::restart::{count_samples, sum};
use crate::bench::server::{Kind, Running};
use crate::bench::{Bench, median, tell};

const SERIES: usize = 1000;
const LIMIT: Duration = Duration::from_mins(6);
// Messages with acknowledgements: so many series each, so often, for so long before the kill.
const ACK_SERIES: usize = 1000;
const ACK_EVERY: Duration = Duration::from_millis(100);
const ACK_TIME: Duration = Duration::from_secs(15);
// What was sent later than this before the kill may still have been under way.
const IN_FLIGHT: Duration = Duration::from_secs(1);

/// A fifth of the large set, scraped every 5 s.
pub(super) fn small(bench: &Bench, rows: &mut Rows) -> Result<()> {
    let targets = (bench.options.storage.active / SERIES / 5).max(1);
    let options = options(bench, targets, Duration::from_secs(5));
    let set = Set::start(bench, &options, "small")?;
    let figures = set.measure(Duration::from_mins(1))?;
    figures.memory(&set, Goal::new("700", "450"), rows);
    rows.add(
        "the same: CPU s per million samples",
        Goal::NONE,
        set.fleet.each(|i| Some(figures.steady(i)? * 1e6)),
    );
    rows.add(
        "the same: log written, B per sample",
        Goal::new("3", "2"),
        set.fleet.each(|i| figures.log(i)),
    );
    Ok(())
}

/// The large set, scraped every 30 s, and a restart with it.
pub(super) fn large(bench: &Bench, rows: &mut Rows) -> Result<()> {
    let targets = (bench.options.storage.active / SERIES).max(1);
    let options = options(bench, targets, Duration::from_secs(30));
    let mut set = Set::start(bench, &options, "large")?;
    let figures = set.measure(Duration::from_secs(75))?;
    figures.memory(&set, Goal::new("600", "400"), rows);
    rows.add(
        "the same: CPU us per new series",
        Goal::new("8", "4"),
        set.fleet.each(|i| figures.new_series(&set, i)),
    );
    set.restart(rows)
}

fn options(bench: &Bench, targets: usize, interval: Duration) -> Options {
    Options {
        targets,
        series: SERIES,
        interval,
        ..bench.options.clone()
    }
}

// All servers, scraping the same targets.
struct Set {
    exporter: Exporter,
    fleet: Fleet,
    targets: usize,
    series: usize,
    started: Instant,
    // Of each server: CPU seconds and samples once it had scraped each target twice.
    begun: Vec<(f64, u64)>,
}

struct Figures {
    cpu: Vec<(f64, f64)>,
    samples: Vec<(u64, u64)>,
    logged: Vec<(Option<u64>, Option<u64>)>,
    rss: Vec<f64>,
}

impl Set {
    // One server after the other, so that each registers its series alone.
    fn start(bench: &Bench, options: &Options, name: &str) -> Result<Self> {
        let exporter = Exporter::start(options)?;
        let fleet = Fleet::prepare(bench, name, |index| exporter.config(index))?;
        let mut set = Self {
            series: exporter.all_series(),
            targets: options.targets,
            exporter,
            fleet,
            started: Instant::now(),
            begun: Vec::new(),
        };
        for index in 0..set.fleet.servers.len() {
            let Some(server) = set.fleet.servers.get(index) else {
                break;
            };
            tell(&format!(
                "{} begins to scrape {} series",
                server.kind.name(),
                set.series
            ));
            let running = ready(server)?;
            let before = running.cpu_seconds()?;
            let wanted = 2 * set.exporter.series() as u64;
            let begun = Instant::now();
            while set.exporter.bench_samples(index, Instant::now()) < wanted {
                if begun.elapsed() > LIMIT {
                    bail!(
                        "{} has not scraped all targets twice within {LIMIT:?}",
                        server.kind.name()
                    );
                }
                std::thread::sleep(Duration::from_millis(100));
            }
            // What is behind the last byte of a page belongs to it.
            std::thread::sleep(Duration::from_secs(1));
            let begun = (running.cpu_seconds()? - before, set.exporter.samples(index));
            set.begun.push(begun);
            set.fleet.running.push(running);
        }
        Ok(set)
    }

    fn samples(&self) -> Vec<u64> {
        (0..self.fleet.servers.len())
            .map(|i| self.exporter.samples(i))
            .collect()
    }

    fn measure(&self, time: Duration) -> Result<Figures> {
        tell(&format!("{} series are scraped for {time:?}", self.series));
        let (cpu, samples, logged) = (self.fleet.cpu()?, self.samples(), self.fleet.log_bytes());
        let begin = Instant::now();
        let mut rss: Vec<Vec<f64>> = vec![Vec::new(); self.fleet.running.len()];
        while begin.elapsed() < time {
            std::thread::sleep(Duration::from_secs(1));
            // The last third counts: garbage collectors make memory rise and fall.
            if begin.elapsed() * 3 > time * 2 {
                for (running, seen) in self.fleet.running.iter().zip(&mut rss) {
                    seen.push(running.memory()?.rss as f64);
                }
            }
        }
        Ok(Figures {
            cpu: cpu.into_iter().zip(self.fleet.cpu()?).collect(),
            samples: samples.into_iter().zip(self.samples()).collect(),
            logged: logged.into_iter().zip(self.fleet.log_bytes()).collect(),
            rss: rss.iter().map(|seen| median(seen)).collect(),
        })
    }

    // SIGKILL while it is scraped and written to, then a start of one after the other.
    fn restart(&mut self, rows: &mut Rows) -> Result<()> {
        tell("SIGKILL and restart");
        let acknowledged = self.acknowledge()?;
        for running in &mut self.fleet.running {
            running.kill()?;
        }
        let killed = Instant::now();
        self.exporter.pause();
        let names = self.exporter.names();
        let (mut first, mut whole, mut cpu, mut lost, mut scraped) =
            (Vec::new(), Vec::new(), Vec::new(), Vec::new(), Vec::new());
        self.fleet.running.clear();
        for (index, server) in self.fleet.servers.iter().enumerate() {
            let mut running = server.start()?;
            let begun = Instant::now();
            let range = self.started.elapsed().as_secs() as i64 + 60;
            let probe = probe(server.kind, range);
            first.push(Some(
                running
                    .first_accepted(&probe, LIMIT, |body| sum(body).is_ok_and(|n| n > 0))?
                    .as_secs_f64(),
            ));
            cpu.push(Some(running.cpu_seconds()?));
            let targets = self.targets as u64;
            let all = running.first_accepted(&probe, LIMIT, |body| sum(body).is_ok_and(|n| n >= targets));
            whole.push(all.ok().map(|took| took.as_secs_f64()));
            running.first_answer("/-/ready", LIMIT)?;
            let found = at_rest(begun, || {
                let found = count_acknowledged(&running, server.kind, range)?;
                Ok(found)
            })?;
            let sent = acknowledged.get(index).copied().unwrap_or(0);
            lost.push(Some(sent.saturating_sub(found) as f64));
            let found = count_samples(&running, server.kind, &names, range, now_ms())?;
            let sent = self
                .exporter
                .bench_samples(index, killed.checked_sub(IN_FLIGHT).unwrap_or(killed));
            scraped.push(Some(sent.saturating_sub(found) as f64));
        }
        rows.add(
            &format!(
                "SIGKILL with {} active series: exec to first query answered, s",
                self.series
            ),
            Goal::new("2", "0.5"),
            first,
        );
        rows.add("the same: until a query shows every target, s", Goal::NONE, whole);
        rows.add("the same: CPU s until the first answer", Goal::NONE, cpu);
        rows.add("acknowledged samples lost by it", Goal::new("0", "0"), lost);
        rows.add("samples scraped 1 s or more before it, lost", Goal::NONE, scraped);
        rows.note(format!(
            "SIGKILL: while {} series are scraped every 30 s and {} samples of remote write are acknowledged within {} s; counted again once the server is ready and the count stays.",
            self.series,
            acknowledged.iter().map(u64::to_string).collect::<Vec<_>>().join(" / "),
            ACK_TIME.as_secs(),
        ));
        Ok(())
    }

    // How many samples each server has acknowledged, by messages to all of them at once until just now.
    fn acknowledge(&self) -> Result<Vec<u64>> {
        let counts: Vec<AtomicU64> = self.fleet.servers.iter().map(|_| AtomicU64::new(0)).collect();
        let is_over = AtomicBool::new(false);
        std::thread::scope(|scope| {
            let mut threads = Vec::new();
            for (running, count) in self.fleet.running.iter().zip(&counts) {
                let is_over = &is_over;
                threads.push(scope.spawn(move || -> Result<()> {
                    let mut client = running.client()?;
                    while !is_over.load(Ordering::Relaxed) {
                        let answer = client.write(&acknowledged(ACK_SERIES, now_ms())?)?;
                        if !(200..300).contains(&answer.status) {
                            let told = String::from_utf8_lossy(&answer.body).into_owned();
                            bail!("a message was refused with status {}: {told}", answer.status);
                        }
                        count.fetch_add(ACK_SERIES as u64, Ordering::Relaxed);
                        std::thread::sleep(ACK_EVERY);
                    }
                    Ok(())
                }));
            }
            std::thread::sleep(ACK_TIME);
            is_over.store(true, Ordering::Relaxed);
            for thread in threads {
                thread.join().map_err(|_| anyhow::anyhow!("a sender has panicked"))??;
            }
            anyhow::Ok(())
        })
        .context("sending messages before the kill")?;
        Ok(counts.iter().map(|count| count.load(Ordering::Relaxed)).collect())
    }
}

impl Figures {
    fn memory(&self, set: &Set, goal: Goal, rows: &mut Rows) {
        rows.add(
            &format!("{} active series, scraped: RSS, B per series", set.series),
            goal,
            set.fleet.each(|i| Some(self.rss.get(i)? / set.series as f64)),
        );
    }

    // CPU seconds of one sample of a series that is known.
    fn steady(&self, i: usize) -> Option<f64> {
        let (cpu, samples) = (self.cpu.get(i)?, self.samples.get(i)?);
        (samples.1 > samples.0).then(|| (cpu.1 - cpu.0) / (samples.1 - samples.0) as f64)
    }

    // CPU microseconds of a series that was not known.
    fn new_series(&self, set: &Set, i: usize) -> Option<f64> {
        let (cpu, samples) = *set.begun.get(i)?;
        Some((cpu - self.steady(i)? * samples as f64) / set.series as f64 * 1e6)
    }

    fn log(&self, i: usize) -> Option<f64> {
        let ((before, after), samples) = (self.logged.get(i)?, self.samples.get(i)?);
        // A checkpoint in between has made it shorter.
        let bytes = (*after)?.checked_sub((*before)?)?;
        Some(bytes as f64 / (samples.1 - samples.0) as f64)
    }
}

// How many targets have been seen.
fn probe(kind: Kind, range: i64) -> String {
    let expr = escape(&format!("count(last_over_time(node_load1{{job=\"bench\"}}[{range}s]))"));
    let at = seconds(now_ms());
    format!("/api/v1/query?query={expr}&time={at}{}", kind.query_suffix())
}

fn count_acknowledged(running: &Running, kind: Kind, range: i64) -> Result<u64> {
    let expr = escape(&format!("sum(count_over_time(ack{{job=\"ack\"}}[{range}s]))"));
    let path = format!(
        "/api/v1/query?query={expr}&time={}{}",
        seconds(now_ms()),
        kind.query_suffix()
    );
    let mut client: Client = running.client()?;
    sum(&client.fetch(&path)?).with_context(|| kind.name())
}

// The count once it has stayed the same for a while: a log may still be replayed while queries are answered.
fn at_rest(begun: Instant, count: impl Fn() -> Result<u64>) -> Result<u64> {
    let mut last = (count()?, Instant::now());
    while last.1.elapsed() < Duration::from_secs(3) && begun.elapsed() < LIMIT {
        std::thread::sleep(Duration::from_millis(500));
        let now = count()?;
        if now != last.0 {
            last = (now, Instant::now());
        }
    }
    Ok(last.0)
}
