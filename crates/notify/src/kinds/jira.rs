//! Jira: a group is an issue, found again by a label of its own, updated, closed and opened again.

use cupola_model::go_quote;
use http::header::{ACCEPT_LANGUAGE, HeaderName};
use http::{Method, Uri};
use serde::Serialize;
use serde_json::{Map, Value, json};

use super::{Message, go_json};
use crate::anything::expand_map;
use crate::integration::SendError;
use crate::text::truncate;

const MAX_SUMMARY: usize = 255;
const MAX_DESCRIPTION: usize = 32_767;

/// The issue that is there.
struct Issue {
    key: String,
    is_done: bool,
}

#[derive(Serialize)]
struct Search {
    fields: [&'static str; 1],
    jql: String,
    #[serde(rename = "maxResults")]
    max_results: u32,
}

pub(super) async fn send(message: &Message<'_>) -> Result<(), SendError> {
    let firing = message.notification.is_firing();
    let found = find(message, firing).await.map_err(|error| at("search", error))?;
    let Some(issue) = found else {
        // Nobody needs a new issue about what is over.
        if firing {
            let body = json!({"fields": fields(message, false)?});
            ask(message, Method::POST, "issue", Some(&body))
                .await
                .map_err(|error| at("create", error))?;
        }
        return Ok(());
    };
    let body = json!({"fields": fields(message, true)?});
    let path = format!("issue/{}", issue.key);
    ask(message, Method::PUT, &path, Some(&body))
        .await
        .map_err(|error| at(&path, error))?;
    let wanted = match (firing, issue.is_done) {
        (true, true) => message.config.text("reopen_transition"),
        (false, false) => message.config.text("resolve_transition"),
        _ => "",
    };
    if wanted.is_empty() {
        return Ok(());
    }
    transition(message, &issue.key, wanted)
        .await
        .map_err(|error| at(&path, error))
}

fn at(what: &str, error: SendError) -> SendError {
    SendError {
        message: format!("jira {what}: {}", error.message),
        ..error
    }
}

fn label(message: &Message<'_>) -> String {
    format!("ALERT{{{}}}", message.id())
}

async fn find(message: &Message<'_>, firing: bool) -> Result<Option<Issue>, SendError> {
    let config = message.config;
    let mut jql = String::new();
    if !config.text("wont_fix_resolution").is_empty() {
        // What has no resolution yet is not unlike any, for Jira (alertmanager#5185).
        jql.push_str(&format!(
            "(resolution is EMPTY or resolution != {}) and ",
            go_quote(config.text("wont_fix_resolution"))
        ));
    }
    let minutes = config.text("reopen_minutes");
    // A closed one is opened again for a while, where there is a way to do so.
    if firing && !config.text("reopen_transition").is_empty() && minutes != "0" {
        jql.push_str(&format!(
            "(resolutiondate is EMPTY OR resolutiondate >= -{minutes}m) and "
        ));
    } else {
        jql.push_str("statusCategory != Done and ");
    }
    jql.push_str(&format!(
        "project={} and labels={} order by status ASC,resolutiondate DESC",
        go_quote(&message.field("project")?),
        go_quote(&label(message))
    ));
    let search = Search {
        fields: ["status"],
        jql,
        max_results: 2,
    };
    let answer = request(message, Method::POST, &search_url(message), Some(&search)).await?;
    let issue = &answer["issues"][0];
    let Some(key) = issue["key"].as_str().filter(|key| is_key(key)) else {
        return Ok(None);
    };
    Ok(Some(Issue {
        key: key.to_owned(),
        is_done: issue["fields"]["status"]["statusCategory"]["key"] == "done",
    }))
}

// It becomes a part of a path.
fn is_key(key: &str) -> bool {
    !key.is_empty() && key.chars().all(|c| c.is_ascii_alphanumeric() || "-_".contains(c))
}

fn base<'m>(message: &'m Message<'_>) -> &'m str {
    message.config.text("api_url").trim_end_matches('/')
}

// Jira's cloud has the old way to search no more, its data centers do not have the new one yet.
fn search_url(message: &Message<'_>) -> String {
    let base = base(message);
    let is_cloud = match message.config.text("api_type") {
        "cloud" => true,
        "datacenter" => false,
        _ => base
            .parse::<Uri>()
            .is_ok_and(|url| url.host().is_some_and(|host| host.ends_with("atlassian.net"))),
    };
    if is_cloud {
        format!("{base}/search/jql").replacen("/rest/api/2/", "/rest/api/3/", 1)
    } else {
        format!("{base}/search")
    }
}

fn fields(message: &Message<'_>, is_update: bool) -> Result<Map<String, Value>, SendError> {
    let config = message.config;
    let mut fields = Map::new();
    if !is_update || config.flag("summary.update") {
        fields.insert("summary".to_owned(), message.cut("summary", MAX_SUMMARY)?.into());
    }
    let description = truncate(&message.field("description")?, MAX_DESCRIPTION);
    if !description.trim().is_empty() && (!is_update || config.flag("description.update")) {
        // Version 3 takes a document in Atlassian's format.
        let value = if base(message).ends_with("/3") {
            serde_json::from_str(description.trim()).map_err(|error| {
                SendError::last(format!(
                    "description: version 3 of Jira's API takes JSON of the Atlassian Document Format: {error}"
                ))
            })?
        } else {
            description.into()
        };
        fields.insert("description".to_owned(), value);
    }
    let (project, kind) = (message.field("project")?, message.field("issue_type")?);
    fields.insert("project".to_owned(), json!({"key": project}));
    fields.insert("issuetype".to_owned(), json!({"name": kind}));
    let mut labels = vec![label(message)];
    for text in config.list("labels").into_iter().flatten() {
        labels.push(message.expand(text)?);
    }
    labels.sort();
    fields.insert("labels".to_owned(), labels.into());
    let priority = message.field("priority")?;
    if !priority.is_empty() {
        fields.insert("priority".to_owned(), json!({"name": priority}));
    }
    let own = config.free("fields").into_iter().flatten();
    fields.extend(expand_map(own, &|text| message.expand(text))?);
    fields.sort_keys();
    Ok(fields)
}

async fn transition(message: &Message<'_>, key: &str, name: &str) -> Result<(), SendError> {
    let path = format!("issue/{key}/transitions");
    let answer = ask(message, Method::GET, &path, None).await?;
    let all = answer["transitions"].as_array().map_or(&[][..], Vec::as_slice);
    let Some(found) = all.iter().find(|transition| transition["name"] == name) else {
        return Err(SendError::last(format!("can't find transition {name} for issue {key}")));
    };
    let body = json!({"transition": {"id": found["id"]}});
    ask(message, Method::POST, &path, Some(&body)).await.map(drop)
}

async fn ask(message: &Message<'_>, method: Method, path: &str, body: Option<&Value>) -> Result<Value, SendError> {
    let url = format!("{}/{path}", base(message));
    request(message, method, &url, body).await
}

async fn request(
    message: &Message<'_>,
    method: Method,
    url: &str,
    body: Option<&impl Serialize>,
) -> Result<Value, SendError> {
    const LANGUAGE: HeaderName = ACCEPT_LANGUAGE;
    let body = body.map(go_json).transpose()?;
    let headers = [(LANGUAGE, "en".to_owned())];
    let response = message.request(method, url, body, &headers).await?;
    if response.body.is_empty() {
        return Ok(Value::Null);
    }
    serde_json::from_slice(&response.body).map_err(|error| SendError {
        retry: true,
        ..SendError::last(format!("Jira's answer is no JSON: {error}"))
    })
}
