//! Queries: asking the engine, and its columns as JSON.

use std::fmt::Write as _;
use std::time::{Duration, Instant};

use cupola_engine::{Cancel, ErrorKind as QueryErrorKind, Query, QueryError, QueryResult, QueryStats, QueryValue};
use cupola_promql::Expr;

use crate::api::answer::Ask;
use crate::api::json::{
    Answer, ApiError, ErrorKind, success, success_with, write_labels, write_list, write_sample, write_seconds,
    write_str,
};

// A range query may have this many steps.
const MOST_STEPS: i64 = 11_000;
pub(super) const TRUNCATED: &str = "results truncated due to limit";

/// `query`: the value at one time.
pub(super) fn instant(ask: &Ask<'_>) -> Result<Answer, ApiError> {
    let limit = ask.params.limit()?;
    let at = ask.params.time("time", ask.app.clock.now_ms())?;
    let cancel = cancel(ask)?;
    let lookback = lookback(ask)?;
    let (text, expr) = parse(ask)?;
    run(
        ask,
        Query {
            lookback_delta_ms: lookback,
            cancel,
            ..Query::instant(text, &expr, at)
        },
        limit,
    )
}

/// `query_range`: the values at every step of a range.
pub(super) fn range(ask: &Ask<'_>) -> Result<Answer, ApiError> {
    let limit = ask.params.limit()?;
    let start = ask.params.needed_time("start")?;
    let end = ask.params.needed_time("end")?;
    if end < start {
        return Err(ApiError::param("end", "end timestamp must not be before start time"));
    }
    let step = ask.params.needed_duration("step")?;
    if step <= 0 {
        let reason = "zero or negative query resolution step widths are not accepted. Try a positive integer";
        return Err(ApiError::param("step", reason));
    }
    if (end - start) / step > MOST_STEPS {
        return Err(ApiError::bad_data(
            "exceeded maximum resolution of 11,000 points per timeseries. Try decreasing the query resolution (?step=XX)",
        ));
    }
    let cancel = cancel(ask)?;
    let lookback = lookback(ask)?;
    let (text, expr) = parse(ask)?;
    run(
        ask,
        Query {
            lookback_delta_ms: lookback,
            cancel,
            ..Query::range(text, &expr, start, end, step)
        },
        limit,
    )
}

/// `format_query`: the expression over several lines.
pub(super) fn format(ask: &Ask<'_>) -> Result<Answer, ApiError> {
    let (_, expr) = parse(ask)?;
    let mut data = String::new();
    write_str(&mut data, &expr.pretty());
    Ok(success(&data))
}

fn parse<'a>(ask: &'a Ask<'_>) -> Result<(&'a str, Expr), ApiError> {
    let text = ask.params.get("query");
    let expr = ask.app.engine.parse(text).map_err(|e| ApiError::param("query", e))?;
    Ok((text, expr))
}

// The client may shorten the engine's timeout, not lengthen it.
fn cancel(ask: &Ask<'_>) -> Result<Cancel, ApiError> {
    let Some(ms) = ask.params.duration("timeout")? else {
        return Ok(ask.cancel.clone());
    };
    let timeout = Duration::from_millis(ms.max(0).unsigned_abs());
    Ok(ask.cancel.no_later_than(Instant::now().checked_add(timeout)))
}

fn lookback(ask: &Ask<'_>) -> Result<Option<i64>, ApiError> {
    let worded = |e: ApiError| {
        let reason = e
            .message
            .split_once(": ")
            .map_or(e.message.as_str(), |(_, reason)| reason)
            .to_owned();
        ApiError::bad_data(format!("error parsing lookback delta duration: {reason}"))
    };
    ask.params.duration("lookback_delta").map_err(worded)
}

fn run(ask: &Ask<'_>, query: Query<'_>, limit: usize) -> Result<Answer, ApiError> {
    let result = ask
        .app
        .engine
        .query(&*ask.app.storage, &query)
        .map_err(|e| refusal(&e))?;
    Ok(answer(result, limit, !ask.params.get("stats").is_empty()))
}

fn refusal(error: &QueryError) -> ApiError {
    let kind = match error.kind() {
        QueryErrorKind::BadData => return ApiError::param("query", error),
        QueryErrorKind::Execution => ErrorKind::Execution,
        QueryErrorKind::Timeout => ErrorKind::Timeout,
        QueryErrorKind::Canceled => ErrorKind::Canceled,
        QueryErrorKind::Internal => ErrorKind::Internal,
    };
    ApiError {
        kind,
        message: error.to_string(),
    }
}

fn answer(mut result: QueryResult, limit: usize, shows_stats: bool) -> Answer {
    if truncate(&mut result.value, limit) {
        result.warnings.push(TRUNCATED.to_owned());
    }
    let mut data = String::with_capacity(size_hint(&result.value));
    let _ = write!(data, "{{\"resultType\":\"{}\",\"result\":", result.value.type_name());
    write_value(&mut data, &result.value);
    if shows_stats {
        data.push_str(",\"stats\":");
        write_stats(&mut data, &result.stats);
    }
    data.push('}');
    success_with(&data, &result.warnings, &result.infos)
}

fn truncate(value: &mut QueryValue, limit: usize) -> bool {
    let len = match value {
        _ if limit == 0 => 0,
        QueryValue::Vector(rows) => {
            let len = rows.len();
            rows.truncate(limit);
            len
        }
        QueryValue::Matrix(rows) => {
            let len = rows.len();
            rows.truncate(limit);
            len
        }
        QueryValue::Scalar(..) | QueryValue::String(..) => 0,
    };
    limit > 0 && len > limit
}

