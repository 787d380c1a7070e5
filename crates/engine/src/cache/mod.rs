//! Keeps the answers of range queries: a dashboard that refreshes asks for the same steps again, and a few new ones.
//!
//! An answer is kept with the [`Version`] the storage had before it was computed. When the same query comes again over
//! steps of the same grid, the storage tells the oldest time that was touched since. A step's value depends on samples
//! up to its time alone (or so much later as [`look_ahead`] says), absent ones included, so every kept step before that
//! time is what an evaluation would give, and only the others are evaluated, as range queries of their own. This holds
//! for steps in the future as well: whatever is appended later touches a time before them.
//!
//! - Queries whose steps depend on more than samples up to their time are not kept; `reach` has the rules. Nor are
//!   answers with native histograms, or with a text that tells of particular steps. Errors are never kept.
//! - Warnings and infos of kept steps are told again while the steps they may have come from are asked for. They are
//!   known per evaluation, not per step, so one may outlive its cause by as much.
//! - Values are those of an evaluation over the missing steps alone: where sums are rounded they may differ in the last
//!   digit from those of an evaluation over all of them, as they do between any two ranges.
//! - If something is committed during an evaluation that touches the kept steps, all is evaluated again: an answer
//!   never joins samples from before a batch with those from after it.
//! - Memory is bounded; what was used least recently goes first. An entry covers the steps of the newest answer only.

mod columns;
mod reach;
mod shelf;
#[cfg(test)]
mod tests;

use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use cupola_model::Labels;
use cupola_storage::{Changes, Queryable, Samples, Version};

use crate::error::QueryError;
use crate::grid::Grid;
use crate::query::{QueryValue, SourceResolution};
use columns::{Columns, join};
use shelf::{Key, Shelf};

pub(crate) use reach::look_ahead;

// Shorter answers are computed as fast as they are looked up.
const FEWEST_STEPS: usize = 21;

// Kept steps are used where they are at least this part of what is asked for; else one evaluation is cheaper than two.
const LEAST_PART: usize = 4;

// An entry may occupy this part of the whole.
const LARGEST_PART: usize = 4;

/// What the result cache has done so far.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ResultCacheStatus {
    /// Answers that were kept as a whole.
    pub hits: u64,
    /// Answers of which a part was kept.
    pub partial_hits: u64,
    /// Answers that could have been kept and were not.
    pub misses: u64,
    /// Answers that were dropped for want of room.
    pub evictions: u64,
    /// Bytes that are occupied.
    pub bytes: usize,
    /// Answers that are kept.
    pub entries: usize,
}

/// The answers that are kept.
pub(crate) struct ResultCache {
    limit: usize,
    shelf: Shelf,
    hits: AtomicU64,
    partial_hits: AtomicU64,
    misses: AtomicU64,
}

/// A range query that may be kept.
pub(crate) struct Ask<'a> {
    /// Its text, which stands for the tree.
    pub(crate) text: &'a str,
    /// All its steps.
    pub(crate) grid: Grid,
    /// Their distance.
    pub(crate) step_ms: i64,
    /// The lookback in effect.
    pub(crate) lookback_ms: i64,
    /// Which downsampled tiers may stand for samples; which do depends on the step besides.
    pub(crate) source_resolution: SourceResolution,
    /// The step of subqueries that name none.
    pub(crate) subquery_step_ms: i64,
    /// What [`look_ahead`] says.
    pub(crate) ahead_ms: i64,
}

/// The answer of one evaluation, or of several joined.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Piece {
    pub(crate) value: QueryValue,
    pub(crate) warnings: Vec<String>,
    pub(crate) infos: Vec<String>,
    /// Whether a text tells of particular steps.
    pub(crate) names_steps: bool,
    /// How long it was evaluated.
    pub(crate) evaluation: Duration,
    /// How many of its samples were kept ones.
    pub(crate) reused: usize,
}

/// One kept answer.
#[derive(Debug)]
pub(crate) struct Entry {
    version: Version,
    start: i64,
    len: usize,
    columns: Columns,
    warnings: Vec<Note>,
    infos: Vec<Note>,
}

// A warning or info with the last step of the evaluation it came from.
#[derive(Debug, Clone, PartialEq)]
struct Note {
    text: String,
    last: i64,
}

