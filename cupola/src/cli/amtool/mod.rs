//! `cupola amtool`: what Alertmanager's amtool does, against any Alertmanager (0.25 to 0.34).

mod alerts;
mod client;
mod config;
mod receiver;
mod silences;
mod table;
mod why;

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::io::{self, Read, Write};
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};
use cupola_config::matchers::{MatcherMode, parse_matcher};
use cupola_config::{DiskFiles, Files, load_flags};
use cupola_model::{MatchOp, Matcher};
use serde_json::Value;

use super::{Command, Exit};
use client::Client;

const DATE_FORMAT: &str = "2006-01-02 15:04:05 MST";

/// View and modify the current Alertmanager state.
#[derive(Debug, Parser)]
#[command(
    name = "amtool",
    // Together as amtool says it, `amtool, version 0.34.0 (…)`: scripts take the third word.
    display_name = "amtool,",
    version = concat!("version 0.34.0 (cupola ", env!("CARGO_PKG_VERSION"), ")"),
    disable_help_subcommand = true
)]
pub(crate) struct Amtool {
    #[command(subcommand)]
    tool: Tool,
    #[command(flatten)]
    global: Global,
}

#[derive(Debug, Args)]
pub(super) struct Global {
    /// Format of date output, as Go writes one.
    #[arg(long = "date.format", global = true, value_name = "LAYOUT")]
    date_format: Option<String>,
    /// Verbose running information.
    #[arg(short, long, global = true)]
    verbose: bool,
    /// Alertmanager to talk to.
    #[arg(long = "alertmanager.url", global = true, value_name = "URL")]
    url: Option<String>,
    /// Output formatter.
    #[arg(short, long, global = true, value_enum)]
    output: Option<Output>,
    /// Timeout for the executed command.
    #[arg(long, global = true, value_name = "DURATION")]
    timeout: Option<String>,
    /// HTTP client configuration file for amtool to connect to Alertmanager.
    #[arg(long = "http.config.file", global = true, value_name = "FILE")]
    http_config_file: Option<PathBuf>,
    /// Accepted as amtool has it; versions are not compared.
    #[arg(long, global = true, overrides_with = "no_version_check")]
    version_check: bool,
    /// Accepted as amtool has it; versions are not compared.
    #[arg(long, global = true)]
    no_version_check: bool,
    /// Ways to read matchers: utf8-strict-mode, classic-mode.
    #[arg(long = "enable-feature", global = true, value_name = "NAMES")]
    features: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub(super) enum Output {
    #[default]
    Simple,
    Extended,
    Json,
}

#[derive(Debug, Subcommand)]
enum Tool {
    /// Add and query alerts.
    #[command(subcommand)]
    Alert(alerts::Tool),
    /// Add, expire or view silences.
    #[command(subcommand)]
    Silence(silences::Tool),
    /// Validate alertmanager config files.
    CheckConfig {
        /// Files to be validated.
        #[arg(value_name = "FILE")]
        files: Vec<PathBuf>,
    },
    /// View cluster status and peers.
    #[command(subcommand)]
    Cluster(Cluster),
    /// View the running config.
    #[command(subcommand)]
    Config(config::Tool),
    /// Test receivers (of Cupola's Alertmanager).
    #[command(subcommand)]
    Receiver(receiver::Tool),
    /// Render template files.
    #[command(subcommand)]
    Template(config::Template),
    /// Tell what happened to alerts, and why somebody was told or was not (of Cupola's Alertmanager).
    Why(why::WhyArgs),
}

#[derive(Debug, Subcommand)]
enum Cluster {
    /// Display cluster status and peers.
    Show,
}

/// Why a command ends without success.
#[derive(Debug)]
pub(super) enum Failure {
    /// What is told.
    Told(String),
    /// All was told already.
    Silent,
    Io(io::Error),
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

impl From<String> for Failure {
    fn from(text: String) -> Self {
        Self::Told(text)
    }
}

/// What commands have in common.
pub(super) struct Env<'a> {
    client: Client,
    output: Output,
    date_format: String,
    mode: MatcherMode,
    // Of the configuration file.
    flags: BTreeMap<String, String>,
    files: &'a dyn Files,
    input: &'a mut dyn Read,
    out: &'a mut dyn Write,
    err: &'a mut dyn Write,
}

/// Reads amtool's arguments; the first is the program's name.
pub(super) fn parse(args: impl IntoIterator<Item = OsString>) -> Result<Command, Exit> {
    let args = with_defaults(args.into_iter().collect());
    let amtool = Amtool::try_parse_from(args).map_err(|error| match error.kind() {
        clap::error::ErrorKind::DisplayHelp | clap::error::ErrorKind::DisplayVersion => error.into(),
        clap::error::ErrorKind::InvalidSubcommand => {
            let context = error.get(clap::error::ContextKind::InvalidSubcommand);
            let got = context.map(ToString::to_string).unwrap_or_default();
            told(&format!("expected command but got {}", cupola_model::go_quote(&got)))
        }
        _ => error.into(),
    })?;
    Ok(Command::Amtool(Box::new(amtool)))
}

fn told(text: &str) -> Exit {
    Exit {
        text: format!("amtool: error: {text}\n\n"),
        code: 1,
        to_stdout: false,
    }
}

// Puts in the commands that amtool takes where none is named: `alert` is `alert query`; and `help` as it has it.
fn with_defaults(mut args: Vec<OsString>) -> Vec<OsString> {
    const GROUPS: [(&str, &str, &[&str]); 5] = [
        ("alert", "query", &["query", "add"]),
        ("silence", "query", &["query", "add", "update", "expire", "import"]),
        ("cluster", "show", &["show"]),
        ("config", "show", &["show", "routes"]),
        ("routes", "show", &["show", "test"]),
    ];
    const WITH_VALUE: [&str; 8] = [
        "--date.format",
        "--alertmanager.url",
        "-o",
        "--output",
        "--timeout",
        "--http.config.file",
        "--enable-feature",
        "--config.file",
    ];
    // `help silence add` is `silence add --help`.
    if args.get(1).is_some_and(|first| first == "help") {
        args.remove(1);
        args.push("--help".into());
        return args;
    }
    let mut at = 1;
    let mut wanted = "";
    while let Some(arg) = args.get(at).and_then(|arg| arg.to_str()).map(str::to_owned) {
        if arg.starts_with('-') {
            at += 1 + usize::from(WITH_VALUE.contains(&arg.as_str()));
            continue;
        }
        // `routes` is a group only within `config`.
        let group = GROUPS
            .iter()
            .find(|(name, ..)| *name == arg && (wanted.is_empty() || (wanted == "config" && arg == "routes")));
        let Some((name, default, commands)) = group else { break };
        wanted = name;
        let has_help = args.get(at + 1).is_some_and(|next| next == "--help" || next == "-h");
        let mut next = at + 1;
        while let Some(flag) = args
            .get(next)
            .and_then(|arg| arg.to_str())
            .filter(|arg| arg.starts_with('-'))
        {
            next += 1 + usize::from(WITH_VALUE.contains(&flag));
        }
        let named = args
            .get(next)
            .and_then(|arg| arg.to_str())
            .is_some_and(|next| commands.contains(&next));
        if !named && !has_help {
            args.insert(at + 1, default.into());
        }
        at += 1;
    }
    args
}

impl Amtool {
    /// Does what was asked for and gives the exit code.
    pub(crate) fn run(&self) -> u8 {
        let (mut input, mut out, mut err) = (io::stdin(), io::stdout(), io::stderr());
        let done = self.run_with(&DiskFiles, &mut input, &mut out, &mut err);
        match done {
            Ok(()) => 0,
            Err(Failure::Silent) => 1,
            Err(Failure::Told(text)) => {
                // Where nothing can be written there is nobody to tell.
                let _ = write!(err, "amtool: error: {}\n\n", text.trim_end_matches('\n'));
                1
            }
            // The reader has what it wanted: `amtool … | head`.
            Err(Failure::Io(error)) if error.kind() == io::ErrorKind::BrokenPipe => 0,
            Err(Failure::Io(error)) => {
                let _ = writeln!(err, "amtool: error: cannot write the result: {error}");
                1
            }
        }
    }

