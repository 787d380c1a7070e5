//! AWS signature version 4, and where its keys come from.

use std::path::Path;

use cupola_config::common::SigV4Config;
use cupola_env::{Clock as _, SystemClock};
use http::header::{AUTHORIZATION, HOST, HeaderName, HeaderValue};
use http::{HeaderMap, Method, Uri};
use sha2::{Digest as _, Sha256};

use crate::NetError;
use crate::proxy::percent_decode;

/// Signs a request with the keys of the configuration, of a profile, or of the environment, in this order; `headers`
/// have `Host` already. What lies in files is read each time.
///
/// # Errors
/// [`NetError::Sign`] tells what is missing and where it was looked for.
pub(crate) fn sign(
    config: &SigV4Config,
    method: &Method,
    url: &Uri,
    body: &[u8],
    headers: &mut HeaderMap,
) -> Result<(), NetError> {
    let env = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
    let source = Source::new(config, &env);
    let (region, keys) = (source.region()?, source.keys()?);
    let time = jiff::Timestamp::from_millisecond(SystemClock.now_ms());
    let time = time.map_err(|error| NetError::Sign(error.to_string()))?;
    let time = time.strftime("%Y%m%dT%H%M%SZ").to_string();
    let host = headers
        .get(HOST)
        .and_then(|value| value.to_str().ok())
        .unwrap_or_default();
    let signed = Signed {
        method: method.as_str(),
        host,
        path: url.path(),
        query: url.query().unwrap_or_default(),
        body,
        region: &region,
        service: match config.service_name.as_str() {
            "" => "aps",
            name => name,
        },
        time: &time,
    };
    let authorization = keys.sign(&signed);
    for (name, value) in [
        (HeaderName::from_static("x-amz-date"), time),
        (HeaderName::from_static("x-amz-security-token"), keys.session_token),
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

// Where region and keys come from: what Amazon's own libraries look at, as far as it is there at once. Roles and the
// services that hand out keys would have to be asked first.
struct Source<'a> {
    config: &'a SigV4Config,
    env: &'a dyn Fn(&str) -> Option<String>,
    profile: String,
}

impl<'a> Source<'a> {
    fn new(config: &'a SigV4Config, env: &'a dyn Fn(&str) -> Option<String>) -> Self {
        let profile = match config.profile.as_str() {
            "" => env("AWS_PROFILE").unwrap_or_else(|| "default".to_owned()),
            profile => profile.to_owned(),
        };
        Self { config, env, profile }
    }

    fn region(&self) -> Result<String, NetError> {
        let given = Some(self.config.region.clone()).filter(|region| !region.is_empty());
        let found = given
            .or_else(|| (self.env)("AWS_REGION"))
            .or_else(|| (self.env)("AWS_DEFAULT_REGION"))
            .or_else(|| self.of_profile("region"));
        found.ok_or_else(|| {
            NetError::Sign(format!(
                "there is no region, neither in sigv4.region nor in AWS_REGION nor in the profile {:?}",
                self.profile
            ))
        })
    }

    fn keys(&self) -> Result<Keys, NetError> {
        if let Some(secret) = &self.config.secret_key {
            return Ok(Keys {
                access_key: self.config.access_key.clone(),
                secret_key: secret.expose().to_owned(),
                session_token: String::new(),
            });
        }
        let has_profile = !self.config.profile.is_empty();
        let of_env = (self.env)("AWS_ACCESS_KEY_ID").zip((self.env)("AWS_SECRET_ACCESS_KEY"));
        if let Some((access_key, secret_key)) = of_env.filter(|_| !has_profile) {
            return Ok(Keys {
                access_key,
                secret_key,
                session_token: (self.env)("AWS_SESSION_TOKEN").unwrap_or_default(),
            });
        }
        let missing = |what: &str| {
            let profile = &self.profile;
            if self.of_profile("role_arn").is_some() {
                return NetError::Sign(format!(
                    "profile {profile:?} assumes a role, which is not supported by this version; give it keys of its own"
                ));
            }
            let names = ["AWS_WEB_IDENTITY_TOKEN_FILE", "AWS_CONTAINER_CREDENTIALS_FULL_URI"];
            let other = names.into_iter().find(|name| (self.env)(name).is_some());
            let other = other.map_or(String::new(), |name| {
                format!("; {name} is not supported by this version")
            });
            let places = match has_profile {
                true => "",
                false => ", and there are no keys in sigv4 or in AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY",
            };
            NetError::Sign(format!("profile {profile:?} has no {what}{places}{other}"))
        };
        let field = |name: &str| self.of_profile(name).ok_or_else(|| missing(name));
        Ok(Keys {
            access_key: field("aws_access_key_id")?,
            secret_key: field("aws_secret_access_key")?,
            session_token: self.of_profile("aws_session_token").unwrap_or_default(),
        })
    }

    // Of the shared credentials, else of the shared configuration.
    fn of_profile(&self, key: &str) -> Option<String> {
        let path = |variable: &str, name: &str| {
            (self.env)(variable).or_else(|| Some(format!("{}/.aws/{name}", (self.env)("HOME")?)))
        };
        let profile = self.profile.as_str();
        let section = match profile {
            "default" => "default".to_owned(),
            _ => format!("profile {profile}"),
        };
        let of_credentials = path("AWS_SHARED_CREDENTIALS_FILE", "credentials");
        of_credentials
            .and_then(|file| lookup(Path::new(&file), profile, key))
            .or_else(|| lookup(Path::new(&path("AWS_CONFIG_FILE", "config")?), &section, key))
    }
}

// A value of an INI file. A file that cannot be read has none.
fn lookup(file: &Path, section: &str, key: &str) -> Option<String> {
    let text = std::fs::read_to_string(file).ok()?;
    let mut is_inside = false;
    for line in text.lines().map(str::trim) {
        if let Some(name) = line.strip_prefix('[').and_then(|line| line.strip_suffix(']')) {
            is_inside = name.trim() == section;
        } else if is_inside
            && let Some((name, value)) = line.split_once('=')
            && name.trim() == key
        {
            return Some(value.trim().to_owned()).filter(|value| !value.is_empty());
        }
    }
    None
}

struct Keys {
    access_key: String,
    secret_key: String,
    // Of temporary keys; empty for others.
    session_token: String,
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
mod tests {
    use super::*;
    use cupola_config::common::Secret;

    #[test]
    fn hmacs_are_those_of_rfc_4231() {
        let mac = hmac(b"Jefe", b"what do ya want for nothing?");
        assert_eq!(
            hex(&mac),
            "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843"
        );
        let mac = hmac(&[0xaa; 131], b"Test Using Larger Than Block-Size Key - Hash Key First");
        assert_eq!(
            hex(&mac),
            "60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54"
        );
    }

    // "get-vanilla" of Amazon's own cases.
    #[test]
    fn a_signature_is_amazons() {
        let keys = Keys {
            access_key: "AKIDEXAMPLE".to_owned(),
            secret_key: "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY".to_owned(),
            session_token: String::new(),
        };
        let signature = |path: &str, query: &str| {
            let request = Signed {
                method: "GET",
                host: "example.amazonaws.com",
                path,
                query,
                body: b"",
                region: "us-east-1",
                service: "service",
                time: "20150830T123600Z",
            };
            let value = keys.sign(&request);
            let rest = value.strip_prefix(
                "AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20150830/us-east-1/service/aws4_request, \
                 SignedHeaders=host;x-amz-date, Signature=",
            );
            rest.unwrap().to_owned()
        };
        let vanilla = "5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31";
        for path in ["/", "", "//", "/./", "/example/..", "/a/b/../../"] {
            assert_eq!(signature(path, ""), vanilla, "{path}");
        }
        // "get-vanilla-query-order-key-case".
        let ordered = "b97d918cfa904a5beff61c982a1b6f458b799221646efd99d3219ec94cdf2500";
        for query in ["Param1=value1&Param2=value2", "Param2=value2&Param1=value1"] {
            assert_eq!(signature("/", query), ordered, "{query}");
        }
    }

    fn config() -> SigV4Config {
        SigV4Config {
            region: "eu-north-1".to_owned(),
            access_key: "AK".to_owned(),
            secret_key: Some(Secret::new("hunter2")),
            ..SigV4Config::default()
        }
    }

    #[test]
    fn a_request_is_given_what_the_signature_needs() {
        let url = "https://h:8443/workspaces/w/api/v1/remote_write".parse().unwrap();
        let mut headers = HeaderMap::new();
        headers.insert(HOST, HeaderValue::from_static("h:8443"));
        sign(&config(), &Method::POST, &url, b"body", &mut headers).unwrap();
        let text = |name: &str| headers[name].to_str().unwrap();
        assert_eq!(text("x-amz-date").len(), "20150830T123600Z".len());
        let day = &text("x-amz-date")[..8];
        let begin = format!("AWS4-HMAC-SHA256 Credential=AK/{day}/eu-north-1/aps/aws4_request, ");
        assert!(text("authorization").starts_with(&begin), "{headers:?}");
        assert!(!format!("{headers:?}").contains("hunter2"));
    }

    #[test]
    fn keys_are_looked_for_as_amazons_own_tools_do() {
        let dir = tempfile::tempdir().unwrap();
        let path = |name: &str| dir.path().join(name).display().to_string();
        std::fs::write(
            path("credentials"),
            "# comment\n[default]\naws_access_key_id = D\naws_secret_access_key=d\n\n[ team ]\n\
             aws_access_key_id=T\naws_secret_access_key=t=t\naws_session_token = s\n[half]\naws_access_key_id=H\n",
        )
        .unwrap();
        std::fs::write(
            path("config"),
            "[default]\nregion = eu-1\n[profile team]\nregion=eu-2\n[profile role]\nrole_arn=arn:x\n",
        )
        .unwrap();
        let files = [
            ("AWS_SHARED_CREDENTIALS_FILE", path("credentials")),
            ("AWS_CONFIG_FILE", path("config")),
        ];
        let of = |config: &SigV4Config, more: &[(&str, &str)]| {
            let env = |name: &str| {
                let file = files.iter().find(|(n, _)| *n == name).map(|(_, v)| v.clone());
                file.or_else(|| more.iter().find(|(n, _)| *n == name).map(|(_, v)| (*v).to_owned()))
            };
            let source = Source::new(config, &env);
            let keys = source
                .keys()
                .map(|k| format!("{}:{}:{}", k.access_key, k.secret_key, k.session_token));
            (
                source.region().map_err(|e| e.to_string()),
                keys.map_err(|e| e.to_string()),
            )
        };
        let ok = |region: &str, keys: &str| (Ok(region.to_owned()), Ok(keys.to_owned()));
        assert_eq!(of(&config(), &[]), ok("eu-north-1", "AK:hunter2:"));
        let empty = SigV4Config::default();
        assert_eq!(of(&empty, &[]), ok("eu-1", "D:d:"));
        assert_eq!(of(&empty, &[("AWS_PROFILE", "team")]), ok("eu-2", "T:t=t:s"));
        let from_env = [
            ("AWS_ACCESS_KEY_ID", "E"),
            ("AWS_SECRET_ACCESS_KEY", "e"),
            ("AWS_REGION", "eu-3"),
        ];
        assert_eq!(of(&empty, &from_env), ok("eu-3", "E:e:"));
        let team = SigV4Config {
            profile: "team".to_owned(),
            ..SigV4Config::default()
        };
        assert_eq!(of(&team, &from_env), ok("eu-3", "T:t=t:s"));
        for (profile, why) in [
            ("half", "profile \"half\" has no aws_secret_access_key"),
            ("nobody", "profile \"nobody\" has no aws_access_key_id"),
            (
                "role",
                "profile \"role\" assumes a role, which is not supported by this version",
            ),
        ] {
            let config = SigV4Config {
                profile: profile.to_owned(),
                ..SigV4Config::default()
            };
            let (_, keys) = of(&config, &[]);
            assert!(keys.as_ref().unwrap_err().contains(why), "{keys:?}");
        }
    }

    #[test]
    fn without_keys_it_is_told_where_they_were_looked_for() {
        let env = |name: &str| (name == "AWS_WEB_IDENTITY_TOKEN_FILE").then(|| "/t".to_owned());
        let error = Source::new(&SigV4Config::default(), &env)
            .keys()
            .err()
            .unwrap()
            .to_string();
        assert!(
            error.contains("AWS_ACCESS_KEY_ID") && error.contains("AWS_WEB_IDENTITY_TOKEN_FILE"),
            "{error}"
        );
        let error = Source::new(&SigV4Config::default(), &env)
            .region()
            .unwrap_err()
            .to_string();
        assert!(error.contains("AWS_REGION"), "{error}");
    }

    #[test]
    fn paths_and_queries_are_written_as_amazon_reads_them() {
        assert_eq!(canonical_path("/a%20b/c"), "/a%2520b/c");
        assert_eq!(canonical_path("/a/../../b/./c//d/"), "/b/c/d/");
        assert_eq!(canonical_query("b=2&a=x%2fy&a=+&c"), "a=%20&a=x%2Fy&b=2&c=");
        assert_eq!(canonical_query("q=%E2%98%83~&bad=%zz"), "bad=%25zz&q=%E2%98%83~");
    }
}
