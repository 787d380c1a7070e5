//! The notification log: what each integration was last told about each group (Alertmanager 0.34, `nflog`).

use std::collections::HashMap;
use std::sync::Arc;

use cupola_model::Labels;
use xxhash_rust::xxh64::xxh64;

use cupola_wire::{Fields, Message, Value, WireError};

/// What one integration was told about one group, and when. Times are milliseconds since the epoch.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Entry {
    pub group_key: Arc<str>,
    pub receiver: Arc<str>,
    pub integration: String,
    /// Its place among those of its kind.
    pub index: u32,
    pub at: i64,
    /// [`alert_hash`] of the alerts that fired, ascending.
    pub firing: Vec<u64>,
    /// The same of those that were resolved.
    pub resolved: Vec<u64>,
    pub expires_at: i64,
    /// What receivers have noted for themselves (field 8, a map); see [`note`].
    pub receiver_data: Vec<Vec<u8>>,
}

/// An entry of [`Entry::receiver_data`] whose value is a text.
pub(crate) fn note(name: &str, value: &str) -> Vec<u8> {
    let mut text = Message::default();
    text.bytes(1, value.as_bytes());
    let mut entry = Message::default();
    entry.bytes(1, name.as_bytes());
    entry.message(2, &text.0);
    entry.0
}

// The other way round; `None` where it is no text.
fn read_note(bytes: &[u8]) -> Option<(String, String)> {
    let (mut name, mut text) = (None, None);
    for field in Fields(bytes) {
        match field.ok()? {
            (1, value) => name = Some(value.text(1).ok()?),
            (2, value) => {
                for field in Fields(value.bytes(2).ok()?) {
                    if let (1, value) = field.ok()? {
                        text = Some(value.text(1).ok()?);
                    }
                }
            }
            _ => {}
        }
    }
    Some((name?, text?))
}

/// Names an alert in the log: xxHash64 of its labels, laid out as for the fingerprint.
pub(crate) fn alert_hash(labels: &Labels) -> u64 {
    let mut bytes = Vec::with_capacity(256);
    for (name, value) in labels {
        bytes.extend_from_slice(name.as_bytes());
        bytes.push(0xff);
        bytes.extend_from_slice(value.as_bytes());
        bytes.push(0xff);
    }
    xxh64(&bytes, 0)
}

/// All entries, by receiver and group.
#[derive(Debug, Default)]
pub(crate) struct NotificationLog {
    entries: HashMap<String, Vec<Arc<Entry>>>,
    count: usize,
}

fn key(group_key: &str, receiver: &str) -> String {
    format!("{receiver}\0{group_key}")
}

impl NotificationLog {
    pub(crate) fn get(&self, group_key: &str, receiver: &str, integration: &str, index: usize) -> Option<Arc<Entry>> {
        let all = self.entries.get(&key(group_key, receiver))?;
        let found = all
            .iter()
            .find(|e| e.integration == integration && e.index as usize == index);
        found.cloned()
    }

    /// Whether any integration of `receiver` believes that the alert fires.
    pub(crate) fn believes_firing(&self, group_key: &str, receiver: &str, alert: u64) -> bool {
        let all = self.entries.get(&key(group_key, receiver));
        all.is_some_and(|all| all.iter().any(|e| e.firing.binary_search(&alert).is_ok()))
    }

    /// When it was last told that an alert is over, by [`alert_hash`].
    pub(crate) fn ends_told(&self) -> HashMap<u64, i64> {
        let mut told = HashMap::new();
        for entry in self.entries.values().flatten() {
            for alert in &entry.resolved {
                let at = told.entry(*alert).or_insert(entry.at);
                *at = entry.at.max(*at);
            }
        }
        told
    }

    /// When an integration of `receiver` was last told of the group.
    pub(crate) fn last_told(&self, group_key: &str, receiver: &str) -> Option<i64> {
        self.entries.get(&key(group_key, receiver))?.iter().map(|e| e.at).max()
    }

    /// Takes an entry of another member of a cluster. The younger one stays, but one of a clock that was ahead gives way to
    /// any other. Returns whether it is news.
    pub(crate) fn merge(&mut self, entry: Entry, now: i64) -> bool {
        self.take(entry, now, |old, entry| {
            match (old.is_far_ahead(now), entry.is_far_ahead(now)) {
                (true, false) => true,
                // Whoever made it knows no better: the members would put it back in the place of what is told now for ever.
                (false, true) => false,
                _ => old.at < entry.at,
            }
        })
    }

    /// Takes an entry from disk; they come in the order of their writing. The later one stays, though a clock that was put
    /// right calls it older: [`NotificationLog::record`] had reason to. What is older by less was another member's message
    /// that was written late.
    pub(crate) fn restore(&mut self, entry: Entry, now: i64) {
        self.take(entry, now, |old, entry| old.at < entry.at || old.is_far_ahead(entry.at));
    }

