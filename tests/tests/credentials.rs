//! Credentials that clouds hand out, as the whole binary finds them in its environment.

#![allow(clippy::panic, clippy::unwrap_used, reason = "a test's failure is a panic")]

use std::process::Command;

use cupola_tests::{FakeServer, Home, Reply, Request, Server, cupola, eventually, run};

const NEVER: &str = "2100-01-01T00:00:00Z";

fn command(home: &Home, yaml: &str, env: &[(&str, String)]) -> Command {
    let config = home.write("prometheus.yml", yaml);
    let mut command = cupola(["prometheus", "--web.listen-address=127.0.0.1:0"]);
    command.arg(format!("--storage.tsdb.path={}", home.data().display()));
    command.arg(format!("--config.file={}", config.display()));
    command.envs(env.iter().map(|(name, value)| (name, value)));
    command
}

fn amazon(request: &Request) -> Reply {
    let body = String::from_utf8_lossy(&request.body).into_owned();
    let signature = request.header("authorization");
    let xml = |body: &str| Reply::Body(200, "text/xml", body.to_owned());
    match request.path.as_str() {
        "/latest/api/token" if request.method == "PUT" => Reply::Body(200, "text/plain", "to-ken".to_owned()),
        "/latest/dynamic/instance-identity/document" if request.header("x-aws-ec2-metadata-token") == "to-ken" => {
            Reply::Body(200, "application/json", r#"{"region": "eu-9"}"#.to_owned())
        }
        "/sts" if signature.contains("Credential=RUN/") && signature.contains("/eu-9/sts/aws4_request") => {
            assert!(
                body.contains("Action=AssumeRole&ExternalId=x&RoleArn=arn%3A1"),
                "{body}"
            );
            xml(&format!(
                "<AssumeRoleResponse><AssumeRoleResult><Credentials><AccessKeyId>ASIA</AccessKeyId><SecretAccessKey>s\
                 </SecretAccessKey><SessionToken>tok</SessionToken><Expiration>{NEVER}</Expiration></Credentials>\
                 </AssumeRoleResult></AssumeRoleResponse>"
            ))
        }
        "/ec2" if signature.contains("Credential=ASIA/") && signature.contains("/eu-9/ec2/aws4_request") => {
            assert_eq!(request.header("x-amz-security-token"), "tok");
            match body.contains("Action=DescribeInstances") {
                true => xml(
                    "<DescribeInstancesResponse><reservationSet><item><instancesSet><item><instanceId>i-1</instanceId>\
                     <privateIpAddress>127.1.0.1</privateIpAddress></item></instancesSet></item></reservationSet>\
                     </DescribeInstancesResponse>",
                ),
                false => xml("<DescribeAvailabilityZonesResponse/>"),
            }
        }
        _ => Reply::Body(403, "text/xml", "<Error><Code>AccessDenied</Code></Error>".to_owned()),
    }
}

// The region is the machine's, the keys are a role's, which those of a program get.
#[test]
fn instances_are_found_with_a_role_of_a_profile_in_the_machines_own_region() {
    let amazon = FakeServer::start(amazon);
    let home = Home::new();
    let shared = home.write(
        "aws",
        "[default]\nrole_arn = arn:1\nsource_profile = run\nexternal_id = x\n[profile run]\n\
         credential_process = echo '{\"Version\": 1, \"AccessKeyId\": \"RUN\", \"SecretAccessKey\": \"s\"}'\n",
    );
    let yaml = format!(
        "scrape_configs:\n- job_name: ec2\n  ec2_sd_configs: [{{endpoint: '{}', port: 91}}]\n",
        amazon.url("/ec2")
    );
    let env = [
        ("AWS_CONFIG_FILE", shared.display().to_string()),
        ("AWS_SHARED_CREDENTIALS_FILE", "/nowhere".to_owned()),
        ("AWS_EC2_METADATA_SERVICE_ENDPOINT", amazon.url("")),
        ("AWS_ENDPOINT_URL_STS", amazon.url("/sts")),
    ];
    let server = Server::start(&mut command(&home, &yaml, &env));
    let target = eventually(30, "the instance is found", || {
        let data = server.api("/api/v1/targets", &[("state", "active")]);
        data["activeTargets"].get(0).cloned()
    });
    assert_eq!(target["discoveredLabels"]["__address__"], "127.1.0.1:91");
    assert_eq!(target["discoveredLabels"]["__meta_ec2_region"], "eu-9");
    assert_eq!(amazon.requests("/sts").len(), 1);
}

#[test]
fn samples_go_to_google_with_the_machines_own_token() {
    let google = FakeServer::start(|request| {
        let is_token = request
            .path
            .starts_with("/computeMetadata/v1/instance/service-accounts/default/token?scopes=https%3A%2F%2F");
        match request.header("authorization") {
            "" if is_token && request.header("metadata-flavor") == "Google" => {
                let token = r#"{"access_token": "ya29.vm", "expires_in": 3599, "token_type": "Bearer"}"#;
                Reply::Body(200, "application/json", token.to_owned())
            }
            "Bearer ya29.vm" => Reply::status(204),
            _ => Reply::status(401),
        }
    });
    let home = Home::new();
    let yaml = format!(
        "global: {{scrape_interval: 300ms, scrape_timeout: 300ms}}\nremote_write:\n- url: {}\n  google_iam: {{}}\n  \
         queue_config: {{batch_send_deadline: 100ms}}\nscrape_configs:\n- job_name: none\n  static_configs: \
         [{{targets: ['127.0.0.1:1']}}]\n",
        google.url("/write")
    );
    let env = [
        ("GCE_METADATA_HOST", google.address().to_string()),
        ("GOOGLE_APPLICATION_CREDENTIALS", String::new()),
        ("HOME", home.path().display().to_string()),
    ];
    let server = Server::start(&mut command(&home, &yaml, &env));
    eventually(30, "samples are sent", || {
        server
            .own_metric("prometheus_remote_storage_samples_total")
            .filter(|sent| *sent > 0.0)
    });
    let written = google.requests("/write");
    assert!(!written.is_empty());
    assert!(
        written
            .iter()
            .all(|request| request.header("authorization") == "Bearer ya29.vm")
    );
}

#[test]
fn credentials_that_cannot_be_used_are_refused_when_the_configuration_is_loaded() {
    let home = Home::new();
    let file = home.write(
        "external.json",
        r#"{"type": "external_account", "audience": "hunter2"}"#,
    );
    let file = file.display().to_string();
    for (auth, env, why) in [
        (
            format!("google_iam: {{credentials_file: '{file}'}}"),
            vec![],
            format!(
                "remote_write[0]: google_iam: credentials_file {file}: credentials of type \"external_account\" are not \
                 supported"
            ),
        ),
        (
            "google_iam: {}".to_owned(),
            vec![("GOOGLE_APPLICATION_CREDENTIALS", "/nowhere.json".to_owned())],
            "remote_write[0]: google_iam: GOOGLE_APPLICATION_CREDENTIALS /nowhere.json: No such file".to_owned(),
        ),
        (
            "azuread: {sdk: {}}".to_owned(),
            ["AZURE_TENANT_ID", "AZURE_CLIENT_ID", "AZURE_USERNAME"]
                .map(|name| (name, "hunter2".to_owned()))
                .to_vec(),
            "remote_write[0]: azuread.sdk: AZURE_USERNAME is not supported".to_owned(),
        ),
    ] {
        let yaml = format!("remote_write:\n- url: http://127.0.0.1:1/\n  {auth}\n");
        let finished = run(&mut command(&home, &yaml, &env), b"");
        assert!(finished.code.is_some_and(|code| code != 0), "{finished:?}");
        assert!(finished.stderr.contains(&why), "{}", finished.stderr);
        assert!(!finished.stderr.contains("hunter2"), "{}", finished.stderr);
    }
}
