//! Why a query gave no answer.

use cupola_storage::StorageError;
use thiserror::Error;

/// The classes of failure the HTTP API tells apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ErrorKind {
    /// The query itself is wrong (HTTP 400).
    BadData,
    /// The query is well formed but cannot be answered over this data (HTTP 422).
    Execution,
    /// The deadline passed (HTTP 503).
    Timeout,
    /// The one who asked went away (HTTP 499).
    Canceled,
    /// Our fault or the disk's (HTTP 500).
    Internal,
}

impl ErrorKind {
    /// The `errorType` of the API.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::BadData => "bad_data",
            Self::Execution => "execution",
            Self::Timeout => "timeout",
            Self::Canceled => "canceled",
            Self::Internal => "internal",
        }
    }
}

/// Where a query stood when its time ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// It waited for others to finish.
    Queue,
    /// It was being evaluated.
    Evaluation,
}

impl std::fmt::Display for Stage {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Queue => "query queue",
            Self::Evaluation => "expression evaluation",
        })
    }
}

/// Why a query gave no answer. The texts are Prometheus's where not said otherwise.
#[derive(Debug, Error)]
pub enum QueryError {
    /// The query is wrong by itself, whatever the data.
    #[error("{0}")]
    BadData(String),
    /// The data does not allow the operation, such as many-to-many matching.
    #[error("{0}")]
    Execution(String),
    /// The query needs more samples at once than it may hold.
    #[error("query processing would load too many samples into memory in query execution")]
    TooManySamples,
    /// The query needs more bytes than it may use; the text says which limit, and what for. Ours alone.
    #[error("{0}")]
    TooMuchMemory(String),
    /// The deadline passed.
    #[error("query timed out in {0}")]
    Timeout(Stage),
    /// The query was cancelled.
    #[error("query was canceled in {0}")]
    Canceled(Stage),
    /// Stored samples cannot be read.
    #[error("expanding series: {0}")]
    Storage(#[from] StorageError),
    /// The evaluation itself broke down.
    #[error("{0}")]
    Internal(String),
}

impl QueryError {
    /// The class of failure.
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::BadData(_) => ErrorKind::BadData,
            Self::Execution(_) | Self::TooManySamples | Self::TooMuchMemory(_) => ErrorKind::Execution,
            Self::Timeout(_) => ErrorKind::Timeout,
            Self::Canceled(_) => ErrorKind::Canceled,
            Self::Storage(_) | Self::Internal(_) => ErrorKind::Internal,
        }
    }

    /// An execution error with this text.
    pub(crate) fn execution(text: impl Into<String>) -> Self {
        Self::Execution(text.into())
    }

    /// What two series with equal labels at one step raise.
    pub(crate) fn same_labelset() -> Self {
        Self::execution("vector cannot contain metrics with the same labelset")
    }
}
