//! From the text of one scrape to one batch of samples.
//!
//! The ingester of a target remembers each line by a hash of its series text, so that an unchanged line costs one look-up:
//! its reference in the storage is known already, and its labels, relabelled and checked, are with it. What was there at the last scrape and is
//! missing now ends with a staleness marker.

use std::collections::HashSet;
use std::hash::BuildHasher as _;
use std::sync::Arc;

use cupola_config::prometheus::{Limits, ScrapeConfig};
use cupola_config::relabel;
use cupola_exposition::{Entry, Format, LabelPairs, Parser, Series};
use cupola_model::{Labels, LabelsBuilder, METRIC_NAME, STALE_NAN, SeriesRef};
use cupola_storage::{AppendError, Appendable, Appender, Exemplar, ExemplarError};
use foldhash::HashMap;
use hashbrown::HashTable;
use thiserror::Error;

use crate::metadata::MetadataCell;
use crate::metrics::Metrics;

// A target's own timestamp may be this far in the future (Prometheus: `maxAheadTime`).
const MAX_AHEAD_MS: i64 = 10 * 60_000;
// Lines that have not been seen for this many scrapes are forgotten.
const FORGET_AFTER: u32 = 10;

/// Why a body makes the whole scrape fail. The texts are Prometheus's where it has some.
#[derive(Debug, Error)]
pub(crate) enum IngestError {
    #[error("{0}")]
    Parse(#[from] cupola_exposition::ParseError),
    #[error("{0}")]
    Protobuf(#[from] cupola_exposition::protobuf::ProtobufError),
    #[error("sample limit exceeded ({0} samples allowed)")]
    SampleLimit(u64),
    #[error("label_limit exceeded (metric: {metric}, number of labels: {count}, limit: {limit})")]
    LabelLimit { metric: String, count: u64, limit: u64 },
    #[error(
        "label_name_length_limit exceeded (metric: {metric}, label name: {label}, length: {length}, limit: {limit})"
    )]
    NameLength {
        metric: String,
        label: String,
        length: u64,
        limit: u64,
    },
    #[error(
        "label_value_length_limit exceeded (metric: {metric}, label name: {label}, length: {length}, limit: {limit})"
    )]
    ValueLength {
        metric: String,
        label: String,
        length: u64,
        limit: u64,
    },
    #[error("sample without a metric name: {0}")]
    NoName(Labels),
    #[error("label name {} is not unique: invalid sample", cupola_model::go_quote(.0))]
    DuplicateLabel(String),
}

/// What one scrape brought.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    /// Samples in the body.
    pub scraped: usize,
    /// Of these, what relabelling kept.
    pub kept: usize,
    /// Series that are new to this target.
    pub added: usize,
}

// A line as it is remembered: its labels are the storage's affair, and found anew from the line where it forgot them.
struct Known {
    hash: LineHash,
    // Its series; `None` is told by `has_series`, which takes 8 bytes less.
    series: SeriesRef,
    has_series: bool,
    // The last scrape that had the line, and the one before that: a body that breaks off has marked some lines as seen
    // although nothing of it counts.
    seen: u32,
    seen_before: u32,
    // Whether relabelling drops the line.
    dropped: bool,
    // Whether its sample came without an own timestamp.
    tracked: bool,
}

// A line's name and labels, hashed twice with keys of this process: 16 bytes instead of a hundred or more. Two of a
// million lines are the same with a probability of 10^-27.
type LineHash = (u64, u64);

/// The lines of a target, in the order in which they were seen first.
#[derive(Default)]
struct Lines {
    all: Vec<Known>,
    by_hash: HashTable<u32>,
    hashers: (foldhash::quality::RandomState, foldhash::quality::RandomState),
    // Behind the line that was found last: bodies keep their order.
    next: usize,
}

impl Lines {
    fn hash(&self, raw: &[u8]) -> LineHash {
        (self.hashers.0.hash_one(raw), self.hashers.1.hash_one(raw))
    }

    fn find(&mut self, hash: LineHash) -> Option<&mut Known> {
        if self.all.get(self.next).is_none_or(|known| known.hash != hash) {
            let is_it = |at: &u32| self.all.get(*at as usize).is_some_and(|known| known.hash == hash);
            self.next = *self.by_hash.find(hash.0, is_it)? as usize;
        }
        self.next += 1;
        self.all.get_mut(self.next - 1)
    }

