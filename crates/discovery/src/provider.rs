//! One provider: what runs for one configuration, and what it reports.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use cupola_config::prometheus::{DiscoveryConfig, TargetGroup};
use cupola_metrics::Counter;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{info, warn};

use crate::manager::Inner;
use crate::metrics::DiscoveryMetrics;
use crate::{consul, dns, docker, ec2, file, http, openstack, swarm};

/// A provider at one moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProviderStatus {
    /// `file`, `http`, …
    pub mechanism: &'static str,
    /// Where it looks, in a few words and without secrets: a URL, file patterns, names.
    pub place: String,
    /// The jobs it finds targets for.
    pub sets: Vec<String>,
    /// Groups of targets it knows.
    pub groups: usize,
    /// Targets in these groups, before relabelling.
    pub targets: usize,
    /// When it last looked with success, milliseconds; `None` before the first time.
    pub last_refresh: Option<i64>,
    /// What went wrong when it last looked; empty where nothing did.
    pub last_error: String,
    /// How often something went wrong since the provider runs.
    pub failures: u64,
}

/// What the manager knows of a running provider.
pub(crate) struct Provider {
    pub id: u64,
    pub config: DiscoveryConfig,
    /// The set it was started for: the label `config` of its metrics.
    pub label: String,
    pub sets: Vec<String>,
    pub groups: HashMap<Arc<str>, Arc<TargetGroup>>,
    /// Whether it has told anything yet.
    pub has_told: bool,
    pub last_refresh: Option<i64>,
    pub last_error: String,
    pub failures: u64,
    pub stop: CancellationToken,
}

impl Provider {
    pub(crate) fn new(id: u64, config: DiscoveryConfig, label: String, stop: CancellationToken) -> Self {
        Self {
            id,
            config,
            label,
            sets: Vec::new(),
            groups: HashMap::new(),
            has_told: false,
            last_refresh: None,
            last_error: String::new(),
            failures: 0,
            stop,
        }
    }

    pub(crate) fn status(&self) -> ProviderStatus {
        ProviderStatus {
            mechanism: self.config.mechanism(),
            place: place(&self.config),
            sets: self.sets.clone(),
            groups: self.groups.len(),
            targets: self.groups.values().map(|group| group.targets.len()).sum(),
            last_refresh: self.last_refresh,
            last_error: self.last_error.clone(),
            failures: self.failures,
        }
    }
}

fn place(config: &DiscoveryConfig) -> String {
    match config {
        DiscoveryConfig::File(file) => {
            let files: Vec<String> = file.files.iter().map(|f| f.display().to_string()).collect();
            files.join(", ")
        }
        DiscoveryConfig::Http(http) => without_password(&http.url),
        DiscoveryConfig::Dns(dns) => dns.names.join(", "),
        DiscoveryConfig::Consul(consul) => consul.server.clone(),
        DiscoveryConfig::Docker(docker) => without_password(&docker.host),
        DiscoveryConfig::DockerSwarm(swarm) => without_password(&swarm.host),
        DiscoveryConfig::Ec2(ec2) => match ec2.endpoint.as_str() {
            "" => ec2.region.clone(),
            endpoint => without_password(endpoint),
        },
        DiscoveryConfig::OpenStack(cloud) => match cloud.identity_endpoint.as_str() {
            "" => cloud.region.clone(),
            endpoint => without_password(endpoint),
        },
    }
}

// A URL whose user and password, if any, are not shown.
fn without_password(url: &str) -> String {
    match url.split_once("://") {
        Some((scheme, rest)) => {
            let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
            let (authority, path) = rest.split_at(end);
            let host = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
            format!("{scheme}://{host}{path}")
        }
        None => url.to_owned(),
    }
}

/// What a running provider tells its manager.
#[derive(Clone)]
pub(crate) struct Updates {
    manager: Arc<Inner>,
    id: u64,
    mechanism: &'static str,
    failures: Counter,
}

