//! Where buckets lie: walking spans, building them, and changing the resolution.
//!
//! Everything here takes any spans and buckets, also such that do not belong together: a walk ends where either ends.

use crate::float::Span;

/// The buckets of one side with their index, from either end.
#[derive(Clone)]
pub(crate) struct Walk<'a> {
    spans: &'a [Span],
    buckets: &'a [f64],
    // Index of the next bucket from the front, and how many the front span still has.
    front: i64,
    front_left: u32,
    // The same from the back; `back` is one behind.
    back: i64,
    back_left: u32,
}

impl<'a> Walk<'a> {
    pub(crate) fn new(spans: &'a [Span], buckets: &'a [f64]) -> Self {
        let (mut left, mut back, mut back_left, mut used, mut index) = (buckets.len(), 0, 0, 0, 0_i64);
        for (at, span) in spans.iter().enumerate() {
            if left == 0 {
                break;
            }
            let take = left.min(span.length as usize);
            index += i64::from(span.offset) + take as i64;
            left -= take;
            if take > 0 {
                // `take` is at most a u32's span length.
                (used, back, back_left) = (at + 1, index, u32::try_from(take).unwrap_or(span.length));
            }
        }
        let spans = spans.get(..used).unwrap_or(spans);
        let first = spans.first().copied().unwrap_or_default();
        Self {
            spans,
            buckets: buckets.get(..buckets.len() - left).unwrap_or(buckets),
            front: i64::from(first.offset),
            front_left: first.length,
            back,
            back_left,
        }
    }
}

impl Iterator for Walk<'_> {
    type Item = (i64, f64);

    #[inline]
    fn next(&mut self) -> Option<(i64, f64)> {
        let (&count, rest) = self.buckets.split_first()?;
        while self.front_left == 0 {
            let (_, spans) = self.spans.split_first()?;
            let next = spans.first()?;
            self.spans = spans;
            self.front += i64::from(next.offset);
            self.front_left = next.length;
        }
        let index = self.front;
        self.front += 1;
        self.front_left -= 1;
        self.buckets = rest;
        Some((index, count))
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.buckets.len(), Some(self.buckets.len()))
    }
}

impl DoubleEndedIterator for Walk<'_> {
    #[inline]
    fn next_back(&mut self) -> Option<(i64, f64)> {
        let (&count, rest) = self.buckets.split_last()?;
        while self.back_left == 0 {
            let (gone, spans) = self.spans.split_last()?;
            self.spans = spans;
            self.back -= i64::from(gone.offset);
            self.back_left = spans.last()?.length;
        }
        self.back -= 1;
        self.back_left -= 1;
        self.buckets = rest;
        Some((self.back, count))
    }
}

/// Index of the bucket of a coarser schema that holds bucket `index`; `steps` is how much coarser.
pub(crate) fn coarser(index: i64, steps: u32) -> i64 {
    (index.saturating_sub(1) >> steps.min(63)) + 1
}

/// How many steps lie from the schema `from` to the coarser or equal `to`.
pub(crate) fn steps(from: i32, to: i32) -> u32 {
    u32::try_from(i64::from(from) - i64::from(to)).unwrap_or(0)
}

/// Buckets merged to a coarser schema while they are walked.
pub(crate) struct Coarser<'a> {
    walk: Walk<'a>,
    steps: u32,
    pending: Option<(i64, f64)>,
}

impl<'a> Coarser<'a> {
    pub(crate) fn new(walk: Walk<'a>, steps: u32) -> Self {
        Self {
            walk,
            steps,
            pending: None,
        }
    }

    #[inline]
    fn step(&mut self) -> Option<(i64, f64)> {
        let (index, count) = self.walk.next()?;
        Some((coarser(index, self.steps), count))
    }
}

impl Iterator for Coarser<'_> {
    type Item = (i64, f64);

    #[inline]
    fn next(&mut self) -> Option<(i64, f64)> {
        if self.steps == 0 {
            return self.walk.next();
        }
        let (index, mut sum) = match self.pending.take() {
            Some(first) => first,
            None => self.step()?,
        };
        while let Some((next, count)) = self.step() {
            if next != index {
                self.pending = Some((next, count));
                break;
            }
            sum += count;
        }
        Some((index, sum))
    }
}

