//! Batches: collected sample by sample, logged in one piece, shown in one piece.

use std::io::ErrorKind;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use cupola_histogram::{HistogramRef, NativeHistogram};
use cupola_model::{Labels, STALE_NAN, SeriesRef};
use cupola_storage::{AppendError, Appender, CommitError, Exemplar, ExemplarError, Metadata, StorageError};
use foldhash::{HashMap, HashSet};
use tracing::error;

use super::series::MemSeries;
use super::starts::BatchStarts;
use super::{Head, Inner, histograms, series_mut};
use crate::metrics::OfKind;
use crate::wal::{LoggedExemplar, LoggedHistogram, LoggedSample, LoggedStart, Part};

mod zeros;

/// What became of a batch.
struct Applied {
    floats: u64,
    histograms: u64,
    late_floats: u64,
    late_histograms: u64,
    chunks: usize,
    // Of what came in order.
    oldest: i64,
    newest: i64,
    late_oldest: i64,
    late_newest: i64,
}

impl Default for Applied {
    fn default() -> Self {
        Self {
            floats: 0,
            histograms: 0,
            late_floats: 0,
            late_histograms: 0,
            chunks: 0,
            oldest: i64::MAX,
            newest: i64::MIN,
            late_oldest: i64::MAX,
            late_newest: i64::MIN,
        }
    }
}

impl Applied {
    fn note(&mut self, ts: i64, chunks: usize) {
        self.chunks += chunks;
        self.oldest = self.oldest.min(ts);
        self.newest = self.newest.max(ts);
    }

    // Whether a late sample came to those there are.
    fn note_late(&mut self, ts: i64, inserted: Result<bool, StorageError>) -> bool {
        match inserted {
            Ok(true) => {
                self.late_oldest = self.late_oldest.min(ts);
                self.late_newest = self.late_newest.max(ts);
            }
            Ok(false) => {}
            Err(error) => {
                error!(%error, "a sample that came out of order cannot be put in its place");
                return false;
            }
        }
        inserted.is_ok_and(|is_new| is_new)
    }
}

impl Inner {
    // Where another batch was faster since `append` looked, or this one has a sample twice, the first one stays.
    fn apply(&mut self, samples: &[LoggedSample], starts: &BatchStarts, applied: &mut Applied) {
        let Self { slots, times, .. } = self;
        for sample in samples {
            let Some(series) = series_mut(slots, sample.series) else {
                continue;
            };
            series.release();
            if series.check(sample.ts, sample.value) == Ok(true) {
                let chunks = series.push(sample.ts, sample.value);
                series.share_times(times);
                if let Some(start) = starts.of_float(sample) {
                    series.note_start(sample.ts, start);
                }
                applied.note(sample.ts, chunks);
                applied.floats += 1;
            }
        }
    }

    fn apply_late(&mut self, samples: &[LoggedSample], starts: &BatchStarts, applied: &mut Applied) {
        for sample in samples {
            let Some(series) = self.get_mut(sample.series) else {
                continue;
            };
            series.release();
            let start = starts.of(sample.series, sample.ts);
            let inserted = self.late.insert(sample.series, sample.ts, sample.value, start);
            applied.late_floats += u64::from(applied.note_late(sample.ts, inserted));
        }
    }

    fn apply_histograms(&mut self, histograms: &[LoggedHistogram], starts: &BatchStarts, applied: &mut Applied) {
        for logged in histograms {
            let LoggedHistogram { series, ts, value } = logged;
            let Some(series) = self.get_mut(*series) else { continue };
            series.release();
            let histogram = HistogramRef::from(value);
            if series.check_histogram(*ts, histogram) == Ok(true) {
                let chunks = series.push_histogram(*ts, histogram);
                if let Some(start) = starts.of_histogram(logged) {
                    series.note_start(*ts, start);
                }
                applied.note(*ts, chunks);
                applied.histograms += 1;
            }
        }
    }

    fn apply_late_histograms(&mut self, histograms: &[LoggedHistogram], starts: &BatchStarts, applied: &mut Applied) {
        for logged in histograms {
            let Some(series) = self.get_mut(logged.series) else {
                continue;
            };
            series.release();
            let LoggedHistogram { series, ts, value } = logged;
            let inserted = self.late.insert_histogram(*series, *ts, value, starts.of(*series, *ts));
            applied.late_histograms += u64::from(applied.note_late(*ts, inserted));
        }
    }
}

