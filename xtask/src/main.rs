//! The project's own chores.
//!
//! `cargo run -p xtask -- test` runs everything that `make test` promises, in order, and stops at the first failure.
//! `cargo run -p xtask -- tidy` checks the walls between crates.
//! `cargo run -p xtask -- bench` measures Cupola against its peers.

mod bench;
mod neighbours;
mod tidy;

use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use anyhow::{Context as _, Result, bail};

fn main() -> ExitCode {
    match chore() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("xtask: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn chore() -> Result<()> {
    let root = root();
    match std::env::args().nth(1).as_deref() {
        Some("test") => test(&root),
        Some("tidy") => tidy::check(&root),
        Some("bench") => {
            let cargo = std::env::var("CARGO").unwrap_or_else(|_| "cargo".to_owned());
            bench::run(
                &root,
                &target_dir(&root, &cargo)?,
                &std::env::args().skip(2).collect::<Vec<_>>(),
            )
        }
        other => bail!("unknown chore {other:?}; there are: test, tidy, bench"),
    }
}

fn root() -> PathBuf {
    // As cargo tells it when it runs us (.cargo/config.toml): checkouts may share what was compiled.
    std::env::var_os("CUPOLA_ROOT").map_or_else(|| PathBuf::from("."), PathBuf::from)
}

// What the cases of property tests are drawn from, read by `proptest`.
const PROPERTY_SEED: &str = "PROPTEST_RNG_SEED";

fn test(root: &Path) -> Result<()> {
    let ci = std::env::var("CI").is_ok_and(|v| v == "true");
    let cargo = std::env::var("CARGO").unwrap_or_else(|_| "cargo".to_owned());
    let target = target_dir(root, &cargo)?;
    let missing = neighbours::install(ci, &target)?;

    run("format", Command::new(&cargo).args(["fmt", "--all", "--check"]), root)?;
    println!("== walls");
    tidy::check(root)?;
    let clippy = [
        "clippy",
        "--workspace",
        "--all-targets",
        "--locked",
        "--quiet",
        "--",
        "-D",
        "warnings",
    ];
    run("lints", Command::new(&cargo).args(clippy), root)?;
    let mut unit = Command::new(&cargo);
    unit.args([
        "test",
        "--workspace",
        "--locked",
        "--quiet",
        "--no-fail-fast",
        // Also those below a crate's `tests/`, the storage's simulation among them; what needs the binary comes last.
        "--tests",
        "--exclude",
        "cupola-tests",
    ]);
    if std::env::var_os(PROPERTY_SEED).is_none() {
        // What passed passes again; `make soak` looks for more.
        unit.env(PROPERTY_SEED, "1");
    }
    run("unit, property, conformance, fuzz", &mut unit, root)?;
    run(
        "pages: types and format",
        Command::new("npm").args(["run", "--silent", "check"]),
        &root.join("ui"),
    )?;
    run(
        "pages: unit",
        Command::new("npm").args(["test", "--silent"]),
        &root.join("ui"),
    )?;
    run(
        "release binary",
        Command::new(&cargo).args(["build", "--release", "--locked", "--quiet", "-p", "cupola"]),
        root,
    )?;
    let mut end_to_end = Command::new(&cargo);
    end_to_end
        .args(["test", "--locked", "--quiet", "--no-fail-fast", "-p", "cupola-tests"])
        .env("CUPOLA_BINARY", target.join("release/cupola"))
        .env("CUPOLA_MISSING", missing.join(","));
    run("end to end, with real neighbours and a browser", &mut end_to_end, root)?;

    if missing.is_empty() {
        println!("== all of it passed");
    } else {
        println!("== passed, but SKIPPED what needs: {}", missing.join(", "));
    }
    Ok(())
}

fn run(what: &str, command: &mut Command, dir: &Path) -> Result<()> {
    println!("== {what}");
    let status = command
        .current_dir(dir)
        .status()
        .with_context(|| format!("cannot start {command:?}"))?;
    if !status.success() {
        bail!("{what}: failed ({status})");
    }
    Ok(())
}

fn target_dir(root: &Path, cargo: &str) -> Result<PathBuf> {
    let metadata = metadata(root, cargo)?;
    let dir = metadata.get("target_directory").and_then(|v| v.as_str());
    Ok(PathBuf::from(dir.context("cargo metadata names no target_directory")?))
}

fn metadata(root: &Path, cargo: &str) -> Result<serde_json::Value> {
    let args = ["metadata", "--format-version", "1", "--no-deps"];
    let output = Command::new(cargo)
        .args(args)
        .current_dir(root)
        .output()
        .context("cannot start cargo metadata")?;
    serde_json::from_slice(&output.stdout).context("cargo metadata printed no JSON")
}
