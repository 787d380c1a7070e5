//! The address under which others shall reach this member.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};

use thiserror::Error;

/// Why no address can be told to others.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum AddressError {
    /// What was found is not for a private network.
    #[error(
        "the address that others would be told is public ({0}), and this protocol has no passwords; name one with \
         --cluster.advertise-address, or allow it with --cluster.allow-insecure-public-advertise-address-discovery"
    )]
    Public(IpAddr),
}

/// The address that others are told: `given` (`--cluster.advertise-address`), else where this process listens. Where
/// that is every address, it is the one from which packets leave towards `peer`, or towards the default route, as the
/// system's routes say; nothing is sent for it. Where there is none its IP stays unspecified, and others take the one
/// from which they see this member.
///
/// # Errors
/// [`AddressError::Public`] where an address that nobody named is not private and `allow_public` is false.
pub fn advertised(
    given: Option<SocketAddr>,
    listen: SocketAddr,
    peer: Option<SocketAddr>,
    allow_public: bool,
) -> Result<SocketAddr, AddressError> {
    if let Some(given) = given {
        return Ok(given);
    }
    if !listen.ip().is_unspecified() {
        return Ok(listen);
    }
    // Addresses for documentation: nobody has them, so they take the default route.
    let somewhere = SocketAddr::from((Ipv4Addr::new(192, 0, 2, 1), 9));
    let found = peer.and_then(source_towards).or_else(|| source_towards(somewhere));
    let Some(ip) = found else { return Ok(listen) };
    if !allow_public && !is_private(ip) {
        return Err(AddressError::Public(ip));
    }
    Ok(SocketAddr::new(ip, listen.port()))
}

// Connecting a UDP socket sends nothing; it only chooses a route.
fn source_towards(to: SocketAddr) -> Option<IpAddr> {
    let any: IpAddr = match to {
        SocketAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        SocketAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    };
    let socket = UdpSocket::bind((any, 0)).ok()?;
    socket.connect(to).ok()?;
    let ip = socket.local_addr().ok()?.ip();
    (!ip.is_unspecified()).then_some(ip)
}

// What go-sockaddr, which Alertmanager asks, takes for private: RFC 1918, RFC 6598, RFC 4193; and loopback.
fn is_private(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(ip) => {
            let [a, b, ..] = ip.octets();
            ip.is_private() || ip.is_loopback() || ip.is_link_local() || (a == 100 && b & 0xc0 == 64)
        }
        IpAddr::V6(ip) => ip.is_loopback() || ip.is_unique_local() || ip.is_unicast_link_local(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> SocketAddr {
        text.parse().unwrap()
    }

    #[test]
    fn what_was_named_is_told_and_what_was_not_is_found() {
        let any = at("0.0.0.0:9094");
        assert_eq!(advertised(Some(at("1.2.3.4:5")), any, None, false), Ok(at("1.2.3.4:5")));
        assert_eq!(
            advertised(None, at("1.2.3.4:9094"), None, false),
            Ok(at("1.2.3.4:9094"))
        );
        // Towards a peer on loopback packets leave from loopback.
        let found = advertised(None, any, Some(at("127.0.0.1:1")), false);
        assert_eq!(found, Ok(at("127.0.0.1:9094")));
    }

    #[test]
    fn private_addresses_are_known() {
        for (ip, expected) in [
            ("10.1.2.3", true),
            ("172.31.0.1", true),
            ("172.32.0.1", false),
            ("100.64.0.1", true),
            ("100.128.0.1", false),
            ("8.8.8.8", false),
            ("fd00::1", true),
            ("2001:db8::1", false),
        ] {
            assert_eq!(is_private(ip.parse().unwrap()), expected, "{ip}");
        }
        let error = AddressError::Public("8.8.8.8".parse().unwrap()).to_string();
        assert!(error.contains("--cluster.advertise-address"), "{error}");
    }
}
