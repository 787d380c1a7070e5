//! Servers that are asked over TLS, and passwords hashed beforehand.

use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;

use cupola_tests::{Background, Finished, Pki, eventually, run};

/// Who may ask, with `hunter-1`.
pub const USER: &str = "alice";
/// `hunter-1`, at the lowest cost.
pub const HASH_1: &str = "$2y$04$QOauhQNbBCuQDKes6eFzPeyRuDo1BfEKLtt7tHEb7pstC.FUvB7vi";
/// `hunter-2`
pub const HASH_2: &str = "$2y$04$QOauhQNbBCuQDKes6eFzPeywQGTN/knkLUOjOL2UAxlc5uKe8K1AK";
/// `hunter-1`, at a cost of 12.
pub const HASH_COSTLY: &str = "$2y$12$QOauhQNbBCuQDKes6eFzPeIIvriCX5cr5rmbEollKdIFYMrmmOThW";

/// The section of the web configuration that lets [`USER`] in.
pub fn user() -> String {
    format!("basic_auth_users:\n  {USER}: {HASH_1}\n")
}

/// A server of ours that may speak TLS.
pub struct Https {
    child: Background,
    /// Where it listens; the first address where there are several.
    pub address: SocketAddr,
}

impl Https {
    /// Starts it and waits until it listens, which it says when it is ready.
    #[track_caller]
    pub fn start(command: &mut Command) -> Self {
        let mut child = Background::start("cupola", command);
        let address = eventually(30, "cupola tells where it listens", || {
            if let Some(status) = child.ended() {
                panic!("cupola ended while starting: {status}: {:?}", child.stderr());
            }
            child.stderr().iter().find_map(|line| listening(line))
        });
        Self { child, address }
    }

    /// Its address with a path, over TLS.
    pub fn url(&self, path: &str) -> String {
        format!("https://{}{path}", self.address)
    }

    /// Lines of its log so far.
    pub fn log(&self) -> Vec<String> {
        self.child.stderr()
    }

    /// Whether a line of its log has this in it.
    pub fn log_has(&self, part: &str) -> bool {
        self.log().iter().any(|line| line.contains(part))
    }

    /// Lines of its standard output so far.
    pub fn stdout(&self) -> Vec<String> {
        self.child.stdout()
    }

    /// What curl prints of a path; the exchange itself must work.
    #[track_caller]
    pub fn curl(&self, options: &[&str], path: &str) -> String {
        let done = curl(options, &self.url(path));
        assert_eq!(done.code, Some(0), "{path}: {}\n{:?}", done.stderr, self.log());
        done.stdout
    }
}

impl Drop for Https {
    fn drop(&mut self) {
        self.child.kill();
        let panicked = self.log().into_iter().find(|line| line.contains("panicked at"));
        assert!(
            std::thread::panicking() || panicked.is_none(),
            "cupola panicked: {panicked:?}"
        );
    }
}

/// `time=… level=INFO msg=listening address=127.0.0.1:41234`
pub fn listening(line: &str) -> Option<SocketAddr> {
    let (_, rest) = line.split_once("msg=listening address=")?;
    rest.split_whitespace().next()?.parse().ok()
}

/// Runs curl.
pub fn curl(options: &[&str], url: &str) -> Finished {
    let mut command = Command::new("curl");
    command.args(["-sS", "--max-time", "50"]).args(options).arg(url);
    run(&mut command, b"")
}

/// As `Authorization` wants it.
pub fn base64(text: &str) -> String {
    const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut out = String::new();
    for group in text.as_bytes().chunks(3) {
        let bits = group.iter().fold(0_u32, |bits, byte| bits << 8 | u32::from(*byte)) << (8 * (3 - group.len()));
        for place in 0..4 {
            let letter = LETTERS[(bits >> (18 - 6 * place)) as usize & 63];
            out.push(if place > group.len() { '=' } else { char::from(letter) });
        }
    }
    out
}

