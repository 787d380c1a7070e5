//! What each operation does, case by case, in the notation of the scripts.

#![allow(clippy::panic, reason = "a test")]

mod notation;

use cupola_histogram::{
    CUSTOM_BUCKETS_SCHEMA, CounterResetHint, FloatHistogram, FractionNote, HistogramMean, HistogramSum, Incompatible,
    QuantileNote, Reconciled, Span,
};

fn h(text: &str) -> FloatHistogram {
    notation::histogram(text).unwrap_or_else(|| panic!("cannot read {text}"))
}

/// Compact, in the notation, without its outer braces.
fn text(h: &FloatHistogram) -> String {
    let mut h = h.clone();
    h.compact(0);
    let text = h.test_expression();
    text.trim_start_matches('{').trim_end_matches('}').to_owned()
}

#[test]
fn addition_and_subtraction_bring_both_sides_together() {
    #[track_caller]
    fn check(a: &str, b: &str, sum: &str, difference: &str) {
        let (mut plus, mut minus, mut compensated) = (h(a), h(a), HistogramSum::new(&h(a)));
        let told = plus.add(&h(b)).unwrap();
        assert_eq!(minus.sub(&h(b)).unwrap(), told);
        assert_eq!(compensated.add(&h(b)).unwrap(), told);
        assert_eq!((text(&plus).as_str(), text(&minus).as_str()), (sum, difference));
        assert_eq!(text(&compensated.value()), sum);
        assert!(!told.counter_reset_collision);
        assert_eq!(told.bounds_reconciled, a.contains("-53") && !a.contains("[1 2 4]"));
    }
    check(
        "count:3 sum:4 buckets:[1 2]",
        "count:1 sum:1 buckets:[1 0]",
        "count:4 sum:5 buckets:[2 2]",
        "count:2 sum:3 buckets:[0 2]"
            .replace("[0 2]", "[2]")
            .replace("buckets", "offset:1 buckets")
            .as_str(),
    );
    // Buckets before, between and behind.
    check(
        "count:3 offset:2 buckets:[1 0 2]",
        "count:6 offset:0 buckets:[1 0 0 1 0 0 4]",
        "count:9 buckets:[1 0 1 1 2 0 4]",
        "count:-3 buckets:[-1 0 1 -1 2 0 -4]",
    );
    check(
        "",
        "count:1 n_offset:-3 n_buckets:[1]",
        "count:1 n_offset:-3 n_buckets:[1]",
        "count:-1 n_offset:-3 n_buckets:[-1]",
    );
    // Schemas: the coarser one stays, whichever side has it.
    check(
        "schema:1 count:10 offset:1 buckets:[1 2 3 4]",
        "count:5 offset:1 buckets:[2 3]",
        "count:15 offset:1 buckets:[5 10]",
        "count:5 offset:1 buckets:[1 4]",
    );
    check(
        "count:5 offset:1 buckets:[2 3]",
        "schema:1 count:10 offset:1 buckets:[1 2 3 4]",
        "count:15 offset:1 buckets:[5 10]",
        "count:-5 offset:1 buckets:[-1 -4]",
    );
    // The zero bucket grows, to the end of a bucket that it would cut, and swallows those within.
    check(
        "count:6 z_bucket:1 z_bucket_w:0.25 buckets:[2 3]",
        "count:4 z_bucket:4 z_bucket_w:1",
        "count:10 z_bucket:7 z_bucket_w:1 offset:1 buckets:[3]",
        "count:2 z_bucket:-1 z_bucket_w:1 offset:1 buckets:[3]",
    );
    check(
        "count:4 z_bucket:4 z_bucket_w:1.5",
        "count:6 z_bucket:1 z_bucket_w:0.25 buckets:[0 3 2] n_buckets:[1]",
        "count:10 z_bucket:9 z_bucket_w:2 offset:2 buckets:[2]",
        "count:-2 z_bucket:-1 z_bucket_w:2 offset:2 buckets:[-2]",
    );
    check(
        "count:3 z_bucket_w:0.25 n_offset:1 n_buckets:[3]",
        "count:2 z_bucket:2 z_bucket_w:1.5",
        "count:5 z_bucket:5 z_bucket_w:2",
        "count:1 z_bucket:1 z_bucket_w:2",
    );
    // Custom bounds: equal, and cut down to those both have.
    check(
        "schema:-53 count:6 custom_values:[1 2 4] buckets:[1 2 3]",
        "schema:-53 count:1 custom_values:[1 2 4] offset:3 buckets:[1]",
        "schema:-53 count:7 custom_values:[1 2 4] buckets:[1 2 3 1]",
        "schema:-53 count:5 custom_values:[1 2 4] buckets:[1 2 3 -1]",
    );
    check(
        "schema:-53 count:10 custom_values:[1 2 3] buckets:[1 2 3 4]",
        "schema:-53 count:6 custom_values:[2 5] buckets:[1 2 3]",
        "schema:-53 count:16 custom_values:[2] buckets:[4 12]",
        "schema:-53 count:4 custom_values:[2] buckets:[2 2]",
    );
    check(
        "schema:-53 count:3 custom_values:[1] buckets:[1 2]",
        "schema:-53 count:6 custom_values:[2 5] buckets:[1 2 3]",
        "schema:-53 count:9 custom_values:[] buckets:[9]",
        "schema:-53 count:-3 custom_values:[] buckets:[-3]",
    );
}

