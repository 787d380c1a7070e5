//! HTML that a template vouches for.

use std::sync::Arc;

use crate::value::{Object, Value};

/// What `safeHtml` gives: not escaped between elements.
pub(crate) struct SafeHtml(pub(crate) Arc<str>);

impl Object for SafeHtml {
    fn type_name(&self) -> &str {
        "template.HTML"
    }

    fn underlying(&self) -> Option<Value> {
        Some(Value::Str(self.0.clone()))
    }
}
