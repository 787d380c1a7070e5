//! Buckets of native histograms: they need no bounds, and only those that something fell into are kept.

use std::collections::BTreeMap;

/// Eight buckets from each number to its double, which is what the Go client makes of a factor of 1.1.
const FINEST: i32 = 3;
/// The coarsest that Prometheus knows: one bucket from each number to its 65,536-fold.
const COARSEST: i32 = -4;
/// Prometheus's own histograms have as many buckets at most. With more, buckets are merged two by two.
const MOST_BUCKETS: usize = 100;
/// What is no further from zero than this counts as zero: 2 to the power of -128, as the Go client has it.
const ZERO: f64 = f64::from_bits((1023 - 128) << 52);

/// The native buckets of a histogram at one moment.
#[derive(Debug, Clone, PartialEq)]
pub struct NativeBuckets {
    /// How fine they are: 2 to the power of `schema` buckets from each number to its double, -4 to 8.
    pub schema: i32,
    /// What is no further from zero than this is in the zero bucket.
    pub zero_threshold: f64,
    /// How many observations are in the zero bucket.
    pub zero_count: u64,
    /// All observations, of which NaN is in no bucket.
    pub count: u64,
    /// Index and count of each bucket above zero, ascending. The upper bound of bucket `i` is `2^(i / 2^schema)`.
    pub positive: Vec<(i32, u64)>,
    /// The same below zero, by the observations' absolute values.
    pub negative: Vec<(i32, u64)>,
}

/// Native buckets that are counted into.
#[derive(Debug)]
pub(crate) struct Native {
    schema: i32,
    zero: u64,
    count: u64,
    positive: BTreeMap<i32, u64>,
    negative: BTreeMap<i32, u64>,
}

impl Default for Native {
    fn default() -> Self {
        Self {
            schema: FINEST,
            zero: 0,
            count: 0,
            positive: BTreeMap::new(),
            negative: BTreeMap::new(),
        }
    }
}

impl Native {
    pub(crate) fn observe(&mut self, value: f64) {
        self.count += 1;
        if value.is_nan() {
            return;
        }
        let size = value.abs();
        if size <= ZERO {
            self.zero += 1;
            return;
        }
        let side = if value > 0.0 {
            &mut self.positive
        } else {
            &mut self.negative
        };
        *side.entry(index(size, self.schema)).or_default() += 1;
        while self.positive.len() + self.negative.len() > MOST_BUCKETS && self.schema > COARSEST {
            self.schema -= 1;
            self.positive = merged(&self.positive);
            self.negative = merged(&self.negative);
        }
    }

    pub(crate) fn get(&self) -> NativeBuckets {
        let list = |side: &BTreeMap<i32, u64>| side.iter().map(|(index, count)| (*index, *count)).collect();
        NativeBuckets {
            schema: self.schema,
            zero_threshold: ZERO,
            zero_count: self.zero,
            count: self.count,
            positive: list(&self.positive),
            negative: list(&self.negative),
        }
    }
}

// Each bucket with its neighbour: twice as wide, half as many.
fn merged(buckets: &BTreeMap<i32, u64>) -> BTreeMap<i32, u64> {
    let mut wide = BTreeMap::new();
    for (index, count) in buckets {
        *wide.entry((index + 1).div_euclid(2)).or_default() += count;
    }
    wide
}

// The bucket of a number above zero.
fn index(size: f64, schema: i32) -> i32 {
    if size.is_infinite() {
        // Above all numbers, as the Go client has it.
        return index(f64::MAX, schema) + 1;
    }
    let in_double = f64::from(schema).exp2();
    let upper = |index: i32| (f64::from(index) / in_double).exp2();
    let near = (size.log2() * in_double).ceil() as i32;
    // The logarithm is rounded, and a bound belongs to the bucket below it.
    if upper(near - 1) >= size {
        near - 1
    } else if upper(near) < size {
        near + 1
    } else {
        near
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bound_belongs_to_the_bucket_below_it() {
        for schema in COARSEST..=FINEST {
            assert_eq!(index(1.0, schema), 0, "{schema}");
            assert_eq!(index(1.0 + f64::EPSILON, schema), 1, "{schema}");
        }
        assert_eq!(
            [0.5, 0.51, 2.0, 2.1, 4.0].map(|value| index(value, 3)),
            [-8, -7, 8, 9, 16]
        );
        assert_eq!(
            [0.25, 0.26, 4.0, 4.1, 16.0].map(|value| index(value, -1)),
            [-1, 0, 1, 2, 2]
        );
        assert_eq!(index(f64::MAX, 3), 8192);
        assert_eq!(index(f64::INFINITY, 3), 8193);
    }

    #[test]
    fn zero_not_a_number_and_both_sides_are_counted() {
        let mut native = Native::default();
        for value in [0.0, -0.0, 1e-40, f64::NAN, 1.0, 1.0, -2.0] {
            native.observe(value);
        }
        let buckets = native.get();
        assert_eq!((buckets.zero_count, buckets.count, buckets.schema), (3, 7, 3));
        assert_eq!(buckets.positive, [(0, 2)]);
        assert_eq!(buckets.negative, [(8, 1)]);
    }

    #[test]
    fn too_many_buckets_are_merged_and_nothing_is_lost() {
        let mut native = Native::default();
        for i in 0..400 {
            native.observe(f64::from(i).mul_add(0.05, 1.0).powi(4));
        }
        let buckets = native.get();
        assert!(
            buckets.positive.len() <= MOST_BUCKETS && buckets.schema < FINEST,
            "{buckets:?}"
        );
        assert_eq!(buckets.positive.iter().map(|(_, count)| count).sum::<u64>(), 400);
        // As if it had been counted that coarsely from the beginning.
        let mut coarse = BTreeMap::new();
        for i in 0..400 {
            *coarse
                .entry(index(f64::from(i).mul_add(0.05, 1.0).powi(4), buckets.schema))
                .or_insert(0) += 1;
        }
        assert_eq!(buckets.positive, coarse.into_iter().collect::<Vec<_>>());
    }
}