/// Collects a batch for the head.
pub(crate) struct HeadAppender {
    head: Arc<Head>,
    samples: Vec<LoggedSample>,
    histograms: Vec<LoggedHistogram>,
    // How many floats of the batch came before each histogram.
    floats_before: Vec<usize>,
    exemplars: Vec<LoggedExemplar>,
    // Those that come out of order, within the window.
    late: Vec<LoggedSample>,
    late_histograms: Vec<LoggedHistogram>,
    described: Vec<(String, Metadata)>,
    starts: Vec<LoggedStart>,
}

impl HeadAppender {
    pub(super) fn new(head: Arc<Head>) -> Self {
        Self {
            head,
            samples: Vec::new(),
            histograms: Vec::new(),
            floats_before: Vec::new(),
            exemplars: Vec::new(),
            late: Vec::new(),
            late_histograms: Vec::new(),
            described: Vec::new(),
            starts: Vec::new(),
        }
    }

    // The series of these labels, held.
    fn create(&self, labels: &Labels, ts: i64) -> Result<u64, AppendError> {
        let head = &*self.head;
        let mut inner = head.inner.write();
        // While the log is read nobody knows whether it has the series, and what is known must go on.
        let is_replaying = head.is_replaying.load(Ordering::Acquire) && head.is_log_awaited.load(Ordering::Acquire);
        if !is_replaying && let Err(limit) = head.limits.check(inner.series, &inner.index, labels) {
            // Another batch may have been faster since `append` looked.
            if let Some(id) = inner.find(labels) {
                inner.hold(id);
                return Ok(id);
            }
            drop(inner);
            head.metrics.refused(limit.scope).inc();
            head.refusals.lock().note(limit, labels, ts);
            return Err(AppendError::TooManySeries(limit));
        }
        head.metrics.series_created.inc();
        head.newcomers.lock().note(labels, ts);
        let id = inner.create(labels);
        inner.hold(id);
        Ok(id)
    }

    // How a sample of this time is to be taken, whatever its series holds.
    fn place(&self, inner: &Inner, counts: &OfKind, ts: i64) -> Result<Place, AppendError> {
        let head = &*self.head;
        let open_from = head.open_from.load(Ordering::Acquire);
        if ts >= open_from.max(inner.maxt.saturating_sub(head.late_ms)) {
            return Ok(Place::InOrder);
        }
        match head.oldest_late(inner) {
            Some(oldest) if ts >= oldest => Ok(Place::Late),
            Some(_) => {
                counts.too_old.inc();
                Err(AppendError::TooOld)
            }
            None => {
                counts.out_of_bounds.inc();
                Err(AppendError::OutOfBounds)
            }
        }
    }

    // Where a sample goes that its series judged so; `None` where it is there already.
    fn judge(
        &self,
        inner: &Inner,
        counts: &OfKind,
        place: Place,
        checked: Result<bool, AppendError>,
        ts: i64,
    ) -> Result<Option<Place>, AppendError> {
        let head = &*self.head;
        match (place, checked) {
            (_, Ok(false)) => Ok(None),
            (place, Ok(true)) => Ok(Some(place)),
            (Place::Late, Err(AppendError::OutOfOrder)) => Ok(Some(Place::Late)),
            (Place::InOrder, Err(AppendError::OutOfOrder)) => match head.oldest_late(inner) {
                Some(oldest) if ts >= oldest => Ok(Some(Place::Late)),
                Some(_) => {
                    counts.too_old.inc();
                    Err(AppendError::TooOld)
                }
                None => {
                    counts.out_of_order.inc();
                    Err(AppendError::OutOfOrder)
                }
            },
            (_, Err(error)) => Err(error),
        }
    }

    // Takes a sample, whose series is held, into the batch.
    fn take(&mut self, place: Option<Place>, sample: LoggedSample) {
        match place {
            Some(Place::InOrder) => self.samples.push(sample),
            Some(Place::Late) => self.late.push(sample),
            None => {}
        }
    }

    // Takes a histogram as `take` does a float.
    fn take_histogram(&mut self, place: Option<Place>, histogram: LoggedHistogram) {
        match place {
            Some(Place::InOrder) => {
                self.floats_before.push(self.samples.len());
                self.histograms.push(histogram);
            }
            Some(Place::Late) => self.late_histograms.push(histogram),
            None => {}
        }
    }

