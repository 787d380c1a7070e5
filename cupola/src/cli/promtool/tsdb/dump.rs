//! `promtool tsdb dump` and `dump-openmetrics`: every sample as a line.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::{BufWriter, Write};
use std::sync::Arc;

use cupola_env::RealFs;
use cupola_model::{Labels, fmt_f64_g, go_quote, is_valid_legacy_label_name, is_valid_legacy_metric_name};
use cupola_storage::{Samples, Selection, Series};
use cupola_tsdb::ReadOnly;

use super::super::Io;
use super::{DumpFormat, Failure, RangeArgs, must_be_there, selector};

/// How a dump looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    /// `{__name__="up", job="x"} 1 1600000000000`
    Prom,
    /// Each series once, as a JSON object.
    SeriesJson,
    /// `up{job="x"} 1 1600000000.000`, and `# EOF` at the end.
    OpenMetrics,
}

impl From<DumpFormat> for Form {
    fn from(format: DumpFormat) -> Self {
        match format {
            DumpFormat::Prom => Self::Prom,
            DumpFormat::Seriesjson => Self::SeriesJson,
        }
    }
}

/// Prints the samples of all blocks and logs between two times, by series in order of labels. One block that cannot be
/// opened is a failure before anything is printed: who reads a dump takes it for all there is.
pub(super) fn dump(args: &RangeArgs, form: Form, io: &mut Io<'_>) -> Result<(), Failure> {
    must_be_there(&args.path)?;
    let folder = ReadOnly::open(&args.path, Arc::new(RealFs)).map_err(|error| Failure::Told(error.to_string()))?;
    if !folder.broken_blocks().is_empty() {
        return Err(Failure::Told(folder.broken_blocks().join("\n")));
    }
    for damage in folder.damage() {
        writeln!(io.err, "WARNING: {damage}")?;
    }
    let mut found: BTreeMap<Labels, Series> = BTreeMap::new();
    for text in &args.selectors {
        let matchers = selector(text)?;
        let selection = Selection {
            matchers: &matchers,
            mint: args.min_time,
            maxt: args.max_time,
        };
        for series in folder.select(&selection)? {
            found.entry(series.labels.clone()).or_insert(series);
        }
    }
    let mut out = BufWriter::with_capacity(1 << 16, &mut *io.out);
    let done = print(found.into_values(), args, form, &mut out);
    // What came before a fault is there.
    out.flush()?;
    done
}

fn print(
    found: impl Iterator<Item = Series>,
    args: &RangeArgs,
    form: Form,
    out: &mut impl Write,
) -> Result<(), Failure> {
    let mut samples = Samples::default();
    for series in found {
        if form == Form::SeriesJson {
            writeln!(out, "{}", json(&series.labels))?;
            continue;
        }
        samples.clear();
        let read = series.source.read(args.min_time, args.max_time, &mut samples);
        lines(&series.labels, &samples, form, out)?;
        read.map_err(|error| Failure::Told(format!("series {}: {error}", series.labels)))?;
    }
    if form == Form::OpenMetrics {
        writeln!(out, "# EOF")?;
    }
    Ok(())
}

// Floats and native histograms of a series, in order of time.
fn lines(labels: &Labels, samples: &Samples, form: Form, out: &mut impl Write) -> Result<(), Failure> {
    let head = match form {
        Form::OpenMetrics => openmetrics(labels),
        Form::Prom | Form::SeriesJson => labels.to_string(),
    };
    let mut histograms = samples.histograms.ts.iter().zip(&samples.histograms.values).peekable();
    for (ts, value) in samples.ts.iter().zip(&samples.values) {
        while let Some((at, histogram)) = histograms.next_if(|(at, _)| *at < ts) {
            histogram_line(&head, at, histogram, form, out)?;
        }
        let value = fmt_f64_g(*value);
        match form {
            Form::OpenMetrics => writeln!(out, "{head} {value} {:.3}", *ts as f64 / 1000.0)?,
            Form::Prom | Form::SeriesJson => writeln!(out, "{head} {value} {ts}")?,
        }
    }
    for (at, histogram) in histograms {
        histogram_line(&head, at, histogram, form, out)?;
    }
    Ok(())
}

