//! What templates compute with: Go's kinds, as far as templates can tell them apart.

use std::any::Any;
use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use crate::funcs::Func;

/// A value of a template. Cloning is at most one reference count.
#[derive(Clone, Default)]
pub enum Value {
    /// No value: prints `<no value>` alone and `<nil>` inside others.
    #[default]
    Nil,
    /// Go's bool.
    Bool(bool),
    /// Go's int.
    Int(i64),
    /// Go's uint64.
    Uint(u64),
    /// Go's float64.
    Float(f64),
    /// Go's string.
    Str(Arc<str>),
    /// Go's slice.
    List(Arc<List>),
    /// Go's map with string keys.
    Map(Arc<Map>),
    /// A function, for `call`.
    Func(Arc<Func>),
    /// A value with fields or methods.
    Object(Arc<dyn Object>),
}

/// What a list or map holds: decides what a missing key gives, and the name of the type.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Elem {
    /// Anything; a missing key gives no value.
    Any,
    /// Only strings; a missing key gives "".
    Str,
    /// Only objects of the type with this name; a missing key gives no value.
    Object(&'static str),
}

impl Elem {
    fn type_name(self) -> &'static str {
        match self {
            Self::Any => "interface {}",
            Self::Str => "string",
            Self::Object(name) => name,
        }
    }

    /// What a missing key gives under Go's option `missingkey=zero`.
    #[must_use]
    pub fn zero(self) -> Value {
        match self {
            Self::Any | Self::Object(_) => Value::Nil,
            Self::Str => Value::from(""),
        }
    }
}

/// A list with its element type.
#[derive(Debug, Clone)]
pub struct List {
    items: Vec<Value>,
    elem: Elem,
    depth: usize,
}

impl List {
    /// The items in order.
    #[must_use]
    pub fn items(&self) -> &[Value] {
        &self.items
    }

    /// What the list holds.
    #[must_use]
    pub fn elem(&self) -> Elem {
        self.elem
    }
}

/// A map with its element type; keys ascend by bytes, as Go's templates visit them.
#[derive(Debug, Clone)]
pub struct Map {
    entries: BTreeMap<Arc<str>, Value>,
    elem: Elem,
    depth: usize,
}

impl Map {
    /// The entries, keys ascending.
    #[must_use]
    pub fn entries(&self) -> &BTreeMap<Arc<str>, Value> {
        &self.entries
    }

    /// What the map holds.
    #[must_use]
    pub fn elem(&self) -> Elem {
        self.elem
    }

    /// The value of `key`, else what a missing key gives.
    #[must_use]
    pub fn get(&self, key: &str) -> Value {
        self.entries.get(key).cloned().unwrap_or_else(|| self.elem.zero())
    }
}

/// A field of a struct-like [`Object`]: its Go name and its name in JSON.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Field {
    /// The name templates use.
    pub name: &'static str,
    /// The name `toJson` writes.
    pub json: &'static str,
}

/// A value of the host with fields or methods, as Go's structs and named types have them.
///
/// An object either stands for a plain value with methods (then `underlying` gives it, and length, index, range, truth
/// and comparison are those of the plain value), or it is a struct (then `fields` lists its fields).
pub trait Object: Any + Send + Sync {
    /// The type's name as Go's messages show it: `template.Alert`.
    fn type_name(&self) -> &str;

    /// The plain value this object stands for; `None` for a struct.
    fn underlying(&self) -> Option<Value> {
        None
    }

    /// The exported fields, in the order they print.
    fn fields(&self) -> &[Field] {
        &[]
    }

    /// The value of the field `name`; `None` where there is no such field.
    fn field(&self, name: &str) -> Option<Value> {
        let _ = name;
        None
    }

