//! Clocks that jump, and a process that ends between a message and the note of it.

use cupola_env::SimDisk;

use super::timing::{YAML, end, fakes, on, posted, texts, watch};
use super::*;

const HOUR: i64 = 3_600_000;
const DAY: i64 = 24 * HOUR;

// Goes with tokio's time and can be set forth and back.
struct Jumping {
    begin: Instant,
    ahead: AtomicI64,
}

impl Clock for Jumping {
    fn now_ms(&self) -> i64 {
        1_795_000_000_000 + ms(self.begin.elapsed()) + self.ahead.load(Ordering::SeqCst)
    }
}

fn jumping() -> (Alertmanager, Arc<Jumping>) {
    let clock = jumping_clock();
    (start_by(&clock, YAML, Options::default()), clock)
}

fn jumping_clock() -> Arc<Jumping> {
    Arc::new(Jumping {
        begin: Instant::now(),
        ahead: AtomicI64::new(0),
    })
}

fn start_by(clock: &Arc<Jumping>, yaml: &str, options: Options) -> Alertmanager {
    let (registry, stop) = (Registry::default(), CancellationToken::new());
    Alertmanager::new(parsed(yaml), &[], options, clock.clone(), &registry, stop).unwrap()
}

// As a rule that goes on firing is posted: again and again, with an end some minutes ahead.
fn fires(manager: &Alertmanager) {
    fires_as(manager, "A");
}

fn fires_as(manager: &Alertmanager, name: &str) {
    let now = manager.now_ms();
    manager.post(&[posted(now, &[("alertname", name)], Some(now), Some(now + 240_000))]);
}

// So many of the next messages are answered with 400.
fn refuse(manager: &Alertmanager, times: usize) {
    let loaded = manager.inner.loaded.lock().clone();
    for channel in loaded.integrations.values().flatten() {
        if let Channel::Fake(fake) = channel {
            *fake.codes.lock() = vec![400; times].into();
        }
    }
}

fn firing(manager: &Alertmanager) -> usize {
    manager.alert_statuses(&crate::AlertFilter::default()).len()
}

fn ends(manager: &Alertmanager) {
    let now = manager.now_ms();
    manager.post(&[posted(now, &[("alertname", "A")], Some(now - 1), Some(now))]);
}

#[tokio::test(start_paused = true)]
async fn a_clock_that_leaps_forward_tells_an_end_and_the_alert_anew_once_it_is_posted() {
    let (manager, clock) = jumping();
    let sinks = fakes(&manager);
    let begin = Instant::now();
    fires(&manager);
    assert_eq!(texts(&watch(&sinks, begin, 5_000).await), ["+A/"]);
    clock.ahead.store(DAY, Ordering::SeqCst);
    // By the new time nobody has posted it for a day.
    assert_eq!(texts(&watch(&sinks, begin, 20_000).await), ["-A/"]);
    fires(&manager);
    assert_eq!(texts(&watch(&sinks, begin, 20_000).await), ["+A/"]);
    assert!(watch(&sinks, begin, 60_000).await.is_empty());
}

#[tokio::test(start_paused = true)]
async fn an_alert_that_is_posted_right_after_the_clock_leapt_forward_is_not_told_twice() {
    let (manager, clock) = jumping();
    let sinks = fakes(&manager);
    let begin = Instant::now();
    fires(&manager);
    assert_eq!(texts(&watch(&sinks, begin, 5_000).await), ["+A/"]);
    clock.ahead.store(30 * 60_000, Ordering::SeqCst);
    fires(&manager);
    assert!(watch(&sinks, begin, 60_000).await.is_empty());
    ends(&manager);
    assert_eq!(texts(&watch(&sinks, begin, 20_000).await), ["-A/"]);
}

#[tokio::test(start_paused = true)]
async fn a_clock_that_goes_back_by_a_day_loses_neither_reminders_nor_the_end() {
    let (manager, clock) = jumping();
    clock.ahead.store(DAY, Ordering::SeqCst);
    let sinks = fakes(&manager);
    let begin = Instant::now();
    fires(&manager);
    assert_eq!(texts(&watch(&sinks, begin, 5_000).await), ["+A/"]);
    clock.ahead.store(0, Ordering::SeqCst);
    fires(&manager);
    // What was told lies a day ahead now. One reminder at once, the next an hour later, as is due.
    assert_eq!(texts(&watch(&sinks, begin, 20_000).await), ["+A/"]);
    for _ in 0..29 {
        fires(&manager);
        assert!(watch(&sinks, begin, 120_000).await.is_empty());
    }
    fires(&manager);
    assert_eq!(texts(&watch(&sinks, begin, 120_000).await), ["+A/"]);
    ends(&manager);
    assert_eq!(texts(&watch(&sinks, begin, 20_000).await), ["-A/"]);
}

