//! What the server counts of itself, and `/metrics`.

use std::sync::Arc;
use std::time::Duration;

use cupola_engine::Engine;
use cupola_exposition::protobuf::FamilyWriter;
use cupola_exposition::{Format, MetricType, PROTOBUF_CONTENT_TYPE, TEXT_CONTENT_TYPE, Writer, accepted};
use cupola_histogram::{Histogram, Span};
use cupola_metrics::{
    Counter, CounterVec, Gauge, HistogramVec, Kind, NativeBuckets, Registry, SeriesValue, Snapshot, Summed,
};
use cupola_model::fmt_f64_g;
use http::header::ACCEPT;
use http::{HeaderMap, StatusCode};

use crate::PROMETHEUS_VERSION;
use crate::app::App;

// Prometheus's own bounds: seconds, and bytes by powers of ten.
const SECONDS: &[f64] = &[0.1, 0.2, 0.4, 1.0, 3.0, 8.0, 20.0, 60.0, 120.0];
const BYTES: &[f64] = &[1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9];

/// The families that the server itself registers.
pub(crate) struct Telemetry {
    requests: CounterVec,
    seconds: HistogramVec,
    bytes: HistogramVec,
    pub federation_errors: Counter,
    /// Remote reads that run or wait.
    pub remote_reads: Gauge,
}

impl Telemetry {
    pub(crate) fn new(app: &App) -> Self {
        let registry = &app.registry;
        build_info(registry, &app.version);
        let ready = app.ready.clone();
        registry.computed(
            "prometheus_ready",
            "Whether Prometheus startup was fully completed and the server is ready for normal operation.",
            Kind::Gauge,
            move || f64::from(u8::from(ready.is_ready())),
        );
        process(registry, app.started_ms);
        engine(registry, &app.engine);
        query_durations(registry, &app.engine);
        // What is federated comes from this server's own storage, which answers or fails.
        drop(registry.counter(
            "prometheus_web_federation_warnings_total",
            "Total number of warnings that occurred while sending federation responses.",
        ));
        Self {
            requests: registry.counter_vec(
                "prometheus_http_requests_total",
                "Counter of HTTP requests.",
                &["handler", "code"],
            ),
            seconds: registry.native_histogram_vec(
                "prometheus_http_request_duration_seconds",
                "Histogram of latencies for HTTP requests.",
                &["handler"],
                SECONDS,
            ),
            bytes: registry.histogram_vec(
                "prometheus_http_response_size_bytes",
                "Histogram of response size for HTTP requests.",
                &["handler"],
                BYTES,
            ),
            federation_errors: registry.counter(
                "prometheus_web_federation_errors_total",
                "Total number of errors that occurred while sending federation responses.",
            ),
            remote_reads: registry.gauge(
                "prometheus_api_remote_read_queries",
                "The current number of remote read queries being executed or waiting.",
            ),
        }
    }

    /// Counts one answered request; `size` is the body's, where it is known.
    pub(crate) fn observe(&self, handler: &str, status: StatusCode, took: Duration, size: Option<u64>) {
        self.requests.with(&[handler, status.as_str()]).inc();
        self.seconds.with(&[handler]).observe(took.as_secs_f64());
        if let Some(size) = size {
            self.bytes.with(&[handler]).observe(size as f64);
        }
    }
}

fn build_info(registry: &Registry, version: &str) {
    let one = |name: &str, help: &str, labels: Vec<(String, String)>| {
        registry.add(name, help, Kind::Gauge, move || {
            vec![(labels.clone(), SeriesValue::Number(1.0))]
        });
    };
    let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    one(
        "prometheus_build_info",
        "A metric with a constant '1' value labeled by version, revision, branch, goversion from which prometheus was built, and the goos and goarch for the build.",
        vec![
            pair("branch", ""),
            pair("goarch", std::env::consts::ARCH),
            pair("goos", std::env::consts::OS),
            pair("goversion", ""),
            pair("revision", &format!("cupola-{version}")),
            pair("tags", ""),
            pair("version", PROMETHEUS_VERSION),
        ],
    );
    one(
        "cupola_build_info",
        "Always 1; its label names Cupola's version.",
        vec![pair("version", version)],
    );
}

