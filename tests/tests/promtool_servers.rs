//! The tools of promtool that push to a server, collect from one, or look for targets: beside Debian's promtool where it
//! has them, and beside a real Prometheus.

#![allow(clippy::panic, clippy::unwrap_used, reason = "a test's failure is a panic")]

use std::fmt::Write as _;
use std::process::Command;

use cupola_tests::{FakeTarget, Home, Prometheus, Server, cupola, eventually, neighbour, run};
use serde_json::Value;

const PUSHED: &str = "# HELP h Sizes.\n# TYPE h histogram\nh_bucket{le=\"1.0\"} 1\nh_bucket{le=\"+Inf\"} 2\nh_sum 3\nh_count 2\nplain{job=\"x\"} 5\n";

fn server(home: &Home, jobs: &str, args: &[&str]) -> Server {
    let config = home.write(
        "prometheus.yml",
        &format!("global: {{scrape_interval: 250ms}}\nscrape_configs:\n{jobs}"),
    );
    Server::prometheus(home, &config, args)
}

#[test]
fn metrics_are_pushed_to_cupola_and_to_prometheus() {
    let home = Home::new();
    let file = home.write("metrics.prom", PUSHED);
    let file = file.to_str().unwrap().to_owned();
    let ours = server(&home, "- {job_name: none}\n", &["--web.enable-remote-write-receiver"]);
    let theirs = Prometheus::start(Home::new(), &["--web.enable-remote-write-receiver"]);
    let mut urls = vec![ours.url()];
    urls.extend(theirs.as_ref().map(|theirs| format!("http://{}", theirs.address())));
    for url in urls {
        let receiver = format!("{url}/api/v1/write");
        let mut push = cupola([
            "promtool",
            "push",
            "metrics",
            "--label=job=me",
            "--label=dc=eu",
            &receiver,
            &file,
        ]);
        let done = run(&mut push, b"");
        let expected = format!("Parsing metrics file {file}\n  SUCCESS: metrics file {file} pushed to remote write.\n");
        assert_eq!((done.code, done.stdout), (Some(0), expected), "{}", done.stderr);
        let done = run(&mut cupola(["promtool", "push", "metrics", &receiver]), b"more 1\n");
        let expected = "Parsing standard input\n  SUCCESS: metrics pushed to remote write.\n";
        assert_eq!(
            (done.code, done.stdout.as_str()),
            (Some(0), expected),
            "{}",
            done.stderr
        );
        for (query, count) in [
            ("h_bucket{job=\"me\",dc=\"eu\",le=\"1\"}", 1),
            ("{__name__=~\"h_.+\",job=\"me\"}", 4),
            ("plain{job=\"me\",exported_job=\"x\"} == 5", 1),
            ("more{job=\"promtool\"}", 1),
        ] {
            let asked = run(&mut cupola(["promtool", "query", "instant", &url, query]), b"");
            assert_eq!(
                asked.stdout.lines().filter(|line| line.contains(" => ")).count(),
                count,
                "{query}: {}",
                asked.stdout
            );
        }
        // What the receiver refuses is told with its words.
        let wrong = format!("{url}/api/v1/nowhere");
        let done = run(&mut cupola(["promtool", "push", "metrics", &wrong, &file]), b"");
        assert_eq!(done.code, Some(1));
        assert!(
            done.stderr
                .starts_with("  FAILED: server returned HTTP status 404 Not Found"),
            "{}",
            done.stderr
        );
    }
    let done = run(
        &mut cupola(["promtool", "push", "metrics", "http://127.0.0.1:1/"]),
        b"a{",
    );
    assert_eq!(done.code, Some(1));
    assert!(
        done.stderr.starts_with("  FAILED: text format parsing error"),
        "{}",
        done.stderr
    );
}

