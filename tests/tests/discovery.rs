//! Targets and Alertmanagers that are found while the server runs.

#![allow(clippy::panic, clippy::unwrap_used, reason = "a test's failure is a panic")]

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU16, Ordering};

use cupola_tests::{FakeServer, FakeTarget, Home, Prometheus, Reply, Server, eventually};
use parking_lot::Mutex;
use serde_json::Value;

const GLOBAL: &str = "global: {scrape_interval: 300ms, scrape_timeout: 300ms}\n";

fn addresses(server: &Server) -> Vec<String> {
    let data = server.api("/api/v1/targets", &[("state", "active")]);
    let active: Vec<Value> = serde_json::from_value(data["activeTargets"].clone()).unwrap();
    let mut found: Vec<String> = active
        .iter()
        .map(|target| target["discoveredLabels"]["__address__"].as_str().unwrap().to_owned())
        .collect();
    found.sort();
    found
}

#[track_caller]
fn await_targets(server: &Server, what: &str, wanted: &[&FakeTarget]) {
    let mut wanted: Vec<String> = wanted.iter().map(|target| target.address().to_string()).collect();
    wanted.sort();
    eventually(30, what, || (addresses(server) == wanted).then_some(()));
}

fn provider(server: &Server, mechanism: &str) -> Value {
    let data = server.api("/api/v1/status/discovery", &[]);
    let all = data["providers"].as_array().unwrap().clone();
    all.into_iter().find(|p| p["mechanism"] == mechanism).unwrap()
}

