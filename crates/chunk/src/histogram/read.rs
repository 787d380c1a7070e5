//! Reading a chunk.

use std::sync::Arc;

use cupola_histogram::{CounterResetHint, FloatHistogram, NativeHistogram};

use super::field::{Reader, Window};
use super::layout::Layout;
use super::spans::{Kind, num_buckets};
use super::state::{HEAD, SUM, State};
use crate::{ChunkError, Encoding, Starts};

/// The number of samples and the counter reset header; or with start timestamps, both and where these begin.
pub(super) const HEADER_BYTES: usize = 3;

/// The header byte of a chunk of encoding 2 or 3.
pub(super) fn hint_to_header(hint: CounterResetHint) -> u8 {
    match hint {
        CounterResetHint::Unknown => 0,
        CounterResetHint::NotCounterReset => 0b0100_0000,
        CounterResetHint::CounterReset => 0b1000_0000,
        CounterResetHint::Gauge => 0b1100_0000,
    }
}

/// What a chunk says of a reset between the chunk before it and itself; or that it holds gauges.
///
/// # Errors
/// [`ChunkError::Truncated`] where it has no header, [`ChunkError::Unsupported`] where it holds no histograms.
pub fn counter_reset_header(encoding: Encoding, bytes: &[u8]) -> Result<CounterResetHint, ChunkError> {
    let at = match encoding {
        Encoding::Histogram | Encoding::FloatHistogram => 2,
        Encoding::HistogramSt | Encoding::FloatHistogramSt => 0,
        Encoding::Xor | Encoding::Xor2 => return Err(ChunkError::Unsupported(encoding)),
    };
    let header = bytes.get(at).ok_or(ChunkError::Truncated { bytes: bytes.len() })?;
    Ok(match header >> 6 {
        0b00 => CounterResetHint::Unknown,
        0b01 => CounterResetHint::NotCounterReset,
        0b10 => CounterResetHint::CounterReset,
        _ => CounterResetHint::Gauge,
    })
}

/// Walks a chunk of native histograms sample by sample, of encoding 2, 3, 5 or 6.
#[derive(Debug, Clone)]
pub struct HistogramCursor<'a> {
    from: Reader<'a>,
    total: u16,
    done: u16,
    header: CounterResetHint,
    // `None` in the encodings without start timestamps.
    starts: Option<Starts>,
    state: State,
    // Whether the last sample differs from the one before in more than its time.
    is_changed: bool,
}

impl<'a> HistogramCursor<'a> {
    /// A cursor before the first sample.
    ///
    /// # Errors
    /// [`ChunkError::Truncated`] where there is no header, [`ChunkError::TrailingBytes`] where the chunk is empty and
    /// goes on, [`ChunkError::Unsupported`] where it holds no histograms.
    pub fn new(encoding: Encoding, bytes: &'a [u8]) -> Result<Self, ChunkError> {
        let header = counter_reset_header(encoding, bytes)?;
        let (kind, has_starts) = match encoding {
            Encoding::Histogram => (Kind::Integer, false),
            Encoding::FloatHistogram => (Kind::Float, false),
            Encoding::HistogramSt => (Kind::Integer, true),
            Encoding::FloatHistogramSt => (Kind::Float, true),
            Encoding::Xor | Encoding::Xor2 => return Err(ChunkError::Unsupported(encoding)),
        };
        let truncated = ChunkError::Truncated { bytes: bytes.len() };
        let total = crate::count_samples(encoding, bytes)?;
        let flags = *bytes.get(HEADER_BYTES - 1).ok_or(truncated)?;
        let cursor = Self {
            from: Reader {
                bytes,
                pos: HEADER_BYTES * 8,
            },
            total,
            done: 0,
            header,
            starts: has_starts.then(|| Starts::new(flags)),
            state: State::new(kind),
            is_changed: true,
        };
        if total == 0 {
            cursor.check_end()?;
        }
        Ok(cursor)
    }

    /// How many samples are still to come, as the chunk says.
    #[must_use]
    pub fn remaining(&self) -> usize {
        usize::from(self.total - self.done)
    }

    /// Goes to the next sample and gives its time in milliseconds, `None` after the last.
    ///
    /// # Errors
    /// [`ChunkError`] where the bytes are cut short or malformed, or go on after the last sample; the cursor is of no
    /// use then.
    pub fn next_sample(&mut self) -> Result<Option<i64>, ChunkError> {
        if self.done == self.total {
            return Ok(None);
        }
        let before = self.state.ts;
        let read = if self.done == 0 {
            self.read_first()
        } else {
            self.read_next()
        };
        let read = read.and_then(|()| match &mut self.starts {
            Some(starts) => starts.read(&mut self.from, self.done, self.state.ts, before),
            None => Ok(()),
        });
        if self.from.is_past_end() {
            return Err(ChunkError::Truncated {
                bytes: self.from.bytes.len(),
            });
        }
        read.map_err(|what| ChunkError::Malformed {
            what,
            sample: self.done,
        })?;
        self.done += 1;
        if self.done == self.total {
            self.check_end()?;
        }
        Ok(Some(self.state.ts))
    }

