//! Lets only so many queries run at once.

use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex};

use crate::cancel::Cancel;
use crate::error::{QueryError, Stage};

// A waiting query notices that it was cancelled within this time.
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// A counter of free places.
pub(crate) struct Gate {
    free: Mutex<usize>,
    left: Condvar,
}

/// A taken place; given back when dropped.
pub(crate) struct Place<'g> {
    gate: &'g Gate,
}

impl Gate {
    /// A gate with `places`, at least one.
    pub(crate) fn new(places: usize) -> Self {
        Self {
            free: Mutex::new(places.max(1)),
            left: Condvar::new(),
        }
    }

    /// Waits for a place.
    pub(crate) fn enter(&self, cancel: &Cancel) -> Result<Place<'_>, QueryError> {
        let mut free = self.free.lock();
        while *free == 0 {
            cancel.check(Stage::Queue)?;
            let mut until = Instant::now() + LOOK_EVERY;
            if let Some(deadline) = cancel.deadline() {
                until = until.min(deadline);
            }
            self.left.wait_until(&mut free, until);
        }
        *free -= 1;
        Ok(Place { gate: self })
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        *self.gate.free.lock() += 1;
        self.gate.left.notify_one();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_finds_no_place_times_out_in_the_queue() {
        let gate = Gate::new(1);
        let place = gate.enter(&Cancel::new()).unwrap();
        let late = Cancel::with_deadline(Instant::now());
        let text = gate.enter(&late).map(|_| ()).unwrap_err().to_string();
        assert_eq!(text, "query timed out in query queue");
        drop(place);
        assert!(gate.enter(&late).is_ok());
    }
}
