//! What only our pages ask, and Grafana's two addresses for dashboards.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::sync::{Arc, LazyLock};

use axum::Router;
use cupola_alert::{AlertFilter, Alertmanager, Delivery, GroupView};
use cupola_model::format_duration;
use http::StatusCode;
use tracing::error;

use super::answer::{Ask, on_get, on_get_always};
use super::json::{Answer, ApiError, write_labels, write_list, write_str, write_strs, write_time};
use super::params::decode_path;
use crate::assets::DASHBOARDS;
use crate::router::Ctx;

// As many messages as the pages show.
const MOST_NOTIFICATIONS: usize = 200;

pub(crate) fn routes() -> Router<Arc<Ctx>> {
    Router::new()
        .route("/api/ui/bootstrap", on_get_always(bootstrap))
        .route("/api/ui/alerting", on_get(alerting))
        .route("/api/search", on_get_always(search))
        .route("/api/dashboards/uid/{uid}", on_get_always(dashboard))
}

fn bootstrap(ask: &Ask<'_>) -> Result<Answer, ApiError> {
    let app = ask.app;
    let mut out = String::from("{\"version\":");
    write_str(&mut out, &app.version);
    out.push_str(",\"hostname\":");
    write_str(&mut out, &app.hostname);
    let _ = write!(out, ",\"mode\":\"{}\",\"startTime\":", app.mode.as_str());
    write_time(&mut out, Some(app.started_ms));
    let interval = format_duration(app.config.load().scrape_interval_ms);
    let _ = write!(
        out,
        ",\"scrapeInterval\":\"{interval}\",\"alertmanager\":{{\"configured\":{},\"receivers\":",
        app.alertmanager.as_ref().is_some_and(Alertmanager::delivers)
    );
    write_strs(
        &mut out,
        &app.alertmanager
            .as_ref()
            .map(Alertmanager::receivers)
            .unwrap_or_default(),
    );
    let _ = write!(out, ",\"running\":{}}}}}", app.alertmanager.is_some());
    Ok(Answer::json(out))
}

fn alerting(ask: &Ask<'_>) -> Result<Answer, ApiError> {
    let (groups, quiet, history) = ask
        .app
        .alertmanager
        .as_ref()
        .map(|am| (am.groups(), Quiet::of(am), am.history()))
        .unwrap_or_default();
    Ok(Answer::json(write_alerting(
        ask.app.alertmanager.as_ref().is_some_and(Alertmanager::delivers),
        &groups,
        &quiet,
        &history,
    )))
}

// Which alerts that fire need nobody now, and why.
#[derive(Default)]
struct Quiet {
    // By receiver, fingerprint of the group's labels and fingerprint of the alert: time mutes groups, not alerts.
    suppressed: HashMap<(Arc<str>, u64, u64), &'static str>,
    // Who looks after an alert, by its fingerprint.
    acknowledged: HashMap<u64, String>,
}

impl Quiet {
    fn of(am: &Alertmanager) -> Self {
        let mut suppressed = HashMap::new();
        for group in am.group_statuses(&AlertFilter::default()) {
            for status in &group.alerts {
                let why = if !status.silenced_by.is_empty() {
                    "silenced"
                } else if status.inhibited_by.is_some() {
                    "inhibited"
                } else if !status.muted_by.is_empty() {
                    "muted"
                } else {
                    continue;
                };
                let key = (
                    group.receiver.clone(),
                    group.labels.fingerprint(),
                    status.alert.fingerprint,
                );
                suppressed.insert(key, why);
            }
        }
        let acks = am.acknowledgements();
        Self {
            suppressed,
            acknowledged: acks.iter().map(|ack| (ack.fingerprint, ack.by.clone())).collect(),
        }
    }
}

fn write_alerting(is_configured: bool, groups: &[GroupView], quiet: &Quiet, history: &[Delivery]) -> String {
    let mut out = format!("{{\"configured\":{is_configured},\"groups\":");
    write_list(&mut out, groups, |out, group| write_group(out, group, quiet));
    out.push_str(",\"notifications\":");
    write_list(&mut out, history.iter().take(MOST_NOTIFICATIONS), write_notification);
    out.push('}');
    out
}

