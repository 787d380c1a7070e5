//! The subject alternative names of a certificate, as `client_allowed_sans` compares them.
//!
//! webpki checks certificates and gives out their DNS names and URIs, not their addresses. A library of X.509 would bring a
//! dozen crates for the one list that is read here, from a certificate whose signature was checked by then.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

// id-ce-subjectAltName, 2.5.29.17
const SUBJECT_ALT_NAME: &[u8] = &[0x55, 0x1d, 0x11];

const SEQUENCE: u8 = 0x30;
const OBJECT_IDENTIFIER: u8 = 0x06;
const OCTET_STRING: u8 = 0x04;
// In TBSCertificate: [3] EXPLICIT.
const EXTENSIONS: u8 = 0xa3;
// In GeneralName: [1], [2], [6] and [7] IMPLICIT.
const EMAIL: u8 = 0x81;
const DNS: u8 = 0x82;
const URI: u8 = 0x86;
const IP: u8 = 0x87;

/// DNS names, e-mail addresses, URIs and IP addresses of a certificate in DER, in its order; other kinds are left out, as
/// Go's library does. `None` where it is no certificate or one that breaks off.
pub(crate) fn subject_alt_names(certificate: &[u8]) -> Option<Vec<String>> {
    let (certificate, _) = expect(SEQUENCE, certificate)?;
    let (mut tbs, _) = expect(SEQUENCE, certificate)?;
    let mut names = Vec::new();
    while !tbs.is_empty() {
        let (tag, content, rest) = element(tbs)?;
        tbs = rest;
        if tag != EXTENSIONS {
            continue;
        }
        let (mut extensions, _) = expect(SEQUENCE, content)?;
        while !extensions.is_empty() {
            let (extension, rest) = expect(SEQUENCE, extensions)?;
            extensions = rest;
            let (id, mut fields) = expect(OBJECT_IDENTIFIER, extension)?;
            if id != SUBJECT_ALT_NAME {
                continue;
            }
            // Before the value may stand whether the extension is critical.
            loop {
                let (tag, content, rest) = element(fields)?;
                if tag == OCTET_STRING {
                    general_names(content, &mut names)?;
                    break;
                }
                fields = rest;
            }
        }
    }
    Some(names)
}

fn general_names(value: &[u8], names: &mut Vec<String>) -> Option<()> {
    let (mut list, _) = expect(SEQUENCE, value)?;
    while !list.is_empty() {
        let (tag, content, rest) = element(list)?;
        list = rest;
        match tag {
            EMAIL | DNS | URI if content.is_ascii() => names.push(String::from_utf8_lossy(content).into_owned()),
            IP => names.push(address(content)?.to_string()),
            _ => {}
        }
    }
    Some(())
}

fn address(bytes: &[u8]) -> Option<IpAddr> {
    if let Ok(v4) = <[u8; 4]>::try_from(bytes) {
        return Some(Ipv4Addr::from(v4).into());
    }
    // As Go prints it: the mapped form of an IPv4 address is that address.
    let v6 = Ipv6Addr::from(<[u8; 16]>::try_from(bytes).ok()?);
    Some(IpAddr::from(v6).to_canonical())
}

fn expect(tag: u8, bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (found, content, rest) = element(bytes)?;
    (found == tag).then_some((content, rest))
}

// Tag, content and what follows of one element in DER; lengths of more than four bytes and long tags do not occur here.
fn element(bytes: &[u8]) -> Option<(u8, &[u8], &[u8])> {
    let (&tag, rest) = bytes.split_first()?;
    let (&length, rest) = rest.split_first()?;
    let (length, rest) = match length {
        0..=0x7f => (usize::from(length), rest),
        0x81..=0x84 => {
            let (bytes, rest) = rest.split_at_checked(usize::from(length & 0x7f))?;
            let length = bytes.iter().fold(0_u64, |sum, byte| sum << 8 | u64::from(*byte));
            (usize::try_from(length).ok()?, rest)
        }
        _ => return None,
    };
    let (content, rest) = rest.split_at_checked(length)?;
    Some((tag, content, rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn der(tag: u8, content: &[u8]) -> Vec<u8> {
        let mut bytes = vec![tag];
        match content.len() {
            short @ 0..=0x7f => bytes.push(short as u8),
            long => bytes.extend([0x82, (long >> 8) as u8, long as u8]),
        }
        bytes.extend_from_slice(content);
        bytes
    }

    // As far as this is read: a serial number, and extensions of which one is of another kind.
    fn certificate(names: &[(u8, &[u8])], is_critical: bool) -> Vec<u8> {
        let list: Vec<u8> = names.iter().flat_map(|(tag, content)| der(*tag, content)).collect();
        let value = der(OCTET_STRING, &der(SEQUENCE, &list));
        let critical = if is_critical { der(0x01, &[0xff]) } else { Vec::new() };
        let san = der(
            SEQUENCE,
            &[der(OBJECT_IDENTIFIER, SUBJECT_ALT_NAME), critical, value].concat(),
        );
        let usage = [
            der(OBJECT_IDENTIFIER, &[0x55, 0x1d, 0x0f]),
            der(OCTET_STRING, &[3, 2, 5, 160]),
        ]
        .concat();
        let extensions = der(SEQUENCE, &[der(SEQUENCE, &usage), san].concat());
        let tbs = der(SEQUENCE, &[der(0x02, &[1]), der(EXTENSIONS, &extensions)].concat());
        der(SEQUENCE, &[tbs, der(SEQUENCE, &[]), der(0x03, &[0])].concat())
    }

    #[test]
    fn names_of_all_kinds_are_found() {
        let long = format!("{}.example", "x".repeat(200));
        let names: [(u8, &[u8]); 8] = [
            (DNS, b"a.example"),
            (EMAIL, b"who@a.example"),
            (URI, b"spiffe://a.example/x"),
            (IP, &[127, 0, 0, 1]),
            (IP, &[0; 16]),
            (0x88, &[42]),
            (DNS, &[0xff, 0xfe]),
            (DNS, long.as_bytes()),
        ];
        for is_critical in [false, true] {
            assert_eq!(
                subject_alt_names(&certificate(&names, is_critical)).unwrap(),
                [
                    "a.example",
                    "who@a.example",
                    "spiffe://a.example/x",
                    "127.0.0.1",
                    "::",
                    &long
                ]
            );
        }
        let mapped = Ipv4Addr::new(10, 0, 0, 7).to_ipv6_mapped().octets();
        assert_eq!(
            subject_alt_names(&certificate(&[(IP, &mapped)], false)).unwrap(),
            ["10.0.0.7"]
        );
        assert!(subject_alt_names(&certificate(&[], false)).unwrap().is_empty());
        assert_eq!(subject_alt_names(&certificate(&[(IP, &[1, 2, 3])], false)), None);
    }

    #[test]
    fn no_bytes_make_it_panic() {
        let whole = certificate(&[(DNS, b"a.example"), (IP, &[127, 0, 0, 1])], true);
        for end in 0..whole.len() {
            assert_eq!(subject_alt_names(&whole[..end]), None, "cut at {end}");
        }
        cupola_testkit::fuzz(5_000, &[whole], &[], |bytes| {
            let _ = subject_alt_names(bytes);
        });
    }
}
