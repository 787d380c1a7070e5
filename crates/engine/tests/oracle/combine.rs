//! Aggregations and operators.

use std::collections::{BTreeMap, HashMap, HashSet};

use cupola_model::{Labels, METRIC_NAME};
use cupola_promql::{Aggregate, AggregateOp, Binary, BinaryOp, ExprKind, MatchCard, VectorMatching};

use super::eval::{Oracle, Outcome, Row, Value, bare, keep_labels, unique, with_label, without_name};
use super::numbers::{Compensated, ascending, descending, mean, quantile, variance};

impl Oracle<'_> {
    pub fn aggregate(&self, aggregate: &Aggregate, t: i64) -> Outcome<Vec<Row>> {
        let rows = self.vector(&aggregate.expr, t)?;
        let mut grouping = aggregate.grouping.clone();
        let rows = match (aggregate.op, &aggregate.param) {
            (AggregateOp::CountValues, Some(param)) => {
                let ExprKind::String(label) = &bare(param).kind else {
                    panic!("count_values takes a text")
                };
                if !aggregate.without {
                    grouping.push(label.clone());
                }
                let named = rows.into_iter();
                named
                    .map(|(labels, value)| (with_label(&labels, label, &plain(value)), value))
                    .collect()
            }
            _ => rows,
        };
        let param = match (aggregate.op, &aggregate.param) {
            (AggregateOp::CountValues, _) | (_, None) => 0.0,
            (_, Some(param)) => self.scalar(param, t)?,
        };
        if matches!(aggregate.op, AggregateOp::Topk | AggregateOp::Bottomk) {
            check_count(param)?;
        }
        let mut groups: BTreeMap<Labels, Vec<Row>> = BTreeMap::new();
        for row in rows {
            let listed = |name: &str| grouping.iter().any(|label| label == name);
            let key = keep_labels(&row.0, |name| {
                if aggregate.without {
                    name != METRIC_NAME && !listed(name)
                } else {
                    listed(name)
                }
            });
            groups.entry(key).or_default().push(row);
        }
        let mut out = Vec::new();
        for (labels, mut rows) in groups {
            let values: Vec<f64> = rows.iter().map(|(_, value)| *value).collect();
            let count = values.len() as f64;
            let value = match aggregate.op {
                AggregateOp::Sum => {
                    let rest = values.iter().copied().skip(1);
                    rest.fold(Compensated::new(values[0]), Compensated::plus).total()
                }
                AggregateOp::Avg => mean(&values),
                AggregateOp::Min => values.iter().copied().fold(f64::NAN, f64::min),
                AggregateOp::Max => values.iter().copied().fold(f64::NAN, f64::max),
                AggregateOp::Count | AggregateOp::CountValues => count,
                AggregateOp::Group => 1.0,
                AggregateOp::Stddev => variance(&values).sqrt(),
                AggregateOp::Stdvar => variance(&values),
                AggregateOp::Quantile => quantile(param, values),
                AggregateOp::Topk | AggregateOp::Bottomk => {
                    let order = if aggregate.op == AggregateOp::Topk {
                        descending
                    } else {
                        ascending
                    };
                    rows.sort_by(|a, b| order(a.1, b.1));
                    rows.truncate(if param < 1.0 { 0 } else { param as usize });
                    out.extend(rows);
                    continue;
                }
                AggregateOp::Limitk | AggregateOp::LimitRatio => panic!("the generator writes no limits"),
            };
            out.push((labels, value));
        }
        Ok(out)
    }

    pub fn binary(&self, binary: &Binary, t: i64) -> Outcome<Value> {
        let lhs = self.eval(&binary.lhs, t)?;
        let rhs = self.eval(&binary.rhs, t)?;
        let keeps_name = binary.op.is_comparison() && !binary.return_bool;
        Ok(match (lhs, rhs) {
            (Value::Scalar(a), Value::Scalar(b)) => Value::Scalar(match compared(binary.op, a, b) {
                Some(holds) => f64::from(u8::from(holds)),
                None => computed(binary.op, a, b),
            }),
            (Value::Vector(rows), Value::Scalar(number)) => {
                let with = |value| (value, number);
                Value::Vector(self.with_scalar(binary, rows, keeps_name, with)?)
            }
            (Value::Scalar(number), Value::Vector(rows)) => {
                let with = |value| (number, value);
                Value::Vector(self.with_scalar(binary, rows, keeps_name, with)?)
            }
            (Value::Vector(lhs), Value::Vector(rhs)) => {
                let matching = binary.matching.as_ref().expect("two vectors are matched");
                if binary.op.is_set() {
                    Value::Vector(set(binary.op, matching, lhs, rhs))
                } else {
                    Value::Vector(unique(matched(binary, matching, lhs, rhs)?)?)
                }
            }
            other => panic!("the parser lets no such operands through: {other:?}"),
        })
    }

    fn with_scalar(
        &self,
        binary: &Binary,
        rows: Vec<Row>,
        keeps_name: bool,
        operands: impl Fn(f64) -> (f64, f64),
    ) -> Outcome<Vec<Row>> {
        let mut out = Vec::new();
        for (labels, value) in rows {
            let (a, b) = operands(value);
            let Some(value) = result(binary, a, b, value) else {
                continue;
            };
            let labels = if keeps_name { labels } else { without_name(&labels) };
            out.push((labels, value));
        }
        unique(out)
    }
}

