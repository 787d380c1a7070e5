//! Fields, written. As proto3 does, values that are zero or empty are left out unless it says otherwise.

/// A number that stands alone, seven bits a byte.
#[inline]
pub fn uvarint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

/// The form in which `sint32` and `sint64` are written.
#[must_use]
#[inline]
pub fn zigzag(value: i64) -> u64 {
    ((value << 1) ^ (value >> 63)) as u64
}

/// A whole number; 0 is not written.
pub fn number(out: &mut Vec<u8>, field: u8, value: u64) {
    if value != 0 {
        number_of_choice(out, field, value);
    }
}

/// A whole number that is one of several (`oneof`), which is told by its being there.
pub fn number_of_choice(out: &mut Vec<u8>, field: u8, value: u64) {
    uvarint(out, u64::from(field) << 3);
    uvarint(out, value);
}

/// Bytes or a message inside, which count also where they are empty.
pub fn bytes(out: &mut Vec<u8>, field: u8, value: &[u8]) {
    uvarint(out, u64::from(field) << 3 | 2);
    uvarint(out, value.len() as u64);
    out.extend_from_slice(value);
}

/// Text; none is not written.
pub fn text(out: &mut Vec<u8>, field: u8, value: &str) {
    if !value.is_empty() {
        bytes(out, field, value.as_bytes());
    }
}

/// A message that is being written.
#[derive(Debug, Default)]
pub struct Message(pub Vec<u8>);

impl Message {
    /// A number that stands alone.
    pub fn varint(&mut self, value: u64) {
        uvarint(&mut self.0, value);
    }

    /// A whole number.
    pub fn number(&mut self, field: u8, value: u64) {
        number(&mut self.0, field, value);
    }

    /// A `double`, written also where it is 0.
    pub fn double(&mut self, field: u8, value: f64) {
        self.varint(u64::from(field) << 3 | 1);
        self.0.extend(value.to_bits().to_le_bytes());
    }

    /// Bytes or text.
    pub fn bytes(&mut self, field: u8, value: &[u8]) {
        if !value.is_empty() {
            bytes(&mut self.0, field, value);
        }
    }

    /// A message inside, which counts also where it is empty.
    pub fn message(&mut self, field: u8, value: &[u8]) {
        bytes(&mut self.0, field, value);
    }

    /// A length and the bytes, as messages follow each other in a stream.
    pub fn sized(&mut self, value: &[u8]) {
        self.varint(value.len() as u64);
        self.0.extend_from_slice(value);
    }

    /// A `google.protobuf.Timestamp`, from milliseconds since the epoch.
    pub fn time(&mut self, field: u8, ms: i64) {
        let mut time = Self::default();
        // Two's complement, as protobuf writes a negative int64.
        time.number(1, ms.div_euclid(1000) as u64);
        time.number(2, ms.rem_euclid(1000).unsigned_abs() * 1_000_000);
        self.message(field, &time.0);
    }

    /// Whole numbers in one field.
    pub fn packed(&mut self, field: u8, values: &[u64]) {
        let mut packed = Self::default();
        for value in values {
            packed.varint(*value);
        }
        self.bytes(field, &packed.0);
    }

    /// A pair of texts, as protobuf's maps hold them.
    pub fn pair(&mut self, field: u8, name: &str, value: &str) {
        let mut pair = Self::default();
        pair.bytes(1, name.as_bytes());
        pair.bytes(2, value.as_bytes());
        self.message(field, &pair.0);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::{Fields, Value, pair, sint};

    #[test]
    fn what_is_written_is_read() {
        let mut message = Message::default();
        message.number(1, u64::MAX);
        message.bytes(2, "a\u{e9}".as_bytes());
        message.time(3, -1);
        message.time(4, 1_795_000_000_123);
        message.packed(5, &[0, 300, u64::MAX]);
        message.pair(6, "n", "");
        message.double(7, -0.0);
        let fields: Vec<_> = Fields(&message.0).map(Result::unwrap).collect();
        assert_eq!(fields.len(), 7);
        assert_eq!(fields[0].1.number(1), Ok(u64::MAX));
        assert_eq!(fields[1].1.text(2).unwrap(), "aé");
        assert_eq!(fields[2].1.time(3), Ok(-1));
        assert_eq!(fields[3].1.time(4), Ok(1_795_000_000_123));
        let mut numbers = Vec::new();
        fields[4].1.numbers(5, &mut numbers).unwrap();
        assert_eq!(numbers, [0, 300, u64::MAX]);
        assert_eq!(pair(fields[5].1, 6).unwrap(), ("n".to_owned(), String::new()));
        assert_eq!(fields[6], (7, Value::Fixed64((-0.0_f64).to_bits())));
    }

    proptest! {
        #[test]
        fn numbers_and_bytes_come_back(field in 1..=u8::MAX, value: u64, signed: i64, blob: Vec<u8>) {
            prop_assert_eq!(sint(zigzag(signed)), signed);
            let mut out = Vec::new();
            number_of_choice(&mut out, field, value);
            bytes(&mut out, field, &blob);
            let read: Vec<_> = Fields(&out).map(Result::unwrap).collect();
            let number = u64::from(field);
            prop_assert_eq!(read, [(number, Value::Varint(value)), (number, Value::Bytes(&blob))]);
        }
    }
}
