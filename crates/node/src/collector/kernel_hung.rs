//! `PROC/sys/kernel/hung_task_detect_count`, since Linux 6.13.

use cupola_exposition::MetricType::Counter;

use crate::error::{CollectError, Collected};
use crate::parse::uint;
use crate::registry::Ctx;

pub(crate) fn collect(ctx: &mut Ctx<'_>) -> Collected {
    const PATH: &str = "sys/kernel/hung_task_detect_count";
    let content = ctx.files.proc(PATH).map_err(CollectError::absent_is_no_data)?;
    let count = uint(content.trim_ascii()).ok_or_else(|| CollectError::parse(PATH, "expected a number"))?;
    ctx.out.single(
        "node_kernel_hung_tasks_total",
        "Total number of tasks that have been detected as hung since the system booted.",
        Counter,
        count as f64,
    );
    Ok(())
}
