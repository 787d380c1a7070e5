use std::net::Ipv4Addr;
use std::process::Command;

use tempfile::TempDir;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream};

use super::*;

const HERE: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

// `ca` has issued `member`, `ca2` has issued `stranger`, both for 127.0.0.1; each is a `.crt` and a `.key`.
struct Pki(TempDir);

impl Pki {
    // `None` where there is no openssl, which a run for a release must have.
    fn new() -> Option<Self> {
        let pki = Self(tempfile::tempdir().unwrap());
        for (name, authority) in [("ca", ""), ("ca2", ""), ("member", "ca"), ("stranger", "ca2")] {
            let extension = match authority {
                "" => "basicConstraints=critical,CA:TRUE",
                _ => "subjectAltName=IP:127.0.0.1",
            };
            let config = pki.write("openssl.cnf", "[req]\ndistinguished_name = dn\n[dn]\n");
            let mut command = Command::new("openssl");
            command.args([
                "req",
                "-x509",
                "-newkey",
                "ec",
                "-pkeyopt",
                "ec_paramgen_curve:P-256",
                "-nodes",
            ]);
            command.args(["-days", "2", "-subj", &format!("/CN={name}"), "-addext", extension]);
            command.args(["-config", &config, "-keyout", &pki.path(&format!("{name}.key"))]);
            command.args(["-out", &pki.path(&format!("{name}.crt"))]);
            if !authority.is_empty() {
                command.args(["-CA", &pki.path(&format!("{authority}.crt"))]);
                command.args(["-CAkey", &pki.path(&format!("{authority}.key"))]);
            }
            let Ok(done) = command.output() else {
                assert!(std::env::var_os("CI").is_none(), "openssl is not installed");
                return None;
            };
            assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
        }
        Some(pki)
    }

    fn path(&self, name: &str) -> String {
        self.0.path().join(name).display().to_string()
    }

    // In one step, as whoever changes a file in use should.
    fn write(&self, name: &str, text: &str) -> String {
        let beside = self.path("new");
        std::fs::write(&beside, text).unwrap();
        std::fs::rename(beside, self.path(name)).unwrap();
        self.path(name)
    }

    // A member that trusts `ca` and shows the certificate of `name`, as a client none where `is_shy`.
    fn member(&self, name: &str, is_shy: bool) -> MemberTls {
        let own = format!("  cert_file: {name}.crt\n  key_file: {name}.key\n");
        let text = format!(
            "tls_server_config:\n{own}  client_ca_file: ca.crt\n  client_auth_type: RequireAndVerifyClientCert\n\
             tls_client_config:\n  ca_file: ca.crt\n{}",
            if is_shy { "" } else { &own }
        );
        let path = self.write(&format!("{name}-{is_shy}.yml"), &text);
        MemberTls::load(Path::new(&path), |_| {}).unwrap()
    }
}

// What both sides say of a connection from one to the other over which a word is sent and answered.
async fn meet(from: &MemberTls, to: &MemberTls) -> (io::Result<Vec<u8>>, io::Result<Vec<u8>>) {
    let (near, far) = tokio::io::duplex(1 << 16);
    let asking = async {
        let mut stream = from.connect(HERE, near).await?;
        stream.write_all(b"ping").await?;
        let mut answer = vec![0; 4];
        stream.read_exact(&mut answer).await?;
        Ok(answer)
    };
    let answering = async {
        let mut stream = to.accept(far).await?;
        let mut asked = vec![0; 4];
        stream.read_exact(&mut asked).await?;
        stream.write_all(b"pong").await?;
        stream.shutdown().await?;
        Ok(asked)
    };
    tokio::join!(asking, answering)
}

fn told<T: std::fmt::Debug>(end: io::Result<T>) -> String {
    end.unwrap_err().to_string()
}

