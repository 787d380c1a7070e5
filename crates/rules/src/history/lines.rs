//! Events as lines of JSON, in the answers of the API and on disk: files that are only appended to, the oldest deleted
//! first.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use cupola_env::{Vfs, VfsFile};
use cupola_model::{Labels, fmt_f64};
use serde_json::{Map, Value, json};
use tracing::warn;

use super::{AlertEvent, Happened, RuleName, Sending};

const NAME: &str = "alerts-";
const ENDING: &str = ".jsonl";
// A file is closed at this size, and so many bytes stay in all.
const FILE_BYTES: u64 = 8 << 20;
const ALL_BYTES: u64 = 64 << 20;

// One file: its number, its size, and the moment of its youngest event.
struct Part {
    number: u64,
    bytes: u64,
    last_at: i64,
}

/// The files.
pub(super) struct Lines {
    vfs: Arc<dyn Vfs>,
    dir: PathBuf,
    file: Option<Box<dyn VfsFile>>,
    parts: Vec<Part>,
    is_broken: bool,
}

fn path(dir: &Path, number: u64) -> PathBuf {
    dir.join(format!("{NAME}{number:08}{ENDING}"))
}

impl Lines {
    /// Reads what is there, oldest first. A line that cannot be read is left out: nothing depends on it.
    pub(super) fn open(vfs: Arc<dyn Vfs>, dir: PathBuf) -> io::Result<(Self, Vec<AlertEvent>)> {
        vfs.create_dir_all(&dir)?;
        let number = |name: &String| name.strip_prefix(NAME)?.strip_suffix(ENDING)?.parse::<u64>().ok();
        let mut numbers: Vec<u64> = vfs.list(&dir)?.iter().filter_map(number).collect();
        numbers.sort_unstable();
        let (mut events, mut parts, mut unread) = (Vec::new(), Vec::new(), 0_usize);
        for number in numbers {
            let bytes = vfs.read(&path(&dir, number))?;
            let before = events.len();
            for line in bytes.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
                match read(line) {
                    Some(event) => events.push(event),
                    None => unread += 1,
                }
            }
            let new = events.get(before..).unwrap_or_default();
            parts.push(Part {
                number,
                bytes: bytes.len() as u64,
                last_at: new.iter().map(|event| event.at).max().unwrap_or(0),
            });
        }
        if unread > 0 {
            // The last line before a crash may be torn.
            warn!(dir = %dir.display(), lines = unread, "the history of alerts has lines that cannot be read");
        }
        let lines = Self {
            vfs,
            dir,
            file: None,
            parts,
            is_broken: false,
        };
        Ok((lines, events))
    }

    /// Appends events and deletes files whose events are all before `keep_from`, or that are too many. Where it fails the
    /// events are in memory alone; that is told once.
    pub(super) fn append(&mut self, events: &[AlertEvent], keep_from: i64) {
        let done = self.try_append(events).and_then(|()| self.forget(keep_from));
        if let Err(error) = &done
            && !self.is_broken
        {
            warn!(dir = %self.dir.display(), %error, "the history of alerts cannot be written; it goes on in memory");
        }
        self.is_broken = done.is_err();
    }

    fn try_append(&mut self, events: &[AlertEvent]) -> io::Result<()> {
        if events.is_empty() {
            return Ok(());
        }
        if self.parts.last().is_some_and(|part| part.bytes >= FILE_BYTES) {
            self.file = None;
        }
        let mut text = String::new();
        for event in events {
            text.push_str(&event.to_json().to_string());
            text.push('\n');
        }
        if self.file.is_none() {
            let number = self.parts.last().map_or(0, |part| part.number) + 1;
            let file = self.vfs.create_new(&path(&self.dir, number));
            if file.is_ok() {
                self.parts.push(Part {
                    number,
                    bytes: 0,
                    last_at: 0,
                });
            }
            self.file = Some(file?);
        }
        let (Some(file), Some(part)) = (&mut self.file, self.parts.last_mut()) else {
            return Ok(());
        };
        if let Err(error) = file.append(text.as_bytes()) {
            // What follows a torn line would be part of it.
            if file.truncate(part.bytes).is_err() {
                self.file = None;
            }
            return Err(error);
        }
        part.bytes += text.len() as u64;
        part.last_at = events.iter().map(|event| event.at).fold(part.last_at, i64::max);
        Ok(())
    }

    fn forget(&mut self, keep_from: i64) -> io::Result<()> {
        let mut bytes: u64 = self.parts.iter().map(|part| part.bytes).sum();
        // The one that is written to stays.
        while self.parts.len() > 1
            && let Some(first) = self.parts.first()
            && (first.last_at < keep_from || bytes > ALL_BYTES)
        {
            match self.vfs.remove_file(&path(&self.dir, first.number)) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
            bytes -= first.bytes;
            self.parts.remove(0);
        }
        Ok(())
    }
}

