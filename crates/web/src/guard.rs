//! What happens to every request and answer: refusals for the safety of browsers, headers, counting.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Instant;

use axum::body::HttpBody as _;
use axum::extract::{MatchedPath, Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use http::{Method, StatusCode, Uri};

use crate::agent;
use crate::api::openapi;
use crate::app::{App, Mode};
use crate::assets::CONTENT_SECURITY_POLICY;
use crate::router::Ctx;

// The name of what has no route.
const OTHER: &str = "other";

/// The outermost layer.
pub(crate) async fn guard(State(ctx): State<Arc<Ctx>>, request: Request, next: Next) -> Response {
    let began = Instant::now();
    let handler = request
        .extensions()
        .get::<MatchedPath>()
        .map_or(OTHER.to_owned(), |path| handler_name(path.as_str()));
    let origin = request.headers().get(header::ORIGIN).cloned();
    let is_api = request.uri().path().starts_with("/api/v1/");
    // Prometheus computes no answer that is not sent.
    let is_for_head = !is_api && !matches!(handler.as_str(), "/metrics" | "/federate");
    let mut response = if let Some(refusal) = refuse_host(&ctx.app, request.headers()) {
        refusal
    } else if is_api && request.method() == Method::OPTIONS {
        StatusCode::NO_CONTENT.into_response()
    } else if request.method() == Method::HEAD && !is_for_head && handler != OTHER {
        StatusCode::METHOD_NOT_ALLOWED.into_response()
    } else if ctx.app.mode == Mode::Agent
        && let Some(refusal) = agent::refusal(request.uri().path(), ctx.app.route_prefix.trim_end_matches('/'))
    {
        refusal
    } else {
        next.run(request).await
    };
    if response.status() == StatusCode::METHOD_NOT_ALLOWED && response.body().size_hint().exact() == Some(0) {
        not_allowed(&handler, &mut response);
    }
    if is_api && let Some(origin) = origin {
        allow_origin(&ctx.app, &origin, response.headers_mut());
    }
    harden(response.headers_mut());
    let size = response.body().size_hint().exact();
    ctx.telemetry
        .observe(&handler, response.status(), began.elapsed(), size);
    response
}

// The answer to a method that a route does not have, as Prometheus's router words it.
fn not_allowed(handler: &str, response: &mut Response) {
    let mut methods = openapi::methods(|path| handler_name(path) == handler);
    if methods.is_empty() {
        methods.push("GET");
    }
    if handler.starts_with("/-/") {
        methods.push("HEAD");
    }
    methods.push("OPTIONS");
    methods.sort_unstable();
    *response.body_mut() = "Method Not Allowed\n".into();
    let headers = response.headers_mut();
    if let Ok(allow) = HeaderValue::from_str(&methods.join(", ")) {
        headers.insert(header::ALLOW, allow);
    }
    let text = HeaderValue::from_static("text/plain; charset=utf-8");
    headers.insert(header::CONTENT_TYPE, text);
    headers.remove(header::CONTENT_LENGTH);
}

// As Prometheus names its handlers: `/api/v1/label/:name/values`.
fn handler_name(path: &str) -> String {
    path.replace("{*", "*").replace('{', ":").replace('}', "")
}

fn harden(headers: &mut HeaderMap) {
    for (name, value) in [
        (header::CONTENT_SECURITY_POLICY, CONTENT_SECURITY_POLICY),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::REFERRER_POLICY, "same-origin"),
        (HeaderName::from_static("cross-origin-opener-policy"), "same-origin"),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
}

// Prometheus answers with these four to every request that names an origin, and allows the origin where it matches.
fn allow_origin(app: &App, origin: &HeaderValue, headers: &mut HeaderMap) {
    let Some(allowed) = &app.cors_origin else { return };
    headers.insert(
        header::ACCESS_CONTROL_ALLOW_HEADERS,
        HeaderValue::from_static("Accept, Authorization, Content-Type, Origin"),
    );
    headers.insert(
        header::ACCESS_CONTROL_ALLOW_METHODS,
        HeaderValue::from_static("GET, POST, OPTIONS"),
    );
    headers.insert(header::ACCESS_CONTROL_EXPOSE_HEADERS, HeaderValue::from_static("Date"));
    headers.append(header::VARY, HeaderValue::from_static("Origin"));
    // Where all are allowed the answer is the same for all, and browsers send no credentials with it.
    if allowed.pattern() == ".*" {
        headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static("*"));
    } else if origin.to_str().is_ok_and(|origin| allowed.is_match(origin)) {
        headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin.clone());
    }
}

