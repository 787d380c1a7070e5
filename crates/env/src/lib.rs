//! The outside world behind traits, so that a test can turn the clock and break the disk.
//!
//! *Invariant:* the only crate that reads the wall clock or names `std::fs` for stored data. (`block` reads its sealed
//! files itself for now; see ARCHITECTURE.md.)

mod clock;
mod faulty;
mod real;
mod vfs;

pub use clock::{Clock, ManualClock, SystemClock};
pub use faulty::FaultyFs;
pub use real::RealFs;
pub use vfs::{Vfs, VfsFile};