impl ResultCache {
    /// A cache of at most `limit` bytes; 0 keeps nothing.
    pub(crate) fn new(limit: usize) -> Self {
        Self {
            limit,
            shelf: Shelf::new(limit),
            hits: AtomicU64::new(0),
            partial_hits: AtomicU64::new(0),
            misses: AtomicU64::new(0),
        }
    }

    /// Whether answers over `grid` are kept at all.
    pub(crate) fn takes(&self, grid: Grid) -> bool {
        self.limit > 0 && grid.len() >= FEWEST_STEPS
    }

    pub(crate) fn status(&self) -> ResultCacheStatus {
        let (entries, bytes, evictions) = self.shelf.figures();
        ResultCacheStatus {
            hits: self.hits.load(Ordering::Relaxed),
            partial_hits: self.partial_hits.load(Ordering::Relaxed),
            misses: self.misses.load(Ordering::Relaxed),
            evictions,
            bytes,
            entries,
        }
    }

    /// The answer to `ask`: kept steps where they are still true, and what `evaluate` gives for the others.
    ///
    /// # Errors
    /// Those of `evaluate`; nothing is kept then.
    pub(crate) fn answer(
        &self,
        ask: &Ask<'_>,
        storage: &dyn Queryable,
        evaluate: &mut dyn FnMut(Grid) -> Result<Piece, QueryError>,
    ) -> Result<Piece, QueryError> {
        let key = Key {
            text: ask.text.into(),
            step_ms: ask.step_ms,
            phase_ms: ask.grid.start().rem_euclid(ask.step_ms.max(1)),
            lookback_ms: ask.lookback_ms,
            source_resolution: ask.source_resolution,
            subquery_step_ms: ask.subquery_step_ms,
        };
        let entry = self.shelf.get(&key);
        let since = entry.as_ref().map(|entry| entry.version.clone()).unwrap_or_default();
        let Some(changes) = storage.changes(&since) else {
            return evaluate(ask.grid);
        };
        let kept = entry.and_then(|entry| {
            let usable = entry.usable(ask, &changes)?;
            (usable.len().saturating_mul(LEAST_PART) >= ask.grid.len()).then_some((entry, usable))
        });
        let Some((entry, usable)) = kept else {
            self.misses.fetch_add(1, Ordering::Relaxed);
            return self.fresh(key, ask, changes.version, evaluate);
        };
        let mut joined = Joined::default();
        if usable.len() == ask.grid.len() {
            self.hits.fetch_add(1, Ordering::Relaxed);
            joined.add_kept(&entry, ask, &usable);
            return Ok(joined.into_piece());
        }
        self.partial_hits.fetch_add(1, Ordering::Relaxed);
        if let Some(before) = usable.start.checked_sub(1) {
            let head = Grid::range(ask.grid.start(), ask.grid.at(before), ask.step_ms);
            joined.add(evaluate(head)?, head);
        }
        joined.add_kept(&entry, ask, &usable);
        if usable.end < ask.grid.len() {
            let tail = Grid::range(ask.grid.at(usable.end), ask.grid.end(), ask.step_ms);
            joined.add(evaluate(tail)?, tail);
        }
        let needed = last_of(ask, &usable).saturating_add(ask.ahead_ms);
        let now = storage.changes(&changes.version);
        if let Some(now) = now.filter(|now| now.oldest_touched.is_some_and(|oldest| oldest <= needed)) {
            return self.fresh(key, ask, now.version, evaluate);
        }
        self.keep(key, ask, changes.version, &joined);
        Ok(joined.into_piece())
    }

    // Evaluates everything.
    fn fresh(
        &self,
        key: Key,
        ask: &Ask<'_>,
        version: Version,
        evaluate: &mut dyn FnMut(Grid) -> Result<Piece, QueryError>,
    ) -> Result<Piece, QueryError> {
        let mut joined = Joined::default();
        joined.add(evaluate(ask.grid)?, ask.grid);
        self.keep(key, ask, version, &joined);
        Ok(joined.into_piece())
    }

    // Keeps an answer if it can be kept.
    fn keep(&self, key: Key, ask: &Ask<'_>, version: Version, answer: &Joined) {
        if answer.names_steps {
            return;
        }
        let Some(columns) = Columns::of(&answer.series, ask.grid, ask.step_ms) else {
            return;
        };
        let entry = Entry {
            version,
            start: ask.grid.start(),
            len: ask.grid.len(),
            columns,
            warnings: answer.warnings.clone(),
            infos: answer.infos.clone(),
        };
        let bytes = entry.bytes() + key.bytes();
        if bytes <= self.limit / LARGEST_PART {
            self.shelf.put(key, entry, bytes);
        }
    }
}

