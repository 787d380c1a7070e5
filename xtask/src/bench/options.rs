//! What to measure, and how large.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};

/// A group of figures that can be asked for alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Measure {
    /// Binary size, start, idle memory.
    Start,
    /// Scraping synthetic targets.
    Scrape,
    /// Queries over what was scraped.
    Queries,
    /// Restart after SIGKILL.
    Restart,
    /// Host metrics against node_exporter.
    Host,
    /// Queries over hours of data, and over many series.
    PromQl,
    /// What the storage costs: writing, memory, disk, restarts.
    Storage,
    /// Evaluating rules.
    Rules,
    /// Alertmanager: taking alerts, holding, listing and delivering them.
    Alerts,
    /// Rules replayed over the past.
    Backtest,
    /// Parsing pages of metrics, without a network and a storage.
    Parse,
    /// A large answer in JSON.
    Json,
    /// Ten thousand targets that are down.
    Down,
}

const MEASURES: [(&str, Measure); 13] = [
    ("start", Measure::Start),
    ("scrape", Measure::Scrape),
    ("queries", Measure::Queries),
    ("restart", Measure::Restart),
    ("host", Measure::Host),
    ("promql", Measure::PromQl),
    ("storage", Measure::Storage),
    ("rules", Measure::Rules),
    ("alerts", Measure::Alerts),
    ("backtest", Measure::Backtest),
    ("parse", Measure::Parse),
    ("json", Measure::Json),
    ("down", Measure::Down),
];

const USAGE: &str = "bench [start|scrape|queries|restart|host|promql|storage|rules|alerts|backtest|parse|json|down ...]
                   (default: all; queries and restart scrape first)
  --targets=N      synthetic targets (50)
  --series=N       series of each target (1000)
  --interval=SEC   scrape interval, whole seconds (5)
  --seconds=SEC    how long scraping is measured (60)
  --idle=SEC       how long servers idle before their memory is read (30)
  --runs=N         least runs of each query (20; with promql as many, 5 by default)
  --only=TEXT      promql: only queries with this text in their name; storage: only this of idle, write, backfill,
                   held, memory, million
  --active=N       storage: series of the large set (1000000); the small one has a fifth
  --written=N      storage: samples of remote write, one of each series in a message (6000000)
  --backfill=N     storage: series that are filled in afterwards (4000), for
  --hours=N        storage: so many hours at 15 s (24)
  --days=N         backtest: so many days at 60 s (2)
  --no-gzip        targets send plain text
  --cupola=FILE    the binary to measure (default: release binary in cargo's target folder)
  --peers-only     measure the peers without Cupola
  --keep           keep the scratch folder
  --save           also write the tables into BENCHMARKS.md";

/// How large the sets of the measures of the storage are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Sizes {
    /// Series of the large set.
    pub(crate) active: usize,
    /// Samples written one by one.
    pub(crate) written: usize,
    /// Series that are filled in afterwards.
    pub(crate) backfill: usize,
    /// How many hours of them.
    pub(crate) hours: usize,
}

/// The arguments of `bench`.
#[derive(Debug, Clone)]
pub(crate) struct Options {
    /// Empty means all.
    pub(crate) measures: Vec<Measure>,
    pub(crate) targets: usize,
    pub(crate) series: usize,
    pub(crate) interval: Duration,
    pub(crate) scraping: Duration,
    pub(crate) idle: Duration,
    pub(crate) runs: Option<usize>,
    pub(crate) only: Option<String>,
    pub(crate) storage: Sizes,
    pub(crate) days: usize,
    pub(crate) gzip: bool,
    pub(crate) cupola: Option<PathBuf>,
    pub(crate) peers_only: bool,
    pub(crate) keep: bool,
    pub(crate) save: bool,
}