    // Sets aside what is late by now. Samples older than `from`: a block was cut since `append` looked. With a window,
    // those behind their series' newest one: another batch was faster, or this one has the series more than once. And those
    // that are not newer than a late one of their series: a replay puts that one in order where it can, and what does not
    // follow it has to be logged as late.
    fn set_late(&mut self, from: i64) {
        let head = self.head.clone();
        let has_window = head.window().is_some();
        let has_late = !head.inner.read().late.is_empty();
        let is_older = self.samples.iter().any(|sample| sample.ts < from)
            || self.histograms.iter().any(|histogram| histogram.ts < from);
        if !has_window && !has_late && !is_older {
            return;
        }
        let inner = head.inner.read();
        let mut newest: HashMap<u64, i64> = HashMap::default();
        let mut place = |id: u64, ts: i64| {
            if ts < from || (has_late && inner.late.bounds(id).is_some_and(|(_, newest)| ts <= newest)) {
                return Some(Place::Late);
            }
            if has_window {
                let last = newest.entry(id).or_insert_with(|| {
                    let last = inner.get(id).and_then(MemSeries::last);
                    last.unwrap_or(i64::MIN)
                });
                if ts < *last {
                    return Some(Place::Late);
                }
                *last = ts;
            }
            Some(Place::InOrder)
        };
        let histograms = std::mem::take(&mut self.floats_before).into_iter();
        let mut histograms = histograms.zip(std::mem::take(&mut self.histograms)).peekable();
        for (at, sample) in std::mem::take(&mut self.samples).into_iter().enumerate() {
            while let Some((_, histogram)) = histograms.next_if(|(before, _)| *before <= at) {
                self.take_histogram(place(histogram.series, histogram.ts), histogram);
            }
            self.take(place(sample.series, sample.ts), sample);
        }
        for (_, histogram) in histograms {
            self.take_histogram(place(histogram.series, histogram.ts), histogram);
        }
    }

    // The series of all samples of the batch, each as often as it is held.
    fn held(&self) -> impl Iterator<Item = u64> {
        let floats = self.samples.iter().chain(&self.late).map(|sample| sample.series);
        let histograms = self.histograms.iter().chain(&self.late_histograms);
        floats.chain(histograms.map(|histogram| histogram.series))
    }

    // The batch as it is logged and applied: all floats, then all histograms; but where a series has both, in the order
    // in which they came.
    fn parts(&self) -> Vec<Part<'_>> {
        let with_histograms: HashSet<u64> = self.histograms.iter().map(|h| h.series).collect();
        let is_mixed = !with_histograms.is_empty() && self.samples.iter().any(|s| with_histograms.contains(&s.series));
        if !is_mixed {
            return vec![
                Part::Samples(&self.samples),
                Part::Late(&self.late),
                Part::Histograms(&self.histograms),
                Part::LateHistograms(&self.late_histograms),
                Part::Exemplars(&self.exemplars),
                Part::Metadata(&self.described),
            ];
        }
        let mut parts = Vec::new();
        let (mut samples, mut histograms, mut done) = (&*self.samples, &*self.histograms, 0);
        for run in self.floats_before.chunk_by(|a, b| a == b) {
            let floats = run.first().map_or(0, |before| before - done);
            let (head, rest) = samples.split_at_checked(floats).unwrap_or((samples, &[]));
            parts.push(Part::Samples(head));
            (samples, done) = (rest, done + floats);
            let (head, rest) = histograms.split_at_checked(run.len()).unwrap_or((histograms, &[]));
            parts.push(Part::Histograms(head));
            histograms = rest;
        }
        parts.push(Part::Samples(samples));
        parts.push(Part::Late(&self.late));
        parts.push(Part::LateHistograms(&self.late_histograms));
        parts.push(Part::Exemplars(&self.exemplars));
        parts.push(Part::Metadata(&self.described));
        parts
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    // Behind its series' newest sample, if it is newer than that.
    InOrder,
    // Among the late samples: it is older than what the head may begin with.
    Late,
}

impl Appender for HeadAppender {
    fn append(
        &mut self,
        known: Option<SeriesRef>,
        labels: &Labels,
        ts: i64,
        value: f64,
    ) -> Result<SeriesRef, AppendError> {
        if let Some(series) = known
            && self.append_known(series, ts, value)?
        {
            return Ok(series);
        }
        let (place, found) = {
            let inner = self.head.inner.read();
            let place = self.place(&inner, &self.head.metrics.floats, ts)?;
            match inner.find(labels).and_then(|id| Some((id, inner.get(id)?))) {
                Some((id, series)) => {
                    let place = self.judge(&inner, &self.head.metrics.floats, place, series.check(ts, value), ts)?;
                    place.is_some().then(|| series.hold());
                    (place, Some(id))
                }
                None => (Some(place), None),
            }
        };
        let series = match found {
            Some(id) => id,
            None if labels.is_empty() => return Err(AppendError::InvalidLabels),
            None => self.create(labels, ts)?,
        };
        self.take(place, LoggedSample { series, ts, value });
        Ok(SeriesRef(series))
    }

