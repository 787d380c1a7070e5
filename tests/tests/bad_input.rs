//! Mistakes and misfortunes: each gets a message that names the place, and costs nothing else.

#![allow(clippy::panic, clippy::unwrap_used, reason = "a test's failure is a panic")]

use std::net::TcpListener;
use std::path::Path;
use std::process::Command;

use cupola_tests::{FakeTarget, Finished, Home, Server, TinyDisk, binary, cupola, eventually, now_ms, run, skip};

// Runs in `home`, must end by itself with exit code 1.
#[track_caller]
fn refused(home: &Home, args: &[&str]) -> Finished {
    let done = run(cupola(args).current_dir(home.path()), b"");
    assert_eq!(done.code, Some(1), "{args:?}: {}{}", done.stdout, done.stderr);
    assert!(!done.stderr.contains("panicked"), "{args:?}: {}", done.stderr);
    assert!(!done.stderr.trim().is_empty(), "{args:?} says nothing");
    done
}

#[track_caller]
fn tells(done: &Finished, texts: &[&str]) {
    for text in texts {
        assert!(done.stderr.contains(text), "{text:?} is not in:\n{}", done.stderr);
    }
}

#[test]
fn an_unknown_flag_is_named() {
    let home = Home::new();
    for (args, told) in [
        (vec!["--nope"], "--nope"),
        (vec!["up", "--lisen=127.0.0.1:0"], "--lisen"),
        (vec!["up", "--listen=nowhere"], "nowhere"),
        (vec!["prometheus", "--web.nope=1"], "--web.nope"),
        (vec!["prometheus", "--query.timeout=soon"], "--query.timeout"),
        (vec!["up", "--log.level=loud"], "loud"),
    ] {
        tells(&refused(&home, &args), &[told]);
        assert!(!home.data().exists(), "{args:?}: something was done already");
    }
}

#[test]
fn every_mistake_of_a_prometheus_yml_is_told_with_its_place() {
    let home = Home::new();
    home.write(
        "prometheus.yml",
        "global:\n  scrape_interval: often\n  unknown_key: 1\nscrape_configs:\n- job_name: a\n  relabel_configs:\n\
        \x20 - {source_labels: [a], regex: '(', action: keep}\n- job_name: a\n",
    );
    for args in [
        vec![
            "prometheus",
            "--config.file=prometheus.yml",
            "--web.listen-address=127.0.0.1:0",
        ],
        vec!["up", "--config.file=prometheus.yml", "--listen=127.0.0.1:0"],
    ] {
        let done = refused(&home, &args);
        tells(
            &done,
            &[
                "prometheus.yml:2:20:",
                "prometheus.yml:3:3:",
                "unknown_key",
                "prometheus.yml:7:",
                "prometheus.yml:8:",
            ],
        );
        assert!(!home.data().exists(), "{args:?}: a data folder was made for nothing");
    }
    home.write("prometheus.yml", "global: {scrape_interval: 1s\n");
    tells(
        &refused(&home, &["prometheus", "--config.file=prometheus.yml"]),
        &["prometheus.yml:"],
    );
    home.write("prometheus.yml", "");
    let done = refused(&home, &["prometheus", "--config.file=absent.yml"]);
    tells(&done, &["absent.yml"]);
}

#[test]
fn every_mistake_of_a_rule_file_is_told_with_its_place() {
    let home = Home::new();
    home.write("prometheus.yml", "rule_files: [rules/*.yml]\n");
    std::fs::create_dir(home.path().join("rules")).unwrap();
    home.write(
        "rules/one.yml",
        "groups:\n- name: g\n  rules:\n  - alert: A\n    expr: rate(up\n  - record: a\n    alert: b\n    expr: up\n  - alert: C\n\
        \x20   expr: sum(rate(x))\n    fro: 5m\n",
    );
    home.write(
        "rules/two.yml",
        "groups:\n- name: g\n  rules:\n  - alert: B\n    expr: up\n    annotations: {a: '{{ .Nope'}\n",
    );
    let done = refused(
        &home,
        &[
            "prometheus",
            "--config.file=prometheus.yml",
            "--web.listen-address=127.0.0.1:0",
        ],
    );
    tells(
        &done,
        &[
            "one.yml:5:18:",
            "one.yml:6:5:",
            "one.yml:10:20:",
            "one.yml:11:5:",
            "fro",
            "two.yml:6:22:",
        ],
    );
}

#[test]
fn every_mistake_of_an_alertmanager_yml_is_told_with_its_place() {
    let home = Home::new();
    home.write(
        "alertmanager.yml",
        "route:\n  receiver: nosuch\n  group_wait: soon\n  unknown: 1\nreceivers:\n- name: a\n  webhook_configs:\n\
        \x20 - url: 'no url'\n",
    );
    let done = refused(
        &home,
        &[
            "up",
            "--listen=127.0.0.1:0",
            "--alertmanager.config.file=alertmanager.yml",
        ],
    );
    tells(
        &done,
        &["alertmanager.yml:3:15:", "alertmanager.yml:4:3:", "alertmanager.yml:8:"],
    );
    assert!(!home.data().exists());
    home.write(
        "alertmanager.yml",
        "route: {receiver: nosuch}\nreceivers: [{name: a}]\n",
    );
    let done = refused(
        &home,
        &[
            "up",
            "--listen=127.0.0.1:0",
            "--alertmanager.config.file=alertmanager.yml",
        ],
    );
    tells(&done, &["alertmanager.yml:1:", "nosuch"]);
}

