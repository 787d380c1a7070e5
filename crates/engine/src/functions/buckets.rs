//! The distribution that the cumulative buckets of a classic histogram describe.

use crate::annotations::BucketRepair;

// Differences of counts below this, relative, are rounding errors.
const TOLERANCE: f64 = 1e-12;

/// A cumulative bucket at one step.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Bucket {
    pub(super) upper: f64,
    pub(super) count: f64,
}

/// Lets counts grow with their bounds; says what had to be changed beyond rounding errors.
fn repair(buckets: &mut [Bucket]) -> Option<BucketRepair> {
    let mut repaired: Option<BucketRepair> = None;
    let (first, rest) = buckets.split_first_mut()?;
    let mut before = first.count;
    for bucket in rest {
        if bucket.count == before {
            continue;
        }
        if nearly_equal(before, bucket.count) {
            bucket.count = before;
        } else if bucket.count < before {
            let diff = before - bucket.count;
            let known = repaired.get_or_insert(BucketRepair {
                min_bucket: bucket.upper,
                max_bucket: bucket.upper,
                max_diff: diff,
            });
            known.min_bucket = known.min_bucket.min(bucket.upper);
            known.max_bucket = known.max_bucket.max(bucket.upper);
            known.max_diff = known.max_diff.max(diff);
            bucket.count = before;
        } else {
            before = bucket.count;
        }
    }
    repaired
}

fn nearly_equal(a: f64, b: f64) -> bool {
    let diff = (a - b).abs();
    let size = a.abs() + b.abs();
    if a == 0.0 || b == 0.0 || size < f64::MIN_POSITIVE {
        return diff < TOLERANCE * f64::MIN_POSITIVE;
    }
    diff / size.min(f64::MAX) < TOLERANCE
}

/// The `q`-quantile of buckets with ascending bounds, and what had to be repaired for it.
pub(super) fn quantile(q: f64, buckets: &mut [Bucket]) -> (f64, Option<BucketRepair>) {
    if q.is_nan() {
        return (f64::NAN, None);
    }
    if q < 0.0 {
        return (f64::NEG_INFINITY, None);
    }
    if q > 1.0 {
        return (f64::INFINITY, None);
    }
    if buckets.last().is_none_or(|last| last.upper != f64::INFINITY) {
        return (f64::NAN, None);
    }
    let repaired = repair(buckets);
    (in_buckets(q, buckets).unwrap_or(f64::NAN), repaired)
}

/// The index of the first bucket with at least `rank` observations, found by halving: where counts are NaN, which one
/// is met depends on it (Go's `sort.Search`).
fn search(buckets: &[Bucket], rank: f64) -> usize {
    let (mut low, mut high) = (0, buckets.len());
    while low < high {
        let middle = usize::midpoint(low, high);
        if buckets.get(middle).is_some_and(|bucket| bucket.count >= rank) {
            high = middle;
        } else {
            low = middle + 1;
        }
    }
    low
}

// The counts grow with the bounds, the last of which is infinite. `None` where there is too little to tell.
fn in_buckets(q: f64, buckets: &[Bucket]) -> Option<f64> {
    let (last, finite) = buckets.split_last()?;
    let (first, second_last) = (finite.first()?, finite.last()?);
    let observations = last.count;
    if observations == 0.0 {
        return None;
    }
    let mut rank = q * observations;
    let at = search(finite, rank);
    // In the highest bucket its lower bound is all that is known.
    let Some(bucket) = finite.get(at) else {
        return Some(second_last.upper);
    };
    if at == 0 && first.upper <= 0.0 {
        return Some(first.upper);
    }
    let (mut start, mut count) = (0.0, bucket.count);
    if let Some(below) = at.checked_sub(1).and_then(|below| finite.get(below)) {
        start = below.upper;
        count -= below.count;
        rank -= below.count;
    }
    Some(start + (bucket.upper - start) * (rank / count))
}

/// The share of observations between two bounds.
pub(super) fn fraction(lower: f64, upper: f64, buckets: &[Bucket]) -> f64 {
    let Some(last) = buckets.last().filter(|last| last.upper == f64::INFINITY) else {
        return f64::NAN;
    };
    if last.count == 0.0 || lower.is_nan() || upper.is_nan() {
        return f64::NAN;
    }
    if lower >= upper {
        return 0.0;
    }
    // Observations up to `bound`.
    let rank_of = |bound: f64| {
        let mut rank = 0.0;
        let mut from = if buckets.first().is_some_and(|first| first.upper > 0.0) {
            0.0
        } else {
            f64::NEG_INFINITY
        };
        for bucket in buckets {
            if from >= bound {
                return rank;
            }
            if bucket.upper > bound {
                // Nothing is known about where in an endless bucket its observations lie: none of them is counted in.
                return if from == f64::NEG_INFINITY {
                    bucket.count
                } else {
                    rank + (bucket.count - rank) * (bound - from) / (bucket.upper - from)
                };
            }
            rank = bucket.count;
            from = bucket.upper;
        }
        last.count
    };
    (rank_of(upper).min(last.count) - rank_of(lower).min(last.count)) / last.count
}

