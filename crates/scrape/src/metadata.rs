//! What targets say about their metric families: type, help, unit.

use std::collections::BTreeMap;

use cupola_exposition::{Entry, MetricType};
use parking_lot::Mutex;

// A family that has not been described for this many scrapes is forgotten (Prometheus: ten).
const FORGET_AFTER: u64 = 10;

/// What a target says about one family.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Metadata {
    /// `counter`, `gauge`, ..., `unknown`: the word of Prometheus's API.
    pub kind: &'static str,
    /// What the metric means.
    pub help: String,
    /// Its unit; empty where none is told.
    pub unit: String,
}

struct Described {
    metadata: Metadata,
    seen: u64,
}

/// The families of one target, written by its task and read by whoever asks.
#[derive(Default)]
pub(crate) struct MetadataCell(Mutex<BTreeMap<String, Described>>);

impl MetadataCell {
    /// All families that are described.
    pub(crate) fn get(&self) -> Vec<(String, Metadata)> {
        self.0
            .lock()
            .iter()
            .map(|(name, d)| (name.clone(), d.metadata.clone()))
            .collect()
    }

    /// Takes in one line of scrape number `scrape`. An unchanged line allocates nothing.
    pub(crate) fn line(&self, entry: &Entry<'_>, scrape: u64) {
        match entry {
            Entry::Help { name, text } => self.change(name, scrape, |m| {
                if m.help != *text {
                    m.help = text.to_string();
                }
            }),
            Entry::Type { name, kind } => self.change(name, scrape, |m| m.kind = kind.name()),
            Entry::Unit { name, unit } => self.change(name, scrape, |m| {
                if m.unit != *unit {
                    (*unit).clone_into(&mut m.unit);
                }
            }),
            Entry::Comment(_) | Entry::Sample(_) => {}
        }
    }

    fn change(&self, name: &str, scrape: u64, change: impl FnOnce(&mut Metadata)) {
        let mut families = self.0.lock();
        if let Some(described) = families.get_mut(name) {
            described.seen = scrape;
            change(&mut described.metadata);
            return;
        }
        let mut metadata = Metadata {
            kind: MetricType::Unknown.name(),
            ..Metadata::default()
        };
        change(&mut metadata);
        families.insert(name.to_owned(), Described { metadata, seen: scrape });
    }

    /// Forgets what has not been described for a while.
    pub(crate) fn forget(&self, scrape: u64) {
        self.0.lock().retain(|_, d| scrape - d.seen < FORGET_AFTER);
    }
}
