//! The task of one target: wakes, fetches, ingests, reports.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use cupola_config::prometheus::ScrapeConfig;
use cupola_env::Clock;
use cupola_exposition::{Format, ScrapeProtocol, accept_header, negotiate};
use cupola_metrics::Summary;
use cupola_net::{NetError, Peer, Request, Room};
use cupola_storage::Appendable;
use http::header::{ACCEPT, CONTENT_TYPE, HeaderName, HeaderValue, USER_AGENT};
use http::{HeaderMap, Method, StatusCode};
use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;
use tracing::{error, warn};

use crate::failures;
use crate::ingest::{Counts, Ingester, batch};
use crate::manager::LocalTarget;
use crate::metadata::MetadataCell;
use crate::metrics::Metrics;
use crate::misses::{Missed, Misses};
use crate::status::{ForcedError, StatusCell};
use crate::target::Target;

// A body without a configured limit still has one: more than this is no metrics page.
const MAX_BODY: usize = 256 << 20;
// The moments of an interval at which targets are scraped.
const GRID: u64 = 128;

/// Where a target's text comes from.
pub(crate) enum Source {
    Http(Box<Peer>),
    Local(Arc<dyn LocalTarget>),
}

/// Everything a target's task needs.
pub(crate) struct Runner {
    pub config: Arc<ScrapeConfig>,
    pub target: Target,
    pub status: Arc<StatusCell>,
    /// Why it must not be scraped, where that is so.
    pub forced: Arc<ForcedError>,
    pub metadata: Arc<MetadataCell>,
    pub storage: Arc<dyn Appendable>,
    pub clock: Arc<dyn Clock>,
    pub metrics: Metrics,
    /// Where scrapes are reported that brought nothing.
    pub misses: Arc<Misses>,
    /// The distances between scrapes of this interval.
    pub interval: Summary,
    pub source: Source,
    /// Whether series tell their type and unit in labels.
    pub types: bool,
    /// Whether `_created` lines are starts.
    pub starts: bool,
    /// A scrape that begins within this many milliseconds of its slot is stamped with the slot.
    pub tolerance_ms: i64,
    /// What each request says of us.
    pub headers: Arc<HeaderMap>,
    pub stop: CancellationToken,
    /// Ends the process; `stop` is cancelled then, too.
    pub shutdown: CancellationToken,
    /// Whether the series end when the task stops: the target is gone, not the server.
    pub end_series: CancellationToken,
}

struct Fetched {
    body: Vec<u8>,
    format: Format,
    // What the body has of the memory for all bodies.
    _room: Room,
}

/// Why nothing was fetched.
#[derive(Debug)]
struct Unfetched {
    error: String,
    is_too_large: bool,
}

impl From<String> for Unfetched {
    fn from(error: String) -> Self {
        Self {
            error,
            is_too_large: false,
        }
    }
}

