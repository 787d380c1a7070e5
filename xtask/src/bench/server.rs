//! Cupola and its peers as processes: started alike, asked alike, killed when dropped.

use std::fs::{self, File};
use std::net::{Ipv4Addr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use rustix::process::{Pid, Signal, kill_process};

use super::client::Client;
use super::machine::Scratch;
use super::options::Options;
use super::{process, tell};

/// Who is measured. The order is that of the columns.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// `cupola prometheus`: only what the configuration says, like its peers.
    Cupola,
    Prometheus,
    VictoriaMetrics,
}

impl Kind {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Cupola => "Cupola",
            Self::Prometheus => "Prometheus",
            Self::VictoriaMetrics => "VictoriaMetrics",
        }
    }

    /// What has to be added to a query: VictoriaMetrics moves start and end of a range query so that it can cache the
    /// answer, and then answers another question.
    pub(crate) fn query_suffix(self) -> &'static str {
        match self {
            Self::VictoriaMetrics => "&nocache=1",
            Self::Cupola | Self::Prometheus => "",
        }
    }
}

/// A server that can be measured here.
pub(crate) struct Contender {
    pub(crate) kind: Kind,
    pub(crate) binary: PathBuf,
    pub(crate) version: String,
}

pub(crate) const NODE_EXPORTER: &str = "prometheus-node-exporter";
const PEERS: [(&str, &str); 3] = [
    ("prometheus", "prometheus"),
    ("victoria-metrics", "victoria-metrics"),
    (NODE_EXPORTER, NODE_EXPORTER),
];

/// Finds the servers. Peers are installed where we may; one that is missing is named, and its column is left out.
///
/// # Errors
/// When Cupola itself has not been built.
pub(crate) fn contenders(options: &Options, target: &Path, scratch: &Scratch) -> Result<Vec<Contender>> {
    let mut found = Vec::new();
    if !options.peers_only {
        let built = options.cupola.clone().unwrap_or_else(|| target.join("release/cupola"));
        if !built.is_file() {
            bail!(
                "{}: not there; build it with cargo build --release -p cupola",
                built.display()
            );
        }
        // A copy, so that a build meanwhile does not change what is measured.
        let binary = scratch.folder("binary")?.join("cupola");
        fs::copy(&built, &binary).with_context(|| format!("cannot copy {}", built.display()))?;
        let version = output(Command::new(&binary).arg("--version"));
        let version = version.trim_start_matches("cupola").trim().to_owned();
        found.push(Contender {
            kind: Kind::Cupola,
            binary,
            version,
        });
    }
    for (program, package) in crate::neighbours::fetch(&PEERS) {
        tell(&format!(
            "{program} is missing (Debian: apt install {package}): its column is left out"
        ));
    }
    for (kind, program) in [
        (Kind::Prometheus, "prometheus"),
        (Kind::VictoriaMetrics, "victoria-metrics"),
    ] {
        if let Some(binary) = in_path(program) {
            let version = package_version(program);
            found.push(Contender { kind, binary, version });
        }
    }
    Ok(found)
}

/// Where `program` lies on the PATH.
pub(crate) fn in_path(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path)
        .map(|dir| dir.join(program))
        .find(|file| file.is_file())
}

/// The version of a Debian package, or a word that says that it is not known.
pub(crate) fn package_version(package: &str) -> String {
    let version = output(Command::new("dpkg-query").args(["-W", "-f", "${Version}", package]));
    if version.is_empty() {
        "(unknown version)".to_owned()
    } else {
        version
    }
}

fn output(command: &mut Command) -> String {
    let output = command.stderr(Stdio::null()).output();
    output.map_or_else(
        |_| String::new(),
        |o| String::from_utf8_lossy(&o.stdout).trim().to_owned(),
    )
}

/// A port on 127.0.0.1 that was free just now.
pub(crate) fn free_port() -> Result<u16> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).context("no free port on 127.0.0.1")?;
    Ok(listener.local_addr().context("a socket without address")?.port())
}

/// A process that ends with its owner.
pub(crate) struct Running {
    child: Child,
    name: String,
    log: PathBuf,
    pub(crate) port: u16,
    started: Instant,
}

