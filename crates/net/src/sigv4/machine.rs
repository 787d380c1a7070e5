//! Keys, and a region, that a machine or a container of Amazon's is handed by the service at its side, as Amazon's own libraries
//! ask for them: a container's where the environment names its service, else the machine's (IMDSv2).

use std::time::Duration;

use bytes::Bytes;
use cupola_config::common::HttpClientConfig;
use http::header::{AUTHORIZATION, HeaderName, HeaderValue};
use http::{HeaderMap, Method, Uri};
use serde_json::Value;

use super::Keys;
use super::source::{Place, Source};
use crate::peer::secret_value;
use crate::{Peer, Request};

const MACHINE: &str = "http://169.254.169.254";
const CONTAINER: &str = "http://169.254.170.2";
const MAX_ANSWER: usize = 64 << 10;
// Elsewhere nobody answers at that address.
const LONGEST: Duration = Duration::from_secs(2);

/// The keys and when they expire, in milliseconds since the epoch; or where they were asked for, and why there are none.
pub(super) async fn keys(place: Place, source: &Source<'_>, timeout: Duration) -> Result<(Keys, i64), String> {
    let env = |name: &str| (source.env)(name);
    let of_container = match env("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI") {
        Some(path) => Some(format!("{CONTAINER}{path}")),
        None => env("AWS_CONTAINER_CREDENTIALS_FULL_URI"),
    };
    if place == Place::Container && of_container.is_none() {
        return Err(
            "EcsContainer is the credential_source, but AWS_CONTAINER_CREDENTIALS_RELATIVE_URI is not set".to_owned(),
        );
    }
    if let Some(url) = of_container.filter(|_| place != Place::Instance) {
        let timeout = timeout.min(LONGEST);
        let token = match env("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE") {
            Some(file) => Some(std::fs::read_to_string(&file).map_err(|e| format!("{file}: {e}"))?),
            None => env("AWS_CONTAINER_AUTHORIZATION_TOKEN"),
        };
        let header = token.as_deref().map(|token| (AUTHORIZATION, token.trim()));
        let body = ask(&Method::GET, &url, header, timeout).await?;
        return read(&body).map_err(|e| format!("{url}: {e}"));
    }
    let instance = Instance::find(source, timeout).await?;
    let (url, roles) = instance.get("meta-data/iam/security-credentials/").await?;
    let roles = String::from_utf8_lossy(&roles).into_owned();
    let role = roles.lines().next().map(str::trim).filter(|role| !role.is_empty());
    let role = role.ok_or_else(|| format!("{url}: the machine has no role"))?;
    let (url, body) = instance
        .get(&format!("meta-data/iam/security-credentials/{role}"))
        .await?;
    read(&body).map_err(|e| format!("{url}: {e}"))
}

/// The region the machine is in; or where it was asked for, and why it is not known.
pub(super) async fn region(source: &Source<'_>, timeout: Duration) -> Result<String, String> {
    let instance = Instance::find(source, timeout).await?;
    let (url, body) = instance.get("dynamic/instance-identity/document").await?;
    region_in(&body).map_err(|e| format!("{url}: {e}"))
}

pub(super) fn region_in(document: &[u8]) -> Result<String, String> {
    let document: Value = serde_json::from_slice(document).map_err(|_| "the answer is no JSON".to_owned())?;
    let region = document.get("region").and_then(Value::as_str);
    // It becomes a part of host names.
    let is_one = |region: &&str| {
        let is_part = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-';
        !region.is_empty() && region.len() <= 63 && region.bytes().all(is_part)
    };
    let region = region.filter(is_one).ok_or("the answer has no region")?;
    Ok(region.to_owned())
}

// The service of a machine, once it has handed out what it wants to see with each question.
struct Instance {
    place: String,
    token: String,
    timeout: Duration,
}

impl Instance {
    async fn find(source: &Source<'_>, timeout: Duration) -> Result<Self, String> {
        let timeout = timeout.min(LONGEST);
        let env = |name: &str| (source.env)(name);
        if env("AWS_EC2_METADATA_DISABLED").is_some_and(|value| value.eq_ignore_ascii_case("true")) {
            return Err("AWS_EC2_METADATA_DISABLED is true".to_owned());
        }
        let place = env("AWS_EC2_METADATA_SERVICE_ENDPOINT").unwrap_or_else(|| MACHINE.to_owned());
        let place = format!("{}/latest", place.trim_end_matches('/'));
        let life = HeaderName::from_static("x-aws-ec2-metadata-token-ttl-seconds");
        let url = format!("{place}/api/token");
        let token = ask(&Method::PUT, &url, Some((life, "300")), timeout).await?;
        let token = String::from_utf8_lossy(&token).trim().to_owned();
        Ok(Self { place, token, timeout })
    }

    // What is asked and what comes back.
    async fn get(&self, path: &str) -> Result<(String, Vec<u8>), String> {
        let url = format!("{}/{path}", self.place);
        let header = HeaderName::from_static("x-aws-ec2-metadata-token");
        let body = ask(&Method::GET, &url, Some((header, &self.token)), self.timeout).await?;
        Ok((url, body))
    }
}

async fn ask(
    method: &Method,
    url: &str,
    header: Option<(HeaderName, &str)>,
    timeout: Duration,
) -> Result<Vec<u8>, String> {
    let uri: Uri = url.parse().map_err(|e| format!("{url:?}: {e}"))?;
    let mut headers = HeaderMap::new();
    if let Some((name, value)) = header {
        let value: HeaderValue = secret_value(value).ok_or_else(|| format!("{url}: the token is no header value"))?;
        headers.insert(name, value);
    }
    let request = Request {
        method: method.clone(),
        url: &uri,
        headers,
        body: Bytes::new(),
        timeout,
        max_body: MAX_ANSWER,
        gzip: false,
        follow_redirects: false,
    };
    // A proxy is never on this way, and nobody else is to be told.
    let mut peer = Peer::new(&HttpClientConfig {
        follow_redirects: false,
        ..HttpClientConfig::default()
    });
    let response = Box::pin(peer.send(request)).await;
    let response = response.map_err(|e| format!("{url}: {e}"))?;
    match response.status.is_success() {
        true => Ok(response.body),
        false => Err(format!("{url} answers {}", response.status)),
    }
}

// What cannot be read is not shown: it may be a key.
pub(super) fn read(body: &[u8]) -> Result<(Keys, i64), String> {
    let answer: Value = serde_json::from_slice(body).map_err(|_| "the answer is no JSON".to_owned())?;
    let field = |name: &str| {
        let value = answer
            .get(name)
            .and_then(Value::as_str)
            .filter(|value| !value.is_empty());
        value.ok_or_else(|| format!("the answer has no {name}"))
    };
    let expires: Result<jiff::Timestamp, _> = field("Expiration")?.parse();
    let expires = expires.map_err(|_| "the answer has an Expiration that is no time".to_owned())?;
    let keys = Keys {
        access_key: field("AccessKeyId")?.to_owned(),
        secret_key: field("SecretAccessKey")?.to_owned(),
        session_token: field("Token")?.to_owned(),
    };
    Ok((keys, expires.as_millisecond()))
}
