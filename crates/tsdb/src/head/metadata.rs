//! What is said of metric families, once for each, whoever has series of it.

use std::collections::BTreeMap;

use cupola_model::METRIC_NAME;
use cupola_storage::Metadata;

use super::index::Index;

/// By name of the family.
#[derive(Debug, Default)]
pub(super) struct Families(BTreeMap<String, Metadata>);

// What the names of a family's series end with.
const SUFFIXES: [&str; 8] = ["", "_total", "_bucket", "_count", "_sum", "_created", "_info", "_gsum"];

impl Families {
    /// Whether this is what is known of `metric`.
    pub(super) fn is_known(&self, metric: &str, metadata: &Metadata) -> bool {
        self.0.get(metric) == Some(metadata)
    }

    /// The newest word counts.
    pub(super) fn describe(&mut self, metric: &str, metadata: &Metadata) {
        self.0.insert(metric.to_owned(), metadata.clone());
    }

    /// What an earlier process knew, where nothing newer is known.
    pub(super) fn put_before(&mut self, past: BTreeMap<String, Metadata>) {
        for (metric, metadata) in past {
            self.0.entry(metric).or_insert(metadata);
        }
    }

    /// Forgets families without a series.
    pub(super) fn retain(&mut self, index: &Index) {
        let has_series = |metric: &str| {
            let mut names = SUFFIXES.iter().map(|suffix| format!("{metric}{suffix}"));
            names.any(|name| index.series_with(METRIC_NAME, &name) > 0)
        };
        self.0.retain(|metric, _| has_series(metric));
    }

    pub(super) fn list(&self) -> Vec<(String, Metadata)> {
        let all = self.0.iter();
        all.map(|(metric, metadata)| (metric.clone(), metadata.clone()))
            .collect()
    }
}
