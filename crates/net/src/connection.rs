//! One connection to one peer, opened when needed and kept for the next request.

use std::borrow::Cow;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::header::{
    ACCEPT_ENCODING, AUTHORIZATION, CONTENT_ENCODING, HOST, HeaderName, HeaderValue, LOCATION, PROXY_AUTHORIZATION,
};
use http::{HeaderMap, Method, StatusCode, Uri};
use http_body_util::{BodyExt as _, Full};
use tokio::sync::Semaphore;
use tokio::time::Instant;

use crate::dial::{Dialer, Sender};
use crate::peer::secret_value;
use crate::proxy::{Kind, percent_decode};
use crate::sigv4::Signer;
use crate::{BodyBudget, NetError, Room, Tls, gzip, zstd};

// As Go's http.Client: a longer chain is a loop.
const MAX_REDIRECTS: usize = 10;

// Where the head of an answer is enough, its body is waited for so long.
const BODY_PATIENCE: Duration = Duration::from_secs(5);

// What is this long and comes uncompressed tells that the peer did not know what it was asked for.
const WORTH_COMPRESSING: usize = 1 << 10;

// What is for the host it was given for and for those below it, as Go's http.Client has it.
const SENSITIVE: [HeaderName; 6] = [
    http::header::AUTHORIZATION,
    http::header::WWW_AUTHENTICATE,
    http::header::COOKIE,
    HeaderName::from_static("cookie2"),
    http::header::PROXY_AUTHORIZATION,
    http::header::PROXY_AUTHENTICATE,
];

// Whatever is inflated gets room for so much.
const SMALL_BODY: usize = 64 << 10;
// Some 300 microseconds of inflating.
const INFLATED_AT_ONCE: usize = 32 << 10;
// So many large bodies are inflated at a time, also those for which nobody waits any more: each may fill its limit.
static INFLATING: Semaphore = Semaphore::const_new(2);

/// One request.
#[derive(Debug, Clone)]
pub struct Request<'a> {
    /// The method.
    pub method: Method,
    /// Scheme, host, path and query.
    pub url: &'a Uri,
    /// Headers besides `Host` and `Accept-Encoding`.
    pub headers: HeaderMap,
    /// The body; empty for none.
    pub body: Bytes,
    /// For the whole exchange, from the look-up of the name to the last byte.
    pub timeout: Duration,
    /// Bytes the answer's body may have, before and after inflating.
    pub max_body: usize,
    /// Whether to ask for a compressed answer: zstd, or gzip from who does not have it. A peer that gets along with neither
    /// is asked for gzip alone from then on, as upstream asks.
    pub gzip: bool,
    /// Whether to follow redirects, at most ten. What is not a GET is sent again where the peer asks for just that (307,
    /// 308), and never becomes a GET, as it does in Go: the page that then answers would be taken for a success.
    pub follow_redirects: bool,
}

/// One answer.
#[derive(Debug)]
pub struct Response {
    /// The status.
    pub status: StatusCode,
    /// The headers.
    pub headers: HeaderMap,
    /// The body, inflated.
    pub body: Vec<u8>,
    /// Bytes of the body as it came over the wire.
    pub wire_bytes: usize,
    /// What the body has of the budget, where there is one; to be kept as long as the body.
    pub room: Room,
}

/// One connection to one peer.
#[derive(Debug, Default)]
pub struct Connection {
    dialer: Dialer,
    signer: Option<Signer>,
    // Whether the peer could do nothing with zstd in the header: some exporters compress for the bare word gzip only.
    is_gzip_only: bool,
    open: Option<(At<Box<str>>, Sender)>,
    budget: Option<BodyBudget>,
    cuts_bodies: bool,
    // When the exchange that is under way runs out of time, where bodies are cut.
    ends: Option<Instant>,
    // Where an exchange that ran out of time was waiting for room.
    waits_for_room: bool,
    // Of the last body, which tells what the next one will need: on the wire and inflated.
    usual: (usize, usize),
}

// One request of a chain of redirects.
struct Hop<'a> {
    url: Cow<'a, Uri>,
    headers: Cow<'a, HeaderMap>,
    // Whether the chain has left the host that was asked for, even if it came back.
    has_left: bool,
}

// Whom a connection is to.
#[derive(Debug, Clone, PartialEq, Eq)]
struct At<S> {
    https: bool,
    host: S,
    port: u16,
}

