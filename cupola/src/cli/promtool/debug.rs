//! `promtool debug`: what a server tells about itself, put into one archive.

use std::fs::File;
use std::io::{self, Read as _};
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Subcommand};
use cupola_env::{Clock as _, SystemClock};
use flate2::read::GzDecoder;
use http::StatusCode;

use super::api::ApiServer;
use super::archive::TarGz;
use super::{FAILURE, Io};

// A profile of the processor takes half a minute.
const TIMEOUT: Duration = Duration::from_secs(120);
const MAX_PROFILE: u64 = 1 << 30;

/// What is fetched.
#[derive(Debug, Subcommand)]
pub(super) enum Debug {
    /// Fetch metrics, what the server's API says about its state, and profiles where it has some.
    All(DebugArgs),
    /// Fetch the server's metrics.
    Metrics(DebugArgs),
    /// Fetch profiles of a server written in Go. Cupola has none.
    Pprof(DebugArgs),
}

/// Of which server, and where to.
#[derive(Debug, Args)]
pub(super) struct DebugArgs {
    /// The server.
    #[arg(value_name = "SERVER")]
    server: String,
    /// The archive; one that is there is overwritten. Ours: Prometheus's promtool always writes debug.tar.gz.
    #[arg(long, value_name = "FILE", default_value = "debug.tar.gz")]
    output: PathBuf,
}

// What is asked for and the file's name in the archive.
type Endpoint = (&'static str, &'static str);

const METRICS: &[Endpoint] = &[("/metrics", "metrics.txt")];

// Upstream has these, too.
const PROFILES: &[Endpoint] = &[
    ("/debug/pprof/profile?seconds=30", "cpu.pb"),
    ("/debug/pprof/block", "block.pb"),
    ("/debug/pprof/goroutine", "goroutine.pb"),
    ("/debug/pprof/heap", "heap.pb"),
    ("/debug/pprof/mutex", "mutex.pb"),
    ("/debug/pprof/threadcreate", "threadcreate.pb"),
    ("/debug/pprof/trace?seconds=30", "trace.pb"),
];

// Ours; all of them but the last a Prometheus has, too.
const STATE: &[Endpoint] = &[
    ("/api/v1/status/buildinfo", "buildinfo.json"),
    ("/api/v1/status/runtimeinfo", "runtimeinfo.json"),
    ("/api/v1/status/flags", "flags.json"),
    ("/api/v1/status/config", "config.json"),
    ("/api/v1/status/tsdb", "tsdb.json"),
    ("/api/v1/targets", "targets.json"),
    ("/api/v1/rules", "rules.json"),
    ("/api/v1/alertmanagers", "alertmanagers.json"),
    ("/api/v1/status/discovery", "discovery.json"),
];

/// Fetches and writes the archive; without anything to put into it none is written.
pub(super) fn run(debug: &Debug, io: &mut Io<'_>) -> io::Result<u8> {
    // What must be there, and what may be missing.
    let (args, needed, optional) = match debug {
        Debug::All(args) => (args, METRICS, [STATE, PROFILES].concat()),
        Debug::Metrics(args) => (args, METRICS, Vec::new()),
        Debug::Pprof(args) => (args, PROFILES, Vec::new()),
    };
    let done = match collect(&args.server, needed, &optional, io)? {
        Ok(files) => write(args, &files),
        Err(error) => Err(error),
    };
    match done {
        Ok(()) => {
            let name = cupola_model::go_quote(&args.output.to_string_lossy());
            writeln!(
                io.out,
                "Compiling debug information complete, all files written in {name}."
            )?;
            Ok(0)
        }
        Err(error) => {
            writeln!(io.err, "error completing debug command: {error}")?;
            Ok(FAILURE)
        }
    }
}

type Files = Vec<(&'static str, Vec<u8>)>;

fn collect(
    server: &str,
    needed: &[Endpoint],
    optional: &[Endpoint],
    io: &mut Io<'_>,
) -> io::Result<Result<Files, String>> {
    let url = match server.contains("://") {
        true => server.trim_end_matches('/').to_owned(),
        false => format!("http://{server}"),
    };
    let mut asked = match ApiServer::new(&url, TIMEOUT) {
        Ok(asked) => asked,
        Err(error) => return Ok(Err(error)),
    };
    let mut files = Files::new();
    let mut has_profiles = true;
    for (at, (path, name)) in needed.iter().chain(optional).enumerate() {
        let is_profile = path.starts_with("/debug/pprof/");
        if is_profile && !has_profiles {
            continue;
        }
        writeln!(io.out, "collecting: {url}{path}")?;
        match asked.get_raw(path) {
            Ok((StatusCode::OK, body)) => {
                let body = if is_profile { unpacked(body) } else { body };
                files.push((name, body));
            }
            Ok((status, _)) if at < needed.len() => {
                let hint = match is_profile {
                    true => "; only servers written in Go have profiles, Cupola has none",
                    false => "",
                };
                return Ok(Err(format!("{url}{path}: {status}{hint}")));
            }
            Ok((status, _)) => {
                writeln!(io.err, "not there: {url}{path}: {status}")?;
                has_profiles &= !is_profile;
            }
            Err(error) => return Ok(Err(error)),
        }
    }
    Ok(Ok(files))
}

// Profiles are sent compressed and kept plain, as upstream keeps them.
fn unpacked(body: Vec<u8>) -> Vec<u8> {
    let mut plain = Vec::new();
    match GzDecoder::new(body.as_slice())
        .take(MAX_PROFILE)
        .read_to_end(&mut plain)
    {
        Ok(_) => plain,
        Err(_) => body,
    }
}

fn write(args: &DebugArgs, files: &Files) -> Result<(), String> {
    let told = |error: io::Error| format!("error writing {}: {error}", args.output.display());
    let now = u64::try_from(SystemClock.now_ms() / 1000).unwrap_or_default();
    let mut archive = TarGz::new(File::create(&args.output).map_err(told)?);
    for (name, body) in files {
        archive.add(name, body, now).map_err(told)?;
    }
    archive.finish().map_err(told)
}
