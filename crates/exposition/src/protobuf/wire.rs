//! The little of protobuf that metric families need: fields read where they lie.

use cupola_histogram::Span;

const SHORT: &str = "the message ends in the middle of a field";

/// What a field holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Value<'a> {
    Varint(u64),
    Fixed64(u64),
    Bytes(&'a [u8]),
    Fixed32,
}

/// The fields of a message, one after the other.
pub(super) struct Fields<'a>(pub &'a [u8]);

impl<'a> Fields<'a> {
    fn varint(&mut self) -> Result<u64, &'static str> {
        let mut value = 0_u64;
        for shift in (0..70).step_by(7) {
            let (&byte, rest) = self.0.split_first().ok_or(SHORT)?;
            self.0 = rest;
            if shift == 63 && byte > 1 {
                break;
            }
            value |= u64::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return Ok(value);
            }
        }
        Err("a number takes more than 64 bits")
    }

    /// A message behind its length.
    pub(super) fn delimited(&mut self) -> Result<&'a [u8], &'static str> {
        let length = usize::try_from(self.varint()?).map_err(|_| SHORT)?;
        let (taken, rest) = self.0.split_at_checked(length).ok_or(SHORT)?;
        self.0 = rest;
        Ok(taken)
    }

    fn field(&mut self) -> Result<(u64, Value<'a>), &'static str> {
        let key = self.varint()?;
        let value = match key & 7 {
            0 => Value::Varint(self.varint()?),
            1 => {
                let (bytes, rest) = self.0.split_first_chunk().ok_or(SHORT)?;
                self.0 = rest;
                Value::Fixed64(u64::from_le_bytes(*bytes))
            }
            2 => Value::Bytes(self.delimited()?),
            5 => {
                self.0 = self.0.get(4..).ok_or(SHORT)?;
                Value::Fixed32
            }
            _ => return Err("a field has an unknown wire type"),
        };
        match key >> 3 {
            0 => Err("field number 0 is not allowed"),
            number => Ok((number, value)),
        }
    }
}

impl<'a> Iterator for Fields<'a> {
    type Item = Result<(u64, Value<'a>), &'static str>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.0.is_empty() {
            return None;
        }
        let field = self.field();
        if field.is_err() {
            self.0 = &[];
        }
        Some(field)
    }
}

pub(super) fn text(bytes: &[u8]) -> Result<&str, &'static str> {
    std::str::from_utf8(bytes).map_err(|_| "invalid UTF-8")
}

/// The number that a zigzag varint stands for.
pub(super) fn sint(raw: u64) -> i64 {
    (raw >> 1) as i64 ^ -((raw & 1) as i64)
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

/// A field of a repeated `sint64`, packed or not.
pub(super) fn sints(value: Value<'_>, out: &mut Vec<i64>) -> Result<(), &'static str> {
    match value {
        Value::Varint(raw) => out.push(sint(raw)),
        Value::Bytes(packed) => {
            let mut rest = Fields(packed);
            while !rest.0.is_empty() {
                out.push(sint(rest.varint()?));
            }
        }
        _ => {}
    }
    Ok(())
}

/// A field of a repeated `double`, packed or not.
pub(super) fn doubles(value: Value<'_>, out: &mut Vec<f64>) -> Result<(), &'static str> {
    match value {
        Value::Fixed64(bits) => out.push(f64::from_bits(bits)),
        Value::Bytes(packed) => {
            let (words, rest) = packed.as_chunks::<8>();
            if !rest.is_empty() {
                return Err(SHORT);
            }
            out.extend(words.iter().map(|word| f64::from_le_bytes(*word)));
        }
        _ => {}
    }
    Ok(())
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

/// A `google.protobuf.Timestamp` in milliseconds.
pub(super) fn timestamp(message: &[u8]) -> Result<i64, &'static str> {
    let (mut seconds, mut nanos) = (0_i64, 0_i64);
    for field in Fields(message) {
        match field? {
            (1, Value::Varint(raw)) => seconds = raw as i64,
            (2, Value::Varint(raw)) => nanos = raw as i64,
            _ => {}
        }
    }
    Ok(seconds.saturating_mul(1000).saturating_add(nanos / 1_000_000))
}
