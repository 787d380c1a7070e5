//! Types that prometheus.yml and alertmanager.yml share: secrets, sizes, and how to speak HTTP to a peer.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;

use crate::alertmanager::Anything;

/// A text that must never be shown. `Debug` and `Display` print `<secret>`; only [`Secret::expose`] gives the text.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct Secret(String);

impl Secret {
    /// Wraps a text.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The text itself. Use it to speak to the peer, never to print.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("<secret>")
    }
}

impl fmt::Display for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("<secret>")
    }
}

/// A secret given in place or through a file that is read again at each use (so that a rotated secret is picked up).
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SecretSource {
    /// The text itself.
    Inline(Secret),
    /// A file that holds it; relative paths are already joined to the configuration file's folder. Trim surrounding
    /// white space after reading.
    File(PathBuf),
}

/// A number of bytes; configuration writes `15MB`, with base 1024.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, Hash)]
pub struct ByteSize(pub u64);

impl ByteSize {
    /// Parses `512`, `512B`, `15MB`, `1.5GB`, `1GiB` (Prometheus: units.ParseBase2Bytes); `None` where it is none.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let digits = text
            .find(|c: char| !c.is_ascii_digit() && c != '.')
            .unwrap_or(text.len());
        let (number, unit) = text.split_at(digits);
        let shift = match unit.strip_suffix("iB").or_else(|| unit.strip_suffix('B'))? {
            "" => 0,
            "K" => 10,
            "M" => 20,
            "G" => 30,
            "T" => 40,
            "P" => 50,
            "E" => 60,
            _ => return None,
        };
        if let Ok(whole) = number.parse::<u64>() {
            return whole
                .checked_mul(1 << shift)
                .filter(|bytes| i64::try_from(*bytes).is_ok())
                .map(Self);
        }
        let bytes = number.parse::<f64>().ok()? * (1_u64 << shift) as f64;
        (bytes.is_finite() && bytes < i64::MAX as f64).then_some(Self(bytes as u64))
    }
}

impl fmt::Display for ByteSize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (shift, unit) in [(60, "EB"), (50, "PB"), (40, "TB"), (30, "GB"), (20, "MB"), (10, "KB")] {
            if self.0 != 0 && self.0.trailing_zeros() >= shift {
                return write!(f, "{}{unit}", self.0 >> shift);
            }
        }
        write!(f, "{}B", self.0)
    }
}

/// Which names of metrics and labels are valid.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum NameScheme {
    /// Any non-empty UTF-8 text; Prometheus 3's default.
    #[default]
    Utf8,
    /// `[a-zA-Z_:][a-zA-Z0-9_:]*`.
    Legacy,
}

/// `http` or `https`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Hash)]
pub enum Scheme {
    /// Plain text.
    #[default]
    Http,
    /// TLS.
    Https,
}

impl Scheme {
    /// As written in a URL.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Https => "https",
        }
    }
}

/// How to speak HTTP to a peer: Prometheus's `<http_config>`. The default speaks plainly and follows redirects.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HttpClientConfig {
    /// The one kind of authentication that is configured, if any (they exclude each other).
    pub auth: Option<Auth>,
    /// Whether redirects are followed. Credentials are dropped on the way to another host.
    pub follow_redirects: bool,
    /// Whether HTTP/2 may be offered over TLS.
    pub enable_http2: bool,
    /// TLS settings; [`TlsConfig::default`] verifies against the system's roots.
    pub tls: TlsConfig,
    /// Further headers, by name.
    pub http_headers: BTreeMap<String, HeaderValues>,
    /// Whether and how to go through a proxy.
    pub proxy: ProxyConfig,
}

impl Default for HttpClientConfig {
    fn default() -> Self {
        Self {
            auth: None,
            follow_redirects: true,
            enable_http2: true,
            tls: TlsConfig::default(),
            http_headers: BTreeMap::new(),
            proxy: ProxyConfig::default(),
        }
    }
}

/// Which proxy requests go through. The default is none.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ProxyConfig {
    /// The proxy's URL; secret, since it may hold a password. Excludes `from_environment`.
    pub url: Option<Secret>,
    /// Hosts, domains, addresses and networks that are spoken to directly, with commas between; comes with `url`.
    pub no_proxy: String,
    /// Take `HTTP_PROXY`, `HTTPS_PROXY` and `NO_PROXY`.
    pub from_environment: bool,
    /// Headers of the `CONNECT` request, by name.
    pub connect_header: BTreeMap<String, Vec<Secret>>,
}

impl ProxyConfig {
    /// Whether a proxy may be used.
    #[must_use]
    pub fn is_used(&self) -> bool {
        self.url.is_some() || self.from_environment
    }
}

/// `oauth2:`: a token is fetched from `token_url` and sent as `Authorization: Bearer`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct OAuth2Config {
    /// Never empty.
    pub client_id: String,
    /// In place or in a file; sent with `grant_type` `client_credentials`.
    pub client_secret: Option<SecretSource>,
    /// How the token is asked for.
    pub grant_type: GrantType,
    /// What is traded for a token; for [`GrantType::RefreshToken`].
    pub refresh_token: Option<Secret>,
    /// The private key that signs the assertion, PEM; for [`GrantType::JwtBearer`] and [`GrantType::ServiceAccount`].
    pub client_certificate_key: Option<SecretSource>,
    /// The key's id, for the assertion's header.
    pub client_certificate_key_id: String,
    /// `RS256`, `RS384` or `RS512`.
    pub signature_algorithm: String,
    /// Issuer of the assertion; empty means `client_id`.
    pub iss: String,
    /// Audience of the assertion; empty means `token_url`.
    pub audience: String,
    /// Further claims of the assertion.
    pub claims: BTreeMap<String, Anything>,
    /// Scopes to ask for.
    pub scopes: Vec<String>,
    /// Where the token is fetched. Never empty.
    pub token_url: String,
    /// Further parameters of the token request.
    pub endpoint_params: BTreeMap<String, String>,
    /// TLS towards `token_url`.
    pub tls: TlsConfig,
    /// Proxy towards `token_url`.
    pub proxy: ProxyConfig,
}

