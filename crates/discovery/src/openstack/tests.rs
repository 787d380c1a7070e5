use std::path::Path;

use cupola_config::prometheus::{DiscoveryConfig, OpenStackSdConfig};

use super::keystone::{Identity, read_page};
use super::*;

const SERVERS: &str = r#"{"servers": [
  {"id": "s0", "name": "none", "status": "ERROR", "addresses": {}, "flavor": {"id": "1"}},
  {"id": "s1", "name": "herp", "status": "ACTIVE", "tenant_id": "t1", "user_id": "u1", "flavor": {"id": "1"},
   "image": {"id": "im"}, "metadata": {"team/x": "a"},
   "addresses": {"private": [{"addr": "10.0.0.32", "version": 4}, {"addr": "10.10.10.2", "version": 4}], "odd": "x"}},
  {"id": "s2", "name": "derp", "status": "ACTIVE", "tenant_id": "t1", "user_id": "u1", "image": "", "metadata": null,
   "flavor": {"vcpus": 2, "original_name": "m1.medium"}, "addresses": {"b": [{"addr": "fd00::1"}], "a": [{"addr": "10.0.0.31"}]}},
  {"id": "s3", "name": "no flavor", "flavor": {}, "addresses": {"a": [{"addr": "10.0.0.40"}]}}]}"#;
const PORTS: &str = r#"{"ports": [{"id": "p1", "device_id": "s1"}, {"id": "p2", "device_id": null}]}"#;
const FLOATING: &str = r#"{"floatingips": [
  {"port_id": "p1", "fixed_ip_address": "10.0.0.32", "floating_ip_address": "10.10.10.2", "tenant_id": "t1"},
  {"port_id": "lb1", "fixed_ip_address": "10.0.0.9", "floating_ip_address": "192.0.2.7"},
  {"port_id": null, "fixed_ip_address": null, "floating_ip_address": "10.10.10.9"}]}"#;
const HYPERVISORS: &str = r#"{"hypervisors": [
  {"id": 1, "hypervisor_hostname": "nc14", "host_ip": "172.16.70.14", "hypervisor_type": "QEMU", "state": "up", "status": "enabled"},
  {"id": "b1e43b5f", "hypervisor_hostname": "nc15", "host_ip": "fd00::5"}]}"#;
const BALANCERS: &str = r#"{"loadbalancers": [
  {"id": "l1", "name": "lb", "operating_status": "ONLINE", "provisioning_status": "ACTIVE", "availability_zone": "az1",
   "vip_address": "10.0.0.9", "vip_port_id": "lb1", "provider": "amphora", "project_id": "t1", "tags": ["x", "y"]},
  {"id": "l2", "vip_address": "10.0.0.10"}]}"#;
const LISTENERS: &str = r#"{"listeners": [{"protocol": "HTTP", "protocol_port": 80, "loadbalancers": [{"id": "l1"}, {"id": "l2"}]},
  {"protocol": "PROMETHEUS", "protocol_port": 9273, "loadbalancers": [{"id": "l1"}]},
  {"protocol": "PROMETHEUS", "protocol_port": 9274, "loadbalancers": [{"id": "l1"}]}]}"#;

fn config(yaml: &str) -> OpenStackSdConfig {
    let text =
        format!("scrape_configs: [{{job_name: a, openstack_sd_configs: [{{role: instance, region: r, {yaml}}}]}}]");
    let mut config = cupola_config::parse_prometheus(&text, Path::new("p.yml")).unwrap();
    match config.scrape_configs.remove(0).discovery.remove(0) {
        DiscoveryConfig::OpenStack(config) => *config,
        other => panic!("{other:?}"),
    }
}

fn page<T: serde::de::DeserializeOwned>(text: &str, field: &str) -> Vec<T> {
    read_page(text.as_bytes(), field).unwrap().0
}

fn shown(targets: &[Labels]) -> Vec<String> {
    targets
        .iter()
        .map(|target| target.to_string().replace("__meta_openstack_", "_"))
        .collect()
}

#[test]
fn machines_become_targets_by_address() {
    let targets = instances(
        80,
        &page(SERVERS, "servers"),
        &page(PORTS, "ports"),
        &page(FLOATING, "floatingips"),
    );
    assert_eq!(
        shown(&targets),
        [
            r#"{__address__="10.0.0.32:80", _address_pool="private", _instance_flavor="1", _instance_id="s1", _instance_image="im", _instance_name="herp", _instance_status="ACTIVE", _private_ip="10.0.0.32", _project_id="t1", _public_ip="10.10.10.2", _tag_team_x="a", _user_id="u1"}"#,
            r#"{__address__="10.0.0.31:80", _address_pool="a", _instance_flavor="m1.medium", _instance_id="s2", _instance_name="derp", _instance_status="ACTIVE", _private_ip="10.0.0.31", _project_id="t1", _user_id="u1"}"#,
            r#"{__address__="[fd00::1]:80", _address_pool="b", _instance_flavor="m1.medium", _instance_id="s2", _instance_name="derp", _instance_status="ACTIVE", _private_ip="fd00::1", _project_id="t1", _user_id="u1"}"#,
        ]
    );
}