fn write_group(out: &mut String, group: &GroupView, quiet: &Quiet) {
    let receiver: Arc<str> = Arc::from(group.receiver.as_str());
    let of = group.labels.fingerprint();
    out.push_str("{\"receiver\":");
    write_str(out, &group.receiver);
    out.push_str(",\"groupKey\":");
    write_str(out, &group.key);
    out.push_str(",\"groupLabels\":");
    write_labels(out, &group.labels);
    out.push_str(",\"nextFlushAt\":");
    write_time(out, Some(group.next_flush));
    out.push_str(",\"alerts\":");
    write_list(out, &group.alerts, |out, alert| {
        out.push_str("{\"labels\":");
        write_labels(out, &alert.labels);
        out.push_str(",\"annotations\":");
        write_labels(out, &alert.annotations);
        let status = if alert.ends_at.is_some() { "resolved" } else { "firing" };
        let _ = write!(out, ",\"status\":\"{status}\",\"startsAt\":");
        write_time(out, Some(alert.starts_at));
        out.push_str(",\"endsAt\":");
        match alert.ends_at {
            Some(_) => write_time(out, alert.ends_at),
            None => out.push_str("null"),
        }
        if alert.ends_at.is_none() {
            let print = alert.labels.fingerprint();
            if let Some(why) = quiet.suppressed.get(&(receiver.clone(), of, print)) {
                let _ = write!(out, ",\"suppressed\":\"{why}\"");
            }
            if let Some(by) = quiet.acknowledged.get(&print) {
                out.push_str(",\"acknowledgedBy\":");
                write_str(out, by);
            }
        }
        out.push('}');
    });
    out.push('}');
}

fn write_notification(out: &mut String, sent: &Delivery) {
    out.push_str("{\"at\":");
    write_time(out, Some(sent.at));
    for (name, text) in [
        ("receiver", &sent.receiver),
        ("integration", &sent.integration),
        ("groupKey", &sent.group_key),
    ] {
        let _ = write!(out, ",\"{name}\":");
        write_str(out, text);
    }
    out.push_str(",\"groupLabels\":");
    write_labels(out, &sent.group_labels);
    let _ = write!(
        out,
        ",\"status\":\"{}\",\"firing\":{},\"resolved\":{},\"outcome\":\"{}\",\"error\":",
        sent.status,
        sent.firing,
        sent.resolved,
        sent.outcome.as_str(),
    );
    write_str(out, &sent.error);
    let _ = write!(out, ",\"attempts\":{},\"reason\":", sent.attempts);
    write_str(out, sent.reason);
    out.push('}');
}

// A dashboard of the binary.
struct Dashboard {
    uid: String,
    title: String,
    slug: String,
    tags: Vec<String>,
    json: &'static str,
}

static BUILT_IN: LazyLock<Vec<Dashboard>> = LazyLock::new(|| {
    let mut all: Vec<Dashboard> = DASHBOARDS.iter().filter_map(|json| Dashboard::read(json)).collect();
    all.sort_by(|a, b| a.title.cmp(&b.title));
    all
});

impl Dashboard {
    fn read(json: &'static str) -> Option<Self> {
        let parsed: serde_json::Value = match serde_json::from_str(json) {
            Ok(parsed) => parsed,
            Err(error) => {
                error!(%error, "a dashboard of this binary is no JSON");
                return None;
            }
        };
        let text = |name: &str| parsed.get(name).and_then(|v| v.as_str()).unwrap_or("").to_owned();
        let tags = parsed
            .get("tags")
            .and_then(|v| v.as_array())
            .map(Vec::as_slice)
            .unwrap_or_default();
        let title = text("title");
        let slug = slug(&title);
        let uid = Some(text("uid"))
            .filter(|uid| !uid.is_empty())
            .unwrap_or_else(|| slug.clone());
        let tags = tags.iter().filter_map(|tag| tag.as_str().map(str::to_owned)).collect();
        (!uid.is_empty()).then_some(Self {
            uid,
            title,
            slug,
            tags,
            json,
        })
    }
}

// As Grafana makes it: lower case, everything else a dash.
fn slug(title: &str) -> String {
    let mut out = String::new();
    for c in title.chars() {
        if c.is_alphanumeric() {
            out.extend(c.to_lowercase());
        } else if !out.is_empty() && !out.ends_with('-') {
            out.push('-');
        }
    }
    out.trim_end_matches('-').to_owned()
}

fn search(ask: &Ask<'_>) -> Result<Answer, ApiError> {
    let wanted = ask.params.get("query").to_lowercase();
    let found = BUILT_IN
        .iter()
        .filter(|dashboard| dashboard.title.to_lowercase().contains(&wanted));
    let mut out = String::new();
    write_list(&mut out, found, |out, dashboard| {
        out.push_str("{\"uid\":");
        write_str(out, &dashboard.uid);
        out.push_str(",\"title\":");
        write_str(out, &dashboard.title);
        out.push_str(",\"url\":");
        write_str(out, &format!("/d/{}/{}", dashboard.uid, dashboard.slug));
        out.push_str(",\"type\":\"dash-db\",\"tags\":");
        write_strs(out, &dashboard.tags);
        out.push('}');
    });
    Ok(Answer::json(out))
}