impl Connection {
    /// A connection that opens with the first request; `tls` is needed for `https` URLs.
    #[must_use]
    pub fn new(tls: Option<Tls>) -> Self {
        let dialer = Dialer {
            tls,
            ..Dialer::default()
        };
        Self {
            dialer,
            ..Self::default()
        }
    }

    /// One that is opened as `dialer` says.
    pub(crate) fn with(dialer: Dialer) -> Self {
        Self {
            dialer,
            ..Self::default()
        }
    }

    /// One that is opened in the same way, without TLS yet.
    pub(crate) fn another(&self) -> Self {
        let dialer = Dialer {
            tls: None,
            proxies: self.dialer.proxies.clone(),
            http2: self.dialer.http2,
            socket: self.dialer.socket.clone(),
            spread: self.dialer.spread.clone(),
        };
        Self {
            dialer,
            budget: self.budget.clone(),
            cuts_bodies: self.cuts_bodies,
            ..Self::default()
        }
    }

    /// What the bodies of answers take is counted against `budget` from now on.
    pub(crate) fn set_budget(&mut self, budget: BodyBudget) {
        self.budget = Some(budget);
    }

    /// From now on an answer is one as soon as its head is there.
    pub(crate) fn cut_bodies(&mut self) {
        self.cuts_bodies = true;
    }

    /// See [`crate::Peer::set_spread`].
    pub(crate) fn set_spread(&mut self, opened: Arc<AtomicUsize>) {
        self.dialer.spread = Some(opened);
    }

    /// Who signs the requests from now on.
    pub(crate) fn set_signer(&mut self, signer: Signer) {
        self.signer = Some(signer);
    }

    /// Whether TLS is spoken on the way to `url`, with the peer or with a proxy.
    pub(crate) fn needs_tls(&self, url: &Uri) -> bool {
        url.scheme_str() == Some("https") || self.dialer.proxies.need_tls()
    }

    /// How to speak TLS from now on: a connection that is kept from an earlier request is closed.
    pub(crate) fn set_tls(&mut self, tls: Tls) {
        self.dialer.tls = Some(tls);
        self.open = None;
    }

    /// Sends one request and reads the whole answer. Any status is an answer.
    ///
    /// A kept connection that the peer has closed meanwhile is replaced once, without the caller noticing.
    ///
    /// # Errors
    /// [`NetError`]; the connection is then closed and the next request opens a new one.
    pub async fn send(&mut self, request: &Request<'_>) -> Result<Response, NetError> {
        self.ends = match self.cuts_bodies {
            true => Instant::now().checked_add(request.timeout),
            false => None,
        };
        let answer = tokio::time::timeout(request.timeout, self.exchange(request)).await;
        let waited = std::mem::take(&mut self.waits_for_room);
        let answer = answer.unwrap_or_else(|_| {
            Err(match &self.budget {
                Some(budget) if waited => budget.no_room(request.timeout),
                _ => NetError::Timeout(request.timeout),
            })
        });
        if answer.is_err() {
            self.open = None;
        }
        if request.gzip {
            self.is_gzip_only |= match &answer {
                Ok(response) => {
                    let encoding = response.headers.get(CONTENT_ENCODING);
                    let is_plain = encoding.is_none_or(|encoding| encoding == "identity");
                    !response.status.is_success() || (is_plain && response.body.len() >= WORTH_COMPRESSING)
                }
                Err(error) => matches!(error, NetError::Zstd(_)),
            };
        }
        answer
    }

    async fn exchange(&mut self, request: &Request<'_>) -> Result<Response, NetError> {
        let mut hop = Hop {
            url: Cow::Borrowed(request.url),
            headers: Cow::Borrowed(&request.headers),
            has_left: false,
        };
        for _ in 0..=MAX_REDIRECTS {
            let response = self.ask(&hop, request).await?;
            let is_followed = match response.status.as_u16() {
                301..=303 => matches!(request.method, Method::GET | Method::HEAD),
                307 | 308 => true,
                _ => false,
            };
            let location = response.headers.get(LOCATION).and_then(|v| v.to_str().ok());
            let (true, true, Some(location)) = (is_followed, request.follow_redirects, location) else {
                return Ok(response);
            };
            let next = resolve(&hop.url, location).ok_or_else(|| NetError::Redirect(format!("to {location:?}")))?;
            if !is_at_home(request.url, &next) {
                hop.has_left = true;
                let headers = hop.headers.to_mut();
                for name in &SENSITIVE {
                    headers.remove(name);
                }
            }
            hop.url = Cow::Owned(next);
        }
        Err(NetError::Redirect(format!("stopped after {MAX_REDIRECTS} redirects")))
    }

