//! What a recording rule gave.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use cupola_histogram::CounterResetHint;
use cupola_model::{Labels, METRIC_NAME, STALE_NAN};
use cupola_storage::{SampleValue, Samples};

use super::overlay::Overlay;
use super::{Given, Made, Run};

/// What is known of a recording rule between two windows.
#[derive(Default)]
pub(super) struct RecordingRun {
    series: BTreeSet<Labels>,
    samples: u64,
    // Those that the last evaluation gave: where they are missing next, they end.
    last: BTreeSet<Labels>,
}

impl RecordingRun {
    pub(super) fn made(&self) -> Made {
        Made::Recording {
            series: self.series.len(),
            samples: self.samples,
        }
    }
}

pub(super) fn take(run: &mut Run<'_>, record: &str, first: i64, last: i64, mut given: Given, overlay: &Overlay) {
    let mut rows: BTreeMap<Labels, Vec<Samples>> = BTreeMap::new();
    for (labels, samples) in std::mem::take(&mut given.rows) {
        let mut labels = labels.to_builder();
        labels.set(METRIC_NAME, record);
        for (name, value) in &run.rule.labels {
            labels.set(name, value);
        }
        rows.entry(labels.build()).or_default().push(samples);
    }
    let mut by_step: BTreeMap<i64, u64> = BTreeMap::new();
    let limit = run.source.group.limit;
    for parts in rows.values() {
        if parts.len() == 1 && limit == 0 {
            continue;
        }
        let mut times: Vec<i64> = parts.iter().flat_map(times).collect();
        times.sort_unstable();
        for pair in times.windows(2) {
            if let [a, b] = pair
                && a == b
                && given.failed.insert(*a)
            {
                run.failed(
                    *a,
                    1,
                    "vector contains metrics with the same labelset after applying rule labels",
                );
            }
        }
        times.dedup();
        times.iter().for_each(|ts| *by_step.entry(*ts).or_default() += 1);
    }
    for (ts, count) in by_step.into_iter().filter(|(_, count)| limit > 0 && *count > limit) {
        if given.failed.insert(ts) {
            run.failed(ts, 1, &format!("exceeded limit of {limit} with {count} series"));
        }
    }
    let mut values: BTreeMap<Labels, BTreeMap<i64, SampleValue>> = BTreeMap::new();
    for (labels, parts) in rows {
        let samples = parts
            .iter()
            .flat_map(|samples| samples.iter().map(|(ts, value, _)| (ts, value)));
        let samples = samples.filter(|(ts, value)| !given.failed.contains(ts) && can_be_stored(value));
        values.entry(labels).or_default().extend(samples);
    }
    let state = &mut run.recording;
    for labels in std::mem::take(&mut state.last) {
        values.entry(labels.clone()).or_default();
        state.last.insert(labels);
    }
    // A step that failed writes nothing, staleness markers neither.
    let steps = (0..=(last - first) / run.interval_ms).map(|step| first + step * run.interval_ms);
    let steps: Vec<i64> = steps.filter(|ts| !given.failed.contains(ts)).collect();
    for (labels, samples) in &values {
        let mut is_there = state.last.contains(labels);
        let mut samples = samples.iter().peekable();
        if samples.peek().is_some() {
            state.series.insert(labels.clone());
        }
        for ts in &steps {
            let written = ts - run.offset_ms;
            match samples.next_if(|(at, _)| *at <= ts) {
                Some((_, value)) => {
                    overlay.push(labels, written, as_stored(value));
                    state.samples += 1;
                    is_there = true;
                }
                None if is_there => {
                    overlay.push(labels, written, SampleValue::Float(STALE_NAN));
                    is_there = false;
                }
                None => {}
            }
        }
        match is_there {
            true => drop(state.last.insert(labels.clone())),
            false => drop(state.last.remove(labels)),
        }
    }
}

// What a storage refuses ends the series, as in a server.
fn can_be_stored(value: &SampleValue) -> bool {
    match value {
        SampleValue::Float(_) => true,
        SampleValue::Histogram(histogram) => histogram.validate().is_ok(),
    }
}

// Where the samples of what it was made of went on, it may be reset all the same: a storage looks for itself.
fn as_stored(value: &SampleValue) -> SampleValue {
    match value {
        SampleValue::Histogram(histogram) if histogram.counter_reset_hint == CounterResetHint::NotCounterReset => {
            let mut histogram = (**histogram).clone();
            histogram.counter_reset_hint = CounterResetHint::Unknown;
            SampleValue::Histogram(Arc::new(histogram))
        }
        value => value.clone(),
    }
}

fn times(samples: &Samples) -> Vec<i64> {
    samples.iter().map(|(ts, ..)| ts).collect()
}