#[tokio::test(start_paused = true)]
async fn a_source_that_a_clock_ahead_had_ended_inhibits_again_once_it_is_posted() {
    let clock = jumping_clock();
    let rule = "inhibit_rules: [{source_matchers: ['alertname=S'], target_matchers: ['alertname=T']}]\n";
    let manager = start_by(&clock, &format!("{YAML}{rule}"), Options::default());
    let sinks = fakes(&manager);
    let begin = Instant::now();
    fires_as(&manager, "S");
    assert_eq!(texts(&watch(&sinks, begin, 5_000).await), ["+S/"]);
    clock.ahead.store(DAY, Ordering::SeqCst);
    manager.inner.sweep();
    clock.ahead.store(0, Ordering::SeqCst);
    fires_as(&manager, "S");
    fires_as(&manager, "T");
    assert!(watch(&sinks, begin, 60_000).await.is_empty());
}

#[tokio::test(start_paused = true)]
async fn what_a_clock_ahead_has_written_is_overruled_for_the_next_process_too() {
    let disk = SimDisk::new(5);
    let clock = jumping_clock();
    let begin = Instant::now();
    let first = start_by(&clock, YAML, on(&disk));
    let sinks = fakes(&first);
    clock.ahead.store(DAY, Ordering::SeqCst);
    fires(&first);
    assert_eq!(texts(&watch(&sinks, begin, 5_000).await), ["+A/"]);
    clock.ahead.store(0, Ordering::SeqCst);
    ends(&first);
    assert_eq!(texts(&watch(&sinks, begin, 20_000).await), ["-A/"]);
    end(first, &disk);
    let second = start_by(&clock, YAML, on(&disk));
    let sinks = fakes(&second);
    assert_eq!(firing(&second), 0);
    assert!(watch(&sinks, begin, 60_000).await.is_empty());
    fires(&second);
    assert_eq!(texts(&watch(&sinks, begin, 20_000).await), ["+A/"]);
}

#[tokio::test(start_paused = true)]
async fn what_ended_by_a_clock_ahead_does_not_fire_again_after_a_restart_or_a_reload() {
    for is_reload in [false, true] {
        let disk = SimDisk::new(10);
        let clock = jumping_clock();
        let begin = Instant::now();
        let first = start_by(&clock, YAML, on(&disk));
        let sinks = fakes(&first);
        clock.ahead.store(DAY, Ordering::SeqCst);
        fires(&first);
        assert_eq!(texts(&watch(&sinks, begin, 5_000).await), ["+A/"]);
        ends(&first);
        assert_eq!(texts(&watch(&sinks, begin, 20_000).await), ["-A/"]);
        clock.ahead.store(0, Ordering::SeqCst);
        assert_eq!(firing(&first), 0);
        let next = if is_reload {
            first.reload(parsed(YAML), &[]).unwrap();
            first
        } else {
            end(first, &disk);
            start_by(&clock, YAML, on(&disk))
        };
        let sinks = fakes(&next);
        assert_eq!(firing(&next), 0);
        assert!(watch(&sinks, begin, 60_000).await.is_empty());
        next.inner.forget_alerts();
        assert_eq!(next.inner.state.lock().store.iter().count(), 0);
        // What is said now counts.
        ends(&next);
        assert!(watch(&sinks, begin, 20_000).await.is_empty());
        fires(&next);
        assert_eq!(texts(&watch(&sinks, begin, 20_000).await), ["+A/"]);
        ends(&next);
        assert_eq!(texts(&watch(&sinks, begin, 20_000).await), ["-A/"]);
    }
}

