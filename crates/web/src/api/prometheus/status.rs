//! What the server says about itself.

use std::fmt::Write as _;

use cupola_exposition::TEXT_CONTENT_TYPE;
use cupola_metrics::SeriesValue;
use cupola_model::format_duration;
use cupola_storage::SeriesScope;
use cupola_tsdb::RefusedSeries;

use crate::PROMETHEUS_VERSION;
use crate::api::answer::Ask;
use crate::api::json::{
    Answer, ApiError, ErrorKind, success, write_labels, write_list, write_pairs, write_str, write_time,
};
use crate::app::App;
use crate::telemetry::{exposed, threads};

/// `/metrics`, as text or as protobuf.
pub(super) fn metrics(ask: &Ask<'_>) -> Result<Answer, ApiError> {
    let (kind, body) = exposed(&ask.app.registry, ask.headers);
    Ok(Answer::of(kind, body))
}

/// `/metrics/node`: what node_exporter would answer on this machine, for whoever scrapes from outside.
pub(super) fn node_metrics(ask: &Ask<'_>) -> Result<Answer, ApiError> {
    match &ask.app.host {
        Some(host) => Ok(Answer::of(TEXT_CONTENT_TYPE, host.collect())),
        None => Err(ApiError {
            kind: ErrorKind::NotFound,
            message: "this server does not collect host metrics".to_owned(),
        }),
    }
}

/// `status/config`: the configuration in force, secrets hidden.
pub(super) fn config(ask: &Ask<'_>) -> Result<Answer, ApiError> {
    let mut data = String::from("{\"yaml\":");
    write_str(&mut data, &ask.app.config.load().yaml);
    data.push('}');
    Ok(success(&data))
}

/// `status/flags`.
pub(super) fn flags(ask: &Ask<'_>) -> Result<Answer, ApiError> {
    let mut data = String::new();
    write_pairs(
        &mut data,
        ask.app
            .flags
            .iter()
            .map(|(name, value)| (name.as_str(), value.as_str())),
    );
    Ok(success(&data))
}

/// `status/buildinfo`.
pub(super) fn build_info(ask: &Ask<'_>) -> Result<Answer, ApiError> {
    Ok(success(&build(ask.app)))
}

/// `/version`: the same without the envelope.
pub(super) fn version(ask: &Ask<'_>) -> Result<Answer, ApiError> {
    Ok(Answer::json(build(ask.app)))
}

// `version` is the Prometheus that clients may take us for; ours stands in `revision`.
fn build(app: &App) -> String {
    let revision = format!("cupola-{}", app.version);
    let mut out = String::new();
    write_pairs(
        &mut out,
        [
            ("version", PROMETHEUS_VERSION),
            ("revision", revision.as_str()),
            ("branch", ""),
            ("buildUser", ""),
            ("buildDate", ""),
            ("goVersion", ""),
        ],
    );
    out
}

/// `status/runtimeinfo`. What only a Go program has is told as what comes closest: threads for goroutines, no limit of
/// memory.
pub(super) fn runtime_info(ask: &Ask<'_>) -> Result<Answer, ApiError> {
    let app = ask.app;
    let config = app.config.load();
    let folder = std::env::current_dir()
        .map(|dir| dir.display().to_string())
        .unwrap_or_default();
    let parallelism = std::thread::available_parallelism().map_or(1, usize::from);
    let mut data = String::from("{\"startTime\":");
    write_time(&mut data, Some(app.started_ms));
    data.push_str(",\"CWD\":");
    write_str(&mut data, &folder);
    data.push_str(",\"hostname\":");
    write_str(&mut data, &app.hostname);
    data.push_str(",\"serverTime\":");
    write_time(&mut data, Some(app.clock.now_ms()));
    let _ = write!(
        data,
        ",\"reloadConfigSuccess\":{},\"lastConfigTime\":",
        config.failed_reload.is_none()
    );
    write_time(&mut data, Some(config.loaded_ms));
    let _ = write!(
        data,
        ",\"corruptionCount\":{},\"goroutineCount\":{},\"GOMAXPROCS\":{parallelism},\"GOMEMLIMIT\":{},\"GOGC\":\"\",\
         \"GODEBUG\":\"\",\"storageRetention\":",
        counter(app, "prometheus_tsdb_wal_corruptions_total"),
        threads().unwrap_or(0.0),
        i64::MAX,
    );
    write_str(
        &mut data,
        &retention(app.tsdb.retention(), app.tsdb.retention_percent()),
    );
    data.push('}');
    Ok(success(&data))
}

fn counter(app: &App, name: &str) -> f64 {
    let all = app.registry.snapshot();
    let series = all
        .iter()
        .filter(|family| family.name == name)
        .flat_map(|family| &family.series);
    series
        .filter_map(|(_, value)| {
            if let SeriesValue::Number(n) = value {
                Some(*n)
            } else {
                None
            }
        })
        // Not `sum`, which calls the sum of nothing -0.
        .fold(0.0, |sum, n| sum + n)
}

// As Prometheus: `15d`, `512MiB`, `80%`, or several with `or` between.
fn retention((ms, bytes): (i64, u64), percent: f64) -> String {
    let time = (ms > 0).then(|| format_duration(ms));
    let size = (bytes > 0).then(|| byte_size(bytes));
    let part = (percent > 0.0).then(|| format!("{percent}%"));
    time.into_iter()
        .chain(size)
        .chain(part)
        .collect::<Vec<_>>()
        .join(" or ")
}

