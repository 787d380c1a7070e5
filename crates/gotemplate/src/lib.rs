//! Go's text/template, with the functions of Prometheus and Alertmanager.
//!
//! A [`Set`] holds named templates and a table of functions ([`Funcs`]); a text is parsed by [`Set::add`] or run at once
//! by [`Set::execute_text`] over a [`Value`]. The host gives its data as [`Object`]s. For rules there is
//! [`AlertExpander`], for notifications [`notification_set`] with Alertmanager's default templates.
//!
//! *Invariant:* a template ends. Output, steps and nesting have a [`Budget`]; every loop and every growing text pays.
//!
//! *Invariant:* what a template prints, and the error of a wrong one, is what Go prints. Where Go shows addresses of
//! memory, or stops for reasons of its type system that no user meets, we do something sensible instead.
//!
//! *Invariant:* knows no clock and no network: the caller gives the time and answers queries.

mod alert;
mod defaults;
mod error;
mod exec;
mod fmt;
mod funcs;
mod html;
mod layout;
mod lex;
mod literal;
mod node;
mod objects;
mod parse;
mod set;
mod value;

pub use alert::{AlertData, AlertExpander, ExpandError, check_alert_template};
pub use defaults::notification_set;
pub use error::{ExecError, ParseError, TemplateError};
pub use funcs::{Func, Funcs, Param, alertmanager, prometheus};
pub use objects::{Alert, Alerts, Data, Duration, Kv, Pairs, Time, Zone};
pub use set::{Budget, Set};
pub use value::{Elem, Field, List, Map, Object, Value};
