//! Function tables.

pub mod alertmanager;
mod builtin;
mod humanize;
pub(crate) mod json;
pub mod prometheus;
mod text;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

pub(crate) use builtin::builtins;

use crate::value::Value;

/// No function gives a text longer than this, in bytes.
pub(crate) const MAX_TEXT: usize = 4 << 20;

/// What a function takes at one place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Param {
    /// Any value; the function looks at it itself.
    Any,
    /// A string; anything else is refused before the call, in Go's words.
    Str,
}

type Body = dyn Fn(&[Value]) -> Result<Value, String> + Send + Sync;

/// A function that templates may call.
#[derive(Clone)]
pub struct Func {
    pub(crate) params: Vec<Param>,
    pub(crate) rest: Option<Param>,
    pub(crate) cost: u64,
    body: Arc<Body>,
}

impl Func {
    /// A function of exactly these parameters. An error of `body` stops the template.
    pub fn new(params: &[Param], body: impl Fn(&[Value]) -> Result<Value, String> + Send + Sync + 'static) -> Self {
        Self {
            params: params.to_vec(),
            rest: None,
            cost: 1,
            body: Arc::new(body),
        }
    }

    /// As [`Func::new`], and any number of further arguments of kind `rest`.
    pub fn variadic(
        params: &[Param],
        rest: Param,
        body: impl Fn(&[Value]) -> Result<Value, String> + Send + Sync + 'static,
    ) -> Self {
        Self {
            rest: Some(rest),
            ..Self::new(params, body)
        }
    }

    /// The same function at another price in steps of the budget.
    #[must_use]
    pub fn with_cost(mut self, steps: u64) -> Self {
        self.cost = steps;
        self
    }

    pub(crate) fn param(&self, at: usize) -> Param {
        self.params.get(at).copied().or(self.rest).unwrap_or(Param::Any)
    }

    pub(crate) fn call(&self, args: &[Value]) -> Result<Value, String> {
        (self.body)(args)
    }
}

impl fmt::Debug for Func {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "func({:?}, {:?})", self.params, self.rest)
    }
}

/// Functions by name, beside Go's own.
#[derive(Debug, Clone, Default)]
pub struct Funcs {
    table: BTreeMap<String, Func>,
    parent: Option<Arc<Funcs>>,
}

impl Funcs {
    /// An empty table before another: what it lacks is looked up there.
    #[must_use]
    pub fn with_parent(parent: Arc<Self>) -> Self {
        Self {
            table: BTreeMap::new(),
            parent: Some(parent),
        }
    }

    /// Adds a function, or replaces the one of this name.
    pub fn add(&mut self, name: &str, func: Func) -> &mut Self {
        self.table.insert(name.to_owned(), func);
        self
    }

    /// The function called `name`.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&Func> {
        self.table.get(name).or_else(|| self.parent.as_ref()?.get(name))
    }
}

// The arguments of a call. Arity and strings were checked before, so a missing one cannot be; it would be "" or nil.

pub(crate) fn str_arg(args: &[Value], at: usize) -> Arc<str> {
    args.get(at).and_then(Value::as_str).unwrap_or_else(|| "".into())
}

pub(crate) fn any_arg(args: &[Value], at: usize) -> Value {
    args.get(at).cloned().unwrap_or_default()
}
