//! Tokens to trees. The order of checks is Go's, so that the first error of a wrong template is the same.

use std::collections::BTreeMap;

use crate::error::ParseError;
use crate::lex::{Kind, Token, lex};
use crate::literal::{parse_char, parse_number, unquote};
use crate::node::{Branch, Command, Expr, ExprKind, Node, Pipe};

// How deep actions and parentheses may nest; each level costs stack.
const MAX_DEPTH: usize = 100;

/// What one text defines: its own nodes and the templates it names.
#[derive(Debug)]
pub(crate) struct Parsed {
    pub root: Vec<Node>,
    pub defined: BTreeMap<String, Vec<Node>>,
}

/// Parses `text`; `has_function` says which functions exist.
pub(crate) fn parse(name: &str, text: &str, has_function: &dyn Fn(&str) -> bool) -> Result<Parsed, ParseError> {
    let mut parser = Parser {
        name,
        text,
        tokens: lex(text),
        at: 0,
        vars: vec!["$".to_owned()],
        range_depth: 0,
        depth: 0,
        action_line: None,
        has_function,
        defined: BTreeMap::new(),
    };
    let root = parser.top_level()?;
    Ok(Parsed {
        root,
        defined: parser.defined,
    })
}

/// Whether a list prints nothing but white space: such a definition does not replace another, as in Go.
pub(crate) fn is_blank(list: &[Node]) -> bool {
    list.iter()
        .all(|node| matches!(node, Node::Text(text) if text.trim().is_empty()))
}

struct Parser<'a> {
    name: &'a str,
    text: &'a str,
    tokens: Vec<Token>,
    at: usize,
    vars: Vec<String>,
    range_depth: usize,
    depth: usize,
    action_line: Option<usize>,
    has_function: &'a dyn Fn(&str) -> bool,
    defined: BTreeMap<String, Vec<Node>>,
}

type Result1<T> = Result<T, ParseError>;

// How a list ended.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Stop {
    End,
    Else,
}

impl Stop {
    fn text(self) -> &'static str {
        match self {
            Self::End => "{{end}}",
            Self::Else => "{{else}}",
        }
    }
}

enum Item {
    Node(Node),
    Stop(Stop),
}

