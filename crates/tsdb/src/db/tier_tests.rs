//! Tiers and retention by rule, compared with what was written.

use std::fs;

use cupola_block::{BlockSpec, BlockWriter, NewChunk};
use cupola_chunk::{Appended, Encoding, HistogramAppender};
use cupola_env::{FaultyFs, ManualClock, RealFs};
use cupola_histogram::FloatHistogram;
use cupola_model::{MatchOp, Matcher, STALE_NAN};
use cupola_storage::{AGGREGATE_LABEL, Aggregate, Samples};
use tempfile::TempDir;

use super::*;
use crate::options::{RetentionRule, TierOptions};

const MINUTE: i64 = 60_000;
const HOUR: i64 = 60 * MINUTE;
const DAY: i64 = 24 * HOUR;

const FINE: TierOptions = TierOptions {
    resolution_ms: 5 * MINUTE,
    retention_ms: 0,
};
const COARSE: TierOptions = TierOptions {
    resolution_ms: HOUR,
    retention_ms: 0,
};

type Model = BTreeMap<Labels, BTreeMap<i64, f64>>;

struct Opened {
    tsdb: Tsdb,
    clock: Arc<ManualClock>,
}

fn open(dir: &Path, change: impl FnOnce(&mut Options)) -> Opened {
    open_with(dir, Arc::new(RealFs), change)
}

fn open_with(dir: &Path, vfs: Arc<dyn Vfs>, change: impl FnOnce(&mut Options)) -> Opened {
    let mut options = Options::new(dir.to_path_buf());
    options.tiers = vec![COARSE, FINE];
    change(&mut options);
    let clock = Arc::new(ManualClock::new(0));
    let tsdb = Tsdb::open(options, clock.clone(), vfs, &Registry::default()).unwrap();
    Opened { tsdb, clock }
}

fn name(text: &str) -> Labels {
    Labels::from_pairs([("__name__", text)])
}

fn random(seed: &mut u64, below: u64) -> u64 {
    *seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
    (*seed >> 33) % below
}

impl Opened {
    // A counter with resets, a gauge, and a series that comes and goes, once a minute; with maintenance once an hour.
    fn fill(&self, model: &mut Model, hours: std::ops::Range<i64>) {
        let mut seed = 7 + hours.start.unsigned_abs();
        let mut counter = 0.0;
        for hour in hours {
            for minute in 0..60 {
                // Not on the edge of a window.
                let ts = hour * HOUR + minute * MINUTE + 7_000;
                counter = if random(&mut seed, 100) == 0 {
                    0.0
                } else {
                    counter + random(&mut seed, 9) as f64
                };
                let gauge = random(&mut seed, 1000) as f64 - 500.0;
                let mut all = vec![("c_total", counter), ("gauge", gauge)];
                // A label before ours in the order of labels.
                match (hour % 5, minute) {
                    (0..=2, _) => all.push(("Z", 1.0)),
                    (3, 0) => all.push(("Z", STALE_NAN)),
                    _ => {}
                }
                let mut appender = self.tsdb.appender();
                for (text, value) in all {
                    let labels = match text {
                        "Z" => Labels::from_pairs([("Z", "1")]),
                        text => name(text),
                    };
                    appender.append(None, &labels, ts, value).unwrap();
                    model.entry(labels).or_default().insert(ts, value);
                }
                appender.commit().unwrap();
            }
            self.maintain_at((hour + 1) * HOUR);
        }
    }

    fn maintain_at(&self, now: i64) {
        self.clock.set(now);
        self.tsdb.maintain();
    }

    fn coarse(&self, aggregate: Aggregate, resolution_ms: i64, mint: i64, maxt: i64) -> Model {
        let selection = Selection {
            matchers: &[],
            mint,
            maxt,
        };
        let coarse = Coarse {
            aggregate,
            resolution_ms,
        };
        read(
            self.tsdb.select_coarse(&selection, &coarse, &|| true).unwrap(),
            mint,
            maxt,
        )
    }

    fn samples(&self) -> Model {
        let all = Selection {
            matchers: &[],
            mint: i64::MIN,
            maxt: i64::MAX,
        };
        read(self.tsdb.select(&all).unwrap(), i64::MIN, i64::MAX)
    }

