//! How targets, receivers and others are spoken to: what an `<http_config>` asks for, seen from the other side.

#![allow(clippy::panic, clippy::unwrap_used, reason = "a test's failure is a panic")]

use std::io::{Read as _, Write as _};
use std::os::unix::net::UnixListener;
use std::process::Command;

use cupola_tests::{Background, FakeServer, Home, Reply, Server, eventually, free_address, neighbour, run};

const TEXT: &str = "text/plain; version=0.0.4";

#[test]
fn targets_are_scraped_and_receivers_notified_through_a_proxy() {
    // Names that no resolver knows: whoever does not go through the proxy gets nowhere.
    let proxy = FakeServer::start(|request| match request.path.as_str() {
        "http://target.invalid:9100/metrics" => Reply::Body(200, TEXT, "way 1\n".to_owned()),
        "http://receiver.invalid/hook" => Reply::status(200),
        _ => Reply::status(404),
    });
    let home = Home::new();
    home.write(
        "rules.yml",
        "groups: [{name: g, interval: 250ms, rules: [{alert: Way, expr: way == 1}]}]",
    );
    let via = format!("http://me:p%40ss@{}", proxy.address());
    let config = home.write(
        "prometheus.yml",
        &format!(
            "global: {{scrape_interval: 250ms, scrape_timeout: 250ms}}\nrule_files: [rules.yml]\n\
             scrape_configs:\n- job_name: far\n  proxy_url: {via}\n  static_configs: [{{targets: ['target.invalid:9100']}}]\n\
             - job_name: excepted\n  proxy_url: {via}\n  no_proxy: .invalid\n  \
             static_configs: [{{targets: ['target.invalid:9100']}}]\n"
        ),
    );
    let receivers = home.write(
        "alertmanager.yml",
        &format!(
            "route: {{receiver: nobody, routes: [{{receiver: far, matchers: ['alertname=\"Way\"'], group_wait: 0s}}]}}\n\
             receivers:\n- name: nobody\n- name: far\n  webhook_configs:\n  - url: http://receiver.invalid/hook\n    \
             http_config: {{proxy_url: '{via}'}}\n"
        ),
    );
    let server = Server::up(
        &home,
        &[
            &format!("--config.file={}", config.display()),
            &format!("--alertmanager.config.file={}", receivers.display()),
        ],
    );
    eventually(20, "the target is up", || {
        server.value("way{job=\"far\"}").filter(|v| *v == 1.0)
    });
    let told = eventually(20, "the receiver is told", || {
        proxy.requests("http://receiver.invalid/hook").first().cloned()
    });
    assert_eq!(told.method, "POST");
    assert_eq!(told.json()["commonLabels"]["alertname"], "Way");
    assert_eq!(told.header("host"), "receiver.invalid");
    let asked = proxy.requests("http://target.invalid:9100/metrics");
    for request in asked.iter().chain([&told]) {
        // The base64 of `me:p@ss`.
        assert_eq!(request.header("proxy-authorization"), "Basic bWU6cEBzcw==");
    }
    eventually(20, "the exception is asked directly", || {
        server.value("up{job=\"excepted\"}").filter(|up| *up == 0.0)
    });
    let targets = server.api("/api/v1/targets", &[]);
    let failed = targets["activeTargets"].as_array().unwrap().iter();
    let failed = failed.filter(|t| t["labels"]["job"] == "excepted");
    for target in failed {
        let error = target["lastError"].as_str().unwrap();
        assert!(error.contains("lookup target.invalid"), "{error}");
    }
    assert!(!server.get("/api/v1/status/config").text().contains("p%40ss"));
}

