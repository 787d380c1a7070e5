//! Operators between vectors: series pair up by their match labels, once for all steps.

use cupola_model::{Labels, is_stale_nan};
use cupola_promql::{Binary, Expr, MatchCard, VectorMatching};
use foldhash::fast::RandomState;
use hashbrown::HashMap;

use super::elements::{Element, Findings, Operand, Outcome};
use super::{changes_metric, element, is_trim};
use crate::column::{Column, Row, Vector, is_metadata_label};
use crate::error::QueryError;
use crate::eval::Evaluator;
use crate::grid::Grid;
use crate::keys::{KeyIndex, LabelKey};

/// The labels by which series pair up; all but the name where nothing is said.
pub(crate) fn match_key(matching: Option<&VectorMatching>) -> LabelKey {
    match matching {
        Some(matching) if matching.on => LabelKey::only(&matching.labels),
        Some(matching) => LabelKey::all_but(&matching.labels),
        None => LabelKey::all_but(&[]),
    }
}

fn included(matching: Option<&VectorMatching>) -> Vec<&str> {
    let mut names: Vec<&str> = matching
        .into_iter()
        .flat_map(|m| m.include.iter().map(String::as_str))
        .collect();
    names.sort_unstable();
    names.dedup();
    names
}

// Stands for "no series": the place of a fill value.
const NONE: u32 = u32::MAX;

// The series of one match group.
#[derive(Default)]
struct Group {
    many: Vec<u32>,
    one: Vec<u32>,
}

// What one operator needs to know.
struct Matcher<'m> {
    binary: &'m Binary,
    card: MatchCard,
    // In order, each once.
    include: Vec<&'m str>,
    key: LabelKey,
    fill_one: Option<f64>,
    fill_many: Option<f64>,
    // `group_right`: the sides are swapped, so that the "many" side is always first.
    swapped: bool,
    many: Vector,
    one: Vector,
    steps: usize,
}

// The rows made so far, by labels.
struct Output {
    rows: Vec<Row>,
    by_labels: HashMap<Labels, usize, RandomState>,
    steps: usize,
    // What the histograms of the rows occupy.
    bytes: usize,
}

impl Output {
    fn row(&mut self, labels: Labels, drop_name: bool) -> usize {
        let rows = &mut self.rows;
        let steps = self.steps;
        *self.by_labels.entry(labels).or_insert_with_key(|labels| {
            rows.push(Row {
                labels: labels.clone(),
                drop_name,
                column: Column::absent(steps),
            });
            rows.len() - 1
        })
    }
}

