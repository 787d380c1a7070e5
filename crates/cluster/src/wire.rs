//! What members say to each other, as bytes (`docs/format/cluster.md`).

use std::net::SocketAddr;

use bytes::{BufMut as _, Bytes, BytesMut};
use thiserror::Error;

/// How every connection begins: the protocol and its version.
pub(crate) const MAGIC: &[u8; 8] = b"CUPALCL1";
/// The most that a frame may hold behind its length.
pub(crate) const LARGEST_FRAME: usize = 16 << 20;
/// The same of one that comes from somebody who has not said who he is.
pub(crate) const LARGEST_HELLO: usize = 256 << 10;
/// The most members that one tells of.
pub(crate) const MOST_MEMBERS: usize = 256;
/// The longest name or label of a member, in bytes.
pub const LONGEST_NAME: usize = 256;
/// A frame's length.
pub(crate) const HEAD: usize = 4;

const HELLO: u8 = 1;
const REFUSE: u8 = 2;
const BATCH: u8 = 3;
const SYNCED: u8 = 4;
const PING: u8 = 5;
const PONG: u8 = 6;
const MEMBERS: u8 = 7;
const BYE: u8 = 8;

/// Why bytes are no frame.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub(crate) enum WireError {
    #[error("a frame ends in the middle of {0}")]
    Short(&'static str),
    #[error("{0} more bytes than a frame of kind {1} has")]
    Rest(usize, u8),
    #[error("{0} is not UTF-8")]
    Text(&'static str),
    #[error("a member's address is {0:?}, not IP:PORT")]
    Address(String),
    #[error("a member's name of {0} bytes (1 to {LONGEST_NAME} are allowed)")]
    Name(usize),
    #[error("{0} members (at most {MOST_MEMBERS} are allowed)")]
    Members(usize),
}

/// A member and where it can be reached.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Peer {
    pub name: String,
    pub address: SocketAddr,
}

/// Who speaks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Hello {
    /// `--cluster.label`; only members of the same label talk to each other.
    pub label: String,
    /// Different in every process, also of the same name.
    pub instance: u64,
    /// An address whose IP is unspecified is that from which the speaker is seen.
    pub own: Peer,
    /// The members that it knows to be there, without itself.
    pub members: Vec<Peer>,
}

/// One thing said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Frame {
    Hello(Hello),
    /// No conversation, and why.
    Refuse(String),
    /// State of one key; `is_full` where it is part of everything.
    Batch {
        key: String,
        is_full: bool,
        messages: Vec<Bytes>,
    },
    /// Everything has been sent.
    Synced,
    Ping(u64),
    /// The answer to the ping of that number.
    Pong(u64),
    /// The members that are there.
    Members(Vec<Peer>),
    /// The speaker leaves for good.
    Bye,
    /// A kind of a newer version; passed over.
    Unknown(u8),
}

/// A batch as it goes over the wire. The caller keeps `messages` below [`LARGEST_FRAME`].
pub(crate) fn batch<M: AsRef<[u8]>>(key: &str, is_full: bool, messages: &[M]) -> Bytes {
    let size: usize = messages.iter().map(|m| m.as_ref().len() + 4).sum();
    framed(BATCH, size + key.len() + 3, |out| {
        text(out, key);
        out.put_u8(u8::from(is_full));
        for message in messages {
            let message = message.as_ref();
            out.put_u32_le(u32::try_from(message.len()).unwrap_or(u32::MAX));
            out.put_slice(message);
        }
    })
}

/// What one message may hold at most, to go into a batch of `key`.
pub(crate) fn largest_message(key: &str) -> usize {
    LARGEST_FRAME.saturating_sub(key.len() + 8)
}

impl Frame {
    /// The frame with its length.
    pub(crate) fn encode(&self) -> Bytes {
        match self {
            Self::Hello(hello) => framed(HELLO, 256, |out| {
                text(out, &hello.label);
                out.put_u64_le(hello.instance);
                peer(out, &hello.own);
                peers(out, &hello.members);
            }),
            Self::Refuse(why) => framed(REFUSE, why.len() + 2, |out| text(out, why)),
            Self::Batch { key, is_full, messages } => batch(key, *is_full, messages),
            Self::Synced => framed(SYNCED, 0, |_| {}),
            Self::Ping(number) => framed(PING, 8, |out| out.put_u64_le(*number)),
            Self::Pong(number) => framed(PONG, 8, |out| out.put_u64_le(*number)),
            Self::Members(members) => framed(MEMBERS, 64, |out| peers(out, members)),
            Self::Bye => framed(BYE, 0, |_| {}),
            Self::Unknown(kind) => framed(*kind, 0, |_| {}),
        }
    }