    async fn ask(&mut self, hop: &Hop<'_>, request: &Request<'_>) -> Result<Response, NetError> {
        let url = &*hop.url;
        let bad = |reason| NetError::Url {
            url: shown(url),
            reason,
        };
        let host = url.host().ok_or_else(|| bad("has no host"))?;
        let https = match url.scheme_str() {
            Some("http") => false,
            Some("https") => true,
            _ => return Err(bad("scheme must be http or https")),
        };
        let port = url.port_u16().unwrap_or(if https { 443 } else { 80 });
        let at = At { https, host, port };
        let name = host.trim_start_matches('[').trim_end_matches(']');
        let proxies = self.dialer.proxies.clone();
        let proxy = proxies.on_the_way(https, name, port);
        // First of all the connection: of thousands of peers that are down no request is made.
        let (mut sender, is_kept) = match self.kept(&at).await {
            Some(sender) => (sender, true),
            None => (self.dialer.dial(name, port, https, proxy).await?, false),
        };

        let path = url.path_and_query().map_or("/", |p| p.as_str());
        let authority = url
            .authority()
            .map_or(host, |a| a.as_str().rsplit('@').next().unwrap_or(host));
        // A proxy that speaks HTTP passes on what it can read, and for the rest only makes a way.
        let asked_proxy = proxy.filter(|proxy| !https && proxy.kind != Kind::Socks5);
        let mut out = http::Request::builder().method(request.method.clone());
        out = match asked_proxy {
            Some(_) => out.uri(format!("http://{authority}{path}")),
            None => out.uri(path),
        };
        let mut out = out
            .body(Full::new(request.body.clone()))
            .map_err(|_| bad("cannot be written as a request"))?;
        *out.headers_mut() = (*hop.headers).clone();
        if !out.headers().contains_key(HOST) {
            let value = HeaderValue::from_str(authority).map_err(|_| bad("host is no header value"))?;
            out.headers_mut().insert(HOST, value);
        }
        if !out.headers().contains_key(AUTHORIZATION)
            && let Some(value) = user_of(url)
        {
            out.headers_mut().insert(AUTHORIZATION, value);
        }
        if let Some(signer) = self.signer.as_ref().filter(|_| !hop.has_left) {
            signer.sign(&request.method, url, &request.body, out.headers_mut())?;
        }
        if let Some(value) = asked_proxy.and_then(|p| p.authorization.clone()) {
            out.headers_mut().insert(PROXY_AUTHORIZATION, value);
        }
        let encoding = match (request.gzip, self.is_gzip_only) {
            (false, _) => "identity",
            (true, false) => "zstd, gzip;q=0.9",
            (true, true) => "gzip",
        };
        out.headers_mut()
            .insert(ACCEPT_ENCODING, HeaderValue::from_static(encoding));

        let at = At {
            https,
            host: host.into(),
            port,
        };
        if is_kept {
            match sender.send(out.clone()).await {
                Ok(response) => return self.read(at, sender, response, request).await,
                // Closed by the peer between two requests: nothing was answered, a new connection may.
                Err(error) if error.is_canceled() || error.is_closed() || error.is_incomplete_message() => {}
                // A peer that closes at this moment may reset the connection. Whether it has begun cannot be told here; asking
                // twice does no harm, as Go's transport holds it, too.
                Err(_) if request.method == Method::GET => {}
                Err(error) => return Err(NetError::Http(error)),
            }
            sender = self.dialer.dial(name, port, https, proxy).await?;
        }
        let response = sender.send(out).await.map_err(NetError::Http)?;
        self.read(at, sender, response, request).await
    }

    // The connection that is open, where it is to `at` and can be used.
    async fn kept(&mut self, at: &At<&str>) -> Option<Sender> {
        let (to, mut sender) = self.open.take()?;
        let is_to_it = to.https == at.https && to.port == at.port && *to.host == *at.host;
        (is_to_it && sender.is_ready().await).then_some(sender)
    }

