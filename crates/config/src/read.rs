//! Reading a YAML tree into types: finds fields, converts values, reports what does not fit, and goes on.
//!
//! A reader asks a [`Section`] for each field it knows; what is left at [`Section::finish`] is unknown and an error.
//! `null` counts as "not given" everywhere.

use std::cell::RefCell;
use std::collections::{BTreeMap, HashSet};
use std::path::{Path, PathBuf};
use std::time::Duration;

use cupola_model::{Labels, go_quote, is_valid_label_name, parse_duration};

use crate::common::{ByteSize, Secret, SecretSource};
use crate::error::{ConfigError, ConfigErrors, ConfigWarning};
use crate::yaml::{self, Document, Entry, Node, Pos, Value};

/// Collects what is found while one file is read.
pub(crate) struct Reader<'a> {
    file: &'a Path,
    errors: RefCell<Vec<ConfigError>>,
    warnings: RefCell<Vec<ConfigWarning>>,
    not_yet: RefCell<Vec<ConfigError>>,
    secrets: RefCell<HashSet<*const Node>>,
}

impl<'a> Reader<'a> {
    /// A reader for `file`; the name is used for messages and to resolve relative paths.
    pub(crate) fn new(file: &'a Path) -> Self {
        Self {
            file,
            errors: RefCell::default(),
            warnings: RefCell::default(),
            not_yet: RefCell::default(),
            secrets: RefCell::default(),
        }
    }

    /// Reads the text's tree; an error of grammar is reported and gives an empty document.
    pub(crate) fn document(&self, text: &str) -> Document {
        match yaml::parse(text) {
            Ok(document) => {
                for (pos, message) in &document.problems {
                    self.error(*pos, message.clone());
                }
                if let Some(pos) = document.second {
                    self.warn(pos, "only the first YAML document of the file is read, this one is not");
                }
                document
            }
            Err((pos, message)) => {
                self.error(pos, message);
                Document::default()
            }
        }
    }

    /// A mistake that is not reported yet.
    pub(crate) fn place(&self, pos: Pos, message: impl Into<String>, hint: Option<String>) -> ConfigError {
        ConfigError {
            file: self.file.to_path_buf(),
            line: pos.line,
            column: pos.column,
            message: message.into(),
            hint,
        }
    }

    /// Reports a mistake.
    pub(crate) fn error(&self, pos: Pos, message: impl Into<String>) {
        self.errors.borrow_mut().push(self.place(pos, message, None));
    }

    /// Reports a mistake with advice.
    pub(crate) fn error_hint(&self, pos: Pos, message: impl Into<String>, hint: impl Into<String>) {
        self.errors
            .borrow_mut()
            .push(self.place(pos, message, Some(hint.into())));
    }

    /// Reports something that is accepted but has no or another effect.
    pub(crate) fn warn(&self, pos: Pos, message: impl Into<String>) {
        self.warnings.borrow_mut().push(self.place(pos, message, None));
    }

    /// Takes over the errors of an included file.
    pub(crate) fn add_errors(&self, errors: impl IntoIterator<Item = ConfigError>) {
        self.errors.borrow_mut().extend(errors);
    }

    /// Whether nothing was reported yet.
    pub(crate) fn is_clean(&self) -> bool {
        self.errors.borrow().is_empty()
    }

    /// The warnings, taken out.
    pub(crate) fn take_warnings(&self) -> Vec<ConfigWarning> {
        self.warnings.take()
    }

    /// What was read and cannot be done by this version, taken out; what is left inside makes [`Reader::result`] fail.
    pub(crate) fn take_not_yet(&self) -> Vec<ConfigError> {
        self.not_yet.take()
    }

    /// Whether the node was read as a secret.
    pub(crate) fn is_secret(&self, node: &Node) -> bool {
        self.secrets.borrow().contains(&std::ptr::from_ref(node))
    }

    /// Notes that the node holds a secret, so that it is not shown.
    pub(crate) fn mark_secret(&self, node: &Node) {
        self.secrets.borrow_mut().insert(std::ptr::from_ref(node));
    }

