//! `/federate`: the newest sample of each selected series in the text format, for another Prometheus to scrape.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use cupola_exposition::{TEXT_CONTENT_TYPE, write_float};
use cupola_model::{Labels, Matcher, is_stale_nan, is_valid_legacy_label_name, is_valid_legacy_metric_name};
use cupola_promql::{parse_selector, render_errors};
use cupola_storage::{Queryable, Samples, Selection, StorageError};
use http::StatusCode;

use crate::api::answer::Ask;
use crate::api::json::{Answer, ApiError};

pub(super) fn federate(ask: &Ask<'_>) -> Result<Answer, ApiError> {
    let mut selectors = Vec::new();
    for text in ask.params.all("match[]") {
        match parse_selector(text) {
            Ok(matchers) => selectors.push(matchers),
            Err(errors) => {
                let reason = format!("{}\n", render_errors(text, &errors));
                return Ok(Answer::text(StatusCode::BAD_REQUEST, reason));
            }
        }
    }
    let now = ask.app.clock.now_ms();
    let since = now - ask.app.engine.options().lookback_delta_ms;
    match newest(&*ask.app.storage, &selectors, since, now) {
        Ok(found) => {
            let body = exposition(&found, &ask.app.config.load().external_labels);
            Ok(Answer::of(TEXT_CONTENT_TYPE, body))
        }
        Err(error) => {
            ask.ctx.telemetry.federation_errors.inc();
            Ok(Answer::text(StatusCode::INTERNAL_SERVER_ERROR, format!("{error}\n")))
        }
    }
}

// Time and value by metric name and other labels.
type Newest = BTreeMap<(String, Labels), (i64, f64)>;

// The newest sample of each series, by name and labels. A series that has ended is left out: the format has no marker
// for it.
fn newest(storage: &dyn Queryable, selectors: &[Vec<Matcher>], since: i64, now: i64) -> Result<Newest, StorageError> {
    let mut found = BTreeMap::new();
    let mut samples = Samples::default();
    for matchers in selectors {
        for series in storage.select(&Selection {
            matchers,
            mint: since,
            maxt: now,
        })? {
            samples.clear();
            series.source.read(since, now, &mut samples)?;
            if let (Some(ts), Some(value)) = (samples.ts.last(), samples.values.last())
                && !is_stale_nan(*value)
            {
                found.insert(
                    (series.labels.metric_name().to_owned(), series.labels.without_name()),
                    (*ts, *value),
                );
            }
        }
    }
    Ok(found)
}

// Each series gets the external labels that it lacks. Without an `instance` label it gets an empty one, so that the
// scraping server keeps it empty.
fn exposition(found: &Newest, external: &Labels) -> Vec<u8> {
    let mut out = Vec::new();
    let mut last = "";
    for ((name, labels), (ts, value)) in found.iter().filter(|((name, _), _)| !name.is_empty()) {
        if name != last {
            out.extend_from_slice(format!("# TYPE {} untyped\n", metric_name(name)).as_bytes());
            last = name;
        }
        let added = external
            .iter()
            .chain([("instance", "")])
            .filter(|(name, _)| labels.get(name).is_none());
        let mut seen_instance = false;
        let pairs = labels.iter().chain(added).filter(|(name, _)| {
            let again = *name == "instance" && seen_instance;
            seen_instance |= *name == "instance";
            !again
        });
        let mut line = String::new();
        let is_plain = is_valid_legacy_metric_name(name);
        line.push_str(if is_plain { name } else { "" });
        line.push('{');
        if !is_plain {
            line.push_str(&quoted(name));
        }
        for (i, (name, value)) in pairs.enumerate() {
            line.push_str(if i > 0 || !is_plain { "," } else { "" });
            let name = if is_valid_legacy_label_name(name) {
                name.to_owned()
            } else {
                quoted(name)
            };
            let _ = write!(line, "{name}={}", quoted(value));
        }
        line.push_str("} ");
        out.extend_from_slice(line.as_bytes());
        write_float(&mut out, *value);
        out.extend_from_slice(format!(" {ts}\n").as_bytes());
    }
    out
}

fn metric_name(name: &str) -> String {
    if is_valid_legacy_metric_name(name) {
        name.to_owned()
    } else {
        quoted(name)
    }
}

fn quoted(text: &str) -> String {
    format!(
        "\"{}\"",
        text.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use expect_test::expect;

    #[test]
    fn series_are_written_by_name_with_external_labels() {
        let found = BTreeMap::from([
            (
                ("up".to_owned(), Labels::from_pairs([("job", "b"), ("instance", "i")])),
                (2_000, 0.0),
            ),
            (
                ("up".to_owned(), Labels::from_pairs([("job", "a\"\\\n")])),
                (1_000, 1.0),
            ),
            (
                ("a.b".to_owned(), Labels::from_pairs([("x.y", "1"), ("dc", "own")])),
                (3_000, f64::INFINITY),
            ),
            ((String::new(), Labels::from_pairs([("no", "name")])), (1, 1.0)),
        ]);
        let text = String::from_utf8(exposition(&found, &Labels::from_pairs([("dc", "eu")]))).unwrap();
        expect![[r#"
            # TYPE "a.b" untyped
            {"a.b",dc="own","x.y"="1",instance=""} +Inf 3000
            # TYPE up untyped
            up{instance="i",job="b",dc="eu"} 0 2000
            up{job="a\"\\\n",dc="eu",instance=""} 1 1000
        "#]]
        .assert_eq(&text);
        let external = Labels::from_pairs([("instance", "me")]);
        let text = String::from_utf8(exposition(&found, &external)).unwrap();
        assert!(
            text.contains("up{job=\"a\\\"\\\\\\n\",instance=\"me\"} 1 1000\n"),
            "{text}"
        );
    }
}
