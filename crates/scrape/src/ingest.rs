//! From the text of one scrape to one batch of samples.
//!
//! The ingester of a target remembers each line, so that its reference in the storage is known already and its labels need not be
//! relabelled and checked again. A line that is where it was in the body before costs a comparison with it; any other is
//! found by a hash of its series text. What was there at the last scrape and is missing now ends with a staleness marker.

use std::collections::HashSet;
use std::sync::Arc;

use cupola_config::NameScheme;
use cupola_config::prometheus::{Limits, ScrapeConfig};
use cupola_config::relabel;
use cupola_exposition::protobuf::Decoded;
use cupola_exposition::{Entry, Format, LabelPairs, Layout, SampleEntry, Series};
use cupola_model::{
    Labels, LabelsBuilder, METRIC_NAME, SeriesRef, is_valid_legacy_label_name, is_valid_legacy_metric_name,
};
use cupola_storage::{AppendError, Appendable, Appender, Exemplar, ExemplarError};
use thiserror::Error;

use crate::metadata::MetadataCell;
use crate::metrics::Metrics;
use crate::target::Histograms;
use created::{Created, Line};
use lines::{Known, LineHash, Lines};
use told::Told;

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
    #[error("missing metric name (__name__ label): {0}")]
    NoName(Labels),
    #[error("invalid metric name or label names: {0}")]
    InvalidNames(Labels),
    #[error("histogram bucket limit exceeded")]
    BucketLimit,
    #[error("label name {} is not unique: invalid sample", cupola_model::go_quote(.0))]
    DuplicateLabel(String),
}

/// A body that is refused, and what was read of it.
#[derive(Debug, Error)]
#[error("{error}")]
pub(crate) struct Refused {
    #[source]
    pub error: IngestError,
    pub counts: Counts,
}

impl IngestError {
    fn is_label_limit(&self) -> bool {
        matches!(
            self,
            Self::LabelLimit { .. } | Self::NameLength { .. } | Self::ValueLength { .. }
        )
    }
}

/// What one scrape brought.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    /// Samples in the body.
    pub scraped: usize,
    /// Of these, what relabelling kept.
    pub kept: usize,
    /// Series that are new to this target, or come back.
    pub added: usize,
}

type Seen = HashSet<SeriesRef, foldhash::fast::RandomState>;

/// One body on its way into the storage.
struct Pass<'p> {
    config: &'p ScrapeConfig,
    metrics: &'p Metrics,
    scrape: u32,
    // Series seen last before this scrape are new again.
    forgets_before: u32,
    ts: i64,
    counts: Counts,
    // How many samples count against `sample_limit`.
    asked: u64,
    // Which limit of samples or buckets the body is above. It is read to its end all the same, for the counts.
    above: Option<IngestError>,
    // The series that the body had so far, while they are not trusted to be distinct.
    seen: Seen,
    trusts: bool,
    // Whether each line was a series of its own, and taken.
    is_distinct: bool,
    // How many samples were read, and since when later ones count, by their numbers.
    samples: usize,
    starts: &'p [(usize, i64)],
    appender: &'p mut dyn Appender,
}