impl Updates {
    pub(crate) fn new(manager: Arc<Inner>, provider: &Provider) -> Self {
        let mechanism = provider.config.mechanism();
        let failures = manager.metrics.refresh_failures.with(&[mechanism, &provider.label]);
        Self {
            manager,
            id: provider.id,
            mechanism,
            failures,
        }
    }

    pub(crate) fn metrics(&self) -> &DiscoveryMetrics {
        &self.manager.metrics
    }

    /// Where tasks are spawned for which a server that stops waits.
    pub(crate) fn tasks(&self) -> &TaskTracker {
        &self.manager.tasks
    }

    /// These are all groups there are.
    pub(crate) fn replace(&self, groups: Vec<TargetGroup>) {
        self.manager.received(self.id, groups, true);
    }

    /// These groups are as given; the others stay. A group without targets is gone.
    pub(crate) fn set(&self, groups: Vec<TargetGroup>) {
        self.manager.received(self.id, groups, false);
    }

    /// Looking did not work: the groups stay as they are.
    pub(crate) fn failed(&self, error: &str) {
        self.failures.inc();
        self.manager.with(self.id, |provider| {
            // Once per change, not once per refresh.
            if provider.last_error != error {
                let (mechanism, sets) = (self.mechanism, provider.sets.join(", "));
                warn!(
                    mechanism,
                    sets, error, "service discovery failed; what was found before stays"
                );
            }
            error.clone_into(&mut provider.last_error);
            provider.failures += 1;
        });
    }

    /// Looking worked.
    pub(crate) fn worked(&self) {
        let now = self.manager.clock.now_ms();
        self.manager.with(self.id, |provider| {
            provider.last_refresh = Some(now);
            if !provider.last_error.is_empty() {
                let (mechanism, sets) = (self.mechanism, provider.sets.join(", "));
                info!(mechanism, sets, "service discovery works again");
                provider.last_error.clear();
            }
        });
    }

    /// Looks now and then once each `interval`; what is found are all groups there are.
    pub(crate) async fn refresh(&self, interval: Duration, mut place: impl Look) {
        let seconds = self.metrics().refresh_seconds.with(&[self.mechanism]);
        loop {
            let started = Instant::now();
            let found = place.look().await;
            seconds.observe(started.elapsed().as_secs_f64());
            match found {
                Ok(groups) => {
                    self.worked();
                    self.replace(groups);
                }
                Err(error) => self.failed(&error),
            }
            tokio::time::sleep_until((started + interval).max(Instant::now())).await;
        }
    }
}

/// Where targets are found by asking again and again.
pub(crate) trait Look: Send {
    /// All groups there are now, or what went wrong.
    fn look(&mut self) -> impl Future<Output = Result<Vec<TargetGroup>, String>> + Send;
}

/// Runs a provider until the future is dropped.
pub(crate) async fn run(config: DiscoveryConfig, updates: Updates) {
    match config {
        DiscoveryConfig::File(config) => file::run(config, updates).await,
        DiscoveryConfig::Http(config) => http::run(*config, updates).await,
        DiscoveryConfig::Dns(config) => dns::run(config, updates).await,
        DiscoveryConfig::Consul(config) => consul::run(*config, updates).await,
        DiscoveryConfig::Docker(config) => docker::run(*config, updates).await,
        DiscoveryConfig::DockerSwarm(config) => swarm::run(*config, updates).await,
        DiscoveryConfig::Ec2(config) => ec2::run(*config, updates).await,
        DiscoveryConfig::OpenStack(config) => openstack::run(*config, updates).await,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_show_no_passwords() {
        assert_eq!(without_password("http://u:hunter@h:1/a@b?c"), "http://h:1/a@b?c");
        assert_eq!(without_password("https://h/p"), "https://h/p");
        assert_eq!(
            without_password("unix:///var/run/docker.sock"),
            "unix:///var/run/docker.sock"
        );
    }
}
