//! One view over several storages.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use cupola_model::{Labels, Matcher, is_stale_nan};

use crate::{
    Changes, Coarse, Hints, Metadata, Queryable, SampleSource, SampleValue, Samples, Selection, Series,
    SeriesExemplars, StorageError, TierUse, Version,
};

/// Asks several storages and merges what they answer; on the same timestamp the first storage's sample wins.
#[derive(Clone)]
pub struct Fanout {
    parts: Vec<Arc<dyn Queryable>>,
}

impl Fanout {
    /// A view over `parts`, the most trusted first.
    #[must_use]
    pub fn new(parts: Vec<Arc<dyn Queryable>>) -> Self {
        Self { parts }
    }
}

impl Queryable for Fanout {
    fn select(&self, selection: &Selection<'_>) -> Result<Vec<Series>, StorageError> {
        self.select_while(selection, &|| true)
    }

    fn select_while(&self, selection: &Selection<'_>, go_on: &dyn Fn() -> bool) -> Result<Vec<Series>, StorageError> {
        self.select_hinted(selection, Hints::default(), go_on)
    }

    fn select_hinted(
        &self,
        selection: &Selection<'_>,
        hints: Hints,
        go_on: &dyn Fn() -> bool,
    ) -> Result<Vec<Series>, StorageError> {
        let mut parts = Vec::with_capacity(self.parts.len());
        for part in &self.parts {
            parts.push(part.select_hinted(selection, hints, go_on)?);
        }
        Ok(merge_series(parts))
    }

    fn label_names(&self, selection: &Selection<'_>) -> Result<Vec<String>, StorageError> {
        let mut names = BTreeSet::new();
        for part in &self.parts {
            names.extend(part.label_names(selection)?);
        }
        Ok(names.into_iter().collect())
    }

    fn label_values(&self, name: &str, selection: &Selection<'_>) -> Result<Vec<String>, StorageError> {
        let mut values = BTreeSet::new();
        for part in &self.parts {
            values.extend(part.label_values(name, selection)?);
        }
        Ok(values.into_iter().collect())
    }

    fn exemplars(&self, sets: &[Vec<Matcher>], mint: i64, maxt: i64) -> Result<Vec<SeriesExemplars>, StorageError> {
        let mut all = Vec::new();
        for part in &self.parts {
            all.extend(part.exemplars(sets, mint, maxt)?);
        }
        // Stable: where two have the same series, the first one's stay.
        all.sort_by(|a: &SeriesExemplars, b| a.labels.cmp(&b.labels));
        all.dedup_by(|later, first| later.labels == first.labels);
        Ok(all)
    }

    fn metadata(&self) -> Vec<(String, Metadata)> {
        let all = self.parts.iter().rev().flat_map(|part| part.metadata());
        all.collect::<BTreeMap<_, _>>().into_iter().collect()
    }

    fn tiers(&self, mint: i64, maxt: i64, coarse: &Coarse) -> Option<TierUse> {
        let parts = self.parts.iter().filter_map(|part| part.tiers(mint, maxt, coarse));
        parts.reduce(TierUse::and)
    }

    fn select_coarse(
        &self,
        selection: &Selection<'_>,
        coarse: &Coarse,
        go_on: &dyn Fn() -> bool,
    ) -> Result<Vec<Series>, StorageError> {
        let mut parts = Vec::with_capacity(self.parts.len());
        for part in &self.parts {
            parts.push(part.select_coarse(selection, coarse, go_on)?);
        }
        Ok(merge_series(parts))
    }

    fn incomplete(&self) -> Option<String> {
        self.parts.iter().find_map(|part| part.incomplete())
    }

    fn changes(&self, since: &Version) -> Option<Changes> {
        // Each storage finds its own state in `since`; one that does not know makes the whole unknown.
        let mut parts = self.parts.iter().map(|part| part.changes(since));
        let first = parts.next()??;
        parts.try_fold(first, |all, part| Some(all.and(part?)))
    }
}

