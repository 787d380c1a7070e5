//! What goes because of its age or for want of room.
//!
//! Whole blocks go when they are past the retention, or while all of them together are larger than they may be. A block of
//! which only some series are past theirs is written anew without them, as merging does: the old block stands until the
//! new one is on the device. That is done once when the whole block is older than one of the limits, not each time.

use std::collections::BTreeSet;
use std::sync::Arc;

use cupola_block::{Block, BlockError, BlockMeta, BlockSpec, Merging, Ulid};
use cupola_model::Labels;
use tracing::{error, warn};

use super::compact::Place;
use super::{Inner, LOG_FOLDER, PARTIAL_HINT, is_partial};
use crate::options::RetentionRule;
use crate::wal::replayed_bytes;

/// How long the samples of each series in a set of blocks stay.
struct Limits<'a> {
    rules: &'a [RetentionRule],
    // Where no rule says otherwise; milliseconds, 0 for ever.
    base_ms: i64,
    // In tiers only rules count that shorten the samples' own retention, too: these series are not worth more. One that
    // is to have its samples longer than others says nothing of tiers. Milliseconds.
    shorter_than_ms: Option<i64>,
}

impl Limits<'_> {
    fn applies(&self, rule: &RetentionRule) -> bool {
        let is_shorter = |than: i64| rule.retention_ms > 0 && rule.retention_ms < than;
        self.shorter_than_ms.is_none_or(is_shorter)
    }

    // How long samples of this series stay.
    fn of(&self, labels: &Labels) -> i64 {
        let rule = self.rules.iter().find(|rule| rule.is_of(labels));
        rule.filter(|rule| self.applies(rule))
            .map_or(self.base_ms, |rule| rule.retention_ms)
    }

    fn are_past(&self, labels: &Labels, age_ms: i64) -> bool {
        let limit = self.of(labels);
        limit > 0 && age_ms > limit
    }

    // How long a block may have samples at all; 0 for ever.
    fn longest(&self) -> i64 {
        let all = self
            .rules
            .iter()
            .filter(|rule| self.applies(rule))
            .map(|rule| rule.retention_ms);
        all.chain([self.base_ms])
            .try_fold(0, |longest, ms| (ms > 0).then_some(ms.max(longest)))
            .unwrap_or(0)
    }

    // How many limits a block of this age is past: what there is to do for it changes with the number only.
    fn passed(&self, age_ms: i64) -> usize {
        let all = self
            .rules
            .iter()
            .filter(|rule| self.applies(rule))
            .map(|rule| rule.retention_ms);
        all.chain([self.base_ms]).filter(|ms| *ms > 0 && age_ms > *ms).count()
    }
}

fn ulids(blocks: &[Arc<Block>]) -> Vec<Ulid> {
    blocks.iter().map(|block| block.meta().ulid).collect()
}

// A retention to be compared: 0 is for ever.
fn or_ever(retention_ms: i64) -> i64 {
    if retention_ms > 0 { retention_ms } else { i64::MAX }
}

impl Inner {
    /// The newest time there is.
    pub(super) fn newest(&self, blocks: &[Arc<Block>]) -> i64 {
        let of_blocks = blocks.iter().map(|b| b.meta().max_time).max();
        self.head.maxt().max(of_blocks.unwrap_or(i64::MIN))
    }

    /// The most bytes that blocks and the log of what is not in them may occupy; 0 for no limit. A part of the disk, if asked
    /// for, counts instead of the number of bytes, as in Prometheus.
    fn retention_bytes(&self) -> u64 {
        let retention = *self.retention.lock();
        if retention.percent <= 0.0 {
            return retention.bytes;
        }
        match self.vfs.capacity(&self.options.dir) {
            Ok(capacity) if capacity > 0 => (capacity as f64 * (retention.percent / 100.0)) as u64,
            Ok(_) => retention.bytes,
            Err(error) => {
                warn!(%error, "the size of the disk is not known; blocks are not limited to a part of it");
                retention.bytes
            }
        }
    }

