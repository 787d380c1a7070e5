use cupola_env::{FaultyFs, RealFs, SimDisk};
use cupola_model::Labels;
use proptest::prelude::*;

use super::*;

fn disk() -> Arc<dyn Vfs> {
    SimDisk::new(7).mount()
}

fn put(vfs: &dyn Vfs, path: &str, bytes: &[u8]) {
    vfs.create_dir_all(Path::new("/am")).unwrap();
    vfs.create_new(Path::new(path)).unwrap().append(bytes).unwrap();
}

fn open(vfs: &Arc<dyn Vfs>) -> Result<(Disk, Found), StateError> {
    Disk::open(vfs.clone(), "/am".into())
}

fn alert(name: &str, at: i64) -> StoredAlert {
    let labels = Labels::from_pairs([("alertname", name)]);
    StoredAlert {
        fingerprint: labels.fingerprint(),
        labels,
        annotations: Labels::from_pairs([("summary", "s")]),
        starts_at: at,
        ends_at: at + 1000,
        updated_at: at,
        generator_url: "http://g".into(),
        timeout: true,
        written_until: at + 1000,
    }
}

fn base64(text: &str) -> Vec<u8> {
    let mut out = Vec::new();
    let (mut bits, mut count) = (0_u32, 0);
    for c in text.bytes().filter(|c| *c != b'=') {
        let value = match c {
            b'A'..=b'Z' => c - b'A',
            b'a'..=b'z' => c - b'a' + 26,
            b'0'..=b'9' => c - b'0' + 52,
            b'+' => 62,
            _ => 63,
        };
        bits = bits << 6 | u32::from(value);
        count += 6;
        if count >= 8 {
            count -= 8;
            out.push((bits >> count) as u8);
        }
    }
    out
}

#[test]
fn files_of_a_stopped_alertmanager_are_read_and_written_the_same() {
    let Some(dir) = cupola_testkit::conformance_dir("alertmanager/recorded") else {
        return;
    };
    let text = std::fs::read_to_string(dir.join("restart.json")).unwrap();
    let recorded: serde_json::Value = serde_json::from_str(&text).unwrap();
    let file = |name: &str| base64(recorded["snapshot_base64"][name].as_str().unwrap());
    let vfs = disk();
    put(&*vfs, "/am/silences", &file("silences"));
    put(&*vfs, "/am/nflog", &file("nflog"));
    let (disk, found) = open(&vfs).unwrap();
    let (silence, expires_at) = found.silences.first().unwrap();
    let shown = &recorded["silences_after"]["response"]["json"][0];
    assert_eq!(*silence.id, *shown["id"].as_str().unwrap());
    assert_eq!((silence.created_by.as_str(), silence.comment.as_str()), ("a", "b"));
    assert_eq!(silence.matchers[0].to_string(), "x=\"y\"");
    // Retention 120 h.
    assert_eq!(expires_at - silence.ends_at, 120 * 3_600_000);
    let entry = found.entries.first().unwrap();
    assert_eq!(&*entry.group_key, "{}:{alertname=\"R1\"}");
    assert_eq!(
        (&*entry.receiver, entry.integration.as_str(), entry.index),
        ("r", "webhook", 0)
    );
    let labels = Labels::from_pairs([("alertname", "R1")]);
    assert_eq!(entry.firing, [crate::nflog::alert_hash(&labels)]);
    // Written again they differ in what is below a millisecond alone.
    let silences = vec![silences::encode(silence, *expires_at)];
    let entries = vec![entry.encode()];
    let sizes = disk.snapshot(|| silences, || entries, Vec::new).unwrap();
    let again = open(&vfs).unwrap().1;
    assert_eq!((&again.silences, &again.entries), (&found.silences, &found.entries));
    let length = |name: &str| vfs.read(&Path::new("/am").join(name)).unwrap().len();
    assert_eq!((sizes.silences, sizes.nflog), (length("silences"), length("nflog")));
    assert_eq!(
        (sizes.silences, sizes.nflog),
        (file("silences").len(), file("nflog").len())
    );
}

#[test]
fn a_journal_is_read_to_its_torn_end() {
    let vfs = disk();
    let (disk, _) = open(&vfs).unwrap();
    disk.keep_alerts([alert("A", 1), alert("B", 2)].iter());
    disk.keep_alerts([alert("C", 3)].iter());
    drop(disk);
    let path = Path::new("/am/cupola-journal-00000001");
    let whole = vfs.read(path).unwrap();
    for cut in 0..whole.len() {
        let vfs = self::disk();
        put(&*vfs, "/am/cupola-journal-00000001", &whole[..cut]);
        let (disk, found) = open(&vfs).unwrap();
        assert!(found.alerts.len() < 3, "{cut}");
        // What comes now goes to a file of its own, where the torn end hides nothing.
        disk.keep_alerts([alert("D", 4)].iter());
        let again = open(&vfs).unwrap().1;
        assert_eq!(again.alerts.last(), Some(&alert("D", 4)), "{cut}");
        assert_eq!(again.alerts.len(), found.alerts.len() + 1);
    }
}

