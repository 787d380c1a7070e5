//! The columns samples travel in.

use std::sync::Arc;

use cupola_histogram::{CounterResetHint, FloatHistogram};

/// The samples of one series: floats in two columns of equal length, native histograms in two columns of their own,
/// each ascending in time. Owned and reused by whoever reads.
///
/// A series has one sample per time: no time stands in both parts.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Samples {
    /// Times of the floats, in milliseconds since the epoch.
    pub ts: Vec<i64>,
    /// The floats.
    pub values: Vec<f64>,
    /// Since when the counter of each float counts, in milliseconds since the epoch, 0 where that is not known; empty
    /// where it is known of none.
    pub starts: Vec<i64>,
    /// The native histograms.
    pub histograms: HistogramSamples,
}

/// Native histograms as columns, ascending in time.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct HistogramSamples {
    /// Times, in milliseconds since the epoch.
    pub ts: Vec<i64>,
    /// The histograms, as many as times.
    pub values: Vec<Arc<FloatHistogram>>,
    /// As [`Samples::starts`].
    pub starts: Vec<i64>,
}

/// A float or a native histogram.
#[derive(Debug, Clone, PartialEq)]
pub enum SampleValue {
    /// A number.
    Float(f64),
    /// A native histogram, shared with whoever else holds it.
    Histogram(Arc<FloatHistogram>),
}

impl Samples {
    /// Floats; `ts` and `values` must be equally long.
    #[must_use]
    pub fn floats(ts: Vec<i64>, values: Vec<f64>) -> Self {
        Self {
            ts,
            values,
            ..Self::default()
        }
    }

    /// Forgets all samples, keeps the memory.
    pub fn clear(&mut self) {
        self.ts.clear();
        self.values.clear();
        self.starts.clear();
        self.histograms.clear();
    }

    /// Adds a float at the end.
    pub fn push(&mut self, ts: i64, value: f64) {
        self.push_started(ts, value, 0);
    }

    /// Adds a float whose counter counts since `start`, 0 where that is not known.
    pub fn push_started(&mut self, ts: i64, value: f64, start: i64) {
        add_start(&mut self.starts, self.ts.len(), start);
        self.ts.push(ts);
        self.values.push(value);
    }

    /// Adds either kind at the end.
    pub fn push_value(&mut self, ts: i64, value: SampleValue, start: i64) {
        match value {
            SampleValue::Float(value) => self.push_started(ts, value, start),
            SampleValue::Histogram(value) => self.histograms.push(ts, value, start),
        }
    }

    /// Adds all samples of `later`, which are newer than those held.
    pub fn append(&mut self, later: &Self) {
        append_starts(&mut self.starts, self.ts.len(), &later.starts, later.ts.len());
        self.ts.extend_from_slice(&later.ts);
        self.values.extend_from_slice(&later.values);
        let (own, other) = (&mut self.histograms, &later.histograms);
        append_starts(&mut own.starts, own.ts.len(), &other.starts, other.ts.len());
        own.ts.extend_from_slice(&other.ts);
        own.values.extend_from_slice(&other.values);
    }

    /// Makes the columns of starts, where there are any, as long as those of the samples: what was added to these alone
    /// has none.
    pub fn level_starts(&mut self) {
        let histograms = &mut self.histograms;
        for (starts, len) in [
            (&mut self.starts, self.ts.len()),
            (&mut histograms.starts, histograms.ts.len()),
        ] {
            if !starts.is_empty() {
                starts.resize(len, 0);
            }
        }
    }

    /// Takes away all floats but the first `floats`, and all histograms but the first `histograms`, and gives them.
    #[must_use]
    pub fn split_off(&mut self, floats: usize, histograms: usize) -> Self {
        let take = |starts: &mut Vec<i64>, at: usize| {
            if starts.len() > at {
                starts.split_off(at)
            } else {
                Vec::new()
            }
        };
        let (floats, histograms) = (floats.min(self.len()), histograms.min(self.histograms.len()));
        Self {
            ts: self.ts.split_off(floats),
            values: self.values.split_off(floats),
            starts: take(&mut self.starts, floats),
            histograms: HistogramSamples {
                ts: self.histograms.ts.split_off(histograms),
                values: self.histograms.values.split_off(histograms),
                starts: take(&mut self.histograms.starts, histograms),
            },
        }
    }

