//! Fields, read where they lie.

use thiserror::Error;

/// Why bytes are no message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum WireError {
    /// A field is longer than what is left.
    #[error("the message ends in the middle of a field")]
    Short,
    /// A varint has no end within ten bytes, or bits beyond the 64th.
    #[error("a number takes more than 64 bits")]
    Long,
    /// Neither a number nor bytes: a group, or nothing that protobuf has.
    #[error("wire type {0} is not known")]
    Type(u8),
    /// No field can have it.
    #[error("field number 0 is not allowed")]
    Number,
    /// A field that is known by its number holds something else than it should.
    #[error("field {0} is of another type")]
    Kind(u64),
}

/// For errors that name what is wrong and nothing else.
impl From<WireError> for &'static str {
    fn from(error: WireError) -> Self {
        match error {
            WireError::Short => "the message ends in the middle of a field",
            WireError::Long => "a number takes more than 64 bits",
            WireError::Type(_) => "a field has an unknown wire type",
            WireError::Number => "field number 0 is not allowed",
            WireError::Kind(_) => "a field is of another type",
        }
    }
}

/// What a field holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Value<'a> {
    /// `int32` … `uint64`, `bool`, `enum`; `sint32` and `sint64` in zigzag form.
    Varint(u64),
    /// `fixed64`, `sfixed64`; the bits of a `double`.
    Fixed64(u64),
    /// `string`, `bytes`, a message inside, packed numbers.
    Bytes(&'a [u8]),
    /// `fixed32`, `sfixed32`; the bits of a `float`.
    Fixed32(u32),
}

/// The fields of a message, one after the other: number and value. Ends with the first error.
pub struct Fields<'a>(pub &'a [u8]);

impl<'a> Fields<'a> {
    /// A number that stands alone, as in packed fields.
    ///
    /// # Errors
    /// [`WireError::Short`] or [`WireError::Long`].
    #[inline]
    pub fn varint(&mut self) -> Result<u64, WireError> {
        // Mostly it is a byte: a field's key, the length of a label.
        if let Some((&byte, rest)) = self.0.split_first()
            && byte < 0x80
        {
            self.0 = rest;
            return Ok(byte.into());
        }
        self.long_varint()
    }

    fn long_varint(&mut self) -> Result<u64, WireError> {
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

    /// A length and as many bytes, as messages follow each other in a stream.
    ///
    /// # Errors
    /// [`WireError::Short`] or [`WireError::Long`].
    #[inline]
    pub fn sized(&mut self) -> Result<&'a [u8], WireError> {
        let length = usize::try_from(self.varint()?).map_err(|_| WireError::Short)?;
        let (taken, rest) = self.0.split_at_checked(length).ok_or(WireError::Short)?;
        self.0 = rest;
        Ok(taken)
    }

    fn chunk<const N: usize>(&mut self) -> Result<[u8; N], WireError> {
        let (bytes, rest) = self.0.split_first_chunk().ok_or(WireError::Short)?;
        self.0 = rest;
        Ok(*bytes)
    }

    #[inline]
    fn field(&mut self) -> Result<(u64, Value<'a>), WireError> {
        let key = self.varint()?;
        let value = match key & 7 {
            0 => Value::Varint(self.varint()?),
            1 => Value::Fixed64(u64::from_le_bytes(self.chunk()?)),
            2 => Value::Bytes(self.sized()?),
            5 => Value::Fixed32(u32::from_le_bytes(self.chunk()?)),
            other => return Err(WireError::Type(other as u8)),
        };
        match key >> 3 {
            0 => Err(WireError::Number),
            number => Ok((number, value)),
        }
    }
}

