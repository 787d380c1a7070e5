//! Regular expressions with Go's RE2 syntax and meaning on Rust's engine.
//!
//! Go and the regex crate read 13 of 35 surveyed patterns differently (`\d` is ASCII in Go, `{` may be literal, `x**`
//! is refused). Patterns are therefore read by a parser of our own, which accepts what Go accepts and refuses the rest in
//! Go's words, and printed for the engine. What an anchored pattern comes to (its [`Shape`]) is taken from the same tree.
//!
//! *Invariant:* the only crate that names the regex crate.

mod regex;
mod shape;
mod syntax;

pub use regex::{Captures, Regex, RegexError};
pub use shape::{Glob, Shape};