#[test]
fn files_are_read_again_when_they_change() {
    let [a, b, c] = ["one 1\n", "two 2\n", "three 3\n"].map(FakeTarget::start);
    let home = Home::new();
    let config = home.write(
        "prometheus.yml",
        &format!(
            "{GLOBAL}scrape_configs:\n- job_name: files\n  file_sd_configs: [{{files: ['t/*.json', 't/*.yml']}}]\n  \
             relabel_configs: [{{source_labels: [__meta_filepath], regex: '.*/(.*)', target_label: file}}]\n"
        ),
    );
    std::fs::create_dir(home.path().join("t")).unwrap();
    home.write(
        "t/a.json",
        &format!(r#"[{{"targets": ["{}"], "labels": {{"team": "x"}}}}]"#, a.address()),
    );
    let server = Server::prometheus(&home, &config, &[]);
    await_targets(&server, "the first file", &[&a]);
    eventually(20, "it is scraped", || server.value("one{file=\"a.json\", team=\"x\"}"));
    assert_eq!(server.own_metric("prometheus_sd_discovered_targets"), Some(1.0));

    // A new file, renamed into place.
    home.write("t/b.yml", &format!("- targets: ['{}']\n", b.address()));
    await_targets(&server, "a second file", &[&a, &b]);
    eventually(20, "it is scraped", || server.value("two"));
    let scrapes = a.scrapes();
    eventually(20, "the first one goes on", || {
        (a.scrapes() > scrapes + 2).then_some(())
    });

    // Written in place.
    std::fs::write(
        home.path().join("t/b.yml"),
        format!("- targets: ['{}', '{}']\n", b.address(), c.address()),
    )
    .unwrap();
    await_targets(&server, "the second file with two targets", &[&a, &b, &c]);

    // Broken: the targets stay, and it is told.
    home.write("t/a.json", "[{");
    let error = eventually(20, "the error is told", || {
        let error = provider(&server, "file")["lastError"].as_str().unwrap().to_owned();
        (!error.is_empty()).then_some(error)
    });
    assert!(error.contains("t/a.json: EOF while parsing"), "{error}");
    assert_eq!(server.own_metric("prometheus_sd_file_read_errors_total"), Some(1.0));
    let scrapes = a.scrapes();
    eventually(20, "it is scraped on", || (a.scrapes() > scrapes + 2).then_some(()));

    // Mended, with nothing in it: the target goes, and its series end at once.
    home.write("t/a.json", "[]");
    await_targets(&server, "the first file is empty", &[&b, &c]);
    eventually(20, "its series end", || server.value("one").is_none().then_some(()));
    std::fs::remove_file(home.path().join("t/b.yml")).unwrap();
    await_targets(&server, "the second file is gone", &[]);
    assert_eq!(provider(&server, "file")["lastError"], "");
}

#[test]
fn a_server_lists_targets_and_a_reload_keeps_them() {
    let [a, b] = ["one 1\n", "two 2\n"].map(FakeTarget::start);
    let list = Arc::new(Mutex::new(format!(r#"[{{"targets": ["{}"]}}]"#, a.address())));
    let status = Arc::new(AtomicU16::new(200));
    let (told, code) = (list.clone(), status.clone());
    let finder =
        FakeServer::start(move |_| Reply::Body(code.load(Ordering::SeqCst), "application/json", told.lock().clone()));
    let home = Home::new();
    let job = format!(
        "- job_name: found\n  http_sd_configs: [{{url: '{}', refresh_interval: 300ms, basic_auth: {{username: u, \
         password: p}}}}]\n",
        finder.url("/sd")
    );
    let yml = format!("{GLOBAL}scrape_configs:\n{job}");
    let config = home.write("prometheus.yml", &yml);
    let server = Server::prometheus(&home, &config, &["--web.enable-lifecycle"]);
    await_targets(&server, "the list", &[&a]);
    let request = finder.requests("/sd").remove(0);
    assert_eq!(request.header("x-prometheus-refresh-interval-seconds"), "0.3");
    assert_eq!(request.header("authorization"), "Basic dTpw");
    *list.lock() = format!(r#"[{{"targets": ["{}", "{}"]}}]"#, a.address(), b.address());
    await_targets(&server, "the longer list", &[&a, &b]);

    // The server fails and another job comes: the targets go on.
    status.store(500, Ordering::SeqCst);
    eventually(20, "failures are counted", || {
        server
            .own_metric("prometheus_sd_http_failures_total")
            .filter(|n| *n > 1.0)
    });
    home.write("prometheus.yml", &format!("{yml}- job_name: other\n"));
    server.hang_up();
    eventually(20, "the reload is done", || {
        let pools = server.api("/api/v1/scrape_pools", &[]);
        (pools["scrapePools"].as_array().unwrap().len() == 2).then_some(())
    });
    assert_eq!(addresses(&server).len(), 2);
    let scrapes = b.scrapes();
    eventually(20, "they are scraped on", || (b.scrapes() > scrapes + 2).then_some(()));

    // More targets than may be: each says so, and none is asked.
    home.write("prometheus.yml", &format!("{yml}  target_limit: 1\n"));
    server.hang_up();
    eventually(20, "the limit is told", || {
        let data = server.api("/api/v1/targets", &[("state", "active")]);
        let all = data["activeTargets"].as_array().unwrap().clone();
        let error = "target_limit exceeded (number of targets: 2, limit: 1)";
        (all.len() == 2 && all.iter().all(|t| t["lastError"] == error)).then_some(())
    });
    assert_eq!(server.value("sum(up{job=\"found\"})"), Some(0.0));
    // Without the job they are gone.
    home.write(
        "prometheus.yml",
        &format!("{GLOBAL}scrape_configs: [{{job_name: other}}]\n"),
    );
    server.hang_up();
    await_targets(&server, "nothing is found any more", &[]);
}

#[test]
fn alerts_go_to_alertmanagers_that_files_name() {
    let [first, second] = [FakeServer::sink(), FakeServer::sink()];
    let home = Home::new();
    home.write(
        "rules.yml",
        "groups: [{name: g, interval: 300ms, rules: [{alert: Always, expr: vector(1)}]}]\n",
    );
    let config = home.write(
        "prometheus.yml",
        "rule_files: [rules.yml]\nalerting:\n  alertmanagers:\n  - file_sd_configs: [{files: [am.yml]}]\n    \
         path_prefix: am\n    relabel_configs: [{source_labels: [role], regex: spare, action: drop}]\n",
    );
    home.write("am.yml", &format!("- targets: ['{}']\n", first.address()));
    let server = Server::prometheus(&home, &config, &["--rules.alert.resend-delay=300ms"]);
    let path = "/am/api/v2/alerts";
    eventually(30, "the first one is told", || first.requests(path).pop());
    home.write(
        "am.yml",
        &format!(
            "- targets: ['{}']\n- targets: ['spare:1']\n  labels: {{role: spare}}\n",
            second.address()
        ),
    );
    eventually(30, "the second one is told", || second.requests(path).pop());
    let listed = server.api("/api/v1/alertmanagers", &[]);
    assert_eq!(
        listed["activeAlertmanagers"],
        serde_json::json!([{"url": second.url(path)}])
    );
    assert_eq!(
        listed["droppedAlertmanagers"],
        serde_json::json!([{"url": format!("http://spare:1{path}")}])
    );
    assert_eq!(
        server.own_metric("prometheus_notifications_alertmanagers_discovered"),
        Some(1.0)
    );
    let then = first.requests(path).len();
    eventually(20, "the second one is told again", || {
        (second.requests(path).len() > 3).then_some(())
    });
    assert!(first.requests(path).len() <= then + 1, "who is gone is told no more");
}

const LATER: [&str; 6] = [
    "__scrape_native_histograms__",
    "__always_scrape_classic_histograms__",
    "__convert_classic_histograms_to_nhcb__",
    "__meta_ec2_region",
    "__meta_ec2_default_ipv6_address",
    "__meta_openstack_instance_image",
];

// Of each target what does not depend on when it was scraped.
fn found(address: SocketAddr) -> BTreeSet<String> {
    let answer = cupola_tests::get(address, "/api/v1/targets").unwrap().json();
    let show = |target: &Value| {
        let labels = |name: &str| -> BTreeMap<String, String> {
            serde_json::from_value(target[name].clone()).unwrap_or_default()
        };
        let (mut before, after) = (labels("discoveredLabels"), labels("labels"));
        // Later than Debian's.
        before.retain(|name, _| !LATER.contains(&name.as_str()));
        format!("{before:?} {after:?} {}", target["scrapeUrl"])
    };
    let all = |kind: &str| {
        let targets = answer["data"][kind].as_array().cloned().unwrap_or_default();
        targets.iter().map(show).collect::<Vec<_>>()
    };
    all("activeTargets").into_iter().chain(all("droppedTargets")).collect()
}

// Nodes, services and tasks of a swarm.
const SWARM: [&str; 3] = [
    r#"[{"ID": "n1", "Spec": {"Role": "manager", "Availability": "active", "Labels": {"rack.id": "7"}},
      "Description": {"Hostname": "h1", "Platform": {"Architecture": "x86_64", "OS": "linux"}, "Engine": {"EngineVersion": "20"}},
      "Status": {"State": "ready", "Addr": "10.0.0.1"},
      "ManagerStatus": {"Leader": true, "Reachability": "reachable", "Addr": "10.0.0.1:2377"}},
     {"ID": "n2", "Status": {"Addr": "10.0.0.2"}}]"#,
    r#"[{"ID": "s1", "Spec": {"Name": "web", "Labels": {"team": "a"}, "Mode": {"Replicated": {"Replicas": 2}},
       "TaskTemplate": {"ContainerSpec": {"Image": "web:1", "Labels": null}}},
      "Endpoint": {"Ports": [{"Name": "p", "Protocol": "tcp", "PublishedPort": 8080, "PublishMode": "ingress"},
                             {"Protocol": "udp", "PublishedPort": 53}],
                   "VirtualIPs": [{"NetworkID": "n1", "Addr": "10.1.0.2/24"}]}, "UpdateStatus": {"State": "completed"}},
     {"ID": "s2", "Spec": {"Name": "agent", "Mode": {"Global": {}}, "TaskTemplate": {"ContainerSpec": {"Hostname": "h"}}},
      "Endpoint": {"VirtualIPs": [{"NetworkID": "x", "Addr": "10.1.0.3/24"}]}}]"#,
    r#"[{"ID": "t1", "ServiceID": "s1", "NodeID": "n1", "Slot": 1, "DesiredState": "running",
       "Spec": {"ContainerSpec": {"Labels": {"a": "spec"}}},
       "Status": {"State": "running", "ContainerStatus": {"ContainerID": "c1"},
                  "PortStatus": {"Ports": [{"Protocol": "tcp", "PublishedPort": 9000, "PublishMode": "host"}]}},
       "NetworksAttachments": [{"Network": {"ID": "n1"}, "Addresses": ["10.1.0.7/24"]}]},
      {"ID": "t2", "ServiceID": "s2", "Status": {"State": "failed", "PortStatus": {}},
       "NetworksAttachments": [{"Network": {"ID": "n1"}, "Addresses": ["fd00::7/64"]}]}]"#,
];