// What the engine is doing; Prometheus's families where it has them.
fn engine(registry: &Registry, engine: &Arc<Engine>) {
    let add = |name: &str, help: &str, kind, read: fn(&Engine) -> f64| {
        let engine = Arc::clone(engine);
        registry.computed(name, help, kind, move || read(&engine));
    };
    add(
        "prometheus_engine_queries",
        "The current number of queries being executed or waiting.",
        Kind::Gauge,
        |engine| engine.status().running as f64,
    );
    add(
        "prometheus_engine_queries_concurrent_max",
        "The max number of concurrent queries.",
        Kind::Gauge,
        |engine| engine.options().max_concurrency as f64,
    );
    add(
        "cupola_engine_queries_waiting_for_cpu",
        "Queries that have a place and wait for their turn to compute.",
        Kind::Gauge,
        |engine| engine.status().waiting as f64,
    );
    add(
        "cupola_engine_cpu_handovers_total",
        "How often a query made way for another.",
        Kind::Counter,
        |engine| engine.status().handovers as f64,
    );
    add(
        "cupola_engine_memory_bytes",
        "Memory that queries, and answers not sent yet, have reserved.",
        Kind::Gauge,
        |engine| engine.status().memory as f64,
    );
    let limits = Arc::clone(engine);
    registry.add(
        "cupola_engine_memory_limit_bytes",
        "The most memory one query may reserve, and all of them together.",
        Kind::Gauge,
        move || {
            let all = limits.status().memory_limit;
            by_budget([limits.options().max_memory, all].map(|bytes| match bytes {
                usize::MAX => f64::INFINITY,
                bytes => bytes as f64,
            }))
        },
    );
    let refused = Arc::clone(engine);
    registry.add(
        "cupola_engine_memory_refused_total",
        "Queries that were refused for one of the limits of memory.",
        Kind::Counter,
        move || {
            let status = refused.status();
            by_budget([status.refused_for_query as f64, status.refused_for_total as f64])
        },
    );
}

// Of every query that was answered, users' and rules'.
fn query_durations(registry: &Registry, engine: &Arc<Engine>) {
    let seconds = registry.summary_vec(
        "prometheus_engine_query_duration_seconds",
        "Query timings",
        &["slice"],
        &[0.5, 0.9, 0.99],
    );
    let buckets = registry.native_histogram_vec(
        "prometheus_engine_query_duration_histogram_seconds",
        "The duration of various parts of PromQL query execution.",
        &["slice"],
        &[0.01, 0.1, 1.0, 10.0],
    );
    let slices = ["queue_time", "prepare_time", "inner_eval", "result_sort"];
    let handles = slices.map(|slice| (seconds.with(&[slice]), buckets.with(&[slice])));
    let samples = registry.counter(
        "prometheus_engine_query_samples_total",
        "The total number of samples loaded by all queries.",
    );
    let read = registry.counter(
        "prometheus_engine_query_samples_read_total",
        "The total number of samples read from storage by all queries, each once.",
    );
    engine.on_answer(move |stats| {
        let timings = &stats.timings;
        let took = [timings.queue, timings.preparation, timings.evaluation, timings.result];
        for ((summary, histogram), took) in handles.iter().zip(took) {
            summary.observe(took.as_secs_f64());
            histogram.observe(took.as_secs_f64());
        }
        samples.add(stats.total_queryable_samples as f64);
        read.add(stats.samples_read as f64);
    });
    let (enabled, failures) = (Arc::clone(engine), Arc::clone(engine));
    registry.computed(
        "prometheus_engine_query_log_enabled",
        "State of the query log.",
        Kind::Gauge,
        move || f64::from(u8::from(enabled.status().is_logged)),
    );
    registry.computed(
        "prometheus_engine_query_log_failures_total",
        "The number of query log failures.",
        Kind::Counter,
        move || failures.status().log_failures as f64,
    );
}

fn by_budget([query, total]: [f64; 2]) -> cupola_metrics::SeriesList {
    [("query", query), ("total", total)]
        .into_iter()
        .map(|(budget, value)| {
            (
                vec![("budget".to_owned(), budget.to_owned())],
                SeriesValue::Number(value),
            )
        })
        .collect()
}

