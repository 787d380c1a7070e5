use proptest::prelude::*;

use super::*;

const HOUR: i64 = 3_600_000;

fn said(alert: &str, by: &str, at: i64, ends_at: Option<i64>) -> Said {
    let labels = Labels::from_pairs([("alertname", alert)]);
    let ack = Acknowledgement {
        fingerprint: labels.fingerprint(),
        labels,
        by: by.to_owned(),
        note: "on it".to_owned(),
        at,
        ends_at,
    };
    Said {
        ack: Arc::new(ack),
        updated_at: at,
        expires_at: at + HOUR,
        is_over: false,
        is_noted: false,
    }
}

fn acks() -> Acks {
    Acks::new(HOUR, true)
}

fn merge(acks: &Acks, said: Said, now: i64) -> bool {
    !acks.merge(vec![(0, said)], now).is_empty()
}

fn who(acks: &Acks, alert: &str, now: i64) -> Option<String> {
    let id = Labels::from_pairs([("alertname", alert)]).fingerprint();
    acks.of_all([id].into_iter(), now).first().map(|ack| ack.by.clone())
}

#[test]
fn the_younger_one_counts_and_what_was_taken_back_stays_so() {
    let acks = acks();
    let ada = said("A", "ada", 10, None);
    assert!(merge(&acks, ada.clone(), 20));
    assert!(!merge(&acks, ada.clone(), 20), "no news, so gossip ends");
    assert!(!merge(&acks, said("A", "old", 9, None), 20));
    assert_eq!(who(&acks, "A", 20).as_deref(), Some("ada"));
    // By a clock that is behind: younger than what it takes back all the same.
    let back = ada.taken_back("bob", 5, HOUR);
    assert!(merge(&acks, back, 20));
    assert_eq!(who(&acks, "A", 20), None);
    assert!(!merge(&acks, ada, 20));
    assert!(merge(&acks, said("A", "eve", 30, None), 30));
    assert_eq!(who(&acks, "A", 30).as_deref(), Some("eve"));
    assert!(
        !merge(&acks, said("B", "late", 30, None), 30 + HOUR),
        "it may be forgotten"
    );
}

#[test]
fn it_stays_while_its_alert_fires_and_is_forgotten_when_nobody_knows_of_it() {
    let acks = acks();
    merge(&acks, said("A", "ada", 0, None), 1);
    merge(&acks, said("B", "bob", 0, None), 1);
    merge(&acks, said("C", "eve", 0, Some(10)), 1);
    let fires = |name: &'static str, end: i64| {
        let id = Labels::from_pairs([("alertname", name)]).fingerprint();
        move |other: u64| (id == other).then_some(end)
    };
    // Its time is up, which is told once.
    let swept = acks.sweep(20, fires("C", i64::MAX));
    assert_eq!((swept.over.len(), swept.news.len()), (1, 0));
    assert!(acks.sweep(21, fires("C", i64::MAX)).over.is_empty());
    // Of the one that fires the others hear that it lasts.
    let swept = acks.sweep(HOUR - 10, fires("A", i64::MAX));
    let longer = Said::decode(&swept.news[0]).unwrap();
    assert_eq!((longer.expires_at, longer.updated_at), (2 * HOUR - 10, 0));
    let other = Acks::new(HOUR, true);
    merge(&other, said("A", "ada", 0, None), 1);
    assert!(merge(&other, longer.clone(), HOUR - 10) && !merge(&other, longer, HOUR - 10));
    acks.sweep(HOUR + 1, fires("A", i64::MAX));
    assert_eq!(who(&acks, "A", HOUR + 1).as_deref(), Some("ada"));
    assert_eq!(acks.snapshot().len(), 1);
    // Its alert has ended, unnoticed; one that is younger than that end waits for the alert to come.
    let swept = acks.sweep(HOUR + 2, fires("A", HOUR));
    assert!(Said::decode(&swept.news[0]).unwrap().is_over);
    merge(&acks, said("A", "new", HOUR + 3, None), HOUR + 3);
    assert!(acks.sweep(HOUR + 4, fires("A", HOUR)).news.is_empty());
    assert_eq!(who(&acks, "A", HOUR + 4).as_deref(), Some("new"));
}

#[test]
fn what_an_older_version_wrote_is_read_and_what_it_reads_is_over() {
    let ada = said("A", "ada", 10, Some(50));
    let read = Said::decode(&ada.ack.encode()).unwrap();
    assert_eq!((read.updated_at, read.expires_at, read.is_over), (10, 0, false));
    let acks = acks();
    acks.restore(vec![read], 20, |_| false);
    assert_eq!(acks.state.lock().all[&ada.ack.fingerprint].expires_at, 50 + HOUR);
    let back = Acknowledgement::decode(&ada.taken_back("bob", 30, HOUR).encode()).unwrap();
    assert!(!back.is_on(30));
}

#[test]
fn what_nobody_may_say_is_not_taken() {
    let mut long = said("A", &"x".repeat(257), 10, None);
    assert!(long.fault().is_some());
    long = said("A", "x", 10, None);
    assert_eq!(long.fault(), None);
    Arc::make_mut(&mut long.ack).labels = Labels::empty();
    assert!(long.fault().is_some());
    cupola_testkit::fuzz(20_000, &[said("A", "ada", 10, Some(50)).encode()], &["A"], |bytes| {
        if let Ok(read) = Said::decode(bytes)
            && let Ok(again) = Said::decode(&read.encode())
        {
            assert_eq!(again.is_over, read.is_over);
        }
    });
}

fn any_said() -> impl Strategy<Value = Said> {
    let text = || proptest::sample::select(vec!["a", "b"]);
    let times = (0_i64..4, 0_i64..3, proptest::option::of(0_i64..100));
    (text(), text(), times, any::<bool>()).prop_map(|(alert, by, (at, longer, ends_at), is_over)| {
        let mut one = said(alert, by, 1000 + at, ends_at.map(|end| 2000 + end));
        one.expires_at += longer;
        one.is_over = is_over;
        one
    })
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]
    #[test]
    fn they_come_back_as_they_were_written(one in any_said()) {
        prop_assert_eq!(Said::decode(&one.encode()).unwrap(), one);
    }

    #[test]
    fn the_order_in_which_they_come_does_not_matter(all in proptest::collection::vec(any_said(), 0..12), seed in any::<u64>()) {
        let (one, other) = (acks(), acks());
        for said in &all {
            merge(&one, said.clone(), 1500);
        }
        let mut shuffled: Vec<_> = all.iter().chain(&all).cloned().collect();
        shuffled.sort_by_key(|said| (said.updated_at as u64 ^ said.expires_at as u64 ^ u64::from(said.is_over)).wrapping_mul(seed | 1));
        for said in shuffled {
            merge(&other, said, 1500);
        }
        let known = |acks: &Acks| {
            let mut all = acks.snapshot();
            all.sort();
            all
        };
        prop_assert_eq!(known(&one), known(&other));
    }
}
