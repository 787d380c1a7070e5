//! Answers that are sent while they are being written, so that a large one is never in memory as a whole.
//!
//! [`Pieces`] writes an answer part by part. A part is made on the blocking pool when there is room for it: one is on
//! its way to the client, one more is ready or being made. A client that reads slowly holds no thread, and one that
//! does not read at all loses what is held for it at the query's deadline.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Instant;

use bytes::Bytes;
use hyper::body::{Body, Frame};
use parking_lot::Mutex;
use tokio::task::{AbortHandle, JoinHandle};

use super::pack::{Coding, Packer};

/// Parts are about this long before they are packed.
pub(crate) const PIECE: usize = 64 << 10;

/// Why an answer broke off after its beginning was sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum BrokenOff {
    /// The deadline passed.
    TooLate,
    /// The server failed.
    Failed,
}

impl std::fmt::Display for BrokenOff {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::TooLate => "the query's time is over, its answer is not sent whole",
            Self::Failed => "the answer could not be written",
        })
    }
}

impl std::error::Error for BrokenOff {}

/// Writes an answer part by part.
pub(crate) trait Pieces: Send {
    /// Appends about `length` bytes to `out`; `false` when nothing more will come.
    fn write(&mut self, out: &mut Vec<u8>, length: usize) -> bool;
}

/// What is still to be written of an answer.
pub(crate) struct Rest {
    pub(crate) pieces: Box<dyn Pieces>,
    /// When sending has to end.
    pub(crate) deadline: Option<Instant>,
}

// Makes one part after the other.
struct Maker {
    rest: Rest,
    packer: Option<Packer>,
}

type Made = Result<(Bytes, Option<Maker>), BrokenOff>;

impl Maker {
    fn make(mut self) -> Made {
        let mut out = Vec::with_capacity(PIECE + PIECE / 8);
        loop {
            if self.rest.deadline.is_some_and(|deadline| Instant::now() >= deadline) {
                return Err(BrokenOff::TooLate);
            }
            let goes_on = self.rest.pieces.write(&mut out, PIECE);
            let Some(packer) = &mut self.packer else {
                return Ok((out.into(), goes_on.then_some(self)));
            };
            packer.write_all(&out).map_err(|_| BrokenOff::Failed)?;
            out.clear();
            if !goes_on {
                let packer = self.packer.take();
                let packed = packer.map(Packer::finish).transpose();
                return Ok((packed.map_err(|_| BrokenOff::Failed)?.unwrap_or_default().into(), None));
            }
            // Several parts may come to one once they are packed.
            if packer.packed().len() >= PIECE / 4 {
                return Ok((std::mem::take(packer.packed()).into(), Some(self)));
            }
        }
    }
}

enum State {
    /// A part is ready.
    Ready(Bytes, Option<Maker>),
    Making(JoinHandle<Made>),
    Done,
    TooLate,
}

struct Shared {
    state: State,
    // Who waits for a part that is being made: the deadline takes that part away, and nobody else would wake it.
    waiting: Option<Waker>,
}

/// The body of an answer that is sent in parts.
pub(crate) struct Streamed {
    shared: Arc<Mutex<Shared>>,
    watch: Option<AbortHandle>,
}

impl Streamed {
    /// A body that begins with `first` and goes on with `rest`; packed with `coding`, which is given back, unless that fails. To be called within a
    /// runtime, but it computes, so not on one of its threads.
    pub(crate) fn new(first: Vec<u8>, rest: Rest, coding: Option<Coding>) -> (Self, Option<Coding>) {
        let deadline = rest.deadline;
        let mut packer = coding.and_then(|coding| Packer::new(coding, first.len() / 4).ok());
        let coding = coding.filter(|_| packer.is_some());
        let head = match &mut packer {
            None => first,
            Some(packer) => {
                // Writing to memory does not fail.
                let _ = packer.write_all(&first);
                std::mem::take(packer.packed())
            }
        };
        let shared = Arc::new(Mutex::new(Shared {
            state: State::Ready(head.into(), Some(Maker { rest, packer })),
            waiting: None,
        }));
        let watch = deadline.map(|deadline| {
            let shared = Arc::clone(&shared);
            let watching = tokio::spawn(async move {
                tokio::time::sleep_until(deadline.into()).await;
                let (late, waiting) = {
                    let mut shared = shared.lock();
                    let late = std::mem::replace(&mut shared.state, State::TooLate);
                    (late, shared.waiting.take())
                };
                if let Some(waiting) = waiting {
                    waiting.wake();
                }
                // The answer's columns may be large to free.
                let _ = tokio::task::spawn_blocking(move || drop(late)).await;
            });
            watching.abort_handle()
        });
        (Self { shared, watch }, coding)
    }
}

impl Body for Streamed {
    type Data = Bytes;
    type Error = BrokenOff;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BrokenOff>>> {
        let mut shared = self.shared.lock();
        let Shared { state, waiting } = &mut *shared;
        loop {
            match std::mem::replace(state, State::Done) {
                State::Done => return Poll::Ready(None),
                State::TooLate => return Poll::Ready(Some(Err(BrokenOff::TooLate))),
                State::Ready(part, more) => {
                    if let Some(maker) = more {
                        *state = State::Making(tokio::task::spawn_blocking(move || maker.make()));
                    }
                    if !part.is_empty() {
                        return Poll::Ready(Some(Ok(Frame::data(part))));
                    }
                }
                State::Making(mut making) => {
                    let Poll::Ready(made) = Pin::new(&mut making).poll(cx) else {
                        *state = State::Making(making);
                        *waiting = Some(cx.waker().clone());
                        return Poll::Pending;
                    };
                    match made.unwrap_or(Err(BrokenOff::Failed)) {
                        Ok((part, more)) => *state = State::Ready(part, more),
                        Err(broken) => return Poll::Ready(Some(Err(broken))),
                    }
                }
            }
        }
    }
}

