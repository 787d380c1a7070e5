//! Names of OpenTelemetry as names of Prometheus, as Prometheus 3.14 makes them (its library otlptranslator).

use cupola_model::go_quote;

/// What a metric is, as far as its name tells it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Gauge,
    Counter,
    Other,
}

// UCUM's short names, as upstream spells them out.
const UNITS: [(&str, &str); 24] = [
    ("d", "days"),
    ("h", "hours"),
    ("min", "minutes"),
    ("s", "seconds"),
    ("ms", "milliseconds"),
    ("us", "microseconds"),
    ("ns", "nanoseconds"),
    ("By", "bytes"),
    ("KiBy", "kibibytes"),
    ("MiBy", "mebibytes"),
    ("GiBy", "gibibytes"),
    ("TiBy", "tibibytes"),
    ("KBy", "kilobytes"),
    ("MBy", "megabytes"),
    ("GBy", "gigabytes"),
    ("TBy", "terabytes"),
    ("m", "meters"),
    ("V", "volts"),
    ("A", "amperes"),
    ("J", "joules"),
    ("W", "watts"),
    ("g", "grams"),
    ("Cel", "celsius"),
    ("Hz", "hertz"),
];
const PER_UNITS: [(&str, &str); 7] = [
    ("s", "second"),
    ("m", "minute"),
    ("h", "hour"),
    ("d", "day"),
    ("w", "week"),
    ("mo", "month"),
    ("y", "year"),
];

/// How names are made.
#[derive(Debug, Clone, Copy)]
pub(super) struct Namer {
    pub utf8: bool,
    pub suffixes: bool,
    /// `key` comes before a label name that begins with one underscore.
    pub key_before_underscore: bool,
    pub keep_underscores: bool,
}

impl Namer {
    /// A metric's name.
    ///
    /// # Errors
    /// Where nothing is left of it; the text is Prometheus's.
    pub(super) fn metric(&self, name: &str, unit: &str, kind: Kind) -> Result<String, String> {
        let made = match (self.utf8, self.suffixes) {
            (true, false) => name.to_owned(),
            (true, true) => with_suffixes(name, unit, kind),
            (false, suffixes) => escaped(name, unit, kind, suffixes),
        };
        check("metric", name, &made, self.utf8)?;
        Ok(made)
    }

    /// A label's name.
    ///
    /// # Errors
    /// As [`Namer::metric`].
    pub(super) fn label(&self, name: &str) -> Result<String, String> {
        let mut made = name.to_owned();
        if !self.utf8 {
            made = name
                .chars()
                .map(|c| if c.is_ascii_alphanumeric() || c == '_' { c } else { '_' })
                .collect();
            if !self.keep_underscores {
                made = match made.strip_prefix("__").and_then(|rest| rest.strip_suffix("__")) {
                    Some(inner) if !inner.is_empty() => format!("__{}__", collapse(inner)),
                    _ => collapse(&made),
                };
            }
            if made.starts_with(|c: char| c.is_ascii_digit()) {
                made.insert_str(0, "key_");
            } else if self.key_before_underscore && made.starts_with('_') && !made.starts_with("__") {
                made.insert_str(0, "key");
            }
        }
        check("label name", name, &made, self.utf8)?;
        Ok(made)
    }

    /// A unit, for metadata.
    pub(super) fn unit(&self, unit: &str) -> String {
        let (main, per) = units(unit);
        let clean = |unit: String| if self.utf8 { unit } else { clean_unit(&unit) };
        let both = match (clean(main), clean(per)) {
            (main, per) if per.is_empty() => main,
            (main, per) if main.is_empty() => per,
            (main, per) => format!("{main}_{per}"),
        };
        let both = both.strip_prefix('_').unwrap_or(&both);
        both.strip_suffix('_').unwrap_or(both).to_owned()
    }
}