    async fn read(
        &mut self,
        at: At<Box<str>>,
        sender: Sender,
        response: http::Response<hyper::body::Incoming>,
        request: &Request<'_>,
    ) -> Result<Response, NetError> {
        let (parts, body) = response.into_parts();
        let mut body = pin!(body);
        let mut bytes = Vec::new();
        let mut room = Room::of(self.budget.clone());
        let most = self.most();
        let patience = self.cuts_bodies.then(|| {
            // The exchange must not run out of time meanwhile.
            let now = Instant::now();
            let left = self.ends.map(|ends| ends.saturating_duration_since(now));
            now + left.map_or(BODY_PATIENCE, |left| BODY_PATIENCE.min(left / 2))
        });
        let mut is_cut = false;
        loop {
            let frame = match patience {
                Some(patience) => match tokio::time::timeout_at(patience, body.frame()).await {
                    Ok(Some(Ok(frame))) => Some(Ok(frame)),
                    Ok(None) => None,
                    Ok(Some(Err(_))) | Err(_) => {
                        is_cut = true;
                        None
                    }
                },
                None => body.frame().await,
            };
            let Some(frame) = frame else { break };
            let frame = frame.map_err(NetError::Http)?;
            let Some(data) = frame.data_ref() else { continue };
            let length = bytes.len() + data.len();
            if length > request.max_body {
                if self.cuts_bodies {
                    is_cut = true;
                    let fits = request.max_body - bytes.len();
                    bytes.extend_from_slice(data.get(..fits).unwrap_or_default());
                    break;
                }
                return Err(NetError::BodyLimit {
                    limit: request.max_body,
                });
            }
            if length > bytes.capacity() {
                let wanted = (2 * bytes.capacity()).max(self.usual.0).min(request.max_body).min(most);
                let wanted = wanted.max(length);
                self.make_room(&mut room, wanted).await?;
                bytes.reserve_exact(wanted - bytes.len());
            }
            bytes.extend_from_slice(data);
        }
        // What is left of a body stands before the next answer.
        self.open = (!is_cut).then_some((at, sender));
        if bytes.len() < bytes.capacity() / 2 {
            // The one before was far longer.
            bytes.shrink_to_fit();
            room.shrink(bytes.capacity());
        }
        let wire_bytes = bytes.len();
        let encoding = parts.headers.get(CONTENT_ENCODING).map_or(&b""[..], |v| v.as_bytes());
        if bytes.is_empty() || is_cut {
            // To a HEAD, or with a status that has no body; or a part that says nothing by itself.
        } else if let Some(inflate) = inflate_of(encoding) {
            match self.inflate(bytes, room, request.max_body, inflate).await {
                Ok(inflated) => (bytes, room) = inflated,
                Err(_) if self.cuts_bodies => (bytes, room) = (Vec::new(), Room::of(self.budget.clone())),
                Err(error) => return Err(error),
            }
        }
        self.usual = (wire_bytes, bytes.len());
        Ok(Response {
            status: parts.status,
            headers: parts.headers,
            body: bytes,
            wire_bytes,
            room,
        })
    }

    // Bytes that a body may take of the budget.
    fn most(&self) -> usize {
        self.budget.as_ref().map_or(usize::MAX, BodyBudget::most)
    }

    async fn make_room(&mut self, room: &mut Room, bytes: usize) -> Result<(), NetError> {
        self.waits_for_room = true;
        let made = room.grow(bytes).await;
        self.waits_for_room = false;
        made
    }

    // Where there is a budget, a body is inflated into as much as it has room for, and begun anew where that was too
    // little: what the last body took is mostly enough.
    async fn inflate(
        &mut self,
        mut wire: Vec<u8>,
        mut room: Room,
        max_body: usize,
        inflate: Inflate,
    ) -> Result<(Vec<u8>, Room), NetError> {
        let most = max_body.min(self.most().saturating_sub(wire.capacity()));
        let mut wanted = match (&self.budget, self.usual.1) {
            (None, _) => max_body,
            (Some(_), 0) => wire.len().saturating_mul(16).max(SMALL_BODY),
            (Some(_), usual) => (usual + usual / 8).max(SMALL_BODY),
        };
        loop {
            wanted = wanted.min(most);
            self.make_room(&mut room, wire.capacity() + wanted).await?;
            let inflated;
            (wire, room, inflated) = inflate_apart(wire, room, wanted, inflate).await?;
            match inflated {
                Err(NetError::BodyLimit { .. }) if wanted < most => wanted = wanted.saturating_mul(4),
                // It does not fit, which the error tells.
                Err(NetError::BodyLimit { .. }) if wanted < max_body => room.grow(usize::MAX).await?,
                Err(error) => return Err(error),
                Ok(bytes) => {
                    drop(wire);
                    room.shrink(bytes.capacity());
                    return Ok((bytes, room));
                }
            }
        }
    }
}

