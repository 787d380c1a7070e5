//! What a process has used, as the kernel counts it.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use anyhow::{Context as _, Result, bail};

/// CPU time of process `pid` and of its ended children, user and system, in seconds.
///
/// The kernel counts in ticks of 10 ms, so a difference of two readings is right within 20 ms.
pub(crate) fn cpu_seconds(pid: u32) -> Result<f64> {
    let text = read(pid, "stat")?;
    let ticks = cpu_ticks(&text).with_context(|| format!("/proc/{pid}/stat cannot be read: {text}"))?;
    Ok(ticks as f64 / rustix::param::clock_ticks_per_second() as f64)
}

/// CPU time of one process in nanoseconds, summed over its threads.
///
/// A thread's clock vanishes with it: what it used since the last reading is lost, what was read before is kept.
#[derive(Debug)]
pub(crate) struct CpuClock {
    pid: u32,
    threads: BTreeMap<u32, u64>,
    ended: u64,
}

impl CpuClock {
    pub(crate) fn new(pid: u32) -> Self {
        Self {
            pid,
            threads: BTreeMap::new(),
            ended: 0,
        }
    }

    /// CPU time so far, in milliseconds.
    ///
    /// # Errors
    /// When the process has ended, or the kernel has no `schedstat`.
    pub(crate) fn read_ms(&mut self) -> Result<f64> {
        let dir = format!("/proc/{}/task", self.pid);
        let mut now = BTreeMap::new();
        for entry in fs::read_dir(&dir).with_context(|| format!("cannot read {dir}; has the server ended?"))? {
            let entry = entry.with_context(|| format!("cannot read {dir}"))?;
            // A thread may end between the listing and the reading.
            let Ok(text) = fs::read_to_string(entry.path().join("schedstat")) else {
                continue;
            };
            let thread = entry.file_name().to_str().and_then(|name| name.parse().ok());
            let used = text.split(' ').next().and_then(|ns| ns.parse::<u64>().ok());
            let (Some(thread), Some(used)) = (thread, used) else {
                bail!("{}/schedstat cannot be read: {text}", entry.path().display());
            };
            now.insert(thread, used);
        }
        if now.is_empty() {
            bail!("{dir}: no thread has a schedstat");
        }
        for (thread, used) in &self.threads {
            // A number that counts less than before is another thread.
            if now.get(thread).is_none_or(|later| later < used) {
                self.ended += used;
            }
        }
        self.threads = now;
        Ok((self.ended + self.threads.values().sum::<u64>()) as f64 / 1e6)
    }
}

// utime, stime, cutime and cstime are fields 14 to 17. The name before them may hold blanks and parentheses.
fn cpu_ticks(stat: &str) -> Option<u64> {
    let (_, after_name) = stat.rsplit_once(") ")?;
    let mut fields = after_name.split(' ').skip(11);
    let mut sum = 0;
    for _ in 0..4 {
        sum += fields.next()?.parse::<u64>().ok()?;
    }
    Some(sum)
}

/// Resident memory in bytes: now, and at its highest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Memory {
    pub(crate) rss: u64,
    pub(crate) peak: u64,
}

/// Makes the highest memory of process `pid` what it is now. False where the kernel does not allow it.
pub(crate) fn forget_peak(pid: u32) -> bool {
    fs::write(format!("/proc/{pid}/clear_refs"), "5").is_ok()
}

pub(crate) fn memory(pid: u32) -> Result<Memory> {
    let text = read(pid, "status")?;
    let kib = |name| field(&text, name).with_context(|| format!("/proc/{pid}/status has no {name}"));
    Ok(Memory {
        rss: kib("VmRSS:")? * 1024,
        peak: kib("VmHWM:")? * 1024,
    })
}

/// Bytes that process `pid` has caused to be written to a disk; what was deleted before it got there does not count.
///
/// None where the kernel does not tell.
pub(crate) fn written(pid: u32) -> Option<u64> {
    let text = read(pid, "io").ok()?;
    let cancelled = field(&text, "cancelled_write_bytes:").unwrap_or(0);
    Some(field(&text, "write_bytes:")?.saturating_sub(cancelled))
}

fn field(text: &str, name: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(name))?;
    line.split_whitespace().next()?.parse().ok()
}

fn read(pid: u32, file: &str) -> Result<String> {
    let path = format!("/proc/{pid}/{file}");
    fs::read_to_string(&path).with_context(|| format!("cannot read {path}; has the server ended?"))
}

/// Bytes that the files below `dir` take up on disk. Files that vanish meanwhile do not count.
pub(crate) fn folder_bytes(dir: &Path) -> u64 {
    let entries = fs::read_dir(dir).into_iter().flatten().flatten();
    entries
        .map(|entry| match entry.metadata() {
            Ok(metadata) if metadata.is_dir() => folder_bytes(&entry.path()),
            Ok(metadata) => metadata.blocks() * 512,
            Err(_) => 0,
        })
        .sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cpu_time_is_found_behind_any_name() {
        let stat = "42 (a) b (c) S 1 42 42 0 -1 4194560 100 0 0 0 250 50 7 3 20 0 12 0 999 1 2";
        assert_eq!(cpu_ticks(stat), Some(310));
        assert_eq!(cpu_ticks("42 (a) S 1 2"), None);
    }

    #[test]
    fn this_process_has_memory_and_a_clock() {
        let pid = std::process::id();
        let memory = memory(pid).unwrap();
        assert!(memory.rss > 100_000 && memory.peak >= memory.rss);
        assert!(cpu_seconds(pid).unwrap() >= 0.0);
        let mut clock = CpuClock::new(pid);
        let before = clock.read_ms().unwrap();
        assert!(before > 0.0 && clock.read_ms().unwrap() >= before);
    }
}
