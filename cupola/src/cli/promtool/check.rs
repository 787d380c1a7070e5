//! `promtool check`: files before a server reads them, and servers.

use std::io;
use std::path::PathBuf;

use clap::{Args, Subcommand};
use cupola_config::alertmanager::go_duration;
use cupola_promql::ParseOptions;

use super::{FAILURE, Io, config, discovery, metrics, ready, rules, web_config};

/// What is checked.
#[derive(Debug, Args)]
pub(super) struct CheckArgs {
    /// How far the server's queries look back (its --query.lookback-delta), for the check too-long-scrape-interval.
    #[arg(
        long = "query.lookback-delta",
        global = true,
        value_name = "DURATION",
        default_value = "5m"
    )]
    lookback_delta: String,
    #[command(subcommand)]
    what: Check,
}

#[derive(Debug, Subcommand)]
enum Check {
    /// Check whether configuration files are valid, and the rule files that they name.
    Config(config::ConfigArgs),
    /// Check whether a server is healthy.
    Healthy(ready::ReadyArgs),
    /// Check whether a server is ready.
    Ready(ready::ReadyArgs),
    /// Check what is unusual about metrics in the text format, from the standard input.
    Metrics {
        /// Tell how many series each metric has.
        #[arg(long)]
        extended: bool,
        /// What to look for: all or none.
        #[arg(long, value_name = "CHECKS", default_value = "all")]
        lint: String,
    },
    /// Look for the targets of a job and tell what relabelling makes of them.
    ServiceDiscovery(discovery::DiscoveryArgs),
    /// Check whether rule files are valid.
    Rules(rules::RuleArgs),
    /// Check whether web configuration files are valid, and the certificates and keys that they name.
    WebConfig {
        /// The web configuration files.
        #[arg(value_name = "FILE", required = true)]
        files: Vec<PathBuf>,
    },
}

/// Does what was asked for and gives the exit code.
pub(super) fn run(args: &CheckArgs, options: ParseOptions, io: &mut Io<'_>) -> io::Result<u8> {
    match &args.what {
        Check::Config(config) => match go_duration(&args.lookback_delta) {
            Some(lookback) => config::check(config, lookback, options, io),
            None => {
                let text = cupola_model::go_quote(&args.lookback_delta);
                let error = format!("--query.lookback-delta: {text} is not a duration such as 5m, try --help");
                writeln!(io.err, "promtool: error: {error}")?;
                Ok(FAILURE)
            }
        },
        Check::Healthy(args) => ready::check(args, "/-/healthy", io),
        Check::Ready(args) => ready::check(args, "/-/ready", io),
        Check::Metrics { extended, lint } => metrics::check(*extended, lint != "none", io),
        Check::ServiceDiscovery(args) => discovery::check(args, io),
        Check::Rules(args) => rules::check(args, options, io),
        Check::WebConfig { files } => web_config::check(files, io),
    }
}
