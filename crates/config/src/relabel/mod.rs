//! Relabelling: rules that rewrite, keep or drop label sets (Prometheus 3.14, `model/relabel`).

mod apply;
mod read;

use cupola_goregex::Regex;

use crate::common::NameScheme;

pub use apply::relabel;
pub(crate) use read::read_relabel_configs;

const DEFAULT_REGEX: &str = "(.*)";
const DEFAULT_SEPARATOR: &str = ";";
const DEFAULT_REPLACEMENT: &str = "$1";

/// One step. Reading a configuration makes sure that the expression is compiled and that the fields fit the action.
#[derive(Debug, Clone, PartialEq)]
pub struct RelabelConfig {
    /// Their values are joined by `separator`.
    pub source_labels: Vec<String>,
    /// Default `;`.
    pub separator: String,
    /// Anchored; its dot matches newlines. Default `(.*)`.
    pub regex: Regex,
    /// Of `hashmod`; never zero there.
    pub modulus: u64,
    /// What is written; may hold `$1`. Empty where the action writes none.
    pub target_label: String,
    /// Default `$1`.
    pub replacement: String,
    /// What happens.
    pub action: Action,
    /// Which label names the step may write.
    pub name_scheme: NameScheme,
}

/// What a step does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Action {
    /// Writes the expanded replacement to the target label where the sources match.
    Replace,
    /// Drops the set where the sources do not match.
    Keep,
    /// Drops the set where the sources match.
    Drop,
    /// Drops the set where the sources differ from the target label.
    KeepEqual,
    /// Drops the set where the sources equal the target label.
    DropEqual,
    /// Writes a hash of the sources modulo `modulus` to the target label.
    HashMod,
    /// Copies labels with a matching name to the name that the replacement gives.
    LabelMap,
    /// Removes labels with a matching name.
    LabelDrop,
    /// Removes labels without a matching name.
    LabelKeep,
    /// Writes the sources in lower case to the target label.
    Lowercase,
    /// Writes the sources in upper case to the target label.
    Uppercase,
}

impl Action {
    /// As configuration writes it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Replace => "replace",
            Self::Keep => "keep",
            Self::Drop => "drop",
            Self::KeepEqual => "keepequal",
            Self::DropEqual => "dropequal",
            Self::HashMod => "hashmod",
            Self::LabelMap => "labelmap",
            Self::LabelDrop => "labeldrop",
            Self::LabelKeep => "labelkeep",
            Self::Lowercase => "lowercase",
            Self::Uppercase => "uppercase",
        }
    }
}