impl Pass<'_> {
    /// Since when the next sample counts, where that is known.
    #[inline]
    fn next_start(&mut self) -> Option<i64> {
        let number = self.samples;
        self.samples += 1;
        let ((at, start), rest) = self.starts.split_first()?;
        (*at == number).then(|| {
            self.starts = rest;
            *start
        })
    }

    /// Whether the series of a line that is not marked as seen by this scrape is added by it.
    #[inline]
    fn adds(&self, known: &Known) -> bool {
        known.seen < self.forgets_before || known.series().is_none()
    }

    /// When the sample of a line is; `None` where it is not to be stored.
    #[inline]
    fn time(&mut self, known: &mut Known, own: Option<i64>) -> Option<i64> {
        known.see(self.scrape);
        if known.is_dropped {
            return None;
        }
        self.counts.kept += 1;
        let own = own.filter(|_| self.config.honor_timestamps);
        known.is_tracked = own.is_none() || self.config.track_timestamps_staleness;
        if !self.trusts && own.is_none() && known.series().is_some_and(|series| self.seen.contains(&series)) {
            // The same series twice in one body: the first one counts.
            self.metrics.duplicate.inc();
            self.is_distinct = false;
            return None;
        }
        // As upstream, where doubles do not come to the limit, and what lies too far ahead comes past it.
        self.asked += 1;
        let limit = self.config.defaults.limits.sample_limit;
        if limit > 0 && self.asked > limit {
            self.above = Some(IngestError::SampleLimit(limit));
            return None;
        }
        let time = own.unwrap_or(self.ts);
        if time > self.ts + MAX_AHEAD_MS {
            self.metrics.out_of_bounds.inc();
            self.is_distinct = false;
            return None;
        }
        Some(time)
    }

    // Whether no more samples are taken.
    fn is_full(&self) -> bool {
        matches!(self.above, Some(IngestError::SampleLimit(_)))
    }

    #[inline]
    fn took(&mut self, series: SeriesRef) {
        if !self.trusts && !self.seen.insert(series) {
            self.is_distinct = false;
        }
    }

    fn refused(&mut self, error: &AppendError) {
        self.is_distinct = false;
        match error {
            AppendError::OutOfOrder => self.metrics.out_of_order.inc(),
            AppendError::Duplicate => self.metrics.duplicate.inc(),
            // A histogram that contradicts itself is lost alone; the others count.
            AppendError::OutOfBounds
            | AppendError::TooOld
            | AppendError::InvalidLabels
            | AppendError::InvalidHistogram(_)
            | AppendError::EmptySpans => self.metrics.out_of_bounds.inc(),
            // The storage counts them and says whose they are.
            AppendError::TooManySeries(_) => {}
        }
    }
}

/// What is remembered of one target between scrapes.
pub(crate) struct Ingester {
    target: Labels,
    histograms: Histograms,
    metadata: Arc<MetadataCell>,
    // What the family of a line tells of itself; `None` where the labels do not.
    told: Option<Told>,
    // Where `_created` lines of OpenMetrics are starts and no series.
    created: Option<Created>,
    lines: Lines,
    // What every scrape says about itself, and its series. Their labels are made where the storage asks for them.
    reports: Vec<(&'static str, SeriesRef)>,
    scrape: u32,
    // The last scrape that succeeded; series seen then and not now are stale.
    last_good: Option<u32>,
    // The last scrape that succeeded and had samples: upstream's cache of series has what was seen since then.
    last_full: u32,
    // After which scrape lines were forgotten last.
    forgot: u32,
}

impl Ingester {
    /// For the target with these labels; what it says about its families goes to `metadata`.
    pub(crate) fn new(target: Labels, histograms: Histograms, metadata: Arc<MetadataCell>) -> Self {
        Self {
            target,
            histograms,
            metadata,
            told: None,
            created: None,
            lines: Lines::default(),
            reports: Vec::new(),
            scrape: 0,
            last_good: None,
            last_full: 0,
            forgot: 0,
        }
    }

    /// Series tell their type and unit in labels where `wanted` (feature `type-and-unit-labels`).
    pub(crate) fn with_types(mut self, wanted: bool) -> Self {
        self.told = wanted.then(Told::default);
        self
    }

    /// `_created` lines of OpenMetrics say since when series count, and are none, where `wanted` (features `st-storage` and
    /// `created-timestamp-zero-ingestion`).
    pub(crate) fn with_starts(mut self, wanted: bool) -> Self {
        self.created = wanted.then(Created::default);
        self
    }

    /// What the layout of the last body takes.
    pub(crate) fn layout_bytes(&self) -> usize {
        self.lines.layout.bytes() + self.lines.order.capacity() * size_of::<u32>()
    }

