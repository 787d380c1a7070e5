//! Batches: collected sample by sample, logged in one piece, shown in one piece.

use std::sync::Arc;

use cupola_histogram::{HistogramRef, NativeHistogram};
use cupola_model::{Labels, SeriesRef};
use cupola_storage::{AppendError, Appender, CommitError, Exemplar, ExemplarError};
use foldhash::HashSet;
use tracing::error;

use super::series::MemSeries;
use super::{Head, Inner, histograms};
use crate::wal::{LoggedExemplar, LoggedHistogram, LoggedSample, Part};

/// What became of a batch.
struct Applied {
    floats: u64,
    histograms: u64,
    late: u64,
    chunks: usize,
    // Of what came in order.
    oldest: i64,
    newest: i64,
    late_oldest: i64,
}

impl Default for Applied {
    fn default() -> Self {
        Self {
            floats: 0,
            histograms: 0,
            late: 0,
            chunks: 0,
            oldest: i64::MAX,
            newest: i64::MIN,
            late_oldest: i64::MAX,
        }
    }
}

impl Applied {
    fn note(&mut self, ts: i64, chunks: usize) {
        self.chunks += chunks;
        self.oldest = self.oldest.min(ts);
        self.newest = self.newest.max(ts);
    }
}

impl Inner {
    fn apply(&mut self, samples: &[LoggedSample], has_window: bool, applied: &mut Applied) {
        for sample in samples {
            let Some(series) = self.get_mut(sample.series) else {
                continue;
            };
            match series.check(sample.ts, sample.value) {
                Ok(true) => {
                    let chunks = series.push(sample.ts, sample.value);
                    applied.note(sample.ts, chunks);
                    applied.floats += 1;
                }
                // Another batch was faster since `append` looked, or this one has the series twice.
                Err(AppendError::OutOfOrder) if has_window => {
                    self.apply_late(std::slice::from_ref(sample), applied);
                }
                _ => {}
            }
        }
    }

    fn apply_late(&mut self, samples: &[LoggedSample], applied: &mut Applied) {
        for sample in samples {
            if self.get(sample.series).is_none() {
                continue;
            }
            match self.late.insert(sample.series, sample.ts, sample.value) {
                Ok(true) => {
                    applied.late_oldest = applied.late_oldest.min(sample.ts);
                    applied.late += 1;
                }
                Ok(false) => {}
                Err(error) => error!(%error, "a sample that came out of order cannot be put in its place"),
            }
        }
    }

    fn apply_histograms(&mut self, histograms: &[LoggedHistogram], applied: &mut Applied) {
        for LoggedHistogram { series, ts, value } in histograms {
            let Some(series) = self.get_mut(*series) else { continue };
            let histogram = HistogramRef::from(value);
            if series.check_histogram(*ts, histogram) == Ok(true) {
                let chunks = series.push_histogram(*ts, histogram);
                applied.note(*ts, chunks);
                applied.histograms += 1;
            }
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
        }
    }

    fn create(&self, labels: &Labels, ts: i64) -> Result<u64, AppendError> {
        let head = &*self.head;
        let mut inner = head.inner.write();
        if let Err(limit) = head.limits.check(inner.series, &inner.index, labels) {
            // Another batch may have been faster since `append` looked.
            if let Some(id) = inner.find(labels) {
                return Ok(id);
            }
            drop(inner);
            head.metrics.refused(limit.scope).inc();
            head.refusals.lock().note(limit, labels, ts);
            return Err(AppendError::TooManySeries(limit));
        }
        head.metrics.series_created.inc();
        head.newcomers.lock().note(labels, ts);
        Ok(inner.create(labels))
    }

    // How a sample of this time is to be taken, whatever its series holds.
    fn place(&self, inner: &Inner, ts: i64) -> Result<Place, AppendError> {
        let head = &*self.head;
        if ts >= head.floor().max(inner.maxt.saturating_sub(head.late_ms)) {
            return Ok(Place::InOrder);
        }
        match head.window() {
            Some(window) if ts >= inner.maxt.saturating_sub(window) => Ok(Place::Late),
            Some(_) => {
                head.metrics.too_old.inc();
                Err(AppendError::TooOld)
            }
            None => {
                head.metrics.out_of_bounds.inc();
                Err(AppendError::OutOfBounds)
            }
        }
    }

