use std::time::Duration;

use super::*;
use axum::routing::get;
use base64::Engine as _;
use http::Request;
use http_body_util::BodyExt as _;
use tempfile::TempDir;
use tower::ServiceExt as _;

const LONGEST: Duration = Duration::from_secs(60);

struct Guarded {
    dir: TempDir,
    file: WebConfigFile,
    router: Router,
}

struct Answer {
    status: u16,
    headers: HeaderMap,
    body: String,
}

impl Guarded {
    fn new(text: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("web.yml"), text).unwrap();
        let file = WebConfigFile::load(&dir.path().join("web.yml")).unwrap();
        let inner = Router::new().route("/", get(async || ([("x-frame-options", "ours")], "inner")));
        let router = behind(inner, file.clone());
        Self { dir, file, router }
    }

    // In one step, as whoever changes a file in use should.
    fn write(&self, text: &str) {
        let beside = self.dir.path().join("new");
        std::fs::write(&beside, text).unwrap();
        std::fs::rename(beside, self.dir.path().join("web.yml")).unwrap();
    }

    async fn ask(&self, login: Option<&str>) -> Answer {
        let mut request = Request::get("/");
        if let Some(login) = login {
            let login = base64::engine::general_purpose::STANDARD.encode(login);
            request = request.header("authorization", format!("Basic {login}"));
        }
        let request = request.body(axum::body::Body::empty()).unwrap();
        let (parts, body) = self.router.clone().oneshot(request).await.unwrap().into_parts();
        let body = body.collect().await.unwrap().to_bytes();
        Answer {
            status: parts.status.as_u16(),
            headers: parts.headers,
            body: String::from_utf8(body.to_vec()).unwrap(),
        }
    }

    async fn until(&self, what: &str, login: Option<&str>, status: u16) -> Answer {
        let began = std::time::Instant::now();
        loop {
            let answer = self.ask(login).await;
            if answer.status == status {
                return answer;
            }
            assert!(began.elapsed() < LONGEST, "{what}: still {}", answer.status);
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }
}

fn user(name: &str, password: &str) -> String {
    let hash = bcrypt::hash(password, 4).unwrap();
    format!("basic_auth_users:\n  {name}: {hash}\n")
}

#[tokio::test]
async fn a_file_that_asks_for_nothing_changes_nothing() {
    let guarded = Guarded::new("");
    let answer = guarded.ask(None).await;
    assert_eq!((answer.status, &*answer.body), (200, "inner"));
    assert_eq!(answer.headers["x-frame-options"], "ours");
    assert!(!guarded.file.is_tls() && !guarded.file.is_http2());
}

#[tokio::test]
async fn strangers_are_told_as_upstream_tells_them() {
    let guarded = Guarded::new(&user("alice", "one"));
    for login in [None, Some("alice:two"), Some("bob:one"), Some("alice")] {
        let answer = guarded.ask(login).await;
        assert_eq!((answer.status, &*answer.body), (401, "Unauthorized\n"), "{login:?}");
        assert_eq!(answer.headers["www-authenticate"], "Basic");
        assert_eq!(answer.headers["content-type"], "text/plain; charset=utf-8");
        assert_eq!(answer.headers["x-content-type-options"], "nosniff");
    }
    assert_eq!(guarded.ask(Some("alice:one")).await.body, "inner");
}

#[tokio::test]
async fn headers_are_on_every_answer_and_count_more_than_our_own() {
    let headers =
        "http_server_config: {headers: {X-Frame-Options: deny, Content-Security-Policy: \"default-src 'self'\"}}\n";
    let guarded = Guarded::new(&format!("{}{headers}", user("alice", "one")));
    for login in [None, Some("alice:one")] {
        let answer = guarded.ask(login).await;
        assert_eq!(answer.headers["x-frame-options"], "deny");
        assert_eq!(answer.headers["content-security-policy"], "default-src 'self'");
        assert!(!answer.headers.contains_key("strict-transport-security"));
    }
}

