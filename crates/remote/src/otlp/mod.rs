//! OpenTelemetry's metrics (OTLP), received: an `ExportMetricsServiceRequest` becomes one batch, translated as Prometheus
//! 3.14 does.

mod cumulative;
mod json;
mod names;
mod points;
mod values;

use std::collections::BTreeMap;

use cupola_config::prometheus::{OtlpConfig, TranslationStrategy};
use cupola_histogram::NativeHistogram;
use cupola_metrics::{Counter, Registry};
use cupola_model::{Labels, METRIC_NAME, MetricType, SeriesRef, go_quote};
use cupola_storage::{AppendError, Appendable, Appender, CommitError, Exemplar, ExemplarError, Metadata};
use cupola_wire::{Fields, Value, WireError};
use parking_lot::{Mutex, MutexGuard};
use thiserror::Error;
use tracing::debug;

use cumulative::{Changes, Streams, Summed, stream_id};
use names::{Kind, Namer};
use points::{Point, Scope};
use values::{attribute, text};

use crate::write::{Allowance, Memory, TEXTS, memory};

// Prometheus's `maxAheadTime`.
const MAX_AHEAD_MS: i64 = 10 * 60_000;
// A mistake in each of a million points makes no answer of megabytes.
const MOST_MISTAKES: usize = 100;
// Times of one message lie close together; one that tells of years does not make a million samples.
const MOST_TARGET_INFOS: i64 = 1000;
// Of all resources of a message; beyond it each has its newest one.
const MOST_TARGET_INFOS_IN_ALL: i64 = 100_000;

const DELTA: u64 = 1;
const CUMULATIVE: u64 = 2;

const SERVICE_NAME: &str = "service.name";
const SERVICE_NAMESPACE: &str = "service.namespace";
const SERVICE_INSTANCE: &str = "service.instance.id";

/// Why a message was not written. Nothing of it is.
#[derive(Debug, Error)]
pub enum OtlpError {
    /// It is no message of OTLP.
    #[error("proto: {0}")]
    Message(String),
    /// It is no message of OTLP in JSON.
    #[error("json: {0}")]
    Json(String),
    /// The storage does not take some of its samples: what is sent again later is not taken either.
    #[error("{0}")]
    Samples(String),
    /// Some of it cannot be translated. The texts are Prometheus's, as is that this counts as the server's fault.
    #[error("{0}")]
    Translation(String),
    /// There is no room now for what would be made of it, which takes at least so many bytes; nothing is written.
    #[error("the points of the message take more than {0} bytes of memory, for which there is no room")]
    NoRoom(usize),
    /// The storage failed.
    #[error(transparent)]
    Storage(#[from] CommitError),
}

impl From<WireError> for OtlpError {
    fn from(error: WireError) -> Self {
        Self::Message(error.to_string())
    }
}

/// How messages are received.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OtlpOptions {
    /// The engine's lookback, milliseconds: `target_info` gets a sample every half of it.
    pub lookback_ms: i64,
    /// What becomes of deltas.
    pub deltas: OtlpDeltas,
    /// Series get `__type__` and `__unit__` (feature `type-and-unit-labels`).
    pub type_and_unit_labels: bool,
}

/// What becomes of points that count since the one before.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum OtlpDeltas {
    /// They are refused.
    #[default]
    Refused,
    /// They are taken as they are (feature `otlp-native-delta-ingestion`).
    Native,
    /// They are summed up (feature `otlp-deltatocumulative`). The sums are not kept over a restart, and a stream of which
    /// nothing is heard for five minutes begins anew; points that are older than those before are left out.
    Summed,
}

/// Receives messages.
pub struct OtlpReceiver {
    options: OtlpOptions,
    streams: Mutex<Streams>,
    late_exemplars: Counter,
    late_deltas: Counter,
    // For tests: see `Allowance`.
    texts: usize,
}

impl OtlpReceiver {
    /// One for all senders.
    #[must_use]
    pub fn new(registry: &Registry, options: OtlpOptions) -> Self {
        Self {
            options,
            streams: Mutex::default(),
            texts: TEXTS,
            late_exemplars: registry.counter(
                "prometheus_api_otlp_out_of_order_exemplars_total",
                "The total number of received OTLP exemplars which were rejected because they were out of order.",
            ),
            late_deltas: registry.counter(
                "cupola_otlp_late_deltas_total",
                "Delta points that were left out because newer ones of their stream were there already.",
            ),
        }
    }

