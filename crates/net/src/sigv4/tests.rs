use super::*;
use crate::tests::{Got, Reply, ok, serve};
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

#[tokio::test]
async fn a_request_is_given_what_the_signature_needs() {
    let url = "https://h:8443/workspaces/w/api/v1/remote_write".parse().unwrap();
    let mut headers = HeaderMap::new();
    headers.insert(HOST, HeaderValue::from_static("h:8443"));
    let signer = RoleKeys::shared(&config())
        .signer(Duration::from_secs(10))
        .await
        .unwrap();
    signer.sign(&Method::POST, &url, b"body", &mut headers).unwrap();
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
        let keys = source.way().map(|way| match way.first {
            First::Keys(k) => format!("{}:{}:{}", k.access_key, k.secret_key, k.session_token),
            other => format!("{other:?}"),
        });
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
            "profile \"role\" has role_arn, but neither source_profile nor credential_source",
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
    let env = |_: &str| None;
    let config = SigV4Config::default();
    match Source::new(&config, &env).way().unwrap().first {
        First::Machine {
            missing: Some(missing), ..
        } => assert!(missing.to_string().contains("AWS_ACCESS_KEY_ID"), "{missing}"),
        other => panic!("{other:?}"),
    }
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

impl Keys {
    fn of(access_key: &str, secret_key: &str, session_token: &str) -> Self {
        Self {
            access_key: access_key.to_owned(),
            secret_key: secret_key.to_owned(),
            session_token: session_token.to_owned(),
        }
    }
}

const UNTIL_2100: &str = "2100-01-01T00:00:00Z";

fn keys_xml(key: &str, expiration: &str) -> String {
    format!(
        "<AssumeRoleResponse xmlns=\"https://sts.amazonaws.com/doc/2011-06-15/\"><AssumeRoleResult><Credentials>\n\
         <AccessKeyId>{key}</AccessKeyId><SecretAccessKey>s/+=</SecretAccessKey><SessionToken>tok/+=</SessionToken>\n\
         <Expiration>{expiration}</Expiration></Credentials></AssumeRoleResult></AssumeRoleResponse>"
    )
}

fn text(got: &Got) -> String {
    String::from_utf8_lossy(&got.body).into_owned()
}

#[tokio::test]
async fn a_role_is_assumed_once_and_again_before_its_keys_expire() {
    for (expiration, times) in [(UNTIL_2100, 1), ("2020-01-01T00:00:00Z", 2)] {
        let reply: Reply = Arc::new(move |_: &Got| ok(&keys_xml("ASIA", expiration)));
        let (port, asked) = serve(None, reply).await;
        let role = RoleKeys::shared(&SigV4Config {
            role_arn: "arn:aws:iam::1:role/r".to_owned(),
            external_id: format!("e&{times}"),
            ..config()
        });
        let env = |name: &str| (name == "AWS_ENDPOINT_URL_STS").then(|| format!("http://127.0.0.1:{port}"));
        for _ in 0..2 {
            let signer = role.signer_of(&env, Duration::from_secs(10)).await.unwrap();
            assert_eq!(
                (signer.keys.access_key.as_str(), signer.service.as_str()),
                ("ASIA", "aps")
            );
            assert_eq!(
                (signer.keys.secret_key.as_str(), signer.keys.session_token.as_str()),
                ("s/+=", "tok/+=")
            );
            assert!(!format!("{signer:?} {role:?}").contains("s/+="));
        }
        for _ in 0..times {
            let got = asked.try_recv().unwrap();
            let body = text(&got);
            let (session, rest) = body.split_once("&Version=").unwrap();
            assert!(session.starts_with("RoleSessionName=cupola-"), "{session}");
            assert_eq!(
                rest,
                format!(
                    "2011-06-15&Action=AssumeRole&ExternalId=e%26{times}&RoleArn=arn%3Aaws%3Aiam%3A%3A1%3Arole%2Fr"
                )
            );
            let authorization = got.headers["authorization"].to_str().unwrap();
            assert!(authorization.contains("Credential=AK/"), "{authorization}");
            assert!(
                authorization.contains("/eu-north-1/sts/aws4_request"),
                "{authorization}"
            );
        }
        assert!(asked.try_recv().is_err(), "it was assumed once more");
    }
}

#[tokio::test]
async fn a_service_accounts_token_gets_keys_and_these_another_role() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("token").display().to_string();
    std::fs::write(&file, "jwt.token\n").unwrap();
    let reply: Reply = Arc::new(|got: &Got| match text(got).contains("WebIdentityToken=jwt.token") {
        true => ok(&keys_xml("OFTOKEN", UNTIL_2100)),
        false => ok(&keys_xml("OFROLE", UNTIL_2100)),
    });
    let (port, asked) = serve(None, reply).await;
    let env = |name: &str| match name {
        "AWS_ENDPOINT_URL" => Some(format!("http://127.0.0.1:{port}/sts")),
        "AWS_ROLE_ARN" => Some("arn:first".to_owned()),
        "AWS_WEB_IDENTITY_TOKEN_FILE" => Some(file.clone()),
        "AWS_ROLE_SESSION_NAME" => Some("pod".to_owned()),
        "AWS_REGION" => Some("eu-1".to_owned()),
        _ => None,
    };
    let of = |role_arn: &str| SigV4Config {
        role_arn: role_arn.to_owned(),
        service_name: "token-test".to_owned(),
        ..SigV4Config::default()
    };
    let timeout = Duration::from_secs(10);
    let signer = RoleKeys::shared(&of("")).signer_of(&env, timeout).await.unwrap();
    assert_eq!(signer.keys.access_key, "OFTOKEN");
    let got = asked.try_recv().unwrap();
    assert_eq!(
        text(&got),
        "RoleSessionName=pod&Version=2011-06-15&Action=AssumeRoleWithWebIdentity&WebIdentityToken=jwt.token&\
         RoleArn=arn%3Afirst"
    );
    assert!(!got.headers.contains_key("authorization"));
    let signer = RoleKeys::shared(&of("arn:second"))
        .signer_of(&env, timeout)
        .await
        .unwrap();
    assert_eq!(signer.keys.access_key, "OFROLE");
    asked.try_recv().unwrap();
    let got = asked.try_recv().unwrap();
    assert!(text(&got).ends_with("&RoleArn=arn%3Asecond"));
    assert_eq!(got.headers["x-amz-security-token"], "tok/+=");
    // Keys of the environment go before the token.
    let with_keys = |name: &str| match name {
        "AWS_ACCESS_KEY_ID" | "AWS_SECRET_ACCESS_KEY" => Some("E".to_owned()),
        name => env(name),
    };
    let other = SigV4Config {
        service_name: "other".to_owned(),
        ..SigV4Config::default()
    };
    let signer = RoleKeys::shared(&other).signer_of(&with_keys, timeout).await.unwrap();
    assert_eq!(signer.keys.access_key, "E");
}

