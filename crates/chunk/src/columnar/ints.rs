//! A column of integers: a prediction, what is left over packed with one width, and patches.

use super::coded::{self, Coding};
use super::pack::{Cell, pack};
use super::plan::Plan;
use super::positions::{self, Form};
use super::reader::{Reader, malformed, put_varint};
use crate::ChunkError;

/// From what each integer is foretold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Model {
    /// From nothing: frame of reference.
    Flat,
    /// From a line through the first one.
    Line,
    /// From the one before.
    Delta,
    /// From the one before and the difference before.
    DeltaOfDelta,
}

impl Model {
    const ALL: [Self; 4] = [Self::Flat, Self::Line, Self::Delta, Self::DeltaOfDelta];

    fn as_bits(self) -> u8 {
        Self::ALL.iter().position(|model| *model == self).unwrap_or_default() as u8
    }

    /// How many integers at the start have no residual.
    pub(super) fn given(self) -> usize {
        match self {
            Self::Flat | Self::Line => 0,
            Self::Delta => 1,
            Self::DeltaOfDelta => 2,
        }
    }
}

// The first byte of a column.
const MODEL: u8 = 0b11;
const FORM_AT: u8 = 2;
const FORM: u8 = 0b11 << FORM_AT;
const HAS_SHIFT: u8 = 1 << 4;
const HAS_REFERENCE: u8 = 1 << 5;
const HAS_WIDTH: u8 = 1 << 6;
// A packed column shorter than this stays so.
const LEAST_BYTES: usize = 32;
// A column with this has coded residuals instead of packed ones,
const IS_CODED: u8 = 1 << 7;
// and one with both is a column of the integers that differ from the one before; below them the form of their positions.
const HAS_RUNS: u8 = IS_CODED | 1 << 6;

/// How much is done for a short column.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Effort {
    /// Residuals are packed, which is quick.
    Packed,
    /// Repetitions are left out and residuals coded by how often they occur, each where that makes the column shorter by
    /// a sixteenth.
    Coded,
}

/// Appends the column of `ints`, of which there is at least one.
pub(super) fn encode(ints: &[i64], effort: Effort, out: &mut Vec<u8>) {
    if effort == Effort::Coded
        && let Some(runs) = Runs::of(ints)
    {
        let short = runs.encode(effort);
        // Where the others are long, leaving out repetitions gains more than coding them does.
        let is_long = short.len() > ints.len() / 2;
        let start = out.len();
        encode_all(ints, if is_long { Effort::Packed } else { effort }, out);
        if short.len() < out.len() - start {
            out.truncate(start);
            out.extend(short);
        }
        return;
    }
    encode_all(ints, effort, out);
}

/// Integers that often repeat the one before, without the repetitions.
struct Runs {
    places: usize,
    /// Which of the places behind the first one differ from the one before.
    positions: Vec<u16>,
    differing: Vec<i64>,
}

impl Runs {
    /// `None` where few repeat, and for what only grows: that is foretold by differences, and no change is one of them.
    fn of(ints: &[i64]) -> Option<Self> {
        let next = ints.get(1..)?;
        let (mut changed, mut less) = (0, 0);
        for (a, b) in ints.iter().zip(next) {
            changed += usize::from(a != b);
            less += usize::from(b < a);
        }
        if ints.len() < LEAST_BYTES || changed > next.len() - next.len() / 8 || less <= changed / 8 {
            return None;
        }
        let mut runs = Self {
            places: next.len(),
            positions: Vec::with_capacity(changed),
            differing: Vec::with_capacity(1 + changed),
        };
        runs.differing.extend(ints.first());
        for (place, (a, b)) in (0_u16..).zip(ints.iter().zip(next)) {
            if a != b {
                runs.positions.push(place);
                runs.differing.push(*b);
            }
        }
        Some(runs)
    }

    fn encode(&self, effort: Effort) -> Vec<u8> {
        let (form, _) = Form::shortest(self.positions.len(), self.places);
        let mut out = vec![HAS_RUNS | form.as_bits()];
        positions::encode(&self.positions, self.places, form, &mut out);
        encode_all(&self.differing, effort, &mut out);
        out
    }
}

