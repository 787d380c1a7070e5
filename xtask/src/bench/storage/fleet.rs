//! All servers at once: started, written to, looked at, and their data deleted.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, Result, bail};

use crate::bench::Bench;
use crate::bench::client::Client;
use crate::bench::process::folder_bytes;
use crate::bench::server::{Kind, Running, Server};
use crate::bench::start::NO_TARGETS;

const LIMIT: Duration = Duration::from_mins(1);
const RECEIVE: &str = "--web.enable-remote-write-receiver";

/// The servers of one measure; they and their data go with it.
pub(in crate::bench) struct Fleet {
    pub(in crate::bench) servers: Vec<Server>,
    /// In the order of `servers`.
    pub(in crate::bench) running: Vec<Running>,
    dirs: Vec<PathBuf>,
    keep: bool,
}

impl Fleet {
    /// Prepares all servers with folders that begin with `name`; `config` makes the prometheus.yml of each.
    pub(in crate::bench) fn prepare(bench: &Bench, name: &str, config: impl Fn(usize) -> String) -> Result<Self> {
        let mut fleet = Self {
            servers: Vec::new(),
            running: Vec::new(),
            dirs: Vec::new(),
            keep: bench.options.keep,
        };
        for (index, contender) in bench.contenders.iter().enumerate() {
            let dir = bench
                .scratch
                .folder(&format!("storage-{name}-{}", contender.kind.name()))?;
            let server = Server::prepare(contender, dir.clone(), &config(index))?;
            let more: &[&str] = match contender.kind {
                Kind::Cupola | Kind::Prometheus => &[RECEIVE],
                Kind::VictoriaMetrics => &[],
            };
            let data = server.data();
            fleet.servers.push(server.on(data, more));
            fleet.dirs.push(dir);
        }
        Ok(fleet)
    }

    /// Starts all servers without targets and waits until they answer.
    pub(in crate::bench) fn start(bench: &Bench, name: &str) -> Result<Self> {
        let mut fleet = Self::prepare(bench, name, |_| NO_TARGETS.to_owned())?;
        for server in &fleet.servers {
            fleet.running.push(ready(server)?);
        }
        Ok(fleet)
    }

    /// CPU seconds of each so far.
    pub(in crate::bench) fn cpu(&self) -> Result<Vec<f64>> {
        self.running.iter().map(Running::cpu_seconds).collect()
    }

    /// Bytes in the log of each; None where it has none.
    pub(in crate::bench) fn log_bytes(&self) -> Vec<Option<u64>> {
        self.servers.iter().map(log_bytes).collect()
    }

    /// A connection to each.
    pub(in crate::bench) fn clients(&self) -> Result<Vec<Client>> {
        self.running.iter().map(Running::client).collect()
    }

    /// One figure of each server, by its place.
    pub(in crate::bench) fn each(&self, figure: impl Fn(usize) -> Option<f64>) -> Vec<Option<f64>> {
        (0..self.servers.len()).map(figure).collect()
    }
}

impl Drop for Fleet {
    fn drop(&mut self) {
        self.running.clear();
        if self.keep {
            return;
        }
        for dir in &self.dirs {
            // What stays is deleted with the whole scratch folder.
            let _ = fs::remove_dir_all(dir);
        }
    }
}

/// Starts a server and waits until it answers.
pub(in crate::bench) fn ready(server: &Server) -> Result<Running> {
    let mut running = server.start()?;
    running.first_answer("/-/ready", LIMIT)?;
    Ok(running)
}

/// Sends one message to each server; all of them have to take it.
pub(in crate::bench) fn send(clients: &mut [Client], message: &[u8]) -> Result<()> {
    for client in clients {
        let answer = client.write(message)?;
        if !(200..300).contains(&answer.status) {
            let told = String::from_utf8_lossy(&answer.body);
            bail!("a message was refused with status {}: {}", answer.status, told.trim());
        }
    }
    Ok(())
}

/// Bytes of the files of a server's log; None where it has none.
pub(in crate::bench) fn log_bytes(server: &Server) -> Option<u64> {
    match server.kind {
        Kind::Cupola => Some(file_bytes(&server.data().join("cupola-wal"))),
        Kind::Prometheus => Some(file_bytes(&server.data().join("wal"))),
        Kind::VictoriaMetrics => None,
    }
}

// To the byte: a log grows by less than the blocks of the disk.
fn file_bytes(dir: &Path) -> u64 {
    let entries = fs::read_dir(dir).into_iter().flatten().flatten();
    entries
        .map(|entry| match entry.metadata() {
            Ok(metadata) if metadata.is_dir() => file_bytes(&entry.path()),
            Ok(metadata) => metadata.len(),
            Err(_) => 0,
        })
        .sum()
}

/// What the blocks of a server take on disk, and what the rest of its folder does.
pub(in crate::bench) fn blocks_and_rest(server: &Server) -> (u64, u64) {
    let data = server.data();
    let entries = fs::read_dir(&data).into_iter().flatten().flatten();
    let is_block = |name: &str| match server.kind {
        Kind::Cupola | Kind::Prometheus => name.len() == 26 || name == "cupola-blocks",
        Kind::VictoriaMetrics => name == "data" || name == "indexdb",
    };
    let blocks = entries
        .filter(|entry| entry.file_name().to_str().is_some_and(is_block))
        .map(|entry| folder_bytes(&entry.path()))
        .sum();
    (blocks, folder_bytes(&data).saturating_sub(blocks))
}

/// A metric of the server itself that has no labels.
pub(in crate::bench) fn metric(running: &Running, name: &str) -> Result<Option<f64>> {
    // A connection that was idle for a minute may have been closed.
    let page = running.client()?.fetch("/metrics").context("cannot read its metrics")?;
    let page = String::from_utf8_lossy(&page);
    let mut lines = page
        .lines()
        .filter_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    Ok(lines.next().and_then(|value| value.trim().parse().ok()))
}
