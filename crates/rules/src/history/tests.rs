use std::path::Path;

use cupola_env::{Faults, SimDisk};
use proptest::prelude::*;

use super::*;

fn labels(instance: &str) -> Labels {
    Labels::from_pairs([("alertname", "A"), ("instance", instance)])
}

fn event(at: i64, what: Happened) -> AlertEvent {
    let rule = RuleName {
        file: "rules.yml".to_owned(),
        group: "g".to_owned(),
        name: "A".to_owned(),
        query: "up == 0".to_owned(),
    };
    AlertEvent {
        at,
        labels: labels("x"),
        rule: Some(Arc::new(rule)),
        what,
    }
}

// One of each kind.
fn events() -> Vec<AlertEvent> {
    let sent = |outcome| Happened::Sent {
        to: "http://127.0.0.1:9093/api/v2/alerts".into(),
        is_resolved: true,
        sent_as: u64::MAX,
        outcome,
    };
    let all = [
        Happened::Pending { value: 0.1 },
        Happened::Firing {
            value: f64::INFINITY,
            since: 1_795_000_000_001,
        },
        Happened::Kept,
        Happened::Given { value: -1.0 },
        Happened::Resolved,
        Happened::Ended,
        Happened::Restored {
            since: 1_795_000_000_999,
        },
        Happened::Forgotten {
            error: "exceeded limit of 1 with 2 alerts".to_owned(),
        },
        sent(Sending::Taken),
        sent(Sending::Failed("refused".to_owned())),
        sent(Sending::Dropped),
        sent(Sending::Lost("the queue is full".to_owned())),
        sent(Sending::Nobody),
    ];
    all.into_iter()
        .zip(1_795_000_000_000..)
        .map(|(what, at)| event(at, what))
        .collect()
}

#[test]
fn events_come_back_as_they_were_written_and_old_files_go() {
    let sim = SimDisk::new(1);
    let dir = Path::new("/history");
    let open = |vfs: &Arc<dyn Vfs>| {
        let history = AlertHistory::default();
        history.open(vfs.clone(), dir.to_owned()).unwrap();
        history
    };
    let all = |history: &AlertHistory| {
        let mut all = history.latest(100, |_| true);
        all.reverse();
        all
    };
    let history = open(&sim.mount());
    history.note(events());
    history.write(1_795_000_000_100);
    let vfs = sim.mount();
    let again = open(&vfs);
    assert_eq!(all(&again), events());
    // Each process has a file of its own; the first one's goes once all in it are too old.
    let late = event(1_795_000_000_000 + KEEP_MS, Happened::Resolved);
    again.note([late.clone()]);
    again.write(late.at);
    assert_eq!(vfs.list(dir).unwrap().len(), 2);
    again.write(late.at + 1000);
    assert_eq!(vfs.list(dir).unwrap(), ["alerts-00000002.jsonl"]);
    assert_eq!(all(&open(&sim.mount())), [late]);
}

#[test]
fn a_torn_line_costs_itself_and_a_full_disk_nothing_but_the_file() {
    let sim = SimDisk::new(2);
    let vfs = sim.mount();
    let history = AlertHistory::default();
    history.open(vfs.clone(), "/history".into()).unwrap();
    sim.set_faults(Faults {
        room: Some(4),
        ..Faults::default()
    });
    history.note([event(1, Happened::Kept)]);
    history.write(2);
    assert_eq!(history.latest(10, |_| true).len(), 1, "it is in memory all the same");
    sim.set_faults(Faults::default());
    history.note([event(3, Happened::Resolved)]);
    history.write(4);
    let torn = vfs.list(Path::new("/history")).unwrap().pop().unwrap();
    vfs.open_append(&Path::new("/history").join(torn))
        .unwrap()
        .append(b"{\"at\":5,\"event\":\"re")
        .unwrap();
    let again = AlertHistory::default();
    again.open(vfs, "/history".into()).unwrap();
    assert_eq!(again.latest(10, |_| true), [event(3, Happened::Resolved)]);
}

#[test]
fn an_alert_that_is_sent_again_and_again_is_noted_where_something_changes() {
    let history = AlertHistory::default();
    let (a, b): (Arc<str>, Arc<str>) = ("a".into(), "b".into());
    let sent = |at, to, is_resolved, outcome| history.sent(at, &labels("x"), to, is_resolved, 7, outcome);
    let failed = || Sending::Failed("refused".to_owned());
    sent(1, &a, false, Sending::Taken);
    sent(2, &a, false, Sending::Taken);
    sent(3, &b, false, Sending::Taken);
    sent(4, &a, false, failed());
    sent(5, &a, false, failed());
    sent(6, &a, false, Sending::Taken);
    sent(7, &a, true, Sending::Taken);
    sent(8, &a, true, Sending::Taken);
    history.sent(9, &labels("y"), &a, true, 8, Sending::Taken);
    let times: Vec<i64> = history.latest(100, |_| true).iter().map(|event| event.at).collect();
    assert_eq!(times, [9, 7, 6, 4, 3, 1]);
}

#[test]
fn it_is_bounded_by_age_and_number() {
    let history = AlertHistory::default();
    history.keep_for(100);
    history.note([0, 50, 101].map(|at| event(at, Happened::Kept)));
    let times =
        |history: &AlertHistory| -> Vec<i64> { history.latest(3, |_| true).iter().map(|event| event.at).collect() };
    assert_eq!(times(&history), [101, 50]);
    history.note((0..MOST_EVENTS as i64 + 5).map(|_| event(102, Happened::Kept)));
    assert_eq!(history.latest(usize::MAX, |_| true).len(), MOST_EVENTS);
    let none = AlertHistory::default();
    none.keep_for(0);
    none.note([event(1, Happened::Kept)]);
    assert!(times(&none).is_empty());
}

proptest! {
    #[test]
    fn every_event_comes_back_from_its_line(
        which in 0..12_usize,
        pairs in proptest::collection::btree_map("[a-z]{1,5}", ".{1,20}", 1..5),
        text in ".{0,20}",
        at in 0..4_000_000_000_000_i64,
    ) {
        let mut event = events().swap_remove(which);
        event.at = at;
        event.labels = Labels::from_pairs(pairs);
        if let Happened::Forgotten { error } | Happened::Sent { outcome: Sending::Failed(error), .. } = &mut event.what {
            *error = text;
        }
        prop_assert_eq!(lines::reread(&event), Some(event));
    }
}

#[test]
fn foreign_lines_do_no_harm() {
    let corpus: Vec<Vec<u8>> = events()
        .iter()
        .map(|event| event.to_json().to_string().into_bytes())
        .collect();
    cupola_testkit::fuzz(20_000, &corpus, &["\"event\":", "\"at\":1e300"], |bytes| {
        let _ = lines::read_foreign(bytes);
    });
}
