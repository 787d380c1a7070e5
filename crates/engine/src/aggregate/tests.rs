//! Aggregations of native histograms and of both kinds, beyond what the shared scripts look at.

use cupola_histogram::CounterResetHint::{CounterReset, NotCounterReset};
use cupola_histogram::FloatHistogram;
use cupola_model::Labels;
use cupola_promql::Span;
use cupola_storage::SampleValue;

use super::histograms::{Blend, Treatment};
use crate::annotations::Annotations;
use crate::column::{Column, Row};
use crate::script::{Runner, script_options};

const SERIES: &str = r#"
load 1m
    m{kind="exponential", n="1"} {{count:2 sum:4 buckets:[2]}}x9
    m{kind="exponential", n="2"} {{count:4 sum:6 buckets:[1 3]}}x9
    m{kind="custom", n="3"} {{schema:-53 count:3 sum:5 custom_values:[1 2] buckets:[1 1 1]}}x9
    m{kind="custom", n="4"} {{schema:-53 count:2 sum:5 custom_values:[2] buckets:[1 1]}}x9
    m{kind="number", n="5"} 7x9
    m{kind="number", n="6"} 9x9
    other{n="1"} 1 {{count:2 sum:4 buckets:[2]}} _ 3 {{count:2 sum:4 buckets:[2]}}
    other{n="2"} 2 {{count:2 sum:4 buckets:[2]}} _ {{count:2 sum:4 buckets:[2]}}x3
"#;

#[track_caller]
fn check(evals: &str) {
    let mut runner = Runner::new(script_options());
    let report = runner.run(&format!("{SERIES}\n{evals}")).unwrap();
    let told: Vec<String> = report
        .failures
        .iter()
        .map(|failure| format!("{}: {}", failure.query, failure.message))
        .collect();
    assert!(told.is_empty(), "{}", told.join("\n"));
    assert_eq!(report.passed, evals.matches("eval").count());
}

#[test]
fn sums_and_means_of_histograms() {
    check(
        r#"
eval instant at 1m sum(m{kind="exponential"})
    expect no_warn
    expect no_info
    {} {{count:6 sum:10 buckets:[3 3]}}

eval instant at 1m avg by (kind) (m{kind="exponential"})
    expect no_warn
    expect no_info
    {kind="exponential"} {{count:3 sum:5 buckets:[1.5 1.5]}}

eval instant at 1m sum(m{kind="custom"})
    expect no_warn
    expect info msg: PromQL info: mismatched custom buckets were reconciled during aggregation (1:5)
    {} {{schema:-53 count:5 sum:10 custom_values:[2] buckets:[3 2]}}

eval instant at 1m avg(m{kind="custom"})
    expect no_warn
    expect info msg: PromQL info: mismatched custom buckets were reconciled during aggregation (1:5)
    {} {{schema:-53 count:2.5 sum:5 custom_values:[2] buckets:[1.5 1]}}
"#,
    );
}

#[test]
fn a_point_of_both_kinds_is_lost() {
    let mix = "PromQL warning: encountered a mix of histograms and floats for aggregation";
    check(&format!(
        r#"
eval instant at 1m sum by (kind) (m{{kind=~"exponential|number"}})
    expect no_warn
    {{kind="exponential"}} {{{{count:6 sum:10 buckets:[3 3]}}}}
    {{kind="number"}} 16

eval instant at 1m sum(m{{kind=~"exponential|number"}})
    expect warn msg: {mix} (1:5)

eval instant at 1m avg((m{{kind=~"exponential|number"}}))
    expect warn msg: {mix} (1:6)

eval range from 0 to 4m step 1m sum(other)
    expect warn msg: {mix} (1:5)
    {{}} 3 {{{{count:4 sum:8 buckets:[4]}}}} {{{{count:4 sum:8 buckets:[4]}}}} _ {{{{count:4 sum:8 buckets:[4]}}}}

eval range from 0 to 4m step 1m avg(other)
    expect warn msg: {mix} (1:5)
    {{}} 1.5 {{{{count:2 sum:4 buckets:[2]}}}} {{{{count:2 sum:4 buckets:[2]}}}} _ {{{{count:2 sum:4 buckets:[2]}}}}
"#
    ));
}

