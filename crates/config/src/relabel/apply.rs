//! Running relabel steps over a label set.

use cupola_model::{LabelsBuilder, is_valid_label_name, is_valid_legacy_label_name};

use super::{Action, RelabelConfig};
use crate::common::NameScheme;
use cupola_model::md5;

/// Runs the steps in order over `labels`. Returns whether the set is kept; where it is not, `labels` is left as it was
/// at the step that dropped it.
///
/// Pure; costs one join of the source labels and one regular expression a step.
pub fn relabel(steps: &[RelabelConfig], labels: &mut LabelsBuilder) -> bool {
    steps.iter().all(|step| step.apply(labels))
}

impl NameScheme {
    /// Whether `name` may name a label.
    #[must_use]
    pub fn is_valid_label_name(self, name: &str) -> bool {
        match self {
            Self::Utf8 => is_valid_label_name(name),
            Self::Legacy => is_valid_legacy_label_name(name),
        }
    }

    /// Whether `name` may name a metric.
    #[must_use]
    pub fn is_valid_metric_name(self, name: &str) -> bool {
        match self {
            Self::Utf8 => !name.is_empty(),
            Self::Legacy => cupola_model::is_valid_legacy_metric_name(name),
        }
    }
}

impl RelabelConfig {
    /// The joined values of the source labels.
    fn sources(&self, labels: &LabelsBuilder) -> String {
        let mut joined = String::new();
        for (i, name) in self.source_labels.iter().enumerate() {
            if i > 0 {
                joined.push_str(&self.separator);
            }
            joined.push_str(labels.get(name));
        }
        joined
    }

    fn apply(&self, labels: &mut LabelsBuilder) -> bool {
        let joined = self.sources(labels);
        match self.action {
            Action::Replace => self.replace(&joined, labels),
            Action::Keep => return self.regex.is_match(&joined),
            Action::Drop => return !self.regex.is_match(&joined),
            Action::KeepEqual => return labels.get(&self.target_label) == joined,
            Action::DropEqual => return labels.get(&self.target_label) != joined,
            Action::HashMod => {
                let [.., a, b, c, d, e, f, g, h] = md5(joined.as_bytes());
                let hash = u64::from_be_bytes([a, b, c, d, e, f, g, h]);
                labels.set(
                    &self.target_label,
                    &hash.checked_rem(self.modulus).unwrap_or(0).to_string(),
                );
            }
            Action::LabelMap => {
                let matching: Vec<(String, String)> = labels
                    .iter()
                    .filter(|(name, _)| self.regex.is_match(name))
                    .map(|(name, value)| (self.regex.replace_all(name, &self.replacement), value.to_owned()))
                    .collect();
                for (name, value) in matching.iter().filter(|(name, _)| !name.is_empty()) {
                    labels.set(name, value);
                }
            }
            Action::LabelDrop => {
                labels.retain(|name, _| !self.regex.is_match(name));
            }
            Action::LabelKeep => {
                labels.retain(|name, _| self.regex.is_match(name));
            }
            Action::Lowercase => {
                labels.set(&self.target_label, &joined.to_lowercase());
            }
            Action::Uppercase => {
                labels.set(&self.target_label, &joined.to_uppercase());
            }
        }
        true
    }

