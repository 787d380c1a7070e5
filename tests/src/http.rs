//! A small HTTP/1.1 client: one request, one connection. Our own, so that the server's strictness is not hidden by a
//! library's leniency.

use std::io::{self, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use serde_json::Value;

/// Names in lower case, and values.
pub(crate) type Headers = Vec<(String, String)>;

const TIMEOUT: Duration = Duration::from_secs(20);

/// An answer.
#[derive(Debug, Clone)]
pub struct Response {
    /// The status code.
    pub status: u16,
    /// Names in lower case.
    pub headers: Vec<(String, String)>,
    /// The body, without chunk framing.
    pub body: Vec<u8>,
}

impl Response {
    /// The first header of that name (lower case), or nothing.
    #[must_use]
    pub fn header(&self, name: &str) -> &str {
        self.headers.iter().find(|(n, _)| n == name).map_or("", |(_, v)| v)
    }

    /// The body as text.
    #[must_use]
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The body as JSON.
    ///
    /// # Panics
    /// Where it is none.
    #[track_caller]
    #[must_use]
    pub fn json(&self) -> Value {
        match serde_json::from_slice(&self.body) {
            Ok(value) => value,
            Err(error) => panic!("status {}, no JSON ({error}): {}", self.status, self.text()),
        }
    }
}

/// GET of a path, query included.
///
/// # Errors
/// Where there is no connection or no whole answer.
pub fn get(address: SocketAddr, path: &str) -> io::Result<Response> {
    request(address, "GET", path, &[], b"")
}

/// Any request. `Host` is the address unless `headers` has one.
///
/// # Errors
/// Where there is no connection or no whole answer.
pub fn request(
    address: SocketAddr,
    method: &str,
    path: &str,
    headers: &[(&str, &str)],
    body: &[u8],
) -> io::Result<Response> {
    let mut stream = TcpStream::connect_timeout(&address, TIMEOUT)?;
    stream.set_read_timeout(Some(TIMEOUT))?;
    stream.set_write_timeout(Some(TIMEOUT))?;
    let mut head = format!("{method} {path} HTTP/1.1\r\nConnection: close\r\n");
    if !headers.iter().any(|(name, _)| name.eq_ignore_ascii_case("host")) {
        head.push_str(&format!("Host: {address}\r\n"));
    }
    if !body.is_empty() || method == "POST" {
        head.push_str(&format!("Content-Length: {}\r\n", body.len()));
    }
    for (name, value) in headers {
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    head.push_str("\r\n");
    stream.write_all(head.as_bytes())?;
    stream.write_all(body)?;
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes)?;
    parse(&bytes, method == "HEAD").ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "no whole HTTP answer"))
}

/// Splits head lines from the rest at the empty line; names come in lower case.
pub(crate) fn parse_head(bytes: &[u8]) -> Option<(String, Headers, usize)> {
    let end = bytes.windows(4).position(|w| w == b"\r\n\r\n")?;
    let head = std::str::from_utf8(&bytes[..end]).ok()?;
    let mut lines = head.split("\r\n");
    let first = lines.next()?.to_owned();
    let headers = lines.map(|line| {
        line.split_once(':')
            .map(|(n, v)| (n.to_ascii_lowercase(), v.trim().to_owned()))
    });
    Some((first, headers.collect::<Option<_>>()?, end + 4))
}

fn parse(bytes: &[u8], is_head: bool) -> Option<Response> {
    let (first, headers, begin) = parse_head(bytes)?;
    let status = first.strip_prefix("HTTP/1.1 ")?.get(..3)?.parse().ok()?;
    let mut response = Response {
        status,
        headers,
        body: bytes[begin..].to_vec(),
    };
    if is_head {
        response.body.is_empty().then_some(())?;
    } else if response.header("transfer-encoding") == "chunked" {
        response.body = dechunk(&response.body)?;
    } else if let Ok(length) = response.header("content-length").parse::<usize>() {
        (response.body.len() == length).then_some(())?;
    }
    Some(response)
}

fn dechunk(mut bytes: &[u8]) -> Option<Vec<u8>> {
    let mut body = Vec::new();
    loop {
        let end = bytes.windows(2).position(|w| w == b"\r\n")?;
        let size = std::str::from_utf8(&bytes[..end]).ok()?.split(';').next()?;
        let size = usize::from_str_radix(size.trim(), 16).ok()?;
        bytes = &bytes[end + 2..];
        if size == 0 {
            return Some(body);
        }
        body.extend_from_slice(bytes.get(..size)?);
        bytes = bytes.get(size..)?.strip_prefix(b"\r\n")?;
    }
}

/// Percent-encodes everything but unreserved characters, for a query parameter.
#[must_use]
pub fn url_encode(text: &str) -> String {
    let mut out = String::new();
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-_.~".contains(&byte) {
            out.push(char::from(byte));
        } else {
            out.push_str(&format!("%{byte:02X}"));
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chunked_answers_are_joined() {
        let answer = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2;x=y\r\nde\r\n0\r\n\r\n";
        assert_eq!(parse(answer, false).unwrap().body, b"abcde");
    }

    #[test]
    fn answers_cut_short_are_refused() {
        for answer in [
            "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nab",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n",
            "HTTP/1.1 200 OK\r\nContent-Le",
            "",
        ] {
            assert!(parse(answer.as_bytes(), false).is_none(), "{answer:?}");
        }
    }

    #[test]
    fn query_parameters_are_encoded() {
        assert_eq!(url_encode("a{b=\"c\"}+1"), "a%7Bb%3D%22c%22%7D%2B1");
    }
}
