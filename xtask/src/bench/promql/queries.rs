//! What is asked: expressions of dashboards and rules for Kubernetes (kubernetes-mixin, node-exporter-mixin and the
//! dashboards that Grafana's users share), over metrics that the data have.

/// What one request asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Call {
    /// `query_range` of an expression.
    Range(&'static str),
    /// `query` of an expression at the end.
    Instant(&'static str),
    /// Another path of the API with its parameters but for start and end.
    Path(&'static str),
}

/// One entry of the set.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Query {
    pub(crate) name: &'static str,
    pub(crate) call: Call,
}

const fn range(name: &'static str, expr: &'static str) -> Query {
    let call = Call::Range(expr);
    Query { name, call }
}

const fn instant(name: &'static str, expr: &'static str) -> Query {
    let call = Call::Instant(expr);
    Query { name, call }
}

const fn path(name: &'static str, path: &'static str) -> Query {
    let call = Call::Path(path);
    Query { name, call }
}

/// Asked over a day of a small cluster, with each of the windows.
pub(crate) const DAY: [Query; 44] = [
    range(
        "node CPU by mode",
        r#"sum by (instance, mode) (rate(node_cpu_seconds_total{job="node-exporter"}[5m]))"#,
    ),
    range(
        "node CPU utilisation",
        r#"1 - avg by (instance) (rate(node_cpu_seconds_total{job="node-exporter",mode="idle"}[5m]))"#,
    ),
    range(
        "cluster CPU utilisation",
        r#"sum(rate(node_cpu_seconds_total{mode!~"idle|iowait|steal"}[5m])) / count(count by (instance, cpu) (node_cpu_seconds_total))"#,
    ),
    range(
        "node CPU saturation",
        r#"node_load1{job="node-exporter"} / on (instance) group_left () count by (instance) (node_cpu_seconds_total{mode="idle"})"#,
    ),
    range(
        "node memory utilisation",
        r#"1 - (node_memory_MemAvailable_bytes{job="node-exporter"} or (node_memory_Buffers_bytes + node_memory_Cached_bytes + node_memory_MemFree_bytes + node_memory_Slab_bytes)) / node_memory_MemTotal_bytes{job="node-exporter"}"#,
    ),
    range(
        "node filesystem used",
        r#"max by (instance, device) (1 - node_filesystem_avail_bytes{fstype!="",mountpoint!=""} / node_filesystem_size_bytes{fstype!="",mountpoint!=""})"#,
    ),
    range(
        "node filesystem fills up",
        r#"predict_linear(node_filesystem_avail_bytes{fstype!~"tmpfs|overlay"}[1h], 4 * 3600) < 0"#,
    ),
    range(
        "node network receive",
        r#"sum by (instance) (rate(node_network_receive_bytes_total{device!="lo"}[5m]))"#,
    ),
    range(
        "node network by device, irate",
        r#"irate(node_network_transmit_bytes_total{device!~"lo|veth.+|docker.+|cali.+"}[5m]) * 8"#,
    ),
    range(
        "node disk utilisation",
        r#"rate(node_disk_io_time_seconds_total{device=~"(/dev/)?(nvme.+|sd.+|vd.+)"}[5m])"#,
    ),
    range(
        "node disk bytes",
        r#"sum by (instance) (rate(node_disk_read_bytes_total[5m]) + rate(node_disk_written_bytes_total[5m]))"#,
    ),
    range("node load", r#"node_load15 > 0"#),
    range(
        "pod CPU",
        r#"sum by (namespace, pod) (rate(container_cpu_usage_seconds_total{job="kubelet",metrics_path="/metrics/cadvisor",container!=""}[5m]))"#,
    ),
    range(
        "namespace CPU",
        r#"sum by (namespace) (rate(container_cpu_usage_seconds_total{container!=""}[5m]))"#,
    ),
    range(
        "pod CPU of one namespace",
        r#"sum by (pod) (irate(container_cpu_usage_seconds_total{namespace="shop",container!=""}[5m]))"#,
    ),
    range(
        "CPU by node, rule",
        r#"sum by (node) (rate(container_cpu_usage_seconds_total{container!=""}[5m]) * on (namespace, pod) group_left (node) topk by (namespace, pod) (1, max by (namespace, pod, node) (kube_pod_info{node!=""})))"#,
    ),
    range(
        "CPU throttling",
        r#"sum by (container, pod, namespace) (increase(container_cpu_cfs_throttled_periods_total{container!=""}[5m])) / sum by (container, pod, namespace) (increase(container_cpu_cfs_periods_total[5m])) > (25 / 100)"#,
    ),
    range(
        "CPU of requests",
        r#"sum by (namespace) (rate(container_cpu_usage_seconds_total[5m])) / sum by (namespace) (kube_pod_container_resource_requests{job="kube-state-metrics",resource="cpu"})"#,
    ),
    range(
        "memory of pods",
        r#"sum by (pod) (container_memory_working_set_bytes{namespace=~"shop|search",container!="",image!=""})"#,
    ),
    range(
        "memory of limits",
        r#"sum by (namespace, pod) (container_memory_working_set_bytes{container!=""}) / sum by (namespace, pod) (kube_pod_container_resource_limits{resource="memory"})"#,
    ),
    range(
        "memory of limits by container, join",
        r#"container_memory_working_set_bytes{container!=""} / on (namespace, pod, container) group_left () kube_pod_container_resource_limits{resource="memory"} > 0.5"#,
    ),
    range(
        "memory with node, join",
        r#"container_memory_rss{container!="",image!=""} * on (namespace, pod) group_left (node) topk by (namespace, pod) (1, max by (namespace, pod, node) (kube_pod_info{node!=""}))"#,
    ),
    range(
        "highest memory",
        r#"max_over_time(sum by (namespace) (container_memory_working_set_bytes{container!=""})[30m:1m])"#,
    ),
    range(
        "memory, 95th percentile of an hour",
        r#"quantile_over_time(0.95, container_memory_working_set_bytes{container!=""}[1h])"#,
    ),
    range(
        "average memory of an hour",
        r#"avg_over_time(node_memory_MemAvailable_bytes[1h])"#,
    ),
    range(
        "top pods by CPU",
        r#"topk(10, sum by (namespace, pod) (rate(container_cpu_usage_seconds_total[5m])))"#,
    ),
    range(
        "bottom pods by memory",
        r#"bottomk(3, sum by (namespace, pod) (container_memory_usage_bytes))"#,
    ),
    range(
        "pod network",
        r#"sum by (namespace) (rate(container_network_receive_bytes_total{namespace!=""}[5m]))"#,
    ),
    range(
        "container I/O",
        r#"ceil(sum by (pod) (rate(container_fs_reads_bytes_total{namespace=~".+"}[5m]) + rate(container_fs_writes_bytes_total{namespace=~".+"}[5m])))"#,
    ),
    range(
        "pods by phase",
        r#"sum by (phase) (kube_pod_status_phase{job="kube-state-metrics"})"#,
    ),
    range(
        "pods not ready",
        r#"sum by (namespace, pod) (max by (namespace, pod) (kube_pod_status_phase{phase=~"Pending|Unknown|Failed"}) * on (namespace, pod) group_left () max by (namespace, pod) (kube_pod_info)) > 0 or on () vector(0)"#,
    ),
    range(
        "restarts",
        r#"increase(kube_pod_container_status_restarts_total[1h]) > 0"#,
    ),
    range(
        "changes of restarts",
        r#"sum by (namespace) (changes(kube_pod_container_status_restarts_total[30m]))"#,
    ),
    range(
        "p99 latency",
        r#"histogram_quantile(0.99, sum by (le, service) (rate(http_request_duration_seconds_bucket[5m])))"#,
    ),
    range(
        "p50 latency of each handler",
        r#"histogram_quantile(0.5, rate(http_request_duration_seconds_bucket{method="GET"}[5m]))"#,
    ),
    range(
        "average latency",
        r#"sum by (service) (rate(http_request_duration_seconds_sum[5m])) / sum by (service) (rate(http_request_duration_seconds_count[5m]))"#,
    ),
    range(
        "error ratio",
        r#"sum by (service) (rate(http_request_duration_seconds_count{handler=~"/api/.*",code=~"5.."}[5m])) / sum by (service) (rate(http_request_duration_seconds_count{handler=~"/api/.*"}[5m]))"#,
    ),
    range(
        "error budget burn",
        r#"sum(rate(http_request_duration_seconds_count{code=~"5.."}[1h])) / sum(rate(http_request_duration_seconds_count[1h])) > (14.4 * 0.01) and sum(rate(http_request_duration_seconds_count{code=~"5.."}[5m])) / sum(rate(http_request_duration_seconds_count[5m])) > (14.4 * 0.01)"#,
    ),
    range(
        "requests against an hour ago",
        r#"sum(rate(http_request_duration_seconds_count[5m])) / sum(rate(http_request_duration_seconds_count[5m] offset 1h))"#,
    ),
    range("targets up", r#"sum by (job) (up) / count by (job) (up)"#),
    range("series by name", r#"count by (__name__) ({__name__=~"container_.+"})"#),
    instant("all series by name, now", r#"count by (__name__) ({__name__!=""})"#),
    instant("alert for targets, now", r#"up == 0 or absent(up{job="nothing"})"#),
    instant("uptime, now", r#"time() - node_boot_time_seconds{job="node-exporter"}"#),
];

/// Asked over an hour of a large cluster.
pub(crate) const LARGE: [Query; 14] = [
    range(
        "cluster CPU utilisation",
        r#"1 - avg(rate(node_cpu_seconds_total{mode="idle"}[5m]))"#,
    ),
    range(
        "node CPU of one node",
        r#"sum by (mode) (rate(node_cpu_seconds_total{instance="node-0042:9100"}[5m]))"#,
    ),
    range(
        "namespace CPU",
        r#"sum by (namespace) (rate(container_cpu_usage_seconds_total{container!=""}[5m]))"#,
    ),
    range(
        "top pods by memory",
        r#"topk(10, sum by (namespace, pod) (container_memory_working_set_bytes{container!=""}))"#,
    ),
    range(
        "CPU by node, rule",
        r#"sum by (node) (rate(container_cpu_usage_seconds_total{container!=""}[5m]) * on (namespace, pod) group_left (node) topk by (namespace, pod) (1, max by (namespace, pod, node) (kube_pod_info{node!=""})))"#,
    ),
    range(
        "p99 latency",
        r#"histogram_quantile(0.99, sum by (le, service) (rate(http_request_duration_seconds_bucket[5m])))"#,
    ),
    range(
        "pods of one node, regex",
        r#"sum by (pod) (container_memory_rss{instance=~"node-01[0-4].:10250"})"#,
    ),
    range("pods by phase", r#"sum by (phase) (kube_pod_status_phase)"#),
    instant(
        "namespace CPU, now",
        r#"sum by (namespace) (rate(container_cpu_usage_seconds_total{container!=""}[5m]))"#,
    ),
    instant("all series by name, now", r#"count by (__name__) ({__name__!=""})"#),
    path("values of label pod", "label/pod/values?match[]=kube_pod_info"),
    path("values of label namespace", "label/namespace/values"),
    path("names of labels", "labels?match[]=container_memory_rss"),
    path(
        "series of a namespace",
        "series?match[]=kube_pod_info{namespace=\"payments\"}",
    ),
];

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn every_entry_has_a_name_of_its_own() {
        for set in [&DAY[..], &LARGE] {
            let names: HashSet<&str> = set.iter().map(|query| query.name).collect();
            assert_eq!(names.len(), set.len());
        }
    }
}
