//! The list of all families, and what they say at one moment.

use std::fmt;
use std::sync::Arc;

use parking_lot::Mutex;

use crate::values::Shape;
use crate::{
    Counter, CounterVec, Gauge, GaugeVec, Histogram, HistogramVec, NativeBuckets, Summary, SummaryVec, Summed,
};

/// What kind of family.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Only grows.
    Counter,
    /// Goes up and down.
    Gauge,
    /// Buckets, count and sum.
    Histogram,
    /// Quantiles, count and sum.
    Summary,
}

/// The value of one series.
#[derive(Debug, Clone, PartialEq)]
pub enum SeriesValue {
    /// A counter's or gauge's number.
    Number(f64),
    /// A counter's number, where the registry knows the time.
    Counted {
        /// The number.
        value: f64,
        /// Since when it counts, milliseconds since the epoch.
        since_ms: i64,
    },
    /// A histogram's cumulative buckets (the last is `+Inf`) and sum.
    Histogram {
        /// Upper bound, cumulative count.
        buckets: Vec<(f64, u64)>,
        /// The sum of all observations.
        sum: f64,
        /// Native buckets of the same observations, where the family has them.
        native: Option<NativeBuckets>,
        /// Since when they are counted, milliseconds since the epoch, where the registry knows the time.
        since_ms: Option<i64>,
    },
    /// What a summary says.
    Summary(Summed),
}

/// One family at one moment.
#[derive(Debug, Clone, PartialEq)]
pub struct Snapshot {
    /// The family's name.
    pub name: String,
    /// Its help text.
    pub help: String,
    /// Its kind.
    pub kind: Kind,
    /// Label pairs and value of each series.
    pub series: SeriesList,
}

/// The series of a family: label pairs and value of each.
pub type SeriesList = Vec<(Vec<(String, String)>, SeriesValue)>;

/// A family whose values are computed when asked: name, help, kind, and the series.
pub struct Family {
    name: String,
    help: String,
    kind: Kind,
    read: Box<dyn Fn() -> SeriesList + Send + Sync>,
}

impl fmt::Debug for Family {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)
    }
}

/// How to find the time, if at all.
#[derive(Clone, Default)]
pub(crate) struct Now(Option<Arc<dyn Fn() -> i64 + Send + Sync>>);

impl Now {
    pub(crate) fn tell(&self) -> Option<i64> {
        self.0.as_ref().map(|now| now())
    }
}

impl fmt::Debug for Now {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.is_some() { "a clock" } else { "no clock" })
    }
}

/// All families of one server. Cloning shares it.
#[derive(Debug, Clone, Default)]
pub struct Registry {
    families: Arc<Mutex<Vec<Family>>>,
    now: Now,
}

impl Registry {
    /// A registry that notes since when each series counts, which the protobuf format tells (start timestamps). `now`
    /// gives milliseconds since the epoch. Values that are computed when asked have none, as in the Go client.
    pub fn with_time(now: impl Fn() -> i64 + Send + Sync + 'static) -> Self {
        Self {
            families: Arc::default(),
            now: Now(Some(Arc::new(now))),
        }
    }

    /// Registers a counter without labels.
    #[must_use]
    pub fn counter(&self, name: &str, help: &str) -> Counter {
        let counter = Counter::default();
        let (handle, since) = (counter.clone(), self.now.tell());
        self.add(name, help, Kind::Counter, move || {
            vec![(vec![], of_counter(&handle, since))]
        });
        counter
    }

    /// Registers a gauge without labels.
    #[must_use]
    pub fn gauge(&self, name: &str, help: &str) -> Gauge {
        let gauge = Gauge::default();
        let handle = gauge.clone();
        self.add(name, help, Kind::Gauge, move || {
            vec![(vec![], SeriesValue::Number(handle.get()))]
        });
        gauge
    }

    /// Registers a histogram without labels; `bounds` ascending, without `+Inf`.
    #[must_use]
    pub fn histogram(&self, name: &str, help: &str, bounds: &[f64]) -> Histogram {
        self.add_histogram(name, help, Histogram::of_kind(bounds.into(), false))
    }

    /// As [`Registry::histogram`], with native buckets beside the classic ones.
    #[must_use]
    pub fn native_histogram(&self, name: &str, help: &str, bounds: &[f64]) -> Histogram {
        self.add_histogram(name, help, Histogram::of_kind(bounds.into(), true))
    }

    fn add_histogram(&self, name: &str, help: &str, histogram: Histogram) -> Histogram {
        let (handle, since) = (histogram.clone(), self.now.tell());
        self.add(name, help, Kind::Histogram, move || {
            vec![(vec![], of_histogram(&handle, since))]
        });
        histogram
    }

