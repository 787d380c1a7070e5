//! Where alerts go: the Alertmanager in this process, Alertmanagers elsewhere, or both.

use std::sync::Arc;

use arc_swap::ArcSwap;
use cupola_alert::{Alertmanager, AlertmanagerClients, Posted, Posting};
use cupola_config::RelabelConfig;
use cupola_config::relabel;
use cupola_env::Clock;
use cupola_model::{Alert, AlertSink, Labels};
use cupola_rules::{AlertHistory, Sending};

// How the history calls the Alertmanager in this process, and all there are.
const OURSELVES: &str = "the Alertmanager in this process";
const EVERYBODY: &str = "all Alertmanagers";

/// What is done to every alert before it leaves.
#[derive(Debug, Default)]
pub(crate) struct Outgoing {
    /// Added where the alert lacks the label.
    pub external_labels: Labels,
    /// `alerting.alert_relabel_configs`
    pub relabel: Vec<RelabelConfig>,
}

/// Hands alerts on to everybody who wants them, and notes that.
pub(crate) struct Sinks {
    pub outgoing: Arc<ArcSwap<Outgoing>>,
    pub local: Option<Alertmanager>,
    pub remote: AlertmanagerClients,
    pub history: AlertHistory,
    pub clock: Arc<dyn Clock>,
}

impl Sinks {
    /// Lets what becomes of alerts elsewhere be noted, too.
    pub(crate) fn observe(self) -> Self {
        let (history, clock) = (self.history.clone(), self.clock.clone());
        self.remote.observe(Arc::new(move |to, alerts, posting| {
            let outcome = match posting {
                Posting::Taken => Sending::Taken,
                Posting::Failed(error) => Sending::Failed(error.to_owned()),
                Posting::Dropped => Sending::Dropped,
                Posting::Lost(why) => Sending::Lost(why.to_owned()),
            };
            note(&history, clock.now_ms(), to, alerts, &outcome);
        }));
        self
    }
}

fn note(history: &AlertHistory, now: i64, to: &Arc<str>, alerts: &[Posted], outcome: &Sending) {
    for Posted { known_as, alert } in alerts {
        let sent_as = alert.labels.fingerprint();
        history.sent(now, known_as, to, alert.is_resolved(now), sent_as, outcome.clone());
    }
}

impl AlertSink for Sinks {
    fn post(&self, alerts: &[Alert]) {
        let outgoing = self.outgoing.load();
        let now = self.clock.now_ms();
        let (mut posted, mut dropped) = (Vec::new(), Vec::new());
        for alert in alerts {
            let known_as = alert.labels.clone();
            match prepared(alert, &outgoing) {
                Some(alert) => posted.push(Posted { known_as, alert }),
                None => dropped.push(Posted {
                    known_as,
                    alert: alert.clone(),
                }),
            }
        }
        note(&self.history, now, &EVERYBODY.into(), &dropped, &Sending::Dropped);
        if let Some(local) = &self.local {
            let alerts: Vec<Alert> = posted.iter().map(|posted| posted.alert.clone()).collect();
            local.post(&alerts);
            note(&self.history, now, &OURSELVES.into(), &posted, &Sending::Taken);
        } else if self.remote.is_empty() {
            note(&self.history, now, &"".into(), &posted, &Sending::Nobody);
        }
        self.remote.send(&posted);
    }
}

fn prepared(alert: &Alert, outgoing: &Outgoing) -> Option<Alert> {
    let mut labels = alert.labels.to_builder();
    for (name, value) in &outgoing.external_labels {
        if labels.get(name).is_empty() {
            labels.set(name, value);
        }
    }
    relabel(&outgoing.relabel, &mut labels).then(|| Alert {
        labels: labels.build(),
        ..alert.clone()
    })
}
