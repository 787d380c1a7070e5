//! Taking in what an earlier process logged, while the head is in use.
//!
//! What is read is kept beside the head, series by series, so that replay and new samples do not wait for each other.
//! At the end each series gets its past in one step under one lock: no reader sees half of it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use cupola_histogram::HistogramRef;
use cupola_model::is_stale_nan;
use cupola_storage::{Metadata, StorageError};
use hashbrown::HashMap;

use super::Head;
use super::exemplars::Ring;
use super::series::MemSeries;
use super::times::TimeColumns;
use crate::by_slot::BySlot;
use crate::wal::{Entry, LoggedExemplar, LoggedHistogram, LoggedSample, LoggedStarts, SeriesTable, ToldStarts};

pub(crate) struct Replay {
    head: Arc<Head>,
    floor: i64,
    // Ids of the log are those of an earlier process. One more than the id here, 0 where there is none.
    ids: BySlot<u64>,
    // The head frees no slot until the replay is over.
    past: Past,
    exemplars: Ring,
    families: BTreeMap<String, Metadata>,
    late: HashMap<u64, MemSeries, foldhash::fast::RandomState>,
    // Since when the samples of the next entry count.
    starts: ToldStarts,
    times: TimeColumns,
    has_starts: bool,
    /// What could not be taken in, and why.
    pub damage: Vec<String>,
}

/// Series by slot. It grows without moving what it has, and is given back piece by piece.
#[derive(Default)]
struct Past(Vec<Vec<MemSeries>>);

impl Past {
    const PIECE: usize = 4096;

    fn make_room(&mut self, slot: u32) {
        let (piece, within) = (slot as usize / Self::PIECE, slot as usize % Self::PIECE);
        if piece >= self.0.len() {
            self.0.resize_with(piece + 1, Vec::new);
        }
        if let Some(piece) = self.0.get_mut(piece)
            && within >= piece.len()
        {
            piece.reserve_exact(Self::PIECE - piece.len());
            piece.resize_with(within + 1, MemSeries::unlabelled);
        }
    }

    fn get_mut(&mut self, slot: u32) -> Option<&mut MemSeries> {
        let piece = self.0.get_mut(slot as usize / Self::PIECE)?;
        piece.get_mut(slot as usize % Self::PIECE)
    }

    fn into_slots(self) -> impl Iterator<Item = (usize, MemSeries)> {
        let pieces = self.0.into_iter().enumerate();
        pieces.flat_map(|(piece, all)| {
            let slots = piece * Self::PIECE..;
            slots.zip(all)
        })
    }
}

impl Replay {
    /// Takes nothing that blocks have.
    pub(crate) fn new(head: Arc<Head>) -> Self {
        head.inner.write().index.begin_bulk();
        let (_, _, max_exemplars) = head.exemplar_stats();
        Self {
            floor: head.floor(),
            exemplars: Ring::new(max_exemplars),
            families: BTreeMap::new(),
            head,
            ids: BySlot::default(),
            past: Past::default(),
            late: HashMap::default(),
            starts: ToldStarts::default(),
            times: TimeColumns::default(),
            has_starts: false,
            damage: Vec::new(),
        }
    }

    /// What comes next is of another log, in which ids mean other series.
    pub(crate) fn next_log(&mut self) {
        self.ids = BySlot::default();
    }

    fn series(&mut self, logged: u64) -> Option<&mut MemSeries> {
        let id = self.ids.get(logged).checked_sub(1)?;
        self.past.get_mut(id as u32)
    }

    // As [`Replay::series`], and the columns of times that its chunks may share.
    fn series_and_times(&mut self, logged: u64) -> Option<(&mut MemSeries, &mut TimeColumns)> {
        let id = self.ids.get(logged).checked_sub(1)?;
        Some((self.past.get_mut(id as u32)?, &mut self.times))
    }

    pub(crate) fn entry(&mut self, entry: Entry<'_>) {
        let is_told = matches!(entry, Entry::Start(_));
        self.take_in(entry);
        if !is_told {
            self.starts.clear();
        }
    }