// Told whether or not there is anything to pick from.
fn check_count(k: f64) -> Outcome<()> {
    let limit = i64::MAX as f64;
    if k.is_nan() {
        Err("Parameter value is NaN".to_owned())
    } else if k >= limit {
        Err("Scalar value overflows int64".to_owned())
    } else {
        Ok(())
    }
}

// The value of a pair; `kept` is what a comparison that filters lets through.
fn result(binary: &Binary, a: f64, b: f64, kept: f64) -> Option<f64> {
    match compared(binary.op, a, b) {
        None => Some(computed(binary.op, a, b)),
        Some(holds) if binary.return_bool => Some(f64::from(u8::from(holds))),
        Some(holds) => holds.then_some(kept),
    }
}

fn compared(op: BinaryOp, a: f64, b: f64) -> Option<bool> {
    Some(match op {
        BinaryOp::Eq => a == b,
        BinaryOp::Ne => a != b,
        BinaryOp::Lt => a < b,
        BinaryOp::Le => a <= b,
        BinaryOp::Gt => a > b,
        BinaryOp::Ge => a >= b,
        _ => return None,
    })
}

fn computed(op: BinaryOp, a: f64, b: f64) -> f64 {
    match op {
        BinaryOp::Add => a + b,
        BinaryOp::Sub => a - b,
        BinaryOp::Mul => a * b,
        BinaryOp::Div => a / b,
        BinaryOp::Mod => a % b,
        BinaryOp::Pow => a.powf(b),
        BinaryOp::Atan2 => a.atan2(b),
        other => panic!("{} computes nothing", other.as_str()),
    }
}

// What two series must share to be matched.
fn signature(matching: &VectorMatching, labels: &Labels) -> Labels {
    let listed = |name: &str| matching.labels.iter().any(|label| label == name);
    keep_labels(labels, |name| {
        if matching.on {
            listed(name)
        } else {
            name != METRIC_NAME && !listed(name)
        }
    })
}

fn set(op: BinaryOp, matching: &VectorMatching, lhs: Vec<Row>, rhs: Vec<Row>) -> Vec<Row> {
    let signatures =
        |rows: &[Row]| -> HashSet<Labels> { rows.iter().map(|(labels, _)| signature(matching, labels)).collect() };
    let (left, right) = (signatures(&lhs), signatures(&rhs));
    match op {
        BinaryOp::And => only(lhs, |labels| right.contains(&signature(matching, labels))),
        BinaryOp::Unless => only(lhs, |labels| !right.contains(&signature(matching, labels))),
        _ => {
            let more = only(rhs, |labels| !left.contains(&signature(matching, labels)));
            lhs.into_iter().chain(more).collect()
        }
    }
}

fn only(rows: Vec<Row>, keep: impl Fn(&Labels) -> bool) -> Vec<Row> {
    rows.into_iter().filter(|(labels, _)| keep(labels)).collect()
}

fn matched(binary: &Binary, matching: &VectorMatching, lhs: Vec<Row>, rhs: Vec<Row>) -> Outcome<Vec<Row>> {
    if lhs.is_empty() || rhs.is_empty() {
        return Ok(Vec::new());
    }
    let swapped = matching.card == MatchCard::OneToMany;
    let (many, one) = if swapped { (rhs, lhs) } else { (lhs, rhs) };
    let mut partners: HashMap<Labels, Row> = HashMap::new();
    for row in one {
        if partners.insert(signature(matching, &row.0), row).is_some() {
            let side = if swapped { "left" } else { "right" };
            return Err(format!(
                "found duplicate series for the match group on the {side} hand-side"
            ));
        }
    }
    let mut matched_once = HashSet::new();
    let mut out = Vec::new();
    for (labels, value) in many {
        let group = signature(matching, &labels);
        let Some((one_labels, one_value)) = partners.get(&group) else {
            continue;
        };
        let mut result_labels = if binary.op.is_comparison() && !binary.return_bool {
            labels.clone()
        } else {
            without_name(&labels)
        };
        if matching.card == MatchCard::OneToOne {
            let listed = |name: &str| matching.labels.iter().any(|label| label == name);
            result_labels = keep_labels(&result_labels, |name| listed(name) == matching.on);
            if !matched_once.insert((group, Labels::empty())) {
                return Err("multiple matches for labels: many-to-one matching must be explicit".to_owned());
            }
        } else {
            for name in &matching.include {
                result_labels = with_label(&result_labels, name, one_labels.get(name).unwrap_or(""));
            }
            // Also where a comparison then drops the pair.
            if !matched_once.insert((group, result_labels.clone())) {
                return Err("multiple matches for labels: grouping labels must ensure unique matches".to_owned());
            }
        }
        let (a, b) = if swapped {
            (*one_value, value)
        } else {
            (value, *one_value)
        };
        if let Some(value) = result(binary, a, b, a) {
            out.push((result_labels, value));
        }
    }
    Ok(out)
}

/// As `count_values` writes a number: without exponent.
fn plain(value: f64) -> String {
    if value.is_infinite() {
        return if value > 0.0 { "+Inf" } else { "-Inf" }.to_owned();
    }
    format!("{value}")
}
