//! The columns samples travel in.

/// Samples as two columns of equal length, ascending in time. Owned and reused by whoever reads.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Samples {
    /// Milliseconds since the epoch.
    pub ts: Vec<i64>,
    /// The values.
    pub values: Vec<f64>,
}

impl Samples {
    /// Forgets all samples, keeps the memory.
    pub fn clear(&mut self) {
        self.ts.clear();
        self.values.clear();
    }

    /// Adds one at the end.
    pub fn push(&mut self, ts: i64, value: f64) {
        self.ts.push(ts);
        self.values.push(value);
    }

    /// How many.
    #[must_use]
    pub fn len(&self) -> usize {
        self.ts.len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.ts.is_empty()
    }
}
