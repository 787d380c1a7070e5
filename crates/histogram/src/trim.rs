//! PromQL's `</` and `>/`: what a histogram holds on one side of a value (upstream `TrimBuckets`).
//!
//! The sum of what is left is estimated from the middle of each bucket, or of the part of it that is left.

use crate::bucket::Bucket;
use crate::float::FloatHistogram;
use crate::quantile::exponential_share;

impl FloatHistogram {
    /// Keeps the observations below `rhs` with `upper` (`</`), above `rhs` without (`>/`).
    ///
    /// The bucket that `rhs` falls into is divided as quantiles interpolate. Where no bucket loses anything, nothing
    /// changes, not even the sum.
    pub fn trim(&mut self, rhs: f64, upper: bool) {
        let (mut count, mut sum) = (0.0, 0.0);
        let mut changed = false;
        let mut keep = |part: Part| {
            count += part.count;
            sum += part.middle * part.count;
        };
        let linear = self.uses_custom_buckets();
        let cut = Cut { rhs, upper, linear };
        let mut populated = [false; 2];
        let mut sides = [
            std::mem::take(&mut self.positive_buckets),
            std::mem::take(&mut self.negative_buckets),
        ];
        let spans = [&self.positive_spans, &self.negative_spans];
        for (negative, ((buckets, spans), populated)) in sides.iter_mut().zip(spans).zip(&mut populated).enumerate() {
            let is_positive = negative == 0;
            let before = buckets.clone();
            for ((index, population), slot) in crate::layout::Walk::new(spans, &before).zip(buckets.iter_mut()) {
                if population == 0.0 {
                    continue;
                }
                *populated = true;
                let bucket = if is_positive {
                    self.positive_bucket(index, population)
                } else {
                    self.negative_bucket(index, population)
                };
                let part = cut.of_bucket(&bucket, is_positive);
                if let Some(part) = part {
                    keep(part);
                }
                let left = part.map_or(0.0, |part| part.count);
                // A NaN population changes always, as it does upstream.
                if left != population {
                    *slot = left;
                    changed = true;
                }
            }
        }
        [self.positive_buckets, self.negative_buckets] = sides;
        if self.zero_count > 0.0 && !linear {
            let part = cut.of_zero_bucket(&self.zero_bucket(), populated);
            if part.count != self.zero_count {
                self.zero_count = part.count;
                changed = true;
            }
            keep(part);
        }
        if changed {
            self.count = count;
            self.sum = sum;
            self.compact(0);
        }
    }
}

/// What is left of a bucket: how many, and where their middle is.
#[derive(Clone, Copy)]
struct Part {
    count: f64,
    middle: f64,
}

#[derive(Clone, Copy)]
struct Cut {
    rhs: f64,
    upper: bool,
    linear: bool,
}

impl Cut {
    // `None` where the bucket lies wholly on the side that goes.
    fn of_bucket(self, bucket: &Bucket, positive: bool) -> Option<Part> {
        let (kept_whole, touched) = if self.upper {
            (bucket.upper <= self.rhs, bucket.lower < self.rhs)
        } else {
            (bucket.lower >= self.rhs, bucket.upper > self.rhs)
        };
        if kept_whole {
            return Some(Part {
                count: bucket.count,
                middle: self.middle(bucket.lower, bucket.upper, positive),
            });
        }
        if !touched {
            return None;
        }
        if bucket.lower == f64::NEG_INFINITY || bucket.upper == f64::INFINITY {
            return Some(self.of_endless_bucket(bucket));
        }
        let below = bucket.count * self.share_below(bucket);
        Some(if self.upper {
            Part {
                count: below,
                middle: self.middle(bucket.lower, self.rhs, positive),
            }
        } else {
            Part {
                count: bucket.count - below,
                middle: self.middle(self.rhs, bucket.upper, positive),
            }
        })
    }

    fn share_below(self, bucket: &Bucket) -> f64 {
        if self.linear {
            (self.rhs - bucket.lower) / (bucket.upper - bucket.lower)
        } else {
            exponential_share(bucket, self.rhs)
        }
    }

    // How observations lie in a bucket without end is unknown: it mostly stays or goes as a whole. One that ends at a
    // positive bound is taken to begin at 0, as quantiles do.
    fn of_endless_bucket(self, bucket: &Bucket) -> Part {
        let Self { rhs, upper, .. } = self;
        let part = |count, middle| Part { count, middle };
        let finite = |bound: f64| if bound.is_infinite() { 0.0 } else { bound };
        if bucket.lower == f64::NEG_INFINITY {
            let begins_at_zero = bucket.upper > 0.0 && bucket.upper != f64::INFINITY;
            return match upper {
                true if rhs > 0.0 && begins_at_zero => part(bucket.count * rhs / bucket.upper, rhs / 2.0),
                true if bucket.upper <= 0.0 => part(bucket.count, rhs),
                false if rhs >= 0.0 && begins_at_zero => part(
                    bucket.count * (1.0 - rhs / bucket.upper),
                    f64::midpoint(rhs, bucket.upper),
                ),
                // Wholly above 0 and cut at or below 0: all of it is above.
                _ => part(0.0, finite(bucket.upper)),
            };
        }
        if !upper && rhs >= bucket.lower {
            return part(bucket.count, rhs);
        }
        part(0.0, finite(bucket.lower))
    }

    // `populated` tells whether there are observations in positive and in negative buckets: without one of them, the
    // zero bucket is taken to hold only the other sign.
    fn of_zero_bucket(self, zero: &Bucket, populated: [bool; 2]) -> Part {
        let (mut lower, mut upper) = (zero.lower, zero.upper);
        match populated {
            [false, true] => upper = 0.0,
            [true, false] => lower = 0.0,
            _ => {}
        }
        let rhs = self.rhs;
        let all = Part {
            count: zero.count,
            middle: f64::midpoint(lower, upper),
        };
        let nothing = Part {
            count: 0.0,
            middle: 0.0,
        };
        match (self.upper, rhs <= lower, rhs >= upper) {
            (true, true, _) | (false, false, true) => nothing,
            (true, false, true) | (false, true, _) => all,
            (true, false, false) => Part {
                count: zero.count * ((rhs - lower) / (upper - lower)),
                middle: f64::midpoint(lower, rhs),
            },
            (false, false, false) => Part {
                count: zero.count * ((upper - rhs) / (upper - lower)),
                middle: f64::midpoint(rhs, upper),
            },
        }
    }

    // Where observations between two bounds lie on average: at the arithmetic mean, or with exponential buckets at the
    // geometric one.
    fn middle(self, lower: f64, upper: f64, positive: bool) -> f64 {
        match (lower.is_infinite(), upper.is_infinite()) {
            (true, true) => 0.0,
            (true, false) if upper > 0.0 => upper / 2.0,
            (true, false) => upper,
            (false, true) => lower,
            (false, false) if self.linear => f64::midpoint(lower, upper),
            (false, false) => {
                let size = (lower * upper).abs().sqrt();
                if positive { size } else { -size }
            }
        }
    }
}
