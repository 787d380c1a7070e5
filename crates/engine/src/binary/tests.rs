//! Operators on native histograms and on both kinds, beyond what the shared scripts look at.

use std::sync::Arc;

use cupola_histogram::CounterResetHint::{CounterReset, Gauge, NotCounterReset, Unknown};
use cupola_histogram::FloatHistogram;
use cupola_promql::{Binary, BinaryOp, ExprKind};
use cupola_storage::SampleValue;

use super::elements::{Element, Finding, Findings, Operand};
use super::{element, number};
use crate::annotations::Annotations;
use crate::script::{Runner, script_options};

const SERIES: &str = r#"
load 1m
    h{n="1"} {{count:4 sum:8 buckets:[1 3]}}x9
    g{n="1"} {{count:2 sum:3 buckets:[1 1]}}x9
    c{n="1"} {{schema:-53 count:3 sum:5 custom_values:[1 2] buckets:[1 1 1]}}x9
    d{n="1"} {{schema:-53 count:2 sum:5 custom_values:[2] buckets:[1 1]}}x9
    f{n="1"} 2x9
    many{n="1", m="a"} {{count:4 sum:8 buckets:[1 3]}}x9
    many{n="1", m="b"} 3x9
    many{n="1", m="c"} {{schema:-53 count:3 sum:5 custom_values:[1 2] buckets:[1 1 1]}}x9
    alone{n="2"} {{count:4 sum:8 buckets:[1 3]}}x9
    changing{n="1"} 3 {{count:4 sum:8 buckets:[1 3]}} 4 {{count:2 sum:3 buckets:[1 1]}} 5
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
fn kinds_that_do_not_go_together_give_an_info_and_nothing() {
    for (left, right, ops) in [
        ("float", "histogram", "+ - / ^ % atan2 == != < <= > >= </ >/"),
        ("histogram", "float", "+ - ^ % atan2 == != < <= > >="),
        ("histogram", "histogram", "* / ^ % atan2 < <= > >= </ >/"),
        ("float", "float", "</ >/"),
    ] {
        for op in ops.split(' ') {
            let operand = |kind| if kind == "float" { "f" } else { "h" };
            let (a, b) = (operand(left), operand(right));
            let mut forms = vec![format!("{a} {op} {b}"), format!("{a} {op} fill_right(0) {b}")];
            if op.contains(['=', '>', '<']) && !op.contains('/') {
                forms.push(format!("{a} {op} bool {b}"));
            }
            if left == "float" && right == "histogram" {
                let bool_word = if forms.len() > 2 { "bool " } else { "" };
                forms.push(format!("2 {op} {bool_word}h"));
            }
            if right == "float" {
                forms.push(format!("{a} {op} 2"));
            }
            for form in forms {
                check(&format!(
                    "eval instant at 1m {form}\n    expect no_warn\n    expect info msg: PromQL info: incompatible sample \
                     types encountered for binary operator \"{op}\": {left} {op} {right} (1:1)\n"
                ));
            }
        }
    }
}

#[test]
fn histograms_are_scaled_and_trimmed_by_numbers() {
    check(
        r#"
eval instant at 1m h * 2
    expect no_info
    {n="1"} {{count:8 sum:16 buckets:[2 6]}}

eval instant at 1m -0.5 * h
    {n="1"} {{count:-2 sum:-4 buckets:[-0.5 -1.5] counter_reset_hint:gauge}}

eval instant at 1m f * h
    {n="1"} {{count:8 sum:16 buckets:[2 6]}}

eval instant at 1m h / f
    {n="1"} {{count:2 sum:4 buckets:[0.5 1.5]}}

eval instant at 1m h / 0
    {n="1"} {{count:Inf sum:Inf z_bucket:NaN}}

eval instant at 1m h * 0
    {n="1"} {{}}

eval instant at 1m h </ scalar(f)
    h{n="1"} {{count:4 sum:8 buckets:[1 3]}}

eval instant at 1m h >/ f
    h{n="1"} {{}}

eval instant at 1m c </ 2
    c{n="1"} {{schema:-53 count:2 sum:2 custom_values:[1 2] buckets:[1 1]}}

eval range from 0 to 4m step 1m changing * 2
    expect no_info
    {n="1"} 6 {{count:8 sum:16 buckets:[2 6]}} 8 {{count:4 sum:6 buckets:[2 2]}} 10

eval range from 0 to 4m step 1m changing > bool 3
    expect info msg: PromQL info: incompatible sample types encountered for binary operator ">": histogram > float (1:1)
    {n="1"} 0 _ 1 _ 1

eval range from 0 to 4m step 1m changing </ 100
    expect info msg: PromQL info: incompatible sample types encountered for binary operator "</": float </ float (1:1)
    changing{n="1"} _ {{count:4 sum:8 buckets:[1 3]}} _ {{count:2 sum:3 buckets:[1 1]}} _

eval_fail instant at 1m 1 </ 2
    expected_fail_message operator "</" not allowed for Scalar operations
"#,
    );
}

