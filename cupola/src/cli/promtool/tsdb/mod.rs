//! `promtool tsdb`: looks into data folders and makes blocks. Nothing here changes a block that is there.
//!
//! Texts, columns and exit codes are those of Prometheus 3's promtool, so that scripts around it go on working. What is
//! told beyond it goes to the error output.

mod analyze;
mod bench;
mod build;
mod dump;
mod list;
mod openmetrics;
mod rules;
mod walk;

use std::io;
use std::path::{Path, PathBuf};

use clap::{Args, Subcommand, ValueEnum};
use cupola_block::{Block, BlockError, list_blocks};
use cupola_env::RealFs;
use cupola_storage::StorageError;

use super::{FAILURE, Io};

/// Look into data folders and make blocks.
#[derive(Debug, Subcommand)]
pub(super) enum Tsdb {
    /// Print what makes the series of a block many: label pairs, names, churn.
    Analyze(AnalyzeArgs),
    /// List the blocks of a data folder.
    List(ListArgs),
    /// Print all samples, one a line: those of the blocks and those of the log.
    Dump(DumpArgs),
    /// Print all samples in OpenMetrics, as create-blocks-from reads them.
    DumpOpenmetrics(RangeArgs),
    /// Make blocks from other data.
    CreateBlocksFrom(CreateArgs),
    /// Measure the storage.
    #[command(subcommand)]
    Bench(Bench),
}

#[derive(Debug, Subcommand)]
pub(super) enum Bench {
    /// Write made-up samples of many series, as fast as can be.
    Write(BenchWriteArgs),
}

#[derive(Debug, Args)]
pub(super) struct BenchWriteArgs {
    /// The folder for the data; that of an earlier benchmark is deleted.
    #[arg(long, value_name = "DIR", default_value = "benchout")]
    out: PathBuf,
    /// How many series to take from the file.
    #[arg(long, value_name = "N", default_value_t = 10_000)]
    metrics: usize,
    /// How many scrapes to simulate.
    #[arg(long, value_name = "N", default_value_t = 3000)]
    scrapes: usize,
    /// The series, each a line of JSON with its labels.
    #[arg(value_name = "FILE", default_value = "../../tsdb/testdata/20kseries.json")]
    file: PathBuf,
}

#[derive(Debug, Args)]
pub(super) struct AnalyzeArgs {
    /// The data folder.
    #[arg(value_name = "DB PATH", default_value = "data/")]
    path: PathBuf,
    /// The block; the one made last where none is named.
    #[arg(value_name = "BLOCK ID")]
    block: Option<String>,
    /// How many items to show in each list.
    #[arg(long, value_name = "N", default_value_t = 20)]
    limit: usize,
    /// Look at the chunks, too.
    #[arg(long)]
    extended: bool,
    /// Only look at series that this selector selects.
    #[arg(
        long = "match",
        value_name = "SELECTOR",
        default_value = "",
        hide_default_value = true
    )]
    selector: String,
}

#[derive(Debug, Args)]
pub(super) struct ListArgs {
    /// The data folder.
    #[arg(value_name = "DB PATH", default_value = "data/")]
    path: PathBuf,
    /// Print dates and sizes as people read them.
    #[arg(short = 'r', long)]
    human_readable: bool,
}

#[derive(Debug, Args)]
pub(super) struct RangeArgs {
    /// The data folder.
    #[arg(value_name = "DB PATH", default_value = "data/")]
    path: PathBuf,
    /// Accepted as promtool has it: nothing is written beside the data.
    #[arg(long, value_name = "DIR")]
    sandbox_dir_root: Option<PathBuf>,
    /// Oldest sample to print, in milliseconds since the epoch.
    #[arg(long, value_name = "MS", default_value_t = i64::MIN, hide_default_value = true, allow_negative_numbers = true)]
    min_time: i64,
    /// Newest sample to print.
    #[arg(long, value_name = "MS", default_value_t = i64::MAX, hide_default_value = true, allow_negative_numbers = true)]
    max_time: i64,
    /// Only print series that one of these selectors selects.
    #[arg(long = "match", value_name = "SELECTOR", default_value = "{__name__=~'(?s:.*)'}")]
    selectors: Vec<String>,
}

