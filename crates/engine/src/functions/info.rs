//! `info()`: adds the labels of info metrics to series of the same instance and job.

use cupola_model::{Labels, LabelsBuilder, METRIC_NAME, MatchOp, Matcher};
use cupola_promql::{Call, Expr, ExprKind, Modifiers, VectorSelector};
use hashbrown::{HashMap, HashSet};

use super::argument;
use crate::column::{Column, Row, Vector};
use crate::error::QueryError;
use crate::eval::Evaluator;
use crate::grid::Grid;
use crate::keys::{KeyIndex, LabelKey};
use crate::plan::{Plan, unwrap_parens};
use crate::select::Take;

const DEFAULT_METRIC: &str = "target_info";
const ANY_INFO_METRIC: &str = ".+_info";
const IDENTIFYING: [&str; 2] = ["instance", "job"];

// What the second argument asks for.
struct Wanted {
    names: Vec<Matcher>,
    data: Vec<Matcher>,
}

impl Wanted {
    fn of(call: &Call) -> Result<Self, QueryError> {
        let selector = match call.args.get(1).map(|arg| &unwrap_parens(arg).kind) {
            None => None,
            Some(ExprKind::VectorSelector(selector)) => Some(selector),
            Some(_) => {
                return Err(QueryError::BadData(
                    "expected label selectors as the second argument of info()".into(),
                ));
            }
        };
        let matchers = selector.map_or(&[][..], |selector| &selector.matchers);
        let (mut names, data): (Vec<_>, Vec<_>) = matchers.iter().cloned().partition(|m| m.name() == METRIC_NAME);
        if names.is_empty() {
            names.push(Matcher::equal(METRIC_NAME, DEFAULT_METRIC));
        }
        Ok(Self { names, data })
    }

    fn positive_names(&self) -> usize {
        self.names
            .iter()
            .filter(|m| matches!(m.op(), MatchOp::Equal | MatchOp::Regex))
            .count()
    }

    /// Whether a series is itself one of the info series asked for, and stays as it is.
    fn is_info_series(&self, labels: &Labels) -> bool {
        self.positive_names() > 0 && self.names.iter().all(|m| m.matches_labels(labels))
    }

    fn selector(&self) -> Result<VectorSelector, QueryError> {
        let mut matchers = self.names.clone();
        if self.positive_names() == 0 {
            // Excluding some metrics must not make info metrics of all the others.
            let any = Matcher::new(METRIC_NAME, MatchOp::Regex, ANY_INFO_METRIC);
            matchers.push(any.map_err(|error| QueryError::execution(error.to_string()))?);
        }
        matchers.extend(self.data.iter().cloned());
        Ok(VectorSelector {
            matchers,
            ..VectorSelector::default()
        })
    }

    fn takes(&self, label: &str) -> bool {
        label != METRIC_NAME && (self.data.is_empty() || self.data.iter().any(|m| m.name() == label))
    }

    fn needs_a_match(&self) -> bool {
        self.data.iter().any(|m| !m.matches_empty())
    }
}

// The times at which info series are looked at: those of the first selector of the first argument.
fn reference(expr: &Expr, plan: &Plan, grid: Grid) -> Result<Grid, QueryError> {
    let mut path: Vec<&Modifiers> = Vec::new();
    find_selector(expr, &mut path);
    let mut look = grid;
    for modifiers in path {
        if let Some(at) = plan.fixed_time(modifiers.at) {
            look = Grid::single(at);
        }
        look = look.earlier(plan.offset_ms(modifiers.offset.as_ref())?);
    }
    Ok(look)
}

// Leaves the modifiers on the way to the first selector in `path`.
fn find_selector<'e>(expr: &'e Expr, path: &mut Vec<&'e Modifiers>) -> bool {
    match &expr.kind {
        ExprKind::VectorSelector(selector) | ExprKind::MatrixSelector { selector, .. } => {
            path.push(&selector.modifiers);
            true
        }
        ExprKind::Subquery(subquery) => {
            path.push(&subquery.modifiers);
            if find_selector(&subquery.expr, path) {
                return true;
            }
            path.pop();
            false
        }
        ExprKind::Number(_) | ExprKind::String(_) => false,
        ExprKind::Unary { expr, .. } | ExprKind::Paren(expr) => find_selector(expr, path),
        ExprKind::Binary(binary) => find_selector(&binary.lhs, path) || find_selector(&binary.rhs, path),
        ExprKind::Aggregate(aggregate) => {
            find_selector(&aggregate.expr, path) || aggregate.param.as_ref().is_some_and(|p| find_selector(p, path))
        }
        ExprKind::Call(call) => call.args.iter().any(|arg| find_selector(arg, path)),
    }
}

// The info series of one metric and one instance and job, with the times of their samples.
type Candidates<'v> = Vec<&'v Row>;

// The newest of the candidates at a step.
fn newest<'v>(candidates: &[&'v Row], step: usize) -> Result<Option<&'v Row>, QueryError> {
    let mut best: Option<(&Row, f64)> = None;
    for row in candidates {
        let Some(time) = row.column.get(step) else { continue };
        match best {
            Some((_, known)) if known > time => {}
            Some((other, known)) if known == time => {
                let ms = (time * 1000.0).round();
                return Err(QueryError::execution(format!(
                    "found duplicate series for info metric: existing {} @ {ms}, new {} @ {ms}",
                    other.labels, row.labels,
                )));
            }
            _ => best = Some((row, time)),
        }
    }
    Ok(best.map(|(row, _)| row))
}

