//! Alerts that mute others (Alertmanager 0.34).

use std::collections::{HashMap, HashSet};

use cupola_config::alertmanager::InhibitRule;
use cupola_model::Labels;

// Fingerprints of sources by the values of the rule's `equal` labels.
type Sources<'a> = HashMap<Vec<&'a str>, HashSet<u64>>;

/// The sources of every rule among the alerts that fire now, by the values of the rule's `equal` labels.
pub(crate) struct Inhibitor<'a> {
    rules: Vec<(&'a InhibitRule, Sources<'a>)>,
}

fn equal_key<'l>(rule: &InhibitRule, labels: &'l Labels) -> Vec<&'l str> {
    rule.equal.iter().map(|name| labels.value(name)).collect()
}

impl<'a> Inhibitor<'a> {
    pub(crate) fn new(rules: &'a [InhibitRule], firing: impl Iterator<Item = &'a Labels> + Clone) -> Self {
        let indexed = rules.iter().map(|rule| {
            let mut sources = Sources::new();
            for labels in firing
                .clone()
                .filter(|l| rule.source.iter().all(|m| m.matches_labels(l)))
            {
                // A source that is a target, too, mutes only those that are no sources; see `inhibits`.
                sources
                    .entry(equal_key(rule, labels))
                    .or_default()
                    .insert(labels.fingerprint());
            }
            (rule, sources)
        });
        Self {
            rules: indexed.collect(),
        }
    }

    /// Whether some firing alert mutes one with these labels. `sources` resolves fingerprints.
    pub(crate) fn inhibits(&self, labels: &Labels, sources: impl Fn(u64) -> Option<Labels>) -> bool {
        let own = labels.fingerprint();
        self.rules.iter().any(|(rule, by_key)| {
            if !rule.target.iter().all(|m| m.matches_labels(labels)) {
                return false;
            }
            let Some(found) = by_key.get(&equal_key(rule, labels)) else {
                return false;
            };
            // Two alerts that match both sides must not mute each other.
            let two_sided = rule.source.iter().all(|m| m.matches_labels(labels));
            found.iter().any(|source| {
                let both = || sources(*source).is_some_and(|l| rule.target.iter().all(|m| m.matches_labels(&l)));
                *source != own && !(two_sided && both())
            })
        })
    }
}
