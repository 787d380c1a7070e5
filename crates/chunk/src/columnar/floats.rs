//! A column of values: decimals, or bit patterns in the order of the numbers, as a column of integers.

use super::ints::{self, Effort};
use super::positions::{self, Form};
use super::reader::{Reader, malformed};
use crate::ChunkError;

// The powers of ten that a float holds exactly.
const POWERS: [f64; 23] = [
    1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15, 1e16, 1e17, 1e18, 1e19, 1e20,
    1e21, 1e22,
];

// The first byte of a column: the exponent, or this for bit patterns; above it the form of the patched positions.
const PATTERNS: u8 = 31;
const FORM_AT: u8 = 5;

// Values that are patched often have a code of one byte; the others have the last one and eight bytes.
const CODES: [u64; 5] = [
    0x7ff0_0000_0000_0002, // The staleness marker.
    0x7ff8_0000_0000_0001, // NaN as Prometheus writes it.
    0x8000_0000_0000_0000, // -0.
    0x7ff0_0000_0000_0000, // +Inf.
    0xfff0_0000_0000_0000, // -Inf.
];
const CODE_RAW: u8 = 255;

/// Appends the column of `values`, of which there is at least one.
pub(super) fn encode(values: &[f64], effort: Effort, out: &mut Vec<u8>) {
    let start = out.len();
    let Some(decimals) = Decimals::of(values) else {
        return encode_patterns(values, effort, out);
    };
    decimals.encode(values, effort, out);
    // Where much is patched, patterns may be shorter; a staleness marker or two need no second try.
    if decimals.patched.len() * 8 > values.len() {
        let mut patterns = Vec::with_capacity(out.len() - start);
        encode_patterns(values, effort, &mut patterns);
        if patterns.len() < out.len() - start {
            out.truncate(start);
            out.extend(patterns);
        }
    }
}

/// Fills `out` from the column that `reader` stands at.
///
/// # Errors
/// [`ChunkError::Truncated`] or [`ChunkError::Malformed`]; what `out` then holds means nothing.
pub(super) fn decode(reader: &mut Reader<'_>, out: &mut [f64]) -> Result<(), ChunkError> {
    let tag = reader.byte()?;
    let kind = tag & ((1 << FORM_AT) - 1);
    let form = Form::from_bits(tag >> FORM_AT)?;
    let power = POWERS.get(usize::from(kind)).copied();
    if power.is_none() && (kind != PATTERNS || form != Form::None) {
        return Err(malformed("kind of a column of values"));
    }
    let places = positions::decode(reader, out.len(), form)?;
    let mut patches = Vec::with_capacity(places.count);
    places.each(|_, place| {
        let code = reader.byte()?;
        let bits = match CODES.get(usize::from(code)) {
            Some(bits) => *bits,
            None if code == CODE_RAW => reader.word()?,
            None => return Err(malformed("code of a patched value")),
        };
        patches.push((place, bits));
        Ok(())
    })?;
    match power {
        None => ints::decode(reader, out, |int| f64::from_bits(in_order(int) as u64))?,
        Some(_) if kind == 0 => ints::decode(reader, out, |int| int as f64)?,
        Some(power) => {
            // Divisions by themselves go two at a time: the integers stand in the column as bits before.
            ints::decode(reader, out, |int| f64::from_bits(int as u64))?;
            out.iter_mut().for_each(|v| *v = v.to_bits() as i64 as f64 / power);
        }
    }
    for (place, bits) in patches {
        if let Some(value) = out.get_mut(place) {
            *value = f64::from_bits(bits);
        }
    }
    Ok(())
}

fn encode_patterns(values: &[f64], effort: Effort, out: &mut Vec<u8>) {
    out.push(PATTERNS);
    let patterns: Vec<i64> = values.iter().map(|v| in_order(v.to_bits() as i64)).collect();
    ints::encode(&patterns, effort, out);
}

// Patterns of negative values descend; this turns them round, and back.
fn in_order(pattern: i64) -> i64 {
    pattern ^ ((pattern >> 63) as u64 >> 1) as i64
}

/// Values as `int / 10^exponent`.
struct Decimals {
    exponent: usize,
    ints: Vec<i64>,
    /// Where the values stand that are no such decimals; the integers there continue their neighbours.
    patched: Vec<u16>,
}

// Up to here a product can be rounded by adding and taking off a constant.
const ROUNDED_UP_TO: f64 = (1_u64 << 51) as f64;
const ROUNDER: f64 = (3_u64 << 51) as f64;
const WHOLE_BELOW: i64 = 1 << 53;

