//! What can go wrong, for the caller and within a collector.

use cupola_goregex::RegexError;
use thiserror::Error;

/// Why the collectors cannot be set up.
#[derive(Debug, Error)]
pub enum NodeError {
    /// An option holds a pattern that is none.
    #[error("option {option}: cannot compile {pattern:?}")]
    Pattern {
        /// The flag's name, as `collector.netdev.device-exclude`.
        option: &'static str,
        /// The pattern as given.
        pattern: String,
        /// What is wrong with it.
        #[source]
        source: RegexError,
    },
    /// An include and an exclude pattern were given together.
    #[error("options {include} and {exclude} are mutually exclusive")]
    Exclusive {
        /// The one flag.
        include: &'static str,
        /// The other.
        exclude: &'static str,
    },
    /// A collector was switched on or off that does not exist.
    #[error("unknown collector {0:?}")]
    UnknownCollector(String),
}

/// Why `collect[]` or `exclude[]` cannot be followed; the texts are node_exporter's, for an answer 400.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum SelectionError {
    /// Both were given.
    #[error("Combined collect and exclude queries are not allowed.")]
    Combined,
    /// There is no such collector.
    #[error("Couldn't create filtered metrics handler: couldn't create collector: missing collector: {0}")]
    Missing(String),
    /// The collector is switched off.
    #[error("Couldn't create filtered metrics handler: couldn't create collector: disabled collector: {0}")]
    Disabled(String),
}

/// Why a collector has nothing, or not all, to tell.
#[derive(Debug, Error)]
pub(crate) enum CollectError {
    /// The kernel or the machine lacks what the collector reads. Normal; still success 0, as node_exporter has it.
    #[error("no data: {0} is not there")]
    NoData(String),
    #[error("cannot read {path}")]
    Read {
        path: String,
        #[source]
        source: std::io::Error,
    },
    #[error("cannot parse {path}: {what}")]
    Parse { path: String, what: &'static str },
    #[error("netlink: {what}")]
    Netlink {
        what: &'static str,
        #[source]
        source: rustix::io::Errno,
    },
}

impl CollectError {
    pub(crate) fn parse(path: &str, what: &'static str) -> Self {
        Self::Parse {
            path: path.to_owned(),
            what,
        }
    }

    /// The same, but a file that is missing or forbidden counts as "no data".
    pub(crate) fn absent_is_no_data(self) -> Self {
        use std::io::ErrorKind::{NotFound, PermissionDenied, Unsupported};
        match self {
            Self::Read { path, source } if matches!(source.kind(), NotFound | PermissionDenied | Unsupported) => {
                Self::NoData(path)
            }
            other => other,
        }
    }

    pub(crate) fn is_absent(&self) -> bool {
        match self {
            Self::Read { source, .. } => source.kind() == std::io::ErrorKind::NotFound,
            Self::NoData(_) => true,
            Self::Parse { .. } | Self::Netlink { .. } => false,
        }
    }
}

pub(crate) type Collected = Result<(), CollectError>;
