//! A real Prometheus writes, is stopped, and its newest hours are read: every sample that it showed is there.

#![allow(clippy::unwrap_used, reason = "a test: what cannot be unwrapped has failed")]

mod common;

use std::collections::BTreeMap;

use common::{Data, Fake, Line, Prometheus};
use cupola_chunk::decode;
use cupola_env::RealFs;
use cupola_model::{Labels, SeriesRef, is_stale_nan};
use cupola_wlog::{Event, Options, Restored, Source, restore};
use rustix::process::Signal;

// Chunks are full at 120 samples in order, at 32 out of order.
const IN_ORDER: i64 = 500;
const OUT_OF_ORDER: i64 = 100;
const SERIES: i64 = 3;
const STEP_MS: i64 = 1_000;
const NAME: &str = "wlog_test_value";

#[derive(Default)]
struct Found {
    labels: BTreeMap<SeriesRef, Labels>,
    samples: BTreeMap<Labels, BTreeMap<i64, u64>>,
    from_wbl: u64,
    chunks_out_of_order: u64,
}

impl Found {
    fn take(&mut self, source: Source, event: &Event<'_>) {
        match event {
            Event::Series(series) => {
                self.labels
                    .extend(series.iter().map(|s| (s.series_ref, s.labels.clone())));
            }
            Event::HeadChunk(chunk) => {
                self.chunks_out_of_order += u64::from(chunk.is_out_of_order);
                let (mut ts, mut values) = (Vec::new(), Vec::new());
                decode(chunk.encoding, chunk.bytes, i64::MIN, i64::MAX, &mut ts, &mut values).unwrap();
                for (ts, value) in ts.into_iter().zip(values) {
                    self.add(chunk.series_ref, ts, value);
                }
            }
            Event::Samples(samples) => {
                for s in *samples {
                    self.from_wbl += u64::from(source == Source::Wbl);
                    self.add(s.series_ref, s.ts, s.value);
                }
            }
            _ => (),
        }
    }

    fn add(&mut self, series_ref: SeriesRef, ts: i64, value: f64) {
        let labels = self.labels[&series_ref].clone();
        let before = self.samples.entry(labels).or_default().insert(ts, value.to_bits());
        // A Prometheus that is stopped while it compacts what came late leaves it in a chunk and in the log, with no marker
        // between; whoever keeps samples drops the second one.
        let is_new = before.is_none_or(|before| before == value.to_bits());
        assert!(is_new, "series {series_ref:?} has two values at {ts}");
    }
}

fn value(series: i64, i: i64) -> f64 {
    (i * i) as f64 / 7.0 - series as f64
}

/// The times of the samples that come first, and of those that come too late.
fn lines(begin: i64, times: impl Iterator<Item = i64>) -> Vec<Line> {
    times
        .flat_map(|i| (0..SERIES).map(move |series| (series, i)))
        .map(|(series, i)| Line {
            series: format!("{NAME}{{series=\"{series}\"}}"),
            value: value(series, i),
            ts: begin + i * STEP_MS / 2,
        })
        .collect()
}

fn stopped_by(signal: Signal) -> Option<(Restored, Found)> {
    let fake = Fake::start();
    let prometheus = Prometheus::start(&fake, "1h", &[])?;
    let begin = common::now_ms() - 20 * 60 * 1_000;
    fake.serve_once(&lines(begin, (0..IN_ORDER).map(|i| 2 * i)));
    prometheus.wait_for(NAME, (SERIES * IN_ORDER) as usize);
    // From the newest to the oldest, between those that are there.
    fake.serve_once(&lines(begin, (0..OUT_OF_ORDER).rev().map(|i| 2 * i + 1)));
    prometheus.wait_for(NAME, (SERIES * (IN_ORDER + OUT_OF_ORDER)) as usize);
    // Its own metrics are scraped each second, with the time of the scrape.
    prometheus.wait_for("up{job=\"itself\"}", 3);

    let mut shown = BTreeMap::new();
    for query in [NAME, "up", "{__name__=~\"prometheus_tsdb_.*|go_.*\"}"] {
        shown.extend(prometheus.query(query));
    }
    assert!(shown.len() > 50, "{} series", shown.len());
    let data = prometheus.stop(signal);

    Some(compare(&data, i64::MIN, &shown))
}

