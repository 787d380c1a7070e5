//! EC2 and OpenStack as small servers.

use super::*;

// Answers requests, body and all; `answer` gets head and body and gives status, further header lines and body.
async fn cloud(answer: impl Fn(&str, &str) -> (u16, String, String) + Send + Sync + 'static) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let answer = Arc::new(answer);
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let answer = answer.clone();
            tokio::spawn(async move {
                let mut text = Vec::new();
                let mut piece = [0; 4096];
                while let Ok(n @ 1..) = stream.read(&mut piece).await {
                    text.extend_from_slice(&piece[..n]);
                    let whole = String::from_utf8_lossy(&text).into_owned();
                    let Some((head, body)) = whole.split_once("\r\n\r\n") else {
                        continue;
                    };
                    let length = head.lines().find_map(|line| {
                        let (name, value) = line.split_once(':')?;
                        name.eq_ignore_ascii_case("content-length")
                            .then(|| value.trim().parse().unwrap())
                    });
                    if body.len() < length.unwrap_or(0) {
                        continue;
                    }
                    let (status, headers, reply) = answer(head, body);
                    text.clear();
                    let head = format!(
                        "HTTP/1.1 {status} X\r\n{headers}Content-Length: {}\r\n\r\n",
                        reply.len()
                    );
                    if stream.write_all(head.as_bytes()).await.is_err()
                        || stream.write_all(reply.as_bytes()).await.is_err()
                    {
                        return;
                    }
                }
            });
        }
    });
    format!("http://{address}")
}