/// Joins what several storages selected, the most trusted first: each series once.
#[must_use]
pub fn merge_series(mut parts: Vec<Vec<Series>>) -> Vec<Series> {
    parts.retain(|part| !part.is_empty());
    if parts.len() <= 1 {
        return parts.pop().unwrap_or_default();
    }
    // In the order they come: their sources are read quickest in the order they are stored.
    let mut at: HashMap<Labels, usize, foldhash::fast::RandomState> = HashMap::default();
    let mut found: Vec<(Labels, Vec<Box<dyn SampleSource>>)> = Vec::new();
    for series in parts.into_iter().flatten() {
        let index = *at.entry(series.labels.clone()).or_insert(found.len());
        match found.get_mut(index) {
            Some((_, sources)) => sources.push(series.source),
            None => found.push((series.labels, vec![series.source])),
        }
    }
    found
        .into_iter()
        .map(|(labels, sources)| Series {
            labels,
            source: MergedSource::of(sources),
        })
        .collect()
}

/// A source whose samples are counted: each is a 1, staleness markers are left out.
pub struct CountedSource(pub Box<dyn SampleSource>);

impl SampleSource for CountedSource {
    fn read(&self, mint: i64, maxt: i64, out: &mut Samples) -> Result<(), StorageError> {
        let mut samples = Samples::default();
        self.0.read(mint, maxt, &mut samples)?;
        for (ts, value, _) in samples.iter() {
            let is_stale = match value {
                SampleValue::Float(value) => is_stale_nan(value),
                SampleValue::Histogram(histogram) => histogram.is_stale(),
            };
            if !is_stale {
                out.push(ts, 1.0);
            }
        }
        Ok(())
    }

    fn span(&self) -> (i64, i64) {
        self.0.span()
    }
}

/// Several sources of one series.
pub struct MergedSource {
    // The most trusted first; where the spans do not overlap, the oldest first.
    sources: Vec<Box<dyn SampleSource>>,
    overlaps: bool,
}

impl MergedSource {
    /// One source for `sources`, the most trusted first; a single one is handed through.
    #[must_use]
    pub fn of(mut sources: Vec<Box<dyn SampleSource>>) -> Box<dyn SampleSource> {
        match (sources.len(), sources.pop()) {
            (1, Some(only)) => only,
            (_, last) => {
                sources.extend(last);
                let mut spans: Vec<(i64, i64)> = sources.iter().map(|source| source.span()).collect();
                spans.sort_unstable();
                let overlaps = spans.iter().zip(spans.iter().skip(1)).any(|(a, b)| b.0 <= a.1);
                if !overlaps {
                    sources.sort_by_key(|source| source.span());
                }
                Box::new(Self { sources, overlaps })
            }
        }
    }
}

impl SampleSource for MergedSource {
    fn read(&self, mint: i64, maxt: i64, out: &mut Samples) -> Result<(), StorageError> {
        let wanted = self.sources.iter().filter(|source| {
            let (first, last) = source.span();
            first <= maxt && mint <= last
        });
        if !self.overlaps {
            for (n, source) in wanted.enumerate() {
                let before = out.histograms.len();
                source.read(mint, maxt, out)?;
                if n > 0 {
                    out.histograms.forget_reset(before);
                }
            }
            return Ok(());
        }
        let mut merged = Samples::default();
        let mut part = Samples::default();
        for source in wanted {
            part.clear();
            source.read(mint, maxt, &mut part)?;
            merged = merge(&merged, &part);
        }
        out.append(&merged);
        Ok(())
    }

    fn span(&self) -> (i64, i64) {
        let spans = self.sources.iter().map(|source| source.span());
        spans
            .reduce(|a, b| (a.0.min(b.0), a.1.max(b.1)))
            .unwrap_or((i64::MIN, i64::MAX))
    }
}

