//! What one query has used, and the checks that stop it.
//!
//! Two things are limited: samples, as Prometheus counts them, and bytes. Both are counted in scopes: what was taken
//! after [`Budget::held`] is given back by [`Budget::release_to`]. Every node of the tree is such a scope; only its
//! result stays.

use std::fmt::Write as _;

use cupola_promql::Span;

use crate::cancel::Cancel;
use crate::error::{QueryError, Stage};
use crate::ledger::{Account, Memory, Refusal, size_text};
use crate::turns::Turn;

// Flag, clock and waiting queries are looked at once per this many samples: some tens of microseconds of work.
const CHECK_EVERY: usize = 4096;

// Vectors up to this size, 8 MiB, are always allowed.
const SMALL_CELLS: usize = 1 << 20;

// A row besides its values: labels are shared with the storage, mostly.
const ROW_BYTES: usize = 96;

// A place in the query is quoted up to this length in an error.
const LONGEST_QUOTE: usize = 80;

/// Counts what a query holds and reads, and stops it at its limits.
pub(crate) struct Budget<'q> {
    cancel: &'q Cancel,
    text: &'q str,
    turn: Turn<'q>,
    unchecked: usize,
    max_samples: usize,
    samples: usize,
    peak: usize,
    read: u64,
    queryable: u64,
    per_step: Option<Vec<u64>>,
    is_paused: bool,
    account: Account,
    // Bytes of the results and buffers of all scopes, besides the vector that the innermost one is making.
    bytes: usize,
    making: Part,
    scratch: usize,
    place: Span,
    parts: Vec<Part>,
}

/// A vector, or a part of one, that occupies memory.
#[derive(Debug, Clone, Copy, Default)]
struct Part {
    place: Span,
    rows: usize,
    steps: usize,
    bytes: usize,
}

/// What was held when a scope began.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Held {
    samples: usize,
    bytes: usize,
    making: Part,
    place: Span,
    parts: usize,
}

/// A stopped count of queryable samples.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Paused {
    was_paused: bool,
}

impl<'q> Budget<'q> {
    pub(crate) fn new(cancel: &'q Cancel, text: &'q str, max_samples: usize, account: Account, turn: Turn<'q>) -> Self {
        Self {
            cancel,
            text,
            turn,
            unchecked: 0,
            max_samples,
            samples: 0,
            peak: 0,
            read: 0,
            queryable: 0,
            per_step: None,
            is_paused: false,
            account,
            bytes: 0,
            making: Part::default(),
            scratch: 0,
            place: Span::default(),
            parts: Vec::new(),
        }
    }

    /// Counts queryable samples of each of `steps` steps, too.
    pub(crate) fn count_steps(&mut self, steps: usize) {
        self.per_step = Some(vec![0; steps]);
    }

