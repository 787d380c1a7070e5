//! `PROC/net/softnet_stat`: packets each CPU took in, dropped or put off.

use cupola_exposition::MetricType::{self, Counter, Gauge};

use crate::error::Collected;
use crate::parse::{hex, lines, words};
use crate::registry::Ctx;

// Column, name, help, kind. Kernels that lack a column show it as 0, as in node_exporter.
const STATS: [(usize, &str, &str, MetricType); 7] = [
    (11, "node_softnet_backlog_len", "Softnet backlog status", Gauge),
    (
        8,
        "node_softnet_cpu_collision_total",
        "Number of collision occur while obtaining device lock while transmitting",
        Counter,
    ),
    (1, "node_softnet_dropped_total", "Number of dropped packets", Counter),
    (
        10,
        "node_softnet_flow_limit_count_total",
        "Number of times flow limit has been reached",
        Counter,
    ),
    (
        0,
        "node_softnet_processed_total",
        "Number of processed packets",
        Counter,
    ),
    (
        9,
        "node_softnet_received_rps_total",
        "Number of times cpu woken up received_rps",
        Counter,
    ),
    (
        2,
        "node_softnet_times_squeezed_total",
        "Number of times processing packets ran out of quota",
        Counter,
    ),
];
// Since Linux 5.10 the line names its CPU; before, the line's number is all there is.
const CPU_COLUMN: usize = 12;

pub(crate) fn collect(ctx: &mut Ctx<'_>) -> Collected {
    let table = ctx.files.proc("net/softnet_stat")?;
    let mut cpus = Vec::new();
    for (number, line) in lines(table).enumerate() {
        let columns: Vec<u64> = words(line).map_while(hex).collect();
        let cpu = columns.get(CPU_COLUMN).copied().unwrap_or(number as u64);
        cpus.push((cpu.to_string(), columns));
    }
    for (column, name, help, kind) in STATS {
        ctx.out.family(name, help, kind);
        for (cpu, columns) in &cpus {
            let value = columns.get(column).copied().unwrap_or(0);
            ctx.out.sample(&[("cpu", cpu)], value as f64);
        }
    }
    Ok(())
}
