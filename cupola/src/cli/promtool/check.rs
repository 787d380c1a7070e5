//! `promtool check`: files before a server reads them, and servers.

use std::io;
use std::path::PathBuf;

use clap::Subcommand;
use cupola_promql::ParseOptions;

use super::{Io, config, discovery, metrics, ready, rules, web_config};

#[derive(Debug, Subcommand)]
pub(super) enum Check {
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
pub(super) fn run(check: &Check, options: ParseOptions, io: &mut Io<'_>) -> io::Result<u8> {
    match check {
        Check::Config(args) => config::check(args, options, io),
        Check::Healthy(args) => ready::check(args, "/-/healthy", io),
        Check::Ready(args) => ready::check(args, "/-/ready", io),
        Check::Metrics { extended } => metrics::check(*extended, io),
        Check::ServiceDiscovery(args) => discovery::check(args, io),
        Check::Rules(args) => rules::check(args, options, io),
        Check::WebConfig { files } => web_config::check(files, io),
    }
}
