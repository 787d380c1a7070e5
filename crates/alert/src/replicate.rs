//! What the members of a cluster share: silences, the notification log, definitions of recurring silences and
//! acknowledgements. Alerts they do not share: whoever has alerts posts them to every member.

use std::sync::{Arc, Weak};

use bytes::Bytes;
use cupola_cluster::{Cluster, Replicated};
use tracing::warn;

use crate::dispatch::Inner;
use crate::nflog::Entry;
use crate::recurring::RECURRING_ANNOTATION;
use crate::silences;

/// The keys under which members of a cluster share what they share. The first two are Alertmanager's own.
pub const CLUSTER_KEYS: [&str; 4] = [SILENCES, NFLOG, RECURRING, ACKNOWLEDGEMENTS];

pub(crate) const SILENCES: &str = "sil";
pub(crate) const NFLOG: &str = "nfl";
pub(crate) const RECURRING: &str = "rec";
pub(crate) const ACKNOWLEDGEMENTS: &str = "ack";

// The cluster lives in what it shares, so neither may hold the other for ever.
struct Shared {
    inner: Weak<Inner>,
    snapshot: fn(&Inner) -> Vec<Vec<u8>>,
    merge: fn(&Inner, &[Bytes]) -> Vec<usize>,
}

impl Replicated for Shared {
    fn snapshot(&self) -> Vec<Vec<u8>> {
        let inner = self.inner.upgrade();
        inner.map(|inner| (self.snapshot)(&inner)).unwrap_or_default()
    }

    fn merge(&self, messages: &[Bytes]) -> Vec<usize> {
        let inner = self.inner.upgrade();
        inner.map(|inner| (self.merge)(&inner, messages)).unwrap_or_default()
    }
}

/// Begins to share.
pub(crate) fn join(cluster: &Cluster, inner: &Arc<Inner>) {
    type Snapshot = fn(&Inner) -> Vec<Vec<u8>>;
    type Merge = fn(&Inner, &[Bytes]) -> Vec<usize>;
    // In this order they are sent: who hears which silences a definition has led to has them.
    let channels: [(&'static str, Snapshot, Merge); 4] = [
        (
            SILENCES,
            |inner| inner.silences.lock().snapshot(),
            Inner::merge_silences,
        ),
        (NFLOG, |inner| inner.nflog.lock().snapshot(), Inner::merge_entries),
        (RECURRING, |inner| inner.recurring.snapshot(), Inner::merge_recurring),
        (
            ACKNOWLEDGEMENTS,
            |inner| inner.acks.snapshot(),
            Inner::merge_acknowledgements,
        ),
    ];
    let channels = channels.map(|(key, snapshot, merge)| {
        let shared = Shared {
            inner: Arc::downgrade(inner),
            snapshot,
            merge,
        };
        (key, Arc::new(shared) as Arc<dyn Replicated>)
    });
    cluster.join(channels.into());
}

impl Inner {
    /// Tells the other members.
    pub(crate) fn share(&self, key: &'static str, message: &[u8]) {
        if let Some(cluster) = &self.cluster {
            cluster.broadcast(key, message);
        }
    }

    pub(crate) fn merge_silences(&self, messages: &[Bytes]) -> Vec<usize> {
        let mut found = Vec::new();
        {
            let known = self.silences.lock();
            for (place, message) in messages.iter().enumerate() {
                match silences::decode(message) {
                    // Most of what comes is known; its regular expressions are not looked at.
                    Ok((raw, expires_at)) if known.is_younger(&raw.id, raw.updated_at, raw.starts_at, raw.ends_at) => {
                        found.push((place, raw, expires_at));
                    }
                    Ok(_) => {}
                    Err(error) => warn!(%error, "a silence of another member cannot be read"),
                }
            }
        }
        let mut usable = Vec::new();
        for (place, raw, expires_at) in found {
            let id = raw.id.clone();
            match raw.silence() {
                Ok(silence) => usable.push((place, silence, expires_at)),
                Err(reason) => warn!(id, reason, "a silence of another member cannot be used"),
            }
        }
        let now = self.clock.now_ms();
        let changing = self.changing_silences.lock();
        let mut all = self.silences.lock();
        let (mut news, mut has_recurring) = (Vec::new(), false);
        for (place, silence, expires_at) in usable {
            let is_recurring = silence.annotations.contains_key(RECURRING_ANNOTATION);
            if all.merge(silence, expires_at, now) {
                news.push(place);
                has_recurring |= is_recurring;
            }
        }
        drop(all);
        if let Some(disk) = &self.disk
            && !news.is_empty()
        {
            let messages = news.iter().filter_map(|place| messages.get(*place));
            let messages: Vec<Vec<u8>> = messages.map(|message| message.to_vec()).collect();
            // Where that fails it has been told; it is in memory, at the other member, and in the next snapshot.
            let _ = disk.keep_silences(&messages);
        }
        drop(changing);
        if has_recurring {
            // One may be of a shape that does not count any more.
            self.make_recurring();
        }
        self.metrics.silences.propagated.add(news.len() as f64);
        news
    }

    pub(crate) fn merge_entries(&self, messages: &[Bytes]) -> Vec<usize> {
        let mut entries = Vec::new();
        for (place, message) in messages.iter().enumerate() {
            match Entry::decode(message) {
                Ok(entry) => entries.push((place, entry)),
                Err(error) => warn!(%error, "an entry of another member's notification log cannot be read"),
            }
        }
        let now = self.clock.now_ms();
        let mut news = Vec::new();
        {
            let mut log = self.nflog.lock();
            for (place, entry) in entries {
                if log.merge(entry, now) {
                    news.push(place);
                }
            }
        }
        if let Some(disk) = &self.disk {
            disk.keep_entries(news.iter().filter_map(|place| messages.get(*place)).map(AsRef::as_ref));
        }
        self.metrics.nflog.propagated.add(news.len() as f64);
        news
    }
}
