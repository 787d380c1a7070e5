//! Where our servers listen, and what `--web.config.file` puts before them.

use std::net::{SocketAddr, TcpListener as StdListener};
use std::path::Path;

use anyhow::{Context as _, Result, anyhow};
use cupola_web::WebConfigFile;
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
