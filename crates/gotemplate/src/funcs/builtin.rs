//! The functions that every Go template has.

use std::cmp::Ordering;
use std::sync::{Arc, LazyLock};

use super::{Func, Funcs, MAX_TEXT, Param, any_arg, str_arg, text};
use crate::fmt::{TooLong, display, sprint, sprintf, sprintln};
use crate::value::Value;

/// Go's own functions, but for `and` and `or`, which the executor evaluates itself.
pub(crate) fn builtins() -> &'static Funcs {
    static TABLE: LazyLock<Funcs> = LazyLock::new(make);
    &TABLE
}

fn make() -> Funcs {
    use Param::{Any, Str};
    let mut table = Funcs::default();
    table.add(
        "not",
        Func::new(&[Any], |args| Ok(Value::Bool(!any_arg(args, 0).truth()))),
    );
    table.add("len", Func::new(&[Any], |args| len(&any_arg(args, 0))));
    table.add("index", Func::variadic(&[Any], Any, index));
    table.add("slice", Func::variadic(&[Any], Any, slice));
    table.add("call", Func::variadic(&[Any], Any, call));
    table.add(
        "print",
        Func::variadic(&[], Any, |args| bounded(sprint(args, MAX_TEXT))),
    );
    table.add(
        "println",
        Func::variadic(&[], Any, |args| bounded(sprintln(args, MAX_TEXT))),
    );
    let printf = |args: &[Value]| bounded(sprintf(&str_arg(args, 0), args.get(1..).unwrap_or(&[]), MAX_TEXT));
    table.add("printf", Func::variadic(&[Str], Any, printf));
    for (name, escape) in [
        ("html", text::html_escape as fn(&str) -> String),
        ("js", text::js_escape),
        ("urlquery", text::query_escape),
    ] {
        table.add(
            name,
            Func::variadic(&[], Any, move |args| Ok(Value::from(escape(&joined(args)?)))),
        );
    }
    table.add("eq", Func::variadic(&[Any], Any, eq));
    let ne = |args: &[Value]| Ok(Value::Bool(!equal(&any_arg(args, 0), &any_arg(args, 1))?));
    table.add("ne", Func::new(&[Any, Any], ne));
    for (name, holds) in [
        ("lt", Ordering::is_lt as fn(Ordering) -> bool),
        ("le", Ordering::is_le),
        ("gt", Ordering::is_gt),
        ("ge", Ordering::is_ge),
    ] {
        let compare = move |args: &[Value]| {
            let order = order(&any_arg(args, 0), &any_arg(args, 1))?;
            // NaN is neither less nor more nor the same. Go says `ge` where `lt` does not hold, and `gt` where `le`
            // does not.
            Ok(Value::Bool(order.map_or(matches!(name, "gt" | "ge"), holds)))
        };
        table.add(name, Func::new(&[Any, Any], compare));
    }
    table
}

fn bounded(text: Result<String, TooLong>) -> Result<Value, String> {
    text.map(Value::from)
        .map_err(|TooLong| format!("more than {MAX_TEXT} bytes of text"))
}

// What html, js and urlquery escape: one string as it is, else all arguments printed.
fn joined(args: &[Value]) -> Result<String, String> {
    if let [Value::Str(text)] = args {
        return Ok(text.to_string());
    }
    let shown: Vec<Value> = args
        .iter()
        .map(|v| {
            if matches!(v, Value::Nil) {
                Value::from("<no value>")
            } else {
                v.clone()
            }
        })
        .collect();
    sprint(&shown, MAX_TEXT).map_err(|TooLong| format!("more than {MAX_TEXT} bytes of text"))
}

fn int(size: usize) -> Value {
    Value::Int(i64::try_from(size).unwrap_or(i64::MAX))
}

fn len(value: &Value) -> Result<Value, String> {
    match value.plain() {
        Value::Str(text) => Ok(int(text.len())),
        Value::List(list) => Ok(int(list.items().len())),
        Value::Map(map) => Ok(int(map.entries().len())),
        Value::Nil => Err("len of untyped nil".to_owned()),
        _ => Err(format!("len of type {}", value.type_name())),
    }
}

// An index that is at most `most`.
fn index_arg(index: &Value, most: usize) -> Result<usize, String> {
    let number = match index.plain() {
        Value::Int(number) => i128::from(number),
        Value::Uint(number) => i128::from(number),
        Value::Nil => return Err("cannot index slice/array with nil".to_owned()),
        _ => return Err(format!("cannot index slice/array with type {}", index.type_name())),
    };
    usize::try_from(number)
        .ok()
        .filter(|at| *at <= most)
        .ok_or_else(|| format!("index out of range: {number}"))
}

fn index(args: &[Value]) -> Result<Value, String> {
    let mut item = any_arg(args, 0);
    if matches!(item, Value::Nil) {
        return Err("index of untyped nil".to_owned());
    }
    for key in args.get(1..).unwrap_or(&[]) {
        item = match item.plain() {
            Value::List(list) => {
                let at = index_arg(key, list.items().len())?;
                list.items()
                    .get(at)
                    .cloned()
                    .ok_or_else(|| format!("index out of range: {at}"))?
            }
            Value::Str(text) => {
                let at = index_arg(key, text.len())?;
                let byte = text
                    .as_bytes()
                    .get(at)
                    .ok_or_else(|| format!("index out of range: {at}"))?;
                Value::Uint(u64::from(*byte))
            }
            Value::Map(map) => match key.plain() {
                Value::Str(key) => map.get(&key),
                Value::Nil => return Err("value is nil; should be of type string".to_owned()),
                _ => return Err(format!("value has type {}; should be string", key.type_name())),
            },
            Value::Nil => return Err("index of nil pointer".to_owned()),
            _ => return Err(format!("can't index item of type {}", item.type_name())),
        };
    }
    Ok(item)
}

