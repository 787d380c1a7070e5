//! What remote write and OTLP answer, and so what a sender does: it drops what is answered 400 and sends again what is
//! answered with a 5xx. So do Prometheus's senders and vmagent; vmagent also sends again what is answered 413, and exporters of
//! OTLP drop what is answered 500.

use cupola_testkit::protobuf::{field, varint};

use super::*;

const PROTOBUF: &str = "application/x-protobuf";

fn server(budget: usize) -> Server {
    start(|app| {
        app.remote_write = Some(Arc::new(cupola_remote::WriteReceiver::new(&app.registry)));
        let options = cupola_remote::OtlpOptions {
            lookback_ms: 300_000,
            deltas: cupola_remote::OtlpDeltas::Refused,
            type_and_unit_labels: false,
        };
        app.otlp = Some(Arc::new(cupola_remote::OtlpReceiver::new(&app.registry, options)));
        app.pushed = BodyBudget::new("messages that are pushed", budget);
    })
}

// A message of one series, `a`, with a sample of 1 at each of these times; and with these fields behind.
fn message(times: &[i64], more: &[u8]) -> Vec<u8> {
    let mut series = field(1, &[field(1, b"__name__"), field(2, b"a")].concat());
    for ts in times {
        let sample = [&[9][..], &1.0_f64.to_le_bytes(), &[16], &varint(*ts as u64)].concat();
        series.extend(field(2, &sample));
    }
    series.extend_from_slice(more);
    packed(&field(1, &series))
}

// As snappy writes what it cannot shorten.
fn packed(message: &[u8]) -> Vec<u8> {
    let mut out = varint(message.len() as u64);
    for literal in message.chunks(1 << 16) {
        out.push(61 << 2);
        out.extend_from_slice(&(literal.len() as u16).wrapping_sub(1).to_le_bytes());
        out.extend_from_slice(literal);
    }
    out
}

impl Server {
    async fn push(&self, path: &str, headers: &[(&str, &str)], body: Vec<u8>) -> (u16, String) {
        let mut request = Request::post(path);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let reply = self.send(request.body(Body::from(body)).unwrap()).await;
        (reply.status.as_u16(), reply.text())
    }

