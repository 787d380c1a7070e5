//! Memory of all queries together: who may take how many bytes, and what is given back when.
//!
//! The [`Ledger`] belongs to the engine. Each query has an [`Account`] with it that reserves in steps of 1 MiB, so that
//! the shared counter is touched rarely. What a query's answer occupies stays reserved in a [`Memory`] until the answer
//! is sent.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use crate::query::Asker;

// How much an account reserves at a time.
const STEP: usize = 1 << 20;

// This part of the whole is kept for rules.
const FOR_RULES: usize = 8;

/// Bytes of all queries together.
#[derive(Debug)]
pub(crate) struct Ledger {
    limit: usize,
    held: AtomicUsize,
    refused_query: AtomicU64,
    refused_total: AtomicU64,
}

/// Which limit did not allow more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// That of one query.
    Query { limit: usize },
    /// That of all together, of which others hold `others`.
    Total { limit: usize, others: usize },
}

impl Ledger {
    /// `usize::MAX` is no limit.
    pub(crate) fn new(limit: usize) -> Self {
        Self {
            limit,
            held: AtomicUsize::new(0),
            refused_query: AtomicU64::new(0),
            refused_total: AtomicU64::new(0),
        }
    }

    /// The bytes reserved now.
    pub(crate) fn held(&self) -> usize {
        self.held.load(Ordering::Relaxed)
    }

    pub(crate) fn limit(&self) -> usize {
        self.limit
    }

    /// How many queries were refused for their own limit, and for that of all together.
    pub(crate) fn refused(&self) -> (u64, u64) {
        (
            self.refused_query.load(Ordering::Relaxed),
            self.refused_total.load(Ordering::Relaxed),
        )
    }

    // An eighth is left for rules: users who fill the rest do not stop the alerts.
    fn limit_for(&self, asker: Asker) -> usize {
        match asker {
            Asker::Rule => self.limit,
            Asker::User => self.limit - self.limit / FOR_RULES,
        }
    }

    fn take(&self, bytes: usize, asker: Asker) -> bool {
        let limit = self.limit_for(asker);
        let taken = self.held.try_update(Ordering::Relaxed, Ordering::Relaxed, |held| {
            held.checked_add(bytes).filter(|sum| *sum <= limit)
        });
        taken.is_ok()
    }

    fn give(&self, bytes: usize) {
        self.held.fetch_sub(bytes, Ordering::Relaxed);
    }
}

/// What one query has reserved; all of it is given back when it is dropped.
#[derive(Debug)]
pub(crate) struct Account {
    ledger: Arc<Ledger>,
    asker: Asker,
    limit: usize,
    reserved: usize,
}

impl Account {
    /// An account that may reserve `limit` bytes.
    pub(crate) fn new(ledger: &Arc<Ledger>, asker: Asker, limit: usize) -> Self {
        Self {
            ledger: Arc::clone(ledger),
            asker,
            limit,
            reserved: 0,
        }
    }

    /// Makes sure that at least `bytes` are reserved.
    pub(crate) fn cover(&mut self, bytes: usize) -> Result<(), Refusal> {
        let Some(missing) = bytes.checked_sub(self.reserved).filter(|missing| *missing > 0) else {
            return Ok(());
        };
        if bytes > self.limit {
            self.ledger.refused_query.fetch_add(1, Ordering::Relaxed);
            return Err(Refusal::Query { limit: self.limit });
        }
        // A whole step where there is room for one, else just what is needed.
        let step = missing.checked_next_multiple_of(STEP).unwrap_or(missing);
        for amount in [step, missing] {
            if self.ledger.take(amount, self.asker) {
                self.reserved += amount;
                return Ok(());
            }
        }
        self.ledger.refused_total.fetch_add(1, Ordering::Relaxed);
        Err(Refusal::Total {
            limit: self.ledger.limit_for(self.asker),
            others: self.ledger.held().saturating_sub(self.reserved),
        })
    }

    /// Gives back what is reserved much beyond `bytes`.
    pub(crate) fn trim(&mut self, bytes: usize) {
        let wanted = bytes.saturating_add(2 * STEP);
        if self.reserved > wanted {
            self.ledger.give(self.reserved - wanted);
            self.reserved = wanted;
        }
    }

