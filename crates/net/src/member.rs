//! TLS among the members of a cluster, each of which is a server and a client: the file of `--cluster.tls-config`.

use std::cell::RefCell;
use std::io;
use std::net::IpAddr;
use std::path::Path;

use cupola_config::{ClusterTls, ConfigErrors, ConfigWarning, parse_cluster_tls};
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_rustls::TlsConnector;

use crate::encrypted::Encrypted;
use crate::peer::tls_with;
use crate::{NetError, ServerTls, Snapshot, Tls, Told, Watched};

/// How members speak TLS to each other. File and certificates are looked at with each handshake, no oftener than ten times
/// a second, and read again when they have changed; connections that are there go on. Cloning shares it.
#[derive(Clone)]
pub struct MemberTls(Watched<Pair>);

// One state of the files.
struct Pair {
    warnings: Vec<ConfigWarning>,
    server: ServerTls,
    client: Tls,
}

impl MemberTls {
    /// Reads the file and those it names. `told` hears what came of changes later: warnings, or why the old state stays in
    /// force. It touches the disk.
    ///
    /// # Errors
    /// Every mistake with its place, in Alertmanager's words where it has some.
    pub fn load(path: &Path, told: fn(Result<&[ConfigWarning], &ConfigErrors>)) -> Result<Self, ConfigErrors> {
        let told: Told<Pair> = Box::new(move |_, came| told(came.map(|pair| &*pair.warnings)));
        Watched::load(path, Pair::read, told).map(Self)
    }

    /// What of the file in force has no effect, or another one than may be expected.
    #[must_use]
    pub fn warnings(&self) -> Vec<ConfigWarning> {
        self.0.last().warnings.clone()
    }

    /// Does the handshake with whoever has connected. There is no limit of time here.
    ///
    /// # Errors
    /// Where the other side gives up, is refused, or speaks no TLS.
    pub async fn accept<S: AsyncRead + AsyncWrite + Unpin>(&self, stream: S) -> io::Result<Encrypted<S>> {
        let shaken = self.0.current().await.server.shake(stream).await;
        shaken.map_err(|error| match error.to_string() {
            text if text.contains("InvalidContentType") => io::Error::new(
                error.kind(),
                "what comes is not TLS; every member of the cluster needs --cluster.tls-config",
            ),
            text => io::Error::new(error.kind(), format!("TLS: {text}")),
        })
    }

    /// Does the handshake with the member at `to`, whose certificate has to be for that address or for the `server_name` of
    /// the configuration. There is no limit of time here.
    ///
    /// # Errors
    /// As [`MemberTls::accept`]. With TLS 1.3 whether this side is refused is only seen when something is read.
    pub async fn connect<S: AsyncRead + AsyncWrite + Unpin>(&self, to: IpAddr, stream: S) -> io::Result<Encrypted<S>> {
        let pair = self.0.current().await;
        let name = match &pair.client.server_name {
            Some(name) => ServerName::try_from(name.clone()).map_err(io::Error::other)?,
            None => ServerName::from(to),
        };
        let connector = TlsConnector::from(pair.client.config.clone());
        match connector.connect(name, stream).await {
            Ok(stream) => Ok(Encrypted::new(stream)),
            Err(error) => Err(io::Error::new(error.kind(), format!("TLS: {error}"))),
        }
    }
}

impl std::fmt::Debug for MemberTls {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("MemberTls").finish_non_exhaustive()
    }
}

impl Pair {
    fn read(path: &Path, snapshot: &mut Snapshot, _: Option<&Self>) -> Result<Self, ConfigErrors> {
        let whole = |reason: &str| ConfigErrors::whole_file(path, reason);
        let bytes = snapshot.read(path).map_err(|reason| whole(&reason))?;
        let text = std::str::from_utf8(&bytes).map_err(|_| whole("the file is not UTF-8"))?;
        let config = parse_cluster_tls(text, path)?;
        let snapshot = RefCell::new(snapshot);
        let server = ServerTls::load(&config.server, false, &|path| snapshot.borrow_mut().read(path));
        let client = client(&config, &snapshot);
        match (server, client) {
            (Ok(server), Ok(client)) => Ok(Self {
                warnings: config.warnings,
                server,
                client,
            }),
            (server, client) => {
                let mistakes = server.err().into_iter().chain(client.err()).flatten().collect();
                Err(ConfigErrors::from_list(mistakes).unwrap_or_else(|| whole("it cannot be used")))
            }
        }
    }
}

fn client(config: &ClusterTls, snapshot: &RefCell<&mut Snapshot>) -> Result<Tls, ConfigErrors> {
    let read = |path: &Path| {
        snapshot
            .borrow_mut()
            .read(path)
            .map_err(|reason| NetError::Certificate {
                file: path.display().to_string(),
                reason,
            })
    };
    tls_with(&config.client, &read).map_err(|error| match error {
        NetError::Certificate { file, reason } => {
            // One that cannot be opened is named in what Go says of it.
            let is_named = reason.contains(&file);
            let told = if is_named { reason } else { format!("{file}: {reason}") };
            config.client_error(&file, told).into()
        }
        other => config.client_error("", other.to_string()).into(),
    })
}

#[cfg(test)]
mod tests;
