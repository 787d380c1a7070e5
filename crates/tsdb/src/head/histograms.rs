//! Native histograms in the head: which are taken, and the chunk that grows.

use cupola_chunk::{Appended, Encoding, HistogramAppender};
use cupola_histogram::{CounterResetHint, FloatHistogram, Histogram, HistogramRef, NativeHistogram};
use cupola_model::STALE_NAN;
use cupola_storage::AppendError;

use crate::wal::{MAX_EMPTY_SPANS, empty_spans};

/// A chunk that no longer changes.
#[derive(Debug)]
pub(crate) struct HistogramChunk {
    pub encoding: Encoding,
    pub bytes: Box<[u8]>,
}

/// A staleness marker of the kind that the chunk holds.
pub(super) fn stale_marker(open: &HistogramAppender) -> NativeHistogram {
    let sum = STALE_NAN;
    match open.encoding() {
        Encoding::FloatHistogram => NativeHistogram::Float(FloatHistogram {
            sum,
            ..FloatHistogram::default()
        }),
        _ => NativeHistogram::Integer(Histogram {
            sum,
            ..Histogram::default()
        }),
    }
}

/// Whether the newest sample of `open` is this histogram; empty buckets do not count, since a chunk adds them.
pub(super) fn is_newest(open: &HistogramAppender, h: HistogramRef<'_>) -> bool {
    let Some(newest) = open.last() else { return false };
    if newest.is_stale() || h.is_stale() {
        return newest.is_stale() && h.is_stale();
    }
    let plain = |float: FloatHistogram| {
        let mut float = float;
        float.compact(0);
        float
    };
    match (&newest, h) {
        (NativeHistogram::Integer(a), HistogramRef::Integer(b)) => plain(a.to_float()).equals(&plain(b.to_float())),
        (NativeHistogram::Float(a), HistogramRef::Float(b)) => plain(a.clone()).equals(&plain(b.clone())),
        _ => false,
    }
}

/// Whether a histogram can be kept at all.
///
/// # Errors
/// [`AppendError::InvalidHistogram`] as upstream; [`AppendError::EmptySpans`].
pub(super) fn check(h: &NativeHistogram) -> Result<(), AppendError> {
    if h.is_stale() {
        return Ok(());
    }
    h.validate()
        .map_err(|invalid| AppendError::InvalidHistogram(Box::new(invalid)))?;
    let h = HistogramRef::from(h);
    let most = empty_spans(h.positive_spans()).max(empty_spans(h.negative_spans()));
    if most > MAX_EMPTY_SPANS {
        return Err(AppendError::EmptySpans);
    }
    Ok(())
}

/// The chunk that grew until now.
pub(super) fn sealed(open: HistogramAppender) -> HistogramChunk {
    HistogramChunk {
        encoding: open.encoding(),
        bytes: open.into_bytes().into(),
    }
}

/// Appends to the chunk that grows; the header of the next one where it does not fit.
pub(super) fn append<'h>(
    open: &mut HistogramAppender,
    ts: i64,
    histogram: impl Into<HistogramRef<'h>>,
) -> Option<CounterResetHint> {
    match open.append(ts, histogram) {
        Ok(Appended::InPlace | Appended::Recoded) => None,
        Ok(Appended::Cut(header)) => Some(header),
        // Spans that together are too many for one chunk.
        Err(_) => Some(CounterResetHint::Unknown),
    }
}
