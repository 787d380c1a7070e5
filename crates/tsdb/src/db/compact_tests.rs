//! Merging, deleting and copying blocks, compared with a naive store.

use std::fs;
use std::path::Path;

use cupola_block::{BlockFormat, list_blocks};
use cupola_env::{ManualClock, RealFs, VfsFile, VfsRead};
use cupola_model::Matcher;
use cupola_storage::Samples;
use tempfile::TempDir;

use super::*;

const MINUTE: i64 = 60_000;
pub(super) const HOUR: i64 = 60 * MINUTE;
const DAY: i64 = 24 * HOUR;

pub(super) type Model = BTreeMap<Labels, BTreeMap<i64, u64>>;

/// Copies the data folder before each step that moves or removes something: what a crash at that moment leaves.
pub(super) struct CopyingFs {
    dir: PathBuf,
    copies: PathBuf,
    count: Mutex<usize>,
}

impl CopyingFs {
    pub(super) fn new(dir: &Path, copies: &Path) -> Self {
        Self {
            dir: dir.to_path_buf(),
            copies: copies.to_path_buf(),
            count: Mutex::default(),
        }
    }

    fn step(&self) {
        let mut count = self.count.lock();
        *count += 1;
        copy_dir(&self.dir, &self.copies.join(count.to_string()));
    }
}

impl Vfs for CopyingFs {
    fn open_append(&self, path: &Path) -> io::Result<Box<dyn VfsFile>> {
        RealFs.open_append(path)
    }

    fn create_new(&self, path: &Path) -> io::Result<Box<dyn VfsFile>> {
        RealFs.create_new(path)
    }

    fn open_read(&self, path: &Path) -> io::Result<Box<dyn VfsRead>> {
        RealFs.open_read(path)
    }

    fn read(&self, path: &Path) -> io::Result<Vec<u8>> {
        RealFs.read(path)
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<String>> {
        RealFs.list(dir)
    }

    fn is_dir(&self, path: &Path) -> bool {
        RealFs.is_dir(path)
    }

    fn len(&self, path: &Path) -> io::Result<u64> {
        RealFs.len(path)
    }

    fn link(&self, from: &Path, to: &Path) -> io::Result<()> {
        RealFs.link(from, to)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.step();
        RealFs.rename(from, to)
    }

    fn remove_file(&self, path: &Path) -> io::Result<()> {
        self.step();
        RealFs.remove_file(path)
    }

    fn remove_dir_all(&self, path: &Path) -> io::Result<()> {
        self.step();
        RealFs.remove_dir_all(path)
    }

    fn create_dir(&self, path: &Path) -> io::Result<()> {
        RealFs.create_dir(path)
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        RealFs.sync_dir(dir)
    }

    fn create_dir_all(&self, path: &Path) -> io::Result<()> {
        RealFs.create_dir_all(path)
    }
}

pub(super) struct Opened {
    pub(super) tsdb: Tsdb,
    clock: Arc<ManualClock>,
}

impl Opened {
    pub(super) fn new(dir: &Path, change: impl FnOnce(&mut Options)) -> Self {
        Self::with(dir, Arc::new(RealFs), change)
    }

    fn with(dir: &Path, vfs: Arc<dyn Vfs>, change: impl FnOnce(&mut Options)) -> Self {
        let mut options = Options::new(dir.to_path_buf());
        change(&mut options);
        let clock = Arc::new(ManualClock::new(0));
        let tsdb = Tsdb::open(options, clock.clone(), vfs, &Registry::default()).unwrap();
        Self { tsdb, clock }
    }

    // Blocks that overlap are the only ones that are merged.
    pub(super) fn flat(dir: &Path) -> Self {
        Self::new(dir, |options| options.max_block_ms = options.block_ms)
    }

    pub(super) fn ranges(&self) -> Vec<(i64, i64)> {
        self.tsdb
            .blocks()
            .iter()
            .map(|b| (b.mint / HOUR, b.maxt / HOUR))
            .collect()
    }

