//! Alertmanager's core: alerts come in, are routed, grouped, deduplicated and handed to receivers.
//!
//! [`Alertmanager`] holds the alerts; each group is a task with the timer that Alertmanager gives it: `group_wait` for
//! the first message, `group_interval` for changes, `repeat_interval` for reminders. What was sent is remembered per
//! group and integration, so that nobody is told twice.
//!
//! [`AlertmanagerClients`] is the other side: it posts alerts to Alertmanagers elsewhere.
//!
//! *Invariant:* alerts are data; who found them, this crate does not know.

mod client;
mod dedup;
mod deliver;
mod dispatch;
mod inhibit;
mod metrics;
mod route;
mod store;

pub use client::AlertmanagerClients;
pub use deliver::{Delivery, Outcome};
pub use dispatch::{Alertmanager, GroupView, LoadError, ViewedAlert};
