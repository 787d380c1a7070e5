//! Questions about the distribution: quantile, fraction, average, variance.
//!
//! Within an exponential bucket observations are taken to lie evenly on a logarithmic scale; within the zero bucket and
//! custom buckets evenly on the linear one, as for classic histograms.

use crate::bucket::Bucket;
use crate::float::FloatHistogram;
use crate::sum::add_to;

/// What NaN observations did to a quantile.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum QuantileNote {
    /// Nothing.
    #[default]
    None,
    /// The quantile lies among them.
    ResultIsNan,
    /// They count as larger than all others, so that the quantile lies higher.
    SkewedHigher,
}

impl QuantileNote {
    /// The text of the annotation (an info) as upstream has it, without place and metric name.
    #[must_use]
    pub fn text(self) -> Option<&'static str> {
        match self {
            Self::None => None,
            Self::ResultIsNan => Some("input to histogram_quantile has NaN observations, result is NaN"),
            Self::SkewedHigher => Some("input to histogram_quantile has NaN observations, result is skewed higher"),
        }
    }
}

/// What NaN observations did to a fraction.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum FractionNote {
    /// Nothing.
    #[default]
    None,
    /// They belong to no fraction.
    NansExcluded,
}

impl FractionNote {
    /// The text of the annotation (an info) as upstream has it, without place and metric name.
    #[must_use]
    pub fn text(self) -> Option<&'static str> {
        match self {
            Self::None => None,
            Self::NansExcluded => {
                Some("input to histogram_fraction has NaN observations, which are excluded from all fractions")
            }
        }
    }
}

/// Where `rank` falls when buckets are passed in order: the last bucket looked at and the population up to and with it.
fn seek<P>(places: &mut impl Iterator<Item = (P, f64)>, rank: f64) -> (Option<(P, f64)>, f64) {
    let (mut found, mut total) = (None, 0.0);
    for (place, count) in places {
        found = Some((place, count));
        if count == 0.0 {
            continue;
        }
        total += count;
        if total >= rank {
            break;
        }
    }
    (found, total)
}

impl FloatHistogram {
    /// The `q` quantile (upstream `HistogramQuantile`): -Inf below 0, +Inf above 1, NaN for NaN and without
    /// observations. Computes the bounds of one bucket only.
    #[must_use]
    pub fn quantile(&self, q: f64) -> (f64, QuantileNote) {
        if q < 0.0 {
            return (f64::NEG_INFINITY, QuantileNote::None);
        }
        if q > 1.0 {
            return (f64::INFINITY, QuantileNote::None);
        }
        if self.count == 0.0 || q.is_nan() {
            return (f64::NAN, QuantileNote::None);
        }
        // NaN observations are counted but in no bucket; only from below they do not shift the others.
        let forward = self.sum.is_nan() || q < 0.5;
        let mut places = self.places();
        let (rank, (found, total)) = if forward {
            let rank = q * self.count;
            (rank, seek(&mut places, rank))
        } else {
            let rank = (1.0 - q) * self.count;
            (rank, seek(&mut places.by_ref().rev(), rank))
        };
        let mut bucket = found.map_or_else(Bucket::default, |(place, count)| Bucket {
            count,
            ..self.bucket_at(place, count)
        });
        if self.uses_custom_buckets() {
            if bucket.lower == f64::NEG_INFINITY {
                if bucket.upper <= 0.0 {
                    return (bucket.upper, QuantileNote::None);
                }
                bucket.lower = 0.0;
            } else if bucket.upper == f64::INFINITY {
                return (bucket.lower, QuantileNote::None);
            }
        } else if bucket.lower < 0.0 && bucket.upper > 0.0 {
            self.one_sided(&mut bucket);
        }
        // Rounding may have brought more together than were counted.
        let passed = if total > self.count { self.count } else { total };
        if passed < rank {
            return if self.sum.is_nan() {
                (f64::NAN, QuantileNote::ResultIsNan)
            } else {
                (bucket.upper, QuantileNote::None)
            };
        }
        let within = if forward {
            rank - (passed - bucket.count)
        } else {
            passed - rank
        };
        // Infinite observations of both signs make a NaN sum, too; they are in buckets.
        let mut note = QuantileNote::None;
        if self.sum.is_nan() && passed + places.map(|(_, count)| count).sum::<f64>() < self.count {
            note = QuantileNote::SkewedHigher;
        }
        let fraction = within / bucket.count;
        let value = if self.uses_custom_buckets() || (bucket.lower <= 0.0 && bucket.upper >= 0.0) {
            bucket.lower + (bucket.upper - bucket.lower) * fraction
        } else {
            let (lower, upper) = (bucket.lower.abs().log2(), bucket.upper.abs().log2());
            if bucket.lower > 0.0 {
                (lower + (upper - lower) * fraction).exp2()
            } else {
                -(upper + (lower - upper) * (1.0 - fraction)).exp2()
            }
        };
        (value, note)
    }

