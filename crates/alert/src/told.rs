//! What the pages ask beyond Alertmanager's API: the messages that were sent, and what a silence would do.

use std::collections::HashSet;
use std::ops::ControlFlow;
use std::sync::Arc;

use cupola_model::{Labels, MatchOp, Matcher};

use crate::deliver::Outcome;
use crate::dispatch::Alertmanager;
use crate::events::{Happening, Message};
use crate::silences::{RawMatcher, SilenceError, SilenceRequest};
use crate::views::{AlertFilter, AlertStatus};

// Of one message, so many alerts are told by name.
const MOST_NAMED: usize = 100;
const DAY_MS: i64 = 24 * 3_600_000;

/// One attempt to tell a receiver of a group.
#[derive(Debug, Clone)]
pub struct ToldMessage {
    /// When it was known what became of it, milliseconds.
    pub at: i64,
    /// What it was and what became of it.
    pub message: Arc<Message>,
    /// Fingerprints and labels of its first alerts, at most a hundred.
    pub alerts: Vec<(u64, Labels)>,
}

/// Which messages are wanted. The default is all.
#[derive(Debug, Clone, Default)]
pub struct ToldFilter {
    /// One of the message's alerts must match them all.
    pub matchers: Vec<Matcher>,
    /// The receiver's name; empty is any.
    pub receiver: String,
    /// What became of it.
    pub outcome: Option<Outcome>,
}

/// What one matcher of a silence does alone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reach {
    /// The matcher, as it is written.
    pub matcher: String,
    /// How many of the alerts that fire it matches.
    pub matched: usize,
    /// Whether it also matches alerts that do not have its label.
    pub matches_absent: bool,
}

/// What a silence would mute now.
#[derive(Debug, Clone)]
pub struct Preview {
    /// How many alerts fire.
    pub firing: usize,
    /// Those that it would mute.
    pub muted: Vec<AlertStatus>,
    /// How many different alerts that it would mute began to fire within the last day.
    pub fired_lately: usize,
    /// Each matcher alone.
    pub reach: Vec<Reach>,
    /// Why it may mute more than is meant, in whole sentences.
    pub warnings: Vec<String>,
}

impl Alertmanager {
    /// The latest `limit` messages that are wanted, newest first, as far back as the history goes. Each attempt counts.
    #[must_use]
    pub fn told(&self, filter: &ToldFilter, limit: usize) -> Vec<ToldMessage> {
        let mut found: Vec<ToldMessage> = Vec::new();
        // The message whose alerts come now, which are noted one after the other.
        let mut open: Option<(ToldMessage, bool)> = None;
        let close = |open: Option<(ToldMessage, bool)>, found: &mut Vec<ToldMessage>| {
            if let Some((mut message, true)) = open {
                message.alerts.reverse();
                found.push(message);
            }
        };
        self.inner.events.walk(|event| {
            let Happening::Told(message) = &event.what else {
                return ControlFlow::Continue(());
            };
            let is_same = |one: &ToldMessage| {
                one.at == event.at && (Arc::ptr_eq(&one.message, message) || one.message == *message)
            };
            let is_match = filter.matchers.iter().all(|m| m.matches_labels(&event.labels));
            if let Some((one, is_wanted)) = &mut open
                && is_same(one)
            {
                *is_wanted |= is_match && filter.wants(message);
                if one.alerts.len() < MOST_NAMED {
                    one.alerts.push((event.fingerprint, event.labels.clone()));
                }
                return ControlFlow::Continue(());
            }
            close(open.take(), &mut found);
            if found.len() >= limit {
                return ControlFlow::Break(());
            }
            let one = ToldMessage {
                at: event.at,
                message: message.clone(),
                alerts: vec![(event.fingerprint, event.labels.clone())],
            };
            open = Some((one, is_match && filter.wants(message)));
            ControlFlow::Continue(())
        });
        close(open, &mut found);
        found.truncate(limit);
        found
    }

