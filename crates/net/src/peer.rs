//! A peer as the configuration describes it: its connection, its TLS, its credentials.

use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::time::SystemTime;

use base64::Engine as _;
use cupola_config::common::{Auth, HttpClientConfig, PemSource, ProxyConfig, SecretSource, TlsConfig, TlsVersion};
use http::header::{AUTHORIZATION, HeaderName, HeaderValue, USER_AGENT};
use http::{HeaderMap, StatusCode};
use parking_lot::Mutex;
use tokio::time::Instant;

use crate::dial::Dialer;
use crate::oauth::{self, Google, TokenSource};
use crate::proxy::Proxies;
use crate::sigv4::RoleKeys;
use crate::{BodyBudget, ClientPem, Connection, NetError, Request, Response, Tls, TlsOptions};

/// A peer that is asked again and again over one connection.
///
/// Files with secrets are read at each request; those with certificates are looked at, and where one has changed, the
/// connection is opened anew. So rotated ones are picked up without a reload.
#[derive(Debug)]
pub struct Peer {
    config: Arc<HttpClientConfig>,
    connection: Connection,
    // How the files of TLS were when it was made of them.
    tls_files: Option<Vec<Stamp>>,
    tokens: Option<Tokens>,
    keys: Option<Arc<RoleKeys>>,
    // Why the proxies of the configuration cannot be used.
    bad_proxy: Option<&'static str>,
}

#[derive(Debug, Clone)]
enum Tokens {
    Of(Arc<TokenSource>),
    // Found anew with each request, as its file may be another one by then.
    Google(Option<PathBuf>),
}

impl Tokens {
    // Whose tokens are sent, and the project of Google's that is to pay.
    fn source(&self) -> Result<(Arc<TokenSource>, Option<String>), NetError> {
        match self {
            Self::Of(source) => Ok((source.clone(), None)),
            Self::Google(file) => {
                let Google { oauth2, quota_project } = oauth::google(file.as_deref(), &of_environment)?;
                Ok((TokenSource::shared(&oauth2), quota_project))
            }
        }
    }
}

