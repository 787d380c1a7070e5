//! What survives the process: Alertmanager's own files `silences` and `nflog`, alerts beside them, and a journal of what
//! has changed since they were written. `docs/format/alertmanager.md` has the bytes.

mod history;
mod journal;

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use cupola_env::Vfs;
use parking_lot::Mutex;
use thiserror::Error;
use tracing::{error, warn};

use crate::acks::Said;
use crate::events::Event;
use crate::nflog::Entry;
use crate::recurring::Definition;
use crate::silences;
use crate::store::StoredAlert;
use cupola_wire::{Fields, Message, WireError};
use history::History;
use journal::{Journal, Kind, Mark};

const SILENCES: &str = "silences";
const NFLOG: &str = "nflog";
const ALERTS: &str = "cupola-alerts";
const RECURRING: &str = "cupola-recurring";
const ACKNOWLEDGED: &str = "cupola-acknowledged";
const JOURNAL: &str = "cupola-journal-";
// Beyond this a snapshot is due, whatever the time.
const LARGE_JOURNAL: u64 = 32 << 20;

/// Why the state of an earlier process cannot be used.
#[derive(Debug, Error)]
pub enum StateError {
    /// The folder or a file cannot be read or written.
    #[error("{path}: {error}")]
    Io {
        /// Which.
        path: PathBuf,
        /// What the system says.
        error: io::Error,
    },
    /// A file does not hold what it should.
    #[error("{path}: record {record} at byte {at} cannot be read: {reason}; move the file away to start without it")]
    Damaged {
        /// Which.
        path: PathBuf,
        /// Counted from 1.
        record: usize,
        /// Where it begins.
        at: usize,
        /// What is wrong with it.
        reason: String,
    },
}

/// What was found on disk, in the order in which it was written: later records override earlier ones.
#[derive(Default)]
pub(crate) struct Found {
    pub silences: Vec<(silences::Silence, i64)>,
    pub entries: Vec<Entry>,
    pub alerts: Vec<StoredAlert>,
    pub events: Vec<Event>,
    pub recurring: Vec<Definition>,
    pub acks: Vec<Said>,
}

/// The folder.
pub(crate) struct Disk {
    vfs: Arc<dyn Vfs>,
    dir: PathBuf,
    // Held for moments, never while a file is synced.
    journal: Mutex<Journal>,
    // One sync at a time: whoever waits for another's finds that it has done his, too.
    syncing: Mutex<()>,
    history: Mutex<History>,
    // One snapshot at a time.
    snapshot: Mutex<()>,
}

/// Sizes of a snapshot's files, in bytes.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct SnapshotSizes {
    pub silences: usize,
    pub nflog: usize,
}

impl Disk {
    /// Opens the folder, which is made where it is absent, and reads what is there.
    pub(crate) fn open(vfs: Arc<dyn Vfs>, dir: PathBuf) -> Result<(Self, Found), StateError> {
        let io = |path: &Path| {
            let path = path.to_owned();
            move |error| StateError::Io { path, error }
        };
        vfs.create_dir_all(&dir).map_err(io(&dir))?;
        let mut found = Found::default();
        read_file(&*vfs, &dir.join(SILENCES), |bytes| found.silence(bytes))?;
        read_file(&*vfs, &dir.join(NFLOG), |bytes| found.entry(bytes))?;
        read_file(&*vfs, &dir.join(ALERTS), |bytes| found.alert(bytes))?;
        read_file(&*vfs, &dir.join(RECURRING), |bytes| found.recurring(bytes))?;
        read_file(&*vfs, &dir.join(ACKNOWLEDGED), |bytes| found.acknowledgement(bytes))?;
        let mut numbers: Vec<u64> = vfs
            .list(&dir)
            .map_err(io(&dir))?
            .iter()
            .filter_map(|name| name.strip_prefix(JOURNAL)?.parse().ok())
            .collect();
        numbers.sort_unstable();
        for number in &numbers {
            let path = journal_path(&dir, *number);
            let bytes = vfs.read(&path).map_err(io(&path))?;
            let rest = journal::replay(&bytes, |kind, message| {
                match kind {
                    Kind::Silence => found.silence(message),
                    Kind::Entry => found.entry(message),
                    Kind::Alert => found.alert(message),
                    Kind::Event => Ok(()),
                    Kind::Withdrawn => found.withdrawn(message),
                }
                .map_err(|e| e.to_string())
            });
            if let Some((at, reason)) = rest {
                // The last write before a crash may be torn; nothing that was acknowledged lies behind it.
                warn!(file = %path.display(), at, reason, "the journal ends early; what follows is not used");
            }
        }
        let journal = Journal::new(numbers);
        let (history, events) = History::open(&*vfs, &dir).map_err(io(&dir))?;
        found.events = events;
        Ok((
            Self {
                vfs,
                dir,
                journal: Mutex::new(journal),
                syncing: Mutex::default(),
                history: Mutex::new(history),
                snapshot: Mutex::default(),
            },
            found,
        ))
    }

