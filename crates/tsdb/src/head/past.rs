//! What an earlier process had, series by series: beside the head, so that replay and new samples do not wait for each
//! other.
//!
//! It grows on a thread of its own. To put the samples of a log into chunks costs about as much as to read them and to
//! find their series.

use std::io;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::JoinHandle;

use cupola_histogram::HistogramRef;
use cupola_model::is_stale_nan;
use cupola_storage::StorageError;
use hashbrown::HashMap;

use super::series::MemSeries;
use super::times::TimeColumns;
use crate::pieces::Pieces;
use crate::wal::{LoggedChunk, LoggedDeletion, LoggedHistogram, LoggedSample, LoggedStart, LoggedStarts, ToldStarts};

// So much is handed over at once, counted in samples, and so many times before the reader waits.
const BATCH: usize = 4096;
const BATCHES: usize = 16;

/// What a log tells of series; their references are those of the head.
pub(super) enum Told {
    /// Of the samples that come next, since when they count.
    Start(Vec<LoggedStart>),
    Samples(Vec<LoggedSample>),
    LateSamples(Vec<LoggedSample>),
    Histograms(Vec<LoggedHistogram>),
    LateHistograms(Vec<LoggedHistogram>),
    Chunk(LoggedChunk),
    Starts(LoggedStarts),
    Deletion(LoggedDeletion),
}

impl Told {
    // About as much work as so many samples.
    fn weight(&self) -> usize {
        match self {
            Self::Samples(samples) | Self::LateSamples(samples) => samples.len(),
            Self::Histograms(all) | Self::LateHistograms(all) => 16 * all.len(),
            Self::Chunk(_) => 32,
            Self::Start(starts) => starts.len(),
            Self::Starts(_) | Self::Deletion(_) => 1,
        }
    }
}

/// A [`Past`] in the making.
pub(super) struct Growing {
    batch: Vec<Told>,
    weight: usize,
    to: SyncSender<Vec<Told>>,
    thread: JoinHandle<Past>,
}

impl Growing {
    /// Of samples from `floor` on; earlier ones are in blocks.
    ///
    /// # Errors
    /// Where the system has no thread for it.
    pub(super) fn start(floor: i64) -> io::Result<Self> {
        let (to, from) = sync_channel(BATCHES);
        let thread = std::thread::Builder::new().name("replay-samples".to_owned());
        Ok(Self {
            batch: Vec::new(),
            weight: 0,
            to,
            thread: thread.spawn(move || Past::of(floor, &from))?,
        })
    }

    pub(super) fn tell(&mut self, told: Told) {
        self.weight += told.weight();
        self.batch.push(told);
        if self.weight >= BATCH {
            self.hand_over();
        }
    }

    fn hand_over(&mut self) {
        self.weight = 0;
        // Where nobody listens any more, `finish` says why.
        let _ = self.to.send(std::mem::take(&mut self.batch));
    }

    /// Waits until everything is in.
    ///
    /// # Panics
    /// Where the thread did.
    pub(super) fn finish(mut self) -> Past {
        self.hand_over();
        drop(self.to);
        match self.thread.join() {
            Ok(past) => past,
            Err(panic) => std::panic::resume_unwind(panic),
        }
    }
}

/// What was read of all series.
pub(super) struct Past {
    floor: i64,
    /// By slot; the head frees none until the replay is over.
    pub series: Pieces<MemSeries>,
    pub late: HashMap<u64, MemSeries, foldhash::fast::RandomState>,
    // Since when the samples of what comes next count.
    starts: ToldStarts,
    times: TimeColumns,
    /// Whether of any sample it was told since when it counts.
    pub has_starts: bool,
    /// What could not be taken in: of which series, what, and why.
    pub damage: Vec<(u64, &'static str, StorageError)>,
}

fn series_of(all: &mut Pieces<MemSeries>, id: u64) -> Option<&mut MemSeries> {
    all.get_or_make(id as u32 as usize, MemSeries::unlabelled)
}

impl Past {
    fn of(floor: i64, from: &Receiver<Vec<Told>>) -> Self {
        let mut past = Self {
            floor,
            series: Pieces::default(),
            late: HashMap::default(),
            starts: ToldStarts::default(),
            times: TimeColumns::default(),
            has_starts: false,
            damage: Vec::new(),
        };
        while let Ok(batch) = from.recv() {
            batch.into_iter().for_each(|told| past.take_in(told));
        }
        past
    }