#[test]
fn a_torn_record_takes_nothing_before_it_away_where_the_journal_began_badly() {
    let dir = tempfile::tempdir().unwrap();
    let faulty = Arc::new(FaultyFs::default());
    let vfs: Arc<dyn Vfs> = faulty.clone();
    let (disk, _) = Disk::open(vfs.clone(), dir.path().to_owned()).unwrap();
    // The file is there, and nobody knows whether its name will be after a power cut.
    faulty.set_failing_folder_syncs(true);
    disk.keep_alerts([alert("A", 1)].iter());
    disk.sync();
    assert!(disk.is_in_doubt());
    faulty.set_failing_folder_syncs(false);
    disk.keep_alerts([alert("B", 2)].iter());
    faulty.set_budget(Some(3));
    disk.keep_alerts([alert("C", 3)].iter());
    faulty.set_budget(None);
    disk.keep_alerts([alert("D", 4)].iter());
    let found = Disk::open(vfs, dir.path().to_owned()).unwrap().1;
    assert_eq!(found.alerts, [alert("A", 1), alert("B", 2), alert("D", 4)]);
}

#[test]
fn a_snapshot_replaces_the_journals_and_keeps_what_comes_meanwhile() {
    let vfs = disk();
    let (disk, _) = open(&vfs).unwrap();
    disk.keep_alerts([alert("A", 1)].iter());
    let meanwhile = || {
        disk.keep_alerts([alert("B", 2)].iter());
        vec![alert("A", 1).encode()]
    };
    disk.snapshot(Vec::new, Vec::new, meanwhile).unwrap();
    let names = vfs.list(Path::new("/am")).unwrap();
    assert_eq!(names, ["cupola-alerts", "cupola-journal-00000002", "nflog", "silences"]);
    assert_eq!(open(&vfs).unwrap().1.alerts, [alert("A", 1), alert("B", 2)]);
}

#[test]
fn a_damaged_file_is_named_with_the_place() {
    let vfs = disk();
    put(&*vfs, "/am/nflog", &[2, 10, 0, 5, 1]);
    let error = open(&vfs).map(|_| ()).unwrap_err();
    assert_eq!(
        error.to_string(),
        "/am/nflog: record 2 at byte 3 cannot be read: the message ends in the middle of a field; \
         move the file away to start without it"
    );
}

#[test]
fn a_full_disk_refuses_a_silence_and_takes_the_next() {
    let dir = tempfile::tempdir().unwrap();
    let faulty = Arc::new(FaultyFs::default());
    let (disk, _) = Disk::open(faulty.clone(), dir.path().to_owned()).unwrap();
    let message = |id: &str| {
        let raw = silences::Silence {
            id: id.into(),
            matchers: vec![cupola_model::Matcher::equal("a", "b")],
            further_sets: Vec::new(),
            starts_at: 1,
            ends_at: 2,
            updated_at: 1,
            created_by: String::new(),
            comment: String::new(),
            annotations: std::collections::BTreeMap::new(),
        };
        vec![silences::encode(&raw, 9)]
    };
    disk.keep_silences(&message("a")).unwrap();
    faulty.set_budget(Some(5));
    assert!(disk.keep_silences(&message("b")).is_err());
    faulty.set_budget(None);
    disk.keep_silences(&message("c")).unwrap();
    let found = Disk::open(Arc::new(RealFs), dir.path().to_owned()).unwrap().1;
    let ids: Vec<&str> = found.silences.iter().map(|(s, _)| &*s.id).collect();
    assert_eq!(ids, ["a", "c"]);
}