    /// The methods, each with the number of its arguments.
    fn methods(&self) -> &[(&'static str, usize)] {
        &[]
    }

    /// Calls one of `methods` with as many arguments as it takes.
    ///
    /// # Errors
    /// What went wrong, in words: an argument of the wrong type, a value out of range.
    fn call(&self, name: &str, args: &[Value]) -> Result<Value, String> {
        let _ = args;
        Err(format!("{} has no method {name}", self.type_name()))
    }

    /// What Go's String method gives, where the type has one.
    fn text(&self) -> Option<String> {
        None
    }

    /// The value as JSON, where it is not simply that of its fields or its plain value.
    fn json(&self) -> Option<String> {
        None
    }
}

impl Value {
    /// A list that may hold anything.
    #[must_use]
    pub fn list(items: Vec<Self>) -> Self {
        let depth = 1 + items.iter().map(Self::depth).max().unwrap_or(0);
        Self::List(Arc::new(List {
            items,
            elem: Elem::Any,
            depth,
        }))
    }

    /// A list of objects, whose type is called `type_name`.
    #[must_use]
    pub fn objects<T: Object>(type_name: &'static str, items: impl IntoIterator<Item = T>) -> Self {
        Self::objects_of(type_name, items.into_iter().map(Self::object).collect())
    }

    /// As [`Value::objects`], of objects that are values already.
    pub(crate) fn objects_of(type_name: &'static str, items: Vec<Self>) -> Self {
        Self::List(Arc::new(List {
            items,
            elem: Elem::Object(type_name),
            depth: 1,
        }))
    }

    /// The items `keep` accepts, as a list of the same kind; other values give an empty list.
    pub(crate) fn filtered(&self, keep: impl Fn(usize, &Self) -> bool) -> Self {
        let Self::List(list) = self else {
            return Self::list(Vec::new());
        };
        let kept = list.items.iter().enumerate().filter(|(i, item)| keep(*i, item));
        let items = kept.map(|(_, item)| item.clone()).collect();
        Self::List(Arc::new(List { items, ..**list }))
    }

    /// A list of strings (Go's `[]string`).
    #[must_use]
    pub fn strings<S: AsRef<str>>(items: impl IntoIterator<Item = S>) -> Self {
        let items = items.into_iter().map(|s| Self::from(s.as_ref())).collect();
        Self::List(Arc::new(List {
            items,
            elem: Elem::Str,
            depth: 1,
        }))
    }

    /// A map that may hold anything (Go's `map[string]interface{}`).
    #[must_use]
    pub fn map<K: AsRef<str>>(entries: impl IntoIterator<Item = (K, Self)>) -> Self {
        let entries: BTreeMap<Arc<str>, Self> = entries.into_iter().map(|(k, v)| (k.as_ref().into(), v)).collect();
        let depth = 1 + entries.values().map(Self::depth).max().unwrap_or(0);
        Self::Map(Arc::new(Map {
            entries,
            elem: Elem::Any,
            depth,
        }))
    }

    /// A map of strings (Go's `map[string]string`): a missing key gives "".
    #[must_use]
    pub fn string_map<K: AsRef<str>, V: AsRef<str>>(entries: impl IntoIterator<Item = (K, V)>) -> Self {
        let entries = entries
            .into_iter()
            .map(|(k, v)| (k.as_ref().into(), Self::from(v.as_ref())))
            .collect();
        Self::Map(Arc::new(Map {
            entries,
            elem: Elem::Str,
            depth: 1,
        }))
    }

    /// Wraps a host object.
    #[must_use]
    pub fn object(object: impl Object) -> Self {
        Self::Object(Arc::new(object))
    }

    /// The plain value behind objects that stand for one; other values as they are.
    #[must_use]
    pub fn plain(&self) -> Self {
        let mut value = self.clone();
        // A chain of objects ends; the bound only guards against one that names itself.
        for _ in 0..8 {
            let Self::Object(object) = &value else { return value };
            let Some(inner) = object.underlying() else { return value };
            value = inner;
        }
        value
    }

