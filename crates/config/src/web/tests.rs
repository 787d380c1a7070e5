use std::path::{Path, PathBuf};
use std::time::Duration;

use super::*;
use crate::common::{SecretSource, TlsVersion};

const HASH: &str = "$2y$10$QOauhQNbBCuQDKes6eFzPeMqBSjb7Mr5DUmpZ/VcEd00UAV/LDeSi";
const FILES: &str = "tls_server_config:\n  cert_file: server.crt\n  key_file: server.key\n";

fn parse(text: &str) -> Result<WebConfig, String> {
    parse_web_config(text, Path::new("etc/web.yml")).map_err(|errors| errors.to_string())
}

#[track_caller]
fn refused(text: &str, expected: &[&str]) {
    let told = parse(text).unwrap_err();
    let told: Vec<&str> = told.lines().collect();
    let expected: Vec<String> = expected.iter().map(|line| format!("etc/web.yml:{line}")).collect();
    assert_eq!(told, expected, "{text}");
}

#[track_caller]
fn warned(text: &str, expected: &[&str]) -> WebConfig {
    let config = parse(text).unwrap();
    let told: Vec<String> = config.warnings.iter().map(ToString::to_string).collect();
    let expected: Vec<String> = expected.iter().map(|line| format!("etc/web.yml:{line}")).collect();
    assert_eq!(told, expected, "{text}");
    config
}

#[test]
fn an_empty_file_asks_for_nothing() {
    for text in [
        "",
        "# nothing\n---\n{}\n",
        "tls_server_config:\nbasic_auth_users:\nhttp_server_config:\n",
    ] {
        let config = warned(text, &[]);
        assert!(
            config.tls.is_none() && config.users.is_empty() && config.http2,
            "{text}"
        );
        assert!(config.headers.is_empty() && config.rate_limit.is_none());
    }
}

#[test]
fn everything_is_read() {
    let text = format!(
        "tls_server_config:\n  cert_file: server.crt\n  key: PRIVATE\n  client_auth_type: RequireAndVerifyClientCert\n  \
         client_ca_file: /etc/ca.crt\n  client_allowed_sans: [a.example, 'spiffe://x']\n  min_version: TLS12\n  \
         max_version: TLS13\n  prefer_server_cipher_suites: false\n  cipher_suites:\n  - TLS_AES_128_GCM_SHA256\n  - \
         TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256\n  curve_preferences: [X25519, CurveP256]\nhttp_server_config:\n  http2: \
         false\n  headers:\n    X-Frame-Options: deny\n    X-XSS-Protection: ''\nbasic_auth_users:\n  alice: \
         {HASH}\nrate_limit:\n  interval: 1m0.5s\n  burst: 20\n"
    );
    let config = warned(&text, &[]);
    let tls = config.tls.unwrap();
    assert_eq!(tls.cert.path(), Some(Path::new("etc/server.crt")));
    assert_eq!(tls.cert.field(), "cert_file");
    assert!(matches!(&tls.key.source, SecretSource::Inline(key) if key.expose() == "PRIVATE"));
    assert_eq!(
        tls.key.error("x").to_string(),
        "etc/web.yml:3:3: x",
        "an error in a file has the place that names it"
    );
    assert_eq!(tls.client_auth, ClientAuth::RequireAndVerify);
    assert_eq!(tls.client_ca.unwrap().path(), Some(Path::new("/etc/ca.crt")));
    assert_eq!(tls.client_allowed_sans.unwrap(), ["a.example", "spiffe://x"]);
    assert_eq!(
        (tls.min_version, tls.max_version),
        (TlsVersion::Tls12, TlsVersion::Tls13)
    );
    assert_eq!(tls.cipher_suites.unwrap(), [CipherSuite::RsaAes128]);
    assert_eq!(tls.curves.unwrap(), [Curve::X25519, Curve::P256]);
    assert!(!tls.prefer_server_cipher_suites && !config.http2);
    assert_eq!(
        config.headers,
        BTreeMap::from([("X-Frame-Options".to_owned(), "deny".to_owned())])
    );
    assert_eq!(config.users["alice"].expose(), HASH);
    let limit = RateLimit {
        interval: Duration::from_millis(60_500),
        burst: 20,
    };
    assert_eq!(config.rate_limit, Some(limit));
}

#[test]
fn all_five_ways_to_ask_for_a_certificate_are_known() {
    for (name, expected) in [
        ("NoClientCert", ClientAuth::None),
        ("RequestClientCert", ClientAuth::Request),
        ("RequireAnyClientCert", ClientAuth::RequireAny),
        ("RequireClientCert", ClientAuth::RequireAny),
        ("VerifyClientCertIfGiven", ClientAuth::VerifyIfGiven),
        ("RequireAndVerifyClientCert", ClientAuth::RequireAndVerify),
    ] {
        let config = warned(&format!("{FILES}  client_auth_type: {name}\n"), &[]);
        assert_eq!(config.tls.unwrap().client_auth, expected);
    }
    let config = warned(FILES, &[]);
    assert_eq!(config.tls.unwrap().client_auth, ClientAuth::None);
}

