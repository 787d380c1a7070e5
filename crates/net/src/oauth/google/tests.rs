use serde_json::json;

use super::super::tests::{json as answer, rsa_key, server, verify};
use super::*;
use crate::{Peer, Request};

fn nothing(_: &str) -> Option<String> {
    None
}

fn write(dir: &Path, name: &str, json: &Value) -> PathBuf {
    let file = dir.join(name);
    std::fs::create_dir_all(file.parent().unwrap()).unwrap();
    std::fs::write(&file, json.to_string()).unwrap();
    file
}

fn user(id: &str) -> Value {
    json!({"type": "authorized_user", "client_id": id, "client_secret": "hunter2", "refresh_token": "1//r+t"})
}

#[test]
fn credentials_are_looked_for_as_googles_own_tools_do() {
    let dir = tempfile::tempdir().unwrap();
    let given = write(dir.path(), "given.json", &user("given"));
    let of_env = write(dir.path(), "env.json", &user("env"));
    let home = dir.path().display().to_string();
    let env = |names: &'static [&'static str]| {
        let (of_env, home) = (of_env.display().to_string(), home.clone());
        move |name: &str| match name {
            _ if !names.contains(&name) => None,
            "GOOGLE_APPLICATION_CREDENTIALS" => Some(of_env.clone()),
            "HOME" => Some(home.clone()),
            "GCE_METADATA_HOST" => Some("127.0.0.1:1".to_owned()),
            _ => Some("payer".to_owned()),
        }
    };
    let all = &["GOOGLE_APPLICATION_CREDENTIALS", "HOME", "GCE_METADATA_HOST"];
    let id = |file: Option<&Path>, env: &dyn Fn(&str) -> Option<String>| find(file, env).unwrap().oauth2.client_id;
    assert_eq!(id(Some(&given), &env(all)), "given");
    assert_eq!(id(None, &env(all)), "env");
    let machine = find(None, &env(&["HOME", "GCE_METADATA_HOST"])).unwrap().oauth2;
    assert_eq!(machine.grant_type, GrantType::OfGoogleMachine);
    assert_eq!(
        machine.token_url,
        "http://127.0.0.1:1/computeMetadata/v1/instance/service-accounts/default/token?scopes=\
         https%3A%2F%2Fwww.googleapis.com%2Fauth%2Fmonitoring.write"
    );
    write(dir.path(), WELL_KNOWN_FILE, &user("gcloud"));
    assert_eq!(id(None, &env(&["HOME"])), "gcloud");
    assert!(
        find(None, &nothing)
            .unwrap()
            .oauth2
            .token_url
            .starts_with("http://169.254.169.254/")
    );
    // Who pays.
    let of_user = |env: &dyn Fn(&str) -> Option<String>| {
        let mut json = user("u");
        json["quota_project_id"] = Value::from("own");
        find(Some(&write(dir.path(), "user.json", &json)), env)
            .unwrap()
            .quota_project
    };
    assert_eq!(of_user(&nothing).as_deref(), Some("own"));
    assert_eq!(of_user(&env(&["GOOGLE_CLOUD_QUOTA_PROJECT"])).as_deref(), Some("payer"));
}

