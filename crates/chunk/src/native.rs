//! Samples of either kind as they were written, and chunks of histograms made of them anew: for whoever deletes or merges
//! samples inside of chunks.

use cupola_histogram::{CounterResetHint, HistogramRef, NativeHistogram};

use crate::{
    Appended, ChunkError, Encoding, HistogramAppender, HistogramCursor, counter_reset_header, decode_into, decode_xor2,
};

/// A float, or a histogram of integers or floats.
#[derive(Debug, Clone, PartialEq)]
pub enum NativeValue {
    /// A number.
    Float(f64),
    /// A native histogram.
    Histogram(NativeHistogram),
}

/// Appends all samples of a chunk of any of Prometheus's encodings, without start timestamps. The first of a chunk of histograms says what the chunk's header
/// does of a reset, so that chunks made of these samples say it, too.
///
/// # Errors
/// [`ChunkError`] where the bytes are malformed; `out` may then hold a part.
pub fn decode_native(encoding: Encoding, bytes: &[u8], out: &mut Vec<(i64, NativeValue)>) -> Result<(), ChunkError> {
    if encoding == Encoding::Xor {
        let (mut ts, mut values) = (Vec::new(), Vec::new());
        decode_into(bytes, i64::MIN, i64::MAX, &mut ts, &mut values)?;
        out.extend(ts.into_iter().zip(values.into_iter().map(NativeValue::Float)));
        return Ok(());
    }
    if encoding == Encoding::Xor2 {
        return decode_xor2(bytes, i64::MIN, i64::MAX, |ts, value, _| {
            out.push((ts, NativeValue::Float(value)));
        });
    }
    let header = counter_reset_header(encoding, bytes)?;
    let mut cursor = HistogramCursor::new(encoding, bytes)?;
    let mut is_first = true;
    while let Some(ts) = cursor.next_sample()? {
        let mut histogram = cursor.native();
        if is_first && header == CounterResetHint::CounterReset {
            set_hint(&mut histogram, header);
        }
        is_first = false;
        out.push((ts, NativeValue::Histogram(histogram)));
    }
    Ok(())
}

fn set_hint(histogram: &mut NativeHistogram, hint: CounterResetHint) {
    match histogram {
        NativeHistogram::Integer(h) => h.counter_reset_hint = hint,
        NativeHistogram::Float(h) => h.counter_reset_hint = hint,
    }
}

/// Leaves out the samples at times for which `is_gone`. The histogram behind a gap says of resets what was said in it: a
/// reset that happened there stays one.
pub fn remove_native(samples: &mut Vec<(i64, NativeValue)>, is_gone: impl Fn(i64) -> bool) {
    // Of the gap before the next sample: whether a reset was in it.
    let mut gap: Option<bool> = None;
    samples.retain_mut(|(ts, value)| {
        let NativeValue::Histogram(histogram) = value else {
            return !is_gone(*ts);
        };
        let hint = HistogramRef::from(&*histogram).counter_reset_hint();
        if is_gone(*ts) {
            gap = Some(gap == Some(true) || hint == CounterResetHint::CounterReset);
            return false;
        }
        if let Some(is_reset) = gap.take()
            && hint != CounterResetHint::Gauge
        {
            match is_reset {
                true => set_hint(histogram, CounterResetHint::CounterReset),
                false if hint == CounterResetHint::NotCounterReset => set_hint(histogram, CounterResetHint::Unknown),
                false => {}
            }
        }
        true
    });
}

/// Puts samples of several chunks in the order of time; of those of one moment the first stays. What histograms say of a
/// reset before them is forgotten where another one comes before them now; chunks made of them find it by the buckets.
pub fn sort_native(samples: &mut Vec<(i64, NativeValue)>) {
    if samples.is_sorted_by(|a, b| a.0 < b.0) {
        return;
    }
    samples.sort_by_key(|(ts, _)| *ts);
    samples.dedup_by_key(|(ts, _)| *ts);
    for (_, value) in samples {
        if let NativeValue::Histogram(histogram) = value
            && HistogramRef::from(&*histogram).counter_reset_hint() != CounterResetHint::Gauge
        {
            set_hint(histogram, CounterResetHint::Unknown);
        }
    }
}

/// A finished chunk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EncodedChunk {
    /// Time of its first sample, in milliseconds.
    pub mint: i64,
    /// Time of its last sample.
    pub maxt: i64,
    /// How it is encoded.
    pub encoding: Encoding,
    /// The chunk.
    pub bytes: Vec<u8>,
}

/// Makes chunks of native histograms, each as long as upstream's.
#[derive(Debug, Default)]
pub struct HistogramChunks {
    open: Option<(i64, HistogramAppender)>,
    /// Those that are finished, oldest first.
    pub done: Vec<EncodedChunk>,
}