impl Parser<'_> {
    // The token `ahead` places on. `lex` always ends with one of kind Eof or Error, which is given forever.
    fn token(&self, ahead: usize) -> &Token {
        static EMPTY: Token = Token {
            kind: Kind::Eof,
            pos: 0,
            line: 1,
            text: String::new(),
        };
        self.tokens
            .get(self.at + ahead)
            .or(self.tokens.last())
            .unwrap_or(&EMPTY)
    }

    fn peek(&self) -> Kind {
        self.token(0).kind
    }

    fn next(&mut self) -> Token {
        let token = self.token(0).clone();
        self.at += 1;
        token
    }

    fn skip_space(&mut self) {
        while self.peek() == Kind::Space {
            self.at += 1;
        }
    }

    fn peek_non_space(&mut self) -> Kind {
        self.skip_space();
        self.peek()
    }

    fn next_non_space(&mut self) -> Token {
        self.skip_space();
        self.next()
    }

    fn error_at(&self, token: &Token, message: String) -> ParseError {
        let before = self.text.get(..token.pos).unwrap_or(self.text);
        let column = before.rsplit('\n').next().unwrap_or("").chars().count() + 1;
        ParseError {
            name: self.name.to_owned(),
            line: token.line,
            column,
            message,
        }
    }

    // An error at the token last taken (or about to be taken).
    fn error<T>(&self, message: impl Into<String>) -> Result1<T> {
        let last = self
            .tokens
            .get(self.at.saturating_sub(1))
            .unwrap_or_else(|| self.token(0));
        Err(self.error_at(last, message.into()))
    }

    fn unexpected<T>(&self, token: &Token, context: &str) -> Result1<T> {
        if token.kind != Kind::Error {
            return Err(self.error_at(token, format!("unexpected {token} in {context}")));
        }
        let mut message = token.text.clone();
        if let Some(line) = self.action_line.filter(|line| *line != token.line) {
            let started = format!(" in action started at {}:{line}", self.name);
            // Avoids "unclosed action in action started at".
            let skip = if message.ends_with(" action") {
                " in action".len()
            } else {
                0
            };
            message.push_str(&started[skip..]);
        }
        Err(self.error_at(token, message))
    }

    fn expect(&mut self, kind: Kind, context: &str) -> Result1<Token> {
        let token = self.next_non_space();
        if token.kind == kind {
            Ok(token)
        } else {
            self.unexpected(&token, context)
        }
    }

    fn enter(&mut self) -> Result1<()> {
        self.depth += 1;
        if self.depth > MAX_DEPTH {
            return self.error(format!("actions nested more than {MAX_DEPTH} deep"));
        }
        Ok(())
    }

    fn top_level(&mut self) -> Result1<Vec<Node>> {
        let mut list = Vec::new();
        while self.peek() != Kind::Eof {
            if self.peek() == Kind::LeftDelim {
                let mark = self.at;
                self.next();
                if self.peek_non_space() == Kind::Define {
                    self.next();
                    self.definition()?;
                    continue;
                }
                self.at = mark;
            }
            match self.text_or_action()? {
                Item::Node(node) => list.push(node),
                Item::Stop(stop) => return self.error(format!("unexpected {}", stop.text())),
            }
        }
        Ok(list)
    }

    fn text_or_action(&mut self) -> Result1<Item> {
        let token = self.next_non_space();
        match token.kind {
            Kind::Text => Ok(Item::Node(Node::Text(token.text))),
            Kind::LeftDelim => {
                self.action_line = Some(token.line);
                let item = self.action();
                self.action_line = None;
                item
            }
            _ => self.unexpected(&token, "input"),
        }
    }

    // The list up to `{{end}}` or `{{else}}`.
    fn list(&mut self) -> Result1<(Vec<Node>, Stop)> {
        let mut list = Vec::new();
        while self.peek_non_space() != Kind::Eof {
            match self.text_or_action()? {
                Item::Node(node) => list.push(node),
                Item::Stop(stop) => return Ok((list, stop)),
            }
        }
        let eof = self.token(0).clone();
        Err(self.error_at(&eof, "unexpected EOF".to_owned()))
    }

    fn action(&mut self) -> Result1<Item> {
        let mark = self.at;
        let token = self.next_non_space();
        match token.kind {
            Kind::If => self.control("if").map(|b| Item::Node(Node::If(b))),
            Kind::With => self.control("with").map(|b| Item::Node(Node::With(b))),
            Kind::Range => self.control("range").map(|b| Item::Node(Node::Range(b))),
            Kind::Template => self.template().map(Item::Node),
            Kind::Block => self.block().map(Item::Node),
            Kind::Break => self.jump("{{break}}", Node::Break),
            Kind::Continue => self.jump("{{continue}}", Node::Continue),
            Kind::End => self.expect(Kind::RightDelim, "end").map(|_| Item::Stop(Stop::End)),
            Kind::Else => {
                // `{{else if` and `{{else with` go on without a delimiter between.
                if !matches!(self.peek_non_space(), Kind::If | Kind::With) {
                    self.expect(Kind::RightDelim, "else")?;
                }
                Ok(Item::Stop(Stop::Else))
            }
            _ => {
                self.at = mark;
                self.skip_space();
                self.pipeline("command", Kind::RightDelim)
                    .map(|pipe| Item::Node(Node::Action(pipe)))
            }
        }
    }

    fn jump(&mut self, text: &str, node: Node) -> Result1<Item> {
        let token = self.next_non_space();
        if token.kind != Kind::RightDelim {
            return self.unexpected(&token, text);
        }
        if self.range_depth == 0 {
            return self.error(format!("{text} outside {{{{range}}}}"));
        }
        Ok(Item::Node(node))
    }

    fn control(&mut self, context: &str) -> Result1<Branch> {
        self.enter()?;
        let vars = self.vars.len();
        let pipe = self.pipeline(context, Kind::RightDelim)?;
        let is_range = usize::from(context == "range");
        self.range_depth += is_range;
        let (list, stop) = self.list()?;
        self.range_depth -= is_range;
        let mut else_list = None;
        if stop == Stop::Else {
            match (context, self.peek()) {
                ("if", Kind::If) => {
                    self.next();
                    else_list = Some(vec![Node::If(self.control("if")?)]);
                }
                ("with", Kind::With) => {
                    self.next();
                    else_list = Some(vec![Node::With(self.control("with")?)]);
                }
                _ => {
                    let (list, stop) = self.list()?;
                    if stop != Stop::End {
                        return self.error(format!("expected end; found {}", stop.text()));
                    }
                    else_list = Some(list);
                }
            }
        }
        self.vars.truncate(vars);
        self.depth -= 1;
        Ok(Branch { pipe, list, else_list })
    }

    fn template_name(&mut self, context: &str) -> Result1<(usize, String)> {
        let token = self.next_non_space();
        match token.kind {
            Kind::Str | Kind::RawString => match unquote(&token.text) {
                Some(name) => Ok((token.pos, name)),
                None => self.error("invalid syntax"),
            },
            _ => self.unexpected(&token, context),
        }
    }

    fn template(&mut self) -> Result1<Node> {
        let (pos, name) = self.template_name("template clause")?;
        let mut pipe = None;
        if self.peek_non_space() == Kind::RightDelim {
            self.next();
        } else {
            pipe = Some(self.pipeline("template clause", Kind::RightDelim)?);
        }
        Ok(Node::Template { pos, name, pipe })
    }

    // A list of its own: other variables, and outside any range.
    fn own_list(&mut self, context: &str) -> Result1<Vec<Node>> {
        self.enter()?;
        let vars = std::mem::replace(&mut self.vars, vec!["$".to_owned()]);
        let range_depth = std::mem::take(&mut self.range_depth);
        let (list, stop) = self.list()?;
        if stop != Stop::End {
            return self.error(format!("unexpected {} in {context}", stop.text()));
        }
        self.vars = vars;
        self.range_depth = range_depth;
        self.depth -= 1;
        Ok(list)
    }

    fn block(&mut self) -> Result1<Node> {
        let context = "block clause";
        let (pos, name) = self.template_name(context)?;
        let pipe = self.pipeline(context, Kind::RightDelim)?;
        let list = self.own_list(context)?;
        self.define(name.clone(), list)?;
        Ok(Node::Template {
            pos,
            name,
            pipe: Some(pipe),
        })
    }

    fn definition(&mut self) -> Result1<()> {
        let context = "define clause";
        let (_, name) = self.template_name(context)?;
        self.expect(Kind::RightDelim, context)?;
        let list = self.own_list(context)?;
        self.define(name, list)
    }

    fn define(&mut self, name: String, list: Vec<Node>) -> Result1<()> {
        match self.defined.get(&name) {
            Some(old) if !is_blank(old) => {
                if is_blank(&list) {
                    return Ok(());
                }
                self.error(format!(
                    "template: multiple definition of template {}",
                    cupola_model::go_quote(&name)
                ))
            }
            _ => {
                self.defined.insert(name, list);
                Ok(())
            }
        }
    }

    fn pipeline(&mut self, context: &str, end: Kind) -> Result1<Pipe> {
        self.peek_non_space();
        let mut pipe = Pipe {
            pos: self.token(0).pos,
            is_assign: false,
            decl: Vec::new(),
            commands: Vec::new(),
        };
        self.declarations(&mut pipe, context)?;
        loop {
            let token = self.next_non_space();
            match token.kind {
                kind if kind == end => break,
                Kind::Bool
                | Kind::CharConstant
                | Kind::Dot
                | Kind::Field
                | Kind::Identifier
                | Kind::Number
                | Kind::Nil
                | Kind::RawString
                | Kind::Str
                | Kind::Variable
                | Kind::LeftParen => {
                    self.at -= 1;
                    let command = self.command()?;
                    pipe.commands.push(command);
                }
                _ => return self.unexpected(&token, context),
            }
        }
        if pipe.commands.is_empty() {
            return self.error(format!("missing value for {context}"));
        }
        for (i, command) in pipe.commands.iter().enumerate().skip(1) {
            let is_literal = matches!(
                command.args.first().map(|arg| &arg.kind),
                Some(ExprKind::Bool(_) | ExprKind::Dot | ExprKind::Nil | ExprKind::Number(_) | ExprKind::Str(..))
            );
            if is_literal {
                return self.error(format!("non executable command in pipeline stage {}", i + 1));
            }
        }
        Ok(pipe)
    }

    fn declarations(&mut self, pipe: &mut Pipe, context: &str) -> Result1<()> {
        while self.peek_non_space() == Kind::Variable {
            let mark = self.at;
            let variable = self.next();
            match self.peek_non_space() {
                kind @ (Kind::Assign | Kind::Declare) => {
                    self.next();
                    pipe.is_assign = kind == Kind::Assign;
                    self.vars.push(variable.text.clone());
                    pipe.decl.push(variable.text);
                    return Ok(());
                }
                Kind::Char if self.token(0).text == "," => {
                    self.next();
                    self.vars.push(variable.text.clone());
                    pipe.decl.push(variable.text);
                    if context != "range" || pipe.decl.len() > 1 {
                        return self.error(format!("too many declarations in {context}"));
                    }
                    if !matches!(
                        self.peek_non_space(),
                        Kind::Variable | Kind::RightDelim | Kind::RightParen
                    ) {
                        return self.error("range can only initialize variables");
                    }
                }
                _ => {
                    self.at = mark;
                    return Ok(());
                }
            }
        }
        Ok(())
    }

    fn command(&mut self) -> Result1<Command> {
        self.peek_non_space();
        let mut command = Command {
            pos: self.token(0).pos,
            args: Vec::new(),
        };
        loop {
            self.skip_space();
            if let Some(operand) = self.operand()? {
                command.args.push(operand);
            }
            let token = self.next();
            match token.kind {
                Kind::Space => continue,
                Kind::RightDelim | Kind::RightParen => self.at -= 1,
                Kind::Pipe => {}
                _ => return self.unexpected(&token, "operand"),
            }
            break;
        }
        if command.args.is_empty() {
            return self.error("empty command");
        }
        Ok(command)
    }

    fn operand(&mut self) -> Result1<Option<Expr>> {
        let Some(term) = self.term()? else { return Ok(None) };
        if self.peek() != Kind::Field {
            return Ok(Some(term));
        }
        let pos = self.token(0).pos;
        let mut names = Vec::new();
        while self.peek() == Kind::Field {
            names.push(field_name(&self.next().text));
        }
        let kind = match term.kind {
            ExprKind::Field(mut fields) => {
                fields.extend(names);
                ExprKind::Field(fields)
            }
            ExprKind::Variable(name, mut fields) => {
                fields.extend(names);
                ExprKind::Variable(name, fields)
            }
            ExprKind::Bool(_) | ExprKind::Str(..) | ExprKind::Number(_) | ExprKind::Nil | ExprKind::Dot => {
                let quoted = cupola_model::go_quote(&term.to_string());
                return self.error(format!("unexpected . after term {quoted}"));
            }
            _ => ExprKind::Chain(Box::new(term), names),
        };
        Ok(Some(Expr { pos, kind }))
    }

    fn term(&mut self) -> Result1<Option<Expr>> {
        let mark = self.at;
        let token = self.next_non_space();
        let kind = match token.kind {
            Kind::Identifier => {
                if !(self.has_function)(&token.text) {
                    return self.error(format!("function {} not defined", cupola_model::go_quote(&token.text)));
                }
                ExprKind::Identifier(token.text)
            }
            Kind::Dot => ExprKind::Dot,
            Kind::Nil => ExprKind::Nil,
            Kind::Bool => ExprKind::Bool(token.text == "true"),
            Kind::Field => ExprKind::Field(vec![field_name(&token.text)]),
            Kind::Variable => {
                if !self.vars.contains(&token.text) {
                    return self.error(format!("undefined variable {}", cupola_model::go_quote(&token.text)));
                }
                ExprKind::Variable(token.text, Vec::new())
            }
            Kind::Number | Kind::CharConstant => {
                let parsed = if token.kind == Kind::Number {
                    parse_number(&token.text)
                } else {
                    parse_char(&token.text)
                };
                match parsed {
                    Ok(number) => ExprKind::Number(number),
                    Err(message) => return self.error(message),
                }
            }
            Kind::Str | Kind::RawString => match unquote(&token.text) {
                Some(meaning) => ExprKind::Str(token.text, meaning),
                None => return self.error("invalid syntax"),
            },
            Kind::LeftParen => {
                self.enter()?;
                let pipe = self.pipeline("parenthesized pipeline", Kind::RightParen)?;
                self.depth -= 1;
                ExprKind::Pipe(Box::new(pipe))
            }
            _ => {
                self.at = mark;
                return Ok(None);
            }
        };
        Ok(Some(Expr { pos: token.pos, kind }))
    }
}