#[tokio::test]
async fn a_role_that_is_refused_is_told_with_amazons_words_and_no_secret() {
    let refused = "<ErrorResponse><Error><Type>Sender</Type><Code>AccessDenied</Code>\
                   <Message>User is not authorized</Message></Error></ErrorResponse>";
    for (status, body, why) in [
        (
            403,
            refused,
            "answers 403 Forbidden: AccessDenied: User is not authorized",
        ),
        (200, "hunter2", "answers without Expiration"),
        (
            200,
            "<Expiration>soon</Expiration>",
            "answers with an Expiration that is no time",
        ),
    ] {
        let reply: Reply = Arc::new(move |_: &Got| {
            let mut response = ok(body);
            *response.status_mut() = http::StatusCode::from_u16(status).unwrap();
            response
        });
        let (port, _asked) = serve(None, reply).await;
        let url = format!("http://127.0.0.1:{port}");
        let role = RoleKeys::shared(&SigV4Config {
            role_arn: "arn:r".to_owned(),
            external_id: url.clone(),
            ..config()
        });
        let env = |name: &str| (name == "AWS_ENDPOINT_URL_STS").then(|| url.clone());
        let error = role.signer_of(&env, Duration::from_secs(10)).await.unwrap_err();
        assert_eq!(
            error.to_string(),
            format!("sigv4: cannot assume the role arn:r: {url} {why}")
        );
    }
}