impl Drop for Streamed {
    fn drop(&mut self) {
        if let Some(watch) = &self.watch {
            watch.abort();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::pack::tests::unpacked;
    use http_body_util::BodyExt as _;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::time::Duration;

    // Counts what is written, and that it is dropped.
    struct Counted {
        left: usize,
        written: Arc<AtomicUsize>,
        alive: Arc<()>,
    }

    impl Pieces for Counted {
        fn write(&mut self, out: &mut Vec<u8>, length: usize) -> bool {
            let length = length.min(self.left);
            self.left -= length;
            // Not too easy to pack.
            out.extend((0..length).map(|at| ((at * at * 31) >> 7) as u8));
            self.written.fetch_add(length, Ordering::SeqCst);
            self.left > 0
        }
    }

    fn counted(left: usize, deadline: Option<Instant>) -> (Rest, Arc<AtomicUsize>, Arc<()>) {
        let (written, alive) = (Arc::new(AtomicUsize::new(0)), Arc::new(()));
        let pieces = Counted {
            left,
            written: Arc::clone(&written),
            alive: Arc::clone(&alive),
        };
        assert!(Arc::strong_count(&pieces.alive) == 2);
        let pieces = Box::new(pieces);
        (Rest { pieces, deadline }, written, alive)
    }

    const WHOLE: usize = 5_000_000;

    #[tokio::test]
    async fn parts_come_one_by_one_and_never_far_ahead() {
        let (rest, written, alive) = counted(WHOLE, None);
        let (mut body, _) = Streamed::new(b"head".to_vec(), rest, None);
        let mut read = 0;
        while let Some(frame) = body.frame().await {
            read += frame.unwrap().into_data().unwrap().len();
            let ahead = written.load(Ordering::SeqCst) + 4 - read;
            assert!(ahead <= 2 * PIECE, "{ahead} bytes are ready, nobody took them");
        }
        assert_eq!(read, WHOLE + 4);
        assert_eq!(Arc::strong_count(&alive), 1, "what was written is given back");
    }

    #[tokio::test]
    async fn packed_parts_make_one_packed_answer() {
        for coding in [Coding::Zstd, Coding::Gzip, Coding::Deflate] {
            let (rest, _, _) = counted(WHOLE, None);
            let (body, used) = Streamed::new(b"head".to_vec(), rest, Some(coding));
            assert_eq!(used, Some(coding));
            let packed = body.collect().await.unwrap().to_bytes();
            assert!(packed.len() < WHOLE / 2);
            let plain = unpacked(coding, &packed);
            assert!(plain.starts_with(b"head"));
            assert_eq!(plain.len(), WHOLE + 4);
        }
    }

    #[tokio::test]
    async fn an_answer_ends_at_its_deadline_even_where_nobody_reads_it() {
        let (rest, _, alive) = counted(WHOLE, Some(Instant::now()));
        let (mut body, _) = Streamed::new(b"head".to_vec(), rest, None);
        let began = Instant::now();
        while Arc::strong_count(&alive) > 1 {
            assert!(began.elapsed() < Duration::from_secs(60), "the answer is still held");
            tokio::task::yield_now().await;
        }
        let mut last = None;
        while let Some(frame) = body.frame().await {
            last = Some(frame.map(|_| ()));
        }
        assert_eq!(last, Some(Err(BrokenOff::TooLate)));
    }

    // Writes nothing before it is let go.
    struct Slow(std::sync::mpsc::Receiver<()>);

    impl Pieces for Slow {
        fn write(&mut self, out: &mut Vec<u8>, _: usize) -> bool {
            // The other end is dropped to let go.
            let _ = self.0.recv();
            out.push(b'x');
            true
        }
    }

    #[tokio::test]
    async fn an_answer_ends_at_its_deadline_while_its_next_part_is_being_made() {
        let (go, gate) = std::sync::mpsc::channel();
        let deadline = Instant::now() + Duration::from_millis(50);
        let rest = Rest {
            pieces: Box::new(Slow(gate)),
            deadline: Some(deadline),
        };
        let (mut body, _) = Streamed::new(b"head".to_vec(), rest, None);
        assert!(body.frame().await.unwrap().is_ok());
        // The client has read what there is and waits for more.
        let next = tokio::time::timeout(Duration::from_secs(60), body.frame()).await;
        drop(go);
        let next = next.expect("the answer hangs").map(|frame| frame.map(|_| ()));
        assert_eq!(next, Some(Err(BrokenOff::TooLate)));
    }

    #[tokio::test]
    async fn a_client_that_goes_away_ends_the_writing() {
        let (rest, written, alive) = counted(usize::MAX, None);
        let (mut body, _) = Streamed::new(b"head".to_vec(), rest, None);
        for _ in 0..3 {
            body.frame().await.unwrap().unwrap();
        }
        drop(body);
        let began = Instant::now();
        while Arc::strong_count(&alive) > 1 {
            assert!(began.elapsed() < Duration::from_secs(60), "the answer is still written");
            tokio::task::yield_now().await;
        }
        assert!(written.load(Ordering::SeqCst) <= 5 * PIECE);
    }
}