    fn run_with(
        &self,
        files: &dyn Files,
        input: &mut dyn Read,
        out: &mut dyn Write,
        err: &mut dyn Write,
    ) -> Result<(), Failure> {
        let flags = flags_of_files(files)?;
        let global = &self.global;
        let flag = |name: &str| flags.get(name).cloned();
        let output = match (global.output, flag("output")) {
            (Some(output), _) => output,
            (None, Some(name)) => {
                Output::from_str(&name, true).map_err(|_| format!("unknown output formatter {name:?}"))?
            }
            (None, None) => Output::Simple,
        };
        let features = global
            .features
            .clone()
            .or_else(|| flag("enable-feature"))
            .unwrap_or_default();
        let has = |name: &str| features.split(',').any(|feature| feature.trim() == name);
        let mode = match (has("classic-mode"), has("utf8-strict-mode")) {
            (true, true) => return Err("cannot use both classic-mode and utf8-strict-mode".to_owned().into()),
            (true, false) => MatcherMode::Classic,
            (false, true) => MatcherMode::Utf8,
            (false, false) => MatcherMode::Fallback,
        };
        let http_config = global
            .http_config_file
            .clone()
            .or_else(|| flag("http.config.file").map(PathBuf::from));
        let client = Client::new(
            global.url.clone().or_else(|| flag("alertmanager.url")),
            global.timeout.clone().or_else(|| flag("timeout")),
            http_config.as_deref(),
            files,
        )?;
        let mut env = Env {
            client,
            output,
            date_format: global
                .date_format
                .clone()
                .or_else(|| flag("date.format"))
                .unwrap_or_else(|| DATE_FORMAT.to_owned()),
            mode,
            flags,
            files,
            input,
            out,
            err,
        };
        match &self.tool {
            Tool::Alert(tool) => alerts::run(tool, &mut env),
            Tool::Silence(tool) => silences::run(tool, &mut env),
            Tool::CheckConfig { files } => config::check(files, &mut env),
            Tool::Cluster(Cluster::Show) => config::cluster(&mut env),
            Tool::Config(tool) => config::run(tool, &mut env),
            Tool::Template(config::Template::Render(args)) => config::render(args, &mut env),
            Tool::Receiver(tool) => receiver::run(tool, &mut env),
            Tool::Why(args) => why::run(args, &mut env),
        }
    }
}

// The flags of the first of amtool's configuration files that is there.
fn flags_of_files(files: &dyn Files) -> Result<BTreeMap<String, String>, String> {
    // Debian's amtool looks at other places than the one it is made from.
    const OWN: [&str; 2] = [".config/amtool/config.yml", ".config/prometheus/amtool.yml"];
    const EVERYBODYS: [&str; 2] = ["/etc/amtool/config.yml", "/etc/prometheus/amtool.yml"];
    let home = std::env::var_os("HOME").map(PathBuf::from);
    let own = home.iter().flat_map(|home| OWN.map(|path| home.join(path)));
    for path in own.chain(EVERYBODYS.map(PathBuf::from)) {
        if files.exists(&path) {
            return load_flags(&path, files).map_err(|errors| {
                let all: Vec<String> = errors.iter().map(ToString::to_string).collect();
                all.join("\n")
            });
        }
    }
    Ok(BTreeMap::new())
}

// A text of an answer; nothing where it is none.
fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

impl Env<'_> {
    /// One matcher.
    fn matcher(&self, text: &str) -> Result<Matcher, String> {
        let parsed = parse_matcher(text, self.mode).map_err(|error| error.to_string())?;
        parsed
            .matchers
            .into_iter()
            .next()
            .ok_or_else(|| format!("bad matcher format: {text}"))
    }

