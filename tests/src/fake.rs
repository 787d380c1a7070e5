//! Servers that the binary talks to: scrape targets, receivers, Alertmanagers.

use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use serde_json::Value;

use crate::http::parse_head;

// How long a thread sits in a read before it looks whether it should end.
const READ_FOR: Duration = Duration::from_millis(100);

/// What a fake server got.
#[derive(Debug, Clone)]
pub struct Request {
    /// `GET`, `POST`.
    pub method: String,
    /// With the query.
    pub path: String,
    /// Names in lower case.
    pub headers: Vec<(String, String)>,
    /// The body as it came.
    pub body: Vec<u8>,
}

impl Request {
    /// The first header of that name (lower case), or nothing.
    #[must_use]
    pub fn header(&self, name: &str) -> &str {
        self.headers.iter().find(|(n, _)| n == name).map_or("", |(_, v)| v)
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
            Err(error) => panic!("{} {}: no JSON: {error}", self.method, self.path),
        }
    }
}

/// What a fake server answers.
#[derive(Debug, Clone)]
pub enum Reply {
    /// A status code, a content type and a body.
    Body(u16, &'static str, String),
    /// A status code and further headers, each a whole line.
    Headers(u16, &'static [&'static str]),
    /// The same and a body of JSON.
    Json(u16, &'static [&'static str], &'static str),
    /// Nothing, while the connection stays open.
    Hang,
}

impl Reply {
    /// A status code alone.
    #[must_use]
    pub fn status(code: u16) -> Self {
        Self::Body(code, "text/plain", String::new())
    }
}

/// An HTTP server on a free loopback port that records every request.
#[derive(Debug)]
pub struct FakeServer {
    address: SocketAddr,
    requests: Arc<Mutex<Vec<Request>>>,
    stop: Arc<AtomicBool>,
}

impl FakeServer {
    /// Answers every request with what `reply` says; it is called once per request, also several at once.
    ///
    /// # Panics
    /// Where no port is to be had.
    #[must_use]
    pub fn start(reply: impl Fn(&Request) -> Reply + Send + Sync + 'static) -> Self {
        Self::on(Ipv4Addr::LOCALHOST, reply)
    }

    /// The same on another address of this machine or network namespace.
    ///
    /// # Panics
    /// Where the address has no free port.
    #[must_use]
    pub fn on(address: Ipv4Addr, reply: impl Fn(&Request) -> Reply + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind((address, 0)).expect("the address has a free port");
        let address = listener.local_addr().expect("a bound socket has an address");
        let (requests, stop) = (Arc::new(Mutex::new(Vec::new())), Arc::new(AtomicBool::new(false)));
        let (kept, stopping, reply) = (requests.clone(), stop.clone(), Arc::new(reply));
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                if stopping.load(Ordering::SeqCst) {
                    return;
                }
                let Ok(stream) = stream else { continue };
                let (kept, stopping, reply) = (kept.clone(), stopping.clone(), reply.clone());
                std::thread::spawn(move || serve(stream, &kept, &stopping, &*reply));
            }
        });
        Self {
            address,
            requests,
            stop,
        }
    }

    /// Answers 200 to everything.
    #[must_use]
    pub fn sink() -> Self {
        Self::start(|_| Reply::status(200))
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The URL of a path on it.
    #[must_use]
    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// The requests so far whose path is `path`, oldest first.
    #[must_use]
    pub fn requests(&self, path: &str) -> Vec<Request> {
        self.requests
            .lock()
            .iter()
            .filter(|r| r.path == path)
            .cloned()
            .collect()
    }
}

impl Drop for FakeServer {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::SeqCst);
        // Wakes the accepting thread, so that the port is free again.
        let _ = TcpStream::connect(self.address);
    }
}

