//! Asks every query of every server: right after a start, warm, and as a dashboard that refreshes.

use std::time::Instant;

use anyhow::{Context as _, Result};

use super::load::Loaded;
use super::queries::{Call, Query};
use crate::bench::agree::Outcome;
use crate::bench::client::{Client, escape};
use crate::bench::machine::seconds;
use crate::bench::process::CpuClock;
use crate::bench::queries::{geometric_mean, verdict};
use crate::bench::report::{Report, Table, rounded};
use crate::bench::server::{Kind, Running};
use crate::bench::{Bench, median, tell};

const RUNS: usize = 5;
const STARTS: usize = 3;
// Later by this much than the run before: never a grid that was asked before, and never on a sample.
const SHIFT_MS: i64 = 500;
// A dashboard goes on by so many steps; data are left for it at the end of a window.
const REFRESHES: i64 = 6;

/// What a range query covers.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Window {
    pub(crate) name: &'static str,
    pub(crate) length_ms: i64,
    pub(crate) step_ms: i64,
}

impl Window {
    pub(crate) const fn new(name: &'static str, length_ms: i64, step_ms: i64) -> Self {
        Self {
            name,
            length_ms,
            step_ms,
        }
    }
}

/// One query over one window.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Asked {
    pub(crate) query: Query,
    pub(crate) window: Window,
}

impl Asked {
    fn name(&self) -> String {
        match self.query.call {
            Call::Range(_) => format!("{}, {}", self.query.name, self.window.name),
            Call::Instant(_) | Call::Path(_) => self.query.name.to_owned(),
        }
    }

    fn is_range(&self) -> bool {
        matches!(self.query.call, Call::Range(_))
    }

    /// The path that asks it up to `end_ms`.
    pub(crate) fn path(&self, end_ms: i64) -> String {
        let end = seconds(end_ms);
        let start = seconds(end_ms - self.window.length_ms);
        match self.query.call {
            Call::Range(expr) => {
                let (expr, step) = (escape(expr), self.window.step_ms / 1000);
                format!("/api/v1/query_range?query={expr}&start={start}&end={end}&step={step}")
            }
            Call::Instant(expr) => format!("/api/v1/query?query={}&time={end}", escape(expr)),
            Call::Path(path) => {
                let (path, args) = path.split_once('?').unwrap_or((path, ""));
                let args = args.replace('[', "%5B").replace(']', "%5D");
                let args = args.replace('{', "%7B").replace('}', "%7D").replace('"', "%22");
                format!("/api/v1/{path}?{args}&start={start}&end={end}")
            }
        }
    }
}

/// What was used for one query by one server, at each of its runs.
#[derive(Debug, Clone, Default)]
struct Costs {
    cpu_ms: Vec<f64>,
    latency_ms: Vec<f64>,
}

impl Costs {
    fn cpu(&self) -> f64 {
        self.cpu_ms.iter().sum::<f64>() / self.cpu_ms.len().max(1) as f64
    }

    fn latency(&self) -> f64 {
        median(&self.latency_ms)
    }
}

/// What the queries of a set have used: for each of them, the costs of each server.
#[derive(Debug, Default)]
pub(crate) struct Measured {
    cold: Vec<Vec<Costs>>,
    warm: Vec<Vec<Costs>>,
    refreshed: Vec<Vec<Costs>>,
    peaks: Vec<u64>,
}

impl Measured {
    /// Both sets as one, where both were measured.
    pub(crate) fn with(mut self, other: Self) -> Option<Self> {
        if self.warm.is_empty() || other.warm.is_empty() {
            return None;
        }
        self.cold.extend(other.cold);
        self.warm.extend(other.warm);
        self.refreshed.extend(other.refreshed);
        for (peak, other) in self.peaks.iter_mut().zip(other.peaks) {
            *peak = (*peak).max(other);
        }
        Some(self)
    }
}

/// A server that is asked, with its clock.
pub(crate) struct Asking<'a> {
    pub(crate) kind: Kind,
    running: &'a Running,
    client: Client,
    clock: CpuClock,
}

impl<'a> Asking<'a> {
    pub(crate) fn new(kind: Kind, running: &'a Running) -> Result<Self> {
        Ok(Self {
            kind,
            client: running.client()?,
            clock: CpuClock::new(running.pid()),
            running,
        })
    }

    /// CPU time of the server so far, in milliseconds.
    pub(crate) fn cpu_ms(&mut self) -> Result<f64> {
        self.clock.read_ms().with_context(|| self.kind.name())
    }

    fn ask(&mut self, path: &str, costs: &mut Costs) -> Result<Vec<u8>> {
        let before = self.cpu_ms()?;
        let begin = Instant::now();
        let body = self.client.fetch(path).with_context(|| self.kind.name())?;
        costs.latency_ms.push(begin.elapsed().as_secs_f64() * 1e3);
        costs.cpu_ms.push(self.cpu_ms()? - before);
        Ok(body)
    }

    /// Its highest memory in bytes.
    pub(crate) fn peak(&self) -> Result<u64> {
        Ok(self.running.memory()?.peak)
    }
}

