//! The binary as a running server.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Command, ExitStatus};
use std::time::{Duration, Instant};

use rustix::process::Signal;
use serde_json::Value;

use crate::child::Background;
use crate::http::{self, Response, url_encode};
use crate::wait::eventually;
use crate::world::{Home, binary};

// On two loaded cores a start may take its time; how long it really took is measured where it matters.
const START_SECONDS: u64 = 30;
const STOP_SECONDS: u64 = 30;

/// The binary with `args`, not yet started.
#[must_use]
pub fn cupola<S: AsRef<OsStr>>(args: impl IntoIterator<Item = S>) -> Command {
    let mut command = Command::new(binary());
    command.args(args);
    command
}

/// `cupola alertmanager` in no cluster, with `config` as its configuration file and its data in `home`, not yet started.
#[must_use]
pub fn alertmanager(home: &Home, config: &Path) -> Command {
    let mut command = cupola([
        "alertmanager",
        "--web.listen-address=127.0.0.1:0",
        "--cluster.listen-address=",
    ]);
    command.arg(format!("--config.file={}", config.display()));
    command.arg(format!("--storage.path={}", home.data().display()));
    command.current_dir(home.path());
    command
}

/// One series of an instant query's answer.
#[derive(Debug, Clone, PartialEq)]
pub struct Sample {
    /// `__name__` included.
    pub labels: BTreeMap<String, String>,
    /// The value.
    pub value: f64,
}

impl Sample {
    /// A label's value, or nothing.
    #[must_use]
    pub fn label(&self, name: &str) -> &str {
        self.labels.get(name).map_or("", String::as_str)
    }
}

/// A running server on a port of its own.
#[derive(Debug)]
pub struct Server {
    child: Background,
    address: SocketAddr,
    first_answer: Duration,
}

impl Server {
    /// `cupola up` with its data in `home`, ready.
    #[track_caller]
    #[must_use]
    pub fn up(home: &Home, args: &[&str]) -> Self {
        let data = home.data();
        let mut command = cupola(["up", "--listen", "127.0.0.1:0", "--data"]);
        command.arg(data).args(args).current_dir(home.path());
        Self::start(&mut command)
    }

    /// `cupola prometheus` with `config` as its configuration file and its data in `home`, ready.
    #[track_caller]
    #[must_use]
    pub fn prometheus(home: &Home, config: &Path, args: &[&str]) -> Self {
        let mut command = cupola(["prometheus", "--web.listen-address=127.0.0.1:0"]);
        command.arg(format!("--storage.tsdb.path={}", home.data().display()));
        command.arg(format!("--config.file={}", config.display()));
        command.args(args).current_dir(home.path());
        Self::start(&mut command)
    }

    /// [`alertmanager`] with `args`, ready.
    #[track_caller]
    #[must_use]
    pub fn alertmanager(home: &Home, config: &Path, args: &[&str]) -> Self {
        Self::start_reading(alertmanager(home, config).args(args))
    }

    /// Starts `command`, which must listen on port 0 of 127.0.0.1, and waits until it is ready.
    ///
    /// # Panics
    /// Where it ends or does not become ready.
    #[track_caller]
    pub fn start(command: &mut Command) -> Self {
        let server = Self::start_reading(command);
        server.wait_for_replay();
        server
    }

    /// Waits until the log is read.
    #[track_caller]
    pub fn wait_for_replay(&self) {
        eventually(START_SECONDS, "cupola has read its log", || {
            let progress = http::get(self.address, "/api/v1/status/walreplay").ok()?;
            progress.text().contains("\"done\":true").then_some(())
        });
    }

    /// As [`Server::start`], but it may still read its log.
    ///
    /// # Panics
    /// As [`Server::start`].
    #[track_caller]
    pub fn start_reading(command: &mut Command) -> Self {
        let began = Instant::now();
        let mut child = Background::start("cupola", command);
        let address = eventually(START_SECONDS, "cupola tells where it listens", || {
            if let Some(status) = child.ended() {
                panic!("cupola ended while starting: {status}");
            }
            child.stderr().iter().find_map(|line| listening_address(line))
        });
        eventually(START_SECONDS, "cupola is ready", || {
            if let Some(status) = child.ended() {
                panic!("cupola ended while starting: {status}");
            }
            http::get(address, "/-/ready").ok().filter(|r| r.status == 200)
        });
        let first_answer = began.elapsed();
        Self {
            child,
            address,
            first_answer,
        }
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// `http://ADDRESS`
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// From the process's start to the first answer of `/-/ready`.
    #[must_use]
    pub fn first_answer(&self) -> Duration {
        self.first_answer
    }

    /// The process's number.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.child.pid()
    }

    /// Lines of standard output so far.
    #[must_use]
    pub fn stdout(&self) -> Vec<String> {
        self.child.stdout()
    }

    /// Log lines so far.
    #[must_use]
    pub fn log(&self) -> Vec<String> {
        self.child.stderr()
    }

    /// Asks to read the configuration again.
    #[track_caller]
    pub fn hang_up(&self) {
        self.child.signal(Signal::HUP);
    }

    /// Lets the process stand still, as a machine that sleeps does, or not any more.
    #[track_caller]
    pub fn set_stopped(&self, stopped: bool) {
        self.child.signal(if stopped { Signal::STOP } else { Signal::CONT });
    }

    /// Asks to stop with `signal`, and waits for the end.
    #[track_caller]
    pub fn stop(&mut self, signal: Signal) -> ExitStatus {
        self.child.signal(signal);
        let status = self.child.wait(STOP_SECONDS);
        self.assert_no_panic();
        status
    }

