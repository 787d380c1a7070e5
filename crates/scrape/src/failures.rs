//! `scrape_failure_log_file`: a line of JSON for each scrape that failed, as Prometheus 3 writes it.

use std::fs::OpenOptions;
use std::io::{self, Write as _};
use std::path::Path;

use cupola_config::prometheus::ScrapeConfig;
use http::Uri;
use tracing::debug;

use crate::metrics::Metrics;

/// Logs a failed scrape where its job wants that; where it cannot be logged, that is counted.
pub(crate) fn tell(config: &ScrapeConfig, target: &Uri, ts: i64, error: &str, metrics: &Metrics) {
    if let Some(file) = &config.defaults.scrape_failure_log_file
        && let Err(broken) = log(file, ts, &config.job_name, target, error)
    {
        metrics.failure_log_failed.inc();
        debug!(file = %file.display(), error = %broken, "a failed scrape could not be logged");
    }
}

/// Appends one line to `file`, which is made where it is absent. It is opened each time, so that it may be moved away
/// without telling us.
///
/// # Errors
/// Where the file cannot be written.
fn log(file: &Path, ts: i64, job: &str, target: &Uri, error: &str) -> io::Result<()> {
    let time = jiff::Timestamp::from_millisecond(ts).map_or_else(|_| String::new(), |time| format!("{time:.3}"));
    let line = serde_json::json!({
        "time": time,
        "level": "ERROR",
        "msg": error,
        "job_name": job,
        "target": target.to_string(),
    });
    let mut file = OpenOptions::new().append(true).create(true).open(file)?;
    // One write, so that lines of several targets do not mix.
    file.write_all(format!("{line}\n").as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_failure_is_a_line_and_a_file_that_was_moved_away_begins_anew() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("failures.json");
        let url: Uri = "http://127.0.0.1:1/metrics".parse().unwrap();
        log(&file, 1_700_000_000_123, "a \"job\"", &url, "line 1: \"x\"\ny").unwrap();
        log(&file, 1_700_000_001_000, "b", &url, "down").unwrap();
        let text = std::fs::read_to_string(&file).unwrap();
        assert_eq!(
            text,
            "{\"time\":\"2023-11-14T22:13:20.123Z\",\"level\":\"ERROR\",\"msg\":\"line 1: \\\"x\\\"\\ny\",\"job_name\":\"a \\\"job\\\"\",\"target\":\"http://127.0.0.1:1/metrics\"}\n\
             {\"time\":\"2023-11-14T22:13:21.000Z\",\"level\":\"ERROR\",\"msg\":\"down\",\"job_name\":\"b\",\"target\":\"http://127.0.0.1:1/metrics\"}\n"
        );
        std::fs::rename(&file, dir.path().join("old")).unwrap();
        log(&file, 0, "c", &url, "down").unwrap();
        assert_eq!(std::fs::read_to_string(&file).unwrap().lines().count(), 1);
        assert!(log(dir.path(), 0, "c", &url, "down").is_err());
    }
}
