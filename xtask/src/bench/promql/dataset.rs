//! The data that queries are asked over: hours of scrapes of synthetic targets, made in seconds.
//!
//! Values come from the targets of [`super::super::series`]; what time adds comes from here: pods are replaced by
//! others with another name, processes restart and their counters begin again at 0, and scrapes come a few
//! milliseconds late now and then. Every target is scraped at a moment of its own in the interval, and never on a whole
//! second: queries look back from whole seconds, so no sample lies on the end of a range, where Prometheus 2 and 3 differ.

use std::path::Path;

use anyhow::{Context as _, Result};
use cupola_block::{BlockSpec, BlockWriter, NewChunk, Ulid};
use cupola_chunk::{Encoding, XorAppender};
use cupola_env::RealFs;
use cupola_model::Labels;

use crate::bench::series::{Random, Target, rounded};

/// What is held in a set of data.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Content {
    /// Nodes with their pods and services.
    Mix,
    /// Pods with one counter of CPU time for each of 16 CPUs.
    Cores,
}

/// How large a set of data is.
#[derive(Debug, Clone)]
pub(crate) struct Shape {
    pub(crate) name: &'static str,
    pub(crate) content: Content,
    pub(crate) targets: usize,
    /// Series of each target that are there at one time.
    pub(crate) series: usize,
    pub(crate) hours: i64,
    pub(crate) step_ms: i64,
    /// The share of pods that are replaced once within the time.
    pub(crate) replaced: f64,
}

/// A series and its chunks, oldest first.
#[derive(Debug)]
pub(crate) struct Recorded {
    pub(crate) labels: Labels,
    pub(crate) chunks: Vec<Chunk>,
}

#[derive(Debug)]
pub(crate) struct Chunk {
    pub(crate) mint: i64,
    pub(crate) maxt: i64,
    pub(crate) bytes: Vec<u8>,
}

const HOUR_MS: i64 = 3_600_000;
/// Data end on a multiple of this, and no block is longer.
pub(crate) const BLOCK_MS: i64 = 6 * HOUR_MS;
// A head is cut into blocks of two hours, and no chunk reaches over their ends.
const CUT_MS: i64 = 2 * HOUR_MS;
const SAMPLES_PER_CHUNK: u16 = 120;
const CPUS: usize = 16;

impl Shape {
    /// All series with data of the hours before `end_ms`, in the order of a block.
    pub(crate) fn record(&self, end_ms: i64) -> Result<Vec<Recorded>> {
        let threads = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        let mut all = Vec::new();
        std::thread::scope(|scope| {
            let work = |first: usize| {
                let mine = (first..self.targets).step_by(threads);
                let recorded: Result<Vec<Vec<Recorded>>> = mine.map(|number| self.target(number, end_ms)).collect();
                recorded
            };
            let handles: Vec<_> = (0..threads).map(|first| scope.spawn(move || work(first))).collect();
            for handle in handles {
                let recorded = handle.join().map_err(|_| anyhow::anyhow!("a thread has panicked"))??;
                all.extend(recorded.into_iter().flatten());
            }
            anyhow::Ok(())
        })?;
        all.sort_by(|a, b| a.labels.cmp(&b.labels));
        Ok(all)
    }