#[test]
fn debians_prometheus_finds_the_same_targets() {
    let containers = r#"[
      {"Id": "c1", "Names": ["/web", "/alias"], "Labels": {"com.example/team": "a"}, "HostConfig": {"NetworkMode": "front"},
       "Ports": [{"IP": "0.0.0.0", "PrivatePort": 80, "PublicPort": 8080, "Type": "tcp"}, {"PrivatePort": 53, "Type": "udp"}],
       "NetworkSettings": {"Networks": {"front": {"NetworkID": "n1", "IPAddress": "127.1.0.2"}}}},
      {"Id": "c3", "Names": ["/agent"], "Labels": {}, "HostConfig": {"NetworkMode": "host"}, "Ports": [],
       "NetworkSettings": {"Networks": {"host": {"NetworkID": "n3", "IPAddress": ""}}}},
      {"Id": "c6", "Names": ["/udp"], "HostConfig": {"NetworkMode": "front"}, "Ports": [{"PrivatePort": 53, "Type": "udp"}],
       "NetworkSettings": {"Networks": {"front": {"NetworkID": "n1", "IPAddress": "127.1.0.3"}}}}]"#;
    let networks = r#"[{"Id": "n1", "Name": "front", "Scope": "local", "Internal": false, "Ingress": false,
      "Labels": {"zone.x": "y"}}]"#;
    let finder = FakeServer::start(move |request| {
        let body = match request.path.split('?').next().unwrap_or_default() {
            path if path.ends_with("/containers/json") => containers,
            path if path.ends_with("/networks") => networks,
            path if path.ends_with("/nodes") => SWARM[0],
            path if path.ends_with("/services") => SWARM[1],
            path if path.ends_with("/tasks") => SWARM[2],
            "/sd" => {
                r#"[{"targets": ["127.0.0.1:9", "127.0.0.1:10"], "labels": {"a": "b", "__meta_x": "y"}}, {"targets": []}]"#
            }
            _ => "OK",
        };
        Reply::Body(200, "application/json", body.to_owned())
    });
    let files = Home::new();
    files.write(
        "a.json",
        r#"[{"targets": ["127.0.0.1:1", "127.0.0.1:2"], "labels": {"team": "x", "__scheme__": "https", "__param_q": "1 2", "job": ""}},
            {"targets": ["127.0.0.1:3"], "labels": {"__metrics_path__": "/m", "job": "own", "instance": "i"}}]"#,
    );
    files.write(
        "b.yml",
        "- targets: ['127.0.0.1:4']\n- targets: ['127.0.0.1:5']\n  labels: {drop: 'yes'}\n",
    );
    let yml = format!(
        "global: {{scrape_interval: 1h}}\nscrape_configs:\n\
         - job_name: files\n  params: {{r: [s, t]}}\n  file_sd_configs: [{{files: ['{0}/*.json', '{0}/b.yml']}}]\n  \
           relabel_configs: [{{source_labels: [drop], action: drop, regex: 'yes'}}]\n\
         - job_name: http\n  http_sd_configs: [{{url: '{1}'}}]\n\
         - job_name: docker\n  docker_sd_configs: [{{host: '{2}', port: 81, host_networking_host: 'h:82'}}]\n\
         - job_name: nodes\n  dockerswarm_sd_configs: [{{host: '{2}', role: nodes}}]\n\
         - job_name: services\n  dockerswarm_sd_configs: [{{host: '{2}', role: services}}]\n\
         - job_name: tasks\n  dockerswarm_sd_configs: [{{host: '{2}', role: tasks, port: 83}}]\n",
        files.path().display(),
        finder.url("/sd"),
        finder.url(""),
    );
    let _ = both_find(&yml, 17);
}

