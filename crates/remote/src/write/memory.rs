//! What a message takes in memory once its samples stand beside it.

use cupola_histogram::NativeHistogram;

use super::WriteError;

// Asked for at once.
const STEP: usize = 1 << 20;

/// What one message may take: two bytes can say that there is a sample, which takes fifty times as much until it is stored. Counted
/// is what is made of the message, and not the message itself.
pub struct Memory<'a> {
    largest: usize,
    left: usize,
    taken: usize,
    more: Option<&'a mut dyn FnMut(usize) -> bool>,
}

impl std::fmt::Debug for Memory<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self {
            largest, left, taken, ..
        } = self;
        write!(f, "Memory {{ largest: {largest}, left: {left}, taken: {taken} }}")
    }
}

impl<'a> Memory<'a> {
    /// For a message of at most `largest` bytes, uncompressed, and what is made of it, whatever that takes.
    #[must_use]
    pub fn unlimited(largest: usize) -> Self {
        Self {
            largest,
            left: usize::MAX,
            taken: 0,
            more: None,
        }
    }

    /// For a message of at most `largest` bytes, uncompressed, of which may be made what takes `beside` bytes; and as many
    /// bytes more as `more` says that there are. It must not wait.
    pub fn new(largest: usize, beside: usize, more: &'a mut dyn FnMut(usize) -> bool) -> Self {
        Self {
            largest,
            left: beside,
            taken: 0,
            more: Some(more),
        }
    }

    pub(crate) fn largest(&self) -> usize {
        self.largest
    }

    /// Bytes that were taken.
    #[must_use]
    pub fn taken(&self) -> usize {
        self.taken
    }

    /// Takes so many bytes.
    ///
    /// # Errors
    /// [`WriteError::NoRoom`].
    #[inline]
    pub(crate) fn take(&mut self, bytes: usize) -> Result<(), WriteError> {
        if self.left < bytes {
            self.grow(bytes)?;
        }
        self.left -= bytes;
        self.taken = self.taken.saturating_add(bytes);
        Ok(())
    }

    #[cold]
    fn grow(&mut self, bytes: usize) -> Result<(), WriteError> {
        let step = (bytes - self.left).max(STEP);
        match self.more.as_mut().is_some_and(|more| more(step)) {
            true => {
                self.left = self.left.saturating_add(step);
                Ok(())
            }
            false => Err(WriteError::NoRoom(self.taken.saturating_add(bytes))),
        }
    }
}

// What takes something grows by doubling: half of it may be empty.
const SPARE: usize = 2;
// In the log's record, compressed, and once more in what is written.
const LOGGED: usize = 3 * 12;

/// A float sample: as it is read, in the batch, and logged.
pub(crate) const SAMPLE: usize = SPARE * (24 + 24) + LOGGED;
/// A label, or a text of the second version, that is remembered by its place in the message.
pub(crate) const PLACE: usize = SPARE * 16;
/// An exemplar, besides its labels.
pub(crate) const EXEMPLAR: usize = SPARE * 2 * 48;
/// What is said of a metric family, besides the texts.
pub(crate) const FAMILY: usize = SPARE * 112;
/// A message as short as this is read before it is known what it takes.
pub(crate) const SHORT: usize = 4 << 10;
/// A byte of a longer one may become so many.
pub(crate) const TIMES: usize = SPARE * 8;

// A histogram without its buckets: as it is read, in the batch, and where the batch is sorted.
const HISTOGRAM: usize = SPARE * 2 * (size_of::<NativeHistogram>() + 16);

/// Bytes of a histogram on its way.
pub(crate) fn of_histogram(histogram: &NativeHistogram) -> usize {
    let (spans, buckets, custom) = match histogram {
        NativeHistogram::Integer(h) => (
            h.positive_spans.capacity() + h.negative_spans.capacity(),
            h.positive_buckets.capacity() + h.negative_buckets.capacity(),
            h.custom_values.len(),
        ),
        NativeHistogram::Float(h) => (
            h.positive_spans.capacity() + h.negative_spans.capacity(),
            h.positive_buckets.capacity() + h.negative_buckets.capacity(),
            h.custom_values.len(),
        ),
    };
    // And as much in the log.
    HISTOGRAM + 2 * 8 * (spans + buckets + custom)
}
