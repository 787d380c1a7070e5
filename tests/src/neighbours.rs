//! Programs of other people that Cupola has to get along with.

use std::io::Write as _;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::Command;

use cupola_testkit::free_address;
use rustix::process::Signal;

use crate::child::Background;
use crate::http;
use crate::wait::eventually;
use crate::world::Home;

fn find(program: &str) -> Option<PathBuf> {
    let missing = std::env::var("CUPOLA_MISSING").unwrap_or_default();
    if missing.split(',').any(|name| name == program) {
        return None;
    }
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path)
        .map(|dir| dir.join(program))
        .find(|file| file.is_file())
}

/// Writes a line to the terminal. The test runner shows what `eprintln!` says of a test that passes to nobody.
pub fn tell(line: &str) {
    // Where the terminal is gone, there is nobody to tell.
    let _ = writeln!(std::io::stderr(), "{line}");
}

/// Says loudly that a test proves nothing here.
///
/// # Panics
/// In CI, where nothing may be skipped.
#[track_caller]
pub fn skip(why: &str) {
    assert!(
        std::env::var("CI").as_deref() != Ok("true"),
        "nothing may be skipped in CI: {why}"
    );
    tell(&format!("SKIPPED: {why}"));
}

/// The path of a program that the tests need.
///
/// # Panics
/// In CI, where it must be there.
#[track_caller]
#[must_use]
pub fn neighbour(program: &str) -> Option<PathBuf> {
    let found = find(program);
    if found.is_none() {
        skip(&format!("{program} is not installed"));
    }
    found
}

/// A Python that has OpenTelemetry's SDK, its exporter for OTLP over HTTP, and Prometheus's client library, which
/// `cargo run -p xtask -- test` puts below the target folder.
///
/// # Panics
/// In CI, where it must be there.
#[track_caller]
#[must_use]
pub fn otlp_python() -> Option<PathBuf> {
    let missing = std::env::var("CUPOLA_MISSING").unwrap_or_default();
    let binary = crate::world::binary();
    let target = binary.ancestors().nth(2)?;
    let python = target.join("neighbours/opentelemetry/bin/python");
    if python.is_file() && !missing.split(',').any(|name| name == "opentelemetry") {
        return Some(python);
    }
    skip("OpenTelemetry's SDK for Python is not installed");
    None
}

/// Python's client library, as `script` uses it, which tells `port N` on standard output; `None` where it is not installed.
///
/// # Panics
/// Where it does not come up, and in CI where it is missing.
#[track_caller]
#[must_use]
pub fn python_client(script: &str) -> Option<(Background, SocketAddr)> {
    let python = otlp_python()?;
    let mut child = Background::start("prometheus_client", Command::new(python).args(["-c", script]));
    let port: u16 = eventually(30, "Python's client tells its port", || {
        assert!(child.ended().is_none(), "Python's client ended");
        let lines = child.stdout();
        lines.iter().find_map(|line| line.strip_prefix("port ")?.parse().ok())
    });
    Some((child, SocketAddr::from(([127, 0, 0, 1], port))))
}

/// Debian's node exporter on a loopback port.
#[derive(Debug)]
pub struct NodeExporter {
    _child: Background,
    address: SocketAddr,
}

