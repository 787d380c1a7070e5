//! The one way two histograms come together, for plain and compensated sums.
//!
//! Bringing both to one layout comes first (zero bucket, schema, custom bounds, missing buckets), then populations are
//! added position by position.

use std::borrow::Cow;
use std::sync::Arc;

use crate::arithmetic::{Incompatible, Reconciled, coarsen};
use crate::bound::exponential_bound;
use crate::float::{FloatHistogram, Span};
use crate::layout::{SpanBuilder, Walk, compact, steps};
use crate::sum::{Rest, add_to};

/// What a sum knows beside the histogram: nothing, or what its floats lost.
pub(crate) enum Extra<'a> {
    None,
    Rest(&'a mut Rest),
}

/// A running sum of one number, compensated or not.
struct Running {
    sum: f64,
    rest: f64,
    compensated: bool,
}

impl Running {
    fn add(&mut self, value: f64) {
        if self.compensated {
            (self.sum, self.rest) = add_to(self.sum, self.rest, value);
        } else {
            self.sum += value;
        }
    }
}

/// Adds `sign * other` to `h`.
pub(crate) fn combine(
    h: &mut FloatHistogram,
    extra: &mut Extra<'_>,
    other: &FloatHistogram,
    sign: f64,
) -> Result<Reconciled, Incompatible> {
    if h.uses_custom_buckets() != other.uses_custom_buckets() {
        return Err(Incompatible);
    }
    let mut told = Reconciled::default();
    (h.counter_reset_hint, told.counter_reset_collision) = h.counter_reset_hint.merge(other.counter_reset_hint);
    if h.uses_custom_buckets() {
        add_totals(h, extra, other, 0.0, sign);
        if same_bounds(&h.custom_values, &other.custom_values) {
            let theirs = (&*other.positive_spans, &*other.positive_buckets);
            add_side(h, extra, Side::Positive, theirs, None, sign);
        } else {
            told.bounds_reconciled = true;
            add_mismatched(h, extra, other, sign);
        }
        return Ok(told);
    }
    let zero_count = reconcile_zero_buckets(h, extra, other);
    add_totals(h, extra, other, zero_count, sign);
    if other.schema < h.schema {
        let steps = steps(h.schema, other.schema);
        let (positive, negative) = match extra {
            Extra::None => (None, None),
            Extra::Rest(rest) => (Some(&mut rest.positive), Some(&mut rest.negative)),
        };
        coarsen(&mut h.positive_spans, &mut h.positive_buckets, positive, steps);
        coarsen(&mut h.negative_spans, &mut h.negative_buckets, negative, steps);
        h.schema = other.schema;
    }
    for side in [Side::Positive, Side::Negative] {
        let (spans, buckets) = match side {
            Side::Positive => (&other.positive_spans, &other.positive_buckets),
            Side::Negative => (&other.negative_spans, &other.negative_buckets),
        };
        let (mut spans, mut buckets) = (Cow::Borrowed(spans), Cow::Borrowed(buckets));
        if other.schema > h.schema {
            coarsen(spans.to_mut(), buckets.to_mut(), None, steps(other.schema, h.schema));
        }
        let within = Some((h.schema, h.zero_threshold));
        add_side(h, extra, side, (&spans, &buckets), within, sign);
    }
    Ok(told)
}

#[derive(Clone, Copy)]
enum Side {
    Positive,
    Negative,
}

/// Whether custom bounds are the same list (upstream `CustomBucketBoundsMatch`); shared lists are not looked at.
pub(crate) fn same_bounds(a: &Arc<[f64]>, b: &Arc<[f64]>) -> bool {
    Arc::ptr_eq(a, b) || a == b
}

fn add_totals(h: &mut FloatHistogram, extra: &mut Extra<'_>, other: &FloatHistogram, zero_count: f64, sign: f64) {
    match extra {
        Extra::None => {
            h.zero_count += sign * zero_count;
            h.count += sign * other.count;
            h.sum += sign * other.sum;
        }
        Extra::Rest(rest) => {
            (h.zero_count, rest.zero_count) = add_to(h.zero_count, rest.zero_count, sign * zero_count);
            (h.count, rest.count) = add_to(h.count, rest.count, sign * other.count);
            (h.sum, rest.sum) = add_to(h.sum, rest.sum, sign * other.sum);
        }
    }
}