/// `oauth2.grant_type`
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum GrantType {
    /// `client_credentials`
    #[default]
    ClientCredentials,
    /// `urn:ietf:params:oauth:grant-type:jwt-bearer`
    JwtBearer,
    /// `client_credentials` with a token of another identity instead of a secret; that is in `client_secret`. What Azure calls
    /// a workload identity; cannot be written in `oauth2:`.
    ClientAssertion,
    /// A plain GET of `token_url`, which only this machine can make. What Azure calls a managed identity; cannot be written in
    /// `oauth2:`.
    OfMachine,
    /// As [`GrantType::JwtBearer`], with the claims of Google's service accounts: no subject, no id, an hour long. Cannot be
    /// written in `oauth2:`, nor can the next two.
    ServiceAccount,
    /// `refresh_token`, as a user of Google's has one.
    RefreshToken,
    /// As [`GrantType::OfMachine`], of a machine of Google's.
    OfGoogleMachine,
}

/// `sigv4:`; what is empty is taken from the environment.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct SigV4Config {
    /// Empty means the environment's.
    pub region: String,
    /// Comes together with `secret_key`.
    pub access_key: String,
    /// Comes together with `access_key`.
    pub secret_key: Option<Secret>,
    /// Named profile of the shared credentials.
    pub profile: String,
    /// Role to assume.
    pub role_arn: String,
    /// External id of the role.
    pub external_id: String,
    /// Ask the token service's FIPS endpoint.
    pub use_fips_sts_endpoint: bool,
    /// Service name of the signature; empty means `aps`.
    pub service_name: String,
}

/// How to authenticate. The legacy `bearer_token` is read as `Authorization` of type `Bearer`, as upstream does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Auth {
    /// `Authorization: Basic …`.
    Basic {
        /// In place or in a file; `None` means the empty name.
        username: Option<SecretSource>,
        /// In place or in a file; `None` means the empty password.
        password: Option<SecretSource>,
    },
    /// `Authorization: <kind> <credentials>`.
    Authorization {
        /// `Bearer` unless configured otherwise; never `Basic`.
        kind: String,
        /// What follows; `None` sends no header.
        credentials: Option<SecretSource>,
    },
    /// A token that is fetched first and again before it expires.
    OAuth2(Box<OAuth2Config>),
    /// Each request is signed as Amazon's services ask for it. Stands outside of `<http_config>`, where upstream has it.
    SigV4(Box<SigV4Config>),
    /// A token of Google's: of the credentials in this file, or those that Google's own libraries find. Stands outside of
    /// `<http_config>`, too.
    GoogleIam(Option<PathBuf>),
}

/// The values of one configured header; all are sent, in this order.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct HeaderValues {
    /// Plain values.
    pub values: Vec<String>,
    /// Values that must not be shown.
    pub secrets: Vec<Secret>,
    /// Files whose trimmed content is a value, read at each use.
    pub files: Vec<PathBuf>,
}

/// TLS towards a peer.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct TlsConfig {
    /// Roots to trust instead of the system's, PEM.
    pub ca: Option<PemSource>,
    /// Our certificate, PEM; comes together with `key`.
    pub cert: Option<PemSource>,
    /// The key of `cert`, PEM.
    pub key: Option<SecretSource>,
    /// The name to ask for and to verify; `None` takes the URL's host.
    pub server_name: Option<String>,
    /// Accept any certificate.
    pub insecure_skip_verify: bool,
    /// Lowest version to accept; `None` means TLS 1.2.
    pub min_version: Option<TlsVersion>,
    /// Highest version to offer; `None` means the newest.
    pub max_version: Option<TlsVersion>,
}

/// PEM text in place or in a file that is read again at each new connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PemSource {
    /// The text itself.
    Inline(String),
    /// A file; relative paths are already joined to the configuration file's folder.
    File(PathBuf),
}

/// Versions of TLS in ascending order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum TlsVersion {
    /// `TLS10`; not offered by our TLS library, so 1.2 is the floor in effect.
    Tls10,
    /// `TLS11`; as above.
    Tls11,
    /// `TLS12`
    Tls12,
    /// `TLS13`
    Tls13,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_count_in_1024() {
        for (text, bytes) in [
            ("0B", 0),
            ("1KB", 1024),
            ("15MB", 15 << 20),
            ("1GiB", 1 << 30),
            ("1.5KB", 1536),
        ] {
            assert_eq!(ByteSize::parse(text), Some(ByteSize(bytes)), "{text}");
        }
        for text in ["", "MB", "1X", "-1MB", "1 MB", "9999999EB", "1.2.3KB", "15"] {
            assert_eq!(ByteSize::parse(text), None, "{text}");
        }
        assert_eq!(ByteSize(15 << 20).to_string(), "15MB");
        assert_eq!(ByteSize(1000).to_string(), "1000B");
        assert_eq!(ByteSize(0).to_string(), "0B");
    }

    #[test]
    fn a_secret_is_never_printed() {
        let secret = Secret::new("hunter2");
        assert_eq!(
            format!("{secret} {secret:?} {:?}", SecretSource::Inline(secret.clone())),
            "<secret> <secret> Inline(<secret>)"
        );
        assert_eq!(secret.expose(), "hunter2");
    }
}
