//! The configuration as Alertmanager 0.34 writes it again for its status page and for `amtool config show`: with
//! defaults, with what receivers take from `global`, in the order of its structs, secrets hidden. Values that the file
//! gives stay as the file writes them.

use super::integrations::{IntegrationConfig, KINDS, KindRow};
use super::{Anything, Receiver};
use crate::common::SecretSource;
use crate::matchers::{MatcherMode, matcher_text, parse_matchers};
use crate::read::Reader;
use crate::redact::{HIDDEN, push_indent, write_node, write_scalar};
use crate::yaml::{Node, Value, parse_bool};

mod order;

use order::{Field, GLOBAL, HTTP, INHIBIT_RULE, RECEIVER, ROUTE, SIGV4, TLS, TOP};

/// What is written; most of it stands in the file.
enum Out<'n> {
    /// YAML as it is.
    Raw(String),
    Text(String),
    Node(&'n Node),
    Map(Vec<(String, Out<'n>)>),
    List(Vec<Out<'n>>),
}

pub(super) fn marshal(root: &Node, receivers: &[Receiver], reader: &Reader<'_>, mode: MatcherMode) -> String {
    let marshal = Marshal {
        reader,
        mode,
        global: child(root, "global"),
    };
    let mut top = Vec::new();
    for (name, default) in TOP {
        let node = child(root, name);
        let value = match (*name, node) {
            ("global", node) => Some(Out::Map(marshal.fields(node, GLOBAL))),
            ("route", Some(node)) => Some(marshal.route(node)),
            ("inhibit_rules", Some(node)) => {
                let rules = items(node).map(|rule| Out::Map(marshal.matching(rule, INHIBIT_RULE)));
                Some(Out::List(rules.collect()))
            }
            ("receivers", Some(node)) => {
                let all = items(node).zip(receivers);
                Some(Out::List(
                    all.map(|(node, read)| marshal.receiver(node, read)).collect(),
                ))
            }
            (_, Some(node)) if !is_empty(node) => Some(Out::Node(node)),
            _ => raw(default),
        };
        top.extend(value.map(|value| ((*name).to_owned(), value)));
    }
    let mut out = String::new();
    marshal.write_entries(&mut out, &top, 0, false);
    out
}

struct Marshal<'m> {
    reader: &'m Reader<'m>,
    mode: MatcherMode,
    global: Option<&'m Node>,
}

fn child<'n>(node: &'n Node, name: &str) -> Option<&'n Node> {
    let Value::Map(entries) = &node.value else { return None };
    let entry = entries.iter().find(|entry| entry.key == name)?;
    (!entry.value.is_null()).then_some(&*entry.value)
}

fn items(node: &Node) -> impl Iterator<Item = &Node> {
    let items = match &node.value {
        Value::Seq(items) => items.as_slice(),
        _ => &[],
    };
    items.iter().map(|item| &**item)
}

// What Go leaves out where a field says `omitempty`.
fn is_empty(node: &Node) -> bool {
    match &node.value {
        Value::Seq(items) => items.is_empty(),
        Value::Map(entries) => entries.is_empty(),
        Value::Scalar(scalar) => scalar.text.is_empty() || (!scalar.is_text && parse_bool(&scalar.text) == Some(false)),
    }
}

fn raw(default: &str) -> Option<Out<'static>> {
    (!default.is_empty()).then(|| Out::Raw(default.to_owned()))
}

fn any(value: &Anything) -> Out<'static> {
    match value {
        Anything::Null => Out::Raw("null".to_owned()),
        Anything::Bool(yes) => Out::Raw(yes.to_string()),
        Anything::Int(number) => Out::Raw(number.to_string()),
        Anything::Float(number) => Out::Raw(number.to_string()),
        Anything::Text(text) => Out::Text(text.clone()),
        Anything::List(all) => Out::List(all.iter().map(any).collect()),
        Anything::Map(map) => Out::Map(map.iter().map(|(name, value)| (name.clone(), any(value))).collect()),
    }
}

