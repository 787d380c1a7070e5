//! The database on a disk and under a clock of the test, what writes to it, and the model it is compared with.

use std::collections::BTreeSet;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::path::Path;
use std::sync::Arc;

use cupola_block::BlockFormat;
use cupola_env::{Clock, Faults, ManualClock, SimDisk};
use cupola_histogram::{FloatHistogram, Histogram, NativeHistogram, Span};
use cupola_metrics::{Registry, SeriesValue};
use cupola_model::{Labels, METRIC_NAME, MatchOp, Matcher, STALE_NAN, SeriesRef};
use cupola_storage::{
    AppendError, Appendable as _, Appender, CommitError, Exemplar, ExemplarError, Queryable as _, SampleValue,
    Samples as Columns, Selection, SeriesExemplars,
};
use cupola_testkit::Mutator;
use cupola_tsdb::{Options, Tsdb};

use crate::model::{Batch, Content, Deletion, Model, Samples};

pub(crate) const MINUTE: i64 = 60_000;
pub(crate) const HOUR: i64 = 60 * MINUTE;
pub(crate) const DATA: &str = "/data";
const TARGETS: usize = 4;
const METRICS: [&str; 5] = ["requests_total", "temperature", "up", "queue", "latency"];
// Those of METRICS that are native histograms.
const HISTOGRAMS: [&str; 1] = ["latency"];

// An exemplar: its series, its time, and what it is known by.
type Trace = (Labels, i64, u64);
type Traces = Vec<Trace>;

/// What is written.
enum Sent {
    Float(f64),
    Histogram(NativeHistogram),
}

impl Sent {
    // As the model knows it. One marker of staleness is like the other.
    fn bits(&self) -> u64 {
        match self {
            Self::Float(value) => value.to_bits(),
            Self::Histogram(histogram) => hash(&histogram.to_float()),
        }
    }

    fn append(&self, appender: &mut dyn Appender, labels: &Labels, ts: i64) -> Result<SeriesRef, AppendError> {
        let series = match self {
            Self::Float(value) => appender.append(None, labels, ts, *value),
            Self::Histogram(histogram) => appender.append_histogram(None, labels, ts, histogram.clone()),
        }?;
        let start = start_of(labels, ts);
        if start != 0 && self.bits() != STALE_NAN.to_bits() {
            appender.append_start(series, ts, start);
        }
        Ok(series)
    }
}

// Since when a sample counts: of one target nobody knows, of one since its last restart, of one since the sample before it,
// and of one it is known now and then.
fn start_of(labels: &Labels, ts: i64) -> i64 {
    match labels.value("instance") {
        "host1" => ts - ts.rem_euclid(50 * MINUTE),
        "host2" => ts - 1,
        "host3" if ts.div_euclid(20 * MINUTE) % 3 == 0 => ts - ts.rem_euclid(40 * MINUTE),
        _ => 0,
    }
}

// Of all that a histogram says but for resets; buckets without observations do not count, since chunks add them.
fn hash(histogram: &FloatHistogram) -> u64 {
    if histogram.is_stale() {
        return STALE_NAN.to_bits();
    }
    let mut compact = histogram.clone();
    compact.compact(0);
    let mut hasher = DefaultHasher::new();
    compact.schema.hash(&mut hasher);
    let floats = [compact.zero_threshold, compact.zero_count, compact.count, compact.sum];
    let buckets = compact.positive_buckets.iter().chain(&compact.negative_buckets);
    let numbers = floats.iter().chain(buckets).chain(&*compact.custom_values);
    numbers.for_each(|number| number.to_bits().hash(&mut hasher));
    for span in compact.positive_spans.iter().chain(&compact.negative_spans) {
        (span.offset, span.length).hash(&mut hasher);
    }
    hasher.finish()
}

/// Everything but the database itself, so that it can be used from inside of a write.
pub(crate) struct World {
    pub rng: Mutator,
    pub clock: Arc<ManualClock>,
    pub model: Model,
    pub disk: SimDisk,
    // Of each target: which life of it this is, and how many samples it has given.
    targets: [(u64, u64); TARGETS],
    window_ms: i64,
    format: BlockFormat,
    pub commits_failed: u64,
    // Exemplars that may be found, and those that were.
    traces_sent: BTreeSet<Trace>,
    traces_kept: Traces,
}

