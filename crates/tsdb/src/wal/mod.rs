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
mod histograms;
mod table;

use std::collections::BTreeSet;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use cupola_env::{Vfs, VfsFile};
use cupola_model::Labels;
use tracing::warn;

pub(crate) use backlog::Backlog;
use codec::Codec;
pub(crate) use codec::{Entry, LoggedChunk, LoggedDeletion, LoggedExemplar, LoggedHistogram, LoggedSample, Packing};
pub(crate) use histograms::{MAX_EMPTY_SPANS, empty_spans};
pub(crate) use table::SeriesTable;

// A new segment begins once the current one is this long.
const SEGMENT_BYTES: u64 = 32 << 20;
const CHECKPOINT: &str = "checkpoint-";

/// A part of a batch; the parts count in their order.
#[derive(Clone, Copy)]
pub(crate) enum Part<'a> {
    Samples(&'a [LoggedSample]),
    /// Those that came out of order.
    Late(&'a [LoggedSample]),
    Histograms(&'a [LoggedHistogram]),
    Exemplars(&'a [LoggedExemplar]),
}

pub(crate) struct Wal {
    vfs: Arc<dyn Vfs>,
    dir: PathBuf,
    codec: Codec,
    number: u64,
    file: Option<Box<dyn VfsFile>>,
    len: u64,
    dirty: bool,
    record: Vec<u8>,
    framed: Vec<u8>,
    frames: frame::Writer,
    bytes_written: u64,
    // Files of which something could not be read.
    damaged: BTreeSet<String>,
}

impl Wal {
    /// Opens the log in `dir` for writing behind what is there, and gives that for reading.
    ///
    /// # Errors
    /// Where the folder cannot be made or listed.
    pub(crate) fn open(vfs: Arc<dyn Vfs>, dir: &Path) -> io::Result<(Self, Backlog)> {
        vfs.create_dir_all(dir)?;
        let backlog = Backlog::list(vfs.clone(), dir)?;
        let wal = Self {
            vfs,
            dir: dir.to_path_buf(),
            codec: Codec::default(),
            number: backlog.next(),
            file: None,
            len: 0,
            dirty: false,
            record: Vec::new(),
            framed: Vec::new(),
            frames: frame::Writer::default(),
            bytes_written: 0,
            damaged: BTreeSet::new(),
        };
        Ok((wal, backlog))
    }

    /// Appends one batch as one frame: samples in order and, in `late`, out of order.
    ///
    /// # Errors
    /// Where the file cannot be written. The torn frame is cut off again where the system lets us; in any case the next
    /// batch starts a new segment, so nothing after it can be lost behind the damage.
    pub(crate) fn append(&mut self, series: &[(u64, Labels)], parts: &[Part<'_>]) -> io::Result<()> {
        self.begin(series)?;
        for part in parts {
            match part {
                Part::Samples(samples) => self.codec.encode_samples(&mut self.record, samples),
                Part::Late(samples) => self.codec.encode_late_samples(&mut self.record, samples),
                Part::Histograms(histograms) => self.codec.encode_histograms(&mut self.record, histograms),
                Part::Exemplars(exemplars) => Codec::encode_exemplars(&mut self.record, exemplars),
            }
        }
        self.write()
    }

    /// Appends a deletion, with the labels of those of its series that the log does not know.
    ///
    /// # Errors
    /// As [`Wal::append`].
    pub(crate) fn delete(&mut self, series: &[(u64, Labels)], deletion: &LoggedDeletion) -> io::Result<()> {
        self.begin(series)?;
        Codec::encode_deletion(&mut self.record, deletion);
        self.write()
    }

    fn begin(&mut self, series: &[(u64, Labels)]) -> io::Result<()> {
        if self.file.is_none() || self.len >= SEGMENT_BYTES {
            self.next_segment()?;
        }
        self.record.clear();
        self.codec
            .encode_series(&mut self.record, series.iter().map(|(id, labels)| (*id, labels)));
        Ok(())
    }

    fn write(&mut self) -> io::Result<()> {
        self.framed.clear();
        self.frames.put(&mut self.framed, &self.record);
        let Some(file) = self.file.as_mut() else {
            return Err(io::ErrorKind::NotFound.into());
        };
        if let Err(error) = file.append(&self.framed) {
            if let Err(second) = file.truncate(self.len) {
                warn!(segment = self.number, error = %second, "cannot take back a torn log record");
            }
            // The segment is left; what is in it was acknowledged, and is not to wait for the system's own time.
            if let Err(second) = file.sync() {
                warn!(segment = self.number, error = %second, "cannot sync a log segment that could not be written");
            }
            self.file = None;
            self.dirty = false;
            return Err(error);
        }
        self.len += self.framed.len() as u64;
        self.bytes_written += self.framed.len() as u64;
        self.dirty = true;
        Ok(())
    }

    fn next_segment(&mut self) -> io::Result<()> {
        if let Some(mut old) = self.file.take() {
            old.sync()?;
        }
        // A number is taken once it holds bytes; a failed attempt may use it again.
        let path = self.dir.join(format!("{:08}", self.number));
        if self.vfs.len(&path).is_ok_and(|len| len > 0) {
            self.number += 1;
        }
        let path = self.dir.join(format!("{:08}", self.number));
        self.file = Some(self.vfs.open_append(&path)?);
        self.len = 0;
        self.codec.reset();
        Ok(())
    }

    /// Waits until everything appended is on the device. Does nothing where nothing is new.
    ///
    /// # Errors
    /// What the system says.
    pub(crate) fn sync(&mut self) -> io::Result<()> {
        if let (true, Some(file)) = (self.dirty, self.file.as_mut()) {
            file.sync()?;
        }
        self.dirty = false;
        Ok(())
    }

    // Ends the current segment. What is logged from now on lies in the segment of the number returned, and after it. The
    // log goes on in the old segment or a new one where it fails, and nothing is lost.
    fn rotate(&mut self) -> io::Result<u64> {
        self.sync()?;
        self.file = None;
        let path = self.dir.join(format!("{:08}", self.number));
        if self.vfs.len(&path).is_ok_and(|len| len > 0) {
            self.number += 1;
        }
        Ok(self.number)
    }

    /// The segment being written.
    pub(crate) fn segment(&self) -> u64 {
        self.number
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
        let number = self.rotate()?;
        Checkpoint::begin(self.vfs.clone(), self.dir.clone(), number, self.damaged.clone())
    }
}

/// Writes a checkpoint that stands for all segments before `number`, then removes those.
pub(crate) struct Checkpoint {
    vfs: Arc<dyn Vfs>,
    dir: PathBuf,
    number: u64,
    damaged: BTreeSet<String>,
    file: Box<dyn VfsFile>,
    codec: Codec,
    record: Vec<u8>,
    frames: frame::Writer,
}

impl Checkpoint {
    fn begin(vfs: Arc<dyn Vfs>, dir: PathBuf, number: u64, damaged: BTreeSet<String>) -> io::Result<Self> {
        let tmp = dir.join("checkpoint.tmp");
        if vfs.len(&tmp).is_ok() {
            vfs.remove_file(&tmp)?;
        }
        let file = vfs.open_append(&tmp)?;
        Ok(Self {
            vfs,
            dir,
            number,
            damaged,
            file,
            codec: Codec::default(),
            record: Vec::new(),
            frames: frame::Writer::default(),
        })
    }

    /// Adds one series and its chunks.
    ///
    /// # Errors
    /// What the system says; the checkpoint must then be dropped.
    pub(crate) fn add(&mut self, id: u64, labels: &Labels, chunks: &[LoggedChunk]) -> io::Result<()> {
        self.codec.encode_series(&mut self.record, [(id, labels)].into_iter());
        for chunk in chunks {
            Codec::encode_chunk(&mut self.record, chunk);
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

    fn flush(&mut self) -> io::Result<()> {
        let mut framed = Vec::new();
        self.frames.put(&mut framed, &self.record);
        self.record.clear();
        self.file.append(&framed)
    }

    /// Makes the checkpoint valid and removes what it stands for. What was damaged is kept under another name, which
    /// nothing reads.
    ///
    /// # Errors
    /// What the system says; whatever was valid before still is.
    pub(crate) fn finish(mut self) -> io::Result<()> {
        self.flush()?;
        self.file.sync()?;
        let name = format!("{CHECKPOINT}{:08}", self.number);
        self.vfs
            .rename(&self.dir.join("checkpoint.tmp"), &self.dir.join(&name))?;
        for old in self.vfs.list(&self.dir)? {
            let segment = old.parse::<u64>().is_ok_and(|n| n < self.number);
            let checkpoint = old.starts_with(CHECKPOINT) && old < name;
            if !segment && !checkpoint {
                continue;
            }
            let path = self.dir.join(&old);
            if self.damaged.contains(&old) {
                self.vfs.rename(&path, &self.dir.join(format!("damaged-{old}")))?;
            } else {
                self.vfs.remove_file(&path)?;
            }
        }
        Ok(())
    }
}
