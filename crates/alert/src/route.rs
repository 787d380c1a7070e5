//! Which routes an alert takes, and which group it falls into.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use cupola_config::alertmanager::{GroupBy, Route};
use cupola_config::matchers::matcher_text;
use cupola_model::{Labels, Matcher};

/// A node of the routing tree, with all that groups need of it.
#[derive(Debug)]
pub(crate) struct Node {
    /// The matchers of all nodes down to it, as Alertmanager writes them in a group key: `{}/{team="a"}`.
    pub key: Arc<str>,
    pub receiver: Arc<str>,
    pub group_by: GroupBy,
    pub group_wait: Duration,
    pub group_interval: Duration,
    pub repeat_interval: Duration,
    pub mute: Arc<[String]>,
    pub active: Arc<[String]>,
    pub labels: Arc<BTreeMap<String, String>>,
    matchers: Vec<Matcher>,
    continue_matching: bool,
    children: Vec<usize>,
}

impl Node {
    /// The labels that decide which group of this route an alert belongs to.
    pub(crate) fn group_labels(&self, labels: &Labels) -> Labels {
        match &self.group_by {
            GroupBy::All => labels.clone(),
            GroupBy::Labels(names) => labels.keeping(names),
        }
    }
}

/// All routes.
#[derive(Debug)]
pub(crate) struct Tree {
    nodes: Vec<Node>,
}

impl Tree {
    pub(crate) fn new(root: &Route) -> Self {
        let mut tree = Self { nodes: Vec::new() };
        tree.add(root, "");
        tree
    }

    fn add(&mut self, route: &Route, parent: &str) -> usize {
        let own: Vec<String> = route.matchers.iter().map(matcher_text).collect();
        let slash = if self.nodes.is_empty() { "" } else { "/" };
        let key = format!("{parent}{slash}{{{}}}", own.join(","));
        let at = self.nodes.len();
        self.nodes.push(Node {
            key: key.as_str().into(),
            receiver: route.receiver.as_str().into(),
            group_by: route.group_by.clone(),
            group_wait: route.group_wait,
            group_interval: route.group_interval,
            repeat_interval: route.repeat_interval,
            mute: route.mute_time_intervals.clone().into(),
            active: route.active_time_intervals.clone().into(),
            labels: Arc::new(route.labels.clone()),
            matchers: route.matchers.clone(),
            continue_matching: route.continue_matching,
            children: Vec::new(),
        });
        let children: Vec<usize> = route.routes.iter().map(|child| self.add(child, &key)).collect();
        if let Some(node) = self.nodes.get_mut(at) {
            node.children = children;
        }
        at
    }

    pub(crate) fn node(&self, at: usize) -> Option<&Node> {
        self.nodes.get(at)
    }

    /// The places of the nodes that `labels` takes, in the tree's order; at least one, as the root matches everything.
    pub(crate) fn taken(&self, labels: &Labels) -> Vec<usize> {
        let mut out = Vec::with_capacity(1);
        self.walk(0, labels, &mut out);
        out
    }

    fn walk(&self, at: usize, labels: &Labels, out: &mut Vec<usize>) -> bool {
        let Some(node) = self.nodes.get(at) else { return false };
        if !node.matchers.iter().all(|m| m.matches_labels(labels)) {
            return false;
        }
        let before = out.len();
        for child in &node.children {
            let continues = self.nodes.get(*child).is_some_and(|c| c.continue_matching);
            if self.walk(*child, labels, out) && !continues {
                break;
            }
        }
        if out.len() == before {
            out.push(at);
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use cupola_config::matchers::MatcherMode;
    use cupola_config::parse_alertmanager;
    use std::path::Path;

    fn root(yaml: &str) -> Route {
        parse_alertmanager(yaml, Path::new("alertmanager.yml"), MatcherMode::Fallback)
            .unwrap()
            .route
    }

    const TREE: &str = r#"
route:
  receiver: default
  group_by: [alertname]
  routes:
  - matchers: [team="a"]
    receiver: a
    continue: true
    routes:
    - matchers: [severity="critical"]
      receiver: pager
  - matchers: [team=~"a|b"]
    receiver: ab
receivers: [{name: default}, {name: a}, {name: pager}, {name: ab}]
"#;

    #[track_caller]
    fn check(labels: &[(&str, &str)], expected: &[(&str, &str)]) {
        let tree = Tree::new(&root(TREE));
        let taken = tree.taken(&Labels::from_pairs(labels.iter().copied()));
        let nodes = taken.iter().map(|at| tree.node(*at).unwrap());
        let got: Vec<_> = nodes.map(|n| (&*n.receiver, &*n.key)).collect();
        assert_eq!(got, expected);
    }

    #[test]
    fn the_deepest_match_wins_and_continue_goes_on() {
        check(&[("team", "c")], &[("default", "{}")]);
        check(&[("team", "b")], &[("ab", r#"{}/{team=~"a|b"}"#)]);
        check(
            &[("team", "a")],
            &[("a", r#"{}/{team="a"}"#), ("ab", r#"{}/{team=~"a|b"}"#)],
        );
        check(
            &[("team", "a"), ("severity", "critical")],
            &[
                ("pager", r#"{}/{team="a"}/{severity="critical"}"#),
                ("ab", r#"{}/{team=~"a|b"}"#),
            ],
        );
    }

    #[test]
    fn shared_routing_cases() {
        let Some(dir) = cupola_testkit::conformance_dir("alertmanager/routing") else {
            return;
        };
        let text = std::fs::read_to_string(dir.join("cases.json")).unwrap();
        let all: serde_json::Value = serde_json::from_str(&text).unwrap();
        let mut checked = 0;
        for case in all["cases"].as_array().unwrap() {
            let config = &all["configs"][case["config"].as_str().unwrap()];
            let yaml = config.as_str().map_or_else(|| config.to_string(), str::to_owned);
            let tree = Tree::new(&root(&yaml));
            let labels: Labels = case["labels"]
                .as_object()
                .unwrap()
                .iter()
                .map(|(n, v)| (n, v.as_str().unwrap()))
                .collect();
            let taken = tree.taken(&labels);
            let got: Vec<String> = taken
                .iter()
                .map(|at| tree.node(*at).unwrap().receiver.to_string())
                .collect();
            let want: Vec<_> = case["receivers"]
                .as_array()
                .unwrap()
                .iter()
                .map(|r| r.as_str().unwrap().to_owned())
                .collect();
            assert_eq!(got, want, "{case}");
            checked += 1;
        }
        assert!(checked >= 15, "only {checked} cases");
    }
}