impl Evaluator<'_> {
    pub(crate) fn match_vectors(
        &mut self,
        expr: &Expr,
        binary: &Binary,
        left: Vector,
        right: Vector,
        grid: Grid,
    ) -> Result<Vector, QueryError> {
        let matching = binary.matching.as_ref();
        let card = matching.map_or(MatchCard::OneToOne, |m| m.card);
        let swapped = card == MatchCard::OneToMany;
        let (many, one) = if swapped { (right, left) } else { (left, right) };
        let matcher = Matcher {
            binary,
            card,
            include: included(matching),
            key: match_key(matching),
            // Upstream does not swap the fill values of `group_right` back: they go by the swapped sides.
            fill_one: matching.and_then(|m| m.fill_right),
            fill_many: matching.and_then(|m| m.fill_left),
            swapped,
            many,
            one,
            steps: grid.len(),
        };
        let mut groups: Vec<Group> = Vec::new();
        let mut index = KeyIndex::new(matcher.key.clone());
        for (at, row) in (0_u32..).zip(&matcher.many.rows) {
            let id = index.id(&row.labels);
            groups.resize_with(groups.len().max(id + 1), Group::default);
            groups[id].many.push(at);
        }
        for (at, row) in (0_u32..).zip(&matcher.one.rows) {
            let id = index.id(&row.labels);
            groups.resize_with(groups.len().max(id + 1), Group::default);
            groups[id].one.push(at);
        }
        self.budget.work(matcher.many.rows.len() + matcher.one.rows.len())?;
        let mut findings = Findings::default();
        let out = if matcher.is_mixed() {
            self.combine_groups::<Element<'_>>(&matcher, &groups, &mut findings)?
        } else {
            self.combine_groups::<f64>(&matcher, &groups, &mut findings)?
        };
        findings.tell(binary.op, &mut self.notes, expr.span);
        let mut vector = Vector::of(out.rows).without_empty();
        if binary.return_bool && !self.options.delayed_name_removal {
            for row in &mut vector.rows {
                row.labels = crate::column::without_metadata(&row.labels);
            }
        }
        vector.merged()
    }

    fn combine_groups<'s, E: Operand<'s>>(
        &mut self,
        matcher: &'s Matcher<'_>,
        groups: &[Group],
        findings: &mut Findings,
    ) -> Result<Output, QueryError> {
        let mut out = Output {
            rows: Vec::new(),
            by_labels: HashMap::default(),
            steps: matcher.steps,
            bytes: 0,
        };
        let mut one_at = Vec::new();
        let mut pairs = Pairs::default();
        for group in groups {
            let bytes = out.bytes;
            if E::ARE_NUMBERS && matcher.is_plain(group) {
                matcher.combine_numbers(group, &mut pairs, &mut out)?;
            } else {
                matcher.find_one(group, &mut one_at)?;
                matcher.combine::<E>(group, &one_at, &mut pairs, &mut out, findings)?;
            }
            self.budget.room(out.rows.len(), matcher.steps)?;
            self.budget.charge(out.bytes - bytes)?;
            self.budget.work((group.many.len() + group.one.len()) * matcher.steps)?;
        }
        Ok(out)
    }
}

// Result rows of one match group, by the pair of series they come from.
#[derive(Default)]
struct Pairs {
    rows: HashMap<(u32, u32), usize>,
    // The "many" series that feed a row of this group.
    sources: HashMap<usize, Vec<u32>>,
}

