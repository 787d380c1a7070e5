//! TLS as a server: what `tls_server_config` of a web configuration asks for.

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use cupola_config::common::{SecretSource, TlsVersion};
use cupola_config::web::{CipherSuite, ClientAuth, Curve, WebPem, WebTls};
use cupola_config::{ConfigError, ConfigErrors};
use rustls::client::danger::HandshakeSignatureValid;
use rustls::crypto::aws_lc_rs::{self, cipher_suite, kx_group};
use rustls::crypto::{CryptoProvider, SupportedKxGroup, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, UnixTime};
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{
    CertificateError, DigitallySignedStruct, DistinguishedName, OtherError, RootCertStore, ServerConfig,
    SignatureScheme, SupportedCipherSuite,
};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;

use crate::encrypted::{Encrypted, HTTP2};
use crate::san::subject_alt_names;

const HTTP1: &[u8] = b"http/1.1";
// What Go's server says to whoever speaks HTTP where it expects TLS.
const PLAIN_HTTP: &[u8] = b"HTTP/1.0 400 Bad Request\r\n\r\nClient sent an HTTP request to an HTTPS server.\n";

// How long, and for how many pieces of 4 KiB, a client is listened to that was refused.
const LINGER: Duration = Duration::from_secs(1);
const MOST_UNREAD: usize = 64;

/// Reads a file; the text of an error names it.
pub type ReadFile<'a> = &'a dyn Fn(&Path) -> Result<Vec<u8>, String>;

/// How our own listeners speak TLS. Cloning shares it.
#[derive(Clone)]
pub struct ServerTls(TlsAcceptor);

impl ServerTls {
    /// Loads certificate, key and authorities; `http2` says whether HTTP/2 is offered.
    ///
    /// # Errors
    /// What of them cannot be used, at the place of the configuration that names it; in exporter-toolkit's words.
    pub fn load(tls: &WebTls, http2: bool, read: ReadFile<'_>) -> Result<Self, ConfigErrors> {
        let config = Self::build(tls, http2, read)?;
        Ok(Self(TlsAcceptor::from(Arc::new(config))))
    }

    fn build(tls: &WebTls, http2: bool, read: ReadFile<'_>) -> Result<ServerConfig, ConfigError> {
        let provider = Arc::new(provider(tls));
        let all = [
            (TlsVersion::Tls13, &rustls::version::TLS13),
            (TlsVersion::Tls12, &rustls::version::TLS12),
        ];
        let versions: Vec<_> = all
            .into_iter()
            .filter(|(version, _)| (tls.min_version..=tls.max_version).contains(version))
            .map(|(_, version)| version)
            .collect();
        let builder = ServerConfig::builder_with_provider(provider.clone())
            .with_protocol_versions(&versions)
            .map_err(|e| tls.cert.error(e.to_string()))?;
        let builder = match clients(tls, provider, read)? {
            None => builder.with_no_client_auth(),
            Some(verifier) => builder.with_client_cert_verifier(verifier),
        };
        let chain = certificates(&tls.cert, &pem(&tls.cert, read)?)?;
        if chain.is_empty() {
            return Err(key_pair(
                &tls.cert,
                "tls: failed to find any PEM data in certificate input",
            ));
        }
        let key = PrivateKeyDer::from_pem_slice(&pem(&tls.key, read)?).map_err(|e| match e {
            rustls::pki_types::pem::Error::NoItemsFound => {
                key_pair(&tls.key, "tls: failed to find any PEM data in key input")
            }
            other => key_pair(&tls.key, &other.to_string()),
        })?;
        let mut config = builder.with_single_cert(chain, key).map_err(|e| match e {
            rustls::Error::InconsistentKeys(_) => key_pair(&tls.key, "tls: private key does not match public key"),
            other => key_pair(&tls.cert, &other.to_string()),
        })?;
        config.ignore_client_order = tls.prefer_server_cipher_suites;
        config.alpn_protocols = match http2 {
            true => vec![HTTP2.to_vec(), HTTP1.to_vec()],
            false => vec![HTTP1.to_vec()],
        };
        Ok(config)
    }

