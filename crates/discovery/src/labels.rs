//! Names and addresses as all kinds of discovery write them.

use std::collections::BTreeMap;

use cupola_model::LabelsBuilder;
use serde::{Deserialize as _, Deserializer};

/// `text` with `_` for every character that is no ASCII letter, digit or `_` (upstream: `strutil.SanitizeLabelName`).
pub(crate) fn sanitized(text: &str) -> String {
    let is_kept = |c: &char| c.is_ascii_alphanumeric() || *c == '_';
    text.chars().map(|c| if is_kept(&c) { c } else { '_' }).collect()
}

/// Sets a label for each entry, its name sanitized and behind `prefix`.
pub(crate) fn set_all(labels: &mut LabelsBuilder, prefix: &str, entries: &BTreeMap<String, String>) {
    for (name, value) in entries {
        labels.set(&format!("{prefix}{}", sanitized(name)), value);
    }
}

/// `host:port`, with brackets around what holds a colon (Go: `net.JoinHostPort`).
pub(crate) fn host_port(host: &str, port: u64) -> String {
    if host.contains(':') {
        format!("[{host}]:{port}")
    } else {
        format!("{host}:{port}")
    }
}

/// For fields that Go writes as `null` where they are empty.
pub(crate) fn or_default<'de, D, T>(from: D) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: Default + serde::Deserialize<'de>,
{
    Ok(Option::<T>::deserialize(from)?.unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_addresses_are_as_gos() {
        assert_eq!(sanitized("com.example/Team-é_1"), "com_example_Team___1");
        assert_eq!(host_port("10.0.0.1", 80), "10.0.0.1:80");
        assert_eq!(host_port("::1", 80), "[::1]:80");
        assert_eq!(host_port("", 8080), ":8080");
    }
}
