//! A webhook that notes when it was told of what.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use anyhow::{Context as _, Result};
use parking_lot::Mutex;

/// Messages in the order of their arrival: when each had been read, and its body.
type Messages = Arc<Mutex<Vec<(Instant, Vec<u8>)>>>;

/// A server on a free port that answers 200 to everything.
pub(super) struct Receiver {
    pub(super) port: u16,
    pub(super) messages: Messages,
    is_stopped: Arc<AtomicBool>,
}

impl Receiver {
    pub(super) fn start() -> Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).context("cannot listen on 127.0.0.1")?;
        let port = listener.local_addr().context("a socket without address")?.port();
        let (messages, is_stopped) = (Messages::default(), Arc::new(AtomicBool::new(false)));
        let (kept, stopping) = (messages.clone(), is_stopped.clone());
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                if stopping.load(Ordering::Relaxed) {
                    return;
                }
                let kept = kept.clone();
                // A connection that breaks is the sender's to open again.
                std::thread::spawn(move || serve(stream, &kept));
            }
        });
        Ok(Self {
            port,
            messages,
            is_stopped,
        })
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        self.is_stopped.store(true, Ordering::Relaxed);
        // Wakes the thread that accepts.
        let _ = TcpStream::connect((Ipv4Addr::LOCALHOST, self.port));
    }
}

fn serve(stream: TcpStream, messages: &Messages) -> Option<()> {
    stream.set_nodelay(true).ok()?;
    let mut stream = BufReader::new(stream);
    loop {
        let mut length = 0;
        loop {
            let mut line = String::new();
            if stream.read_line(&mut line).ok()? == 0 {
                return None;
            }
            if line.trim_end().is_empty() {
                break;
            }
            let (name, value) = line.split_once(':').unwrap_or((&line, ""));
            if name.eq_ignore_ascii_case("content-length") {
                length = value.trim().parse().ok()?;
            }
        }
        let mut body = vec![0; length];
        stream.read_exact(&mut body).ok()?;
        messages.lock().push((Instant::now(), body));
        stream
            .get_mut()
            .write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
            .ok()?;
    }
}
