//! The Alertmanager: what it costs to take alerts, to hold and to list them, and how soon a message goes out.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};

use super::receiver::Receiver;
use crate::bench::report::{Report, Table};
use crate::bench::server::{Kind, Running, free_port, in_path, package_version};
use crate::bench::{Bench, median, tell};

const LIMIT: Duration = Duration::from_mins(1);
const PEER: &str = "prometheus-alertmanager";
const BATCH: usize = 64;
const SOME: usize = 10_000;
const MANY: usize = 50_000;
const RESENDS: usize = 5;
const CONNECTIONS: usize = 2;
const LISTINGS: usize = 3;
// Of every three alerts one is critical and keeps two quiet.
const INHIBITING: &str = "inhibit_rules:\n- source_matchers: [severity=critical]\n  target_matchers: [severity=warning]\n  equal: [namespace, alertname, pod]\n";
const DELIVERED: usize = 300;
const GROUP_WAIT: Duration = Duration::from_secs(1);
const BETWEEN: Duration = Duration::from_millis(10);

pub(super) fn run(bench: &Bench, report: &mut Report) -> Result<()> {
    for (program, package) in crate::neighbours::fetch(&[(PEER, PEER)]) {
        tell(&format!(
            "{program} is missing (Debian: apt install {package}): its column is left out"
        ));
    }
    let mut servers: Vec<(&'static str, Command)> = Vec::new();
    if let Some(ours) = bench.contenders.iter().find(|contender| contender.kind == Kind::Cupola) {
        let mut command = Command::new(&ours.binary);
        command.arg("alertmanager");
        servers.push((Kind::Cupola.name(), command));
    }
    if let Some(theirs) = in_path(PEER) {
        servers.push(("Alertmanager", Command::new(theirs)));
    }
    let names: Vec<&'static str> = servers.iter().map(|(name, _)| *name).collect();
    let mut columns = Vec::new();
    for (name, command) in &servers {
        tell(&format!("{name}: {SOME} and {MANY} alerts"));
        let dir = bench.scratch.folder(&format!("alerts-{name}"))?;
        let program = Program {
            name,
            command,
            dir: &dir,
        };
        let held = program.held()?;
        tell(&format!("{name}: listing with inhibition"));
        let inhibited = program.inhibited()?;
        tell(&format!("{name}: delivery"));
        let (p50, p99) = program.delivered()?;
        columns.push([held, vec![inhibited.0, inhibited.1, p50, p99]].concat());
    }
    let mut table = Table::of("Alertmanager", &names).with_notes(&["must", "aim"]);
    for (index, (row, must, aim)) in ROWS.iter().enumerate() {
        let figures = columns.iter().map(|column| column.get(index).copied()).collect();
        table.noted_row(row, figures, vec![(*must).to_owned(), (*aim).to_owned()]);
    }
    report.heading("Alerts");
    report.line(&format!(
        "`cupola alertmanager` and Debian's Alertmanager {}, one after the other: alerts with 8 labels and 3 annotations in batches of {BATCH} over {CONNECTIONS} connections, 200 groups, at first a receiver without integrations, group_wait 30 s. Rates and times are wall time. Memory is read 2 s after the last request. Inhibition: one rule, {} sources. Delivery: {DELIVERED} alerts, each a group of its own, to a webhook on loopback; from the begin of the POST to the arrival of the message, less {} s of group_wait.",
        package_version(PEER),
        SOME / 3,
        GROUP_WAIT.as_secs(),
    ));
    report.table(&table);
    Ok(())
}

// In the order of the figures.
const ROWS: [(&str, &str, &str); 20] = [
    ("idle: RSS, MiB", "", ""),
    ("new alerts: CPU ms per 1,000", "", ""),
    ("new alerts: taken per second", "", ""),
    ("alerts sent again: CPU ms per 1,000", "12", "5"),
    ("alerts sent again: taken per second", "50,000", ""),
    ("10,000 alerts: RSS, MiB", "40", ""),
    ("10,000 alerts: listing, ms (best of 3)", "100", ""),
    ("10,000 alerts: listing, CPU ms", "", ""),
    ("10,000 alerts: RSS after listing, MiB", "40", ""),
    ("10,000 alerts: highest RSS so far, MiB", "", ""),
    ("50,000 alerts: RSS, MiB", "120", ""),
    ("50,000 alerts: listing, ms (best of 3)", "", ""),
    ("50,000 alerts: listing, CPU ms", "", ""),
    ("50,000 alerts: RSS after listing, MiB", "120", ""),
    ("50,000 alerts: highest RSS so far, MiB", "", ""),
    ("50,000 alerts: listing the groups, ms (best of 3)", "", ""),
    ("10,000 alerts, a third of them inhibiting: listing, ms", "100", ""),
    ("the same: CPU ms", "", ""),
    ("delivery beyond group_wait: median, ms", "", ""),
    ("delivery beyond group_wait: 99th percentile, ms", "10", ""),
];

struct Program<'a> {
    name: &'static str,
    command: &'a Command,
    dir: &'a Path,
}

