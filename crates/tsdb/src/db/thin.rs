//! What a tier keeps of one series.
//!
//! Time is divided into windows `[k * resolution, (k + 1) * resolution)`. Of each window the smallest and the largest
//! value, the sum and the number of the samples are kept, at the time of the last one. Beside that a few samples are kept
//! as they are, at their own times:
//!
//! - the last one of the window, and the staleness marker behind it where there is one;
//! - those before and after a counter reset, so that what a counter has counted over many windows stays exact;
//! - the first one after a window without any, so that a counter that begins is seen to begin.
//!
//! Staleness markers are no samples otherwise. A gauge falls all the time, and to keep what lies around would keep it
//! all: a series that is not named as counters are, and that falls more often than [`FALLS_SHARE`] says, has no resets in
//! that window.

use std::sync::Arc;

use cupola_chunk::{Appended, ChunkError, Encoding, HistogramAppender, XorAppender};
use cupola_histogram::{CounterResetHint, FloatHistogram};
use cupola_model::{Labels, is_stale_nan};
use cupola_storage::{Aggregate, SampleValue, Samples};

// One of so many samples may be lower than the one before it in a series that need not be a counter; one in any case.
const FALLS_SHARE: usize = 16;

// As in raw blocks.
const SAMPLES_PER_CHUNK: usize = 120;

/// What is kept of one series.
#[derive(Debug, Default)]
pub(super) struct Thinned {
    last: Samples,
    min: Samples,
    max: Samples,
    sum: Samples,
    count: Samples,
}

impl Thinned {
    pub(super) fn of(&self, aggregate: Aggregate) -> &Samples {
        match aggregate {
            Aggregate::Last => &self.last,
            Aggregate::Min => &self.min,
            Aggregate::Max => &self.max,
            Aggregate::Sum => &self.sum,
            Aggregate::Count => &self.count,
        }
    }

    fn clear(&mut self) {
        for samples in [
            &mut self.last,
            &mut self.min,
            &mut self.max,
            &mut self.sum,
            &mut self.count,
        ] {
            samples.clear();
        }
    }
}

/// Whether the series is named as counters are. Upstream's rule for `rate()`.
pub(super) fn is_named_counter(labels: &Labels) -> bool {
    let name = labels.metric_name();
    ["_total", "_sum", "_count", "_bucket"]
        .iter()
        .any(|end| name.ends_with(end))
}

/// Thins the samples from `from` on, which must be the beginning of a window. Those of the window before it tell whether
/// a reset or a gap lies between.
pub(super) fn thin(samples: &Samples, from: i64, resolution_ms: i64, is_counter: bool, out: &mut Thinned) {
    out.clear();
    let mut last = Samples::default();
    thin_floats(samples, from, resolution_ms, is_counter, out, &mut last);
    let mut histograms = Samples::default();
    thin_histograms(samples, from, resolution_ms, &mut histograms);
    last.histograms = histograms.histograms;
    out.last = last;
}

// Which samples of a window stay, by their position.
#[derive(Default)]
struct Kept(Vec<usize>);

impl Kept {
    fn finish(&mut self) -> &[usize] {
        self.0.sort_unstable();
        self.0.dedup();
        &self.0
    }
}

// The windows of ascending times from `from` on, as ranges of positions.
fn windows(ts: &[i64], from: i64, resolution_ms: i64) -> impl Iterator<Item = (i64, std::ops::Range<usize>)> + '_ {
    let mut at = ts.partition_point(|t| *t < from);
    std::iter::from_fn(move || {
        let window = ts.get(at)?.div_euclid(resolution_ms);
        let rest = ts.get(at..)?;
        let len = rest.partition_point(|t| t.div_euclid(resolution_ms) == window);
        let range = at..at + len;
        at += len;
        Some((window, range))
    })
}