    fn append_known(&mut self, series: SeriesRef, ts: i64, value: f64) -> Result<bool, AppendError> {
        self.append_run(series, &[(ts, value)])
    }

    fn append_run(&mut self, series: SeriesRef, samples: &[(i64, f64)]) -> Result<bool, AppendError> {
        let series = series.0;
        let inner = self.head.inner.read();
        let Some(known) = inner.get(series) else {
            return Ok(false);
        };
        for &(ts, value) in samples {
            let place = self.place(&inner, &self.head.metrics.floats, ts)?;
            let place = self.judge(&inner, &self.head.metrics.floats, place, known.check(ts, value), ts)?;
            let Some(place) = place else { continue };
            known.hold();
            match place {
                Place::InOrder => self.samples.push(LoggedSample { series, ts, value }),
                Place::Late => self.late.push(LoggedSample { series, ts, value }),
            }
        }
        Ok(true)
    }

    fn append_end(&mut self, series: SeriesRef, ts: i64) -> Result<bool, AppendError> {
        let newest = self.head.inner.read().get(series.0).and_then(MemSeries::last);
        if newest.is_some_and(|newest| newest > ts) {
            return Err(AppendError::OutOfOrder);
        }
        self.append_known(series, ts, STALE_NAN)
    }

    fn append_histogram(
        &mut self,
        known: Option<SeriesRef>,
        labels: &Labels,
        ts: i64,
        mut histogram: NativeHistogram,
    ) -> Result<SeriesRef, AppendError> {
        histogram.limit_resolution();
        histograms::check(&histogram)?;
        let (place, found) = {
            let inner = self.head.inner.read();
            let counts = &self.head.metrics.histograms;
            let place = self.place(&inner, counts, ts)?;
            let known = known.and_then(|known| Some((known.0, inner.get(known.0)?)));
            match known.or_else(|| inner.find(labels).and_then(|id| Some((id, inner.get(id)?)))) {
                Some((id, series)) => {
                    let checked = series.check_histogram(ts, HistogramRef::from(&histogram));
                    let place = self.judge(&inner, counts, place, checked, ts)?;
                    place.is_some().then(|| series.hold());
                    (place, Some(id))
                }
                None => (Some(place), None),
            }
        };
        let series = match found {
            Some(id) => id,
            None if labels.is_empty() => return Err(AppendError::InvalidLabels),
            None => self.create(labels, ts)?,
        };
        let value = histogram;
        self.take_histogram(place, LoggedHistogram { series, ts, value });
        Ok(SeriesRef(series))
    }

    fn describe(&mut self, metric: &str, metadata: &Metadata) {
        if self.head.families.lock().is_news(metric, metadata) {
            self.described.push((metric.to_owned(), metadata.clone()));
        }
    }

    fn append_exemplar(&mut self, series: SeriesRef, exemplar: Exemplar) -> Result<(), ExemplarError> {
        let labels = {
            let inner = self.head.inner.read();
            let series = inner.get(series.0).ok_or(ExemplarError::UnknownSeries)?;
            inner.labels(series)
        };
        let checked = self.head.exemplars.lock().check(&labels, &exemplar);
        if checked == Err(ExemplarError::OutOfOrder) {
            self.head.metrics.exemplars_out_of_order.inc();
        }
        if checked? {
            let series = series.0;
            self.exemplars.push(LoggedExemplar { series, exemplar });
        }
        Ok(())
    }

    fn append_start(&mut self, series: SeriesRef, ts: i64, start: i64) {
        if (self.head.keeps_starts || self.head.adds_zeros) && start != 0 && start <= ts {
            let series = series.0;
            self.starts.push(LoggedStart { series, ts, start });
        }
    }

