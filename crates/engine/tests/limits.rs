//! That no query can hurt the server: memory, deadlines, fairness; and what a query tells of itself.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use cupola_engine::script::MemoryStore;
use cupola_engine::{Asker, Cancel, Engine, EngineOptions, ErrorKind, Query, QueryError, QueryResult, QueryValue};
use cupola_model::Labels;
use cupola_storage::{Queryable, SampleSource, Samples, Selection, Series, StorageError};

const MIB: usize = 1 << 20;
// Tests end by counts; this only keeps a broken one from hanging.
const LONGEST: Duration = Duration::from_secs(60);

// `count` series with a sample per 10 s wherever one looks, of any length.
struct Many {
    count: usize,
    reads: Arc<AtomicU64>,
    cancel_at: Option<(u64, Cancel)>,
}

fn many(count: usize) -> Many {
    Many {
        count,
        reads: Arc::default(),
        cancel_at: None,
    }
}

struct Regular {
    reads: Arc<AtomicU64>,
    cancel_at: Option<(u64, Cancel)>,
}

impl SampleSource for Regular {
    fn read(&self, mint: i64, maxt: i64, out: &mut Samples) -> Result<(), StorageError> {
        let reads = self.reads.fetch_add(1, Ordering::SeqCst) + 1;
        if let Some((at, cancel)) = &self.cancel_at
            && reads >= *at
        {
            cancel.cancel();
        }
        let mut ts = mint.div_euclid(10_000) * 10_000;
        while ts <= maxt {
            if ts >= mint {
                out.push(ts, ts as f64 / 10_000.0);
            }
            ts += 10_000;
        }
        Ok(())
    }
}

impl Queryable for Many {
    fn select(&self, _: &Selection<'_>) -> Result<Vec<Series>, StorageError> {
        let series = (0..self.count).map(|n| Series {
            labels: Labels::from_pairs([("__name__", "x"), ("n", n.to_string().as_str())]),
            source: Box::new(Regular {
                reads: Arc::clone(&self.reads),
                cancel_at: self.cancel_at.clone(),
            }),
        });
        Ok(series.collect())
    }

    fn label_names(&self, _: &Selection<'_>) -> Result<Vec<String>, StorageError> {
        Ok(Vec::new())
    }

    fn label_values(&self, _: &str, _: &Selection<'_>) -> Result<Vec<String>, StorageError> {
        Ok(Vec::new())
    }
}

fn range(engine: &Engine, storage: &dyn Queryable, text: &str, steps: i64) -> Result<QueryResult, QueryError> {
    let expr = engine.parse(text)?;
    engine.query(storage, &Query::range(text, &expr, 0, (steps - 1) * 1000, 1000))
}

fn limited(query: usize, total: usize) -> Engine {
    Engine::new(EngineOptions {
        max_memory: query,
        max_memory_total: total,
        ..EngineOptions::default()
    })
}

#[test]
fn a_query_over_its_memory_is_refused_with_what_used_it() {
    let engine = limited(16 * MIB, usize::MAX);
    for (text, told) in [
        ("x{n!=\"\"}", "229 series x 9,000 steps of x{n!=\"\"} (16 MiB); narrow"),
        (
            "rate(x[5m])",
            // The edges of the windows and the windows of a series, 72 bytes a step, take the room of eight series.
            "220 series x 9,000 steps of rate(x[5m]) (15 MiB); narrow",
        ),
        ("x * on (n) group_left () (x + 1)", "series x 9,000 steps of x "),
    ] {
        let error = range(&engine, &many(2000), text, 9000).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Execution);
        let message = error.to_string();
        assert!(
            message.starts_with(
                "query needs more memory than one query may use: 16 MiB (--query.max-memory); most of it: "
            ),
            "{message}"
        );
        assert!(message.contains(told), "{text}: {message}");
    }
    let status = engine.status();
    assert_eq!((status.running, status.memory, status.refused_for_query), (0, 0, 3));
    // What is summed up at once needs no memory for its series.
    assert!(range(&engine, &many(2000), "sum(x)", 9000).is_ok());
}

#[test]
fn an_answer_counts_until_it_is_dropped_and_rules_find_room() {
    let engine = limited(usize::MAX, 32 * MIB);
    let first = range(&engine, &many(190), "x", 9000).unwrap();
    let held = engine.status().memory;
    assert_eq!(held, first.memory.bytes());
    // Times and values, 16 bytes a sample.
    assert!((26 * MIB..27 * MIB).contains(&held), "{held} bytes are reserved");
    let message = range(&engine, &many(150), "x", 9000).unwrap_err().to_string();
    assert!(
        message.starts_with(
            "query needs more memory than is left for queries: 28 MiB for all together (--query.max-memory-total), of \
             which others hold 2"
        ),
        "{message}"
    );
    let text = "x";
    let expr = engine.parse(text).unwrap();
    let rule = Query {
        asked_by: Asker::Rule,
        ..Query::range(text, &expr, 0, 59_000, 1000)
    };
    // 4 MiB are left that users do not get.
    let of_rule = engine.query(&many(3000), &rule).unwrap();
    assert!(range(&engine, &many(3000), "x", 60).is_err());
    assert_eq!(engine.status().refused_for_total, 2);
    drop((first, of_rule));
    assert_eq!(engine.status().memory, 0);
    assert!(range(&engine, &many(150), "x", 9000).is_ok());
}

