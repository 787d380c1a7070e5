//! `SYS/class/hwmon`: temperatures, fans, voltages, power.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use cupola_exposition::MetricType::{self, Counter, Gauge};

use crate::error::{CollectError, Collected};
use crate::files::{Files, names};
use crate::parse::{float, text};
use crate::registry::Ctx;

const SENSOR_TYPES: [&str; 14] = [
    "vrm",
    "beep_enable",
    "update_interval",
    "in",
    "cpu",
    "fan",
    "pwm",
    "temp",
    "curr",
    "power",
    "energy",
    "humidity",
    "intrusion",
    "freq",
];

// Property of a sensor (`input`, `max`, empty for the file that is named as the sensor) and its content.
type Sensor = BTreeMap<String, String>;

struct Chip {
    label: String,
    name: Option<String>,
    sensors: BTreeMap<String, Sensor>,
}

pub(crate) fn collect(ctx: &mut Ctx<'_>) -> Collected {
    let root = ctx.files.sys_path("class/hwmon");
    if !root.is_dir() {
        return Err(CollectError::NoData("class/hwmon".to_owned()));
    }
    let mut found = Vec::new();
    for entry in names(&root) {
        let dir = root.join(&entry);
        if dir.is_dir()
            && let Some(label) = label(ctx.files, &dir)
        {
            found.push((dir, entry, label));
        }
    }
    let mut seen = BTreeSet::new();
    let labels = found.iter().map(|(.., label)| label.clone());
    let shared: BTreeSet<String> = labels.filter(|label| !seen.insert(label.clone())).collect();
    let mut chips = Vec::new();
    for (dir, entry, mut label) in found {
        // Several chips of one device, as of a radio with three bands: each gets its own name behind the device's.
        if shared.contains(&label) {
            let name = chip_name(ctx.files, &dir).unwrap_or(entry);
            label = format!("{label}_{name}");
        }
        if ctx.settings.hwmon_chips.is_ignored(&label) {
            continue;
        }
        let mut sensors = BTreeMap::new();
        read_sensors(ctx.files, &dir, &mut sensors);
        read_sensors(ctx.files, &dir.join("device"), &mut sensors);
        sensors.retain(|sensor, _| !ctx.settings.hwmon_sensors.is_ignored(&format!("{label};{sensor}")));
        let name = chip_name(ctx.files, &dir);
        chips.push(Chip { label, name, sensors });
    }
    write(ctx, &chips);
    Ok(())
}

// `<bus>_<device>`: stable over reboots, as the number of the folder is not.
fn label(files: &mut Files, dir: &Path) -> Option<String> {
    if let Ok(device) = dir.join("device").canonicalize() {
        let clean_part = |path: Option<&Path>| {
            let name = path
                .and_then(Path::file_name)
                .map(|name| name.to_string_lossy().into_owned());
            clean(&name.unwrap_or_default())
        };
        let (device, bus) = (clean_part(Some(&device)), clean_part(device.parent()));
        if !device.is_empty() {
            return Some(if bus.is_empty() {
                device
            } else {
                format!("{bus}_{device}")
            });
        }
    }
    if let Some(name) = chip_name(files, dir) {
        return Some(name);
    }
    let real = dir.canonicalize().ok()?;
    let name = clean(&real.file_name()?.to_string_lossy());
    (!name.is_empty()).then_some(name)
}

fn chip_name(files: &mut Files, dir: &Path) -> Option<String> {
    let name = clean(&text(files.any(&dir.join("name")).ok()?));
    (!name.is_empty()).then_some(name)
}

// Lower case, anything but `[a-z0-9:_]` an underscore, none at the ends.
fn clean(name: &str) -> String {
    let lower = name.to_lowercase();
    let replaced: String = lower
        .chars()
        .map(|c| {
            if matches!(c, 'a'..='z' | '0'..='9' | ':' | '_') {
                c
            } else {
                '_'
            }
        })
        .collect();
    replaced.trim_matches('_').to_owned()
}