    fn commit(mut self: Box<Self>) -> Result<(), CommitError> {
        if [
            self.samples.len(),
            self.late.len(),
            self.histograms.len(),
            self.late_histograms.len(),
            self.exemplars.len(),
            self.described.len(),
        ] == [0; 6]
        {
            return Ok(());
        }
        let head = self.head.clone();
        let mut wal = head.wal.lock();
        let wal = wal.as_mut().ok_or(CommitError::Closed)?;
        // No other batch is shown before this one, so what is in order now stays so.
        if head.adds_zeros {
            self.add_zeros();
        }
        self.set_late(head.open_from.load(Ordering::Acquire));
        match wal.ready() {
            Ok(has_lost_labels) => head.log_labels_again(has_lost_labels),
            Err(error) => {
                head.metrics.wal_failed.inc();
                return Err(CommitError::Log(error));
            }
        }
        let mut fresh: Vec<(u64, Labels)> = {
            let inner = head.inner.read();
            let unlogged = |id: u64| {
                let series = inner.get(id).filter(|series| !series.logged)?;
                Some((id, inner.labels(series)))
            };
            let all = self.held().chain(self.exemplars.iter().map(|exemplar| exemplar.series));
            all.filter_map(unlogged).collect()
        };
        fresh.sort_by_key(|(id, _)| *id);
        fresh.dedup_by_key(|(id, _)| *id);
        let parts = self.parts();
        // What the log held before may be newer, which only the end of the replay tells. As late samples they find their
        // place whatever it is.
        let is_replaying = head.is_replaying.load(Ordering::Acquire);
        let told = if head.keeps_starts { &*self.starts } else { &[] };
        let starts = BatchStarts::of_batch(told, &head);
        let logged = parts.iter().map(|part| match part {
            Part::Samples(samples) if is_replaying => Part::Late(samples),
            Part::Histograms(histograms) if is_replaying => Part::LateHistograms(histograms),
            part => *part,
        });
        if let Err(error) = wal.append(&fresh, &logged.collect::<Vec<_>>(), starts.told()) {
            // The log's own refusal, not that of a file system that has a limit.
            if error.kind() == ErrorKind::FileTooLarge && error.raw_os_error().is_none() {
                return Err(CommitError::TooLong(error.to_string()));
            }
            head.metrics.wal_failed.inc();
            return Err(CommitError::Log(error));
        }
        let mut guard = head.inner.write();
        let inner = &mut *guard;
        for (id, _) in &fresh {
            if let Some(series) = inner.get_mut(*id) {
                series.logged = true;
            }
        }
        inner.has_starts |= !starts.told().is_empty();
        let mut applied = Applied::default();
        for part in &parts {
            match part {
                Part::Samples(samples) => inner.apply(samples, &starts, &mut applied),
                Part::Late(samples) => inner.apply_late(samples, &starts, &mut applied),
                Part::Histograms(histograms) => inner.apply_histograms(histograms, &starts, &mut applied),
                Part::LateHistograms(histograms) => {
                    inner.apply_late_histograms(histograms, &starts, &mut applied);
                }
                Part::Exemplars(exemplars) => head.add_exemplars(inner, exemplars),
                Part::Metadata(all) => {
                    let mut families = head.families.lock();
                    all.iter()
                        .for_each(|(metric, metadata)| families.describe(metric, metadata));
                }
            }
        }
        // Not told by the times: a sample may be as old as any can be.
        if applied.floats + applied.histograms > 0 {
            inner.count(applied.oldest, applied.newest, applied.chunks);
        }
        // A late sample may be the newest: of a head that is empty but for what blocks have.
        inner.maxt = inner.maxt.max(applied.late_newest);
        let oldest = applied.oldest.min(applied.late_oldest);
        if applied.floats + applied.histograms + applied.late_floats + applied.late_histograms > 0 {
            inner.changes.note(oldest);
        }
        drop(guard);
        drop(parts);
        self.samples.clear();
        self.late.clear();
        self.histograms.clear();
        self.late_histograms.clear();
        let metrics = &head.metrics;
        metrics
            .samples_appended
            .add((applied.floats + applied.late_floats) as f64);
        let histograms = applied.histograms + applied.late_histograms;
        metrics.histograms_appended.add(histograms as f64);
        metrics.floats.late_appended.add(applied.late_floats as f64);
        metrics.histograms.late_appended.add(applied.late_histograms as f64);
        Ok(())
    }
}

impl Drop for HeadAppender {
    fn drop(&mut self) {
        let mut held = self.held().peekable();
        if held.peek().is_none() {
            return;
        }
        let inner = self.head.inner.read();
        held.filter_map(|id| inner.get(id)).for_each(MemSeries::release_shared);
    }
}
