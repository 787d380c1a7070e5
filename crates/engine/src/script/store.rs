//! Samples in memory, for tests.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use cupola_model::Labels;
use cupola_storage::{Queryable, SampleSource, Samples, Selection, Series, StorageError};

/// A storage of a few series, each held whole.
#[derive(Debug, Clone, Default)]
pub struct MemoryStore {
    series: BTreeMap<Labels, Arc<Samples>>,
}

struct Held(Arc<Samples>);

impl SampleSource for Held {
    fn read(&self, mint: i64, maxt: i64, out: &mut Samples) -> Result<(), StorageError> {
        let lo = self.0.ts.partition_point(|t| *t < mint);
        let hi = self.0.ts.partition_point(|t| *t <= maxt).max(lo);
        out.ts.extend_from_slice(self.0.ts.get(lo..hi).unwrap_or_default());
        out.values
            .extend_from_slice(self.0.values.get(lo..hi).unwrap_or_default());
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
        let mut merged: BTreeMap<i64, f64> = BTreeMap::new();
        for part in [known.as_ref(), samples] {
            merged.extend(part.ts.iter().copied().zip(part.values.iter().copied()));
        }
        *known = Arc::new(Samples {
            ts: merged.keys().copied().collect(),
            values: merged.into_values().collect(),
        });
    }

    fn matching<'s>(&'s self, selection: &'s Selection<'_>) -> impl Iterator<Item = (&'s Labels, &'s Arc<Samples>)> {
        self.series.iter().filter(|(labels, samples)| {
            let overlaps = samples.ts.first().is_some_and(|first| *first <= selection.maxt)
                && samples.ts.last().is_some_and(|last| *last >= selection.mint);
            overlaps && selection.matchers.iter().all(|matcher| matcher.matches_labels(labels))
        })
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
