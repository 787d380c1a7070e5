//! Targets that mean harm: each costs a bounded time and a bounded amount of memory, is told on itself alone, and the
//! target beside it goes on being scraped. Debian's Prometheus reads the same targets and says the same of them.

#![allow(clippy::panic, clippy::unwrap_used, reason = "a test's failure is a panic")]

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use cupola_tests::{FakeTarget, Home, Prometheus, Server, eventually, get, now_ms};
use serde_json::Value;

const HEAD: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain; version=0.0.4\r\n";
const MIB: u64 = 1 << 20;

/// One connection of a scraper, seen from the target.
struct Scraper {
    stream: TcpStream,
    is_over: Arc<AtomicBool>,
}

impl Scraper {
    // Whether it is still there and took all of it.
    fn say(&mut self, mut bytes: &[u8]) -> bool {
        while !bytes.is_empty() && !self.is_over.load(Ordering::SeqCst) {
            match self.stream.write(bytes) {
                Ok(0) => return false,
                Ok(n) => bytes = &bytes[n..],
                Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {}
                Err(_) => return false,
            }
        }
        bytes.is_empty()
    }

    fn say_both(&mut self, head: &[u8], body: &[u8]) -> bool {
        self.say(head) && self.say(body)
    }

    // A tenth of a second of silence; whether the scraper still waits after it.
    fn listen(&mut self) -> bool {
        let mut byte = [0];
        match self.stream.read(&mut byte) {
            Ok(n) => n > 0,
            Err(error) => {
                matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut)
                    && !self.is_over.load(Ordering::SeqCst)
            }
        }
    }

    // Reads a request's head, but for its last byte where `leaves_one`: closing resets the connection then.
    fn request(&mut self, leaves_one: bool) -> bool {
        let end: &[u8] = if leaves_one { b"\r\n\r" } else { b"\r\n\r\n" };
        let (mut head, mut byte) = (Vec::new(), [0]);
        while !head.ends_with(end) {
            match self.stream.read(&mut byte) {
                Ok(1) => head.push(byte[0]),
                Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                    if self.is_over.load(Ordering::SeqCst) {
                        return false;
                    }
                }
                _ => return false,
            }
        }
        true
    }
}

/// A server that answers each request with what its code does; the code says whether the connection goes on.
struct Hostile {
    address: SocketAddr,
    is_over: Arc<AtomicBool>,
}

impl Hostile {
    fn start(answer: impl Fn(&mut Scraper) -> bool + Send + Sync + 'static) -> Self {
        Self::with(false, answer)
    }

    // Closes with a reset.
    fn resetting(answer: impl Fn(&mut Scraper) -> bool + Send + Sync + 'static) -> Self {
        Self::with(true, answer)
    }

    fn with(leaves_one: bool, answer: impl Fn(&mut Scraper) -> bool + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let address = listener.local_addr().unwrap();
        let is_over = Arc::new(AtomicBool::new(false));
        let (answer, told) = (Arc::new(answer), is_over.clone());
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                if told.load(Ordering::SeqCst) {
                    return;
                }
                let Ok(stream) = stream else { continue };
                let wait = Some(Duration::from_millis(100));
                if stream.set_read_timeout(wait).is_err() || stream.set_write_timeout(wait).is_err() {
                    continue;
                }
                let (answer, is_over) = (answer.clone(), told.clone());
                std::thread::spawn(move || {
                    let mut scraper = Scraper { stream, is_over };
                    while scraper.request(leaves_one) && answer(&mut scraper) {}
                });
            }
        });
        Self { address, is_over }
    }
}

impl Drop for Hostile {
    fn drop(&mut self) {
        self.is_over.store(true, Ordering::SeqCst);
        // Wakes the accepting thread.
        let _ = TcpStream::connect(self.address);
    }
}

