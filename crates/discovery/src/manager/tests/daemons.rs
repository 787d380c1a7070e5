//! Consul and Docker as small servers.

use std::net::SocketAddr;

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::UnixListener;
use tokio::sync::watch;

use super::*;

// Answers the requests of one connection; `answer` gets the path and gives status, index and body.
async fn serve<S, A, F>(mut stream: S, answer: A)
where
    S: AsyncRead + AsyncWrite + Unpin,
    A: Fn(String) -> F,
    F: Future<Output = (u16, u64, String)>,
{
    let mut text = Vec::new();
    let mut piece = [0; 4096];
    while let Ok(n @ 1..) = stream.read(&mut piece).await {
        text.extend_from_slice(&piece[..n]);
        if !text.ends_with(b"\r\n\r\n") {
            continue;
        }
        let head = String::from_utf8_lossy(&text).into_owned();
        text.clear();
        let (status, index, body) = answer(head).await;
        let reply = format!(
            "HTTP/1.1 {status} X\r\nX-Consul-Index: {index}\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        );
        if stream.write_all(reply.as_bytes()).await.is_err() {
            return;
        }
    }
}

#[derive(Clone, Default)]
pub(super) struct Catalogue {
    pub(super) index: u64,
    pub(super) is_down: bool,
    // Name, tags, address of the one instance.
    pub(super) services: Vec<(&'static str, &'static str, &'static str)>,
}

// Holds back an answer until something has changed, as Consul does.
async fn consul(state: watch::Receiver<Catalogue>, asked: Arc<Mutex<Vec<String>>>, head: String) -> (u16, u64, String) {
    asked.lock().push(head.clone());
    let path = head.split(' ').nth(1).unwrap_or_default();
    let index: u64 = path
        .split(['?', '&'])
        .find_map(|pair| pair.strip_prefix("index="))
        .map_or(0, |index| index.parse().unwrap());
    let mut state = state;
    let now = state
        .wait_for(|now| now.index > index || now.is_down)
        .await
        .unwrap()
        .clone();
    if now.is_down {
        return (500, now.index, "no leader".to_owned());
    }
    if path.starts_with("/pre/v1/agent/self") {
        return (200, 0, r#"{"Config": {"Datacenter": "dc1"}}"#.to_owned());
    }
    if let Some(rest) = path.strip_prefix("/pre/v1/health/service/") {
        let name = rest.split('?').next().unwrap_or_default();
        let of_name = now.services.iter().filter(|service| service.0 == name);
        let instance = |address: &str| {
            format!(r#"{{"Node": {{"Node": "n", "Address": "{address}"}}, "Service": {{"ID": "x", "Port": 80}}}}"#)
        };
        let all: Vec<String> = of_name.map(|service| instance(service.2)).collect();
        return (200, now.index, format!("[{}]", all.join(",")));
    }
    assert!(path.starts_with("/pre/v1/catalog/services?"), "{path}");
    let all: Vec<String> = now
        .services
        .iter()
        .map(|(name, tag, _)| format!(r#""{name}": ["{tag}"]"#))
        .collect();
    (200, now.index, format!("{{{}}}", all.join(",")))
}

pub(super) async fn consul_server(state: watch::Receiver<Catalogue>, asked: Arc<Mutex<Vec<String>>>) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let (state, asked) = (state.clone(), asked.clone());
            tokio::spawn(serve(stream, move |head| consul(state.clone(), asked.clone(), head)));
        }
    });
    address
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn consuls_services_are_watched() {
    let (change, state) = watch::channel(Catalogue {
        index: 5,
        services: vec![("web", "wanted", "10.0.0.1"), ("db", "other", "10.0.0.2")],
        ..Catalogue::default()
    });
    let asked: Arc<Mutex<Vec<String>>> = Arc::default();
    let address = consul_server(state, asked.clone()).await;
    let world = world(Duration::from_millis(20));
    let yaml = format!(
        "- job_name: a\n  consul_sd_configs: [{{server: '{address}', path_prefix: pre, token: t0ken, tags: [wanted], \
         node_meta: {{rack: '7'}}, filter: 'a == b', refresh_interval: 10ms}}]\n"
    );
    world.manager.apply(&sets(&yaml));
    world
        .until("the wanted service", |w| w.addresses("a") == ["10.0.0.1:80"])
        .await;
    {
        let seen = world.seen.lock();
        let labels = seen.groups["a"].values().next().unwrap().labels.to_string();
        assert_eq!(labels, r#"{__meta_consul_dc="dc1", __meta_consul_service="web"}"#);
        let asked = asked.lock();
        assert!(
            asked
                .iter()
                .all(|head| head.to_lowercase().contains("x-consul-token: t0ken\r\n"))
        );
        let first = |start: &str| {
            let paths = asked.iter().map(|head| head.split(' ').nth(1).unwrap());
            paths.filter(|path| path.starts_with(start)).map(str::to_owned).next()
        };
        assert_eq!(
            first("/pre/v1/catalog").unwrap(),
            "/pre/v1/catalog/services?stale=&wait=120000ms&node-meta=rack%3A7&filter=a+%3D%3D+b"
        );
        assert_eq!(
            first("/pre/v1/health").unwrap(),
            "/pre/v1/health/service/web?stale=&wait=120000ms&node-meta=rack%3A7&tag=wanted"
        );
    }
    // Another instance, another service, one that goes: told as it happens.
    let set = |services: &[(&'static str, &'static str, &'static str)]| {
        change.send_modify(|state| {
            state.index += 1;
            state.services = services.to_vec();
        });
    };
    set(&[
        ("web", "wanted", "10.0.0.1"),
        ("web", "wanted", "10.0.0.3"),
        ("api", "wanted", "10.0.0.4"),
    ]);
    world
        .until("three instances", |w| {
            w.addresses("a") == ["10.0.0.1:80", "10.0.0.3:80", "10.0.0.4:80"]
        })
        .await;
    set(&[("api", "wanted", "10.0.0.4")]);
    world
        .until("one service", |w| w.addresses("a") == ["10.0.0.4:80"])
        .await;
    // Consul fails: what was found stays, and it is told and counted.
    change.send_modify(|state| state.is_down = true);
    world.until("failures", |w| w.metrics.consul_failures.get() > 2.0).await;
    assert_eq!(world.addresses("a"), ["10.0.0.4:80"]);
    let error = world.manager.status()[0].last_error.clone();
    assert!(
        error.contains("unexpected response code 500") && error.ends_with("no leader"),
        "{error}"
    );
    // Back after a restart, with an index that begins anew.
    change.send_modify(|state| {
        *state = Catalogue {
            index: 1,
            is_down: false,
            services: vec![("api", "wanted", "10.0.0.5")],
        };
    });
    world
        .until("the new address", |w| w.addresses("a") == ["10.0.0.5:80"])
        .await;
    world.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn dockers_containers_are_listed_over_its_socket() {
    let dir = tempfile::tempdir().unwrap();
    let socket = dir.path().join("docker.sock");
    let listener = UnixListener::bind(&socket).unwrap();
    let address = Arc::new(Mutex::new("172.1.0.2"));
    let told = address.clone();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let told = told.clone();
            tokio::spawn(serve(stream, move |head| {
                let address = *told.lock();
                let containers = format!(
                    r#"[{{"Id": "c", "Names": ["/c"], "HostConfig": {{"NetworkMode": "n"}}, "Ports": [],
                        "NetworkSettings": {{"Networks": {{"n": {{"NetworkID": "n", "IPAddress": "{address}"}}}}}}}}]"#
                );
                let reply = match head.split(' ').nth(1).unwrap_or_default() {
                    "/containers/json?filters=%7B%22label%22%3A%7B%22a%22%3Atrue%7D%7D" => (200, 0, containers),
                    "/networks" => (200, 0, "[]".to_owned()),
                    other => (404, 0, format!("no such page: {other}")),
                };
                std::future::ready(reply)
            }));
        }
    });
    let world = world(Duration::from_millis(20));
    let docker = |filter: &str| {
        let host = socket.display();
        sets(&format!(
            "- job_name: a\n  docker_sd_configs: [{{host: 'unix://{host}', refresh_interval: 20ms, port: 9100, \
             filters: [{{name: {filter}, values: [a]}}]}}]\n"
        ))
    };
    world.manager.apply(&docker("label"));
    world
        .until("the container", |w| w.addresses("a") == ["172.1.0.2:9100"])
        .await;
    *address.lock() = "172.1.0.3";
    world
        .until("its new address", |w| w.addresses("a") == ["172.1.0.3:9100"])
        .await;
    world.manager.apply(&docker("status"));
    world.until("an error", |w| w.manager.status()[0].failures > 0).await;
    let error = world.manager.status()[0].last_error.clone();
    assert!(
        error.starts_with("error while listing containers: daemon returned HTTP status 404 Not Found: no such page"),
        "{error}"
    );
    world.end().await;
}