fn serve(mut stream: TcpStream, kept: &Mutex<Vec<Request>>, stop: &AtomicBool, reply: &dyn Fn(&Request) -> Reply) {
    if stream.set_read_timeout(Some(READ_FOR)).is_err() {
        return;
    }
    let mut buffer = Vec::new();
    while let Some(request) = read_request(&mut stream, &mut buffer, stop) {
        kept.lock().push(request.clone());
        match reply(&request) {
            Reply::Headers(code, headers) => {
                let lines: String = headers.iter().map(|line| format!("{line}\r\n")).collect();
                let head = format!("HTTP/1.1 {code} Told\r\n{lines}Content-Length: 0\r\n\r\n");
                if stream.write_all(head.as_bytes()).is_err() {
                    return;
                }
            }
            Reply::Json(code, headers, body) => {
                let lines: String = headers.iter().map(|line| format!("{line}\r\n")).collect();
                let answer = format!(
                    "HTTP/1.1 {code} Told\r\n{lines}Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
                    body.len()
                );
                if stream.write_all(answer.as_bytes()).is_err() {
                    return;
                }
            }
            Reply::Body(code, content_type, body) => {
                let head = format!(
                    "HTTP/1.1 {code} Told\r\nContent-Type: {content_type}\r\nContent-Length: {}\r\n\r\n",
                    body.len()
                );
                // A body after the answer to HEAD (a Docker client's ping) would be read as the start of the next answer.
                let body = if request.method == "HEAD" { "" } else { &body };
                if stream
                    .write_all(head.as_bytes())
                    .and_then(|()| stream.write_all(body.as_bytes()))
                    .is_err()
                {
                    return;
                }
            }
            Reply::Hang => while read_more(&mut stream, &mut buffer, stop).is_some() {},
        }
    }
}

// Another piece of the stream; nothing at its end.
fn read_more(stream: &mut TcpStream, buffer: &mut Vec<u8>, stop: &AtomicBool) -> Option<()> {
    let mut piece = [0; 16 * 1024];
    loop {
        match stream.read(&mut piece) {
            Ok(0) => return None,
            Ok(n) => {
                buffer.extend_from_slice(&piece[..n]);
                return Some(());
            }
            Err(error)
                if matches!(
                    error.kind(),
                    std::io::ErrorKind::WouldBlock | std::io::ErrorKind::TimedOut
                ) =>
            {
                if stop.load(Ordering::SeqCst) {
                    return None;
                }
            }
            Err(_) => return None,
        }
    }
}

fn read_request(stream: &mut TcpStream, buffer: &mut Vec<u8>, stop: &AtomicBool) -> Option<Request> {
    let (first, headers, begin) = loop {
        match parse_head(buffer) {
            Some(head) => break head,
            None => read_more(stream, buffer, stop)?,
        }
    };
    let mut words = first.split(' ');
    let (method, path) = (words.next()?.to_owned(), words.next()?.to_owned());
    let length = headers
        .iter()
        .find(|(n, _)| n == "content-length")
        .map_or(Some(0), |(_, v)| v.parse().ok())?;
    while buffer.len() < begin + length {
        read_more(stream, buffer, stop)?;
    }
    let body = buffer[begin..begin + length].to_vec();
    buffer.drain(..begin + length);
    Some(Request {
        method,
        path,
        headers,
        body,
    })
}

/// A scrape target whose metrics the test decides.
#[derive(Debug)]
pub struct FakeTarget {
    server: FakeServer,
    text: Arc<Mutex<String>>,
    scrapes: Arc<AtomicU64>,
}

impl FakeTarget {
    /// Shows `text` as it stands, in the text format.
    #[must_use]
    pub fn start(text: &str) -> Self {
        let text = Arc::new(Mutex::new(text.to_owned()));
        let shown = text.clone();
        Self::with(text, move |_| shown.lock().clone())
    }

    /// Shows what `make` makes of the number of the scrape, from 0 on.
    #[must_use]
    pub fn computed(make: impl Fn(u64) -> String + Send + Sync + 'static) -> Self {
        Self::with(Arc::default(), make)
    }

    fn with(text: Arc<Mutex<String>>, make: impl Fn(u64) -> String + Send + Sync + 'static) -> Self {
        let scrapes = Arc::new(AtomicU64::new(0));
        let counted = scrapes.clone();
        let server = FakeServer::start(move |_| {
            let body = make(counted.fetch_add(1, Ordering::SeqCst));
            Reply::Body(200, "text/plain; version=0.0.4; charset=utf-8", body)
        });
        Self { server, text, scrapes }
    }

    /// Changes what is shown from the next scrape on.
    pub fn set(&self, text: &str) {
        text.clone_into(&mut self.text.lock());
    }

    /// `127.0.0.1:PORT`, as it stands in `static_configs`.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.server.address()
    }

    /// How often it was scraped.
    #[must_use]
    pub fn scrapes(&self) -> u64 {
        self.scrapes.load(Ordering::SeqCst)
    }

    /// The scrape requests at `path` so far.
    #[must_use]
    pub fn requests(&self, path: &str) -> Vec<Request> {
        self.server.requests(path)
    }
}
