use simple_dns::ResourceRecord;
use simple_dns::rdata::{A, AAAA, CNAME, MX, NS, SRV};
use tokio::net::TcpListener;

use super::*;

fn resolver(servers: Vec<SocketAddr>, search: &[&str]) -> Resolver {
    Resolver {
        servers,
        search: search.iter().map(|s| (*s).to_owned()).collect(),
        ndots: 1,
    }
}

fn record(name: &'static str, rdata: RData<'static>) -> ResourceRecord<'static> {
    ResourceRecord::new(Name::new_unchecked(name), CLASS::IN, 60, rdata)
}

// What the test's zone has; `None` is no such name.
fn zone(name: &str, kind: QTYPE) -> Result<Vec<ResourceRecord<'static>>, RCODE> {
    let srv = |target: &'static str, port| {
        let target = Name::new_unchecked(target);
        RData::SRV(SRV {
            priority: 1,
            weight: 1,
            port,
            target,
        })
    };
    let all = match name {
        "_web._tcp.example.org" => vec![
            record("_web._tcp.example.org", srv("a.example.org", 8080)),
            record("_web._tcp.example.org", srv("b.example.org", 8081)),
        ],
        "web.example.org" => vec![
            record(
                "web.example.org",
                RData::CNAME(CNAME(Name::new_unchecked("a.example.org"))),
            ),
            record("a.example.org", RData::A(A { address: 0x0a00_0001 })),
            record("a.example.org", RData::AAAA(AAAA { address: 1 })),
            record(
                "web.example.org",
                RData::MX(MX {
                    preference: 1,
                    exchange: Name::new_unchecked("mail.example.org"),
                }),
            ),
            record("web.example.org", RData::NS(NS(Name::new_unchecked("ns.example.org")))),
        ],
        "many.example.org" => (0..200)
            .map(|i| record("many.example.org", RData::A(A { address: i })))
            .collect(),
        "broken.example.org" => return Err(RCODE::ServerFailure),
        _ => return Err(RCODE::NameError),
    };
    let is_asked =
        |r: &ResourceRecord<'_>| QTYPE::TYPE(r.rdata.type_code()) == kind || matches!(r.rdata, RData::CNAME(_));
    Ok(all.into_iter().filter(is_asked).collect())
}

fn reply(question: &[u8], most: usize) -> Vec<u8> {
    let asked = Packet::parse(question).unwrap();
    let mut packet = Packet::new_reply(asked.id());
    let first = asked.questions[0].clone();
    match zone(&first.qname.to_string(), first.qtype) {
        Ok(answers) => packet.answers = answers,
        Err(code) => *packet.rcode_mut() = code,
    }
    packet.questions.push(first);
    let bytes = packet.build_bytes_vec().unwrap();
    if bytes.len() <= most {
        return bytes;
    }
    packet.answers.clear();
    packet.set_flags(PacketFlag::TRUNCATION);
    packet.build_bytes_vec().unwrap()
}

// A name server on loopback, over UDP and TCP at one port. Before each answer over UDP comes one to another question.
async fn server() -> SocketAddr {
    let (udp, tcp) = loop {
        let udp = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        if let Ok(tcp) = TcpListener::bind(udp.local_addr().unwrap()).await {
            break (udp, tcp);
        }
    };
    let address = udp.local_addr().unwrap();
    tokio::spawn(async move {
        let mut buffer = [0; 4096];
        while let Ok((length, from)) = udp.recv_from(&mut buffer).await {
            let mut other = reply(&buffer[..length], 1200);
            let good = other.clone();
            other[0] ^= 0xff;
            udp.send_to(&other, from).await.unwrap();
            udp.send_to(&good, from).await.unwrap();
        }
    });
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = tcp.accept().await {
            let length = stream.read_u16().await.unwrap();
            let mut question = vec![0; usize::from(length)];
            stream.read_exact(&mut question).await.unwrap();
            let answer = reply(&question, 65_535);
            stream.write_u16(u16::try_from(answer.len()).unwrap()).await.unwrap();
            stream.write_all(&answer).await.unwrap();
        }
    });
    address
}

fn config(record: DnsRecord) -> DnsSdConfig {
    DnsSdConfig {
        names: Vec::new(),
        record,
        port: 9100,
        refresh_interval: Duration::from_secs(30),
    }
}