#[test]
fn no_answer_of_the_token_service_makes_it_panic() {
    cupola_testkit::fuzz(3_000, &[keys_xml("A", UNTIL_2100).into_bytes()], &[], |bytes| {
        let response = crate::Response {
            status: http::StatusCode::OK,
            headers: HeaderMap::new(),
            body: bytes.to_vec(),
            wire_bytes: bytes.len(),
            room: crate::Room::default(),
        };
        if let Ok((keys, _)) = sts::read(&response) {
            assert!(!keys.secret_key.is_empty());
        }
    });
}

fn keys_json(key: &str, expiration: &str) -> String {
    format!(
        r#"{{"Code": "Success", "Type": "AWS-HMAC", "AccessKeyId": "{key}", "SecretAccessKey": "s/+=", "Token": "tok/+=",
            "Expiration": "{expiration}"}}"#
    )
}

#[tokio::test]
async fn a_machine_is_handed_keys_by_the_service_at_its_side() {
    for (expiration, times) in [(UNTIL_2100, 1), ("2020-01-01T00:00:00Z", 2)] {
        let reply: Reply = Arc::new(move |got: &Got| match (got.method.as_str(), got.uri.as_str()) {
            ("PUT", "/latest/api/token") => ok("to-ken"),
            ("GET", "/latest/meta-data/iam/security-credentials/") => ok("its-role\n"),
            ("GET", "/latest/meta-data/iam/security-credentials/its-role") => ok(&keys_json("MACHINE", expiration)),
            _ => ok("no such page"),
        });
        let (port, asked) = serve(None, reply).await;
        let env = |name: &str| match name {
            "AWS_EC2_METADATA_SERVICE_ENDPOINT" => Some(format!("http://127.0.0.1:{port}/")),
            "AWS_REGION" => Some("eu-1".to_owned()),
            _ => None,
        };
        let role = RoleKeys::shared(&SigV4Config {
            service_name: format!("machine-{times}"),
            ..SigV4Config::default()
        });
        for _ in 0..2 {
            let signer = role.signer_of(&env, Duration::from_secs(10)).await.unwrap();
            let keys = &signer.keys;
            assert_eq!(
                (
                    keys.access_key.as_str(),
                    keys.secret_key.as_str(),
                    keys.session_token.as_str()
                ),
                ("MACHINE", "s/+=", "tok/+=")
            );
        }
        for _ in 0..times {
            let all = [
                asked.try_recv().unwrap(),
                asked.try_recv().unwrap(),
                asked.try_recv().unwrap(),
            ];
            assert_eq!(all[0].headers["x-aws-ec2-metadata-token-ttl-seconds"], "300");
            assert!(
                all[1..]
                    .iter()
                    .all(|got| got.headers["x-aws-ec2-metadata-token"] == "to-ken")
            );
        }
        assert!(asked.try_recv().is_err(), "it was asked once more");
    }
}

#[tokio::test]
async fn a_container_is_handed_keys_by_its_own_service() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("token").display().to_string();
    std::fs::write(&file, "Bearer x\n").unwrap();
    let (port, asked) = serve(None, Arc::new(|_: &Got| ok(&keys_json("CONTAINER", UNTIL_2100)))).await;
    let env = |name: &str| match name {
        "AWS_CONTAINER_CREDENTIALS_FULL_URI" => Some(format!("http://127.0.0.1:{port}/v1/credentials")),
        "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE" => Some(file.clone()),
        "AWS_REGION" => Some("eu-1".to_owned()),
        _ => None,
    };
    let role = RoleKeys::shared(&SigV4Config {
        service_name: "container".to_owned(),
        ..SigV4Config::default()
    });
    let signer = role.signer_of(&env, Duration::from_secs(10)).await.unwrap();
    assert_eq!(signer.keys.access_key, "CONTAINER");
    let got = asked.try_recv().unwrap();
    assert_eq!(
        (got.uri.as_str(), &got.headers["authorization"]),
        ("/v1/credentials", &"Bearer x".parse().unwrap())
    );
}