    /// Does the handshake. Who speaks HTTP without TLS is told so, in Go's words, and it is an error. There is no limit of
    /// time here.
    ///
    /// # Errors
    /// Where the client gives up, is refused, or speaks no TLS that we do.
    pub async fn accept(&self, mut stream: TcpStream) -> io::Result<Encrypted<TcpStream>> {
        let mut first = [0];
        if stream.peek(&mut first).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        // A method's first letter; TLS begins with the byte 22.
        if first.iter().all(u8::is_ascii_uppercase) {
            stream.write_all(PLAIN_HTTP).await?;
            linger(stream).await;
            return Err(io::Error::new(
                io::ErrorKind::InvalidData,
                "client sent an HTTP request to an HTTPS server",
            ));
        }
        self.shake(stream).await
    }

    /// As [`ServerTls::accept`] for any stream; who speaks no TLS is told nothing.
    pub(crate) async fn shake<S: AsyncRead + AsyncWrite + Unpin>(&self, stream: S) -> io::Result<Encrypted<S>> {
        match self.0.accept(stream).into_fallible().await {
            Ok(stream) => Ok(Encrypted::new(stream)),
            Err((error, stream)) => {
                // The alert that says why is written by now.
                linger(stream).await;
                Err(error)
            }
        }
    }
}

// Ends a connection so that the client hears what was said last: closing one whose bytes were not read takes that away. In TLS
// 1.3 a client that is refused for its certificate has sent its request already.
async fn linger(mut stream: impl AsyncRead + AsyncWrite + Unpin) {
    let ending = async {
        stream.shutdown().await?;
        let mut rest = [0; 4096];
        for _ in 0..MOST_UNREAD {
            if stream.read(&mut rest).await? == 0 {
                break;
            }
        }
        Ok::<_, io::Error>(())
    };
    // It is over either way.
    let _ = tokio::time::timeout(LINGER, ending).await;
}

impl std::fmt::Debug for ServerTls {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ServerTls").finish_non_exhaustive()
    }
}

fn provider(tls: &WebTls) -> CryptoProvider {
    let mut provider = aws_lc_rs::default_provider();
    if let Some(suites) = &tls.cipher_suites {
        provider.cipher_suites.retain(|suite| suite.tls13().is_some());
        provider
            .cipher_suites
            .extend(suites.iter().map(|suite| suite_of(*suite)));
    }
    if let Some(curves) = &tls.curves {
        provider.kx_groups = curves.iter().map(|curve| group_of(*curve)).collect();
    }
    provider
}

fn suite_of(suite: CipherSuite) -> SupportedCipherSuite {
    match suite {
        CipherSuite::EcdsaAes128 => cipher_suite::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256,
        CipherSuite::EcdsaAes256 => cipher_suite::TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384,
        CipherSuite::EcdsaChaCha20 => cipher_suite::TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256,
        CipherSuite::RsaAes128 => cipher_suite::TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256,
        CipherSuite::RsaAes256 => cipher_suite::TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384,
        CipherSuite::RsaChaCha20 => cipher_suite::TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256,
    }
}

fn group_of(curve: Curve) -> &'static dyn SupportedKxGroup {
    match curve {
        Curve::P256 => kx_group::SECP256R1,
        Curve::P384 => kx_group::SECP384R1,
        Curve::X25519 => kx_group::X25519,
        Curve::X25519MlKem768 => kx_group::X25519MLKEM768,
    }
}

fn pem(pem: &WebPem, read: ReadFile<'_>) -> Result<Vec<u8>, ConfigError> {
    match &pem.source {
        SecretSource::Inline(text) => Ok(text.expose().as_bytes().to_vec()),
        SecretSource::File(path) => read(path)
            .map_err(|reason| pem.error(format!("failed to read {} ({}): {reason}", pem.field(), path.display()))),
    }
}