    /// Appends all samples of `body`, and staleness markers for what is missing.
    ///
    /// # Errors
    /// [`Refused`]: nothing of the body may be committed; the caller drops the batch and ends the series with
    /// [`Ingester::end`]. Protobuf and histograms to be converted are read as a whole: broken ones count nothing.
    pub(crate) fn body(
        &mut self,
        config: &ScrapeConfig,
        metrics: &Metrics,
        format: Format,
        body: &[u8],
        ts: i64,
        appender: &mut dyn Appender,
    ) -> Result<Counts, Refused> {
        self.scrape += 1;
        if self.told.is_some() {
            // A line that is where it was may be of another type now.
            self.lines.forget_layout();
            self.told = Some(Told::default());
        }
        // Only where the target itself writes OpenMetrics: protobuf has a field for it.
        let is_open_metrics = format == Format::OpenMetrics;
        if self
            .created
            .as_mut()
            .is_some_and(|created| created.turn(is_open_metrics))
        {
            self.lines.see_all_as_series();
        }
        let decoded = native::decode(self.histograms, format, body).map_err(|error| Refused {
            error,
            counts: Counts::default(),
        })?;
        let mut pass = Pass {
            config,
            metrics,
            scrape: self.scrape,
            forgets_before: self.last_full,
            ts,
            counts: Counts::default(),
            asked: 0,
            above: None,
            seen: Seen::default(),
            is_distinct: true,
            // As in the body before, while this one is laid out like it.
            trusts: self.lines.is_distinct && decoded.is_none(),
            samples: 0,
            starts: decoded.as_ref().map_or(&[], Decoded::starts),
            appender,
        };
        let mut layout = std::mem::take(&mut self.lines.layout);
        let text = decoded.as_ref().map_or(body, Decoded::text);
        let mut created = self.created.take();
        let used = created.as_mut().filter(|_| is_open_metrics);
        let mut read = self.text(&mut pass, &mut layout, used, format, text);
        self.created = created;
        self.lines.layout = layout;
        for entry in decoded.iter().flat_map(Decoded::natives) {
            read = read.and_then(|()| self.native(&mut pass, &entry));
        }
        self.lines.is_distinct = pass.is_distinct;
        let Pass {
            counts, seen, above, ..
        } = pass;
        match &above {
            Some(IngestError::SampleLimit(_)) => metrics.sample_limit.inc(),
            Some(_) => metrics.bucket_limit.inc(),
            None => {}
        }
        if let Some(error) = read.err().or(above) {
            self.lines.forget_layout();
            return Err(Refused { error, counts });
        }
        self.end_missing(ts, appender, &seen, None);
        for (metric, metadata) in self.metadata.take_news() {
            appender.describe(&metric, &metadata);
        }
        self.last_good = Some(self.scrape);
        if !body.is_empty() {
            self.last_full = self.scrape;
        }
        self.forget();
        Ok(counts)
    }