// The first and the last time.
fn span(samples: &Samples) -> Option<(i64, i64)> {
    let floats = samples.ts.first().copied().zip(samples.ts.last().copied());
    let histograms = &samples.histograms.ts;
    let histograms = histograms.first().copied().zip(histograms.last().copied());
    match (floats, histograms) {
        (Some(a), Some(b)) => Some((a.0.min(b.0), a.1.max(b.1))),
        (a, b) => a.or(b),
    }
}

fn merge(first: &Samples, second: &Samples) -> Samples {
    // The common case: blocks and head follow each other without overlap.
    match (span(first), span(second)) {
        (None, _) => return second.clone(),
        (_, None) => return first.clone(),
        (Some((_, end)), Some((begin, _))) if end < begin => return concat(first, second),
        (Some((begin, _)), Some((_, end))) if end < begin => return concat(second, first),
        _ => {}
    }
    let plain = |samples: &Samples| samples.histograms.is_empty() && samples.starts.is_empty();
    if !(plain(first) && plain(second)) {
        return merge_mixed(first, second);
    }
    let mut out = Samples::default();
    let (mut i, mut j) = (0, 0);
    while i < first.len() || j < second.len() {
        let take_first = match (first.ts.get(i), second.ts.get(j)) {
            (Some(a), Some(b)) => {
                if a == b {
                    j += 1;
                }
                a <= b
            }
            (a, _) => a.is_some(),
        };
        if take_first {
            out.push(first.ts[i], first.values[i]);
            i += 1;
        } else {
            out.push(second.ts[j], second.values[j]);
            j += 1;
        }
    }
    out
}

// As `merge`, for histograms and known starts.
fn merge_mixed(first: &Samples, second: &Samples) -> Samples {
    let mut out = Samples::default();
    let mut took_first = None;
    let (mut left, mut right) = (first.iter().peekable(), second.iter().peekable());
    loop {
        let take_first = match (left.peek(), right.peek()) {
            (None, None) => return out,
            (Some((a, ..)), Some((b, ..))) => {
                if a == b {
                    // Dropped: the first source's sample wins.
                    let a = *a;
                    right.next_if(|(b, ..)| *b == a);
                    true
                } else {
                    a < b
                }
            }
            (a, _) => a.is_some(),
        };
        let next = if take_first { left.next() } else { right.next() };
        if let Some((ts, value, start)) = next {
            let is_histogram = matches!(value, SampleValue::Histogram(_));
            out.push_value(ts, value, start);
            if is_histogram && took_first.is_some_and(|took| took != take_first) {
                out.histograms.forget_reset(out.histograms.len() - 1);
            }
            took_first = Some(take_first);
        }
    }
}

