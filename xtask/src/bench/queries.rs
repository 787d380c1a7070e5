//! Queries as dashboards ask them, over the window that was just scraped.
//!
//! Cost and latency are measured on job `bench`, while its targets are silent so that nothing else runs. The answers are
//! compared on job `exact`, whose samples have the same timestamps everywhere. No sample lies on the end of a range:
//! ticks are whole seconds, and queries are asked at half seconds. Prometheus 2 includes both ends, Prometheus 3 and
//! Cupola do not include the left one.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};

use super::agree::Outcome;
use super::client::{Client, escape};
use super::machine::seconds;
use super::report::{Report, Table};
use super::scrape::Session;
use super::server::{Kind, Running};
use super::{Bench, median, tell};

struct Query {
    name: &'static str,
    /// `$job` and `$range` are filled in.
    expr: &'static str,
    is_range: bool,
}

const QUERIES: [Query; 12] = [
    range(
        "CPU by mode",
        r#"sum by (mode) (rate(node_cpu_seconds_total{$job}[$range]))"#,
    ),
    range(
        "CPU used by node",
        r#"1 - avg by (instance) (rate(node_cpu_seconds_total{$job,mode="idle"}[$range]))"#,
    ),
    range(
        "CPU by pod",
        r#"sum by (namespace, pod) (rate(container_cpu_usage_seconds_total{$job,container!=""}[$range]))"#,
    ),
    range(
        "top 5 pods",
        r#"topk(5, sum by (namespace, pod) (rate(container_cpu_usage_seconds_total{$job}[$range])))"#,
    ),
    range(
        "memory by namespace",
        r#"sum by (namespace) (container_memory_working_set_bytes{$job,container!=""})"#,
    ),
    range(
        "memory of limit, join",
        r#"container_memory_working_set_bytes{$job} / on (instance, namespace, pod, container) group_left () kube_pod_container_resource_limits{$job,resource="memory"}"#,
    ),
    range(
        "join with kube_pod_info",
        r#"sum by (node) (rate(container_network_receive_bytes_total{$job}[$range]) * on (instance, namespace, pod) group_left (node) kube_pod_info{$job})"#,
    ),
    range(
        "latency quantile",
        r#"histogram_quantile(0.99, sum by (le, service) (rate(http_request_duration_seconds_bucket{$job}[$range])))"#,
    ),
    range(
        "errors, regex",
        r#"sum by (service) (rate(http_request_duration_seconds_count{$job,handler=~"/api/.*",code=~"5.."}[$range])) / sum by (service) (rate(http_request_duration_seconds_count{$job,handler=~"/api/.*"}[$range]))"#,
    ),
    range(
        "filesystem left, regex",
        r#"node_filesystem_avail_bytes{$job,fstype!~"tmpfs|overlay",mountpoint=~"/var/.+"} / node_filesystem_size_bytes{$job}"#,
    ),
    range(
        "highest load",
        r#"max_over_time(node_load1{$job}[$range]) > 0.5 * node_load5{$job}"#,
    ),
    Query {
        name: "series by name (instant)",
        expr: r#"count by (__name__) ({$job,__name__!~"up|scrape_.*"})"#,
        is_range: false,
    },
];

const fn range(name: &'static str, expr: &'static str) -> Query {
    Query {
        name,
        expr,
        is_range: true,
    }
}

// The kernel counts CPU time in ticks of 10 ms: a query is repeated until its sum says something.
const ENOUGH_CPU_SECONDS: f64 = 0.5;
const MOST_RUNS: usize = 1000;
const LONGEST: Duration = Duration::from_secs(15);
const QUIET: Duration = Duration::from_secs(5);

// Milliseconds since the epoch.
#[derive(Debug, Clone, Copy)]
struct Window {
    start: i64,
    end: i64,
    interval: i64,
}

impl Window {
    fn path(&self, query: &Query, job: &str, kind: Kind) -> String {
        let expr = query.expr.replace("$job", &format!("job=\"{job}\""));
        let expr = escape(&expr.replace("$range", &format!("{}ms", self.interval * 4)));
        let suffix = kind.query_suffix();
        let end = seconds(self.end);
        if query.is_range {
            let start = seconds(self.start);
            format!("/api/v1/query_range?query={expr}&start={start}&end={end}&step=1{suffix}")
        } else {
            format!("/api/v1/query?query={expr}&time={end}{suffix}")
        }
    }
}

struct Cost {
    cpu_ms: f64,
    latency_ms: f64,
}