    /// An `ExportMetricsServiceRequest` in OTLP's JSON as the same in protobuf, which [`OtlpReceiver::write`] takes. It
    /// takes no more than some times the memory of `text`.
    ///
    /// # Errors
    /// [`OtlpError::Json`].
    pub fn from_json(text: &[u8]) -> Result<Vec<u8>, OtlpError> {
        json::to_protobuf(text).map_err(|error| OtlpError::Json(error.to_string()))
    }

    /// Writes one message, an `ExportMetricsServiceRequest` in protobuf, as one batch. Metadata and start times go
    /// with it.
    ///
    /// # Errors
    /// [`OtlpError`]; nothing of the message is written then.
    pub fn write(
        &self,
        storage: &dyn Appendable,
        message: &[u8],
        config: &OtlpConfig,
        memory: &mut Memory<'_>,
        now_ms: i64,
    ) -> Result<(), OtlpError> {
        let strategy = config.translation_strategy;
        let namer = Namer {
            utf8: matches!(
                strategy,
                TranslationStrategy::NoUtf8EscapingWithSuffixes | TranslationStrategy::NoTranslation
            ),
            suffixes: matches!(
                strategy,
                TranslationStrategy::NoUtf8EscapingWithSuffixes | TranslationStrategy::UnderscoreEscapingWithSuffixes
            ),
            key_before_underscore: config.label_name_underscore_sanitization,
            keep_underscores: config.label_name_preserve_multiple_underscores,
        };
        let mut batch = Batch {
            receiver: self,
            config,
            namer,
            appender: storage.appender(),
            // Messages with deltas are written one after the other: what one adds to, the other must see.
            streams: (self.options.deltas == OtlpDeltas::Summed).then(|| self.streams.lock()),
            changes: Changes::default(),
            now_ms,
            latest: now_ms.saturating_add(MAX_AHEAD_MS),
            infos: MOST_TARGET_INFOS_IN_ALL,
            allowance: Allowance::new(self.texts, message),
            memory,
            no_room: None,
            mistakes: Vec::new(),
            refused: false,
            broken: false,
        };
        for field in Fields(message) {
            if let (1, Value::Bytes(resource)) = field? {
                batch.resource_metrics(resource)?;
            }
        }
        batch.end()
    }
}

struct Batch<'a, 'm> {
    receiver: &'a OtlpReceiver,
    config: &'a OtlpConfig,
    namer: Namer,
    appender: Box<dyn Appender + 'a>,
    streams: Option<MutexGuard<'a, Streams>>,
    changes: Changes,
    now_ms: i64,
    latest: i64,
    // So many samples of `target_info` may still be made.
    infos: i64,
    // What labels may still be made.
    allowance: Allowance,
    memory: &'a mut Memory<'m>,
    // How much it took when there was no more.
    no_room: Option<usize>,
    mistakes: Vec<String>,
    // Whether the storage refused some of it, or something could not be translated.
    refused: bool,
    broken: bool,
}

// What is measured: its attributes, and what of them becomes labels of every series.
#[derive(Default)]
struct Resource {
    attributes: Vec<(String, String)>,
    promoted: Vec<(String, String)>,
    job: Option<String>,
    instance: Option<String>,
}

impl Resource {
    fn get(&self, name: &str) -> Option<&str> {
        let found = self.attributes.iter().find(|(key, _)| key == name);
        found.map(|(_, value)| value.as_str())
    }
}

#[derive(Clone, Copy)]
struct Times {
    start: i64,
    ts: i64,
}

/// Why one point is not taken.
enum Mistake {
    Refused(String),
    Broken(String),
}

impl Batch<'_, '_> {
    fn mistake(&mut self, mistake: Mistake) {
        let text = match mistake {
            Mistake::Refused(text) => {
                self.refused = true;
                text
            }
            Mistake::Broken(text) => {
                self.broken = true;
                text
            }
        };
        if self.mistakes.len() < MOST_MISTAKES {
            self.mistakes.push(text);
        }
    }

    fn end(self) -> Result<(), OtlpError> {
        if let Some(bytes) = self.no_room {
            return Err(OtlpError::NoRoom(bytes));
        }
        let text = self.mistakes.join("; ");
        if self.refused {
            return Err(OtlpError::Samples(text));
        }
        if self.broken {
            return Err(OtlpError::Translation(text));
        }
        self.appender.commit()?;
        if let Some(mut streams) = self.streams {
            streams.take(self.changes, self.now_ms);
        }
        Ok(())
    }

