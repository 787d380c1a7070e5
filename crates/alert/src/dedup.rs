//! Whether a group has something to say that its receiver has not heard (Alertmanager 0.34, `DedupStage`).

use crate::nflog::Entry;

/// Why a reminder is due.
pub(crate) const REMINDER: &str = "repeat interval elapsed";

/// What an integration would be told now.
pub(crate) struct News<'a> {
    /// When, milliseconds.
    pub now: i64,
    /// Hashes of the alerts that fire, ascending.
    pub firing: &'a [u64],
    /// Hashes of the alerts that are resolved, ascending.
    pub resolved: &'a [u64],
    /// Whether the integration wants to hear of resolved ones.
    pub send_resolved: bool,
    /// After this it is reminded.
    pub repeat_ms: i64,
}

fn is_subset(part: &[u64], whole: &[u64]) -> bool {
    part.iter().all(|hash| whole.binary_search(hash).is_ok())
}

/// Why a message is due, in Alertmanager's words; `None` where nothing is new.
///
/// A reminder is due once the repeat interval has passed since the flush that told last. Alertmanager counts from the
/// moment the message had been sent, so that its reminders come one group interval late. One that was told further ahead
/// than that was told by a clock that has gone back since: it is due, too, or there would be none until the clock is there
/// again.
pub(crate) fn reason(told: Option<&Entry>, news: &News<'_>) -> Option<&'static str> {
    let Some(told) = told else {
        return (!news.firing.is_empty()).then_some("first notification");
    };
    if !is_subset(news.firing, &told.firing) {
        return Some("new alerts added");
    }
    if news.firing.is_empty() {
        // Also without send_resolved: the log must learn that the group is quiet.
        return (!told.firing.is_empty()).then_some("all alerts resolved");
    }
    if news.send_resolved && !is_subset(news.resolved, &told.resolved) {
        return Some("some alerts resolved");
    }
    let is_due =
        told.at <= news.now.saturating_sub(news.repeat_ms) || told.at > news.now.saturating_add(news.repeat_ms);
    is_due.then_some(REMINDER)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(firing: &[u64], resolved: &[u64]) -> Entry {
        Entry {
            at: 100,
            firing: firing.to_vec(),
            resolved: resolved.to_vec(),
            ..Entry::default()
        }
    }

    fn news<'a>(now: i64, firing: &'a [u64], resolved: &'a [u64]) -> News<'a> {
        News {
            now,
            firing,
            resolved,
            send_resolved: true,
            repeat_ms: 60,
        }
    }

    #[track_caller]
    fn check(told: Option<(&[u64], &[u64])>, firing: &[u64], resolved: &[u64], expected: Option<&str>) {
        let told = told.map(|(f, r)| entry(f, r));
        assert_eq!(reason(told.as_ref(), &news(150, firing, resolved)), expected);
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
        let told = entry(&[1], &[]);
        let at = |now| reason(Some(&told), &news(now, &[1], &[]));
        assert_eq!(at(159), None);
        assert_eq!(at(160), Some("repeat interval elapsed"));
        // Told at a moment that is still to come.
        assert_eq!(at(40), None);
        assert_eq!(at(39), Some("repeat interval elapsed"));
    }

    #[test]
    fn without_send_resolved_a_resolved_alert_is_no_news() {
        let mut news = news(110, &[1], &[2]);
        news.send_resolved = false;
        assert_eq!(reason(Some(&entry(&[1, 2], &[])), &news), None);
    }
}