pub(crate) fn run(bench: &Bench, session: &Session, paused_ms: i64, report: &mut Report) -> Result<()> {
    tell("queries");
    let runs = bench.options.runs.unwrap_or(20);
    let interval = bench.options.interval_ms();
    let window = Window {
        // From here on, ranges hold no scrape that only some servers have done.
        start: session.settled_ms / 1000 * 1000 + interval * 4 + 500,
        // The tick before the pause may not have reached all of them.
        end: paused_ms / interval * interval - 500,
        interval,
    };
    let idle = idle_rates(&session.running)?;
    let mut cpu = Table::new("CPU ms per query", &bench.contenders);
    let mut latency = Table::new("median latency, ms", &bench.contenders);
    let mut same = Table::of_words("same answer as Prometheus", &bench.contenders);
    let mut sums: Vec<Vec<Cost>> = session.servers.iter().map(|_| Vec::new()).collect();
    for query in &QUERIES {
        let mut outcomes = Vec::new();
        let mut costs = Vec::new();
        for ((server, running), idle) in session.servers.iter().zip(&session.running).zip(&idle) {
            let mut client = running.client()?;
            let body = client.fetch(&window.path(query, "exact", server.kind))?;
            let outcome = Outcome::parse(&body).with_context(|| format!("{}: {}", server.kind.name(), query.name))?;
            outcomes.push((server.kind, outcome));
            let path = window.path(query, "bench", server.kind);
            costs.push(cost(running, &mut client, &path, *idle, runs)?);
        }
        cpu.row(query.name, costs.iter().map(|c| Some(c.cpu_ms)).collect());
        latency.row(query.name, costs.iter().map(|c| Some(c.latency_ms)).collect());
        for (sum, cost) in sums.iter_mut().zip(costs) {
            sum.push(cost);
        }
        let reference = outcomes.iter().find(|(kind, _)| *kind == Kind::Prometheus);
        let reference = reference.map(|(_, outcome)| outcome);
        same.words(
            query.name,
            outcomes
                .iter()
                .map(|(kind, outcome)| verdict(*kind, outcome, reference))
                .collect(),
        );
    }
    let over = |figure: &dyn Fn(&[Cost]) -> f64| sums.iter().map(|costs| Some(figure(costs))).collect::<Vec<_>>();
    cpu.row(
        "**mean**",
        over(&|costs| costs.iter().map(|c| c.cpu_ms).sum::<f64>() / costs.len() as f64),
    );
    latency.row(
        "**geometric mean**",
        over(&|costs| geometric_mean(costs.iter().map(|c| c.latency_ms))),
    );

    report.heading("Queries");
    report.line(&format!(
        "{} range queries with a step of 1 s over {} s and {} instant one(s), each run at least {} times, one at a time, all answers in memory (warm). VictoriaMetrics is asked with `nocache=1`, else it moves start and end. Each run asks for the same range, so Cupola answers range queries from its cache of results; what a query costs without it is in the tables of PromQL.",
        QUERIES.iter().filter(|q| q.is_range).count(),
        (window.end - window.start) / 1000,
        QUERIES.iter().filter(|q| !q.is_range).count(),
        runs,
    ));
    report.table(&cpu);
    report.table(&latency);
    report.line("Whether the answers on the job with explicit timestamps are those of Prometheus, each value within 1e-6 relative:");
    report.table(&same);
    Ok(())
}

// CPU seconds per second that each server uses with no query: what scraping silent targets and housekeeping cost.
fn idle_rates(running: &[Running]) -> Result<Vec<f64>> {
    let cpu = || running.iter().map(Running::cpu_seconds).collect::<Result<Vec<f64>>>();
    // The first scrapes of silent targets mark all series as stale; that is not idle.
    std::thread::sleep(QUIET);
    let before = cpu()?;
    let begin = Instant::now();
    std::thread::sleep(QUIET);
    let elapsed = begin.elapsed().as_secs_f64();
    Ok(cpu()?
        .iter()
        .zip(before)
        .map(|(after, before)| (after - before) / elapsed)
        .collect())
}

fn cost(running: &Running, client: &mut Client, path: &str, idle: f64, runs: usize) -> Result<Cost> {
    // What the server builds on the first encounter is not what a dashboard sees.
    client.fetch(path)?;
    let before = running.cpu_seconds()?;
    let begin = Instant::now();
    let mut latencies = Vec::new();
    loop {
        let asked = Instant::now();
        client.fetch(path)?;
        latencies.push(asked.elapsed().as_secs_f64() * 1e3);
        if latencies.len() < runs {
            continue;
        }
        let used = running.cpu_seconds()? - before;
        if used >= ENOUGH_CPU_SECONDS || latencies.len() >= MOST_RUNS.max(runs) || begin.elapsed() >= LONGEST {
            let used = (used - idle * begin.elapsed().as_secs_f64()).max(0.0);
            return Ok(Cost {
                cpu_ms: used * 1e3 / latencies.len() as f64,
                latency_ms: median(&latencies),
            });
        }
    }
}

pub(crate) fn verdict(kind: Kind, outcome: &Outcome, reference: Option<&Outcome>) -> String {
    if outcome.is_empty() {
        return "no: empty".to_owned();
    }
    match reference {
        None => "-".to_owned(),
        Some(_) if kind == Kind::Prometheus => "is the measure".to_owned(),
        Some(reference) => match outcome.difference(reference) {
            None => "yes".to_owned(),
            // A column would end the cell.
            Some(difference) => format!("no: {}", difference.replace('|', "/")),
        },
    }
}

/// The geometric mean of `values`; 1 where there are none.
pub(crate) fn geometric_mean(values: impl Iterator<Item = f64>) -> f64 {
    let logs: Vec<f64> = values.map(|v| v.max(1e-9).ln()).collect();
    (logs.iter().sum::<f64>() / logs.len().max(1) as f64).exp()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_query_is_asked_on_a_tick() {
        let window = Window {
            start: 1_700_000_000_500,
            end: 1_700_000_044_500,
            interval: 5000,
        };
        let path = window.path(&QUERIES[0], "exact", Kind::VictoriaMetrics);
        let expr = "sum%20by%20%28mode%29%20%28rate%28node_cpu_seconds_total%7Bjob%3D%22exact%22%7D%5B20000ms%5D%29%29";
        let expected =
            format!("/api/v1/query_range?query={expr}&start=1700000000.500&end=1700000044.500&step=1&nocache=1");
        assert_eq!(path, expected);
    }

    #[test]
    fn every_query_asks_a_job() {
        for query in QUERIES {
            let path = Window {
                start: 0,
                end: 0,
                interval: 5000,
            }
            .path(&query, "bench", Kind::Cupola);
            assert!(query.expr.contains("$job") && !path.contains("%24"), "{path}");
        }
    }

    #[test]
    fn geometric_means() {
        assert!((geometric_mean([1.0, 100.0].into_iter()) - 10.0).abs() < 1e-9);
    }
}
