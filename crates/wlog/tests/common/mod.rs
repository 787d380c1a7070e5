//! A real Prometheus and a target for it.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs::File;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::Duration;

use cupola_env::{Clock as _, SystemClock};
use cupola_model::Labels;
use cupola_testkit::free_address;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use tempfile::TempDir;

// How long anything may take; usually it is two seconds.
const PATIENCE_MS: i64 = 60_000;
const POLL: Duration = Duration::from_millis(50);

/// Milliseconds since the epoch.
pub fn now_ms() -> i64 {
    SystemClock.now_ms()
}

/// Asks again and again until there is an answer.
///
/// # Panics
/// Where there is none for a minute.
#[track_caller]
fn eventually<T>(what: &str, mut ask: impl FnMut() -> Option<T>) -> T {
    let end = now_ms() + PATIENCE_MS;
    loop {
        if let Some(answer) = ask() {
            return answer;
        }
        assert!(now_ms() < end, "not within a minute: {what}");
        std::thread::sleep(POLL);
    }
}

/// One sample with its time, as a target tells it.
pub struct Line {
    pub series: String,
    pub value: f64,
    pub ts: i64,
}

/// A target that tells each text once.
pub struct Fake {
    address: SocketAddr,
    texts: Sender<String>,
}

impl Fake {
    pub fn start() -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let address = listener.local_addr().unwrap();
        let (texts, receiver) = channel();
        // Ends with the first connection after the test's end, or with the process.
        std::thread::spawn(move || serve(&listener, &receiver));
        Self { address, texts }
    }

    /// Hands these out at the next scrape.
    pub fn serve_once(&self, lines: &[Line]) {
        let mut text = String::new();
        for line in lines {
            writeln!(text, "{} {} {}", line.series, line.value, line.ts).unwrap();
        }
        self.texts.send(text).unwrap();
    }
}

fn serve(listener: &TcpListener, texts: &Receiver<String>) {
    for stream in listener.incoming() {
        let Ok(mut stream) = stream else { return };
        let mut head = BufReader::new(&stream).lines();
        while head.next().is_some_and(|line| line.is_ok_and(|line| !line.is_empty())) {}
        let body = texts.try_recv().unwrap_or_default();
        let answer = format!(
            "HTTP/1.1 200 OK\r\nContent-Type: text/plain; version=0.0.4\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
            body.len()
        );
        // A scraper that has gone makes the test fail elsewhere.
        let _ = stream.write_all(answer.as_bytes());
    }
}

/// Debian's Prometheus. It is killed on drop.
pub struct Prometheus {
    child: Child,
    address: SocketAddr,
    dir: TempDir,
}

impl Drop for Prometheus {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Prometheus {
    /// Starts it with a window for samples out of order; `None`, with a note, where it is not installed.
    ///
    /// # Panics
    /// Where it does not come up, and where it is missing although `CI=true`.
    pub fn start(fake: &Fake, out_of_order: &str, args: &[&str]) -> Option<Self> {
        let dir = tempfile::tempdir().unwrap();
        let address = free_address();
        let config = format!(
            "global:\n  scrape_interval: 1s\n  scrape_timeout: 1s\nstorage:\n  tsdb:\n    out_of_order_time_window: {out_of_order}\n\
             scrape_configs:\n- job_name: itself\n  static_configs:\n  - targets: ['{address}']\n\
             - job_name: fake\n  static_configs:\n  - targets: ['{}']\n",
            fake.address
        );
        let file = dir.path().join("prometheus.yml");
        std::fs::write(&file, config).unwrap();
        let child = Command::new("prometheus")
            .arg(format!("--config.file={}", file.display()))
            .arg(format!("--storage.tsdb.path={}", dir.path().join("data").display()))
            .arg(format!("--web.listen-address={address}"))
            .args(args)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(File::create(dir.path().join("log")).unwrap())
            .spawn();
        let child = match child {
            Ok(child) => child,
            Err(error) => {
                assert!(
                    std::env::var("CI").as_deref() != Ok("true"),
                    "prometheus missing in CI: {error}"
                );
                eprintln!("SKIPPED: prometheus cannot be run: {error}");
                return None;
            }
        };
        let mut this = Self { child, address, dir };
        eventually("prometheus is ready", || {
            let ended = this.child.try_wait().unwrap();
            assert!(ended.is_none(), "prometheus ended: {ended:?}\n{}", this.log());
            this.get("/-/ready").filter(|(status, _)| *status == 200)
        });
        Some(this)
    }