    /// What stops the query from outside.
    pub(crate) fn cancel(&self) -> &'q Cancel {
        self.cancel
    }

    /// Notes `samples` of work. Now and then looks at flag and clock, and lets others compute.
    pub(crate) fn work(&mut self, samples: usize) -> Result<(), QueryError> {
        self.unchecked += samples.max(1);
        if self.unchecked < CHECK_EVERY {
            return Ok(());
        }
        self.check()
    }

    /// Looks at flag and clock now.
    pub(crate) fn check(&mut self) -> Result<(), QueryError> {
        let work = std::mem::take(&mut self.unchecked);
        self.cancel.check(Stage::Evaluation)?;
        self.turn.pause(work as u64, self.cancel)
    }

    /// Takes `samples` into memory.
    pub(crate) fn hold(&mut self, samples: usize) -> Result<(), QueryError> {
        self.samples += samples;
        self.peak = self.peak.max(self.samples);
        if self.samples > self.max_samples {
            Err(QueryError::TooManySamples)
        } else {
            Ok(())
        }
    }

    /// Whether a vector of `rows` columns may be made, and takes its bytes. Absent steps take memory too, though they
    /// are no samples: a thousand steps of series that lived for one each must not slip past the limit.
    ///
    /// Within a scope the largest call counts, so a growing vector may call this for each row with the new number.
    pub(crate) fn room(&mut self, rows: usize, steps: usize) -> Result<(), QueryError> {
        let cells = self.max_samples.saturating_mul(2).max(SMALL_CELLS);
        if rows.saturating_mul(steps) > cells {
            return Err(QueryError::TooManySamples);
        }
        let bytes = bytes_of(rows, steps);
        if bytes <= self.making.bytes {
            return Ok(());
        }
        self.making = Part {
            place: self.place,
            rows,
            steps,
            bytes,
        };
        self.cover()
    }

    /// Takes `bytes` besides what [`Budget::room`] counts: hash tables, histograms, texts.
    pub(crate) fn charge(&mut self, bytes: usize) -> Result<(), QueryError> {
        self.bytes = self.bytes.saturating_add(bytes);
        self.cover()
    }

    /// A buffer that is used again and again has `bytes` now; the largest call of the whole query counts.
    pub(crate) fn scratch(&mut self, bytes: usize) -> Result<(), QueryError> {
        if bytes <= self.scratch {
            return Ok(());
        }
        self.scratch = bytes;
        self.cover()
    }

    /// Begins a scope.
    pub(crate) fn held(&mut self) -> Held {
        let held = Held {
            samples: self.samples,
            bytes: self.bytes,
            making: self.making,
            place: self.place,
            parts: self.parts.len(),
        };
        // What the outer scope is making stays beside what this one makes.
        let outer = std::mem::take(&mut self.making);
        self.bytes = self.bytes.saturating_add(outer.bytes);
        self.remember(outer);
        held
    }

    /// Begins the scope of the node at `place`.
    pub(crate) fn enter(&mut self, place: Span) -> Held {
        let held = self.held();
        self.place = place;
        held
    }

    /// Ends a scope: everything that was taken in it is given back.
    pub(crate) fn release_to(&mut self, held: Held) {
        self.samples = held.samples;
        self.bytes = held.bytes;
        self.making = held.making;
        self.place = held.place;
        self.parts.truncate(held.parts);
    }

    /// Ends the scope of a node; its result stays: `samples` in `rows` by `steps`, and `extra` bytes besides.
    pub(crate) fn settle(
        &mut self,
        held: Held,
        samples: usize,
        (rows, steps): (usize, usize),
        extra: usize,
    ) -> Result<(), QueryError> {
        let part = Part {
            place: self.place,
            rows,
            steps,
            bytes: bytes_of(rows, steps).saturating_add(extra),
        };
        self.release_to(held);
        self.bytes = self.bytes.saturating_add(part.bytes);
        self.remember(part);
        self.cover()?;
        self.account.trim(self.total());
        self.hold(samples)
    }

    /// Notes samples read from storage.
    pub(crate) fn note_read(&mut self, samples: usize) {
        self.read += samples as u64;
    }

    /// Notes samples that took part in the answer, once per step they took part in.
    pub(crate) fn note_queryable(&mut self, samples: usize) {
        if !self.is_paused {
            self.queryable += samples as u64;
        }
    }

    /// Whether [`Budget::note_step`] is to be called beside [`Budget::note_queryable`].
    pub(crate) fn per_step(&self) -> bool {
        self.per_step.is_some() && !self.is_paused
    }

    /// Notes samples that took part in one step of the query.
    pub(crate) fn note_step(&mut self, step: usize, samples: usize) {
        if self.is_paused {
            return;
        }
        if let Some(count) = self.per_step.as_mut().and_then(|steps| steps.get_mut(step)) {
            *count += samples as u64;
        }
    }

    /// Counts no queryable samples for now: those within a subquery are none, only what its windows hold is.
    pub(crate) fn pause_queryable(&mut self) -> Paused {
        let was_paused = std::mem::replace(&mut self.is_paused, true);
        Paused { was_paused }
    }

    /// Counts again as before.
    pub(crate) fn resume_queryable(&mut self, paused: Paused) {
        self.is_paused = paused.was_paused;
    }

    /// The queryable samples so far.
    pub(crate) fn queryable(&self) -> u64 {
        self.queryable
    }

    /// What was counted since `before` took part in each of `steps` steps, not only in the first.
    pub(crate) fn repeat_queryable(&mut self, before: u64, steps: usize) {
        let once = self.queryable.saturating_sub(before);
        if self.is_paused || once == 0 {
            return;
        }
        let more = (steps as u64).saturating_sub(1);
        self.queryable = self.queryable.saturating_add(once.saturating_mul(more));
        if let Some(counts) = &mut self.per_step {
            counts.iter_mut().skip(1).for_each(|count| *count += once);
        }
    }

    pub(crate) fn stats(&mut self) -> crate::QueryStats {
        let mut queryable_per_step = self.per_step.take().unwrap_or_default();
        if let [only] = queryable_per_step.as_mut_slice() {
            *only = self.queryable;
        }
        crate::QueryStats {
            total_queryable_samples: self.queryable,
            queryable_per_step,
            samples_read: self.read,
            peak_samples: self.peak as u64,
            timings: crate::QueryTimings::default(),
        }
    }

    /// Ends the query: only its answer of `bytes` stays reserved, for as long as the [`Memory`] lives.
    pub(crate) fn keep(&mut self, bytes: usize) -> Result<Memory, QueryError> {
        let part = Part {
            bytes,
            ..self.parts.last().copied().unwrap_or_default()
        };
        self.bytes = bytes;
        self.making = Part::default();
        self.scratch = 0;
        self.parts.clear();
        self.remember(part);
        self.cover()?;
        Ok(self.account.keep(bytes))
    }

    fn total(&self) -> usize {
        self.bytes
            .saturating_add(self.making.bytes)
            .saturating_add(self.scratch)
    }

    fn remember(&mut self, part: Part) {
        if part.bytes > 0 {
            self.parts.push(part);
        }
    }

    fn cover(&mut self) -> Result<(), QueryError> {
        match self.account.cover(self.total()) {
            Ok(()) => Ok(()),
            Err(refusal) => Err(QueryError::TooMuchMemory(self.refusal_text(refusal))),
        }
    }

    // Which limit, and what needs the most.
    fn refusal_text(&self, refusal: Refusal) -> String {
        let mut text = match refusal {
            Refusal::Query { limit } => format!(
                "query needs more memory than one query may use: {} (--query.max-memory); most of it: ",
                size_text(limit)
            ),
            Refusal::Total { limit, others } => format!(
                "query needs more memory than is left for queries: {} for all together (--query.max-memory-total), of \
                 which others hold {}; most of this one's: ",
                size_text(limit),
                size_text(others)
            ),
        };
        let mut parts = self.parts.clone();
        parts.push(self.making);
        parts.sort_by_key(|part| std::cmp::Reverse(part.bytes));
        // A tenth of the largest part explains nothing.
        let largest = parts.first().map_or(0, |part| part.bytes);
        parts.retain(|part| part.bytes > largest / 10);
        let mut separator = "";
        for part in parts.iter().take(2) {
            // Writing to a String cannot fail.
            let _ = write!(
                text,
                "{separator}{} series x {} steps of {} ({})",
                thousands(part.rows),
                thousands(part.steps),
                quote(self.text, part.place),
                size_text(part.bytes)
            );
            separator = ", ";
        }
        let named: usize = parts.iter().take(2).map(|part| part.bytes).sum();
        let rest = self.total().saturating_sub(named);
        if rest > named / 4 {
            let _ = write!(text, "{separator}{} besides", size_text(rest));
        }
        text.push_str(match refusal {
            Refusal::Query { .. } => "; narrow the selector, raise the step or the limit",
            Refusal::Total { .. } => "; ask again when they have ended, narrow the selector or raise the step",
        });
        text
    }
}

