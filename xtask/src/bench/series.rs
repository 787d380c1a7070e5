//! What a synthetic target exposes: one node with its pods, as node_exporter, the kubelet, kube-state-metrics and an
//! instrumented service would show them, and how it changes from scrape to scrape.
//!
//! The mix follows what was seen on real clusters: a third node metrics, half container and Kubernetes object metrics,
//! the rest histograms; about 44 % of the series never change and about 35 % of the samples differ from the one before;
//! numbers are printed as Go's exporters print them. The same target and tick give the same values in every run.

use std::fmt::Write as _;

/// A small generator of pseudo-random numbers (splitmix64).
#[derive(Debug, Clone)]
pub(crate) struct Random(pub(crate) u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// From 0 to below 1.
    pub(crate) fn unit(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1u64 << 53) as f64
    }

    pub(crate) fn below(&mut self, limit: u64) -> u64 {
        self.next() % limit.max(1)
    }

    fn hex(&mut self, digits: usize) -> String {
        let mut out = String::new();
        while out.len() < digits {
            out.push_str(&format!("{:016x}", self.next()));
        }
        out.truncate(digits);
        out
    }
}

/// How a value goes on.
#[derive(Debug, Clone, Copy)]
enum Course {
    Constant,
    /// Grows by up to `step` with `decimals`, in `chance` of the ticks.
    Counter {
        step: f64,
        decimals: i32,
        chance: f64,
    },
    /// Stays within 0.5 and 1.5 times its first value, in `chance` of the ticks.
    Gauge {
        first: f64,
        decimals: i32,
        chance: f64,
    },
    /// Set by a histogram.
    Derived,
}

#[derive(Debug)]
struct Line {
    /// Name and labels.
    series: String,
    value: f64,
    course: Course,
}

#[derive(Debug)]
struct Family {
    name: &'static str,
    help: &'static str,
    kind: &'static str,
    lines: Vec<Line>,
}

// A histogram is observed up to `most` times in `chance` of the ticks; its lines follow each other in family `family`.
#[derive(Debug)]
struct Histogram {
    family: usize,
    first_line: usize,
    typical: f64,
    most: u64,
    chance: f64,
}

// One more CPU, filesystem, network device and disk; one more pod.
const SERIES_PER_UNIT: usize = 24;
const SERIES_PER_POD: usize = 31;
const BOUNDS: [f64; 14] = [
    0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0,
];
const CPU_MODES: [&str; 8] = ["idle", "iowait", "irq", "nice", "softirq", "steal", "system", "user"];
const PHASES: [&str; 5] = ["Pending", "Running", "Succeeded", "Failed", "Unknown"];
const NAMESPACES: [&str; 6] = ["shop", "payments", "monitoring", "kube-system", "search", "ingress"];
const MEMINFO: [&str; 24] = [
    "MemTotal",
    "MemFree",
    "MemAvailable",
    "Buffers",
    "Cached",
    "SwapTotal",
    "SwapFree",
    "Active",
    "Inactive",
    "Active_anon",
    "Inactive_anon",
    "Active_file",
    "Inactive_file",
    "Dirty",
    "Writeback",
    "AnonPages",
    "Mapped",
    "Shmem",
    "Slab",
    "SReclaimable",
    "SUnreclaim",
    "KernelStack",
    "PageTables",
    "Committed_AS",
];

/// A target and its state at one tick.
#[derive(Debug)]
pub(crate) struct Target {
    families: Vec<Family>,
    histograms: Vec<Histogram>,
    random: Random,
    tick: i64,
}

impl Target {
    /// Target number `number` with `series` series, at `tick`. Below 100 it has some more than asked for.
    pub(crate) fn new(number: usize, series: usize, tick: i64) -> Self {
        let mut target = Self {
            families: Vec::new(),
            histograms: Vec::new(),
            random: Random(number as u64),
            tick,
        };
        target.add_node(series / 3);
        target.add_pods(series * 49 / 100, number);
        target.add_service(series.saturating_sub(target.series()), number);
        target
    }

