//! The tools of promtool that ask a server, beside Debian's promtool and by themselves.

#![allow(clippy::panic, clippy::unwrap_used, reason = "a test's failure is a panic")]

use std::path::Path;
use std::process::Command;

use cupola_tests::{
    FakeServer, FakeTarget, Finished, Home, Prometheus, Reply, Server, cupola, eventually, neighbour, run,
};
use serde_json::Value;

type Told = (Option<i32>, String, String);

fn ours(args: &[&str]) -> Told {
    told(run(&mut cupola([&["promtool"], args].concat()), b""))
}

fn theirs(program: &Path, args: &[&str]) -> Told {
    told(run(Command::new(program).args(args), b""))
}

fn told(done: Finished) -> Told {
    (done.code, done.stdout, done.stderr)
}

fn server(home: &Home, jobs: &str) -> Server {
    let config = home.write(
        "prometheus.yml",
        &format!("global: {{scrape_interval: 250ms}}\nscrape_configs:\n{jobs}"),
    );
    Server::prometheus(home, &config, &[])
}

#[test]
fn query_tells_what_promtool_tells() {
    let Some(program) = neighbour("promtool") else { return };
    let (home, target) = (
        Home::new(),
        FakeTarget::start("m{a=\"1<2\"} 0.1\nm{a=\"\\\"q\\\"\"} 1e21\n"),
    );
    let job = format!(
        "- job_name: j\n  static_configs: [{{targets: ['{}']}}]\n",
        target.address()
    );
    let server = server(&home, &job);
    let time = eventually(20, "two samples of each series", || {
        let twice = server.value("min(count_over_time(m[1m])) > 1").is_some();
        twice.then(|| server.value("max(timestamp(m))"))?
    });
    let (url, at) = (server.url(), format!("{time}"));
    let (start, end) = (format!("--start={}", time - 2.0), format!("--end={time}"));
    let at = format!("--time={at}");
    let mut compared = 0;
    for format in ["promql", "json"] {
        let format = format!("--format={format}");
        for expr in [
            "m",
            "sum(m) without (a)",
            "1 + 1",
            "vector(-0)",
            "m[1m]",
            "nothing",
            "m + ",
            "1 / 0",
        ] {
            let args = ["query", &format, "instant", &at, &url, expr];
            assert_eq!(ours(&args), theirs(&program, &args), "{args:?}");
            let args = ["query", &format, "range", &start, &end, "--step=1s", &url, expr];
            assert_eq!(ours(&args), theirs(&program, &args), "{args:?}");
            compared += 2;
        }
        for args in [
            vec!["query", &format, "series", &url, "--match=m"],
            vec!["query", &format, "series", &url, "--match=m", "--match=up"],
            vec!["query", &format, "series", &url, "--match=nothing"],
            vec!["query", &format, "series", &url, "--match=m{"],
            vec!["query", &format, "labels", &url, "a"],
            vec!["query", &format, "labels", &url, "job", "--match=up"],
            vec!["query", &format, "labels", &url, "a", "--start=5", "--end=6"],
            vec!["query", &format, "labels", &url, "a", "--start=6", "--end=5"],
            vec!["query", &format, "instant", "--time=yesterday", &url, "m"],
        ] {
            assert_eq!(ours(&args), theirs(&program, &args), "{args:?}");
            compared += 1;
        }
    }
    assert_eq!(compared, 50);
    // Debian's promtool cannot read the answer to this.
    let (code, out, _) = ours(&["query", "instant", &url, "\"text\""]);
    assert_eq!((code, out.as_str()), (Some(0), "text\n"));
    // `{}` of a moment before all samples.
    let (code, out, _) = ours(&[
        "query",
        "instant",
        "--time=2001-09-09T01:46:40Z",
        &url,
        "vector(time())",
    ]);
    assert_eq!((code, out.as_str()), (Some(0), "{} => 1000000000 @[1000000000]\n"));
}

#[test]
fn query_prints_native_histograms() {
    let sink = FakeServer::start(|_| {
        let histogram = r#"{"count":"3","sum":"2.5","buckets":[[0,"0.5","1","2"],[3,"-0.001","0.001","1"]]}"#;
        let answer = format!(
            r#"{{"status":"success","data":{{"resultType":"vector","result":[{{"metric":{{"__name__":"h"}},"histogram":[1.5,{histogram}]}}]}}}}"#
        );
        Reply::Body(200, "application/json", answer)
    });
    let (code, out, err) = ours(&["query", "instant", &sink.url(""), "h"]);
    let expected = "h => Count: 3.000000, Sum: 2.500000, Buckets: [(0.5,1]:2 [-0.001,0.001]:1] @[1.5]\n";
    assert_eq!((code, out.as_str(), err.as_str()), (Some(0), expected, ""));
}

