//! The functions of rule annotations and labels, those of Prometheus 3.

use std::net::IpAddr;
use std::sync::{Arc, LazyLock};

use cupola_model::Labels;

use super::{Func, Funcs, Param, any_arg, humanize, str_arg, text};
use crate::objects::Duration;
use crate::value::{Field, Object, Value};

/// One series of a query's result.
#[derive(Debug, Clone)]
pub struct Sample {
    /// Its labels; a string result has the string in the label `__value__`.
    pub labels: Labels,
    /// Its value.
    pub value: f64,
}

/// Answers `query "expression"`: the instant vector at the time of evaluation.
pub type Query = Arc<dyn Fn(&str) -> Result<Vec<Sample>, String> + Send + Sync>;

/// What the functions of one evaluation need to know.
#[derive(Clone)]
pub struct Context {
    /// Where this Prometheus is reached, as `externalURL` gives it.
    pub external_url: String,
    /// The time of evaluation in milliseconds since the epoch, as `now` gives it.
    pub now_ms: i64,
    /// Answers `query`.
    pub query: Query,
}

impl Object for Sample {
    fn type_name(&self) -> &str {
        "*template.sample"
    }

    fn fields(&self) -> &[Field] {
        &[
            Field {
                name: "Labels",
                json: "Labels",
            },
            Field {
                name: "Value",
                json: "Value",
            },
        ]
    }

    fn field(&self, name: &str) -> Option<Value> {
        match name {
            "Labels" => Some(Value::string_map(&self.labels)),
            "Value" => Some(Value::Float(self.value)),
            _ => None,
        }
    }
}

/// The functions of one evaluation.
#[must_use]
pub fn funcs(context: Context) -> Funcs {
    let mut table = Funcs::with_parent(pure());
    let Context {
        external_url,
        now_ms,
        query,
    } = context;
    let path = url_path(&external_url);
    let run = move |args: &[Value]| {
        let samples = query(&str_arg(args, 0))?;
        Ok(Value::list(samples.into_iter().map(Value::object).collect()))
    };
    // What a query costs is bounded by the engine; a template may ask a few hundred times.
    table.add("query", Func::new(&[Param::Str], run).with_cost(5000));
    table.add(
        "externalURL",
        Func::new(&[], move |_| Ok(Value::from(external_url.as_str()))),
    );
    table.add("pathPrefix", Func::new(&[], move |_| Ok(Value::from(path.as_str()))));
    table.add("now", Func::new(&[], move |_| Ok(Value::Float(now_ms as f64 / 1000.0))));
    table
}

// The functions that depend on nothing but their arguments, made once.
fn pure() -> Arc<Funcs> {
    static TABLE: LazyLock<Arc<Funcs>> = LazyLock::new(|| {
        let mut table = Funcs::default();
        add_texts(&mut table);
        add_numbers(&mut table);
        add_samples(&mut table);
        Arc::new(table)
    });
    TABLE.clone()
}

fn add_texts(table: &mut Funcs) {
    use Param::Any;
    table.add("title", text::of_str(text::strings_title));
    table.add("toUpper", text::of_str(text::to_upper));
    table.add("toLower", text::of_str(text::to_lower));
    table.add("safeHtml", text::of_str(str::to_owned));
    table.add("match", text::matches());
    table.add("reReplaceAll", text::re_replace_all());
    table.add("stripPort", text::of_str(strip_port));
    table.add("stripDomain", text::of_str(strip_domain));
    table.add("urlQueryEscape", text::of_str(text::query_escape));
    table.add("graphLink", text::of_str(|expr| graph_url(expr, 0)));
    table.add("tableLink", text::of_str(|expr| graph_url(expr, 1)));
    let args = |args: &[Value]| {
        Ok(Value::map(
            args.iter().enumerate().map(|(i, v)| (format!("arg{i}"), v.clone())),
        ))
    };
    table.add("args", Func::variadic(&[], Any, args));
}

fn add_numbers(table: &mut Funcs) {
    use Param::{Any, Str};
    for (name, write) in [
        ("humanize", humanize::humanize as fn(f64) -> String),
        ("humanize1024", humanize::humanize1024),
        ("humanizeDuration", humanize::humanize_duration),
        ("humanizePercentage", humanize::humanize_percentage),
    ] {
        let body = move |args: &[Value]| Ok(Value::from(write(humanize::to_float(&any_arg(args, 0))?)));
        table.add(name, Func::new(&[Any], body));
    }
    let timestamp = |args: &[Value]| {
        let seconds = humanize::to_float(&any_arg(args, 0))?;
        Ok(match humanize::to_time(seconds)? {
            Some(time) => Value::from(time.to_string()),
            None => Value::from(humanize::humanize(seconds)),
        })
    };
    table.add("humanizeTimestamp", Func::new(&[Any], timestamp));
    let to_time = |args: &[Value]| {
        let time = humanize::to_time(humanize::to_float(&any_arg(args, 0))?)?;
        time.map(Value::object).ok_or_else(|| "value is NaN or Inf".to_owned())
    };
    table.add("toTime", Func::new(&[Any], to_time));
    let to_duration = |args: &[Value]| {
        let nanos = humanize::to_float(&any_arg(args, 0))? * 1e9;
        if !nanos.is_finite() {
            return Err("value is NaN or Inf".to_owned());
        }
        if nanos.abs() >= i64::MAX as f64 {
            return Err("value cannot be represented as a duration since it overflows int64".to_owned());
        }
        Ok(Value::object(Duration::from_nanos(nanos as i64)))
    };
    table.add("toDuration", Func::new(&[Any], to_duration));
    let parse_duration = |args: &[Value]| {
        let ms = cupola_model::parse_duration(&str_arg(args, 0)).map_err(|e| e.to_string())?;
        Ok(Value::Float(ms as f64 / 1000.0))
    };
    table.add("parseDuration", Func::new(&[Str], parse_duration));
}

