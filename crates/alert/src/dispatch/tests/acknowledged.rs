//! Acknowledged alerts are not repeated, and everything else is told as ever.

use cupola_env::SimDisk;

use super::timing::{fakes, posted, texts, watch};
use super::*;
use crate::{AcknowledgeError, SilenceRequest, ToldFilter};

const YAML: &str = "\
route: {receiver: r, group_by: [alertname], group_wait: 1s, group_interval: 10s, repeat_interval: 1m}
receivers:
- name: r
  webhook_configs: [{url: 'http://x/hook'}]
";

fn post(manager: &Alertmanager, i: &str, is_over: bool) -> u64 {
    let now = manager.now_ms();
    let end = if is_over { now } else { now + 86_400_000 };
    let alert = posted(now, &[("alertname", "A"), ("i", i)], None, Some(end));
    manager.post(std::slice::from_ref(&alert));
    alert.labels.fingerprint()
}

fn happened(manager: &Alertmanager, fingerprint: u64) -> Vec<Happening> {
    let events = manager.events(&[], 1000).into_iter().rev();
    events
        .filter(|e| e.fingerprint == fingerprint)
        .map(|e| e.what)
        .collect()
}

#[tokio::test(start_paused = true)]
async fn reminders_are_left_out_while_all_alerts_are_acknowledged() {
    let manager = manager(YAML);
    let sinks = fakes(&manager);
    let begin = Instant::now();
    let (one, two) = (post(&manager, "1", false), post(&manager, "2", false));
    assert_eq!(texts(&watch(&sinks, begin, 5_000).await), ["+A/1 +A/2"]);
    manager.acknowledge(one, " ada ", "on it", None).unwrap();
    // One of two: the group is reminded of.
    assert_eq!(texts(&watch(&sinks, begin, 70_000).await), ["+A/1 +A/2"]);
    manager.acknowledge(two, "ada", "", None).unwrap();
    // For so long that what was told would have been forgotten: it must not be told as something new.
    for _ in 0..8 {
        assert_eq!(texts(&watch(&sinks, begin, 60_000).await), [""; 0]);
        manager.inner.write_state();
    }
    let held = |id| {
        let all = happened(&manager, id);
        all.iter()
            .filter(|what| matches!(what, Happening::Held { by, .. } if by == "ada"))
            .count()
    };
    assert!((6..=9).contains(&held(one)), "{}", held(one));
    assert_eq!(held(one), held(two));
    // A new alert is told, and so is an end, which ends its acknowledgement, too.
    post(&manager, "3", false);
    assert_eq!(texts(&watch(&sinks, begin, 15_000).await), ["+A/1 +A/2 +A/3"]);
    post(&manager, "3", true);
    post(&manager, "1", true);
    assert_eq!(texts(&watch(&sinks, begin, 15_000).await), ["-A/1 +A/2 -A/3"]);
    let left: Vec<u64> = manager.acknowledgements().iter().map(|ack| ack.fingerprint).collect();
    assert_eq!(left, [two]);
    assert_eq!(texts(&watch(&sinks, begin, 100_000).await), [""; 0]);
    // Taken back: the reminder that is due comes at once.
    manager.unacknowledge(two, "bob").unwrap();
    assert_eq!(texts(&watch(&sinks, begin, 15_000).await), ["+A/2"]);
    let said = happened(&manager, two);
    assert!(
        said.contains(&Happening::Unacknowledged { by: "bob".into() }),
        "{said:?}"
    );
    assert!(
        said.iter()
            .any(|what| matches!(what, Happening::Acknowledged(ack) if ack.by == "ada"))
    );
    // What was sent can be read as messages, the newest first.
    let told = manager.told(&ToldFilter::default(), 100);
    let names: Vec<_> = told
        .iter()
        .map(|t| (t.message.firing, t.message.resolved, t.alerts.len()))
        .collect();
    assert_eq!(names, [(1, 0, 1), (1, 2, 3), (3, 0, 3), (2, 0, 2), (2, 0, 2)]);
    assert_eq!(manager.told(&ToldFilter::default(), 2).len(), 2);
    let matcher = |value: &str| vec![cupola_model::Matcher::equal("i", value)];
    let of_three = ToldFilter {
        matchers: matcher("3"),
        ..ToldFilter::default()
    };
    assert_eq!(manager.told(&of_three, 100).len(), 2);
    assert_eq!(manager.told(&of_three, 100)[0].alerts.len(), 3);
    let elsewhere = ToldFilter {
        receiver: "other".into(),
        ..ToldFilter::default()
    };
    assert!(manager.told(&elsewhere, 100).is_empty());
}

