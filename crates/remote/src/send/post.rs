//! One message on its way.

use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::time::Duration;

use bytes::Bytes;
use cupola_config::common::HttpClientConfig;
use cupola_config::prometheus::{RemoteWriteConfig, RemoteWriteMessage};
use cupola_env::Clock;
use cupola_net::{Peer, Request};
use http::header::{CONTENT_ENCODING, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue, RETRY_AFTER, USER_AGENT};
use http::{Method, StatusCode, Uri};

use super::auth::auth_of;
use super::metrics::{Counts, Kind};

// Bytes of an answer that are read; what decides is its status.
const MAX_ANSWER: usize = 64 << 10;
const SHOWN_ANSWER: usize = 300;
const VERSION: HeaderName = HeaderName::from_static("x-prometheus-remote-write-version");
const ATTEMPT: HeaderName = HeaderName::from_static("retry-attempt");

/// Where messages go.
pub(super) struct Target {
    pub url: Uri,
    /// For people: without a password.
    pub shown_url: String,
    http: HttpClientConfig,
    headers: HeaderMap,
    timeout: Duration,
    message: RemoteWriteMessage,
    clock: Arc<dyn Clock>,
    // Connections so far, where they are spread over the addresses of the name.
    opened: Option<Arc<AtomicUsize>>,
}

/// What became of a message.
#[derive(Debug, PartialEq)]
pub(super) enum Outcome {
    /// Taken, but for so many.
    Taken(Counts),
    /// Refused for good, and why; but so many were written all the same.
    Refused(String, Counts),
    /// To be sent again, and why; not before so long.
    Again(String, Option<Duration>),
}

impl Target {
    /// # Errors
    /// Why nothing can be sent there.
    pub(super) fn new(config: &RemoteWriteConfig, clock: Arc<dyn Clock>) -> Result<Self, String> {
        let mut http = config.http.clone();
        let (url, shown_url) = checked_url(&config.url)?;
        if let Some(auth) = &config.auth {
            let env = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
            http.auth = Some(auth_of(auth, &env)?);
            Peer::new(&http)
                .check_credentials()
                .map_err(|error| error.to_string())?;
        }
        let mut headers = HeaderMap::new();
        let (content_type, version) = match config.message {
            RemoteWriteMessage::V1 => ("application/x-protobuf", "0.1.0"),
            RemoteWriteMessage::V2 => ("application/x-protobuf;proto=io.prometheus.write.v2.Request", "2.0.0"),
        };
        let agent = concat!("Prometheus/3.14.0 (Cupola/", env!("CARGO_PKG_VERSION"), ")");
        headers.insert(USER_AGENT, HeaderValue::from_static(agent));
        for (name, value) in &config.headers {
            let bad = || format!("header {name:?}: is no header");
            let name = HeaderName::try_from(name.as_str()).map_err(|_| bad())?;
            headers.insert(name, HeaderValue::try_from(value.as_str()).map_err(|_| bad())?);
        }
        headers.insert(CONTENT_ENCODING, HeaderValue::from_static("snappy"));
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
        headers.insert(VERSION, HeaderValue::from_static(version));
        Ok(Self {
            url,
            shown_url,
            http,
            headers,
            timeout: config.remote_timeout,
            message: config.message,
            clock,
            opened: config.round_robin_dns.then(Arc::default),
        })
    }

    /// A connection of one's own.
    pub(super) fn peer(&self) -> Peer {
        let mut peer = Peer::new(&self.http);
        // As upstream: whatever becomes of an answer's text, its status says whether the message was taken.
        peer.cut_bodies();
        if let Some(opened) = &self.opened {
            peer.set_spread(opened.clone());
        }
        peer
    }

