//! `query_log_file`: a line of JSON for each query, of users and of rules, as Prometheus 3 writes it.

use std::fs::{File, OpenOptions};
use std::io::{self, Write as _};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use cupola_engine::{Origin, Query, QueryError, QueryLog, QueryStats};
use cupola_env::Clock;
use serde_json::{Value, json};

const NO_SPAN: &str = "0000000000000000";

/// A file that queries are appended to. It is opened once: who moves it away has the configuration loaded again, which
/// opens another one.
pub struct QueryLogFile {
    file: File,
    clock: Arc<dyn Clock>,
}

impl QueryLogFile {
    /// Opens `path` and makes it where it is absent; `clock` dates the lines.
    ///
    /// # Errors
    /// In Prometheus's words, with the path and why.
    pub fn open(path: &Path, clock: Arc<dyn Clock>) -> Result<Self, String> {
        let file = OpenOptions::new().append(true).create(true).open(path);
        let file = file.map_err(|e| format!("can't create json log file: open {}: {e}", path.display()))?;
        Ok(Self { file, clock })
    }
}

impl QueryLog for QueryLogFile {
    fn log(&self, query: &Query<'_>, stats: &QueryStats, error: Option<&QueryError>) -> io::Result<()> {
        let line = line(self.clock.now_ms(), query, stats, error);
        // One write, so that lines of several queries do not mix.
        (&self.file).write_all(format!("{line}\n").as_bytes())
    }
}

fn line(now: i64, query: &Query<'_>, stats: &QueryStats, error: Option<&QueryError>) -> Value {
    let mut line = json!({
        "time": date(now),
        "level": "INFO",
        "msg": "promql query logged",
        "params": {
            "end": date(query.end),
            "query": query.text,
            "start": date(query.start),
            // In seconds; 0 of one that asks for one time.
            "step": query.step_ms.unwrap_or(0) / 1000,
        },
    });
    let mut put = |name: &str, value: Value| {
        if let Some(line) = line.as_object_mut() {
            line.insert(name.to_owned(), value);
        }
    };
    if let Some(error) = error {
        put("error", error.to_string().into());
    }
    let times = &stats.timings;
    let seconds = |time: Duration| time.as_secs_f64();
    put(
        "stats",
        json!({
            "timings": {
                "evalTotalTime": seconds(times.preparation + times.evaluation + times.result),
                "resultSortTime": seconds(times.result),
                "queryPreparationTime": seconds(times.preparation),
                "innerEvalTime": seconds(times.evaluation),
                "execQueueTime": seconds(times.queue),
                "execTotalTime": seconds(times.total),
            },
            "samples": {
                "totalQueryableSamples": stats.total_queryable_samples,
                "samplesRead": stats.samples_read,
                "peakSamples": stats.peak_samples,
            },
        }),
    );
    // As Prometheus's without tracing. Its `source`, a line of its own code, has no match here.
    put("spanID", NO_SPAN.into());
    match query.origin {
        Origin::Unnamed => {}
        Origin::Http { client, method, path } => {
            put(
                "httpRequest",
                json!({"clientIP": client, "method": method, "path": path}),
            );
        }
        Origin::Rule { file, group } => put("ruleGroup", json!({"file": file, "name": group})),
    }
    line
}

// What no calendar has is told as the number it is.
fn date(ms: i64) -> String {
    jiff::Timestamp::from_millisecond(ms).map_or_else(|_| ms.to_string(), |time| format!("{time:.3}"))
}

#[cfg(test)]
mod tests {
    use cupola_engine::Engine;
    use cupola_env::{ManualClock, RealFs};
    use cupola_metrics::Registry;
    use cupola_tsdb::Tsdb;

    use super::*;

    #[test]
    fn a_query_is_a_line_with_who_asked() {
        let expr = cupola_promql::parse("up").unwrap();
        let mut query = Query::range("up", &expr, 1_500, 61_500, 15_000);
        query.origin = Origin::Http {
            client: "127.0.0.1",
            method: "GET",
            path: "/api/v1/query_range",
        };
        let mut stats = QueryStats {
            total_queryable_samples: 3,
            samples_read: 2,
            peak_samples: 1,
            ..QueryStats::default()
        };
        stats.timings.total = Duration::from_millis(1500);
        let zeros = r#""evalTotalTime":0.0,"resultSortTime":0.0,"queryPreparationTime":0.0,"innerEvalTime":0.0,"execQueueTime":0.0"#;
        assert_eq!(
            line(1_700_000_000_123, &query, &stats, None).to_string(),
            format!(
                "{{\"time\":\"2023-11-14T22:13:20.123Z\",\"level\":\"INFO\",\"msg\":\"promql query logged\",\"params\":{{\
                 \"end\":\"1970-01-01T00:01:01.500Z\",\"query\":\"up\",\"start\":\"1970-01-01T00:00:01.500Z\",\"step\":15}},\
                 \"stats\":{{\"timings\":{{{zeros},\"execTotalTime\":1.5}},\"samples\":{{\"totalQueryableSamples\":3,\
                 \"samplesRead\":2,\"peakSamples\":1}}}},\"spanID\":\"0000000000000000\",\"httpRequest\":{{\"clientIP\":\"127.0.0.1\",\"method\":\"GET\",\
                 \"path\":\"/api/v1/query_range\"}}}}"
            )
        );
        let mut query = Query::instant("up", &expr, i64::MAX);
        query.origin = Origin::Rule {
            file: "r.yml",
            group: "g",
        };
        let error = QueryError::BadData("odd".to_owned());
        let line = line(0, &query, &QueryStats::default(), Some(&error));
        assert_eq!(
            (line["error"].as_str(), line["params"]["step"].as_i64()),
            (Some("odd"), Some(0))
        );
        assert_eq!(line["params"]["start"], "9223372036854775807");
        assert_eq!(line["ruleGroup"], json!({"file": "r.yml", "name": "g"}));
        assert!(line.get("httpRequest").is_none());
    }

    #[test]
    fn a_file_is_appended_to_and_one_that_cannot_be_written_is_counted() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("queries.json");
        let clock: Arc<dyn Clock> = Arc::new(ManualClock::new(5_000));
        let engine = Engine::new(cupola_engine::EngineOptions::default());
        let options = cupola_tsdb::Options::new(dir.path().join("data"));
        let storage = Tsdb::open(options, clock.clone(), Arc::new(RealFs), &Registry::default()).unwrap();
        let ask = |text: &str| {
            let expr = engine.parse(text).unwrap();
            engine.query(&storage, &Query::instant(text, &expr, 1_000)).map(|_| ())
        };
        ask("1").unwrap();
        for _ in 0..2 {
            let log = QueryLogFile::open(&path, clock.clone()).unwrap();
            engine.set_query_log(Some(Arc::new(log)));
            ask("1 + 1").unwrap();
        }
        engine.set_query_log(None);
        ask("2").unwrap();
        let text = std::fs::read_to_string(&path).unwrap();
        assert_eq!(text.lines().count(), 2, "{text}");
        assert!(text.lines().all(|line| line.contains(r#""query":"1 + 1""#)), "{text}");
        assert!(!engine.status().is_logged);
        let error = QueryLogFile::open(dir.path(), clock.clone()).err().unwrap_or_default();
        assert!(error.starts_with("can't create json log file: open /"), "{error}");
        // A device that takes nothing.
        let full = QueryLogFile::open(Path::new("/dev/full"), clock).unwrap();
        engine.set_query_log(Some(Arc::new(full)));
        ask("3").unwrap();
        let status = engine.status();
        assert_eq!((status.is_logged, status.log_failures), (true, 1));
    }
}