fn check(what: &str, name: &str, made: &str, utf8: bool) -> Result<(), String> {
    let name = || go_quote(name);
    if made.is_empty() {
        return Err(format!("normalization for {what} {} resulted in empty name", name()));
    }
    if !utf8 && made.bytes().all(|byte| byte == b'_') {
        let made = go_quote(made);
        return Err(format!(
            "normalization for {what} {} resulted in invalid name {made}",
            name()
        ));
    }
    Ok(())
}

fn collapse(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        if c != '_' || !out.ends_with('_') {
            out.push(c);
        }
    }
    out
}

fn is_metric_char(c: char) -> bool {
    c.is_ascii_alphanumeric() || c == ':'
}

fn clean_unit(unit: &str) -> String {
    let replaced: String = unit.chars().map(|c| if is_metric_char(c) { c } else { '_' }).collect();
    let collapsed = collapse(&replaced);
    collapsed.strip_prefix('_').unwrap_or(&collapsed).to_owned()
}

// `By/s` as bytes and per_second. What stands in braces is a remark.
fn units(unit: &str) -> (String, String) {
    let (main, per) = unit.split_once('/').unwrap_or((unit, ""));
    let spelt = |unit: &str, table: &[(&str, &str)]| {
        let unit = unit.trim();
        if unit.contains(['{', '}']) {
            return String::new();
        }
        let found = table.iter().find(|(short, _)| *short == unit);
        found.map_or(unit, |(_, long)| long).to_owned()
    };
    let main = match main.trim() {
        "1" => String::new(),
        "%" => "percent".to_owned(),
        main => spelt(main, &UNITS),
    };
    let per = match spelt(per, &PER_UNITS) {
        per if per.is_empty() => per,
        per => format!("per_{per}"),
    };
    (main, per)
}

fn with_suffixes(name: &str, unit: &str, kind: Kind) -> String {
    // With what stands before it, whatever that is.
    let trim = |name: &str, suffix: &str| {
        let rest = name.strip_suffix(suffix).filter(|rest| rest.chars().count() > 1);
        let rest = rest.and_then(|rest| rest.char_indices().next_back().and_then(|(at, _)| rest.get(..at)));
        rest.unwrap_or(name).to_owned()
    };
    let mut name = name.to_owned();
    let last = match kind {
        Kind::Gauge if unit == "1" => "ratio",
        Kind::Counter => "total",
        _ => "",
    };
    if !last.is_empty() {
        name = trim(&name, last);
    }
    let (main, per) = units(unit);
    if !per.is_empty() {
        name = trim(&name, &per);
    }
    if !main.is_empty() && !name.ends_with(&main) {
        name = format!("{name}_{main}");
    }
    for suffix in [per.as_str(), last].into_iter().filter(|suffix| !suffix.is_empty()) {
        name = format!("{name}_{suffix}");
    }
    name
}

fn escaped(name: &str, unit: &str, kind: Kind, suffixes: bool) -> String {
    let is_cut = |c: char| !(is_metric_char(c) || (!suffixes && c == '_'));
    let mut tokens: Vec<&str> = name.split(is_cut).filter(|token| !token.is_empty()).collect();
    let (main, per) = units(unit);
    let (main, per) = (clean_unit(&main), clean_unit(&per));
    let mut main = main.as_str();
    let mut per = if per == "per_" {
        ""
    } else {
        per.strip_suffix('_').unwrap_or(&per)
    };
    if suffixes {
        if tokens.contains(&main) {
            main = "";
        }
        if tokens.contains(&per) {
            per = "";
        }
        if !per.is_empty() {
            main = main.strip_suffix('_').unwrap_or(main);
        }
        tokens.extend([main, per].into_iter().filter(|unit| !unit.is_empty()));
        let last = match kind {
            Kind::Counter => Some("total"),
            Kind::Gauge if unit == "1" => Some("ratio"),
            _ => None,
        };
        if let Some(last) = last {
            tokens.retain(|token| *token != last);
            tokens.push(last);
        }
    }
    let mut made = tokens.join("_");
    if made.starts_with(|c: char| c.is_ascii_digit()) {
        made.insert(0, '_');
    }
    made
}

