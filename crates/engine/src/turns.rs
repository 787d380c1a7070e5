//! Who may compute: a few slots, about as many as there are cores, that running queries hand to each other.
//!
//! - Users' queries need a slot to run. One that has had its slot for [`QUANTUM`] samples of work gives it up, at the
//!   next of its checkpoints, to a waiting query that has done less work so far. So a short query soon gets ahead of
//!   long ones, and equally long ones take turns.
//! - Every eighth hand-over goes to whoever has waited longest: a stream of short queries does not starve a long one.
//! - Rules never wait. While `k` rules run, users' queries have `k` slots fewer, at least one; those beyond stop at
//!   their next checkpoint. However many heavy queries there are, a rule shares its core with one of them at most.
//!
//! Work is counted in samples, not in time, so that the same queries take the same turns.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use parking_lot::{Condvar, Mutex, MutexGuard};

use crate::cancel::Cancel;
use crate::error::{QueryError, Stage};
use crate::query::Asker;

/// A slot is kept for this many samples of work at least: some milliseconds, long beside the cost of handing it over.
pub(crate) const QUANTUM: u64 = 256 * 1024;

// Of so many hand-overs one goes to whoever has waited longest.
const BY_AGE: u64 = 8;

// A waiting query notices that it was cancelled within this time.
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// The slots.
#[derive(Debug)]
pub(crate) struct Turns {
    slots: usize,
    state: Mutex<State>,
    // Whether any running query might have to give up its slot; looked at without the lock.
    contended: AtomicBool,
}

#[derive(Debug, Default)]
struct State {
    // Users' queries with a slot.
    running: usize,
    // Rules that run.
    rules: usize,
    waiting: Vec<Waiter>,
    tickets: u64,
    handed: u64,
}

#[derive(Debug)]
struct Waiter {
    ticket: u64,
    used: u64,
    wake: Arc<Condvar>,
}

/// A query's right to compute; given back when dropped.
#[derive(Debug)]
pub(crate) struct Turn<'t> {
    turns: &'t Turns,
    asker: Asker,
    has_slot: bool,
    used: u64,
    since: u64,
}

impl Turns {
    pub(crate) fn new(slots: usize) -> Self {
        Self {
            slots: slots.max(1),
            state: Mutex::default(),
            contended: AtomicBool::new(false),
        }
    }

    /// Waits for a slot; a rule does not wait.
    pub(crate) fn enter(&self, asker: Asker, cancel: &Cancel) -> Result<Turn<'_>, QueryError> {
        let mut turn = Turn {
            turns: self,
            asker,
            has_slot: false,
            used: 0,
            since: 0,
        };
        let mut state = self.state.lock();
        match asker {
            Asker::Rule => {
                state.rules += 1;
                self.note(&state);
            }
            Asker::User if state.running < self.allowed(&state) && state.waiting.is_empty() => state.running += 1,
            Asker::User => {
                let ticket = self.queue(&mut state, 0);
                self.wait(state, &ticket, cancel, Stage::Queue)?;
            }
        }
        turn.has_slot = true;
        Ok(turn)
    }

    /// How many slots went from one query to another so far, and how many queries wait for one.
    pub(crate) fn counts(&self) -> (u64, usize) {
        let state = self.state.lock();
        (state.handed, state.waiting.len())
    }

    fn allowed(&self, state: &State) -> usize {
        self.slots.saturating_sub(state.rules).max(1)
    }

    // Who is next.
    fn next(state: &State) -> Option<usize> {
        let waiting = state.waiting.iter().enumerate();
        let next = if state.handed % BY_AGE == BY_AGE - 1 {
            waiting.min_by_key(|(_, waiter)| waiter.ticket)
        } else {
            waiting.min_by_key(|(_, waiter)| (waiter.used, waiter.ticket))
        };
        next.map(|(at, _)| at)
    }

    // Hands out what is free.
    fn grant(&self, state: &mut State) {
        while state.running < self.allowed(state) {
            let Some(at) = Self::next(state) else { break };
            // Who is not in the list any more has got its slot.
            let waiter = state.waiting.swap_remove(at);
            state.running += 1;
            state.handed += 1;
            waiter.wake.notify_one();
        }
        self.note(state);
    }

    fn note(&self, state: &State) {
        let contended = !state.waiting.is_empty() || state.running > self.allowed(state);
        self.contended.store(contended, Ordering::Relaxed);
    }

    fn queue(&self, state: &mut State, used: u64) -> (u64, Arc<Condvar>) {
        let (ticket, wake) = (state.tickets, Arc::new(Condvar::new()));
        state.tickets += 1;
        state.waiting.push(Waiter {
            ticket,
            used,
            wake: Arc::clone(&wake),
        });
        self.note(state);
        (ticket, wake)
    }

    fn wait(
        &self,
        mut state: MutexGuard<'_, State>,
        (ticket, wake): &(u64, Arc<Condvar>),
        cancel: &Cancel,
        stage: Stage,
    ) -> Result<(), QueryError> {
        loop {
            let Some(at) = state.waiting.iter().position(|waiter| waiter.ticket == *ticket) else {
                return Ok(());
            };
            if let Err(error) = cancel.check(stage) {
                state.waiting.swap_remove(at);
                self.note(&state);
                return Err(error);
            }
            wake.wait_for(&mut state, LOOK_EVERY);
        }
    }
}

