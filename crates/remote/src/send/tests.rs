use cupola_config::parse_prometheus;
use cupola_storage::{LogBatch, LogSample, LogValue};

use super::*;

fn configs(yaml: &str) -> Vec<RemoteWriteConfig> {
    let text = format!("remote_write:\n{yaml}");
    parse_prometheus(&text, std::path::Path::new("p.yml"))
        .unwrap()
        .remote_write
}

#[test]
fn destinations_are_known_by_name_or_url() {
    let configs = configs("- url: http://a/\n- url: http://a/\n  name: x\n- url: http://a/\n  send_exemplars: true\n");
    let keys = keys(&configs);
    assert_eq!(keys, ["url http://a/", "name x", "url http://a/ 2"]);
    assert_eq!(hex(&keys[0]).len(), 32);
}

#[test]
fn what_cannot_be_sent_to_is_told_before() {
    let configs = configs(
        "- url: http://a/\n- url: a:9090/write\n- url: http://b/\n  headers: {\"a b\": c}\n- url: http://c/\n  \
         google_iam: {credentials_file: /nowhere/key.json}\n",
    );
    let told = mistakes(&configs);
    assert_eq!(told.len(), 3, "{told:?}");
    let begin = "remote_write[3]: google_iam: credentials_file /nowhere/key.json: No such file";
    assert!(told[2].starts_with(begin), "{told:?}");
    assert!(told[0].starts_with("remote_write[1]: url is no URL: "), "{told:?}");
    assert_eq!(told[1], "remote_write[2]: header \"a b\": is no header");
}

#[test]
fn all_metrics_of_stock_rules_are_registered() {
    let Some(file) = cupola_testkit::conformance_dir("required-metrics.json") else {
        return;
    };
    let text = std::fs::read_to_string(file).unwrap();
    let registry = Registry::default();
    let _families = Families::new(&registry);
    let names: Vec<String> = registry.snapshot().into_iter().map(|family| family.name).collect();
    let mut asked = 0;
    for word in text.split('"').filter(|word| {
        let is_name = word.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
        is_name && (word.starts_with("prometheus_remote_storage_") || word.starts_with("prometheus_wal_watcher_"))
    }) {
        let base = ["_bucket", "_sum", "_count"]
            .iter()
            .find_map(|end| word.strip_suffix(end));
        let has = |name: &str| names.iter().any(|other| other == name);
        // Of all destinations together, where the storage is; and of a Prometheus before 2.23.
        let elsewhere = ["samples_in_total", "highest_timestamp_in_seconds"];
        let old = [
            "dropped_samples_total",
            "failed_samples_total",
            "pending_samples",
            "retried_samples_total",
            "succeeded_samples_total",
        ];
        if !elsewhere
            .iter()
            .chain(&old)
            .any(|end| word.ends_with(&format!("storage_{end}")))
        {
            assert!(has(word) || base.is_some_and(has), "{word}");
            asked += 1;
        }
    }
    assert!(asked > 10, "{asked}");
}

type Batches = Arc<Mutex<std::collections::VecDeque<LogBatch>>>;

// A log of records made beforehand.
struct Told {
    batches: Batches,
    at: LogPosition,
    alive: Vec<u64>,
}

impl cupola_storage::LogTail for Told {
    fn next(&mut self) -> Result<Option<LogBatch>, StorageError> {
        let next = self.batches.lock().pop_front();
        if let Some(batch) = &next {
            self.at = at(batch.at.offset + 1);
        }
        Ok(next)
    }

    fn position(&self) -> LogPosition {
        self.at
    }

    fn labels(&self, series: u64) -> Option<Labels> {
        (series == 77).then(|| Labels::from_pairs([("__name__", "asked_for")]))
    }

    fn is_alive(&self, series: u64) -> bool {
        self.alive.contains(&series)
    }

    fn lost_segments(&self) -> u64 {
        0
    }
}

fn at(offset: u64) -> LogPosition {
    LogPosition { segment: 1, offset }
}

fn batch(offset: u64, series: &[(u64, &str)], samples: &[(u64, i64)]) -> LogBatch {
    LogBatch {
        at: at(offset),
        series: series
            .iter()
            .map(|(id, name)| (*id, Labels::from_pairs([("__name__", *name), ("own", "1")])))
            .collect(),
        samples: samples
            .iter()
            .map(|(series, ts)| LogSample {
                series: *series,
                ts: *ts,
                start: 0,
                value: LogValue::Float(*ts as f64),
            })
            .collect(),
        ..LogBatch::default()
    }
}

