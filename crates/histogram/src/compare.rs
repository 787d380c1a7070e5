//! Equality, and whether a counter was reset in between.

use crate::bound::exponential_bound;
use crate::combine::{intersect, map_custom, same_bounds, zero_count_for_threshold};
use crate::float::{CounterResetHint, FloatHistogram};
use crate::layout::{Coarser, Walk, same_layout, steps};

impl FloatHistogram {
    /// Whether the two hold the same data (upstream `Equals`, which PromQL's `==` asks): same schema, zero threshold and
    /// custom bounds, the same buckets however they are cut into spans (an empty bucket that only one lists is a
    /// difference), and populations and sum equal bit by bit, so that NaN equals NaN. Hints do not count.
    #[must_use]
    pub fn equals(&self, other: &Self) -> bool {
        let same_bits = |a: f64, b: f64| a.to_bits() == b.to_bits();
        let same_buckets = |a: &[f64], b: &[f64]| a.len() == b.len() && a.iter().zip(b).all(|(&a, &b)| same_bits(a, b));
        self.schema == other.schema
            && same_bits(self.count, other.count)
            && same_bits(self.sum, other.sum)
            && (!self.uses_custom_buckets() || same_bounds(&self.custom_values, &other.custom_values))
            && self.zero_threshold == other.zero_threshold
            && same_bits(self.zero_count, other.zero_count)
            && same_buckets(&self.positive_buckets, &other.positive_buckets)
            && same_buckets(&self.negative_buckets, &other.negative_buckets)
            && same_layout(
                (&self.positive_spans, &self.positive_buckets),
                (&other.positive_spans, &other.positive_buckets),
            )
            && same_layout(
                (&self.negative_spans, &self.negative_buckets),
                (&other.negative_spans, &other.negative_buckets),
            )
    }

    /// Whether the counter was reset between `previous` and this histogram (upstream `DetectReset`): the hint says so,
    /// or any population fell, or a populated bucket is gone. A gauge is looked at as if it were a counter.
    ///
    /// A finer schema or a smaller zero threshold only comes with a reset; a coarser schema and a larger threshold are
    /// compared as if `previous` had them. The sum may fall.
    #[must_use]
    pub fn detect_reset(&self, previous: &Self) -> bool {
        match self.counter_reset_hint {
            CounterResetHint::CounterReset => return true,
            CounterResetHint::NotCounterReset => return false,
            CounterResetHint::Unknown | CounterResetHint::Gauge => {}
        }
        if self.count < previous.count {
            return true;
        }
        if self.uses_custom_buckets() != previous.uses_custom_buckets() {
            return true;
        }
        if self.uses_custom_buckets() {
            if !same_bounds(&self.custom_values, &previous.custom_values) {
                return self.custom_bucket_fell(previous);
            }
        } else {
            if self.schema > previous.schema || self.zero_threshold < previous.zero_threshold {
                return true;
            }
            let (zero_count, threshold) = zero_count_for_threshold(previous, self.zero_threshold);
            // Another threshold comes back where ours cuts a populated bucket of the previous histogram.
            if threshold != self.zero_threshold || self.zero_count < zero_count {
                return true;
            }
        }
        self.side_fell(
            (&self.positive_spans, &self.positive_buckets),
            (&previous.positive_spans, &previous.positive_buckets),
            previous.schema,
        ) || self.side_fell(
            (&self.negative_spans, &self.negative_buckets),
            (&previous.negative_spans, &previous.negative_buckets),
            previous.schema,
        )
    }

    // Whether a population of one side fell. `schema` is that of `before`.
    fn side_fell(&self, now: (&[crate::Span], &[f64]), before: (&[crate::Span], &[f64]), schema: i32) -> bool {
        if before.1.is_empty() {
            return false;
        }
        let within_zero =
            |index: i64| !self.uses_custom_buckets() && exponential_bound(index, self.schema) <= self.zero_threshold;
        let begins_in_zero = now.0.first().is_some_and(|span| within_zero(i64::from(span.offset)));
        if schema == self.schema && now.0 == before.0 && now.1.len() == before.1.len() && !begins_in_zero {
            return now.1.iter().zip(before.1).any(|(now, before)| now < before);
        }
        let mut now = Walk::new(now.0, now.1)
            .skip_while(|&(index, _)| within_zero(index))
            .peekable();
        let mut before = Coarser::new(Walk::new(before.0, before.1), steps(schema, self.schema))
            .skip_while(|&(index, _)| within_zero(index));
        before.any(|(index, count)| {
            while now.next_if(|&(at, _)| at < index).is_some() {}
            match now.peek() {
                Some(&(at, present)) if at == index => present < count,
                _ => count != 0.0,
            }
        })
    }

    // The same with custom bounds that differ: between the bounds both have.
    fn custom_bucket_fell(&self, previous: &Self) -> bool {
        let bounds = intersect(&self.custom_values, &previous.custom_values);
        let sums = |h: &Self| {
            let mut sums = vec![0.0; bounds.len() + 1];
            map_custom(h, &bounds, |target, _, count| {
                if let Some(sum) = sums.get_mut(target) {
                    *sum += count;
                }
            });
            sums
        };
        sums(self).iter().zip(sums(previous)).any(|(&now, before)| now < before)
    }
}