impl Runner {
    /// Scrapes until `stop` is cancelled.
    pub(crate) async fn run(mut self) {
        let interval = self.target.interval_ms;
        let slots = Slots {
            interval,
            offset: self.offset_ms(),
        };
        let mut ingester = Kept::Here(self.ingester());
        let stop = self.stop.clone();
        // The first scrape comes within one interval, spread by the target's hash.
        let mut slot = slots.last(self.clock.now_ms()) + interval;
        if matches!(self.source, Source::Local(_)) {
            // Costs nobody anything, and the pages have something to show at once.
            slot = self.clock.now_ms();
        }
        let mut last: Option<Instant> = None;
        loop {
            let now = self.clock.now_ms();
            if slot - now > interval {
                // The clock was turned back: waiting for the old slot would leave a hole as long as the turn.
                slot = slots.last(now) + interval;
            }
            let wait = (slot - now).max(0).unsigned_abs();
            tokio::select! {
                () = stop.cancelled() => break,
                () = tokio::time::sleep(Duration::from_millis(wait)) => {}
            }
            let now = self.clock.now_ms();
            slot = slots.reached(slot, now);
            let ts = stamp(now, slot, interval, self.tolerance_ms);
            let started = Instant::now();
            if let Some(before) = last.replace(started) {
                self.interval.observe((started - before).as_secs_f64());
            }
            let fetched = tokio::select! {
                () = stop.cancelled() => break,
                // In a box: what a request needs is kept only while it is on its way.
                fetched = Box::pin(self.fetch()) => fetched,
            };
            let known = match ingester.take().await {
                Some(ingester) => ingester,
                None => self.ingester(),
            };
            ingester = match fetched {
                // Stored with those of other targets; this task has nothing to do before its next scrape.
                Err(missed) => Kept::There(self.miss(known, missed, ts, started)),
                Ok(fetched) => match Box::pin(self.store(known, fetched, ts, started)).await {
                    Some(ingester) => Kept::Here(ingester),
                    None => Kept::Here(self.ingester()),
                },
            };
            slot = slots.after(slot, self.clock.now_ms());
        }
        if self.end_series.is_cancelled() && last.is_some() {
            // The series end when the next scrape would have been. Whether they do, is known only later: a target that
            // was removed may come back, and after a reload it may go on with other settings. By then it has been
            // scraped, and no series that it still has ends. A server that stops ends none. All as upstream.
            let now = self.clock.now_ms();
            let ts = slot.max(now);
            let wait = (ts - now) + interval + interval / 10;
            // What a connection takes is not kept so long.
            drop(self.source);
            tokio::select! {
                () = self.shutdown.cancelled() => return,
                () = tokio::time::sleep(Duration::from_millis(wait.unsigned_abs())) => {}
            }
            let Some(mut ingester) = ingester.take().await else {
                return;
            };
            let storage = self.storage.clone();
            let ended = tokio::task::spawn_blocking(move || {
                batch(&*storage, |appender| {
                    ingester.end(ts, appender);
                    ingester.end_reports(ts, appender);
                    Ok::<(), std::convert::Infallible>(())
                })
            });
            if let Ok(Err(error)) = ended.await {
                warn!(target = %self.target.url, %error, "cannot end the series of a removed target");
            }
        }
    }

    fn ingester(&self) -> Box<Ingester> {
        let (labels, histograms) = (self.target.labels.clone(), self.target.histograms);
        let ingester = Ingester::new(labels, histograms, self.metadata.clone());
        Box::new(ingester.with_types(self.types).with_starts(self.starts))
    }

    // Where in the interval this target is scraped: a hash of its labels and URL, so that not all are at once.
    fn offset_ms(&self) -> i64 {
        let mut labels = self.target.labels.to_builder();
        labels.set("__url__", &self.target.url.to_string());
        let interval = self.target.interval_ms.unsigned_abs().max(1);
        // Some of thousands of targets share a moment, and with it a wake-up.
        let grid = (interval / GRID).max(1);
        (labels.build().fingerprint() % interval / grid * grid) as i64
    }

