//! Samples that came out of order: older than their series' newest one or than what blocks hold, within the window that
//! Prometheus calls `out_of_order_time_window`.
//!
//! They are kept beside the series, each series' in order in itself, and readers merge the two. The block that is cut
//! for a time takes its late samples with it. For older times they become blocks of their own, which merging unites
//! with those that are there.

use std::collections::BTreeSet;

use cupola_histogram::NativeHistogram;
use cupola_storage::StorageError;
use hashbrown::HashMap;

use super::series::MemSeries;
use super::source::HeadSource;

type BySeries = HashMap<u64, MemSeries, foldhash::fast::RandomState>;

#[derive(Default)]
pub(super) struct Late {
    // By reference.
    series: BySeries,
    // What is being written to blocks: readers still see it, nothing is added to it.
    frozen: BySeries,
}

impl Late {
    pub(super) fn is_empty(&self) -> bool {
        self.series.is_empty() && self.frozen.is_empty()
    }

    fn parts(&self, id: u64) -> impl Iterator<Item = &MemSeries> {
        self.frozen.get(&id).into_iter().chain(self.series.get(&id))
    }

    pub(super) fn contains(&self, id: u64) -> bool {
        self.parts(id).next().is_some()
    }

    /// Adds a sample that counts since `start`, 0 where that is not known; whether there was none of that time among the
    /// late ones.
    pub(super) fn insert(&mut self, id: u64, ts: i64, value: f64, start: i64) -> Result<bool, StorageError> {
        let series = self.series.entry(id).or_insert_with(MemSeries::unlabelled);
        let is_new = series.insert(ts, value)?;
        if is_new {
            series.set_start(ts, start)?;
        }
        Ok(is_new)
    }

    /// As [`Late::insert`], for a histogram that can be kept.
    pub(super) fn insert_histogram(
        &mut self,
        id: u64,
        ts: i64,
        histogram: &NativeHistogram,
        start: i64,
    ) -> Result<bool, StorageError> {
        let series = self.series.entry(id).or_insert_with(MemSeries::unlabelled);
        let is_new = series.insert_histogram(ts, histogram)?;
        if is_new {
            series.set_start(ts, start)?;
        }
        Ok(is_new)
    }

    /// Oldest and newest late sample of a series.
    pub(super) fn bounds(&self, id: u64) -> Option<(i64, i64)> {
        let bounds = self.parts(id).filter_map(MemSeries::bounds);
        bounds.reduce(|a, b| (a.0.min(b.0), a.1.max(b.1)))
    }

    /// The oldest late sample of all.
    pub(super) fn mint(&self) -> Option<i64> {
        let all = self.series.values().chain(self.frozen.values());
        all.filter_map(|series| Some(series.bounds()?.0)).min()
    }

    /// The newest late sample of all.
    pub(super) fn maxt(&self) -> Option<i64> {
        let all = self.series.values().chain(self.frozen.values());
        all.filter_map(|series| Some(series.bounds()?.1)).max()
    }

    pub(super) fn snapshots(&self, id: u64, mint: i64, maxt: i64) -> impl Iterator<Item = HeadSource> {
        self.parts(id).filter_map(move |series| series.snapshot(mint, maxt))
    }

    /// Late samples of a series, for a checkpoint.
    pub(super) fn of(&self, id: u64) -> impl Iterator<Item = &MemSeries> {
        self.parts(id)
    }

    /// Deletes the samples of a series from `mint` to `maxt`, both inclusive.
    pub(super) fn delete(&mut self, id: u64, mint: i64, maxt: i64) -> Result<(), StorageError> {
        for all in [&mut self.series, &mut self.frozen] {
            let Some(series) = all.get_mut(&id) else { continue };
            series.delete(mint, maxt)?;
            if series.bounds().is_none() {
                all.remove(&id);
            }
        }
        Ok(())
    }

    /// Adds what was read of a log.
    pub(super) fn add(&mut self, id: u64, past: MemSeries) -> Result<(), StorageError> {
        let series = self.series.entry(id).or_insert_with(MemSeries::unlabelled);
        series.put_before(past)?;
        Ok(())
    }

    /// Sets everything aside for writing it to blocks. What comes from now on is not among it.
    pub(super) fn freeze(&mut self) {
        debug_assert!(self.frozen.is_empty(), "maintenance runs once at a time");
        std::mem::swap(&mut self.series, &mut self.frozen);
    }

    /// The beginnings of the times, in steps of `length`, of which there are samples older than `end`.
    pub(super) fn ranges(&self, length: i64, end: i64) -> Result<BTreeSet<i64>, StorageError> {
        let mut ranges = BTreeSet::new();
        for series in self.series.values().chain(self.frozen.values()) {
            if series.bounds().is_none_or(|(first, _)| first >= end) {
                continue;
            }
            let times = series.times()?;
            let older = times.iter().filter(|ts| **ts < end);
            ranges.extend(older.map(|ts| ts.div_euclid(length) * length));
        }
        Ok(ranges)
    }

