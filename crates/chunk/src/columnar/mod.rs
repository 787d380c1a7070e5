//! Our own columnar encoding of a run of float samples: times and values as two independent columns.
//!
//! Both columns are integers in the end: a time is milliseconds, a value is `n / 10^e` with a whole `n` where that gives
//! the value back bit for bit, else its bit pattern in the order of the numbers. `ints` predicts each integer from the
//! ones before (not at all, a line, the last one, the last difference), packs the low bits of what is left over with one
//! width, and patches the few that do not fit: the reset of a counter or a late scrape costs a patch, not a width. What
//! no decimal can hold (a staleness marker, -0) is patched in the same way by `floats`.
//!
//! The bytes are described in `docs/format/columnar.md`.

mod coded;
mod floats;
mod ints;
mod pack;
mod plan;
mod positions;
mod reader;
mod states;
mod symbols;
#[cfg(test)]
mod tests;

use std::ops::Range;

use ints::Effort;
use reader::Reader;

use crate::{ChunkError, num_samples};

/// Appends a chunk of these samples to `out`: their number as a big-endian `u16`, the column of times, that of values.
///
/// Values come back bit for bit and times may go in any order. The same samples give the same bytes on every machine.
///
/// # Errors
/// [`ChunkError::Full`] for more than 65,535 samples and [`ChunkError::Malformed`] where the columns are not of one
/// length; `out` is then unchanged.
pub fn encode(ts: &[i64], values: &[f64], out: &mut Vec<u8>) -> Result<(), ChunkError> {
    let count = count_of(ts.len())?;
    if ts.len() != values.len() {
        return Err(ChunkError::Malformed {
            what: "number of values",
            sample: count,
        });
    }
    out.extend(count.to_be_bytes());
    encode_times(ts, out)?;
    encode_values(values, out)
}

/// Appends the samples of a chunk with `mint <= ts <= maxt` (milliseconds) to the two columns.
///
/// The contract is that of [`crate::decode_into`]: samples before `mint` are left out at the start, reading ends at the
/// first sample behind `maxt`. The buffers are the caller's, to be used again.
///
/// # Errors
/// [`ChunkError::Truncated`], [`ChunkError::TrailingBytes`] or [`ChunkError::Malformed`]; the columns are then as they
/// were.
pub fn decode(bytes: &[u8], mint: i64, maxt: i64, ts: &mut Vec<i64>, values: &mut Vec<f64>) -> Result<(), ChunkError> {
    let count = num_samples(bytes)?;
    decode_columns(count, bytes.get(2..).unwrap_or_default(), mint, maxt, ts, values)
}

/// As [`decode`] for the two columns without the number of samples before them.
///
/// # Errors
/// As [`decode`].
pub fn decode_columns(
    count: u16,
    bytes: &[u8],
    mint: i64,
    maxt: i64,
    ts: &mut Vec<i64>,
    values: &mut Vec<f64>,
) -> Result<(), ChunkError> {
    let (ts_start, values_start) = (ts.len(), values.len());
    let read = decode_all(count, bytes, ts, values);
    if read.is_err() {
        ts.truncate(ts_start);
        values.truncate(values_start);
        return read;
    }
    let kept = kept(ts.get(ts_start..).unwrap_or_default(), mint, maxt);
    cut(ts, ts_start, &kept);
    cut(values, values_start, &kept);
    Ok(())
}

/// As [`decode`] for a column of values alone that belongs to `times`.
///
/// Where none of the times is wanted, the column is not looked at.
///
/// # Errors
/// As [`decode`]; [`ChunkError::Full`] for more than 65,535 times.
pub fn decode_with_times(
    times: &[i64],
    bytes: &[u8],
    mint: i64,
    maxt: i64,
    ts: &mut Vec<i64>,
    values: &mut Vec<f64>,
) -> Result<(), ChunkError> {
    let kept = kept(times, mint, maxt);
    if kept.is_empty() {
        return Ok(());
    }
    let values_start = values.len();
    let taken = decode_values(bytes, count_of(times.len())?, values)?;
    if taken < bytes.len() {
        values.truncate(values_start);
        return Err(ChunkError::TrailingBytes {
            left: bytes.len() - taken,
        });
    }
    ts.extend_from_slice(times.get(kept.clone()).unwrap_or_default());
    cut(values, values_start, &kept);
    Ok(())
}

