//! Functions of one number.

use std::f64::consts::PI;

use cupola_promql::Call;

use crate::column::{Scalar, Vector};
use crate::error::QueryError;
use crate::eval::Evaluator;
use crate::grid::Grid;
use crate::numeric::{go_max, go_min};

/// The function called `name`, if it maps one number to one number.
pub(crate) fn function(name: &str) -> Option<fn(f64) -> f64> {
    Some(match name {
        "abs" => f64::abs,
        "ceil" => f64::ceil,
        "floor" => f64::floor,
        "exp" => f64::exp,
        "sqrt" => f64::sqrt,
        "ln" => f64::ln,
        "log2" => f64::log2,
        "log10" => f64::log10,
        "sin" => f64::sin,
        "cos" => f64::cos,
        "tan" => f64::tan,
        "asin" => f64::asin,
        "acos" => f64::acos,
        "atan" => f64::atan,
        "sinh" => f64::sinh,
        "cosh" => f64::cosh,
        "tanh" => f64::tanh,
        "asinh" => f64::asinh,
        "acosh" => f64::acosh,
        "atanh" => f64::atanh,
        "rad" => |v| v * PI / 180.0,
        "deg" => |v| v * 180.0 / PI,
        "sgn" => |v| {
            if v < 0.0 {
                -1.0
            } else if v > 0.0 {
                1.0
            } else {
                v
            }
        },
        _ => return None,
    })
}

impl Evaluator<'_> {
    /// Applies `function` to every value of the first argument.
    pub(crate) fn map(&mut self, call: &Call, grid: Grid, function: fn(f64) -> f64) -> Result<Vector, QueryError> {
        let mut vector = self.floats_arg(call, grid)?;
        for row in &mut vector.rows {
            row.column.map(function);
            self.budget.work(grid.len())?;
        }
        self.drop_names(vector)
    }

    /// `clamp`, `clamp_min`, `clamp_max`; nothing where the bounds are the wrong way round.
    pub(crate) fn clamp(&mut self, call: &Call, grid: Grid) -> Result<Vector, QueryError> {
        let mut vector = self.floats_arg(call, grid)?;
        let (min, max) = match call.function.name {
            "clamp_min" => (self.scalar_arg(call, 1, grid)?, Scalar::Constant(f64::INFINITY)),
            "clamp_max" => (Scalar::Constant(f64::NEG_INFINITY), self.scalar_arg(call, 1, grid)?),
            _ => (self.scalar_arg(call, 1, grid)?, self.scalar_arg(call, 2, grid)?),
        };
        for row in &mut vector.rows {
            row.column.filter_map(|step, value| {
                let (min, max) = (min.at(step), max.at(step));
                // NaN bounds are not the wrong way round: they make the value NaN.
                let crossed = max < min;
                (!crossed).then(|| go_max(min, go_min(max, value)))
            });
            self.budget.work(grid.len())?;
        }
        Ok(self.drop_names(vector)?.without_empty())
    }

    /// `round`: to the nearest multiple, ties up.
    pub(crate) fn round(&mut self, call: &Call, grid: Grid) -> Result<Vector, QueryError> {
        let mut vector = self.floats_arg(call, grid)?;
        let nearest = if call.args.len() > 1 {
            self.scalar_arg(call, 1, grid)?
        } else {
            Scalar::Constant(1.0)
        };
        for row in &mut vector.rows {
            row.column.filter_map(|step, value| {
                // The inverse loses less: 0.1 is inexact, 10 is not.
                let inverse = 1.0 / nearest.at(step);
                Some((value * inverse + 0.5).floor() / inverse)
            });
            self.budget.work(grid.len())?;
        }
        self.drop_names(vector)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_function_of_the_table_that_maps_one_number_is_here() {
        for (name, input, output) in [
            ("sgn", -3.0, -1.0),
            ("sgn", 0.0, 0.0),
            ("deg", PI, 180.0),
            ("abs", -2.5, 2.5),
        ] {
            assert_eq!(function(name).map(|f| f(input)), Some(output), "{name}");
        }
        assert!(function("sum").is_none());
    }
}
