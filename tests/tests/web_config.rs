//! `--web.config.file`: TLS, client certificates, passwords, headers and limits of our own listeners, against the programs
//! that others bring: curl, OpenSSL, Debian's Prometheus, promtool and amtool.

#![allow(clippy::panic, clippy::unwrap_used, reason = "a test's failure is a panic")]

mod https;

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::process::Command;
use std::time::Duration;

use cupola_tests::{
    FakeTarget, Finished, Home, Pki, Prometheus, alertmanager, cupola, eventually, get, neighbour, repository, request,
    run, skip,
};
use https::{Https, USER, curl, listening, user};
use serde_json::Value;

const EMPTY: &str = "global: {scrape_interval: 1h}\n";

// `cupola prometheus` with `web` as its web configuration.
fn prometheus(home: &Home, config: &str, web: &str) -> Https {
    let config = home.write("prometheus.yml", config);
    let web = home.write("web.yml", web);
    let mut command = cupola(["prometheus", "--web.listen-address=127.0.0.1:0"]);
    command
        .arg(format!("--storage.tsdb.path={}", home.data().display()))
        .arg(format!("--config.file={}", config.display()))
        .arg(format!("--web.config.file={}", web.display()));
    Https::start(&mut command)
}

#[test]
fn pages_and_api_are_behind_tls_and_passwords() {
    let (home, Some(pki)) = (Home::new(), Pki::new()) else {
        return;
    };
    let Some(_) = neighbour("curl") else { return };
    let server = prometheus(&home, EMPTY, &format!("{}{}", pki.server("server"), user()));
    eventually(30, "the log says how it listens", || {
        server.log_has("msg=\"TLS is enabled.\" http2=true").then_some(())
    });
    let login = format!("{USER}:hunter-1");
    for (version, told) in [("--http1.1", "1.1"), ("--http2", "2")] {
        for path in ["/", "/-/healthy", "/-/ready", "/metrics", "/api/v1/query?query=1"] {
            let options = [
                "--cacert",
                &pki.path("ca.crt"),
                version,
                "-w",
                "\n%{http_code} %{http_version}",
            ];
            let refused = server.curl(&options, path);
            assert!(
                refused.ends_with(&format!("\n401 {told}")),
                "{version} {path}: {refused}"
            );
            let welcome = server.curl(&[&options[..], &["-u", &login]].concat(), path);
            assert!(
                welcome.ends_with(&format!("\n200 {told}")),
                "{version} {path}: {welcome}"
            );
        }
    }
    let head = server
        .curl(&["--cacert", &pki.path("ca.crt"), "-i"], "/")
        .to_lowercase();
    assert!(head.contains("www-authenticate: basic\r\n"), "{head}");
    assert!(
        !head.contains("strict-transport-security"),
        "only where it is asked for: {head}"
    );
    // A scheme that is the right one, for the links that are sent.
    let query = ["--cacert", &pki.path("ca.crt"), "-u", &login];
    let flags: Value = serde_json::from_str(&server.curl(&query, "/api/v1/status/flags")).unwrap();
    assert!(
        flags["data"]["web.config.file"].as_str().unwrap().ends_with("web.yml"),
        "{flags}"
    );
    // Whoever does not trust the authority, and whoever speaks plain HTTP, gets nothing.
    let stranger = curl(&["-u", &login], &server.url("/-/ready"));
    assert_eq!(stranger.code, Some(60), "{}", stranger.stderr);
    let mut plain = TcpStream::connect(server.address).unwrap();
    plain.write_all(b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
    let mut answer = String::new();
    plain.read_to_string(&mut answer).unwrap();
    assert_eq!(
        answer,
        "HTTP/1.0 400 Bad Request\r\n\r\nClient sent an HTTP request to an HTTPS server.\n"
    );
}

#[test]
fn a_post_and_a_large_answer_go_over_http2() {
    let (home, Some(pki)) = (Home::new(), Pki::new()) else {
        return;
    };
    let Some(_) = neighbour("curl") else { return };
    let server = prometheus(&home, EMPTY, &pki.server("server"));
    let ca = pki.path("ca.crt");
    let query = "query=count_values(\"x\", vector(1))";
    let answer = server.curl(
        &["--cacert", &ca, "--http2", "--data-urlencode", query],
        "/api/v1/query",
    );
    assert!(answer.contains("\"status\":\"success\""), "{answer}");
    let range = "/api/v1/query_range?query=time()&start=0&end=100000&step=10";
    let answer: Value = serde_json::from_str(&server.curl(&["--cacert", &ca, "--http2"], range)).unwrap();
    assert_eq!(answer["data"]["result"][0]["values"].as_array().unwrap().len(), 10_001);
    // Many at once in one connection.
    let urls: Vec<String> = (0..50)
        .map(|n| server.url(&format!("/api/v1/query?query={n}")))
        .collect();
    let mut command = Command::new("curl");
    command.args([
        "-sS",
        "--parallel",
        "--http2",
        "--cacert",
        &ca,
        "-w",
        "<%{http_code} %{http_version}>",
    ]);
    for url in &urls {
        command.arg(url);
    }
    let all = run(&mut command, b"");
    assert_eq!(all.stdout.matches("<200 2>").count(), urls.len(), "{all:?}");
}

#[test]
fn http2_can_be_turned_off() {
    let (home, Some(pki)) = (Home::new(), Pki::new()) else {
        return;
    };
    let Some(_) = neighbour("curl") else { return };
    let web = format!("{}http_server_config: {{http2: false}}\n", pki.server("server"));
    let server = prometheus(&home, EMPTY, &web);
    eventually(30, "the log says that there is no HTTP/2", || {
        server.log_has("msg=\"TLS is enabled.\" http2=false").then_some(())
    });
    let options = [
        "--cacert",
        &pki.path("ca.crt"),
        "--http2",
        "-o",
        "/dev/null",
        "-w",
        "%{http_code} %{http_version}",
    ];
    assert_eq!(server.curl(&options, "/-/ready"), "200 1.1");
}

#[test]
fn client_certificates_are_asked_for_in_all_five_ways() {
    let (home, Some(pki)) = (Home::new(), Pki::new()) else {
        return;
    };
    let Some(_) = neighbour("curl") else { return };
    let ca = format!("  client_ca_file: {}\n", pki.path("ca.crt"));
    let sans = "  client_allowed_sans: [other.example, scraper.example]\n";
    let wrong_sans = "  client_allowed_sans: [scraper, '*.example']\n";
    // Who gets in: without a certificate, with one of our authority, with one of a stranger.
    for (kind, more, expected) in [
        ("NoClientCert", "", [true, true, true]),
        ("RequestClientCert", "", [true, true, true]),
        ("RequireAnyClientCert", "", [false, true, true]),
        ("RequireClientCert", &*ca, [false, true, true]),
        ("VerifyClientCertIfGiven", &ca, [true, true, false]),
        ("RequireAndVerifyClientCert", &ca, [false, true, false]),
        (
            "RequireAndVerifyClientCert",
            &format!("{ca}{sans}"),
            [false, true, false],
        ),
        (
            "RequireAndVerifyClientCert",
            &format!("{ca}{wrong_sans}"),
            [false, false, false],
        ),
        ("RequireAnyClientCert", sans, [false, true, false]),
        // The system's authorities have issued neither.
        ("VerifyClientCertIfGiven", "", [true, false, false]),
        (
            "RequireAndVerifyClientCert",
            "  client_allowed_sans: []\n",
            [false, false, false],
        ),
    ] {
        let web = format!("{}  client_auth_type: {kind}\n{more}", pki.server("server"));
        let server = prometheus(&home, EMPTY, &web);
        let certs = [None, Some("client"), Some("stranger")];
        for (cert, expected) in certs.iter().zip(expected) {
            // In TLS 1.3 the client hears of a refusal only when it asks; both must hear it.
            for version in ["1.2", "1.3"] {
                let trusted = pki.path("ca.crt");
                let mut options = vec![
                    "--cacert",
                    &*trusted,
                    "--tls-max",
                    version,
                    "-o",
                    "/dev/null",
                    "-w",
                    "%{http_code}",
                ];
                let files = cert.map(|name| (pki.path(&format!("{name}.crt")), pki.path(&format!("{name}.key"))));
                if let Some((cert, key)) = &files {
                    options.extend(["--cert", cert, "--key", key]);
                }
                let got = curl(&options, &server.url("/-/ready"));
                let is_in = got.code == Some(0) && got.stdout == "200";
                assert_eq!(
                    is_in,
                    expected,
                    "{kind} {more}{cert:?} TLS {version}: {got:?}\n{:?}",
                    server.log()
                );
            }
        }
    }
}

#[test]
fn versions_suites_and_curves_are_kept_to() {
    let (home, Some(pki)) = (Home::new(), Pki::new()) else {
        return;
    };
    let Some(openssl) = neighbour("openssl") else { return };
    let connect = |server: &Https, options: &[&str]| {
        let mut command = Command::new(&openssl);
        command
            .args(["s_client", "-connect", &server.address.to_string()])
            .args(options);
        let done = run(&mut command, b"");
        (done.code == Some(0)).then_some(done.stdout)
    };
    let web = format!(
        "{}  min_version: TLS12\n  max_version: TLS12\n  cipher_suites:\n  - TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256\n  - \
         TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256\n  curve_preferences: [CurveP384]\n",
        pki.server("server")
    );
    let server = prometheus(&home, EMPTY, &web);
    let done = connect(
        &server,
        &["-cipher", "ECDHE-ECDSA-CHACHA20-POLY1305:ECDHE-ECDSA-AES128-GCM-SHA256"],
    );
    let done = done.expect("TLS 1.2 is spoken");
    // The server's order counts, whatever the client's is.
    assert!(done.contains("Cipher is ECDHE-ECDSA-AES128-GCM-SHA256"), "{done}");
    assert!(
        done.contains("Server Temp Key: ECDH, secp384r1") || done.contains("Server Temp Key: ECDH, P-384"),
        "{done}"
    );
    for refused in [
        &["-tls1_3"][..],
        &["-cipher", "ECDHE-ECDSA-AES256-GCM-SHA384", "-tls1_2"],
        &["-groups", "P-256"],
    ] {
        assert!(connect(&server, refused).is_none(), "{refused:?}");
    }
    drop(server);
    let server = prometheus(&home, EMPTY, &format!("{}  min_version: TLS13\n", pki.server("server")));
    assert!(connect(&server, &["-tls1_2"]).is_none());
    assert!(connect(&server, &["-tls1_3"]).is_some());
}

#[test]
fn debians_prometheus_scrapes_us_with_certificate_and_password() {
    let (home, Some(pki)) = (Home::new(), Pki::new()) else {
        return;
    };
    let web = format!(
        "{}  client_auth_type: RequireAndVerifyClientCert\n  client_ca_file: {}\n{}",
        pki.server("server"),
        pki.path("ca.crt"),
        user()
    );
    let server = prometheus(&home, EMPTY, &web);
    let job = |name: &str, tls: &str, password: &str| {
        format!(
            "- job_name: {name}\n  scheme: https\n  scrape_interval: 1s\n  tls_config: {{ca_file: {}{tls}}}\n  basic_auth: \
             {{username: {USER}, password: {password}}}\n  static_configs: [{{targets: ['{}']}}]\n",
            pki.path("ca.crt"),
            server.address
        )
    };
    let own = format!(
        ", cert_file: {}, key_file: {}",
        pki.path("client.crt"),
        pki.path("client.key")
    );
    let config = format!(
        "scrape_configs:\n{}{}{}",
        job("good", &own, "hunter-1"),
        job("without-certificate", "", "hunter-1"),
        job("wrong-password", &own, "hunter-9")
    );
    let Some(debian) = Prometheus::with_config(Home::new(), &config, &[]) else {
        return;
    };
    let errors = eventually(60, "all three targets were scraped", || {
        let targets = get(debian.address(), "/api/v1/targets").ok()?.json();
        let targets = targets["data"]["activeTargets"].as_array()?.clone();
        let health = |job: &str| {
            let target = targets.iter().find(|target| target["labels"]["job"] == job)?;
            (target["health"] != "unknown").then(|| target["lastError"].as_str().unwrap().to_owned())
        };
        Some([
            health("good")?,
            health("without-certificate")?,
            health("wrong-password")?,
        ])
    });
    assert_eq!(errors[0], "");
    assert!(
        errors[1].contains("tls: ") && errors[1].contains("certificate"),
        "{errors:?}"
    );
    assert_eq!(errors[2], "server returned HTTP status 401 Unauthorized");
    let up = get(debian.address(), "/api/v1/query?query=prometheus_build_info")
        .unwrap()
        .json();
    assert_eq!(up["data"]["result"][0]["metric"]["job"], "good", "{up}");
}

// Go's client speaks HTTP/2 where it is offered, and posts what it has.
#[test]
fn debians_prometheus_writes_to_us_over_tls_with_a_password() {
    let (home, Some(pki)) = (Home::new(), Pki::new()) else {
        return;
    };
    let Some(_) = neighbour("curl") else { return };
    let config = home.write("prometheus.yml", EMPTY);
    let web = home.write("web.yml", &format!("{}{}", pki.server("server"), user()));
    let mut command = cupola([
        "prometheus",
        "--web.listen-address=127.0.0.1:0",
        "--web.enable-remote-write-receiver",
    ]);
    command
        .arg(format!("--storage.tsdb.path={}", home.data().display()))
        .arg(format!("--config.file={}", config.display()))
        .arg(format!("--web.config.file={}", web.display()));
    let server = Https::start(&mut command);
    let target = FakeTarget::computed(|n| format!("made_up {n}\n"));
    let config = format!(
        "global: {{scrape_interval: 500ms, scrape_timeout: 500ms}}\nscrape_configs:\n- job_name: j\n  static_configs: \
         [{{targets: ['{}']}}]\nremote_write:\n- url: {}\n  queue_config: {{batch_send_deadline: 100ms}}\n  tls_config: \
         {{ca_file: {}}}\n  basic_auth: {{username: {USER}, password: hunter-1}}\n",
        target.address(),
        server.url("/api/v1/write"),
        pki.path("ca.crt")
    );
    let Some(_debian) = Prometheus::with_config(Home::new(), &config, &[]) else {
        return;
    };
    let login = format!("{USER}:hunter-1");
    let options = ["--cacert", &*pki.path("ca.crt"), "-u", &login];
    eventually(60, "samples have arrived", || {
        let answer: Value = serde_json::from_str(&server.curl(&options, "/api/v1/query?query=made_up%5B1m%5D")).ok()?;
        (answer["data"]["result"][0]["values"].as_array()?.len() >= 3).then_some(())
    });
}

// As a person would: a browser, a certificate, a login.
#[test]
fn our_pages_work_over_tls_with_a_password() {
    let (home, Some(pki)) = (Home::new(), Pki::new()) else {
        return;
    };
    let (Some(node), Some(chromium)) = (neighbour("node"), neighbour("chromium")) else {
        return;
    };
    let ui = repository().join("ui");
    if !ui.join("node_modules/playwright-core").is_dir() {
        return skip("ui/node_modules is not there: run make ui");
    }
    let server = prometheus(&home, EMPTY, &format!("{}{}", pki.server("server"), user()));
    let script = "
        import { chromium } from 'playwright-core';
        const { URL_: url, CHROMIUM: executablePath, USER_: username } = process.env;
        const browser = await chromium.launch({ executablePath, args: ['--no-sandbox'] });
        const faults = [];
        for (const password of ['hunter-1', 'hunter-9']) {
          const context = await browser.newContext({ ignoreHTTPSErrors: true, httpCredentials: { username, password } });
          const page = await context.newPage();
          page.on('pageerror', (error) => faults.push(String(error)));
          const answer = await page.goto(url + '/explore?g0.expr=1%2B41&g0.tab=table');
          if (password === 'hunter-1') {
            await page.waitForSelector('[data-test=\"row\"]:has-text(\"42\")', { timeout: 30000 });
          }
          const version = await page.evaluate(() => performance.getEntriesByType('navigation')[0]?.nextHopProtocol);
          console.log(answer.status(), version);
        }
        await browser.close();
        if (faults.length) console.log(faults);
    ";
    let mut command = Command::new(node);
    command
        .args(["--input-type=module", "-e", script])
        .current_dir(&ui)
        .env("URL_", server.url(""))
        .env("USER_", USER)
        .env("CHROMIUM", chromium);
    let done = run(&mut command, b"");
    assert_eq!(done.code, Some(0), "{done:?}");
    assert!(done.stdout.starts_with("200 h2\n401 "), "{done:?}");
    assert_eq!(done.stdout.lines().count(), 2, "{done:?}");
}

#[test]
fn we_scrape_ourselves_over_tls() {
    let (home, Some(pki)) = (Home::new(), Pki::new()) else {
        return;
    };
    let Some(_) = neighbour("curl") else { return };
    let web = format!("{}{}", pki.server("server"), user());
    // The port is known only once it listens: the target comes by a file.
    let config = format!(
        "scrape_configs:\n- job_name: self\n  scheme: https\n  scrape_interval: 1s\n  tls_config: {{ca_file: {}}}\n  \
         basic_auth: {{username: {USER}, password: hunter-1}}\n  file_sd_configs: [{{files: [self.json], refresh_interval: \
         1s}}]\n",
        pki.path("ca.crt")
    );
    let server = prometheus(&home, &config, &web);
    home.write("self.json", &format!("[{{\"targets\": [\"{}\"]}}]", server.address));
    let login = format!("{USER}:hunter-1");
    let options = ["--cacert", &*pki.path("ca.crt"), "-u", &login];
    eventually(60, "we have scraped ourselves", || {
        let answer: Value = serde_json::from_str(&server.curl(&options, "/api/v1/query?query=up")).ok()?;
        (answer["data"]["result"][0]["value"][1] == "1").then_some(())
    });
}

#[test]
fn debians_tools_reach_us_with_their_http_config() {
    let (home, Some(pki)) = (Home::new(), Pki::new()) else {
        return;
    };
    let (Some(promtool), Some(amtool)) = (neighbour("promtool"), neighbour("amtool")) else {
        return;
    };
    let web = format!("{}{}", pki.server("server"), user());
    let http = home.write(
        "http.yml",
        &format!(
            "tls_config: {{ca_file: {}}}\nbasic_auth: {{username: {USER}, password: hunter-1}}\n",
            pki.path("ca.crt")
        ),
    );
    let http = format!("--http.config.file={}", http.display());
    let server = prometheus(&home, EMPTY, &web);
    let url = server.url("");
    // This one is too old for the flag; it takes the login from the URL, and the authority as every program in Go.
    let debians = |login: &str| {
        let mut command = Command::new(&promtool);
        command.env("SSL_CERT_FILE", pki.path("ca.crt")).args([
            "query",
            "instant",
            &format!("https://{login}{}", server.address),
            "1+1",
        ]);
        run(&mut command, b"")
    };
    let asked = debians(&format!("{USER}:hunter-1@"));
    assert_eq!(asked.code, Some(0), "{asked:?}");
    assert!(asked.stdout.contains("scalar: 2"), "{asked:?}");
    let refused = debians("");
    assert_ne!(refused.code, Some(0), "{refused:?}");
    for tool in [
        &["check", "ready", &http, &format!("--url={url}")][..],
        &["query", "instant", &http, &url, "1+1"],
    ] {
        let ours = run(cupola(["promtool"]).args(tool), b"");
        assert_eq!(ours.code, Some(0), "{ours:?}");
    }
    drop(server);
    let config = home.write("alertmanager.yml", "route: {receiver: r}\nreceivers: [{name: r}]\n");
    let file = home.write("web.yml", &web);
    let mut command = alertmanager(&home, &config);
    command.arg(format!("--web.config.file={}", file.display()));
    let server = Https::start(&mut command);
    let url = format!("--alertmanager.url={}", server.url(""));
    let amtool = |args: &[&str]| -> Finished { run(Command::new(&amtool).args([&*url, &http]).args(args), b"") };
    let added = amtool(&["alert", "add", "Down", "instance=a"]);
    assert_eq!(added.code, Some(0), "{added:?}");
    let shown = amtool(&["alert", "query", "-o", "json"]);
    assert!(shown.stdout.contains("\"Down\""), "{shown:?}");
    let ours = run(
        &mut cupola(["amtool", &url, &http, "alert", "query", "-o", "json"]),
        b"",
    );
    assert!(ours.stdout.contains("\"Down\""), "{ours:?}");
}

#[test]
fn a_certificate_and_a_password_are_changed_while_it_runs() {
    let (home, Some(pki)) = (Home::new(), Pki::new()) else {
        return;
    };
    let Some(_) = neighbour("curl") else { return };
    let copy = |name: &str| {
        for kind in ["crt", "key"] {
            let text = std::fs::read_to_string(pki.path(&format!("{name}.{kind}"))).unwrap();
            home.write(&format!("own.{kind}"), &text);
        }
    };
    copy("server");
    let tls = "tls_server_config:\n  cert_file: own.crt\n  key_file: own.key\n";
    let server = prometheus(&home, EMPTY, &format!("{tls}{}", user()));
    let ask = |authority: &str, password: &str| {
        let login = format!("{USER}:{password}");
        let options = [
            "--cacert",
            &pki.path(authority),
            "-u",
            &login,
            "-o",
            "/dev/null",
            "-w",
            "%{http_code}",
        ];
        let got = curl(&options, &server.url("/-/ready"));
        if got.code == Some(0) {
            got.stdout
        } else {
            format!("exit {}", got.code.unwrap())
        }
    };
    assert_eq!(ask("ca.crt", "hunter-1"), "200");
    // A key that does not belong to the certificate: the old pair stays, and it is told once.
    home.write("own.key", &std::fs::read_to_string(pki.path("client.key")).unwrap());
    eventually(30, "the mistake is told", || {
        assert_eq!(ask("ca.crt", "hunter-1"), "200");
        server
            .log_has("failed to load X509KeyPair: tls: private key does not match public key")
            .then_some(())
    });
    // A certificate of another authority.
    copy("renewed");
    eventually(30, "the new certificate is used", || {
        (ask("ca2.crt", "hunter-1") == "200").then_some(())
    });
    assert_eq!(ask("ca.crt", "hunter-1"), "exit 60");
    let told = server
        .log()
        .iter()
        .filter(|line| line.contains("private key does not match"))
        .count();
    assert_eq!(told, 1, "{:?}", server.log());
    // Another password.
    home.write(
        "web.yml",
        &format!("{tls}{}", user().replace(https::HASH_1, https::HASH_2)),
    );
    eventually(30, "the new password counts", || {
        (ask("ca2.crt", "hunter-2") == "200").then_some(())
    });
    assert_eq!(ask("ca2.crt", "hunter-1"), "401");
    // TLS itself stays, whatever the file says.
    home.write("web.yml", &user());
    eventually(30, "that is told, too", || {
        assert_eq!(ask("ca2.crt", "hunter-2"), "200");
        server
            .log_has("TLS cannot be turned on or off while the server runs")
            .then_some(())
    });
}

#[test]
fn a_client_that_stalls_in_the_handshake_holds_up_nobody() {
    let (home, Some(pki)) = (Home::new(), Pki::new()) else {
        return;
    };
    let Some(_) = neighbour("curl") else { return };
    let server = prometheus(&home, EMPTY, &pki.server("server"));
    let mut stalled: Vec<TcpStream> = (0..100).map(|_| TcpStream::connect(server.address).unwrap()).collect();
    // Some say nothing, others the beginning of a handshake.
    for stream in stalled.iter_mut().step_by(2) {
        stream.write_all(&[22, 3, 1, 2, 0, 1, 0, 1, 252]).unwrap();
    }
    let options = ["--cacert", &pki.path("ca.crt"), "-o", "/dev/null", "-w", "%{http_code}"];
    for _ in 0..5 {
        assert_eq!(server.curl(&options, "/-/ready"), "200");
    }
    // They are not kept for ever.
    for mut stream in stalled {
        stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
        let mut rest = Vec::new();
        match stream.read_to_end(&mut rest) {
            Ok(_) => {}
            Err(error) => assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset),
        }
    }
    assert_eq!(server.curl(&options, "/-/ready"), "200");
}

