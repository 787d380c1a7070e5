//! One view over several storages.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use cupola_model::Labels;

use crate::{Changes, Queryable, SampleSource, Samples, Selection, Series, StorageError, Version};

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
        let mut parts = Vec::with_capacity(self.parts.len());
        for part in &self.parts {
            parts.push(part.select_while(selection, go_on)?);
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
    let mut found: HashMap<Labels, Vec<Box<dyn SampleSource>>> = HashMap::new();
    for series in parts.into_iter().flatten() {
        found.entry(series.labels).or_default().push(series.source);
    }
    found
        .into_iter()
        .map(|(labels, sources)| Series {
            labels,
            source: MergedSource::of(sources),
        })
        .collect()
}

/// Several sources of one series, the most trusted first.
pub struct MergedSource {
    sources: Vec<Box<dyn SampleSource>>,
}

impl MergedSource {
    /// One source for `sources`; a single one is handed through.
    #[must_use]
    pub fn of(mut sources: Vec<Box<dyn SampleSource>>) -> Box<dyn SampleSource> {
        match (sources.len(), sources.pop()) {
            (1, Some(only)) => only,
            (_, last) => {
                sources.extend(last);
                Box::new(Self { sources })
            }
        }
    }
}

impl SampleSource for MergedSource {
    fn read(&self, mint: i64, maxt: i64, out: &mut Samples) -> Result<(), StorageError> {
        let mut merged = Samples::default();
        let mut part = Samples::default();
        for source in &self.sources {
            part.clear();
            source.read(mint, maxt, &mut part)?;
            merged = merge(&merged, &part);
        }
        out.append(&merged);
        Ok(())
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
            out.push_value(ts, value, start);
        }
    }
}

fn concat(first: &Samples, second: &Samples) -> Samples {
    let mut out = first.clone();
    out.append(second);
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

    #[test]
    fn on_the_same_timestamp_the_first_source_wins() {
        check(
            &[(1, 1.0), (3, 3.0)],
            &[(1, 9.0), (2, 2.0), (3, 9.0), (4, 4.0)],
            &[(1, 1.0), (2, 2.0), (3, 3.0), (4, 4.0)],
        );
    }
}