/// The `process_*` families that every Prometheus client library shows.
pub(crate) fn process(registry: &Registry, started_ms: i64) {
    let add = |name: &str, help: &str, kind, read: fn() -> Option<f64>| {
        registry.add(name, help, kind, move || {
            read()
                .map(|value| (vec![], SeriesValue::Number(value)))
                .into_iter()
                .collect()
        });
    };
    add(
        "process_cpu_seconds_total",
        "Total user and system CPU time spent in seconds.",
        Kind::Counter,
        cpu_seconds,
    );
    add(
        "process_resident_memory_bytes",
        "Resident memory size in bytes.",
        Kind::Gauge,
        resident_bytes,
    );
    add(
        "process_virtual_memory_bytes",
        "Virtual memory size in bytes.",
        Kind::Gauge,
        virtual_bytes,
    );
    add(
        "process_virtual_memory_max_bytes",
        "Maximum amount of virtual memory available in bytes.",
        Kind::Gauge,
        max_virtual_bytes,
    );
    add(
        "process_open_fds",
        "Number of open file descriptors.",
        Kind::Gauge,
        open_fds,
    );
    add(
        "process_max_fds",
        "Maximum number of open file descriptors.",
        Kind::Gauge,
        max_fds,
    );
    registry.computed(
        "process_start_time_seconds",
        "Start time of the process since unix epoch in seconds.",
        Kind::Gauge,
        move || started_ms as f64 / 1000.0,
    );
}

// The field `number` (from 3 on, as proc(5) counts) of /proc/self/stat.
fn stat_field(number: usize) -> Option<f64> {
    let text = std::fs::read_to_string("/proc/self/stat").ok()?;
    field(&text, number)
}

fn field(stat: &str, number: usize) -> Option<f64> {
    // The second field is the program's name in parentheses and may hold blanks and parentheses.
    let (_, rest) = stat.rsplit_once(')')?;
    rest.split_ascii_whitespace().nth(number.checked_sub(3)?)?.parse().ok()
}

fn cpu_seconds() -> Option<f64> {
    let ticks = rustix::param::clock_ticks_per_second() as f64;
    let text = std::fs::read_to_string("/proc/self/stat").ok()?;
    Some((field(&text, 14)? + field(&text, 15)?) / ticks)
}

fn virtual_bytes() -> Option<f64> {
    stat_field(23)
}

fn max_virtual_bytes() -> Option<f64> {
    // Where there is no limit, Go's library tells the largest number of 64 bits.
    let limit = rustix::process::getrlimit(rustix::process::Resource::As).current;
    Some(limit.unwrap_or(u64::MAX) as f64)
}

fn resident_bytes() -> Option<f64> {
    Some(stat_field(24)? * rustix::param::page_size() as f64)
}

fn open_fds() -> Option<f64> {
    // Reading the folder takes one itself.
    Some(std::fs::read_dir("/proc/self/fd").ok()?.count().saturating_sub(1) as f64)
}

fn max_fds() -> Option<f64> {
    Some(rustix::process::getrlimit(rustix::process::Resource::Nofile).current? as f64)
}

/// How many threads the process has.
pub(crate) fn threads() -> Option<f64> {
    stat_field(20)
}

/// What `registry` says now, in the format that a request with `headers` likes best, and that format's `Content-Type`.
pub(crate) fn exposed(registry: &Registry, headers: &HeaderMap) -> (&'static str, Vec<u8>) {
    let accept = headers.get(ACCEPT).and_then(|value| value.to_str().ok());
    match accepted(accept.unwrap_or("")) {
        Format::Protobuf => (PROTOBUF_CONTENT_TYPE, as_protobuf(registry)),
        _ => (TEXT_CONTENT_TYPE, self_metrics(registry)),
    }
}

fn as_protobuf(registry: &Registry) -> Vec<u8> {
    let mut writer = FamilyWriter::new();
    let mut last = String::new();
    for family in registry.snapshot() {
        if family.name != last {
            writer.family(&family.name, &family.help, type_of(&family));
            last = family.name;
        }
        for (labels, value) in family.series {
            match value {
                SeriesValue::Number(value) => writer.number(&labels, value, None),
                SeriesValue::Counted { value, since_ms } => writer.number(&labels, value, Some(since_ms)),
                SeriesValue::Summary(all) => {
                    writer.summary(&labels, (all.count, all.sum), &all.quantiles, all.since_ms);
                }
                SeriesValue::Histogram {
                    buckets,
                    sum,
                    native,
                    since_ms,
                } => {
                    let native = native.map(|native| with_spans(&native, sum));
                    writer.histogram(&labels, (&buckets, sum), native.as_ref(), since_ms);
                }
            }
        }
    }
    writer.finish()
}