    // Without observations of one sign, those of the zero bucket are taken to have the other.
    fn one_sided(&self, zero: &mut Bucket) {
        match (self.negative_buckets.is_empty(), self.positive_buckets.is_empty()) {
            (true, false) => zero.lower = 0.0,
            (false, true) => zero.upper = 0.0,
            _ => {}
        }
    }

    /// Which fraction of all observations lies between `lower` and `upper` (upstream `HistogramFraction`): NaN for NaN
    /// and without observations, 0 where `lower` is not below `upper`.
    #[must_use]
    pub fn fraction(&self, lower: f64, upper: f64) -> (f64, FractionNote) {
        if self.count == 0.0 || lower.is_nan() || upper.is_nan() {
            return (f64::NAN, FractionNote::None);
        }
        if lower >= upper {
            return (0.0, FractionNote::None);
        }
        let (mut seen, mut rank) = (0.0, 0.0);
        let (mut from, mut to) = (None, None);
        let mut buckets = self.all_iter();
        for mut bucket in buckets.by_ref() {
            seen += bucket.count;
            let is_zero = bucket.lower <= 0.0 && bucket.upper >= 0.0;
            if is_zero {
                self.one_sided(&mut bucket);
            }
            let linear = self.uses_custom_buckets() || is_zero;
            for (rank_of, bound) in [(&mut from, lower), (&mut to, upper)] {
                if rank_of.is_none() && bucket.lower >= bound {
                    *rank_of = Some(rank);
                }
                if rank_of.is_none() && bucket.lower < bound && bucket.upper > bound {
                    *rank_of = Some(if linear {
                        rank_linearly(&bucket, rank, bound)
                    } else {
                        rank + bucket.count * exponential_share(&bucket, bound)
                    });
                }
            }
            if from.is_some() && to.is_some() {
                break;
            }
            rank += bucket.count;
        }
        let mut note = FractionNote::None;
        let mut count = self.count;
        if self.sum.is_nan() {
            count = seen + buckets.map(|bucket| bucket.count).sum::<f64>();
            if count < self.count {
                note = FractionNote::NansExcluded;
            }
        }
        let at_most = |rank: Option<f64>| match rank {
            Some(rank) if rank > count => count,
            Some(rank) => rank,
            None => count,
        };
        ((at_most(to) - at_most(from)) / self.count, note)
    }

    /// The mean observation.
    #[must_use]
    pub fn avg(&self) -> f64 {
        self.sum / self.count
    }

    /// Variance of the observations (upstream's `histogram_stdvar`), each taken to lie at the geometric mean of its
    /// bucket, at 0 in the zero bucket, at the arithmetic mean of a custom one.
    #[must_use]
    pub fn std_var(&self) -> f64 {
        let mean = self.avg();
        let (mut variance, mut rest) = (0.0, 0.0);
        for bucket in self.all_iter().filter(|bucket| bucket.count != 0.0) {
            let value = if self.uses_custom_buckets() {
                f64::midpoint(bucket.upper, bucket.lower)
            } else if bucket.lower <= 0.0 && bucket.upper >= 0.0 {
                0.0
            } else {
                let size = (bucket.upper * bucket.lower).sqrt();
                if bucket.upper < 0.0 { -size } else { size }
            };
            let delta = value - mean;
            (variance, rest) = add_to(variance, rest, bucket.count * delta * delta);
        }
        (variance + rest) / self.count
    }

    /// Standard deviation: the root of [`FloatHistogram::std_var`].
    #[must_use]
    pub fn std_dev(&self) -> f64 {
        self.std_var().sqrt()
    }
}

// Population below `bound`, a bound within `bucket`, with `rank` below the bucket. Of a bucket that begins at -Inf all
// counts: nothing can be interpolated there. Of one that ends at +Inf the quotient leaves nothing.
fn rank_linearly(bucket: &Bucket, rank: f64, bound: f64) -> f64 {
    if bucket.lower == f64::NEG_INFINITY {
        return bucket.count;
    }
    rank + bucket.count * (bound - bucket.lower) / (bucket.upper - bucket.lower)
}

/// Which share of an exponential bucket lies below `bound`, a bound within it.
pub(crate) fn exponential_share(bucket: &Bucket, bound: f64) -> f64 {
    let (lower, upper, at) = (bucket.lower.abs().log2(), bucket.upper.abs().log2(), bound.abs().log2());
    if bound > 0.0 {
        (at - lower) / (upper - lower)
    } else {
        1.0 - (at - upper) / (lower - upper)
    }
}
