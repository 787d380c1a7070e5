//! Arguments: our own commands, and the flags of the tools we replace, in their spelling.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::{Args, Parser, Subcommand};
use cupola_alert::PostingOptions;
use cupola_block::BlockFormat;
use cupola_config::ByteSize;
use cupola_discovery::UPDATE_EVERY;
use cupola_tsdb::{DEFAULT_HELD_LOG_BYTES, RetentionRule, SeriesLimits, TierOptions};

use crate::logging::LogFormat;

pub(crate) use remote::RemoteSettings;

mod agent;
mod alertmanager;
mod amtool;
mod cluster;
mod flags;
mod prometheus;
mod promtool;
mod remote;
mod retention;
mod tsdb;
mod why;

pub(crate) use agent::Agent;
pub(crate) use alertmanager::AlertmanagerSettings;
pub(crate) use amtool::Amtool;
pub(crate) use cluster::ClusterSettings;
pub(crate) use promtool::Promtool;
pub(crate) use tsdb::TsdbTool;

/// What to do.
#[derive(Debug)]
pub(crate) enum Command {
    /// Run the server.
    Serve(Box<Settings>),
    /// Do what promtool does.
    Promtool(Box<Promtool>),
    /// Do what amtool does.
    Amtool(Box<Amtool>),
    /// Look after a data folder.
    Tsdb(TsdbTool),
    /// Run an Alertmanager alone.
    Alertmanager(Box<AlertmanagerSettings>),
}

/// How the server was asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mode {
    /// `cupola up`: this machine, everything in one process.
    Up,
    /// `cupola prometheus`: exactly what the configuration says.
    Prometheus,
}

/// Everything the server is told at start.
#[derive(Debug, Clone)]
pub(crate) struct Settings {
    pub mode: Mode,
    pub listen: Vec<SocketAddr>,
    pub data: PathBuf,
    pub config_file: Option<PathBuf>,
    pub alertmanager_config_file: Option<PathBuf>,
    pub log_level: String,
    pub log_format: LogFormat,
    pub external_url: Option<String>,
    pub route_prefix: Option<String>,
    /// What the pages are called, where they have a name of their own.
    pub page_title: Option<String>,
    /// TLS, passwords and headers of what listens.
    pub web_config_file: Option<PathBuf>,
    pub enable_lifecycle: bool,
    pub cors_origin: Option<String>,
    pub admin_api: bool,
    pub remote_write_receiver: bool,
    pub remote: RemoteSettings,
    pub max_connections: usize,
    pub read_timeout: Duration,
    pub max_listeners: usize,
    pub retention_ms: i64,
    pub retention_bytes: u64,
    /// Percent of the disk.
    pub retention_percent: f64,
    pub retention_rules: Vec<RetentionRule>,
    pub tiers: Vec<TierOptions>,
    pub min_block_ms: i64,
    /// 0 leaves it to the retention.
    pub max_block_ms: i64,
    pub block_format: BlockFormat,
    pub no_lockfile: bool,
    pub series_limits: SeriesLimits,
    /// Where this is an agent, which has no blocks, queries and rules.
    pub agent: Option<Agent>,
    /// How long remote write may go on when the process ends.
    pub flush_deadline: Duration,
    /// Bytes of the log that stay for remote write.
    pub max_backlog_bytes: u64,
    pub lookback_ms: i64,
    pub query_timeout: Duration,
    pub query_max_concurrency: usize,
    pub query_max_samples: usize,
    /// Bytes one query may use; `None` leaves it to the machine's memory, 0 is no limit.
    pub query_max_memory: Option<u64>,
    /// The same of all queries together.
    pub query_max_memory_total: Option<u64>,
    /// How alerts wait for Alertmanagers elsewhere.
    pub posting: PostingOptions,
    /// How often what is found is handed on to the scrapers.
    pub discovery_interval: Duration,
    /// How far from its moment a scrape may begin and still be stamped with it.
    pub scrape_tolerance_ms: i64,
    pub resend_delay_ms: i64,
    pub grace_period_ms: i64,
    pub outage_tolerance_ms: i64,
    /// How long it can be asked what happened to an alert; 0 keeps nothing.
    pub history_retention_ms: i64,
    pub features: Vec<String>,
    /// How often to look whether the configuration's files have changed; `None` never does.
    pub auto_reload: Option<Duration>,
    /// Accepted flags that do nothing here; told once in the log.
    pub ignored: Vec<String>,
    /// All flags in force, for `/api/v1/status/flags`.
    pub flags: BTreeMap<String, String>,
}

