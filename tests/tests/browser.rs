//! The pages in headless Chromium: `ui/e2e/browser.mjs` against a running `cupola up` that has something to show.

#![allow(clippy::panic, clippy::unwrap_used, reason = "a test's failure is a panic")]

use cupola_tests::{Browser, FakeServer, Home, Server, eventually, repository};

#[test]
fn every_page_works_in_chromium() {
    let Some(browser) = Browser::here() else {
        return;
    };
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

    let out = browser.look_at(&server, "browser.mjs", env!("CARGO_TARGET_TMPDIR"));
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
