//! Alerts that mute others (Alertmanager 0.34), indexed: a look costs the same whatever the number of alerts.

use std::collections::{BTreeSet, HashMap};
use std::hash::{BuildHasher as _, Hasher as _, RandomState};

use cupola_config::alertmanager::InhibitRule;
use cupola_model::Labels;

// The sources of a rule that agree in its `equal` labels. Those that are targets, too, mute only alerts that are no
// sources: else two such would mute each other.
#[derive(Debug, Default)]
struct Sources {
    only_sources: BTreeSet<u64>,
    also_targets: BTreeSet<u64>,
}

#[derive(Debug)]
struct Rule {
    rule: InhibitRule,
    by_key: HashMap<u64, Sources>,
}

/// Every rule with the alerts that are its sources.
#[derive(Debug)]
pub(crate) struct Inhibitor {
    rules: Vec<Rule>,
    hasher: RandomState,
}

fn all_match(matchers: &[cupola_model::Matcher], labels: &Labels) -> bool {
    matchers.iter().all(|m| m.matches_labels(labels))
}

impl Inhibitor {
    pub(crate) fn new(rules: &[InhibitRule]) -> Self {
        // Of a rule without any condition every alert is source and target, so it mutes nothing.
        let used = rules.iter().filter(|r| !(r.source.is_empty() && r.target.is_empty()));
        let rules = used.map(|rule| Rule {
            rule: rule.clone(),
            by_key: HashMap::new(),
        });
        Self {
            rules: rules.collect(),
            hasher: RandomState::new(),
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.rules.is_empty()
    }

    fn key(&self, rule: &InhibitRule, labels: &Labels) -> u64 {
        let mut hasher = self.hasher.build_hasher();
        for name in &rule.equal {
            hasher.write(labels.value(name).as_bytes());
            hasher.write_u8(0xff);
        }
        hasher.finish()
    }

    /// An alert fires.
    pub(crate) fn insert(&mut self, fingerprint: u64, labels: &Labels) {
        for at in 0..self.rules.len() {
            let Some(rule) = self.rules.get(at).filter(|r| all_match(&r.rule.source, labels)) else {
                continue;
            };
            let key = self.key(&rule.rule, labels);
            let is_target = all_match(&rule.rule.target, labels);
            if let Some(rule) = self.rules.get_mut(at) {
                let sources = rule.by_key.entry(key).or_default();
                let set = if is_target {
                    &mut sources.also_targets
                } else {
                    &mut sources.only_sources
                };
                set.insert(fingerprint);
            }
        }
    }

    /// An alert is over, or forgotten.
    pub(crate) fn remove(&mut self, fingerprint: u64, labels: &Labels) {
        for at in 0..self.rules.len() {
            let Some(rule) = self.rules.get(at).filter(|r| all_match(&r.rule.source, labels)) else {
                continue;
            };
            let key = self.key(&rule.rule, labels);
            if let Some(rule) = self.rules.get_mut(at)
                && let Some(sources) = rule.by_key.get_mut(&key)
            {
                sources.only_sources.remove(&fingerprint);
                sources.also_targets.remove(&fingerprint);
                if sources.only_sources.is_empty() && sources.also_targets.is_empty() {
                    rule.by_key.remove(&key);
                }
            }
        }
    }

    /// The alert that mutes one with these labels, and the name of the rule, which may be empty: of the first rule that
    /// does, the source with the lowest fingerprint. `source` returns the labels of an alert that fires now.
    pub(crate) fn inhibiting<'a>(
        &self,
        own: u64,
        labels: &Labels,
        source: impl Fn(u64) -> Option<&'a Labels>,
    ) -> Option<(u64, &str)> {
        self.rules.iter().find_map(|Rule { rule, by_key }| {
            if by_key.is_empty() || !all_match(&rule.target, labels) {
                return None;
            }
            let sources = by_key.get(&self.key(rule, labels))?;
            // The key is a hash, so the values are looked at once more.
            let agrees = |other: &Labels| rule.equal.iter().all(|name| other.value(name) == labels.value(name));
            let counts = |id: &&u64| **id != own && source(**id).is_some_and(agrees);
            let found = sources.only_sources.iter().find(counts);
            let found = match found {
                None if !all_match(&rule.source, labels) => sources.also_targets.iter().find(counts),
                found => found,
            };
            found.map(|id| (*id, rule.name.as_str()))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use cupola_config::matchers::MatcherMode;
    use cupola_config::parse_alertmanager;

    fn rules(yaml: &str) -> Vec<InhibitRule> {
        let indented = yaml.lines().map(|l| format!("  {l}\n")).collect::<String>();
        let text = format!("route: {{receiver: r}}\nreceivers: [{{name: r}}]\ninhibit_rules:\n{indented}");
        parse_alertmanager(&text, std::path::Path::new("a.yml"), MatcherMode::Fallback)
            .unwrap()
            .inhibit_rules
    }

    #[test]
    fn shared_inhibition_cases() {
        let Some(dir) = cupola_testkit::conformance_dir("alertmanager/inhibition") else {
            return;
        };
        let text = std::fs::read_to_string(dir.join("cases.json")).unwrap();
        let all: serde_json::Value = serde_json::from_str(&text).unwrap();
        let labels = |json: &serde_json::Value| -> Labels {
            let pairs = json.as_object().unwrap().iter();
            pairs
                .filter(|(n, _)| *n != "__resolved")
                .map(|(n, v)| (n.clone(), v.as_str().unwrap().to_owned()))
                .collect()
        };
        let mut checked = 0;
        for case in all["cases"].as_array().unwrap() {
            let mut inhibitor = Inhibitor::new(&rules(case["inhibit_rules"].as_str().unwrap()));
            let mut firing = HashMap::new();
            for alert in case["alerts"].as_array().unwrap() {
                let own = labels(alert);
                if alert.get("__resolved").is_none() {
                    inhibitor.insert(own.fingerprint(), &own);
                    firing.insert(own.fingerprint(), own);
                }
            }
            for result in case["result"].as_array().unwrap() {
                let own = labels(&result["labels"]);
                let found = inhibitor.inhibiting(own.fingerprint(), &own, |id| firing.get(&id));
                let by: Vec<Labels> = result["inhibited_by"].as_array().unwrap().iter().map(labels).collect();
                assert_eq!(found.is_some(), !by.is_empty(), "{case}: {own}");
                // Any alert mutes that one; which, is left to chance there.
                let is_one = by.len() == 1 && own.value("alertname") != "InfoInhibitor";
                if let (Some((id, _)), true) = (found, is_one) {
                    assert_eq!(firing.get(&id), by.first(), "{case}: {own}");
                }
                checked += 1;
            }
        }
        assert!(checked >= 15, "only {checked} results");
    }

    // Alertmanager #5162: an index that keeps one source for each key loses the others.
    #[test]
    fn one_source_that_goes_leaves_the_others() {
        let mut inhibitor = Inhibitor::new(&rules(
            "- {source_matchers: [s=1], target_matchers: [t=1], equal: [dc]}",
        ));
        let source = |name: &str| Labels::from_pairs([("alertname", name), ("s", "1"), ("dc", "x")]);
        let two_sided = Labels::from_pairs([("alertname", "both"), ("s", "1"), ("t", "1"), ("dc", "x")]);
        let (a, b) = (source("a"), source("b"));
        let known: HashMap<u64, Labels> = [&a, &b, &two_sided].map(|l| (l.fingerprint(), l.clone())).into();
        for labels in known.values() {
            inhibitor.insert(labels.fingerprint(), labels);
        }
        let of = |inhibitor: &Inhibitor, labels: &Labels| {
            let found = inhibitor.inhibiting(labels.fingerprint(), labels, |id| known.get(&id));
            found.map(|(id, _)| known[&id].value("alertname").to_owned())
        };
        let target = Labels::from_pairs([("alertname", "t"), ("t", "1"), ("dc", "x")]);
        assert!(of(&inhibitor, &target).is_some());
        inhibitor.remove(a.fingerprint(), &a);
        assert_eq!(of(&inhibitor, &two_sided).as_deref(), Some("b"));
        inhibitor.remove(b.fingerprint(), &b);
        assert_eq!(of(&inhibitor, &two_sided), None, "it does not mute itself");
        assert_eq!(of(&inhibitor, &target).as_deref(), Some("both"));
        inhibitor.remove(two_sided.fingerprint(), &two_sided);
        assert_eq!(of(&inhibitor, &target), None);
    }
}
