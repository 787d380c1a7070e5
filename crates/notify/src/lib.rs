//! Receivers: a group of alerts becomes a mail, or a request to somebody's webhook, Slack, PagerDuty or another of Alertmanager's kinds.
//!
//! One call of [`Integration::send`] is one attempt; who retries, and when, is the caller's affair. Each attempt uses a
//! connection of its own, so a receiver that hangs holds up nobody else.
//!
//! *Invariant:* keeps no state between two sends, but for WeChat's access token and where Slack's messages
//! are that may still change. *Invariant:* no secret is in an error, a log line or a `Debug`.

mod anything;
mod data;
mod discord;
mod integration;
mod kinds;
mod rehearsal;
mod templates;
mod text;
mod webhook;

pub use data::{Notification, NotifiedAlert, Pairs, rfc3339};
pub use integration::{Integration, SendError};
pub use rehearsal::{Exchange, Saying, Tested, try_receiver, watched};
pub use templates::{TemplateError, Templates};
