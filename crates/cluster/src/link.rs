//! One conversation: who is there, then everything that each side has, then what changes, and a sign of life.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use parking_lot::Mutex;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, BufReader};
use tokio::time::{Instant, MissedTickBehavior, timeout};
use tracing::{info, warn};

use crate::cluster::Inner;
use crate::members::Refusal;
use crate::network::Stream;
use crate::outbox::{Outbox, Work};
use crate::wire::{self, Frame, HEAD, Hello, LARGEST_FRAME, LARGEST_HELLO, MAGIC};

// How much of the whole state goes into one frame.
const BATCH_BYTES: usize = 256 << 10;
// How much is taken from a stream at once, whatever it says will come.
const STEP: usize = 64 << 10;
// How somebody begins who speaks TLS, and how he refuses somebody who does not: records of TLS 1.0 to 1.3.
const TLS_HANDSHAKE: &[u8] = &[0x16, 3];
const TLS_REFUSAL: [u8; HEAD] = [0x15, 3, 3, 0];

/// How a conversation ended.
#[derive(Debug)]
pub(crate) enum End {
    /// The address leads to this member itself.
    Itself,
    /// The other side leaves the cluster.
    Left,
    /// It broke off, or there was none.
    Broken(String),
    /// This side has closed it.
    Closed,
}

/// The other side of a conversation.
struct Other {
    name: String,
    link: u64,
    outbox: Arc<Outbox>,
    // The ping that has no answer yet.
    ping: Mutex<Option<(u64, Instant)>>,
}

/// Speaks with the member at `address`, where `stream` leads; `greeted` hears its name once it is known.
pub(crate) async fn dialled(
    inner: &Arc<Inner>,
    mut stream: Box<dyn Stream>,
    address: SocketAddr,
    greeted: impl FnOnce(&str),
) -> End {
    let greeting = async {
        let ours = inner.table.lock().hello();
        stream.write_all(MAGIC).await?;
        stream.write_all(&Frame::Hello(ours).encode()).await?;
        stream.flush().await?;
        read_frame(&mut stream, LARGEST_HELLO).await
    };
    let hello = match timeout(inner.options.tcp_timeout, greeting).await {
        Ok(Ok(Some(Frame::Hello(hello)))) => hello,
        Ok(Ok(Some(Frame::Refuse(why)))) => return End::Broken(format!("it refuses: {why}")),
        Ok(Ok(Some(_))) => return End::Broken("it does not say who it is".to_owned()),
        Ok(Ok(None)) => return End::Broken("it ends the connection without a word".to_owned()),
        Ok(Err(error)) => return End::Broken(error.to_string()),
        Err(_) => return End::Broken(format!("no answer within {:?}", inner.options.tcp_timeout)),
    };
    let outbox = Arc::new(Outbox::default());
    match inner.take_in(&hello, address, &outbox) {
        Ok(link) => {
            greeted(&hello.own.name);
            converse(inner, stream, hello, link, outbox).await
        }
        Err(Refusal::Itself) => End::Itself,
        Err(refusal) => End::Broken(refusal.to_string()),
    }
}

/// Speaks with whoever has connected.
pub(crate) async fn accepted(inner: &Arc<Inner>, stream: Box<dyn Stream>, from: SocketAddr) {
    let limit = inner.options.tcp_timeout;
    let greeting = async {
        let mut stream = inner.network.welcome(stream).await?;
        let mut magic = [0; MAGIC.len()];
        stream.read_exact(&mut magic).await?;
        if magic.starts_with(TLS_HANDSHAKE) {
            return Err(invalid("it speaks TLS, and this member has no --cluster.tls-config"));
        }
        if magic != *MAGIC {
            return Err(invalid(
                "what comes is not this protocol; only Cupola's members understand each other",
            ));
        }
        match read_frame(&mut stream, LARGEST_HELLO).await? {
            Some(Frame::Hello(hello)) => Ok((stream, hello)),
            _ => Err(invalid("it does not say who it is")),
        }
    };
    let (mut stream, hello) = match timeout(limit, greeting).await {
        Ok(Ok(greeted)) => greeted,
        // Whoever only looks whether the port is open has done nothing wrong.
        Ok(Err(error)) if error.kind() == io::ErrorKind::UnexpectedEof => return,
        Ok(Err(error)) => return inner.refused(from, &error.to_string()),
        Err(_) => return inner.refused(from, "it says nothing"),
    };
    let outbox = Arc::new(Outbox::default());
    let ours = inner.table.lock().hello();
    let (answer, link) = match inner.take_in(&hello, from, &outbox) {
        Ok(link) => (Frame::Hello(ours), Some(link)),
        // It finds out by the instance.
        Err(Refusal::Itself) => (Frame::Hello(ours), None),
        Err(refusal) => {
            inner.refused(from, &refusal.to_string());
            (Frame::Refuse(refusal.to_string()), None)
        }
    };
    let answering = async {
        stream.write_all(&answer.encode()).await?;
        stream.flush().await
    };
    let answered = matches!(timeout(limit, answering).await, Ok(Ok(())));
    let Some(link) = link else {
        // Its end would overtake the answer where something of the other side is still unread.
        let _ = timeout(limit, stream.read(&mut [0; 16])).await;
        return;
    };
    if !answered {
        inner.let_go(&hello.own.name, link, &End::Broken("it takes no answer".to_owned()));
        return;
    }
    converse(inner, stream, hello, link, outbox).await;
}

