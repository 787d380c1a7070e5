//! What targets say about their metric families: type, help, unit.

use std::collections::{BTreeMap, BTreeSet};

use cupola_exposition::Entry;
use cupola_storage::Metadata;
use parking_lot::Mutex;

// A family that has not been described for this many scrapes is forgotten (Prometheus: ten).
const FORGET_AFTER: u64 = 10;

struct Described {
    metadata: Metadata,
    seen: u64,
}

/// The families of one target, written by its task and read by whoever asks.
#[derive(Default)]
pub(crate) struct MetadataCell(Mutex<Families>);

#[derive(Default)]
struct Families {
    all: BTreeMap<String, Described>,
    // Names of what the storage has not been told.
    news: BTreeSet<String>,
}

impl MetadataCell {
    /// All families that are described.
    pub(crate) fn get(&self) -> Vec<(String, Metadata)> {
        let families = self.0.lock();
        families
            .all
            .iter()
            .map(|(name, d)| (name.clone(), d.metadata.clone()))
            .collect()
    }

    /// Takes in one line of scrape number `scrape`. An unchanged line allocates nothing.
    pub(crate) fn line(&self, entry: &Entry<'_>, scrape: u64) {
        match entry {
            Entry::Help { name, text } => self.change(name, scrape, |m| replace(&mut m.help, text)),
            Entry::Type { name, kind } => self.change(name, scrape, |m| std::mem::replace(&mut m.kind, *kind) != *kind),
            Entry::Unit { name, unit } => self.change(name, scrape, |m| replace(&mut m.unit, unit)),
            Entry::Comment(_) | Entry::Sample(_) => {}
        }
    }

    // `change` says whether it was one.
    fn change(&self, name: &str, scrape: u64, change: impl FnOnce(&mut Metadata) -> bool) {
        let mut families = self.0.lock();
        let Families { all, news } = &mut *families;
        if let Some(described) = all.get_mut(name) {
            described.seen = scrape;
            if change(&mut described.metadata) {
                news.insert(name.to_owned());
            }
            return;
        }
        let mut metadata = Metadata::default();
        change(&mut metadata);
        news.insert(name.to_owned());
        all.insert(name.to_owned(), Described { metadata, seen: scrape });
    }

    /// What changed since this was asked last.
    pub(crate) fn take_news(&self) -> Vec<(String, Metadata)> {
        let mut families = self.0.lock();
        let news = std::mem::take(&mut families.news).into_iter();
        news.filter_map(|name| {
            let metadata = families.all.get(&name)?.metadata.clone();
            Some((name, metadata))
        })
        .collect()
    }

    /// Forgets what has not been described for a while.
    pub(crate) fn forget(&self, scrape: u64) {
        self.0.lock().all.retain(|_, d| scrape - d.seen < FORGET_AFTER);
    }
}

// Whether that was a change.
fn replace(text: &mut String, new: &str) -> bool {
    if text == new {
        return false;
    }
    new.clone_into(text);
    true
}
