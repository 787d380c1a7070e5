//! The kernel's routing socket, as far as network devices go.
//!
//! One question answers what `PROC/net/dev` tells and most of what the files below `SYS/class/net` do, twenty of them
//! for each device.

use std::time::Duration;

use rustix::io::Errno;
use rustix::net::sockopt::{Timeout, set_socket_timeout};
use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, netlink};

use crate::error::CollectError;

/// A network device. What the kernel left out is `None`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Link {
    pub(crate) name: String,
    pub(crate) index: u32,
    // ARPHRD_*.
    pub(crate) kind: u16,
    // IFF_*, with the bits of the moment.
    pub(crate) flags: u32,
    pub(crate) address: Vec<u8>,
    pub(crate) broadcast: Vec<u8>,
    pub(crate) alias: String,
    pub(crate) operstate: Option<u8>,
    // IFLA_* and value, of the attributes that are a plain number.
    numbers: Vec<(u16, u32)>,
    // In the order of the kernel's `rtnl_link_stats64`.
    counters: Vec<u64>,
}

impl Link {
    /// The counter at `index`; 0 where the kernel is too old to have it.
    pub(crate) fn counter(&self, index: usize) -> u64 {
        self.counters.get(index).copied().unwrap_or(0)
    }

    /// The number that the attribute `ifla` holds.
    pub(crate) fn number(&self, ifla: u16) -> Option<u32> {
        self.numbers
            .iter()
            .find(|(kind, _)| *kind == ifla)
            .map(|(_, value)| *value)
    }
}

/// Attributes of a link that are a plain number.
pub(crate) mod ifla {
    pub(crate) const MTU: u16 = 4;
    pub(crate) const LINK: u16 = 5;
    pub(crate) const TXQLEN: u16 = 13;
    pub(crate) const LINKMODE: u16 = 17;
    pub(crate) const GROUP: u16 = 27;
    pub(crate) const CARRIER: u16 = 33;
    pub(crate) const CARRIER_CHANGES: u16 = 35;
    pub(crate) const CARRIER_UP_COUNT: u16 = 47;
    pub(crate) const CARRIER_DOWN_COUNT: u16 = 48;
}

const RTM_NEWLINK: u16 = 16;
const RTM_GETLINK: u16 = 18;
const NLM_F_REQUEST_DUMP: u16 = 0x301;
const NLMSG_ERROR: u16 = 2;
const NLMSG_DONE: u16 = 3;
const IFLA_ADDRESS: u16 = 1;
const IFLA_BROADCAST: u16 = 2;
const IFLA_IFNAME: u16 = 3;
const IFLA_OPERSTATE: u16 = 16;
const IFLA_IFALIAS: u16 = 20;
const IFLA_STATS64: u16 = 23;
const HEADER: usize = 16;
const IFINFO: usize = 16;

/// All devices of this network namespace.
pub(crate) fn links() -> Result<Vec<Link>, CollectError> {
    let fail = |what: &'static str| move |source: Errno| CollectError::Netlink { what, source };
    // No protocol is protocol 0, NETLINK_ROUTE.
    let flags = SocketFlags::CLOEXEC;
    let socket = rustix::net::socket_with(AddressFamily::NETLINK, SocketType::RAW, flags, None)
        .map_err(fail("cannot open a socket"))?;
    // The kernel answers at once; should it ever not, the scrape goes on all the same.
    set_socket_timeout(&socket, Timeout::Recv, Some(Duration::from_secs(2))).map_err(fail("cannot set a timeout"))?;
    let kernel = netlink::SocketAddrNetlink::new(0, 0);
    rustix::net::sendto(&socket, &question(), SendFlags::empty(), &kernel).map_err(fail("cannot ask"))?;

    let mut links = Vec::new();
    let mut buf = vec![0; 64 << 10];
    loop {
        let (len, _) = rustix::net::recv(&socket, buf.as_mut_slice(), RecvFlags::empty()).map_err(fail("no answer"))?;
        match messages(buf.get(..len).unwrap_or(&[]), &mut links) {
            Answer::More if len > 0 => {}
            Answer::More | Answer::Done => return Ok(links),
            Answer::Error(code) => {
                let source = Errno::from_raw_os_error(code);
                return Err(CollectError::Netlink {
                    what: "the kernel refused to list the links",
                    source,
                });
            }
        }
    }
}

fn question() -> [u8; HEADER + IFINFO] {
    let mut message = [0; HEADER + IFINFO];
    let fields: [&[u8]; 4] = [
        &((HEADER + IFINFO) as u32).to_ne_bytes(),
        &RTM_GETLINK.to_ne_bytes(),
        &NLM_F_REQUEST_DUMP.to_ne_bytes(),
        &1_u32.to_ne_bytes(),
    ];
    for (slot, byte) in message.iter_mut().zip(fields.into_iter().flatten()) {
        *slot = *byte;
    }
    message
}

#[derive(Debug, PartialEq, Eq)]
enum Answer {
    More,
    Done,
    Error(i32),
}

// Messages and attributes have a length before them that counts itself, and are padded to four bytes.
fn split(buf: &[u8], len: usize, header: usize) -> Option<(&[u8], &[u8])> {
    let body = buf.get(header..len)?;
    let next = len.checked_next_multiple_of(4)?;
    Some((body, buf.get(next..).unwrap_or(&[])))
}