    fn resource_metrics(&mut self, message: &[u8]) -> Result<(), WireError> {
        let mut resource = Resource::default();
        for field in Fields(message) {
            if let (1, Value::Bytes(bytes)) = field? {
                for field in Fields(bytes) {
                    if let (1, Value::Bytes(pair)) = field? {
                        resource.attributes.push(attribute(pair)?);
                    }
                }
            }
        }
        self.prepare(&mut resource);
        // Oldest and newest point.
        let mut span = None;
        for field in Fields(message) {
            if let (2, Value::Bytes(scope)) = field? {
                self.scope_metrics(scope, &resource, &mut span)?;
            }
        }
        if let Some(span) = span
            && let Err(mistake) = self.target_info(&resource, span)
        {
            self.mistake(mistake);
        }
        Ok(())
    }

    fn prepare(&mut self, resource: &mut Resource) {
        resource.job = resource
            .get(SERVICE_NAME)
            .map(|name| match resource.get(SERVICE_NAMESPACE) {
                Some(namespace) => format!("{namespace}/{name}"),
                None => name.to_owned(),
            });
        resource.instance = resource.get(SERVICE_INSTANCE).map(str::to_owned);
        let config = self.config;
        let is_promoted = |name: &String| match config.promote_all_resource_attributes {
            true => !config.ignore_resource_attributes.contains(name),
            false => config.promote_resource_attributes.contains(name),
        };
        let mut promoted: Vec<_> = resource
            .attributes
            .iter()
            .filter(|(name, _)| is_promoted(name))
            .cloned()
            .collect();
        promoted.sort();
        for (name, value) in promoted {
            match self.namer.label(&name) {
                Ok(name) => resource.promoted.push((name, value)),
                Err(error) => self.mistake(Mistake::Broken(error)),
            }
        }
    }

    fn scope_metrics(
        &mut self,
        message: &[u8],
        resource: &Resource,
        span: &mut Option<(i64, i64)>,
    ) -> Result<(), WireError> {
        let mut scope = Scope::default();
        for field in Fields(message) {
            match field? {
                (1, Value::Bytes(bytes)) => scope.read(bytes)?,
                (3, Value::Bytes(url)) => scope.schema_url = text(url),
                _ => {}
            }
        }
        for field in Fields(message) {
            if let (2, Value::Bytes(metric)) = field? {
                self.metric(metric, resource, &scope, span)?;
            }
        }
        Ok(())
    }

