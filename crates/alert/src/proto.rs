//! The little of protobuf that Alertmanager's state files need: fields read where they lie, and written.

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
    #[error("field {0} is of another type")]
    Kind(u64),
}

/// What a field holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Value<'a> {
    Varint(u64),
    Bytes(&'a [u8]),
    /// Fixed numbers, which nothing here uses.
    Other,
}

/// The fields of a message, one after the other.
pub(crate) struct Fields<'a>(pub &'a [u8]);

impl<'a> Fields<'a> {
    pub(crate) fn varint(&mut self) -> Result<u64, WireError> {
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

    /// A length and as many bytes.
    pub(crate) fn sized(&mut self) -> Result<&'a [u8], WireError> {
        let length = usize::try_from(self.varint()?).map_err(|_| WireError::Short)?;
        self.take(length)
    }

    fn take(&mut self, count: usize) -> Result<&'a [u8], WireError> {
        let (taken, rest) = self.0.split_at_checked(count).ok_or(WireError::Short)?;
        self.0 = rest;
        Ok(taken)
    }

    fn field(&mut self) -> Result<(u64, Value<'a>), WireError> {
        let key = self.varint()?;
        let value = match key & 7 {
            0 => Value::Varint(self.varint()?),
            1 => self.take(8).map(|_| Value::Other)?,
            2 => Value::Bytes(self.sized()?),
            5 => self.take(4).map(|_| Value::Other)?,
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

impl<'a> Value<'a> {
    pub(crate) fn bytes(self, number: u64) -> Result<&'a [u8], WireError> {
        match self {
            Self::Bytes(bytes) => Ok(bytes),
            _ => Err(WireError::Kind(number)),
        }
    }

    /// Text; what is not UTF-8 is replaced, as Go would print it.
    pub(crate) fn text(self, number: u64) -> Result<String, WireError> {
        Ok(String::from_utf8_lossy(self.bytes(number)?).into_owned())
    }

    pub(crate) fn number(self, number: u64) -> Result<u64, WireError> {
        match self {
            Self::Varint(value) => Ok(value),
            _ => Err(WireError::Kind(number)),
        }
    }

    /// A `google.protobuf.Timestamp`, in milliseconds since the epoch.
    pub(crate) fn time(self, number: u64) -> Result<i64, WireError> {
        let (mut seconds, mut nanos) = (0_i64, 0_i64);
        for field in Fields(self.bytes(number)?) {
            match field? {
                (1, value) => seconds = value.number(1)? as i64,
                (2, value) => nanos = value.number(2)? as i64,
                _ => {}
            }
        }
        Ok(seconds.saturating_mul(1000).saturating_add(nanos / 1_000_000))
    }

    /// Numbers, packed or one alone.
    pub(crate) fn numbers(self, number: u64, out: &mut Vec<u64>) -> Result<(), WireError> {
        match self {
            Self::Varint(value) => out.push(value),
            Self::Bytes(bytes) => {
                let mut packed = Fields(bytes);
                while !packed.0.is_empty() {
                    out.push(packed.varint()?);
                }
            }
            Self::Other => return Err(WireError::Kind(number)),
        }
        Ok(())
    }
}

/// A pair of texts, as protobuf's maps hold them: fields 1 and 2.
pub(crate) fn pair(value: Value<'_>, number: u64) -> Result<(String, String), WireError> {
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

/// A message that is being written. As proto3 does, values that are zero or empty are left out.
#[derive(Debug, Default)]
pub(crate) struct Message(pub Vec<u8>);

impl Message {
    pub(crate) fn varint(&mut self, mut value: u64) {
        while value >= 0x80 {
            self.0.push(value as u8 | 0x80);
            value >>= 7;
        }
        self.0.push(value as u8);
    }

    pub(crate) fn number(&mut self, field: u64, value: u64) {
        if value != 0 {
            self.varint(field << 3);
            self.varint(value);
        }
    }

    pub(crate) fn bytes(&mut self, field: u64, bytes: &[u8]) {
        if !bytes.is_empty() {
            self.message(field, bytes);
        }
    }

    /// A message inside, which counts also where it is empty.
    pub(crate) fn message(&mut self, field: u64, bytes: &[u8]) {
        self.varint(field << 3 | 2);
        self.sized(bytes);
    }

    /// A length and the bytes.
    pub(crate) fn sized(&mut self, bytes: &[u8]) {
        self.varint(bytes.len() as u64);
        self.0.extend_from_slice(bytes);
    }

    pub(crate) fn time(&mut self, field: u64, ms: i64) {
        let mut time = Self::default();
        // Two's complement, as protobuf writes a negative int64.
        time.number(1, ms.div_euclid(1000) as u64);
        time.number(2, ms.rem_euclid(1000).unsigned_abs() * 1_000_000);
        self.message(field, &time.0);
    }

    pub(crate) fn packed(&mut self, field: u64, values: &[u64]) {
        let mut packed = Self::default();
        for value in values {
            packed.varint(*value);
        }
        self.bytes(field, &packed.0);
    }

    pub(crate) fn pair(&mut self, field: u64, name: &str, value: &str) {
        let mut pair = Self::default();
        pair.bytes(1, name.as_bytes());
        pair.bytes(2, value.as_bytes());
        self.message(field, &pair.0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        let mut message = Message::default();
        message.number(1, u64::MAX);
        message.bytes(2, "a\u{e9}".as_bytes());
        message.time(3, -1);
        message.time(4, 1_795_000_000_123);
        message.packed(5, &[0, 300, u64::MAX]);
        message.pair(6, "n", "");
        let fields: Vec<_> = Fields(&message.0).map(Result::unwrap).collect();
        assert_eq!(fields.len(), 6);
        assert_eq!(fields[0].1.number(1), Ok(u64::MAX));
        assert_eq!(fields[1].1.text(2).unwrap(), "aé");
        assert_eq!(fields[2].1.time(3), Ok(-1));
        assert_eq!(fields[3].1.time(4), Ok(1_795_000_000_123));
        let mut numbers = Vec::new();
        fields[4].1.numbers(5, &mut numbers).unwrap();
        assert_eq!(numbers, [0, 300, u64::MAX]);
        assert_eq!(pair(fields[5].1, 6).unwrap(), ("n".to_owned(), String::new()));
    }
}
