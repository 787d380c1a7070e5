//! `SYS/class/thermal`: temperatures and what is done against them.

use cupola_exposition::MetricType::Gauge;

use crate::error::Collected;
use crate::registry::Ctx;

pub(crate) fn collect(ctx: &mut Ctx<'_>) -> Collected {
    let names = ctx.files.sys_names("class/thermal");
    ctx.out
        .family("node_thermal_zone_temp", "Zone temperature in Celsius", Gauge);
    for name in &names {
        let Some(zone) = name.strip_prefix("thermal_zone") else {
            continue;
        };
        // Some drivers fail until the device is awake: that zone is left out this time.
        let (kind, temperature) = read(ctx, name, "temp");
        if let Some(temperature) = temperature {
            ctx.out
                .sample(&[("type", kind.as_str()), ("zone", zone)], temperature / 1000.0);
        }
    }
    for (file, metric, help) in [
        (
            "cur_state",
            "node_cooling_device_cur_state",
            "Current throttle state of the cooling device",
        ),
        (
            "max_state",
            "node_cooling_device_max_state",
            "Maximum throttle state of the cooling device",
        ),
    ] {
        ctx.out.family(metric, help, Gauge);
        for name in &names {
            let Some(device) = name.strip_prefix("cooling_device") else {
                continue;
            };
            let (kind, state) = read(ctx, name, file);
            if let Some(state) = state {
                ctx.out.sample(&[("name", device), ("type", kind.as_str())], state);
            }
        }
    }
    Ok(())
}

fn read(ctx: &mut Ctx<'_>, name: &str, file: &str) -> (String, Option<f64>) {
    let value = ctx
        .files
        .number(&format!("class/thermal/{name}/{file}"))
        .map(|value| value as f64);
    let kind = ctx
        .files
        .attribute(&format!("class/thermal/{name}/type"))
        .unwrap_or_default();
    (kind, value)
}
