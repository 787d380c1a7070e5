//! Blocks with native histograms cross between us and a real Prometheus in both directions.

#![allow(clippy::unwrap_used, reason = "a test: what cannot be unwrapped has failed")]

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;

use cupola_block::{Block, BlockSpec, BlockWriter, NewChunk, Ulid, list_blocks};
use cupola_chunk::{Appended, Encoding, HistogramAppender, HistogramCursor};
use cupola_env::RealFs;
use cupola_histogram::{CounterResetHint, FloatHistogram, Histogram, NativeHistogram, Span};
use cupola_model::Labels;
use cupola_storage::{Queryable as _, Samples, Selection};
use serde_json::Value;

const START: i64 = 1_700_000_000_000;
const STEP: i64 = 15_000;

type Run = Vec<(i64, NativeHistogram)>;

/// A Prometheus on a free port of this machine that ends with the test.
struct Server {
    process: Child,
    address: String,
    // Kept open, the process logs on.
    log: BufReader<std::process::ChildStderr>,
}

impl Server {
    /// Starts it on a data folder and waits until it answers; `None`, with a note, where it is not installed.
    fn start(dir: &Path) -> Option<Self> {
        let config = dir.join("prometheus.yml");
        std::fs::write(&config, "global: {}\n").unwrap();
        let process = Command::new("prometheus")
            .arg(format!("--config.file={}", config.display()))
            .arg(format!("--storage.tsdb.path={}", dir.join("data").display()))
            .args(["--storage.tsdb.retention.time=100y", "--web.listen-address=127.0.0.1:0"])
            .args(["--web.enable-admin-api", "--log.level=info"])
            .stderr(Stdio::piped())
            .stdout(Stdio::null())
            .spawn();
        let mut process = match process {
            Ok(process) => process,
            Err(error) => {
                assert!(
                    std::env::var("CI").as_deref() != Ok("true"),
                    "prometheus missing in CI: {error}"
                );
                eprintln!("SKIPPED: prometheus cannot be run: {error}");
                return None;
            }
        };
        let log = BufReader::new(process.stderr.take().unwrap());
        let mut server = Self {
            process,
            address: String::new(),
            log,
        };
        let mut told = String::new();
        loop {
            let mut line = String::new();
            assert!(
                server.log.read_line(&mut line).unwrap() > 0,
                "prometheus ended:\n{told}"
            );
            if let Some((_, address)) = line.split_once("msg=\"Listening on\" address=") {
                server.address = address.trim().to_owned();
            }
            if line.contains("Server is ready to receive web requests") {
                return Some(server);
            }
            told.push_str(&line);
        }
    }