// Which of a chunk's samples are wanted.
fn kept(times: &[i64], mint: i64, maxt: i64) -> Range<usize> {
    // Mostly there is none behind the end, which is told faster without stopping at each.
    let has_late = times.iter().fold(false, |has, t| has | (*t > maxt));
    let end = match has_late {
        true => times.iter().position(|t| *t > maxt).unwrap_or(times.len()),
        false => times.len(),
    };
    let early = times.iter().take(end).take_while(|t| **t < mint).count();
    early..end
}

// Leaves of what lies from `start` on in a column only what is wanted.
fn cut<T>(column: &mut Vec<T>, start: usize, kept: &Range<usize>) {
    column.truncate(start + kept.end);
    if kept.start > 0 {
        column.drain(start..start + kept.start);
    }
}

fn decode_all(count: u16, bytes: &[u8], ts: &mut Vec<i64>, values: &mut Vec<f64>) -> Result<(), ChunkError> {
    let mut at = decode_times(bytes, count, ts)?;
    let rest = bytes.get(at..).unwrap_or_default();
    at += decode_values(rest, count, values)?;
    match bytes.len().saturating_sub(at) {
        0 => Ok(()),
        left => Err(ChunkError::TrailingBytes { left }),
    }
}

/// Appends a column of times in milliseconds to `out`; it does not say how many there are. None take no bytes.
///
/// # Errors
/// [`ChunkError::Full`] for more than 65,535 of them; `out` is then unchanged.
pub fn encode_times(ts: &[i64], out: &mut Vec<u8>) -> Result<(), ChunkError> {
    if count_of(ts.len())? > 0 {
        ints::encode(ts, Effort::Packed, out);
    }
    Ok(())
}

/// Appends the `count` times of the column at the start of `bytes` to `ts`; gives how many bytes the column takes.
///
/// # Errors
/// [`ChunkError::Truncated`] or [`ChunkError::Malformed`]; `ts` is then as it was.
pub fn decode_times(bytes: &[u8], count: u16, ts: &mut Vec<i64>) -> Result<usize, ChunkError> {
    decode_column(bytes, count, ts, 0, |reader, out| ints::decode(reader, out, |ts| ts))
}

/// Appends a column of values to `out`; it does not say how many there are. None take no bytes.
///
/// # Errors
/// [`ChunkError::Full`] for more than 65,535 of them; `out` is then unchanged.
pub fn encode_values(values: &[f64], out: &mut Vec<u8>) -> Result<(), ChunkError> {
    if count_of(values.len())? > 0 {
        floats::encode(values, Effort::Packed, out);
    }
    Ok(())
}

/// As [`encode_values`], for columns that are written once and kept for long: shorter by a fifth or so where values vary,
/// and slower to write and to read.
///
/// # Errors
/// As [`encode_values`].
pub fn encode_values_coded(values: &[f64], out: &mut Vec<u8>) -> Result<(), ChunkError> {
    if count_of(values.len())? > 0 {
        floats::encode(values, Effort::Coded, out);
    }
    Ok(())
}

/// Appends the `count` values of the column at the start of `bytes` to `values`; gives how many bytes the column takes.
///
/// # Errors
/// [`ChunkError::Truncated`] or [`ChunkError::Malformed`]; `values` is then as it was.
pub fn decode_values(bytes: &[u8], count: u16, values: &mut Vec<f64>) -> Result<usize, ChunkError> {
    decode_column(bytes, count, values, 0.0, floats::decode)
}

fn decode_column<T: Copy>(
    bytes: &[u8],
    count: u16,
    column: &mut Vec<T>,
    empty: T,
    decode: fn(&mut Reader<'_>, &mut [T]) -> Result<(), ChunkError>,
) -> Result<usize, ChunkError> {
    if count == 0 {
        return Ok(0);
    }
    let start = column.len();
    column.resize(start + usize::from(count), empty);
    let mut reader = Reader::new(bytes);
    let read = decode(&mut reader, column.get_mut(start..).unwrap_or_default());
    if let Err(error) = read {
        column.truncate(start);
        return Err(error);
    }
    Ok(reader.position())
}

fn count_of(len: usize) -> Result<u16, ChunkError> {
    u16::try_from(len).map_err(|_| ChunkError::Full)
}
