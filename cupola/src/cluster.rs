//! `--cluster.*`: the members of a cluster of Alertmanagers, wired together.

mod tls;

use std::net::{SocketAddr, TcpListener as StdListener};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result};
use cupola_alert::CLUSTER_KEYS;
use cupola_cluster::{Cluster, ClusterOptions, Network, TcpNetwork, advertised, random_name};
use cupola_env::Clock;
use cupola_metrics::Registry;
use cupola_net::MemberTls;
use tokio::net::TcpListener;
use tracing::info;

use crate::cli::ClusterSettings;

// How long the first peer's name may take, of which only a route is wanted.
const LOOK_UP: Duration = Duration::from_secs(2);

/// A membership that is about to begin: its port is taken.
pub(crate) struct Bound {
    settings: ClusterSettings,
    listener: StdListener,
    tls: Option<MemberTls>,
}

impl Bound {
    /// Takes the port; nothing, where no cluster is wanted.
    pub(crate) fn new(settings: Option<&ClusterSettings>) -> Result<Option<Self>> {
        let Some(settings) = settings else { return Ok(None) };
        let tls = settings.tls_config.as_deref().map(tls::load).transpose()?;
        let address = settings.listen;
        let listener = StdListener::bind(address).with_context(|| {
            format!(
                "cannot listen on {address} for the other members of the cluster (is another one running there? choose \
                 another address with --cluster.listen-address, or switch the cluster off with --cluster.listen-address=)"
            )
        })?;
        listener
            .set_nonblocking(true)
            .context("cannot prepare the cluster's socket")?;
        Ok(Some(Self {
            settings: settings.clone(),
            listener,
            tls,
        }))
    }

    /// The member, which talks to nobody yet.
    pub(crate) async fn member(self, clock: &dyn Clock, registry: &Registry) -> Result<Cluster> {
        let settings = self.settings;
        let listener = TcpListener::from_std(self.listener).context("cannot use the cluster's socket")?;
        let listen = listener.local_addr().context("cannot tell the cluster's address")?;
        let advertise = match &settings.advertise {
            // A name is looked up once: what others are told is an address.
            Some(text) => Some(first_address(text).await.with_context(|| {
                format!("--cluster.advertise-address={text}: must be HOST:PORT that can be looked up")
            })?),
            None => None,
        };
        let peer = match settings.peers.first() {
            Some(peer) => tokio::time::timeout(LOOK_UP, first_address(peer))
                .await
                .ok()
                .and_then(Result::ok),
            None => None,
        };
        // Without peers the address matters to nobody yet, so it stops no start.
        let allow_public = settings.allow_public || settings.peers.is_empty();
        let advertise = advertised(advertise, listen, peer, allow_public)?;
        let name = settings.name.unwrap_or_else(|| random_name(clock.now_ms()));
        info!(
            name,
            listen = %listen,
            advertise = %advertise,
            peers = settings.peers.join(","),
            tls = self.tls.is_some(),
            "member of a cluster"
        );
        let options = ClusterOptions {
            name,
            advertise,
            peers: settings.peers,
            ..settings.options
        };
        let tcp = TcpNetwork::new(listener);
        let network: Arc<dyn Network> = match self.tls {
            None => Arc::new(tcp),
            Some(tls) => Arc::new(tls::TlsNetwork::new(tcp, tls, registry)),
        };
        Ok(Cluster::new(options, network, registry, &CLUSTER_KEYS))
    }
}

async fn first_address(text: &str) -> std::io::Result<SocketAddr> {
    let mut found = tokio::net::lookup_host(text).await?;
    found.next().ok_or_else(|| std::io::ErrorKind::NotFound.into())
}
