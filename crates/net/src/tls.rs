//! TLS towards peers.

use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{WebPkiServerVerifier, verify_server_name};
use rustls::crypto::{CryptoProvider, aws_lc_rs, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::{CertificateError, ClientConfig, DigitallySignedStruct, OtherError, RootCertStore, SignatureScheme};

use crate::NetError;

/// What a `tls_config` section says, its files already read.
#[derive(Debug, Clone, Default)]
pub struct TlsOptions {
    /// PEM of the authorities to trust instead of the system's; with the name of its file for errors.
    pub ca: Option<(String, Vec<u8>)>,
    /// PEM of the own certificate chain and key; with the names of their files.
    pub client: Option<ClientPem>,
    /// The name the peer's certificate must carry, instead of the URL's host.
    pub server_name: Option<String>,
    /// Accepts any certificate.
    pub insecure_skip_verify: bool,
    /// Does without TLS 1.2 (`min_version: TLS13`).
    pub without_tls12: bool,
    /// Does without TLS 1.3 (`max_version: TLS12`).
    pub without_tls13: bool,
}

/// An own certificate and its key.
#[derive(Debug, Clone)]
pub struct ClientPem {
    /// Name of the certificate's file.
    pub cert_file: String,
    /// Its PEM.
    pub cert: Vec<u8>,
    /// Name of the key's file.
    pub key_file: String,
    /// Its PEM.
    pub key: Vec<u8>,
}

/// How to speak TLS; made once per configuration.
#[derive(Clone)]
pub struct Tls {
    pub(crate) config: Arc<ClientConfig>,
    // The same, offering HTTP/2 before HTTP/1.1.
    pub(crate) with_http2: Arc<ClientConfig>,
    pub(crate) server_name: Option<String>,
}

impl Tls {
    /// Checks and loads everything the handshake needs.
    ///
    /// # Errors
    /// [`NetError::Certificate`] names the file that cannot be used and why.
    pub fn new(options: &TlsOptions) -> Result<Self, NetError> {
        let bad = |file: &str, reason: String| NetError::Certificate {
            file: file.to_owned(),
            reason,
        };
        let provider = Arc::new(aws_lc_rs::default_provider());
        let offered = [
            (&rustls::version::TLS13, options.without_tls13),
            (&rustls::version::TLS12, options.without_tls12),
        ];
        let offered: Vec<_> = offered
            .into_iter()
            .filter(|(_, is_off)| !is_off)
            .map(|(version, _)| version)
            .collect();
        let builder = ClientConfig::builder_with_provider(provider.clone())
            .with_protocol_versions(&offered)
            .map_err(|e| bad("TLS versions", e.to_string()))?;
        let builder = if options.insecure_skip_verify {
            builder
                .dangerous()
                .with_custom_certificate_verifier(Arc::new(AcceptAny(provider)))
        } else {
            let mut roots = RootCertStore::empty();
            match &options.ca {
                Some((file, pem)) => {
                    let mut given = Vec::new();
                    for cert in CertificateDer::pem_slice_iter(pem) {
                        let cert = cert.map_err(|e| bad(file, e.to_string()))?;
                        roots.add(cert.clone()).map_err(|e| bad(file, e.to_string()))?;
                        given.push(cert);
                    }
                    if roots.is_empty() {
                        return Err(bad(file, "holds no certificate".to_owned()));
                    }
                    let inner = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider).build();
                    let inner = inner.map_err(|e| bad(file, e.to_string()))?;
                    let verifier = Arc::new(AlsoItself { inner, given });
                    builder.dangerous().with_custom_certificate_verifier(verifier)
                }
                // What cannot be read among the system's roots is left out, as Go does; a peer that needs it then
                // fails with its own error.
                None => {
                    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
                    builder.with_root_certificates(roots)
                }
            }
        };
        let config = match &options.client {
            None => builder.with_no_client_auth(),
            Some(pem) => {
                let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&pem.cert).collect();
                let chain = chain.map_err(|e| bad(&pem.cert_file, e.to_string()))?;
                let key = PrivateKeyDer::from_pem_slice(&pem.key).map_err(|e| bad(&pem.key_file, e.to_string()))?;
                builder
                    .with_client_auth_cert(chain, key)
                    .map_err(|e| bad(&pem.cert_file, e.to_string()))?
            }
        };
        let mut with_http2 = config.clone();
        with_http2.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        Ok(Self {
            config: Arc::new(config),
            with_http2: Arc::new(with_http2),
            server_name: options.server_name.clone(),
        })
    }
}

impl std::fmt::Debug for Tls {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Tls")
            .field("server_name", &self.server_name)
            .finish_non_exhaustive()
    }
}

// A peer may show the very certificate that `ca_file` holds, also where that calls itself an authority, as those do that
// openssl signs with their own key. Go takes it; webpki wants an authority to sign others only.
#[derive(Debug)]
struct AlsoItself {
    inner: Arc<WebPkiServerVerifier>,
    given: Vec<CertificateDer<'static>>,
}

impl ServerCertVerifier for AlsoItself {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let verdict = self
            .inner
            .verify_server_cert(end_entity, intermediates, server_name, ocsp, now);
        // When it is valid was looked at before.
        let is_authority = |error: &OtherError| format!("{error:?}").contains("CaUsedAsEndEntity");
        match verdict {
            Err(rustls::Error::InvalidCertificate(CertificateError::Other(error)))
                if is_authority(&error) && self.given.contains(end_entity) =>
            {
                verify_server_name(&ParsedCertificate::try_from(end_entity)?, server_name)?;
                Ok(ServerCertVerified::assertion())
            }
            verdict => verdict,
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.inner.verify_tls12_signature(message, cert, dss)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.inner.verify_tls13_signature(message, cert, dss)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.inner.supported_verify_schemes()
    }
}

// `insecure_skip_verify`: the signature is checked, the certificate is not.
#[derive(Debug)]
struct AcceptAny(Arc<CryptoProvider>);

impl ServerCertVerifier for AcceptAny {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, cert, dss, &self.0.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, cert, dss, &self.0.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
