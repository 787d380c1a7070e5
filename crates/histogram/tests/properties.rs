//! What holds for any histogram, also for one whose parts do not belong together.

use cupola_histogram::{CUSTOM_BUCKETS_SCHEMA, CounterResetHint, FloatHistogram, HistogramMean, HistogramSum, Span};
use proptest::prelude::*;

fn side(least: i32) -> impl Strategy<Value = (Vec<Span>, Vec<f64>)> {
    prop::collection::vec((least..8, 1_u32..4), 0..4).prop_flat_map(|spans| {
        let spans: Vec<Span> = (0..)
            .zip(spans)
            .map(|(at, (offset, length))| Span {
                offset: if at == 0 { offset } else { offset.abs() },
                length,
            })
            .collect();
        let number = spans.iter().map(|span| span.length as usize).sum::<usize>();
        let counts = prop::collection::vec((0_u32..9).prop_map(f64::from), number);
        (Just(spans), counts)
    })
}

/// Exponential, all parts in order, small whole populations so that sums are exact.
fn exponential() -> impl Strategy<Value = FloatHistogram> {
    (
        -2_i32..4,
        side(-8),
        side(-8),
        0_u32..5,
        prop::sample::select(vec![0.0, 0.001, 0.5, 1.3]),
    )
        .prop_map(
            |(schema, (positive_spans, positive_buckets), (negative_spans, negative_buckets), zero, zero_threshold)| {
                let mut h = FloatHistogram {
                    schema,
                    positive_spans,
                    positive_buckets,
                    negative_spans,
                    negative_buckets,
                    zero_count: f64::from(zero),
                    zero_threshold,
                    ..FloatHistogram::default()
                };
                h.count = population(&h);
                h.sum = h.count * 2.0;
                h
            },
        )
}

fn custom() -> impl Strategy<Value = FloatHistogram> {
    (
        prop::collection::btree_set(-3_i32..6, 0..6),
        prop::collection::vec(0_u32..9, 7),
    )
        .prop_map(|(bounds, counts)| {
            let bounds: Vec<f64> = bounds.into_iter().map(f64::from).chain([f64::INFINITY]).collect();
            let mut total = 0;
            let cumulative: Vec<f64> = bounds
                .iter()
                .zip(counts)
                .map(|(_, count)| {
                    total += count;
                    f64::from(total)
                })
                .collect();
            FloatHistogram::from_classic(&bounds, &cumulative, None, Some(1.0))
        })
}

/// Anything that fits into the type.
fn anything() -> impl Strategy<Value = FloatHistogram> {
    fn float() -> impl Strategy<Value = f64> {
        prop_oneof![
            any::<f64>(),
            prop::sample::select(vec![0.0, -0.0, 1.0, f64::NAN, f64::INFINITY, f64::MAX, 5e-324])
        ]
    }
    fn spans() -> impl Strategy<Value = Vec<Span>> {
        let offset = prop_oneof![any::<i32>(), -9_i32..9];
        let length = prop_oneof![any::<u32>(), 0_u32..4];
        prop::collection::vec(
            (offset, length).prop_map(|(offset, length)| Span { offset, length }),
            0..5,
        )
    }
    let floats = || prop::collection::vec(float(), 0..7);
    let schema = prop_oneof![Just(CUSTOM_BUCKETS_SCHEMA), -4_i32..9, any::<i32>()];
    let hint = prop::sample::select(vec![
        CounterResetHint::Unknown,
        CounterResetHint::CounterReset,
        CounterResetHint::NotCounterReset,
        CounterResetHint::Gauge,
    ]);
    let numbers = (float(), float(), float(), float());
    (schema, hint, numbers, spans(), spans(), floats(), floats(), floats()).prop_map(
        |(
            schema,
            counter_reset_hint,
            (zero_threshold, zero_count, count, sum),
            positive,
            negative,
            up,
            down,
            bounds,
        )| {
            FloatHistogram {
                counter_reset_hint,
                schema,
                zero_threshold,
                zero_count,
                count,
                sum,
                positive_spans: positive,
                negative_spans: negative,
                positive_buckets: up,
                negative_buckets: down,
                custom_values: bounds.into(),
            }
        },
    )
}

fn population(h: &FloatHistogram) -> f64 {
    let buckets = h.positive_buckets.iter().chain(&h.negative_buckets);
    buckets.sum::<f64>() + h.zero_count
}

fn compacted(h: &FloatHistogram) -> FloatHistogram {
    let mut h = h.clone();
    h.compact(0);
    h
}