#[test]
fn guessed_passwords_hold_up_nobody_who_is_known() {
    let home = Home::new();
    // A password whose check takes a quarter of a second and more.
    let server = prometheus(&home, EMPTY, &user().replace(https::HASH_1, https::HASH_COSTLY));
    eventually(30, "the log says how it listens", || {
        server.log_has("msg=\"TLS is disabled.\" http2=false").then_some(())
    });
    let address = server.address;
    let ask = |login: &str| {
        let header = format!("Basic {}", https::base64(login));
        request(address, "GET", "/-/ready", &[("Authorization", &header)], b"")
    };
    let right = format!("{USER}:hunter-1");
    assert_eq!(ask(&right).unwrap().status, 200);
    let guess = |number: usize| {
        let name = if number.is_multiple_of(2) { USER } else { "nobody" };
        let header = format!("Basic {}", https::base64(&format!("{name}:guess-{number}")));
        let mut stream = TcpStream::connect(address).unwrap();
        write!(
            stream,
            "GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\nAuthorization: {header}\r\n\r\n"
        )
        .unwrap();
        stream
    };
    let mut guesses: Vec<TcpStream> = (0..150).map(guess).collect();
    // The line is full of guesses, and who is known passes by.
    let status = |stream: &mut TcpStream| {
        let mut first = [0; 12];
        stream.read_exact(&mut first).unwrap();
        String::from_utf8_lossy(&first[9..]).into_owned()
    };
    for _ in 0..20 {
        assert_eq!(ask(&right).unwrap().status, 200);
    }
    // The last have found a full line. Which one was first is theirs to find out; all the others wait still.
    let mut busy = 0;
    for stream in &mut guesses {
        stream.set_read_timeout(Some(Duration::from_millis(1))).unwrap();
        let mut first = [0; 12];
        if stream.read_exact(&mut first).is_ok() {
            let status = String::from_utf8_lossy(&first[9..]).into_owned();
            assert!(status == "401" || status == "503", "{status}");
            busy += usize::from(status == "503");
        }
    }
    assert!(busy > 0, "all guesses wait");
    drop(guesses);
    // Who gives up frees its place: a new guess is told no, not that there are too many.
    eventually(120, "the line is short again", || {
        let mut stream = guess(1000);
        stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
        (status(&mut stream) == "401").then_some(())
    });
}