fn thin_floats(
    samples: &Samples,
    from: i64,
    resolution_ms: i64,
    is_counter: bool,
    out: &mut Thinned,
    last: &mut Samples,
) {
    let at = |i: usize| Some((*samples.ts.get(i)?, *samples.values.get(i)?));
    // The newest sample before the window: its window and value.
    let before = samples.ts.partition_point(|t| *t < from);
    let mut previous = (0..before)
        .filter_map(at)
        .rfind(|(_, value)| !is_stale_nan(*value))
        .map(|(t, value)| (t.div_euclid(resolution_ms), value));
    let mut kept = Kept::default();
    let mut falls: Vec<(Option<usize>, usize)> = Vec::new();
    for (window, range) in windows(&samples.ts, from, resolution_ms) {
        kept.0.clear();
        falls.clear();
        let (mut min, mut max, mut sum, mut rest, mut count) = (f64::NAN, f64::NAN, 0.0, 0.0, 0_usize);
        let mut newest: Option<usize> = None;
        for i in range.clone() {
            let Some((_, value)) = at(i).filter(|(_, value)| !is_stale_nan(*value)) else {
                continue;
            };
            if newest.is_none() && previous.is_none_or(|(before, _)| before < window - 1) {
                kept.0.push(i);
            }
            if previous.is_some_and(|(_, before)| value < before) {
                falls.push((newest, i));
            }
            // As PromQL: a NaN counts only where there is nothing else.
            if min.is_nan() || value < min {
                min = value;
            }
            if max.is_nan() || value > max {
                max = value;
            }
            (sum, rest) = add(sum, rest, value);
            count += 1;
            newest = Some(i);
            previous = Some((window, value));
        }
        if is_counter || falls.len() <= (count / FALLS_SHARE).max(1) {
            // The sample before the first one of a window is the last of an earlier window, which stays anyway.
            kept.0
                .extend(falls.iter().flat_map(|(before, after)| before.iter().chain([after])));
        }
        kept.0.extend(newest);
        // The marker that ends the window.
        kept.0
            .extend(range.last().filter(|i| newest.is_none_or(|newest| newest < *i)));
        for (ts, value) in kept.finish().iter().filter_map(|i| at(*i)) {
            last.push(ts, value);
        }
        if let Some((ts, _)) = newest.and_then(at) {
            out.min.push(ts, min);
            out.max.push(ts, max);
            out.sum.push(ts, if sum.is_finite() { sum + rest } else { sum });
            out.count.push(ts, count as f64);
        }
    }
}

// Neumaier's sum: `rest` is what `sum` lost in rounding.
fn add(sum: f64, rest: f64, value: f64) -> (f64, f64) {
    let total = sum + value;
    let lost = if sum.abs() >= value.abs() {
        (sum - total) + value
    } else {
        (value - total) + sum
    };
    (total, rest + lost)
}

fn thin_histograms(samples: &Samples, from: i64, resolution_ms: i64, last: &mut Samples) {
    let histograms = &samples.histograms;
    let at = |i: usize| Some((*histograms.ts.get(i)?, histograms.values.get(i)?));
    let before = histograms.ts.partition_point(|t| *t < from);
    let mut previous: Option<(i64, &Arc<FloatHistogram>)> = (0..before)
        .filter_map(at)
        .rfind(|(_, histogram)| !histogram.is_stale())
        .map(|(t, histogram)| (t.div_euclid(resolution_ms), histogram));
    let mut kept = Kept::default();
    for (window, range) in windows(&histograms.ts, from, resolution_ms) {
        kept.0.clear();
        let mut newest: Option<usize> = None;
        for i in range.clone() {
            let Some((_, histogram)) = at(i).filter(|(_, histogram)| !histogram.is_stale()) else {
                continue;
            };
            let is_first = newest.is_none() && previous.is_none_or(|(before, _)| before < window - 1);
            let is_reset = histogram.counter_reset_hint != CounterResetHint::Gauge
                && previous.is_some_and(|(_, before)| histogram.detect_reset(before));
            if is_first || is_reset {
                kept.0.push(i);
            }
            if is_reset {
                kept.0.extend(newest);
            }
            newest = Some(i);
            previous = Some((window, histogram));
        }
        kept.0.extend(newest);
        kept.0
            .extend(range.last().filter(|i| newest.is_none_or(|newest| newest < *i)));
        for (ts, histogram) in kept.finish().iter().filter_map(|i| at(*i)) {
            last.histograms.push(ts, Arc::clone(histogram), 0);
        }
    }
}

/// An encoded run of samples.
#[derive(Debug)]
pub(super) struct Chunk {
    pub(super) mint: i64,
    pub(super) maxt: i64,
    pub(super) encoding: Encoding,
    pub(super) bytes: Vec<u8>,
}

