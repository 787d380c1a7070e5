//! What other servers read from this one, what it reads from them, and the metrics of OpenTelemetry.

use std::sync::Arc;

use cupola_metrics::Registry;
use cupola_remote::{OtlpDeltas, OtlpOptions, OtlpReceiver, RemoteReads};
use cupola_storage::Queryable;
use cupola_tsdb::Tsdb;
use cupola_web::ReadLimits;

use crate::cli::Settings;

/// The own storage with the servers of `remote_read`. As upstream, these are asked for what is older than two of the shortest
/// blocks after the oldest sample here.
pub(crate) fn reads(tsdb: &Tsdb, own: Arc<dyn Queryable>, min_block_ms: i64) -> RemoteReads {
    let tsdb = tsdb.clone();
    let start = move || {
        let oldest = tsdb.blocks().first().map(|block| block.mint);
        let oldest = oldest.unwrap_or_else(|| tsdb.head_stats().mint);
        oldest.saturating_add(min_block_ms.saturating_mul(2))
    };
    RemoteReads::new(own, Arc::new(start))
}

/// Takes the metrics of OpenTelemetry, where that is enabled.
pub(crate) fn otlp(settings: &Settings, registry: &Registry) -> Option<Arc<OtlpReceiver>> {
    let is_on = |name: &str| settings.features.iter().any(|feature| feature == name);
    let options = OtlpOptions {
        lookback_ms: settings.lookback_ms,
        deltas: if is_on("otlp-deltatocumulative") {
            OtlpDeltas::Summed
        } else if is_on("otlp-native-delta-ingestion") {
            OtlpDeltas::Native
        } else {
            OtlpDeltas::Refused
        },
        type_and_unit_labels: is_on("type-and-unit-labels"),
    };
    let enabled = settings.remote.otlp_receiver;
    enabled.then(|| Arc::new(OtlpReceiver::new(registry, options)))
}

/// How much others may read at once.
pub(crate) fn limits(settings: &Settings) -> ReadLimits {
    ReadLimits {
        samples: settings.remote.read_sample_limit,
        concurrent: settings.remote.read_concurrent_limit,
        frame_bytes: settings.remote.read_max_bytes_in_frame,
    }
}