impl NodeExporter {
    /// Starts it; `None` where it is not installed.
    ///
    /// # Panics
    /// Where it does not come up, and in CI where it is missing.
    #[must_use]
    pub fn start() -> Option<Self> {
        let program = neighbour("prometheus-node-exporter")?;
        let address = free_address();
        let mut command = Command::new(program);
        command.arg(format!("--web.listen-address={address}"));
        let mut child = Background::start("prometheus-node-exporter", &mut command);
        eventually(20, "the node exporter answers", || {
            assert!(child.ended().is_none(), "the node exporter ended");
            http::get(address, "/metrics").ok().filter(|r| r.status == 200)
        });
        Some(Self { _child: child, address })
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

/// Debian's Prometheus on a loopback port.
#[derive(Debug)]
pub struct Prometheus {
    child: Background,
    home: Home,
    address: SocketAddr,
}

impl Prometheus {
    /// Starts it on the data of `home`, scraping nothing; `None` where it is not installed.
    ///
    /// # Panics
    /// Where it does not come up, and in CI where it is missing.
    #[must_use]
    pub fn start(home: Home, args: &[&str]) -> Option<Self> {
        Self::with_config(home, "global: {evaluation_interval: 1m}\n", args)
    }

    /// As [`Prometheus::start`], with a `prometheus.yml` of this text.
    ///
    /// # Panics
    /// As [`Prometheus::start`].
    #[must_use]
    pub fn with_config(home: Home, yaml: &str, args: &[&str]) -> Option<Self> {
        let path = format!("--storage.tsdb.path={}", home.data().display());
        Self::agent(home, yaml, &[&[&*path], args].concat())
    }

    /// As [`Prometheus::with_config`], without the flag that tells a server where its data lies: an agent refuses it.
    ///
    /// # Panics
    /// As [`Prometheus::start`].
    #[must_use]
    pub fn agent(home: Home, yaml: &str, args: &[&str]) -> Option<Self> {
        let program = neighbour("prometheus")?;
        let address = free_address();
        let config = home.write("prometheus.yml", yaml);
        let mut command = Command::new(program);
        command
            .arg(format!("--web.listen-address={address}"))
            .arg(format!("--config.file={}", config.display()))
            .args(args);
        let mut child = Background::start("prometheus", &mut command);
        eventually(30, "prometheus is ready", || {
            assert!(child.ended().is_none(), "prometheus ended");
            http::get(address, "/-/ready").ok().filter(|r| r.status == 200)
        });
        Some(Self { child, home, address })
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Prometheus {
    /// `kill -9`; gives what it leaves behind.
    #[must_use]
    pub fn kill(mut self) -> Home {
        self.child.kill();
        self.home
    }

    /// Lets it end by itself; gives what it leaves behind.
    #[must_use]
    pub fn stop(mut self) -> Home {
        self.child.signal(Signal::TERM);
        self.child.wait(30);
        self.home
    }
}

/// Debian's VictoriaMetrics on a loopback port.
#[derive(Debug)]
pub struct VictoriaMetrics {
    _child: Background,
    _home: Home,
    address: SocketAddr,
}

impl VictoriaMetrics {
    /// Starts it; `None` where it is not installed. Samples can be asked for at once.
    ///
    /// # Panics
    /// Where it does not come up, and in CI where it is missing.
    #[must_use]
    pub fn start() -> Option<Self> {
        let program = neighbour("victoria-metrics")?;
        let (home, address) = (Home::new(), free_address());
        let mut command = Command::new(program);
        command
            .arg(format!("-httpListenAddr={address}"))
            .arg(format!("-storageDataPath={}", home.data().display()))
            .args(["-search.latencyOffset=0s", "-search.disableCache"]);
        let mut child = Background::start("victoria-metrics", &mut command);
        eventually(30, "victoria-metrics answers", || {
            assert!(child.ended().is_none(), "victoria-metrics ended");
            http::get(address, "/health").ok().filter(|r| r.status == 200)
        });
        Some(Self {
            _child: child,
            _home: home,
            address,
        })
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

/// A program that listens on a loopback port which it is told.
#[derive(Debug)]
pub struct Neighbour {
    child: Background,
    address: SocketAddr,
}

impl Neighbour {
    /// Starts `program` with the arguments that `args` makes of its address, and waits until it answers 200 to `ready`;
    /// `None` where it is not installed.
    ///
    /// # Panics
    /// Where it does not come up, and in CI where it is missing.
    #[must_use]
    pub fn start(program: &str, ready: &str, args: impl Fn(SocketAddr) -> Vec<String>) -> Option<Self> {
        let path = neighbour(program)?;
        let address = free_address();
        let mut command = Command::new(path);
        command.args(args(address));
        let mut child = Background::start(program, &mut command);
        eventually(30, &format!("{program} answers"), || {
            assert!(child.ended().is_none(), "{program} ended");
            http::get(address, ready).ok().filter(|r| r.status == 200)
        });
        Some(Self { child, address })
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Log lines so far.
    #[must_use]
    pub fn log(&self) -> Vec<String> {
        self.child.stderr()
    }
}
