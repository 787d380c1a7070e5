//! What is wrong with a file, and where.

use std::fmt;
use std::path::{Path, PathBuf};

/// One mistake in a configuration or rule file. Prints as `FILE:LINE:COL: message`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigError {
    /// The file as the user named it.
    pub file: PathBuf,
    /// Line, from 1; 0 where the error is about the whole file (it cannot be read, for example).
    pub line: usize,
    /// Column in characters, from 1; 0 together with `line`.
    pub column: usize,
    /// What is wrong, in the words of the program we replace where it has some.
    pub message: String,
    /// What to do about it, where that is not plain from the message.
    pub hint: Option<String>,
}

/// Something that was accepted but does not do what the user may expect. Same shape as an error.
pub type ConfigWarning = ConfigError;

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:", self.file.display())?;
        if self.line > 0 {
            write!(f, "{}:{}:", self.line, self.column)?;
        }
        write!(f, " {}", self.message)?;
        if let Some(hint) = &self.hint {
            write!(f, " ({hint})")?;
        }
        Ok(())
    }
}

impl std::error::Error for ConfigError {}

/// All mistakes found in a file and the files it includes; never empty. Prints one a line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigErrors {
    // The first error stands apart, so that the list cannot be empty.
    first: ConfigError,
    rest: Vec<ConfigError>,
}

impl ConfigErrors {
    /// The errors of a list, in the order of their places; `None` where the list is empty.
    #[must_use]
    pub fn from_list(mut list: Vec<ConfigError>) -> Option<Self> {
        list.sort_by(|a, b| (&a.file, a.line, a.column).cmp(&(&b.file, b.line, b.column)));
        list.dedup();
        let mut list = list.into_iter();
        let first = list.next()?;
        Some(Self {
            first,
            rest: list.collect(),
        })
    }

    /// One error about a whole file.
    #[must_use]
    pub fn whole_file(file: &Path, message: impl Into<String>) -> Self {
        Self {
            first: file_error(file, message),
            rest: Vec::new(),
        }
    }

    /// The errors.
    pub fn iter(&self) -> impl Iterator<Item = &ConfigError> {
        std::iter::once(&self.first).chain(&self.rest)
    }

    /// The first error by place.
    #[must_use]
    pub fn first(&self) -> &ConfigError {
        &self.first
    }

    /// How many there are; at least one.
    #[must_use]
    #[expect(clippy::len_without_is_empty, reason = "never empty")]
    pub fn len(&self) -> usize {
        1 + self.rest.len()
    }
}

impl From<ConfigError> for ConfigErrors {
    fn from(first: ConfigError) -> Self {
        Self {
            first,
            rest: Vec::new(),
        }
    }
}

impl IntoIterator for ConfigErrors {
    type Item = ConfigError;
    type IntoIter = std::iter::Chain<std::iter::Once<ConfigError>, std::vec::IntoIter<ConfigError>>;

    fn into_iter(self) -> Self::IntoIter {
        std::iter::once(self.first).chain(self.rest)
    }
}

impl fmt::Display for ConfigErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.first)?;
        for error in &self.rest {
            write!(f, "\n{error}")?;
        }
        Ok(())
    }
}

impl std::error::Error for ConfigErrors {}

/// An error about a whole file.
pub(crate) fn file_error(file: &Path, message: impl Into<String>) -> ConfigError {
    ConfigError {
        file: file.to_path_buf(),
        line: 0,
        column: 0,
        message: message.into(),
        hint: None,
    }
}
