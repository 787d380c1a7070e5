//! Protobuf's wire format without schemas: the fields of a message are read where they lie, and written one by one.
//!
//! What is spoken in protobuf here are a dozen small messages, some of which come a thousand times a second: remote write,
//! remote read, OTLP, metric families, Alertmanager's state files. Whoever reads a message knows its fields by number;
//! fields that it does not know are passed over.
//!
//! *Invariant:* no bytes make it panic, and nothing is copied to be read.

mod read;
mod write;

pub use read::{Fields, Value, WireError, doubles, pair, sint, sints, timestamp, uints};
pub use write::{Message, bytes, number, number_of_choice, text, uvarint, zigzag};
