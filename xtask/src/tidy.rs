//! The walls between crates, as ARCHITECTURE.md draws them.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context as _, Result, bail};
use serde_json::Value;

// Crates by layer; an arrow may only point to the same layer or a lower one, and cargo itself forbids circles.
const LAYERS: [(u8, &[&str]); 5] = [
    (
        0,
        &[
            "env",
            "goregex",
            "model",
            "exposition",
            "promql",
            "gotemplate",
            "histogram",
            "config",
            "chunk",
            "metrics",
            "wire",
        ],
    ),
    (1, &["storage", "block", "wlog", "tsdb", "engine", "node"]),
    (
        2,
        &[
            "net",
            "discovery",
            "remote",
            "scrape",
            "rules",
            "alert",
            "cluster",
            "notify",
        ],
    ),
    (3, &["web"]),
    (4, &["cupola"]),
];

// What a crate must not depend on, and why that is a wall. `*` stands for every crate of the layers given.
const NEVER: [(&str, &str, &str); 10] = [
    ("engine", "cupola-tsdb", "the engine knows the storage traits only"),
    ("engine", "cupola-block", "the engine knows the storage traits only"),
    ("promql", "cupola-storage", "the language knows nothing of storage"),
    ("tsdb", "cupola-promql", "the storage knows nothing of the language"),
    (
        "tsdb",
        "cupola-config",
        "the storage is told its options, it reads no configuration",
    ),
    ("alert", "cupola-rules", "alerts arrive as data, whoever sends them"),
    (
        "rules",
        "cupola-alert",
        "alerts are handed on as data, whoever takes them",
    ),
    (
        "cluster",
        "cupola-alert",
        "members share bytes by key, whatever they mean",
    ),
    ("scrape", "cupola-tsdb", "scraping knows the storage traits only"),
    ("remote", "cupola-tsdb", "sending knows the storage traits only"),
];

// A dependency and the only crates that may name it.
const ONLY: [(&str, &[&str]); 13] = [
    (
        "tokio",
        &[
            "net",
            "discovery",
            "remote",
            "scrape",
            "rules",
            "alert",
            "cluster",
            "notify",
            "web",
            "cupola",
        ],
    ),
    ("hyper", &["net", "web"]),
    ("rustls", &["net", "cupola"]),
    ("axum", &["web"]),
    ("serde-saphyr", &["config"]),
    ("regex", &["goregex"]),
    ("regex-syntax", &["goregex"]),
    ("zstd", &["net", "tsdb", "web", "wlog"]),
    ("snap", &["remote", "wlog"]),
    ("simple-dns", &["discovery"]),
    ("quick-xml", &["discovery"]),
    ("mimalloc", &["cupola"]),
    ("clap", &["cupola"]),
];

// Outside the layers: tests and chores.
const BESIDE: [&str; 3] = ["cupola-testkit", "cupola-tests", "xtask"];

pub(crate) fn check(root: &Path) -> Result<()> {
    let cargo = std::env::var("CARGO").unwrap_or_else(|_| "cargo".to_owned());
    let metadata = crate::metadata(root, &cargo)?;
    let packages = metadata
        .get("packages")
        .and_then(Value::as_array)
        .context("cargo metadata lists no packages")?;
    let layers: BTreeMap<&str, u8> = LAYERS
        .iter()
        .flat_map(|(layer, names)| names.iter().map(move |n| (*n, *layer)))
        .collect();
    let mut broken = Vec::new();
    for package in packages {
        let text = |key: &str| package.get(key).and_then(Value::as_str).unwrap_or("");
        let name = text("name");
        if BESIDE.contains(&name) {
            continue;
        }
        let short = name.strip_prefix("cupola-").unwrap_or(name);
        let Some(layer) = layers.get(short) else {
            broken.push(format!(
                "{name}: stands in no layer; add it to xtask/src/tidy.rs and ARCHITECTURE.md"
            ));
            continue;
        };
        for dependency in package
            .get("dependencies")
            .and_then(Value::as_array)
            .into_iter()
            .flatten()
        {
            let text = |key: &str| dependency.get(key).and_then(Value::as_str).unwrap_or("");
            let to = text("name");
            if text("req") == "*" && !to.starts_with("cupola") {
                broken.push(format!("{name}: wildcard version of {to}"));
            }
            if text("kind") == "dev" {
                continue;
            }
            if to == "cupola-testkit" {
                broken.push(format!("{name} -> {to}: only a dev-dependency"));
            }
            let target = to.strip_prefix("cupola-").and_then(|n| layers.get(n));
            if target.is_some_and(|target| target > layer) {
                broken.push(format!("{name} -> {to}: an arrow upwards"));
            }
            if let Some((_, _, why)) = NEVER.iter().find(|(from, never, _)| *from == short && *never == to) {
                broken.push(format!("{name} -> {to}: {why}"));
            }
            if let Some((_, only)) = ONLY.iter().find(|(dep, _)| *dep == to)
                && !only.contains(&short)
            {
                broken.push(format!("{name} -> {to}: only {} may", only.join(", ")));
            }
        }
    }
    if !broken.is_empty() {
        bail!("walls between crates are broken:\n  {}", broken.join("\n  "));
    }
    println!("{} crates, no arrow upwards", layers.len());
    Ok(())
}
