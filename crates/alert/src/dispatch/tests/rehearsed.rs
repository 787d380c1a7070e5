//! The rehearsal of the past tells as many messages, for the same reasons, as the dispatcher does.

use std::collections::BTreeMap;

use super::timing::{fakes, posted};
use super::*;
use crate::{PastAlert, rehearse};

const CONFIG: &str = "route:\n  receiver: all\n  group_by: [alertname]\n  group_wait: 10s\n  group_interval: 1m\n\
    \x20 repeat_interval: 17m\n  routes:\n\
    \x20 - {receiver: team, matchers: ['team=a'], continue: true, group_by: [i]}\n\
    \x20 - {receiver: quiet, matchers: ['team=~\"a|b\"'], group_interval: 3m, mute_time_intervals: [odd]}\n\
    receivers:\n- {name: all, webhook_configs: [{url: 'http://x/all'}]}\n\
    - {name: team, webhook_configs: [{url: 'http://x/team'}, {url: 'http://x/firing', send_resolved: false}]}\n\
    - {name: quiet, webhook_configs: [{url: 'http://x/quiet'}]}\n\
    time_intervals:\n- name: odd\n  time_intervals: [{times: [{start_time: '06:50', end_time: '07:20'}]}]\n\
    inhibit_rules: [{source_matchers: [alertname=N0], target_matchers: ['alertname=~\"N[12]\"'], equal: [team]}]\n";

// A small generator of pseudo-random numbers.
struct Random(u64);

impl Random {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % limit
    }
}

#[tokio::test(start_paused = true)]
async fn a_rehearsal_tells_as_much_as_the_dispatcher() {
    for seed in [1, 2, 3] {
        let manager = manager(CONFIG);
        let sinks = fakes(&manager);
        let begin = manager.now_ms();
        let mut random = Random(seed);
        let mut lives: Vec<PastAlert> = Vec::new();
        for n in 0..4_u64 {
            for i in 0..6_u64 {
                let labels = [
                    ("alertname", format!("N{n}")),
                    ("i", i.to_string()),
                    ("team", ["a", "b", "c"][(i % 3) as usize].to_owned()),
                ];
                let labels = Labels::from_pairs(labels);
                let mut at = 7 + n as i64 + 10 * i as i64;
                while at < 5_000_000 {
                    // Moments end in a digit of their own, so that nothing happens at the moment of a flush.
                    at += random.below(120) as i64 * 10_000;
                    let end = at + 1_000 + random.below(150) as i64 * 10_000;
                    lives.push(PastAlert {
                        labels: labels.clone(),
                        fired_at: begin + at,
                        ended_at: Some(begin + end),
                    });
                    at = end + 10_000;
                }
            }
        }
        let mut events: Vec<(i64, bool, usize)> = Vec::new();
        for (life, alert) in lives.iter().enumerate() {
            events.push((alert.fired_at, true, life));
            events.extend(alert.ended_at.map(|at| (at, false, life)));
        }
        events.sort_unstable();
        let end = begin + 5_400_000;
        for (at, fires, life) in events {
            if at > end {
                break;
            }
            let left = u64::try_from(at - manager.now_ms()).unwrap_or(0);
            tokio::time::sleep(Duration::from_millis(left)).await;
            let pairs: Vec<(&str, &str)> = lives[life].labels.iter().collect();
            let until = if fires { at + 86_400_000 } else { at };
            manager.post(&[posted(at, &pairs, Some(lives[life].fired_at), Some(until))]);
        }
        tokio::time::sleep(Duration::from_millis(
            u64::try_from(end - manager.now_ms()).unwrap_or(0),
        ))
        .await;
        // Flushes of the last moment are on their way.
        tokio::time::sleep(Duration::from_millis(1)).await;
        let mut live: BTreeMap<String, BTreeMap<&'static str, u64>> = BTreeMap::new();
        for (path, sink) in &sinks {
            let reasons = live.entry(path.clone()).or_default();
            while let Ok((notification, _)) = sink.try_recv() {
                *reasons.entry(notification.reason).or_default() += 1;
            }
        }
        let rehearsed = rehearse(&parsed(CONFIG), &lives, end).unwrap();
        let paths = ["all", "team", "firing", "quiet"];
        let told: BTreeMap<String, BTreeMap<&'static str, u64>> = paths
            .iter()
            .zip(rehearsed.integrations)
            .map(|(path, one)| ((*path).to_owned(), one.reasons))
            .collect();
        assert_eq!(told, live, "seed {seed}");
        assert!(told["all"].values().sum::<u64>() > 20, "{told:?}");
        manager.inner.stop.cancel();
    }
}