#[test]
fn a_job_with_oauth2_has_one_token_and_a_token_server_that_hangs_is_its_own_jobs_trouble() {
    let fake = FakeServer::start(|request| match request.path.as_str() {
        "/token" => Reply::Body(
            200,
            "application/json",
            r#"{"access_token": "t0ken", "expires_in": 3600}"#.to_owned(),
        ),
        "/hangs?key=hunter-3" => Reply::Hang,
        "/open" => Reply::Body(200, TEXT, "seen 1\n".to_owned()),
        "/metrics" | "/other" if request.header("authorization") == "Bearer t0ken" => {
            Reply::Body(200, TEXT, "seen 1\n".to_owned())
        }
        _ => Reply::status(401),
    });
    let home = Home::new();
    let (target, token) = (fake.address(), fake.url("/token"));
    let config = home.write(
        "prometheus.yml",
        &format!(
            "global: {{scrape_interval: 300ms, scrape_timeout: 300ms}}\nscrape_configs:\n\
             - job_name: guarded\n  static_configs: [{{targets: ['{target}'], labels: {{which: a}}}}, \
             {{targets: ['{target}'], labels: {{which: b, __metrics_path__: /other}}}}]\n  \
             oauth2: {{client_id: me, client_secret: hunter-1, scopes: [read], token_url: '{token}'}}\n\
             - job_name: stuck\n  static_configs: [{{targets: ['{target}']}}]\n  \
             oauth2: {{client_id: me, client_secret: hunter-2, token_url: '{hangs}'}}\n\
             - job_name: open\n  metrics_path: /open\n  static_configs: [{{targets: ['{target}']}}]\n",
            hangs = fake.url("/hangs?key=hunter-3"),
        ),
    );
    let server = Server::prometheus(&home, &config, &[]);
    for job in ["guarded", "open"] {
        let up =
            format!("min(min_over_time(up{{job=\"{job}\"}}[1m])) * min(count_over_time(up{{job=\"{job}\"}}[1m]) > 3)");
        eventually(30, "targets stay up", || server.value(&up).filter(|up| *up > 3.0));
    }
    assert_eq!(server.value("count(seen{job=\"guarded\"})"), Some(2.0));
    let asked = fake.requests("/token");
    assert_eq!(asked.len(), 1, "each target has fetched a token of its own");
    assert_eq!(
        String::from_utf8_lossy(&asked[0].body),
        "grant_type=client_credentials&scope=read"
    );
    let error = eventually(20, "the stuck target has failed", || {
        let targets = server.api("/api/v1/targets", &[]);
        let targets = targets["activeTargets"].as_array().unwrap().clone();
        let stuck = targets.into_iter().find(|t| t["labels"]["job"] == "stuck")?;
        stuck["lastError"].as_str().map(str::to_owned).filter(|e| !e.is_empty())
    });
    let begin = format!("oauth2: cannot fetch token from {}: ", fake.url("/hangs"));
    assert!(error.contains(&begin) && error.contains("deadline"), "{error}");
    for path in ["/api/v1/targets", "/metrics"] {
        assert!(!server.get(path).text().contains("hunter"), "{path} shows a secret");
    }
    // A URL that is no secret upstream is shown as it is.
    let shown = server.get("/api/v1/status/config").text();
    assert!(!shown.contains("hunter-1") && !shown.contains("hunter-2"), "{shown}");
    assert!(!server.log().join("\n").contains("hunter"));
}

#[test]
fn samples_and_alerts_are_signed_for_amazon() {
    let amazon = FakeServer::sink();
    let home = Home::new();
    home.write(
        "rules.yml",
        "groups: [{name: g, interval: 250ms, rules: [{alert: Always, expr: vector(1)}]}]",
    );
    let config = home.write(
        "prometheus.yml",
        &format!(
            "global: {{scrape_interval: 250ms, scrape_timeout: 250ms}}\nrule_files: [rules.yml]\n\
             scrape_configs: [{{job_name: none, static_configs: [{{targets: ['{0}']}}]}}]\n\
             remote_write:\n- url: http://{0}/workspaces/w/api/v1/remote_write\n  \
             sigv4: {{region: eu-north-1, access_key: AKID, secret_key: hunter-1}}\n\
             alerting: {{alertmanagers: [{{path_prefix: /am, static_configs: [{{targets: ['{0}']}}], \
             sigv4: {{region: eu-south-1, access_key: AKID2, secret_key: hunter-2}}}}]}}\n",
            amazon.address()
        ),
    );
    let server = Server::prometheus(&home, &config, &[]);
    for (path, key, region) in [
        ("/workspaces/w/api/v1/remote_write", "AKID", "eu-north-1"),
        ("/am/api/v2/alerts", "AKID2", "eu-south-1"),
    ] {
        let request = eventually(30, path, || amazon.requests(path).first().cloned());
        let date = request.header("x-amz-date");
        let begin = format!(
            "AWS4-HMAC-SHA256 Credential={key}/{}/{region}/aps/aws4_request, SignedHeaders=host;x-amz-date, Signature=",
            &date[..8]
        );
        assert!(
            request.header("authorization").starts_with(&begin),
            "{:?}",
            request.headers
        );
        assert!(!request.body.is_empty());
    }
    assert!(!server.get("/api/v1/status/config").text().contains("hunter"));
}