    fn take_in(&mut self, entry: Entry<'_>) {
        match entry {
            Entry::Series(logged, labels) => {
                let id = self.head.inner.write().create(&labels);
                self.announce(logged, id);
            }
            Entry::SeriesTable(table) => self.table(table),
            Entry::Start(starts) => {
                self.has_starts = true;
                let starts = starts.into_iter();
                self.starts = starts.map(|told| ((told.series, told.ts), told.start)).collect();
            }
            Entry::Samples(samples) => {
                let floor = self.floor;
                for sample in samples.iter().filter(|sample| sample.ts >= floor) {
                    let start = self.start_of(sample.series, sample.ts, || is_stale_nan(sample.value));
                    let Some((series, times)) = self.series_and_times(sample.series) else {
                        continue;
                    };
                    // What is out of order here is in the checkpoint already, or was taken as a late sample and logged
                    // as such, or not taken.
                    if series.check(sample.ts, sample.value) == Ok(true) {
                        series.push(sample.ts, sample.value);
                        series.share_times(times);
                        if let Some(start) = start {
                            series.note_start(sample.ts, start);
                        }
                    }
                }
            }
            Entry::LateSamples(samples) => samples.iter().for_each(|sample| self.late(sample)),
            Entry::Histograms(histograms) => {
                let floor = self.floor;
                for logged in histograms.iter().filter(|logged| logged.ts >= floor) {
                    let histogram = HistogramRef::from(&logged.value);
                    let start = self.start_of(logged.series, logged.ts, || histogram.is_stale());
                    if let Some(series) = self.series(logged.series)
                        && super::histograms::check(&logged.value).is_ok()
                        && series.check_histogram(logged.ts, histogram) == Ok(true)
                    {
                        series.push_histogram(logged.ts, histogram);
                        if let Some(start) = start {
                            series.note_start(logged.ts, start);
                        }
                    }
                }
            }
            Entry::LateHistograms(histograms) => histograms.iter().for_each(|logged| self.late_histogram(logged)),
            Entry::Exemplars(exemplars) => {
                let inner = self.head.inner.read();
                for LoggedExemplar { series, exemplar } in exemplars {
                    let id = self.ids.get(series).checked_sub(1);
                    let Some(series) = id.and_then(|id| inner.get(id)) else {
                        continue;
                    };
                    let labels = inner.labels(series);
                    if self.exemplars.check(&labels, &exemplar) == Ok(true) {
                        self.exemplars.add(&labels, exemplar);
                    }
                }
            }
            Entry::Metadata(all) => self.families.extend(all),
            Entry::Deletion(deletion) => {
                for logged in &deletion.series {
                    let Some(series) = self.series(*logged) else { continue };
                    let mut deleted = series.delete(deletion.mint, deletion.maxt);
                    if let Some(late) = self
                        .ids
                        .get(*logged)
                        .checked_sub(1)
                        .and_then(|id| self.late.get_mut(&id))
                    {
                        deleted = deleted.and(late.delete(deletion.mint, deletion.maxt));
                    }
                    if let Err(error) = deleted {
                        self.damage(*logged, "deletion", &error);
                    }
                }
            }
            Entry::Starts(LoggedStarts {
                series,
                is_late,
                starts,
            }) => {
                self.has_starts = true;
                let Some(id) = self.ids.get(series).checked_sub(1) else {
                    return;
                };
                match is_late {
                    true => self.late.get_mut(&id),
                    false => self.past.get_mut(id as u32),
                }
                .into_iter()
                .for_each(|series| series.restore_starts(starts.clone()));
            }
            Entry::Chunk(chunk) if chunk.is_late => {
                let Some(id) = self.ids.get(chunk.series).checked_sub(1) else {
                    return;
                };
                if let Err(error) = self.late.entry(id).or_insert_with(MemSeries::unlabelled).add(&chunk) {
                    self.damage(chunk.series, "checkpoint", &error);
                }
            }
            Entry::Chunk(chunk) if chunk.maxt < self.floor => {}
            Entry::Chunk(chunk) => {
                if let Some((series, times)) = self.series_and_times(chunk.series) {
                    match series.restore(&chunk) {
                        Ok(()) => series.share_times(times),
                        Err(error) => self.damage(chunk.series, "checkpoint", &error),
                    }
                }
            }
        }
    }

    // `None` where it has that of the sample before it.
    fn start_of(&self, series: u64, ts: i64, is_stale: impl FnOnce() -> bool) -> Option<i64> {
        if !self.has_starts {
            return None;
        }
        let told = self.starts.get(&(series, ts)).copied();
        told.or_else(|| (!is_stale()).then_some(0))
    }