    /// Matchers of arguments; a first one that is none is the value of `alertname`.
    fn matchers(&self, args: &[String]) -> Result<Vec<Matcher>, String> {
        let mut all = Vec::new();
        for (at, arg) in args.iter().enumerate() {
            match self.matcher(arg) {
                Ok(matcher) => all.push(matcher),
                Err(_) if at == 0 => all.push(Matcher::equal("alertname", arg.as_str())),
                Err(error) => return Err(error),
            }
        }
        Ok(all)
    }

    /// Labels of arguments such as `a=b`.
    fn labels(&self, args: &[String]) -> Result<BTreeMap<String, String>, String> {
        let mut labels = BTreeMap::new();
        for arg in args {
            let matcher = self.matcher(arg)?;
            if matcher.op() != MatchOp::Equal {
                return Err("labels must be specified as key=value pairs".to_owned());
            }
            labels.insert(matcher.name().to_owned(), matcher.value().to_owned());
        }
        Ok(labels)
    }

    /// A time of the API as it is shown.
    fn date(&self, text: &str) -> String {
        let time = text.parse::<jiff::Timestamp>();
        time.map_or_else(|_| text.to_owned(), |time| self.date_of(time.as_millisecond()))
    }

    // The same of milliseconds since the epoch.
    fn date_of(&self, ms: i64) -> String {
        cupola_gotemplate::Time::from_unix_ms(ms).format(&self.date_format)
    }
}
