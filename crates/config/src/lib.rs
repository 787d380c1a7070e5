//! prometheus.yml, rule files, alertmanager.yml and web configuration: text to types that cannot hold an invalid value.
//!
//! The YAML text becomes a tree whose nodes know their place (`yaml`); readers turn the tree into the types and
//! report everything they dislike, so one run shows every mistake of a file with line and column. The types hold what
//! was read and nothing that still has to be checked: regular expressions are compiled, expressions are parsed,
//! defaults and inheritance are applied.
//!
//! *Invariant:* no network, no async, no clock. The disk is touched only by [`DiskFiles`].
//! *Invariant:* only `yaml` names the YAML library.
//! *Invariant:* a setting that this version cannot honour is an error, a warning, or listed in
//! [`PrometheusConfig::not_yet`], never silently dropped.

pub mod alertmanager;
mod cluster;
pub mod common;
mod error;
mod files;
mod http;
pub mod matchers;
pub mod prometheus;
mod read;
mod redact;
pub mod relabel;
pub mod rules;
pub mod time_interval;
mod tools;
pub mod web;
mod yaml;

pub use alertmanager::{AlertmanagerConfig, load_alertmanager, parse_alertmanager};
pub use cluster::{ClusterTls, parse_cluster_tls};
pub use common::{ByteSize, NameScheme, Secret};
pub use error::{ConfigError, ConfigErrors, ConfigWarning};
pub use files::{DiskFiles, Files, MemoryFiles};
pub use matchers::{MatcherMode, parse_matchers};
pub use prometheus::{PrometheusConfig, load_prometheus, parse_prometheus};
pub use relabel::{RelabelConfig, relabel};
pub use rules::{RuleFile, RuleOptions, load_rules, parse_rules};
pub use tools::{load_flags, load_http_config};
pub use web::{WebConfig, load_web_config, parse_web_config};
