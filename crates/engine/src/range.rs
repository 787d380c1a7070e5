//! Feeds the series of a range selector or a subquery to a window kernel.

use std::sync::Arc;

use cupola_model::{Labels, is_stale_nan};
use cupola_promql::{Expr, ExprKind, ExtendedRange, Modifiers, Span, Subquery, VectorSelector};
use cupola_storage::{Samples, Series};

use crate::column::{Column, Row, Vector};
use crate::error::QueryError;
use crate::eval::Evaluator;
use crate::grid::Grid;
use crate::plan::unwrap_parens;
use crate::query::samples_bytes;
use crate::select::Sink;
use crate::tiers::Tiered;
use crate::window::{
    About, Anchor, Edges, Held, Kernel, MixedWindow, Reach, Window, between, detect_hints, drop_stale, drop_starts,
    edges, forget_hint, knows_starts, mark, mark_mixed, window_ends,
};

// A kernel works on at most this many samples between two looks at the deadline.
const CHUNK: usize = 32 * 1024;

/// The range vector argument of a function.
#[derive(Clone, Copy)]
pub(crate) enum RangeArg<'e> {
    Selector(&'e VectorSelector),
    Subquery(&'e Subquery),
}

/// A range vector argument whose durations are known.
#[derive(Clone, Copy)]
pub(crate) struct Range<'e> {
    pub(crate) arg: RangeArg<'e>,
    pub(crate) range_ms: i64,
    offset_ms: i64,
    fixed: Option<i64>,
    // What remarks are about.
    span: Span,
    // Where samples are not taken for themselves.
    tier: Option<Tiered>,
    // How far before the windows a sample is looked for that they begin with.
    anchor_ms: i64,
}

impl Range<'_> {
    /// The same, answered by this tier.
    pub(crate) fn answered_by(self, tier: Option<Tiered>) -> Self {
        Self { tier, ..self }
    }

    /// The same with windows that begin with a sample from before, up to so much older.
    pub(crate) fn anchored(self, anchor_ms: i64) -> Self {
        Self { anchor_ms, ..self }
    }

    /// The tier that answers it.
    pub(crate) fn tier(&self) -> Option<Tiered> {
        self.tier
    }

    /// The first and the last time that the windows of `grid` see of a selector.
    pub(crate) fn selected(&self, grid: Grid, lookback_ms: i64) -> Option<(i64, i64)> {
        let RangeArg::Selector(_) = self.arg else {
            return None;
        };
        let reach = self.reach(lookback_ms);
        let first = self.fixed.unwrap_or(grid.start()).saturating_sub(self.offset_ms);
        let last = self.fixed.unwrap_or(grid.end()).saturating_sub(self.offset_ms);
        let mint = first
            .saturating_sub(reach.range)
            .saturating_sub(reach.before)
            .saturating_add(1);
        Some((mint, last.saturating_add(reach.after)))
    }

    /// The same, with remarks about another place in the query.
    pub(crate) fn told_at(self, span: Span) -> Self {
        Self { span, ..self }
    }

    pub(crate) fn extended(&self) -> Option<ExtendedRange> {
        match self.arg {
            RangeArg::Selector(selector) => selector.extended,
            RangeArg::Subquery(_) => None,
        }
    }

    fn reach(&self, lookback_ms: i64) -> Reach {
        let (before, after) = match self.extended() {
            None => (self.anchor_ms, 0),
            Some(ExtendedRange::Anchored) => (lookback_ms, 0),
            Some(ExtendedRange::Smoothed) => (lookback_ms, lookback_ms),
        };
        Reach {
            range: self.range_ms,
            before,
            after,
        }
    }
}

// Buffers used again for every series.
#[derive(Default)]
struct Scratch {
    samples: Samples,
    steps: Vec<Edges>,
    windows: Vec<Window>,
    mixed: Vec<MixedWindow>,
}