/// Web configurations that are refused, and what is said of each, with its place. They are of the kinds that
/// exporter-toolkit's own tests have.
pub fn mistakes(pki: &Pki) -> Vec<(String, String)> {
    let (cert, key, ca) = (pki.path("server.crt"), pki.path("server.key"), pki.path("ca.crt"));
    let junk = pki.write("junk.pem", "no certificate\n");
    let none = Path::new(&junk).with_file_name("none.pem").display().to_string();
    let tls = |lines: &[String]| format!("tls_server_config:\n  {}\n", lines.join("\n  "));
    let pair = || vec![format!("cert_file: {cert}"), format!("key_file: {key}")];
    let more = |line: &str| tls(&[pair(), vec![line.to_owned()]].concat());
    let missing = format!("open {none}: no such file or directory");
    let cases = [
        (
            "hello\n".to_owned(),
            "1:1: cannot unmarshal !!str `hello` into web.Config".to_owned(),
        ),
        (
            "tls_server_confg: {}\n".to_owned(),
            "1:1: field tls_server_confg not found in type web.Config (did you mean tls_server_config?)".to_owned(),
        ),
        (
            tls(&[format!("key_file: {key}")]),
            "1:1: missing one of cert or cert_file".to_owned(),
        ),
        (
            tls(&[format!("cert_file: {cert}")]),
            "1:1: missing one of key or key_file".to_owned(),
        ),
        (
            tls(&[format!("cert_file: {none}"), format!("key_file: {key}")]),
            format!("2:3: failed to read cert_file ({none}): {missing}"),
        ),
        (
            tls(&[format!("cert_file: {cert}"), format!("key_file: {none}")]),
            format!("3:3: failed to read key_file ({none}): {missing}"),
        ),
        (
            tls(&[format!("cert_file: {junk}"), format!("key_file: {key}")]),
            "2:3: failed to load X509KeyPair: tls: failed to find any PEM data in certificate input".to_owned(),
        ),
        (
            tls(&[format!("cert_file: {cert}"), "key: PRIVATE".to_owned()]),
            "3:3: failed to load X509KeyPair: tls: failed to find any PEM data in key input".to_owned(),
        ),
        (
            tls(&[
                format!("cert_file: {cert}"),
                format!("key_file: {}", pki.path("client.key")),
            ]),
            "3:3: failed to load X509KeyPair: tls: private key does not match public key".to_owned(),
        ),
        (
            more(&format!("client_ca_file: {ca}")),
            "4:3: client CA's have been configured without a Client Auth Policy".to_owned(),
        ),
        (
            more(&format!(
                "client_ca_file: {none}\n  client_auth_type: RequireAndVerifyClientCert"
            )),
            format!("4:3: failed to read client_ca_file ({none}): {missing}"),
        ),
        (
            more(&format!(
                "client_ca_file: {junk}\n  client_auth_type: RequireAndVerifyClientCert"
            )),
            "4:3: client_ca_file holds no certificate".to_owned(),
        ),
        (
            more("client_auth_type: Sometimes"),
            "4:3: invalid ClientAuth: Sometimes".to_owned(),
        ),
        (
            more("client_allowed_sans: [a]\n  client_auth_type: RequestClientCert"),
            "4:3: client_allowed_sans requires client_auth_type to be one of".to_owned(),
        ),
        (
            more("cipher_suites: [TLS_RSA_WITH_RC4_128_SHA2]"),
            "4:19: unknown cipher: ".to_owned(),
        ),
        (
            more("cipher_suites: [TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384]"),
            "4:3: http2: TLSConfig.CipherSuites is missing an HTTP/2-required AES_128_GCM_SHA256 cipher".to_owned(),
        ),
        (
            more("curve_preferences: [CurveP257]"),
            "4:23: unknown curve: CurveP257".to_owned(),
        ),
        (
            more("min_version: TLS111"),
            "4:3: unknown TLS version: TLS111".to_owned(),
        ),
        (
            more("max_version: TLS11"),
            "4:3: TLS older than 1.2 is not supported by this version".to_owned(),
        ),
        (
            "http_server_config:\n  headers:\n    X-Frame-Options: perhaps\n".to_owned(),
            "3:22: invalid value for X-Frame-Options. Expected one of: [\"deny\" \"sameorigin\"], but got: \"perhaps\""
                .to_owned(),
        ),
        (
            "http_server_config:\n  headers:\n    Server: x\n".to_owned(),
            "3:5: HTTP header \"Server\" can not be configured".to_owned(),
        ),
        (
            "basic_auth_users:\n  alice: PRIVATE\n".to_owned(),
            "2:10: crypto/bcrypt: hashedSecret too short to be a bcrypted password".to_owned(),
        ),
    ];
    cases.map(|(text, said)| (text, format!("web.yml:{said}"))).to_vec()
}
