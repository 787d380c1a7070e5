//! `PROC/meminfo`.

use cupola_exposition::MetricType::Gauge;

use crate::error::{CollectError, Collected};
use crate::parse::{lines, uint, words};
use crate::registry::Ctx;

// A key of the file, and the metric's name behind `node_memory_`. A key that is not listed is not shown: the kernel
// adds some with each release, and clients count on the names.
const KEYS: [(&str, &str); 51] = [
    ("Active", "Active_bytes"),
    ("Active(anon)", "Active_anon_bytes"),
    ("Active(file)", "Active_file_bytes"),
    ("AnonHugePages", "AnonHugePages_bytes"),
    ("AnonPages", "AnonPages_bytes"),
    ("Bounce", "Bounce_bytes"),
    ("Buffers", "Buffers_bytes"),
    ("Cached", "Cached_bytes"),
    ("CmaFree", "CmaFree_bytes"),
    ("CmaTotal", "CmaTotal_bytes"),
    ("CommitLimit", "CommitLimit_bytes"),
    ("Committed_AS", "Committed_AS_bytes"),
    ("DirectMap1G", "DirectMap1G_bytes"),
    ("DirectMap2M", "DirectMap2M_bytes"),
    ("DirectMap4k", "DirectMap4k_bytes"),
    ("Dirty", "Dirty_bytes"),
    ("HardwareCorrupted", "HardwareCorrupted_bytes"),
    ("HugePages_Free", "HugePages_Free"),
    ("HugePages_Rsvd", "HugePages_Rsvd"),
    ("HugePages_Surp", "HugePages_Surp"),
    ("HugePages_Total", "HugePages_Total"),
    ("Hugepagesize", "Hugepagesize_bytes"),
    ("Inactive", "Inactive_bytes"),
    ("Inactive(anon)", "Inactive_anon_bytes"),
    ("Inactive(file)", "Inactive_file_bytes"),
    ("KernelStack", "KernelStack_bytes"),
    ("Mapped", "Mapped_bytes"),
    ("MemAvailable", "MemAvailable_bytes"),
    ("MemFree", "MemFree_bytes"),
    ("MemTotal", "MemTotal_bytes"),
    ("Mlocked", "Mlocked_bytes"),
    ("NFS_Unstable", "NFS_Unstable_bytes"),
    ("PageTables", "PageTables_bytes"),
    ("Percpu", "Percpu_bytes"),
    ("SReclaimable", "SReclaimable_bytes"),
    ("SUnreclaim", "SUnreclaim_bytes"),
    ("Shmem", "Shmem_bytes"),
    ("ShmemHugePages", "ShmemHugePages_bytes"),
    ("ShmemPmdMapped", "ShmemPmdMapped_bytes"),
    ("Slab", "Slab_bytes"),
    ("SwapCached", "SwapCached_bytes"),
    ("SwapFree", "SwapFree_bytes"),
    ("SwapTotal", "SwapTotal_bytes"),
    ("Unevictable", "Unevictable_bytes"),
    ("VmallocChunk", "VmallocChunk_bytes"),
    ("VmallocTotal", "VmallocTotal_bytes"),
    ("VmallocUsed", "VmallocUsed_bytes"),
    ("Writeback", "Writeback_bytes"),
    ("WritebackTmp", "WritebackTmp_bytes"),
    ("Zswap", "Zswap_bytes"),
    ("Zswapped", "Zswapped_bytes"),
];

pub(crate) fn collect(ctx: &mut Ctx<'_>) -> Collected {
    let mut name = String::new();
    let mut help = String::new();
    let mut is_meminfo = false;
    for line in lines(ctx.files.proc("meminfo")?) {
        let Some(colon) = line.iter().position(|b| *b == b':') else {
            continue;
        };
        let (key, rest) = line.split_at(colon);
        let Ok(at) = KEYS.binary_search_by(|(known, _)| known.as_bytes().cmp(key)) else {
            continue;
        };
        let Some((_, suffix)) = KEYS.get(at) else { continue };
        let mut words = words(rest.get(1..).unwrap_or(&[]));
        let value = words.next().and_then(uint);
        let value = value.ok_or_else(|| CollectError::parse("meminfo", "expected a number behind the colon"))?;
        let value = if words.next() == Some(b"kB") {
            value as f64 * 1024.0
        } else {
            value as f64
        };
        name.clear();
        name.push_str("node_memory_");
        name.push_str(suffix);
        help.clear();
        help.push_str("Memory information field ");
        help.push_str(suffix);
        help.push('.');
        ctx.out.single(&name, &help, Gauge, value);
        is_meminfo = true;
    }
    if is_meminfo {
        Ok(())
    } else {
        Err(CollectError::parse("meminfo", "expected at least one known key"))
    }
}

#[cfg(test)]
mod tests {
    use super::KEYS;

    #[test]
    fn keys_are_sorted_for_the_search() {
        assert!(KEYS.is_sorted_by(|a, b| a.0.as_bytes() < b.0.as_bytes()));
    }
}
