//! prometheus.yml: upstream's files, and our own cases.

use std::path::Path;
use std::time::Duration;

use cupola_config::alertmanager::Anything;
use cupola_config::common::{Auth, SecretSource, TlsVersion};
use cupola_config::prometheus::{
    EscapingScheme, RemoteAuth, RemoteWriteMessage, ScrapeProtocol, ServerMode, load_prometheus_as,
    parse_prometheus_with_env,
};
use cupola_config::{ByteSize, DiskFiles, MemoryFiles, NameScheme, load_prometheus, parse_prometheus};
use cupola_testkit::conformance_dir;

const UNSUPPORTED: &str = "is not supported by this version";

fn errors(text: &str) -> Vec<String> {
    match parse_prometheus(text, Path::new("p.yml")) {
        Ok(_) => Vec::new(),
        Err(errors) => errors.iter().map(ToString::to_string).collect(),
    }
}

// Ours is another text: the YAML library refuses what is not UTF-8 where upstream looks at names and values, and upstream
// puts a line of the YAML library's before its own.
const OTHER_TEXTS: [&str; 3] = [
    "labelname.bad.yml",
    "labelvalue.bad.yml",
    "scrape_config_files_fallback_scrape_protocol2.bad.yml",
];

/// Each `ok` file is read, each `fail` file refused with upstream's text. What an agent may not have is tried as an agent.
#[test]
fn upstream_files_get_upstream_verdicts() {
    let Some(dir) = conformance_dir("config") else { return };
    let table = std::fs::read_to_string(dir.join("expected.tsv")).unwrap();
    let (mut loaded, mut refused, mut wrong) = (0, 0, Vec::new());
    for line in table.lines().filter(|line| !line.starts_with('#')) {
        let mut columns = line.split('\t');
        let (Some(file), Some(verdict)) = (columns.next(), columns.next()) else {
            continue;
        };
        // Upstream's texts name the file as its tests do; ours name it as it was given.
        let reason = columns.next().unwrap_or("");
        let reason = reason
            .strip_prefix(&format!("parsing YAML file testdata/{file}: "))
            .unwrap_or(reason);
        let mode = if verdict.starts_with("agent") {
            ServerMode::Agent
        } else {
            ServerMode::Server
        };
        let result = load_prometheus_as(mode, &dir.join(file), &DiskFiles);
        match (verdict, result) {
            ("ok" | "agent-ok", Ok(_)) => loaded += 1,
            ("fail" | "agent-fail", Err(errors)) => {
                refused += 1;
                assert!(errors.iter().all(|e| e.line > 0 && e.column > 0), "{file}: {errors}");
                if errors.to_string().contains(reason) == OTHER_TEXTS.contains(&file) {
                    wrong.push(format!("{file}: {reason}, but {errors}"));
                }
            }
            (_, result) => wrong.push(format!("{file}: {verdict}, but {:?}", result.map(|_| "loaded"))),
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(loaded >= 42 && refused >= 116, "{loaded} loaded, {refused} refused");
}

#[test]
fn what_is_read_and_not_acted_on_is_listed_with_its_place() {
    for (text, name, line) in [
        (
            "scrape_configs:\n- job_name: a\n  oauth2: {client_id: x, client_secret: hunter-1, token_url: http://t, \
             proxy_url: 'ftp://hunter-2@x'}\n",
            "proxy_url",
            3,
        ),
        (
            "scrape_configs:\n- job_name: a\n  proxy_url: socks4://u:hunter-2@x\n",
            "proxy_url",
            3,
        ),
        (
            "scrape_configs:\n- job_name: a\n  kubernetes_sd_configs: [{role: pod}]\n",
            "kubernetes_sd_configs",
            3,
        ),
        (
            "scrape_configs:\n- job_name: a\n  lightsail_sd_configs: [{region: x}]\n",
            "lightsail_sd_configs",
            3,
        ),
        (
            "scrape_configs:\n- job_name: a\n  vultr_sd_configs: [{authorization: {credentials: hunter-3}}]\n",
            "vultr_sd_configs",
            3,
        ),
        (
            "alerting:\n  alertmanagers:\n  - eureka_sd_configs: [{server: 'http://x'}]\n",
            "eureka_sd_configs",
            3,
        ),
    ] {
        let config = parse_prometheus(text, Path::new("p.yml")).unwrap();
        let [error] = config.not_yet.as_slice() else {
            panic!("{:?}", config.not_yet)
        };
        assert_eq!(
            (error.message.as_str(), error.line),
            (format!("{name} {UNSUPPORTED}").as_str(), line)
        );
        assert!(!config.to_yaml().contains("hunter") && !format!("{config:?}").contains("hunter"));
    }
    assert_eq!(
        errors("tracing:\nscrape_configs: [{job_name: a, dns_sd_configs: []}]"),
        [""; 0]
    );
    let config = parse_prometheus("remote_read: []\ntracing: {endpoint: 'h:1'}\n", Path::new("p.yml")).unwrap();
    assert_eq!(config.not_yet, []);
    assert_eq!(config.warnings[0].line, 2);
    assert_eq!(config.tracing.map(|t| t.endpoint).as_deref(), Some("h:1"));
}

#[test]
fn urls_and_keys_that_cannot_be_some_are_mistakes_as_for_debians_promtool() {
    let of_job = |text: &str| errors(&format!("scrape_configs:\n- job_name: a\n  {text}\n"));
    let scaleway = |keys: &str| of_job(&format!("scaleway_sd_configs: [{{role: instance, {keys}}}]"));
    let uuid = "11111111-1111-1111-1111-11111111111a";
    for (found, expected) in [
        (of_job("proxy_url: ':::'"), "missing protocol scheme"),
        (
            of_job("docker_sd_configs: [{host: '://x'}]"),
            "p.yml:3:24: parse \"://x\": missing protocol scheme",
        ),
        (
            scaleway(&format!("project_id: {uuid}, secret_key: {uuid}, access_key: c")),
            "invalid access key format 'c', expected SCWXXXXXXXXXXXXXXXXX format",
        ),
        (
            scaleway(&format!(
                "project_id: b, secret_key: {uuid}, access_key: SCWXXXXXXXXXXXXXXXXX"
            )),
            "invalid project ID format 'b', expected a UUID",
        ),
        (
            scaleway(&format!(
                "project_id: {uuid}, secret_key: hunter, access_key: SCWXXXXXXXXXXXXXXXXX"
            )),
            "invalid secret key format, expected a UUID",
        ),
    ] {
        assert_eq!(found.len(), 1, "{found:?}");
        assert!(found[0].contains(expected) && !found[0].contains("hunter"), "{found:?}");
    }
    let fine = format!("project_id: {uuid}, secret_key: {uuid}, access_key: SCWXXXXXXXXXXXXXXXXX");
    assert_eq!(scaleway(&fine), [""; 0]);
}

#[test]
fn remote_storage_is_read_whole() {
    let text = "
remote_write:
- url: http://a/push
- url: https://b/push
  name: b
  protobuf_message: io.prometheus.write.v2.Request
  remote_timeout: 5s
  headers: {X-Scope-OrgID: team}
  send_exemplars: true
  sigv4: {region: eu, access_key: k, secret_key: hunter-1}
  enable_http2: true
  write_relabel_configs: [{source_labels: [a], regex: b, action: drop}]
  queue_config: {capacity: 5, max_shards: 3, min_shards: 2, min_backoff: 1s, max_backoff: 9s, sample_age_limit: 1h}
  metadata_config: {send: false}
remote_read:
- url: http://u:hunter-2@a/read
- {url: http://b/read, read_recent: true, required_matchers: {job: x}, filter_external_labels: false}
";
    let config = parse_prometheus(text, Path::new("/etc/p.yml")).unwrap();
    let [a, b] = config.remote_write.as_slice() else {
        panic!("two")
    };
    assert_eq!((a.message, a.http.enable_http2), (RemoteWriteMessage::V1, false));
    assert_eq!((a.remote_timeout, a.queue.max_shards), (Duration::from_secs(30), 50));
    assert_eq!((b.message, b.http.enable_http2), (RemoteWriteMessage::V2, true));
    assert_eq!(
        (b.name.as_deref(), b.send_exemplars, b.metadata.send),
        (Some("b"), true, false)
    );
    assert_eq!(
        (b.queue.capacity, b.queue.min_shards, b.queue.max_samples_per_send),
        (5, 2, 2000)
    );
    assert_eq!(b.queue.sample_age_limit, Duration::from_secs(3600));
    assert_eq!(
        (b.headers["X-Scope-OrgID"].as_str(), b.write_relabel_configs.len()),
        ("team", 1)
    );
    assert!(matches!(&b.auth, Some(RemoteAuth::SigV4(c)) if c.secret_key.as_ref().unwrap().expose() == "hunter-1"));
    assert!(!config.to_yaml().contains("hunter"));
    let [a, b] = config.remote_read.as_slice() else {
        panic!("two")
    };
    assert_eq!(
        (a.read_recent, a.filter_external_labels, a.http.enable_http2),
        (false, true, true)
    );
    assert_eq!((b.read_recent, b.filter_external_labels), (true, false));
    assert_eq!(b.required_matchers.to_string(), r#"{job="x"}"#);
}

#[test]
fn remote_storage_has_one_way_to_authenticate() {
    for (fields, message) in [
        (
            "basic_auth: {username: u}, sigv4: {region: x}",
            "at most one of basic_auth, authorization, oauth2, sigv4, azuread or google_iam must be configured",
        ),
        (
            "basic_auth: {username: u}, oauth2: {client_id: x, token_url: y}",
            "at most one of basic_auth, oauth2 & authorization must be configured",
        ),
        (
            "azuread: {oauth: {client_id: a, client_secret: b, tenant_id: c}, sdk: {tenant_id: d}}",
            "cannot provide multiple authentication methods in the Azure AD config",
        ),
        ("oauth2: {client_id: x}", "oauth2 token_url must be configured"),
        (
            "no_proxy: x",
            "if no_proxy is configured, proxy_url must also be configured",
        ),
        (
            "proxy_from_environment: true, proxy_url: http://x",
            "if proxy_from_environment is configured, proxy_url must not be configured",
        ),
    ] {
        let text = format!("remote_write: [{{url: http://x, {fields}}}]");
        let errors = errors(&text);
        assert!(
            errors.len() == 1 && errors[0].ends_with(message),
            "{fields}: {errors:?}"
        );
    }
}

#[test]
fn every_mistake_is_told_with_its_place() {
    let text = "\
global:
  scrape_interval: 15s
  scrape_timeout: 20s
  scrape_interval: 30x
rule_file: [a.yml]
scrape_configs:
- job_name: a
  static_configs:
  - targets: ['http://x:1']
  relabel_config: []
- job_name: a
  scheme: ftp
  relabel_configs:
  - regex: '('
  - action: frobnicate
  metric_relabel_configs:
  - action: hashmod
    target_label: x
- scrape_interval: 5s
  scrape_timeout: 6s
";
    assert_eq!(
        errors(text),
        [
            "p.yml:3:3: global scrape timeout greater than scrape interval",
            "p.yml:4:3: mapping key \"scrape_interval\" already defined at line 2",
            "p.yml:5:1: field rule_file not found in type config.plain (did you mean rule_files?)",
            "p.yml:9:15: \"http://x:1\" is not a valid hostname (targets are host:port; scheme and metrics_path are \
             separate settings)",
            "p.yml:10:3: field relabel_config not found in type config.plain (did you mean relabel_configs?)",
            "p.yml:11:3: found multiple scrape configs with job name \"a\" (the first is at line 7)",
            "p.yml:12:3: unsupported scheme \"ftp\", must be http or https",
            "p.yml:14:5: error parsing regexp: missing closing ): `^(?s:()$`",
            "p.yml:15:5: unknown relabel action \"frobnicate\" (one of replace, keep, drop, keepequal, dropequal, \
             hashmod, labelmap, labeldrop, labelkeep, lowercase, uppercase)",
            "p.yml:17:5: relabel configuration for hashmod requires non-zero modulus",
            "p.yml:19:3: job_name is empty",
            "p.yml:20:3: scrape timeout greater than scrape interval for scrape config with job name \"\"",
        ]
    );
}

#[test]
fn an_empty_file_is_all_defaults() {
    for text in [
        "",
        "# nothing\n",
        "global:\nscrape_configs:\nalerting:\n  alertmanagers:\nrule_files: null\n",
    ] {
        let config = parse_prometheus(text, Path::new("p.yml")).unwrap();
        assert_eq!(config.global.scrape_interval, Duration::from_secs(60));
        assert_eq!(config.global.scrape_timeout, Duration::from_secs(10));
        assert_eq!(config.global.evaluation_interval, Duration::from_secs(60));
        assert_eq!(config.gogc, 75);
        assert!(config.scrape_configs.is_empty() && config.warnings.is_empty());
    }
}

#[test]
fn jobs_inherit_from_global() {
    let text = "
global:
  scrape_interval: 5s
  body_size_limit: 15MB
  sample_limit: 1500
  external_labels: {cluster: $CLUSTER, raw: '$$x', gone: $NOPE}
scrape_configs:
- job_name: a
  static_configs: [{targets: ['h:1', 'h:2'], labels: {env: prod}}]
- job_name: b
  scrape_interval: 1m
  scrape_timeout: 30s
  sample_limit: 7
  honor_labels: yes
  honor_timestamps: false
  metrics_path: /m
  scheme: https
  params:
    match[]: ['{a=\"b\"}', up]
    x: [1]
  fallback_scrape_protocol: PrometheusText0.0.4
  scrape_protocols: [PrometheusText1.0.0]
  metric_name_validation_scheme: legacy
";
    let env = |name: &str| (name == "CLUSTER").then(|| "eu".to_owned());
    let config = parse_prometheus_with_env(text, Path::new("/etc/p.yml"), &env).unwrap();
    assert_eq!(config.global.external_labels.to_string(), r#"{cluster="eu", raw="$x"}"#);
    let [a, b] = config.scrape_configs.as_slice() else {
        panic!("two jobs")
    };
    assert_eq!(
        (a.scrape_interval, a.scrape_timeout),
        (Duration::from_secs(5), Duration::from_secs(5))
    );
    assert_eq!(
        (a.defaults.limits.body_size_limit, a.defaults.limits.sample_limit),
        (ByteSize(15 << 20), 1500)
    );
    let addresses: Vec<&str> = a.static_configs[0]
        .targets
        .iter()
        .map(|t| t.value("__address__"))
        .collect();
    assert_eq!(addresses, ["h:1", "h:2"]);
    assert_eq!(a.static_configs[0].labels.to_string(), r#"{env="prod"}"#);
    assert_eq!(
        (a.metrics_path.as_str(), a.scheme.as_str(), a.honor_labels),
        ("/metrics", "http", false)
    );
    assert_eq!(a.defaults.name_escaping, EscapingScheme::AllowUtf8);
    assert_eq!(a.defaults.scrape_protocols.len(), 4);
    assert_eq!(
        (b.scrape_interval, b.scrape_timeout),
        (Duration::from_secs(60), Duration::from_secs(30))
    );
    assert_eq!(
        (b.defaults.limits.sample_limit, b.honor_labels, b.honor_timestamps),
        (7, true, false)
    );
    assert_eq!(b.params["match[]"], ["{a=\"b\"}", "up"]);
    assert_eq!(b.fallback_scrape_protocol, Some(ScrapeProtocol::PrometheusText004));
    assert_eq!(b.defaults.scrape_protocols, [ScrapeProtocol::PrometheusText100]);
    assert_eq!(
        (b.defaults.name_scheme, b.defaults.name_escaping),
        (NameScheme::Legacy, EscapingScheme::Underscores)
    );
}

#[test]
fn paths_are_relative_to_the_file() {
    let text = "
rule_files: [a.yml, /abs/*.yml]
scrape_configs:
- job_name: a
  basic_auth: {username: u, password_file: pw}
  tls_config: {ca_file: ca.pem, min_version: TLS12}
";
    let config = parse_prometheus(text, Path::new("/etc/prom/p.yml")).unwrap();
    assert_eq!(
        config.rule_files,
        [Path::new("/etc/prom/a.yml"), Path::new("/abs/*.yml")]
    );
    let http = &config.scrape_configs[0].http;
    let Some(Auth::Basic {
        password: Some(SecretSource::File(path)),
        ..
    }) = &http.auth
    else {
        panic!("{http:?}")
    };
    assert_eq!(path, Path::new("/etc/prom/pw"));
    assert_eq!(http.tls.min_version, Some(TlsVersion::Tls12));
    let config = parse_prometheus("rule_files: [a.yml]", Path::new("p.yml")).unwrap();
    assert_eq!(config.rule_files, [Path::new("a.yml")]);
}

#[test]
fn scrape_files_are_included() {
    let files = |extra: &str| {
        MemoryFiles::new([
            (
                "/c/p.yml",
                "global: {scrape_interval: 7s}\nscrape_config_files: ['jobs/*.yml']\nscrape_configs: [{job_name: a}]",
            ),
            ("/c/jobs/b.yml", "scrape_configs: [{job_name: b, bearer_token_file: t}]"),
            ("/c/jobs/c.yml", extra),
        ])
    };
    let config = load_prometheus(Path::new("/c/p.yml"), &files("scrape_configs:")).unwrap();
    let names: Vec<&str> = config.scrape_configs.iter().map(|job| job.job_name.as_str()).collect();
    assert_eq!(names, ["a", "b"]);
    assert_eq!(config.scrape_configs[1].scrape_interval, Duration::from_secs(7));
    let errors = load_prometheus(
        Path::new("/c/p.yml"),
        &files("global: {}\nscrape_configs: [{job_name: b}]"),
    )
    .unwrap_err();
    assert_eq!(
        errors.to_string(),
        "/c/jobs/c.yml:1:1: field global not found in type config.ScrapeConfigs\n\
         /c/jobs/c.yml:2:18: found multiple scrape configs with job name \"b\" (the first is in another file)"
    );
    let error = load_prometheus(Path::new("/none.yml"), &files("")).unwrap_err();
    assert_eq!(
        error.to_string(),
        "/none.yml: cannot read the file: no such file or directory"
    );
}

#[test]
fn no_secret_is_shown() {
    let text = "
# password: hunter-comment
global: {scrape_interval: 15s}
scrape_configs:
- job_name: a
  basic_auth: {username: u, password: hunter-1}
- job_name: b
  authorization: {credentials: 'hunter-2'}
- job_name: c
  bearer_token: |
    hunter-3
- job_name: d
  tls_config: {cert: cert-text, key: hunter-4}
  http_headers:
    X-Key: {values: [shown], secrets: [hunter-5, hunter-6]}
alerting:
  alertmanagers:
  - basic_auth: {password: hunter-7}
    static_configs: [{targets: ['am:9093']}]
";
    let config = parse_prometheus(text, Path::new("p.yml")).unwrap();
    let shown = config.to_yaml();
    assert!(!shown.contains("hunter"), "{shown}");
    assert_eq!(shown.matches("<secret>").count(), 7, "{shown}");
    assert!(!format!("{config:?}").contains("hunter"), "{config:?}");
    // What is shown is a configuration again.
    let again = parse_prometheus(shown, Path::new("p.yml")).unwrap();
    assert_eq!(again.scrape_configs.len(), 4);
    assert_eq!(again.to_yaml(), shown);
    // Nor do errors show one.
    let error = errors("scrape_configs: [{job_name: a, basic_auth: {password: [hunter-8]}, bearer_token: hunter-9}]");
    assert!(!error.is_empty() && !error.concat().contains("hunter"), "{error:?}");
}

#[test]
fn settings_without_effect_are_warnings() {
    let text = "tracing: {endpoint: x}\nscrape_configs: [{job_name: a, convert_classic_histograms_to_nhcb: true, native_histogram_bucket_limit: 9, scrape_failure_log_file: f.log}]\n---\nx: 1\n";
    let config = parse_prometheus(text, Path::new("p.yml")).unwrap();
    let warnings: Vec<String> = config.warnings.iter().map(ToString::to_string).collect();
    assert_eq!(warnings.len(), 2, "{warnings:?}");
    assert!(
        warnings
            .iter()
            .any(|w| w.starts_with("p.yml:1:1: tracing has no effect")),
        "{warnings:?}"
    );
}

#[test]
fn what_a_kind_of_discovery_needs_is_told_with_its_place() {
    for (config, expected) in [
        (
            "dns_sd_configs: [{names: [a], type: A}]",
            "1:62: a port is required in DNS-SD configs for all record types except SRV, MX and NS",
        ),
        (
            "dns_sd_configs: [{names: [a], type: X}]",
            "1:62: invalid DNS-SD records type X",
        ),
        (
            "file_sd_configs: [{files: ['a/*/b.json']}]",
            "1:51: path name \"a/*/b.json\" is not valid for file discovery",
        ),
        (
            "file_sd_configs: [{files: [a.txt]}]",
            "1:51: path name \"a.txt\" is not valid for file discovery",
        ),
        (
            "file_sd_configs: [{}]",
            "1:50: file service discovery config must contain at least one path name",
        ),
        (
            "http_sd_configs: [{url: 'http://a', refresh: 1m}]",
            "1:68: field refresh not found in type http.plain",
        ),
        (
            "http_sd_configs: [{url: 'http://a', basic_auth: {}, oauth2: {client_id: a, token_url: b}}]",
            "1:84: at most one of basic_auth, oauth2 & authorization must be configured",
        ),
        (
            "consul_sd_configs: [{server: ''}]",
            "1:53: consul SD configuration requires a server address",
        ),
        (
            "kubernetes_sd_configs: [{role: pod, namespaces: {names: [a], own: true}}]",
            "1:93: field own not found in type kubernetes.plain",
        ),
        (
            "kubernetes_sd_configs: [{role: service, selectors: [{role: pod}]}]",
            "1:85: service role supports only service selectors",
        ),
        (
            "ec2_sd_configs: [{filters: [{name: a}]}]",
            "1:60: EC2 SD configuration filter values cannot be empty",
        ),
        (
            "openstack_sd_configs: [{role: instance}]",
            "1:55: openstack SD configuration requires a region",
        ),
        (
            "openstack_sd_configs: [{region: r}]",
            "1:55: role missing (one of: instance, hypervisor, loadbalancer)",
        ),
        (
            "openstack_sd_configs: [{role: x, region: r}]",
            "1:56: unknown OpenStack SD role \"x\"",
        ),
        (
            "ec2_sd_configs: [{region: r, tags: {}}]",
            "1:61: field tags not found in type aws.plain",
        ),
    ] {
        let text = format!("scrape_configs: [{{{config}}}]").replacen("[{", "[{job_name: a, ", 1);
        let shown = errors(&text);
        assert_eq!(shown, [format!("p.yml:{expected}")], "{config}");
    }
}

#[test]
fn claims_keep_the_shape_they_are_written_with() {
    let text =
        "scrape_configs:\n- job_name: a\n  oauth2: {client_id: x, token_url: t, claims: {n: 5, s: '5', l: [yes, a]}}\n";
    let config = parse_prometheus(text, Path::new("p.yml")).unwrap();
    let Some(Auth::OAuth2(oauth2)) = &config.scrape_configs[0].http.auth else {
        panic!("{:?}", config.scrape_configs[0].http.auth)
    };
    let list = Anything::List(vec![Anything::Bool(true), Anything::Text("a".to_owned())]);
    let values = [list, Anything::Int(5), Anything::Text("5".to_owned())];
    assert!(oauth2.claims.values().eq(values.iter()), "{:?}", oauth2.claims);
    let text = text.replace("{n: 5, s: '5', l: [yes, a]}", "5");
    assert!(
        errors(&text)[0].contains("oauth2 claims must be a map"),
        "{:?}",
        errors(&text)
    );
}

#[test]
fn protobuf_is_asked_for_first_where_starts_matter_and_nobody_says_otherwise() {
    use cupola_config::prometheus::load_prometheus_with;

    let dir = tempfile::tempdir().unwrap();
    let load = |protobuf_first: bool, global: &str, jobs: &str| {
        let file = dir.path().join("p.yml");
        let included = dir.path().join("more.yml");
        std::fs::write(&included, "scrape_configs: [{job_name: included}]\n").unwrap();
        let text = format!("global: {{{global}}}\nscrape_config_files: [more.yml]\nscrape_configs: [{jobs}]\n");
        std::fs::write(&file, text).unwrap();
        let config = load_prometheus_with(ServerMode::Server, protobuf_first, &file, &DiskFiles).unwrap();
        let first = config.scrape_configs.iter().map(|job| job.defaults.scrape_protocols[0]);
        (first.collect::<Vec<_>>(), config.to_yaml().to_owned())
    };
    let (proto, open) = (ScrapeProtocol::PrometheusProto, ScrapeProtocol::OpenMetricsText100);
    let jobs = "{job_name: a}, {job_name: b, scrape_protocols: [OpenMetricsText1.0.0]}";
    let (first, text) = load(false, "", jobs);
    assert_eq!(first, [open, open, open]);
    assert!(!text.contains("PrometheusProto"), "{text}");
    let (first, text) = load(true, "", jobs);
    assert_eq!(first, [proto, open, proto]);
    assert!(
        text.contains("  scrape_protocols:\n  - PrometheusProto\n  - OpenMetricsText1.0.0\n"),
        "{text}"
    );
    assert_eq!(
        load(true, "scrape_protocols: [OpenMetricsText1.0.0]", jobs).0,
        [open; 3]
    );
    // What `global` says counts also for a job that alone asks for native histograms.
    let native = "{job_name: a, scrape_native_histograms: true}";
    assert_eq!(load(false, "", native).0, [proto, open]);
    assert_eq!(
        load(false, "scrape_protocols: [OpenMetricsText1.0.0]", native).0,
        [open; 2]
    );
    let unlike = "{job_name: a, scrape_native_histograms: false}";
    assert_eq!(load(false, "scrape_native_histograms: true", unlike).0, [open, proto]);
}