#[tokio::test]
async fn each_kind_of_record_makes_targets() {
    let resolver = resolver(vec![server().await], &[]);
    for (name, kind, targets) in [
        (
            "_web._tcp.example.org",
            DnsRecord::Srv,
            vec![
                r#"{__address__="a.example.org:8080", __meta_dns_name="_web._tcp.example.org", __meta_dns_srv_record_port="8080", __meta_dns_srv_record_target="a.example.org."}"#,
                r#"{__address__="b.example.org:8081", __meta_dns_name="_web._tcp.example.org", __meta_dns_srv_record_port="8081", __meta_dns_srv_record_target="b.example.org."}"#,
            ],
        ),
        (
            "web.example.org",
            DnsRecord::A,
            vec![r#"{__address__="10.0.0.1:9100", __meta_dns_name="web.example.org"}"#],
        ),
        (
            "web.example.org.",
            DnsRecord::Aaaa,
            vec![r#"{__address__="[::1]:9100", __meta_dns_name="web.example.org."}"#],
        ),
        (
            "web.example.org",
            DnsRecord::Mx,
            vec![
                r#"{__address__="mail.example.org:9100", __meta_dns_mx_record_target="mail.example.org.", __meta_dns_name="web.example.org"}"#,
            ],
        ),
        (
            "web.example.org",
            DnsRecord::Ns,
            vec![
                r#"{__address__="ns.example.org:9100", __meta_dns_name="web.example.org", __meta_dns_ns_record_target="ns.example.org."}"#,
            ],
        ),
        // It exists, without such records; and one that does not exist.
        ("_web._tcp.example.org", DnsRecord::A, vec![]),
        ("nobody.example.org", DnsRecord::A, vec![]),
    ] {
        let answers = resolver.lookup(name, kind).await.unwrap();
        let group = group(&config(kind), name.to_owned(), &answers);
        let got: Vec<String> = group.targets.iter().map(ToString::to_string).collect();
        assert_eq!(got, targets, "{name}");
    }
    // Cut short over UDP, whole over TCP.
    assert_eq!(
        resolver.lookup("many.example.org", DnsRecord::A).await.unwrap().len(),
        200
    );
}

#[tokio::test]
async fn the_search_list_is_tried_and_servers_that_fail_are_passed_over() {
    let good = server().await;
    // Nobody listens there any more.
    let dead = cupola_testkit::free_address();
    let found = resolver(vec![dead, good], &["example.com", "example.org"]);
    assert_eq!(found.lookup("web", DnsRecord::A).await.unwrap().len(), 1);
    let error = resolver(vec![good], &[])
        .lookup("broken.example.org", DnsRecord::A)
        .await
        .unwrap_err();
    assert!(error.contains("the server says ServerFailure"), "{error}");
    let error = resolver(vec![dead], &[])
        .lookup("web.example.org", DnsRecord::A)
        .await
        .unwrap_err();
    assert!(
        error.starts_with("could not resolve \"web.example.org\": web.example.org at 127.0.0.1:"),
        "{error}"
    );
    let error = resolver(vec![good], &[])
        .lookup(&"x".repeat(64), DnsRecord::A)
        .await
        .unwrap_err();
    assert!(error.contains("is no name that can be asked for"), "{error}");
}

#[tokio::test]
async fn a_name_that_nobody_can_tell_of_does_not_hold_up_the_others() {
    let config = DnsSdConfig {
        names: ["broken.example.org", "web.example.org", "nobody.example.org"]
            .map(str::to_owned)
            .to_vec(),
        ..config(DnsRecord::A)
    };
    let (mut groups, errors) = ask_all(&config, Ok(resolver(vec![server().await], &[]))).await;
    groups.sort_by(|a, b| a.source.cmp(&b.source));
    let found: Vec<_> = groups
        .iter()
        .map(|group| (group.source.as_str(), group.targets.len()))
        .collect();
    // Of the broken one nothing is said, so that what was found before stays.
    assert_eq!(found, [("nobody.example.org", 0), ("web.example.org", 1)]);
    assert_eq!(errors.len(), 1, "{errors:?}");
    let (groups, errors) = ask_all(&config, Resolver::read(Path::new("/nonexistent"))).await;
    assert_eq!(groups, []);
    assert!(errors[0].starts_with("could not load /nonexistent: "), "{errors:?}");
}

#[test]
fn resolv_conf_is_read_as_elsewhere() {
    let text = "# by hand\nnameserver 10.0.0.2 ; first\nnameserver fe80::1%eth0\nnameserver x\ndomain old.org\n\
                search a.org b.org.\noptions timeout:1 ndots:2\n";
    let read = Resolver::parse(text);
    assert_eq!(
        read.servers,
        ["10.0.0.2:53".parse().unwrap(), "[fe80::1]:53".parse().unwrap()]
    );
    assert_eq!(read.search, ["a.org", "b.org."]);
    assert_eq!(read.names("x.y"), ["x.y.a.org", "x.y.b.org", "x.y"]);
    assert_eq!(read.names("x.y.z"), ["x.y.z", "x.y.z.a.org", "x.y.z.b.org"]);
    assert_eq!(read.names("x."), ["x"]);
    assert_eq!(Resolver::parse("").servers, ["127.0.0.1:53".parse().unwrap()]);
}

#[test]
fn no_bytes_break_the_reader_of_answers() {
    let seeds: Vec<Vec<u8>> = [
        ("_web._tcp.example.org", DnsRecord::Srv),
        ("web.example.org", DnsRecord::Mx),
        ("nobody", DnsRecord::A),
    ]
    .map(|(name, record)| reply(&question(7, name, record).unwrap(), 65_535))
    .to_vec();
    cupola_testkit::fuzz(5_000, &seeds, &["\u{c0}\u{c}", "\0"], |bytes| {
        let _ = is_truncated(bytes);
        let _ = read(bytes, 7, "web.example.org", DnsRecord::Mx);
    });
}
