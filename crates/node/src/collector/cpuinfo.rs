//! `PROC/cpuinfo`, read only with `collector.cpu.info`.

use cupola_exposition::MetricType::Gauge;

use crate::error::Collected;
use crate::parse::{float, lines, text};
use crate::registry::Ctx;

#[derive(Debug, Default, Clone)]
struct Cpu {
    processor: String,
    package: String,
    core: String,
    vendor: String,
    family: String,
    model: String,
    model_name: String,
    microcode: String,
    stepping: String,
    cache_size: String,
    mega_hertz: Option<f64>,
    flags: String,
    bugs: String,
}

fn parse(content: &[u8]) -> Vec<Cpu> {
    let mut cpus: Vec<Cpu> = Vec::new();
    for line in lines(content) {
        let Some(colon) = line.iter().position(|b| *b == b':') else {
            continue;
        };
        let (key, value) = line.split_at(colon);
        let value = text(value.get(1..).unwrap_or(&[]).trim_ascii()).into_owned();
        let key = key.trim_ascii();
        if key == b"processor" {
            cpus.push(Cpu {
                processor: value,
                ..Cpu::default()
            });
            continue;
        }
        let Some(cpu) = cpus.last_mut() else { continue };
        match key {
            b"vendor_id" => cpu.vendor = value,
            b"cpu family" => cpu.family = value,
            b"model" => cpu.model = value,
            b"model name" => cpu.model_name = value,
            b"stepping" => cpu.stepping = value,
            b"microcode" => cpu.microcode = value,
            b"cpu MHz" => cpu.mega_hertz = float(value.as_bytes()),
            b"cache size" => cpu.cache_size = value,
            b"physical id" => cpu.package = value,
            b"core id" => cpu.core = value,
            b"flags" => cpu.flags = value,
            b"bugs" => cpu.bugs = value,
            _ => {}
        }
    }
    cpus
}

pub(super) fn collect(ctx: &mut Ctx<'_>) -> Collected {
    let cpus = parse(ctx.files.proc("cpuinfo")?);
    ctx.out
        .family("node_cpu_info", "CPU information from /proc/cpuinfo.", Gauge);
    for cpu in &cpus {
        ctx.out.sample(
            &[
                ("cachesize", &cpu.cache_size),
                ("core", &cpu.core),
                ("cpu", &cpu.processor),
                ("family", &cpu.family),
                ("microcode", &cpu.microcode),
                ("model", &cpu.model),
                ("model_name", &cpu.model_name),
                ("package", &cpu.package),
                ("stepping", &cpu.stepping),
                ("vendor", &cpu.vendor),
            ],
            1.0,
        );
    }
    // What the cpufreq collector reads is better; without it this is all there is. node_exporter shows it where the
    // collector is on.
    if ctx.settings.is_enabled("cpufreq", true) {
        ctx.out.family(
            "node_cpu_frequency_hertz",
            "CPU frequency in hertz from /proc/cpuinfo.",
            Gauge,
        );
        for cpu in &cpus {
            if let Some(mega_hertz) = cpu.mega_hertz {
                let labels = [("core", &cpu.core), ("cpu", &cpu.processor), ("package", &cpu.package)];
                ctx.out.sample(&labels, mega_hertz * 1e6);
            }
        }
    }
    let Some(first) = cpus.first() else { return Ok(()) };
    for (pattern, label, words, name, help) in [
        (
            &ctx.settings.cpu_flags,
            "flag",
            &first.flags,
            "node_cpu_flag_info",
            "The `flags` field of CPU information from /proc/cpuinfo taken from the first core.",
        ),
        (
            &ctx.settings.cpu_bugs,
            "bug",
            &first.bugs,
            "node_cpu_bug_info",
            "The `bugs` field of CPU information from /proc/cpuinfo taken from the first core.",
        ),
    ] {
        let Some(pattern) = pattern else { continue };
        ctx.out.family(name, help, Gauge);
        for word in words.split_whitespace().filter(|word| pattern.is_match(word)) {
            ctx.out.sample(&[(label, word)], 1.0);
        }
    }
    Ok(())
}
