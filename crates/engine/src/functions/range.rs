//! Functions of a range vector.

use std::cell::RefCell;

use cupola_promql::{Call, ExtendedRange};
use cupola_storage::Samples;

use super::argument;
use crate::column::{Scalar, Vector};
use crate::error::QueryError;
use crate::eval::Evaluator;
use crate::grid::Grid;
use crate::range::Range;
use crate::window::{
    Average, Counted, ExtendedKind, ExtendedRate, Extrapolated, Extreme, Kernel, PerWindow, RateKind, Sum, Window,
    counted_anchored, instant_rate, linear_regression, mad, quantile_over_time, smoothing, spread,
};

const ANCHORED: [&str; 5] = ["changes", "delta", "increase", "rate", "resets"];
const SMOOTHED: [&str; 3] = ["delta", "increase", "rate"];

fn check_extended(range: &Range<'_>, name: &str) -> Result<(), QueryError> {
    let (modifier, allowed) = match range.extended() {
        None => return Ok(()),
        Some(ExtendedRange::Anchored) => ("anchored", ANCHORED.as_slice()),
        Some(ExtendedRange::Smoothed) => ("smoothed", SMOOTHED.as_slice()),
    };
    if allowed.contains(&name) {
        return Ok(());
    }
    let functions = allowed.join(", ");
    Err(QueryError::execution(format!(
        "{modifier} modifier can only be used with: {functions} - not with {name}"
    )))
}

impl Evaluator<'_> {
    /// Evaluates a call whose argument is a range vector.
    pub(crate) fn range_call(&mut self, call: &Call, grid: Grid) -> Result<Vector, QueryError> {
        let name = call.function.name;
        let arg = argument(call, usize::from(name == "quantile_over_time"))?;
        let range = self.range_of(arg)?;
        check_extended(&range, name)?;
        match name {
            "rate" => self.rate(call, &range, grid, RateKind::Rate),
            "increase" => self.rate(call, &range, grid, RateKind::Increase),
            "delta" => self.rate(call, &range, grid, RateKind::Delta),
            "absent_over_time" => self.absent_over_time(call, grid),
            "first_over_time" => self.over_range(
                &range,
                grid,
                &mut PerWindow(|s: &Samples, w: &Window| w.values(s).first().copied()),
            ),
            "last_over_time" => self.over_range(
                &range,
                grid,
                &mut PerWindow(|s: &Samples, w: &Window| w.values(s).last().copied()),
            ),
            "quantile_over_time" => self.quantile_over_time(call, &range, grid),
            "predict_linear" => {
                let ahead = self.scalar_arg(call, 1, grid)?;
                let mut kernel = PerWindow(|s: &Samples, w: &Window| {
                    let (slope, value) = linear_regression(s, w, Some(grid.at(w.step)))?;
                    Some(slope * ahead.at(w.step) + value)
                });
                self.kernel(&range, grid, &mut kernel)
            }
            "double_exponential_smoothing" => self.smoothing(call, &range, grid),
            _ => {
                let mut kernel = simple_kernel(name, &range)
                    .ok_or_else(|| QueryError::execution(format!("the function {name}() is not supported yet")))?;
                self.kernel(&range, grid, kernel.as_mut())
            }
        }
    }

    fn kernel(&mut self, range: &Range<'_>, grid: Grid, kernel: &mut dyn Kernel) -> Result<Vector, QueryError> {
        let vector = self.over_range(range, grid, kernel)?;
        self.drop_names(vector)
    }

    fn rate(&mut self, call: &Call, range: &Range<'_>, grid: Grid, kind: RateKind) -> Result<Vector, QueryError> {
        let extended = range.extended().map(|extended| match extended {
            ExtendedRange::Anchored => ExtendedKind::Anchored,
            ExtendedRange::Smoothed => ExtendedKind::Smoothed,
        });
        let vector = match extended {
            Some(extended) => {
                let range_seconds = range.range_ms as f64 / 1000.0;
                self.over_range(
                    range,
                    grid,
                    &mut ExtendedRate {
                        extended,
                        rate: kind,
                        range_seconds,
                    },
                )?
            }
            None => self.over_range(range, grid, &mut Extrapolated::new(kind, range.range_ms))?,
        };
        if kind.is_counter() {
            self.judge_counters(call, &vector)?;
        }
        self.drop_names(vector)
    }

    // Tells of metrics whose name or type does not say that they are counters.
    fn judge_counters(&mut self, call: &Call, vector: &Vector) -> Result<(), QueryError> {
        let span = argument(call, 0)?.span;
        // Series of one metric mostly follow each other.
        let mut judged = String::new();
        for row in &vector.rows {
            let metric = row.labels.metric_name();
            if metric.is_empty() {
                continue;
            }
            if self.options.type_and_unit_labels {
                let kind = row.labels.value("__type__");
                if kind != "counter" && kind != "histogram" {
                    self.notes.maybe_not_counter_type(metric, kind, span);
                }
            } else if metric != judged {
                metric.clone_into(&mut judged);
                if !["_total", "_sum", "_count", "_bucket"]
                    .iter()
                    .any(|suffix| metric.ends_with(suffix))
                {
                    self.notes.maybe_not_counter(metric, span);
                }
            }
        }
        Ok(())
    }

    fn quantile_over_time(&mut self, call: &Call, range: &Range<'_>, grid: Grid) -> Result<Vector, QueryError> {
        let q = self.scalar_arg(call, 0, grid)?;
        let mut scratch = Vec::new();
        let mut kernel =
            PerWindow(|s: &Samples, w: &Window| Some(quantile_over_time(q.at(w.step), w.values(s), &mut scratch)));
        let vector = self.over_range(range, grid, &mut kernel)?;
        // The warning belongs to the steps that had samples.
        let invalid = |q: f64| q.is_nan() || !(0.0..=1.0).contains(&q);
        let span = argument(call, 0)?.span;
        match &q {
            Scalar::Constant(q) if invalid(*q) && !vector.rows.is_empty() => self.notes.invalid_quantile(*q, span),
            Scalar::Constant(_) => {}
            Scalar::Steps(values) => {
                for (step, q) in values.iter().enumerate().filter(|(_, q)| invalid(**q)) {
                    if vector.rows.iter().any(|row| row.column.has(step)) {
                        self.notes.invalid_quantile(*q, span);
                    }
                }
            }
        }
        self.drop_names(vector)
    }

    fn smoothing(&mut self, call: &Call, range: &Range<'_>, grid: Grid) -> Result<Vector, QueryError> {
        let (factor, trend) = (self.scalar_arg(call, 1, grid)?, self.scalar_arg(call, 2, grid)?);
        let wrong = RefCell::new(None);
        let outside = |value: f64| value <= 0.0 || value >= 1.0;
        let mut kernel = PerWindow(|s: &Samples, w: &Window| {
            let (factor, trend) = (factor.at(w.step), trend.at(w.step));
            if outside(factor) {
                wrong.borrow_mut().get_or_insert(("smoothing", "sf", factor));
            } else if outside(trend) {
                wrong.borrow_mut().get_or_insert(("trend", "tf", trend));
            }
            smoothing(w.values(s), factor, trend)
        });
        let vector = self.over_range(range, grid, &mut kernel)?;
        if let Some((name, short, value)) = wrong.into_inner() {
            return Err(QueryError::execution(format!(
                "invalid {name} factor. Expected: 0 < {short} < 1, got: {value:.6}"
            )));
        }
        self.drop_names(vector)
    }
}

