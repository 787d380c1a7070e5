//! `dns_sd_configs`: targets that DNS records name (Prometheus 3.14, `discovery/dns`).
//!
//! Names are asked for as upstream does it: with the search list of `/etc/resolv.conf`, which is read each time; the
//! first name that exists counts, also without records of the type wanted. That no such name exists means no targets; that
//! nobody could say so means that what was found before stays.

use std::fmt::Write as _;
use std::hash::{BuildHasher as _, Hasher as _, RandomState};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::Path;
use std::time::Duration;

use cupola_config::prometheus::{DnsRecord, DnsSdConfig, TargetGroup};
use cupola_model::Labels;
use simple_dns::rdata::{OPT, RData};
use simple_dns::{CLASS, Name, Packet, PacketFlag, QCLASS, QTYPE, Question, RCODE, TYPE};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpStream, UdpSocket};
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::labels::host_port;
use crate::provider::Updates;

const RESOLV_CONF: &str = "/etc/resolv.conf";
// For one question to one server.
const TIMEOUT: Duration = Duration::from_secs(2);
const UDP_BYTES: u16 = 4096;
const MOST_ROUNDS: usize = 64;

/// Who is asked, and under which names.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Resolver {
    servers: Vec<SocketAddr>,
    search: Vec<String>,
    ndots: usize,
}

/// What a target's group is made of.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Answer {
    /// Address.
    Address(IpAddr),
    /// Host with its final dot, and port.
    Service(String, u16),
    /// Host with its final dot.
    Host(String),
}

pub(crate) async fn run(config: DnsSdConfig, updates: Updates) {
    let metrics = updates.metrics().clone();
    let seconds = metrics.refresh_seconds.with(&["dns"]);
    loop {
        let started = Instant::now();
        let (groups, errors) = ask_all(&config, Resolver::read(Path::new(RESOLV_CONF))).await;
        seconds.observe(started.elapsed().as_secs_f64());
        metrics.dns_lookups.add((groups.len() + errors.len()) as f64);
        metrics.dns_failures.add(errors.len() as f64);
        if errors.is_empty() {
            updates.worked();
        } else {
            updates.failed(&errors.join("; "));
        }
        // Names that could not be asked for keep what they had.
        updates.set(groups);
        tokio::time::sleep_until((started + config.refresh_interval).max(Instant::now())).await;
    }
}

// Asks for all names at once: a group for each that somebody knows something of, an error for each other one.
async fn ask_all(config: &DnsSdConfig, resolver: Result<Resolver, String>) -> (Vec<TargetGroup>, Vec<String>) {
    let resolver = match resolver {
        Ok(resolver) => resolver,
        Err(error) => return (Vec::new(), vec![error]),
    };
    let mut asked = JoinSet::new();
    for name in &config.names {
        let (name, record, resolver) = (name.clone(), config.record, resolver.clone());
        asked.spawn(async move {
            let found = resolver.lookup(&name, record).await;
            (name, found)
        });
    }
    let (mut groups, mut errors) = (Vec::new(), Vec::new());
    while let Some(done) = asked.join_next().await {
        match done {
            Ok((name, Ok(answers))) => groups.push(group(config, name, &answers)),
            Ok((_, Err(error))) => errors.push(error),
            Err(broken) => errors.push(format!("asking broke off: {broken}")),
        }
    }
    errors.sort();
    (groups, errors)
}

fn group(config: &DnsSdConfig, name: String, answers: &[Answer]) -> TargetGroup {
    let target = |answer: &Answer| {
        let mut pairs = vec![("__meta_dns_name", name.clone())];
        let address = match answer {
            Answer::Address(address) => host_port(&address.to_string(), config.port),
            Answer::Service(host, port) => {
                pairs.push(("__meta_dns_srv_record_target", host.clone()));
                pairs.push(("__meta_dns_srv_record_port", port.to_string()));
                host_port(host.trim_end_matches('.'), u64::from(*port))
            }
            Answer::Host(host) => {
                let label = match config.record {
                    DnsRecord::Mx => "__meta_dns_mx_record_target",
                    _ => "__meta_dns_ns_record_target",
                };
                pairs.push((label, host.clone()));
                host_port(host.trim_end_matches('.'), config.port)
            }
        };
        pairs.push(("__address__", address));
        Labels::from_pairs(pairs)
    };
    TargetGroup {
        targets: answers.iter().map(target).collect(),
        labels: Labels::empty(),
        source: name,
    }
}