// What `rows` columns of `steps` values occupy.
fn bytes_of(rows: usize, steps: usize) -> usize {
    rows.saturating_mul(steps.saturating_mul(size_of::<f64>()).saturating_add(ROW_BYTES))
}

// `1,834`.
fn thousands(number: usize) -> String {
    let digits = number.to_string();
    let mut out = String::with_capacity(digits.len() + digits.len() / 3);
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

// What the query says at `place`, on one line and not too long.
fn quote(text: &str, place: Span) -> String {
    let text = text.get(place.start..place.end).unwrap_or_default();
    let words: Vec<&str> = text.split_whitespace().collect();
    let line = if words.is_empty() {
        "the query".to_owned()
    } else {
        words.join(" ")
    };
    match line.char_indices().nth(LONGEST_QUOTE) {
        Some((end, _)) => format!("{}...", line.get(..end).unwrap_or_default()),
        None => line,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ledger::Ledger;
    use crate::query::Asker;
    use crate::turns::Turns;
    use std::sync::Arc;

    const MIB: usize = 1 << 20;

    fn with_budget(query_limit: usize, ledger: &Arc<Ledger>, run: impl FnOnce(&mut Budget<'_>)) {
        let (cancel, turns) = (Cancel::new(), Turns::new(1));
        let turn = turns.enter(Asker::User, &cancel).unwrap();
        let account = Account::new(ledger, Asker::User, query_limit);
        let text = "sum by (pod) (\n  rate(x{a=\"b\"}[5m]))";
        run(&mut Budget::new(&cancel, text, 50_000_000, account, turn));
    }

    fn span(start: usize, end: usize) -> Span {
        Span { start, end }
    }

    #[test]
    fn a_scope_gives_back_what_it_took_and_keeps_its_result() {
        let ledger = Arc::new(Ledger::new(usize::MAX));
        with_budget(usize::MAX, &ledger, |budget| {
            let outer = budget.enter(span(0, 5));
            for rows in 1..=1000 {
                budget.room(rows, 1000).unwrap();
            }
            let made = budget.total();
            assert_eq!(made, bytes_of(1000, 1000));
            let inner = budget.enter(span(0, 3));
            budget.room(500, 1000).unwrap();
            budget.charge(MIB).unwrap();
            budget.scratch(MIB).unwrap();
            budget.scratch(10).unwrap();
            assert_eq!(budget.total(), made + bytes_of(500, 1000) + 2 * MIB);
            assert!(ledger.held() >= budget.total());
            budget.settle(inner, 10, (1, 1000), 0).unwrap();
            assert_eq!(budget.total(), made + bytes_of(1, 1000) + MIB);
            budget.settle(outer, 10, (2, 1000), 16).unwrap();
            assert_eq!(budget.total(), bytes_of(2, 1000) + 16 + MIB);
            assert!(ledger.held() <= budget.total() + 2 * MIB);
            assert_eq!(budget.samples, 10);
            let memory = budget.keep(5000).unwrap();
            assert_eq!(ledger.held(), 5000);
            drop(memory);
        });
        assert_eq!(ledger.held(), 0);
    }

    #[test]
    fn who_needs_too_much_is_told_what_for() {
        let ledger = Arc::new(Ledger::new(usize::MAX));
        with_budget(64 * MIB, &ledger, |budget| {
            budget.enter(span(0, 38));
            budget.enter(span(17, 32));
            let error = (1..).find_map(|rows| budget.room(rows, 5_761).err()).unwrap();
            assert_eq!(
                error.to_string(),
                "query needs more memory than one query may use: 64 MiB (--query.max-memory); most of it: 1,454 series x \
                 5,761 steps of rate(x{a=\"b\"}[5 (64 MiB); narrow the selector, raise the step or the limit"
            );
            assert_eq!(error.kind(), crate::ErrorKind::Execution);
        });
        assert_eq!((ledger.held(), ledger.refused()), (0, (1, 0)));
    }

    #[test]
    fn who_finds_nothing_left_is_told_of_the_others() {
        let ledger = Arc::new(Ledger::new(64 * MIB));
        with_budget(64 * MIB, &ledger, |first| {
            first.charge(50 * MIB).unwrap();
            with_budget(64 * MIB, &ledger, |second| {
                second.enter(span(0, 3));
                let held = second.enter(span(17, 32));
                second.settle(held, 0, (1, 1), 2 * MIB).unwrap();
                let error = second.room(1000, 1000).unwrap_err();
                assert_eq!(
                    error.to_string(),
                    "query needs more memory than is left for queries: 56 MiB for all together \
                     (--query.max-memory-total), of which others hold 50 MiB; most of this one's: 1,000 series x 1,000 \
                     steps of sum (7.7 MiB), 1 series x 1 steps of rate(x{a=\"b\"}[5 (2.0 MiB); ask again when they have \
                     ended, narrow the selector or raise the step"
                );
            });
            assert_eq!(ledger.held(), 50 * MIB);
        });
    }

    #[test]
    fn queryable_samples_are_those_of_the_query_s_own_steps() {
        let ledger = Arc::new(Ledger::new(usize::MAX));
        with_budget(usize::MAX, &ledger, |budget| {
            budget.count_steps(3);
            budget.note_queryable(2);
            budget.note_step(0, 2);
            let paused = budget.pause_queryable();
            budget.note_queryable(100);
            budget.note_step(0, 100);
            assert!(!budget.per_step());
            budget.resume_queryable(paused);
            let before = budget.queryable();
            budget.note_queryable(5);
            budget.note_step(0, 5);
            budget.repeat_queryable(before, 3);
            let stats = budget.stats();
            assert_eq!(stats.total_queryable_samples, 17);
            assert_eq!(stats.queryable_per_step, [7, 5, 5]);
        });
    }
}