#[test]
fn what_discovery_finds_is_shown_as_debians_promtool_shows_it() {
    let Some(program) = neighbour("promtool") else { return };
    let home = Home::new();
    home.write(
        "sd.json",
        r#"[{"targets":["f:1","g:2"],"labels":{"__meta_k":"v","dc":"eu"}}]"#,
    );
    let relabel = "  relabel_configs:\n  - {source_labels: [__meta_k], target_label: k}\n  - {source_labels: [__address__], regex: 'g.*', action: drop}\n";
    let config = home.write(
        "prometheus.yml",
        &format!(
            "scrape_configs:\n- job_name: file\n  file_sd_configs: [{{files: [sd.json]}}]\n{relabel}- job_name: static\n  params: {{a: [b]}}\n  static_configs: [{{targets: ['x:1', 'x:1'], labels: {{__scheme__: https}}}}]\n"
        ),
    );
    let config = config.to_str().unwrap();
    for job in ["file", "static"] {
        // Debian's waits until the time is over.
        let args = ["check", "service-discovery", "--timeout=1s", config, job];
        let ours = run(&mut cupola([&["promtool"], &args[..]].concat()), b"");
        let theirs = run(Command::new(&program).args(args), b"");
        assert_eq!(ours.code, Some(0), "{}", ours.stderr);
        let sorted = |text: &str| {
            let mut all = serde_json::from_str::<Value>(text).unwrap().as_array().unwrap().clone();
            // What 2.42 does not have.
            for labels in all.iter_mut().flat_map(|one| one.as_object_mut().unwrap().values_mut()) {
                if let Some(labels) = labels.as_object_mut() {
                    labels.retain(|name, _| !name.contains("histograms"));
                }
            }
            all.sort_by_key(Value::to_string);
            all
        };
        let (ours, theirs) = (sorted(&ours.stdout), sorted(&theirs.stdout));
        assert!(!theirs.is_empty());
        assert_eq!(ours, theirs, "{job}");
    }
    let args = ["check", "service-discovery", config, "nope"];
    let ours = run(&mut cupola([&["promtool"], &args[..]].concat()), b"");
    let theirs = run(Command::new(&program).args(args), b"");
    assert_eq!((ours.code, &ours.stderr), (theirs.code, &theirs.stderr));
}

#[test]
fn a_provider_that_finds_nothing_is_told_with_its_reason() {
    let home = Home::new();
    let config = home.write(
        "prometheus.yml",
        "scrape_configs:\n- job_name: h\n  http_sd_configs: [{url: 'http://127.0.0.1:1/sd'}]\n",
    );
    let config = config.to_str().unwrap();
    let done = run(
        &mut cupola(["promtool", "check", "service-discovery", "--timeout=1s", config, "h"]),
        b"",
    );
    assert_eq!((done.code, done.stdout.as_str()), (Some(1), "[]"));
    assert!(
        done.stderr.starts_with("http_sd_configs http://127.0.0.1:1/sd: "),
        "{}",
        done.stderr
    );
}

// The names in an archive.
fn names(archive: &str) -> Vec<String> {
    let listed = run(Command::new("tar").args(["-tzf", archive]), b"");
    assert_eq!(listed.code, Some(0), "{}", listed.stderr);
    listed.stdout.lines().map(str::to_owned).collect()
}

#[test]
fn a_servers_state_is_collected_into_one_archive() {
    let home = Home::new();
    let ours = server(&home, "- {job_name: none}\n", &[]);
    ours.wait_for_replay();
    let archive = home.path().join("debug.tar.gz");
    let (archive, output) = (archive.to_str().unwrap(), format!("--output={}", archive.display()));
    let done = run(&mut cupola(["promtool", "debug", "metrics", &output, &ours.url()]), b"");
    let expected = format!(
        "collecting: {}/metrics\nCompiling debug information complete, all files written in \"{archive}\".\n",
        ours.url()
    );
    assert_eq!((done.code, done.stdout), (Some(0), expected), "{}", done.stderr);
    assert_eq!(names(archive), ["metrics.txt"]);
    let text = run(Command::new("tar").args(["-xzOf", archive, "metrics.txt"]), b"");
    assert!(text.stdout.contains("\nprometheus_build_info{"), "{}", text.stdout);
    let done = run(&mut cupola(["promtool", "debug", "all", &output, &ours.url()]), b"");
    assert_eq!(done.code, Some(0), "{}", done.stderr);
    let all = names(archive);
    for name in [
        "metrics.txt",
        "config.json",
        "tsdb.json",
        "targets.json",
        "discovery.json",
    ] {
        assert!(all.iter().any(|there| there == name), "{name}: {all:?}");
    }
    assert!(
        done.stderr.contains("not there: "),
        "profiles are not ours: {}",
        done.stderr
    );
    let done = run(&mut cupola(["promtool", "debug", "pprof", &output, &ours.url()]), b"");
    assert_eq!(done.code, Some(1));
    assert!(done.stderr.contains("Cupola has none"), "{}", done.stderr);
}