    /// Sends a compressed message; `counts` is what is in it, `attempt` how often it was sent before.
    pub(super) async fn post(&self, peer: &mut Peer, body: Bytes, counts: &Counts, attempt: u32) -> Outcome {
        let mut headers = self.headers.clone();
        if attempt > 0 {
            headers.insert(ATTEMPT, HeaderValue::from(attempt));
        }
        let request = Request {
            method: Method::POST,
            url: &self.url,
            headers,
            body,
            timeout: self.timeout,
            max_body: MAX_ANSWER,
            gzip: false,
            follow_redirects: false,
        };
        match peer.send(request).await {
            Ok(response) => self.judge(response.status, &response.headers, &response.body, counts),
            Err(error) => Outcome::Again(error.to_string(), None),
        }
    }

    fn judge(&self, status: StatusCode, headers: &HeaderMap, body: &[u8], sent: &Counts) -> Outcome {
        let told = written(headers);
        if status.is_success() {
            if self.message == RemoteWriteMessage::V1 || sent.total() == 0 {
                return Outcome::Taken(Counts::default());
            }
            // As upstream: without the numbers the receiver has read it as a message of the first version, with nothing in it.
            let Some(told) = told else {
                let why = format!(
                    "the receiver answered {status} without saying how many samples it has written (X-Prometheus-Remote-Write-Samples-Written); it may know the first version of the protocol only"
                );
                return Outcome::Refused(why, Counts::default());
            };
            let mut missing = Counts::default();
            for kind in super::metrics::KINDS {
                missing.set(kind, sent.of(kind).saturating_sub(*told.of(kind)));
            }
            return Outcome::Taken(missing);
        }
        let text: String = String::from_utf8_lossy(body).chars().take(SHOWN_ANSWER).collect();
        let why = format!("server returned HTTP status {status}: {}", text.trim());
        if status.is_server_error() || status == StatusCode::TOO_MANY_REQUESTS {
            let wait = headers.get(RETRY_AFTER).and_then(|value| value.to_str().ok());
            return Outcome::Again(why, wait.and_then(|text| retry_after(text, self.clock.now_ms())));
        }
        Outcome::Refused(why, told.unwrap_or_default())
    }
}

/// A URL for people: without what may be a password.
pub(super) fn shown(url: &str) -> String {
    match (url.split_once("://"), url.rsplit_once('@')) {
        (Some((scheme, _)), Some((_, rest))) => format!("{scheme}://xxxxx@{rest}"),
        _ => url.to_owned(),
    }
}

/// Whether such a status is a matter of `retry_on_http_429`.
pub(super) fn is_too_many(why: &str) -> bool {
    why.starts_with("server returned HTTP status 429 ")
}

// A URL that can be asked, and how it is shown: without its password.
pub(crate) fn checked_url(text: &str) -> Result<(Uri, String), String> {
    let bad = |why: &str| format!("url is no URL: {why}");
    let url: Uri = text.parse().map_err(|e: http::uri::InvalidUri| bad(&e.to_string()))?;
    if !matches!(url.scheme_str(), Some("http" | "https")) || url.host().is_none() {
        return Err(bad("it must begin with http:// or https:// and a host"));
    }
    let user = url
        .authority()
        .and_then(|authority| authority.as_str().rsplit_once('@'));
    let shown = match user {
        None => url.to_string(),
        Some((user, host)) => {
            let name = user.split(':').next().unwrap_or(user);
            let scheme = url.scheme_str().unwrap_or("http");
            let path = url.path_and_query().map_or("/", |path| path.as_str());
            format!("{scheme}://{name}:xxxxx@{host}{path}")
        }
    };
    Ok((url, shown))
}

// What a receiver of the second version says it has written.
fn written(headers: &HeaderMap) -> Option<Counts> {
    let number = |what: &str| -> Option<u64> {
        let value = headers.get(format!("x-prometheus-remote-write-{what}-written"))?;
        value.to_str().ok()?.trim().parse().ok()
    };
    let mut counts = Counts::default();
    counts.set(Kind::Sample, number("samples")?);
    counts.set(Kind::Histogram, number("histograms").unwrap_or(0));
    counts.set(Kind::Exemplar, number("exemplars").unwrap_or(0));
    Some(counts)
}

