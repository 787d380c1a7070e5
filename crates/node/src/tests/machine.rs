//! Made-up machines: what is missing, broken, or asked for in part.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use cupola_exposition::Writer;
use expect_test::expect;

use super::compare::families;
use super::scrape;
use crate::collector::statfs::{Prober, Sizes};
use crate::{Collectors, NodeError, NodeOptions, SelectionError, collector_names};

fn machine(root: &Path, files: &[(&str, &str)]) -> NodeOptions {
    for (path, content) in files {
        let path = root.join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    }
    NodeOptions {
        procfs: root.join("proc"),
        sysfs: root.join("sys"),
        rootfs: root.to_path_buf(),
        udev_data: root.join("udev"),
        netdev_netlink: false,
        ..NodeOptions::default()
    }
}

fn success(body: &str, collector: &str) -> Option<f64> {
    let sample = format!("{{__name__=\"node_scrape_collector_success\", collector=\"{collector}\"}}");
    families(body)["node_scrape_collector_success"]
        .samples
        .get(&sample)
        .copied()
}

#[test]
fn a_machine_without_any_files_fails_collector_by_collector() {
    let temp = tempfile::tempdir().unwrap();
    let body = scrape(machine(temp.path(), &[]));
    let works: Vec<_> = collector_names()
        .map(|(name, _)| name)
        .filter(|name| success(&body, name) == Some(1.0))
        .collect();
    // These need no file.
    assert_eq!(
        works,
        ["cpufreq", "selinux", "sockstat", "thermal_zone", "time", "uname"]
    );
    let durations = &families(&body)["node_scrape_collector_duration_seconds"].samples;
    assert_eq!(durations.len(), collector_names().count());
}

#[test]
fn garbage_fails_one_collector_and_panics_none() {
    let garbage = "\u{0}\u{1} x: y\n:::\n-1 -1 -1 -1\n99999999999999999999999 a\n\n";
    let files: Vec<(String, &str)> = [
        "stat",
        "meminfo",
        "loadavg",
        "diskstats",
        "vmstat",
        "schedstat",
        "net/dev",
        "net/netstat",
        "net/snmp",
        "net/snmp6",
        "net/sockstat",
        "net/sockstat6",
        "net/softnet_stat",
        "net/arp",
        "net/udp",
        "pressure/cpu",
        "pressure/io",
        "pressure/memory",
        "pressure/irq",
        "1/mountinfo",
        "sys/fs/file-nr",
        "cpuinfo",
        "sys/kernel/random/entropy_avail",
        "sys/net/netfilter/nf_conntrack_count",
        "net/stat/nf_conntrack",
    ]
    .iter()
    .map(|path| (format!("proc/{path}"), garbage))
    .collect();
    let files: Vec<(&str, &str)> = files.iter().map(|(path, content)| (path.as_str(), *content)).collect();
    let temp = tempfile::tempdir().unwrap();
    let mut options = machine(temp.path(), &files);
    options.cpu_info = true;
    let body = scrape(options);
    for collector in ["meminfo", "loadavg", "filefd", "netdev", "filesystem"] {
        assert_eq!(success(&body, collector), Some(0.0), "{collector}");
    }
    assert_eq!(success(&body, "uname"), Some(1.0));
}

#[test]
fn mounts_are_listed_once_without_the_root_and_with_their_errors() {
    let temp = tempfile::tempdir().unwrap();
    let root = temp.path().to_str().unwrap();
    let mountinfo = format!(
        "1 0 8:1 / {root} rw - ext4 /dev/sda1 rw\n\
         2 1 8:1 / {root} rw - ext4 /dev/sda1 rw\n\
         3 1 8:2 / {root}/gone ro - xfs /dev/sdb1 rw\n\
         4 1 0:5 / {root}/proc rw - proc proc rw\n\
         5 1 0:6 / {root}/a\\040b rw - tmpfs tmpfs rw\n"
    );
    let options = machine(temp.path(), &[("proc/1/mountinfo", &mountinfo), ("a b/x", "")]);
    let families = families(&scrape(options));
    let lines = |name: &str| -> Vec<String> {
        families[name]
            .samples
            .iter()
            .map(|(labels, value)| format!("{labels} {value}"))
            .collect()
    };
    assert_eq!(
        lines("node_filesystem_device_error"),
        [
            r#"{__name__="node_filesystem_device_error", device="/dev/sda1", fstype="ext4", mountpoint="/"} 0"#,
            r#"{__name__="node_filesystem_device_error", device="/dev/sdb1", device_error="no such file or directory", fstype="xfs", mountpoint="/gone"} 1"#,
            r#"{__name__="node_filesystem_device_error", device="tmpfs", fstype="tmpfs", mountpoint="/a b"} 0"#,
        ]
    );
    assert_eq!(families["node_filesystem_readonly"].samples.values().sum::<f64>(), 1.0);
    assert_eq!(families["node_filesystem_size_bytes"].samples.len(), 2);
    assert_eq!(
        lines("node_filesystem_mount_info")[1],
        r#"{__name__="node_filesystem_mount_info", device="/dev/sdb1", major="8", minor="2", mountpoint="/gone"} 1"#
    );
}

