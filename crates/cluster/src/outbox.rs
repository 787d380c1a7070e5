//! What waits to be sent to one member. Bounded: where it is full, everything is sent anew instead.

use std::collections::VecDeque;

use bytes::Bytes;
use parking_lot::Mutex;
use tokio::sync::Notify;

// Beyond it the whole state is cheaper than what waits.
const MOST_BYTES: usize = 4 << 20;
const MOST_FRAMES: usize = 10_000;

/// The queue of one connection.
#[derive(Debug, Default)]
pub(crate) struct Outbox {
    state: Mutex<State>,
    wake: Notify,
}

#[derive(Debug, Default)]
struct State {
    frames: VecDeque<Bytes>,
    bytes: usize,
    full_due: bool,
    last: Option<Bytes>,
    is_closed: bool,
}

/// What is to be written next.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Work {
    /// These frames, in this order.
    Frames(Vec<Bytes>),
    /// The whole state.
    Full,
    /// This, and then no more.
    Last(Option<Bytes>),
}

impl Outbox {
    /// Puts a frame in. What does not fit is left out, and the whole state takes its place. Returns whether it waits.
    pub(crate) fn push(&self, frame: Bytes) -> bool {
        let mut state = self.state.lock();
        let fits = state.frames.len() < MOST_FRAMES && state.bytes + frame.len() <= MOST_BYTES;
        if fits {
            state.bytes += frame.len();
            state.frames.push_back(frame);
        } else {
            state.full_due = true;
        }
        drop(state);
        self.wake.notify_one();
        fits
    }

    /// Has the whole state sent.
    pub(crate) fn push_all(&self) {
        self.state.lock().full_due = true;
        self.wake.notify_one();
    }

    /// Has what waits sent, then `last`, and no more.
    pub(crate) fn close(&self, last: Option<Bytes>) {
        let mut state = self.state.lock();
        if !state.is_closed {
            (state.last, state.is_closed) = (last, true);
        }
        drop(state);
        self.wake.notify_one();
    }

    /// Frames that wait.
    pub(crate) fn waiting(&self) -> usize {
        self.state.lock().frames.len()
    }

    /// Waits until there is something to write. Nothing is lost where the caller stops waiting.
    pub(crate) async fn next(&self) -> Work {
        loop {
            if let Some(work) = self.take() {
                return work;
            }
            self.wake.notified().await;
        }
    }

    fn take(&self) -> Option<Work> {
        let mut state = self.state.lock();
        if !state.frames.is_empty() {
            state.bytes = 0;
            return Some(Work::Frames(state.frames.drain(..).collect()));
        }
        if state.is_closed {
            return Some(Work::Last(state.last.take()));
        }
        std::mem::take(&mut state.full_due).then_some(Work::Full)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_does_not_fit_becomes_the_whole_state() {
        let outbox = Outbox::default();
        let large = Bytes::from(vec![0; MOST_BYTES / 2]);
        assert!(outbox.push(large.clone()) && outbox.push(large.clone()));
        assert!(!outbox.push(large.clone()));
        assert_eq!(outbox.waiting(), 2);
        assert_eq!(outbox.next().await, Work::Frames(vec![large.clone(), large.clone()]));
        assert_eq!(outbox.next().await, Work::Full);
        outbox.push(large.clone());
        outbox.close(Some(Bytes::from_static(b"bye")));
        outbox.close(None);
        assert_eq!(outbox.next().await, Work::Frames(vec![large]));
        assert_eq!(outbox.next().await, Work::Last(Some(Bytes::from_static(b"bye"))));
        assert_eq!(outbox.next().await, Work::Last(None));
    }
}
