//! Ports for programs that must be told one.
//!
//! Binding port 0 and letting go again is not enough: until the program binds it, the kernel may give that port to
//! any outgoing connection or to the next one who asks.

use std::hash::{BuildHasher as _, RandomState};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, UdpSocket};
use std::ops::Range;
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::net::{SocketAddr as UnixAddr, UnixListener};

use parking_lot::Mutex;

/// What this process has taken. A name without a file: the kernel drops it with the process, however that ends.
static TAKEN: Mutex<Vec<UnixListener>> = Mutex::new(Vec::new());

/// A loopback address, free for TCP and UDP, that nobody else who asks here gets while this process lives.
///
/// # Panics
/// Where a thousand ports in a row are taken.
#[must_use]
pub fn free_address() -> SocketAddr {
    let ports = unasked();
    let start = RandomState::new().hash_one(std::process::id());
    let addresses = (0..1000).map(|step| {
        let offset = start.wrapping_add(step) % ports.len() as u64;
        SocketAddr::from((Ipv4Addr::LOCALHOST, ports.start + offset as u16))
    });
    let is_free = |address: &SocketAddr| {
        let Some(name) = take(address.port()) else {
            return false;
        };
        let is_free = TcpListener::bind(address).is_ok() && UdpSocket::bind(address).is_ok();
        if is_free {
            TAKEN.lock().push(name);
        }
        is_free
    };
    let mut free = addresses.filter(is_free);
    free.next().expect("one of a thousand loopback ports is free")
}

fn take(port: u16) -> Option<UnixListener> {
    let name = UnixAddr::from_abstract_name(format!("cupola-test-port-{port}")).ok()?;
    UnixListener::bind_addr(&name).ok()
}

/// The ports below those that the kernel chooses from by itself, where it leaves any.
fn unasked() -> Range<u16> {
    const FIRST: u16 = 10_000;
    let range = std::fs::read_to_string("/proc/sys/net/ipv4/ip_local_port_range").unwrap_or_default();
    let low = range.split_whitespace().next().and_then(|low| low.parse().ok());
    FIRST..low.filter(|low| *low > FIRST + 1000).unwrap_or(32_768)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn nobody_gets_a_port_twice() {
        let taken: HashSet<SocketAddr> = (0..300).map(|_| free_address()).collect();
        assert_eq!(taken.len(), 300);
        for address in taken {
            assert!(take(address.port()).is_none(), "{address} was to be had again");
            assert!(TcpListener::bind(address).is_ok(), "{address} was not free");
        }
    }
}
