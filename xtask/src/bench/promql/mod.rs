//! Queries over hours of data and over many series, against the peers on the same data.
//!
//! - `dataset` makes the data, `load` gives them to a server.
//! - `queries` says what is asked, `ask` asks it and keeps what it cost.
//! - `dashboard` asks for many panels at once and for what one query needs in memory.
//!
//! Every run of a query asks for steps half a second later than the one before, so that no server can answer from the
//! results of the last run; what caches of results are worth shows in the refreshes, which go on by one step. No sample
//! lies on a whole or a half second: Prometheus 2 includes the left end of a range, Prometheus 3 and Cupola do not.

mod ask;
mod dashboard;
mod dataset;
mod load;
mod queries;

use anyhow::{Context as _, Result};

use self::ask::Window;
pub(super) use self::dataset::{BLOCK_MS, Content, Shape, pairs, scraped, write_blocks};
use self::load::Loaded;
use super::report::Report;
use super::{Bench, machine, tell};

const MINUTE_MS: i64 = 60_000;
const HOUR_MS: i64 = 60 * MINUTE_MS;

const DAY: Shape = Shape {
    name: "2,000 series for 24 h",
    content: Content::Mix,
    targets: 4,
    series: 500,
    hours: 24,
    step_ms: 15_000,
    replaced: 0.3,
};

const LARGE: Shape = Shape {
    name: "200,000 series for 1 h",
    content: Content::Mix,
    targets: 200,
    series: 1000,
    hours: 1,
    step_ms: 15_000,
    replaced: 0.05,
};

const CORES: Shape = Shape {
    name: "2,000 series of one name for 24 h",
    content: Content::Cores,
    targets: 5,
    series: 400,
    hours: 24,
    step_ms: 15_000,
    replaced: 0.0,
};

// As Grafana chooses them for a panel.
const HOUR_BY_15_S: Window = Window::new("1 h", HOUR_MS, 15_000);
const SIX_HOURS_BY_1_MIN: Window = Window::new("6 h", 6 * HOUR_MS, 60_000);
const DAY_BY_2_MIN: Window = Window::new("24 h", 24 * HOUR_MS, 120_000);

/// Measures everything, set by set.
pub(crate) fn run(bench: &Bench, report: &mut Report) -> Result<()> {
    // The data end on the end of a block, and long enough ago that no server takes them for unfinished.
    let end_ms = (machine::now_ms() - 30 * MINUTE_MS) / BLOCK_MS * BLOCK_MS;
    let windows = [HOUR_BY_15_S, SIX_HOURS_BY_1_MIN, DAY_BY_2_MIN];
    let day = Loaded::new(bench, &DAY, end_ms, "day").with_context(|| DAY.name)?;
    let of_day = ask::run(bench, &day, &queries::DAY, &windows, report).with_context(|| DAY.name)?;
    dashboard::panels(bench, &day, &queries::DAY, SIX_HOURS_BY_1_MIN, report).with_context(|| DAY.name)?;
    let large = Loaded::new(bench, &LARGE, end_ms, "large").with_context(|| LARGE.name)?;
    let of_large = ask::run(bench, &large, &queries::LARGE, &[HOUR_BY_15_S], report).with_context(|| LARGE.name)?;
    drop(large);
    if let Some(both) = of_day.with(of_large) {
        report.heading("PromQL: all of these queries, over both sets of data");
        ask::summary(bench, &both, report);
    }
    let cores = Loaded::new(bench, &CORES, end_ms, "cores").with_context(|| CORES.name)?;
    dashboard::memory(bench, &cores, DAY_BY_2_MIN, report).with_context(|| CORES.name)?;
    tell("promql is done");
    Ok(())
}
