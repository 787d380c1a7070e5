//! What whoever looks at the pages should know of the server itself: it replays its log, a configuration does not load,
//! it is about to stop. Told at once, or as it happens (server-sent events).

use std::collections::VecDeque;
use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use axum::body::{Body, HttpBody};
use axum::extract::State;
use axum::response::{IntoResponse as _, Response};
use bytes::Bytes;
use http::StatusCode;
use http::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderValue};
use hyper::body::Frame;
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::{Interval, MissedTickBehavior, interval};

use crate::api::answer::Ask;
use crate::api::json::{Answer, ApiError, success, write_list, write_str, write_time};
use crate::app::App;
use crate::router::Ctx;

// After so many looks without news something is sent that says nothing: who is no longer there is noticed by that alone, and
// its place is free again.
const LOOKS_UNTIL_COMMENT: u32 = 30;
// How often the state is looked at for those who listen: they learn of a change within this time.
const LOOK_EVERY: Duration = Duration::from_millis(if cfg!(test) { 10 } else { 1000 });

/// One thing to know. The texts are Prometheus's; what went wrong in particular is ours.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Notice {
    text: &'static str,
    since: Option<i64>,
    detail: Option<String>,
}

fn notices(app: &App) -> Vec<Notice> {
    let config = app.config.load();
    let notice = |text, since, detail| Notice { text, since, detail };
    let mut all = Vec::new();
    if !app.tsdb.replay_progress().done {
        let text = "Prometheus is starting and replaying the write-ahead log (WAL).";
        all.push(notice(text, Some(app.started_ms), None));
    }
    if let Some(failed) = &config.failed_reload {
        let text = "Configuration reload has failed.";
        all.push(notice(text, Some(failed.at_ms), Some(failed.error.clone())));
    }
    if app.ready.is_stopping() {
        let text = "Prometheus is shutting down and gracefully stopping all operations.";
        all.push(notice(text, Some(app.clock.now_ms()), None));
    }
    all
}

fn write_notice(out: &mut String, notice: &Notice, is_active: bool) {
    out.push_str("{\"text\":");
    write_str(out, notice.text);
    out.push_str(",\"date\":");
    write_time(out, notice.since);
    if let Some(detail) = &notice.detail {
        out.push_str(",\"detail\":");
        write_str(out, detail);
    }
    out.push_str(if is_active {
        ",\"active\":true}"
    } else {
        ",\"active\":false}"
    });
}

/// `notifications`: what holds now.
pub(super) fn notifications(ask: &Ask<'_>) -> Result<Answer, ApiError> {
    let mut data = String::new();
    write_list(&mut data, &notices(ask.app), |out, notice| {
        write_notice(out, notice, true)
    });
    Ok(success(&data))
}

/// `notifications/live`: what holds now and every change from now on, until the client goes or the server stops. 204
/// where as many listen as may.
pub(super) async fn live(State(ctx): State<Arc<Ctx>>) -> Response {
    let Ok(place) = ctx.listeners.clone().try_acquire_owned() else {
        return StatusCode::NO_CONTENT.into_response();
    };
    let mut look = interval(LOOK_EVERY);
    look.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut response = Response::new(Body::new(Live {
        ctx,
        look,
        told: Vec::new(),
        waiting: VecDeque::new(),
        quiet_looks: 0,
        is_over: false,
        _place: place,
    }));
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    response
}

// The events of one listener.
struct Live {
    ctx: Arc<Ctx>,
    look: Interval,
    told: Vec<Notice>,
    waiting: VecDeque<String>,
    quiet_looks: u32,
    is_over: bool,
    _place: OwnedSemaphorePermit,
}

impl Live {
    fn look(&mut self) {
        let now = notices(&self.ctx.app);
        for (was, other, is_active) in [(&self.told, &now, false), (&now, &self.told, true)] {
            for notice in was {
                if !other.iter().any(|o| o.text == notice.text) {
                    let mut event = String::from("data: ");
                    write_notice(&mut event, notice, is_active);
                    event.push_str("\n\n");
                    self.waiting.push_back(event);
                }
            }
        }
        self.told = now;
        self.quiet_looks = if self.waiting.is_empty() {
            self.quiet_looks + 1
        } else {
            0
        };
        if self.quiet_looks >= LOOKS_UNTIL_COMMENT {
            self.quiet_looks = 0;
            self.waiting.push_back(": still here\n\n".to_owned());
        }
        self.is_over = self.ctx.app.ready.is_stopping();
    }
}

impl HttpBody for Live {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let live = self.get_mut();
        loop {
            if let Some(event) = live.waiting.pop_front() {
                return Poll::Ready(Some(Ok(Frame::data(event.into()))));
            }
            if live.is_over {
                return Poll::Ready(None);
            }
            ready!(live.look.poll_tick(cx));
            live.look();
        }
    }
}
