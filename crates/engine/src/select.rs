//! Instant selectors: the newest sample within the lookback, per series and step.

use cupola_model::is_stale_nan;
use cupola_promql::{ExtendedRange, VectorSelector};
use cupola_storage::{Samples, Selection, Series};

use crate::column::{Column, Row, Vector};
use crate::error::QueryError;
use crate::eval::Evaluator;
use crate::grid::Grid;

/// What a selected sample gives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Take {
    /// Its value.
    Value,
    /// Its time, in seconds.
    Time,
}

impl Evaluator<'_> {
    /// The selector's series with the values they have at each step.
    pub(crate) fn select(&mut self, selector: &VectorSelector, grid: Grid) -> Result<Vector, QueryError> {
        match selector.extended {
            Some(ExtendedRange::Smoothed) => self.select_smoothed(selector, grid),
            Some(ExtendedRange::Anchored) | None => self.select_newest(selector, grid, Take::Value),
        }
    }

    /// The newest sample with `t - lookback < ts <= t` of each series; a staleness marker hides the series.
    pub(crate) fn select_newest(
        &mut self,
        selector: &VectorSelector,
        grid: Grid,
        take: Take,
    ) -> Result<Vector, QueryError> {
        let look = self.plan.selection_grid(selector, grid)?;
        if look.is_empty() {
            return Ok(Vector::default());
        }
        let lookback = self.lookback_ms;
        let (mint, maxt) = (look.start().saturating_sub(lookback).saturating_add(1), look.end());
        let mut samples = Samples::default();
        let mut rows = Vec::new();
        for series in self.series_of(selector, mint, maxt)? {
            self.read(&series, mint, maxt, &mut samples)?;
            let mut column = Column::absent(look.len());
            fill_newest(&samples, look, lookback, take, column.values_mut());
            self.budget.work(samples.len() + look.len())?;
            self.keep_row(&series, column, grid.len(), &mut rows)?;
        }
        Ok(Vector::of(rows))
    }

    // Between two samples the value on the line between them; after the last its value.
    fn select_smoothed(&mut self, selector: &VectorSelector, grid: Grid) -> Result<Vector, QueryError> {
        let look = self.plan.selection_grid(selector, grid)?;
        if look.is_empty() {
            return Ok(Vector::default());
        }
        let lookback = self.lookback_ms;
        let mint = look.start().saturating_sub(lookback).saturating_add(1);
        let maxt = look.end().saturating_add(lookback);
        let mut samples = Samples::default();
        let mut rows = Vec::new();
        for series in self.series_of(selector, mint, maxt)? {
            self.read(&series, mint, maxt, &mut samples)?;
            crate::window::drop_stale(&mut samples);
            let mut column = Column::absent(look.len());
            fill_smoothed(&samples, look, lookback, column.values_mut());
            self.budget.work(samples.len() + look.len())?;
            self.keep_row(&series, column, grid.len(), &mut rows)?;
        }
        Ok(Vector::of(rows))
    }

    fn keep_row(
        &mut self,
        series: &Series,
        column: Column,
        steps: usize,
        rows: &mut Vec<Row>,
    ) -> Result<(), QueryError> {
        if column.is_empty() {
            return Ok(());
        }
        let column = if column.values().len() == steps {
            column
        } else {
            column.broadcast(steps)
        };
        let present = column.count();
        self.budget.note_queryable(present);
        self.budget.hold(present)?;
        self.budget.room(rows.len() + 1, steps)?;
        rows.push(Row {
            labels: series.labels.clone(),
            drop_name: false,
            column,
        });
        Ok(())
    }

    /// The series of a selector that may have samples in `mint..=maxt`.
    pub(crate) fn series_of(
        &mut self,
        selector: &VectorSelector,
        mint: i64,
        maxt: i64,
    ) -> Result<Vec<Series>, QueryError> {
        let selection = Selection {
            matchers: &selector.matchers,
            mint,
            maxt,
        };
        let series = self.storage.select(&selection)?;
        self.budget.check()?;
        Ok(series)
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
        series.source.read(mint, maxt, samples)?;
        self.budget.note_read(samples.len());
        Ok(())
    }
}

fn fill_newest(samples: &Samples, look: Grid, lookback: i64, take: Take, out: &mut [f64]) {
    let mut next = 0;
    for (t, slot) in look.times().zip(out) {
        while samples.ts.get(next).is_some_and(|ts| *ts <= t) {
            next += 1;
        }
        let Some(newest) = next.checked_sub(1) else { continue };
        let (Some(ts), Some(value)) = (samples.ts.get(newest), samples.values.get(newest)) else {
            continue;
        };
        if *ts > t.saturating_sub(lookback) && !is_stale_nan(*value) {
            *slot = match take {
                Take::Value => *value,
                Take::Time => *ts as f64 / 1000.0,
            };
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
        let samples = Samples {
            ts: pairs.iter().map(|p| p.0).collect(),
            values: pairs.iter().map(|p| p.1).collect(),
        };
        let mut column = Column::absent(look.len());
        fill_newest(&samples, look, 300, take, column.values_mut());
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