#[tokio::test(start_paused = true)]
async fn an_acknowledgement_ends_at_its_time_and_survives_the_process() {
    let disk = SimDisk::new(11);
    let begin = Instant::now();
    let options = || Options {
        state: Some((disk.mount(), "/am".into())),
        ..Options::default()
    };
    let first = start_at(YAML, options(), begin);
    let (one, two) = (post(&first, "1", false), post(&first, "2", false));
    let end = first.now_ms() + 30_000;
    first.acknowledge(one, "ada", "until then", Some(end)).unwrap();
    first.acknowledge(two, "bob", "", None).unwrap();
    disk.kill();
    first.inner.stop.cancel();

    let second = start_at(YAML, options(), begin);
    let left = second.acknowledgements();
    let mut said: Vec<_> = left
        .iter()
        .map(|ack| (ack.by.as_str(), ack.note.as_str(), ack.ends_at))
        .collect();
    said.sort_unstable();
    assert_eq!(said, [("ada", "until then", Some(end)), ("bob", "", None)]);
    // Bob's alert ends while the third process is not there yet.
    post(&second, "2", true);
    assert_eq!(second.acknowledgements().len(), 1);
    tokio::time::sleep(Duration::from_secs(31)).await;
    assert!(second.acknowledgements().iter().all(|ack| ack.fingerprint != one));
    second.inner.sweep_acknowledgements();
    let said = happened(&second, one);
    assert_eq!(said.last(), Some(&Happening::Unacknowledged { by: String::new() }));
    disk.kill();
    second.inner.stop.cancel();
    assert!(start_at(YAML, options(), begin).acknowledgements().is_empty());
}

#[tokio::test(start_paused = true)]
async fn what_does_not_fire_or_says_nothing_is_refused() {
    let manager = manager(YAML);
    let one = post(&manager, "1", false);
    let refused = |by: &str, note: &str, end| manager.acknowledge(one, by, note, end).unwrap_err().to_string();
    assert!(refused(" ", "", None).contains("who looks after"));
    assert!(refused(&"x".repeat(257), "", None).contains("256"));
    assert!(refused("x", &"x".repeat(4097), None).contains("4096"));
    assert!(refused("x", "", Some(manager.now_ms())).contains("past"));
    assert_eq!(
        manager.acknowledge(7, "x", "", None),
        Err(AcknowledgeError::NotFiring(7))
    );
    assert_eq!(
        manager.unacknowledge(one, ""),
        Err(AcknowledgeError::NotAcknowledged(one))
    );
    post(&manager, "1", true);
    assert_eq!(
        manager.acknowledge(one, "x", "", None),
        Err(AcknowledgeError::NotFiring(one))
    );
}

#[tokio::test(start_paused = true)]
async fn a_preview_says_what_a_silence_would_mute() {
    let manager = manager(YAML);
    for i in ["1", "2", "3", "4"] {
        post(&manager, i, false);
    }
    let of = |name: &str, op, value: &str| (name.to_owned(), op, value.to_owned());
    let equal = cupola_model::MatchOp::Equal;
    let regex = cupola_model::MatchOp::Regex;
    let narrow = manager.preview_silence(vec![of("i", equal, "1")]).unwrap();
    assert_eq!((narrow.firing, narrow.muted.len(), narrow.fired_lately), (4, 1, 1));
    assert!(narrow.warnings.is_empty());
    let broad = manager
        .preview_silence(vec![of("alertname", regex, "A.*"), of("x", regex, ".*")])
        .unwrap();
    assert_eq!(broad.muted.len(), 4);
    assert_eq!(broad.warnings.len(), 2, "{:?}", broad.warnings);
    assert_eq!(broad.reach[1].matcher, "x=~\".*\"");
    // Nothing was made of it.
    assert!(manager.silences(&[]).is_empty());
    let refused = manager.preview_silence(vec![of("x", regex, "(")]).unwrap_err();
    assert!(refused.to_string().contains("regular expression"));
    // A silence that is there changes the picture's colours, not its size.
    let request = SilenceRequest {
        matchers: vec![of("i", equal, "1")],
        ends_at: manager.now_ms() + 1000,
        ..SilenceRequest::default()
    };
    manager.set_silence(request).unwrap();
    let again = manager.preview_silence(vec![of("i", equal, "1")]).unwrap();
    assert!(again.muted[0].is_suppressed());
}