impl Options {
    pub(crate) fn parse(args: &[String]) -> Result<Self> {
        let mut options = Self {
            measures: Vec::new(),
            targets: 50,
            series: 1000,
            interval: Duration::from_secs(5),
            scraping: Duration::from_mins(1),
            idle: Duration::from_secs(30),
            runs: None,
            only: None,
            storage: Sizes {
                active: 1_000_000,
                written: 6_000_000,
                backfill: 4000,
                hours: 24,
            },
            days: 2,
            gzip: true,
            cupola: None,
            peers_only: false,
            keep: false,
            save: false,
        };
        for arg in args {
            let (name, value) = arg.split_once('=').unwrap_or((arg, ""));
            let number = || {
                let parsed = value.parse::<u32>().ok().filter(|n| *n > 0);
                parsed.with_context(|| format!("{arg}: needs a whole number above 0, such as {name}=10"))
            };
            match name {
                "--targets" => options.targets = number()? as usize,
                "--series" => options.series = number()? as usize,
                "--interval" => options.interval = Duration::from_secs(number()?.into()),
                "--seconds" => options.scraping = Duration::from_secs(number()?.into()),
                "--idle" => options.idle = Duration::from_secs(number()?.into()),
                "--runs" => options.runs = Some(number()? as usize),
                "--only" => options.only = Some(value.to_owned()),
                "--active" => options.storage.active = number()? as usize,
                "--written" => options.storage.written = number()? as usize,
                "--backfill" => options.storage.backfill = number()? as usize,
                "--hours" => options.storage.hours = number()? as usize,
                "--days" => options.days = number()? as usize,
                "--no-gzip" => options.gzip = false,
                "--cupola" => options.cupola = Some(PathBuf::from(value)),
                "--peers-only" => options.peers_only = true,
                "--keep" => options.keep = true,
                "--save" => options.save = true,
                "--help" => {
                    println!("usage: {USAGE}");
                    std::process::exit(0);
                }
                _ => match MEASURES.iter().find(|(known, _)| known == arg) {
                    Some((_, measure)) => options.measures.push(*measure),
                    None => bail!("bench: unknown argument {arg}\nusage: {USAGE}"),
                },
            }
        }
        if options.scraping < options.interval * 10 {
            bail!("--seconds must be at least ten times --interval: queries look back over several scrapes");
        }
        Ok(options)
    }

    pub(crate) fn wants(&self, measure: Measure) -> bool {
        self.measures.is_empty() || self.measures.contains(&measure)
    }

    /// Whether synthetic targets have to be scraped at all.
    pub(crate) fn wants_scraping(&self) -> bool {
        [Measure::Scrape, Measure::Queries, Measure::Restart]
            .into_iter()
            .any(|measure| self.wants(measure))
    }

    pub(crate) fn interval_ms(&self) -> i64 {
        self.interval.as_millis() as i64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(line: &str) -> Result<Options> {
        let args: Vec<String> = line.split_whitespace().map(str::to_owned).collect();
        Options::parse(&args)
    }

    #[test]
    fn everything_is_measured_by_default() {
        let options = parsed("").unwrap();
        assert!(MEASURES.iter().all(|(_, measure)| options.wants(*measure)));
    }

    #[test]
    fn measures_and_sizes_can_be_chosen() {
        let options = parsed("queries --targets=200 --interval=1 --seconds=10 --no-gzip").unwrap();
        assert!(options.wants_scraping() && !options.wants(Measure::Scrape) && !options.wants(Measure::Start));
        assert_eq!(
            (options.targets, options.interval_ms(), options.gzip),
            (200, 1000, false)
        );
    }

    #[test]
    fn the_storage_has_sizes_of_its_own() {
        let options =
            parsed("storage --active=50000 --written=400000 --backfill=500 --hours=6 --only=backfill").unwrap();
        let sizes = Sizes {
            active: 50_000,
            written: 400_000,
            backfill: 500,
            hours: 6,
        };
        assert_eq!((options.storage, options.only.as_deref()), (sizes, Some("backfill")));
        assert!(options.wants(Measure::Storage) && !options.wants_scraping());
    }

    #[test]
    fn mistakes_are_told() {
        for (line, told) in [
            ("scrapes", "unknown argument scrapes"),
            ("--targets=0", "above 0"),
            ("--targets", "--targets=10"),
            ("--seconds=20", "ten times"),
        ] {
            let error = parsed(line).unwrap_err().to_string();
            assert!(error.contains(told), "{line}: {error}");
        }
    }
}