impl<'m> Marshal<'m> {
    fn fields(&self, node: Option<&'m Node>, order: &[Field]) -> Vec<(String, Out<'m>)> {
        let mut all = Vec::new();
        for (name, default) in order {
            let given = node.and_then(|node| child(node, name));
            let value = given.and_then(|given| self.given(name, given)).or_else(|| match *name {
                // A whole object with defaults of its own.
                "http_config" => Some(Out::Map(self.fields(None, HTTP))),
                _ => raw(default),
            });
            all.extend(value.map(|value| ((*name).to_owned(), value)));
        }
        all
    }

    fn given(&self, name: &str, node: &'m Node) -> Option<Out<'m>> {
        match name {
            "http_config" => Some(Out::Map(self.fields(Some(node), HTTP))),
            "tls_config" | "smtp_tls_config" => Some(Out::Map(self.fields(Some(node), TLS))),
            "sigv4" => Some(Out::Map(self.fields(Some(node), SIGV4))),
            _ => (!is_empty(node)).then_some(Out::Node(node)),
        }
    }

    // Matchers are written as they were understood.
    fn matching(&self, node: &'m Node, order: &[Field]) -> Vec<(String, Out<'m>)> {
        let mut all = self.fields(Some(node), order);
        for (name, value) in &mut all {
            if let Out::Node(list) = value
                && name.ends_with("matchers")
            {
                let texts = items(list).filter_map(|item| self.reader.text(item));
                let parsed = texts.filter_map(|text| parse_matchers(&text, self.mode).ok());
                let mut matchers: Vec<_> = parsed.flat_map(|parsed| parsed.matchers).collect();
                matchers.sort_by(|a, b| (a.name(), a.value(), a.op()).cmp(&(b.name(), b.value(), b.op())));
                *value = Out::List(matchers.iter().map(|one| Out::Text(matcher_text(one))).collect());
            }
        }
        all
    }

    fn route(&self, node: &'m Node) -> Out<'m> {
        let mut all = self.matching(node, ROUTE);
        for (name, value) in &mut all {
            if let Out::Node(list) = value
                && name == "routes"
            {
                *value = Out::List(items(list).map(|route| self.route(route)).collect());
            }
        }
        Out::Map(all)
    }

    fn receiver(&self, node: &'m Node, read: &Receiver) -> Out<'m> {
        let mut all = self.fields(Some(node), &[("name", ""), ("labels", "")]);
        for (field, order) in RECEIVER {
            let Some(list) = child(node, field).filter(|list| !is_empty(list)) else {
                continue;
            };
            let row = KINDS.iter().find(|row| row.field == *field);
            let configs = read
                .integrations
                .iter()
                .filter(|one| Some(one.kind) == row.map(|row| row.kind));
            let mut configs = configs.map(Some).chain(std::iter::repeat(None));
            let mut written = Vec::new();
            for node in items(list) {
                written.push(Out::Map(self.integration(
                    node,
                    order,
                    row.zip(configs.next().flatten()),
                )));
            }
            all.push(((*field).to_owned(), Out::List(written)));
        }
        Out::Map(all)
    }

    fn integration(
        &self,
        node: &'m Node,
        order: &[Field],
        read: Option<(&'static KindRow, &IntegrationConfig)>,
    ) -> Vec<(String, Out<'m>)> {
        let default = if read.is_some_and(|(row, _)| !row.send_resolved) {
            "false"
        } else {
            "true"
        };
        let mut all = vec![(
            "send_resolved".to_owned(),
            child(node, "send_resolved").map_or_else(|| Out::Raw(default.to_owned()), Out::Node),
        )];
        if read.is_none_or(|(row, _)| row.has_http) {
            let own = child(node, "http_config").or_else(|| child(self.global?, "http_config"));
            all.push(("http_config".to_owned(), Out::Map(self.fields(own, HTTP))));
        }
        for (name, default) in order {
            let given = child(node, name).and_then(|given| self.given(name, given));
            let taken = || read.and_then(|(row, config)| taken(row, config, name));
            let details = read
                .filter(|_| *name == "details")
                .and_then(|(_, config)| config.free(name));
            let value = match details {
                Some(map) => Some(any(&Anything::Map(map.clone()))),
                None => given.or_else(taken).or_else(|| match *name {
                    "tls_config" => {
                        let inherited = self.global.and_then(|global| child(global, "smtp_tls_config"));
                        Some(Out::Map(self.fields(inherited, TLS)))
                    }
                    _ => raw(default),
                }),
            };
            all.extend(value.map(|value| ((*name).to_owned(), value)));
        }
        all
    }

    fn write(&self, out: &mut String, value: &Out<'_>, indent: usize) {
        match value {
            Out::Raw(text) => out.push_str(&format!(" {text}\n")),
            Out::Text(text) => {
                let mut written = String::new();
                write_scalar(&mut written, text, true);
                // Go quotes once; twice where the text could be something else, or holds what must be escaped.
                let is_other = matches!(
                    Anything::parse(text),
                    Some(Anything::Null | Anything::Bool(_) | Anything::Int(_) | Anything::Float(_))
                );
                if written.starts_with('"') && !is_other && !written.contains("\\u") && !text.contains(char::is_control)
                {
                    written = format!("'{}'", text.replace('\'', "''"));
                }
                out.push_str(&format!(" {written}\n"));
            }
            Out::Node(node) => write_node(out, node, self.reader, indent, true),
            Out::Map(entries) if entries.is_empty() => out.push_str(" {}\n"),
            Out::List(items) if items.is_empty() => out.push_str(" []\n"),
            Out::Map(entries) => {
                out.push('\n');
                self.write_entries(out, entries, indent, false);
            }
            Out::List(items) => {
                out.push('\n');
                for item in items {
                    push_indent(out, indent);
                    out.push('-');
                    match item {
                        Out::Map(entries) if !entries.is_empty() => {
                            out.push(' ');
                            self.write_entries(out, entries, indent + 1, true);
                        }
                        _ => self.write(out, item, indent + 1),
                    }
                }
            }
        }
    }

    // `on_line`: the first continues the line that `-` began.
    fn write_entries(&self, out: &mut String, entries: &[(String, Out<'_>)], indent: usize, on_line: bool) {
        for (at, (name, value)) in entries.iter().enumerate() {
            if at > 0 || !on_line {
                push_indent(out, indent);
            }
            write_scalar(out, name, true);
            out.push(':');
            let is_list = match value {
                Out::List(_) => true,
                Out::Node(node) => matches!(node.value, Value::Seq(_)),
                _ => false,
            };
            self.write(out, value, if is_list { indent } else { indent + 1 });
        }
    }
}

// What a receiver has by default or from `global`.
fn taken(row: &KindRow, config: &IntegrationConfig, name: &str) -> Option<Out<'static>> {
    for secret in row.secrets {
        match config.secret(secret.name) {
            Some(SecretSource::Inline(_)) if secret.name == name => return Some(Out::Raw(HIDDEN.to_owned())),
            Some(SecretSource::File(path)) if secret.file == name => {
                return Some(Out::Text(path.to_string_lossy().into_owned()));
            }
            _ => {}
        }
    }
    if matches!(name, "require_tls" | "force_implicit_tls") {
        return config.has_flag(name).then(|| Out::Raw(config.flag(name).to_string()));
    }
    // PagerDuty's severity is a default of the message, not of the configuration.
    let text = config.text(name);
    (!text.is_empty() && name != "severity").then(|| Out::Text(text.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::alertmanager::globals::TEXTS;

    #[test]
    fn what_is_written_for_global_is_what_is_taken() {
        // Left out, so that amtool 0.25 can read what is written.
        let left_out = ["slack_app_url", "rocketchat_api_url"];
        for (name, written) in GLOBAL.iter().filter(|(name, _)| !left_out.contains(name)) {
            if let Some((_, default)) = TEXTS.iter().find(|(text, _)| text == name) {
                assert_eq!(written, default, "{name}");
            }
        }
        for row in KINDS {
            assert!(RECEIVER.iter().any(|(field, _)| *field == row.field), "{}", row.field);
        }
    }
}
