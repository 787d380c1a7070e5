//! The kinds of receivers but webhook and Discord, as a table (Alertmanager 0.34, `config/notifiers.go`).
//!
//! A row says which fields a kind has and what they are by default; what else must hold is its check's. Texts are
//! templates unless their users say otherwise. A field that a row does not name is a mistake of the file.

mod checks;
mod kinds;

use std::collections::BTreeMap;
use std::time::Duration;

use super::Anything;
use super::globals::Globals;
use super::receivers::{check_address, read_anything, read_go_duration, read_http};
use crate::common::{HttpClientConfig, SecretSource, TlsConfig};
use crate::http::read_tls;
use crate::read::{Reader, Section};
use crate::yaml::Node;

pub(super) use kinds::KINDS;

/// One entry of a receiver's `<kind>_configs`, defaults and `global` applied.
#[derive(Debug, Clone, PartialEq)]
pub struct IntegrationConfig {
    /// As metrics and the notification log call it: `slack`, `email`.
    pub kind: &'static str,
    /// Tell of resolved alerts, too.
    pub send_resolved: bool,
    /// How to speak to it; `global.http_config` where the receiver has none.
    pub http: HttpClientConfig,
    /// TLS of e-mail.
    pub tls: TlsConfig,
    /// For one request; zero means no limit of its own.
    pub timeout: Duration,
    texts: BTreeMap<&'static str, String>,
    secrets: BTreeMap<&'static str, SecretSource>,
    flags: BTreeMap<&'static str, bool>,
    maps: BTreeMap<&'static str, BTreeMap<String, String>>,
    lists: BTreeMap<&'static str, Vec<String>>,
    items: BTreeMap<&'static str, Vec<Item>>,
    free: BTreeMap<&'static str, BTreeMap<String, Anything>>,
}

/// One entry of a list of maps, such as Slack's `fields`: the texts that it gives, those of maps inside as `confirm.text`.
pub type Item = BTreeMap<&'static str, String>;

impl IntegrationConfig {
    /// A text, its default where the file has none. Empty for one that the kind does not have.
    #[must_use]
    pub fn text(&self, name: &str) -> &str {
        self.texts.get(name).map_or("", String::as_str)
    }

    /// A secret, in place or in a file.
    #[must_use]
    pub fn secret(&self, name: &str) -> Option<&SecretSource> {
        self.secrets.get(name)
    }

    /// All its secrets.
    pub fn secrets(&self) -> impl Iterator<Item = &SecretSource> {
        self.secrets.values()
    }

    /// A switch.
    #[must_use]
    pub fn flag(&self, name: &str) -> bool {
        self.flags.get(name).copied().unwrap_or(false)
    }

    /// Whether a switch was said anything about that may be left open.
    #[must_use]
    pub fn has_flag(&self, name: &str) -> bool {
        self.flags.contains_key(name)
    }

    /// A map of texts by name.
    #[must_use]
    pub fn map(&self, name: &str) -> Option<&BTreeMap<String, String>> {
        self.maps.get(name)
    }

    /// A map of values of any shape by name.
    #[must_use]
    pub fn free(&self, name: &str) -> Option<&BTreeMap<String, Anything>> {
        self.free.get(name)
    }

    /// A list of texts; `None` where the file has none.
    #[must_use]
    pub fn list(&self, name: &str) -> Option<&[String]> {
        self.lists.get(name).map(Vec::as_slice)
    }

    /// A list of maps.
    #[must_use]
    pub fn items(&self, name: &str) -> &[Item] {
        self.items.get(name).map_or(&[], Vec::as_slice)
    }
}

/// A secret of a kind: its field, the field of its file, and which of `global` stands for both.
pub(super) struct SecretRow {
    pub name: &'static str,
    pub file: &'static str,
    pub global: Option<&'static str>,
}

/// A field of an item.
pub(super) enum Part {
    Text(&'static str),
    /// A map of texts inside, each with the name under which it is kept.
    Inner(&'static str, &'static [(&'static str, &'static str)]),
}

pub(super) struct KindRow {
    /// `slack`; the field is `slack_configs`.
    pub kind: &'static str,
    pub field: &'static str,
    pub empty: &'static str,
    pub send_resolved: bool,
    pub has_http: bool,
    pub has_timeout: bool,
    /// Names with defaults; `global.NAME` is the default that `global` has under that name.
    pub texts: &'static [(&'static str, &'static str)],
    pub secrets: &'static [SecretRow],
    pub flags: &'static [(&'static str, bool)],
    pub maps: &'static [&'static str],
    /// Maps of values of any shape.
    pub free: &'static [&'static str],
    pub lists: &'static [&'static str],
    pub items: &'static [(&'static str, &'static [Part])],
    pub check: fn(&Section<'_>, &mut IntegrationConfig, &Globals),
}

