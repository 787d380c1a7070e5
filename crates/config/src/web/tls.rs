//! `tls_server_config`.

use std::path::Path;

use crate::common::{Secret, SecretSource, TlsVersion};
use crate::error::ConfigError;
use crate::http::read_tls_version;
use crate::read::{Reader, Section};
use crate::yaml::{Node, Pos};

/// TLS of our own listeners.
#[derive(Debug, Clone)]
pub struct WebTls {
    /// Our certificate, and what leads from it to an authority.
    pub cert: WebPem,
    /// Its key.
    pub key: WebPem,
    /// What is asked of clients.
    pub client_auth: ClientAuth,
    /// Who may have issued their certificates; without it the system's authorities.
    pub client_ca: Option<WebPem>,
    /// One of these names must be in a client's certificate, exactly as it stands here.
    pub client_allowed_sans: Option<Vec<String>>,
    /// Suites of TLS 1.2, best first; `None` leaves them to the library. Those of TLS 1.3 are not configured, as in Go.
    pub cipher_suites: Option<Vec<CipherSuite>>,
    /// Groups of the key exchange, best first; `None` leaves them to the library.
    pub curves: Option<Vec<Curve>>,
    /// The lowest version: 1.2 or 1.3.
    pub min_version: TlsVersion,
    /// The highest version: 1.2 or 1.3.
    pub max_version: TlsVersion,
    /// Whether our order of suites counts, and not the client's.
    pub prefer_server_cipher_suites: bool,
}

/// PEM, in place or in a file that is read again when it changes.
#[derive(Debug, Clone)]
pub struct WebPem {
    /// Where it is. Inline text of a certificate is no secret, and kept like one.
    pub source: SecretSource,
    // The field, as an error that has no words yet.
    place: ConfigError,
}

impl WebPem {
    /// A mistake in this file, at the place of the configuration that names it.
    #[must_use]
    pub fn error(&self, message: impl Into<String>) -> ConfigError {
        ConfigError {
            message: message.into(),
            ..self.place.clone()
        }
    }

    /// The field's name: `cert_file`, or `cert` where it is in place.
    #[must_use]
    pub fn field(&self) -> &str {
        &self.place.message
    }

    /// The file, where it is not in place.
    #[must_use]
    pub fn path(&self) -> Option<&Path> {
        match &self.source {
            SecretSource::File(path) => Some(path),
            SecretSource::Inline(_) => None,
        }
    }
}

/// `client_auth_type`, as Go's `tls.ClientAuthType`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ClientAuth {
    /// `NoClientCert`, the default: no certificate is asked for.
    None,
    /// `RequestClientCert`: asked for, and neither needed nor looked at.
    Request,
    /// `RequireAnyClientCert`, also `RequireClientCert`: there must be one, whoever issued it.
    RequireAny,
    /// `VerifyClientCertIfGiven`
    VerifyIfGiven,
    /// `RequireAndVerifyClientCert`
    RequireAndVerify,
}

impl ClientAuth {
    fn parse(text: &str) -> Option<Self> {
        Some(match text {
            "" | "NoClientCert" => Self::None,
            "RequestClientCert" => Self::Request,
            "RequireAnyClientCert" | "RequireClientCert" => Self::RequireAny,
            "VerifyClientCertIfGiven" => Self::VerifyIfGiven,
            "RequireAndVerifyClientCert" => Self::RequireAndVerify,
            _ => return None,
        })
    }

    /// Whether there is no connection without a certificate.
    #[must_use]
    pub fn is_mandatory(self) -> bool {
        matches!(self, Self::RequireAny | Self::RequireAndVerify)
    }
}

/// Suites of TLS 1.2 that are both Go's and ours, under Go's names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CipherSuite {
    /// `TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256`
    EcdsaAes128,
    /// `TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384`
    EcdsaAes256,
    /// `TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256`
    EcdsaChaCha20,
    /// `TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256`
    RsaAes128,
    /// `TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384`
    RsaAes256,
    /// `TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256`
    RsaChaCha20,
}

/// Groups of the key exchange that are both Go's and ours.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Curve {
    /// `CurveP256`
    P256,
    /// `CurveP384`
    P384,
    /// `X25519`
    X25519,
    /// `X25519MLKEM768`, which is of TLS 1.3 only.
    X25519MlKem768,
}

// What Go's name stands for here.
#[derive(Clone, Copy)]
enum Known<T> {
    Usable(T),
    // Of TLS 1.3: taken, and without effect, as in Go.
    Fixed,
    // Nothing that our TLS library has.
    Absent,
}