    /// Pods with `cpus` counters of CPU time each and nothing else: many series of one name.
    pub(crate) fn cores(number: usize, pods: usize, cpus: usize) -> Self {
        let mut target = Self {
            families: Vec::new(),
            histograms: Vec::new(),
            random: Random(number as u64),
            tick: 0,
        };
        for pod in 0..pods {
            let namespace = NAMESPACES.get(pod % NAMESPACES.len()).copied().unwrap_or("default");
            let app = format!("{namespace}-worker-{}", pod % 4);
            let name = format!("{app}-{}-{}", target.random.hex(9), target.random.hex(5));
            let scope = target.random.hex(64);
            let id = format!("/kubepods.slice/kubepods-burstable.slice/cri-containerd-{scope}.scope");
            for cpu in 0..cpus {
                let labels = format!(
                    "container=\"{app}\",id=\"{id}\",name=\"{scope}\",namespace=\"{namespace}\",pod=\"{name}\",cpu=\"cpu{cpu:02}\""
                );
                target.counter("container_cpu_usage_seconds_total", &labels, 3.0, 9, 0.8);
            }
        }
        target
    }

    /// Every series: its name and labels as in the text format, whether it only grows, and its value now.
    pub(crate) fn values(&self) -> impl Iterator<Item = (&str, bool, f64)> {
        self.families.iter().flat_map(|family| {
            let grows = family.kind != "gauge";
            family.lines.iter().map(move |l| (l.series.as_str(), grows, l.value))
        })
    }

    pub(crate) fn series(&self) -> usize {
        self.families.iter().map(|family| family.lines.len()).sum()
    }

    /// The names of all series, each once.
    pub(crate) fn names(&self) -> Vec<String> {
        let mut names = Vec::new();
        for family in &self.families {
            if family.kind == "histogram" {
                names.extend(["_bucket", "_sum", "_count"].map(|part| format!("{}{part}", family.name)));
            } else {
                names.push(family.name.to_owned());
            }
        }
        names
    }

    /// Goes on to `tick`; a tick before the present one changes nothing.
    pub(crate) fn advance(&mut self, tick: i64) {
        // After a long pause the counters go on as if only minutes had passed.
        self.tick = self.tick.max(tick - 100);
        while self.tick < tick {
            self.tick += 1;
            self.step();
        }
    }

    /// The page in the text format; with `timestamp_ms` every sample carries it.
    pub(crate) fn page(&self, timestamp_ms: Option<i64>) -> String {
        let timestamp = timestamp_ms.map(|ts| format!(" {ts}")).unwrap_or_default();
        let mut page = String::with_capacity(self.series() * 256);
        for Family {
            name,
            help,
            kind,
            lines,
        } in &self.families
        {
            // Writing to a string cannot fail.
            let _ = writeln!(page, "# HELP {name} {help}\n# TYPE {name} {kind}");
            for line in lines {
                page.push_str(&line.series);
                page.push(' ');
                write_value(&mut page, line.value);
                page.push_str(&timestamp);
                page.push('\n');
            }
        }
        page
    }

    fn step(&mut self) {
        let random = &mut self.random;
        for line in self.families.iter_mut().flat_map(|family| &mut family.lines) {
            match line.course {
                Course::Counter { step, decimals, chance } if random.unit() < chance => {
                    line.value = rounded(line.value + smallest(decimals).max(random.unit() * step), decimals);
                }
                Course::Gauge {
                    first,
                    decimals,
                    chance,
                } if random.unit() < chance => {
                    line.value = rounded(first * (0.5 + random.unit()), decimals);
                }
                _ => {}
            }
        }
        for histogram in &self.histograms {
            if random.unit() >= histogram.chance {
                continue;
            }
            for _ in 0..=random.below(histogram.most) {
                // Most are near the typical time, few are far above it.
                let seconds = histogram.typical * (0.5 + random.unit()) / (1.0 - 0.95 * random.unit());
                let family = self.families.get_mut(histogram.family);
                let lines = family.map(|f| f.lines.iter_mut()).unwrap_or_default();
                let bounds = BOUNDS.into_iter().chain([f64::INFINITY]);
                for (bound, line) in bounds.zip(lines.skip(histogram.first_line)) {
                    if seconds <= bound {
                        line.value += 1.0;
                    }
                }
                let at = histogram.first_line + BOUNDS.len() + 1;
                if let Some(family) = self.families.get_mut(histogram.family) {
                    let sum_and_count = family.lines.get_mut(at..at + 2).unwrap_or_default();
                    for (line, step) in sum_and_count.iter_mut().zip([rounded(seconds, 9), 1.0]) {
                        line.value = rounded(line.value + step, 9);
                    }
                }
            }
        }
    }

