//! Names of blocks.

use std::fmt;
use std::str::FromStr;

use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use thiserror::Error;

/// A ULID: 48 bits of milliseconds, 80 random bits. Sorts by time; written as 26 letters and digits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Ulid(u128);

/// The text is no ULID.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("not a ULID")]
pub struct UlidError;

const ALPHABET: &[u8; 32] = b"0123456789ABCDEFGHJKMNPQRSTVWXYZ";

impl Ulid {
    /// The ULID of a moment, in milliseconds since the epoch, and the low 80 of the given random bits.
    ///
    /// A moment outside of the 48 bits (before 1970, after 10889) is brought to the nearest that fits.
    #[must_use]
    pub fn new(ms: i64, random: u128) -> Self {
        let ms = ms.clamp(0, (1 << 48) - 1) as u128;
        Self(ms << 80 | random & ((1 << 80) - 1))
    }

    /// The moment, in milliseconds since the epoch.
    #[must_use]
    pub fn timestamp_ms(self) -> i64 {
        (self.0 >> 80) as i64
    }
}

impl fmt::Display for Ulid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = String::with_capacity(26);
        for i in (0..26).rev() {
            let digit = (self.0 >> (5 * i)) as usize & 31;
            text.push(ALPHABET.get(digit).copied().map_or('0', char::from));
        }
        f.write_str(&text)
    }
}

impl FromStr for Ulid {
    type Err = UlidError;

    fn from_str(text: &str) -> Result<Self, UlidError> {
        if text.len() != 26 {
            return Err(UlidError);
        }
        let mut value = 0_u128;
        for (i, byte) in text.bytes().enumerate() {
            let upper = byte.to_ascii_uppercase();
            let digit = ALPHABET.iter().position(|a| *a == upper).ok_or(UlidError)?;
            // 26 digits are 130 bits: the first may use three of its five only.
            if i == 0 && digit > 7 {
                return Err(UlidError);
            }
            value = value << 5 | digit as u128;
        }
        Ok(Self(value))
    }
}

impl Serialize for Ulid {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Ulid {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse()
            .map_err(|_| D::Error::custom(format!("{text:?} is not a ULID")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_and_value_agree() {
        for text in [
            "01ARZ3NDEKTSV4RRFFQ69G5FAV",
            "00000000000000000000000000",
            "7ZZZZZZZZZZZZZZZZZZZZZZZZZ",
        ] {
            assert_eq!(text.parse::<Ulid>().unwrap().to_string(), text);
        }
        // The specification's example.
        assert_eq!(
            "01ARZ3NDEKTSV4RRFFQ69G5FAV".parse::<Ulid>().unwrap().timestamp_ms(),
            1_469_922_850_259
        );
        assert_eq!(
            Ulid::new(1_469_922_850_259, 0).to_string(),
            "01ARZ3NDEK0000000000000000"
        );
        assert_eq!(Ulid::new(-5, u128::MAX).to_string(), "0000000000ZZZZZZZZZZZZZZZZ");
    }

    #[test]
    fn other_texts_are_refused() {
        for text in [
            "",
            "01ARZ3NDEKTSV4RRFFQ69G5FA",
            "81ARZ3NDEKTSV4RRFFQ69G5FAV",
            "01ARZ3NDEKTSV4RRFFQ69G5FAU",
            "wal",
        ] {
            assert!(text.parse::<Ulid>().is_err(), "{text}");
        }
    }
}