impl Turn<'_> {
    /// A checkpoint after `work` samples: gives up the slot where others are to run, and waits for it again.
    ///
    /// # Errors
    /// That the query has to stop, while it waits. It has no slot then.
    pub(crate) fn pause(&mut self, work: u64, cancel: &Cancel) -> Result<(), QueryError> {
        self.used += work;
        self.since += work;
        if self.asker == Asker::Rule || !self.turns.contended.load(Ordering::Relaxed) {
            return Ok(());
        }
        let mut state = self.turns.state.lock();
        let too_many = state.running > self.turns.allowed(&state);
        let by_age = state.handed % BY_AGE == BY_AGE - 1;
        let next = Turns::next(&state).and_then(|at| state.waiting.get(at));
        let others_turn = self.since >= QUANTUM && next.is_some_and(|next| by_age || next.used < self.used);
        if !(self.has_slot && (too_many || others_turn)) {
            return Ok(());
        }
        let ticket = self.turns.queue(&mut state, self.used);
        state.running -= 1;
        self.has_slot = false;
        self.turns.grant(&mut state);
        self.turns.wait(state, &ticket, cancel, Stage::Evaluation)?;
        self.has_slot = true;
        self.since = 0;
        Ok(())
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        if !self.has_slot {
            return;
        }
        let mut state = self.turns.state.lock();
        match self.asker {
            Asker::Rule => state.rules -= 1,
            Asker::User => state.running -= 1,
        }
        self.turns.grant(&mut state);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicU64, AtomicUsize};
    use std::time::Instant;

    // Tests end by counts; this only keeps a broken one from hanging.
    const LONGEST: Duration = Duration::from_secs(60);

    fn until(what: &str, done: impl Fn() -> bool) {
        let began = Instant::now();
        while !done() {
            assert!(began.elapsed() < LONGEST, "{what}");
            std::thread::yield_now();
        }
    }

    #[test]
    fn a_rule_runs_at_once_while_64_heavy_queries_compute() {
        let turns = Turns::new(4);
        let stop = Cancel::new();
        let (steps, computing, most) = (AtomicU64::new(0), AtomicUsize::new(0), AtomicUsize::new(0));
        std::thread::scope(|scope| {
            for _ in 0..64 {
                scope.spawn(|| {
                    let Ok(mut turn) = turns.enter(Asker::User, &stop) else {
                        return;
                    };
                    // One step of work between two checkpoints, as an evaluation has.
                    loop {
                        let now = computing.fetch_add(1, Ordering::SeqCst) + 1;
                        most.fetch_max(now, Ordering::SeqCst);
                        steps.fetch_add(1, Ordering::SeqCst);
                        computing.fetch_sub(1, Ordering::SeqCst);
                        if stop.check(Stage::Evaluation).is_err() || turn.pause(4096, &stop).is_err() {
                            return;
                        }
                    }
                });
            }
            until("the heavy queries do not run", || steps.load(Ordering::SeqCst) > 1000);
            assert!(most.load(Ordering::SeqCst) <= 4);
            // The rule does not wait, and three of the four slots' holders make way within a step of theirs each.
            let mut rules: Vec<_> = (0..3).map(|_| turns.enter(Asker::Rule, &stop).unwrap()).collect();
            until("the users do not make way", || turns.state.lock().running == 1);
            for rule in &mut rules {
                for _ in 0..100 {
                    rule.pause(4096, &stop).unwrap();
                }
            }
            assert!(turns.state.lock().running <= 1, "users run beside the rules");
            // Even more rules than slots leave users one.
            rules.extend((0..3).map(|_| turns.enter(Asker::Rule, &stop).unwrap()));
            let before = steps.load(Ordering::SeqCst);
            until("the rules starve users", || {
                steps.load(Ordering::SeqCst) > before + 1000
            });
            drop(rules);
            until("the slots do not come back", || turns.state.lock().running == 4);
            until("the slots are not handed on", || turns.state.lock().handed >= 64);
            stop.cancel();
        });
        let state = turns.state.lock();
        assert_eq!((state.running, state.rules, state.waiting.len()), (0, 0, 0));
    }

    #[test]
    fn a_short_query_gets_ahead_of_long_ones_within_one_hand_over() {
        let turns = Turns::new(1);
        let cancel = Cancel::new();
        let mut long = turns.enter(Asker::User, &cancel).unwrap();
        long.pause(100 * QUANTUM, &cancel).unwrap();
        let order = &Mutex::new(Vec::new());
        std::thread::scope(|scope| {
            // Another long one that has done some work waits, then a new one comes.
            let waiting = |count: usize| until("nobody waits", || turns.counts().1 == count);
            let second = {
                let mut state = turns.state.lock();
                turns.queue(&mut state, 7)
            };
            scope.spawn(|| {
                let turn = turns.enter(Asker::User, &Cancel::new()).unwrap();
                order.lock().push("short");
                drop(turn);
            });
            waiting(2);
            scope.spawn({
                let turns = &turns;
                move || {
                    turns
                        .wait(turns.state.lock(), &second, &Cancel::new(), Stage::Evaluation)
                        .unwrap();
                    order.lock().push("second");
                    turns.state.lock().running -= 1;
                    turns.grant(&mut turns.state.lock());
                }
            });
            long.pause(QUANTUM, &cancel).unwrap();
            order.lock().push("long");
            assert_eq!(*order.lock(), ["short", "second", "long"]);
        });
    }

    #[test]
    fn every_eighth_hand_over_goes_to_the_oldest() {
        let turns = Turns::new(1);
        let mut state = turns.state.lock();
        state.running = 1;
        turns.queue(&mut state, 1_000_000);
        let mut got_in_after = None;
        for round in 1..=20 {
            turns.queue(&mut state, 0);
            state.running = 0;
            turns.grant(&mut state);
            if !state.waiting.iter().any(|w| w.used > 0) {
                got_in_after = Some(round);
                break;
            }
        }
        assert_eq!(got_in_after, Some(8));
    }

    #[test]
    fn who_waits_in_vain_leaves_no_trace() {
        let turns = Turns::new(1);
        let turn = turns.enter(Asker::User, &Cancel::new()).unwrap();
        let late = Cancel::with_deadline(Instant::now());
        let text = turns.enter(Asker::User, &late).unwrap_err().to_string();
        assert_eq!(text, "query timed out in query queue");
        assert_eq!(turns.counts().1, 0);
        assert!(!turns.contended.load(Ordering::Relaxed));
        drop(turn);
        assert!(turns.enter(Asker::User, &Cancel::new()).is_ok());
    }
}
