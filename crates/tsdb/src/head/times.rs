//! Columns of times that several series have, kept once: the series of a target are scraped together, those of a
//! container carry its time.
//!
//! Times at a fixed interval take ten bytes a chunk, less than a reference to them would. It is others that are shared:
//! at 120 samples those that a target sets itself (`honor_timestamps`), as cAdvisor does, take more than the values.

use std::hash::BuildHasher as _;
use std::sync::Arc;

use cupola_chunk::{columnar, num_samples};
use cupola_storage::{Samples, StorageError};

use super::source::corrupt;

// Of so many columns it is known whether a chunk has the same one. The chunks of a target's series are sealed one after
// the other, so a few would do.
const PLACES: usize = 1024;
// Columns that are shorter stay with their values: a chunk in two pieces takes about 50 bytes more.
const LEAST: usize = 64;
// Number of samples before the times.
const COUNT: usize = 2;

/// Columns of times of chunks that were sealed of late, at most 1,024.
#[derive(Default)]
pub(crate) struct TimeColumns {
    // Each in the place that its hash tells; none before the first one.
    places: Box<[Option<Arc<[u8]>>]>,
    hasher: foldhash::fast::RandomState,
    times: Vec<i64>,
}

/// A chunk in our columnar encoding, in two pieces.
#[derive(Debug)]
pub(crate) struct SharedTimes {
    // Number of samples and column of times, which other chunks have as well.
    times: Arc<[u8]>,
    values: Box<[u8]>,
}

impl TimeColumns {
    /// A columnar chunk in two pieces, where one of late has the same times; else its times are remembered.
    pub(crate) fn share(&mut self, chunk: &[u8]) -> Option<SharedTimes> {
        if chunk.len() < COUNT + LEAST {
            return None;
        }
        self.times.clear();
        let count = num_samples(chunk).ok()?;
        let length = columnar::decode_times(chunk.get(COUNT..)?, count, &mut self.times).ok()?;
        let (times, values) = chunk.split_at_checked(COUNT + length).filter(|_| length >= LEAST)?;
        if self.places.is_empty() {
            self.places = vec![None; PLACES].into();
        }
        let place = self.hasher.hash_one(times) as usize % PLACES;
        let known = self.places.get_mut(place)?;
        if let Some(known) = known.as_ref().filter(|known| ***known == *times) {
            return Some(SharedTimes {
                times: known.clone(),
                values: values.into(),
            });
        }
        *known = Some(times.into());
        None
    }
}

impl SharedTimes {
    /// The chunk in one piece.
    pub(crate) fn to_vec(&self) -> Vec<u8> {
        [&*self.times, &*self.values].concat()
    }

    /// Appends the samples between the two times, both inclusive.
    ///
    /// # Errors
    /// [`StorageError::Corrupt`]
    pub(crate) fn read(&self, mint: i64, maxt: i64, out: &mut Samples) -> Result<(), StorageError> {
        let mut times = Vec::new();
        let count = num_samples(&self.times).map_err(|e| corrupt(&e))?;
        let column = self.times.get(COUNT..).unwrap_or_default();
        columnar::decode_times(column, count, &mut times).map_err(|e| corrupt(&e))?;
        columnar::decode_with_times(&times, &self.values, mint, maxt, &mut out.ts, &mut out.values)
            .map_err(|e| corrupt(&e))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chunk(times: &[i64], factor: f64) -> Vec<u8> {
        let values: Vec<f64> = times.iter().map(|ts| (*ts % 977) as f64 * factor).collect();
        let mut bytes = Vec::new();
        columnar::encode(times, &values, &mut bytes).expect("a chunk");
        bytes
    }

    // Between ten and twenty seconds from one to the next, as cAdvisor's.
    fn irregular(seed: i64) -> Vec<i64> {
        let mut ts = 1_700_000_000_000;
        let next = |i: i64| {
            ts += 10_000 + (i * 7919 * (seed + 1)) % 10_007;
            ts
        };
        (0..120).map(next).collect()
    }

    #[test]
    fn chunks_of_one_time_share_it_and_read_as_before() {
        let mut columns = TimeColumns::default();
        let times = irregular(1);
        assert!(columns.share(&chunk(&times, 1.0)).is_none(), "the first one");
        let second = columns.share(&chunk(&times, 3.0)).expect("shares the times");
        let third = columns.share(&chunk(&times, 0.5)).expect("shares the times");
        assert!(Arc::ptr_eq(&second.times, &third.times));
        assert_eq!(second.to_vec(), chunk(&times, 3.0), "the same bytes in one piece");
        let (mut shared, mut whole) = (Samples::default(), Samples::default());
        let (mint, maxt) = (times[10], times[100]);
        second.read(mint, maxt, &mut shared).expect("read");
        let bytes = chunk(&times, 3.0);
        columnar::decode(&bytes, mint, maxt, &mut whole.ts, &mut whole.values).expect("read");
        assert_eq!((shared.ts, shared.values), (whole.ts, whole.values));
    }

    #[test]
    fn times_at_a_fixed_interval_stay_with_their_values() {
        let mut columns = TimeColumns::default();
        let times: Vec<i64> = (0..120).map(|i| 1_700_000_000_000 + i * 15_000).collect();
        for factor in [1.0, 1.1, 7.0] {
            assert!(columns.share(&chunk(&times, factor)).is_none());
        }
    }

    #[test]
    fn a_thousand_columns_are_remembered_and_no_more() {
        let mut columns = TimeColumns::default();
        for seed in 0..5000 {
            let _ = columns.share(&chunk(&irregular(seed), 1.0));
        }
        assert!(columns.places.iter().flatten().count() <= PLACES);
        let times = irregular(4999);
        assert!(columns.share(&chunk(&times, 2.0)).is_some(), "the newest is among them");
    }

    #[test]
    fn bytes_that_are_no_chunk_are_left_alone() {
        let mut columns = TimeColumns::default();
        let bytes = chunk(&irregular(3), 1.0);
        for cut in 0..bytes.len() {
            let _ = columns.share(&bytes[..cut]);
        }
        assert!(columns.share(&[0xff; 200]).is_none());
    }
}
