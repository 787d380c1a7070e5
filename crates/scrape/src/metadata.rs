//! What targets say about their metric families: type, help, unit.

use std::hash::BuildHasher as _;

use cupola_exposition::Entry;
use cupola_model::MetricType;
use cupola_storage::Metadata;
use hashbrown::HashTable;
use parking_lot::Mutex;

// A family that has not been described for this many scrapes is forgotten (Prometheus: ten).
const FORGET_AFTER: u64 = 10;

struct Described {
    name: String,
    metadata: Metadata,
    seen: u64,
    // The storage has not been told.
    is_news: bool,
}

/// The families of one target, written by its task and read by whoever asks.
#[derive(Default)]
pub(crate) struct MetadataCell(Mutex<Families>);

#[derive(Default)]
struct Families {
    // In the order in which they were described first, which is nearly always that of the next body.
    all: Vec<Described>,
    by_name: HashTable<u32>,
    hasher: foldhash::fast::RandomState,
    // The family that was described last.
    last: usize,
    has_news: bool,
}

impl Families {
    fn find(&mut self, name: &str) -> Option<usize> {
        let is_it = |at: usize| self.all.get(at).is_some_and(|described| described.name == name);
        let near = [self.last, self.last + 1].into_iter().find(|at| is_it(*at));
        let found = near.or_else(|| {
            let hash = self.hasher.hash_one(name);
            self.by_name.find(hash, |at| is_it(*at as usize)).map(|at| *at as usize)
        })?;
        self.last = found;
        Some(found)
    }

    fn insert(&mut self, described: Described) {
        self.last = self.all.len();
        self.has_news = true;
        self.all.push(described);
        self.index(self.last);
    }

    // A body has fewer families than fit in 32 bits: it is limited in bytes.
    fn index(&mut self, at: usize) {
        let (all, hasher) = (&self.all, &self.hasher);
        let hash_of = |at: &u32| all.get(*at as usize).map_or(0, |d| hasher.hash_one(d.name.as_str()));
        let at = at as u32;
        self.by_name.insert_unique(hash_of(&at), at, hash_of);
    }
}

/// How much is kept about the families of a target.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct MetadataSize {
    /// Families.
    pub entries: usize,
    /// Bytes of their texts.
    pub bytes: usize,
}

impl MetadataCell {
    /// All families that are described, by name.
    pub(crate) fn get(&self) -> Vec<(String, Metadata)> {
        let families = self.0.lock();
        let mut all: Vec<(String, Metadata)> = families
            .all
            .iter()
            .map(|d| (d.name.clone(), d.metadata.clone()))
            .collect();
        drop(families);
        all.sort_by(|a, b| a.0.cmp(&b.0));
        all
    }

    /// What the family of this name is; nothing where it is not described.
    pub(crate) fn type_and_unit(&self, name: &str) -> (MetricType, String) {
        let mut families = self.0.lock();
        let found = families.find(name).and_then(|at| families.all.get(at));
        found.map_or_else(Default::default, |d| (d.metadata.kind, d.metadata.unit.clone()))
    }

    /// How much that is.
    pub(crate) fn size(&self) -> MetadataSize {
        let families = self.0.lock();
        let bytes =
            |d: &Described| d.name.len() + d.metadata.help.len() + d.metadata.unit.len() + d.metadata.kind.name().len();
        MetadataSize {
            entries: families.all.len(),
            bytes: families.all.iter().map(bytes).sum(),
        }
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
        let found = families.find(name);
        let families = &mut *families;
        if let Some(described) = found.and_then(|at| families.all.get_mut(at)) {
            described.seen = scrape;
            if change(&mut described.metadata) {
                described.is_news = true;
                families.has_news = true;
            }
            return;
        }
        let mut metadata = Metadata::default();
        change(&mut metadata);
        families.insert(Described {
            name: name.to_owned(),
            metadata,
            seen: scrape,
            is_news: true,
        });
    }

    /// What changed since this was asked last.
    pub(crate) fn take_news(&self) -> Vec<(String, Metadata)> {
        let mut families = self.0.lock();
        if !std::mem::take(&mut families.has_news) {
            return Vec::new();
        }
        (families.all.iter_mut())
            .filter_map(|d| std::mem::take(&mut d.is_news).then(|| (d.name.clone(), d.metadata.clone())))
            .collect()
    }

    /// Nobody has been told of any family.
    pub(crate) fn renew(&self) {
        let mut families = self.0.lock();
        families.has_news = true;
        families.all.iter_mut().for_each(|d| d.is_news = true);
    }

    /// Forgets what has not been described for a while.
    pub(crate) fn forget(&self, scrape: u64) {
        let mut families = self.0.lock();
        let before = families.all.len();
        // Who begins anew counts from 1 on.
        families.all.retain(|d| scrape.saturating_sub(d.seen) < FORGET_AFTER);
        if families.all.len() < before {
            families.by_name.clear();
            (0..families.all.len()).for_each(|at| families.index(at));
        }
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