fn refuse_host(app: &App, headers: &HeaderMap) -> Option<Response> {
    if !app.guard_host {
        return None;
    }
    let host = headers.get(header::HOST)?.to_str().unwrap_or("");
    if is_own_host(host_name(host), &app.hostname, &app.external_url) {
        return None;
    }
    let text = format!(
        "{host:?} is not a name of this server. If it should be, start the server with --web.external-url set to the \
         address you use.\n"
    );
    Some((StatusCode::FORBIDDEN, text).into_response())
}

fn host_name(host: &str) -> &str {
    match host.strip_prefix('[') {
        Some(v6) => v6.split(']').next().unwrap_or(""),
        None => host.rsplit_once(':').map_or(host, |(name, _)| name),
    }
}

fn is_own_host(name: &str, hostname: &str, external_url: &str) -> bool {
    let short = hostname.split('.').next().unwrap_or(hostname);
    let local = format!("{short}.local");
    let external = external_url
        .parse::<Uri>()
        .ok()
        .and_then(|u| u.host().map(str::to_owned))
        .unwrap_or_default();
    let name = name.trim_end_matches('.');
    name.parse::<IpAddr>().is_ok()
        || name.to_ascii_lowercase().ends_with(".localhost")
        || ["localhost", hostname, short, &local, &external]
            .iter()
            .any(|own| name.eq_ignore_ascii_case(own))
}

/// Whether a browser sent the request on behalf of another site's page, and of none that `--web.cors.origin` names.
pub(crate) fn is_foreign(app: &App, headers: &HeaderMap) -> bool {
    let origin = headers.get(header::ORIGIN).and_then(|origin| origin.to_str().ok());
    // That all may read says nothing of changes.
    let named = app.cors_origin.as_ref().filter(|allowed| allowed.pattern() != ".*");
    let is_named = named
        .zip(origin)
        .is_some_and(|(allowed, origin)| allowed.is_match(origin));
    is_cross_site(headers) && !is_named
}

// Programs send neither header.
fn is_cross_site(headers: &HeaderMap) -> bool {
    let text = |name: HeaderName| headers.get(name).map(|v| v.to_str().unwrap_or("?"));
    if let Some(site) = text(HeaderName::from_static("sec-fetch-site")) {
        return !matches!(site, "same-origin" | "none");
    }
    let Some(origin) = text(header::ORIGIN) else {
        return false;
    };
    let own = text(header::HOST).unwrap_or("");
    let origin_host = origin.split_once("://").map_or("", |(_, host)| host);
    own.is_empty() || !origin_host.eq_ignore_ascii_case(own)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn own_names_pass_and_others_do_not() {
        let own = |host| is_own_host(host_name(host), "db1.example.org", "https://mon.example.org:8443/prom");
        for host in [
            "127.0.0.1:9090",
            "[::1]:9090",
            "10.0.0.7",
            "localhost:9090",
            "LOCALHOST",
            "x.localhost:1",
            "db1:9090",
            "db1.example.org.",
            "db1.local",
            "mon.example.org",
        ] {
            assert!(own(host), "{host}");
        }
        for host in [
            "evil.example:9090",
            "db1.evil.example",
            "localhost.evil.example",
            "127.0.0.1.evil.example",
            "",
        ] {
            assert!(!own(host), "{host}");
        }
    }

    #[test]
    fn another_sites_page_is_told_from_a_program() {
        let cross = |pairs: &[(&'static str, &'static str)]| {
            is_cross_site(
                &pairs
                    .iter()
                    .map(|(n, v)| (HeaderName::from_static(n), HeaderValue::from_static(v)))
                    .collect(),
            )
        };
        assert!(!cross(&[("host", "localhost:9090")]));
        assert!(!cross(&[("sec-fetch-site", "same-origin")]));
        assert!(!cross(&[("sec-fetch-site", "none")]));
        assert!(cross(&[("sec-fetch-site", "cross-site")]));
        assert!(cross(&[("sec-fetch-site", "same-site")]));
        assert!(!cross(&[
            ("host", "localhost:9090"),
            ("origin", "http://localhost:9090")
        ]));
        assert!(cross(&[("host", "localhost:9090"), ("origin", "http://evil.example")]));
        assert!(cross(&[("host", "localhost:9090"), ("origin", "null")]));
    }
}
