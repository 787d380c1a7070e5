//! Reading alertmanager.yml.

use std::collections::HashSet;
use std::path::Path;

use cupola_model::go_quote;

use super::globals::read_globals;
use super::marshal::marshal;
use super::receivers::read_receivers;
use super::route::{read_matchers, read_route_tree};
use super::{AlertmanagerConfig, InhibitRule, NamedTimeIntervals};
use crate::error::ConfigErrors;
use crate::files::{Files, read_text};
use crate::matchers::MatcherMode;
use crate::read::{Reader, Section};
use crate::redact::show;
use crate::time_interval::read_time_interval;
use crate::yaml::{Node, Pos};

/// Reads alertmanager.yml from a text; `path` is used in messages and to resolve relative paths.
///
/// # Errors
/// Every mistake in the text.
pub fn parse_alertmanager(text: &str, path: &Path, mode: MatcherMode) -> Result<AlertmanagerConfig, ConfigErrors> {
    let reader = Reader::new(path);
    let document = reader.document(text);
    let config = match document.root.as_deref().filter(|root| !root.is_null()) {
        Some(root) => {
            let section = reader.section(root, "config.plain");
            let config = read_config(&section, root, mode);
            section.finish();
            config
        }
        None => {
            if reader.is_clean() {
                reader.error(Pos::START, "no route provided in config");
            }
            None
        }
    };
    reader.result(config)
}

/// Reads alertmanager.yml.
///
/// # Errors
/// As [`parse_alertmanager`], or why the file cannot be read.
pub fn load_alertmanager(
    path: &Path,
    mode: MatcherMode,
    files: &dyn Files,
) -> Result<AlertmanagerConfig, ConfigErrors> {
    parse_alertmanager(&read_text(files, path)?, path, mode)
}

fn read_config(section: &Section<'_>, root: &Node, mode: MatcherMode) -> Option<AlertmanagerConfig> {
    let reader = section.reader;
    for name in ["tracing", "event_recorder"] {
        section.unsupported(name);
    }
    let globals = read_globals(
        section
            .get("global")
            .map_or_else(|| reader.no_section(), |node| reader.section(node, "config.plain")),
    );
    let templates = section
        .texts("templates")
        .iter()
        .map(|pattern| reader.resolve(pattern))
        .collect();
    let receivers = read_receivers(section, &globals);
    let inhibit_rules = section.items("inhibit_rules", "[]config.InhibitRule", "");
    let inhibit_rules = inhibit_rules
        .into_iter()
        .map(|node| read_inhibit_rule(reader, node, mode))
        .collect();
    let time_intervals = read_named_intervals(section);
    let route = match section.get("route") {
        Some(node) => {
            let receivers: HashSet<&str> = receivers.iter().map(|receiver| receiver.name.as_str()).collect();
            let intervals = time_intervals.iter().map(|interval| interval.name.as_str()).collect();
            read_route_tree(reader, node, mode, &receivers, &intervals)
        }
        None => {
            reader.error(section.pos, "no route provided in config");
            None
        }
    };
    let whole_text = marshal(root, &receivers, reader, mode);
    Some(AlertmanagerConfig {
        resolve_timeout: globals.resolve_timeout,
        templates,
        route: route?,
        receivers,
        inhibit_rules,
        time_intervals,
        warnings: reader.take_warnings(),
        not_yet: reader.take_not_yet(),
        shown_text: show(root, reader),
        whole_text,
    })
}

fn read_inhibit_rule(reader: &Reader<'_>, node: &Node, mode: MatcherMode) -> InhibitRule {
    let section = reader.section(node, "config.plain");
    let equal = section.texts("equal");
    for name in equal.iter().filter(|name| name.is_empty()) {
        section.error_at("equal", format!("invalid label name {} in equal list", go_quote(name)));
    }
    let rule = InhibitRule {
        name: section.text("name").unwrap_or_default(),
        source: read_matchers(&section, ["source_match", "source_match_re", "source_matchers"], mode),
        target: read_matchers(&section, ["target_match", "target_match_re", "target_matchers"], mode),
        equal,
    };
    section.finish();
    rule
}

fn read_named_intervals(section: &Section<'_>) -> Vec<NamedTimeIntervals> {
    let reader = section.reader;
    let mut all: Vec<NamedTimeIntervals> = Vec::new();
    for field in ["mute_time_intervals", "time_intervals"] {
        for node in section.items(field, "[]config.TimeInterval", "") {
            let named = reader.section(node, "config.plain");
            let name = named.text("name").unwrap_or_default();
            if name.is_empty() {
                let kind = if field == "time_intervals" {
                    "time interval"
                } else {
                    "mute time interval"
                };
                reader.error(node.pos, format!("missing name in {kind}"));
            } else if all.iter().any(|other| other.name == name) {
                named.error_at("name", format!("time interval {} is not unique", go_quote(&name)));
            }
            let intervals = named.items("time_intervals", "[]timeinterval.TimeInterval", "");
            let intervals = intervals
                .into_iter()
                .map(|node| read_time_interval(reader, node))
                .collect();
            named.finish();
            all.push(NamedTimeIntervals { name, intervals });
        }
    }
    if section.get("mute_time_intervals").is_some() {
        reader.warn(
            section.key_pos("mute_time_intervals"),
            "mute_time_intervals is deprecated, use time_intervals",
        );
    }
    all
}
