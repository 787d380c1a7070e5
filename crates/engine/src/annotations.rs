//! Warnings and infos beside an answer, with Prometheus's texts and the place in the query they are about.

use std::fmt::Write as _;

use cupola_model::{fmt_f64_g, format_duration, go_quote};
use cupola_promql::{Position, Span};
use hashbrown::HashMap;

use crate::functions::time::rfc3339;

// Buckets that had to be repaired, over all steps of one query.
struct Repair {
    span: Span,
    min_bucket: f64,
    max_bucket: f64,
    max_diff: f64,
    samples: usize,
    first_ms: i64,
    last_ms: i64,
}

/// One repair of a classic histogram at one step.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct BucketRepair {
    pub(crate) min_bucket: f64,
    pub(crate) max_bucket: f64,
    pub(crate) max_diff: f64,
}

/// Collects what is to be told, each text once, in the order it came up. A text that is about several places of the
/// query names the last of them, as Prometheus does.
pub(crate) struct Annotations<'q> {
    query: &'q str,
    warnings: Notes,
    infos: Notes,
    repairs: HashMap<String, Repair>,
    repair_order: Vec<String>,
    // How many windows of each metric had samples with overlapping starts.
    overlaps: Vec<(String, Span, usize)>,
}

#[derive(Default)]
struct Notes {
    index: HashMap<String, usize>,
    texts: Vec<(String, Span)>,
}

impl Notes {
    fn add(&mut self, text: &str, span: Span) {
        if let Some(known) = self.index.get(text).and_then(|at| self.texts.get_mut(*at)) {
            known.1 = span;
            return;
        }
        self.index.insert(text.to_owned(), self.texts.len());
        self.texts.push((text.to_owned(), span));
    }
}

fn for_metric(name: &str) -> String {
    if name.is_empty() {
        String::new()
    } else {
        format!(" for metric name {}", go_quote(name))
    }
}

impl<'q> Annotations<'q> {
    pub(crate) fn new(query: &'q str) -> Self {
        Self {
            query,
            warnings: Notes::default(),
            infos: Notes::default(),
            repairs: HashMap::new(),
            repair_order: Vec::new(),
            overlaps: Vec::new(),
        }
    }