    /// What is known of a reset before the sample the cursor stands on, as upstream tells it: nothing of the first one,
    /// because the chunk before it may be gone.
    #[must_use]
    pub fn hint(&self) -> CounterResetHint {
        match self.header {
            CounterResetHint::Gauge => CounterResetHint::Gauge,
            _ if self.done > 1 => CounterResetHint::NotCounterReset,
            _ => CounterResetHint::Unknown,
        }
    }

    /// The sample the cursor stands on, as queries need it.
    #[must_use]
    pub fn float(&self) -> FloatHistogram {
        self.state.to_float(self.hint())
    }

    /// The sample the cursor stands on, as it was written.
    #[must_use]
    pub fn native(&self) -> NativeHistogram {
        self.state.to_native(self.hint())
    }

    /// Since when its counter counts, in milliseconds since the epoch; 0 where that is not known.
    #[must_use]
    pub fn start(&self) -> i64 {
        self.starts.map_or(0, |starts| starts.start)
    }

    pub(super) fn state(&self) -> &State {
        &self.state
    }

    /// Where it stands, for an appender that goes on: the state and the position in bits.
    pub(super) fn into_end(self) -> (State, usize) {
        (self.state, self.from.pos)
    }

    fn read_first(&mut self) -> Result<(), &'static str> {
        let (kind, from) = (self.state.kind, &mut self.from);
        let layout = Layout::read(from)?;
        // `Layout::read` has checked each side against the bytes.
        let buckets = num_buckets(&layout.positive_spans) + num_buckets(&layout.negative_spans);
        if buckets > from.left() as u64 {
            return Err("number of buckets");
        }
        self.state.layout = layout;
        self.state.ts = from.varbit_int();
        self.state.slots = (0..HEAD + buckets as usize)
            .map(|at| {
                let word = match (kind, at) {
                    (Kind::Integer, 0 | 1) => from.varbit_uint(),
                    (Kind::Integer, HEAD..) => from.varbit_int() as u64,
                    _ => from.bits(64),
                };
                State::first(kind, at, word)
            })
            .collect();
        Ok(())
    }

    fn read_next(&mut self) -> Result<(), &'static str> {
        let (kind, from, state) = (self.state.kind, &mut self.from, &mut self.state);
        state.delta = state.delta.wrapping_add(from.varbit_int());
        state.ts = state.ts.wrapping_add(state.delta);
        let mut changes = 0;
        for (at, slot) in state.slots.iter_mut().enumerate() {
            let before = slot.value;
            if State::is_xor(kind, at) {
                let mut window = Window::from_word(slot.more);
                from.xor(&mut slot.value, &mut window)?;
                slot.more = window.to_word();
            } else {
                slot.more = slot.more.wrapping_add(from.varbit_int() as u64);
                slot.value = slot.value.wrapping_add(slot.more);
            }
            changes |= before ^ slot.value;
            // A stale sample has no buckets.
            if at == SUM && cupola_model::is_stale_nan(f64::from_bits(slot.value)) {
                break;
            }
        }
        self.is_changed = changes != 0;
        Ok(())
    }

    fn check_end(&self) -> Result<(), ChunkError> {
        let end = self.from.pos.div_ceil(8);
        match self.from.bytes.get(end..).unwrap_or_default() {
            [] => Ok(()),
            // Upstream's writer opens a byte ahead: see `bits::write`.
            [0] if self.from.pos.is_multiple_of(8) => Ok(()),
            rest => Err(ChunkError::TrailingBytes { left: rest.len() }),
        }
    }
}

/// Hands the samples of a chunk of encoding 2, 3, 5 or 6 with `mint <= ts <= maxt` to `push`: time, histogram, and since
/// when its counter counts (0 where that is not known). Samples that repeat the one before share its memory.
///
/// Stops at the first sample behind `maxt`, so it expects a chunk ascending in time, as all stored ones are. What
/// follows that sample is not looked at.
///
/// # Errors
/// [`ChunkError`] where the bytes are cut short or malformed, or go on after the last sample; samples that were handed
/// out before are to be forgotten. [`ChunkError::Unsupported`] where the chunk holds no histograms.
pub fn decode_histograms(
    encoding: Encoding,
    bytes: &[u8],
    mint: i64,
    maxt: i64,
    mut push: impl FnMut(i64, Arc<FloatHistogram>, i64),
) -> Result<(), ChunkError> {
    let mut cursor = HistogramCursor::new(encoding, bytes)?;
    let mut last: Option<Arc<FloatHistogram>> = None;
    while let Some(ts) = cursor.next_sample()? {
        if ts > maxt {
            break;
        }
        if ts < mint {
            continue;
        }
        let hint = cursor.hint();
        let value = match last {
            Some(last) if !cursor.is_changed && last.counter_reset_hint == hint => last,
            _ => Arc::new(cursor.float()),
        };
        push(ts, Arc::clone(&value), cursor.start());
        last = Some(value);
    }
    Ok(())
}