#[test]
fn several_addresses_are_listened_on() {
    let home = Home::new();
    let config = home.write("prometheus.yml", EMPTY);
    let addresses = [
        "--web.listen-address=127.0.0.1:0",
        "--web.listen-address",
        "127.0.0.1:0",
    ];
    let mut command = cupola(["prometheus"]);
    command
        .args(addresses)
        .arg(format!("--storage.tsdb.path={}", home.data().display()))
        .arg(format!("--config.file={}", config.display()));
    let server = Https::start(&mut command);
    let all = eventually(30, "both addresses are told", || {
        let all: Vec<SocketAddr> = server.log().iter().filter_map(|line| listening(line)).collect();
        (all.len() == 2).then_some(all)
    });
    assert_ne!(all[0], all[1]);
    for address in all {
        assert_eq!(get(address, "/-/healthy").unwrap().status, 200);
    }
}

#[test]
fn a_limit_of_requests_and_headers_are_kept_to() {
    let home = Home::new();
    let web = "rate_limit: {interval: 1h, burst: 3}\nhttp_server_config:\n  headers:\n    Strict-Transport-Security: \
               max-age=31536000\n    X-Frame-Options: deny\n";
    let server = prometheus(&home, EMPTY, web);
    let answers: Vec<_> = (0..4).map(|_| get(server.address, "/-/healthy").unwrap()).collect();
    let statuses: Vec<u16> = answers.iter().map(|answer| answer.status).collect();
    assert_eq!(statuses, [200, 200, 200, 429]);
    assert_eq!(answers[0].header("strict-transport-security"), "max-age=31536000");
    assert_eq!(answers[0].header("x-frame-options"), "deny");
}