fn path_of(head: &str) -> &str {
    head.split(' ').nth(1).unwrap_or_default()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn openstacks_machines_are_listed_page_by_page_with_a_token() {
    // What goes wrong: nothing, the password, or the network service.
    let state = Arc::new(Mutex::new("well"));
    let told = state.clone();
    let own = Arc::new(Mutex::new(String::new()));
    let place = own.clone();
    let url = cloud(move |head, body| {
        let (state, place) = (*told.lock(), place.lock().clone());
        let path = path_of(head);
        if path == "/id/" {
            let versions = format!(
                r#"{{"versions": {{"values": [{{"id": "v2.0", "links": []}},
                    {{"id": "v3.14", "links": [{{"rel": "self", "href": "{place}/id/v3/"}}]}}]}}}}"#
            );
            return (300, String::new(), versions);
        }
        if path == "/id/v3/auth/tokens" {
            let expected = r#"{"auth":{"identity":{"methods":["password"],"password":{"user":{"name":"u","domain":{"id":"d"},"password":"hunter2"}}},"scope":{"project":{"name":"p","domain":{"id":"d"}}}}}"#;
            if body != expected || state == "locked out" {
                return (401, String::new(), r#"{"error": {"message": "no entry"}}"#.to_owned());
            }
            let endpoint = |kind: &str, path: &str| {
                format!(
                    r#"{{"type": "{kind}", "endpoints": [
                        {{"interface": "public", "region": "other", "url": "http://192.0.2.1:1"}},
                        {{"interface": "internal", "region_id": "R", "url": "http://192.0.2.1:1"}},
                        {{"interface": "public", "region_id": "R", "url": "{place}{path}"}}]}}"#
                )
            };
            let catalog = [endpoint("compute", "/nova/v2.1/"), endpoint("network", "/neutron")].join(",");
            let token = "X-Subject-Token: t0ken\r\n".to_owned();
            return (201, token, format!(r#"{{"token": {{"catalog": [{catalog}]}}}}"#));
        }
        assert!(head.to_lowercase().contains("\r\nx-auth-token: t0ken"), "{head}");
        let server = |id: &str, address: &str| {
            format!(
                r#"{{"id": "{id}", "tenant_id": "t", "flavor": {{"id": "f"}}, "image": "",
                    "addresses": {{"net": [{{"addr": "{address}"}}]}}}}"#
            )
        };
        let body = match path {
            "/neutron/v2.0/ports" if state == "forbidden" => return (403, String::new(), "policy forbids".to_owned()),
            "/neutron/v2.0/ports" => r#"{"ports": [{"id": "port", "device_id": "a"}]}"#.to_owned(),
            "/neutron/v2.0/floatingips" => r#"{"floatingips": [{"port_id": null},
                {"port_id": "port", "fixed_ip_address": "10.0.0.1", "floating_ip_address": "198.51.100.1", "tenant_id": "t"}]}"#
                .to_owned(),
            // The link leads to another host, which is not asked.
            "/nova/v2.1/servers/detail?all_tenants=true" => format!(
                r#"{{"servers": [{}], "servers_links": [{{"rel": "next",
                    "href": "http://192.0.2.9/servers/detail?all_tenants=true&marker=a"}}]}}"#,
                server("a", "10.0.0.1")
            ),
            "/nova/v2.1/servers/detail?all_tenants=true&marker=a" => {
                format!(r#"{{"servers": [{}]}}"#, server("b", "fd00::2"))
            }
            other => return (404, String::new(), format!("no such page: {other}")),
        };
        (200, String::new(), body)
    })
    .await;
    own.lock().clone_from(&url);
    let world = world(Duration::from_millis(20));
    world.manager.apply(&sets(&format!(
        "- job_name: a\n  openstack_sd_configs: [{{identity_endpoint: '{url}/id', role: instance, region: R, username: u, \
         password: hunter2, domain_id: d, project_name: p, all_tenants: true, port: 9100, refresh_interval: 1s}}]\n"
    )));
    let both = ["10.0.0.1:9100", "[fd00::2]:9100"];
    world.until("both machines", |w| w.addresses("a") == both).await;
    {
        let seen = world.seen.lock();
        let group = seen.groups["a"].values().next().unwrap().clone();
        assert_eq!(group.source, "OS_R");
        assert_eq!(group.targets[0].value("__meta_openstack_public_ip"), "198.51.100.1");
    }
    // What goes wrong is told, without a secret, and what was found stays.
    for (how, expected) in [
        (
            "locked out",
            "could not authenticate to OpenStack: Expected HTTP response code [200, 201] when accessing [POST",
        ),
        ("forbidden", "could not list ports: Expected HTTP response code"),
    ] {
        *state.lock() = how;
        world
            .until(how, |w| w.manager.status()[0].last_error.starts_with(expected))
            .await;
        let error = world.manager.status()[0].last_error.clone();
        assert!(!error.contains("hunter2") && !error.contains("t0ken"), "{error}");
        assert_eq!(world.addresses("a"), both);
    }
    *state.lock() = "well";
    world
        .until("it works again", |w| w.manager.status()[0].last_error.is_empty())
        .await;
    let status = world.manager.status()[0].clone();
    assert_eq!((status.mechanism, status.place), ("openstack", format!("{url}/id")));
    assert!(world.metrics.refresh_failures.with(&["openstack", "a"]).get() >= 2.0);
    world.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ec2s_instances_are_listed_page_by_page_signed() {
    let state = Arc::new(Mutex::new("well"));
    let told = state.clone();
    let url = cloud(move |head, body| {
        let state = *told.lock();
        let lower = head.to_lowercase();
        assert!(head.starts_with("POST / "), "{head}");
        let signed = "authorization: aws4-hmac-sha256 credential=akid/";
        assert!(lower.contains(signed) && lower.contains("/eu-west-2/ec2/aws4_request"), "{head}");
        let refused = |code: &str, message: &str| {
            format!(
                "<?xml version=\"1.0\"?><Response><Errors><Error><Code>{code}</Code><Message>{message}</Message></Error>\
                 </Errors><RequestID>r</RequestID></Response>"
            )
        };
        let page = |id: &str, address: &str, more: &str| {
            format!(
                "<DescribeInstancesResponse xmlns=\"http://ec2.amazonaws.com/doc/2016-11-15/\"><reservationSet><item>\
                 <ownerId>o</ownerId><instancesSet><item><instanceId>{id}</instanceId>\
                 <privateIpAddress>{address}</privateIpAddress><placement><availabilityZone>eu-west-2a</availabilityZone>\
                 </placement></item></instancesSet></item></reservationSet>{more}</DescribeInstancesResponse>"
            )
        };
        let filters = "&Filter.1.Name=tag%3Ateam&Filter.1.Value.1=a&Filter.1.Value.2=b+c";
        let instances = format!("Action=DescribeInstances&Version=2016-11-15{filters}");
        if body == "Action=DescribeAvailabilityZones&Version=2016-11-15" {
            let zones = "<R><availabilityZoneInfo><item><zoneName>eu-west-2a</zoneName><zoneId>euw2-az2</zoneId></item>\
                         </availabilityZoneInfo></R>";
            return (200, String::new(), zones.to_owned());
        }
        let reply = match (state, body) {
            ("locked out", _) => return (401, String::new(), refused("AuthFailure", "no &lt;entry&gt;")),
            ("forbidden", _) => return (403, String::new(), refused("UnauthorizedOperation", "not you")),
            ("cut off", _) => page("i-1", "10.0.0.1", "").replace("</reservationSet>", ""),
            (_, first) if first == instances => page("i-1", "10.0.0.1", "<nextToken>a+b==</nextToken>"),
            (_, next) if next == format!("{instances}&NextToken=a%2Bb%3D%3D") => page("i-2", "10.0.0.2", "<nextToken/>"),
            (_, other) => return (400, String::new(), refused("Unknown", other)),
        };
        (200, String::new(), reply)
    })
    .await;
    let world = world(Duration::from_millis(20));
    world.manager.apply(&sets(&format!(
        "- job_name: a\n  ec2_sd_configs: [{{endpoint: '{url}', region: eu-west-2, access_key: AKID, secret_key: hunter2, \
         filters: [{{name: 'tag:team', values: [a, b c]}}], port: 9100, refresh_interval: 1s}}]\n"
    )));
    let both = ["10.0.0.1:9100", "10.0.0.2:9100"];
    world.until("both instances", |w| w.addresses("a") == both).await;
    {
        let seen = world.seen.lock();
        let group = seen.groups["a"].values().next().unwrap().clone();
        assert_eq!(group.source, "eu-west-2");
        assert_eq!(group.targets[0].value("__meta_ec2_availability_zone_id"), "euw2-az2");
    }
    for (how, expected) in [
        ("locked out", "StatusCode: 401, api error AuthFailure: no <entry>"),
        ("forbidden", "StatusCode: 403, api error UnauthorizedOperation: not you"),
        ("cut off", "could not describe instances: XML: byte"),
    ] {
        *state.lock() = how;
        world
            .until(how, |w| w.manager.status()[0].last_error.contains(expected))
            .await;
        let error = world.manager.status()[0].last_error.clone();
        assert!(!error.contains("hunter2"), "{error}");
        assert_eq!(world.addresses("a"), both);
    }
    *state.lock() = "well";
    world
        .until("it works again", |w| w.manager.status()[0].last_error.is_empty())
        .await;
    assert!(world.metrics.refresh_failures.with(&["ec2", "a"]).get() >= 3.0);
    world.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_answer_without_an_end_ends_with_its_time() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let mut piece = [0; 4096];
                _ = stream.read(&mut piece).await;
                let head = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
                _ = stream.write_all(head.as_bytes()).await;
                while stream.write_all(b"3\r\n<a>\r\n").await.is_ok() {
                    tokio::time::sleep(Duration::from_millis(1)).await;
                }
            });
        }
    });
    let world = world(Duration::from_millis(20));
    world.manager.apply(&sets(&format!(
        "- job_name: a\n  ec2_sd_configs: [{{endpoint: 'http://{address}', region: r, access_key: a, secret_key: b, \
         refresh_interval: 100ms}}]\n\
         - job_name: b\n  openstack_sd_configs: [{{identity_endpoint: 'http://{address}/v3', role: hypervisor, region: r, \
         userid: u, password: p, refresh_interval: 100ms}}]\n"
    )));
    let is_late = |status: &ProviderStatus| status.last_error.contains("context deadline exceeded");
    world
        .until("both give up", |w| w.manager.status().iter().all(is_late))
        .await;
    world.end().await;
}
