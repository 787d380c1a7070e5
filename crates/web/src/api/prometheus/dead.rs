//! `rules/dead`: rules whose selectors match no series. Ours.

use std::collections::BTreeSet;

use cupola_config::rules::RuleKind;
use cupola_rules::{DeadParts, DeadSelector, dead_parts};
use cupola_storage::StorageError;

use crate::api::answer::Ask;
use crate::api::json::{Answer, ApiError, success, write_list, write_str};

/// Each rule of which a selector matches nothing that is stored, and what may be wrong with it.
pub(super) fn rules(ask: &Ask<'_>) -> Result<Answer, ApiError> {
    let sources = ask.app.rules.sources();
    let all = || {
        sources
            .iter()
            .flat_map(|source| source.group.rules.iter().map(move |rule| (source, rule)))
    };
    let made: BTreeSet<String> = all()
        .filter(|(_, rule)| matches!(rule.kind, RuleKind::Recording { .. }))
        .map(|(_, rule)| rule.name().to_owned())
        .collect();
    let now = ask.app.clock.now_ms();
    let mut found = Vec::new();
    for (source, rule) in all() {
        if ask.cancel.is_cancelled() {
            break;
        }
        let parts = dead_parts(&*ask.app.storage, rule, &made, now);
        let parts = parts.map_err(|error: StorageError| ApiError::internal(error.to_string()))?;
        if !parts.selectors.is_empty() {
            found.push((source, rule, parts));
        }
    }
    let mut data = String::from("{\"rules\":");
    write_list(&mut data, &found, |out, (source, rule, parts)| {
        let kind = match rule.kind {
            RuleKind::Recording { .. } => "recording",
            RuleKind::Alerting { .. } => "alerting",
        };
        let texts = [
            ("file", source.file.as_str()),
            ("group", source.group.name.as_str()),
            ("name", rule.name()),
            ("type", kind),
        ];
        out.push('{');
        for (name, text) in texts {
            write_field(out, name, text);
            out.push(',');
        }
        write_field(out, "query", &rule.expr.to_string());
        write_parts(out, parts);
        out.push('}');
    });
    data.push('}');
    Ok(success(&data))
}

fn write_field(out: &mut String, name: &str, text: &str) {
    write_str(out, name);
    out.push(':');
    write_str(out, text);
}

fn write_parts(out: &mut String, parts: &DeadParts) {
    out.push_str(if parts.is_dead {
        ",\"dead\":true"
    } else {
        ",\"dead\":false"
    });
    out.push_str(",\"selectors\":");
    write_list(out, &parts.selectors, |out, dead: &DeadSelector| {
        out.push('{');
        write_field(out, "selector", &dead.selector);
        out.push(',');
        write_field(out, "reason", &dead.reason);
        for (name, text) in [("label", &dead.label), ("nearest", &dead.nearest)] {
            if let Some(text) = text {
                out.push(',');
                write_field(out, name, text);
            }
        }
        out.push('}');
    });
}
