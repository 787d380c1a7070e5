//! Rules over 100,000 series that arrive by remote write, and ten thousand rules in one group.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};

use super::metric;
use crate::bench::machine::now_ms;
use crate::bench::promql::scraped;
use crate::bench::report::{Report, Table};
use crate::bench::server::{Contender, Kind, Running, Server};
use crate::bench::storage::message::{Source, Tick};
use crate::bench::{Bench, tell};

const LIMIT: Duration = Duration::from_mins(2);
const RECEIVE: &str = "--web.enable-remote-write-receiver";
const INTERVAL: Duration = Duration::from_secs(5);
const MEASURED: Duration = Duration::from_mins(1);
const TARGETS: usize = 100;
const SERIES: usize = 1000;
const STEP_MS: i64 = 15_000;
// Ten minutes: most rules look back over five.
const TICKS: i64 = 40;
const TICKS_IN_A_MESSAGE: usize = 10;
const MANY: usize = 10_000;
// The packs that clusters run; the first ones that have 290 rules together.
const PACKS: [&str; 4] = [
    "chart-60.2.0",
    "chart-88.5.3",
    "falcosidekick-0.9.11",
    "kube-prometheus-main",
];
const ENOUGH: usize = 290;

pub(super) fn run(bench: &Bench, report: &mut Report) -> Result<()> {
    let contenders: Vec<&Contender> = bench
        .contenders
        .iter()
        .filter(|contender| contender.kind != Kind::VictoriaMetrics)
        .collect();
    let names: Vec<&'static str> = contenders.iter().map(|contender| contender.kind.name()).collect();
    let folder = bench.scratch.folder("rules")?;
    let mut table = Table::of("rules", &names).with_notes(&["must", "aim"]);
    let goal = |must: &str, aim: &str| vec![must.to_owned(), aim.to_owned()];
    report.heading("Rules");
    match packs(&folder)? {
        Some(files) => {
            let measured = over_a_cluster(bench, &contenders, &files, "packs")?;
            let figure = |of: fn(&Figures) -> f64| measured.iter().map(|figures| Some(of(figures))).collect();
            table.noted_row("CPU ms per evaluation of a rule", figure(|f| f.cpu_ms), goal("1.5", "0.5"));
            table.row("RSS, MB", figure(|f| f.rss));
            table.row("evaluations that fail, %", figure(|f| f.failed * 100.0));
            report.line(&format!(
                "Rules of kube-prometheus ({} in {} files) every {} s over {} series, for {} s; the series have samples of ten minutes, at 15 s, and nothing else happens.",
                measured.first().map_or(0, |figures| figures.rules),
                files.len(),
                INTERVAL.as_secs(),
                crate::bench::report::rounded((TARGETS * SERIES) as f64),
                MEASURED.as_secs(),
            ));
        }
        None => report.line(
            "The shared rule packs are not here (`CUPOLA_CONFORMANCE`), so evaluations over 100,000 series are left out.",
        ),
    }
    let many = many_rules(bench, &contenders, &folder)?;
    table.noted_row(
        "10,000 rules in one group: seconds per evaluation of the group",
        many.iter().map(|(seconds, _)| Some(*seconds)).collect(),
        goal("15", ""),
    );
    table.row(
        "the same: CPU seconds",
        many.iter().map(|(_, cpu)| Some(*cpu)).collect(),
    );
    report.table(&table);
    Ok(())
}

struct Figures {
    rules: usize,
    cpu_ms: f64,
    rss: f64,
    failed: f64,
}

/// Rule files of the manifests; `None` where they are not here.
pub(super) fn packs(folder: &Path) -> Result<Option<Vec<PathBuf>>> {
    let shared =
        std::env::var_os("CUPOLA_CONFORMANCE").map_or_else(|| PathBuf::from("../shared/conformance"), PathBuf::from);
    let upstream = shared.join("rules/upstream");
    let (mut files, mut count) = (Vec::new(), 0);
    for pack in PACKS {
        if count >= ENOUGH {
            break;
        }
        let Ok(entries) = fs::read_dir(upstream.join(pack)) else {
            return Ok(None);
        };
        let mut paths: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).collect();
        paths.sort();
        for path in paths {
            let manifest = fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
            let text = rule_file(&manifest).with_context(|| format!("{} has no spec", path.display()))?;
            count += rules_in(&text);
            let name = path.file_stem().and_then(|name| name.to_str()).unwrap_or_default();
            let file = folder.join(format!("{pack}-{name}.yml"));
            fs::write(&file, text).with_context(|| format!("cannot write {}", file.display()))?;
            files.push(file);
        }
    }
    Ok(Some(files))
}

// What stands below `spec:` of a manifest, moved to the left.
fn rule_file(manifest: &str) -> Option<String> {
    let (_, spec) = manifest.split_once("\nspec:\n")?;
    let lines = spec.lines().map(|line| line.strip_prefix("  ").unwrap_or(line));
    Some(lines.fold(String::new(), |text, line| text + line + "\n"))
}

fn rules_in(text: &str) -> usize {
    let words = text.lines().map(|line| line.trim_start().trim_start_matches("- "));
    words
        .filter(|line| line.starts_with("alert: ") || line.starts_with("record: "))
        .count()
}

