//! Native histograms: those of protobuf, and classic ones that are stored as such.

use cupola_config::prometheus::ScrapeConfig;
use cupola_exposition::protobuf::{self, Decoded, NativeEntry};
use cupola_exposition::{Format, nhcb};
use cupola_histogram::{COARSEST_SCHEMA, FINEST_SCHEMA, HistogramRef, NativeHistogram};

use super::{IngestError, Ingester, Pass, append_exemplar, labels};
use crate::target::Histograms;

/// What is to be read in the place of the body; `None` where it is read as it is.
pub(super) fn decode(wanted: Histograms, format: Format, body: &[u8]) -> Result<Option<Decoded>, IngestError> {
    let decoded = match format {
        Format::Text | Format::OpenMetrics => None,
        Format::Protobuf => {
            let wanted = protobuf::Wanted {
                native: wanted.native,
                classic_too: wanted.classic_too,
            };
            Some(protobuf::decode(body, wanted)?)
        }
    };
    if !wanted.to_nhcb {
        return Ok(decoded);
    }
    let converted = match decoded {
        Some(mut decoded) => {
            let text = decoded.take_text();
            nhcb::convert(format, &text, wanted.classic_too, Some(decoded))?
        }
        None => nhcb::convert(format, body, wanted.classic_too, None)?,
    };
    Ok(Some(converted))
}

/// Merges buckets until the histogram is as coarse and as small as the configuration wants it, as upstream does. `None` where
/// even the coarsest resolution has too many, or custom buckets are.
fn limited(config: &ScrapeConfig, histogram: &NativeHistogram) -> Option<NativeHistogram> {
    let mut histogram = histogram.clone();
    let schema = |histogram: &NativeHistogram| HistogramRef::from(histogram).schema();
    if config.native_histogram_min_bucket_factor > 0.0 {
        histogram.limit_resolution();
        if (COARSEST_SCHEMA..=FINEST_SCHEMA).contains(&schema(&histogram)) {
            histogram.reduce_resolution(finest_schema(config.native_histogram_min_bucket_factor));
        }
    }
    let limit = config.native_histogram_bucket_limit;
    while limit > 0 && histogram.bucket_count() as u64 > limit {
        let before = schema(&histogram);
        if before > COARSEST_SCHEMA && before <= FINEST_SCHEMA {
            histogram.reduce_resolution(before - 1);
        }
        if schema(&histogram) == before {
            return None;
        }
    }
    Some(histogram)
}

// The finest schema whose buckets grow by at least `factor`.
fn finest_schema(factor: f64) -> i32 {
    if factor <= 1.0 {
        return FINEST_SCHEMA;
    }
    let schema = (-factor.log2().log2()).floor();
    schema.clamp(f64::from(COARSEST_SCHEMA), f64::from(FINEST_SCHEMA)) as i32
}

impl Ingester {
    /// Appends one native histogram; what is asked of a float sample is asked of it, too.
    pub(super) fn native(&mut self, pass: &mut Pass<'_>, entry: &NativeEntry<'_>) -> Result<(), IngestError> {
        if let Some(told) = &mut self.told {
            // Its family was described in the text, which was read before.
            let family = entry.series.labels();
            (told.kind, told.unit) = self.metadata.type_and_unit(family.metric_name());
        }
        if pass.is_full() {
            return self.count(pass, false, &entry.series);
        }
        pass.counts.scraped += 1;
        let (at, fresh) = self.place(pass, &entry.series)?;
        let Some(known) = self.lines.all.get_mut(at) else {
            return Ok(());
        };
        let adds = pass.adds(known);
        let Some(time) = pass.time(known, entry.timestamp_ms) else {
            return Ok(());
        };
        // The storage wants the labels with each histogram.
        let own_labels = match fresh {
            Some(labels) => Some(labels),
            None => labels(pass.config, &self.target, &entry.series, self.told.as_ref())?,
        };
        let Some(own_labels) = own_labels else { return Ok(()) };
        let Some(histogram) = limited(pass.config, entry.histogram) else {
            pass.above.get_or_insert(IngestError::BucketLimit);
            return Ok(());
        };
        match pass.appender.append_histogram(None, &own_labels, time, histogram) {
            Ok(series) => {
                known.set_series(series);
                pass.took(series);
                pass.counts.added += usize::from(adds);
                if let Some(start) = entry.start_ms {
                    pass.appender.append_start(series, time, start);
                }
                for exemplar in &entry.exemplars {
                    append_exemplar(pass.appender, series, exemplar, time, pass.metrics);
                }
            }
            Err(error) => pass.refused(&error),
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_factor_chooses_the_schema() {
        for (factor, schema) in [
            (0.5, 8),
            (1.0, 8),
            (1.002, 8),
            (1.00271, 8),
            (1.01, 6),
            (1.1, 2),
            (1.5, 0),
            (2.0, 0),
            (4.0, -1),
            (65536.0, -4),
            (1e9, -4),
            (f64::INFINITY, -4),
        ] {
            assert_eq!(finest_schema(factor), schema, "{factor}");
        }
    }
}