impl Evaluator<'_> {
    pub(crate) fn info(&mut self, call: &Call, grid: Grid) -> Result<Vector, QueryError> {
        let wanted = Wanted::of(call)?;
        let base_arg = argument(call, 0)?;
        let base = self.eval_vector(base_arg, grid)?;
        let mut keys = KeyIndex::new(LabelKey::only(&IDENTIFYING.map(str::to_owned)));
        let enriched: Vec<Option<usize>> = base
            .rows
            .iter()
            .map(|row| (!wanted.is_info_series(&row.labels)).then(|| keys.id(&row.labels)))
            .collect();
        let look = reference(base_arg, &self.plan, grid)?;
        let mut infos = self.select_newest(&wanted.selector()?, look, Take::TimeOfNumber, base_arg.span)?;
        if look.len() != grid.len() {
            infos
                .rows
                .iter_mut()
                .for_each(|row| row.column = row.column.broadcast(grid.len()));
        }
        let enrichable = base.rows.iter().zip(&enriched).filter(|(_, key)| key.is_some());
        refuse_histograms(&infos, enrichable.map(|(row, _)| row), &base)?;
        // By instance and job, then by the info metric's name.
        let mut by_key: HashMap<usize, Vec<(&str, Candidates<'_>)>> = HashMap::new();
        for row in &infos.rows {
            if IDENTIFYING.iter().all(|label| row.labels.get(label).is_none()) {
                continue;
            }
            let metrics = by_key.entry(keys.id(&row.labels)).or_default();
            let name = row.labels.metric_name();
            match metrics.iter_mut().find(|(known, _)| *known == name) {
                Some((_, candidates)) => candidates.push(row),
                None => metrics.push((name, vec![row])),
            }
        }
        let mut out = Vec::new();
        for (row, key) in base.rows.iter().zip(enriched) {
            self.budget.work(grid.len())?;
            match key {
                None => out.push(row.clone()),
                Some(key) => enrich(row, by_key.get(&key).map_or(&[], Vec::as_slice), &wanted, &mut out)?,
            }
        }
        Vector::of(out).merged()
    }
}

// Info metrics are numbers. Fails where one of an instance and a job of the `enrichable` series is a native histogram at a
// step that has anything to enrich.
fn refuse_histograms<'r>(
    infos: &Vector,
    enrichable: impl Iterator<Item = &'r Row>,
    base: &Vector,
) -> Result<(), QueryError> {
    if !infos.rows.iter().any(|row| row.column.has_histograms()) {
        return Ok(());
    }
    let mut asked = IDENTIFYING.map(|_| HashSet::new());
    for row in enrichable {
        for (label, values) in IDENTIFYING.iter().zip(&mut asked) {
            values.extend(row.labels.get(label));
        }
    }
    // Prometheus asks the storage for these instances and jobs, not for pairs of them.
    let is_asked_for = |row: &&Row| {
        let mut labels = IDENTIFYING.iter().zip(&asked);
        labels.all(|(label, values)| values.is_empty() || row.labels.get(label).is_some_and(|v| values.contains(v)))
    };
    if asked.iter().all(HashSet::is_empty) {
        return Ok(());
    }
    let mut histograms = infos
        .rows
        .iter()
        .filter(is_asked_for)
        .flat_map(|row| row.column.histograms());
    if histograms.any(|(step, _)| base.rows.iter().any(|row| row.column.has(step))) {
        return Err(QueryError::execution("info sample should be float"));
    }
    Ok(())
}

// Adds the rows that `base` becomes; they differ in their labels where the info series change over time.
fn enrich(
    base: &Row,
    metrics: &[(&str, Candidates<'_>)],
    wanted: &Wanted,
    out: &mut Vec<Row>,
) -> Result<(), QueryError> {
    let steps = base.column.values().len();
    let first = out.len();
    let mut last: Option<(Vec<&Labels>, usize)> = None;
    for step in 0..steps {
        let Some(value) = base.column.value(step) else { continue };
        let mut matched = Vec::with_capacity(metrics.len());
        for (_, candidates) in metrics {
            matched.extend(newest(candidates, step)?.map(|row| &row.labels));
        }
        if matched.is_empty() && wanted.needs_a_match() {
            continue;
        }
        let at = match &last {
            // Mostly the same series as at the step before: compare addresses, not texts.
            Some((known, at))
                if known.len() == matched.len() && known.iter().zip(&matched).all(|(a, b)| std::ptr::eq(*a, *b)) =>
            {
                *at
            }
            _ => {
                let labels = combine(&base.labels, &matched, wanted)?;
                let found = out.iter().skip(first).position(|row| row.labels == labels);
                let at = found.map_or(out.len(), |at| first + at);
                if found.is_none() {
                    out.push(Row {
                        labels,
                        drop_name: base.drop_name,
                        column: Column::absent(steps),
                    });
                }
                at
            }
        };
        last = Some((matched, at));
        if let Some(row) = out.get_mut(at) {
            row.column.set(step, Some(value));
        }
    }
    Ok(())
}

fn combine(base: &Labels, infos: &[&Labels], wanted: &Wanted) -> Result<Labels, QueryError> {
    let mut added = LabelsBuilder::default();
    for info in infos {
        for (name, value) in info.iter().filter(|(name, _)| wanted.takes(name)) {
            let known = added.get(name);
            if !known.is_empty() && known != value {
                return Err(QueryError::execution(format!("conflicting label: {name}")));
            }
            if base.get(name).is_none() {
                added.set(name, value);
            }
        }
    }
    let mut builder = base.to_builder();
    for (name, value) in added.iter() {
        builder.set(name, value);
    }
    Ok(builder.build())
}