    // The ranges of the blocks of each tier, in hours.
    fn tiers(&self) -> Vec<Vec<(i64, i64)>> {
        let range = |block: &Arc<Block>| (block.meta().min_time / HOUR, block.meta().max_time / HOUR);
        let tiers = self.tsdb.inner.tiers.iter();
        tiers
            .map(|tier| tier.blocks.load().iter().map(range).collect())
            .collect()
    }
}

fn read(series: Vec<Series>, mint: i64, maxt: i64) -> Model {
    let mut out = Model::new();
    for series in series {
        let mut samples = Samples::default();
        series.source.read(mint, maxt, &mut samples).unwrap();
        assert!(samples.ts.is_sorted_by(|a, b| a < b), "{}", series.labels);
        if !samples.is_empty() {
            out.insert(series.labels, samples.ts.into_iter().zip(samples.values).collect());
        }
    }
    out
}

// What a tier has of the samples before `end`, of a series by its definition.
fn thinned(samples: &BTreeMap<i64, f64>, resolution_ms: i64, end: i64, of: fn(&[f64]) -> f64) -> BTreeMap<i64, f64> {
    let mut windows: BTreeMap<i64, (i64, Vec<f64>)> = BTreeMap::new();
    for (ts, value) in samples
        .range(..end)
        .filter(|(_, value)| !cupola_model::is_stale_nan(**value))
    {
        let window = windows.entry(ts.div_euclid(resolution_ms)).or_default();
        window.0 = *ts;
        window.1.push(*value);
    }
    windows.into_values().map(|(ts, values)| (ts, of(&values))).collect()
}

#[test]
fn what_a_tier_says_of_a_window_is_true() {
    let dir = TempDir::new().unwrap();
    let opened = open(dir.path(), |_| {});
    let mut model = Model::new();
    opened.fill(&mut model, 0..60);
    // Blocks up to here: the fine tier in twos of hours and merged, the coarse one in days.
    let end = 58 * HOUR;
    assert_eq!(opened.tiers()[1], [(0, 24), (24, 48)]);
    let fine = &opened.tiers()[0];
    assert_eq!((fine[0].0, fine[fine.len() - 1].1), (0, 58));
    assert!(fine.windows(2).all(|pair| pair[0].1 == pair[1].0), "{fine:?}");
    assert!(fine.len() < 10, "{fine:?}");
    for (resolution_ms, end) in [(5 * MINUTE, end), (HOUR, 48 * HOUR)] {
        for (aggregate, of) in [
            (
                Aggregate::Min,
                (|v| v.iter().copied().fold(f64::MAX, f64::min)) as fn(&[f64]) -> f64,
            ),
            (Aggregate::Max, |v| v.iter().copied().fold(f64::MIN, f64::max)),
            (Aggregate::Sum, |v| v.iter().sum()),
            (Aggregate::Count, |v| v.len() as f64),
        ] {
            let got = opened.coarse(aggregate, resolution_ms, 0, end - 1);
            for (labels, samples) in &model {
                let expected = thinned(samples, resolution_ms, end, of);
                assert_eq!(got.get(labels), Some(&expected), "{labels} {aggregate:?}");
            }
        }
        let last = opened.coarse(Aggregate::Last, resolution_ms, 0, end - 1);
        for (labels, samples) in &model {
            let got = &last[labels];
            let is_true = |(ts, value): (&i64, &f64)| samples.get(ts).map(|v| v.to_bits()) == Some(value.to_bits());
            assert!(got.iter().all(is_true), "{labels}");
            assert!(
                got.len() * 3 < samples.len(),
                "{labels}: {} of {}",
                got.len(),
                samples.len()
            );
            let lasts = thinned(samples, resolution_ms, end, |v| v[v.len() - 1]);
            assert!(lasts.iter().all(|(ts, value)| got.get(ts) == Some(value)), "{labels}");
        }
        // What a counter counted is the same, whichever samples are looked at.
        let counted = |samples: Vec<f64>| -> f64 {
            samples
                .windows(2)
                .map(|v| if v[1] < v[0] { v[1] } else { v[1] - v[0] })
                .sum()
        };
        let raw = model[&name("c_total")].range(..end).map(|(_, v)| *v).collect();
        let kept = last[&name("c_total")].values().copied().collect();
        assert_eq!(counted(kept), counted(raw));
        // The marker that ended the series is there.
        let markers = |samples: &BTreeMap<i64, f64>| samples.range(..end).filter(|(_, v)| v.is_nan()).count();
        let comes_and_goes = Labels::from_pairs([("Z", "1")]);
        assert_eq!(markers(&last[&comes_and_goes]), markers(&model[&comes_and_goes]));
    }
    // Newer than the tier: the samples themselves.
    let newest = opened.coarse(Aggregate::Min, HOUR, 58 * HOUR, i64::MAX);
    assert!(
        model[&name("gauge")]
            .range(58 * HOUR..)
            .eq(newest[&name("gauge")].iter())
    );
    assert_eq!(opened.samples()[&name("gauge")], model[&name("gauge")]);
}

