//! What Alertmanager does not have: recurring silences, acknowledgements, what a silence would mute, what was sent.

use std::fmt::Write as _;
use std::sync::Arc;

use axum::Router;
use axum::extract::{Path, Query, Request, State};
use axum::response::{IntoResponse, Response};
use axum::routing::{delete, get, post};
use cupola_alert::{
    AcknowledgeError, Acknowledgement, Outcome, Preview, RecurringRequest, RecurringSilence, Schedule, SilenceError,
    ToldFilter, ToldMessage,
};
use cupola_model::go_quote;
use http::{HeaderMap, StatusCode, Uri};
use serde::Deserialize;

use super::refusal::Refusal;
use super::{V2, ask, changed, finished, only, posted, read, write};
use crate::api::json::{Answer, write_labels, write_list, write_str, write_strs};
use crate::api::params::Params;

// Of messages in one answer, unless the request says otherwise, and at most.
const SOME_MESSAGES: usize = 200;
const MOST_MESSAGES: usize = 5_000;
// Of the alerts that a silence would mute, so many are shown.
const MOST_MUTED: usize = 200;
const DAYS: [&str; 7] = [
    "monday",
    "tuesday",
    "wednesday",
    "thursday",
    "friday",
    "saturday",
    "sunday",
];

/// Their routes, below `/api/v2`.
pub(super) fn routes() -> Router<Arc<V2>> {
    Router::new()
        .route(
            "/api/v2/recurring-silences",
            get(get_recurring).post(post_recurring).fallback(only("GET,POST")),
        )
        .route(
            "/api/v2/recurring-silence/{id}",
            delete(delete_recurring).fallback(only("DELETE")),
        )
        .route(
            "/api/v2/acknowledgements",
            get(get_acknowledgements)
                .post(post_acknowledgement)
                .fallback(only("GET,POST")),
        )
        .route(
            "/api/v2/acknowledgement/{id}",
            delete(delete_acknowledgement).fallback(only("DELETE")),
        )
        .route("/api/v2/silences/preview", post(preview).fallback(only("POST")))
        .route("/api/v2/notifications", get(get_notifications).fallback(only("GET")))
}

fn status(error: &SilenceError) -> StatusCode {
    match error {
        SilenceError::NotFound => StatusCode::NOT_FOUND,
        SilenceError::Disk(_) => StatusCode::INTERNAL_SERVER_ERROR,
        _ => StatusCode::BAD_REQUEST,
    }
}

fn of_silence(error: SilenceError) -> Refusal {
    let status = status(&error);
    let said = match error {
        SilenceError::NotFound => "recurring silence not found".to_owned(),
        SilenceError::Invalid(fault) => format!("invalid recurring silence: {fault}"),
        other => other.to_string(),
    };
    Refusal::Text(status, said)
}

fn of_acknowledgement(error: &AcknowledgeError) -> Refusal {
    let status = match error {
        AcknowledgeError::Invalid(_) => StatusCode::BAD_REQUEST,
        AcknowledgeError::Disk(_) => StatusCode::INTERNAL_SERVER_ERROR,
        AcknowledgeError::NotFiring(_) | AcknowledgeError::NotAcknowledged(_) => StatusCode::NOT_FOUND,
    };
    Refusal::Text(status, error.to_string())
}

async fn get_recurring(State(v2): State<Arc<V2>>, uri: Uri, headers: HeaderMap) -> Response {
    read(v2, uri, headers, |v2, _| {
        let now = v2.manager.now_ms();
        let mut out = String::new();
        write_list(&mut out, &v2.manager.recurring_silences(), |out, one| {
            write_recurring(out, one, now);
        });
        Ok(Answer::json(out))
    })
    .await
}

async fn post_recurring(State(v2): State<Arc<V2>>, request: Request) -> Response {
    changed(v2, request, "recurring silence", |v2, body| {
        let now = v2.manager.now_ms();
        let request = recurring(body, now)?;
        let made = v2.manager.set_recurring_silence(request).map_err(of_silence)?;
        let mut out = String::new();
        write_recurring(&mut out, &made, now);
        Ok(Answer::json(out).into_response(None))
    })
    .await
}

async fn delete_recurring(State(v2): State<Arc<V2>>, Path(id): Path<String>) -> Response {
    let done = tokio::task::spawn_blocking(move || match v2.manager.delete_recurring_silence(&id) {
        Ok(()) => StatusCode::NO_CONTENT.into_response(),
        Err(error) => of_silence(error).into_response(),
    });
    finished(done.await)
}