impl Settings {
    /// Whether a feature is enabled.
    pub(crate) fn has_feature(&self, name: &str) -> bool {
        self.features.iter().any(|feature| feature == name)
    }

    /// Whether it matters since when series count.
    pub(crate) fn reads_starts(&self) -> bool {
        self.has_feature("st-storage") || self.has_feature("created-timestamp-zero-ingestion")
    }
}

/// Why there is nothing to run: help and version, or a mistake in the arguments.
#[derive(Debug)]
pub(crate) struct Exit {
    pub text: String,
    pub code: u8,
    pub to_stdout: bool,
}

impl Exit {
    pub(crate) fn mistake(text: impl std::fmt::Display) -> Self {
        Self {
            text: format!("cupola: {text}\nTry --help.\n"),
            code: 1,
            to_stdout: false,
        }
    }
}

impl From<clap::Error> for Exit {
    fn from(error: clap::Error) -> Self {
        let shown = matches!(
            error.kind(),
            clap::error::ErrorKind::DisplayHelp | clap::error::ErrorKind::DisplayVersion
        );
        Self {
            text: error.render().to_string(),
            code: u8::from(!shown),
            to_stdout: shown,
        }
    }
}

/// A limit of memory: bytes, or `None` for `auto`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Memory(Option<u64>);

impl Memory {
    fn parse(text: &str) -> Result<Self, String> {
        match text {
            "auto" => Ok(Self(None)),
            "0" => Ok(Self(Some(0))),
            text => match ByteSize::parse(text) {
                Some(size) => Ok(Self(Some(size.0))),
                None => Err("is not a size such as 512MB, nor auto".to_owned()),
            },
        }
    }
}

/// The whole monitoring stack in one program.
#[derive(Debug, Parser)]
#[command(
    name = "cupola",
    version,
    disable_help_subcommand = true,
    args_conflicts_with_subcommands = true
)]
struct Cupola {
    #[command(subcommand)]
    command: Option<Sub>,
    #[command(flatten)]
    up: Up,
}

#[derive(Debug, Subcommand)]
enum Sub {
    /// Monitor this machine: scrape, store, alert, show. Also what plain `cupola` does.
    Up(Up),
    /// Be a Prometheus server: its flags, its configuration, nothing built in.
    #[command(disable_help_flag = true)]
    Prometheus {
        /// Prometheus's flags; `cupola prometheus --help` lists them.
        #[arg(trailing_var_arg = true, allow_hyphen_values = true, value_name = "FLAGS")]
        flags: Vec<String>,
    },
    /// Be an Alertmanager: its flags, its configuration, its API, its state folder.
    #[command(disable_help_flag = true)]
    Alertmanager {
        /// Alertmanager's flags; `cupola alertmanager --help` lists them.
        #[arg(trailing_var_arg = true, allow_hyphen_values = true, value_name = "FLAGS")]
        flags: Vec<String>,
    },
    /// Format queries, check rules, run PromQL test scripts, look into data folders.
    Promtool(Promtool),
    /// View and modify the state of an Alertmanager: alerts, silences, configuration.
    #[command(disable_help_flag = true)]
    Amtool {
        /// amtool's flags; `cupola amtool --help` lists them.
        #[arg(trailing_var_arg = true, allow_hyphen_values = true, value_name = "ARGS")]
        args: Vec<OsString>,
    },
    /// Look after a data folder: verify its blocks.
    Tsdb(TsdbTool),
}

