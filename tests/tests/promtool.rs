//! Debian's promtool: a client of the API, and a critic of the metrics, that we did not write.

#![allow(clippy::panic, clippy::unwrap_used, reason = "a test's failure is a panic")]

use std::path::Path;
use std::process::Command;

use cupola_tests::{FakeTarget, Finished, Home, Server, cupola, eventually, get, neighbour, run};

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
    let accepted = [
        "prometheus_engine_query_duration_histogram_seconds metric name should not include type",
        "prometheus_notifications_latency_histogram_seconds metric name should not include type",
        "prometheus_rule_evaluation_duration_histogram_seconds metric name should not include type",
        "prometheus_rule_group_duration_histogram_seconds metric name should not include type",
        "prometheus_target_scrapes_exceeded_native_histogram_bucket_limit_total metric name should not include type",
    ];
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

// Debian's promtool and ours, asked the same: exit code, standard output and error.
fn both(program: &Path, args: &[&str], input: &[u8]) -> [(Option<i32>, String, String); 2] {
    let ours = [&["promtool"], args].concat();
    let of = |done: Finished| (done.code, done.stdout, done.stderr);
    [
        of(run(Command::new(program).args(args), input)),
        of(run(&mut cupola(ours), input)),
    ]
}

#[test]
fn check_metrics_tells_what_promtool_tells() {
    let Some(program) = neighbour("promtool") else { return };
    let unusual = "# TYPE x counter\nx 1\nfooBar_ms{aB=\"1\"} 1\nfooBar_ms{aB=\"2\"} 1\n# HELP y\n# TYPE y histogram\n\
                   y_bucket{le=\"1\"} 1\ny_bucket{le=\"+Inf\"} 2\ny_sum 1\ny_count 2\nz_kilobytes_gauge_d 1\n\
                   # TYPE q summary\nq{quantile=\"0.5\",le=\"1\"} 1\nq_sum 1\nq_count 1\nq_count{a=\"b\"} 3\n\
                   # TYPE a_total gauge\na_total{quantile=\"1\"} 1\n# HELP b_bucket text\n# TYPE b_bucket gauge\n\
                   b_bucket{le=\"1\"} 1\n# TYPE c_count counter\nc_count 1\na:b 1\nx_minutes_total 1\ntemp_millicelsius 3\n";
    let usual = "# HELP a_seconds a\n# TYPE a_seconds gauge\na_seconds{x=\"1\"} 1\na_seconds{x=\"2\"} 1\na_seconds{x=\"3\"} 1\n\
                 # HELP h_bytes h\n# TYPE h_bytes histogram\nh_bytes_bucket{le=\"1\"} 1\nh_bytes_bucket{le=\"+Inf\"} 2\n\
                 h_bytes_sum 1\nh_bytes_count 2\n";
    for body in [unusual, usual, ""] {
        for args in [&["check", "metrics"][..], &["check", "metrics", "--extended"]] {
            let [theirs, ours] = both(&program, args, body.as_bytes());
            // Columns may be followed by more or fewer spaces there.
            let plain = |(code, out, err): (Option<i32>, String, String)| {
                let words = out.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
                (code, words, err)
            };
            let (mut ours, theirs) = (plain(ours), plain(theirs));
            if body == unusual {
                // Debian's version does not count series where something is unusual; 3.14 does.
                ours.1.clear();
            }
            assert_eq!(ours, theirs, "{args:?} {body}");
        }
    }
    // The text of a mistake is ours.
    let [theirs, ours] = both(&program, &["check", "metrics"], b"a{b=\"c\" 1\n");
    assert_eq!((ours.0, ours.1.as_str()), (theirs.0, theirs.1.as_str()));
    assert!(
        ours.2.starts_with("error while linting: text format parsing error in "),
        "{}",
        ours.2
    );
}

#[test]
fn test_rules_tells_what_promtool_tells() {
    let Some(program) = neighbour("promtool") else { return };
    let home = Home::new();
    home.write(
        "rules.yml",
        "groups:\n- name: g\n  rules:\n  - {record: r, expr: 'sum by (job) (rate(m_total[5m]))'}\n  \
         - {alert: Slow, expr: 'r < 1', for: 2m, labels: {severity: 'p{{ $value }}'}, annotations: {text: '{{ $labels.job }} does {{ $value | humanize }}'}}\n",
    );
    let file = home.write(
        "tests.yml",
        "rule_files: [rules.yml]\nevaluation_interval: 1m\ntests:\n- interval: 1m\n  input_series:\n  \
         - {series: 'm_total{job=\"a\"}', values: '0+60x20'}\n  - {series: 'm_total{job=\"b\"}', values: '0+6x10 stale'}\n  \
         alert_rule_test:\n  - {eval_time: 8m, alertname: Slow, exp_alerts: [{exp_labels: {job: b, severity: wrong}}]}\n  \
         - {eval_time: 20m, alertname: Slow, exp_alerts: []}\n  - {eval_time: 2m, alertname: Nope, exp_alerts: [{exp_labels: {a: b}}]}\n  \
         promql_expr_test:\n  - {expr: 'r', eval_time: 10m, exp_samples: [{labels: 'r{job=\"a\"}', value: 1}]}\n  \
         - {expr: 'ALERTS', eval_time: 10m, exp_samples: []}\n  - {expr: '1 + 1', eval_time: 0m, exp_samples: [{value: 3}]}\n  \
         - {expr: 'm_total{job=\"b\"}', eval_time: 11m, exp_samples: []}\n",
    );
    let file = file.display().to_string();
    let [theirs, ours] = both(&program, &["test", "rules", &file], b"");
    assert_eq!(ours, theirs);
    assert_eq!(ours.0, Some(1));
    // Rule files that are not there are no failure.
    let file = home.write(
        "none.yml",
        "rule_files: ['gone*.yml']\ntests:\n- input_series: [{series: a, values: 1}]\n  \
         promql_expr_test: [{expr: a, eval_time: 0, exp_samples: [{labels: a, value: 1}]}]\n",
    );
    let [theirs, ours] = both(&program, &["test", "rules", &file.display().to_string()], b"");
    assert_eq!((theirs.0, theirs.1), (Some(0), ours.1));
    assert_eq!(ours.0, Some(0));
    assert!(
        theirs.2.starts_with("  WARNING: no file match pattern "),
        "{}",
        theirs.2
    );
    assert!(ours.2.starts_with("  WARNING: no file match pattern "), "{}", ours.2);
}
