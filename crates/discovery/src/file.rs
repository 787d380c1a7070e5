//! `file_sd_configs`: targets in files that are watched (Prometheus 3.14, `discovery/file`).
//!
//! The files are looked at twice a second: names, sizes, times. That sees a renamed file, one written in place, a symbolic
//! link that is turned (as Kubernetes does with mounted objects) and a file on a network, where notifications of the
//! kernel see only some of them.

use std::collections::{BTreeMap, BTreeSet};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use cupola_config::prometheus::{FileSdConfig, TargetGroup};
use cupola_config::{DiskFiles, Files as _};
use cupola_metrics::GaugeVec;
use parking_lot::Mutex;

use crate::groups::{MAX_BYTES, read_json, read_yaml};
use crate::metrics::DiscoveryMetrics;
use crate::provider::Updates;

const LABEL: &str = "__meta_filepath";
// How often names, sizes and times are looked at.
const LOOK_EVERY: Duration = Duration::from_millis(500);
// A file that is written in place is read once it is left alone for one look, or after so many looks.
const MOST_WAITS: u32 = 4;

// What tells one state of a file from another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Stamp {
    device: u64,
    inode: u64,
    size: u64,
    modified: (i64, i64),
}

#[derive(Debug, Default)]
struct Known {
    /// As it was when it was read last.
    read: Option<Stamp>,
    /// As it was at the last look, where that was another state than the one read.
    waiting: Option<(Stamp, u32)>,
    /// What was read last with success.
    groups: Vec<TargetGroup>,
    error: String,
}

/// The files of one provider.
#[derive(Debug)]
struct Watched {
    config: FileSdConfig,
    files: BTreeMap<PathBuf, Known>,
    // What is wrong with patterns.
    malformed: Vec<String>,
    told: Told,
}

