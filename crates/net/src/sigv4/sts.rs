//! Keys of a role, for a while: what Amazon's token service (STS) hands out to who has keys already, or a token of a
//! cluster's service account (what EKS calls IRSA).

use std::time::Duration;

use cupola_config::common::HttpClientConfig;
use cupola_env::{Clock as _, SystemClock};
use cupola_model::query_escape;
use http::header::{CONTENT_TYPE, HOST, HeaderValue};
use http::{HeaderMap, Method, Uri};

use super::source::Source;
use super::{Keys, Signer};
use crate::{NetError, Peer, Request, Response};

const MAX_ANSWER: usize = 1 << 20;
const SHOWN: usize = 200;
const LEAST_SECONDS: u32 = 900;

/// What is asked for. Without a session's name it is the environment's, or one of ours.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Role {
    /// A role of the configuration or of a profile, asked for with keys.
    Configured {
        arn: String,
        external_id: String,
        session: Option<String>,
        /// How long its keys are to be of use; what is no longer than Amazon's own 15 minutes is left to Amazon.
        seconds: Option<u32>,
    },
    /// A role asked for with the token in a file.
    OfToken {
        arn: String,
        file: String,
        session: Option<String>,
    },
}

/// Asks for keys of `role`, signed `by` keys there are already; gives them and when they expire, in milliseconds since the
/// epoch.
pub(super) async fn assume(
    role: &Role,
    by: Option<&Keys>,
    source: &Source<'_>,
    region: &str,
    timeout: Duration,
) -> Result<(Keys, i64), NetError> {
    let failed = |arn: &str, reason: String| NetError::Sign(format!("cannot assume the role {arn}: {reason}"));
    let (Role::Configured { session, .. } | Role::OfToken { session, .. }) = role;
    let session = session
        .clone()
        .or_else(|| (source.env)("AWS_ROLE_SESSION_NAME"))
        .unwrap_or_else(|| format!("cupola-{}", SystemClock.now_ms() / 1000));
    let mut fields = vec![("RoleSessionName", session), ("Version", "2011-06-15".to_owned())];
    let arn = match role {
        Role::Configured {
            arn,
            external_id,
            seconds,
            ..
        } => {
            fields.push(("Action", "AssumeRole".to_owned()));
            if let Some(seconds) = seconds.filter(|seconds| *seconds > LEAST_SECONDS) {
                fields.push(("DurationSeconds", seconds.to_string()));
            }
            if !external_id.is_empty() {
                fields.push(("ExternalId", external_id.clone()));
            }
            arn
        }
        Role::OfToken { arn, file, .. } => {
            fields.push(("Action", "AssumeRoleWithWebIdentity".to_owned()));
            let token = std::fs::read_to_string(file).map_err(|error| failed(arn, format!("{file}: {error}")))?;
            fields.push(("WebIdentityToken", token.trim().to_owned()));
            arn
        }
    };
    fields.push(("RoleArn", arn.clone()));
    let body: Vec<String> = fields
        .iter()
        .map(|(name, value)| format!("{name}={}", query_escape(value)))
        .collect();
    let body = body.join("&");

    let url = endpoint(source, region);
    let uri: Uri = url.parse().map_err(|_| failed(arn, format!("{url} is no URL")))?;
    let mut headers = HeaderMap::new();
    let form_type = HeaderValue::from_static("application/x-www-form-urlencoded");
    headers.insert(CONTENT_TYPE, form_type);
    if let Some(keys) = by {
        let host = uri.authority().map_or("", |authority| authority.as_str());
        let host = HeaderValue::from_str(host).map_err(|_| failed(arn, format!("{url} is no URL")))?;
        headers.insert(HOST, host);
        let signer = Signer {
            region: region.to_owned(),
            service: "sts".to_owned(),
            keys: keys.clone(),
        };
        signer.sign(&Method::POST, &uri, body.as_bytes(), &mut headers)?;
    }
    let request = Request {
        method: Method::POST,
        url: &uri,
        headers,
        body: body.into(),
        timeout,
        max_body: MAX_ANSWER,
        gzip: false,
        follow_redirects: false,
    };
    let mut peer = Peer::new(&HttpClientConfig::default());
    let response = Box::pin(peer.send(request)).await;
    let response = response.map_err(|error| failed(arn, error.to_string()))?;
    read(&response).map_err(|reason| failed(arn, format!("{url} answers {reason}")))
}

// As Amazon's libraries: a variable may lead elsewhere, for tests and for networks of one's own.
fn endpoint(source: &Source<'_>, region: &str) -> String {
    let given = ["AWS_ENDPOINT_URL_STS", "AWS_ENDPOINT_URL"];
    if let Some(url) = given.iter().find_map(|name| (source.env)(name)) {
        return url;
    }
    let fips = if source.config.use_fips_sts_endpoint {
        "-fips"
    } else {
        ""
    };
    let end = if region.starts_with("cn-") { ".cn" } else { "" };
    format!("https://sts{fips}.{region}.amazonaws.com{end}/")
}

// The few fields are looked for by their names: the answer is XML, of which they are the only ones of these names, and
// nothing in them needs escapes.
pub(super) fn read(response: &Response) -> Result<(Keys, i64), String> {
    let text = String::from_utf8_lossy(&response.body);
    let field = |name: &str| {
        let (_, rest) = text.split_once(&format!("<{name}>"))?;
        let (value, _) = rest.split_once('<')?;
        Some(value.trim().to_owned()).filter(|value| !value.is_empty())
    };
    if !response.status.is_success() {
        let mut told = response.status.to_string();
        for part in ["Code", "Message"].into_iter().filter_map(field) {
            told.push_str(&format!(": {}", part.chars().take(SHOWN).collect::<String>()));
        }
        return Err(told);
    }
    let required = |name: &str| field(name).ok_or_else(|| format!("without {name}"));
    let expires: jiff::Timestamp = required("Expiration")?
        .parse()
        .map_err(|_| "with an Expiration that is no time".to_owned())?;
    let keys = Keys {
        access_key: required("AccessKeyId")?,
        secret_key: required("SecretAccessKey")?,
        session_token: required("SessionToken")?,
    };
    Ok((keys, expires.as_millisecond()))
}
