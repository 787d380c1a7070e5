//! Comparing and changing where buckets lie.
//!
//! Populations travel as the 64-bit words a chunk keeps: in an integer chunk the differences between buckets, in a float
//! chunk the bits of the populations themselves.

use cupola_histogram::Span;

use crate::ChunkError;

/// Which numbers a chunk holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Integer,
    Float,
}

impl Kind {
    // Whether a population fell from `before` to `now`.
    fn fell(self, before: u64, now: u64) -> bool {
        match self {
            Self::Integer => before as i64 > now as i64,
            Self::Float => f64::from_bits(before) > f64::from_bits(now),
        }
    }

    fn is_empty(self, population: u64) -> bool {
        match self {
            Self::Integer => population == 0,
            Self::Float => f64::from_bits(population) == 0.0,
        }
    }

    // The populations themselves.
    fn populations(self, words: impl Iterator<Item = u64>) -> impl Iterator<Item = u64> {
        let mut sum = 0_u64;
        words.map(move |word| {
            sum = match self {
                Self::Integer => sum.wrapping_add(word),
                Self::Float => word,
            };
            sum
        })
    }
}

/// How many buckets the spans hold.
pub(super) fn num_buckets(spans: &[Span]) -> u64 {
    spans.iter().map(|span| u64::from(span.length)).sum()
}

/// The indexes of the buckets, ascending where [`super::layout::are_possible`].
fn indexes(spans: &[Span]) -> impl Iterator<Item = i64> + '_ {
    let mut next = 0_i64;
    spans.iter().flat_map(move |span| {
        let start = next.saturating_add(i64::from(span.offset));
        next = start.saturating_add(i64::from(span.length));
        start..next
    })
}

/// How the buckets of a sample differ from those of its chunk.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Difference {
    /// The sample has buckets that the chunk lacks.
    pub(super) is_wider: bool,
    /// It lacks buckets that the chunk has.
    pub(super) is_narrower: bool,
}

/// Compares one side of the last sample with the next one's; `None` where that is a counter reset: a population fell, or
/// a bucket that was in use is gone. Gauges may do that.
pub(super) fn compare(
    kind: Kind,
    is_gauge: bool,
    before: (&[Span], impl Iterator<Item = u64>),
    now: (&[Span], impl Iterator<Item = u64>),
) -> Option<Difference> {
    let mut before = indexes(before.0).zip(kind.populations(before.1)).peekable();
    let mut now = indexes(now.0).zip(kind.populations(now.1)).peekable();
    let mut difference = Difference::default();
    loop {
        match (before.peek(), now.peek()) {
            (Some(&(old, was)), Some(&(new, is))) if old == new => {
                if !is_gauge && kind.fell(was, is) {
                    return None;
                }
                before.next();
                now.next();
            }
            (Some(&(old, was)), new) if new.is_none_or(|(new, _)| old < *new) => {
                if !is_gauge && !kind.is_empty(was) {
                    return None;
                }
                difference.is_narrower = true;
                before.next();
            }
            (_, Some(_)) => {
                difference.is_wider = true;
                now.next();
            }
            // The last two arms leave nothing but two ends.
            _ => return Some(difference),
        }
    }
}

/// The spans of all buckets that either has, none of them empty, those that touch joined.
pub(super) fn merge(a: &[Span], b: &[Span]) -> Result<Vec<Span>, ChunkError> {
    let (mut a, mut b) = (indexes(a).peekable(), indexes(b).peekable());
    let mut merged: Vec<Span> = Vec::new();
    let mut end = 0_i64;
    loop {
        let index = match (a.peek(), b.peek()) {
            (Some(&x), Some(&y)) => x.min(y),
            (Some(&x), None) | (None, Some(&x)) => x,
            (None, None) => return Ok(merged),
        };
        a.next_if_eq(&index);
        b.next_if_eq(&index);
        match merged.last_mut() {
            Some(last) if index == end => last.length = last.length.saturating_add(1),
            _ => merged.push(Span {
                offset: i32::try_from(index.saturating_sub(end)).map_err(|_| ChunkError::Layout)?,
                length: 1,
            }),
        }
        end = index.saturating_add(1);
    }
}

/// The words of the same populations in wider spans; the new buckets are empty.
pub(super) fn spread(kind: Kind, from: (&[Span], impl Iterator<Item = u64>), to: &[Span]) -> Vec<u64> {
    let mut from = indexes(from.0).zip(kind.populations(from.1)).peekable();
    let mut last = 0_u64;
    indexes(to)
        .map(|index| {
            let population = from
                .next_if(|(at, _)| *at == index)
                .map_or(0, |(_, population)| population);
            match kind {
                Kind::Integer => population.wrapping_sub(std::mem::replace(&mut last, population)),
                Kind::Float => population,
            }
        })
        .collect()
}
