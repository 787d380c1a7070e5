//! `promtool check metrics`: what is unusual about the metrics of a target (client_golang's `promlint`, as Prometheus
//! 3.14 has it).

use std::collections::BTreeMap;
use std::io;

use cupola_exposition::{Entry, Format, LabelPairs, MetricType, Parser};
use cupola_model::go_quote;

use super::text_check::checked;
use super::{FAILURE, Io};

// Something is unusual.
const LINT_FAILURE: u8 = 3;

/// Reads metrics in the text format from the standard input and tells what is unusual, where that is wanted; with
/// `is_extended`, how many series each metric has, too.
pub(super) fn check(is_extended: bool, is_linted: bool, io: &mut Io<'_>) -> io::Result<u8> {
    if !is_extended && !is_linted {
        writeln!(io.err, "error: at least one of --extended or linting must be enabled")?;
        let advice = "Use --extended for cardinality analysis, or remove --lint=none to enable linting";
        writeln!(io.err, "{advice}")?;
        return Ok(FAILURE);
    }
    let mut body = Vec::new();
    io.input.read_to_end(&mut body)?;
    let families = match families(&body) {
        Ok(families) => families,
        Err(error) => {
            let doing = if is_linted {
                "linting"
            } else {
                "parsing text to metric families"
            };
            writeln!(io.err, "error while {doing}: text format parsing error in {error}")?;
            return Ok(FAILURE);
        }
    };
    let mut problems: Vec<(&str, String)> = Vec::new();
    for (name, family) in families.iter().filter(|_| is_linted) {
        problems.extend(family.problems(name).into_iter().map(|text| (name.as_str(), text)));
    }
    problems.sort();
    for (name, text) in &problems {
        writeln!(io.err, "{name} {text}")?;
    }
    if is_extended {
        write_sizes(&families, io)?;
    }
    Ok(if problems.is_empty() { 0 } else { LINT_FAILURE })
}

#[derive(Default)]
struct Family {
    kind: MetricType,
    has_help: bool,
    series: usize,
    // Of each series.
    label_names: Vec<String>,
}

type Families = BTreeMap<String, Family>;

fn families(body: &[u8]) -> Result<Families, String> {
    let body = checked(body)?;
    let mut all = Families::new();
    for entry in Parser::new(Format::Text, &body) {
        match entry.map_err(|error| error.to_string())? {
            Entry::Help { name, text } => all.entry(name.into_owned()).or_default().has_help = !text.is_empty(),
            Entry::Type { name, kind } => all.entry(name.into_owned()).or_default().kind = kind,
            Entry::Sample(sample) => {
                let labels = sample.series.labels();
                let name = labels.value(cupola_model::METRIC_NAME);
                let family = all
                    .entry(family_of(name, |name| all.get(name).map(|family| family.kind)).to_owned())
                    .or_default();
                family.series += 1;
                let mut pairs = LabelPairs::new();
                sample.series.labels_into(true, &mut pairs);
                let mut sorted: Vec<&str> = pairs.iter().map(|(label, _)| label.as_ref()).collect();
                sorted.sort_unstable();
                let twice = sorted.windows(2).find_map(|pair| match pair {
                    [a, b] if a == b => Some(*a),
                    _ => None,
                });
                if let Some(label) = twice {
                    return Err(if label == cupola_model::METRIC_NAME {
                        format!("metric {}: label name \"__name__\" is reserved", go_quote(name))
                    } else {
                        format!("duplicate label names for metric {}", go_quote(name))
                    });
                }
                let bound = match family.kind {
                    MetricType::Histogram => Some("le"),
                    MetricType::Summary => Some("quantile"),
                    _ => None,
                };
                if let Some(bound) = bound
                    && sorted.contains(&bound)
                    && cupola_model::parse_f64(labels.value(bound)).is_none()
                {
                    let value = go_quote(labels.value(bound));
                    return Err(format!("expected float as value for '{bound}' label, got {value}"));
                }
                let is_part = |label: &str| match family.kind {
                    MetricType::Histogram => label == "le",
                    MetricType::Summary => label == "quantile",
                    _ => false,
                };
                let names = labels.iter().map(|(label, _)| label.to_owned());
                let names = names.filter(|label| label != cupola_model::METRIC_NAME && !is_part(label));
                family.label_names.extend(names);
            }
            Entry::Unit { .. } | Entry::Comment(_) => {}
        }
    }
    all.retain(|_, family| family.series > 0);
    Ok(all)
}

/// The family that a series of this name belongs to; `kind_of` is what is known of families so far.
pub(super) fn family_of(name: &str, kind_of: impl Fn(&str) -> Option<MetricType>) -> &str {
    if kind_of(name).is_some() {
        return name;
    }
    let is = |name: &str, kind| kind_of(name) == Some(kind);
    for suffix in ["_count", "_sum", "_bucket"] {
        if let Some(stem) = name.strip_suffix(suffix)
            && (is(stem, MetricType::Histogram) || (suffix != "_bucket" && is(stem, MetricType::Summary)))
        {
            return stem;
        }
    }
    name
}

