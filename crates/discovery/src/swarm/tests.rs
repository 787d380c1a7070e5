use std::path::Path;

use cupola_config::prometheus::DiscoveryConfig;

use super::*;

const NODES: &str = r#"[{"ID": "n1", "Spec": {"Role": "manager", "Availability": "active", "Labels": {"rack.id": "7"}},
  "Description": {"Hostname": "h1", "Platform": {"Architecture": "x86_64", "OS": "linux"}, "Engine": {"EngineVersion": "20"}},
  "Status": {"State": "ready", "Addr": "10.0.0.1"},
  "ManagerStatus": {"Leader": true, "Reachability": "reachable", "Addr": "10.0.0.1:2377"}}, {"ID": "n2"}]"#;
const SERVICES: &str = r#"[{"ID": "s1", "Spec": {"Name": "web", "Labels": {"team": "a"}, "Mode": {"Replicated": {"Replicas": 2}},
   "TaskTemplate": {"ContainerSpec": {"Image": "web:1", "Labels": null}}},
  "Endpoint": {"Ports": [{"Name": "p", "Protocol": "tcp", "PublishedPort": 8080, "PublishMode": "ingress"},
                         {"Protocol": "udp", "PublishedPort": 53}],
               "VirtualIPs": [{"NetworkID": "net1", "Addr": "10.1.0.2/24"}]}, "UpdateStatus": {"State": "completed"}},
 {"ID": "s2", "Spec": {"Name": "agent", "Mode": {"Global": {}}}, "Endpoint": {"VirtualIPs": [{"NetworkID": "x", "Addr": "10.1.0.3/24"}]}}]"#;
const TASKS: &str = r#"[{"ID": "t1", "ServiceID": "s1", "NodeID": "n1", "Slot": 1, "DesiredState": "running",
   "Spec": {"ContainerSpec": {"Labels": {"a": "spec"}}},
   "Status": {"State": "running", "ContainerStatus": {"ContainerID": "c1"},
              "PortStatus": {"Ports": [{"Protocol": "tcp", "PublishedPort": 9000, "PublishMode": "host"}]}},
   "NetworksAttachments": [{"Network": {"ID": "net1"}, "Addresses": ["10.1.0.7/24"]}]},
  {"ID": "t2", "ServiceID": "s2", "Status": {"State": "failed", "PortStatus": null},
   "NetworksAttachments": [{"Network": {"ID": "net1"}, "Addresses": ["fd00::7/64"]}]}]"#;
const NETWORKS: &str = r#"[{"Id": "net1", "Name": "front", "Scope": "swarm", "Internal": false, "Ingress": true}]"#;

fn config(role: &str) -> DockerSwarmSdConfig {
    let text =
        format!("scrape_configs: [{{job_name: a, dockerswarm_sd_configs: [{{host: 'unix:///x', role: {role}}}]}}]");
    let mut config = cupola_config::parse_prometheus(&text, Path::new("p.yml")).unwrap();
    match config.scrape_configs.remove(0).discovery.remove(0) {
        DiscoveryConfig::DockerSwarm(swarm) => *swarm,
        other => panic!("{other:?}"),
    }
}

fn found() -> Found {
    Found {
        nodes: serde_json::from_str(NODES).unwrap(),
        services: serde_json::from_str(SERVICES).unwrap(),
        tasks: serde_json::from_str(TASKS).unwrap(),
        networks: serde_json::from_str(NETWORKS).unwrap(),
        containers: HashMap::from([(
            "c1".to_owned(),
            BTreeMap::from([
                ("a".to_owned(), "image".to_owned()),
                ("b".to_owned(), "image".to_owned()),
            ]),
        )]),
    }
}

fn addresses(role: &str) -> Vec<String> {
    let targets = targets(&config(role), &found()).unwrap();
    targets
        .iter()
        .map(|target| target.value("__address__").to_owned())
        .collect()
}

#[test]
fn nodes_services_and_tasks_become_targets() {
    assert_eq!(addresses("nodes"), ["10.0.0.1:80", ":80"]);
    assert_eq!(addresses("services"), ["10.1.0.2:8080", "10.1.0.3:80"]);
    assert_eq!(addresses("tasks"), ["10.0.0.1:9000", "10.1.0.7:8080", "[fd00::7]:80"]);
    let first = |role: &str, at: usize| {
        let target = &targets(&config(role), &found()).unwrap()[at];
        target.to_string().replace("__meta_dockerswarm_", "")
    };
    assert_eq!(
        first("nodes", 0),
        r#"{__address__="10.0.0.1:80", node_address="10.0.0.1", node_availability="active", node_engine_version="20", node_hostname="h1", node_id="n1", node_label_rack_id="7", node_manager_address="10.0.0.1:2377", node_manager_leader="true", node_manager_reachability="reachable", node_platform_architecture="x86_64", node_platform_os="linux", node_role="manager", node_status="ready"}"#
    );
    assert_eq!(
        first("services", 0),
        r#"{__address__="10.1.0.2:8080", network_id="net1", network_ingress="true", network_internal="false", network_name="front", network_scope="swarm", service_endpoint_port_name="p", service_endpoint_port_publish_mode="ingress", service_id="s1", service_label_team="a", service_mode="replicated", service_name="web", service_task_container_image="web:1", service_updating_status="completed"}"#
    );
    assert_eq!(
        first("tasks", 1),
        r#"{__address__="10.1.0.7:8080", container_label_a="spec", container_label_b="image", network_id="net1", network_ingress="true", network_internal="false", network_name="front", network_scope="swarm", node_address="10.0.0.1", node_availability="active", node_hostname="h1", node_id="n1", node_label_rack_id="7", node_platform_architecture="x86_64", node_platform_os="linux", node_role="manager", node_status="ready", service_id="s1", service_label_team="a", service_mode="replicated", service_name="web", task_container_id="c1", task_desired_state="running", task_id="t1", task_port_publish_mode="ingress", task_slot="1", task_state="running"}"#
    );
}

#[test]
fn no_bytes_break_the_reader() {
    let seeds = [NODES, SERVICES, TASKS, NETWORKS].map(|text| text.as_bytes().to_vec());
    cupola_testkit::fuzz(2_000, &seeds, &["null", "{}", "[]", "/24"], |bytes| {
        let found = Found {
            nodes: serde_json::from_slice(bytes).unwrap_or_default(),
            services: serde_json::from_slice(bytes).unwrap_or_default(),
            tasks: serde_json::from_slice(bytes).unwrap_or_default(),
            ..found()
        };
        for role in ["nodes", "services", "tasks"] {
            let _ = targets(&config(role), &found);
        }
    });
}