    // The samples of a text, along the layout of the one before.
    fn text(
        &mut self,
        pass: &mut Pass<'_>,
        layout: &mut Layout,
        mut created: Option<&mut Created>,
        format: Format,
        text: &[u8],
    ) -> Result<(), IngestError> {
        if let Some(created) = &mut created {
            created.begin();
        }
        let mut follower = layout.follow(format, text);
        let mut followed = Some(0);
        while let Some(step) = follower.next() {
            let (entry, number) = step?;
            let Entry::Sample(sample) = entry else {
                self.metadata.line(&entry, pass.scrape.into());
                if let Some(told) = &mut self.told {
                    told.line(&entry);
                }
                if let Some(created) = &mut created {
                    created.leave();
                }
                continue;
            };
            let mut start = pass.next_start();
            if let Some(told) = &mut self.told {
                told.kind = sample.series.kind();
            }
            let place = number.and_then(|number| self.lines.order.get(number));
            let (at, mut fresh) = match place {
                Some(at) => {
                    followed = followed.map(|count| count + 1);
                    (*at as usize, None)
                }
                None => {
                    if let Some(count) = followed.take() {
                        self.lines.order.truncate(count);
                        self.gather(pass, count);
                    }
                    if pass.is_full() {
                        self.count(pass, created.is_some(), &sample.series)?;
                        continue;
                    }
                    let is_created = created.is_some() && Created::is_one(&sample.series);
                    let (at, fresh) = match is_created {
                        true => (self.place_created(&sample.series), None),
                        false => (self.place(pass, &sample.series)).inspect_err(|_| pass.counts.scraped += 1)?,
                    };
                    if follower.is_kept() {
                        self.lines.order.push(at as u32);
                    }
                    (at, fresh)
                }
            };
            let mut waits = false;
            if let Some(created) = &mut created {
                match created.line(at, &sample) {
                    Line::Plain => {}
                    Line::Part(told) => (start, waits) = (told, told.is_none()),
                    Line::Created(told) => {
                        self.lines.see_created(at, pass.scrape);
                        for (series, time, start) in created.take_told(told) {
                            pass.appender.append_start(series, time, start);
                        }
                        continue;
                    }
                }
                if self.lines.see_series(at) {
                    // Nobody looked whether it was there twice, or what relabelling makes of it.
                    self.gather(pass, followed.map_or(0, |count| count - 1));
                    fresh = self.named(pass, at, &sample.series)?;
                }
            }
            pass.counts.scraped += 1;
            let taken = self.sample(pass, (&sample, start), at, fresh)?;
            if let (Some(created), Some((series, time)), true) = (&mut created, taken, waits) {
                created.wait(at, series, time);
            }
        }
        if let Some(count) = followed {
            self.lines.order.truncate(count);
        }
        // What the layout does not keep is not kept here either.
        self.lines.order.truncate(layout.len());
        Ok(())
    }

    // From here on the body is another one: which series its first `count` lines brought has to be known. A line that was
    // followed and said since when others count brought none, whatever it was in another body or is further down.
    fn gather(&self, pass: &mut Pass<'_>, count: usize) {
        if std::mem::replace(&mut pass.trusts, false) {
            pass.seen.reserve(self.lines.all.len());
            let followed = (self.lines.order.iter().take(count)).filter_map(|at| self.lines.all.get(*at as usize));
            let brought = followed.filter(|known| known.seen == pass.scrape);
            pass.seen.extend(brought.filter_map(Known::series));
        }
    }

    // Where a line that is no series is remembered.
    fn place_created(&mut self, series: &Series<'_>) -> usize {
        let hash = self.hash(series);
        match self.lines.find(hash) {
            Some(at) => at,
            None => self.lines.insert(Known::new(hash, true)),
        }
    }

    fn hash(&self, series: &Series<'_>) -> LineHash {
        match &self.told {
            None => self.lines.hash(series.raw()),
            Some(told) => self.lines.hash(&told.with(series.raw())),
        }
    }

    // Where a line is remembered, and its labels where it is a new one that relabelling keeps.
    fn place(&mut self, pass: &mut Pass<'_>, series: &Series<'_>) -> Result<(usize, Option<Labels>), IngestError> {
        let hash = self.hash(series);
        if let Some(at) = self.lines.find(hash) {
            return Ok((at, self.named(pass, at, series)?));
        }
        let fresh = self.labels(pass, series)?;
        let at = self.lines.insert(Known::new(hash, fresh.is_none()));
        Ok((at, fresh))
    }

    // The labels of a line that is remembered and never was a series: it was refused, or said since when others count. In the
    // latter case relabelling has not been asked yet whether it drops it.
    fn named(&mut self, pass: &Pass<'_>, at: usize, series: &Series<'_>) -> Result<Option<Labels>, IngestError> {
        let is_asked = (self.lines.all.get(at)).is_some_and(|known| !known.is_dropped && known.series().is_none());
        if !is_asked {
            return Ok(None);
        }
        let named = self.labels(pass, series)?;
        if let Some(known) = self.lines.all.get_mut(at) {
            known.is_dropped = named.is_none();
        }
        Ok(named)
    }

