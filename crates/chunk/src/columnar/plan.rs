//! Which prediction, reference and width make a column of integers shortest.

use super::ints::{Model, zigzag};
use super::pack::bits_of;
use super::positions::Form;

/// How a column is going to be written.
#[derive(Debug, Clone, Copy)]
pub(super) struct Plan {
    pub(super) model: Model,
    /// Of a line, per place.
    pub(super) step: i64,
    /// What is taken off each residual.
    pub(super) reference: i64,
    /// How many low bits of each residual are packed.
    pub(super) width: u32,
    /// How the places are written of those that need more bits.
    pub(super) form: Form,
    /// How many bits each of them needs more.
    pub(super) patch_width: u32,
    /// What it takes, in bits.
    pub(super) cost: usize,
}

// A model is tried if its residuals spread over at most so many bits more than those of the best.
const WORTH_A_TRY: u32 = 1;

impl Plan {
    /// The shortest plan for `ints`, of which the first is 0; leaves its residuals in `left`.
    pub(super) fn best(ints: &[i64], left: &mut Vec<i64>) -> Self {
        fill(Model::Delta, 0, ints, left);
        let (least, most) = extremes(left);
        if least == most {
            return Self {
                model: Model::Delta,
                reference: least,
                width: 0,
                ..Self::nothing()
            };
        }
        let step = step_of(ints);
        let models = [Model::Delta, Model::DeltaOfDelta, Model::Line, Model::Flat];
        let usual = models.map(|model| usual(model, step, ints));
        let spreads = usual.map(|(low, high)| bits_of(high.wrapping_sub(low) as u64));
        let worth_a_try = spreads.into_iter().min().unwrap_or_default() + WORTH_A_TRY;
        let mut best = None::<Self>;
        let mut filled = Model::Delta;
        for ((model, spread), usual) in models.into_iter().zip(spreads).zip(usual) {
            if spread > worth_a_try || ints.len() <= model.given() {
                continue;
            }
            if filled != model {
                fill(model, step, ints, left);
                filled = model;
            }
            let given = given_bits(model, step, ints);
            for (reference, histogram) in references(left, usual) {
                let plan = histogram.plan(left.len(), reference);
                let cost = plan.cost + given;
                if best.is_none_or(|b| cost < b.cost) {
                    best = Some(Self {
                        model,
                        step,
                        cost,
                        ..plan
                    });
                }
            }
        }
        let best = best.unwrap_or(Self::nothing());
        if filled != best.model {
            fill(best.model, step, ints, left);
        }
        best
    }

    fn nothing() -> Self {
        Self {
            model: Model::Flat,
            step: 0,
            reference: 0,
            width: 64,
            form: Form::None,
            patch_width: 0,
            cost: 0,
        }
    }
}

/// What a model leaves over of `ints`, of which the first is 0.
pub(super) fn fill(model: Model, step: i64, ints: &[i64], left: &mut Vec<i64>) {
    left.clear();
    let second = ints.get(1..).unwrap_or_default();
    let third = ints.get(2..).unwrap_or_default();
    match model {
        Model::Flat => left.extend_from_slice(ints),
        Model::Line => left.extend(
            (0_i64..)
                .zip(ints)
                .map(|(n, int)| int.wrapping_sub(step.wrapping_mul(n))),
        ),
        Model::Delta => left.extend(ints.iter().zip(second).map(|(a, b)| b.wrapping_sub(*a))),
        Model::DeltaOfDelta => left.extend(
            ints.iter()
                .zip(second)
                .zip(third)
                .map(|((a, b), c)| c.wrapping_sub(*b).wrapping_sub(b.wrapping_sub(*a))),
        ),
    }
}

// The mean difference, rounded; a few milliseconds of jitter at the ends do not change it.
fn step_of(ints: &[i64]) -> i64 {
    let (Some(first), Some(last)) = (ints.first(), ints.last()) else {
        return 0;
    };
    let steps = (ints.len() as i64 - 1).max(1);
    let rise = last.wrapping_sub(*first);
    (rise.wrapping_add(rise.signum() * (steps / 2))) / steps
}

/// What the fields take that a model needs, in bits.
pub(super) fn given_bits(model: Model, step: i64, ints: &[i64]) -> usize {
    match model {
        Model::Line => varint_bits(step),
        Model::DeltaOfDelta => varint_bits(ints.get(1).copied().unwrap_or_default()),
        Model::Flat | Model::Delta => 0,
    }
}

pub(super) fn varint_bits(int: i64) -> usize {
    8 * (bits_of(zigzag(int)).max(1).div_ceil(7)) as usize
}

/// How many residuals need how many bits above the reference.
struct Histogram {
    by_bits: [u16; 65],
    below: usize,
    most_bits: u32,
    most_bits_below: u32,
}

