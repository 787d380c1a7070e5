//! Reading `<http_config>`: authentication, TLS, headers.

use std::collections::BTreeMap;

use cupola_model::go_quote;

use crate::alertmanager::Anything;
use crate::common::{
    Auth, GrantType, HeaderValues, HttpClientConfig, OAuth2Config, PemSource, ProxyConfig, Secret, TlsConfig,
    TlsVersion,
};
use crate::read::{Reader, Section};
use crate::yaml::{Node, Pos};

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

const PROXY_SCHEMES: [&str; 4] = ["http://", "https://", "socks5://", "socks5h://"];

/// Reads the fields of `<http_config>` that stand in `section` among others.
pub(crate) fn read_http_fields(section: &Section<'_>) -> HttpClientConfig {
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
        proxy: read_proxy(section),
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
    let oauth2 = section.get("oauth2").map(|node| read_oauth2(section.reader, node));
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
        if basic.is_some() || oauth2.is_some() {
            let message = "at most one of basic_auth, oauth2, bearer_token & bearer_token_file must be configured";
            section.error_at(name, message);
        }
        return Some(Auth::Authorization {
            kind: "Bearer".to_owned(),
            credentials: Some(bearer),
        });
    }
    let given = [&authorization, &basic, &oauth2].into_iter().flatten().count();
    if given > 1 {
        let name = if authorization.is_some() {
            "authorization"
        } else {
            "oauth2"
        };
        section.error_at(
            name,
            "at most one of basic_auth, oauth2 & authorization must be configured",
        );
    }
    authorization.or(basic).or(oauth2)
}

fn read_oauth2(reader: &Reader<'_>, node: &Node) -> Auth {
    let section = reader.section(node, "config.plain");
    let required = |name: &'static str| {
        section.filled_text(name).unwrap_or_else(|| {
            section.error_at(name, format!("oauth2 {name} must be configured"));
            String::new()
        })
    };
    for name in ["client_secret_ref", "client_certificate_key_ref"] {
        section.unsupported(name);
    }
    let grant_type = match section.filled_text("grant_type").as_deref() {
        None | Some("client_credentials") => GrantType::ClientCredentials,
        Some("urn:ietf:params:oauth:grant-type:jwt-bearer") => GrantType::JwtBearer,
        Some(other) => {
            let pos = section.key_pos("grant_type");
            reader.error_hint(
                pos,
                format!("oauth2 grant_type {} is not known", go_quote(other)),
                "client_credentials or urn:ietf:params:oauth:grant-type:jwt-bearer",
            );
            GrantType::default()
        }
    };
    let signature_algorithm = section
        .filled_text("signature_algorithm")
        .unwrap_or_else(|| "RS256".to_owned());
    if !["RS256", "RS384", "RS512"].contains(&signature_algorithm.as_str()) {
        section.error_at(
            "signature_algorithm",
            "valid signature algorithms are RS256, RS384 and RS512",
        );
    }
    let config = OAuth2Config {
        client_id: required("client_id"),
        client_secret: section.secret_source(
            "client_secret",
            "client_secret_file",
            "at most one of oauth2 client_secret & client_secret_file must be configured",
        ),
        grant_type,
        refresh_token: None,
        client_certificate_key: section.secret_source(
            "client_certificate_key",
            "client_certificate_key_file",
            "at most one of oauth2 client_certificate_key & client_certificate_key_file must be configured",
        ),
        client_certificate_key_id: section.text("client_certificate_key_id").unwrap_or_default(),
        signature_algorithm,
        iss: section.text("iss").unwrap_or_default(),
        audience: section.text("audience").unwrap_or_default(),
        claims: read_claims(&section),
        scopes: section.texts("scopes"),
        token_url: required("token_url"),
        endpoint_params: section.text_map("endpoint_params"),
        tls: section
            .get("tls_config")
            .map_or_else(TlsConfig::default, |node| read_tls(reader, node)),
        proxy: read_proxy(&section),
    };
    section.finish();
    Auth::OAuth2(Box::new(config))
}

fn read_claims(section: &Section<'_>) -> BTreeMap<String, Anything> {
    match section.get("claims").map(Anything::of) {
        Some(Some(Anything::Map(claims))) => claims,
        None | Some(Some(Anything::Null)) => BTreeMap::new(),
        Some(_) => {
            section.error_at("claims", "oauth2 claims must be a map");
            BTreeMap::new()
        }
    }
}

fn read_proxy(section: &Section<'_>) -> ProxyConfig {
    let reader = section.reader;
    let entries = section
        .get("proxy_connect_header")
        .map_or(&[][..], |node| reader.entries(node, "config.ProxyHeader"));
    let values = |node: &Node| {
        let items = reader.items(node, "[]config.Secret", "");
        items
            .into_iter()
            .filter_map(|item| {
                reader.mark_secret(item);
                reader.text(item).map(Secret::new)
            })
            .collect()
    };
    let proxy = ProxyConfig {
        url: section.filled_text("proxy_url").map(Secret::new),
        no_proxy: section.text("no_proxy").unwrap_or_default(),
        from_environment: section.bool("proxy_from_environment").unwrap_or(false),
        connect_header: entries
            .iter()
            .map(|entry| (entry.key.clone(), values(&entry.value)))
            .collect(),
    };
    if let Some(node) = section.get("proxy_url")
        && proxy.url.as_ref().is_some_and(|url| url.expose().contains('@'))
    {
        reader.mark_secret(node);
    }
    // What is no proxy's URL at all; upstream finds out with the first request.
    let is_proxy = |url: &Secret| PROXY_SCHEMES.iter().any(|scheme| url.expose().starts_with(scheme));
    if proxy.url.as_ref().is_some_and(|url| url.expose().starts_with(':')) {
        section.error_at(
            "proxy_url",
            "the URL has nothing before its first colon: missing protocol scheme",
        );
    } else if proxy.url.as_ref().is_some_and(|url| !is_proxy(url)) {
        section.not_yet("proxy_url");
    }
    if proxy.from_environment && proxy.url.is_some() {
        let message = "if proxy_from_environment is configured, proxy_url must not be configured";
        section.error_at("proxy_url", message);
    }
    if proxy.from_environment && !proxy.no_proxy.is_empty() {
        let message = "if proxy_from_environment is configured, no_proxy must not be configured";
        section.error_at("no_proxy", message);
    }
    if !proxy.from_environment && proxy.url.is_none() && !proxy.no_proxy.is_empty() {
        section.error_at(
            "no_proxy",
            "if no_proxy is configured, proxy_url must also be configured",
        );
    }
    if !proxy.is_used() && !proxy.connect_header.is_empty() {
        let message =
            "if proxy_connect_header is configured, proxy_url or proxy_from_environment must also be configured";
        section.error_at("proxy_connect_header", message);
    }
    proxy
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

/// Reads a version of TLS under Go's name for it.
pub(crate) fn read_tls_version(section: &Section<'_>, name: &'static str) -> Option<TlsVersion> {
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

/// Whether a header of this name cannot be configured freely.
pub(crate) fn is_reserved_header(name: &str) -> bool {
    RESERVED_HEADERS.contains(&name.to_ascii_lowercase().as_str())
}

fn check_header_name(reader: &Reader<'_>, pos: Pos, name: &str) {
    let is_token = |c: char| c.is_ascii_alphanumeric() || "!#$%&'*+-.^_`|~".contains(c);
    if name.is_empty() || !name.chars().all(is_token) {
        reader.error(pos, format!("{} is not a valid header name", go_quote(name)));
    } else if is_reserved_header(name) {
        reader.error(pos, format!("setting header {} is not allowed", go_quote(name)));
    }
}
