//! The steps of one run.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use cupola_env::{Clock as _, Faults};
use cupola_metrics::Registry;
use cupola_tsdb::{Options, Tsdb};
use parking_lot::Mutex;

use crate::world::{HOUR, MINUTE, World, metric, read};

/// How the process ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    Close,
    Kill,
    PowerCut,
    // It died while it read what a power cut had left.
    KillAfterPowerCut,
}

struct Run {
    world: Arc<Mutex<World>>,
    tsdb: Tsdb,
    registry: Registry,
    // What went wrong in the middle of somebody else's write.
    failure: Arc<Mutex<Option<String>>>,
    is_traced: bool,
    counts: BTreeMap<&'static str, u64>,
}

/// Runs a seed; what was wrong, and in which step.
pub(crate) fn run(seed: u64, steps: u64) -> Result<(), String> {
    let world = World::new(seed);
    let registry = Registry::default();
    let tsdb = Tsdb::open(world.options(), world.clock.clone(), world.disk.mount(), &registry)
        .map_err(|e| format!("an empty folder cannot be opened: {e}"))?;
    let mut run = Run {
        world: Arc::new(Mutex::new(world)),
        tsdb,
        registry,
        failure: Arc::default(),
        is_traced: std::env::var_os("CUPOLA_SIM_TRACE").is_some(),
        counts: BTreeMap::new(),
    };
    for step in 0..steps {
        run.step(step).map_err(|e| format!("step {step}: {e}"))?;
    }
    run.restart(End::Close).map_err(|e| format!("at the end: {e}"))?;
    if run.is_traced {
        println!("{:?}", run.counts);
    }
    Ok(())
}

impl Run {
    fn note(&mut self, step: u64, what: &'static str) {
        *self.counts.entry(what).or_default() += 1;
        if self.is_traced && what != "write" && what != "query" {
            let world = self.world.lock();
            println!("{step} {}: {what}", world.clock.now_ms());
        }
    }

    fn step(&mut self, step: u64) -> Result<(), String> {
        let (choice, dies_in, pause) = {
            let mut world = self.world.lock();
            let choice = world.rng.below(1000);
            let dies_in = world.chance(2).then(|| world.rng.below(60) as u64);
            let pause = match world.rng.below(100) {
                0 => world.rng.below(HOUR as usize) as i64,
                _ => world.rng.below(4 * MINUTE as usize) as i64,
            };
            (choice, dies_in, pause)
        };
        if let Some(writes) = dies_in {
            self.world.lock().disk.die_in(Some(writes));
        }
        match choice {
            0..640 => {
                self.world.lock().clock.advance(pause);
                let interrupted = self.world.lock().chance(3);
                if interrupted {
                    self.expire();
                }
                self.note(
                    step,
                    if interrupted {
                        "write around maintenance"
                    } else {
                        "write"
                    },
                );
                let tsdb = self.tsdb.clone();
                World::write(&self.world, &tsdb, &mut || {
                    if interrupted {
                        tsdb.maintain();
                    }
                })?;
            }
            640..740 => {
                self.note(step, "sync");
                self.sync()?;
            }
            740..860 => {
                self.note(step, "query");
                self.world.lock().query(&self.tsdb)?;
            }
            860..920 => {
                self.note(step, "maintain");
                self.maintain()?;
            }
            920..932 => {
                self.note(step, "delete");
                self.delete()?;
            }
            932..938 => {
                self.note(step, "clean tombstones");
                let cleaned = self.beside(Tsdb::clean_tombstones);
                self.may_fail("cleaning", cleaned)?;
            }
            938..942 => {
                self.note(step, "snapshot");
                self.snapshot()?;
            }
            942..950 => {
                self.note(step, "clock jumps");
                let mut world = self.world.lock();
                let far = [3 * HOUR, 12 * HOUR, 40 * HOUR][world.rng.below(3)];
                let sign = if world.chance(60) { 1 } else { -1 };
                let jump = sign * world.rng.below(far as usize) as i64;
                world.clock.advance(jump);
            }
            950..966 => {
                self.note(step, "faults");
                self.fault();
            }
            966..976 => {
                self.note(step, "close");
                self.restart(End::Close)?;
            }
            976..988 => {
                self.note(step, "kill");
                self.restart(End::Kill)?;
            }
            _ => {
                self.note(step, "power cut");
                self.restart(End::PowerCut)?;
            }
        }
        if let Some(failure) = self.failure.lock().take() {
            return Err(failure);
        }
        let (is_dead, is_power_cut) = {
            let mut world = self.world.lock();
            let is_dead = world.disk.is_dead();
            world.disk.die_in(None);
            (is_dead, is_dead && world.chance(40))
        };
        if is_dead {
            self.note(step, "death in a write");
            self.restart(if is_power_cut { End::PowerCut } else { End::Kill })?;
        }
        Ok(())
    }