    // A body has fewer lines than fit in 32 bits: it is limited in bytes.
    fn insert(&mut self, known: Known) -> &mut Known {
        let (all, at) = (&self.all, self.all.len() as u32);
        let hash_of = |at: &u32| all.get(*at as usize).map_or(0, |known| known.hash.0);
        self.by_hash.insert_unique(known.hash.0, at, hash_of);
        self.next = self.all.len() + 1;
        self.all.push_mut(known)
    }

    fn retain(&mut self, keep: impl Fn(&Known) -> bool) {
        let before = self.all.len();
        self.all.retain(keep);
        if self.all.len() < before {
            self.by_hash.clear();
            for (at, known) in self.all.iter().enumerate() {
                self.by_hash.insert_unique(known.hash.0, at as u32, |at| {
                    self.all.get(*at as usize).map_or(0, |known| known.hash.0)
                });
            }
            self.by_hash
                .shrink_to_fit(|at| self.all.get(*at as usize).map_or(0, |known| known.hash.0));
        }
        self.all.shrink_to_fit();
    }
}

impl Known {
    fn series(&self) -> Option<SeriesRef> {
        self.has_series.then_some(self.series)
    }

    fn set_series(&mut self, series: SeriesRef) {
        (self.series, self.has_series) = (series, true);
    }

    fn see(&mut self, scrape: u32) {
        if self.seen != scrape {
            self.seen_before = std::mem::replace(&mut self.seen, scrape);
        }
    }

    // Whether the line was last seen in `good`, leaving out what a later body that broke off had.
    fn is_missing_since(&self, good: u32, broken: Option<u32>) -> bool {
        self.seen == good || (broken == Some(self.seen) && self.seen_before == good)
    }
}

/// What is remembered of one target between scrapes.
pub(crate) struct Ingester {
    target: Labels,
    metadata: Arc<MetadataCell>,
    lines: Lines,
    reports: HashMap<&'static str, (Labels, Option<SeriesRef>)>,
    scrape: u32,
    // The last scrape that succeeded; series seen then and not now are stale.
    last_good: Option<u32>,
}

impl Ingester {
    /// For the target with these labels; what it says about its families goes to `metadata`.
    pub(crate) fn new(target: Labels, metadata: Arc<MetadataCell>) -> Self {
        Self {
            target,
            metadata,
            lines: Lines::default(),
            reports: HashMap::default(),
            scrape: 0,
            last_good: None,
        }
    }

