//! What must hold of a kind beyond the types of its fields. The texts are upstream's.

use cupola_model::go_quote;

use crate::read::Section;

/// An error where a text is missing or empty.
fn required(section: &Section<'_>, name: &'static str, message: &str) -> Option<String> {
    let text = section.filled_text(name);
    if text.is_none() {
        section.error_at(name, message);
    }
    text
}

fn one_of(section: &Section<'_>, name: &'static str, all: &[&str], message: impl FnOnce(&str) -> String) {
    if let Some(text) = section.filled_text(name)
        && !all.contains(&text.as_str())
    {
        section.error_at(name, message(&text));
    }
}

// The error of an URL that must be one of HTTP.
fn http_url(section: &Section<'_>, name: &'static str) {
    let Some(url) = required(section, name, "URL is missing") else {
        return;
    };
    let rest = url.strip_prefix("http://").or_else(|| url.strip_prefix("https://"));
    match rest {
        None => section.error_at(name, "URL scheme must be 'http' or 'https'"),
        Some(rest) if rest.is_empty() || rest.starts_with('/') => section.error_at(name, "host is missing in URL"),
        Some(_) => {}
    }
}

pub(super) fn azure(section: &Section<'_>) {
    let method = section
        .filled_text("authentication_method")
        .unwrap_or_else(|| "OAuth".to_owned());
    required(
        section,
        "subscription_id",
        "azure SD configuration requires a subscription_id",
    );
    match method.as_str() {
        "OAuth" => {
            required(section, "tenant_id", "azure SD configuration requires a tenant_id");
            required(section, "client_id", "azure SD configuration requires a client_id");
            if section.secret("client_secret").is_none() {
                section.error_at("client_secret", "azure SD configuration requires a client_secret");
            }
        }
        "WorkloadIdentity" => {
            required(section, "tenant_id", "azure SD configuration requires a tenant_id");
            required(section, "client_id", "azure SD configuration requires a client_id");
        }
        "ManagedIdentity" | "SDK" => {
            section.text("tenant_id");
            section.text("client_id");
        }
        other => {
            let message = format!(
                r#"unknown authentication_type {}. Supported types are "OAuth", "ManagedIdentity", "SDK" or "WorkloadIdentity""#,
                go_quote(other)
            );
            section.error_at("authentication_method", message);
        }
    }
}

pub(super) fn consul(section: &Section<'_>) {
    if section.text("server").is_some_and(|server| server.trim().is_empty()) {
        section.error_at("server", "consul SD configuration requires a server address");
    }
    let has_basic = section.get("basic_auth").is_some();
    if has_basic && (section.filled_text("username").is_some() || section.get("password").is_some()) {
        let message = "at most one of consul SD configuration username and password and basic auth can be configured";
        section.error_at("basic_auth", message);
    }
    if section.get("token").is_some() && (has_basic || section.get("authorization").is_some()) {
        let message = "at most one of consul SD token, authorization, or oauth2 can be configured";
        section.error_at("token", message);
    }
}

pub(super) fn dns(section: &Section<'_>) {
    if section.texts("names").is_empty() {
        section.error_at("names", "DNS-SD config must contain at least one SRV record name");
    }
    let port = section.count("port").unwrap_or(0);
    match section
        .filled_text("type")
        .unwrap_or_else(|| "SRV".to_owned())
        .to_uppercase()
        .as_str()
    {
        "SRV" | "MX" | "NS" => {}
        "A" | "AAAA" if port == 0 => {
            let message = "a port is required in DNS-SD configs for all record types except SRV, MX and NS";
            section.error_at("type", message);
        }
        "A" | "AAAA" => {}
        other => section.error_at("type", format!("invalid DNS-SD records type {other}")),
    }
}

pub(super) fn docker(section: &Section<'_>) {
    docker_host(section);
}

fn docker_host(section: &Section<'_>) {
    if let Some(host) = required(section, "host", "host missing")
        && host.starts_with(':')
    {
        let message = format!("parse {}: missing protocol scheme", go_quote(&host));
        section.error_at("host", message);
    }
}

pub(super) fn dockerswarm(section: &Section<'_>) {
    docker_host(section);
    required(section, "role", "role missing (one of: tasks, services, nodes)");
    one_of(section, "role", &["tasks", "services", "nodes"], |role| {
        format!("invalid role {role}, expected tasks, services, or nodes")
    });
}

