//! Quantiles and fractions of histograms: native ones, and classic ones, whose series are one per bucket with its upper
//! bound in the label `le`. Both may come in one vector.

use cupola_histogram::FloatHistogram;
use cupola_model::{Labels, fmt_f64_g, parse_f64};
use cupola_promql::{Call, Span};
use hashbrown::HashMap;

use super::argument;
use super::buckets::{Bucket, fraction, quantile};
use crate::column::{Column, Row, Scalar, Vector, without_metadata};
use crate::error::QueryError;
use crate::eval::{Evaluator, text_of};
use crate::grid::Grid;

const BUCKET_LABEL: &str = "le";

// One histogram: what its labels stand for at each step.
struct Histogram {
    labels: Labels,
    drop_name: bool,
    // The classic one, ascending by bound.
    buckets: Vec<(f64, Column)>,
    native: Option<Column>,
}

// A histogram at one step.
enum At<'h> {
    Classic(&'h mut [Bucket]),
    Native(&'h FloatHistogram),
}

impl Histogram {
    fn new(labels: Labels, drop_name: bool) -> Self {
        Self {
            labels,
            drop_name,
            buckets: Vec::new(),
            native: None,
        }
    }

    // The buckets that have a count at `step`, equal bounds added up. `out` is reused.
    fn classic_at(&self, step: usize, out: &mut Vec<Bucket>) {
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

// A bound as Go reads it: one that is too large for a float is none.
fn bound(le: &str) -> Option<f64> {
    let value = parse_f64(le)?;
    let overflows = value.is_infinite() && le.contains(|c: char| c.is_ascii_digit());
    (!overflows).then_some(value)
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

impl<'q> Evaluator<'q> {
    // Puts the series of each histogram together.
    fn histograms(&mut self, vector: Vector, span: Span) -> Result<Vec<Histogram>, QueryError> {
        let mut index: HashMap<Labels, usize> = HashMap::new();
        let mut out: Vec<Histogram> = Vec::new();
        let mut place = |labels: Labels, drop_name: bool, out: &mut Vec<Histogram>| {
            *index.entry(labels).or_insert_with_key(|labels| {
                out.push(Histogram::new(labels.clone(), drop_name));
                out.len() - 1
            })
        };
        for mut row in vector.rows {
            self.budget.work(row.column.len())?;
            if row.column.has_histograms() {
                let has_numbers = row.column.present().next().is_some();
                let native = if has_numbers {
                    let native = row.column.clone();
                    self.budget.charge(native.len() * 8)?;
                    row.column.drop_histograms();
                    native
                } else {
                    std::mem::replace(&mut row.column, Column::absent(0))
                };
                // With all its labels, even `le`.
                let at = place(row.labels.clone(), row.drop_name, &mut out);
                if let Some(histogram) = out.get_mut(at) {
                    histogram.native = Some(native);
                }
                if !has_numbers {
                    continue;
                }
            }
            let le = row.labels.value(BUCKET_LABEL);
            let Some(upper) = bound(le) else {
                if !row.column.is_empty() {
                    self.notes.bad_bucket_label(row.labels.metric_name(), le, span);
                }
                continue;
            };
            let labels = row.labels.filtered(|name| name != BUCKET_LABEL);
            let at = place(labels, row.drop_name, &mut out);
            if let Some(histogram) = out.get_mut(at) {
                histogram.buckets.push((upper, row.column));
            }
        }
        for histogram in &mut out {
            histogram.buckets.sort_by(|a, b| a.0.total_cmp(&b.0));
        }
        Ok(out)
    }

    // One number of every histogram, for each step. `number` gives it and what is to be told of the histogram.
    //
    // A step that has both a classic and a native histogram has no number: nobody knows which of them is meant.
    fn of_each(
        &mut self,
        histograms: &[Histogram],
        grid: Grid,
        span: Span,
        number: impl Fn(&mut Self, &str, At<'_>, usize) -> (f64, Option<&'static str>),
    ) -> Result<Vec<Column>, QueryError> {
        let mut buckets = Vec::new();
        let mut out = Vec::with_capacity(histograms.len());
        for histogram in histograms {
            let name = histogram.labels.metric_name();
            // Under immediate name removal upstream has forgotten the name by the time it looks into the histogram.
            let known_name = if self.options.delayed_name_removal { name } else { "" };
            let mut told: Vec<&'static str> = Vec::new();
            let mut told_mix = false;
            let mut column = Column::absent(grid.len());
            for (step, slot) in column.values_mut().iter_mut().enumerate() {
                histogram.classic_at(step, &mut buckets);
                let native = histogram.native.as_ref().and_then(|native| native.histogram(step));
                let at = match native {
                    None if buckets.is_empty() => continue,
                    None => At::Classic(&mut buckets),
                    Some(native) if buckets.is_empty() => At::Native(native),
                    Some(_) => {
                        if !std::mem::replace(&mut told_mix, true) {
                            self.notes.mixed_classic_and_native(name, span);
                        }
                        continue;
                    }
                };
                let (value, note) = number(self, known_name, at, step);
                *slot = value;
                if let Some(note) = note.filter(|note| !told.contains(note)) {
                    told.push(note);
                    self.notes.nan_observations(note, known_name, span);
                }
            }
            let per_step = histogram.buckets.len() + usize::from(histogram.native.is_some());
            self.budget.work(grid.len() * per_step)?;
            self.budget.room(out.len() + 1, grid.len())?;
            out.push(column);
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
        self.of_each(histograms, grid, span, |this, name, at, step| match at {
            At::Native(histogram) => {
                let (value, note) = histogram.quantile(q.at(step));
                (value, note.text())
            }
            At::Classic(buckets) => {
                let (value, repaired) = quantile(q.at(step), buckets);
                if let Some(repaired) = repaired {
                    this.notes.forced_monotonicity(name, repaired, grid.at(step), span);
                }
                (value, None)
            }
        })
    }

    fn note_quantile(&mut self, q: &Scalar, steps: usize, span: Span) {
        let mut last = None;
        for q in q.values(steps).filter(|q| q.is_nan() || !(0.0..=1.0).contains(q)) {
            if last.replace(q.to_bits()) != Some(q.to_bits()) {
                self.notes.invalid_quantile(q, span);
            }
        }
    }

    pub(crate) fn histogram_quantile(&mut self, call: &Call, grid: Grid) -> Result<Vector, QueryError> {
        let q = self.scalar_arg(call, 0, grid)?;
        let vector = self.vector_arg(call, 1, grid)?;
        let span = argument(call, 1)?.span;
        self.note_quantile(&q, grid.len(), argument(call, 0)?.span);
        let histograms = self.histograms(vector, span)?;
        let columns = self.quantiles(&histograms, &q, grid, span)?;
        self.named_as(histograms, columns)
    }

    pub(crate) fn histogram_quantiles(&mut self, call: &Call, grid: Grid) -> Result<Vector, QueryError> {
        let vector = self.vector_arg(call, 0, grid)?;
        let label = text_of(argument(call, 1)?)?;
        let span = argument(call, 0)?.span;
        let mut asked = Vec::new();
        for index in 2..call.args.len() {
            let q = self.scalar_arg(call, index, grid)?;
            self.note_quantile(&q, grid.len(), argument(call, index)?.span);
            asked.push(q);
        }
        let delayed = self.options.delayed_name_removal;
        let histograms = self.histograms(vector, span)?;
        let mut rows: Vec<Row> = Vec::new();
        for q in &asked {
            let columns = self.quantiles(&histograms, q, grid, span)?;
            for (histogram, column) in histograms.iter().zip(columns) {
                // A label that is asked for under a name that goes away stays.
                let labels = if delayed {
                    histogram.labels.clone()
                } else {
                    without_metadata(&histogram.labels)
                };
                for (bits, column) in by_quantile(q, column) {
                    let mut labels = labels.to_builder();
                    labels.set(label, &open_metrics(f64::from_bits(bits)));
                    self.budget.room(rows.len() + 1, grid.len())?;
                    rows.push(Row {
                        labels: labels.build(),
                        drop_name: delayed,
                        column,
                    });
                }
            }
        }
        Vector::of(rows).merged()
    }

    pub(crate) fn histogram_fraction(&mut self, call: &Call, grid: Grid) -> Result<Vector, QueryError> {
        let (lower, upper) = (self.scalar_arg(call, 0, grid)?, self.scalar_arg(call, 1, grid)?);
        let vector = self.vector_arg(call, 2, grid)?;
        let span = argument(call, 2)?.span;
        let histograms = self.histograms(vector, span)?;
        let columns = self.of_each(&histograms, grid, span, |_, _, at, step| match at {
            At::Native(histogram) => {
                let (value, note) = histogram.fraction(lower.at(step), upper.at(step));
                (value, note.text())
            }
            At::Classic(buckets) => (fraction(lower.at(step), upper.at(step), buckets), None),
        })?;
        self.named_as(histograms, columns)
    }

    // The columns under the labels of their histograms.
    fn named_as(&mut self, histograms: Vec<Histogram>, columns: Vec<Column>) -> Result<Vector, QueryError> {
        let rows = histograms.into_iter().zip(columns).map(|(histogram, column)| Row {
            labels: histogram.labels,
            drop_name: histogram.drop_name,
            column,
        });
        let vector = Vector::of(rows.collect()).without_empty();
        self.drop_names(vector)
    }
}

// The column by the quantile, which may differ from step to step: mostly it does not.
fn by_quantile(q: &Scalar, column: Column) -> Vec<(u64, Column)> {
    if let Scalar::Constant(q) = q {
        return if column.is_empty() {
            Vec::new()
        } else {
            vec![(q.to_bits(), column)]
        };
    }
    let mut out: Vec<(u64, Column)> = Vec::new();
    for (step, value) in column.present() {
        let bits = q.at(step).to_bits();
        let at = out.iter().position(|(known, _)| *known == bits).unwrap_or_else(|| {
            out.push((bits, Column::absent(column.len())));
            out.len() - 1
        });
        if let Some(slot) = out.get_mut(at).and_then(|(_, c)| c.values_mut().get_mut(step)) {
            *slot = value;
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

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
