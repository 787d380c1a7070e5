//! Since when the counters of a series count: Prometheus's start timestamps (`st-storage` of 3.14), as steps over time.
//!
//! A start changes where a counter begins anew, which is seldom, so a series has few steps however many samples it has.
//! Only what one sample after the other tells of its own start, as deltas do, has a step a sample.

use crate::Samples;

/// The starts of one series' samples: each step says since when the samples from its time on count, until the next step.
///
/// Times and starts are milliseconds since the epoch; a start of 0 is one that is not known. Before the first step none is.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Starts {
    // Time and start; times ascend, and no step has the start of the one before it.
    steps: Vec<(i64, i64)>,
}

impl Starts {
    /// The starts of samples in the order of time.
    #[must_use]
    pub fn of(samples: impl IntoIterator<Item = (i64, i64)>) -> Self {
        let mut all = Self::default();
        for (ts, start) in samples {
            all.push(ts, start);
        }
        all
    }

    /// Whether no start is known.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.steps.is_empty()
    }

    /// The steps: time and start.
    #[must_use]
    pub fn steps(&self) -> &[(i64, i64)] {
        &self.steps
    }

    // How many steps are at `ts` or before it.
    fn until(&self, ts: i64) -> usize {
        self.steps.partition_point(|(at, _)| *at <= ts)
    }

    fn before(&self, step: usize) -> i64 {
        let last = step.checked_sub(1).and_then(|last| self.steps.get(last));
        last.map_or(0, |(_, start)| *start)
    }

    /// The start of a sample at `ts`; 0 where it is not known.
    #[must_use]
    pub fn at(&self, ts: i64) -> i64 {
        self.before(self.until(ts))
    }

    /// The start of a sample newer than all steps.
    #[must_use]
    pub fn last(&self) -> i64 {
        self.before(self.steps.len())
    }

    /// Adds a sample newer than all others. What is not newer is [`Starts::set`].
    pub fn push(&mut self, ts: i64, start: i64) {
        match self.steps.last() {
            Some((last, _)) if *last >= ts => self.set(ts, start, None),
            _ if self.last() == start => {}
            _ => self.steps.push((ts, start)),
        }
    }

    /// Sets the start of the sample at `ts`, and of no other: `next` is the time of the one behind it, if there is one.
    pub fn set(&mut self, ts: i64, start: i64, next: Option<i64>) {
        let until = self.until(ts);
        let held = self.before(until);
        if held == start {
            return;
        }
        let from = self.steps.partition_point(|(at, _)| *at < ts);
        // What comes next goes on as it did.
        let goes_on = next.filter(|next| {
            let following = self.steps.get(until);
            following.is_none_or(|(at, _)| at > next)
        });
        let anew = std::iter::once((ts, start)).chain(goes_on.map(|next| (next, held)));
        self.steps.splice(from..until, anew);
        self.tidy();
    }

    // No step says what the one before it says.
    fn tidy(&mut self) {
        let mut before = 0;
        self.steps.retain(|(_, start)| {
            let is_news = *start != before;
            before = *start;
            is_news
        });
    }

    /// Adds the steps of what follows; nothing of it is older than `first`, its first sample, and all here is.
    pub fn follow(&mut self, later: &Self, first: i64) {
        self.steps.retain(|(at, _)| *at < first);
        self.steps.push((first, later.at(first)));
        self.steps.extend(later.steps.iter().filter(|(at, _)| *at > first));
        self.tidy();
    }

    /// Those of the samples between two times, both inclusive.
    #[must_use]
    pub fn between(&self, mint: i64, maxt: i64) -> Self {
        let mut some = Self::default();
        some.push(mint, self.at(mint));
        let inner = self.steps.iter().filter(|(at, _)| mint < *at && *at <= maxt);
        some.steps.extend(inner);
        some.tidy();
        some
    }

    /// Forgets those of samples before `mint`.
    pub fn truncate(&mut self, mint: i64) {
        // The step that stands at `mint` stays where it is.
        let past = self.until(mint).saturating_sub(1);
        self.steps.drain(..past);
        if let Some((at, 0)) = self.steps.first()
            && *at <= mint
        {
            self.steps.remove(0);
        }
    }

    /// Writes the starts of the samples that were added to `out` behind the first `floats` floats and `histograms`
    /// histograms, in the place of those that are there.
    pub fn fill(&self, out: &mut Samples, floats: usize, histograms: usize) {
        self.fill_column(&out.ts, &mut out.starts, floats);
        self.fill_column(&out.histograms.ts, &mut out.histograms.starts, histograms);
    }

    fn fill_column(&self, ts: &[i64], starts: &mut Vec<i64>, from: usize) {
        let added = ts.get(from..).unwrap_or_default();
        let Some(first) = added.first() else { return };
        let mut step = self.until(*first);
        let mut start = self.before(step);
        let is_known = start != 0 || ts.last().is_some_and(|last| self.until(*last) > step);
        if !is_known && starts.is_empty() {
            return;
        }
        starts.resize(from, 0);
        for ts in added {
            while let Some((at, next)) = self.steps.get(step)
                && at <= ts
            {
                start = *next;
                step += 1;
            }
            starts.push(start);
        }
    }
}

