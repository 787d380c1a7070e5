//! `cupola up` with nothing configured: where it listens, how soon it answers, how it ends.

#![allow(clippy::panic, clippy::unwrap_used, reason = "a test's failure is a panic")]

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::{Duration, Instant};

use cupola_tests::{Background, Home, Server, cupola, eventually, get, request, tell};
use rustix::process::Signal;

#[test]
fn it_needs_no_configuration_keeps_its_data_beside_it_and_prints_its_url() {
    let home = Home::new();
    let mut server = Server::start(cupola(["--listen", "127.0.0.1:0"]).current_dir(home.path()));
    assert!(
        server.stdout().iter().any(|line| line.contains(&server.url())),
        "no URL in {:?}",
        server.stdout()
    );
    assert!(home.path().join("data/lock").is_file(), "no data folder at ./data");
    assert_eq!(server.stop(Signal::TERM).code(), Some(0));
}

#[test]
fn it_listens_on_loopback_only() {
    let home = Home::new();
    let server = Server::up(&home, &[]);
    let sockets = listening_sockets(server.pid());
    assert_eq!(
        sockets,
        BTreeSet::from([server.address()]),
        "it listens elsewhere as well"
    );
    assert!(server.address().ip().is_loopback());
}

#[test]
fn the_first_page_is_there_at_once() {
    let home = Home::new();
    let began = Instant::now();
    let mut command = cupola(["up", "--listen", "127.0.0.1:0", "--data"]);
    let child = Background::start("cupola", command.arg(home.data()));
    // The printed URL is where a person would look.
    let address: SocketAddr = eventually(30, "the URL is printed", || {
        let url = child
            .stdout()
            .iter()
            .find_map(|line| line.split_once("http://").map(|(_, rest)| rest.to_owned()))?;
        url.trim_end_matches('/').parse().ok()
    });
    let page = eventually(30, "the first page", || get(address, "/").ok());
    let first_page = began.elapsed();
    let ready = get(address, "/-/ready").unwrap();
    tell(&format!(
        "seconds from start to first page: {:.3}",
        first_page.as_secs_f64()
    ));
    assert_eq!((page.status, ready.status), (200, 200));
    assert!(
        page.header("content-type").starts_with("text/html"),
        "{:?}",
        page.headers
    );
    // The promise is one second; the bound allows for a machine that is busy with the other tests.
    assert!(
        first_page < Duration::from_secs(5),
        "the first page took {first_page:?}"
    );
}

#[test]
fn signals_end_it_cleanly_and_free_the_data_folder() {
    let home = Home::new();
    for signal in [Signal::INT, Signal::TERM] {
        let mut server = Server::up(&home, &[]);
        let began = Instant::now();
        assert_eq!(server.stop(signal).code(), Some(0), "{signal:?}");
        println!("{signal:?} took {:.3} s", began.elapsed().as_secs_f64());
        assert!(
            began.elapsed() < Duration::from_secs(9),
            "{signal:?}: it was ended by its own grace period"
        );
        assert!(
            get(server.address(), "/-/ready").is_err(),
            "{signal:?}: something still listens"
        );
    }
    // What was seen before the stop is there after it.
    let server = Server::up(&home, &[]);
    let kept = server.query("count_over_time(up[5m])");
    assert!(
        kept.iter().any(|s| s.value >= 2.0),
        "the samples of the earlier runs are gone: {kept:?}"
    );
}

#[test]
fn an_open_connection_does_not_hold_up_the_end() {
    let home = Home::new();
    let mut server = Server::up(&home, &[]);
    let idle = std::net::TcpStream::connect(server.address()).unwrap();
    let began = Instant::now();
    assert_eq!(server.stop(Signal::TERM).code(), Some(0));
    assert!(
        began.elapsed() < Duration::from_secs(9),
        "an idle connection held it up for {:?}",
        began.elapsed()
    );
    drop(idle);
}

