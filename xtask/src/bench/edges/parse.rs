//! Parsing alone, in this process and on one core: a page as it was fetched, up to samples with their series, into a
//! storage that keeps nothing.

use std::path::Path;

use anyhow::{Context as _, Result, anyhow};
use cupola_config::parse_prometheus;
use cupola_exposition::Format;
use cupola_histogram::NativeHistogram;
use cupola_model::{Labels, SeriesRef};
use cupola_scrape::Feed;
use cupola_storage::{AppendError, Appendable, Appender, CommitError};
use parking_lot::Mutex;
use rustix::time::{ClockId, clock_gettime};

use crate::bench::report::{Report, rounded};
use crate::bench::series::Target;
use crate::bench::{median, tell};

const SERIES: usize = 1000;
// Different pages, so that no value is in the processor's memory of branches.
const PAGES: usize = 16;
const ROUNDS: usize = 9;
const ROUND_SECONDS: f64 = 0.3;

/// Gives each label set a number and forgets all samples.
#[derive(Default)]
struct Nowhere(Mutex<u64>);

struct Forgotten<'a>(&'a Nowhere);

impl Appendable for Nowhere {
    fn appender(&self) -> Box<dyn Appender + '_> {
        Box::new(Forgotten(self))
    }
}

impl Appender for Forgotten<'_> {
    fn append(&mut self, _: Option<SeriesRef>, _: &Labels, _: i64, _: f64) -> Result<SeriesRef, AppendError> {
        let mut next = self.0.0.lock();
        *next += 1;
        Ok(SeriesRef(*next))
    }

    fn append_known(&mut self, _: SeriesRef, _: i64, value: f64) -> Result<bool, AppendError> {
        std::hint::black_box(value);
        Ok(true)
    }

    fn append_histogram(
        &mut self,
        _: Option<SeriesRef>,
        labels: &Labels,
        ts: i64,
        _: NativeHistogram,
    ) -> Result<SeriesRef, AppendError> {
        self.append(None, labels, ts, 0.0)
    }

    fn commit(self: Box<Self>) -> Result<(), CommitError> {
        Ok(())
    }
}

// CPU time of this thread.
fn cpu_seconds() -> f64 {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    time.tv_sec as f64 + time.tv_nsec as f64 / 1e9
}

pub(super) fn run(report: &mut Report) -> Result<()> {
    tell("parsing alone");
    let mut target = Target::new(1, SERIES, 0);
    let pages: Vec<Vec<u8>> = (1..=PAGES as i64)
        .map(|tick| {
            target.advance(tick);
            target.page(None).into_bytes()
        })
        .collect();
    // Every other page begins with a line of its own: none is laid out like the one before.
    let changed: Vec<Vec<u8>> = (pages.iter().enumerate())
        .map(|(n, page)| {
            if n % 2 == 0 {
                page.clone()
            } else {
                [&b"first 1\n"[..], page].concat()
            }
        })
        .collect();
    report.heading("Parsing alone");
    report.line(&format!(
        "One core, CPU time of the thread, in this process: pages of {SERIES} series and {} kB in the text format, from the body to samples with their series, into a storage that keeps nothing. Median of {ROUNDS} rounds.",
        pages.first().map_or(0, Vec::len) / 1000
    ));
    let mut text =
        "| layout | GB/s | ns per sample | kept for it, B per series | must, GB/s |\n|---|--:|--:|--:|--:|\n"
            .to_owned();
    for (name, pages, must) in [
        ("as in the page before", &pages, "2"),
        ("another one each time", &changed, "0.5"),
    ] {
        let (rate, sample, layout) = measure(pages)?;
        text.push_str(&format!(
            "| {name} | {} | {} | {} | {must} |\n",
            rounded(rate),
            rounded(sample),
            rounded(layout)
        ));
    }
    report.line(text.trim_end());
    Ok(())
}

// GB per second, nanoseconds per sample, and what is kept of a page's layout, in bytes per series.
fn measure(pages: &[Vec<u8>]) -> Result<(f64, f64, f64)> {
    let yaml = "scrape_configs: [{job_name: bench}]\n";
    let config = parse_prometheus(yaml, Path::new("bench.yml")).map_err(|_| anyhow!("a configuration is refused"))?;
    let config = config.scrape_configs.into_iter().next().context("no job")?;
    let target = Labels::from_pairs([("instance", "node-0001:9100"), ("job", "bench")]);
    let (mut feed, storage) = (Feed::new(config, target), Nowhere::default());
    let mut ts = 0;
    let mut round = |seconds: f64| -> Result<(f64, f64)> {
        let (mut bytes, mut samples, begin) = (0, 0, cpu_seconds());
        loop {
            for page in pages {
                ts += 15_000;
                let fed = feed.body(Format::Text, page, ts, &storage);
                samples += fed.map_err(|error| anyhow!("a page is refused: {error}"))?;
                bytes += page.len();
            }
            let took = cpu_seconds() - begin;
            if took >= seconds {
                return Ok((bytes as f64 / took / 1e9, took / samples as f64 * 1e9));
            }
        }
    };
    round(ROUND_SECONDS)?;
    let rounds = (0..ROUNDS).map(|_| round(ROUND_SECONDS)).collect::<Result<Vec<_>>>()?;
    let each = |figure: fn(&(f64, f64)) -> f64| median(&rounds.iter().map(figure).collect::<Vec<_>>());
    let figures = (each(|r| r.0), each(|r| r.1));
    Ok((figures.0, figures.1, feed.layout_bytes() as f64 / SERIES as f64))
}