    /// The host object of type `T`, where this is one.
    #[must_use]
    pub fn downcast<T: Object>(&self) -> Option<&T> {
        let Self::Object(object) = self else { return None };
        let any: &dyn Any = &**object;
        any.downcast_ref::<T>()
    }

    /// The string, where the value is one or stands for one.
    #[must_use]
    pub fn as_str(&self) -> Option<Arc<str>> {
        match self.plain() {
            Self::Str(text) => Some(text),
            _ => None,
        }
    }

    /// The type's name as Go's messages show it.
    #[must_use]
    pub fn type_name(&self) -> String {
        match self {
            Self::Nil => "<nil>".to_owned(),
            Self::Bool(_) => "bool".to_owned(),
            Self::Int(_) => "int".to_owned(),
            Self::Uint(_) => "uint64".to_owned(),
            Self::Float(_) => "float64".to_owned(),
            Self::Str(_) => "string".to_owned(),
            Self::List(list) => format!("[]{}", list.elem.type_name()),
            Self::Map(map) => format!("map[string]{}", map.elem.type_name()),
            Self::Func(_) => "func".to_owned(),
            Self::Object(object) => object.type_name().to_owned(),
        }
    }

    /// Whether `if` takes the value for true: not zero, not empty, not nothing.
    #[must_use]
    pub fn truth(&self) -> bool {
        match self {
            Self::Nil => false,
            Self::Bool(value) => *value,
            Self::Int(value) => *value != 0,
            Self::Uint(value) => *value != 0,
            Self::Float(value) => *value != 0.0,
            Self::Str(text) => !text.is_empty(),
            Self::List(list) => !list.items.is_empty(),
            Self::Map(map) => !map.entries.is_empty(),
            Self::Func(_) => true,
            Self::Object(_) => match self.plain() {
                Self::Object(_) => true,
                plain => plain.truth(),
            },
        }
    }

    /// How deep lists and maps are nested in this value.
    pub(crate) fn depth(&self) -> usize {
        match self {
            Self::List(list) => list.depth,
            Self::Map(map) => map.depth,
            _ => 0,
        }
    }
}

impl fmt::Debug for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Nil => f.write_str("Nil"),
            Self::Bool(value) => write!(f, "{value}"),
            Self::Int(value) => write!(f, "{value}"),
            Self::Uint(value) => write!(f, "{value}u"),
            Self::Float(value) => write!(f, "{value:?}"),
            Self::Str(text) => write!(f, "{text:?}"),
            Self::List(list) => f.debug_list().entries(&list.items).finish(),
            Self::Map(map) => f.debug_map().entries(&map.entries).finish(),
            Self::Func(_) => f.write_str("func"),
            Self::Object(object) => write!(f, "<{}>", object.type_name()),
        }
    }
}

impl From<&str> for Value {
    fn from(text: &str) -> Self {
        Self::Str(text.into())
    }
}

impl From<String> for Value {
    fn from(text: String) -> Self {
        Self::Str(text.into())
    }
}

impl From<bool> for Value {
    fn from(value: bool) -> Self {
        Self::Bool(value)
    }
}

impl From<i64> for Value {
    fn from(value: i64) -> Self {
        Self::Int(value)
    }
}

impl From<f64> for Value {
    fn from(value: f64) -> Self {
        Self::Float(value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn truth_follows_go() {
        for (value, truth) in [
            (Value::Nil, false),
            (Value::Int(0), false),
            (Value::Float(f64::NAN), true),
            (Value::from(""), false),
            (Value::list(vec![]), false),
            (Value::list(vec![Value::Nil]), true),
            (Value::string_map([("a", "b")]), true),
        ] {
            assert_eq!(value.truth(), truth, "{value:?}");
        }
    }

    #[test]
    fn depth_counts_nesting() {
        let inner = Value::list(vec![Value::Int(1)]);
        assert_eq!(Value::map([("a", inner)]).depth(), 2);
    }
}
