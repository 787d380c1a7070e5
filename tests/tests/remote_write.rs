//! Remote write from Debian's Prometheus to Cupola.

#![allow(clippy::panic, clippy::unwrap_used, reason = "a test's failure is a panic")]

use std::net::SocketAddr;

use cupola_tests::{FakeTarget, Home, Prometheus, Response, Server, eventually, get, now_ms, request, url_encode};
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

fn field(out: &mut Vec<u8>, number: u8, bytes: &[u8]) {
    out.push(number << 3 | 2);
    uvarint(out, bytes.len() as u64);
    out.extend_from_slice(bytes);
}

fn uvarint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

fn number(out: &mut Vec<u8>, field: u8, value: u64) {
    out.push(field << 3);
    uvarint(out, value);
}

fn double(out: &mut Vec<u8>, field: u8, value: f64) {
    out.push(field << 3 | 1);
    out.extend(value.to_le_bytes());
}

// Counts of three buckets that grow, with a bucket more from sample 20 on and a reset at sample 30.
fn histogram(is_float: bool, n: u64, ts: u64) -> Vec<u8> {
    // An empty one Debian's version takes for one of integers.
    let n = if n < 30 { n + 1 } else { n - 29 };
    let mut counts = vec![2 * n, n, 3 * n];
    if n >= 20 {
        counts.push(n - 20);
    }
    let total = counts.iter().sum::<u64>() + n;
    let mut out = Vec::new();
    double(&mut out, 3, n as f64 * 0.7);
    number(&mut out, 4, 3 << 1);
    double(&mut out, 5, 0.001);
    field(&mut out, 11, &[1 << 3, 2 << 1, 2 << 3, 2]);
    field(&mut out, 11, &[1 << 3, 1 << 1, 2 << 3, counts.len() as u8 - 2]);
    let mut buckets = Vec::new();
    if is_float {
        double(&mut out, 2, total as f64);
        double(&mut out, 7, n as f64);
        counts
            .iter()
            .for_each(|count| buckets.extend((*count as f64).to_le_bytes()));
        field(&mut out, 13, &buckets);
    } else {
        number(&mut out, 1, total);
        number(&mut out, 6, n);
        let mut last = 0;
        for count in counts {
            let delta = count as i64 - last;
            uvarint(&mut buckets, ((delta << 1) ^ (delta >> 63)) as u64);
            last = count as i64;
        }
        field(&mut out, 12, &buckets);
    }
    number(&mut out, 15, ts);
    out
}

// Forty histograms of two series, 15 s apart, the last ones at `end`, as remote write sends them: snappy without
// compression.
fn histograms(end: i64) -> Vec<u8> {
    let mut message = Vec::new();
    for (name, is_float) in [("integers", false), ("floats", true)] {
        let mut label = Vec::new();
        field(&mut label, 1, b"__name__");
        field(&mut label, 2, name.as_bytes());
        let mut series = Vec::new();
        field(&mut series, 1, &label);
        for n in 0..40 {
            let ts = end as u64 - (39 - n) * 15_000;
            field(&mut series, 4, &histogram(is_float, n, ts));
        }
        field(&mut message, 1, &series);
    }
    let mut packed = Vec::new();
    uvarint(&mut packed, message.len() as u64);
    packed.push(61 << 2);
    packed.extend((message.len() as u16 - 1).to_le_bytes());
    packed.extend(message);
    packed
}

fn post_histograms(address: SocketAddr, end: i64) {
    let headers = [
        ("content-type", "application/x-protobuf"),
        ("content-encoding", "snappy"),
    ];
    let response = request(address, "POST", "/api/v1/write", &headers, &histograms(end)).unwrap();
    assert_eq!((response.status, response.text()), (204, String::new()));
}

// What a server tells of the histograms: the samples themselves, and what PromQL makes of them. `None` where they are
// not there.
fn told(address: SocketAddr, end: i64) -> Option<Vec<Value>> {
    let queries = [
        "{__name__=~\"integers|floats\"}[20m]",
        "histogram_quantile(0.9, rate(integers[5m])) + histogram_quantile(0.5, rate(floats[5m]))",
    ];
    let ask = |query: &str| {
        let time = end as f64 / 1000.0;
        let path = format!("/api/v1/query?query={}&time={time}", url_encode(query));
        let mut json = get(address, &path).unwrap().json();
        let mut all: Vec<Value> = serde_json::from_value(json["data"]["result"].take()).unwrap();
        all.sort_by_key(|series| series["metric"].to_string());
        (!all.is_empty()).then(|| Value::from(all))
    };
    queries.into_iter().map(ask).collect()
}

// Each histogram by a question of its own: of a range, Debian's version tells some twice and others not at all.
fn one_by_one(address: SocketAddr, end: i64) -> Vec<Value> {
    let mut all = Vec::new();
    for name in ["integers", "floats"] {
        for n in 0..40 {
            let time = (end / 1000 - n * 15).to_string();
            let path = format!("/api/v1/query?query={name}&time={time}");
            let mut json = get(address, &path).unwrap().json();
            all.push(json["data"]["result"][0]["histogram"].take());
        }
    }
    assert!(all.iter().all(Value::is_array), "{all:?}");
    all
}