    /// `Ok` where nothing was reported.
    pub(crate) fn result<T>(&self, value: Option<T>) -> Result<T, ConfigErrors> {
        let mut errors = self.errors.take();
        errors.extend(self.not_yet.take());
        match (ConfigErrors::from_list(errors), value) {
            (None, Some(value)) => Ok(value),
            (Some(errors), _) => Err(errors),
            (None, None) => Err(ConfigErrors::whole_file(self.file, "the file could not be read")),
        }
    }

    /// The path with relative ones joined to the configuration file's folder.
    pub(crate) fn resolve(&self, path: &str) -> PathBuf {
        if path.is_empty() || Path::new(path).is_absolute() {
            return PathBuf::from(path);
        }
        match self.file.parent() {
            Some(dir) if !dir.as_os_str().is_empty() => dir.join(path),
            _ => PathBuf::from(path),
        }
    }

    fn mismatch(&self, node: &Node, wanted: &str) {
        self.error(node.pos, format!("cannot unmarshal {} into {wanted}", node.describe()));
    }

    /// A text; any scalar is one, as written.
    pub(crate) fn text(&self, node: &Node) -> Option<String> {
        match &node.value {
            Value::Scalar(_) if node.is_null() => Some(String::new()),
            Value::Scalar(scalar) => Some(scalar.text.clone()),
            _ => {
                self.mismatch(node, "string");
                None
            }
        }
    }

    /// A duration as Prometheus writes it.
    pub(crate) fn duration(&self, node: &Node) -> Option<Duration> {
        let text = self.text(node)?;
        match parse_duration(&text) {
            Ok(ms) => Some(Duration::from_millis(ms.unsigned_abs())),
            Err(error) => {
                self.error_hint(node.pos, error.to_string(), "write it like 15s, 5m, 1h30m or 7d");
                None
            }
        }
    }

    /// The items of a list, empty where the node is null. `None` items are reported as `empty`.
    pub(crate) fn items<'n>(&self, node: &'n Node, wanted: &str, empty: &str) -> Vec<&'n Node> {
        match &node.value {
            _ if node.is_null() => Vec::new(),
            Value::Seq(items) => items
                .iter()
                .map(AsRef::as_ref)
                .filter(|item| {
                    if item.is_null() && !empty.is_empty() {
                        self.error(item.pos, empty);
                    }
                    !item.is_null() || empty.is_empty()
                })
                .collect(),
            _ => {
                self.mismatch(node, wanted);
                Vec::new()
            }
        }
    }

    /// The entries of a map, none where the node is null.
    pub(crate) fn entries<'n>(&self, node: &'n Node, wanted: &str) -> &'n [Entry] {
        match &node.value {
            _ if node.is_null() => &[],
            Value::Map(entries) => entries,
            _ => {
                self.mismatch(node, wanted);
                &[]
            }
        }
    }

    /// A list of texts.
    pub(crate) fn texts(&self, node: &Node) -> Vec<String> {
        self.items(node, "[]string", "")
            .into_iter()
            .filter_map(|item| self.text(item))
            .collect()
    }

    /// A map of texts.
    pub(crate) fn text_map(&self, node: &Node) -> BTreeMap<String, String> {
        let entries = self.entries(node, "map[string]string");
        entries
            .iter()
            .filter_map(|e| Some((e.key.clone(), self.text(&e.value)?)))
            .collect()
    }

    /// A set of labels; the names must be valid.
    pub(crate) fn labels(&self, node: &Node) -> Labels {
        for entry in self.entries(node, "model.LabelSet") {
            if !is_valid_label_name(&entry.key) {
                self.error(
                    entry.key_pos,
                    format!("{} is not a valid label name", go_quote(&entry.key)),
                );
            }
        }
        if matches!(node.value, Value::Map(_)) {
            Labels::from_pairs(self.text_map(node))
        } else {
            Labels::empty()
        }
    }

    /// Opens a map as a section; null is an empty one.
    pub(crate) fn section<'s>(&'s self, node: &'s Node, type_name: &'static str) -> Section<'s> {
        Section {
            reader: self,
            pos: node.pos,
            type_name,
            entries: self.entries(node, type_name),
            known: RefCell::default(),
        }
    }

    /// A section that does not exist: every field is absent.
    pub(crate) fn no_section(&self) -> Section<'_> {
        Section {
            reader: self,
            pos: Pos::START,
            type_name: "",
            entries: &[],
            known: RefCell::default(),
        }
    }
}