/// Every range query with every window; the others once, with the shortest.
pub(crate) fn all(queries: &[Query], windows: &[Window], only: Option<&str>) -> Vec<Asked> {
    let wanted = queries.iter().filter(|q| only.is_none_or(|text| q.name.contains(text)));
    wanted
        .flat_map(|&query| {
            let is_range = matches!(query.call, Call::Range(_));
            let take = if is_range { windows.len() } else { 1 };
            windows.iter().take(take).map(move |&window| Asked { query, window })
        })
        .collect()
}

pub(crate) fn run(
    bench: &Bench,
    loaded: &Loaded,
    queries: &[Query],
    windows: &[Window],
    report: &mut Report,
) -> Result<Measured> {
    let asked = all(queries, windows, bench.options.only.as_deref());
    if asked.is_empty() {
        return Ok(Measured::default());
    }
    let runs = bench.options.runs.unwrap_or(RUNS) as i64;
    let warm_up = warm_end(loaded, &asked);
    tell(&format!("{}: {} queries after a start", loaded.shape.name, asked.len()));
    let mut cold = none(&asked, loaded);
    for start in 0..STARTS as i64 {
        let running = loaded.start()?;
        let mut servers = asking(loaded, &running)?;
        for (asked, costs) in asked.iter().zip(&mut cold) {
            for (server, costs) in servers.iter_mut().zip(costs) {
                let path = asked.path(warm_up + start * SHIFT_MS) + server.kind.query_suffix();
                server.ask(&path, costs)?;
            }
        }
    }
    tell(&format!("{}: warm", loaded.shape.name));
    let running = loaded.start()?;
    let mut servers = asking(loaded, &running)?;
    let mut warm = none(&asked, loaded);
    let mut verdicts = Vec::new();
    for (asked, costs) in asked.iter().zip(&mut warm) {
        let mut outcomes = Vec::new();
        for (server, costs) in servers.iter_mut().zip(costs) {
            // What a server builds on the first encounter is not what a dashboard sees.
            let path = asked.path(warm_up) + server.kind.query_suffix();
            let body = server.ask(&path, &mut Costs::default())?;
            if !matches!(asked.query.call, Call::Path(_)) {
                let outcome = Outcome::parse(&body).with_context(|| format!("{}: {path}", server.kind.name()))?;
                outcomes.push((server.kind, outcome));
            }
            for run in 1..=runs {
                let path = asked.path(warm_up + run * SHIFT_MS) + server.kind.query_suffix();
                server.ask(&path, costs)?;
            }
        }
        verdicts.push(told(&outcomes));
    }
    tell(&format!("{}: refreshes", loaded.shape.name));
    let mut refreshed = none(&asked, loaded);
    for (asked, costs) in asked.iter().zip(&mut refreshed).filter(|(asked, _)| asked.is_range()) {
        for (server, costs) in servers.iter_mut().zip(costs) {
            for turn in 0..=REFRESHES {
                let end = loaded.end_ms - (REFRESHES - turn + 1) * asked.window.step_ms;
                // A cache of results is welcome here, so VictoriaMetrics may align as it likes.
                let mut first = Costs::default();
                server.ask(&asked.path(end), if turn == 0 { &mut first } else { &mut *costs })?;
            }
        }
    }
    let peaks = servers.iter().map(Asking::peak).collect::<Result<Vec<u64>>>()?;

    report.heading(&format!("PromQL: {}", loaded.shape.name));
    report.line(&format!(
        "{} samples; {} queries. Each was asked once after each of {STARTS} starts (cold), {runs} times warm, and range queries {REFRESHES} times as a dashboard that goes on by one step.",
        loaded.samples,
        asked.len(),
    ));
    let measured = Measured {
        cold,
        warm,
        refreshed,
        peaks,
    };
    summary(bench, &measured, report);
    let notes = ["latency, ms", "as Prometheus"];
    let mut table = Table::new("warm: CPU ms per query", &bench.contenders).with_notes(&notes);
    let mut slower = Vec::new();
    for ((asked, costs), verdict) in asked.iter().zip(&measured.warm).zip(verdicts) {
        let latencies: Vec<String> = costs.iter().map(|c| rounded(c.latency())).collect();
        let figures: Vec<f64> = costs.iter().map(Costs::cpu).collect();
        if is_slowest(bench, &figures) {
            slower.push(asked.name());
        }
        let figures = figures.into_iter().map(Some).collect();
        table.noted_row(&asked.name(), figures, vec![latencies.join(" / "), verdict]);
    }
    report.line(&if slower.is_empty() {
        "No query took more CPU time than both peers.".to_owned()
    } else {
        format!("More CPU time than both peers: {}.", slower.join("; "))
    });
    report.table(&table);
    Ok(measured)
}

// The end of the first run; those after it are later by less than a step.
fn warm_end(loaded: &Loaded, asked: &[Asked]) -> i64 {
    let step = asked.iter().map(|a| a.window.step_ms).max().unwrap_or(0);
    loaded.end_ms - (REFRESHES + 2) * step + SHIFT_MS
}