/// Builds spans from ascending bucket indexes; buckets that follow each other share a span.
#[derive(Default)]
pub(crate) struct SpanBuilder {
    spans: Vec<Span>,
    next: i64,
}

impl SpanBuilder {
    pub(crate) fn with_capacity(spans: usize) -> Self {
        Self {
            spans: Vec::with_capacity(spans),
            next: 0,
        }
    }

    #[inline]
    pub(crate) fn push(&mut self, index: i64) {
        match self.spans.last_mut() {
            Some(last) if index == self.next && last.length < u32::MAX => last.length += 1,
            _ => self.spans.push(Span {
                offset: clamp_index(index.saturating_sub(self.next)),
                length: 1,
            }),
        }
        self.next = index.saturating_add(1);
    }

    pub(crate) fn finish(self) -> Vec<Span> {
        self.spans
    }
}

/// An index as the 32 bits it has in a valid histogram.
pub(crate) fn clamp_index(index: i64) -> i32 {
    i32::try_from(index).unwrap_or(if index < 0 { i32::MIN } else { i32::MAX })
}

/// Whether two layouts name the same buckets, however they are cut into spans.
pub(crate) fn same_layout(a: (&[Span], &[f64]), b: (&[Span], &[f64])) -> bool {
    if a.0 == b.0 {
        return a.1.len() == b.1.len();
    }
    let (a, b) = (Walk::new(a.0, a.1), Walk::new(b.0, b.1));
    a.map(|(index, _)| index).eq(b.map(|(index, _)| index))
}

/// Drops empty buckets at the ends of spans, joins spans that are at most `max_empty` apart, and cuts spans with more
/// empty buckets in a row (upstream `compactBuckets`).
///
/// `rest` are the parts of the populations that the floats of `buckets` do not hold; empty, or as long as `buckets`.
/// A bucket is empty where both are 0.
pub(crate) fn compact(spans: &mut Vec<Span>, buckets: &mut Vec<f64>, rest: &mut Vec<f64>, max_empty: usize) {
    let clean = buckets.iter().all(|&count| count != 0.0)
        && spans.iter().skip(1).all(|span| span.offset > 0)
        && spans.iter().all(|span| span.length > 0)
        && spans.iter().map(|span| u64::from(span.length)).sum::<u64>() == buckets.len() as u64;
    if clean
        && spans
            .iter()
            .skip(1)
            .all(|span| usize::try_from(span.offset).unwrap_or(0) > max_empty)
    {
        return;
    }
    let mut built = SpanBuilder::with_capacity(spans.len());
    let mut counts = Vec::with_capacity(buckets.len());
    let mut rests = Vec::with_capacity(rest.len());
    let mut last: Option<i64> = None;
    for (position, (index, count)) in Walk::new(spans, buckets).enumerate() {
        let more = rest.get(position).copied();
        if count == 0.0 && more.unwrap_or(0.0) == 0.0 {
            continue;
        }
        if let Some(last) = last {
            let gap = usize::try_from(index - last - 1).unwrap_or(0);
            // Joining a gap that only spans make is bounded like upstream's; it can only be large where asked for.
            if gap <= max_empty && gap <= MAX_JOINED {
                for empty in last + 1..index {
                    built.push(empty);
                    counts.push(0.0);
                    rests.extend(more.map(|_| 0.0));
                }
            }
        }
        built.push(index);
        counts.push(count);
        rests.extend(more);
        last = Some(index);
    }
    *spans = built.finish();
    *buckets = counts;
    *rest = rests;
}

/// The widest gap between two buckets that is filled with empty ones: all that a histogram of schema 8 can hold.
const MAX_JOINED: usize = 1 << 20;

#[cfg(test)]
mod tests {
    use super::*;

    fn spans(list: &[(i32, u32)]) -> Vec<Span> {
        list.iter().map(|&(offset, length)| Span { offset, length }).collect()
    }