    /// The query's text.
    pub(crate) fn query(&self) -> &'q str {
        self.query
    }

    fn place(&self, span: Span) -> String {
        format!("({})", Position::of(self.query, span.start))
    }

    fn warn(&mut self, text: &str, span: Span) {
        self.warnings.add(text, span);
    }

    fn info(&mut self, text: &str, span: Span) {
        self.infos.add(text, span);
    }

    pub(crate) fn invalid_quantile(&mut self, q: f64, span: Span) {
        self.warn(
            &format!("quantile value should be between 0 and 1, got {}", fmt_f64_g(q)),
            span,
        );
    }

    pub(crate) fn invalid_ratio(&mut self, ratio: f64, capped: f64, span: Span) {
        let (got, to) = (fmt_f64_g(ratio), fmt_f64_g(capped));
        self.warn(
            &format!("ratio value should be between -1 and 1, got {got}, capping to {to}"),
            span,
        );
    }

    pub(crate) fn bad_bucket_label(&mut self, metric: &str, le: &str, span: Span) {
        let (le, of) = (go_quote(le), for_metric(metric));
        self.warn(
            &format!("bucket label \"le\" is missing or has a malformed value of {le}{of}"),
            span,
        );
    }

    pub(crate) fn sort_in_range_query(&mut self, span: Span) {
        self.warn(
            "sort is ineffective for range queries since results are always ordered by labels",
            span,
        );
    }

    pub(crate) fn maybe_not_counter(&mut self, metric: &str, span: Span) {
        let name = go_quote(metric);
        self.info(
            &format!("metric might not be a counter, name does not end in _total/_sum/_count/_bucket: {name}"),
            span,
        );
    }

    pub(crate) fn maybe_not_counter_type(&mut self, metric: &str, kind: &str, span: Span) {
        let (kind, name) = (go_quote(kind), go_quote(metric));
        self.info(
            &format!(
                "metric might not be a counter, __type__ label is not set to \"counter\" or \"histogram\", got {kind}: {name}"
            ),
            span,
        );
    }

    pub(crate) fn incompatible_types(&mut self, left: &str, op: &str, right: &str, span: Span) {
        self.info(
            &format!(
                "incompatible sample types encountered for binary operator {}: {left} {op} {right}",
                go_quote(op)
            ),
            span,
        );
    }

    pub(crate) fn mixed_floats_and_histograms(&mut self, metric: &str, span: Span) {
        let name = go_quote(metric);
        self.warn(
            &format!("encountered a mix of histograms and floats for metric name {name}"),
            span,
        );
    }

    pub(crate) fn mixed_bucket_schemas(&mut self, metric: &str, span: Span) {
        let name = go_quote(metric);
        self.warn(
            &format!(
                "vector contains a mix of histograms with exponential and custom buckets schemas for metric name {name}"
            ),
            span,
        );
    }

    pub(crate) fn histogram_not_counter(&mut self, metric: &str, span: Span) {
        let name = go_quote(metric);
        self.warn(&format!("this native histogram metric is not a counter: {name}"), span);
    }

    pub(crate) fn histogram_not_gauge(&mut self, metric: &str, span: Span) {
        let name = go_quote(metric);
        self.warn(&format!("this native histogram metric is not a gauge: {name}"), span);
    }

    /// Notes that buckets at `step_ms` did not grow with their bounds and were repaired.
    pub(crate) fn forced_monotonicity(&mut self, metric: &str, repair: BucketRepair, step_ms: i64, span: Span) {
        // Of several places it is told at the first, with the numbers of all.
        if let Some(known) = self.repairs.get_mut(metric) {
            known.min_bucket = known.min_bucket.min(repair.min_bucket);
            known.max_bucket = known.max_bucket.max(repair.max_bucket);
            known.max_diff = known.max_diff.max(repair.max_diff);
            known.samples += 1;
            known.first_ms = known.first_ms.min(step_ms);
            known.last_ms = known.last_ms.max(step_ms);
            return;
        }
        self.repair_order.push(metric.to_owned());
        self.repairs.insert(
            metric.to_owned(),
            Repair {
                span,
                min_bucket: repair.min_bucket,
                max_bucket: repair.max_bucket,
                max_diff: repair.max_diff,
                samples: 1,
                first_ms: step_ms,
                last_ms: step_ms,
            },
        );
    }

    /// Whether a text tells of particular steps, so that it is true for these steps of the query only.
    pub(crate) fn names_steps(&self) -> bool {
        !self.repairs.is_empty() || !self.overlaps.is_empty()
    }

    /// Warnings and infos.
    pub(crate) fn into_texts(mut self) -> (Vec<String>, Vec<String>) {
        for (metric, span, count) in std::mem::take(&mut self.overlaps) {
            let often = if count > 1 {
                format!(" ({count} occurrences)")
            } else {
                String::new()
            };
            let name = go_quote(&metric);
            self.warn(
                &format!("sample has start time that overlaps with previous sample timestamp for metric {name}{often}"),
                span,
            );
        }
        for metric in std::mem::take(&mut self.repair_order) {
            let Some(repair) = self.repairs.remove(&metric) else {
                continue;
            };
            let text = format!(
                "input to histogram_quantile needed to be fixed for monotonicity (see \
                 https://prometheus.io/docs/prometheus/latest/querying/functions/#histogram_quantile){}, from buckets \
                 {} to {}, with a max diff of {}, over {} samples from {} to {}",
                for_metric(&metric),
                fmt_f64_g(repair.min_bucket),
                fmt_f64_g(repair.max_bucket),
                two_digits(repair.max_diff),
                repair.samples,
                rfc3339(repair.first_ms / 1000),
                rfc3339(repair.last_ms / 1000),
            );
            self.info(&text, repair.span);
        }
        let told = |level: &str, notes: &Notes| {
            let texts = notes.texts.iter();
            texts
                .map(|(text, span)| format!("PromQL {level}: {text} {}", self.place(*span)))
                .collect()
        };
        (told("warning", &self.warnings), told("info", &self.infos))
    }

    pub(crate) fn mixed_aggregation(&mut self, span: Span) {
        self.warn("encountered a mix of histograms and floats for aggregation", span);
    }

    pub(crate) fn ignored_histograms(&mut self, aggregation: &str, span: Span) {
        self.info(&format!("ignored histogram in {aggregation} aggregation"), span);
    }

    /// `operation` is `addition`, `subtraction` or `aggregation`.
    pub(crate) fn conflicting_resets(&mut self, operation: &str, span: Span) {
        self.warn(
            &format!("conflicting counter resets during histogram {operation}"),
            span,
        );
    }

    /// `operation` is `addition`, `subtraction` or `aggregation`.
    pub(crate) fn reconciled_bounds(&mut self, operation: &str, span: Span) {
        self.info(
            &format!("mismatched custom buckets were reconciled during {operation}"),
            span,
        );
    }

    pub(crate) fn incompatible_layout(&mut self, op: &str, span: Span) {
        self.warn(
            &format!("incompatible bucket layout encountered for binary operator {op}"),
            span,
        );
    }

    pub(crate) fn mixed_classic_and_native(&mut self, metric: &str, span: Span) {
        let of = for_metric(metric);
        self.warn(
            &format!("vector contains a mix of classic and native histograms{of}"),
            span,
        );
    }

    /// Tells what NaN observations did to a quantile or fraction; `text` is that of the histogram crate's note.
    pub(crate) fn nan_observations(&mut self, text: &str, metric: &str, span: Span) {
        let of = for_metric(metric);
        self.info(&format!("{text}{of}"), span);
    }

    pub(crate) fn ignored_in_mixed_range(&mut self, metric: &str, span: Span) {
        let name = go_quote(metric);
        self.info(
            &format!("ignored histograms in a range containing both floats and histograms for metric name {name}"),
            span,
        );
    }

    /// Tells that a downsampled tier answered, as a warning where the answer is coarser than was asked for.
    pub(crate) fn coarse(&mut self, resolution_ms: i64, is_poor: bool, span: Span) {
        let resolution = format_duration(resolution_ms);
        let text = format!("answered from samples of {resolution} resolution");
        if is_poor {
            self.warn(&text, span);
        } else {
            self.info(&text, span);
        }
    }

    /// A window has a sample whose counter started before the sample in front of it; told with the number of windows.
    pub(crate) fn overlapping_start(&mut self, metric: &str, span: Span) {
        match self.overlaps.iter_mut().find(|(known, ..)| known == metric) {
            Some((_, place, count)) if *place == span => *count += 1,
            // What was told of another place is replaced.
            Some((_, place, count)) => (*place, *count) = (span, 1),
            None => self.overlaps.push((metric.to_owned(), span, 1)),
        }
    }
}

