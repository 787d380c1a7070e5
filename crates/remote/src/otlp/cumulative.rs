//! Deltas summed up, stream by stream: what counts since the last point becomes what counts since the beginning, as
//! OpenTelemetry's `deltatocumulative` processor does it, which Prometheus 3.14 has built in (feature
//! `otlp-deltatocumulative`).
//!
//! The sums of a message count once it is written; until then they stand beside those there are.

use foldhash::HashMap;
use sha2::{Digest as _, Sha256};

use super::points::{Buckets, Point, Scope};

// A stream of which nothing has been heard for so long begins anew, as in the processor.
const STALE_MS: i64 = 5 * 60_000;
const SWEEP_EVERY_MS: i64 = 30_000;
// The processor knows no bound. This is of numbers held, eight bytes each; a stream without buckets counts as so many.
const MOST_NUMBERS: usize = 40_000_000;
const PER_STREAM: usize = 40;
// As the processor: beyond it the buckets of an exponential histogram become coarser.
const MOST_BUCKETS: i64 = 160;
const COARSEST_SCALE: i32 = -10;

/// What makes a stream, hashed: everything but times and values.
pub(super) type StreamId = [u8; 16];

/// The identity of a metric's stream; `kind` is the field of its data.
pub(super) fn stream_id(
    resource: &[(String, String)],
    scope: &Scope,
    metric: (&str, &str, u64, bool),
    attributes: &[(String, String)],
) -> StreamId {
    let mut hash = Sha256::new();
    let mut text = |text: &str| {
        hash.update((text.len() as u64).to_le_bytes());
        hash.update(text.as_bytes());
    };
    let mut pairs = |all: &[(String, String)]| {
        let mut sorted: Vec<_> = all.iter().collect();
        sorted.sort();
        text(&sorted.len().to_string());
        for (name, value) in sorted {
            text(name);
            text(value);
        }
    };
    pairs(resource);
    pairs(&scope.attributes);
    pairs(attributes);
    let (name, unit, kind, is_monotonic) = metric;
    text(&scope.name);
    text(&scope.version);
    text(name);
    text(unit);
    text(&format!("{kind} {is_monotonic}"));
    let hash = hash.finalize();
    let mut id = [0; 16];
    id.iter_mut().zip(hash.iter()).for_each(|(id, byte)| *id = *byte);
    id
}

struct Sum {
    point: Point,
    seen_ms: i64,
}

// How much room a stream takes, in numbers.
fn numbers(point: &Point) -> usize {
    let buckets = point.positive.counts.len() + point.negative.counts.len();
    PER_STREAM + point.counts.len() + point.bounds.len() + buckets
}

/// The sums of all streams.
#[derive(Default)]
pub(super) struct Streams {
    sums: HashMap<StreamId, Sum>,
    numbers: usize,
    swept_ms: i64,
}

/// What became of a point.
pub(super) enum Summed {
    /// What counts since the beginning.
    Point(Box<Point>),
    /// Older than what is known, or of an older beginning.
    Late,
    /// There are too many streams.
    TooMany,
}

/// The sums that a message would change; `None` where the stream ends.
#[derive(Default)]
pub(super) struct Changes {
    points: HashMap<StreamId, Option<Point>>,
    // What the message adds at most.
    numbers: usize,
}

impl Changes {
    /// Adds a point to its stream.
    pub(super) fn add(&mut self, streams: &Streams, id: StreamId, point: Point) -> Summed {
        let known = match self.points.get(&id) {
            Some(changed) => changed.as_ref(),
            None => streams.sums.get(&id).map(|sum| &sum.point),
        };
        if point.is_stale() {
            self.points.insert(id, None);
            return Summed::Point(Box::new(point));
        }
        if known.is_some_and(|known| point.start < known.start || point.ts <= known.ts) {
            return Summed::Late;
        }
        let (sum, told) = match known {
            None => (point.without_labels(), point),
            Some(known) => {
                let mut sum = known.clone();
                add(&mut sum, &point);
                let mut told = sum.clone();
                told.attributes = point.attributes;
                told.exemplars = point.exemplars;
                (sum, told)
            }
        };
        let more = numbers(&sum).saturating_sub(known.map_or(0, numbers));
        if streams.numbers + self.numbers + more > MOST_NUMBERS {
            return Summed::TooMany;
        }
        self.numbers += more;
        self.points.insert(id, Some(sum));
        Summed::Point(Box::new(told))
    }
}

