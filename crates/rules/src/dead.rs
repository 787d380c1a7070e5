//! Rules that can give nothing, because a selector of theirs matches no series: a misspelt name, a label that is not there.

use std::collections::BTreeSet;

use cupola_config::rules::Rule;
use cupola_model::{METRIC_NAME, MatchOp, Matcher};
use cupola_promql::{BinaryOp, DurationKind, Expr, ExprKind, Modifiers, VectorSelector};
use cupola_storage::{Queryable, Selection, StorageError};

// Series that ended no longer ago than this count as being there.
const RECENT_MS: i64 = 3_600_000;
// Names farther from what was written are no help.
const FARTHEST: usize = 3;

/// A selector that matches no series, and what may be wrong with it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeadSelector {
    /// The selector as Prometheus would print it.
    pub selector: String,
    /// What does not match: the name of a label, `__name__` for the metric's; `None` where each condition matches
    /// something for itself.
    pub label: Option<String>,
    /// What is wrong with it, for people.
    pub reason: String,
    /// The nearest value, or the nearest name of a label, that there is.
    pub nearest: Option<String>,
}

/// What of a rule matches nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeadParts {
    /// Whether the whole expression can give nothing for that.
    pub is_dead: bool,
    /// Each selector that matches no series.
    pub selectors: Vec<DeadSelector>,
}

/// Looks at which selectors of `rule` match no series of `storage` within the hour before `now` (milliseconds), or as far
/// back as they look; `made` are names of series that rules make. What stands in `absent()` is expected to match nothing.
///
/// # Errors
/// Where an index cannot be read.
pub fn dead_parts(
    storage: &dyn Queryable,
    rule: &Rule,
    made: &BTreeSet<String>,
    now: i64,
) -> Result<DeadParts, StorageError> {
    let mut look = Look {
        storage,
        made,
        now,
        found: Vec::new(),
    };
    let gives = look.gives(&rule.expr, 0)?;
    Ok(DeadParts {
        is_dead: !gives,
        selectors: look.found,
    })
}

struct Look<'a> {
    storage: &'a dyn Queryable,
    made: &'a BTreeSet<String>,
    now: i64,
    found: Vec<DeadSelector>,
}