    /// Appends all samples of `body`, and staleness markers for what is missing.
    ///
    /// # Errors
    /// [`IngestError`]: nothing of the body may be committed; the caller drops the batch and ends the series with
    /// [`Ingester::end`].
    pub(crate) fn body(
        &mut self,
        config: &ScrapeConfig,
        metrics: &Metrics,
        format: Format,
        body: &[u8],
        ts: i64,
        appender: &mut dyn Appender,
    ) -> Result<Counts, IngestError> {
        self.scrape += 1;
        let scrape = self.scrape;
        let mut counts = Counts::default();
        let mut seen: HashSet<SeriesRef, foldhash::fast::RandomState> = HashSet::default();
        let decoded = match format {
            Format::Protobuf => Some(native::decode(config, body)?),
            Format::Text | Format::OpenMetrics => None,
        };
        let body = decoded.as_ref().map_or(body, |decoded| decoded.text());
        for entry in Parser::new(format, body) {
            let entry = entry?;
            let Entry::Sample(sample) = entry else {
                self.metadata.line(&entry, scrape.into());
                continue;
            };
            counts.scraped += 1;
            let raw = sample.series.raw();
            let hash = self.lines.hash(raw);
            let mut fresh = None;
            let known = match self.lines.find(hash) {
                Some(known) => known,
                None => {
                    fresh = labels(config, &self.target, &sample.series)?;
                    counts.added += usize::from(fresh.is_some());
                    self.lines.insert(Known {
                        hash,
                        series: SeriesRef(0),
                        has_series: false,
                        seen: 0,
                        seen_before: 0,
                        dropped: fresh.is_none(),
                        tracked: false,
                    })
                }
            };
            known.see(scrape);
            if known.dropped {
                continue;
            }
            counts.kept += 1;
            let limit = config.defaults.limits.sample_limit;
            if limit > 0 && counts.kept as u64 > limit {
                metrics.sample_limit.inc();
                return Err(IngestError::SampleLimit(limit));
            }
            let own = sample.timestamp_ms.filter(|_| config.honor_timestamps);
            known.tracked = own.is_none() || config.track_timestamps_staleness;
            let at = own.unwrap_or(ts);
            if at > ts + MAX_AHEAD_MS {
                metrics.out_of_bounds.inc();
                continue;
            }
            if own.is_none() && known.series().is_some_and(|series| seen.contains(&series)) {
                // The same series twice in one body: the first one counts.
                metrics.duplicate.inc();
                continue;
            }
            let mut appended = known.series().map_or(Ok(None), |series| {
                let is_known = appender.append_known(series, at, sample.value)?;
                Ok(is_known.then_some(series))
            });
            if appended == Ok(None) {
                let found = match fresh {
                    Some(labels) => Some(labels),
                    None => labels(config, &self.target, &sample.series)?,
                };
                let Some(labels) = found else { continue };
                appended = appender.append(None, &labels, at, sample.value).map(Some);
            }
            match appended {
                Ok(series) => {
                    if let Some(series) = series {
                        known.set_series(series);
                        seen.insert(series);
                        if let Some(exemplar) = &sample.exemplar {
                            append_exemplar(appender, series, exemplar, at, metrics);
                        }
                    }
                }
                Err(AppendError::OutOfOrder) => metrics.out_of_order.inc(),
                Err(AppendError::Duplicate) => metrics.duplicate.inc(),
                Err(
                    AppendError::OutOfBounds
                    | AppendError::TooOld
                    | AppendError::InvalidLabels
                    | AppendError::InvalidHistogram(_)
                    | AppendError::EmptySpans,
                ) => metrics.out_of_bounds.inc(),
                // The storage counts them and says whose they are.
                Err(AppendError::TooManySeries(_)) => {}
            }
        }
        for entry in decoded.iter().flat_map(|decoded| decoded.natives()) {
            self.native(config, metrics, &entry, ts, &mut seen, &mut counts, appender)?;
        }
        self.end_missing(ts, appender, &seen, None);
        for (metric, metadata) in self.metadata.take_news() {
            appender.describe(&metric, &metadata);
        }
        self.last_good = Some(scrape);
        self.forget();
        Ok(counts)
    }

    // A target that shows other lines each time, well or broken, must not fill the memory.
    fn forget(&mut self) {
        let scrape = self.scrape;
        if scrape.is_multiple_of(FORGET_AFTER) {
            self.lines.retain(|known| scrape - known.seen < FORGET_AFTER);
            self.metadata.forget(scrape.into());
        }
    }

    // Ends what the last good scrape had and this one has not.
    fn end_missing(
        &self,
        ts: i64,
        appender: &mut dyn Appender,
        seen: &HashSet<SeriesRef, foldhash::fast::RandomState>,
        broken: Option<u32>,
    ) {
        let Some(last_good) = self.last_good else { return };
        let missing = self
            .lines
            .all
            .iter()
            .filter(|k| k.is_missing_since(last_good, broken) && k.tracked);
        for known in missing {
            let Some(series) = known.series() else { continue };
            // Another line may have brought the same series.
            if !seen.contains(&series) {
                // Refused only where something newer is there: then the series has not ended. What the storage has
                // forgotten has ended long ago.
                let _ = appender.append_known(series, ts, STALE_NAN);
            }
        }
    }

    /// Ends all series of the target: the scrape failed, or the target is gone.
    pub(crate) fn end(&mut self, ts: i64, appender: &mut dyn Appender) {
        // A body that broke off has taken the newest number already; one that never came has not, and then no line bears
        // a number above the last good one.
        self.end_missing(ts, appender, &HashSet::default(), Some(self.scrape));
        self.scrape += 1;
        self.last_good = None;
        self.forget();
    }

    /// Appends what every scrape says about itself: `up`, `scrape_duration_seconds` and their like.
    pub(crate) fn report(&mut self, name: &'static str, ts: i64, value: f64, appender: &mut dyn Appender) {
        let (labels, series) = self.reports.entry(name).or_insert_with(|| {
            let mut labels = self.target.to_builder();
            labels.set(METRIC_NAME, name);
            (labels.build(), None)
        });
        if let Ok(found) = appender.append(*series, labels, ts, value) {
            *series = Some(found);
        }
    }

