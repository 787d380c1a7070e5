//! Numbers and texts as Prometheus's `encoding` package lays them out: big-endian words, Go's varints.

use std::borrow::Cow;

use cupola_wire::{Fields, WireError, sint};

/// What is wrong with some bytes, without the place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Fault(pub(crate) String);

impl Fault {
    pub(crate) fn new(reason: impl Into<String>) -> Self {
        Self(reason.into())
    }
}

pub(crate) type Parsed<T> = Result<T, Fault>;

/// What somebody says to whom something was handed out: it is fine, or it contradicts itself, or nothing more is wanted.
pub(crate) type Told<E> = Result<Parsed<()>, E>;

/// Walks the bytes of one record.
#[derive(Debug, Clone)]
pub(crate) struct Dec<'a> {
    rest: &'a [u8],
}

impl<'a> Dec<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    pub(crate) fn len(&self) -> usize {
        self.rest.len()
    }

    pub(crate) fn take(&mut self, len: usize) -> Parsed<&'a [u8]> {
        match self.rest.split_at_checked(len) {
            Some((taken, rest)) => {
                self.rest = rest;
                Ok(taken)
            }
            None => Err(Fault(format!("{len} bytes expected, {} left", self.rest.len()))),
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

    pub(crate) fn be64_signed(&mut self) -> Parsed<i64> {
        Ok(i64::from_be_bytes(self.array()?))
    }

    pub(crate) fn float(&mut self) -> Parsed<f64> {
        Ok(f64::from_bits(self.be64()?))
    }

    pub(crate) fn uvarint(&mut self) -> Parsed<u64> {
        let mut rest = Fields(self.rest);
        let value = rest.varint().map_err(|error| {
            Fault::new(match error {
                WireError::Short => "number is cut short",
                _ => "number of more than 64 bits",
            })
        })?;
        self.rest = rest.0;
        Ok(value)
    }

    pub(crate) fn varint(&mut self) -> Parsed<i64> {
        self.uvarint().map(sint)
    }

    /// The number of things that follow, each of at least `each` bytes; so it can be trusted to allocate by.
    pub(crate) fn count(&mut self, each: usize) -> Parsed<usize> {
        let count = self.uvarint()?;
        usize::try_from(count)
            .ok()
            .filter(|count| count.checked_mul(each).is_some_and(|bytes| bytes <= self.rest.len()))
            .ok_or_else(|| Fault(format!("{count} entries expected, {} bytes left", self.rest.len())))
    }

    /// A text with its length before it. Bytes that are no UTF-8, which only very old versions let through, are replaced
    /// by U+FFFD.
    pub(crate) fn text(&mut self) -> Parsed<Cow<'a, str>> {
        let len = self.uvarint()?;
        let bytes = self.take(usize::try_from(len).unwrap_or(usize::MAX))?;
        Ok(String::from_utf8_lossy(bytes))
    }
}