// About as long as the JSON will be, so that a large answer is not copied again and again while it grows.
fn size_hint(value: &QueryValue) -> usize {
    const ROW: usize = 200;
    const SAMPLE: usize = 28;
    match value {
        QueryValue::Scalar(..) | QueryValue::String(..) => ROW,
        QueryValue::Vector(rows) => ROW + rows.len() * ROW,
        QueryValue::Matrix(rows) => {
            rows.iter()
                .map(|(_, samples)| ROW + samples.len() * SAMPLE)
                .sum::<usize>()
                + ROW
        }
    }
}

fn write_value(out: &mut String, value: &QueryValue) {
    match value {
        QueryValue::Scalar(at, value) => write_sample(out, *at, *value),
        QueryValue::String(at, text) => {
            out.push('[');
            write_seconds(out, *at);
            out.push(',');
            write_str(out, text);
            out.push(']');
        }
        QueryValue::Vector(rows) => write_list(out, rows, |out, (labels, at, value)| {
            out.push_str("{\"metric\":");
            write_labels(out, labels);
            out.push_str(",\"value\":");
            write_sample(out, *at, *value);
            out.push('}');
        }),
        QueryValue::Matrix(rows) => write_list(out, rows, |out, (labels, samples)| {
            out.push_str("{\"metric\":");
            write_labels(out, labels);
            out.push_str(",\"values\":");
            write_list(out, samples.ts.iter().zip(&samples.values), |out, (at, value)| {
                write_sample(out, *at, *value)
            });
            out.push('}');
        }),
    }
}

fn write_stats(out: &mut String, stats: &QueryStats) {
    let times = &stats.timings;
    let evaluated = times.preparation + times.evaluation + times.result;
    for (i, (name, time)) in [
        ("evalTotalTime", evaluated),
        ("resultSortTime", times.result),
        ("queryPreparationTime", times.preparation),
        ("innerEvalTime", times.evaluation),
        ("execQueueTime", times.queue),
        ("execTotalTime", times.total),
    ]
    .into_iter()
    .enumerate()
    {
        out.push_str(if i == 0 { "{\"timings\":{" } else { "," });
        let _ = write!(out, "\"{name}\":{}", time.as_secs_f64());
    }
    let _ = write!(
        out,
        "}},\"samples\":{{\"totalQueryableSamples\":{},\"samplesRead\":{},\"peakSamples\":{}}}}}",
        stats.total_queryable_samples, stats.samples_read, stats.peak_samples,
    );
}

#[cfg(test)]
mod tests {
    use super::*;
    use cupola_engine::QueryTimings;
    use cupola_model::Labels;
    use cupola_storage::Samples;
    use expect_test::{Expect, expect};

    #[track_caller]
    fn check(value: &QueryValue, expected: Expect) {
        let mut out = String::new();
        write_value(&mut out, value);
        expected.assert_eq(&out);
    }

    #[test]
    fn values_are_written_as_prometheus_does() {
        let labels = || Labels::from_pairs([("__name__", "up"), ("job", "a\"b")]);
        check(&QueryValue::Scalar(1_500, f64::NAN), expect![[r#"[1.5,"NaN"]"#]]);
        check(&QueryValue::String(0, "é\n".into()), expect![[r#"[0,"é\n"]"#]]);
        check(&QueryValue::Vector(vec![]), expect!["[]"]);
        check(
            &QueryValue::Vector(vec![(labels(), 1_000, 1e21), (Labels::empty(), 1_000, -0.0)]),
            expect![[
                r#"[{"metric":{"__name__":"up","job":"a\"b"},"value":[1,"1e+21"]},{"metric":{},"value":[1,"-0"]}]"#
            ]],
        );
        let samples = Samples {
            ts: vec![1_000, 2_001],
            values: vec![1.0, f64::NEG_INFINITY],
        };
        check(
            &QueryValue::Matrix(vec![(labels(), samples)]),
            expect![[r#"[{"metric":{"__name__":"up","job":"a\"b"},"values":[[1,"1"],[2.001,"-Inf"]]}]"#]],
        );
    }

    #[test]
    fn statistics_are_numbers() {
        let ms = Duration::from_millis;
        let timings = QueryTimings {
            queue: ms(1),
            preparation: ms(2),
            evaluation: ms(500),
            result: ms(8),
            total: ms(511),
        };
        let mut out = String::new();
        let stats = QueryStats {
            total_queryable_samples: 3,
            samples_read: 2,
            peak_samples: 1,
            timings,
        };
        write_stats(&mut out, &stats);
        expect![[r#"{"timings":{"evalTotalTime":0.51,"resultSortTime":0.008,"queryPreparationTime":0.002,"innerEvalTime":0.5,"execQueueTime":0.001,"execTotalTime":0.511},"samples":{"totalQueryableSamples":3,"samplesRead":2,"peakSamples":1}}"#]]
        .assert_eq(&out);
    }

    #[test]
    fn a_limit_cuts_and_says_so() {
        let mut value = QueryValue::Vector((0..3).map(|at| (Labels::empty(), at, 0.0)).collect());
        assert!(!truncate(&mut value, 3));
        assert!(!truncate(&mut value, 0));
        assert!(truncate(&mut value, 2));
        assert_eq!(
            value,
            QueryValue::Vector((0..2).map(|at| (Labels::empty(), at, 0.0)).collect())
        );
    }
}