// One of each kind.
fn events() -> Vec<Event> {
    use crate::deliver::Outcome;
    use crate::events::{Happening, Message, Suppression};
    let key = || Arc::<str>::from("{}:{a=\"b\"}");
    let suppressed = |by| Happening::Suppressed { group_key: key(), by };
    let told = |outcome, error: &str| {
        Happening::Told(Arc::new(Message {
            receiver: "r".into(),
            integration: "webhook[0]".into(),
            group_key: key(),
            reason: "first notification".into(),
            outcome,
            attempts: 2,
            error: error.into(),
            firing: 3,
            resolved: 1,
            answer: "POST x: 200".into(),
        }))
    };
    let acknowledged = |ends_at| {
        let labels = Labels::from_pairs([("alertname", "A"), ("i", "1")]);
        Happening::Acknowledged(Arc::new(crate::Acknowledgement {
            fingerprint: labels.fingerprint(),
            labels,
            by: "ada".into(),
            note: "on it".into(),
            at: 8_000,
            ends_at,
        }))
    };
    let names = || Arc::<[String]>::from(["night".to_owned(), "weekend".to_owned()]);
    let all = [
        Happening::Fired,
        Happening::Refused,
        Happening::Resolved { by_timeout: false },
        Happening::Resolved { by_timeout: true },
        Happening::Grouped {
            receiver: "r".into(),
            group_key: key(),
            flush_at: 7_000,
        },
        Happening::Released { group_key: key() },
        suppressed(Suppression::Inhibition(u64::MAX, "rule".into())),
        suppressed(Suppression::Inactive(names())),
        suppressed(Suppression::Muted(names())),
        suppressed(Suppression::Silence(vec!["an-id".into()])),
        told(Outcome::Sent, ""),
        told(Outcome::Retrying, "refused"),
        told(Outcome::Failed, "refused"),
        acknowledged(None),
        acknowledged(Some(9_000)),
        Happening::Unacknowledged { by: "bob".into() },
        Happening::Held {
            group_key: key(),
            by: "ada".into(),
        },
    ];
    let labels = Labels::from_pairs([("alertname", "A"), ("i", "1")]);
    let with = all.into_iter().zip(1_000_000..);
    with.map(|(what, at)| Event {
        at,
        fingerprint: labels.fingerprint(),
        labels: labels.clone(),
        what,
    })
    .collect()
}

#[test]
fn a_full_disk_is_not_filled_with_names() {
    let sim = SimDisk::new(8);
    let vfs = sim.mount();
    let (disk, _) = open(&vfs).unwrap();
    sim.set_faults(cupola_env::Faults {
        room: Some(4),
        ..cupola_env::Faults::default()
    });
    for _ in 0..20 {
        disk.keep_alerts([alert("A", 1)].iter());
        disk.keep_events(&events(), 0);
    }
    let names = vfs.list(Path::new("/am")).unwrap();
    assert!(names.len() <= 2, "{names:?}");
    sim.set_faults(cupola_env::Faults::default());
    disk.keep_alerts([alert("B", 2)].iter());
    disk.keep_events(&events(), 0);
    let found = open(&vfs).unwrap().1;
    assert_eq!((found.alerts, found.events), (vec![alert("B", 2)], events()));
}

#[test]
fn events_come_back_as_they_were_written_and_old_files_go() {
    let vfs = disk();
    let (disk, _) = open(&vfs).unwrap();
    disk.keep_events(&events()[..5], 0);
    disk.keep_events(&events()[5..], 0);
    let (disk, found) = open(&vfs).unwrap();
    assert_eq!(found.events, events());
    // A second process has a file of its own; the first one's goes once all in it are too old.
    let files = |vfs: &Arc<dyn Vfs>| vfs.list(Path::new("/am")).unwrap().len();
    let last = events().split_off(events().len() - 1);
    let at = last.iter().map(|event| event.at).sum::<i64>();
    disk.keep_events(&last, at);
    assert_eq!(files(&vfs), 2);
    disk.keep_events(&[], at + 1);
    assert_eq!(files(&vfs), 1);
    assert_eq!(open(&vfs).unwrap().1.events, last);
}

#[test]
fn foreign_bytes_do_no_harm() {
    let corpus = [
        alert("A", 1).encode(),
        base64("Cl4KJGIxMDc3MWU1LWUyMTAtNGNiZC1iMjUyLWVhNDc2ZTU5YjcxMBIGEgF4GgF5GgwIhJSL2AYQ74TOjgE="),
        journal::records([(Kind::Alert, &alert("B", 2).encode()[..])]),
    ];
    let corpus = [corpus.to_vec(), events().iter().map(history::encode).collect()].concat();
    cupola_testkit::fuzz(20_000, &corpus, &["CUPALJ01"], |bytes| {
        let mut found = Found::default();
        let _ = (found.silence(bytes), found.entry(bytes), found.alert(bytes));
        let _ = (found.acknowledgement(bytes), found.recurring(bytes));
        let _ = history::decode(bytes);
        let with_head = [b"CUPALJ01", bytes].concat();
        let _ = journal::replay(&with_head, |_, message| found.alert(message).map_err(|e| e.to_string()));
    });
}

proptest! {
    #[test]
    fn alerts_come_back_as_they_were_written(
        labels in proptest::collection::btree_map("[a-z]{1,5}", ".{1,40}", 1..8),
        times in any::<[i32; 3]>(),
        timeout in any::<bool>(),
        url in ".{0,40}",
    ) {
        let labels = Labels::from_pairs(labels);
        let [starts_at, ends_at, updated_at] = times.map(|t| i64::from(t) * 1_000);
        let alert = StoredAlert {
            fingerprint: labels.fingerprint(),
            annotations: labels.clone(),
            labels,
            starts_at,
            ends_at,
            updated_at,
            generator_url: url.into(),
            timeout,
            written_until: ends_at,
        };
        prop_assert_eq!(StoredAlert::decode(&alert.encode()), Ok(alert));
    }
}
