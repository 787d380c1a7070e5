//! The handles that parts keep and count with.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::{Mutex, RwLock};

use crate::native::{Native, NativeBuckets};
use crate::registry::Now;

/// A number that only grows.
#[derive(Debug, Clone, Default)]
pub struct Counter(Arc<AtomicU64>);

impl Counter {
    /// Adds one.
    pub fn inc(&self) {
        self.add(1.0);
    }

    /// Adds `amount`; a negative amount or NaN is ignored.
    pub fn add(&self, amount: f64) {
        if amount >= 0.0 {
            add_f64(&self.0, amount);
        }
    }

    /// The number so far.
    #[must_use]
    pub fn get(&self) -> f64 {
        f64::from_bits(self.0.load(Ordering::Relaxed))
    }
}

/// A number that goes up and down.
#[derive(Debug, Clone, Default)]
pub struct Gauge(Arc<AtomicU64>);

impl Gauge {
    /// Sets it.
    pub fn set(&self, value: f64) {
        self.0.store(value.to_bits(), Ordering::Relaxed);
    }

    /// Adds `amount`, which may be negative.
    pub fn add(&self, amount: f64) {
        add_f64(&self.0, amount);
    }

    /// The number now.
    #[must_use]
    pub fn get(&self) -> f64 {
        f64::from_bits(self.0.load(Ordering::Relaxed))
    }
}

fn add_f64(cell: &AtomicU64, amount: f64) {
    // The update closure always gives a value, so the loop ends with the addition done.
    let _ = cell.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |bits| {
        Some((f64::from_bits(bits) + amount).to_bits())
    });
}

/// Counts observations below bounds, as a classic histogram.
#[derive(Debug, Clone)]
pub struct Histogram(Arc<HistogramCells>);

#[derive(Debug)]
struct HistogramCells {
    bounds: Arc<[f64]>,
    // One per bound, then one for everything above.
    counts: Box<[AtomicU64]>,
    sum: AtomicU64,
    // Locked while anything of the histogram changes, so that its buckets of both kinds agree.
    native: Option<Mutex<Native>>,
}

impl Histogram {
    /// A histogram with the upper bounds `bounds`, ascending, without `+Inf`.
    #[must_use]
    pub fn new(bounds: Arc<[f64]>) -> Self {
        Self::of_kind(bounds, false)
    }

    pub(crate) fn of_kind(bounds: Arc<[f64]>, is_native: bool) -> Self {
        let counts = (0..=bounds.len()).map(|_| AtomicU64::new(0)).collect();
        Self(Arc::new(HistogramCells {
            bounds,
            counts,
            sum: AtomicU64::new(0),
            native: is_native.then(Mutex::default),
        }))
    }

    /// Counts one observation.
    pub fn observe(&self, value: f64) {
        let cells = &*self.0;
        let mut native = cells.native.as_ref().map(Mutex::lock);
        let at = cells
            .bounds
            .iter()
            .position(|bound| value <= *bound)
            .unwrap_or(cells.bounds.len());
        if let Some(count) = cells.counts.get(at) {
            count.fetch_add(1, Ordering::Relaxed);
        }
        add_f64(&cells.sum, value);
        if let Some(native) = &mut native {
            native.observe(value);
        }
    }

    /// What [`Histogram::get`] tells, and the native buckets of the same moment where it has some.
    pub(crate) fn get_all(&self) -> (Vec<(f64, u64)>, f64, Option<NativeBuckets>) {
        let native = self.0.native.as_ref().map(Mutex::lock);
        let (buckets, sum) = self.get();
        (buckets, sum, native.map(|native| native.get()))
    }

    /// Upper bounds with their cumulative counts (the last is `+Inf`), and the sum.
    #[must_use]
    pub fn get(&self) -> (Vec<(f64, u64)>, f64) {
        let mut total = 0;
        let bounds = self.0.bounds.iter().copied().chain([f64::INFINITY]);
        let buckets = bounds.zip(&self.0.counts).map(|(bound, count)| {
            total += count.load(Ordering::Relaxed);
            (bound, total)
        });
        (buckets.collect(), f64::from_bits(self.0.sum.load(Ordering::Relaxed)))
    }
}

// How many observations the quantiles of a summary are of.
const NEWEST: usize = 1024;

/// Tells quantiles of the newest 1,024 observations, and sum and count of all.
///
/// Prometheus's client library tells them of the last ten minutes; here nothing has a clock.
#[derive(Debug, Clone)]
pub struct Summary(Arc<SummaryCells>);

#[derive(Debug)]
struct SummaryCells {
    quantiles: Arc<[f64]>,
    seen: Mutex<Seen>,
}

