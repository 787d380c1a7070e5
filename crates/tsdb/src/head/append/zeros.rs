//! Zeros where series begin to count: Prometheus's feature `created-timestamp-zero-ingestion`.

use std::sync::atomic::Ordering;

use cupola_histogram::{CounterResetHint, FloatHistogram, Histogram, NativeHistogram};
use foldhash::HashMap;

use super::{HeadAppender, Place};
use crate::head::{Head, Inner};
use crate::wal::{LoggedHistogram, LoggedSample, LoggedStart};

impl HeadAppender {
    /// Puts a zero before each sample of the batch that says since when it counts, at that moment, if it lies behind all
    /// that its series has. What is not so is what samples say all the time, and no mistake. Called under the log's lock.
    pub(super) fn add_zeros(&mut self) {
        let head = self.head.clone();
        // Of a series that is still in the log nobody knows yet what it has. One that begins now gets no zero, which costs its
        // first increase.
        if head.is_replaying.load(Ordering::Acquire) {
            return;
        }
        let inner = head.inner.read();
        let mut zeros = Zeros::of(&self.starts, &head, &inner);
        if zeros.starts.is_empty() {
            return;
        }
        let histograms = std::mem::take(&mut self.floats_before).into_iter();
        let mut histograms = histograms.zip(std::mem::take(&mut self.histograms)).peekable();
        for (at, sample) in std::mem::take(&mut self.samples).into_iter().enumerate() {
            while let Some((_, histogram)) = histograms.next_if(|(before, _)| *before <= at) {
                self.take_with_zero(histogram, &mut zeros, &inner);
            }
            let LoggedSample { series, ts, .. } = sample;
            if let Some(ts) = zeros.before(series, ts) {
                hold(&inner, series);
                let value = 0.0;
                self.take(Some(Place::InOrder), LoggedSample { series, ts, value });
            }
            self.take(Some(Place::InOrder), sample);
        }
        for (_, histogram) in histograms {
            self.take_with_zero(histogram, &mut zeros, &inner);
        }
    }

    fn take_with_zero(&mut self, histogram: LoggedHistogram, zeros: &mut Zeros, inner: &Inner) {
        let series = histogram.series;
        if let Some(ts) = zeros.before(series, histogram.ts) {
            hold(inner, series);
            let value = empty(&histogram.value);
            self.take_histogram(Some(Place::InOrder), LoggedHistogram { series, ts, value });
        }
        self.take_histogram(Some(Place::InOrder), histogram);
    }
}

// A series is held as often as the batch has samples of it.
fn hold(inner: &Inner, series: u64) {
    if let Some(series) = inner.get(series) {
        series.hold();
    }
}

struct Zeros {
    // By series and time of the sample.
    starts: HashMap<(u64, i64), i64>,
    // The newest sample of each of these series so far.
    newest: HashMap<u64, i64>,
}

impl Zeros {
    fn of(told: &[LoggedStart], head: &Head, inner: &Inner) -> Self {
        let mut zeros = Self {
            starts: HashMap::default(),
            newest: HashMap::default(),
        };
        let open_from = head.open_from.load(Ordering::Acquire);
        for &LoggedStart { series, ts, start } in told {
            // As old as a sample may be in a head that has this one.
            let oldest = open_from.max(inner.maxt.max(ts).saturating_sub(head.late_ms));
            if start >= ts || start < oldest {
                continue;
            }
            let Some(known) = inner.get(series) else { continue };
            let last = known.last().unwrap_or(i64::MIN);
            if start > last {
                zeros.starts.insert((series, ts), start);
                zeros.newest.insert(series, last);
            }
        }
        zeros
    }

    // When the zero before a sample is, where there is to be one.
    fn before(&mut self, series: u64, ts: i64) -> Option<i64> {
        let newest = self.newest.get_mut(&series)?;
        let start = self.starts.get(&(series, ts)).copied();
        let zero = start.filter(|start| start > newest);
        *newest = ts.max(*newest);
        zero
    }
}

// A histogram in which nothing is counted yet, for the chunk that the one behind it is for.
fn empty(histogram: &NativeHistogram) -> NativeHistogram {
    let counter_reset_hint = CounterResetHint::CounterReset;
    match histogram {
        NativeHistogram::Integer(h) => NativeHistogram::Integer(Histogram {
            counter_reset_hint,
            schema: h.schema,
            zero_threshold: h.zero_threshold,
            custom_values: h.custom_values.clone(),
            ..Histogram::default()
        }),
        NativeHistogram::Float(h) => NativeHistogram::Float(FloatHistogram {
            counter_reset_hint,
            schema: h.schema,
            zero_threshold: h.zero_threshold,
            custom_values: h.custom_values.clone(),
            ..FloatHistogram::default()
        }),
    }
}
