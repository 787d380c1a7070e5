//! What is served, counted, kept and lost for each fault of a disk or a clock. The table for people is `docs/faults.md`.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use cupola_env::{Faults, ManualClock, SimDisk};
use cupola_metrics::{Registry, SeriesValue};
use cupola_model::Labels;
use cupola_storage::{AppendError, Appendable as _, CommitError, Queryable as _, Samples, Selection};
use cupola_tsdb::{Options, Tsdb};

const MINUTE: i64 = 60_000;
const HOUR: i64 = 60 * MINUTE;
const YEAR: i64 = 365 * 24 * HOUR;
const DATA: &str = "/data";
const LOG: &str = "/data/cupola-wal";

type Content = BTreeMap<(String, i64), u64>;

struct Server {
    tsdb: Tsdb,
    registry: Registry,
    clock: Arc<ManualClock>,
}

impl Server {
    fn start(disk: &SimDisk) -> Self {
        Self::with(disk, |_| {})
    }

    fn with(disk: &SimDisk, change: impl FnOnce(&mut Options)) -> Self {
        let mut options = Options::new(PathBuf::from(DATA));
        options.no_lockfile = true;
        options.max_block_ms = options.block_ms;
        change(&mut options);
        let (registry, clock) = (Registry::default(), Arc::new(ManualClock::new(10 * HOUR)));
        let tsdb = Tsdb::open(options, clock.clone(), disk.mount(), &registry).expect("the folder is opened");
        Self { tsdb, registry, clock }
    }

    // A sample a minute of two series, one batch each.
    fn fill(&self, from: i64, to: i64) {
        for ts in (from..to).step_by(MINUTE as usize) {
            self.write(ts).expect("written");
        }
    }

    fn write(&self, ts: i64) -> Result<(), CommitError> {
        let mut appender = self.tsdb.appender();
        for name in ["a", "b"] {
            let labels = Labels::from_pairs([("__name__", name)]);
            appender.append(None, &labels, ts, ts as f64).expect("taken");
        }
        appender.commit()
    }

    fn read(&self, mint: i64, maxt: i64) -> Result<Content, String> {
        let mut out = Content::new();
        let selection = Selection {
            matchers: &[],
            mint,
            maxt,
        };
        for series in self.tsdb.select(&selection).map_err(|e| e.to_string())? {
            let mut samples = Samples::default();
            let read = series.source.read(mint, maxt, &mut samples);
            read.map_err(|e| e.to_string())?;
            let name = series.labels.to_string();
            let bits = samples.values.iter().map(|value| value.to_bits());
            out.extend(samples.ts.iter().map(|ts| (name.clone(), *ts)).zip(bits));
        }
        Ok(out)
    }

    fn all(&self) -> Content {
        self.read(i64::MIN, i64::MAX).expect("everything can be read")
    }

    fn metric(&self, name: &str) -> f64 {
        let families = self.registry.snapshot();
        let family = families.iter().find(|family| family.name == name);
        let family = family.expect("the metric is registered");
        let values = family.series.iter().map(|(_, value)| match value {
            SeriesValue::Number(value) | SeriesValue::Counted { value, .. } => *value,
            SeriesValue::Histogram { .. } | SeriesValue::Summary(_) => 0.0,
        });
        values.sum()
    }
}

fn faults(change: impl FnOnce(&mut Faults)) -> Faults {
    let mut faults = Faults::default();
    change(&mut faults);
    faults
}

/// Ten hours: two blocks of two hours, a checkpoint with three hours, and a segment for each of the last three.
fn ten_hours() -> (SimDisk, Content) {
    let disk = SimDisk::new(1);
    let server = Server::start(&disk);
    server.fill(0, 7 * HOUR);
    server.tsdb.maintain();
    let mut all = server.all();
    for hour in 7..10 {
        let server = Server::start(&disk);
        server.fill(hour * HOUR, (hour + 1) * HOUR);
        assert!(server.tsdb.sync());
        all = server.all();
    }
    assert_eq!(all.len(), 2 * 600);
    disk.kill();
    (disk, all)
}

