//! Which proxy stands between us and a peer, and the way through it.

use std::net::IpAddr;

use cupola_config::common::ProxyConfig;
use http::Uri;
use http::header::HeaderValue;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};

use crate::NetError;
use crate::connection::user_of;

mod socks;

// The head of a proxy's answer to CONNECT may be that long.
const MAX_HEAD: usize = 16 << 10;

/// The proxies of one `<http_config>`, read from its settings or from the environment, once.
#[derive(Debug, Clone, Default)]
pub(crate) struct Proxies {
    http: Option<ProxyServer>,
    https: Option<ProxyServer>,
    direct: Option<NoProxy>,
}

/// One proxy. What is printed of it has no password.
#[derive(Clone)]
pub(crate) struct ProxyServer {
    /// Without brackets.
    pub host: String,
    pub port: u16,
    pub kind: Kind,
    /// `Proxy-Authorization`, where the URL has a user.
    pub authorization: Option<HeaderValue>,
    // Name and password, decoded.
    user: Option<(Vec<u8>, Vec<u8>)>,
    connect_headers: Vec<(String, String)>,
}

/// How a proxy is spoken to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// In plain text.
    Http,
    /// By TLS.
    Https,
    /// SOCKS 5; names are looked up by the proxy, also with `socks5h`, as in Go.
    Socks5,
}

impl std::fmt::Debug for ProxyServer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.name())
    }
}

impl Proxies {
    /// The proxies that `config` asks for; `env` tells a variable of the environment.
    ///
    /// # Errors
    /// Why a proxy's URL cannot be one; its text is left out, since it may hold a password.
    pub(crate) fn of(config: &ProxyConfig, env: impl Fn(&str) -> Option<String>) -> Result<Self, &'static str> {
        let headers: Vec<(String, String)> = config
            .connect_header
            .iter()
            .flat_map(|(name, values)| values.iter().map(|v| (name.clone(), v.expose().to_owned())))
            .collect();
        let server = |url: Option<String>| url.map(|url| ProxyServer::parse(&url, &headers)).transpose();
        if let Some(url) = &config.url {
            let proxy = server(Some(url.expose().to_owned()))?;
            // As upstream: peers on this machine are asked directly only where some exception is given.
            let direct = Some(config.no_proxy.as_str()).filter(|list| !list.is_empty());
            return Ok(Self {
                http: proxy.clone(),
                https: proxy,
                direct: direct.map(NoProxy::parse),
            });
        }
        if !config.from_environment {
            return Ok(Self::default());
        }
        let either = |upper: &str, lower: &str| {
            let value = env(upper).filter(|v| !v.is_empty()).or_else(|| env(lower));
            value.filter(|v| !v.is_empty())
        };
        // As in Go: without a scheme it is an http proxy.
        let with_scheme = |url: String| match url.contains("://") {
            true => url,
            false => format!("http://{url}"),
        };
        Ok(Self {
            http: server(either("HTTP_PROXY", "http_proxy").map(with_scheme))?,
            https: server(either("HTTPS_PROXY", "https_proxy").map(with_scheme))?,
            direct: Some(NoProxy::parse(&either("NO_PROXY", "no_proxy").unwrap_or_default())),
        })
    }

    /// Whether some proxy is spoken to by TLS.
    pub(crate) fn need_tls(&self) -> bool {
        [&self.http, &self.https]
            .into_iter()
            .flatten()
            .any(|p| p.kind == Kind::Https)
    }

    /// The proxy on the way to `host` (without brackets), if any.
    pub(crate) fn on_the_way(&self, is_https: bool, host: &str, port: u16) -> Option<&ProxyServer> {
        let proxy = if is_https { &self.https } else { &self.http };
        let is_direct = self.direct.as_ref().is_some_and(|list| list.has(host, port));
        proxy.as_ref().filter(|_| !is_direct)
    }
}

