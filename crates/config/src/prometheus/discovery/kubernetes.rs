//! What must hold of `kubernetes_sd_configs`. The texts are upstream's.

use crate::read::Section;

const ROLES: [&str; 6] = ["endpoints", "endpointslice", "ingress", "node", "pod", "service"];

// Which selectors a role may have, beside its own.
fn selectors(role: &str) -> &'static [&'static str] {
    match role {
        "pod" => &["pod", "node"],
        "endpoints" => &["pod", "service", "endpoints"],
        "endpointslice" => &["pod", "service", "endpointslice"],
        "ingress" => &["ingress"],
        "node" => &["node"],
        _ => &["service"],
    }
}

pub(super) fn check(section: &Section<'_>) {
    let role = section.text("role").unwrap_or_default();
    if role.is_empty() {
        let message = "role missing (one of: pod, service, endpoints, endpointslice, node, ingress)";
        section.error_at("role", message);
    } else if !ROLES.contains(&role.as_str()) {
        section.error_at("role", format!("unknown Kubernetes SD role {role:?}"));
    }
    let api_server = section.filled_text("api_server").is_some();
    let kubeconfig = section.filled_text("kubeconfig_file").is_some();
    let client = [
        "authorization",
        "basic_auth",
        "oauth2",
        "bearer_token",
        "bearer_token_file",
        "tls_config",
        "proxy_url",
    ];
    let has_client = client.into_iter().any(|name| section.get(name).is_some());
    if kubeconfig && api_server {
        let message = "cannot use 'kubeconfig_file' and 'api_server' simultaneously";
        section.error_at("kubeconfig_file", message);
    }
    if kubeconfig && has_client {
        section.error_at(
            "kubeconfig_file",
            "cannot use a custom HTTP client configuration together with 'kubeconfig_file'",
        );
    } else if !api_server && has_client {
        let message = "to use custom HTTP client configuration please provide the 'api_server' URL explicitly";
        section.error_at("role", message);
    }
    if let Some(node) = section.get("namespaces") {
        let namespaces = section.reader.section(node, "kubernetes.plain");
        namespaces.texts("names");
        if namespaces.bool("own_namespace") == Some(true) {
            for (is_given, name) in [(api_server, "api_server"), (kubeconfig, "kubeconfig_file")] {
                if is_given {
                    let message = format!("cannot use '{name}' and 'namespaces.own_namespace' simultaneously");
                    namespaces.error_at("own_namespace", message);
                }
            }
        }
        namespaces.finish();
    }
    if let Some(node) = section.get("attach_metadata") {
        let attach = section.reader.section(node, "kubernetes.plain");
        for name in ["node", "namespace", "deployment", "job", "cronjob"] {
            attach.bool(name);
        }
        attach.finish();
    }
    check_selectors(section, &role);
}

fn check_selectors(section: &Section<'_>, role: &str) {
    let mut seen = Vec::new();
    for node in section.items("selectors", "[]kubernetes.SelectorConfig", "empty or null selector") {
        let selector = section.reader.section(node, "kubernetes.plain");
        let of = selector.text("role").unwrap_or_default();
        let (label, field) = (selector.text("label"), selector.text("field"));
        if seen.contains(&of) {
            selector.error_at("role", format!("duplicated selector role: {of}"));
        } else if ROLES.contains(&role) && !selectors(role).contains(&of.as_str()) {
            let allowed = selectors(role).join(", ");
            selector.error_at("role", format!("{role} role supports only {allowed} selectors"));
        }
        seen.push(of);
        for part in field.iter().flat_map(|field| field.split(',')) {
            if !part.is_empty() && !part.contains('=') {
                let message = format!("invalid selector: '{part}'; can't understand '{part}'");
                selector.error_at("field", message);
            }
        }
        if let Some(label) = label
            && label.contains(['(', ')'])
            && label.matches('(').count() != label.matches(')').count()
        {
            selector.error_at("label", format!("unable to parse requirement: {label}"));
        }
        selector.finish();
    }
}