#[test]
fn every_page_is_served_with_a_strict_policy_and_loads_nothing_from_elsewhere() {
    let home = Home::new();
    let server = Server::up(&home, &[]);
    for path in [
        "/",
        "/dashboards",
        "/d/cupola-node",
        "/explore",
        "/query",
        "/graph?g0.expr=up",
        "/alerts",
        "/targets",
    ] {
        let page = server.get(path);
        assert_eq!(page.status, 200, "{path}");
        let policy = page.header("content-security-policy");
        for part in [
            "default-src 'none'",
            "script-src 'self'",
            "connect-src 'self'",
            "frame-ancestors 'none'",
        ] {
            assert!(policy.contains(part), "{path}: {part} is not in {policy:?}");
        }
        assert!(!policy.contains("unsafe-"), "{path}: {policy}");
        let html = page.text();
        for file in html.split(['"', '\'']).filter(|text| text.contains("assets/")) {
            assert!(!file.contains("://"), "{path} loads {file}");
            let file = server.get(&format!("/{}", file.trim_start_matches(['.', '/'])));
            assert_eq!(file.status, 200, "{path}: a file of the page is missing");
        }
    }
    assert_eq!(server.get("/no-such-page").status, 404);
    assert_eq!(server.get("/api/v1/no-such-endpoint").status, 404);
}

#[test]
fn a_name_that_is_not_its_own_is_refused() {
    // A page elsewhere whose name was made to point at 127.0.0.1 must not read this machine's metrics.
    let home = Home::new();
    let server = Server::up(&home, &[]);
    for path in ["/", "/api/v1/query?query=up", "/metrics"] {
        let refused = request(server.address(), "GET", path, &[("Host", "attacker.example:80")], b"").unwrap();
        assert_eq!(refused.status, 403, "{path}");
        let port = server.address().port();
        let own = request(
            server.address(),
            "GET",
            path,
            &[("Host", &format!("localhost:{port}"))],
            b"",
        )
        .unwrap();
        assert_eq!(own.status, 200, "{path}");
    }
}

// The TCP sockets on which the process listens: those of its network namespace whose inode it has open.
fn listening_sockets(pid: u32) -> BTreeSet<SocketAddr> {
    let mut inodes = BTreeSet::new();
    for entry in std::fs::read_dir(format!("/proc/{pid}/fd")).unwrap().flatten() {
        // A descriptor may have been closed meanwhile.
        let Ok(link) = std::fs::read_link(entry.path()) else {
            continue;
        };
        if let Some(inode) = link
            .to_string_lossy()
            .strip_prefix("socket:[")
            .and_then(|l| l.strip_suffix(']'))
        {
            inodes.insert(inode.to_owned());
        }
    }
    let mut found = BTreeSet::new();
    for file in ["tcp", "tcp6"] {
        let text = std::fs::read_to_string(format!("/proc/{pid}/net/{file}")).unwrap_or_default();
        for line in text.lines().skip(1) {
            let fields: Vec<&str> = line.split_whitespace().collect();
            let (Some(local), Some(&"0A"), Some(inode)) = (fields.get(1), fields.get(3), fields.get(9)) else {
                continue;
            };
            if inodes.contains(*inode) {
                found.insert(socket_address(local));
            }
        }
    }
    found
}

// `0100007F:2382`: each group of four bytes is one number in the machine's order.
fn socket_address(text: &str) -> SocketAddr {
    let (ip, port) = text.split_once(':').unwrap();
    let words = ip
        .as_bytes()
        .chunks(8)
        .map(|hex| u32::from_str_radix(std::str::from_utf8(hex).unwrap(), 16).unwrap());
    let bytes: Vec<u8> = words.flat_map(u32::to_ne_bytes).collect();
    let ip: IpAddr = match <[u8; 4]>::try_from(bytes.as_slice()) {
        Ok(v4) => Ipv4Addr::from(v4).into(),
        Err(_) => Ipv6Addr::from(<[u8; 16]>::try_from(bytes.as_slice()).unwrap()).into(),
    };
    SocketAddr::new(ip, u16::from_str_radix(port, 16).unwrap())
}

#[test]
fn socket_addresses_are_read_as_the_kernel_writes_them() {
    assert_eq!(socket_address("0100007F:2382"), "127.0.0.1:9090".parse().unwrap());
    assert_eq!(
        socket_address("00000000000000000000000000000000:0050"),
        "[::]:80".parse().unwrap()
    );
}