fn invalid(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}

async fn converse(inner: &Arc<Inner>, stream: Box<dyn Stream>, hello: Hello, link: u64, outbox: Arc<Outbox>) -> End {
    let other = Other {
        name: hello.own.name,
        link,
        outbox,
        ping: Mutex::default(),
    };
    inner.learn(&hello.members);
    other.outbox.push_all();
    let (read, write) = tokio::io::split(stream);
    let end = tokio::select! {
        end = listen(inner, BufReader::new(read), &other) => end,
        end = speak(inner, write, &other) => end,
        () = inner.stop.cancelled() => End::Closed,
    };
    inner.let_go(&other.name, link, &end);
    end
}

async fn listen(inner: &Arc<Inner>, mut stream: impl AsyncRead + Unpin, other: &Other) -> End {
    let patience = inner.options.patience();
    loop {
        let frame = match timeout(patience, read_frame(&mut stream, LARGEST_FRAME)).await {
            Ok(Ok(Some(frame))) => frame,
            Ok(Ok(None)) => return End::Broken("the other side has closed the connection".to_owned()),
            Ok(Err(error)) => return End::Broken(error.to_string()),
            Err(_) => return End::Broken(format!("nothing was heard for {patience:?}")),
        };
        inner.table.lock().heard(&other.name, other.link, Instant::now());
        match frame {
            Frame::Batch { key, is_full, messages } => inner.merge(&key, is_full, messages, &other.name).await,
            Frame::Synced => {
                inner.table.lock().synced(&other.name, other.link);
                inner.changed();
            }
            Frame::Ping(number) => {
                other.outbox.push(Frame::Pong(number).encode());
            }
            Frame::Pong(number) => {
                if let Some((sent, at)) = *other.ping.lock()
                    && sent == number
                {
                    let pings = inner.metrics.pings.with(&[&other.name]);
                    pings.observe(at.elapsed().as_secs_f64());
                }
            }
            Frame::Members(members) => {
                inner.metrics.updated.inc();
                inner.learn(&members);
            }
            Frame::Bye => return End::Left,
            Frame::Hello(_) | Frame::Refuse(_) | Frame::Unknown(_) => {}
        }
    }
}

async fn speak(inner: &Arc<Inner>, mut stream: impl AsyncWrite + Unpin, other: &Other) -> End {
    match try_speak(inner, &mut stream, other).await {
        Ok(()) => End::Closed,
        Err(error) => End::Broken(error.to_string()),
    }
}

async fn try_speak(inner: &Arc<Inner>, stream: &mut (impl AsyncWrite + Unpin), other: &Other) -> io::Result<()> {
    let options = &inner.options;
    let mut beat = tokio::time::interval(options.probe_interval);
    beat.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut number = 0;
    let mut told = None;
    let mut full_at = Instant::now() + options.push_pull_interval;
    loop {
        let work = tokio::select! {
            work = other.outbox.next() => work,
            _ = beat.tick() => {
                number += 1;
                *other.ping.lock() = Some((number, Instant::now()));
                let mut frames = vec![Frame::Ping(number).encode()];
                let (members, is_first) = {
                    let table = inner.table.lock();
                    (table.hello().members, table.is_first_link(&other.name, other.link))
                };
                if told.as_ref() != Some(&members) {
                    frames.push(Frame::Members(members.clone()).encode());
                    told = Some(members);
                }
                if Instant::now() >= full_at && is_first {
                    full_at = Instant::now() + options.push_pull_interval;
                    other.outbox.push_all();
                }
                Work::Frames(frames)
            }
        };
        match work {
            Work::Frames(frames) => write(stream, &frames, options.tcp_timeout).await?,
            Work::Full => write_all(inner, stream).await?,
            Work::Last(last) => {
                write(stream, last.as_slice(), options.tcp_timeout).await?;
                // Some of it may be lost where the process ends right after; the other side sees the end all the same.
                let _ = timeout(options.tcp_timeout, stream.shutdown()).await;
                return Ok(());
            }
        }
    }
}

async fn write(stream: &mut (impl AsyncWrite + Unpin), frames: &[Bytes], limit: Duration) -> io::Result<()> {
    let writing = async {
        for frame in frames {
            stream.write_all(frame).await?;
        }
        stream.flush().await
    };
    let late = || io::Error::new(io::ErrorKind::TimedOut, format!("it takes nothing for {limit:?}"));
    timeout(limit, writing).await.unwrap_or_else(|_| Err(late()))
}

