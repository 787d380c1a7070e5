//! What a GET wants.

use cupola_alert::AlertFilter;
use cupola_config::matchers::{MatcherMode, parse_matcher};
use cupola_goregex::Regex;
use cupola_model::Matcher;

use super::refusal::Refusal;
use crate::api::params::Params;

/// Which alerts.
pub(super) fn filter(params: &Params, mode: MatcherMode) -> Result<AlertFilter, Refusal> {
    let receiver = match params.get("receiver") {
        "" => None,
        text => {
            let regex = Regex::anchored_no_newline(text);
            Some(regex.map_err(|e| Refusal::bad(format!("failed to parse receiver param: {e}")))?)
        }
    };
    Ok(AlertFilter {
        active: switch(params, "active"),
        silenced: switch(params, "silenced"),
        inhibited: switch(params, "inhibited"),
        muted: switch(params, "muted"),
        matchers: matchers(params, "filter", mode)?,
        receiver,
        receiver_matchers: matchers(params, "receiver_matchers", mode)?,
    })
}

/// The matchers that a parameter gives, one each time.
pub(super) fn matchers(params: &Params, name: &str, mode: MatcherMode) -> Result<Vec<Matcher>, Refusal> {
    let mut all = Vec::new();
    for text in params.all(name) {
        let parsed = parse_matcher(text, mode).map_err(|e| Refusal::bad(e.to_string()))?;
        all.extend(parsed.matchers);
    }
    Ok(all)
}

/// A switch that is on unless it is given; go-openapi takes what it does not know for off.
pub(super) fn switch(params: &Params, name: &str) -> bool {
    let text = params.get(name).to_lowercase();
    let on = [
        "", "true", "1", "yes", "ok", "y", "on", "selected", "checked", "t", "enabled",
    ];
    on.contains(&text.as_str())
}

/// Whether a text is a UUID, in any of the cases of its letters.
pub(super) fn is_uuid(text: &str) -> bool {
    let lengths = [8, 4, 4, 4, 12];
    let parts: Vec<&str> = text.split('-').collect();
    parts.len() == lengths.len()
        && parts
            .iter()
            .zip(lengths)
            .all(|(part, length)| part.len() == length && part.bytes().all(|b| b.is_ascii_hexdigit()))
}