/// Adds the buckets of one side. `within` names schema and zero threshold: buckets that end within the zero bucket are
/// left out, up to the first that does not (upstream `addBuckets`).
fn add_side(
    h: &mut FloatHistogram,
    extra: &mut Extra<'_>,
    side: Side,
    theirs: (&[Span], &[f64]),
    within: Option<(i32, f64)>,
    sign: f64,
) {
    let (spans, buckets) = match side {
        Side::Positive => (&mut h.positive_spans, &mut h.positive_buckets),
        Side::Negative => (&mut h.negative_spans, &mut h.negative_buckets),
    };
    let mut none = Vec::new();
    let (rest, compensated) = match (extra, side) {
        (Extra::None, _) => (&mut none, false),
        (Extra::Rest(rest), Side::Positive) => (&mut rest.positive, true),
        (Extra::Rest(rest), Side::Negative) => (&mut rest.negative, true),
    };
    let mut added = Walk::new(theirs.0, theirs.1).peekable();
    let mut skipped = false;
    if let Some((schema, threshold)) = within {
        while added
            .next_if(|&(index, _)| exponential_bound(index, schema) <= threshold)
            .is_some()
        {
            skipped = true;
        }
    }
    if compensated {
        rest.resize(buckets.len(), 0.0);
    }
    if !skipped && spans.as_slice() == theirs.0 && buckets.len() == theirs.1.len() {
        if compensated {
            for ((mine, rest), &count) in buckets.iter_mut().zip(rest).zip(theirs.1) {
                (*mine, *rest) = add_to(*mine, *rest, sign * count);
            }
        } else {
            for (mine, &count) in buckets.iter_mut().zip(theirs.1) {
                *mine += sign * count;
            }
        }
        return;
    }
    widen(spans, buckets, rest, added.clone().map(|(index, _)| index));
    // Every index of `added` has a place now; both ascend.
    let positions: Vec<Span> = std::mem::take(spans);
    let mut place = Places::new(&positions);
    for (index, count) in added {
        let Some(position) = place.of(index) else { continue };
        let Some(mine) = buckets.get_mut(position) else {
            continue;
        };
        match rest.get_mut(position) {
            Some(rest) if compensated => (*mine, *rest) = add_to(*mine, *rest, sign * count),
            _ => *mine += sign * count,
        }
    }
    *spans = positions;
}

/// Finds the positions of ascending indexes in a layout.
struct Places<'a> {
    spans: std::slice::Iter<'a, Span>,
    // The current span: its first index, its first position, its length.
    first: i64,
    position: usize,
    length: u32,
}

impl<'a> Places<'a> {
    fn new(spans: &'a [Span]) -> Self {
        Self {
            spans: spans.iter(),
            first: 0,
            position: 0,
            length: 0,
        }
    }

    fn of(&mut self, index: i64) -> Option<usize> {
        loop {
            let within = u32::try_from(index - self.first).ok();
            match within.filter(|&within| within < self.length) {
                Some(within) => return self.position.checked_add(within as usize),
                // Before the first span there is nothing to be in front of.
                None if index < self.first && self.length > 0 => return None,
                None => {
                    let span = self.spans.clone().next()?;
                    let first = self.first + i64::from(self.length) + i64::from(span.offset);
                    if index < first {
                        return None;
                    }
                    self.spans.next();
                    self.position = self.position.checked_add(self.length as usize)?;
                    self.first = first;
                    self.length = span.length;
                }
            }
        }
    }
}

