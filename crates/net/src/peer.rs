//! A peer as the configuration describes it: its connection, its TLS, its credentials.

use std::path::Path;

use base64::Engine as _;
use cupola_config::common::{Auth, HttpClientConfig, PemSource, SecretSource, TlsConfig, TlsVersion};
use http::HeaderMap;
use http::header::{AUTHORIZATION, HeaderName, HeaderValue};

use crate::proxy::Proxies;
use crate::{ClientPem, Connection, NetError, Request, Response, Tls, TlsOptions};

/// A peer that is asked again and again over one connection.
///
/// Files with secrets are read at each request and files with certificates at each new connection, so that rotated ones
/// are picked up without a reload.
#[derive(Debug)]
pub struct Peer {
    config: HttpClientConfig,
    connection: Connection,
    has_tls: bool,
    // Why the proxies of the configuration cannot be used.
    bad_proxy: Option<&'static str>,
}

impl Peer {
    /// A peer to be spoken to as `config` says. Nothing is opened or read yet.
    #[must_use]
    pub fn new(config: &HttpClientConfig) -> Self {
        let proxies = Proxies::of(&config.proxy, |name| std::env::var(name).ok());
        let (proxies, bad_proxy) = match proxies {
            Ok(proxies) => (proxies, None),
            Err(reason) => (Proxies::default(), Some(reason)),
        };
        Self {
            config: config.clone(),
            connection: Connection::through(proxies),
            has_tls: false,
            bad_proxy,
        }
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
        request.follow_redirects = self.config.follow_redirects;
        self.add_headers(&mut request.headers)?;
        let stale = !self.has_tls || (uses_files(&self.config.tls) && !self.connection.is_open());
        if self.connection.needs_tls(request.url) && stale {
            self.connection.set_tls(tls_of(&self.config.tls)?);
            self.has_tls = true;
        }
        self.connection.send(&request).await
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
            // Refused when a configuration is loaded; never sent without its credentials.
            Some(Auth::OAuth2(_)) => {
                return Err(NetError::Certificate {
                    file: "oauth2".into(),
                    reason: "is not supported by this version".into(),
                });
            }
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

fn secret_value(text: &str) -> Option<HeaderValue> {
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

fn uses_files(tls: &TlsConfig) -> bool {
    let pem = |p: &Option<PemSource>| matches!(p, Some(PemSource::File(_)));
    pem(&tls.ca) || pem(&tls.cert) || matches!(tls.key, Some(SecretSource::File(_)))
}

/// How to speak TLS as a configuration says; its files are read now.
///
/// # Errors
/// [`NetError::Certificate`] names the file that cannot be used.
pub fn tls_of(config: &TlsConfig) -> Result<Tls, NetError> {
    Tls::new(&read_tls(config)?)
}

fn read_tls(tls: &TlsConfig) -> Result<TlsOptions, NetError> {
    let pem = |source: &PemSource| match source {
        PemSource::Inline(text) => Ok(("inline".to_owned(), text.clone().into_bytes())),
        PemSource::File(path) => Ok((path.display().to_string(), read(path)?.into_bytes())),
    };
    let client = match (&tls.cert, &tls.key) {
        (Some(cert), Some(key)) => {
            let (cert_file, cert) = pem(cert)?;
            let key_file = match key {
                SecretSource::Inline(_) => "inline".to_owned(),
                SecretSource::File(path) => path.display().to_string(),
            };
            Some(ClientPem {
                cert_file,
                cert,
                key_file,
                key: expose(key)?.into_bytes(),
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