    /// Deletes what is past the retention.
    pub(super) fn apply_retention(&self) {
        let blocks = self.blocks.load_full();
        let Some(newest_block) = blocks.iter().map(|block| block.meta().max_time).max() else {
            return;
        };
        // The head spans a block and a half. Where it is farther ahead, a clock leapt: nothing goes for that before the head
        // has so much of the new time that a block is cut of it.
        let newest = self
            .newest(&blocks)
            .min(newest_block.saturating_add(self.options.block_ms.saturating_mul(2)));
        let raw = Limits {
            rules: &self.options.retention_rules,
            base_ms: self.retention.lock().ms,
            shorter_than_ms: None,
        };
        let age = |block: &Arc<Block>| newest.saturating_sub(block.meta().max_time);
        let longest = raw.longest();
        let (mut gone, mut kept): (Vec<_>, Vec<_>) =
            blocks.iter().cloned().partition(|b| longest > 0 && age(b) > longest);
        if !gone.is_empty() {
            self.metrics.time_retentions.inc();
        }
        gone.extend(self.too_large(&mut kept));
        // What goes is in the tiers before; so is what goes of blocks of which a part stays.
        let is_going = |block: &&Arc<Block>| {
            let is_past = raw.base_ms > 0 && age(block) > raw.base_ms;
            is_past && !is_partial(block.meta())
        };
        let doomed = gone.iter().chain(kept.iter().filter(is_going));
        if let Some(end) = doomed.map(|block| block.meta().max_time).max() {
            self.make_tiers(Some(end));
        }
        self.forget(&self.raw(), &gone);
        self.apply_rules(&self.raw(), &raw, newest);
        for tier in &self.tiers {
            let limits = Limits {
                rules: &self.options.retention_rules,
                base_ms: tier.options.retention_ms,
                shorter_than_ms: Some(or_ever(raw.base_ms).min(or_ever(tier.options.retention_ms))),
            };
            let blocks = tier.blocks.load_full();
            let is_old = |b: &&Arc<Block>| limits.base_ms > 0 && age(b) > limits.base_ms;
            let gone: Vec<Arc<Block>> = blocks.iter().filter(is_old).cloned().collect();
            self.forget(&tier.place(), &gone);
            self.apply_rules(&tier.place(), &limits, newest);
        }
        let all = self.tiers.iter().map(|tier| &tier.blocks).chain([&self.blocks]);
        let there: BTreeSet<Ulid> = all.flat_map(|blocks| ulids(&blocks.load())).collect();
        self.ruled.lock().retain(|ulid, _| there.contains(ulid));
    }

    // Takes the oldest blocks out of `kept` while all together, tiers included, are larger than they may be.
    fn too_large(&self, kept: &mut Vec<Arc<Block>>) -> Vec<Arc<Block>> {
        let limit = self.retention_bytes();
        let mut gone = Vec::new();
        if limit == 0 {
            return gone;
        }
        let tiers: u64 = self.tiers.iter().map(super::tiers::Tier::size_bytes).sum();
        // As Prometheus counts, with what is not in blocks yet. What of the log waits for remote write is not of that: blocks
        // do not go because a receiver is away.
        let log = replayed_bytes(&*self.vfs, &self.options.dir.join(LOG_FOLDER));
        let mut size = tiers + log + kept.iter().map(|b| b.size_bytes()).sum::<u64>();
        while size > limit && kept.len() > 1 {
            let oldest = kept.remove(0);
            size -= oldest.size_bytes();
            gone.push(oldest);
        }
        if !gone.is_empty() {
            self.metrics.size_retentions.inc();
        }
        gone
    }

    fn forget(&self, place: &Place<'_>, gone: &[Arc<Block>]) {
        let Some(oldest) = gone.iter().map(|b| b.meta().min_time).min() else {
            return;
        };
        let blocks = place.blocks.load();
        let is_kept = |b: &&Arc<Block>| !gone.iter().any(|gone| gone.meta().ulid == b.meta().ulid);
        let kept: Vec<Arc<Block>> = blocks.iter().filter(is_kept).cloned().collect();
        place.blocks.store(Arc::new(kept));
        self.metrics.reloads.inc();
        self.head.note_change(oldest);
        self.delete_blocks(gone, "past the retention");
    }

