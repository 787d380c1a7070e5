//! The functions. Each takes whole columns.

mod absent;
mod buckets;
mod histogram;
mod info;
mod labels;
mod math;
pub(crate) mod range;
mod sort;
pub(crate) mod time;

use cupola_histogram::FloatHistogram;
use cupola_model::{METRIC_NAME, is_stale_nan};
use cupola_promql::{Call, Expr, ExprKind};
use cupola_storage::SampleValue;

use crate::column::{Column, Scalar, Value, Vector};
use crate::error::QueryError;
use crate::eval::Evaluator;
use crate::grid::Grid;
use crate::numeric::{go_max, go_min};
use crate::plan::unwrap_parens;
use crate::select::Take;

pub(crate) use sort::compare_values;

/// The argument at `index`, which the parser made sure is there.
pub(crate) fn argument(call: &Call, index: usize) -> Result<&Expr, QueryError> {
    let missing = || {
        QueryError::BadData(format!(
            "expected {} argument(s) in call to {:?}",
            index + 1,
            call.function.name
        ))
    };
    call.args.get(index).ok_or_else(missing)
}

impl<'q> Evaluator<'q> {
    /// Evaluates a call.
    pub(crate) fn call(&mut self, expr: &Expr, call: &Call, grid: Grid) -> Result<Value, QueryError> {
        let name = call.function.name;
        let seconds = |ms: i64| Value::Scalar(Scalar::Constant(ms as f64 / 1000.0));
        if let Some(function) = math::function(name) {
            return self.map(call, grid, function).map(Value::Vector);
        }
        if let Some(part) = time::part(name) {
            return self.date(call, grid, part).map(Value::Vector);
        }
        match name {
            "time" => Ok(Value::Scalar(Scalar::Steps(
                grid.times().map(|t| t as f64 / 1000.0).collect(),
            ))),
            "pi" => Ok(Value::Scalar(Scalar::Constant(std::f64::consts::PI))),
            "start" => Ok(seconds(self.plan.start())),
            "end" => Ok(seconds(self.plan.end())),
            "step" => Ok(seconds(self.plan.step_ms())),
            "range" => Ok(seconds(self.plan.range_ms())),
            "min_of" | "max_of" => {
                let (a, b) = (self.scalar_arg(call, 0, grid)?, self.scalar_arg(call, 1, grid)?);
                let pick = if name == "max_of" { go_max } else { go_min };
                Ok(Value::Scalar(a.zip(&b, grid.len(), pick)))
            }
            "scalar" => {
                let vector = self.vector_arg(call, 0, grid)?;
                self.budget.work(vector.rows.len() * grid.len())?;
                Ok(Value::Scalar(scalar(&vector, grid.len())))
            }
            "vector" => {
                let scalar = self.scalar_arg(call, 0, grid)?;
                let values = (0..grid.len()).map(|step| scalar.at(step)).collect();
                Ok(Value::Vector(Self::single_row(Column::of(values))))
            }
            "timestamp" => self.timestamp(call, grid).map(Value::Vector),
            "clamp" | "clamp_min" | "clamp_max" => self.clamp(call, grid).map(Value::Vector),
            "round" => self.round(call, grid).map(Value::Vector),
            "absent" => self.absent(call, grid).map(Value::Vector),
            "sort" | "sort_desc" | "sort_by_label" | "sort_by_label_desc" => {
                self.sort(expr, call, grid).map(Value::Vector)
            }
            "label_replace" => self.label_replace(call, grid).map(Value::Vector),
            "label_join" => self.label_join(call, grid).map(Value::Vector),
            "histogram_quantile" => self.histogram_quantile(call, grid).map(Value::Vector),
            "histogram_quantiles" => self.histogram_quantiles(call, grid).map(Value::Vector),
            "histogram_fraction" => self.histogram_fraction(call, grid).map(Value::Vector),
            "histogram_count" => self.of_histograms(call, grid, |h| h.count),
            "histogram_sum" => self.of_histograms(call, grid, |h| h.sum),
            "histogram_avg" => self.of_histograms(call, grid, FloatHistogram::avg),
            "histogram_stddev" => self.of_histograms(call, grid, FloatHistogram::std_dev),
            "histogram_stdvar" => self.of_histograms(call, grid, FloatHistogram::std_var),
            "info" => self.info(call, grid).map(Value::Vector),
            "start_timestamp" => self.start_timestamp(call, grid).map(Value::Vector),
            _ => self.range_call(call, grid).map(Value::Vector),
        }
    }