impl World {
    pub(crate) fn new(seed: u64) -> Self {
        let mut rng = Mutator::new(seed);
        let window_ms = [0, 0, 90 * MINUTE, 5 * HOUR][rng.below(4)];
        Self {
            clock: Arc::new(ManualClock::new(1_700_000_000_000)),
            model: Model::default(),
            disk: SimDisk::new(seed),
            targets: [(0, 0); TARGETS],
            window_ms,
            format: [BlockFormat::Native, BlockFormat::Prometheus][rng.below(2)],
            commits_failed: 0,
            traces_sent: BTreeSet::new(),
            traces_kept: Traces::new(),
            rng,
        }
    }

    pub(crate) fn options(&self) -> Options {
        let mut options = Options::new(Path::new(DATA).to_path_buf());
        options.retention_ms = 30 * HOUR;
        options.max_block_ms = 6 * HOUR;
        options.no_lockfile = true;
        options.out_of_order_window_ms = self.window_ms;
        options.block_format = self.format;
        options.start_timestamps = true;
        options
    }

    pub(crate) fn chance(&mut self, percent: usize) -> bool {
        self.rng.below(100) < percent
    }

    fn labels(target: usize, life: u64, metric: &str) -> Labels {
        Labels::from_pairs([
            ("__name__", metric),
            ("instance", &format!("host{target}")),
            ("pod", &format!("pod-{life}")),
        ])
    }

    fn value(&mut self, count: u64) -> f64 {
        match self.rng.below(12) {
            0 => -0.0,
            1 => f64::from_bits(0x7ff8_0000_0000_0000 | self.rng.next_u64() & 0xffff),
            2 => f64::INFINITY,
            3..6 => count as f64,
            6..9 => self.rng.below(1000) as f64 / 8.0,
            _ => f64::from_bits(self.rng.next_u64() >> 2),
        }
    }

    // Of a counter that is reset now and then, or of another layout or kind than before.
    fn histogram(&mut self, count: u64) -> NativeHistogram {
        let count = count % 50 + 1;
        let wide = self.rng.below(20) as u32;
        let integer = Histogram {
            schema: if self.chance(95) { 3 } else { 1 },
            count: count * 2 + 1,
            zero_count: 1,
            sum: self.rng.below(1000) as f64 / 8.0,
            positive_spans: vec![
                Span { offset: -3, length: 1 },
                Span {
                    offset: 1 + wide as i32,
                    length: 1,
                },
            ],
            positive_buckets: vec![count as i64, 0],
            ..Histogram::default()
        };
        match self.rng.below(20) {
            0 => NativeHistogram::Float(integer.to_float()),
            _ => NativeHistogram::Integer(integer),
        }
    }

    fn sent(&mut self, metric: &str, count: u64) -> Sent {
        match HISTOGRAMS.contains(&metric) {
            true => Sent::Histogram(self.histogram(count)),
            false => Sent::Float(self.value(count)),
        }
    }

    /// What a target sends next.
    fn scrape(&mut self) -> Vec<(Labels, i64, Sent)> {
        let target = self.rng.below(TARGETS);
        // No two batches of one moment: which of two values of one time stays is not promised.
        self.clock.advance(1);
        let now = self.clock.now_ms();
        let (life, count) = self.targets[target];
        self.targets[target].1 += 1;
        let mut out = Vec::new();
        if self.chance(2) {
            // The target is another one from now on.
            self.targets[target].0 += 1;
            out.extend(METRICS.map(|metric| (Self::labels(target, life, metric), now, Sent::Float(STALE_NAN))));
            return out;
        }
        let ts = match self.rng.below(40) {
            // Time stamps of its own, which come late, again, or from another clock.
            0 => now - self.rng.below(3 * HOUR as usize) as i64,
            1 => now - MINUTE,
            2 => now + self.rng.below(HOUR as usize) as i64,
            _ => now,
        };
        for metric in METRICS {
            let value = self.sent(metric, count);
            if self.chance(97) {
                out.push((Self::labels(target, life, metric), ts, value));
            }
        }
        if self.chance(3) {
            // As remote write sends them: several of one series.
            let metric = ["bulk", HISTOGRAMS[0]][self.rng.below(2)];
            let labels = Self::labels(target, life, metric);
            for n in 1..self.rng.below(20) as i64 {
                let value = self.sent(metric, count + n.unsigned_abs());
                out.push((labels.clone(), ts + n * 1000, value));
            }
        }
        if self.chance(1)
            && let Some((labels, samples)) = self.model.now.iter().nth(target)
            && let Some((ts, bits)) = samples.last_key_value()
            && !HISTOGRAMS.contains(&labels.get(METRIC_NAME).unwrap_or_default())
        {
            out.push((labels.clone(), *ts, Sent::Float(f64::from_bits(*bits))));
        }
        out
    }

