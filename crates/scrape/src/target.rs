//! From a discovered address to a target: default labels, relabelling, the URL.

use std::path::PathBuf;

use cupola_config::prometheus::{ScrapeConfig, TargetGroup};
use cupola_config::relabel;
use cupola_model::{Labels, LabelsBuilder, format_duration, parse_duration, query_escape};
use http::Uri;
use thiserror::Error;

/// Something to scrape.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    /// Labels before relabelling.
    pub discovered: Labels,
    /// Labels of its samples: what relabelling left, without those that begin with `__`.
    pub labels: Labels,
    /// What is asked.
    pub url: Uri,
    /// The Unix socket it is asked at, instead of the URL's host: the label `__unix_socket__`.
    pub socket: Option<PathBuf>,
    /// Milliseconds between scrapes.
    pub interval_ms: i64,
    /// Milliseconds a scrape may take.
    pub timeout_ms: i64,
    /// What becomes of its histograms.
    pub histograms: Histograms,
}

/// What becomes of histograms: as the configuration says, unless relabelling changed it for the target.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Histograms {
    /// Native ones are stored (`__scrape_native_histograms__`).
    pub native: bool,
    /// Classic ones are stored beside native ones (`__always_scrape_classic_histograms__`).
    pub classic_too: bool,
    /// Classic ones are stored as native ones with custom buckets (`__convert_classic_histograms_to_nhcb__`).
    pub to_nhcb: bool,
}

impl Histograms {
    /// As the configuration says.
    #[must_use]
    pub(crate) fn of(config: &ScrapeConfig) -> Self {
        Self {
            native: config.defaults.scrape_native_histograms,
            classic_too: config.defaults.always_scrape_classic_histograms,
            to_nhcb: config.defaults.convert_classic_histograms_to_nhcb,
        }
    }

    // As relabelling left it; what is neither true nor false changes nothing.
    fn relabelled(self, labels: &LabelsBuilder) -> Self {
        let switch = |name: &str, configured: bool| match labels.get(name) {
            "true" => true,
            "false" => false,
            _ => configured,
        };
        Self {
            native: switch(NATIVE, self.native),
            classic_too: switch(CLASSIC_TOO, self.classic_too),
            to_nhcb: switch(TO_NHCB, self.to_nhcb),
        }
    }
}

const NATIVE: &str = "__scrape_native_histograms__";
const CLASSIC_TOO: &str = "__always_scrape_classic_histograms__";
const TO_NHCB: &str = "__convert_classic_histograms_to_nhcb__";

/// A discovered address that relabelling dropped.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DroppedTarget {
    /// Its labels before relabelling.
    pub discovered: Labels,
    /// Its job.
    pub scrape_pool: String,
}

/// Why an address makes no target. The texts are Prometheus's where it has some.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum TargetError {
    /// Nothing to ask.
    #[error("no address")]
    NoAddress,
    /// The address holds a scheme or a path.
    #[error("{0:?} is not a valid hostname")]
    Address(String),
    /// Interval or timeout is no duration.
    #[error("error parsing {what}: {text:?} is not a duration above zero")]
    Duration {
        /// `scrape interval` or `scrape timeout`.
        what: &'static str,
        /// The label's value.
        text: String,
    },
    /// The timeout is longer than the interval.
    #[error("scrape timeout cannot be greater than scrape interval ({timeout:?} > {interval:?})")]
    Timeout {
        /// The timeout.
        timeout: String,
        /// The interval.
        interval: String,
    },
    /// The parts do not make a URL.
    #[error("cannot make a URL of {0:?}")]
    Url(String),
}

/// What became of the targets of one group.
#[derive(Debug, Default)]
pub(crate) struct Derived {
    pub active: Vec<Target>,
    /// Labels before relabelling.
    pub dropped: Vec<Labels>,
    /// Labels before relabelling and what is wrong.
    pub failed: Vec<(Labels, TargetError)>,
}

/// Relabels the targets of one group.
pub(crate) fn derive(config: &ScrapeConfig, group: &TargetGroup) -> Derived {
    let mut out = Derived::default();
    for found in &group.targets {
        let discovered = discovered(config, group, found);
        match target(config, &discovered) {
            Ok(Some(target)) => out.active.push(target),
            Ok(None) => out.dropped.push(discovered),
            Err(error) => out.failed.push((discovered, error)),
        }
    }
    out
}

fn discovered(config: &ScrapeConfig, group: &TargetGroup, found: &Labels) -> Labels {
    let ms = |d: std::time::Duration| format_duration(i64::try_from(d.as_millis()).unwrap_or(i64::MAX));
    let mut labels = LabelsBuilder::default();
    for (name, values) in &config.params {
        if let Some(first) = values.first() {
            labels.set(&format!("__param_{name}"), first);
        }
    }
    let histograms = Histograms::of(config);
    for (name, is_on) in [
        (NATIVE, histograms.native),
        (CLASSIC_TOO, histograms.classic_too),
        (TO_NHCB, histograms.to_nhcb),
    ] {
        labels.set(name, if is_on { "true" } else { "false" });
    }
    labels
        .set("job", &config.job_name)
        .set("__scrape_interval__", &ms(config.scrape_interval))
        .set("__scrape_timeout__", &ms(config.scrape_timeout))
        .set("__metrics_path__", &config.metrics_path)
        .set("__scheme__", config.scheme.as_str());
    // An empty label does not take a default away.
    for (name, value) in group.labels.iter().chain(found).filter(|(_, value)| !value.is_empty()) {
        labels.set(name, value);
    }
    labels.build()
}

