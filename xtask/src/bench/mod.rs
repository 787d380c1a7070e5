//! `make bench`: Cupola and its peers on the same input, in the same run, on this machine.
//!
//! Every measure lies in a file of its own and adds tables to one [`Report`]; a new one is a line in [`measure`].
//! What counts is CPU time (user and system, from `/proc`), memory and bytes: they are the same on a busy machine and on
//! a quiet one. Latencies are shown beside them and say little when something else runs.
//!
//! Servers run in a scratch folder on free ports of 127.0.0.1 and are killed when the run ends, however it ends.

mod agree;
mod alerting;
mod client;
mod edges;
mod exporter;
mod host;
mod machine;
mod options;
mod process;
mod promql;
mod queries;
mod report;
mod restart;
mod scrape;
mod series;
mod server;
mod start;
mod storage;

use std::path::Path;

use anyhow::{Context as _, Result};

use self::machine::Scratch;
use self::options::{Measure, Options};
use self::report::{Part, Report};
use self::server::Contender;

/// What all measures share.
pub(crate) struct Bench {
    options: Options,
    contenders: Vec<Contender>,
    scratch: Scratch,
}

/// Runs the measures that `args` name, all of them by default, and prints the tables as markdown.
///
/// `target` is cargo's target folder: the release binary is taken from it, and scratch data lies below it.
///
/// # Errors
/// When the release binary is absent, or a server does not start, answer or end in time.
pub(crate) fn run(root: &Path, target: &Path, args: &[String]) -> Result<()> {
    let options = Options::parse(args)?;
    let scratch = Scratch::new(&target.join("bench"), options.keep)?;
    let contenders = server::contenders(&options, target, &scratch)?;
    let bench = Bench {
        options,
        contenders,
        scratch,
    };
    let mut report = Report::new(Part::General, &bench, args);
    let measured = measure(&bench, &mut report);
    finish(root, &bench, &report, measured)?;
    if bench.options.wants(Measure::PromQl) {
        let mut report = Report::new(Part::PromQl, &bench, args);
        let measured = promql::run(&bench, &mut report).context("measuring PromQL");
        finish(root, &bench, &report, measured)?;
    }
    if edges::MEASURES.into_iter().any(|measure| bench.options.wants(measure)) {
        let mut report = Report::new(Part::Edges, &bench, args);
        let measured = edges::run(&bench, &mut report).context("measuring the edges");
        finish(root, &bench, &report, measured)?;
    }
    if bench.options.wants(Measure::Storage) {
        let mut report = Report::new(Part::Storage, &bench, args);
        let measured = storage::run(&bench, &mut report).context("measuring the storage");
        finish(root, &bench, &report, measured)?;
    }
    if [Measure::Rules, Measure::Alerts, Measure::Backtest]
        .into_iter()
        .any(|measure| bench.options.wants(measure))
    {
        let mut report = Report::new(Part::Alerting, &bench, args);
        let measured = alerting::run(&bench, &mut report);
        finish(root, &bench, &report, measured)?;
    }
    Ok(())
}

// What was measured before something failed is worth reading, but not worth keeping.
fn finish(root: &Path, bench: &Bench, report: &Report, measured: Result<()>) -> Result<()> {
    println!("{}", report.text());
    measured?;
    if bench.options.save {
        report.save(&root.join("BENCHMARKS.md"))?;
    }
    Ok(())
}

fn measure(bench: &Bench, report: &mut Report) -> Result<()> {
    if bench.options.wants(Measure::Start) {
        start::run(bench, report).context("measuring the start")?;
    }
    if bench.options.wants_scraping() {
        scrape::run(bench, report)?;
    }
    if bench.options.wants(Measure::Host) {
        host::run(bench, report).context("measuring host metrics")?;
    }
    Ok(())
}

/// Tells whoever waits what is going on; the report itself goes to stdout.
fn tell(what: &str) {
    eprintln!("== bench: {what}");
}

/// The median of `values`; 0 where there are none.
fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let middle = sorted.len() / 2;
    let at = |index: usize| sorted.get(index).copied().unwrap_or(0.0);
    if sorted.len() % 2 == 1 || sorted.is_empty() {
        at(middle)
    } else {
        f64::midpoint(at(middle - 1), at(middle))
    }
}

#[cfg(test)]
mod tests {
    use super::median;

    #[test]
    fn the_median_is_in_the_middle() {
        assert_eq!(median(&[]), 0.0);
        assert_eq!(median(&[3.0]), 3.0);
        assert_eq!(median(&[9.0, 1.0, 2.0]), 2.0);
        assert_eq!(median(&[4.0, 1.0, 2.0, 9.0]), 3.0);
    }
}