fn u16_at(buf: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_ne_bytes(*buf.get(at..)?.first_chunk()?))
}

fn u32_at(buf: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_ne_bytes(*buf.get(at..)?.first_chunk()?))
}

fn messages(mut buf: &[u8], links: &mut Vec<Link>) -> Answer {
    while let Some(len) = buf.first_chunk().map(|bytes| u32::from_ne_bytes(*bytes)) {
        let Some(kind) = u16_at(buf, 4) else { break };
        let Some((body, rest)) = split(buf, len as usize, HEADER) else {
            break;
        };
        match kind {
            NLMSG_DONE => return Answer::Done,
            NLMSG_ERROR => {
                let code = body.first_chunk().map_or(0, |bytes| i32::from_ne_bytes(*bytes));
                return Answer::Error(code.saturating_neg());
            }
            RTM_NEWLINK => links.extend(link(body)),
            _ => {}
        }
        buf = rest;
    }
    Answer::More
}

// An `ifinfomsg` and the attributes behind it.
fn link(body: &[u8]) -> Option<Link> {
    let mut link = Link {
        kind: u16_at(body, 2)?,
        index: u32_at(body, 4)?,
        flags: u32_at(body, 8)?,
        ..Link::default()
    };
    let mut attributes = body.get(IFINFO..)?;
    while let (Some(len), Some(kind)) = (u16_at(attributes, 0), u16_at(attributes, 2)) {
        let Some((value, rest)) = split(attributes, usize::from(len), 4) else {
            break;
        };
        let text = || String::from_utf8_lossy(value.split(|b| *b == 0).next().unwrap_or(&[])).into_owned();
        match kind & 0x3fff {
            IFLA_IFNAME => link.name = text(),
            IFLA_IFALIAS => link.alias = text(),
            IFLA_ADDRESS => link.address = value.to_vec(),
            IFLA_BROADCAST => link.broadcast = value.to_vec(),
            IFLA_OPERSTATE => link.operstate = value.first().copied(),
            IFLA_STATS64 => {
                link.counters = value
                    .as_chunks::<8>()
                    .0
                    .iter()
                    .map(|bytes| u64::from_ne_bytes(*bytes))
                    .collect();
            }
            kind @ (ifla::LINKMODE | ifla::CARRIER) => {
                link.numbers.extend(value.first().map(|byte| (kind, u32::from(*byte))));
            }
            kind @ (ifla::MTU
            | ifla::LINK
            | ifla::TXQLEN
            | ifla::GROUP
            | ifla::CARRIER_CHANGES
            | ifla::CARRIER_UP_COUNT
            | ifla::CARRIER_DOWN_COUNT) => link.numbers.extend(u32_at(value, 0).map(|value| (kind, value))),
            _ => {}
        }
        attributes = rest;
    }
    (!link.name.is_empty()).then_some(link)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn attribute(kind: u16, body: &[u8]) -> Vec<u8> {
        let mut out = ((body.len() + 4) as u16).to_ne_bytes().to_vec();
        out.extend(kind.to_ne_bytes());
        out.extend(body);
        out.resize(out.len().next_multiple_of(4), 0);
        out
    }

    fn message(kind: u16, body: &[u8]) -> Vec<u8> {
        let mut out = ((body.len() + HEADER) as u32).to_ne_bytes().to_vec();
        out.extend(kind.to_ne_bytes());
        out.extend([0; 10]);
        out.extend(body);
        out.resize(out.len().next_multiple_of(4), 0);
        out
    }

    #[test]
    fn links_are_read_out_of_their_messages() {
        let mut body = vec![0; IFINFO];
        body[4] = 5_u32.to_ne_bytes()[0];
        body.extend(attribute(IFLA_IFNAME, b"eth0\0"));
        body.extend(attribute(99, b"x"));
        body.extend(attribute(ifla::MTU, &1500_u32.to_ne_bytes()));
        body.extend(attribute(ifla::CARRIER, &[1]));
        body.extend(attribute(IFLA_ADDRESS, &[1, 2]));
        body.extend(attribute(IFLA_STATS64, &[7_u64, 8].map(u64::to_ne_bytes).concat()));
        let mut buf = message(RTM_NEWLINK, &body);
        let mut links = Vec::new();
        assert_eq!(messages(&buf, &mut links), Answer::More);
        let expected = Link {
            name: "eth0".to_owned(),
            index: u32_at(&body, 4).unwrap(),
            counters: vec![7, 8],
            numbers: vec![(ifla::MTU, 1500), (ifla::CARRIER, 1)],
            address: vec![1, 2],
            ..Link::default()
        };
        assert_eq!(links, [expected]);
        assert_eq!((links[0].counter(1), links[0].counter(23)), (8, 0));
        buf.extend(message(NLMSG_DONE, &[0; 4]));
        assert_eq!(messages(&buf, &mut links), Answer::Done);
        assert_eq!(
            messages(&message(NLMSG_ERROR, &(-1_i32).to_ne_bytes()), &mut links),
            Answer::Error(1)
        );
    }

    #[test]
    fn no_bytes_make_it_panic() {
        let corpus = [message(RTM_NEWLINK, &attribute(IFLA_IFNAME, b"lo\0").repeat(9))];
        cupola_testkit::fuzz(5000, &corpus, &[], |input| {
            messages(input, &mut Vec::new());
        });
    }
}
