//! Labels and annotations of alerts, expanded with what the expression gave.

use std::sync::Arc;

use cupola_gotemplate::prometheus::{Context as TemplateContext, Sample};
use cupola_gotemplate::{AlertData, AlertExpander, Value};
use cupola_model::Labels;
use tracing::warn;

use crate::manager::Context;

/// Expands `text`; where it fails the result says so in its place, as in Prometheus, and the log says why.
pub(crate) fn expand(ctx: &Arc<Context>, alert: &str, text: &str, labels: &Labels, value: f64, ts: i64) -> String {
    if !text.contains("{{") {
        return text.to_owned();
    }
    let asked = ctx.clone();
    let query = move |text: &str| {
        let expr = cupola_promql::parse(text).map_err(|e| cupola_promql::render_errors(text, &e))?;
        let series = asked.query_floats(text, &expr, ts)?;
        Ok(series
            .into_iter()
            .map(|(labels, value)| Sample { labels, value })
            .collect())
    };
    let context = TemplateContext {
        external_url: ctx.external_url.clone(),
        now_ms: ts,
        query: Arc::new(query),
    };
    let external_labels = ctx.external_labels.load();
    let data = AlertData {
        labels,
        external_labels: &external_labels,
        external_url: &ctx.external_url,
        value: Value::Float(value),
    };
    AlertExpander::new(alert, context)
        .expand(text, &data)
        .unwrap_or_else(|error| {
            warn!(alert, %error, "cannot expand a template");
            format!("<error expanding template: {error}>")
        })
}