#[derive(Debug, Args)]
pub(super) struct DumpArgs {
    #[command(flatten)]
    range: RangeArgs,
    /// prom: each sample with its series; seriesjson: each series once.
    #[arg(long, value_name = "FORMAT", default_value = "prom")]
    format: DumpFormat,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum DumpFormat {
    Prom,
    Seriesjson,
}

#[derive(Debug, Args)]
pub(super) struct CreateArgs {
    /// Print dates and sizes as people read them.
    #[arg(short = 'r', long, global = true)]
    human_readable: bool,
    /// Do not print the blocks that were made.
    #[arg(short = 'q', long, global = true)]
    quiet: bool,
    /// How long a block may be: 2h, 20h or 200h, whichever is the longest that fits.
    #[arg(long, value_name = "DURATION", global = true, default_value = "2h", value_parser = milliseconds)]
    max_block_duration: i64,
    #[command(subcommand)]
    source: Source,
}

#[derive(Debug, Subcommand)]
enum Source {
    /// From a file in OpenMetrics, every sample with its time.
    Openmetrics(OpenMetricsArgs),
    /// From the past of recording rules, which a running server evaluates.
    Rules(RuleSourceArgs),
}

#[derive(Debug, Args)]
struct OpenMetricsArgs {
    /// The file.
    #[arg(value_name = "INPUT FILE")]
    input: PathBuf,
    /// The folder for the blocks; made where it is absent.
    #[arg(value_name = "OUTPUT DIRECTORY", default_value = "data/")]
    output: PathBuf,
    /// A label to add to every series, as name=value.
    #[arg(long = "label", value_name = "NAME=VALUE", value_parser = label)]
    labels: Vec<(String, String)>,
}

#[derive(Debug, Args)]
struct RuleSourceArgs {
    /// The rule files; their alerting rules are passed over.
    #[arg(value_name = "RULE FILE", required = true)]
    files: Vec<PathBuf>,
    /// The server that has the data the rules need.
    #[arg(long, value_name = "URL", default_value = "http://localhost:9090")]
    url: String,
    /// Where to begin: RFC 3339 or seconds since the epoch.
    #[arg(long, value_name = "TIME")]
    start: String,
    /// Where to end; 3 hours ago where it is not told.
    #[arg(long, value_name = "TIME")]
    end: Option<String>,
    /// The folder for the blocks; made where it is absent.
    #[arg(long, value_name = "DIR", default_value = "data/")]
    output_dir: PathBuf,
    /// How often to evaluate groups without an interval of their own.
    #[arg(long, value_name = "DURATION", default_value = "60s", value_parser = milliseconds)]
    eval_interval: i64,
}

fn milliseconds(text: &str) -> Result<i64, String> {
    match cupola_model::parse_duration(text) {
        Ok(0) => Err("a duration of 0 is too short".to_owned()),
        Ok(ms) => Ok(ms),
        Err(error) => Err(error.to_string()),
    }
}

fn label(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((name, value)) if cupola_model::is_valid_label_name(name) => Ok((name.to_owned(), value.to_owned())),
        _ => Err("expected NAME=VALUE".to_owned()),
    }
}

/// Why a command ended early.
#[derive(Debug)]
enum Failure {
    /// To be told, with exit code 1.
    Told(String),
    /// The result cannot be written.
    Output(io::Error),
}

impl Failure {
    fn new(text: impl Into<String>) -> Self {
        Self::Told(text.into())
    }
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        Self::Output(error)
    }
}

impl From<BlockError> for Failure {
    fn from(error: BlockError) -> Self {
        Self::Told(error.to_string())
    }
}

impl From<StorageError> for Failure {
    fn from(error: StorageError) -> Self {
        Self::Told(error.to_string())
    }
}

/// Does what was asked for and gives the exit code.
pub(super) fn run(command: &Tsdb, options: &cupola_promql::ParseOptions, io: &mut Io<'_>) -> io::Result<u8> {
    let done = match command {
        Tsdb::Analyze(args) => analyze::analyze(args, io),
        Tsdb::List(args) => list::list(args, io),
        Tsdb::Dump(args) => dump::dump(&args.range, args.format.into(), io),
        Tsdb::DumpOpenmetrics(range) => dump::dump(range, dump::Form::OpenMetrics, io),
        Tsdb::Bench(Bench::Write(args)) => bench::write(args, io),
        Tsdb::CreateBlocksFrom(args) => match &args.source {
            Source::Openmetrics(source) => openmetrics::create(args, source, io),
            Source::Rules(source) => {
                if io.tell_missing(&source.files)? {
                    return Ok(FAILURE);
                }
                rules::create(args, source, options, io)
            }
        },
    };
    match done {
        Ok(()) => Ok(0),
        Err(Failure::Told(text)) => {
            writeln!(io.err, "{text}")?;
            Ok(FAILURE)
        }
        Err(Failure::Output(error)) => Err(error),
    }
}

fn must_be_there(dir: &Path) -> Result<(), Failure> {
    std::fs::metadata(dir).map(|_| ()).map_err(|error| {
        let text = format!("opening the db dir: stat {}: {}", dir.display(), io_text(&error));
        Failure::Told(text)
    })
}

/// The blocks of a data folder, oldest first, those that cannot be opened with the reason.
fn open_blocks(dir: &Path) -> Result<(Vec<Block>, Vec<String>), Failure> {
    must_be_there(dir)?;
    let found = list_blocks(&RealFs, dir)?;
    let mut blocks = Vec::new();
    let mut faults: Vec<String> = found.broken.iter().map(|broken| broken.error.to_string()).collect();
    for (path, _) in &found.blocks {
        match Block::open(&RealFs::shared(), path) {
            Ok(block) => blocks.push(block),
            Err(error) => faults.push(error.to_string()),
        }
    }
    Ok((blocks, faults))
}

// What the system says, as Go's programs print it: without the number of the error.
fn io_text(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::NotFound => "no such file or directory".to_owned(),
        io::ErrorKind::PermissionDenied => "permission denied".to_owned(),
        io::ErrorKind::IsADirectory => "is a directory".to_owned(),
        io::ErrorKind::NotADirectory => "not a directory".to_owned(),
        _ => error.to_string(),
    }
}

// A selector from the command line, its mistake as promtool prints it.
fn selector(text: &str) -> Result<Vec<cupola_model::Matcher>, Failure> {
    cupola_promql::parse_selector(text).map_err(|errors| Failure::Told(cupola_promql::render_errors(text, &errors)))
}
