//! Which blocks are merged next: Prometheus's rule, so that a folder looks the same whoever ran on it.
//!
//! Blocks that overlap come first. Else blocks are merged that fill an aligned stretch of time of one of the ranges (2 h,
//! 6 h, 18 h, 54 h …), or that lie in one which is over because a newer block begins after it. Else a block is rewritten
//! of which much is deleted. The newest block takes part only in an overlap: that leaves its length of time to copy new
//! data before it changes its name.

use cupola_block::{BlockMeta, Ulid};

// As upstream: each range is three of the one before it, and there are no more than ten.
const STEP: i64 = 3;
const MAX_RANGES: usize = 10;

// The share of series with deletions from which on a large block is rewritten for them alone.
const DELETED_SHARE: f64 = 0.05;

// The hint of blocks that were cut for series that have ended.
const STALE_HINT: &str = "from-stale-series";

/// The lengths that blocks grow through, ascending, in milliseconds: `min` and its multiples by three up to `max`; never
/// empty.
pub(super) fn ranges(min: i64, max: i64) -> Vec<i64> {
    let longer = std::iter::successors(Some(min), |range| range.checked_mul(STEP));
    let mut out: Vec<i64> = longer.take(MAX_RANGES).take_while(|range| *range <= max).collect();
    if out.is_empty() {
        out.push(min);
    }
    out
}

/// The blocks to be merged into one, or the one block to be rewritten; empty where there is nothing to do. `ranges`
/// ascends. A block whose `compaction.failed` is set takes part in nothing.
pub(super) fn plan(blocks: &[BlockMeta], ranges: &[i64]) -> Vec<Ulid> {
    let mut sorted: Vec<&BlockMeta> = blocks.iter().collect();
    sorted.sort_by_key(|block| (block.min_time, block.max_time, block.ulid));
    // As upstream these are never merged with others: they say nothing of how far the log was written to blocks.
    let is_stale = |block: &&BlockMeta| block.compaction.hints.iter().any(|hint| hint == STALE_HINT);
    let (stale, others): (Vec<&BlockMeta>, Vec<&BlockMeta>) = sorted.into_iter().partition(is_stale);
    let found = plan_class(&others, ranges).or_else(|| plan_class(&stale, ranges));
    found.unwrap_or_default().iter().map(|block| block.ulid).collect()
}

fn plan_class<'a>(blocks: &[&'a BlockMeta], ranges: &[i64]) -> Option<Vec<&'a BlockMeta>> {
    if let Some(group) = overlapping(blocks) {
        return Some(group);
    }
    let (_, older) = blocks.split_last()?;
    aligned(older, ranges).or_else(|| mostly_deleted(older, ranges))
}

fn has_failed(blocks: &[&BlockMeta]) -> bool {
    blocks.iter().any(|block| block.compaction.failed)
}

/// The oldest blocks that overlap, directly or through each other.
fn overlapping<'a>(blocks: &[&'a BlockMeta]) -> Option<Vec<&'a BlockMeta>> {
    let mut group: Vec<&BlockMeta> = Vec::new();
    let mut end = i64::MIN;
    for block in blocks {
        if block.min_time >= end {
            if group.len() > 1 && !has_failed(&group) {
                return Some(group);
            }
            group.clear();
        }
        group.push(block);
        end = end.max(block.max_time);
    }
    (group.len() > 1 && !has_failed(&group)).then_some(group)
}

/// The blocks of the oldest, shortest range that can be filled no more.
fn aligned<'a>(blocks: &[&'a BlockMeta], ranges: &[i64]) -> Option<Vec<&'a BlockMeta>> {
    let newest = blocks.last()?.min_time;
    for range in ranges.iter().skip(1) {
        for part in split_by_range(blocks, *range) {
            let (Some(first), Some(last)) = (part.first(), part.last()) else {
                continue;
            };
            let is_full = last.max_time.saturating_sub(first.min_time) == *range;
            let is_over = last.max_time <= newest;
            if (is_full || is_over) && part.len() > 1 && !has_failed(&part) {
                return Some(part);
            }
        }
    }
    None
}