#[tokio::test]
async fn a_machine_without_keys_is_told_and_not_asked_each_time() {
    let (port, asked) = serve(None, Arc::new(|_: &Got| ok(""))).await;
    let env = |name: &str| match name {
        "AWS_EC2_METADATA_SERVICE_ENDPOINT" => Some(format!("http://127.0.0.1:{port}")),
        "AWS_REGION" => Some("eu-1".to_owned()),
        _ => None,
    };
    let of = |name: &str, profile: &str| {
        RoleKeys::shared(&SigV4Config {
            service_name: name.to_owned(),
            profile: profile.to_owned(),
            ..SigV4Config::default()
        })
    };
    let (role, timeout) = (of("without", ""), Duration::from_secs(10));
    for _ in 0..2 {
        let error = role.signer_of(&env, timeout).await.unwrap_err().to_string();
        assert!(
            error.starts_with("sigv4: profile \"default\" has no aws_access_key_id, and there are no keys in"),
            "{error}"
        );
        assert!(
            error.ends_with("/security-credentials/: the machine has no role"),
            "{error}"
        );
    }
    assert_eq!(asked.try_iter().count(), 2);
    // Who names a profile wants its keys and no others.
    let error = of("without", "team")
        .signer_of(&env, timeout)
        .await
        .unwrap_err()
        .to_string();
    assert!(error.ends_with("profile \"team\" has no aws_access_key_id"), "{error}");
    let off = |name: &str| {
        (name == "AWS_EC2_METADATA_DISABLED")
            .then(|| "TRUE".to_owned())
            .or_else(|| env(name))
    };
    let error = of("disabled", "")
        .signer_of(&off, timeout)
        .await
        .unwrap_err()
        .to_string();
    assert!(error.ends_with("AWS_EC2_METADATA_DISABLED is true"), "{error}");
    assert_eq!(asked.try_iter().count(), 0);
}

#[test]
fn no_answer_of_a_machines_service_makes_it_panic() {
    let seeds = [keys_json("A", UNTIL_2100).into_bytes()];
    cupola_testkit::fuzz(1_000, &seeds, &["null", "{}", "\"\""], |bytes| {
        if let Err(error) = machine::read(bytes) {
            assert!(!error.contains("s/+="), "{error}");
        }
    });
}

// What a profile of these files leads to, or why to nothing.
fn way_of(profile: &str, config: &str, env: &[(&str, &str)]) -> Result<String, String> {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("config").display().to_string();
    std::fs::write(&file, config).unwrap();
    let section = SigV4Config {
        profile: profile.to_owned(),
        ..SigV4Config::default()
    };
    let env = |name: &str| match name {
        "AWS_CONFIG_FILE" => Some(file.clone()),
        name => env
            .iter()
            .find(|(n, _)| *n == name)
            .map(|(_, value)| (*value).to_owned()),
    };
    let way = Source::new(&section, &env).way();
    let way = way.map_err(|error| error.to_string().replace("sigv4: ", ""))?;
    let first = match way.first {
        First::Keys(keys) => format!("keys {}", keys.access_key),
        First::Token(sts::Role::OfToken { arn, file, session }) => format!("token {file} {arn} {session:?}"),
        First::Token(role) => format!("{role:?}"),
        First::Process { command, .. } => format!("process {command}"),
        First::Machine { place, .. } => format!("{place:?}"),
    };
    let roles = way.roles.iter().map(|role| match role {
        sts::Role::Configured {
            arn,
            external_id,
            session,
            seconds,
        } => format!(" > {arn} {external_id:?} {session:?} {seconds:?}"),
        other => format!(" > {other:?}"),
    });
    Ok(first + &roles.collect::<String>())
}