/// A map whose fields are asked for by name.
pub(crate) struct Section<'s> {
    pub(crate) reader: &'s Reader<'s>,
    /// Where the map starts.
    pub(crate) pos: Pos,
    type_name: &'static str,
    entries: &'s [Entry],
    known: RefCell<Vec<&'static str>>,
}

impl<'s> Section<'s> {
    /// The field's value; `None` where it is absent or null.
    pub(crate) fn get(&self, name: &'static str) -> Option<&'s Node> {
        self.get_or_null(name).filter(|node| !node.is_null())
    }

    /// The field's value, null included.
    pub(crate) fn get_or_null(&self, name: &'static str) -> Option<&'s Node> {
        self.known.borrow_mut().push(name);
        self.entries
            .iter()
            .find(|entry| entry.key == name)
            .map(|entry| entry.value.as_ref())
    }

    /// Where the field's name stands; the section's place where the field is absent.
    pub(crate) fn key_pos(&self, name: &str) -> Pos {
        self.entries
            .iter()
            .find(|entry| entry.key == name)
            .map_or(self.pos, |entry| entry.key_pos)
    }

    /// Reports a mistake at the field's name.
    pub(crate) fn error_at(&self, name: &str, message: impl Into<String>) {
        self.reader.error(self.key_pos(name), message);
    }

    /// A text.
    pub(crate) fn text(&self, name: &'static str) -> Option<String> {
        self.get(name).and_then(|node| self.reader.text(node))
    }

    /// A text that is not empty.
    pub(crate) fn filled_text(&self, name: &'static str) -> Option<String> {
        self.text(name).filter(|text| !text.is_empty())
    }

    /// A list of texts.
    pub(crate) fn texts(&self, name: &'static str) -> Vec<String> {
        self.get(name).map_or_else(Vec::new, |node| self.reader.texts(node))
    }

    /// Yes or no.
    pub(crate) fn bool(&self, name: &'static str) -> Option<bool> {
        let node = self.get(name)?;
        let value = match &node.value {
            Value::Scalar(scalar) if !scalar.is_text => yaml::parse_bool(&scalar.text),
            _ => None,
        };
        if value.is_none() {
            self.reader.mismatch(node, "bool");
        }
        value
    }

    /// A whole number, zero or more.
    pub(crate) fn count(&self, name: &'static str) -> Option<u64> {
        let node = self.get(name)?;
        let value = match &node.value {
            Value::Scalar(scalar) if !scalar.is_text => {
                yaml::parse_int(&scalar.text)
                    .and_then(|number| u64::try_from(number).ok())
                    .or_else(|| {
                        // `1e3` and `1000.0` are whole numbers to Go, too.
                        let number = yaml::parse_float(&scalar.text)?;
                        (number.fract() == 0.0 && (0.0..9e15).contains(&number)).then_some(number as u64)
                    })
            }
            _ => None,
        };
        if value.is_none() {
            self.reader.mismatch(node, "uint");
        }
        value
    }

    /// A whole number.
    pub(crate) fn int(&self, name: &'static str) -> Option<i64> {
        let node = self.get(name)?;
        let value = match &node.value {
            Value::Scalar(scalar) if !scalar.is_text => {
                yaml::parse_int(&scalar.text).and_then(|number| i64::try_from(number).ok())
            }
            _ => None,
        };
        if value.is_none() {
            self.reader.mismatch(node, "int");
        }
        value
    }

    /// A number.
    pub(crate) fn float(&self, name: &'static str) -> Option<f64> {
        let node = self.get(name)?;
        let value = match &node.value {
            Value::Scalar(scalar) if !scalar.is_text => yaml::parse_int(&scalar.text)
                .map(|n| n as f64)
                .or_else(|| yaml::parse_float(&scalar.text)),
            _ => None,
        };
        if value.is_none() {
            self.reader.mismatch(node, "float64");
        }
        value
    }

    /// A duration.
    pub(crate) fn duration(&self, name: &'static str) -> Option<Duration> {
        self.get(name).and_then(|node| self.reader.duration(node))
    }

    /// A duration; zero counts as absent, as where Go cannot tell the two apart.
    pub(crate) fn nonzero_duration(&self, name: &'static str) -> Option<Duration> {
        self.duration(name).filter(|duration| !duration.is_zero())
    }

    /// A number of bytes.
    pub(crate) fn size(&self, name: &'static str) -> Option<ByteSize> {
        let node = self.get(name)?;
        let text = self.reader.text(node)?;
        // Upstream takes a bare 0 and nothing else without a unit.
        let size = if text == "0" {
            Some(ByteSize(0))
        } else {
            ByteSize::parse(&text)
        };
        if size.is_none() {
            let message = format!("units: unknown unit or number in size {}", go_quote(&text));
            self.reader
                .error_hint(node.pos, message, "write it like 512KB, 15MB or 2GB");
        }
        size
    }

    /// A path, relative ones joined to the file's folder; the empty one counts as absent.
    pub(crate) fn path(&self, name: &'static str) -> Option<PathBuf> {
        self.filled_text(name).map(|path| self.reader.resolve(&path))
    }

    /// A secret; it is not shown from now on. The empty one counts as absent.
    pub(crate) fn secret(&self, name: &'static str) -> Option<Secret> {
        let node = self.get(name)?;
        self.reader.mark_secret(node);
        self.reader.text(node).filter(|text| !text.is_empty()).map(Secret::new)
    }

    /// `name` in place or `file` as a path; both together are the error `both`.
    pub(crate) fn secret_source(&self, name: &'static str, file: &'static str, both: &str) -> Option<SecretSource> {
        let (inline, path) = (self.secret(name), self.path(file));
        if inline.is_some() && path.is_some() {
            self.error_at(file, both);
        }
        inline.map(SecretSource::Inline).or(path.map(SecretSource::File))
    }

    /// The items of a list field; `empty` is the error for an item that is null.
    pub(crate) fn items(&self, name: &'static str, wanted: &str, empty: &str) -> Vec<&'s Node> {
        self.get(name)
            .map_or_else(Vec::new, |node| self.reader.items(node, wanted, empty))
    }

    /// A field that upstream knows and this version cannot honour: an error where it is given and not empty.
    pub(crate) fn unsupported(&self, name: &'static str) {
        self.unsupported_as(name, name);
    }

    /// As [`Section::unsupported`], with `shown` for the name.
    pub(crate) fn unsupported_as(&self, name: &'static str, shown: &str) {
        if self.is_filled(name) {
            self.error_at(name, format!("{shown} is not supported by this version"));
        }
    }

    /// A field that is read whole, while nothing acts on it yet: whoever starts the program must refuse it where it is
    /// given and not empty, since leaving it out would silently lose data or targets.
    pub(crate) fn not_yet(&self, name: &'static str) {
        if self.is_filled(name) {
            self.not_yet_given(name);
        }
    }

    /// The same for a field that says something also where it is an empty map.
    pub(crate) fn not_yet_given(&self, name: &'static str) {
        if self.get(name).is_some() {
            let message = format!("{name} is not supported by this version");
            let error = self.reader.place(self.key_pos(name), message, None);
            self.reader.not_yet.borrow_mut().push(error);
        }
    }

    fn is_filled(&self, name: &'static str) -> bool {
        self.get(name).is_some_and(|node| match &node.value {
            Value::Seq(items) => !items.is_empty(),
            Value::Map(entries) => !entries.is_empty(),
            Value::Scalar(scalar) => !scalar.text.is_empty() && yaml::parse_bool(&scalar.text) != Some(false),
        })
    }

    /// A map of texts.
    pub(crate) fn text_map(&self, name: &'static str) -> BTreeMap<String, String> {
        self.get(name)
            .map_or_else(BTreeMap::new, |node| self.reader.text_map(node))
    }

    /// A switch that is accepted and has no effect in this version: a warning where it is on.
    pub(crate) fn warn_without_effect(&self, name: &'static str, why: &str) {
        if let Some(entry) = self.entries.iter().find(|entry| entry.key == name) {
            self.reader
                .warn(entry.key_pos, format!("{name} has no effect in this version: {why}"));
        }
    }

    /// Reports every field that was not asked for.
    pub(crate) fn finish(self) {
        let known = self.known.take();
        for entry in self.entries {
            if known.contains(&entry.key.as_str()) {
                continue;
            }
            let message = format!("field {} not found in type {}", entry.key, self.type_name);
            match closest(&entry.key, &known) {
                Some(name) => self
                    .reader
                    .error_hint(entry.key_pos, message, format!("did you mean {name}?")),
                None => self.reader.error(entry.key_pos, message),
            }
        }
    }
}

/// The known name that is at most two edits (one, where it is short) away.
fn closest<'k>(name: &str, known: &[&'k str]) -> Option<&'k str> {
    let limit = if name.len() < 6 { 1 } else { 2 };
    known
        .iter()
        .map(|k| (edits(name, k), *k))
        .filter(|(n, _)| *n <= limit)
        .min()
        .map(|(_, k)| k)
}