#[test]
fn healthy_and_ready_are_asked() {
    let (home, broken) = (Home::new(), FakeServer::start(|_| Reply::status(503)));
    let server = server(&home, "- {job_name: none}\n");
    server.wait_for_replay();
    for tool in ["healthy", "ready"] {
        let url = format!("--url={}", server.url());
        let (code, out, err) = ours(&["check", tool, &url]);
        assert_eq!((code, out.as_str()), (Some(0), ""), "{err}");
        // Debian's promtool does not have this yet; its words are those of newer ones.
        assert!(err.starts_with("  SUCCESS:  Prometheus Server is "), "{err}");
        let url = format!("--url={}", broken.url(""));
        let (code, _, err) = ours(&["check", tool, &url]);
        assert_eq!(code, Some(1));
        assert!(
            err.starts_with("check failed: URL=http://") && err.ends_with(", status=503\n"),
            "{err}"
        );
        let (code, _, err) = ours(&["check", tool, "--url=http://127.0.0.1:1"]);
        assert_eq!(code, Some(1));
        assert!(err.contains("127.0.0.1:1"), "{err}");
    }
}

#[test]
fn credentials_come_from_the_http_config_file() {
    let home = Home::new();
    let sink = FakeServer::start(|_| {
        let answer = r#"{"status":"success","data":{"resultType":"scalar","result":[1,"2"]}}"#;
        Reply::Body(200, "application/json", answer.to_owned())
    });
    let file = home.write("http.yml", "basic_auth: {username: me, password: 'Fb3q'}\n");
    let flag = format!("--http.config.file={}", file.display());
    let (code, out, err) = ours(&["query", "instant", &flag, &sink.url(""), "1"]);
    assert_eq!((code, out.as_str()), (Some(0), "scalar: 2 @[1]\n"), "{err}");
    let url = format!("--url={}", sink.url(""));
    assert_eq!(ours(&["check", "ready", &flag, &url]).0, Some(0));
    assert_eq!(ours(&["explain", "target", &flag, &sink.url("")]).0, Some(1));
    for path in ["/api/v1/query", "/-/ready", "/api/v1/targets?state=any"] {
        let asked = sink.requests(path);
        assert_eq!(asked.len(), 1, "{path}");
        assert_eq!(asked[0].header("authorization"), "Basic bWU6RmIzcQ==", "{path}");
    }
    // A mistake in the file is told, and nobody is asked.
    let file = home.write("bad.yml", "basic_auht: {}\n");
    let flag = format!("--http.config.file={}", file.display());
    let (code, _, err) = ours(&["query", "instant", &flag, &sink.url(""), "1"]);
    assert_eq!(code, Some(1));
    assert!(err.contains("bad.yml:1:1: ") && err.contains("basic_auht"), "{err}");
    assert_eq!(sink.requests("/api/v1/query").len(), 1);
}

#[test]
fn label_matchers_are_set_and_deleted() {
    let ok = |args: &[&str]| {
        let (code, out, err) = ours(&[&["--experimental", "promql", "label-matchers"], args].concat());
        assert_eq!((code, err.as_str()), (Some(0), ""), "{args:?}");
        out
    };
    let query = "sum by (a) (rate(x{a=\"1\"}[5m])) / y";
    assert_eq!(
        ok(&["set", query, "a", "2"]),
        "sum by (a) (rate(x{a=\"2\"}[5m])) / y{a=\"2\"}\n"
    );
    assert_eq!(
        ok(&["set", "--type=!~", query, "b", "c|d"]),
        "sum by (a) (rate(x{a=\"1\",b!~\"c|d\"}[5m])) / y{b!~\"c|d\"}\n"
    );
    assert_eq!(ok(&["delete", query, "a"]), "sum by (a) (rate(x[5m])) / y\n");
    let refused = |args: &[&str]| {
        let (code, out, err) = ours(&[&["promql", "label-matchers"], args].concat());
        assert_eq!((code, out.as_str()), (Some(1), ""), "{args:?}");
        err
    };
    assert_eq!(
        refused(&["set", "-t", "~", "x", "a", "b"]),
        "invalid label match type: ~\n"
    );
    assert!(refused(&["set", "-t", "=~", "x", "a", "("]).contains("missing"));
    assert!(refused(&["delete", "x{", "a"]).contains("parse error"));
}