#[test]
fn a_mix_of_bucket_kinds_changes_nothing() {
    let (exponential, custom) = (
        h("count:1 buckets:[1]"),
        h("schema:-53 count:1 custom_values:[1] buckets:[1]"),
    );
    for (a, b) in [(&exponential, &custom), (&custom, &exponential)] {
        let (mut sum, mut difference) = (a.clone(), a.clone());
        assert_eq!((sum.add(b), difference.sub(b)), (Err(Incompatible), Err(Incompatible)));
        assert_eq!((&sum, &difference), (a, a));
        let (mut sum, mut mean) = (HistogramSum::new(a), HistogramMean::new(a));
        assert_eq!((sum.add(b), mean.add(b)), (Err(Incompatible), Err(Incompatible)));
        assert_eq!((&sum.value(), &mean.value()), (a, a));
    }
}

#[test]
fn hints_merge_as_upstream_merges_them() {
    use CounterResetHint::{CounterReset, Gauge, NotCounterReset, Unknown};
    for (a, b, merged, collides) in [
        (Unknown, Unknown, Unknown, false),
        (CounterReset, CounterReset, CounterReset, false),
        (NotCounterReset, NotCounterReset, NotCounterReset, false),
        (Gauge, NotCounterReset, Gauge, false),
        (CounterReset, Gauge, Gauge, false),
        (Unknown, Gauge, Gauge, false),
        (Unknown, CounterReset, Unknown, false),
        (NotCounterReset, Unknown, Unknown, false),
        (NotCounterReset, CounterReset, Unknown, true),
        (CounterReset, NotCounterReset, Unknown, true),
    ] {
        let with = |hint| FloatHistogram {
            counter_reset_hint: hint,
            ..h("count:1 buckets:[1]")
        };
        let mut sum = with(a);
        let told = Reconciled {
            counter_reset_collision: collides,
            bounds_reconciled: false,
        };
        assert_eq!(sum.add(&with(b)), Ok(told));
        assert_eq!(sum.counter_reset_hint, merged, "{a:?} {b:?}");
    }
    // An aggregation tells a collision also where a third histogram came in between.
    let with = |hint: &str| h(&format!("count:1 counter_reset_hint:{hint} buckets:[1]"));
    let mut sum = HistogramSum::new(&with("reset"));
    assert!(!sum.add(&with("gauge")).unwrap().counter_reset_collision);
    assert!(sum.add(&with("not_reset")).unwrap().counter_reset_collision);
    assert_eq!(sum.value().counter_reset_hint, Gauge);
}

#[test]
fn scaling_keeps_the_layout_and_negative_factors_make_gauges() {
    let check = |with: fn(&mut FloatHistogram), expected: &str| {
        let mut scaled = h("count:4 sum:6 z_bucket:2 z_bucket_w:0.5 buckets:[2 0 4] n_buckets:[6]");
        with(&mut scaled);
        assert_eq!(scaled.test_expression(), format!("{{{{{expected}}}}}"));
    };
    check(
        |h| h.mul(0.5),
        "count:2 sum:3 z_bucket:1 z_bucket_w:0.5 buckets:[1 0 2] n_buckets:[3]",
    );
    check(
        |h| h.div(2.0),
        "count:2 sum:3 z_bucket:1 z_bucket_w:0.5 buckets:[1 0 2] n_buckets:[3]",
    );
    check(
        FloatHistogram::neg,
        "count:-4 sum:-6 z_bucket:-2 z_bucket_w:0.5 counter_reset_hint:gauge buckets:[-2 0 -4] n_buckets:[-6]",
    );
    check(
        |h| h.div(-2.0),
        "count:-2 sum:-3 z_bucket:-1 z_bucket_w:0.5 counter_reset_hint:gauge buckets:[-1 0 -2] n_buckets:[-3]",
    );
    check(|h| h.div(0.0), "count:+Inf sum:+Inf z_bucket:+Inf z_bucket_w:0.5");
}

