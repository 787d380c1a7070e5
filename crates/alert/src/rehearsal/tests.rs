use std::path::Path;

use cupola_config::matchers::MatcherMode;
use cupola_config::parse_alertmanager;

use super::*;

const MINUTE: i64 = 60_000;
// 2026-11-18 12:26:40 UTC, a Wednesday.
const BEGIN: i64 = 1_795_004_800_000;

fn parsed(yaml: &str) -> AlertmanagerConfig {
    parse_alertmanager(yaml, Path::new("alertmanager.yml"), MatcherMode::Fallback).unwrap()
}

fn alert(labels: &[(&str, &str)], from: i64, to: Option<i64>) -> PastAlert {
    PastAlert {
        labels: Labels::from_pairs(labels.iter().copied()),
        fired_at: BEGIN + from,
        ended_at: to.map(|to| BEGIN + to),
    }
}

const PLAIN: &str = "route: {receiver: r, group_by: [alertname], group_wait: 30s, group_interval: 5m, repeat_interval: 1h}\n\
                     receivers: [{name: r, webhook_configs: [{url: 'http://x/'}]}]\n";

#[track_caller]
fn check(yaml: &str, alerts: &[PastAlert], minutes: i64, expected: &[(&str, u64)]) -> Rehearsed {
    let rehearsed = rehearse(&parsed(yaml), alerts, BEGIN + minutes * MINUTE).unwrap();
    let got: Vec<(&str, u64)> = rehearsed
        .integrations
        .iter()
        .map(|one| (one.receiver.as_str(), one.messages))
        .collect();
    assert_eq!(got, expected, "{rehearsed:?}");
    rehearsed
}

#[test]
fn a_group_is_told_once_reminded_and_told_its_end() {
    let down = |i| [("alertname", "Down"), ("i", i)];
    let alerts = [
        alert(&down("1"), 0, Some(100 * MINUTE)),
        alert(&down("2"), 1000, Some(100 * MINUTE)),
        alert(&down("3"), 20 * MINUTE, Some(100 * MINUTE)),
    ];
    let told = check(PLAIN, &alerts, 200, &[("r", 4)]);
    let reasons: Vec<(&str, u64)> = told.integrations[0].reasons.iter().map(|(r, n)| (*r, *n)).collect();
    assert_eq!(
        reasons,
        [
            ("all alerts resolved", 1),
            ("first notification", 1),
            ("new alerts added", 1),
            ("repeat interval elapsed", 1),
        ]
    );
    assert_eq!((told.groups, told.never_told, told.busiest.len()), (1, 0, 1));
    assert_eq!(told.busiest[0].1, "{}:{alertname=\"Down\"}");
    // Seen only up to then: it still fires, and what has not begun does not count.
    check(PLAIN, &alerts, 10, &[("r", 1)]);
}

#[test]
fn an_alert_that_is_over_before_the_first_flush_is_told_nobody() {
    let told = check(
        PLAIN,
        &[alert(&[("alertname", "Short")], 0, Some(20_000))],
        60,
        &[("r", 0)],
    );
    assert_eq!((told.never_told, told.kept_quiet), (1, 0));
}

#[test]
fn what_is_inhibited_or_muted_is_told_nobody() {
    let yaml = "route:\n  receiver: r\n  group_by: [alertname]\n  routes:\n\
                \x20 - {receiver: night, matchers: ['team=night'], mute_time_intervals: [noon]}\n\
                receivers:\n- {name: r, webhook_configs: [{url: 'http://x/'}]}\n\
                - {name: night, webhook_configs: [{url: 'http://x/'}, {url: 'http://x/', send_resolved: false}]}\n\
                - {name: nobody}\n\
                time_intervals: [{name: noon, time_intervals: [{times: [{start_time: '12:00', end_time: '13:00'}]}]}]\n\
                inhibit_rules: [{source_matchers: [severity=critical], target_matchers: [severity=warning], equal: [i]}]\n";
    let alerts = [
        alert(
            &[("alertname", "A"), ("severity", "critical"), ("i", "1")],
            0,
            Some(60 * MINUTE),
        ),
        alert(
            &[("alertname", "B"), ("severity", "warning"), ("i", "1")],
            1,
            Some(59 * MINUTE),
        ),
        alert(
            &[("alertname", "C"), ("severity", "warning"), ("i", "2")],
            1,
            Some(60 * MINUTE),
        ),
        alert(&[("alertname", "D"), ("team", "night")], 0, Some(20 * MINUTE)),
        // Still there when the interval is over.
        alert(&[("alertname", "E"), ("team", "night")], 0, Some(50 * MINUTE)),
    ];
    let told = check(
        yaml,
        &alerts,
        120,
        &[("r", 4), ("night", 2), ("night", 1), ("nobody", 0)],
    );
    assert_eq!((told.never_told, told.kept_quiet), (2, 2));
    let json = told.to_json();
    assert_eq!(json["messages"], 7);
    assert_eq!(json["integrations"][1]["integration"], "webhook[0]");
}
