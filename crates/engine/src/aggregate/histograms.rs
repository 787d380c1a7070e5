//! Native histograms in `sum` and `avg`, and what the other aggregations do with them.

use cupola_histogram::{FloatHistogram, HistogramMean, HistogramSum, Incompatible, Reconciled};
use cupola_model::METRIC_NAME;
use cupola_promql::Span;
use cupola_storage::SampleValue;

use crate::annotations::Annotations;
use crate::column::{Column, Row, weight};

/// What an aggregation does with native histograms.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Treatment {
    /// Adds them up.
    Sum,
    /// Takes their mean.
    Mean,
    /// Sees that there is a value.
    Present,
    /// Looks at numbers only, and says so.
    Ignored,
}

// A sum or mean in the making.
enum Running {
    Sum(HistogramSum),
    Mean(HistogramMean),
}

impl Running {
    fn of(treatment: Treatment, first: &FloatHistogram) -> Self {
        if treatment == Treatment::Mean {
            Self::Mean(HistogramMean::new(first))
        } else {
            Self::Sum(HistogramSum::new(first))
        }
    }

    fn add(&mut self, histogram: &FloatHistogram) -> Result<Reconciled, Incompatible> {
        match self {
            Self::Sum(sum) => sum.add(histogram),
            Self::Mean(mean) => mean.add(histogram),
        }
    }

    fn value(&self) -> FloatHistogram {
        match self {
            Self::Sum(sum) => sum.value(),
            Self::Mean(mean) => mean.value(),
        }
    }
}

// One step of a group that has a histogram there.
struct Step {
    // `None` where numbers came first: the point is lost then.
    running: Option<Running>,
    has_number: bool,
    // Exponential and custom buckets met. Upstream looks at nothing that comes after.
    is_incompatible: bool,
    has_collision: bool,
    added: usize,
    // What it is taken to occupy.
    bytes: usize,
}

impl Step {
    // A sum may grow with every layout that is new to it; it is measured whenever the number of histograms doubled.
    fn measure(&mut self) -> usize {
        if !self.added.is_power_of_two() {
            return 0;
        }
        let Some(running) = &self.running else {
            return 0;
        };
        // The sum and what its floats could not hold.
        let bytes = weight(&running.value()) * 32;
        let grown = bytes.saturating_sub(self.bytes);
        self.bytes += grown;
        grown
    }
}

/// The histograms of one group of `sum` or `avg`, by step.
pub(crate) struct Blend {
    treatment: Treatment,
    steps: Vec<Option<Box<Step>>>,
    has_reconciled: bool,
}

impl Blend {
    pub(crate) fn new(treatment: Treatment, steps: usize) -> Self {
        let mut all = Vec::new();
        all.resize_with(steps, || None);
        Self {
            treatment,
            steps: all,
            has_reconciled: false,
        }
    }

    /// Takes one series; `had_number` tells at which steps a number came before. Returns how many bytes more it needs.
    pub(crate) fn add(
        &mut self,
        row: &Row,
        had_number: impl Fn(usize) -> bool,
        notes: &mut Annotations<'_>,
        place: Span,
    ) -> usize {
        let mut grown = 0;
        for (step, slot) in self.steps.iter_mut().enumerate() {
            let Some(histogram) = row.column.histogram(step) else {
                if let Some(state) = slot.as_mut().filter(|state| !state.is_incompatible) {
                    state.has_number |= row.column.get(step).is_some();
                }
                continue;
            };
            let Some(state) = slot else {
                let has_number = had_number(step);
                let mut state = Step {
                    running: (!has_number).then(|| Running::of(self.treatment, histogram)),
                    has_number,
                    is_incompatible: false,
                    has_collision: false,
                    added: 1,
                    bytes: 0,
                };
                grown += size_of::<Step>() + state.measure();
                *slot = Some(Box::new(state));
                continue;
            };
            if state.is_incompatible {
                continue;
            }
            let Some(running) = &mut state.running else {
                continue;
            };
            match running.add(histogram) {
                Ok(told) => {
                    state.has_collision |= told.counter_reset_collision;
                    self.has_reconciled |= told.bounds_reconciled;
                    state.added += 1;
                    grown += state.measure();
                }
                Err(Incompatible) => {
                    state.is_incompatible = true;
                    notes.mixed_bucket_schemas(row.labels.value(METRIC_NAME), place);
                }
            }
        }
        grown
    }

    /// Puts the histograms into the group's column of numbers; a point that both kinds went into is lost.
    pub(crate) fn finish(self, column: &mut Column, notes: &mut Annotations<'_>, place: Span) {
        if self.has_reconciled {
            notes.reconciled_bounds("aggregation", place);
        }
        let (mut has_mix, mut has_collision) = (false, false);
        for (step, state) in self.steps.into_iter().enumerate() {
            let Some(state) = state else {
                continue;
            };
            has_mix |= state.has_number;
            let value = state
                .running
                .filter(|_| !state.has_number && !state.is_incompatible)
                .map(|running| {
                    has_collision |= state.has_collision;
                    let mut histogram = running.value();
                    histogram.compact(0);
                    SampleValue::Histogram(histogram.into())
                });
            column.set(step, value);
        }
        if has_mix {
            notes.mixed_aggregation(place);
        }
        if has_collision {
            notes.conflicting_resets("aggregation", place);
        }
    }
}
