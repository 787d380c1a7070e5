//! `amtool why`, which is ours: what happened to alerts, and why somebody was told or was not.

use std::fmt::Write as _;

use clap::Args;
use cupola_config::matchers::parse_matchers;
use serde_json::{Value, json};

use super::{Env, Failure, Output};
use crate::cli::why;

#[derive(Debug, Args)]
pub(super) struct WhyArgs {
    /// At most so many of the latest events.
    #[arg(long, default_value_t = 1000, value_name = "NUMBER")]
    limit: usize,
    /// Whose rules found the alerts, where that is not the server of the Alertmanager; amtool's configuration file may
    /// have it, too.
    #[arg(long = "prometheus.url", value_name = "URL")]
    prometheus: Option<String>,
    /// Which alerts: `{a="b",c=~"d"}`, or matchers as `alert query` takes them.
    #[arg(value_name = "MATCHER")]
    matchers: Vec<String>,
}

pub(super) fn run(args: &WhyArgs, env: &mut Env<'_>) -> Result<(), Failure> {
    let matchers = match args.matchers.as_slice() {
        [one] if one.trim_start().starts_with('{') => {
            parse_matchers(one, env.mode)
                .map_err(|error| error.to_string())?
                .matchers
        }
        several => env.matchers(several)?,
    };
    let mut asked = vec![("limit", args.limit.to_string())];
    asked.extend(matchers.iter().map(|matcher| ("filter", matcher.to_string())));
    let body = env
        .client
        .get("/history", &asked)
        .map_err(|error| match error.contains("404") {
            true => format!("{error}\nThis Alertmanager keeps no history; Cupola's does."),
            false => error,
        })?;
    let answer: Value = serde_json::from_str(&body).map_err(|error| format!("the history is no JSON: {error}"))?;
    // What rules did before: where the same server has them, or where it was said.
    let prometheus = args
        .prometheus
        .clone()
        .or_else(|| env.flags.get("prometheus.url").cloned());
    let before = env.client.get_beside(
        prometheus.as_deref(),
        "/api/v1/alerts/history",
        &[("limit", args.limit.to_string()), ("match[]", why::selector(&matchers))],
    );
    let before = match (before, &prometheus) {
        (Err(reason), Some(_)) => {
            return Err(format!("what the rules did is not known: {reason}\nOnly Cupola keeps that history.").into());
        }
        (before, _) => before.ok(),
    };
    let by_rules = before.as_ref().and_then(|answer| answer["data"]["events"].as_array());
    if env.output == Output::Json {
        let whole = json!({ "alertmanager": answer, "rules": by_rules });
        writeln!(env.out, "{whole}")?;
        return Ok(());
    }
    let (by_rules, by_alertmanager) = (by_rules.map_or(&[][..], Vec::as_slice), answer.as_array());
    let date = |ms: i64| env.date_of(ms);
    let lives = why::lives(by_rules, by_alertmanager.map_or(&[][..], Vec::as_slice), &date);
    let mut told = String::new();
    if lives.is_empty() {
        told.push_str(
            "Nothing is known of such an alert: none has arrived, or it is longer ago than the history goes.\n",
        );
    }
    for (index, life) in lives.iter().enumerate() {
        if index > 0 {
            told.push('\n');
        }
        // Writing to a string cannot fail.
        let _ = writeln!(told, "{}", why::pairs(life.labels));
        for (at, happened) in &life.events {
            let _ = writeln!(told, "  {}  {happened}", env.date_of(*at));
        }
    }
    env.out.write_all(told.as_bytes())?;
    Ok(())
}
