//! Members that speak TLS to each other (`--cluster.tls-config`).

use std::io;
use std::net::SocketAddr;
use std::path::Path;

use anyhow::{Result, anyhow};
use cupola_cluster::{Network, Pending, Stream, TcpNetwork};
use cupola_config::{ConfigErrors, ConfigWarning};
use cupola_metrics::{Counter, Registry};
use cupola_net::MemberTls;
use tracing::{error, info, warn};

/// Reads the file of `--cluster.tls-config`.
pub(super) fn load(file: &Path) -> Result<MemberTls> {
    let loaded =
        MemberTls::load(file, tell).map_err(|mistakes| anyhow!("--cluster.tls-config cannot be used:\n{mistakes}"))?;
    warn_of(&loaded.warnings());
    Ok(loaded)
}

fn tell(came: Result<&[ConfigWarning], &ConfigErrors>) {
    match came {
        Ok(warnings) => {
            warn_of(warnings);
            info!("the cluster's TLS configuration is loaded; connections that there are go on");
        }
        Err(mistakes) => {
            error!(%mistakes, "the cluster's TLS configuration cannot be used; the old one stays in force")
        }
    }
}

fn warn_of(warnings: &[ConfigWarning]) {
    for warning in warnings {
        warn!(warning = %warning, "TLS configuration of the cluster");
    }
}

/// TCP with TLS over it, counted under Alertmanager's names.
pub(super) struct TlsNetwork {
    tcp: TcpNetwork,
    tls: MemberTls,
    sent: Counter,
    received: Counter,
    read_errors: Counter,
    write_errors: Counter,
}

impl TlsNetwork {
    pub(super) fn new(tcp: TcpNetwork, tls: MemberTls, registry: &Registry) -> Self {
        let counter = |name: &str, help: &str| registry.counter(&format!("alertmanager_tls_transport_{name}"), help);
        // Nothing goes by packets here; dashboards ask for them all the same.
        for (name, way) in [("sent", "sent to outgoing"), ("received", "received from incoming")] {
            let help = format!("The number of packet bytes {way} connections (excluding internal metadata).");
            let _ = counter(&format!("packet_bytes_{name}_total"), &help);
        }
        let write_errors = registry.counter_vec(
            "alertmanager_tls_transport_write_errors_total",
            "The number of errors encountered while writing to outgoing connections.",
            &["connection_type"],
        );
        let _ = write_errors.with(&["packet"]);
        Self {
            tcp,
            tls,
            sent: counter(
                "stream_connections_sent_total",
                "The number of stream connections sent.",
            ),
            received: counter(
                "stream_connections_received_total",
                "The number of stream connections received.",
            ),
            read_errors: counter(
                "read_errors_total",
                "The number of errors encountered while reading from incoming connections.",
            ),
            write_errors: write_errors.with(&["stream"]),
        }
    }
}

impl Network for TlsNetwork {
    fn resolve<'a>(&'a self, peer: &'a str) -> Pending<'a, io::Result<Vec<SocketAddr>>> {
        self.tcp.resolve(peer)
    }

    fn connect(&self, to: SocketAddr) -> Pending<'_, io::Result<Box<dyn Stream>>> {
        Box::pin(async move {
            let connecting = async {
                let stream = self.tcp.connect(to).await?;
                self.tls.connect(to.ip(), stream).await
            };
            match connecting.await {
                Ok(stream) => {
                    self.sent.inc();
                    Ok(Box::new(stream) as Box<dyn Stream>)
                }
                Err(error) => {
                    self.write_errors.inc();
                    Err(error)
                }
            }
        })
    }

    fn accept(&self) -> Pending<'_, io::Result<(Box<dyn Stream>, SocketAddr)>> {
        self.tcp.accept()
    }

    fn welcome(&self, stream: Box<dyn Stream>) -> Pending<'_, io::Result<Box<dyn Stream>>> {
        Box::pin(async move {
            match self.tls.accept(stream).await {
                Ok(stream) => {
                    self.received.inc();
                    Ok(Box::new(stream) as Box<dyn Stream>)
                }
                Err(error) => {
                    self.read_errors.inc();
                    Err(error)
                }
            }
        })
    }
}