    fn take(&mut self, entry: Entry, now: i64, replaces: impl Fn(&Entry, &Entry) -> bool) -> bool {
        if entry.expires_at <= now {
            return false;
        }
        let all = self.entries.entry(key(&entry.group_key, &entry.receiver)).or_default();
        let same = |e: &&mut Arc<Entry>| e.integration == entry.integration && e.index == entry.index;
        match all.iter_mut().find(same) {
            Some(old) if !replaces(old, &entry) => return false,
            Some(old) => *old = Arc::new(entry),
            None => {
                all.push(Arc::new(entry));
                self.count += 1;
            }
        }
        true
    }

    /// Notes what this process has just told, at `entry.at`. A clock that went back does not make the note an old one.
    pub(crate) fn record(&mut self, mut entry: Entry, repeat_ms: i64) -> Arc<Entry> {
        let all = self.entries.entry(key(&entry.group_key, &entry.receiver)).or_default();
        let same = |e: &&mut Arc<Entry>| e.integration == entry.integration && e.index == entry.index;
        let old = all.iter_mut().find(same);
        if let Some(old) = &old {
            // Where it went back by more than a reminder's time, the old moment is no longer believed.
            if old.at >= entry.at && old.at - entry.at < repeat_ms && !old.is_far_ahead(entry.at) {
                let later = old.at - entry.at + 1;
                entry.at += later;
                entry.expires_at = entry.expires_at.saturating_add(later);
            }
        }
        let entry = Arc::new(entry);
        match old {
            Some(old) => *old = entry.clone(),
            None => {
                all.push(entry.clone());
                self.count += 1;
            }
        }
        entry
    }

    /// Keeps an entry for longer, where it is still the one that counts, or has just expired. Returns what there is then.
    pub(crate) fn prolong(&mut self, told: &Entry, expires_at: i64) -> Option<Arc<Entry>> {
        let index = usize::try_from(told.index).ok()?;
        let get = |log: &Self| log.get(&told.group_key, &told.receiver, &told.integration, index);
        if get(self).is_some_and(|now| now.at != told.at) {
            return None;
        }
        let entry = Entry {
            // So that other members take it for the younger one.
            at: told.at.saturating_add(1),
            expires_at,
            ..told.clone()
        };
        self.merge(entry, i64::MIN).then(|| get(self)).flatten()
    }

    /// Forgets entries that have expired. Returns how many.
    pub(crate) fn collect_garbage(&mut self, now: i64) -> usize {
        let before = self.count;
        self.entries.retain(|_, all| {
            all.retain(|e| e.expires_at > now);
            !all.is_empty()
        });
        self.count = self.entries.values().map(Vec::len).sum();
        before - self.count
    }

    /// All of them as Alertmanager's file holds them.
    pub(crate) fn snapshot(&self) -> Vec<Vec<u8>> {
        self.entries.values().flatten().map(|e| e.encode()).collect()
    }
}

impl Entry {
    /// Whether it was told further ahead of `now` than a reminder is due after it: by a clock that has gone back since, or
    /// that is wrong. An entry is kept for two repeat intervals.
    fn is_far_ahead(&self, now: i64) -> bool {
        let repeat_ms = self.expires_at.saturating_sub(self.at) / 2;
        self.at.saturating_sub(now) > repeat_ms
    }

    /// What receivers have noted for themselves, as far as it is text.
    pub(crate) fn notes(&self) -> Vec<(String, String)> {
        self.receiver_data.iter().filter_map(|data| read_note(data)).collect()
    }