// `temp12_crit_alarm` is type temp, number 12, property crit_alarm; `name` is type name, number 0.
fn split_name(file: &str) -> Option<(&str, u32, &str)> {
    let digits = file.find(|c: char| c.is_ascii_digit());
    // Without digits the type takes all it can, underscores included.
    let Some(at) = digits else { return Some((file, 0, "")) };
    let (kind, rest) = file.split_at(at);
    let end = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
    let (number, rest) = rest.split_at(end);
    let property = if rest.is_empty() {
        ""
    } else {
        rest.strip_prefix('_').filter(|p| !p.is_empty())?
    };
    let number = number.parse().ok()?;
    (!kind.is_empty()).then_some((kind, number, property))
}

fn read_sensors(files: &mut Files, dir: &Path, sensors: &mut BTreeMap<String, Sensor>) {
    for file in names(dir) {
        let Some((kind, number, property)) = split_name(&file) else {
            continue;
        };
        if !SENSOR_TYPES.contains(&kind) {
            continue;
        }
        // A sensor that is asleep fails to be read; it is left out this time.
        let Ok(content) = files.any(&dir.join(&file)) else {
            continue;
        };
        let content = text(content).trim_matches('\n').to_owned();
        sensors
            .entry(format!("{kind}{number}"))
            .or_default()
            .insert(property.to_owned(), content);
    }
}

// Name, kind and help of a property's metric, and its value; `None` for what is no number.
fn metric(kind: &str, property: &str, content: &str, sensor: &Sensor) -> Option<(String, MetricType, String, f64)> {
    if kind == "beep_enable" {
        let is_on = f64::from(u8::from(content == "1"));
        return Some((
            "node_hwmon_beep_enabled".to_owned(),
            Gauge,
            "Hardware beep enabled".to_owned(),
            is_on,
        ));
    }
    let value = float(content.trim().as_bytes())?;
    let gauge = |name: String, help: String, value: f64| Some((name, Gauge, help, value));
    match kind {
        "vrm" => {
            let help = "Hardware voltage regulator".to_owned();
            return gauge("node_hwmon_voltage_regulator_version".to_owned(), help, value);
        }
        "update_interval" => {
            let help = "Hardware monitor update interval".to_owned();
            return gauge("node_hwmon_update_interval_seconds".to_owned(), help, value / 1000.0);
        }
        _ => {}
    }
    let mut name = format!("node_hwmon_{kind}");
    // The input is the sensor's value itself, unless there is a file named as the sensor alone.
    if property == "input" {
        if sensor.contains_key("") {
            name.push_str("_input");
        }
    } else if !property.is_empty() {
        name.push('_');
        name.push_str(&clean(property));
    }
    match (kind, property) {
        (_, "fault" | "alarm") => gauge(name, format!("Hardware sensor {property} status ({kind})"), value),
        (_, "beep") => gauge(
            name + "_enabled",
            "Hardware monitor sensor has beeping enabled".to_owned(),
            value,
        ),
        ("in" | "cpu", _) => gauge(
            name + "_volts",
            format!("Hardware monitor for voltage ({property})"),
            value / 1000.0,
        ),
        ("temp", property) if property != "type" => {
            let shown = if property.is_empty() { "input" } else { property };
            gauge(
                name + "_celsius",
                format!("Hardware monitor for temperature ({shown})"),
                value / 1000.0,
            )
        }
        ("curr", _) => gauge(
            name + "_amps",
            format!("Hardware monitor for current ({property})"),
            value / 1000.0,
        ),
        ("energy", _) => {
            let help = format!("Hardware monitor for joules used so far ({property})");
            Some((name + "_joule_total", Counter, help, value / 1e6))
        }
        ("power", "accuracy") => gauge(
            name,
            "Hardware monitor power meter accuracy, as a ratio".to_owned(),
            value / 1e6,
        ),
        ("power", "average_interval" | "average_interval_min" | "average_interval_max") => {
            let help = format!("Hardware monitor power usage update interval ({property})");
            gauge(name + "_seconds", help, value / 1000.0)
        }
        ("power", _) => gauge(
            name + "_watt",
            format!("Hardware monitor for power usage in watts ({property})"),
            value / 1e6,
        ),
        ("humidity", _) => {
            let help = format!(
                "Hardware monitor for humidity, as a ratio (multiply with 100.0 to get the humidity as a percentage) \
                 ({property})"
            );
            gauge(name, help, value / 1e6)
        }
        ("fan", "input" | "min" | "max" | "target") => gauge(
            name + "_rpm",
            format!("Hardware monitor for fan revolutions per minute ({property})"),
            value,
        ),
        ("freq", "input") => {
            // Its series is named by the sensor's label; without one there is none.
            sensor.get("label")?;
            gauge(
                name + "_freq_mhz",
                "Hardware monitor for GPU frequency in MHz".to_owned(),
                value / 1e6,
            )
        }
        _ => gauge(name, format!("Hardware monitor {kind} element {property}"), value),
    }
}

