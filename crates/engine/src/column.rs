//! What expressions evaluate to: one value per step, for all steps at once.

use std::sync::Arc;

use cupola_histogram::FloatHistogram;
use cupola_model::{Labels, METRIC_NAME, STALE_NAN, is_stale_nan};
use cupola_storage::SampleValue;
use hashbrown::HashMap;

use crate::error::QueryError;

/// One series' values, one per step; a step may be absent, and it may hold a native histogram instead of a number.
///
/// Steps without a number hold the staleness marker, which no computation yields: it is a signalling NaN, and
/// arithmetic gives quiet ones. Histograms are a second column that exists only where there is one; what looks at
/// numbers alone sees their steps as absent.
#[derive(Debug, Clone)]
pub(crate) struct Column {
    values: Vec<f64>,
    // As long as `values`, or empty.
    histograms: Vec<Option<Arc<FloatHistogram>>>,
}

impl Column {
    /// A column without any value.
    pub(crate) fn absent(len: usize) -> Self {
        Self::of(vec![STALE_NAN; len])
    }

    /// A column that has `value` at every step.
    pub(crate) fn constant(len: usize, value: f64) -> Self {
        Self::of(vec![value; len])
    }

    /// A column of numbers, absent ones as staleness markers.
    pub(crate) fn of(values: Vec<f64>) -> Self {
        Self {
            values,
            histograms: Vec::new(),
        }
    }

    /// How many steps.
    pub(crate) fn len(&self) -> usize {
        self.values.len()
    }

    /// The numbers, absent ones as staleness markers.
    pub(crate) fn values(&self) -> &[f64] {
        &self.values
    }

    /// As [`Column::values`], to write. Whoever writes a number at a step leaves no histogram there.
    pub(crate) fn values_mut(&mut self) -> &mut [f64] {
        &mut self.values
    }

    /// The number at `step`.
    pub(crate) fn get(&self, step: usize) -> Option<f64> {
        self.values.get(step).copied().filter(|v| !is_stale_nan(*v))
    }

    /// Whether any step holds a histogram.
    pub(crate) fn has_histograms(&self) -> bool {
        !self.histograms.is_empty()
    }

    /// The histogram at `step`.
    pub(crate) fn histogram(&self, step: usize) -> Option<&Arc<FloatHistogram>> {
        self.histograms.get(step)?.as_ref()
    }

    /// What is at `step`, of either kind.
    pub(crate) fn value(&self, step: usize) -> Option<SampleValue> {
        match self.get(step) {
            Some(value) => Some(SampleValue::Float(value)),
            None => self
                .histogram(step)
                .map(|histogram| SampleValue::Histogram(Arc::clone(histogram))),
        }
    }

    /// Puts `value` at `step`, instead of what was there.
    pub(crate) fn set(&mut self, step: usize, value: Option<SampleValue>) {
        let (number, histogram) = match value {
            Some(SampleValue::Float(value)) => (value, None),
            Some(SampleValue::Histogram(histogram)) => (STALE_NAN, Some(histogram)),
            None => (STALE_NAN, None),
        };
        if let Some(slot) = self.values.get_mut(step) {
            *slot = number;
        }
        if histogram.is_some() && self.histograms.is_empty() {
            self.histograms.resize(self.values.len(), None);
        }
        if let Some(slot) = self.histograms.get_mut(step) {
            *slot = histogram;
        }
    }

    /// The histograms with their steps.
    pub(crate) fn histograms(&self) -> impl Iterator<Item = (usize, &Arc<FloatHistogram>)> {
        let numbered = self.histograms.iter().enumerate();
        numbered.filter_map(|(step, histogram)| Some((step, histogram.as_ref()?)))
    }

    /// Forgets the histograms: for functions of numbers.
    pub(crate) fn drop_histograms(&mut self) {
        self.histograms = Vec::new();
    }

    /// Replaces or drops every histogram, knowing its step; a number may take its place.
    pub(crate) fn map_histograms(&mut self, mut f: impl FnMut(usize, Arc<FloatHistogram>) -> Option<SampleValue>) {
        for (step, histogram) in std::mem::take(&mut self.histograms).into_iter().enumerate() {
            if let Some(histogram) = histogram {
                let value = f(step, histogram);
                self.set(step, value);
            }
        }
    }

    /// Whether there is a value of either kind at `step`.
    pub(crate) fn has(&self, step: usize) -> bool {
        self.get(step).is_some() || self.histogram(step).is_some()
    }

