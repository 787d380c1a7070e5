//! The head of a stopped Prometheus, put together from its files.

use std::io;
use std::path::Path;

use cupola_env::Vfs;
use cupola_model::{Labels, SeriesRef};
use foldhash::fast::RandomState;
use hashbrown::hash_map::Entry;

use crate::bytes::Fault;
use crate::files::{self, Row};
use crate::head_chunks::{ChunkRef, HeadChunk};
use crate::record::{Event, LoggedSeries, MMAP_MARKERS, Record, SERIES, Source};
use crate::replay::{Replayed, read_chunks, read_decoded, read_records};

type Map<K, V> = hashbrown::HashMap<K, V, RandomState>;

/// What of the data folder is wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Options {
    /// Samples in order before this time are left out, in milliseconds since the epoch. Upstream takes the greatest
    /// `maxTime` of the blocks that were not made of out-of-order samples (`meta.json`: no hint `from-out-of-order`).
    /// A chunk that ends at this time or later is handed out whole.
    pub min_valid_time: i64,
}

impl Default for Options {
    /// Everything.
    fn default() -> Self {
        Self {
            min_valid_time: i64::MIN,
        }
    }
}

/// What was restored.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Restored {
    /// What was read for it.
    pub replayed: Replayed,
    /// Series handed out.
    pub series: u64,
    /// Chunks handed out.
    pub chunks: u64,
    /// Logged samples, histograms included, that were handed out.
    pub samples: u64,
    /// Logged samples that were not, because a chunk holds them.
    pub samples_in_chunks: u64,
    /// Logged samples of `wal/` that were not, because they are no newer than one before: they came out of order, and are in
    /// `wbl/` or a chunk of it as well.
    pub samples_out_of_order: u64,
    /// Logged samples, exemplars and deletions, and chunks, from before [`Options::min_valid_time`].
    pub too_old: u64,
    /// Logged entries and chunks of series whose labels the log does not tell. Upstream drops and counts them as well.
    pub unknown_series: u64,
}

/// Hands out the head in the data folder `dir` so that one walk rebuilds it: all series, then all chunks, then what the
/// log holds beyond them, then what the out-of-order log does.
///
/// Each series has one ref in everything that is handed out, from 0 without gaps in the order of [`Event::Series`]. Per
/// series, chunks in order ascend in time and logged samples ascend after them; only where a file of chunks has gone or a
/// series had several refs, one comes later than a newer one, so whoever cannot take it should count it. No sample in order
/// comes twice; one out of order may, with the same value. [`Event::MmapMarkers`] and
/// [`Event::MinValidTime`] are not handed out; [`Source::Wbl`] tells what came out of order.
///
/// # Errors
/// As [`crate::replay`]; [`io::ErrorKind::Interrupted`] soon after `go_on`, which is asked at each record and chunk, said
/// `false`.
///
/// Reads all files twice, because chunks do not say their labels and markers come after what they make obsolete; keeps in
/// memory one file, the labels, and 40 bytes or so for each ref.
pub fn restore(
    vfs: &dyn Vfs,
    dir: &Path,
    options: Options,
    go_on: &dyn Fn() -> bool,
    each: &mut dyn FnMut(Source, Event<'_>) -> io::Result<()>,
) -> io::Result<Restored> {
    let chunk_files = files::head_chunks(vfs, dir)?;
    let (wal, checkpoint) = files::wal(vfs, dir)?;
    let wbl = files::wbl(vfs, dir)?;
    let mut restorer = Restorer {
        options,
        restored: Restored::default(),
        series: Series::default(),
        in_chunks: Map::default(),
        newest: Vec::new(),
        go_on,
        each,
    };
    restorer.restored.replayed.checkpoint = checkpoint;

    let seen = restorer.survey_chunks(vfs, &chunk_files)?;
    restorer.hand_out_series(vfs, &wal)?;
    for (logged, range) in seen.ranges {
        if let Some(series_ref) = restorer.series.refs.get(&logged) {
            restorer.in_chunks.entry(*series_ref).or_default().push(range);
        }
    }
    restorer.hand_out_chunks(vfs, &chunk_files, seen.last)?;
    restorer.hand_out_log(vfs, &wal)?;
    restorer.hand_out_wbl(vfs, &wbl, seen.last)?;
    Ok(restorer.restored)
}

/// The series by labels, and which one each of upstream's refs means at this place of the log.
#[derive(Default)]
struct Series {
    by_labels: Map<Labels, SeriesRef>,
    refs: Map<SeriesRef, SeriesRef>,
}

impl Series {
    /// Takes note of a ref; the series under our own ref where its labels are new.
    fn add(&mut self, logged: LoggedSeries) -> Option<LoggedSeries> {
        let next = SeriesRef(self.by_labels.len() as u64);
        let ours = *self.by_labels.entry(logged.labels.clone()).or_insert(next);
        self.refs.insert(logged.series_ref, ours);
        (ours == next).then_some(LoggedSeries {
            series_ref: ours,
            labels: logged.labels,
        })
    }
}

/// What the head chunks cover.
struct Seen {
    /// From the first to the last sample of the chunks in order, by upstream's ref.
    ranges: Map<SeriesRef, (i64, i64)>,
    /// The last chunk that can be read.
    last: Option<ChunkRef>,
}

struct Restorer<'a> {
    options: Options,
    restored: Restored,
    series: Series,
    /// By our ref: the ranges of time whose samples lie in chunks in order. One for each of upstream's refs, hence
    /// nearly always one.
    in_chunks: Map<SeriesRef, Vec<(i64, i64)>>,
    /// By our ref: the time of the newest sample in `wal/` so far.
    newest: Vec<i64>,
    go_on: &'a dyn Fn() -> bool,
    each: &'a mut dyn FnMut(Source, Event<'_>) -> io::Result<()>,
}