/// What becomes of one discovered target, for those who want to know without scraping it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TargetTrial {
    /// The labels before relabelling.
    pub discovered: Labels,
    /// What relabelling leaves, those that begin with `__` included but for `__meta_`; `None` where it drops the target.
    pub labels: Result<Option<Labels>, TargetError>,
}

impl TargetTrial {
    /// Relabels a target of `group` as the job would. Touches nothing.
    #[must_use]
    pub fn of(config: &ScrapeConfig, group: &TargetGroup, found: &Labels) -> Self {
        let discovered = discovered(config, group, found);
        let labels = populate(config, &discovered);
        let labels = labels.map(|populated| populated.map(|populated| populated.labels.build()));
        Self { discovered, labels }
    }
}

// A target whose labels still have those that begin with `__`.
struct Populated {
    labels: LabelsBuilder,
    url: Uri,
    socket: Option<PathBuf>,
    interval_ms: i64,
    timeout_ms: i64,
    histograms: Histograms,
}

fn target(config: &ScrapeConfig, discovered: &Labels) -> Result<Option<Target>, TargetError> {
    let Some(mut populated) = populate(config, discovered)? else {
        return Ok(None);
    };
    populated.labels.retain(|name, _| !name.starts_with("__"));
    Ok(Some(Target {
        discovered: discovered.clone(),
        labels: populated.labels.build(),
        url: populated.url,
        socket: populated.socket,
        interval_ms: populated.interval_ms,
        timeout_ms: populated.timeout_ms,
        histograms: populated.histograms,
    }))
}

fn populate(config: &ScrapeConfig, discovered: &Labels) -> Result<Option<Populated>, TargetError> {
    let mut labels = discovered.to_builder();
    if !relabel(&config.relabel_configs, &mut labels) {
        return Ok(None);
    }
    let address = labels.get("__address__").to_owned();
    if address.is_empty() {
        return Err(TargetError::NoAddress);
    }
    if address.contains('/') {
        return Err(TargetError::Address(address));
    }
    let (interval, timeout) = (
        labels.get("__scrape_interval__").to_owned(),
        labels.get("__scrape_timeout__").to_owned(),
    );
    let duration = |what, text: &str| {
        let ms = parse_duration(text).ok().filter(|ms| *ms > 0);
        ms.ok_or_else(|| TargetError::Duration {
            what,
            text: text.to_owned(),
        })
    };
    let interval_ms = duration("scrape interval", &interval)?;
    let timeout_ms = duration("scrape timeout", &timeout)?;
    if timeout_ms > interval_ms {
        return Err(TargetError::Timeout { timeout, interval });
    }
    let url = url(config, &labels, &address)?;
    let socket = Some(labels.get("__unix_socket__")).filter(|path| !path.is_empty());
    let socket = socket.map(PathBuf::from);
    let histograms = Histograms::of(config).relabelled(&labels);
    labels.retain(|name, _| !name.starts_with("__meta_"));
    if labels.get("instance").is_empty() {
        labels.set("instance", &address);
    }
    Ok(Some(Populated {
        labels,
        url,
        socket,
        interval_ms,
        timeout_ms,
        histograms,
    }))
}

fn url(config: &ScrapeConfig, labels: &LabelsBuilder, address: &str) -> Result<Uri, TargetError> {
    let mut pairs: Vec<(String, String)> = Vec::new();
    for (name, values) in &config.params {
        for (i, value) in values.iter().enumerate() {
            // Relabelling may have changed the first value.
            let first = labels.get(&format!("__param_{name}"));
            pairs.push((name.clone(), if i == 0 { first } else { value }.to_owned()));
        }
    }
    for (label, value) in labels.iter() {
        if let Some(name) = label.strip_prefix("__param_")
            && !config.params.contains_key(name)
        {
            pairs.push((name.to_owned(), value.to_owned()));
        }
    }
    pairs.sort_by(|a, b| a.0.cmp(&b.0));
    let query: Vec<String> = pairs
        .iter()
        .map(|(n, v)| format!("{}={}", query_escape(n), query_escape(v)))
        .collect();
    let mark = if query.is_empty() { "" } else { "?" };
    let path = labels.get("__metrics_path__");
    let slash = if path.starts_with('/') { "" } else { "/" };
    let text = format!(
        "{}://{address}{slash}{path}{mark}{}",
        labels.get("__scheme__"),
        query.join("&")
    );
    text.parse().map_err(|_| TargetError::Url(text))
}
