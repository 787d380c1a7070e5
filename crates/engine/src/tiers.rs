//! Which selectors downsampled tiers may answer.
//!
//! Samples are used wherever there are samples and the difference could be seen: a tier stands for them only where the
//! step, and the range if there is one, is at least [`FEWEST_WINDOWS`] of its windows, and where the function can be
//! computed from what a tier keeps. So an instant query, and with it every rule, is answered from samples. Where there
//! are none any more the finest tier answers whatever is asked, and a warning tells where the function would need more.

use cupola_model::Labels;
use cupola_promql::{Call, Span, VectorSelector};
use cupola_storage::{Aggregate, Coarse, Hints, Selection, Series, TierUse};
use hashbrown::HashMap;

use crate::column::Column;
use crate::error::{QueryError, Stage};
use crate::eval::Evaluator;
use crate::grid::Grid;
use crate::query::SourceResolution;
use crate::range::Range;
use crate::select::Sink;
use crate::window::Sum;

// A step or a range has at least so many windows of a tier that stands for samples.
const FEWEST_WINDOWS: i64 = 5;

// A selected series that is not read yet: its labels are shared, its source is a list of chunks.
const SERIES_BYTES: usize = 160;

/// What a selector is asked for.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Wanted {
    /// What of a tier's window would do; `None` where nothing but the samples does.
    pub(crate) aggregate: Option<Aggregate>,
    /// The range, if there is one.
    pub(crate) range_ms: Option<i64>,
    /// The step; 0 where there is one step.
    pub(crate) step_ms: i64,
}

/// A tier that answers a selector, at least for some time.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Tiered {
    pub(crate) coarse: Coarse,
    pub(crate) used: TierUse,
    // Whether the function would need more than the tier has.
    is_poor: bool,
}

impl Tiered {
    /// The same tier, asked for something else.
    pub(crate) fn of(self, aggregate: Aggregate) -> Self {
        let coarse = Coarse {
            aggregate,
            ..self.coarse
        };
        Self { coarse, ..self }
    }
}

/// How far back a sample may lie to be the newest one: in a tier it is up to a window older.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Lookback {
    plain_ms: i64,
    coarse_ms: i64,
    until: i64,
}

impl Lookback {
    pub(crate) fn new(plain_ms: i64, tier: Option<&Tiered>) -> Self {
        Self {
            plain_ms,
            coarse_ms: plain_ms.saturating_add(tier.map_or(0, |tier| tier.used.resolution_ms)),
            until: tier.map_or(i64::MIN, |tier| tier.used.until),
        }
    }

    /// Whether a sample at `ts` is young enough at `t`.
    #[inline]
    pub(crate) fn reaches(&self, ts: i64, t: i64) -> bool {
        let lookback = if ts < self.until { self.coarse_ms } else { self.plain_ms };
        ts > t.saturating_sub(lookback)
    }
}

/// What of a tier's window a function of a range can be computed from.
pub(crate) fn aggregate_for(function: &str) -> Option<Aggregate> {
    match function {
        "rate" | "increase" | "delta" | "resets" | "last_over_time" | "ts_of_last_over_time" => Some(Aggregate::Last),
        "min_over_time" => Some(Aggregate::Min),
        "max_over_time" => Some(Aggregate::Max),
        // An average is a sum by a count.
        "sum_over_time" | "avg_over_time" => Some(Aggregate::Sum),
        "count_over_time" | "present_over_time" | "absent_over_time" => Some(Aggregate::Count),
        _ => None,
    }
}

impl<'q> Evaluator<'q> {
    /// The tier that answers, if one does.
    pub(crate) fn tier_for(&self, mint: i64, maxt: i64, wanted: &Wanted) -> Option<Tiered> {
        let by_range = wanted.range_ms.map_or(i64::MAX, |range| range / FEWEST_WINDOWS);
        let allowed = match (wanted.aggregate, self.source_resolution) {
            (_, SourceResolution::UpTo(..=0)) => return None,
            (None, _) => 0,
            (Some(_), SourceResolution::Auto) => by_range.min(wanted.step_ms / FEWEST_WINDOWS),
            (Some(_), SourceResolution::UpTo(resolution)) => by_range.min(resolution),
        };
        let coarse = Coarse {
            aggregate: wanted.aggregate.unwrap_or(Aggregate::Last),
            resolution_ms: allowed,
        };
        let used = self.storage.tiers(mint, maxt, &coarse)?;
        Some(Tiered {
            coarse,
            used,
            is_poor: wanted.aggregate.is_none() || used.resolution_ms > by_range,
        })
    }