// Each integer, whether it repeats the one before or not.
fn encode_all(ints: &[i64], effort: Effort, out: &mut Vec<u8>) {
    let first = ints.first().copied().unwrap_or_default();
    let differing = ints.iter().fold(0, |all, int| all | (int ^ first));
    if differing == 0 {
        out.push(0);
        put_varint(out, first);
        return;
    }
    // Bits that are the same in all integers cancel out below the lowest that differs.
    let shift = differing.trailing_zeros();
    let scaled: Vec<i64> = ints.iter().map(|int| int.wrapping_sub(first) >> shift).collect();
    let mut left = Vec::with_capacity(scaled.len());
    let plan = Plan::best(&scaled, &mut left);
    if effort == Effort::Coded && plan.cost > 8 * LEAST_BYTES {
        let mut coded = Vec::with_capacity(scaled.len());
        let coding = Coding::best(&plan, &scaled, &mut coded);
        if let Some(coding) = coding.filter(|coding| coding.cost + is_worth(coding.cost, ints.len()) < plan.cost) {
            put_coded(first, shift, &coding, &scaled, &coded, out);
            return;
        }
    }
    put(first, shift, &plan, &scaled, &left, out);
}

// So many bits make coded residuals worth the time that reading them takes.
fn is_worth(cost: usize, ints: usize) -> usize {
    (cost / 16).max(ints / 3)
}

fn put_coded(first: i64, shift: u32, coding: &Coding, scaled: &[i64], left: &[i64], out: &mut Vec<u8>) {
    let flag = |is_set: bool, bit: u8| if is_set { bit } else { 0 };
    out.push(
        IS_CODED | coding.model.as_bits() | flag(shift > 0, HAS_SHIFT) | flag(coding.reference != 0, HAS_REFERENCE),
    );
    put_fields(first, shift, (coding.model, coding.step, coding.reference), scaled, out);
    coding.put(left, out);
}

// The fields that packed and coded columns have.
fn put_fields(first: i64, shift: u32, (model, step, reference): (Model, i64, i64), scaled: &[i64], out: &mut Vec<u8>) {
    put_varint(out, first);
    if shift > 0 {
        out.push(shift as u8);
    }
    match model {
        Model::Line => put_varint(out, step),
        Model::DeltaOfDelta => put_varint(out, scaled.get(1).copied().unwrap_or_default()),
        Model::Flat | Model::Delta => {}
    }
    if reference != 0 {
        put_varint(out, reference);
    }
}

fn put(first: i64, shift: u32, plan: &Plan, scaled: &[i64], left: &[i64], out: &mut Vec<u8>) {
    let flag = |is_set: bool, bit: u8| if is_set { bit } else { 0 };
    out.push(
        plan.model.as_bits()
            | plan.form.as_bits() << FORM_AT
            | flag(shift > 0, HAS_SHIFT)
            | flag(plan.reference != 0, HAS_REFERENCE)
            | flag(plan.width > 0, HAS_WIDTH),
    );
    put_fields(first, shift, (plan.model, plan.step, plan.reference), scaled, out);
    let above = |r: &i64| r.wrapping_sub(plan.reference);
    if plan.width > 0 {
        out.push(plan.width as u8);
        pack(left.iter().map(|r| above(r) as u64), plan.width, out);
    }
    if plan.form != Form::None {
        let (mut places, mut highs) = (Vec::new(), Vec::new());
        for (place, r) in left.iter().enumerate() {
            let high = above(r) >> plan.width;
            if high != 0 {
                places.push(place as u16);
                highs.push(zigzag(high));
            }
        }
        positions::encode(&places, left.len(), plan.form, out);
        out.push(plan.patch_width as u8);
        pack(highs.into_iter(), plan.patch_width, out);
    }
}

/// Fills `out` from the column that `reader` stands at, with what `make` makes of each integer.
///
/// # Errors
/// [`ChunkError::Truncated`] or [`ChunkError::Malformed`]; what `out` then holds means nothing.
pub(super) fn decode<C: Cell>(
    reader: &mut Reader<'_>,
    out: &mut [C],
    make: impl Fn(i64) -> C + Copy,
) -> Result<(), ChunkError> {
    let tag = reader.byte()?;
    if tag & HAS_RUNS != HAS_RUNS {
        return decode_all(tag, reader, out, make);
    }
    let form = Form::from_bits(tag & !HAS_RUNS)?;
    let positions = positions::decode(reader, out.len().saturating_sub(1), form)?;
    let tag = reader.byte()?;
    if tag & HAS_RUNS == HAS_RUNS {
        return Err(malformed("kind of a column"));
    }
    let differing = out.get_mut(..=positions.count).unwrap_or_default();
    decode_all(tag, reader, differing, make)?;
    positions.spread(out)
}