    // Takes a sample into the batch unless it is refused or there already.
    fn take(
        &mut self,
        place: Place,
        checked: Result<bool, AppendError>,
        sample: LoggedSample,
    ) -> Result<(), AppendError> {
        let head = &*self.head;
        match (place, checked) {
            (Place::InOrder, Ok(true)) => self.samples.push(sample),
            (_, Ok(false)) => {}
            (Place::Late, Ok(true) | Err(AppendError::OutOfOrder)) => self.late.push(sample),
            (_, Err(AppendError::OutOfOrder)) => match head.window() {
                Some(window) if sample.ts >= head.maxt().saturating_sub(window) => self.late.push(sample),
                Some(_) => {
                    head.metrics.too_old.inc();
                    return Err(AppendError::TooOld);
                }
                None => {
                    head.metrics.out_of_order.inc();
                    return Err(AppendError::OutOfOrder);
                }
            },
            (_, Err(error)) => return Err(error),
        }
        Ok(())
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
                Part::Exemplars(&self.exemplars),
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
        parts.push(Part::Exemplars(&self.exemplars));
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
            let place = self.place(&inner, ts)?;
            let id = inner.find(labels);
            let found = id.map(|id| (id, inner.get(id).map_or(Ok(true), |series| series.check(ts, value))));
            (place, found)
        };
        let (id, checked) = match found {
            Some(found) => found,
            None if labels.is_empty() => return Err(AppendError::InvalidLabels),
            None => (self.create(labels, ts)?, Ok(true)),
        };
        self.take(place, checked, LoggedSample { series: id, ts, value })?;
        Ok(SeriesRef(id))
    }

    fn append_known(&mut self, series: SeriesRef, ts: i64, value: f64) -> Result<bool, AppendError> {
        let (place, checked) = {
            let inner = self.head.inner.read();
            let Some(known) = inner.get(series.0) else {
                return Ok(false);
            };
            (self.place(&inner, ts)?, known.check(ts, value))
        };
        let series = series.0;
        self.take(place, checked, LoggedSample { series, ts, value })?;
        Ok(true)
    }

    fn append_histogram(
        &mut self,
        known: Option<SeriesRef>,
        labels: &Labels,
        ts: i64,
        histogram: NativeHistogram,
    ) -> Result<SeriesRef, AppendError> {
        histograms::check(&histogram)?;
        let check = |series: &MemSeries| series.check_histogram(ts, HistogramRef::from(&histogram));
        let found = {
            let inner = self.head.inner.read();
            if self.place(&inner, ts)? == Place::Late {
                // Histograms are not taken out of order yet.
                self.head.metrics.histograms_out_of_order.inc();
                return Err(AppendError::OutOfOrder);
            }
            let known = known.and_then(|known| Some((known.0, inner.get(known.0)?)));
            let found = known.or_else(|| inner.find(labels).and_then(|id| Some((id, inner.get(id)?))));
            found.map(|(id, series)| (id, check(series)))
        };
        let (series, checked) = match found {
            Some(found) => found,
            None if labels.is_empty() => return Err(AppendError::InvalidLabels),
            None => (self.create(labels, ts)?, Ok(true)),
        };
        match checked {
            Ok(true) => {
                self.floats_before.push(self.samples.len());
                self.histograms.push(LoggedHistogram {
                    series,
                    ts,
                    value: histogram,
                });
            }
            Ok(false) => {}
            Err(error) => {
                if error == AppendError::OutOfOrder {
                    self.head.metrics.histograms_out_of_order.inc();
                }
                return Err(error);
            }
        }
        Ok(SeriesRef(series))
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

    fn commit(self: Box<Self>) -> Result<(), CommitError> {
        if [
            self.samples.len(),
            self.late.len(),
            self.histograms.len(),
            self.exemplars.len(),
        ] == [0; 4]
        {
            return Ok(());
        }
        let head = &*self.head;
        let mut wal = head.wal.lock();
        let wal = wal.as_mut().ok_or(CommitError::Closed)?;
        let mut fresh: Vec<(u64, Labels)> = {
            let inner = head.inner.read();
            let unlogged = |id: u64| {
                let series = inner.get(id).filter(|series| !series.logged)?;
                Some((id, inner.labels(series)))
            };
            let floats = self.samples.iter().chain(&self.late).map(|sample| sample.series);
            let all = floats.chain(self.histograms.iter().map(|histogram| histogram.series));
            let all = all.chain(self.exemplars.iter().map(|exemplar| exemplar.series));
            all.filter_map(unlogged).collect()
        };
        fresh.sort_by_key(|(id, _)| *id);
        fresh.dedup_by_key(|(id, _)| *id);
        let parts = self.parts();
        if let Err(error) = wal.append(&fresh, &parts) {
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
        let mut applied = Applied::default();
        let has_window = head.window().is_some();
        for part in &parts {
            match part {
                Part::Samples(samples) => inner.apply(samples, has_window, &mut applied),
                Part::Late(samples) => inner.apply_late(samples, &mut applied),
                Part::Histograms(histograms) => inner.apply_histograms(histograms, &mut applied),
                Part::Exemplars(exemplars) => head.add_exemplars(inner, exemplars),
            }
        }
        if applied.newest > i64::MIN {
            inner.count(applied.oldest, applied.newest, applied.chunks);
        }
        let oldest = applied.oldest.min(applied.late_oldest);
        if oldest < i64::MAX {
            inner.changes.note(oldest);
        }
        drop(guard);
        head.metrics
            .samples_appended
            .add((applied.floats + applied.late) as f64);
        head.metrics.histograms_appended.add(applied.histograms as f64);
        head.metrics.out_of_order_appended.add(applied.late as f64);
        Ok(())
    }
}