// The mistakes of exporter-toolkit's own tests, in its words.
#[test]
fn mistakes_are_told_with_their_place() {
    refused(
        "not a map\n",
        &["1:1: cannot unmarshal !!str `not a map` into web.Config"],
    );
    refused(
        "tls_config:\n  cert_file: x\n",
        &["1:1: field tls_config not found in type web.Config"],
    );
    refused(
        "tls_server_config:\n  cert_filee: x\n",
        &["2:3: field cert_filee not found in type web.TLSConfig (did you mean cert_file?)"],
    );
    refused(
        "http_server_config:\n  http3: true\n",
        &["2:3: field http3 not found in type web.HTTPConfig (did you mean http2?)"],
    );
    refused(
        "basic_auth_users: {a: x}\nbasic_auth_users: {}\n",
        &[
            "1:23: crypto/bcrypt: hashedSecret too short to be a bcrypted password (make a hash with: htpasswd -nBC 10 \"\" | tr -d ':\\n')",
            "2:1: mapping key \"basic_auth_users\" already defined at line 1",
        ],
    );
    for (text, expected) in [
        (
            "  cert_file: ''\n  key_file: server.key\n",
            "1:1: missing one of cert or cert_file",
        ),
        (
            "  cert: ''\n  key_file: server.key\n",
            "1:1: missing one of cert or cert_file",
        ),
        ("  cert_file: server.crt\n", "1:1: missing one of key or key_file"),
        (
            "  cert_file: server.crt\n  key: ''\n",
            "1:1: missing one of key or key_file",
        ),
    ] {
        refused(&format!("tls_server_config:\n{text}"), &[expected]);
    }
    refused(
        "tls_server_config:\n  client_auth_type: VerifyClientCertIfGiven\n",
        &[
            "1:1: missing one of cert or cert_file",
            "1:1: missing one of key or key_file",
        ],
    );
    let below_files = |line: &str, expected: &str| refused(&format!("{FILES}  {line}\n"), &[expected]);
    below_files(
        "client_ca_file: ca.crt",
        "4:3: client CA's have been configured without a Client Auth Policy",
    );
    below_files(
        "client_auth_type: Maybe",
        "4:3: invalid ClientAuth: Maybe (one of NoClientCert, RequestClientCert, RequireAnyClientCert, \
         VerifyClientCertIfGiven, RequireAndVerifyClientCert)",
    );
    below_files(
        "client_allowed_sans: [a]",
        "4:3: client_allowed_sans requires client_auth_type to be one of RequireAnyClientCert or \
         RequireAndVerifyClientCert",
    );
    below_files(
        "min_version: TLS111",
        "4:3: unknown TLS version: TLS111 (one of TLS10, TLS11, TLS12, TLS13)",
    );
    below_files(
        "max_version: TLS11",
        "4:3: TLS older than 1.2 is not supported by this version",
    );
}

#[test]
fn versions_that_exclude_each_other_are_a_mistake() {
    refused(
        &format!("{FILES}  min_version: TLS13\n  max_version: TLS12\n"),
        &["5:3: tls: no supported versions satisfy MinVersion and MaxVersion"],
    );
}

#[test]
fn what_our_tls_cannot_do_is_a_warning_or_a_mistake() {
    let config = warned(
        &format!("{FILES}  min_version: TLS10\n"),
        &["4:3: min_version has no effect in this version: TLS older than 1.2 is never accepted"],
    );
    assert_eq!(config.tls.unwrap().min_version, TlsVersion::Tls12);
    let config = warned(
        &format!(
            "{FILES}  cipher_suites: [TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA, TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256]\n"
        ),
        &["4:19: cipher TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA is not supported by this version and never used"],
    );
    assert_eq!(config.tls.unwrap().cipher_suites.unwrap(), [CipherSuite::RsaAes128]);
    refused(
        &format!("{FILES}  cipher_suites: [TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA]\n"),
        &["4:19: cipher TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA is not supported by this version"],
    );
    let all = "[CurveP256, CurveP384, CurveP521, X25519, X25519MLKEM768]";
    let config = warned(
        &format!("{FILES}  curve_preferences: {all}\n"),
        &["4:45: curve CurveP521 is not supported by this version and never used"],
    );
    let curves = [Curve::P256, Curve::P384, Curve::X25519, Curve::X25519MlKem768];
    assert_eq!(config.tls.unwrap().curves.unwrap(), curves);
    refused(
        &format!("{FILES}  curve_preferences: [CurveP521]\n"),
        &["4:23: curve CurveP521 is not supported by this version"],
    );
    refused(
        &format!("{FILES}  curve_preferences: [CurveP257]\n"),
        &["4:23: unknown curve: CurveP257 (one of CurveP256, CurveP384, X25519, X25519MLKEM768)"],
    );
}