    fn target(&self, number: usize, end_ms: i64) -> Result<Vec<Recorded>> {
        let ticks = self.hours * HOUR_MS / self.step_ms;
        let start = end_ms - self.hours * HOUR_MS;
        let mut target = match self.content {
            Content::Mix => Target::new(number, self.series, 0),
            Content::Cores => Target::cores(number, self.series / CPUS, CPUS),
        };
        let mut random = Random(0x5eed + number as u64);
        let mut groups: Vec<Group> = Vec::new();
        let mut rows: Vec<Row> = Vec::new();
        let mut jobs: Vec<Job> = Vec::new();
        for (text, grows, _) in target.values() {
            let pairs = pairs(text);
            let job = Job::of(&pairs, number, self.step_ms);
            let job_index = jobs.iter().position(|known| *known == job).unwrap_or_else(|| {
                jobs.push(job.clone());
                jobs.len() - 1
            });
            let pod = pairs.iter().find(|(name, _)| name == "pod").map(|(_, pod)| pod.clone());
            let pod = pod.filter(|_| job.name != API);
            let key = pod.clone().unwrap_or_else(|| job.name.to_owned());
            let group = groups.iter().position(|group| group.key == key).unwrap_or_else(|| {
                // A service restarts about once in 24 h, a node once in four days.
                let chance = match (&pod, job.name) {
                    (Some(_), _) => self.replaced,
                    (None, API) => self.hours as f64 / 24.0,
                    (None, _) => self.hours as f64 / 96.0,
                };
                let at = ticks / 10 + random.below((ticks * 3 / 4) as u64) as i64;
                groups.push(Group {
                    key,
                    is_pod: pod.is_some(),
                    cut: (random.unit() < chance).then_some(at),
                });
                groups.len() - 1
            });
            rows.push(Row::new(job.labels(&pairs), grows, group, job_index));
        }
        // Only one target sees the objects of the cluster; it is the same for all nodes.
        for (index, job) in jobs.iter().enumerate() {
            if job.name != STATE || number == 0 {
                let up = [("__name__".to_owned(), "up".to_owned())];
                rows.push(Row::new(job.labels(&up), false, usize::MAX, index));
            }
        }
        let mut done = Vec::new();
        for tick in 0..ticks {
            target.advance(tick);
            let due = start + tick * self.step_ms;
            let times: Vec<i64> = jobs.iter().map(|job| due + job.offset_ms(tick)).collect();
            let values = target.values().map(|(_, _, value)| value).chain(std::iter::repeat(1.0));
            for (row, value) in rows.iter_mut().zip(values) {
                if let Some(group) = groups.get(row.group)
                    && group.cut == Some(tick)
                {
                    if group.is_pod {
                        let labels = successor(&row.labels);
                        done.extend(row.end(labels));
                    }
                    row.base = if row.grows { value } else { 0.0 };
                }
                let ts = times.get(row.job).copied().unwrap_or(due);
                row.append(ts, value)?;
            }
        }
        done.extend(rows.into_iter().filter_map(|mut row| row.end(Labels::empty())));
        Ok(done)
    }
}

struct Group {
    key: String,
    is_pod: bool,
    // When the pod is replaced or the process restarts.
    cut: Option<i64>,
}

const API: &str = "api";
const STATE: &str = "kube-state-metrics";

// Who is scraped for a series, as the stacks for Kubernetes name it.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Job {
    name: &'static str,
    instance: String,
    metrics_path: Option<&'static str>,
    offset_ms: i64,
    seed: u64,
}

impl Job {
    fn of(pairs: &[(String, String)], number: usize, step_ms: i64) -> Self {
        let name = pairs.first().map_or("", |(_, name)| name.as_str());
        let node = format!("node-{number:04}");
        let (name, instance, metrics_path) = if name.starts_with("node_") {
            ("node-exporter", format!("{node}:9100"), None)
        } else if name.starts_with("container_") {
            ("kubelet", format!("{node}:10250"), Some("/metrics/cadvisor"))
        } else if name.starts_with("kube_") {
            (STATE, "kube-state-metrics:8080".to_owned(), None)
        } else {
            (API, format!("10.0.{}.{}:8080", number / 200, number % 200), None)
        };
        let seed = instance.bytes().fold(7, |hash: u64, byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
        });
        // A moment of its own in the interval, and at 123 ms behind a whole second.
        let whole_seconds = (step_ms / 1000).max(1) as u64;
        let offset_ms = (Random(seed).below(whole_seconds) * 1000 + 123) as i64;
        Self {
            name,
            instance,
            metrics_path,
            offset_ms,
            seed,
        }
    }

    // One scrape in a hundred is some milliseconds late.
    fn offset_ms(&self, tick: i64) -> i64 {
        let mut random = Random(self.seed ^ tick as u64);
        let late = if random.below(100) == 0 {
            3 + random.below(20)
        } else {
            0
        };
        self.offset_ms + late as i64
    }

    fn labels(&self, pairs: &[(String, String)]) -> Labels {
        let own = [
            Some(("job", self.name)),
            Some(("instance", self.instance.as_str())),
            self.metrics_path.map(|path| ("metrics_path", path)),
        ];
        let pairs = pairs.iter().map(|(name, value)| (name.as_str(), value.as_str()));
        Labels::from_pairs(pairs.chain(own.into_iter().flatten()))
    }
}

// One line of a target and what has been recorded of it.
struct Row {
    labels: Labels,
    grows: bool,
    group: usize,
    job: usize,
    base: f64,
    open: XorAppender,
    open_mint: i64,
    chunks: Vec<Chunk>,
}

