//! Agent mode, beside Debian's Prometheus as an agent.

#![allow(clippy::panic, clippy::unwrap_used, reason = "a test's failure is a panic")]

use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;

use cupola_tests::{FakeTarget, Home, Prometheus, Server, cupola, eventually, get, now_ms, request, run, url_encode};
use serde_json::Value;

fn command(home: &Home, config: &Path, args: &[&str]) -> Command {
    let mut command = cupola(["prometheus", "--agent", "--web.listen-address=127.0.0.1:0"]);
    command.arg(format!("--storage.agent.path={}", home.data().display()));
    command.arg(format!("--config.file={}", config.display()));
    command.args(args).current_dir(home.path());
    command
}

fn values(address: SocketAddr, time: i64) -> Vec<Value> {
    let query = url_encode("made_up_total[10m]");
    let path = format!("/api/v1/query?query={query}&time={:.3}", time as f64 / 1000.0);
    let mut json = get(address, &path).unwrap().json();
    let result: Vec<Value> = serde_json::from_value(json["data"]["result"].take()).unwrap();
    let values = result.first().map(|series| series["values"].clone());
    values.map_or_else(Vec::new, |values| serde_json::from_value(values).unwrap())
}

#[test]
fn an_agent_answers_as_prometheus_does_as_one() {
    let home = Home::new();
    let yaml = "global: {scrape_interval: 1m}\n";
    let config = home.write("prometheus.yml", yaml);
    let server = Server::start(&mut command(&home, &config, &["--web.enable-admin-api"]));
    let data = Home::new();
    let path = format!("--storage.agent.path={}", data.path().join("agent").display());
    let args = ["--enable-feature=agent", &path, "--web.enable-admin-api"];
    let Some(prometheus) = Prometheus::agent(Home::new(), yaml, &args) else {
        return;
    };
    for path in [
        "/-/ready",
        "/-/healthy",
        "/api/v1/query?query=up",
        "/api/v1/query_range",
        "/api/v1/query_exemplars",
        "/api/v1/format_query?query=up",
        "/api/v1/series?match[]=up",
        "/api/v1/labels",
        "/api/v1/label/job/values",
        "/api/v1/rules",
        "/api/v1/alerts",
        "/api/v1/alertmanagers",
        "/api/v1/status/tsdb",
        "/api/v1/metadata",
        "/api/v1/targets/metadata",
        "/api/v1/scrape_pools",
        "/federate?match[]=up",
    ] {
        let (ours, theirs) = (server.get(path), get(prometheus.address(), path).unwrap());
        assert_eq!((ours.status, ours.text()), (theirs.status, theirs.text()), "{path}");
    }
    for name in ["active_series", "samples_appended_total", "out_of_order_samples_total"] {
        assert!(
            server.own_metric(&format!("prometheus_agent_{name}")).is_some(),
            "{name}"
        );
    }
    for path in ["delete_series", "clean_tombstones", "snapshot"] {
        let path = format!("/api/v1/admin/tsdb/{path}");
        let ask = |address| request(address, "POST", &path, &[], b"").unwrap();
        let (ours, theirs) = (ask(server.address()), ask(prometheus.address()));
        assert_eq!((ours.status, ours.text()), (theirs.status, theirs.text()), "{path}");
    }
    let overview = server.get("/");
    assert_eq!((overview.status, overview.header("location")), (302, "/targets"));
    for path in [
        "/api/v1/targets",
        "/api/v1/status/config",
        "/api/v1/status/flags",
        "/metrics",
    ] {
        assert_eq!(server.get(path).status, 200, "{path}");
    }
}

#[test]
fn an_agent_sends_what_it_scrapes_also_over_a_kill() {
    let receiver = Prometheus::start(Home::new(), &["--web.enable-remote-write-receiver"]);
    let Some(receiver) = receiver else { return };
    let target = FakeTarget::computed(|n| format!("# TYPE made_up_total counter\nmade_up_total {n}\n"));
    let home = Home::new();
    let yaml = format!(
        "global: {{scrape_interval: 100ms, scrape_timeout: 100ms}}\n\
         scrape_configs:\n- job_name: j\n  static_configs: [{{targets: ['{}']}}]\n\
         remote_write:\n- url: http://{}/api/v1/write\n  queue_config: {{batch_send_deadline: 50ms}}\n",
        target.address(),
        receiver.address()
    );
    let config = home.write("prometheus.yml", &yaml);
    let mut expected = 0;
    for _ in 0..3 {
        let mut server = Server::start(&mut command(&home, &config, &[]));
        expected += 15;
        eventually(60, "it has arrived", || {
            (values(receiver.address(), now_ms()).len() > expected).then_some(())
        });
        server.kill();
    }
    let mut server = Server::start(&mut command(&home, &config, &[]));
    eventually(60, "it goes on", || {
        (values(receiver.address(), now_ms()).len() > expected + 15).then_some(())
    });
    assert!(server.stop(rustix::process::Signal::TERM).success());
    // Each scrape once, none missing: what the target counted is what arrived. The last one may have been cut off.
    let arrived = values(receiver.address(), now_ms());
    let numbers: Vec<u64> = arrived
        .iter()
        .map(|pair| pair[1].as_str().unwrap().parse().unwrap_or(u64::MAX))
        .collect();
    let scraped: Vec<u64> = numbers.iter().copied().filter(|n| *n != u64::MAX).collect();
    assert!(scraped.windows(2).all(|two| two[0] < two[1]), "{scraped:?}");
    let missing = scraped.last().unwrap() + 1 - scraped.len() as u64;
    // A scrape that the end of a process cut off was asked for and never stored.
    assert!(missing <= 4, "{missing} of {scraped:?}");
    let blocks = std::fs::read_dir(home.data()).unwrap();
    let names: Vec<String> = blocks
        .map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned())
        .collect();
    assert!(names.iter().all(|name| name.len() != 26), "there are blocks: {names:?}");
}

#[test]
fn flags_and_sections_of_the_other_mode_are_refused() {
    let home = Home::new();
    let config = home.write(
        "prometheus.yml",
        "rule_files: [x.yml]\nremote_read: [{url: http://x/}]\n",
    );
    let flag = format!("--config.file={}", config.display());
    for (args, code, told) in [
        (
            ["--agent", &flag, "--storage.tsdb.path=x", "--query.timeout=1m"],
            3,
            "The following flag(s) can not be used in agent mode: [\"--query.timeout\" \"--storage.tsdb.path\"]",
        ),
        (
            [&flag, "--storage.agent.path=x", "--log.level=info", "--no-agent"],
            3,
            "The following flag(s) can only be used in agent mode: [\"--storage.agent.path\"]",
        ),
        (
            [
                &flag,
                "--enable-feature=agent",
                "--log.level=info",
                "--web.listen-address=127.0.0.1:0",
            ],
            1,
            "1:1: field rule_files is not allowed in agent mode",
        ),
    ] {
        let mut command = cupola(["prometheus"]);
        command.args(args).current_dir(home.path());
        let finished = run(&mut command, b"");
        assert_eq!(finished.code, Some(code), "{args:?}: {}", finished.stderr);
        assert!(finished.stderr.contains(told), "{}", finished.stderr);
    }
}
