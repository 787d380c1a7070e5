//! In which order rules are replayed.

use std::collections::{BTreeMap, BTreeSet};

use cupola_config::rules::{Rule, RuleKind};
use cupola_model::{ALERTNAME, METRIC_NAME};
use cupola_promql::{DurationKind, Expr, ExprKind, VectorSelector};

use super::overlay::ALERT_SERIES;

/// Rules by their place in the list, and how they are to be replayed.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Stage {
    /// All steps of one, then all of the next, in any order.
    Whole(Vec<usize>),
    /// One step of all, in this order, then the next.
    Stepwise(Vec<usize>),
}

/// What is to be done for each stretch of time.
#[derive(Debug)]
pub(super) struct Plan {
    pub stages: Vec<Stage>,
    /// How far back any rule looks at the series of a name that rules make, milliseconds: what they gave before is not needed
    /// any more.
    pub keeps_ms: BTreeMap<String, i64>,
    /// Of names at which no rule looks.
    pub least_ms: i64,
}

impl Plan {
    /// The names at which rules look among those that rules make; `None` where templates may look at any.
    pub(super) fn wanted(&self) -> Option<BTreeSet<String>> {
        (self.least_ms == 0).then(|| self.keeps_ms.keys().cloned().collect())
    }
}

/// Each rule after those whose series it selects.
pub(super) fn stages(rules: &[&Rule]) -> Plan {
    let needs: Vec<BTreeSet<usize>> = rules.iter().map(|rule| needs(rule, rules)).collect();
    let mut stages = Vec::new();
    let mut left: BTreeSet<usize> = (0..rules.len()).collect();
    while !left.is_empty() {
        let open = |rule: usize| needs.get(rule).into_iter().flatten().filter(|need| left.contains(need));
        let ready: Vec<usize> = left
            .iter()
            .copied()
            .filter(|rule| open(*rule).next().is_none())
            .collect();
        let stage = if ready.is_empty() {
            // Circles: the smallest set that needs nothing but itself.
            let circle = left.iter().map(|rule| reachable(*rule, &needs, &left));
            let circle = circle.min_by_key(BTreeSet::len).unwrap_or_else(|| left.clone());
            Stage::Stepwise(circle.into_iter().collect())
        } else {
            Stage::Whole(ready)
        };
        let (Stage::Whole(done) | Stage::Stepwise(done)) = &stage;
        left.retain(|rule| !done.contains(rule));
        stages.push(stage);
    }
    let (keeps_ms, least_ms) = keeps(rules);
    Plan {
        stages,
        keeps_ms,
        least_ms,
    }
}

// One rule that looks back a month does not make the others keep theirs for a month.
fn keeps(rules: &[&Rule]) -> (BTreeMap<String, i64>, i64) {
    let recorded = rules.iter().filter_map(|rule| match &rule.kind {
        RuleKind::Recording { record } => Some(record.as_str()),
        RuleKind::Alerting { .. } => None,
    });
    let names: BTreeSet<&str> = recorded.chain(ALERT_SERIES).collect();
    let mut keeps: BTreeMap<String, i64> = BTreeMap::new();
    for rule in rules {
        let reach = reach_ms(&rule.expr);
        let selectors: Vec<&VectorSelector> = rule.expr.selectors().collect();
        for name in &names {
            if selectors.iter().any(|selector| allows(selector, METRIC_NAME, name)) {
                let kept = keeps.entry((*name).to_owned()).or_default();
                *kept = reach.max(*kept);
            }
        }
    }
    // What templates of labels ask is not known before.
    let asks = |rule: &&&Rule| rule.labels.values().any(|label| label.contains("query"));
    let least = match rules.iter().any(|rule| asks(&rule)) {
        true => rules.iter().map(|rule| reach_ms(&rule.expr)).max().unwrap_or(0),
        false => 0,
    };
    for kept in keeps.values_mut() {
        *kept = least.max(*kept);
    }
    (keeps, least)
}

// The rule and all that it needs, directly or not.
fn reachable(rule: usize, needs: &[BTreeSet<usize>], left: &BTreeSet<usize>) -> BTreeSet<usize> {
    let (mut found, mut pending) = (BTreeSet::from([rule]), vec![rule]);
    while let Some(rule) = pending.pop() {
        for need in needs.get(rule).into_iter().flatten() {
            if left.contains(need) && found.insert(*need) {
                pending.push(*need);
            }
        }
    }
    found
}

fn needs(rule: &Rule, rules: &[&Rule]) -> BTreeSet<usize> {
    let mut found = BTreeSet::new();
    for selector in rule.expr.selectors() {
        let makes = |other: &&Rule| match &other.kind {
            RuleKind::Recording { record } => allows(selector, METRIC_NAME, record),
            RuleKind::Alerting { alert, .. } => {
                ALERT_SERIES.iter().any(|name| allows(selector, METRIC_NAME, name))
                    && allows(selector, ALERTNAME, alert)
            }
        };
        found.extend(
            rules
                .iter()
                .enumerate()
                .filter(|(_, other)| makes(other))
                .map(|(at, _)| at),
        );
    }
    found
}

/// Whether a selector's conditions on `label` leave a series in with this value of it.
pub(super) fn allows(selector: &VectorSelector, label: &str, value: &str) -> bool {
    let of_label = selector.matchers.iter().filter(|matcher| matcher.name() == label);
    of_label.into_iter().all(|matcher| matcher.matches(value))
}

// How much older than the evaluation samples may be that the expression looks at: ranges, offsets and lookbacks added up,
// which is more than needed where they do not lie within each other.
fn reach_ms(expr: &Expr) -> i64 {
    // An instant selector's lookback, generously.
    const LOOKBACK_MS: i64 = 3_600_000;
    let ms = |duration: &cupola_promql::DurationExpr| match &duration.kind {
        DurationKind::Literal(ms) => ms.saturating_abs(),
        // One that is computed: as far back as there is anything.
        _ => i64::MAX / 8,
    };
    let mut all = LOOKBACK_MS;
    let mut add = |ms: i64| all = all.saturating_add(ms);
    for expr in expr.walk() {
        let modifiers = match &expr.kind {
            ExprKind::VectorSelector(selector) => &selector.modifiers,
            ExprKind::MatrixSelector { selector, range, .. } => {
                add(ms(range));
                &selector.modifiers
            }
            ExprKind::Subquery(subquery) => {
                add(ms(&subquery.range));
                &subquery.modifiers
            }
            _ => continue,
        };
        modifiers.offset.iter().for_each(|offset| add(ms(offset)));
        if modifiers.at.is_some() {
            add(i64::MAX / 8);
        }
    }
    all
}
