//! Function calls.

use std::collections::BTreeMap;

use cupola_goregex::Regex;
use cupola_model::{Labels, METRIC_NAME, MatchOp};
use cupola_promql::{Call, Expr, ExprKind, ValueType};

use super::eval::{Oracle, Outcome, Row, Value, bare, keep_labels, unique, with_label, without_name};
use super::numbers::{ascending, descending};
use super::windows::over_window;

impl Oracle<'_> {
    pub fn call(&self, call: &Call, t: i64) -> Outcome<Value> {
        let name = call.function.name;
        let rows = match name {
            "time" => return Ok(Value::Scalar(t as f64 / 1000.0)),
            "pi" => return Ok(Value::Scalar(std::f64::consts::PI)),
            "scalar" => {
                let rows = self.argument_vector(call, 0, t)?;
                let only = if let [(_, value)] = rows.as_slice() {
                    *value
                } else {
                    f64::NAN
                };
                return Ok(Value::Scalar(only));
            }
            "vector" => vec![(Labels::empty(), self.scalar(&call.args[0], t)?)],
            "absent" => {
                let rows = self.argument_vector(call, 0, t)?;
                self.absence(&call.args[0], rows.is_empty())
            }
            "absent_over_time" => {
                let windows = self.windows(&call.args[0], t)?;
                self.absence(&call.args[0], windows.series.is_empty())
            }
            "timestamp" => unique(self.timestamps(&call.args[0], t)?)?,
            "histogram_quantile" => {
                let q = self.scalar(&call.args[0], t)?;
                histogram_quantile(q, self.argument_vector(call, 1, t)?)
            }
            "label_replace" => self.label_replace(call, t)?,
            "label_join" => self.label_join(call, t)?,
            "sort" | "sort_desc" => {
                let mut rows = self.argument_vector(call, 0, t)?;
                let order = if name == "sort" { ascending } else { descending };
                rows.sort_by(|a, b| order(a.1, b.1));
                rows
            }
            "hour" | "minute" | "month" | "year" | "day_of_month" | "day_of_week" | "day_of_year" | "days_in_month" => {
                let rows = match call.args.first() {
                    Some(arg) => self.vector(arg, t)?,
                    None => vec![(Labels::empty(), t as f64 / 1000.0)],
                };
                unique(each(rows, |value| calendar(name, value as i64)))?
            }
            _ if call.function.args.contains(&ValueType::Matrix) => self.window_call(call, t)?,
            _ => {
                let rows = self.argument_vector(call, 0, t)?;
                let mut numbers = Vec::new();
                for arg in call.args.iter().skip(1) {
                    numbers.push(self.scalar(arg, t)?);
                }
                let rows = rows
                    .into_iter()
                    .filter_map(|(labels, value)| Some((without_name(&labels), number_call(name, value, &numbers)?)));
                unique(rows.collect())?
            }
        };
        Ok(Value::Vector(rows))
    }

    fn window_call(&self, call: &Call, t: i64) -> Outcome<Vec<Row>> {
        let name = call.function.name;
        let at = usize::from(name == "quantile_over_time");
        let windows = self.windows(&call.args[at], t)?;
        let mut numbers = [0.0, 0.0];
        let others = call.args.iter().enumerate().filter(|(index, _)| *index != at);
        for (number, (_, arg)) in numbers.iter_mut().zip(others) {
            *number = self.scalar(arg, t)?;
        }
        let keeps_name = matches!(name, "first_over_time" | "last_over_time");
        let mut rows = Vec::new();
        for window in &windows.series {
            let value = over_window(name, &window.points, &windows, t, numbers[0], numbers[1]);
            if let Some(value) = value {
                let labels = if keeps_name {
                    window.labels.clone()
                } else {
                    without_name(&window.labels)
                };
                rows.push((labels, value));
            }
        }
        unique(rows)
    }

    // 1 where there is nothing, with the labels that the selector asked for.
    fn absence(&self, arg: &Expr, nothing: bool) -> Vec<Row> {
        if !nothing {
            return Vec::new();
        }
        let selector = match &bare(arg).kind {
            ExprKind::VectorSelector(selector) | ExprKind::MatrixSelector { selector, .. } => selector,
            _ => return vec![(Labels::empty(), 1.0)],
        };
        let mut labels: BTreeMap<&str, &str> = BTreeMap::new();
        for matcher in &selector.matchers {
            let same = selector.matchers.iter().filter(|m| m.name() == matcher.name()).count();
            if matcher.name() != METRIC_NAME && matcher.op() == MatchOp::Equal && same == 1 {
                labels.insert(matcher.name(), matcher.value());
            }
        }
        vec![(Labels::from_pairs(labels), 1.0)]
    }

    // Of a plain selector the samples' own times, of anything else the time of evaluation.
    fn timestamps(&self, arg: &Expr, t: i64) -> Outcome<Vec<Row>> {
        if let ExprKind::VectorSelector(selector) = &bare(arg).kind {
            let newest = self.newest(selector, t).into_iter();
            return Ok(newest
                .map(|(labels, (at, _))| (without_name(&labels), at as f64 / 1000.0))
                .collect());
        }
        Ok(each(self.vector(arg, t)?, |_| t as f64 / 1000.0))
    }

    fn label_replace(&self, call: &Call, t: i64) -> Outcome<Vec<Row>> {
        let rows = self.argument_vector(call, 0, t)?;
        let [to, replacement, from, pattern] = [1, 2, 3, 4].map(|index| text(&call.args[index]));
        let regex = Regex::anchored(pattern).expect("the generator writes valid patterns");
        let replaced = rows.into_iter().map(|(labels, value)| {
            let Some(captures) = regex.captures(labels.get(from).unwrap_or("")) else {
                return (labels, value);
            };
            let mut new = String::new();
            captures.expand(replacement, &mut new);
            (with_label(&labels, to, &new), value)
        });
        unique(replaced.collect())
    }

    fn label_join(&self, call: &Call, t: i64) -> Outcome<Vec<Row>> {
        let rows = self.argument_vector(call, 0, t)?;
        let (to, separator) = (text(&call.args[1]), text(&call.args[2]));
        let joined = rows.into_iter().map(|(labels, value)| {
            let parts: Vec<&str> = call.args[3..]
                .iter()
                .map(|arg| labels.get(text(arg)).unwrap_or(""))
                .collect();
            (with_label(&labels, to, &parts.join(separator)), value)
        });
        unique(joined.collect())
    }
}