fn none(asked: &[Asked], loaded: &Loaded) -> Vec<Vec<Costs>> {
    vec![vec![Costs::default(); loaded.servers.len()]; asked.len()]
}

fn asking<'a>(loaded: &Loaded, running: &'a [Running]) -> Result<Vec<Asking<'a>>> {
    let servers = loaded.servers.iter().zip(running);
    servers
        .map(|(server, running)| Asking::new(server.kind, running))
        .collect()
}

fn is_slowest(bench: &Bench, figures: &[f64]) -> bool {
    let kinds = bench.contenders.iter().map(|c| c.kind);
    let (ours, peers): (Vec<_>, Vec<_>) = kinds.zip(figures).partition(|(kind, _)| *kind == Kind::Cupola);
    let Some((_, ours)) = ours.first() else { return false };
    !peers.is_empty() && peers.iter().all(|(_, theirs)| theirs < ours)
}

// Whether Cupola, and VictoriaMetrics behind it, answered what Prometheus did.
fn told(outcomes: &[(Kind, Outcome)]) -> String {
    let reference = outcomes.iter().find(|(kind, _)| *kind == Kind::Prometheus);
    let Some((_, reference)) = reference else {
        return "-".to_owned();
    };
    let cupola = outcomes.iter().find(|(kind, _)| *kind == Kind::Cupola);
    match cupola {
        // A filter that finds nothing must find nothing in both.
        Some((_, ours)) if ours.is_empty() && reference.is_empty() => "yes (empty)".to_owned(),
        Some((kind, ours)) => verdict(*kind, ours, Some(reference)),
        None => "-".to_owned(),
    }
}

/// The figures of a whole set.
pub(crate) fn summary(bench: &Bench, measured: &Measured, report: &mut Report) {
    let mut table = Table::new("all queries", &bench.contenders);
    let servers = bench.contenders.len();
    let each = |costs: &[Vec<Costs>], figure: fn(&Costs) -> f64, of: fn(Vec<f64>) -> f64| -> Vec<Option<f64>> {
        let of_server = |server: usize| {
            let mine = costs
                .iter()
                .filter_map(|row| row.get(server))
                .filter(|c| !c.cpu_ms.is_empty());
            of(mine.map(figure).collect())
        };
        (0..servers).map(|server| Some(of_server(server))).collect()
    };
    let mean = |values: Vec<f64>| values.iter().sum::<f64>() / values.len().max(1) as f64;
    let geomean = |values: Vec<f64>| geometric_mean(values.into_iter());
    for (name, costs) in [
        ("warm", &measured.warm),
        ("cold", &measured.cold),
        ("refresh", &measured.refreshed),
    ] {
        if costs.iter().flatten().all(|c| c.cpu_ms.is_empty()) {
            continue;
        }
        table.row(&format!("{name}: mean CPU, ms"), each(costs, Costs::cpu, mean));
        table.row(
            &format!("{name}: geometric mean of latency, ms"),
            each(costs, Costs::latency, geomean),
        );
        table.row(
            &format!("{name}: 90th percentile of latency, ms"),
            each(costs, Costs::latency, p90),
        );
    }
    table.row(
        "highest RSS, MB",
        measured.peaks.iter().map(|peak| Some(*peak as f64 / 1e6)).collect(),
    );
    report.table(&table);
}

fn p90(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    let at = (values.len() * 9).div_ceil(10).saturating_sub(1);
    values.get(at).copied().unwrap_or(0.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_90th_percentile_is_the_nearest_rank() {
        assert_eq!(p90((1..=10).map(f64::from).collect()), 9.0);
        assert_eq!(p90(vec![3.0]), 3.0);
        assert_eq!(p90(Vec::new()), 0.0);
    }

    #[test]
    fn paths_are_escaped_and_windows_end_where_they_should() {
        let window = Window::new("1 h", 3_600_000, 15_000);
        let asked = |call| Asked {
            query: Query { name: "x", call },
            window,
        };
        assert_eq!(
            asked(Call::Range("sum(a)")).path(10_000_000_500),
            "/api/v1/query_range?query=sum%28a%29&start=9996400.500&end=10000000.500&step=15"
        );
        assert_eq!(
            asked(Call::Instant("a")).path(10_000_000_500),
            "/api/v1/query?query=a&time=10000000.500"
        );
        assert_eq!(
            asked(Call::Path("series?match[]=a{b=\"c\"}")).path(10_000_000_500),
            "/api/v1/series?match%5B%5D=a%7Bb=%22c%22%7D&start=9996400.500&end=10000000.500"
        );
    }

    #[test]
    fn only_range_queries_are_asked_with_every_window() {
        let windows = [Window::new("a", 1, 1), Window::new("b", 2, 1)];
        let asked = all(&super::super::queries::DAY, &windows, Some("series by name"));
        let names: Vec<String> = asked.iter().map(Asked::name).collect();
        assert_eq!(
            names,
            ["series by name, a", "series by name, b", "all series by name, now"]
        );
    }
}