fn edits(a: &str, b: &str) -> usize {
    if a.len().abs_diff(b.len()) > 2 {
        return usize::MAX;
    }
    let mut row: Vec<usize> = (0..=b.chars().count()).collect();
    for (i, from) in a.chars().enumerate() {
        let mut diagonal = i;
        let mut left = i + 1;
        for (cell, to) in row.iter_mut().skip(1).zip(b.chars()) {
            let best = (diagonal + usize::from(from != to)).min(left + 1).min(*cell + 1);
            diagonal = std::mem::replace(cell, best);
            left = best;
        }
        if let Some(first) = row.first_mut() {
            *first = i + 1;
        }
    }
    row.last().copied().unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read<T>(text: &str, read: impl Fn(&Section<'_>) -> T) -> (T, Vec<String>) {
        let reader = Reader::new(Path::new("f.yml"));
        let document = reader.document(text);
        let root = document.root.unwrap();
        let section = reader.section(&root, "config.plain");
        let value = read(&section);
        section.finish();
        let errors = reader.errors.take().iter().map(ToString::to_string).collect();
        (value, errors)
    }

    #[test]
    fn unknown_fields_are_errors_with_a_place_and_a_hint() {
        let ((), errors) = read("a: 1\nscrape_intervall: 5s\nzzz: 1\n", |s| {
            s.count("a");
            s.duration("scrape_interval");
        });
        assert_eq!(
            errors,
            [
                "f.yml:2:1: field scrape_intervall not found in type config.plain (did you mean scrape_interval?)",
                "f.yml:3:1: field zzz not found in type config.plain",
            ]
        );
    }

    #[test]
    fn values_of_the_wrong_kind_are_named_as_go_names_them() {
        let ((), errors) = read("a: [1]\nb: x\nc: '1'\nd: {}\ne: 5 m\n", |s| {
            s.text("a");
            s.bool("b");
            s.count("c");
            s.texts("d");
            s.duration("e");
        });
        assert_eq!(
            errors,
            [
                "f.yml:1:4: cannot unmarshal !!seq into string",
                "f.yml:2:4: cannot unmarshal !!str `x` into bool",
                "f.yml:3:4: cannot unmarshal !!str `1` into uint",
                "f.yml:4:4: cannot unmarshal !!map into []string",
                "f.yml:5:4: not a valid duration string: \"5 m\" (write it like 15s, 5m, 1h30m or 7d)",
            ]
        );
    }

    #[test]
    fn null_is_absent() {
        let (values, errors) = read("a:\nb: ~\nc: null\nd:\n", |s| {
            (
                s.text("a"),
                s.bool("b"),
                s.items("c", "[]x", "empty").len(),
                s.duration("d"),
            )
        });
        assert_eq!(values, (None, None, 0, None));
        assert!(errors.is_empty(), "{errors:?}");
    }

    #[test]
    fn scalars_are_texts_as_written() {
        let (texts, _) = read("a: [1.10, yes, 0x1f, 'q']\n", |s| s.texts("a"));
        assert_eq!(texts, ["1.10", "yes", "0x1f", "q"]);
    }

    #[test]
    fn unsupported_fields_are_named() {
        let ((), errors) = read("remote_write: [{url: x}]\nremote_read: []\n", |s| {
            s.unsupported("remote_write");
            s.unsupported("remote_read");
        });
        assert_eq!(errors, ["f.yml:1:1: remote_write is not supported by this version"]);
    }

    #[test]
    fn edits_are_counted() {
        assert_eq!(edits("abc", "abc"), 0);
        assert_eq!(edits("abc", "abd"), 1);
        assert_eq!(edits("annotation", "annotations"), 1);
        assert_eq!(edits("kitten", "sitting"), 3);
    }
}