    /// Reads what stands behind a frame's length.
    pub(crate) fn decode(bytes: Bytes) -> Result<Self, WireError> {
        let mut rest = Reader(bytes);
        let kind = rest.byte("its kind")?;
        let frame = match kind {
            HELLO => Self::Hello(Hello {
                label: rest.text("a label")?,
                instance: rest.number("an instance")?,
                own: rest.peer()?,
                members: rest.peers()?,
            }),
            REFUSE => Self::Refuse(rest.text("a refusal")?),
            BATCH => {
                let key = rest.text("a key")?;
                let is_full = rest.byte("a mark")? != 0;
                let mut messages = Vec::new();
                while !rest.0.is_empty() {
                    messages.push(rest.message()?);
                }
                Self::Batch { key, is_full, messages }
            }
            SYNCED => Self::Synced,
            PING => Self::Ping(rest.number("a ping")?),
            PONG => Self::Pong(rest.number("a pong")?),
            MEMBERS => Self::Members(rest.peers()?),
            BYE => Self::Bye,
            other => return Ok(Self::Unknown(other)),
        };
        match rest.0.len() {
            0 => Ok(frame),
            more => Err(WireError::Rest(more, kind)),
        }
    }
}

fn framed(kind: u8, size: usize, write: impl FnOnce(&mut BytesMut)) -> Bytes {
    let mut out = BytesMut::with_capacity(size + HEAD + 1);
    out.put_u32_le(0);
    out.put_u8(kind);
    write(&mut out);
    let length = u32::try_from(out.len() - HEAD).unwrap_or(u32::MAX);
    if let Some(head) = out.first_chunk_mut::<HEAD>() {
        *head = length.to_le_bytes();
    }
    out.freeze()
}

// Two bytes of length and the text, which is cut where it is longer.
fn text(out: &mut BytesMut, text: &str) {
    let mut end = text.len().min(usize::from(u16::MAX));
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    out.put_u16_le(end as u16);
    out.put_slice(text.get(..end).unwrap_or_default().as_bytes());
}

fn peer(out: &mut BytesMut, peer: &Peer) {
    text(out, &peer.name);
    text(out, &peer.address.to_string());
}

fn peers(out: &mut BytesMut, all: &[Peer]) {
    let some = all.get(..MOST_MEMBERS.min(all.len())).unwrap_or_default();
    out.put_u16_le(some.len() as u16);
    for one in some {
        peer(out, one);
    }
}

struct Reader(Bytes);

impl Reader {
    fn take(&mut self, count: usize, what: &'static str) -> Result<Bytes, WireError> {
        if count > self.0.len() {
            return Err(WireError::Short(what));
        }
        Ok(self.0.split_to(count))
    }

    fn array<const N: usize>(&mut self, what: &'static str) -> Result<[u8; N], WireError> {
        let taken = self.take(N, what)?;
        taken.first_chunk::<N>().copied().ok_or(WireError::Short(what))
    }

    fn byte(&mut self, what: &'static str) -> Result<u8, WireError> {
        Ok(u8::from_le_bytes(self.array(what)?))
    }

    fn number(&mut self, what: &'static str) -> Result<u64, WireError> {
        Ok(u64::from_le_bytes(self.array(what)?))
    }

    fn short(&mut self, what: &'static str) -> Result<usize, WireError> {
        Ok(usize::from(u16::from_le_bytes(self.array(what)?)))
    }

    fn text(&mut self, what: &'static str) -> Result<String, WireError> {
        let length = self.short(what)?;
        let bytes = self.take(length, what)?;
        String::from_utf8(bytes.to_vec()).map_err(|_| WireError::Text(what))
    }

    fn message(&mut self) -> Result<Bytes, WireError> {
        let length = u32::from_le_bytes(self.array("a message")?);
        self.take(usize::try_from(length).unwrap_or(usize::MAX), "a message")
    }

    fn peer(&mut self) -> Result<Peer, WireError> {
        let name = self.text("a name")?;
        if name.is_empty() || name.len() > LONGEST_NAME {
            return Err(WireError::Name(name.len()));
        }
        let address = self.text("an address")?;
        let address = address.parse().map_err(|_| WireError::Address(address))?;
        Ok(Peer { name, address })
    }