/// The chunks of these samples, ascending in time.
///
/// # Errors
/// [`ChunkError::Layout`] for a histogram that contradicts itself.
pub(super) fn encode(samples: &Samples) -> Result<Vec<Chunk>, ChunkError> {
    let mut chunks = Chunks::default();
    for (ts, value, _) in samples.iter() {
        match value {
            SampleValue::Float(value) => chunks.float(ts, value)?,
            SampleValue::Histogram(histogram) => chunks.histogram(ts, &histogram)?,
        }
    }
    chunks.cut();
    Ok(chunks.out)
}

enum Open {
    Floats(XorAppender),
    Histograms(HistogramAppender),
}

#[derive(Default)]
struct Chunks {
    out: Vec<Chunk>,
    // With the time of its first and last sample.
    open: Option<(i64, i64, Open)>,
}

impl Chunks {
    fn cut(&mut self) {
        if let Some((mint, maxt, open)) = self.open.take() {
            let (encoding, bytes) = match open {
                Open::Floats(appender) => (Encoding::Xor, appender.into_bytes()),
                Open::Histograms(appender) => (appender.encoding(), appender.into_bytes()),
            };
            self.out.push(Chunk {
                mint,
                maxt,
                encoding,
                bytes,
            });
        }
    }

    fn float(&mut self, ts: i64, value: f64) -> Result<(), ChunkError> {
        let is_full = |appender: &XorAppender| usize::from(appender.num_samples()) >= SAMPLES_PER_CHUNK;
        match &mut self.open {
            Some((_, maxt, Open::Floats(appender))) if !is_full(appender) => {
                appender.append(ts, value)?;
                *maxt = ts;
            }
            _ => {
                self.cut();
                let mut appender = XorAppender::new();
                appender.append(ts, value)?;
                self.open = Some((ts, ts, Open::Floats(appender)));
            }
        }
        Ok(())
    }