    /// Writes a batch; between its last sample and the commit `meanwhile` is called, without the world.
    pub(crate) fn write(
        shared: &parking_lot::Mutex<Self>,
        tsdb: &Tsdb,
        meanwhile: &mut dyn FnMut(),
    ) -> Result<(), String> {
        let mut world = shared.lock();
        let scraped = world.scrape();
        let mut appender = tsdb.appender();
        let (mut taken, mut traced): (Batch, Traces) = Default::default();
        for (labels, ts, value) in scraped {
            let newest = world.model.newest_of(&labels);
            let appended = value.append(&mut *appender, &labels, ts);
            let is_known = world.model.knows(&labels, ts) || taken.iter().any(|(l, t, _)| *l == labels && *t == ts);
            match appended {
                // One of that time stays as it is.
                Ok(_) if is_known => {}
                Ok(series) => {
                    if world.chance(10) {
                        let trace = (labels.clone(), ts, world.rng.next_u64() >> 12);
                        traced.extend(append_exemplar(&mut *appender, series, &trace).is_ok().then_some(trace));
                    }
                    taken.push((labels, ts, value.bits()));
                }
                Err(error) => world.may_be_refused(tsdb, &labels, ts, newest, &error)?,
            }
        }
        if world.chance(3) {
            return Ok(());
        }
        drop(world);
        meanwhile();
        let mut world = shared.lock();
        world.traces_sent.extend(traced.iter().cloned());
        match appender.commit() {
            Ok(()) => {
                world.model.acknowledge(taken);
                if !traced.is_empty() {
                    // One that another batch has overtaken is not kept.
                    let kept = read_exemplars(tsdb)?;
                    world
                        .traces_kept
                        .extend(traced.into_iter().filter(|trace| kept.contains(trace)));
                }
            }
            Err(_) if world.disk.is_dead() => world.model.in_flight = Some(taken),
            Err(CommitError::Log(_)) if world.disk.faults() != Faults::default() => {
                world.commits_failed += 1;
                world.traces_sent.retain(|trace| !traced.contains(trace));
            }
            Err(error) => return Err(format!("a batch is refused: {error}")),
        }
        Ok(())
    }

    /// Writes a batch while the log is read, and asks what can be known by then: nothing that was never acknowledged.
    pub(crate) fn write_during_replay(&mut self, tsdb: &Tsdb) -> Result<(), String> {
        let scraped = self.scrape();
        let mut appender = tsdb.appender();
        let mut taken: Batch = Vec::new();
        for (labels, ts, value) in scraped {
            let is_known = self.model.knows(&labels, ts) || taken.iter().any(|(l, t, _)| *l == labels && *t == ts);
            if !is_known && value.append(&mut *appender, &labels, ts).is_ok() {
                taken.push((labels, ts, value.bits()));
            }
        }
        match appender.commit() {
            Ok(()) => self.model.during.push(taken),
            Err(CommitError::Log(_)) if self.disk.faults() != Faults::default() => return Ok(()),
            Err(error) => return Err(format!("a batch is refused while the log is read: {error}")),
        }
        let found = read(tsdb, &[], i64::MIN, i64::MAX)?;
        for (labels, samples) in &found {
            if let Some(ts) = samples.keys().find(|ts| !self.model.knows(labels, **ts)) {
                return Err(format!(
                    "{labels} at {ts} is read during the replay and was never acknowledged"
                ));
            }
        }
        Ok(())
    }