    fn peers(&mut self) -> Result<Vec<Peer>, WireError> {
        let count = self.short("a number of members")?;
        if count > MOST_MEMBERS {
            return Err(WireError::Members(count));
        }
        (0..count).map(|_| self.peer()).collect()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn decoded(frame: &[u8]) -> Result<Frame, WireError> {
        let (head, body) = frame.split_first_chunk::<HEAD>().unwrap();
        assert_eq!(u32::from_le_bytes(*head) as usize, body.len());
        Frame::decode(Bytes::copy_from_slice(body))
    }

    fn any_peer() -> impl Strategy<Value = Peer> {
        let address = prop_oneof![
            any::<([u8; 4], u16)>().prop_map(SocketAddr::from),
            any::<([u8; 16], u16)>().prop_map(SocketAddr::from)
        ];
        ("\\PC{1,60}", address).prop_map(|(name, address)| Peer { name, address })
    }

    fn any_frame() -> impl Strategy<Value = Frame> {
        let message = || proptest::collection::vec(any::<u8>(), 0..40).prop_map(Bytes::from);
        let members = || proptest::collection::vec(any_peer(), 0..6);
        prop_oneof![
            ("\\PC{0,20}", any::<u64>(), any_peer(), members()).prop_map(|(label, instance, own, members)| {
                Frame::Hello(Hello {
                    label,
                    instance,
                    own,
                    members,
                })
            }),
            "\\PC{0,40}".prop_map(Frame::Refuse),
            ("[a-z]{0,5}", any::<bool>(), proptest::collection::vec(message(), 0..6))
                .prop_map(|(key, is_full, messages)| Frame::Batch { key, is_full, messages }),
            Just(Frame::Synced),
            any::<u64>().prop_map(Frame::Ping),
            any::<u64>().prop_map(Frame::Pong),
            members().prop_map(Frame::Members),
            Just(Frame::Bye),
            (9_u8..).prop_map(Frame::Unknown),
        ]
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]
        #[test]
        fn frames_come_back_as_they_were_sent(frame in any_frame()) {
            prop_assert_eq!(decoded(&frame.encode()), Ok(frame));
        }
    }

    #[test]
    fn no_bytes_make_the_decoder_panic_and_what_it_takes_it_would_say_again() {
        let own = Peer {
            name: "a".to_owned(),
            address: "10.0.0.1:9094".parse().unwrap(),
        };
        let hello = Frame::Hello(Hello {
            label: "l".to_owned(),
            instance: 7,
            own: own.clone(),
            members: vec![own.clone(), own.clone()],
        });
        let batch = Frame::Batch {
            key: "sil".to_owned(),
            is_full: true,
            messages: vec![Bytes::from_static(b"one"), Bytes::new()],
        };
        let frames = [hello, batch, Frame::Ping(3), Frame::Members(vec![own]), Frame::Bye];
        let corpus: Vec<Vec<u8>> = frames.iter().map(|f| f.encode()[HEAD..].to_vec()).collect();
        cupola_testkit::fuzz(20_000, &corpus, &["sil", "[::1]:9094", "\u{1}\u{3}"], |bytes| {
            if let Ok(frame) = Frame::decode(Bytes::copy_from_slice(bytes)) {
                let again = frame.encode();
                let shown = Frame::decode(again.slice(HEAD..));
                assert_eq!(shown, Ok(frame));
            }
        });
    }

    #[test]
    fn what_is_wrong_is_told() {
        let read = |bytes: &[u8]| Frame::decode(Bytes::copy_from_slice(bytes)).unwrap_err().to_string();
        assert_eq!(read(b""), "a frame ends in the middle of its kind");
        assert_eq!(read(&[PING, 1]), "a frame ends in the middle of a ping");
        assert_eq!(read(&[BYE, 1]), "1 more bytes than a frame of kind 8 has");
        assert_eq!(
            read(&[BATCH, 0, 0, 0, 9, 0, 0, 0, 1]),
            "a frame ends in the middle of a message"
        );
        assert_eq!(
            read(&[MEMBERS, 1, 0, 1, 0, b'a', 1, 0, b'x']),
            "a member's address is \"x\", not IP:PORT"
        );
        assert_eq!(read(&[MEMBERS, 255, 255]), "65535 members (at most 256 are allowed)");
    }
}
