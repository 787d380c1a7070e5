//! Queries over 30 days with a step of an hour: from samples, and from a tier of 5 minutes.
//!
//! `cargo bench -p cupola-engine --bench tier_30d_step_1h`. Prints samples read and time, the best of five runs each.

use std::sync::Arc;
use std::time::Instant;

use cupola_engine::{Engine, EngineOptions, Query, SourceResolution};
use cupola_env::{ManualClock, RealFs};
use cupola_metrics::Registry;
use cupola_model::Labels;
use cupola_storage::Appendable;
use cupola_tsdb::{Options, TierOptions, Tsdb};

const MINUTE: i64 = 60_000;
const HOUR: i64 = 60 * MINUTE;
const DAY: i64 = 24 * HOUR;
const DAYS: i64 = 31;
const SERIES: usize = 100;

fn filled(dir: &std::path::Path) -> Tsdb {
    let mut options = Options::new(dir.to_path_buf());
    options.retention_ms = 100 * DAY;
    options.tiers = vec![TierOptions {
        resolution_ms: 5 * MINUTE,
        retention_ms: 0,
    }];
    let clock = Arc::new(ManualClock::new(0));
    let tsdb = Tsdb::open(options, clock.clone(), Arc::new(RealFs), &Registry::default()).expect("a database");
    let labels: Vec<Labels> = (0..SERIES)
        .map(|i| Labels::from_pairs([("__name__", "http_requests_total"), ("instance", &i.to_string())]))
        .collect();
    let mut seed = 1_u64;
    let mut counters = vec![0.0; SERIES];
    for hour in 0..DAYS * 24 {
        let mut batch = tsdb.appender();
        for scrape in 0..240 {
            for (labels, counter) in labels.iter().zip(&mut counters) {
                seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                *counter += ((seed >> 33) % 50) as f64;
                let ts = hour * HOUR + scrape * 15_000 + 3_000;
                batch.append(None, labels, ts, *counter).expect("a sample");
            }
        }
        batch.commit().expect("the batch is written");
        clock.set((hour + 1) * HOUR);
        tsdb.maintain();
    }
    tsdb
}

fn main() {
    let dir = tempfile::tempdir().expect("a folder");
    let tsdb = filled(dir.path());
    let engine = Engine::new(EngineOptions {
        result_cache_bytes: 0,
        ..EngineOptions::default()
    });
    for text in [
        "sum(rate(http_requests_total[1h]))",
        "max_over_time(http_requests_total[1h])",
        "avg_over_time(http_requests_total[6h])",
        "sum(http_requests_total)",
    ] {
        let expr = engine.parse(text).expect("a query");
        for (name, source_resolution) in [("samples", SourceResolution::UpTo(0)), ("tier", SourceResolution::Auto)] {
            let mut best = f64::MAX;
            let mut read = 0;
            for _ in 0..5 {
                let query = Query {
                    source_resolution,
                    ..Query::range(text, &expr, (DAYS - 30) * DAY, DAYS * DAY, HOUR)
                };
                let begin = Instant::now();
                let result = engine.query(&tsdb, &query).expect("an answer");
                best = best.min(begin.elapsed().as_secs_f64());
                read = result.stats.samples_read;
            }
            println!("{text} from {name}: {read} samples read, {:.1} ms", best * 1000.0);
        }
    }
}