    fn replace(&self, joined: &str, labels: &mut LabelsBuilder) {
        // Most steps that set a constant have no sources, the default expression and no variable.
        let is_constant = !self.target_label.contains('$') && !self.replacement.contains('$');
        if joined.is_empty() && is_constant && self.regex.pattern() == super::DEFAULT_REGEX {
            labels.set(&self.target_label, &self.replacement);
            return;
        }
        let Some(captures) = self.regex.captures(joined) else {
            return;
        };
        let mut target = String::new();
        captures.expand(&self.target_label, &mut target);
        if !self.name_scheme.is_valid_label_name(&target) {
            return;
        }
        let mut value = String::new();
        captures.expand(&self.replacement, &mut value);
        labels.set(&target, &value);
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use cupola_model::Labels;

    use crate::parse_prometheus;

    #[track_caller]
    fn check(steps: &str, labels: &[(&str, &str)], expected: Option<&[(&str, &str)]>) {
        let text = format!("scrape_configs: [{{job_name: x, metric_relabel_configs: [{steps}]}}]");
        let config = parse_prometheus(&text, Path::new("p.yml")).unwrap();
        let mut builder = Labels::from_pairs(labels.iter().copied()).to_builder();
        let kept = super::relabel(&config.scrape_configs[0].metric_relabel_configs, &mut builder);
        let expected = expected.map(|pairs| Labels::from_pairs(pairs.iter().copied()));
        assert_eq!(kept.then(|| builder.build()), expected, "{steps}");
    }

    const ABC: &[(&str, &str)] = &[("a", "foo"), ("b", "bar"), ("c", "baz")];

    #[test]
    fn replace() {
        check(
            "{source_labels: [a], regex: 'f(.*)', target_label: d, replacement: 'ch${1}-ch${1}'}",
            ABC,
            Some(&[("a", "foo"), ("b", "bar"), ("c", "baz"), ("d", "choo-choo")]),
        );
        check(
            "{source_labels: [a, b], regex: 'f(.*);(.*)r', target_label: a, replacement: 'b${1}${2}m'}",
            ABC,
            Some(&[("a", "boobam"), ("b", "bar"), ("c", "baz")]),
        );
        check("{source_labels: [a], regex: nomatch, target_label: b}", ABC, Some(ABC));
        check("{source_labels: [a], regex: o, target_label: b}", ABC, Some(ABC));
        check(
            "{source_labels: [a], target_label: b, replacement: ''}",
            ABC,
            Some(&[("a", "foo"), ("c", "baz")]),
        );
        check(
            "{target_label: d, replacement: static}",
            &[("a", "1")],
            Some(&[("a", "1"), ("d", "static")]),
        );
        check(
            "{regex: , target_label: d, replacement: static}",
            &[("a", "1")],
            Some(&[("a", "1"), ("d", "static")]),
        );
        check(
            "{source_labels: [a], regex: , target_label: d, replacement: x}",
            &[("a", "1")],
            Some(&[("a", "1")]),
        );
        check(
            "{source_labels: [a], regex: '(f)(.*)', target_label: 'l_${2}', replacement: '$1'}",
            ABC,
            Some(&[("a", "foo"), ("b", "bar"), ("c", "baz"), ("l_oo", "f")]),
        );
        check(
            "{source_labels: [a], regex: '(x?)foo', target_label: '$1', replacement: y}",
            ABC,
            Some(ABC),
        );
        check(
            "{source_labels: [n], target_label: m}",
            &[("n", "a\nb")],
            Some(&[("m", "a\nb"), ("n", "a\nb")]),
        );
    }

    #[test]
    fn keep_and_drop() {
        check(
            "{source_labels: [a], regex: '.*o.*', action: drop}, {source_labels: [b], target_label: d}",
            ABC,
            None,
        );
        check("{source_labels: [a], regex: foo, action: keep}", ABC, Some(ABC));
        check("{source_labels: [a], regex: fo, action: Keep}", ABC, None);
        check("{source_labels: [missing], regex: '', action: keep}", ABC, Some(ABC));
        check(
            "{source_labels: [a], target_label: a, action: keepequal}",
            ABC,
            Some(ABC),
        );
        check("{source_labels: [a], target_label: b, action: keepequal}", ABC, None);
        check(
            "{source_labels: [a], target_label: b, action: dropequal}",
            ABC,
            Some(ABC),
        );
        check("{source_labels: [a], target_label: a, action: DROPEQUAL}", ABC, None);
    }

    #[test]
    fn hashmod_takes_the_last_eight_bytes_of_md5() {
        check(
            "{source_labels: [c], target_label: d, action: hashmod, modulus: 1000}",
            ABC,
            Some(&[("a", "foo"), ("b", "bar"), ("c", "baz"), ("d", "976")]),
        );
        check(
            "{source_labels: [a], target_label: d, action: hashmod, modulus: 1000}",
            &[("a", "foo\nbar")],
            Some(&[("a", "foo\nbar"), ("d", "734")]),
        );
    }

    #[test]
    fn names() {
        check(
            "{regex: '(b.*)', replacement: 'bar_${1}', action: labelmap}",
            &[("a", "foo"), ("b1", "bar"), ("b2", "baz")],
            Some(&[
                ("a", "foo"),
                ("b1", "bar"),
                ("b2", "baz"),
                ("bar_b1", "bar"),
                ("bar_b2", "baz"),
            ]),
        );
        check(
            "{regex: '__meta_(my.*)', replacement: '${1}', action: labelmap}",
            &[("__meta_my_bar", "aaa"), ("__meta_other", "c")],
            Some(&[("__meta_my_bar", "aaa"), ("__meta_other", "c"), ("my_bar", "aaa")]),
        );
        check(
            "{regex: '(b.*)', action: labeldrop}",
            ABC,
            Some(&[("a", "foo"), ("c", "baz")]),
        );
        check("{regex: '(b.*)', action: labelkeep}", ABC, Some(&[("b", "bar")]));
    }

    #[test]
    fn case() {
        check(
            "{source_labels: [foo], target_label: foo_u, action: uppercase}, {source_labels: [foo], target_label: foo_l, action: lowercase}",
            &[("foo", "bAr123Foo")],
            Some(&[("foo", "bAr123Foo"), ("foo_l", "bar123foo"), ("foo_u", "BAR123FOO")]),
        );
    }
}
