//! Instant selectors: the newest sample within the lookback, per series and step.

use cupola_model::{Labels, is_stale_nan};
use cupola_promql::{ExtendedRange, Span, VectorSelector};
use cupola_storage::{Aggregate, SampleValue, Samples, Series};

use crate::column::{Column, Row, Vector, weight};
use crate::error::QueryError;
use crate::eval::Evaluator;
use crate::grid::Grid;
use crate::query::samples_bytes;
use crate::tiers::{Lookback, Wanted};
use crate::walk::Walk;
use crate::window::{About, detect_hints, fill_smoothed_mixed};

// A series is read in pieces: first a day, then as long as gives about a million samples, some milliseconds of work.
const FIRST_PIECE_MS: i64 = 86_400_000;
const PIECE_SAMPLES: i64 = 1 << 20;

/// What a selected sample gives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Take {
    /// Its value.
    Value,
    /// Its time, in seconds.
    Time,
    /// The time of a number; a native histogram itself.
    TimeOfNumber,
    /// Since when its counter counts, in seconds; 0 where that is not known.
    Start,
}

/// Takes rows one at a time; what it keeps it holds in the budget.
pub(crate) type Sink<'s, 'q> = &'s mut dyn FnMut(&mut Evaluator<'q>, Row) -> Result<(), QueryError>;

impl<'q> Evaluator<'q> {
    /// The selector's series with the values they have at each step.
    pub(crate) fn select(&mut self, selector: &VectorSelector, grid: Grid, span: Span) -> Result<Vector, QueryError> {
        match selector.extended {
            Some(ExtendedRange::Smoothed) => self.select_smoothed(selector, grid, span),
            Some(ExtendedRange::Anchored) | None => self.select_newest(selector, grid, Take::Value, span),
        }
    }

    /// The newest sample with `t - lookback < ts <= t` of each series; a staleness marker hides the series.
    pub(crate) fn select_newest(
        &mut self,
        selector: &VectorSelector,
        grid: Grid,
        take: Take,
        span: Span,
    ) -> Result<Vector, QueryError> {
        let mut rows = Vec::new();
        self.newest_rows(selector, grid, take, span, &mut |this, row| this.keep(row, &mut rows))?;
        Ok(Vector::of(rows))
    }

    /// As [`Evaluator::select_newest`], row by row.
    pub(crate) fn newest_rows(
        &mut self,
        selector: &VectorSelector,
        grid: Grid,
        take: Take,
        span: Span,
        sink: Sink<'_, 'q>,
    ) -> Result<(), QueryError> {
        let look = self.plan.selection_grid(selector, grid)?;
        if look.is_empty() {
            return Ok(());
        }
        let mint = look.start().saturating_sub(self.lookback_ms).saturating_add(1);
        let maxt = look.end();
        let wanted = Wanted {
            // A tier does not know since when a counter counts.
            aggregate: (take != Take::Start).then_some(Aggregate::Last),
            range_ms: None,
            step_ms: look.step(),
        };
        let tier = self.tier_for(mint, maxt, &wanted);
        let lookback = Lookback::new(self.lookback_ms, tier.as_ref());
        let mint = mint.saturating_sub(tier.map_or(0, |tier| tier.used.reach_ms));
        let mut samples = Samples::default();
        let newest = look.len() == 1 && take != Take::Start;
        for series in self.series_with(selector, (mint, maxt), tier.as_ref(), span, newest)? {
            self.read(&series, mint, maxt, &mut samples)?;
            let mut column = Column::absent(look.len());
            if !samples.histograms.is_empty() && self.plan.wants_counts(selector) {
                detect_hints(&mut samples);
            }
            if samples.histograms.is_empty() {
                fill_newest(&samples, look, lookback, take, column.values_mut());
            } else {
                fill_newest_mixed(&samples, look, lookback, take, &mut column);
            }
            self.budget.work(samples.count() + look.len())?;
            self.selected(series.labels, column, grid.len(), sink)?;
        }
        Ok(())
    }