    fn metric(
        &mut self,
        message: &[u8],
        resource: &Resource,
        scope: &Scope,
        span: &mut Option<(i64, i64)>,
    ) -> Result<(), WireError> {
        if self.allowance.is_used_up() || self.no_room.is_some() {
            // Nothing of the message is written any more.
            return Ok(());
        }
        let (mut name, mut help, mut unit, mut data) = (String::new(), String::new(), String::new(), None);
        for field in Fields(message) {
            match field? {
                (1, Value::Bytes(bytes)) => name = text(bytes),
                (2, Value::Bytes(bytes)) => help = text(bytes),
                (3, Value::Bytes(bytes)) => unit = text(bytes),
                (kind @ (5 | 7 | 9 | 10 | 11), Value::Bytes(bytes)) => data = Some((kind, bytes)),
                _ => {}
            }
        }
        let Some((kind, data)) = data else {
            let text =
                format!("could not get aggregation temporality for {name} as it has unsupported metric type Empty");
            self.mistake(Mistake::Broken(text));
            return Ok(());
        };
        let (mut temporality, mut is_monotonic, mut points) = (0, false, Vec::new());
        for field in Fields(data) {
            match field? {
                (1, Value::Bytes(point)) => points.push(match kind {
                    5 | 7 => Point::number(point)?,
                    9 => Point::histogram(point)?,
                    10 => Point::exponential(point)?,
                    _ => Point::summary(point)?,
                }),
                (2, Value::Varint(value)) => temporality = value,
                (3, Value::Varint(value)) => is_monotonic = value != 0,
                _ => {}
            }
        }
        for point in &points {
            let (oldest, newest) = span.get_or_insert((point.ts, point.ts));
            (*oldest, *newest) = ((*oldest).min(point.ts), (*newest).max(point.ts));
        }
        let mut is_delta = temporality == DELTA;
        let is_taken = temporality == CUMULATIVE || (is_delta && self.receiver.options.deltas != OtlpDeltas::Refused);
        if matches!(kind, 7 | 9 | 10) && !is_taken {
            let name = go_quote(&name);
            let text = format!("invalid temporality and type combination for metric {name}");
            self.mistake(Mistake::Broken(text));
            return Ok(());
        }
        let of_name = match kind {
            5 => Kind::Gauge,
            7 if is_monotonic => Kind::Counter,
            _ => Kind::Other,
        };
        let made = match self.namer.metric(&name, &unit, of_name) {
            Ok(made) => made,
            Err(error) => {
                self.mistake(Mistake::Broken(error));
                return Ok(());
            }
        };
        if points.is_empty() {
            self.mistake(Mistake::Broken(format!("empty data points. {name} is dropped")));
            return Ok(());
        }
        if is_delta && self.streams.is_some() {
            let metric = (name.as_str(), unit.as_str(), kind, is_monotonic);
            points = self.summed(points, resource, scope, metric);
            is_delta = false;
            if points.is_empty() {
                return Ok(());
            }
        }
        let metadata = Metadata {
            kind: match kind {
                7 | 9 | 10 if is_delta => MetricType::Unknown,
                5 => MetricType::Gauge,
                7 if is_monotonic => MetricType::Counter,
                7 => MetricType::Gauge,
                11 => MetricType::Summary,
                _ => MetricType::Histogram,
            },
            help,
            unit: self.namer.unit(&unit),
        };
        self.appender.describe(&made, &metadata);
        for point in points {
            let taken = self
                .labels(&point.attributes, resource, Some(scope), &[])
                .map(|base| self.typed(base, &metadata))
                .and_then(|base| match kind {
                    5 | 7 => self.number(&made, &base, point, kind == 5),
                    9 if self.config.convert_histograms_to_nhcb => {
                        let histogram = point.custom(is_delta).map_err(Mistake::Broken)?;
                        self.native(&made, &base, point, histogram)
                    }
                    9 => self.classic(&made, &base, point),
                    10 => {
                        let histogram = point.native(is_delta).map_err(Mistake::Broken)?;
                        self.native(&made, &base, point, histogram)
                    }
                    _ => self.summary(&made, &base, &point),
                });
            // As upstream: the metric's other points are left out.
            if let Err(mistake) = taken {
                self.mistake(mistake);
                break;
            }
        }
        Ok(())
    }

    // The points as sums, where they are not late.
    fn summed(
        &mut self,
        points: Vec<Point>,
        resource: &Resource,
        scope: &Scope,
        metric: (&str, &str, u64, bool),
    ) -> Vec<Point> {
        let mut all = Vec::with_capacity(points.len());
        for point in points {
            let Some(streams) = &self.streams else { continue };
            let id = stream_id(&resource.attributes, scope, metric, &point.attributes);
            match self.changes.add(streams, id, point) {
                Summed::Point(point) => all.push(*point),
                Summed::Late => self.receiver.late_deltas.inc(),
                Summed::TooMany => {
                    let text = format!(
                        "too many streams of deltas to be summed up, at metric {}",
                        go_quote(metric.0)
                    );
                    self.mistake(Mistake::Refused(text));
                    break;
                }
            }
        }
        all
    }

    // With the labels that tell type and unit, where they are wanted.
    fn typed(&self, mut labels: BTreeMap<String, String>, metadata: &Metadata) -> BTreeMap<String, String> {
        if self.receiver.options.type_and_unit_labels {
            if metadata.kind != MetricType::Unknown {
                labels.insert("__type__".to_owned(), metadata.kind.name().to_owned());
            }
            if !metadata.unit.is_empty() {
                labels.insert("__unit__".to_owned(), metadata.unit.clone());
            }
        }
        labels
    }