#[test]
fn sums_keep_what_single_additions_lose() {
    const BIG: f64 = 9_007_199_254_740_992.0;
    for (large, small) in [
        (
            format!("count:{BIG} sum:{BIG} z_bucket:{BIG} buckets:[{BIG}] n_buckets:[{BIG}]"),
            "count:1 sum:1 z_bucket:1 buckets:[1] n_buckets:[1]",
        ),
        (
            format!("schema:-53 count:{BIG} sum:{BIG} custom_values:[5] buckets:[{BIG}]"),
            "schema:-53 count:1 sum:1 custom_values:[5 10] buckets:[1]",
        ),
        // A coarser schema and a bucket that moves in the layout.
        (
            format!("schema:1 count:{BIG} sum:{BIG} offset:3 buckets:[{BIG}]"),
            "count:1 sum:1 buckets:[0 0 1]",
        ),
    ] {
        let (mut sum, mut plain) = (HistogramSum::new(&h(&large)), h(&large));
        for _ in 0..2 {
            sum.add(&h(small)).unwrap();
            plain.add(&h(small)).unwrap();
        }
        let exact = |h: &FloatHistogram| h.count == BIG + 2.0 && h.positive_buckets.contains(&(BIG + 2.0));
        assert!(exact(&sum.value()), "{}", sum.value());
        assert!(!exact(&plain), "{plain}");
    }
}

#[test]
fn a_mean_survives_a_sum_that_floats_cannot_hold() {
    let large = h("count:1.7e308 sum:1.7e308 buckets:[1.7e308]");
    let mut mean = HistogramMean::new(&large);
    for _ in 0..9 {
        mean.add(&large).unwrap();
    }
    assert!(notation::close_histograms(&mean.value(), &large), "{}", mean.value());
    let mut sum = HistogramSum::new(&large);
    sum.add(&large).unwrap();
    assert_eq!(sum.value().count, f64::INFINITY);
}

#[test]
fn resets_are_found() {
    #[track_caller]
    fn check(before: &str, now: &str, reset: bool) {
        assert_eq!(h(now).detect_reset(&h(before)), reset);
    }
    let base = "count:6 z_bucket:1 z_bucket_w:0.001 buckets:[1 0 2] n_buckets:[2]";
    check(base, base, false);
    check("", base, false);
    check(
        base,
        "count:7 z_bucket:1 z_bucket_w:0.001 buckets:[1 0 3] n_buckets:[2]",
        false,
    );
    check(
        base,
        "count:5 z_bucket:1 z_bucket_w:0.001 buckets:[1 0 2] n_buckets:[2]",
        true,
    );
    check(
        base,
        "count:6 z_bucket:0 z_bucket_w:0.001 buckets:[1 0 2] n_buckets:[2]",
        true,
    );
    check(
        base,
        "count:9 z_bucket:1 z_bucket_w:0.001 buckets:[1 6 1] n_buckets:[2]",
        true,
    );
    check(
        base,
        "count:9 z_bucket:1 z_bucket_w:0.001 buckets:[1 6] n_buckets:[2]",
        true,
    );
    check(base, "count:9 z_bucket:1 z_bucket_w:0.001 buckets:[1 6 2]", true);
    check(
        base,
        "count:9 z_bucket:1 z_bucket_w:0.001 offset:-1 buckets:[4 1 0 2] n_buckets:[2]",
        false,
    );
    // Hints say it without a look.
    check(base, "count:1 counter_reset_hint:not_reset", false);
    check("", "count:1 counter_reset_hint:reset", true);
    // Finer: a reset. Coarser: compared as coarser.
    check("count:3 buckets:[3]", "schema:1 count:3 buckets:[3]", true);
    check(
        "schema:1 count:6 offset:1 buckets:[2 1 3]",
        "count:6 offset:1 buckets:[3 3]",
        false,
    );
    check(
        "schema:1 count:6 offset:1 buckets:[2 1 3]",
        "count:7 offset:1 buckets:[2 5]",
        true,
    );
    // A larger zero bucket takes buckets in, a smaller one is a reset, one that cuts a bucket, too.
    check(
        "count:3 z_bucket_w:0.001 buckets:[1 2]",
        "count:3 z_bucket:1 z_bucket_w:1 offset:1 buckets:[2]",
        false,
    );
    check(
        "count:3 z_bucket_w:0.001 buckets:[1 2]",
        "count:3 z_bucket:0 z_bucket_w:1 offset:1 buckets:[3]",
        true,
    );
    check(
        "count:3 z_bucket_w:1 buckets:[0 2]",
        "count:3 z_bucket_w:0.5 buckets:[0 2]",
        true,
    );
    check(
        "count:3 z_bucket_w:0.001 buckets:[1 2]",
        "count:3 z_bucket:3 z_bucket_w:1.5",
        true,
    );
    // Custom buckets.
    let custom = "schema:-53 count:6 custom_values:[1 2 4] buckets:[1 2 3]";
    check(custom, custom, false);
    check(custom, "schema:-53 count:7 custom_values:[1 2 4] buckets:[1 1 5]", true);
    check(
        custom,
        "schema:-53 count:7 custom_values:[2 4 8] buckets:[3 3 1]",
        false,
    );
    check(custom, "schema:-53 count:7 custom_values:[2 4 8] buckets:[2 4 1]", true);
    check(custom, "count:7 buckets:[7]", true);
}

