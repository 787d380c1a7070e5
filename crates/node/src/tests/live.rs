//! This machine, and Debian's exporter beside us on it.

use std::collections::BTreeSet;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::process::{Child, Command, Stdio};

use super::compare::{differences, families};
use super::scrape;
use crate::NodeOptions;
use crate::options::DISKSTATS_EXCLUDE;

#[test]
fn this_machine_is_read_without_a_series_twice() {
    let families = families(&scrape(NodeOptions::default()));
    for name in [
        "node_cpu_seconds_total",
        "node_memory_MemTotal_bytes",
        "node_load1",
        "node_uname_info",
    ] {
        assert!(
            families.get(name).is_some_and(|family| !family.samples.is_empty()),
            "{name} is missing"
        );
    }
    let success = &families["node_scrape_collector_success"].samples;
    for collector in [
        "cpu",
        "meminfo",
        "loadavg",
        "stat",
        "vmstat",
        "netdev",
        "filesystem",
        "uname",
        "time",
    ] {
        let sample = format!("{{__name__=\"node_scrape_collector_success\", collector=\"{collector}\"}}");
        assert_eq!(success.get(&sample), Some(&1.0), "{collector}");
    }
    let idle = families["node_cpu_seconds_total"]
        .samples
        .iter()
        .filter(|(labels, _)| labels.contains("idle"));
    assert!(idle.map(|(_, value)| value).sum::<f64>() > 0.0);
}

#[test]
fn the_routing_socket_tells_what_the_files_tell() {
    let by_socket = families(&scrape(NodeOptions::default()));
    let by_files = families(&scrape(NodeOptions {
        netdev_netlink: false,
        ..NodeOptions::default()
    }));
    let mut compared = 0;
    for (name, family) in by_files.iter().filter(|(name, _)| name.starts_with("node_network_")) {
        // Traffic goes on between the two scrapes.
        if name.starts_with("node_network_receive_")
            || name.starts_with("node_network_transmit_") && name.ends_with("_total")
        {
            continue;
        }
        compared += family.samples.len();
        assert_eq!(differences(name, family, by_socket.get(name)), Vec::<String>::new());
    }
    assert!(compared > 10, "only {compared} samples were compared");
}

struct Exporter(Child);

impl Drop for Exporter {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

// Starts Debian's node_exporter on a free port and fetches its page. `None` where it is not installed.
fn peer() -> Option<String> {
    const PATH: &str = "/usr/bin/prometheus-node-exporter";
    if !std::path::Path::new(PATH).exists() {
        eprintln!("SKIPPED: no {PATH}");
        return None;
    }
    let mut child = Command::new(PATH)
        .args([
            "--web.listen-address=127.0.0.1:0",
            "--no-collector.systemd",
            "--log.level=info",
        ])
        // Where the package's defaults differ from node_exporter's.
        .args(["--collector.netdev.device-exclude=^$"])
        .arg(format!("--collector.diskstats.device-exclude={DISKSTATS_EXCLUDE}"))
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let stderr = child.stderr.take().unwrap();
    let _exporter = Exporter(child);
    // It logs the address it listens on.
    let mut lines = BufReader::new(stderr).lines();
    let address = loop {
        let line = lines.next().expect("the exporter ended").unwrap();
        if let Some(at) = line.split("127.0.0.1:").nth(1) {
            let port: String = at.chars().take_while(char::is_ascii_digit).collect();
            if port != "0" {
                break format!("127.0.0.1:{port}");
            }
        }
    };
    let mut stream = TcpStream::connect(address).unwrap();
    stream
        .write_all(b"GET /metrics HTTP/1.0\r\nHost: localhost\r\n\r\n")
        .unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer.split_once("\r\n\r\n").map(|(_, body)| body.to_owned())
}

// The series of both, less what either has by its age or its view of the moment.
#[test]
fn debians_exporter_shows_the_same_series() {
    let Some(theirs) = peer() else { return };
    let theirs = families(&theirs);
    let ours = families(&scrape(NodeOptions::default()));

    let succeeded = |families: &std::collections::BTreeMap<String, super::compare::Family>| -> BTreeSet<String> {
        let samples = &families["node_scrape_collector_success"].samples;
        samples
            .iter()
            .filter(|(_, value)| **value == 1.0)
            .map(|(labels, _)| labels.clone())
            .collect()
    };
    let (their_success, our_success) = (succeeded(&theirs), succeeded(&ours));
    // What works there works here, for the collectors both have.
    let ran_here: BTreeSet<String> = ours["node_scrape_collector_success"].samples.keys().cloned().collect();
    let failed: Vec<_> = their_success
        .iter()
        .filter(|c| ran_here.contains(*c) && !our_success.contains(*c))
        .collect();
    assert_eq!(failed, Vec::<&String>::new(), "work there and not here");

    // Families of collectors that both have: the same names, types and series.
    let mut wrong = Vec::new();
    let mut compared = 0;
    for (name, family) in &theirs {
        let Some(our_family) = ours.get(name) else {
            // node_exporter 1.5 showed whatever the kernel listed; by now it has a fixed list.
            if belongs_to_ours(name) && !name.starts_with("node_memory_") {
                wrong.push(format!("{name}: missing"));
            }
            continue;
        };
        compared += 1;
        if our_family.kind != family.kind {
            wrong.push(format!("{name}: type {:?}, there {:?}", our_family.kind, family.kind));
        }
        // Labels that came or went between 1.5 and now, and series that tell of the exporter itself.
        let has_other_labels = name.starts_with("node_filesystem_")
            || name.starts_with("node_scrape_collector_")
            || matches!(
                name.as_str(),
                "node_exporter_build_info"
                    | "node_network_info"
                    | "node_disk_info"
                    | "node_os_info"
                    | "node_arp_entries"
            );
        if has_other_labels {
            continue;
        }
        let (there, here): (BTreeSet<_>, BTreeSet<_>) =
            (family.samples.keys().collect(), our_family.samples.keys().collect());
        wrong.extend(there.difference(&here).map(|sample| format!("{sample}: missing")));
        wrong.extend(here.difference(&there).map(|sample| format!("{sample}: not there")));
    }
    assert_eq!(wrong, Vec::<String>::new());
    assert!(compared > 100, "only {compared} families are in both");
    eprintln!("debian's exporter: {compared} families in both");
}

// Whether a family that they show comes from a collector that we have.
fn belongs_to_ours(family: &str) -> bool {
    let prefixes = [
        "node_cpu_",
        "node_memory_",
        "node_load",
        "node_filesystem_",
        "node_disk_",
        "node_network_",
        "node_pressure_",
        "node_vmstat_",
        "node_uname_",
        "node_time_",
        "node_boot_",
        "node_context_",
        "node_intr_",
        "node_forks_",
        "node_procs_",
        "node_filefd_",
        "node_sockstat_",
        "node_netstat_",
        "node_os_",
        "node_schedstat_",
        "node_softnet_",
        "node_entropy_",
        "node_nf_conntrack_",
        "node_thermal_",
        "node_cooling_",
        "node_hwmon_",
        "node_arp_",
        "node_selinux_",
        "node_udp_",
    ];
    prefixes.iter().any(|prefix| family.starts_with(prefix))
}