    fn add(&mut self, name: &'static str, kind: &'static str, labels: &str, value: f64, course: Course) {
        let help = "Synthetic, in the shape of the metric of this name in a real cluster.";
        let at = self
            .families
            .iter()
            .position(|family| family.name == name)
            .unwrap_or_else(|| {
                self.families.push(Family {
                    name,
                    help,
                    kind,
                    lines: Vec::new(),
                });
                self.families.len() - 1
            });
        let series = if labels.is_empty() {
            name.to_owned()
        } else {
            format!("{name}{{{labels}}}")
        };
        if let Some(family) = self.families.get_mut(at) {
            family.lines.push(Line { series, value, course });
        }
    }

    fn constant(&mut self, name: &'static str, labels: &str, value: f64) {
        self.add(name, "gauge", labels, value, Course::Constant);
    }

    fn gauge(&mut self, name: &'static str, labels: &str, first: f64, decimals: i32, chance: f64) {
        let value = rounded(first * (0.5 + self.random.unit()), decimals);
        self.add(
            name,
            "gauge",
            labels,
            value,
            Course::Gauge {
                first,
                decimals,
                chance,
            },
        );
    }

    fn counter(&mut self, name: &'static str, labels: &str, step: f64, decimals: i32, chance: f64) {
        let value = rounded(self.random.unit() * step * 10_000.0, decimals);
        self.add(
            name,
            "counter",
            labels,
            value,
            Course::Counter { step, decimals, chance },
        );
    }

    fn add_node(&mut self, quota: usize) {
        for (name, first) in [("node_load1", 2.0), ("node_load5", 1.5), ("node_load15", 1.2)] {
            self.gauge(name, "", first, 2, 0.7);
        }
        self.constant("node_boot_time_seconds", "", 1.79e9);
        // A name with its value in it, as the family's name is fixed at compile time.
        for (index, item) in MEMINFO.into_iter().enumerate() {
            let labels = format!("item=\"{item}\"");
            if index % 8 == 0 {
                self.constant("node_memory_bytes", &labels, 16_777_216.0 * 1024.0);
            } else {
                self.gauge("node_memory_bytes", &labels, 4096.0 * 250_000.0, 0, 0.8);
            }
        }
        for unit in 0.. {
            if unit > 0 && self.series() + SERIES_PER_UNIT > quota {
                return;
            }
            for mode in CPU_MODES {
                let labels = format!("cpu=\"{unit}\",mode=\"{mode}\"");
                let chance = if matches!(mode, "idle" | "system" | "user") {
                    1.0
                } else {
                    0.25
                };
                self.counter("node_cpu_seconds_total", &labels, 4.0, 2, chance);
            }
            let labels = format!("device=\"/dev/nvme{unit}n1p1\",fstype=\"ext4\",mountpoint=\"/var/lib/data-{unit}\"");
            self.gauge("node_filesystem_avail_bytes", &labels, 4096.0 * 5e6, 0, 0.5);
            self.gauge("node_filesystem_free_bytes", &labels, 4096.0 * 6e6, 0, 0.5);
            self.constant("node_filesystem_size_bytes", &labels, 4096.0 * 2e7);
            self.constant("node_filesystem_readonly", &labels, 0.0);
            self.constant("node_filesystem_files", &labels, 6_553_600.0);
            let labels = format!("device=\"eth{unit}\"");
            for (name, step) in [
                ("node_network_receive_bytes_total", 90_000.0),
                ("node_network_transmit_bytes_total", 70_000.0),
                ("node_network_receive_packets_total", 90.0),
                ("node_network_transmit_packets_total", 80.0),
            ] {
                self.counter(name, &labels, step, 0, 0.9);
            }
            self.constant("node_network_receive_errs_total", &labels, 0.0);
            self.constant("node_network_transmit_drop_total", &labels, 3.0);
            self.constant("node_network_mtu_bytes", &labels, 1500.0);
            self.constant("node_network_up", &labels, 1.0);
            let labels = format!("device=\"nvme{unit}n1\"");
            for (name, step, decimals) in [
                ("node_disk_read_bytes_total", 1e6, 0),
                ("node_disk_written_bytes_total", 4e6, 0),
                ("node_disk_io_time_seconds_total", 1.0, 3),
            ] {
                self.counter(name, &labels, step, decimals, 0.6);
            }
        }
    }