fn concat(first: &Samples, second: &Samples) -> Samples {
    let mut out = first.clone();
    out.append(second);
    out.histograms.forget_reset(first.histograms.len());
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn samples(pairs: &[(i64, f64)]) -> Samples {
        let mut out = Samples::default();
        for (ts, value) in pairs {
            out.push(*ts, *value);
        }
        out
    }

    #[track_caller]
    fn check(first: &[(i64, f64)], second: &[(i64, f64)], merged: &[(i64, f64)]) {
        assert_eq!(merge(&samples(first), &samples(second)), samples(merged));
    }

    #[test]
    fn sources_that_follow_each_other_are_joined() {
        check(&[(1, 1.0)], &[(2, 2.0)], &[(1, 1.0), (2, 2.0)]);
        check(&[(2, 2.0)], &[(1, 1.0)], &[(1, 1.0), (2, 2.0)]);
        check(&[], &[(1, 1.0)], &[(1, 1.0)]);
    }

    // A source that knows its span, and one that does not.
    struct Held(Samples, bool);

    impl SampleSource for Held {
        fn read(&self, mint: i64, maxt: i64, out: &mut Samples) -> Result<(), StorageError> {
            for (ts, value, start) in self.0.iter().filter(|(ts, ..)| (mint..=maxt).contains(ts)) {
                out.push_value(ts, value, start);
            }
            Ok(())
        }

        fn span(&self) -> (i64, i64) {
            let known = self.1.then(|| span(&self.0)).flatten();
            known.unwrap_or((i64::MIN, i64::MAX))
        }
    }

    #[test]
    fn spans_change_nothing_but_the_work() {
        let parts: [&[(i64, f64)]; 4] = [
            &[(30, 3.0), (40, 4.0)],
            &[(10, 1.0), (20, 2.0)],
            &[(40, 9.0), (50, 5.0)],
            &[(21, 2.1), (29, 2.9)],
        ];
        let whole = samples(&[
            (10, 1.0),
            (20, 2.0),
            (21, 2.1),
            (29, 2.9),
            (30, 3.0),
            (40, 4.0),
            (50, 5.0),
        ]);
        for (count, known) in [(4, true), (4, false), (2, true), (2, false)] {
            let sources = parts
                .iter()
                .take(count)
                .map(|part| -> Box<dyn SampleSource> { Box::new(Held(samples(part), known)) });
            let merged = MergedSource::of(sources.collect());
            let (mint, maxt) = (if count == 4 { 10 } else { 20 }, if count == 4 { 50 } else { 30 });
            let mut out = samples(&[(1, 0.0)]);
            merged.read(mint, maxt, &mut out).unwrap();
            let mut expected = samples(&[(1, 0.0)]);
            for (ts, value, start) in whole.iter().filter(|(ts, ..)| (mint..=maxt).contains(ts)) {
                // Of the first two only what they hold.
                if count == 4 || ![21, 29].contains(&ts) {
                    expected.push_value(ts, value, start);
                }
            }
            assert_eq!(out, expected, "{count} {known}");
        }
    }

    #[test]
    fn what_a_histogram_says_of_a_reset_counts_behind_its_own_source_only() {
        use cupola_histogram::CounterResetHint::{CounterReset, Gauge, NotCounterReset, Unknown};
        let source = |times: &[i64], hint| {
            let mut samples = Samples::default();
            for ts in times {
                let histogram = cupola_histogram::FloatHistogram {
                    counter_reset_hint: hint,
                    count: *ts as f64,
                    ..cupola_histogram::FloatHistogram::default()
                };
                samples.push_value(*ts, SampleValue::Histogram(Arc::new(histogram)), 0);
            }
            Box::new(Held(samples, true)) as Box<dyn SampleSource>
        };
        for (first, second, expected) in [
            (
                source(&[10, 20, 50], NotCounterReset),
                source(&[20, 30, 40], CounterReset),
                vec![NotCounterReset, NotCounterReset, Unknown, CounterReset, Unknown],
            ),
            (
                source(&[30, 40], CounterReset),
                source(&[10, 20], NotCounterReset),
                vec![NotCounterReset, NotCounterReset, Unknown, CounterReset],
            ),
            (source(&[10, 30], Gauge), source(&[20], Gauge), vec![Gauge; 3]),
        ] {
            let mut out = Samples::default();
            MergedSource::of(vec![first, second]).read(0, 99, &mut out).unwrap();
            let hints: Vec<_> = out.histograms.values.iter().map(|h| h.counter_reset_hint).collect();
            assert_eq!(hints, expected);
        }
    }

    #[test]
    fn counted_samples_are_ones_and_markers_are_none() {
        let stale = cupola_model::STALE_NAN;
        let source = CountedSource(Box::new(Held(samples(&[(1, 5.0), (2, stale), (3, f64::NAN)]), true)));
        let mut out = Samples::default();
        source.read(0, 9, &mut out).unwrap();
        assert_eq!((out, source.span()), (samples(&[(1, 1.0), (3, 1.0)]), (1, 3)));
    }

    #[test]
    fn on_the_same_timestamp_the_first_source_wins() {
        check(
            &[(1, 1.0), (3, 3.0)],
            &[(1, 9.0), (2, 2.0), (3, 9.0), (4, 4.0)],
            &[(1, 1.0), (2, 2.0), (3, 3.0), (4, 4.0)],
        );
    }
}
