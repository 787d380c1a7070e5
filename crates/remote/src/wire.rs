//! The little of protobuf that remote write needs: fields read where they lie.

use thiserror::Error;

/// Why bytes are no message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub(crate) enum WireError {
    #[error("the message ends in the middle of a field")]
    Short,
    #[error("a number takes more than 64 bits")]
    Long,
    #[error("wire type {0} is not known")]
    Type(u8),
    #[error("field number 0 is not allowed")]
    Number,
}

/// What a field holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Value<'a> {
    Varint(u64),
    Fixed64(u64),
    Bytes(&'a [u8]),
    Fixed32(u32),
}

/// The fields of a message, one after the other.
pub(crate) struct Fields<'a>(pub &'a [u8]);

impl<'a> Fields<'a> {
    fn varint(&mut self) -> Result<u64, WireError> {
        let mut value = 0_u64;
        for shift in (0..70).step_by(7) {
            let (&byte, rest) = self.0.split_first().ok_or(WireError::Short)?;
            self.0 = rest;
            if shift == 63 && byte > 1 {
                break;
            }
            value |= u64::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return Ok(value);
            }
        }
        Err(WireError::Long)
    }

    fn take(&mut self, count: u64) -> Result<&'a [u8], WireError> {
        let count = usize::try_from(count).map_err(|_| WireError::Short)?;
        let (taken, rest) = self.0.split_at_checked(count).ok_or(WireError::Short)?;
        self.0 = rest;
        Ok(taken)
    }

    fn field(&mut self) -> Result<(u64, Value<'a>), WireError> {
        let key = self.varint()?;
        let value = match key & 7 {
            0 => Value::Varint(self.varint()?),
            1 => {
                let (bytes, rest) = self.0.split_first_chunk().ok_or(WireError::Short)?;
                self.0 = rest;
                Value::Fixed64(u64::from_le_bytes(*bytes))
            }
            2 => {
                let length = self.varint()?;
                Value::Bytes(self.take(length)?)
            }
            5 => {
                let (bytes, rest) = self.0.split_first_chunk().ok_or(WireError::Short)?;
                self.0 = rest;
                Value::Fixed32(u32::from_le_bytes(*bytes))
            }
            other => return Err(WireError::Type(other as u8)),
        };
        match key >> 3 {
            0 => Err(WireError::Number),
            number => Ok((number, value)),
        }
    }
}

/// The number that a zigzag varint stands for.
pub(crate) fn sint(raw: u64) -> i64 {
    (raw >> 1) as i64 ^ -((raw & 1) as i64)
}

/// A field of a repeated `sint64`, packed or not.
pub(crate) fn sints(value: Value<'_>, out: &mut Vec<i64>) -> Result<(), WireError> {
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

/// A field of a repeated `uint32` or `uint64`, packed or not.
pub(crate) fn uints(value: Value<'_>, out: &mut Vec<u64>) -> Result<(), WireError> {
    match value {
        Value::Varint(raw) => out.push(raw),
        Value::Bytes(packed) => {
            let mut rest = Fields(packed);
            while !rest.0.is_empty() {
                out.push(rest.varint()?);
            }
        }
        _ => {}
    }
    Ok(())
}

/// A field of a repeated `double`, packed or not.
pub(crate) fn doubles(value: Value<'_>, out: &mut Vec<f64>) -> Result<(), WireError> {
    match value {
        Value::Fixed64(bits) => out.push(f64::from_bits(bits)),
        Value::Bytes(packed) => {
            let (words, rest) = packed.as_chunks::<8>();
            if !rest.is_empty() {
                return Err(WireError::Short);
            }
            out.extend(words.iter().map(|word| f64::from_le_bytes(*word)));
        }
        _ => {}
    }
    Ok(())
}

impl<'a> Iterator for Fields<'a> {
    type Item = Result<(u64, Value<'a>), WireError>;

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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_read_and_broken_ones_told() {
        let all = |bytes: &[u8]| Fields(bytes).collect::<Vec<_>>().len();
        let message = [
            0x08, 0x96, 0x01, 0x11, 1, 0, 0, 0, 0, 0, 0, 0, 0x1a, 2, b'h', b'i', 0x25, 7, 0, 0, 0,
        ];
        let fields: Result<Vec<_>, _> = Fields(&message).collect();
        assert_eq!(
            fields.unwrap(),
            [
                (1, Value::Varint(150)),
                (2, Value::Fixed64(1)),
                (3, Value::Bytes(b"hi")),
                (4, Value::Fixed32(7))
            ]
        );
        for (bytes, error) in [
            (&message[..2], WireError::Short),
            (&message[3..8], WireError::Short),
            (&message[12..15], WireError::Short),
            (&[0x0b], WireError::Type(3)),
            (&[0x00, 0x00], WireError::Number),
            (&[0x08, 255, 255, 255, 255, 255, 255, 255, 255, 255, 2], WireError::Long),
        ] {
            assert_eq!(Fields(bytes).last(), Some(Err(error)), "{bytes:?}");
        }
        assert_eq!(all(&[0x08, 255, 255, 255, 255, 255, 255, 255, 255, 255, 1]), 1);
        cupola_testkit::fuzz(5_000, &[message.to_vec()], &[], |bytes| {
            assert!(all(bytes) <= bytes.len());
        });
    }
}
