//! `--cluster.*` of `cupola alertmanager`.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use cupola_cluster::ClusterOptions;

use super::alertmanager::Flag;

/// How the others are found.
#[derive(Debug, Clone)]
pub(crate) struct ClusterSettings {
    pub listen: SocketAddr,
    /// `HOST:PORT`, not looked up yet.
    pub advertise: Option<String>,
    pub name: Option<String>,
    /// `HOST:PORT` each, not looked up yet.
    pub peers: Vec<String>,
    pub allow_public: bool,
    pub tls_config: Option<PathBuf>,
    /// Its name, address and peers are not those above yet.
    pub options: ClusterOptions,
}

pub(super) const FLAGS: &[Flag] = &[
    (
        "cluster.listen-address",
        "0.0.0.0:9094",
        "Listen address for cluster. Set to empty string to disable HA mode.",
    ),
    (
        "cluster.advertise-address",
        "",
        "Explicit address to advertise in cluster.",
    ),
    (
        "cluster.peer",
        "",
        "Initial peers, HOST:PORT; a name may stand for several. Repeatable.",
    ),
    (
        "cluster.peer-name",
        "",
        "Name of this member; members act in the order of their names. Random where absent.",
    ),
    (
        "cluster.peer-timeout",
        "15s",
        "Time to wait between peers to send notifications.",
    ),
    ("cluster.peers-resolve-timeout", "15s", "Time to resolve peers."),
    (
        "cluster.gossip-interval",
        "200ms",
        "A tenth of the time between two looks at the members while the cluster settles. What changes is sent at once.",
    ),
    (
        "cluster.pushpull-interval",
        "1m0s",
        "Interval in which everything is sent to every member.",
    ),
    (
        "cluster.tcp-timeout",
        "10s",
        "Timeout for establishing a connection with a peer, for its greeting, and for each write.",
    ),
    (
        "cluster.probe-timeout",
        "500ms",
        "A member of which nothing is heard for this and four probe intervals has failed.",
    ),
    ("cluster.probe-interval", "1s", "Interval between signs of life."),
    (
        "cluster.settle-timeout",
        "1m0s",
        "Maximum time to wait for cluster connections to settle before evaluating notifications.",
    ),
    (
        "cluster.reconnect-interval",
        "10s",
        "Interval between attempting to reconnect to lost peers.",
    ),
    (
        "cluster.reconnect-timeout",
        "6h0m0s",
        "Length of time to attempt to reconnect to a lost peer.",
    ),
    (
        "cluster.tls-config",
        "",
        "Path to the file that has the members speak TLS to each other.",
    ),
    (
        "cluster.label",
        "",
        "The members of one cluster have the same label; others are refused.",
    ),
    (
        "cluster.allow-insecure-public-advertise-address-discovery",
        "false",
        "Allow alertmanager to discover and listen on a public IP address.",
    ),
];

/// The settings; nothing where the listen address is empty. `duration` gives a flag's value.
///
/// # Errors
/// A flag and what is wrong with it.
pub(super) fn settings<E>(
    text: &dyn Fn(&str) -> String,
    peers: &[String],
    duration: &dyn Fn(&str) -> Result<Duration, E>,
    bad: &dyn Fn(&str, &dyn std::fmt::Display) -> E,
) -> Result<Option<ClusterSettings>, E> {
    let listen = text("cluster.listen-address");
    if listen.is_empty() {
        return Ok(None);
    }
    let optional = |name: &str| Some(text(name)).filter(|t| !t.is_empty());
    let positive = |name: &str| match duration(name)? {
        Duration::ZERO => Err(bad(name, &"must be more than zero")),
        duration => Ok(duration),
    };
    let listen = super::prometheus::listen_address(&listen)
        .ok_or_else(|| bad("cluster.listen-address", &"is not ADDRESS:PORT"))?;
    let peers: Vec<String> = peers.iter().filter(|peer| !peer.is_empty()).cloned().collect();
    let has_port = |peer: &str| {
        let port = peer.rsplit_once(':').filter(|(host, _)| !host.is_empty());
        port.is_some_and(|(_, port)| port.parse::<u16>().is_ok())
    };
    if let Some(peer) = peers.iter().find(|peer| !has_port(peer)) {
        return Err(bad("cluster.peer", &format!("{peer:?} is not HOST:PORT")));
    }
    let advertise = optional("cluster.advertise-address");
    if advertise.as_deref().is_some_and(|address| !has_port(address)) {
        return Err(bad("cluster.advertise-address", &"is not HOST:PORT"));
    }
    let name = optional("cluster.peer-name");
    if name
        .as_ref()
        .is_some_and(|name| name.len() > cupola_cluster::LONGEST_NAME)
    {
        let longest = cupola_cluster::LONGEST_NAME;
        return Err(bad("cluster.peer-name", &format!("has more than {longest} bytes")));
    }
    let label = text("cluster.label");
    if label.len() > cupola_cluster::LONGEST_NAME {
        let longest = cupola_cluster::LONGEST_NAME;
        return Err(bad("cluster.label", &format!("has more than {longest} bytes")));
    }
    let options = ClusterOptions {
        label,
        resolve_timeout: positive("cluster.peers-resolve-timeout")?,
        gossip_interval: positive("cluster.gossip-interval")?,
        push_pull_interval: positive("cluster.pushpull-interval")?,
        tcp_timeout: positive("cluster.tcp-timeout")?,
        probe_interval: positive("cluster.probe-interval")?,
        probe_timeout: duration("cluster.probe-timeout")?,
        settle_timeout: duration("cluster.settle-timeout")?,
        reconnect_interval: duration("cluster.reconnect-interval")?,
        reconnect_timeout: duration("cluster.reconnect-timeout")?,
        peer_timeout: duration("cluster.peer-timeout")?,
        ..ClusterOptions::new(String::new(), listen)
    };
    Ok(Some(ClusterSettings {
        listen,
        advertise,
        name,
        peers,
        allow_public: text("cluster.allow-insecure-public-advertise-address-discovery") == "true",
        tls_config: optional("cluster.tls-config").map(PathBuf::from),
        options,
    }))
}