impl Look<'_> {
    // Whether the expression can give anything. `back_ms` is how far back what is around it looks.
    fn gives(&mut self, expr: &Expr, back_ms: i64) -> Result<bool, StorageError> {
        Ok(match &expr.kind {
            ExprKind::Number(_) | ExprKind::String(_) => true,
            ExprKind::VectorSelector(selector) => self.selects(selector, back_ms)?,
            ExprKind::MatrixSelector { selector, range, .. } => {
                self.selects(selector, back_ms.saturating_add(literal(&range.kind)))?
            }
            ExprKind::Subquery(subquery) => {
                let back_ms = back_ms.saturating_add(literal(&subquery.range.kind));
                self.gives(&subquery.expr, back_ms.saturating_add(back(&subquery.modifiers)))?
            }
            ExprKind::Unary { expr, .. } | ExprKind::Paren(expr) => self.gives(expr, back_ms)?,
            ExprKind::Aggregate(aggregate) => self.gives(&aggregate.expr, back_ms)?,
            ExprKind::Call(call) => {
                if matches!(call.function.name, "absent" | "absent_over_time") {
                    return Ok(true);
                }
                let mut gives = true;
                for arg in call.args.iter() {
                    gives &= self.gives(arg, back_ms)?;
                }
                // A vector of a scalar that is not there is NaN.
                gives || matches!(call.function.name, "scalar" | "vector")
            }
            ExprKind::Binary(binary) => {
                let (lhs, rhs) = (self.gives(&binary.lhs, back_ms)?, self.gives(&binary.rhs, back_ms)?);
                let has_fill = binary
                    .matching
                    .as_ref()
                    .is_some_and(|matching| matching.fill_left.is_some() || matching.fill_right.is_some());
                match binary.op {
                    BinaryOp::Or => lhs || rhs,
                    BinaryOp::Unless => lhs,
                    _ if has_fill => lhs || rhs,
                    _ => lhs && rhs,
                }
            }
        })
    }

    fn has(&self, matchers: &[Matcher], back_ms: i64) -> Result<bool, StorageError> {
        let selection = Selection {
            matchers,
            mint: self.now.saturating_sub(back_ms.max(RECENT_MS)),
            maxt: i64::MAX,
        };
        Ok(!self.storage.select(&selection)?.is_empty())
    }

    fn selects(&mut self, selector: &VectorSelector, back_ms: i64) -> Result<bool, StorageError> {
        let back_ms = back_ms.saturating_add(back(&selector.modifiers));
        if selector.modifiers.at.is_some() || self.has(&selector.matchers, back_ms)? {
            return Ok(true);
        }
        let name = selector.matchers.iter().find(|matcher| matcher.name() == METRIC_NAME);
        if name.is_some_and(|name| {
            self.made.iter().any(|made| name.matches(made))
                || name.matches("ALERTS")
                || name.matches("ALERTS_FOR_STATE")
        }) {
            // A rule makes it, perhaps not yet.
            return Ok(true);
        }
        let dead = self.explain(selector, back_ms)?;
        if !self.found.contains(&dead) {
            self.found.push(dead);
        }
        Ok(false)
    }

    // Which condition is to blame: the metric's name first, then each that leaves nothing of what the others match.
    fn explain(&self, selector: &VectorSelector, back_ms: i64) -> Result<DeadSelector, StorageError> {
        let text = selector.to_string();
        let told = |label: Option<&str>, reason: String, nearest: Option<String>| DeadSelector {
            selector: text.clone(),
            label: label.map(str::to_owned),
            reason,
            nearest,
        };
        let (names, others): (Vec<&Matcher>, Vec<&Matcher>) = selector
            .matchers
            .iter()
            .partition(|matcher| matcher.name() == METRIC_NAME);
        let names: Vec<Matcher> = names.into_iter().cloned().collect();
        if !names.is_empty() && !self.has(&names, back_ms)? {
            let wanted = names.iter().find(|matcher| matcher.op() == MatchOp::Equal);
            let nearest = match wanted {
                Some(matcher) => nearest(matcher.value(), &self.values(METRIC_NAME, &[], back_ms)?),
                None => None,
            };
            let reason = match wanted {
                Some(matcher) => format!("there is no metric {}", matcher.value()),
                None => "no metric has such a name".to_owned(),
            };
            return Ok(told(Some(METRIC_NAME), reason, nearest));
        }
        for blamed in others {
            let rest: Vec<Matcher> = selector
                .matchers
                .iter()
                .filter(|matcher| *matcher != blamed)
                .cloned()
                .collect();
            if !self.has(&rest, back_ms)? {
                continue;
            }
            let label = blamed.name();
            let values = self.values(label, &rest, back_ms)?;
            if values.is_empty() {
                let selection = Selection {
                    matchers: &rest,
                    mint: self.now.saturating_sub(back_ms.max(RECENT_MS)),
                    maxt: i64::MAX,
                };
                let labels = self.storage.label_names(&selection)?;
                return Ok(told(
                    Some(label),
                    format!("no series has the label {label}"),
                    nearest(label, &labels),
                ));
            }
            let near = (blamed.op() == MatchOp::Equal)
                .then(|| nearest(blamed.value(), &values))
                .flatten();
            return Ok(told(
                Some(label),
                format!("no series has a label that matches {blamed}"),
                near,
            ));
        }
        Ok(told(
            None,
            "each of its conditions matches series, but none matches all of them".to_owned(),
            None,
        ))
    }

    fn values(&self, label: &str, matchers: &[Matcher], back_ms: i64) -> Result<Vec<String>, StorageError> {
        let selection = Selection {
            matchers,
            mint: self.now.saturating_sub(back_ms.max(RECENT_MS)),
            maxt: i64::MAX,
        };
        self.storage.label_values(label, &selection)
    }
}

fn back(modifiers: &Modifiers) -> i64 {
    modifiers
        .offset
        .as_ref()
        .map_or(0, |offset| literal(&offset.kind))
        .max(0)
}

fn literal(duration: &DurationKind) -> i64 {
    match duration {
        DurationKind::Literal(ms) => *ms,
        // One that is computed: a day will do.
        _ => 24 * 3_600_000,
    }
}