    /// Ends the report series, too: the target is gone.
    pub(crate) fn end_reports(&mut self, ts: i64, appender: &mut dyn Appender) {
        for (labels, series) in self.reports.values() {
            let _ = appender.append(*series, labels, ts, STALE_NAN);
        }
    }
}

/// Commits what `fill` appends, or nothing where it fails.
pub(crate) fn batch<T, E>(
    storage: &dyn Appendable,
    fill: impl FnOnce(&mut dyn Appender) -> Result<T, E>,
) -> Result<Result<T, E>, cupola_storage::CommitError> {
    let mut appender = storage.appender();
    match fill(&mut *appender) {
        Ok(done) => appender.commit().map(|()| Ok(done)),
        Err(error) => Ok(Err(error)),
    }
}

// A line's labels: its own and the target's, relabelled and checked. `None` where relabelling drops it.
// `at` is the sample's time, which stands for that of an exemplar that has none. One that is refused costs nothing else.
fn append_exemplar(
    appender: &mut dyn Appender,
    series: SeriesRef,
    exemplar: &cupola_exposition::Exemplar<'_>,
    at: i64,
    metrics: &Metrics,
) {
    let exemplar = Exemplar {
        labels: exemplar.labels(),
        value: exemplar.value,
        ts: exemplar.timestamp_ms.unwrap_or(at),
    };
    match appender.append_exemplar(series, exemplar) {
        Err(ExemplarError::OutOfOrder) => metrics.exemplar_out_of_order.inc(),
        Err(ExemplarError::TooLong | ExemplarError::UnknownSeries) | Ok(()) => {}
    }
}

fn labels(config: &ScrapeConfig, target: &Labels, series: &Series<'_>) -> Result<Option<Labels>, IngestError> {
    let mut pairs = LabelPairs::new();
    series.labels_into(true, &mut pairs);
    let mut builder = LabelsBuilder::default();
    for (i, (name, value)) in pairs.iter().enumerate() {
        if pairs.iter().take(i).any(|(before, _)| before == name) {
            return Err(IngestError::DuplicateLabel(name.to_string()));
        }
        builder.set(name, value);
    }
    merge(&mut builder, target, config.honor_labels);
    if !relabel(&config.metric_relabel_configs, &mut builder) {
        return Ok(None);
    }
    let labels = builder.build();
    if labels.metric_name().is_empty() {
        return Err(IngestError::NoName(labels));
    }
    check_limits(&config.defaults.limits, &labels)?;
    Ok(Some(labels))
}

// The target's labels win, and a scraped label of the same name becomes `exported_<name>`, with as many prefixes as it
// takes to be free; with honor_labels the scraped label wins.
fn merge(builder: &mut LabelsBuilder, target: &Labels, honor_labels: bool) {
    let mut conflicts: Vec<(&str, String)> = Vec::new();
    for (name, value) in target {
        let scraped = builder.get(name);
        if scraped.is_empty() {
            builder.set(name, value);
        } else if !honor_labels {
            conflicts.push((name, scraped.to_owned()));
            builder.set(name, value);
        }
    }
    // Shorter names first, as upstream: a name that is free for one may not be for the next.
    conflicts.sort_by_key(|(name, _)| name.len());
    for (name, value) in conflicts {
        let mut free = format!("exported_{name}");
        while !builder.get(&free).is_empty() {
            free = format!("exported_{free}");
        }
        builder.set(&free, &value);
    }
}

fn check_limits(limits: &Limits, labels: &Labels) -> Result<(), IngestError> {
    let metric = || labels.metric_name().to_owned();
    let count = labels.len() as u64;
    if limits.label_limit > 0 && count > limits.label_limit {
        return Err(IngestError::LabelLimit {
            metric: metric(),
            count,
            limit: limits.label_limit,
        });
    }
    for (name, value) in labels {
        let (length, limit) = (name.len() as u64, limits.label_name_length_limit);
        if limit > 0 && length > limit {
            return Err(IngestError::NameLength {
                metric: metric(),
                label: name.to_owned(),
                length,
                limit,
            });
        }
        let (length, limit) = (value.len() as u64, limits.label_value_length_limit);
        if limit > 0 && length > limit {
            return Err(IngestError::ValueLength {
                metric: metric(),
                label: name.to_owned(),
                length,
                limit,
            });
        }
    }
    Ok(())
}

mod native;

#[cfg(test)]
mod tests;