fn text(expr: &Expr) -> &str {
    match &bare(expr).kind {
        ExprKind::String(text) => text,
        other => panic!("not a text: {other:?}"),
    }
}

fn each(rows: Vec<Row>, function: impl Fn(f64) -> f64) -> Vec<Row> {
    rows.into_iter()
        .map(|(labels, value)| (without_name(&labels), function(value)))
        .collect()
}

fn number_call(name: &str, value: f64, numbers: &[f64]) -> Option<f64> {
    let number = |index: usize| numbers.get(index).copied();
    // Of Go's Max and Min, infinity beats NaN.
    let low = |value: f64, bound: f64| match () {
        () if value == f64::INFINITY || bound == f64::INFINITY => f64::INFINITY,
        () if value.is_nan() || bound.is_nan() => f64::NAN,
        () => value.max(bound),
    };
    let high = |value: f64, bound: f64| -low(-value, -bound);
    Some(match name {
        "abs" => value.abs(),
        "ceil" => value.ceil(),
        "floor" => value.floor(),
        "exp" => value.exp(),
        "sqrt" => value.sqrt(),
        "ln" => value.ln(),
        "log2" => value.log2(),
        "log10" => value.log10(),
        "sin" => value.sin(),
        "cos" => value.cos(),
        "tan" => value.tan(),
        "asin" => value.asin(),
        "acos" => value.acos(),
        "atan" => value.atan(),
        "sinh" => value.sinh(),
        "cosh" => value.cosh(),
        "tanh" => value.tanh(),
        "asinh" => value.asinh(),
        "acosh" => value.acosh(),
        "atanh" => value.atanh(),
        "rad" => value * std::f64::consts::PI / 180.0,
        "deg" => value * 180.0 / std::f64::consts::PI,
        "sgn" if value > 0.0 => 1.0,
        "sgn" if value < 0.0 => -1.0,
        "sgn" => value,
        "clamp_min" => low(value, number(0)?),
        "clamp_max" => high(value, number(0)?),
        "clamp" if number(1)? < number(0)? => return None,
        "clamp" => low(high(value, number(1)?), number(0)?),
        "round" => {
            let inverse = 1.0 / number(0).unwrap_or(1.0);
            (value * inverse + 0.5).floor() / inverse
        }
        other => panic!("the generator writes no {other}()"),
    })
}