// The least residual, and where that is far out the least that is not.
fn references(left: &[i64], usual: (i64, i64)) -> impl Iterator<Item = (i64, Histogram)> {
    let (least, _) = extremes(left);
    let inside = Some(least_usual(left, usual)).filter(|inside| *inside != least);
    [Some(least), inside]
        .into_iter()
        .flatten()
        .map(|reference| (reference, Histogram::new(left, reference)))
}

/// The least residual that is not far out, where the usual ones lie between these.
pub(super) fn least_usual(left: &[i64], (low, high): (i64, i64)) -> i64 {
    // What is below the usual ones by more than they spread is far out.
    let fence = low.saturating_sub(high.saturating_sub(low).saturating_mul(4));
    left.iter().copied().filter(|r| *r >= fence).min().unwrap_or(low)
}

fn extremes(left: &[i64]) -> (i64, i64) {
    let first = left.first().copied().unwrap_or_default();
    left.iter()
        .fold((first, first), |(least, most), r| (least.min(*r), most.max(*r)))
}

/// Between what the usual residuals of a model lie: the third and the seventh of nine.
pub(super) fn usual(model: Model, step: i64, ints: &[i64]) -> (i64, i64) {
    let int = |at: usize| ints.get(at).copied().unwrap_or_default();
    let residual = |at: usize| match model {
        Model::Flat => int(at),
        Model::Line => int(at).wrapping_sub(step.wrapping_mul(at as i64)),
        Model::Delta => int(at + 1).wrapping_sub(int(at)),
        Model::DeltaOfDelta => int(at + 2)
            .wrapping_sub(int(at + 1))
            .wrapping_sub(int(at + 1).wrapping_sub(int(at))),
    };
    let len = ints.len().saturating_sub(model.given());
    let mut some = [0; 9];
    for (n, one) in some.iter_mut().enumerate() {
        *one = residual((len * n + len / 2) / 9);
    }
    some.sort_unstable();
    let [_, _, low, _, _, _, high, ..] = some;
    (low, high)
}

impl Histogram {
    fn new(left: &[i64], reference: i64) -> Self {
        let mut by_bits = [0_u16; 65];
        let mut by_bits_too = [0_u16; 65];
        let (mut most, mut most_below) = (0, 0);
        let mut add = |counts: &mut [u16; 65], r: i64| {
            let above = r.wrapping_sub(reference);
            if let Some(count) = counts.get_mut(bits_of(above as u64) as usize) {
                *count += 1;
            }
            let is_below = above >> 63;
            most |= above & !is_below;
            most_below |= !above & is_below;
        };
        // Neighbours need the same number of bits mostly; with two tables one does not wait for the other.
        let (pairs, odd) = left.as_chunks::<2>();
        for [a, b] in pairs {
            add(&mut by_bits, *a);
            add(&mut by_bits_too, *b);
        }
        for r in odd {
            add(&mut by_bits, *r);
        }
        for (count, more) in by_bits.iter_mut().zip(by_bits_too) {
            *count += more;
        }
        Self {
            by_bits,
            below: usize::from(by_bits[64]),
            most_bits: bits_of(most as u64),
            most_bits_below: bits_of(most_below as u64),
        }
    }

    /// The width that takes fewest bits, the patches included.
    fn plan(&self, places: usize, reference: i64) -> Plan {
        let reference_bits = if reference == 0 { 0 } else { varint_bits(reference) };
        let plan_of = |width: u32, patched: usize| {
            let (form, position_bits) = Form::shortest(patched, places);
            let patch_width = match patched {
                0 => 0,
                // A sign bit, and what the longest needs above the packed bits.
                _ => 1 + self.most_bits.max(self.most_bits_below).saturating_sub(width).min(63),
            };
            let packed = if width == 0 {
                0
            } else {
                8 + (places * width as usize).div_ceil(8) * 8
            };
            let patches = match patched {
                0 => 0,
                _ => 8 + position_bits + (patched * patch_width as usize).div_ceil(8) * 8,
            };
            Plan {
                model: Model::Flat,
                step: 0,
                reference,
                width,
                form,
                patch_width,
                cost: reference_bits + packed + patches,
            }
        };
        // With the width of the widest nothing is patched but what is below the reference.
        let mut patched = self.below;
        let mut best = if self.below == 0 {
            plan_of(self.most_bits, 0)
        } else {
            plan_of(64, 0)
        };
        for (width, count) in (0..64).zip(&self.by_bits).rev() {
            if *count == 0 && width > 0 {
                continue;
            }
            let plan = plan_of(width, patched);
            if plan.cost < best.cost {
                best = plan;
            }
            // From here down the patches get more and wider.
            if patched * plan.patch_width as usize >= best.cost {
                break;
            }
            patched += usize::from(*count);
        }
        best
    }
}