    fn maintain_at(&self, now: i64) {
        self.clock.set(now);
        self.tsdb.maintain();
    }
}

pub(super) fn name(text: &str) -> Labels {
    Labels::from_pairs([("__name__", text)])
}

fn write(tsdb: &Tsdb, model: &mut Model, samples: &[(&str, i64, f64)]) {
    let mut appender = tsdb.appender();
    for (text, ts, value) in samples {
        appender.append(None, &name(text), *ts, *value).unwrap();
        model.entry(name(text)).or_default().insert(*ts, value.to_bits());
    }
    appender.commit().unwrap();
}

// Two series, six samples an hour, from the hour `from` to the hour `to`, with maintenance once an hour.
pub(super) fn fill(opened: &Opened, model: &mut Model, from: i64, to: i64) {
    for hour in from..to {
        for n in 0..6 {
            let ts = hour * HOUR + n * 10 * MINUTE;
            write(&opened.tsdb, model, &[("a", ts, ts as f64), ("b", ts, 5.0)]);
        }
        opened.maintain_at(hour * HOUR);
    }
}

pub(super) fn dump(tsdb: &Tsdb) -> Model {
    let mut out = Model::new();
    let all = Selection {
        matchers: &[],
        mint: i64::MIN,
        maxt: i64::MAX,
    };
    for series in tsdb.select(&all).unwrap() {
        let mut samples = Samples::default();
        series.source.read(i64::MIN, i64::MAX, &mut samples).unwrap();
        if !samples.is_empty() {
            let bits = samples.values.into_iter().map(f64::to_bits);
            out.insert(series.labels, samples.ts.into_iter().zip(bits).collect());
        }
    }
    out
}

fn copy_dir(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy_dir(&entry.path(), &target);
        } else {
            fs::copy(entry.path(), target).unwrap();
        }
    }
}

pub(super) fn folders(dir: &Path) -> BTreeSet<String> {
    let list = list_blocks(&RealFs, dir).unwrap();
    assert!(list.leftovers.is_empty() && list.broken.is_empty(), "{list:?}");
    list.blocks.iter().map(|(_, meta)| meta.ulid.to_string()).collect()
}

#[test]
fn two_weeks_with_merging_retention_and_deletion_are_as_in_a_naive_store() {
    let dir = TempDir::new().unwrap();
    let retention = 6 * DAY;
    let options = |options: &mut Options| {
        options.retention_ms = retention;
        options.max_block_ms = 54 * HOUR;
    };
    let mut opened = Opened::new(dir.path(), options);
    let mut model = Model::new();
    let mut longest = 0;
    for hour in 0..14 * 24 {
        for n in 0..4 {
            let ts = hour * HOUR + n * 15 * MINUTE + hour % 7;
            let mut batch = vec![("a", ts, (ts as f64 * 0.001).sin()), ("b", ts, hour as f64)];
            // Series come and go; one has nothing for days.
            let passing = format!("passing_{}", hour / 31);
            batch.push((passing.as_str(), ts, f64::from_bits(0x7ff0_0000_0000_0002)));
            if hour / 60 % 2 == 1 {
                batch.push(("seldom", ts, -0.0));
            }
            write(&opened.tsdb, &mut model, &batch);
        }
        opened.maintain_at(hour * HOUR);
        if hour % 50 == 49 {
            // Of what is in blocks already.
            let (mint, maxt) = ((hour - 30) * HOUR, (hour - 11) * HOUR + 1);
            let sets = [
                vec![Matcher::equal("__name__", "b")],
                vec![Matcher::equal("__name__", "seldom")],
            ];
            opened.tsdb.delete_series(&sets, mint, maxt).unwrap();
            for text in ["b", "seldom"] {
                if let Some(run) = model.get_mut(&name(text)) {
                    run.retain(|ts, _| *ts < mint || *ts > maxt);
                }
            }
            if hour % 100 == 99 {
                opened.tsdb.clean_tombstones().unwrap();
            }
        }
        if hour % 90 == 89 {
            drop(opened);
            opened = Opened::new(dir.path(), options);
        }
        if hour % 12 != 0 {
            continue;
        }
        let blocks = opened.tsdb.blocks();
        assert!(blocks.is_sorted_by(|one, next| one.maxt <= next.mint), "{blocks:?}");
        longest = blocks.iter().map(|b| b.maxt - b.mint).max().unwrap_or(0).max(longest);
        let begin = blocks.first().map_or(0, |b| b.mint);
        assert!(
            begin <= (hour * HOUR - retention).max(0),
            "deleted too early at hour {hour}"
        );
        let mut kept = model.clone();
        for run in kept.values_mut() {
            *run = run.split_off(&begin);
        }
        kept.retain(|_, run| !run.is_empty());
        assert_eq!(dump(&opened.tsdb), kept, "at hour {hour}");
    }
    assert_eq!(longest, 54 * HOUR);
    let now = 14 * DAY;
    assert!(
        opened.tsdb.blocks()[0].maxt > now - retention - 3 * HOUR,
        "what is old is gone"
    );
    assert!(opened.tsdb.blocks().len() < 14, "{:?}", opened.ranges());
    let on_disk = opened.tsdb.blocks().into_iter().map(|b| b.ulid).collect();
    assert_eq!(folders(dir.path()), on_disk);
}

