//! What Alertmanager does not have, and members share all the same: acknowledgements and recurring silences.

use super::*;
use crate::{RECURRING_ANNOTATION, RecurringRequest, Schedule, SilenceState};

const REMINDING: &str = "route: {receiver: r, group_by: [alertname], group_wait: 1s, group_interval: 10s, repeat_interval: 1m}\n\
     receivers:\n- name: r\n  webhook_configs: [{url: 'http://x/w'}]\n";

fn fingerprint(name: &str) -> u64 {
    Labels::from_pairs([("alertname", name)]).fingerprint()
}

// Somebody acknowledges an alert, or takes that back, at some member. Returns whether it was possible.
pub(super) fn acknowledge_something(run: &Run, random: &mut Seeded) -> bool {
    let manager = &run.any(random).manager;
    let Some(name) = run
        .alerts
        .keys()
        .nth(random.below(1 + run.alerts.len() as u64) as usize)
    else {
        return false;
    };
    let by = format!("somebody-{}", random.below(100));
    match random.below(4) {
        0 => manager.unacknowledge(fingerprint(name), &by).is_ok(),
        1 => manager
            .acknowledge(fingerprint(name), &by, "for a while", Some(manager.now_ms() + 20_000))
            .is_ok(),
        _ => manager.acknowledge(fingerprint(name), &by, "", None).is_ok(),
    }
}

// The window of 11:06 to 11:09 every day, as the world begins at 11:06:40; it mutes nothing that fires here.
fn request(id: &str, comment: &str) -> RecurringRequest {
    RecurringRequest {
        id: id.to_owned(),
        matchers: vec![("job".to_owned(), cupola_model::MatchOp::Equal, "backup".to_owned())],
        schedule: Schedule {
            days: [true; 7],
            from: 666,
            to: 669,
            time_zone: "UTC".to_owned(),
            starts_at: 0,
            ends_at: 1_800_000_000_000,
        },
        created_by: "ops".to_owned(),
        comment: comment.to_owned(),
    }
}

// Somebody makes, changes or deletes a recurring silence at some member, or ends one of its silences.
pub(super) fn recur_somehow(run: &Run, random: &mut Seeded) -> bool {
    let manager = &run.any(random).manager;
    let all = manager.recurring_silences();
    let one = all.get(random.below(3) as usize).map(|one| one.id.clone());
    let comment = format!("shape {}", random.below(1_000));
    match (one, random.below(4)) {
        (Some(id), 0) => manager.delete_recurring_silence(&id).is_ok(),
        (Some(id), 1) => manager.set_recurring_silence(request(&id, &comment)).is_ok(),
        (_, 2) => match manager.silences(&[]).first() {
            Some(silence) => manager.expire_silence(&silence.id).is_ok(),
            None => false,
        },
        _ => manager.set_recurring_silence(request("", &comment)).is_ok(),
    }
}

// Silences that are not over: the recurring silence that they were made of and their end.
fn coming(member: &Member) -> Vec<(String, i64)> {
    let now = member.manager.now_ms();
    let all = member.manager.silences(&[]);
    let coming = all.iter().filter(|s| s.state(now) != SilenceState::Expired);
    let mut coming: Vec<_> = coming
        .filter_map(|s| Some((s.annotations.get(RECURRING_ANNOTATION)?.clone(), s.ends_at)))
        .collect();
    coming.sort();
    coming
}

pub(super) fn no_window_is_silenced_twice(run: &Run) {
    for member in run.members.values() {
        let all = coming(member);
        assert!(all.windows(2).all(|two| two[0] != two[1]), "{all:?}");
        let known = member.manager.recurring_silences();
        let is_known = |id: &str| known.iter().any(|one| *one.id == *id);
        assert!(all.iter().all(|(id, _)| is_known(id)), "of a deleted one: {all:?}");
    }
}

fn acknowledged(run: &Run) -> Vec<usize> {
    let of = |member: &Member| member.manager.acknowledgements().len();
    run.members.values().map(of).collect()
}