fn log_files(disk: &SimDisk) -> Vec<PathBuf> {
    let files = disk.files(Path::new(LOG)).into_iter();
    files
        .filter(|(_, bytes)| !bytes.is_empty())
        .map(|(path, _)| path)
        .collect()
}

// The last segment but `back`.
fn segment(disk: &SimDisk, back: usize) -> PathBuf {
    let mut all = log_files(disk);
    all.retain(|path| !path.to_string_lossy().contains("checkpoint"));
    all[all.len() - 1 - back].clone()
}

fn checkpoint(disk: &SimDisk) -> PathBuf {
    let all = log_files(disk);
    let found = all
        .into_iter()
        .find(|path| path.to_string_lossy().contains("checkpoint-"));
    found.expect("a checkpoint")
}

// A file of the block from two to four o'clock.
fn in_block(disk: &SimDisk, name: &str) -> PathBuf {
    let files = disk.files(Path::new(DATA)).into_keys();
    let mut blocks: Vec<PathBuf> = files.filter(|path| path.ends_with(name)).collect();
    blocks.sort();
    let of_time = |path: &PathBuf| {
        let block = path.ancestors().find(|dir| dir.parent() == Some(Path::new(DATA)));
        let meta = &disk.files(&block.expect("a block").join("meta.json"));
        let text = meta
            .values()
            .next()
            .map(|bytes| String::from_utf8_lossy(bytes).into_owned());
        text.is_some_and(|text| text.contains(&format!("\"minTime\": {}", 2 * HOUR)))
    };
    blocks.into_iter().find(of_time).expect("the block of two o'clock")
}

enum Damage {
    Cut(usize),
    Flip,
    Remove,
}

struct Row {
    fault: &'static str,
    file: fn(&SimDisk) -> PathBuf,
    damage: Damage,
    counted: &'static str,
    /// Hours of which samples may be missing in answers.
    missing: (i64, i64),
    /// Whether a question about these hours is answered with an error, instead of without the samples.
    is_error: bool,
}

const LEFT_OUT: &str = "cupola_tsdb_blocks_left_out";
const CORRUPT: &str = "prometheus_tsdb_wal_corruptions_total";

fn rows() -> Vec<Row> {
    let row = |fault, file, damage, counted, missing, is_error| Row {
        fault,
        file,
        damage,
        counted,
        missing,
        is_error,
    };
    let block = (2, 4);
    vec![
        row(
            "torn log tail",
            |d| segment(d, 0),
            Damage::Cut(3),
            CORRUPT,
            (9, 10),
            false,
        ),
        row("log middle", |d| segment(d, 1), Damage::Flip, CORRUPT, (8, 9), false),
        row(
            "missing segment",
            |d| segment(d, 1),
            Damage::Remove,
            CORRUPT,
            (8, 9),
            false,
        ),
        row("checkpoint", checkpoint, Damage::Flip, CORRUPT, (4, 7), false),
        row(
            "block index",
            |d| in_block(d, "index"),
            Damage::Cut(4),
            LEFT_OUT,
            block,
            false,
        ),
        row(
            "missing index",
            |d| in_block(d, "index"),
            Damage::Remove,
            LEFT_OUT,
            block,
            false,
        ),
        row(
            "meta.json",
            |d| in_block(d, "meta.json"),
            Damage::Cut(9),
            LEFT_OUT,
            block,
            false,
        ),
        row(
            "missing meta.json",
            |d| in_block(d, "meta.json"),
            Damage::Remove,
            LEFT_OUT,
            block,
            false,
        ),
        row(
            "tombstones",
            |d| in_block(d, "tombstones"),
            Damage::Flip,
            LEFT_OUT,
            block,
            false,
        ),
        row(
            "chunk",
            |d| in_block(d, "chunks/000001"),
            Damage::Flip,
            LEFT_OUT,
            block,
            true,
        ),
        row(
            "missing chunks",
            |d| in_block(d, "chunks/000001"),
            Damage::Remove,
            LEFT_OUT,
            block,
            true,
        ),
    ]
}