impl Resolver {
    fn read(path: &Path) -> Result<Self, String> {
        let text = std::fs::read_to_string(path).map_err(|e| format!("could not load {}: {e}", path.display()))?;
        Ok(Self::parse(&text))
    }

    // As the C library and Go read it: the last `search` or `domain` counts.
    fn parse(text: &str) -> Self {
        let mut out = Self {
            servers: Vec::new(),
            search: Vec::new(),
            ndots: 1,
        };
        for line in text.lines() {
            let line = line.split(['#', ';']).next().unwrap_or("");
            let mut words = line.split_whitespace();
            match words.next() {
                Some("nameserver") => {
                    let address = words.next().and_then(parse_address);
                    out.servers.extend(address.map(|mut address| {
                        address.set_port(53);
                        address
                    }));
                }
                Some("search" | "domain") => out.search = words.map(str::to_owned).collect(),
                Some("options") => {
                    let ndots = words
                        .filter_map(|word| word.strip_prefix("ndots:")?.parse().ok())
                        .next_back();
                    out.ndots = ndots.unwrap_or(out.ndots).min(15);
                }
                _ => {}
            }
        }
        if out.servers.is_empty() {
            out.servers.push((Ipv4Addr::LOCALHOST, 53).into());
        }
        out
    }

    // The names to try, most likely first; all without the final dot.
    fn names(&self, name: &str) -> Vec<String> {
        if let Some(whole) = name.strip_suffix('.') {
            return vec![whole.to_owned()];
        }
        let has_dots = name.split('.').count() > self.ndots;
        let with_suffix = self
            .search
            .iter()
            .map(|suffix| format!("{name}.{}", suffix.trim_matches('.')));
        let mut names: Vec<String> = with_suffix.map(|name| name.trim_end_matches('.').to_owned()).collect();
        names.insert(if has_dots { 0 } else { names.len() }, name.to_owned());
        names
    }

    async fn lookup(&self, name: &str, record: DnsRecord) -> Result<Vec<Answer>, String> {
        let mut errors = String::new();
        for name in self.names(name).iter().take(MOST_ROUNDS) {
            match self.ask_any(name, record).await {
                Ok(Some(answers)) => return Ok(answers),
                Ok(None) => {}
                Err(error) => {
                    let _ = write!(errors, "{}{error}", if errors.is_empty() { "" } else { ", " });
                }
            }
        }
        if errors.is_empty() {
            // Everybody says that there is no such name.
            return Ok(Vec::new());
        }
        Err(format!("could not resolve {name:?}: {errors}"))
    }

    // `None` where the name does not exist.
    async fn ask_any(&self, name: &str, record: DnsRecord) -> Result<Option<Vec<Answer>>, String> {
        let mut last = String::new();
        for server in &self.servers {
            match ask(*server, name, record).await {
                Ok(answers) => return Ok(answers),
                Err(error) => last = format!("{name} at {server}: {error}"),
            }
        }
        Err(last)
    }
}

// An address, perhaps with the zone of a link-local one, which has no meaning for others.
fn parse_address(text: &str) -> Option<SocketAddr> {
    let text = text.split('%').next().unwrap_or(text);
    Some(SocketAddr::new(text.parse().ok()?, 53))
}

async fn ask(server: SocketAddr, name: &str, record: DnsRecord) -> Result<Option<Vec<Answer>>, String> {
    // The number and the port are what an answer from elsewhere would have to guess.
    let id = (RandomState::new().build_hasher().finish() & 0xffff) as u16;
    let question = question(id, name, record)?;
    let mut reply = within(over_udp(server, &question, id)).await?;
    if is_truncated(&reply) {
        reply = within(over_tcp(server, &question)).await?;
    }
    read(&reply, id, name, record)
}

async fn within<T>(exchange: impl Future<Output = std::io::Result<T>>) -> Result<T, String> {
    match tokio::time::timeout(TIMEOUT, exchange).await {
        Ok(done) => done.map_err(|e| e.to_string()),
        Err(_) => Err(format!("no answer within {}s", TIMEOUT.as_secs())),
    }
}