#[cfg(test)]
mod tests {
    use super::*;

    const ESCAPED: Namer = Namer {
        utf8: false,
        suffixes: true,
        key_before_underscore: true,
        keep_underscores: true,
    };

    #[test]
    fn metrics_get_their_unit_and_kind_as_a_suffix() {
        for (name, unit, kind, expected) in [
            ("http.server.duration", "s", Kind::Other, "http_server_duration_seconds"),
            ("system.io", "foo/bar", Kind::Counter, "system_io_foo_per_bar_total"),
            ("requests.count", "1", Kind::Counter, "requests_count_total"),
            ("memory.usage", "By", Kind::Gauge, "memory_usage_bytes"),
            ("used", "1", Kind::Gauge, "used_ratio"),
            ("used.ratio.x", "1", Kind::Gauge, "used_x_ratio"),
            ("total.things", "{things}", Kind::Counter, "things_total"),
            ("net.io", "By/s", Kind::Counter, "net_io_bytes_per_second_total"),
            ("a_seconds", "s", Kind::Other, "a_seconds"),
            ("_x__y_", "", Kind::Other, "x_y"),
            ("2xx", "", Kind::Other, "_2xx"),
            ("a:b", "%", Kind::Gauge, "a:b_percent"),
            ("jvm.cpu", "{cpu}/s", Kind::Other, "jvm_cpu_per_second"),
        ] {
            assert_eq!(ESCAPED.metric(name, unit, kind).as_deref(), Ok(expected), "{name}");
        }
        let plain = Namer {
            suffixes: false,
            ..ESCAPED
        };
        assert_eq!(plain.metric("a.b_c__d", "s", Kind::Counter).as_deref(), Ok("a_b_c__d"));
        let utf8 = Namer { utf8: true, ..ESCAPED };
        for (name, unit, kind, expected) in [
            ("http.dur", "s", Kind::Other, "http.dur_seconds"),
            ("a.total", "By/s", Kind::Counter, "a_bytes_per_second_total"),
            ("ü", "1", Kind::Gauge, "ü_ratio"),
            ("x.per_second", "By/s", Kind::Other, "x_bytes_per_second"),
        ] {
            assert_eq!(utf8.metric(name, unit, kind).as_deref(), Ok(expected), "{name}");
        }
        let same = Namer {
            suffixes: false,
            ..utf8
        };
        assert_eq!(same.metric("a.b", "s", Kind::Counter).as_deref(), Ok("a.b"));
        assert_eq!(
            ESCAPED.metric("...", "", Kind::Other).unwrap_err(),
            r#"normalization for metric "..." resulted in empty name"#
        );
    }

    #[test]
    fn labels_are_escaped() {
        for (name, expected) in [
            ("label:with:colons", "label_with_colons"),
            ("label!with&special$chars)", "label_with_special_chars_"),
            ("label_with_foreign_characters_字符", "label_with_foreign_characters___"),
            ("123label", "key_123label"),
            ("_one", "key_one"),
            ("__two", "__two"),
        ] {
            assert_eq!(ESCAPED.label(name).as_deref(), Ok(expected));
        }
        let collapsing = Namer {
            key_before_underscore: false,
            keep_underscores: false,
            ..ESCAPED
        };
        assert_eq!(collapsing.label("_a..b").as_deref(), Ok("_a_b"));
        assert_eq!(collapsing.label("__a..b__").as_deref(), Ok("__a_b__"));
        assert_eq!(
            ESCAPED.label("ようこそ").unwrap_err(),
            r#"normalization for label name "ようこそ" resulted in invalid name "____""#
        );
        assert!(ESCAPED.label("").is_err());
        assert_eq!(ESCAPED.unit("By/s"), "bytes_per_second");
        assert_eq!(ESCAPED.unit("1"), "");
        assert_eq!(ESCAPED.unit("{x}"), "");
    }
}