#[test]
fn blocks_grow_through_the_ranges_and_the_longest_is_a_tenth_of_the_retention() {
    let dir = TempDir::new().unwrap();
    let opened = Opened::new(dir.path(), |options| options.retention_ms = 60 * HOUR);
    fill(&opened, &mut Model::new(), 0, 24);
    assert_eq!(opened.ranges(), [(0, 6), (6, 12), (12, 18), (18, 20), (20, 22)]);
    drop(opened);
    let opened = Opened::new(dir.path(), |options| options.retention_ms = 180 * HOUR);
    opened.maintain_at(DAY);
    assert_eq!(opened.ranges(), [(0, 18), (18, 20), (20, 22)]);
}

#[test]
fn a_merge_that_was_interrupted_anywhere_loses_nothing() {
    let root = TempDir::new().unwrap();
    let (before, after) = (root.path().join("before"), root.path().join("after"));
    let mut model = Model::new();
    let opened = Opened::flat(&before);
    fill(&opened, &mut model, 0, 12);
    assert_eq!(opened.ranges().len(), 5);
    drop(opened);
    copy_dir(&before, &after);
    let opened = Opened::new(&after, |options| options.block_format = BlockFormat::Prometheus);
    opened.maintain_at(0);
    assert_eq!(opened.ranges(), [(0, 6), (6, 8), (8, 10)]);
    drop(opened);
    let (old, new) = (folders(&before), folders(&after));
    let merged = new.difference(&old).next().unwrap().clone();
    let sources: Vec<String> = old.difference(&new).cloned().collect();
    assert_eq!(sources.len(), 3);

    let check = |what: &str, on_disk: &BTreeSet<String>, arrange: &dyn Fn(&Path)| {
        let dir = root.path().join("crashed");
        copy_dir(&before, &dir);
        arrange(&dir);
        let opened = Opened::flat(&dir);
        assert_eq!(dump(&opened.tsdb), model, "{what}");
        assert_eq!(folders(&dir), *on_disk, "{what}");
        // What is in the folder does not overlap, so nothing is left to be merged.
        opened.maintain_at(0);
        assert_eq!(folders(&dir), *on_disk, "{what}");
        drop(opened);
        fs::remove_dir_all(&dir).unwrap();
    };
    let temporary = format!("{merged}.tmp-for-creation");
    check("nothing written", &old, &|dir| {
        fs::create_dir(dir.join(&temporary)).unwrap()
    });
    check("chunks written", &old, &|dir| {
        copy_dir(
            &after.join(&merged).join("chunks"),
            &dir.join(&temporary).join("chunks"),
        );
    });
    check("all written", &old, &|dir| {
        copy_dir(&after.join(&merged), &dir.join(&temporary))
    });
    check("renamed", &new, &|dir| {
        copy_dir(&after.join(&merged), &dir.join(&merged))
    });
    for count in 1..=3 {
        check(&format!("{count} sources going"), &new, &|dir| {
            copy_dir(&after.join(&merged), &dir.join(&merged));
            for (i, source) in sources.iter().take(count).enumerate() {
                let doomed = dir.join(format!("{source}.tmp-for-deletion"));
                fs::rename(dir.join(source), &doomed).unwrap();
                // The last of them was begun, those before it are gone.
                if i + 1 < count {
                    fs::remove_dir_all(&doomed).unwrap();
                } else {
                    fs::remove_file(doomed.join("meta.json")).unwrap();
                }
            }
        });
    }
    check("a merged block that cannot be read stands for nothing", &old, &|dir| {
        copy_dir(&after.join(&merged), &dir.join(&merged));
        fs::remove_dir_all(dir.join(&merged).join("chunks")).unwrap();
        // It is listed, since its meta can be read, and left as it is; gone for the comparison.
        let opened = Opened::flat(dir);
        assert_eq!(dump(&opened.tsdb), model);
        assert!(dir.join(&merged).exists());
        drop(opened);
        fs::remove_dir_all(dir.join(&merged)).unwrap();
    });
}

