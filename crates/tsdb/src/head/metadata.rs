//! What is said of metric families, once for each, whoever has series of it.

use std::collections::BTreeMap;

use cupola_model::METRIC_NAME;
use cupola_storage::Metadata;

use super::index::Index;

/// By name of the family.
#[derive(Debug, Default)]
pub(super) struct Families(BTreeMap<String, Metadata>);

// A sender may name families that have no series: so many are kept, and more are left out.
const MOST: usize = 100_000;

// What the names of a family's series end with.
const SUFFIXES: [&str; 8] = ["", "_total", "_bucket", "_count", "_sum", "_created", "_info", "_gsum"];

impl Families {
    /// Whether this is to be kept and not yet known.
    pub(super) fn is_news(&self, metric: &str, metadata: &Metadata) -> bool {
        match self.0.get(metric) {
            Some(known) => known != metadata,
            None => self.0.len() < MOST,
        }
    }

    /// The newest word counts.
    pub(super) fn describe(&mut self, metric: &str, metadata: &Metadata) {
        if self.is_news(metric, metadata) {
            self.0.insert(metric.to_owned(), metadata.clone());
        }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn families_beyond_the_most_are_left_out_and_known_ones_still_change() {
        let mut families = Families::default();
        let said = |help: &str| Metadata {
            help: help.to_owned(),
            ..Metadata::default()
        };
        for n in 0..=MOST {
            families.describe(&format!("m{n}"), &said("a"));
        }
        families.describe("m0", &said("b"));
        assert_eq!(families.0.len(), MOST);
        assert!(!families.is_news("m0", &said("b")) && families.is_news("m1", &said("b")));
    }
}
