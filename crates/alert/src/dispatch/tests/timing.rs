//! When what is told, with a clock that the test turns: the recorded run of Alertmanager 0.25 and what it counted, and what a
//! restart changes.

use std::collections::BTreeMap;
use std::sync::mpsc::{Receiver, channel};

use cupola_env::SimDisk;
use cupola_notify::Notification;

use super::*;
use crate::deliver::tests::Fake;

pub(super) type Sent = Receiver<(Notification, u16)>;

// Puts fakes in the place of all webhooks, by the path of their URL. Those below `/fail/CODE/TIMES` fail so often first.
pub(super) fn fakes(manager: &Alertmanager) -> BTreeMap<String, Sent> {
    let old = manager.inner.loaded.lock().clone();
    let mut sinks = BTreeMap::new();
    let mut integrations = HashMap::new();
    for receiver in &old.config.receivers {
        let mut channels = Vec::new();
        for (index, webhook) in receiver.webhook_configs.iter().enumerate() {
            let cupola_config::common::SecretSource::Inline(url) = &webhook.url else {
                panic!("a URL in a file");
            };
            let path = url.expose().splitn(4, '/').nth(3).unwrap_or("").to_owned();
            let mut codes = VecDeque::new();
            if let Some(rest) = path.strip_prefix("fail/") {
                let (code, times) = rest.split_once('/').unwrap();
                codes = vec![code.parse().unwrap(); times.parse().unwrap()].into();
            }
            let (sent, sink) = channel();
            sinks.insert(path, sink);
            channels.push(Channel::Fake(Fake {
                index,
                send_resolved: webhook.send_resolved,
                codes: Mutex::new(codes),
                sent,
            }));
        }
        integrations.insert(receiver.name.clone(), channels);
    }
    let loaded = Loaded {
        templates: old.templates.clone(),
        tree: Tree::new(&old.config.route),
        config: old.config.clone(),
        integrations,
    };
    *manager.inner.loaded.lock() = Arc::new(loaded);
    sinks
}

// `alertname/i resolved?` of each alert.
fn told(notification: &Notification) -> Vec<String> {
    let one = |a: &cupola_notify::NotifiedAlert| {
        let mark = if a.ends_at.is_some() { "-" } else { "+" };
        format!("{mark}{}/{}", a.labels.value("alertname"), a.labels.value("i"))
    };
    notification.alerts.iter().map(one).collect()
}

pub(super) fn posted(now: i64, labels: &[(&str, &str)], start: Option<i64>, end: Option<i64>) -> Alert {
    Alert {
        labels: Labels::from_pairs(labels.iter().copied()),
        annotations: Labels::empty(),
        starts_at: start.or(end.filter(|end| *end <= now)).unwrap_or(now),
        ends_at: end,
        generator_url: String::new(),
    }
}

// Of a minute, everything that was sent: milliseconds, path, status code, alerts.
pub(super) async fn watch(
    sinks: &BTreeMap<String, Sent>,
    from: Instant,
    for_ms: u64,
) -> Vec<(u64, String, u16, String)> {
    let mut all = Vec::new();
    let end = Instant::now() + Duration::from_millis(for_ms);
    while Instant::now() < end {
        tokio::time::sleep(Duration::from_millis(5)).await;
        for (path, sink) in sinks {
            while let Ok((notification, code)) = sink.try_recv() {
                let at = from.elapsed().as_millis() as u64;
                all.push((at, path.clone(), code, told(&notification).join(" ")));
            }
        }
    }
    all
}

