use std::path::Path;

use cupola_config::prometheus::DiscoveryConfig;

use super::*;

const CONTAINERS: &str = r#"[
  {"Id": "c1", "Names": ["/web", "/alias"], "Labels": {"com.example/team": "a"}, "HostConfig": {"NetworkMode": "front"},
   "Ports": [{"IP": "0.0.0.0", "PrivatePort": 80, "PublicPort": 8080, "Type": "tcp"}, {"PrivatePort": 53, "Type": "udp"},
             {"PrivatePort": 81, "Type": "tcp"}],
   "NetworkSettings": {"Networks": {"front": {"NetworkID": "n1", "IPAddress": "172.1.0.2"},
                                    "back": {"NetworkID": "n2", "IPAddress": "fd00::2"}}}},
  {"Id": "c2", "Names": ["/side"], "Labels": null, "HostConfig": {"NetworkMode": "container:c1"}, "Ports": null,
   "NetworkSettings": {"Networks": {}}},
  {"Id": "c3", "Names": ["/agent"], "Labels": {}, "HostConfig": {"NetworkMode": "host"}, "Ports": [],
   "NetworkSettings": {"Networks": {"host": {"NetworkID": "n3", "IPAddress": ""}}}},
  {"Id": "c4", "Names": [], "NetworkSettings": {"Networks": {"host": null}}},
  {"Id": "c5", "Names": ["/loop"], "HostConfig": {"NetworkMode": "container:c5"}}
]"#;
const NETWORKS: &str = r#"[{"Id": "n1", "Name": "front", "Scope": "local", "Internal": false, "Ingress": false,
  "Labels": {"zone": "x"}}, {"Id": "n2", "Name": "back", "Scope": "local", "Internal": true, "Labels": null}]"#;

fn config(yaml: &str) -> DockerSdConfig {
    let text = format!("scrape_configs: [{{job_name: a, docker_sd_configs: [{{{yaml}}}]}}]");
    let mut config = cupola_config::parse_prometheus(&text, Path::new("p.yml")).unwrap();
    match config.scrape_configs.remove(0).discovery.remove(0) {
        DiscoveryConfig::Docker(docker) => *docker,
        other => panic!("{other:?}"),
    }
}

fn found(config: &DockerSdConfig) -> Vec<String> {
    let containers: Vec<Container> = serde_json::from_str(CONTAINERS).unwrap();
    let networks: Vec<Network> = serde_json::from_str(NETWORKS).unwrap();
    let group = group(config, &containers, &networks);
    let shown = |target: &Labels| {
        let label = |name: &str| target.value(name).to_owned();
        format!(
            "{} {} {}",
            label("__address__"),
            label("__meta_docker_container_name"),
            label("__meta_docker_network_name")
        )
    };
    group.targets.iter().map(shown).collect()
}

#[test]
fn containers_become_targets_by_network_and_port() {
    let first = config("host: 'unix:///x'");
    assert_eq!(
        found(&first),
        [
            "[fd00::2]:80 /web back",
            "[fd00::2]:81 /web back",
            "[fd00::2]:80 /side back",
            "localhost /agent "
        ]
    );
    let all = config("host: 'unix:///x', match_first_network: false, port: 9100, host_networking_host: 'h:1'");
    assert_eq!(
        found(&all),
        [
            "[fd00::2]:80 /web back",
            "[fd00::2]:81 /web back",
            "172.1.0.2:80 /web front",
            "172.1.0.2:81 /web front",
            "[fd00::2]:9100 /side back",
            "172.1.0.2:9100 /side front",
            "h:1 /agent ",
        ]
    );
    let containers: Vec<Container> = serde_json::from_str(CONTAINERS).unwrap();
    let networks: Vec<Network> = serde_json::from_str(NETWORKS).unwrap();
    assert_eq!(
        group(&all, &containers, &networks).targets[2].to_string(),
        r#"{__address__="172.1.0.2:80", __meta_docker_container_id="c1", __meta_docker_container_label_com_example_team="a", __meta_docker_container_name="/web", __meta_docker_container_network_mode="front", __meta_docker_network_id="n1", __meta_docker_network_ingress="false", __meta_docker_network_internal="false", __meta_docker_network_ip="172.1.0.2", __meta_docker_network_label_zone="x", __meta_docker_network_name="front", __meta_docker_network_scope="local", __meta_docker_port_private="80", __meta_docker_port_public="8080", __meta_docker_port_public_ip="0.0.0.0"}"#
    );
}

#[test]
fn filters_are_written_as_dockers_client_writes_them() {
    let config = config(
        "host: 'unix:///x', filters: [{name: label, values: [a, 'b=c']}, {name: label, values: [d]}, {name: e}]",
    );
    assert_eq!(
        filters(&config.filters),
        "?filters=%7B%22label%22%3A%7B%22a%22%3Atrue%2C%22b%3Dc%22%3Atrue%2C%22d%22%3Atrue%7D%7D"
    );
    assert_eq!(filters(&[]), "");
}

#[test]
fn no_bytes_break_the_reader() {
    let seeds = [CONTAINERS.as_bytes().to_vec(), NETWORKS.as_bytes().to_vec()];
    let config = config("host: 'unix:///x'");
    cupola_testkit::fuzz(2_000, &seeds, &["null", "{}", "[]"], |bytes| {
        let containers: Vec<Container> = serde_json::from_slice(bytes).unwrap_or_default();
        let networks: Vec<Network> = serde_json::from_slice(bytes).unwrap_or_default();
        group(&config, &containers, &networks);
    });
}
