//! Answers as they are kept, and the joining of answers that follow each other in time.

use cupola_model::{Labels, STALE_NAN, is_stale_nan};
use cupola_storage::Samples;

use crate::grid::Grid;

/// Rows of numbers over a grid, in label order. Half as large as [`Samples`]: times follow from the grid.
#[derive(Debug)]
pub(crate) struct Columns {
    rows: Vec<Row>,
    // The rows' steps from their first present one to their last, one row after the other. Absent steps are staleness
    // markers, which no query yields.
    values: Vec<f64>,
}

#[derive(Debug)]
struct Row {
    labels: Labels,
    // The first present step.
    first: usize,
    // Where its values begin, and how many they are.
    from: usize,
    len: usize,
}

impl Columns {
    /// The rows of an answer over `grid`; `None` where one has more than numbers.
    pub(crate) fn of(series: &[(Labels, Samples)], grid: Grid, step_ms: i64) -> Option<Self> {
        let step_of = |ts: i64| usize::try_from((ts - grid.start()) / step_ms.max(1)).ok();
        let mut rows = Vec::with_capacity(series.len());
        let mut total = 0;
        for (labels, samples) in series {
            if !samples.histograms.is_empty() || !samples.starts.is_empty() {
                return None;
            }
            let (Some(first), Some(last)) = (samples.ts.first(), samples.ts.last()) else {
                continue;
            };
            let first = step_of(*first)?;
            let len = step_of(*last)?.checked_sub(first)? + 1;
            rows.push(Row {
                labels: labels.clone(),
                first,
                from: total,
                len,
            });
            total += len;
        }
        let mut values = Vec::with_capacity(total);
        let filled = series.iter().filter(|(_, samples)| !samples.ts.is_empty());
        for (row, (_, samples)) in rows.iter().zip(filled) {
            if samples.values.len() == row.len {
                values.extend_from_slice(&samples.values);
                continue;
            }
            values.resize(row.from + row.len, STALE_NAN);
            for (ts, value) in samples.ts.iter().zip(&samples.values) {
                let at = row.from + step_of(*ts)?.checked_sub(row.first)?;
                *values.get_mut(at)? = *value;
            }
        }
        Some(Self { rows, values })
    }

    /// The rows over `part`, which begins `skipped` steps after the beginning; rows without a value there are left out.
    /// Each has room for `more` samples.
    pub(crate) fn series(&self, skipped: usize, part: Grid, more: usize) -> Vec<(Labels, Samples)> {
        let mut out = Vec::with_capacity(self.rows.len());
        let end = skipped.saturating_add(part.len());
        for row in &self.rows {
            let (lo, hi) = (row.first.max(skipped), (row.first + row.len).min(end));
            if lo >= hi {
                continue;
            }
            let from = row.from + (lo - row.first);
            let values = self.values.get(from..from + (hi - lo)).unwrap_or_default();
            let mut samples = Samples::floats(
                Vec::with_capacity(values.len() + more),
                Vec::with_capacity(values.len() + more),
            );
            if values.iter().any(|value| is_stale_nan(*value)) {
                for (at, value) in values.iter().enumerate().filter(|(_, value)| !is_stale_nan(**value)) {
                    samples.ts.push(part.at(lo - skipped + at));
                    samples.values.push(*value);
                }
            } else {
                samples
                    .ts
                    .extend((lo - skipped..hi - skipped).map(|step| part.at(step)));
                samples.values.extend_from_slice(values);
            }
            if !samples.ts.is_empty() {
                out.push((row.labels.clone(), samples));
            }
        }
        out
    }

    /// Bytes on the heap. Label sets count as if nobody else had them.
    pub(crate) fn bytes(&self) -> usize {
        let labels: usize = self.rows.iter().map(|row| row.labels.heap_size()).sum();
        self.rows.capacity() * size_of::<Row>() + self.values.capacity() * size_of::<f64>() + labels
    }
}

/// Joins rows in label order with later ones: rows of equal labels become one.
pub(crate) fn join(earlier: Vec<(Labels, Samples)>, later: Vec<(Labels, Samples)>) -> Vec<(Labels, Samples)> {
    if earlier.is_empty() {
        return later;
    }
    let mut out = Vec::with_capacity(earlier.len().max(later.len()));
    let mut later = later.into_iter().peekable();
    for (labels, mut samples) in earlier {
        // Mostly the very same set: equality is a look at an address, order one at texts.
        while later.peek().is_some_and(|(next, _)| *next != labels && *next < labels) {
            out.extend(later.next());
        }
        if let Some((_, more)) = later.next_if(|(next, _)| *next == labels) {
            samples.append(&more);
        }
        out.push((labels, samples));
    }
    out.extend(later);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(name: &str, pairs: &[(i64, f64)]) -> (Labels, Samples) {
        let mut samples = Samples::default();
        pairs.iter().for_each(|(ts, value)| samples.push(*ts, *value));
        (Labels::from_pairs([("n", name)]), samples)
    }

    #[test]
    fn rows_come_back_as_they_were_and_in_parts() {
        let all = vec![
            row("dense", &[(100, 1.0), (110, f64::INFINITY), (120, 3.0), (130, 4.0)]),
            row("gap", &[(100, 1.0), (130, 4.0)]),
            row("late", &[(120, 2.0)]),
        ];
        let columns = Columns::of(&all, Grid::range(100, 130, 10), 10).unwrap();
        assert_eq!(columns.values.len(), 9);
        assert_eq!(columns.series(0, Grid::range(100, 130, 10), 0), all);
        let part = columns.series(1, Grid::range(110, 120, 10), 7);
        assert_eq!(
            part,
            [
                row("dense", &[(110, f64::INFINITY), (120, 3.0)]),
                row("late", &[(120, 2.0)])
            ]
        );
        assert!(part[1].1.values.capacity() >= 8);
    }

    #[test]
    fn histograms_are_not_kept() {
        let mut samples = Samples::default();
        samples.push_value(
            100,
            cupola_storage::SampleValue::Histogram(std::sync::Arc::default()),
            0,
        );
        let all = [(Labels::empty(), samples)];
        assert!(Columns::of(&all, Grid::range(100, 130, 10), 10).is_none());
    }

    #[test]
    fn joined_rows_stay_in_order() {
        let earlier = vec![row("b", &[(1, 1.0)]), row("d", &[(1, 1.0)])];
        let later = vec![row("a", &[(2, 2.0)]), row("b", &[(2, 2.0)]), row("e", &[(2, 2.0)])];
        assert_eq!(
            join(earlier, later),
            [
                row("a", &[(2, 2.0)]),
                row("b", &[(1, 1.0), (2, 2.0)]),
                row("d", &[(1, 1.0)]),
                row("e", &[(2, 2.0)]),
            ]
        );
    }
}
