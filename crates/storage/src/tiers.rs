//! Downsampled tiers: what somebody who asks can do with samples that stand for many.
//!
//! A storage may hold, beside the samples themselves, a few numbers of each window of 5 minutes or an hour. Whoever asks
//! says which of these numbers would do and from which resolution on ([`Coarse`]); the storage decides for which times it
//! gives them.

/// The label that tells the series of a tier apart, one for each [`Aggregate`].
pub const AGGREGATE_LABEL: &str = "__aggregate__";

/// What one sample of a tier is of the samples in its window. Staleness markers are in none but the first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Aggregate {
    /// True samples at their true times: the last of the window, and those on both sides of a counter reset.
    Last,
    /// The smallest.
    Min,
    /// The largest.
    Max,
    /// Their sum.
    Sum,
    /// How many there are.
    Count,
}

impl Aggregate {
    /// All of them.
    pub const ALL: [Self; 5] = [Self::Last, Self::Min, Self::Max, Self::Sum, Self::Count];

    /// The value of [`AGGREGATE_LABEL`].
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Last => "last",
            Self::Min => "min",
            Self::Max => "max",
            Self::Sum => "sum",
            Self::Count => "count",
        }
    }
}

/// How coarse an answer may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Coarse {
    /// What is wanted of a window. For [`Aggregate::Count`] samples that stand for themselves are given as ones, so that
    /// sums of counts are counts.
    pub aggregate: Aggregate,
    /// The coarsest tier that may stand for samples which are there, milliseconds; 0 for none. Where there is no sample
    /// any more, the finest tier stands for them, however coarse it is.
    pub resolution_ms: i64,
}

/// What of a selection tiers answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TierUse {
    /// The coarsest resolution, milliseconds.
    pub resolution_ms: i64,
    /// From here on all samples stand for themselves, milliseconds since the epoch.
    pub until: i64,
    /// So much earlier the last sample before the beginning of the selection may lie than it would without a tier,
    /// milliseconds.
    pub reach_ms: i64,
}

impl TierUse {
    /// What two storages answer together.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        Self {
            resolution_ms: self.resolution_ms.max(other.resolution_ms),
            until: self.until.max(other.until),
            reach_ms: self.reach_ms.max(other.reach_ms),
        }
    }
}