#[tokio::test]
async fn members_of_one_authority_meet_and_nobody_else_is_let_in() {
    let Some(pki) = Pki::new() else { return };
    let member = pki.member("member", false);
    let (asked, answered) = meet(&member, &member).await;
    assert_eq!(
        (asked.unwrap(), answered.unwrap()),
        (b"pong".to_vec(), b"ping".to_vec())
    );

    let (asked, answered) = meet(&pki.member("member", true), &member).await;
    assert_eq!(told(answered), "TLS: peer sent no certificates");
    assert!(told(asked).contains("CertificateRequired"));

    // Of another authority, whoever begins.
    let stranger = pki.member("stranger", false);
    let (asked, answered) = meet(&stranger, &member).await;
    assert!(told(answered).contains("UnknownIssuer"));
    assert!(told(asked).contains("UnknownCA"));
    let (asked, answered) = meet(&member, &stranger).await;
    assert!(told(asked).contains("UnknownIssuer"));
    assert!(told(answered).contains("UnknownCA"));

    let (mut near, far): (DuplexStream, DuplexStream) = tokio::io::duplex(1 << 16);
    near.write_all(b"CUPALCL1").await.unwrap();
    drop(near);
    assert!(told(member.accept(far).await).contains("--cluster.tls-config"));
}

#[tokio::test]
async fn a_certificate_is_for_the_address_or_for_the_name_that_is_configured() {
    let Some(pki) = Pki::new() else { return };
    let member = pki.member("member", false);
    let (near, far) = tokio::io::duplex(1 << 16);
    let elsewhere = IpAddr::from([10, 0, 0, 1]);
    let (asked, _) = tokio::join!(member.connect(elsewhere, near), member.accept(far));
    assert!(told(asked).contains("10.0.0.1"));
    // By a name it may be anywhere.
    let text = std::fs::read_to_string(pki.path("member-false.yml")).unwrap();
    let path = pki.write("named.yml", &format!("{text}  server_name: '127.0.0.1'\n"));
    let named = MemberTls::load(Path::new(&path), |_| {}).unwrap();
    let (near, far) = tokio::io::duplex(1 << 16);
    let (asked, answered) = tokio::join!(named.connect(elsewhere, near), member.accept(far));
    assert!(asked.is_ok() && answered.is_ok());
}

#[tokio::test]
async fn what_is_replaced_counts_from_the_next_handshake_on_and_what_is_broken_does_not() {
    let Some(pki) = Pki::new() else { return };
    let (member, stranger) = (pki.member("member", false), pki.member("stranger", false));
    assert!(meet(&stranger, &member).await.1.is_err());
    let both = ["ca.crt", "ca2.crt"].map(|name| std::fs::read_to_string(pki.path(name)).unwrap());
    pki.write("ca.crt", &both.concat());
    for one in [&member, &stranger] {
        one.0.look(|| {});
    }
    assert!(meet(&stranger, &member).await.1.is_ok());
    pki.write("member.key", "no key\n");
    member.0.look(|| {});
    assert!(meet(&stranger, &member).await.1.is_ok(), "the old one stays in force");
}

#[test]
fn all_files_that_cannot_be_used_are_told_with_their_places() {
    let Some(pki) = Pki::new() else { return };
    let text = "tls_server_config:\n  cert_file: member.crt\n  key_file: stranger.key\n  client_ca_file: ca.crt\n  \
                client_auth_type: RequireAndVerifyClientCert\ntls_client_config:\n  ca_file: gone.crt\n";
    let path = pki.write("tls.yml", text);
    let refused = |path: &str| MemberTls::load(Path::new(path), |_| {}).unwrap_err().to_string();
    let gone = pki.path("gone.crt");
    let expected = format!(
        "{path}:3:3: failed to load X509KeyPair: tls: private key does not match public key\n{path}:7:3: open {gone}: no \
         such file or directory"
    );
    assert_eq!(refused(&path), expected);
    pki.write("gone.crt", "no certificate\n");
    assert!(refused(&path).ends_with(&format!("{path}:7:3: {gone}: holds no certificate")));
    assert!(refused(&gone).contains("cluster.TLSTransportConfig"));
    assert!(refused(&pki.path("none.yml")).contains("no such file or directory"));
}