#[test]
fn profiles_lead_to_keys_as_for_amazons_own_tools() {
    let config = "[default]\naws_access_key_id = D\naws_secret_access_key = d\n\
        [profile one]\nrole_arn = arn:1\nsource_profile = default\nexternal_id = x\nrole_session_name = me\n\
        duration_seconds = 3600\n\
        [profile two]\nrole_arn = arn:2\nsource_profile = one\n\
        [profile own]\nrole_arn = arn:o\nsource_profile = own\naws_access_key_id = O\naws_secret_access_key = o\n\
        [profile of own]\nrole_arn = arn:oo\nsource_profile = own\n\
        [profile env]\nrole_arn = arn:e\ncredential_source = Environment\n\
        [profile vm]\nrole_arn = arn:v\ncredential_source = Ec2InstanceMetadata\n\
        [profile pod]\nrole_arn = arn:p\ncredential_source=EcsContainer\n\
        [profile web]\nrole_arn = arn:w\nweb_identity_token_file = /token\nrole_session_name = me\n\
        [profile after web]\nrole_arn = arn:aw\nsource_profile = web\n\
        [profile run]\ncredential_process = /bin/keys \"a b\"\n\
        [profile after run]\nrole_arn = arn:ar\nsource_profile = run\n";
    let keys = [("AWS_ACCESS_KEY_ID", "E"), ("AWS_SECRET_ACCESS_KEY", "e")];
    for (profile, expected) in [
        ("one", "keys D > arn:1 \"x\" Some(\"me\") Some(3600)"),
        (
            "two",
            "keys D > arn:1 \"x\" Some(\"me\") Some(3600) > arn:2 \"\" None None",
        ),
        ("own", "keys O > arn:o \"\" None None"),
        // Keys of its own go before the profile it names, where it is another's source.
        ("of own", "keys O > arn:o \"\" None None > arn:oo \"\" None None"),
        ("env", "keys E > arn:e \"\" None None"),
        ("vm", "Instance > arn:v \"\" None None"),
        ("pod", "Container > arn:p \"\" None None"),
        ("web", "token /token arn:w Some(\"me\")"),
        ("after web", "token /token arn:w Some(\"me\") > arn:aw \"\" None None"),
        ("run", "process /bin/keys \"a b\""),
        ("after run", "process /bin/keys \"a b\" > arn:ar \"\" None None"),
    ] {
        assert_eq!(way_of(profile, config, &keys).as_deref(), Ok(expected), "{profile}");
    }
    // Without one named, the environment goes before the default profile.
    assert_eq!(way_of("", config, &keys).as_deref(), Ok("keys E"));
    let by_name = [("AWS_PROFILE", "one")];
    let expected = "keys D > arn:1 \"x\" Some(\"me\") Some(3600)";
    assert_eq!(way_of("", config, &by_name).as_deref(), Ok(expected));
}

#[test]
fn a_profile_that_leads_nowhere_is_told_by_name() {
    let chain = |from: usize| -> String {
        (from..=20)
            .map(|n| format!("[profile c{n}]\nrole_arn = a\nsource_profile = c{}\n", n + 1))
            .collect()
    };
    let chain = chain(1);
    for (config, why) in [
        (
            "role_arn = a",
            "profile \"p\" has role_arn, but neither source_profile nor credential_source",
        ),
        (
            "source_profile = other",
            "profile \"p\" has source_profile, but no role_arn",
        ),
        (
            "role_arn = a\nsource_profile = other",
            "profile \"other\" has no aws_access_key_id",
        ),
        (
            "role_arn = a\nsource_profile = p",
            "profile \"p\" has no aws_access_key_id",
        ),
        (
            "role_arn = a\nsource_profile = c1",
            "profile \"c8\" is the 8th source_profile in a row",
        ),
        (
            "role_arn = a\ncredential_source = Moon",
            "profile \"p\" has the credential_source \"Moon\"; it must be EcsContainer, Ec2InstanceMetadata or Environment",
        ),
        (
            "role_arn = a\ncredential_source = Environment",
            "profile \"p\" has the credential_source Environment, but there are no AWS_ACCESS_KEY_ID and \
             AWS_SECRET_ACCESS_KEY",
        ),
        (
            "sso_session = s",
            "profile \"p\" signs in (sso_session), which is not supported by this version; give it keys, a role or a \
             credential_process",
        ),
        (
            "role_arn = a\nsource_profile = p\nmfa_serial = m\naws_access_key_id = k\naws_secret_access_key = s",
            "profile \"p\" asks for a second factor (mfa_serial), for which nobody is there",
        ),
    ] {
        let config = format!("[profile p]\n{config}\n{chain}");
        assert_eq!(way_of("p", &config, &[]), Err(why.to_owned()), "{config}");
    }
}

