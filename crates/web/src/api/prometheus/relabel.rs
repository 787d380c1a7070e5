//! What each step of relabelling does to the labels of a target.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use cupola_config::{RelabelConfig, relabel};
use cupola_model::{Labels, go_quote};

use crate::api::answer::Ask;
use crate::api::json::{Answer, ApiError, success, write_labels, write_list, write_str, write_strs};

/// `targets/relabel_steps`: the labels after each relabelling step of a scrape pool, and whether the target is still kept.
pub(super) fn steps(ask: &Ask<'_>) -> Result<Answer, ApiError> {
    let pool = ask.params.get("scrapePool");
    if pool.is_empty() {
        return Err(ApiError::bad_data("no scrapePool parameter provided"));
    }
    let labels = ask.params.get("labels");
    if labels.is_empty() {
        return Err(ApiError::bad_data("no labels parameter provided"));
    }
    let labels: BTreeMap<String, String> =
        serde_json::from_str(labels).map_err(|e| ApiError::bad_data(format!("error parsing labels: {e}")))?;
    let config = ask.app.config.load();
    let Some(rules) = config.relabel_configs.get(pool) else {
        let reason = format!("error retrieving scrape config: unknown scrape pool {}", go_quote(pool));
        return Err(ApiError::bad_data(reason));
    };
    Ok(success(&write_steps(rules, &Labels::from_pairs(labels))))
}

fn write_steps(rules: &[RelabelConfig], labels: &Labels) -> String {
    let mut labels = labels.to_builder();
    let mut is_kept = true;
    let mut out = String::from("{\"steps\":");
    write_list(&mut out, rules, |out, rule| {
        is_kept = is_kept && relabel(std::slice::from_ref(rule), &mut labels);
        out.push_str("{\"rule\":");
        write_rule(out, rule);
        out.push_str(",\"output\":");
        // Nothing is left of what is dropped, as in Prometheus.
        let output = if is_kept {
            labels.clone().build()
        } else {
            Labels::empty()
        };
        write_labels(out, &output);
        let _ = write!(out, ",\"keep\":{is_kept}}}");
    });
    out.push('}');
    out
}

// Prometheus leaves out what is empty.
fn write_rule(out: &mut String, rule: &RelabelConfig) {
    out.push('{');
    if !rule.source_labels.is_empty() {
        out.push_str("\"sourceLabels\":");
        write_strs(out, &rule.source_labels);
        out.push(',');
    }
    let modulus = if rule.modulus > 0 {
        rule.modulus.to_string()
    } else {
        String::new()
    };
    for (name, text) in [
        ("separator", rule.separator.as_str()),
        ("regex", rule.regex.pattern()),
        ("modulus", &modulus),
        ("targetLabel", &rule.target_label),
        ("replacement", &rule.replacement),
    ] {
        if text.is_empty() {
            continue;
        }
        let _ = write!(out, "\"{name}\":");
        if name == "modulus" {
            out.push_str(text);
        } else {
            write_str(out, text);
        }
        out.push(',');
    }
    let _ = write!(out, "\"action\":\"{}\"}}", rule.action.as_str());
}
