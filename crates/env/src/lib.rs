//! The outside world behind traits, so that a test can turn the clock and break the disk.
//!
//! *Invariant:* the only crate that reads the wall clock. *Invariant:* stored data is read and written through [`Vfs`],
//! but for the lock file of `tsdb`.

mod clock;
mod faulty;
mod real;
mod sim;
mod vfs;

pub use clock::{Clock, ManualClock, SystemClock};
pub use faulty::FaultyFs;
pub use real::RealFs;
pub use sim::{Faults, SimDisk};
pub use vfs::{Vfs, VfsFile, VfsRead};