impl ProxyServer {
    fn parse(text: &str, connect_headers: &[(String, String)]) -> Result<Self, &'static str> {
        let url: Uri = text.parse().map_err(|_| "is no URL")?;
        let kind = match url.scheme_str() {
            Some("http") => Kind::Http,
            Some("https") => Kind::Https,
            Some("socks5" | "socks5h") => Kind::Socks5,
            _ => return Err("scheme of a proxy must be http, https, socks5 or socks5h"),
        };
        let host = url.host().filter(|h| !h.is_empty()).ok_or("has no host")?;
        let user = url.authority().and_then(|a| a.as_str().rsplit_once('@'));
        let user = user.map(|(user, _)| {
            let (name, password) = user.split_once(':').unwrap_or((user, ""));
            (percent_decode(name), percent_decode(password))
        });
        let port = match kind {
            Kind::Http => 80,
            Kind::Https => 443,
            Kind::Socks5 => 1080,
        };
        Ok(Self {
            host: host.trim_start_matches('[').trim_end_matches(']').to_owned(),
            port: url.port_u16().unwrap_or(port),
            kind,
            authorization: user_of(&url),
            user,
            connect_headers: connect_headers.to_vec(),
        })
    }

    /// Its URL, without user and password.
    pub(crate) fn name(&self) -> String {
        let scheme = match self.kind {
            Kind::Http => "http",
            Kind::Https => "https",
            Kind::Socks5 => "socks5",
        };
        format!("{scheme}://{}", host_port(&self.host, self.port))
    }

    /// Asks the proxy behind `stream` for a way to `host`; afterwards the stream is that peer's.
    ///
    /// # Errors
    /// [`NetError::ProxyRefused`] tells what the proxy answered instead.
    pub(crate) async fn connect<S>(&self, stream: &mut S, host: &str, port: u16) -> Result<(), NetError>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let target = host_port(host, port);
        let (asked, result) = match self.kind {
            Kind::Http | Kind::Https => ("CONNECT", self.ask_http(stream, &target).await),
            Kind::Socks5 => (
                "SOCKS 5 CONNECT",
                socks::ask(stream, self.user.as_ref(), host, port).await,
            ),
        };
        result.map_err(|answer| NetError::ProxyRefused {
            proxy: self.name(),
            asked,
            target,
            answer,
        })
    }

    async fn ask_http<S>(&self, stream: &mut S, target: &str) -> Result<(), String>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let mut head = format!("CONNECT {target} HTTP/1.1\r\nHost: {target}\r\n").into_bytes();
        let mut add = |name: &str, value: &[u8]| {
            head.extend_from_slice(name.as_bytes());
            head.extend_from_slice(b": ");
            head.extend_from_slice(value);
            head.extend_from_slice(b"\r\n");
        };
        if let Some(value) = &self.authorization {
            add("Proxy-Authorization", value.as_bytes());
        }
        for (name, value) in &self.connect_headers {
            // What would end the line would be a request of its own.
            if HeaderValue::from_str(value).is_err() || http::HeaderName::try_from(name.as_str()).is_err() {
                return Err(format!("proxy_connect_header {name:?} is no header"));
            }
            add(name, value.as_bytes());
        }
        head.extend_from_slice(b"\r\n");
        stream.write_all(&head).await.map_err(broke_off)?;
        stream.flush().await.map_err(broke_off)?;

        let mut answer = Vec::new();
        let end = loop {
            // What was read before may hold the first bytes of the end.
            let from = answer.len().saturating_sub(3);
            if stream.read_buf(&mut answer).await.map_err(broke_off)? == 0 {
                return Err("closed before the end of its answer".to_owned());
            }
            if !b"HTTP/1.".starts_with(answer.get(..7).unwrap_or(&answer)) {
                return Err("no HTTP".to_owned());
            }
            let rest = answer.get(from..).unwrap_or_default();
            if let Some(at) = rest.windows(4).position(|bytes| bytes == b"\r\n\r\n") {
                break from + at + 4;
            }
            if answer.len() > MAX_HEAD {
                return Err(format!("no end within {MAX_HEAD} bytes"));
            }
        };
        let first = answer.split(|b| *b == b'\r').next().unwrap_or_default();
        let first = String::from_utf8_lossy(first);
        // `HTTP/1.1 200 Connection established`.
        let status = first.split_once(' ').map_or("", |(_, status)| status);
        match status.get(..3) {
            // Nothing may follow before we have spoken: TLS begins with the client.
            Some(code) if code.starts_with('2') && end < answer.len() => {
                Err(format!("{code}, and more before anything was sent"))
            }
            Some(code) if code.starts_with('2') => Ok(()),
            Some(_) => Err(status.chars().take(100).collect()),
            None => Err("no HTTP".to_owned()),
        }
    }
}