impl Row {
    fn new(labels: Labels, grows: bool, group: usize, job: usize) -> Self {
        Self {
            labels,
            grows,
            group,
            job,
            base: 0.0,
            open: XorAppender::new(),
            open_mint: 0,
            chunks: Vec::new(),
        }
    }

    fn append(&mut self, ts: i64, value: f64) -> Result<()> {
        let is_over = self.open.num_samples() >= SAMPLES_PER_CHUNK || self.open_mint / CUT_MS != ts / CUT_MS;
        if is_over && self.open.num_samples() > 0 {
            self.close();
        }
        if self.open.num_samples() == 0 {
            self.open_mint = ts;
        }
        // Without the base the value is a difference with all its digits; what exporters print has nine at most.
        let value = if self.base == 0.0 {
            value
        } else {
            rounded(value - self.base, 9)
        };
        self.open.append(ts, value).context("a sample does not fit a chunk")
    }

    fn close(&mut self) {
        let Some(maxt) = self.open.last_ts() else { return };
        self.chunks.push(Chunk {
            mint: self.open_mint,
            maxt,
            bytes: self.open.bytes().to_vec(),
        });
        self.open.clear();
    }

    // What was recorded so far; what comes belongs to `next`.
    fn end(&mut self, next: Labels) -> Option<Recorded> {
        self.close();
        let labels = std::mem::replace(&mut self.labels, next);
        let chunks = std::mem::take(&mut self.chunks);
        (!chunks.is_empty()).then_some(Recorded { labels, chunks })
    }
}

/// Name and labels as they are once target number `number` was scraped in a cluster.
pub(crate) fn scraped(pairs: &[(String, String)], number: usize) -> Labels {
    Job::of(pairs, number, 15_000).labels(pairs)
}

/// The name and labels of a line in the text format; its values hold no quotes. Memory has one name for each item.
pub(crate) fn pairs(text: &str) -> Vec<(String, String)> {
    let (name, labels) = text.split_once('{').unwrap_or((text, ""));
    let labels = labels.trim_end_matches('}').split_terminator("\",");
    let mut pairs = vec![("__name__".to_owned(), name.to_owned())];
    for label in labels {
        let (name, value) = label.split_once("=\"").unwrap_or((label, ""));
        pairs.push((name.to_owned(), value.trim_end_matches('"').to_owned()));
    }
    if name == "node_memory_bytes"
        && let Some((_, item)) = pairs.pop()
    {
        pairs = vec![("__name__".to_owned(), format!("node_memory_{item}_bytes"))];
    }
    pairs.retain(|(_, value)| !value.is_empty());
    pairs
}

// The labels of the pod that takes the place of another: a name, a uid and containers of its own.
fn successor(labels: &Labels) -> Labels {
    let mut builder = labels.to_builder();
    for (name, value) in labels {
        match name {
            "pod" => builder.set(name, &turned(value, 5)),
            "uid" | "id" | "name" => builder.set(name, &turned(value, 32)),
            _ => &mut builder,
        };
    }
    builder.build()
}

// Replaces the hexadecimal digits at each end of a word of at least `least` such digits.
fn turned(value: &str, least: usize) -> String {
    let mut out = String::with_capacity(value.len());
    for word in value.split_inclusive(|c: char| !c.is_ascii_hexdigit()) {
        let digits = word.trim_end_matches(|c: char| !c.is_ascii_hexdigit());
        if digits.len() < least {
            out.push_str(word);
            continue;
        }
        for (index, digit) in word.chars().enumerate() {
            let turned = digit.to_digit(16).map(|d| (d + 1 + index as u32 % 7) % 16);
            out.push(turned.and_then(|d| char::from_digit(d, 16)).unwrap_or(digit));
        }
    }
    out
}

/// Writes `series` as blocks of at most six hours into the folder `dir`. Returns the number of samples.
pub(crate) fn write_blocks(series: &[Recorded], shape: &Shape, end_ms: i64, dir: &Path) -> Result<u64> {
    let start = end_ms - shape.hours * HOUR_MS;
    let mut samples = 0;
    let mut mint = start;
    while mint < end_ms {
        let maxt = (mint.div_euclid(BLOCK_MS) + 1) * BLOCK_MS;
        let maxt = maxt.min(end_ms);
        let ulid = Ulid::new(maxt as u64 as i64, mint.unsigned_abs().into());
        let mut writer = BlockWriter::create(&RealFs::shared(), dir, BlockSpec::new(ulid, mint, maxt))
            .context("cannot begin a block")?;
        for one in series {
            let inside = one.chunks.iter().filter(|c| (mint..maxt).contains(&c.mint));
            let mut chunks = inside
                .map(|chunk| NewChunk {
                    mint: chunk.mint,
                    maxt: chunk.maxt,
                    encoding: Encoding::Xor,
                    bytes: &chunk.bytes,
                })
                .peekable();
            if chunks.peek().is_some() {
                writer
                    .add_series(&one.labels, chunks)
                    .context("cannot write a series")?;
            }
        }
        samples += writer.finish().context("cannot finish a block")?.stats.num_samples;
        mint = maxt;
    }
    Ok(samples)
}