    fn histogram(&mut self, ts: i64, histogram: &FloatHistogram) -> Result<(), ChunkError> {
        let header = match &mut self.open {
            Some((_, maxt, Open::Histograms(appender))) => {
                if usize::from(appender.num_samples()) >= SAMPLES_PER_CHUNK {
                    appender.header_of_next(histogram)
                } else {
                    match appender.append(ts, histogram)? {
                        Appended::InPlace | Appended::Recoded => {
                            *maxt = ts;
                            return Ok(());
                        }
                        Appended::Cut(header) => header,
                    }
                }
            }
            _ => histogram.counter_reset_hint,
        };
        self.cut();
        // What is known of the sample before is of no use where that is not in this block.
        let header = match header {
            CounterResetHint::NotCounterReset if self.out.is_empty() => CounterResetHint::Unknown,
            header => header,
        };
        let mut appender = HistogramAppender::with_header(header);
        appender.append(ts, histogram)?;
        self.open = Some((ts, ts, Open::Histograms(appender)));
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use cupola_model::STALE_NAN;

    fn samples(pairs: &[(i64, f64)]) -> Samples {
        Samples::floats(pairs.iter().map(|p| p.0).collect(), pairs.iter().map(|p| p.1).collect())
    }

    fn thinned(pairs: &[(i64, f64)], from: i64, is_counter: bool) -> Thinned {
        let mut out = Thinned::default();
        thin(&samples(pairs), from, 100, is_counter, &mut out);
        out
    }

    // The times that stay, of windows of 100.
    #[track_caller]
    fn check(pairs: &[(i64, f64)], from: i64, is_counter: bool, expected: &[i64]) {
        assert_eq!(thinned(pairs, from, is_counter).of(Aggregate::Last).ts, expected);
    }

    #[test]
    fn the_last_of_each_window_stays_and_the_first_after_a_gap() {
        let rising: Vec<(i64, f64)> = (0..40).map(|i| (i * 10, i as f64)).collect();
        check(&rising, 0, true, &[0, 90, 190, 290, 390]);
        // The window before is known to have samples.
        check(&rising, 100, true, &[190, 290, 390]);
        check(
            &[(10, 1.0), (20, 2.0), (210, 3.0), (220, 4.0)],
            0,
            true,
            &[10, 20, 210, 220],
        );
    }

    #[test]
    fn both_sides_of_a_reset_stay() {
        let counter = [
            (0, 5.0),
            (20, 6.0),
            (40, 9.0),
            (60, 1.0),
            (80, 2.0),
            (110, 1.0),
            (130, 4.0),
        ];
        check(&counter, 0, true, &[0, 40, 60, 80, 110, 130]);
        check(&counter, 100, true, &[110, 130]);
        // A gauge that falls all the time has no resets, a rare fall of whatever is one.
        let gauge: Vec<(i64, f64)> = (0..20).map(|i| (i * 10, f64::from(u8::from(i % 2 == 0)))).collect();
        check(&gauge, 0, false, &[0, 90, 190]);
        check(&counter, 0, false, &[0, 40, 60, 80, 110, 130]);
    }

    #[test]
    fn a_marker_stays_where_it_ends_the_window_with_the_sample_before_it() {
        check(&[(0, 1.0), (20, 2.0), (30, STALE_NAN)], 0, true, &[0, 20, 30]);
        check(&[(0, 1.0), (20, STALE_NAN), (30, 3.0), (40, 4.0)], 0, true, &[0, 40]);
        check(&[(90, 1.0), (105, STALE_NAN)], 100, true, &[105]);
    }

    #[test]
    fn numbers_of_a_window_are_those_of_its_samples() {
        let out = thinned(
            &[
                (0, 1e16),
                (10, 1.0),
                (20, -1e16),
                (30, STALE_NAN),
                (150, f64::NAN),
                (250, f64::NAN),
                (260, 7.0),
            ],
            0,
            false,
        );
        let of = |aggregate| {
            let samples = out.of(aggregate);
            (samples.ts.clone(), samples.values.clone())
        };
        let times = vec![20, 150, 260];
        assert_eq!(of(Aggregate::Count), (times.clone(), vec![3.0, 1.0, 2.0]));
        let (ts, sums) = of(Aggregate::Sum);
        assert_eq!((ts, sums[0]), (times, 1.0));
        assert!(sums[1].is_nan() && sums[2].is_nan());
        assert_eq!((of(Aggregate::Min).1[0], of(Aggregate::Max).1[0]), (-1e16, 1e16));
        assert_eq!((of(Aggregate::Min).1[2], of(Aggregate::Max).1[2]), (7.0, 7.0));
        assert!(of(Aggregate::Min).1[1].is_nan());
    }

    fn histogram(count: f64) -> Arc<FloatHistogram> {
        Arc::new(FloatHistogram {
            count,
            sum: count,
            zero_count: count,
            ..FloatHistogram::default()
        })
    }

    #[test]
    fn histograms_are_thinned_by_the_same_rule_and_read_back() {
        let mut all = samples(&[(205, 1.0)]);
        for (ts, count) in [
            (0, 1.0),
            (30, 5.0),
            (40, 2.0),
            (60, 3.0),
            (70, 4.0),
            (120, 5.0),
            (130, 6.0),
        ] {
            all.histograms.push(ts, histogram(count), 0);
        }
        let mut out = Thinned::default();
        thin(&all, 0, 100, false, &mut out);
        let last = out.of(Aggregate::Last);
        assert_eq!(last.histograms.ts, [0, 30, 40, 70, 130]);
        assert!(out.of(Aggregate::Min).histograms.is_empty());
        let mut decoded = Samples::default();
        for chunk in encode(last).unwrap() {
            let before = decoded.histograms.len();
            match chunk.encoding {
                Encoding::Xor => {
                    cupola_chunk::decode_into(&chunk.bytes, i64::MIN, i64::MAX, &mut decoded.ts, &mut decoded.values)
                }
                encoding => {
                    cupola_chunk::decode_histograms(encoding, &chunk.bytes, i64::MIN, i64::MAX, |ts, value, start| {
                        decoded.histograms.push(ts, value, start);
                    })
                }
            }
            .unwrap();
            let times = decoded.histograms.ts.get(before..).unwrap_or_default();
            assert!(times.iter().all(|ts| (chunk.mint..=chunk.maxt).contains(ts)));
        }
        assert_eq!((&decoded.ts, &decoded.histograms.ts), (&last.ts, &last.histograms.ts));
        let counts = |samples: &Samples| samples.histograms.values.iter().map(|h| h.count).collect::<Vec<_>>();
        assert_eq!(counts(&decoded), counts(last));
    }
}
