//! `PROC/loadavg`.

use cupola_exposition::MetricType::Gauge;

use crate::error::{CollectError, Collected};
use crate::parse::{float, words};
use crate::registry::Ctx;

pub(crate) fn collect(ctx: &mut Ctx<'_>) -> Collected {
    let mut loads = words(ctx.files.proc("loadavg")?).map(float);
    for (name, help) in [
        ("node_load1", "1m load average."),
        ("node_load5", "5m load average."),
        ("node_load15", "15m load average."),
    ] {
        let load = loads.next().flatten();
        let load = load.ok_or_else(|| CollectError::parse("loadavg", "expected three load averages"))?;
        ctx.out.single(name, help, Gauge, load);
    }
    Ok(())
}
