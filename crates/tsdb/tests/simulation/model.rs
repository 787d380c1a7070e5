//! What a naive store would hold.

use std::collections::BTreeMap;

use cupola_model::{Labels, Matcher};

/// By time what stands for values: the bits of floats, so that NaN compares; of histograms a hash.
pub(crate) type Samples = BTreeMap<i64, u64>;
pub(crate) type Content = BTreeMap<Labels, Samples>;
/// What one batch adds.
pub(crate) type Batch = Vec<(Labels, i64, u64)>;

#[derive(Default)]
pub(crate) struct Model {
    /// What must be visible.
    pub now: Content,
    /// What may be visible: deleted in a call that failed, or past the retention.
    pub maybe: Content,
    /// Acknowledged since everything was on the device for the last time, oldest first.
    pub unsynced: Vec<Batch>,
    /// Whether a sync failed since: of what is unsynced each batch may be lost for itself.
    pub in_doubt: bool,
    /// How many processes ended in doubt. One that died at once could not even note it.
    pub doubts_of_others: u32,
    /// The batch during which the process died. It is visible afterwards or it is not.
    pub in_flight: Option<Batch>,
    /// Acknowledged while the log was read, before it was known what a crash had left.
    pub during: Vec<Batch>,
    /// Samples older than this may be gone.
    pub horizon: i64,
    /// A deletion that failed: to be called again.
    pub deletion: Option<Deletion>,
}

/// What is to be deleted.
#[derive(Clone)]
pub(crate) struct Deletion {
    pub matchers: Vec<Matcher>,
    pub mint: i64,
    pub maxt: i64,
}

impl Deletion {
    fn takes(&self, labels: &Labels, ts: i64) -> bool {
        (self.mint..=self.maxt).contains(&ts) && self.matchers.iter().all(|m| m.matches_labels(labels))
    }
}

fn add(content: &mut Content, batch: &Batch) {
    for (labels, ts, bits) in batch {
        content.entry(labels.clone()).or_default().insert(*ts, *bits);
    }
}

impl Model {
    /// Whether there is, or may be, a sample of this time.
    pub(crate) fn knows(&self, labels: &Labels, ts: i64) -> bool {
        let in_batches = self.in_flight.iter().chain(&self.during).flatten();
        let has = |content: &Content| content.get(labels).is_some_and(|samples| samples.contains_key(&ts));
        has(&self.now) || has(&self.maybe) || in_batches.into_iter().any(|(l, t, _)| l == labels && *t == ts)
    }

    pub(crate) fn newest_of(&self, labels: &Labels) -> Option<(i64, u64)> {
        let newest = self.now.get(labels)?.last_key_value();
        newest.map(|(ts, bits)| (*ts, *bits))
    }

    pub(crate) fn acknowledge(&mut self, batch: Batch) {
        add(&mut self.now, &batch);
        self.unsynced.push(batch);
    }

    /// All of a deletion goes, or, where it failed, may go.
    pub(crate) fn delete(&mut self, deletion: &Deletion, is_done: bool) {
        for (labels, samples) in &mut self.now {
            let gone: Samples = samples
                .iter()
                .filter(|(ts, _)| deletion.takes(labels, **ts))
                .map(|(ts, bits)| (*ts, *bits))
                .collect();
            samples.retain(|ts, _| !gone.contains_key(ts));
            if !is_done {
                self.maybe.entry(labels.clone()).or_default().extend(gone);
            }
        }
        if is_done {
            for (labels, samples) in &mut self.maybe {
                samples.retain(|ts, _| !deletion.takes(labels, *ts));
            }
            // Whatever was acknowledged before is on the device with it.
            if !self.in_doubt {
                self.unsynced.clear();
            }
            self.deletion = None;
        } else {
            self.deletion = Some(deletion.clone());
        }
    }

    /// What is older than `horizon` may be gone from now on.
    pub(crate) fn expire(&mut self, horizon: i64) {
        self.horizon = self.horizon.max(horizon);
        let horizon = self.horizon;
        for (labels, samples) in &mut self.now {
            let kept = samples.split_off(&horizon);
            let old = std::mem::replace(samples, kept);
            if !old.is_empty() {
                self.maybe.entry(labels.clone()).or_default().extend(old);
            }
        }
        self.now.retain(|_, samples| !samples.is_empty());
    }

    /// Compares a selection of what must be there with what is; the first difference.
    pub(crate) fn difference(&self, found: &Content, matchers: &[Matcher], mint: i64, maxt: i64) -> Option<String> {
        differ(&self.now, &self.maybe, found, &|labels| {
            matchers
                .iter()
                .all(|m| m.matches_labels(labels))
                .then_some((mint, maxt))
        })
    }

