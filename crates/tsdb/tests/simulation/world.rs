//! The database on a disk and under a clock of the test, what writes to it, and the model it is compared with.

use std::path::Path;
use std::sync::Arc;

use cupola_block::BlockFormat;
use cupola_env::{Clock, Faults, ManualClock, SimDisk};
use cupola_metrics::{Registry, SeriesValue};
use cupola_model::{Labels, MatchOp, Matcher, STALE_NAN};
use cupola_storage::{AppendError, Appendable as _, CommitError, Queryable as _, Samples as Columns, Selection};
use cupola_testkit::Mutator;
use cupola_tsdb::{Options, Tsdb};

use crate::model::{Batch, Content, Deletion, Model};

pub(crate) const MINUTE: i64 = 60_000;
pub(crate) const HOUR: i64 = 60 * MINUTE;
pub(crate) const DATA: &str = "/data";
const TARGETS: usize = 4;
const METRICS: [&str; 4] = ["requests_total", "temperature", "up", "queue"];

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

    /// What a target sends next.
    fn scrape(&mut self) -> Vec<(Labels, i64, f64)> {
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
            out.extend(METRICS.map(|metric| (Self::labels(target, life, metric), now, STALE_NAN)));
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
            let value = self.value(count);
            if self.chance(97) {
                out.push((Self::labels(target, life, metric), ts, value));
            }
        }
        if self.chance(3) {
            // As remote write sends them: several of one series.
            let labels = Self::labels(target, life, "bulk");
            for n in 0..self.rng.below(20) as i64 {
                let value = self.value(count);
                out.push((labels.clone(), ts + n * 1000, value));
            }
        }
        if self.chance(1)
            && let Some((labels, samples)) = self.model.now.iter().nth(target)
            && let Some((ts, bits)) = samples.last_key_value()
        {
            out.push((labels.clone(), *ts, f64::from_bits(*bits)));
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
        let mut taken: Batch = Vec::new();
        for (labels, ts, value) in scraped {
            let newest = world.model.newest_of(&labels);
            let appended = appender.append(None, &labels, ts, value);
            let is_known = world.model.knows(&labels, ts) || taken.iter().any(|(l, t, _)| *l == labels && *t == ts);
            match appended {
                // One of that time stays as it is.
                Ok(_) if is_known => {}
                Ok(_) => taken.push((labels, ts, value.to_bits())),
                Err(error) => world.may_be_refused(tsdb, &labels, ts, newest, &error)?,
            }
        }
        if world.chance(3) {
            return Ok(());
        }
        drop(world);
        meanwhile();
        let mut world = shared.lock();
        match appender.commit() {
            Ok(()) => world.model.acknowledge(taken),
            Err(_) if world.disk.is_dead() => world.model.in_flight = Some(taken),
            Err(CommitError::Log(_)) if world.disk.faults() != Faults::default() => world.commits_failed += 1,
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
            if !is_known && appender.append(None, &labels, ts, value).is_ok() {
                taken.push((labels, ts, value.to_bits()));
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
        if !columns.ts.is_sorted_by(|a, b| a < b) {
            return Err(format!("{}: times do not ascend", series.labels));
        }
        if columns.is_empty() {
            continue;
        }
        let samples = columns
            .ts
            .iter()
            .copied()
            .zip(columns.values.iter().map(|v| v.to_bits()));
        if out.insert(series.labels.clone(), samples.collect()).is_some() {
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
        SeriesValue::Number(value) => *value,
        SeriesValue::Histogram { .. } | SeriesValue::Summary(_) => 0.0,
    });
    values.sum()
}