    /// What a silence of these matchers would mute now, and whether that may be more than is meant.
    ///
    /// # Errors
    /// [`SilenceError::Invalid`] where they are no matchers of a silence.
    pub fn preview_silence(&self, matchers: Vec<RawMatcher>) -> Result<Preview, SilenceError> {
        let now = self.now_ms();
        let request = SilenceRequest {
            matchers,
            ends_at: now,
            ..SilenceRequest::default()
        };
        let matchers = self.inner.silences.lock().checked(request, now)?.matchers;
        let firing: Vec<Labels> = {
            let state = self.inner.state.lock();
            let firing = state.store.iter().filter(|alert| !alert.is_resolved(now));
            firing.map(|alert| alert.labels.clone()).collect()
        };
        let reach: Vec<Reach> = matchers
            .iter()
            .map(|matcher| Reach {
                matcher: matcher.to_string(),
                matched: firing.iter().filter(|labels| matcher.matches_labels(labels)).count(),
                matches_absent: matcher.matches_empty(),
            })
            .collect();
        let mut fired = HashSet::new();
        self.inner.events.walk(|event| {
            if event.at < now - DAY_MS {
                return ControlFlow::Break(());
            }
            if event.what == Happening::Fired && matchers.iter().all(|m| m.matches_labels(&event.labels)) {
                fired.insert(event.fingerprint);
            }
            ControlFlow::Continue(())
        });
        let only_negative = matchers
            .iter()
            .all(|matcher| matches!(matcher.op(), MatchOp::NotEqual | MatchOp::NotRegex));
        let muted = self.alert_statuses(&AlertFilter {
            matchers,
            ..AlertFilter::default()
        });
        Ok(Preview {
            warnings: warnings(&reach, firing.len(), muted.len(), only_negative),
            firing: firing.len(),
            muted,
            fired_lately: fired.len(),
            reach,
        })
    }
}

impl ToldFilter {
    fn wants(&self, message: &Message) -> bool {
        (self.receiver.is_empty() || *message.receiver == *self.receiver)
            && self.outcome.is_none_or(|outcome| message.outcome == outcome)
    }
}

fn warnings(reach: &[Reach], firing: usize, muted: usize, only_negative: bool) -> Vec<String> {
    let mut all = Vec::new();
    if only_negative {
        all.push(
            "All matchers are negative: whatever they do not name is muted, also alerts that nobody has thought of."
                .to_owned(),
        );
    }
    // One that every alert fulfils says nothing; where few fire that may be chance.
    for one in reach {
        if one.matches_absent && one.matched == firing && firing > 0 && !only_negative {
            all.push(format!(
                "{} holds for every alert, also for those without that label: it narrows nothing down.",
                one.matcher
            ));
        }
    }
    if muted == firing && firing > 1 {
        all.push(format!("It would mute all {firing} alerts that fire now."));
    } else if muted * 2 >= firing && muted > 2 {
        all.push(format!(
            "It would mute {muted} of {firing} alerts that fire now, {}%.",
            muted * 100 / firing.max(1)
        ));
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reach(matched: usize, matches_absent: bool) -> Reach {
        Reach {
            matcher: "a=~\".*\"".to_owned(),
            matched,
            matches_absent,
        }
    }

    #[test]
    fn a_silence_that_mutes_much_is_warned_of() {
        let none: &[&str] = &[];
        let check = |reach: &[Reach], firing, muted, only_negative, expected: &[&str]| {
            let said = warnings(reach, firing, muted, only_negative);
            assert_eq!(said.len(), expected.len(), "{said:?}");
            for (said, part) in said.iter().zip(expected) {
                assert!(said.contains(part), "{said}");
            }
        };
        check(&[reach(1, false)], 10, 1, false, none);
        check(&[reach(1, false)], 1, 1, false, none);
        check(&[reach(1, false)], 2, 1, false, none);
        check(&[reach(4, false)], 9, 4, false, none);
        check(&[reach(5, false)], 9, 5, false, &["5 of 9 alerts that fire now, 55%"]);
        check(&[reach(9, false)], 9, 9, false, &["all 9"]);
        check(
            &[reach(9, true), reach(2, false)],
            9,
            2,
            false,
            &["narrows nothing down"],
        );
        check(&[reach(0, true)], 0, 0, false, none);
        check(&[reach(8, true)], 9, 8, true, &["All matchers are negative", "8 of 9"]);
    }
}