fn copy_dir(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        if entry.file_type().unwrap().is_dir() {
            copy_dir(&entry.path(), &to.join(entry.file_name()));
        } else {
            fs::copy(entry.path(), to.join(entry.file_name())).unwrap();
        }
    }
}

#[test]
fn after_a_crash_no_window_is_missing_and_none_is_there_twice() {
    let dir = TempDir::new().unwrap();
    let mut model = Model::new();
    let unmerged = |options: &mut Options| options.max_block_ms = options.block_ms;
    let counts = |opened: &Opened| opened.coarse(Aggregate::Count, HOUR, 0, 24 * HOUR - 1);
    let before = {
        let opened = open(dir.path(), unmerged);
        opened.fill(&mut model, 0..30);
        counts(&opened)
    };
    let total = |counts: &Model| counts[&name("gauge")].values().sum::<f64>();
    assert_eq!(total(&before), 24.0 * 60.0);
    let tier = dir.path().join(tiers::DIR_NAME).join("5m");
    let blocks: Vec<PathBuf> = fs::read_dir(&tier)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    assert!(blocks.len() > 3);
    // Whichever block was being written: its folder is unfinished, or not begun.
    for lost in &blocks {
        for is_begun in [false, true] {
            let copy = TempDir::new().unwrap();
            copy_dir(dir.path(), copy.path());
            let lost = copy.path().join(lost.strip_prefix(dir.path()).unwrap());
            if is_begun {
                fs::remove_file(lost.join("meta.json")).unwrap();
                fs::rename(&lost, lost.with_extension("tmp-for-creation")).unwrap();
            } else {
                fs::remove_dir_all(&lost).unwrap();
            }
            let opened = open(copy.path(), unmerged);
            opened.maintain_at(30 * HOUR);
            assert_eq!(counts(&opened), before);
            let fine = opened.coarse(Aggregate::Count, 5 * MINUTE, 0, 26 * HOUR - 1);
            assert_eq!(total(&fine), 26.0 * 60.0);
            let folders = fs::read_dir(lost.parent().unwrap()).unwrap().count();
            assert_eq!(folders, opened.tiers()[0].len());
        }
    }
}

#[test]
fn a_full_disk_while_tiers_are_made_loses_no_window() {
    let dir = TempDir::new().unwrap();
    let mut model = Model::new();
    {
        let opened = open(dir.path(), |options| options.tiers.clear());
        opened.fill(&mut model, 0..30);
    }
    let counts = |opened: &Opened| {
        let of = |counts: Model| counts[&name("gauge")].values().sum::<f64>();
        let fine = of(opened.coarse(Aggregate::Count, 5 * MINUTE, 0, 24 * HOUR - 1));
        (fine, of(opened.coarse(Aggregate::Count, HOUR, 0, 24 * HOUR - 1)))
    };
    let all = (24.0 * 60.0, 24.0 * 60.0);
    let mut failures = 0;
    for budget in (0..60_000).step_by(2_003) {
        let copy = TempDir::new().unwrap();
        copy_dir(dir.path(), copy.path());
        let disk = FaultyFs::default();
        let opened = open_with(copy.path(), Arc::new(disk.clone()), |_| {});
        disk.set_budget(Some(budget));
        opened.maintain_at(30 * HOUR);
        // Samples answer where the tier is missing.
        assert_eq!(counts(&opened), all);
        let is_whole = opened.tiers().iter().all(|blocks| !blocks.is_empty());
        failures += usize::from(!is_whole);
        if budget % 2 == 0 {
            // There is room again.
            disk.set_budget(None);
            opened.maintain_at(31 * HOUR);
            assert!(opened.tiers().iter().all(|blocks| !blocks.is_empty()));
        }
        drop(opened);
        let opened = open(copy.path(), |_| {});
        opened.maintain_at(31 * HOUR);
        assert!(opened.tiers().iter().all(|blocks| !blocks.is_empty()));
        assert_eq!(counts(&opened), all);
        let fine = opened.tsdb.inner.tiers[0].blocks.load().len();
        assert_eq!(
            fs::read_dir(copy.path().join(tiers::DIR_NAME).join("5m"))
                .unwrap()
                .count(),
            fine
        );
    }
    assert!(failures > 5, "{failures}");
}