fn write(ctx: &mut Ctx<'_>, chips: &[Chip]) {
    ctx.out.family(
        "node_hwmon_chip_names",
        "Annotation metric for human-readable chip names",
        Gauge,
    );
    for chip in chips {
        if let Some(name) = &chip.name {
            ctx.out.sample(&[("chip", &chip.label), ("chip_name", name)], 1.0);
        }
    }
    ctx.out
        .family("node_hwmon_sensor_label", "Label for given chip and sensor", Gauge);
    for chip in chips {
        for (sensor, properties) in &chip.sensors {
            if let Some(label) = properties.get("label") {
                ctx.out
                    .sample(&[("chip", &chip.label), ("label", label), ("sensor", sensor)], 1.0);
            }
        }
    }
    // Families are made up of what the chips happen to have.
    type Samples<'a> = Vec<(&'a str, String, f64)>;
    let mut families: BTreeMap<String, (MetricType, String, Samples<'_>)> = BTreeMap::new();
    for chip in chips {
        for (sensor, properties) in &chip.sensors {
            let kind = sensor.trim_end_matches(|c: char| c.is_ascii_digit());
            for (property, content) in properties.iter().filter(|(property, _)| *property != "label") {
                let Some((name, metric_type, help, value)) = metric(kind, property, content, properties) else {
                    continue;
                };
                let shown = match (kind, properties.get("label")) {
                    ("freq", Some(label)) if property == "input" => clean(label),
                    _ => sensor.clone(),
                };
                let (_, _, samples) = families.entry(name).or_insert((metric_type, help, Vec::new()));
                // Two sensors may share a label; the first keeps the series.
                if !samples.iter().any(|(c, s, _)| *c == chip.label && *s == shown) {
                    samples.push((&chip.label, shown, value));
                }
            }
        }
    }
    for (name, (metric_type, help, samples)) in &families {
        ctx.out.family(name, help, *metric_type);
        for (chip, sensor, value) in samples {
            ctx.out.sample(&[("chip", *chip), ("sensor", sensor)], *value);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_split_into_type_number_and_property() {
        for (file, parts) in [
            ("temp12_crit_alarm", Some(("temp", 12, "crit_alarm"))),
            ("in0", Some(("in", 0, ""))),
            ("name", Some(("name", 0, ""))),
            ("update_interval", Some(("update_interval", 0, ""))),
            ("in0x", None),
            ("1temp", None),
            ("temp1_", None),
        ] {
            assert_eq!(split_name(file), parts, "{file}");
        }
    }

    #[test]
    fn names_are_cleaned() {
        assert_eq!(clean("Core 0\n"), "core_0");
        assert_eq!(clean("_applesmc.768_"), "applesmc_768");
    }
}