#[test]
fn equality_is_that_of_the_data() {
    let base = h("count:3 sum:4 offset:1 buckets:[1 2]");
    let same = |other: &FloatHistogram| base.equals(other) && other.equals(&base);
    assert!(same(&base));
    assert!(same(&FloatHistogram {
        counter_reset_hint: CounterResetHint::Gauge,
        positive_spans: vec![
            Span { offset: 1, length: 1 },
            Span { offset: 0, length: 0 },
            Span { offset: 0, length: 1 }
        ],
        ..base.clone()
    }));
    for other in [
        "count:3 sum:4 offset:2 buckets:[1 2]",
        "count:3 sum:4 offset:1 buckets:[1 2 0]",
        "count:3 sum:4 buckets:[0 1 2]",
        "count:3 sum:4 z_bucket_w:0.5 offset:1 buckets:[1 2]",
        "schema:1 count:3 sum:4 offset:1 buckets:[1 2]",
        "count:3 sum:NaN offset:1 buckets:[1 2]",
    ] {
        assert!(!same(&h(other)), "{other}");
    }
    assert!(h("sum:NaN").equals(&h("sum:NaN")));
    assert!(!h("sum:0").equals(&h("sum:-0")));
    let stale = FloatHistogram {
        sum: cupola_model::STALE_NAN,
        ..FloatHistogram::default()
    };
    assert!(stale.is_stale() && !h("sum:NaN").is_stale() && !stale.equals(&h("sum:NaN")));
    assert!(!h("schema:-53 custom_values:[1]").equals(&h("schema:-53 custom_values:[2]")));
}