#[test]
fn a_crash_between_any_two_steps_of_maintenance_loses_nothing_and_brings_nothing_back() {
    let root = TempDir::new().unwrap();
    let (dir, copies) = (root.path().join("data"), root.path().join("copies"));
    let vfs = CopyingFs::new(&dir, &copies);
    fs::create_dir(&copies).unwrap();
    let opened = Opened::with(&dir, Arc::new(vfs), |_| {});
    let mut model = Model::new();
    let (mut crashes, mut with_leftovers) = (0, 0);
    for hour in 0..30 {
        fill(&opened, &mut model, hour, hour + 1);
        if hour % 10 == 9 {
            let (mint, maxt) = ((hour - 7) * HOUR, (hour - 4) * HOUR);
            opened
                .tsdb
                .delete_series(&[vec![Matcher::equal("__name__", "a")]], mint, maxt)
                .unwrap();
            model
                .get_mut(&name("a"))
                .unwrap()
                .retain(|ts, _| *ts < mint || *ts > maxt);
            // What was copied before the deletion may have what it deletes.
            for entry in fs::read_dir(&copies).unwrap() {
                fs::remove_dir_all(entry.unwrap().path()).unwrap();
            }
            opened.tsdb.clean_tombstones().unwrap();
        }
        for entry in fs::read_dir(&copies).unwrap() {
            let copy = entry.unwrap().path();
            with_leftovers += list_blocks(&RealFs, &copy).unwrap().leftovers.len();
            let crashed = Opened::new(&copy, |_| {});
            assert_eq!(dump(&crashed.tsdb), model, "crash in the maintenance of hour {hour}");
            crashed.maintain_at(hour * HOUR);
            assert_eq!(dump(&crashed.tsdb), model);
            assert_eq!(crashed.ranges(), opened.ranges());
            folders(&copy);
            drop(crashed);
            fs::remove_dir_all(&copy).unwrap();
            crashes += 1;
        }
    }
    assert_eq!(opened.ranges()[..2], [(0, 18), (18, 24)]);
    assert!(crashes > 40 && with_leftovers > 10, "{crashes} {with_leftovers}");
}

#[test]
fn blocks_that_cannot_be_merged_stay_and_are_tried_again() {
    let dir = TempDir::new().unwrap();
    let mut model = Model::new();
    let opened = Opened::flat(dir.path());
    fill(&opened, &mut model, 0, 18);
    drop(opened);
    let victim = &list_blocks(&RealFs, dir.path()).unwrap().blocks[1]
        .0
        .join("chunks/000001");
    let intact = fs::read(victim).unwrap();
    let mut broken = intact.clone();
    broken[20] ^= 1;
    fs::write(victim, &broken).unwrap();
    let opened = Opened::new(dir.path(), |_| {});
    let before = folders(dir.path());
    let failures = || opened.tsdb.inner.metrics.compactions_failed.get();
    opened.maintain_at(HOUR);
    assert_eq!(failures() as u64, 1);
    // The others went on.
    assert_eq!(opened.ranges(), [(0, 2), (2, 4), (4, 6), (6, 12), (12, 14), (14, 16)]);
    assert_eq!(folders(dir.path()).intersection(&before).count(), 5);
    opened.maintain_at(HOUR + 9 * MINUTE);
    assert_eq!(failures() as u64, 1, "not at once");
    opened.maintain_at(HOUR + 10 * MINUTE);
    assert_eq!(failures() as u64, 2);
    fs::write(victim, &intact).unwrap();
    opened.maintain_at(HOUR + 20 * MINUTE);
    assert_eq!(failures() as u64, 2);
    assert_eq!(opened.ranges(), [(0, 6), (6, 12), (12, 14), (14, 16)]);
    assert_eq!(dump(&opened.tsdb), model);
}