fn mib(bytes: u64) -> f64 {
    bytes as f64 / f64::from(1 << 20)
}

impl Program<'_> {
    fn start(&self, name: &str, config: &str) -> Result<Running> {
        let dir = self.dir.join(name);
        fs::create_dir_all(&dir).with_context(|| format!("cannot make {}", dir.display()))?;
        let file = dir.join("alertmanager.yml");
        fs::write(&file, config).with_context(|| format!("cannot write {}", file.display()))?;
        let port = free_port()?;
        let mut command = Command::new(self.command.get_program());
        command.args(self.command.get_args()).args([
            format!("--config.file={}", file.display()),
            format!("--storage.path={}", dir.join("data").display()),
            format!("--web.listen-address=127.0.0.1:{port}"),
            "--cluster.listen-address=".to_owned(),
            "--log.level=error".to_owned(),
        ]);
        let mut running = Running::start(self.name, &mut command, port, dir.join("log"))?;
        running.first_answer("/-/ready", LIMIT)?;
        Ok(running)
    }

    fn held(&self) -> Result<Vec<f64>> {
        let config = "route: {receiver: none, group_by: [alertname, namespace]}\nreceivers: [{name: none}]\n";
        let running = self.start("held", config)?;
        let rss = || -> Result<f64> {
            std::thread::sleep(Duration::from_secs(2));
            Ok(mib(running.memory()?.rss))
        };
        let peak = || running.memory().map(|memory| mib(memory.peak));
        let mut out = vec![rss()?];
        let some = batches(0..SOME, false);
        let (cpu, rate) = posted(&running, &[&some])?;
        out.extend([cpu, rate]);
        let again: Vec<&Batches> = std::iter::repeat_n(&some, RESENDS).collect();
        let (cpu, rate) = posted(&running, &again)?;
        out.extend([cpu, rate, rss()?]);
        let (ms, cpu) = listed(&running, "/api/v2/alerts", SOME)?;
        out.extend([ms, cpu, rss()?, peak()?]);
        posted(&running, &[&batches(SOME..MANY, false)])?;
        out.push(rss()?);
        let (ms, cpu) = listed(&running, "/api/v2/alerts", MANY)?;
        out.extend([ms, cpu, rss()?, peak()?]);
        out.push(listed(&running, "/api/v2/alerts/groups", MANY)?.0);
        Ok(out)
    }

    fn inhibited(&self) -> Result<(f64, f64)> {
        let config = format!(
            "route: {{receiver: none, group_by: [alertname, namespace]}}\nreceivers: [{{name: none}}]\n{INHIBITING}"
        );
        let running = self.start("inhibited", &config)?;
        posted(&running, &[&batches(0..SOME, true)])?;
        listed(&running, "/api/v2/alerts", SOME)
    }

    // Milliseconds beyond the wait: the median and the 99th percentile.
    fn delivered(&self) -> Result<(f64, f64)> {
        let receiver = Receiver::start()?;
        let config = format!(
            "route: {{receiver: r, group_by: [alertname], group_wait: {}s}}\n\
             receivers: [{{name: r, webhook_configs: [{{url: 'http://127.0.0.1:{}/'}}]}}]\n",
            GROUP_WAIT.as_secs(),
            receiver.port
        );
        let running = self.start("delivered", &config)?;
        let mut client = running.client()?;
        let mut begun = Vec::new();
        for number in 0..DELIVERED {
            let body = format!("[{{\"labels\":{{\"alertname\":\"Delivered{number:04}\",\"severity\":\"critical\"}}}}]");
            let at = Instant::now();
            if client.post_json("/api/v2/alerts", body.as_bytes())?.status != 200 {
                bail!("{}: an alert was refused", self.name);
            }
            begun.push(at);
            std::thread::sleep(BETWEEN);
        }
        let waiting = Instant::now();
        while receiver.messages.lock().len() < DELIVERED {
            if waiting.elapsed() > LIMIT {
                bail!(
                    "{}: {} of {DELIVERED} messages came",
                    self.name,
                    receiver.messages.lock().len()
                );
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        let mut late = Vec::new();
        for (at, body) in receiver.messages.lock().iter() {
            let body = String::from_utf8_lossy(body);
            let number = body
                .split("Delivered")
                .nth(1)
                .and_then(|rest| rest.get(..4)?.parse::<usize>().ok());
            let posted = number
                .and_then(|number| begun.get(number))
                .context("a message of something else")?;
            late.push((at.duration_since(*posted).as_secs_f64() - GROUP_WAIT.as_secs_f64()) * 1e3);
        }
        late.sort_by(f64::total_cmp);
        let p99 = late.get(late.len() * 99 / 100).copied().unwrap_or(0.0);
        Ok((median(&late), p99))
    }
}

/// Bodies of requests, and how many alerts they hold together.
struct Batches {
    bodies: Vec<String>,
    alerts: usize,
}

// Alerts as a cluster's rules make them: 200 groups, each alert with its pod.
fn batches(numbers: std::ops::Range<usize>, with_severities: bool) -> Batches {
    let alerts = numbers.len();
    let numbers: Vec<usize> = numbers.collect();
    let body = |numbers: &[usize]| {
        let mut out = String::from("[");
        for (index, number) in numbers.iter().enumerate() {
            let comma = if index > 0 { "," } else { "" };
            // Three alerts of one pod, the first of which is worse than the others.
            let pod = if with_severities { number / 3 } else { *number };
            let (name, namespace, container) = (pod % 20, pod / 20 % 10, number % 3);
            let severity = if with_severities && container == 0 {
                "critical"
            } else {
                "warning"
            };
            // Writing to a string cannot fail.
            let _ = write!(
                out,
                "{comma}{{\"labels\":{{\"alertname\":\"PodIsInTrouble{name}\",\"cluster\":\"production-east\",\"container\":\"main-{container}\",\"job\":\"kube-state-metrics\",\"namespace\":\"namespace-{namespace}\",\"pod\":\"worker-{pod:05}-7d9f8b6c5-x2k9d\",\"prometheus\":\"monitoring/k8s\",\"severity\":\"{severity}\"}},\"annotations\":{{\"description\":\"Pod namespace-{namespace}/worker-{pod:05} (main-{container}) has been in a state that is not good for longer than fifteen minutes.\",\"runbook_url\":\"https://runbooks.example/kubernetes/podisintrouble{name}\",\"summary\":\"A pod is in trouble.\"}},\"endsAt\":\"2100-01-01T00:00:00.000Z\",\"generatorURL\":\"http://prometheus.example/graph?g0.expr=kube_pod_container_status_ready+%3D%3D+0&g0.tab=1\"}}"
            );
        }
        out.push(']');
        out
    };
    Batches {
        bodies: numbers.chunks(BATCH).map(body).collect(),
        alerts,
    }
}

// Sends all rounds. CPU milliseconds of the server per 1,000 alerts, and alerts per second.
fn posted(running: &Running, rounds: &[&Batches]) -> Result<(f64, f64)> {
    let before = running.cpu_seconds()?;
    let begin = Instant::now();
    std::thread::scope(|scope| {
        let work = |first: usize| -> Result<()> {
            let mut client = running.client()?;
            for round in rounds {
                for body in round.bodies.iter().skip(first).step_by(CONNECTIONS) {
                    let answer = client.post_json("/api/v2/alerts", body.as_bytes())?;
                    if answer.status != 200 {
                        bail!("alerts were refused: {}", String::from_utf8_lossy(&answer.body));
                    }
                }
            }
            Ok(())
        };
        let handles: Vec<_> = (0..CONNECTIONS).map(|first| scope.spawn(move || work(first))).collect();
        for handle in handles {
            handle.join().map_err(|_| anyhow::anyhow!("a thread has panicked"))??;
        }
        anyhow::Ok(())
    })?;
    let took = begin.elapsed().as_secs_f64();
    let alerts: usize = rounds.iter().map(|round| round.alerts).sum();
    let cpu = running.cpu_seconds()? - before;
    Ok((cpu * 1e6 / alerts as f64, alerts as f64 / took))
}

// Milliseconds of the quickest of some listings, and CPU milliseconds of each.
fn listed(running: &Running, path: &str, alerts: usize) -> Result<(f64, f64)> {
    let mut client = running.client()?;
    let mut best = f64::INFINITY;
    let before = running.cpu_seconds()?;
    for _ in 0..LISTINGS {
        let begin = Instant::now();
        let body = client.fetch(path)?;
        best = best.min(begin.elapsed().as_secs_f64() * 1e3);
        let count = body.windows(14).filter(|bytes| *bytes == b"\"fingerprint\":").count();
        if count != alerts {
            bail!("{path} lists {count} of {alerts} alerts");
        }
    }
    Ok((best, (running.cpu_seconds()? - before) * 1e3 / LISTINGS as f64))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn alerts_are_json_and_each_is_another() {
        let all = batches(0..200, true);
        assert_eq!((all.bodies.len(), all.alerts), (4, 200));
        let mut seen = std::collections::BTreeSet::new();
        for body in &all.bodies {
            let alerts: serde_json::Value = serde_json::from_str(body).unwrap();
            for alert in alerts.as_array().unwrap() {
                assert_eq!(alert["labels"].as_object().unwrap().len(), 8);
                assert_eq!(alert["annotations"].as_object().unwrap().len(), 3);
                seen.insert(alert["labels"].to_string());
            }
        }
        assert_eq!(seen.len(), 200);
    }
}
