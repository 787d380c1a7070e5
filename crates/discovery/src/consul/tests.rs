use cupola_config::prometheus::DiscoveryConfig;
use std::path::Path;

use super::*;

const INSTANCES: &str = r#"[
  {"Node": {"Node": "n1", "Address": "10.0.0.1", "Meta": {"rack.id": "7"}, "TaggedAddresses": {"lan": "10.0.0.1"}},
   "Service": {"ID": "web-1", "Service": "web", "Address": "", "Port": 80, "Tags": ["a", "b"], "Meta": {"v": "2"},
               "Namespace": "ns"},
   "Checks": [{"CheckID": "serfHealth", "Status": "passing"}, {"CheckID": "x", "Status": "warning"}]},
  {"Node": {"Node": "n2", "Address": "10.0.0.2", "Meta": null, "TaggedAddresses": null},
   "Service": {"ID": "web-2", "Address": "fd00::1", "Port": 81, "Tags": null}, "Checks": null}
]"#;

pub(crate) fn config(yaml: &str) -> ConsulSdConfig {
    let text = format!("scrape_configs: [{{job_name: a, consul_sd_configs: [{{{yaml}}}]}}]");
    let mut config = cupola_config::parse_prometheus(&text, Path::new("p.yml")).unwrap();
    match config.scrape_configs.remove(0).discovery.remove(0) {
        DiscoveryConfig::Consul(consul) => *consul,
        other => panic!("{other:?}"),
    }
}

#[test]
fn instances_become_targets_with_all_their_labels() {
    let instances: Vec<Instance> = serde_json::from_str(INSTANCES).unwrap();
    let group = group(&config(""), "web", "dc1", &instances);
    assert_eq!(
        group.labels.to_string(),
        r#"{__meta_consul_dc="dc1", __meta_consul_service="web"}"#
    );
    let targets: Vec<String> = group.targets.iter().map(ToString::to_string).collect();
    assert_eq!(
        targets,
        [
            r#"{__address__="10.0.0.1:80", __meta_consul_address="10.0.0.1", __meta_consul_health="warning", __meta_consul_metadata_rack_id="7", __meta_consul_namespace="ns", __meta_consul_node="n1", __meta_consul_service_id="web-1", __meta_consul_service_metadata_v="2", __meta_consul_service_port="80", __meta_consul_tagged_address_lan="10.0.0.1", __meta_consul_tags=",a,b,"}"#,
            r#"{__address__="[fd00::1]:81", __meta_consul_address="10.0.0.2", __meta_consul_health="passing", __meta_consul_node="n2", __meta_consul_service_address="fd00::1", __meta_consul_service_id="web-2", __meta_consul_service_port="81", __meta_consul_tags=",,"}"#,
        ]
    );
    let check = |id: &str, status: &str| Check {
        id: id.to_owned(),
        status: status.to_owned(),
    };
    assert_eq!(health(&[check("a", "warning"), check("b", "critical")]), "critical");
    assert_eq!(health(&[check("_node_maintenance", "critical")]), "maintenance");
    assert_eq!((following(5, 7), following(5, 5), following(5, 3)), (7, 5, 0));
}

#[test]
fn no_bytes_break_the_reader() {
    let config = config("");
    cupola_testkit::fuzz(
        2_000,
        &[INSTANCES.as_bytes().to_vec()],
        &["null", "{}", "[]"],
        |bytes| {
            let instances: Vec<Instance> = serde_json::from_slice(bytes).unwrap_or_default();
            group(&config, "web", "dc1", &instances);
            let _ = serde_json::from_slice::<Agent>(bytes);
        },
    );
}
