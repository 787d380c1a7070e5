//! Numbers and texts as Prometheus's `encoding` package lays them out: big-endian words, Go's varints.

pub(crate) use cupola_wire::uvarint as put_uvarint;
use cupola_wire::{Fields, WireError, sint, zigzag};

/// What is wrong with some bytes, and where in the file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Fault {
    pub(crate) at: u64,
    pub(crate) reason: String,
}

impl Fault {
    pub(crate) fn new(at: u64, reason: impl Into<String>) -> Self {
        Self {
            at,
            reason: reason.into(),
        }
    }
}

pub(crate) type Parsed<T> = Result<T, Fault>;

/// Walks bytes that were read from `base` on in a file.
#[derive(Debug, Clone)]
pub(crate) struct Dec<'a> {
    rest: &'a [u8],
    at: u64,
}

impl<'a> Dec<'a> {
    pub(crate) fn new(bytes: &'a [u8], base: u64) -> Self {
        Self { rest: bytes, at: base }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    pub(crate) fn len(&self) -> usize {
        self.rest.len()
    }

    /// Position in the file.
    pub(crate) fn at(&self) -> u64 {
        self.at
    }

    pub(crate) fn rest(&self) -> &'a [u8] {
        self.rest
    }

    pub(crate) fn fault<T>(&self, reason: impl Into<String>) -> Parsed<T> {
        Err(Fault::new(self.at, reason))
    }

    pub(crate) fn take(&mut self, len: usize) -> Parsed<&'a [u8]> {
        match self.rest.split_at_checked(len) {
            Some((taken, rest)) => {
                self.rest = rest;
                self.at += len as u64;
                Ok(taken)
            }
            None => self.fault(format!("{len} bytes expected, {} left", self.rest.len())),
        }
    }

    fn array<const N: usize>(&mut self) -> Parsed<[u8; N]> {
        let mut out = [0; N];
        out.copy_from_slice(self.take(N)?);
        Ok(out)
    }

    pub(crate) fn byte(&mut self) -> Parsed<u8> {
        Ok(u8::from_be_bytes(self.array()?))
    }

    pub(crate) fn be32(&mut self) -> Parsed<u32> {
        Ok(u32::from_be_bytes(self.array()?))
    }

    pub(crate) fn be64(&mut self) -> Parsed<u64> {
        Ok(u64::from_be_bytes(self.array()?))
    }

    pub(crate) fn uvarint(&mut self) -> Parsed<u64> {
        let mut rest = Fields(self.rest);
        match rest.varint() {
            Ok(value) => {
                self.at += (self.rest.len() - rest.0.len()) as u64;
                self.rest = rest.0;
                Ok(value)
            }
            Err(WireError::Short) => self.fault("number is cut short"),
            Err(_) => self.fault("number of more than 64 bits"),
        }
    }

    pub(crate) fn uvarint32(&mut self) -> Parsed<u32> {
        let before = self.at;
        u32::try_from(self.uvarint()?).map_err(|_| Fault::new(before, "number of more than 32 bits"))
    }

    pub(crate) fn varint(&mut self) -> Parsed<i64> {
        self.uvarint().map(sint)
    }

    /// A text with its length before it.
    pub(crate) fn text(&mut self) -> Parsed<&'a str> {
        let len = self.uvarint()?;
        let at = self.at;
        let bytes = self.take(usize::try_from(len).unwrap_or(usize::MAX))?;
        std::str::from_utf8(bytes).map_err(|_| Fault::new(at, "text is not UTF-8"))
    }
}

pub(crate) fn put_varint(out: &mut Vec<u8>, value: i64) {
    put_uvarint(out, zigzag(value));
}

pub(crate) fn put_text(out: &mut Vec<u8>, text: &str) {
    put_uvarint(out, text.len() as u64);
    out.extend_from_slice(text.as_bytes());
}

pub(crate) fn put_be32(out: &mut Vec<u8>, value: u32) {
    out.extend_from_slice(&value.to_be_bytes());
}

pub(crate) fn uvarint_len(value: u64) -> u64 {
    u64::from((64 - (value | 1).leading_zeros()).div_ceil(7))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_come_back_and_their_length_is_foretold() {
        for value in [0, 1, 127, 128, 16_383, 16_384, u64::from(u32::MAX), u64::MAX] {
            let mut bytes = Vec::new();
            put_uvarint(&mut bytes, value);
            assert_eq!(bytes.len() as u64, uvarint_len(value), "{value}");
            assert_eq!(Dec::new(&bytes, 0).uvarint(), Ok(value));
            let signed = value as i64;
            bytes.clear();
            put_varint(&mut bytes, signed);
            assert_eq!(Dec::new(&bytes, 0).varint(), Ok(signed));
        }
    }

    #[test]
    fn faults_say_where_they_are() {
        let mut dec = Dec::new(&[1, b'a', 0x80], 100);
        assert_eq!(dec.text(), Ok("a"));
        assert_eq!(dec.uvarint(), Err(Fault::new(102, "number is cut short")));
        assert_eq!(
            Dec::new(&[2, b'a'], 5).text(),
            Err(Fault::new(6, "2 bytes expected, 1 left"))
        );
        assert_eq!(Dec::new(&[1, 0xff], 5).text(), Err(Fault::new(6, "text is not UTF-8")));
        assert!(Dec::new(&[0xff; 11], 0).uvarint().is_err());
    }
}
