//! Answering from tiers: which times from where, and each series' samples in that order.
//!
//! A selection is cut into segments. A tier that is coarse enough for what was asked stands for the samples wherever it
//! has windows. Where there are no samples any more, the finest tier that has windows stands for them, whatever was
//! asked. Everything else is answered from the samples. Within a segment it is a matter of each series: one that the tier
//! has not (native histograms have no sum there) is answered from its samples, if there are any, and one whose samples
//! were kept longer than others' from these.

use std::collections::HashMap;
use std::sync::Arc;

use cupola_block::Block;
use cupola_model::{Labels, MatchOp, Matcher};
use cupola_storage::{
    AGGREGATE_LABEL, Aggregate, Coarse, Queryable as _, SampleSource, Samples, Selection, Series, StorageError,
    TierUse, merge_series,
};

use super::spans::Spans;
use super::tiers::{Tier, untagged};
use super::{Inner, Tsdb, is_partial};

/// Where the samples of a stretch of time come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Origin {
    /// The samples themselves.
    Raw,
    /// This tier; for series that are not in it, the samples.
    Tier(usize),
    /// The samples of series that are kept longer than others; for all others this tier.
    Kept(usize),
}

/// A stretch of time, half open.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Segment {
    begin: i64,
    end: i64,
    from: Origin,
}

/// What there is when.
struct Covers {
    // Where blocks or the head have the samples of all series.
    whole: Spans,
    // Where blocks have those of some.
    partial: Spans,
    // Of each tier, the finest first.
    tiers: Vec<(i64, Spans)>,
}

impl Covers {
    /// The segments of `mint..=maxt`, ascending, without a gap.
    fn segments(&self, mint: i64, maxt: i64, resolution_ms: i64) -> Vec<Segment> {
        let mut out = Vec::new();
        let mut left = Spans::of([(mint, maxt.saturating_add(1))]);
        let mut take = |left: &mut Spans, spans: &Spans, from: Origin| {
            let taken = left.and(spans);
            *left = left.minus(&taken);
            out.extend(taken.iter().map(|(begin, end)| Segment { begin, end, from }));
        };
        for (at, (resolution, cover)) in self.tiers.iter().enumerate().rev() {
            if *resolution <= resolution_ms {
                take(&mut left, cover, Origin::Tier(at));
            }
        }
        for (at, (_, cover)) in self.tiers.iter().enumerate() {
            let gone = cover.minus(&self.whole);
            take(&mut left, &gone.and(&self.partial), Origin::Kept(at));
            take(&mut left, &gone, Origin::Tier(at));
        }
        let rest = left.clone();
        take(&mut left, &rest, Origin::Raw);
        out.sort_by_key(|segment| segment.begin);
        out
    }
}

// The hull of the segments that `is_wanted` accepts.
fn hull(segments: &[Segment], is_wanted: impl Fn(Origin) -> bool) -> Option<(i64, i64)> {
    let wanted = segments.iter().filter(|segment| is_wanted(segment.from));
    let spans = wanted.map(|segment| (segment.begin, segment.end - 1));
    spans.reduce(|a, b| (a.0.min(b.0), a.1.max(b.1)))
}

impl Inner {
    fn covers(&self) -> Covers {
        let blocks = self.blocks.load();
        let range = |block: &Arc<Block>| (block.meta().min_time, block.meta().max_time);
        let (partial, whole): (Vec<&Arc<Block>>, Vec<_>) = blocks.iter().partition(|block| is_partial(block.meta()));
        // Whatever is newer than all blocks is the head's; so is everything where there is no block.
        let written = whole.iter().map(|block| block.meta().max_time).max();
        let head = self.head.mint().into_iter().chain(written).min().unwrap_or(i64::MAX);
        Covers {
            whole: Spans::of(whole.into_iter().map(range).chain([(head, i64::MAX)])),
            partial: Spans::of(partial.into_iter().map(range)),
            tiers: self
                .tiers
                .iter()
                .map(|tier| (tier.options.resolution_ms, tier.cover()))
                .collect(),
        }
    }
}