#[tokio::test]
async fn roles_of_profiles_are_assumed_one_after_the_other() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("config").display().to_string();
    let config = "[profile base]\naws_access_key_id = BASE\naws_secret_access_key = b\n\
                  [profile one]\nregion = eu-7\nrole_arn = arn:1\nsource_profile = base\nrole_session_name = me\n\
                  duration_seconds = 3600\n";
    std::fs::write(&file, config).unwrap();
    let reply: Reply = Arc::new(|got: &Got| match text(got).contains("RoleArn=arn%3A1") {
        true => ok(&keys_xml("FIRST", UNTIL_2100)),
        false => ok(&keys_xml("SECOND", UNTIL_2100)),
    });
    let (port, asked) = serve(None, reply).await;
    let env = |name: &str| match name {
        "AWS_ENDPOINT_URL_STS" => Some(format!("http://127.0.0.1:{port}")),
        "AWS_CONFIG_FILE" => Some(file.clone()),
        _ => None,
    };
    let role = RoleKeys::shared(&SigV4Config {
        profile: "one".to_owned(),
        role_arn: "arn:2".to_owned(),
        external_id: "chain".to_owned(),
        ..SigV4Config::default()
    });
    for _ in 0..2 {
        let signer = role.signer_of(&env, Duration::from_secs(10)).await.unwrap();
        assert_eq!(
            (signer.keys.access_key.as_str(), signer.region.as_str()),
            ("SECOND", "eu-7")
        );
    }
    let (first, second) = (asked.try_recv().unwrap(), asked.try_recv().unwrap());
    assert!(asked.try_recv().is_err(), "it was assumed once more");
    // A profile that leads elsewhere by now.
    std::fs::write(&file, config.replace("BASE", "OTHER")).unwrap();
    role.signer_of(&env, Duration::from_secs(10)).await.unwrap();
    let authorization = asked.try_recv().unwrap().headers["authorization"].clone();
    assert!(authorization.to_str().unwrap().contains("Credential=OTHER/"));
    assert_eq!(
        text(&first),
        "RoleSessionName=me&Version=2011-06-15&Action=AssumeRole&DurationSeconds=3600&RoleArn=arn%3A1"
    );
    assert!(text(&second).ends_with("&Action=AssumeRole&ExternalId=chain&RoleArn=arn%3A2"));
    // Each by the keys before: the signatures are made anew with them.
    for (got, keys) in [
        (&first, Keys::of("BASE", "b", "")),
        (&second, Keys::of("FIRST", "s/+=", "tok/+=")),
    ] {
        let time = got.headers["x-amz-date"].to_str().unwrap();
        let expected = keys.sign(&Signed {
            method: "POST",
            host: &format!("127.0.0.1:{port}"),
            path: "/",
            query: "",
            body: &got.body,
            region: "eu-7",
            service: "sts",
            time,
        });
        assert_eq!(got.headers["authorization"], expected);
    }
}