#[test]
fn hypervisors_and_load_balancers_become_targets() {
    let all: Vec<Hypervisor> = page(HYPERVISORS, "hypervisors");
    let targets: Vec<Labels> = all.iter().map(|one| of_hypervisor(9100, one)).collect();
    assert_eq!(
        shown(&targets),
        [
            r#"{__address__="172.16.70.14:9100", _hypervisor_host_ip="172.16.70.14", _hypervisor_hostname="nc14", _hypervisor_id="1", _hypervisor_state="up", _hypervisor_status="enabled", _hypervisor_type="QEMU"}"#,
            r#"{__address__="[fd00::5]:9100", _hypervisor_host_ip="fd00::5", _hypervisor_hostname="nc15", _hypervisor_id="b1e43b5f"}"#,
        ]
    );
    let targets = load_balancers(
        &page(BALANCERS, "loadbalancers"),
        &page(LISTENERS, "listeners"),
        &page(FLOATING, "floatingips"),
    );
    assert_eq!(
        shown(&targets),
        [
            r#"{__address__="10.0.0.9:9273", _loadbalancer_availability_zone="az1", _loadbalancer_floating_ip="192.0.2.7", _loadbalancer_id="l1", _loadbalancer_name="lb", _loadbalancer_operating_status="ONLINE", _loadbalancer_provider="amphora", _loadbalancer_provisioning_status="ACTIVE", _loadbalancer_tags="x,y", _loadbalancer_vip="10.0.0.9", _project_id="t1"}"#
        ]
    );
}

#[test]
fn who_asks_is_told_as_keystone_asks_for_it() {
    let none = |_: &str| None;
    let endpoint = "identity_endpoint: 'http://x/v3'";
    for (yaml, expected) in [
        (
            "userid: u, password: p, project_id: x",
            r#"{"auth":{"identity":{"methods":["password"],"password":{"user":{"id":"u","password":"p"}}},"scope":{"project":{"id":"x"}}}}"#,
        ),
        (
            "username: u, password: p, domain_name: d",
            r#"{"auth":{"identity":{"methods":["password"],"password":{"user":{"name":"u","domain":{"name":"d"},"password":"p"}}}}}"#,
        ),
        (
            "application_credential_id: c, application_credential_secret: s, project_id: x",
            r#"{"auth":{"identity":{"methods":["application_credential"],"application_credential":{"id":"c","secret":"s"}}}}"#,
        ),
        (
            "application_credential_name: c, application_credential_secret: s, username: u, domain_id: d",
            r#"{"auth":{"identity":{"methods":["application_credential"],"application_credential":{"name":"c","user":{"name":"u","domain":{"id":"d"}},"secret":"s"}}}}"#,
        ),
    ] {
        let identity = Identity::new(&config(&format!("{endpoint}, {yaml}")), &none).unwrap();
        assert_eq!(identity.request().unwrap().to_string(), expected);
    }
    for (yaml, expected) in [
        ("userid: u", "there is neither a password nor an application credential"),
        ("password: p", "there is neither a username nor a userid"),
        (
            "username: u, userid: i, password: p",
            "there are both a username and a userid",
        ),
        (
            "username: u, password: p",
            "a username needs a domain_id or a domain_name",
        ),
        (
            "userid: u, password: p, project_name: x",
            "a project_name needs a domain_id or a domain_name",
        ),
        (
            "application_credential_id: c",
            "an application credential needs its secret",
        ),
    ] {
        let identity = Identity::new(&config(&format!("{endpoint}, {yaml}")), &none).unwrap();
        assert_eq!(identity.request().unwrap_err(), expected, "{yaml}");
    }
    let env = |name: &str| match name {
        "OS_AUTH_URL" => Some("http://k/v3".to_owned()),
        "OS_USERID" => Some("u".to_owned()),
        "OS_PASSWORD" => Some("p".to_owned()),
        "OS_TENANT_ID" => Some("t".to_owned()),
        _ => None,
    };
    let identity = Identity::new(&config("username: ignored"), &env).unwrap();
    assert_eq!(
        (
            identity.endpoint.as_str(),
            identity.project_id.as_str(),
            identity.username.as_str()
        ),
        ("http://k/v3", "t", "")
    );
    assert!(
        Identity::new(&config("port: 1"), &none)
            .unwrap_err()
            .contains("OS_AUTH_URL")
    );
}

#[test]
fn no_bytes_break_the_reader() {
    let all = [SERVERS, PORTS, FLOATING, HYPERVISORS, BALANCERS, LISTENERS];
    let seeds: Vec<Vec<u8>> = all.iter().map(|text| text.as_bytes().to_vec()).collect();
    cupola_testkit::fuzz(2_000, &seeds, &["null", "{}", "[]", "\"\""], |bytes| {
        let floating: Vec<FloatingIp> = read_page(bytes, "floatingips").unwrap_or_default().0;
        let machines: Vec<Machine> = read_page(bytes, "servers").unwrap_or_default().0;
        let ports: Vec<Port> = read_page(bytes, "ports").unwrap_or_default().0;
        instances(80, &machines, &ports, &floating);
        let hypervisors: Vec<Hypervisor> = read_page(bytes, "hypervisors").unwrap_or_default().0;
        for hypervisor in &hypervisors {
            of_hypervisor(80, hypervisor);
        }
        let balancers: Vec<LoadBalancer> = read_page(bytes, "loadbalancers").unwrap_or_default().0;
        let listeners: Vec<Listener> = read_page(bytes, "listeners").unwrap_or_default().0;
        load_balancers(&balancers, &listeners, &floating);
    });
}
