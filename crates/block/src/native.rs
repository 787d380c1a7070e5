//! Native blocks: as Prometheus's, but the samples lie in columns, and the times that many series share are stored once.
//!
//! `columns/` takes the place of `chunks/`, and `times/` stands beside it; both are segments as upstream's. An entry of
//! `columns/` is a chunk of one series: floats as two columns ([`cupola_chunk::columnar`]), of which that of times may be
//! an entry of `times/`; everything else (native histograms, start timestamps) as in a Prometheus block. The bytes are
//! described in `docs/format/block.md`.
//!
//! The series of a target all have the same times, and with a millisecond of jitter these cost more than the values do.
//! So that they are shared, series are cut into chunks at times that do not depend on the series ([`runs`]).

use std::hash::BuildHasher as _;
use std::ops::{Range, RangeInclusive};

use cupola_chunk::{Encoding, columnar};
use foldhash::quality::RandomState;
use foldhash::{HashMap, HashMapExt as _};

use crate::bytes::put_uvarint;
use crate::chunks::{SegmentKind, SegmentWriter};
use crate::store::{ColumnarChunk, Entry, Times};
use crate::{BlockError, NativeFormat};

/// The folder of native blocks in a data folder.
pub(crate) const HOME: &str = "cupola-blocks";

pub(crate) const COLUMNS: SegmentKind = SegmentKind {
    folder: "columns",
    name: "column segment",
    magic: u32::from_be_bytes(*b"CUPC"),
};

pub(crate) const TIMES: SegmentKind = SegmentKind {
    folder: "times",
    name: "times segment",
    magic: u32::from_be_bytes(*b"CUPT"),
};

/// An entry of `columns/` that is a whole columnar chunk.
pub(crate) const OWN_TIMES: u8 = 16;
/// An entry of `columns/` with a reference to its times.
pub(crate) const SHARED_TIMES: u8 = 17;
/// An entry of `times/`.
pub(crate) const TIMES_COLUMN: u8 = 18;

// Times of as many bytes are not worth a reference and a look elsewhere: those of scrapes without jitter are shorter.
const OWN_TIMES_BYTES: usize = 12;

/// More samples are not put into one chunk: a reader of a few decodes them all.
const MOST_SAMPLES: usize = 2_000;
// Chunks are cut at multiples of the first of these (in milliseconds since the epoch), and where that leaves too many
// samples in one at those of the next. Blocks begin and end at multiples of 2 h, 6 h, 18 h and so on: what is cut so can
// be copied when they are merged.
const HOUR: i64 = 3_600_000;
const CUTS_MS: [i64; 13] = [
    486 * HOUR,
    162 * HOUR,
    54 * HOUR,
    18 * HOUR,
    6 * HOUR,
    3 * HOUR,
    3 * HOUR / 2,
    3 * HOUR / 4,
    3 * HOUR / 8,
    3 * HOUR / 16,
    3 * HOUR / 32,
    3 * HOUR / 64,
    3 * HOUR / 128,
];
/// A chunk with as many samples does not become longer by merging: three times as many would be too many.
pub(crate) const ENOUGH_SAMPLES: usize = MOST_SAMPLES / 3;

const FORMAT: &str = "columns";
// The first version has no coded columns; else it is the same.
const VERSIONS: RangeInclusive<u32> = 1..=2;

/// What the meta of a native block says of itself.
pub(crate) fn format() -> NativeFormat {
    NativeFormat {
        format: FORMAT.to_owned(),
        version: *VERSIONS.end(),
    }
}

/// Whether blocks of a format can be read.
pub(crate) fn is_known(told: &NativeFormat) -> bool {
    told.format == FORMAT && VERSIONS.contains(&told.version)
}

/// The runs of ascending times that make a chunk each.
pub(crate) fn runs(ts: &[i64]) -> Vec<Range<usize>> {
    let mut out = Vec::new();
    cut(ts, 0, &CUTS_MS, &mut out);
    out
}

fn cut(ts: &[i64], from: usize, cuts: &[i64], out: &mut Vec<Range<usize>>) {
    if ts.len() <= MOST_SAMPLES {
        out.push(from..from + ts.len());
        return;
    }
    let mut from = from;
    match cuts.split_first() {
        Some((apart, narrower)) => {
            for part in ts.chunk_by(|a, b| a.div_euclid(*apart) == b.div_euclid(*apart)) {
                cut(part, from, narrower, out);
                from += part.len();
            }
        }
        None => {
            for part in ts.chunks(MOST_SAMPLES) {
                out.push(from..from + part.len());
                from += part.len();
            }
        }
    }
}

/// Makes the entries of `columns/` and writes those of `times/`.
#[derive(Debug)]
pub(crate) struct Encoder {
    times: SegmentWriter,
    known: HashMap<TimesKey, u64>,
    hashers: [RandomState; 2],
    // What became of the columns of merged blocks, by the source's number.
    copied: HashMap<(usize, u64), u64>,
    buf: Vec<u8>,
}

// Names a column of times. Two hashes with keys that nobody knows: that two columns have both of them in common is less
// likely than 1 in 10^20 in a block of a million columns.
#[derive(Debug, PartialEq, Eq, Hash)]
struct TimesKey {
    hashes: [u64; 2],
    first: Option<i64>,
    last: Option<i64>,
    count: usize,
}

impl Encoder {
    pub(crate) fn new(times: SegmentWriter) -> Self {
        Self {
            times,
            known: HashMap::new(),
            hashers: [RandomState::default(), RandomState::default()],
            copied: HashMap::new(),
            buf: Vec::new(),
        }
    }

    /// Waits until all times are on the device.
    pub(crate) fn finish(self) -> Result<(), BlockError> {
        self.times.finish()
    }

