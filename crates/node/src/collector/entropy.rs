//! `PROC/sys/kernel/random`.

use cupola_exposition::MetricType::Gauge;

use crate::error::{CollectError, Collected};
use crate::parse::uint;
use crate::registry::Ctx;

pub(crate) fn collect(ctx: &mut Ctx<'_>) -> Collected {
    for (path, name, help) in [
        (
            "sys/kernel/random/entropy_avail",
            "node_entropy_available_bits",
            "Bits of available entropy.",
        ),
        (
            "sys/kernel/random/poolsize",
            "node_entropy_pool_size_bits",
            "Bits of entropy pool.",
        ),
    ] {
        let value = uint(ctx.files.proc(path)?.trim_ascii());
        let value = value.ok_or_else(|| CollectError::parse(path, "expected a number"))?;
        ctx.out.single(name, help, Gauge, value as f64);
    }
    Ok(())
}