impl<'a> Iterator for Fields<'a> {
    type Item = Result<(u64, Value<'a>), WireError>;

    #[inline]
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

/// The value of field `number`, where it has to be of one type.
impl<'a> Value<'a> {
    /// Bytes or a message.
    ///
    /// # Errors
    /// [`WireError::Kind`]
    pub fn bytes(self, number: u64) -> Result<&'a [u8], WireError> {
        match self {
            Self::Bytes(bytes) => Ok(bytes),
            _ => Err(WireError::Kind(number)),
        }
    }

    /// Text; what is not UTF-8 is replaced, as Go would print it.
    ///
    /// # Errors
    /// [`WireError::Kind`]
    pub fn text(self, number: u64) -> Result<String, WireError> {
        Ok(String::from_utf8_lossy(self.bytes(number)?).into_owned())
    }

    /// A whole number.
    ///
    /// # Errors
    /// [`WireError::Kind`]
    pub fn number(self, number: u64) -> Result<u64, WireError> {
        match self {
            Self::Varint(value) => Ok(value),
            _ => Err(WireError::Kind(number)),
        }
    }

    /// A `google.protobuf.Timestamp`, in milliseconds since the epoch.
    ///
    /// # Errors
    /// [`WireError::Kind`], or what is wrong inside.
    pub fn time(self, number: u64) -> Result<i64, WireError> {
        timestamp(self.bytes(number)?)
    }

    /// Whole numbers, packed or one alone.
    ///
    /// # Errors
    /// [`WireError::Kind`], or what is wrong inside.
    pub fn numbers(self, number: u64, out: &mut Vec<u64>) -> Result<(), WireError> {
        match self {
            Self::Varint(_) | Self::Bytes(_) => uints(self, out),
            _ => Err(WireError::Kind(number)),
        }
    }
}

/// The number that a zigzag varint stands for.
#[must_use]
#[inline]
pub fn sint(raw: u64) -> i64 {
    (raw >> 1) as i64 ^ -((raw & 1) as i64)
}

/// A field of a repeated `sint32` or `sint64`, packed or not; another type is passed over.
///
/// # Errors
/// [`WireError::Short`] or [`WireError::Long`].
pub fn sints(value: Value<'_>, out: &mut Vec<i64>) -> Result<(), WireError> {
    each(value, |raw| out.push(sint(raw)))
}

/// A field of a repeated `uint32` or `uint64`, packed or not; another type is passed over.
///
/// # Errors
/// [`WireError::Short`] or [`WireError::Long`].
pub fn uints(value: Value<'_>, out: &mut Vec<u64>) -> Result<(), WireError> {
    each(value, |raw| out.push(raw))
}

fn each(value: Value<'_>, mut take: impl FnMut(u64)) -> Result<(), WireError> {
    match value {
        Value::Varint(raw) => take(raw),
        Value::Bytes(packed) => {
            let mut rest = Fields(packed);
            while !rest.0.is_empty() {
                take(rest.varint()?);
            }
        }
        _ => {}
    }
    Ok(())
}

/// A field of a repeated `double`, packed or not; another type is passed over.
///
/// # Errors
/// [`WireError::Short`] where the packed bytes are not of eights.
pub fn doubles(value: Value<'_>, out: &mut Vec<f64>) -> Result<(), WireError> {
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

/// A `google.protobuf.Timestamp` in milliseconds since the epoch, as near as an `i64` comes.
///
/// # Errors
/// What is wrong inside.
pub fn timestamp(message: &[u8]) -> Result<i64, WireError> {
    let (mut seconds, mut nanos) = (0_i64, 0_i64);
    for field in Fields(message) {
        match field? {
            (1, value) => seconds = value.number(1)? as i64,
            (2, value) => nanos = value.number(2)? as i64,
            _ => {}
        }
    }
    Ok(seconds.saturating_mul(1000).saturating_add(nanos / 1_000_000))
}

/// A pair of texts, as protobuf's maps hold them: fields 1 and 2 of the message in field `number`.
///
/// # Errors
/// [`WireError::Kind`], or what is wrong inside.
pub fn pair(value: Value<'_>, number: u64) -> Result<(String, String), WireError> {
    let mut pair = (String::new(), String::new());
    for field in Fields(value.bytes(number)?) {
        match field? {
            (1, value) => pair.0 = value.text(1)?,
            (2, value) => pair.1 = value.text(2)?,
            _ => {}
        }
    }
    Ok(pair)
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
    }

    #[test]
    fn no_bytes_make_it_panic() {
        let message = [0x0a, 4, 8, 1, 16, 2, 0x12, 9, 1, 2, 3, 4, 5, 6, 7, 8, 9, 0x18, 5];
        cupola_testkit::fuzz(5_000, &[message.to_vec()], &[], |bytes| {
            let (mut ints, mut signed, mut reals, mut count) = (Vec::new(), Vec::new(), Vec::new(), 0);
            for (number, value) in Fields(bytes).flatten() {
                count += 1;
                let _ = (value.time(number), value.text(number), pair(value, number));
                let _ = (
                    uints(value, &mut ints),
                    sints(value, &mut signed),
                    doubles(value, &mut reals),
                );
            }
            assert!(count <= bytes.len() && ints.len() <= bytes.len());
        });
    }
}