#[test]
fn notations_are_upstream_s() {
    let all = h("schema:0 count:9.5 sum:-1e+07 z_bucket:1 z_bucket_w:0.001 offset:1 buckets:[2 0 3] n_buckets:[1 0.5]");
    assert_eq!(
        all.to_string(),
        "{count:9.5, sum:-1e+07, [-2,-1):0.5, [-1,-0.5):1, [-0.001,0.001]:1, (1,2]:2, (4,8]:3}"
    );
    assert_eq!(
        all.test_expression(),
        "{{count:9.5 sum:-1e+07 z_bucket:1 z_bucket_w:0.001 offset:1 buckets:[2 0 3] n_buckets:[1 0.5]}}"
    );
    let custom = h("schema:-53 count:6 sum:7 custom_values:[-1 2.5] counter_reset_hint:gauge buckets:[1 2 3]");
    assert_eq!(
        custom.to_string(),
        "{count:6, sum:7, [-Inf,-1]:1, (-1,2.5]:2, (2.5,+Inf]:3}"
    );
    assert_eq!(
        custom.test_expression(),
        "{{schema:-53 count:6 sum:7 custom_values:[-1 2.5] counter_reset_hint:gauge buckets:[1 2 3]}}"
    );
    assert_eq!(FloatHistogram::default().test_expression(), "{{}}");
    let api: Vec<_> = all
        .api_buckets()
        .map(|b| (b.boundaries, b.lower, b.upper, b.count))
        .collect();
    assert_eq!(
        api,
        [
            (1, -2.0, -1.0, 0.5),
            (1, -1.0, -0.5, 1.0),
            (3, -0.001, 0.001, 1.0),
            (0, 1.0, 2.0, 2.0),
            (0, 4.0, 8.0, 3.0)
        ]
    );
    let order =
        |buckets: &mut dyn Iterator<Item = cupola_histogram::Bucket>| buckets.map(|b| b.count).collect::<Vec<_>>();
    assert_eq!(order(&mut all.all_iter()), [0.5, 1.0, 1.0, 2.0, 0.0, 3.0]);
    assert_eq!(order(&mut all.all_iter().rev()), [3.0, 0.0, 2.0, 1.0, 1.0, 0.5]);
    assert_eq!(order(&mut all.negative_iter()), [1.0, 0.5]);
    // A bucket that reaches into the zero bucket begins where that ends.
    let overlapping = h("count:2 z_bucket:1 z_bucket_w:0.75 buckets:[1] n_buckets:[1]");
    let bounds: Vec<_> = overlapping.all_iter().map(|b| (b.lower, b.upper)).collect();
    assert_eq!(bounds, [(-1.0, -0.75), (-0.75, 0.75), (0.75, 1.0)]);
}

#[test]
fn quantiles_tell_about_nan_and_edges() {
    let plain = h("count:4 sum:4 offset:1 buckets:[4]");
    assert_eq!(plain.quantile(0.5).0, 2f64.sqrt());
    assert_eq!(plain.quantile(-0.1).0, f64::NEG_INFINITY);
    assert_eq!(plain.quantile(1.1).0, f64::INFINITY);
    assert!(plain.quantile(f64::NAN).0.is_nan() && FloatHistogram::default().quantile(0.5).0.is_nan());
    // One of five observations is NaN.
    let with_nan = h("count:5 sum:NaN offset:1 buckets:[4]");
    let (value, note) = with_nan.quantile(0.9);
    assert!(value.is_nan() && note == QuantileNote::ResultIsNan);
    assert_eq!(with_nan.quantile(0.4), (2f64.sqrt(), QuantileNote::SkewedHigher));
    assert_eq!(with_nan.fraction(0.0, 8.0), (0.8, FractionNote::NansExcluded));
    // Observations of both infinities make a NaN sum as well.
    let infinite = h("count:4 sum:NaN offset:1 buckets:[4]");
    assert_eq!(infinite.quantile(0.5), (2f64.sqrt(), QuantileNote::None));
    assert_eq!(infinite.fraction(1.0, 2.0), (1.0, FractionNote::None));
    assert_eq!(infinite.fraction(2.0, 1.0), (0.0, FractionNote::None));
    // Reaching the rank without NaN: the upper end of what is known.
    assert_eq!(
        h("count:9 sum:1 offset:1 buckets:[4]").quantile(0.49),
        (2.0, QuantileNote::None)
    );
}

#[test]
fn classic_histograms_are_converted() {
    #[track_caller]
    fn check(bounds: &[f64], cumulative: &[f64], count: Option<f64>, sum: Option<f64>, expected: &str) {
        let converted = FloatHistogram::from_classic(bounds, cumulative, count, sum);
        assert_eq!(converted.test_expression(), format!("{{{{schema:-53 {expected}}}}}"));
        assert_eq!(converted.schema, CUSTOM_BUCKETS_SCHEMA);
        assert_eq!(converted.validate(), Ok(()));
    }
    let inf = f64::INFINITY;
    check(
        &[1.0, 2.0, inf],
        &[1.0, 3.0, 6.0],
        Some(6.0),
        Some(7.0),
        "count:6 sum:7 custom_values:[1 2] buckets:[1 2 3]",
    );
    check(
        &[inf, 2.0, 1.0],
        &[6.0, 3.0, 1.0],
        None,
        None,
        "count:6 custom_values:[1 2] buckets:[1 2 3]",
    );
    check(
        &[1.0, 2.0],
        &[1.0, 3.0],
        None,
        None,
        "count:3 custom_values:[1 2] buckets:[1 2]",
    );
    check(
        &[1.0, 2.0],
        &[1.0, 3.0],
        Some(5.0),
        None,
        "count:5 custom_values:[1 2] buckets:[1 2 2]",
    );
    check(
        &[1.0, 2.0, 3.0, inf],
        &[0.0, 2.0, 2.0, 2.0],
        None,
        None,
        "count:2 custom_values:[1 2 3] offset:1 buckets:[2]",
    );
    check(
        &[f64::NAN, inf],
        &[9.0, 2.0],
        None,
        None,
        "count:2 custom_values:[] buckets:[2]",
    );
    check(
        &[],
        &[],
        Some(2.0),
        Some(1.0),
        "count:2 sum:1 custom_values:[] buckets:[2]",
    );
}