#[test]
fn damaged_files_cost_what_is_in_them_are_counted_and_stay() {
    for row in rows() {
        let fault = row.fault;
        let (disk, all) = ten_hours();
        let path = (row.file)(&disk);
        let whole = disk.files(&path).remove(&path).expect("the file is there");
        let damage = || match row.damage {
            Damage::Cut(bytes) => disk.edit(&path, |file| file.truncate(file.len() - bytes)).expect("cut"),
            Damage::Flip => disk
                .edit(&path, |file| {
                    let at = file.len() / 2;
                    file[at] ^= 0x55;
                })
                .expect("flipped"),
            Damage::Remove => disk.remove(&path).expect("removed"),
        };
        damage();
        let damaged = disk.files(&path).remove(&path);
        let missing = row.missing.0 * HOUR..row.missing.1 * HOUR;

        // Everything else is served, and the fault is counted.
        let server = Server::start(&disk);
        let elsewhere: Content = [(i64::MIN, missing.start - 1), (missing.end, i64::MAX)]
            .into_iter()
            .flat_map(|(mint, maxt)| server.read(mint, maxt).expect("other times are answered"))
            .collect();
        let expected: Content = all
            .iter()
            .filter(|((_, ts), _)| !missing.contains(ts))
            .map(|(k, v)| (k.clone(), *v))
            .collect();
        assert_eq!(elsewhere.len(), expected.len(), "{fault}");
        assert!(
            elsewhere == expected,
            "{fault}: other samples than those in the damaged file are missing"
        );
        match server.read(missing.start, missing.end - 1) {
            Ok(found) => {
                assert!(!row.is_error, "{fault}: answered without an error");
                assert!(
                    found.len() < 2 * (missing.end - missing.start) as usize / MINUTE as usize,
                    "{fault}"
                );
                assert!(found.iter().all(|(key, bits)| all.get(key) == Some(bits)), "{fault}");
            }
            Err(error) => assert!(row.is_error && error.contains("block"), "{fault}: {error}"),
        }
        assert!(
            row.is_error || server.metric(row.counted) >= 1.0,
            "{fault} is not counted"
        );
        server.write(10 * HOUR).expect("new samples are taken");

        // The file is put back: all is there again, with what came since.
        disk.kill();
        if disk.edit(&path, |file| file.clone_from(&whole)).is_err() {
            let fs = disk.mount();
            fs.create_new(&path).expect("made").append(&whole).expect("written");
        }
        let server = Server::start(&disk);
        assert_eq!(server.all().len(), all.len() + 2, "{fault}: not all is back");

        // Damaged again, nothing of it goes with what the server does from then on.
        disk.kill();
        damage();
        let server = Server::start(&disk);
        server.fill(10 * HOUR + MINUTE, 12 * HOUR);
        server.tsdb.maintain();
        server.tsdb.close();
        if let Some(damaged) = damaged {
            let kept = disk.files(Path::new(DATA));
            assert!(
                kept.values().any(|bytes| *bytes == damaged),
                "{fault}: the damaged file is gone"
            );
        }
    }
}

struct Running {
    fault: &'static str,
    faults: Faults,
    /// What goes wrong meanwhile.
    work: fn(&Server),
    counted: &'static str,
}