    /// Registers counters with labels.
    #[must_use]
    pub fn counter_vec(&self, name: &str, help: &str, labels: &'static [&'static str]) -> CounterVec {
        let counters = CounterVec::new(self.shape(&[], false));
        let handle = counters.clone();
        self.add(name, help, Kind::Counter, move || {
            handle
                .all()
                .into_iter()
                .map(|(v, c, since)| (pairs(labels, v), of_counter(&c, since)))
                .collect()
        });
        counters
    }

    /// Registers gauges with labels.
    #[must_use]
    pub fn gauge_vec(&self, name: &str, help: &str, labels: &'static [&'static str]) -> GaugeVec {
        let gauges = GaugeVec::new(self.shape(&[], false));
        let handle = gauges.clone();
        self.add(name, help, Kind::Gauge, move || {
            handle
                .all()
                .into_iter()
                .map(|(v, g, _)| (pairs(labels, v), SeriesValue::Number(g.get())))
                .collect()
        });
        gauges
    }

    /// Registers histograms with labels.
    #[must_use]
    pub fn histogram_vec(
        &self,
        name: &str,
        help: &str,
        labels: &'static [&'static str],
        bounds: &[f64],
    ) -> HistogramVec {
        self.add_histograms(name, help, labels, HistogramVec::new(self.shape(bounds, false)))
    }

    /// As [`Registry::histogram_vec`], with native buckets beside the classic ones.
    #[must_use]
    pub fn native_histogram_vec(
        &self,
        name: &str,
        help: &str,
        labels: &'static [&'static str],
        bounds: &[f64],
    ) -> HistogramVec {
        self.add_histograms(name, help, labels, HistogramVec::new(self.shape(bounds, true)))
    }

    fn add_histograms(
        &self,
        name: &str,
        help: &str,
        labels: &'static [&'static str],
        histograms: HistogramVec,
    ) -> HistogramVec {
        let handle = histograms.clone();
        self.add(name, help, Kind::Histogram, move || {
            handle
                .all()
                .into_iter()
                .map(|(v, h, since)| (pairs(labels, v), of_histogram(&h, since)))
                .collect()
        });
        histograms
    }

    fn shape(&self, bounds: &[f64], is_native: bool) -> Shape {
        Shape {
            bounds: bounds.into(),
            is_native,
            now: self.now.clone(),
        }
    }

    /// Registers a summary without labels that tells `quantiles`.
    #[must_use]
    pub fn summary(&self, name: &str, help: &str, quantiles: &[f64]) -> Summary {
        let summary = Summary::new(quantiles.into());
        let (handle, since) = (summary.clone(), self.now.tell());
        self.add(name, help, Kind::Summary, move || {
            vec![(vec![], of_summary(&handle, since))]
        });
        summary
    }

    /// Registers summaries with labels.
    #[must_use]
    pub fn summary_vec(
        &self,
        name: &str,
        help: &str,
        labels: &'static [&'static str],
        quantiles: &[f64],
    ) -> SummaryVec {
        let summaries = SummaryVec::new(self.shape(quantiles, false));
        let handle = summaries.clone();
        self.add(name, help, Kind::Summary, move || {
            handle
                .all()
                .into_iter()
                .map(|(v, s, since)| (pairs(labels, v), of_summary(&s, since)))
                .collect()
        });
        summaries
    }

    /// Registers a family whose one value is computed when asked.
    pub fn computed(&self, name: &str, help: &str, kind: Kind, read: impl Fn() -> f64 + Send + Sync + 'static) {
        self.add(name, help, kind, move || vec![(vec![], SeriesValue::Number(read()))]);
    }

    /// Registers a family whose series are computed when asked.
    pub fn add(&self, name: &str, help: &str, kind: Kind, read: impl Fn() -> SeriesList + Send + Sync + 'static) {
        let family = Family {
            name: name.to_owned(),
            help: help.to_owned(),
            kind,
            read: Box::new(read),
        };
        self.families.lock().push(family);
    }

    /// What all families say now, ascending by name.
    #[must_use]
    pub fn snapshot(&self) -> Vec<Snapshot> {
        let families = self.families.lock();
        let mut all: Vec<Snapshot> = families
            .iter()
            .map(|f| Snapshot {
                name: f.name.clone(),
                help: f.help.clone(),
                kind: f.kind,
                series: (f.read)(),
            })
            .collect();
        all.sort_by(|a, b| a.name.cmp(&b.name));
        all
    }
}