#[test]
fn flaws_are_told_in_upstream_s_words() {
    let check = |text: &str, change: fn(&mut FloatHistogram), error: &str| {
        let mut flawed = h(text);
        change(&mut flawed);
        assert_eq!(flawed.validate().unwrap_err().to_string(), error);
    };
    let no = |_: &mut FloatHistogram| {};
    assert_eq!(h("count:3 z_bucket:1 buckets:[1] n_buckets:[1]").validate(), Ok(()));
    check(
        "schema:9",
        no,
        "histogram has an invalid schema, which must be between -4 and 8 for exponential buckets, or -53 for custom buckets, got schema 9",
    );
    check(
        "count:-1",
        no,
        "observation count is  -1: histogram's observation count is negative",
    );
    check(
        "buckets:[1 -2]",
        no,
        "positive side: bucket number 2 has observation count of -2: histogram has a bucket whose observation count is negative",
    );
    check(
        "n_buckets:[-2]",
        no,
        "negative side: bucket number 1 has observation count of -2: histogram has a bucket whose observation count is negative",
    );
    check(
        "z_bucket:-1",
        no,
        "zero bucket has observation count of -1: histogram has a bucket whose observation count is negative",
    );
    check(
        "buckets:[1]",
        |h| h.positive_spans.clear(),
        "positive side: spans need 0 buckets, have 1 buckets: histogram spans specify different number of buckets than provided",
    );
    check(
        "n_buckets:[1]",
        |h| h.negative_spans.push(Span { offset: -1, length: 0 }),
        "negative side: span number 2 with offset -1: histogram has a span whose offset is negative",
    );
    check(
        "custom_values:[1]",
        no,
        "histogram with exponential schema must not have custom bounds",
    );
    check(
        "schema:-53 custom_values:[2 1]",
        no,
        "custom buckets: previous bound is 2.000000 and current is 1.000000: histogram custom bounds must be in strictly increasing order",
    );
    check(
        "schema:-53 custom_values:[1 NaN]",
        no,
        "custom buckets: histogram custom bounds must not be NaN",
    );
    check(
        "schema:-53 custom_values:[1 +Inf]",
        no,
        "custom buckets: last +Inf bound must not be explicitly defined: histogram custom bounds must be finite",
    );
    check(
        "schema:-53 custom_values:[1] buckets:[1 2 3]",
        no,
        "custom buckets: only 1 custom bounds defined which is insufficient to cover total span length of 3: histogram custom bounds are too few",
    );
    check(
        "schema:-53 custom_values:[1] offset:-1 buckets:[1]",
        no,
        "custom buckets: span number 1 with offset -1: histogram has a span whose offset is negative",
    );
    check("schema:-53 z_bucket:1", no, "custom buckets: must have zero count of 0");
    check(
        "schema:-53 z_bucket_w:1",
        no,
        "custom buckets: must have zero threshold of 0",
    );
    check(
        "schema:-53 n_buckets:[1]",
        no,
        "custom buckets: must not have negative spans",
    );
    check(
        "schema:-53 n_buckets:[1]",
        |h| h.negative_spans.clear(),
        "custom buckets: must not have negative buckets",
    );
}

#[test]
fn sizes_count_as_upstream_counts_them() {
    assert_eq!(FloatHistogram::default().size_bytes(), 168);
    assert_eq!(h("buckets:[1 2] n_buckets:[1]").size_bytes(), 168 + 8 * 5);
    assert_eq!(
        h("schema:-53 custom_values:[1 2] buckets:[1]").size_bytes(),
        168 + 8 * 4
    );
}