    // Between two samples the value on the line between them; after the last its value. `span` is where the selector
    // stands in the query.
    fn select_smoothed(&mut self, selector: &VectorSelector, grid: Grid, span: Span) -> Result<Vector, QueryError> {
        let look = self.plan.selection_grid(selector, grid)?;
        if look.is_empty() {
            return Ok(Vector::default());
        }
        let lookback = self.lookback_ms;
        let mint = look.start().saturating_sub(lookback).saturating_add(1);
        let maxt = look.end().saturating_add(lookback);
        let wanted = Wanted {
            aggregate: None,
            range_ms: None,
            step_ms: look.step(),
        };
        let tier = self.tier_for(mint, maxt, &wanted);
        let mut samples = Samples::default();
        let mut rows = Vec::new();
        for series in self.series_of(selector, mint, maxt, tier.as_ref(), span)? {
            self.read(&series, mint, maxt, &mut samples)?;
            crate::window::drop_stale(&mut samples);
            let mut column = Column::absent(look.len());
            if samples.histograms.is_empty() {
                fill_smoothed(&samples, look, lookback, column.values_mut());
            } else {
                let mut about = About {
                    notes: &mut self.notes,
                    labels: &series.labels,
                    span,
                };
                if self.plan.wants_counts(selector) {
                    detect_hints(&mut samples);
                }
                fill_smoothed_mixed(&samples, look, lookback, &mut column, &mut about);
            }
            self.budget.work(samples.len() + look.len())?;
            self.selected(series.labels, column, grid.len(), &mut |this, row| {
                this.keep(row, &mut rows)
            })?;
        }
        Ok(Vector::of(rows))
    }

    // Hands on one selected series.
    fn selected(&mut self, labels: Labels, column: Column, steps: usize, sink: Sink<'_, 'q>) -> Result<(), QueryError> {
        if column.is_empty() {
            return Ok(());
        }
        let column = if column.len() == steps {
            column
        } else {
            column.broadcast(steps)
        };
        self.budget.note_queryable(column.count());
        if self.budget.per_step() {
            for step in 0..steps {
                let count = column.histogram(step).map(|histogram| weight(histogram));
                self.budget
                    .note_step(step, count.unwrap_or(usize::from(column.has(step))));
            }
        }
        sink(
            self,
            Row {
                labels,
                drop_name: false,
                column,
            },
        )
    }

    /// Adds a row to those kept in memory.
    pub(crate) fn keep(&mut self, row: Row, rows: &mut Vec<Row>) -> Result<(), QueryError> {
        self.budget.hold(row.column.count())?;
        self.budget.room(rows.len() + 1, row.column.len())?;
        if row.column.has_histograms() {
            self.budget.charge(row.column.histogram_bytes())?;
        }
        rows.push(row);
        Ok(())
    }

    /// Reads one series into the reused buffer.
    pub(crate) fn read(
        &mut self,
        series: &Series,
        mint: i64,
        maxt: i64,
        samples: &mut Samples,
    ) -> Result<(), QueryError> {
        samples.clear();
        // In pieces, so that the deadline is seen within a series of tens of millions of samples, too.
        let (mut from, mut span) = (mint, FIRST_PIECE_MS);
        loop {
            let to = from.saturating_add(span - 1).min(maxt);
            let before = samples.count();
            series.source.read(from, to, samples)?;
            let count = samples.count() - before;
            self.budget.note_read(count);
            if to >= maxt {
                break;
            }
            self.budget.work(count)?;
            self.budget.scratch(samples_bytes(samples))?;
            from = to.saturating_add(1);
            span = match count as i64 {
                0 => span.saturating_mul(8),
                count => (span.saturating_mul(PIECE_SAMPLES) / count).max(FIRST_PIECE_MS),
            };
        }
        self.budget.scratch(samples_bytes(samples))
    }
}

