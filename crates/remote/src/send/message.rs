//! One message, made from what is at hand: for tools that push.

use cupola_model::{Labels, METRIC_NAME};
use cupola_storage::Metadata;

use super::proto::{Request, RequestV2, Value, put_labels};
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
    /// An `io.prometheus.write.v2.Request` of all of it, compressed, as a receiver of remote write 2.0 takes it: what is
    /// said of a family goes with each of its samples.
    #[must_use]
    pub fn to_write_request_v2(&self) -> Vec<u8> {
        let mut request = RequestV2::new();
        for (series, ts, value) in &self.samples {
            let metadata = series.get(METRIC_NAME).and_then(|name| self.about(name));
            request.add(series, (*ts, 0), &Value::Float(*value), metadata);
        }
        compress(&request.into_bytes()).into()
    }

    fn about(&self, name: &str) -> Option<&Metadata> {
        let parts = ["_bucket", "_count", "_sum"].into_iter();
        let families = std::iter::once(name).chain(parts.filter_map(|part| name.strip_suffix(part)));
        let mut known = families.filter_map(|family| self.metadata.iter().find(|(name, _)| name == family));
        known.next().map(|(_, metadata)| metadata)
    }
}

#[cfg(test)]
mod tests {
    use cupola_wire::{Fields, Value as Field};

    use super::*;

    #[test]
    fn the_second_version_says_of_each_series_what_its_family_is() {
        let labels = |name: &str| Labels::from_pairs([(METRIC_NAME, name)]);
        let metadata = |help: &str| Metadata {
            help: help.to_owned(),
            ..Metadata::default()
        };
        let pushed = PushedMetrics {
            metadata: vec![("h".into(), metadata("sizes")), ("n".into(), metadata("numbers"))],
            samples: ["h_bucket", "h_sum", "n", "other"]
                .map(|name| (labels(name), 7, 1.5))
                .into(),
        };
        let body = snap::raw::Decoder::new()
            .decompress_vec(&pushed.to_write_request_v2())
            .unwrap();
        let (mut symbols, mut helps) = (Vec::new(), Vec::new());
        for field in Fields(&body).map(Result::unwrap) {
            match field {
                (4, Field::Bytes(symbol)) => symbols.push(String::from_utf8(symbol.to_vec()).unwrap()),
                (5, Field::Bytes(series)) => {
                    let metadata = Fields(series).map(Result::unwrap).find(|(number, _)| *number == 5);
                    helps.push(metadata.map(|(_, value)| {
                        let Field::Bytes(metadata) = value else {
                            panic!("a message")
                        };
                        let help = Fields(metadata).map(Result::unwrap).find(|(number, _)| *number == 3);
                        let Some((_, Field::Varint(place))) = help else {
                            panic!("a place")
                        };
                        usize::try_from(place).unwrap()
                    }));
                }
                _ => {}
            }
        }
        let helps: Vec<Option<&str>> = helps.iter().map(|place| place.map(|at| symbols[at].as_str())).collect();
        assert_eq!(helps, [Some("sizes"), Some("sizes"), Some("numbers"), None]);
    }
}
