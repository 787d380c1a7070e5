//! `tombstones`: which intervals of which series are deleted.
//!
//! ```text
//! 0130ba30  u8 version 1  (uvarint series ref, varint mint, varint maxt)*  u32 CRC32C of the entries
//! ```

use std::collections::BTreeMap;
use std::path::Path;

use cupola_env::Vfs;
use cupola_model::SeriesRef;
use cupola_storage::Samples;

use crate::BlockError;
use crate::block::Mark;
use crate::bytes::{Dec, Fault, Parsed, put_be32, put_uvarint, put_varint};
use crate::file;

const MAGIC: u32 = 0x0130_ba30;
const VERSION: u8 = 1;
pub(crate) const FILE_NAME: &str = "tombstones";

/// A deleted stretch of time, in milliseconds since the epoch, both ends included.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Interval {
    /// First deleted moment.
    pub mint: i64,
    /// Last deleted moment.
    pub maxt: i64,
}

/// Deleted intervals by series: ascending, apart from each other.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Tombstones {
    by_series: BTreeMap<SeriesRef, Vec<Interval>>,
}

impl Tombstones {
    /// Adds an interval; joins it with those it touches. One that ends before it begins adds nothing.
    pub fn add(&mut self, series: SeriesRef, mut added: Interval) {
        if added.mint > added.maxt {
            return;
        }
        let intervals = self.by_series.entry(series).or_default();
        // All intervals that overlap the new one or stand directly beside it.
        let from = intervals.partition_point(|i| i.maxt < added.mint.saturating_sub(1));
        let to = intervals.partition_point(|i| i.mint <= added.maxt.saturating_add(1));
        for touched in intervals.get(from..to).unwrap_or_default() {
            added.mint = added.mint.min(touched.mint);
            added.maxt = added.maxt.max(touched.maxt);
        }
        intervals.splice(from..to, [added]);
    }

    /// The deleted intervals of a series, ascending.
    #[must_use]
    pub fn of(&self, series: SeriesRef) -> &[Interval] {
        self.by_series.get(&series).map_or(&[], Vec::as_slice)
    }

    /// How many intervals there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.by_series.values().map(Vec::len).sum()
    }

    /// Whether nothing is deleted.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.by_series.is_empty()
    }

    pub(crate) fn parse(bytes: &[u8]) -> Parsed<Self> {
        let mut dec = Dec::new(bytes, 0);
        if dec.be32()? != MAGIC {
            return Err(Fault::new(0, "not a tombstones file"));
        }
        let version = dec.byte()?;
        if version != VERSION {
            return Err(Fault::new(4, format!("version {version} is not supported")));
        }
        // The checksum leaves out the version, as upstream does for compatibility.
        let entries = dec.take(dec.len().saturating_sub(4))?;
        if dec.be32()? != crc32c::crc32c(entries) {
            return Err(Fault::new(5, "checksum mismatch"));
        }
        let mut out = Self::default();
        let mut dec = Dec::new(entries, 5);
        while !dec.is_empty() {
            let series = SeriesRef(dec.uvarint()?);
            out.add(
                series,
                Interval {
                    mint: dec.varint()?,
                    maxt: dec.varint()?,
                },
            );
        }
        Ok(out)
    }

    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut entries = Vec::new();
        for (series, intervals) in &self.by_series {
            for interval in intervals {
                put_uvarint(&mut entries, series.0);
                put_varint(&mut entries, interval.mint);
                put_varint(&mut entries, interval.maxt);
            }
        }
        let mut out = Vec::with_capacity(entries.len() + 9);
        put_be32(&mut out, MAGIC);
        out.push(VERSION);
        out.extend_from_slice(&entries);
        put_be32(&mut out, crc32c::crc32c(&entries));
        out
    }
}

/// Writes the tombstones of a block, replacing those it has, safely against a crash at any moment. An open [`crate::Block`]
/// goes on with the old ones; open it anew.
///
/// # Errors
/// [`BlockError::Io`]; the old file is then still there.
pub fn write_tombstones(vfs: &dyn Vfs, block_dir: &Path, tombstones: &Tombstones) -> Result<(), BlockError> {
    file::replace(vfs, &block_dir.join(FILE_NAME), &tombstones.encode())
}

