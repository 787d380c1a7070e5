//! AWS signature version 4, and whose keys sign.

mod machine;
mod process;
mod source;
mod sts;

use std::sync::Arc;
use std::time::Duration;

use cupola_config::common::SigV4Config;
use cupola_env::{Clock as _, SystemClock};
use http::header::{AUTHORIZATION, HOST, HeaderName, HeaderValue};
use http::{HeaderMap, Method, Uri};
use parking_lot::Mutex;
use sha2::{Digest as _, Sha256};

use crate::NetError;
use crate::proxy::percent_decode;
use source::{First, Place, Source};

// After the service at a machine's side gave no keys, it is not asked again for so long.
const NO_KEYS_FOR_MS: i64 = 60_000;
// Keys of a role are given up that long before they expire.
const BEFORE_EXPIRY_MS: i64 = 60_000;
// Beyond it the oldest are forgotten of which nobody knows any more.
const KEPT_ROLES: usize = 64;

// Keys of a role belong to a section of the configuration: what was handed out to one connection serves all.
static ROLES: Mutex<Vec<Arc<RoleKeys>>> = Mutex::new(Vec::new());

/// Signs the requests of one section.
#[derive(Clone)]
pub(crate) struct Signer {
    region: String,
    service: String,
    keys: Keys,
}

impl std::fmt::Debug for Signer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Signer")
            .field("region", &self.region)
            .field("access_key", &self.keys.access_key)
            .finish_non_exhaustive()
    }
}

/// The keys of one section's role.
#[derive(Debug)]
pub(crate) struct RoleKeys {
    config: SigV4Config,
    // Held while they are asked for, so that one asks and others wait.
    kept: tokio::sync::Mutex<Option<Kept>>,
    // The same of the service at the machine's side: why there are none, and until when that counts.
    without: Mutex<Option<(String, i64)>>,
    // The region the machine is in, or why it is not known, and until when that counts.
    region: tokio::sync::Mutex<Option<(Result<String, String>, i64)>>,
}

#[derive(Debug)]
struct Kept {
    // How they were got, in text: what lies in files may lead elsewhere by now.
    way: String,
    keys: Keys,
    // When they expire, in milliseconds since the epoch.
    expires: i64,
}

/// The region of a section: its own, that of the environment or of the profile, or that of the machine this is.
///
/// # Errors
/// [`NetError::Sign`] tells where it was looked for.
pub async fn amazon_region(config: &SigV4Config, timeout: Duration) -> Result<String, NetError> {
    let keys = RoleKeys::shared(config);
    keys.region(&Source::new(config, &of_environment), timeout).await
}