    fn may_fail(&self, what: &str, outcome: Result<(), cupola_storage::StorageError>) -> Result<(), String> {
        let world = self.world.lock();
        match outcome {
            Err(error) if world.disk.faults() == Faults::default() && !world.disk.is_dead() => {
                Err(format!("{what} fails: {error}"))
            }
            _ => Ok(()),
        }
    }

    fn sync(&mut self) -> Result<(), String> {
        let is_synced = self.tsdb.sync();
        let mut world = self.world.lock();
        let is_alive = !world.disk.is_dead();
        if is_synced && is_alive {
            let of = |name: &str| {
                metric(
                    &self.registry,
                    &format!("prometheus_tsdb_checkpoint_creations_{name}total"),
                )
            };
            let is_sure = world.model.doubts_of_others == 0 || of("") > of("failed_");
            if !world.model.in_doubt || is_sure {
                world.model.unsynced.clear();
                world.model.doubts_of_others = 0;
                world.model.in_doubt = world.disk.faults().failing_syncs;
            }
        } else if is_alive && metric(&self.registry, "cupola_tsdb_wal_in_doubt") < 1.0 {
            return Err("a sync failed and no metric says so".to_owned());
        }
        Ok(())
    }

    // Does something that takes a while. Sometimes others write and read meanwhile, before any of its own writes.
    fn beside<T>(&self, work: impl FnOnce(&Tsdb) -> T) -> T {
        let disk = self.world.lock().disk.clone();
        if self.world.lock().chance(40) {
            let (world, tsdb, failure) = (self.world.clone(), self.tsdb.clone(), self.failure.clone());
            disk.before_each_write(Some(Box::new(move |doing, path| {
                let path = path.to_string_lossy();
                // The log is held while it is written.
                let is_log = path.contains("cupola-wal");
                let is_checkpoint = path.ends_with("checkpoint.tmp") && (doing == "append" || doing == "rename");
                if (is_log && !is_checkpoint) || !world.lock().chance(15) {
                    return;
                }
                let choice = world.lock().rng.below(3);
                let outcome = match choice {
                    0 => World::write(&world, &tsdb, &mut || {}),
                    1 => {
                        let mut world = world.lock();
                        world.expire(&tsdb);
                        world.query(&tsdb)
                    }
                    _ => {
                        tsdb.sync();
                        Ok(())
                    }
                };
                if let Err(error) = outcome {
                    failure.lock().get_or_insert(format!("before {doing} {path}: {error}"));
                }
            })));
        }
        let outcome = work(&self.tsdb);
        disk.before_each_write(None);
        outcome
    }

    fn maintain(&mut self) -> Result<(), String> {
        self.expire();
        let newest = self
            .tsdb
            .blocks()
            .iter()
            .map(|block| block.maxt)
            .max()
            .unwrap_or(i64::MIN);
        self.beside(Tsdb::maintain);
        self.expire();
        let mut world = self.world.lock();
        if world.disk.faults() == Faults::default() && !world.disk.is_dead() {
            let retention = world.options().retention_ms;
            if let Some(block) = self
                .tsdb
                .blocks()
                .iter()
                .find(|b| newest.saturating_sub(b.maxt) > retention)
            {
                return Err(format!("block {block:?} is past the retention, the newest is {newest}"));
            }
        }
        world.query(&self.tsdb)
    }

    fn expire(&self) {
        self.world.lock().expire(&self.tsdb);
    }

    fn delete(&mut self) -> Result<(), String> {
        let deletion = self.world.lock().deletion();
        let sets = [deletion.matchers.clone()];
        let outcome = self.tsdb.delete_series(&sets, deletion.mint, deletion.maxt);
        let mut world = self.world.lock();
        let is_alive = !world.disk.is_dead();
        world.model.delete(&deletion, outcome.is_ok() && is_alive);
        drop(world);
        self.may_fail("deleting", outcome)
    }

