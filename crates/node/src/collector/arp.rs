//! `PROC/net/arp`: how many neighbours each device knows.

use std::collections::BTreeMap;

use cupola_exposition::MetricType;

use crate::error::Collected;
use crate::parse::{lines, text, words};
use crate::registry::Ctx;

pub(crate) fn collect(ctx: &mut Ctx<'_>) -> Collected {
    let table = ctx.files.proc("net/arp")?;
    let mut counts: BTreeMap<String, u32> = BTreeMap::new();
    for line in lines(table).skip(1) {
        // IP address, HW type, Flags, HW address, Mask, Device.
        if let Some(device) = words(line).nth(5) {
            *counts.entry(text(device).into_owned()).or_default() += 1;
        }
    }
    ctx.out
        .family("node_arp_entries", "ARP entries by device", MetricType::Gauge);
    for (device, count) in &counts {
        if !ctx.settings.arp_devices.is_ignored(device) {
            ctx.out.sample(&[("device", device)], f64::from(*count));
        }
    }
    Ok(())
}
