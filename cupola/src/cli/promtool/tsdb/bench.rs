//! `promtool tsdb bench write`: how fast the storage takes samples.

use std::collections::HashSet;
use std::fs;
use std::io::{self, Write};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use cupola_env::{RealFs, SystemClock};
use cupola_metrics::Registry;
use cupola_model::{Labels, SeriesRef};
use cupola_storage::Appendable;
use cupola_tsdb::{Options, Tsdb};

use super::super::Io;
use super::{BenchWriteArgs, Failure, io_text};

// As upstream: a thousand series are a target, which is scraped a hundred times before the others may get ahead.
const SERIES_PER_TARGET: usize = 1000;
const ROUND: usize = 100;
const INTERVAL_MS: i64 = 30_000;
const FIRST_VALUE: u64 = 123_456_789;

/// Makes a database below `out` and fills it. Profiles, which upstream writes beside it, are not made.
pub(super) fn write(args: &BenchWriteArgs, io: &mut Io<'_>) -> Result<(), Failure> {
    let dir = args.out.join("storage");
    make_room(&args.out)?;
    let options = Options::new(dir);
    let tsdb = Tsdb::open(options, Arc::new(SystemClock), Arc::new(RealFs), &Registry::default())
        .map_err(|error| Failure::Told(error.to_string()))?;

    let (series, _) = timed("readData", io.out, |_| read(&args.file, args.metrics))?;
    let (total, took) = timed("ingestScrapes", io.out, |out| {
        let total = ingest(&tsdb, &series, args.scrapes)?;
        writeln!(out, "ingestion completed")?;
        Ok(total)
    })?;
    writeln!(io.out, " > total samples: {total}")?;
    writeln!(io.out, " > samples/sec: {}", total as f64 / took.as_secs_f64())?;
    timed("stopStorage", io.out, |_| {
        tsdb.close();
        Ok(())
    })?;
    Ok(())
}

// Upstream deletes whatever is at `out`. We delete only what a benchmark has made.
fn make_room(out: &Path) -> Result<(), Failure> {
    let io = |error: io::Error| Failure::Told(format!("{}: {}", out.display(), io_text(&error)));
    match fs::read_dir(out) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(io(error)),
        Ok(entries) => {
            for entry in entries {
                let name = entry.map_err(io)?.file_name();
                let name = name.to_string_lossy();
                if name != "storage" && !name.ends_with(".prof") {
                    return Err(Failure::Told(format!(
                        "{}: {name} is not of a benchmark; name another folder with --out, or empty this one",
                        out.display()
                    )));
                }
            }
            fs::remove_dir_all(out).map_err(io)?;
        }
    }
    fs::create_dir_all(out).map_err(io)
}

fn timed<T>(
    stage: &str,
    out: &mut dyn Write,
    work: impl FnOnce(&mut dyn Write) -> Result<T, Failure>,
) -> Result<(T, Duration), Failure> {
    writeln!(out, ">> start stage={stage}")?;
    out.flush()?;
    let begun = Instant::now();
    let done = work(out)?;
    let took = begun.elapsed();
    writeln!(out, ">> completed stage={stage} duration={}", duration(took))?;
    Ok((done, took))
}

// As Go prints it.
fn duration(took: Duration) -> String {
    let short = |value: f64| {
        let text = format!("{value:.9}");
        text.trim_end_matches('0').trim_end_matches('.').to_owned()
    };
    let seconds = took.as_secs();
    match took.as_nanos() {
        0 => "0s".to_owned(),
        nanos @ 1..1_000 => format!("{nanos}ns"),
        nanos @ 1_000..1_000_000 => format!("{}\u{b5}s", short(nanos as f64 / 1e3)),
        nanos @ 1_000_000..1_000_000_000 => format!("{}ms", short(nanos as f64 / 1e6)),
        _ => {
            let rest = short((seconds % 60) as f64 + f64::from(took.subsec_nanos()) / 1e9);
            match (seconds / 3600, seconds / 60 % 60) {
                (0, 0) => format!("{rest}s"),
                (0, minutes) => format!("{minutes}m{rest}s"),
                (hours, minutes) => format!("{hours}h{minutes}m{rest}s"),
            }
        }
    }
}

