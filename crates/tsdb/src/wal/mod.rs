//! The write-ahead log: every acknowledged batch is here before readers see it.
//!
//! A folder of numbered segments and at most one checkpoint, which stands for all segments before its number.
//! A batch is one frame and one `write`; after `kill -9` it is in the kernel's page cache and so in the file.
//! `sync` asks for `fdatasync`; the caller does so at most a second apart, which bounds what a power cut may cost.
//!
//! Nothing is ever cut off to "repair" a log: a damaged segment is read up to the damage and left as it is, and writing
//! goes on in a new segment.

mod backlog;
mod codec;
mod frame;
mod held;
mod histograms;
mod table;
mod tail;
#[cfg(test)]
mod tests;

use std::collections::BTreeSet;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use cupola_env::{Vfs, VfsFile};
use cupola_metrics::{Counter, Summary};
use cupola_model::Labels;
use cupola_storage::{LogPosition, Metadata};
use tracing::{debug, warn};

pub(crate) use backlog::Backlog;
use codec::Codec;
pub(crate) use codec::{
    Entry, LoggedChunk, LoggedDeletion, LoggedExemplar, LoggedHistogram, LoggedSample, LoggedStart, LoggedStarts,
    Packing, ToldStarts,
};
pub(crate) use held::{Held, Released, release, replayed_bytes};
pub(crate) use histograms::{MAX_EMPTY_SPANS, empty_spans};
pub(crate) use table::SeriesTable;
pub(crate) use tail::{LogFolder, Tail};

// A new segment begins once the current one is this long.
const SEGMENT_BYTES: u64 = 32 << 20;
const CHECKPOINT: &str = "checkpoint-";
const UNFINISHED: &str = "checkpoint.tmp";
// There while a failed sync is not made up for: the next process cannot find that out from the files.
const IN_DOUBT: &str = "in-doubt";

