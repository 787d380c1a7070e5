//! What the parsers yield.

use std::borrow::Cow;

use cupola_model::{Labels, MetricType};

use crate::labels::{self, LabelPairs};

/// One line of an exposition that says something; blank lines are skipped.
#[derive(Debug, Clone, PartialEq)]
pub enum Entry<'a> {
    /// `# HELP name text`, unescaped.
    Help {
        /// The family's name.
        name: Cow<'a, str>,
        /// What the metric means.
        text: Cow<'a, str>,
    },
    /// `# TYPE name kind`.
    Type {
        /// The family's name.
        name: Cow<'a, str>,
        /// Its kind.
        kind: MetricType,
    },
    /// `# UNIT name unit` (OpenMetrics only).
    Unit {
        /// The family's name.
        name: Cow<'a, str>,
        /// The unit, empty where none is told.
        unit: &'a str,
    },
    /// Any other line that begins with `#`, the `#` included (text format only).
    Comment(&'a [u8]),
    /// A sample.
    Sample(SampleEntry<'a>),
}

/// A sample as it was sent.
#[derive(Debug, Clone, PartialEq)]
pub struct SampleEntry<'a> {
    /// The series it belongs to.
    pub series: Series<'a>,
    /// The value; any NaN is Prometheus's normal NaN.
    pub value: f64,
    /// The target's own time in milliseconds since the epoch, where it sent one.
    pub timestamp_ms: Option<i64>,
    /// The exemplar behind the sample (OpenMetrics only).
    pub exemplar: Option<Exemplar<'a>>,
}

/// The name and labels of a sample as they were sent, checked but not yet taken apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Series<'a> {
    pub(crate) raw: &'a [u8],
    // The kind of the last `# TYPE` line before, which decides whether `le` and `quantile` are normalised.
    pub(crate) kind: MetricType,
}

impl<'a> Series<'a> {
    /// The bytes as sent, name and label block: the same text is the same series, so a cache may hash them.
    ///
    /// The kind told by the last `# TYPE` line can change what the bytes mean (see [`Series::labels_into`]), which a
    /// target that is well never does.
    #[must_use]
    pub fn raw(&self) -> &'a [u8] {
        self.raw
    }

    /// The kind that the last `# TYPE` line before the sample told.
    #[must_use]
    pub fn kind(&self) -> MetricType {
        self.kind
    }

    /// Replaces the content of `out` by the name (as `__name__`, first) and the labels, in the order they were sent.
    ///
    /// Empty values are kept and names may repeat: whether that is an error is the scrape's to say. With
    /// `normalise_floats`, `le` of histograms and `quantile` of summaries take OpenMetrics' form as Prometheus 3 gives
    /// them at scrape time: `1` becomes `1.0`, `+Inf` stays.
    ///
    /// Allocates only for values with escapes and for normalised ones.
    pub fn labels_into(&self, normalise_floats: bool, out: &mut LabelPairs<'a>) {
        out.clear();
        labels::decode(self.raw, out);
        if !normalise_floats {
            return;
        }
        let label = match self.kind {
            MetricType::Histogram => "le",
            MetricType::Summary => "quantile",
            _ => return,
        };
        for (name, value) in out {
            if name == label
                && let Some(normal) = crate::number::normalised_float(value)
            {
                *value = Cow::Owned(normal);
            }
        }
    }

    /// The labels as a set, `le` and `quantile` normalised; the last of equal names wins.
    #[must_use]
    pub fn labels(&self) -> Labels {
        let mut pairs = LabelPairs::new();
        self.labels_into(true, &mut pairs);
        Labels::from_pairs(pairs)
    }
}

/// A single event that stands for a sample, usually a trace.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Exemplar<'a> {
    // The label block with its braces.
    pub(crate) raw: &'a [u8],
    /// The event's value.
    pub value: f64,
    /// When it happened, in milliseconds since the epoch, where the target told.
    pub timestamp_ms: Option<i64>,
}

impl<'a> Exemplar<'a> {
    /// Replaces the content of `out` by the exemplar's labels, in the order they were sent.
    pub fn labels_into(&self, out: &mut LabelPairs<'a>) {
        out.clear();
        labels::decode(self.raw, out);
    }

    /// The labels as a set.
    #[must_use]
    pub fn labels(&self) -> Labels {
        let mut pairs = LabelPairs::new();
        self.labels_into(&mut pairs);
        Labels::from_pairs(pairs)
    }
}
