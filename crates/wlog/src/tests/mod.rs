//! Everything is tested against a small writer of the same formats.

mod frames;
mod heads;
mod records;
mod restores;
mod write;
