//! Debian's promtool: a client of the API, and a critic of the metrics, that we did not write.

#![allow(clippy::panic, clippy::unwrap_used, reason = "a test's failure is a panic")]

use std::path::Path;
use std::process::Command;

use cupola_tests::{FakeTarget, Finished, Home, Server, eventually, get, neighbour, run};

fn promtool(program: &Path, args: &[&str]) -> Finished {
    run(Command::new(program).args(args), b"")
}

// A server that has host metrics and a counter with a known slope.
fn server(home: &Home) -> (Server, FakeTarget) {
    let target = FakeTarget::computed(|n| {
        format!(
            "# TYPE work_total counter\nwork_total{{kind=\"a\"}} {n}\nwork_total{{kind=\"b\"}} {}\n",
            10 * n
        )
    });
    let text = format!(
        "scrape_configs:\n- job_name: work\n  scrape_interval: 250ms\n  static_configs: [{{targets: ['{}']}}]\n",
        target.address()
    );
    let config = home.write("prometheus.yml", &text);
    let server = Server::up(home, &[&format!("--config.file={}", config.display())]);
    eventually(20, "metrics of the host and of the target", || {
        // A subquery needs the longest past: its steps are at whole seconds.
        let slopes = server.query("max_over_time(rate(work_total[3s])[10s:1s]) > 0").len();
        let up = server.value("sum(up)").unwrap_or(0.0);
        (slopes == 2 && up == 3.0).then_some(())
    });
    (server, target)
}

#[test]
fn promtool_asks_instant_range_series_and_labels() {
    let Some(program) = neighbour("promtool") else { return };
    let home = Home::new();
    let (server, _target) = server(&home);
    let url = server.url();
    let ok = |args: &[&str], told: &[&str]| {
        let done = promtool(&program, args);
        assert_eq!(done.code, Some(0), "{args:?}: {}{}", done.stdout, done.stderr);
        for text in told {
            assert!(
                done.stdout.contains(text),
                "{args:?}: {text:?} is not in {}",
                done.stdout
            );
        }
        done.stdout
    };
    for (expr, told) in [
        ("up", &["up{", "job=\"node-exporter\"", "job=\"work\"", "=> 1 @["][..]),
        ("vector(1)", &["{} => 1 @["]),
        ("1 + 2 * 3", &["scalar: 7 @["]),
        ("sum by (mode) (rate(node_cpu_seconds_total[5m])) or vector(0)", &["=>"]),
        ("work_total{kind=~\"a|b\"}", &["kind=\"a\"", "kind=\"b\""]),
        ("work_total{kind=\"b\"}[2s]", &["work_total{", " @["]),
        ("count(node_memory_MemTotal_bytes) > bool 0", &["{} => 1"]),
        ("topk(1, node_filesystem_size_bytes)", &["node_filesystem_size_bytes{"]),
        (
            "label_replace(up{job=\"work\"}, \"x\", \"$1\", \"job\", \"(w).*\")",
            &["x=\"w\""],
        ),
        ("absent(no_such_metric{a=\"b\"})", &["{a=\"b\"} => 1"]),
        (
            "histogram_quantile(0.9, sum by (le) (prometheus_http_request_duration_seconds_bucket))",
            &[],
        ),
        ("max_over_time(rate(work_total{kind=\"a\"}[3s])[10s:1s]) > 0", &["=>"]),
        ("no_such_metric", &[]),
    ] {
        ok(&["query", "instant", &url, expr], told);
    }
    ok(
        &[
            "query",
            "instant",
            "--time=2001-09-09T01:46:40Z",
            &url,
            "vector(time())",
        ],
        &["{} => 1000000000 @[1000000000]"],
    );

    eventually(20, "three steps of a range", || {
        let args = ["query", "range", "--step=1s", &url, "work_total{kind=\"b\"}"];
        let told = ok(&args, &["work_total{", " @["]);
        (told.lines().count() >= 4).then_some(())
    });
    ok(
        &["query", "range", "--start=0", "--end=60", "--step=30s", &url, "time()"],
        &["0 @[0]", "30 @[30]", "60 @[60]"],
    );

    ok(
        &["query", "series", "--match=work_total", &url],
        &["kind=\"a\"", "kind=\"b\"", "__name__=\"work_total\""],
    );
    ok(
        &["query", "series", "--match={job=\"prometheus\",__name__=\"up\"}", &url],
        &["job=\"prometheus\""],
    );
    ok(
        &["query", "labels", &url, "job"],
        &["node-exporter", "prometheus", "work"],
    );
    let names = ok(
        &["query", "labels", &url, "__name__"],
        &["node_load1", "work_total", "up"],
    );
    let sorted = names.lines().zip(names.lines().skip(1)).all(|(a, b)| a < b);
    assert!(sorted, "the values are not sorted: {names}");

    let done = promtool(&program, &["query", "instant", &url, "rate(up"]);
    assert_eq!(done.code, Some(1), "{}", done.stdout);
    assert!(
        (done.stdout.clone() + &done.stderr).contains("parse error"),
        "{}{}",
        done.stdout,
        done.stderr
    );
}

#[test]
fn promtool_finds_nothing_to_blame_in_our_metrics() {
    let Some(program) = neighbour("promtool") else { return };
    let home = Home::new();
    let (server, _target) = server(&home);
    // Prometheus itself has these: names that are kept because dashboards and rules read them.
    let accepted: &[&str] = &[];
    let metrics = get(server.address(), "/metrics").unwrap();
    assert!(
        metrics.header("content-type").starts_with("text/plain"),
        "{:?}",
        metrics.headers
    );
    let done = run(Command::new(&program).args(["check", "metrics"]), &metrics.body);
    let told = done.stdout.clone() + &done.stderr;
    let blamed: Vec<&str> = told
        .lines()
        .filter(|l| !l.is_empty() && !accepted.iter().any(|a| l.starts_with(a)))
        .collect();
    assert!(blamed.is_empty(), "promtool check metrics: {blamed:#?}");
    assert!(matches!(done.code, Some(0 | 3)), "{told}");
}