async fn over_udp(server: SocketAddr, question: &[u8], id: u16) -> std::io::Result<Vec<u8>> {
    let local: SocketAddr = match server {
        SocketAddr::V4(_) => (Ipv4Addr::UNSPECIFIED, 0).into(),
        SocketAddr::V6(_) => (Ipv6Addr::UNSPECIFIED, 0).into(),
    };
    let socket = UdpSocket::bind(local).await?;
    // Connected: what comes from elsewhere the system drops.
    socket.connect(server).await?;
    socket.send(question).await?;
    let mut buffer = vec![0; usize::from(UDP_BYTES)];
    loop {
        let length = socket.recv(&mut buffer).await?;
        let reply = buffer.get(..length).unwrap_or_default();
        // A late answer to somebody else's question.
        if reply.get(..2) == Some(&id.to_be_bytes()) {
            return Ok(reply.to_vec());
        }
    }
}

async fn over_tcp(server: SocketAddr, question: &[u8]) -> std::io::Result<Vec<u8>> {
    let mut stream = TcpStream::connect(server).await?;
    let length = u16::try_from(question.len()).unwrap_or(u16::MAX);
    let mut message = length.to_be_bytes().to_vec();
    message.extend_from_slice(question);
    stream.write_all(&message).await?;
    let length = stream.read_u16().await?;
    let mut reply = vec![0; usize::from(length)];
    stream.read_exact(&mut reply).await?;
    Ok(reply)
}

fn question(id: u16, name: &str, record: DnsRecord) -> Result<Vec<u8>, String> {
    let mut packet = Packet::new_query(id);
    packet.set_flags(PacketFlag::RECURSION_DESIRED);
    let kind = match record {
        DnsRecord::A => TYPE::A,
        DnsRecord::Aaaa => TYPE::AAAA,
        DnsRecord::Srv => TYPE::SRV,
        DnsRecord::Mx => TYPE::MX,
        DnsRecord::Ns => TYPE::NS,
    };
    let name = Name::new(name).map_err(|_| "is no name that can be asked for")?;
    packet
        .questions
        .push(Question::new(name, QTYPE::TYPE(kind), QCLASS::CLASS(CLASS::IN), false));
    *packet.opt_mut() = Some(OPT {
        opt_codes: Vec::new(),
        udp_packet_size: UDP_BYTES,
        version: 0,
    });
    packet.build_bytes_vec().map_err(|e| e.to_string())
}

fn is_truncated(reply: &[u8]) -> bool {
    // The bit TC; what follows in the message may be cut anywhere.
    reply.get(2).is_some_and(|flags| flags & 0b10 != 0)
}

// `None` where the name does not exist.
fn read(reply: &[u8], id: u16, name: &str, record: DnsRecord) -> Result<Option<Vec<Answer>>, String> {
    let packet = Packet::parse(reply).map_err(|e| format!("an answer that cannot be read: {e}"))?;
    let asked = packet.questions.first().map(|question| question.qname.to_string());
    let is_ours = packet.id() == id
        && packet.has_flags(PacketFlag::RESPONSE)
        && asked.is_none_or(|asked| asked.eq_ignore_ascii_case(name));
    if !is_ours {
        return Err("an answer to another question".to_owned());
    }
    if packet.has_flags(PacketFlag::TRUNCATION) {
        return Err("a truncated answer over TCP".to_owned());
    }
    match packet.rcode() {
        RCODE::NoError => {}
        RCODE::NameError => return Ok(None),
        other => return Err(format!("the server says {other:?}")),
    }
    let answer = |rdata: &RData<'_>| match (rdata, record) {
        (RData::A(a), DnsRecord::A) => Some(Answer::Address(Ipv4Addr::from(a.address).into())),
        (RData::AAAA(a), DnsRecord::Aaaa) => Some(Answer::Address(Ipv6Addr::from(a.address).into())),
        (RData::SRV(srv), DnsRecord::Srv) => Some(Answer::Service(format!("{}.", srv.target), srv.port)),
        (RData::MX(mx), DnsRecord::Mx) => Some(Answer::Host(format!("{}.", mx.exchange))),
        (RData::NS(ns), DnsRecord::Ns) => Some(Answer::Host(format!("{}.", ns.0))),
        // Aliases come before what they lead to.
        _ => None,
    };
    Ok(Some(
        packet
            .answers
            .iter()
            .filter_map(|record| answer(&record.rdata))
            .collect(),
    ))
}

#[cfg(test)]
mod tests;