    #[test]
    fn walks_agree_from_both_ends_whatever_the_spans() {
        for (list, buckets, expected) in [
            (vec![], vec![], vec![]),
            (vec![(0, 2)], vec![1.0, 2.0], vec![(0, 1.0), (1, 2.0)]),
            (vec![(-2, 1), (3, 1)], vec![1.0, 2.0], vec![(-2, 1.0), (2, 2.0)]),
            (
                vec![(5, 0), (1, 1), (0, 0), (2, 0), (1, 1), (9, 0)],
                vec![1.0, 2.0],
                vec![(6, 1.0), (10, 2.0)],
            ),
            // Too few buckets, too many buckets.
            (
                vec![(0, 2), (4, 5)],
                vec![1.0, 2.0, 3.0],
                vec![(0, 1.0), (1, 2.0), (6, 3.0)],
            ),
            (vec![(3, 1)], vec![1.0, 2.0], vec![(3, 1.0)]),
            (vec![(0, u32::MAX)], vec![1.0], vec![(0, 1.0)]),
            (vec![], vec![1.0], vec![]),
        ] {
            let list = spans(&list);
            let walk = Walk::new(&list, &buckets);
            assert_eq!(walk.clone().collect::<Vec<_>>(), expected);
            let mut back: Vec<_> = walk.rev().collect();
            back.reverse();
            assert_eq!(back, expected);
        }
    }

    #[test]
    fn compacting_follows_upstream() {
        #[track_caller]
        fn check(before: (&[(i32, u32)], &[f64]), max_empty: usize, after: (&[(i32, u32)], &[f64])) {
            let (mut layout, mut buckets) = (spans(before.0), before.1.to_vec());
            compact(&mut layout, &mut buckets, &mut Vec::new(), max_empty);
            assert_eq!((layout, buckets), (spans(after.0), after.1.to_vec()));
        }
        check((&[], &[]), 0, (&[], &[]));
        check(
            (&[(-2, 1), (2, 3)], &[1.0, 3.0, 2.0, 4.0]),
            0,
            (&[(-2, 1), (2, 3)], &[1.0, 3.0, 2.0, 4.0]),
        );
        check((&[(0, 2), (0, 1)], &[1.0, 2.0, 3.0]), 0, (&[(0, 3)], &[1.0, 2.0, 3.0]));
        check((&[(0, 4)], &[0.0, 1.0, 0.0, 0.0]), 0, (&[(1, 1)], &[1.0]));
        check(
            (&[(0, 5)], &[1.0, 0.0, 0.0, 0.0, 2.0]),
            0,
            (&[(0, 1), (3, 1)], &[1.0, 2.0]),
        );
        check(
            (&[(0, 5)], &[1.0, 0.0, 0.0, 0.0, 2.0]),
            3,
            (&[(0, 5)], &[1.0, 0.0, 0.0, 0.0, 2.0]),
        );
        check(
            (&[(0, 5)], &[1.0, 0.0, 0.0, 0.0, 2.0]),
            2,
            (&[(0, 1), (3, 1)], &[1.0, 2.0]),
        );
        check((&[(0, 1), (2, 1)], &[1.0, 2.0]), 2, (&[(0, 4)], &[1.0, 0.0, 0.0, 2.0]));
        check((&[(3, 2), (1, 1)], &[0.0, 0.0, 0.0]), 1, (&[], &[]));
        check((&[(1, 0), (2, 0)], &[]), 0, (&[], &[]));
    }

    #[test]
    fn indexes_grow_coarser_as_upstream_has_it() {
        // Bucket i of schema 1 is (2^((i-1)/2), 2^(i/2)].
        for (index, coarse) in [(-3, -1), (-2, -1), (-1, 0), (0, 0), (1, 1), (2, 1), (3, 2), (4, 2)] {
            assert_eq!(coarser(index, 1), coarse, "{index}");
        }
        assert_eq!((coarser(i64::MIN, 400), coarser(i64::MAX, 400)), (0, 1));
    }
}