impl<'q> Evaluator<'q> {
    /// Works out the durations of a range vector argument.
    pub(crate) fn range_of<'e>(&self, expr: &'e Expr) -> Result<Range<'e>, QueryError> {
        let (arg, range, modifiers): (_, _, &Modifiers) = match &unwrap_parens(expr).kind {
            ExprKind::MatrixSelector { selector, range, .. } => {
                (RangeArg::Selector(selector), range, &selector.modifiers)
            }
            ExprKind::Subquery(subquery) => (RangeArg::Subquery(subquery), &subquery.range, &subquery.modifiers),
            _ => return Err(QueryError::BadData("expected a range vector".to_owned())),
        };
        Ok(Range {
            arg,
            range_ms: self.plan.positive_ms(range)?,
            offset_ms: self.plan.offset_ms(modifiers.offset.as_ref())?,
            fixed: self.plan.fixed_time(modifiers.at),
            span: unwrap_parens(expr).span,
            tier: None,
            anchor_ms: 0,
        })
    }

    /// What `kernel` makes of each series' windows. Series keep their labels; those without any value are left out.
    pub(crate) fn over_range(
        &mut self,
        range: &Range<'_>,
        grid: Grid,
        kernel: &mut dyn Kernel,
    ) -> Result<Vector, QueryError> {
        let mut rows = Vec::new();
        self.range_rows(range, grid, kernel, &mut |this, row| this.keep(row, &mut rows))?;
        Ok(Vector::of(rows))
    }

    /// As [`Evaluator::over_range`], row by row.
    pub(crate) fn range_rows(
        &mut self,
        range: &Range<'_>,
        grid: Grid,
        kernel: &mut dyn Kernel,
        sink: Sink<'_, 'q>,
    ) -> Result<(), QueryError> {
        if grid.is_empty() {
            return Ok(());
        }
        let reach = range.reach(self.lookback_ms);
        let ends = window_ends(grid, range.fixed, range.offset_ms);
        let mut scratch = Scratch {
            steps: edges(ends, reach),
            ..Scratch::default()
        };
        self.budget
            .scratch(scratch.steps.len() * (size_of::<Edges>() + size_of::<Window>()))?;
        match range.arg {
            RangeArg::Selector(selector) => {
                let Some((mint, maxt)) = range.selected(grid, self.lookback_ms) else {
                    return Ok(());
                };
                for series in self.series_of(selector, mint, maxt, range.tier.as_ref(), range.span)? {
                    self.read_range(selector, &series, (mint, maxt), &mut scratch.samples)?;
                    let column = self.run_kernel(range, grid, &series.labels, &mut scratch, kernel)?;
                    if !column.is_empty() {
                        let row = Row {
                            labels: series.labels,
                            drop_name: false,
                            column,
                        };
                        sink(self, row)?;
                    }
                }
            }
            RangeArg::Subquery(subquery) => {
                // What the inner expression reads counts as what the windows see of its values, as upstream.
                let paused = self.budget.pause_queryable();
                let inner = self.eval_subquery(subquery, range, grid);
                self.budget.resume_queryable(paused);
                let (inner, inner_grid) = inner?;
                for mut row in inner.rows {
                    scratch.samples.clear();
                    take_points(&mut row.column, inner_grid, &mut scratch.samples);
                    let column = self.run_kernel(range, grid, &row.labels, &mut scratch, kernel)?;
                    if !column.is_empty() {
                        sink(self, Row { column, ..row })?;
                    }
                }
            }
        }
        Ok(())
    }

    // Reads what the windows of a selector may see of one series.
    fn read_range(
        &mut self,
        selector: &VectorSelector,
        series: &Series,
        (mint, maxt): (i64, i64),
        samples: &mut Samples,
    ) -> Result<(), QueryError> {
        let wants_counts = self.plan.wants_counts(selector);
        // A histogram right on the left edge is not seen, but the first one in the window is compared with it.
        let from = mint.saturating_sub(i64::from(wants_counts));
        self.read(series, from, maxt, samples)?;
        drop_stale(samples);
        if !self.options.use_start_timestamps {
            drop_starts(samples);
        }
        if wants_counts && !samples.histograms.is_empty() {
            detect_hints(samples);
        }
        Ok(())
    }

    fn run_kernel(
        &mut self,
        range: &Range<'_>,
        grid: Grid,
        labels: &Labels,
        scratch: &mut Scratch,
        kernel: &mut dyn Kernel,
    ) -> Result<Column, QueryError> {
        let Scratch {
            samples,
            steps,
            windows,
            mixed,
        } = scratch;
        let mut column = Column::absent(grid.len());
        if samples.is_empty() {
            return Ok(column);
        }
        let held = self.budget.held();
        self.budget.room(1, samples.count())?;
        kernel.begin(samples);
        if samples.histograms.is_empty() && !knows_starts(samples) {
            let held = mark(&samples.ts, steps, windows);
            self.budget.hold(held.widest)?;
            self.budget.work(samples.len() + windows.len())?;
            for (part, seen) in parts(windows, held, Window::len) {
                kernel.run(samples, part, column.values_mut());
                self.look(part, seen, Window::len, |window| window.step)?;
            }
        } else {
            let held = mark_mixed(samples, steps, mixed);
            self.budget.hold(held.widest)?;
            self.budget.work(samples.count() + mixed.len())?;
            for (part, seen) in parts(mixed, held, MixedWindow::weighed) {
                let mut about = About {
                    notes: &mut self.notes,
                    labels,
                    span: range.span,
                };
                kernel.run_mixed(samples, part, &mut column, &mut about);
                self.look(part, seen, MixedWindow::weighed, |window| window.floats.step)?;
            }
        }
        self.budget.release_to(held);
        Ok(column)
    }

    // After a part of the windows, which saw `seen` samples: counts them, looks at the deadline.
    fn look<W>(
        &mut self,
        part: &[W],
        seen: usize,
        len: fn(&W) -> usize,
        step: fn(&W) -> usize,
    ) -> Result<(), QueryError> {
        if self.budget.per_step() {
            for window in part {
                self.budget.note_step(step(window), len(window));
            }
        }
        self.budget.note_queryable(seen);
        self.budget.work(seen.min(CHUNK))
    }

    // The inner expression at the multiples of the step that the windows of `grid` reach.
    fn eval_subquery(
        &mut self,
        subquery: &Subquery,
        range: &Range<'_>,
        grid: Grid,
    ) -> Result<(Vector, Grid), QueryError> {
        let step = match &subquery.step {
            Some(step) => self.plan.positive_ms(step)?,
            None => self.subquery_step_ms,
        };
        let first = range.fixed.unwrap_or(grid.start()).saturating_sub(range.offset_ms);
        let last = range.fixed.unwrap_or(grid.end()).saturating_sub(range.offset_ms);
        let inner_grid = Grid::aligned_after(first.saturating_sub(range.range_ms), last, step);
        if inner_grid.is_empty() {
            return Ok((Vector::default(), inner_grid));
        }
        // A subquery over years at a step of milliseconds must fail before its columns are made.
        self.budget.room(1, inner_grid.len())?;
        let inner = match self.eval(&subquery.expr, inner_grid)? {
            crate::column::Value::Vector(vector) => vector,
            crate::column::Value::Scalar(scalar) => {
                let values = (0..inner_grid.len()).map(|step| scalar.at(step)).collect();
                Self::single_row(Column::of(values))
            }
            crate::column::Value::Text(_) => {
                return Err(QueryError::BadData("a subquery needs an instant vector".to_owned()));
            }
        };
        Ok((inner, inner_grid))
    }

    /// The samples themselves, as an instant query of a range vector returns them.
    pub(crate) fn matrix(&mut self, range: &Range<'_>, at: i64) -> Result<Vec<(Row, Samples)>, QueryError> {
        let reach = range.reach(self.lookback_ms);
        let end = range.fixed.unwrap_or(at).saturating_sub(range.offset_ms);
        let mut out = Vec::new();
        let mut keep = |this: &mut Self, row: Row, samples: Samples| -> Result<(), QueryError> {
            if !samples.is_empty() {
                this.budget.hold(samples.count())?;
                this.budget.charge(samples_bytes(&samples))?;
                this.budget.work(samples.count())?;
                out.push((row, samples));
            }
            Ok(())
        };
        match range.arg {
            RangeArg::Selector(selector) => {
                let Some((mint, maxt)) = range.selected(Grid::single(at), self.lookback_ms) else {
                    return Ok(out);
                };
                let tier = self.range_tier(range, None, Grid::single(at));
                for series in self.series_of(selector, mint, maxt, tier.as_ref(), range.span)? {
                    let mut samples = Samples::default();
                    self.read_range(selector, &series, (mint, maxt), &mut samples)?;
                    if let Some(extended) = range.extended() {
                        if !samples.histograms.is_empty() {
                            let modifier = match extended {
                                ExtendedRange::Anchored => "anchored",
                                ExtendedRange::Smoothed => "smoothed",
                            };
                            return Err(QueryError::execution(format!(
                                "{modifier} modifier is not supported with histograms"
                            )));
                        }
                        samples = extend(&samples, end.saturating_sub(reach.range), end, extended);
                    }
                    self.budget.note_queryable(samples.count());
                    let row = Row {
                        labels: series.labels,
                        drop_name: false,
                        column: Column::absent(0),
                    };
                    keep(self, row, samples)?;
                }
            }
            RangeArg::Subquery(subquery) => {
                let (inner, inner_grid) = self.eval_subquery(subquery, range, Grid::single(at))?;
                for mut row in inner.rows {
                    let mut samples = Samples::default();
                    take_points(&mut row.column, inner_grid, &mut samples);
                    keep(
                        self,
                        Row {
                            column: Column::absent(0),
                            ..row
                        },
                        samples,
                    )?;
                }
            }
        }
        Ok(out)
    }
}