// Go's `tls.CipherSuites()`, which leaves out what it calls insecure.
const CIPHER_SUITES: [(&str, Known<CipherSuite>); 13] = [
    ("TLS_AES_128_GCM_SHA256", Known::Fixed),
    ("TLS_AES_256_GCM_SHA384", Known::Fixed),
    ("TLS_CHACHA20_POLY1305_SHA256", Known::Fixed),
    ("TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA", Known::Absent),
    ("TLS_ECDHE_ECDSA_WITH_AES_256_CBC_SHA", Known::Absent),
    ("TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA", Known::Absent),
    ("TLS_ECDHE_RSA_WITH_AES_256_CBC_SHA", Known::Absent),
    (
        "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256",
        Known::Usable(CipherSuite::EcdsaAes128),
    ),
    (
        "TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384",
        Known::Usable(CipherSuite::EcdsaAes256),
    ),
    (
        "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256",
        Known::Usable(CipherSuite::RsaAes128),
    ),
    (
        "TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384",
        Known::Usable(CipherSuite::RsaAes256),
    ),
    (
        "TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256",
        Known::Usable(CipherSuite::RsaChaCha20),
    ),
    (
        "TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256",
        Known::Usable(CipherSuite::EcdsaChaCha20),
    ),
];
const CURVES: [(&str, Known<Curve>); 5] = [
    ("CurveP256", Known::Usable(Curve::P256)),
    ("CurveP384", Known::Usable(Curve::P384)),
    ("CurveP521", Known::Absent),
    ("X25519", Known::Usable(Curve::X25519)),
    ("X25519MLKEM768", Known::Usable(Curve::X25519MlKem768)),
];

/// Reads the section, which begins at `pos`; `None` where it asks for no TLS, or for nothing that can be done.
pub(crate) fn read(reader: &Reader<'_>, pos: Pos, node: &Node, http2: bool) -> Option<WebTls> {
    let section = reader.section(node, "web.TLSConfig");
    if let Some(node) = section.get("key") {
        reader.mark_secret(node);
    }
    let cert = read_pem(&section, "cert", "cert_file");
    let key = read_pem(&section, "key", "key_file");
    let client_ca = read_pem(&section, "client_ca", "client_ca_file");
    let client_auth = read_client_auth(&section);
    let has_policy = section.filled_text("client_auth_type").is_some();
    let client_allowed_sans = section.get("client_allowed_sans").map(|node| reader.texts(node));
    let (min_version, max_version) = read_versions(&section);
    let cipher_suites = read_suites(&section, min_version, max_version, http2);
    let curves = read_list(&section, "curve_preferences", "curve", "[]web.Curve", &CURVES);
    let prefer_server_cipher_suites = section.bool("prefer_server_cipher_suites").unwrap_or(true);
    let is_enabled = cert.is_some() || key.is_some() || client_ca.is_some() || has_policy;
    if is_enabled {
        if cert.is_none() {
            reader.error(pos, "missing one of cert or cert_file");
        }
        if key.is_none() {
            reader.error(pos, "missing one of key or key_file");
        }
        if let Some(ca) = &client_ca
            && client_auth == ClientAuth::None
        {
            let message = "client CA's have been configured without a Client Auth Policy";
            reader.add_errors([ca.error(message)]);
        }
        if client_allowed_sans.is_some() && !client_auth.is_mandatory() {
            section.error_at(
                "client_allowed_sans",
                "client_allowed_sans requires client_auth_type to be one of RequireAnyClientCert or \
                 RequireAndVerifyClientCert",
            );
        }
    } else {
        reader.warn(
            pos,
            "tls_server_config without cert and key has no effect: there is no TLS",
        );
    }
    section.finish();
    Some(WebTls {
        cert: cert?,
        key: key?,
        client_auth,
        client_ca,
        client_allowed_sans,
        cipher_suites,
        curves,
        min_version,
        max_version,
        prefer_server_cipher_suites,
    })
}

// As upstream: the file counts where both are given.
fn read_pem(section: &Section<'_>, inline: &'static str, file: &'static str) -> Option<WebPem> {
    let (text, path) = (section.filled_text(inline), section.path(file));
    if text.is_some() && path.is_some() {
        let message = format!("{inline} has no effect beside {file}");
        section.reader.warn(section.key_pos(inline), message);
    }
    let place = |name: &str| section.reader.place(section.key_pos(name), name, None);
    match (path, text) {
        (Some(path), _) => Some(WebPem {
            source: SecretSource::File(path),
            place: place(file),
        }),
        (None, Some(text)) => Some(WebPem {
            source: SecretSource::Inline(Secret::new(text)),
            place: place(inline),
        }),
        (None, None) => None,
    }
}

