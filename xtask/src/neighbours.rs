//! The programs that the end-to-end tests meet: installed where we may, named where we may not.

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Result, bail};

/// A program and the Debian package that brings it.
pub(crate) type Neighbour = (&'static str, &'static str);

const NEIGHBOURS: [Neighbour; 12] = [
    ("prometheus", "prometheus"),
    ("promtool", "prometheus"),
    ("prometheus-node-exporter", "prometheus-node-exporter"),
    ("prometheus-alertmanager", "prometheus-alertmanager"),
    ("prometheus-blackbox-exporter", "prometheus-blackbox-exporter"),
    ("vmagent", "victoria-metrics"),
    ("chromium", "chromium"),
    ("aiosmtpd", "python3-aiosmtpd"),
    ("openssl", "openssl"),
    ("ip", "iproute2"),
    ("curl", "curl"),
    ("amtool", "prometheus-alertmanager"),
];

/// Installs what is missing when run as root on Debian. Returns the names of what is still missing.
///
/// # Errors
/// In CI, where nothing may be skipped, when something is still missing.
pub(crate) fn install(ci: bool, target: &Path) -> Result<Vec<&'static str>> {
    let still = fetch(&NEIGHBOURS);
    for (program, package) in &still {
        println!("MISSING: {program} (Debian: apt install {package}): the tests that need it are SKIPPED");
    }
    let mut missing: Vec<&str> = still.into_iter().map(|(program, _)| program).collect();
    if !has_opentelemetry(target) {
        println!(
            "MISSING: {OPENTELEMETRY} ({SDK}, {EXPORTER}, {CLIENT} for Python): the tests that need it are SKIPPED"
        );
        missing.push(OPENTELEMETRY);
    }
    if ci && !missing.is_empty() {
        bail!("in CI nothing may be skipped");
    }
    Ok(missing)
}

const OPENTELEMETRY: &str = "opentelemetry";
const SDK: &str = "opentelemetry-sdk";
const EXPORTER: &str = "opentelemetry-exporter-otlp-proto-http";
const CLIENT: &str = "prometheus-client";

// OpenTelemetry's SDK and Prometheus's client library in a Python of its own below the target folder; made where it is absent.
fn has_opentelemetry(target: &Path) -> bool {
    let folder = target.join("neighbours").join(OPENTELEMETRY);
    let python = folder.join("bin/python");
    let works = || {
        let import = "import prometheus_client, opentelemetry.sdk.metrics, opentelemetry.exporter.otlp.proto.http.metric_exporter";
        let status = Command::new(&python)
            .args(["-c", import])
            .stderr(Stdio::null())
            .status();
        status.is_ok_and(|status| status.success())
    };
    if works() {
        return true;
    }
    println!("== installing {SDK}, {EXPORTER}, {CLIENT}");
    let venv = || {
        let made = Command::new("python3").args(["-m", "venv"]).arg(&folder).status();
        made.is_ok_and(|status| status.success())
    };
    // Debian keeps what makes them in a package of its own.
    let made = venv() || {
        let may_install = is_root() && Path::new("/usr/bin/apt-get").exists();
        may_install && {
            apt_install(&["python3-venv"]);
            venv()
        }
    };
    if made {
        let _ = Command::new(&python)
            .args([
                "-m",
                "pip",
                "install",
                "--quiet",
                "--disable-pip-version-check",
                SDK,
                EXPORTER,
                CLIENT,
            ])
            .status();
    }
    works()
}

/// Installs what is missing of `wanted` (programs and their packages) when run as root on Debian. Returns what still is.
pub(crate) fn fetch(wanted: &[Neighbour]) -> Vec<Neighbour> {
    let absent = missing(wanted);
    if !absent.is_empty() && is_root() && Path::new("/usr/bin/apt-get").exists() {
        let mut packages: Vec<&str> = absent.iter().map(|(_, package)| *package).collect();
        packages.dedup();
        println!("== installing {}", packages.join(", "));
        apt_install(&packages);
    }
    missing(wanted)
}

// Installs Debian packages without letting their services start: a prometheus that starts by itself would take the port
// that `make run` wants. A failure shows in what is missing afterwards.
fn apt_install(packages: &[&str]) {
    let apt = |args: &[&str]| {
        let quiet = ["-qq", "-o", "Dpkg::Use-Pty=0"];
        let _ = Command::new("apt-get")
            .args(quiet)
            .args(args)
            .env("DEBIAN_FRONTEND", "noninteractive")
            .status();
    };
    // Debian's way to say "start nothing": an exit code of 101 from this script.
    let policy = Path::new("/usr/sbin/policy-rc.d");
    let is_ours = !policy.exists()
        && std::fs::write(policy, "#!/bin/sh\nexit 101\n").is_ok()
        && std::fs::set_permissions(policy, std::fs::Permissions::from_mode(0o755)).is_ok();
    apt(&["update"]);
    apt(&[&["install", "-y", "--no-install-recommends"], packages].concat());
    if is_ours {
        let _ = std::fs::remove_file(policy);
    }
    // Nor at the next start of the machine.
    if Path::new("/run/systemd/system").exists() {
        let services = packages
            .iter()
            .filter(|p| p.starts_with("prometheus") || p.starts_with("victoria"));
        let _ = Command::new("systemctl")
            .args(["--quiet", "disable"])
            .args(services)
            .status();
    }
}

fn missing(wanted: &[Neighbour]) -> Vec<Neighbour> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let has = |program: &str| std::env::split_paths(&path).any(|dir| dir.join(program).is_file());
    wanted.iter().copied().filter(|(program, _)| !has(program)).collect()
}

fn is_root() -> bool {
    let id = Command::new("id").arg("-u").output();
    id.is_ok_and(|out| out.stdout.starts_with(b"0\n"))
}
