//! How to speak HTTP to a peer, as client_golang's `config` writes it.

use std::path::Path;

use super::yaml::{Map, Yaml};
use super::{path, shown_url};
use crate::alertmanager::Anything;
use crate::common::{
    Auth, GrantType, HttpClientConfig, OAuth2Config, PemSource, ProxyConfig, SecretSource, SigV4Config, TlsConfig,
    TlsVersion,
};
use crate::redact::HIDDEN;

// A secret that is given shows as a word, a file by its name.
fn secret(map: &mut Map, name: &str, file_name: &str, source: Option<&SecretSource>) {
    match source {
        Some(SecretSource::Inline(secret)) if !secret.expose().is_empty() => _ = map.raw(name, HIDDEN),
        Some(SecretSource::File(file)) => _ = map.text(file_name, &path(file)),
        Some(SecretSource::Inline(_)) | None => {}
    }
}

pub(super) fn hidden() -> Yaml {
    Yaml::Raw(HIDDEN.to_owned())
}

fn file(source: Option<&PemSource>) -> Option<&Path> {
    match source {
        Some(PemSource::File(file)) => Some(file),
        _ => None,
    }
}

pub(super) fn tls(config: &TlsConfig) -> Map {
    let mut map = Map::default();
    if *config == TlsConfig::default() {
        return map;
    }
    for (name, source) in [("ca", &config.ca), ("cert", &config.cert)] {
        if let Some(PemSource::Inline(text)) = source {
            map.filled(name, text);
        }
    }
    if let Some(SecretSource::Inline(_)) = &config.key {
        map.put("key", hidden());
    }
    for (name, source) in [("ca_file", &config.ca), ("cert_file", &config.cert)] {
        if let Some(file) = file(source.as_ref()) {
            map.text(name, &path(file));
        }
    }
    if let Some(SecretSource::File(file)) = &config.key {
        map.text("key_file", &path(file));
    }
    map.filled("server_name", config.server_name.as_deref().unwrap_or_default());
    map.raw("insecure_skip_verify", config.insecure_skip_verify);
    for (name, version) in [("min_version", config.min_version), ("max_version", config.max_version)] {
        if let Some(version) = version {
            let version = match version {
                TlsVersion::Tls10 => "TLS10",
                TlsVersion::Tls11 => "TLS11",
                TlsVersion::Tls12 => "TLS12",
                TlsVersion::Tls13 => "TLS13",
            };
            map.text(name, version);
        }
    }
    map
}

fn proxy(config: &ProxyConfig) -> Map {
    let mut map = Map::default();
    if let Some(url) = &config.url {
        map.text("proxy_url", &shown_url(url.expose()));
    }
    map.filled("no_proxy", &config.no_proxy);
    map.yes("proxy_from_environment", config.from_environment);
    let headers = config.connect_header.iter();
    let headers = headers.map(|(name, values)| (name.as_str(), Yaml::List(values.iter().map(|_| hidden()).collect())));
    map.map("proxy_connect_header", headers.collect());
    map
}

fn anything(value: &Anything) -> Yaml {
    match value {
        Anything::Null => Yaml::Raw("null".to_owned()),
        Anything::Bool(yes) => Yaml::Raw(yes.to_string()),
        Anything::Int(number) => Yaml::Raw(number.to_string()),
        Anything::Float(number) => Yaml::Raw(format!("{number:?}")),
        Anything::Text(text) => Yaml::Text(text.clone()),
        Anything::List(all) => Yaml::List(all.iter().map(anything).collect()),
        Anything::Map(map) => {
            let fields = map.iter().map(|(name, value)| (name.as_str(), anything(value)));
            Yaml::Map(fields.collect())
        }
    }
}

fn oauth2(config: &OAuth2Config) -> Map {
    let mut map = Map::default();
    map.text("client_id", &config.client_id);
    let is_inline = matches!(&config.client_secret, Some(SecretSource::Inline(_)));
    map.raw("client_secret", if is_inline { HIDDEN } else { "null" });
    match &config.client_secret {
        Some(SecretSource::File(file)) => map.text("client_secret_file", &path(file)),
        _ => map.text("client_secret_file", ""),
    };
    secret(
        &mut map,
        "client_certificate_key",
        "client_certificate_key_file",
        config.client_certificate_key.as_ref(),
    );
    map.filled("client_certificate_key_id", &config.client_certificate_key_id);
    if config.grant_type == GrantType::JwtBearer {
        map.text("grant_type", "urn:ietf:params:oauth:grant-type:jwt-bearer");
        map.filled("signature_algorithm", &config.signature_algorithm);
        map.filled("iss", &config.iss);
        map.filled("audience", &config.audience);
        let claims = config
            .claims
            .iter()
            .map(|(name, value)| (name.as_str(), anything(value)));
        map.map("claims", claims.collect());
    }
    map.list(
        "scopes",
        config.scopes.iter().map(|scope| Yaml::Text(scope.clone())).collect(),
    );
    map.text("token_url", &shown_url(&config.token_url));
    map.map("endpoint_params", super::texts(&config.endpoint_params));
    map.map("tls_config", tls(&config.tls));
    map.inline(proxy(&config.proxy));
    map
}

pub(super) fn sigv4(config: &SigV4Config) -> Map {
    let mut map = Map::default();
    map.filled("region", &config.region);
    map.filled("access_key", &config.access_key);
    if config.secret_key.is_some() {
        map.put("secret_key", hidden());
    }
    map.filled("profile", &config.profile);
    map.filled("role_arn", &config.role_arn);
    map.filled("external_id", &config.external_id);
    map.yes("use_fips_sts_endpoint", config.use_fips_sts_endpoint);
    map.filled("service_name", &config.service_name);
    map
}

/// The fields of an HTTP client, which stand among those of what has one.
pub(super) fn client(config: &HttpClientConfig) -> Map {
    let mut map = Map::default();
    match &config.auth {
        Some(Auth::Basic { username, password }) => {
            let mut basic = Map::default();
            match username {
                Some(SecretSource::Inline(name)) => _ = basic.text("username", name.expose()),
                Some(SecretSource::File(file)) => {
                    basic.text("username", "").text("username_file", &path(file));
                }
                None => _ = basic.text("username", ""),
            }
            secret(&mut basic, "password", "password_file", password.as_ref());
            map.map("basic_auth", basic);
        }
        Some(Auth::Authorization { kind, credentials }) => {
            let mut authorization = Map::default();
            authorization.filled("type", kind);
            secret(
                &mut authorization,
                "credentials",
                "credentials_file",
                credentials.as_ref(),
            );
            map.map("authorization", authorization);
        }
        Some(Auth::OAuth2(config)) => _ = map.map("oauth2", oauth2(config)),
        // Written by those who have it, in its own place.
        Some(Auth::SigV4(_) | Auth::GoogleIam(_)) | None => {}
    }
    map.map("tls_config", tls(&config.tls));
    map.raw("follow_redirects", config.follow_redirects);
    map.raw("enable_http2", config.enable_http2);
    map.inline(proxy(&config.proxy));
    let headers = config.http_headers.iter().map(|(name, values)| {
        let mut header = Map::default();
        header.list(
            "values",
            values.values.iter().map(|value| Yaml::Text(value.clone())).collect(),
        );
        header.list("secrets", values.secrets.iter().map(|_| hidden()).collect());
        header.list(
            "files",
            values.files.iter().map(|file| Yaml::Text(path(file))).collect(),
        );
        (name.as_str(), Yaml::Map(header))
    });
    map.map("http_headers", headers.collect());
    map
}