/// The blocks that lie wholly in one stretch `[n * range, (n + 1) * range]` each, together.
fn split_by_range<'a>(blocks: &[&'a BlockMeta], range: i64) -> Vec<Vec<&'a BlockMeta>> {
    let mut parts: Vec<(i64, Vec<&BlockMeta>)> = Vec::new();
    for block in blocks {
        let begin = block.min_time.div_euclid(range).saturating_mul(range);
        match parts.last_mut() {
            // Its stretch need not be the part's: a block that begins where the part ends lies in the next.
            Some((at, part)) if block.max_time <= at.saturating_add(range) => part.push(block),
            _ if block.max_time <= begin.saturating_add(range) => parts.push((begin, vec![block])),
            // It crosses a boundary or is longer.
            _ => {}
        }
    }
    parts.into_iter().map(|(_, part)| part).collect()
}

/// The newest large block of which much is deleted, or a newer small one of which everything is.
fn mostly_deleted<'a>(blocks: &[&'a BlockMeta], ranges: &[i64]) -> Option<Vec<&'a BlockMeta>> {
    let large = ranges.get(ranges.len() / 2).copied().unwrap_or(0);
    for block in blocks.iter().rev() {
        let (deleted, series) = (block.stats.num_tombstones, block.stats.num_series);
        if block.max_time.saturating_sub(block.min_time) < large {
            // The look-out ends at the newest small block.
            let all = deleted > 0 && deleted >= series && !block.compaction.failed;
            return all.then(|| vec![*block]);
        }
        if deleted as f64 / (series + 1) as f64 > DELETED_SHARE && !block.compaction.failed {
            return Some(vec![*block]);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use cupola_block::{BlockStats, Compaction};

    fn block(number: u128, min_time: i64, max_time: i64) -> BlockMeta {
        BlockMeta {
            ulid: Ulid::new(0, number),
            min_time,
            max_time,
            stats: BlockStats {
                num_series: 10,
                ..BlockStats::default()
            },
            compaction: Compaction::default(),
            version: 1,
            cupola: None,
            other: Default::default(),
        }
    }

    // Blocks are named by their place in `times`, which is counted from 1; ranges are 20, 60, 240, 720, 2160.
    #[track_caller]
    fn check_with(times: &[(i64, i64)], change: impl Fn(usize, &mut BlockMeta), planned: &[u128]) {
        let metas: Vec<BlockMeta> = times
            .iter()
            .enumerate()
            .map(|(i, (mint, maxt))| {
                let mut meta = block(i as u128 + 1, *mint, *maxt);
                change(i + 1, &mut meta);
                meta
            })
            .collect();
        let expected: Vec<Ulid> = planned.iter().map(|number| Ulid::new(0, *number)).collect();
        assert_eq!(plan(&metas, &[20, 60, 240, 720, 2160]), expected);
        // The order in which the folder is listed does not matter.
        let turned: Vec<BlockMeta> = metas.into_iter().rev().collect();
        assert_eq!(plan(&turned, &[20, 60, 240, 720, 2160]), expected);
    }

    #[track_caller]
    fn check(times: &[(i64, i64)], planned: &[u128]) {
        check_with(times, |_, _| {}, planned);
    }

    #[test]
    fn ranges_are_threefold_up_to_the_longest() {
        let hour = 3_600_000;
        assert_eq!(ranges(2 * hour, 36 * hour), [2 * hour, 6 * hour, 18 * hour]);
        assert_eq!(ranges(2 * hour, 54 * hour).len(), 4);
        assert_eq!(ranges(2 * hour, hour), [2 * hour]);
        assert_eq!(ranges(1, i64::MAX).len(), 10);
        assert_eq!(ranges(i64::MAX / 2, i64::MAX).len(), 1);
    }

    #[test]
    fn nothing_is_merged_before_a_range_is_full_or_over() {
        check(&[], &[]);
        check(&[(0, 20)], &[]);
        check(&[(0, 20), (20, 40)], &[]);
        // Two of three are there besides the newest, and the third may still come.
        check(&[(0, 20), (20, 40), (40, 60)], &[]);
        check(&[(0, 20), (20, 40), (40, 60), (60, 80)], &[1, 2, 3]);
        check(&[(20, 40), (40, 60), (60, 80)], &[]);
        check(&[(20, 40), (40, 60), (60, 80), (80, 100)], &[1, 2]);
    }

    #[test]
    fn gaps_are_no_obstacle_once_newer_blocks_are_there() {
        check(&[(0, 20), (60, 80), (80, 100), (120, 140), (140, 160)], &[2, 3]);
        check(&[(0, 20), (40, 60), (60, 80), (80, 100)], &[1, 2]);
        // A gap of several ranges.
        check(&[(0, 20), (20, 40), (600, 620), (620, 640)], &[1, 2]);
    }

    #[test]
    fn the_shortest_range_is_merged_first_then_the_longer() {
        let mut times: Vec<(i64, i64)> = (0..3).map(|n| (n * 60, n * 60 + 60)).collect();
        times.extend([(180, 200), (200, 220), (220, 240), (240, 260)]);
        check(&times, &[4, 5, 6]);
        check(&[(0, 60), (60, 120), (120, 180), (180, 240), (240, 260)], &[1, 2, 3, 4]);
        check(&[(0, 60), (60, 120), (120, 180), (180, 240)], &[]);
        check(&[(0, 240), (240, 480), (480, 720), (720, 740)], &[1, 2, 3]);
        // What is longer than a range stays out of it.
        check(&[(0, 240), (240, 260), (260, 280), (300, 320), (320, 340)], &[2, 3]);
    }

    #[test]
    fn times_before_the_epoch_are_aligned_as_those_after_it() {
        check(&[(-60, -40), (-40, -20), (-20, 0), (0, 20)], &[1, 2, 3]);
        check(&[(-20, 0), (0, 20), (20, 40), (40, 60), (60, 80)], &[2, 3, 4]);
    }

    #[test]
    fn a_block_across_a_boundary_is_left_out() {
        check(
            &[(0, 20), (50, 70), (80, 100), (100, 120), (120, 140), (140, 160)],
            &[3, 4],
        );
        check(&[(10, 30), (50, 70), (70, 80), (130, 140)], &[]);
    }

    #[test]
    fn overlapping_blocks_come_first_and_all_that_hang_together_at_once() {
        check(&[(0, 20), (19, 40)], &[1, 2]);
        check(&[(0, 20), (20, 40), (20, 41), (60, 80)], &[2, 3]);
        check(&[(0, 20), (10, 40), (30, 50), (50, 60), (55, 80)], &[1, 2, 3]);
        // One long block holds others that do not touch each other.
        check(&[(0, 100), (10, 20), (50, 60), (100, 120)], &[1, 2, 3]);
        check(&[(0, 20), (0, 20), (100, 120)], &[1, 2]);
    }

    #[test]
    fn blocks_that_failed_are_left_alone_and_others_go_on() {
        let fail = |which: usize| move |number: usize, meta: &mut BlockMeta| meta.compaction.failed = number == which;
        let full = [(0, 20), (20, 40), (40, 60), (60, 80), (80, 100), (100, 120), (120, 140)];
        check_with(&full, fail(2), &[4, 5, 6]);
        check_with(&full[..4], fail(1), &[]);
        check_with(&[(0, 20), (10, 30), (30, 50), (40, 60)], fail(1), &[3, 4]);
        check_with(&[(0, 20), (10, 30)], fail(2), &[]);
    }

    #[test]
    fn a_large_block_is_rewritten_when_much_of_it_is_deleted() {
        let deleted = |count: u64| {
            move |number: usize, meta: &mut BlockMeta| {
                if number == 1 {
                    meta.stats.num_tombstones = count;
                }
            }
        };
        check_with(&[(0, 720), (720, 740)], deleted(1), &[1]);
        check_with(&[(0, 720), (720, 740)], deleted(0), &[]);
        // Not the newest, and not a small one, unless nothing of it is left.
        check_with(&[(0, 720)], deleted(5), &[]);
        check_with(&[(0, 20), (720, 740)], deleted(9), &[]);
        check_with(&[(0, 20), (720, 740)], deleted(10), &[1]);
        // A small block ends the look-out.
        check_with(&[(0, 720), (720, 740), (740, 760)], deleted(5), &[]);
        let many = |_: usize, meta: &mut BlockMeta| (meta.stats.num_series, meta.stats.num_tombstones) = (100, 5);
        check_with(&[(0, 720), (720, 740)], many, &[]);
    }

    #[test]
    fn blocks_of_series_that_ended_are_merged_among_themselves() {
        let stale = |numbers: &'static [usize]| {
            move |number: usize, meta: &mut BlockMeta| {
                if numbers.contains(&number) {
                    meta.compaction.hints.push(STALE_HINT.to_owned());
                }
            }
        };
        check_with(&[(0, 20), (10, 30)], stale(&[1]), &[]);
        check_with(&[(0, 20), (10, 30), (15, 35)], stale(&[1, 3]), &[1, 3]);
        check_with(&[(0, 20), (10, 30), (15, 35), (25, 40)], stale(&[1, 3]), &[2, 4]);
    }
}
