//! `_created` lines of OpenMetrics, which say since when the series before them count (features `st-storage` and
//! `created-timestamp-zero-ingestion`). They are no series then.
//!
//! As upstream's parser: a series has the start that the next `_created` line of its family tells, if that line is of its
//! metric (family and labels); and so have those of that metric that follow behind it, as long as no other metric comes
//! between, be it before the line or behind it.

use std::hash::BuildHasher as _;

use cupola_exposition::{LabelPairs, SampleEntry, Series};
use cupola_model::{METRIC_NAME, MetricType, SeriesRef};

const SUFFIX: &str = "_created";

/// Which counter, histogram or summary a line is of.
#[derive(Debug, Clone, Copy, Default)]
struct Metric {
    // The type under which it was looked at: one that has no start is none.
    kind: MetricType,
    // Of its name without suffix and its labels but `le` and `quantile`.
    hash: u64,
    is_created: bool,
}

/// Since when a metric counts.
#[derive(Debug, Clone, Copy)]
pub(super) struct Start {
    metric: u64,
    // Milliseconds since 1970, never 0.
    time: i64,
}

/// What a line means for starts.
pub(super) enum Line {
    /// It is of a kind that counts nothing.
    Plain,
    /// It is no series; [`Created::take_told`] gives those that waited for this start.
    Created(Option<Start>),
    /// It is part of a metric, which counts since this moment where that is known by now.
    Part(Option<i64>),
}

/// The `_created` lines of one target.
#[derive(Default)]
pub(super) struct Created {
    // By the place where a line is remembered.
    metrics: Vec<Metric>,
    hasher: foldhash::quality::RandomState,
    // The samples behind the last line that was no part of their family, or that was a `_created` one.
    waiting: Vec<(u64, SeriesRef, i64)>,
    // The metric of the last line that looked for its start, whether its sample waits or was left out.
    looking: Option<u64>,
    // The start that lines of its metric have without looking for it.
    told: Option<Start>,
    is_used: bool,
}

impl Created {
    /// Whether the line is a `_created` one, looked at anew.
    pub(super) fn is_one(series: &Series<'_>) -> bool {
        counts(series.kind()) && name_of(series).ends_with(SUFFIX)
    }

    /// Whether the next body is in OpenMetrics. Returns whether the one before was, and this one is not.
    pub(super) fn turn(&mut self, is_used: bool) -> bool {
        std::mem::replace(&mut self.is_used, is_used) && !is_used
    }

    /// A new body.
    pub(super) fn begin(&mut self) {
        self.leave();
        self.told = None;
    }

    /// A line that is no sample: another family may begin.
    pub(super) fn leave(&mut self) {
        self.waiting.clear();
        self.looking = None;
    }

    /// What the line that is remembered at `at` means. A line that is there already is not looked into.
    #[inline]
    pub(super) fn line(&mut self, at: usize, sample: &SampleEntry<'_>) -> Line {
        let kind = sample.series.kind();
        if !counts(kind) {
            self.told = None;
            return Line::Plain;
        }
        let metric = match self.metrics.get(at) {
            Some(known) if known.kind == kind => *known,
            _ => self.look(at, &sample.series),
        };
        if metric.is_created {
            return Line::Created(self.tell(metric.hash, sample.value));
        }
        match self.told {
            Some(start) if start.metric == metric.hash => Line::Part(Some(start.time)),
            _ => {
                self.told = None;
                self.looking = Some(metric.hash);
                Line::Part(None)
            }
        }
    }

    /// The sample of the line at `at` waits for a `_created` line.
    #[inline]
    pub(super) fn wait(&mut self, at: usize, series: SeriesRef, time: i64) {
        let hash = self.metrics.get(at).map_or(0, |metric| metric.hash);
        self.waiting.push((hash, series, time));
    }

    /// Series and time of the samples whose start is told now, after [`Line::Created`], and the start.
    pub(super) fn take_told(&mut self, told: Option<Start>) -> impl Iterator<Item = (SeriesRef, i64, i64)> {
        self.waiting.drain(..).filter_map(move |(metric, series, time)| {
            let start = told?;
            (start.metric == metric).then_some((series, time, start.time))
        })
    }

    /// Keeps what is known of the lines that are kept, in their order.
    pub(super) fn retain(&mut self, mut is_kept: impl FnMut(usize) -> bool) {
        let mut at = 0;
        self.metrics.retain(|_| {
            at += 1;
            is_kept(at - 1)
        });
        self.metrics.shrink_to_fit();
    }

    // Seconds, of which 0 says nothing. It is told to those that follow if the line before looked for it.
    fn tell(&mut self, metric: u64, seconds: f64) -> Option<Start> {
        let time = (seconds * 1000.0) as i64;
        let start = (seconds.is_finite() && time != 0).then_some(Start { metric, time });
        if let Some(looking) = self.looking.take() {
            self.told = start.filter(|_| looking == metric);
        }
        start
    }

    #[cold]
    fn look(&mut self, at: usize, series: &Series<'_>) -> Metric {
        let kind = series.kind();
        let mut pairs = LabelPairs::new();
        series.labels_into(false, &mut pairs);
        let own = match kind {
            MetricType::Histogram => "le",
            MetricType::Summary => "quantile",
            _ => "",
        };
        let has_own = pairs.iter().any(|(name, _)| name == own);
        let (mut name, mut text) = (String::new(), Vec::new());
        for (label, value) in &pairs {
            match label.as_ref() {
                METRIC_NAME => name = value.to_string(),
                label if label == own => {}
                label => {
                    for part in [label, value] {
                        text.extend_from_slice(part.as_bytes());
                        // In no UTF-8.
                        text.push(0xff);
                    }
                }
            }
        }
        let is_created = name.ends_with(SUFFIX);
        let suffixes: &[&str] = match (kind, has_own) {
            _ if is_created => &[SUFFIX],
            (MetricType::Counter, _) => &["_total"],
            (MetricType::Histogram, true) => &["_bucket"],
            (_, true) => &[],
            (_, false) => &["_count", "_sum"],
        };
        let family = suffixes.iter().find_map(|suffix| name.strip_suffix(suffix));
        text.extend_from_slice(family.unwrap_or(&name).as_bytes());
        let metric = Metric {
            kind,
            hash: self.hasher.hash_one(&text),
            is_created,
        };
        if self.metrics.len() <= at {
            self.metrics.resize(at + 1, Metric::default());
        }
        if let Some(known) = self.metrics.get_mut(at) {
            *known = metric;
        }
        metric
    }
}

// Whether series of this type may have a start.
fn counts(kind: MetricType) -> bool {
    matches!(kind, MetricType::Counter | MetricType::Histogram | MetricType::Summary)
}

fn name_of(series: &Series<'_>) -> String {
    let mut pairs = LabelPairs::new();
    series.labels_into(false, &mut pairs);
    let name = pairs.into_iter().find(|(name, _)| name == METRIC_NAME);
    name.map(|(_, name)| name.into_owned()).unwrap_or_default()
}