fn byte_size(bytes: u64) -> String {
    let mut size = bytes;
    for unit in ["B", "KiB", "MiB", "GiB", "TiB", "PiB"] {
        if size < 1024 || !size.is_multiple_of(1024) {
            return format!("{size}{unit}");
        }
        size /= 1024;
    }
    format!("{size}EiB")
}

/// `status/tsdb`: figures of the head and who takes most of it; after Prometheus's fields those of ours.
pub(super) fn tsdb(ask: &Ask<'_>) -> Result<Answer, ApiError> {
    const MOST: usize = 10_000;
    let limit = match ask.params.get("limit") {
        "" => 10,
        text => match text.parse::<usize>() {
            Ok(limit @ 1..=MOST) => limit,
            Ok(limit) if limit > MOST => return Err(ApiError::bad_data(format!("limit must not exceed {MOST}"))),
            _ => return Err(ApiError::bad_data("limit must be a positive number")),
        },
    };
    let head = ask.app.tsdb.head_stats();
    let most = ask.app.tsdb.cardinality(limit);
    let mut data = format!(
        "{{\"headStats\":{{\"numSeries\":{},\"numLabelPairs\":{},\"chunkCount\":{},\"minTime\":{},\"maxTime\":{}}}",
        head.series, head.label_pairs, head.chunks, head.mint, head.maxt,
    );
    for (name, counts) in [
        ("seriesCountByMetricName", &most.by_metric),
        ("labelValueCountByLabelName", &most.values_by_label),
        ("memoryInBytesByLabelName", &most.bytes_by_label),
        ("seriesCountByLabelValuePair", &most.by_pair),
        ("seriesCountByJob", &most.by_job),
        ("newSeriesByMetricName", &most.new_by_metric),
        ("newSeriesByJob", &most.new_by_job),
    ] {
        let _ = write!(data, ",\"{name}\":");
        write_list(&mut data, counts, |out, (name, count)| {
            out.push_str("{\"name\":");
            write_str(out, name);
            let _ = write!(out, ",\"value\":{count}}}");
        });
    }
    data.push_str(",\"refusedSeries\":");
    write_list(&mut data, ask.app.tsdb.refused_series(), write_refused);
    let limits = ask.app.tsdb.series_limits();
    let blocks = ask.app.tsdb.blocks();
    let _ = write!(
        data,
        ",\"seriesLimits\":{{\"total\":{},\"metric\":{},\"job\":{}}},\"storage\":{{\"logBytes\":{},\"blockBytes\":{},\"memoryBytes\":{},\"retention\":",
        limits.total,
        limits.per_metric,
        limits.per_job,
        ask.app.tsdb.log_bytes(),
        blocks.iter().map(|block| block.bytes).sum::<u64>(),
        counter(ask.app, "process_resident_memory_bytes"),
    );
    write_str(
        &mut data,
        &retention(ask.app.tsdb.retention(), ask.app.tsdb.retention_percent()),
    );
    data.push_str("}}");
    Ok(success(&data))
}

fn write_refused(out: &mut String, refused: RefusedSeries) {
    let limit = match refused.limit.scope {
        SeriesScope::All => "total",
        SeriesScope::Metric => "metric",
        SeriesScope::Job => "job",
    };
    let _ = write!(
        out,
        "{{\"limit\":\"{limit}\",\"most\":{},\"name\":",
        refused.limit.limit
    );
    write_str(out, &refused.name);
    let _ = write!(
        out,
        ",\"value\":{},\"firstTime\":{},\"lastTime\":{},\"example\":",
        refused.count, refused.first_ts, refused.last_ts
    );
    write_labels(out, &refused.example);
    out.push('}');
}

/// `status/tsdb/blocks`; `bytes` is ours.
pub(super) fn tsdb_blocks(ask: &Ask<'_>) -> Result<Answer, ApiError> {
    let mut data = String::from("{\"blocks\":");
    write_list(&mut data, ask.app.tsdb.blocks(), |out, block| {
        out.push_str("{\"ulid\":");
        write_str(out, &block.ulid);
        let _ = write!(
            out,
            ",\"minTime\":{},\"maxTime\":{},\"stats\":{{\"numSamples\":{},\"numSeries\":{}}},\"compaction\":{{\"level\":{}}},\"version\":1,\"bytes\":{}}}",
            block.mint, block.maxt, block.samples, block.series, block.level, block.bytes,
        );
    });
    data.push('}');
    Ok(success(&data))
}

/// `status/walreplay`: which segments of the log are read at the start, and which is being read. `done` is ours: in
/// Prometheus the server's other answers tell.
pub(super) fn wal_replay(ask: &Ask<'_>) -> Result<Answer, ApiError> {
    let progress = ask.app.tsdb.replay_progress();
    Ok(success(&format!(
        "{{\"min\":{},\"max\":{},\"current\":{},\"done\":{}}}",
        progress.min, progress.max, progress.current, progress.done,
    )))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn retention_is_told_in_the_flags_words() {
        const DAY: i64 = 24 * 3_600_000;
        for (ms, bytes, expected) in [
            (15 * DAY, 0, "15d"),
            (0, 512 << 20, "512MiB"),
            (30 * DAY, 10 << 30, "30d or 10GiB"),
            (0, 1000, "1000B"),
            (0, 0, ""),
        ] {
            assert_eq!(retention((ms, bytes), 0.0), expected);
        }
        assert_eq!(retention((86_400_000, 0), 62.5), "1d or 62.5%");
    }
}