fn reader(yaml: &str, records: Vec<LogBatch>, cursor: &Cursor) -> (Reader, Arc<metrics::Metrics>, Batches) {
    let config = Arc::new(configs(yaml).remove(0));
    let metrics = Arc::new(Families::new(&Registry::default()).of("n", "u"));
    let batches: Batches = Arc::new(Mutex::new(records.into()));
    let told = Told {
        batches: batches.clone(),
        at: at(0),
        alive: vec![1],
    };
    let external = Labels::from_pairs([("own", "2"), ("from", "here")]);
    let described = Described::default();
    let tail = Box::new(told);
    let reader = Reader::new(tail, config, external, metrics.clone(), described, cursor.state());
    (reader, metrics, batches)
}

fn read(reader: &mut Reader) -> Vec<reader::Item> {
    let mut out = reader::Read::default();
    reader.read(1000, &mut out).unwrap();
    out.items.into()
}

fn cursor(dir: &tempfile::TempDir) -> Cursor {
    let vfs: Arc<dyn Vfs> = Arc::new(cupola_env::RealFs);
    Cursor::open(vfs, &dir.path().join("c"), LogPosition { segment: 9, offset: 0 }, at(0)).unwrap()
}

#[test]
fn labels_are_those_of_the_log_with_external_ones_and_relabelled() {
    let dir = tempfile::tempdir().unwrap();
    let yaml = "- url: http://a/\n  protobuf_message: io.prometheus.write.v2.Request\n  write_relabel_configs:\n  \
                - {source_labels: [__name__], regex: no, action: drop}\n  - {target_label: more, replacement: x}\n";
    let records = vec![
        batch(0, &[(1, "yes"), (2, "no")], &[(1, 10), (2, 10), (3, 10), (77, 10)]),
        batch(5, &[], &[(1, 20)]),
    ];
    let (mut reader, metrics, _) = reader(yaml, records, &cursor(&dir));
    let items = read(&mut reader);
    let told: Vec<_> = items
        .iter()
        .map(|item| (item.ts, item.series.labels.to_string()))
        .collect();
    let yes = r#"{__name__="yes", from="here", more="x", own="1"}"#;
    let asked = r#"{__name__="asked_for", from="here", more="x", own="2"}"#;
    assert_eq!(
        told,
        [(10, yes.to_owned()), (10, asked.to_owned()), (20, yes.to_owned())]
    );
    let dropped = |reason| metrics.dropped(reason, metrics::Kind::Sample).get();
    assert_eq!(dropped(metrics::Reason::DroppedSeries), 1.0);
    assert_eq!(dropped(metrics::Reason::UnknownSeries), 1.0);
}

#[test]
fn what_an_earlier_process_sent_is_left_out_and_what_was_on_its_way_is_marked() {
    let dir = tempfile::tempdir().unwrap();
    let mut cursor = cursor(&dir);
    let all = cursor::Share { shard: 0, of: 1 };
    let place = |offset, index| cursor::Place::of(at(offset), index);
    cursor.done(all, place(5, 1));
    cursor.tried(all, place(6, 1));
    let records = vec![
        // What only names series may lie anywhere.
        batch(1 << 30, &[(1, "a")], &[]),
        batch(0, &[], &[(1, 1)]),
        batch(5, &[], &[(1, 2), (1, 3)]),
        batch(6, &[], &[(1, 4), (1, 5)]),
        batch(7, &[], &[(1, 6)]),
    ];
    let (mut reader, _, _) = reader("- url: http://a/\n", records, &cursor);
    let items = read(&mut reader);
    let told: Vec<_> = items.iter().map(|item| (item.ts, item.doubt)).collect();
    assert_eq!(told, [(3, 1), (4, 1), (5, 0), (6, 0)]);
}

#[test]
fn series_are_forgotten_once_the_log_does_not_speak_of_them_any_more() {
    let dir = tempfile::tempdir().unwrap();
    let records = vec![
        batch(0, &[(1, "a"), (2, "b")], &[(1, 1), (2, 1)]),
        batch(9, &[], &[(2, 2)]),
    ];
    let (mut reader, metrics, more) = reader("- url: http://a/\n", records, &cursor(&dir));
    let unknown = || {
        metrics
            .dropped(metrics::Reason::UnknownSeries, metrics::Kind::Sample)
            .get()
    };
    let mut out = reader::Read::default();
    // One record, as it stops where it has enough.
    reader.read(1, &mut out).unwrap();
    // Marked as the log ends behind the second record, which may still speak of the series.
    reader.forget(at(10));
    reader.forget(at(10));
    reader.read(1000, &mut out).unwrap();
    assert_eq!((out.items.len(), unknown()), (3, 0.0));
    reader.forget(at(10));
    more.lock().push_back(batch(20, &[], &[(1, 3), (2, 3)]));
    reader.read(1000, &mut out).unwrap();
    assert_eq!((out.items.len(), unknown()), (4, 1.0));
}