/// Reads all integrations of a receiver that are in the table.
pub(super) fn read_integrations(section: &Section<'_>, globals: &Globals) -> Vec<IntegrationConfig> {
    let mut all = Vec::new();
    for row in KINDS {
        for node in section.items(row.field, "[]config.NotifierConfig", row.empty) {
            all.push(read_integration(section.reader, node, row, globals));
        }
    }
    all
}

fn read_integration(reader: &Reader<'_>, node: &Node, row: &'static KindRow, globals: &Globals) -> IntegrationConfig {
    let section = reader.section(node, "config.plain");
    let mut config = IntegrationConfig {
        kind: row.kind,
        send_resolved: section.bool("send_resolved").unwrap_or(row.send_resolved),
        http: if row.has_http {
            read_http(&section, &globals.http)
        } else {
            HttpClientConfig::default()
        },
        tls: TlsConfig::default(),
        timeout: if row.has_timeout {
            read_go_duration(&section, "timeout").unwrap_or_default()
        } else {
            Duration::ZERO
        },
        texts: BTreeMap::new(),
        secrets: BTreeMap::new(),
        flags: BTreeMap::new(),
        maps: BTreeMap::new(),
        lists: BTreeMap::new(),
        items: BTreeMap::new(),
        free: BTreeMap::new(),
    };
    for (name, default) in row.texts {
        let default = match default.strip_prefix("global.") {
            Some(global) => globals.text(global).to_owned(),
            None => (*default).to_owned(),
        };
        config.texts.insert(name, section.text(name).unwrap_or(default));
    }
    for SecretRow { name, file, global } in row.secrets {
        let both = format!("at most one of {name} & {file} must be configured");
        let own = section.secret_source(name, file, &both);
        let inherited = || global.and_then(|global| globals.secret(global));
        if let Some(source) = own.or_else(inherited) {
            config.secrets.insert(name, source);
        }
    }
    let names = row.texts.iter().map(|(name, _)| *name);
    for name in names.chain(row.secrets.iter().map(|secret| secret.name)) {
        // Pushover's is a text of the message, and SNS takes anything.
        let is_address = match (row.kind, name) {
            ("sns", _) | ("pushover", "url") => false,
            _ => ["api_url", "app_url", "webhook_url", "url"].contains(&name),
        };
        if let Some(url) = section.filled_text(name).filter(|_| is_address) {
            check_address(&section, name, &url);
        }
    }
    for (name, default) in row.flags {
        config.flags.insert(name, section.bool(name).unwrap_or(*default));
    }
    for name in row.maps {
        if section.get(name).is_some() {
            config.maps.insert(name, section.text_map(name));
        }
    }
    for name in row.free {
        match read_anything(&section, name) {
            None => {}
            Some(Anything::Map(map)) => {
                config.free.insert(name, map);
            }
            Some(_) => section.error_at(name, format!("{name} must be a map")),
        }
    }
    for name in row.lists {
        if section.get(name).is_some() {
            config.lists.insert(name, section.texts(name));
        }
    }
    for (name, parts) in row.items {
        let nodes = section.items(name, "[]config.Item", "missing entry");
        let items = nodes.into_iter().map(|node| read_item(reader, node, parts));
        config.items.insert(name, items.collect());
    }
    if row.kind == "email" {
        config.tls = match section.get("tls_config") {
            Some(node) => read_tls(reader, node),
            None => globals.smtp_tls.clone(),
        };
    }
    (row.check)(&section, &mut config, globals);
    section.finish();
    config
}

fn read_item(reader: &Reader<'_>, node: &Node, parts: &'static [Part]) -> Item {
    let section = reader.section(node, "config.plain");
    let mut item = Item::new();
    for part in parts {
        match part {
            Part::Text(name) => item.extend(section.text(name).map(|text| (*name, text))),
            Part::Inner(name, texts) => {
                let Some(node) = section.get(name) else { continue };
                let inner = reader.section(node, "config.plain");
                // That it is there counts, too, where it is empty.
                item.insert(*name, String::new());
                for (name, kept_as) in *texts {
                    item.extend(inner.text(name).map(|text| (*kept_as, text)));
                }
                inner.finish();
            }
        }
    }
    section.finish();
    item
}