/// A part of a batch; the parts count in their order.
#[derive(Clone, Copy)]
pub(crate) enum Part<'a> {
    Samples(&'a [LoggedSample]),
    /// Those that came out of order.
    Late(&'a [LoggedSample]),
    Histograms(&'a [LoggedHistogram]),
    LateHistograms(&'a [LoggedHistogram]),
    Exemplars(&'a [LoggedExemplar]),
    Metadata(&'a [(String, Metadata)]),
}

pub(crate) struct Wal {
    vfs: Arc<dyn Vfs>,
    dir: PathBuf,
    codec: Codec,
    number: u64,
    // A number before it of which there is no segment.
    skipped: Option<u64>,
    file: Option<Box<dyn VfsFile>>,
    len: u64,
    // Segments of an earlier process, which may have been killed before it synced them.
    inherited: Vec<PathBuf>,
    // Segments that are left and hold bytes that were not synced, oldest first.
    unsynced: Vec<Box<dyn VfsFile>>,
    // Whether the current segment holds bytes that were not synced.
    dirty: bool,
    // Whether the folder has names that were not synced.
    has_new_names: bool,
    // How many syncs failed, and how many of them a checkpoint has made up for.
    failed_syncs: u64,
    failed: Counter,
    sync_seconds: Summary,
    lost_labels: bool,
    made_up_for: u64,
    record: Vec<u8>,
    framed: Vec<u8>,
    frames: frame::Writer,
    bytes_written: u64,
    // Files of which something could not be read.
    damaged: BTreeSet<String>,
}

impl Wal {
    /// Opens the log in `dir` for writing behind what is there, and gives that for reading. `failed` counts syncs that
    /// fail, `sync_seconds` tells how long they take.
    ///
    /// # Errors
    /// Where the folder cannot be made or listed.
    pub(crate) fn open(
        vfs: Arc<dyn Vfs>,
        dir: &Path,
        failed: Counter,
        sync_seconds: Summary,
    ) -> io::Result<(Self, Backlog)> {
        vfs.create_dir_all(dir)?;
        let backlog = Backlog::list(vfs.clone(), dir)?;
        let mut wal = Self {
            vfs,
            dir: dir.to_path_buf(),
            codec: Codec::default(),
            number: backlog.next(),
            skipped: backlog.skipped(),
            file: None,
            len: 0,
            inherited: Vec::new(),
            unsynced: Vec::new(),
            dirty: false,
            has_new_names: true,
            failed_syncs: 0,
            failed,
            sync_seconds,
            lost_labels: false,
            made_up_for: 0,
            record: Vec::new(),
            framed: Vec::new(),
            frames: frame::Writer::default(),
            bytes_written: 0,
            damaged: BTreeSet::new(),
        };
        if wal.vfs.len(&wal.dir.join(IN_DOUBT)).is_ok() {
            wal.failed_syncs = 1;
        }
        let files = backlog.files().map(|name| wal.dir.join(name));
        // An empty one has nothing to lose.
        let is_empty = |path: &PathBuf| wal.vfs.len(path).is_ok_and(|len| len == 0);
        wal.inherited = files.filter(|path| !is_empty(path)).collect();
        Ok((wal, backlog))
    }

    /// Appends one batch as one frame, with what is told of since when its samples count.
    ///
    /// # Errors
    /// Where the file cannot be written. The torn frame is cut off again where the system lets us; in any case the next
    /// batch starts a new segment, so nothing after it can be lost behind the damage.
    pub(crate) fn append(
        &mut self,
        series: &[(u64, Labels)],
        parts: &[Part<'_>],
        starts: &ToldStarts,
    ) -> io::Result<()> {
        self.begin(series);
        self.codec.encode_starts(&mut self.record, parts, starts);
        for part in parts {
            match part {
                Part::Samples(samples) => self.codec.encode_samples(&mut self.record, samples),
                Part::Late(samples) => self.codec.encode_late_samples(&mut self.record, samples),
                Part::Histograms(histograms) => self.codec.encode_histograms(&mut self.record, histograms),
                Part::LateHistograms(late) => self.codec.encode_late_histograms(&mut self.record, late),
                Part::Exemplars(exemplars) => Codec::encode_exemplars(&mut self.record, exemplars),
                Part::Metadata(all) => Codec::encode_metadata(&mut self.record, all),
            }
        }
        self.write()
    }

    /// Appends a deletion, with the labels of those of its series that the log does not know.
    ///
    /// # Errors
    /// As [`Wal::append`].
    pub(crate) fn delete(&mut self, series: &[(u64, Labels)], deletion: &LoggedDeletion) -> io::Result<()> {
        self.begin(series);
        Codec::encode_deletion(&mut self.record, deletion);
        self.write()
    }

    /// Gets ready for a batch. Whether the log may have lost labels since it was asked last: then no series counts as
    /// logged, or a batch could come back from a damaged log without some of its series.
    ///
    /// # Errors
    /// Where a new segment is needed and cannot be made.
    pub(crate) fn ready(&mut self) -> io::Result<bool> {
        if self.file.is_none() || self.len >= SEGMENT_BYTES {
            self.next_segment()?;
        }
        Ok(std::mem::take(&mut self.lost_labels))
    }

    fn begin(&mut self, series: &[(u64, Labels)]) {
        self.record.clear();
        self.codec
            .encode_series(&mut self.record, series.iter().map(|(id, labels)| (*id, labels)));
    }

    fn write(&mut self) -> io::Result<()> {
        frame::give_back(&mut self.framed);
        let framed = self.frames.put(&mut self.framed, &self.record);
        frame::give_back(&mut self.record);
        if framed.is_err() {
            // What follows in a segment is told by differences to what was encoded, and this is not in it.
            self.leave_segment();
            return framed;
        }
        let Some(file) = self.file.as_mut() else {
            return Err(io::ErrorKind::NotFound.into());
        };
        if let Err(error) = file.append(&self.framed) {
            if let Err(second) = file.truncate(self.len) {
                warn!(segment = self.number, error = %second, "cannot take back a torn log record");
            }
            // What is in the segment was acknowledged; it is synced with the others.
            self.leave_segment();
            return Err(error);
        }
        self.len += self.framed.len() as u64;
        self.bytes_written += self.framed.len() as u64;
        self.dirty = true;
        Ok(())
    }

    fn next_segment(&mut self) -> io::Result<()> {
        // What is in the segments before must not be missing where the new one is there. Where they cannot be synced it is
        // in doubt anyway, until the next checkpoint.
        self.leave_segment();
        if let Err(error) = self.sync() {
            warn!(segment = self.number, %error, "cannot sync a segment of the write-ahead log before the next one");
        }
        self.fill_skipped()?;
        // A number is taken once it holds bytes; a failed attempt may use it again.
        let path = self.dir.join(format!("{:08}", self.number));
        if self.vfs.len(&path).is_ok_and(|len| len > 0) {
            self.number += 1;
        }
        let path = self.dir.join(format!("{:08}", self.number));
        self.file = Some(self.vfs.open_append(&path)?);
        self.has_new_names = true;
        self.len = 0;
        self.codec.reset();
        Ok(())
    }

    // Whoever reads takes a hole in the numbers for a segment that was lost.
    fn fill_skipped(&mut self) -> io::Result<()> {
        if let Some(skipped) = self.skipped {
            self.vfs.open_append(&self.dir.join(format!("{skipped:08}")))?;
            self.skipped = None;
        }
        Ok(())
    }

    // What is logged next begins a segment.
    fn leave_segment(&mut self) {
        let left = self.file.take();
        if std::mem::take(&mut self.dirty) {
            self.unsynced.extend(left);
        }
    }

    /// Waits until everything appended is on the device. Does nothing where nothing is new.
    ///
    /// # Errors
    /// What the system says. What could not be synced is not tried again, since the system may take it for written
    /// from then on: see [`Wal::is_in_doubt`].
    pub(crate) fn sync(&mut self) -> io::Result<()> {
        if !self.dirty && self.unsynced.is_empty() && self.inherited.is_empty() {
            return Ok(());
        }
        let begin = Instant::now();
        let mut outcome = self.sync_inherited();
        for mut left in std::mem::take(&mut self.unsynced) {
            outcome = outcome.and(left.sync());
        }
        if let (true, Some(file)) = (self.dirty, self.file.as_mut()) {
            let synced = file.sync();
            if synced.is_err() {
                self.file = None;
            }
            outcome = outcome.and(synced);
        }
        self.dirty = false;
        if self.has_new_names {
            let synced = self.vfs.sync_dir(&self.dir);
            self.has_new_names = synced.is_err();
            outcome = outcome.and(synced);
        }
        self.sync_seconds.observe(begin.elapsed().as_secs_f64());
        if outcome.is_err() {
            self.sync_failed();
        }
        outcome
    }

    fn sync_failed(&mut self) {
        self.failed_syncs += 1;
        self.failed.inc();
        self.lost_labels = true;
        if let Err(error) = self.vfs.open_append(&self.dir.join(IN_DOUBT)) {
            warn!(%error, "cannot note that the write-ahead log is in doubt");
        }
    }

    fn sync_inherited(&mut self) -> io::Result<()> {
        while let Some(path) = self.inherited.first() {
            match self.vfs.open_append(path) {
                Ok(mut file) => {
                    self.inherited.remove(0);
                    file.sync()?;
                }
                // Nothing is logged either until that is over.
                Err(error) if error.kind() == io::ErrorKind::ReadOnlyFilesystem => return Ok(()),
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Whether a sync failed, so that what was logged before it may be missing after a power cut. A checkpoint, which
    /// holds all of it, makes up for that.
    pub(crate) fn is_in_doubt(&self) -> bool {
        self.failed_syncs > self.made_up_for || !self.inherited.is_empty()
    }

    /// To be told once a checkpoint is in place that was begun when so many syncs had failed.
    pub(crate) fn made_up_for(&mut self, failed_syncs: u64) {
        self.made_up_for = self.made_up_for.max(failed_syncs);
        self.inherited.clear();
        let note = self.dir.join(IN_DOUBT);
        if !self.is_in_doubt()
            && self.vfs.len(&note).is_ok()
            && let Err(error) = self.vfs.remove_file(&note)
        {
            warn!(%error, "cannot remove the note that the write-ahead log is in doubt; a checkpoint is written once more");
        }
    }

    // Ends the current segment. What is logged from now on lies in the segment of the number returned, and after it. The
    // log goes on in the old segment or a new one where it fails, and nothing is lost.
    fn rotate(&mut self) -> u64 {
        self.leave_segment();
        if let Err(error) = self.fill_skipped() {
            // The checkpoint that is made now has the same to say of the disk.
            debug!(%error, "cannot make an empty segment");
        }
        let path = self.dir.join(format!("{:08}", self.number));
        if self.vfs.len(&path).is_ok_and(|len| len > 0) {
            self.number += 1;
        }
        self.number
    }

    /// The segment being written.
    pub(crate) fn segment(&self) -> u64 {
        self.number
    }

    /// Where the next batch lies at the earliest.
    pub(crate) fn end(&self) -> LogPosition {
        let offset = if self.file.is_some() { self.len } else { 0 };
        LogPosition {
            segment: self.number,
            offset,
        }
    }

    /// Bytes appended since the log was opened.
    pub(crate) fn bytes_written(&self) -> u64 {
        self.bytes_written
    }

    /// Notes that something of this file could not be read: no checkpoint removes it.
    pub(crate) fn keep(&mut self, damaged: String) {
        self.damaged.insert(damaged);
    }

    /// Begins a checkpoint that stands for everything logged so far. It is made without holding the log.
    ///
    /// # Errors
    /// What the system says.
    pub(crate) fn checkpoint(&mut self) -> io::Result<Checkpoint> {
        let number = self.rotate();
        let mut checkpoint = Checkpoint::begin(self.vfs.clone(), self.dir.clone(), number, self.damaged.clone())?;
        checkpoint.failed_syncs = self.failed_syncs;
        Ok(checkpoint)
    }
}

/// Writes a checkpoint that stands for all segments before `number`, then removes those.
pub(crate) struct Checkpoint {
    vfs: Arc<dyn Vfs>,
    dir: PathBuf,
    number: u64,
    /// How many syncs of the log had failed when it was begun.
    pub failed_syncs: u64,
    damaged: BTreeSet<String>,
    is_in_place: bool,
    file: Box<dyn VfsFile>,
    codec: Codec,
    record: Vec<u8>,
    frames: frame::Writer,
}

impl Checkpoint {
    fn begin(vfs: Arc<dyn Vfs>, dir: PathBuf, number: u64, damaged: BTreeSet<String>) -> io::Result<Self> {
        let tmp = dir.join(UNFINISHED);
        if vfs.len(&tmp).is_ok() {
            vfs.remove_file(&tmp)?;
        }
        let file = vfs.open_append(&tmp)?;
        Ok(Self {
            vfs,
            dir,
            number,
            failed_syncs: 0,
            damaged,
            is_in_place: false,
            file,
            codec: Codec::default(),
            record: Vec::new(),
            frames: frame::Writer::default(),
        })
    }

    /// Adds one series, its chunks, and since when their samples count.
    ///
    /// # Errors
    /// What the system says; the checkpoint must then be dropped.
    pub(crate) fn add(
        &mut self,
        id: u64,
        labels: &Labels,
        chunks: &[LoggedChunk],
        starts: &[LoggedStarts],
    ) -> io::Result<()> {
        self.codec.encode_series(&mut self.record, [(id, labels)].into_iter());
        for chunk in chunks {
            Codec::encode_chunk(&mut self.record, chunk);
        }
        for starts in starts {
            Codec::encode_steps(&mut self.record, starts);
        }
        if self.record.len() >= 1 << 18 {
            self.flush()
        } else {
            Ok(())
        }
    }

    /// Adds exemplars of series that were added before.
    ///
    /// # Errors
    /// As [`Checkpoint::add`].
    pub(crate) fn add_exemplars(&mut self, exemplars: &[LoggedExemplar]) -> io::Result<()> {
        for some in exemplars.chunks(1024) {
            Codec::encode_exemplars(&mut self.record, some);
            self.flush()?;
        }
        Ok(())
    }

    /// Adds what is said of metric families.
    ///
    /// # Errors
    /// As [`Checkpoint::add`].
    pub(crate) fn add_metadata(&mut self, all: &[(String, Metadata)]) -> io::Result<()> {
        // By length, too: nobody bounds a help text.
        let mut length = 0;
        let fits = |_: &_, next: &(String, Metadata)| {
            let (metric, metadata) = next;
            length += metric.len() + metadata.help.len() + metadata.unit.len();
            let fits = length < 1 << 18;
            if !fits {
                length = 0;
            }
            fits
        };
        for some in all.chunk_by(fits) {
            Codec::encode_metadata(&mut self.record, some);
            self.flush()?;
        }
        Ok(())
    }

    fn flush(&mut self) -> io::Result<()> {
        let mut framed = Vec::new();
        let outcome = self.frames.put(&mut framed, &self.record);
        frame::give_back(&mut self.record);
        outcome?;
        self.file.append(&framed)
    }

    /// Makes the checkpoint valid and removes what it stands for, but for what is held. What was damaged is kept under
    /// another name, which nothing reads.
    ///
    /// # Errors
    /// What the system says; whatever was valid before still is.
    pub(crate) fn finish(mut self, held: &Held) -> io::Result<Released> {
        self.flush()?;
        self.file.sync()?;
        let name = format!("{CHECKPOINT}{:08}", self.number);
        self.vfs.rename(&self.dir.join(UNFINISHED), &self.dir.join(&name))?;
        self.is_in_place = true;
        for old in &self.damaged {
            let path = self.dir.join(old);
            if held::is_before(old, self.number) && self.vfs.len(&path).is_ok() {
                self.vfs.rename(&path, &self.dir.join(format!("damaged-{old}")))?;
            }
        }
        release(&*self.vfs, &self.dir, held)
    }
}

impl Drop for Checkpoint {
    fn drop(&mut self) {
        if !self.is_in_place {
            // Where the disk is full samples need its room. What cannot be removed the next attempt begins with.
            let _ = self.vfs.remove_file(&self.dir.join(UNFINISHED));
        }
    }
}