    // The labels of a point's series, but for its name.
    fn labels(
        &self,
        attributes: &[(String, String)],
        resource: &Resource,
        scope: Option<&Scope>,
        left_out: &[&str],
    ) -> Result<BTreeMap<String, String>, Mistake> {
        let name = |name: &str| self.namer.label(name).map_err(Mistake::Broken);
        let mut sorted: Vec<_> = attributes
            .iter()
            .filter(|(name, _)| !left_out.contains(&name.as_str()))
            .collect();
        sorted.sort_by(|a, b| a.0.cmp(&b.0));
        let mut labels: BTreeMap<String, String> = BTreeMap::new();
        for (key, value) in sorted {
            let there = labels.entry(name(key)?).or_default();
            // Several may be the same once their names are escaped.
            if !there.is_empty() {
                there.push(';');
            }
            there.push_str(value);
        }
        // `target_info` has no scope, and all attributes already.
        if let Some(scope) = scope {
            for (key, value) in &resource.promoted {
                let there = labels.entry(key.clone()).or_default();
                if there.is_empty() {
                    there.clone_from(value);
                }
            }
            if self.config.promote_scope_metadata && !scope.name.is_empty() {
                for (key, value) in &scope.attributes {
                    labels.insert(name(&format!("otel_scope_{key}"))?, value.clone());
                }
                labels.insert("otel_scope_name".to_owned(), scope.name.clone());
                labels.insert("otel_scope_version".to_owned(), scope.version.clone());
                labels.insert("otel_scope_schema_url".to_owned(), scope.schema_url.clone());
            }
        }
        for (name, value) in [("job", &resource.job), ("instance", &resource.instance)] {
            if let Some(value) = value {
                labels.insert(name.to_owned(), value.clone());
            }
        }
        Ok(labels)
    }

    // Every series has the resource's labels.
    fn allow(&mut self, labels: &Labels) -> Result<(), Mistake> {
        let bytes = labels.iter().map(|(name, value)| name.len() + value.len()).sum();
        self.allowance.take(bytes).map_err(Mistake::Refused)?;
        self.take(memory::SAMPLE)
    }

    // Takes memory for a sample on its way, if that was not refused before.
    fn take(&mut self, bytes: usize) -> Result<(), Mistake> {
        let taken = match self.no_room {
            Some(_) => Err(String::new()),
            None => self.memory.take(bytes).map_err(|error| {
                self.no_room = Some(self.memory.taken().saturating_add(bytes));
                error.to_string()
            }),
        };
        taken.map_err(Mistake::Refused)
    }

    fn append(&mut self, labels: &Labels, times: Times, value: f64) -> Result<SeriesRef, Mistake> {
        self.allow(labels)?;
        let appended = match times.ts > self.latest {
            true => Err(AppendError::OutOfBounds),
            false => self.appender.append(None, labels, times.ts, value),
        };
        self.after(appended, labels, times)
    }

    fn after(
        &mut self,
        appended: Result<SeriesRef, AppendError>,
        labels: &Labels,
        times: Times,
    ) -> Result<SeriesRef, Mistake> {
        let series = appended.map_err(|error| Mistake::Refused(format!("{error} for series {labels}")))?;
        if times.start != 0 {
            self.appender.append_start(series, times.ts, times.start);
        }
        Ok(series)
    }

    fn exemplar(&mut self, series: SeriesRef, mut exemplar: Exemplar, ts: i64) {
        if exemplar.ts == 0 {
            exemplar.ts = ts;
        }
        match self.appender.append_exemplar(series, exemplar) {
            Ok(()) => {}
            Err(ExemplarError::OutOfOrder) => self.receiver.late_exemplars.inc(),
            Err(error) => debug!(%error, "OTLP: exemplar refused"),
        }
    }

    fn number(
        &mut self,
        name: &str,
        base: &BTreeMap<String, String>,
        point: Point,
        is_gauge: bool,
    ) -> Result<(), Mistake> {
        let labels = named(base, name, None);
        let times = Times {
            // A gauge counts nothing.
            start: if is_gauge { 0 } else { point.start },
            ts: point.ts,
        };
        let series = self.append(&labels, times, point.value())?;
        for exemplar in point.exemplars.into_iter().filter(|_| !is_gauge) {
            self.exemplar(series, exemplar, times.ts);
        }
        Ok(())
    }

    fn native(
        &mut self,
        name: &str,
        base: &BTreeMap<String, String>,
        point: Point,
        histogram: cupola_histogram::Histogram,
    ) -> Result<(), Mistake> {
        let labels = named(base, name, None);
        self.allow(&labels)?;
        let times = Times {
            start: point.start,
            ts: point.ts,
        };
        let histogram = NativeHistogram::Integer(histogram);
        self.take(memory::of_histogram(&histogram))?;
        let appended = match times.ts > self.latest {
            true => Err(AppendError::OutOfBounds),
            false => self.appender.append_histogram(None, &labels, times.ts, histogram),
        };
        let series = self.after(appended, &labels, times)?;
        for exemplar in point.exemplars {
            self.exemplar(series, exemplar, times.ts);
        }
        Ok(())
    }