#[cfg(test)]
mod tests {
    use super::*;

    const END: i64 = 1_764_028_800_000;

    fn small() -> Shape {
        Shape {
            name: "small",
            content: Content::Mix,
            targets: 2,
            series: 300,
            hours: 1,
            step_ms: 15_000,
            replaced: 0.5,
        }
    }

    fn samples(series: &Recorded) -> (Vec<i64>, Vec<f64>) {
        let (mut ts, mut values) = (Vec::new(), Vec::new());
        for chunk in &series.chunks {
            cupola_chunk::decode_into(&chunk.bytes, i64::MIN, i64::MAX, &mut ts, &mut values).unwrap();
        }
        (ts, values)
    }

    #[test]
    fn the_same_shape_gives_the_same_data() {
        let (a, b) = (small().record(END).unwrap(), small().record(END).unwrap());
        assert_eq!(a.len(), b.len());
        assert!(a.windows(2).all(|w| w[0].labels < w[1].labels), "in order, each once");
        for (a, b) in a.iter().zip(&b) {
            assert_eq!((&a.labels, samples(a)), (&b.labels, samples(b)));
        }
    }

    #[test]
    fn no_sample_lies_on_a_whole_second_or_outside() {
        for series in small().record(END).unwrap() {
            let (ts, _) = samples(&series);
            assert!(ts.is_sorted_by(|a, b| a < b));
            for ts in ts {
                assert!((END - 3_600_000..END).contains(&ts) && ts % 1000 != 0, "{ts}");
            }
        }
    }

    #[test]
    fn pods_are_replaced_and_counters_begin_again() {
        let recorded = small().record(END).unwrap();
        let ended = recorded.iter().filter(|s| samples(s).0.len() < 240).count();
        assert!(ended > 0 && ended % 2 == 0, "{ended}");
        let falls = |s: &&Recorded| !samples(s).1.is_sorted();
        let day = Shape { hours: 24, ..small() };
        let recorded = day.record(END).unwrap();
        let counts = recorded
            .iter()
            .filter(|s| s.labels.metric_name() == "http_request_duration_seconds_count");
        assert!(counts.filter(falls).count() > 0);
    }

    #[test]
    fn lines_become_labels() {
        let told = |text: &str| -> String {
            let pairs = pairs(text);
            let pairs: Vec<String> = pairs.iter().map(|(n, v)| format!("{n}={v}")).collect();
            pairs.join(" ")
        };
        assert_eq!(told("node_load1"), "__name__=node_load1");
        assert_eq!(told("a{b=\"c\",d=\"\",e=\"/f:1\"}"), "__name__=a b=c e=/f:1");
        assert_eq!(
            told("node_memory_bytes{item=\"MemFree\"}"),
            "__name__=node_memory_MemFree_bytes"
        );
        assert_eq!(
            turned("shop-worker-0-0123456-00fff", 5),
            "shop-worker-0-1357bd0-137f5"
                .replace("1357bd0", &turned("0123456", 5))
                .replace("137f5", &turned("00fff", 5))
        );
        assert_ne!(turned("00fff", 5), "00fff");
    }

    #[test]
    fn blocks_hold_every_sample() {
        let dir = std::env::temp_dir().join(format!("cupola-bench-blocks-{}", std::process::id()));
        let shape = Shape { hours: 8, ..small() };
        let recorded = shape.record(END).unwrap();
        let expected: usize = recorded.iter().map(|s| samples(s).0.len()).sum();
        let written = write_blocks(&recorded, &shape, END, &dir);
        let folders = std::fs::read_dir(&dir).map(Iterator::count);
        let _ = std::fs::remove_dir_all(&dir);
        assert_eq!((written.unwrap(), folders.unwrap()), (expected as u64, 2));
    }
}
