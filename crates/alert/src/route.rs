//! Which routes an alert takes, and which group it falls into.

use cupola_config::alertmanager::{GroupBy, Route};
use cupola_model::Labels;

/// A node of the routing tree, by its place: the indexes of children from the root down.
pub(crate) type RouteId = Vec<usize>;

/// A route with its place and its key.
#[derive(Debug, Clone)]
pub(crate) struct Taken<'a> {
    pub id: RouteId,
    /// The matchers of all nodes down to it, as Alertmanager writes them in a group key: `{}/{team="a"}`.
    pub key: String,
    pub route: &'a Route,
}

/// The routes that `labels` takes, in the tree's order; at least one, as the root matches everything.
pub(crate) fn taken<'a>(root: &'a Route, labels: &Labels) -> Vec<Taken<'a>> {
    let mut out = Vec::new();
    walk(root, labels, &mut Vec::new(), String::new(), &mut out);
    out
}

fn walk<'a>(route: &'a Route, labels: &Labels, id: &mut RouteId, parent: String, out: &mut Vec<Taken<'a>>) -> bool {
    if !route.matchers.iter().all(|m| m.matches_labels(labels)) {
        return false;
    }
    let own: Vec<String> = route.matchers.iter().map(ToString::to_string).collect();
    let slash = if id.is_empty() { "" } else { "/" };
    let key = format!("{parent}{slash}{{{}}}", own.join(","));
    let before = out.len();
    for (index, child) in route.routes.iter().enumerate() {
        id.push(index);
        let matched = walk(child, labels, id, key.clone(), out);
        id.pop();
        if matched && !child.continue_matching {
            break;
        }
    }
    if out.len() == before {
        out.push(Taken {
            id: id.clone(),
            key,
            route,
        });
    }
    true
}

/// The labels that decide which group of `route` an alert belongs to.
pub(crate) fn group_labels(route: &Route, labels: &Labels) -> Labels {
    match &route.group_by {
        GroupBy::All => labels.clone(),
        GroupBy::Labels(names) => labels.keeping(names),
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
        let root = root(TREE);
        let taken = taken(&root, &Labels::from_pairs(labels.iter().copied()));
        let got: Vec<_> = taken
            .iter()
            .map(|t| (t.route.receiver.as_str(), t.key.as_str()))
            .collect();
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
            let root = root(&yaml);
            let labels: Labels = case["labels"]
                .as_object()
                .unwrap()
                .iter()
                .map(|(n, v)| (n, v.as_str().unwrap()))
                .collect();
            let got: Vec<_> = taken(&root, &labels).iter().map(|t| t.route.receiver.clone()).collect();
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
