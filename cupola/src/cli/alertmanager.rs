//! The flags of Alertmanager 0.34, read as kingpin reads them.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use cupola_config::matchers::MatcherMode;
use cupola_model::parse_duration;

use super::cluster::{self, ClusterSettings};
use super::flags::Given;
use super::{Command, Exit};
use crate::logging::LogFormat;

/// How `cupola alertmanager` was asked for.
#[derive(Debug, Clone)]
pub(crate) struct AlertmanagerSettings {
    pub config_file: PathBuf,
    pub storage: PathBuf,
    /// Absent where there are no other members.
    pub cluster: Option<ClusterSettings>,
    pub listen: Vec<SocketAddr>,
    /// The sockets are those that systemd has opened; `listen` says nothing.
    pub systemd_socket: bool,
    pub external_url: Option<String>,
    pub route_prefix: Option<String>,
    pub retention: Duration,
    pub maintenance_interval: Duration,
    pub gc_interval: Duration,
    pub history_retention: Duration,
    pub max_silences: usize,
    pub max_silence_bytes: usize,
    pub per_alertname_limit: usize,
    pub start_delay: Duration,
    pub web_config_file: Option<PathBuf>,
    pub get_concurrency: usize,
    pub timeout: Duration,
    pub matcher_mode: MatcherMode,
    pub log_level: String,
    pub log_format: LogFormat,
    pub log_silences: bool,
    /// Flags that are accepted and do nothing here; told once in the log.
    pub ignored: Vec<String>,
}

// Name, default (`true` and `false` mark a switch), and what it is for; empty where it does nothing here.
pub(super) type Flag = (&'static str, &'static str, &'static str);

const FLAGS: &[Flag] = &[
    (
        "config.file",
        "alertmanager.yml",
        "Alertmanager configuration file name.",
    ),
    ("storage.path", "data/", "Base path for data storage."),
    ("data.retention", "120h", "How long to keep data for."),
    (
        "data.maintenance-interval",
        "15m",
        "Interval between garbage collection and snapshotting to disk of the silences and the notification logs.",
    ),
    ("alerts.gc-interval", "30m", "Interval between alert GC."),
    (
        "alerts.per-alertname-limit",
        "0",
        "Maximum number of alerts per alertname. If negative or zero, no limit is set.",
    ),
    (
        "silences.max-silences",
        "0",
        "Maximum number of silences, including expired silences. If negative or zero, no limit is set.",
    ),
    (
        "silences.max-silence-size-bytes",
        "0",
        "Maximum silence size in bytes. If negative or zero, no limit is set.",
    ),
    (
        "dispatch.start-delay",
        "0s",
        "Minimum amount of time to wait before dispatching alerts.",
    ),
    (
        "history.retention",
        "120h",
        "How long /api/v2/history can tell why something was told. Not in Alertmanager.",
    ),
    (
        "web.listen-address",
        ":9093",
        "Address on which to expose metrics and web interface. Repeatable.",
    ),
    (
        "web.systemd-socket",
        "false",
        "Use systemd socket activation listeners instead of port listeners.",
    ),
    (
        "web.config.file",
        "",
        "Path to configuration file that can enable TLS or authentication.",
    ),
    (
        "web.external-url",
        "",
        "The URL under which Alertmanager is externally reachable.",
    ),
    (
        "web.route-prefix",
        "",
        "Prefix for the internal routes of web endpoints. Defaults to path of --web.external-url.",
    ),
    (
        "web.get-concurrency",
        "0",
        "Maximum number of GET requests processed concurrently. If negative or zero, the limit is the number of cores or 8, whichever is larger.",
    ),
    (
        "web.timeout",
        "0",
        "Timeout for HTTP requests. If negative or zero, no timeout is set.",
    ),
    (
        "enable-feature",
        "",
        "classic-mode or utf8-strict-mode; others have no effect.",
    ),
    (
        "log.level",
        "info",
        "Only log messages with the given severity or above. One of: [debug, info, warn, error]",
    ),
    (
        "log.format",
        "logfmt",
        "Output format of log messages. One of: [logfmt, json]",
    ),
    (
        "log.silences",
        "false",
        "Tell in the log when silences are made, changed, received from other members, begin and end.",
    ),
    ("dispatch.maintenance-interval", "30s", ""),
    ("auto-gomemlimit.ratio", "0.9", ""),
];

fn flags() -> impl Iterator<Item = &'static Flag> {
    FLAGS.iter().chain(cluster::FLAGS)
}