    /// `kill -9`
    #[track_caller]
    pub fn kill(&mut self) {
        assert!(self.child.ended().is_none(), "cupola ended before it was killed");
        self.child.kill();
        self.assert_no_panic();
    }

    /// GET of a path that must be answered somehow.
    ///
    /// # Panics
    /// Where no answer comes.
    #[track_caller]
    #[must_use]
    pub fn get(&self, path: &str) -> Response {
        match http::get(self.address, path) {
            Ok(response) => response,
            Err(error) => panic!("GET {path}: {error}"),
        }
    }

    /// POST of JSON that must be taken.
    ///
    /// # Panics
    /// Where the answer is not 200.
    #[track_caller]
    pub fn post(&self, path: &str, body: &Value) -> Response {
        let headers = [("Content-Type", "application/json")];
        match http::request(self.address, "POST", path, &headers, body.to_string().as_bytes()) {
            Ok(response) if response.status == 200 => response,
            Ok(response) => panic!("POST {path}: status {}: {}", response.status, response.text()),
            Err(error) => panic!("POST {path}: {error}"),
        }
    }

    /// GET of an API address with parameters; returns `data` of a success.
    ///
    /// # Panics
    /// Where the API refuses.
    #[track_caller]
    #[must_use]
    pub fn api(&self, path: &str, params: &[(&str, &str)]) -> Value {
        let response = self.ask(path, params);
        let mut json = response.json();
        assert!(
            response.status == 200 && json["status"] == "success",
            "{path} {params:?}: status {}: {}",
            response.status,
            response.text()
        );
        json["data"].take()
    }

    /// GET of an API address with parameters, whatever the answer.
    #[track_caller]
    #[must_use]
    pub fn ask(&self, path: &str, params: &[(&str, &str)]) -> Response {
        let params: Vec<String> = params
            .iter()
            .map(|(n, v)| format!("{}={}", url_encode(n), url_encode(v)))
            .collect();
        let mark = if params.is_empty() { "" } else { "?" };
        self.get(&format!("{path}{mark}{}", params.join("&")))
    }

    /// An instant query, now.
    #[track_caller]
    #[must_use]
    pub fn query(&self, expr: &str) -> Vec<Sample> {
        self.vector(expr, &[("query", expr)])
    }

    /// An instant query at `time`, in seconds since the epoch.
    #[track_caller]
    #[must_use]
    pub fn query_at(&self, expr: &str, time: &str) -> Vec<Sample> {
        self.vector(expr, &[("query", expr), ("time", time)])
    }

    #[track_caller]
    fn vector(&self, expr: &str, params: &[(&str, &str)]) -> Vec<Sample> {
        let data = self.api("/api/v1/query", params);
        assert_eq!(data["resultType"], "vector", "{expr}: {data}");
        let result = data["result"].as_array().expect("a vector is an array");
        result
            .iter()
            .map(|one| Sample {
                labels: string_map(&one["metric"]),
                value: number(&one["value"][1]),
            })
            .collect()
    }

    /// The value of an instant query that gives exactly one series, or nothing while it gives none.
    ///
    /// # Panics
    /// Where it gives several.
    #[track_caller]
    #[must_use]
    pub fn value(&self, expr: &str) -> Option<f64> {
        let found = self.query(expr);
        assert!(found.len() <= 1, "{expr} gives {} series", found.len());
        found.first().map(|s| s.value)
    }

    /// The lines of `/metrics` that begin with `name` followed by a blank or a brace, summed.
    #[track_caller]
    #[must_use]
    pub fn own_metric(&self, name: &str) -> Option<f64> {
        let text = self.get("/metrics").text();
        let values = text.lines().filter_map(|line| {
            let rest = line.strip_prefix(name).filter(|rest| rest.starts_with([' ', '{']))?;
            rest.rsplit(' ').next()?.parse::<f64>().ok()
        });
        values.reduce(|a, b| a + b)
    }

    #[track_caller]
    fn assert_no_panic(&self) {
        let log = self.child.stderr();
        let panicked = log.iter().find(|line| line.contains("panicked at"));
        assert!(panicked.is_none(), "cupola panicked: {panicked:?}");
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.child.kill();
        if !std::thread::panicking() {
            self.assert_no_panic();
        }
    }
}

// `time=… level=INFO msg=listening address=127.0.0.1:41234`
fn listening_address(line: &str) -> Option<SocketAddr> {
    let (_, rest) = line.split_once("msg=listening address=")?;
    rest.split_whitespace().next()?.parse().ok()
}

fn string_map(object: &Value) -> BTreeMap<String, String> {
    let object = object.as_object().expect("labels are an object");
    object
        .iter()
        .map(|(n, v)| (n.clone(), v.as_str().expect("a label is a string").to_owned()))
        .collect()
}

fn number(value: &Value) -> f64 {
    let text = value.as_str().expect("a sample is a string");
    match text {
        "+Inf" => f64::INFINITY,
        "-Inf" => f64::NEG_INFINITY,
        _ => text.parse().expect("a sample is a number"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_address_is_found_in_the_log() {
        let line = "time=2026-01-01T00:00:00.000Z level=INFO msg=listening address=127.0.0.1:41234";
        assert_eq!(listening_address(line), "127.0.0.1:41234".parse().ok());
        assert_eq!(listening_address("level=INFO msg=stopping"), None);
    }
}
