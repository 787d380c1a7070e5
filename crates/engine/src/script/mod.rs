//! Runs Prometheus's PromQL test scripts (`load`, `clear`, `eval`): the language's conformance suite, and a way for
//! users to test their own expressions.
//!
//! [`parse`] turns the text into commands, [`Runner`] executes them against one in-memory [`MemoryStore`].

mod classic;
mod compare;
mod histogram;
mod parse;
mod run;
mod series;
mod store;
mod values;

pub use histogram::Written;
pub use parse::{Command, Eval, Expectation, Level, Mode, ScriptError, Wanted, parse};
pub use run::{Failure, Report, Runner, script_options};
pub use series::{SeriesLine, parse_labels, parse_series};
pub use store::MemoryStore;
pub use values::Item;