fn over_a_cluster(bench: &Bench, contenders: &[&Contender], files: &[PathBuf], name: &str) -> Result<Vec<Figures>> {
    tell(&format!("{} rule files over {TARGETS} x {SERIES} series", files.len()));
    let mut config = format!("global:\n  evaluation_interval: {}s\nrule_files:\n", INTERVAL.as_secs());
    for file in files {
        // Writing to a string cannot fail.
        let _ = writeln!(config, "- '{}'", file.display());
    }
    let running = start(bench, contenders, name, &config)?;
    let mut clients = running.iter().map(Running::client).collect::<Result<Vec<_>>>()?;
    let begin = now_ms() - TICKS * STEP_MS;
    for number in 0..TARGETS {
        let labels = |pairs: Vec<(String, String)>| -> Vec<(String, String)> {
            let labels = scraped(&pairs, number);
            labels
                .iter()
                .map(|(name, value)| (name.to_owned(), value.to_owned()))
                .collect()
        };
        let mut source = Source::labelled(number, SERIES, labels);
        let ticks: Vec<Tick> = (1..=TICKS)
            .map(|tick| source.tick(tick, begin + (tick - 1) * STEP_MS))
            .collect();
        for part in ticks.chunks(TICKS_IN_A_MESSAGE) {
            let message = source.message(part)?;
            for client in &mut clients {
                let answer = client.write(&message)?;
                if !(200..300).contains(&answer.status) {
                    bail!("a message was refused with status {}", answer.status);
                }
            }
        }
    }
    // Rules have seen all of it by then, and alerts that were pending may fire.
    std::thread::sleep(INTERVAL * 3);
    let read = |running: &Running| -> Result<[f64; 3]> {
        Ok([
            metric(running, "prometheus_rule_evaluations_total")?,
            metric(running, "prometheus_rule_evaluation_failures_total")?,
            running.cpu_seconds()?,
        ])
    };
    let before = running.iter().map(read).collect::<Result<Vec<_>>>()?;
    std::thread::sleep(MEASURED);
    let mut all = Vec::new();
    for (running, before) in running.iter().zip(before) {
        let after = read(running)?;
        let [evaluations, failures, cpu] = std::array::from_fn(|i| match (after.get(i), before.get(i)) {
            (Some(after), Some(before)) => after - before,
            _ => 0.0,
        });
        if evaluations < 1.0 {
            bail!("no rule was evaluated");
        }
        all.push(Figures {
            rules: metric(running, "prometheus_rule_group_rules")? as usize,
            cpu_ms: cpu * 1e3 / evaluations,
            rss: running.memory()?.rss as f64 / 1e6,
            failed: failures / evaluations,
        });
    }
    Ok(all)
}

fn start(bench: &Bench, contenders: &[&Contender], name: &str, config: &str) -> Result<Vec<Running>> {
    let mut all = Vec::new();
    for contender in contenders {
        let dir = bench.scratch.folder(&format!("{name}-{}", contender.kind.name()))?;
        let server = Server::prepare(contender, dir, config)?;
        let data = server.data();
        let mut running = server.on(data, &[RECEIVE]).start()?;
        running.first_answer("/-/ready", LIMIT)?;
        all.push(running);
    }
    Ok(all)
}

// Seconds and CPU seconds of one evaluation of the group, one server after the other.
fn many_rules(bench: &Bench, contenders: &[&Contender], folder: &Path) -> Result<Vec<(f64, f64)>> {
    tell(&format!("{MANY} rules in one group"));
    let mut text = format!("groups:\n- name: many\n  interval: {}s\n  rules:\n", INTERVAL.as_secs());
    for number in 0..MANY {
        let _ = write!(
            text,
            "  - record: job:http_inprogress_requests:sum\n    expr: vector(1)\n    labels: {{job: job{number}}}\n"
        );
    }
    let file = folder.join("many.yml");
    fs::write(&file, text).with_context(|| format!("cannot write {}", file.display()))?;
    let config = format!("rule_files: ['{}']\n", file.display());
    let mut all = Vec::new();
    for contender in contenders {
        let running = start(bench, &[contender], "many", &config)?;
        let Some(running) = running.first() else { continue };
        let rounds = || metric(running, "prometheus_rule_evaluations_total").map(|count| (count / MANY as f64) as u64);
        let until = |round: u64| -> Result<()> {
            let begin = Instant::now();
            while rounds()? < round {
                if begin.elapsed() > LIMIT {
                    bail!("{MANY} rules were not evaluated {round} times in {LIMIT:?}");
                }
                std::thread::sleep(Duration::from_millis(100));
            }
            Ok(())
        };
        // The first one makes the series.
        until(2)?;
        let before = running.cpu_seconds()?;
        until(4)?;
        let cpu = (running.cpu_seconds()? - before) / 2.0;
        all.push((metric(running, "prometheus_rule_group_last_duration_seconds")?, cpu));
    }
    Ok(all)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_manifest_becomes_a_rule_file() {
        let manifest = "kind: PrometheusRule\nspec:\n  groups:\n  - name: g\n    rules:\n    - alert: A\n      expr: up == 0\n    - expr: up\n      record: r\n";
        let file = rule_file(manifest).unwrap();
        assert!(
            file.starts_with("groups:\n- name: g\n  rules:\n  - alert: A\n    expr: up"),
            "{file}"
        );
        assert_eq!(rules_in(&file), 2);
    }
}
