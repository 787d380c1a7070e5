//! Reading rule files, with the checks and texts of upstream's `rulefmt`.

use std::collections::{BTreeMap, HashMap};
use std::path::Path;

use cupola_model::{METRIC_NAME, go_quote};
use cupola_promql::{Expr, ParseOptions};

use super::{Rule, RuleFile, RuleGroup, RuleKind};
use crate::common::NameScheme;
use crate::error::ConfigErrors;
use crate::files::{Files, read_text};
use crate::read::{Reader, Section};
use crate::yaml::{Node, Pos, Value};

/// How rule files are read; the default is what the server does without flags.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct RuleOptions {
    /// Which names are valid; `global.metric_name_validation_scheme`.
    pub name_scheme: NameScheme,
    /// What expressions may use.
    pub promql: ParseOptions,
    /// Fields that Prometheus does not know are no mistake (`promtool check rules --ignore-unknown-fields`); a server
    /// refuses them.
    pub ignore_unknown_fields: bool,
}

/// Reads a rule file from a text; `path` is used in messages.
///
/// # Errors
/// Every mistake in the text: one bad rule does not hide the next.
pub fn parse_rules(text: &str, path: &Path, options: RuleOptions) -> Result<RuleFile, ConfigErrors> {
    let reader = Reader::new(path);
    let document = reader.document(text);
    let groups = document.root.as_deref().map_or_else(Vec::new, |root| {
        let section = reader.section(root, "rulefmt.RuleGroups");
        let file = FileReader {
            reader: &reader,
            options,
        };
        let groups = file.groups(&section);
        file.finish(section);
        groups
    });
    let warnings = reader.take_warnings();
    reader.result(Some(RuleFile {
        path: path.to_path_buf(),
        groups,
        warnings,
    }))
}

/// Reads a rule file.
///
/// # Errors
/// As [`parse_rules`], or why the file cannot be read.
pub fn load_rules(path: &Path, options: RuleOptions, files: &dyn Files) -> Result<RuleFile, ConfigErrors> {
    parse_rules(&read_text(files, path)?, path, options)
}

struct FileReader<'a> {
    reader: &'a Reader<'a>,
    options: RuleOptions,
}

// What an error about a rule starts with, and where the rule stands.
struct Context<'c> {
    prefix: String,
    section: &'c Section<'c>,
}

impl Context<'_> {
    fn error(&self, pos: Pos, message: &str) {
        self.section.reader.error(pos, format!("{}: {message}", self.prefix));
    }

    fn error_at(&self, field: &str, message: &str) {
        self.error(self.section.key_pos(field), message);
    }
}