    /// How many floats.
    #[must_use]
    pub fn len(&self) -> usize {
        self.ts.len()
    }

    /// Whether there is neither a float nor a histogram.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.ts.is_empty() && self.histograms.is_empty()
    }

    /// How many samples of either kind.
    #[must_use]
    pub fn count(&self) -> usize {
        self.ts.len() + self.histograms.len()
    }

    /// All samples in the order of time, with their start: for where both kinds matter and speed does not.
    pub fn iter(&self) -> impl Iterator<Item = (i64, SampleValue, i64)> + '_ {
        let (mut float, mut histogram) = (0, 0);
        std::iter::from_fn(move || {
            let float_t = self.ts.get(float);
            let histogram_t = self.histograms.ts.get(histogram);
            if float_t.is_some() && histogram_t.is_none_or(|h| float_t <= Some(h)) {
                let item = (
                    *float_t?,
                    SampleValue::Float(*self.values.get(float)?),
                    self.starts.get(float).copied().unwrap_or(0),
                );
                float += 1;
                Some(item)
            } else {
                let item = (
                    *histogram_t?,
                    SampleValue::Histogram(Arc::clone(self.histograms.values.get(histogram)?)),
                    self.histograms.starts.get(histogram).copied().unwrap_or(0),
                );
                histogram += 1;
                Some(item)
            }
        })
    }
}

impl HistogramSamples {
    /// Forgets all, keeps the memory.
    pub fn clear(&mut self) {
        self.ts.clear();
        self.values.clear();
        self.starts.clear();
    }

    /// Adds one at the end; `start` as in [`Samples::starts`].
    pub fn push(&mut self, ts: i64, value: Arc<FloatHistogram>, start: i64) {
        add_start(&mut self.starts, self.ts.len(), start);
        self.ts.push(ts);
        self.values.push(value);
    }

    /// Forgets what the histogram at `index` says of a reset before it, as upstream does where another source's sample
    /// comes before it than its own source's: then only the buckets tell. That it is a gauge stays.
    pub(crate) fn forget_reset(&mut self, index: usize) {
        if let Some(histogram) = self.values.get_mut(index)
            && !matches!(
                histogram.counter_reset_hint,
                CounterResetHint::Unknown | CounterResetHint::Gauge
            )
        {
            Arc::make_mut(histogram).counter_reset_hint = CounterResetHint::Unknown;
        }
    }

    /// How many.
    #[must_use]
    pub fn len(&self) -> usize {
        self.ts.len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.ts.is_empty()
    }
}

// The column of starts appears with the first one that is known.
fn add_start(starts: &mut Vec<i64>, before: usize, start: i64) {
    if start != 0 || !starts.is_empty() {
        starts.resize(before, 0);
        starts.push(start);
    }
}

fn append_starts(own: &mut Vec<i64>, before: usize, other: &[i64], count: usize) {
    if !(own.is_empty() && other.is_empty()) {
        own.resize(before, 0);
        own.extend_from_slice(other);
        own.resize(before + count, 0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_kinds_come_in_the_order_of_time() {
        let mut samples = Samples::default();
        samples.push(1, 1.0);
        samples.push_value(2, SampleValue::Histogram(Arc::default()), 1);
        samples.push_started(3, 3.0, 2);
        samples.push(4, 4.0);
        let seen: Vec<_> = samples
            .iter()
            .map(|(t, value, start)| (t, matches!(value, SampleValue::Float(_)), start))
            .collect();
        assert_eq!(seen, [(1, true, 0), (2, false, 1), (3, true, 2), (4, true, 0)]);
        assert_eq!((samples.len(), samples.count()), (3, 4));
        assert_eq!(samples.starts, [0, 2, 0]);
    }
}
