//! This machine: its name tag for the report, its clock, and a scratch folder.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use rustix::time::{ClockId, clock_gettime};

/// Milliseconds since the epoch. A benchmark measures the real world, so this is the real clock.
pub(crate) fn now_ms() -> i64 {
    let now = clock_gettime(ClockId::Realtime);
    now.tv_sec * 1000 + now.tv_nsec / 1_000_000
}

/// Milliseconds since the epoch as Prometheus's API takes them: seconds with three decimals.
pub(crate) fn seconds(ms: i64) -> String {
    format!("{}.{:03}", ms / 1000, ms % 1000)
}

/// The date `ms` milliseconds after the epoch, UTC, as `2026-11-25`.
pub(crate) fn date(ms: i64) -> String {
    // Counted from 1 March 0000, so that the leap day ends a year.
    let days = ms.div_euclid(86_400_000) + 719_468;
    let era = days.div_euclid(146_097);
    let day_of_era = days.rem_euclid(146_097);
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted_month + 2) / 5 + 1;
    let month = if shifted_month < 10 {
        shifted_month + 3
    } else {
        shifted_month - 9
    };
    let year = era * 400 + year_of_era + i64::from(month <= 2);
    format!("{year:04}-{month:02}-{day:02}")
}

/// Processor, memory, kernel and load, in one line.
pub(crate) fn name_tag() -> String {
    let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
    let cpuinfo = read("/proc/cpuinfo");
    let value = |line: &str| line.split_once(':').map(|(_, v)| v.trim().to_owned());
    let model = cpuinfo.lines().find(|l| l.starts_with("model name")).and_then(value);
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let meminfo = read("/proc/meminfo");
    let total = meminfo.lines().find(|l| l.starts_with("MemTotal")).and_then(value);
    let kib: f64 = total.and_then(|t| t.split(' ').next()?.parse().ok()).unwrap_or(0.0);
    let load = read("/proc/loadavg");
    format!(
        "{cores} cores ({}), {:.0} GB, Linux {}, load {} before the run",
        model.unwrap_or_else(|| "unknown processor".to_owned()),
        kib * 1024.0 / 1e9,
        rustix::system::uname().release().to_string_lossy(),
        load.split(' ').next().unwrap_or("unknown"),
    )
}

/// A folder for one run, deleted when dropped unless it is to be kept.
pub(crate) struct Scratch {
    path: PathBuf,
    keep: bool,
}

impl Scratch {
    /// Makes a new folder below `parent`, which should lie on a disk and not in memory: bytes written are counted.
    pub(crate) fn new(parent: &Path, keep: bool) -> Result<Self> {
        let path = parent.join(format!("run-{}", std::process::id()));
        fs::create_dir_all(&path).with_context(|| format!("cannot make {}", path.display()))?;
        Ok(Self { path, keep })
    }

    /// Makes the folder `name` in this one.
    pub(crate) fn folder(&self, name: &str) -> Result<PathBuf> {
        let path = self.path.join(name);
        fs::create_dir_all(&path).with_context(|| format!("cannot make {}", path.display()))?;
        Ok(path)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        if self.keep {
            eprintln!("== bench: kept {}", self.path.display());
        } else if let Err(error) = fs::remove_dir_all(&self.path) {
            eprintln!("== bench: {} stays: {error}", self.path.display());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_the_calendars() {
        for (days, told) in [
            (0, "1970-01-01"),
            (-1, "1969-12-31"),
            (11_016, "2000-02-29"),
            (20_782, "2026-11-25"),
            (20_513, "2026-03-01"),
        ] {
            assert_eq!(date(days * 86_400_000 + 1), told);
        }
        assert_eq!(seconds(1_700_000_000_007), "1700000000.007");
    }
}
