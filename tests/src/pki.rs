//! Certificates made on the spot.

use std::process::Command;

use crate::child::run;
use crate::neighbours::neighbour;
use crate::world::Home;

/// Two authorities: `ca` has issued `server` and `client`, `ca2` has issued `renewed` and `stranger`. Each is a `.crt` and a
/// `.key`.
#[derive(Debug)]
pub struct Pki(Home);

impl Pki {
    /// `None` where OpenSSL is not installed.
    ///
    /// # Panics
    /// Where it makes no certificate, and in CI where it is missing.
    #[track_caller]
    #[must_use]
    pub fn new() -> Option<Self> {
        let openssl = neighbour("openssl")?;
        let pki = Self(Home::new());
        let config = pki.0.write("openssl.cnf", "[req]\ndistinguished_name = dn\n[dn]\n");
        let own = "subjectAltName=IP:127.0.0.1,DNS:localhost";
        let scraper = "subjectAltName=DNS:scraper.example,email:scraper@x.example";
        for (name, authority, extension) in [
            ("ca", "", "basicConstraints=critical,CA:TRUE"),
            ("ca2", "", "basicConstraints=critical,CA:TRUE"),
            ("server", "ca", own),
            ("renewed", "ca2", own),
            ("client", "ca", scraper),
            ("stranger", "ca2", "subjectAltName=DNS:stranger.example"),
        ] {
            let mut command = Command::new(&openssl);
            command
                .args([
                    "req",
                    "-x509",
                    "-newkey",
                    "ec",
                    "-pkeyopt",
                    "ec_paramgen_curve:P-256",
                    "-nodes",
                    "-days",
                    "2",
                ])
                .args(["-subj", &format!("/CN={name}"), "-addext", extension])
                .args([
                    "-keyout",
                    &pki.path(&format!("{name}.key")),
                    "-out",
                    &pki.path(&format!("{name}.crt")),
                ])
                .arg("-config")
                .arg(&config);
            if !authority.is_empty() {
                let (cert, key) = (format!("{authority}.crt"), format!("{authority}.key"));
                command.args(["-CA", &pki.path(&cert), "-CAkey", &pki.path(&key)]);
            }
            let made = run(&mut command, b"");
            assert_eq!(made.code, Some(0), "{name}: {}", made.stderr);
        }
        Some(pki)
    }

    /// A file.
    #[must_use]
    pub fn path(&self, name: &str) -> String {
        self.0.path().join(name).display().to_string()
    }

    /// `tls_server_config` with a certificate; what belongs to it may follow, indented by two.
    #[must_use]
    pub fn server(&self, name: &str) -> String {
        let (cert, key) = (self.path(&format!("{name}.crt")), self.path(&format!("{name}.key")));
        format!("tls_server_config:\n  cert_file: {cert}\n  key_file: {key}\n")
    }

    /// Writes a file beside the certificates; returns its path.
    ///
    /// # Panics
    /// Where it cannot be written.
    #[must_use]
    pub fn write(&self, name: &str, text: &str) -> String {
        self.0.write(name, text).display().to_string()
    }
}
