//! Reading `<http_config>`: authentication, TLS, headers.

use std::collections::BTreeMap;

use cupola_model::go_quote;

use crate::common::{Auth, HeaderValues, HttpClientConfig, PemSource, Secret, TlsConfig, TlsVersion};
use crate::read::{Reader, Section};
use crate::yaml::{Node, Pos};

/// Fields of `<http_config>`, for callers that must know whether one of them is given.
const PROXY_FIELDS: [&str; 4] = [
    "proxy_url",
    "no_proxy",
    "proxy_from_environment",
    "proxy_connect_header",
];

// Headers that the client sets itself, or that have a setting of their own (common/config, `reservedHeaders`).
const RESERVED_HEADERS: [&str; 18] = [
    "accept-encoding",
    "authorization",
    "connection",
    "content-encoding",
    "content-length",
    "content-type",
    "host",
    "keep-alive",
    "proxy-authenticate",
    "proxy-authorization",
    "user-agent",
    "www-authenticate",
    "x-amz-content-sha256",
    "x-amz-date",
    "x-amz-security-token",
    "x-prometheus-remote-read-version",
    "x-prometheus-remote-write-version",
    "x-prometheus-scrape-timeout-seconds",
];

/// Reads the fields of `<http_config>` that stand in `section` among others.
pub(crate) fn read_http_fields(section: &Section<'_>) -> HttpClientConfig {
    section.unsupported("oauth2");
    for name in PROXY_FIELDS {
        section.unsupported(name);
    }
    HttpClientConfig {
        auth: read_auth(section),
        follow_redirects: section.bool("follow_redirects").unwrap_or(true),
        enable_http2: section.bool("enable_http2").unwrap_or(true),
        tls: section
            .get("tls_config")
            .map_or_else(TlsConfig::default, |node| read_tls(section.reader, node)),
        http_headers: section
            .get("http_headers")
            .map_or_else(BTreeMap::new, |node| read_headers(section.reader, node)),
    }
}

/// Reads a map that holds nothing but `<http_config>`.
pub(crate) fn read_http_config(reader: &Reader<'_>, node: &Node) -> HttpClientConfig {
    let section = reader.section(node, "config.plain");
    let config = read_http_fields(&section);
    section.finish();
    config
}

fn read_auth(section: &Section<'_>) -> Option<Auth> {
    let bearer = section.secret_source(
        "bearer_token",
        "bearer_token_file",
        "at most one of bearer_token & bearer_token_file must be configured",
    );
    let basic = section
        .get("basic_auth")
        .map(|node| read_basic_auth(section.reader, node));
    let authorization = section
        .get("authorization")
        .map(|node| read_authorization(section.reader, node));
    if let Some(bearer) = bearer {
        let name = if section.get("bearer_token").is_some() {
            "bearer_token"
        } else {
            "bearer_token_file"
        };
        if authorization.is_some() {
            section.error_at(
                name,
                "authorization is not compatible with bearer_token & bearer_token_file",
            );
        }
        if basic.is_some() {
            let message = "at most one of basic_auth, oauth2, bearer_token & bearer_token_file must be configured";
            section.error_at(name, message);
        }
        return Some(Auth::Authorization {
            kind: "Bearer".to_owned(),
            credentials: Some(bearer),
        });
    }
    if authorization.is_some() && basic.is_some() {
        section.error_at(
            "authorization",
            "at most one of basic_auth, oauth2 & authorization must be configured",
        );
    }
    authorization.or(basic)
}

fn read_basic_auth(reader: &Reader<'_>, node: &Node) -> Auth {
    let section = reader.section(node, "config.plain");
    let (username, username_file) = (section.filled_text("username"), section.path("username_file"));
    if username.is_some() && username_file.is_some() {
        section.error_at(
            "username_file",
            "at most one of basic_auth username & username_file must be configured",
        );
    }
    let password = section.secret_source(
        "password",
        "password_file",
        "at most one of basic_auth password & password_file must be configured",
    );
    // Credentials from a secret manager of Prometheus's future; upstream has the fields and nothing behind them.
    section.unsupported("username_ref");
    section.unsupported("password_ref");
    section.finish();
    let username = username.map(|name| crate::common::SecretSource::Inline(Secret::new(name)));
    Auth::Basic {
        username: username.or(username_file.map(crate::common::SecretSource::File)),
        password,
    }
}