pub(crate) async fn run(config: FileSdConfig, updates: Updates) {
    let every = config.refresh_interval;
    let mut watched = Watched::new(config, updates.metrics());
    let _forget = Forget(watched.told.clone());
    let mut last_whole: Option<Instant> = None;
    loop {
        let is_whole = last_whole.is_none_or(|last| last.elapsed() >= every);
        if is_whole {
            last_whole = Some(Instant::now());
        }
        let metrics = updates.metrics().clone();
        let looked = tokio::task::spawn_blocking(move || {
            let has_news = watched.look(is_whole, &metrics);
            (watched, has_news)
        });
        let has_news;
        (watched, has_news) = match looked.await {
            Ok(looked) => looked,
            Err(broken) => {
                updates.failed(&format!("reading broke off: {broken}"));
                return;
            }
        };
        if has_news || is_whole {
            match watched.errors() {
                errors if errors.is_empty() => updates.worked(),
                errors => updates.failed(&errors),
            }
            updates.replace(watched.groups());
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

// The files whose times are told; not any more once nobody watches them.
#[derive(Debug, Clone)]
struct Told {
    names: Arc<Mutex<BTreeSet<String>>>,
    metric: GaugeVec,
}

impl Told {
    fn set(&self, path: &Path, seconds: i64) {
        let name = path.display().to_string();
        self.metric.with(&[&name]).set(seconds as f64);
        self.names.lock().insert(name);
    }

    fn remove(&self, path: &Path) {
        let name = path.display().to_string();
        self.metric.remove(&[&name]);
        self.names.lock().remove(&name);
    }
}

struct Forget(Told);

impl Drop for Forget {
    fn drop(&mut self) {
        for name in std::mem::take(&mut *self.0.names.lock()) {
            self.0.metric.remove(&[&name]);
        }
    }
}

impl Watched {
    fn new(config: FileSdConfig, metrics: &DiscoveryMetrics) -> Self {
        let metric = metrics.file_mtime.clone();
        Self {
            config,
            files: BTreeMap::new(),
            malformed: Vec::new(),
            told: Told {
                names: Arc::default(),
                metric,
            },
        }
    }

    /// Reads what has changed, or everything where `is_whole`; whether anything is other than before.
    fn look(&mut self, is_whole: bool, metrics: &DiscoveryMetrics) -> bool {
        let started = Instant::now();
        let mut has_news = false;
        let mut has_read = false;
        let mut found: BTreeMap<PathBuf, Stamp> = BTreeMap::new();
        let mut malformed = Vec::new();
        for pattern in &self.config.files {
            match DiskFiles.glob(pattern) {
                Ok(paths) => found.extend(paths.into_iter().filter_map(|path| Some((path.clone(), stamp(&path)?)))),
                Err(error) => {
                    metrics.file_watch_errors.inc();
                    malformed.push(format!("{}: {error}", pattern.display()));
                }
            }
        }
        has_news |= self.malformed != malformed;
        self.malformed = malformed;
        self.files.retain(|path, _| {
            let stays = found.contains_key(path);
            if !stays {
                self.told.remove(path);
                has_news = true;
            }
            stays
        });
        for (path, stamp) in found {
            let known = self.files.entry(path.clone()).or_default();
            if !known.is_due(stamp, is_whole) {
                continue;
            }
            has_read = true;
            known.waiting = None;
            known.read = Some(stamp);
            match read(&path) {
                Ok(groups) => {
                    has_news |= known.groups != groups || !known.error.is_empty();
                    known.groups = groups;
                    known.error.clear();
                    self.told.set(&path, stamp.modified.0);
                }
                Err(error) => {
                    metrics.file_read_errors.inc();
                    has_news = true;
                    known.error = error;
                }
            }
        }
        if has_read || is_whole {
            metrics.file_scan_seconds.observe(started.elapsed().as_secs_f64());
        }
        has_news
    }

    fn groups(&self) -> Vec<TargetGroup> {
        self.files
            .values()
            .flat_map(|known| known.groups.iter().cloned())
            .collect()
    }

    fn errors(&self) -> String {
        let errors = self.files.iter().filter(|(_, known)| !known.error.is_empty());
        let of_files = errors.map(|(path, known)| format!("{}: {}", path.display(), known.error));
        let texts: Vec<String> = self.malformed.iter().cloned().chain(of_files).collect();
        texts.join("; ")
    }
}

impl Known {
    // Whether a file with this stamp is to be read now.
    fn is_due(&mut self, stamp: Stamp, is_whole: bool) -> bool {
        let Some(read) = self.read else {
            return true;
        };
        if read == stamp {
            self.waiting = None;
            return is_whole;
        }
        // Another file was renamed to this name, and it is whole; one written in place may be half there.
        if (read.device, read.inode) != (stamp.device, stamp.inode) {
            return true;
        }
        match &mut self.waiting {
            Some((last, _)) if *last == stamp => true,
            Some((last, waits)) => {
                *last = stamp;
                *waits += 1;
                *waits >= MOST_WAITS
            }
            None => {
                self.waiting = Some((stamp, 0));
                false
            }
        }
    }
}

fn stamp(path: &Path) -> Option<Stamp> {
    let metadata = std::fs::metadata(path).ok().filter(|m| !m.is_dir())?;
    Some(Stamp {
        device: metadata.dev(),
        inode: metadata.ino(),
        size: metadata.len(),
        modified: (metadata.mtime(), metadata.mtime_nsec()),
    })
}

fn read(path: &Path) -> Result<Vec<TargetGroup>, String> {
    let metadata = std::fs::metadata(path).map_err(|e| e.to_string())?;
    if !metadata.is_file() {
        return Err("is no file".to_owned());
    }
    if metadata.len() > MAX_BYTES as u64 {
        return Err(format!("is longer than {} MiB", MAX_BYTES >> 20));
    }
    let text = DiskFiles.read(path).map_err(|e| e.to_string())?;
    targets_of_file(path, &text)
}

/// The groups that a file of `file_sd_configs` holds: JSON where its name says so, else YAML. Their sources are `PATH:INDEX`.
///
/// # Errors
/// What is wrong with it, with the place where it is YAML.
pub fn targets_of_file(path: &Path, text: &str) -> Result<Vec<TargetGroup>, String> {
    let is_json = path
        .extension()
        .is_some_and(|ending| ending.eq_ignore_ascii_case("json"));
    if is_json {
        read_json(text.as_bytes(), LABEL, &path.display().to_string())
    } else {
        read_yaml(text, LABEL, path)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use cupola_metrics::Registry;

    fn stamp_of(inode: u64, size: u64) -> Stamp {
        Stamp {
            device: 1,
            inode,
            size,
            modified: (1, 0),
        }
    }

    #[test]
    fn a_file_written_in_place_is_read_once_it_is_left_alone() {
        let mut known = Known::default();
        assert!(known.is_due(stamp_of(7, 10), false));
        known.read = Some(stamp_of(7, 10));
        assert!(!known.is_due(stamp_of(7, 10), false));
        assert!(known.is_due(stamp_of(7, 10), true));
        // Grows, grows, stands still.
        assert!(!known.is_due(stamp_of(7, 20), false));
        assert!(!known.is_due(stamp_of(7, 30), false));
        assert!(known.is_due(stamp_of(7, 30), false));
        // One that is renamed to the name is whole.
        assert!(known.is_due(stamp_of(8, 40), false));
        // One that never stands still is read all the same.
        known.waiting = None;
        let due = (0..10).position(|i| known.is_due(stamp_of(7, 100 + i), false));
        assert_eq!(due, Some(4));
    }

    #[test]
    fn a_broken_file_keeps_its_targets_and_a_missing_one_loses_them() {
        let dir = tempfile::tempdir().unwrap();
        let metrics = DiscoveryMetrics::new(&Registry::default());
        let config = FileSdConfig {
            files: vec![dir.path().join("*.json"), dir.path().join("b.yml")],
            refresh_interval: Duration::from_secs(300),
        };
        let mut watched = Watched::new(config, &metrics);
        let addresses = |watched: &Watched| -> Vec<String> {
            let groups = watched.groups();
            let targets = groups.iter().flat_map(|group| &group.targets);
            targets.map(|target| target.value("__address__").to_owned()).collect()
        };
        let (a, b) = (dir.path().join("a.json"), dir.path().join("b.yml"));
        assert!(!watched.look(true, &metrics));
        std::fs::write(&a, r#"[{"targets": ["a:1"]}]"#).unwrap();
        std::fs::write(&b, "- targets: ['b:1', 'b:2']\n").unwrap();
        assert!(watched.look(false, &metrics));
        assert_eq!(addresses(&watched), ["a:1", "b:1", "b:2"]);
        assert!(!watched.look(true, &metrics), "the same again is no news");
        // Written elsewhere and renamed: broken, then good again.
        let next = dir.path().join("next");
        std::fs::write(&next, "[{").unwrap();
        std::fs::rename(&next, &a).unwrap();
        assert!(watched.look(false, &metrics));
        assert_eq!(addresses(&watched), ["a:1", "b:1", "b:2"]);
        assert!(
            watched.errors().contains("a.json: EOF while parsing"),
            "{}",
            watched.errors()
        );
        assert!((metrics.file_read_errors.get() - 1.0).abs() < f64::EPSILON);
        std::fs::write(&next, r#"[{"targets": ["a:2"]}]"#).unwrap();
        std::fs::rename(&next, &a).unwrap();
        assert!(watched.look(false, &metrics));
        assert_eq!(watched.errors(), "");
        assert_eq!(addresses(&watched), ["a:2", "b:1", "b:2"]);
        // Written in place: read at the second look.
        std::fs::write(&b, "- targets: ['b:3', 'b:4', 'b:5']\n").unwrap();
        assert!(!watched.look(false, &metrics));
        assert!(watched.look(false, &metrics));
        assert_eq!(addresses(&watched), ["a:2", "b:3", "b:4", "b:5"]);
        watched.config.files.push(dir.path().join("[.json"));
        assert!(watched.look(false, &metrics));
        assert!(
            watched.errors().ends_with("[.json: syntax error in pattern"),
            "{}",
            watched.errors()
        );
        std::fs::remove_file(&b).unwrap();
        assert!(watched.look(false, &metrics));
        assert_eq!(addresses(&watched), ["a:2"]);
    }
}
