//! What the machine has for us: memory, as far as a container lets us use it.

use std::path::Path;

/// The memory this process may use, in bytes: the machine's, or the limit of its control group (version 2) or of one
/// above where that is lower. `None` where neither can be told.
pub(crate) fn memory() -> Option<u64> {
    let machine = std::fs::read_to_string("/proc/meminfo")
        .ok()
        .and_then(|text| total(&text));
    let group = std::fs::read_to_string("/proc/self/cgroup")
        .ok()
        .and_then(|text| group_limit(Path::new("/sys/fs/cgroup"), &text));
    match (machine, group) {
        (Some(a), Some(b)) => Some(a.min(b)),
        (a, b) => a.or(b),
    }
}

// What bodies get at least: half of it is the largest body.
const LEAST_BODIES: u64 = 128 << 20;

/// Bytes that the bodies of all scrapes may take together, and those of all messages pushed to us: an eighth of the memory
/// each, at least 128 MiB.
pub(crate) fn bodies() -> usize {
    let bytes = memory().map_or(LEAST_BODIES, |memory| (memory / 8).max(LEAST_BODIES));
    usize::try_from(bytes).unwrap_or(usize::MAX)
}

// `MemTotal:       24685320 kB`
fn total(meminfo: &str) -> Option<u64> {
    let line = meminfo.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    kib.checked_mul(1024)
}

// The lowest limit on the way from our group up to the root. In a container the root is our own group.
fn group_limit(root: &Path, groups: &str) -> Option<u64> {
    let own = groups.lines().find_map(|line| line.strip_prefix("0::"))?;
    let own = Path::new(own.trim().trim_start_matches('/'));
    let limits = own.ancestors().filter_map(|group| {
        let text = std::fs::read_to_string(root.join(group).join("memory.max")).ok()?;
        // `max` is no limit.
        text.trim().parse::<u64>().ok()
    });
    limits.min()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lowest_limit_above_us_counts() {
        let dir = tempfile::TempDir::new().unwrap();
        let root = dir.path();
        let ours = root.join("a/b");
        std::fs::create_dir_all(&ours).unwrap();
        assert_eq!(group_limit(root, "0::/a/b\n"), None);
        std::fs::write(ours.join("memory.max"), "max\n").unwrap();
        std::fs::write(root.join("a/memory.max"), "1048576\n").unwrap();
        assert_eq!(group_limit(root, "0::/a/b\n"), Some(1 << 20));
        std::fs::write(root.join("memory.max"), "4096\n").unwrap();
        assert_eq!(group_limit(root, "12:cpu:/x\n0::/\n"), Some(4096));
        assert_eq!(group_limit(root, "4:memory:/a\n"), None);
    }

    #[test]
    fn the_machine_tells_its_memory() {
        assert_eq!(total("MemFree: 1 kB\nMemTotal:    24 kB\n"), Some(24 * 1024));
        assert_eq!(total(""), None);
        assert!(memory().is_some_and(|bytes| bytes > 1 << 20));
    }
}