    // Whether there is a reason for what was refused.
    fn may_be_refused(
        &self,
        tsdb: &Tsdb,
        labels: &Labels,
        ts: i64,
        newest: Option<(i64, u64)>,
        error: &AppendError,
    ) -> Result<(), String> {
        let written = tsdb.blocks().iter().map(|b| b.maxt).max().unwrap_or(i64::MIN);
        let maxt = tsdb.head_stats().maxt;
        let may = match error {
            AppendError::OutOfOrder => newest.is_some_and(|(newest, _)| ts < newest) && self.window_ms == 0,
            AppendError::Duplicate => newest.is_some_and(|(newest, _)| ts <= newest),
            AppendError::OutOfBounds => (ts < maxt - HOUR || ts < written) && self.window_ms == 0,
            AppendError::TooOld => self.window_ms > 0 && ts < maxt - self.window_ms,
            _ => false,
        };
        // What was deleted of a series says nothing of what the head still knows of it.
        let is_deleted = self.model.maybe.contains_key(labels);
        if may || is_deleted {
            Ok(())
        } else {
            Err(format!(
                "{labels} at {ts} is refused ({error}), the newest is {newest:?}"
            ))
        }
    }

    /// Asks the database something and compares.
    pub(crate) fn query(&mut self, tsdb: &Tsdb) -> Result<(), String> {
        let now = self.clock.now_ms();
        let equal = |name: &str, value: &str| Matcher::equal(name, value);
        let regex = |name: &str, op, value: &str| Matcher::new(name, op, value).map_err(|e| e.to_string());
        let matchers = match self.rng.below(6) {
            0 => vec![],
            1 => vec![equal("__name__", METRICS[self.rng.below(METRICS.len())])],
            2 => vec![regex("instance", MatchOp::Regex, "host[12]")?],
            3 => vec![equal("instance", "host3"), regex("pod", MatchOp::NotRegex, "pod-.*0")?],
            4 => vec![equal("pod", &format!("pod-{}", self.rng.below(4)))],
            _ => vec![equal("__name__", "up"), equal("absent", "")],
        };
        let mint = match self.rng.below(3) {
            0 => i64::MIN,
            _ => now - self.rng.below(40 * HOUR as usize) as i64,
        };
        let maxt = match self.rng.below(3) {
            0 => i64::MAX,
            _ => mint.max(now - 40 * HOUR) + self.rng.below(20 * HOUR as usize) as i64,
        };
        let found = match read(tsdb, &matchers, mint, maxt) {
            Ok(found) => found,
            Err(_) if self.disk.faults().unreadable.is_some() || self.disk.is_dead() => return Ok(()),
            Err(error) => return Err(format!("a query fails: {error}")),
        };
        match self.model.difference(&found, &matchers, mint, maxt) {
            Some(difference) => Err(format!("query {matchers:?} {mint}..={maxt}: {difference}")),
            None => Ok(()),
        }
    }

    /// Compares the exemplars there are after a restart with those there were; `found` is what there is of samples. Where a
    /// batch's sample is there, its exemplar must be, but for series of which the head may have kept nothing.
    pub(crate) fn check_exemplars(&mut self, tsdb: &Tsdb, found: &Content) -> Result<(), String> {
        let there = read_exemplars(tsdb)?;
        if let Some(trace) = there.difference(&self.traces_sent).next() {
            return Err(format!("exemplar {trace:?} was never acknowledged"));
        }
        let written = tsdb.blocks().iter().map(|b| b.maxt).max().unwrap_or(i64::MIN);
        for trace in &self.traces_kept {
            let (labels, ts, _) = trace;
            let has_sample = found.get(labels).is_some_and(|samples| samples.contains_key(ts));
            let is_in_head = *ts >= written && has_sample && !self.model.maybe.contains_key(labels);
            if is_in_head && !there.contains(trace) {
                return Err(format!("exemplar {trace:?} is lost"));
            }
        }
        self.traces_kept.retain(|trace| there.contains(trace));
        Ok(())
    }

    /// What is past the retention may go in the next maintenance.
    pub(crate) fn expire(&mut self, tsdb: &Tsdb) {
        self.model.expire(newest(tsdb) - self.options().retention_ms);
    }

