//! Reading the routing tree: own values, inherited values, references.

use std::collections::{BTreeMap, HashSet};
use std::time::Duration;

use cupola_model::{MatchOp, Matcher, go_quote};

use super::{GroupBy, Route};
use crate::matchers::{MatcherMode, parse_matchers};
use crate::read::{Reader, Section};
use crate::yaml::Node;

/// Reads the tree. `None` where the root lacks what everything inherits; that has been reported then.
pub(super) fn read_route_tree(
    reader: &Reader<'_>,
    node: &Node,
    mode: MatcherMode,
    receivers: &HashSet<&str>,
    intervals: &HashSet<&str>,
) -> Option<Route> {
    let defaults = Route {
        receiver: String::new(),
        group_by: GroupBy::Labels(Vec::new()),
        matchers: Vec::new(),
        continue_matching: false,
        group_wait: Duration::from_secs(30),
        group_interval: Duration::from_secs(5 * 60),
        repeat_interval: Duration::from_secs(4 * 3600),
        mute_time_intervals: Vec::new(),
        active_time_intervals: Vec::new(),
        labels: BTreeMap::new(),
        routes: Vec::new(),
    };
    let tree = Tree {
        reader,
        mode,
        receivers,
        intervals,
    };
    let root = tree.route(node, &defaults, true);
    (!root.receiver.is_empty()).then_some(root)
}

struct Tree<'t> {
    reader: &'t Reader<'t>,
    mode: MatcherMode,
    receivers: &'t HashSet<&'t str>,
    intervals: &'t HashSet<&'t str>,
}

impl Tree<'_> {
    fn route(&self, node: &Node, parent: &Route, is_root: bool) -> Route {
        let section = self.reader.section(node, "config.plain");
        let receiver = section.filled_text("receiver");
        match &receiver {
            None if is_root => self
                .reader
                .error(section.pos, "root route must specify a default receiver"),
            Some(name) if !self.receivers.contains(name.as_str()) => {
                section.error_at(
                    "receiver",
                    format!("undefined receiver {} used in route", go_quote(name)),
                );
            }
            _ => {}
        }
        let labels = section
            .get("labels")
            .map(|node| self.reader.text_map(node))
            .unwrap_or_default();
        let mut route = Route {
            receiver: receiver.unwrap_or_else(|| parent.receiver.clone()),
            group_by: self.group_by(&section).unwrap_or_else(|| parent.group_by.clone()),
            matchers: read_matchers(&section, ["match", "match_re", "matchers"], self.mode),
            continue_matching: section.bool("continue").unwrap_or(false),
            group_wait: section.duration("group_wait").unwrap_or(parent.group_wait),
            group_interval: nonzero(&section, "group_interval").unwrap_or(parent.group_interval),
            repeat_interval: nonzero(&section, "repeat_interval").unwrap_or(parent.repeat_interval),
            mute_time_intervals: self.references(&section, "mute_time_intervals"),
            active_time_intervals: self.references(&section, "active_time_intervals"),
            labels: parent.labels.clone().into_iter().chain(labels).collect(),
            routes: Vec::new(),
        };
        if is_root {
            check_root(&section, &route);
        }
        let children = section.items("routes", "[]*config.Route", "empty or null route");
        route.routes = children
            .into_iter()
            .map(|node| self.route(node, &route, false))
            .collect();
        section.finish();
        route
    }

    // `None` where the parent's holds: also for an empty list, as in Alertmanager.
    fn group_by(&self, section: &Section<'_>) -> Option<GroupBy> {
        let node = section.get("group_by")?;
        let mut labels: Vec<String> = Vec::new();
        let mut is_all = false;
        for item in self.reader.items(node, "[]string", "") {
            let Some(label) = self.reader.text(item) else { continue };
            if label == "..." {
                is_all = true;
            } else if label.is_empty() {
                self.reader.error(
                    item.pos,
                    format!("invalid label name {} in group_by list", go_quote(&label)),
                );
            } else if labels.contains(&label) {
                self.reader
                    .error(item.pos, format!("duplicated label {} in group_by", go_quote(&label)));
            } else {
                labels.push(label);
            }
        }
        if is_all && !labels.is_empty() {
            let message = "cannot have wildcard group_by (`...`) and other labels at the same time";
            self.reader.error(node.pos, message);
        }
        labels.sort();
        match (is_all, labels.is_empty()) {
            (true, _) => Some(GroupBy::All),
            (false, true) => None,
            (false, false) => Some(GroupBy::Labels(labels)),
        }
    }

    fn references(&self, section: &Section<'_>, field: &'static str) -> Vec<String> {
        let mut names = Vec::new();
        for item in section.items(field, "[]string", "") {
            let Some(name) = self.reader.text(item) else { continue };
            if !self.intervals.contains(name.as_str()) {
                self.reader.error(
                    item.pos,
                    format!("undefined time interval {} used in route", go_quote(&name)),
                );
            }
            names.push(name);
        }
        names
    }
}