async fn get_acknowledgements(State(v2): State<Arc<V2>>, uri: Uri, headers: HeaderMap) -> Response {
    read(v2, uri, headers, |v2, _| {
        let mut out = String::new();
        write_list(&mut out, &v2.manager.acknowledgements(), |out, one| {
            write_acknowledgement(out, one);
        });
        Ok(Answer::json(out))
    })
    .await
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct PostedAcknowledgement {
    fingerprint: String,
    by: String,
    #[serde(default)]
    note: String,
    ends_at: Option<String>,
}

async fn post_acknowledgement(State(v2): State<Arc<V2>>, request: Request) -> Response {
    changed(v2, request, "acknowledgement", |v2, body| {
        let posted: PostedAcknowledgement = posted::parsed(body, "acknowledgement")?;
        let fingerprint = fingerprint(&posted.fingerprint)?;
        let ends_at = posted::moment(posted.ends_at.as_deref(), "acknowledgement")?;
        let done = v2.manager.acknowledge(fingerprint, &posted.by, &posted.note, ends_at);
        let made = done.map_err(|error| of_acknowledgement(&error))?;
        let mut out = String::new();
        write_acknowledgement(&mut out, &made);
        Ok(Answer::json(out).into_response(None))
    })
    .await
}

#[derive(Deserialize)]
struct By {
    #[serde(default)]
    by: String,
}

async fn delete_acknowledgement(State(v2): State<Arc<V2>>, Path(id): Path<String>, Query(who): Query<By>) -> Response {
    let fingerprint = match fingerprint(&id) {
        Ok(fingerprint) => fingerprint,
        Err(refusal) => return refusal.into_response(),
    };
    let done = tokio::task::spawn_blocking(move || match v2.manager.unacknowledge(fingerprint, &who.by) {
        Ok(()) => StatusCode::NO_CONTENT.into_response(),
        Err(error) => of_acknowledgement(&error).into_response(),
    });
    finished(done.await)
}

fn fingerprint(text: &str) -> Result<u64, Refusal> {
    let is_hex = text.len() == 16 && text.bytes().all(|b| b.is_ascii_hexdigit());
    let number = is_hex.then(|| u64::from_str_radix(text, 16).ok()).flatten();
    number.ok_or_else(|| {
        Refusal::bad(format!(
            "{} is no fingerprint: 16 hexadecimal digits, as the alerts of this API have",
            go_quote(text)
        ))
    })
}

#[derive(Deserialize)]
struct PostedMatchers {
    matchers: Vec<posted::PostedMatcher>,
}

async fn preview(State(v2): State<Arc<V2>>, request: Request) -> Response {
    changed(v2, request, "preview", |v2, body| {
        let posted: PostedMatchers = posted::parsed(body, "preview")?;
        let matchers = posted::matchers(posted.matchers)?;
        let seen = v2
            .manager
            .preview_silence(matchers)
            .map_err(|error| Refusal::bad(error.to_string()))?;
        let mut out = String::new();
        write_preview(&mut out, &seen);
        Ok(Answer::json(out).into_response(None))
    })
    .await
}

async fn get_notifications(State(v2): State<Arc<V2>>, uri: Uri, headers: HeaderMap) -> Response {
    read(v2, uri, headers, notifications).await
}

fn notifications(v2: &V2, params: &Params) -> Result<Answer, Refusal> {
    let outcome = match params.get("outcome") {
        "" => None,
        "sent" => Some(Outcome::Sent),
        "retrying" => Some(Outcome::Retrying),
        "failed" => Some(Outcome::Failed),
        other => {
            return Err(Refusal::bad(format!(
                "outcome must be sent, retrying or failed, not {}",
                go_quote(other)
            )));
        }
    };
    let filter = ToldFilter {
        matchers: ask::matchers(params, "filter", v2.matcher_mode)?,
        receiver: params.get("receiver").to_owned(),
        outcome,
    };
    let limit = super::limit(params, SOME_MESSAGES)?;
    let told = v2.manager.told(&filter, limit.min(MOST_MESSAGES));
    Ok(write::list(told, write_told))
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct PostedRecurring {
    #[serde(default)]
    id: String,
    matchers: Vec<posted::PostedMatcher>,
    days: Vec<String>,
    from: String,
    to: String,
    time_zone: String,
    starts_at: Option<String>,
    ends_at: String,
    created_by: String,
    comment: String,
}

fn recurring(body: &[u8], now: i64) -> Result<RecurringRequest, Refusal> {
    let posted: PostedRecurring = posted::parsed(body, "recurring silence")?;
    let mut days = [false; 7];
    for name in &posted.days {
        let at = DAYS.iter().position(|day| name.eq_ignore_ascii_case(day));
        let day = at
            .and_then(|at| days.get_mut(at))
            .ok_or_else(|| Refusal::bad(format!("{} is no day of the week: monday, tuesday …", go_quote(name))))?;
        *day = true;
    }
    let ends_at = posted::moment(Some(&posted.ends_at), "recurring silence")?;
    Ok(RecurringRequest {
        id: posted.id,
        matchers: posted::matchers(posted.matchers)?,
        schedule: Schedule {
            days,
            from: minutes(&posted.from)?,
            to: minutes(&posted.to)?,
            time_zone: posted.time_zone,
            starts_at: posted::moment(posted.starts_at.as_deref(), "recurring silence")?.unwrap_or(now),
            ends_at: ends_at.ok_or_else(|| Refusal::bad("a recurring silence must have an end (endsAt)"))?,
        },
        created_by: posted.created_by,
        comment: posted.comment,
    })
}

// `22:30` in minutes since midnight.
fn minutes(text: &str) -> Result<u16, Refusal> {
    let two = |part: &str| (part.len() == 2).then(|| part.parse::<u16>().ok()).flatten();
    let read = text.split_once(':').and_then(|(h, m)| Some((two(h)?, two(m)?)));
    match read {
        Some((hours, minutes)) if minutes < 60 && (hours < 24 || (hours, minutes) == (24, 0)) => {
            Ok(hours * 60 + minutes)
        }
        _ => Err(Refusal::bad(format!(
            "{} is no time of day such as 22:30",
            go_quote(text)
        ))),
    }
}

fn write_text(out: &mut String, name: &str, text: &str) {
    let _ = write!(out, ",\"{name}\":");
    write_str(out, text);
}

fn write_recurring(out: &mut String, one: &RecurringSilence, now: i64) {
    let Schedule {
        days,
        from,
        to,
        time_zone,
        starts_at,
        ends_at,
    } = &one.schedule;
    out.push_str("{\"id\":");
    write_str(out, &one.id);
    write_text(out, "comment", &one.comment);
    write_text(out, "createdBy", &one.created_by);
    out.push_str(",\"days\":");
    let named: Vec<&str> = DAYS
        .into_iter()
        .zip(days)
        .filter(|(_, on)| **on)
        .map(|(day, _)| day)
        .collect();
    write_strs(out, &named);
    let _ = write!(
        out,
        ",\"from\":\"{:02}:{:02}\",\"to\":\"{:02}:{:02}\"",
        from / 60,
        from % 60,
        to / 60,
        to % 60
    );
    write_text(out, "timeZone", time_zone);
    for (name, time) in [
        ("startsAt", *starts_at),
        ("endsAt", *ends_at),
        ("updatedAt", one.updated_at),
    ] {
        let _ = write!(out, ",\"{name}\":");
        write::time(out, time);
    }
    out.push_str(",\"matchers\":");
    write_list(out, &one.matchers, write::matcher);
    out.push_str(",\"next\":");
    write_list(out, one.windows(now).into_iter().take(3), |out, (begin, end)| {
        out.push_str("{\"startsAt\":");
        write::time(out, begin);
        out.push_str(",\"endsAt\":");
        write::time(out, end);
        out.push('}');
    });
    out.push('}');
}

fn write_acknowledgement(out: &mut String, one: &Acknowledgement) {
    let _ = write!(out, "{{\"fingerprint\":\"{:016x}\",\"labels\":", one.fingerprint);
    write_labels(out, &one.labels);
    write_text(out, "by", &one.by);
    write_text(out, "note", &one.note);
    out.push_str(",\"at\":");
    write::time(out, one.at);
    if let Some(end) = one.ends_at {
        out.push_str(",\"endsAt\":");
        write::time(out, end);
    }
    out.push('}');
}

fn write_preview(out: &mut String, seen: &Preview) {
    let Preview {
        firing,
        muted,
        fired_lately,
        reach,
        warnings,
    } = seen;
    let _ = write!(
        out,
        "{{\"firing\":{firing},\"muted\":{},\"firedLately\":{fired_lately},\"alerts\":",
        muted.len()
    );
    write_list(out, muted.iter().take(MOST_MUTED), write::alert);
    out.push_str(",\"matchers\":");
    write_list(out, reach, |out, one| {
        let _ = write!(
            out,
            "{{\"matched\":{},\"matchesAbsent\":{}",
            one.matched, one.matches_absent
        );
        write_text(out, "matcher", &one.matcher);
        out.push('}');
    });
    out.push_str(",\"warnings\":");
    write_strs(out, warnings);
    out.push('}');
}

fn write_told(out: &mut String, told: &ToldMessage) {
    let message = &told.message;
    out.push_str("{\"at\":");
    write::time(out, told.at);
    for (name, text) in [
        ("receiver", &*message.receiver),
        ("integration", &message.integration),
        ("groupKey", &message.group_key),
        ("reason", &message.reason),
        ("outcome", message.outcome.as_str()),
        ("error", &message.error),
        ("answer", &message.answer),
    ] {
        write_text(out, name, text);
    }
    let _ = write!(
        out,
        ",\"attempts\":{},\"firing\":{},\"resolved\":{},\"alerts\":",
        message.attempts, message.firing, message.resolved
    );
    write_list(out, &told.alerts, |out, (fingerprint, labels)| {
        let _ = write!(out, "{{\"fingerprint\":\"{fingerprint:016x}\",\"labels\":");
        write_labels(out, labels);
        out.push('}');
    });
    out.push('}');
}

// For the test with foreign bytes.
#[cfg(test)]
pub(super) fn read_anything(body: &[u8], now: i64) {
    let _ = recurring(body, now).is_ok();
    if let Ok(posted) = posted::parsed::<PostedAcknowledgement>(body, "acknowledgement") {
        let _ = fingerprint(&posted.fingerprint).is_ok();
        let _ = posted::moment(posted.ends_at.as_deref(), "acknowledgement").is_ok();
    }
}