    fn snapshot(&mut self) -> Result<(), String> {
        let dir = Path::new("/snapshot");
        let with_head = self.world.lock().chance(70);
        self.remove_snapshot()?;
        let outcome = self.tsdb.snapshot(dir, with_head);
        let is_done = outcome.is_ok();
        self.may_fail("a snapshot", outcome)?;
        let world = self.world.lock();
        if !world.disk.is_dead() && is_done && with_head {
            let options = Options {
                dir: dir.to_path_buf(),
                ..world.options()
            };
            // Another process, which must not end the one that is alive.
            let vfs = world.disk.beside();
            let copy = match Tsdb::open(options, world.clock.clone(), vfs, &Registry::default()) {
                Ok(copy) => copy,
                Err(_) if world.disk.is_dead() => return Ok(()),
                Err(error) => return Err(format!("a snapshot cannot be opened: {error}")),
            };
            if world.disk.faults() == Faults::default() && !world.disk.is_dead() {
                let found = read(&copy, &[], i64::MIN, i64::MAX)?;
                if let Some(difference) = world.model.difference(&found, &[], i64::MIN, i64::MAX) {
                    return Err(format!("snapshot: {difference}"));
                }
            }
        }
        Ok(())
    }

    // One that failed, or one of before.
    fn remove_snapshot(&self) -> Result<(), String> {
        let disk = self.world.lock().disk.clone();
        let faults = disk.faults();
        disk.set_faults(Faults::default());
        let (vfs, dir) = (disk.beside(), Path::new("/snapshot"));
        let removed = if vfs.is_dir(dir) {
            vfs.remove_dir_all(dir)
        } else {
            Ok(())
        };
        disk.set_faults(faults);
        match removed {
            Err(error) if !disk.is_dead() => Err(format!("a snapshot cannot be removed: {error}")),
            _ => Ok(()),
        }
    }

    // Something begins to go wrong, or ends to.
    fn fault(&self) {
        let mut world = self.world.lock();
        let mut faults = Faults::default();
        if world.disk.faults() == faults {
            match world.rng.below(7) {
                0 | 1 => faults.room = Some(world.rng.below(30_000) as u64),
                2 => faults.read_only = true,
                3 => faults.failing_writes = true,
                4 => {
                    faults.failing_syncs = true;
                    world.model.in_doubt = true;
                }
                5 => faults.undeletable = Some("for-deletion".to_owned()),
                _ => {
                    let part = ["chunks", "index", "cupola-wal", "meta.json"][world.rng.below(4)];
                    faults.unreadable = Some(part.to_owned());
                }
            }
        }
        if self.is_traced {
            println!("{faults:?}");
        }
        world.disk.set_faults(faults);
    }

    fn restart(&mut self, end: End) -> Result<(), String> {
        let (disk, is_in_background) = {
            let mut world = self.world.lock();
            (world.disk.clone(), world.chance(30))
        };
        // A disk that cannot be read at the start leaves data out until the next one.
        let faults = Faults {
            unreadable: None,
            ..disk.faults()
        };
        disk.set_faults(faults);
        match end {
            End::Close => self.tsdb.close(),
            End::Kill | End::KillAfterPowerCut => disk.kill(),
            End::PowerCut => disk.cut_power(),
        }
        {
            let model = &mut self.world.lock().model;
            model.doubts_of_others += u32::from(model.in_doubt);
        }
        let is_power_cut = matches!(end, End::PowerCut | End::KillAfterPowerCut);
        let options = self.world.lock().options();
        let clock = self.world.lock().clock.clone();
        self.registry = Registry::default();
        let vfs = disk.mount();
        let opened = if is_in_background {
            disk.hold_reads(Some("cupola-wal"));
            Tsdb::open_in_background(options, clock, vfs, &self.registry)
        } else {
            Tsdb::open(options, clock, vfs, &self.registry)
        };
        self.tsdb = match opened {
            Ok(tsdb) => tsdb,
            Err(_) if disk.faults() != Faults::default() => {
                disk.hold_reads(None);
                disk.set_faults(Faults::default());
                return self.restart(if is_power_cut {
                    End::KillAfterPowerCut
                } else {
                    End::Kill
                });
            }
            Err(error) => return Err(format!("cannot be opened after {end:?}: {error}")),
        };
        if is_in_background {
            let is_killed = {
                let mut world = self.world.lock();
                for _ in 0..world.rng.below(4) {
                    world.write_during_replay(&self.tsdb)?;
                }
                world.chance(25)
            };
            if is_killed {
                // And once more, in the middle of it.
                disk.kill();
                self.tsdb.wait_for_replay();
                *self.counts.entry("kill during replay").or_default() += 1;
                return self.restart(if is_power_cut {
                    End::KillAfterPowerCut
                } else {
                    End::Kill
                });
            }
        }
        disk.hold_reads(None);
        self.tsdb.wait_for_replay();
        let found = read(&self.tsdb, &[], i64::MIN, i64::MAX)?;
        let mut world = self.world.lock();
        let checked = world.model.restarted(&found, is_power_cut);
        let checked = checked.and_then(|()| world.check_exemplars(&self.tsdb, &found));
        checked.map_err(|e| format!("after {end:?}: {e}"))
    }
}