fn running() -> Vec<Running> {
    let full = |room| faults(|f| f.room = Some(room));
    let refused = |server: &Server| {
        let error = server.write(11 * HOUR).expect_err("it cannot be logged");
        assert!(matches!(error, CommitError::Log(_)), "{error}");
    };
    let row = |fault, faults, work, counted| Running {
        fault,
        faults,
        work,
        counted,
    };
    let maintain = |server: &Server| server.tsdb.maintain();
    let failed_writes = "prometheus_tsdb_wal_writes_failed_total";
    let failed_compactions = "prometheus_tsdb_compactions_failed_total";
    vec![
        row("full while logging", full(10), refused, failed_writes),
        row(
            "read-only later",
            faults(|f| f.read_only = true),
            refused,
            failed_writes,
        ),
        row(
            "write error",
            faults(|f| f.failing_writes = true),
            refused,
            failed_writes,
        ),
        row("full while cutting", full(300), maintain, failed_compactions),
        row(
            "read-only while cutting",
            faults(|f| f.read_only = true),
            maintain,
            failed_compactions,
        ),
        row(
            "sync error while cutting",
            faults(|f| f.failing_syncs = true),
            maintain,
            failed_compactions,
        ),
        row(
            "sync error",
            faults(|f| f.failing_syncs = true),
            |server| {
                server.fill(12 * HOUR, 12 * HOUR + 5 * MINUTE);
                assert!(!server.tsdb.sync());
                assert!((server.metric("cupola_tsdb_wal_in_doubt") - 1.0).abs() < 0.1);
            },
            "cupola_tsdb_wal_fsync_failed_total",
        ),
    ]
}

#[test]
fn a_disk_that_fails_for_a_while_costs_what_is_refused_meanwhile() {
    for row in running() {
        let fault = row.fault;
        let (disk, _) = ten_hours();
        let server = Server::start(&disk);
        // More than is due for a block.
        server.fill(10 * HOUR, 11 * HOUR);
        disk.set_faults(row.faults.clone());
        (row.work)(&server);
        assert!(server.metric(row.counted) >= 1.0, "{fault} is not counted");
        let during = server.all();
        assert!(during.len() >= 2 * 660, "{fault}: questions are answered as before");

        // It is over: what was in doubt is made up for, what is due is done, also new samples are there after a power cut.
        disk.set_faults(Faults::default());
        server.write(13 * HOUR).expect("samples are taken again");
        server.tsdb.maintain();
        assert!(server.tsdb.sync(), "{fault}: still in doubt");
        assert!(server.tsdb.blocks().len() >= 3, "{fault}: what was due is not done");
        let after = server.all();
        assert_eq!(after.len(), during.len() + 2, "{fault}");
        disk.cut_power();
        assert!(Server::start(&disk).all() == after, "{fault}: lost by a power cut");
    }
}

#[test]
fn a_full_disk_while_merging_leaves_the_blocks_and_they_are_merged_later() {
    let (disk, all) = ten_hours();
    let wide = |options: &mut Options| options.max_block_ms = 6 * HOUR;
    let server = Server::with(&disk, wide);
    disk.set_faults(faults(|f| f.room = Some(2_000)));
    server.tsdb.maintain();
    server.tsdb.maintain();
    assert!(server.metric("prometheus_tsdb_compactions_failed_total") >= 1.0);
    assert!(server.all() == all);
    disk.set_faults(Faults::default());
    server.clock.advance(HOUR);
    server.tsdb.maintain();
    assert!(
        server
            .tsdb
            .blocks()
            .iter()
            .any(|block| block.maxt - block.mint > 2 * HOUR)
    );
    assert!(server.all() == all);
}

#[test]
fn a_replaced_block_that_cannot_be_deleted_doubles_nothing_and_brings_nothing_back() {
    let (disk, all) = ten_hours();
    let wide = |options: &mut Options| options.max_block_ms = 6 * HOUR;
    let folders = || {
        let files = disk.files(Path::new(DATA)).into_keys();
        files.filter(|path| path.ends_with("meta.json")).count()
    };
    disk.set_faults(faults(|f| f.undeletable = Some("for-deletion".to_owned())));
    let server = Server::with(&disk, wide);
    server.tsdb.maintain();
    server.tsdb.maintain();
    let shown = server.tsdb.blocks().len();
    assert!(
        server.tsdb.blocks().iter().any(|b| b.maxt - b.mint > 2 * HOUR) && folders() > shown,
        "blocks were merged, and those before are still there"
    );
    assert!(server.all() == all);
    // Deleted now, the samples would be back once a start sees the old blocks.
    let refused = server.tsdb.delete_series(&[vec![]], 0, HOUR).map_err(|e| e.to_string());
    assert!(
        refused
            .as_ref()
            .is_err_and(|e| e.contains("delete a block that was replaced")),
        "{refused:?}"
    );
    assert!(server.all() == all);
    disk.kill();
    let server = Server::with(&disk, wide);
    assert!(server.all() == all, "the merged block stands for those before");

    disk.set_faults(Faults::default());
    server.tsdb.maintain();
    server.tsdb.delete_series(&[vec![]], 0, HOUR - 1).expect("deleted");
    let left = server.all();
    assert_eq!(left.len(), all.len() - 120);
    disk.kill();
    let server = Server::with(&disk, wide);
    assert!(server.all() == left, "what was deleted is back");
    assert_eq!(folders(), server.tsdb.blocks().len(), "the old blocks are gone");
}

