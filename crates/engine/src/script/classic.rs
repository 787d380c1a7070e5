//! `load_with_nhcb`: classic histograms also as native ones.

use std::collections::BTreeMap;
use std::sync::Arc;

use cupola_histogram::FloatHistogram;
use cupola_model::{Labels, METRIC_NAME, parse_f64};
use cupola_storage::{SampleValue, Samples};

#[derive(Default)]
struct Classic {
    bounds: Vec<f64>,
    cumulative: Vec<f64>,
    count: Option<f64>,
    sum: Option<f64>,
}

/// The native histograms with custom buckets that the classic ones among `series` make: of all series with the same
/// labels but `le` and the same name but `_bucket`, `_count` and `_sum`, one at each time that has any.
pub(crate) fn from_classic(series: &[(Labels, Samples)]) -> Vec<(Labels, Samples)> {
    let mut histograms: BTreeMap<Labels, BTreeMap<i64, Classic>> = BTreeMap::new();
    for (labels, samples) in series {
        let name = labels.get(METRIC_NAME).unwrap_or_default();
        let suffixes = ["_bucket", "_count", "_sum"].into_iter();
        let Some((base, suffix)) = suffixes
            .filter_map(|suffix| Some((name.strip_suffix(suffix)?, suffix)))
            .next()
        else {
            continue;
        };
        let bound = labels.get("le").and_then(parse_f64).filter(|le| !le.is_nan());
        if suffix == "_bucket" && bound.is_none() {
            continue;
        }
        let mut builder = labels.to_builder();
        builder.set(METRIC_NAME, base).remove("le");
        let times = histograms.entry(builder.build()).or_default();
        for (time, value) in samples.ts.iter().zip(&samples.values) {
            let classic = times.entry(*time).or_default();
            match (suffix, bound) {
                ("_count", _) => classic.count = Some(*value),
                ("_sum", _) => classic.sum = Some(*value),
                (_, Some(bound)) => {
                    classic.bounds.push(bound);
                    classic.cumulative.push(*value);
                }
                (_, None) => {}
            }
        }
    }
    let native = |classic: Classic| {
        FloatHistogram::from_classic(&classic.bounds, &classic.cumulative, classic.count, classic.sum)
    };
    histograms
        .into_iter()
        .map(|(labels, times)| {
            let mut samples = Samples::default();
            for (time, classic) in times {
                samples.push_value(time, SampleValue::Histogram(Arc::new(native(classic))), 0);
            }
            (labels, samples)
        })
        .collect()
}