impl Tsdb {
    /// [`cupola_storage::Queryable::tiers`].
    pub(super) fn tier_use(&self, mint: i64, maxt: i64, coarse: &Coarse) -> Option<TierUse> {
        let inner = &self.inner;
        if inner.tiers.is_empty() {
            return None;
        }
        let resolution_of = |segment: &Segment| match segment.from {
            Origin::Raw => None,
            Origin::Tier(at) | Origin::Kept(at) => inner.tiers.get(at).map(|tier| tier.options.resolution_ms),
        };
        let segments = inner.covers().segments(mint, maxt, coarse.resolution_ms);
        let resolution_ms = segments.iter().filter_map(resolution_of).max()?;
        let until = segments.iter().filter(|s| s.from != Origin::Raw).map(|s| s.end).max()?;
        Some(TierUse {
            resolution_ms,
            until,
            reach_ms: segments.first().and_then(resolution_of).unwrap_or(0),
        })
    }

    /// [`cupola_storage::Queryable::select_coarse`].
    pub(super) fn layers(
        &self,
        selection: &Selection<'_>,
        coarse: &Coarse,
        go_on: &dyn Fn() -> bool,
    ) -> Result<Vec<Series>, StorageError> {
        let inner = &self.inner;
        let segments: Arc<[Segment]> = inner
            .covers()
            .segments(selection.mint, selection.maxt, coarse.resolution_ms)
            .into();
        let mut layers = Layers::default();
        let within = |(mint, maxt)| Selection {
            mint,
            maxt,
            ..*selection
        };
        let counted = |series: Series| match coarse.aggregate {
            Aggregate::Count => series.counted(),
            _ => series,
        };
        // Every series has a last sample in the tier, not every one has a sum.
        let all_in_tiers = coarse.aggregate == Aggregate::Last;
        if let Some(range) = hull(&segments, |from| from == Origin::Raw || !all_in_tiers) {
            for series in self.select_while(&within(range), go_on)? {
                let series = counted(series);
                layers.add(&series.labels, |sources| sources.raw = Some(series.source));
            }
        }
        if let Some((mint, maxt)) = hull(&segments, |from| matches!(from, Origin::Kept(_))) {
            let blocks = inner.blocks.load_full();
            let mut parts = Vec::new();
            for block in blocks
                .iter()
                .filter(|b| is_partial(b.meta()) && b.meta().overlaps(mint, maxt))
            {
                parts.push(block.select_while(&within((mint, maxt)), go_on)?);
            }
            for series in merge_series(parts) {
                let series = counted(series);
                layers.add(&series.labels, |sources| sources.kept = Some(series.source));
            }
        }
        for (at, tier) in inner.tiers.iter().enumerate() {
            let Some(range) = hull(&segments, |from| from == Origin::Tier(at) || from == Origin::Kept(at)) else {
                continue;
            };
            for series in tier.select(&within(range), coarse.aggregate, go_on)? {
                let labels = untagged(&series.labels);
                layers.add(&labels, |sources| sources.tiers.push((at, series.source)));
            }
        }
        Ok(layers.finish(&segments))
    }

    /// Label sets that tiers alone still know of, for the times whose samples are gone.
    pub(super) fn label_sets_of_tiers(&self, selection: &Selection<'_>) -> Result<Vec<Labels>, StorageError> {
        let mut out = Vec::new();
        if self.inner.tiers.is_empty() {
            return Ok(out);
        }
        let segments = self.inner.covers().segments(selection.mint, selection.maxt, 0);
        for (at, tier) in self.inner.tiers.iter().enumerate() {
            let wanted = |from| from == Origin::Tier(at) || from == Origin::Kept(at);
            if let Some((mint, maxt)) = hull(&segments, wanted) {
                let selection = Selection {
                    mint,
                    maxt,
                    ..*selection
                };
                let series = tier.select(&selection, Aggregate::Last, &|| true)?;
                out.extend(series.iter().map(|series| untagged(&series.labels)));
            }
        }
        out.sort();
        out.dedup();
        Ok(out)
    }
}

impl Tier {
    fn select(
        &self,
        selection: &Selection<'_>,
        aggregate: Aggregate,
        go_on: &dyn Fn() -> bool,
    ) -> Result<Vec<Series>, StorageError> {
        let mut matchers = selection.matchers.to_vec();
        let of_aggregate = Matcher::new(AGGREGATE_LABEL, MatchOp::Equal, aggregate.as_str());
        matchers.push(of_aggregate.map_err(|e| StorageError::Corrupt(e.to_string()))?);
        let selection = Selection {
            matchers: &matchers,
            ..*selection
        };
        let mut parts = Vec::new();
        for block in self.blocks.load_full().iter() {
            if block.meta().overlaps(selection.mint, selection.maxt) {
                parts.push(block.select_while(&selection, go_on)?);
            }
        }
        Ok(merge_series(parts))
    }
}

