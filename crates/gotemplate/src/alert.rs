//! The templates of alerting rules: annotations and labels.

use thiserror::Error;

use cupola_model::Labels;

use crate::error::{ParseError, TemplateError};
use crate::funcs::prometheus::{self, Context};
use crate::set::Set;
use crate::value::{Field, Object, Value};

// Rules write `$labels`, not `.Labels`. Errors count columns with this before the text, as Prometheus's do.
const PRELUDE: &str =
    "{{$labels := .Labels}}{{$externalLabels := .ExternalLabels}}{{$externalURL := .ExternalURL}}{{$value := .Value}}";

/// What the templates of one alert know.
#[derive(Debug, Clone)]
pub struct AlertData<'a> {
    /// The labels of the series that fired.
    pub labels: &'a Labels,
    /// The labels of this Prometheus.
    pub external_labels: &'a Labels,
    /// Where this Prometheus is reached.
    pub external_url: &'a str,
    /// The value of the expression; for a histogram [`Value::Str`] of its text.
    pub value: Value,
}

/// Why an annotation or label was not expanded; the message is the one Prometheus puts in the annotation's place.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum ExpandError {
    /// The text is no template.
    #[error("error parsing template {name}: {source}")]
    Parse {
        /// `__alert_` and the rule's name.
        name: String,
        /// Where and why.
        source: ParseError,
    },
    /// It failed while it ran.
    #[error("error executing template {name}: {source}")]
    Execute {
        /// `__alert_` and the rule's name.
        name: String,
        /// Where and why.
        source: TemplateError,
    },
}

impl ExpandError {
    /// What Prometheus puts in the place of the text that could not be expanded.
    #[must_use]
    pub fn placeholder(&self) -> String {
        format!("<error expanding template: {self}>")
    }
}

/// Expands the labels and annotations of the alerts of one rule at one evaluation.
#[derive(Debug, Clone)]
pub struct AlertExpander {
    set: Set,
    name: String,
}

impl AlertExpander {
    /// For the rule called `alert`.
    #[must_use]
    pub fn new(alert: &str, context: Context) -> Self {
        Self {
            set: Set::new(prometheus::funcs(context)),
            name: format!("__alert_{alert}"),
        }
    }

    /// Expands `text`; a text without `{{` is given as it is.
    ///
    /// # Errors
    /// [`ExpandError`]; Prometheus then shows [`ExpandError::placeholder`] instead.
    pub fn expand(&self, text: &str, data: &AlertData<'_>) -> Result<String, ExpandError> {
        if !text.contains("{{") {
            return Ok(text.to_owned());
        }
        let dot = Value::object(Dot {
            labels: Value::string_map(data.labels),
            external_labels: Value::string_map(data.external_labels),
            external_url: Value::from(data.external_url),
            value: data.value.clone(),
        });
        let name = self.name.clone();
        self.set
            .execute_named(&self.name, &format!("{PRELUDE}{text}"), &dot)
            .map_err(|error| match error {
                TemplateError::Parse(source) => ExpandError::Parse { name, source },
                source => ExpandError::Execute { name, source },
            })
    }
}

/// Only parses the text of a rule's label or annotation, as is done when rule files are loaded. Undefined variables
/// (`$label`) and unknown functions are mistakes. `alert` is the rule's name.
///
/// # Errors
/// [`ParseError`], its place counted in `text`.
pub fn check_alert_template(alert: &str, text: &str) -> Result<(), ParseError> {
    if !text.contains("{{") {
        return Ok(());
    }
    let context = Context {
        external_url: String::new(),
        now_ms: 0,
        query: std::sync::Arc::new(|_| Err("no query while rules are checked".to_owned())),
    };
    let expander = AlertExpander::new(alert, context);
    expander
        .set
        .check(&expander.name, &format!("{PRELUDE}{text}"))
        .map_err(|mut error| {
            if error.line == 1 {
                error.column = error.column.saturating_sub(PRELUDE.len()).max(1);
            }
            error
        })
}

// The dot of a rule's template.
struct Dot {
    labels: Value,
    external_labels: Value,
    external_url: Value,
    value: Value,
}

impl Object for Dot {
    fn type_name(&self) -> &str {
        "struct { Labels map[string]string; ExternalLabels map[string]string; ExternalURL string; Value interface {} }"
    }

    fn fields(&self) -> &[Field] {
        const FIELDS: [Field; 4] = [
            Field {
                name: "Labels",
                json: "Labels",
            },
            Field {
                name: "ExternalLabels",
                json: "ExternalLabels",
            },
            Field {
                name: "ExternalURL",
                json: "ExternalURL",
            },
            Field {
                name: "Value",
                json: "Value",
            },
        ];
        &FIELDS
    }

    fn field(&self, name: &str) -> Option<Value> {
        Some(match name {
            "Labels" => self.labels.clone(),
            "ExternalLabels" => self.external_labels.clone(),
            "ExternalURL" => self.external_url.clone(),
            "Value" => self.value.clone(),
            _ => return None,
        })
    }
}
