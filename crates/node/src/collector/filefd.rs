//! `PROC/sys/fs/file-nr`: open files of the whole machine.

use cupola_exposition::MetricType::Gauge;

use crate::error::{CollectError, Collected};
use crate::parse::{float, words};
use crate::registry::Ctx;

pub(crate) fn collect(ctx: &mut Ctx<'_>) -> Collected {
    const PATH: &str = "sys/fs/file-nr";
    // Allocated, free (always 0 these days), maximum.
    let numbers: Vec<Option<f64>> = words(ctx.files.proc(PATH)?.trim_ascii()).map(float).collect();
    let [Some(allocated), _, Some(maximum)] = numbers.as_slice() else {
        return Err(CollectError::parse(PATH, "expected three numbers"));
    };
    ctx.out.single(
        "node_filefd_allocated",
        "File descriptor statistics: allocated.",
        Gauge,
        *allocated,
    );
    ctx.out.single(
        "node_filefd_maximum",
        "File descriptor statistics: maximum.",
        Gauge,
        *maximum,
    );
    Ok(())
}
