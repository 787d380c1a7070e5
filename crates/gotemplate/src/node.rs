//! The tree of a template, and the tree as text again (errors quote it as Go does).

use std::fmt;

use crate::literal::Number;

/// One piece of a template.
#[derive(Debug, Clone)]
pub(crate) enum Node {
    Text(String),
    Action(Pipe),
    If(Branch),
    With(Branch),
    Range(Branch),
    Template {
        pos: usize,
        name: String,
        pipe: Option<Pipe>,
    },
    Break,
    Continue,
}

/// `if`, `with` or `range` with its lists.
#[derive(Debug, Clone)]
pub(crate) struct Branch {
    pub pipe: Pipe,
    pub list: Vec<Node>,
    pub else_list: Option<Vec<Node>>,
}

/// `$x, $y := command | command`.
#[derive(Debug, Clone)]
pub(crate) struct Pipe {
    pub pos: usize,
    /// `=` instead of `:=`.
    pub is_assign: bool,
    /// With the dollar sign.
    pub decl: Vec<String>,
    pub commands: Vec<Command>,
}

/// A function, method or value with its arguments; never empty once parsed.
#[derive(Debug, Clone)]
pub(crate) struct Command {
    pub pos: usize,
    pub args: Vec<Expr>,
}

/// An operand and where it stands.
#[derive(Debug, Clone)]
pub(crate) struct Expr {
    pub pos: usize,
    pub kind: ExprKind,
}

#[derive(Debug, Clone)]
pub(crate) enum ExprKind {
    Dot,
    Nil,
    Bool(bool),
    /// As written, and what it means.
    Str(String, String),
    Number(Number),
    /// `.A.B`, names without dots.
    Field(Vec<String>),
    /// `$x.A`: the name with its dollar sign, then fields.
    Variable(String, Vec<String>),
    /// `(pipeline).A.B`.
    Chain(Box<Expr>, Vec<String>),
    Identifier(String),
    Pipe(Box<Pipe>),
}

impl fmt::Display for Pipe {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.decl.is_empty() {
            let operator = if self.is_assign { "=" } else { ":=" };
            write!(f, "{} {operator} ", self.decl.join(", "))?;
        }
        for (i, command) in self.commands.iter().enumerate() {
            let bar = if i > 0 { " | " } else { "" };
            write!(f, "{bar}{command}")?;
        }
        Ok(())
    }
}

impl fmt::Display for Command {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, arg) in self.args.iter().enumerate() {
            let space = if i > 0 { " " } else { "" };
            match &arg.kind {
                ExprKind::Pipe(pipe) => write!(f, "{space}({pipe})")?,
                _ => write!(f, "{space}{arg}")?,
            }
        }
        Ok(())
    }
}

impl fmt::Display for Expr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let fields =
            |f: &mut fmt::Formatter<'_>, names: &[String]| names.iter().try_for_each(|name| write!(f, ".{name}"));
        match &self.kind {
            ExprKind::Dot => f.write_str("."),
            ExprKind::Nil => f.write_str("nil"),
            ExprKind::Bool(value) => write!(f, "{value}"),
            ExprKind::Str(quoted, _) => f.write_str(quoted),
            ExprKind::Number(number) => f.write_str(&number.text),
            ExprKind::Field(names) => fields(f, names),
            ExprKind::Variable(name, names) => {
                f.write_str(name)?;
                fields(f, names)
            }
            ExprKind::Chain(inner, names) => {
                match &inner.kind {
                    ExprKind::Pipe(pipe) => write!(f, "({pipe})")?,
                    _ => write!(f, "{inner}")?,
                }
                fields(f, names)
            }
            ExprKind::Identifier(name) => f.write_str(name),
            ExprKind::Pipe(pipe) => write!(f, "{pipe}"),
        }
    }
}

/// `{{template "name" pipeline}}`, as errors show it.
pub(crate) fn template_text(name: &str, pipe: Option<&Pipe>) -> String {
    let name = cupola_model::go_quote(name);
    pipe.map_or_else(
        || format!("{{{{template {name}}}}}"),
        |pipe| format!("{{{{template {name} {pipe}}}}}"),
    )
}
