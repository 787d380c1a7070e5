//! The pages in headless Chromium: `ui/e2e/browser.mjs` against a running `cupola up` that has something to show.

#![allow(clippy::panic, clippy::unwrap_used, reason = "a test's failure is a panic")]

use std::path::Path;
use std::process::Command;

use cupola_tests::{Background, FakeServer, Home, Server, eventually, neighbour, repository, skip, tell};

// The script bounds each of its steps; this bounds all of them.
const SECONDS: u64 = 420;

#[test]
fn every_page_works_in_chromium() {
    let (Some(node), Some(chromium)) = (neighbour("node"), neighbour("chromium")) else {
        return;
    };
    let ui = repository().join("ui");
    if !ui.join("node_modules/playwright-core").is_dir() {
        return skip("ui/node_modules is not there: run make ui");
    }
    let sink = FakeServer::sink();
    let home = Home::new();
    let receivers = home.write(
        "alertmanager.yml",
        &format!(
            "route:\n  receiver: on-call\n  group_by: [alertname]\n  group_wait: 1s\n  group_interval: 5s\n\
             receivers:\n- name: on-call\n  webhook_configs: [{{url: '{}'}}]\n",
            sink.url("/hook")
        ),
    );
    let server = Server::up(&home, &[&format!("--alertmanager.config.file={}", receivers.display())]);
    // The pages are to be seen with their numbers: two scrapes for a rate, and an alert that was delivered.
    eventually(60, "rates of the host", || {
        server.query("rate(node_cpu_seconds_total{mode=\"idle\"}[1m])").pop()
    });
    eventually(60, "the watchdog has reached its receiver", || {
        sink.requests("/hook").pop()
    });

    let out = Path::new(env!("CARGO_TARGET_TMPDIR")).join("browser");
    std::fs::create_dir_all(&out).unwrap();
    let mut command = Command::new(node);
    command.arg("e2e/browser.mjs").current_dir(&ui);
    command
        .env("CUPOLA_URL", server.url())
        .env("OUT_DIR", &out)
        .env("CHROMIUM", chromium);
    let mut script = Background::start("browser.mjs", &mut command);
    let status = script.wait(SECONDS);
    for line in script.stdout().iter().chain(&script.stderr()) {
        println!("{line}");
    }
    assert_eq!(
        status.code(),
        Some(0),
        "the pages have faults; screenshots are in {}",
        out.display()
    );
    let summary = script.stdout().pop().unwrap_or_default();
    assert!(
        summary.contains("0 failed") && !summary.starts_with("0 passed"),
        "{summary}"
    );
    tell(&format!("browser: {summary}"));
    assert!(
        !server.log().iter().any(|l| l.contains("level=ERROR")),
        "{:?}",
        server.log()
    );

    let screenshot = out.join("overview-light-1280.png");
    assert!(screenshot.is_file(), "no screenshot was made");
    if std::env::var("CUPOLA_UPDATE_SCREENSHOT").as_deref() == Ok("1") {
        std::fs::copy(screenshot, repository().join("docs/screenshot.png")).unwrap();
    }
}