// Go's %.2g.
fn two_digits(value: f64) -> String {
    if value == 0.0 || !value.is_finite() {
        return fmt_f64_g(value);
    }
    let text = format!("{value:.1e}");
    let (digits, exponent) = text.split_once('e').unwrap_or((&text, "0"));
    let exponent: i32 = exponent.parse().unwrap_or(0);
    if (-4..2).contains(&exponent) {
        let decimals = usize::try_from(1 - exponent).unwrap_or(0);
        let fixed = format!("{value:.decimals$}");
        return if fixed.contains('.') {
            fixed.trim_end_matches('0').trim_end_matches('.').to_owned()
        } else {
            fixed
        };
    }
    let mut out = digits.strip_suffix(".0").unwrap_or(digits).to_owned();
    let sign = if exponent < 0 { '-' } else { '+' };
    // Writing to a String cannot fail.
    let _ = write!(out, "e{sign}{:02}", exponent.unsigned_abs());
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_count_lines_and_byte_columns_from_one() {
        let notes = Annotations::new("ab\n  cd");
        assert_eq!(notes.place(Span { start: 0, end: 1 }), "(1:1)");
        assert_eq!(notes.place(Span { start: 5, end: 6 }), "(2:3)");
    }

    #[test]
    fn a_text_is_told_once_at_the_last_of_its_places() {
        let mut notes = Annotations::new("x y");
        notes.invalid_quantile(1.5, Span::default());
        notes.invalid_quantile(1.5, Span { start: 2, end: 3 });
        let (warnings, infos) = notes.into_texts();
        assert_eq!(
            warnings,
            ["PromQL warning: quantile value should be between 0 and 1, got 1.5 (1:3)"]
        );
        assert!(infos.is_empty());
    }

    #[test]
    fn two_digits_print_as_go_prints_them() {
        for (value, text) in [
            (0.0, "0"),
            (1.0, "1"),
            (12.0, "12"),
            (123.0, "1.2e+02"),
            (0.5, "0.5"),
            (1e-9, "1e-09"),
        ] {
            assert_eq!(two_digits(value), text);
        }
    }

    #[test]
    fn repairs_of_all_steps_become_one_info() {
        let mut notes = Annotations::new("h");
        let repair = BucketRepair {
            min_bucket: 1.0,
            max_bucket: 2.0,
            max_diff: 3.0,
        };
        notes.forced_monotonicity("m", repair, 0, Span::default());
        notes.forced_monotonicity(
            "m",
            BucketRepair {
                max_bucket: 5.0,
                ..repair
            },
            60_000,
            Span { start: 5, end: 6 },
        );
        let (_, infos) = notes.into_texts();
        assert_eq!(infos.len(), 1);
        let end = "for metric name \"m\", from buckets 1 to 5, with a max diff of 3, over 2 samples from \
                   1970-01-01T00:00:00Z to 1970-01-01T00:01:00Z (1:1)";
        assert!(infos[0].ends_with(end), "{}", infos[0]);
    }
}