    /// Keeps `bytes`, which must be covered, for as long as the answer lives, and gives back the rest.
    pub(crate) fn keep(&mut self, bytes: usize) -> Memory {
        let bytes = bytes.min(self.reserved);
        self.ledger.give(self.reserved - bytes);
        self.reserved = 0;
        Memory(Some(Arc::new(Kept {
            ledger: Arc::clone(&self.ledger),
            bytes,
        })))
    }
}

impl Drop for Account {
    fn drop(&mut self) {
        self.ledger.give(self.reserved);
    }
}

/// The memory an answer occupies, reserved until the last clone is dropped. It goes wherever the answer's value goes.
#[derive(Debug, Clone, Default)]
pub struct Memory(Option<Arc<Kept>>);

// Two answers are equal whatever is reserved for them.
impl PartialEq for Memory {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl Memory {
    /// How many bytes.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.0.as_ref().map_or(0, |kept| kept.bytes)
    }
}

#[derive(Debug)]
struct Kept {
    ledger: Arc<Ledger>,
    bytes: usize,
}

impl Drop for Kept {
    fn drop(&mut self) {
        self.ledger.give(self.bytes);
    }
}

/// `bytes` as people write sizes: `84 MiB`, `1.5 GiB`.
pub(crate) fn size_text(bytes: usize) -> String {
    let units = ["B", "KiB", "MiB", "GiB", "TiB"];
    let mut size = bytes as f64;
    let mut unit = 0;
    while size >= 1024.0 && unit + 1 < units.len() {
        size /= 1024.0;
        unit += 1;
    }
    let name = units.get(unit).copied().unwrap_or_default();
    if size < 9.95 && size.fract() != 0.0 {
        format!("{size:.1} {name}")
    } else {
        format!("{size:.0} {name}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn accounts_reserve_in_steps_and_give_everything_back() {
        let ledger = Arc::new(Ledger::new(64 * STEP));
        let mut account = Account::new(&ledger, Asker::User, 40 * STEP);
        account.cover(10).unwrap();
        assert_eq!(ledger.held(), STEP);
        account.cover(STEP).unwrap();
        assert_eq!(ledger.held(), STEP);
        account.cover(20 * STEP + 1).unwrap();
        assert_eq!(ledger.held(), 21 * STEP);
        account.trim(STEP);
        assert_eq!(ledger.held(), 3 * STEP);
        let refusal = account.cover(40 * STEP + 1).unwrap_err();
        assert_eq!(refusal, Refusal::Query { limit: 40 * STEP });
        assert_eq!(ledger.held(), 3 * STEP);
        let memory = account.keep(5000);
        let other = memory.clone();
        drop(account);
        drop(memory);
        assert_eq!((ledger.held(), other.bytes()), (5000, 5000));
        drop(other);
        assert_eq!((ledger.held(), ledger.refused()), (0, (1, 0)));
    }

    #[test]
    fn users_leave_an_eighth_to_rules() {
        let ledger = Arc::new(Ledger::new(64 * STEP));
        let mut user = Account::new(&ledger, Asker::User, usize::MAX);
        let mut second = Account::new(&ledger, Asker::User, usize::MAX);
        let mut rule = Account::new(&ledger, Asker::Rule, usize::MAX);
        user.cover(55 * STEP).unwrap();
        let refusal = second.cover(2 * STEP).unwrap_err();
        assert_eq!(
            refusal,
            Refusal::Total {
                limit: 56 * STEP,
                others: 55 * STEP
            }
        );
        // The last bytes are given even where there is no whole step left.
        user.cover(56 * STEP - 100).unwrap();
        rule.cover(8 * STEP).unwrap();
        assert!(rule.cover(8 * STEP + 101).is_err());
        drop((user, rule, second));
        assert_eq!((ledger.held(), ledger.refused()), (0, (0, 2)));
    }

    #[test]
    fn sizes_are_told_in_the_unit_that_fits() {
        for (bytes, text) in [
            (0, "0 B"),
            (1023, "1023 B"),
            (1536, "1.5 KiB"),
            (84 << 20, "84 MiB"),
            (3 << 29, "1.5 GiB"),
        ] {
            assert_eq!(size_text(bytes), text);
        }
    }
}