    /// Writes silences and waits until the device has them. Where that fails none of them comes back with the next process.
    pub(crate) fn keep_silences(&self, messages: &[Vec<u8>]) -> Result<(), String> {
        let records = |kind| journal::records(messages.iter().map(|m| (kind, m.as_slice())));
        let appended = self.append(&records(Kind::Silence));
        let kept = appended.and_then(|mark| {
            self.sync_until(Some(mark)).inspect_err(|_| {
                // They are in the file, and may be on the device. A snapshot will leave them out; until then this does.
                if let Err(error) = self.append(&records(Kind::Withdrawn)) {
                    error!(dir = %self.dir.display(), %error, "a refused silence is in the journal; a crash would bring it back");
                }
            })
        });
        kept.map_err(|error| {
            error!(dir = %self.dir.display(), %error, "a silence cannot be kept");
            error.to_string()
        })
    }

    fn append(&self, records: &[u8]) -> io::Result<Mark> {
        self.journal.lock().append(&*self.vfs, &self.dir, records)
    }

    // Waits until what was appended up to `mark`, or up to now, is on the device.
    fn sync_until(&self, mark: Option<Mark>) -> io::Result<()> {
        let _one = self.syncing.lock();
        let pending = {
            let mut journal = self.journal.lock();
            if let Some(mark) = mark
                && journal.has_synced(mark)?
            {
                return Ok(());
            }
            journal.take_pending()
        };
        let Some(pending) = pending else { return Ok(()) };
        let outcome = pending.sync(&*self.vfs, &self.dir);
        self.journal.lock().note(&pending, &outcome);
        outcome
    }

    /// Writes what was told; it survives the process at once and a power cut once it was synced.
    pub(crate) fn keep_entry(&self, entry: &Entry) {
        self.keep(&journal::records([(Kind::Entry, entry.encode().as_slice())]));
    }

    /// Writes what other members have told, each a `MeshEntry`; as durable as [`Disk::keep_entry`].
    pub(crate) fn keep_entries<'a>(&self, messages: impl Iterator<Item = &'a [u8]>) {
        let records = journal::records(messages.map(|message| (Kind::Entry, message)));
        if !records.is_empty() {
            self.keep(&records);
        }
    }

    /// Writes alerts; as durable as [`Disk::keep_entry`].
    pub(crate) fn keep_alerts<'a>(&self, alerts: impl Iterator<Item = &'a StoredAlert>) {
        let messages: Vec<Vec<u8>> = alerts.map(StoredAlert::encode).collect();
        if !messages.is_empty() {
            self.keep(&journal::records(messages.iter().map(|m| (Kind::Alert, m.as_slice()))));
        }
    }

    // What cannot be written is in memory all the same, and in the next snapshot.
    fn keep(&self, records: &[u8]) {
        let mut journal = self.journal.lock();
        let was_broken = journal.is_broken();
        if let Err(error) = journal.append(&*self.vfs, &self.dir, records)
            && !was_broken
        {
            error!(dir = %self.dir.display(), %error, "the journal cannot be written; a crash would forget what is new");
        }
    }

    /// Writes all acknowledgements; they are on the device when this returns.
    pub(crate) fn write_acknowledgements(&self, messages: &[Vec<u8>]) -> io::Result<()> {
        self.write(ACKNOWLEDGED, messages).map(|_| ())
    }

    /// Writes all recurring silences, as [`Disk::write_acknowledgements`].
    pub(crate) fn write_recurring(&self, messages: &[Vec<u8>]) -> io::Result<()> {
        self.write(RECURRING, messages).map(|_| ())
    }

    /// Brings to the device what was written since.
    pub(crate) fn sync(&self) {
        if let Err(error) = self.sync_until(None) {
            error!(dir = %self.dir.display(), %error, "the journal cannot be synced; the state's files are written anew");
        }
    }

    /// Writes what happened; files all of whose events are before `keep_from` go. It survives the process at once, a power
    /// cut perhaps not.
    pub(crate) fn keep_events(&self, events: &[Event], keep_from: i64) {
        self.history.lock().append(&*self.vfs, events, keep_from);
    }

    /// Whether the journal is so long that a snapshot is due.
    pub(crate) fn is_large(&self) -> bool {
        self.journal.lock().bytes() > LARGE_JOURNAL
    }

    /// Whether a snapshot is due because a sync failed: what the journal holds may not be on the device, whatever later syncs
    /// say.
    pub(crate) fn is_in_doubt(&self) -> bool {
        self.journal.lock().is_in_doubt()
    }

    /// Writes the files anew and drops the journals that they replace. Each list is asked for after the journal has been
    /// changed for a new one, so that whatever goes to the old one is in the list.
    pub(crate) fn snapshot(
        &self,
        silences: impl FnOnce() -> Vec<Vec<u8>>,
        nflog: impl FnOnce() -> Vec<Vec<u8>>,
        alerts: impl FnOnce() -> Vec<Vec<u8>>,
    ) -> io::Result<SnapshotSizes> {
        let _one = self.snapshot.lock();
        // Where that fails the snapshot makes up for it.
        self.sync();
        let (replaced, failed_syncs) = self.journal.lock().rotate();
        let sizes = SnapshotSizes {
            silences: self.write(SILENCES, &silences())?,
            nflog: self.write(NFLOG, &nflog())?,
        };
        self.write(ALERTS, &alerts())?;
        self.journal.lock().make_up(failed_syncs);
        for number in replaced {
            match self.vfs.remove_file(&journal_path(&self.dir, number)) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => self.journal.lock().forget(number),
            }
        }
        Ok(sizes)
    }

    fn write(&self, name: &str, messages: &[Vec<u8>]) -> io::Result<usize> {
        let mut content = Message::default();
        for message in messages {
            content.sized(message);
        }
        let path = self.dir.join(name);
        let temporary = self.dir.join(format!("{name}.cupola-tmp"));
        match self.vfs.remove_file(&temporary) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let mut file = self.vfs.create_new(&temporary)?;
        file.append(&content.0)?;
        file.sync()?;
        drop(file);
        self.vfs.rename(&temporary, &path)?;
        Ok(content.0.len())
    }
}