fn histogram_line(
    head: &str,
    ts: &i64,
    histogram: &dyn std::fmt::Display,
    form: Form,
    out: &mut impl Write,
) -> Result<(), Failure> {
    if form == Form::OpenMetrics {
        let text = format!("series {head}: it has native histograms, which OpenMetrics has no form for");
        return Err(Failure::Told(text));
    }
    Ok(writeln!(out, "{head} {histogram} {ts}")?)
}

// Name and labels as create-blocks-from reads them again: escapes of OpenMetrics, quotes around what needs them.
fn openmetrics(labels: &Labels) -> String {
    let name = labels.metric_name();
    let is_plain = is_valid_legacy_metric_name(name);
    let mut out = if is_plain { format!("{name}{{") } else { "{".to_owned() };
    let mut separator = "";
    if !is_plain && !name.is_empty() {
        let _ = write!(out, "\"{}\"", escaped(name));
        separator = ",";
    }
    for (label, value) in labels.iter().filter(|(label, _)| *label != cupola_model::METRIC_NAME) {
        let value = escaped(value);
        let _ = if is_valid_legacy_label_name(label) {
            write!(out, "{separator}{label}=\"{value}\"")
        } else {
            write!(out, "{separator}\"{}\"=\"{value}\"", escaped(label))
        };
        separator = ",";
    }
    out.push('}');
    out
}

fn escaped(text: &str) -> String {
    text.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

// As Go's encoding/json writes it, which takes care of HTML.
fn json(labels: &Labels) -> String {
    let mut out = String::from("{");
    for (i, (name, value)) in labels.iter().enumerate() {
        let separator = if i == 0 { "" } else { "," };
        let _ = write!(out, "{separator}{}:{}", json_text(name), json_text(value));
    }
    out.push('}');
    out
}

fn json_text(text: &str) -> String {
    let quoted = serde_json::to_string(text).unwrap_or_else(|_| go_quote(text));
    let mut out = String::with_capacity(quoted.len());
    for c in quoted.chars() {
        match c {
            '<' | '>' | '&' | '\u{2028}' | '\u{2029}' => {
                let _ = write!(out, "\\u{:04x}", u32::from(c));
            }
            c => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_series_is_written_so_that_openmetrics_reads_it_again() {
        for (pairs, text) in [
            (&[("__name__", "up"), ("b", "1"), ("a", "2")][..], r#"up{a="2",b="1"}"#),
            (&[("__name__", "up")], "up{}"),
            (&[("a", "tab\t\"quote\"\\\n")], "{a=\"tab\t\\\"quote\\\"\\\\\\n\"}"),
            (
                &[("__name__", "my.metric"), ("my.label", "x")],
                r#"{"my.metric","my.label"="x"}"#,
            ),
        ] {
            let labels = Labels::from_pairs(pairs.iter().copied());
            assert_eq!(openmetrics(&labels), text);
            if labels.metric_name().is_empty() {
                continue;
            }
            let body = format!("{text} 1 1.500\n# EOF\n");
            let entries: Result<Vec<_>, _> = cupola_exposition::openmetrics::Parser::new(body.as_bytes()).collect();
            match entries.unwrap().as_slice() {
                [cupola_exposition::Entry::Sample(sample)] => assert_eq!(sample.series.labels(), labels),
                other => panic!("{text}: {other:?}"),
            }
        }
    }

    #[test]
    fn json_is_gos() {
        let labels = Labels::from_pairs([("__name__", "a"), ("b", "<&>\"\\\u{2028}é\n")]);
        assert_eq!(
            json(&labels),
            r#"{"__name__":"a","b":"\u003c\u0026\u003e\"\\\u2028é\n"}"#
        );
    }
}
