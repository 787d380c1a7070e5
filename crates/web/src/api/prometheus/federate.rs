//! `/federate`: the newest sample of each selected series, for another Prometheus to scrape: in the text format, or in protobuf for
//! who likes that best, which alone has native histograms.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use cupola_exposition::protobuf::FamilyWriter;
use cupola_exposition::{Format, PROTOBUF_CONTENT_TYPE, TEXT_CONTENT_TYPE, accepted, write_float};
use cupola_histogram::CounterResetHint;
use cupola_model::{
    Labels, Matcher, MetricType, is_stale_nan, is_valid_legacy_label_name, is_valid_legacy_metric_name,
};
use cupola_promql::{parse_selector, render_errors};
use cupola_storage::{Queryable, SampleValue, Samples, Selection, StorageError};
use http::StatusCode;
use http::header::ACCEPT;

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
            let config = ask.app.config.load();
            let accept = ask.headers.get(ACCEPT).and_then(|value| value.to_str().ok());
            Ok(match accepted(accept.unwrap_or("")) {
                Format::Protobuf => Answer::of(PROTOBUF_CONTENT_TYPE, protobuf(&found, &config.external_labels)),
                _ => Answer::of(TEXT_CONTENT_TYPE, exposition(&found, &config.external_labels)),
            })
        }
        Err(error) => {
            ask.ctx.telemetry.federation_errors.inc();
            Ok(Answer::text(StatusCode::INTERNAL_SERVER_ERROR, format!("{error}\n")))
        }
    }
}

// Time and value by metric name and other labels.
type Newest = BTreeMap<(String, Labels), (i64, SampleValue)>;

// The newest sample of each series, by name and labels. A series that has ended is left out: the formats have no marker for it.
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
            let float = samples.ts.last().zip(samples.values.last());
            let float = float.map(|(ts, value)| (*ts, SampleValue::Float(*value)));
            let histogram = samples.histograms.ts.last().zip(samples.histograms.values.last());
            let histogram = histogram.map(|(ts, value)| (*ts, SampleValue::Histogram(value.clone())));
            let newest = float.into_iter().chain(histogram).max_by_key(|(ts, _)| *ts);
            let is_stale = |value: &SampleValue| match value {
                SampleValue::Float(value) => is_stale_nan(*value),
                SampleValue::Histogram(histogram) => is_stale_nan(histogram.sum),
            };
            if let Some(newest) = newest.filter(|(_, value)| !is_stale(value)) {
                let key = (series.labels.metric_name().to_owned(), series.labels.without_name());
                found.insert(key, newest);
            }
        }
    }
    Ok(found)
}

// Its labels, and the external labels that it lacks. Without an `instance` label it gets an empty one, so that the scraping
// server keeps it empty.
fn labels_of<'a>(labels: &'a Labels, external: &'a Labels) -> Vec<(&'a str, &'a str)> {
    let mut seen_instance = false;
    let added = external
        .iter()
        .chain([("instance", "")])
        .filter(|(name, _)| labels.get(name).is_none());
    let all = labels.iter().chain(added).filter(|(name, _)| {
        let again = *name == "instance" && seen_instance;
        seen_instance |= *name == "instance";
        !again
    });
    all.collect()
}

// One family after the other; a name of which there are numbers, histograms and gauge histograms comes in a family for each
// stretch of a kind, as upstream writes it.
fn protobuf(found: &Newest, external: &Labels) -> Vec<u8> {
    let mut writer = FamilyWriter::new();
    let mut last = None;
    for ((name, labels), (ts, value)) in found.iter().filter(|((name, _), _)| !name.is_empty()) {
        let kind = match value {
            SampleValue::Float(_) => MetricType::Unknown,
            // Their bounds could not be told.
            SampleValue::Histogram(histogram) if !histogram.custom_values.is_empty() => continue,
            SampleValue::Histogram(histogram) => match histogram.counter_reset_hint {
                CounterResetHint::Gauge => MetricType::GaugeHistogram,
                _ => MetricType::Histogram,
            },
        };
        if last != Some((name, kind)) {
            writer.family(name, "", kind);
            last = Some((name, kind));
        }
        writer.time(*ts);
        let pairs = labels_of(labels, external);
        match value {
            SampleValue::Float(value) => writer.number(&pairs, *value, None),
            SampleValue::Histogram(histogram) => writer.float_histogram(&pairs, histogram),
        }
    }
    writer.finish()
}

