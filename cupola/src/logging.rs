//! Log lines on standard error: logfmt as Prometheus 3 writes them, or JSON.

use std::fmt::{self, Write as _};

use anyhow::{Context as _, Result};
use cupola_env::{Clock as _, SystemClock};
use tracing::field::{Field, Visit};
use tracing::{Event, Subscriber};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::FmtContext;
use tracing_subscriber::fmt::format::{FormatEvent, FormatFields, Writer};
use tracing_subscriber::registry::LookupSpan;

/// `--log.format`
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum LogFormat {
    /// `time=… level=INFO msg="…" key=value`
    Logfmt,
    /// One JSON object a line.
    Json,
}

/// Sets logging up for the whole process.
pub(crate) fn init(level: &str, format: LogFormat) -> Result<()> {
    // Libraries are heard from warnings on; what they say below that is not about the user's affairs.
    let filter = EnvFilter::try_new(format!("warn,cupola={level},cupola_alert={level},cupola_block={level},cupola_config={level},cupola_engine={level},cupola_net={level},cupola_node={level},cupola_notify={level},cupola_rules={level},cupola_scrape={level},cupola_tsdb={level},cupola_web={level}"))
        .with_context(|| format!("--log.level={level}: use debug, info, warn or error"))?;
    let base = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr);
    match format {
        LogFormat::Logfmt => base.event_format(Logfmt).init(),
        LogFormat::Json => base.json().flatten_event(true).with_target(false).init(),
    }
    Ok(())
}

struct Logfmt;

impl<S, N> FormatEvent<S, N> for Logfmt
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(&self, _: &FmtContext<'_, S, N>, mut out: Writer<'_>, event: &Event<'_>) -> fmt::Result {
        let mut fields = Fields::default();
        event.record(&mut fields);
        let now = jiff::Timestamp::from_millisecond(SystemClock.now_ms()).unwrap_or_default();
        write!(out, "time={now:.3} level={} msg=", event.metadata().level())?;
        value(&mut out, &fields.message)?;
        out.write_str(&fields.rest)?;
        writeln!(out)
    }
}

#[derive(Default)]
struct Fields {
    message: String,
    rest: String,
}

impl Visit for Fields {
    fn record_str(&mut self, field: &Field, text: &str) {
        self.record_debug(field, &format_args!("{text}"));
    }

    fn record_debug(&mut self, field: &Field, shown: &dyn fmt::Debug) {
        let text = format!("{shown:?}");
        if field.name() == "message" {
            self.message = text;
            return;
        }
        // Writing to a String cannot fail.
        let _ = write!(self.rest, " {}=", field.name());
        let _ = value(&mut self.rest, &text);
    }
}

fn value(out: &mut dyn fmt::Write, text: &str) -> fmt::Result {
    let plain =
        !text.is_empty() && !text.contains(|c: char| c.is_whitespace() || c.is_control() || "=\"\\".contains(c));
    if plain {
        out.write_str(text)
    } else {
        out.write_str(&cupola_model::go_quote(text))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_quoted_where_logfmt_needs_it() {
        for (text, shown) in [
            ("a", "a"),
            ("a b", "\"a b\""),
            ("", "\"\""),
            ("x=1", "\"x=1\""),
            ("a\"b", r#""a\"b""#),
        ] {
            let mut out = String::new();
            value(&mut out, text).unwrap();
            assert_eq!(out, shown);
        }
    }
}