// One whole answer.
fn answer(body: &[u8], headers: &str) -> Vec<u8> {
    let mut out = HEAD.to_vec();
    out.extend_from_slice(format!("{headers}Content-Length: {}\r\n\r\n", body.len()).as_bytes());
    out.extend_from_slice(body);
    out
}

fn whole(body: &'static str) -> impl Fn(&mut Scraper) -> bool + Send + Sync + 'static {
    move |scraper| scraper.say(&answer(body.as_bytes(), ""))
}

/// A gzip member that inflates to `size` times the letter a: one letter, then copies of 258 from one byte back, in
/// deflate's fixed codes, 13 bits each.
fn bomb(size: usize) -> Vec<u8> {
    let mut out = vec![0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 3];
    let (mut word, mut bits) = (0_u64, 0);
    // A Huffman code stands with its first bit lowest.
    let put = |out: &mut Vec<u8>, word: &mut u64, bits: &mut u32, code: u64, length: u32, is_huffman: bool| {
        for i in 0..length {
            let bit = if is_huffman {
                code >> (length - 1 - i)
            } else {
                code >> i
            } & 1;
            *word |= bit << *bits;
            *bits += 1;
            if *bits == 8 {
                out.push(*word as u8);
                (*word, *bits) = (0, 0);
            }
        }
    };
    // The last block, with fixed codes; then `a`.
    put(&mut out, &mut word, &mut bits, 0b011, 3, false);
    put(&mut out, &mut word, &mut bits, 0x30 + u64::from(b'a'), 8, true);
    for _ in 0..size / 258 {
        put(&mut out, &mut word, &mut bits, 0b1100_0101, 8, true);
        put(&mut out, &mut word, &mut bits, 0, 5, true);
    }
    put(&mut out, &mut word, &mut bits, 0, 7, true);
    out.push(word as u8);
    out.extend_from_slice(&[0; 8]);
    out
}

/// What is to be told of a target, and whether Debian's Prometheus is asked the same.
struct Case {
    job: &'static str,
    server: Hostile,
    more: &'static str,
    told: &'static str,
    is_for_both: bool,
}

const LIMITED: &str = "  body_size_limit: 10MB\n";

fn cases() -> Vec<Case> {
    let case = |job, server, told| Case {
        job,
        server,
        more: "",
        told,
        is_for_both: true,
    };
    let endless = |scraper: &mut Scraper| {
        let chunk = [b"10000\r\n".to_vec(), vec![b'#'; 0x10000], b"\r\n".to_vec()].concat();
        scraper.say_both(HEAD, b"Transfer-Encoding: chunked\r\n\r\n");
        while scraper.say(&chunk) {}
        false
    };
    let bombed = Arc::new(answer(&bomb(300 << 20), "Content-Encoding: gzip\r\n"));
    let bombed_too = bombed.clone();
    vec![
        case(
            "hangs",
            Hostile::start(|scraper| {
                while scraper.listen() {}
                false
            }),
            "context deadline exceeded",
        ),
        case(
            "trickles-its-head",
            Hostile::start(|scraper| {
                scraper.say(b"HTTP/1.1 200 OK\r\nX-Slow: ");
                while scraper.listen() && scraper.say(b"x") {}
                false
            }),
            "context deadline exceeded",
        ),
        case(
            "trickles-its-body",
            Hostile::start(|scraper| {
                scraper.say_both(HEAD, b"Content-Length: 100000\r\n\r\n");
                while scraper.listen() && scraper.say(b"#") {}
                false
            }),
            "context deadline exceeded",
        ),
        Case {
            more: LIMITED,
            ..case("endless", Hostile::start(endless), "body size limit exceeded")
        },
        Case {
            is_for_both: false,
            ..case("endless-unlimited", Hostile::start(endless), "exceeded")
        },
        Case {
            more: LIMITED,
            ..case(
                "bomb",
                Hostile::start(move |scraper| scraper.say(&bombed)),
                "body size limit exceeded",
            )
        },
        // Debian's Prometheus inflates this one into its memory.
        Case {
            is_for_both: false,
            ..case(
                "bomb-unlimited",
                Hostile::start(move |scraper| scraper.say(&bombed_too)),
                "exceeded",
            )
        },
        case(
            "no-gzip",
            Hostile::start(|scraper| {
                scraper.say(&answer(b"good 1\nbad 2\nunfinished 3\n", "Content-Encoding: gzip\r\n"))
            }),
            "gzip: invalid header",
        ),
        Case {
            is_for_both: false,
            ..case(
                "broken-gzip",
                Hostile::start(|scraper| {
                    let mut body = vec![0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 3];
                    body.extend_from_slice(&[0xff; 40]);
                    scraper.say(&answer(&body, "Content-Encoding: gzip\r\n"))
                }),
                "gzip: invalid data",
            )
        },
        case(
            "invalid-utf8",
            Hostile::start(|scraper| scraper.say(&answer(b"good 1\nbad{x=\"\xff\xfe\"} 1\n", ""))),
            "invalid UTF-8 label value",
        ),
        case(
            "long-length",
            Hostile::start(|scraper| {
                scraper.say_both(HEAD, b"Content-Length: 100\r\n\r\nunfinished 1\n");
                false
            }),
            "unexpected EOF",
        ),
        case("closes", Hostile::start(|_| false), "EOF"),
        case(
            "resets",
            Hostile::resetting(|scraper| {
                scraper.say_both(HEAD, b"Content-Length: 100000\r\n\r\nunfinished 1\n");
                false
            }),
            "connection reset by peer",
        ),
        case(
            "redirects",
            Hostile::start(|scraper| {
                scraper.say(b"HTTP/1.1 302 Found\r\nLocation: /metrics\r\nContent-Length: 0\r\n\r\n")
            }),
            "stopped after 10 redirects",
        ),
        Case {
            is_for_both: false,
            ..case(
                "floods-with-headers",
                Hostile::start(|scraper| {
                    scraper.say(HEAD);
                    let line = format!("X-Flood: {}\r\n", "x".repeat(4000));
                    while scraper.say(line.as_bytes()) {}
                    false
                }),
                "message head is too large",
            )
        },
        Case {
            is_for_both: false,
            ..case(
                "floods-with-interim-answers",
                Hostile::start(|scraper| {
                    while scraper.say(b"HTTP/1.1 102 Processing\r\n\r\n") {}
                    false
                }),
                "context deadline exceeded",
            )
        },
        Case {
            is_for_both: false,
            ..case(
                "counts-badly",
                Hostile::start(|scraper| {
                    scraper.say_both(HEAD, b"Transfer-Encoding: chunked\r\n\r\nfffffffffffffffff\r\nx 1\n")
                }),
                "chunk size",
            )
        },
        case(
            "one-endless-line",
            Hostile::start(|scraper| scraper.say(&answer(&vec![b'a'; 9 << 20], ""))),
            "expected value after metric",
        ),
        // What is wrong with these concerns single samples; the scrape counts.
        case(
            "short-length",
            Hostile::start(|scraper| scraper.say_both(HEAD, b"Content-Length: 8\r\n\r\nfirst 1\nbeyond 1\n")),
            "",
        ),
        case("duplicates", Hostile::start(whole("twice 1\ntwice 2\nonce 3\n")), ""),
        case(
            "future",
            Hostile::start(|scraper| {
                let body = format!("ahead 1 {}\npresent 1\n", now_ms() + 3_600_000);
                scraper.say(&answer(body.as_bytes(), ""))
            }),
            "",
        ),
        case("past", Hostile::start(whole("bygone 1 1000\nstill 1\n")), ""),
    ]
}

fn active(address: SocketAddr) -> Vec<Value> {
    let answered = get(address, "/api/v1/targets?state=active").unwrap();
    serde_json::from_value(answered.json()["data"]["activeTargets"].take()).unwrap()
}

// The peak of the process's memory so far.
fn peak_rss(pid: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() * 1024
}

// Waits until each target says what is expected of it.
#[track_caller]
fn all_are_told(who: &str, address: SocketAddr, expected: &[&Case]) {
    let mut shown = String::new();
    eventually(60, &format!("{who} tells of each target what is wrong with it"), || {
        let targets = active(address);
        let wrong: Vec<String> = (expected.iter())
            .filter_map(|case| {
                let target = targets.iter().find(|t| t["labels"]["job"] == case.job)?;
                let health = if case.told.is_empty() { "up" } else { "down" };
                let told = target["lastError"].as_str().unwrap();
                let is_right = target["health"] == health && told.contains(case.told);
                (!is_right).then(|| format!("{}: {} {told:?}", case.job, target["health"]))
            })
            .collect();
        if wrong.join("\n") != shown {
            shown = wrong.join("\n");
            eprintln!(
                "{who}, {} of {} are not yet as expected:\n{shown}",
                wrong.len(),
                expected.len()
            );
        }
        (wrong.is_empty() && targets.len() > expected.len()).then_some(())
    });
}

#[test]
fn hostile_targets_cost_bounded_time_and_memory_and_harm_no_other() {
    let good = FakeTarget::computed(|n| format!("# TYPE rounds counter\nrounds {n}\n"));
    let cases = cases();
    let yml = |is_for_both: bool| {
        let mut text = format!(
            "global: {{scrape_interval: 1s, scrape_timeout: 1s}}\nscrape_configs:\n\
             - job_name: good\n  static_configs: [{{targets: ['{}']}}]\n",
            good.address()
        );
        for case in cases.iter().filter(|case| case.is_for_both || !is_for_both) {
            text.push_str(&format!(
                "- job_name: {}\n{}  static_configs: [{{targets: ['{}']}}]\n",
                case.job, case.more, case.server.address
            ));
        }
        text
    };
    let home = Home::new();
    let config = home.write("prometheus.yml", &yml(false));
    let server = Server::prometheus(&home, &config, &[]);
    all_are_told("cupola", server.address(), &cases.iter().collect::<Vec<_>>());

    // The target beside them is asked as ever, and what it says is stored.
    let then = server.value("rounds");
    eventually(20, "the good target goes on being scraped", || {
        let now = server.value("rounds")?;
        (now >= then.unwrap_or(0.0) + 3.0).then_some(())
    });
    // What was good in a body that was bad is not stored, and samples that cannot be are lost alone.
    for gone in ["unfinished", "good", "beyond", "ahead", "bygone", "bad"] {
        assert!(server.query(gone).is_empty(), "{gone} was stored");
    }
    for (kept, value) in [
        ("first", 1.0),
        ("twice", 1.0),
        ("once", 3.0),
        ("present", 1.0),
        ("still", 1.0),
    ] {
        assert_eq!(server.value(kept), Some(value), "{kept}");
    }
    for counted in [
        "prometheus_target_scrapes_sample_out_of_bounds_total",
        "prometheus_target_scrapes_sample_duplicate_timestamp_total",
        "prometheus_target_scrapes_exceeded_body_size_limit_total",
    ] {
        assert!(server.own_metric(counted).unwrap() > 0.0, "{counted}");
    }
    for target in active(server.address()) {
        let took = target["lastScrapeDuration"].as_f64().unwrap();
        assert!(took < 10.0, "{}: {took} s", target["labels"]["job"]);
    }
    // Two bombs at a time and an endless body may each fill the 256 MiB that a body without a limit may have, beside a
    // buffer half as large that they have outgrown.
    let peak = peak_rss(server.pid());
    assert!(peak < 1536 * MIB, "the process took {} MiB", peak / MIB);

    let shared: Vec<&Case> = cases.iter().filter(|case| case.is_for_both).collect();
    let Some(prometheus) = Prometheus::with_config(Home::new(), &yml(true), &[]) else {
        return;
    };
    all_are_told("prometheus", prometheus.address(), &shared);
}
