//! `PROC/pressure`: how long tasks waited for CPU, I/O and memory.

use cupola_exposition::MetricType::Counter;

use crate::error::{CollectError, Collected};
use crate::parse::{lines, uint, words};
use crate::registry::Ctx;

// File, line, name, help. The file tells microseconds. For the CPU "full" is meaningless on the whole machine.
const STATS: [(&str, &[u8], &str, &str); 6] = [
    (
        "cpu",
        b"some",
        "node_pressure_cpu_waiting_seconds_total",
        "Total time in seconds that processes have waited for CPU time",
    ),
    (
        "io",
        b"some",
        "node_pressure_io_waiting_seconds_total",
        "Total time in seconds that processes have waited due to IO congestion",
    ),
    (
        "io",
        b"full",
        "node_pressure_io_stalled_seconds_total",
        "Total time in seconds no process could make progress due to IO congestion",
    ),
    (
        "memory",
        b"some",
        "node_pressure_memory_waiting_seconds_total",
        "Total time in seconds that processes have waited for memory",
    ),
    (
        "memory",
        b"full",
        "node_pressure_memory_stalled_seconds_total",
        "Total time in seconds no process could make progress due to memory congestion",
    ),
    (
        "irq",
        b"full",
        "node_pressure_irq_stalled_seconds_total",
        "Total time in seconds no process could make progress due to IRQ congestion",
    ),
];

pub(crate) fn collect(ctx: &mut Ctx<'_>) -> Collected {
    let mut content = Vec::new();
    let mut read = "";
    for (resource, kind, name, help) in STATS {
        if read != resource {
            let path = format!("pressure/{resource}");
            match ctx.files.proc(&path).map_err(CollectError::absent_is_no_data) {
                Ok(found) => found.clone_into(&mut content),
                // Since Linux 6.1 and only with an option.
                Err(CollectError::NoData(_)) if resource == "irq" => continue,
                Err(error) => return Err(error),
            }
            read = resource;
        }
        if let Some(micros) = total(&content, kind) {
            ctx.out.single(name, help, Counter, micros as f64 / 1e6);
        }
    }
    Ok(())
}

// `some avg10=0.00 avg60=0.00 avg300=0.00 total=14036781`
fn total(content: &[u8], kind: &[u8]) -> Option<u64> {
    let line = lines(content).find(|line| words(line).next() == Some(kind))?;
    words(line).find_map(|word| uint(word.strip_prefix(b"total=")?))
}