#[test]
fn cupola_up_takes_the_file_too() {
    let (home, Some(pki)) = (Home::new(), Pki::new()) else {
        return;
    };
    let Some(_) = neighbour("curl") else { return };
    let web = home.write("web.yml", &format!("{}{}", pki.server("server"), user()));
    let mut command = cupola(["up", "--listen", "127.0.0.1:0"]);
    command
        .args(["--data".as_ref(), home.data().as_os_str()])
        .arg("--web.config.file")
        .arg(&web);
    let server = Https::start(&mut command);
    let login = format!("{USER}:hunter-1");
    let options = ["--cacert", &*pki.path("ca.crt"), "-u", &login];
    // A page that gives its own name to this address is refused, with HTTP/2, too.
    let evil = [
        &options[..],
        &[
            "--http2",
            "-H",
            "Host: evil.example",
            "-w",
            "%{http_code}",
            "-o",
            "/dev/null",
        ],
    ]
    .concat();
    assert_eq!(server.curl(&evil, "/api/v1/query?query=1"), "403");
    // What it measures of itself does not go over the network, and needs no password.
    eventually(60, "it watches itself", || {
        let answer: Value = serde_json::from_str(&server.curl(&options, "/api/v1/query?query=count(up==1)")).ok()?;
        answer["data"]["result"][0]["value"][1].as_str().map(str::to_owned)
    });
    eventually(10, "it says where its pages are", || {
        let url = format!("https://{}", server.address);
        server.stdout().iter().any(|line| line.contains(&url)).then_some(())
    });
}

