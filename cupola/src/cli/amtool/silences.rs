//! `amtool silence`.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use cupola_model::{MatchOp, Matcher, parse_duration};
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use super::{Env, Failure, Output, table};

#[derive(Debug, Subcommand)]
pub(super) enum Tool {
    /// Add a new alertmanager silence.
    Add(AddArgs),
    /// Expire an alertmanager silence.
    Expire {
        /// Ids of silences to expire.
        #[arg(value_name = "ID")]
        ids: Vec<String>,
    },
    /// Import alertmanager silences from JSON file or stdin.
    Import(ImportArgs),
    /// Query Alertmanager silences.
    Query(QueryArgs),
    /// Update silences.
    Update(UpdateArgs),
}

#[derive(Debug, Args)]
pub(super) struct AddArgs {
    /// Username for CreatedBy field; who is logged in where it is not told.
    #[arg(short, long)]
    author: Option<String>,
    /// Duration of silence.
    #[arg(short, long, default_value = "1h")]
    duration: String,
    /// When the silence starts, RFC 3339.
    #[arg(long, value_name = "TIME")]
    start: Option<String>,
    /// When the silence ends, RFC 3339, instead of a duration.
    #[arg(long, value_name = "TIME")]
    end: Option<String>,
    /// A comment to help describe the silence.
    #[arg(short, long)]
    comment: Option<String>,
    /// Require comment to be set.
    #[arg(long, overrides_with = "no_require_comment")]
    require_comment: bool,
    /// Do without a comment.
    #[arg(long)]
    no_require_comment: bool,
    /// Which alerts: name=value, =~, !=, !~; a first one without any of them is the alert's name.
    #[arg(value_name = "MATCHER")]
    matchers: Vec<String>,
}

#[derive(Debug, Args)]
pub(super) struct QueryArgs {
    /// Show expired silences instead of active ones.
    #[arg(long)]
    expired: bool,
    /// Only show silence ids.
    #[arg(short, long)]
    quiet: bool,
    /// Show silences that belong to this creator.
    #[arg(long, value_name = "NAME")]
    created_by: Option<String>,
    /// Get silences by id.
    #[arg(long, value_name = "ID")]
    id: Vec<String>,
    /// Show silences that will expire, or have expired, within a duration.
    #[arg(long, value_name = "DURATION")]
    within: Option<String>,
    /// Which silences.
    #[arg(value_name = "MATCHER")]
    matchers: Vec<String>,
}

