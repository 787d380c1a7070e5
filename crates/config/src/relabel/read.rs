//! Reading and checking relabel steps.

use cupola_goregex::Regex;
use cupola_model::go_quote;

use super::{Action, DEFAULT_REGEX, DEFAULT_REPLACEMENT, DEFAULT_SEPARATOR, RelabelConfig};
use crate::common::NameScheme;
use crate::read::{Reader, Section};
use crate::yaml::Node;

/// Reads a list of steps; `empty` is the error for an item that is null. Steps with mistakes are left out.
pub(crate) fn read_relabel_configs(
    section: &Section<'_>,
    name: &'static str,
    empty: &str,
    scheme: NameScheme,
) -> Vec<RelabelConfig> {
    let items = section.items(name, "[]*relabel.Config", empty);
    items
        .into_iter()
        .filter_map(|node| read_step(section.reader, node, scheme))
        .collect()
}

fn read_step(reader: &Reader<'_>, node: &Node, name_scheme: NameScheme) -> Option<RelabelConfig> {
    let section = reader.section(node, "relabel.plain");
    let action = match section.text("action") {
        Some(name) => read_action(&section, &name),
        None => Some(Action::Replace),
    };
    let regex = match section.get_or_null("regex") {
        None => DEFAULT_REGEX.to_owned(),
        // A null is the empty expression here, not the default: upstream's own configurations rely on it.
        Some(node) => reader.text(node).unwrap_or_default(),
    };
    let compiled = Regex::anchored_text(&regex)
        .map_err(|error| section.error_at("regex", error.to_string()))
        .ok();
    let source_labels = section.texts("source_labels");
    for name in source_labels.iter().filter(|name| name.is_empty()) {
        section.error_at("source_labels", format!("{} is not a valid label name", go_quote(name)));
    }
    let separator = section.text("separator");
    let modulus = section.count("modulus").unwrap_or(0);
    let target_label = section.text("target_label").unwrap_or_default();
    let replacement = section.text("replacement");
    let config = match (action, compiled) {
        (Some(action), Some(regex)) => Some(RelabelConfig {
            source_labels,
            separator: separator.unwrap_or_else(|| DEFAULT_SEPARATOR.to_owned()),
            regex,
            modulus,
            target_label,
            replacement: replacement.unwrap_or_else(|| DEFAULT_REPLACEMENT.to_owned()),
            action,
            name_scheme,
        }),
        _ => None,
    };
    if let Some(config) = &config {
        config.check(&section);
    }
    section.finish();
    config
}

fn read_action(section: &Section<'_>, name: &str) -> Option<Action> {
    use Action::{
        Drop, DropEqual, HashMod, Keep, KeepEqual, LabelDrop, LabelKeep, LabelMap, Lowercase, Replace, Uppercase,
    };
    let lower = name.to_lowercase();
    let all = [
        Replace, Keep, Drop, KeepEqual, DropEqual, HashMod, LabelMap, LabelDrop, LabelKeep, Lowercase, Uppercase,
    ];
    let action = all.into_iter().find(|action| action.as_str() == lower);
    if action.is_none() {
        let names: Vec<&str> = all.iter().map(|action| action.as_str()).collect();
        let message = format!("unknown relabel action {}", go_quote(name));
        section.reader.error_hint(
            section.key_pos("action"),
            message,
            format!("one of {}", names.join(", ")),
        );
    }
    action
}

impl RelabelConfig {
    /// The checks of upstream's `Config.Validate`.
    fn check(&self, section: &Section<'_>) {
        use Action::{
            DropEqual, HashMod, Keep, KeepEqual, LabelDrop, LabelKeep, LabelMap, Lowercase, Replace, Uppercase,
        };
        let action = self.action.as_str();
        let target_is_valid = self.name_scheme.is_valid_label_name(&self.target_label);
        let template_is_valid = |template: &str| match self.name_scheme {
            NameScheme::Utf8 => !template.is_empty(),
            NameScheme::Legacy => is_legacy_name_template(template),
        };
        if self.action == HashMod && self.modulus == 0 {
            section.error_at("action", "relabel configuration for hashmod requires non-zero modulus");
        }
        match self.action {
            Replace | HashMod | Lowercase | Uppercase | KeepEqual | DropEqual if self.target_label.is_empty() => {
                let message = format!("relabel configuration for {action} action requires 'target_label' value");
                section.error_at("target_label", message);
            }
            Replace if self.target_label.contains('$') && template_is_valid(&self.target_label) => {}
            Replace | HashMod | Lowercase | Uppercase | KeepEqual | DropEqual if !target_is_valid => {
                let target = go_quote(&self.target_label);
                section.error_at(
                    "target_label",
                    format!("{target} is invalid 'target_label' for {action} action"),
                );
            }
            LabelMap if !template_is_valid(&self.replacement) => {
                let replacement = go_quote(&self.replacement);
                section.error_at(
                    "replacement",
                    format!("{replacement} is invalid 'replacement' for {action} action"),
                );
            }
            Action::Drop
            | Keep
            | Replace
            | HashMod
            | LabelMap
            | Lowercase
            | Uppercase
            | KeepEqual
            | DropEqual
            | LabelDrop
            | LabelKeep => {}
        }
        let has_default_texts = self.separator == DEFAULT_SEPARATOR && self.replacement == DEFAULT_REPLACEMENT;
        let has_defaults = has_default_texts && self.modulus == 0;
        match self.action {
            Lowercase | Uppercase if self.replacement != DEFAULT_REPLACEMENT => {
                section.error_at(
                    "replacement",
                    format!("'replacement' can not be set for {action} action"),
                );
            }
            KeepEqual | DropEqual if !has_defaults || self.regex.pattern() != DEFAULT_REGEX => {
                let message =
                    format!("{action} action requires only 'source_labels' and `target_label`, and no other fields");
                section.error_at("action", message);
            }
            LabelDrop | LabelKeep
                if !has_defaults || !self.target_label.is_empty() || !self.source_labels.is_empty() =>
            {
                section.error_at(
                    "action",
                    format!("{action} action requires only 'regex', and no other fields"),
                );
            }
            _ => {}
        }
    }
}

/// A legacy label name in which `$name` and `${name}` may stand.
fn is_legacy_name_template(template: &str) -> bool {
    let word = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let mut rest = template;
    let mut is_start = true;
    while let Some(c) = rest.chars().next() {
        if c == '$' {
            let after = &rest[1..];
            rest = if let Some(inner) = after.strip_prefix('{') {
                let Some((name, after)) = inner.split_once('}') else {
                    return false;
                };
                if name.is_empty() || !name.chars().all(word) {
                    return false;
                }
                after
            } else {
                let len = after.find(|c| !word(c)).unwrap_or(after.len());
                if len == 0 {
                    return false;
                }
                after.get(len..).unwrap_or("")
            };
        } else if word(c) && !(is_start && c.is_ascii_digit()) {
            rest = &rest[1..];
        } else {
            return false;
        }
        is_start = false;
    }
    !template.is_empty()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn legacy_targets_may_hold_variables() {
        for text in ["label_${1}", "${1}_x", "$1", "a$1b", "__meta_$name"] {
            assert!(is_legacy_name_template(text), "{text}");
        }
        for text in ["", "$", "${", "${}", "a-${1}", "1$1", "a.b"] {
            assert!(!is_legacy_name_template(text), "{text}");
        }
    }
}