    /// The body of the answer. HTTP/1.0, so that it comes in one piece.
    fn request(&self, method: &str, path: &str) -> String {
        let mut stream = TcpStream::connect(&self.address).unwrap();
        write!(
            stream,
            "{method} {path} HTTP/1.0\r\nHost: test\r\nContent-Length: 0\r\n\r\n"
        )
        .unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        assert!(head.contains(" 200 ") || head.contains(" 204 "), "{path}: {answer}");
        body.to_owned()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn span(offset: i32, length: u32) -> Span {
    Span { offset, length }
}

/// Latencies whose buckets grow in number, with a reset in the middle.
fn latency(at: i64) -> Histogram {
    let since = if at < 60 { at } else { at - 60 };
    let wide = if since > 20 {
        vec![span(-2, 2), span(1, 3)]
    } else {
        vec![span(-1, 1), span(1, 2)]
    };
    let populations: Vec<i64> = if since > 20 {
        vec![0, 3 * since, since * since, since, since / 7]
    } else {
        vec![3 * since, since * since, since]
    };
    let negative = vec![since / 2, 1];
    let deltas = |counts: &[i64]| {
        let mut last = 0;
        counts
            .iter()
            .map(|count| count - std::mem::replace(&mut last, *count))
            .collect::<Vec<i64>>()
    };
    Histogram {
        schema: 3,
        zero_threshold: 0.001,
        zero_count: since as u64,
        count: (populations.iter().chain(&negative).sum::<i64>() + since) as u64,
        sum: since as f64 * 0.37,
        positive_buckets: deltas(&populations),
        positive_spans: wide,
        negative_spans: vec![span(4, 1), span(2, 1)],
        negative_buckets: deltas(&negative),
        ..Histogram::default()
    }
}

fn model() -> BTreeMap<Labels, Run> {
    let mut model = BTreeMap::new();
    for (name, is_float, is_gauge) in [
        ("integer_counter", false, false),
        ("integer_gauge", false, true),
        ("float_counter", true, false),
        ("float_gauge", true, true),
    ] {
        let run = (0..120)
            .map(|at| {
                let mut h = latency(at);
                if is_gauge {
                    h.counter_reset_hint = CounterResetHint::Gauge;
                }
                let h = if is_float {
                    NativeHistogram::Float(h.to_float())
                } else {
                    NativeHistogram::Integer(h)
                };
                // Scrapes are a little late now and then.
                (START + at * STEP + at % 3, h)
            })
            .collect();
        model.insert(Labels::from_pairs([("__name__", name.to_owned())]), run);
    }
    model
}

/// Chunks as a head cuts them: time of the first and last sample, encoding, bytes.
fn chunks(run: &[(i64, NativeHistogram)]) -> Vec<(i64, i64, Encoding, Vec<u8>)> {
    let mut chunks = Vec::new();
    let mut appender = HistogramAppender::new();
    let mut first = run[0].0;
    let mut last = first;
    for (ts, h) in run {
        if let Appended::Cut(header) = appender.append(*ts, h).unwrap() {
            chunks.push((first, last, appender.encoding(), appender.cut(header)));
            first = *ts;
            assert_eq!(appender.append(*ts, h).unwrap(), Appended::InPlace);
        }
        last = *ts;
    }
    chunks.push((first, last, appender.encoding(), appender.into_bytes()));
    chunks
}

fn write_block(data: &Path, model: &BTreeMap<Labels, Run>) {
    let max = START + 120 * STEP;
    let mut writer =
        BlockWriter::create(&RealFs::shared(), data, BlockSpec::new(Ulid::new(max, 7), START, max)).unwrap();
    for (labels, run) in model {
        let chunks = chunks(run);
        let new = chunks.iter().map(|(mint, maxt, encoding, bytes)| NewChunk {
            mint: *mint,
            maxt: *maxt,
            encoding: *encoding,
            bytes,
        });
        writer.add_series(labels, new).unwrap();
    }
    writer.finish().unwrap();
}

/// A histogram as the HTTP API tells it: count, sum, and for each bucket its bounds and population.
fn told(h: &FloatHistogram) -> Vec<f64> {
    let buckets = h
        .api_buckets()
        .flat_map(|b| [f64::from(b.boundaries), b.lower, b.upper, b.count]);
    [h.count, h.sum].into_iter().chain(buckets).collect()
}

fn parse_told(h: &Value) -> Vec<f64> {
    let number = |value: &Value| match value {
        Value::String(text) => text.parse().unwrap(),
        other => other.as_f64().unwrap(),
    };
    let mut all = vec![number(&h["count"]), number(&h["sum"])];
    for bucket in h["buckets"].as_array().into_iter().flatten() {
        all.extend(bucket.as_array().unwrap().iter().map(number));
    }
    all
}

#[test]
fn histograms_are_selected_without_what_is_deleted() {
    let dir = tempfile::tempdir().unwrap();
    let model = model();
    write_block(dir.path(), &model);
    let block = Block::open(
        &RealFs::shared(),
        &dir.path().join(Ulid::new(START + 120 * STEP, 7).to_string()),
    )
    .unwrap();
    let (from, to) = (START + 30 * STEP, START + 40 * STEP);
    let block = block.delete(&[vec![]], from, to).unwrap().unwrap();
    let (mint, maxt) = (START + 5 * STEP, START + 100 * STEP);
    let selection = Selection {
        matchers: &[],
        mint,
        maxt,
    };
    let found = block.select(&selection).unwrap();
    assert_eq!(found.len(), model.len());
    for series in found {
        let mut samples = Samples::default();
        // What is there already stays.
        samples.push(1, 2.0);
        samples.histograms.push(1, Arc::default(), 0);
        series.source.read(mint, maxt, &mut samples).unwrap();
        assert_eq!((samples.len(), samples.histograms.ts[0]), (1, 1));
        let expected: Vec<_> = model[&series.labels]
            .iter()
            .filter(|(ts, _)| (mint..=maxt).contains(ts) && !(from..=to).contains(ts))
            .map(|(ts, h)| (*ts, told(&h.to_float())))
            .collect();
        let read = samples.histograms.ts.iter().zip(&samples.histograms.values).skip(1);
        let read: Vec<_> = read.map(|(ts, h)| (*ts, told(h))).collect();
        assert_eq!(read, expected, "{}", series.labels);
    }
}

#[test]
fn prometheus_reads_our_histograms_and_encodes_them_as_we_do() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    std::fs::create_dir(&data).unwrap();
    let model = model();
    write_block(&data, &model);
    let Some(server) = Server::start(dir.path()) else {
        return;
    };

    // What it reads in our block.
    let end = (START + 120 * STEP) / 1000;
    for (labels, run) in &model {
        let name = labels.metric_name();
        let body = server.request("GET", &format!("/api/v1/query?query={name}[1h]&time={end}"));
        let answer: Value = serde_json::from_str(&body).unwrap();
        let points = answer["data"]["result"][0]["histograms"]
            .as_array()
            .unwrap_or_else(|| panic!("{body}"));
        assert_eq!(points.len(), run.len(), "{name}");
        for (point, (ts, h)) in points.iter().zip(run) {
            assert_eq!((point[0].as_f64().unwrap() * 1000.0).round() as i64, *ts);
            assert_eq!(parse_told(&point[1]), told(&h.to_float()), "{name} at {ts}");
        }
    }

    // Let it drop the first samples of each chunk, which makes it encode the rest anew; this version cannot do that with
    // gauges.
    let is_deleted = |ts: i64| ts < START + 8 * STEP || (START + 58 * STEP..START + 66 * STEP).contains(&ts);
    for (from, to) in [(0, 8), (58, 66)] {
        let at = |n: i64| (START + n * STEP) / 1000;
        let path = format!(
            "/api/v1/admin/tsdb/delete_series?match[]={{__name__=~%22.*_counter%22}}&start={}&end={}.999",
            at(from),
            at(to) - 1
        );
        server.request("POST", &path);
    }
    server.request("POST", "/api/v1/admin/tsdb/clean_tombstones");
    drop(server);

    let list = list_blocks(&RealFs, &data).unwrap();
    assert_eq!((list.blocks.len(), list.broken.len()), (1, 0), "{list:?}");
    let block = Block::open(&RealFs::shared(), &list.blocks[0].0).unwrap();
    let mut reader = block.chunk_reader();
    let (mut seen, mut compared) = (0, 0);
    for series in block.iter().unwrap() {
        let series = series.unwrap();
        let run = &model[&series.labels];
        let is_counter = series.labels.metric_name().ends_with("_counter");
        let mut read = Vec::new();
        for chunk in &series.chunks {
            let (encoding, bytes) = reader.read(chunk).unwrap().encoded().unwrap();
            let mut cursor = HistogramCursor::new(encoding, bytes).unwrap();
            let mut again = HistogramAppender::new();
            while let Some(ts) = cursor.next_sample().unwrap() {
                read.push((ts, told(&cursor.float())));
                assert_eq!(again.append(ts, &cursor.native()).unwrap(), Appended::InPlace);
            }
            assert_eq!(again.encoding(), encoding);
            // The same bytes but for the header, which depends on the chunk before.
            let but_header = |bytes: &[u8]| [&bytes[..2], &bytes[3..]].concat();
            assert!(
                but_header(again.bytes()) == but_header(bytes),
                "{} differs",
                series.labels
            );
            compared += u32::from(is_counter);
        }
        let expected: Vec<_> = run
            .iter()
            .filter(|(ts, _)| !(is_counter && is_deleted(*ts)))
            .map(|(ts, h)| (*ts, told(&h.to_float())))
            .collect();
        assert_eq!(read, expected, "{}", series.labels);
        seen += 1;
    }
    // Counters are cut at the reset.
    assert!(seen == 4 && compared == 4, "{seen} series, {compared} chunks");
}
