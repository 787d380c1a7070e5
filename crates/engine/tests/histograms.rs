//! Scripts of our own about functions over histograms, for what the shared ones leave out: classic and native ones that
//! meet at some steps only, odd bounds, parameters that change over time, and what is told under either way of removing
//! names.

use cupola_engine::EngineOptions;
use cupola_engine::script::{Runner, script_options};

#[track_caller]
fn run(delayed_name_removal: bool, script: &str) {
    let options = EngineOptions {
        delayed_name_removal,
        ..script_options()
    };
    let report = Runner::new(options).run(script).expect("the script can be read");
    assert!(
        report.failures.is_empty(),
        "delayed {delayed_name_removal}: {:#?}",
        report.failures
    );
    assert!(report.passed > 0);
}

#[track_caller]
fn check(script: &str) {
    run(true, script);
    run(false, script);
}

#[test]
fn classic_and_native_ones_hide_each_other_only_where_they_meet() {
    check(
        "
load 1m
  h{a=\"1\"} {{schema:0 count:4 sum:7 buckets:[1 2 1]}}x3
  h{a=\"1\", le=\"1\"} _ 2 stale
  h{a=\"1\", le=\"+Inf\"} _ 4 stale
  h{a=\"2\"} {{schema:0 count:4 sum:7 buckets:[1 2 1]}}x3

eval range from 0 to 3m step 1m histogram_quantile(0.5, h)
  expect no_info
  expect warn msg: PromQL warning: vector contains a mix of classic and native histograms for metric name \"h\" (1:25)
  {a=\"1\"} 1.4142135623730951 _ 1.4142135623730951 1.4142135623730951
  {a=\"2\"} 1.4142135623730951x3

eval range from 0 to 3m step 1m histogram_fraction(1, 2, h)
  expect warn msg: PromQL warning: vector contains a mix of classic and native histograms for metric name \"h\" (1:26)
  {a=\"1\"} 0.5 _ 0.5 0.5
  {a=\"2\"} 0.5x3

eval instant at 0 histogram_quantile(0.5, h)
  expect no_warn
  {a=\"1\"} 1.4142135623730951
  {a=\"2\"} 1.4142135623730951

clear

# A native one that has the label is another one than the classic one of which it would be a bucket.
load 1m
  m{le=\"1\"} 1 {{schema:0 count:4 sum:7 buckets:[1 2 1]}} 1
  m{le=\"+Inf\"} 2 2 2

eval range from 0 to 2m step 1m histogram_quantile(0.5, m)
  expect no_warn
  {} 1 NaN 1
  {le=\"1\"} _ 1.4142135623730951 _
",
    );
}

#[test]
fn bounds_are_read_as_go_reads_them() {
    check(
        "
load 1m
  n{le=\"1\"} 1
  n{le=\"NaN\"} 2
  n{le=\"+Inf\"} 3
  o{le=\"1e999\"} 1
  o{le=\"1\"} 2
  o{le=\"1.0\"} 1
  o{le=\"+inf\"} 6

# NaN is a bound, though not one to compute with.
eval instant at 0 histogram_quantile(0.5, n)
  expect no_warn
  {} NaN

eval instant at 0 histogram_fraction(0, 1, n)
  expect no_warn
  {} NaN

# Buckets with the same bound are added up.
eval instant at 0 histogram_quantile(0.5, o)
  expect warn msg: PromQL warning: bucket label \"le\" is missing or has a malformed value of \"1e999\" for metric name \"o\" (1:25)
  {} 1

# Counts that are NaN are looked up as upstream does it.
load 1m
  p{le=\"1\"} NaN
  p{le=\"2\"} 2
  p{le=\"+Inf\"} 4

eval instant at 0 histogram_quantile(0.25, p)
  {} NaN
",
    );
}

#[test]
fn parameters_may_change_over_time() {
    check(
        "
load 1m
  h{a=\"1\"} {{schema:0 count:4 sum:7 buckets:[1 2 1]}}x3
  q 0.25 0.5 1.5 0.25
  low -Inf 1 2 NaN

eval range from 0 to 3m step 1m histogram_quantile(scalar(q), h)
  expect warn msg: PromQL warning: quantile value should be between 0 and 1, got 1.5 (1:20)
  {a=\"1\"} 1 1.4142135623730951 +Inf 1

eval range from 0 to 3m step 1m histogram_quantiles(h, \"q\", scalar(q), 0.75)
  expect warn msg: PromQL warning: quantile value should be between 0 and 1, got 1.5 (1:29)
  {a=\"1\", q=\"0.25\"} 1 _ _ 1
  {a=\"1\", q=\"0.5\"} _ 1.4142135623730951 _ _
  {a=\"1\", q=\"1.5\"} _ _ +Inf _
  {a=\"1\", q=\"0.75\"} 2 2 2 2

# The same quantile twice at a step is a conflict.
eval range from 0 to 3m step 1m histogram_quantiles(h, \"q\", scalar(q), 0.25)
  expect fail msg: vector cannot contain metrics with the same labelset

eval range from 0 to 3m step 1m histogram_fraction(scalar(low), 2, h)
  expect no_warn
  {a=\"1\"} 0.75 0.5 0 NaN
",
    );
}

const OBSERVED_NAN: &str = "
load 1m
  x {{schema:0 count:3 sum:NaN}}
  y_bucket{le=\"1\"} 3
  y_bucket{le=\"2\"} 2
  y_bucket{le=\"+Inf\"} 4
";

#[test]
fn what_is_told_names_the_metric_where_it_is_still_known() {
    run(
        true,
        &format!(
            "{OBSERVED_NAN}
eval instant at 0 histogram_quantile(0.5, x)
  expect info msg: PromQL info: input to histogram_quantile has NaN observations, result is NaN for metric name \"x\" (1:25)
  {{}} NaN

eval instant at 0 histogram_fraction(0, 1, x)
  expect info msg: PromQL info: input to histogram_fraction has NaN observations, which are excluded from all fractions for metric name \"x\" (1:26)
  {{}} 0

eval range from 0 to 2m step 1m histogram_quantile(0.5, y_bucket)
  expect info msg: PromQL info: input to histogram_quantile needed to be fixed for monotonicity (see https://prometheus.io/docs/prometheus/latest/querying/functions/#histogram_quantile) for metric name \"y_bucket\", from buckets 2 to 2, with a max diff of 1, over 3 samples from 1970-01-01T00:00:00Z to 1970-01-01T00:02:00Z (1:25)
  {{}} 0.6666666666666666 0.6666666666666666 0.6666666666666666

# The name of the quantile's label goes away like any other name.
eval instant at 0 histogram_quantiles(y_bucket, \"__name__\", 0.5)
  {{}} 0.6666666666666666
"
        ),
    );
    run(
        false,
        &format!(
            "{OBSERVED_NAN}
eval instant at 0 histogram_quantile(0.5, x)
  expect info msg: PromQL info: input to histogram_quantile has NaN observations, result is NaN (1:25)
  {{}} NaN

eval instant at 0 histogram_quantiles(x, \"q\", 0.5)
  expect info msg: PromQL info: input to histogram_quantile has NaN observations, result is NaN (1:21)
  {{q=\"0.5\"}} NaN

eval instant at 0 histogram_fraction(0, 1, x)
  expect info msg: PromQL info: input to histogram_fraction has NaN observations, which are excluded from all fractions (1:26)
  {{}} 0

eval range from 0 to 0 step 1m histogram_quantile(0.5, y_bucket)
  expect info msg: PromQL info: input to histogram_quantile needed to be fixed for monotonicity (see https://prometheus.io/docs/prometheus/latest/querying/functions/#histogram_quantile), from buckets 2 to 2, with a max diff of 1, over 1 samples from 1970-01-01T00:00:00Z to 1970-01-01T00:00:00Z (1:25)
  {{}} 0.6666666666666666

# A quantile outside of the range is no reason to look at the buckets.
eval instant at 0 histogram_quantile(2, y_bucket)
  expect no_info
  expect warn msg: PromQL warning: quantile value should be between 0 and 1, got 2 (1:20)
  {{}} +Inf

eval instant at 0 histogram_quantiles(y_bucket, \"__name__\", 0.5)
  {{__name__=\"0.5\"}} 0.6666666666666666

# Of several places it is told at the first, with the numbers of all.
eval range from 0 to 2m step 1m histogram_quantile(0.5, y_bucket) + histogram_quantile(0.6, y_bucket)
  expect info msg: PromQL info: input to histogram_quantile needed to be fixed for monotonicity (see https://prometheus.io/docs/prometheus/latest/querying/functions/#histogram_quantile), from buckets 2 to 2, with a max diff of 1, over 6 samples from 1970-01-01T00:00:00Z to 1970-01-01T00:02:00Z (1:25)
  {{}} 1.4666666666666666 1.4666666666666666 1.4666666666666666

# Other texts about several places name the last one.
eval instant at 0 histogram_quantile(2, y_bucket) + histogram_quantile(2, y_bucket)
  expect warn msg: PromQL warning: quantile value should be between 0 and 1, got 2 (1:54)
  {{}} +Inf
"
        ),
    );
}

#[test]
fn type_and_unit_stay_with_the_number_of_a_histogram() {
    let data = "
load 1m
  h{__type__=\"histogram\", __unit__=\"s\"} {{schema:0 count:4 sum:7 buckets:[1 2 1]}}

";
    run(
        false,
        &format!(
            "{data}eval instant at 0 histogram_count(h)\n  {{__type__=\"histogram\", __unit__=\"s\"}} 4\n\neval instant at 0 histogram_quantile(0.5, h)\n  {{}} 1.4142135623730951"
        ),
    );
    run(true, &format!("{data}eval instant at 0 histogram_count(h)\n  {{}} 4"));
}

#[test]
fn dates_before_the_epoch_are_those_of_whole_seconds_towards_it() {
    check("eval instant at 0 max_over_time(hour()[1s:500ms])\n  {} 0");
}

#[test]
fn functions_of_numbers_leave_histograms_out_and_others_carry_them() {
    check(
        "
load 1m
  s{i=\"1\", a=\"x-y\"} 3 {{schema:0 count:4 sum:7 buckets:[1 2 1]}} 5
  s{i=\"2\", a=\"z\"} 2 2 2

eval range from 0 to 2m step 1m abs(s)
  {i=\"1\", a=\"x-y\"} 3 _ 5
  {i=\"2\", a=\"z\"} 2 2 2

eval range from 0 to 2m step 1m clamp(s, 0, 4)
  {i=\"1\", a=\"x-y\"} 3 _ 4
  {i=\"2\", a=\"z\"} 2 2 2

eval range from 0 to 2m step 1m round(s, 2)
  {i=\"1\", a=\"x-y\"} 4 _ 6
  {i=\"2\", a=\"z\"} 2 2 2

eval range from 0 to 2m step 1m minute(s * 60)
  {i=\"1\", a=\"x-y\"} 3 _ 5
  {i=\"2\", a=\"z\"} 2 2 2

eval range from 0 to 2m step 1m sort_desc(s)
  expect warn msg: PromQL warning: sort is ineffective for range queries since results are always ordered by labels (1:1)
  s{i=\"1\", a=\"x-y\"} 3 _ 5
  s{i=\"2\", a=\"z\"} 2 2 2

eval instant at 1m sort(s)
  expect ordered
  s{i=\"2\", a=\"z\"} 2

eval instant at 1m sort_by_label_desc(s, \"i\")
  expect ordered
  s{i=\"2\", a=\"z\"} 2
  s{i=\"1\", a=\"x-y\"} {{schema:0 count:4 sum:7 buckets:[1 2 1]}}

# One number is left.
eval range from 0 to 2m step 1m scalar(s)
  {} NaN 2 NaN

eval range from 0 to 2m step 1m timestamp(s)
  {i=\"1\", a=\"x-y\"} 0 60 120
  {i=\"2\", a=\"z\"} 0 60 120

eval range from 0 to 2m step 1m histogram_count(s)
  {i=\"1\", a=\"x-y\"} _ 4 _

eval range from 0 to 2m step 1m label_replace(s, \"b\", \"$2:${first}$$1x\", \"a\", \"(?P<first>[a-x])-(.)\")
  s{i=\"1\", a=\"x-y\", b=\"y:x$1x\"} 3 {{schema:0 count:4 sum:7 buckets:[1 2 1]}} 5
  s{i=\"2\", a=\"z\"} 2 2 2

eval range from 0 to 2m step 1m label_join(s, \"b\", \"/\", \"i\", \"a\", \"none\")
  s{i=\"1\", a=\"x-y\", b=\"1/x-y/\"} 3 {{schema:0 count:4 sum:7 buckets:[1 2 1]}} 5
  s{i=\"2\", a=\"z\", b=\"2/z/\"} 2 2 2

# Rows that become the same may complete each other, but not overlap.
load 1m
  t{k=\"1\"} {{count:1}} stale
  t{k=\"2\"} _ 7 {{count:2}}

eval range from 0 to 2m step 1m label_replace(t, \"k\", \"\", \"\", \"\")
  t {{count:1}} 7 {{count:2}}

eval range from 0 to 2m step 1m label_replace({__name__=~\"s|t\"}, \"k\", \"\", \"\", \"\")
  t {{count:1}} 7 {{count:2}}
  s{i=\"1\", a=\"x-y\"} 3 {{schema:0 count:4 sum:7 buckets:[1 2 1]}} 5
  s{i=\"2\", a=\"z\"} 2 2 2

eval instant at 1m label_replace(label_replace(s, \"i\", \"\", \"\", \"\"), \"a\", \"\", \"\", \"\")
  expect fail msg: vector cannot contain metrics with the same labelset

# The anchors belong to the text: here they would stand inside of the alternatives.
eval instant at 0 label_replace(s{i=\"2\"}, \"b\", \"$1\", \"a\", \"(z)|y)\")
  expect fail msg: invalid regular expression in label_replace(): (z)|y)
",
    );
}

#[test]
fn info_carries_histograms_and_refuses_them_as_info_metrics() {
    check(
        "
load 1m
  h{instance=\"a\", job=\"1\"} {{schema:0 count:4 sum:7 buckets:[1 2 1]}} 3 {{schema:0 count:4 sum:7 buckets:[1 2 1]}}
  target_info{instance=\"a\", job=\"1\", version=\"1\"} 1 1 stale
  target_info{instance=\"a\", job=\"1\", version=\"2\"} _ _ 1
  build_info{instance=\"b\", job=\"1\", x=\"y\"} {{count:1}}x2
  late_info{instance=\"a\", job=\"1\", x=\"y\"} 1 {{count:1}}

eval range from 0 to 2m step 1m info(h)
  h{instance=\"a\", job=\"1\", version=\"1\"} {{schema:0 count:4 sum:7 buckets:[1 2 1]}} 3
  h{instance=\"a\", job=\"1\", version=\"2\"} _ _ {{schema:0 count:4 sum:7 buckets:[1 2 1]}}

# Of another instance: nobody asks for it.
eval range from 0 to 2m step 1m info(h, {__name__=\"build_info\"})
  h{instance=\"a\", job=\"1\"} {{schema:0 count:4 sum:7 buckets:[1 2 1]}} 3 {{schema:0 count:4 sum:7 buckets:[1 2 1]}}

eval range from 0 to 0 step 1m info(h, {__name__=\"late_info\"})
  h{instance=\"a\", job=\"1\", x=\"y\"} {{schema:0 count:4 sum:7 buckets:[1 2 1]}}

eval instant at 1m info(h, {__name__=\"late_info\"})
  expect fail msg: info sample should be float

eval instant at 1m info(none, {__name__=\"late_info\"})

# Without any instance or job there is nothing to ask for.
eval instant at 1m info(sum(h), {__name__=\"late_info\"})
  {} 3
",
    );
}