    fn labels(&self, pass: &Pass<'_>, series: &Series<'_>) -> Result<Option<Labels>, IngestError> {
        labels(pass.config, &self.target, series, self.told.as_ref()).inspect_err(|error| {
            if error.is_label_limit() {
                pass.metrics.label_limits.inc();
            }
        })
    }

    // One more sample of a body that has too many: it counts if relabelling keeps it, and is not remembered.
    fn count(&mut self, pass: &mut Pass<'_>, has_created: bool, series: &Series<'_>) -> Result<(), IngestError> {
        if has_created && Created::is_one(series) {
            return Ok(());
        }
        pass.counts.scraped += 1;
        let hash = self.hash(series);
        let at = self.lines.find(hash);
        let is_kept = match at.and_then(|at| self.lines.all.get_mut(at)) {
            Some(known) if !known.is_created => {
                known.see(pass.scrape);
                !known.is_dropped
            }
            _ => self.labels(pass, series)?.is_some(),
        };
        pass.counts.kept += usize::from(is_kept);
        Ok(())
    }

    // The series and time of what was taken.
    #[inline]
    fn sample(
        &mut self,
        pass: &mut Pass<'_>,
        (sample, start): (&SampleEntry<'_>, Option<i64>),
        at: usize,
        fresh: Option<Labels>,
    ) -> Result<Option<(SeriesRef, i64)>, IngestError> {
        let Some(known) = self.lines.all.get_mut(at) else {
            return Ok(None);
        };
        let adds = pass.adds(known);
        let Some(time) = pass.time(known, sample.timestamp_ms) else {
            return Ok(None);
        };
        let mut appended = match known.series() {
            Some(series) => match pass.appender.append_known(series, time, sample.value) {
                Ok(is_known) => Ok(is_known.then_some(series)),
                Err(error) => Err(error),
            },
            None => Ok(None),
        };
        if appended == Ok(None) {
            let found = match fresh {
                Some(labels) => Some(labels),
                None => labels(pass.config, &self.target, &sample.series, self.told.as_ref())?,
            };
            let Some(labels) = found else { return Ok(None) };
            appended = pass.appender.append(None, &labels, time, sample.value).map(Some);
        }
        match appended {
            Ok(Some(series)) => {
                known.set_series(series);
                pass.took(series);
                pass.counts.added += usize::from(adds);
                if let Some(start) = start {
                    pass.appender.append_start(series, time, start);
                }
                if let Some(exemplar) = &sample.exemplar {
                    append_exemplar(pass.appender, series, exemplar, time, pass.metrics);
                }
                Ok(Some((series, time)))
            }
            Ok(None) => Ok(None),
            Err(error) => {
                pass.refused(&error);
                Ok(None)
            }
        }
    }

    // A target that shows other lines each time, well or broken, must not fill the memory.
    fn forget(&mut self) {
        let scrape = self.scrape;
        // A body that breaks off takes two numbers.
        if scrape - self.forgot >= FORGET_AFTER {
            self.forgot = scrape;
            self.lines
                .retain(|known| scrape - known.seen < FORGET_AFTER, self.created.as_mut());
            self.metadata.forget(scrape.into());
        }
    }

    // Ends what the last good scrape had and this one has not.
    fn end_missing(&self, ts: i64, appender: &mut dyn Appender, seen: &Seen, broken: Option<u32>) {
        let Some(last_good) = self.last_good else { return };
        let missing = self
            .lines
            .all
            .iter()
            .filter(|k| k.is_missing_since(last_good, broken) && k.is_tracked);
        for known in missing {
            let Some(series) = known.series() else { continue };
            // Another line may have brought the same series.
            if !seen.contains(&series) {
                // Refused only where something newer is there: then the series has not ended. What the storage has
                // forgotten has ended long ago.
                let _ = appender.append_end(series, ts);
            }
        }
    }

    /// The storage could not take the body: it is to be told again what families are.
    pub(crate) fn untold(&self) {
        self.metadata.renew();
    }

    /// Ends all series of the target: the scrape failed, or the target is gone.
    pub(crate) fn end(&mut self, ts: i64, appender: &mut dyn Appender) {
        // A body that broke off has taken the newest number already; one that never came has not, and then no line bears
        // a number above the last good one.
        self.end_missing(ts, appender, &Seen::default(), Some(self.scrape));
        self.scrape += 1;
        self.last_good = None;
        self.forget();
    }

    /// Appends what every scrape says about itself: `up`, `scrape_duration_seconds` and their like.
    pub(crate) fn report(&mut self, name: &'static str, ts: i64, value: f64, appender: &mut dyn Appender) {
        let known = self.reports.iter_mut().find(|(report, _)| *report == name);
        if let Some((_, series)) = &known
            && !matches!(appender.append_known(*series, ts, value), Ok(false))
        {
            return;
        }
        let mut labels = self.target.to_builder();
        labels.set(METRIC_NAME, name);
        if let Ok(found) = appender.append(None, &labels.build(), ts, value) {
            match known {
                Some((_, series)) => *series = found,
                None => self.reports.push((name, found)),
            }
        }
    }

    /// Ends the report series, too: the target is gone.
    pub(crate) fn end_reports(&mut self, ts: i64, appender: &mut dyn Appender) {
        for (_, series) in &self.reports {
            // As with the lines: refused where the target goes on elsewhere.
            let _ = appender.append_end(*series, ts);
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

// A line's labels: its own and the target's, relabelled and checked. `None` where relabelling drops it.
fn labels(
    config: &ScrapeConfig,
    target: &Labels,
    series: &Series<'_>,
    told: Option<&Told>,
) -> Result<Option<Labels>, IngestError> {
    let mut pairs = LabelPairs::new();
    series.labels_into(true, &mut pairs);
    let mut builder = LabelsBuilder::default();
    let mut doubles = Vec::new();
    for (i, (name, value)) in pairs.iter().enumerate() {
        match pairs.iter().take(i).find(|(before, _)| before == name) {
            Some(first) => doubles.push(first),
            None => {
                builder.set(name, value);
            }
        }
    }
    if let Some(told) = told {
        told.label(&mut builder);
    }
    merge(&mut builder, target, config.honor_labels.then_some(&pairs));
    if !relabel(&config.metric_relabel_configs, &mut builder) {
        return Ok(None);
    }
    let labels = builder.build();
    if labels.metric_name().is_empty() {
        return Err(IngestError::NoName(labels));
    }
    if config.defaults.name_scheme == NameScheme::Legacy && !has_legacy_names(&labels) {
        return Err(IngestError::InvalidNames(labels));
    }
    check_limits(&config.defaults.limits, &labels)?;
    // Upstream's storage refuses them. What the target's labels or relabelling set stands in the place of both.
    if let Some((name, _)) = (doubles.into_iter()).find(|(name, first)| labels.get(name) == Some(&**first)) {
        return Err(IngestError::DuplicateLabel(name.to_string()));
    }
    Ok(Some(labels))
}

fn has_legacy_names(labels: &Labels) -> bool {
    is_valid_legacy_metric_name(labels.metric_name()) && labels.iter().all(|(name, _)| is_valid_legacy_label_name(name))
}

// The target's labels win, and a scraped label of the same name becomes `exported_<name>`, with as many prefixes as it
// takes to be free; a label that is `honoured` wins, even an empty one: so `/federate` and the Pushgateway say that a
// series has no such label.
fn merge(builder: &mut LabelsBuilder, target: &Labels, honoured: Option<&LabelPairs<'_>>) {
    let mut conflicts: Vec<(&str, String)> = Vec::new();
    for (name, value) in target {
        if honoured.is_some_and(|sent| sent.iter().any(|(sent, _)| sent == name)) {
            continue;
        }
        let scraped = builder.get(name);
        if !scraped.is_empty() && honoured.is_none() {
            conflicts.push((name, scraped.to_owned()));
        }
        builder.set(name, value);
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

mod created;
mod lines;
mod native;
mod told;

#[cfg(test)]
pub(crate) mod tests;
