//! Native histograms of a protobuf body.

use std::collections::HashSet;

use cupola_config::prometheus::ScrapeConfig;
use cupola_exposition::protobuf::{self, Decoded, NativeEntry};
use cupola_model::SeriesRef;
use cupola_storage::{AppendError, Appender};

use super::{Counts, IngestError, Ingester, Known, MAX_AHEAD_MS, append_exemplar, labels};
use crate::metrics::Metrics;

pub(super) type Seen = HashSet<SeriesRef, foldhash::fast::RandomState>;

pub(super) fn decode(config: &ScrapeConfig, body: &[u8]) -> Result<Decoded, protobuf::ProtobufError> {
    let wanted = protobuf::Wanted {
        native: config.defaults.scrape_native_histograms,
        classic_too: config.defaults.always_scrape_classic_histograms,
    };
    protobuf::decode(body, wanted)
}

impl Ingester {
    /// Appends one native histogram; what is asked of a float sample is asked of it, too.
    #[expect(clippy::too_many_arguments, reason = "the facts of one sample, used in one place")]
    pub(super) fn native(
        &mut self,
        config: &ScrapeConfig,
        metrics: &Metrics,
        entry: &NativeEntry<'_>,
        ts: i64,
        seen: &mut Seen,
        counts: &mut Counts,
        appender: &mut dyn Appender,
    ) -> Result<(), IngestError> {
        counts.scraped += 1;
        let hash = self.lines.hash(entry.series.raw());
        // The storage wants the labels with each histogram.
        let own_labels = labels(config, &self.target, &entry.series)?;
        let scrape = self.scrape;
        let known = match self.lines.find(hash) {
            Some(known) => known,
            None => {
                counts.added += usize::from(own_labels.is_some());
                self.lines.insert(Known {
                    hash,
                    series: SeriesRef(0),
                    has_series: false,
                    seen: 0,
                    seen_before: 0,
                    dropped: own_labels.is_none(),
                    tracked: false,
                })
            }
        };
        known.see(scrape);
        let Some(own_labels) = own_labels else { return Ok(()) };
        counts.kept += 1;
        let limit = config.defaults.limits.sample_limit;
        if limit > 0 && counts.kept as u64 > limit {
            metrics.sample_limit.inc();
            return Err(IngestError::SampleLimit(limit));
        }
        let own = entry.timestamp_ms.filter(|_| config.honor_timestamps);
        known.tracked = own.is_none() || config.track_timestamps_staleness;
        let at = own.unwrap_or(ts);
        if at > ts + MAX_AHEAD_MS {
            metrics.out_of_bounds.inc();
            return Ok(());
        }
        if own.is_none() && known.series().is_some_and(|series| seen.contains(&series)) {
            metrics.duplicate.inc();
            return Ok(());
        }
        match appender.append_histogram(None, &own_labels, at, entry.histogram.clone()) {
            Ok(series) => {
                known.set_series(series);
                seen.insert(series);
                if let Some(start) = entry.start_ms {
                    appender.append_start(series, at, start);
                }
                for exemplar in &entry.exemplars {
                    append_exemplar(appender, series, exemplar, at, metrics);
                }
            }
            Err(AppendError::OutOfOrder) => metrics.out_of_order.inc(),
            Err(AppendError::Duplicate) => metrics.duplicate.inc(),
            // The storage counts them and says whose they are.
            Err(AppendError::TooManySeries(_)) => {}
            // A histogram that contradicts itself is lost alone; the others count.
            Err(_) => metrics.out_of_bounds.inc(),
        }
        Ok(())
    }
}