#[test]
fn tiers_go_on_when_the_samples_are_gone() {
    let dir = TempDir::new().unwrap();
    let change = |options: &mut Options| {
        options.retention_ms = 12 * HOUR;
        options.tiers[1].retention_ms = 2 * DAY;
    };
    let opened = open(dir.path(), change);
    let mut model = Model::new();
    opened.fill(&mut model, 0..80);
    let oldest = opened.tsdb.blocks().iter().map(|block| block.mint).min().unwrap();
    assert!(oldest >= 60 * HOUR, "{}", oldest / HOUR);
    let tiers = opened.tiers();
    // The fine one is past its own retention, the coarse one was made before the samples went.
    assert!(tiers[0][0].0 >= 24, "{tiers:?}");
    assert_eq!(tiers[1][0].0, 0);
    assert!(tiers[1][tiers[1].len() - 1].1 * HOUR >= oldest, "{tiers:?}");
    // Asked for samples, the finest that is there answers for the times before.
    let coarse = Coarse {
        aggregate: Aggregate::Sum,
        resolution_ms: 0,
    };
    let used = opened.tsdb.tiers(0, 80 * HOUR, &coarse).unwrap();
    assert_eq!((used.resolution_ms, used.until, used.reach_ms), (HOUR, oldest, HOUR));
    assert_eq!(opened.tsdb.tiers(oldest, 80 * HOUR, &coarse), None);
    let begin = tiers[0][0].0 * HOUR;
    assert_eq!(
        opened.tsdb.tiers(begin, 80 * HOUR, &coarse).unwrap().resolution_ms,
        5 * MINUTE
    );
    let got = opened.coarse(Aggregate::Sum, 0, 0, 80 * HOUR);
    let gauge = &model[&name("gauge")];
    let sum = |v: &[f64]| v.iter().sum();
    let mut expected = thinned(gauge, HOUR, begin, sum);
    expected.extend(thinned(gauge, 5 * MINUTE, oldest, sum).range(begin..));
    expected.extend(gauge.range(oldest..));
    assert_eq!(got[&name("gauge")], expected);
    // Series that only tiers know of have their labels, without ours.
    let old = Selection {
        matchers: &[],
        mint: 0,
        maxt: 10 * HOUR,
    };
    let all: Vec<Labels> = model.keys().cloned().collect();
    assert_eq!(opened.tsdb.series(&old).unwrap(), all);
    assert_eq!(opened.tsdb.label_names(&old).unwrap(), ["Z", "__name__"]);
    assert_eq!(opened.tsdb.label_values(AGGREGATE_LABEL, &old).unwrap(), [""; 0]);
    assert_eq!(
        opened.tsdb.label_values("__name__", &old).unwrap(),
        ["c_total", "gauge"]
    );
    // Without samples at all.
    drop(opened);
    for entry in fs::read_dir(dir.path()).unwrap() {
        let path = entry.unwrap().path();
        if !path.ends_with(tiers::DIR_NAME) && path.is_dir() {
            fs::remove_dir_all(path).unwrap();
        }
    }
    let opened = open(dir.path(), change);
    let got = opened.coarse(Aggregate::Sum, 0, 0, begin - 1);
    assert_eq!(got[&name("gauge")], thinned(gauge, HOUR, begin, sum));
}

