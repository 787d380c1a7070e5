//! Values of any shape, expanded: each text is a template, and what it gives is read as YAML (Alertmanager:
//! `template.DeepCopyWithTemplate`).
//!
//! What came out of a template is not expanded again, as Alertmanager does it: it may hold what an alert says, and an
//! alert writes no templates.

use cupola_config::alertmanager::Anything;
use serde_json::{Map, Value};

use crate::integration::SendError;

/// The value as JSON.
pub(crate) fn expand_all(
    value: &Anything,
    expand: &impl Fn(&str) -> Result<String, SendError>,
) -> Result<Value, SendError> {
    Ok(match value {
        Anything::Text(text) => {
            let text = expand(text)?;
            match Anything::parse(&text) {
                None | Some(Anything::Text(_)) => text.into(),
                Some(value) => plain(value),
            }
        }
        Anything::List(items) => {
            let items: Result<Vec<Value>, SendError> = items.iter().map(|item| expand_all(item, expand)).collect();
            items?.into()
        }
        Anything::Map(map) => expand_map(map, expand)?.into(),
        other => plain(other.clone()),
    })
}

/// A map with its names expanded, too; sorted, as Go writes maps.
pub(crate) fn expand_map<'a>(
    map: impl IntoIterator<Item = (&'a String, &'a Anything)>,
    expand: &impl Fn(&str) -> Result<String, SendError>,
) -> Result<Map<String, Value>, SendError> {
    let mut all = Map::new();
    for (name, value) in map {
        all.insert(expand(name)?, expand_all(value, expand)?);
    }
    all.sort_keys();
    Ok(all)
}

fn plain(value: Anything) -> Value {
    match value {
        Anything::Null => Value::Null,
        Anything::Bool(yes) => yes.into(),
        Anything::Int(number) => number.into(),
        Anything::Float(number) => number.into(),
        Anything::Text(text) => text.into(),
        Anything::List(items) => items.into_iter().map(plain).collect(),
        Anything::Map(map) => map.into_iter().map(|(name, value)| (name, plain(value))).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_template_gives_is_read_and_not_expanded_again() {
        let yaml = "{b: 'n', a: ['{{ x }}', 1], 'k{{': {c: t}}";
        let value = Anything::parse(yaml).unwrap();
        let expand = |text: &str| {
            Ok(match text {
                "n" => "2".to_owned(),
                "{{ x }}" => "[\"{{ y }}\", yes]".to_owned(),
                "k{{" => "z".to_owned(),
                other => other.to_owned(),
            })
        };
        let json = expand_all(&value, &expand).unwrap().to_string();
        assert_eq!(json, r#"{"a":[["{{ y }}",true],1],"b":2,"z":{"c":"t"}}"#);
    }
}