// Without buckets that the zero bucket covers wholly or partly; only such histograms are exposed.
fn tidy(h: &FloatHistogram) -> bool {
    let clear = |bucket: cupola_histogram::Bucket| bucket.lower.abs().min(bucket.upper.abs()) >= h.zero_threshold;
    h.positive_iter().chain(h.negative_iter()).all(clear)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, failure_persistence: None, ..ProptestConfig::default() })]
    #[test]
    fn adding_and_taking_away_gives_back_what_was(a in exponential(), b in exponential()) {
        let mut both = a.clone();
        both.add(&b).unwrap();
        prop_assert_eq!(both.schema, a.schema.min(b.schema));
        prop_assert!(both.zero_threshold >= a.zero_threshold.max(b.zero_threshold));
        let mut back = both.clone();
        back.sub(&b).unwrap();
        if a.schema <= b.schema && a.zero_threshold == b.zero_threshold {
            prop_assert!(compacted(&back).equals(&compacted(&a)), "{} {}", back, a);
        }
        prop_assert_eq!((back.count, back.sum), (a.count, a.sum));
        prop_assert_eq!(both.count, a.count + b.count);
        if a.schema == b.schema && tidy(&a) && tidy(&b) {
            prop_assert_eq!(population(&both), both.count);
            let mut other = b.clone();
            other.add(&a).unwrap();
            prop_assert!(compacted(&both).equals(&compacted(&other)), "{} {}", both, other);
        }
    }

    #[test]
    fn a_compensated_sum_of_whole_numbers_is_the_plain_sum(list in prop::collection::vec(exponential(), 1..6)) {
        let (first, rest) = list.split_first().unwrap();
        let (mut plain, mut sum, mut mean) = (first.clone(), HistogramSum::new(first), HistogramMean::new(first));
        for h in rest {
            let told = plain.add(h).unwrap();
            prop_assert_eq!(sum.add(h).unwrap(), told);
            prop_assert_eq!(mean.add(h).unwrap(), told);
        }
        prop_assert!(compacted(&sum.value()).equals(&compacted(&plain)), "{} {}", sum.value(), plain);
        plain.div(list.len() as f64);
        prop_assert!(compacted(&mean.value()).equals(&compacted(&plain)), "{} {}", mean.value(), plain);
    }

    #[test]
    fn custom_buckets_keep_their_population(a in custom(), b in custom()) {
        prop_assert_eq!(a.validate(), Ok(()));
        let mut both = a.clone();
        let told = both.add(&b).unwrap();
        prop_assert_eq!(told.bounds_reconciled, a.custom_values != b.custom_values);
        prop_assert_eq!(both.validate(), Ok(()));
        prop_assert_eq!(population(&both), a.count + b.count);
        prop_assert!(both.custom_values.iter().all(|x| a.custom_values.contains(x) && b.custom_values.contains(x)));
        prop_assert!(!both.detect_reset(&a) && !both.detect_reset(&b));
        let mut sum = HistogramSum::new(&a);
        prop_assert_eq!(sum.add(&b).unwrap(), told);
        prop_assert!(compacted(&sum.value()).equals(&compacted(&both)));
    }

    #[test]
    fn a_coarser_histogram_holds_the_same(h in exponential(), less in 0_i32..5) {
        let (target, between) = ((h.schema - less).max(-4), (h.schema - less / 2).max(-4));
        let coarse = h.copy_to_schema(target);
        prop_assert_eq!(coarse.schema, target);
        prop_assert_eq!(population(&coarse), population(&h));
        prop_assert_eq!(coarse.validate(), Ok(()));
        prop_assert!(!coarse.detect_reset(&h));
        let again = h.copy_to_schema(between).copy_to_schema(target);
        prop_assert!(again.equals(&coarse));
    }

    #[test]
    fn compacting_changes_nothing_but_the_layout(h in exponential(), most in 0_usize..5) {
        let mut compact = h.clone();
        compact.compact(most);
        prop_assert_eq!(compact.validate(), Ok(()));
        let filled = |h: &FloatHistogram| h.all_iter().filter(|b| b.count != 0.0).collect::<Vec<_>>();
        prop_assert_eq!(filled(&compact), filled(&h));
        let mut twice = compact.clone();
        twice.compact(most);
        prop_assert_eq!(&twice, &compact);
        // Every span is wanted: the gaps are wider than `most`.
        let gaps = compact.positive_spans.iter().skip(1).map(|span| span.offset);
        prop_assert!(gaps.into_iter().all(|gap| gap as usize > most));
    }

    #[test]
    fn growing_counters_have_no_reset_and_shrinking_ones_do(a in exponential(), b in exponential()) {
        let b = FloatHistogram { schema: a.schema, zero_threshold: a.zero_threshold, ..b };
        let mut grown = a.clone();
        grown.add(&b).unwrap();
        prop_assert!(!grown.detect_reset(&a));
        let fell = a.positive_buckets.iter().chain(&a.negative_buckets).any(|&count| count > 0.0);
        if fell {
            let mut emptied = grown.clone();
            emptied.positive_buckets.iter_mut().chain(&mut emptied.negative_buckets).for_each(|count| *count = 0.0);
            prop_assert_eq!(emptied.detect_reset(&a), a.positive_iter().chain(a.negative_iter())
                .any(|bucket| bucket.count > 0.0 && bucket.lower.abs().max(bucket.upper.abs()) > a.zero_threshold));
        }
    }

    #[test]
    fn quantiles_ascend_and_fractions_are_their_inverse(h in exponential(), q in 0.01_f64..0.99) {
        if h.count == 0.0 || !tidy(&h) {
            return Ok(());
        }
        let (lower, upper) = (h.quantile(q / 2.0).0, h.quantile(q).0);
        prop_assert!(lower <= upper + upper.abs() * 1e-9, "{lower} {upper} of {h}");
        let below = h.fraction(f64::NEG_INFINITY, upper).0;
        prop_assert!((0.0..=1.0).contains(&below));
        // At the edge of a gap the fraction may already count what ends there; within a bucket it is the inverse.
        if h.all_iter().any(|b| b.count > 0.0 && b.lower < upper && upper < b.upper) {
            prop_assert!((below - q).abs() < 1e-6, "{below} {q} of {h}");
        }
    }

    #[test]
    fn what_is_cut_in_two_is_all_there_was(h in prop_oneof![exponential(), custom()], at in -9.0_f64..9.0) {
        let (mut below, mut above) = (h.clone(), h.clone());
        below.trim(at, true);
        above.trim(at, false);
        prop_assert!(below.count <= h.count * (1.0 + 1e-9) && above.count <= h.count * (1.0 + 1e-9));
        if !h.uses_custom_buckets() {
            prop_assert!((below.count + above.count - h.count).abs() <= 1e-9 * h.count, "{below} {above} of {h}");
        }
        prop_assert!(below.schema == h.schema && below.custom_values == h.custom_values);
    }

    #[test]
    fn nothing_panics_whatever_the_parts_are(a in anything(), b in anything(), x in any::<f64>(), y in any::<f64>()) {
        let _ = (a.to_string(), a.test_expression(), a.validate().map_err(|e| e.to_string()), a.size_bytes());
        let _ = (a.quantile(x), a.quantile(x.abs().fract()), a.fraction(x, y), a.std_var(), a.std_dev(), a.avg());
        let _ = (a.equals(&b), a.detect_reset(&b), a.is_stale(), a.api_buckets().count());
        let _ = (a.all_iter().count(), a.all_iter().rev().count());
        let forward: Vec<String> = a.all_iter().map(|b| b.to_string()).collect();
        let mut back: Vec<String> = a.all_iter().rev().map(|b| b.to_string()).collect();
        back.reverse();
        prop_assert_eq!(forward, back);
        prop_assert!(a.equals(&a) || a.zero_threshold.is_nan() || a.custom_values.iter().any(|x| x.is_nan()));
        for operation in [
            (|h, other, _| h.add(other).map(|_| ()).unwrap_or(())) as fn(&mut FloatHistogram, &FloatHistogram, f64),
            |h, other, _| h.sub(other).map(|_| ()).unwrap_or(()),
            |h, _, x| h.mul(x),
            |h, _, x| h.div(x),
            |h, _, x| h.trim(x, true),
            |h, _, x| h.trim(x, false),
            |h, _, x| h.compact(x.abs() as usize),
            |h, other, _| h.reduce_resolution(other.schema),
        ] {
            let mut h = a.clone();
            operation(&mut h, &b, x);
            let _ = h.to_string();
        }
        let (mut sum, mut mean) = (HistogramSum::new(&a), HistogramMean::new(&a));
        for h in [&b, &a, &b] {
            prop_assert_eq!(sum.add(h).is_ok(), mean.add(h).is_ok());
        }
        let _ = (sum.value(), mean.value());
        let _ = FloatHistogram::from_classic(&a.positive_buckets, &a.custom_values, Some(x), Some(y));
    }
}
