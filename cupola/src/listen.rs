//! Where our servers listen, and what `--web.config.file` puts before them.

use std::net::{SocketAddr, TcpListener as StdListener};
use std::path::Path;

use anyhow::{Context as _, Result, anyhow, ensure};
use cupola_web::WebConfigFile;
use listenfd::ListenFd;
use tokio::net::TcpListener;
use tracing::warn;

/// Listens on all addresses, which `flag` has named; `rival` is who else may be there.
pub(crate) fn bind(addresses: &[SocketAddr], flag: &str, rival: &str) -> Result<Vec<StdListener>> {
    let bound = addresses.iter().map(|address| {
        let listener = StdListener::bind(address).with_context(|| {
            format!(
                "cannot listen on {address} (is another cupola or {rival} running there? choose another address with \
                 {flag})"
            )
        })?;
        listener
            .set_nonblocking(true)
            .context("cannot prepare the listening socket")?;
        Ok(listener)
    });
    bound.collect()
}

/// The sockets that systemd has opened for this process (`--web.systemd-socket`), in the order of its unit.
pub(crate) fn activated() -> Result<Vec<StdListener>> {
    let mut given = ListenFd::from_env();
    // In the words of Prometheus's exporter toolkit.
    ensure!(
        given.len() > 0,
        "no socket activation file descriptors found: --web.systemd-socket is for a service that systemd starts with a \
         .socket unit beside it"
    );
    let mut listeners = Vec::with_capacity(given.len());
    for index in 0..given.len() {
        let taken = given.take_tcp_listener(index).with_context(|| {
            format!(
                "--web.systemd-socket: socket {} of the unit cannot be used: each ListenStream= must be a port, or an \
                 address and a port",
                index + 1
            )
        })?;
        let Some(listener) = taken else { continue };
        listener
            .set_nonblocking(true)
            .context("cannot prepare the listening socket")?;
        listeners.push(listener);
    }
    Ok(listeners)
}

/// The sockets, for use within the runtime, and their addresses.
pub(crate) fn within_runtime(listeners: Vec<StdListener>) -> Result<(Vec<TcpListener>, Vec<SocketAddr>)> {
    let listeners = listeners.into_iter().map(TcpListener::from_std);
    let listeners = listeners
        .collect::<std::io::Result<Vec<_>>>()
        .context("cannot use the listening socket")?;
    let addresses = listeners.iter().map(TcpListener::local_addr);
    let addresses = addresses
        .collect::<std::io::Result<Vec<_>>>()
        .context("cannot tell the listening address")?;
    Ok((listeners, addresses))
}

/// Reads the file of `--web.config.file`, where one is named.
pub(crate) fn web_config(file: Option<&Path>) -> Result<Option<WebConfigFile>> {
    let Some(file) = file else { return Ok(None) };
    let loaded =
        WebConfigFile::load(file).map_err(|mistakes| anyhow!("--web.config.file cannot be used:\n{mistakes}"))?;
    for warning in loaded.warnings() {
        warn!(warning = %warning, "web configuration");
    }
    Ok(Some(loaded))
}
