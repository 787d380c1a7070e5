//! Memory that the bodies of many answers share, so that thousands of peers with large bodies do not fill it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::NetError;

// Room is given in pages of this size.
const PAGE: usize = 1 << 10;

/// What bodies may take together while they are read, inflated and used. Cloning shares it.
///
/// A body whose peer is slow holds what has come of it, and nobody knows how long it becomes. So that bodies which wait
/// for each other do not all wait for ever, they share one half, and whoever finds no room there may use the other half,
/// one at a time: that one always gets on. One body has at most a half.
#[derive(Debug, Clone)]
pub struct BodyBudget(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    what: &'static str,
    limit: usize,
    shared: Arc<Semaphore>,
    turn: Arc<Semaphore>,
    used: AtomicUsize,
    waits: AtomicU64,
    refused: AtomicU64,
}

impl BodyBudget {
    /// A budget of `limit` bytes for `what`, which errors name.
    #[must_use]
    pub fn new(what: &'static str, limit: usize) -> Self {
        let pages = (limit / 2 / PAGE).min(u32::MAX as usize).min(Semaphore::MAX_PERMITS);
        Self(Arc::new(Inner {
            what,
            limit,
            shared: Arc::new(Semaphore::new(pages)),
            turn: Arc::new(Semaphore::new(1)),
            used: AtomicUsize::new(0),
            waits: AtomicU64::new(0),
            refused: AtomicU64::new(0),
        }))
    }

    /// What one body has of it: nothing yet.
    #[must_use]
    pub fn room(&self) -> Room {
        Room::of(Some(self.clone()))
    }

    /// Bytes that bodies may take together.
    #[must_use]
    pub fn limit(&self) -> usize {
        self.0.limit
    }

    /// Bytes that one body may take.
    #[must_use]
    pub fn most(&self) -> usize {
        self.0.limit / 2
    }

    /// Bytes that are taken now.
    #[must_use]
    pub fn used(&self) -> usize {
        self.0.used.load(Ordering::Relaxed)
    }

    /// How often a body had to wait for room.
    #[must_use]
    pub fn waits(&self) -> u64 {
        self.0.waits.load(Ordering::Relaxed)
    }

    /// How many bodies found no room in time, or are larger than one may be.
    #[must_use]
    pub fn refused(&self) -> u64 {
        self.0.refused.load(Ordering::Relaxed)
    }

    /// The error of a body that waited for room until its time was up.
    #[must_use]
    pub fn no_room(&self, waited: std::time::Duration) -> NetError {
        self.0.refused.fetch_add(1, Ordering::Relaxed);
        NetError::NoRoom {
            what: self.0.what,
            limit: self.0.limit,
            waited,
        }
    }
}

/// What one body has of a budget; given back when it is dropped. Without a budget there is always room.
#[derive(Debug, Default)]
pub struct Room {
    budget: Option<BodyBudget>,
    bytes: usize,
    shared: Option<OwnedSemaphorePermit>,
    // Whose turn it is to use the other half.
    turn: Option<OwnedSemaphorePermit>,
}

impl Room {
    pub(crate) fn of(budget: Option<BodyBudget>) -> Self {
        Self {
            budget,
            bytes: 0,
            shared: None,
            turn: None,
        }
    }

    /// Makes it at least `bytes` large; waits where there is no room.
    ///
    /// # Errors
    /// [`NetError::OverBudget`] where no body may be as large.
    pub async fn grow(&mut self, bytes: usize) -> Result<(), NetError> {
        let Some(BodyBudget(budget)) = self.budget.clone().filter(|_| bytes > self.bytes) else {
            return Ok(());
        };
        let most = budget.limit / 2;
        if bytes > most {
            budget.refused.fetch_add(1, Ordering::Relaxed);
            return Err(NetError::OverBudget {
                what: budget.what,
                limit: budget.limit,
                most,
            });
        }
        if self.turn.is_none() {
            // At most what half of the budget has, which fits.
            let more = pages(bytes).saturating_sub(self.shared_pages()) as u32;
            match budget.shared.clone().try_acquire_many_owned(more) {
                Ok(permit) => self.add(permit),
                Err(_) => {
                    budget.waits.fetch_add(1, Ordering::Relaxed);
                    tokio::select! {
                        biased;
                        permit = budget.shared.clone().acquire_many_owned(more) => permit.into_iter().for_each(|p| self.add(p)),
                        turn = budget.turn.clone().acquire_owned() => self.turn = turn.ok(),
                    }
                }
            }
        }
        budget.used.fetch_add(bytes - self.bytes, Ordering::Relaxed);
        self.bytes = bytes;
        Ok(())
    }

