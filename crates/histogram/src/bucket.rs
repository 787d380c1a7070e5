//! Buckets as intervals, in the orders queries want them.

use cupola_model::fmt_f64_g;

use crate::bound::upper_bound;
use crate::float::{CUSTOM_BUCKETS_SCHEMA, FloatHistogram};
use crate::layout::{Walk, clamp_index};

/// One bucket: an interval and how many observations fell into it.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Bucket {
    /// Lower bound.
    pub lower: f64,
    /// Upper bound.
    pub upper: f64,
    /// Whether `lower` itself belongs to the bucket.
    pub lower_inclusive: bool,
    /// Whether `upper` itself belongs to the bucket.
    pub upper_inclusive: bool,
    /// Population.
    pub count: f64,
    /// Index within its schema and side; 0 for the zero bucket, where it says nothing.
    pub index: i32,
}

impl std::fmt::Display for Bucket {
    /// As upstream's `Bucket.String`: `(0.5,1]:3`.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "{}{},{}{}:{}",
            if self.lower_inclusive { '[' } else { '(' },
            fmt_f64_g(self.lower),
            fmt_f64_g(self.upper),
            if self.upper_inclusive { ']' } else { ')' },
            fmt_f64_g(self.count)
        )
    }
}

/// A bucket as the HTTP API prints it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ApiBucket {
    /// Which bounds belong to it: 0 only the upper, 1 only the lower, 2 none, 3 both.
    pub boundaries: u8,
    /// Lower bound.
    pub lower: f64,
    /// Upper bound.
    pub upper: f64,
    /// Population, never 0.
    pub count: f64,
}

/// A bucket whose bounds are not computed yet.
#[derive(Clone, Copy)]
pub(crate) enum Place {
    Negative(i64),
    Zero,
    Positive(i64),
}

impl FloatHistogram {
    pub(crate) fn positive_walk(&self) -> Walk<'_> {
        Walk::new(&self.positive_spans, &self.positive_buckets)
    }

    pub(crate) fn negative_walk(&self) -> Walk<'_> {
        Walk::new(&self.negative_spans, &self.negative_buckets)
    }

    pub(crate) fn positive_bucket(&self, index: i64, count: f64) -> Bucket {
        let lower = upper_bound(index.saturating_sub(1), self.schema, &self.custom_values);
        let upper = upper_bound(index, self.schema, &self.custom_values);
        let custom = self.schema == CUSTOM_BUCKETS_SCHEMA;
        Bucket {
            lower,
            upper,
            lower_inclusive: if custom { index == 0 } else { lower < 0.0 },
            upper_inclusive: custom || upper > 0.0,
            count,
            index: clamp_index(index),
        }
    }

    pub(crate) fn negative_bucket(&self, index: i64, count: f64) -> Bucket {
        let mirror = self.positive_bucket(index, count);
        Bucket {
            lower: -mirror.upper,
            upper: -mirror.lower,
            lower_inclusive: -mirror.upper < 0.0,
            upper_inclusive: -mirror.lower > 0.0,
            ..mirror
        }
    }

    /// The zero bucket, `[-zero_threshold, zero_threshold]`; upstream `ZeroBucket`.
    #[must_use]
    pub fn zero_bucket(&self) -> Bucket {
        Bucket {
            lower: -self.zero_threshold,
            upper: self.zero_threshold,
            lower_inclusive: true,
            upper_inclusive: true,
            count: self.zero_count,
            index: 0,
        }
    }

    /// Positive buckets, ascending (upstream `PositiveBucketIterator`); also the buckets of a custom schema.
    pub fn positive_iter(&self) -> impl DoubleEndedIterator<Item = Bucket> + '_ {
        self.positive_walk()
            .map(|(index, count)| self.positive_bucket(index, count))
    }

    /// Negative buckets from the zero bucket outwards, so descending (upstream `NegativeBucketIterator`).
    pub fn negative_iter(&self) -> impl DoubleEndedIterator<Item = Bucket> + '_ {
        self.negative_walk()
            .map(|(index, count)| self.negative_bucket(index, count))
    }

    // All buckets ascending without bounds; the zero bucket only where something is in it.
    pub(crate) fn places(&self) -> impl DoubleEndedIterator<Item = (Place, f64)> + '_ {
        let zero = (self.zero_count > 0.0 && !self.uses_custom_buckets()).then_some((Place::Zero, self.zero_count));
        self.negative_walk()
            .rev()
            .map(|(index, count)| (Place::Negative(index), count))
            .chain(zero)
            .chain(
                self.positive_walk()
                    .map(|(index, count)| (Place::Positive(index), count)),
            )
    }

    // The bounds; those of a bucket that overlaps with the zero bucket are cut at its threshold.
    pub(crate) fn bucket_at(&self, place: Place, count: f64) -> Bucket {
        let mut bucket = match place {
            Place::Zero => return self.zero_bucket(),
            Place::Negative(index) => self.negative_bucket(index, count),
            Place::Positive(index) => self.positive_bucket(index, count),
        };
        if bucket.upper < 0.0 && bucket.upper > -self.zero_threshold {
            bucket.upper = -self.zero_threshold;
        } else if bucket.lower > 0.0 && bucket.lower < self.zero_threshold {
            bucket.lower = self.zero_threshold;
        }
        bucket
    }

    /// All buckets ascending: negative ones from far to near, the zero bucket if it is populated, positive ones.
    /// Bounds within the zero bucket are moved to its threshold (upstream `AllBucketIterator`).
    ///
    /// `.rev()` gives upstream's `AllReverseBucketIterator`.
    pub fn all_iter(&self) -> impl DoubleEndedIterator<Item = Bucket> + '_ {
        self.places().map(|(place, count)| self.bucket_at(place, count))
    }

    /// The buckets as the HTTP API lists them: ascending, without the empty ones (upstream `MarshalHistogram`).
    pub fn api_buckets(&self) -> impl Iterator<Item = ApiBucket> + '_ {
        self.all_iter()
            .filter(|bucket| bucket.count != 0.0)
            .map(|bucket| ApiBucket {
                boundaries: match (bucket.lower_inclusive, bucket.upper_inclusive) {
                    (false, true) => 0,
                    (true, false) => 1,
                    (false, false) => 2,
                    (true, true) => 3,
                },
                lower: bucket.lower,
                upper: bucket.upper,
                count: bucket.count,
            })
    }
}