pub(super) fn eureka(section: &Section<'_>) {
    if let Some(server) = required(section, "server", "eureka_sd: empty or null eureka server")
        && !is_url_with_host(&server)
    {
        section.error_at("server", "eureka_sd: invalid eureka server URL");
    }
}

fn is_url_with_host(url: &str) -> bool {
    let rest = url.split_once("://").filter(|(scheme, _)| !scheme.is_empty());
    rest.is_some_and(|(_, rest)| !rest.is_empty() && !rest.starts_with('/'))
}

pub(super) fn file(section: &Section<'_>) {
    let files = section.texts("files");
    if files.is_empty() {
        section.error_at(
            "files",
            "file service discovery config must contain at least one path name",
        );
    }
    for name in files {
        let (stem, ending) = name.rsplit_once('.').unwrap_or((&name, ""));
        let is_known = ["json", "yml", "yaml", "JSON", "YML", "YAML"].contains(&ending);
        // One star, in the last part of the path.
        let star = stem
            .split_once('*')
            .is_none_or(|(_, after)| !after.contains(['*', '/']));
        if !is_known || !star {
            let message = format!("path name {} is not valid for file discovery", go_quote(&name));
            section.error_at("files", message);
        }
    }
}

pub(super) fn gce(section: &Section<'_>) {
    required(section, "project", "GCE SD configuration requires a project");
    required(section, "zone", "GCE SD configuration requires a zone");
}

pub(super) fn hetzner(section: &Section<'_>) {
    required(section, "role", "role missing (one of: robot, hcloud)");
    one_of(section, "role", &["robot", "hcloud"], |role| {
        format!("unknown role {}", go_quote(role))
    });
}

pub(super) fn http(section: &Section<'_>) {
    http_url(section, "url");
}

pub(super) fn ionos(section: &Section<'_>) {
    required(section, "datacenter_id", "datacenter id can't be empty");
}

pub(super) fn kuma(section: &Section<'_>) {
    if let Some(server) = required(section, "server", "kuma SD server must not be empty")
        && !is_url_with_host(&server)
    {
        section.error_at(
            "server",
            format!("kuma SD server must not be empty and have a scheme: {server}"),
        );
    }
}

pub(super) fn marathon(section: &Section<'_>) {
    if section.texts("servers").is_empty() {
        section.error_at("servers", "marathon_sd: must contain at least one Marathon server");
    }
    let (token, file) = (
        section.get("auth_token").is_some(),
        section.get("auth_token_file").is_some(),
    );
    let refuse = |others: bool, name: &str, message: &str| {
        if others && (token || file) {
            section.error_at(name, message);
        }
    };
    refuse(
        token && file,
        "auth_token_file",
        "marathon_sd: at most one of auth_token & auth_token_file must be configured",
    );
    refuse(
        section.get("basic_auth").is_some(),
        "basic_auth",
        "marathon_sd: at most one of basic_auth, auth_token & auth_token_file must be configured",
    );
    refuse(
        section.get("bearer_token").is_some() || section.get("bearer_token_file").is_some(),
        "bearer_token",
        "marathon_sd: at most one of bearer_token, bearer_token_file, auth_token & auth_token_file must be configured",
    );
    refuse(
        section.get("authorization").is_some(),
        "authorization",
        "marathon_sd: at most one of auth_token, auth_token_file & authorization must be configured",
    );
}

fn zookeeper(section: &Section<'_>, kind: &str) {
    if section.texts("servers").is_empty() {
        section.error_at(
            "servers",
            format!("{kind} SD config must contain at least one Zookeeper server"),
        );
    }
    let paths = section.texts("paths");
    if paths.is_empty() {
        section.error_at("paths", format!("{kind} SD config must contain at least one path"));
    }
    for path in paths.iter().filter(|path| !path.starts_with('/')) {
        section.error_at("paths", format!("{kind} SD config paths must begin with '/': {path}"));
    }
}

pub(super) fn nerve(section: &Section<'_>) {
    zookeeper(section, "nerve");
}

pub(super) fn serverset(section: &Section<'_>) {
    zookeeper(section, "serverset");
}

pub(super) fn nomad(section: &Section<'_>) {
    if section.text("server").is_some_and(|server| server.trim().is_empty()) {
        section.error_at("server", "nomad SD configuration requires a server address");
    }
}

pub(super) fn oci(section: &Section<'_>) {
    one_of(section, "auth", &["api_key", "instance_principal"], |method| {
        format!(
            r#"oci_sd: unknown auth method {}, expected "api_key" or "instance_principal""#,
            go_quote(method)
        )
    });
}