    fn add_pods(&mut self, quota: usize, number: usize) {
        let end = self.series() + quota;
        for pod in 0.. {
            if pod > 0 && self.series() + SERIES_PER_POD > end {
                return;
            }
            let namespace = NAMESPACES
                .get((pod + number) % NAMESPACES.len())
                .copied()
                .unwrap_or("default");
            let app = format!("{namespace}-worker-{}", pod % 4);
            let name = format!("{app}-{}-{}", self.random.hex(9), self.random.hex(5));
            self.add_pod(namespace, &app, &name, number);
        }
    }

    fn add_pod(&mut self, namespace: &str, app: &str, pod: &str, node: usize) {
        let uid = self.random.hex(32);
        let scope = self.random.hex(64);
        let digest = self.random.hex(64);
        let slice = format!("/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod{uid}.slice");
        let owner = format!("namespace=\"{namespace}\",pod=\"{pod}\"");
        let container = format!(
            "container=\"{app}\",id=\"{slice}/cri-containerd-{scope}.scope\",image=\"images.example/{namespace}/{app}@sha256:{digest}\",name=\"{scope}\",{owner}"
        );
        self.counter(
            "container_cpu_usage_seconds_total",
            &format!("{container},cpu=\"total\""),
            3.0,
            9,
            0.8,
        );
        self.counter("container_cpu_cfs_periods_total", &container, 50.0, 0, 0.6);
        self.counter("container_cpu_cfs_throttled_periods_total", &container, 9.0, 0, 0.3);
        self.counter("container_cpu_cfs_throttled_seconds_total", &container, 0.9, 9, 0.3);
        for (name, first) in [
            ("container_memory_working_set_bytes", 3e8),
            ("container_memory_rss", 2e8),
            ("container_memory_usage_bytes", 4e8),
            ("container_memory_cache", 1e8),
        ] {
            self.gauge(name, &container, first, 0, 0.7);
        }
        self.counter("container_fs_reads_bytes_total", &container, 4096.0, 0, 0.1);
        self.counter("container_fs_writes_bytes_total", &container, 65_536.0, 0, 0.5);
        self.constant("container_threads", &container, 17.0);
        self.constant("container_spec_memory_limit_bytes", &container, 536_870_912.0);
        self.constant("container_start_time_seconds", &container, 1.795e9);
        let network = format!("id=\"{slice}\",image=\"\",interface=\"eth0\",name=\"{scope}\",{owner}");
        self.counter("container_network_receive_bytes_total", &network, 5e4, 0, 0.8);
        self.counter("container_network_transmit_bytes_total", &network, 4e4, 0, 0.8);
        self.constant("container_network_receive_errors_total", &network, 0.0);
        self.constant("container_network_receive_packets_dropped_total", &network, 0.0);
        self.constant("container_network_transmit_errors_total", &network, 0.0);

        let object = format!("{owner},uid=\"{uid}\"");
        let info = format!("{object},host_ip=\"10.0.0.{node}\",node=\"node-{node:04}\",created_by_kind=\"ReplicaSet\"");
        self.constant("kube_pod_info", &info, 1.0);
        self.constant("kube_pod_created", &object, 1.795e9);
        for phase in PHASES {
            let labels = format!("{object},phase=\"{phase}\"");
            self.constant(
                "kube_pod_status_phase",
                &labels,
                f64::from(u8::from(phase == "Running")),
            );
        }
        let container = format!("{object},container=\"{app}\"");
        self.constant("kube_pod_container_status_ready", &container, 1.0);
        self.counter("kube_pod_container_status_restarts_total", &container, 1.0, 0, 0.002);
        let limits = format!("{container},node=\"node-{node:04}\"");
        for (resource, unit, value) in [("memory", "byte", 536_870_912.0), ("cpu", "core", 0.5)] {
            let labels = format!("{limits},resource=\"{resource}\",unit=\"{unit}\"");
            self.constant("kube_pod_container_resource_requests", &labels, value);
            self.constant("kube_pod_container_resource_limits", &labels, value * 2.0);
        }
    }