    async fn fetch(&mut self) -> Result<Fetched, Unfetched> {
        if let Some(error) = self.forced.get() {
            return Err(error.into());
        }
        let timeout = Duration::from_millis(self.target.timeout_ms.unsigned_abs());
        let limit = self.config.defaults.limits.body_size_limit.0;
        let max_body = if limit == 0 {
            MAX_BODY
        } else {
            usize::try_from(limit).unwrap_or(MAX_BODY)
        };
        let peer = match &mut self.source {
            Source::Local(local) => {
                let local = local.clone();
                let body = tokio::time::timeout(timeout, tokio::task::spawn_blocking(move || local.collect())).await;
                return match body {
                    Ok(Ok(body)) => Ok(Fetched {
                        body,
                        format: Format::Text,
                        _room: Room::default(),
                    }),
                    Ok(Err(broken)) => Err(format!("collecting broke off: {broken}").into()),
                    Err(_) => Err(NetError::Timeout(timeout).to_string().into()),
                };
            }
            Source::Http(peer) => peer,
        };
        let request = Request {
            method: Method::GET,
            url: &self.target.url,
            headers: (*self.headers).clone(),
            body: Bytes::new(),
            timeout,
            max_body,
            gzip: self.config.enable_compression,
            follow_redirects: true,
        };
        let response = peer.send(request).await.map_err(|error| {
            if matches!(error, NetError::BodyLimit { .. }) {
                self.metrics.body_limit.inc();
                return Unfetched {
                    error: error.to_string(),
                    is_too_large: true,
                };
            }
            // As Go's http.Client tells it.
            format!("Get {:?}: {error}", self.target.url.to_string()).into()
        })?;
        // As upstream: no other status has metrics.
        if response.status != StatusCode::OK {
            return Err(format!("server returned HTTP status {}", response.status).into());
        }
        if response.body.is_empty() {
            // Of whatever type: a scrape without samples.
            return Ok(Fetched {
                body: response.body,
                format: Format::Text,
                _room: response.room,
            });
        }
        let content_type = response
            .headers
            .get(CONTENT_TYPE)
            .and_then(|v| v.to_str().ok())
            .unwrap_or("");
        let fallback = self.config.fallback_scrape_protocol.map(protocol);
        let negotiated = negotiate(content_type, fallback).map_err(|e| e.to_string())?;
        Ok(Fetched {
            body: response.body,
            format: negotiated.format,
            _room: response.room,
        })
    }

    fn miss(
        &self,
        ingester: Box<Ingester>,
        Unfetched { error, is_too_large }: Unfetched,
        ts: i64,
        started: Instant,
    ) -> oneshot::Receiver<Box<Ingester>> {
        self.misses.store(Missed {
            config: self.config.clone(),
            url: self.target.url.clone(),
            ingester,
            status: self.status.clone(),
            ts,
            seconds: started.elapsed().as_secs_f64(),
            // Upstream's sign for a body that was larger than allowed; all other failures have none.
            bytes: if is_too_large { -1.0 } else { 0.0 },
            error,
        })
    }

    // Parses and commits on a thread that may compute and write. Gives the ingester back, unless it broke.
    async fn store(
        &self,
        mut ingester: Box<Ingester>,
        fetched: Fetched,
        ts: i64,
        started: Instant,
    ) -> Option<Box<Ingester>> {
        let (config, url) = (self.config.clone(), self.target.url.clone());
        let (storage, metrics) = (self.storage.clone(), self.metrics.clone());
        let done = tokio::task::spawn_blocking(move || {
            let outcome = ingest(&config, &*storage, &metrics, &mut ingester, &fetched, ts, started);
            if let Err(error) = &outcome {
                failures::tell(&config, &url, ts, error, &metrics);
            }
            (ingester, outcome)
        });
        let (ingester, outcome) = match done.await {
            Ok(done) => done,
            Err(broken) => {
                error!(target = %self.target.url, error = %broken, "ingesting broke off");
                return None;
            }
        };
        let seconds = started.elapsed().as_secs_f64();
        match outcome {
            Ok(counts) => {
                if self.status.succeed(counts.kept, ts, seconds) {
                    tracing::info!(target = %self.target.url, pool = self.config.job_name, "target is up again");
                }
            }
            Err(error) => {
                // Once per change, not once per scrape.
                if self.status.is_other(&error) {
                    warn!(target = %self.target.url, pool = self.config.job_name, error, "scrape failed");
                }
                self.status.fail(error, ts, seconds);
            }
        }
        Some(ingester)
    }
}

// Where a target's ingester is between two scrapes.
enum Kept {
    Here(Box<Ingester>),
    /// With those who store failed scrapes.
    There(oneshot::Receiver<Box<Ingester>>),
}

impl Kept {
    // `None` where storing broke off.
    async fn take(self) -> Option<Box<Ingester>> {
        match self {
            Self::Here(ingester) => Some(ingester),
            Self::There(stored) => stored.await.ok(),
        }
    }
}