#[test]
fn a_query_with_an_error_is_status_400_with_its_place() {
    let home = Home::new();
    let server = Server::up(&home, &[]);
    for (query, told) in [
        ("rate(up", "1:8: parse error"),
        ("sum(rate(up[5m])) by", "parse error"),
        ("up +\n  * 2", "2:3: parse error"),
        ("no_such_function(up)", "1:1: parse error: unknown function"),
        ("rate(up)", "1:6: parse error: expected type range vector"),
        ("up{a=~\"(\"}", "parse error"),
        ("", "parse error"),
    ] {
        for (path, more) in [
            ("/api/v1/query", vec![]),
            ("/api/v1/query_range", vec![("start", "1"), ("end", "2"), ("step", "1")]),
        ] {
            let mut params = vec![("query", query)];
            params.extend(more);
            let answer = server.ask(path, &params);
            let json = answer.json();
            assert_eq!(answer.status, 400, "{path} {query:?}: {json}");
            assert_eq!(
                (&json["status"], &json["errorType"]),
                (&"error".into(), &"bad_data".into()),
                "{query:?}"
            );
            let error = json["error"].as_str().unwrap();
            assert!(error.contains(told), "{path} {query:?}: {error}");
        }
    }
    for (path, params) in [
        ("/api/v1/query", vec![("query", "up"), ("time", "yesterday")]),
        (
            "/api/v1/query_range",
            vec![("query", "up"), ("start", "2"), ("end", "1"), ("step", "1")],
        ),
        (
            "/api/v1/query_range",
            vec![("query", "up"), ("start", "0"), ("end", "1"), ("step", "0")],
        ),
        (
            "/api/v1/query_range",
            vec![("query", "up"), ("start", "0"), ("end", "100000"), ("step", "1")],
        ),
        (
            "/api/v1/query_range",
            vec![("query", "up[5m]"), ("start", "0"), ("end", "1"), ("step", "1")],
        ),
        ("/api/v1/series", vec![]),
        ("/api/v1/series", vec![("match[]", "up{")]),
        ("/api/v1/labels", vec![("match[]", "{}")]),
    ] {
        let answer = server.ask(path, &params);
        assert_eq!(answer.status, 400, "{path} {params:?}: {}", answer.text());
        assert_eq!(answer.json()["errorType"], "bad_data", "{path} {params:?}");
    }
    // An error of evaluation is no error of the asker's spelling.
    let clash = server.ask(
        "/api/v1/query",
        &[("query", "up + on () group_left () up{job=~\".+\"}")],
    );
    assert!(matches!(clash.status, 200 | 422), "{}", clash.text());
}

#[test]
fn a_port_in_use_is_told() {
    let home = Home::new();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    home.write("prometheus.yml", "");
    let done = refused(&home, &["up", "--listen", &address]);
    tells(&done, &[&address, "--listen"]);
    let done = refused(&home, &["prometheus", "--web.listen-address", &address]);
    tells(&done, &[&address, "--web.listen-address"]);
    assert!(!home.data().exists(), "a data folder was made for nothing");
}

#[test]
fn a_data_folder_that_cannot_be_written_is_told() {
    let home = Home::new();
    home.write("file", "not a folder\n");
    let done = refused(&home, &["up", "--listen=127.0.0.1:0", "--data=file/data"]);
    tells(&done, &["file/data"]);
    let done = refused(&home, &["up", "--listen=127.0.0.1:0", "--data=file"]);
    tells(&done, &["file"]);
    assert_eq!(
        std::fs::read_to_string(home.path().join("file")).unwrap(),
        "not a folder\n"
    );
}

#[test]
fn a_read_only_disk_is_told_at_the_start() {
    let Some(disk) = TinyDisk::mount(1024) else {
        return skip("mounting a file system needs root");
    };
    let home = Home::new();
    disk.set_read_only(true);
    let data = disk.path().join("data").display().to_string();
    let done = refused(&home, &["up", "--listen=127.0.0.1:0", "--data", &data]);
    tells(&done, &[&data, "ead-only"]);
}