type Inflate = fn(&[u8], usize) -> Result<Vec<u8>, NetError>;

fn inflate_of(encoding: &[u8]) -> Option<Inflate> {
    if encoding.eq_ignore_ascii_case(b"gzip") {
        Some(gzip::inflate)
    } else if encoding.eq_ignore_ascii_case(b"zstd") {
        Some(zstd::inflate)
    } else {
        None
    }
}

// Name and password of a URL, as Go's client sends them where the request says nothing else.
pub(crate) fn user_of(url: &Uri) -> Option<HeaderValue> {
    let (user, _) = url.authority()?.as_str().rsplit_once('@')?;
    let (name, password) = user.split_once(':').unwrap_or((user, ""));
    let pair = [&*percent_decode(name), b":", &*percent_decode(password)].concat();
    secret_value(&format!("Basic {}", STANDARD.encode(pair)))
}

// What of a URL is no secret: webhooks have theirs in the path.
fn shown(url: &Uri) -> String {
    let (scheme, host) = (url.scheme_str().unwrap_or(""), url.host().unwrap_or(""));
    format!("{scheme}://{host}")
}

// What takes long is done where it holds up nobody else; the hand-over costs more than a small body does. What the body has
// of a budget goes with it: nobody may wait for it any more.
async fn inflate_apart(
    wire: Vec<u8>,
    room: Room,
    limit: usize,
    inflate: Inflate,
) -> Result<(Vec<u8>, Room, Result<Vec<u8>, NetError>), NetError> {
    if wire.len() < INFLATED_AT_ONCE {
        let inflated = inflate(&wire, limit);
        return Ok((wire, room, inflated));
    }
    let broken = || NetError::Gzip("inflating broke off");
    let place = INFLATING.acquire().await.map_err(|_| broken())?;
    let inflated = tokio::task::spawn_blocking(move || {
        let inflated = inflate(&wire, limit);
        drop(place);
        (wire, room, inflated)
    });
    inflated.await.map_err(|_| broken())
}

// Whether `to` is the host that was asked for or one below it. The port does not matter, as in Go.
fn is_at_home(from: &Uri, to: &Uri) -> bool {
    let host = |url: &Uri| {
        url.host()
            .unwrap_or_default()
            .trim_end_matches('.')
            .to_ascii_lowercase()
    };
    let (from, to) = (host(from), host(to));
    let is_name = !from.starts_with('[') && from.parse::<std::net::IpAddr>().is_err();
    from == to || (is_name && to.strip_suffix(&from).is_some_and(|below| below.ends_with('.')))
}