// The name without its dot.
fn field_name(text: &str) -> String {
    text.strip_prefix('.').unwrap_or(text).to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check_error(text: &str, expected: &str) {
        let error = parse("", text, &|name| name != "foo").unwrap_err();
        assert_eq!(error.to_string(), expected, "{text}");
    }

    // Recorded from Alertmanager's amtool 0.25.
    #[test]
    fn errors_are_those_of_go() {
        check_error("{{ if true }}x", "template: :1: unexpected EOF");
        check_error("{{ $x=1}}", "template: :1: bad character U+003D '='");
        check_error(
            "{{ \"a\" | 3 }}",
            "template: :1: non executable command in pipeline stage 2",
        );
        check_error("{{if}}{{end}}", "template: :1: missing value for if");
        check_error("{{ end }}", "template: :1: unexpected {{end}}");
        check_error("{{ .a..b }}", "template: :1: unexpected <.> in operand");
        check_error("{{ define \"x\" }}", "template: :1: unexpected EOF");
        check_error("{{ } }}", "template: :1: unexpected \"}\" in command");
        check_error("{{ \"unclosed", "template: :1: unterminated quoted string");
        check_error("a\n{{ range\n foo", "template: :3: function \"foo\" not defined");
        check_error("{{ if .A }}{{ else if }}{{end}}", "template: :1: missing value for if");
        check_error("{{ break }}", "template: :1: {{break}} outside {{range}}");
        check_error(
            "{{ 99999999999999999999 }}",
            "template: :1: integer overflow: \"99999999999999999999\"",
        );
        check_error("{{ 1a }}", "template: :1: bad number syntax: \"1a\"");
        check_error("{{ 'ab' }}", "template: :1: malformed character constant: 'ab'");
        check_error("{{ $nope }}", "template: :1: undefined variable \"$nope\"");
    }

    #[test]
    fn columns_count_characters_from_one() {
        let error = parse("t", "é\nüü {{ $nope }}", &|_| true).unwrap_err();
        assert_eq!((error.line, error.column), (2, 7));
    }

    #[test]
    fn nesting_has_a_bound() {
        let deep = format!("{{{{ {}1{} }}}}", "(".repeat(5000), ")".repeat(5000));
        assert!(parse("", &deep, &|_| true).unwrap_err().message.contains("nested"));
        let deep = "{{ if 1 }}".repeat(5000);
        assert!(parse("", &deep, &|_| true).unwrap_err().message.contains("nested"));
    }

    #[test]
    fn trees_print_as_they_were_written() {
        for text in [
            ".A.B",
            "$.x | printf \"%s\" 1",
            "(index .A 0).B",
            "eq 1 \"a\" `b`",
            "len (len .X)",
        ] {
            let parsed = parse("", &format!("{{{{{text}}}}}"), &|_| true).unwrap();
            let Some(Node::Action(pipe)) = parsed.root.first() else {
                panic!("no action")
            };
            assert_eq!(pipe.to_string(), text);
        }
    }
}