#[tokio::test]
async fn more_requests_than_allowed_are_refused() {
    let guarded = Guarded::new("rate_limit: {interval: 1h, burst: 2}\n");
    let mut statuses = Vec::new();
    for _ in 0..3 {
        statuses.push(guarded.ask(None).await.status);
    }
    assert_eq!(statuses, [200, 200, 429]);
    assert_eq!(guarded.ask(None).await.body, "Too Many Requests\n");
    // The same limit goes on where something else changes.
    guarded.write("rate_limit: {interval: 1h, burst: 2}\nhttp_server_config: {headers: {X-Frame-Options: deny}}\n");
    let began = std::time::Instant::now();
    while guarded.file.current().await.headers.is_empty() {
        assert!(began.elapsed() < LONGEST, "the file is not read again");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert_eq!(guarded.ask(None).await.status, 429);
}

#[tokio::test]
async fn a_password_is_changed_without_a_restart() {
    let guarded = Guarded::new(&user("alice", "one"));
    assert_eq!(guarded.ask(Some("alice:one")).await.status, 200);
    guarded.write(&user("alice", "two"));
    guarded.until("the new password", Some("alice:two"), 200).await;
    assert_eq!(guarded.ask(Some("alice:one")).await.status, 401);
}

#[tokio::test]
async fn a_file_that_breaks_opens_nothing_and_is_mended() {
    let guarded = Guarded::new(&user("alice", "one"));
    for broken in [
        "basic_auth_users: {alice: two}\n",
        "",
        " \n",
        "tls_server_config: {cert_file: none.crt, key_file: none.key}\n",
    ] {
        guarded.write(broken);
        // Long enough that it was looked at: what was seen last is what there is.
        let began = std::time::Instant::now();
        loop {
            guarded.file.current().await;
            if guarded.file.0.files.is_seen() {
                break;
            }
            assert!(began.elapsed() < LONGEST, "the file is not read again");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        assert_eq!(guarded.ask(None).await.status, 401, "{broken:?}");
        assert_eq!(guarded.ask(Some("alice:one")).await.status, 200, "{broken:?}");
    }
    guarded.write("{}\n");
    guarded.until("no password", None, 200).await;
}

#[tokio::test]
async fn a_file_that_is_being_written_does_not_count_yet() {
    let guarded = Guarded::new(&user("alice", "one"));
    let look = |settle: &dyn Fn()| guarded.file.0.files.look(settle);
    let half = "http_server_config: {headers: {X-Frame-Options: deny}}\n";
    guarded.write(half);
    look(&|| guarded.write(&format!("{half}{}", user("alice", "two"))));
    assert_eq!(guarded.file.0.files.last().config.users.len(), 1);
    assert!(
        guarded.file.0.files.last().headers.is_empty(),
        "half a file is in force"
    );
    look(&|| {});
    assert!(!guarded.file.0.files.last().headers.is_empty(), "the whole one is not");
    assert_eq!(guarded.ask(None).await.status, 401);
    assert_eq!(guarded.ask(Some("alice:two")).await.status, 200);
}

#[test]
fn what_cannot_be_read_is_told() {
    let dir = tempfile::tempdir().unwrap();
    let told = |text: &[u8]| {
        let path = dir.path().join("web.yml");
        std::fs::write(&path, text).unwrap();
        let errors = WebConfigFile::load(&path).err().unwrap().to_string();
        errors.replace(&dir.path().display().to_string(), "DIR")
    };
    assert_eq!(told(b"\xff"), "DIR/web.yml: the file is not UTF-8");
    std::fs::write(dir.path().join("k"), "x").unwrap();
    assert_eq!(
        told(b"tls_server_config: {cert_file: none.crt, key_file: k}\n"),
        "DIR/web.yml:1:21: failed to read cert_file (DIR/none.crt): open DIR/none.crt: no such file or directory"
    );
    assert_eq!(
        told(b"tls_server_config: {cert_file: k, key_file: k}\n"),
        "DIR/web.yml:1:21: failed to load X509KeyPair: tls: failed to find any PEM data in certificate input"
    );
    let missing = WebConfigFile::load(Path::new("/nowhere/web.yml")).err().unwrap();
    assert_eq!(
        missing.to_string(),
        "/nowhere/web.yml: open /nowhere/web.yml: no such file or directory"
    );
}
