//! Labels and annotations of alerts, expanded with what the expression gave.

use std::cell::OnceCell;
use std::sync::Arc;

use cupola_gotemplate::prometheus::{Context as TemplateContext, Sample};
use cupola_gotemplate::{AlertData, AlertExpander, Value};
use cupola_model::Labels;
use tracing::warn;

use crate::history::RuleName;
use crate::manager::Context;

type Ask = dyn Fn(&str) -> Result<Vec<Sample>, String> + Send + Sync;

/// What templates know besides the sample.
pub(crate) struct World<'a> {
    pub external_url: &'a str,
    pub external_labels: &'a Labels,
    /// Answers the function `query`.
    pub query: Arc<Ask>,
}

/// Expands the texts of one rule at one evaluation.
pub(crate) struct Expander<'a> {
    ctx: &'a Arc<Context>,
    of: &'a Arc<RuleName>,
    alert: &'a str,
    ts: i64,
    // What templates can call is put together once, and only where there is one.
    made: OnceCell<AlertExpander>,
}

impl<'a> Expander<'a> {
    pub(crate) fn new(ctx: &'a Arc<Context>, of: &'a Arc<RuleName>, alert: &'a str, ts: i64) -> Self {
        Self {
            ctx,
            of,
            alert,
            ts,
            made: OnceCell::new(),
        }
    }

    /// Expands `text`; where it fails the result says so in its place, as in Prometheus, and the log says why.
    pub(crate) fn expand(&self, text: &str, labels: &Labels, value: f64) -> String {
        self.ctx.metrics.expansions.inc();
        if !text.contains("{{") {
            return text.to_owned();
        }
        let external_labels = self.ctx.external_labels.load();
        let expander = self.made.get_or_init(|| {
            let (asked, of, ts) = (self.ctx.clone(), self.of.clone(), self.ts);
            let query = move |text: &str| {
                let expr = cupola_promql::parse(text).map_err(|e| cupola_promql::render_errors(text, &e))?;
                Ok(samples(asked.query_floats(&of, text, &expr, ts)?))
            };
            expander(&self.ctx.external_url, Arc::new(query), self.alert, ts)
        });
        let data = AlertData {
            labels,
            external_labels: &external_labels,
            external_url: &self.ctx.external_url,
            value: Value::Float(value),
        };
        expanded(expander, self.alert, text, &data).unwrap_or_else(|told| {
            self.ctx.metrics.expansion_failures.inc();
            told
        })
    }
}

/// As templates take the answer of a query.
pub(crate) fn samples(series: Vec<(Labels, f64)>) -> Vec<Sample> {
    let series = series.into_iter();
    series.map(|(labels, value)| Sample { labels, value }).collect()
}

/// As [`Expander::expand`], wherever the alert is.
pub(crate) fn expand_in(world: &World<'_>, alert: &str, text: &str, labels: &Labels, value: f64, ts: i64) -> String {
    let data = AlertData {
        labels,
        external_labels: world.external_labels,
        external_url: world.external_url,
        value: Value::Float(value),
    };
    let expander = expander(world.external_url, world.query.clone(), alert, ts);
    expanded(&expander, alert, text, &data).unwrap_or_else(|told| told)
}

fn expander(external_url: &str, query: Arc<Ask>, alert: &str, now_ms: i64) -> AlertExpander {
    let context = TemplateContext {
        external_url: external_url.to_owned(),
        now_ms,
        query,
    };
    AlertExpander::new(alert, context)
}

// Where it fails what stands in the place of the result.
fn expanded(expander: &AlertExpander, alert: &str, text: &str, data: &AlertData<'_>) -> Result<String, String> {
    expander.expand(text, data).map_err(|error| {
        warn!(alert, %error, "cannot expand a template");
        format!("<error expanding template: {error}>")
    })
}
