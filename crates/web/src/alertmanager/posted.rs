//! What is posted: alerts and silences, read as go-openapi and Alertmanager's handlers read them.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;

use cupola_alert::{RawMatcher, Saying, SilenceRequest};
use cupola_model::{Alert, Labels, MatchOp, go_quote, is_valid_label_name, is_valid_legacy_label_name};
use serde::Deserialize;
use serde::de::{Deserializer, MapAccess, Visitor};

use super::refusal::Refusal;

/// Alerts, and why others are refused.
#[derive(Debug)]
pub(super) struct Posted {
    pub alerts: Vec<Alert>,
    pub refused: Vec<String>,
}

// A text that lies in the body where it has no escapes.
#[derive(Debug)]
struct Text<'a>(Cow<'a, str>);

impl<'de: 'a, 'a> Deserialize<'de> for Text<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct TextVisitor;

        impl<'de> Visitor<'de> for TextVisitor {
            type Value = Text<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a string")
            }

            fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Self::Value, E> {
                Ok(Text(Cow::Borrowed(text)))
            }

            fn visit_str<E>(self, text: &str) -> Result<Self::Value, E> {
                Ok(Text(Cow::Owned(text.to_owned())))
            }
        }

        deserializer.deserialize_str(TextVisitor)
    }
}

// Names and values in the order of the body.
#[derive(Debug)]
struct Pairs<'a>(Vec<(Text<'a>, Text<'a>)>);

impl<'de: 'a, 'a> Deserialize<'de> for Pairs<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct PairsVisitor;

        impl<'de> Visitor<'de> for PairsVisitor {
            type Value = Pairs<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object of strings")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut pairs = Vec::with_capacity(12);
                // For Go null is the empty text, and that is no label.
                while let Some((name, value)) = map.next_entry::<_, Option<_>>()? {
                    pairs.push((name, value.unwrap_or(Text(Cow::Borrowed("")))));
                }
                Ok(Pairs(pairs))
            }
        }

        deserializer.deserialize_map(PairsVisitor)
    }
}

impl Pairs<'_> {
    fn labels(&self) -> Labels {
        Labels::from_pairs(self.0.iter().map(|(name, value)| (&name.0, &value.0)))
    }

    fn map(self) -> BTreeMap<String, String> {
        let owned = self.0.into_iter();
        owned
            .map(|(name, value)| (name.0.into_owned(), value.0.into_owned()))
            .collect()
    }
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct PostedAlert<'a> {
    #[serde(borrow)]
    labels: Option<Pairs<'a>>,
    #[serde(borrow)]
    annotations: Option<Pairs<'a>>,
    #[serde(borrow)]
    starts_at: Option<Text<'a>>,
    #[serde(borrow)]
    ends_at: Option<Text<'a>>,
    #[serde(borrow, rename = "generatorURL")]
    generator_url: Option<Text<'a>>,
}

/// Reads a body of alerts. `legacy_names`: only label names that Prometheus 2 knew.
pub(super) fn alerts(body: &[u8], now: i64, legacy_names: bool) -> Result<Posted, Refusal> {
    let posted: Option<Vec<Option<PostedAlert<'_>>>> = parsed(body, "alerts")?;
    let posted = posted.unwrap_or_default();
    // The form of all of them is looked at before any of them counts.
    let mut read = Vec::with_capacity(posted.len());
    for (index, alert) in posted.iter().enumerate() {
        let Some(alert) = alert else { continue };
        let starts_at = time(alert.starts_at.as_ref(), "alerts")?;
        let ends_at = time(alert.ends_at.as_ref(), "alerts")?;
        let url = alert.generator_url.as_ref().map_or("", |url| &url.0);
        if !url.is_empty() && !is_request_uri(url) {
            let message = format!("{index}.generatorURL in body must be of type uri: {}", go_quote(url));
            return Err(Refusal::schema(601, message));
        }
        let Some(labels) = &alert.labels else {
            return Err(Refusal::schema(602, format!("{index}.labels in body is required")));
        };
        read.push((alert, labels, starts_at, ends_at, url));
    }
    let mut out = Posted {
        alerts: Vec::with_capacity(read.len()),
        refused: Vec::new(),
    };
    for (alert, pairs, starts_at, ends_at, url) in read {
        // Where only the end is known it stands for the begin, too, as in Alertmanager.
        let starts_at = starts_at.or(ends_at).unwrap_or(now);
        let alert = Alert {
            labels: pairs.labels(),
            annotations: alert.annotations.as_ref().map_or_else(Labels::empty, Pairs::labels),
            starts_at,
            ends_at,
            generator_url: url.to_owned(),
        };
        match refused(&alert, legacy_names) {
            None => out.alerts.push(alert),
            Some(reason) => out.refused.push(reason),
        }
    }
    Ok(out)
}

