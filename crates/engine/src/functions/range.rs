//! Functions of a range vector.

use cupola_model::Labels;
use cupola_promql::{Call, ExtendedRange, Span, ValueType};
use cupola_storage::{SampleValue, Samples};

use super::argument;
use crate::column::Vector;
use crate::error::QueryError;
use crate::eval::Evaluator;
use crate::grid::Grid;
use crate::plan::unwrap_parens;
use crate::range::Range;
use crate::select::Sink;
use crate::window::{
    Average, Counted, ExtendedKind, ExtendedRate, Extrapolated, Extreme, InstantRate, Kernel, Lines, MixedWindow,
    PerWindow, RateKind, Smoothing, Sum, Window, WithHistograms, counted_anchored, mad, outermost, quantile_over_time,
    spread,
};

const ANCHORED: [&str; 5] = ["changes", "delta", "increase", "rate", "resets"];
const SMOOTHED: [&str; 3] = ["delta", "increase", "rate"];

pub(super) fn check_extended(range: &Range<'_>, name: &str) -> Result<(), QueryError> {
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

impl<'q> Evaluator<'q> {
    /// Evaluates a call whose argument is a range vector.
    pub(crate) fn range_call(&mut self, call: &Call, grid: Grid) -> Result<Vector, QueryError> {
        if call.function.name == "absent_over_time" {
            return self.absent_over_time(call, grid);
        }
        let mut rows = Vec::new();
        self.range_call_rows(call, grid, &mut |this, row| this.keep(row, &mut rows))?;
        let vector = Vector::of(rows);
        if keeps_name(call.function.name) {
            Ok(vector)
        } else {
            self.drop_names(vector)
        }
    }

    /// As [`Evaluator::range_call`], row by row and with the names still on; not for `absent_over_time`.
    pub(crate) fn range_call_rows(&mut self, call: &Call, grid: Grid, sink: Sink<'_, 'q>) -> Result<(), QueryError> {
        let name = call.function.name;
        let arg = argument(call, usize::from(name == "quantile_over_time"))?;
        // Remarks are about the first argument, which of one function is not the range.
        let range = self.range_of(arg)?.told_at(unwrap_parens(argument(call, 0)?).span);
        check_extended(&range, name)?;
        let range = self.tiered_range(range, call, grid);
        if let Some(tier) = range.tier().filter(|_| name == "avg_over_time") {
            return self.coarse_average(&range, tier, grid, sink);
        }
        match name {
            // A tier counts its samples, and those that stand for themselves come as ones.
            "count_over_time" if range.tier().is_some() => self.range_rows(&range, grid, &mut Sum::default(), sink),
            "rate" => self.rate(call, &range, grid, RateKind::Rate, sink),
            "increase" => self.rate(call, &range, grid, RateKind::Increase, sink),
            "delta" => self.rate(call, &range, grid, RateKind::Delta, sink),
            "quantile_over_time" => self.quantile_over_time(call, &range, grid, sink),
            "predict_linear" => {
                let ahead = self.scalar_arg(call, 1, grid)?;
                let mut kernel = Lines::new(
                    |w: &Window| Some(grid.at(w.step)),
                    |w: &Window, slope, value| slope * ahead.at(w.step) + value,
                );
                self.range_rows(&range, grid, &mut kernel, sink)
            }
            "double_exponential_smoothing" => self.smoothing(call, &range, grid, sink),
            _ => {
                let mut kernel = simple_kernel(name, &range)
                    .ok_or_else(|| QueryError::execution(format!("the function {name}() is not supported yet")))?;
                self.range_rows(&range, grid, kernel.as_mut(), sink)
            }
        }
    }

    fn rate(
        &mut self,
        call: &Call,
        range: &Range<'_>,
        grid: Grid,
        kind: RateKind,
        sink: Sink<'_, 'q>,
    ) -> Result<(), QueryError> {
        let extended = range.extended().map(|extended| match extended {
            ExtendedRange::Anchored => ExtendedKind::Anchored,
            ExtendedRange::Smoothed => ExtendedKind::Smoothed,
        });
        // A tier's samples are far apart and lie thicker around resets, which would mislead an extrapolation. They are true
        // samples, so the difference to the last one before the range is true as well.
        let coarse = range.tier().filter(|_| extended.is_none());
        let range = match coarse {
            Some(tier) => &range.anchored(self.lookback_ms.saturating_add(tier.used.resolution_ms)),
            None => range,
        };
        let extended = extended.or(coarse.map(|_| ExtendedKind::Anchored));
        let mut kernel: Box<dyn Kernel> = match extended {
            Some(extended) => Box::new(ExtendedRate {
                extended,
                rate: kind,
                range_seconds: range.range_ms as f64 / 1000.0,
            }),
            None => Box::new(Extrapolated::new(kind, range.range_ms)),
        };
        let span = unwrap_parens(argument(call, 0)?).span;
        // Series of one metric mostly follow each other.
        let mut judged = String::new();
        self.range_rows(range, grid, kernel.as_mut(), &mut |this, row| {
            if kind.is_counter() && row.column.present().next().is_some() {
                this.judge_counter(&row.labels, &mut judged, span);
            }
            sink(this, row)
        })
    }

    // Tells of metrics whose name or type does not say that they are counters.
    fn judge_counter(&mut self, labels: &Labels, judged: &mut String, span: Span) {
        let metric = labels.metric_name();
        if metric.is_empty() {
            return;
        }
        if self.options.type_and_unit_labels {
            let kind = labels.value("__type__");
            if kind != "counter" && kind != "histogram" {
                self.notes.maybe_not_counter_type(metric, kind, span);
            }
        } else if metric != judged {
            metric.clone_into(judged);
            if !["_total", "_sum", "_count", "_bucket"]
                .iter()
                .any(|suffix| metric.ends_with(suffix))
            {
                self.notes.maybe_not_counter(metric, span);
            }
        }
    }

    fn quantile_over_time(
        &mut self,
        call: &Call,
        range: &Range<'_>,
        grid: Grid,
        sink: Sink<'_, 'q>,
    ) -> Result<(), QueryError> {
        let q = self.scalar_arg(call, 0, grid)?;
        let mut scratch = Vec::new();
        let mut kernel =
            PerWindow(|s: &Samples, w: &Window| Some(quantile_over_time(q.at(w.step), w.values(s), &mut scratch)));
        let invalid = |q: f64| q.is_nan() || !(0.0..=1.0).contains(&q);
        // The steps whose warning is still to be given: it belongs to those that had samples.
        let mut suspects: Vec<usize> = (0..grid.len()).filter(|step| invalid(q.at(*step))).collect();
        let span = unwrap_parens(argument(call, 0)?).span;
        self.range_rows(range, grid, &mut kernel, &mut |this, row| {
            suspects.retain(|step| {
                let seen = row.column.has(*step);
                if seen {
                    this.notes.invalid_quantile(q.at(*step), span);
                }
                !seen
            });
            sink(this, row)
        })
    }

    fn smoothing(&mut self, call: &Call, range: &Range<'_>, grid: Grid, sink: Sink<'_, 'q>) -> Result<(), QueryError> {
        let mut kernel = Smoothing::new(self.scalar_arg(call, 1, grid)?, self.scalar_arg(call, 2, grid)?);
        self.range_rows(range, grid, &mut kernel, sink)?;
        match kernel.error() {
            Some(error) => Err(QueryError::execution(error)),
            None => Ok(()),
        }
    }
}

/// Whether a call takes a range vector series by series.
pub(crate) fn is_range_function(call: &Call) -> bool {
    call.function.name != "absent_over_time" && call.function.args.contains(&ValueType::Matrix)
}

/// Whether a function of a range vector gives values of the metric itself.
pub(crate) fn keeps_name(name: &str) -> bool {
    matches!(name, "first_over_time" | "last_over_time")
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
        "first_over_time" => Box::new(WithHistograms {
            floats: PerWindow(|s: &Samples, w: &Window| w.values(s).first().copied()),
            mixed: |s: &Samples, w: &MixedWindow| outermost(s, w, true),
        }),
        "last_over_time" => Box::new(WithHistograms {
            floats: PerWindow(|s: &Samples, w: &Window| w.values(s).last().copied()),
            mixed: |s: &Samples, w: &MixedWindow| outermost(s, w, false),
        }),
        "irate" => Box::new(InstantRate { is_rate: true }),
        "idelta" => Box::new(InstantRate { is_rate: false }),
        "sum_over_time" => Box::new(Sum::default()),
        "avg_over_time" => Box::new(Average::default()),
        "min_over_time" => Box::new(Extreme::new(false, false)),
        "max_over_time" => Box::new(Extreme::new(true, false)),
        "ts_of_min_over_time" => Box::new(Extreme::new(false, true)),
        "ts_of_max_over_time" => Box::new(Extreme::new(true, true)),
        "ts_of_first_over_time" => Box::new(WithHistograms {
            floats: PerWindow(move |s: &Samples, w: &Window| w.times(s).first().map(seconds)),
            mixed: move |s: &Samples, w: &MixedWindow| {
                let ends = [w.floats.times(s).first(), w.histogram_times(s).first()];
                ends.into_iter().flatten().min().map(seconds).map(SampleValue::Float)
            },
        }),
        "ts_of_last_over_time" => Box::new(WithHistograms {
            floats: PerWindow(move |s: &Samples, w: &Window| w.times(s).last().map(seconds)),
            mixed: move |s: &Samples, w: &MixedWindow| {
                let ends = [w.floats.times(s).last(), w.histogram_times(s).last()];
                ends.into_iter().flatten().max().map(seconds).map(SampleValue::Float)
            },
        }),
        "count_over_time" => Box::new(WithHistograms {
            floats: PerWindow(|_: &Samples, w: &Window| Some(w.len() as f64)),
            mixed: |_: &Samples, w: &MixedWindow| Some(SampleValue::Float(w.len() as f64)),
        }),
        "present_over_time" => Box::new(WithHistograms {
            floats: PerWindow(|_: &Samples, _: &Window| Some(1.0)),
            mixed: |_: &Samples, _: &MixedWindow| Some(SampleValue::Float(1.0)),
        }),
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
        "deriv" => Box::new(Lines::new(|_: &Window| None, |_: &Window, slope, _| slope)),
        _ => return None,
    })
}