fn fill_newest(samples: &Samples, look: Grid, lookback: Lookback, take: Take, out: &mut [f64]) {
    let mut walk = Walk::default();
    for (t, slot) in look.times().zip(out) {
        let Some(newest) = walk.up_to(&samples.ts, t).checked_sub(1) else {
            continue;
        };
        let (Some(ts), Some(value)) = (samples.ts.get(newest), samples.values.get(newest)) else {
            continue;
        };
        if lookback.reaches(*ts, t) && !is_stale_nan(*value) {
            *slot = match take {
                Take::Value => *value,
                Take::Time | Take::TimeOfNumber => *ts as f64 / 1000.0,
                Take::Start => samples.starts.get(newest).copied().unwrap_or(0) as f64 / 1000.0,
            };
        }
    }
}

// As `fill_newest`, for a series that has native histograms.
fn fill_newest_mixed(samples: &Samples, look: Grid, lookback: Lookback, take: Take, out: &mut Column) {
    let mut all = samples.iter().peekable();
    let mut newest = None;
    for (step, t) in look.times().enumerate() {
        while let Some(sample) = all.next_if(|(ts, ..)| *ts <= t) {
            newest = Some(sample);
        }
        let Some((ts, value, start)) = &newest else { continue };
        let stale = match value {
            SampleValue::Float(value) => is_stale_nan(*value),
            SampleValue::Histogram(histogram) => is_stale_nan(histogram.sum),
        };
        if lookback.reaches(*ts, t) && !stale {
            let taken = match (take, value) {
                (Take::Value, _) | (Take::TimeOfNumber, SampleValue::Histogram(_)) => value.clone(),
                (Take::Time | Take::TimeOfNumber, _) => SampleValue::Float(*ts as f64 / 1000.0),
                (Take::Start, _) => SampleValue::Float(*start as f64 / 1000.0),
            };
            out.set(step, Some(taken));
        }
    }
}

fn fill_smoothed(samples: &Samples, look: Grid, lookback: i64, out: &mut [f64]) {
    let sample = |at: usize| {
        Some(crate::window::Anchor {
            t: *samples.ts.get(at)?,
            value: *samples.values.get(at)?,
        })
    };
    for (t, slot) in look.times().zip(out) {
        let next = samples.ts.partition_point(|ts| *ts <= t);
        let before = next
            .checked_sub(1)
            .and_then(sample)
            .filter(|s| s.t > t.saturating_sub(lookback));
        let after = sample(next).filter(|s| s.t <= t.saturating_add(lookback));
        match (before, after) {
            (Some(before), _) if before.t == t => *slot = before.value,
            (Some(before), Some(after)) => *slot = crate::window::between(before, after, t, false),
            (Some(before), None) => *slot = before.value,
            (None, _) => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use cupola_model::STALE_NAN;

    fn newest(pairs: &[(i64, f64)], look: Grid, take: Take) -> Vec<Option<f64>> {
        let samples = Samples::floats(pairs.iter().map(|p| p.0).collect(), pairs.iter().map(|p| p.1).collect());
        let mut column = Column::absent(look.len());
        fill_newest(&samples, look, Lookback::new(300, None), take, column.values_mut());
        (0..look.len()).map(|i| column.get(i)).collect()
    }

    #[test]
    fn the_lookback_is_open_at_the_left() {
        let look = Grid::range(0, 600, 300);
        assert_eq!(newest(&[(0, 1.0)], look, Take::Value), [Some(1.0), None, None]);
        assert_eq!(newest(&[(1, 1.0)], look, Take::Value), [None, Some(1.0), None]);
        assert_eq!(
            newest(&[(1, 1.0), (250, 2.0)], look, Take::Time),
            [None, Some(0.25), None]
        );
    }

    #[test]
    fn a_stale_marker_hides_the_series() {
        let look = Grid::range(10, 30, 10);
        let samples = [(5, 1.0), (15, STALE_NAN), (25, f64::NAN)];
        let got = newest(&samples, look, Take::Value);
        assert_eq!((got[0], got[1]), (Some(1.0), None));
        assert!(got[2].is_some_and(f64::is_nan));
    }
}