fn slice(args: &[Value]) -> Result<Value, String> {
    let item = any_arg(args, 0);
    let indexes = args.get(1..).unwrap_or(&[]);
    if matches!(item, Value::Nil) {
        return Err("slice of untyped nil".to_owned());
    }
    if indexes.len() > 3 {
        return Err(format!("too many slice indexes: {}", indexes.len()));
    }
    let plain = item.plain();
    let most = match &plain {
        Value::Str(_) if indexes.len() == 3 => return Err("cannot 3-index slice a string".to_owned()),
        Value::Str(text) => text.len(),
        Value::List(list) => list.items().len(),
        _ => return Err(format!("can't slice item of type {}", item.type_name())),
    };
    let mut bounds = [0, most, most];
    for (bound, index) in bounds.iter_mut().zip(indexes) {
        *bound = index_arg(index, most)?;
    }
    let [from, to, cap] = bounds;
    if from > to {
        return Err(format!("invalid slice index: {from} > {to}"));
    }
    if to > cap {
        return Err(format!("invalid slice index: {to} > {cap}"));
    }
    match plain {
        Value::Str(text) => {
            // Go cuts bytes; a character cut in two shows as the replacement character.
            let bytes = text.as_bytes().get(from..to).unwrap_or(&[]);
            Ok(Value::from(String::from_utf8_lossy(bytes).into_owned()))
        }
        list @ Value::List(_) => Ok(list.filtered(|i, _| (from..to).contains(&i))),
        _ => Ok(Value::Nil),
    }
}

fn call(args: &[Value]) -> Result<Value, String> {
    let Some((Value::Func(func), rest)) = args.split_first() else {
        return Err(match any_arg(args, 0) {
            Value::Nil => "call of nil".to_owned(),
            other => format!("non-function of type {}", other.type_name()),
        });
    };
    let func: &Arc<Func> = func;
    let want = func.params.len();
    if func.rest.is_none() && rest.len() != want {
        return Err(format!("wrong number of args: got {} want {want}", rest.len()));
    }
    if rest.len() < want {
        return Err(format!("wrong number of args: got {} want at least {want}", rest.len()));
    }
    func.call(rest)
}

fn eq(args: &[Value]) -> Result<Value, String> {
    let (first, others) = args.split_first().ok_or("missing argument for comparison")?;
    if others.is_empty() {
        return Err("missing argument for comparison".to_owned());
    }
    for other in others {
        if equal(first, other)? {
            return Ok(Value::Bool(true));
        }
    }
    Ok(Value::Bool(false))
}

const INCOMPATIBLE: &str = "incompatible types for comparison";

fn equal(a: &Value, b: &Value) -> Result<bool, String> {
    match (a.plain(), b.plain()) {
        (Value::Nil, Value::Nil) => Ok(true),
        (Value::Nil, _) | (_, Value::Nil) => Ok(false),
        (Value::Bool(x), Value::Bool(y)) => Ok(x == y),
        (Value::Int(x), Value::Int(y)) => Ok(x == y),
        (Value::Uint(x), Value::Uint(y)) => Ok(x == y),
        (Value::Int(x), Value::Uint(y)) | (Value::Uint(y), Value::Int(x)) => Ok(u64::try_from(x) == Ok(y)),
        (Value::Float(x), Value::Float(y)) => Ok(x == y),
        (Value::Str(x), Value::Str(y)) => Ok(x == y),
        (Value::Object(x), Value::Object(y)) => {
            // Structs are equal where all their fields are.
            let shown = |v: &Value| display(v, MAX_TEXT).unwrap_or_default();
            Ok(x.type_name() == y.type_name() && shown(a) == shown(b))
        }
        (Value::List(_) | Value::Map(_) | Value::Func(_), Value::List(_) | Value::Map(_) | Value::Func(_)) => {
            Err(format!(
                "non-comparable type {}: {}",
                display(a, 1000).unwrap_or_default(),
                a.type_name()
            ))
        }
        _ => Err(INCOMPATIBLE.to_owned()),
    }
}

// `None` where one of them is NaN.
fn order(a: &Value, b: &Value) -> Result<Option<Ordering>, String> {
    match (a.plain(), b.plain()) {
        (Value::Int(x), Value::Int(y)) => Ok(Some(x.cmp(&y))),
        (Value::Uint(x), Value::Uint(y)) => Ok(Some(x.cmp(&y))),
        (Value::Int(x), Value::Uint(y)) => Ok(Some(i128::from(x).cmp(&i128::from(y)))),
        (Value::Uint(x), Value::Int(y)) => Ok(Some(i128::from(x).cmp(&i128::from(y)))),
        (Value::Float(x), Value::Float(y)) => Ok(x.partial_cmp(&y)),
        (Value::Str(x), Value::Str(y)) => Ok(Some(x.cmp(&y))),
        (x, y) => {
            let is_basic = |v: &Value| {
                matches!(
                    v,
                    Value::Bool(_) | Value::Int(_) | Value::Uint(_) | Value::Float(_) | Value::Str(_)
                )
            };
            let is_same_bool = matches!((&x, &y), (Value::Bool(_), Value::Bool(_)));
            let is_mixed = is_basic(&x) && is_basic(&y) && !is_same_bool;
            Err(if is_mixed {
                INCOMPATIBLE
            } else {
                "invalid type for comparison"
            }
            .to_owned())
        }
    }
}