/// Makes room for buckets at `indexes`, ascending, where there is none yet.
fn widen(
    spans: &mut Vec<Span>,
    buckets: &mut Vec<f64>,
    rest: &mut Vec<f64>,
    indexes: impl Iterator<Item = i64> + Clone,
) {
    let mut place = Places::new(spans);
    let known = |position: usize| position < buckets.len();
    if indexes.clone().all(|index| place.of(index).is_some_and(known)) {
        return;
    }
    let mut built = SpanBuilder::with_capacity(spans.len() + 1);
    let mut counts = Vec::with_capacity(buckets.len() + 4);
    let mut rests = Vec::with_capacity(rest.len() + 4);
    let mut indexes = indexes.peekable();
    for (position, (index, count)) in Walk::new(spans, buckets).enumerate() {
        while let Some(missing) = indexes.next_if(|&missing| missing <= index) {
            if missing < index {
                built.push(missing);
                counts.push(0.0);
                rests.push(0.0);
            }
        }
        built.push(index);
        counts.push(count);
        rests.push(rest.get(position).copied().unwrap_or(0.0));
    }
    for missing in indexes {
        built.push(missing);
        counts.push(0.0);
        rests.push(0.0);
    }
    *spans = built.finish();
    *buckets = counts;
    *rest = rests;
}

/// Grows the zero bucket of `h` until it also holds that of `other` and cuts no populated bucket of either. Returns the
/// zero count `other` would have then (upstream `reconcileZeroBuckets`).
fn reconcile_zero_buckets(h: &mut FloatHistogram, extra: &mut Extra<'_>, other: &FloatHistogram) -> f64 {
    let (mut count, mut threshold) = (other.zero_count, other.zero_threshold);
    // Thresholds only grow, to a bucket bound of one of the two: at most one round for each bucket. NaN ends it.
    let rounds = 2
        + h.positive_buckets.len()
        + h.negative_buckets.len()
        + other.positive_buckets.len()
        + other.negative_buckets.len();
    for _ in 0..rounds {
        if h.zero_threshold > threshold {
            let (running, grown) = zero_count_within(other, None, h.zero_threshold);
            (count, threshold) = (running.sum, grown);
        }
        if threshold > h.zero_threshold {
            let rest = match extra {
                Extra::None => None,
                Extra::Rest(rest) => Some(&**rest),
            };
            let (running, grown) = zero_count_within(h, rest, threshold);
            (h.zero_count, h.zero_threshold) = (running.sum, grown);
            if let Extra::Rest(rest) = extra {
                rest.zero_count = running.rest;
            }
            drop_buckets_within_zero(h, extra);
        } else {
            break;
        }
    }
    count
}

/// The zero count and threshold of `h` with a zero bucket up to `threshold`, or to the end of a populated bucket that
/// `threshold` would cut (upstream `zeroCountForLargerThreshold`).
pub(crate) fn zero_count_for_threshold(h: &FloatHistogram, threshold: f64) -> (f64, f64) {
    let (running, threshold) = zero_count_within(h, None, threshold);
    (running.sum, threshold)
}

fn zero_count_within(h: &FloatHistogram, rest: Option<&Rest>, mut threshold: f64) -> (Running, f64) {
    let rest_at = |list: fn(&Rest) -> &Vec<f64>, at: usize| rest.and_then(|rest| list(rest).get(at)).copied();
    loop {
        let mut running = Running {
            sum: h.zero_count,
            rest: rest.map_or(0.0, |rest| rest.zero_count),
            compensated: rest.is_some(),
        };
        if threshold == h.zero_threshold {
            return (running, threshold);
        }
        for (at, (index, count)) in h.positive_walk().enumerate() {
            let bucket = h.positive_bucket(index, count);
            if bucket.lower >= threshold {
                break;
            }
            running.add(count);
            running.add(rest_at(|rest| &rest.positive, at).unwrap_or(0.0));
            if bucket.upper > threshold {
                if count != 0.0 {
                    threshold = bucket.upper;
                }
                break;
            }
        }
        let mut again = false;
        for (at, (index, count)) in h.negative_walk().enumerate() {
            let bucket = h.negative_bucket(index, count);
            if bucket.upper <= -threshold {
                break;
            }
            running.add(count);
            running.add(rest_at(|rest| &rest.negative, at).unwrap_or(0.0));
            if bucket.lower < -threshold {
                if count != 0.0 {
                    // The positive side has to be counted anew with the larger threshold.
                    threshold = -bucket.lower;
                    again = true;
                }
                break;
            }
        }
        if !again {
            return (running, threshold);
        }
    }
}

