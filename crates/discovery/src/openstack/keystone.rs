//! Keystone's tokens and catalogue (its API in version 3), and lists of the services that stand in it.

use std::collections::HashMap;
use std::time::Duration;

use bytes::Bytes;
use cupola_config::common::HttpClientConfig;
use cupola_config::prometheus::OpenStackSdConfig;
use cupola_net::{Peer, Request, Response};
use http::header::{ACCEPT, CONTENT_TYPE, HeaderName, HeaderValue, USER_AGENT};
use http::{HeaderMap, Method, Uri};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value, json};

use crate::groups::MAX_BYTES;
use crate::http::AGENT;
use crate::labels::or_default;

// A list of more pages has no end.
const MOST_PAGES: usize = 10_000;

/// Who asks, and where: the fields of the configuration, or the variables of the environment that OpenStack's own tools
/// read.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Identity {
    pub endpoint: String,
    pub username: String,
    pub user_id: String,
    pub password: String,
    pub project_name: String,
    pub project_id: String,
    pub domain_name: String,
    pub domain_id: String,
    pub credential_name: String,
    pub credential_id: String,
    pub credential_secret: String,
}

/// A token and where the services are.
#[derive(Debug)]
pub(super) struct Session {
    token: HeaderValue,
    catalog: Vec<Service>,
    region: String,
    interface: &'static str,
}

#[derive(Debug, Deserialize)]
struct Service {
    #[serde(rename = "type", default, deserialize_with = "or_default")]
    kind: String,
    #[serde(default, deserialize_with = "or_default")]
    endpoints: Vec<Endpoint>,
}

#[derive(Debug, Deserialize)]
struct Endpoint {
    #[serde(default, deserialize_with = "or_default")]
    interface: String,
    #[serde(default, deserialize_with = "or_default")]
    region: String,
    #[serde(default, deserialize_with = "or_default")]
    region_id: String,
    #[serde(default, deserialize_with = "or_default")]
    url: String,
}

#[derive(Debug, Deserialize)]
struct Answer {
    token: Token,
}

#[derive(Debug, Deserialize)]
struct Token {
    #[serde(default, deserialize_with = "or_default")]
    catalog: Vec<Service>,
}

/// The services of one OpenStack, each over a connection of its own.
pub(super) struct Cloud {
    config: OpenStackSdConfig,
    http: HttpClientConfig,
    peers: HashMap<&'static str, Peer>,
    timeout: Duration,
}

impl Identity {
    /// Of the configuration; where that names no Keystone, of the environment.
    pub(super) fn new(config: &OpenStackSdConfig, env: &dyn Fn(&str) -> Option<String>) -> Result<Self, String> {
        let of_env = |names: &[&str]| names.iter().find_map(|name| env(name)).unwrap_or_default();
        if config.identity_endpoint.is_empty() {
            let identity = Self {
                endpoint: of_env(&["OS_AUTH_URL"]),
                username: of_env(&["OS_USERNAME"]),
                user_id: of_env(&["OS_USERID"]),
                password: of_env(&["OS_PASSWORD"]),
                project_name: of_env(&["OS_PROJECT_NAME", "OS_TENANT_NAME"]),
                project_id: of_env(&["OS_PROJECT_ID", "OS_TENANT_ID"]),
                domain_name: of_env(&["OS_DOMAIN_NAME"]),
                domain_id: of_env(&["OS_DOMAIN_ID"]),
                credential_name: of_env(&["OS_APPLICATION_CREDENTIAL_NAME"]),
                credential_id: of_env(&["OS_APPLICATION_CREDENTIAL_ID"]),
                credential_secret: of_env(&["OS_APPLICATION_CREDENTIAL_SECRET"]),
            };
            if identity.endpoint.is_empty() {
                return Err("there is neither identity_endpoint nor the environment variable OS_AUTH_URL".to_owned());
            }
            return Ok(identity);
        }
        let exposed = |secret: &Option<cupola_config::common::Secret>| {
            let secret = secret.as_ref();
            secret.map_or(String::new(), |secret| secret.expose().to_owned())
        };
        Ok(Self {
            endpoint: config.identity_endpoint.clone(),
            username: config.username.clone(),
            user_id: config.user_id.clone(),
            password: exposed(&config.password),
            project_name: config.project_name.clone(),
            project_id: config.project_id.clone(),
            domain_name: config.domain_name.clone(),
            domain_id: config.domain_id.clone(),
            credential_name: config.application_credential_name.clone(),
            credential_id: config.application_credential_id.clone(),
            credential_secret: exposed(&config.application_credential_secret),
        })
    }

    // `{"id": …}` or `{"name": …}` of the domain.
    fn domain(&self) -> Option<Value> {
        match (self.domain_id.as_str(), self.domain_name.as_str()) {
            ("", "") => None,
            ("", name) => Some(json!({ "name": name })),
            (id, _) => Some(json!({ "id": id })),
        }
    }

