//! Label sets and annotations as Alertmanager's templates know them.

use std::sync::Arc;

use cupola_model::ALERTNAME;

use crate::value::{Field, Object, Value};

/// Names and values: labels or annotations (Alertmanager's `template.KV`).
#[derive(Debug, Clone)]
pub struct Kv {
    // Always a map of strings.
    map: Value,
}

impl Kv {
    /// The set of `pairs`.
    #[must_use]
    pub fn new<N: AsRef<str>, V: AsRef<str>>(pairs: impl IntoIterator<Item = (N, V)>) -> Self {
        Self {
            map: Value::string_map(pairs),
        }
    }

    fn pairs(&self) -> Vec<(Arc<str>, Arc<str>)> {
        let Value::Map(map) = &self.map else { return Vec::new() };
        map.entries()
            .iter()
            .filter_map(|(name, value)| Some((name.clone(), value.as_str()?)))
            .collect()
    }

    /// The pairs by name, but the alert's name before all others.
    #[must_use]
    pub fn sorted_pairs(&self) -> Pairs {
        let mut pairs = self.pairs();
        // The sort is stable and the names ascend already.
        pairs.sort_by_key(|(name, _)| &**name != ALERTNAME);
        Pairs { pairs }
    }

    fn remove(&self, names: &Value) -> Result<Self, String> {
        let Value::List(list) = names.plain() else {
            return Err(format!(
                "wrong type for value; expected []string; got {}",
                names.type_name()
            ));
        };
        let removed: Vec<Arc<str>> = list.items().iter().filter_map(Value::as_str).collect();
        Ok(Self::new(
            self.pairs().into_iter().filter(|(name, _)| !removed.contains(name)),
        ))
    }
}

impl Object for Kv {
    fn type_name(&self) -> &str {
        "template.KV"
    }

    fn underlying(&self) -> Option<Value> {
        Some(self.map.clone())
    }

    fn methods(&self) -> &[(&'static str, usize)] {
        &[
            ("Names", 0),
            ("Remove", 1),
            ("SortedPairs", 0),
            ("String", 0),
            ("Values", 0),
        ]
    }

    fn call(&self, name: &str, args: &[Value]) -> Result<Value, String> {
        Ok(match name {
            "SortedPairs" => Value::object(self.sorted_pairs()),
            "Remove" => Value::object(self.remove(args.first().unwrap_or(&Value::Nil))?),
            other => return self.sorted_pairs().call(other, args),
        })
    }

    fn text(&self) -> Option<String> {
        self.sorted_pairs().text()
    }
}

/// Names and values in an order (Alertmanager's `template.Pairs`).
#[derive(Debug, Clone)]
pub struct Pairs {
    pairs: Vec<(Arc<str>, Arc<str>)>,
}

impl Object for Pairs {
    fn type_name(&self) -> &str {
        "template.Pairs"
    }

    fn underlying(&self) -> Option<Value> {
        let pair = |(name, value): &(Arc<str>, Arc<str>)| Pair {
            name: name.clone(),
            value: value.clone(),
        };
        Some(Value::objects("template.Pair", self.pairs.iter().map(pair)))
    }

    fn methods(&self) -> &[(&'static str, usize)] {
        &[("Names", 0), ("String", 0), ("Values", 0)]
    }

    fn call(&self, name: &str, _: &[Value]) -> Result<Value, String> {
        Ok(match name {
            "Names" => Value::strings(self.pairs.iter().map(|(name, _)| name)),
            "Values" => Value::strings(self.pairs.iter().map(|(_, value)| value)),
            _ => Value::from(self.text().unwrap_or_default()),
        })
    }

    fn text(&self) -> Option<String> {
        let all: Vec<String> = self
            .pairs
            .iter()
            .map(|(name, value)| format!("{name}={value}"))
            .collect();
        Some(all.join(", "))
    }
}

struct Pair {
    name: Arc<str>,
    value: Arc<str>,
}

impl Object for Pair {
    fn type_name(&self) -> &str {
        "template.Pair"
    }

    fn fields(&self) -> &[Field] {
        &[
            Field {
                name: "Name",
                json: "Name",
            },
            Field {
                name: "Value",
                json: "Value",
            },
        ]
    }

    fn field(&self, name: &str) -> Option<Value> {
        match name {
            "Name" => Some(Value::Str(self.name.clone())),
            "Value" => Some(Value::Str(self.value.clone())),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_of_the_alert_comes_first() {
        let kv = Kv::new([("a", "1"), ("alertname", "Down"), ("b", "2")]);
        assert_eq!(kv.text().unwrap(), "alertname=Down, a=1, b=2");
        let fewer = kv.remove(&Value::strings(["a", "nope"])).unwrap();
        assert_eq!(fewer.text().unwrap(), "alertname=Down, b=2");
        assert!(kv.remove(&Value::from("a")).is_err());
    }
}