/// Removes the samples behind `mark` that lie in `deleted`, which ascends.
pub(crate) fn remove_deleted(samples: &mut Samples, mark: Mark, deleted: &[Interval]) {
    for interval in deleted {
        let within = |ts: &[i64], start: usize| {
            let tail = ts.get(start..).unwrap_or_default();
            let from = start + tail.partition_point(|ts| *ts < interval.mint);
            from..start + tail.partition_point(|ts| *ts <= interval.maxt)
        };
        let floats = within(&samples.ts, mark.floats);
        samples.ts.drain(floats.clone());
        samples.values.drain(floats.clone());
        if !samples.starts.is_empty() {
            samples.starts.drain(floats);
        }
        let histograms = &mut samples.histograms;
        let range = within(&histograms.ts, mark.histograms);
        histograms.ts.drain(range.clone());
        histograms.values.drain(range.clone());
        if !histograms.starts.is_empty() {
            histograms.starts.drain(range);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn tombstones(intervals: &[(u64, i64, i64)]) -> Tombstones {
        let mut out = Tombstones::default();
        for (series, mint, maxt) in intervals {
            out.add(
                SeriesRef(*series),
                Interval {
                    mint: *mint,
                    maxt: *maxt,
                },
            );
        }
        out
    }

    #[track_caller]
    fn check(added: &[(i64, i64)], joined: &[(i64, i64)]) {
        let added: Vec<_> = added.iter().map(|(mint, maxt)| (1, *mint, *maxt)).collect();
        let out: Vec<_> = tombstones(&added)
            .of(SeriesRef(1))
            .iter()
            .map(|i| (i.mint, i.maxt))
            .collect();
        assert_eq!(out, joined);
    }

    #[test]
    fn intervals_that_touch_are_joined() {
        check(&[(1, 2), (4, 5)], &[(1, 2), (4, 5)]);
        check(&[(4, 5), (1, 2)], &[(1, 2), (4, 5)]);
        check(&[(1, 2), (3, 5)], &[(1, 5)]);
        check(&[(1, 2), (6, 7), (2, 6)], &[(1, 7)]);
        check(&[(1, 9), (3, 4)], &[(1, 9)]);
        check(&[(5, 4)], &[]);
        check(&[(i64::MIN, 0), (5, i64::MAX), (0, 5)], &[(i64::MIN, i64::MAX)]);
    }

    #[test]
    fn an_empty_file_is_upstreams() {
        assert_eq!(Tombstones::default().encode(), [0x01, 0x30, 0xba, 0x30, 1, 0, 0, 0, 0]);
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(intervals in prop::collection::vec((0_u64..5, -50_i64..50, -50_i64..50), 0..40)) {
            let written = tombstones(&intervals);
            let mut read = Tombstones::parse(&written.encode()).unwrap();
            // A series whose intervals were all empty leaves no trace in the file.
            let mut expected = written;
            expected.by_series.retain(|_, i| !i.is_empty());
            read.by_series.retain(|_, i| !i.is_empty());
            prop_assert_eq!(&read, &expected);
            for ts in -60..60 {
                let deleted = intervals.iter().any(|(s, a, b)| *s == 1 && *a <= ts && ts <= *b);
                let mut samples = Samples::floats(vec![-99, ts], vec![0.0, 1.0]);
                let mark = Mark {
                    floats: 1,
                    histograms: 0,
                };
                remove_deleted(&mut samples, mark, read.of(SeriesRef(1)));
                prop_assert_eq!(samples.len() == 1, deleted);
            }
        }
    }

    #[test]
    fn no_bytes_make_the_parser_panic() {
        let corpus = [
            tombstones(&[]).encode(),
            tombstones(&[(1, 2, 3), (1 << 40, i64::MIN, i64::MAX)]).encode(),
        ];
        cupola_testkit::fuzz(3_000, &corpus, &["\0"], |bytes| {
            let _ = Tombstones::parse(bytes);
            // Again with a checksum that fits, to get past it.
            let mut fixed = bytes.to_vec();
            if let Some(len) = fixed.len().checked_sub(9) {
                let crc = crc32c::crc32c(&fixed[5..5 + len]).to_be_bytes();
                fixed[5 + len..].copy_from_slice(&crc);
                let _ = Tombstones::parse(&fixed);
            }
        });
    }
}