const UNITS: [(&str, &str); 25] = [
    ("amperes", "amperes"),
    ("bytes", "bytes"),
    ("celsius", "celsius"),
    ("grams", "grams"),
    ("joules", "joules"),
    ("kelvin", "kelvin"),
    ("meters", "meters"),
    ("metres", "metres"),
    ("seconds", "seconds"),
    ("volts", "volts"),
    ("minutes", "seconds"),
    ("hours", "seconds"),
    ("days", "seconds"),
    ("weeks", "seconds"),
    ("kelvins", "kelvin"),
    ("fahrenheit", "celsius"),
    ("rankine", "celsius"),
    ("inches", "meters"),
    ("yards", "meters"),
    ("miles", "meters"),
    ("bits", "bytes"),
    ("calories", "joules"),
    ("pounds", "grams"),
    ("ounces", "grams"),
    ("moles", "moles"),
];

const PREFIXES: [&str; 18] = [
    "pico", "nano", "micro", "milli", "centi", "deci", "deca", "hecto", "kilo", "kibi", "mega", "mibi", "giga", "gibi",
    "tera", "tebi", "peta", "pebi",
];

const ABBREVIATIONS: [&str; 14] = [
    "s", "ms", "us", "ns", "sec", "b", "kb", "mb", "gb", "tb", "pb", "m", "h", "d",
];

// The first unit in a name, and the one that is to be used for it.
fn unit(name: &str) -> Option<(&str, &'static str)> {
    let base = |word: &str| UNITS.iter().find(|(unit, _)| *unit == word).map(|(_, base)| *base);
    name.split('_').find_map(|word| {
        let prefixed = || PREFIXES.iter().find_map(|prefix| base(word.strip_prefix(prefix)?));
        Some((word, base(word).or_else(prefixed)?))
    })
}

fn has_word(name: &str, word: &str) -> bool {
    name.contains(&format!("_{word}_")) || name.ends_with(&format!("_{word}"))
}

fn is_camel_case(name: &str) -> bool {
    let mut pairs = name.as_bytes().windows(2);
    pairs.any(|pair| matches!(pair, [before, after] if before.is_ascii_lowercase() && after.is_ascii_uppercase()))
}

impl Family {
    fn problems(&self, name: &str) -> Vec<String> {
        let mut problems = Vec::new();
        let mut when = |is_so: bool, text: &str| {
            if is_so {
                problems.push(text.to_owned());
            }
        };
        when(!self.has_help, "no help text");
        let (is_histogram, is_summary) = (self.kind == MetricType::Histogram, self.kind == MetricType::Summary);
        let (is_counter, is_typed) = (self.kind == MetricType::Counter, self.kind != MetricType::Unknown);
        let is_total = name.ends_with("_total");
        when(is_counter && !is_total, "counter metrics should have \"_total\" suffix");
        when(
            is_typed && !is_counter && is_total,
            "non-counter metrics should not have \"_total\" suffix",
        );
        if is_typed {
            when(
                !is_histogram && name.ends_with("_bucket"),
                "non-histogram metrics should not have \"_bucket\" suffix",
            );
            for suffix in ["_count", "_sum"] {
                let text = format!("non-histogram and non-summary metrics should not have \"{suffix}\" suffix");
                when(!is_histogram && !is_summary && name.ends_with(suffix), &text);
            }
            for label in &self.label_names {
                when(
                    !is_histogram && label == "le",
                    "non-histogram metrics should not have \"le\" label",
                );
                when(
                    !is_summary && label == "quantile",
                    "non-summary metrics should not have \"quantile\" label",
                );
            }
        }
        let lower = name.to_lowercase();
        for kind in ["counter", "gauge", "summary", "histogram", "gauge_histogram"] {
            let text = format!("metric name should not include type '{kind}'");
            when(has_word(&lower, kind), &text);
        }
        when(name.contains(':'), "metric names should not contain ':'");
        when(
            is_camel_case(name),
            "metric names should be written in 'snake_case' not 'camelCase'",
        );
        for label in &self.label_names {
            when(
                is_camel_case(label),
                "label names should be written in 'snake_case' not 'camelCase'",
            );
        }
        for abbreviation in ABBREVIATIONS {
            when(
                has_word(&lower, abbreviation),
                "metric names should not contain abbreviated units",
            );
        }
        if let Some((unit, base)) = unit(name)
            && unit != base
        {
            when(true, &format!("use base unit \"{base}\" instead of \"{unit}\""));
        }
        problems
    }
}

fn write_sizes(families: &Families, io: &mut Io<'_>) -> io::Result<()> {
    let total: usize = families.values().map(|family| family.series).sum();
    let mut sizes: Vec<(&str, usize)> = families
        .iter()
        .map(|(name, family)| (name.as_str(), family.series))
        .collect();
    sizes.sort_by(|a, b| b.1.cmp(&a.1).then(a.0.cmp(b.0)));
    let share = |series: usize| 100.0 * series as f64 / total.max(1) as f64;
    let head = ["Metric", "Cardinality", "Percentage"].map(str::to_owned);
    let mut rows = vec![head];
    rows.extend(sizes.iter().map(|(name, series)| {
        let name = (*name).to_owned();
        [name, series.to_string(), format!("{:.2}%", share(*series))]
    }));
    rows.push(["Total".to_owned(), total.to_string(), "100%".to_owned()]);
    let width = |column: usize| rows.iter().map(|row| row[column].len()).max().unwrap_or(0) + 4;
    let widths = [width(0), width(1), width(2)];
    for [name, series, share] in &rows {
        let [first, second, third] = widths;
        writeln!(io.out, "{name:first$}{series:second$}{share:third$}")?;
    }
    Ok(())
}
