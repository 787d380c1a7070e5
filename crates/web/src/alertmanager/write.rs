//! Alertmanager's JSON, written straight from what is known.

use std::fmt::Write as _;
use std::time::{Duration, Instant};

use cupola_alert::{AlertStatus, ClusterStatus, Event, GroupStatus, Happening, Outcome, Silence, Suppression, Tested};
use cupola_model::{Labels, MatchOp, Matcher};

use crate::api::json::{Answer, write_labels, write_list, write_pairs, write_str, write_strs, write_time};
use crate::api::stream::{Pieces, Rest};

// Whoever has not read a list by then does not read it.
const LONGEST_READ: Duration = Duration::from_secs(120);

// A list that is written while it is sent.
struct ListPieces<T> {
    items: std::vec::IntoIter<T>,
    write: fn(&mut String, &T),
    text: String,
    is_begun: bool,
}

impl<T: Send> Pieces for ListPieces<T> {
    fn write(&mut self, out: &mut Vec<u8>, length: usize) -> bool {
        self.text.clear();
        while self.text.len() < length {
            let Some(item) = self.items.next() else {
                self.text.push_str(if self.is_begun { "]" } else { "[]" });
                out.extend_from_slice(self.text.as_bytes());
                return false;
            };
            self.text.push(if self.is_begun { ',' } else { '[' });
            self.is_begun = true;
            (self.write)(&mut self.text, &item);
        }
        out.extend_from_slice(self.text.as_bytes());
        true
    }
}

/// A list that may be so long that its text is never in memory as a whole.
pub(super) fn list<T: Send + 'static>(items: Vec<T>, write: fn(&mut String, &T)) -> Answer {
    Answer::json_in_pieces(Rest {
        pieces: Box::new(ListPieces {
            items: items.into_iter(),
            write,
            text: String::new(),
            is_begun: false,
        }),
        deadline: Some(Instant::now() + LONGEST_READ),
    })
}

/// A moment, to the millisecond.
pub(super) fn time(out: &mut String, ms: i64) {
    write_time(out, Some(ms));
}

fn name(out: &mut String, name: &str) {
    out.push_str("{\"name\":");
    write_str(out, name);
    out.push('}');
}

/// A receiver with its labels.
/// `status.cluster`.
pub(super) fn cluster(out: &mut String, status: Option<&ClusterStatus>) {
    let Some(status) = status else {
        out.push_str("{\"peers\":[],\"status\":\"disabled\"}");
        return;
    };
    out.push_str("{\"name\":");
    write_str(out, &status.name);
    out.push_str(",\"peers\":");
    write_list(out, &status.peers, |out, (name, address)| {
        out.push_str("{\"address\":");
        write_str(out, address);
        out.push_str(",\"name\":");
        write_str(out, name);
        out.push('}');
    });
    let is_ready = if status.is_ready { "ready" } else { "settling" };
    out.push_str(",\"status\":");
    write_str(out, is_ready);
    out.push('}');
}

pub(super) fn receiver(out: &mut String, name: &str, labels: &Labels) {
    out.push_str("{\"labels\":");
    write_labels(out, labels);
    out.push_str(",\"name\":");
    write_str(out, name);
    out.push('}');
}

/// A `gettableAlert`.
pub(super) fn alert(out: &mut String, status: &AlertStatus) {
    let alert = &status.alert;
    out.push_str("{\"annotations\":");
    write_labels(out, &alert.annotations);
    out.push_str(",\"endsAt\":");
    time(out, alert.ends_at);
    let _ = write!(out, ",\"fingerprint\":\"{:016x}\",\"receivers\":", alert.fingerprint);
    write_list(out, status.receivers.iter(), |out, receiver| name(out, receiver));
    out.push_str(",\"startsAt\":");
    time(out, alert.starts_at);
    out.push_str(",\"status\":{\"inhibitedBy\":[");
    if let Some(id) = status.inhibited_by {
        let _ = write!(out, "\"{id:016x}\"");
    }
    out.push_str("],\"mutedBy\":");
    write_strs(out, &status.muted_by);
    out.push_str(",\"silencedBy\":");
    write_strs(out, &status.silenced_by);
    let state = if status.is_suppressed() { "suppressed" } else { "active" };
    let _ = write!(out, ",\"state\":\"{state}\"}},\"updatedAt\":");
    time(out, alert.updated_at);
    if !alert.generator_url.is_empty() {
        out.push_str(",\"generatorURL\":");
        write_str(out, &alert.generator_url);
    }
    out.push_str(",\"labels\":");
    write_labels(out, &alert.labels);
    out.push('}');
}

/// An `alertGroup`.
pub(super) fn group(out: &mut String, group: &GroupStatus) {
    out.push_str("{\"alerts\":");
    write_list(out, &group.alerts, alert);
    out.push_str(",\"labels\":");
    write_labels(out, &group.labels);
    out.push_str(",\"receiver\":");
    name(out, &group.receiver);
    out.push_str(",\"routeLabels\":");
    write_pairs(out, group.route_labels.iter().map(|(n, v)| (n.as_str(), v.as_str())));
    out.push('}');
}