impl Running {
    /// Starts `command`, whose output goes to the file `log`.
    pub(crate) fn start(name: &str, command: &mut Command, port: u16, log: PathBuf) -> Result<Self> {
        let file = File::create(&log).with_context(|| format!("cannot make {}", log.display()))?;
        let also = file.try_clone().context("cannot share a log file")?;
        let started = Instant::now();
        let child = command.stdin(Stdio::null()).stdout(file).stderr(also).spawn();
        let child = child.with_context(|| format!("cannot start {name}"))?;
        Ok(Self {
            child,
            name: name.to_owned(),
            log,
            port,
            started,
        })
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    pub(crate) fn cpu_seconds(&self) -> Result<f64> {
        process::cpu_seconds(self.pid())
    }

    pub(crate) fn memory(&self) -> Result<process::Memory> {
        process::memory(self.pid())
    }

    pub(crate) fn client(&self) -> Result<Client> {
        Client::connect(self.port).with_context(|| self.name.clone())
    }

    /// Waits for the first answer 200 to `path`, and tells how long that took since the start.
    ///
    /// # Errors
    /// When the process ends before, or `limit` is over; the end of its log is told.
    pub(crate) fn first_answer(&mut self, path: &str, limit: Duration) -> Result<Duration> {
        self.first_accepted(path, limit, |_| true)
    }

    /// Like [`Self::first_answer`], but waits for an answer whose body `accepts`.
    pub(crate) fn first_accepted(
        &mut self,
        path: &str,
        limit: Duration,
        accepts: impl Fn(&[u8]) -> bool,
    ) -> Result<Duration> {
        loop {
            if let Ok(answer) = Client::connect(self.port).and_then(|mut client| client.get(path))
                && answer.status == 200
                && accepts(&answer.body)
            {
                return Ok(self.started.elapsed());
            }
            let ended = self.child.try_wait().context("cannot ask for the end of a process")?;
            if let Some(status) = ended {
                bail!("{} ended ({status}):\n{}", self.name, self.last_words());
            }
            if self.started.elapsed() > limit {
                bail!(
                    "{} has not answered {path} after {limit:?}:\n{}",
                    self.name,
                    self.last_words()
                );
            }
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    fn last_words(&self) -> String {
        let log = fs::read(&self.log).unwrap_or_default();
        let log = String::from_utf8_lossy(&log).into_owned();
        let lines: Vec<&str> = log.lines().collect();
        lines
            .get(lines.len().saturating_sub(5)..)
            .unwrap_or_default()
            .join("\n")
    }

    /// Ends it as a crash would: SIGKILL, nothing flushed.
    pub(crate) fn kill(&mut self) -> Result<()> {
        self.child
            .kill()
            .with_context(|| format!("cannot kill {}", self.name))?;
        self.child
            .wait()
            .with_context(|| format!("{} does not end", self.name))?;
        Ok(())
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if matches!(self.child.try_wait(), Ok(Some(_))) {
            return;
        }
        if let Ok(Some(pid)) = i32::try_from(self.pid()).map(Pid::from_raw) {
            // Whoever does not listen is killed below.
            let _ = kill_process(pid, Signal::TERM);
        }
        let asked = Instant::now();
        while asked.elapsed() < Duration::from_secs(10) {
            if !matches!(self.child.try_wait(), Ok(None)) {
                return;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        // It may have ended between the two calls.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A contender with its configuration and data; started by [`Server::start`] as often as needed.
pub(crate) struct Server {
    pub(crate) kind: Kind,
    binary: PathBuf,
    dir: PathBuf,
    data: PathBuf,
    more: Vec<String>,
    port: u16,
}

impl Server {
    /// Prepares a folder for `contender`, with `config` as its prometheus.yml.
    pub(crate) fn prepare(contender: &Contender, dir: PathBuf, config: &str) -> Result<Self> {
        let file = dir.join("prometheus.yml");
        fs::write(&file, config).with_context(|| format!("cannot write {}", file.display()))?;
        Ok(Self {
            kind: contender.kind,
            binary: contender.binary.clone(),
            data: dir.join("data"),
            dir,
            more: Vec::new(),
            port: free_port()?,
        })
    }

    /// Takes another data folder than the one in its own folder, and more arguments.
    pub(crate) fn on(mut self, data: PathBuf, more: &[&str]) -> Self {
        self.data = data;
        self.more = more.iter().map(|&arg| arg.to_owned()).collect();
        self
    }

    pub(crate) fn data(&self) -> PathBuf {
        self.data.clone()
    }

    /// Starts it; it is not ready yet.
    pub(crate) fn start(&self) -> Result<Running> {
        let config = self.dir.join("prometheus.yml");
        let (config, data, port) = (config.display(), self.data().display().to_string(), self.port);
        let mut command = Command::new(&self.binary);
        match self.kind {
            Kind::Cupola | Kind::Prometheus => {
                if self.kind == Kind::Cupola {
                    command.arg("prometheus");
                }
                command.args([
                    format!("--config.file={config}"),
                    format!("--storage.tsdb.path={data}"),
                    format!("--web.listen-address=127.0.0.1:{port}"),
                    "--log.level=error".to_owned(),
                ]);
            }
            Kind::VictoriaMetrics => {
                command.args([
                    format!("-promscrape.config={config}"),
                    format!("-storageDataPath={data}"),
                    format!("-httpListenAddr=127.0.0.1:{port}"),
                    // By default it hides the newest 30 s.
                    "-search.latencyOffset=0s".to_owned(),
                    "-loggerLevel=ERROR".to_owned(),
                ]);
            }
        }
        command.args(&self.more);
        Running::start(self.kind.name(), &mut command, port, self.dir.join("log"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_that_ends_early_is_told_with_its_last_words() {
        let log = std::env::temp_dir().join(format!("cupola-bench-test-{}", std::process::id()));
        let mut command = Command::new("sh");
        command.args(["-c", "echo the disk is full; exit 3"]);
        let mut running = Running::start("sh", &mut command, free_port().unwrap(), log.clone()).unwrap();
        let error = running
            .first_answer("/", Duration::from_mins(1))
            .unwrap_err()
            .to_string();
        let _ = fs::remove_file(log);
        assert!(
            error.contains("the disk is full") && error.contains("exit status: 3"),
            "{error}"
        );
    }

    #[test]
    fn a_dropped_process_has_ended() {
        let log = std::env::temp_dir().join(format!("cupola-bench-drop-{}", std::process::id()));
        let running = Running::start("sleep", Command::new("sleep").arg("600"), 1, log.clone()).unwrap();
        let pid = running.pid();
        assert!(process::memory(pid).is_ok());
        drop(running);
        let _ = fs::remove_file(log);
        assert!(!Path::new(&format!("/proc/{pid}")).exists());
    }
}
