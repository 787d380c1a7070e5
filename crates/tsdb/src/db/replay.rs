//! Reading the log when the database is opened, beside everything else or before it.

use std::io;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::Instant;

use cupola_storage::StorageError;
use parking_lot::Mutex;
use tracing::{error, info, warn};

use super::import::{self, Imported};
use super::{Inner, LOG_FOLDER};
use crate::head::Replay;
use crate::wal::Backlog;

/// How far reading the log is, in numbers of segments.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ReplayProgress {
    /// The first segment that is to be read; 0 where there is none.
    pub min: u64,
    /// The last one.
    pub max: u64,
    /// The one being read, or the last one that was.
    pub current: u64,
    /// Whether all that was read is in answers.
    pub done: bool,
}

/// Where the replay is, and the thread that does it.
pub(super) struct Progress {
    min: u64,
    max: u64,
    current: AtomicU64,
    done: AtomicBool,
    thread: Mutex<Option<JoinHandle<()>>>,
}

impl Progress {
    pub(super) fn of(backlog: &Backlog) -> Self {
        let (min, max) = backlog.range();
        Self {
            min,
            max,
            current: AtomicU64::new(min),
            done: AtomicBool::new(false),
            thread: Mutex::default(),
        }
    }

    pub(super) fn get(&self) -> ReplayProgress {
        ReplayProgress {
            min: self.min,
            max: self.max,
            current: self.current.load(Ordering::Relaxed),
            done: self.is_done(),
        }
    }

    pub(super) fn is_done(&self) -> bool {
        self.done.load(Ordering::Acquire)
    }

    /// Lets a thread do it.
    pub(super) fn run(&self, replay: impl FnOnce() + Send + 'static) -> io::Result<()> {
        let thread = std::thread::Builder::new().name("replay".to_owned()).spawn(replay)?;
        *self.thread.lock() = Some(thread);
        Ok(())
    }

    /// Waits until that thread has ended.
    pub(super) fn wait(&self) {
        // Others wait for the lock meanwhile.
        let mut thread = self.thread.lock();
        if let Some(thread) = thread.take()
            && thread.join().is_err()
        {
            error!("reading the write-ahead log broke off; what it holds is missing in answers and stays in the log");
        }
    }
}

impl Inner {
    /// Reads the log, and what a stopped Prometheus left, into the head. What cannot be read is told and left as it is.
    pub(super) fn replay(&self, backlog: &Backlog) {
        let started = Instant::now();
        let _awaited = self.head.await_log();
        let read = Replay::new(self.head.clone()).and_then(|mut replay| {
            let replayed = backlog.read(
                &mut |entry| replay.entry(entry),
                &|segment| self.replay.current.store(segment, Ordering::Relaxed),
                &|| !self.closing.load(Ordering::Relaxed),
            )?;
            Ok((replay, replayed))
        });
        let (mut replay, replayed) = match read {
            Ok(read) => read,
            Err(error) => {
                error!(%error, "the write-ahead log cannot be read; what it holds is missing in answers and stays in the log");
                return;
            }
        };
        if replayed.stopped {
            info!("reading the write-ahead log was ended; it is read again at the next start");
            return;
        }
        for damage in &replayed.damage {
            self.metrics.wal_corruptions.inc();
            error!(
                damage = damage.text,
                "the write-ahead log is damaged; what could be read is served"
            );
            self.head.keep_damaged(damage.file.clone());
        }
        let Ok(imported) = self.take_over(&mut replay) else {
            info!("taking over Prometheus's log was ended; it is begun anew at the next start");
            return;
        };
        let must_be_noted = imported.is_some();
        *self.imported.lock() = imported;
        let (is_out_of_order, damage) = replay.finish();
        for damage in &damage {
            self.metrics.wal_corruptions.inc();
            error!(damage, "the write-ahead log is damaged; what could be read is served");
        }
        if !damage.is_empty()
            && let Some(checkpoint) = backlog.checkpoint()
        {
            self.head.keep_damaged(checkpoint);
        }
        self.replay.done.store(true, Ordering::Release);
        let took = started.elapsed().as_secs_f64();
        self.metrics.replay_seconds.set(took);
        info!(
            blocks = self.blocks.load().len(),
            series = self.head.stats().series,
            segments = replayed.segments,
            records = replayed.records,
            seconds = took,
            "write-ahead log replayed"
        );
        let (series, most) = (self.head.stats().series, self.options.limits.total);
        if most > 0 && series > most {
            warn!(
                series,
                most,
                "the log and what came while it was read are more series than there may be; they go on, new ones are refused"
            );
        }
        if (is_out_of_order || must_be_noted) && !self.checkpoint() {
            self.checkpoint_due.store(true, Ordering::Relaxed);
        }
    }

    // Puts what a stopped Prometheus left beside its blocks into the head; fails only where the database is being closed.
    fn take_over(&self, replay: &mut Replay) -> Result<Option<Imported>, StorageError> {
        let dir = &self.options.dir;
        let go_on = || !self.closing.load(Ordering::Relaxed);
        let imported = import::import(
            &*self.vfs,
            dir,
            &dir.join(LOG_FOLDER),
            self.head.floor(),
            &go_on,
            replay,
        );
        let imported = match imported {
            Ok(Some(imported)) => imported,
            Ok(None) => return Ok(None),
            Err(_) if self.closing.load(Ordering::Relaxed) => return Err(StorageError::Stopped),
            Err(error) => {
                self.metrics.wal_corruptions.inc();
                self.is_half_imported.store(true, Ordering::Relaxed);
                error!(
                    dir = %dir.display(),
                    %error,
                    "Prometheus's log cannot be read to its end; what is missing is left as it is, and nothing is deleted until it can be"
                );
                return Ok(None);
            }
        };
        for damage in &imported.restored.replayed.damage {
            self.metrics.wal_corruptions.inc();
            error!(%damage, "Prometheus's log is damaged; what could be read is served");
        }
        let restored = &imported.restored;
        info!(
            series = restored.series,
            chunks = restored.chunks,
            samples = restored.samples,
            "Prometheus's log was taken over; its files stay as they are"
        );
        Ok(Some(imported))
    }

    /// Notes that Prometheus's log is in ours, which a checkpoint has just made true. Whether there is nothing left to note.
    pub(super) fn note_imported(&self) -> bool {
        let mut waiting = self.imported.lock();
        let Some(imported) = &*waiting else { return true };
        match imported.note(&*self.vfs, &self.options.dir.join(LOG_FOLDER)) {
            Ok(()) => *waiting = None,
            Err(error) => {
                warn!(%error, "cannot note that Prometheus's log was taken over; it is tried again, and until then nothing is deleted");
            }
        }
        waiting.is_none()
    }
}
