//! What the next sample of a chunk builds on, for reading and writing alike.

use std::sync::Arc;

use cupola_histogram::{CounterResetHint, FINEST_SCHEMA, FloatHistogram, Histogram, HistogramRef, NativeHistogram};

use super::field::Window;
use super::layout::Layout;
use super::spans::{Kind, num_buckets};

/// A field of the last sample: its word, and the delta it changed by or the [`Window`] of its last XOR.
#[derive(Debug, Clone, Copy)]
pub(super) struct Slot {
    pub(super) value: u64,
    pub(super) more: u64,
}

/// The fields before the buckets: count, zero count, sum.
pub(super) const HEAD: usize = 3;
/// Which of them is the sum.
pub(super) const SUM: usize = 2;

#[derive(Debug, Clone)]
pub(super) struct State {
    pub(super) kind: Kind,
    pub(super) layout: Layout,
    pub(super) ts: i64,
    pub(super) delta: i64,
    /// Count, zero count and sum, the positive buckets, the negative buckets.
    pub(super) slots: Vec<Slot>,
}

impl State {
    pub(super) fn new(kind: Kind) -> Self {
        Self {
            kind,
            layout: Layout::default(),
            ts: 0,
            delta: 0,
            slots: Vec::new(),
        }
    }

    /// Whether field number `at` is an XOR rather than a delta of deltas.
    #[inline]
    pub(super) fn is_xor(kind: Kind, at: usize) -> bool {
        kind == Kind::Float || at == SUM
    }

    /// A field of the first sample.
    pub(super) fn first(kind: Kind, at: usize, value: u64) -> Slot {
        let more = if Self::is_xor(kind, at) {
            Window::NONE.to_word()
        } else {
            0
        };
        Slot { value, more }
    }

    pub(super) fn word(&self, at: usize) -> u64 {
        self.slots.get(at).map_or(0, |slot| slot.value)
    }

    pub(super) fn sum(&self) -> f64 {
        f64::from_bits(self.word(SUM))
    }

    pub(super) fn is_stale(&self) -> bool {
        cupola_model::is_stale_nan(self.sum())
    }

    pub(super) fn num_positive(&self) -> usize {
        usize::try_from(num_buckets(&self.layout.positive_spans)).unwrap_or(usize::MAX)
    }

    pub(super) fn positive(&self) -> impl Iterator<Item = u64> + '_ {
        self.slots
            .iter()
            .skip(HEAD)
            .take(self.num_positive())
            .map(|slot| slot.value)
    }

    pub(super) fn negative(&self) -> impl Iterator<Item = u64> + '_ {
        self.slots
            .iter()
            .skip(HEAD.saturating_add(self.num_positive()))
            .map(|slot| slot.value)
    }

    /// The last sample as a histogram of floats. A stale one is empty, as upstream's.
    pub(super) fn to_float(&self, hint: CounterResetHint) -> FloatHistogram {
        if self.is_stale() {
            return FloatHistogram {
                sum: self.sum(),
                ..FloatHistogram::default()
            };
        }
        let number = |word: u64| match self.kind {
            Kind::Integer => word as f64,
            Kind::Float => f64::from_bits(word),
        };
        let mut float = FloatHistogram {
            counter_reset_hint: hint,
            schema: self.layout.schema,
            zero_threshold: self.layout.zero_threshold,
            zero_count: number(self.word(1)),
            count: number(self.word(0)),
            sum: self.sum(),
            positive_spans: self.layout.positive_spans.clone(),
            negative_spans: self.layout.negative_spans.clone(),
            positive_buckets: self.floats(self.positive()),
            negative_buckets: self.floats(self.negative()),
            custom_values: Arc::clone(&self.layout.custom_values),
        };
        // Finer ones are reserved; upstream reads them as the finest, too.
        if float.schema > FINEST_SCHEMA {
            float.reduce_resolution(FINEST_SCHEMA);
        }
        float
    }

    fn floats(&self, words: impl Iterator<Item = u64>) -> Vec<f64> {
        let mut sum = 0_i64;
        words
            .map(|word| match self.kind {
                Kind::Integer => {
                    sum = sum.wrapping_add(word as i64);
                    sum as f64
                }
                Kind::Float => f64::from_bits(word),
            })
            .collect()
    }

    /// The last sample as it was written.
    pub(super) fn to_native(&self, hint: CounterResetHint) -> NativeHistogram {
        if self.kind == Kind::Float {
            return NativeHistogram::Float(self.to_float(hint));
        }
        let mut histogram = Histogram {
            sum: self.sum(),
            ..Histogram::default()
        };
        if !self.is_stale() {
            histogram = Histogram {
                counter_reset_hint: hint,
                schema: self.layout.schema,
                zero_threshold: self.layout.zero_threshold,
                zero_count: self.word(1),
                count: self.word(0),
                positive_spans: self.layout.positive_spans.clone(),
                negative_spans: self.layout.negative_spans.clone(),
                positive_buckets: self.positive().map(|word| word as i64).collect(),
                negative_buckets: self.negative().map(|word| word as i64).collect(),
                custom_values: Arc::clone(&self.layout.custom_values),
                ..histogram
            };
        }
        NativeHistogram::Integer(histogram)
    }
}

/// The words of a histogram, split as its chunk needs them.
#[derive(Debug, Clone)]
pub(super) struct Words {
    pub(super) head: [u64; HEAD],
    pub(super) positive: Vec<u64>,
    pub(super) negative: Vec<u64>,
}

impl Words {
    /// A stale histogram has nothing but its sum.
    pub(super) fn of(h: HistogramRef<'_>) -> Self {
        if h.is_stale() {
            return Self {
                head: [0, 0, h.sum().to_bits()],
                positive: Vec::new(),
                negative: Vec::new(),
            };
        }
        match h {
            HistogramRef::Integer(h) => Self {
                head: [h.count, h.zero_count, h.sum.to_bits()],
                positive: h.positive_buckets.iter().map(|delta| *delta as u64).collect(),
                negative: h.negative_buckets.iter().map(|delta| *delta as u64).collect(),
            },
            HistogramRef::Float(h) => Self {
                head: [h.count.to_bits(), h.zero_count.to_bits(), h.sum.to_bits()],
                positive: h.positive_buckets.iter().map(|count| count.to_bits()).collect(),
                negative: h.negative_buckets.iter().map(|count| count.to_bits()).collect(),
            },
        }
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = u64> + '_ {
        self.head.iter().chain(&self.positive).chain(&self.negative).copied()
    }

    pub(super) fn is_stale(&self) -> bool {
        self.head
            .get(SUM)
            .is_some_and(|bits| cupola_model::is_stale_nan(f64::from_bits(*bits)))
    }
}
