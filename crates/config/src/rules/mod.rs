//! Rule files (Prometheus 3.14, `rulefmt`).

mod read;
pub mod unit_tests;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use cupola_promql::Expr;

use crate::error::ConfigWarning;

pub use read::{RuleOptions, load_rules, parse_rules};

/// A rule file. Group names are unique in it, expressions and templates parse.
#[derive(Debug, Clone, PartialEq)]
pub struct RuleFile {
    /// The file as it was named.
    pub path: PathBuf,
    /// In the file's order.
    pub groups: Vec<RuleGroup>,
    /// What was accepted and deserves a look.
    pub warnings: Vec<ConfigWarning>,
}

/// Rules that are evaluated one after another at one timestamp.
#[derive(Debug, Clone, PartialEq)]
pub struct RuleGroup {
    /// Unique in its file.
    pub name: String,
    /// `None` means `global.evaluation_interval`.
    pub interval: Option<Duration>,
    /// How many series or alerts one rule may give; 0 means no limit.
    pub limit: u64,
    /// `None` means `global.rule_query_offset`.
    pub query_offset: Option<Duration>,
    /// In the file's order; the group's `labels` are already merged into each rule's.
    pub rules: Vec<Rule>,
    /// Where the group starts in the file, from 1.
    pub line: usize,
}

/// One rule.
#[derive(Debug, Clone, PartialEq)]
pub struct Rule {
    /// What it makes.
    pub kind: RuleKind,
    /// The parsed expression.
    pub expr: Expr,
    /// The expression as written.
    pub expr_text: String,
    /// Labels set on every result; an empty value removes the label. An alert's values are templates.
    pub labels: BTreeMap<String, String>,
    /// Where the rule starts in the file, from 1.
    pub line: usize,
}

/// What a rule makes.
#[derive(Debug, Clone, PartialEq)]
pub enum RuleKind {
    /// A series with this name.
    Recording {
        /// A valid metric name.
        record: String,
    },
    /// Alerts.
    Alerting {
        /// Becomes the label `alertname`.
        alert: String,
        /// How long the expression must hold before the alert fires.
        hold: Duration,
        /// How long the alert goes on firing after the expression stopped to hold.
        keep_firing_for: Duration,
        /// Texts for people; the values are templates.
        annotations: BTreeMap<String, String>,
    },
}

impl Rule {
    /// The name of the series or the alert.
    #[must_use]
    pub fn name(&self) -> &str {
        match &self.kind {
            RuleKind::Recording { record } => record,
            RuleKind::Alerting { alert, .. } => alert,
        }
    }
}
