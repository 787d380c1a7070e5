//! Regular expressions with Go's RE2 syntax and meaning on Rust's engine.
//!
//! Go and the regex crate read 13 of 35 surveyed patterns differently (`\d` is ASCII in Go, `{` may be literal, `x**`
//! is refused). Patterns are therefore translated before they are compiled.
//!
//! *Invariant:* the only crate that names the regex crate.

mod regex;
mod translate;

pub use regex::{Captures, Regex, RegexError, Shape};
