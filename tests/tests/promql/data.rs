//! Two hours of a small cluster as OpenMetrics text: node exporter, cAdvisor, kube-state-metrics, an API server, and a
//! few series made to be awkward.

use std::fmt::Write as _;

/// The first second; a block of two hours begins here.
pub const BEGIN: i64 = 1_699_999_200;
/// Samples are this far from whole seconds, so that none stands on the edge of a window.
pub const OFFSET_MS: i64 = 377;
const EVERY: i64 = 15;
const SECONDS: i64 = 6_900;

/// A small generator of its own for every series, so that adding one changes no other.
struct Random(u64);

impl Random {
    fn of(name: &str) -> Self {
        let seed = name.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
        });
        Self(seed | 1)
    }

    // Between 0 and 1.
    fn next(&mut self) -> f64 {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 40) as f64 / (1_u64 << 24) as f64
    }
}

/// Writes series; every sample is a line.
#[derive(Default)]
struct Text(String);

impl Text {
    fn sample(&mut self, series: &str, second: i64, value: f64) {
        let value = match value {
            f64::INFINITY => "+Inf".to_owned(),
            f64::NEG_INFINITY => "-Inf".to_owned(),
            other => other.to_string(),
        };
        let _ = writeln!(self.0, "{series} {value} {}.{OFFSET_MS:03}", BEGIN + second);
    }

    fn series(&mut self, series: &str, mut value: impl FnMut(i64) -> Option<f64>) {
        for second in (0..SECONDS).step_by(EVERY as usize) {
            if let Some(value) = value(second) {
                self.sample(series, second, value);
            }
        }
    }

    // Grows by up to `per_scrape`, starts again now and then, and misses scrapes.
    fn counter(&mut self, series: &str, per_scrape: f64) {
        let mut random = Random::of(series);
        let mut value = 1_000.0 * random.next();
        self.series(series, |_| {
            value += (per_scrape * random.next() * 8.0).round() / 8.0;
            if random.next() < 0.005 {
                value = 0.0;
            }
            (random.next() > 0.02).then_some(value)
        });
    }

    fn gauge(&mut self, series: &str, low: f64, high: f64) {
        let mut random = Random::of(series);
        self.series(series, |_| {
            let value = low + (high - low) * (random.next() * 1024.0).round() / 1024.0;
            (random.next() > 0.02).then_some(value)
        });
    }

    fn constant(&mut self, series: &str, value: f64) {
        self.series(series, |_| Some(value));
    }

    fn histogram(&mut self, name: &str, labels: &str) {
        let bounds = ["0.05", "0.1", "0.5", "1.0", "5.0", "+Inf"];
        let mut random = Random::of(labels);
        let (mut counts, mut sum) = ([0.0; 6], 0.0);
        for second in (0..SECONDS).step_by(EVERY as usize) {
            for _ in 0..(random.next() * 9.0) as usize {
                let took = random.next().powi(3) * 6.0;
                sum += took;
                for (bound, count) in bounds.iter().zip(&mut counts) {
                    let limit = bound.parse().unwrap_or(f64::INFINITY);
                    *count += f64::from(u8::from(took <= limit));
                }
            }
            for (bound, count) in bounds.iter().zip(&counts) {
                self.sample(&format!("{name}_bucket{{{labels},le=\"{bound}\"}}"), second, *count);
            }
            self.sample(&format!("{name}_count{{{labels}}}"), second, counts[5]);
            self.sample(&format!("{name}_sum{{{labels}}}"), second, sum);
        }
    }
}

/// The whole text.
pub fn open_metrics() -> String {
    let mut text = Text::default();
    nodes(&mut text);
    pods(&mut text);
    cluster(&mut text);
    awkward(&mut text);
    text.0.push_str("# EOF\n");
    text.0
}

fn nodes(text: &mut Text) {
    for node in 1..=3 {
        let id = format!("job=\"node-exporter\",instance=\"10.0.0.{node}:9100\"");
        for cpu in 0..2 {
            for (mode, most) in [
                ("idle", 15.0),
                ("user", 4.0),
                ("system", 2.0),
                ("iowait", 0.5),
                ("steal", 0.1),
            ] {
                text.counter(
                    &format!("node_cpu_seconds_total{{{id},cpu=\"{cpu}\",mode=\"{mode}\"}}"),
                    most,
                );
            }
        }
        text.gauge(&format!("node_load1{{{id}}}"), 0.0, 4.0);
        text.constant(&format!("node_memory_MemTotal_bytes{{{id}}}"), 8_589_934_592.0);
        text.gauge(&format!("node_memory_MemAvailable_bytes{{{id}}}"), 1e9, 7e9);
        for (device, mount) in [("/dev/sda1", "/"), ("/dev/sdb1", "/data")] {
            let id = format!("{id},device=\"{device}\",fstype=\"ext4\",mountpoint=\"{mount}\"");
            text.constant(&format!("node_filesystem_size_bytes{{{id}}}"), 1e11);
            text.gauge(&format!("node_filesystem_avail_bytes{{{id}}}"), 1e10, 5e10);
            text.constant(&format!("node_filesystem_readonly{{{id}}}"), 0.0);
        }
        for device in ["eth0", "lo"] {
            text.counter(
                &format!("node_network_receive_bytes_total{{{id},device=\"{device}\"}}"),
                1e6,
            );
            text.counter(
                &format!("node_network_transmit_bytes_total{{{id},device=\"{device}\"}}"),
                1e5,
            );
        }
        text.counter(&format!("node_disk_io_time_seconds_total{{{id},device=\"sda\"}}"), 3.0);
        let mut random = Random::of(&id);
        text.series(&format!("up{{{id}}}"), |_| {
            Some(f64::from(u8::from(random.next() > 0.1)))
        });
    }
}

