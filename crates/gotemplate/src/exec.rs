//! Runs a template's tree. Order of evaluation and the texts of errors are Go's.

use std::collections::BTreeMap;
use std::sync::Arc;

use cupola_model::go_quote;

use crate::error::ExecError;
use crate::fmt;
use crate::funcs::{Func, MAX_TEXT, Param, builtins};
use crate::html::{Html, last_function};
use crate::node::{Branch, Command, Expr, ExprKind, Node, Pipe, template_text};
use crate::set::{Set, Template};
use crate::value::{Object, Value};

// Values nested deeper than this (a list put into itself in a loop) are refused.
const MAX_VALUE_DEPTH: usize = 32;

type Run<T> = Result<T, Box<ExecError>>;

// How a list ended.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Flow {
    On,
    Break,
    Continue,
}

// What is being evaluated, for errors.
#[derive(Clone, Copy)]
enum At<'a> {
    Start,
    Expr(&'a Expr),
    Pipe(&'a Pipe),
    Command(&'a Command),
    Template {
        pos: usize,
        name: &'a str,
        pipe: Option<&'a Pipe>,
    },
}

impl At<'_> {
    fn pos(self) -> usize {
        match self {
            Self::Start => 0,
            Self::Expr(expr) => expr.pos,
            Self::Pipe(pipe) => pipe.pos,
            Self::Command(command) => command.pos,
            Self::Template { pos, .. } => pos,
        }
    }

    fn text(self) -> String {
        match self {
            Self::Start => String::new(),
            Self::Expr(expr) => expr.to_string(),
            Self::Pipe(pipe) => pipe.to_string(),
            Self::Command(command) => command.to_string(),
            Self::Template { name, pipe, .. } => template_text(name, pipe),
        }
    }
}

struct State<'a> {
    set: &'a Set,
    // Templates of the text being executed; they come before those of the set.
    own: &'a BTreeMap<String, Arc<Template>>,
    out: &'a mut String,
    // Where the output is HTML.
    html: Option<Html>,
    out_start: usize,
    template: &'a Template,
    vars: Vec<(&'a str, Value)>,
    at: At<'a>,
    steps: u64,
    depth: usize,
}

/// Runs `template` with `data` and appends to `out`, escaped where it is `html`. On an error `out` is as it was.
pub(crate) fn execute(
    set: &Set,
    own: &BTreeMap<String, Arc<Template>>,
    template: &Template,
    data: &Value,
    out: &mut String,
    html: Option<Html>,
) -> Result<(), Box<ExecError>> {
    let out_start = out.len();
    let mut state = State {
        set,
        own,
        out,
        html,
        out_start,
        template,
        vars: vec![("$", data.clone())],
        at: At::Start,
        steps: 0,
        depth: 0,
    };
    let result = state.walk_list(data, &template.root);
    if result.is_err() {
        out.truncate(out_start);
    }
    result.map(|_| ())
}

impl<'a> State<'a> {
    fn fail(&self, message: impl Into<String>) -> Box<ExecError> {
        let pos = self.at.pos();
        let before = self.template.text.get(..pos).unwrap_or("");
        let line = 1 + before.bytes().filter(|b| *b == b'\n').count();
        let column = before.len() - before.rfind('\n').map_or(0, |at| at + 1);
        Box::new(ExecError {
            place: format!("{}:{line}:{column}", self.template.source),
            template: self.template.name.clone(),
            context: self.at.text(),
            message: message.into(),
            is_over_budget: false,
        })
    }

    fn error<T>(&self, message: impl Into<String>) -> Run<T> {
        Err(self.fail(message))
    }

    fn over_budget<T>(&self, message: String) -> Run<T> {
        let mut error = self.fail(message);
        error.is_over_budget = true;
        Err(error)
    }

    fn step(&mut self, cost: u64) -> Run<()> {
        self.steps = self.steps.saturating_add(cost);
        let limit = self.set.budget().steps;
        if self.steps > limit {
            self.over_budget(format!("stopped after {limit} steps"))
        } else {
            Ok(())
        }
    }

    fn enter(&mut self) -> Run<()> {
        self.depth += 1;
        let limit = self.set.budget().depth;
        if self.depth > limit {
            return self.over_budget(format!(
                "stopped: templates and pipelines nested more than {limit} deep"
            ));
        }
        self.step(1)
    }

    fn write(&mut self, text: &str) -> Run<()> {
        let limit = self.set.budget().output_bytes;
        if self.out.len() - self.out_start + text.len() > limit {
            return self.over_budget(format!("stopped after {limit} bytes of output"));
        }
        match &mut self.html {
            Some(html) => html.literal(text, self.out),
            None => self.out.push_str(text),
        }
        Ok(())
    }

    fn print(&mut self, pipe: &Pipe, value: &Value) -> Run<()> {
        if let Value::Func(_) = value {
            return self.error(format!("can't print {} of type func", self.at.text()));
        }
        let limit = self.set.budget().output_bytes;
        match fmt::display(value, limit) {
            Ok(text) => match &mut self.html {
                Some(html) => {
                    // Go's escapers leave out what is nothing, where text says `<no value>`.
                    let shown = if matches!(value, Value::Nil) { "" } else { &text };
                    let escaped = html.value(value, shown, last_function(pipe));
                    if self.out.len() - self.out_start + escaped.len() > limit {
                        return self.over_budget(format!("stopped after {limit} bytes of output"));
                    }
                    self.out.push_str(&escaped);
                    Ok(())
                }
                None => self.write(&text),
            },
            Err(fmt::TooLong) => self.over_budget(format!("stopped after {limit} bytes of output")),
        }
    }

    // Lists.

    fn walk_list(&mut self, dot: &Value, list: &'a [Node]) -> Run<Flow> {
        self.enter()?;
        for node in list {
            self.step(1)?;
            let flow = match node {
                Node::Text(text) => self.write(text).map(|()| Flow::On)?,
                Node::Action(pipe) => {
                    self.at = At::Pipe(pipe);
                    let value = self.pipeline(dot, pipe)?;
                    if pipe.decl.is_empty() {
                        self.print(pipe, &value)?;
                    }
                    Flow::On
                }
                Node::If(branch) => self.walk_if(dot, branch, false)?,
                Node::With(branch) => self.walk_if(dot, branch, true)?,
                Node::Range(branch) => self.walk_range(dot, branch)?,
                Node::Template { pos, name, pipe } => self.walk_template(dot, *pos, name, pipe.as_ref())?,
                Node::Break => Flow::Break,
                Node::Continue => Flow::Continue,
            };
            if flow != Flow::On {
                self.depth -= 1;
                return Ok(flow);
            }
        }
        self.depth -= 1;
        Ok(Flow::On)
    }

    fn walk_if(&mut self, dot: &Value, branch: &'a Branch, is_with: bool) -> Run<Flow> {
        let mark = self.vars.len();
        self.at = At::Pipe(&branch.pipe);
        let value = self.pipeline(dot, &branch.pipe)?;
        let flow = if value.truth() {
            self.walk_list(if is_with { &value } else { dot }, &branch.list)?
        } else if let Some(list) = &branch.else_list {
            self.walk_list(dot, list)?
        } else {
            Flow::On
        };
        self.vars.truncate(mark);
        Ok(flow)
    }

    fn walk_range(&mut self, dot: &Value, branch: &'a Branch) -> Run<Flow> {
        let outer = self.vars.len();
        self.at = At::Pipe(&branch.pipe);
        let value = self.pipeline(dot, &branch.pipe)?;
        let mark = self.vars.len();
        let mut count = 0_usize;
        match value.plain() {
            Value::List(list) => {
                for (i, item) in list.items().iter().enumerate() {
                    count += 1;
                    let index = Value::Int(i64::try_from(i).unwrap_or(i64::MAX));
                    if self.iteration(branch, mark, index, item.clone())? == Flow::Break {
                        break;
                    }
                }
            }
            Value::Map(map) => {
                for (key, item) in map.entries() {
                    count += 1;
                    if self.iteration(branch, mark, Value::Str(key.clone()), item.clone())? == Flow::Break {
                        break;
                    }
                }
            }
            number @ (Value::Int(_) | Value::Uint(_)) => {
                if branch.pipe.decl.len() > 1 {
                    let shown = fmt::display(&value, MAX_TEXT).unwrap_or_default();
                    return self.error(format!("can't use {shown} to iterate over more than one variable"));
                }
                let end = match number {
                    Value::Int(end) => end,
                    Value::Uint(end) => i64::try_from(end).unwrap_or(i64::MAX),
                    _ => 0,
                };
                for i in 0..end {
                    count += 1;
                    if self.iteration(branch, mark, Value::Int(i), Value::Int(i))? == Flow::Break {
                        break;
                    }
                }
            }
            Value::Nil => {}
            _ => {
                let shown = fmt::display(&value, MAX_TEXT).unwrap_or_default();
                return self.error(format!("range can't iterate over {shown}"));
            }
        }
        let mut flow = Flow::On;
        if count == 0
            && let Some(list) = &branch.else_list
        {
            flow = self.walk_list(dot, list)?;
        }
        self.vars.truncate(outer);
        Ok(flow)
    }

    fn iteration(&mut self, branch: &'a Branch, mark: usize, index: Value, item: Value) -> Run<Flow> {
        let pipe = &branch.pipe;
        // With two variables the index comes first; with one it is the item.
        let assigned: [Option<(&'a String, Value)>; 2] = match pipe.decl.as_slice() {
            [] => [None, None],
            [only] => [Some((only, item.clone())), None],
            [first, second, ..] => [Some((first, index)), Some((second, item.clone()))],
        };
        let declared = pipe.decl.len();
        for (i, (name, value)) in assigned.into_iter().flatten().enumerate() {
            if pipe.is_assign {
                self.set_var(name, value)?;
            } else if let Some(slot) = (mark + i).checked_sub(declared).and_then(|at| self.vars.get_mut(at)) {
                slot.1 = value;
            }
        }
        let flow = self.walk_list(&item, &branch.list)?;
        self.vars.truncate(mark);
        Ok(flow)
    }

    fn walk_template(&mut self, dot: &Value, pos: usize, name: &'a str, pipe: Option<&'a Pipe>) -> Run<Flow> {
        self.at = At::Template { pos, name, pipe };
        let Some(template) = self.own.get(name).map(|t| &**t).or_else(|| self.set.get(name)) else {
            return self.error(format!("template {} not defined", go_quote(name)));
        };
        let dot = match pipe {
            Some(pipe) => self.pipeline(dot, pipe)?,
            None => Value::Nil,
        };
        let vars = std::mem::replace(&mut self.vars, vec![("$", dot.clone())]);
        let caller = std::mem::replace(&mut self.template, template);
        self.walk_list(&dot, &template.root)?;
        self.vars = vars;
        self.template = caller;
        Ok(Flow::On)
    }

    // Variables.

    fn set_var(&mut self, name: &str, value: Value) -> Run<()> {
        match self.vars.iter_mut().rev().find(|(n, _)| *n == name) {
            Some(slot) => slot.1 = value,
            None => return self.error(format!("undefined variable: {name}")),
        }
        Ok(())
    }

    fn var(&self, name: &str) -> Run<Value> {
        match self.vars.iter().rev().find(|(n, _)| *n == name) {
            Some((_, value)) => Ok(value.clone()),
            None => self.error(format!("undefined variable: {name}")),
        }
    }

    // Pipelines.

    fn pipeline(&mut self, dot: &Value, pipe: &'a Pipe) -> Run<Value> {
        self.enter()?;
        self.at = At::Pipe(pipe);
        let mut value = None;
        for command in &pipe.commands {
            value = Some(self.command(dot, command, value)?);
        }
        let value = value.unwrap_or_default();
        for name in &pipe.decl {
            if pipe.is_assign {
                self.set_var(name, value.clone())?;
            } else {
                self.vars.push((name, value.clone()));
            }
        }
        self.depth -= 1;
        Ok(value)
    }

    fn command(&mut self, dot: &Value, command: &'a Command, last: Option<Value>) -> Run<Value> {
        self.step(1)?;
        let Some((first, args)) = command.args.split_first() else {
            return Ok(Value::Nil);
        };
        match &first.kind {
            ExprKind::Field(_) | ExprKind::Variable(..) | ExprKind::Chain(..) => self.access(dot, first, args, last),
            ExprKind::Identifier(name) => {
                self.at = At::Expr(first);
                self.function(dot, name, At::Command(command), args, last)
            }
            ExprKind::Pipe(pipe) => {
                self.not_a_function(first, args, last.as_ref())?;
                self.pipeline(dot, pipe)
            }
            ExprKind::Nil => {
                self.at = At::Expr(first);
                self.not_a_function(first, args, last.as_ref())?;
                self.error("nil is not a command")
            }
            ExprKind::Dot | ExprKind::Bool(_) | ExprKind::Str(..) | ExprKind::Number(_) => {
                self.at = At::Expr(first);
                self.not_a_function(first, args, last.as_ref())?;
                self.literal(dot, first)
            }
        }
    }

    fn not_a_function(&self, first: &Expr, args: &[Expr], last: Option<&Value>) -> Run<()> {
        if args.is_empty() && last.is_none() {
            return Ok(());
        }
        self.error(format!("can't give argument to non-function {first}"))
    }

    fn literal(&self, dot: &Value, expr: &Expr) -> Run<Value> {
        match &expr.kind {
            ExprKind::Dot => Ok(dot.clone()),
            ExprKind::Bool(value) => Ok(Value::Bool(*value)),
            ExprKind::Str(_, meaning) => Ok(Value::from(meaning.as_str())),
            ExprKind::Number(number) if number.is_float => Ok(Value::Float(number.float)),
            ExprKind::Number(number) => match number.int {
                Some(int) => Ok(Value::Int(int)),
                None => self.error(format!("{} overflows int", number.text)),
            },
            _ => Ok(Value::Nil),
        }
    }

    // `.A.B`, `$x.A.B` and `(…).A.B` with arguments for the last.
    fn access(&mut self, dot: &Value, expr: &'a Expr, args: &'a [Expr], last: Option<Value>) -> Run<Value> {
        self.at = At::Expr(expr);
        let (mut receiver, names) = match &expr.kind {
            // Without data every field is without a value, as in Go.
            ExprKind::Field(_) if matches!(dot, Value::Nil) => return Ok(Value::Nil),
            ExprKind::Field(names) => (dot.clone(), names),
            ExprKind::Variable(name, names) => (self.var(name)?, names),
            ExprKind::Chain(inner, names) => {
                if matches!(inner.kind, ExprKind::Nil) {
                    return self.error(format!("indirection through explicit nil in {expr}"));
                }
                (self.arg(dot, Param::Any, inner)?, names)
            }
            _ => return Ok(Value::Nil),
        };
        let Some((final_name, before)) = names.split_last() else {
            self.not_a_function(expr, args, last.as_ref())?;
            return Ok(receiver);
        };
        for name in before {
            receiver = self.field(dot, expr, name, &receiver, &[], None)?;
        }
        self.field(dot, expr, final_name, &receiver, args, last)
    }

    fn field(
        &mut self,
        dot: &Value,
        expr: &'a Expr,
        name: &str,
        receiver: &Value,
        args: &'a [Expr],
        last: Option<Value>,
    ) -> Run<Value> {
        self.step(1)?;
        if let Value::Object(object) = receiver
            && let Some((_, arity)) = object.methods().iter().find(|(method, _)| *method == name)
        {
            return self.method(dot, expr, name, object, *arity, args, last);
        }
        let has_args = !args.is_empty() || last.is_some();
        let value = match receiver {
            Value::Object(object) => object.field(name),
            _ => None,
        };
        if let Some(value) = value {
            if has_args {
                return self.error(format!("{name} has arguments but cannot be invoked as function"));
            }
            return Ok(value);
        }
        match receiver.plain() {
            Value::Map(_) if has_args => self.error(format!("{name} is not a method but has arguments")),
            Value::Map(map) => Ok(map.get(name)),
            Value::Nil => self.error(format!("nil pointer evaluating interface {{}}.{name}")),
            _ => self.error(format!("can't evaluate field {name} in type {}", receiver.type_name())),
        }
    }

    #[expect(
        clippy::too_many_arguments,
        reason = "the parts of one call; a struct would be made and taken apart here"
    )]
    fn method(
        &mut self,
        dot: &Value,
        expr: &'a Expr,
        name: &str,
        object: &Arc<dyn Object>,
        arity: usize,
        args: &'a [Expr],
        last: Option<Value>,
    ) -> Run<Value> {
        let got = args.len() + usize::from(last.is_some());
        if got != arity {
            return self.error(format!("wrong number of args for {name}: want {arity} got {got}"));
        }
        let mut values = Vec::with_capacity(got);
        for arg in args {
            values.push(self.arg(dot, Param::Any, arg)?);
        }
        values.extend(last);
        self.returned(name, At::Expr(expr), object.call(name, &values))
    }

    // Functions.

    fn function(
        &mut self,
        dot: &Value,
        name: &str,
        whole: At<'a>,
        args: &'a [Expr],
        last: Option<Value>,
    ) -> Run<Value> {
        let own = self.set.funcs().get(name).cloned();
        if own.is_none() && matches!(name, "and" | "or") {
            return self.and_or(dot, name, args, last);
        }
        let Some(func) = own.or_else(|| builtins().get(name).cloned()) else {
            return self.error(format!("{} is not a defined function", go_quote(name)));
        };
        let got = args.len() + usize::from(last.is_some());
        self.check_arity(name, &func, got)?;
        let mut values = Vec::with_capacity(got);
        for (i, arg) in args.iter().enumerate() {
            values.push(self.arg(dot, func.param(i), arg)?);
        }
        if let Some(last) = last {
            let last = self.validate(func.param(args.len()), last)?;
            values.push(last);
        }
        self.step(func.cost)?;
        self.returned(name, whole, func.call(&values))
    }

    fn check_arity(&self, name: &str, func: &Func, got: usize) -> Run<()> {
        let want = func.params.len();
        if func.rest.is_some() && got < want {
            return self.error(format!(
                "wrong number of args for {name}: want at least {want} got {got}"
            ));
        }
        if func.rest.is_none() && got != want {
            return self.error(format!("wrong number of args for {name}: want {want} got {got}"));
        }
        Ok(())
    }

    // Evaluates only as many arguments as it needs, as Go does since 1.18.
    fn and_or(&mut self, dot: &Value, name: &str, args: &'a [Expr], last: Option<Value>) -> Run<Value> {
        if args.is_empty() && last.is_none() {
            return self.error(format!("wrong number of args for {name}: want at least 1 got 0"));
        }
        let mut value = Value::Nil;
        for arg in args {
            value = self.arg(dot, Param::Any, arg)?;
            if value.truth() == (name == "or") {
                return Ok(value);
            }
        }
        Ok(last.unwrap_or(value))
    }

    fn arg(&mut self, dot: &Value, param: Param, expr: &'a Expr) -> Run<Value> {
        self.step(1)?;
        self.at = At::Expr(expr);
        let value = match &expr.kind {
            ExprKind::Nil if param == Param::Str => return self.error("cannot assign nil to string"),
            ExprKind::Nil => return Ok(Value::Nil),
            ExprKind::Bool(_) | ExprKind::Number(_) if param == Param::Str => {
                return self.error(format!("expected string; found {expr}"));
            }
            ExprKind::Dot | ExprKind::Bool(_) | ExprKind::Number(_) | ExprKind::Str(..) => self.literal(dot, expr)?,
            ExprKind::Field(_) | ExprKind::Variable(..) | ExprKind::Chain(..) => self.access(dot, expr, &[], None)?,
            ExprKind::Identifier(name) => self.function(dot, name, At::Expr(expr), &[], None)?,
            ExprKind::Pipe(pipe) => self.pipeline(dot, pipe)?,
        };
        self.validate(param, value)
    }

    fn validate(&self, param: Param, value: Value) -> Run<Value> {
        match (param, &value) {
            (Param::Any, _) | (Param::Str, Value::Str(_)) => Ok(value),
            (Param::Str, Value::Nil) => self.error("invalid value; expected string"),
            (Param::Str, _) => {
                // Named string types of the host pass for strings.
                if let Some(text) = value.as_str() {
                    return Ok(Value::Str(text));
                }
                self.error(format!(
                    "wrong type for value; expected string; got {}",
                    value.type_name()
                ))
            }
        }
    }

    // What a call gave: pays for its size and bounds it. An error is at the whole call; after a success, errors go on
    // to name the argument evaluated last, as Go's do.
    fn returned(&mut self, name: &str, whole: At<'a>, result: Result<Value, String>) -> Run<Value> {
        let value = match result {
            Ok(value) => value,
            Err(message) => {
                self.at = whole;
                return self.error(format!("error calling {name}: {message}"));
            }
        };
        let size = match &value {
            Value::Str(text) => text.len() / 32,
            Value::List(list) => list.items().len(),
            Value::Map(map) => map.entries().len(),
            _ => 0,
        };
        self.step(u64::try_from(size).unwrap_or(u64::MAX))?;
        if matches!(&value, Value::Str(text) if text.len() > MAX_TEXT) {
            return self.over_budget(format!("stopped: a text of more than {MAX_TEXT} bytes"));
        }
        if value.depth() > MAX_VALUE_DEPTH {
            return self.over_budget(format!(
                "stopped: lists and maps nested more than {MAX_VALUE_DEPTH} deep"
            ));
        }
        Ok(value)
    }
}
