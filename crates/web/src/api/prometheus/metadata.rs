//! What targets say about their metric families.

use std::collections::{BTreeMap, BTreeSet};

use cupola_promql::parse_selector;
use cupola_storage::Metadata;

use crate::api::answer::Ask;
use crate::api::json::{Answer, ApiError, success, write_labels, write_list, write_str};

/// `metadata`: by family, each different description once over all targets; of what no target describes now, what the
/// storage was told last.
pub(super) fn metadata(ask: &Ask<'_>) -> Result<Answer, ApiError> {
    let limit = number(ask, "limit")?;
    let per_metric = number(ask, "limit_per_metric")?;
    let wanted = ask.params.get("metric");
    let mut families: BTreeMap<String, BTreeSet<Metadata>> = BTreeMap::new();
    for (_, described) in ask.app.scrape.metadata() {
        for (name, metadata) in described {
            if wanted.is_empty() || wanted == name {
                families.entry(name).or_default().insert(metadata);
            }
        }
    }
    for (name, metadata) in ask.app.storage.metadata() {
        if wanted.is_empty() || wanted == name {
            families.entry(name).or_insert_with(|| BTreeSet::from([metadata]));
        }
    }
    let mut data = String::from("{");
    for (i, (name, all)) in families.iter().take(limit).enumerate() {
        if i > 0 {
            data.push(',');
        }
        write_str(&mut data, name);
        data.push(':');
        write_list(&mut data, all.iter().take(per_metric), |out, metadata| {
            out.push('{');
            write_fields(out, metadata);
            out.push('}');
        });
    }
    data.push('}');
    Ok(success(&data))
}

/// `targets/metadata`: by target, those that match `match_target`.
pub(super) fn targets_metadata(ask: &Ask<'_>) -> Result<Answer, ApiError> {
    let limit = number(ask, "limit")?;
    let wanted = ask.params.get("metric");
    let matchers = match ask.params.get("match_target") {
        "" => Vec::new(),
        text => parse_selector(text).map_err(|errors| {
            let reason = cupola_promql::render_errors(text, &errors);
            ApiError::bad_data(format!("invalid parameter \"match_target\": {reason}"))
        })?,
    };
    let mut found = Vec::new();
    for (target, described) in ask.app.scrape.metadata() {
        if matchers.iter().all(|m| m.matches_labels(&target)) {
            let asked = described
                .into_iter()
                .filter(|(name, _)| wanted.is_empty() || wanted == name);
            found.extend(asked.map(|(name, metadata)| (target.clone(), name, metadata)));
        }
    }
    let mut data = String::new();
    write_list(&mut data, found.iter().take(limit), |out, (target, name, metadata)| {
        out.push_str("{\"target\":");
        write_labels(out, target);
        if wanted.is_empty() {
            out.push_str(",\"metric\":");
            write_str(out, name);
        }
        out.push(',');
        write_fields(out, metadata);
        out.push('}');
    });
    Ok(success(&data))
}

fn write_fields(out: &mut String, metadata: &Metadata) {
    for (i, (name, value)) in [
        ("type", metadata.kind.name()),
        ("help", &metadata.help),
        ("unit", &metadata.unit),
    ]
    .into_iter()
    .enumerate()
    {
        if i > 0 {
            out.push(',');
        }
        write_str(out, name);
        out.push(':');
        write_str(out, value);
    }
}

// A limit; none is none, and so is a negative one (upstream's default is -1).
fn number(ask: &Ask<'_>, name: &str) -> Result<usize, ApiError> {
    match ask.params.get(name) {
        "" => Ok(usize::MAX),
        text => match text.parse::<i64>() {
            Ok(n) => Ok(usize::try_from(n).unwrap_or(usize::MAX)),
            Err(_) => Err(ApiError::bad_data(format!("{name} must be a number"))),
        },
    }
}