fn of_environment(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

impl RoleKeys {
    /// Those of this section, the same for all that have it.
    pub(crate) fn shared(config: &SigV4Config) -> Arc<Self> {
        let mut roles = ROLES.lock();
        if let Some(found) = roles.iter().find(|role| role.config == *config) {
            return found.clone();
        }
        let role = Arc::new(Self {
            config: config.clone(),
            kept: tokio::sync::Mutex::default(),
            without: Mutex::default(),
            region: tokio::sync::Mutex::default(),
        });
        if roles.len() >= KEPT_ROLES
            && let Some(at) = roles.iter().position(|role| Arc::strong_count(role) == 1)
        {
            roles.remove(at);
        }
        roles.push(role.clone());
        role
    }

    /// Who signs: with the keys of the configuration, of the environment, of a token or of a profile, in this order, or with
    /// those that a role gets for them; where there are none, with those that a machine or container of Amazon's is handed.
    /// What lies in files is read each time. Whoever calls sets the deadline.
    ///
    /// # Errors
    /// [`NetError::Sign`] tells what is missing and where it was looked for, or why there is no role.
    pub(crate) async fn signer(&self, timeout: Duration) -> Result<Signer, NetError> {
        self.signer_of(&of_environment, timeout).await
    }

    async fn signer_of(
        &self,
        env: &(dyn Fn(&str) -> Option<String> + Sync),
        timeout: Duration,
    ) -> Result<Signer, NetError> {
        let source = Source::new(&self.config, env);
        let region = self.region(&source, timeout).await?;
        let keys = self.keys(&source, &region, timeout).await?;
        let service = match self.config.service_name.as_str() {
            "" => "aps",
            name => name,
        };
        Ok(Signer {
            region,
            service: service.to_owned(),
            keys,
        })
    }

    async fn region(&self, source: &Source<'_>, timeout: Duration) -> Result<String, NetError> {
        let missing = match source.region() {
            Ok(region) => return Ok(region),
            Err(missing) => missing,
        };
        let mut known = self.region.lock().await;
        let now = SystemClock.now_ms();
        let found = match known.take().filter(|(_, until)| now < *until) {
            Some(known) => known,
            None => match machine::region(source, timeout).await {
                Ok(region) => (Ok(region), i64::MAX),
                Err(why) => (Err(why), now + NO_KEYS_FOR_MS),
            },
        };
        let (region, _) = known.insert(found);
        region.clone().map_err(|why| besides(&missing, &why))
    }

    async fn keys(&self, source: &Source<'_>, region: &str, timeout: Duration) -> Result<Keys, NetError> {
        let way = source.way()?;
        if let (First::Keys(keys), []) = (&way.first, &way.roles[..]) {
            return Ok(keys.clone());
        }
        let shown = format!("{way:?}");
        let mut kept = self.kept.lock().await;
        if let Some(kept) = kept.as_ref().filter(|kept| kept.way == shown)
            && SystemClock.now_ms() + BEFORE_EXPIRY_MS < kept.expires
        {
            return Ok(kept.keys.clone());
        }
        let (mut keys, mut expires) = match way.first {
            First::Keys(keys) => (keys, i64::MAX),
            First::Token(role) => sts::assume(&role, None, source, region, timeout).await?,
            First::Process { profile, command } => {
                let got = process::keys(&command, timeout).await;
                got.map_err(|why| NetError::Sign(format!("credential_process of the profile {profile:?}: {why}")))?
            }
            First::Machine { place, missing } => {
                let got = self.keys_of_machine(place, source, timeout).await;
                got.map_err(|why| match missing {
                    Some(missing) => besides(&missing, &why),
                    None => NetError::Sign(why),
                })?
            }
        };
        for role in &way.roles {
            (keys, expires) = sts::assume(role, Some(&keys), source, region, timeout).await?;
        }
        *kept = Some(Kept {
            way: shown,
            keys: keys.clone(),
            expires,
        });
        Ok(keys)
    }

    // Why there are none is told for a while without asking again.
    async fn keys_of_machine(
        &self,
        place: Place,
        source: &Source<'_>,
        timeout: Duration,
    ) -> Result<(Keys, i64), String> {
        let now = SystemClock.now_ms();
        if let Some((why, _)) = self.without.lock().as_ref().filter(|(_, until)| now < *until) {
            return Err(why.clone());
        }
        let found = machine::keys(place, source, timeout).await;
        *self.without.lock() = found.as_ref().err().map(|why| (why.clone(), now + NO_KEYS_FOR_MS));
        found
    }
}

// What was missing, and what came of asking elsewhere.
fn besides(missing: &NetError, why: &str) -> NetError {
    NetError::Sign(format!("{}; {why}", missing.to_string().trim_start_matches("sigv4: ")))
}

impl Signer {
    /// Signs a request; `headers` have `Host` already.
    ///
    /// # Errors
    /// [`NetError::Sign`], where a key is no header value.
    pub(crate) fn sign(
        &self,
        method: &Method,
        url: &Uri,
        body: &[u8],
        headers: &mut HeaderMap,
    ) -> Result<(), NetError> {
        let time = jiff::Timestamp::from_millisecond(SystemClock.now_ms());
        let time = time.map_err(|error| NetError::Sign(error.to_string()))?;
        let time = time.strftime("%Y%m%dT%H%M%SZ").to_string();
        let host = headers.get(HOST).and_then(|value| value.to_str().ok());
        let signed = Signed {
            method: method.as_str(),
            host: host.unwrap_or_default(),
            path: url.path(),
            query: url.query().unwrap_or_default(),
            body,
            region: &self.region,
            service: &self.service,
            time: &time,
        };
        let authorization = self.keys.sign(&signed);
        for (name, value) in [
            (HeaderName::from_static("x-amz-date"), time),
            (
                HeaderName::from_static("x-amz-security-token"),
                self.keys.session_token.clone(),
            ),
            (AUTHORIZATION, authorization),
        ] {
            if value.is_empty() {
                continue;
            }
            let no_value = |_| NetError::Sign(format!("the value of {name} is no header value"));
            let mut value = HeaderValue::try_from(value).map_err(no_value)?;
            value.set_sensitive(true);
            headers.insert(name, value);
        }
        Ok(())
    }
}

#[derive(Clone)]
struct Keys {
    access_key: String,
    secret_key: String,
    // Of temporary keys; empty for others.
    session_token: String,
}

impl std::fmt::Debug for Keys {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Keys")
            .field("access_key", &self.access_key)
            .finish_non_exhaustive()
    }
}