// Longer than that nobody waits on a receiver's word.
const LONGEST_WAIT: Duration = Duration::from_secs(3600);

// Seconds, or a date such as `Wed, 21 Oct 2015 07:28:00 GMT`. As upstream no time, or one that has passed, tells nothing.
fn retry_after(text: &str, now_ms: i64) -> Option<Duration> {
    let wait = match text.trim().parse::<u64>() {
        Ok(seconds) => Duration::from_secs(seconds),
        Err(_) => {
            let at_ms = http_date(text.trim())?.checked_mul(1000)?;
            Duration::from_millis(u64::try_from(at_ms.saturating_sub(now_ms)).unwrap_or(0))
        }
    };
    Some(wait.min(LONGEST_WAIT)).filter(|wait| !wait.is_zero())
}

// Seconds since the epoch.
fn http_date(text: &str) -> Option<i64> {
    const MONTHS: [&str; 12] = [
        "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec",
    ];
    let (_, rest) = text.split_once(", ")?;
    let mut parts = rest.strip_suffix(" GMT")?.split(' ');
    let day: i64 = parts.next()?.parse().ok()?;
    let month = parts.next()?;
    let month = MONTHS.iter().position(|name| *name == month)? as i64 + 1;
    let year: i64 = parts.next()?.parse().ok()?;
    let mut clock = parts.next()?.split(':').map(|part| part.parse::<i64>().ok());
    let (hour, minute, second) = (clock.next()??, clock.next()??, clock.next()??);
    let in_range = (1..=31).contains(&day) && (1970..10_000).contains(&year) && hour < 24 && minute < 60;
    if !in_range || hour < 0 || minute < 0 || !(0..=60).contains(&second) {
        return None;
    }
    // Days since the epoch, years beginning in March.
    let (y, m) = if month > 2 {
        (year, month - 3)
    } else {
        (year - 1, month + 9)
    };
    let days = 365 * y + y / 4 - y / 100 + y / 400 + (153 * m + 2) / 5 + day - 1 - 719_468;
    Some(days * 86_400 + hour * 3600 + minute * 60 + second)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wait_is_told_in_seconds_or_as_a_date() {
        let now = 1_445_412_470_000;
        assert_eq!(retry_after("7", now), Some(Duration::from_secs(7)));
        let date = "Wed, 21 Oct 2015 07:28:00 GMT";
        assert_eq!(http_date(date), Some(1_445_412_480));
        assert_eq!(retry_after(date, now), Some(Duration::from_secs(10)));
        // Whoever says "at once" is not asked at once for ever.
        for passed in ["0", date] {
            assert_eq!(retry_after(passed, now + 10_000), None, "{passed}");
        }
        assert_eq!(retry_after("99999999999999", now), Some(LONGEST_WAIT));
        for odd in [
            "",
            "soon",
            "-1",
            "Wed, 21 Foo 2015 07:28:00 GMT",
            "x, 99 Oct 2015 07:28 GMT",
        ] {
            assert_eq!(retry_after(odd, now), None, "{odd}");
        }
        assert_eq!(http_date("Thu, 29 Feb 2024 00:00:00 GMT"), Some(1_709_164_800));
    }

    #[test]
    fn a_password_of_the_url_is_not_shown() {
        let (url, shown) = checked_url("http://u:p%40@h:1/a?b=c").unwrap();
        // The connection sends them.
        assert_eq!(url.to_string(), "http://u:p%40@h:1/a?b=c");
        assert_eq!(shown, "http://u:xxxxx@h:1/a?b=c");
        assert_eq!(checked_url("https://h/").unwrap().1, "https://h/");
        for odd in ["", "h:1/x", "ftp://h", "/write", "http://"] {
            assert!(checked_url(odd).is_err(), "{odd}");
        }
    }
}
