//! OpenTelemetry's metrics, sent to Cupola over HTTP.

#![allow(clippy::panic, clippy::unwrap_used, reason = "a test's failure is a panic")]

use std::process::Command;

use cupola_tests::{Home, Response, Server, eventually, now_ms, otlp_python, request};

fn field(number: u8, value: &[u8]) -> Vec<u8> {
    let mut out = vec![number << 3 | 2];
    let mut length = value.len();
    while length >= 0x80 {
        out.push(length as u8 | 0x80);
        length >>= 7;
    }
    out.push(length as u8);
    out.extend_from_slice(value);
    out
}

fn word(number: u8, bits: u64) -> Vec<u8> {
    [&[number << 3 | 1][..], &bits.to_le_bytes()].concat()
}

fn attribute(number: u8, key: &str, value: &str) -> Vec<u8> {
    let value = field(2, &field(1, value.as_bytes()));
    field(number, &[field(1, key.as_bytes()), value].concat())
}

// One counter with one point; the temporality is 1 for deltas and 2 for what counts from a beginning.
fn message(temporality: u8, value: u64) -> Vec<u8> {
    let point = [
        word(2, (now_ms() as u64 - 60_000) * 1_000_000),
        word(3, now_ms() as u64 * 1_000_000),
        word(6, value),
        attribute(7, "http.method", "GET"),
    ];
    let sum = [field(1, &point.concat()), vec![2 << 3, temporality, 3 << 3, 1]];
    let metric = [field(1, b"http.requests"), field(3, b"1"), field(7, &sum.concat())];
    let resource = [attribute(1, "service.name", "shop"), attribute(1, "zone", "eu")];
    field(
        1,
        &[field(1, &resource.concat()), field(2, &field(2, &metric.concat()))].concat(),
    )
}

fn post(server: &Server, kind: &str, body: &[u8]) -> Response {
    let headers = [("Content-Type", kind)];
    request(server.address(), "POST", "/api/v1/otlp/v1/metrics", &headers, body).unwrap()
}

const PROTOBUF: &str = "application/x-protobuf";

#[test]
fn metrics_are_taken_where_the_receiver_is_enabled() {
    let home = Home::new();
    let yaml = "otlp: {promote_resource_attributes: [zone]}\n";
    let config = home.write("prometheus.yml", yaml);
    {
        let server = Server::prometheus(&home, &config, &[]);
        let response = post(&server, PROTOBUF, &message(2, 7));
        assert_eq!(response.status, 404);
        assert_eq!(
            response.text(),
            "otlp write receiver needs to be enabled with --web.enable-otlp-receiver\n"
        );
    }
    let server = Server::prometheus(&home, &config, &["--web.enable-otlp-receiver"]);
    let response = post(&server, PROTOBUF, &message(2, 7));
    assert_eq!((response.status, response.text().as_str()), (200, ""));
    let found = server.query("http_requests_total");
    assert_eq!(found.len(), 1);
    assert_eq!(
        (
            found[0].value,
            found[0].label("job"),
            found[0].label("http_method"),
            found[0].label("zone")
        ),
        (7.0, "shop", "GET", "eu")
    );
    assert_eq!(server.value("target_info{zone=\"eu\"}"), Some(1.0));
    let response = post(&server, PROTOBUF, &message(1, 7));
    assert_eq!(response.status, 500);
    assert_eq!(
        response.text(),
        "invalid temporality and type combination for metric \"http.requests\"\n"
    );
    assert_eq!(post(&server, PROTOBUF, &[0x0a, 5]).status, 400);
    assert_eq!(post(&server, "text/plain", b"").status, 400);
    // Names as they are, from the next reload on.
    home.write("prometheus.yml", "otlp: {translation_strategy: NoTranslation}\n");
    server.hang_up();
    eventually(20, "the reload has taken effect", || {
        assert_eq!(post(&server, PROTOBUF, &message(2, 8)).status, 200);
        server.value("{\"http.requests\"}").filter(|value| *value == 8.0)
    });
}

