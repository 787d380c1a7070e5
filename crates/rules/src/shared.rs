//! A group that is evaluated while others ask how it does.

use std::time::Duration;

use parking_lot::{Mutex, MutexGuard};

use crate::group::{Group, GroupStatus};

// Evaluations that take less are waited for.
const PATIENCE: Duration = Duration::from_millis(100);

pub(crate) struct Shared {
    // Held during an evaluation.
    group: Mutex<Group>,
    // How it was after the last evaluation, where that took longer than anybody is to wait, and before the first one.
    told: Mutex<Option<GroupStatus>>,
}

impl Shared {
    pub(crate) fn new(group: Group) -> Self {
        let told = Mutex::new(Some(group.status()));
        Self {
            group: Mutex::new(group),
            told,
        }
    }

    /// The group itself; waits for the end of an evaluation.
    pub(crate) fn lock(&self) -> MutexGuard<'_, Group> {
        self.group.lock()
    }

    /// To be called after each evaluation, with the group that is held for it.
    pub(crate) fn evaluated(&self, group: &Group) {
        let is_slow = group.last_seconds() >= PATIENCE.as_secs_f64();
        *self.told.lock() = is_slow.then(|| group.status());
    }

    /// How the group is; while a slow one is evaluated, how it was before.
    pub(crate) fn status(&self) -> GroupStatus {
        if let Some(group) = self.group.try_lock_for(PATIENCE) {
            return group.status();
        }
        let told = self.told.lock().clone();
        told.unwrap_or_else(|| self.group.lock().status())
    }
}
