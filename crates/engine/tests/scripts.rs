//! Scripts of our own, for what the shared ones leave out: staleness, `@` and offsets inside subqueries, match groups
//! that change over time. Written in the same language and run in both ways of removing names.

use cupola_engine::EngineOptions;
use cupola_engine::script::{Runner, script_options};

#[track_caller]
fn check(script: &str) {
    for delayed_name_removal in [true, false] {
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
}

#[test]
fn staleness_and_lookback() {
    check(
        "
load 10s
  m 0 1 stale 2

eval instant at 15s m
  m 1

# A marker ends the series at once.
eval instant at 20s m

eval instant at 29s m

eval instant at 30s m
  m 2

# The lookback is open at its left edge: 330 s is exactly five minutes later.
eval instant at 329s m
  m 2

eval instant at 330s m

# Ranges do not see markers.
eval instant at 30s count_over_time(m[1m])
  {} 3

eval range from 0 to 40s step 10s m
  m 0 1 _ 2 2
",
    );
}

#[test]
fn times_fixed_and_moved() {
    check(
        "
load 10s
  m{job=\"a\"} 0+1x1000
  m{job=\"b\"} 0+2x1000

eval instant at 10s m @ 100
  m{job=\"a\"} 10
  m{job=\"b\"} 20

eval instant at 10s m{job=\"a\"} @ 100 offset 50s
  m{job=\"a\"} 5

eval range from 100s to 120s step 10s m{job=\"a\"} @ start() + on(job) m @ end()
  {job=\"a\"} 22 22 22

# Samples at 10 s, 20 s, ... 100 s: 1 + ... + 10.
eval range from 0 to 20s step 10s sum_over_time(m{job=\"a\"}[100s] @ 100)
  {job=\"a\"} 55 55 55

# A subquery's own modifiers move the whole; what is inside of it moves with it.
eval instant at 200s sum_over_time(m{job=\"a\"}[100s:10s] @ 100)
  {job=\"a\"} 55

eval instant at 200s sum_over_time(m{job=\"a\"}[100s:10s] offset 100s)
  {job=\"a\"} 55

eval instant at 200s sum_over_time((m{job=\"a\"} offset 100s)[100s:10s])
  {job=\"a\"} 55

# Inside, @ fixes the selector, not the steps.
eval instant at 200s sum_over_time((m{job=\"a\"} @ 50)[100s:10s])
  {job=\"a\"} 50

# Subquery steps are multiples of the step, whatever the evaluation time is.
eval instant at 205s count_over_time(m{job=\"a\"}[100s:30s])
  {job=\"a\"} 3

eval range from 300s to 320s step 10s timestamp(m{job=\"b\"} @ 100)
  {job=\"b\"} 100 100 100

eval range from 300s to 320s step 10s timestamp(abs(m{job=\"b\"} @ 100))
  {job=\"b\"} 300 310 320

eval instant at 100s min_over_time(max_over_time(rate(m{job=\"b\"}[20s])[30s:10s])[40s:10s])
  {job=\"b\"} 0.2
",
    );
}

#[test]
fn match_groups_may_change_over_time() {
    check(
        "
load 1m
  cpu{pod=\"a\", id=\"1\"} 1 2 stale _ _
  cpu{pod=\"a\", id=\"2\"} _ _ 3 4 5
  owner{pod=\"a\", name=\"x\"} 1 1 1 stale _
  owner{pod=\"a\", name=\"y\"} _ _ _ 1 1

# Each step has one series on either side, though not the same ones.
eval range from 0 to 4m step 1m cpu * on(pod) owner
  {pod=\"a\"} 1 2 3 4 5

eval range from 0 to 4m step 1m cpu * on(pod) group_left(name) owner
  {pod=\"a\", id=\"1\", name=\"x\"} 1 2
  {pod=\"a\", id=\"2\", name=\"x\"} _ _ 3
  {pod=\"a\", id=\"2\", name=\"y\"} _ _ _ 4 5

eval range from 0 to 4m step 1m owner * on(pod) group_right(name) cpu
  {pod=\"a\", id=\"1\", name=\"x\"} 1 2
  {pod=\"a\", id=\"2\", name=\"x\"} _ _ 3
  {pod=\"a\", id=\"2\", name=\"y\"} _ _ _ 4 5

eval range from 0 to 4m step 1m cpu > bool on(pod) owner + 2
  {pod=\"a\"} 0 0 0 1 1

eval range from 0 to 4m step 1m cpu and on(pod) owner{name=\"y\"}
  cpu{pod=\"a\", id=\"2\"} _ _ _ 4 5

eval range from 0 to 4m step 1m cpu unless on(pod) owner{name=\"y\"}
  cpu{pod=\"a\", id=\"1\"} 1 2
  cpu{pod=\"a\", id=\"2\"} _ _ 3

eval range from 0 to 4m step 1m owner{name=\"x\"} or on(pod) cpu
  owner{pod=\"a\", name=\"x\"} 1 1 1
  cpu{pod=\"a\", id=\"2\"} _ _ _ 4 5

clear

load 1m
  many{l=\"a\", k=\"1\"} 1
  many{l=\"a\", k=\"2\"} 2
  one{l=\"a\"} 10

eval instant at 0 many + on(l) one
  expect fail msg: multiple matches for labels: many-to-one matching must be explicit (group_left/group_right)

eval instant at 0 one + on(l) many
  expect fail regex: found duplicate series for the match group \\{l=\"a\"\\} on the right hand-side

# It fails even where the filter would leave nothing.
eval instant at 0 many > on(l) one
  expect fail

eval instant at 0 many + on(l) group_left(k) one
  expect fail msg: multiple matches for labels: grouping labels must ensure unique matches

eval instant at 0 one * on(l) group_right many
  {l=\"a\", k=\"1\"} 10
  {l=\"a\", k=\"2\"} 20

# Nothing is matched against an empty side, so nothing is wrong with it.
eval instant at 0 none + on(l) many
",
    );
}

#[test]
fn counters_and_their_notes() {
    check(
        "
load 15s
  c_total 0+15x8 0+15x8
  gauge 0+1x20

eval instant at 2m rate(c_total[1m])
  expect no_info
  {} 1

# From 105 over 120 and a reset to 75 is 90 in 105 s, extrapolated to the two minutes.
eval instant at 3m30s increase(c_total[2m])
  expect no_warn
  {} 102.85714285714286

eval instant at 2m rate(gauge[1m])
  expect info msg: PromQL info: metric might not be a counter, name does not end in _total/_sum/_count/_bucket: \"gauge\" (1:6)
  {} 0.06666666666666667

eval range from 1m to 2m step 30s sort(gauge)
  expect warn msg: PromQL warning: sort is ineffective for range queries since results are always ordered by labels (1:1)
  gauge 4 6 8

eval instant at 0 quantile_over_time(1.5, gauge[1m])
  expect warn msg: PromQL warning: quantile value should be between 0 and 1, got 1.5 (1:20)
  {} +Inf
",
    );
}

#[test]
fn absent_is_told_step_by_step() {
    check(
        "
load 1m
  up{job=\"a\"} 1 stale _ 1

eval range from 0 to 3m step 1m absent(up{job=\"a\"})
  {job=\"a\"} _ 1 1 _

eval range from 0 to 3m step 1m absent_over_time(up{job=\"a\"}[1m])
  {job=\"a\"} _ 1 1 _

eval range from 0 to 2m step 1m scalar(up{job=\"a\"}) + 1
  {} 2 NaN NaN

eval range from 0 to 2m step 1m vector(1) unless on() up
  {} _ 1 1
",
    );
}