// Everything this member has, in pieces.
async fn write_all(inner: &Arc<Inner>, stream: &mut (impl AsyncWrite + Unpin)) -> io::Result<()> {
    let limit = inner.options.tcp_timeout;
    for (key, state) in inner.channels() {
        let state = state.clone();
        // Encoding thousands of messages is no work for a thread that serves sockets.
        let messages = tokio::task::spawn_blocking(move || state.snapshot()).await;
        let messages = messages.map_err(io::Error::other)?;
        for frame in batches(key, true, &messages) {
            inner.sent(true, frame.len());
            write(stream, &[frame], limit).await?;
        }
    }
    write(stream, &[Frame::Synced.encode()], limit).await
}

/// Messages as frames of some size. What is too large for any is left out.
pub(crate) fn batches<'a, M: AsRef<[u8]>>(
    key: &'a str,
    is_full: bool,
    messages: &'a [M],
) -> impl Iterator<Item = Bytes> + use<'a, M> {
    let mut rest = messages;
    std::iter::from_fn(move || {
        let (mut some, mut bytes) = (Vec::new(), 0);
        while let Some((message, behind)) = rest.split_first() {
            let length = message.as_ref().len();
            if length > wire::largest_message(key) {
                warn!(key, length, "a message is too large for the other members");
                rest = behind;
                continue;
            }
            if bytes > 0 && bytes + length > BATCH_BYTES {
                break;
            }
            bytes += length + 1;
            some.push(message);
            rest = behind;
        }
        (!some.is_empty()).then(|| wire::batch(key, is_full, &some))
    })
}

// The next frame; nothing at the stream's end.
async fn read_frame(stream: &mut (impl AsyncRead + Unpin), largest: usize) -> io::Result<Option<Frame>> {
    let mut head = [0; HEAD];
    let first = stream.read(&mut head).await?;
    if first == 0 {
        return Ok(None);
    }
    if let Some(rest) = head.get_mut(first..) {
        stream.read_exact(rest).await?;
    }
    let length = usize::try_from(u32::from_le_bytes(head)).unwrap_or(usize::MAX);
    if length > largest {
        return Err(invalid(&format!(
            "a frame of {length} bytes (at most {largest} are allowed)"
        )));
    }
    // What was announced is believed only as it comes.
    let mut body = BytesMut::with_capacity(length.min(STEP));
    while body.len() < length {
        let step = (length - body.len()).min(STEP);
        body.reserve(step);
        let mut part = (&mut *stream).take(step as u64);
        if part.read_buf(&mut body).await? == 0 {
            // As a length it would be 200 KB, of which nothing comes.
            return Err(match head {
                TLS_REFUSAL => invalid("it speaks TLS, and this member has no --cluster.tls-config"),
                _ => io::ErrorKind::UnexpectedEof.into(),
            });
        }
    }
    let frame = Frame::decode(body.freeze());
    frame.map(Some).map_err(|error| invalid(&error.to_string()))
}

/// Logs how a conversation ended.
pub(crate) fn tell(name: &str, end: &End) {
    match end {
        End::Left => info!(peer = name, "peer left the cluster"),
        End::Broken(reason) => warn!(peer = name, reason, "connection to a peer broke off"),
        End::Itself | End::Closed => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_whole_state_goes_in_pieces() {
        let messages: Vec<Vec<u8>> = (0..10).map(|n| vec![n; 100_000]).collect();
        let frames: Vec<Bytes> = batches("k", true, &messages).collect();
        assert!(frames.iter().all(|f| f.len() <= BATCH_BYTES), "{}", frames.len());
        let mut seen = Vec::new();
        for frame in frames {
            match Frame::decode(frame.slice(HEAD..)) {
                Ok(Frame::Batch {
                    messages,
                    is_full: true,
                    ..
                }) => seen.extend(messages),
                other => panic!("{other:?}"),
            }
        }
        assert_eq!(seen, messages);
        assert_eq!(batches("k", true, &[vec![0; LARGEST_FRAME]]).count(), 0, "left out");
        assert_eq!(batches::<Vec<u8>>("k", true, &[]).count(), 0);
    }

    #[tokio::test]
    async fn a_length_that_lies_costs_nothing() {
        let mut bytes: &[u8] = &[0xff, 0xff, 0xff, 0x7f, 1];
        let error = read_frame(&mut bytes, LARGEST_FRAME).await.unwrap_err().to_string();
        assert_eq!(error, "a frame of 2147483647 bytes (at most 16777216 are allowed)");
        let mut bytes: &[u8] = &[0, 0, 0, 1, 1];
        let error = read_frame(&mut bytes, LARGEST_FRAME).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof);
        assert!(matches!(read_frame(&mut &[][..], 10).await, Ok(None)));
        let mut refused: &[u8] = &[0x15, 3, 3, 0, 2, 2, 40];
        let error = read_frame(&mut refused, LARGEST_HELLO).await.unwrap_err().to_string();
        assert!(error.contains("--cluster.tls-config"), "{error}");
    }
}
