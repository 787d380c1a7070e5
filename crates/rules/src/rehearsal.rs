//! Groups evaluated at times that somebody else chooses: for unit tests of rules.

use std::sync::Arc;

use crate::alerting::{ActiveAlert, AlertState};
use crate::group::{Group, ms};
use crate::manager::{Context, GroupSource};

/// Groups with the state of their alerts, without timers.
pub struct Rehearsal {
    ctx: Arc<Context>,
    groups: Vec<Group>,
}

impl Rehearsal {
    /// Of these groups, which are evaluated in this order. `interval_ms` is the one of groups that have none.
    #[must_use]
    pub fn new(ctx: Context, groups: Vec<GroupSource>, interval_ms: i64) -> Self {
        let groups = groups.into_iter().map(|source| {
            let interval_ms = source.group.interval.map_or(interval_ms, ms);
            let offset_ms = source.group.query_offset.map_or(0, ms);
            Group::new(&source.file, source.group, interval_ms, offset_ms)
        });
        Self {
            ctx: Arc::new(ctx),
            groups: groups.collect(),
        }
    }

    /// Evaluates all groups at `ts`, milliseconds. The rules that failed, by name, each with its error.
    pub fn evaluate(&mut self, ts: i64) -> Vec<(String, String)> {
        let mut failed = Vec::new();
        for group in &mut self.groups {
            group.evaluate(&self.ctx, ts);
            let rules = group.status().rules.into_iter();
            failed.extend(rules.filter_map(|rule| Some((rule.name, rule.last_error?))));
        }
        failed
    }

    /// The alerts of all rules of this name that fire.
    pub fn firing(&mut self, alertname: &str) -> Vec<ActiveAlert> {
        let mut firing = Vec::new();
        for group in &mut self.groups {
            for (rule, _, alerts) in group.alerting() {
                if rule.name() == alertname {
                    firing.extend(
                        alerts
                            .active()
                            .filter(|alert| alert.state == AlertState::Firing)
                            .cloned(),
                    );
                }
            }
        }
        firing
    }
}
