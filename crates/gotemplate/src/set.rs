//! A set of named templates and the functions they may call.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::error::{ParseError, TemplateError};
use crate::exec;
use crate::funcs::{Funcs, builtins};
use crate::html::{self, Html};
use crate::node::Node;
use crate::parse::{is_blank, parse};
use crate::value::Value;

/// What one execution may take before it is stopped with an error.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Budget {
    /// Bytes of output.
    pub output_bytes: usize,
    /// Steps: actions, commands, fields, iterations, and the sizes of what functions give.
    pub steps: u64,
    /// How deep templates, lists and pipelines may nest. Each level costs stack.
    pub depth: usize,
}

impl Default for Budget {
    /// Far above what notifications need, and well below a second of work.
    fn default() -> Self {
        Self {
            output_bytes: 4 << 20,
            steps: 2_000_000,
            depth: 200,
        }
    }
}

/// One named template.
#[derive(Debug)]
pub(crate) struct Template {
    pub name: String,
    /// The name of the text it stands in.
    pub source: String,
    pub text: Arc<str>,
    pub root: Vec<Node>,
}

/// Named templates with their functions. Cloning shares the templates, so that one may parse a text of its own into a
/// clone and redefine what the others use.
#[derive(Debug, Clone, Default)]
pub struct Set {
    templates: BTreeMap<String, Arc<Template>>,
    funcs: Arc<Funcs>,
    budget: Budget,
}

impl Set {
    /// An empty set whose templates may call `funcs` and Go's own functions.
    #[must_use]
    pub fn new(funcs: Funcs) -> Self {
        Self {
            templates: BTreeMap::new(),
            funcs: Arc::new(funcs),
            budget: Budget::default(),
        }
    }

    /// The same set with another budget.
    #[must_use]
    pub fn with_budget(mut self, budget: Budget) -> Self {
        self.budget = budget;
        self
    }

    /// Parses `text` as the template `name` and adds it with all templates that it defines; they replace those of the
    /// same name, except that an empty text replaces nothing (as in Go).
    ///
    /// # Errors
    /// [`ParseError`] for the first mistake; the set is then as before.
    pub fn add(&mut self, name: &str, text: &str) -> Result<(), ParseError> {
        for (name, template) in self.parse(name, text)? {
            if !is_blank(&template.root) || !self.templates.contains_key(&name) {
                self.templates.insert(name, template);
            }
        }
        Ok(())
    }

    /// Only parses `text`.
    ///
    /// # Errors
    /// [`ParseError`] for the first mistake, undefined variables and unknown functions included.
    pub fn check(&self, name: &str, text: &str) -> Result<(), ParseError> {
        self.parse(name, text).map(|_| ())
    }

    fn parse(&self, name: &str, text: &str) -> Result<BTreeMap<String, Arc<Template>>, ParseError> {
        let parsed = parse(name, text, &|f| self.funcs.get(f).is_some() || is_builtin(f))?;
        let text: Arc<str> = text.into();
        let make = |own: String, root| {
            let template = Template {
                name: own.clone(),
                source: name.to_owned(),
                text: text.clone(),
                root,
            };
            (own, Arc::new(template))
        };
        let mut all: BTreeMap<_, _> = parsed.defined.into_iter().map(|(own, root)| make(own, root)).collect();
        let (own, template) = make(name.to_owned(), parsed.root);
        // A text that defines its own name and has nothing else keeps the definition.
        if !is_blank(&template.root) || !all.contains_key(&own) {
            all.insert(own, template);
        }
        Ok(all)
    }

    /// Runs the template `name` with `data` as its dot and appends what it prints to `out`.
    ///
    /// # Errors
    /// [`TemplateError`]; `out` is then as before.
    pub fn execute(&self, name: &str, data: &Value, out: &mut String) -> Result<(), TemplateError> {
        let template = self
            .get(name)
            .ok_or_else(|| TemplateError::NoSuchTemplate(name.to_owned()))?;
        Ok(exec::execute(self, &BTreeMap::new(), template, data, out, None)?)
    }

    /// Parses and runs `text`, which may use the templates of the set and redefine them for itself.
    ///
    /// # Errors
    /// [`TemplateError`] where the text is no template or fails.
    pub fn execute_text(&self, text: &str, data: &Value) -> Result<String, TemplateError> {
        self.execute_named("", text, data)
    }

    /// As [`Set::execute_text`], with a name for errors.
    ///
    /// # Errors
    /// As [`Set::execute_text`].
    pub fn execute_named(&self, name: &str, text: &str, data: &Value) -> Result<String, TemplateError> {
        let mut out = String::new();
        // Most texts are no template at all.
        if !text.contains("{{") {
            return Ok(text.to_owned());
        }
        let mut own = self.parse(name, text)?;
        // An empty definition does not hide one of the set.
        own.retain(|n, t| n == name || !is_blank(&t.root) || !self.templates.contains_key(n));
        let Some(root) = own.get(name).cloned() else {
            return Ok(out);
        };
        exec::execute(self, &own, &root, data, &mut out, None)?;
        Ok(out)
    }

    /// As [`Set::execute_text`], for text that is HTML: what values print is escaped by where it stands (Go's
    /// html/template).
    ///
    /// # Errors
    /// As [`Set::execute_text`]; also where branches of a template end in different places of the document.
    pub fn execute_html(&self, text: &str, data: &Value) -> Result<String, TemplateError> {
        let mut own = self.parse("", text)?;
        own.retain(|n, t| n.is_empty() || !is_blank(&t.root) || !self.templates.contains_key(n));
        let mut out = String::new();
        let Some(root) = own.get("").cloned() else {
            return Ok(out);
        };
        html::check(self, &own, &root.root).map_err(TemplateError::Html)?;
        exec::execute(self, &own, &root, data, &mut out, Some(Html::default()))?;
        Ok(out)
    }

    /// The names of all templates, ascending.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.templates.keys().map(String::as_str)
    }

    pub(crate) fn get(&self, name: &str) -> Option<&Template> {
        self.templates.get(name).map(|t| &**t)
    }

    pub(crate) fn funcs(&self) -> &Funcs {
        &self.funcs
    }

    pub(crate) fn budget(&self) -> Budget {
        self.budget
    }
}

fn is_builtin(name: &str) -> bool {
    matches!(name, "and" | "or") || builtins().get(name).is_some()
}