#[test]
fn debians_node_exporter_is_scraped_over_tls_with_and_without_http_2() {
    let Some(program) = neighbour("prometheus-node-exporter") else {
        return;
    };
    if neighbour("openssl").is_none() {
        return;
    }
    let home = Home::new();
    let made = run(
        Command::new("openssl")
            .args(["req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2"])
            .args(["-subj", "/CN=localhost", "-addext", "subjectAltName=IP:127.0.0.1"])
            .args(["-keyout", "key.pem", "-out", "cert.pem"])
            .current_dir(home.path()),
        b"",
    );
    assert_eq!(made.code, Some(0), "{}", made.stderr);
    let web = home.write(
        "web.yml",
        "tls_server_config: {cert_file: cert.pem, key_file: key.pem}\n",
    );
    let address = free_address();
    let mut command = Command::new(program);
    command.arg(format!("--web.listen-address={address}"));
    command.arg(format!("--web.config.file={}", web.display()));
    let _exporter = Background::start("prometheus-node-exporter", &mut command);
    let jobs: String = ["true", "false"]
        .iter()
        .map(|http2| {
            format!(
                "- job_name: http2_{http2}\n  scheme: https\n  enable_http2: {http2}\n  \
                 tls_config: {{ca_file: cert.pem}}\n  static_configs: [{{targets: ['{address}']}}]\n"
            )
        })
        .collect();
    let config = home.write(
        "prometheus.yml",
        &format!("global: {{scrape_interval: 500ms, scrape_timeout: 500ms}}\nscrape_configs:\n{jobs}"),
    );
    let server = Server::prometheus(&home, &config, &[]);
    eventually(30, "both jobs are up", || {
        server.value("sum(up)").filter(|up| *up == 2.0)
    });
    let counts = server.query("count by (job) ({__name__=~\"node_.*\"})");
    assert_eq!(counts.len(), 2);
}

#[test]
fn targets_behind_unix_sockets_are_told_apart_though_their_address_is_the_same() {
    let home = Home::new();
    for name in ["one", "two"] {
        let socket = home.path().join(name);
        let listener = UnixListener::bind(&socket).unwrap();
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let Ok(mut stream) = stream else { return };
                std::thread::spawn(move || {
                    let mut request = [0; 4096];
                    while stream.read(&mut request).is_ok_and(|n| n > 0) {
                        let body = format!("behind{{socket=\"{name}\"}} 1\n");
                        let head = format!(
                            "HTTP/1.1 200 OK\r\nContent-Type: {TEXT}\r\nContent-Length: {}\r\n\r\n",
                            body.len()
                        );
                        if stream.write_all((head + &body).as_bytes()).is_err() {
                            return;
                        }
                    }
                });
            }
        });
    }
    let config = home.write(
        "prometheus.yml",
        &format!(
            "global: {{scrape_interval: 250ms, scrape_timeout: 250ms}}\nscrape_configs:\n- job_name: j\n  \
             proxy_url: http://127.0.0.1:1\n  static_configs:\n  - targets: [one, two, none]\n  relabel_configs:\n  \
             - {{source_labels: [__address__], target_label: __unix_socket__, replacement: '{}/$1'}}\n  \
             - {{target_label: __address__, replacement: 'localhost'}}\n  \
             - {{source_labels: [__unix_socket__], target_label: instance, regex: '.*/', replacement: same}}\n",
            home.path().display()
        ),
    );
    let server = Server::prometheus(&home, &config, &[]);
    eventually(20, "both are scraped", || {
        Some(server.query("behind").len()).filter(|count| *count == 2)
    });
    let told = eventually(20, "the third has failed", || {
        let targets = server.api("/api/v1/targets", &[]);
        let errors = targets["activeTargets"].as_array().unwrap().iter();
        let mut errors = errors.filter_map(|t| t["lastError"].as_str().filter(|e| !e.is_empty()));
        errors.next().map(str::to_owned)
    });
    let path = home.path().join("none");
    assert!(
        told.ends_with(&format!(
            "dial unix {}: connect: no such file or directory",
            path.display()
        )),
        "{told}"
    );
}
