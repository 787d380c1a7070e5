//! What `cupola up` does without any configuration.

use std::path::Path;
use std::sync::Arc;

use anyhow::{Context as _, Result};
use cupola_config::parse_prometheus;
use cupola_config::prometheus::ScrapeConfig;
use cupola_exposition::Writer;
use cupola_metrics::Registry;
use cupola_node::{Collectors, NodeOptions};
use cupola_scrape::{LocalJob, LocalTarget};

/// The configuration where no file is given: nothing to scrape but what is built in.
pub(crate) const PROMETHEUS_YML: &str = "global:\n  scrape_interval: 10s\n  evaluation_interval: 15s\n";

/// Routing where no file is given: alerts are grouped and shown, nobody is told.
pub(crate) const ALERTMANAGER_YML: &str = "route:\n  receiver: nobody\n  group_by: [alertname]\n\
    receivers:\n- name: nobody\n";

/// Rules for the host and all targets.
pub(crate) const HOST_RULES: &str = include_str!("../rules/host.yml");

/// The job of the host's own metrics, as node_exporter's is called everywhere.
pub(crate) const HOST_JOB: &str = "node-exporter";

struct Host(Collectors);

impl LocalTarget for Host {
    fn collect(&self) -> Vec<u8> {
        let mut writer = Writer::new();
        self.0.collect(&mut writer);
        writer.finish()
    }
}

struct Own(Registry);

impl LocalTarget for Own {
    fn collect(&self) -> Vec<u8> {
        cupola_web::self_metrics(&self.0)
    }
}

/// The two targets that are always there: this machine, and Cupola itself.
///
/// They are scraped in this process; `listen` only names them on the pages.
pub(crate) fn jobs(hostname: &str, listen: &str, registry: &Registry) -> Result<Vec<LocalJob>> {
    let host = Arc::new(Host(
        Collectors::new(NodeOptions::default()).context("host collectors")?,
    ));
    let own = Arc::new(Own(registry.clone()));
    Ok(vec![
        LocalJob {
            config: job(HOST_JOB, "/metrics/node", hostname, listen)?,
            target: host,
        },
        LocalJob {
            config: job("prometheus", "/metrics", hostname, listen)?,
            target: own,
        },
    ])
}

fn job(name: &str, path: &str, hostname: &str, listen: &str) -> Result<ScrapeConfig> {
    // JSON is YAML, and quotes whatever a hostname may hold.
    let quoted = |text: &str| cupola_model::go_quote(text);
    let yaml = format!(
        "{PROMETHEUS_YML}scrape_configs:\n- job_name: {name}\n  metrics_path: {path}\n  static_configs:\n  - targets: [{}]\n    labels: {{instance: {}}}\n",
        quoted(listen),
        quoted(hostname),
    );
    let config = parse_prometheus(&yaml, Path::new("built-in")).context("built-in job")?;
    config
        .scrape_configs
        .into_iter()
        .next()
        .context("built-in job is empty")
}
