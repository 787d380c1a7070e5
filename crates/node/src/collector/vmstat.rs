//! `PROC/vmstat`, as far as `collector.vmstat.fields` lets it through.

use cupola_exposition::MetricType;

use crate::error::{CollectError, Collected};
use crate::parse::{float, lines, text, words};
use crate::registry::Ctx;

pub(crate) fn collect(ctx: &mut Ctx<'_>) -> Collected {
    let fields = &ctx.settings.vmstat_fields;
    for line in lines(ctx.files.proc("vmstat")?) {
        let mut words = words(line);
        let (Some(key), value) = (words.next(), words.next()) else {
            continue;
        };
        let key = text(key);
        if !fields.is_shown(&key) {
            continue;
        }
        let value = value
            .and_then(float)
            .ok_or_else(|| CollectError::parse("vmstat", "expected a name and a number"))?;
        let name = format!("node_vmstat_{key}");
        let help = format!("/proc/vmstat information field {key}.");
        ctx.out.single(&name, &help, MetricType::Unknown, value);
    }
    Ok(())
}