fn key_pair(pem: &WebPem, reason: &str) -> ConfigError {
    pem.error(format!("failed to load X509KeyPair: {reason}"))
}

fn certificates(of: &WebPem, pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, ConfigError> {
    let all: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
    all.map_err(|e| of.error(format!("{} holds no usable PEM: {e}", of.field())))
}

// Who looks at the clients' certificates; `None` where none is asked for.
fn clients(
    tls: &WebTls,
    provider: Arc<CryptoProvider>,
    read: ReadFile<'_>,
) -> Result<Option<Arc<dyn ClientCertVerifier>>, ConfigError> {
    let trust = match tls.client_auth {
        ClientAuth::None => return Ok(None),
        // As in Go, the authorities do not matter here, and are read all the same.
        ClientAuth::Request | ClientAuth::RequireAny => {
            if let Some(ca) = &tls.client_ca {
                authorities(ca, read)?;
            }
            Trust::Anybodys
        }
        ClientAuth::VerifyIfGiven | ClientAuth::RequireAndVerify => {
            let (roots, blamed) = match &tls.client_ca {
                Some(ca) => (authorities(ca, read)?, ca),
                // As in Go: without authorities of its own the system's count, and there may be none.
                None => {
                    let mut roots = RootCertStore::empty();
                    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
                    (roots, &tls.cert)
                }
            };
            if roots.is_empty() {
                Trust::Nobodys
            } else {
                let builder = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider.clone());
                let verifier = builder
                    .build()
                    .map_err(|e| blamed.error(format!("client certificates: {e}")))?;
                Trust::IssuedBy(verifier)
            }
        }
    };
    Ok(Some(Arc::new(Clients {
        trust,
        is_mandatory: tls.client_auth.is_mandatory(),
        allowed: tls.client_allowed_sans.clone(),
        provider,
    })))
}

fn authorities(ca: &WebPem, read: ReadFile<'_>) -> Result<RootCertStore, ConfigError> {
    let mut roots = RootCertStore::empty();
    for cert in certificates(ca, &pem(ca, read)?)? {
        roots
            .add(cert)
            .map_err(|e| ca.error(format!("{} holds a certificate that cannot be used: {e}", ca.field())))?;
    }
    if roots.is_empty() {
        return Err(ca.error(format!("{} holds no certificate", ca.field())));
    }
    Ok(roots)
}

// Whose certificates count, where the client has their key.
#[derive(Debug)]
enum Trust {
    Anybodys,
    IssuedBy(Arc<dyn ClientCertVerifier>),
    Nobodys,
}

#[derive(Debug)]
struct Clients {
    trust: Trust,
    is_mandatory: bool,
    allowed: Option<Vec<String>>,
    provider: Arc<CryptoProvider>,
}

impl ClientCertVerifier for Clients {
    fn client_auth_mandatory(&self) -> bool {
        self.is_mandatory
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        match &self.trust {
            Trust::IssuedBy(verifier) => verifier.root_hint_subjects(),
            Trust::Anybodys | Trust::Nobodys => &[],
        }
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, rustls::Error> {
        match &self.trust {
            Trust::IssuedBy(verifier) => {
                verifier.verify_client_cert(end_entity, intermediates, now)?;
            }
            Trust::Anybodys => {}
            Trust::Nobodys => return Err(CertificateError::UnknownIssuer.into()),
        }
        if let Some(allowed) = &self.allowed {
            let names = subject_alt_names(end_entity).unwrap_or_default();
            if !names.iter().any(|name| allowed.contains(name)) {
                let told = format!("could not find allowed SANs in client cert, found: {names:?}");
                let other = OtherError(Arc::new(io::Error::other(told)));
                return Err(CertificateError::Other(other).into());
            }
        }
        Ok(ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, cert, dss, &self.provider.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, cert, dss, &self.provider.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}
