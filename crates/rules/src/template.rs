//! Labels and annotations of alerts, expanded with what the expression gave.

use std::sync::Arc;

use cupola_gotemplate::prometheus::{Context as TemplateContext, Sample};
use cupola_gotemplate::{AlertData, AlertExpander, Value};
use cupola_model::Labels;
use tracing::warn;

use crate::manager::Context;

type Ask = dyn Fn(&str) -> Result<Vec<Sample>, String> + Send + Sync;

/// What templates know besides the sample.
pub(crate) struct World<'a> {
    pub external_url: &'a str,
    pub external_labels: &'a Labels,
    /// Answers the function `query`.
    pub query: Arc<Ask>,
}

/// Expands `text`; where it fails the result says so in its place, as in Prometheus, and the log says why.
pub(crate) fn expand(ctx: &Arc<Context>, alert: &str, text: &str, labels: &Labels, value: f64, ts: i64) -> String {
    if !text.contains("{{") {
        return text.to_owned();
    }
    let asked = ctx.clone();
    let query = move |text: &str| {
        let expr = cupola_promql::parse(text).map_err(|e| cupola_promql::render_errors(text, &e))?;
        Ok(samples(asked.query_floats(text, &expr, ts)?))
    };
    let world = World {
        external_url: &ctx.external_url,
        external_labels: &ctx.external_labels.load(),
        query: Arc::new(query),
    };
    expand_in(&world, alert, text, labels, value, ts)
}

/// As templates take the answer of a query.
pub(crate) fn samples(series: Vec<(Labels, f64)>) -> Vec<Sample> {
    let series = series.into_iter();
    series.map(|(labels, value)| Sample { labels, value }).collect()
}

/// As [`expand`], wherever the alert is.
pub(crate) fn expand_in(world: &World<'_>, alert: &str, text: &str, labels: &Labels, value: f64, ts: i64) -> String {
    let context = TemplateContext {
        external_url: world.external_url.to_owned(),
        now_ms: ts,
        query: world.query.clone(),
    };
    let data = AlertData {
        labels,
        external_labels: world.external_labels,
        external_url: world.external_url,
        value: Value::Float(value),
    };
    AlertExpander::new(alert, context)
        .expand(text, &data)
        .unwrap_or_else(|error| {
            warn!(alert, %error, "cannot expand a template");
            format!("<error expanding template: {error}>")
        })
}
