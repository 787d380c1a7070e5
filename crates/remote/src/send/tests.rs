use cupola_config::parse_prometheus;

use super::*;

fn configs(yaml: &str) -> Vec<RemoteWriteConfig> {
    let text = format!("remote_write:\n{yaml}");
    parse_prometheus(&text, std::path::Path::new("p.yml"))
        .unwrap()
        .remote_write
}

#[test]
fn destinations_are_known_by_name_or_url() {
    let configs = configs("- url: http://a/\n- url: http://a/\n  name: x\n- url: http://a/\n  send_exemplars: true\n");
    let keys = keys(&configs);
    assert_eq!(keys, ["url http://a/", "name x", "url http://a/ 2"]);
    assert_eq!(hex(&keys[0]).len(), 32);
}

#[test]
fn what_cannot_be_sent_to_is_told_before() {
    let configs = configs("- url: http://a/\n- url: a:9090/write\n- url: http://b/\n  headers: {\"a b\": c}\n");
    let told = mistakes(&configs);
    assert_eq!(told.len(), 2, "{told:?}");
    assert!(told[0].starts_with("remote_write[1]: url is no URL: "), "{told:?}");
    assert_eq!(told[1], "remote_write[2]: header \"a b\": is no header");
}

#[test]
fn all_metrics_of_stock_rules_are_registered() {
    let Some(file) = cupola_testkit::conformance_dir("required-metrics.json") else {
        return;
    };
    let text = std::fs::read_to_string(file).unwrap();
    let registry = Registry::default();
    let _families = Families::new(&registry);
    let names: Vec<String> = registry.snapshot().into_iter().map(|family| family.name).collect();
    let mut asked = 0;
    for word in text.split('"').filter(|word| {
        let is_name = word.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
        is_name && (word.starts_with("prometheus_remote_storage_") || word.starts_with("prometheus_wal_watcher_"))
    }) {
        let base = ["_bucket", "_sum", "_count"]
            .iter()
            .find_map(|end| word.strip_suffix(end));
        let has = |name: &str| names.iter().any(|other| other == name);
        // Of all destinations together, where the storage is; and of a Prometheus before 2.23.
        let elsewhere = ["samples_in_total", "highest_timestamp_in_seconds"];
        let old = [
            "dropped_samples_total",
            "failed_samples_total",
            "pending_samples",
            "retried_samples_total",
            "succeeded_samples_total",
        ];
        if !elsewhere
            .iter()
            .chain(&old)
            .any(|end| word.ends_with(&format!("storage_{end}")))
        {
            assert!(has(word) || base.is_some_and(has), "{word}");
            asked += 1;
        }
    }
    assert!(asked > 10, "{asked}");
}