pub(super) fn openstack(section: &Section<'_>) {
    one_of(
        section,
        "availability",
        &["public", "internal", "admin"],
        |availability| format!("unknown availability {availability}, must be one of admin, internal or public"),
    );
    one_of(section, "role", &["instance", "hypervisor", "loadbalancer"], |role| {
        format!("unknown OpenStack SD role {}", go_quote(role))
    });
    required(
        section,
        "role",
        "role missing (one of: instance, hypervisor, loadbalancer)",
    );
    required(section, "region", "openstack SD configuration requires a region");
}

pub(super) fn ovhcloud(section: &Section<'_>) {
    required(section, "service", "service cannot be empty");
    one_of(section, "service", &["vps", "dedicated_server"], |service| {
        format!("unknown service: {service}")
    });
}

pub(super) fn puppetdb(section: &Section<'_>) {
    http_url(section, "url");
    required(section, "query", "query missing");
}

pub(super) fn scaleway(section: &Section<'_>) {
    one_of(section, "role", &["instance", "baremetal"], |role| {
        format!("unknown role {}", go_quote(role))
    });
    if section.filled_text("role").is_none() {
        section.error_at("role", "role missing (one of: instance, baremetal)");
    }
    // The forms are Scaleway's library's.
    const UUID: &str = "expected a UUID: xxxxxxxx-xxxx-xxxx-xxxx-xxxxxxxxxxxx";
    if let Some(id) = required(section, "project_id", "project_id is mandatory")
        && !is_uuid(&id)
    {
        let message = format!("scaleway-sdk-go: invalid project ID format '{id}', {UUID}");
        section.error_at("project_id", message);
    }
    if let Some(key) = required(section, "access_key", "access_key is mandatory")
        && !is_scaleway_key(&key)
    {
        let message =
            format!("scaleway-sdk-go: invalid access key format '{key}', expected SCWXXXXXXXXXXXXXXXXX format");
        section.error_at("access_key", message);
    }
    let inline = section.secret("secret_key");
    if inline.as_ref().is_some_and(|key| !is_uuid(key.expose())) {
        section.error_at(
            "secret_key",
            format!("scaleway-sdk-go: invalid secret key format, {UUID}"),
        );
    }
    let (inline, file) = (inline.is_some(), section.filled_text("secret_key_file").is_some());
    if inline && file {
        let message = "at most one of secret_key & secret_key_file must be configured";
        section.error_at("secret_key_file", message);
    } else if !inline && !file {
        section.error_at("secret_key", "one of secret_key & secret_key_file must be configured");
    }
}

fn is_uuid(text: &str) -> bool {
    let parts: Vec<&str> = text.split('-').collect();
    let lengths: Vec<usize> = parts.iter().map(|part| part.len()).collect();
    lengths == [8, 4, 4, 4, 12] && parts.iter().all(|part| part.bytes().all(|b| b.is_ascii_hexdigit()))
}

fn is_scaleway_key(text: &str) -> bool {
    let is_of_key = |b: u8| b.is_ascii_uppercase() || b.is_ascii_digit();
    text.strip_prefix("SCW")
        .is_some_and(|rest| rest.len() == 17 && rest.bytes().all(is_of_key))
}

pub(super) fn stackit(section: &Section<'_>) {
    if let Some(endpoint) = section.filled_text("endpoint")
        && endpoint.starts_with("://")
    {
        section.error_at("endpoint", format!("invalid endpoint {}", go_quote(&endpoint)));
    }
}

pub(super) fn triton(section: &Section<'_>) {
    for (name, what) in [
        ("account", "an account"),
        ("dns_suffix", "a dns_suffix"),
        ("endpoint", "an endpoint"),
    ] {
        required(section, name, &format!("triton SD configuration requires {what}"));
    }
    one_of(section, "role", &["container", "cn"], |role| {
        format!(
            "triton SD configuration requires role to be 'container' or 'cn', not {}",
            go_quote(role)
        )
    });
    if section.count("version") == Some(0) {
        section.error_at(
            "version",
            "triton SD configuration requires RefreshInterval to be a positive integer",
        );
    }
}

pub(super) fn uyuni(section: &Section<'_>) {
    if required(section, "server", "Uyuni SD configuration requires server host").is_none() {
        return;
    }
    required(section, "username", "Uyuni SD configuration requires a username");
    if section.secret("password").is_none() {
        section.error_at("password", "Uyuni SD configuration requires a password");
    }
}
