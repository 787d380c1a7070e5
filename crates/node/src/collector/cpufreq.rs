//! `SYS/devices/system/cpu/cpu*/cpufreq`: how fast each CPU runs and may run.

use cupola_exposition::MetricType::Gauge;

use crate::error::Collected;
use crate::registry::Ctx;

// File, name, help. The files tell kilohertz.
const FILES: [(&str, &str, &str); 7] = [
    (
        "cpuinfo_cur_freq",
        "node_cpu_frequency_hertz",
        "Current CPU thread frequency in hertz.",
    ),
    (
        "cpuinfo_avg_freq",
        "node_cpu_frequency_avg_hertz",
        "Average CPU thread frequency in hertz.",
    ),
    (
        "cpuinfo_min_freq",
        "node_cpu_frequency_min_hertz",
        "Minimum CPU thread frequency in hertz.",
    ),
    (
        "cpuinfo_max_freq",
        "node_cpu_frequency_max_hertz",
        "Maximum CPU thread frequency in hertz.",
    ),
    (
        "scaling_cur_freq",
        "node_cpu_scaling_frequency_hertz",
        "Current scaled CPU thread frequency in hertz.",
    ),
    (
        "scaling_min_freq",
        "node_cpu_scaling_frequency_min_hertz",
        "Minimum scaled CPU thread frequency in hertz.",
    ),
    (
        "scaling_max_freq",
        "node_cpu_scaling_frequency_max_hertz",
        "Maximum scaled CPU thread frequency in hertz.",
    ),
];

pub(crate) fn collect(ctx: &mut Ctx<'_>) -> Collected {
    let all = ctx.files.cpus();
    let cpus: Vec<(String, String)> = all
        .iter()
        .map(|name| {
            (
                name.trim_start_matches("cpu").to_owned(),
                format!("devices/system/cpu/{name}/cpufreq"),
            )
        })
        .filter(|(_, dir)| ctx.files.sys_path(dir).is_dir())
        .collect();
    for (file, name, help) in FILES {
        // The cpu collector owns this family where it shows `PROC/cpuinfo`, as a family must not come twice.
        if name == "node_cpu_frequency_hertz" && ctx.settings.has_cpu_info() {
            continue;
        }
        ctx.out.family(name, help, Gauge);
        for (cpu, dir) in &cpus {
            if let Some(kilo_hertz) = ctx.files.number(&format!("{dir}/{file}")) {
                ctx.out.sample(&[("cpu", cpu)], kilo_hertz as f64 * 1000.0);
            }
        }
    }
    ctx.out.family(
        "node_cpu_scaling_governor",
        "Current enabled CPU frequency governor.",
        Gauge,
    );
    for (cpu, dir) in &cpus {
        let Some(current) = ctx.files.attribute(&format!("{dir}/scaling_governor")) else {
            continue;
        };
        let available = ctx
            .files
            .attribute(&format!("{dir}/scaling_available_governors"))
            .unwrap_or_default();
        for governor in available.split_whitespace() {
            let is_current = f64::from(u8::from(governor == current));
            ctx.out
                .sample(&[("cpu", cpu.as_str()), ("governor", governor)], is_current);
        }
    }
    Ok(())
}