#[test]
fn what_the_reference_fixtures_lack() {
    let temp = tempfile::tempdir().unwrap();
    let cpu = "sys/devices/system/cpu";
    let files: Vec<(String, &str)> = [
        (format!("{cpu}/cpu0/online"), "1\n"),
        (format!("{cpu}/cpu10/online"), "0\n"),
        (format!("{cpu}/cpu2/cpufreq/cpuinfo_cur_freq"), "800000\n"),
        (format!("{cpu}/cpu2/cpufreq/cpuinfo_max_freq"), "4200000\n"),
        (format!("{cpu}/cpuidle/current_driver"), "none\n"),
        ("proc/stat".to_owned(), "cpu0 1 2 3 4 5 6 7 8 9 10\nintr 5 1 1\n"),
        (
            "proc/net/dev".to_owned(),
            "x\ny\n  eth0: 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16\n",
        ),
        (
            "etc/os-release".to_owned(),
            "ID=x\nVERSION_ID=\"13\"\nSUPPORT_END=2030-01-02\n",
        ),
        ("sys/fs/selinux/enforce".to_owned(), "1"),
        ("etc/selinux/config".to_owned(), "# SELINUX=x\nSELINUX=permissive\n"),
    ]
    .into_iter()
    .collect();
    let files: Vec<(&str, &str)> = files.iter().map(|(path, content)| (path.as_str(), *content)).collect();
    let families = families(&scrape(machine(temp.path(), &files)));
    let lines = |names: &[&str]| -> String {
        let samples = names.iter().flat_map(|name| {
            families
                .get(*name)
                .unwrap_or_else(|| panic!("no {name}"))
                .samples
                .iter()
        });
        samples.map(|(labels, value)| format!("{labels} {value}\n")).collect()
    };
    expect![[r#"
        {__name__="node_cpu_online", cpu="0"} 1
        {__name__="node_cpu_online", cpu="10"} 0
        {__name__="node_cpu_online", cpu="2"} 0
        {__name__="node_cpu_frequency_hertz", cpu="2"} 800000000
        {__name__="node_cpu_frequency_max_hertz", cpu="2"} 4200000000
        {__name__="node_intr_total"} 5
        {__name__="node_network_receive_frame_total", device="eth0"} 6
        {__name__="node_network_transmit_carrier_total", device="eth0"} 15
        {__name__="node_os_version", id="x"} 13
        {__name__="node_os_support_end_timestamp_seconds"} 1893542400
        {__name__="node_selinux_enabled"} 1
        {__name__="node_selinux_config_mode"} 0
        {__name__="node_selinux_current_mode"} 1
    "#]]
    .assert_eq(&lines(&[
        "node_cpu_online",
        "node_cpu_frequency_hertz",
        "node_cpu_frequency_max_hertz",
        "node_intr_total",
        "node_network_receive_frame_total",
        "node_network_transmit_carrier_total",
        "node_os_version",
        "node_os_support_end_timestamp_seconds",
        "node_selinux_enabled",
        "node_selinux_config_mode",
        "node_selinux_current_mode",
    ]));
    assert!(!families.contains_key("node_network_receive_nohandler_total"));
}

// One damaged file after the other: whatever it holds, the scrape is an exposition without a series twice.
#[test]
fn no_content_makes_a_collector_panic_or_repeat_itself() {
    const FILES: [(&str, &str); 21] = [
        (
            "proc/stat",
            "cpu  1 2 3\ncpu0 1 2 3 4 5 6 7 8 9 10\nintr 5 1\nctxt 3\nbtime 4\nsoftirq 9 1 2 3\n",
        ),
        (
            "proc/cpuinfo",
            "processor\t: 0\nmodel name\t: A B\ncpu MHz\t: 799.9\nflags\t: aes avx\n\nprocessor: 1\n",
        ),
        (
            "proc/meminfo",
            "MemTotal: 100 kB\nActive(anon): 5 kB\nHugePages_Total: 3\n",
        ),
        ("proc/loadavg", "0.1 0.2 0.3 1/2 3\n"),
        (
            "proc/diskstats",
            " 8 0 sda 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17\n 8 16 sdb 1 2 3 4 5 6 7 8 9 10 11\n",
        ),
        (
            "udev/b8:0",
            "S:x\nE:ID_SERIAL=abc\nE:ID_FS_TYPE=ext4\nE:DM_NAME=x\nE:ID_ATA=1\nE:ID_ATA_WRITE_CACHE=1\n",
        ),
        ("proc/vmstat", "pgpgin 5\noom_kill 0\npgfault 7\n"),
        ("proc/schedstat", "version 15\ncpu0 0 0 0 0 0 0 1 2 3\ndomain0 1\n"),
        ("proc/net/dev", "a\nb\n lo: 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16\n"),
        ("proc/net/netstat", "TcpExt: ListenDrops SyncookiesSent\nTcpExt: 1 2\n"),
        (
            "proc/net/snmp",
            "Tcp: InSegs OutSegs\nTcp: 1 -1\nUdp: InErrors\nUdp: 4\n",
        ),
        ("proc/net/snmp6", "Ip6InOctets 4\nUdp6InErrors 5\n"),
        ("proc/net/sockstat", "sockets: used 5\nTCP: inuse 1 mem 3\n"),
        (
            "proc/net/softnet_stat",
            "0000000a 00000001 00000002 0 0 0 0 0 0 0 0 0 00000001\n0b 1 2\n",
        ),
        ("proc/net/arp", "IP HW Flags\n1.2.3.4 0x1 0x2 aa * eth0\n"),
        ("proc/net/udp", "sl local\n 1: 00:00 00:00 07 0000000A:00000001 00\n"),
        ("proc/pressure/cpu", "some avg10=0.00 total=14\n"),
        (
            "proc/1/mountinfo",
            "1 0 8:1 / / rw shared:1 - ext4 /dev/sda1 rw\n2 1 0:3 / /a\\040b ro - tmpfs tmpfs rw\n",
        ),
        (
            "proc/net/stat/nf_conntrack",
            "entries a b\n1 2 3 4 5 6 7 8 9 a b c d e f 10 11\n",
        ),
        ("sys/class/hwmon/hwmon0/temp1_input", "45000\n"),
        (
            "etc/os-release",
            "NAME=\"A \\\"B\"\nVERSION_ID=13.1\nSUPPORT_END=2030-01-02\n",
        ),
    ];
    let temp = tempfile::tempdir().unwrap();
    let mut options = machine(temp.path(), &FILES);
    options.cpu_info_flags_include = Some(".".to_owned());
    options.stat_softirq = true;
    // Mount points out of damaged files are never asked about.
    let answer = Sizes {
        size: 1.0,
        free: 1.0,
        avail: 1.0,
        files: 1.0,
        files_free: 1.0,
    };
    let collectors = Collectors::with_prober(options, Prober::new(Arc::new(move |_| Ok(answer)))).unwrap();
    let mut buf = Vec::new();
    for (path, content) in FILES {
        let path = temp.path().join(path);
        cupola_testkit::fuzz(
            40,
            &[content.as_bytes().to_vec()],
            &["\n", " ", ":", "99999999999999999999", "-1"],
            |damaged| {
                fs::write(&path, damaged).unwrap();
                let mut out = Writer::with_buffer(std::mem::take(&mut buf));
                collectors.collect(&mut out);
                buf = out.finish();
                families(std::str::from_utf8(&buf).unwrap());
                buf.clear();
            },
        );
        fs::write(&path, content).unwrap();
    }
}

#[test]
fn without_process_one_our_own_mounts_are_read() {
    let temp = tempfile::tempdir().unwrap();
    let options = machine(
        temp.path(),
        &[("proc/self/mountinfo", "1 0 8:1 / / rw - ext4 /dev/sda1 rw\n")],
    );
    assert_eq!(success(&scrape(options), "filesystem"), Some(1.0));
}

#[test]
fn a_scrape_may_ask_for_some_collectors() {
    let temp = tempfile::tempdir().unwrap();
    let mut options = machine(temp.path(), &[("proc/loadavg", "0.5 0.25 0.125 1/2 3\n")]);
    options.collectors.insert("cpu".to_owned(), false);
    let collectors = Collectors::new(options).unwrap();
    let ran = |collect: &[&str], exclude: &[&str]| {
        let selection = collectors.select(collect, exclude).unwrap();
        let mut out = Writer::new();
        collectors.collect_selected(&selection, &mut out);
        let body = String::from_utf8(out.finish()).unwrap();
        families(&body)["node_scrape_collector_success"].samples.len()
    };
    let all = collector_names().count() - 1;
    assert_eq!(
        (ran(&["loadavg"], &[]), ran(&[], &["loadavg"]), ran(&[], &[])),
        (1, all - 1, all)
    );
    for (collect, exclude, error) in [
        (vec!["loadavg"], vec!["time"], SelectionError::Combined),
        (vec!["weather"], vec![], SelectionError::Missing("weather".to_owned())),
        (vec!["cpu"], vec![], SelectionError::Disabled("cpu".to_owned())),
    ] {
        assert_eq!(collectors.select(&collect, &exclude).unwrap_err(), error);
    }
}

#[test]
fn bad_options_are_told_by_their_flag() {
    let mut options = NodeOptions {
        netdev_device_exclude: Some("(".to_owned()),
        ..NodeOptions::default()
    };
    let error = Collectors::new(options.clone()).err().unwrap();
    assert_eq!(
        error.to_string(),
        "option collector.netdev.device-exclude: cannot compile \"(\""
    );
    options.netdev_device_include = Some("eth".to_owned());
    assert!(matches!(
        Collectors::new(options).err(),
        Some(NodeError::Exclusive { .. })
    ));
    let mut options = NodeOptions::default();
    options.collectors.insert("weather".to_owned(), true);
    assert!(matches!(Collectors::new(options).err(), Some(NodeError::UnknownCollector(name)) if name == "weather"));
}