// One scrape: its samples and its report in one batch; where the body is bad, the report with staleness markers.
fn ingest(
    config: &ScrapeConfig,
    storage: &dyn Appendable,
    metrics: &Metrics,
    ingester: &mut Ingester,
    fetched: &Fetched,
    ts: i64,
    started: Instant,
) -> Result<Counts, String> {
    let failed = |metrics: &Metrics, error: cupola_storage::CommitError| {
        metrics.commit_failed.inc();
        format!("the samples could not be stored: {error}")
    };
    let seconds = || started.elapsed().as_secs_f64();
    let stored = batch(storage, |appender| {
        let counts = ingester.body(config, metrics, fetched.format, &fetched.body, ts, appender)?;
        let what = (true, counts, fetched.body.len() as f64, seconds());
        report(ingester, config, what, ts, appender);
        Ok::<Counts, crate::ingest::Refused>(counts)
    });
    let bad = match stored {
        Ok(Ok(counts)) => return Ok(counts),
        Ok(Err(refused)) => refused,
        Err(error) => {
            ingester.untold();
            return Err(failed(metrics, error));
        }
    };
    let stored = batch(storage, |appender| {
        ingester.end(ts, appender);
        // As upstream: what was read of the body, and its length.
        let what = (false, bad.counts, fetched.body.len() as f64, seconds());
        report(ingester, config, what, ts, appender);
        Ok::<(), std::convert::Infallible>(())
    });
    match stored {
        Ok(_) => Err(bad.error.to_string()),
        Err(error) => Err(failed(metrics, error)),
    }
}

/// Appends what every scrape says about itself: whether it worked, what it brought, the bytes of its body and its seconds.
pub(crate) fn report(
    ingester: &mut Ingester,
    config: &ScrapeConfig,
    (up, counts, bytes, seconds): (bool, Counts, f64, f64),
    ts: i64,
    appender: &mut dyn cupola_storage::Appender,
) {
    let mut all = vec![
        ("up", f64::from(u8::from(up))),
        ("scrape_duration_seconds", seconds),
        ("scrape_samples_scraped", counts.scraped as f64),
        ("scrape_samples_post_metric_relabeling", counts.kept as f64),
        ("scrape_series_added", counts.added as f64),
    ];
    if config.defaults.extra_scrape_metrics {
        all.push(("scrape_timeout_seconds", config.scrape_timeout.as_secs_f64()));
        all.push(("scrape_sample_limit", config.defaults.limits.sample_limit as f64));
        all.push(("scrape_body_size_bytes", bytes));
    }
    for (name, value) in all {
        ingester.report(name, ts, value, appender);
    }
}

/// The moments at which a target is meant to be scraped, in milliseconds.
#[derive(Debug, Clone, Copy)]
struct Slots {
    interval: i64,
    offset: i64,
}

impl Slots {
    // The last one up to `now`.
    fn last(self, now: i64) -> i64 {
        (now - self.offset).div_euclid(self.interval) * self.interval + self.offset
    }

    // Whose scrape begins `now`, which was meant for `slot`: where the clock jumped ahead or this process stood still, that of
    // the last one that passed.
    fn reached(self, slot: i64, now: i64) -> i64 {
        match now - slot < self.interval {
            true => slot,
            false => self.last(now),
        }
    }

    // The next one where the scrape of `slot` ends `now`. One that passed meanwhile is begun at once, of several the last:
    // upstream's ticker keeps one tick, so a target that takes its whole interval is scraped in each.
    fn after(self, slot: i64, now: i64) -> i64 {
        self.last(now).max(slot + self.interval)
    }
}

// The time of the samples of a scrape that was meant for `slot` and begins `now`.
fn stamp(now: i64, slot: i64, interval: i64, tolerance: i64) -> i64 {
    let is_close = (now - slot).abs() <= (interval / 100).min(tolerance);
    if is_close { slot } else { now }
}