#[test]
fn mistakes_are_told_before_anything_starts() {
    let (home, Some(pki)) = (Home::new(), Pki::new()) else {
        return;
    };
    let prometheus = home.write("prometheus.yml", EMPTY);
    let alertmanager = home.write("alertmanager.yml", "route: {receiver: r}\nreceivers: [{name: r}]\n");
    let starts = [
        ("prometheus", prometheus, "--storage.tsdb.path"),
        ("alertmanager", alertmanager, "--storage.path"),
    ];
    for (text, expected) in https::mistakes(&pki) {
        let web = home.write("web.yml", &text);
        for (command, config, data) in &starts {
            let mut started = cupola([*command, "--web.listen-address=127.0.0.1:0"]);
            started
                .arg(format!("--config.file={}", config.display()))
                .arg(format!("{data}={}", home.data().display()))
                .arg(format!("--web.config.file={}", web.display()));
            let ended = run(&mut started, b"");
            assert_eq!(ended.code, Some(1), "{text}: {ended:?}");
            assert!(ended.stderr.contains(&expected), "{text}: {expected}: {}", ended.stderr);
            assert!(!home.data().exists(), "nothing was touched");
            assert!(!ended.stderr.contains("PRIVATE"), "{}", ended.stderr);
        }
    }
}

