//! Where alerts go: the Alertmanager in this process, Alertmanagers elsewhere, or both.

use std::sync::Arc;

use arc_swap::ArcSwap;
use cupola_alert::{Alertmanager, AlertmanagerClients};
use cupola_config::RelabelConfig;
use cupola_config::relabel;
use cupola_model::{Alert, AlertSink, Labels};

/// What is done to every alert before it leaves.
#[derive(Debug, Default)]
pub(crate) struct Outgoing {
    /// Added where the alert lacks the label.
    pub external_labels: Labels,
    /// `alerting.alert_relabel_configs`
    pub relabel: Vec<RelabelConfig>,
}

/// Hands alerts on to everybody who wants them.
pub(crate) struct Sinks {
    pub outgoing: Arc<ArcSwap<Outgoing>>,
    pub local: Option<Alertmanager>,
    pub remote: AlertmanagerClients,
}

impl AlertSink for Sinks {
    fn post(&self, alerts: &[Alert]) {
        let outgoing = self.outgoing.load();
        let alerts: Vec<Alert> = alerts.iter().filter_map(|alert| prepared(alert, &outgoing)).collect();
        if let Some(local) = &self.local {
            local.post(&alerts);
        }
        self.remote.post(&alerts);
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
