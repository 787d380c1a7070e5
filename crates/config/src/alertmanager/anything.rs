//! Parts of alertmanager.yml whose shape is their user's own: PagerDuty's `details`, Jira's `fields`, a webhook's
//! `payload`. Their texts are templates, and what a template gives is read as YAML again, so that it can be a number, a
//! list or a map (Alertmanager: `template.DeepCopyWithTemplate`).

use std::collections::BTreeMap;

use crate::yaml::{self, Node, Value};

/// A value of any shape.
#[derive(Debug, Clone, PartialEq)]
pub enum Anything {
    /// `null`, or nothing.
    Null,
    /// Yes or no.
    Bool(bool),
    /// A whole number.
    Int(i64),
    /// Another number; always finite.
    Float(f64),
    /// A text.
    Text(String),
    /// A list.
    List(Vec<Anything>),
    /// A map.
    Map(BTreeMap<String, Anything>),
}

// Floats are finite, so each value equals itself.
impl Eq for Anything {}

// Aliases can stand for millions of nodes, and such a text may come from an alert.
const MAX_NODES: usize = 500_000;

impl Anything {
    /// Reads a text as YAML 1.1, as Go does. `None` where it is no YAML, or says too much.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let document = yaml::parse(text).ok()?;
        if !document.problems.is_empty() {
            return None;
        }
        document.root.map_or(Some(Self::Null), |root| Self::of(&root))
    }

    pub(crate) fn of(node: &Node) -> Option<Self> {
        let mut left = MAX_NODES;
        Self::read(node, &mut left)
    }

    fn read(node: &Node, left: &mut usize) -> Option<Self> {
        *left = left.checked_sub(1)?;
        Some(match &node.value {
            Value::Seq(items) => {
                let items: Option<Vec<Self>> = items.iter().map(|item| Self::read(item, left)).collect();
                Self::List(items?)
            }
            Value::Map(entries) => {
                let mut map = BTreeMap::new();
                for entry in entries {
                    map.insert(entry.key.clone(), Self::read(&entry.value, left)?);
                }
                Self::Map(map)
            }
            Value::Scalar(_) if node.is_null() => Self::Null,
            Value::Scalar(scalar) if scalar.is_text => Self::Text(scalar.text.clone()),
            Value::Scalar(scalar) => Self::of_plain(&scalar.text),
        })
    }

    fn of_plain(text: &str) -> Self {
        if let Some(yes) = yaml::parse_bool(text) {
            return Self::Bool(yes);
        }
        if let Some(number) = yaml::parse_int(text).and_then(|number| i64::try_from(number).ok()) {
            return Self::Int(number);
        }
        match yaml::parse_float(text).filter(|number| number.is_finite()) {
            Some(number) => Self::Float(number),
            None => Self::Text(text.to_owned()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(text: &str) -> Anything {
        Anything::Text(text.to_owned())
    }

    #[test]
    fn plain_values_are_read_as_go_reads_them() {
        for (yaml, value) in [
            ("", Anything::Null),
            ("~", Anything::Null),
            ("yes", Anything::Bool(true)),
            ("0x1f", Anything::Int(31)),
            ("-2.5", Anything::Float(-2.5)),
            (".inf", text(".inf")),
            ("'2'", text("2")),
            ("2024-05-01T10:00:00Z", text("2024-05-01T10:00:00Z")),
            ("[1, a]", Anything::List(vec![Anything::Int(1), text("a")])),
            (
                "{b: {c: d}}",
                Anything::Map(BTreeMap::from([(
                    "b".to_owned(),
                    Anything::Map(BTreeMap::from([("c".to_owned(), text("d"))])),
                )])),
            ),
        ] {
            assert_eq!(Anything::parse(yaml), Some(value), "{yaml}");
        }
    }

    #[test]
    fn what_is_no_yaml_or_too_much_is_nothing() {
        for yaml in ["[FIRING:1] Down (a)", "{a", "a: b: c", "{a: 1, a: 2}"] {
            assert_eq!(Anything::parse(yaml), None, "{yaml}");
        }
        let mut bomb = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n".to_owned();
        for level in 1..6 {
            let last = format!("*a{}", level - 1);
            bomb.push_str(&format!("a{level}: &a{level} [{}]\n", [last.as_str(); 10].join(", ")));
        }
        assert_eq!(Anything::parse(&bomb), None);
    }
}
