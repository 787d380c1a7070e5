//! What time the machine believes it is, where, and by which clock.

use cupola_exposition::MetricType::Gauge;

use crate::error::Collected;
use crate::registry::Ctx;

pub(crate) fn collect(ctx: &mut Ctx<'_>) -> Collected {
    let now_ms = ctx.settings.options.clock.now_ms();
    ctx.out.single(
        "node_time_seconds",
        "System time in seconds since epoch (1970).",
        Gauge,
        now_ms as f64 / 1000.0,
    );
    let now = jiff::Timestamp::from_millisecond(now_ms).unwrap_or(jiff::Timestamp::UNIX_EPOCH);
    let zone = jiff::tz::TimeZone::system();
    let offset = zone.to_offset_info(now);
    ctx.out.family(
        "node_time_zone_offset_seconds",
        "System time zone offset in seconds.",
        Gauge,
    );
    ctx.out.sample(
        &[("time_zone", offset.abbreviation())],
        f64::from(offset.offset().seconds()),
    );

    const DIR: &str = "devices/system/clocksource";
    let sources: Vec<(String, String, String)> = ctx
        .files
        .sys_names(DIR)
        .into_iter()
        .filter_map(|name| {
            let device = name.strip_prefix("clocksource")?.to_owned();
            let available = ctx.files.attribute(&format!("{DIR}/{name}/available_clocksource"))?;
            let current = ctx.files.attribute(&format!("{DIR}/{name}/current_clocksource"))?;
            Some((device, available, current))
        })
        .collect();
    ctx.out.family(
        "node_time_clocksource_available_info",
        "Available clocksources read from '/sys/devices/system/clocksource'.",
        Gauge,
    );
    for (device, available, _) in &sources {
        for source in available.split_whitespace() {
            ctx.out.sample(&[("clocksource", source), ("device", device)], 1.0);
        }
    }
    ctx.out.family(
        "node_time_clocksource_current_info",
        "Current clocksource read from '/sys/devices/system/clocksource'.",
        Gauge,
    );
    for (device, _, current) in &sources {
        ctx.out.sample(&[("clocksource", current), ("device", device)], 1.0);
    }
    Ok(())
}