fn of_environment(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

// Tells one state of a file from another: when it was written, its inode, its length. `None` where it cannot be told.
type Stamp = Option<(SystemTime, u64, u64)>;

impl Peer {
    /// A peer to be spoken to as `config` says. Nothing is opened or read yet.
    #[must_use]
    pub fn new(config: &HttpClientConfig) -> Self {
        Self::at(config, None)
    }

    /// The same behind a Unix socket: of the URL, host and port are only told to the peer, and no proxy is on the way.
    #[must_use]
    pub fn over_socket(config: &HttpClientConfig, socket: PathBuf) -> Self {
        let config = HttpClientConfig {
            proxy: ProxyConfig::default(),
            ..config.clone()
        };
        Self::at(&config, Some(socket))
    }

    /// Another peer that is spoken to in the same way, over a connection of its own. What the configuration takes in memory
    /// is shared.
    #[must_use]
    pub fn another(&self) -> Self {
        Self {
            config: self.config.clone(),
            connection: self.connection.another(),
            tls_files: None,
            tokens: self.tokens.clone(),
            keys: self.keys.clone(),
            bad_proxy: self.bad_proxy,
        }
    }

    fn at(config: &HttpClientConfig, socket: Option<PathBuf>) -> Self {
        let proxies = Proxies::of(&config.proxy, |name| std::env::var(name).ok());
        let (proxies, bad_proxy) = match proxies {
            Ok(proxies) => (proxies, None),
            Err(reason) => (Proxies::default(), Some(reason)),
        };
        let (tokens, keys) = match &config.auth {
            Some(Auth::OAuth2(config)) => (Some(Tokens::Of(TokenSource::shared(config))), None),
            Some(Auth::GoogleIam(file)) => (Some(Tokens::Google(file.clone())), None),
            Some(Auth::SigV4(config)) => (None, Some(RoleKeys::shared(config))),
            _ => (None, None),
        };
        let dialer = Dialer {
            tls: None,
            proxies: Arc::new(proxies),
            http2: config.enable_http2,
            socket,
            spread: None,
        };
        Self {
            config: Arc::new(config.clone()),
            connection: Connection::with(dialer),
            tls_files: None,
            tokens,
            keys,
            bad_proxy,
        }
    }

    /// What the bodies of answers take is counted against `budget`, which others share: an answer's body waits until there is
    /// room, within the time of its request.
    pub fn set_budget(&mut self, budget: BodyBudget) {
        self.connection.set_budget(budget);
    }

    /// Connections begin with one address of the peer's name after the other; `opened` counts them, which peers that are to
    /// be spread together share. An address that does not answer is passed over, as always. Behind a proxy nothing changes.
    pub fn set_spread(&mut self, opened: Arc<AtomicUsize>) {
        self.connection.set_spread(opened);
    }

    /// Looks at what a token is to be asked for with, where that is a file whose content may be of no use: upstream reads it
    /// when a configuration is loaded. Nobody is asked.
    ///
    /// # Errors
    /// [`NetError::Google`] names the file and what is wrong with it.
    pub fn check_credentials(&self) -> Result<(), NetError> {
        self.tokens
            .as_ref()
            .map_or(Ok(()), |tokens| tokens.source().map(|_| ()))
    }

    /// For who wants to know whether a message was taken: once its head is there, an answer is one. Of its body comes what
    /// can be read within five seconds (half of the time that is left, where that is less) and `max_body`, also where it is
    /// longer, breaks off or cannot be inflated.
    pub fn cut_bodies(&mut self) {
        self.connection.cut_bodies();
    }

    /// Sends one request with the configured headers and credentials added; see [`Connection::send`].
    ///
    /// # Errors
    /// [`NetError`], also where a file of the configuration cannot be read.
    pub async fn send(&mut self, mut request: Request<'_>) -> Result<Response, NetError> {
        // Never past a proxy that was asked for.
        if let Some(reason) = self.bad_proxy {
            let url = "proxy_url".to_owned();
            return Err(NetError::Url { url, reason });
        }
        let (begun, timeout) = (Instant::now(), request.timeout);
        request.follow_redirects = self.config.follow_redirects;
        self.add_headers(&mut request.headers)?;
        if let Some(keys) = self.keys.clone() {
            let signer = tokio::time::timeout(timeout, keys.signer(timeout)).await;
            self.connection
                .set_signer(signer.unwrap_or(Err(NetError::Timeout(timeout)))?);
            request.timeout = timeout.saturating_sub(begun.elapsed());
        }
        let mut token = None;
        if let Some(tokens) = &self.tokens {
            let (tokens, quota_project) = tokens.source()?;
            if let Some(project) = quota_project
                .as_deref()
                .and_then(|project| HeaderValue::from_str(project).ok())
            {
                request.headers.insert("x-goog-user-project", project);
            }
            let fetched = tokens.token(request.headers.get(USER_AGENT), timeout);
            let fetched = tokio::time::timeout(timeout, fetched).await;
            let fetched = fetched.unwrap_or_else(|_| Err(tokens.failed(NetError::Timeout(timeout).to_string())))?;
            request.headers.insert(AUTHORIZATION, fetched.value.clone());
            request.timeout = timeout.saturating_sub(begun.elapsed());
            token = Some((tokens, fetched));
        }
        if self.connection.needs_tls(request.url) {
            let files = stamps(&self.config.tls);
            if self.tls_files.as_ref() != Some(&files) {
                self.connection.set_tls(shared_tls(&self.config.tls, &files)?);
                self.tls_files = Some(files);
            }
        }
        let response = self.connection.send(&request).await;
        match (&response, token) {
            (Ok(response), Some((tokens, token))) if response.status == StatusCode::UNAUTHORIZED => {
                tokens.refused(&token);
            }
            // What was left of it says nothing to people.
            (Err(NetError::Timeout(_)), _) => return Err(NetError::Timeout(timeout)),
            _ => {}
        }
        response
    }

    fn add_headers(&self, headers: &mut HeaderMap) -> Result<(), NetError> {
        for (name, values) in &self.config.http_headers {
            let bad = |reason: &str| NetError::Certificate {
                file: format!("http header {name}"),
                reason: reason.into(),
            };
            let key = HeaderName::try_from(name.as_str()).map_err(|_| bad("is no header name"))?;
            let mut all = values.values.clone();
            all.extend(values.secrets.iter().map(|s| s.expose().to_owned()));
            for file in &values.files {
                all.push(read(file)?.trim().to_owned());
            }
            for value in all {
                headers.append(
                    key.clone(),
                    secret_value(&value).ok_or_else(|| bad("value is no header value"))?,
                );
            }
        }
        let value = match &self.config.auth {
            None => return Ok(()),
            Some(Auth::Basic { username, password }) => {
                let part = |p: &Option<SecretSource>| p.as_ref().map_or(Ok(String::new()), expose);
                let pair = format!("{}:{}", part(username)?, part(password)?);
                format!("Basic {}", base64::engine::general_purpose::STANDARD.encode(pair))
            }
            Some(Auth::Authorization { credentials: None, .. }) => return Ok(()),
            // These are added elsewhere.
            Some(Auth::OAuth2(_) | Auth::SigV4(_) | Auth::GoogleIam(_)) => return Ok(()),
            Some(Auth::Authorization {
                kind,
                credentials: Some(source),
            }) => format!("{kind} {}", expose(source)?),
        };
        let bad = || NetError::Certificate {
            file: "authorization".into(),
            reason: "is no header value".into(),
        };
        headers.insert(AUTHORIZATION, secret_value(&value).ok_or_else(bad)?);
        Ok(())
    }
}

/// A header that is not shown.
pub(crate) fn secret_value(text: &str) -> Option<HeaderValue> {
    let mut value = HeaderValue::from_str(text).ok()?;
    value.set_sensitive(true);
    Some(value)
}

/// The text of a secret, read from its file where it lies in one.
///
/// # Errors
/// [`NetError::Certificate`] names the file that cannot be read.
pub fn expose(source: &SecretSource) -> Result<String, NetError> {
    match source {
        SecretSource::Inline(secret) => Ok(secret.expose().to_owned()),
        SecretSource::File(path) => Ok(read(path)?.trim().to_owned()),
    }
}

fn read(path: &Path) -> Result<String, NetError> {
    std::fs::read_to_string(path).map_err(|e| NetError::Certificate {
        file: path.display().to_string(),
        reason: e.to_string(),
    })
}

// What is trusted takes hundreds of kilobytes and a millisecond to read; thousands of targets of a job share it.
static MADE: Mutex<Vec<(TlsConfig, Vec<Stamp>, Tls)>> = Mutex::new(Vec::new());
// Beyond it the one goes that has not been asked for for longest; who has it, keeps it.
const KEPT_TLS: usize = 64;

fn shared_tls(config: &TlsConfig, files: &[Stamp]) -> Result<Tls, NetError> {
    let mut made = MADE.lock();
    let at = made.iter().position(|(known, _, _)| known == config);
    let kept = at.map(|at| made.remove(at)).filter(|(_, known, _)| known == files);
    let tls = match kept {
        Some((_, _, kept)) => kept,
        None => tls_of(config)?,
    };
    if made.len() >= KEPT_TLS {
        made.remove(0);
    }
    made.push((config.clone(), files.to_vec(), tls.clone()));
    Ok(tls)
}

fn stamps(tls: &TlsConfig) -> Vec<Stamp> {
    let pem = |source: &Option<PemSource>| match source {
        Some(PemSource::File(path)) => Some(path.clone()),
        _ => None,
    };
    let key = match &tls.key {
        Some(SecretSource::File(path)) => Some(path.clone()),
        _ => None,
    };
    let stamp = |path: PathBuf| {
        let file = std::fs::metadata(path).ok()?;
        Some((file.modified().ok()?, file.ino(), file.len()))
    };
    let paths = [pem(&tls.ca), pem(&tls.cert), key];
    paths.into_iter().flatten().map(stamp).collect()
}

/// How to speak TLS as a configuration says; its files are read now.
///
/// # Errors
/// [`NetError::Certificate`] names the file that cannot be used.
pub fn tls_of(config: &TlsConfig) -> Result<Tls, NetError> {
    tls_with(config, &|path| read(path).map(String::into_bytes))
}

/// As [`tls_of`], its files read by `read`.
pub(crate) fn tls_with(config: &TlsConfig, read: &dyn Fn(&Path) -> Result<Vec<u8>, NetError>) -> Result<Tls, NetError> {
    Tls::new(&read_tls(config, read)?)
}

fn read_tls(tls: &TlsConfig, read: &dyn Fn(&Path) -> Result<Vec<u8>, NetError>) -> Result<TlsOptions, NetError> {
    let pem = |source: &PemSource| match source {
        PemSource::Inline(text) => Ok(("inline".to_owned(), text.clone().into_bytes())),
        PemSource::File(path) => Ok((path.display().to_string(), read(path)?)),
    };
    let client = match (&tls.cert, &tls.key) {
        (Some(cert), Some(key)) => {
            let (cert_file, cert) = pem(cert)?;
            let (key_file, key) = match key {
                SecretSource::Inline(secret) => ("inline".to_owned(), secret.expose().as_bytes().to_vec()),
                SecretSource::File(path) => (path.display().to_string(), read(path)?),
            };
            Some(ClientPem {
                cert_file,
                cert,
                key_file,
                key,
            })
        }
        _ => None,
    };
    Ok(TlsOptions {
        ca: tls.ca.as_ref().map(pem).transpose()?,
        client,
        server_name: tls.server_name.clone(),
        insecure_skip_verify: tls.insecure_skip_verify,
        without_tls12: tls.min_version == Some(TlsVersion::Tls13),
        without_tls13: tls.max_version.is_some_and(|max| max < TlsVersion::Tls13),
    })
}