#[test]
fn http2_over_tls_12_needs_its_suite_as_in_go() {
    let suite = "  cipher_suites: [TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384]\n";
    let told = parse(&format!("{FILES}{suite}")).unwrap_err();
    assert!(
        told.starts_with("etc/web.yml:4:3: http2: TLSConfig.CipherSuites is missing an HTTP/2-required"),
        "{told}"
    );
    for more in ["  min_version: TLS13\n", "http_server_config: {http2: false}\n"] {
        warned(&format!("{FILES}{suite}{more}"), &[]);
    }
    let told = parse(&format!("{FILES}  cipher_suites: [TLS_ECDHE_RSA_WITH_RC4_128_SHA]\n")).unwrap_err();
    assert!(
        told.starts_with("etc/web.yml:4:19: unknown cipher: TLS_ECDHE_RSA_WITH_RC4_128_SHA (one of"),
        "{told}"
    );
    assert!(!told.contains('\n'), "one mistake is told once: {told}");
    refused(
        &format!(
            "{FILES}  max_version: TLS12\n  cipher_suites: [TLS_AES_128_GCM_SHA256]\nhttp_server_config: {{http2: false}}\n"
        ),
        &["5:3: none of the cipher_suites is of TLS 1.2, which is the highest version allowed"],
    );
}

#[test]
fn only_some_headers_with_some_values_can_be_set() {
    let headers = |line: &str| format!("http_server_config:\n  headers:\n    {line}\n");
    refused(
        &headers("X-Frame-Options: maybe"),
        &["3:22: invalid value for X-Frame-Options. Expected one of: [\"deny\" \"sameorigin\"], but got: \"maybe\""],
    );
    refused(
        &headers("X-Content-Type-Options: sniff"),
        &["3:29: invalid value for X-Content-Type-Options. Expected one of: [\"nosniff\"], but got: \"sniff\""],
    );
    refused(
        &headers("Set-Cookie: a"),
        &[
            "3:5: HTTP header \"Set-Cookie\" can not be configured (one of Content-Security-Policy, \
          Strict-Transport-Security, X-Content-Type-Options, X-Frame-Options, X-XSS-Protection)",
        ],
    );
    refused(
        &headers("Content-Security-Policy: \"a\\r\\nSet-Cookie: b\""),
        &["3:30: the value of Content-Security-Policy must be one line of ASCII"],
    );
    let config = warned(&headers("Strict-Transport-Security: max-age=31536000"), &[]);
    assert_eq!(config.headers["Strict-Transport-Security"], "max-age=31536000");
}

#[test]
fn what_is_odd_is_told() {
    warned(
        "tls_server_config:\n  min_version: TLS13\n",
        &["1:1: tls_server_config without cert and key has no effect: there is no TLS"],
    );
    let config = warned(
        &format!("{FILES}  cert: inline\n"),
        &["4:3: cert has no effect beside cert_file"],
    );
    assert_eq!(config.tls.unwrap().cert.path(), Some(&*PathBuf::from("etc/server.crt")));
    let costly = HASH.replace("$10$", "$18$");
    warned(
        &format!("basic_auth_users:\n  a:b: {costly}\n"),
        &[
            "2:3: a name with a colon cannot be sent by any client",
            "2:8: a bcrypt cost of 18 makes the first request with this password take seconds or worse",
        ],
    );
    warned(
        "rate_limit: {interval: 1s}\n",
        &["1:14: without a burst of at least 1 every request is refused"],
    );
    let config = warned(
        "rate_limit: {burst: 5}\n",
        &["1:14: burst has no effect without an interval"],
    );
    assert_eq!(config.rate_limit, None);
}

#[test]
fn intervals_are_go_durations_or_nanoseconds() {
    let interval = |text: &str| {
        let config = parse(&format!("rate_limit: {{interval: {text}, burst: 1}}\n")).unwrap();
        config.rate_limit.map(|limit| limit.interval)
    };
    assert_eq!(interval("1.5s"), Some(Duration::from_millis(1500)));
    assert_eq!(interval("2000000"), Some(Duration::from_millis(2)));
    assert_eq!(interval("0"), None);
    refused(
        "rate_limit: {interval: 1d, burst: 1}\n",
        &["1:24: time: invalid duration \"1d\" (write it like 100ms, 1s or 1m30s)"],
    );
    refused(
        "rate_limit: {interval: -5, burst: 1}\n",
        &["1:24: time: invalid duration \"-5\" (write it like 100ms, 1s or 1m30s)"],
    );
}