    fn late(&mut self, sample: &LoggedSample) {
        let Some(id) = self.ids.get(sample.series).checked_sub(1) else {
            return;
        };
        let start = self.start_of(sample.series, sample.ts, || is_stale_nan(sample.value));
        // What came during an earlier replay is logged as late, because nobody knew whether it was.
        if sample.ts >= self.floor
            && let Some(series) = self.past.get_mut(id as u32)
            && series.check(sample.ts, sample.value) == Ok(true)
        {
            series.push(sample.ts, sample.value);
            if let Some(start) = start {
                series.note_start(sample.ts, start);
            }
            return;
        }
        let late = self.late.entry(id).or_insert_with(MemSeries::unlabelled);
        let inserted = late.insert(sample.ts, sample.value);
        let outcome = inserted.and_then(|is_new| match is_new {
            true => late.set_start(sample.ts, start.unwrap_or(0)),
            false => Ok(()),
        });
        if let Err(error) = outcome {
            self.damage(sample.series, "sample out of order", &error);
        }
    }

    fn late_histogram(&mut self, logged: &LoggedHistogram) {
        let Some(id) = self.ids.get(logged.series).checked_sub(1) else {
            return;
        };
        if super::histograms::check(&logged.value).is_err() {
            return;
        }
        let histogram = HistogramRef::from(&logged.value);
        let start = self.start_of(logged.series, logged.ts, || histogram.is_stale());
        if logged.ts >= self.floor
            && let Some(series) = self.past.get_mut(id as u32)
            && series.check_histogram(logged.ts, histogram) == Ok(true)
        {
            series.push_histogram(logged.ts, histogram);
            if let Some(start) = start {
                series.note_start(logged.ts, start);
            }
            return;
        }
        let late = self.late.entry(id).or_insert_with(MemSeries::unlabelled);
        let inserted = late.insert_histogram(logged.ts, &logged.value);
        let outcome = inserted.and_then(|is_new| match is_new {
            true => late.set_start(logged.ts, start.unwrap_or(0)),
            false => Ok(()),
        });
        if let Err(error) = outcome {
            self.damage(logged.series, "histogram out of order", &error);
        }
    }

    fn announce(&mut self, logged: u64, id: u64) {
        self.past.make_room(id as u32);
        self.ids.announce(logged);
        self.ids.replace(logged, id + 1);
    }

    fn table(&mut self, table: &SeriesTable<'_>) {
        let head = self.head.clone();
        let mut inner = head.inner.write();
        // A pair exists as long as a series has it, so none is made before its first series.
        let mut pairs: Vec<Option<u32>> = vec![None; table.pairs.len()];
        let mut ids = Vec::new();
        for (logged, places) in table.iter() {
            ids.clear();
            ids.extend(places.iter().filter_map(|place| {
                let (name, value) = table.pairs.get(*place as usize)?;
                let pair = pairs.get_mut(*place as usize)?;
                Some(*pair.get_or_insert_with(|| inner.index.intern_pair(name, value)))
            }));
            let id = inner.create_of(&ids);
            self.announce(logged, id);
        }
    }

    fn damage(&mut self, logged: u64, what: &str, error: &StorageError) {
        let inner = self.head.inner.read();
        let series = self.ids.get(logged).checked_sub(1).and_then(|id| inner.get(id));
        let labels = series.map(|series| inner.labels(series)).unwrap_or_default();
        self.damage.push(format!("{what}: {labels}: {error}"));
    }

    /// Shows everything that was read. Whether a new sample turned out to be older than one that was read: both are
    /// kept, but where they are histograms the log has them in the wrong order, and only a checkpoint brings both through
    /// another replay.
    pub(crate) fn finish(self) -> (bool, Vec<String>) {
        let mut damage = self.damage;
        // No batch is between its logging and its showing, or it would be logged as one from during the replay and shown as
        // one from after it.
        let _log = self.head.wal.lock();
        let mut inner = self.head.inner.write();
        self.head.is_replaying.store(false, Ordering::Release);
        let inner = &mut *inner;
        inner.index.end_bulk();
        inner.has_starts |= self.has_starts;
        let (mut is_out_of_order, mut oldest, mut newest) = (false, i64::MAX, i64::MIN);
        for (slot, past) in self.past.into_slots() {
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
        for (id, past) in self.late {
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