    /// The steps that have a number, with it.
    pub(crate) fn present(&self) -> impl Iterator<Item = (usize, f64)> + '_ {
        self.values
            .iter()
            .copied()
            .enumerate()
            .filter(|(_, v)| !is_stale_nan(*v))
    }

    /// How many samples this counts as: numbers, and histograms by their size (16 bytes count as one, as upstream).
    pub(crate) fn count(&self) -> usize {
        let numbers = self.values.iter().filter(|v| !is_stale_nan(**v)).count();
        let histograms = self.histograms.iter().flatten();
        numbers + histograms.map(|h| weight(h)).sum::<usize>()
    }

    /// What the histograms occupy, besides the 8 bytes of every step.
    pub(crate) fn histogram_bytes(&self) -> usize {
        let histograms = self.histograms.iter().flatten();
        self.histograms.len() * size_of::<usize>() + histograms.map(|h| weight(h) * 16).sum::<usize>()
    }

    /// Whether no step has a value.
    pub(crate) fn is_empty(&self) -> bool {
        self.values.iter().all(|v| is_stale_nan(*v)) && self.histograms.iter().all(Option::is_none)
    }

    /// Replaces every number.
    pub(crate) fn map(&mut self, f: impl Fn(f64) -> f64) {
        for value in &mut self.values {
            if !is_stale_nan(*value) {
                *value = f(*value);
            }
        }
    }

    /// Replaces or drops every number, knowing its step.
    pub(crate) fn filter_map(&mut self, mut f: impl FnMut(usize, f64) -> Option<f64>) {
        for (step, value) in self.values.iter_mut().enumerate() {
            if !is_stale_nan(*value) {
                *value = f(step, *value).unwrap_or(STALE_NAN);
            }
        }
    }

    /// A column of `len` steps that repeats the first.
    pub(crate) fn broadcast(&self, len: usize) -> Self {
        let mut out = Self::constant(len, self.values.first().copied().unwrap_or(STALE_NAN));
        if let Some(histogram) = self.histogram(0) {
            out.histograms = vec![Some(Arc::clone(histogram)); len];
        }
        out
    }

    // Takes over the other's values; fails where both have one.
    fn absorb(&mut self, other: &Self) -> Result<(), QueryError> {
        if self.has_histograms() || other.has_histograms() {
            for step in 0..self.len() {
                match (self.has(step), other.value(step)) {
                    (true, Some(_)) => return Err(QueryError::same_labelset()),
                    (false, theirs @ Some(_)) => self.set(step, theirs),
                    (_, None) => {}
                }
            }
            return Ok(());
        }
        for (mine, theirs) in self.values.iter_mut().zip(&other.values) {
            match (is_stale_nan(*mine), is_stale_nan(*theirs)) {
                (true, false) => *mine = *theirs,
                (false, false) => return Err(QueryError::same_labelset()),
                (_, true) => {}
            }
        }
        Ok(())
    }
}

/// As how many samples a histogram counts.
pub(crate) fn weight(histogram: &FloatHistogram) -> usize {
    let spans = histogram.positive_spans.len() + histogram.negative_spans.len();
    let buckets = histogram.positive_buckets.len() + histogram.negative_buckets.len();
    // 120 bytes of fixed fields and slice headers, 8 bytes per span, bucket and bound: upstream's `Size`.
    (120 + 8 * (spans + buckets + histogram.custom_values.len())) / 16
}

/// A scalar: one number per step, or the same at all.
#[derive(Debug, Clone)]
pub(crate) enum Scalar {
    Constant(f64),
    Steps(Vec<f64>),
}

impl Scalar {
    pub(crate) fn at(&self, step: usize) -> f64 {
        match self {
            Self::Constant(value) => *value,
            Self::Steps(values) => values.get(step).copied().unwrap_or(f64::NAN),
        }
    }

    /// Calls `f` for each different run of values; for a constant once.
    pub(crate) fn values(&self, len: usize) -> impl Iterator<Item = f64> + '_ {
        let count = if matches!(self, Self::Constant(_)) {
            len.min(1)
        } else {
            len
        };
        (0..count).map(|step| self.at(step))
    }

    pub(crate) fn map(self, f: impl Fn(f64) -> f64) -> Self {
        match self {
            Self::Constant(value) => Self::Constant(f(value)),
            Self::Steps(values) => Self::Steps(values.into_iter().map(f).collect()),
        }
    }

    pub(crate) fn zip(&self, other: &Self, len: usize, f: impl Fn(f64, f64) -> f64) -> Self {
        match (self, other) {
            (Self::Constant(a), Self::Constant(b)) => Self::Constant(f(*a, *b)),
            _ => Self::Steps((0..len).map(|step| f(self.at(step), other.at(step))).collect()),
        }
    }

    /// Repeats the first step.
    pub(crate) fn broadcast(&self) -> Self {
        Self::Constant(self.at(0))
    }
}

/// One series of a vector.
#[derive(Debug, Clone)]
pub(crate) struct Row {
    pub(crate) labels: Labels,
    /// The name is to be removed at the end (feature promql-delayed-name-removal).
    pub(crate) drop_name: bool,
    pub(crate) column: Column,
}

