//! Queries: asking the engine. Its answers are written by `result`.

use std::time::{Duration, Instant};

use cupola_engine::{
    Cancel, ErrorKind as QueryErrorKind, Origin, Query, QueryError, QueryResult, QueryValue, SourceResolution,
};
use cupola_promql::Expr;

use crate::api::answer::Ask;
use crate::api::json::{Answer, ApiError, ErrorKind, success, write_str};
use crate::api::params::Params;
use crate::api::prometheus::result::{ResultWriter, Stats};
use crate::api::stream::Rest;

// A range query may have this many steps.
const MOST_STEPS: i64 = 11_000;
pub(super) const TRUNCATED: &str = "results truncated due to limit";

/// `query`: the value at one time.
pub(super) fn instant(ask: &Ask<'_>) -> Result<Answer, ApiError> {
    let limit = ask.params.limit()?;
    let at = ask.params.time("time", ask.app.clock.now_ms())?;
    let cancel = cancel(ask)?;
    let lookback = lookback(ask)?;
    let source_resolution = source_resolution(ask.params)?;
    let (text, expr) = parse(ask)?;
    run(
        ask,
        Query {
            lookback_delta_ms: lookback,
            source_resolution,
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
    let source_resolution = source_resolution(ask.params)?;
    let (text, expr) = parse(ask)?;
    run(
        ask,
        Query {
            lookback_delta_ms: lookback,
            source_resolution,
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

/// `parse_query`: the expression as a tree.
pub(super) fn tree(ask: &Ask<'_>) -> Result<Answer, ApiError> {
    let (_, expr) = parse(ask)?;
    Ok(success(&expr.to_json()))
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

// As in Thanos; what is not said is `auto`.
fn source_resolution(params: &Params) -> Result<SourceResolution, ApiError> {
    match params.get("max_source_resolution") {
        "" | "auto" => Ok(SourceResolution::Auto),
        _ => params
            .needed_duration("max_source_resolution")
            .map(SourceResolution::UpTo),
    }
}

fn run<'a>(ask: &'a Ask<'_>, mut query: Query<'a>, limit: usize) -> Result<Answer, ApiError> {
    let stats = match ask.params.get("stats") {
        "" => None,
        "all" => Some(Stats::Steps {
            start: query.start,
            step: query.step_ms.unwrap_or(0),
        }),
        _ => Some(Stats::Sums),
    };
    query.per_step_stats = matches!(stats, Some(Stats::Steps { .. }));
    let engine = &ask.app.engine;
    // Sending the answer is part of what has to end in time.
    let deadline = query
        .cancel
        .no_later_than(Instant::now().checked_add(engine.options().timeout))
        .deadline();
    query.cancel = query.cancel.no_later_than(ask.here_until);
    query.tried_until = ask.here_until;
    query.origin = Origin::Http {
        client: ask.client,
        method: ask.method.as_str(),
        path: ask.path,
    };
    // Asked first: what is complete by the end of the query may not have been at its beginning.
    let incomplete = ask.app.storage.incomplete();
    let mut result = engine.query(&*ask.app.storage, &query).map_err(|e| refusal(&e))?;
    // A server that is read from may have failed for this very query.
    result
        .warnings
        .extend(incomplete.or_else(|| ask.app.storage.incomplete()));
    Ok(answer(result, limit, stats, deadline))
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

fn answer(mut result: QueryResult, limit: usize, stats: Option<Stats>, deadline: Option<Instant>) -> Answer {
    if truncate(&mut result.value, limit) {
        result.warnings.push(TRUNCATED.to_owned());
    }
    Answer::json_in_pieces(Rest {
        pieces: Box::new(ResultWriter::new(result, stats)),
        deadline,
    })
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

#[cfg(test)]
mod tests {
    use super::*;
    use cupola_model::Labels;
    use cupola_storage::SampleValue;

    #[test]
    fn the_resolution_of_the_source_is_told_as_thanos_is_told() {
        use SourceResolution::{Auto, UpTo};
        for (query, expected) in [
            ("query=x", Some(Auto)),
            ("max_source_resolution=auto", Some(Auto)),
            ("max_source_resolution=0s", Some(UpTo(0))),
            ("max_source_resolution=5m", Some(UpTo(300_000))),
            ("max_source_resolution=3600", Some(UpTo(3_600_000))),
            ("max_source_resolution=fine", None),
        ] {
            assert_eq!(source_resolution(&Params::parse(query, "")).ok(), expected, "{query}");
        }
    }

    #[test]
    fn a_limit_cuts_and_says_so() {
        let mut value = QueryValue::Vector(
            (0..3)
                .map(|at| (Labels::empty(), at, SampleValue::Float(0.0)))
                .collect(),
        );
        assert!(!truncate(&mut value, 3));
        assert!(!truncate(&mut value, 0));
        assert!(truncate(&mut value, 2));
        assert_eq!(
            value,
            QueryValue::Vector(
                (0..2)
                    .map(|at| (Labels::empty(), at, SampleValue::Float(0.0)))
                    .collect()
            )
        );
    }
}