fn add_samples(table: &mut Funcs) {
    use Param::{Any, Str};
    table.add(
        "first",
        Func::new(&[Any], |args| {
            let samples = samples_arg(args, 0)?;
            samples
                .first()
                .cloned()
                .ok_or_else(|| "first() called on vector with no elements".to_owned())
        }),
    );
    table.add(
        "label",
        Func::new(&[Str, Any], |args| {
            with_sample(args, 1, |sample| Value::from(sample.labels.value(&str_arg(args, 0))))
        }),
    );
    table.add(
        "value",
        Func::new(&[Any], |args| with_sample(args, 0, |sample| Value::Float(sample.value))),
    );
    table.add(
        "strvalue",
        Func::new(&[Any], |args| {
            with_sample(args, 0, |sample| Value::from(sample.labels.value("__value__")))
        }),
    );
    table.add(
        "sortByLabel",
        Func::new(&[Str, Any], |args| {
            let name = str_arg(args, 0);
            let mut samples = samples_arg(args, 1)?;
            samples.sort_by_cached_key(|s| s.downcast::<Sample>().map(|s| s.labels.value(&name).to_owned()));
            Ok(Value::objects_of("*template.sample", samples))
        }),
    );
}

fn samples_arg(args: &[Value], at: usize) -> Result<Vec<Value>, String> {
    let value = any_arg(args, at);
    match value.plain() {
        Value::List(list) if list.items().iter().all(|item| item.downcast::<Sample>().is_some()) => {
            Ok(list.items().to_vec())
        }
        _ => Err(format!(
            "wrong type for value; expected template.queryResult; got {}",
            value.type_name()
        )),
    }
}

fn with_sample(args: &[Value], at: usize, give: impl Fn(&Sample) -> Value) -> Result<Value, String> {
    let value = any_arg(args, at);
    value.downcast::<Sample>().map(give).ok_or_else(|| {
        format!(
            "wrong type for value; expected *template.sample; got {}",
            value.type_name()
        )
    })
}

fn graph_url(expr: &str, tab: u8) -> String {
    format!("/graph?g0.expr={}&g0.tab={tab}", text::query_escape(expr))
}

// The path of a URL, without a slash at its end.
fn url_path(url: &str) -> String {
    let after_scheme = url.split_once("://").map_or(url, |(_, rest)| rest);
    let path = after_scheme.find('/').map_or("", |at| &after_scheme[at..]);
    path.split(['?', '#'])
        .next()
        .unwrap_or("")
        .trim_end_matches('/')
        .to_owned()
}

// Host and port of `host:port`, `[v6]:port`; `None` where there is no port or the text is neither.
fn split_host_port(text: &str) -> Option<(&str, &str)> {
    let (host, port) = text.rsplit_once(':')?;
    if let Some(inner) = text.strip_prefix('[') {
        let (host, rest) = inner.split_once(']')?;
        let port = rest.strip_prefix(':')?;
        return (!port.contains([':', '[', ']']) && !host.contains('[')).then_some((host, port));
    }
    (!host.contains([':', '[', ']']) && !port.contains(['[', ']'])).then_some((host, port))
}

fn strip_port(text: &str) -> String {
    split_host_port(text).map_or(text, |(host, _)| host).to_owned()
}

fn strip_domain(text: &str) -> String {
    let (host, port) = split_host_port(text).unwrap_or((text, ""));
    if host.parse::<IpAddr>().is_ok() {
        return text.to_owned();
    }
    let name = host.split('.').next().unwrap_or(host);
    match (port.is_empty(), name.contains(':')) {
        (true, _) => name.to_owned(),
        (false, true) => format!("[{name}]:{port}"),
        (false, false) => format!("{name}:{port}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_and_domains_are_stripped() {
        for (text, without_port, without_domain) in [
            ("node1.example.org:9100", "node1.example.org", "node1:9100"),
            ("node1.example.org", "node1.example.org", "node1"),
            ("10.0.0.1:9100", "10.0.0.1", "10.0.0.1:9100"),
            ("[::1]:9100", "::1", "[::1]:9100"),
            ("::1", "::1", "::1"),
            ("a:b:c", "a:b:c", "a:b:c"),
        ] {
            assert_eq!(
                (strip_port(text).as_str(), strip_domain(text).as_str()),
                (without_port, without_domain)
            );
        }
    }

    #[test]
    fn the_path_of_a_url_is_its_prefix() {
        for (url, path) in [
            ("http://a:9090", ""),
            ("http://a:9090/", ""),
            ("http://a/prom/x/", "/prom/x"),
            ("https://a/p?q=/z", "/p"),
        ] {
            assert_eq!(url_path(url), path);
        }
    }
}