    fn take_in(&mut self, told: Told) {
        let is_start = matches!(told, Told::Start(_));
        match told {
            Told::Start(starts) => {
                self.has_starts = true;
                let starts = starts.into_iter();
                self.starts = starts.map(|told| ((told.series, told.ts), told.start)).collect();
            }
            Told::Samples(samples) => samples.iter().for_each(|sample| self.sample(sample)),
            Told::LateSamples(samples) => samples.iter().for_each(|sample| self.late(sample)),
            Told::Histograms(histograms) => histograms.iter().for_each(|logged| self.histogram(logged)),
            Told::LateHistograms(histograms) => histograms.iter().for_each(|logged| self.late_histogram(logged)),
            Told::Chunk(chunk) => self.chunk(&chunk),
            Told::Starts(LoggedStarts {
                series,
                is_late,
                starts,
            }) => {
                self.has_starts = true;
                match is_late {
                    true => self.late.get_mut(&series),
                    false => series_of(&mut self.series, series),
                }
                .into_iter()
                .for_each(|series| series.restore_starts(starts.clone()));
            }
            Told::Deletion(deletion) => {
                for series in &deletion.series {
                    self.delete(*series, deletion.mint, deletion.maxt);
                }
            }
        }
        if !is_start {
            self.starts.clear();
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

    // Whether it follows what there is of its series, and so was taken.
    fn follows(&mut self, sample: &LoggedSample, start: Option<i64>) -> bool {
        let Some(series) = series_of(&mut self.series, sample.series).filter(|_| sample.ts >= self.floor) else {
            return false;
        };
        let follows = series.check(sample.ts, sample.value) == Ok(true);
        if follows {
            series.push(sample.ts, sample.value);
            series.share_times(&mut self.times);
            if let Some(start) = start {
                series.note_start(sample.ts, start);
            }
        }
        follows
    }

    fn histogram_follows(&mut self, logged: &LoggedHistogram, start: Option<i64>) -> bool {
        let Some(series) = series_of(&mut self.series, logged.series).filter(|_| logged.ts >= self.floor) else {
            return false;
        };
        let histogram = HistogramRef::from(&logged.value);
        let follows = series.check_histogram(logged.ts, histogram) == Ok(true);
        if follows {
            series.push_histogram(logged.ts, histogram);
            if let Some(start) = start {
                series.note_start(logged.ts, start);
            }
        }
        follows
    }

    // What is out of order here is in the checkpoint already, or was taken as a late sample and logged as such, or not
    // taken.
    fn sample(&mut self, sample: &LoggedSample) {
        let start = self.start_of(sample.series, sample.ts, || is_stale_nan(sample.value));
        self.follows(sample, start);
    }

    fn histogram(&mut self, logged: &LoggedHistogram) {
        let start = self.start_of(logged.series, logged.ts, || {
            HistogramRef::from(&logged.value).is_stale()
        });
        if super::histograms::check(&logged.value).is_ok() {
            self.histogram_follows(logged, start);
        }
    }

    fn late(&mut self, sample: &LoggedSample) {
        let start = self.start_of(sample.series, sample.ts, || is_stale_nan(sample.value));
        // What came during an earlier replay is logged as late, because nobody knew whether it was.
        if self.follows(sample, start) {
            return;
        }
        let late = self.late.entry(sample.series).or_insert_with(MemSeries::unlabelled);
        let inserted = late.insert(sample.ts, sample.value);
        let outcome = inserted.and_then(|is_new| match is_new {
            true => late.set_start(sample.ts, start.unwrap_or(0)),
            false => Ok(()),
        });
        self.note("sample out of order", sample.series, outcome);
    }

    fn late_histogram(&mut self, logged: &LoggedHistogram) {
        if super::histograms::check(&logged.value).is_err() {
            return;
        }
        let start = self.start_of(logged.series, logged.ts, || {
            HistogramRef::from(&logged.value).is_stale()
        });
        if self.histogram_follows(logged, start) {
            return;
        }
        let late = self.late.entry(logged.series).or_insert_with(MemSeries::unlabelled);
        let inserted = late.insert_histogram(logged.ts, &logged.value);
        let outcome = inserted.and_then(|is_new| match is_new {
            true => late.set_start(logged.ts, start.unwrap_or(0)),
            false => Ok(()),
        });
        self.note("histogram out of order", logged.series, outcome);
    }

    fn chunk(&mut self, chunk: &LoggedChunk) {
        let outcome = if chunk.is_late {
            let late = self.late.entry(chunk.series).or_insert_with(MemSeries::unlabelled);
            late.add(chunk)
        } else if let Some(series) = series_of(&mut self.series, chunk.series).filter(|_| chunk.maxt >= self.floor) {
            let restored = series.restore(chunk);
            restored.map(|()| series.share_times(&mut self.times))
        } else {
            Ok(())
        };
        self.note("checkpoint", chunk.series, outcome);
    }

    fn delete(&mut self, id: u64, mint: i64, maxt: i64) {
        let Some(series) = series_of(&mut self.series, id) else {
            return;
        };
        let mut deleted = series.delete(mint, maxt);
        if let Some(late) = self.late.get_mut(&id) {
            deleted = deleted.and(late.delete(mint, maxt));
        }
        self.note("deletion", id, deleted.map(drop));
    }

    fn note(&mut self, what: &'static str, series: u64, outcome: Result<(), StorageError>) {
        if let Err(error) = outcome {
            self.damage.push((series, what, error));
        }
    }
}
