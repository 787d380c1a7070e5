//! Makes a table of the built pages, so that the binary carries them. Without them the crate still builds and the server
//! says at `/` how to get them.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

fn main() {
    let here = PathBuf::from(std::env::var("CARGO_MANIFEST_DIR").expect("cargo sets it"));
    let dist = here.join("dist");
    // See .cargo/config.toml: files' times alone do not tell one checkout from another.
    println!("cargo::rerun-if-env-changed=CUPOLA_ROOT");
    println!("cargo::rerun-if-changed=dist");
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-changed=../../ui/dashboards");
    let mut files = Vec::new();
    collect(&dist, &mut files);
    files.sort();
    let mut table = String::from("/// Path below `dist`, content.\npub(crate) static FILES: &[(&str, &[u8])] = &[\n");
    for file in &files {
        let name = file
            .strip_prefix(&dist)
            .expect("collected below dist")
            .to_string_lossy()
            .replace('\\', "/");
        writeln!(
            table,
            "    ({name:?}, include_bytes!({:?})),",
            file.display().to_string()
        )
        .expect("writes to a String");
    }
    table.push_str("];\n");
    let dashboards = here.join("../../ui/dashboards");
    let mut files = Vec::new();
    collect(&dashboards, &mut files);
    files.sort();
    table.push_str("/// Grafana dashboards that come with the binary.\npub(crate) static DASHBOARDS: &[&str] = &[\n");
    for file in files.iter().filter(|f| f.extension().is_some_and(|e| e == "json")) {
        writeln!(table, "    include_str!({:?}),", file.display().to_string()).expect("writes to a String");
    }
    table.push_str("];\n");
    let root = here.display().to_string();
    writeln!(
        table,
        "/// The checkout whose files these are.\n#[cfg(test)]\npub(crate) static CHECKOUT: &str = {root:?};"
    )
    .expect("writes to a String");
    let out = PathBuf::from(std::env::var("OUT_DIR").expect("cargo sets it")).join("files.rs");
    std::fs::write(out, table).expect("OUT_DIR can be written");
}

fn collect(dir: &Path, files: &mut Vec<PathBuf>) {
    let Ok(entries) = std::fs::read_dir(dir) else { return };
    for entry in entries.flatten() {
        let path = entry.path();
        if path.is_dir() {
            collect(&path, files);
        } else {
            files.push(path);
        }
    }
}
