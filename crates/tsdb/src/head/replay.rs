//! Taking in what an earlier process logged, while the head is in use.
//!
//! The labels of what is read go into the head at once, the samples beside it into the [`Past`]. At the end each series
//! gets its past in one step under one lock: no reader sees half of it.

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use cupola_storage::Metadata;

use super::Head;
use super::exemplars::Ring;
use super::past::{Growing, Past, Told};
use crate::by_slot::BySlot;
use crate::wal::{Entry, LoggedDeletion, LoggedExemplar, LoggedStart, SeriesTable};

pub(crate) struct Replay {
    head: Arc<Head>,
    // Ids of the log are those of an earlier process. One more than the id here, 0 where there is none.
    ids: BySlot<u64>,
    past: Growing,
    exemplars: Ring,
    families: BTreeMap<String, Metadata>,
}

impl Replay {
    /// Takes nothing that blocks have.
    ///
    /// # Errors
    /// Where the system has no thread for it.
    pub(crate) fn new(head: Arc<Head>) -> io::Result<Self> {
        let past = Growing::start(head.floor())?;
        head.inner.write().index.begin_bulk();
        let (_, _, max_exemplars) = head.exemplar_stats();
        Ok(Self {
            exemplars: Ring::new(max_exemplars),
            families: BTreeMap::new(),
            head,
            ids: BySlot::default(),
            past,
        })
    }

    /// What comes next is of another log, in which ids mean other series.
    pub(crate) fn next_log(&mut self) {
        self.ids = BySlot::default();
    }

    pub(crate) fn entry(&mut self, entry: Entry) {
        match entry {
            Entry::Series(logged, labels) => {
                let id = self.head.inner.write().create(&labels);
                self.announce(logged, id);
            }
            Entry::SeriesTable(table) => self.table(&table),
            Entry::Start(starts) => {
                let known = starts.into_iter().filter_map(|start| {
                    let series = self.id(start.series)?;
                    Some(LoggedStart { series, ..start })
                });
                let known = known.collect();
                self.past.tell(Told::Start(known));
            }
            Entry::Samples(mut samples) => {
                samples.retain_mut(|sample| self.replace(&mut sample.series));
                self.past.tell(Told::Samples(samples));
            }
            Entry::LateSamples(mut samples) => {
                samples.retain_mut(|sample| self.replace(&mut sample.series));
                self.past.tell(Told::LateSamples(samples));
            }
            Entry::Histograms(mut histograms) => {
                histograms.retain_mut(|logged| self.replace(&mut logged.series));
                self.past.tell(Told::Histograms(histograms));
            }
            Entry::LateHistograms(mut histograms) => {
                histograms.retain_mut(|logged| self.replace(&mut logged.series));
                self.past.tell(Told::LateHistograms(histograms));
            }
            Entry::Chunk(mut chunk) => {
                if self.replace(&mut chunk.series) {
                    self.past.tell(Told::Chunk(chunk));
                }
            }
            Entry::Starts(mut starts) => {
                if self.replace(&mut starts.series) {
                    self.past.tell(Told::Starts(starts));
                }
            }
            Entry::Deletion(LoggedDeletion { series, mint, maxt }) => {
                let series = series.into_iter().filter_map(|logged| self.id(logged)).collect();
                self.past.tell(Told::Deletion(LoggedDeletion { series, mint, maxt }));
            }
            Entry::Exemplars(exemplars) => {
                let inner = self.head.inner.read();
                for LoggedExemplar { series, exemplar } in exemplars {
                    let Some(series) = self.id(series).and_then(|id| inner.get(id)) else {
                        continue;
                    };
                    let labels = inner.labels(series);
                    if self.exemplars.check(&labels, &exemplar) == Ok(true) {
                        self.exemplars.add(&labels, exemplar);
                    }
                }
            }
            Entry::Metadata(all) => self.families.extend(all),
        }
    }

    fn id(&self, logged: u64) -> Option<u64> {
        self.ids.get(logged).checked_sub(1)
    }

    // Puts the id here in the place of that of the log; `false` where there is none.
    fn replace(&self, series: &mut u64) -> bool {
        let id = self.id(*series);
        *series = id.unwrap_or(0);
        id.is_some()
    }

    fn announce(&mut self, logged: u64, id: u64) {
        self.ids.announce(logged);
        self.ids.replace(logged, id + 1);
    }

    fn table(&mut self, table: &SeriesTable) {
        let head = self.head.clone();
        let mut inner = head.inner.write();
        // A pair exists as long as a series has it, so none is made before its first series.
        let mut pairs: Vec<Option<u32>> = vec![None; table.len()];
        let mut ids = Vec::new();
        for (logged, places) in table.iter() {
            ids.clear();
            ids.extend(places.iter().filter_map(|place| {
                let (name, value) = table.pair(*place)?;
                let pair = pairs.get_mut(*place as usize)?;
                Some(*pair.get_or_insert_with(|| inner.index.intern_pair(name, value)))
            }));
            let id = inner.create_of(&ids);
            self.announce(logged, id);
        }
    }

    /// Shows everything that was read. Whether a new sample turned out to be older than one that was read: both are
    /// kept, but where they are histograms the log has them in the wrong order, and only a checkpoint brings both through
    /// another replay.
    pub(crate) fn finish(self) -> (bool, Vec<String>) {
        let Past {
            series,
            late,
            has_starts,
            damage: refused,
            ..
        } = self.past.finish();
        // No batch is between its logging and its showing, or it would be logged as one from during the replay and shown as
        // one from after it.
        let _log = self.head.wal.lock();
        let mut inner = self.head.inner.write();
        self.head.is_replaying.store(false, Ordering::Release);
        let inner = &mut *inner;
        inner.index.end_bulk();
        inner.has_starts |= has_starts;
        let mut damage = Vec::new();
        for (id, what, error) in refused {
            let labels = inner.get(id).map(|series| inner.labels(series)).unwrap_or_default();
            damage.push(format!("{what}: {labels}: {error}"));
        }
        let (mut is_out_of_order, mut oldest, mut newest) = (false, i64::MAX, i64::MIN);
        for (slot, past) in series.into_iter().enumerate() {
            let Some((first, last)) = past.bounds() else { continue };
            let Some(series) = inner.slots.get_mut(slot).and_then(|entry| entry.series.as_mut()) else {
                continue;
            };
            let before = series.chunk_count();
            match series.put_before(past) {
                Ok(out_of_order) => is_out_of_order |= out_of_order,
                Err(error) => {
                    let labels = inner.index.labels(&series.labels);
                    damage.push(format!("replay: {labels}: {error}"));
                }
            }
            inner.chunks = inner.chunks + series.chunk_count() - before;
            inner.count(first, last, 0);
            oldest = oldest.min(first);
            newest = newest.max(last);
        }
        self.head.exemplars.lock().put_before(self.exemplars);
        self.head.families.lock().put_before(self.families);
        for (id, past) in late {
            if let Some((first, last)) = past.bounds() {
                (oldest, newest) = (oldest.min(first), newest.max(last));
                inner.maxt = inner.maxt.max(last);
            }
            if let Err(error) = inner.late.add(id, past) {
                let labels = inner.get(id).map(|series| inner.labels(series)).unwrap_or_default();
                damage.push(format!("replay: {labels}: {error}"));
            }
        }
        // A series that is only announced has nothing to show; the next truncation forgets it.
        if oldest <= newest {
            inner.changes.note(oldest);
        }
        (is_out_of_order, damage)
    }
}