// The time of the last of these steps.
fn last_of(ask: &Ask<'_>, steps: &Range<usize>) -> i64 {
    ask.grid.at(steps.end.saturating_sub(1))
}

impl Entry {
    // The steps of `ask` that are kept and still true.
    fn usable(&self, ask: &Ask<'_>, changes: &Changes) -> Option<Range<usize>> {
        if !changes.version.is_of_same_storage(&self.version) || ask.step_ms <= 0 {
            return None;
        }
        // Both grids have the same step and phase, so this many steps lie between their beginnings.
        let start = ask.grid.start();
        let ahead = start.checked_sub(self.start)? / ask.step_ms;
        let len = i64::try_from(self.len).ok()?;
        let first = ahead.checked_neg()?.max(0);
        let mut end = i64::try_from(ask.grid.len()).ok()?.min(len.checked_sub(ahead)?);
        if let Some(oldest) = changes.oldest_touched {
            let bound = oldest.saturating_sub(ask.ahead_ms);
            // The number of steps before `bound`.
            let before = bound.saturating_sub(start).saturating_sub(1).div_euclid(ask.step_ms) + 1;
            end = end.min(before);
        }
        let (first, end) = (usize::try_from(first).ok()?, usize::try_from(end).ok()?);
        (first < end).then_some(first..end)
    }

    fn bytes(&self) -> usize {
        let texts = self.warnings.iter().chain(&self.infos);
        let texts: usize = texts.map(|note| size_of::<Note>() + note.text.len()).sum();
        size_of::<Self>() + self.columns.bytes() + texts
    }
}

// Pieces that follow each other in time, as far as they are joined.
#[derive(Default)]
struct Joined {
    series: Vec<(Labels, Samples)>,
    warnings: Vec<Note>,
    infos: Vec<Note>,
    names_steps: bool,
    evaluation: Duration,
    reused: usize,
}

impl Joined {
    // Adds what was evaluated over `grid`.
    fn add(&mut self, piece: Piece, grid: Grid) {
        if let QueryValue::Matrix(series) = piece.value {
            self.series = join(std::mem::take(&mut self.series), series);
        }
        for (notes, texts) in [(&mut self.warnings, piece.warnings), (&mut self.infos, piece.infos)] {
            texts.into_iter().for_each(|text| tell(notes, text, grid.end()));
        }
        self.names_steps |= piece.names_steps;
        self.evaluation += piece.evaluation;
    }

    // Adds these steps of what was kept.
    fn add_kept(&mut self, entry: &Entry, ask: &Ask<'_>, steps: &Range<usize>) {
        let (begin, last) = (ask.grid.at(steps.start), last_of(ask, steps));
        let skipped = usize::try_from((begin - entry.start) / ask.step_ms.max(1)).unwrap_or(usize::MAX);
        let missing = ask.grid.len() - steps.len();
        let kept = entry
            .columns
            .series(skipped, Grid::range(begin, last, ask.step_ms), missing);
        self.reused += kept.iter().map(|(_, samples)| samples.len()).sum::<usize>();
        self.series = join(std::mem::take(&mut self.series), kept);
        for (notes, kept) in [(&mut self.warnings, &entry.warnings), (&mut self.infos, &entry.infos)] {
            for note in kept.iter().filter(|note| note.last >= begin) {
                tell(notes, note.text.clone(), note.last.min(last));
            }
        }
    }

    fn into_piece(self) -> Piece {
        let texts = |notes: Vec<Note>| notes.into_iter().map(|note| note.text).collect();
        Piece {
            value: QueryValue::Matrix(self.series),
            warnings: texts(self.warnings),
            infos: texts(self.infos),
            names_steps: self.names_steps,
            evaluation: self.evaluation,
            reused: self.reused,
        }
    }
}

fn tell(notes: &mut Vec<Note>, text: String, last: i64) {
    match notes.iter_mut().find(|note| note.text == text) {
        Some(known) => known.last = known.last.max(last),
        None => notes.push(Note { text, last }),
    }
}