// As native histograms are sent: runs of buckets, and each count as what it is more than the one before.
fn with_spans(native: &NativeBuckets, sum: f64) -> Histogram {
    let side = |buckets: &[(i32, u64)]| {
        let (mut spans, mut deltas): (Vec<Span>, Vec<i64>) = (Vec::new(), Vec::new());
        let (mut next, mut before) = (0, 0);
        for (index, count) in buckets {
            match spans.last_mut() {
                Some(span) if *index == next => span.length += 1,
                _ => spans.push(Span {
                    offset: *index - next,
                    length: 1,
                }),
            }
            deltas.push(*count as i64 - before);
            (next, before) = (*index + 1, *count as i64);
        }
        (spans, deltas)
    };
    let (positive_spans, positive_buckets) = side(&native.positive);
    let (negative_spans, negative_buckets) = side(&native.negative);
    Histogram {
        schema: native.schema,
        zero_threshold: native.zero_threshold,
        zero_count: native.zero_count,
        count: native.count,
        sum,
        positive_spans,
        positive_buckets,
        negative_spans,
        negative_buckets,
        ..Histogram::default()
    }
}

fn type_of(family: &Snapshot) -> MetricType {
    match family.kind {
        Kind::Counter => MetricType::Counter,
        Kind::Gauge => MetricType::Gauge,
        Kind::Histogram => MetricType::Histogram,
        Kind::Summary => MetricType::Summary,
    }
}

/// What `registry` says now, in the text format 0.0.4 ([`cupola_exposition::TEXT_CONTENT_TYPE`]): the body of
/// `/metrics`, and what the binary scrapes of itself without a socket.
#[must_use]
pub fn self_metrics(registry: &Registry) -> Vec<u8> {
    let mut writer = Writer::new();
    let mut last = String::new();
    for family in registry.snapshot() {
        // Two parts may have registered one name; the format allows a family only once.
        if family.name != last {
            writer.family(&family.name, &family.help, type_of(&family));
            last = family.name;
        }
        for (labels, value) in family.series {
            match value {
                SeriesValue::Number(value) | SeriesValue::Counted { value, .. } => drop(writer.sample(&labels, value)),
                SeriesValue::Histogram { buckets, sum, .. } => write_histogram(&mut writer, labels, &buckets, sum),
                SeriesValue::Summary(all) => write_summary(&mut writer, labels, &all),
            }
        }
    }
    writer.finish()
}

fn write_histogram(writer: &mut Writer, mut labels: Vec<(String, String)>, buckets: &[(f64, u64)], sum: f64) {
    let count = buckets.last().map_or(0, |(_, count)| *count);
    let plain = labels.len();
    labels.push(("le".to_owned(), String::new()));
    for (bound, count) in buckets {
        if let Some((_, le)) = labels.last_mut() {
            *le = fmt_f64_g(*bound);
        }
        writer.sample_suffix("_bucket", &labels, *count as f64);
    }
    labels.truncate(plain);
    writer.sample_suffix("_sum", &labels, sum);
    writer.sample_suffix("_count", &labels, count as f64);
}

fn write_summary(writer: &mut Writer, mut labels: Vec<(String, String)>, all: &Summed) {
    let plain = labels.len();
    labels.push(("quantile".to_owned(), String::new()));
    for (quantile, value) in &all.quantiles {
        if let Some((_, text)) = labels.last_mut() {
            *text = fmt_f64_g(*quantile);
        }
        writer.sample(&labels, *value);
    }
    labels.truncate(plain);
    writer.sample_suffix("_sum", &labels, all.sum);
    writer.sample_suffix("_count", &labels, all.count as f64);
}

#[cfg(test)]
mod tests {
    use super::*;
    use expect_test::expect;