/// Reads the flags, without the program's name.
pub(crate) fn parse(args: &[String]) -> Result<Command, Exit> {
    let find = |name: &str| flags().find(|f| f.0 == name).map(|f| (f.0, f.1));
    let version = format!(
        "alertmanager, version {} (cupola {})\n",
        cupola_web::ALERTMANAGER_VERSION,
        env!("CARGO_PKG_VERSION")
    );
    let given = super::flags::read(args, find, help, version)?;
    settings(&given).map(|s| Command::Alertmanager(Box::new(s)))
}

fn settings(given: &Given) -> Result<AlertmanagerSettings, Exit> {
    let text = |name: &str| {
        let default = flags().find(|f| f.0 == name).map_or("", |f| f.1);
        let last = given.get(name).and_then(|v| v.last());
        last.map_or(default, String::as_str).to_owned()
    };
    let bad =
        |name: &str, reason: &dyn std::fmt::Display| Exit::mistake(format_args!("--{name}={}: {reason}", text(name)));
    let duration = |name: &str| match text(name).as_str() {
        negative if negative.starts_with('-') => Ok::<_, Exit>(Duration::ZERO),
        text => {
            let parsed = parse_duration(text).map_err(|e| bad(name, &e))?;
            Ok(Duration::from_millis(parsed.unsigned_abs()))
        }
    };
    let positive = |name: &str| match duration(name)? {
        Duration::ZERO => Err(bad(name, &"must be more than zero")),
        duration => Ok(duration),
    };
    let number = |name: &str| {
        let parsed = text(name).parse::<i64>().map_err(|e| bad(name, &e))?;
        Ok::<_, Exit>(usize::try_from(parsed).unwrap_or(0))
    };
    let switch = |name: &str| text(name).parse::<bool>().map_err(|e| bad(name, &e));
    let optional = |name: &str| Some(text(name)).filter(|t| !t.is_empty());
    let default = vec![text("web.listen-address")];
    let addresses = given.get("web.listen-address").unwrap_or(&default).iter();
    let addresses = addresses.map(|address| {
        let parsed = super::prometheus::listen_address(address);
        parsed.ok_or_else(|| Exit::mistake(format_args!("--web.listen-address={address}: is not ADDRESS:PORT")))
    });
    let listen = addresses.collect::<Result<Vec<_>, _>>()?;
    let mut ignored: Vec<String> = given
        .keys()
        .filter(|name| flags().any(|f| f.0 == **name && f.2.is_empty()))
        .map(|name| (*name).to_owned())
        .collect();
    let peers = given.get("cluster.peer").map_or(&[][..], Vec::as_slice);
    let cluster = cluster::settings(&text, peers, &duration, &bad)?;
    let mut matcher_mode = MatcherMode::Fallback;
    let features = given.get("enable-feature").into_iter().flatten();
    for feature in features.flat_map(|v| v.split(',')).filter(|f| !f.is_empty()) {
        match (feature, matcher_mode) {
            ("classic-mode", MatcherMode::Utf8) | ("utf8-strict-mode", MatcherMode::Classic) => {
                return Err(Exit::mistake("cannot have both classic and UTF-8 modes enabled"));
            }
            ("classic-mode", _) => matcher_mode = MatcherMode::Classic,
            ("utf8-strict-mode", _) => matcher_mode = MatcherMode::Utf8,
            _ => ignored.push(format!("enable-feature={feature}")),
        }
    }
    Ok(AlertmanagerSettings {
        config_file: text("config.file").into(),
        storage: text("storage.path").into(),
        cluster,
        listen,
        systemd_socket: switch("web.systemd-socket")?,
        external_url: optional("web.external-url"),
        route_prefix: optional("web.route-prefix"),
        retention: positive("data.retention")?,
        maintenance_interval: positive("data.maintenance-interval")?,
        gc_interval: positive("alerts.gc-interval")?,
        history_retention: duration("history.retention")?,
        max_silences: number("silences.max-silences")?,
        max_silence_bytes: number("silences.max-silence-size-bytes")?,
        per_alertname_limit: number("alerts.per-alertname-limit")?,
        start_delay: duration("dispatch.start-delay")?,
        web_config_file: optional("web.config.file").map(PathBuf::from),
        get_concurrency: number("web.get-concurrency")?,
        timeout: duration("web.timeout")?,
        matcher_mode,
        log_level: text("log.level"),
        log_format: match text("log.format").as_str() {
            "logfmt" => LogFormat::Logfmt,
            "json" => LogFormat::Json,
            _ => return Err(bad("log.format", &"use logfmt or json")),
        },
        log_silences: switch("log.silences")?,
        ignored,
    })
}