#[test]
fn histograms_add_up_and_compare() {
    check(
        r#"
eval instant at 1m h + g
    expect no_warn
    expect no_info
    {n="1"} {{count:6 sum:11 buckets:[2 4]}}

eval instant at 1m h - on (n) g
    expect no_warn
    {n="1"} {{count:2 sum:5 buckets:[0 2] counter_reset_hint:gauge}}

eval instant at 1m c + d
    expect info msg: PromQL info: mismatched custom buckets were reconciled during addition (1:1)
    {n="1"} {{schema:-53 count:5 sum:10 custom_values:[2] buckets:[3 2]}}

eval instant at 1m sum(c - d)
    expect info msg: PromQL info: mismatched custom buckets were reconciled during subtraction (1:5)
    {} {{schema:-53 count:1 sum:0 custom_values:[2] buckets:[1] counter_reset_hint:gauge}}

eval instant at 1m h - c
    expect no_info
    expect warn msg: PromQL warning: incompatible bucket layout encountered for binary operator - (1:1)

eval instant at 1m h == bool ignoring (m) h
    {n="1"} 1

eval instant at 1m h == bool g
    expect no_info
    {n="1"} 0

eval instant at 1m h != bool c
    expect no_info
    expect no_warn
    {n="1"} 1

eval instant at 1m h == on (n) g

eval range from 0 to 4m step 1m changing == on (n) h
    expect info msg: PromQL info: incompatible sample types encountered for binary operator "==": float == histogram (1:1)
    {n="1"} _ {{count:4 sum:8 buckets:[1 3]}}
"#,
    );
}

#[test]
fn one_histogram_meets_many() {
    check(
        r#"
eval instant at 1m many{m!="c"} - on (n) group_left h
    expect no_warn
    expect info msg: PromQL info: incompatible sample types encountered for binary operator "-": float - histogram (1:1)
    {n="1", m="a"} {{counter_reset_hint:gauge}}

eval instant at 1m g - on (n) group_right many{m="a"}
    {n="1", m="a"} {{count:-2 sum:-5 buckets:[0 -2] counter_reset_hint:gauge}}

eval instant at 1m f * on (n) group_right many
    expect no_info
    {n="1", m="a"} {{count:8 sum:16 buckets:[2 6]}}
    {n="1", m="b"} 6
    {n="1", m="c"} {{schema:-53 count:6 sum:10 custom_values:[1 2] buckets:[2 2 2]}}

eval instant at 1m many + on (n) group_left h
    expect no_info
    expect warn msg: PromQL warning: incompatible bucket layout encountered for binary operator + (1:1)
    {n="1", m="a"} {{count:8 sum:16 buckets:[2 6]}}
"#,
    );
}

#[test]
fn pairs_without_a_result_do_not_count_as_matched() {
    // Three series of the left side meet one of the right, but only one pair is of the same kind.
    check(
        r#"
eval instant at 1m many + on (n) h
    expect warn msg: PromQL warning: incompatible bucket layout encountered for binary operator + (1:1)
    {n="1"} {{count:8 sum:16 buckets:[2 6]}}

eval_fail instant at 1m many * on (n) f
    expected_fail_message multiple matches for labels: many-to-one matching must be explicit (group_left/group_right)

eval_fail instant at 1m many != bool on (n) group_left f or many * on (n) group_left (m) f
    expected_fail_message multiple matches for labels: grouping labels must ensure unique matches
"#,
    );
}

#[test]
fn fill_values_are_numbers() {
    check(
        r#"
eval instant at 1m alone * fill_right(3) h
    expect no_info
    {n="2"} {{count:12 sum:24 buckets:[3 9]}}

eval instant at 1m alone * fill_left(2) h
    expect no_info
    {n="1"} {{count:8 sum:16 buckets:[2 6]}}

eval instant at 1m alone + fill(1) h
    expect info msg: PromQL info: incompatible sample types encountered for binary operator "+": float + histogram (1:1)

eval instant at 1m h + fill(1) f
    expect info msg: PromQL info: incompatible sample types encountered for binary operator "+": histogram + float (1:1)
    {n="1"} 3

eval instant at 1m alone </ fill_right(100) h
    expect no_info
    alone{n="2"} {{count:4 sum:8 buckets:[1 3]}}

eval instant at 1m h + fill_left(1) c
    expect no_warn
    expect info msg: PromQL info: incompatible sample types encountered for binary operator "+": float + histogram (1:1)
"#,
    );
}

#[test]
fn set_operators_look_at_presence_only() {
    check(
        r#"
eval range from 0 to 4m step 1m changing and (f > 3 or on (n) h)
    expect no_warn
    changing{n="1"} 3 {{count:4 sum:8 buckets:[1 3]}} 4 {{count:2 sum:3 buckets:[1 1]}} 5

eval range from 0 to 4m step 1m f unless (changing == 4)
    f{n="1"} 2 2 _ 2 2

eval instant at 1m changing or alone
    changing{n="1"} {{count:4 sum:8 buckets:[1 3]}}
    alone{n="2"} {{count:4 sum:8 buckets:[1 3]}}

eval instant at 1m f unless on (n) h
"#,
    );
}

