//! Samples in memory, for tests.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use cupola_histogram::{CounterResetHint, FloatHistogram};
use cupola_model::{Labels, is_stale_nan};
use cupola_storage::{Queryable, SampleSource, SampleValue, Samples, Selection, Series, StorageError};

/// A storage of a few series, each held whole.
#[derive(Debug, Clone, Default)]
pub struct MemoryStore {
    series: BTreeMap<Labels, Arc<Samples>>,
}

struct Held(Arc<Samples>);

impl SampleSource for Held {
    fn read(&self, mint: i64, maxt: i64, out: &mut Samples) -> Result<(), StorageError> {
        for (time, value, start) in self.0.iter() {
            if (mint..=maxt).contains(&time) {
                out.push_value(time, value, start);
            }
        }
        Ok(())
    }
}

impl MemoryStore {
    /// Forgets everything.
    pub fn clear(&mut self) {
        self.series.clear();
    }

    /// Adds samples to a series; on the same timestamp the new one wins.
    pub fn add(&mut self, labels: &Labels, samples: &Samples) {
        if samples.is_empty() {
            return;
        }
        let known = self.series.entry(labels.clone()).or_default();
        let mut merged = BTreeMap::new();
        for part in [known.as_ref(), samples] {
            merged.extend(part.iter().map(|(time, value, start)| (time, (value, start))));
        }
        let mut all = Samples::default();
        let mut previous: Option<Arc<FloatHistogram>> = None;
        for (time, (value, start)) in merged {
            let value = match value {
                SampleValue::Float(_) => {
                    previous = None;
                    value
                }
                SampleValue::Histogram(histogram) => {
                    let hinted = FloatHistogram {
                        counter_reset_hint: stored_hint(previous.as_deref(), &histogram),
                        ..FloatHistogram::clone(&histogram)
                    };
                    previous = Some(histogram);
                    SampleValue::Histogram(Arc::new(hinted))
                }
            };
            all.push_value(time, value, start);
        }
        *known = Arc::new(all);
    }

    /// Adds a sample behind those of its series; one of a time that the series has is left out.
    pub fn push(&mut self, labels: &Labels, ts: i64, value: SampleValue) {
        let known = Arc::make_mut(self.series.entry(labels.clone()).or_default());
        let (float, histogram) = (known.ts.last().copied(), known.histograms.ts.last().copied());
        if float.max(histogram).is_some_and(|last| ts <= last) {
            return;
        }
        let previous = known.histograms.values.last().filter(|_| histogram > float);
        let value = match value {
            SampleValue::Float(value) if is_stale_nan(value) && previous.is_some() => {
                SampleValue::Histogram(Arc::new(FloatHistogram {
                    sum: value,
                    ..FloatHistogram::default()
                }))
            }
            SampleValue::Float(_) => value,
            SampleValue::Histogram(histogram) => SampleValue::Histogram(Arc::new(FloatHistogram {
                counter_reset_hint: stored_hint(previous.map(|previous| &**previous), &histogram),
                ..FloatHistogram::clone(&histogram)
            })),
        };
        known.push_value(ts, value, 0);
    }

    fn matching<'s>(&'s self, selection: &'s Selection<'_>) -> impl Iterator<Item = (&'s Labels, &'s Arc<Samples>)> {
        self.series.iter().filter(|(labels, samples)| {
            let (floats, histograms) = (&samples.ts, &samples.histograms.ts);
            let first = floats.first().into_iter().chain(histograms.first()).min();
            let last = floats.last().max(histograms.last());
            let overlaps = first.is_some_and(|t| *t <= selection.maxt) && last.is_some_and(|t| *t >= selection.mint);
            overlaps && selection.matchers.iter().all(|matcher| matcher.matches_labels(labels))
        })
    }
}

// What Prometheus's chunks say of a histogram that follows `previous` in its series: within a chunk there is no reset, and
// a new chunk begins with a reset, a stale marker, another layout, or a change between gauge and counter. Of the first in
// a chunk they say nothing, even where it was a reset: nobody knows whether the chunk before is still there
// (upstream `counterResetHint`).
fn stored_hint(previous: Option<&FloatHistogram>, histogram: &FloatHistogram) -> CounterResetHint {
    use CounterResetHint::{CounterReset, Gauge, NotCounterReset, Unknown};
    match (histogram.counter_reset_hint, previous) {
        (Gauge, _) => Gauge,
        (CounterReset, _) | (_, None) => Unknown,
        (_, Some(previous)) if previous.counter_reset_hint == Gauge => Unknown,
        _ if histogram.is_stale() => NotCounterReset,
        (_, Some(previous))
            if previous.is_stale()
                || histogram.count < previous.count
                || previous.schema != histogram.schema
                || previous.zero_threshold != histogram.zero_threshold
                || histogram.detect_reset(previous) =>
        {
            Unknown
        }
        _ => NotCounterReset,
    }
}

impl Queryable for MemoryStore {
    fn select(&self, selection: &Selection<'_>) -> Result<Vec<Series>, StorageError> {
        let series = self.matching(selection).map(|(labels, samples)| Series {
            labels: labels.clone(),
            source: Box::new(Held(Arc::clone(samples))),
        });
        Ok(series.collect())
    }

    fn label_names(&self, selection: &Selection<'_>) -> Result<Vec<String>, StorageError> {
        let names: BTreeSet<&str> = self
            .matching(selection)
            .flat_map(|(labels, _)| labels.iter().map(|(name, _)| name))
            .collect();
        Ok(names.into_iter().map(str::to_owned).collect())
    }

    fn label_values(&self, name: &str, selection: &Selection<'_>) -> Result<Vec<String>, StorageError> {
        let values: BTreeSet<&str> = self
            .matching(selection)
            .filter_map(|(labels, _)| labels.get(name))
            .collect();
        Ok(values.into_iter().map(str::to_owned).collect())
    }
}