fn pods(text: &mut Text) {
    for (namespace, pod, node, owner, begin, end) in [
        ("shop", "cart-1", "node-1", "cart", 0, SECONDS),
        ("shop", "cart-2", "node-2", "cart", 0, 3_600),
        ("shop", "cart-3", "node-3", "cart", 3_700, SECONDS),
        ("shop", "db-0", "node-1", "db", 0, SECONDS),
        ("monitoring", "prometheus-0", "node-2", "prometheus", 0, SECONDS),
        ("monitoring", "agent-x1", "node-3", "agent", 0, SECONDS),
    ] {
        let kubelet =
            format!("job=\"kubelet\",metrics_path=\"/metrics/cadvisor\",namespace=\"{namespace}\",pod=\"{pod}\"");
        let kube = format!("job=\"kube-state-metrics\",namespace=\"{namespace}\",pod=\"{pod}\"");
        let lives = |second: i64| second >= begin && second < end;
        for container in ["app", "sidecar"] {
            let id = format!("{kubelet},container=\"{container}\",image=\"registry/{container}\"");
            for (name, most, grows) in [
                ("container_cpu_usage_seconds_total", 7.0, true),
                ("container_cpu_cfs_throttled_periods_total", 2.0, true),
                ("container_cpu_cfs_periods_total", 9.0, true),
                ("container_memory_working_set_bytes", 1e8, false),
                ("container_memory_rss", 9e7, false),
            ] {
                let series = format!("{name}{{{id}}}");
                let mut random = Random::of(&series);
                let mut value = 0.0;
                text.series(&series, |second| {
                    let step = (most * random.next() * 64.0).round() / 64.0;
                    value = if grows { value + step } else { step };
                    lives(second).then_some(value)
                });
            }
            for (resource, unit, amount) in [("cpu", "core", 0.5), ("memory", "byte", 2e8)] {
                let id =
                    format!("{kube},node=\"{node}\",container=\"{container}\",resource=\"{resource}\",unit=\"{unit}\"");
                let limits = format!("kube_pod_container_resource_limits{{{id}}}");
                text.series(&limits, |second| lives(second).then_some(2.0 * amount));
                let requests = format!("kube_pod_container_resource_requests{{{id}}}");
                text.series(&requests, |second| lives(second).then_some(amount));
            }
            let restarts = format!("kube_pod_container_status_restarts_total{{{kube},container=\"{container}\"}}");
            text.series(&restarts, |second| lives(second).then_some((second / 1_700) as f64));
            let waiting = format!(
                "kube_pod_container_status_waiting_reason{{{kube},container=\"{container}\",reason=\"CrashLoopBackOff\"}}"
            );
            text.series(&waiting, |second| (lives(second) && second % 1_700 < 60).then_some(1.0));
        }
        for (name, labels) in [
            ("kube_pod_info", format!("node=\"{node}\",host_network=\"false\"")),
            (
                "kube_pod_owner",
                format!("owner_kind=\"ReplicaSet\",owner_name=\"{owner}-5d8f\""),
            ),
        ] {
            text.series(&format!("{name}{{{kube},{labels}}}"), |second| {
                lives(second).then_some(1.0)
            });
        }
        for phase in ["Running", "Pending", "Failed"] {
            let is_so = |second: i64| (phase == "Pending") == (second < begin + 90) && phase != "Failed";
            let value = |second| lives(second).then(|| f64::from(u8::from(is_so(second))));
            text.series(&format!("kube_pod_status_phase{{{kube},phase=\"{phase}\"}}"), value);
        }
        let network = format!("{kubelet},interface=\"eth0\"");
        for name in ["receive", "transmit"] {
            let series = format!("container_network_{name}_bytes_total{{{network}}}");
            let mut random = Random::of(&series);
            let mut value = 500.0;
            text.series(&series, |second| {
                value += (random.next() * 4_096.0).round();
                lives(second).then_some(value)
            });
        }
    }
}