impl FileReader<'_> {
    // Fields that nobody asked for are mistakes, mostly.
    fn finish(&self, section: Section<'_>) {
        if !self.options.ignore_unknown_fields {
            section.finish();
        }
    }

    fn groups(&self, section: &Section<'_>) -> Vec<RuleGroup> {
        let mut groups = Vec::new();
        let mut first_lines: HashMap<String, usize> = HashMap::new();
        for node in items(section, "groups", "[]rulefmt.RuleGroup") {
            let group = self.reader.section(node, "rulefmt.RuleGroup");
            let read = self.group(&group);
            self.finish(group);
            if read.name.is_empty() {
                self.reader.error(node.pos, "Groupname must not be empty");
            } else if let Some(line) = first_lines.get(&read.name) {
                let message = format!("groupname: {} is repeated in the same file", go_quote(&read.name));
                self.reader
                    .error_hint(node.pos, message, format!("the first is at line {line}"));
            } else {
                first_lines.insert(read.name.clone(), node.pos.line);
            }
            groups.push(read);
        }
        groups
    }

    fn group(&self, section: &Section<'_>) -> RuleGroup {
        let name = section.text("name").unwrap_or_default();
        let labels = section.get("labels").map_or_else(BTreeMap::new, |node| {
            for entry in self.reader.entries(node, "map[string]string") {
                if !self.is_settable(&entry.key) {
                    self.reader
                        .error(entry.key_pos, format!("invalid label name: {}", entry.key));
                }
            }
            self.reader.text_map(node)
        });
        let rules = items(section, "rules", "[]rulefmt.Rule").enumerate();
        let rules = rules
            .filter_map(|(index, node)| self.rule(node, &name, index + 1, &labels))
            .collect();
        RuleGroup {
            interval: section.nonzero_duration("interval"),
            // Less than zero is no limit, too.
            limit: section
                .int("limit")
                .map_or(0, |limit| u64::try_from(limit).unwrap_or(0)),
            query_offset: section.duration("query_offset"),
            rules,
            line: section.pos.line,
            name,
        }
    }

    fn is_settable(&self, label: &str) -> bool {
        label != METRIC_NAME && self.options.name_scheme.is_valid_label_name(label)
    }

    // `None` where something is missing without which there is no rule; it has been reported then.
    fn rule(&self, node: &Node, group: &str, number: usize, inherited: &BTreeMap<String, String>) -> Option<Rule> {
        let section = self.reader.section(node, "rulefmt.Rule");
        let record = section.filled_text("record");
        let alert = section.filled_text("alert");
        let name = record.as_ref().or(alert.as_ref()).map_or("", String::as_str);
        let prefix = format!("group {}, rule {number}, {}", go_quote(group), go_quote(name));
        let context = Context {
            prefix,
            section: &section,
        };
        let expr = self.expression(&context);
        let hold = section.duration("for").unwrap_or_default();
        let keep_firing_for = section.duration("keep_firing_for").unwrap_or_default();
        let own = self.map(&context, "labels");
        let annotations = self.map(&context, "annotations");
        for label in own.keys().filter(|label| !self.is_settable(label)) {
            context.error_at("labels", &format!("invalid label name: {label}"));
        }
        for name in annotations
            .keys()
            .filter(|name| !self.options.name_scheme.is_valid_label_name(name))
        {
            context.error_at("annotations", &format!("invalid annotation name: {name}"));
        }
        let mut labels = inherited.clone();
        labels.extend(own);
        let kind = match (record, alert) {
            (Some(_), Some(_)) => {
                context.error(node.pos, "only one of 'record' and 'alert' must be set");
                None
            }
            (None, None) => {
                context.error(node.pos, "one of 'record' or 'alert' must be set");
                None
            }
            (Some(record), None) => {
                self.check_recording(&context, &record);
                Some(RuleKind::Recording { record })
            }
            (None, Some(alert)) => {
                self.check_templates(&context, "labels", "label", &alert);
                self.check_templates(&context, "annotations", "annotation", &alert);
                Some(RuleKind::Alerting {
                    alert,
                    hold,
                    keep_firing_for,
                    annotations,
                })
            }
        };
        self.finish(section);
        let (expr, expr_text) = expr?;
        Some(Rule {
            kind: kind?,
            expr,
            expr_text,
            labels,
            line: node.pos.line,
        })
    }

    fn map(&self, context: &Context<'_>, field: &'static str) -> BTreeMap<String, String> {
        context
            .section
            .get(field)
            .map_or_else(BTreeMap::new, |node| self.reader.text_map(node))
    }

    fn expression(&self, context: &Context<'_>) -> Option<(Expr, String)> {
        let section = context.section;
        let Some(node) = section.get("expr") else {
            context.error_at("expr", "field 'expr' must be set in rule");
            return None;
        };
        let text = self.reader.text(node)?;
        if text.is_empty() {
            context.error_at("expr", "field 'expr' must be set in rule");
            return None;
        }
        match cupola_promql::parse_with(&text, &self.options.promql) {
            Ok(expr) => Some((expr, text)),
            Err(errors) => {
                for error in errors {
                    let pos = place_in_scalar(node, &text, error.span.start);
                    context.error(pos, &format!("could not parse expression: {}", error.render(&text)));
                }
                None
            }
        }
    }

    fn check_recording(&self, context: &Context<'_>, record: &str) {
        for field in ["annotations", "for", "keep_firing_for"] {
            let is_given = match context.section.get(field).map(|node| &node.value) {
                None => false,
                Some(Value::Map(entries)) => !entries.is_empty(),
                Some(Value::Scalar(scalar)) => !matches!(scalar.text.as_str(), "0" | "0s"),
                Some(Value::Seq(_)) => true,
            };
            if is_given {
                context.error_at(field, &format!("invalid field '{field}' in recording rule"));
            }
        }
        if !self.options.name_scheme.is_valid_metric_name(record) {
            context.error_at("record", &format!("invalid recording rule name: {record}"));
        } else if record.contains(['{', '}']) {
            let message = format!("braces present in the recording rule name; should it be in expr?: {record}");
            context.error_at("record", &message);
        }
    }

    fn check_templates(&self, context: &Context<'_>, field: &'static str, kind: &str, alert: &str) {
        let Some(node) = context.section.get(field) else { return };
        let Value::Map(entries) = &node.value else { return };
        for entry in entries {
            let Value::Scalar(scalar) = &entry.value.value else {
                continue;
            };
            if let Err(error) = cupola_gotemplate::check_alert_template(alert, &scalar.text) {
                context.error(entry.value.pos, &format!("{kind} {}: {error}", go_quote(&entry.key)));
            }
        }
    }
}

// Upstream's reader leaves out what is null, before anything is counted.
fn items<'n>(section: &Section<'n>, name: &'static str, wanted: &str) -> impl Iterator<Item = &'n Node> {
    section
        .items(name, wanted, "")
        .into_iter()
        .filter(|node| !node.is_null())
}

/// Where byte `offset` of a scalar's text stands in the file: exact for literal blocks and for what is plain on one
/// line, else the scalar's own place (escapes and folding stand in between).
fn place_in_scalar(node: &Node, text: &str, offset: usize) -> Pos {
    let Value::Scalar(scalar) = &node.value else {
        return node.pos;
    };
    // "End of input" is behind the last thing to be seen, not on the line below it.
    let before = text.get(..offset.min(text.trim_end().len())).unwrap_or(text);
    let line_start = before.rfind('\n').map_or(0, |at| at + 1);
    let column = before.get(line_start..).map_or(0, |line| line.chars().count());
    if scalar.is_literal {
        // The node's place is the first line that is not empty.
        let empty_lines = text.bytes().take_while(|b| *b == b'\n').count();
        let line = (node.pos.line + before.matches('\n').count()).saturating_sub(empty_lines);
        return Pos {
            line,
            column: node.pos.column + column,
        };
    }
    let is_exact = !scalar.is_text && scalar.lines == 1;
    Pos {
        line: node.pos.line,
        column: node.pos.column + if is_exact { column } else { 0 },
    }
}