#[test]
fn blocks_that_overlap_are_merged_and_no_answer_changes() {
    let (dir, other) = (TempDir::new().unwrap(), TempDir::new().unwrap());
    let opened = Opened::flat(dir.path());
    fill(&opened, &mut Model::new(), 0, 8);
    drop(opened);
    let opened = Opened::flat(other.path());
    for hour in 0..8 {
        for n in 0..12 {
            // Every second moment is in the first folder as well, with another value.
            let ts = hour * HOUR + n * 5 * MINUTE;
            write(&opened.tsdb, &mut Model::new(), &[("a", ts, -1.0), ("c", ts, 1.0)]);
        }
        opened.maintain_at(hour * HOUR);
    }
    drop(opened);
    for (path, meta) in list_blocks(&RealFs, other.path()).unwrap().blocks {
        fs::rename(path, dir.path().join(meta.ulid.to_string())).unwrap();
    }
    let opened = Opened::flat(dir.path());
    assert_eq!(opened.ranges(), [(0, 2), (0, 2), (2, 4), (2, 4), (4, 6), (4, 6)]);
    let before = dump(&opened.tsdb);
    opened.maintain_at(0);
    assert_eq!(opened.ranges(), [(0, 2), (2, 4), (4, 6)]);
    assert_eq!(dump(&opened.tsdb), before);
    assert_eq!(opened.tsdb.inner.metrics.vertical_compactions.get() as u64, 3);
    drop(opened);
    assert_eq!(dump(&Opened::flat(dir.path()).tsdb), before);
}

#[test]
fn deleted_series_are_in_no_answer_and_cleaning_frees_their_space() {
    let dir = TempDir::new().unwrap();
    let mut model = Model::new();
    let opened = Opened::flat(dir.path());
    fill(&opened, &mut model, 0, 12);
    let stored = |opened: &Opened| opened.tsdb.blocks().iter().map(|b| b.samples).sum::<u64>();
    let (mint, maxt) = (3 * HOUR, 7 * HOUR);
    opened
        .tsdb
        .delete_series(&[vec![Matcher::equal("__name__", "a")]], mint, maxt)
        .unwrap();
    model
        .get_mut(&name("a"))
        .unwrap()
        .retain(|ts, _| *ts < mint || *ts > maxt);
    assert_eq!(dump(&opened.tsdb), model);
    let before = folders(dir.path());
    assert_eq!(stored(&opened), 2 * 60, "deleted samples are on the disk yet");
    opened.tsdb.clean_tombstones().unwrap();
    assert_eq!(dump(&opened.tsdb), model);
    assert_eq!(stored(&opened), 2 * 60 - 25);
    assert_eq!(
        folders(dir.path()).intersection(&before).count(),
        2,
        "three blocks were rewritten"
    );
    let cleaned = folders(dir.path());
    opened.tsdb.clean_tombstones().unwrap();
    assert_eq!(folders(dir.path()), cleaned, "there is nothing left to do");
    // A block of which nothing is left goes as a whole.
    opened.tsdb.delete_series(&[vec![]], 2 * HOUR, 4 * HOUR - 1).unwrap();
    opened.tsdb.clean_tombstones().unwrap();
    model
        .values_mut()
        .for_each(|run| run.retain(|ts, _| *ts < 2 * HOUR || *ts >= 4 * HOUR));
    assert_eq!(opened.ranges(), [(0, 2), (4, 6), (6, 8), (8, 10)]);
    assert_eq!(dump(&opened.tsdb), model);
    drop(opened);
    assert_eq!(dump(&Opened::flat(dir.path()).tsdb), model);
}