// A redirect's target: absolute, with the same scheme, from the root, or beside the current path.
fn resolve(base: &Uri, location: &str) -> Option<Uri> {
    let location = location.split('#').next().unwrap_or_default();
    let is_absolute = |scheme: &str| {
        location
            .get(..scheme.len())
            .is_some_and(|s| s.eq_ignore_ascii_case(scheme))
    };
    if is_absolute("http://") || is_absolute("https://") {
        return location.parse().ok();
    }
    let scheme = base.scheme_str()?;
    if location.starts_with("//") {
        return format!("{scheme}:{location}").parse().ok();
    }
    let origin = format!("{scheme}://{}", base.authority()?);
    if location.starts_with('/') {
        return format!("{origin}{location}").parse().ok();
    }
    if location.starts_with('?') {
        return format!("{origin}{}{location}", base.path()).parse().ok();
    }
    let (folder, _) = base.path().rsplit_once('/')?;
    let (path, query) = location.split_at(location.find('?').unwrap_or(location.len()));
    let mut parts: Vec<&str> = folder.split('/').collect();
    for part in path.split('/') {
        match part {
            ".." if parts.len() > 1 => _ = parts.pop(),
            "." | ".." => {}
            part => parts.push(part),
        }
    }
    let slash = if ["/.", "/.."].iter().any(|end| format!("/{path}").ends_with(end)) {
        "/"
    } else {
        ""
    };
    format!("{origin}{}{slash}{query}", parts.join("/")).parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Read as _, Write as _};
    use std::net::TcpListener;

    // A peer that answers each connection with the next of `answers`, then closes it.
    fn peer(answers: Vec<&'static str>) -> Uri {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}/metrics", listener.local_addr().unwrap())
            .parse()
            .unwrap();
        std::thread::spawn(move || {
            for answer in answers {
                let Ok((mut stream, _)) = listener.accept() else { return };
                let mut request = [0; 4096];
                let _ = stream.read(&mut request);
                let _ = stream.write_all(answer.as_bytes());
            }
        });
        url
    }

    fn request(url: &Uri) -> Request<'_> {
        Request {
            method: Method::GET,
            url,
            headers: HeaderMap::new(),
            body: Bytes::new(),
            timeout: Duration::from_secs(5),
            max_body: 100,
            gzip: true,
            follow_redirects: true,
        }
    }

    #[tokio::test]
    async fn a_connection_that_the_peer_closed_is_opened_again() {
        let ok = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
        let url = peer(vec![ok, ok, ok]);
        let mut connection = Connection::new(None);
        for _ in 0..3 {
            assert_eq!(connection.send(&request(&url)).await.unwrap().body, b"ok");
        }
    }

    #[tokio::test]
    async fn a_get_is_sent_again_where_the_peer_resets_the_kept_connection() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url: Uri = format!("http://{}/", listener.local_addr().unwrap()).parse().unwrap();
        std::thread::spawn(move || {
            let mut buffer = [0; 4096];
            for _ in 0..2 {
                let (mut stream, _) = listener.accept().unwrap();
                assert!(stream.read(&mut buffer).unwrap() > 0);
                stream
                    .write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
                    .unwrap();
                // A socket that is closed with bytes in it that nobody has read is reset.
                let _ = stream.peek(&mut buffer);
            }
        });
        let mut connection = Connection::new(None);
        for _ in 0..2 {
            assert_eq!(connection.send(&request(&url)).await.unwrap().body, b"ok");
        }
    }

    #[tokio::test]
    async fn a_body_over_the_limit_is_refused() {
        let url = peer(vec![
            "HTTP/1.1 200 OK\r\nContent-Length: 101\r\n\r\n.....................................................................................................",
        ]);
        let error = Connection::new(None).send(&request(&url)).await.unwrap_err();
        assert_eq!(error.to_string(), "body size limit exceeded (100 bytes)");
    }

    #[tokio::test]
    async fn redirects_are_followed() {
        let url = peer(vec![
            "HTTP/1.1 302 Found\r\nLocation: other\r\nContent-Length: 0\r\nConnection: close\r\n\r\n",
            "HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nx",
        ]);
        assert_eq!(Connection::new(None).send(&request(&url)).await.unwrap().body, b"x");
    }

    #[test]
    fn redirects_lead_where_browsers_go() {
        let base = "http://u@h:1/a/b/c?q".parse().unwrap();
        for (location, target) in [
            ("d", "http://u@h:1/a/b/d"),
            ("d/?r#f", "http://u@h:1/a/b/d/?r"),
            ("./d", "http://u@h:1/a/b/d"),
            ("../d?x=../y", "http://u@h:1/a/d?x=../y"),
            ("../../../../d", "http://u@h:1/d"),
            ("..", "http://u@h:1/a/"),
            (".", "http://u@h:1/a/b/"),
            ("/d/../e", "http://u@h:1/d/../e"),
            ("?r", "http://u@h:1/a/b/c?r"),
            ("//other/d", "http://other/d"),
            ("HTTPS://other/d", "https://other/d"),
        ] {
            assert_eq!(resolve(&base, location).unwrap().to_string(), target, "{location}");
        }
    }

    #[tokio::test]
    async fn a_closed_port_is_told_as_go_tells_it() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        drop(listener);
        let url = format!("http://{address}/").parse().unwrap();
        let error = Connection::new(None).send(&request(&url)).await.unwrap_err();
        assert_eq!(
            error.to_string(),
            format!("dial tcp {address}: connect: connection refused")
        );
    }

    #[tokio::test(start_paused = true)]
    async fn a_peer_that_says_nothing_runs_into_the_deadline() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}/", listener.local_addr().unwrap()).parse().unwrap();
        let error = Connection::new(None).send(&request(&url)).await.unwrap_err();
        assert!(matches!(error, NetError::Timeout(_)), "{error}");
    }
}