fn read_authorization(reader: &Reader<'_>, node: &Node) -> Auth {
    let section = reader.section(node, "config.plain");
    let kind = section
        .filled_text("type")
        .map_or_else(|| "Bearer".to_owned(), |kind| kind.trim().to_owned());
    if kind.eq_ignore_ascii_case("basic") {
        section.error_at(
            "type",
            "authorization type cannot be set to \"basic\", use \"basic_auth\" instead",
        );
    }
    let credentials = section.secret_source(
        "credentials",
        "credentials_file",
        "at most one of authorization credentials & credentials_file must be configured",
    );
    section.unsupported("credentials_ref");
    section.finish();
    Auth::Authorization { kind, credentials }
}

/// Reads `tls_config`.
pub(crate) fn read_tls(reader: &Reader<'_>, node: &Node) -> TlsConfig {
    let section = reader.section(node, "config.plain");
    let pem = |name: &'static str, file: &'static str| {
        let (inline, path) = (section.filled_text(name), section.path(file));
        if inline.is_some() && path.is_some() {
            section.error_at(file, format!("at most one of {name} and {file} must be configured"));
        }
        inline.map(PemSource::Inline).or(path.map(PemSource::File))
    };
    let ca = pem("ca", "ca_file");
    let cert = pem("cert", "cert_file");
    let key = section.secret_source("key", "key_file", "at most one of key and key_file must be configured");
    for name in ["ca_ref", "cert_ref", "key_ref"] {
        section.unsupported(name);
    }
    if cert.is_some() && key.is_none() {
        let message = "exactly one of key or key_file must be configured when a client certificate is configured";
        reader.error(section.pos, message);
    }
    if key.is_some() && cert.is_none() {
        let message = "exactly one of cert or cert_file must be configured when a client key is configured";
        reader.error(section.pos, message);
    }
    let config = TlsConfig {
        ca,
        cert,
        key,
        server_name: section.filled_text("server_name"),
        insecure_skip_verify: section.bool("insecure_skip_verify").unwrap_or(false),
        min_version: read_tls_version(&section, "min_version"),
        max_version: read_tls_version(&section, "max_version"),
    };
    if let (Some(min), Some(max)) = (config.min_version, config.max_version)
        && max < min
    {
        section.error_at(
            "max_version",
            "tls_config.max_version must be greater than or equal to tls_config.min_version if both are specified",
        );
    }
    if config.min_version.is_some_and(|min| min < TlsVersion::Tls12) {
        section.warn_without_effect("min_version", "TLS older than 1.2 is never accepted");
    }
    if config.max_version.is_some_and(|max| max < TlsVersion::Tls12) {
        section.error_at("max_version", "TLS older than 1.2 is not supported by this version");
    }
    section.finish();
    config
}

fn read_tls_version(section: &Section<'_>, name: &'static str) -> Option<TlsVersion> {
    let text = section.filled_text(name)?;
    let version = match text.as_str() {
        "TLS10" => TlsVersion::Tls10,
        "TLS11" => TlsVersion::Tls11,
        "TLS12" => TlsVersion::Tls12,
        "TLS13" => TlsVersion::Tls13,
        _ => {
            let pos = section.key_pos(name);
            section.reader.error_hint(
                pos,
                format!("unknown TLS version: {text}"),
                "one of TLS10, TLS11, TLS12, TLS13",
            );
            return None;
        }
    };
    Some(version)
}

fn read_headers(reader: &Reader<'_>, node: &Node) -> BTreeMap<String, HeaderValues> {
    let mut headers = BTreeMap::new();
    for entry in reader.entries(node, "config.plain") {
        check_header_name(reader, entry.key_pos, &entry.key);
        let section = reader.section(&entry.value, "config.Header");
        let secrets = section.items("secrets", "[]string", "");
        let values = HeaderValues {
            values: section.texts("values"),
            secrets: secrets
                .into_iter()
                .filter_map(|node| {
                    reader.mark_secret(node);
                    reader.text(node).map(Secret::new)
                })
                .collect(),
            files: section.texts("files").iter().map(|path| reader.resolve(path)).collect(),
        };
        section.finish();
        headers.insert(entry.key.clone(), values);
    }
    headers
}

fn check_header_name(reader: &Reader<'_>, pos: Pos, name: &str) {
    let is_token = |c: char| c.is_ascii_alphanumeric() || "!#$%&'*+-.^_`|~".contains(c);
    if name.is_empty() || !name.chars().all(is_token) {
        reader.error(pos, format!("{} is not a valid header name", go_quote(name)));
    } else if RESERVED_HEADERS.contains(&name.to_ascii_lowercase().as_str()) {
        reader.error(pos, format!("setting header {} is not allowed", go_quote(name)));
    }
}