impl HistogramChunks {
    /// Adds a sample behind the others.
    ///
    /// # Errors
    /// [`ChunkError::Layout`] where no chunk can hold it; it is left out.
    pub fn push(&mut self, ts: i64, histogram: &NativeHistogram) -> Result<(), ChunkError> {
        let mut next = match &self.open {
            None => Some(CounterResetHint::Unknown),
            Some((_, open)) => open.is_full().then(|| open.header_of_next(histogram)),
        };
        loop {
            let is_new = next.is_some();
            if let Some(header) = next {
                self.finish();
                self.open = Some((ts, HistogramAppender::with_header(header)));
            }
            let Some((_, open)) = &mut self.open else { return Ok(()) };
            next = match open.append(ts, histogram) {
                Ok(Appended::InPlace | Appended::Recoded) => return Ok(()),
                Ok(Appended::Cut(header)) => Some(header),
                Err(error) if is_new => {
                    self.open = None;
                    return Err(error);
                }
                // Spans that together are too many for one chunk.
                Err(_) => Some(open.header_of_next(histogram)),
            };
        }
    }

    /// Ends the chunk that grows.
    pub fn finish(&mut self) {
        if let Some((mint, open)) = self.open.take()
            && let Some(maxt) = open.last_ts()
        {
            self.done.push(EncodedChunk {
                mint,
                maxt,
                encoding: open.encoding(),
                bytes: open.into_bytes(),
            });
        }
    }
}

#[cfg(test)]
mod tests {
    use cupola_histogram::{Histogram, Span};

    use super::*;

    fn counter(count: u64, hint: CounterResetHint) -> NativeHistogram {
        NativeHistogram::Integer(Histogram {
            counter_reset_hint: hint,
            count,
            sum: count as f64,
            positive_spans: vec![Span { offset: 0, length: 1 }],
            positive_buckets: vec![count as i64],
            ..Histogram::default()
        })
    }

    fn counts(samples: &[(i64, NativeValue)]) -> Vec<(i64, f64, CounterResetHint)> {
        let told = |(ts, value): &(i64, NativeValue)| match value {
            NativeValue::Float(value) => (*ts, *value, CounterResetHint::Unknown),
            NativeValue::Histogram(h) => (*ts, h.to_float().count, HistogramRef::from(h).counter_reset_hint()),
        };
        samples.iter().map(told).collect()
    }

    fn rechunk(samples: &[(i64, NativeValue)]) -> Vec<EncodedChunk> {
        let mut chunks = HistogramChunks::default();
        for (ts, value) in samples {
            if let NativeValue::Histogram(h) = value {
                chunks.push(*ts, h).unwrap();
            }
        }
        chunks.finish();
        chunks.done
    }

    #[test]
    fn a_reset_in_a_gap_stays_one() {
        use CounterResetHint::{CounterReset, NotCounterReset, Unknown};
        let hints = [Unknown, NotCounterReset, CounterReset, NotCounterReset, NotCounterReset];
        let samples: Vec<_> = (1..)
            .zip(hints)
            .map(|(ts, hint)| (ts, NativeValue::Histogram(counter(ts as u64, hint))))
            .collect();
        let without = |gone: &[i64]| {
            let mut left = samples.clone();
            remove_native(&mut left, |ts| gone.contains(&ts));
            counts(&left)
                .into_iter()
                .map(|(ts, _, hint)| (ts, hint))
                .collect::<Vec<_>>()
        };
        assert_eq!(
            without(&[2, 3]),
            [(1, Unknown), (4, CounterReset), (5, NotCounterReset)]
        );
        assert_eq!(
            without(&[4]),
            [(1, Unknown), (2, NotCounterReset), (3, CounterReset), (5, Unknown)]
        );
        // Although each count is larger than the one before, the reset is in the chunks.
        let chunks = rechunk(&samples);
        let headers: Vec<_> = chunks
            .iter()
            .map(|c| counter_reset_header(c.encoding, &c.bytes).unwrap())
            .collect();
        assert_eq!(headers, [Unknown, CounterReset]);
        let mut back = Vec::new();
        chunks
            .iter()
            .for_each(|c| decode_native(c.encoding, &c.bytes, &mut back).unwrap());
        assert_eq!(counts(&back), counts(&samples));
    }

    #[test]
    fn of_samples_of_one_moment_the_first_stays() {
        let hint = CounterResetHint::NotCounterReset;
        let mut samples = vec![
            (10, NativeValue::Histogram(counter(1, hint))),
            (30, NativeValue::Histogram(counter(3, hint))),
            (20, NativeValue::Float(2.0)),
            (30, NativeValue::Float(9.0)),
        ];
        sort_native(&mut samples);
        let hint = CounterResetHint::Unknown;
        assert_eq!(counts(&samples), [(10, 1.0, hint), (20, 2.0, hint), (30, 3.0, hint)]);
    }

    #[test]
    fn chunks_are_as_long_as_upstreams() {
        let samples: Vec<_> = (0..1000)
            .map(|n| {
                (
                    n * 15_000,
                    NativeValue::Histogram(counter(n as u64, CounterResetHint::Unknown)),
                )
            })
            .collect();
        let chunks = rechunk(&samples);
        assert!(
            chunks
                .iter()
                .rev()
                .skip(1)
                .all(|c| crate::num_samples(&c.bytes) == Ok(120))
        );
        assert_eq!((chunks.len(), chunks[0].mint, chunks[1].mint), (9, 0, 120 * 15_000));
    }
}
