//! No text makes a reader panic.

use std::path::Path;

use cupola_config::matchers::{MatcherMode, parse_matchers};
use cupola_config::{RuleOptions, parse_alertmanager, parse_prometheus, parse_rules, parse_web_config, relabel};
use cupola_model::Labels;
use cupola_testkit::fuzz;

const RUNS: usize = 2_000;

const WORDS: &[&str] = &[
    ": ",
    "- ",
    "\n",
    "\n  ",
    "[",
    "]",
    "{",
    "}",
    "'",
    "\"",
    "|\n  ",
    ">-\n  ",
    "&a ",
    "*a",
    "<<: *a",
    "!!binary ",
    "~",
    "null",
    "---\n",
    "$1",
    "${x}",
    "(.*)",
    "5m",
    "0x1f",
    "{{ $x }}",
    "name: ",
    "é",
    "\u{feff}",
    "#",
    "%",
    "?",
    "\t",
];

#[test]
fn prometheus() {
    let corpus: Vec<Vec<u8>> = [
        "global: {scrape_interval: 15s, external_labels: {a: $X}}\nrule_files: ['a/*.yml']\nscrape_configs:\n- job_name: a\n  \
         basic_auth: {username: u, password: p}\n  static_configs: [{targets: ['h:1'], labels: {b: c}}]\n  relabel_configs:\n  \
         - {source_labels: [a, b], regex: '(.*);x', target_label: 'y$1', replacement: '${1}z'}\n  - {action: hashmod, \
         modulus: 3, source_labels: [a], target_label: z}\n  - {action: labelmap, regex: '__(.+)'}\n",
        "x: &a {global: {scrape_interval: 1m}}\ny: *a\nz: {<<: *a}\nstorage: {tsdb: {retention: {size: 1GB, time: 1d}}}\n",
        "alerting:\n  alertmanagers:\n  - {scheme: https, tls_config: {cert: a, key: b}, http_headers: {A: {secrets: [x]}}}\n",
    ]
    .map(|text| text.as_bytes().to_vec())
    .to_vec();
    fuzz(RUNS, &corpus, WORDS, |input| {
        let text = String::from_utf8_lossy(input);
        if let Ok(config) = parse_prometheus(&text, Path::new("p.yml")) {
            for job in &config.scrape_configs {
                let mut labels = Labels::from_pairs([("a", "x"), ("b", "y"), ("__meta", "é")]).to_builder();
                relabel(&job.relabel_configs, &mut labels);
            }
            // What is shown can be read again.
            let shown = config.to_yaml();
            assert!(
                parse_prometheus(shown, Path::new("p.yml")).is_ok(),
                "{text}\n---\n{shown}"
            );
        }
    });
}

#[test]
fn rules() {
    let corpus = [b"groups:\n- name: g\n  interval: 1m\n  rules:\n  - alert: A\n    expr: up == 0\n    for: 5m\n    annotations: {s: '{{ $value | humanize }}'}\n  - record: x:y\n    expr: |\n      sum(up)\n".to_vec()];
    fuzz(RUNS, &corpus, WORDS, |input| {
        let _ = parse_rules(
            &String::from_utf8_lossy(input),
            Path::new("r.yml"),
            RuleOptions::default(),
        );
    });
}

#[test]
fn alertmanager() {
    let corpus = [b"route:\n  receiver: a\n  group_by: ['...']\n  routes:\n  - matchers: [a=\"b\", 'c=~\"d|e\"']\n    mute_time_intervals: [n]\nreceivers:\n- name: a\n  webhook_configs: [{url: 'http://x/', timeout: 1m30s}]\ntime_intervals:\n- name: n\n  time_intervals: [{weekdays: ['monday:friday'], days_of_month: ['-3:-1'], months: [may], years: ['2024'], times: [{start_time: '09:00', end_time: '17:00'}]}]\n".to_vec()];
    fuzz(RUNS, &corpus, WORDS, |input| {
        let text = String::from_utf8_lossy(input);
        if let Ok(config) = parse_alertmanager(&text, Path::new("a.yml"), MatcherMode::Fallback) {
            for interval in config.time_intervals.iter().flat_map(|named| &named.intervals) {
                let _ = interval.contains(i64::MIN);
                let _ = interval.contains(1_700_000_000);
            }
        }
    });
}

#[test]
fn web() {
    let corpus = [
        "tls_server_config:\n  cert_file: a\n  key: |\n    b\n  client_auth_type: RequireAnyClientCert\n  client_allowed_sans: [x]\n  \
         cipher_suites: [TLS_AES_128_GCM_SHA256, TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256]\n  curve_preferences: [X25519]\n  \
         min_version: TLS12\n",
        "http_server_config: {http2: false, headers: {X-Frame-Options: deny}}\nrate_limit: {interval: 1m0.5s, burst: 20}\n\
         basic_auth_users:\n  alice: $2y$10$QOauhQNbBCuQDKes6eFzPeMqBSjb7Mr5DUmpZ/VcEd00UAV/LDeSi\n",
    ]
    .map(|text| text.as_bytes().to_vec());
    fuzz(RUNS, &corpus, WORDS, |input| {
        let text = String::from_utf8_lossy(input);
        if let Ok(config) = parse_web_config(&text, Path::new("w.yml")) {
            let shown = format!("{config:?}");
            assert!(!shown.contains("QOauhQNbBCuQDKes6eFzPe"), "a hash is shown: {shown}");
        }
    });
}

#[test]
fn matchers() {
    let corpus = [&b"{foo=\"bar\",baz=~\"a\\\\d+\", \"x y\"!=\"\\u00e9\"}"[..], b"a!~b,"].map(<[u8]>::to_vec);
    let words = [
        "=", "!=", "=~", "!~", "\\", "\"", ",", "{", "}", "\\x41", "\\101", " ", "\u{a0}", "é",
    ];
    fuzz(RUNS, &corpus, &words, |input| {
        let text = String::from_utf8_lossy(input);
        for mode in [MatcherMode::Classic, MatcherMode::Utf8, MatcherMode::Fallback] {
            let Ok(parsed) = parse_matchers(&text, mode) else {
                continue;
            };
            // What a matcher prints is read by the newer syntax as the same matcher.
            for matcher in parsed.matchers {
                let again = parse_matchers(&matcher.to_string(), MatcherMode::Utf8).unwrap();
                assert_eq!(again.matchers, [matcher]);
            }
        }
    });
}