#[test]
fn exponential_and_custom_buckets_do_not_add_up() {
    // What comes after the two met is not looked at, so that numbers make no second warning.
    let warning = "PromQL warning: vector contains a mix of histograms with exponential and custom buckets schemas for \
                   metric name \"m\"";
    check(&format!(
        r#"
eval instant at 1m sum(m{{n!="4"}})
    expect warn msg: {warning} (1:5)
    expect no_info

eval instant at 1m avg without (kind, n) (m)
    expect warn msg: {warning} (1:24)
    expect info msg: PromQL info: mismatched custom buckets were reconciled during aggregation (1:24)

eval instant at 1m count(m)
    expect no_warn
    {{}} 6

eval instant at 1m group by (kind) (m)
    {{kind="custom"}} 1
    {{kind="exponential"}} 1
    {{kind="number"}} 1
"#
    ));
}

#[test]
fn aggregations_of_numbers_say_that_they_ignore_histograms() {
    for (aggregation, result) in [("min", "7"), ("max", "9"), ("stddev", "1"), ("stdvar", "1")] {
        let place = format!("(1:{})", aggregation.len() + 3);
        check(&format!(
            r#"
eval instant at 1m {aggregation}((m))
    expect no_warn
    expect info msg: PromQL info: ignored histogram in {aggregation} aggregation {place}
    {{}} {result}

eval instant at 1m {aggregation}(m{{kind="number"}})
    expect no_info
    {{}} {result}

eval instant at 1m {aggregation} by (kind) (m{{kind="custom"}})
    expect info

"#
        ));
    }
    check(
        r#"
eval instant at 1m quantile(0.5, m)
    expect info msg: PromQL info: ignored histogram in quantile aggregation (1:15)
    {} 8

eval instant at 1m quantile((1.5), m{kind="number"})
    expect warn msg: PromQL warning: quantile value should be between 0 and 1, got 1.5 (1:11)
    {} Inf

eval instant at 1m topk(5, m)
    expect info msg: PromQL info: ignored histogram in topk aggregation (1:1)
    m{kind="number", n="5"} 7
    m{kind="number", n="6"} 9

eval instant at 1m bottomk by (kind) (1, m)
    expect info msg: PromQL info: ignored histogram in bottomk aggregation (1:1)
    m{kind="number", n="5"} 7

eval instant at 1m topk(0, m)
    expect no_info
"#,
    );
}

#[test]
fn histograms_are_picked_as_they_are() {
    check(
        r#"
eval range from 0 to 4m step 1m limitk(1, other)
    expect no_info
    other{n="1"} 1 {{count:2 sum:4 buckets:[2]}} {{count:2 sum:4 buckets:[2]}} 3 {{count:2 sum:4 buckets:[2]}}

eval range from 0 to 1m step 1m limit_ratio(1, other)
    other{n="1"} 1 {{count:2 sum:4 buckets:[2]}}
    other{n="2"} 2 {{count:2 sum:4 buckets:[2]}}

eval range from 0 to 1m step 1m limit_ratio(0, other)

eval range from 0 to 3m step 1m count_values("value", other)
    {value="1"} 1
    {value="2"} 1
    {value="3"} _ _ _ 1
    {value="{count:2, sum:4, (0.5,1]:2}"} _ 2 2 1
"#,
    );
}

#[test]
fn contradicting_resets_are_told_for_what_is_left_of_them() {
    let with_hint = |counter_reset_hint| FloatHistogram {
        counter_reset_hint,
        count: 1.0,
        ..FloatHistogram::default()
    };
    let row = |value: SampleValue| {
        let mut column = Column::absent(1);
        column.set(0, Some(value));
        Row {
            labels: Labels::empty(),
            drop_name: false,
            column,
        }
    };
    let told = |last: Option<f64>, treatment| {
        let mut notes = Annotations::new("sum(x)");
        let mut blend = Blend::new(treatment, 1);
        let mut grown = 0;
        for hint in [CounterReset, NotCounterReset, CounterReset] {
            let row = row(SampleValue::Histogram(with_hint(hint).into()));
            grown += blend.add(&row, |_| false, &mut notes, Span::default());
        }
        if let Some(number) = last {
            blend.add(&row(SampleValue::Float(number)), |_| false, &mut notes, Span::default());
        }
        assert!(grown > 0, "what a sum holds is counted");
        let mut column = Column::absent(1);
        blend.finish(&mut column, &mut notes, Span::default());
        (column.has(0), notes.into_texts().0)
    };
    let collision = "PromQL warning: conflicting counter resets during histogram aggregation (1:1)".to_owned();
    let mix = "PromQL warning: encountered a mix of histograms and floats for aggregation (1:1)".to_owned();
    for treatment in [Treatment::Sum, Treatment::Mean] {
        assert_eq!(told(None, treatment), (true, vec![collision.clone()]));
        assert_eq!(told(Some(1.0), treatment), (false, vec![mix.clone()]));
    }
}