// The name that differs least; `None` where all differ much.
fn nearest(wanted: &str, all: &[String]) -> Option<String> {
    let close = all.iter().map(|name| (distance(wanted, name), name));
    let close = close.filter(|(distance, _)| *distance <= FARTHEST.min(wanted.chars().count() / 2));
    close.min().map(|(_, name)| name.clone())
}

// How many letters are to be put in, taken out or changed; more than `FARTHEST` where the lengths differ by more.
fn distance(a: &str, b: &str) -> usize {
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().collect(), b.chars().collect());
    if a.len().abs_diff(b.len()) > FARTHEST {
        return FARTHEST + 1;
    }
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.iter().enumerate() {
        let mut before = i;
        let mut left = i + 1;
        for (y, cell) in b.iter().zip(row.iter_mut().skip(1)) {
            let here = (before + usize::from(x != y)).min(left + 1).min(*cell + 1);
            before = std::mem::replace(cell, here);
            left = here;
        }
        if let Some(first) = row.first_mut() {
            *first = i + 1;
        }
    }
    row.last().copied().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use cupola_config::parse_rules;
    use cupola_config::rules::RuleOptions;
    use cupola_engine::script::{MemoryStore, parse_labels};
    use cupola_storage::SampleValue;

    use super::*;

    const NOW: i64 = 10_000_000;

    #[track_caller]
    fn check(expr: &str, is_dead: bool, expected: &[&str]) {
        let mut store = MemoryStore::default();
        for series in [
            "http_requests_total{job=\"api\",code=\"200\"}",
            "http_requests_total{job=\"web\",code=\"500\"}",
            "up{job=\"api\"}",
        ] {
            let (labels, _) = parse_labels(series).unwrap();
            store.push(&labels, NOW, SampleValue::Float(1.0));
        }
        let text = format!("groups: [{{name: g, rules: [{{alert: A, expr: '{expr}'}}]}}]");
        let file = parse_rules(&text, std::path::Path::new("r.yml"), RuleOptions::default()).unwrap();
        let made = BTreeSet::from(["job:sum".to_owned()]);
        let parts = dead_parts(&store, &file.groups[0].rules[0], &made, NOW).unwrap();
        let told: Vec<String> = parts
            .selectors
            .iter()
            .map(|dead| {
                format!(
                    "{}: {} ({})",
                    dead.selector,
                    dead.reason,
                    dead.nearest.as_deref().unwrap_or("-")
                )
            })
            .collect();
        assert_eq!(
            (
                parts.is_dead,
                told.iter().map(String::as_str).collect::<Vec<_>>().as_slice()
            ),
            (is_dead, expected)
        );
    }

    #[test]
    fn a_misspelt_name_is_told_with_the_nearest() {
        check(
            "rate(http_request_total[5m]) > 1",
            true,
            &["http_request_total: there is no metric http_request_total (http_requests_total)"],
        );
        check(
            "nothing_like_it",
            true,
            &["nothing_like_it: there is no metric nothing_like_it (-)"],
        );
        check(
            "http_requests_total{job=\"apo\"}",
            true,
            &["http_requests_total{job=\"apo\"}: no series has a label that matches job=\"apo\" (api)"],
        );
        check(
            "http_requests_total{jub=\"api\"}",
            true,
            &["http_requests_total{jub=\"api\"}: no series has the label jub (job)"],
        );
        check(
            "http_requests_total{job=\"api\",code=\"500\"}",
            true,
            &["http_requests_total{code=\"500\",job=\"api\"}: no series has a label that matches job=\"api\" (-)"],
        );
    }

    #[test]
    fn what_can_give_something_is_alive() {
        check("up == 0 or upp", false, &["upp: there is no metric upp (up)"]);
        check("up unless upp", false, &["upp: there is no metric upp (up)"]);
        check("up * upp", true, &["upp: there is no metric upp (up)"]);
        check("absent(upp) or vector(1)", false, &[]);
        check("job:sum > 1 and on() up", false, &[]);
        check("ALERTS{alertname=\"A\"}", false, &[]);
        check("sum(up) - 1 > 0", false, &[]);
    }
}