const RELABELLED: &str = "  relabel_configs:
  - {source_labels: [team], regex: '(.*)-ops', target_label: owner}
  - {source_labels: [__address__, team], regex: '.+;web-.*', action: keep}
";

fn explain(server: &Server, args: &[&str]) -> Told {
    ours(&[&["explain", "target", &server.url()], args].concat())
}

#[test]
fn a_target_that_is_not_scraped_is_explained() {
    let (home, good, bad) = (Home::new(), FakeTarget::start("m 1\n"), FakeTarget::start("m{ 1\n"));
    let jobs = format!(
        "- job_name: web\n  static_configs:\n  - {{targets: ['{}'], labels: {{team: web-ops}}}}\n  \
         - {{targets: ['{}'], labels: {{team: web-dev}}}}\n  - {{targets: ['db:1'], labels: {{team: db-ops}}}}\n{RELABELLED}",
        good.address(),
        bad.address()
    );
    let server = server(&home, &jobs);
    eventually(20, "both are scraped, one of them in vain", || {
        (server.value("count(up == 1)") == Some(1.0) && server.value("count(up == 0)") == Some(1.0)).then_some(())
    });
    let (code, out, err) = explain(&server, &["db:1"]);
    assert_eq!((code, err.as_str()), (Some(1), ""), "{out}");
    for told in [
        "web  db:1\n  is dropped by relabelling step 2: keep, but [__address__, team] is \"db:1;db-ops\", which .+;web-.* does not match\n",
        "    team=\"db-ops\"\n",
        "    1. replace [team] regex=(.*)-ops target_label=owner",
        "         + owner=\"db\"\n",
        "         DROPPED: keep, but",
        "1 found, 1 of them not scraped.\n",
    ] {
        assert!(out.contains(told), "{told:?} is not in {out}");
    }
    let (code, out, _) = explain(&server, &[&good.address().to_string()]);
    assert_eq!(code, Some(0), "{out}");
    assert!(
        out.contains("\n  is scraped\n") && out.contains("owner=\"web\""),
        "{out}"
    );
    assert!(out.contains("         changes nothing\n"), "{out}");
    let (code, out, _) = explain(&server, &["web-dev"]);
    assert_eq!(code, Some(1), "{out}");
    assert!(out.contains("  cannot be scraped: "), "{out}");
    // Those that are not scraped come first.
    let (code, out, _) = explain(&server, &["--job=web", "-o", "json"]);
    let report: Value = serde_json::from_str(&out).unwrap();
    assert_eq!(
        (code, &report["found"], &report["notScraped"]),
        (Some(1), &3.into(), &2.into())
    );
    assert_eq!(report["targets"][2]["health"], "up");
    assert_eq!(report["targets"][0]["relabelSteps"][1]["keep"], false);
    let (code, out, _) = explain(&server, &["nowhere"]);
    assert_eq!(code, Some(1));
    assert_eq!(
        out,
        "Nothing that was discovered matches. Targets of each job:\n  web: 3\n"
    );
}

#[test]
fn targets_of_debians_prometheus_are_explained() {
    let (up, home) = (FakeTarget::start("m 1\n"), Home::new());
    let jobs = format!(
        "global: {{scrape_interval: 1s}}\nscrape_configs:\n- job_name: web\n  static_configs:\n  - {{targets: ['{}'], labels: {{team: web-ops}}}}\n  \
         - {{targets: ['db:1'], labels: {{team: db-ops}}}}\n{RELABELLED}",
        up.address()
    );
    let Some(prometheus) = Prometheus::with_config(home, &jobs, &[]) else {
        return;
    };
    let url = format!("http://{}", prometheus.address());
    eventually(20, "it has found its targets", || {
        let targets = cupola_tests::get(prometheus.address(), "/api/v1/targets").ok()?.text();
        (targets.contains("db-ops") && targets.contains("\"health\":\"up\"")).then_some(())
    });
    let (code, out, err) = ours(&["explain", "target", &url]);
    assert_eq!((code, err.as_str()), (Some(1), ""), "{out}");
    for told in [
        "web  db:1\n",
        "    team=\"db-ops\"\n",
        "  is scraped\n",
        "1 of them not scraped.\n",
    ] {
        assert!(out.contains(told), "{told:?} is not in {out}");
    }
}