#[test]
fn a_filter_between_vectors_forgets_that_names_go_later() {
    check(
        r#"
load 1m
    c_total{n="1"} 0+60x9

eval instant at 4m rate(c_total[2m]) >= 1
    {n="1"} 1

eval instant at 4m rate(c_total[2m]) >= rate(c_total[2m])
    c_total{n="1"} 1

eval instant at 4m rate(c_total[2m]) >= bool rate(c_total[2m])
    {n="1"} 1
"#,
    );
}

fn binary(text: &str) -> Binary {
    match cupola_promql::parse(text).unwrap().kind {
        ExprKind::Binary(binary) => *binary,
        other => panic!("{other:?}"),
    }
}

#[test]
fn hints_of_sums_and_differences() {
    let hinted = |counter_reset_hint| {
        Arc::new(FloatHistogram {
            counter_reset_hint,
            ..FloatHistogram::default()
        })
    };
    for (op, a, b, expected) in [
        ("a + b", Unknown, Unknown, Ok(Unknown)),
        ("a + b", NotCounterReset, NotCounterReset, Ok(NotCounterReset)),
        ("a + b", CounterReset, Gauge, Ok(Gauge)),
        ("a + b", NotCounterReset, Unknown, Ok(Unknown)),
        // Upstream tells of it instead of giving a result.
        ("a + b", CounterReset, NotCounterReset, Err(Finding::Resets)),
        ("a - b", NotCounterReset, NotCounterReset, Ok(Gauge)),
        ("a - b", NotCounterReset, CounterReset, Err(Finding::Resets)),
        ("a == b", NotCounterReset, CounterReset, Ok(NotCounterReset)),
    ] {
        let (a, b) = (hinted(a), hinted(b));
        let outcome = Element::apply(&binary(op), Element::Histogram(&a), Element::Histogram(&b));
        let hint = outcome.map(|(value, _)| match value {
            Some(SampleValue::Histogram(histogram)) => histogram.counter_reset_hint,
            other => panic!("{op}: {other:?}"),
        });
        assert_eq!(hint, expected, "{op}");
    }
}

#[test]
fn contradicting_resets_leave_no_result() {
    // Where only the count is asked for, each histogram is known to follow a reset or not to.
    check(
        r#"
load 1m
    late  {{count:4 sum:1 buckets:[1 3]}} {{count:5 sum:1 buckets:[1 4]}} {{count:2 sum:1 buckets:[1 1]}}
    early {{count:4 sum:1 buckets:[1 3]}} {{count:2 sum:1 buckets:[1 1]}} {{count:3 sum:1 buckets:[1 2]}}

eval range from 1m to 2m step 1m late + early
    expect no_warn
    {} {{count:7 sum:2 buckets:[2 5]}} {{count:5 sum:2 buckets:[2 3]}}

eval instant at 2m histogram_count(late + early)
    expect warn msg: PromQL warning: conflicting counter resets during histogram addition (1:17)

eval instant at 2m histogram_count(late - early)
    expect warn msg: PromQL warning: conflicting counter resets during histogram subtraction (1:17)
"#,
    );
}

#[test]
fn each_step_tells_its_last_finding() {
    let mut findings = Findings::default();
    findings.note(3, 7, Finding::Layout);
    findings.note(3, 5, Finding::Resets);
    findings.note(0, 1, Finding::Resets);
    findings.note(0, 2, Finding::Bounds);
    findings.note(9, 2, Finding::Bounds);
    let mut notes = Annotations::new("a - b");
    findings.tell(binary("a - b").op, &mut notes, cupola_promql::Span::default());
    let (warnings, infos) = notes.into_texts();
    assert_eq!(
        warnings,
        ["PromQL warning: incompatible bucket layout encountered for binary operator - (1:1)"]
    );
    assert_eq!(
        infos,
        ["PromQL info: mismatched custom buckets were reconciled during subtraction (1:1)"]
    );
}

#[test]
fn operators_on_numbers() {
    for (op, a, b, expected) in [
        (BinaryOp::Mod, -7.0, 3.0, -1.0),
        (BinaryOp::Pow, 2.0, 0.5, std::f64::consts::SQRT_2),
        (BinaryOp::Div, 1.0, 0.0, f64::INFINITY),
        (BinaryOp::Ge, 1.0, 1.0, 1.0),
        (BinaryOp::Ne, f64::NAN, f64::NAN, 1.0),
        (BinaryOp::Atan2, 1.0, 1.0, std::f64::consts::FRAC_PI_4),
    ] {
        assert_eq!(number(op, a, b), expected, "{a} {} {b}", op.as_str());
    }
    assert!(number(BinaryOp::Mod, 1.0, 0.0).is_nan());
}

#[test]
fn a_filter_keeps_the_left_value() {
    assert_eq!(element(BinaryOp::Gt, false, 3.0, 2.0), Some(3.0));
    assert_eq!(element(BinaryOp::Gt, false, 1.0, 2.0), None);
    assert_eq!(element(BinaryOp::Gt, true, 1.0, 2.0), Some(0.0));
}