#[tokio::test(start_paused = true)]
async fn ends_that_nobody_takes_do_not_count_against_the_limit_of_their_name() {
    let options = Options {
        per_alertname_limit: 1,
        ..Options::default()
    };
    let manager = start_at(YAML, options, Instant::now());
    let sinks = fakes(&manager);
    let begin = Instant::now();
    let post = |instance: &str, end_in: i64| {
        let now = manager.now_ms();
        let labels = [("alertname", "A"), ("instance", instance)];
        manager.post(&[posted(now, &labels, Some(now), Some(now + end_in))]);
    };
    post("1", 240_000);
    assert_eq!(watch(&sinks, begin, 3_000).await.len(), 1);
    post("2", 240_000);
    assert_eq!(firing(&manager), 1, "that is the limit");
    refuse(&manager, 1);
    post("1", 0);
    assert_eq!(watch(&sinks, begin, 10_000).await[0].2, 400);
    manager.inner.forget_alerts();
    post("2", 240_000);
    assert_eq!(firing(&manager), 1);
    manager.inner.forget_alerts();
    post("1", 240_000);
    post("3", 240_000);
    assert_eq!(firing(&manager), 1, "as many as before");
}

#[tokio::test(start_paused = true)]
async fn an_end_is_told_although_the_receiver_was_away_for_longer_than_twice_the_repeat_interval() {
    let yaml = YAML.replace("repeat_interval: 1h", "repeat_interval: 1m");
    for is_restarted in [false, true] {
        let disk = SimDisk::new(11);
        let begin = Instant::now();
        let first = start_at(&yaml, on(&disk), begin);
        let sinks = fakes(&first);
        fires(&first);
        assert_eq!(texts(&watch(&sinks, begin, 3_000).await), ["+A/"]);
        refuse(&first, 1000);
        ends(&first);
        let refused = watch(&sinks, begin, 600_000).await;
        assert!(refused.len() > 10 && refused.iter().all(|told| told.2 == 400));
        first.inner.forget_alerts();
        first.inner.write_state();
        refuse(&first, 0);
        let next = if is_restarted {
            end(first, &disk);
            start_at(&yaml, on(&disk), begin)
        } else {
            first
        };
        let sinks = if is_restarted { fakes(&next) } else { sinks };
        assert_eq!(texts(&watch(&sinks, begin, 60_000).await), ["-A/"]);
    }
}

#[tokio::test(start_paused = true)]
async fn an_end_that_was_told_is_not_told_again_by_the_next_process() {
    let disk = SimDisk::new(6);
    let begin = Instant::now();
    let first = start_at(YAML, on(&disk), begin);
    let sinks = fakes(&first);
    let now = first.now_ms();
    // Nobody posts it again, and before that is written anywhere the process is killed.
    first.post(&[posted(now, &[("alertname", "A")], None, Some(now + 5_000))]);
    assert_eq!(texts(&watch(&sinks, begin, 25_000).await), ["+A/", "-A/"]);
    end(first, &disk);
    let second = start_at(YAML, on(&disk), begin);
    let sinks = fakes(&second);
    assert!(watch(&sinks, begin, 60_000).await.is_empty());
}

#[tokio::test(start_paused = true)]
async fn an_alert_that_ended_by_itself_does_not_fire_again_after_a_restart() {
    for is_written_anew in [false, true] {
        let disk = SimDisk::new(7);
        let begin = Instant::now();
        let first = start_at(YAML, on(&disk), begin);
        let sinks = fakes(&first);
        for name in ["A", "B"] {
            let now = first.now_ms();
            first.post(&[posted(now, &[("alertname", name)], None, Some(now + 5_000))]);
        }
        let seen = watch(&sinks, begin, 6_000).await;
        assert_eq!(texts(&seen).into_iter().collect::<HashSet<_>>(), ["+A/", "+B/"].into());
        first.inner.sweep();
        // One comes back before anybody was told that it had ended.
        let now = first.now_ms();
        first.post(&[posted(now, &[("alertname", "B")], None, Some(now + 60_000))]);
        if is_written_anew {
            first.inner.write_state();
        }
        end(first, &disk);
        let second = start_at(YAML, on(&disk), begin);
        let sinks = fakes(&second);
        assert_eq!(firing(&second), 1);
        assert_eq!(texts(&watch(&sinks, begin, 20_000).await), ["-A/"]);
    }
}