#[test]
fn native_histograms_have_their_last_ones_in_a_tier() {
    let dir = TempDir::new().unwrap();
    let vfs = RealFs::shared();
    let mut times = Vec::new();
    {
        let mut appender = HistogramAppender::new();
        let mut chunks = Vec::new();
        let mut begin = 0;
        for minute in 0..120_i64 {
            let count = if minute < 43 { minute } else { minute - 43 } as f64;
            let histogram = FloatHistogram {
                count,
                sum: count,
                zero_count: count,
                ..FloatHistogram::default()
            };
            let ts = minute * MINUTE + 7_000;
            if let Appended::Cut(header) = appender.append(ts, &histogram).unwrap() {
                chunks.push((begin, ts - MINUTE, appender.cut(header)));
                begin = ts;
                appender.append(ts, &histogram).unwrap();
            }
            // The first of all, the last of each window, and both sides of the reset.
            if minute == 0 || minute % 5 == 4 || minute == 42 || minute == 43 {
                times.push(ts);
            }
        }
        chunks.push((begin, 119 * MINUTE + 7_000, appender.into_bytes()));
        let spec = BlockSpec::new(Ulid::new(5, 5), 0, 2 * HOUR);
        let mut writer = BlockWriter::create(&vfs, dir.path(), spec).unwrap();
        let new = chunks.iter().map(|(mint, maxt, bytes)| NewChunk {
            mint: *mint,
            maxt: *maxt,
            encoding: Encoding::FloatHistogram,
            bytes,
        });
        writer.add_series(&name("h"), new).unwrap();
        writer.finish().unwrap();
    }
    let opened = open(dir.path(), |_| {});
    opened.maintain_at(3 * HOUR);
    assert_eq!(opened.tiers()[0], [(0, 2)]);
    let select = |aggregate| {
        let selection = Selection {
            matchers: &[],
            mint: 0,
            maxt: 2 * HOUR,
        };
        let coarse = Coarse {
            aggregate,
            resolution_ms: HOUR,
        };
        let mut samples = Samples::default();
        for series in opened.tsdb.select_coarse(&selection, &coarse, &|| true).unwrap() {
            assert_eq!(series.labels, name("h"));
            series.source.read(0, 2 * HOUR, &mut samples).unwrap();
        }
        samples
    };
    assert_eq!(select(Aggregate::Last).histograms.ts, times);
    // The others are not in the tier: the samples answer.
    assert_eq!(select(Aggregate::Sum).histograms.len(), 120);
    assert_eq!(select(Aggregate::Count).values, [1.0; 120]);
}

fn rule(text: &str, retention_ms: i64) -> RetentionRule {
    RetentionRule {
        matchers: vec![Matcher::new("__name__", MatchOp::Equal, text).unwrap()],
        retention_ms,
    }
}

// The hour of the oldest sample of each series.
fn oldest(samples: &Model, text: &str) -> i64 {
    samples
        .get(&name(text))
        .and_then(|s| s.keys().next())
        .map_or(-1, |ts| ts / HOUR)
}

#[test]
fn rules_keep_series_shorter_and_longer() {
    let dir = TempDir::new().unwrap();
    let change = |options: &mut Options| {
        options.retention_ms = 30 * HOUR;
        options.max_block_ms = 2 * HOUR;
        options.retention_rules = vec![rule("gauge", 10 * HOUR), rule("c_total", 50 * HOUR), rule("gauge", 0)];
    };
    let opened = open(dir.path(), change);
    let mut model = Model::new();
    opened.fill(&mut model, 0..80);
    let end = 80;
    let samples = opened.samples();
    // A block goes when it is past a limit as a whole.
    let check = |text: &str, hours: i64| {
        let first = oldest(&samples, text);
        assert!((end - hours - 2..=end - hours).contains(&first), "{text}: {first}");
        let labels = name(text);
        let expected = model[&labels].range(first * HOUR..);
        assert!(samples[&labels].iter().eq(expected), "{text}");
    };
    check("gauge", 10);
    check("c_total", 50);
    let other = Labels::from_pairs([("Z", "1")]);
    assert!(samples[&other].keys().next().is_some_and(|ts| *ts >= (end - 32) * HOUR));
    // Nothing is left to do, and nothing is done.
    let names = |opened: &Opened| opened.tsdb.blocks().into_iter().map(|b| b.ulid).collect::<Vec<_>>();
    let before = names(&opened);
    opened.tsdb.maintain();
    assert_eq!(names(&opened), before);
    // Tiers lose what a rule ends, not what the retention ends.
    let tier = opened.coarse(Aggregate::Min, HOUR, 0, 40 * HOUR);
    assert_eq!((oldest(&tier, "gauge"), oldest(&tier, "c_total")), (-1, 0));
    assert!(tier.contains_key(&other));
    // Samples that a rule keeps are preferred where the tier would stand for those that are gone.
    let kept = opened.coarse(Aggregate::Sum, 0, 35 * HOUR, 38 * HOUR - 1);
    let c_total = &model[&name("c_total")];
    assert!(c_total.range(35 * HOUR..38 * HOUR).eq(kept[&name("c_total")].iter()));
    drop(opened);
    let opened = open(dir.path(), change);
    opened.maintain_at(80 * HOUR);
    assert_eq!(names(&opened), before);
    let times = |samples: Model| {
        samples
            .into_iter()
            .map(|(labels, s)| (labels, s.into_keys().collect::<Vec<_>>()))
    };
    assert!(times(opened.samples()).eq(times(samples)));
}