fn nonzero(section: &Section<'_>, name: &'static str) -> Option<Duration> {
    let duration = section.duration(name)?;
    if duration.is_zero() {
        section.error_at(name, format!("{name} cannot be zero"));
    }
    Some(duration)
}

fn check_root(section: &Section<'_>, route: &Route) {
    if !route.matchers.is_empty() {
        section
            .reader
            .error(section.pos, "root route must not have any matchers");
    }
    if route.continue_matching {
        section.error_at("continue", "cannot have continue in root route");
    }
    if !route.mute_time_intervals.is_empty() {
        section.error_at(
            "mute_time_intervals",
            "root route must not have any mute time intervals",
        );
    }
    if !route.active_time_intervals.is_empty() {
        section.error_at(
            "active_time_intervals",
            "root route must not have any active time intervals",
        );
    }
}

/// Reads the three spellings of matchers (equal, regular expression, list of texts) into one sorted list.
pub(super) fn read_matchers(section: &Section<'_>, fields: [&'static str; 3], mode: MatcherMode) -> Vec<Matcher> {
    let reader = section.reader;
    let [equal, regex, list] = fields;
    let mut matchers = Vec::new();
    for entry in section
        .get(equal)
        .map_or(&[][..], |node| reader.entries(node, "map[string]string"))
    {
        check_label_name(reader, entry.key_pos, &entry.key);
        if let Some(value) = reader.text(&entry.value) {
            matchers.push(Matcher::equal(entry.key.as_str(), value));
        }
    }
    for entry in section
        .get(regex)
        .map_or(&[][..], |node| reader.entries(node, "map[string]string"))
    {
        check_label_name(reader, entry.key_pos, &entry.key);
        if entry.value.is_null() {
            reader.error(
                entry.key_pos,
                format!("invalid regexp value for {}", go_quote(&entry.key)),
            );
            continue;
        }
        let Some(value) = reader.text(&entry.value) else {
            continue;
        };
        // Alertmanager hands the anchored expression on, which is seen in the keys of groups.
        let anchored = format!("^(?:{value})$");
        let read = Matcher::new_no_newline(entry.key.as_str(), MatchOp::Regex, value)
            .and_then(|_| Matcher::new_no_newline(entry.key.as_str(), MatchOp::Regex, anchored));
        match read {
            Ok(matcher) => matchers.push(matcher),
            Err(error) => reader.error(entry.value.pos, error.to_string()),
        }
    }
    for item in section.items(list, "[]string", "") {
        let Some(text) = reader.text(item) else { continue };
        match parse_matchers(&text, mode) {
            Ok(parsed) => {
                matchers.extend(parsed.matchers);
                if let Some(warning) = parsed.warning {
                    reader.warn(item.pos, warning);
                }
            }
            Err(error) => reader.error(item.pos, error.to_string()),
        }
    }
    matchers.sort_by(|a, b| (a.name(), a.value(), a.op()).cmp(&(b.name(), b.value(), b.op())));
    matchers
}

fn check_label_name(reader: &Reader<'_>, pos: crate::yaml::Pos, name: &str) {
    if name.is_empty() {
        reader.error(pos, format!("invalid label name {}", go_quote(name)));
    }
}