/// The values of a column as samples at the times of its steps.
pub(crate) fn points_of(column: &Column, grid: Grid, out: &mut Samples) {
    if out.is_empty() && !column.values().iter().copied().any(is_stale_nan) {
        out.ts.extend(grid.times());
        out.values.extend_from_slice(column.values());
        return;
    }
    for (step, value) in column.present() {
        out.push(grid.at(step), value);
    }
    for (step, histogram) in column.histograms() {
        out.histograms.push(grid.at(step), Arc::clone(histogram), 0);
    }
}

// The values of a subquery's column, whose histograms are moved.
fn take_points(column: &mut Column, grid: Grid, out: &mut Samples) {
    for (step, value) in column.present() {
        out.push(grid.at(step), value);
    }
    column.map_histograms(|step, mut histogram| {
        forget_hint(&mut histogram);
        out.histograms.push(grid.at(step), histogram, 0);
        None
    });
}

// Splits windows so that a part is no more work than `CHUNK`; gives each with the number of its samples.
fn parts<W>(windows: &[W], held: Held, len: fn(&W) -> usize) -> impl Iterator<Item = (&[W], usize)> {
    let mut rest = windows;
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        if held.total + windows.len() <= CHUNK {
            return Some((std::mem::take(&mut rest), held.total));
        }
        let (mut weight, mut seen) = (0, 0);
        let heavy = |window: &W| {
            weight += len(window) + 1;
            let is_heavy = weight > CHUNK && seen > 0;
            if !is_heavy {
                seen += len(window);
            }
            is_heavy
        };
        let count = rest.iter().position(heavy).unwrap_or(rest.len());
        let (part, after) = rest.split_at_checked(count)?;
        rest = after;
        Some((part, seen))
    })
}