/// What is posted to have a receiver tested: its name, and what is said instead of that it is a test.
#[derive(Debug, Deserialize)]
pub(super) struct ReceiverTest {
    pub receiver: Option<String>,
    #[serde(default)]
    pub labels: BTreeMap<String, String>,
    #[serde(default)]
    pub annotations: BTreeMap<String, String>,
}

/// Reads the body of a test of a receiver.
pub(super) fn receiver_test(body: &[u8], legacy_names: bool) -> Result<(String, Saying), Refusal> {
    let posted: Option<ReceiverTest> = parsed(body, "test")?;
    let required = || Refusal::schema(602, "receiver in body is required".to_owned());
    let posted = posted.ok_or_else(required)?;
    let receiver = posted.receiver.ok_or_else(required)?;
    let alert = Alert {
        labels: Labels::from_pairs(&posted.labels),
        annotations: Labels::from_pairs(&posted.annotations),
        starts_at: 0,
        ends_at: None,
        generator_url: String::new(),
    };
    match refused(&alert, legacy_names) {
        Some(reason) if !alert.labels.is_empty() => Err(Refusal::Text(axum::http::StatusCode::BAD_REQUEST, reason)),
        _ => Ok((
            receiver,
            Saying {
                labels: posted.labels,
                annotations: posted.annotations,
            },
        )),
    }
}

fn refused(alert: &Alert, legacy_names: bool) -> Option<String> {
    let is_valid = if legacy_names {
        is_valid_legacy_label_name
    } else {
        is_valid_label_name
    };
    let bad = |labels: &Labels| {
        let bad = labels.iter().find(|(name, _)| !is_valid(name));
        bad.map(|(name, _)| format!("invalid name {}", go_quote(name)))
    };
    if alert.ends_at.is_some_and(|end| end < alert.starts_at) {
        return Some("start time must be before end time".to_owned());
    }
    if let Some(reason) = bad(&alert.labels) {
        return Some(format!("invalid label set: {reason}"));
    }
    if alert.labels.is_empty() {
        return Some("at least one label pair required".to_owned());
    }
    bad(&alert.annotations).map(|reason| format!("invalid annotations: {reason}"))
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct PostedSilence<'a> {
    #[serde(borrow)]
    id: Option<Text<'a>>,
    matchers: Option<Vec<PostedMatcher>>,
    // Ours: all sets, where there are several. Whoever changes a silence sends back what was shown.
    matcher_sets: Option<Vec<Vec<PostedMatcher>>>,
    #[serde(borrow)]
    starts_at: Option<Text<'a>>,
    #[serde(borrow)]
    ends_at: Option<Text<'a>>,
    created_by: Option<String>,
    comment: Option<String>,
    #[serde(borrow)]
    annotations: Option<Pairs<'a>>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct PostedMatcher {
    name: Option<String>,
    value: Option<String>,
    is_regex: Option<bool>,
    is_equal: Option<bool>,
}

impl PostedMatcher {
    fn read(self, index: usize) -> Result<RawMatcher, Refusal> {
        let required = |field: &str| Refusal::schema(602, format!("matchers.{index}.{field} in body is required"));
        let is_regex = self.is_regex.ok_or_else(|| required("isRegex"))?;
        let name = self.name.ok_or_else(|| required("name"))?;
        let value = self.value.ok_or_else(|| required("value"))?;
        let op = match (is_regex, self.is_equal.unwrap_or(true)) {
            (false, true) => MatchOp::Equal,
            (false, false) => MatchOp::NotEqual,
            (true, true) => MatchOp::Regex,
            (true, false) => MatchOp::NotRegex,
        };
        Ok((name, op, value))
    }
}