#[tokio::test(start_paused = true)]
async fn an_acknowledgement_at_one_member_holds_the_reminders_of_all() {
    let mut run = Run::with(REMINDING, 5, 20, [0, 300, -300]);
    run.go_on(5).await;
    run.fire("a");
    run.go_on(20).await;
    assert_eq!(run.count("+a"), 1);
    // The last one in the order hears of it.
    run.members[&3]
        .manager
        .acknowledge(fingerprint("a"), "ada", "on it", None)
        .unwrap();
    run.go_on(200).await;
    assert_eq!(acknowledged(&run), [1, 1, 1]);
    assert_eq!(run.count("+a"), 1, "no member reminds");
    // Another one takes it back, and the reminder comes, once.
    run.members[&1].manager.unacknowledge(fingerprint("a"), "bob").unwrap();
    run.go_on(30).await;
    assert_eq!(acknowledged(&run), [0, 0, 0]);
    assert_eq!(run.count("+a"), 2);
    let events = run.members[&2].manager.events(&[], 100);
    let by = |who: &str| Happening::Unacknowledged { by: who.to_owned() };
    assert!(events.iter().any(|event| event.what == by("bob")));

    // What is said in a part of the cluster is known in all of it later, and to processes that begin anew.
    run.world.change(|links| links.cut.extend([pair(1, 3), pair(2, 3)]));
    run.go_on(10).await;
    run.members[&3]
        .manager
        .acknowledge(fingerprint("a"), "eve", "", None)
        .unwrap();
    run.go_on(5).await;
    assert_eq!(acknowledged(&run), [0, 0, 1]);
    run.world.change(|links| links.cut.clear());
    run.go_on(30).await;
    assert_eq!(acknowledged(&run), [1, 1, 1]);
    for host in 1..=HOSTS {
        run.kill(host);
    }
    run.start(1);
    run.go_on(5).await;
    assert_eq!(acknowledged(&run), [1]);
    for host in 2..=HOSTS {
        run.start(host);
    }
    let before = run.count("+a");
    run.go_on(150).await;
    assert_eq!(acknowledged(&run), [1, 1, 1]);
    assert_eq!(run.count("+a"), before);

    // It ends with the alert, everywhere, and is not there when that comes back.
    run.resolve("a");
    run.go_on(30).await;
    assert_eq!(acknowledged(&run), [0, 0, 0]);
    assert_eq!(run.count("-a"), 1, "{:?}", run.log);
    run.sweep();
    run.fire("a");
    run.go_on(100).await;
    assert_eq!(acknowledged(&run), [0, 0, 0]);
    assert!(run.count("+a") > before + 1, "it is told and reminded of");
    run.assert_same("in the end");
}

#[tokio::test(start_paused = true)]
async fn a_recurring_silence_made_at_one_member_is_kept_up_by_all_and_made_once() {
    let mut run = Run::new(6, 20, [0, 200, -200]);
    run.go_on(5).await;
    let id = run.members[&2]
        .manager
        .set_recurring_silence(request("", "first"))
        .unwrap()
        .id
        .clone();
    run.go_on(2).await;
    run.sweep();
    run.go_on(2).await;
    for member in run.members.values() {
        assert_eq!(member.manager.recurring_silences().len(), 1);
        assert_eq!(member.manager.silences(&[]).len(), 2);
    }
    // Where it was made is gone when the next one is due: the others make it, and only once.
    run.kill(2);
    run.go_on(200).await;
    run.sweep();
    run.go_on(3).await;
    run.start(2);
    run.go_on(20).await;
    run.sweep();
    run.go_on(3).await;
    for member in run.members.values() {
        assert_eq!((member.manager.silences(&[]).len(), coming(member).len()), (3, 2));
    }
    // One that is ended by hand stays ended, also where somebody has not heard of it before he looks what is due.
    run.world.change(|links| links.cut.extend([pair(1, 3), pair(2, 3)]));
    let now = run.members[&1].manager.now_ms();
    let silences = run.members[&1].manager.silences(&[]);
    let next = silences.iter().find(|s| s.state(now) == SilenceState::Pending).unwrap();
    run.members[&1].manager.expire_silence(&next.id).unwrap();
    run.go_on(5).await;
    run.sweep();
    run.world.change(|links| links.cut.clear());
    run.go_on(30).await;
    run.sweep();
    assert!(run.members.values().all(|member| coming(member).len() == 1));

    // Changed in one part and in the other: the later change counts, and nothing of the other is left.
    run.world.change(|links| links.cut.extend([pair(1, 3), pair(2, 3)]));
    run.go_on(10).await;
    run.members[&1]
        .manager
        .set_recurring_silence(request(&id, "of one"))
        .unwrap();
    run.go_on(5).await;
    run.members[&3]
        .manager
        .set_recurring_silence(request(&id, "of three"))
        .unwrap();
    run.world.change(|links| links.cut.clear());
    run.go_on(30).await;
    run.sweep();
    run.go_on(3).await;
    no_window_is_silenced_twice(&run);
    for member in run.members.values() {
        assert_eq!(member.manager.recurring_silences()[0].comment, "of three");
        assert_eq!(coming(member).len(), 2);
    }

    // What was deleted while somebody was away does not come back with him.
    run.kill(3);
    run.members[&1].manager.delete_recurring_silence(&id).unwrap();
    run.go_on(5).await;
    run.kill(1);
    run.start(3);
    run.go_on(20).await;
    run.start(1);
    run.go_on(20).await;
    run.sweep();
    run.go_on(3).await;
    for member in run.members.values() {
        assert!(member.manager.recurring_silences().is_empty() && coming(member).is_empty());
    }
    run.assert_same("in the end");
}