    fn user(&self) -> Result<Map<String, Value>, String> {
        let mut user = Map::new();
        match (self.user_id.as_str(), self.username.as_str()) {
            ("", "") => return Err("there is neither a username nor a userid".to_owned()),
            ("", name) => {
                let domain = self.domain();
                let domain = domain.ok_or("a username needs a domain_id or a domain_name")?;
                user.insert("name".to_owned(), name.into());
                user.insert("domain".to_owned(), domain);
            }
            (id, "") => _ = user.insert("id".to_owned(), id.into()),
            _ => return Err("there are both a username and a userid".to_owned()),
        }
        Ok(user)
    }

    /// What Keystone is sent for a token.
    pub(super) fn request(&self) -> Result<Value, String> {
        let by_credential = !self.credential_id.is_empty() || !self.credential_name.is_empty();
        if by_credential {
            if self.credential_secret.is_empty() {
                return Err("an application credential needs its secret".to_owned());
            }
            let mut credential = Map::new();
            if self.credential_id.is_empty() {
                credential.insert("name".to_owned(), self.credential_name.as_str().into());
                credential.insert("user".to_owned(), Value::Object(self.user()?));
            } else {
                credential.insert("id".to_owned(), self.credential_id.as_str().into());
            }
            credential.insert("secret".to_owned(), self.credential_secret.as_str().into());
            // A credential belongs to a project; to ask for another is an error.
            return Ok(json!({"auth": {"identity": {
                "methods": ["application_credential"],
                "application_credential": credential,
            }}}));
        }
        if self.password.is_empty() {
            return Err("there is neither a password nor an application credential".to_owned());
        }
        let mut user = self.user()?;
        user.insert("password".to_owned(), self.password.as_str().into());
        let mut auth = json!({"identity": {"methods": ["password"], "password": {"user": user}}});
        let scope = match (self.project_id.as_str(), self.project_name.as_str()) {
            ("", "") => None,
            ("", name) => {
                let domain = self.domain();
                let domain = domain.ok_or("a project_name needs a domain_id or a domain_name")?;
                Some(json!({"project": {"name": name, "domain": domain}}))
            }
            (id, _) => Some(json!({"project": {"id": id}})),
        };
        if let (Some(auth), Some(scope)) = (auth.as_object_mut(), scope) {
            auth.insert("scope".to_owned(), scope);
        }
        Ok(json!({ "auth": auth }))
    }
}

impl Session {
    /// Where the services of a kind are, with a slash at the end; `what` names it in errors.
    pub(super) fn endpoint(&self, kind: &str, what: &str) -> Result<String, String> {
        let of_kind = self.catalog.iter().filter(|service| service.kind == kind);
        let is_ours = |endpoint: &&Endpoint| {
            endpoint.interface == self.interface && [&endpoint.region, &endpoint.region_id].contains(&&self.region)
        };
        let found = of_kind.flat_map(|service| &service.endpoints).find(is_ours);
        let url = found.map(|endpoint| endpoint.url.trim_end_matches('/'));
        url.map(|url| format!("{url}/")).ok_or_else(|| {
            let (region, interface) = (&self.region, self.interface);
            format!(
                "could not create OpenStack {what} session: No suitable endpoint could be determined from the service \
                 catalog: there is no {interface} one of type {kind:?} in the region {region:?}"
            )
        })
    }
}

impl Cloud {
    pub(super) fn new(config: &OpenStackSdConfig) -> Self {
        Self {
            http: HttpClientConfig {
                tls: config.tls.clone(),
                // What is sent would be sent to whoever is named: a token is no header that is left out then.
                follow_redirects: false,
                ..HttpClientConfig::default()
            },
            peers: HashMap::new(),
            timeout: config.refresh_interval,
            config: config.clone(),
        }
    }

    /// Asks for a token.
    pub(super) async fn authenticate(&mut self) -> Result<Session, String> {
        let env = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
        let identity = Identity::new(&self.config, &env)?;
        let body = identity.request()?.to_string();
        let url = format!("{}auth/tokens", self.version_3(&identity.endpoint).await?);
        let request = (Method::POST, url.as_str(), Bytes::from(body));
        let response = self.ask("identity", request, None, MAX_BYTES, &[200, 201]).await?;
        let token = response.headers.get("x-subject-token").cloned();
        let mut token = token.ok_or_else(|| format!("POST {url:?}: the answer has no X-Subject-Token"))?;
        token.set_sensitive(true);
        let answer: Answer = read(&url, &response)?;
        Ok(Session {
            token,
            catalog: answer.token.catalog,
            region: self.config.region.clone(),
            interface: self.config.availability.as_str(),
        })
    }