// Our server, which finds the same targets with the same labels as Debian's Prometheus does, so many; `None` without that.
#[track_caller]
fn both_find(yml: &str, targets: usize) -> Option<(Home, Server)> {
    let theirs = Prometheus::with_config(Home::new(), yml, &[])?;
    let home = Home::new();
    let config = home.write("prometheus.yml", yml);
    let ours = Server::prometheus(&home, &config, &[]);
    let all =
        |what: &str, address| eventually(30, what, || Some(found(address)).filter(|found| found.len() == targets));
    let (left, right) = (
        all("ours finds all", ours.address()),
        all("theirs finds all", theirs.address()),
    );
    let only = |a: &BTreeSet<String>, b: &BTreeSet<String>| a.difference(b).cloned().collect::<Vec<_>>();
    assert_eq!(
        left,
        right,
        "ours only: {:#?}\ntheirs only: {:#?}",
        only(&left, &right),
        only(&right, &left)
    );
    Some((home, ours))
}

const INSTANCES: [&str; 2] = [
    r#"<?xml version="1.0" encoding="UTF-8"?>
<DescribeInstancesResponse xmlns="http://ec2.amazonaws.com/doc/2016-11-15/"><requestId>r</requestId><reservationSet>
  <item><reservationId>r-1</reservationId><ownerId>123456789012</ownerId><instancesSet>
    <item><instanceId>i-1</instanceId><imageId>ami-1</imageId><instanceState><code>16</code><name>running</name></instanceState>
      <privateDnsName>ip-127-1-0-1.internal</privateDnsName><dnsName>ec2.example</dnsName><instanceType>t3.micro</instanceType>
      <placement><availabilityZone>eu-west-2a</availabilityZone></placement><platform>windows</platform>
      <architecture>x86_64</architecture><instanceLifecycle>spot</instanceLifecycle><vpcId>vpc-1</vpcId>
      <subnetId>subnet-1</subnetId><privateIpAddress>127.1.0.1</privateIpAddress><ipAddress>198.51.100.1</ipAddress>
      <tagSet><item><key>Team/x</key><value>a &amp;b &#x41;</value></item><item><key>empty</key><value/></item></tagSet>
      <networkInterfaceSet><item><subnetId>subnet-1</subnetId><attachment><deviceIndex>0</deviceIndex></attachment>
          <ipv6AddressesSet><item><ipv6Address>fd00::1</ipv6Address></item><item><ipv6Address>fd00::2</ipv6Address></item>
          </ipv6AddressesSet></item><item><subnetId>subnet-2</subnetId></item><item><subnetId>subnet-1</subnetId></item>
      </networkInterfaceSet></item>
    <item><instanceId>i-0</instanceId><imageId>ami-1</imageId><instanceState><name>terminated</name></instanceState>
      <placement><availabilityZone>eu-west-2a</availabilityZone></placement></item>
  </instancesSet></item></reservationSet><nextToken>more==</nextToken></DescribeInstancesResponse>"#,
    r#"<DescribeInstancesResponse xmlns="http://ec2.amazonaws.com/doc/2016-11-15/"><reservationSet>
  <item><ownerId>o</ownerId><instancesSet><item><instanceId>i-2</instanceId><imageId>ami-2</imageId>
    <instanceState><name>running</name></instanceState><instanceType>m5.large</instanceType>
    <placement><availabilityZone>eu-west-2b</availabilityZone></placement><privateIpAddress>127.1.0.2</privateIpAddress>
  </item></instancesSet></item></reservationSet></DescribeInstancesResponse>"#,
];
const MACHINES: &str = r#"{"servers": [
  {"id": "s0", "name": "none", "status": "ERROR", "addresses": {}, "flavor": {"id": "1"}, "image": "", "tenant_id": "t1"},
  {"id": "s1", "name": "herp", "status": "ACTIVE", "tenant_id": "t1", "user_id": "u1", "flavor": {"id": "1"},
   "image": {"id": "im"}, "metadata": {"team/x": "a"}, "created": "2014-09-25T13:10:02Z", "updated": "2014-09-25T13:10:10Z",
   "addresses": {"private": [{"addr": "127.2.0.1", "version": 4}, {"addr": "10.10.10.2", "version": 4}]}},
  {"id": "s2", "name": "derp", "status": "ACTIVE", "tenant_id": "t1", "user_id": "u1", "flavor": {"id": "2"}, "image": "",
   "created": "2014-09-25T13:10:02Z", "updated": "2014-09-25T13:10:10Z", "metadata": {},
   "addresses": {"b": [{"addr": "::1", "version": 6}], "a": [{"addr": "127.2.0.2", "version": 4}]}}]}"#;