#[tokio::test(start_paused = true)]
async fn the_recorded_run_of_alertmanager_happens_again() {
    let Some(dir) = cupola_testkit::conformance_dir("alertmanager/recorded") else {
        return;
    };
    let yaml = std::fs::read_to_string(dir.join("rec3.yml")).unwrap();
    let text = std::fs::read_to_string(dir.join("timing.json")).unwrap();
    let recorded: serde_json::Value = serde_json::from_str(&text).unwrap();
    let manager = manager(&yaml);
    let sinks = fakes(&manager);
    let begin = Instant::now();
    let mut seen = Vec::new();
    for event in recorded["events"].as_array().unwrap() {
        let at = (event["t"].as_f64().unwrap() * 1000.0) as u64;
        let now_ms = begin.elapsed().as_millis() as u64;
        seen.extend(watch(&sinks, begin, at.saturating_sub(now_ms)).await);
        let now = manager.inner.clock.now_ms();
        for alert in event["post"].as_array().unwrap() {
            let pairs = alert["labels"].as_object().unwrap().iter();
            let pairs: Vec<_> = pairs.map(|(n, v)| (n.as_str(), v.as_str().unwrap())).collect();
            // The recorded ends are ten minutes after the post, or before it.
            let is_old = event["note"].as_str().unwrap().contains("older");
            let end = alert["endsAt"].as_str().map(|_| {
                let is_over = event["note"].as_str().unwrap().contains("resolve");
                if is_over && !event["note"].as_str().unwrap().contains("send_resolved") {
                    now - 1
                } else {
                    now + 600_000
                }
            });
            let start = is_old.then_some(now - 300_000);
            manager.post(&[posted(now, &pairs, start, end)]);
        }
    }
    // The metrics were read before the flush at 15.4 s; the one at 14.4 s is counted.
    let now_ms = begin.elapsed().as_millis() as u64;
    seen.extend(watch(&sinks, begin, 14_900 - now_ms).await);
    let ours = |path: &str| -> Vec<(u64, String)> {
        let of = seen.iter().filter(|s| s.1 == path);
        of.map(|s| (s.0, format!("{} {}", s.2, s.3))).collect()
    };
    let theirs = |path: &str| -> Vec<(u64, String)> {
        let all = recorded["notifications"].as_array().unwrap().iter();
        let of = all.filter(|n| n["path"] == format!("/{path}"));
        of.map(|n| {
            let alerts = n["alerts"].as_array().unwrap().iter().map(|a| {
                let mark = if a[0] == "resolved" { "-" } else { "+" };
                let label = |name: &str| a[1][name].as_str().unwrap_or("").to_owned();
                format!("{mark}{}/{}", label("alertname"), label("i"))
            });
            let text = format!("{} {}", n["response_status"], alerts.collect::<Vec<_>>().join(" "));
            ((n["t"].as_f64().unwrap() * 1000.0) as u64, text)
        })
        .collect()
    };
    // The same messages in the same order for each group, and each within half a second of the recorded moment; but a
    // reminder, which is all that was recorded after the ninth second, may come a group interval sooner (see
    // `dedup::reason`): Alertmanager counts from after the message, and so slips to the next flush.
    for (path, group) in [
        ("w/r", "Old"),
        ("w/r", "Timeout"),
        ("w/r", "A"),
        ("fail/500/3", "Flaky"),
        ("fail/400/2", "Broken"),
        ("w/quiet", "Quiet"),
        ("w/all", "Grp/1"),
        ("w/all", "Grp/2"),
    ] {
        let of = |all: Vec<(u64, String)>| -> Vec<(u64, String)> {
            let name = format!("{group}/");
            let belongs = |text: &str| text.contains(&name) || text.ends_with(group);
            all.into_iter().filter(|(_, text)| belongs(text)).collect()
        };
        let (ours, theirs) = (of(ours(path)), of(theirs(path)));
        for (ours, theirs) in ours.iter().zip(&theirs) {
            assert_eq!(ours.1, theirs.1, "{group}");
            let sooner = if theirs.0 < 9_000 { 500 } else { 2_500 };
            assert!(
                theirs.0 <= ours.0 + sooner && ours.0 <= theirs.0 + 500,
                "{group}: {ours:?}, recorded {theirs:?}"
            );
        }
        // Whose reminders come sooner has room for one more.
        let more = ours.len().checked_sub(theirs.len());
        assert!(
            more.is_some_and(|more| more <= 1),
            "{group}: {ours:?}, recorded {theirs:?}"
        );
    }
    assert!(ours("w/muted").is_empty() && ours("w/inactive").is_empty(), "{seen:?}");
    assert!(!seen.iter().any(|s| s.3.contains("Short")), "{seen:?}");
    counted_as_recorded(&manager, &dir, &seen);
}

// How often a histogram has observed something.
fn observed((buckets, _): (Vec<(f64, u64)>, f64)) -> f64 {
    buckets.last().map_or(0.0, |(_, all)| *all as f64)
}

