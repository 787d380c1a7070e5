//! A test message to a receiver, past routes, groups, silences and what was told before. Alertmanager has no such thing.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use cupola_model::Labels;
use cupola_notify::{Notification, NotifiedAlert};
use tokio::task::JoinSet;

use crate::dispatch::{Alertmanager, Loaded};

// How long each integration may take.
const PATIENCE: Duration = Duration::from_secs(10);

/// What became of a test message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tested {
    /// `webhook[0]`.
    pub integration: String,
    /// Why it did not get there; nothing where it did.
    pub error: Option<String>,
}

impl Alertmanager {
    /// Sends one message with one firing alert to all integrations of a receiver, each once; in the configuration's order,
    /// what became of it. Nothing of it is remembered. `None` where there is no such receiver.
    pub async fn test_receiver(&self, receiver: &str, labels: Labels, annotations: Labels) -> Option<Vec<Tested>> {
        let loaded: Arc<Loaded> = self.inner.loaded.lock().clone();
        let count = loaded.integrations.get(receiver)?.len();
        let notification = Arc::new(Notification {
            receiver: receiver.to_owned(),
            group_labels: Labels::from_pairs(labels.iter().filter(|(name, _)| *name == "alertname")),
            alerts: vec![NotifiedAlert {
                labels,
                annotations,
                starts_at: self.now_ms(),
                ends_at: None,
                generator_url: String::new(),
            }],
            external_url: self.inner.external_url.clone(),
            group_key: format!("test/{receiver}/{}", self.now_ms()),
            reason: "test",
            route_labels: BTreeMap::new(),
        });
        let mut sending = JoinSet::new();
        for at in 0..count {
            let (loaded, notification) = (loaded.clone(), notification.clone());
            sending.spawn(async move {
                let channel = loaded.integrations.get(&notification.receiver)?.get(at)?;
                let sent = tokio::time::timeout(PATIENCE, channel.send(&notification, PATIENCE)).await;
                let error = match sent {
                    Ok(Ok(())) => None,
                    Ok(Err(error)) => Some(error.to_string()),
                    Err(_) => Some(format!("no answer within {} s", PATIENCE.as_secs())),
                };
                let integration = format!("{}[{}]", channel.kind(), channel.index());
                Some((at, Tested { integration, error }))
            });
        }
        let mut tested: Vec<(usize, Tested)> = sending.join_all().await.into_iter().flatten().collect();
        tested.sort_by_key(|(at, _)| *at);
        Some(tested.into_iter().map(|(_, tested)| tested).collect())
    }
}
