//! Silences and acknowledgements on a disk that fails or is slow.

use std::path::Path;

use cupola_env::{Faults, SimDisk, Vfs};

use super::*;
use crate::{SilenceError, SilenceRequest, SilenceState};

const YAML: &str = "route: {receiver: r}\nreceivers: [{name: r}]\n";
// Longer than anything here takes, unless it waits for the disk.
const PATIENCE: Duration = Duration::from_secs(60);

// A process; the clocks of all go on from `begin`.
fn on(begin: Instant, vfs: Arc<dyn Vfs>) -> Alertmanager {
    let options = Options {
        state: Some((vfs, "/am".into())),
        ..Options::default()
    };
    start_at(YAML, options, begin)
}

fn asked(manager: &Alertmanager, id: &str, value: &str) -> SilenceRequest {
    SilenceRequest {
        id: id.to_owned(),
        matchers: vec![("a".to_owned(), cupola_model::MatchOp::Equal, value.to_owned())],
        ends_at: manager.now_ms() + 3_600_000,
        created_by: "me".to_owned(),
        comment: "c".to_owned(),
        ..SilenceRequest::default()
    }
}

// The values of the matchers of silences that are on.
fn active(manager: &Alertmanager) -> Vec<String> {
    let now = manager.now_ms();
    let on = |silence: &Arc<crate::Silence>| silence.state(now) == SilenceState::Active;
    let all = manager.silences(&[]);
    let mut on: Vec<String> = all
        .iter()
        .filter(|s| on(s))
        .map(|s| s.matchers[0].value().to_owned())
        .collect();
    on.sort();
    on
}

fn failing_syncs() -> Faults {
    Faults {
        failing_syncs: true,
        ..Faults::default()
    }
}

#[tokio::test]
async fn a_silence_that_could_not_be_synced_is_refused_and_does_not_come_back() {
    let begin = Instant::now();
    let disk = SimDisk::new(3);
    let first = on(begin, disk.mount());
    let kept = first.set_silence(asked(&first, "", "kept")).unwrap();
    disk.set_faults(failing_syncs());
    let refused = first.set_silence(asked(&first, "", "refused"));
    assert!(matches!(refused, Err(SilenceError::Disk(_))), "{refused:?}");
    let ended = first.expire_silence(&kept);
    assert!(matches!(ended, Err(SilenceError::Disk(_))), "{ended:?}");
    assert_eq!(active(&first), ["kept"]);
    // Not by the next process either, which reads what the journal holds.
    let second = on(begin, disk.mount());
    assert_eq!(active(&second), ["kept"]);
    assert_eq!(second.silences(&[]).len(), 1);
    // Asked again where the disk works, it stays, whatever happens to the machine.
    disk.set_faults(Faults::default());
    second.set_silence(asked(&second, "", "refused")).unwrap();
    second.expire_silence(&kept).unwrap();
    disk.cut_power();
    assert_eq!(active(&on(begin, disk.mount())), ["refused"]);
}

#[tokio::test]
async fn what_was_in_doubt_after_a_failed_sync_is_written_anew() {
    for seed in 0..20 {
        let begin = Instant::now();
        let disk = SimDisk::new(seed);
        let first = on(begin, disk.mount());
        let fires = alert(&first, &[("alertname", "A")], false);
        first.receive(&[fires], 0);
        let state = first.inner.disk.as_ref().unwrap();
        disk.set_faults(failing_syncs());
        state.sync();
        assert!(state.is_in_doubt());
        disk.set_faults(Faults::default());
        // A later sync of the same file says nothing of what the failed one left.
        state.sync();
        assert!(state.is_in_doubt());
        first.inner.write_state();
        assert!(!state.is_in_doubt());
        disk.cut_power();
        let second = on(begin, disk.mount());
        assert_eq!(
            second.alert_statuses(&crate::AlertFilter::default()).len(),
            1,
            "seed {seed}"
        );
    }
}

// The first time a file with `part` in its path is synced the disk does not answer until the sender is used. The receiver
// tells that it has begun.
fn hold_sync(disk: &SimDisk, part: &'static str) -> (mpsc::Receiver<()>, mpsc::Sender<()>) {
    let (began, has_begun) = mpsc::channel();
    let (release, released) = mpsc::channel::<()>();
    let mut held = Some((began, released));
    disk.before_each_write(Some(Box::new(move |doing, path: &Path| {
        if doing == "sync"
            && path.to_string_lossy().contains(part)
            && let Some((began, released)) = held.take()
        {
            let _ = began.send(());
            let _ = released.recv_timeout(PATIENCE);
        }
    })));
    (has_begun, release)
}

// Does it beside the test, which goes on once it is done or takes too long.
fn in_time<T: Send + 'static>(what: &str, work: impl FnOnce() -> T + Send + 'static) -> T {
    let (done, is_done) = mpsc::channel();
    let runtime = tokio::runtime::Handle::current();
    std::thread::spawn(move || {
        let _in = runtime.enter();
        let _ = done.send(work());
    });
    is_done
        .recv_timeout(PATIENCE / 2)
        .unwrap_or_else(|_| panic!("{what} waits for the disk"))
}