/// Removes the buckets that the zero bucket holds now (upstream `trimBucketsInZeroBucket`).
fn drop_buckets_within_zero(h: &mut FloatHistogram, extra: &mut Extra<'_>) {
    let threshold = h.zero_threshold;
    let positive = h.positive_iter().take_while(|bucket| bucket.lower < threshold).count();
    let negative = h.negative_iter().take_while(|bucket| bucket.upper > -threshold).count();
    let (mut none_positive, mut none_negative) = (Vec::new(), Vec::new());
    let (positive_rest, negative_rest) = match extra {
        Extra::None => (&mut none_positive, &mut none_negative),
        Extra::Rest(rest) => (&mut rest.positive, &mut rest.negative),
    };
    for (list, within) in [
        (&mut h.positive_buckets, positive),
        (&mut *positive_rest, positive),
        (&mut h.negative_buckets, negative),
        (&mut *negative_rest, negative),
    ] {
        list.iter_mut().take(within).for_each(|count| *count = 0.0);
    }
    compact(&mut h.positive_spans, &mut h.positive_buckets, positive_rest, 0);
    compact(&mut h.negative_spans, &mut h.negative_buckets, negative_rest, 0);
}

/// The bounds that stand in both ascending lists.
pub(crate) fn intersect(a: &[f64], b: &[f64]) -> Arc<[f64]> {
    let mut b = b.iter().peekable();
    a.iter()
        .copied()
        .filter(|bound| {
            while b.next_if(|&&other| other < *bound).is_some() {}
            b.next_if(|&&other| other == *bound).is_some()
        })
        .collect()
}

/// Calls `at` with the bucket among those that `bounds` end (the last one ends at infinity) for each bucket of `h`, a
/// custom histogram whose bounds hold `bounds`.
pub(crate) fn map_custom(h: &FloatHistogram, bounds: &[f64], mut at: impl FnMut(usize, usize, f64)) {
    let mut target = 0;
    for (position, (index, count)) in h.positive_walk().enumerate() {
        let bound = usize::try_from(index).ok().and_then(|index| h.custom_values.get(index));
        let bound = bound.copied().unwrap_or(f64::INFINITY);
        while bounds.get(target).is_some_and(|&end| end < bound) {
            target += 1;
        }
        at(target, position, count);
    }
}

/// Brings both to the bounds they share and adds (upstream `addCustomBucketsWithMismatches`).
fn add_mismatched(h: &mut FloatHistogram, extra: &mut Extra<'_>, other: &FloatHistogram, sign: f64) {
    let bounds = intersect(&h.custom_values, &other.custom_values);
    let empty = Running {
        sum: 0.0,
        rest: 0.0,
        compensated: matches!(extra, Extra::Rest(_)),
    };
    let mut sums: Vec<Running> = Vec::new();
    sums.resize_with(bounds.len() + 1, || Running { ..empty });
    map_custom(h, &bounds, |target, position, count| {
        if let Some(sum) = sums.get_mut(target) {
            sum.add(count);
            if let Extra::Rest(rest) = extra {
                sum.add(rest.positive.get(position).copied().unwrap_or(0.0));
            }
        }
    });
    map_custom(other, &bounds, |target, _, count| {
        if let Some(sum) = sums.get_mut(target) {
            sum.add(sign * count);
        }
    });
    let mut built = SpanBuilder::default();
    h.positive_buckets.clear();
    let mut rests = Vec::new();
    for (index, sum) in (0_i64..).zip(&sums) {
        if sum.sum != 0.0 || sum.rest != 0.0 {
            built.push(index);
            h.positive_buckets.push(sum.sum);
            rests.push(sum.rest);
        }
    }
    h.positive_spans = built.finish();
    h.custom_values = bounds;
    if let Extra::Rest(rest) = extra {
        rest.positive = rests;
    }
}
