//! From rule to message: evaluating rules, the Alertmanager, rules replayed over the past.

mod alerts;
mod backtest;
mod receiver;
mod rules;

use anyhow::{Context as _, Result};

use super::Bench;
use super::options::Measure;
use super::report::Report;
use super::server::Running;

/// Measures what is wanted.
pub(crate) fn run(bench: &Bench, report: &mut Report) -> Result<()> {
    if bench.options.wants(Measure::Rules) {
        rules::run(bench, report).context("measuring rules")?;
    }
    if bench.options.wants(Measure::Alerts) {
        alerts::run(bench, report).context("measuring the Alertmanager")?;
    }
    if bench.options.wants(Measure::Backtest) {
        backtest::run(bench, report).context("measuring the backtest")?;
    }
    Ok(())
}

// The sum of a server's series of that name.
fn metric(running: &Running, name: &str) -> Result<f64> {
    let page = running.client()?.fetch("/metrics").context("cannot read its metrics")?;
    let page = String::from_utf8_lossy(&page);
    let values = page.lines().filter_map(|line| {
        let rest = line.strip_prefix(name).filter(|rest| rest.starts_with([' ', '{']))?;
        rest.rsplit(' ').next()?.parse::<f64>().ok()
    });
    Ok(values.sum())
}