fn journal_path(dir: &Path, number: u64) -> PathBuf {
    dir.join(format!("{JOURNAL}{number:08}"))
}

// A file of messages, each with its length before it.
fn read_file(
    vfs: &dyn Vfs,
    path: &Path,
    mut take: impl FnMut(&[u8]) -> Result<(), WireError>,
) -> Result<(), StateError> {
    let bytes = match vfs.read(path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => {
            return Err(StateError::Io {
                path: path.to_owned(),
                error,
            });
        }
    };
    let mut rest = Fields(&bytes);
    for record in 1.. {
        let at = bytes.len() - rest.0.len();
        if rest.0.is_empty() {
            break;
        }
        rest.sized().and_then(&mut take).map_err(|reason| StateError::Damaged {
            path: path.to_owned(),
            record,
            at,
            reason: reason.to_string(),
        })?;
    }
    Ok(())
}

impl Found {
    fn silence(&mut self, bytes: &[u8]) -> Result<(), WireError> {
        let (raw, expires_at) = silences::decode(bytes)?;
        let id = raw.id.clone();
        match raw.silence() {
            Ok(silence) => self.silences.push((silence, expires_at)),
            Err(reason) => warn!(id, reason, "a silence of the state folder cannot be used"),
        }
        Ok(())
    }

    // A silence that was refused after it had been written: the latest of that content does not count.
    fn withdrawn(&mut self, bytes: &[u8]) -> Result<(), WireError> {
        let (raw, expires_at) = silences::decode(bytes)?;
        if let Ok(silence) = raw.silence() {
            let refused = (silence, expires_at);
            if let Some(place) = self.silences.iter().rposition(|one| *one == refused) {
                self.silences.remove(place);
            }
        }
        Ok(())
    }

    fn entry(&mut self, bytes: &[u8]) -> Result<(), WireError> {
        self.entries.push(Entry::decode(bytes)?);
        Ok(())
    }

    fn recurring(&mut self, bytes: &[u8]) -> Result<(), WireError> {
        match Definition::decode(bytes)? {
            Ok(recurring) => self.recurring.push(recurring),
            Err(reason) => warn!(reason, "a recurring silence of the state folder cannot be used"),
        }
        Ok(())
    }

    fn acknowledgement(&mut self, bytes: &[u8]) -> Result<(), WireError> {
        self.acks.push(Said::decode(bytes)?);
        Ok(())
    }

    fn alert(&mut self, bytes: &[u8]) -> Result<(), WireError> {
        self.alerts.push(StoredAlert::decode(bytes)?);
        Ok(())
    }
}

#[cfg(test)]
mod tests;
