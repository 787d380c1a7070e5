//! Servers with the same data: blocks for Cupola and Prometheus, an import for VictoriaMetrics.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};

use super::dataset::{Recorded, Shape, write_blocks};
use crate::bench::client::Client;
use crate::bench::server::{Kind, Running, Server};
use crate::bench::start::NO_TARGETS;
use crate::bench::{Bench, tell};

const LIMIT: Duration = Duration::from_mins(1);
// Bytes of one import.
const BATCH: usize = 16 * 1024 * 1024;
// Prometheus would merge the blocks while it is measured.
const DO_NOT_MERGE: &str = "--storage.tsdb.max-block-duration=6h";

/// A set of data and the servers that have it; none of them runs yet.
pub(crate) struct Loaded {
    pub(crate) shape: &'static Shape,
    pub(crate) servers: Vec<Server>,
    pub(crate) end_ms: i64,
    pub(crate) samples: u64,
}

impl Loaded {
    /// Makes the data up to `end_ms` and gives them to every contender, in folders that begin with `name`.
    pub(crate) fn new(bench: &Bench, shape: &'static Shape, end_ms: i64, name: &str) -> Result<Self> {
        tell(&format!("making {}", shape.name));
        let recorded = shape.record(end_ms)?;
        let mut servers = Vec::new();
        let mut samples = 0;
        for contender in &bench.contenders {
            let dir = bench.scratch.folder(&format!("{name}-{}", contender.kind.name()))?;
            let server = Server::prepare(contender, dir.clone(), NO_TARGETS)?;
            let data = server.data();
            let server = match contender.kind {
                Kind::Cupola | Kind::Prometheus => {
                    fs::create_dir_all(&data).with_context(|| format!("cannot make {}", data.display()))?;
                    samples = write_blocks(&recorded, shape, end_ms, &data)?;
                    let more: &[&str] = if contender.kind == Kind::Prometheus {
                        &[DO_NOT_MERGE]
                    } else {
                        &[]
                    };
                    server.on(data, more)
                }
                Kind::VictoriaMetrics => {
                    import(&server, &recorded)?;
                    server
                }
            };
            servers.push(server);
        }
        Ok(Self {
            shape,
            servers,
            end_ms,
            samples,
        })
    }

    /// Starts every server and waits until it answers.
    pub(crate) fn start(&self) -> Result<Vec<Running>> {
        self.servers.iter().map(started).collect()
    }
}

fn started(server: &Server) -> Result<Running> {
    let mut running = server.start()?;
    let path = match server.kind {
        Kind::Cupola | Kind::Prometheus => "/-/ready",
        Kind::VictoriaMetrics => "/health",
    };
    running.first_answer(path, LIMIT)?;
    Ok(running)
}

fn import(server: &Server, recorded: &[Recorded]) -> Result<()> {
    tell("importing into VictoriaMetrics");
    let running = started(server)?;
    let mut client = running.client()?;
    let mut batch = String::new();
    for one in recorded {
        write_line(&mut batch, one)?;
        if batch.len() >= BATCH {
            send(&mut client, &mut batch)?;
        }
    }
    send(&mut client, &mut batch)?;
    client.fetch("/internal/force_flush").context("cannot flush")?;
    // It ends on SIGTERM with everything written.
    drop(running);
    wait_for_data(&server.data())
}

// A server that ended without writing would answer nothing, as fast as can be.
fn wait_for_data(data: &Path) -> Result<()> {
    if crate::bench::process::folder_bytes(data) < 1024 {
        bail!("{}: the import has left nothing", data.display());
    }
    Ok(())
}

// A series as the import takes it: one line of JSON.
fn write_line(out: &mut String, one: &Recorded) -> Result<()> {
    let (mut times, mut values) = (Vec::new(), Vec::new());
    for chunk in &one.chunks {
        cupola_chunk::decode_into(&chunk.bytes, i64::MIN, i64::MAX, &mut times, &mut values)
            .context("a chunk cannot be read")?;
    }
    let metric: serde_json::Map<String, serde_json::Value> = one
        .labels
        .iter()
        .map(|(name, value)| (name.to_owned(), value.into()))
        .collect();
    // Writing to a string cannot fail.
    let _ = write!(out, "{{\"metric\":{},\"values\":[", serde_json::Value::from(metric));
    for (index, value) in values.iter().enumerate() {
        let comma = if index > 0 { "," } else { "" };
        let _ = write!(out, "{comma}{value}");
    }
    out.push_str("],\"timestamps\":[");
    for (index, ts) in times.iter().enumerate() {
        let comma = if index > 0 { "," } else { "" };
        let _ = write!(out, "{comma}{ts}");
    }
    out.push_str("]}\n");
    Ok(())
}

fn send(client: &mut Client, batch: &mut String) -> Result<()> {
    if !batch.is_empty() {
        let answer = client.post("/api/v1/import", batch.as_bytes())?;
        if !(200..300).contains(&answer.status) {
            bail!("the import was refused with status {}", answer.status);
        }
        batch.clear();
    }
    Ok(())
}