#[test]
fn a_full_disk_while_stopping_keeps_the_log() {
    let (disk, all) = ten_hours();
    let server = Server::start(&disk);
    disk.set_faults(faults(|f| f.room = Some(40)));
    server.tsdb.close();
    assert!(server.metric("prometheus_tsdb_checkpoint_creations_failed_total") >= 1.0);
    disk.set_faults(Faults::default());
    assert!(Server::start(&disk).all() == all);
}

#[test]
fn a_disk_that_is_read_only_at_the_start_is_served_and_takes_samples_later() {
    let (disk, all) = ten_hours();
    disk.set_faults(faults(|f| f.read_only = true));
    let server = Server::start(&disk);
    assert!(server.all() == all);
    server.tsdb.maintain();
    assert!(matches!(server.write(11 * HOUR), Err(CommitError::Log(_))));
    assert!(server.all() == all);
    disk.set_faults(Faults::default());
    server.write(11 * HOUR).expect("samples are taken");
    assert_eq!(server.all().len(), all.len() + 2);
}

#[test]
fn a_clock_that_leaps_forward_by_a_year_and_back_deletes_nothing() {
    let (disk, all) = ten_hours();
    let server = Server::start(&disk);
    server.clock.set(YEAR);
    server.fill(YEAR, YEAR + 5 * MINUTE);
    for _ in 0..3 {
        server.tsdb.maintain();
    }
    assert_eq!(
        server.all().len(),
        all.len() + 10,
        "nothing is past the retention because of that"
    );
    // Set right again: what comes now seems too old, and is refused by name.
    server.clock.set(10 * HOUR);
    let mut appender = server.tsdb.appender();
    let labels = Labels::from_pairs([("__name__", "a")]);
    let refused = appender.append(None, &labels, 10 * HOUR, 1.0);
    assert_eq!(refused, Err(AppendError::OutOfBounds));
    assert!(server.metric("prometheus_tsdb_out_of_bound_samples_total") >= 1.0);
    drop(appender);
    // Until the samples of the wrong time are deleted.
    server
        .tsdb
        .delete_series(&[vec![]], YEAR - HOUR, i64::MAX)
        .expect("deleted");
    server.tsdb.close();
    let server = Server::start(&disk);
    server.fill(10 * HOUR, 11 * HOUR);
    assert_eq!(server.all().len(), all.len() + 120);
}

#[test]
fn a_clock_that_goes_back_by_a_day_changes_nothing_that_is_there() {
    let (disk, all) = ten_hours();
    let server = Server::start(&disk);
    server.clock.set(10 * HOUR - 24 * HOUR);
    server.tsdb.maintain();
    assert!(server.all() == all);
    // Samples keep the order of their own times; those of a time that was refuse by name until it comes again.
    let mut appender = server.tsdb.appender();
    let labels = Labels::from_pairs([("__name__", "a")]);
    assert!(appender.append(None, &labels, -14 * HOUR, 1.0).is_err());
    drop(appender);
    server.fill(10 * HOUR, 11 * HOUR);
    assert_eq!(server.all().len(), all.len() + 120);
}
