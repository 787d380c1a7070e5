//! One server that is asked.

use bytes::Bytes;
use cupola_config::prometheus::RemoteReadConfig;
use cupola_model::{Labels, MatchOp, Matcher};
use cupola_net::{Peer, Request};
use cupola_storage::{Samples, Selection};
use http::header::{CONTENT_ENCODING, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue, USER_AGENT};
use http::{Method, Uri};
use parking_lot::Mutex;

use super::codec::{Hints, Query, read_frame, read_response, take_frame, whole, write_request};
use crate::send::post::checked_url;

// An answer is in memory as a whole.
const LARGEST_ANSWER: usize = 256 << 20;
const SHOWN_ANSWER: usize = 300;
// Connections that are kept for the next questions.
const KEPT_PEERS: usize = 16;
const VERSION: HeaderName = HeaderName::from_static("x-prometheus-remote-read-version");

pub(super) struct Remote {
    config: RemoteReadConfig,
    url: Uri,
    // Without a password.
    shown_url: String,
    headers: HeaderMap,
    external: Labels,
    peers: Mutex<Vec<Peer>>,
}

impl std::fmt::Debug for Remote {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Remote")
            .field("url", &self.shown_url)
            .finish_non_exhaustive()
    }
}

/// What one server is asked for one selection.
pub(super) struct Question {
    query: Query,
    // Labels that were asked for on top of the selection's, and that are taken off the answer.
    added: Vec<String>,
}

pub(super) type Answer = Vec<(Labels, Samples)>;

impl Remote {
    /// # Errors
    /// Why nothing can be asked there.
    pub(super) fn new(config: &RemoteReadConfig, external: &Labels) -> Result<Self, String> {
        let (url, shown_url) = checked_url(&config.url)?;
        let mut headers = HeaderMap::new();
        let agent = concat!("Prometheus/3.14.0 (Cupola/", env!("CARGO_PKG_VERSION"), ")");
        headers.insert(USER_AGENT, HeaderValue::from_static(agent));
        for (name, value) in &config.headers {
            let bad = || format!("header {name:?}: is no header");
            let name = HeaderName::try_from(name.as_str()).map_err(|_| bad())?;
            headers.insert(name, HeaderValue::try_from(value.as_str()).map_err(|_| bad())?);
        }
        headers.insert(CONTENT_ENCODING, HeaderValue::from_static("snappy"));
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/x-protobuf"));
        headers.insert(VERSION, HeaderValue::from_static("0.1.0"));
        Ok(Self {
            config: config.clone(),
            url,
            shown_url,
            headers,
            external: external.clone(),
            peers: Mutex::default(),
        })
    }

    /// For people: its name, or its address without a password.
    pub(super) fn shown(&self) -> String {
        match &self.config.name {
            Some(name) => name.clone(),
            None => self.shown_url.clone(),
        }
    }

    /// What to ask; `None` where it does not have to be asked. `local_start` is the time from which on this server has
    /// all samples itself.
    pub(super) fn question(&self, selection: &Selection<'_>, local_start: i64, func: &str) -> Option<Question> {
        let has = |(name, value): (&str, &str)| {
            let is_it = |m: &Matcher| m.op() == MatchOp::Equal && m.name() == name && m.value() == value;
            selection.matchers.iter().any(is_it)
        };
        if !self.config.required_matchers.iter().all(has) {
            return None;
        }
        let mut maxt = selection.maxt;
        if !self.config.read_recent {
            if selection.mint > local_start {
                return None;
            }
            maxt = maxt.min(local_start);
        }
        let mut matchers = selection.matchers.to_vec();
        let mut added = Vec::new();
        if self.config.filter_external_labels {
            for (name, value) in self.external.iter() {
                // Whoever asks for another value means it.
                if selection.matchers.iter().any(|matcher| matcher.name() == name) {
                    continue;
                }
                matchers.extend(Matcher::new(name, MatchOp::Equal, value));
                added.push(name.to_owned());
            }
        }
        let hints = Hints {
            start: selection.mint,
            end: maxt,
            func: func.to_owned(),
        };
        Some(Question {
            query: Query {
                start: selection.mint,
                end: maxt,
                matchers,
                hints: Some(hints),
            },
            added,
        })
    }

    /// Asks.
    ///
    /// # Errors
    /// What went wrong, as a sentence.
    pub(super) async fn ask(&self, question: &Question) -> Result<Answer, String> {
        let body = snap::raw::Encoder::new()
            .compress_vec(&write_request(&question.query))
            .map_err(|error| error.to_string())?;
        let kept = self.peers.lock().pop();
        let mut peer = kept.unwrap_or_else(|| Peer::new(&self.config.http));
        let request = Request {
            method: Method::POST,
            url: &self.url,
            headers: self.headers.clone(),
            body: Bytes::from(body),
            timeout: self.config.remote_timeout,
            max_body: LARGEST_ANSWER,
            gzip: false,
            follow_redirects: false,
        };
        let sent = peer.send(request).await;
        let response = sent.map_err(|error| format!("error sending request: {error}"))?;
        {
            let mut peers = self.peers.lock();
            if peers.len() < KEPT_PEERS {
                peers.push(peer);
            }
        }
        if !response.status.is_success() {
            let text: String = String::from_utf8_lossy(&response.body)
                .chars()
                .take(SHOWN_ANSWER)
                .collect();
            return Err(format!(
                "remote server {} returned http status {}: {}",
                self.shown_url,
                response.status,
                text.trim()
            ));
        }
        let kind = response.headers.get(CONTENT_TYPE).and_then(|kind| kind.to_str().ok());
        let kind = kind.unwrap_or_default().to_owned();
        let (largest, added) = (self.config.chunked_read_limit, question.added.clone());
        // Unpacking takes its time; the runtime's threads are for waiting.
        let read = tokio::task::spawn_blocking(move || read_answer(&kind, &response.body, largest, &added));
        read.await
            .map_err(|error| format!("reading the answer broke off: {error}"))?
    }
}

/// Reads an answer of either kind.
pub(super) fn read_answer(kind: &str, body: &[u8], largest: u64, added: &[String]) -> Result<Answer, String> {
    let mut answer = Vec::new();
    if kind.starts_with("application/x-streamed-protobuf") {
        let mut rest = body;
        let mut frames = Vec::new();
        while let Some(frame) = take_frame(&mut rest, largest)? {
            read_frame(frame, &mut frames)?;
        }
        answer = whole(frames)?;
    } else if kind.starts_with("application/x-protobuf") {
        let length = snap::raw::decompress_len(body).map_err(|error| error.to_string())?;
        if length > LARGEST_ANSWER {
            return Err(format!(
                "the answer takes {length} bytes, more than {LARGEST_ANSWER} are not taken"
            ));
        }
        let message = snap::raw::Decoder::new().decompress_vec(body);
        read_response(&message.map_err(|error| error.to_string())?, &mut answer)?;
    } else {
        return Err(format!("unsupported content type: {kind}"));
    }
    if !added.is_empty() {
        for (labels, _) in &mut answer {
            let mut builder = labels.to_builder();
            for name in added {
                builder.remove(name);
            }
            *labels = builder.build();
        }
    }
    Ok(answer)
}