impl From<Vec<(i64, i64)>> for Starts {
    /// Of steps as they were stored; those that do not ascend are left out.
    fn from(mut steps: Vec<(i64, i64)>) -> Self {
        let mut last = None;
        steps.retain(|(at, _)| {
            let ascends = last.is_none_or(|last| last < *at);
            if ascends {
                last = Some(*at);
            }
            ascends
        });
        let mut all = Self { steps };
        all.tidy();
        all
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    fn model_of(all: &BTreeMap<i64, i64>) -> Starts {
        Starts::of(all.iter().map(|(ts, start)| (*ts, *start)))
    }

    proptest! {
        #[test]
        fn each_sample_keeps_its_start_in_whatever_order_they_come(
            all in prop::collection::vec((0..60_i64, 0..3_i64), 0..80),
            (mint, maxt) in (0..60_i64, 0..60_i64),
        ) {
            let (mut starts, mut model) = (Starts::default(), BTreeMap::new());
            for (ts, start) in all {
                let next = model.range(ts + 1..).next().map(|(ts, _)| *ts);
                match next {
                    None => starts.push(ts, start),
                    Some(_) => starts.set(ts, start, next),
                }
                model.insert(ts, start);
            }
            for (ts, start) in &model {
                prop_assert_eq!(starts.at(*ts), *start);
            }
            let mut samples = Samples::default();
            samples.push(-1, 0.0);
            model.keys().for_each(|ts| samples.push(*ts, 1.0));
            starts.fill(&mut samples, 1, 0);
            for ((ts, start), got) in model.iter().zip(samples.iter().skip(1)) {
                prop_assert_eq!((*ts, *start), (got.0, got.2));
            }
            let some = starts.between(mint, maxt);
            for (ts, start) in model.range(mint..maxt.max(mint)) {
                prop_assert_eq!(some.at(*ts), *start);
            }
            let (older, newer): (BTreeMap<_, _>, BTreeMap<_, _>) = model.iter().partition(|(ts, _)| **ts < mint);
            if let Some((first, _)) = newer.first_key_value() {
                let mut joined = model_of(&older);
                joined.follow(&model_of(&newer), *first);
                for (ts, start) in &model {
                    prop_assert_eq!(joined.at(*ts), *start);
                }
            }
            let mut left = starts.clone();
            left.truncate(mint);
            for (ts, start) in model.range(mint..) {
                prop_assert_eq!(left.at(*ts), *start);
            }
            prop_assert_eq!(Starts::from(starts.steps().to_vec()), starts);
        }
    }

    #[test]
    fn a_counter_that_goes_on_has_one_step() {
        let starts = Starts::of((0..1000).map(|n| (n, if n < 600 { 5 } else { 590 })));
        assert_eq!(starts.steps(), [(0, 5), (600, 590)]);
    }
}
