//! The file `starts` of a block: since when the samples of its series count. `docs/format/block.md` has its bytes.
//!
//! Both formats may have one. Prometheus does not look at it; blocks that it wrote with start timestamps have them in
//! their chunks (encodings 4 to 6).

use std::path::Path;
use std::sync::Arc;

use cupola_env::Vfs;
use cupola_storage::Starts;

use crate::bytes::{Dec, Fault, Parsed, put_uvarint, put_varint};
use crate::error::Place;
use crate::index::read::Index;
use crate::{BlockError, file};

pub(crate) const FILE_NAME: &str = "starts";
const MAGIC: [u8; 5] = *b"CUST\x01";
const CRC_BYTES: usize = 4;

/// Collects those of a block that is written.
#[derive(Debug, Default)]
pub(crate) struct StartsWriter {
    bytes: Vec<u8>,
    // The number of the last series that has any, and one more.
    after: u64,
}

impl StartsWriter {
    /// Adds those of the series with this number in the index, from 0, ascending.
    pub(crate) fn add(&mut self, number: u64, starts: &Starts) {
        if starts.is_empty() {
            return;
        }
        put_uvarint(&mut self.bytes, number - self.after);
        self.after = number + 1;
        put_uvarint(&mut self.bytes, starts.steps().len() as u64);
        let mut before = (0_i64, 0_i64);
        for (ts, start) in starts.steps() {
            put_varint(&mut self.bytes, ts.wrapping_sub(before.0));
            put_varint(&mut self.bytes, start.wrapping_sub(before.1));
            before = (*ts, *start);
        }
    }

    /// The whole file; `None` where no series has any.
    pub(crate) fn finish(self) -> Option<Vec<u8>> {
        if self.bytes.is_empty() {
            return None;
        }
        let mut file = [MAGIC.as_slice(), &self.bytes].concat();
        let sum = crc32c::crc32c(&file);
        file.extend(sum.to_be_bytes());
        Some(file)
    }
}

/// Those of an open block. Held as they are stored, with 8 bytes for each series that has any.
#[derive(Debug, Default)]
pub(crate) struct BlockStarts {
    bytes: Box<[u8]>,
    // Series and where its steps begin, ascending.
    places: Box<[(u32, u32)]>,
}

impl BlockStarts {
    /// Reads the file in the block's folder `dir`, if there is one.
    pub(crate) fn open(vfs: &dyn Vfs, dir: &Path, index: &Index, block: &Arc<str>) -> Result<Self, BlockError> {
        let Some(bytes) = file::read_if_there(vfs, &dir.join(FILE_NAME))? else {
            return Ok(Self::default());
        };
        let series = index.all_series()?;
        let place = Place {
            block,
            file: FILE_NAME,
            section: None,
        };
        Self::parse(bytes, &series).map_err(|fault| place.corrupt(fault))
    }

    fn parse(bytes: Vec<u8>, series: &[u32]) -> Parsed<Self> {
        let checked = bytes.len().checked_sub(CRC_BYTES);
        let Some((content, sum)) = checked.and_then(|len| bytes.split_at_checked(len)) else {
            return Err(Fault::new(0, format!("file of {} bytes", bytes.len())));
        };
        if !content.starts_with(&MAGIC) {
            return Err(Fault::new(0, "not a file of starts of version 1"));
        }
        if crc32c::crc32c(content).to_be_bytes() != *sum {
            return Err(Fault::new(content.len() as u64, "checksum does not match"));
        }
        let mut dec = Dec::new(content, 0);
        dec.take(MAGIC.len())?;
        let (mut places, mut next) = (Vec::new(), 0_u64);
        while !dec.is_empty() {
            let at = dec.at();
            let number = next.saturating_add(dec.uvarint()?);
            next = number.saturating_add(1);
            let series = usize::try_from(number).ok().and_then(|number| series.get(number));
            let Some(series) = series else {
                return Err(Fault::new(at, format!("the block has no series {number}")));
            };
            let place = u32::try_from(dec.at()).map_err(|_| Fault::new(at, "file of more than 4 GiB"))?;
            places.push((*series, place));
            steps(&mut dec)?;
        }
        Ok(Self {
            bytes: bytes.into_boxed_slice(),
            places: places.into_boxed_slice(),
        })
    }

    /// Those of a series.
    pub(crate) fn of(&self, series: u32) -> Option<Starts> {
        let found = self.places.binary_search_by_key(&series, |(series, _)| *series).ok()?;
        let (_, place) = self.places.get(found)?;
        // They were read once when the block was opened.
        steps(&mut Dec::new(self.bytes.get(*place as usize..)?, 0)).ok()
    }

    /// Bytes of the file.
    pub(crate) fn len_bytes(&self) -> u64 {
        self.bytes.len() as u64
    }
}

fn steps(dec: &mut Dec<'_>) -> Parsed<Starts> {
    let at = dec.at();
    let count = dec.uvarint()?;
    let (mut steps, mut before) = (Vec::new(), (0_i64, 0_i64));
    for _ in 0..count {
        let step = (
            before.0.wrapping_add(dec.varint()?),
            before.1.wrapping_add(dec.varint()?),
        );
        if !steps.is_empty() && step.0 <= before.0 {
            return Err(Fault::new(at, "the times of steps do not ascend"));
        }
        before = step;
        steps.push(step);
    }
    Ok(steps.into())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn file(all: &[Starts]) -> Option<Vec<u8>> {
        let mut writer = StartsWriter::default();
        for (number, starts) in all.iter().enumerate() {
            writer.add(number as u64, starts);
        }
        writer.finish()
    }

    proptest! {
        #[test]
        fn starts_come_back(
            all in prop::collection::vec(prop::collection::btree_map(any::<i64>(), any::<i64>(), 0..4), 0..20),
        ) {
            let all: Vec<Starts> = all.into_iter().map(Starts::of).collect();
            let series: Vec<u32> = (0..all.len() as u32).map(|number| 7 + number * 3).collect();
            match file(&all) {
                None => prop_assert!(all.iter().all(Starts::is_empty)),
                Some(bytes) => {
                    let read = BlockStarts::parse(bytes, &series).unwrap();
                    for (series, starts) in series.iter().zip(&all) {
                        prop_assert_eq!(read.of(*series), (!starts.is_empty()).then(|| starts.clone()));
                    }
                    prop_assert_eq!(read.of(8), None);
                }
            }
        }
    }

    #[test]
    fn whatever_the_file_holds_it_is_read_or_refused() {
        let starts = Starts::of([(5, 1), (9, 8), (10, 0)]);
        let bytes = file(&[starts.clone(), Starts::default(), starts]).unwrap();
        let content = bytes[..bytes.len() - CRC_BYTES].to_vec();
        let (mut read, mut refused) = (0, 0);
        cupola_testkit::fuzz(20_000, &[content], &[], |content| {
            let mut bytes = content.to_vec();
            bytes.extend(crc32c::crc32c(content).to_be_bytes());
            match BlockStarts::parse(bytes, &[3, 4, 5]) {
                Ok(starts) => {
                    read += 1;
                    let _ = [3, 4, 5].map(|series| starts.of(series));
                }
                Err(_) => refused += 1,
            }
        });
        assert!(read > 100 && refused > 1_000, "{read} {refused}");
    }
}