fn seconds(ms: i64) -> Value {
    json!(ms as f64 / 1000.0)
}

impl AlertEvent {
    /// As the API answers it, one object: `at` in seconds since the epoch with milliseconds, `fingerprint`, `labels`, `rule`
    /// where an evaluation did it, `event`, and what belongs to that.
    #[must_use]
    pub fn to_json(&self) -> Value {
        let pairs = self.labels.iter().map(|(name, value)| (name.to_owned(), value.into()));
        let mut out = json!({
            "at": seconds(self.at),
            "fingerprint": format!("{:016x}", self.labels.fingerprint()),
            "labels": pairs.collect::<Map<String, Value>>(),
        });
        if let Some(rule) = &self.rule {
            out["rule"] = json!({"file": rule.file, "group": rule.group, "name": rule.name, "query": rule.query});
        }
        let event = match &self.what {
            Happened::Pending { value } => {
                out["value"] = fmt_f64(*value).into();
                "pending"
            }
            Happened::Firing { value, since } => {
                out["value"] = fmt_f64(*value).into();
                out["since"] = seconds(*since);
                "firing"
            }
            Happened::Kept => "kept",
            Happened::Given { value } => {
                out["value"] = fmt_f64(*value).into();
                "given"
            }
            Happened::Resolved => "resolved",
            Happened::Ended => "ended",
            Happened::Restored { since } => {
                out["since"] = seconds(*since);
                "restored"
            }
            Happened::Forgotten { error } => {
                out["error"] = error.as_str().into();
                "forgotten"
            }
            Happened::Sent {
                to,
                is_resolved,
                sent_as,
                outcome,
            } => {
                out["alertmanager"] = Value::from(&**to);
                out["resolved"] = Value::from(*is_resolved);
                out["sentAs"] = format!("{sent_as:016x}").into();
                match outcome {
                    Sending::Taken => "sent",
                    Sending::Failed(error) => {
                        out["error"] = error.as_str().into();
                        "sendFailed"
                    }
                    Sending::Dropped => "dropped",
                    Sending::Lost(error) => {
                        out["error"] = error.as_str().into();
                        "lost"
                    }
                    Sending::Nobody => "nobody",
                }
            }
        };
        out["event"] = event.into();
        out
    }
}

// The other way round; `None` where it is no event, or one of a newer version.
fn read(line: &[u8]) -> Option<AlertEvent> {
    let json: Value = serde_json::from_slice(line).ok()?;
    let text = |name: &str| json.get(name)?.as_str().map(str::to_owned);
    let ms = |name: &str| {
        let seconds = json.get(name)?.as_f64().filter(|seconds| seconds.is_finite())?;
        Some((seconds * 1000.0).round() as i64)
    };
    let value = || text("value")?.parse::<f64>().ok();
    let sent = |outcome| {
        Some(Happened::Sent {
            to: text("alertmanager")?.into(),
            is_resolved: json.get("resolved")?.as_bool()?,
            sent_as: u64::from_str_radix(&text("sentAs")?, 16).ok()?,
            outcome,
        })
    };
    let what = match json.get("event")?.as_str()? {
        "pending" => Happened::Pending { value: value()? },
        "firing" => Happened::Firing {
            value: value()?,
            since: ms("since")?,
        },
        "kept" => Happened::Kept,
        "given" => Happened::Given { value: value()? },
        "resolved" => Happened::Resolved,
        "ended" => Happened::Ended,
        "restored" => Happened::Restored { since: ms("since")? },
        "forgotten" => Happened::Forgotten { error: text("error")? },
        "sent" => sent(Sending::Taken)?,
        "sendFailed" => sent(Sending::Failed(text("error")?))?,
        "dropped" => sent(Sending::Dropped)?,
        "lost" => sent(Sending::Lost(text("error")?))?,
        "nobody" => sent(Sending::Nobody)?,
        _ => return None,
    };
    let labels = json.get("labels")?.as_object()?.iter();
    let labels: Option<Vec<(&str, &str)>> = labels
        .map(|(name, value)| Some((name.as_str(), value.as_str()?)))
        .collect();
    let rule = json.get("rule").map(|rule| {
        let text = |name: &str| rule.get(name).and_then(Value::as_str).unwrap_or_default().to_owned();
        Arc::new(RuleName {
            file: text("file"),
            group: text("group"),
            name: text("name"),
            query: text("query"),
        })
    });
    Some(AlertEvent {
        at: ms("at")?,
        labels: Labels::from_pairs(labels?),
        rule,
        what,
    })
}

#[cfg(test)]
pub(super) fn reread(event: &AlertEvent) -> Option<AlertEvent> {
    read(event.to_json().to_string().as_bytes())
}

#[cfg(test)]
pub(super) fn read_foreign(bytes: &[u8]) -> Option<AlertEvent> {
    read(bytes)
}