fn help() -> String {
    let mut out = String::from("An Alertmanager, as Cupola is one.\n\nUsage: cupola alertmanager [FLAGS]\n\nFlags:\n");
    for (name, default, what) in flags().filter(|f| !f.2.is_empty()) {
        out.push_str(&format!("  --{name}={default:?}\n      {what}\n"));
    }
    let ignored: Vec<&str> = flags().filter(|f| f.2.is_empty()).map(|f| f.0).collect();
    out.push_str(&format!(
        "\nAccepted without effect in this version:\n  {}\n",
        ignored.join(" ")
    ));
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(flags: &str) -> Result<AlertmanagerSettings, String> {
        let args: Vec<String> = flags.split(' ').filter(|f| !f.is_empty()).map(str::to_owned).collect();
        match parse(&args) {
            Ok(Command::Alertmanager(settings)) => Ok(*settings),
            Ok(other) => panic!("{other:?}"),
            Err(exit) => Err(exit.text),
        }
    }

    #[test]
    fn flags_of_the_operators_pod_are_understood() {
        let settings = parsed(
            "--config.file=/etc/alertmanager/config_out/alertmanager.env.yaml --storage.path=/alertmanager \
             --data.retention=960h --cluster.listen-address= --web.listen-address=:9093 --web.route-prefix=/ \
             --cluster.label=monitoring/a --web.config.file=/etc/alertmanager/web_config/web-config.yaml --cluster.peer-timeout 1s --cluster.reconnect-timeout=5m \
             --web.external-url=http://a.example/am --enable-feature=utf8-strict-mode,auto-gomemlimit --no-log.silences",
        )
        .unwrap();
        assert_eq!(settings.retention, Duration::from_secs(960 * 3600));
        assert_eq!(settings.listen, ["0.0.0.0:9093".parse().unwrap()]);
        assert_eq!(settings.matcher_mode, MatcherMode::Utf8);
        assert_eq!(settings.ignored, ["enable-feature=auto-gomemlimit"]);
        assert!(!settings.log_silences && !settings.systemd_socket);
        assert!(settings.cluster.is_none(), "an empty address switches the cluster off");
        let settings = parsed("").unwrap();
        assert_eq!(settings.config_file, PathBuf::from("alertmanager.yml"));
        assert!(settings.ignored.is_empty() && settings.timeout.is_zero());
        let two = parsed("--web.listen-address=127.0.0.1:1 --web.listen-address=[::1]:2").unwrap();
        assert_eq!(two.listen.len(), 2);
        let switches = parsed("--log.silences --web.systemd-socket --dispatch.maintenance-interval=1m").unwrap();
        assert!(switches.log_silences && switches.systemd_socket);
        assert_eq!(switches.ignored, ["dispatch.maintenance-interval"]);
    }

    #[test]
    fn the_cluster_is_on_unless_its_address_is_empty() {
        let cluster = parsed("").unwrap().cluster.unwrap();
        assert_eq!(cluster.listen, "0.0.0.0:9094".parse().unwrap());
        assert_eq!(cluster.options.peer_timeout, Duration::from_secs(15));
        assert!(cluster.peers.is_empty() && !cluster.allow_public);
        let cluster = parsed(
            "--cluster.listen-address=[::]:1 --cluster.peer=am-0.am:9094 --cluster.peer=[::1]:2 --cluster.label=x \
             --cluster.peer-name=a --cluster.reconnect-timeout=5m --cluster.advertise-address=10.0.0.1:3 \
             --cluster.allow-insecure-public-advertise-address-discovery",
        );
        let cluster = cluster.unwrap().cluster.unwrap();
        assert_eq!(cluster.peers, ["am-0.am:9094", "[::1]:2"]);
        assert_eq!((cluster.name.as_deref(), cluster.allow_public), (Some("a"), true));
        assert_eq!(cluster.options.reconnect_timeout, Duration::from_secs(300));
        assert_eq!(cluster.options.label, "x");
    }

    #[test]
    fn mistakes_are_told() {
        for (flags, part) in [
            ("--nope", "unknown long flag '--nope'"),
            ("--config.file", "expected argument for flag '--config.file'"),
            ("--data.retention=x", "--data.retention=x: "),
            ("--data.retention=0s", "must be more than zero"),
            ("--log.silences=perhaps", "--log.silences=perhaps: "),
            ("--enable-feature=classic-mode,utf8-strict-mode", "cannot have both"),
            ("stray", "unexpected stray"),
            ("--cluster.peer=am-0", "\"am-0\" is not HOST:PORT"),
            (
                "--cluster.listen-address=9094",
                "--cluster.listen-address=9094: is not ADDRESS:PORT",
            ),
            ("--cluster.advertise-address=x", "is not HOST:PORT"),
            ("--cluster.probe-interval=0s", "must be more than zero"),
        ] {
            let text = parsed(flags).unwrap_err();
            assert!(text.contains(part), "{flags}: {text}");
        }
        assert!(parsed("--help").unwrap_err().contains("--dispatch.start-delay"));
    }
}
