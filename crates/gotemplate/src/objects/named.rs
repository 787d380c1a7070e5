//! Numbers with names, such as months.

use crate::value::{Object, Value};

/// A number that prints as a name: Go's `time.Month`, `time.Weekday`; or a zone (`time.Location`).
pub(super) struct Named {
    pub type_name: &'static str,
    pub number: i64,
    pub name: String,
}

impl Object for Named {
    fn type_name(&self) -> &str {
        self.type_name
    }

    fn underlying(&self) -> Option<Value> {
        Some(Value::Int(self.number))
    }

    fn methods(&self) -> &[(&'static str, usize)] {
        &[("String", 0)]
    }

    fn call(&self, _: &str, _: &[Value]) -> Result<Value, String> {
        Ok(Value::from(self.name.as_str()))
    }

    fn text(&self) -> Option<String> {
        Some(self.name.clone())
    }
}