    // Histograms in whole; what is left over is filled with single series.
    fn add_service(&mut self, quota: usize, number: usize) {
        let lines = BOUNDS.len() + 3;
        let pod = format!("api-{}-{}", self.random.hex(9), self.random.hex(5));
        for index in 0..quota / lines {
            let name = "http_request_duration_seconds";
            let code = if index % 5 == 4 { "500" } else { "200" };
            let method = if index % 2 == 0 { "GET" } else { "POST" };
            let labels = format!(
                "code=\"{code}\",handler=\"/api/v1/resource-{index}\",method=\"{method}\",namespace=\"shop\",pod=\"{pod}\",service=\"api-{}\"",
                number % 8
            );
            let bounds = BOUNDS
                .into_iter()
                .map(|bound| bound.to_string())
                .chain(["+Inf".to_owned()]);
            let mut rows: Vec<String> = bounds
                .map(|bound| format!("{name}_bucket{{{labels},le=\"{bound}\"}}"))
                .collect();
            rows.push(format!("{name}_sum{{{labels}}}"));
            rows.push(format!("{name}_count{{{labels}}}"));
            let family = self.families.iter().position(|f| f.name == name).unwrap_or_else(|| {
                let help = "Synthetic, how long requests took.";
                self.families.push(Family {
                    name,
                    help,
                    kind: "histogram",
                    lines: Vec::new(),
                });
                self.families.len() - 1
            });
            let typical = 0.004 * (1 + self.random.below(12)) as f64;
            // Every third one is seldom used.
            let (most, chance) = if index % 3 == 2 { (1, 0.02) } else { (6, 0.7) };
            if let Some(lines) = self.families.get_mut(family).map(|f| &mut f.lines) {
                let first_line = lines.len();
                let course = Course::Derived;
                lines.extend(rows.into_iter().map(|series| Line {
                    series,
                    value: 0.0,
                    course,
                }));
                self.histograms.push(Histogram {
                    family,
                    first_line,
                    typical,
                    most,
                    chance,
                });
            }
        }
        for index in 0..quota % lines {
            self.constant(
                "build_info",
                &format!("component=\"part-{index}\",version=\"1.4.2\""),
                1.0,
            );
        }
    }
}

fn smallest(decimals: i32) -> f64 {
    10f64.powi(-decimals)
}

/// `value` with `decimals` digits behind the point.
pub(crate) fn rounded(value: f64, decimals: i32) -> f64 {
    let scale = 10f64.powi(decimals);
    (value * scale).round() / scale
}

// As Go's exporters print: the shortest digits, and an exponent from 1e+06 on and below 1e-04.
fn write_value(page: &mut String, value: f64) {
    let magnitude = value.abs();
    if value == 0.0 || (1e-4..1e6).contains(&magnitude) {
        let _ = write!(page, "{value}");
        return;
    }
    let text = format!("{value:e}");
    let (digits, exponent) = text.split_once('e').unwrap_or((&text, "0"));
    let exponent: i32 = exponent.parse().unwrap_or(0);
    let sign = if exponent < 0 { '-' } else { '+' };
    let _ = write!(page, "{digits}e{sign}{:02}", exponent.abs());
}