#[test]
fn json_is_taken_like_protobuf() {
    let home = Home::new();
    let config = home.write("prometheus.yml", "otlp: {promote_resource_attributes: [zone]}\n");
    let server = Server::prometheus(&home, &config, &["--web.enable-otlp-receiver"]);
    let (start, ts) = ((now_ms() - 60_000) * 1_000_000, now_ms() * 1_000_000);
    let times = format!("\"startTimeUnixNano\":\"{start}\",\"timeUnixNano\":\"{ts}\"");
    let metrics = [
        format!(
            r#"{{"name":"http.requests","unit":"1","sum":{{"aggregationTemporality":2,"isMonotonic":true,"dataPoints":[{{{times},"asInt":"7","attributes":[{{"key":"http.method","value":{{"stringValue":"GET"}}}}]}}]}}}}"#
        ),
        format!(
            r#"{{"name":"took","unit":"s","histogram":{{"aggregationTemporality":"AGGREGATION_TEMPORALITY_CUMULATIVE","dataPoints":[{{{times},"count":"3","sum":4.5,"bucketCounts":["1","2"],"explicitBounds":[0.5]}}]}}}}"#
        ),
        format!(
            r#"{{"name":"sizes","exponential_histogram":{{"aggregation_temporality":2,"data_points":[{{{times},"count":2,"sum":3,"scale":0,"positive":{{"offset":0,"bucketCounts":[1,"1"]}}}}]}}}}"#
        ),
    ];
    let body = format!(
        r#"{{"resourceMetrics":[{{"resource":{{"attributes":[{{"key":"service.name","value":{{"stringValue":"shop"}}}},{{"key":"zone","value":{{"stringValue":"eu"}}}}]}},"scopeMetrics":[{{"metrics":[{}]}}]}}]}}"#,
        metrics.join(",")
    );
    let response = post(&server, "application/json", body.as_bytes());
    assert_eq!((response.status, response.text().as_str()), (200, ""));
    for (query, value) in [
        (r#"http_requests_total{job="shop",http_method="GET",zone="eu"}"#, 7.0),
        (r#"took_seconds_bucket{le="0.5"}"#, 1.0),
        ("took_seconds_sum", 4.5),
        ("histogram_count(sizes)", 2.0),
        (r#"target_info{zone="eu"}"#, 1.0),
    ] {
        assert_eq!(server.value(query), Some(value), "{query}");
    }
    let response = post(&server, "application/json", b"{\"resourceMetrics\":[{]}");
    assert_eq!(response.status, 400);
    assert!(response.text().contains("line 1 column"), "{}", response.text());
    let response = post(&server, "text/json", b"{}");
    assert_eq!(
        (response.status, response.text().as_str()),
        (
            400,
            "unsupported content type: text/json, supported: [application/json, application/x-protobuf]\n"
        )
    );
}

// What OpenTelemetry's own encoder makes, as JSON by Google's own library, but for ids, of which there are none.
const JSON_SENDER: &str = r#"
import sys, urllib.request
from google.protobuf.json_format import MessageToJson
from opentelemetry.exporter.otlp.proto.common.metrics_encoder import encode_metrics
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.metrics.view import ExponentialBucketHistogramAggregation, View
from opentelemetry.sdk.resources import Resource

reader = InMemoryMetricReader()
views = [View(instrument_name="sizes", aggregation=ExponentialBucketHistogramAggregation())]
resource = Resource({"service.name": "shop", "zone": "eu", "list": ["a", "b"], "number": 5, "true": True})
meter = MeterProvider(metric_readers=[reader], resource=resource, views=views).get_meter("sender", "1.0")
meter.create_counter("sold.things", unit="1").add(5, {"kind": "x"})
meter.create_histogram("took", unit="s", explicit_bucket_boundaries_advisory=[0.5, 2.0]).record(1.0)
meter.create_histogram("sizes", unit="By").record(3.0)
body = MessageToJson(encode_metrics(reader.get_metrics_data())).encode()
urllib.request.urlopen(urllib.request.Request(sys.argv[1], body, {"Content-Type": "application/json"})).read()
"#;

#[test]
fn what_opentelemetrys_encoder_makes_is_taken_as_json() {
    let Some(python) = otlp_python() else { return };
    let home = Home::new();
    let config = home.write("prometheus.yml", "otlp: {promote_resource_attributes: [zone]}\n");
    let server = Server::prometheus(&home, &config, &["--web.enable-otlp-receiver"]);
    let url = format!("{}/api/v1/otlp/v1/metrics", server.url());
    let sent = Command::new(python).args(["-c", JSON_SENDER, &url]).output().unwrap();
    assert!(sent.status.success(), "{}", String::from_utf8_lossy(&sent.stderr));
    for (query, value) in [
        (r#"sold_things_total{job="shop",kind="x",zone="eu"}"#, 5.0),
        (r#"took_seconds_bucket{le="2.0"} or took_seconds_bucket{le="2"}"#, 1.0),
        ("histogram_sum(sizes_bytes)", 3.0),
        (r#"target_info{list="[\"a\",\"b\"]",number="5",true="true"}"#, 1.0),
    ] {
        assert_eq!(server.value(query), Some(value), "{query}");
    }
}

// Every instrument of OpenTelemetry's SDK, one histogram of which is exponential.
const SENDER: &str = r#"
import sys
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import PeriodicExportingMetricReader
from opentelemetry.sdk.metrics.view import ExponentialBucketHistogramAggregation, View
from opentelemetry.sdk.resources import Resource
from opentelemetry.exporter.otlp.proto.http import Compression
from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter

exporter = OTLPMetricExporter(endpoint=sys.argv[1], compression=Compression.Gzip)
reader = PeriodicExportingMetricReader(exporter, export_interval_millis=3600000)
resource = Resource({"service.name": "shop", "service.instance.id": "one", "zone": "eu"})
views = [View(instrument_name="sizes", aggregation=ExponentialBucketHistogramAggregation())]
provider = MeterProvider(metric_readers=[reader], resource=resource, views=views)
meter = provider.get_meter("sender", "1.0")
meter.create_counter("sold.things", unit="1", description="What was sold.").add(5, {"kind": "x"})
meter.create_up_down_counter("queue.length", unit="{things}").add(-3)
took = meter.create_histogram("took", unit="s", explicit_bucket_boundaries_advisory=[0.5, 2.0])
for value in (0.1, 1.0, 9.0):
    took.record(value)
sizes = meter.create_histogram("sizes", unit="By")
for value in (1.0, 3.0, 100.0):
    sizes.record(value)
def level(options):
    from opentelemetry.metrics import Observation
    yield Observation(21.5, {"room": "a"})
meter.create_observable_gauge("level", [level], unit="Cel")
if not provider.force_flush():
    sys.exit("the metrics were not taken")
provider.shutdown()
"#;

#[test]
fn what_opentelemetrys_own_exporter_sends_is_there() {
    let Some(python) = otlp_python() else { return };
    let home = Home::new();
    let config = home.write("prometheus.yml", "otlp: {promote_resource_attributes: [zone]}\n");
    let server = Server::prometheus(&home, &config, &["--web.enable-otlp-receiver"]);
    let url = format!("{}/api/v1/otlp/v1/metrics", server.url());
    let sent = Command::new(python).args(["-c", SENDER, &url]).output().unwrap();
    let said = String::from_utf8_lossy(&sent.stderr).into_owned();
    assert!(sent.status.success(), "{said}");
    assert!(!said.contains("Failed to export"), "{said}");
    let of = |query: &str| server.value(query);
    assert_eq!(
        of(r#"sold_things_total{job="shop",instance="one",kind="x",zone="eu"}"#),
        Some(5.0)
    );
    assert_eq!(of("queue_length"), Some(-3.0));
    assert_eq!(of(r#"level_celsius{room="a"}"#), Some(21.5));
    assert_eq!(of(r#"took_seconds_bucket{le="2"}"#), Some(2.0));
    assert_eq!(of(r#"took_seconds_bucket{le="+Inf"}"#), Some(3.0));
    assert_eq!(of("took_seconds_count"), Some(3.0));
    assert_eq!(of("histogram_count(sizes_bytes)"), Some(3.0));
    assert_eq!(of("histogram_sum(sizes_bytes)"), Some(104.0));
    assert_eq!(of(r#"target_info{zone="eu",job="shop"}"#), Some(1.0));
    let families = server.api("/api/v1/metadata", &[("metric", "sold_things_total")]);
    assert_eq!(families["sold_things_total"][0]["help"], "What was sold.");
}