fn dashboard(ask: &Ask<'_>) -> Result<Answer, ApiError> {
    let uid = decode_path(ask.path.strip_prefix("/api/dashboards/uid/").unwrap_or(""));
    let Some(found) = BUILT_IN.iter().find(|dashboard| dashboard.uid == uid) else {
        let body = "{\"message\":\"Dashboard not found\"}".to_owned();
        return Ok(Answer::json(body).with_status(StatusCode::NOT_FOUND));
    };
    let mut out = format!("{{\"dashboard\":{},\"meta\":{{\"slug\":", found.json);
    write_str(&mut out, &found.slug);
    out.push_str(",\"provisioned\":true,\"canSave\":false}}");
    Ok(Answer::json(out))
}

#[cfg(test)]
mod tests {
    use super::*;
    use cupola_alert::{Outcome, ViewedAlert};
    use cupola_model::Labels;
    use expect_test::expect;

    #[test]
    fn groups_and_messages_are_written_for_the_pages() {
        let labels = |name: &str| Labels::from_pairs([("alertname", name)]);
        let alert = |ends_at| ViewedAlert {
            labels: labels("X"),
            annotations: Labels::from_pairs([("summary", "s")]),
            starts_at: 1_000,
            ends_at,
        };
        let group = GroupView {
            receiver: "team".into(),
            key: "{}:{alertname=\"X\"}".into(),
            labels: labels("X"),
            next_flush: 2_000,
            alerts: vec![alert(None), alert(Some(1_500))],
        };
        let sent = Delivery {
            at: 3_000,
            receiver: "team".into(),
            integration: "webhook[0]".into(),
            group_key: "{}:{alertname=\"X\"}".into(),
            group_labels: labels("X"),
            status: "firing",
            firing: 2,
            resolved: 0,
            outcome: Outcome::Retrying,
            error: "connection refused".into(),
            attempts: 1,
            reason: "first notification",
            answer: "POST x: 503".into(),
        };
        let print = labels("X").fingerprint();
        let quiet = Quiet {
            suppressed: HashMap::from([(("team".into(), print, print), "silenced")]),
            acknowledged: HashMap::from([(print, "carol \"c\"".into())]),
        };
        expect![[r#"{"configured":true,"groups":[{"receiver":"team","groupKey":"{}:{alertname=\"X\"}","groupLabels":{"alertname":"X"},"nextFlushAt":"1970-01-01T00:00:02.000Z","alerts":[{"labels":{"alertname":"X"},"annotations":{"summary":"s"},"status":"firing","startsAt":"1970-01-01T00:00:01.000Z","endsAt":null,"suppressed":"silenced","acknowledgedBy":"carol \"c\""},{"labels":{"alertname":"X"},"annotations":{"summary":"s"},"status":"resolved","startsAt":"1970-01-01T00:00:01.000Z","endsAt":"1970-01-01T00:00:01.500Z"}]}],"notifications":[{"at":"1970-01-01T00:00:03.000Z","receiver":"team","integration":"webhook[0]","groupKey":"{}:{alertname=\"X\"}","groupLabels":{"alertname":"X"},"status":"firing","firing":2,"resolved":0,"outcome":"retrying","error":"connection refused","attempts":1,"reason":"first notification"}]}"#]]
        .assert_eq(&write_alerting(true, &[group], &quiet, std::slice::from_ref(&sent)));
        let many = vec![sent; 300];
        let json: serde_json::Value =
            serde_json::from_str(&write_alerting(true, &[], &Quiet::default(), &many)).unwrap();
        assert_eq!(json["notifications"].as_array().unwrap().len(), 200);
    }

    #[test]
    fn slugs_are_for_urls() {
        for (title, expected) in [
            ("Node: this machine", "node-this-machine"),
            ("  CPU & Memory! ", "cpu-memory"),
            ("", ""),
        ] {
            assert_eq!(slug(title), expected);
        }
    }

    #[test]
    fn every_dashboard_of_the_binary_can_be_found() {
        assert_eq!(BUILT_IN.len(), DASHBOARDS.len());
        let mut uids: Vec<&str> = BUILT_IN.iter().map(|d| d.uid.as_str()).collect();
        uids.sort_unstable();
        uids.dedup();
        assert_eq!(uids.len(), DASHBOARDS.len(), "two dashboards share a uid");
        assert!(BUILT_IN.iter().all(|d| !d.title.is_empty() && !d.slug.is_empty()));
    }

    #[test]
    fn a_dashboard_without_uid_is_found_by_its_title() {
        let dashboard = Dashboard::read(r#"{"title":"My Board","tags":["a",1]}"#).unwrap();
        assert_eq!(
            (dashboard.uid.as_str(), dashboard.tags.as_slice()),
            ("my-board", &["a".to_owned()][..])
        );
        assert!(Dashboard::read("{").is_none());
    }
}