struct Signed<'a> {
    method: &'a str,
    host: &'a str,
    // As in the request, escapes and all.
    path: &'a str,
    query: &'a str,
    body: &'a [u8],
    region: &'a str,
    service: &'a str,
    // `20150830T123600Z`
    time: &'a str,
}

impl Keys {
    // The value of `Authorization`. The request carries the time as `X-Amz-Date`, and the session token, where there is
    // one, as `X-Amz-Security-Token`.
    fn sign(&self, request: &Signed<'_>) -> String {
        let Signed {
            method,
            host,
            body,
            region,
            service,
            time,
            ..
        } = request;
        let (token, names) = match self.session_token.as_str() {
            "" => (String::new(), "host;x-amz-date"),
            token => (
                format!("x-amz-security-token:{token}\n"),
                "host;x-amz-date;x-amz-security-token",
            ),
        };
        let (path, query) = (canonical_path(request.path), canonical_query(request.query));
        let hash = hex(&Sha256::digest(body));
        let canonical = format!("{method}\n{path}\n{query}\nhost:{host}\nx-amz-date:{time}\n{token}\n{names}\n{hash}");
        let date = time.get(..8).unwrap_or_default();
        let scope = format!("{date}/{region}/{service}/aws4_request");
        let text = format!(
            "AWS4-HMAC-SHA256\n{time}\n{scope}\n{}",
            hex(&Sha256::digest(canonical.as_bytes()))
        );
        let mut key = hmac(format!("AWS4{}", self.secret_key).as_bytes(), date.as_bytes());
        for part in [region, service, "aws4_request"] {
            key = hmac(&key, part.as_bytes());
        }
        let signature = hex(&hmac(&key, text.as_bytes()));
        format!(
            "AWS4-HMAC-SHA256 Credential={}/{scope}, SignedHeaders={names}, Signature={signature}",
            self.access_key
        )
    }
}

// Without `.`, `..` and empty parts, and escaped once more: so all services but S3 read it.
fn canonical_path(path: &str) -> String {
    let mut parts: Vec<&str> = Vec::new();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." => {
                parts.pop();
            }
            part => parts.push(part),
        }
    }
    let mut out = String::new();
    for part in &parts {
        out.push('/');
        escape(part.as_bytes(), &mut out);
    }
    if out.is_empty() || ["/", "/.", "/.."].iter().any(|end| path.ends_with(end)) {
        out.push('/');
    }
    out
}

// Sorted by name, then by value, each escaped anew.
fn canonical_query(query: &str) -> String {
    let escaped = |text: &str| {
        let mut out = String::new();
        escape(&percent_decode(&text.replace('+', " ")), &mut out);
        out
    };
    let pairs = query.split('&').filter(|pair| !pair.is_empty());
    let mut pairs: Vec<(String, String)> = pairs
        .map(|pair| pair.split_once('=').unwrap_or((pair, "")))
        .map(|(name, value)| (escaped(name), escaped(value)))
        .collect();
    pairs.sort();
    let pairs: Vec<String> = pairs
        .into_iter()
        .map(|(name, value)| format!("{name}={value}"))
        .collect();
    pairs.join("&")
}

fn escape(bytes: &[u8], out: &mut String) {
    for byte in bytes {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => out.push(char::from(*byte)),
            byte => out.push_str(&format!("%{byte:02X}")),
        }
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

// RFC 2104 over SHA-256.
fn hmac(key: &[u8], text: &[u8]) -> Vec<u8> {
    const BLOCK: usize = 64;
    let mut block = [0_u8; BLOCK];
    let key = if key.len() > BLOCK {
        Sha256::digest(key).to_vec()
    } else {
        key.to_vec()
    };
    block.iter_mut().zip(&key).for_each(|(to, from)| *to = *from);
    let hash = |pad: u8, text: &[u8]| {
        let mut hash = Sha256::new();
        hash.update(block.map(|byte| byte ^ pad));
        hash.update(text);
        hash.finalize().to_vec()
    };
    hash(0x5c, &hash(0x36, text))
}

#[cfg(test)]
mod tests;