#[derive(Debug, Clone, Args)]
struct Up {
    /// Address and port to listen on.
    #[arg(long, value_name = "ADDR:PORT", default_value = "127.0.0.1:9090")]
    listen: SocketAddr,
    /// Folder for all data; made where it is absent.
    #[arg(long, value_name = "DIR", default_value = "./data")]
    data: PathBuf,
    /// A prometheus.yml whose targets, rules and Alertmanagers are added to what is built in.
    #[arg(long = "config.file", value_name = "FILE")]
    config_file: Option<PathBuf>,
    /// An alertmanager.yml that says who is told of alerts.
    #[arg(long = "alertmanager.config.file", value_name = "FILE")]
    alertmanager_config_file: Option<PathBuf>,
    /// A file that turns on TLS or passwords for the pages and the API, as Prometheus's --web.config.file.
    #[arg(long = "web.config.file", value_name = "FILE")]
    web_config_file: Option<PathBuf>,
    /// The most memory one query may use, such as 512MB; auto is a quarter of what there is, 0 is no limit.
    #[arg(long = "query.max-memory", value_name = "SIZE", default_value = "auto", value_parser = Memory::parse)]
    query_max_memory: Memory,
    /// The most memory all queries may use together; auto is half of what there is, 0 is no limit.
    #[arg(long = "query.max-memory-total", value_name = "SIZE", default_value = "auto", value_parser = Memory::parse)]
    query_max_memory_total: Memory,
    /// Only log messages with this severity or above: debug, info, warn, error.
    #[arg(long = "log.level", value_name = "LEVEL", default_value = "info")]
    log_level: String,
    /// How log lines look.
    #[arg(long = "log.format", value_name = "FORMAT", default_value = "logfmt")]
    log_format: LogFormat,
}

/// Reads the arguments, the program's name included: under the name of a tool that we replace it behaves as that tool.
pub(crate) fn parse(args: impl IntoIterator<Item = OsString>) -> Result<Command, Exit> {
    let args: Vec<OsString> = args.into_iter().collect();
    let called = args
        .first()
        .map(Path::new)
        .and_then(Path::file_name)
        .and_then(|n| n.to_str())
        .unwrap_or("cupola");
    match called {
        "prometheus" => {
            let rest: Vec<String> = args.iter().skip(1).map(|a| a.to_string_lossy().into_owned()).collect();
            return prometheus::parse(&rest);
        }
        "promtool" => return promtool::parse(args),
        "alertmanager" | "prometheus-alertmanager" => {
            let rest: Vec<String> = args.iter().skip(1).map(|a| a.to_string_lossy().into_owned()).collect();
            return alertmanager::parse(&rest);
        }
        "amtool" => return amtool::parse(args),
        tool @ ("node_exporter" | "blackbox_exporter") => {
            return Err(Exit::mistake(format_args!(
                "this version cannot stand in for {tool} yet"
            )));
        }
        _ => {}
    }
    // amtool has commands that may be left out, which clap does not know.
    if args.get(1).is_some_and(|command| command == "amtool") {
        return amtool::parse(args.into_iter().skip(1));
    }
    let cupola = Cupola::try_parse_from(args)?;
    match cupola.command {
        None => Ok(up(cupola.up)),
        Some(Sub::Up(up_flags)) => Ok(up(up_flags)),
        Some(Sub::Prometheus { flags }) => prometheus::parse(&flags),
        Some(Sub::Alertmanager { flags }) => alertmanager::parse(&flags),
        Some(Sub::Promtool(promtool)) => Ok(promtool.into()),
        Some(Sub::Amtool { args }) => amtool::parse(std::iter::once("amtool".into()).chain(args)),
        Some(Sub::Tsdb(tool)) => Ok(Command::Tsdb(tool)),
    }
}

