//! Alertmanager's core: alerts come in, are routed, grouped, deduplicated and handed to receivers.
//!
//! [`Alertmanager`] holds the alerts; each group is a task with the timer that Alertmanager gives it: `group_wait` for
//! the first message, `group_interval` for changes, `repeat_interval` for reminders. What was sent is remembered per
//! group and integration, so that nobody is told twice.
//!
//! Several of them can be members of a cluster (`cupola_cluster`): they share silences and the notification log, each
//! waits for its turn before it tells, and what one has told the others do not tell again.
//!
//! [`AlertmanagerClients`] is the other side: it posts alerts to Alertmanagers elsewhere.
//!
//! *Invariant:* alerts are data; who found them, this crate does not know.

mod acks;
mod client;
mod dedup;
mod deliver;
mod dispatch;
mod events;
mod group;
mod inhibit;
mod metrics;
mod nflog;
mod order;
mod recurring;
mod rehearsal;
mod replicate;
mod route;
mod silences;
mod state;
mod store;
mod told;
mod upkeep;
mod views;

pub use acks::{AcknowledgeError, Acknowledgement};
pub use client::{AlertmanagerClients, Observer, Posted, Posting, PostingOptions};
pub use cupola_cluster::ClusterStatus;
pub use cupola_notify::{Saying, Tested};
pub use deliver::{Delivery, Outcome};
pub use dispatch::{Alertmanager, LoadError, Options};
pub use events::{Event, Happening, Message, Suppression};
pub use recurring::{RECURRING_ANNOTATION, RecurringRequest, RecurringSilence, Schedule};
pub use rehearsal::{PastAlert, Rehearsed, RehearsedIntegration, rehearse};
pub use replicate::CLUSTER_KEYS;
pub use silences::{RawMatcher, Silence, SilenceError, SilenceLimits, SilenceRequest, SilenceState};
pub use state::StateError;
pub use store::StoredAlert;
pub use told::{Preview, Reach, ToldFilter, ToldMessage};
pub use views::{AlertFilter, AlertStatus, GroupStatus, GroupView, ViewedAlert};