// The values of `timing_metrics.json`. What depends on the number of messages is compared with that number, as the recorded
// run had some reminders less (see above).
fn counted_as_recorded(manager: &Alertmanager, dir: &std::path::Path, seen: &[(u64, String, u16, String)]) {
    let text = std::fs::read_to_string(dir.join("timing_metrics.json")).unwrap();
    let lines: Vec<String> = serde_json::from_str(&text).unwrap();
    let value = |series: &str| -> f64 {
        let named = lines
            .iter()
            .find_map(|line| line.strip_prefix(series)?.strip_prefix(' '));
        named
            .unwrap_or_else(|| panic!("{series} is not recorded"))
            .parse()
            .unwrap()
    };
    let theirs = |name: &str| value(&format!("alertmanager_{name}{{integration=\"webhook\"}}"));
    let metrics = &manager.inner.metrics;
    let requests = metrics.requests.with(&["webhook"]).get();
    assert_eq!(requests, seen.len() as f64);
    let more = requests - theirs("notification_requests_total");
    assert!((0.0..=8.0).contains(&more), "{more} messages more than recorded");
    // Three attempts are of one message that was refused before; one message was left out, as its receiver wants no ends.
    let notifications = metrics.notifications.with(&["webhook"]).get();
    assert_eq!(notifications - more, theirs("notifications_total"));
    let refused = metrics.requests_failed.with(&["webhook"]).get();
    assert_eq!(refused, theirs("notification_requests_failed_total"));
    let failed: f64 = [
        "clientError",
        "serverError",
        "other",
        "contextDeadlineExceeded",
        "rateLimited",
    ]
    .iter()
    .map(|reason| metrics.failed.with(&["webhook", reason]).get())
    .sum();
    assert_eq!(failed, theirs("notifications_failed_total"));
    // Alertmanager makes a group for an alert that is over before anybody heard of it, and looks once whether somebody has.
    let log = &metrics.nflog;
    assert_eq!(
        log.query_errors.get() + 1.0,
        value("alertmanager_nflog_query_errors_total")
    );
    assert_eq!(log.queries.get() + 1.0, value("alertmanager_nflog_queries_total"));
    // Each query and each request is timed.
    assert_eq!(
        value("alertmanager_nflog_query_duration_seconds_count"),
        value("alertmanager_nflog_queries_total")
    );
    assert_eq!(observed(log.query_seconds.get()), log.queries.get());
    assert_eq!(
        theirs("notification_latency_seconds_count"),
        theirs("notification_requests_total")
    );
    assert_eq!(observed(metrics.latency.with(&["webhook"]).get()), requests);
}

pub(super) const YAML: &str = "route: {receiver: r, group_by: [alertname], group_wait: 1s, group_interval: 10s, repeat_interval: 1h}\n\
                    receivers:\n- name: r\n  webhook_configs: [{url: 'http://x/w'}]\n";

pub(super) fn on(disk: &SimDisk) -> Options {
    Options {
        state: Some((disk.mount(), "/am".into())),
        ..Options::default()
    }
}

// Killed: from now on nothing of it reaches the disk.
pub(super) fn end(manager: Alertmanager, disk: &SimDisk) {
    disk.kill();
    manager.inner.stop.cancel();
}

pub(super) fn texts(seen: &[(u64, String, u16, String)]) -> Vec<&str> {
    seen.iter().map(|s| s.3.as_str()).collect()
}

#[tokio::test(start_paused = true)]
async fn a_killed_process_tells_nothing_twice_and_forgets_no_resolve() {
    let disk = SimDisk::new(1);
    let begin = Instant::now();
    let first = start_at(YAML, on(&disk), begin);
    let sinks = fakes(&first);
    let now = first.inner.clock.now_ms();
    for i in ["1", "2"] {
        first.post(&[posted(now, &[("alertname", "A"), ("i", i)], None, Some(now + 60_000))]);
    }
    assert_eq!(texts(&watch(&sinks, begin, 3_000).await), ["+A/1 +A/2"]);
    end(first, &disk);

    let second = start_at(YAML, on(&disk), begin);
    let sinks = fakes(&second);
    assert_eq!(second.alert_statuses(&crate::AlertFilter::default()).len(), 2);
    assert!(texts(&watch(&sinks, begin, 20_000).await).is_empty(), "told before");
    // One resolves while the other is posted again.
    let now = second.inner.clock.now_ms();
    second.post(&[posted(now, &[("alertname", "A"), ("i", "1")], None, Some(now))]);
    second.post(&[posted(now, &[("alertname", "A"), ("i", "2")], None, Some(now + 20_000))]);
    assert_eq!(texts(&watch(&sinks, begin, 11_000).await), ["-A/1 +A/2"]);
    end(second, &disk);

    // Nobody posts the other again, so it ends by itself, and that is told by the third process.
    let third = start_at(YAML, on(&disk), begin);
    let sinks = fakes(&third);
    let seen = watch(&sinks, begin, 120_000).await;
    assert_eq!(texts(&seen), ["-A/2"]);
}