// Years and months are counted off one by one from 1970 on.
fn calendar(name: &str, seconds: i64) -> f64 {
    let day_seconds = 86_400;
    let is_leap = |year: i64| year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    let days_of = |year: i64, month: usize| match month {
        2 if is_leap(year) => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    };
    let year_days = |year: i64| if is_leap(year) { 366 } else { 365 };
    let (mut year, mut day_of_year) = (1970, seconds.div_euclid(day_seconds));
    while day_of_year >= year_days(year) {
        day_of_year -= year_days(year);
        year += 1;
    }
    let (mut month, mut day) = (1, day_of_year);
    while day >= days_of(year, month) {
        day -= days_of(year, month);
        month += 1;
    }
    let of_day = seconds.rem_euclid(day_seconds);
    let value = match name {
        "hour" => of_day / 3600,
        "minute" => of_day / 60 % 60,
        "month" => month as i64,
        "year" => year,
        "day_of_month" => day + 1,
        // 1970 began on a Thursday.
        "day_of_week" => (seconds.div_euclid(day_seconds) + 4).rem_euclid(7),
        "day_of_year" => day_of_year + 1,
        _ => days_of(year, month),
    };
    value as f64
}

fn histogram_quantile(q: f64, rows: Vec<Row>) -> Vec<Row> {
    let mut histograms: BTreeMap<Labels, Vec<(f64, f64)>> = BTreeMap::new();
    for (labels, value) in rows {
        let bound = match labels.get("le") {
            Some("+Inf") => f64::INFINITY,
            Some(le) => match le.parse() {
                Ok(bound) => bound,
                Err(_) => continue,
            },
            None => continue,
        };
        let rest = keep_labels(&labels, |name| name != "le" && name != METRIC_NAME);
        histograms.entry(rest).or_default().push((bound, value));
    }
    let quantiles = histograms
        .into_iter()
        .map(|(labels, buckets)| (labels, bucket_quantile(q, buckets)));
    quantiles.collect()
}

fn bucket_quantile(q: f64, mut buckets: Vec<(f64, f64)>) -> f64 {
    if q.is_nan() {
        return f64::NAN;
    }
    if q < 0.0 {
        return f64::NEG_INFINITY;
    }
    if q > 1.0 {
        return f64::INFINITY;
    }
    buckets.sort_by(|a, b| a.0.total_cmp(&b.0));
    if buckets.last().is_none_or(|(bound, _)| *bound != f64::INFINITY) {
        return f64::NAN;
    }
    // Equal bounds (`1` and `1.0`) are one bucket.
    let mut merged: Vec<(f64, f64)> = Vec::new();
    for (bound, count) in buckets {
        match merged.last_mut() {
            Some(last) if last.0 == bound => last.1 += count,
            _ => merged.push((bound, count)),
        }
    }
    if merged.len() < 2 {
        return f64::NAN;
    }
    // Counts never fall; a tiny rise is noise of floating point.
    let mut before = merged[0].1;
    for (_, count) in &mut merged[1..] {
        let noise = (*count - before).abs() / (count.abs() + before.abs()) < 1e-12;
        if *count < before || noise {
            *count = before;
        }
        before = *count;
    }
    let all = merged[merged.len() - 1].1;
    if all == 0.0 {
        return f64::NAN;
    }
    let rank = q * all;
    let last = merged.len() - 1;
    let found = merged[..last]
        .iter()
        .position(|(_, count)| *count >= rank)
        .unwrap_or(last);
    if found == last {
        return merged[last - 1].0;
    }
    if found == 0 && merged[0].0 <= 0.0 {
        return merged[0].0;
    }
    let (low, below) = if found == 0 { (0.0, 0.0) } else { merged[found - 1] };
    let (high, count) = merged[found];
    low + (high - low) * ((rank - below) / (count - below))
}