impl Decimals {
    /// `None` where the values are not decimals.
    fn of(values: &[f64]) -> Option<Self> {
        let mut exponent = 0;
        let mut ints = Vec::with_capacity(values.len());
        let mut patched = Vec::new();
        // As many may fail: more, and they are no decimals.
        let failures = 4 + values.len() / 16;
        // A look at eight values spread over the column finds the exponent mostly; four misses, and there is none.
        let apart = values.len().div_ceil(8);
        let mut misses = 0;
        for value in values.iter().step_by(apart.max(1)) {
            if is_decimal(*value, exponent) || CODES.contains(&value.to_bits()) {
                continue;
            }
            match exponent_of(*value, exponent + 1) {
                Some(found) => exponent = found,
                None => misses += 1,
            }
            if misses == 4 {
                return None;
            }
        }
        loop {
            convert(values, exponent, &mut ints, &mut patched);
            // A patch may be a decimal with more digits: then all have them.
            let mut found = None;
            let mut failures_left = failures;
            for place in &patched {
                let value = values.get(usize::from(*place)).copied().unwrap_or_default();
                if CODES.contains(&value.to_bits()) {
                    continue;
                }
                found = exponent_of(value, exponent + 1).filter(|e| all_fit(&ints, e - exponent));
                if found.is_some() {
                    break;
                }
                failures_left -= 1;
                if failures_left == 0 {
                    return None;
                }
            }
            match found {
                Some(found) => exponent = found,
                None => break,
            }
        }
        if patched.len() == values.len() {
            return None;
        }
        continue_neighbours(&mut ints, &patched);
        Some(Self {
            exponent,
            ints,
            patched,
        })
    }

    fn encode(&self, values: &[f64], effort: Effort, out: &mut Vec<u8>) {
        let (form, _) = Form::shortest(self.patched.len(), values.len());
        out.push(self.exponent as u8 | form.as_bits() << FORM_AT);
        positions::encode(&self.patched, values.len(), form, out);
        for place in &self.patched {
            let bits = values.get(usize::from(*place)).copied().unwrap_or_default().to_bits();
            match CODES.iter().position(|code| *code == bits) {
                Some(code) => out.push(code as u8),
                None => {
                    out.push(CODE_RAW);
                    out.extend(bits.to_le_bytes());
                }
            }
        }
        ints::encode(&self.ints, effort, out);
    }
}

// Stands for a value that is no decimal while a column is converted.
const INEXACT: i64 = i64::MIN;

// Values into integers, 0 where that is not exact.
fn convert(values: &[f64], exponent: usize, ints: &mut Vec<i64>, patched: &mut Vec<u16>) {
    ints.clear();
    patched.clear();
    let mut has_inexact = false;
    let mut keep = |(int, is_exact): (i64, bool)| {
        has_inexact |= !is_exact;
        if is_exact { int } else { INEXACT }
    };
    if exponent == 0 {
        ints.extend(values.iter().map(|v| keep(whole(*v))));
    } else {
        let power = POWERS.get(exponent).copied().unwrap_or(1.0);
        ints.extend(values.iter().map(|v| keep(decimal(*v, power))));
    }
    if has_inexact {
        for (place, int) in ints.iter_mut().enumerate().filter(|(_, int)| **int == INEXACT) {
            patched.push(place as u16);
            *int = 0;
        }
    }
}

fn is_decimal(value: f64, exponent: usize) -> bool {
    match exponent {
        0 => whole(value).1,
        _ => POWERS.get(exponent).is_some_and(|power| decimal(value, *power).1),
    }
}

#[inline(always)]
fn whole(value: f64) -> (i64, bool) {
    let int = value as i64;
    let is_exact = (int as f64).to_bits() == value.to_bits() && int.unsigned_abs() < WHOLE_BELOW as u64;
    (int, is_exact)
}

#[inline(always)]
fn decimal(value: f64, power: f64) -> (i64, bool) {
    let scaled = value * power;
    // With this added, the unit is the last bit.
    let rounded = scaled + ROUNDER;
    let int = (rounded.to_bits() as i64).wrapping_sub(ROUNDER.to_bits() as i64);
    let back = (rounded - ROUNDER) / power;
    (int, back.to_bits() == value.to_bits() && scaled.abs() < ROUNDED_UP_TO)
}

// The least exponent from `from` on with which `value` is a decimal.
fn exponent_of(value: f64, from: usize) -> Option<usize> {
    if !value.is_finite() {
        return None;
    }
    POWERS
        .iter()
        .enumerate()
        .skip(from)
        .take_while(|(_, power)| (value * **power).abs() < ROUNDED_UP_TO)
        .find(|(_, power)| decimal(value, **power).1)
        .map(|(exponent, _)| exponent)
}

// Whether the integers stay exact with `more` digits.
fn all_fit(ints: &[i64], more: usize) -> bool {
    let most = ints.iter().fold(0, |most, int| most.max(int.unsigned_abs())) as f64;
    POWERS.get(more).is_some_and(|power| most * power < ROUNDED_UP_TO)
}

// Puts integers where values are patched that lie on the way between their neighbours.
fn continue_neighbours(ints: &mut [i64], patched: &[u16]) {
    for run in patched.chunk_by(|a, b| a + 1 == *b) {
        let (Some(from), len) = (run.first().map(|p| usize::from(*p)), run.len()) else {
            continue;
        };
        let before = from.checked_sub(1).and_then(|at| ints.get(at)).copied();
        let behind = ints.get(from + len).copied();
        // Both are below 2^53, so that no sum overflows.
        let (mut int, step) = match (before, behind) {
            (Some(before), Some(behind)) => (before, (behind - before) / (len as i64 + 1)),
            (Some(only), None) | (None, Some(only)) => (only, 0),
            (None, None) => (0, 0),
        };
        for place in ints.iter_mut().skip(from).take(len) {
            int += step;
            *place = int;
        }
    }
}
