//! Range functions over native histograms, mixed ranges and known starts, where the shared scripts leave something out.

use cupola_engine::EngineOptions;
use cupola_engine::script::{Runner, script_options};

#[track_caller]
fn check_with(options: EngineOptions, script: &str) {
    let report = Runner::new(options).run(script).expect("the script can be read");
    assert!(report.failures.is_empty(), "{:#?}", report.failures);
    assert!(report.passed > 0);
}

#[track_caller]
fn check(script: &str) {
    check_with(script_options(), script);
}

#[test]
fn functions_of_numbers_tell_where_they_ignore_histograms() {
    let mut script = "
load 1m
  both 1 2 {{count:1 sum:1 buckets:[1]}} {{count:2 sum:2 buckets:[2]}} 3
  only {{count:1 sum:1 buckets:[1]}} {{count:2 sum:2 buckets:[2]}}
"
    .to_owned();
    for (call, place, at_4m) in [
        ("min_over_time(RANGE)", "(1:15)", "2"),
        ("max_over_time(RANGE)", "(1:15)", "3"),
        ("stdvar_over_time(RANGE)", "(1:18)", "0.25"),
        ("stddev_over_time(RANGE)", "(1:18)", "0.5"),
        ("mad_over_time(RANGE)", "(1:15)", "0.5"),
        // The remark is about the first argument.
        ("quantile_over_time(1, RANGE)", "(1:20)", "3"),
        ("ts_of_max_over_time(RANGE)", "(1:21)", "240"),
        ("ts_of_min_over_time(RANGE)", "(1:21)", "60"),
        ("deriv(RANGE)", "(1:7)", "0.005555555555555556"),
        // The parentheses are not part of the argument.
        ("deriv((RANGE))", "(1:8)", "0.005555555555555556"),
        ("predict_linear(RANGE, 60)", "(1:16)", "3.3333333333333335"),
        ("double_exponential_smoothing(RANGE, 0.5, 0.5)", "(1:30)", "3"),
    ] {
        let told = format!(
            "expect info msg: PromQL info: ignored histograms in a range containing both floats and histograms for \
             metric name \"both\" {place}"
        );
        let both = call.replace("RANGE", "both[4m]");
        let only = call.replace("RANGE", "only[4m]");
        // The window ends before the last float; one number does not make a line.
        let short = call.replace("RANGE", "both[2m]");
        script.push_str(&format!(
            "
eval instant at 4m {both}
  {told}
  {{}} {at_4m}

eval instant at 4m {only}
  expect no_info
  expect no_warn
"
        ));
        if call.starts_with("deriv") || call.starts_with("predict") || call.starts_with("double") {
            script.push_str(&format!("\neval instant at 4m {short}\n  {told}\n"));
        }
    }
    check(&script);
}

#[test]
fn histograms_on_either_end_of_a_range() {
    check(
        "
load 1m
  m 1 {{count:1 sum:1 buckets:[1]}} {{count:4 sum:4 buckets:[4]}} 2

eval instant at 3m ts_of_first_over_time(m[2m1s])
  expect no_info
  {} 60

eval instant at 3m ts_of_first_over_time(m[1m])
  {} 180

eval instant at 2m ts_of_last_over_time(m[2m])
  {} 120

eval instant at 3m ts_of_last_over_time(m[2m])
  {} 180

eval instant at 3m sum_over_time(m[2m])
  expect warn msg: PromQL warning: encountered a mix of histograms and floats for metric name \"m\" (1:15)
  expect no_info

eval instant at 2m irate(m[2m])
  expect no_warn
  {} {{count:0.05 sum:0.05 buckets:[0.05] counter_reset_hint:gauge}}

eval instant at 3m irate(m[5m])
  expect warn msg: PromQL warning: encountered a mix of histograms and floats for metric name \"m\" (1:7)

eval instant at 3m absent_over_time(m[1m] offset 1m)

eval instant at 1m absent(m)

eval instant at 20m absent(m)
  {} 1
",
    );
}

