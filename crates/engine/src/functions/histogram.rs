//! Quantiles and fractions of classic histograms: one series per bucket, its upper bound in the label `le`.

use cupola_model::{Labels, LabelsBuilder, fmt_f64_g, parse_f64};
use cupola_promql::{Call, Span};
use hashbrown::HashMap;

use super::argument;
use crate::annotations::BucketRepair;
use crate::column::{Column, Row, Scalar, Vector};
use crate::error::QueryError;
use crate::eval::{Evaluator, text_of};
use crate::grid::Grid;

const BUCKET_LABEL: &str = "le";
// Differences of counts below this, relative, are rounding errors.
const TOLERANCE: f64 = 1e-12;

/// A cumulative bucket at one step.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Bucket {
    upper: f64,
    count: f64,
}

// The buckets of one histogram, ascending by bound.
struct Histogram {
    labels: Labels,
    drop_name: bool,
    buckets: Vec<(f64, Column)>,
}

impl Histogram {
    // The buckets that have a count at `step`, equal bounds added up. `out` is reused.
    fn at(&self, step: usize, out: &mut Vec<Bucket>) {
        out.clear();
        for (upper, column) in &self.buckets {
            let Some(count) = column.get(step) else { continue };
            match out.last_mut() {
                Some(last) if last.upper == *upper => last.count += count,
                _ => out.push(Bucket { upper: *upper, count }),
            }
        }
    }
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
fn quantile(q: f64, buckets: &mut [Bucket]) -> (f64, Option<BucketRepair>) {
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
    (in_buckets(q, buckets), repaired)
}

// The counts grow with the bounds, the last of which is infinite.
fn in_buckets(q: f64, buckets: &[Bucket]) -> f64 {
    let Some((last, finite)) = buckets.split_last() else {
        return f64::NAN;
    };
    let (Some(first), Some(second_last)) = (finite.first(), finite.last()) else {
        return f64::NAN;
    };
    let observations = last.count;
    if observations == 0.0 {
        return f64::NAN;
    }
    let mut rank = q * observations;
    let at = finite.partition_point(|bucket| bucket.count < rank);
    // In the highest bucket its lower bound is all that is known.
    let Some(bucket) = finite.get(at) else {
        return second_last.upper;
    };
    if at == 0 && first.upper <= 0.0 {
        return first.upper;
    }
    let (mut start, mut count) = (0.0, bucket.count);
    if let Some(below) = at.checked_sub(1).and_then(|below| finite.get(below)) {
        start = below.upper;
        count -= below.count;
        rank -= below.count;
    }
    start + (bucket.upper - start) * (rank / count)
}

/// The share of observations between two bounds.
fn fraction(lower: f64, upper: f64, buckets: &[Bucket]) -> f64 {
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

// As OpenMetrics writes bounds: whole numbers with ".0".
fn open_metrics(value: f64) -> String {
    let text = fmt_f64_g(value);
    if text.contains(['.', 'e', 'N', 'I']) {
        text
    } else {
        text + ".0"
    }
}

impl Evaluator<'_> {
    // Puts the series of each histogram together.
    fn histograms(&mut self, vector: Vector, span: Span) -> Result<Vec<Histogram>, QueryError> {
        let mut index: HashMap<Labels, usize> = HashMap::new();
        let mut out: Vec<Histogram> = Vec::new();
        for row in vector.rows {
            self.budget.work(row.column.values().len())?;
            let le = row.labels.value(BUCKET_LABEL);
            let Some(upper) = parse_f64(le).filter(|upper| !upper.is_nan()) else {
                self.notes.bad_bucket_label(row.labels.metric_name(), le, span);
                continue;
            };
            let labels = row.labels.filtered(|name| name != BUCKET_LABEL);
            let at = *index.entry(labels).or_insert_with_key(|labels| {
                out.push(Histogram {
                    labels: labels.clone(),
                    drop_name: row.drop_name,
                    buckets: Vec::new(),
                });
                out.len() - 1
            });
            if let Some(histogram) = out.get_mut(at) {
                histogram.buckets.push((upper, row.column));
            }
        }
        for histogram in &mut out {
            histogram.buckets.sort_by(|a, b| a.0.total_cmp(&b.0));
        }
        Ok(out)
    }

    // One quantile of every histogram, for each step.
    fn quantiles(
        &mut self,
        histograms: &[Histogram],
        q: &Scalar,
        grid: Grid,
        span: Span,
    ) -> Result<Vec<Column>, QueryError> {
        let mut buckets = Vec::new();
        let mut out = Vec::with_capacity(histograms.len());
        for histogram in histograms {
            let mut column = Column::absent(grid.len());
            // Under immediate name removal upstream has forgotten the name by then.
            let metric = if self.options.delayed_name_removal {
                histogram.labels.metric_name()
            } else {
                ""
            };
            for (step, slot) in column.values_mut().iter_mut().enumerate() {
                histogram.at(step, &mut buckets);
                if buckets.is_empty() {
                    continue;
                }
                let (value, repaired) = quantile(q.at(step), &mut buckets);
                *slot = value;
                if let Some(repaired) = repaired {
                    self.notes.forced_monotonicity(metric, repaired, grid.at(step), span);
                }
            }
            self.budget.work(grid.len() * histogram.buckets.len())?;
            out.push(column);
        }
        Ok(out)
    }

    fn note_quantile(&mut self, q: &Scalar, steps: usize, span: Span) {
        for q in q.values(steps).filter(|q| q.is_nan() || !(0.0..=1.0).contains(q)) {
            self.notes.invalid_quantile(q, span);
        }
    }

    pub(crate) fn histogram_quantile(&mut self, call: &Call, grid: Grid) -> Result<Vector, QueryError> {
        let q = self.scalar_arg(call, 0, grid)?;
        let vector = self.vector_arg(call, 1, grid)?;
        let span = argument(call, 1)?.span;
        self.note_quantile(&q, grid.len(), argument(call, 0)?.span);
        let histograms = self.histograms(vector, span)?;
        let columns = self.quantiles(&histograms, &q, grid, span)?;
        let rows = histograms.into_iter().zip(columns).map(|(histogram, column)| Row {
            labels: histogram.labels,
            drop_name: histogram.drop_name,
            column,
        });
        self.drop_names(Vector::of(rows.collect()))
    }

    pub(crate) fn histogram_quantiles(&mut self, call: &Call, grid: Grid) -> Result<Vector, QueryError> {
        let vector = self.vector_arg(call, 0, grid)?;
        let label = text_of(argument(call, 1)?)?;
        let span = argument(call, 0)?.span;
        let histograms = self.histograms(vector, span)?;
        let mut rows = Vec::new();
        for index in 2..call.args.len() {
            let q = self.scalar_arg(call, index, grid)?;
            self.note_quantile(&q, grid.len(), argument(call, index)?.span);
            let columns = self.quantiles(&histograms, &q, grid, span)?;
            for (histogram, column) in histograms.iter().zip(columns) {
                // The label carries the quantile, which may differ from step to step.
                let mut by_q: Vec<(u64, Column)> = Vec::new();
                for (step, value) in column.present() {
                    let bits = q.at(step).to_bits();
                    let at = by_q.iter().position(|(known, _)| *known == bits).unwrap_or_else(|| {
                        by_q.push((bits, Column::absent(grid.len())));
                        by_q.len() - 1
                    });
                    if let Some(slot) = by_q.get_mut(at).and_then(|(_, c)| c.values_mut().get_mut(step)) {
                        *slot = value;
                    }
                }
                for (bits, column) in by_q {
                    let mut labels: LabelsBuilder = histogram.labels.to_builder();
                    labels.set(label, &open_metrics(f64::from_bits(bits)));
                    rows.push(Row {
                        labels: labels.build(),
                        drop_name: histogram.drop_name,
                        column,
                    });
                }
            }
        }
        self.drop_names(Vector::of(rows).merged()?)
    }

    pub(crate) fn histogram_fraction(&mut self, call: &Call, grid: Grid) -> Result<Vector, QueryError> {
        let (lower, upper) = (self.scalar_arg(call, 0, grid)?, self.scalar_arg(call, 1, grid)?);
        let vector = self.vector_arg(call, 2, grid)?;
        let histograms = self.histograms(vector, argument(call, 2)?.span)?;
        let mut buckets = Vec::new();
        let mut rows = Vec::new();
        for histogram in histograms {
            let mut column = Column::absent(grid.len());
            for (step, slot) in column.values_mut().iter_mut().enumerate() {
                histogram.at(step, &mut buckets);
                if !buckets.is_empty() {
                    *slot = fraction(lower.at(step), upper.at(step), &buckets);
                }
            }
            self.budget.work(grid.len() * histogram.buckets.len())?;
            rows.push(Row {
                labels: histogram.labels,
                drop_name: histogram.drop_name,
                column,
            });
        }
        self.drop_names(Vector::of(rows))
    }
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

    #[test]
    fn quantile_labels_are_written_as_open_metrics_writes_them() {
        for (value, text) in [
            (0.0, "0.0"),
            (1.0, "1.0"),
            (0.25, "0.25"),
            (f64::NAN, "NaN"),
            (-0.1, "-0.1"),
        ] {
            assert_eq!(open_metrics(value), text);
        }
    }
}