#[test]
fn deleted_series_are_gone_from_tiers() {
    let dir = TempDir::new().unwrap();
    let opened = open(dir.path(), |_| {});
    let mut model = Model::new();
    opened.fill(&mut model, 0..30);
    let set = vec![Matcher::new("__name__", MatchOp::Equal, "gauge").unwrap()];
    // Half of an hour's window goes: so does the window.
    opened
        .tsdb
        .delete_series(&[set], 3 * HOUR + 30 * MINUTE, 9 * HOUR - 1)
        .unwrap();
    let hours = |opened: &Opened| -> Vec<i64> {
        let got = opened.coarse(Aggregate::Max, HOUR, 0, 12 * HOUR - 1);
        assert_eq!(got[&name("c_total")].len(), 12);
        got[&name("gauge")].keys().map(|ts| ts / HOUR).collect()
    };
    assert_eq!(hours(&opened), [0, 1, 2, 9, 10, 11]);
    opened.tsdb.clean_tombstones().unwrap();
    assert!(
        opened
            .tsdb
            .inner
            .tiers
            .iter()
            .all(|tier| tier.blocks.load().iter().all(|b| b.tombstones().is_empty()))
    );
    drop(opened);
    assert_eq!(hours(&open(dir.path(), |_| {})), [0, 1, 2, 9, 10, 11]);
    // A copy has them, too.
    let copy = TempDir::new().unwrap();
    open(dir.path(), |_| {}).tsdb.snapshot(copy.path(), false).unwrap();
    assert_eq!(hours(&open(copy.path(), |_| {})), [0, 1, 2, 9, 10, 11]);
}

#[test]
fn blocks_take_no_more_than_their_part_of_the_disk() {
    let dir = TempDir::new().unwrap();
    let fill = |capacity: Option<u64>, percent: f64, bytes: u64| {
        let dir = TempDir::new().unwrap();
        let disk = FaultyFs::default();
        disk.set_capacity(capacity);
        let opened = open_with(dir.path(), Arc::new(disk), |options| {
            options.tiers.clear();
            options.max_block_ms = options.block_ms;
            options.retention_percent = percent;
            options.retention_bytes = bytes;
        });
        opened.fill(&mut Model::new(), 0..24);
        let blocks = opened.tsdb.blocks();
        let bytes: u64 = blocks.iter().map(|b| b.bytes).sum();
        (blocks.len(), bytes + opened.tsdb.log_bytes(), bytes)
    };
    let (all, bytes, in_blocks) = fill(None, 0.0, 0);
    let limit = bytes * 2 / 3;
    let (kept, left, _) = fill(Some(1_000_000), limit as f64 / 10_000.0, 0);
    assert!(kept < all && left <= limit, "{kept} {left} of {all} {bytes}");
    // The log takes its part of it.
    assert!(bytes > in_blocks && fill(None, 0.0, in_blocks).0 < all);
    // The part counts in the place of the number, and where the disk's size is not known it is as if it were not set.
    assert_eq!(fill(Some(u64::MAX), 100.0, 1).0, all);
    assert_eq!(fill(None, 1.0, 0).0, all);
    assert_eq!(fill(None, 1.0, 1).0, 1);
    // The real disk has a size.
    assert!(RealFs.capacity(dir.path()).unwrap() > 1 << 20);
}
