use std::path::{Path, PathBuf};
use std::process::Command;

use crate::{Background, Server, neighbour, repository, skip, tell};

// A script bounds each of its steps; this bounds all of them.
const SECONDS: u64 = 420;

/// What it takes to look at the pages: node, headless Chromium and the packages of `ui`.
pub struct Browser {
    node: PathBuf,
    chromium: PathBuf,
    ui: PathBuf,
}

impl Browser {
    /// What is here, or nothing, and then it has been said loudly.
    ///
    /// # Panics
    /// In CI, where all of it must be there.
    #[track_caller]
    #[must_use]
    pub fn here() -> Option<Self> {
        let (node, chromium) = (neighbour("node")?, neighbour("chromium")?);
        let ui = repository().join("ui");
        if !ui.join("node_modules/playwright-core").is_dir() {
            skip("ui/node_modules is not there: run make ui");
            return None;
        }
        Some(Self { node, chromium, ui })
    }

    /// Lets `script` (of `ui/e2e`) look at the pages of `server`, and gives the folder below `target_tmp` in which its
    /// screenshots are.
    ///
    /// # Panics
    /// When the script finds a fault, and when it checked nothing.
    #[track_caller]
    #[must_use]
    pub fn look_at(&self, server: &Server, script: &str, target_tmp: &str) -> PathBuf {
        let out = Path::new(target_tmp).join(script.trim_end_matches(".mjs"));
        std::fs::create_dir_all(&out).unwrap();
        let mut command = Command::new(&self.node);
        command.arg(format!("e2e/{script}")).current_dir(&self.ui);
        command
            .env("CUPOLA_URL", server.url())
            .env("OUT_DIR", &out)
            .env("CHROMIUM", &self.chromium);
        let mut child = Background::start(script, &mut command);
        let status = child.wait(SECONDS);
        for line in child.stdout().iter().chain(&child.stderr()) {
            println!("{line}");
        }
        assert_eq!(
            status.code(),
            Some(0),
            "the pages have faults; screenshots are in {}",
            out.display()
        );
        let summary = child.stdout().pop().unwrap_or_default();
        assert!(
            summary.contains("0 failed") && !summary.starts_with("0 passed"),
            "{summary}"
        );
        tell(&format!("{script}: {summary}"));
        out
    }
}