    /// Ends setting aside: what lies between two times, the second exclusive, is in a block and forgotten, the rest is
    /// put back.
    pub(super) fn thaw(&mut self, begin: i64, end: i64) -> Result<(), StorageError> {
        let mut outcome = Ok(());
        for (id, mut frozen) in std::mem::take(&mut self.frozen) {
            if begin < end {
                outcome = outcome.and(frozen.delete(begin, end - 1).map(|_| ()));
            }
            if frozen.bounds().is_some() {
                outcome = outcome.and(self.add(id, frozen));
            }
        }
        self.series.shrink_to(self.series.len() * 2);
        outcome
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use cupola_chunk::NativeValue;
    use cupola_histogram::{CounterResetHint, Histogram, NativeHistogram, Span};
    use cupola_storage::{SampleSource as _, SampleValue, Samples};
    use proptest::prelude::*;

    use super::*;

    #[derive(Debug, Clone, Copy)]
    enum Kind {
        Float,
        Integer,
        FloatHistogram,
    }

    fn value(kind: Kind, count: i64) -> NativeValue {
        let histogram = Histogram {
            count: count as u64,
            positive_spans: vec![Span {
                offset: count as i32 % 3,
                length: 1,
            }],
            positive_buckets: vec![count],
            ..Histogram::default()
        };
        match kind {
            Kind::Float => NativeValue::Float(count as f64),
            Kind::Integer => NativeValue::Histogram(NativeHistogram::Integer(histogram)),
            Kind::FloatHistogram => NativeValue::Histogram(NativeHistogram::Float(histogram.to_float())),
        }
    }

    fn insert(late: &mut Late, ts: i64, value: &NativeValue) -> bool {
        let inserted = match value {
            NativeValue::Float(value) => late.insert(7, ts, *value, 0),
            NativeValue::Histogram(histogram) => late.insert_histogram(7, ts, histogram, 0),
        };
        inserted.expect("its chunk can be read")
    }

    fn kinds() -> impl Strategy<Value = Vec<Kind>> {
        prop_oneof![
            Just(vec![Kind::Float]),
            Just(vec![Kind::Integer]),
            Just(vec![Kind::FloatHistogram]),
            Just(vec![Kind::Float, Kind::Integer, Kind::FloatHistogram]),
        ]
    }

    proptest! {
        #[test]
        fn late_samples_are_in_order_whatever_order_they_come_in(
            kinds in kinds(),
            all in prop::collection::vec((0_i64..800, 1_i64..50, any::<prop::sample::Index>()), 0..900),
            frozen_at in 0_usize..900,
            begin in 0_i64..800,
            end in 0_i64..800,
        ) {
            let mut late = Late::default();
            let mut model = BTreeMap::new();
            for (n, (ts, count, kind)) in all.iter().enumerate() {
                if n == frozen_at {
                    late.freeze();
                    let older = model.keys().filter(|ts| **ts < end);
                    let expected: BTreeSet<i64> = older.map(|ts| ts / 100 * 100).collect();
                    prop_assert_eq!(late.ranges(100, end).unwrap(), expected);
                    late.thaw(begin, end).unwrap();
                    model.retain(|ts, _| !(begin..end).contains(ts));
                }
                let kind = *kind.get(&kinds);
                let is_new = insert(&mut late, *ts, &value(kind, *count));
                prop_assert_eq!(is_new, !model.contains_key(ts));
                model.entry(*ts).or_insert((matches!(kind, Kind::Float), *count as f64));
            }
            let (mut samples, mut chunks) = (Samples::default(), 0);
            for source in late.snapshots(7, i64::MIN, i64::MAX) {
                source.read(i64::MIN, i64::MAX, &mut samples).unwrap();
                chunks += source.chunks().count();
            }
            // Whoever reads trusts what a histogram says of a reset before it.
            for pair in samples.histograms.values.windows(2) {
                let says_no = pair[1].counter_reset_hint == CounterResetHint::NotCounterReset;
                let mut unsaid = (*pair[1]).clone();
                unsaid.counter_reset_hint = CounterResetHint::Unknown;
                prop_assert!(!(says_no && unsaid.detect_reset(&pair[0])), "{:?}", pair);
            }
            let seen = samples.iter().map(|(ts, value, _)| match value {
                SampleValue::Float(value) => (ts, (true, value)),
                SampleValue::Histogram(histogram) => (ts, (false, histogram.count)),
            });
            let got: BTreeMap<i64, (bool, f64)> = seen.collect();
            prop_assert_eq!(samples.count(), got.len());
            prop_assert!(samples.ts.is_sorted() && samples.histograms.ts.is_sorted());
            if let [Kind::Float] = &*kinds {
                prop_assert!(chunks <= 2 + 2 * got.len() / 60, "{} samples in {} chunks", got.len(), chunks);
            }
            prop_assert_eq!(got, model);
        }
    }

    proptest! {
        // Each is 80,000 histograms decoded.
        #![proptest_config(ProptestConfig::with_cases(24))]
        #[test]
        fn late_histograms_of_a_counter_fill_their_chunks(order in Just((1_i64..400).collect::<Vec<_>>()).prop_shuffle()) {
            let mut late = Late::default();
            for ts in order {
                // A counter: its chunks end only where they are full.
                insert(&mut late, ts, &value(Kind::Integer, ts * 3));
            }
            let chunks: usize = late.of(7).map(MemSeries::chunk_count).sum();
            prop_assert!(chunks <= 14, "{} chunks", chunks);
        }
    }
}