/// What a request says of us to a target that has `timeout` for its answer.
pub(crate) fn headers(config: &ScrapeConfig, timeout: Duration) -> HeaderMap {
    let mut headers = HeaderMap::new();
    let protocols: Vec<ScrapeProtocol> = config.defaults.scrape_protocols.iter().map(|p| protocol(*p)).collect();
    let escaping = match config.defaults.name_escaping {
        cupola_config::prometheus::EscapingScheme::AllowUtf8 => "allow-utf-8",
        cupola_config::prometheus::EscapingScheme::Underscores => "underscores",
        cupola_config::prometheus::EscapingScheme::Dots => "dots",
        cupola_config::prometheus::EscapingScheme::Values => "values",
    };
    if let Ok(value) = HeaderValue::from_str(&accept_header(&protocols, escaping)) {
        headers.insert(ACCEPT, value);
    }
    headers.insert(
        USER_AGENT,
        HeaderValue::from_static(concat!("Prometheus/3.14.0 (Cupola/", env!("CARGO_PKG_VERSION"), ")")),
    );
    if let Ok(value) = HeaderValue::from_str(&timeout.as_secs_f64().to_string()) {
        headers.insert(HeaderName::from_static("x-prometheus-scrape-timeout-seconds"), value);
    }
    headers
}