/// A `gettableSilence` at `now`.
pub(super) fn silence(out: &mut String, silence: &Silence, now: i64) {
    out.push_str("{\"id\":");
    write_str(out, &silence.id);
    let _ = write!(
        out,
        ",\"status\":{{\"state\":\"{}\"}},\"updatedAt\":",
        silence.state(now).as_str()
    );
    time(out, silence.updated_at);
    out.push_str(",\"annotations\":");
    write_pairs(out, silence.annotations.iter().map(|(n, v)| (n.as_str(), v.as_str())));
    out.push_str(",\"comment\":");
    write_str(out, &silence.comment);
    out.push_str(",\"createdBy\":");
    write_str(out, &silence.created_by);
    out.push_str(",\"endsAt\":");
    time(out, silence.ends_at);
    out.push_str(",\"matchers\":");
    write_list(out, &silence.matchers, matcher);
    // Ours: API v2 knows one set, and upstream answers 500 to whoever asks for silences while one has several.
    if !silence.further_sets.is_empty() {
        out.push_str(",\"matcherSets\":");
        write_list(out, silence.sets(), |out, set| write_list(out, set, matcher));
    }
    out.push_str(",\"startsAt\":");
    time(out, silence.starts_at);
    out.push('}');
}

/// A `matcher`.
pub(super) fn matcher(out: &mut String, matcher: &Matcher) {
    let is_equal = matches!(matcher.op(), MatchOp::Equal | MatchOp::Regex);
    let is_regex = matches!(matcher.op(), MatchOp::Regex | MatchOp::NotRegex);
    let _ = write!(out, "{{\"isEqual\":{is_equal},\"isRegex\":{is_regex},\"name\":");
    write_str(out, matcher.name());
    out.push_str(",\"value\":");
    write_str(out, matcher.value());
    out.push('}');
}

/// What became of a test message at one integration; ours.
pub(super) fn tested(out: &mut String, tested: &Tested) {
    out.push_str("{\"integration\":");
    write_str(out, &tested.integration);
    let _ = write!(out, ",\"sent\":{}", tested.result.is_ok());
    if let Err(error) = &tested.result {
        out.push_str(",\"error\":");
        write_str(out, &error.message);
    }
    out.push_str(",\"exchanges\":");
    write_list(out, &tested.exchanges, |out, exchange| {
        let (status, answer) = &exchange.answer;
        let _ = write!(out, "{{\"status\":{status}");
        for (name, value) in [
            ("method", &exchange.method),
            ("host", &exchange.host),
            ("body", &exchange.body),
            ("answer", answer),
        ] {
            let _ = write!(out, ",\"{name}\":");
            write_str(out, value);
        }
        out.push('}');
    });
    out.push('}');
}

/// One entry of `/api/v2/history`, which is ours: when, which alert, what happened, and what belongs to that.
pub(crate) fn event(out: &mut String, event: &Event) {
    out.push_str("{\"at\":");
    time(out, event.at);
    let _ = write!(out, ",\"fingerprint\":\"{:016x}\",\"labels\":", event.fingerprint);
    write_labels(out, &event.labels);
    let mut text = |name: &str, value: &str| {
        let _ = write!(out, ",\"{name}\":");
        write_str(out, value);
    };
    match &event.what {
        Happening::Fired => text("event", "fired"),
        Happening::Refused => text("event", "refused"),
        Happening::Resolved { by_timeout } => {
            text("event", if *by_timeout { "timedOut" } else { "resolved" });
        }
        Happening::Grouped {
            receiver,
            group_key,
            flush_at,
        } => {
            text("event", "grouped");
            text("receiver", receiver);
            text("groupKey", group_key);
            out.push_str(",\"flushAt\":");
            time(out, *flush_at);
        }
        Happening::Suppressed { group_key, by } => {
            text("event", "suppressed");
            text("groupKey", group_key);
            suppression(out, by);
        }
        Happening::Released { group_key } => {
            text("event", "released");
            text("groupKey", group_key);
        }
        Happening::Told(message) => {
            let event = match message.outcome {
                Outcome::Sent => "sent",
                Outcome::Retrying => "retrying",
                Outcome::Failed => "failed",
            };
            text("event", event);
            text("receiver", &message.receiver);
            text("integration", &message.integration);
            text("groupKey", &message.group_key);
            text("reason", &message.reason);
            if !message.error.is_empty() {
                text("error", &message.error);
            }
            if !message.answer.is_empty() {
                text("answer", &message.answer);
            }
            let _ = write!(
                out,
                ",\"attempts\":{},\"firing\":{},\"resolved\":{}",
                message.attempts, message.firing, message.resolved
            );
        }
        Happening::Acknowledged(ack) => {
            text("event", "acknowledged");
            text("by", &ack.by);
            text("note", &ack.note);
            if let Some(end) = ack.ends_at {
                out.push_str(",\"endsAt\":");
                time(out, end);
            }
        }
        Happening::Unacknowledged { by } => {
            text("event", "unacknowledged");
            text("by", by);
        }
        Happening::Held { group_key, by } => {
            text("event", "held");
            text("groupKey", group_key);
            text("by", by);
        }
    }
    out.push('}');
}

fn suppression(out: &mut String, by: &Suppression) {
    match by {
        Suppression::Inhibition(id, rule) => {
            let _ = write!(out, ",\"inhibitedBy\":[\"{id:016x}\"],\"inhibitRule\":");
            write_str(out, rule);
        }
        Suppression::Inactive(names) => {
            out.push_str(",\"outsideOf\":");
            write_strs(out, names);
        }
        Suppression::Muted(names) => {
            out.push_str(",\"mutedBy\":");
            write_strs(out, names);
        }
        Suppression::Silence(ids) => {
            out.push_str(",\"silencedBy\":");
            write_strs(out, ids);
        }
    }
}