    pub(crate) fn vector_arg(&mut self, call: &Call, index: usize, grid: Grid) -> Result<Vector, QueryError> {
        self.eval_vector(argument(call, index)?, grid)
    }

    /// The first argument without its native histograms, for functions of numbers.
    fn floats_arg(&mut self, call: &Call, grid: Grid) -> Result<Vector, QueryError> {
        let mut vector = self.vector_arg(call, 0, grid)?;
        if vector.rows.iter().any(|row| row.column.has_histograms()) {
            vector.rows.iter_mut().for_each(|row| row.column.drop_histograms());
            return Ok(vector.without_empty());
        }
        Ok(vector)
    }

    // A number of every native histogram; floats are left out.
    fn of_histograms(
        &mut self,
        call: &Call,
        grid: Grid,
        number: fn(&FloatHistogram) -> f64,
    ) -> Result<Value, QueryError> {
        let mut vector = self.vector_arg(call, 0, grid)?;
        for row in &mut vector.rows {
            row.column.filter_map(|_, _| None);
            row.column
                .map_histograms(|_, histogram| Some(SampleValue::Float(number(&histogram))));
            self.budget.work(grid.len())?;
        }
        let mut vector = vector.without_empty();
        if self.options.delayed_name_removal {
            return Ok(Value::Vector(self.drop_names(vector)?));
        }
        // Upstream drops the name alone here; type and unit stay.
        for row in &mut vector.rows {
            row.labels = row.labels.filtered(|name| name != METRIC_NAME);
        }
        Ok(Value::Vector(vector.merged()?))
    }

    pub(crate) fn scalar_arg(&mut self, call: &Call, index: usize, grid: Grid) -> Result<Scalar, QueryError> {
        self.eval_scalar(argument(call, index)?, grid)
    }

    // Over a selector the time of the sample, else that of the step.
    fn timestamp(&mut self, call: &Call, grid: Grid) -> Result<Vector, QueryError> {
        let arg = argument(call, 0)?;
        let vector = if let ExprKind::VectorSelector(selector) = &unwrap_parens(arg).kind {
            self.select_newest(selector, grid, Take::Time, arg.span)?
        } else {
            let mut vector = self.eval_vector(arg, grid)?;
            for row in &mut vector.rows {
                let seconds = |step| grid.at(step) as f64 / 1000.0;
                row.column.filter_map(|step, _| Some(seconds(step)));
                row.column
                    .map_histograms(|step, _| Some(SampleValue::Float(seconds(step))));
            }
            vector
        };
        self.drop_names(vector)
    }
}

impl Evaluator<'_> {
    // Known of what a selector selects only, and only where the feature is on.
    fn start_timestamp(&mut self, call: &Call, grid: Grid) -> Result<Vector, QueryError> {
        let arg = argument(call, 0)?;
        let vector = match &unwrap_parens(arg).kind {
            ExprKind::VectorSelector(selector) if self.options.use_start_timestamps => {
                self.select_newest(selector, grid, Take::Start, arg.span)?
            }
            _ => {
                self.eval(arg, grid)?;
                Vector::default()
            }
        };
        self.drop_names(vector)
    }
}

fn scalar(vector: &Vector, steps: usize) -> Scalar {
    let mut values = vec![f64::NAN; steps];
    let mut found = vec![0_u8; steps];
    for row in &vector.rows {
        for ((value, slot), found) in row.column.values().iter().zip(&mut values).zip(&mut found) {
            if !is_stale_nan(*value) {
                *slot = if *found == 0 { *value } else { f64::NAN };
                *found = 1;
            }
        }
    }
    Scalar::Steps(values)
}