    /// Takes what was found after a restart, which must be all that was acknowledged, or after a power cut a prefix of it
    /// that begins with all that was synced.
    pub(crate) fn restarted(&mut self, found: &Content, is_power_cut: bool) -> Result<(), String> {
        let mut before = found.clone();
        let during = std::mem::take(&mut self.during);
        for (labels, ts, bits) in during.iter().flatten() {
            let there = before.get_mut(labels).and_then(|samples| samples.remove(ts));
            if there != Some(*bits) {
                return Err(format!(
                    "{labels} at {ts}, taken while the log was read: {there:x?} instead of {bits:x}"
                ));
            }
        }
        self.crashed(&before, is_power_cut)?;
        for batch in during {
            self.acknowledge(batch);
        }
        Ok(())
    }

    fn crashed(&mut self, found: &Content, is_power_cut: bool) -> Result<(), String> {
        if is_power_cut && self.in_doubt {
            self.give_up_lost(found);
        }
        let (mut first_error, mut last_error) = (None, None);
        let in_flight = self.in_flight.take();
        let with_it: Option<Vec<Batch>> = in_flight.map(|batch| {
            let mut all = self.unsynced.clone();
            all.push(batch);
            all
        });
        let acknowledged = self.now.clone();
        let mut candidates: Vec<Vec<Batch>> = vec![self.unsynced.clone()];
        candidates.extend(with_it);
        if is_power_cut {
            candidates.extend((0..self.unsynced.len()).rev().map(|n| self.unsynced[..n].to_vec()));
        }
        for candidate in candidates {
            let mut content = acknowledged.clone();
            for (labels, ts, _) in self.unsynced.iter().skip(candidate.len()).flatten() {
                if let Some(samples) = content.get_mut(labels) {
                    samples.remove(ts);
                }
            }
            for batch in candidate.iter().skip(self.unsynced.len()) {
                add(&mut content, batch);
            }
            content.retain(|_, samples| !samples.is_empty());
            match differ(&content, &self.maybe, found, &|_| Some((i64::MIN, i64::MAX))) {
                None => {
                    self.now = content;
                    self.unsynced = candidate;
                    return Ok(());
                }
                Some(difference) => {
                    first_error.get_or_insert(difference.clone());
                    last_error = Some(difference);
                }
            }
        }
        let mut batches = String::new();
        for batch in &self.unsynced {
            let is_there =
                |(labels, ts, bits): &(Labels, i64, u64)| found.get(labels).and_then(|s| s.get(ts)) == Some(bits);
            let there = batch.iter().filter(|sample| is_there(sample)).count();
            let ts = batch.first().map_or(0, |(_, ts, _)| *ts);
            batches.push_str(&format!("\n  at {ts}: {there} of {} samples", batch.len()));
        }
        let cut = if is_power_cut { " or any prefix" } else { "" };
        Err(format!(
            "not what was acknowledged{cut}. Against all: {}. Against the least: {}. Unsynced batches: {batches}",
            first_error.unwrap_or_default(),
            last_error.unwrap_or_default()
        ))
    }
}

impl Model {
    // Takes those batches out of what is to be there of which nothing is. One that is there in part stays.
    fn give_up_lost(&mut self, found: &Content) {
        let is_there =
            |(labels, ts, bits): &(Labels, i64, u64)| found.get(labels).and_then(|s| s.get(ts)) == Some(bits);
        let (kept, lost): (Vec<Batch>, Vec<Batch>) = std::mem::take(&mut self.unsynced)
            .into_iter()
            .partition(|batch| batch.iter().any(is_there));
        self.unsynced = kept;
        for (labels, ts, _) in lost.iter().flatten() {
            if let Some(samples) = self.now.get_mut(labels) {
                samples.remove(ts);
            }
        }
    }
}

fn differ(
    must: &Content,
    may: &Content,
    found: &Content,
    range: &dyn Fn(&Labels) -> Option<(i64, i64)>,
) -> Option<String> {
    for (labels, samples) in must {
        let Some((mint, maxt)) = range(labels) else { continue };
        if mint > maxt {
            continue;
        }
        let there = found.get(labels);
        for (ts, bits) in samples.range(mint..=maxt) {
            match there.and_then(|there| there.get(ts)) {
                Some(found) if found == bits => {}
                Some(found) => return Some(format!("{labels} at {ts}: {found:x} instead of {bits:x}")),
                None => return Some(format!("{labels} at {ts}: lost")),
            }
        }
    }
    for (labels, samples) in found {
        let range = range(labels);
        for (ts, bits) in samples {
            let is_in = |content: &Content| content.get(labels).and_then(|s| s.get(ts)) == Some(bits);
            if range.is_none_or(|(mint, maxt)| !(mint..=maxt).contains(ts)) {
                return Some(format!("{labels} at {ts}: not asked for"));
            }
            if !is_in(must) && !is_in(may) {
                return Some(format!(
                    "{labels} at {ts}: {bits:x}, which was never acknowledged or is deleted"
                ));
            }
        }
    }
    None
}
