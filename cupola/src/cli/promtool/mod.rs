//! `cupola promtool`: what Prometheus's promtool does for people who write queries and rules and look after data.

mod analyze;
mod api;
mod archive;
mod backtest;
mod check;
mod config;
mod debug;
mod discovery;
mod explain;
mod metrics;
mod promql;
mod push;
mod query;
mod ready;
mod rules;
mod scripts;
mod text_check;
mod tsdb;
mod unit_tests;
mod web_config;

use std::ffi::OsString;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use clap::{Args, Parser, Subcommand};
use cupola_config::{DiskFiles, Files};
use cupola_promql::ParseOptions;

use super::{Command, Exit};

const FAILURE: u8 = 1;

/// Tooling for people who write queries and rules: what Prometheus's promtool is, as far as this version has it.
#[derive(Debug, Parser)]
#[command(
    name = "promtool",
    // Together as promtool says it, `promtool, version 3.14.0 (…)`: scripts take the third word.
    display_name = "promtool,",
    version = concat!("version 3.14.0 (cupola ", env!("CARGO_PKG_VERSION"), ")"),
    disable_help_subcommand = true,
    after_help = "Exit codes: 0 where all is well, 1 for a failure or wrong arguments, 3 for lint errors with --lint-fatal."
)]
pub(crate) struct Promtool {
    #[command(subcommand)]
    tool: Tool,
    #[command(flatten)]
    global: Global,
}

#[derive(Debug, Args)]
struct Global {
    /// Turn on experimental parts of PromQL: promql-experimental-functions, promql-extended-range-selectors,
    /// promql-binop-fill-modifiers. Several are separated by commas.
    #[arg(long, global = true, value_name = "NAMES")]
    enable_feature: Vec<String>,
    /// Accepted as promtool has it; nothing here needs it.
    #[arg(long, global = true)]
    experimental: bool,
}

#[derive(Debug, Subcommand)]
enum Tool {
    /// Check files before a server reads them.
    Check(check::CheckArgs),
    /// Fetch what a server tells about itself, for who is to find out what ails it.
    #[command(subcommand)]
    Debug(debug::Debug),
    /// Say why something is as it is. Ours; Prometheus's promtool has none.
    #[command(subcommand)]
    Explain(explain::Explain),
    /// Format, look into and change queries.
    #[command(subcommand)]
    Promql(promql::Promql),
    /// Push to a server.
    #[command(subcommand)]
    Push(push::Push),
    /// Ask a server.
    Query(query::QueryArgs),
    /// Try rules on past data.
    #[command(subcommand)]
    Rules(backtest::Rules),
    /// Run tests.
    Test(TestArgs),
    /// Look into data folders and make blocks.
    #[command(subcommand)]
    Tsdb(tsdb::Tsdb),
}

#[derive(Debug, Args)]
struct TestArgs {
    /// Write the results of rule tests to this file, too, as JUnit XML.
    #[arg(long, global = true, value_name = "FILE")]
    junit: Option<PathBuf>,
    #[command(subcommand)]
    what: Test,
}

#[derive(Debug, Subcommand)]
enum Test {
    /// Run PromQL test scripts (load, clear, eval), with everything experimental on.
    Promql {
        /// The scripts.
        #[arg(value_name = "FILE", required = true)]
        files: Vec<PathBuf>,
    },
    /// Run unit tests of rules.
    Rules(unit_tests::RuleTestArgs),
}

/// Reads promtool's arguments; the first is the program's name.
pub(super) fn parse(args: impl IntoIterator<Item = OsString>) -> Result<Command, Exit> {
    let promtool = Promtool::try_parse_from(args)?;
    Ok(Command::Promtool(Box::new(promtool)))
}

impl From<Promtool> for Command {
    fn from(promtool: Promtool) -> Self {
        Self::Promtool(Box::new(promtool))
    }
}

/// What a tool reads and writes.
struct Io<'a> {
    files: &'a dyn Files,
    input: &'a mut dyn Read,
    out: &'a mut dyn Write,
    err: &'a mut dyn Write,
}

impl Io<'_> {
    // The first of `files` that is not there, told as promtool tells it.
    fn tell_missing(&mut self, files: &[PathBuf]) -> io::Result<bool> {
        let Some(missing) = files.iter().find(|file| !self.files.exists(file)) else {
            return Ok(false);
        };
        let path = missing.display();
        writeln!(self.err, "promtool: error: path '{path}' does not exist, try --help")?;
        Ok(true)
    }
}

impl Promtool {
    /// Does what was asked for and gives the exit code.
    pub(crate) fn run(&self) -> u8 {
        let mut io = Io {
            files: &DiskFiles,
            input: &mut io::stdin(),
            out: &mut io::stdout(),
            err: &mut io::stderr(),
        };
        match self.run_with(&mut io) {
            Ok(code) => code,
            // The reader has what it wanted: `promtool … | head`.
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => 0,
            Err(error) => {
                // Where nothing can be written there is nobody to tell.
                let _ = writeln!(io::stderr(), "promtool: error: cannot write the result: {error}");
                FAILURE
            }
        }
    }

    fn run_with(&self, io: &mut Io<'_>) -> io::Result<u8> {
        let options = self.options(io)?;
        match &self.tool {
            Tool::Check(check) => check::run(check, options, io),
            Tool::Debug(what) => debug::run(what, io),
            Tool::Push(what) => push::run(what, io),
            Tool::Explain(what) => explain::run(what, io),
            Tool::Query(args) => query::run(args, io),
            Tool::Promql(command) => promql::run(command, &options, io),
            Tool::Rules(backtest::Rules::Backtest(args)) => backtest::run(args, options, io),
            Tool::Test(args) => match &args.what {
                Test::Promql { files } => scripts::test(files, io),
                Test::Rules(rules) => unit_tests::test(rules, args.junit.as_deref(), options, io),
            },
            Tool::Tsdb(command) => tsdb::run(command, &options, io),
        }
    }

    fn options(&self, io: &mut Io<'_>) -> io::Result<ParseOptions> {
        // Known to promtool, and not about what queries may say.
        const OTHERS: [&str; 5] = [
            "promql-delayed-name-removal",
            "promql-at-modifier",
            "promql-negative-offset",
            "no-default-scrape-port",
            "type-and-unit-labels",
        ];
        let mut options = ParseOptions::default();
        let names = self.global.enable_feature.iter().flat_map(|names| names.split(','));
        for name in names.map(str::trim).filter(|name| !name.is_empty()) {
            if !options.enable_feature(name) && !OTHERS.contains(&name) {
                let name = cupola_model::go_quote(name);
                writeln!(io.err, "  WARNING: Unknown option for --enable-feature: {name}")?;
            }
        }
        Ok(options)
    }
}

// The whole text of a file, or why there is none.
fn read(path: &Path, io: &Io<'_>) -> Result<String, String> {
    let named = |error: io::Error| format!("{}: cannot read the file: {error}", path.display());
    io.files.read(path).map_err(named)
}

#[cfg(test)]
mod conformance;
#[cfg(test)]
mod tests;