#[cfg(test)]
mod tests {
    use super::*;

    fn buckets(pairs: &[(f64, f64)]) -> Vec<Bucket> {
        pairs
            .iter()
            .map(|(upper, count)| Bucket {
                upper: *upper,
                count: *count,
            })
            .collect()
    }

    #[track_caller]
    fn check_quantile(q: f64, pairs: &[(f64, f64)], expected: f64) {
        let (got, _) = quantile(q, &mut buckets(pairs));
        assert!(
            (got - expected).abs() < 1e-12 || got == expected || (got.is_nan() && expected.is_nan()),
            "{got}"
        );
    }

    const INF: f64 = f64::INFINITY;

    #[test]
    fn quantiles_of_classic_buckets() {
        let positive = [(0.1, 50.0), (0.2, 70.0), (1.0, 110.0), (INF, 120.0)];
        check_quantile(0.2, &positive, 0.048);
        check_quantile(0.5, &positive, 0.15);
        check_quantile(1.0, &positive, 1.0);
        check_quantile(-0.1, &positive, f64::NEG_INFINITY);
        check_quantile(f64::NAN, &positive, f64::NAN);
        check_quantile(0.2, &[(-0.2, 10.0), (-0.1, 20.0), (0.3, 20.0), (INF, 30.0)], -0.2);
        // One finite bucket, none, no endless one, no observation.
        check_quantile(0.5, &[(2.0, 4.0), (INF, 4.0)], 1.0);
        check_quantile(0.5, &[(INF, 4.0)], f64::NAN);
        check_quantile(0.5, &[(1.0, 4.0)], f64::NAN);
        check_quantile(0.5, &[(1.0, 0.0), (INF, 0.0)], f64::NAN);
    }

    #[test]
    fn counts_that_fall_are_repaired_and_told() {
        let falling = [
            (0.1, 20.0),
            (1.0, 10.0),
            (10.0, 50.0),
            (100.0, 40.0),
            (1000.0, 90.0),
            (INF, 80.0),
        ];
        let (got, repaired) = quantile(0.5, &mut buckets(&falling));
        assert!((got - 8.5).abs() < 1e-12);
        assert_eq!(
            repaired,
            Some(BucketRepair {
                min_bucket: 1.0,
                max_bucket: INF,
                max_diff: 10.0
            })
        );
        // Repairs come before the question whether there is a quantile at all.
        let (got, repaired) = quantile(0.5, &mut buckets(&[(1.0, -1.0), (2.0, -2.0), (INF, 0.0)]));
        assert!(got.is_nan() && repaired.is_some());
        let (_, rounding) = quantile(0.5, &mut buckets(&[(1.0, 1.0), (2.0, 1.0 - 1e-14), (INF, 2.0)]));
        assert_eq!(rounding, None);
    }

    #[track_caller]
    fn check_fraction(lower: f64, upper: f64, pairs: &[(f64, f64)], expected: f64) {
        let got = fraction(lower, upper, &buckets(pairs));
        assert!(
            (got - expected).abs() < 1e-12 || (got.is_nan() && expected.is_nan()),
            "{got}"
        );
    }

    #[test]
    fn fractions_of_classic_buckets() {
        let positive = [(1.0, 1.0), (2.0, 3.0), (3.0, 6.0), (INF, 100.0)];
        let negative = [(-3.0, 10.0), (-2.0, 12.0), (-1.0, 15.0), (INF, 100.0)];
        check_fraction(0.0, 1.5, &positive, 0.02);
        check_fraction(-4.0, -2.0, &negative, 0.02);
        check_fraction(-INF, -1.5, &negative, 0.135);
        check_fraction(-INF, INF, &positive, 1.0);
        check_fraction(4.0, 5.0, &positive, 0.0);
        check_fraction(400.0, INF, &positive, 0.94);
        check_fraction(3.0, 2.0, &positive, 0.0);
        check_fraction(f64::NAN, 1.0, &positive, f64::NAN);
    }
}
