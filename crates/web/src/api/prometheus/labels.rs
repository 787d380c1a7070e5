//! What is stored: series, label names, label values.

use std::collections::BTreeSet;

use axum::response::Response;
use cupola_model::{Labels, Matcher, go_quote, is_valid_label_name};
use cupola_promql::parse_match_param;
use cupola_storage::{Selection, StorageError};

use super::query::TRUNCATED;
use crate::api::answer::Ask;
use crate::api::json::{Answer, ApiError, success_with, write_labels, write_list, write_strs};
use crate::api::params::decode_path;

// Absent bounds: no sample is farther from the epoch.
const OLDEST: i64 = i64::MIN;
const NEWEST: i64 = i64::MAX;

/// `series`: the label sets that match.
pub(super) fn series(ask: &Ask<'_>) -> Result<Answer, ApiError> {
    if ask.params.all("match[]").next().is_none() {
        return Err(ApiError::bad_data("no match[] parameter provided"));
    }
    let asked = Asked::read(ask, |reason| ApiError::param("match[]", reason))?;
    let sets: BTreeSet<Labels> = asked.collect(|selection| ask.app.storage.series(selection))?;
    Ok(asked.answer(sets, |out, sets| write_list(out, sets, write_labels)))
}

/// `series`, deleted: an address that Prometheus keeps for what it once did.
pub(super) async fn drop_series() -> Response {
    Answer::from(ApiError::internal("not implemented")).into_response(None)
}

/// `labels`: the label names that occur.
pub(super) fn names(ask: &Ask<'_>) -> Result<Answer, ApiError> {
    let asked = Asked::read(ask, ApiError::bad_data)?;
    let names: BTreeSet<String> = asked.collect(|selection| ask.app.storage.label_names(selection))?;
    Ok(asked.answer(names, write_strs))
}

/// `label/<name>/values`: the values that a label has.
pub(super) fn values(ask: &Ask<'_>) -> Result<Answer, ApiError> {
    let between = ask
        .path
        .strip_prefix("/api/v1/label/")
        .and_then(|rest| rest.strip_suffix("/values"));
    let name = unescape(&decode_path(between.unwrap_or("")));
    if !is_valid_label_name(&name) || name.contains('\u{fffd}') {
        return Err(ApiError::bad_data(format!("invalid label name: {}", go_quote(&name))));
    }
    let asked = Asked::read(ask, ApiError::bad_data)?;
    let values: BTreeSet<String> = asked.collect(|selection| ask.app.storage.label_values(&name, selection))?;
    Ok(asked.answer(values, write_strs))
}

// The parameters that all three have.
struct Asked {
    start: i64,
    end: i64,
    limit: usize,
    // Each alone; what they select is united. Never empty.
    selectors: Vec<Vec<Matcher>>,
    warnings: Vec<String>,
}

impl Asked {
    fn read(ask: &Ask<'_>, refuse: fn(String) -> ApiError) -> Result<Self, ApiError> {
        let limit = ask.params.limit()?;
        let start = ask.params.time("start", OLDEST)?;
        let end = ask.params.time("end", NEWEST)?;
        let mut selectors = Vec::new();
        for text in ask.params.all("match[]") {
            selectors.push(parse_match_param(text).map_err(|e| refuse(e.to_string()))?);
        }
        if selectors.is_empty() {
            selectors.push(Vec::new());
        }
        Ok(Self {
            start,
            end,
            limit,
            selectors,
            // Before anything is selected: what is complete later may not have been then.
            warnings: Vec::from_iter(ask.app.storage.incomplete()),
        })
    }

    fn collect<T: Ord>(
        &self,
        select: impl Fn(&Selection<'_>) -> Result<Vec<T>, StorageError>,
    ) -> Result<BTreeSet<T>, ApiError> {
        let mut all = BTreeSet::new();
        for matchers in &self.selectors {
            let found = select(&Selection {
                matchers,
                mint: self.start,
                maxt: self.end,
            });
            all.extend(found.map_err(|e| ApiError::internal(e.to_string()))?);
        }
        Ok(all)
    }

    fn answer<T>(&self, all: BTreeSet<T>, write: impl Fn(&mut String, &[T])) -> Answer {
        let mut all: Vec<T> = all.into_iter().collect();
        let mut warnings = self.warnings.clone();
        if self.limit > 0 && all.len() > self.limit {
            all.truncate(self.limit);
            warnings.push(TRUNCATED.to_owned());
        }
        let mut data = String::new();
        write(&mut data, &all);
        success_with(&data, &warnings, &[])
    }
}

// Prometheus's "values" escaping for names in URLs: after `U__`, `__` is an underscore and `_2e_` the character with that
// number. What is not well formed is taken as it stands.
fn unescape(name: &str) -> String {
    name.strip_prefix("U__")
        .and_then(unescaped)
        .unwrap_or_else(|| name.to_owned())
}

fn unescaped(text: &str) -> Option<String> {
    let mut out = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('_') {
        out.push_str(before);
        let (code, after) = after.split_once('_')?;
        if code.is_empty() {
            out.push('_');
        } else {
            let is_number = code.len() <= 6 && code.bytes().all(|b| b.is_ascii_hexdigit());
            out.push(char::from_u32(
                u32::from_str_radix(code, 16).ok().filter(|_| is_number)?,
            )?);
        }
        rest = after;
    }
    out.push_str(rest);
    Some(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escaped_names_are_read() {
        for (name, expected) in [
            ("job", "job"),
            ("U__a_2e_b", "a.b"),
            ("U__a__b", "a_b"),
            ("U___1f600_x", "\u{1f600}x"),
            ("U__", ""),
            ("U__a_b", "U__a_b"),
            ("U__a_zz_", "U__a_zz_"),
            ("U__a_110000_", "U__a_110000_"),
            ("U__a_+41_", "U__a_+41_"),
            ("U__a_d800_", "U__a_d800_"),
        ] {
            assert_eq!(unescape(name), expected, "{name}");
        }
    }
}