#[tokio::test(start_paused = true)]
async fn killed_between_sending_and_noting_it_is_told_once_more_and_not_lost() {
    let disk = SimDisk::new(2);
    let begin = Instant::now();
    let first = start_at(YAML, on(&disk), begin);
    let sinks = fakes(&first);
    let now = first.inner.clock.now_ms();
    first.post(&[posted(now, &[("alertname", "A")], None, Some(now + 60_000))]);
    // The process dies before the group's first flush could be noted.
    assert!(watch(&sinks, begin, 500).await.is_empty());
    end(first, &disk);
    let second = start_at(YAML, on(&disk), begin);
    let sinks = fakes(&second);
    assert_eq!(texts(&watch(&sinks, begin, 3_000).await), ["+A/"]);
}

#[tokio::test(start_paused = true)]
async fn a_silence_made_by_a_killed_process_is_there() {
    let disk = SimDisk::new(3);
    let begin = Instant::now();
    let first = start_at(YAML, on(&disk), begin);
    let request = crate::SilenceRequest {
        matchers: vec![("alertname".into(), cupola_model::MatchOp::Equal, "A".into())],
        ends_at: first.now_ms() + 3_600_000,
        ..crate::SilenceRequest::default()
    };
    let id = first.set_silence(request).unwrap();
    // A power cut: what was not synced is gone.
    disk.cut_power();
    end(first, &disk);
    let second = start_at(YAML, on(&disk), begin);
    let sinks = fakes(&second);
    assert_eq!(second.silences(&[]).first().map(|s| s.id.clone()), Some(id));
    let now = second.now_ms();
    second.post(&[posted(now, &[("alertname", "A")], None, None)]);
    assert!(watch(&sinks, Instant::now(), 5_000).await.is_empty());
    let status = second.alert_statuses(&crate::AlertFilter::default());
    assert_eq!(status[0].silenced_by.len(), 1);
}

#[tokio::test(start_paused = true)]
async fn nothing_is_told_before_the_start_delay() {
    let options = Options {
        start_delay: Duration::from_secs(5),
        ..Options::default()
    };
    let manager = start(&YAML.replace("[alertname]", "[]"), options);
    let sinks = fakes(&manager);
    let now = manager.now_ms();
    let begin = Instant::now();
    manager.post(&[posted(now, &[("alertname", "old")], Some(now - 100_000), None)]);
    assert!(watch(&sinks, begin, 2_000).await.is_empty());
    manager.post(&[posted(now, &[("alertname", "new")], None, None)]);
    let seen = watch(&sinks, begin, 3_500).await;
    assert_eq!(texts(&seen), ["+new/ +old/"]);
    assert!((4_900..5_100).contains(&seen[0].0), "{seen:?}");
}

#[tokio::test(start_paused = true)]
async fn a_clock_that_goes_back_repeats_nothing() {
    let manager = manager(YAML);
    let sinks = fakes(&manager);
    let entry = |at| crate::nflog::Entry {
        group_key: "{}:{alertname=\"A\"}".into(),
        receiver: "r".into(),
        integration: "webhook".into(),
        at,
        firing: vec![],
        expires_at: at + 7_200_000,
        ..crate::nflog::Entry::default()
    };
    // Noted when the clock was ten minutes ahead.
    let now = manager.now_ms();
    manager.inner.nflog.lock().merge(entry(now + 600_000), now);
    manager.post(&[posted(now, &[("alertname", "A")], None, Some(now + 600_000))]);
    assert_eq!(texts(&watch(&sinks, Instant::now(), 60_000).await), ["+A/"]);
}

#[tokio::test(start_paused = true)]
async fn an_alert_that_was_not_told_before_a_reload_is_told_resolved_only_where_somebody_knew() {
    let manager = manager(YAML);
    let sinks = fakes(&manager);
    let begin = Instant::now();
    let now = manager.now_ms();
    manager.post(&[posted(now, &[("alertname", "A")], None, Some(now + 600_000))]);
    assert_eq!(texts(&watch(&sinks, begin, 2_000).await), ["+A/"]);
    let now = manager.now_ms();
    manager.post(&[
        posted(now, &[("alertname", "A")], None, Some(now)),
        posted(now, &[("alertname", "B")], None, Some(now)),
    ]);
    // The resolve has not been told when the configuration is loaded anew.
    manager.reload(parsed(YAML), &[]).unwrap();
    let sinks = fakes(&manager);
    assert_eq!(texts(&watch(&sinks, begin, 15_000).await), ["-A/"]);
}
