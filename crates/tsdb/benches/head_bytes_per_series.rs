//! What the head costs per series and per sample: `cargo bench -p cupola-tsdb`.
//!
//! 200 targets with 1,000 series of 12 labels each, one batch a target and scrape, 15 s apart, 40 % of the values
//! constant; one run, without `fdatasync`. Memory is the growth of the resident set. With `-- restart`, a million such series
//! that were scraped four times: what a restart after SIGKILL costs.

use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use cupola_env::{ManualClock, RealFs};
use cupola_metrics::Registry;
use cupola_model::{Labels, SeriesRef};
use cupola_storage::{Appendable, Queryable, Selection};
use cupola_tsdb::{Options, Tsdb};
use mimalloc::MiMalloc;

#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

const SERIES: usize = 1000;

fn labels(target: usize, series: usize) -> Labels {
    let pod = format!("app-{:x}-{target:03}", target * 7919 % 65_536);
    Labels::from_pairs([
        ("__name__", format!("container_metric_{:03}_total", series / 10)),
        ("cluster", "europe".to_owned()),
        ("container", format!("container-{}", series % 10)),
        ("endpoint", "https-metrics".to_owned()),
        (
            "id",
            format!(
                "/kubepods/burstable/pod{target:08x}/{:08x}",
                series * 2_654_435 % 1_000_003
            ),
        ),
        ("image", format!("registry.example/app:{}", series % 10)),
        ("instance", format!("10.1.{}.{}:10250", target / 250, target % 250)),
        ("job", "kubelet".to_owned()),
        ("metrics_path", "/metrics/cadvisor".to_owned()),
        ("namespace", format!("namespace-{}", target % 20)),
        ("node", format!("node-{:02}", target % 50)),
        ("pod", pod),
    ])
}

fn resident_bytes() -> f64 {
    let statm = std::fs::read_to_string("/proc/self/statm").expect("Linux");
    let pages: f64 = statm
        .split(' ')
        .nth(1)
        .and_then(|n| n.parse().ok())
        .expect("a number of pages");
    pages * 4096.0
}

// Ticks of 10 ms; user and system are the 14th and 15th field, the second may hold spaces.
fn cpu_seconds() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").expect("Linux");
    let fields = stat.rsplit_once(')').map_or("", |(_, rest)| rest);
    let ticks = fields.split(' ').skip(12).take(2).filter_map(|n| n.parse::<f64>().ok());
    ticks.sum::<f64>() / 100.0
}

fn open(dir: &Path) -> Tsdb {
    let clock = Arc::new(ManualClock::new(0));
    Tsdb::open(Options::new(dir.into()), clock, Arc::new(RealFs), &Registry::default()).expect("a database")
}

fn main() {
    let is_restart = std::env::args().any(|arg| arg == "restart");
    let (targets, times): (usize, &[i64]) = if is_restart {
        (1000, &[1, 3])
    } else {
        (200, &[1, 1, 38, 120, 320])
    };
    let dir = tempfile::tempdir().expect("a temporary folder");
    let tsdb = open(dir.path());
    let all = (targets * SERIES) as f64;
    let empty = resident_bytes();
    let mut known: Vec<Vec<SeriesRef>> = (0..targets).map(|_| Vec::with_capacity(SERIES)).collect();
    let mut scrapes = 0;
    let mut scrape = |times: i64| {
        let begin = Instant::now();
        for _ in 0..times {
            for (target, known) in known.iter_mut().enumerate() {
                let mut appender = tsdb.appender();
                let ts = scrapes * 15_000 + target as i64 * 73 + (scrapes * target as i64 * 31) % 4;
                for series in 0..SERIES {
                    let rate = if series % 5 < 2 {
                        0
                    } else {
                        (series as i64 * 37 + scrapes * 11) % 97
                    };
                    let value = (series as i64 * 1000 + scrapes * rate) as f64;
                    match known.get(series) {
                        Some(series) => drop(appender.append_known(*series, ts, value).expect("in order")),
                        None => known.push(
                            appender
                                .append(None, &labels(target, series), ts, value)
                                .expect("a new series"),
                        ),
                    }
                }
                appender.commit().expect("a writable folder");
            }
            scrapes += 1;
        }
        let each = begin.elapsed().as_secs_f64() / times as f64 / all * 1e6;
        println!(
            "{scrapes:>4} scrapes: {:>7.0} B per series, the last {times} took {each:.3} us per sample",
            (resident_bytes() - empty) / all
        );
    };
    for times in times {
        scrape(*times);
    }
    // As after SIGKILL: nothing but the log is there.
    drop(tsdb);
    let cpu = cpu_seconds();
    let begin = Instant::now();
    let tsdb = open(dir.path());
    let took = begin.elapsed().as_secs_f64();
    println!(
        "replaying the log: {took:.2} s, {:.2} CPU s, {:.3} us per sample, {:.3} us per series",
        cpu_seconds() - cpu,
        took / all / scrapes as f64 * 1e6,
        took / all * 1e6
    );
    let begin = Instant::now();
    let selection = Selection {
        matchers: &[],
        mint: 0,
        maxt: i64::MAX,
    };
    let found = tsdb.select(&selection).expect("a readable head").len();
    println!(
        "selecting all {found}: {:.3} us per series",
        begin.elapsed().as_secs_f64() / all * 1e6
    );
}
