//! Synthetic targets: one HTTP server on loopback that plays all of them, for every measured server the same pages.
//!
//! A page depends on the target and the tick (wall time divided by the interval) only, and is made once, so that the
//! harness takes little of the CPU that it measures. Job `bench` is scraped as usual. Job `exact` is small, sends its
//! ticks as explicit timestamps and is scraped twice per tick: all servers then hold the very same samples, and their
//! answers can be compared.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use flate2::Compression;
use flate2::write::GzEncoder;
use parking_lot::Mutex;

use super::machine::now_ms;
use super::options::Options;
use super::series::Target;

/// Targets of the job `exact`.
const EXACT_TARGETS: usize = 2;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Job {
    Bench,
    Exact,
}

struct Page {
    tick: i64,
    body: Vec<u8>,
    samples: usize,
}

struct Slot {
    target: Target,
    page: Arc<Page>,
}

// A page that a server has been sent to its last byte.
struct Delivery {
    server: usize,
    job: Job,
    at: Instant,
    samples: usize,
}

struct Shared {
    bench: Vec<Mutex<Slot>>,
    exact: Vec<Mutex<Slot>>,
    deliveries: Mutex<Vec<Delivery>>,
    interval_ms: i64,
    gzip: bool,
    is_paused: AtomicBool,
    is_stopped: AtomicBool,
}

pub(crate) struct Exporter {
    shared: Arc<Shared>,
    port: u16,
}

impl Exporter {
    /// Starts to serve on a free port.
    pub(crate) fn start(options: &Options) -> Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).context("cannot listen on 127.0.0.1")?;
        let port = listener.local_addr().context("a socket without address")?.port();
        let tick = now_ms() / options.interval_ms();
        let slot = |number: usize| {
            let target = Target::new(number, options.series, tick);
            let page = Page {
                tick: i64::MIN,
                body: Vec::new(),
                samples: 0,
            };
            Mutex::new(Slot {
                target,
                page: Arc::new(page),
            })
        };
        let shared = Arc::new(Shared {
            bench: (0..options.targets).map(slot).collect(),
            exact: (0..EXACT_TARGETS).map(slot).collect(),
            deliveries: Mutex::default(),
            interval_ms: options.interval_ms(),
            gzip: options.gzip,
            is_paused: AtomicBool::new(false),
            is_stopped: AtomicBool::new(false),
        });
        let accepting = shared.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                if accepting.is_stopped.load(Ordering::Relaxed) {
                    return;
                }
                let shared = accepting.clone();
                // A connection that breaks is the scraper's to open again.
                std::thread::spawn(move || shared.serve(stream));
            }
        });
        Ok(Self { shared, port })
    }

    /// The prometheus.yml of server number `server`.
    pub(crate) fn config(&self, server: usize) -> String {
        let interval = self.shared.interval_ms;
        let mut yaml =
            format!("global:\n  scrape_interval: {interval}ms\n  scrape_timeout: {interval}ms\nscrape_configs:\n");
        for (job, slots, interval) in [
            ("bench", &self.shared.bench, interval),
            ("exact", &self.shared.exact, interval / 2),
        ] {
            yaml.push_str(&format!(
                "- job_name: {job}\n  scrape_interval: {interval}ms\n  scrape_timeout: {interval}ms\n  static_configs:\n"
            ));
            for number in 0..slots.len() {
                yaml.push_str(&format!(
                    "  - targets: ['127.0.0.1:{}']\n    labels: {{instance: node-{number:04}, __metrics_path__: /{server}/{job}/{number}}}\n",
                    self.port,
                ));
            }
        }
        yaml
    }

    /// From now on all targets answer 503, and no sample is added anywhere.
    pub(crate) fn pause(&self) {
        self.shared.is_paused.store(true, Ordering::Relaxed);
    }

    pub(crate) fn resume(&self) {
        self.shared.is_paused.store(false, Ordering::Relaxed);
    }

    /// The names of all series of job `bench`.
    pub(crate) fn names(&self) -> Vec<String> {
        let mut names: Vec<String> = self
            .shared
            .bench
            .iter()
            .flat_map(|slot| slot.lock().target.names())
            .collect();
        names.sort();
        names.dedup();
        names
    }

    /// Series of job `bench`.
    pub(crate) fn series(&self) -> usize {
        self.shared.bench.iter().map(|slot| slot.lock().target.series()).sum()
    }

    /// Series of all jobs.
    pub(crate) fn all_series(&self) -> usize {
        self.series()
            + self
                .shared
                .exact
                .iter()
                .map(|slot| slot.lock().target.series())
                .sum::<usize>()
    }

    /// Samples of all jobs that `server` has been sent.
    pub(crate) fn samples(&self, server: usize) -> u64 {
        self.count(|d| d.server == server)
    }

    /// Samples of job `bench` that `server` had been sent at `moment`.
    pub(crate) fn bench_samples(&self, server: usize, moment: Instant) -> u64 {
        self.count(|d| d.server == server && d.job == Job::Bench && d.at <= moment)
    }

    fn count(&self, counts: impl Fn(&Delivery) -> bool) -> u64 {
        let deliveries = self.shared.deliveries.lock();
        deliveries.iter().filter(|d| counts(d)).map(|d| d.samples as u64).sum()
    }
}

impl Drop for Exporter {
    fn drop(&mut self) {
        self.shared.is_stopped.store(true, Ordering::Relaxed);
        // Wakes the thread that accepts; where that fails, it has ended already.
        let _ = TcpStream::connect((Ipv4Addr::LOCALHOST, self.port));
    }
}