fn protocol(protocol: cupola_config::prometheus::ScrapeProtocol) -> ScrapeProtocol {
    use cupola_config::prometheus::ScrapeProtocol as Configured;
    match protocol {
        Configured::PrometheusProto => ScrapeProtocol::PrometheusProto,
        Configured::PrometheusText004 => ScrapeProtocol::PrometheusText0_0_4,
        Configured::PrometheusText100 => ScrapeProtocol::PrometheusText1_0_0,
        Configured::OpenMetricsText001 => ScrapeProtocol::OpenMetricsText0_0_1,
        Configured::OpenMetricsText100 => ScrapeProtocol::OpenMetricsText1_0_0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ingest::tests::Bench;

    fn scrape(bench: &mut Bench, body: &str, ts: i64) -> Result<Counts, String> {
        let Bench {
            config,
            ingester,
            recorder,
            metrics,
        } = bench;
        let fetched = Fetched {
            body: body.as_bytes().to_vec(),
            format: Format::Text,
            _room: Room::default(),
        };
        ingest(config, recorder, metrics, ingester, &fetched, ts, Instant::now())
    }

    // What a scrape of this body says about itself, and its error.
    fn told(bench: &mut Bench, body: &str) -> (Vec<String>, String) {
        bench.recorder.samples.lock().clear();
        let outcome = scrape(bench, body, 1000);
        let reports = ["up", "samples_scraped", "relabeling", "series_added", "body_size_bytes"];
        let lines = bench.recorder.samples.lock().clone();
        let value = |report: &str| {
            let line = lines.iter().find(|line| line.contains(&format!("{report}\"")));
            line.unwrap().split(' ').nth_back(1).unwrap().to_owned()
        };
        (reports.map(value).to_vec(), outcome.err().unwrap_or_default())
    }

    #[test]
    fn a_refused_body_says_what_was_read_of_it() {
        let limited = "  extra_scrape_metrics: true\n  sample_limit: 1\n";
        let dropped = "  metric_relabel_configs: [{source_labels: [__name__], regex: b, action: drop}]\n";
        let three = "a 1\nb 1\nc 1\n";
        let mut bench = Bench::new(limited);
        for added in ["1", "0"] {
            let (reports, error) = told(&mut bench, three);
            assert_eq!(reports, ["0", "3", "3", added, "12"]);
            assert_eq!(error, "sample limit exceeded (1 samples allowed)");
            assert!(bench.remembered() <= 2, "what is too much is not remembered");
        }
        assert_eq!(bench.metrics.sample_limit.get(), 2.0);
        assert_eq!(told(&mut bench, "a 1\n").0, ["1", "1", "1", "0", "4"]);
        let mut bench = Bench::new(&format!("{limited}{dropped}"));
        assert_eq!(told(&mut bench, "a 1\nc 1\nb 1\nb 1\n").0, ["0", "4", "2", "1", "16"]);
        // What lies behind a line that cannot be read is unknown.
        let mut bench = Bench::new(&format!("  extra_scrape_metrics: true\n{dropped}"));
        let (reports, error) = told(&mut bench, "a 1\nb 1\nb{ 2\nc 1\n");
        assert_eq!(reports, ["0", "2", "1", "1", "17"]);
        assert!(!error.is_empty());
        // A line whose labels are refused was read, and it is that which is told.
        let mut bench = Bench::new(&format!("{limited}  label_limit: 3\n"));
        let (reports, error) = told(&mut bench, "a 1\nb 1\nc{x=\"1\"} 1\n");
        assert_eq!(reports, ["0", "3", "2", "1", "19"]);
        assert!(error.starts_with("label_limit exceeded"), "{error}");
    }

    #[test]
    fn what_a_family_is_is_told_again_where_the_storage_could_not_take_it() {
        let mut bench = Bench::new("");
        let mut told = |ts, is_closed| {
            bench.recorder.is_closed = is_closed;
            bench.recorder.described.lock().clear();
            let outcome = scrape(&mut bench, "# TYPE a counter\na 1\n", ts);
            assert_eq!(outcome.is_err(), is_closed, "{outcome:?}");
            bench.recorder.described.lock().clone()
        };
        assert_eq!(told(1000, true), ["a is a counter"]);
        assert_eq!(told(2000, false), ["a is a counter"]);
        assert_eq!(told(3000, false), [""; 0]);
    }

    #[test]
    fn a_bucket_limit_says_how_many_samples_there_were() {
        let limited = "  extra_scrape_metrics: true\n  convert_classic_histograms_to_nhcb: true\n  native_histogram_bucket_limit: 1\n";
        let histogram = "lat_bucket{le=\"0.5\"} 1\nlat_bucket{le=\"+Inf\"} 4\nlat_sum 2.5\nlat_count 4\n";
        let body = format!(
            "# TYPE lat histogram\n{histogram}# TYPE lbt histogram\n{}b 1\n",
            histogram.replace("lat", "lbt")
        );
        let mut bench = Bench::new(limited);
        let (reports, error) = told(&mut bench, &body);
        assert_eq!(reports[..4], ["0", "3", "3", "1"]);
        assert_eq!(error, "histogram bucket limit exceeded");
        assert_eq!(bench.metrics.bucket_limit.get(), 1.0);
    }

    #[test]
    fn a_scrape_that_takes_its_whole_interval_is_followed_by_the_next_one() {
        let slots = Slots {
            interval: 1000,
            offset: 100,
        };
        for (slot, ended, next) in [
            (10_100, 10_150, 11_100),
            (10_100, 11_099, 11_100),
            (10_100, 11_100, 11_100),
            (10_100, 11_103, 11_100),
            // Of several that passed, one is begun at once.
            (10_100, 13_000, 12_100),
            // One that began a little early.
            (10_100, 10_098, 11_100),
            // A slot beside the grid stays where it is.
            (10_500, 10_550, 11_500),
            (10_500, 11_200, 11_500),
        ] {
            assert_eq!(slots.after(slot, ended), next, "{slot} {ended}");
        }
    }

    #[test]
    fn a_clock_that_jumps_ahead_makes_no_two_scrapes_of_one() {
        let slots = Slots {
            interval: 1000,
            offset: 100,
        };
        // Meant for 10100, begun seconds later: that is the scrape of the last slot that passed.
        let slot = slots.reached(10_100, 15_700);
        assert_eq!((slot, slots.after(slot, 15_750)), (15_100, 16_100));
        assert_eq!(slots.reached(10_100, 11_099), 10_100);
        assert_eq!(slots.reached(10_100, 10_098), 10_100);
    }

    #[test]
    fn a_scrape_close_to_its_moment_is_stamped_with_it() {
        for (now, tolerance, expected) in [
            (10_002, 2, 10_000),
            (9_998, 2, 10_000),
            (10_003, 2, 10_003),
            (10_001, 0, 10_001),
            (10_000, 0, 10_000),
            // Never more than a hundredth of the interval.
            (10_010, 5_000, 10_000),
            (10_011, 5_000, 10_011),
        ] {
            assert_eq!(stamp(now, 10_000, 1_000, tolerance), expected, "{now} {tolerance}");
        }
    }
}