    /// A `nflogpb.MeshEntry`.
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut receiver = Message::default();
        receiver.bytes(1, self.receiver.as_bytes());
        receiver.bytes(2, self.integration.as_bytes());
        receiver.number(3, u64::from(self.index));
        let mut inner = Message::default();
        inner.bytes(1, self.group_key.as_bytes());
        inner.message(2, &receiver.0);
        inner.time(5, self.at);
        inner.packed(6, &self.firing);
        inner.packed(7, &self.resolved);
        for data in &self.receiver_data {
            inner.message(8, data);
        }
        let mut outer = Message::default();
        outer.message(1, &inner.0);
        outer.time(2, self.expires_at);
        outer.0
    }

    /// Reads a `nflogpb.MeshEntry`.
    pub(crate) fn decode(bytes: &[u8]) -> Result<Self, WireError> {
        let mut entry = Self::default();
        for field in Fields(bytes) {
            match field? {
                (1, value) => entry.read(value)?,
                (2, value) => entry.expires_at = value.time(2)?,
                _ => {}
            }
        }
        entry.firing.sort_unstable();
        entry.resolved.sort_unstable();
        Ok(entry)
    }

    fn read(&mut self, value: Value<'_>) -> Result<(), WireError> {
        for field in Fields(value.bytes(1)?) {
            let (number, value) = field?;
            match number {
                1 => self.group_key = value.text(number)?.into(),
                2 => {
                    for field in Fields(value.bytes(number)?) {
                        match field? {
                            (1, value) => self.receiver = value.text(1)?.into(),
                            (2, value) => self.integration = value.text(2)?,
                            (3, value) => self.index = u32::try_from(value.number(3)?).unwrap_or(u32::MAX),
                            _ => {}
                        }
                    }
                }
                5 => self.at = value.time(number)?,
                6 => value.numbers(number, &mut self.firing)?,
                7 => value.numbers(number, &mut self.resolved)?,
                8 => self.receiver_data.push(value.bytes(number)?.to_vec()),
                _ => {}
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(at: i64, firing: &[u64]) -> Entry {
        Entry {
            group_key: "{}:{}".into(),
            receiver: "r".into(),
            integration: "webhook".into(),
            at,
            firing: firing.to_vec(),
            expires_at: at + 1000,
            ..Entry::default()
        }
    }

    #[test]
    fn the_younger_entry_stays() {
        let mut log = NotificationLog::default();
        assert!(log.merge(entry(10, &[1]), 0));
        assert!(!log.merge(entry(5, &[2]), 0), "an older one");
        assert!(
            !log.merge(entry(10, &[2]), 0),
            "the same moment is no news, so gossip ends"
        );
        assert!(log.believes_firing("{}:{}", "r", 1));
        assert!(log.merge(entry(11, &[3]), 0));
        assert!(!log.believes_firing("{}:{}", "r", 1));
        assert!(!log.merge(entry(20, &[]), 5000), "expired");
        assert_eq!((log.collect_garbage(1010), log.collect_garbage(1011)), (0, 1));
        assert!(log.get("{}:{}", "r", "webhook", 0).is_none());
    }

    #[test]
    fn an_entry_of_a_clock_that_was_ahead_does_not_come_back_from_another_member() {
        const HOUR: i64 = 3_600_000;
        let now = 1_795_000_000_000;
        let entry = |at: i64, firing: &[u64]| Entry {
            expires_at: at + 2 * HOUR,
            ..entry(at, firing)
        };
        let get = |log: &NotificationLog| log.get("{}:{}", "r", "webhook", 0).unwrap();
        let ahead = entry(now + 24 * HOUR, &[1]);
        let mut log = NotificationLog::default();
        assert!(log.merge(ahead.clone(), now), "it is better than none");
        let told = log.record(entry(now, &[2]), HOUR);
        assert_eq!(told.at, now);
        assert!(!log.merge(ahead.clone(), now), "it has been overruled");
        assert_eq!(get(&log), told);
        // A member that has not told anything since hears it.
        let mut other = NotificationLog::default();
        assert!(other.merge(ahead.clone(), now));
        assert!(other.merge(Entry::clone(&told), now));
        assert!(!other.merge(Entry::clone(&told), now), "so gossip ends");
        // One that is ahead by less is as good as any, however often it has been moved on.
        let near = entry(now + HOUR - 1000, &[3]);
        assert!(log.merge(near.clone(), now));
        let told = log.record(entry(now, &[4]), HOUR);
        assert_eq!(told.at, near.at + 1);
        assert!(!log.merge(entry(now - 1000, &[5]), now));
        assert!(other.merge(Entry::clone(&told), now));
    }

    #[test]
    fn what_was_written_later_counts_though_the_clock_was_put_right_before() {
        let mut log = NotificationLog::default();
        let firing = |log: &NotificationLog| log.get("{}:{}", "r", "webhook", 0).unwrap().firing.clone();
        log.restore(entry(5_000, &[1]), 0);
        log.restore(entry(100, &[2]), 0);
        assert_eq!(firing(&log), [2]);
        log.restore(entry(50, &[3]), 0);
        assert_eq!(firing(&log), [2], "another member's, written late");
        log.restore(entry(110, &[4]), 0);
        assert_eq!(firing(&log), [4]);
    }

    #[test]
    fn what_was_told_is_kept_for_longer_unless_something_else_has_been_told() {
        let mut log = NotificationLog::default();
        log.merge(entry(10, &[1]), 0);
        let told = log.get("{}:{}", "r", "webhook", 0).unwrap();
        let longer = log.prolong(&told, 5000).unwrap();
        assert_eq!((longer.at, longer.expires_at, &*longer.firing), (11, 5000, &[1][..]));
        // Also where it expired while a receiver was tried.
        log.collect_garbage(i64::MAX);
        assert_eq!(log.prolong(&longer, 6000).unwrap().expires_at, 6000);
        // By another member: that its end was told.
        log.merge(entry(20, &[]), 0);
        assert_eq!(log.prolong(&longer, 9000), None);
        assert!(log.get("{}:{}", "r", "webhook", 0).unwrap().firing.is_empty());
    }

    #[test]
    fn entries_come_back_as_they_were_written() {
        let mut written = entry(1_795_000_000_123, &[1, u64::MAX]);
        written.resolved = vec![7];
        written.index = 3;
        written.receiver_data = vec![vec![10, 1, 97], note("threadTs", "1.2")];
        assert_eq!(written.notes(), [("threadTs".to_owned(), "1.2".to_owned())]);
        assert_eq!(Entry::decode(&written.encode()), Ok(written));
    }

    #[test]
    fn hash_is_alertmanagers() {
        // Of a state file that 0.25 wrote.
        let labels = Labels::from_pairs([("alertname", "R1")]);
        assert_eq!(alert_hash(&labels), 0x02cc_fec0_f089_bbfe);
    }
}
