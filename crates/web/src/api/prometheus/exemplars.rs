//! Exemplars of the series that a query selects.

use cupola_model::{Matcher, fmt_f64};
use cupola_promql::ExprKind;

use crate::api::answer::Ask;
use crate::api::json::{Answer, ApiError, success_with, write_labels, write_list, write_number, write_str};

/// `query_exemplars`: what the selectors of `query` name, whatever is done with it.
pub(super) fn exemplars(ask: &Ask<'_>) -> Result<Answer, ApiError> {
    let start = ask.params.time("start", i64::MIN)?;
    let end = ask.params.time("end", i64::MAX)?;
    if end < start {
        return Err(ApiError::bad_data("end timestamp must not be before start timestamp"));
    }
    let parsed = ask.app.engine.parse(ask.params.get("query"));
    let expr = parsed.map_err(|error| ApiError::bad_data(error.to_string()))?;
    let selectors = expr.walk().filter_map(|part| match &part.kind {
        ExprKind::VectorSelector(selector) | ExprKind::MatrixSelector { selector, .. } => {
            Some(selector.matchers.clone())
        }
        _ => None,
    });
    let selectors: Vec<Vec<Matcher>> = selectors.collect();
    let storage = &ask.app.storage;
    let warnings = Vec::from_iter(storage.incomplete());
    let found = storage.exemplars(&selectors, start, end);
    let found = found.map_err(|error| ApiError::internal(error.to_string()))?;
    let mut data = String::new();
    write_list(&mut data, &found, |out, series| {
        out.push_str("{\"seriesLabels\":");
        write_labels(out, &series.labels);
        out.push_str(",\"exemplars\":");
        write_list(out, &series.exemplars, |out, exemplar| {
            out.push_str("{\"labels\":");
            write_labels(out, &exemplar.labels);
            out.push_str(",\"value\":");
            write_str(out, &fmt_f64(exemplar.value));
            out.push_str(",\"timestamp\":");
            write_number(out, exemplar.ts as f64 / 1000.0);
            out.push('}');
        });
        out.push('}');
    });
    Ok(success_with(&data, &warnings, &[]))
}