    // Writes blocks anew of which only some series are past their limit.
    fn apply_rules(&self, place: &Place<'_>, limits: &Limits<'_>, newest: i64) {
        if !self.options.retention_rules.iter().any(|rule| limits.applies(rule)) {
            return;
        }
        for block in place.blocks.load_full().iter() {
            let meta = block.meta();
            let age = newest.saturating_sub(meta.max_time);
            let passed = limits.passed(age);
            let is_known = self.ruled.lock().get(&meta.ulid).is_some_and(|known| *known >= passed);
            if passed == 0 || is_known || self.unmergeable.lock().contains_key(&meta.ulid) {
                continue;
            }
            let outcome = self.drop_series(place, block, limits, age);
            match outcome {
                Ok(left) => {
                    let mut ruled = self.ruled.lock();
                    ruled.remove(&meta.ulid);
                    if let Some(left) = left {
                        ruled.insert(left, passed);
                    }
                }
                Err(BlockError::Stopped) => return,
                Err(error) => {
                    self.metrics.compactions_failed.inc();
                    error!(block = %meta.ulid, %error, "cannot write a block without series that are past their retention; it stays as it is, it is tried again");
                    self.unmergeable.lock().insert(meta.ulid, self.clock.now_ms());
                }
            }
        }
    }

    // The name of the block that then holds what is left, which may be the old one.
    fn drop_series(
        &self,
        place: &Place<'_>,
        block: &Arc<Block>,
        limits: &Limits<'_>,
        age: i64,
    ) -> Result<Option<Ulid>, BlockError> {
        let mut has_any = false;
        for series in block.iter()? {
            if limits.are_past(&series?.labels, age) {
                has_any = true;
                break;
            }
        }
        if !has_any {
            return Ok(Some(block.meta().ulid));
        }
        let is_past_base = limits.base_ms > 0 && age > limits.base_ms;
        let rewritten = |ulid, _: &[&BlockMeta]| {
            let mut spec = BlockSpec::rewritten(ulid, block.meta());
            // From now on it does not speak for all series.
            if is_past_base && !is_partial(block.meta()) {
                spec.compaction.hints.push(PARTIAL_HINT.to_owned());
            }
            spec
        };
        let merging = Merging {
            keeps: &|labels| !limits.are_past(labels, age),
            joins_chunks: place.joins_chunks,
        };
        let left = self.replace(place, std::slice::from_ref(block), rewritten, &merging)?;
        self.head.note_change(block.meta().min_time);
        self.metrics.rule_retentions.inc();
        Ok(left)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use cupola_model::{MatchOp, Matcher};

    fn rule(name: &str, retention_ms: i64) -> RetentionRule {
        RetentionRule {
            matchers: vec![Matcher::new("__name__", MatchOp::Equal, name).unwrap()],
            retention_ms,
        }
    }

    // How long `a`, `b` and `c` stay, and blocks.
    #[track_caller]
    fn check(rules: &[(&str, i64)], base_ms: i64, shorter_than_ms: Option<i64>, expected: ([i64; 3], i64)) {
        let rules: Vec<RetentionRule> = rules.iter().map(|(name, ms)| rule(name, *ms)).collect();
        let limits = Limits {
            rules: &rules,
            base_ms,
            shorter_than_ms,
        };
        let of = ["a", "b", "c"].map(|name| limits.of(&Labels::from_pairs([("__name__", name)])));
        assert_eq!((of, limits.longest()), expected);
    }

    #[test]
    fn the_first_rule_that_is_met_counts() {
        check(&[("a", 3), ("a", 90), ("b", 50)], 10, None, ([3, 50, 10], 90));
        check(&[("a", 3), ("b", 50)], 0, None, ([3, 50, 0], 0));
        check(&[("a", 0), ("b", 5)], 10, None, ([0, 5, 10], 0));
        check(&[], 10, None, ([10, 10, 10], 10));
    }

    #[test]
    fn in_tiers_rules_only_shorten() {
        check(&[("a", 3), ("b", 50), ("c", 0)], 10, Some(10), ([3, 10, 10], 10));
        check(&[("a", 3), ("b", 50), ("c", 0)], 0, Some(30), ([3, 0, 0], 0));
        check(&[("a", 3), ("b", 50), ("c", 0)], 0, Some(i64::MAX), ([3, 50, 0], 0));
    }
}
