//! `PROC/stat` beyond the CPUs' times.

use cupola_exposition::MetricType::{self, Counter, Gauge};

use crate::error::Collected;
use crate::parse::{float, lines, words};
use crate::registry::Ctx;

// Key of the file, name, help, kind.
const STATS: [(&[u8], &str, &str, MetricType); 6] = [
    (
        b"intr",
        "node_intr_total",
        "Total number of interrupts serviced.",
        Counter,
    ),
    (
        b"ctxt",
        "node_context_switches_total",
        "Total number of context switches.",
        Counter,
    ),
    (
        b"btime",
        "node_boot_time_seconds",
        "Node boot time, in unixtime.",
        Gauge,
    ),
    (b"processes", "node_forks_total", "Total number of forks.", Counter),
    (
        b"procs_running",
        "node_procs_running",
        "Number of processes in runnable state.",
        Gauge,
    ),
    (
        b"procs_blocked",
        "node_procs_blocked",
        "Number of processes blocked waiting for I/O to complete.",
        Gauge,
    ),
];

// In the order of the kernel's columns; the first column is the sum.
const VECTORS: [&str; 10] = [
    "hi",
    "timer",
    "net_tx",
    "net_rx",
    "block",
    "block_iopoll",
    "tasklet",
    "sched",
    "hrtimer",
    "rcu",
];

pub(crate) fn collect(ctx: &mut Ctx<'_>) -> Collected {
    let has_softirq = ctx.settings.options.stat_softirq;
    for line in lines(ctx.files.stat()?) {
        // The line of interrupts is long and only its first number counts: words are taken as needed.
        let mut words = words(line);
        let Some(key) = words.next() else { continue };
        if let Some((_, name, help, kind)) = STATS.iter().find(|(known, ..)| *known == key)
            && let Some(value) = words.next().and_then(float)
        {
            ctx.out.single(name, help, *kind, value);
        } else if key == b"softirq" && has_softirq {
            ctx.out
                .family("node_softirqs_total", "Number of softirq calls.", Counter);
            for (vector, value) in VECTORS.into_iter().zip(words.skip(1).map_while(float)) {
                ctx.out.sample(&[("vector", vector)], value);
            }
        }
    }
    Ok(())
}
