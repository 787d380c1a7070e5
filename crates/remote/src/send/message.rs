//! One message, made from what is at hand: for tools that push.

use cupola_model::Labels;
use cupola_storage::Metadata;

use super::proto::{Request, Value, put_labels};
use super::shard::compress;

/// What a tool pushes.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct PushedMetrics {
    /// What is said of metric families, by their names.
    pub metadata: Vec<(String, Metadata)>,
    /// Samples, each with its time in milliseconds since the epoch.
    pub samples: Vec<(Labels, i64, f64)>,
}

impl PushedMetrics {
    /// A `prometheus.WriteRequest` of all of it, compressed, as a receiver of remote write 1.0 takes it.
    #[must_use]
    pub fn to_write_request(&self) -> Vec<u8> {
        let mut request = Request::default();
        let mut labels = Vec::new();
        for (series, ts, value) in &self.samples {
            labels.clear();
            put_labels(&mut labels, series);
            request.add(&labels, *ts, &Value::Float(*value));
        }
        for (family, metadata) in &self.metadata {
            request.describe(family, metadata);
        }
        compress(&request.bytes).into()
    }
}