fn pairs(names: &[&str], values: Vec<String>) -> Vec<(String, String)> {
    names.iter().map(|n| (*n).to_owned()).zip(values).collect()
}

fn of_counter(counter: &Counter, since: Option<i64>) -> SeriesValue {
    let value = counter.get();
    since.map_or(SeriesValue::Number(value), |since_ms| SeriesValue::Counted {
        value,
        since_ms,
    })
}

fn of_histogram(histogram: &Histogram, since_ms: Option<i64>) -> SeriesValue {
    let (buckets, sum, native) = histogram.get_all();
    SeriesValue::Histogram {
        buckets,
        sum,
        native,
        since_ms,
    }
}

fn of_summary(summary: &Summary, since_ms: Option<i64>) -> SeriesValue {
    let all = summary.get();
    SeriesValue::Summary(Summed { since_ms, ..all })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_snapshot_shows_every_family_by_name() {
        let registry = Registry::default();
        let errors = registry.counter_vec("b_total", "errors", &["kind"]);
        let size = registry.gauge("a_bytes", "size");
        errors.with(&["x"]).inc();
        errors.with(&["x"]).add(2.0);
        size.set(5.0);
        let all = registry.snapshot();
        assert_eq!(all[0].name, "a_bytes");
        assert_eq!(all[0].series, vec![(vec![], SeriesValue::Number(5.0))]);
        assert_eq!(
            all[1].series,
            vec![(vec![("kind".into(), "x".into())], SeriesValue::Number(3.0))]
        );
        errors.remove(&["x"]);
        assert!(registry.snapshot()[1].series.is_empty());
    }

    #[test]
    fn summaries_tell_quantiles_of_the_newest_and_count_all() {
        let registry = Registry::default();
        let seconds = registry.summary("s", "", &[0.5, 0.9, 1.0]);
        assert!(seconds.get().quantiles.iter().all(|(_, value)| value.is_nan()));
        (1..=10).for_each(|v| seconds.observe(f64::from(v)));
        let all = seconds.get();
        assert_eq!(all.quantiles, [(0.5, 5.0), (0.9, 9.0), (1.0, 10.0)]);
        assert_eq!((all.sum, all.count), (55.0, 10));
        (0..1024).for_each(|_| seconds.observe(2.0));
        let all = seconds.get();
        assert_eq!(all.quantiles, [(0.5, 2.0), (0.9, 2.0), (1.0, 2.0)]);
        assert_eq!((all.sum, all.count), (55.0 + 2048.0, 1034));
        let parts = registry.summary_vec("p", "", &["part"], &[0.5]);
        parts.with(&["x"]).observe(3.0);
        let snapshot = registry.snapshot();
        assert_eq!(snapshot[0].kind, Kind::Summary);
        let (labels, value) = &snapshot[0].series[0];
        assert_eq!(labels, &[("part".to_owned(), "x".to_owned())]);
        assert!(matches!(value, SeriesValue::Summary(all) if all.count == 1));
    }

    #[test]
    fn with_a_clock_each_series_tells_since_when_it_counts() {
        let time = Arc::new(std::sync::atomic::AtomicI64::new(1000));
        let clock = Arc::clone(&time);
        let registry = Registry::with_time(move || clock.load(std::sync::atomic::Ordering::Relaxed));
        registry.counter("a_total", "").inc();
        let seconds = registry.native_histogram_vec("b", "", &["l"], &[1.0]);
        seconds.with(&["x"]).observe(2.0);
        time.store(2000, std::sync::atomic::Ordering::Relaxed);
        seconds.with(&["x"]).observe(0.5);
        seconds.with(&["y"]).observe(1.0);
        let all = registry.snapshot();
        let counted = SeriesValue::Counted {
            value: 1.0,
            since_ms: 1000,
        };
        assert_eq!(all[0].series[0].1, counted);
        let told = |at: usize| match &all[1].series[at].1 {
            SeriesValue::Histogram {
                native: Some(native),
                since_ms,
                ..
            } => (native.positive.clone(), *since_ms),
            other => panic!("{other:?}"),
        };
        assert_eq!(told(0), (vec![(-8, 1), (8, 1)], Some(1000)));
        assert_eq!(told(1), (vec![(0, 1)], Some(2000)));
    }

    #[test]
    fn histogram_buckets_are_cumulative() {
        let registry = Registry::default();
        let seconds = registry.histogram("s", "", &[1.0, 2.0]);
        for v in [0.5, 1.0, 1.5, 9.0] {
            seconds.observe(v);
        }
        assert_eq!(seconds.get(), (vec![(1.0, 2), (2.0, 3), (f64::INFINITY, 4)], 12.0));
    }
}