#[test]
fn a_full_disk_stops_no_query_and_loses_nothing_that_was_stored() {
    let Some(disk) = TinyDisk::mount(4096) else {
        return skip("mounting a file system needs root");
    };
    // Numbers that no compression makes small.
    let target = FakeTarget::computed(|n| {
        let mut state = n.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
        let mut text = format!("beat {n}\n");
        for i in 0..100 {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            text.push_str(&format!("noise{{i=\"{i}\"}} {:e}\n", state as f64));
        }
        text
    });
    let home = Home::new();
    let text = format!(
        "global: {{scrape_interval: 200ms, scrape_timeout: 200ms}}\n\
         scrape_configs:\n- job_name: noise\n  static_configs: [{{targets: ['{}']}}]\n",
        target.address()
    );
    let config = home.write("prometheus.yml", &text);
    let start = || {
        let mut command = cupola(["prometheus", "--web.listen-address=127.0.0.1:0"]);
        command.arg(format!("--storage.tsdb.path={}", disk.path().join("data").display()));
        command.arg(format!("--config.file={}", config.display()));
        Server::start(&mut command)
    };
    let mut server = start();
    let count = |server: &Server| server.value("count_over_time(beat[5m])").unwrap_or(0.0);
    eventually(20, "some samples are stored", || (count(&server) >= 5.0).then_some(()));
    disk.fill();
    eventually(30, "the disk is noticed to be full", || {
        server
            .own_metric("cupola_scrape_commits_failed_total")
            .filter(|n| *n >= 3.0)
    });
    assert!(server.own_metric("prometheus_tsdb_wal_writes_failed_total").unwrap() >= 1.0);
    let when_full = now_ms();
    let stored = count(&server);
    assert!(stored >= 5.0, "what was stored cannot be asked any more");
    assert_eq!(server.get("/").status, 200);
    let told = server.log().iter().filter(|l| l.contains("No space left")).count();
    assert!(told >= 1, "the log does not tell of the full disk: {:?}", server.log());
    let asked = target.scrapes();
    eventually(20, "scraping goes on", || (target.scrapes() > asked + 3).then_some(()));
    assert!(told <= 5, "the log repeats itself: {told} lines");

    disk.free();
    eventually(30, "samples are stored again", || {
        let newest = server.value("max(timestamp(beat))")?;
        (newest * 1000.0 > when_full as f64 && count(&server) >= stored + 3.0).then_some(())
    });
    let before = count(&server);
    server.kill();
    let server = start();
    let after = count(&server);
    assert!(after >= before, "{before} samples before kill -9, {after} after it");
}

#[test]
fn a_symlink_named_prometheus_is_prometheus() {
    let home = Home::new();
    let link = home.path().join("prometheus");
    std::os::unix::fs::symlink(binary(), &link).unwrap();
    let version = run(Command::new(&link).arg("--version"), b"");
    assert_eq!(version.code, Some(0));
    assert!(version.stdout.starts_with("prometheus, version "), "{}", version.stdout);
    let help = run(Command::new(&link).arg("--help"), b"");
    assert!(help.stdout.contains("--storage.tsdb.path"), "{}", help.stdout);
    let unknown = run(
        Command::new(&link).arg("--listen=127.0.0.1:0").current_dir(home.path()),
        b"",
    );
    assert_eq!(unknown.code, Some(1));
    home.write("prometheus.yml", "");
    let mut command = Command::new(&link);
    let server = Server::start(command.arg("--web.listen-address=127.0.0.1:0").current_dir(home.path()));
    assert_eq!(
        server.api("/api/v1/targets", &[])["activeTargets"]
            .as_array()
            .unwrap()
            .len(),
        0
    );
    assert_eq!(server.api("/api/v1/rules", &[])["groups"].as_array().unwrap().len(), 0);
    assert!(home.path().join("data/lock").is_file());
}

#[test]
fn only_commands_that_exist_are_listed() {
    let help = run(&mut cupola(["--help"]), b"");
    assert_eq!(help.code, Some(0), "{}", help.stderr);
    let listed: Vec<&str> = help
        .stdout
        .lines()
        .skip_while(|l| !l.starts_with("Commands:"))
        .skip(1)
        .take_while(|l| l.starts_with("  "))
        // A command stands at two blanks, the rest of its description further in.
        .filter_map(|l| l.strip_prefix("  ")?.split(' ').next().filter(|w| !w.is_empty()))
        .collect();
    assert!(
        listed.contains(&"up") && listed.contains(&"prometheus"),
        "{}",
        help.stdout
    );
    let home = Home::new();
    for command in &listed {
        let help = run(&mut cupola([command, "--help"]), b"");
        assert_eq!(
            help.code,
            Some(0),
            "{command} is listed and has no help: {}",
            help.stderr
        );
    }
    let promised = [
        "up",
        "prometheus",
        "alertmanager",
        "node-exporter",
        "blackbox-exporter",
        "kube-state-metrics",
        "operator",
        "promtool",
        "amtool",
    ];
    for command in promised.iter().filter(|c| !listed.contains(c)) {
        refused(&home, &[command]);
    }
    for tool in [
        "alertmanager",
        "promtool",
        "amtool",
        "node_exporter",
        "blackbox_exporter",
    ] {
        let link = home.path().join(tool);
        std::os::unix::fs::symlink(binary(), &link).unwrap();
        if listed.contains(&tool.replace('_', "-").as_str()) {
            continue;
        }
        let done = run(Command::new(&link).current_dir(home.path()), b"");
        assert_eq!(done.code, Some(1), "{tool}");
        assert!(done.stderr.contains(tool), "{tool}: {}", done.stderr);
    }
    assert!(!Path::new(&home.data()).exists());
}
