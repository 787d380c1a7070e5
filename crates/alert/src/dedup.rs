//! Whether a group has something to say that its receiver has not heard (Alertmanager 0.34, `DedupStage`).

use std::collections::BTreeSet;

/// What an integration was last told about a group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Told {
    /// When, milliseconds.
    pub at: i64,
    /// Fingerprints of the alerts that fired.
    pub firing: BTreeSet<u64>,
    /// Fingerprints of the alerts that were resolved.
    pub resolved: BTreeSet<u64>,
}

/// Why a message is due, in Alertmanager's words; `None` where nothing is new.
pub(crate) fn reason(
    told: Option<&Told>,
    now: i64,
    firing: &BTreeSet<u64>,
    resolved: &BTreeSet<u64>,
    send_resolved: bool,
    repeat_ms: i64,
) -> Option<&'static str> {
    let Some(told) = told else {
        return (!firing.is_empty()).then_some("first notification");
    };
    if !firing.is_subset(&told.firing) {
        return Some("new alerts added");
    }
    if firing.is_empty() {
        // Also without send_resolved: the log must learn that the group is quiet.
        return (!told.firing.is_empty()).then_some("all alerts resolved");
    }
    if send_resolved && !resolved.is_subset(&told.resolved) {
        return Some("some alerts resolved");
    }
    (told.at < now - repeat_ms).then_some("repeat interval elapsed")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(told: Option<(&[u64], &[u64])>, firing: &[u64], resolved: &[u64], expected: Option<&str>) {
        let set = |ids: &[u64]| ids.iter().copied().collect::<BTreeSet<_>>();
        let told = told.map(|(f, r)| Told {
            at: 100,
            firing: set(f),
            resolved: set(r),
        });
        assert_eq!(
            reason(told.as_ref(), 150, &set(firing), &set(resolved), true, 60),
            expected
        );
    }

    #[test]
    fn only_what_is_new_is_told() {
        check(None, &[1], &[], Some("first notification"));
        check(None, &[], &[1], None);
        check(Some((&[1], &[])), &[1], &[], None);
        check(Some((&[1], &[])), &[1, 2], &[], Some("new alerts added"));
        check(Some((&[1, 2], &[])), &[1], &[2], Some("some alerts resolved"));
        check(Some((&[1], &[2])), &[1], &[2], None);
        check(Some((&[1], &[])), &[], &[1], Some("all alerts resolved"));
        check(Some((&[], &[1])), &[], &[1], None);
    }

    #[test]
    fn a_reminder_comes_after_the_repeat_interval() {
        let one: BTreeSet<u64> = [1].into();
        let told = Told {
            at: 100,
            firing: one.clone(),
            resolved: BTreeSet::new(),
        };
        let at = |now| reason(Some(&told), now, &one, &BTreeSet::new(), true, 60);
        assert_eq!(at(160), None);
        assert_eq!(at(161), Some("repeat interval elapsed"));
    }

    #[test]
    fn without_send_resolved_a_resolved_alert_is_no_news() {
        let one: BTreeSet<u64> = [1].into();
        let told = Told {
            at: 100,
            firing: [1, 2].into(),
            resolved: BTreeSet::new(),
        };
        assert_eq!(reason(Some(&told), 110, &one, &[2].into(), false, 60), None);
    }
}
