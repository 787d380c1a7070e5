//! Go's syntax: read into a tree, printed for the engine.

mod parse;
mod print;
mod tree;
mod unicode;

pub(crate) use parse::{Pattern, parse};
pub(crate) use print::print;
pub(crate) use tree::{Assertion, Class, ClassItem, Node};