#[test]
fn buckets_are_analyzed() {
    let home = Home::new();
    let target = FakeTarget::computed(|scrape| {
        let mut text = "# TYPE h histogram\n".to_owned();
        for (le, count) in [("1", 5), ("+Inf", 5 + scrape)] {
            let _ = writeln!(text, "h_bucket{{le=\"{le}\"}} {count}");
        }
        let _ = writeln!(text, "h_sum {scrape}\nh_count {}", 5 + scrape);
        text
    });
    let job = format!(
        "- job_name: j\n  static_configs: [{{targets: ['{}']}}]\n",
        target.address()
    );
    let ours = server(&home, &job, &[]);
    let steps = eventually(20, "a few samples", || {
        ours.value("count_over_time(h_sum[1m]) > 3")
            .map(|count| count as u64 - 1)
    });
    let at = ours.value("timestamp(h_sum)").unwrap().to_string();
    let server = format!("--server={}", ours.url());
    let time = format!("--time={at}");
    let args = [
        "promtool",
        "query",
        "analyze",
        &server,
        &time,
        "--duration=1m",
        "--type=classichistograms",
        "--match=h_sum",
    ];
    let done = run(&mut cupola(args), b"");
    assert_eq!(done.code, Some(0), "{}", done.stderr);
    let first = done.stdout.lines().next().unwrap_or_default();
    let expected = format!(
        "h_bucket{{instance=\"{}\",job=\"j\"}}[1m0s]=Bucket stats (min/avg/max) - number of buckets changed: 1/1.000/1 total delta of changed buckets: 1/1.000/1 number of populated buckets: 2/2.000/2. total number of buckets: 2",
        target.address()
    );
    assert_eq!(first, expected);
    assert!(
        done.stdout.contains("\ncount - 1\n&{map[1:"),
        "{steps}: {}",
        done.stdout
    );
    let args = [
        "promtool",
        "query",
        "analyze",
        &server,
        "--type=nativehistograms",
        "--match=h_sum",
    ];
    let done = run(&mut cupola(args), b"");
    assert_eq!(done.code, Some(0), "{}", done.stderr);
    assert!(done.stdout.ends_with("count - 0\n&{map[]}\n"), "{}", done.stdout);
    for (kind, matcher, text) in [
        (
            "other",
            "h_sum",
            "analyze type is other, must be 'classichistograms' or 'nativehistograms'\n",
        ),
        (
            "classichistograms",
            "h",
            "every classic histogram matcher must have a '_sum' suffix in the metric name, but the matcher 'h' does not\n",
        ),
    ] {
        let (kind, matcher) = (format!("--type={kind}"), format!("--match={matcher}"));
        let done = run(
            &mut cupola(["promtool", "query", "analyze", &server, &kind, &matcher]),
            b"",
        );
        assert_eq!((done.code, done.stderr.as_str()), (Some(1), text));
    }
}

#[test]
fn results_of_rule_tests_are_written_as_junit_and_shown_as_differences() {
    let home = Home::new();
    home.write(
        "rules.yml",
        "groups:\n- name: g\n  rules:\n  - {record: r, expr: x + 1}\n",
    );
    let tests = home.write(
        "test.yml",
        "rule_files: [rules.yml]\ntests:\n- name: good\n  input_series: [{series: x, values: '1 2'}]\n  promql_expr_test:\n  - {expr: r, eval_time: 1m, exp_samples: [{labels: r, value: 3}]}\n- input_series: [{series: x, values: '1'}]\n  promql_expr_test:\n  - {expr: r, eval_time: 0m, exp_samples: [{labels: r, value: 3}]}\n",
    );
    let (junit, tests) = (home.path().join("junit.xml"), tests.to_str().unwrap().to_owned());
    let flag = format!("--junit={}", junit.display());
    let done = run(
        &mut cupola(["promtool", "test", &flag, "rules", "--diff", "--debug", &tests]),
        b"",
    );
    assert_eq!(done.code, Some(1));
    assert!(
        done.stderr.contains("\u{1b}[0;31m- {__name__=\"r\"} 3E+00\u{1b}[0m"),
        "{}",
        done.stderr
    );
    assert!(
        done.stderr.contains("\u{1b}[0;32m+ {__name__=\"r\"} 2E+00\u{1b}[0m"),
        "{}",
        done.stderr
    );
    for line in [
        "DEBUG: Starting test good\n",
        "{__name__=\"r\"} =>\n2 @[0]\n3 @[60000]\n",
        "DEBUG: Test unnamed#1 finished\n",
    ] {
        assert!(done.stdout.contains(line), "{line}: {}", done.stdout);
    }
    let xml = std::fs::read_to_string(&junit).unwrap();
    assert!(xml.contains("tests=\"2\" failures=\"1\" errors=\"0\""), "{xml}");
    assert!(
        xml.contains("<testcase name=\"good\"></testcase><testcase name=\"unnamed#1\"><failure>"),
        "{xml}"
    );
}