/// Reads the folder and looks for all that was shown from `min_valid_time` on.
fn compare(data: &Data, min_valid_time: i64, shown: &BTreeMap<Labels, BTreeMap<i64, u64>>) -> (Restored, Found) {
    let mut found = Found::default();
    let options = Options { min_valid_time };
    let restored = restore(&RealFs, &data.path(), options, &|| true, &mut |source, event| {
        found.take(source, &event);
        Ok(())
    })
    .unwrap();
    let nothing = BTreeMap::new();
    for (labels, samples) in shown {
        let last = samples.keys().last().copied().unwrap();
        let wanted = |samples: &BTreeMap<i64, u64>| -> BTreeMap<i64, u64> {
            let wanted = samples
                .range(min_valid_time..=last)
                .map(|(ts, bits)| (*ts, one_nan(*bits)));
            wanted
                .filter(|(_, bits)| !is_stale_nan(f64::from_bits(*bits)))
                .collect()
        };
        let read = found.samples.get(labels).unwrap_or(&nothing);
        assert_eq!(wanted(read), wanted(samples), "{labels}");
    }
    assert_eq!(restored.unknown_series, 0);
    (restored, found)
}

// All NaN are shown as one.
fn one_nan(bits: u64) -> u64 {
    let value = f64::from_bits(bits);
    if value.is_nan() && !is_stale_nan(value) {
        f64::NAN.to_bits()
    } else {
        bits
    }
}

#[test]
fn what_a_killed_prometheus_showed_is_in_its_logs() {
    let Some((restored, found)) = stopped_by(Signal::KILL) else {
        return;
    };
    assert!(restored.samples > 0 && restored.replayed.segments > 0);
    // It had not flushed its chunks, so the markers in the out-of-order log do not count.
    if restored.chunks == 0 {
        assert_eq!(found.from_wbl, (SERIES * OUT_OF_ORDER) as u64);
    }
}

#[test]
fn what_a_stopped_prometheus_showed_is_in_its_chunks_and_logs() {
    let Some((restored, found)) = stopped_by(Signal::TERM) else {
        return;
    };
    assert_eq!(restored.replayed.damage, []);
    assert!(restored.chunks as i64 >= SERIES * (IN_ORDER / 120), "{restored:?}");
    assert!(restored.samples_in_chunks > 0);
    assert!(found.chunks_out_of_order as i64 >= SERIES * (OUT_OF_ORDER / 32));
    assert!(found.from_wbl < (SERIES * OUT_OF_ORDER) as u64);
}

#[test]
fn a_checkpoint_and_the_segments_after_it_are_the_head() {
    // Blocks of a minute, so that the log is cut after each hundred seconds of samples.
    let fake = Fake::start();
    let blocks = "--storage.tsdb.min-block-duration=1m";
    // The times told are in the future: what Prometheus notes about the scrape itself then comes out of order.
    let Some(prometheus) = Prometheus::start(&fake, "1h", &[blocks]) else {
        return;
    };
    let begin = common::now_ms();
    for batch in 0..5 {
        fake.serve_once(&lines(begin, (100 * batch..100 * (batch + 1)).map(|i| 2 * i)));
        prometheus.wait_for(NAME, (SERIES * 100 * (batch + 1)) as usize);
        // Each time the log is cut a segment begins; at the fourth it is long enough for a checkpoint.
        if batch < 4 {
            prometheus.wait_for_file("wal", &format!("{:08}", batch + 1));
        }
        if batch == 3 {
            prometheus.wait_for_file("wal", "checkpoint.");
        }
    }
    let shown = prometheus.query(NAME);
    let data = prometheus.stop(Signal::TERM);
    let min_valid_time = data.newest_block_end();
    assert!(min_valid_time > begin);
    let (restored, _) = compare(&data, min_valid_time, &shown);
    assert_eq!(
        (restored.replayed.checkpoint, &restored.replayed.damage),
        (Some(1), &vec![])
    );
    assert!(restored.too_old > 0 && restored.samples > 0, "{restored:?}");
}