impl Streams {
    /// Makes the changes; the message is written.
    pub(super) fn take(&mut self, changes: Changes, now_ms: i64) {
        for (id, point) in changes.points {
            let added = point.as_ref().map_or(0, numbers);
            let before = match point {
                Some(point) => self.sums.insert(id, Sum { point, seen_ms: now_ms }),
                None => self.sums.remove(&id),
            };
            self.numbers = (self.numbers + added).saturating_sub(before.map_or(0, |sum| numbers(&sum.point)));
        }
        if now_ms.saturating_sub(self.swept_ms) >= SWEEP_EVERY_MS {
            self.swept_ms = now_ms;
            self.sums
                .retain(|_, sum| now_ms.saturating_sub(sum.seen_ms) <= STALE_MS);
            self.numbers = self.sums.values().map(|sum| numbers(&sum.point)).sum();
        }
    }
}

fn add(sum: &mut Point, delta: &Point) {
    let is_histogram = |point: &Point| !point.counts.is_empty();
    if is_histogram(sum) || is_histogram(delta) {
        // Of other bounds, or none that fit: there is no way to add them, so it begins anew.
        if sum.bounds != delta.bounds || sum.counts.len() != delta.counts.len() {
            *sum = delta.without_labels();
            return;
        }
        for (sum, delta) in sum.counts.iter_mut().zip(&delta.counts) {
            *sum = sum.saturating_add(*delta);
        }
    }
    // What is coarser than OpenTelemetry's coarsest is no histogram that could be added to.
    if sum.scale.min(delta.scale) < COARSEST_SCALE {
        *sum = delta.without_labels();
        return;
    }
    add_buckets(sum, delta);
    sum.value += delta.value;
    sum.count = sum.count.saturating_add(delta.count);
    sum.sum = sum.sum.zip(delta.sum).map(|(a, b)| a + b);
    sum.ts = delta.ts;
}

// Exponential histograms are brought to one zero bucket and one scale first.
fn add_buckets(sum: &mut Point, delta: &Point) {
    let mut delta = delta.without_labels();
    // A bucket that the wider zero bucket cuts into is taken in whole, which may make it wider than the other again.
    for _ in 0..4 {
        let threshold = sum.zero_threshold.max(delta.zero_threshold);
        widen(sum, threshold);
        widen(&mut delta, threshold);
        if sum.zero_threshold == delta.zero_threshold {
            break;
        }
    }
    let mut scale = sum.scale.min(delta.scale);
    let length = |a: &Buckets, a_scale: i32, b: &Buckets, b_scale: i32, scale: i32| {
        let span = |buckets: &Buckets, from: i32| {
            let by = from.saturating_sub(scale).clamp(0, 62);
            let first = i64::from(buckets.offset);
            let last = first + buckets.counts.len() as i64 - 1;
            (!buckets.counts.is_empty()).then_some((first >> by, last >> by))
        };
        match (span(a, a_scale), span(b, b_scale)) {
            (Some(a), Some(b)) => a.1.max(b.1) - a.0.min(b.0) + 1,
            // What is alone stays as it is.
            _ => 0,
        }
    };
    while length(&sum.positive, sum.scale, &delta.positive, delta.scale, scale) > MOST_BUCKETS
        || length(&sum.negative, sum.scale, &delta.negative, delta.scale, scale) > MOST_BUCKETS
    {
        scale -= 1;
    }
    let (sum_by, delta_by) = (sum.scale.saturating_sub(scale), delta.scale.saturating_sub(scale));
    for (sum, delta) in [
        (&mut sum.positive, &mut delta.positive),
        (&mut sum.negative, &mut delta.negative),
    ] {
        coarsen(sum, sum_by);
        coarsen(delta, delta_by);
        merge(sum, delta);
    }
    sum.scale = scale;
    sum.zero_count = sum.zero_count.saturating_add(delta.zero_count);
}

fn coarsen(buckets: &mut Buckets, by: i32) {
    if by <= 0 || buckets.counts.is_empty() {
        return;
    }
    let by = by.min(62);
    let place = |at: usize| (i64::from(buckets.offset) + at as i64) >> by;
    let first = place(0);
    let mut counts: Vec<u64> = Vec::with_capacity(buckets.counts.len() / 2 + 1);
    for (at, count) in buckets.counts.iter().enumerate() {
        let to = usize::try_from(place(at) - first).unwrap_or(0);
        if to == counts.len() {
            counts.push(0);
        }
        if let Some(there) = counts.last_mut() {
            *there = there.saturating_add(*count);
        }
    }
    buckets.offset = i32::try_from(first).unwrap_or(0);
    buckets.counts = counts;
}

