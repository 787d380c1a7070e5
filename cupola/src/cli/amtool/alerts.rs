//! `amtool alert`.

use clap::{Args, Subcommand};
use cupola_model::go_quote;
use serde_json::{Value, json};

use super::{Env, Failure, Output, table, text};
use crate::cli::why;

#[derive(Debug, Subcommand)]
pub(super) enum Tool {
    /// View and search through current alerts.
    Query(QueryArgs),
    /// Add a new alert.
    Add(AddArgs),
}

#[derive(Debug, Args)]
pub(super) struct QueryArgs {
    /// Show inhibited alerts.
    #[arg(short, long)]
    inhibited: bool,
    /// Show silenced alerts.
    #[arg(short, long)]
    silenced: bool,
    /// Show active alerts.
    #[arg(short, long)]
    active: bool,
    /// Show unprocessed alerts.
    #[arg(short, long)]
    unprocessed: bool,
    /// Show alerts matching receiver (a regular expression).
    #[arg(short, long, value_name = "RECEIVER")]
    receiver: Option<String>,
    /// Which alerts: name=value, =~, !=, !~; a first one without any of them is the alert's name.
    #[arg(value_name = "MATCHER")]
    matchers: Vec<String>,
}

#[derive(Debug, Args)]
pub(super) struct AddArgs {
    /// Set the URL of the source that generated the alert.
    #[arg(long, value_name = "URL")]
    generator_url: Option<String>,
    /// When the alert starts, RFC 3339.
    #[arg(long, value_name = "TIME")]
    start: Option<String>,
    /// When the alert ends, RFC 3339.
    #[arg(long, value_name = "TIME")]
    end: Option<String>,
    /// An annotation, name=value; may be given several times.
    #[arg(long, value_name = "NAME=VALUE")]
    annotation: Vec<String>,
    /// Labels, name=value; a first one without = is the alert's name.
    #[arg(value_name = "LABEL")]
    labels: Vec<String>,
}

pub(super) fn run(tool: &Tool, env: &mut Env<'_>) -> Result<(), Failure> {
    match tool {
        Tool::Query(args) => query(args, env),
        Tool::Add(args) => add(args, env),
    }
}

fn query(args: &QueryArgs, env: &mut Env<'_>) -> Result<(), Failure> {
    let matchers = env.matchers(&args.matchers)?;
    // Active ones where nothing is chosen.
    let active = args.active || !(args.silenced || args.inhibited || args.unprocessed);
    let mut asked = vec![
        ("active", active.to_string()),
        ("inhibited", args.inhibited.to_string()),
        ("silenced", args.silenced.to_string()),
        ("unprocessed", args.unprocessed.to_string()),
    ];
    let receiver = args.receiver.clone().or_else(|| env.flags.get("receiver").cloned());
    asked.extend(receiver.map(|receiver| ("receiver", receiver)));
    asked.extend(matchers.iter().map(|matcher| ("filter", matcher.to_string())));
    if env.output == Output::Json {
        let body = env.client.get("/alerts", &asked)?;
        writeln!(env.out, "{}", body.trim_end())?;
        return Ok(());
    }
    let answer = env.client.get_json("/alerts", &asked)?;
    let mut alerts: Vec<&Value> = answer.as_array().into_iter().flatten().collect();
    alerts.sort_by_key(|alert| {
        alert["startsAt"]
            .as_str()
            .and_then(|text| text.parse::<jiff::Timestamp>().ok())
    });
    let head: &[&str] = match env.output {
        Output::Extended => &[
            "Labels",
            "Annotations",
            "Starts At",
            "Ends At",
            "Generator URL",
            "State",
        ],
        _ => &["Alertname", "Starts At", "Summary", "State"],
    };
    let mut rows = vec![head.iter().map(|cell| (*cell).to_owned()).collect::<Vec<_>>()];
    for alert in alerts {
        let (starts, ends) = (env.date(&text(&alert["startsAt"])), env.date(&text(&alert["endsAt"])));
        let state = text(&alert["status"]["state"]);
        rows.push(match env.output {
            Output::Extended => vec![
                why::pairs(&alert["labels"]),
                why::pairs(&alert["annotations"]),
                starts,
                ends,
                text(&alert["generatorURL"]),
                state,
            ],
            _ => vec![
                text(&alert["labels"]["alertname"]),
                starts,
                text(&alert["annotations"]["summary"]),
                state,
            ],
        });
    }
    table::print(env.out, &rows)?;
    Ok(())
}

// `a="b" c="d"`, the alert's name first.

fn add(args: &AddArgs, env: &mut Env<'_>) -> Result<(), Failure> {
    let mut labels = args.labels.clone();
    if let Some(first) = labels.first_mut()
        && env.labels(std::slice::from_ref(first)).is_err()
    {
        *first = format!("alertname={}", go_quote(first));
    }
    let labels = env.labels(&labels)?;
    let annotations = env.labels(&args.annotation)?;
    let mut alert = json!({ "annotations": annotations, "labels": labels });
    for (name, text) in [("startsAt", &args.start), ("endsAt", &args.end)] {
        if let Some(text) = text {
            let time: jiff::Timestamp = text
                .parse()
                .map_err(|error| format!("{name}: {text:?} is no RFC 3339 time: {error}"))?;
            alert[name] = time.to_string().into();
        }
    }
    if let Some(url) = &args.generator_url {
        alert["generatorURL"] = url.as_str().into();
    }
    env.client.post("/alerts", &json!([alert]))?;
    Ok(())
}