// Native histograms are left out: the format has none.
fn exposition(found: &Newest, external: &Labels) -> Vec<u8> {
    let mut out = Vec::new();
    let mut last = "";
    for ((name, labels), (ts, value)) in found.iter().filter(|((name, _), _)| !name.is_empty()) {
        let SampleValue::Float(value) = value else { continue };
        if name != last {
            out.extend_from_slice(format!("# TYPE {} untyped\n", metric_name(name)).as_bytes());
            last = name;
        }
        let mut line = String::new();
        let is_plain = is_valid_legacy_metric_name(name);
        line.push_str(if is_plain { name } else { "" });
        line.push('{');
        if !is_plain {
            line.push_str(&quoted(name));
        }
        for (i, (name, value)) in labels_of(labels, external).into_iter().enumerate() {
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
    use std::sync::Arc;

    use super::*;
    use cupola_exposition::protobuf::{Wanted, decode};
    use cupola_histogram::{FloatHistogram, NativeHistogram};
    use expect_test::expect;

    #[test]
    fn series_are_written_by_name_with_external_labels() {
        let found = BTreeMap::from([
            (
                ("up".to_owned(), Labels::from_pairs([("job", "b"), ("instance", "i")])),
                (2_000, SampleValue::Float(0.0)),
            ),
            (
                ("up".to_owned(), Labels::from_pairs([("job", "a\"\\\n")])),
                (1_000, SampleValue::Float(1.0)),
            ),
            (
                ("a.b".to_owned(), Labels::from_pairs([("x.y", "1"), ("dc", "own")])),
                (3_000, SampleValue::Float(f64::INFINITY)),
            ),
            (
                (String::new(), Labels::from_pairs([("no", "name")])),
                (1, SampleValue::Float(1.0)),
            ),
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
        let decoded = decode(
            &protobuf(&found, &Labels::from_pairs([("dc", "eu")])),
            Wanted::default(),
        )
        .unwrap();
        expect![[r#"
            # TYPE "a.b" unknown
            {"a.b",dc="own","x.y"="1",instance=""} +Inf 3.0005
            # TYPE up unknown
            up{instance="i",job="b",dc="eu"} 0 2.0005
            up{job="a\"\\\n",dc="eu",instance=""} 1 1.0005
            # EOF
        "#]]
        .assert_eq(std::str::from_utf8(decoded.text()).unwrap());
        let external = Labels::from_pairs([("instance", "me")]);
        let text = String::from_utf8(exposition(&found, &external)).unwrap();
        assert!(
            text.contains("up{job=\"a\\\"\\\\\\n\",instance=\"me\"} 1 1000\n"),
            "{text}"
        );
    }
    #[test]
    fn histograms_are_written_in_protobuf_in_families_of_their_own() {
        let histogram = |counter_reset_hint| {
            SampleValue::Histogram(Arc::new(FloatHistogram {
                counter_reset_hint,
                count: 2.5,
                zero_count: 2.5,
                zero_threshold: 1.0,
                ..FloatHistogram::default()
            }))
        };
        let custom = SampleValue::Histogram(Arc::new(FloatHistogram {
            custom_values: Arc::from([1.0]),
            schema: -53,
            ..FloatHistogram::default()
        }));
        let series = |x: &str, value| (("h".to_owned(), Labels::from_pairs([("x", x)])), (1_000, value));
        let found = BTreeMap::from([
            series("1", histogram(CounterResetHint::Unknown)),
            series("2", SampleValue::Float(1.0)),
            series("3", histogram(CounterResetHint::Gauge)),
            series("4", histogram(CounterResetHint::NotCounterReset)),
            series("5", custom),
        ]);
        let wanted = Wanted {
            native: true,
            classic_too: false,
        };
        let decoded = decode(&protobuf(&found, &Labels::empty()), wanted).unwrap();
        let natives = decoded.natives().map(|native| {
            let NativeHistogram::Float(histogram) = native.histogram else {
                return String::new();
            };
            let (labels, kind) = (native.series.labels(), native.series.kind().name());
            format!("{labels} {kind} {} @{:?}", histogram.count, native.timestamp_ms)
        });
        expect![[r#"
            {__name__="h", x="1"} histogram 2.5 @Some(1000)
            {__name__="h", x="3"} gaugehistogram 2.5 @Some(1000)
            {__name__="h", x="4"} histogram 2.5 @Some(1000)"#]]
        .assert_eq(&natives.collect::<Vec<_>>().join("\n"));
        let text = std::str::from_utf8(decoded.text()).unwrap();
        assert!(text.contains("h{x=\"2\",instance=\"\"} 1 1.0005\n"), "{text}");
        let text = String::from_utf8(exposition(&found, &Labels::empty())).unwrap();
        assert_eq!(text, "# TYPE h untyped\nh{x=\"2\",instance=\"\"} 1 1000\n");
    }
}