fn read_client_auth(section: &Section<'_>) -> ClientAuth {
    let text = section.text("client_auth_type").unwrap_or_default();
    ClientAuth::parse(&text).unwrap_or_else(|| {
        section.reader.error_hint(
            section.key_pos("client_auth_type"),
            format!("invalid ClientAuth: {text}"),
            "one of NoClientCert, RequestClientCert, RequireAnyClientCert, VerifyClientCertIfGiven, \
             RequireAndVerifyClientCert",
        );
        ClientAuth::None
    })
}

fn read_versions(section: &Section<'_>) -> (TlsVersion, TlsVersion) {
    let min = read_tls_version(section, "min_version").unwrap_or(TlsVersion::Tls12);
    let max = read_tls_version(section, "max_version").unwrap_or(TlsVersion::Tls13);
    if min < TlsVersion::Tls12 {
        section.warn_without_effect("min_version", "TLS older than 1.2 is never accepted");
    }
    if max < TlsVersion::Tls12 {
        section.error_at("max_version", "TLS older than 1.2 is not supported by this version");
    } else if max < min {
        section.error_at(
            "max_version",
            "tls: no supported versions satisfy MinVersion and MaxVersion",
        );
    }
    (min.max(TlsVersion::Tls12), max.max(TlsVersion::Tls12))
}

fn read_suites(
    section: &Section<'_>,
    min_version: TlsVersion,
    max_version: TlsVersion,
    http2: bool,
) -> Option<Vec<CipherSuite>> {
    let suites = read_list(section, "cipher_suites", "cipher", "[]web.Cipher", &CIPHER_SUITES)?;
    if !section.reader.is_clean() || min_version > TlsVersion::Tls12 {
        return Some(suites);
    }
    // HTTP/2 over TLS 1.2 needs one of the two (RFC 9113, 9.2.2); Go does not start without them.
    let has_common = suites
        .iter()
        .any(|suite| matches!(suite, CipherSuite::EcdsaAes128 | CipherSuite::RsaAes128));
    let pos = section.key_pos("cipher_suites");
    if http2 && !has_common {
        section.reader.error_hint(
            pos,
            "http2: TLSConfig.CipherSuites is missing an HTTP/2-required AES_128_GCM_SHA256 cipher (need at least one of \
             TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256 or TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256)",
            "or set http2: false below http_server_config",
        );
    } else if suites.is_empty() && max_version == TlsVersion::Tls12 {
        let message = "none of the cipher_suites is of TLS 1.2, which is the highest version allowed";
        section.reader.error(pos, message);
    }
    Some(suites)
}

// `None` where the list is absent or empty, which leaves the choice to the library. What the library does not have narrows
// the choice where there are others, and is a mistake where it is all there is.
fn read_list<T: Copy>(
    section: &Section<'_>,
    name: &'static str,
    kind: &str,
    wanted: &str,
    known: &[(&str, Known<T>)],
) -> Option<Vec<T>> {
    let reader = section.reader;
    let nodes = section.items(name, wanted, "");
    if nodes.is_empty() {
        return None;
    }
    let (mut usable, mut fixed, mut absent) = (Vec::new(), false, Vec::new());
    for node in nodes {
        let Some(text) = reader.text(node) else { continue };
        match known.iter().find(|(name, _)| *name == text) {
            Some((_, Known::Usable(value))) => usable.push(*value),
            Some((_, Known::Fixed)) => fixed = true,
            Some((_, Known::Absent)) => absent.push((node.pos, text)),
            None => {
                let names: Vec<&str> = known
                    .iter()
                    .filter(|(_, known)| !matches!(known, Known::Absent))
                    .map(|(name, _)| *name)
                    .collect();
                let message = format!("unknown {kind}: {text}");
                reader.error_hint(node.pos, message, format!("one of {}", names.join(", ")));
            }
        }
    }
    for (pos, text) in absent {
        if usable.is_empty() && !fixed {
            reader.error(pos, format!("{kind} {text} is not supported by this version"));
        } else {
            let message = format!("{kind} {text} is not supported by this version and never used");
            reader.warn(pos, message);
        }
    }
    Some(usable)
}
