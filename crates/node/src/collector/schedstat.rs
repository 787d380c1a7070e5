//! `PROC/schedstat`: how long each CPU ran tasks and let them wait.

use cupola_exposition::MetricType::Counter;

use crate::error::{CollectError, Collected};
use crate::parse::{lines, text, uint, words};
use crate::registry::Ctx;

// Word of the line, name, help, divisor.
const STATS: [(usize, &str, &str, f64); 3] = [
    (
        0,
        "node_schedstat_running_seconds_total",
        "Number of seconds CPU spent running a process.",
        1e9,
    ),
    (
        1,
        "node_schedstat_waiting_seconds_total",
        "Number of seconds spent by processing waiting for this CPU.",
        1e9,
    ),
    (
        2,
        "node_schedstat_timeslices_total",
        "Number of timeslices executed by CPU.",
        1.0,
    ),
];

pub(crate) fn collect(ctx: &mut Ctx<'_>) -> Collected {
    let table = ctx.files.proc("schedstat").map_err(CollectError::absent_is_no_data)?;
    let mut cpus = Vec::new();
    for line in lines(table) {
        let mut words = words(line);
        let id = words.next().and_then(|word| word.strip_prefix(b"cpu"));
        let Some(id) = id.filter(|id| uint(id).is_some()) else {
            continue;
        };
        let values: Vec<u64> = words.skip(6).map_while(uint).take(STATS.len()).collect();
        cpus.push((text(id).into_owned(), values));
    }
    for (at, name, help, divisor) in STATS {
        ctx.out.family(name, help, Counter);
        for (cpu, values) in &cpus {
            if let Some(value) = values.get(at) {
                ctx.out.sample(&[("cpu", cpu)], *value as f64 / divisor);
            }
        }
    }
    Ok(())
}
