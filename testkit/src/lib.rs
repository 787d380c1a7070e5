//! What the tests of several crates share. Only ever a dev-dependency.
//!
//! *Invariant:* depends on no other crate of the workspace, so that every crate may use it.

mod mutate;
mod port;
pub mod protobuf;

use std::path::PathBuf;

pub use mutate::{Mutator, fuzz};
pub use port::free_address;

/// The workspace's root folder, as cargo tells it when the test runs (`.cargo/config.toml`).
///
/// Not `env!("CARGO_MANIFEST_DIR")`: checkouts that share a target folder share what was compiled, too.
#[must_use]
pub fn workspace_root() -> PathBuf {
    std::env::var_os("CUPOLA_ROOT").map_or_else(|| PathBuf::from("."), PathBuf::from)
}

/// The folder `name` of the conformance data, or `None` where the data is absent.
///
/// Looks below `$CUPOLA_CONFORMANCE`, else in `../shared/conformance` beside the workspace. The data is never copied
/// into the repository, so a plain clone does not have it and the caller returns early.
///
/// # Panics
/// Where the data is absent although `CI=true`: there nothing may be skipped.
#[must_use]
pub fn conformance_dir(name: &str) -> Option<PathBuf> {
    let root = std::env::var_os("CUPOLA_CONFORMANCE")
        .map_or_else(|| workspace_root().join("../shared/conformance"), PathBuf::from);
    let dir = root.join(name);
    if dir.exists() {
        return Some(dir);
    }
    assert!(
        std::env::var("CI").as_deref() != Ok("true"),
        "conformance data missing in CI: {}",
        dir.display()
    );
    eprintln!("SKIPPED: no conformance data at {}", dir.display());
    None
}