fn cluster(text: &mut Text) {
    for node in 1..=3 {
        let id = format!("job=\"kube-state-metrics\",node=\"node-{node}\"");
        text.constant(
            &format!("kube_node_status_allocatable{{{id},resource=\"cpu\",unit=\"core\"}}"),
            4.0,
        );
        text.constant(
            &format!("kube_node_status_allocatable{{{id},resource=\"memory\",unit=\"byte\"}}"),
            8e9,
        );
        text.series(
            &format!("kube_node_status_condition{{{id},condition=\"Ready\",status=\"true\"}}"),
            |second| Some(f64::from(u8::from(node != 2 || second % 1_200 > 200))),
        );
    }
    for (number, deployment) in ["cart", "agent"].into_iter().enumerate() {
        let id = format!("job=\"kube-state-metrics\",namespace=\"shop\",deployment=\"{deployment}\"");
        text.constant(&format!("kube_deployment_spec_replicas{{{id}}}"), 2.0);
        text.series(
            &format!("kube_deployment_status_replicas_available{{{id}}}"),
            |second| Some(if number == 0 && second > 3_600 { 1.0 } else { 2.0 }),
        );
        text.series(&format!("kube_deployment_status_replicas_updated{{{id}}}"), |second| {
            Some((second / 2_000) as f64)
        });
        text.constant(&format!("kube_deployment_metadata_generation{{{id}}}"), 3.0);
        text.series(
            &format!("kube_deployment_status_observed_generation{{{id}}}"),
            |second| Some(if number == 1 && second > 6_000 { 2.0 } else { 3.0 }),
        );
    }
    for (verb, scope) in [
        ("GET", "resource"),
        ("LIST", "cluster"),
        ("LIST", "namespace"),
        ("POST", "resource"),
    ] {
        let id = format!("job=\"apiserver\",verb=\"{verb}\",scope=\"{scope}\"");
        text.histogram("apiserver_request_duration_seconds", &id);
    }
    for (verb, code) in [
        ("GET", "200"),
        ("GET", "500"),
        ("LIST", "200"),
        ("POST", "201"),
        ("POST", "503"),
    ] {
        let id = format!("job=\"apiserver\",verb=\"{verb}\",code=\"{code}\"");
        text.counter(
            &format!("apiserver_request_total{{{id}}}"),
            if code < "300" { 40.0 } else { 2.0 },
        );
    }
    for (job, version) in [
        ("apiserver", "v1.33.1"),
        ("kubelet", "v1.32.0"),
        ("kubelet-old", "v1.32.7"),
    ] {
        text.constant(
            &format!("kubernetes_build_info{{job=\"{job}\",git_version=\"{version}\"}}"),
            1.0,
        );
    }
    for (alert, namespace, severity) in [
        ("Slow", "shop", "info"),
        ("Down", "shop", "critical"),
        ("Odd", "web", "info"),
    ] {
        let id =
            format!("alertname=\"{alert}\",namespace=\"{namespace}\",severity=\"{severity}\",alertstate=\"firing\"");
        text.series(&format!("ALERTS{{{id}}}"), |second| {
            (second % 2_400 > 800).then_some(1.0)
        });
    }
}

fn awkward(text: &mut Text) {
    let values = [f64::NAN, f64::INFINITY, f64::NEG_INFINITY, -1.5, 0.0, 2.5, 1e300, -0.0];
    for kind in 0..values.len() {
        text.series(&format!("wild{{kind=\"{kind}\"}}"), |second| {
            // Every series goes through all values, one a minute, each from another one on.
            values.get((kind + second as usize / 60) % values.len()).copied()
        });
    }
    for (side, factor) in [("left", 1.0), ("right", -3.0)] {
        text.gauge(&format!("tilt{{side=\"{side}\"}}"), factor, 10.0 * factor);
    }
    text.series("lonely", |second| Some((second % 420) as f64 / 7.0));
    text.series("angle", |second| Some((second % 600) as f64 / 300.0 - 1.0));
    // Ends early, and begins late with a small first value.
    text.series("early", |second| (second < 3_000).then_some(second as f64));
    text.series("late_total", |second| {
        (second >= 3_600).then(|| 12.0 + (second - 3_600) as f64)
    });
    // Large against what is added.
    for (part, value) in [("a", 1e100), ("b", 1.0), ("c", -1e100)] {
        text.constant(&format!("cancels{{part=\"{part}\"}}"), value);
    }
    text.constant("noted{note=\"two\\nlines\"}", 1.0);
    text.constant("noted{note=\"one line\"}", 2.0);
    // A plain bucket counter that starts in the middle of a minute's window.
    for (le, rank) in [("0.1", 1.0), ("1", 2.0), ("+Inf", 2.0)] {
        text.series(&format!("plain_bucket{{le=\"{le}\"}}"), |second| {
            Some(rank * (second / 45) as f64)
        });
    }
}
