//! The chunk encodings by number.

use std::fmt;

use crate::ChunkError;

/// How a chunk's bytes are to be read; the numbers are Prometheus's and stand in every block.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(u8)]
pub enum Encoding {
    /// Floats, delta of delta and XOR.
    Xor = 1,
    /// Native histograms with integer buckets.
    Histogram = 2,
    /// Native histograms with float buckets.
    FloatHistogram = 3,
    /// Floats with start timestamps, a denser XOR.
    Xor2 = 4,
    /// Integer histograms with start timestamps.
    HistogramSt = 5,
    /// Float histograms with start timestamps.
    FloatHistogramSt = 6,
}

impl Encoding {
    /// All of them, ascending by number.
    pub const ALL: [Self; 6] = [
        Self::Xor,
        Self::Histogram,
        Self::FloatHistogram,
        Self::Xor2,
        Self::HistogramSt,
        Self::FloatHistogramSt,
    ];

    /// The number written before the chunk's bytes.
    #[must_use]
    pub fn as_byte(self) -> u8 {
        self as u8
    }

    /// Whether each sample has its start timestamp with it.
    #[must_use]
    pub fn has_starts(self) -> bool {
        matches!(self, Self::Xor2 | Self::HistogramSt | Self::FloatHistogramSt)
    }

    /// Upstream's name of the encoding.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Xor => "XOR",
            Self::Histogram => "histogram",
            Self::FloatHistogram => "floathistogram",
            Self::Xor2 => "XOR2",
            Self::HistogramSt => "histogramST",
            Self::FloatHistogramSt => "floathistogramST",
        }
    }
}

impl TryFrom<u8> for Encoding {
    type Error = ChunkError;

    fn try_from(byte: u8) -> Result<Self, ChunkError> {
        Self::ALL
            .into_iter()
            .find(|e| e.as_byte() == byte)
            .ok_or(ChunkError::UnknownEncoding(byte))
    }
}

impl fmt::Display for Encoding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_and_names_are_upstreams() {
        let known: Vec<_> = (0..=255)
            .filter_map(|b| Encoding::try_from(b).ok().map(|e| (b, e.to_string())))
            .collect();
        let named = known
            .iter()
            .map(|(b, n)| format!("{b} {n}"))
            .collect::<Vec<_>>()
            .join(", ");
        assert_eq!(
            named,
            "1 XOR, 2 histogram, 3 floathistogram, 4 XOR2, 5 histogramST, 6 floathistogramST"
        );
    }

    #[test]
    fn an_encoding_that_cannot_be_read_says_its_name() {
        let (mut ts, mut values) = (Vec::new(), Vec::new());
        let read = crate::decode(Encoding::Histogram, &[0, 0], 0, 1, &mut ts, &mut values);
        assert_eq!(
            read.unwrap_err().to_string(),
            "histogram chunks do not hold samples of this kind"
        );
        assert_eq!(
            Encoding::try_from(0).unwrap_err().to_string(),
            "unknown chunk encoding 0"
        );
    }
}