// EC2, Keystone, Nova and Neutron at one address, as the one that asks calls it.
fn clouds(request: &cupola_tests::Request) -> Reply {
    let json = |body: &str| Reply::Body(200, "application/json", body.to_owned());
    let body = String::from_utf8_lossy(&request.body).into_owned();
    match request.path.split('?').next().unwrap_or_default() {
        "/" if body.contains("Action=DescribeAvailabilityZones") => {
            let zones = "<DescribeAvailabilityZonesResponse><availabilityZoneInfo><item><zoneName>eu-west-2a</zoneName>\
                         <zoneId>euw2-az2</zoneId></item></availabilityZoneInfo></DescribeAvailabilityZonesResponse>";
            Reply::Body(200, "text/xml;charset=UTF-8", zones.to_owned())
        }
        "/" if body.contains("Action=DescribeInstances") => {
            let signature = request.header("authorization");
            let is_signed = signature.starts_with("AWS4-HMAC-SHA256 Credential=AKID/");
            let is_filtered = body.contains("Filter.1.Name=tag%3Aa") && body.contains("Filter.1.Value.2=c");
            let page = INSTANCES[usize::from(body.contains("NextToken=more%3D%3D"))];
            match is_signed && is_filtered {
                true => Reply::Body(200, "text/xml;charset=UTF-8", page.to_owned()),
                false => Reply::status(400),
            }
        }
        "/v3/auth/tokens" => {
            let host = request.header("host");
            let endpoint = |kind: &str, path: &str| {
                format!(
                    r#"{{"type": "{kind}", "endpoints": [{{"interface": "public", "region": "R", "region_id": "R",
                        "url": "http://{host}/{path}"}}]}}"#
                )
            };
            let catalog = [endpoint("compute", "nova/"), endpoint("network", "neutron/")].join(",");
            let token =
                format!(r#"{{"token": {{"expires_at": "2099-01-01T00:00:00.000000Z", "catalog": [{catalog}]}}}}"#);
            Reply::Json(201, &["X-Subject-Token: t0ken"], token.leak())
        }
        _ if request.header("x-auth-token") != "t0ken" => Reply::status(401),
        "/nova/os-hypervisors/detail" => json(
            r#"{"hypervisors": [{"id": 7, "hypervisor_hostname": "nc14", "host_ip": "127.3.0.1", "hypervisor_type": "QEMU",
                "state": "up", "status": "enabled", "hypervisor_version": 2003000, "cpu_info": "{}", "free_disk_gb": 1,
                "local_gb": 2, "service": {"host": "nc14", "id": 16, "disabled_reason": null}}]}"#,
        ),
        "/nova/servers/detail" => json(MACHINES),
        "/nova/os-floating-ips" => json(
            r#"{"floating_ips": [{"id": "f", "instance_id": "s1", "fixed_ip": "127.2.0.1", "ip": "10.10.10.2", "pool": "p"}]}"#,
        ),
        "/neutron/v2.0/ports" => json(r#"{"ports": [{"id": "p1", "device_id": "s1"}]}"#),
        "/neutron/v2.0/floatingips" => json(
            r#"{"floatingips": [{"port_id": "p1", "fixed_ip_address": "127.2.0.1", "floating_ip_address": "10.10.10.2",
                "tenant_id": "t1"}]}"#,
        ),
        _ => Reply::status(404),
    }
}

#[test]
fn debians_prometheus_finds_the_same_machines_of_clouds() {
    let cloud = FakeServer::start(clouds);
    let keystone = format!(
        "identity_endpoint: '{}', region: R, userid: u, password: p, project_id: t",
        cloud.url("/v3")
    );
    let yml = format!(
        "global: {{scrape_interval: 1h}}\nscrape_configs:\n\
         - job_name: ec2\n  ec2_sd_configs: [{{endpoint: '{}', region: eu-west-2, access_key: AKID, secret_key: s, port: 91, \
           filters: [{{name: 'tag:a', values: [b, c]}}]}}]\n\
         - job_name: machines\n  openstack_sd_configs: [{{{keystone}, role: instance, port: 92}}]\n\
         - job_name: hosts\n  openstack_sd_configs: [{{{keystone}, role: hypervisor}}]\n",
        cloud.url(""),
    );
    let Some((_home, ours)) = both_find(&yml, 6) else {
        return;
    };
    assert_eq!(provider(&ours, "ec2")["place"], cloud.url(""));
}