fn broke_off(error: std::io::Error) -> String {
    format!("broke off: {error}")
}

fn host_port(host: &str, port: u16) -> String {
    match host.contains(':') {
        true => format!("[{host}]:{port}"),
        false => format!("{host}:{port}"),
    }
}

/// The bytes behind `%41`; what is no escape stays.
pub(crate) fn percent_decode(text: &str) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [first, after @ ..] = rest {
        let hex = |b: Option<&u8>| b.and_then(|b| char::from(*b).to_digit(16));
        match (first, hex(after.first()), hex(after.get(1))) {
            (b'%', Some(high), Some(low)) => {
                out.push((high * 16 + low) as u8);
                rest = after.get(2..).unwrap_or_default();
            }
            _ => {
                out.push(*first);
                rest = after;
            }
        }
    }
    out
}

/// What is asked without the proxy, with the meaning of Go's `httpproxy`.
#[derive(Debug, Clone, Default)]
struct NoProxy {
    everything: bool,
    networks: Vec<(IpAddr, u8)>,
    addresses: Vec<(IpAddr, Option<u16>)>,
    domains: Vec<Domain>,
}

#[derive(Debug, Clone)]
struct Domain {
    // With a dot in front.
    suffix: String,
    // Not only what is below it.
    itself: bool,
    port: Option<u16>,
}

impl NoProxy {
    fn parse(list: &str) -> Self {
        let mut all = Self::default();
        for entry in list.split(',').map(|e| e.trim().to_ascii_lowercase()) {
            if entry == "*" {
                all.everything = true;
            }
            if let Some((address, bits)) = entry.split_once('/')
                && let (Ok(address), Ok(bits)) = (address.parse::<IpAddr>(), bits.parse::<u8>())
            {
                all.networks.push((address, bits));
                continue;
            }
            let (host, port) = match entry.rsplit_once(':') {
                Some((host, port)) if !host.contains(':') || host.ends_with(']') => match port.parse() {
                    Ok(port) => (host, Some(port)),
                    Err(_) => continue,
                },
                _ => (entry.as_str(), None),
            };
            let host = host.trim_start_matches('[').trim_end_matches(']');
            if let Ok(address) = host.parse() {
                all.addresses.push((address, port));
                continue;
            }
            let host = host.strip_prefix('*').filter(|h| h.starts_with('.')).unwrap_or(host);
            if !host.is_empty() {
                let itself = !host.starts_with('.');
                all.domains.push(Domain {
                    suffix: format!("{}{host}", if itself { "." } else { "" }),
                    itself,
                    port,
                });
            }
        }
        all
    }

    // Where there are exceptions at all, this machine is one.
    fn has(&self, host: &str, port: u16) -> bool {
        let host = host.trim().to_ascii_lowercase();
        let of_port = |wanted: Option<u16>| wanted.is_none_or(|wanted| wanted == port);
        if self.everything || host == "localhost" {
            return true;
        }
        if let Ok(address) = host.parse::<IpAddr>() {
            let address = address.to_canonical();
            return address.is_loopback()
                || self.networks.iter().any(|(net, bits)| is_within(address, *net, *bits))
                || self
                    .addresses
                    .iter()
                    .any(|(one, wanted)| one.to_canonical() == address && of_port(*wanted));
        }
        self.domains.iter().any(|domain| {
            let name = domain.suffix.trim_start_matches('.');
            (host.ends_with(&domain.suffix) || (domain.itself && host == name)) && of_port(domain.port)
        })
    }
}

fn is_within(address: IpAddr, net: IpAddr, bits: u8) -> bool {
    match (address, net) {
        (IpAddr::V4(a), IpAddr::V4(n)) if bits <= 32 => {
            let differ = a.to_bits() ^ n.to_bits();
            differ.checked_shr(32 - u32::from(bits)).unwrap_or(0) == 0
        }
        (IpAddr::V6(a), IpAddr::V6(n)) if bits <= 128 => {
            let differ = a.to_bits() ^ n.to_bits();
            differ.checked_shr(128 - u32::from(bits)).unwrap_or(0) == 0
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests;