    /// As [`Room::grow`], but does not wait; whether it is as large.
    pub fn try_grow(&mut self, bytes: usize) -> bool {
        let Some(BodyBudget(budget)) = self.budget.clone().filter(|_| bytes > self.bytes) else {
            return true;
        };
        if bytes > budget.limit / 2 {
            return false;
        }
        if self.turn.is_none() {
            // At most what half of the budget has, which fits.
            let more = pages(bytes).saturating_sub(self.shared_pages()) as u32;
            match budget.shared.clone().try_acquire_many_owned(more) {
                Ok(permit) => self.add(permit),
                Err(_) => return false,
            }
        }
        budget.used.fetch_add(bytes - self.bytes, Ordering::Relaxed);
        self.bytes = bytes;
        true
    }

    /// Gives back what is beyond `bytes`.
    pub(crate) fn shrink(&mut self, bytes: usize) {
        let Some(BodyBudget(budget)) = self.budget.as_ref().filter(|_| bytes < self.bytes) else {
            return;
        };
        budget.used.fetch_sub(self.bytes - bytes, Ordering::Relaxed);
        self.bytes = bytes;
        let needed = pages(bytes);
        if needed <= self.shared_pages() {
            self.turn = None;
            let spare = self.shared_pages() - needed;
            drop(self.shared.as_mut().and_then(|shared| shared.split(spare)));
        }
    }

    fn shared_pages(&self) -> usize {
        self.shared.as_ref().map_or(0, OwnedSemaphorePermit::num_permits)
    }

    fn add(&mut self, permit: OwnedSemaphorePermit) {
        match &mut self.shared {
            Some(shared) => shared.merge(permit),
            None => self.shared = Some(permit),
        }
    }
}

impl Drop for Room {
    fn drop(&mut self) {
        self.shrink(0);
    }
}

fn pages(bytes: usize) -> usize {
    bytes.div_ceil(PAGE)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const KIB: usize = 1 << 10;

    async fn grows(room: &mut Room, bytes: usize) -> bool {
        let grown = tokio::time::timeout(Duration::from_millis(1), room.grow(bytes)).await;
        grown.is_ok_and(|grown| grown.is_ok())
    }

    #[tokio::test(start_paused = true)]
    async fn bodies_share_one_half_and_take_turns_at_the_other() {
        let budget = BodyBudget::new("test bodies", 200 * KIB);
        let room = || Room::of(Some(budget.clone()));
        let (mut a, mut b, mut c) = (room(), room(), room());
        assert!(grows(&mut a, 60 * KIB).await);
        assert!(grows(&mut b, 40 * KIB).await);
        assert_eq!(budget.used(), 100 * KIB);
        // The shared half is full. Who comes first uses the other one, the next one waits.
        assert!(grows(&mut a, 90 * KIB).await);
        assert!(!grows(&mut c, 1).await);
        assert!(!grows(&mut b, 41 * KIB).await);
        assert_eq!((budget.used(), budget.waits()), (130 * KIB, 3));
        assert!(!b.try_grow(41 * KIB) && !a.try_grow(101 * KIB) && a.try_grow(90 * KIB));
        // What is given back is there for others, in part and as a whole.
        a.shrink(50 * KIB);
        assert!(b.try_grow(49 * KIB));
        assert!(grows(&mut b, 50 * KIB).await);
        assert!(grows(&mut c, 100 * KIB).await, "the turn has been given back, too");
        drop((a, b));
        assert_eq!(budget.used(), 100 * KIB);
        drop(c);
        let mut all = room();
        assert!(grows(&mut all, 100 * KIB).await);
        let over = all.grow(100 * KIB + 1).await.unwrap_err();
        assert_eq!(
            over.to_string(),
            "the body takes more than 102400 bytes, half of what test bodies may take together (204800 bytes of memory)"
        );
        assert_eq!(budget.refused(), 1);
        drop(all);
        assert_eq!(budget.used(), 0);
    }

    #[tokio::test(start_paused = true)]
    async fn bodies_that_all_grow_do_not_wait_for_each_other_for_ever() {
        let budget = BodyBudget::new("test bodies", 128 * KIB);
        let bodies = (0..40).map(|_| {
            let budget = budget.clone();
            async move {
                let mut room = Room::of(Some(budget.clone()));
                for part in 1..=60 {
                    room.grow(part * KIB).await.unwrap();
                    assert!(budget.used() <= budget.limit());
                    tokio::time::sleep(Duration::from_millis(1)).await;
                }
            }
        });
        let all: Vec<_> = bodies.map(tokio::spawn).collect();
        for one in all {
            one.await.unwrap();
        }
        assert!(budget.waits() > 0);
        assert_eq!(budget.used(), 0);
    }

    #[tokio::test]
    async fn without_a_budget_there_is_room() {
        let mut room = Room::default();
        room.grow(usize::MAX).await.unwrap();
        room.shrink(0);
    }
}