/// A set of series over the same steps.
#[derive(Debug, Clone, Default)]
pub(crate) struct Vector {
    pub(crate) rows: Vec<Row>,
    /// Whether the order of the rows means something (`sort`, `topk`); only instant queries show it.
    pub(crate) ordered: bool,
}

impl Vector {
    pub(crate) fn of(rows: Vec<Row>) -> Self {
        Self { rows, ordered: false }
    }

    /// How many values there are.
    pub(crate) fn count(&self) -> usize {
        self.rows.iter().map(|row| row.column.count()).sum()
    }

    /// Merges rows of equal labels.
    ///
    /// # Errors
    /// Where two of them have a value at the same step.
    pub(crate) fn merged(mut self) -> Result<Self, QueryError> {
        if self.rows.len() < 2 {
            return Ok(self);
        }
        let mut first_of: HashMap<Labels, usize, foldhash::fast::RandomState> =
            HashMap::with_capacity_and_hasher(self.rows.len(), foldhash::fast::RandomState::default());
        let mut kept: Vec<Row> = Vec::with_capacity(self.rows.len());
        for row in self.rows {
            let at = *first_of.entry(row.labels.clone()).or_insert(kept.len());
            match kept.get_mut(at) {
                Some(first) => first.column.absorb(&row.column)?,
                None => kept.push(row),
            }
        }
        self.rows = kept;
        Ok(self)
    }

    /// Removes rows without any value.
    pub(crate) fn without_empty(mut self) -> Self {
        self.rows.retain(|row| !row.column.is_empty());
        self
    }
}

/// What a node evaluates to. Range vectors never stand alone: a function takes them series by series.
#[derive(Debug, Clone)]
pub(crate) enum Value {
    Scalar(Scalar),
    Vector(Vector),
    Text(String),
}

impl Value {
    /// How many values are held.
    pub(crate) fn count(&self) -> usize {
        match self {
            Self::Scalar(Scalar::Steps(values)) => values.len(),
            Self::Scalar(Scalar::Constant(_)) => 1,
            Self::Vector(vector) => vector.count(),
            Self::Text(_) => 0,
        }
    }

    /// How many rows of values are held.
    pub(crate) fn rows(&self) -> usize {
        match self {
            Self::Vector(vector) => vector.rows.len(),
            Self::Scalar(Scalar::Steps(_)) => 1,
            Self::Scalar(Scalar::Constant(_)) | Self::Text(_) => 0,
        }
    }

    /// The bytes held besides 8 for each step of each row.
    pub(crate) fn extra_bytes(&self) -> usize {
        match self {
            Self::Vector(vector) => vector.rows.iter().map(|row| row.column.histogram_bytes()).sum(),
            Self::Scalar(_) => 0,
            Self::Text(text) => text.len(),
        }
    }

    /// Repeats the only step `len` times.
    pub(crate) fn broadcast(self, len: usize) -> Self {
        match self {
            Self::Scalar(scalar) => Self::Scalar(scalar.broadcast()),
            Self::Vector(mut vector) => {
                for row in &mut vector.rows {
                    row.column = row.column.broadcast(len);
                }
                Self::Vector(vector)
            }
            text @ Self::Text(_) => text,
        }
    }
}

/// Whether `name` describes the metric itself and goes away with the name (Prometheus: `schema.IsMetadataLabel`).
pub(crate) fn is_metadata_label(name: &str) -> bool {
    matches!(name, METRIC_NAME | "__type__" | "__unit__")
}

/// `labels` without name, type and unit.
pub(crate) fn without_metadata(labels: &Labels) -> Labels {
    if labels.iter().any(|(name, _)| is_metadata_label(name)) {
        labels.filtered(|name| !is_metadata_label(name))
    } else {
        labels.clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(labels: &[(&str, &str)], values: &[f64]) -> Row {
        Row {
            labels: Labels::from_pairs(labels.iter().copied()),
            drop_name: false,
            column: Column::of(values.to_vec()),
        }
    }

    #[test]
    fn rows_of_equal_labels_merge_where_they_do_not_overlap() {
        let merged = Vector::of(vec![
            row(&[("a", "1")], &[1.0, STALE_NAN]),
            row(&[("a", "1")], &[STALE_NAN, 2.0]),
        ])
        .merged()
        .unwrap();
        assert_eq!(merged.rows.len(), 1);
        assert_eq!(merged.rows[0].column.values(), [1.0, 2.0]);
        let overlap = Vector::of(vec![row(&[("a", "1")], &[1.0]), row(&[("a", "1")], &[2.0])]);
        assert!(overlap.merged().is_err());
    }

    #[test]
    fn arithmetic_never_yields_the_absent_marker() {
        let column = Column::of(vec![STALE_NAN, f64::NAN, 1.0]);
        assert_eq!(column.count(), 2);
        assert!(!is_stale_nan(STALE_NAN + 1.0));
        assert!(!is_stale_nan(STALE_NAN * 0.0));
    }
}