    fn log(&self) -> String {
        std::fs::read_to_string(self.dir.path().join("log")).unwrap()
    }

    fn get(&self, path: &str) -> Option<(u16, String)> {
        let mut stream = TcpStream::connect(self.address).ok()?;
        stream.set_read_timeout(Some(Duration::from_secs(20))).ok()?;
        write!(stream, "GET {path} HTTP/1.0\r\nHost: prometheus\r\n\r\n").ok()?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).ok()?;
        let (head, body) = answer.split_once("\r\n\r\n")?;
        Some((head.split(' ').nth(1)?.parse().ok()?, body.to_owned()))
    }

    /// All samples of the last fifty minutes and the next ten, by series.
    ///
    /// # Panics
    /// Where the answer is not what the API's documentation says.
    pub fn query(&self, selector: &str) -> BTreeMap<Labels, BTreeMap<i64, u64>> {
        let mut path = String::from("/api/v1/query?query=");
        for byte in format!("{selector}[1h]").bytes() {
            write!(path, "%{byte:02x}").unwrap();
        }
        write!(path, "&time={}", now_ms() / 1_000 + 600).unwrap();
        let (status, body) = self.get(&path).unwrap();
        assert_eq!(status, 200, "{body}");
        let answer: Value = serde_json::from_str(&body).unwrap();
        let mut out = BTreeMap::new();
        for series in answer["data"]["result"].as_array().unwrap() {
            let pairs = series["metric"].as_object().unwrap();
            let labels = Labels::from_pairs(pairs.iter().map(|(name, value)| (name, value.as_str().unwrap())));
            let sample = |pair: &Value| {
                let ts = (pair[0].as_f64().unwrap() * 1_000.0).round() as i64;
                let value: f64 = pair[1].as_str().unwrap().parse().unwrap();
                (ts, value.to_bits())
            };
            let samples = series["values"].as_array().unwrap().iter().map(sample).collect();
            out.insert(labels, samples);
        }
        out
    }

    /// Waits until the series that `selector` names have so many samples together.
    pub fn wait_for(&self, selector: &str, samples: usize) {
        eventually(&format!("{samples} samples of {selector}"), || {
            let seen: usize = self.query(selector).values().map(BTreeMap::len).sum();
            (seen >= samples).then_some(())
        });
    }

    /// Waits until a folder of the data folder has a finished file or folder whose name begins so.
    pub fn wait_for_file(&self, dir: &str, begin: &str) {
        let dir = self.dir.path().join("data").join(dir);
        eventually(&format!("{begin} in {}", dir.display()), || {
            let mut names = std::fs::read_dir(&dir)
                .ok()?
                .filter_map(|entry| entry.ok()?.file_name().into_string().ok());
            names.find(|name| name.starts_with(begin) && !name.ends_with(".tmp"))
        });
    }

    /// Sends `signal`, waits for its end, and gives the data folder.
    pub fn stop(mut self, signal: Signal) -> Data {
        let pid = Pid::from_raw(self.child.id() as i32).unwrap();
        kill_process(pid, signal).unwrap();
        eventually("prometheus ends", || self.child.try_wait().unwrap());
        let empty = tempfile::tempdir().unwrap();
        Data(std::mem::replace(&mut self.dir, empty))
    }
}

/// What a Prometheus left behind.
pub struct Data(TempDir);

impl Data {
    pub fn path(&self) -> std::path::PathBuf {
        self.0.path().join("data")
    }

    /// The end of the newest block, in milliseconds.
    pub fn newest_block_end(&self) -> i64 {
        let ends = std::fs::read_dir(self.path()).unwrap().filter_map(|entry| {
            let meta = std::fs::read(entry.unwrap().path().join("meta.json")).ok()?;
            let meta: Value = serde_json::from_slice(&meta).unwrap();
            meta["maxTime"].as_i64()
        });
        ends.max().unwrap()
    }
}