    fn classic(&mut self, name: &str, base: &BTreeMap<String, String>, point: Point) -> Result<(), Mistake> {
        let times = Times {
            start: point.start,
            ts: point.ts,
        };
        if let Some(sum) = point.sum() {
            self.append(&named(base, &format!("{name}_sum"), None), times, sum)?;
        }
        self.append(&named(base, &format!("{name}_count"), None), times, point.count())?;
        let bucket = format!("{name}_bucket");
        let cumulative = point.cumulative();
        let mut exemplars = point.exemplars;
        for (bound, count) in cumulative {
            let le = if bound == f64::INFINITY {
                "+Inf".to_owned()
            } else {
                decimal(bound)
            };
            let series = self.append(&named(base, &bucket, Some(("le", &le))), times, count)?;
            // Each goes to the first bucket that it fits into.
            let (here, later) = exemplars
                .into_iter()
                .partition(|exemplar| exemplar.value <= bound || bound == f64::INFINITY);
            exemplars = later;
            let here: Vec<Exemplar> = here;
            here.into_iter()
                .for_each(|exemplar| self.exemplar(series, exemplar, times.ts));
        }
        Ok(())
    }

    fn summary(&mut self, name: &str, base: &BTreeMap<String, String>, point: &Point) -> Result<(), Mistake> {
        let times = Times {
            start: point.start,
            ts: point.ts,
        };
        if let Some(sum) = point.sum() {
            self.append(&named(base, &format!("{name}_sum"), None), times, sum)?;
        }
        self.append(&named(base, &format!("{name}_count"), None), times, point.count())?;
        for (quantile, value) in point.quantiles() {
            let labels = named(base, name, Some(("quantile", &decimal(quantile))));
            self.append(&labels, times, value)?;
        }
        Ok(())
    }

    // The resource's attributes, as a series of ones that has a sample wherever somebody looks for it.
    fn target_info(&mut self, resource: &Resource, (oldest, newest): (i64, i64)) -> Result<(), Mistake> {
        let identifying = [SERVICE_NAMESPACE, SERVICE_NAME, SERVICE_INSTANCE];
        let says_more = resource
            .attributes
            .iter()
            .any(|(name, _)| !identifying.contains(&name.as_str()));
        if !says_more || (resource.job.is_none() && resource.instance.is_none()) {
            return Ok(());
        }
        let left_out = match self.config.keep_identifying_resource_attributes {
            true => &[][..],
            false => &identifying[..],
        };
        let base = self.labels(&resource.attributes, resource, None, left_out)?;
        let labels = named(&base, "target_info", None);
        let metadata = Metadata {
            kind: MetricType::Gauge,
            help: "Target metadata".to_owned(),
            unit: String::new(),
        };
        self.appender.describe("target_info", &metadata);
        let every = (self.receiver.options.lookback_ms / 2).max(1);
        let first = newest
            .saturating_sub(every.saturating_mul(MOST_TARGET_INFOS.min(self.infos)))
            .max(oldest);
        let mut ts = first;
        while ts < newest {
            self.infos -= 1;
            self.one(&labels, ts)?;
            ts = ts.saturating_add(every);
        }
        self.one(&labels, newest)
    }

    // Points of one message may be older than those of the message before; that this is told again too late hurts nobody.
    fn one(&mut self, labels: &Labels, ts: i64) -> Result<(), Mistake> {
        if ts > self.latest {
            return Ok(());
        }
        self.take(memory::SAMPLE)?;
        match self.appender.append(None, labels, ts, 1.0) {
            Ok(_) | Err(AppendError::OutOfOrder | AppendError::OutOfBounds | AppendError::TooOld) => Ok(()),
            Err(error) => Err(Mistake::Refused(format!("{error} for series {labels}"))),
        }
    }
}

fn named(base: &BTreeMap<String, String>, name: &str, more: Option<(&str, &str)>) -> Labels {
    let mut all: BTreeMap<&str, &str> = base
        .iter()
        .map(|(name, value)| (name.as_str(), value.as_str()))
        .collect();
    all.insert(METRIC_NAME, name);
    all.extend(more);
    all.retain(|_, value| !value.is_empty());
    Labels::from_pairs(all)
}

// As Go's 'f' format with as many digits as are needed.
fn decimal(value: f64) -> String {
    match value {
        f64::NEG_INFINITY => "-Inf".to_owned(),
        f64::INFINITY => "+Inf".to_owned(),
        value if value.is_nan() => "NaN".to_owned(),
        value => value.to_string(),
    }
}

#[cfg(test)]
mod tests;