    /// What somebody wants deleted.
    pub(crate) fn deletion(&mut self) -> Deletion {
        if let Some(again) = &self.model.deletion {
            return again.clone();
        }
        let now = self.clock.now_ms();
        let mint = now - self.rng.below(30 * HOUR as usize) as i64;
        let metric = METRICS[self.rng.below(METRICS.len())];
        let mut matchers = vec![Matcher::equal("__name__", metric)];
        if self.chance(50) {
            matchers.push(Matcher::equal("instance", format!("host{}", self.rng.below(TARGETS))));
        }
        let maxt = mint + self.rng.below(10 * HOUR as usize) as i64;
        Deletion { matchers, mint, maxt }
    }
}

fn append_exemplar(appender: &mut dyn Appender, series: SeriesRef, (_, ts, id): &Trace) -> Result<(), ExemplarError> {
    let exemplar = Exemplar {
        labels: Labels::from_pairs([("trace_id", id.to_string())]),
        value: 1.0,
        ts: *ts,
    };
    appender.append_exemplar(series, exemplar)
}

fn read_exemplars(tsdb: &Tsdb) -> Result<BTreeSet<Trace>, String> {
    let found = tsdb
        .exemplars(&[Vec::new()], i64::MIN, i64::MAX)
        .map_err(|error| format!("exemplars cannot be read: {error}"))?;
    let mut all = BTreeSet::new();
    for SeriesExemplars { labels, exemplars } in found {
        for exemplar in exemplars {
            let id = exemplar.labels.value("trace_id").parse();
            let id = id.map_err(|_| format!("{labels}: an exemplar nobody sent: {exemplar:?}"))?;
            all.insert((labels.clone(), exemplar.ts, id));
        }
    }
    Ok(all)
}

/// The newest time the database knows.
pub(crate) fn newest(tsdb: &Tsdb) -> i64 {
    let blocks = tsdb.blocks().iter().map(|block| block.maxt).max();
    tsdb.head_stats().maxt.max(blocks.unwrap_or(0))
}

/// What a selection holds.
pub(crate) fn read(tsdb: &Tsdb, matchers: &[Matcher], mint: i64, maxt: i64) -> Result<Content, String> {
    let mut out = Content::new();
    if mint > maxt {
        return Ok(out);
    }
    let selection = Selection { matchers, mint, maxt };
    for series in tsdb.select(&selection).map_err(|e| e.to_string())? {
        let mut columns = Columns::default();
        series
            .source
            .read(mint, maxt, &mut columns)
            .map_err(|e| e.to_string())?;
        let is_sorted = |times: &[i64]| times.is_sorted_by(|a, b| a < b);
        if !is_sorted(&columns.ts) || !is_sorted(&columns.histograms.ts) {
            return Err(format!("{}: times do not ascend", series.labels));
        }
        if columns.is_empty() {
            continue;
        }
        let count = columns.count();
        for (ts, value, start) in columns.iter() {
            let is_stale = match value {
                SampleValue::Float(value) => value.to_bits() == STALE_NAN.to_bits(),
                SampleValue::Histogram(histogram) => histogram.is_stale(),
            };
            let expected = start_of(&series.labels, ts);
            if !is_stale && start != expected {
                return Err(format!(
                    "{} at {ts}: counts since {start}, not {expected}",
                    series.labels
                ));
            }
        }
        let samples = columns.iter().map(|(ts, value, _)| match value {
            SampleValue::Float(value) => (ts, value.to_bits()),
            SampleValue::Histogram(histogram) => (ts, hash(&histogram)),
        });
        let samples: Samples = samples.collect();
        if samples.len() != count {
            return Err(format!("{}: a float and a histogram of one time", series.labels));
        }
        if out.insert(series.labels.clone(), samples).is_some() {
            return Err(format!("{} comes twice", series.labels));
        }
    }
    Ok(out)
}

/// The value of a metric, all its series together.
pub(crate) fn metric(registry: &Registry, name: &str) -> f64 {
    let families = registry.snapshot();
    let series = families.iter().filter(|family| family.name == name);
    let values = series.flat_map(|family| &family.series).map(|(_, value)| match value {
        SeriesValue::Number(value) | SeriesValue::Counted { value, .. } => *value,
        SeriesValue::Histogram { .. } | SeriesValue::Summary(_) => 0.0,
    });
    values.sum()
}
