//! Escaping by where in an HTML document a value is printed: what Go's html/template does.
//!
//! Go looks at a template before it runs and puts escapers into its pipelines; here the document is followed while it is
//! written, which gives the same for templates whose branches end in one context. Those that do not are refused by
//! [`check`], as Go refuses them.

mod escape;

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::funcs::json;
use crate::node::{Branch, ExprKind, Node, Pipe};
use crate::objects::SafeHtml;
use crate::set::{Set, Template};
use crate::value::Value;

/// What stands in the place of a value that would be dangerous; Go's word.
const UNSAFE: &str = "ZgotmplZ";

/// Where in the document the next character stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum Place {
    #[default]
    Text,
    /// Behind `<`, in the name of an element.
    ElementName {
        is_end: bool,
    },
    /// Between attributes.
    Tag,
    AttrName,
    AfterName,
    BeforeValue,
    Value,
    /// In `<script>`, `<style>`, `<title>`, `<textarea>`.
    Element,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum Delim {
    #[default]
    None,
    Double,
    Single,
    SpaceOrTagEnd,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum Attr {
    #[default]
    None,
    Url,
    Script,
    Style,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum Element {
    #[default]
    None,
    Script,
    Style,
    // Holds text in which nothing is an element.
    Raw,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum UrlPart {
    #[default]
    None,
    PreQuery,
    QueryOrFrag,
}

/// What decides how a value is escaped.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
struct Context {
    place: Place,
    delim: Delim,
    attr: Attr,
    element: Element,
    url: UrlPart,
    // In a script: the quote of the text that is open.
    quote: Option<char>,
}

/// Follows a document as it is written.
#[derive(Debug, Clone, Default)]
pub(crate) struct Html {
    at: Context,
    // Of the element or attribute that is being named.
    name: String,
    // The end of what was written of an element's content, to find its end tag.
    tail: String,
    is_comment: bool,
}

impl Html {
    /// Follows text of the template and adds to `out` what of it is in the document: all but comments.
    pub(crate) fn literal(&mut self, text: &str, out: &mut String) {
        let mut rest = text;
        while !rest.is_empty() {
            if self.is_comment {
                let Some(end) = rest.find("-->") else { return };
                self.is_comment = false;
                rest = rest.get(end + 3..).unwrap_or_default();
                continue;
            }
            if self.at.place == Place::Text && rest.starts_with("<!--") {
                self.is_comment = true;
                rest = rest.get(4..).unwrap_or_default();
                continue;
            }
            let Some(c) = rest.chars().next() else { return };
            let after = rest.get(c.len_utf8()..).unwrap_or_default();
            self.follow(c, after);
            out.push(c);
            rest = after;
        }
    }

    fn follow(&mut self, c: char, after: &str) {
        let next = after.chars().next();
        match self.at.place {
            Place::Text => {
                if c == '<' && (next.is_some_and(|n| n.is_ascii_alphabetic()) || after.starts_with('/')) {
                    self.name.clear();
                    self.at.place = Place::ElementName {
                        is_end: next == Some('/'),
                    };
                }
            }
            Place::ElementName { is_end } => match c {
                '/' if self.name.is_empty() => {}
                '>' => self.end_tag(is_end),
                c if c.is_whitespace() || c == '/' => {
                    self.at.element = if is_end { Element::None } else { element(&self.name) };
                    self.at.place = Place::Tag;
                }
                c => self.name.push(c.to_ascii_lowercase()),
            },
            Place::Tag => match c {
                '>' => self.end_tag(false),
                c if c.is_whitespace() || c == '/' => {}
                c => {
                    self.name.clear();
                    self.name.push(c.to_ascii_lowercase());
                    self.at.place = Place::AttrName;
                }
            },
            Place::AttrName => match c {
                '=' => self.begin_value(),
                '>' => self.end_tag(false),
                c if c.is_whitespace() => self.at.place = Place::AfterName,
                c => self.name.push(c.to_ascii_lowercase()),
            },
            Place::AfterName => match c {
                '=' => self.begin_value(),
                '>' => self.end_tag(false),
                c if c.is_whitespace() => {}
                c => {
                    self.name.clear();
                    self.name.push(c.to_ascii_lowercase());
                    self.at.place = Place::AttrName;
                }
            },
            Place::BeforeValue => match c {
                '"' => self.in_value(Delim::Double),
                '\'' => self.in_value(Delim::Single),
                '>' => self.end_tag(false),
                c if c.is_whitespace() => {}
                c => {
                    self.in_value(Delim::SpaceOrTagEnd);
                    self.follow_value(c);
                }
            },
            Place::Value => match (self.at.delim, c) {
                (Delim::Double, '"') | (Delim::Single, '\'') => self.end_value(),
                (Delim::SpaceOrTagEnd, '>') => {
                    self.end_value();
                    self.end_tag(false);
                }
                (Delim::SpaceOrTagEnd, c) if c.is_whitespace() => self.end_value(),
                (_, c) => self.follow_value(c),
            },
            Place::Element => self.follow_content(c),
        }
    }

    fn begin_value(&mut self) {
        self.at.attr = attribute(&self.name);
        self.at.place = Place::BeforeValue;
    }

    fn in_value(&mut self, delim: Delim) {
        (self.at.place, self.at.delim) = (Place::Value, delim);
        (self.at.url, self.at.quote) = (UrlPart::None, None);
    }

    fn follow_value(&mut self, c: char) {
        match self.at.attr {
            Attr::Url => match c {
                '#' | '?' => self.at.url = UrlPart::QueryOrFrag,
                c if self.at.url == UrlPart::None && !c.is_whitespace() => self.at.url = UrlPart::PreQuery,
                _ => {}
            },
            Attr::Script => self.follow_quote(c),
            Attr::None | Attr::Style => {}
        }
    }

    fn follow_quote(&mut self, c: char) {
        match self.at.quote {
            Some(quote) if quote == c && !self.tail.ends_with('\\') => self.at.quote = None,
            None if matches!(c, '"' | '\'' | '`') => self.at.quote = Some(c),
            _ => {}
        }
    }

    fn end_value(&mut self) {
        (self.at.place, self.at.delim, self.at.attr) = (Place::Tag, Delim::None, Attr::None);
        (self.at.url, self.at.quote) = (UrlPart::None, None);
    }

    fn end_tag(&mut self, is_end: bool) {
        if let Place::ElementName { .. } = self.at.place {
            self.at.element = if is_end { Element::None } else { element(&self.name) };
        }
        self.tail.clear();
        self.at = Context {
            place: if self.at.element == Element::None {
                Place::Text
            } else {
                Place::Element
            },
            element: self.at.element,
            ..Context::default()
        };
    }

    // In an element whose content is no HTML, until its end tag.
    fn follow_content(&mut self, c: char) {
        if self.at.element == Element::Script {
            self.follow_quote(c);
        }
        self.tail.push(c.to_ascii_lowercase());
        if let Some(at) = self.tail.rfind("</") {
            let name = self.tail.get(at + 2..).unwrap_or_default();
            if ["script", "style", "title", "textarea"].contains(&name) {
                self.name = name.to_owned();
                self.at = Context {
                    place: Place::ElementName { is_end: true },
                    ..Context::default()
                };
                self.tail.clear();
            }
        }
        if self.tail.len() > 16 {
            let keep = self.tail.len() - 12;
            self.tail = self
                .tail
                .chars()
                .skip_while({
                    let mut dropped = 0;
                    move |c| {
                        dropped += c.len_utf8();
                        dropped <= keep
                    }
                })
                .collect();
        }
    }

    /// What is written for a value that prints as `shown`; `last` is the function that its pipeline ends with.
    pub(crate) fn value(&mut self, value: &Value, shown: &str, last: Option<&str>) -> String {
        let safe = value.downcast::<SafeHtml>().is_some();
        let at = self.at;
        match at.place {
            Place::Text if safe => shown.to_owned(),
            // Go keeps what its own `html` has escaped.
            Place::Text if last == Some("html") => shown.to_owned(),
            Place::Text => escape::html(shown),
            Place::Element => match at.element {
                Element::Script => script(value, shown, at.quote),
                Element::Style => escape::css(shown),
                Element::Raw | Element::None => escape::html(shown),
            },
            Place::Value | Place::BeforeValue => {
                if at.place == Place::BeforeValue {
                    self.in_value(Delim::SpaceOrTagEnd);
                    self.at.attr = at.attr;
                }
                let inner = match at.attr {
                    Attr::Url => self.url(shown, last),
                    Attr::Script => script(value, shown, at.quote),
                    Attr::Style => escape::css(shown),
                    Attr::None if safe => escape::strip_tags(shown),
                    Attr::None => shown.to_owned(),
                };
                match self.at.delim {
                    Delim::SpaceOrTagEnd => escape::unquoted(&inner, safe),
                    _ if safe && at.attr == Attr::None => escape::normal(&inner),
                    _ if last == Some("html") && at.attr == Attr::None => inner,
                    _ => escape::html(&inner),
                }
            }
            Place::Tag | Place::AttrName | Place::AfterName | Place::ElementName { .. } => {
                let is_name = !shown.is_empty() && shown.chars().all(|c| c.is_ascii_alphanumeric() || c == '-');
                let is_harmless = attribute(&shown.to_ascii_lowercase()) == Attr::None;
                if is_name && is_harmless {
                    shown.to_owned()
                } else {
                    UNSAFE.to_owned()
                }
            }
        }
    }

    fn url(&self, shown: &str, last: Option<&str>) -> String {
        match self.at.url {
            UrlPart::None => escape::normal_url(&escape::filter_url(shown)),
            UrlPart::PreQuery => escape::normal_url(shown),
            UrlPart::QueryOrFrag if last == Some("urlquery") => shown.to_owned(),
            UrlPart::QueryOrFrag => escape::query(shown),
        }
    }
}

fn element(name: &str) -> Element {
    match name {
        "script" => Element::Script,
        "style" => Element::Style,
        "title" | "textarea" => Element::Raw,
        _ => Element::None,
    }
}

// By the name alone, as Go does; what it does not know and looks like a URL's is taken for one.
fn attribute(name: &str) -> Attr {
    let name = name.strip_prefix("data-").unwrap_or(name);
    let name = name.rsplit_once(':').map_or(name, |(_, local)| local);
    match name {
        "action" | "archive" | "background" | "cite" | "classid" | "codebase" | "data" | "formaction" | "href"
        | "icon" | "longdesc" | "manifest" | "poster" | "profile" | "src" | "usemap" => Attr::Url,
        "style" => Attr::Style,
        name if name.starts_with("on") => Attr::Script,
        name if ["src", "uri", "url"].iter().any(|part| name.contains(part)) => Attr::Url,
        _ => Attr::None,
    }
}

fn script(value: &Value, shown: &str, quote: Option<char>) -> String {
    match quote {
        Some(_) => escape::js_string(shown),
        None => {
            let json = json::to_json(value).unwrap_or_else(|_| "null".to_owned());
            // So that a number or a word does not run into what stands beside it.
            let is_word = |c: Option<char>| c.is_some_and(|c| c.is_ascii_alphanumeric() || c == '_' || c == '$');
            match is_word(json.chars().next()) || is_word(json.chars().next_back()) {
                true => format!(" {json} "),
                false => json,
            }
        }
    }
}

/// Whether each branch of the templates that `root` uses ends in one context: the first that does not, as a text.
pub(crate) fn check(set: &Set, own: &BTreeMap<String, Arc<Template>>, root: &[Node]) -> Result<(), String> {
    let mut walk = Walk { set, own, depth: 0 };
    walk.list(root, Html::default()).map(|_| ())
}

struct Walk<'a> {
    set: &'a Set,
    own: &'a BTreeMap<String, Arc<Template>>,
    depth: usize,
}

// Deeper than this templates call themselves; then the context is what it was.
const DEEPEST: usize = 40;

impl Walk<'_> {
    fn list(&mut self, nodes: &[Node], mut html: Html) -> Result<Html, String> {
        let mut out = String::new();
        for node in nodes {
            html = match node {
                Node::Text(text) => {
                    out.clear();
                    html.literal(text, &mut out);
                    html
                }
                Node::Action(pipe) => {
                    if pipe.decl.is_empty() {
                        // Any value: only what it does to the context counts.
                        html.value(&Value::Nil, "x", None);
                    }
                    html
                }
                Node::If(branch) => self.branch("if", branch, html)?,
                Node::With(branch) => self.branch("with", branch, html)?,
                Node::Range(branch) => self.branch("range", branch, html)?,
                Node::Template { name, .. } => {
                    let (set, own) = (self.set, self.own);
                    let template = own.get(name).map(|template| &**template).or_else(|| set.get(name));
                    match template {
                        Some(template) if self.depth < DEEPEST => {
                            self.depth += 1;
                            let after = self.list(&template.root, html);
                            self.depth -= 1;
                            after?
                        }
                        _ => html,
                    }
                }
                Node::Break | Node::Continue => html,
            };
        }
        Ok(html)
    }

    fn branch(&mut self, what: &str, branch: &Branch, html: Html) -> Result<Html, String> {
        let taken = self.list(&branch.list, html.clone())?;
        let other = match &branch.else_list {
            Some(list) => self.list(list, html)?,
            None => html,
        };
        if ends_alike(&taken.at, &other.at) {
            return Ok(taken);
        }
        Err(format!(
            "{{{{{what}}}}} branches end in different contexts: {:?}, {:?}",
            taken.at, other.at
        ))
    }
}

// Between attributes it does not matter what stands there, and how far a URL has come is decided by what follows.
fn ends_alike(a: &Context, b: &Context) -> bool {
    let plain = |at: &Context| {
        let place = match at.place {
            Place::AfterName | Place::AttrName => Place::Tag,
            place => place,
        };
        Context {
            place,
            url: UrlPart::None,
            ..*at
        }
    };
    plain(a) == plain(b)
}

/// The function that a pipeline ends with.
pub(crate) fn last_function(pipe: &Pipe) -> Option<&str> {
    match &pipe.commands.last()?.args.first()?.kind {
        ExprKind::Identifier(name) => Some(name),
        _ => None,
    }
}