/// The sources of each series, in the order in which they came.
#[derive(Default)]
struct Layers {
    at: HashMap<Labels, usize, foldhash::fast::RandomState>,
    found: Vec<(Labels, Sources)>,
}

#[derive(Default)]
struct Sources {
    raw: Option<Box<dyn SampleSource>>,
    kept: Option<Box<dyn SampleSource>>,
    tiers: Vec<(usize, Box<dyn SampleSource>)>,
}

impl Layers {
    fn add(&mut self, labels: &Labels, add: impl FnOnce(&mut Sources)) {
        let at = *self.at.entry(labels.clone()).or_insert(self.found.len());
        if at == self.found.len() {
            self.found.push((labels.clone(), Sources::default()));
        }
        if let Some((_, sources)) = self.found.get_mut(at) {
            add(sources);
        }
    }

    fn finish(self, segments: &Arc<[Segment]>) -> Vec<Series> {
        let series = self.found.into_iter().map(|(labels, sources)| Series {
            labels,
            source: Box::new(LayeredSource {
                segments: segments.clone(),
                sources,
            }),
        });
        series.collect()
    }
}

struct LayeredSource {
    segments: Arc<[Segment]>,
    sources: Sources,
}

impl LayeredSource {
    fn source_of(&self, from: Origin) -> Option<&dyn SampleSource> {
        let Sources { raw, kept, tiers } = &self.sources;
        let tier = |at: usize| tiers.iter().find(|(tier, _)| *tier == at).map(|(_, source)| source);
        let source = match from {
            Origin::Raw => raw.as_ref(),
            Origin::Tier(at) => tier(at).or(raw.as_ref()),
            Origin::Kept(at) => kept.as_ref().or_else(|| tier(at)),
        };
        source.map(|source| &**source)
    }
}

impl SampleSource for LayeredSource {
    fn read(&self, mint: i64, maxt: i64, out: &mut Samples) -> Result<(), StorageError> {
        for segment in self.segments.iter() {
            let (mint, maxt) = (mint.max(segment.begin), maxt.min(segment.end - 1));
            if mint <= maxt
                && let Some(source) = self.source_of(segment.from)
            {
                source.read(mint, maxt, out)?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const COVERS: [(i64, i64); 3] = [(300, 1000), (100, 400), (0, 600)];

    fn covers(partial: &[(i64, i64)]) -> Covers {
        let [whole, fine, coarse] = COVERS;
        Covers {
            whole: Spans::of([whole]),
            partial: Spans::of(partial.iter().copied()),
            tiers: vec![(5, Spans::of([fine])), (60, Spans::of([coarse]))],
        }
    }

    #[track_caller]
    fn check(partial: &[(i64, i64)], resolution_ms: i64, expected: &[(i64, i64, Origin)]) {
        let segments = covers(partial).segments(-50, 999, resolution_ms);
        let segments: Vec<_> = segments.iter().map(|s| (s.begin, s.end, s.from)).collect();
        assert_eq!(segments, expected);
    }

    #[test]
    fn the_coarsest_tier_that_does_stands_for_samples() {
        use Origin::{Raw, Tier};
        check(&[], 60, &[(-50, 0, Raw), (0, 600, Tier(1)), (600, 1000, Raw)]);
        check(
            &[],
            59,
            &[(-50, 0, Raw), (0, 100, Tier(1)), (100, 400, Tier(0)), (400, 1000, Raw)],
        );
    }

    #[test]
    fn where_samples_are_gone_the_finest_tier_stands_for_them() {
        use Origin::{Kept, Raw, Tier};
        check(
            &[],
            0,
            &[(-50, 0, Raw), (0, 100, Tier(1)), (100, 300, Tier(0)), (300, 1000, Raw)],
        );
        check(
            &[(200, 300)],
            0,
            &[
                (-50, 0, Raw),
                (0, 100, Tier(1)),
                (100, 200, Tier(0)),
                (200, 300, Kept(0)),
                (300, 1000, Raw),
            ],
        );
    }
}