fn decode_all<C: Cell>(
    tag: u8,
    reader: &mut Reader<'_>,
    out: &mut [C],
    make: impl Fn(i64) -> C + Copy,
) -> Result<(), ChunkError> {
    let is_coded = tag & IS_CODED != 0;
    if is_coded && tag & !(IS_CODED | MODEL | HAS_SHIFT | HAS_REFERENCE) != 0 {
        return Err(malformed("kind of a column"));
    }
    let first = reader.varint()?;
    if tag == 0 {
        out.fill(make(first));
        return Ok(());
    }
    let model = Model::ALL.get(usize::from(tag & MODEL)).copied().unwrap_or(Model::Flat);
    let shift = match tag & HAS_SHIFT {
        0 => 0,
        _ => reader.width(63, "shift of a column")?,
    };
    let step = match model {
        Model::Line | Model::DeltaOfDelta => reader.varint()?,
        Model::Flat | Model::Delta => 0,
    };
    let reference = match tag & HAS_REFERENCE {
        0 => 0,
        _ => reader.varint()?,
    };
    let given = model.given().min(out.len());
    if is_coded {
        let (start, left) = out.split_at_mut(given);
        coded::decode(reader, left)?;
        finish(
            model,
            [first, step << shift, reference << shift],
            shift,
            (start, left),
            make,
        );
        return Ok(());
    }
    let form = Form::from_bits((tag & FORM) >> FORM_AT)?;
    let width = match tag & HAS_WIDTH {
        0 => 0,
        _ => reader.width(64, "width of a column")?,
    };
    if model == Model::Delta && width == 0 && form == Form::None {
        let mut next = first;
        for cell in out {
            *cell = make(next);
            next = next.wrapping_add(reference << shift);
        }
        return Ok(());
    }
    let (start, left) = out.split_at_mut(given);
    reader.packed(left.len(), width)?.unpack(width, left);
    if form != Form::None {
        patch(reader, width, form, left)?;
    }
    // Everything is shifted at once; sums of shifted integers are shifted sums, also where they wrap.
    let (step, reference) = (step << shift, reference << shift);
    // A loop without a shift is worth having for the usual case.
    match shift {
        0 => finish(model, [first, step, reference], 0, (start, left), make),
        _ => finish(model, [first, step, reference], shift, (start, left), make),
    }
    Ok(())
}

fn patch<C: Cell>(reader: &mut Reader<'_>, width: u32, form: Form, left: &mut [C]) -> Result<(), ChunkError> {
    let places = positions::decode(reader, left.len(), form)?;
    let patch_width = reader.width(64, "width of the patches")?;
    let highs = reader.packed(places.count, patch_width)?;
    places.each(|nth, place| {
        if let Some(cell) = left.get_mut(place) {
            let high = unzigzag(highs.get(nth, patch_width));
            *cell = C::of(cell.int() | high.checked_shl(width).unwrap_or(0));
        }
        Ok(())
    })
}

// Turns residuals into integers, and these into what is wanted.
#[inline(always)]
fn finish<C: Cell>(
    model: Model,
    params: [i64; 3],
    shift: u32,
    (start, left): (&mut [C], &mut [C]),
    make: impl Fn(i64) -> C,
) {
    let [first, step, reference] = params;
    match model {
        Model::Flat => {
            let base = first.wrapping_add(reference);
            for cell in left {
                *cell = make(base.wrapping_add(cell.int() << shift));
            }
        }
        Model::Line => {
            let mut base = first.wrapping_add(reference);
            for cell in left {
                *cell = make(base.wrapping_add(cell.int() << shift));
                base = base.wrapping_add(step);
            }
        }
        Model::Delta => {
            start.fill(make(first));
            let mut last = first;
            for cell in left {
                last = last.wrapping_add(reference.wrapping_add(cell.int() << shift));
                *cell = make(last);
            }
        }
        Model::DeltaOfDelta => {
            let (mut last, mut delta) = (first, 0_i64);
            for (cell, more) in start.iter_mut().zip([0, step]) {
                delta = more;
                last = last.wrapping_add(delta);
                *cell = make(last);
            }
            for cell in left {
                delta = delta.wrapping_add(reference.wrapping_add(cell.int() << shift));
                last = last.wrapping_add(delta);
                *cell = make(last);
            }
        }
    }
}

/// Small numbers for small distances from zero on either side.
pub(super) fn zigzag(int: i64) -> u64 {
    ((int << 1) ^ (int >> 63)) as u64
}

fn unzigzag(int: u64) -> i64 {
    (int >> 1) as i64 ^ -((int & 1) as i64)
}
