//! Resolutions finer than any that is known.

use crate::float::Span;
use crate::integer::{HistogramRef, NativeHistogram, populations};
use crate::layout::{SpanBuilder, coarser, steps};

/// The finest resolution that exists.
pub const FINEST_SCHEMA: i32 = 8;
/// The coarsest resolution that exists.
pub const COARSEST_SCHEMA: i32 = -4;
/// Schemas up to this one are reserved for finer ones.
const FINEST_RESERVED: i32 = 52;

impl NativeHistogram {
    /// Merges the buckets of a histogram with one of the reserved schemas 9 to 52, as programs of the future may send them, so
    /// that the schema is 8; upstream does so wherever it reads histograms. Where spans and buckets do not belong together
    /// nothing happens, and [`NativeHistogram::validate`] tells.
    pub fn limit_resolution(&mut self) {
        if is_too_fine(HistogramRef::from(&*self).schema()) {
            self.reduce_resolution(FINEST_SCHEMA);
        }
    }

    /// Merges buckets so that the schema becomes `schema` (upstream `ReduceResolution`). Nothing happens with custom buckets,
    /// where the histogram is that coarse already, or where spans and buckets do not belong together.
    pub fn reduce_resolution(&mut self, schema: i32) {
        match self {
            Self::Integer(h) if h.schema > schema && !h.uses_custom_buckets() => {
                let fit = |spans: &[Span], buckets: &[i64]| belong_together(spans, buckets.len());
                if fit(&h.positive_spans, &h.positive_buckets) && fit(&h.negative_spans, &h.negative_buckets) {
                    let steps = steps(h.schema, schema);
                    coarsen(&mut h.positive_spans, &mut h.positive_buckets, steps);
                    coarsen(&mut h.negative_spans, &mut h.negative_buckets, steps);
                    h.schema = schema;
                }
            }
            Self::Float(h) if h.schema > schema && !h.uses_custom_buckets() => {
                let fit = |spans: &[Span], buckets: &[f64]| belong_together(spans, buckets.len());
                if fit(&h.positive_spans, &h.positive_buckets) && fit(&h.negative_spans, &h.negative_buckets) {
                    h.reduce_resolution(schema);
                }
            }
            _ => {}
        }
    }

    /// How many buckets are listed, those of the zero bucket aside.
    #[must_use]
    pub fn bucket_count(&self) -> usize {
        match self {
            Self::Integer(h) => h.positive_buckets.len() + h.negative_buckets.len(),
            Self::Float(h) => h.positive_buckets.len() + h.negative_buckets.len(),
        }
    }
}

fn is_too_fine(schema: i32) -> bool {
    (FINEST_SCHEMA + 1..=FINEST_RESERVED).contains(&schema)
}

fn belong_together(spans: &[Span], buckets: usize) -> bool {
    spans.iter().map(|span| u64::from(span.length)).sum::<u64>() == buckets as u64
}

// As `arithmetic::coarsen`, for whole numbers listed as differences.
fn coarsen(spans: &mut Vec<Span>, deltas: &mut Vec<i64>, steps: u32) {
    let mut built = SpanBuilder::with_capacity(spans.len());
    let mut merged: Vec<i64> = Vec::with_capacity(deltas.len());
    let (mut index, mut current) = (0_i64, None);
    let mut counts = populations(deltas);
    for span in &*spans {
        index += i64::from(span.offset);
        for count in counts.by_ref().take(span.length as usize) {
            let coarse = coarser(index, steps);
            match merged.last_mut() {
                Some(sum) if current == Some(coarse) => *sum = sum.wrapping_add(count),
                _ => {
                    built.push(coarse);
                    merged.push(count);
                    current = Some(coarse);
                }
            }
            index += 1;
        }
    }
    drop(counts);
    let mut before = 0_i64;
    for count in &mut merged {
        let delta = count.wrapping_sub(before);
        before = std::mem::replace(count, delta);
    }
    *spans = built.finish();
    *deltas = merged;
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::integer::Histogram;

    fn histogram(schema: i32) -> Histogram {
        Histogram {
            schema,
            count: 25,
            zero_count: 1,
            sum: 3.5,
            positive_spans: vec![Span { offset: -3, length: 4 }, Span { offset: 2, length: 2 }],
            positive_buckets: vec![1, 1, 1, 1, 1, -2],
            negative_spans: vec![Span { offset: 5, length: 2 }],
            negative_buckets: vec![3, 0],
            ..Histogram::default()
        }
    }

    #[test]
    fn finer_ones_become_the_finest_whole_numbers_as_floats_do() {
        for (schema, becomes) in [
            (8, 8),
            (9, 8),
            (10, 8),
            (20, 8),
            (52, 8),
            (53, 53),
            (-5, -5),
            (i32::MAX, i32::MAX),
        ] {
            let mut integer = NativeHistogram::Integer(histogram(schema));
            let mut float = NativeHistogram::Float(histogram(schema).to_float());
            integer.limit_resolution();
            float.limit_resolution();
            assert_eq!(integer.to_float(), float.to_float(), "{schema}");
            assert_eq!(float.to_float().schema, becomes);
            assert_eq!(integer.validate().is_ok(), becomes == 8, "{schema}");
        }
        let mut integer = NativeHistogram::Integer(histogram(9));
        integer.limit_resolution();
        let expected = Histogram {
            schema: 8,
            // -3 and -2 become -1; -1 and 0 become 0; 3 and 4 become 2.
            positive_spans: vec![Span { offset: -1, length: 2 }, Span { offset: 1, length: 1 }],
            positive_buckets: vec![3, 4, 1],
            // 5 and 6 become 3.
            negative_spans: vec![Span { offset: 3, length: 1 }],
            negative_buckets: vec![6],
            ..histogram(8)
        };
        assert_eq!(integer, NativeHistogram::Integer(expected));
    }

    #[test]
    fn one_that_contradicts_itself_stays_as_it_is() {
        let broken = Histogram {
            positive_buckets: vec![1],
            ..histogram(9)
        };
        for mut whole in [
            NativeHistogram::Integer(broken.clone()),
            NativeHistogram::Float(broken.to_float()),
        ] {
            let before = whole.clone();
            whole.limit_resolution();
            assert_eq!(whole, before);
            assert!(whole.validate().is_err());
        }
    }
}
