//! Connection tracking: how full the table is, and what happened to packets.

use cupola_exposition::MetricType::Gauge;

use crate::error::{CollectError, Collected};
use crate::files::Files;
use crate::parse::{hex, lines, uint, words};
use crate::registry::Ctx;

// Column of the table, name, help.
const STATS: [(usize, &str, &str); 8] = [
    (
        2,
        "node_nf_conntrack_stat_found",
        "Number of searched entries which were successful.",
    ),
    (
        4,
        "node_nf_conntrack_stat_invalid",
        "Number of packets seen which can not be tracked.",
    ),
    (
        5,
        "node_nf_conntrack_stat_ignore",
        "Number of packets seen which are already connected to a conntrack entry.",
    ),
    (
        8,
        "node_nf_conntrack_stat_insert",
        "Number of entries inserted into the list.",
    ),
    (
        9,
        "node_nf_conntrack_stat_insert_failed",
        "Number of entries for which list insertion was attempted but failed.",
    ),
    (
        10,
        "node_nf_conntrack_stat_drop",
        "Number of packets dropped due to conntrack failure.",
    ),
    (
        11,
        "node_nf_conntrack_stat_early_drop",
        "Number of dropped conntrack entries to make room for new ones, if maximum table size was reached.",
    ),
    (
        16,
        "node_nf_conntrack_stat_search_restart",
        "Number of conntrack table lookups which had to be restarted due to hashtable resizes.",
    ),
];

pub(crate) fn collect(ctx: &mut Ctx<'_>) -> Collected {
    let entries = number(ctx.files, "sys/net/netfilter/nf_conntrack_count")?;
    ctx.out.single(
        "node_nf_conntrack_entries",
        "Number of currently allocated flow entries for connection tracking.",
        Gauge,
        entries,
    );
    let limit = number(ctx.files, "sys/net/netfilter/nf_conntrack_max")?;
    ctx.out.single(
        "node_nf_conntrack_entries_limit",
        "Maximum size of connection tracking table.",
        Gauge,
        limit,
    );
    // One line per CPU, summed.
    let table = ctx
        .files
        .proc("net/stat/nf_conntrack")
        .map_err(CollectError::absent_is_no_data)?;
    let mut sums = [0_u64; 17];
    for line in lines(table).skip(1) {
        for (sum, word) in sums.iter_mut().zip(words(line)) {
            *sum = sum.wrapping_add(hex(word).unwrap_or(0));
        }
    }
    for (column, name, help) in STATS {
        ctx.out
            .single(name, help, Gauge, sums.get(column).copied().unwrap_or(0) as f64);
    }
    Ok(())
}

fn number(files: &mut Files, path: &str) -> Result<f64, CollectError> {
    let content = files.proc(path).map_err(CollectError::absent_is_no_data)?;
    uint(content.trim_ascii())
        .map(|n| n as f64)
        .ok_or_else(|| CollectError::parse(path, "expected a number"))
}
