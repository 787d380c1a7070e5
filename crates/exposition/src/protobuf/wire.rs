//! Fields as metric families have them.

use cupola_histogram::Span;
pub(super) use cupola_wire::{Fields, Value, doubles, sint, sints, timestamp};

pub(super) fn text(bytes: &[u8]) -> Result<&str, &'static str> {
    std::str::from_utf8(bytes).map_err(|_| "invalid UTF-8")
}

/// A `uint64`; 0 where the field is something else.
pub(super) fn int(value: Value<'_>) -> u64 {
    if let Value::Varint(number) = value { number } else { 0 }
}

/// A `double`; 0 where the field is something else.
pub(super) fn real(value: Value<'_>) -> f64 {
    if let Value::Fixed64(bits) = value {
        f64::from_bits(bits)
    } else {
        0.0
    }
}

/// One more `BucketSpan`.
pub(super) fn spans(message: &[u8], out: &mut Vec<Span>) -> Result<(), &'static str> {
    let mut span = Span::default();
    for field in Fields(message) {
        match field? {
            (1, Value::Varint(raw)) => span.offset = sint(raw) as i32,
            (2, Value::Varint(length)) => span.length = length as u32,
            _ => {}
        }
    }
    out.push(span);
    Ok(())
}
