//! node_exporter's own end-to-end run: its fixtures, its flags, what it printed.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::Command;
use std::sync::Arc;

use cupola_env::ManualClock;
use cupola_testkit::conformance_dir;

use super::compare::{differences, families};
use super::scrape;
use crate::{NodeOptions, collector_names};

fn unpack(dir: &Path) -> tempfile::TempDir {
    let temp = tempfile::tempdir().unwrap();
    let status = Command::new("tar")
        .arg("xzf")
        .arg(dir.join("fixtures.tar.gz"))
        .arg("-C")
        .arg(temp.path())
        .status()
        .expect("tar is needed to unpack the fixtures");
    assert!(status.success());
    temp
}

// The flags as options, as far as they concern collectors we have.
fn options(dir: &Path, root: &Path) -> NodeOptions {
    let mut options = NodeOptions {
        clock: Arc::new(ManualClock::new(1_000)),
        ..NodeOptions::default()
    };
    let flags = std::fs::read_to_string(dir.join("e2e-flags.txt")).unwrap();
    let is_collector = |name: &str| collector_names().any(|(known, _)| known == name);
    for flag in flags.lines() {
        let flag = flag.strip_prefix("--").unwrap();
        let (name, value) = flag
            .split_once('=')
            .map_or((flag, None), |(name, value)| (name, Some(value)));
        let text = || value.map(str::to_owned);
        let path = || root.join(value.unwrap());
        match name {
            "path.procfs" => options.procfs = path(),
            "path.sysfs" => options.sysfs = path(),
            "path.rootfs" => options.rootfs = path(),
            "path.udev.data" => options.udev_data = path(),
            "collector.arp.device-exclude" => options.arp_device_exclude = text(),
            "collector.cpu.info" => options.cpu_info = true,
            "collector.cpu.info.bugs-include" => options.cpu_info_bugs_include = text(),
            "collector.cpu.info.flags-include" => options.cpu_info_flags_include = text(),
            "collector.hwmon.chip-include" => options.hwmon_chip_include = text(),
            "collector.netclass.ignore-invalid-speed" => options.netclass_ignore_invalid_speed = true,
            "collector.netclass.ignored-devices" => options.netclass_ignored_devices = text().unwrap(),
            "collector.netdev.device-include" => options.netdev_device_include = text(),
            "collector.stat.softirq" => options.stat_softirq = true,
            _ => {
                if let Some(collector) = name.strip_prefix("no-collector.").filter(|name| is_collector(name)) {
                    options.collectors.insert(collector.to_owned(), false);
                } else if let Some(collector) = name.strip_prefix("collector.").filter(|name| is_collector(name)) {
                    options.collectors.insert(collector.to_owned(), true);
                }
            }
        }
    }
    options
}

struct Catalogue {
    // Family: collector, type, help.
    rows: BTreeMap<String, (String, String, String)>,
}

impl Catalogue {
    fn read(dir: &Path) -> Self {
        let text = std::fs::read_to_string(dir.join("metrics-catalogue.tsv")).unwrap();
        let rows = text.lines().skip(1).map(|line| {
            let fields: Vec<&str> = line.split('\t').collect();
            let field = |at: usize| fields.get(at).copied().unwrap_or("").to_owned();
            (field(0), (field(2), field(1), field(5)))
        });
        Self { rows: rows.collect() }
    }
}

// Dropped before the reference run was written down: they differ from run to run.
fn is_volatile(sample: &str) -> bool {
    let name = sample
        .split("__name__=\"")
        .nth(1)
        .and_then(|rest| rest.split('"').next())
        .unwrap_or("");
    let traffic = ["node_network_receive_", "node_network_transmit_"]
        .iter()
        .any(|prefix| {
            name.strip_prefix(prefix)
                .is_some_and(|end| end == "bytes_total" || end == "packets_total")
        });
    traffic || name == "node_time_seconds" || name == "node_time_zone_offset_seconds"
}

#[test]
fn the_reference_run_is_reproduced_for_the_collectors_we_have() {
    let Some(dir) = conformance_dir("node") else { return };
    let temp = unpack(&dir);
    let got = scrape(options(&dir, temp.path()));
    let mut got = families(&got);
    for family in got.values_mut() {
        family.samples.retain(|sample, _| !is_volatile(sample));
    }
    let expected = families(&std::fs::read_to_string(dir.join("expected-shared.txt")).unwrap());
    let catalogue = Catalogue::read(&dir);
    let ours: BTreeSet<&str> = collector_names().map(|(name, _)| name).collect();

    let mut wrong = Vec::new();
    let (mut compared, mut samples) = (0, 0);
    for (name, family) in &expected {
        let Some((collector, ..)) = catalogue.rows.get(name) else {
            continue;
        };
        if ours.contains(collector.as_str()) {
            compared += 1;
            samples += family.samples.len();
            wrong.extend(differences(name, family, got.get(name)));
        }
    }
    assert_eq!(wrong, Vec::<String>::new());
    assert!(compared >= 130, "only {compared} families were compared");
    eprintln!("node: {compared} families with {samples} samples as in the reference run");

    // Whatever else we show has the catalogue's type and help.
    for (name, family) in &got {
        let Some((collector, kind, help)) = catalogue.rows.get(name) else {
            continue;
        };
        let shown = family.kind.map(cupola_exposition::MetricType::text_name);
        assert_eq!(
            (shown, family.help.as_deref()),
            (Some(kind.as_str()), Some(help.as_str())),
            "{collector}: {name}"
        );
    }
    // A collector that succeeded there must here.
    for (sample, value) in &expected["node_scrape_collector_success"].samples {
        let got = got["node_scrape_collector_success"].samples.get(sample);
        assert!(got.is_none_or(|got| got == value), "{sample}");
    }
}

#[test]
fn every_family_we_show_is_in_the_catalogue() {
    let Some(dir) = conformance_dir("node") else { return };
    let temp = unpack(&dir);
    let catalogue = Catalogue::read(&dir);
    let mut unknown = BTreeSet::new();
    for body in [scrape(options(&dir, temp.path())), scrape(NodeOptions::default())] {
        unknown.extend(
            families(&body)
                .into_keys()
                .filter(|name| !catalogue.rows.contains_key(name)),
        );
    }
    // The fixtures' kernel did not have this field yet; the flag's default lets it through.
    unknown.remove("node_netstat_TcpExt_TCPSynRetrans");
    // The two that the catalogue leaves out because every collector shares them.
    let expected = ["node_exporter_build_info", "node_scrape_collector_duration_seconds"];
    assert_eq!(unknown.iter().map(String::as_str).collect::<Vec<_>>(), expected);
}
