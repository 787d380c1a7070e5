//! Asking mounts for their sizes, some of which may never answer.
//!
//! `statfs` on a network file system whose server is gone does not return, and nothing can interrupt it. So the calls
//! run on a helper thread. A mount that lets it wait for more than [`GRACE`] keeps that thread, and the others go on
//! with a new one; when the deadline comes the mount counts as stuck and is left alone until its call returns. So each
//! stuck mount costs one thread, and a scrape is late once per mount, not each time.

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use rustix::io::Errno;

/// Sizes of one mount, in bytes and in files.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Sizes {
    pub(crate) size: f64,
    pub(crate) free: f64,
    pub(crate) avail: f64,
    pub(crate) files: f64,
    pub(crate) files_free: f64,
}

/// What came of asking one mount.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Outcome {
    Sizes(Sizes),
    Failed(Errno),
    /// It did not answer, now or in an earlier scrape.
    Stuck,
}

type Ask = dyn Fn(&Path) -> Result<Sizes, Errno> + Send + Sync;

/// Asks mounts on helper threads.
pub(crate) struct Prober {
    ask: Arc<Ask>,
    // Mounts whose call has not returned since it missed a deadline.
    stuck: Arc<Mutex<HashSet<PathBuf>>>,
    // The helper of the last scrape, waiting for work.
    idle: Mutex<Option<Worker>>,
}

// How long a mount may keep the others waiting. Local file systems answer within microseconds.
const GRACE: Duration = Duration::from_millis(200);

type Reply = (usize, Result<Sizes, Errno>);

struct Worker {
    jobs: Sender<Batch>,
    // Set when nobody waits for this worker's current call any more.
    is_abandoned: Arc<AtomicBool>,
}

struct Batch {
    mounts: Vec<(usize, PathBuf)>,
    replies: Sender<Reply>,
}

impl Prober {
    /// One that asks the kernel.
    pub(crate) fn system() -> Self {
        Self::new(Arc::new(system))
    }

    pub(crate) fn new(ask: Arc<Ask>) -> Self {
        Self {
            ask,
            stuck: Arc::default(),
            idle: Mutex::default(),
        }
    }

    /// The outcome for each of `mounts`, after `timeout` at the latest (longer only by the grace of each slow one).
    pub(crate) fn probe(&self, mounts: &[PathBuf], timeout: Duration) -> Vec<Outcome> {
        let mut outcomes = vec![Outcome::Stuck; mounts.len()];
        let mut queue: Vec<usize> = {
            let stuck = self.stuck.lock();
            (0..mounts.len())
                .filter(|at| mounts.get(*at).is_some_and(|mount| !stuck.contains(mount)))
                .collect()
        };
        let deadline = Instant::now() + timeout;
        let grace = GRACE.min(timeout);
        // Mounts that used up their grace and may answer until the deadline.
        let mut slow: Vec<(usize, Receiver<Reply>)> = Vec::new();
        while !queue.is_empty() {
            let (sender, replies) = channel();
            let batch = queue
                .iter()
                .filter_map(|at| Some((*at, mounts.get(*at)?.clone())))
                .collect();
            let worker = self.idle.lock().take().or_else(|| self.start_worker());
            let sent = worker.filter(|worker| {
                worker
                    .jobs
                    .send(Batch {
                        mounts: batch,
                        replies: sender,
                    })
                    .is_ok()
            });
            let Some(worker) = sent else {
                for at in queue {
                    settle(&mut outcomes, at, Err(Errno::AGAIN));
                }
                break;
            };
            let mut order = std::mem::take(&mut queue).into_iter();
            let slow_one = loop {
                let Some(expected) = order.next() else { break None };
                match replies.recv_timeout(grace) {
                    Ok((at, result)) => settle(&mut outcomes, at, result),
                    Err(_) => break Some(expected),
                }
            };
            match slow_one {
                None => *self.idle.lock() = Some(worker),
                Some(at) => {
                    // It ends once its call returns; the rest of its batch goes to another.
                    worker.is_abandoned.store(true, Ordering::SeqCst);
                    queue = order.collect();
                    slow.push((at, replies));
                }
            }
        }
        for (at, replies) in slow {
            let left = deadline.saturating_duration_since(Instant::now());
            if let Ok((at, result)) = replies.recv_timeout(left) {
                settle(&mut outcomes, at, result);
                continue;
            }
            // Under the lock that the worker replies under: either the answer is here now, or the worker has yet to
            // come and take the mount off the list.
            let mut stuck = self.stuck.lock();
            match (replies.try_recv(), mounts.get(at)) {
                (Ok((at, result)), _) => settle(&mut outcomes, at, result),
                (Err(_), Some(mount)) => {
                    stuck.insert(mount.clone());
                }
                (Err(_), None) => {}
            }
        }
        outcomes
    }