#[derive(Debug, Args)]
pub(super) struct ImportArgs {
    /// Force adding new silences even if it already exists.
    #[arg(short, long)]
    force: bool,
    /// Accepted as amtool has it; silences are imported in the file's order.
    #[arg(short, long, default_value_t = 8)]
    worker: u32,
    /// JSON file with silences; standard input where none is named.
    #[arg(value_name = "FILE")]
    file: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(super) struct UpdateArgs {
    /// Only show silence ids.
    #[arg(short, long)]
    quiet: bool,
    /// Duration of silence.
    #[arg(short, long)]
    duration: Option<String>,
    /// When the silence starts, RFC 3339.
    #[arg(long, value_name = "TIME")]
    start: Option<String>,
    /// When the silence ends, RFC 3339, instead of a duration.
    #[arg(long, value_name = "TIME")]
    end: Option<String>,
    /// A comment to help describe the silence.
    #[arg(short, long)]
    comment: Option<String>,
    /// Silence ids to update.
    #[arg(value_name = "ID")]
    ids: Vec<String>,
}

pub(super) fn run(tool: &Tool, env: &mut Env<'_>) -> Result<(), Failure> {
    match tool {
        Tool::Add(args) => add(args, env),
        Tool::Expire { ids } => expire(ids, env),
        Tool::Import(args) => import(args, env),
        Tool::Query(args) => query(args, env),
        Tool::Update(args) => update(args, env),
    }
}

fn time(text: &str) -> Result<Timestamp, String> {
    text.parse()
        .map_err(|error| format!("{text:?} is no RFC 3339 time: {error}"))
}

fn duration(text: &str) -> Result<SignedDuration, String> {
    parse_duration(text)
        .map(SignedDuration::from_millis)
        .map_err(|error| error.to_string())
}

fn user() -> String {
    ["USER", "LOGNAME"]
        .iter()
        .find_map(|name| std::env::var(name).ok())
        .unwrap_or_default()
}

fn of_matcher(matcher: &Matcher) -> Value {
    let op = matcher.op();
    json!({
        "isEqual": matches!(op, MatchOp::Equal | MatchOp::Regex),
        "isRegex": matches!(op, MatchOp::Regex | MatchOp::NotRegex),
        "name": matcher.name(),
        "value": matcher.value(),
    })
}

fn add(args: &AddArgs, env: &mut Env<'_>) -> Result<(), Failure> {
    let matchers = env.matchers(&args.matchers)?;
    if matchers.is_empty() {
        return Err("no matchers specified".to_owned().into());
    }
    let starts = match &args.start {
        Some(text) => time(text)?,
        None => Timestamp::now(),
    };
    let ends = match &args.end {
        Some(text) => time(text)?,
        None => {
            let lasts = duration(&args.duration)?;
            if lasts.is_zero() {
                return Err("silence duration must be greater than 0".to_owned().into());
            }
            starts.checked_add(lasts).map_err(|error| error.to_string())?
        }
    };
    if starts > ends {
        return Err("silence cannot start after it ends".to_owned().into());
    }
    // In the file as amtool's older versions spell it, too.
    let needs = |name: &str| env.flags.get(name).map(|text| text == "true");
    let needs_comment = match args.no_require_comment {
        true => false,
        false => {
            args.require_comment
                || needs("require-comment")
                    .or_else(|| needs("comment_required"))
                    .unwrap_or(true)
        }
    };
    let comment = args.comment.clone().unwrap_or_default();
    if needs_comment && comment.is_empty() {
        return Err("comment required by config".to_owned().into());
    }
    let author = args
        .author
        .clone()
        .or_else(|| env.flags.get("author").cloned())
        .unwrap_or_else(user);
    let silence = json!({
        "comment": comment,
        "createdBy": author,
        "endsAt": ends.to_string(),
        "matchers": matchers.iter().map(of_matcher).collect::<Vec<_>>(),
        "startsAt": starts.to_string(),
    });
    let answer = env.client.post("/silences", &silence)?;
    writeln!(env.out, "{}", answer["silenceID"].as_str().unwrap_or_default())?;
    Ok(())
}

fn expire(ids: &[String], env: &mut Env<'_>) -> Result<(), Failure> {
    if ids.is_empty() {
        return Err("no silence IDs specified".to_owned().into());
    }
    for id in ids {
        env.client.delete_silence(id)?;
    }
    Ok(())
}

fn query(args: &QueryArgs, env: &mut Env<'_>) -> Result<(), Failure> {
    let matchers = env.matchers(&args.matchers)?;
    let within = args
        .within
        .as_deref()
        .map(duration)
        .transpose()?
        .filter(|within| !within.is_zero());
    let asked: Vec<_> = matchers.iter().map(|matcher| ("filter", matcher.to_string())).collect();
    let answer = env.client.get_json("/silences", &asked)?;
    let now = Timestamp::now();
    let shown: Vec<Value> = answer
        .as_array()
        .into_iter()
        .flatten()
        .filter(|silence| {
            let ends = silence["endsAt"]
                .as_str()
                .and_then(|text| text.parse::<Timestamp>().ok())
                .unwrap_or(now);
            let is_near = match (within, args.expired) {
                (None, _) => true,
                (Some(within), false) => now.checked_add(within).is_ok_and(|until| ends <= until),
                (Some(within), true) => now.checked_sub(within).is_ok_and(|since| ends >= since),
            };
            let is_over = ends < now;
            let by = args.created_by.as_deref();
            is_over == args.expired
                && is_near
                && by.is_none_or(|by| silence["createdBy"] == by)
                && (args.id.is_empty() || args.id.iter().any(|id| silence["id"] == id.as_str()))
        })
        .cloned()
        .collect();
    if args.quiet {
        for silence in &shown {
            writeln!(env.out, "{}", silence["id"].as_str().unwrap_or_default())?;
        }
        return Ok(());
    }
    print(env, shown)
}

fn print(env: &mut Env<'_>, mut silences: Vec<Value>) -> Result<(), Failure> {
    if env.output == Output::Json {
        let text = Value::from(silences).to_string();
        // As Go writes JSON, and as the server did.
        let text = text
            .replace('<', "\\u003c")
            .replace('>', "\\u003e")
            .replace('&', "\\u0026");
        writeln!(env.out, "{text}")?;
        return Ok(());
    }
    silences.sort_by_key(|silence| {
        silence["endsAt"]
            .as_str()
            .and_then(|text| text.parse::<Timestamp>().ok())
    });
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let is_extended = env.output == Output::Extended;
    let head: &[&str] = match is_extended {
        true => &[
            "ID",
            "Matchers",
            "Starts At",
            "Ends At",
            "Updated At",
            "Created By",
            "Comment",
        ],
        false => &["ID", "Matchers", "Ends At", "Created By", "Comment"],
    };
    let mut rows = vec![head.iter().map(|cell| (*cell).to_owned()).collect::<Vec<_>>()];
    for silence in &silences {
        // Several sets are shown by our Alertmanager alone.
        let sets = match silence["matcherSets"].as_array() {
            Some(sets) => sets.iter().collect(),
            None => vec![&silence["matchers"]],
        };
        let sets = sets.into_iter().map(|set| {
            let matchers: Vec<String> = set.as_array().into_iter().flatten().map(matcher).collect();
            match is_extended {
                true => format!("{{{}}}", matchers.join(",")),
                false => matchers.join(" "),
            }
        });
        let matchers = sets.collect::<Vec<_>>().join(" or ");
        let date = |name: &str| env.date(&text(&silence[name]));
        let (id, by, comment) = (
            text(&silence["id"]),
            text(&silence["createdBy"]),
            text(&silence["comment"]),
        );
        rows.push(match is_extended {
            true => vec![
                id,
                matchers,
                date("startsAt"),
                date("endsAt"),
                date("updatedAt"),
                by,
                comment,
            ],
            false => vec![id, matchers, date("endsAt"), by, comment],
        });
    }
    table::print(env.out, &rows)?;
    Ok(())
}

fn matcher(json: &Value) -> String {
    let (is_equal, is_regex) = (
        json["isEqual"].as_bool().unwrap_or(true),
        json["isRegex"].as_bool().unwrap_or(false),
    );
    let op = match (is_equal, is_regex) {
        (true, false) => "=",
        (false, false) => "!=",
        (true, true) => "=~",
        (false, true) => "!~",
    };
    let value = cupola_model::go_quote(json["value"].as_str().unwrap_or_default());
    format!("{}{op}{value}", json["name"].as_str().unwrap_or_default())
}

fn import(args: &ImportArgs, env: &mut Env<'_>) -> Result<(), Failure> {
    let text = match &args.file {
        Some(file) => env.files.read(file).map_err(|error| match error.kind() {
            std::io::ErrorKind::NotFound => format!("path '{}' does not exist", file.display()),
            _ => format!("open {}: {error}", file.display()),
        })?,
        None => {
            let mut text = String::new();
            env.input.read_to_string(&mut text)?;
            text
        }
    };
    let unreadable = |error: &str| format!("couldn't unmarshal input data, is it JSON?: {error}");
    let parsed: Value = serde_json::from_str(&text).map_err(|error| match error.is_eof() {
        true if text.trim().is_empty() => unreadable("EOF"),
        true => unreadable("unexpected EOF"),
        false => unreadable(&error.to_string()),
    })?;
    let silences = parsed
        .as_array()
        .ok_or_else(|| unreadable("it is no list of silences"))?;
    let mut failed = 0;
    for silence in silences {
        let mut silence = silence.clone();
        if let Some(silence) = silence.as_object_mut() {
            for name in ["status", "updatedAt"] {
                silence.remove(name);
            }
            if args.force {
                silence.remove("id");
            }
        }
        let id = silence["id"].as_str().map(str::to_owned);
        let mut posted = env.client.post("/silences", &silence);
        if posted.as_ref().is_err_and(|error| error.contains("[404]")) && id.is_some() {
            // One that the server does not know is made anew.
            if let Some(silence) = silence.as_object_mut() {
                silence.remove("id");
            }
            posted = env.client.post("/silences", &silence);
        }
        match posted {
            Ok(answer) => writeln!(env.out, "{}", answer["silenceID"].as_str().unwrap_or_default())?,
            Err(error) => {
                failed += 1;
                writeln!(env.err, "Error adding silence id='{}': {error}", id.unwrap_or_default())?;
            }
        }
    }
    match failed {
        0 => Ok(()),
        count => Err(format!("couldn't import {count} out of {} silences", silences.len()).into()),
    }
}

fn update(args: &UpdateArgs, env: &mut Env<'_>) -> Result<(), Failure> {
    if args.ids.is_empty() {
        return Err("no silence IDs specified".to_owned().into());
    }
    let mut updated = Vec::new();
    for id in &args.ids {
        let mut silence = env.client.get_json(&format!("/silence/{id}"), &[])?;
        let own = |name: &str| silence[name].as_str().unwrap_or_default().to_owned();
        let mut starts = time(&own("startsAt"))?;
        let mut ends = time(&own("endsAt"))?;
        if let Some(text) = &args.start {
            starts = time(text)?;
        }
        if let Some(text) = &args.end {
            ends = time(text)?;
        } else if let Some(text) = &args.duration {
            let lasts = duration(text)?;
            if lasts.is_zero() {
                return Err("silence duration must be greater than 0".to_owned().into());
            }
            ends = starts.checked_add(lasts).map_err(|error| error.to_string())?;
        }
        if starts > ends {
            return Err("silence cannot start after it ends".to_owned().into());
        }
        silence["startsAt"] = starts.to_string().into();
        silence["endsAt"] = ends.to_string().into();
        if let Some(comment) = &args.comment {
            silence["comment"] = comment.as_str().into();
        }
        let mut sent = silence.clone();
        if let Some(sent) = sent.as_object_mut() {
            for name in ["status", "updatedAt"] {
                sent.remove(name);
            }
        }
        let answer = env.client.post("/silences", &sent)?;
        silence["id"] = answer["silenceID"].clone();
        updated.push(silence);
    }
    if args.quiet {
        for silence in &updated {
            writeln!(env.out, "{}", silence["id"].as_str().unwrap_or_default())?;
        }
        return Ok(());
    }
    print(env, updated)
}