#[test]
fn one_series_of_tens_of_millions_of_samples_is_read_in_pieces() {
    let engine = Engine::new(EngineOptions::default());
    let cancel = Cancel::new();
    let mut storage = many(1);
    storage.cancel_at = Some((3, cancel.clone()));
    let text = "count_over_time(x[10y])";
    let expr = engine.parse(text).unwrap();
    let mut query = Query::instant(text, &expr, 0);
    query.cancel = cancel;
    let error = engine.query(&storage, &query).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Canceled);
    // 31 million samples; cancelled in the third piece of about a million.
    assert_eq!(storage.reads.load(Ordering::SeqCst), 3);
}

#[test]
fn rules_are_evaluated_while_64_heavy_queries_run() {
    let engine = Engine::new(EngineOptions {
        max_concurrency: 65,
        cpu_slots: 2,
        timeout: LONGEST,
        ..EngineOptions::default()
    });
    let heavy = "sum(rate(x[5m]))";
    let expr = engine.parse(heavy).unwrap();
    let rule_text = "sum(x)";
    let rule_expr = engine.parse(rule_text).unwrap();
    let cancel = Cancel::new();
    let ended = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for _ in 0..64 {
            scope.spawn(|| {
                // Far more than can be done before it is cancelled.
                let mut query = Query::range(heavy, &expr, 0, 10_000_000, 1000);
                query.cancel = cancel.clone();
                let result = engine.query(&many(5000), &query);
                assert_eq!(result.unwrap_err().kind(), ErrorKind::Canceled);
                ended.fetch_add(1, Ordering::SeqCst);
            });
        }
        let began = Instant::now();
        while engine.status().running < 64 || engine.status().waiting < 60 {
            assert!(
                began.elapsed() < LONGEST,
                "the heavy queries do not run: {:?}",
                engine.status()
            );
            std::thread::yield_now();
        }
        for _ in 0..10 {
            let query = Query {
                asked_by: Asker::Rule,
                ..Query::instant(rule_text, &rule_expr, 0)
            };
            let result = engine.query(&many(100), &query).unwrap();
            assert!(matches!(result.value, QueryValue::Vector(rows) if rows.len() == 1));
        }
        // A user's short query is let in before the heavy ones that have had their share.
        let short = engine.query(&many(100), &Query::instant(rule_text, &rule_expr, 0));
        assert!(short.is_ok());
        assert_eq!(ended.load(Ordering::SeqCst), 0, "no heavy query had to end for that");
        cancel.cancel();
    });
    let status = engine.status();
    assert_eq!((status.running, status.waiting, status.memory), (0, 0, 0));
    assert!(status.handovers > 0);
}

// A sample of each of `series` every 10 s from 0 on.
fn store(series: usize) -> MemoryStore {
    let mut store = MemoryStore::default();
    for n in 0..series {
        let mut samples = Samples::default();
        for i in 0..100 {
            samples.push(i * 10_000, i as f64);
        }
        store.add(
            &Labels::from_pairs([("__name__", "m"), ("n", n.to_string().as_str())]),
            &samples,
        );
    }
    store
}

#[track_caller]
fn check_stats(series: usize, text: &str, (start, end, step): (i64, i64, i64), per_step: &[u64]) {
    let engine = Engine::new(EngineOptions {
        per_step_stats: true,
        ..EngineOptions::default()
    });
    let expr = engine.parse(text).expect(text);
    let query = Query {
        per_step_stats: true,
        ..if step == 0 {
            Query::instant(text, &expr, start * 1000)
        } else {
            Query::range(text, &expr, start * 1000, end * 1000, step * 1000)
        }
    };
    let stats = engine.query(&store(series), &query).expect(text).stats;
    assert_eq!(stats.queryable_per_step, per_step, "{text}");
    assert_eq!(stats.total_queryable_samples, per_step.iter().sum::<u64>(), "{text}");
}

#[test]
fn queryable_samples_are_counted_as_upstream_counts_them() {
    check_stats(1, "m", (21, 0, 0), &[1]);
    check_stats(3, "m", (21, 0, 0), &[3]);
    check_stats(1, "m[60s]", (201, 0, 0), &[6]);
    check_stats(1, "m[60s] @ 30", (201, 0, 0), &[3 + 1]);
    check_stats(1, "max_over_time(m[59s])[20s:5s]", (201, 0, 0), &[24]);
    check_stats(1, "max_over_time(m[61s])[20s:5s]", (201, 0, 0), &[26]);
    check_stats(1, "max_over_time(m[60s:5s])", (201, 0, 0), &[12]);
    check_stats(3, "max_over_time(m[60s:5s])", (201, 0, 0), &[36]);
    check_stats(3, "sum(m)", (201, 220, 5), &[3, 3, 3, 3]);
    check_stats(1, "max_over_time(m[59s])", (204, 223, 5), &[6, 5, 6, 5]);
    check_stats(3, "sum(m @ 19)", (201, 211, 5), &[3, 3, 3]);
    check_stats(1, "m + m", (201, 211, 5), &[2, 2, 2]);
    check_stats(1, "1 + 1", (201, 211, 5), &[0, 0, 0]);
}