    // `None` where the system gives no more threads.
    fn start_worker(&self) -> Option<Worker> {
        let (jobs, batches) = channel();
        let is_abandoned = Arc::new(AtomicBool::new(false));
        let worker = Worker {
            jobs,
            is_abandoned: Arc::clone(&is_abandoned),
        };
        let (ask, stuck) = (Arc::clone(&self.ask), Arc::clone(&self.stuck));
        let thread = std::thread::Builder::new().name("statfs".to_owned());
        thread.spawn(move || work(&ask, &stuck, &is_abandoned, &batches)).ok()?;
        Some(worker)
    }
}

fn settle(outcomes: &mut [Outcome], at: usize, result: Result<Sizes, Errno>) {
    if let Some(slot) = outcomes.get_mut(at) {
        *slot = result.map_or_else(Outcome::Failed, Outcome::Sizes);
    }
}

fn work(ask: &Arc<Ask>, stuck: &Mutex<HashSet<PathBuf>>, is_abandoned: &AtomicBool, batches: &Receiver<Batch>) {
    for batch in batches {
        for (at, mount) in batch.mounts {
            let result = ask(&mount);
            let mut stuck = stuck.lock();
            stuck.remove(&mount);
            // Nobody may be listening any more, which is all right.
            let _ = batch.replies.send((at, result));
            drop(stuck);
            if is_abandoned.load(Ordering::SeqCst) {
                return;
            }
        }
    }
}

fn system(mount: &Path) -> Result<Sizes, Errno> {
    let stat = rustix::fs::statfs(mount)?;
    let block = stat.f_bsize as f64;
    Ok(Sizes {
        size: stat.f_blocks as f64 * block,
        free: stat.f_bfree as f64 * block,
        avail: stat.f_bavail as f64 * block,
        files: stat.f_files as f64,
        files_free: stat.f_ffree as f64,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::AtomicUsize;

    const SIZES: Sizes = Sizes {
        size: 4.0,
        free: 3.0,
        avail: 2.0,
        files: 1.0,
        files_free: 0.0,
    };

    #[test]
    fn a_stuck_mount_delays_one_scrape_and_harms_no_other_mount() {
        let (release, gate) = channel::<()>();
        let gate = Mutex::new(gate);
        let asked = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&asked);
        let prober = Prober::new(Arc::new(move |mount: &Path| {
            if mount == Path::new("/gone") {
                count.fetch_add(1, Ordering::SeqCst);
                let _ = gate.lock().recv();
            }
            if mount == Path::new("/bad") {
                Err(Errno::ACCESS)
            } else {
                Ok(SIZES)
            }
        }));
        let mounts = ["/a", "/gone", "/bad", "/b"].map(PathBuf::from);
        let timeout = Duration::from_secs(1);
        let expected = [
            Outcome::Sizes(SIZES),
            Outcome::Stuck,
            Outcome::Failed(Errno::ACCESS),
            Outcome::Sizes(SIZES),
        ];
        assert_eq!(prober.probe(&mounts, timeout), expected);
        // The second time nobody asks it, so nobody waits either.
        assert_eq!(prober.probe(&mounts, timeout), expected);
        assert_eq!(asked.load(Ordering::SeqCst), 1);
        // The server is back: the call returns, the mount is asked again.
        drop(release);
        while !prober.stuck.lock().is_empty() {
            std::thread::yield_now();
        }
        assert_eq!(prober.probe(&mounts, timeout)[1], Outcome::Sizes(SIZES));
        assert_eq!(asked.load(Ordering::SeqCst), 2);
    }

    #[test]
    fn the_kernel_answers_for_the_root() {
        let outcomes = Prober::system().probe(&["/", "/no/such/mount"].map(PathBuf::from), Duration::from_secs(5));
        assert!(matches!(outcomes[0], Outcome::Sizes(sizes) if sizes.size > 0.0 && sizes.avail <= sizes.size));
        assert_eq!(outcomes[1], Outcome::Failed(Errno::NOENT));
    }
}
