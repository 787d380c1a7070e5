//! Where bytes come in and go out: parsing pages of metrics, writing large answers, and scraping what is not there.

mod down;
mod json;
mod parse;

use anyhow::{Context as _, Result};

use super::Bench;
use super::options::Measure;
use super::report::Report;

/// What is measured here.
pub(super) const MEASURES: [Measure; 3] = [Measure::Parse, Measure::Json, Measure::Down];

pub(super) fn run(bench: &Bench, report: &mut Report) -> Result<()> {
    if bench.options.wants(Measure::Parse) && !bench.options.peers_only {
        parse::run(report).context("parsing")?;
    }
    if bench.options.wants(Measure::Json) {
        json::run(bench, report).context("writing JSON")?;
    }
    if bench.options.wants(Measure::Down) {
        down::run(bench, report).context("targets that are down")?;
    }
    Ok(())
}