#[derive(Debug, Default)]
struct Seen {
    // A ring: the next observation goes to `count % NEWEST`.
    newest: Vec<f64>,
    count: u64,
    sum: f64,
}

/// What a [`Summary`] says at one moment.
#[derive(Debug, Clone, PartialEq)]
pub struct Summed {
    /// Quantile (0 to 1) and its value; NaN where nothing was observed.
    pub quantiles: Vec<(f64, f64)>,
    /// The sum of all observations.
    pub sum: f64,
    /// How many there were.
    pub count: u64,
    /// Since when they are counted, milliseconds since the epoch, where the registry knows the time.
    pub since_ms: Option<i64>,
}

impl Summary {
    /// A summary that tells `quantiles`, each from 0 to 1.
    #[must_use]
    pub fn new(quantiles: Arc<[f64]>) -> Self {
        let seen = Mutex::default();
        Self(Arc::new(SummaryCells { quantiles, seen }))
    }

    /// Counts one observation.
    pub fn observe(&self, value: f64) {
        let mut seen = self.0.seen.lock();
        let at = (seen.count % NEWEST as u64) as usize;
        match seen.newest.get_mut(at) {
            Some(oldest) => *oldest = value,
            None => seen.newest.push(value),
        }
        seen.count += 1;
        seen.sum += value;
    }

    /// What it says now. Sorts the newest observations.
    #[must_use]
    pub fn get(&self) -> Summed {
        let seen = self.0.seen.lock();
        let (mut sorted, count, sum) = (seen.newest.clone(), seen.count, seen.sum);
        drop(seen);
        sorted.sort_by(f64::total_cmp);
        let value = |quantile: f64| {
            let rank = (quantile * sorted.len() as f64).ceil() as usize;
            sorted.get(rank.saturating_sub(1)).copied().unwrap_or(f64::NAN)
        };
        let quantiles = self
            .0
            .quantiles
            .iter()
            .map(|quantile| (*quantile, value(*quantile)))
            .collect();
        Summed {
            quantiles,
            sum,
            count,
            since_ms: None,
        }
    }
}

// Handles by the values of their labels, and since when they count.
type Children<T> = Arc<RwLock<BTreeMap<Vec<String>, (T, Option<i64>)>>>;

// A handle with its labels' values, and since when it counts.
pub(crate) type Child<T> = (Vec<String>, T, Option<i64>);

// What all handles of a family have in common.
#[derive(Debug, Clone, Default)]
pub(crate) struct Shape {
    // Of histograms the buckets' bounds, of summaries the quantiles.
    pub(crate) bounds: Arc<[f64]>,
    // Whether histograms have native buckets, too.
    pub(crate) is_native: bool,
    pub(crate) now: Now,
}

macro_rules! vec_type {
    ($(#[$doc:meta])* $name:ident, $child:ty, $make:expr) => {
        $(#[$doc])*
        #[derive(Debug, Clone)]
        pub struct $name {
            children: Children<$child>,
            shape: Shape,
        }

        impl $name {
            pub(crate) fn new(shape: Shape) -> Self {
                Self { children: Arc::default(), shape }
            }

            /// The handle for these label values, in the order of the family's label names. Keep it where counting is
            /// frequent: the look-up allocates.
            #[must_use]
            pub fn with(&self, values: &[&str]) -> $child {
                let key: Vec<String> = values.iter().map(|v| (*v).to_owned()).collect();
                if let Some((child, _)) = self.children.read().get(&key) {
                    return child.clone();
                }
                let make: fn(&Shape) -> $child = $make;
                let new = || (make(&self.shape), self.shape.now.tell());
                self.children.write().entry(key).or_insert_with(new).0.clone()
            }

            /// Forgets the handle for these label values: the series ends.
            pub fn remove(&self, values: &[&str]) {
                let key: Vec<String> = values.iter().map(|v| (*v).to_owned()).collect();
                self.children.write().remove(&key);
            }

            pub(crate) fn all(&self) -> Vec<Child<$child>> {
                let children = self.children.read();
                children.iter().map(|(key, (child, since))| (key.clone(), child.clone(), *since)).collect()
            }
        }
    };
}

vec_type!(
    /// Counters that differ in their labels.
    CounterVec, Counter, |_| Counter::default()
);
vec_type!(
    /// Gauges that differ in their labels.
    GaugeVec, Gauge, |_| Gauge::default()
);
vec_type!(
    /// Histograms that differ in their labels.
    HistogramVec, Histogram, |shape| Histogram::of_kind(shape.bounds.clone(), shape.is_native)
);
vec_type!(
    /// Summaries that differ in their labels.
    SummaryVec, Summary, |shape| Summary::new(shape.bounds.clone())
);
