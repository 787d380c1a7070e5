//! A column of integers: a prediction, what is left over packed with one width, and patches.

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

/// Appends the column of `ints`, of which there is at least one.
pub(super) fn encode(ints: &[i64], out: &mut Vec<u8>) {
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
    put(first, shift, &plan, &scaled, &left, out);
}

fn put(first: i64, shift: u32, plan: &Plan, scaled: &[i64], left: &[i64], out: &mut Vec<u8>) {
    let model = Model::ALL.iter().position(|m| *m == plan.model).unwrap_or_default();
    let flag = |is_set: bool, bit: u8| if is_set { bit } else { 0 };
    out.push(
        model as u8
            | plan.form.as_bits() << FORM_AT
            | flag(shift > 0, HAS_SHIFT)
            | flag(plan.reference != 0, HAS_REFERENCE)
            | flag(plan.width > 0, HAS_WIDTH),
    );
    put_varint(out, first);
    if shift > 0 {
        out.push(shift as u8);
    }
    match plan.model {
        Model::Line => put_varint(out, plan.step),
        Model::DeltaOfDelta => put_varint(out, scaled.get(1).copied().unwrap_or_default()),
        Model::Flat | Model::Delta => {}
    }
    if plan.reference != 0 {
        put_varint(out, plan.reference);
    }
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
    if tag & !(MODEL | FORM | HAS_SHIFT | HAS_REFERENCE | HAS_WIDTH) != 0 {
        return Err(malformed("kind of a column"));
    }
    let first = reader.varint()?;
    if tag == 0 {
        out.fill(make(first));
        return Ok(());
    }
    let model = Model::ALL.get(usize::from(tag & MODEL)).copied().unwrap_or(Model::Flat);
    let form = Form::from_bits((tag & FORM) >> FORM_AT)?;
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
    let given = model.given().min(out.len());
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
