//! What rules would have done: asked of a data folder and of a server that runs on it.

#![allow(clippy::panic, clippy::unwrap_used, reason = "a test's failure is a panic")]

use std::fmt::Write as _;

use cupola_tests::{Finished, Home, Server, cupola, run};
use serde_json::Value;

const START: u64 = 1_700_000_000;

const RULES: &str = "groups:
- name: g
  interval: 1m
  rules:
  - {record: 'room:temperature:max', expr: 'max by (room) (temperature)'}
  - {alert: TooHot, expr: 'room:temperature:max > 30', for: 5m, labels: {severity: page}}
  - {alert: Never, expr: 'temperature > 100'}
";

fn promtool(args: &[&str]) -> Finished {
    run(&mut cupola([&["promtool"], args].concat()), b"")
}

#[track_caller]
fn ok(done: Finished) -> String {
    assert_eq!(done.code, Some(0), "{}{}", done.stdout, done.stderr);
    done.stdout
}

#[test]
fn a_backtest_of_a_folder_and_of_the_server_on_it_agree() {
    let home = Home::new();
    // Six hours, every half minute: too hot for 20 minutes in the second hour, for three in the fourth.
    let mut text = String::from("# TYPE temperature gauge\n");
    for second in (0..6 * 3600).step_by(30) {
        let minute = second / 60;
        let hot = (70..90).contains(&minute) || (200..203).contains(&minute);
        let value = if hot { 35 } else { 20 };
        writeln!(
            text,
            "temperature{{room=\"cellar\",sensor=\"a\"}} {value} {}",
            START + second
        )
        .unwrap();
        writeln!(text, "temperature{{room=\"attic\",sensor=\"b\"}} 25 {}", START + second).unwrap();
    }
    text.push_str("# EOF\n");
    let input = home.write("in.om", &text);
    let data = home.path().join("data");
    let folder = data.display().to_string();
    ok(promtool(&[
        "tsdb",
        "create-blocks-from",
        "openmetrics",
        &input.display().to_string(),
        &folder,
    ]));
    let rules = home.write("r.yml", RULES).display().to_string();
    let (start, end) = (START.to_string(), (START + 6 * 3600 - 30).to_string());
    let asked = ["rules", "backtest", &rules, "--start", &start, "--end", &end];
    let offline = ok(promtool(&[&asked[..], &["--data", &folder]].concat()));
    let lines: Vec<&str> = offline.lines().map(str::trim).collect();
    let has_samples = |line: &&str| {
        // The group's slot within the minute is by its file's name.
        let count = line.strip_prefix("room:temperature:max: 2 series, ");
        let count = count.and_then(|left| left.strip_suffix(" samples")?.parse().ok());
        count.is_some_and(|count: u64| (718..=720).contains(&count))
    };
    assert!(lines.iter().any(has_samples), "{offline}");
    let fired = lines.iter().find(|line| line.starts_with("TooHot: "));
    let fired = fired.unwrap_or_else(|| panic!("{offline}"));
    assert!(
        fired.starts_with("TooHot: fired 1 time, 1") && fired.ends_with("pending only 1 time"),
        "{offline}"
    );
    assert!(lines.contains(&"Never: never fired"), "{offline}");

    let config = home.write("prometheus.yml", "global: {}\n");
    let retention = "--storage.tsdb.retention.time=100y";
    let server = Server::prometheus(&home, &config, &[retention]);
    let json = |more: &[&str]| -> Value {
        let told = ok(promtool(&[&asked[..], &["-o", "json"], more].concat()));
        serde_json::from_str(&told).unwrap()
    };
    let online = json(&["--url", &server.url()]);
    let offline = json(&["--data", &folder]);
    for at in 0..3 {
        let (a, b) = (&online["rules"][at], &offline["rules"][at]);
        for field in ["name", "query", "series", "fired", "pendingOnly", "failures"] {
            assert_eq!(a[field], b[field], "{field}: {a} {b}");
        }
    }
    let life = &online["rules"][1]["alerts"][0];
    assert_eq!(life["labels"]["severity"], "page");
    let since = |name: &str| life[name].as_f64().unwrap() - START as f64;
    let near = |seconds: f64, minute: f64| (seconds - minute * 60.0).abs() <= 90.0;
    assert!(
        near(since("activeAt"), 70.0) && near(since("firedAt"), 75.0) && near(since("endedAt"), 90.0),
        "{life}"
    );

    let old = home
        .write("old.yml", &RULES.replace("> 30", "> 22"))
        .display()
        .to_string();
    let both = ok(promtool(
        &[&asked[..], &["--data", &folder, "--against", &old]].concat(),
    ));
    assert!(both.contains("TooHot\n  against: fired 2 times"), "{both}");
    assert!(both.contains("\n      new: fired 1 time"), "{both}");

    // What an Alertmanager would have made of it.
    let alertmanager = "route: {receiver: team, group_by: [alertname], repeat_interval: 1h}\n\
                        receivers: [{name: team, webhook_configs: [{url: 'http://127.0.0.1:1/'}]}]\n";
    let file = home.write("alertmanager.yml", alertmanager).display().to_string();
    let with = ["--alertmanager-config", file.as_str()];
    let told = ok(promtool(&[&asked[..], &["--data", &folder], &with].concat()));
    assert!(
        told.contains("Notifications: 2 messages of 1 group\n  team by webhook[0]: 2 messages (1 all alerts resolved, 1 first notification)\n"),
        "{told}"
    );
    let json = json(&[&["--url", &server.url()], &with[..]].concat());
    let api = server.api(
        "/api/v1/rules/backtest",
        &[
            ("start", &start),
            ("end", &end),
            ("rules", RULES),
            ("alertmanager_config", alertmanager),
        ],
    );
    assert_eq!(api["notifications"], json["notifications"]);
    assert_eq!(api["notifications"]["messages"], 2);
    // The old version's alert in the attic fires all the time: it is told once an hour.
    let both = ok(promtool(
        &[&asked[..], &["--data", &folder, "--against", &old], &with].concat(),
    ));
    let counts: Vec<u64> = both
        .split("Notifications")
        .nth(1)
        .unwrap()
        .split_whitespace()
        .filter_map(|word| word.parse().ok())
        .collect();
    assert!(counts.len() == 2 && counts[0] >= 6 && counts[1] == 2, "{both}");
}