impl Restorer<'_> {
    fn ask(&self) -> io::Result<()> {
        match (self.go_on)() {
            true => Ok(()),
            false => Err(io::ErrorKind::Interrupted.into()),
        }
    }

    fn is_too_old(&self, chunk: &HeadChunk<'_>) -> bool {
        !chunk.is_out_of_order && chunk.maxt < self.options.min_valid_time
    }

    fn survey_chunks(&mut self, vfs: &dyn Vfs, files: &Row) -> io::Result<Seen> {
        let mut seen = Seen {
            ranges: Map::default(),
            last: None,
        };
        let mut replayed = std::mem::take(&mut self.restored.replayed);
        read_chunks(vfs, files, &mut replayed, &mut |chunk| {
            self.ask()?;
            if !chunk.is_out_of_order && !self.is_too_old(&chunk) {
                match seen.ranges.entry(chunk.series_ref) {
                    Entry::Vacant(entry) => {
                        entry.insert((chunk.mint, chunk.maxt));
                    }
                    Entry::Occupied(mut entry) if entry.get().1 < chunk.mint => entry.get_mut().1 = chunk.maxt,
                    // Upstream gives up all head chunks here and takes everything from the log.
                    Entry::Occupied(entry) => {
                        return Ok(Err(Fault(format!(
                            "chunk {}..={} of series {} comes after one that ends at {}",
                            chunk.mint,
                            chunk.maxt,
                            chunk.series_ref.0,
                            entry.get().1
                        ))));
                    }
                }
            }
            seen.last = Some(chunk.chunk_ref);
            Ok(Ok(()))
        })?;
        self.restored.replayed = replayed;
        Ok(seen)
    }

    fn hand_out_series(&mut self, vfs: &dyn Vfs, wal: &Row) -> io::Result<()> {
        // Damage is told when the log is read as a whole.
        read_records(vfs, wal, &mut Replayed::default(), &mut |source, bytes| {
            self.ask()?;
            if bytes.first() != Some(&SERIES) {
                return Ok(Ok(()));
            }
            match Record::decode(bytes) {
                Ok(Record::Series(series)) => self.add_series(source, series).map(Ok),
                Ok(_) => Ok(Ok(())),
                Err(fault) => Ok(Err(fault)),
            }
        })
    }

    fn add_series(&mut self, source: Source, series: Vec<LoggedSeries>) -> io::Result<()> {
        let new: Vec<_> = series
            .into_iter()
            .filter_map(|logged| self.series.add(logged))
            .collect();
        self.restored.series += new.len() as u64;
        if new.is_empty() {
            Ok(())
        } else {
            (self.each)(source, Event::Series(&new))
        }
    }

    fn hand_out_chunks(&mut self, vfs: &dyn Vfs, files: &Row, last: Option<ChunkRef>) -> io::Result<()> {
        read_chunks(vfs, files, &mut Replayed::default(), &mut |mut chunk| {
            self.ask()?;
            if Some(chunk.chunk_ref) > last {
                return Ok(Ok(()));
            }
            if self.is_too_old(&chunk) {
                self.restored.too_old += 1;
                return Ok(Ok(()));
            }
            let Some(ours) = self.series.refs.get(&chunk.series_ref) else {
                self.restored.unknown_series += 1;
                return Ok(Ok(()));
            };
            chunk.series_ref = *ours;
            self.restored.chunks += 1;
            (self.each)(Source::HeadChunks, Event::HeadChunk(chunk)).map(Ok)
        })
    }

    fn hand_out_log(&mut self, vfs: &dyn Vfs, wal: &Row) -> io::Result<()> {
        // From the beginning again: a ref means the series whose record came before.
        self.series.refs.clear();
        self.newest = vec![i64::MIN; self.series.by_labels.len()];
        let mut replayed = std::mem::take(&mut self.restored.replayed);
        read_decoded(vfs, wal, &mut replayed, &mut |source, record| {
            self.ask()?;
            match record {
                Record::Series(series) => self.add_series(source, series),
                other => self.hand_out(source, other),
            }
        })?;
        self.restored.replayed = replayed;
        Ok(())
    }

    fn hand_out(&mut self, source: Source, mut record: Record) -> io::Result<()> {
        let Self {
            options: Options { min_valid_time },
            restored,
            series,
            in_chunks,
            newest,
            ..
        } = self;
        let min_valid_time = *min_valid_time;
        let resolve = |restored: &mut Restored, series_ref: &mut SeriesRef| match series.refs.get(series_ref) {
            Some(ours) => {
                *series_ref = *ours;
                true
            }
            None => {
                restored.unknown_series += 1;
                false
            }
        };
        let mut is_wanted = |restored: &mut Restored, series_ref: &mut SeriesRef, ts: i64| {
            if ts < min_valid_time {
                restored.too_old += 1;
                return false;
            }
            if !resolve(restored, series_ref) {
                return false;
            }
            if let Some(newest) = newest.get_mut(series_ref.0 as usize) {
                // No sample has the smallest time there is.
                if ts <= *newest {
                    restored.samples_out_of_order += 1;
                    return false;
                }
                *newest = ts;
            }
            let ranges = in_chunks.get(series_ref).map(Vec::as_slice).unwrap_or_default();
            if ranges.iter().any(|(mint, maxt)| (*mint..=*maxt).contains(&ts)) {
                restored.samples_in_chunks += 1;
                return false;
            }
            restored.samples += 1;
            true
        };
        match &mut record {
            Record::Samples(samples) => samples.retain_mut(|s| is_wanted(restored, &mut s.series_ref, s.ts)),
            Record::Histograms { histograms, .. } => {
                histograms.retain_mut(|h| is_wanted(restored, &mut h.series_ref, h.ts));
            }
            Record::Tombstones(tombstones) => tombstones.retain_mut(|t| {
                restored.too_old += u64::from(t.maxt < min_valid_time);
                t.maxt >= min_valid_time && resolve(restored, &mut t.series_ref)
            }),
            Record::Exemplars(exemplars) => exemplars.retain_mut(|e| {
                restored.too_old += u64::from(e.ts < min_valid_time);
                e.ts >= min_valid_time && resolve(restored, &mut e.series_ref)
            }),
            Record::Metadata(metadata) => metadata.retain_mut(|m| resolve(restored, &mut m.series_ref)),
            Record::Series(_) | Record::MmapMarkers(_) | Record::MinValidTime(_) | Record::Unknown(_) => return Ok(()),
        }
        self.emit(source, &record)
    }

    fn emit(&mut self, source: Source, record: &Record) -> io::Result<()> {
        match record.as_event() {
            None
            | Some(
                Event::Samples([])
                | Event::Histograms([])
                | Event::Tombstones([])
                | Event::Exemplars([])
                | Event::Metadata([]),
            ) => Ok(()),
            Some(event) => (self.each)(source, event),
        }
    }

    fn hand_out_wbl(&mut self, vfs: &dyn Vfs, wbl: &Row, last: Option<ChunkRef>) -> io::Result<()> {
        let marked = self.last_markers(vfs, wbl, last)?;
        let mut replayed = std::mem::take(&mut self.restored.replayed);
        let mut position = 0_u64;
        read_decoded(vfs, wbl, &mut replayed, &mut |source, mut record| {
            self.ask()?;
            position += 1;
            let Self { restored, series, .. } = &mut *self;
            let mut is_wanted = |series_ref: &mut SeriesRef| {
                let Some(ours) = series.refs.get(series_ref) else {
                    restored.unknown_series += 1;
                    return false;
                };
                *series_ref = *ours;
                let is_in_chunk = marked.get(ours).is_some_and(|marker| position < *marker);
                restored.samples_in_chunks += u64::from(is_in_chunk);
                restored.samples += u64::from(!is_in_chunk);
                !is_in_chunk
            };
            match &mut record {
                Record::Samples(samples) => samples.retain_mut(|s| is_wanted(&mut s.series_ref)),
                Record::Histograms { histograms, .. } => histograms.retain_mut(|h| is_wanted(&mut h.series_ref)),
                _ => return Ok(()),
            }
            self.emit(source, &record)
        })?;
        self.restored.replayed = replayed;
        Ok(())
    }

    /// For each series the position, counted in records from 1, of the last marker that counts.
    fn last_markers(&self, vfs: &dyn Vfs, wbl: &Row, last: Option<ChunkRef>) -> io::Result<Map<SeriesRef, u64>> {
        let mut marked = Map::default();
        let mut position = 0_u64;
        read_records(vfs, wbl, &mut Replayed::default(), &mut |_, bytes| {
            self.ask()?;
            position += 1;
            if bytes.first() != Some(&MMAP_MARKERS) {
                return Ok(Ok(()));
            }
            let markers = match Record::decode(bytes) {
                Ok(Record::MmapMarkers(markers)) => markers,
                Ok(_) => return Ok(Ok(())),
                Err(fault) => return Ok(Err(fault)),
            };
            for marker in markers {
                // A chunk that was not written before the crash: its samples are still only here.
                if marker.chunk_ref > last.unwrap_or(ChunkRef(0)) {
                    continue;
                }
                if let Some(ours) = self.series.refs.get(&marker.series_ref) {
                    marked.insert(*ours, position);
                }
            }
            Ok(Ok(()))
        })?;
        Ok(marked)
    }
}