/// Reads a body with a silence.
pub(super) fn silence(body: &[u8], now: i64) -> Result<SilenceRequest, Refusal> {
    let posted: PostedSilence<'_> = parsed(body, "silence")?;
    let starts_at = time(posted.starts_at.as_ref(), "silence")?;
    let ends_at = time(posted.ends_at.as_ref(), "silence")?;
    // In go-openapi's order: by the names of the fields.
    let required = |field: &str| Refusal::schema(602, format!("{field} in body is required"));
    let comment = posted.comment.ok_or_else(|| required("comment"))?;
    let created_by = posted.created_by.ok_or_else(|| required("createdBy"))?;
    posted.ends_at.ok_or_else(|| required("endsAt"))?;
    let matchers = posted.matchers.ok_or_else(|| required("matchers"))?;
    let matchers = self::matchers(matchers)?;
    let mut further_sets = Vec::new();
    if let Some(sets) = posted.matcher_sets.filter(|sets| !sets.is_empty()) {
        let sets = sets.into_iter().map(self::matchers);
        further_sets = sets.collect::<Result<Vec<_>, _>>()?;
        if further_sets.remove(0) != matchers {
            let message = "matcherSets in body should begin with what matchers has";
            return Err(Refusal::schema(606, message));
        }
    }
    posted.starts_at.ok_or_else(|| required("startsAt"))?;
    // Go's zero time is before every other.
    let ends_at = ends_at.unwrap_or(i64::MIN);
    if starts_at.unwrap_or(i64::MIN) >= ends_at {
        return Err(Refusal::bad(
            "Failed to create silence: start time must be before end time",
        ));
    }
    if ends_at < now {
        return Err(Refusal::bad("Failed to create silence: end time can't be in the past"));
    }
    Ok(SilenceRequest {
        id: posted.id.map(|id| id.0.into_owned()).unwrap_or_default(),
        matchers,
        further_sets,
        starts_at,
        ends_at,
        created_by,
        comment,
        annotations: posted.annotations.map(Pairs::map).unwrap_or_default(),
    })
}

fn unreadable(what: &str, reason: &dyn fmt::Display) -> Refusal {
    Refusal::schema(400, format!("parsing {what} body from \"\" failed, because {reason}"))
}

/// Reads a body of JSON.
pub(super) fn parsed<'a, T: Deserialize<'a>>(body: &'a [u8], what: &str) -> Result<T, Refusal> {
    serde_json::from_slice(body).map_err(|error| unreadable(what, &error))
}

/// A moment that is given or not, as the silences' are.
pub(super) fn moment(text: Option<&str>, what: &str) -> Result<Option<i64>, Refusal> {
    let text = text.map(|text| Text(Cow::Borrowed(text)));
    time(text.as_ref(), what)
}

/// Reads the matchers of a silence; there must be some.
pub(super) fn matchers(posted: Vec<PostedMatcher>) -> Result<Vec<RawMatcher>, Refusal> {
    if posted.is_empty() {
        let message = "matchers in body should have at least 1 items";
        return Err(Refusal::schema(612, message));
    }
    posted.into_iter().enumerate().map(|(index, m)| m.read(index)).collect()
}

// Milliseconds; `None` where there is no time, or Go's zero time, which stands for none.
fn time(text: Option<&Text<'_>>, what: &str) -> Result<Option<i64>, Refusal> {
    const GO_ZERO_MS: i64 = -62_135_596_800_000;
    let Some(text) = text.map(|t| &*t.0).filter(|t| !t.is_empty()) else {
        return Ok(None);
    };
    let parsed = text.parse::<jiff::Timestamp>().or_else(|error| {
        // go-openapi also takes a time without a zone, for UTC.
        let local = text.parse::<jiff::civil::DateTime>().map_err(|_| error)?;
        Ok::<_, jiff::Error>(local.to_zoned(jiff::tz::TimeZone::UTC)?.timestamp())
    });
    match parsed {
        Ok(time) => Ok(Some(time.as_millisecond()).filter(|ms| *ms != GO_ZERO_MS)),
        Err(_) => {
            let quoted = go_quote(text);
            let reason = format!("parsing time {quoted} as \"2006-01-02 15:04:05\": cannot parse {quoted} as \"2006\"");
            Err(unreadable(what, &reason))
        }
    }
}

// Go's url.ParseRequestURI: a path, or a scheme and something.
fn is_request_uri(text: &str) -> bool {
    if text.bytes().any(|b| b < 0x20 || b == 0x7f) {
        return false;
    }
    if text.starts_with('/') {
        return true;
    }
    let Some((scheme, rest)) = text.split_once(':') else {
        return false;
    };
    let is_scheme = scheme.starts_with(|c: char| c.is_ascii_alphabetic())
        && scheme
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'+' | b'-' | b'.'));
    let host = rest
        .strip_prefix("//")
        .map(|rest| rest.split(['/', '?', '#']).next().unwrap_or(""));
    is_scheme && host.is_none_or(|host| !host.contains([' ', '"', '<', '>', '\\', '^', '`', '{', '|', '}']))
}