#[test]
fn credentials_that_cannot_be_used_are_named_and_not_shown() {
    let dir = tempfile::tempdir().unwrap();
    for (json, why) in [
        (
            r#"{"type": "external_account", "secret": "hunter2"}"#,
            "credentials of type \"external_account\" are not",
        ),
        (
            r#"{"type": "impersonated_service_account"}"#,
            "credentials of type \"impersonated_service_account\" are not",
        ),
        (r#"{"type": "robot"}"#, "unknown credential type: \"robot\""),
        (r#"{"client_secret": "hunter2"}"#, "missing 'type' field in credentials"),
        (
            r#"{"type": "service_account", "client_email": "a@b"}"#,
            "the credentials have no \"private_key\"",
        ),
        (
            r#"{"type": "authorized_user", "client_id": 7}"#,
            "the credentials have no \"client_id\"",
        ),
        ("hunter2", "is no JSON: expected value at line 1 column 1"),
        ("[]", "missing 'type' field in credentials"),
    ] {
        let file = dir.path().join("c.json");
        std::fs::write(&file, json).unwrap();
        let error = find(Some(&file), &nothing).unwrap_err().to_string();
        let begin = format!("google_iam: credentials_file {}: {why}", file.display());
        assert!(error.starts_with(&begin) && !error.contains("hunter2"), "{error}");
    }
    let error = find(Some(Path::new("/nowhere/c.json")), &nothing)
        .unwrap_err()
        .to_string();
    assert!(
        error.starts_with("google_iam: credentials_file /nowhere/c.json: No such file"),
        "{error}"
    );
    let shown = format!("{:?}", read(user("u").to_string().as_bytes()).unwrap());
    assert!(!shown.contains("hunter2") && !shown.contains("1//"), "{shown}");
}

#[test]
fn no_credentials_make_it_panic() {
    let seeds = [user("u").to_string().into_bytes()];
    cupola_testkit::fuzz(2_000, &seeds, &["null", "\"service_account\"", "{}"], |bytes| {
        if let Ok(google) = read(bytes) {
            assert!(!google.oauth2.client_id.is_empty() && !google.oauth2.token_url.is_empty());
        }
    });
}

async fn ask(peer: &mut Peer, target: u16) -> Result<(), NetError> {
    let request = Request {
        method: http::Method::POST,
        url: &format!("http://127.0.0.1:{target}/write").parse().unwrap(),
        headers: http::HeaderMap::new(),
        body: bytes::Bytes::from_static(b"samples"),
        timeout: std::time::Duration::from_secs(10),
        max_body: 1000,
        gzip: false,
        follow_redirects: false,
    };
    peer.send(request).await.map(|_| ())
}

fn peer(file: &Path) -> Peer {
    Peer::new(&cupola_config::common::HttpClientConfig {
        auth: Some(cupola_config::common::Auth::GoogleIam(Some(file.to_owned()))),
        ..Default::default()
    })
}

#[tokio::test]
async fn a_service_account_trades_what_its_key_signs() {
    let dir = tempfile::tempdir().unwrap();
    let Some(key) = rsa_key(dir.path()) else { return };
    let (port, tokens) =
        server(|_| answer(r#"{"access_token": "ya29.t", "expires_in": 3599, "token_type": "Bearer"}"#));
    let (target, asked) = server(|_| answer("{}"));
    let json = json!({
        "type": "service_account", "project_id": "p", "private_key_id": "k9", "client_email": "agent@p.example",
        "private_key": std::fs::read_to_string(&key).unwrap(), "token_uri": format!("http://127.0.0.1:{port}/token"),
    });
    let file = write(dir.path(), "sa.json", &json);
    let mut peer = peer(&file);
    peer.check_credentials().unwrap();
    for _ in 0..2 {
        ask(&mut peer, target).await.unwrap();
        let request = asked.try_recv().unwrap();
        assert!(request.contains("authorization: Bearer ya29.t\r\n"), "{request}");
        assert!(!request.contains("x-goog-user-project"), "{request}");
    }
    let request = tokens.try_recv().unwrap();
    assert!(tokens.try_recv().is_err(), "a second token was fetched");
    let (head, body) = request.split_once("\r\n\r\n").unwrap();
    assert!(
        head.starts_with("POST /token HTTP/1.1\r\n") && !head.contains("authorization"),
        "{head}"
    );
    let assertion = body.strip_prefix("assertion=").unwrap();
    let grant = "&grant_type=urn%3Aietf%3Aparams%3Aoauth%3Agrant-type%3Ajwt-bearer";
    let (header, claims) = verify(assertion.strip_suffix(grant).unwrap(), "-sha256", dir.path());
    assert_eq!(header, json!({"alg": "RS256", "typ": "JWT", "kid": "k9"}));
    let (begins, ends) = (claims["iat"].as_i64().unwrap(), claims["exp"].as_i64().unwrap());
    let expected = json!({
        "iss": "agent@p.example", "aud": format!("http://127.0.0.1:{port}/token"), "iat": begins, "exp": begins + 3600,
        "scope": "https://www.googleapis.com/auth/monitoring.write",
    });
    assert_eq!((claims, ends), (expected, begins + 3600));
    // What takes the place of the file is used with the next request.
    let mut json = json;
    json["private_key"] = Value::from("hunter2");
    write(dir.path(), "sa.json", &json);
    let error = ask(&mut peer, target).await.unwrap_err().to_string();
    assert!(
        error.ends_with("/token: private_key: holds no private key as PEM"),
        "{error}"
    );
    std::fs::remove_file(&file).unwrap();
    let error = ask(&mut peer, target).await.unwrap_err().to_string();
    assert!(
        error.starts_with("google_iam: credentials_file ") && error.contains("No such file"),
        "{error}"
    );
    assert!(peer.check_credentials().is_err());
}

#[tokio::test]
async fn a_user_trades_the_refresh_token_and_names_who_pays() {
    let dir = tempfile::tempdir().unwrap();
    let (port, tokens) = server(|_| answer(r#"{"access_token": "user", "expires_in": 3599, "token_type": "Bearer"}"#));
    let (target, asked) = server(|_| answer("{}"));
    let mut json = user("me");
    json["token_uri"] = Value::from(format!("http://127.0.0.1:{port}/token"));
    json["quota_project_id"] = Value::from("payer");
    let mut peer = peer(&write(dir.path(), "user.json", &json));
    ask(&mut peer, target).await.unwrap();
    let request = asked.try_recv().unwrap();
    assert!(request.contains("authorization: Bearer user\r\n"), "{request}");
    assert!(request.contains("x-goog-user-project: payer\r\n"), "{request}");
    let request = tokens.try_recv().unwrap();
    let body = "client_id=me&client_secret=hunter2&grant_type=refresh_token&refresh_token=1%2F%2Fr%2Bt";
    assert!(
        request.ends_with(body) && !request.contains("authorization"),
        "{request}"
    );
}

#[tokio::test]
async fn a_machine_is_handed_a_token_by_the_service_at_its_side() {
    let (port, tokens) = server(|_| answer(r#"{"access_token": "vm", "expires_in": 3599, "token_type": "Bearer"}"#));
    let env = |port: u16| move |name: &str| (name == "GCE_METADATA_HOST").then(|| format!("127.0.0.1:{port}"));
    let token = async |port: u16| {
        let source = super::super::TokenSource::shared(&find(None, &env(port)).unwrap().oauth2);
        source.token(None, std::time::Duration::from_secs(10)).await
    };
    assert_eq!(token(port).await.unwrap().value, "Bearer vm");
    let request = tokens.try_recv().unwrap();
    let path =
        "GET /computeMetadata/v1/instance/service-accounts/default/token?scopes=https%3A%2F%2Fwww.googleapis.com";
    assert!(
        request.starts_with(path) && request.contains("metadata-flavor: Google\r\n"),
        "{request}"
    );
    // Elsewhere it is told where else credentials were looked for.
    let error = token(1).await.unwrap_err().to_string();
    assert!(
        error.ends_with(NOWHERE_ELSE) && error.contains("connection refused"),
        "{error}"
    );
}
