//! The table of functions: names and argument types (Prometheus 3.14).

use crate::ValueType;

/// One function's signature.
#[derive(Debug, PartialEq, Eq)]
pub struct Function {
    /// The name as written.
    pub name: &'static str,
    /// Argument types; where `variadic` is not 0 the last one may be missing and may repeat.
    pub args: &'static [ValueType],
    /// 0: exactly the arguments of `args`. n > 0: all but the last, then up to n of the last one's type. -1: all but
    /// the last, then any number of the last one's type.
    pub variadic: i32,
    /// What it returns.
    pub returns: ValueType,
    /// Whether it is behind the feature flag promql-experimental-functions.
    pub experimental: bool,
}

impl Function {
    /// The fewest arguments a call may have.
    #[must_use]
    pub fn min_args(&self) -> usize {
        if self.variadic == 0 {
            self.args.len()
        } else {
            self.args.len().saturating_sub(1)
        }
    }

    /// The most arguments a call may have; `None` where there is no limit.
    #[must_use]
    pub fn max_args(&self) -> Option<usize> {
        match usize::try_from(self.variadic) {
            Ok(0) => Some(self.args.len()),
            Ok(more) => Some(self.min_args() + more),
            Err(_) => None,
        }
    }

    /// The type of the argument at `index`, counted from 0; repeated ones have the last type.
    #[must_use]
    pub fn arg_type(&self, index: usize) -> Option<ValueType> {
        self.args
            .get(index)
            .or_else(|| self.args.last().filter(|_| self.variadic != 0))
            .copied()
    }
}

/// The function called `name`.
#[must_use]
pub fn function(name: &str) -> Option<&'static Function> {
    FUNCTIONS
        .binary_search_by(|f| f.name.cmp(name))
        .ok()
        .and_then(|at| FUNCTIONS.get(at))
}

use ValueType::{Matrix as M, Scalar as S, String as T, Vector as V};

macro_rules! functions {
    ($($name:literal ( $($arg:ident),* ) $variadic:literal -> $ret:ident $($exp:ident)?;)*) => {
        &[$(Function {
            name: $name,
            args: &[$($arg),*],
            variadic: $variadic,
            returns: $ret,
            experimental: functions!(@exp $($exp)?),
        }),*]
    };
    (@exp) => { false };
    (@exp experimental) => { true };
}

/// All functions, ascending by name.
pub static FUNCTIONS: &[Function] = functions! {
    "abs"(V) 0 -> V;
    "absent"(V) 0 -> V;
    "absent_over_time"(M) 0 -> V;
    "acos"(V) 0 -> V;
    "acosh"(V) 0 -> V;
    "asin"(V) 0 -> V;
    "asinh"(V) 0 -> V;
    "atan"(V) 0 -> V;
    "atanh"(V) 0 -> V;
    "avg_over_time"(M) 0 -> V;
    "ceil"(V) 0 -> V;
    "changes"(M) 0 -> V;
    "clamp"(V, S, S) 0 -> V;
    "clamp_max"(V, S) 0 -> V;
    "clamp_min"(V, S) 0 -> V;
    "cos"(V) 0 -> V;
    "cosh"(V) 0 -> V;
    "count_over_time"(M) 0 -> V;
    "day_of_month"(V) 1 -> V;
    "day_of_week"(V) 1 -> V;
    "day_of_year"(V) 1 -> V;
    "days_in_month"(V) 1 -> V;
    "deg"(V) 0 -> V;
    "delta"(M) 0 -> V;
    "deriv"(M) 0 -> V;
    "double_exponential_smoothing"(M, S, S) 0 -> V experimental;
    "end"() 0 -> S experimental;
    "exp"(V) 0 -> V;
    "first_over_time"(M) 0 -> V;
    "floor"(V) 0 -> V;
    "histogram_avg"(V) 0 -> V;
    "histogram_count"(V) 0 -> V;
    "histogram_fraction"(S, S, V) 0 -> V;
    "histogram_quantile"(S, V) 0 -> V;
    "histogram_quantiles"(V, T, S, S) 9 -> V experimental;
    "histogram_stddev"(V) 0 -> V;
    "histogram_stdvar"(V) 0 -> V;
    "histogram_sum"(V) 0 -> V;
    "hour"(V) 1 -> V;
    "idelta"(M) 0 -> V;
    "increase"(M) 0 -> V;
    "info"(V, V) 1 -> V experimental;
    "irate"(M) 0 -> V;
    "label_join"(V, T, T, T) -1 -> V;
    "label_replace"(V, T, T, T, T) 0 -> V;
    "last_over_time"(M) 0 -> V;
    "ln"(V) 0 -> V;
    "log10"(V) 0 -> V;
    "log2"(V) 0 -> V;
    "mad_over_time"(M) 0 -> V experimental;
    "max_of"(S, S) 0 -> S experimental;
    "max_over_time"(M) 0 -> V;
    "min_of"(S, S) 0 -> S experimental;
    "min_over_time"(M) 0 -> V;
    "minute"(V) 1 -> V;
    "month"(V) 1 -> V;
    "pi"() 0 -> S;
    "predict_linear"(M, S) 0 -> V;
    "present_over_time"(M) 0 -> V;
    "quantile_over_time"(S, M) 0 -> V;
    "rad"(V) 0 -> V;
    "range"() 0 -> S experimental;
    "rate"(M) 0 -> V;
    "resets"(M) 0 -> V;
    "round"(V, S) 1 -> V;
    "scalar"(V) 0 -> S;
    "sgn"(V) 0 -> V;
    "sin"(V) 0 -> V;
    "sinh"(V) 0 -> V;
    "sort"(V) 0 -> V;
    "sort_by_label"(V, T) -1 -> V experimental;
    "sort_by_label_desc"(V, T) -1 -> V experimental;
    "sort_desc"(V) 0 -> V;
    "sqrt"(V) 0 -> V;
    "start"() 0 -> S experimental;
    "start_timestamp"(V) 0 -> V experimental;
    "stddev_over_time"(M) 0 -> V;
    "stdvar_over_time"(M) 0 -> V;
    "step"() 0 -> S experimental;
    "sum_over_time"(M) 0 -> V;
    "tan"(V) 0 -> V;
    "tanh"(V) 0 -> V;
    "time"() 0 -> S;
    "timestamp"(V) 0 -> V;
    "ts_of_first_over_time"(M) 0 -> V experimental;
    "ts_of_last_over_time"(M) 0 -> V experimental;
    "ts_of_max_over_time"(M) 0 -> V experimental;
    "ts_of_min_over_time"(M) 0 -> V experimental;
    "vector"(S) 0 -> V;
    "year"(V) 1 -> V;
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_sorted_by_name() {
        assert!(FUNCTIONS.is_sorted_by(|a, b| a.name < b.name));
    }

    #[test]
    fn calls_take_as_many_arguments_as_upstream_allows() {
        for (name, min, max) in [
            ("rate", 1, Some(1)),
            ("time", 0, Some(0)),
            ("hour", 0, Some(1)),
            ("round", 1, Some(2)),
            ("label_join", 3, None),
            ("sort_by_label", 1, None),
            ("histogram_quantiles", 3, Some(12)),
        ] {
            let found = function(name).unwrap();
            assert_eq!((found.min_args(), found.max_args()), (min, max), "{name}");
        }
        assert_eq!(function("label_join").unwrap().arg_type(7), Some(ValueType::String));
        assert_eq!(function("abs").unwrap().arg_type(1), None);
        assert_eq!(function("nope"), None);
    }
}
