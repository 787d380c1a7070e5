//! What the collectors remember from scrape to scrape.

use parking_lot::Mutex;

use crate::collector::cpu::CpuTimes;
use crate::collector::statfs::Prober;

/// One per [`Collectors`](crate::Collectors), shared by its scrapes.
pub(crate) struct State {
    pub(crate) cpu: Mutex<CpuTimes>,
    pub(crate) mounts: Prober,
}