    // Keystone's address for version 3, with a slash at the end: the one that is configured, or the one that it names.
    async fn version_3(&mut self, endpoint: &str) -> Result<String, String> {
        let endpoint = endpoint.trim_end_matches('/');
        match endpoint.rsplit('/').next() {
            Some("v3") => return Ok(format!("{endpoint}/")),
            Some("v2.0") => return Err(format!("{endpoint:?}: Keystone is asked by its version 3 only")),
            _ => {}
        }
        let url = format!("{endpoint}/");
        let request = (Method::GET, url.as_str(), Bytes::new());
        let response = self.ask("identity", request, None, MAX_BYTES, &[200, 300]).await?;
        let answer: Value = read(&url, &response)?;
        let versions = answer.pointer("/versions/values").and_then(Value::as_array);
        let of_3 = versions.into_iter().flatten().find(|version| {
            let id = version.get("id").and_then(Value::as_str).unwrap_or_default();
            id == "v3" || id.starts_with("v3.")
        });
        let links = of_3.and_then(|version| version.get("links")?.as_array());
        let mut links = links.into_iter().flatten();
        let own = links.find(|link| link.get("rel").and_then(Value::as_str) == Some("self"));
        let href = own.and_then(|link| link.get("href")?.as_str());
        let href = href.ok_or_else(|| format!("No supported version available from endpoint {url:?}"))?;
        Ok(format!("{}/", href.trim_end_matches('/')))
    }

    /// All entries of a list, page by page. `url` may have a query; `field` is where they stand in the answer.
    pub(super) async fn list<T: DeserializeOwned>(
        &mut self,
        session: &Session,
        service: &'static str,
        url: &str,
        field: &str,
    ) -> Result<Vec<T>, String> {
        let failed = |e: String| format!("could not list {field}: {e}");
        let (base, _) = url.split_once('?').unwrap_or((url, ""));
        let (mut url, mut left, mut all) = (url.to_owned(), MAX_BYTES, Vec::new());
        for _ in 0..MOST_PAGES {
            let request = (Method::GET, url.as_str(), Bytes::new());
            let response = self.ask(service, request, Some(&session.token), left, &[200, 203, 204, 300]);
            let response = response.await.map_err(failed)?;
            left = left.saturating_sub(response.body.len());
            let (page, next) = read_page(&response.body, field).map_err(|e| failed(format!("GET {url:?}: {e}")))?;
            let is_empty = page.is_empty();
            all.extend(page);
            match next {
                // Of the link only the query is taken, so that the token goes to nobody but the service.
                Some(query) if !is_empty => url = format!("{base}?{query}"),
                _ => return Ok(all),
            }
        }
        Err(failed(format!("there are more than {MOST_PAGES} pages")))
    }

    async fn ask(
        &mut self,
        service: &'static str,
        (method, url, body): (Method, &str, Bytes),
        token: Option<&HeaderValue>,
        max_body: usize,
        wanted: &[u16],
    ) -> Result<Response, String> {
        let uri: Uri = url.parse().map_err(|e| format!("{url:?}: {e}"))?;
        let mut headers = HeaderMap::new();
        headers.insert(USER_AGENT, AGENT);
        headers.insert(ACCEPT, HeaderValue::from_static("application/json"));
        if !body.is_empty() {
            headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        }
        if let Some(token) = token {
            headers.insert(HeaderName::from_static("x-auth-token"), token.clone());
        }
        let request = Request {
            method: method.clone(),
            url: &uri,
            headers,
            body,
            timeout: self.timeout,
            max_body,
            gzip: true,
            follow_redirects: false,
        };
        let http = &self.http;
        let peer = self.peers.entry(service).or_insert_with(|| Peer::new(http));
        let response = peer.send(request).await.map_err(|e| format!("{method} {url:?}: {e}"))?;
        if !wanted.contains(&response.status.as_u16()) {
            let text: String = String::from_utf8_lossy(&response.body).chars().take(300).collect();
            let status = response.status.as_u16();
            return Err(format!(
                "Expected HTTP response code {wanted:?} when accessing [{method} {url}], but got {status} instead: {}",
                text.trim()
            ));
        }
        Ok(response)
    }
}

fn read<T: DeserializeOwned>(url: &str, response: &Response) -> Result<T, String> {
    serde_json::from_slice(&response.body).map_err(|e| format!("{url:?}: {e}"))
}

/// The entries of one page, and the query of the next one where there is one.
pub(super) fn read_page<T: DeserializeOwned>(body: &[u8], field: &str) -> Result<(Vec<T>, Option<String>), String> {
    let mut page: Map<String, Value> = serde_json::from_slice(body).map_err(|e| e.to_string())?;
    let entries = page.remove(field).ok_or_else(|| format!("has no {field:?}"))?;
    let entries: Option<Vec<T>> = serde_json::from_value(entries).map_err(|e| format!("{field}: {e}"))?;
    let links = page.remove(&format!("{field}_links"));
    let links = links.as_ref().and_then(Value::as_array);
    let mut links = links.into_iter().flatten();
    let next = links.find(|link| link.get("rel").and_then(Value::as_str) == Some("next"));
    let href = next.and_then(|link| link.get("href")?.as_str());
    let query = href.and_then(|href| href.split_once('?'));
    let query = query.map(|(_, query)| query.split('#').next().unwrap_or_default().to_owned());
    Ok((entries.unwrap_or_default(), query.filter(|query| !query.is_empty())))
}
