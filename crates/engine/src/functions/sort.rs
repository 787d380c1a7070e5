//! `sort` and its relatives. Only instant queries keep an order.

use std::cmp::Ordering;

use cupola_promql::{Call, Expr};

use super::argument;
use crate::column::{Row, Vector};
use crate::error::QueryError;
use crate::eval::{Evaluator, text_of};
use crate::grid::Grid;

impl Evaluator<'_> {
    pub(crate) fn sort(&mut self, expr: &Expr, call: &Call, grid: Grid) -> Result<Vector, QueryError> {
        // Values of histograms have no order; labels have.
        let mut vector = match call.function.name {
            "sort" | "sort_desc" => self.floats_arg(call, grid)?,
            _ => self.vector_arg(call, 0, grid)?,
        };
        if self.plan.is_range() {
            self.notes.sort_in_range_query(expr.span);
            return Ok(vector);
        }
        match call.function.name {
            "sort" => vector.rows.sort_by(|a, b| by_value(a, b, false)),
            "sort_desc" => vector.rows.sort_by(|a, b| by_value(a, b, true)),
            name => {
                let labels = (1..call.args.len())
                    .map(|i| text_of(argument(call, i)?))
                    .collect::<Result<Vec<_>, _>>()?;
                let order = |a: &Row, b: &Row| {
                    let values = |label: &&str| natural(a.labels.value(label), b.labels.value(label));
                    let first = labels.iter().map(values).find(|order| order.is_ne());
                    first.unwrap_or_else(|| a.labels.cmp(&b.labels))
                };
                if name == "sort_by_label" {
                    vector.rows.sort_by(order);
                } else {
                    vector.rows.sort_by(|a, b| order(b, a));
                }
            }
        }
        vector.ordered = true;
        Ok(vector)
    }
}

/// By the value at the first step, NaN last either way; equal values by labels.
pub(crate) fn by_value(a: &Row, b: &Row, descending: bool) -> Ordering {
    let (x, y) = (a.column.get(0).unwrap_or(f64::NAN), b.column.get(0).unwrap_or(f64::NAN));
    compare_values(x, y, descending).then_with(|| a.labels.cmp(&b.labels))
}

/// NaN last either way.
pub(crate) fn compare_values(x: f64, y: f64, descending: bool) -> Ordering {
    match x.partial_cmp(&y) {
        Some(order) if descending => order.reverse(),
        Some(order) => order,
        None => x.is_nan().cmp(&y.is_nan()),
    }
}

/// Runs of digits compare as numbers: `4m5` before `4m600`.
fn natural(a: &str, b: &str) -> Ordering {
    let (mut a, mut b) = (a, b);
    loop {
        match (a.is_empty(), b.is_empty()) {
            (true, true) => return Ordering::Equal,
            (true, false) => return Ordering::Less,
            (false, true) => return Ordering::Greater,
            (false, false) => {}
        }
        let ((x, rest_a), (y, rest_b)) = (chunk(a), chunk(b));
        let order = match (number(x), number(y)) {
            // Longer numbers are larger once leading zeros are gone.
            (Some(x), Some(y)) => x.len().cmp(&y.len()).then_with(|| x.cmp(y)),
            _ => x.cmp(y),
        };
        if order.is_ne() {
            return order;
        }
        (a, b) = (rest_a, rest_b);
    }
}

// The leading run of digits or of anything else.
fn chunk(text: &str) -> (&str, &str) {
    let digits = text.starts_with(|c: char| c.is_ascii_digit());
    let end = text.find(|c: char| c.is_ascii_digit() != digits).unwrap_or(text.len());
    text.split_at(end)
}

fn number(chunk: &str) -> Option<&str> {
    chunk
        .starts_with(|c: char| c.is_ascii_digit())
        .then(|| chunk.trim_start_matches('0'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digits_sort_as_numbers() {
        let mut names = ["4m1000", "4m600", "4m5", "10", "9", "1.111.3", "1.2.3", "1.11.3", "cpu"];
        names.sort_by(|a, b| natural(a, b));
        assert_eq!(
            names,
            ["1.2.3", "1.11.3", "1.111.3", "4m5", "4m600", "4m1000", "9", "10", "cpu"]
        );
    }

    #[test]
    fn nan_is_last_in_both_directions() {
        for descending in [false, true] {
            assert_eq!(compare_values(f64::NAN, 1.0, descending), Ordering::Greater);
            assert_eq!(compare_values(1.0, f64::NAN, descending), Ordering::Less);
        }
    }
}
