//! Messages that other servers push: as they come, within memory that all of them share.

use std::future::poll_fn;
use std::pin::Pin;
use std::time::Duration;

use axum::body::Body;
use axum::response::Response;
use cupola_net::{BodyBudget, NetError, Room};
use http::StatusCode;
use hyper::body::Body as _;
use tokio::time::{Instant, timeout_at};

use super::write::plain;

// Prometheus's senders give up after 30 s, OpenTelemetry's exporters after 10 s.
const TIMEOUT: Duration = Duration::from_secs(60);

/// A message, and its part of the memory, which is given back when it is dropped.
pub(super) struct Pushed {
    pub body: Vec<u8>,
    budget: BodyBudget,
    room: Room,
    deadline: Instant,
}

impl Pushed {
    /// Reads a message of at most `largest` bytes; waits where there is no room for what comes.
    ///
    /// # Errors
    /// The answer to give: 400 where it breaks off or is too large, 503 where it does not come or has no room in time. A sender
    /// drops what is answered 400 and sends again what is answered 503; 413 it may send again and again (vmagent).
    pub(super) async fn read(budget: &BodyBudget, mut body: Body, largest: usize) -> Result<Self, Response> {
        let mut pushed = Self {
            body: Vec::new(),
            budget: budget.clone(),
            room: budget.room(),
            deadline: Instant::now() + TIMEOUT,
        };
        loop {
            let next = poll_fn(|cx| Pin::new(&mut body).poll_frame(cx));
            let frame = match timeout_at(pushed.deadline, next).await {
                Ok(None) => return Ok(pushed),
                Ok(Some(Ok(frame))) => frame,
                Ok(Some(Err(error))) => {
                    let text = format!("the message cannot be read: {error}");
                    return Err(plain(StatusCode::BAD_REQUEST, &text));
                }
                // The way to us may be slow today.
                Err(_) => {
                    return Err(plain(
                        StatusCode::SERVICE_UNAVAILABLE,
                        "the message did not arrive in time",
                    ));
                }
            };
            let Ok(data) = frame.into_data() else { continue };
            if data.len() > largest - pushed.body.len() {
                let text = format!("the message cannot be read: it has more than {largest} bytes");
                return Err(plain(StatusCode::BAD_REQUEST, &text));
            }
            pushed.grow(data.len()).await?;
            pushed.body.extend_from_slice(&data);
        }
    }

    /// Makes room for `more` bytes beside the body.
    ///
    /// # Errors
    /// The answer to give, as of [`Pushed::read`].
    pub(super) async fn grow(&mut self, more: usize) -> Result<(), Response> {
        let bytes = self.body.len().saturating_add(more);
        match timeout_at(self.deadline, self.room.grow(bytes)).await {
            Ok(Ok(())) => Ok(()),
            // Sent again it would be as large.
            Ok(Err(error @ NetError::OverBudget { .. })) => Err(plain(StatusCode::BAD_REQUEST, &error.to_string())),
            Ok(Err(error)) => Err(plain(StatusCode::INTERNAL_SERVER_ERROR, &error.to_string())),
            Err(_) => {
                let error = self.budget.no_room(TIMEOUT);
                Err(plain(StatusCode::SERVICE_UNAVAILABLE, &error.to_string()))
            }
        }
    }

    /// The message, and what grows beside it.
    pub(super) fn split(&mut self) -> (&[u8], Beside<'_>) {
        let Self { body, room, .. } = self;
        let length = body.len();
        (body, Beside { room, length })
    }
}

/// The room of what is made of a message.
pub(super) struct Beside<'a> {
    room: &'a mut Room,
    length: usize,
}

impl Beside<'_> {
    /// Makes room for `bytes` beside the message if it is there now.
    pub(super) fn try_grow(&mut self, bytes: usize) -> bool {
        self.room.try_grow(self.length.saturating_add(bytes))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KIB: usize = 1 << 10;

    async fn refused(budget: &BodyBudget, body: Vec<u8>, largest: usize) -> (u16, String) {
        let refused = Pushed::read(budget, Body::from(body), largest).await;
        let refused = refused.err().expect("it is refused");
        let status = refused.status().as_u16();
        let text = axum::body::to_bytes(refused.into_body(), KIB).await.unwrap();
        (status, String::from_utf8(text.to_vec()).unwrap())
    }

    #[tokio::test(start_paused = true)]
    async fn messages_share_memory_and_wait_for_it_no_longer_than_their_time() {
        let budget = BodyBudget::new("messages", 200 * KIB);
        let body = || vec![7; 60 * KIB];
        let mut first = Pushed::read(&budget, Body::from(body()), 60 * KIB).await.ok().unwrap();
        assert!(first.body == body());
        first.grow(40 * KIB).await.ok().unwrap();
        assert_eq!(budget.used(), 100 * KIB);
        // The other half is for one at a time.
        let second = Pushed::read(&budget, Body::from(body()), 60 * KIB).await.ok().unwrap();
        let (status, text) = refused(&budget, body(), 60 * KIB).await;
        assert_eq!(status, 503);
        assert_eq!(
            text,
            "no memory for the body within 60s: messages may take 204800 bytes together, which are in use\n"
        );
        drop((first, second));
        assert_eq!(budget.used(), 0);
        assert_eq!(budget.refused(), 1);
    }

    #[tokio::test]
    async fn what_is_too_large_is_told_what_it_may_have() {
        let budget = BodyBudget::new("messages", 100 * KIB);
        let (status, text) = refused(&budget, vec![0; 50], 49).await;
        assert_eq!(status, 400);
        assert_eq!(text, "the message cannot be read: it has more than 49 bytes\n");
        let (status, text) = refused(&budget, vec![0; 51 * KIB], 60 * KIB).await;
        assert_eq!(status, 400);
        assert!(text.contains("half of what messages may take together"), "{text}");
        assert_eq!(budget.used(), 0);
    }
}