/// How much of the input is constant and how much changes.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Shares {
    /// Series that never changed in the ticks looked at.
    pub(crate) constant: f64,
    /// Samples that differ from the one before.
    pub(crate) changed: f64,
    /// Text of a page for each series, HELP and TYPE included.
    pub(crate) bytes: f64,
}

/// Looks at `ticks` scrapes of a target with `series` series.
pub(crate) fn shares(series: usize, ticks: i64) -> Shares {
    let mut target = Target::new(0, series, 0);
    let values = |target: &Target| -> Vec<f64> {
        target
            .families
            .iter()
            .flat_map(|f| &f.lines)
            .map(|line| line.value)
            .collect()
    };
    let bytes = target.page(None).len() as f64 / target.series() as f64;
    let mut before = values(&target);
    let mut changes = vec![0u32; before.len()];
    for tick in 1..=ticks {
        target.advance(tick);
        let now = values(&target);
        for ((old, new), count) in before.iter().zip(&now).zip(&mut changes) {
            *count += u32::from(old != new);
        }
        before = now;
    }
    let of = |n: f64| n / changes.len() as f64;
    Shares {
        constant: of(changes.iter().filter(|count| **count == 0).count() as f64),
        changed: of(changes.iter().map(|count| f64::from(*count)).sum()) / ticks as f64,
        bytes,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_mix_is_that_of_real_clusters() {
        for series in [500, 1000, 3000] {
            let target = Target::new(7, series, 0);
            assert_eq!(target.series(), series);
            let shares = shares(series, 60);
            assert!((0.40..0.48).contains(&shares.constant), "{series}: {shares:?}");
            assert!((0.31..0.39).contains(&shares.changed), "{series}: {shares:?}");
            assert!((200.0..290.0).contains(&shares.bytes), "{series}: {shares:?}");
        }
    }

    #[test]
    fn a_page_is_the_same_for_the_same_tick() {
        let page = |ticks: &[i64]| {
            let mut target = Target::new(3, 1000, 5);
            ticks.iter().for_each(|tick| target.advance(*tick));
            target.page(Some(9))
        };
        assert_eq!(page(&[6, 7, 8]), page(&[8]));
        assert_ne!(page(&[8]), page(&[7]));
        assert_eq!(page(&[8, 6]), page(&[8]));
    }

    #[test]
    fn series_are_unique_and_counters_never_fall() {
        let mut target = Target::new(1, 1000, 0);
        let read = |target: &Target| -> std::collections::BTreeMap<String, (bool, f64)> {
            let lines = target
                .families
                .iter()
                .flat_map(|f| f.lines.iter().map(move |l| (f.kind != "gauge", l)));
            lines
                .map(|(grows, line)| (line.series.clone(), (grows, line.value)))
                .collect()
        };
        let first = read(&target);
        assert_eq!(first.len(), target.series());
        target.advance(50);
        for (series, (grows, value)) in read(&target) {
            assert!(!grows || value >= first[&series].1, "{series}");
        }
    }

    #[test]
    fn buckets_are_cumulative() {
        let mut target = Target::new(1, 1000, 0);
        target.advance(30);
        let family = target.families.iter().find(|f| f.kind == "histogram").unwrap();
        for histogram in family.lines.chunks(BOUNDS.len() + 3) {
            let values: Vec<f64> = histogram.iter().map(|line| line.value).collect();
            assert!(values[..=BOUNDS.len()].is_sorted(), "{values:?}");
            assert_eq!(values[BOUNDS.len()], values[BOUNDS.len() + 2], "+Inf is the count");
        }
    }

    #[test]
    fn numbers_look_like_those_of_go() {
        for (value, text) in [
            (0.0, "0"),
            (1.5, "1.5"),
            (999_999.0, "999999"),
            (1e6, "1e+06"),
            (17_179_869_184.0, "1.7179869184e+10"),
            (0.000_012, "1.2e-05"),
            (-2.5e-7, "-2.5e-07"),
        ] {
            let mut page = String::new();
            write_value(&mut page, value);
            assert_eq!(page, text);
        }
    }
}