fn read(file: &Path, most: usize) -> Result<Vec<Labels>, Failure> {
    let text = fs::read_to_string(file);
    let text = text.map_err(|error| Failure::Told(format!("open {}: {}", file.display(), io_text(&error))))?;
    let mut known = HashSet::new();
    let mut all = Vec::new();
    for (number, line) in text.lines().enumerate() {
        if all.len() == most {
            break;
        }
        let labels = labels(line)
            .ok_or_else(|| Failure::Told(format!("{}:{}: no labels: {line}", file.display(), number + 1)))?;
        if known.insert(labels.clone()) {
            all.push(labels);
        }
    }
    Ok(all)
}

// As upstream reads them, which is not quite JSON: quotes and braces do not count, and a value ends at a colon.
fn labels(line: &str) -> Option<Labels> {
    let plain = line.replace(['"', '{', '}'], "");
    let mut pairs = Vec::new();
    for label in plain.split(',') {
        let mut parts = label.split(':');
        pairs.push((parts.next()?, parts.next()?));
    }
    pairs.sort_unstable();
    Some(Labels::from_pairs(pairs))
}

// Targets are scraped at the same time, as many as there are cores.
fn ingest(tsdb: &Tsdb, series: &[Labels], scrapes: usize) -> Result<u64, Failure> {
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let targets: Vec<&[Labels]> = series.chunks(SERIES_PER_TARGET).collect();
    let mut total = 0;
    for first in (0..scrapes).step_by(ROUND) {
        let begin = first as i64 * INTERVAL_MS;
        let count = ROUND.min(scrapes - first);
        total += std::thread::scope(|scope| {
            let workers: Vec<_> = (0..threads)
                .map(|worker| {
                    let mine = targets.iter().skip(worker).step_by(threads);
                    scope.spawn(move || -> Result<u64, String> {
                        mine.map(|target| scrape(tsdb, target, begin, count)).sum()
                    })
                })
                .collect();
            let mut sum: Result<u64, String> = Ok(0);
            for worker in workers {
                let done = worker.join().unwrap_or_else(|_| Err("a target broke off".to_owned()));
                sum = sum.and_then(|sum| Ok(sum + done?));
            }
            sum
        })
        .map_err(Failure::Told)?;
    }
    Ok(total)
}

fn scrape(tsdb: &Tsdb, target: &[Labels], begin: i64, count: usize) -> Result<u64, String> {
    let mut refs: Vec<Option<SeriesRef>> = vec![None; target.len()];
    let mut total = 0;
    for scrape in 1..=count {
        let ts = begin + scrape as i64 * INTERVAL_MS;
        let value = (FIRST_VALUE + 1000 * scrape as u64) as f64;
        let mut batch = tsdb.appender();
        for (labels, known) in target.iter().zip(&mut refs) {
            let appended = batch.append(*known, labels, ts, value);
            *known = Some(appended.map_err(|error| format!("{labels}: {error}"))?);
            total += 1;
        }
        batch.commit().map_err(|error| error.to_string())?;
    }
    Ok(total)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_those_of_go() {
        for (nanos, text) in [
            (0, "0s"),
            (999, "999ns"),
            (36_714, "36.714\u{b5}s"),
            (27_985_363, "27.985363ms"),
            (1_500_000_000, "1.5s"),
            (61_000_000_001, "1m1.000000001s"),
            (3_600_000_000_000, "1h0m0s"),
        ] {
            assert_eq!(duration(Duration::from_nanos(nanos)), text);
        }
    }

    #[test]
    fn series_are_read_as_upstream_reads_them() {
        let read = |line: &str| labels(line).map(|labels| labels.to_string());
        assert_eq!(
            read(r#"{"job":"a","__name__":"up","instance":"h:9100"}"#).as_deref(),
            Some(r#"{__name__="up", instance="h", job="a"}"#)
        );
        assert_eq!(read(""), None);
    }
}