// Of one scale; together they are no more than `MOST_BUCKETS`.
fn merge(sum: &mut Buckets, delta: &Buckets) {
    if delta.counts.is_empty() {
        return;
    }
    if sum.counts.is_empty() {
        *sum = delta.clone();
        return;
    }
    let end = |buckets: &Buckets| i64::from(buckets.offset) + buckets.counts.len() as i64;
    let first = sum.offset.min(delta.offset);
    let length = usize::try_from(end(sum).max(end(delta)) - i64::from(first)).unwrap_or(0);
    let mut counts = vec![0_u64; length];
    for buckets in [&*sum, delta] {
        let begin = usize::try_from(i64::from(buckets.offset) - i64::from(first)).unwrap_or(0);
        for (there, count) in counts.iter_mut().skip(begin).zip(&buckets.counts) {
            *there = there.saturating_add(*count);
        }
    }
    *sum = Buckets { offset: first, counts };
}

// Takes all that lies below `threshold`, and what it cuts into, into the zero bucket.
fn widen(point: &mut Point, threshold: f64) {
    if point.zero_threshold >= threshold {
        return;
    }
    let mut reached = threshold;
    let mut taken = 0_u64;
    let scale = point.scale;
    let bound = |index: i64| (index as f64 * (-f64::from(scale)).exp2()).exp2();
    for buckets in [&mut point.positive, &mut point.negative] {
        let mut gone = 0;
        for (at, count) in buckets.counts.iter().enumerate() {
            let index = i64::from(buckets.offset) + at as i64;
            if bound(index) >= threshold {
                break;
            }
            if *count > 0 {
                reached = reached.max(bound(index + 1));
            }
            taken = taken.saturating_add(*count);
            gone = at + 1;
        }
        buckets.counts.drain(..gone);
        buckets.offset = buckets.offset.saturating_add(gone as i32);
    }
    point.zero_count = point.zero_count.saturating_add(taken);
    point.zero_threshold = if reached.is_finite() { reached } else { threshold };
}

#[cfg(test)]
mod tests {
    use super::*;

    fn buckets(offset: i32, counts: &[u64]) -> Buckets {
        Buckets {
            offset,
            counts: counts.to_vec(),
        }
    }

    fn number(start: i64, ts: i64, value: f64) -> Point {
        Point {
            start,
            ts,
            value,
            ..Point::default()
        }
    }

    #[test]
    fn points_are_summed_once_the_message_is_written() {
        let mut streams = Streams::default();
        let told = |summed| match summed {
            Summed::Point(point) => Some((point.start, point.ts, point.value())),
            _ => None,
        };
        let mut changes = Changes::default();
        assert_eq!(
            told(changes.add(&streams, [1; 16], number(0, 10, 5.0))),
            Some((0, 10, 5.0))
        );
        assert_eq!(
            told(changes.add(&streams, [1; 16], number(10, 20, 2.0))),
            Some((0, 20, 7.0))
        );
        // The message is not written.
        drop(changes);
        let mut changes = Changes::default();
        assert_eq!(
            told(changes.add(&streams, [1; 16], number(10, 20, 2.0))),
            Some((10, 20, 2.0))
        );
        streams.take(changes, 1000);
        let mut changes = Changes::default();
        assert_eq!(
            told(changes.add(&streams, [1; 16], number(20, 20, 1.0))),
            None,
            "not newer"
        );
        assert_eq!(
            told(changes.add(&streams, [1; 16], number(5, 30, 1.0))),
            None,
            "of an older beginning"
        );
        assert_eq!(
            told(changes.add(&streams, [1; 16], number(20, 30, 1.0))),
            Some((10, 30, 3.0))
        );
        assert_eq!(
            told(changes.add(&streams, [2; 16], number(20, 30, 1.0))),
            Some((20, 30, 1.0))
        );
        streams.take(changes, 1000 + STALE_MS + 1);
        // Both were heard of; much later neither is known.
        streams.take(Changes::default(), 1000 + 3 * STALE_MS);
        assert!(streams.sums.is_empty());
        assert_eq!(streams.numbers, 0);
    }

    #[test]
    fn what_is_held_has_a_bound() {
        let mut streams = Streams::default();
        let many = |ts| Point {
            ts,
            counts: vec![1; MOST_NUMBERS / 4 - PER_STREAM],
            ..Point::default()
        };
        for id in 0..3 {
            let mut changes = Changes::default();
            assert!(matches!(changes.add(&streams, [id; 16], many(1)), Summed::Point(_)));
            streams.take(changes, 1);
        }
        let mut changes = Changes::default();
        assert!(matches!(changes.add(&streams, [3; 16], many(1)), Summed::Point(_)));
        assert!(matches!(
            changes.add(&streams, [4; 16], number(0, 1, 1.0)),
            Summed::TooMany
        ));
        // What is there goes on.
        assert!(matches!(changes.add(&streams, [0; 16], many(2)), Summed::Point(_)));
        streams.take(changes, 2);
        assert_eq!(streams.numbers, MOST_NUMBERS);
        let mut changes = Changes::default();
        let stale = Point {
            flags: 1,
            ..number(0, 3, 0.0)
        };
        changes.add(&streams, [0; 16], stale);
        streams.take(changes, 3);
        assert_eq!(streams.numbers, MOST_NUMBERS / 4 * 3);
    }