impl Matcher<'_> {
    // Whether the way of plain numbers is not enough.
    fn is_mixed(&self) -> bool {
        let mut rows = self.many.rows.iter().chain(&self.one.rows);
        is_trim(self.binary.op) || rows.any(|row| row.column.has_histograms())
    }

    fn value<'s, E: Operand<'s>>(rows: &'s Vector, at: u32, step: usize) -> Option<E> {
        E::at(&rows.rows.get(at as usize)?.column, step)
    }

    fn apply<'s, E: Operand<'s>>(&self, many: E, one: E) -> Outcome<E::Output> {
        let (a, b) = if self.swapped { (one, many) } else { (many, one) };
        E::apply(self.binary, a, b)
    }

    fn labels<'r>(&self, rows: &'r Vector, at: u32) -> Option<&'r Labels> {
        rows.rows.get(at as usize).map(|row| &row.labels)
    }

    /// Writes to `one_at` which series of the "one" side has a value at each step.
    fn find_one(&self, group: &Group, one_at: &mut Vec<u32>) -> Result<(), QueryError> {
        one_at.clear();
        one_at.resize(self.steps, NONE);
        for at in &group.one {
            for (step, slot) in one_at.iter_mut().enumerate() {
                if !self.one.rows.get(*at as usize).is_some_and(|row| row.column.has(step)) {
                    continue;
                }
                if *slot != NONE && self.is_evaluated(step) {
                    return Err(self.duplicate(*at, *slot));
                }
                *slot = *at;
            }
        }
        Ok(())
    }

    // Upstream does not look at the "one" side while the other is empty.
    fn is_evaluated(&self, step: usize) -> bool {
        self.fill_one.is_some() || self.fill_many.is_some() || self.many.rows.iter().any(|row| row.column.has(step))
    }

    fn duplicate(&self, at: u32, other: u32) -> QueryError {
        let labels = |at| self.labels(&self.one, at).cloned().unwrap_or_default();
        let side = if self.swapped { "left" } else { "right" };
        let group = self.key.labels(&labels(at));
        QueryError::execution(format!(
            "found duplicate series for the match group {group} on the {side} hand-side of the operation: [{}, \
             {}];many-to-many matching not allowed: matching labels must be unique on one side",
            labels(at),
            labels(other),
        ))
    }

    // Whether the same two series pair up at all steps, whatever is absent.
    fn is_plain(&self, group: &Group) -> bool {
        let is_alone = |series: &[u32]| matches!(series, [_]);
        let has_fill = self.fill_one.is_some() || self.fill_many.is_some();
        !has_fill && is_alone(&group.one) && (self.card != MatchCard::OneToOne || is_alone(&group.many))
    }

    // As `combine`, column by column, for numbers in a plain group.
    fn combine_numbers(&self, group: &Group, pairs: &mut Pairs, out: &mut Output) -> Result<(), QueryError> {
        pairs.rows.clear();
        pairs.sources.clear();
        let Some(one) = group.one.first().copied() else {
            return Ok(());
        };
        let Some(rights) = self.one.rows.get(one as usize).map(|row| row.column.values()) else {
            return Ok(());
        };
        let (op, return_bool) = (self.binary.op, self.binary.return_bool);
        for many in group.many.iter().copied() {
            let at = match (
                group.many.as_slice(),
                self.labels(&self.many, many),
                self.labels(&self.one, one),
            ) {
                // Nothing of this group can be the same again.
                ([_], Some(many), Some(one)) => out.row(self.result_labels(many, one), self.binary.return_bool),
                _ => self.result_row(many, one, pairs, out),
            };
            let is_shared = pairs.sources.get(&at).is_some_and(|sources| sources.len() > 1);
            let (Some(row), Some(result)) = (self.many.rows.get(many as usize), out.rows.get_mut(at)) else {
                continue;
            };
            let pairs_of = row.column.values().iter().zip(rights);
            for (step, ((left, right), slot)) in pairs_of.zip(result.column.values_mut()).enumerate() {
                if is_stale_nan(*left) || is_stale_nan(*right) {
                    continue;
                }
                if is_shared {
                    self.check_unique(many, at, (step, *right), pairs)?;
                }
                let (a, b) = if self.swapped { (*right, *left) } else { (*left, *right) };
                let Some(value) = element(op, return_bool, a, b) else {
                    continue;
                };
                if !is_stale_nan(*slot) {
                    return Err(QueryError::same_labelset());
                }
                *slot = value;
            }
        }
        Ok(())
    }

    fn combine<'s, E: Operand<'s>>(
        &'s self,
        group: &Group,
        one_at: &[u32],
        pairs: &mut Pairs,
        out: &mut Output,
        findings: &mut Findings,
    ) -> Result<(), QueryError> {
        pairs.rows.clear();
        pairs.sources.clear();
        if group.many.is_empty() && self.fill_many.is_none() {
            return Ok(());
        }
        let fill_one = self.fill_one.map(E::number);
        // Which steps a "many" series was matched at.
        let mut matched = vec![false; self.steps];
        for at in &group.many {
            let mut known: Option<(u32, usize)> = None;
            for (step, one) in one_at.iter().copied().enumerate() {
                let Some(left) = Self::value::<E>(&self.many, *at, step) else {
                    continue;
                };
                let Some(right) = Self::value::<E>(&self.one, one, step).or(fill_one) else {
                    continue;
                };
                let value = match self.apply(left, right) {
                    Ok((value, finding)) => {
                        if let Some(finding) = finding {
                            findings.note(step, u64::from(*at), finding);
                        }
                        value
                    }
                    Err(finding) => {
                        findings.note(step, u64::from(*at), finding);
                        continue;
                    }
                };
                if let Some(matched) = matched.get_mut(step) {
                    if *matched && self.card == MatchCard::OneToOne {
                        return Err(QueryError::execution(
                            "multiple matches for labels: many-to-one matching must be explicit \
                             (group_left/group_right)",
                        ));
                    }
                    *matched = true;
                }
                let row = match known {
                    Some((known_one, row)) if known_one == one => row,
                    _ => {
                        let row = self.result_row(*at, one, pairs, out);
                        known = Some((one, row));
                        row
                    }
                };
                self.check_unique(*at, row, (step, right), pairs)?;
                if let Some(value) = value {
                    put::<E>(row, step, value, out)?;
                }
            }
        }
        if let Some(fill) = self.fill_many.map(E::number) {
            for (step, one) in one_at.iter().copied().enumerate() {
                let Some(right) = Self::value::<E>(&self.one, one, step) else {
                    continue;
                };
                if matched.get(step).copied().unwrap_or(false) {
                    continue;
                }
                // Upstream fills after it has seen all of the "many" side.
                let order = u64::from(NONE) + u64::from(one);
                match self.apply(fill, right) {
                    Ok((value, finding)) => {
                        if let Some(finding) = finding {
                            findings.note(step, order, finding);
                        }
                        let row = self.result_row(NONE, one, pairs, out);
                        if let Some(value) = value {
                            put::<E>(row, step, value, out)?;
                        }
                    }
                    Err(finding) => findings.note(step, order, finding),
                }
            }
        }
        Ok(())
    }

    // Two series of the "many" side must not give the same labels at one step; pairs without a result do not count.
    fn check_unique<'s, E: Operand<'s>>(
        &'s self,
        at: u32,
        row: usize,
        (step, one): (usize, E),
        pairs: &Pairs,
    ) -> Result<(), QueryError> {
        let Some(sources) = pairs.sources.get(&row).filter(|sources| sources.len() > 1) else {
            return Ok(());
        };
        let mut earlier = sources.iter().take_while(|source| **source != at);
        let is_matched = |source: &u32| {
            let value = Self::value::<E>(&self.many, *source, step);
            value.is_some_and(|value| self.apply(value, one).is_ok())
        };
        if earlier.any(is_matched) {
            return Err(QueryError::execution(
                "multiple matches for labels: grouping labels must ensure unique matches",
            ));
        }
        Ok(())
    }

    fn result_row(&self, many: u32, one: u32, pairs: &mut Pairs, out: &mut Output) -> usize {
        let row = *pairs.rows.entry((many, one)).or_insert_with(|| {
            let of = |rows, at| self.labels(rows, at).cloned();
            let many_labels = of(&self.many, many);
            let one_labels = of(&self.one, one);
            // A filled side has the labels of the match group.
            let stand_in = |other: &Option<Labels>| {
                other
                    .as_ref()
                    .map_or_else(Labels::empty, |labels| self.key.labels(labels))
            };
            let left = many_labels.clone().unwrap_or_else(|| stand_in(&one_labels));
            let right = one_labels.unwrap_or_else(|| stand_in(&many_labels));
            // Upstream forgets here that a name was to be removed: a filter of `rate(a) > rate(b)` has the name of a.
            out.row(self.result_labels(&left, &right), self.binary.return_bool)
        });
        let sources = pairs.sources.entry(row).or_default();
        if !sources.contains(&many) {
            sources.push(many);
        }
        row
    }

    fn result_labels(&self, many: &Labels, one: &Labels) -> Labels {
        let matching = self
            .binary
            .matching
            .as_ref()
            .filter(|_| self.card == MatchCard::OneToOne);
        let changes_metric = changes_metric(self.binary.op);
        if matching.is_none() && !changes_metric && self.include.is_empty() {
            return many.clone();
        }
        let keep = |name: &str| {
            let is_kept = matching.is_none_or(|m| m.on == m.labels.iter().any(|label| label == name));
            is_kept && !(changes_metric && is_metadata_label(name))
        };
        let included: Vec<(&str, &str)> = self.include.iter().map(|name| (*name, one.value(name))).collect();
        many.overlaid(keep, &included)
    }
}

fn put<'s, E: Operand<'s>>(row: usize, step: usize, value: E::Output, out: &mut Output) -> Result<(), QueryError> {
    let Some(row) = out.rows.get_mut(row) else {
        return Ok(());
    };
    out.bytes += E::put(&mut row.column, step, value).ok_or_else(QueryError::same_labelset)?;
    Ok(())
}
