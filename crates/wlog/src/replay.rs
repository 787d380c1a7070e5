//! All that a data folder's log and head chunks say, as it stands there.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use cupola_env::Vfs;

use crate::bytes::Told;
use crate::files::{self, Row, at};
use crate::frame::{Broken, Records};
use crate::head_chunks::{self, HeadChunk};
use crate::record::{Event, Record, Source};

/// What could not be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Damage {
    /// The file.
    pub file: PathBuf,
    /// Where in it.
    pub byte: u64,
    /// What is wrong.
    pub reason: String,
    /// How many bytes of this log, or of the head chunks, were not read: from the damaged record to the end of the file, and
    /// the files after it.
    pub unread_bytes: u64,
}

impl fmt::Display for Damage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            file,
            byte,
            reason,
            unread_bytes,
        } = self;
        write!(f, "{}: {reason} at byte {byte}; ", file.display())?;
        write!(f, "{unread_bytes} bytes from there on are not read")
    }
}

/// What was read.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Replayed {
    /// Files of head chunks.
    pub head_chunk_files: u64,
    /// Chunks in them.
    pub head_chunks: u64,
    /// Chunks of an encoding that is not known; they are skipped, as upstream does.
    pub unknown_chunks: u64,
    /// The number of the checkpoint that was read.
    pub checkpoint: Option<u64>,
    /// Segments of the log, those of the checkpoint included.
    pub segments: u64,
    /// Segments of the out-of-order log.
    pub wbl_segments: u64,
    /// Records in all of them.
    pub records: u64,
    /// Records of a kind that is not known; they are skipped, as upstream does.
    pub unknown_records: u64,
    /// Histograms of a schema that is not known; they are skipped.
    pub unknown_histograms: u64,
    /// At most one of the head chunks, one of the log and one of the out-of-order log.
    pub damage: Vec<Damage>,
}

/// Hands out everything in the data folder `dir`: the head chunks, then the checkpoint and the log, then the out-of-order
/// log, each from the oldest to the newest. Refs are as they were written. [`crate::restore`] makes sense of them.
///
/// # Errors
/// Where a file or folder cannot be read, with its name, and whatever `each` returns. A folder that is not there is empty.
/// Damage inside a file is no error: see [`Replayed::damage`].
///
/// Reads each file once and whole: upstream's are of 128 MiB at most.
pub fn replay(
    vfs: &dyn Vfs,
    dir: &Path,
    each: &mut dyn FnMut(Source, Event<'_>) -> io::Result<()>,
) -> io::Result<Replayed> {
    let mut replayed = Replayed::default();
    let chunks = files::head_chunks(vfs, dir)?;
    read_chunks(vfs, &chunks, &mut replayed, &mut |chunk| {
        each(Source::HeadChunks, Event::HeadChunk(chunk)).map(Ok)
    })?;
    let (wal, checkpoint) = files::wal(vfs, dir)?;
    replayed.checkpoint = checkpoint;
    for log in [wal, files::wbl(vfs, dir)?] {
        read_decoded(vfs, &log, &mut replayed, &mut |source, record| {
            record.as_event().map_or(Ok(()), |event| each(source, event))
        })?;
    }
    Ok(replayed)
}

/// Reads the files of head chunks, up to the first damage. A fault that `each` finds counts as one.
pub(crate) fn read_chunks(
    vfs: &dyn Vfs,
    row: &Row,
    replayed: &mut Replayed,
    each: &mut dyn FnMut(HeadChunk<'_>) -> Told<io::Error>,
) -> io::Result<()> {
    each_file(vfs, row, replayed, &mut |replayed, file, bytes| {
        replayed.head_chunk_files += 1;
        let read = head_chunks::read(bytes, file.number, &mut |chunk| {
            let told = each(chunk)?;
            replayed.head_chunks += u64::from(told.is_ok());
            io::Result::Ok(told)
        })?;
        Ok(read.map(|unknown| replayed.unknown_chunks += unknown))
    })
}

/// Reads a log record by record, up to the first damage, and decodes them.
pub(crate) fn read_decoded(
    vfs: &dyn Vfs,
    row: &Row,
    replayed: &mut Replayed,
    each: &mut dyn FnMut(Source, Record) -> io::Result<()>,
) -> io::Result<()> {
    let (mut unknown_records, mut unknown_histograms) = (0, 0);
    read_records(vfs, row, replayed, &mut |source, bytes| {
        let record = match Record::decode(bytes) {
            Ok(record) => record,
            Err(fault) => return Ok(Err(fault)),
        };
        match &record {
            Record::Unknown(_) => unknown_records += 1,
            Record::Histograms { unknown_schemas, .. } => unknown_histograms += unknown_schemas,
            _ => (),
        }
        each(source, record).map(Ok)
    })?;
    replayed.unknown_records += unknown_records;
    replayed.unknown_histograms += unknown_histograms;
    Ok(())
}

/// Reads a log record by record, up to the first damage. A fault that `each` finds counts as one.
pub(crate) fn read_records(
    vfs: &dyn Vfs,
    row: &Row,
    replayed: &mut Replayed,
    each: &mut dyn FnMut(Source, &[u8]) -> Told<io::Error>,
) -> io::Result<()> {
    let mut records = Records::new();
    each_file(vfs, row, replayed, &mut |replayed, file, bytes| {
        match file.source {
            Source::Wbl => replayed.wbl_segments += 1,
            _ => replayed.segments += 1,
        }
        records.read(bytes, &mut |record| {
            let told = each(file.source, record)?;
            replayed.records += u64::from(told.is_ok());
            Ok(told)
        })
    })
}

type ReadFile<'a> = dyn FnMut(&mut Replayed, &files::Numbered, &[u8]) -> io::Result<Result<(), Broken>> + 'a;

fn each_file(vfs: &dyn Vfs, row: &Row, replayed: &mut Replayed, read: &mut ReadFile<'_>) -> io::Result<()> {
    for (i, file) in row.files.iter().enumerate() {
        let bytes = vfs.read(&file.path).map_err(|error| at(&file.path, &error))?;
        if let Err(broken) = read(replayed, file, &bytes)? {
            let behind = row.files.get(i + 1..).unwrap_or_default();
            let unread = (bytes.len() - broken.from.min(bytes.len())) as u64;
            replayed.damage.push(Damage {
                file: file.path.clone(),
                byte: broken.at as u64,
                reason: broken.reason,
                unread_bytes: unread + files::total(vfs, behind)? + row.gap.as_ref().map_or(0, |gap| gap.unread_bytes),
            });
            return Ok(());
        }
    }
    replayed.damage.extend(row.gap.clone());
    Ok(())
}