    /// The series of a selector that may have samples in `mint..=maxt`. `span` is where it stands in the query.
    pub(crate) fn series_of(
        &mut self,
        selector: &VectorSelector,
        mint: i64,
        maxt: i64,
        tier: Option<&Tiered>,
        span: Span,
    ) -> Result<Vec<Series>, QueryError> {
        self.series_with(selector, (mint, maxt), tier, span, false)
    }

    /// As [`Evaluator::series_of`]; where `newest`, nobody looks at other samples of the range than each series' newest.
    pub(crate) fn series_with(
        &mut self,
        selector: &VectorSelector,
        (mint, maxt): (i64, i64),
        tier: Option<&Tiered>,
        span: Span,
        newest: bool,
    ) -> Result<Vec<Series>, QueryError> {
        let selection = Selection {
            matchers: &selector.matchers,
            mint,
            maxt,
        };
        let cancel = self.budget.cancel();
        let go_on = || cancel.check(Stage::Evaluation).is_ok();
        let selected = match tier {
            Some(tier) => self.storage.select_coarse(&selection, &tier.coarse, &go_on),
            None => {
                // How many samples a user's query reads is told: it reads all of them.
                let hints = Hints {
                    newest: newest && self.repeats,
                    repeats: self.repeats,
                };
                self.storage.select_hinted(&selection, hints, &go_on)
            }
        };
        // Why it was stopped is told here.
        self.budget.check()?;
        let series = selected?;
        self.budget.charge(series.len() * SERIES_BYTES)?;
        if let Some(tier) = tier.filter(|_| !series.is_empty()) {
            self.notes.coarse(tier.used.resolution_ms, tier.is_poor, span);
        }
        Ok(series)
    }

    /// `avg_over_time` of a range that a tier answers: the sum of the windows by the number of their samples.
    pub(crate) fn coarse_average(
        &mut self,
        range: &Range<'_>,
        tier: Tiered,
        grid: Grid,
        sink: Sink<'_, 'q>,
    ) -> Result<(), QueryError> {
        let mut sums = Vec::new();
        let of = |aggregate| range.answered_by(Some(tier.of(aggregate)));
        self.range_rows(&of(Aggregate::Sum), grid, &mut Sum::default(), &mut |this, row| {
            this.keep(row, &mut sums)
        })?;
        let mut sums: HashMap<Labels, Column> = sums.into_iter().map(|row| (row.labels, row.column)).collect();
        self.range_rows(&of(Aggregate::Count), grid, &mut Sum::default(), &mut |this, row| {
            let Some(mut column) = sums.remove(&row.labels) else {
                return Ok(());
            };
            for (sum, count) in column.values_mut().iter_mut().zip(row.column.values()) {
                if !cupola_model::is_stale_nan(*sum) {
                    *sum /= count;
                }
            }
            column.map_histograms(|step, mut histogram| {
                std::sync::Arc::make_mut(&mut histogram).div(row.column.get(step)?);
                Some(cupola_storage::SampleValue::Histogram(histogram))
            });
            sink(this, crate::column::Row { column, ..row })
        })
    }

    /// Finds the tier that answers the range of a call.
    pub(crate) fn tiered_range<'e>(&self, range: Range<'e>, call: &Call, grid: Grid) -> Range<'e> {
        let plain = range.extended().is_none();
        let aggregate = aggregate_for(call.function.name).filter(|_| plain);
        range.answered_by(self.range_tier(&range, aggregate, grid))
    }

    /// The tier that answers a range, if it is one of a selector.
    pub(crate) fn range_tier(&self, range: &Range<'_>, aggregate: Option<Aggregate>, grid: Grid) -> Option<Tiered> {
        let (mint, maxt) = range.selected(grid, self.lookback_ms)?;
        let wanted = Wanted {
            aggregate,
            range_ms: Some(range.range_ms),
            step_ms: grid.step(),
        };
        self.tier_for(mint, maxt, &wanted)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_samples_of_tiers_may_be_older() {
        let tier = Tiered {
            coarse: Coarse {
                aggregate: Aggregate::Last,
                resolution_ms: 300,
            },
            used: TierUse {
                resolution_ms: 300,
                until: 1000,
                reach_ms: 300,
            },
            is_poor: false,
        };
        let lookback = Lookback::new(100, Some(&tier));
        assert!(lookback.reaches(999, 1398) && !lookback.reaches(999, 1399));
        assert!(lookback.reaches(1000, 1099) && !lookback.reaches(1000, 1100));
        let plain = Lookback::new(100, None);
        assert!(plain.reaches(999, 1098) && !plain.reaches(999, 1099));
    }
}
