//! Rule groups: recording rules write series, alerting rules keep the state of their alerts and hand them on.
//!
//! Each group is a task that wakes at its own slot of the interval and evaluates its rules one after another at one
//! timestamp. The state machine of an alert ([`alerting`]) is plain code without clock or storage, so that it can be
//! replayed over the past.
//!
//! *Invariant:* a rule that fails never stops its neighbours. *Invariant:* knows no Alertmanager; alerts leave through
//! [`cupola_model::AlertSink`].

mod alerting;
mod backtest;
mod dead;
mod group;
mod history;
mod manager;
mod metrics;
mod rehearsal;
mod restore;
mod shared;
mod slots;
mod template;

pub use alerting::{ActiveAlert, AlertState};
pub use backtest::{AlertLife, BacktestError, BacktestOptions, Made, ReportsJson, RuleReport, backtest};
pub use dead::{DeadParts, DeadSelector, dead_parts};
pub use group::{GroupStatus, RuleDetail, RuleHealth, RuleStatus};
pub use history::{AlertEvent, AlertHistory, Happened, RuleName, Sending};
pub use manager::{Context, GroupSource, Parts, RuleManager};
pub use rehearsal::Rehearsal;