    async fn write(&self, body: Vec<u8>) -> (u16, String) {
        self.push("/api/v1/write", &[("content-type", PROTOBUF)], body).await
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_never_fits_is_answered_400_and_what_may_fit_later_503() {
    let server = server(1 << 20);
    // As it should be, and what is wrong with it each time.
    assert_eq!(server.write(message(&[NOW], b"")).await, (204, String::new()));
    for (what, body, status, text) in [
        ("older", message(&[NOW - 1], b""), 400, "out of order sample"),
        (
            "another value",
            message(&[NOW, NOW], &[0x12, 2, 16, 0]),
            400,
            "out of bounds",
        ),
        ("later", message(&[NOW + 601_000], b""), 400, "out of bounds"),
        ("no message", vec![3, 8, 10, 200, 1], 400, "proto: "),
        ("not packed", b"garbage".to_vec(), 400, "snappy: "),
        (
            "too long as it comes",
            vec![0; 33 << 20],
            400,
            "the message cannot be read: it has more than",
        ),
        (
            "too long unpacked",
            vec![0x80, 0x80, 0x80, 0x80, 0x01, 0, 0],
            400,
            "the body takes more than 524288 bytes",
        ),
        // 10,000 empty samples in 20 kB.
        (
            "hostile",
            message(&[NOW + 1], &[0x12, 0].repeat(10_000)),
            400,
            "the body takes more than 524288 bytes",
        ),
    ] {
        let (got, said) = server.write(body).await;
        assert_eq!(got, status, "{what}: {said}");
        assert!(said.contains(text), "{what}: {said}");
        assert_eq!(server.ctx.app.pushed.used(), 0, "{what}");
    }
    let (status, said) = server
        .push("/api/v1/write", &[("content-type", "text/plain")], Vec::new())
        .await;
    assert_eq!((status, said.contains(PROTOBUF)), (415, true), "{said}");
    let encoding = [("content-type", PROTOBUF), ("content-encoding", "zstd")];
    assert_eq!(server.push("/api/v1/write", &encoding, Vec::new()).await.0, 415);
    for (kind, body, status) in [
        ("text/plain", &b""[..], 400),
        ("application/json", b"{", 400),
        (PROTOBUF, b"\x0a\xff", 400),
        (PROTOBUF, b"", 200),
    ] {
        let (got, said) = server
            .push("/api/v1/otlp/v1/metrics", &[("content-type", kind)], body.to_vec())
            .await;
        assert_eq!(got, status, "{kind} {body:?}: {said}");
    }

    // Four thousand points that say when they are and nothing else: what is made of them has no room.
    let point = field(1, &[&[0x19][..], &(NOW * 1_000_000).to_le_bytes()].concat());
    let points = field(5, &point.repeat(4_000));
    let points = field(1, &field(2, &field(2, &[field(1, b"g"), points].concat())));
    let (got, said) = server
        .push("/api/v1/otlp/v1/metrics", &[("content-type", PROTOBUF)], points)
        .await;
    assert_eq!(got, 400, "{said}");
    assert!(said.contains("the body takes more than 524288 bytes"), "{said}");
    assert_eq!(server.ctx.app.pushed.used(), 0);

    // Where the storage does not write any more, it is our fault, and the sender is to keep what it has.
    server.ctx.app.tsdb.close();
    let (status, said) = server.write(message(&[NOW + 1], b"")).await;
    assert_eq!((status, said.as_str()), (500, "storage is closed\n"));
    let json = format!(
        "{{\"resourceMetrics\":[{{\"scopeMetrics\":[{{\"metrics\":[{{\"name\":\"g\",\"gauge\":{{\"dataPoints\":\
         [{{\"asDouble\":1,\"timeUnixNano\":\"{}\"}}]}}}}]}}]}}]}}",
        NOW * 1_000_000
    );
    let json = server.push(
        "/api/v1/otlp/v1/metrics",
        &[("content-type", "application/json")],
        json.into_bytes(),
    );
    assert_eq!(json.await, (503, "storage is closed\n".to_owned()));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_message_whose_samples_take_much_waits_for_room_and_is_written() {
    let server = server(40 << 20);
    // Ten thousand samples as vmagent sends them at most, and sixty thousand, all 0 or of one moment.
    let times: Vec<i64> = (0..10_000).map(|n| NOW - 20_000 + n).collect();
    assert_eq!(server.write(message(&times, b"")).await, (204, String::new()));
    let (status, said) = server.write(message(&[NOW], &[0x12, 0].repeat(60_000))).await;
    // The others are older than what is there.
    assert_eq!(status, 400, "{said}");
    assert!(said.contains("out of"), "{said}");
    assert_eq!(server.ctx.app.pushed.used(), 0);
}

// What a machine of 1 GiB or less has for them.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_largest_messages_of_the_usual_senders_fit_into_the_least_budget() {
    let server = server(128 << 20);
    // vmagent: 8 MiB, or 10,000 samples. Prometheus sends 2,000 samples.
    let filler = "x".repeat(800);
    let series = |n: usize| {
        let label =
            |name: &str, value: &str| field(1, &[field(1, name.as_bytes()), field(2, value.as_bytes())].concat());
        let labels = [
            label("__name__", "large"),
            label("filler", &filler),
            label("n", &n.to_string()),
        ]
        .concat();
        let sample = [&[9][..], &1.0_f64.to_le_bytes(), &[16], &varint(NOW as u64)].concat();
        field(1, &[labels, field(2, &sample)].concat())
    };
    let message: Vec<u8> = (0..10_000).flat_map(series).collect();
    assert!(message.len() > 8 << 20, "{}", message.len());
    assert_eq!(server.write(packed(&message)).await, (204, String::new()));
    let points: Vec<String> = (0..10_000)
        .map(|n| {
            format!(
                "{{\"asDouble\":1,\"timeUnixNano\":\"{}\"}}",
                (NOW - 20_000 + n) * 1_000_000
            )
        })
        .collect();
    let json = format!(
        "{{\"resourceMetrics\":[{{\"scopeMetrics\":[{{\"metrics\":[{{\"name\":\"g\",\"gauge\":{{\"dataPoints\":[{}]}}}}]}}]}}]}}",
        points.join(",")
    );
    let headers = [("content-type", "application/json")];
    let (status, said) = server
        .push("/api/v1/otlp/v1/metrics", &headers, json.into_bytes())
        .await;
    assert_eq!(status, 200, "{said}");
    assert_eq!(server.ctx.app.pushed.used(), 0);
}
