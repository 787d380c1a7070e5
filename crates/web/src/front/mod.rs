//! What stands before every route: the file of `--web.config.file`, its TLS, passwords, headers and rate limit.
//!
//! The file, and what it names, is read again when it changes, as exporter-toolkit does at each connection and request.
//! Here it is looked at no oftener than ten times a second. Where the new content cannot be used the old one stays in
//! force, which is logged once.

mod bucket;
mod passwords;

use std::path::Path;
use std::sync::Arc;

use axum::Router;
use axum::extract::{Request, State};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use cupola_config::{ConfigErrors, ConfigWarning, WebConfig, parse_web_config};
use cupola_net::{ServerTls, Snapshot, Watched};
use http::header::{self, HeaderName, HeaderValue};
use http::{HeaderMap, StatusCode};
use tracing::{error, info, warn};

use bucket::Bucket;
use passwords::{Credentials, Passwords, Verdict};

/// The file of `--web.config.file`, in force. Cloning shares it.
#[derive(Clone)]
pub struct WebConfigFile(Arc<Inner>);

struct Inner {
    files: Watched<Front>,
    passwords: Passwords,
}

/// What one state of the files says, ready for use.
struct Front {
    config: WebConfig,
    tls: Option<ServerTls>,
    headers: HeaderMap,
    bucket: Option<Arc<Bucket>>,
}

impl WebConfigFile {
    /// Reads the file and those it names. It touches the disk.
    ///
    /// # Errors
    /// Every mistake with its place, in exporter-toolkit's words where it has some.
    pub fn load(path: &Path) -> Result<Self, ConfigErrors> {
        Ok(Self(Arc::new(Inner {
            files: Watched::load(path, Front::read, Box::new(tell))?,
            passwords: Passwords::default(),
        })))
    }

    /// What of the file in force has no effect, or another one than may be expected.
    #[must_use]
    pub fn warnings(&self) -> Vec<ConfigWarning> {
        self.0.files.last().config.warnings.clone()
    }

    /// Whether it asks for TLS; this does not change while the server runs.
    #[must_use]
    pub fn is_tls(&self) -> bool {
        self.0.files.last().tls.is_some()
    }

    /// Whether it offers HTTP/2.
    pub(crate) fn is_http2(&self) -> bool {
        let front = self.0.files.last();
        front.tls.is_some() && front.config.http2
    }

    /// How a connection that is accepted now speaks TLS; `None` is plain HTTP.
    pub(crate) async fn tls(&self) -> Option<ServerTls> {
        self.current().await.tls.clone()
    }

    async fn current(&self) -> Arc<Front> {
        self.0.files.current().await
    }
}

fn tell(path: &Path, came: Result<&Front, &ConfigErrors>) {
    match came {
        Ok(front) => {
            for warning in &front.config.warnings {
                warn!(warning = %warning, "web configuration");
            }
            info!(file = %path.display(), "web configuration loaded");
        }
        Err(mistakes) => error!(%mistakes, "the web configuration cannot be used; the old one stays in force"),
    }
}

impl Front {
    // `old` is what is in force, and limits what may change.
    fn read(path: &Path, snapshot: &mut Snapshot, old: Option<&Self>) -> Result<Self, ConfigErrors> {
        let whole = |reason: &str| ConfigErrors::whole_file(path, reason);
        let bytes = snapshot.read(path).map_err(|reason| whole(&reason))?;
        let text = std::str::from_utf8(&bytes).map_err(|_| whole("the file is not UTF-8"))?;
        let config = parse_web_config(text, path)?;
        let snapshot = std::cell::RefCell::new(snapshot);
        let read = |path: &Path| snapshot.borrow_mut().read(path);
        let tls = match &config.tls {
            Some(tls) => Some(ServerTls::load(tls, config.http2, &read)?),
            None => None,
        };
        if let Some(old) = old {
            // A file that is being written must not open the server for a moment.
            if text.trim().is_empty() && (!old.config.users.is_empty() || old.tls.is_some()) {
                return Err(whole(
                    "the file has become empty; write {} into it to do without passwords",
                ));
            }
            if tls.is_some() != old.tls.is_some() {
                return Err(whole(
                    "TLS cannot be turned on or off while the server runs; start it again",
                ));
            }
        }
        let mut headers = HeaderMap::new();
        for (name, value) in &config.headers {
            let name = HeaderName::try_from(name.as_str());
            let value = HeaderValue::try_from(value.as_str());
            match (name, value) {
                (Ok(name), Ok(value)) => headers.insert(name, value),
                _ => return Err(whole("a header cannot be sent")),
            };
        }
        // What was asked before counts on, where the limit is the same.
        let kept = old.and_then(|old| old.bucket.clone());
        let bucket = config.rate_limit.map(|limit| {
            let kept = kept.filter(|bucket| bucket.limit() == limit);
            kept.unwrap_or_else(|| Arc::new(Bucket::new(limit)))
        });
        Ok(Self {
            config,
            tls,
            headers,
            bucket,
        })
    }
}

/// `router` behind passwords, limit and headers of the file.
pub(crate) fn behind(router: Router, file: WebConfigFile) -> Router {
    router.layer(from_fn_with_state(file, gate))
}

async fn gate(State(file): State<WebConfigFile>, request: Request, next: Next) -> Response {
    let front = file.current().await;
    if front.bucket.as_ref().is_some_and(|bucket| !bucket.take()) {
        return refusal(StatusCode::TOO_MANY_REQUESTS, "Too Many Requests\n");
    }
    let verdict = match front.config.users.is_empty() {
        true => Verdict::Welcome,
        false => match Credentials::of(request.headers()) {
            Some(given) => file.0.passwords.check(&front.config.users, given).await,
            None => Verdict::Stranger,
        },
    };
    let mut response = match verdict {
        Verdict::Welcome => next.run(request).await,
        Verdict::Stranger => {
            let mut response = refusal(StatusCode::UNAUTHORIZED, "Unauthorized\n");
            let challenge = HeaderValue::from_static("Basic");
            response.headers_mut().insert(header::WWW_AUTHENTICATE, challenge);
            response
        }
        Verdict::Busy => {
            let text = "too many passwords are being checked, try again\n";
            let mut response = refusal(StatusCode::SERVICE_UNAVAILABLE, text);
            let wait = HeaderValue::from_static("1");
            response.headers_mut().insert(header::RETRY_AFTER, wait);
            response
        }
    };
    for (name, value) in &front.headers {
        response.headers_mut().insert(name, value.clone());
    }
    response
}

fn refusal(status: StatusCode, text: &'static str) -> Response {
    let headers = [
        (header::CONTENT_TYPE, "text/plain; charset=utf-8"),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    ];
    (status, headers, text).into_response()
}

#[cfg(test)]
mod tests;
