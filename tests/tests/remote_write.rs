//! Remote write from Debian's Prometheus to Cupola.

#![allow(clippy::panic, clippy::unwrap_used, reason = "a test's failure is a panic")]

use cupola_tests::{FakeTarget, Home, Prometheus, Response, Server, eventually, get, request, url_encode};
use serde_json::Value;

// All samples of the last two minutes before `time`, sorted by labels.
fn matrix(response: &Response) -> Vec<Value> {
    let mut json = response.json();
    let mut all: Vec<Value> = serde_json::from_value(json["data"]["result"].take()).unwrap();
    all.sort_by_key(|series| series["metric"].to_string());
    all
}

#[test]
fn what_prometheus_writes_is_there_with_the_same_times_and_values() {
    let home = Home::new();
    let config = home.write("prometheus.yml", "global: {scrape_interval: 1m}\n");
    let server = Server::prometheus(&home, &config, &["--web.enable-remote-write-receiver"]);
    let target = FakeTarget::computed(|n| {
        format!(
            "# TYPE made_up_total counter\nmade_up_total{{a=\"x\"}} {n}\nmade_up_total{{a=\"y\"}} {}.125\n",
            n * 3
        )
    });
    let yaml = format!(
        "global: {{scrape_interval: 500ms, scrape_timeout: 500ms, external_labels: {{from: debian}}}}\n\
         scrape_configs:\n- job_name: j\n  static_configs: [{{targets: ['{}']}}]\n\
         remote_write:\n- url: {}/api/v1/write\n  queue_config: {{batch_send_deadline: 100ms}}\n",
        target.address(),
        server.url()
    );
    let Some(prometheus) = Prometheus::with_config(Home::new(), &yaml, &[]) else {
        return;
    };
    let times = eventually(30, "ten samples have arrived", || {
        let response = server.ask("/api/v1/query", &[("query", "made_up_total{a=\"x\"}[2m]")]);
        let all = matrix(&response);
        let values = all.first()?["values"].as_array()?.clone();
        (values.len() >= 10).then_some(values)
    });
    // Up to a sample that is there: later ones may be on their way.
    let (first, last) = (times[0][0].as_f64().unwrap(), times[9][0].as_f64().unwrap());
    let query = format!("{{job=\"j\"}}[{}ms]", ((last - first) * 1000.0).round() as i64 - 1);
    let path = format!("/api/v1/query?query={}&time={last}", url_encode(&query));
    let theirs = matrix(&get(prometheus.address(), &path).unwrap());
    let mut ours = matrix(&server.get(&path));
    for series in &mut ours {
        assert_eq!(
            series["metric"].as_object_mut().unwrap().remove("from"),
            Some("debian".into())
        );
    }
    assert_eq!(ours, theirs);
    assert!(
        ours.len() >= 7,
        "both counters and what the scrape says of itself: {ours:?}"
    );
}

#[test]
fn what_is_no_remote_write_is_refused_as_prometheus_does() {
    let home = Home::new();
    let config = home.write("prometheus.yml", "global: {scrape_interval: 1m}\n");
    let closed = Server::prometheus(&home, &config, &[]);
    let post = |server: &Server, headers: &[(&str, &str)], body: &[u8]| {
        let response = request(server.address(), "POST", "/api/v1/write", headers, body).unwrap();
        (response.status, response.text())
    };
    assert_eq!(
        post(&closed, &[], b"x"),
        (
            404,
            "remote write receiver needs to be enabled with --web.enable-remote-write-receiver\n".to_owned()
        )
    );
    drop(closed);
    let server = Server::prometheus(&home, &config, &["--web.enable-remote-write-receiver"]);
    for (kind, encoding, status, text) in [
        (
            "text/plain",
            "snappy",
            415,
            "expected application/x-protobuf as the first (media) part, got text/plain content-type\n",
        ),
        (
            "application/x-protobuf;proto=io.prometheus.write.v2.Request",
            "snappy",
            415,
            "io.prometheus.write.v2.Request protobuf message is not accepted by this server; accepted [prometheus.WriteRequest]\n",
        ),
        (
            "application/x-protobuf",
            "gzip",
            415,
            "gzip encoding (compression) is not accepted by this server; only snappy is acceptable\n",
        ),
        (
            "application/x-protobuf",
            "snappy",
            400,
            "snappy: corrupt input (header mismatch; expected 120 decompressed bytes but got 0)\n",
        ),
    ] {
        let headers = [("content-type", kind), ("content-encoding", encoding)];
        assert_eq!(post(&server, &headers, b"x"), (status, text.to_owned()));
    }
}
