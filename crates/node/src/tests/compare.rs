//! Two expositions, taken apart far enough to be compared.

use std::collections::BTreeMap;

use cupola_exposition::{Entry, Format, MetricType, Parser};

#[derive(Debug, Default)]
pub(super) struct Family {
    pub(super) kind: Option<MetricType>,
    pub(super) help: Option<String>,
    // Labels as text, and the value.
    pub(super) samples: BTreeMap<String, f64>,
}

/// The families by name. Fails on a body that does not parse, and on a series that comes twice.
pub(super) fn families(body: &str) -> BTreeMap<String, Family> {
    let mut out: BTreeMap<String, Family> = BTreeMap::new();
    let mut headers = Vec::new();
    for entry in Parser::new(Format::Text, body.as_bytes()) {
        match entry.unwrap_or_else(|e| panic!("{e}")) {
            Entry::Help { name, text } => {
                out.entry(name.into_owned()).or_default().help = Some(text.into_owned());
            }
            Entry::Type { name, kind } => {
                headers.push(name.to_string());
                out.entry(name.into_owned()).or_default().kind = Some(kind);
            }
            Entry::Sample(sample) => {
                let labels = sample.series.labels();
                let name = labels.metric_name().to_owned();
                let family = out.entry(name).or_default();
                let before = family.samples.insert(labels.to_string(), sample.value);
                assert_eq!(before, None, "series comes twice: {labels}");
            }
            Entry::Unit { .. } | Entry::Comment(_) => {}
        }
    }
    let count = headers.len();
    headers.sort_unstable();
    headers.dedup();
    assert_eq!(headers.len(), count, "a family comes twice");
    out
}

/// What differs between the two, one line each.
pub(super) fn differences(name: &str, expected: &Family, got: Option<&Family>) -> Vec<String> {
    let Some(got) = got else {
        return vec![format!("{name}: missing")];
    };
    let mut out = Vec::new();
    if expected.kind != got.kind {
        out.push(format!("{name}: type {:?}, expected {:?}", got.kind, expected.kind));
    }
    if expected.help != got.help {
        out.push(format!("{name}: help {:?}, expected {:?}", got.help, expected.help));
    }
    for (labels, value) in &expected.samples {
        match got.samples.get(labels) {
            None => out.push(format!("{labels}: missing, expected {value}")),
            Some(g) if (g - value).abs() <= 1e-9 * value.abs().max(1.0) || (g.is_nan() && value.is_nan()) => {}
            Some(g) => out.push(format!("{labels}: {g}, expected {value}")),
        }
    }
    for labels in got
        .samples
        .keys()
        .filter(|labels| !expected.samples.contains_key(*labels))
    {
        out.push(format!("{labels}: not expected"));
    }
    out
}