// Kernels without further arguments.
fn simple_kernel(name: &str, range: &Range<'_>) -> Option<Box<dyn Kernel>> {
    let anchored = range.extended() == Some(ExtendedRange::Anchored);
    let counted = |counted: Counted| -> Box<dyn Kernel> {
        if anchored {
            Box::new(counted_anchored(counted))
        } else {
            Box::new(counted)
        }
    };
    let seconds = |t: &i64| *t as f64 / 1000.0;
    Some(match name {
        "irate" => Box::new(PerWindow(|s: &Samples, w: &Window| instant_rate(s, w, true))),
        "idelta" => Box::new(PerWindow(|s: &Samples, w: &Window| instant_rate(s, w, false))),
        "sum_over_time" => Box::new(Sum::default()),
        "avg_over_time" => Box::new(Average::default()),
        "min_over_time" => Box::new(Extreme::new(false, false)),
        "max_over_time" => Box::new(Extreme::new(true, false)),
        "ts_of_min_over_time" => Box::new(Extreme::new(false, true)),
        "ts_of_max_over_time" => Box::new(Extreme::new(true, true)),
        "ts_of_first_over_time" => Box::new(PerWindow(move |s: &Samples, w: &Window| {
            w.times(s).first().map(seconds)
        })),
        "ts_of_last_over_time" => Box::new(PerWindow(move |s: &Samples, w: &Window| w.times(s).last().map(seconds))),
        "count_over_time" => Box::new(PerWindow(|_: &Samples, w: &Window| Some(w.len() as f64))),
        "present_over_time" => Box::new(PerWindow(|_: &Samples, _: &Window| Some(1.0))),
        "stddev_over_time" => Box::new(PerWindow(|s: &Samples, w: &Window| Some(spread(w.values(s)).sqrt()))),
        "stdvar_over_time" => Box::new(PerWindow(|s: &Samples, w: &Window| Some(spread(w.values(s))))),
        "mad_over_time" => {
            let mut scratch = Vec::new();
            Box::new(PerWindow(move |s: &Samples, w: &Window| {
                Some(mad(w.values(s), &mut scratch))
            }))
        }
        "changes" => counted(Counted::changes()),
        "resets" => counted(Counted::resets()),
        "deriv" => Box::new(PerWindow(|s: &Samples, w: &Window| {
            Some(linear_regression(s, w, None)?.0)
        })),
        _ => return None,
    })
}