    #[test]
    fn a_registry_is_written_as_text() {
        let registry = Registry::default();
        registry
            .counter_vec("a_total", "errors", &["kind"])
            .with(&["x\"y"])
            .add(2.0);
        let seconds = registry.histogram("s", "seconds", &[0.5, 1.0]);
        seconds.observe(0.75);
        seconds.observe(3.0);
        registry.gauge("g", "").set(f64::INFINITY);
        registry
            .summary_vec("t", "times", &["a"], &[0.5, 0.99])
            .with(&["b"])
            .observe(2.0);
        let _empty = registry.gauge_vec("z", "no series yet", &["l"]);
        expect![[r#"
            # HELP a_total errors
            # TYPE a_total counter
            a_total{kind="x\"y"} 2
            # TYPE g gauge
            g +Inf
            # HELP s seconds
            # TYPE s histogram
            s_bucket{le="0.5"} 0
            s_bucket{le="1"} 1
            s_bucket{le="+Inf"} 2
            s_sum 3.75
            s_count 2
            # HELP t times
            # TYPE t summary
            t{a="b",quantile="0.5"} 2
            t{a="b",quantile="0.99"} 2
            t_sum{a="b"} 2
            t_count{a="b"} 1
        "#]]
        .assert_eq(&String::from_utf8(self_metrics(&registry)).unwrap());
    }

    #[test]
    fn a_registry_is_written_as_protobuf_where_that_is_asked_for() {
        let registry = Registry::with_time(|| 1_795_000_000_000);
        registry.counter("a_total", "errors").add(2.0);
        let seconds = registry.native_histogram("s", "seconds", &[0.5, 1.0]);
        for value in [0.75, 0.75, 3.0, 3.2, 0.0] {
            seconds.observe(value);
        }
        registry.computed("z", "", Kind::Gauge, || 1.0);
        let text = exposed(&registry, &HeaderMap::new());
        assert_eq!(text.0, TEXT_CONTENT_TYPE);
        let mut headers = HeaderMap::new();
        headers.insert(ACCEPT, http::HeaderValue::from_static(PROTOBUF_CONTENT_TYPE));
        let (kind, body) = exposed(&registry, &headers);
        assert_eq!(kind, PROTOBUF_CONTENT_TYPE);
        let wanted = |native| cupola_exposition::protobuf::Wanted {
            native,
            classic_too: false,
        };
        let classic = cupola_exposition::protobuf::decode(&body, wanted(false)).unwrap();
        let numbers = |text: &[u8]| {
            let text = String::from_utf8(text.to_vec()).unwrap();
            let mut lines: Vec<String> = (text.lines().filter(|line| !line.starts_with('#')))
                .map(|line| line.replace(".0\"", "\""))
                .collect();
            lines.sort();
            lines
        };
        assert_eq!(numbers(classic.text()), numbers(&text.1));
        let native = cupola_exposition::protobuf::decode(&body, wanted(true)).unwrap();
        let native: Vec<_> = native.natives().collect();
        assert_eq!(native[0].start_ms, Some(1_795_000_000_000));
        let cupola_histogram::NativeHistogram::Integer(found) = native[0].histogram else {
            panic!("whole numbers were counted");
        };
        assert_eq!((found.count, found.zero_count, found.sum, found.schema), (5, 1, 7.7, 3));
        assert_eq!(
            found.positive_spans.iter().map(|span| span.offset).collect::<Vec<_>>(),
            [-3, 15]
        );
        assert_eq!(found.positive_spans[1].length, 2);
        assert_eq!(found.positive_buckets, [2, -1, 0]);
    }

    #[test]
    fn a_name_that_was_registered_twice_is_one_family() {
        let registry = Registry::default();
        registry.counter_vec("x_total", "x", &["part"]).with(&["a"]).inc();
        registry.counter_vec("x_total", "x", &["part"]).with(&["b"]).inc();
        let text = String::from_utf8(self_metrics(&registry)).unwrap();
        assert_eq!(text.matches("# TYPE").count(), 1, "{text}");
    }

    #[test]
    fn the_kernels_figures_are_read_past_any_program_name() {
        let stat = "42 (a b) c) S 1 2 3 4 5 6 7 8 9 10 700 300 0 0 20 0 17 0 5 123456 789 1";
        assert_eq!(field(stat, 14), Some(700.0));
        assert_eq!(field(stat, 15), Some(300.0));
        assert_eq!(field(stat, 20), Some(17.0));
        assert_eq!(field(stat, 23), Some(123_456.0));
        assert_eq!(field(stat, 24), Some(789.0));
        assert_eq!(field("nonsense", 14), None);
        let own = [cpu_seconds(), resident_bytes(), virtual_bytes(), open_fds(), threads()];
        assert!(own.iter().all(Option::is_some), "{own:?}");
    }
}