#[tokio::test]
async fn a_program_prints_keys() {
    let timeout = Duration::from_secs(10);
    let printed = r#"{"Version": 1, "AccessKeyId": "RUN", "SecretAccessKey": "s/+=", "SessionToken": "t", "Expiration": "2100-01-01T00:00:00Z"}"#;
    let (keys, expires) = process::keys(&format!("echo '{printed}'"), timeout).await.unwrap();
    assert_eq!((keys.access_key.as_str(), keys.session_token.as_str()), ("RUN", "t"));
    assert_eq!(expires, 4_102_444_800_000);
    let for_ever = r#"{"Version": 1, "AccessKeyId": "RUN", "SecretAccessKey": "s"}"#;
    let (keys, expires) = process::keys(&format!("echo '{for_ever}'"), timeout).await.unwrap();
    assert_eq!((keys.session_token.as_str(), expires), ("", i64::MAX));
    for (command, why) in [
        ("echo hunter2", "it printed no JSON"),
        (
            r#"echo '{"Version": 2, "AccessKeyId": "hunter2"}'"#,
            "it printed another Version than 1",
        ),
        (
            r#"echo '{"Version": 1, "SecretAccessKey": "hunter2"}'"#,
            "it printed no AccessKeyId",
        ),
        (
            r#"echo '{"Version": 1, "AccessKeyId": "a", "SecretAccessKey": "b", "Expiration": "soon"}'"#,
            "it printed an Expiration that is no time",
        ),
        (
            "echo hunter2; echo no ticket >&2; exit 3",
            "it ended with exit status: 3: no ticket",
        ),
        ("exit 4", "it ended with exit status: 4"),
        // More than is taken: it meets a closed pipe.
        ("exec yes", "it ended with signal: 13 (SIGPIPE)"),
    ] {
        assert_eq!(
            process::keys(command, timeout).await.err().as_deref(),
            Some(why),
            "{command}"
        );
    }
    let error = process::keys("exec sleep 600", Duration::from_millis(50)).await.err();
    assert_eq!(error.as_deref(), Some("it has not ended within 0.05s"));
    cupola_testkit::fuzz(1_000, &[printed.as_bytes().to_vec()], &["null", "{}"], |bytes| {
        if let Err(error) = process::read(bytes) {
            assert!(!error.contains("s/+="), "{error}");
        }
    });
}

#[tokio::test]
async fn a_machine_tells_its_region_where_no_other_is_given() {
    let reply: Reply = Arc::new(|got: &Got| match (got.method.as_str(), got.uri.as_str()) {
        ("PUT", "/latest/api/token") => ok("to-ken"),
        ("GET", "/latest/dynamic/instance-identity/document") => ok(r#"{"accountId": "1", "region": "eu-9"}"#),
        _ => ok("no such page"),
    });
    let (port, asked) = serve(None, reply).await;
    let config = SigV4Config {
        service_name: "region-test".to_owned(),
        ..SigV4Config::default()
    };
    let env = |name: &str| match name {
        "AWS_EC2_METADATA_SERVICE_ENDPOINT" => Some(format!("http://127.0.0.1:{port}")),
        "AWS_ACCESS_KEY_ID" | "AWS_SECRET_ACCESS_KEY" => Some("E".to_owned()),
        _ => None,
    };
    let (keys, timeout) = (RoleKeys::shared(&config), Duration::from_secs(10));
    for _ in 0..2 {
        let signer = keys.signer_of(&env, timeout).await.unwrap();
        assert_eq!((signer.region.as_str(), signer.keys.access_key.as_str()), ("eu-9", "E"));
    }
    assert_eq!(asked.try_iter().count(), 2);
    // Elsewhere it is told once where it was looked for, and asked again only after a while.
    let (port, asked) = serve(None, Arc::new(|_: &Got| ok("{}"))).await;
    let config = SigV4Config {
        service_name: "no-region-test".to_owned(),
        ..SigV4Config::default()
    };
    let env = |name: &str| (name == "AWS_EC2_METADATA_SERVICE_ENDPOINT").then(|| format!("http://127.0.0.1:{port}"));
    let keys = RoleKeys::shared(&config);
    for _ in 0..2 {
        let error = keys.signer_of(&env, timeout).await.unwrap_err().to_string();
        assert_eq!(
            error,
            format!(
                "sigv4: there is no region, neither in sigv4.region nor in AWS_REGION nor in the profile \"default\"; \
                 http://127.0.0.1:{port}/latest/dynamic/instance-identity/document: the answer has no region"
            )
        );
    }
    assert_eq!(asked.try_iter().count(), 2);
    assert!(machine::region_in(br#"{"region": "eu-1.evil.example/"}"#).is_err());
}