    /// Makes chunks of floats, ascending in time.
    pub(crate) fn encode(&mut self, ts: &[i64], values: &[f64], out: &mut Vec<Entry>) -> Result<(), BlockError> {
        for run in runs(ts) {
            let (Some(ts), Some(values)) = (ts.get(run.clone()), values.get(run)) else {
                continue;
            };
            let (Some(mint), Some(maxt)) = (ts.first(), ts.last()) else {
                continue;
            };
            let mut bytes = (ts.len() as u16).to_be_bytes().to_vec();
            let shared = self.share(ts)?;
            match shared {
                Some(times_ref) => put_uvarint(&mut bytes, times_ref),
                None => bytes.extend_from_slice(&self.buf),
            }
            let encoded = columnar::encode_values_coded(values, &mut bytes);
            debug_assert!(encoded.is_ok(), "a column takes many more samples than a run has");
            out.push(Entry {
                mint: *mint,
                maxt: *maxt,
                tag: if shared.is_some() { SHARED_TIMES } else { OWN_TIMES },
                bytes,
            });
        }
        Ok(())
    }

    /// Makes the entry of a chunk that stays as it is, of the source with this number.
    pub(crate) fn copy(&mut self, source: usize, chunk: &ColumnarChunk<'_>) -> Result<(u8, Vec<u8>), BlockError> {
        let mut bytes = chunk.count().to_be_bytes().to_vec();
        let tag = match chunk.times() {
            Times::Own => OWN_TIMES,
            Times::Shared(theirs, ts) => {
                let known = self.copied.get(&(source, theirs)).copied();
                let ours = match known {
                    Some(ours) => Some(ours),
                    None => self.share(ts)?,
                };
                match ours {
                    Some(ours) => {
                        self.copied.insert((source, theirs), ours);
                        put_uvarint(&mut bytes, ours);
                        SHARED_TIMES
                    }
                    None => {
                        bytes.extend_from_slice(&self.buf);
                        OWN_TIMES
                    }
                }
            }
        };
        bytes.extend_from_slice(chunk.columns());
        Ok((tag, bytes))
    }

    // Where these times are stored; `None` where they are better kept by the chunk: `buf` has their column then.
    fn share(&mut self, ts: &[i64]) -> Result<Option<u64>, BlockError> {
        let key = TimesKey {
            hashes: self.hashers.each_ref().map(|hasher| hasher.hash_one(ts)),
            first: ts.first().copied(),
            last: ts.last().copied(),
            count: ts.len(),
        };
        if let Some(known) = self.known.get(&key) {
            return Ok(Some(*known));
        }
        self.buf.clear();
        let encoded = columnar::encode_times(ts, &mut self.buf);
        debug_assert!(encoded.is_ok(), "a column takes many more samples than a run has");
        if self.buf.len() <= OWN_TIMES_BYTES || !self.times.fits(self.buf.len() + 2) {
            return Ok(None);
        }
        self.buf.splice(0..0, (ts.len() as u16).to_be_bytes());
        let times_ref = self.times.write(TIMES_COLUMN, &self.buf)?;
        self.known.insert(key, times_ref);
        Ok(Some(times_ref))
    }
}

/// Whether entries of this tag hold floats.
pub(crate) fn holds_floats(tag: u8) -> bool {
    const XOR: u8 = Encoding::Xor as u8;
    const XOR2: u8 = Encoding::Xor2 as u8;
    matches!(tag, XOR | XOR2 | OWN_TIMES | SHARED_TIMES)
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: i64 = 24 * HOUR;
    // A Tuesday at 00:00, a multiple of 6 h but not of 18.
    const START: i64 = 1_700_006_400_000;

    // How many chunks of which sizes a day of scrapes so far apart makes.
    #[track_caller]
    fn check(apart_ms: i64, sizes: &[usize]) {
        let ts: Vec<i64> = (0..DAY / apart_ms).map(|n| START + n * apart_ms).collect();
        let runs = runs(&ts);
        let mut end = 0;
        for run in &runs {
            assert_eq!(run.start, end, "nothing is left out");
            end = run.end;
        }
        assert_eq!(end, ts.len());
        let mut found: Vec<usize> = runs.into_iter().map(|run| run.len()).collect();
        found.dedup();
        assert_eq!(found, sizes, "{apart_ms} ms");
    }

    #[test]
    fn usual_intervals_make_chunks_of_about_a_thousand() {
        check(1_000, &[1_350]);
        check(5_000, &[1_080]);
        check(10_000, &[1_080]);
        check(15_000, &[1_440]);
        check(30_000, &[720]);
        check(60_000, &[1_440]);
    }

    #[test]
    fn the_other_series_of_a_target_is_cut_at_the_same_times_though_it_begins_later() {
        let all: Vec<i64> = (0..5_760).map(|n| START + n * 15_000 + n % 7).collect();
        let late = all.get(1_000..).unwrap_or_default();
        let times = |ts: &[i64]| -> Vec<Vec<i64>> { runs(ts).into_iter().map(|run| ts[run].to_vec()).collect() };
        assert_eq!(times(&all).len(), 4);
        assert_eq!(times(&all)[1..], times(late)[1..]);
    }

    #[test]
    fn what_no_cut_divides_is_cut_by_number() {
        let ts: Vec<i64> = (0..5_000).map(|n| START + n).collect();
        assert_eq!(runs(&ts), [0..2_000, 2_000..4_000, 4_000..5_000]);
        assert_eq!(runs(&[]).as_slice(), std::slice::from_ref(&(0..0)));
        let far = [i64::MIN, 0, i64::MAX];
        assert_eq!(runs(&far).as_slice(), std::slice::from_ref(&(0..3)));
    }
}