#[test]
fn histograms_survive_kill_9_and_prometheus_reads_them_in_a_snapshot() {
    let home = Home::new();
    let config = home.write("prometheus.yml", "global: {scrape_interval: 1m}\n");
    let flags = ["--web.enable-remote-write-receiver", "--web.enable-admin-api"];
    let mut server = Server::prometheus(&home, &config, &flags);
    let end = now_ms() / 1000 * 1000;
    post_histograms(server.address(), end);
    let before = told(server.address(), end).unwrap();
    let ours = one_by_one(server.address(), end);
    let samples = before[0][0]["histograms"].as_array().unwrap();
    assert_eq!(samples.len(), 40);
    assert_eq!(samples[10][1]["count"], "77");
    server.kill();

    let server = Server::prometheus(&home, &config, &flags);
    eventually(30, "the log is replayed", || {
        (told(server.address(), end)? == before).then_some(())
    });
    let snapshot = request(server.address(), "POST", "/api/v1/admin/tsdb/snapshot", &[], &[]).unwrap();
    let name = snapshot.json()["data"]["name"].as_str().unwrap().to_owned();
    let theirs = Home::new();
    std::fs::rename(home.data().join("snapshots").join(name), theirs.data()).unwrap();
    let Some(prometheus) = Prometheus::start(theirs, &["--enable-feature=native-histograms"]) else {
        return;
    };
    assert_same(&one_by_one(prometheus.address(), end), &ours);
}

#[test]
fn histograms_of_a_stopped_prometheus_are_taken_over() {
    let end = now_ms() / 1000 * 1000;
    let flags = [
        "--web.enable-remote-write-receiver",
        "--enable-feature=native-histograms",
    ];
    let Some(prometheus) = Prometheus::start(Home::new(), &flags) else {
        return;
    };
    post_histograms(prometheus.address(), end);
    let theirs = one_by_one(prometheus.address(), end);
    let home = prometheus.kill();
    let config = home.path().join("prometheus.yml");
    let mut server = Server::prometheus(&home, &config, &[]);
    let ours = eventually(30, "the log is taken over", || told(server.address(), end));
    assert_same(&theirs, &one_by_one(server.address(), end));
    server.kill();
    let server = Server::prometheus(&home, &config, &[]);
    eventually(30, "the log is replayed", || {
        (told(server.address(), end)? == ours).then_some(())
    });
}

// Numbers are compared as such: two versions may write them differently.
#[track_caller]
fn assert_same(theirs: &[Value], ours: &[Value]) {
    fn is_same(a: &Value, b: &Value) -> bool {
        match (a, b) {
            (Value::Array(a), Value::Array(b)) => a.len() == b.len() && a.iter().zip(b).all(|(a, b)| is_same(a, b)),
            (Value::Object(a), Value::Object(b)) => {
                a.len() == b.len() && a.iter().all(|(key, a)| b.get(key).is_some_and(|b| is_same(a, b)))
            }
            (Value::String(x), Value::String(y)) => match (x.parse::<f64>(), y.parse::<f64>()) {
                (Ok(x), Ok(y)) => x == y,
                _ => x == y,
            },
            (a, b) => a == b,
        }
    }
    for (theirs, ours) in theirs.iter().zip(ours) {
        assert!(is_same(theirs, ours), "theirs {theirs}\nours {ours}");
    }
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
    let only_the_first = "--web.remote-write-receiver.accepted-protobuf-messages=prometheus.WriteRequest";
    let args = ["--web.enable-remote-write-receiver", only_the_first];
    let server = Server::prometheus(&home, &config, &args);
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

#[test]
fn what_cupola_writes_in_the_second_version_is_there_with_its_metadata() {
    let home = Home::new();
    let config = home.write("prometheus.yml", "global: {scrape_interval: 1m}\n");
    let server = Server::prometheus(&home, &config, &["--web.enable-remote-write-receiver"]);
    let target = FakeTarget::computed(|n| {
        format!(
            "# HELP made_up_total What it is.\n# TYPE made_up_total counter\nmade_up_total{{a=\"x\"}} {n}\n\
             # TYPE h histogram\nh_bucket{{le=\"+Inf\"}} {n}\nh_sum {n}\nh_count {n}\n"
        )
    });
    let yaml = format!(
        "global: {{scrape_interval: 500ms, scrape_timeout: 500ms, external_labels: {{from: other}}}}\n\
         scrape_configs:\n- job_name: j\n  static_configs: [{{targets: ['{}']}}]\n\
         remote_write:\n- url: {}/api/v1/write\n  name: there\n  protobuf_message: io.prometheus.write.v2.Request\n  \
         queue_config: {{batch_send_deadline: 100ms}}\n",
        target.address(),
        server.url()
    );
    let sender_home = Home::new();
    let sender_config = sender_home.write("prometheus.yml", &yaml);
    let sender = Server::prometheus(&sender_home, &sender_config, &[]);
    eventually(30, "five samples have arrived", || {
        let response = server.ask(
            "/api/v1/query",
            &[("query", "made_up_total{a=\"x\",from=\"other\"}[2m]")],
        );
        let all = matrix(&response);
        (all.first()?["values"].as_array()?.len() >= 5).then_some(())
    });
    eventually(30, "the metadata has arrived", || {
        let families = server.api("/api/v1/metadata", &[]);
        let counter = &families["made_up_total"][0];
        let is_there = counter["type"] == "counter" && counter["help"] == "What it is.";
        (is_there && families["h"][0]["type"] == "histogram").then_some(())
    });
    // The receiver says how much it has written: nothing counts as failed.
    let failed = sender.own_metric("prometheus_remote_storage_samples_failed_total");
    assert_eq!(failed, Some(0.0));
    // Another message than both is refused.
    let address = server.address();
    let headers = [("Content-Type", "application/x-protobuf;proto=x.y")];
    let response = request(address, "POST", "/api/v1/write", &headers, b"").unwrap();
    assert_eq!(response.status, 415);
    assert_eq!(
        response.text(),
        "x.y protobuf message is not accepted by this server; accepted [prometheus.WriteRequest, \
         io.prometheus.write.v2.Request]\n"
    );
}
