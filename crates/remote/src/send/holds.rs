//! What the storage is to keep of its log for all destinations together.

use std::collections::BTreeMap;
use std::sync::Arc;

use cupola_storage::{LogPosition, Tailable};
use parking_lot::Mutex;

pub(super) struct Holds {
    log: Arc<dyn Tailable>,
    positions: Mutex<BTreeMap<String, LogPosition>>,
}

impl Holds {
    pub(super) fn new(log: Arc<dyn Tailable>) -> Self {
        Self {
            log,
            positions: Mutex::default(),
        }
    }

    /// A destination needs the log from here on.
    pub(super) fn set(&self, key: &str, position: LogPosition) {
        let mut positions = self.positions.lock();
        // One that is gone already does not come back.
        if let Some(own) = positions.get_mut(key) {
            *own = position;
            self.log.hold_log(positions.values().min().copied());
        }
    }

    /// Exactly these destinations are there from now on; those that were there keep their place.
    pub(super) fn replace(&self, keys: &[(String, LogPosition)]) {
        let mut positions = self.positions.lock();
        let old = std::mem::take(&mut *positions);
        for (key, position) in keys {
            positions.insert(key.clone(), old.get(key).copied().unwrap_or(*position));
        }
        self.log.hold_log(positions.values().min().copied());
    }
}