#[tokio::test(start_paused = true)]
async fn an_end_that_nobody_took_is_told_after_a_restart_or_a_reload_though_alerts_were_forgotten() {
    for is_reload in [false, true] {
        let disk = SimDisk::new(8);
        let begin = Instant::now();
        let first = start_at(YAML, on(&disk), begin);
        let sinks = fakes(&first);
        fires(&first);
        assert_eq!(texts(&watch(&sinks, begin, 3_000).await), ["+A/"]);
        refuse(&first, 1);
        ends(&first);
        let seen = watch(&sinks, begin, 10_000).await;
        assert_eq!((texts(&seen), seen[0].2), (vec!["-A/"], 400));
        first.inner.forget_alerts();
        first.inner.write_state();
        let next = if is_reload {
            first.reload(parsed(YAML), &[]).unwrap();
            first
        } else {
            end(first, &disk);
            start_at(YAML, on(&disk), begin)
        };
        let sinks = fakes(&next);
        assert_eq!(texts(&watch(&sinks, begin, 60_000).await), ["-A/"]);
        // Now nobody needs it.
        next.inner.forget_alerts();
        assert_eq!(next.inner.state.lock().store.iter().count(), 0);
    }
}

#[tokio::test(start_paused = true)]
async fn an_alert_that_is_posted_seldom_is_not_over_after_a_kill_before_its_last_post_says() {
    const MINUTE: u64 = 60_000;
    let disk = SimDisk::new(9);
    let begin = Instant::now();
    let first = start_at(YAML, on(&disk), begin);
    let sinks = fakes(&first);
    let since = first.now_ms();
    let post = || {
        let end = first.now_ms() + 20 * MINUTE as i64;
        first.post(&[posted(since, &[("alertname", "A")], Some(since), Some(end))]);
    };
    post();
    assert_eq!(texts(&watch(&sinks, begin, 14 * MINUTE).await), ["+A/"]);
    post();
    end(first, &disk);
    let second = start_at(YAML, on(&disk), begin);
    let sinks = fakes(&second);
    assert!(watch(&sinks, begin, 10 * MINUTE).await.is_empty());
    assert_eq!(texts(&watch(&sinks, begin, 11 * MINUTE).await), ["-A/"]);
}

#[tokio::test(start_paused = true)]
async fn what_was_told_and_not_noted_is_told_once_more_by_the_next_process() {
    let disk = SimDisk::new(4);
    let begin = Instant::now();
    let first = start_at(YAML, on(&disk), begin);
    let sinks = fakes(&first);
    let now = first.now_ms();
    first.post(&[posted(now, &[("alertname", "A")], None, Some(now + 60_000))]);
    // Nothing reaches the disk any more, but the message goes out.
    disk.kill();
    assert_eq!(texts(&watch(&sinks, begin, 3_000).await), ["+A/"]);
    end(first, &disk);
    let second = start_at(YAML, on(&disk), begin);
    let sinks = fakes(&second);
    assert_eq!(texts(&watch(&sinks, begin, 3_000).await), ["+A/"]);
    assert!(watch(&sinks, begin, 20_000).await.is_empty());
    end(second, &disk);
    // The second one has noted it.
    let third = start_at(YAML, on(&disk), begin);
    let sinks = fakes(&third);
    assert!(watch(&sinks, begin, 20_000).await.is_empty());
}

#[tokio::test(start_paused = true)]
async fn each_message_says_which_of_its_alerts_are_new() {
    let manager = manager(YAML);
    let sinks = fakes(&manager);
    let posts = |i, over: bool| {
        let now = manager.now_ms();
        let end = if over { now } else { now + 600_000 };
        manager.post(&[posted(now, &[("alertname", "A"), ("i", i)], None, Some(end))]);
    };
    let mut told: Vec<Vec<String>> = Vec::new();
    for (i, over) in [("1", false), ("2", false), ("1", true)] {
        posts(i, over);
        tokio::time::sleep(Duration::from_secs(11)).await;
        let sink = sinks.values().next().unwrap();
        while let Ok((notification, _)) = sink.try_recv() {
            let one = |a: &cupola_notify::NotifiedAlert| {
                let mark = if a.is_new { "new " } else { "" };
                format!(
                    "{mark}{}{}",
                    a.labels.value("i"),
                    if a.ends_at.is_some() { "-" } else { "" }
                )
            };
            told.push(notification.alerts.iter().map(one).collect());
        }
    }
    assert_eq!(told, [vec!["new 1"], vec!["1", "new 2"], vec!["new 1-", "2"]]);
}
