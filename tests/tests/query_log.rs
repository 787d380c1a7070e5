//! `query_log_file`, beside the Prometheus of Debian.

#![allow(clippy::panic, clippy::unwrap_used, reason = "a test's failure is a panic")]

use std::net::SocketAddr;
use std::path::Path;

use cupola_tests::{Home, Prometheus, Server, eventually};
use serde_json::Value;

const RULES: &str = "groups:\n- name: g\n  interval: 1s\n  rules:\n  - {record: one, expr: '1 + 0'}\n";

fn config(home: &Home) -> String {
    let rules = home.write("rules.yml", RULES);
    format!(
        "global: {{query_log_file: '{}'}}\nrule_files: ['{}']\n",
        home.path().join("queries.json").display(),
        rules.display()
    )
}

fn lines(file: &Path) -> Vec<Value> {
    let text = std::fs::read_to_string(file).unwrap_or_default();
    // The last one may be on its way.
    let whole = text.rfind('\n').map_or("", |end| &text[..end]);
    whole.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

// What both say of a query: everything but when it was and how long it took.
fn told(line: &Value) -> String {
    let error = line["error"].as_str().is_some();
    format!("{} {} {} {error}", line["params"], line["httpRequest"], line["spanID"])
}

fn ask(address: SocketAddr) {
    for path in [
        "/api/v1/query?query=1%2B1&time=1700000000.5",
        "/api/v1/query_range?query=vector(2)&start=1700000000&end=1700000060&step=15",
        "/api/v1/query_range?query=vector(2)&start=1700000000&end=1700000060&step=1.5",
        "/api/v1/query?query=label_replace(vector(1),%22a%22,%22b%22,%22c%22,%22(%22)&time=1700000000",
    ] {
        cupola_tests::get(address, path).unwrap();
    }
}

fn of_users(file: &Path) -> Option<Vec<String>> {
    let all = lines(file);
    let asked = all.iter().filter(|line| !line["httpRequest"].is_null());
    let told: Vec<String> = asked.map(told).collect();
    (told.len() == 4).then_some(told)
}

fn of_rules(file: &Path) -> Option<String> {
    let all = lines(file);
    let rule = all.iter().find(|line| !line["ruleGroup"].is_null())?;
    Some(format!(
        "{} {} {}",
        rule["params"]["query"], rule["params"]["step"], rule["ruleGroup"]["name"]
    ))
}

#[test]
fn queries_are_logged_as_debians_prometheus_logs_them() {
    let home = Home::new();
    let yml = home.write("prometheus.yml", &config(&home));
    let ours = Server::prometheus(&home, &yml, &["--web.enable-lifecycle"]);
    let file = home.path().join("queries.json");
    ask(ours.address());
    let left = eventually(20, "ours logs users' queries", || of_users(&file));
    let rule = eventually(20, "ours logs rules' queries", || of_rules(&file));
    assert_eq!(rule, r#""1 + 0" 0 "g""#);
    assert_eq!(ours.own_metric("prometheus_engine_query_log_enabled"), Some(1.0));
    let first = lines(&file).swap_remove(0);
    assert_eq!(first["msg"], "promql query logged");
    assert!(first["stats"]["timings"]["execTotalTime"].as_f64().unwrap() > 0.0);

    // A file that was moved away goes on until the configuration is loaded again; then there is a new one.
    let moved = home.path().join("moved.json");
    std::fs::rename(&file, &moved).unwrap();
    let reload = || cupola_tests::request(ours.address(), "POST", "/-/reload", &[], b"").unwrap();
    assert_eq!(reload().status, 200);
    eventually(20, "a new file", || of_rules(&file));
    // One that cannot be opened stops the reload, and the old one goes on.
    home.write(
        "prometheus.yml",
        &format!("global: {{query_log_file: '{}'}}\n", home.path().display()),
    );
    let refused = reload();
    assert_eq!(refused.status, 500);
    assert!(
        refused.text().contains("can't create json log file: open "),
        "{}",
        refused.text()
    );
    assert_eq!(ours.own_metric("prometheus_engine_query_log_enabled"), Some(1.0));
    home.write("prometheus.yml", "global: {}\n");
    assert_eq!(reload().status, 200);
    assert_eq!(ours.own_metric("prometheus_engine_query_log_enabled"), Some(0.0));
    assert_eq!(ours.own_metric("prometheus_engine_query_log_failures_total"), Some(0.0));

    let home = Home::new();
    let theirs_file = home.path().join("queries.json");
    let yml = config(&home);
    let Some(theirs) = Prometheus::with_config(home, &yml, &[]) else {
        return;
    };
    ask(theirs.address());
    let right = eventually(20, "theirs logs users' queries", || of_users(&theirs_file));
    assert_eq!(left, right);
    let theirs_rule = eventually(20, "theirs logs rules' queries", || of_rules(&theirs_file));
    assert_eq!(rule, theirs_rule);
}
