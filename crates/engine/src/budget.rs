//! What one query has used, and the checks that stop it.

use crate::cancel::Cancel;
use crate::error::{QueryError, Stage};

// Flag and clock are looked at once per this many samples: some tens of microseconds of work.
const CHECK_EVERY: usize = 4096;

// Vectors up to this size, 8 MiB, are always allowed.
const SMALL_CELLS: usize = 1 << 20;

/// Counts the samples a query holds and reads, and stops it at its limits.
pub(crate) struct Budget<'q> {
    cancel: &'q Cancel,
    max_samples: usize,
    held: usize,
    peak: usize,
    read: u64,
    queryable: u64,
    unchecked: usize,
}

impl<'q> Budget<'q> {
    pub(crate) fn new(cancel: &'q Cancel, max_samples: usize) -> Self {
        Self {
            cancel,
            max_samples,
            held: 0,
            peak: 0,
            read: 0,
            queryable: 0,
            unchecked: 0,
        }
    }

    /// Notes `samples` of work and looks at flag and clock now and then.
    pub(crate) fn work(&mut self, samples: usize) -> Result<(), QueryError> {
        self.unchecked += samples.max(1);
        if self.unchecked < CHECK_EVERY {
            return Ok(());
        }
        self.unchecked = 0;
        self.cancel.check(Stage::Evaluation)
    }

    /// Looks at flag and clock now.
    pub(crate) fn check(&mut self) -> Result<(), QueryError> {
        self.unchecked = 0;
        self.cancel.check(Stage::Evaluation)
    }

    /// Takes `samples` into memory.
    pub(crate) fn hold(&mut self, samples: usize) -> Result<(), QueryError> {
        self.held += samples;
        self.peak = self.peak.max(self.held);
        if self.held > self.max_samples {
            Err(QueryError::TooManySamples)
        } else {
            Ok(())
        }
    }

    /// Whether a vector of `rows` columns may be made. Absent steps take memory too, though they are no samples: a
    /// thousand steps of series that lived for one each must not slip past the limit.
    pub(crate) fn room(&self, rows: usize, steps: usize) -> Result<(), QueryError> {
        let cells = self.max_samples.saturating_mul(2).max(SMALL_CELLS);
        if rows.saturating_mul(steps) > cells {
            Err(QueryError::TooManySamples)
        } else {
            Ok(())
        }
    }

    /// How many samples are held now.
    pub(crate) fn held(&self) -> usize {
        self.held
    }

    /// Gives back everything beyond `held`.
    pub(crate) fn release_to(&mut self, held: usize) {
        self.held = held;
    }

    /// Notes samples read from storage.
    pub(crate) fn note_read(&mut self, samples: usize) {
        self.read += samples as u64;
    }

    /// Notes samples that took part in the answer, once per step they took part in.
    pub(crate) fn note_queryable(&mut self, samples: usize) {
        self.queryable += samples as u64;
    }

    pub(crate) fn stats(&self) -> crate::QueryStats {
        crate::QueryStats {
            total_queryable_samples: self.queryable,
            samples_read: self.read,
            peak_samples: self.peak as u64,
            timings: crate::QueryTimings::default(),
        }
    }
}