fn up(up: Up) -> Command {
    let mut settings = Settings {
        mode: Mode::Up,
        listen: vec![up.listen],
        data: up.data,
        config_file: up.config_file,
        alertmanager_config_file: up.alertmanager_config_file,
        log_level: up.log_level,
        log_format: up.log_format,
        external_url: None,
        route_prefix: None,
        page_title: None,
        web_config_file: up.web_config_file,
        // Whoever can send a signal can reload; over HTTP it takes a flag, as in Prometheus.
        enable_lifecycle: false,
        cors_origin: None,
        admin_api: false,
        remote_write_receiver: false,
        remote: RemoteSettings::default(),
        max_connections: 512,
        read_timeout: Duration::from_secs(300),
        max_listeners: 16,
        retention_ms: 15 * 24 * 3_600_000,
        retention_bytes: 0,
        retention_percent: 0.0,
        retention_rules: Vec::new(),
        tiers: Vec::new(),
        min_block_ms: 2 * 3_600_000,
        max_block_ms: 0,
        block_format: BlockFormat::Native,
        no_lockfile: false,
        series_limits: SeriesLimits::default(),
        agent: None,
        flush_deadline: Duration::from_secs(60),
        max_backlog_bytes: DEFAULT_HELD_LOG_BYTES,
        lookback_ms: 300_000,
        query_timeout: Duration::from_secs(120),
        query_max_concurrency: 20,
        query_max_samples: 50_000_000,
        query_max_memory: up.query_max_memory.0,
        query_max_memory_total: up.query_max_memory_total.0,
        posting: PostingOptions::default(),
        discovery_interval: UPDATE_EVERY,
        scrape_tolerance_ms: 2,
        resend_delay_ms: 60_000,
        grace_period_ms: 600_000,
        outage_tolerance_ms: 3_600_000,
        history_retention_ms: 120 * 3_600_000,
        features: Vec::new(),
        auto_reload: None,
        ignored: Vec::new(),
        flags: BTreeMap::new(),
    };
    let path = |p: &Option<PathBuf>| p.as_ref().map(|p| p.display().to_string()).unwrap_or_default();
    settings.flags = BTreeMap::from([
        ("listen".to_owned(), up.listen.to_string()),
        ("data".to_owned(), settings.data.display().to_string()),
        ("config.file".to_owned(), path(&settings.config_file)),
        (
            "alertmanager.config.file".to_owned(),
            path(&settings.alertmanager_config_file),
        ),
        ("web.config.file".to_owned(), path(&settings.web_config_file)),
        ("log.level".to_owned(), settings.log_level.clone()),
    ]);
    Command::Serve(Box::new(settings))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(line: &str) -> Result<Settings, Exit> {
        parse(line.split(' ').map(OsString::from)).map(|command| match command {
            Command::Serve(settings) => *settings,
            other => panic!("{line}: {other:?}"),
        })
    }

    #[test]
    fn plain_cupola_is_up_on_loopback() {
        for line in ["cupola", "cupola up"] {
            let settings = parsed(line).unwrap();
            assert_eq!(settings.mode, Mode::Up);
            assert_eq!(settings.listen, ["127.0.0.1:9090".parse().unwrap()]);
            assert_eq!(settings.data, Path::new("./data"));
        }
        assert_eq!(parsed("cupola --listen 127.0.0.1:1").unwrap().listen[0].port(), 1);
    }

    #[test]
    fn prometheus_takes_its_own_flags_by_command_and_by_name() {
        for line in [
            "cupola prometheus --config.file=a.yml --storage.tsdb.path=d --web.listen-address=:9091 --no-web.enable-lifecycle",
            "/usr/bin/prometheus --config.file a.yml --storage.tsdb.path d --web.listen-address 0.0.0.0:9091",
        ] {
            let settings = parsed(line).unwrap();
            assert_eq!(settings.mode, Mode::Prometheus);
            assert_eq!(settings.config_file.as_deref(), Some(Path::new("a.yml")));
            assert_eq!(settings.data, Path::new("d"));
            assert_eq!(settings.listen, ["0.0.0.0:9091".parse().unwrap()]);
            assert!(!settings.enable_lifecycle);
        }
    }

    #[test]
    fn promtool_is_found_by_command_and_by_name() {
        for line in [
            "cupola promtool promql format x",
            "/usr/bin/promtool --experimental promql format x",
        ] {
            let command = parse(line.split(' ').map(OsString::from)).unwrap();
            assert!(matches!(command, Command::Promtool(_)), "{line}");
        }
    }

    #[test]
    fn known_flags_without_effect_are_told_not_refused() {
        let settings =
            parsed("prometheus --web.console.templates=x --storage.tsdb.wal-compression --query.max-samples=5")
                .unwrap();
        assert_eq!(
            settings.ignored,
            ["web.console.templates", "storage.tsdb.wal-compression"]
        );
        assert_eq!(settings.query_max_samples, 5);
    }

    #[test]
    fn scrapes_are_stamped_as_the_flags_say() {
        for (flags, expected) in [
            ("", 2),
            ("--scrape.timestamp-tolerance=1s", 1000),
            ("--no-scrape.adjust-timestamps", 0),
            ("--scrape.adjust-timestamps=false --scrape.timestamp-tolerance=1s", 0),
        ] {
            let settings = parsed(format!("prometheus {flags}").trim()).unwrap();
            assert_eq!(settings.scrape_tolerance_ms, expected, "{flags}");
            assert!(settings.ignored.is_empty(), "{flags}");
        }
    }

    #[test]
    fn pages_have_a_title_and_discovery_an_interval_as_the_flags_say() {
        for (flags, title, interval) in [
            ("", None, 5_000),
            (
                "--web.page-title=Lab --scrape.discovery-reload-interval=200ms",
                Some("Lab"),
                200,
            ),
            ("--scrape.discovery-reload-interval=0s", None, 5_000),
        ] {
            let settings = parsed(format!("prometheus {flags}").trim()).unwrap();
            assert_eq!(settings.page_title.as_deref(), title, "{flags}");
            assert_eq!(settings.discovery_interval, Duration::from_millis(interval), "{flags}");
            assert!(settings.ignored.is_empty(), "{flags}");
        }
    }

    #[test]
    fn a_feature_that_works_is_not_said_to_have_no_effect() {
        let features = "st-storage,use-start-timestamps,created-timestamp-zero-ingestion,no-such-thing";
        let settings = parsed(&format!(
            "prometheus --enable-feature=promql-duration-expr --enable-feature={features}"
        ))
        .unwrap();
        assert_eq!(
            settings.flags["enable-feature"],
            format!("promql-duration-expr,{features}")
        );
        assert_eq!(settings.ignored, ["enable-feature=no-such-thing"]);
    }

    #[test]
    fn prometheus_listens_on_as_many_addresses_as_wanted() {
        let flags = "--web.listen-address=:1 --web.listen-address 127.0.0.1:2 --web.config.file=web.yml";
        let settings = parsed(&format!("prometheus {flags}")).unwrap();
        let ports: Vec<u16> = settings.listen.iter().map(SocketAddr::port).collect();
        assert_eq!(ports, [1, 2]);
        assert_eq!(settings.flags["web.listen-address"], ":1,127.0.0.1:2");
        assert_eq!(settings.web_config_file.as_deref(), Some(Path::new("web.yml")));
        let exit = parsed("prometheus --web.listen-address=:1 --web.listen-address=x").unwrap_err();
        assert!(
            exit.text.contains("--web.listen-address=x: is not ADDRESS:PORT"),
            "{}",
            exit.text
        );
    }

    #[test]
    fn limits_of_memory_are_sizes_or_left_to_the_machine() {
        for command in ["cupola up", "prometheus"] {
            let limits = |flags: &str| {
                let settings = parsed(&format!("{command}{flags}"))?;
                Ok::<_, Exit>((settings.query_max_memory, settings.query_max_memory_total))
            };
            assert_eq!(limits("").unwrap(), (None, None));
            let given = " --query.max-memory=64MB --query.max-memory-total 0";
            assert_eq!(limits(given).unwrap(), (Some(64 << 20), Some(0)));
            let exit = limits(" --query.max-memory=much").unwrap_err();
            assert!(exit.text.contains("is not a size such as 512MB"), "{}", exit.text);
        }
    }

    #[test]
    fn retention_rules_and_tiers_come_as_often_as_wanted() {
        let rules =
            r#"--storage.tsdb.retention.rule={__name__=~"debug_.*"}=3d --storage.tsdb.retention.rule=up{a="b=c"}=1y"#;
        let tiers = "--storage.tsdb.tier=5m:90d --storage.tsdb.tier 1h:0";
        let settings = parsed(&format!(
            "prometheus {rules} {tiers} --storage.tsdb.retention.percentage=62.5"
        ))
        .unwrap();
        const DAY: i64 = 86_400_000;
        let kept: Vec<(usize, i64)> = settings
            .retention_rules
            .iter()
            .map(|rule| (rule.matchers.len(), rule.retention_ms / DAY))
            .collect();
        assert_eq!(kept, [(1, 3), (2, 365)]);
        let tiers: Vec<(i64, i64)> = settings
            .tiers
            .iter()
            .map(|tier| (tier.resolution_ms / 60_000, tier.retention_ms / DAY))
            .collect();
        assert_eq!(tiers, [(5, 90), (60, 0)]);
        // As in Prometheus, a limit on the size takes the place of the default limit on the age.
        assert_eq!((settings.retention_percent, settings.retention_ms), (62.5, 0));
        assert_eq!(settings.flags["storage.tsdb.tier"], "5m:90d, 1h:0");
    }

    #[test]
    fn mistakes_are_one_message_and_exit_code_1() {
        for (line, told) in [
            ("cupola --nope", "--nope"),
            ("cupola up --listen here", "here"),
            ("prometheus --nope=1", "unknown long flag '--nope'"),
            ("prometheus --query.timeout=x", "--query.timeout"),
            (
                "prometheus --storage.tsdb.retention.size=x",
                "--storage.tsdb.retention.size",
            ),
            (
                "prometheus --storage.tsdb.retention.percentage=101",
                "must be in the range [0, 100]",
            ),
            ("prometheus --storage.tsdb.tier=5m", "5m:90d"),
            ("prometheus --storage.tsdb.tier=5m:x", "--storage.tsdb.tier=5m:x"),
            ("prometheus --storage.tsdb.tier=7m:1d", "divide a day"),
            (
                "prometheus --storage.tsdb.tier=5m:1d --storage.tsdb.tier=5m:2d",
                "twice",
            ),
            (
                "prometheus --storage.tsdb.retention.rule={a=~\"(\"}=3d",
                "--storage.tsdb.retention.rule={a=~\"(\"}=3d: 1:",
            ),
            ("prometheus --storage.tsdb.retention.rule={a=\"b\"}", "=3d"),
            ("prometheus --storage.tsdb.retention.rule={a=\"b\"}=soon", "soon"),
            ("prometheus stray", "unexpected stray"),
            ("amtool alert nope --tree", "--tree"),
            ("amtool silence expire --nope", "--nope"),
            ("promtool check", "rules"),
            ("cupola promtool check", "rules"),
            ("promtool test promql", "<FILE>..."),
            ("promtool promql format", "<QUERY>"),
            ("promtool nope", "nope"),
            ("promtool tsdb nope", "nope"),
            ("promtool tsdb analyze --limit x d", "--limit"),
            ("promtool tsdb dump --format x d", "seriesjson"),
            ("promtool tsdb create-blocks-from openmetrics", "<INPUT FILE>"),
            (
                "promtool tsdb create-blocks-from openmetrics --label x in",
                "NAME=VALUE",
            ),
            ("promtool tsdb create-blocks-from rules r.yml", "--start"),
            ("cupola tsdb", "verify"),
        ] {
            let exit = parsed(line).unwrap_err();
            assert_eq!((exit.code, exit.to_stdout), (1, false), "{line}");
            assert!(exit.text.contains(told), "{line}: {}", exit.text);
        }
    }

    #[test]
    fn help_and_version_are_no_mistakes() {
        for line in [
            "cupola --help",
            "cupola --version",
            "prometheus --help",
            "prometheus --version",
            "promtool --help",
            "promtool --version",
            "cupola promtool --help",
            "cupola promtool check rules --help",
            "cupola promtool tsdb create-blocks-from rules --help",
            "cupola tsdb verify --help",
            "amtool --help",
            "amtool --version",
            "cupola amtool --help",
            "cupola amtool silence add --help",
            "amtool help",
            "amtool help silence",
            "amtool help silence add",
        ] {
            let exit = parsed(line).unwrap_err();
            assert_eq!((exit.code, exit.to_stdout), (0, true), "{line}");
        }
    }

    #[test]
    fn the_version_is_the_third_word_as_the_programs_we_stand_in_for_tell_it() {
        for (tool, version) in [
            ("prometheus", cupola_web::PROMETHEUS_VERSION),
            ("promtool", cupola_web::PROMETHEUS_VERSION),
            ("alertmanager", cupola_web::ALERTMANAGER_VERSION),
            ("amtool", cupola_web::ALERTMANAGER_VERSION),
        ] {
            let told = parsed(&format!("{tool} --version")).unwrap_err().text;
            let begin = format!("{tool}, version {version} (cupola ");
            assert!(told.starts_with(&begin), "{told}");
        }
    }

    #[test]
    fn no_command_is_listed_that_does_not_exist() {
        let help = parsed("cupola --help").unwrap_err().text;
        for absent in ["node-exporter", "blackbox", "kube", "operator"] {
            assert!(!help.contains(absent), "{absent} in {help}");
        }
    }
}