    #[test]
    fn histograms_of_other_bounds_begin_anew() {
        let histogram = |ts, bounds: &[f64], counts: &[u64]| Point {
            ts,
            count: counts.iter().sum(),
            sum: Some(1.0),
            bounds: bounds.to_vec(),
            counts: counts.to_vec(),
            ..Point::default()
        };
        let mut sum = histogram(1, &[1.0], &[1, 2]);
        add(&mut sum, &histogram(2, &[1.0], &[3, 4]));
        assert_eq!(
            (sum.counts.as_slice(), sum.count, sum.sum),
            (&[4, 6][..], 10, Some(2.0))
        );
        add(&mut sum, &histogram(3, &[2.0], &[7, 7]));
        assert_eq!((sum.counts.as_slice(), sum.count), (&[7, 7][..], 14));
    }

    #[test]
    fn exponential_histograms_are_brought_to_one_form() {
        let point = |scale, zero_threshold, positive| Point {
            scale,
            zero_threshold,
            positive,
            ..Point::default()
        };
        // Of scale 1 the buckets are 2^0.5 wide, of scale 0 twice that.
        let mut sum = point(1, 0.0, buckets(-1, &[1, 2, 4]));
        add(&mut sum, &point(0, 0.0, buckets(0, &[8, 16])));
        assert_eq!(
            (sum.scale, sum.positive.offset, sum.positive.counts.as_slice()),
            (0, -1, &[1, 14, 16][..])
        );
        // What the wider zero bucket cuts into goes into it whole, of both.
        let mut sum = point(0, 0.0, buckets(0, &[1, 2, 4]));
        add(&mut sum, &point(0, 3.0, buckets(2, &[8])));
        assert_eq!((sum.zero_threshold, sum.zero_count), (4.0, 3));
        assert_eq!((sum.positive.offset, sum.positive.counts.as_slice()), (2, &[12][..]));
        // Far apart they become coarser until they fit.
        let mut sum = point(0, 0.0, buckets(-500, &[1]));
        add(&mut sum, &point(0, 0.0, buckets(500, &[1])));
        assert!(sum.positive.counts.len() <= MOST_BUCKETS as usize && sum.scale < 0);
        assert_eq!(sum.positive.counts.iter().sum::<u64>(), 2);
    }

    #[test]
    fn extreme_points_are_summed_without_a_panic() {
        let extremes = [i32::MIN, -5, 0, 5, i32::MAX];
        for scale in extremes {
            for offset in extremes {
                for threshold in [0.0, 1e-300, 1.0, f64::MAX, f64::INFINITY, f64::NAN] {
                    let point = Point {
                        scale,
                        zero_threshold: threshold,
                        positive: buckets(offset, &[u64::MAX, 1, 0]),
                        negative: buckets(offset, &[3]),
                        ..Point::default()
                    };
                    for other in [0, scale] {
                        let mut sum = Point {
                            scale: other,
                            positive: buckets(0, &[1, 2]),
                            ..Point::default()
                        };
                        add(&mut sum, &point);
                        assert!(sum.positive.counts.len() <= 4096);
                    }
                }
            }
        }
    }

    #[test]
    fn a_stream_is_known_by_all_that_does_not_change() {
        let pairs = |all: &[(&str, &str)]| -> Vec<(String, String)> {
            all.iter()
                .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
                .collect()
        };
        let scope = Scope::default();
        let (ab, ba) = (pairs(&[("a", "1"), ("b", "2")]), pairs(&[("b", "2"), ("a", "1")]));
        let id = |resource: &[(String, String)], name, attributes: &[(String, String)]| {
            stream_id(resource, &scope, (name, "s", 7, true), attributes)
        };
        assert_eq!(id(&ab, "m", &ba), id(&ba, "m", &ab));
        for other in [
            id(&ab, "n", &ba),
            id(&[], "m", &ba),
            id(&ab, "m", &[]),
            id(&[], "m", &ab),
        ] {
            assert_ne!(id(&ab, "m", &ba), other);
        }
    }
}