#[tokio::test]
async fn a_disk_that_does_not_answer_holds_up_only_who_asked_it() {
    let begin = Instant::now();
    let disk = SimDisk::new(5);
    let manager = on(begin, disk.mount());
    let fires = alert(&manager, &[("alertname", "A"), ("a", "slow")], false);
    manager.receive(std::slice::from_ref(&fires), 0);
    let id = fires.labels.fingerprint();
    let is_silenced = |manager: &Alertmanager| {
        !manager.alert_statuses(&crate::AlertFilter::default())[0]
            .silenced_by
            .is_empty()
    };

    let (began, release) = hold_sync(&disk, "cupola-journal");
    let asking = manager.clone();
    let asker = std::thread::spawn(move || asking.set_silence(asked(&asking, "", "slow")));
    began.recv_timeout(PATIENCE).unwrap();
    let looking = manager.clone();
    let other = alert(&manager, &[("alertname", "B")], false);
    let seen = in_time("alerts and silences", move || {
        // What the API and the flushes do.
        looking.receive(&[other], 0);
        (
            looking.silences(&[]).len(),
            looking.alert_statuses(&crate::AlertFilter::default()).len(),
        )
    });
    assert_eq!(seen, (0, 2), "it counts once it is on the device");
    release.send(()).unwrap();
    let silence = asker.join().unwrap().unwrap();
    assert!(manager.silence(&silence).is_some() && is_silenced(&manager));

    let (began, release) = hold_sync(&disk, "cupola-acknowledged");
    let asking = manager.clone();
    let asker = std::thread::spawn(move || asking.acknowledge(id, "ada", "", None).map(drop));
    began.recv_timeout(PATIENCE).unwrap();
    let looking = manager.clone();
    let seen = in_time("acknowledgements", move || {
        let now = looking.now_ms();
        (
            looking.acknowledgements().len(),
            looking.inner.acks.of_all([id].into_iter(), now).len(),
        )
    });
    assert_eq!(seen, (0, 0));
    // Its alert ends meanwhile.
    let looking = manager.clone();
    let over = alert(&manager, &[("alertname", "A"), ("a", "slow")], true);
    in_time("the end of an alert", move || looking.receive(&[over], 0));
    release.send(()).unwrap();
    asker.join().unwrap().unwrap();
    manager.inner.sweep_acknowledgements();
    assert_eq!(manager.acknowledgements().len(), 0, "nobody looks after what is over");
    disk.cut_power();
    assert_eq!(on(begin, disk.mount()).acknowledgements().len(), 0);
}

#[tokio::test]
async fn who_looks_at_recurring_silences_does_not_wait_for_the_disk_that_keeps_one() {
    let begin = Instant::now();
    let disk = SimDisk::new(7);
    let manager = on(begin, disk.mount());
    let ask = |manager: &Alertmanager, comment: &str| {
        manager.set_recurring_silence(crate::RecurringRequest {
            id: String::new(),
            matchers: vec![("a".into(), cupola_model::MatchOp::Equal, "b".into())],
            schedule: crate::Schedule {
                days: [true; 7],
                from: 0,
                to: 0,
                time_zone: "UTC".into(),
                starts_at: 0,
                ends_at: manager.now_ms() + 1_000_000_000,
            },
            created_by: "ops".into(),
            comment: comment.into(),
        })
    };
    ask(&manager, "first").unwrap();
    let (began, release) = hold_sync(&disk, "cupola-recurring");
    let asking = manager.clone();
    let asker = std::thread::spawn(move || ask(&asking, "second").map(drop));
    began.recv_timeout(PATIENCE).unwrap();
    let looking = manager.clone();
    let seen = in_time("a list of recurring silences", move || {
        // The API, and what another member is sent.
        (
            looking.recurring_silences().len(),
            looking.inner.recurring.snapshot().len(),
        )
    });
    assert_eq!(seen, (1, 1), "it counts once it is on the device");
    release.send(()).unwrap();
    asker.join().unwrap().unwrap();
    assert_eq!(manager.recurring_silences().len(), 2);
    disk.cut_power();
    assert_eq!(on(begin, disk.mount()).recurring_silences().len(), 2);
}

#[tokio::test]
async fn a_snapshot_has_the_silence_whose_writing_it_overlaps() {
    let begin = Instant::now();
    let disk = SimDisk::new(6);
    let manager = on(begin, disk.mount());
    let (began, release) = hold_sync(&disk, "cupola-journal");
    let asking = manager.clone();
    let asker = std::thread::spawn(move || asking.set_silence(asked(&asking, "", "slow")));
    began.recv_timeout(PATIENCE).unwrap();
    let writing = manager.clone();
    let runtime = tokio::runtime::Handle::current();
    let writer = std::thread::spawn(move || {
        let _in = runtime.enter();
        writing.inner.write_state();
    });
    release.send(()).unwrap();
    asker.join().unwrap().unwrap();
    writer.join().unwrap();
    disk.cut_power();
    assert_eq!(active(&on(begin, disk.mount())), ["slow"]);
}
