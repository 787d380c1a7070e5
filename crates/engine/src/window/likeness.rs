//! Histograms of one bucket behave as the floats that count it: every function that knows both is asked about both.

use std::sync::Arc;

use cupola_histogram::FloatHistogram;
use cupola_storage::{SampleValue, Samples};
use proptest::prelude::*;

use super::testing::{histogram_of, run, run_mixed};
use super::{
    Average, Counted, ExtendedKind, ExtendedRate, Extrapolated, InstantRate, Kernel, RateKind, Reach, Sum,
    counted_anchored, knows_starts,
};
use crate::column::Column;
use crate::grid::Grid;

// Samples of a counter that is reset now and then; some know since when they count.
fn series() -> impl Strategy<Value = Vec<(i64, f64, i64)>> {
    let sample = (
        1_i64..30,
        0_i32..20,
        prop_oneof![3 => Just(None), 1 => (0_i64..60).prop_map(Some)],
    );
    prop::collection::vec(sample, 0..40).prop_map(|steps| {
        let mut t = 100;
        let samples = steps.into_iter().map(|(gap, value, age)| {
            t += gap;
            (t, f64::from(value), age.map_or(0, |age| t - age))
        });
        samples.collect()
    })
}

fn histogram(value: f64) -> Arc<FloatHistogram> {
    let mut histogram = histogram_of(value);
    // A bucket that stays empty would be left out of results.
    Arc::make_mut(&mut histogram).zero_count = 1.0;
    histogram
}

// How far windows reach further back and ahead.
type Further = (i64, i64);

fn kernels() -> Vec<(&'static str, Further, Box<dyn Kernel>)> {
    let (plain, anchored, smoothed) = ((0, 0), (70, 0), (70, 70));
    let mut all: Vec<(&'static str, Further, Box<dyn Kernel>)> = vec![
        ("irate", plain, Box::new(InstantRate { is_rate: true })),
        ("idelta", plain, Box::new(InstantRate { is_rate: false })),
        ("changes", plain, Box::new(Counted::changes())),
        ("resets", plain, Box::new(Counted::resets())),
        (
            "changes anchored",
            anchored,
            Box::new(counted_anchored(Counted::changes())),
        ),
        (
            "resets anchored",
            anchored,
            Box::new(counted_anchored(Counted::resets())),
        ),
        ("sum_over_time", plain, Box::new(Sum::default())),
        ("avg_over_time", plain, Box::new(Average::default())),
    ];
    for (name, rate) in [
        ("rate", RateKind::Rate),
        ("increase", RateKind::Increase),
        ("delta", RateKind::Delta),
    ] {
        all.push((name, plain, Box::new(Extrapolated::new(rate, 60))));
        for (extended, further) in [(ExtendedKind::Anchored, anchored), (ExtendedKind::Smoothed, smoothed)] {
            let kernel = ExtendedRate {
                extended,
                rate,
                range_seconds: 0.06,
            };
            all.push((name, further, Box::new(kernel)));
        }
    }
    all
}

proptest! {
    #[test]
    fn histograms_of_one_bucket_are_as_floats(all in series(), range in 1_i64..200, step in 1_i64..50) {
        let grid = Grid::range(50, 700, step);
        let (mut floats, mut histograms) = (Samples::default(), Samples::default());
        for (t, value, start) in all {
            floats.push_started(t, value, start);
            histograms.push_value(t, SampleValue::Histogram(histogram(value)), start);
        }
        for (name, (before, after), mut kernel) in kernels() {
            let reach = Reach {
                range,
                before,
                after,
            };
            // As the engine does: only where a start is known it is asked about.
            let expected = if knows_starts(&floats) {
                run_mixed(kernel.as_mut(), &floats, grid, reach).0
            } else {
                Column::of(run(kernel.as_mut(), &floats, grid, reach))
            };
            let (got, notes) = run_mixed(kernel.as_mut(), &histograms, grid, reach);
            for step in 0..grid.len() {
                let count = got.get(step).or(got.histogram(step).map(|histogram| histogram.count));
                let near = match (count, expected.get(step)) {
                    (Some(a), Some(b)) => (a - b).abs() <= 1e-9 * a.abs().max(b.abs()).max(1.0),
                    (a, b) => a == b,
                };
                prop_assert!(near, "{name} at {}: {count:?} instead of {:?}", grid.at(step), expected.get(step));
            }
            // Nothing is wrong but starts, and that these are no gauges.
            let wrong = |text: &&String| !text.contains("start time") && !text.contains("is not a gauge");
            prop_assert_eq!(notes.0.iter().find(wrong), None);
            prop_assert!(notes.1.is_empty());
        }
    }
}
