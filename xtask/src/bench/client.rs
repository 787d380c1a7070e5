//! A small HTTP/1.1 client on one kept connection, so that what is measured is the server.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::time::Duration;

use anyhow::{Context as _, Result, bail};

// No answer takes longer, or the run is broken.
const TIMEOUT: Duration = Duration::from_mins(1);

pub(crate) struct Client {
    stream: BufReader<TcpStream>,
    port: u16,
}

#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) body: Vec<u8>,
}

impl Client {
    /// Connects to `port` on 127.0.0.1.
    pub(crate) fn connect(port: u16) -> Result<Self> {
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        let stream =
            TcpStream::connect_timeout(&address, TIMEOUT).with_context(|| format!("no server at {address}"))?;
        stream.set_read_timeout(Some(TIMEOUT)).context("cannot set a timeout")?;
        stream.set_nodelay(true).context("cannot set TCP_NODELAY")?;
        Ok(Self {
            stream: BufReader::with_capacity(64 * 1024, stream),
            port,
        })
    }

    /// Sends a GET and reads the whole answer. `path` must be escaped already.
    pub(crate) fn get(&mut self, path: &str) -> Result<Answer> {
        let request = format!("GET {path} HTTP/1.1\r\nHost: 127.0.0.1:{}\r\n\r\n", self.port);
        let answer = self.send(request.as_bytes());
        answer.with_context(|| format!("GET {path} on port {}", self.port))
    }

    /// Sends `body` with POST and reads the whole answer.
    pub(crate) fn post(&mut self, path: &str, body: &[u8]) -> Result<Answer> {
        self.post_with(path, "", body)
    }

    /// Sends a compressed message of remote write, as Prometheus sends it, and reads the answer.
    pub(crate) fn write(&mut self, message: &[u8]) -> Result<Answer> {
        let headers = "Content-Encoding: snappy\r\nContent-Type: application/x-protobuf\r\n\
            X-Prometheus-Remote-Write-Version: 0.1.0\r\n";
        self.post_with("/api/v1/write", headers, message)
    }

    /// Sends `body`, which is JSON, with POST and reads the whole answer.
    pub(crate) fn post_json(&mut self, path: &str, body: &[u8]) -> Result<Answer> {
        self.post_with(path, "Content-Type: application/json\r\n", body)
    }

    // Each of `headers` ends with a line break.
    fn post_with(&mut self, path: &str, headers: &str, body: &[u8]) -> Result<Answer> {
        let (port, length) = (self.port, body.len());
        let head =
            format!("POST {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n{headers}Content-Length: {length}\r\n\r\n");
        let request = [head.as_bytes(), body].concat();
        self.send(&request)
            .with_context(|| format!("POST {path} on port {port}"))
    }

    /// Like [`Self::get`], but an answer other than 200 is an error.
    pub(crate) fn fetch(&mut self, path: &str) -> Result<Vec<u8>> {
        let answer = self.get(path)?;
        if answer.status != 200 {
            let told = String::from_utf8_lossy(&answer.body)
                .chars()
                .take(300)
                .collect::<String>();
            bail!("GET {path} on port {}: status {}: {told}", self.port, answer.status);
        }
        Ok(answer.body)
    }

    fn send(&mut self, request: &[u8]) -> Result<Answer> {
        self.stream.get_mut().write_all(request).context("cannot send")?;
        let status_line = self.line()?;
        let status = status_line.split(' ').nth(1).and_then(|s| s.parse().ok());
        let status = status.with_context(|| format!("no status in {status_line:?}"))?;
        let mut length = 0;
        let mut is_chunked = false;
        loop {
            let line = self.line()?;
            if line.is_empty() {
                break;
            }
            let (name, value) = line.split_once(':').unwrap_or((&line, ""));
            let value = value.trim();
            if name.eq_ignore_ascii_case("content-length") {
                length = value.parse().with_context(|| format!("content length {value:?}"))?;
            } else if name.eq_ignore_ascii_case("transfer-encoding") {
                is_chunked = value.eq_ignore_ascii_case("chunked");
            }
        }
        let mut body = Vec::new();
        if !is_chunked {
            self.read(length, &mut body)?;
            return Ok(Answer { status, body });
        }
        loop {
            let size = self.line()?;
            let size = size.split(';').next().unwrap_or("").trim();
            let size = u64::from_str_radix(size, 16).with_context(|| format!("chunk size {size:?}"))?;
            self.read(size, &mut body)?;
            // The line break behind the chunk, or the empty line that ends the answer.
            self.line()?;
            if size == 0 {
                return Ok(Answer { status, body });
            }
        }
    }

    fn line(&mut self) -> Result<String> {
        let mut line = String::new();
        let read = self.stream.read_line(&mut line).context("no answer")?;
        if read == 0 {
            bail!("the server closed the connection");
        }
        Ok(line.trim_end().to_owned())
    }

    fn read(&mut self, size: u64, into: &mut Vec<u8>) -> Result<()> {
        let read = (&mut self.stream)
            .take(size)
            .read_to_end(into)
            .context("the answer broke off")?;
        if read as u64 != size {
            bail!("the answer broke off after {read} of {size} bytes");
        }
        Ok(())
    }
}

/// Escapes `text` for use in a query string.
pub(crate) fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len() * 2);
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
    use std::net::TcpListener;

    fn answered(raw: &'static str) -> Result<Answer> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        let server = std::thread::spawn(move || {
            let (stream, _) = listener.accept().unwrap();
            let mut reader = BufReader::new(stream);
            let mut line = String::new();
            while line != "\r\n" {
                line.clear();
                reader.read_line(&mut line).unwrap();
            }
            reader.get_mut().write_all(raw.as_bytes()).unwrap();
        });
        let answer = Client::connect(port).and_then(|mut client| client.get("/"));
        server.join().unwrap();
        answer
    }

    #[test]
    fn answers_with_a_length_and_in_chunks() {
        let answer = answered("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nhi").unwrap();
        assert_eq!((answer.status, answer.body.as_slice()), (200, &b"hi"[..]));
        let answer = answered(
            "HTTP/1.1 400 No\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\nb;x=1\r\n0123456789a\r\n0\r\n\r\n",
        );
        let answer = answer.unwrap();
        assert_eq!((answer.status, answer.body.as_slice()), (400, &b"abc0123456789a"[..]));
    }

    #[test]
    fn what_breaks_off_is_an_error() {
        for raw in [
            "",
            "HTTP/1.1 200 OK\r\n",
            "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhi",
            "what\r\n\r\n",
        ] {
            assert!(answered(raw).is_err(), "{raw:?}");
        }
    }

    #[test]
    fn queries_are_escaped() {
        assert_eq!(escape("sum(a{b=\"c\"})"), "sum%28a%7Bb%3D%22c%22%7D%29");
    }
}