impl Shared {
    fn serve(&self, stream: TcpStream) -> Result<()> {
        // Looks up now and then, so that an idle connection does not outlive the exporter for long.
        stream.set_read_timeout(Some(Duration::from_mins(2)))?;
        stream.set_nodelay(true)?;
        let mut reader = BufReader::new(stream);
        let mut line = String::new();
        while !self.is_stopped.load(Ordering::Relaxed) {
            line.clear();
            if reader.read_line(&mut line)? == 0 {
                break;
            }
            let path = line.split(' ').nth(1).unwrap_or("").to_owned();
            let mut takes_gzip = false;
            loop {
                line.clear();
                if reader.read_line(&mut line)? == 0 {
                    bail!("a request broke off");
                }
                let header = line.trim_end();
                if header.is_empty() {
                    break;
                }
                let (name, value) = header.split_once(':').unwrap_or((header, ""));
                takes_gzip |= name.eq_ignore_ascii_case("accept-encoding") && value.contains("gzip");
            }
            self.answer(&path, takes_gzip, reader.get_mut())?;
        }
        Ok(())
    }

    fn answer(&self, path: &str, takes_gzip: bool, out: &mut TcpStream) -> Result<()> {
        let page = self
            .asked(path)
            .map(|(server, job, slot)| (server, job, self.page(job, slot)));
        let Some((server, job, page)) = page.filter(|_| !self.is_paused.load(Ordering::Relaxed)) else {
            let refusal = b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n";
            return out.write_all(refusal).context("a scraper has gone");
        };
        let encoding = if self.gzip { "Content-Encoding: gzip\r\n" } else { "" };
        if self.gzip && !takes_gzip {
            bail!("a scraper does not take gzip; run with --no-gzip");
        }
        let head = format!(
            "HTTP/1.1 200 OK\r\nContent-Type: text/plain; version=0.0.4; charset=utf-8\r\n{encoding}Content-Length: {}\r\n\r\n",
            page.body.len()
        );
        // One write, so that the scraper is woken once.
        let mut bytes = head.into_bytes();
        bytes.extend_from_slice(&page.body);
        out.write_all(&bytes).context("a scraper has gone")?;
        let delivery = Delivery {
            server,
            job,
            at: Instant::now(),
            samples: page.samples,
        };
        self.deliveries.lock().push(delivery);
        Ok(())
    }

    // Paths are /SERVER/JOB/TARGET.
    fn asked(&self, path: &str) -> Option<(usize, Job, &Mutex<Slot>)> {
        let mut parts = path.strip_prefix('/')?.split('/');
        let server = parts.next()?.parse().ok()?;
        let (job, slots) = match parts.next()? {
            "bench" => (Job::Bench, &self.bench),
            "exact" => (Job::Exact, &self.exact),
            _ => return None,
        };
        let number: usize = parts.next()?.parse().ok()?;
        Some((server, job, slots.get(number)?))
    }

    fn page(&self, job: Job, slot: &Mutex<Slot>) -> Arc<Page> {
        let mut slot = slot.lock();
        let tick = now_ms() / self.interval_ms;
        if slot.page.tick != tick {
            slot.target.advance(tick);
            let plain = slot
                .target
                .page((job == Job::Exact).then_some(tick * self.interval_ms))
                .into_bytes();
            let body = if self.gzip { compressed(&plain) } else { plain };
            let samples = slot.target.series();
            slot.page = Arc::new(Page { tick, body, samples });
        }
        slot.page.clone()
    }
}

fn compressed(plain: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::with_capacity(plain.len() / 8), Compression::default());
    // Writing to memory cannot fail.
    let _ = encoder.write_all(plain);
    encoder.finish().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::super::client::Client;
    use super::*;

    fn exporter(args: &[&str]) -> Exporter {
        let args: Vec<String> = args.iter().map(|a| (*a).to_owned()).collect();
        Exporter::start(&Options::parse(&args).unwrap()).unwrap()
    }

    #[test]
    fn samples_are_counted_for_the_server_that_got_them() {
        let exporter = exporter(&["--targets=2", "--series=100", "--no-gzip"]);
        let mut client = Client::connect(exporter.port).unwrap();
        let page = client.fetch("/1/bench/0").unwrap();
        let samples = page
            .split(|b| *b == b'\n')
            .filter(|l| !l.is_empty() && !l.starts_with(b"#"))
            .count();
        assert_eq!(samples, 100);
        client.fetch("/1/exact/1").unwrap();
        // The counting follows the last byte; the next answer on the same connection follows the counting.
        assert_eq!(client.get("/1/bench/9").unwrap().status, 503);
        assert_eq!((exporter.samples(0), exporter.samples(1)), (0, 200));
        assert_eq!(exporter.bench_samples(1, Instant::now()), 100);
        assert_eq!((exporter.series(), exporter.all_series()), (200, 400));
        exporter.pause();
        assert_eq!(client.get("/1/bench/0").unwrap().status, 503);
        exporter.resume();
        assert_eq!(client.get("/1/bench/0").unwrap().status, 200);
    }

    #[test]
    fn exact_samples_carry_their_tick() {
        let exporter = exporter(&["--targets=1", "--series=100", "--no-gzip"]);
        let page = Client::connect(exporter.port)
            .and_then(|mut c| c.fetch("/0/exact/0"))
            .unwrap();
        let page = String::from_utf8(page).unwrap();
        let line = page.lines().find(|l| l.starts_with("node_load1 ")).unwrap();
        let ts: i64 = line.split(' ').nth(2).unwrap().parse().unwrap();
        assert_eq!(ts % 5000, 0);
        assert!((now_ms() - ts).abs() < 600_000);
    }
}