// Of each file: whether it is taken, and what is said of it in a line, without our places.
#[test]
fn promtool_checks_files_as_debians_does() {
    let (home, Some(pki)) = (Home::new(), Pki::new()) else {
        return;
    };
    let Some(debian) = neighbour("promtool") else { return };
    let mut files: Vec<(String, bool)> = https::mistakes(&pki)
        .into_iter()
        .map(|(text, _)| (text, false))
        .collect();
    let good = [
        "{}\n".to_owned(),
        user(),
        pki.server("server"),
        format!(
            "{}  client_auth_type: RequireAndVerifyClientCert\n  client_ca_file: {}\n  min_version: TLS13\n",
            pki.server("server"),
            pki.path("ca.crt")
        ),
        "http_server_config: {http2: false, headers: {X-Content-Type-Options: nosniff}}\n".to_owned(),
    ];
    files.extend(good.map(|text| (text, true)));
    for (text, is_good) in files {
        let web = home.write("web.yml", &text);
        let check = |command: &mut Command| run(command.args(["check", "web-config"]).arg(&web), b"");
        let ours = check(&mut cupola(["promtool"]));
        let theirs = check(&mut Command::new(&debian));
        let verdict = if is_good { "SUCCESS" } else { "FAILED: " };
        assert!(
            ours.stderr.contains(&format!("{} {verdict}", web.display())),
            "{text}{ours:?}"
        );
        assert_eq!((ours.code, &*ours.stdout), (Some(i32::from(!is_good)), ""), "{text}");
        // Debian's is older: it knows neither the sections that came later, nor looks it into authorities.
        let later = [
            "client_allowed_sans",
            "junk.pem\n  client_auth",
            "AES_256_GCM_SHA384]",
            "key: PRIVATE",
            "TLS11\n",
        ];
        if later.iter().any(|part| text.contains(part)) {
            continue;
        }
        assert_eq!(ours.code, theirs.code, "{text}{ours:?}{theirs:?}");
        // Its last line names the reason; ours has a place before it, and may have advice behind it.
        let reason = theirs.stderr.trim().lines().last().unwrap_or_default().to_owned();
        let reason = reason
            .rsplit_once("FAILED: ")
            .map_or(&*reason, |(_, reason)| reason)
            .trim();
        let reason = match reason.strip_prefix("line ") {
            Some(rest) => rest.split_once(": ").map_or(rest, |(_, reason)| reason),
            None => reason,
        };
        // What newer versions say otherwise: "missing one of cert or cert_file", "failed to read cert_file (x): open x: …".
        let older = ["failed to load X509KeyPair: open ", "missing "];
        let reason = older
            .iter()
            .find_map(|start| reason.strip_prefix(start))
            .unwrap_or(reason);
        let (reason, said) = (reason.to_lowercase(), ours.stderr.to_lowercase());
        assert!(is_good || said.contains(&reason), "{text}{reason}\n{said}");
    }
    let missing = run(&mut cupola(["promtool", "check", "web-config", "nowhere.yml"]), b"");
    assert_eq!(missing.code, Some(1));
    assert_eq!(
        missing.stderr,
        "promtool: error: path 'nowhere.yml' does not exist, try --help\n"
    );
}
