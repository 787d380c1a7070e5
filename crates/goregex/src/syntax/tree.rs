//! What a pattern in Go's syntax means, as a tree.

/// One part of a pattern. Non-capturing groups leave no trace.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Node {
    /// The empty text.
    Empty,
    /// One character. A number, as Go accepts surrogates, which match nothing.
    Literal { c: u32, fold: bool },
    /// One character out of a set.
    Class(Class),
    /// `.` under the flag `s`.
    Any,
    /// `.` without it.
    AnyButNewline,
    /// A place in the text.
    Assertion(Assertion),
    /// `(…)`, named or not; numbered by their order.
    Capture(Box<Node>),
    /// `x*`, `x+`, `x?`, `x{n,m}`; no `max` means any number.
    Repeat {
        min: u32,
        max: Option<u32>,
        greedy: bool,
        sub: Box<Node>,
    },
    /// One after the other.
    Concat(Vec<Node>),
    /// One of them, the first that fits.
    Alternate(Vec<Node>),
}

/// A place in the text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Assertion {
    BeginText,
    EndText,
    BeginLine,
    EndLine,
    WordBoundary,
    NotWordBoundary,
}

/// `[^a-z\d]`, `\d`, `\pL`.
#[derive(Debug, Clone, PartialEq, Default)]
pub(crate) struct Class {
    pub(crate) negated: bool,
    pub(crate) fold: bool,
    pub(crate) items: Vec<ClassItem>,
}

/// A part of a class.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum ClassItem {
    /// Both ends included.
    Range(u32, u32),
    /// `\d`, `\D`, `\s`, `\S`, `\w`, `\W`: ASCII in Go.
    Perl(char),
    /// `[:alpha:]`, with its brackets.
    Posix(String),
    /// `\p{…}`; what the regex crate calls it.
    Unicode { property: Property, negated: bool },
}

/// What `\p` can name in Go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Property {
    Any,
    Assigned,
    Ascii,
    Category(String),
    Script(String),
    /// Go has the class, and no text in UTF-8 holds one of its characters.
    Surrogate,
}
