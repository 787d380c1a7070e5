//! `promtool explain alert`: the life of alerts as one list. Asks `/api/v1/alerts/history` and, where the server has an
//! Alertmanager, `/api/v2/history`; both are ours.

use std::fmt::Write as _;
use std::io;
use std::time::Duration;

use clap::Args;
use cupola_model::{ALERTNAME, Matcher, query_escape};
use cupola_promql::{parse_selector, render_errors};
use serde_json::{Value, json};

use super::super::api::HttpArgs;
use super::super::{FAILURE, Io};
use super::{Output, list};
use crate::cli::why;

const TIMEOUT: Duration = Duration::from_secs(30);

/// Which alerts, and of which server.
#[derive(Debug, Args)]
pub(in super::super) struct AlertArgs {
    /// The server.
    server: String,
    /// The alert's name, or a selector of its labels such as `{alertname="Down",job=~"api.*"}`.
    what: String,
    /// At most so many of the latest events of each kind of history.
    #[arg(long, default_value_t = 1000, value_name = "NUMBER")]
    limit: usize,
    /// How the explanation looks.
    #[arg(short, long, value_enum, default_value = "text")]
    output: Output,
    #[command(flatten)]
    http: HttpArgs,
}

/// Asks and tells.
pub(super) fn run(args: &AlertArgs, io: &mut Io<'_>) -> io::Result<u8> {
    match histories(args, io) {
        Ok((by_rules, by_alertmanager)) => {
            match args.output {
                Output::Text => io.out.write_all(text(&by_rules, &by_alertmanager).as_bytes())?,
                Output::Json => writeln!(
                    io.out,
                    "{:#}",
                    json!({"rules": by_rules, "alertmanager": by_alertmanager})
                )?,
            }
            let is_known = !by_rules.is_empty() || !by_alertmanager.is_empty();
            Ok(if is_known { 0 } else { FAILURE })
        }
        Err(error) => {
            writeln!(io.err, "promtool: error: {error}")?;
            Ok(FAILURE)
        }
    }
}

fn histories(args: &AlertArgs, io: &Io<'_>) -> Result<(Vec<Value>, Vec<Value>), String> {
    let matchers = if args.what.contains(['{', '=', '~']) {
        parse_selector(&args.what).map_err(|errors| render_errors(&args.what, &errors))?
    } else {
        vec![Matcher::equal(ALERTNAME, &args.what)]
    };
    let mut server = args.http.server(&args.server, TIMEOUT, io.files)?;
    let (limit, selector) = (args.limit.to_string(), why::selector(&matchers));
    let answer = server.get("/api/v1/alerts/history", &[("match[]", &selector), ("limit", &limit)])?;
    let by_rules = list(answer.get("data").and_then(|data| data.get("events"))).to_vec();
    let mut path = format!("/api/v2/history?limit={limit}");
    for matcher in &matchers {
        // Writing to a string cannot fail.
        let _ = write!(path, "&filter={}", query_escape(&matcher.to_string()));
    }
    let (status, body) = server.get_raw(&path)?;
    let by_alertmanager = match serde_json::from_slice(&body) {
        Ok(Value::Array(events)) if status.is_success() => events,
        // It has no Alertmanager.
        _ => Vec::new(),
    };
    Ok((by_rules, by_alertmanager))
}

fn text(by_rules: &[Value], by_alertmanager: &[Value]) -> String {
    let date = |ms: i64| match jiff::Timestamp::from_millisecond(ms) {
        Ok(time) => time.strftime("%Y-%m-%d %H:%M:%S").to_string(),
        Err(_) => ms.to_string(),
    };
    let lives = why::lives(by_rules, by_alertmanager, &date);
    if lives.is_empty() {
        return "Nothing is known of such an alert: it was never pending, or it is longer ago than the history goes.\n"
            .to_owned();
    }
    let mut out = String::from("Times are UTC.\n");
    for life in lives {
        // Writing to a string cannot fail.
        let _ = writeln!(out, "\n{}", why::pairs(life.labels));
        for (at, happened) in life.events {
            let _ = writeln!(out, "  {}  {happened}", date(at));
        }
    }
    out
}
