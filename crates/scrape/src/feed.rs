//! One target without its network, for benchmarks.

use std::sync::Arc;

use cupola_config::prometheus::ScrapeConfig;
use cupola_exposition::Format;
use cupola_metrics::Registry;
use cupola_model::Labels;
use cupola_storage::Appendable;

use crate::ingest::{Ingester, batch};
use crate::metrics::Metrics;
use crate::target::Histograms;

/// Takes the bodies of one target as its task does once it has fetched them: parses, finds the series, makes one batch.
pub struct Feed {
    config: ScrapeConfig,
    ingester: Ingester,
    metrics: Metrics,
}

impl Feed {
    /// For a target of the job `config` whose samples get the labels `target`.
    #[must_use]
    pub fn new(config: ScrapeConfig, target: Labels) -> Self {
        let histograms = Histograms::of(&config);
        Self {
            ingester: Ingester::new(target, histograms, Arc::default()),
            config,
            metrics: Metrics::new(&Registry::default()),
        }
    }

    /// As [`crate::ScrapeManager::with_starts`].
    #[must_use]
    pub fn with_starts(mut self, wanted: bool) -> Self {
        self.ingester = self.ingester.with_starts(wanted);
        self
    }

    /// Bytes of memory that the layout of the last body takes, which the next one is compared with.
    #[must_use]
    pub fn layout_bytes(&self) -> usize {
        self.ingester.layout_bytes()
    }

    /// Commits the samples of `body`, scraped at `ts` (milliseconds). Returns how many there were.
    ///
    /// # Errors
    /// What the targets page would tell.
    pub fn body(&mut self, format: Format, body: &[u8], ts: i64, storage: &dyn Appendable) -> Result<usize, String> {
        let Self {
            config,
            ingester,
            metrics,
        } = self;
        let stored = batch(storage, |appender| {
            ingester.body(config, metrics, format, body, ts, appender)
        });
        match stored {
            Ok(Ok(counts)) => Ok(counts.kept),
            Ok(Err(error)) => Err(error.to_string()),
            Err(error) => Err(error.to_string()),
        }
    }
}