// An extended range shown as it is: the samples within, and a value at each edge.
fn extend(samples: &Samples, start: i64, end: i64, extended: ExtendedRange) -> Samples {
    let smoothed = extended == ExtendedRange::Smoothed;
    let sample = |at: usize| {
        Some(Anchor {
            t: *samples.ts.get(at)?,
            value: *samples.values.get(at)?,
        })
    };
    let lo = samples.ts.partition_point(|t| *t <= start);
    let hi = samples.ts.partition_point(|t| *t <= end);
    let mut out = Samples::default();
    let within = lo < hi;
    let spanned = lo > 0 && hi < samples.len();
    if !(within || smoothed && spanned) {
        return out;
    }
    // The value at an edge, known from the samples at or before it and after it.
    let edge = |t: i64, next: usize| match (next.checked_sub(1).and_then(sample), sample(next)) {
        (Some(before), Some(after)) if smoothed && before.t < t => Some(between(before, after, t, false)),
        (Some(before), _) => Some(before.value),
        (None, after) => after.map(|after| after.value),
    };
    if let Some(value) = edge(start, lo) {
        out.push(start, value);
    }
    for s in (lo..hi).filter_map(sample).filter(|s| s.t < end) {
        out.push(s.t, s.value);
    }
    if let Some(value) = edge(end, hi) {
        out.push(end, value);
    }
    out
}