#[test]
fn factors_of_smoothing_must_be_right_whatever_the_samples() {
    check(
        "
load 1m
  h {{count:1 sum:1 buckets:[1]}} {{count:4 sum:4 buckets:[4]}}

eval instant at 1m double_exponential_smoothing(h[5m], 0, 0.5)
  expect fail msg: invalid smoothing factor. Expected: 0 < sf < 1, got: 0.000000

eval instant at 1m double_exponential_smoothing(h[5m], 0.5, 1)
  expect fail msg: invalid trend factor. Expected: 0 < tf < 1, got: 1.000000

# Nobody looks at the factors where there is nothing.
eval instant at 20m double_exponential_smoothing(h[5m], 0.5, 1)
",
    );
}

#[test]
fn extended_ranges_know_their_functions_and_no_bare_histograms() {
    check(
        "
load 15s
  h {{count:1 sum:1 buckets:[1]}}+{{count:1 sum:1 buckets:[1]}}x8
  g {{count:9 sum:9 buckets:[9] counter_reset_hint:gauge}} {{count:3 sum:3 buckets:[3] counter_reset_hint:gauge}}

eval instant at 1m absent_over_time(h[1m] anchored)
  expect fail msg: anchored modifier can only be used with: changes, delta, increase, rate, resets - not with absent_over_time

eval instant at 1m irate(h[1m] smoothed)
  expect fail msg: smoothed modifier can only be used with: delta, increase, rate - not with irate

eval instant at 1m h[1m] anchored
  expect fail msg: anchored modifier is not supported with histograms

eval instant at 1m h[1m] smoothed
  expect fail msg: smoothed modifier is not supported with histograms

# Gauges are drawn on, also where they fall; counters begin at zero.
eval instant at 5s g smoothed
  expect no_warn
  {__name__=\"g\"} {{count:7 sum:7 buckets:[7] counter_reset_hint:gauge}}

eval instant at 10s histogram_count(delta(g[5s] smoothed))
  expect no_warn
  {} -2

# The last one is carried on, without what it says of the one before.
eval instant at 3m h smoothed
  {__name__=\"h\"} {{count:9 sum:9 buckets:[9] counter_reset_hint:unknown}}
",
    );
}

#[test]
fn starts_are_used_only_where_they_are_switched_on() {
    let load = "
load 1m
  c_total@st _ -30s -90s -2m -2m -2m
  c_total    _ 10 20 30 40 50
";
    check(&format!(
        "{load}
eval instant at 1m increase(c_total[1m])
  {{}} 10

# Three windows see starts that overlap.
eval range from 3m to 5m step 1m rate(c_total[2m])
  expect warn msg: PromQL warning: sample has start time that overlaps with previous sample timestamp for metric \"c_total\" (3 occurrences) (1:6)
  {{}} 0.16666666666666666 0.16666666666666666 0.16666666666666666

eval instant at 3m start_timestamp(c_total)
  {{}} 60

eval instant at 3m delta(c_total[5m])
  expect no_warn
  {{}} 25
"
    ));
    check_with(
        EngineOptions {
            use_start_timestamps: false,
            ..script_options()
        },
        &format!(
            "{load}
eval instant at 1m increase(c_total[1m])

eval instant at 4m rate(c_total[2m])
  expect no_warn
  {{}} 0.16666666666666666

eval instant at 3m start_timestamp(c_total)
"
        ),
    );
}

#[test]
fn counts_alone_are_compared_with_the_histogram_on_the_left_edge() {
    // The second histogram is a reset; asked for its count only it is known as one, because the edge is looked at.
    check(
        "
load 1m
  h {{count:5 sum:5 buckets:[5]}} {{count:2 sum:2 buckets:[2]}} {{count:3 sum:3 buckets:[3]}}

eval instant at 2m histogram_count(sum_over_time(h[2m]))
  expect warn msg: PromQL warning: conflicting counter resets during histogram aggregation (1:31)
  {} 5

eval instant at 2m sum_over_time(h[2m])
  expect no_warn
  {} {{count:5 sum:5 buckets:[5]}}

eval instant at 2m histogram_quantile(1, histogram_count(sum_over_time(h[2m])))
  expect no_info

# In a subquery buckets are needed.
eval instant at 2m last_over_time(histogram_count(sum_over_time(h[2m]))[1s:1s])
  expect no_warn
  {} 5
",
    );
}