#[test]
fn what_is_deleted_of_the_head_stays_deleted_after_a_restart() {
    let dir = TempDir::new().unwrap();
    let mut model = Model::new();
    let samples: Vec<_> = (0..300).map(|n| ("a", n * 15_000, n as f64)).collect();
    {
        let opened = Opened::flat(dir.path());
        write(&opened.tsdb, &mut model, &samples);
        write(
            &opened.tsdb,
            &mut model,
            &[("b", 280 * 15_000, 1.0), ("b", 281 * 15_000, 2.0)],
        );
    }
    // After a restart the log does not know these series by the numbers they have now.
    let opened = Opened::flat(dir.path());
    let delete = |model: &mut Model, which: &str, mint: i64, maxt: i64| {
        let sets = [
            vec![Matcher::equal("__name__", which)],
            vec![Matcher::equal("__name__", "nothing")],
        ];
        opened.tsdb.delete_series(&sets, mint, maxt).unwrap();
        model
            .get_mut(&name(which))
            .unwrap()
            .retain(|ts, _| *ts < mint || *ts > maxt);
        model.retain(|_, run| !run.is_empty());
        assert_eq!(dump(&opened.tsdb), *model);
    };
    // Over the border of two chunks, at the end, a whole series, nothing.
    delete(&mut model, "a", 100 * 15_000, 130 * 15_000);
    delete(&mut model, "a", 299 * 15_000, i64::MAX);
    delete(&mut model, "b", i64::MIN, i64::MAX);
    delete(&mut model, "a", 110 * 15_000, 120 * 15_000);
    write(
        &opened.tsdb,
        &mut model,
        &[("a", 299 * 15_000, -5.0), ("b", 299 * 15_000, 3.0)],
    );
    assert_eq!(dump(&opened.tsdb), model);
    let stats = opened.tsdb.head_stats();
    assert_eq!((stats.series, stats.chunks), (2, 4));
    drop(opened);
    let opened = Opened::flat(dir.path());
    assert_eq!(dump(&opened.tsdb), model);
    opened.tsdb.close();
    drop(opened);
    assert_eq!(dump(&Opened::flat(dir.path()).tsdb), model);
}

#[test]
fn deleting_is_a_change_from_the_oldest_sample_it_touches_on() {
    let dir = TempDir::new().unwrap();
    let opened = Opened::flat(dir.path());
    fill(&opened, &mut Model::new(), 0, 8);
    let version = || opened.tsdb.changes(&Version::default()).unwrap().version;
    for (mint, maxt, touched) in [
        (i64::MIN, HOUR, Some(0)),
        (3 * HOUR, 5 * HOUR, Some(3 * HOUR)),
        (100 * HOUR, 200 * HOUR, None),
    ] {
        let before = version();
        opened.tsdb.delete_series(&[vec![]], mint, maxt).unwrap();
        assert_eq!(opened.tsdb.changes(&before).unwrap().oldest_touched, touched);
    }
}

#[test]
fn a_snapshot_is_a_folder_of_its_own() {
    let dir = TempDir::new().unwrap();
    let mut model = Model::new();
    let opened = Opened::flat(dir.path());
    fill(&opened, &mut model, 0, 8);
    let (whole, blocks_only) = (dir.path().join("snapshots/whole"), dir.path().join("snapshots/blocks"));
    opened.tsdb.snapshot(&whole, true).unwrap();
    opened.tsdb.snapshot(&blocks_only, false).unwrap();
    assert!(
        opened.tsdb.snapshot(&whole, false).is_err(),
        "its blocks are there already"
    );
    let head = opened.tsdb.blocks().last().unwrap().maxt;
    assert_eq!(head, 6 * HOUR);
    // What happens to the first does not happen to the others.
    opened.tsdb.delete_series(&[vec![]], i64::MIN, i64::MAX).unwrap();
    opened.tsdb.clean_tombstones().unwrap();
    assert!(opened.tsdb.blocks().is_empty());
    assert_eq!(dump(&Opened::flat(&whole).tsdb), model);
    model.values_mut().for_each(|run| run.retain(|ts, _| *ts < head));
    assert_eq!(dump(&Opened::flat(&blocks_only).tsdb), model);
}

#[test]
fn nothing_is_merged_once_the_database_is_being_closed() {
    let dir = TempDir::new().unwrap();
    let opened = Opened::flat(dir.path());
    fill(&opened, &mut Model::new(), 0, 12);
    drop(opened);
    let before = folders(dir.path());
    let opened = Opened::new(dir.path(), |_| {});
    opened.tsdb.close();
    opened.tsdb.maintain();
    assert_eq!(folders(dir.path()), before);
}
