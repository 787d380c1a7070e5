//! The steps an expression is evaluated at.

/// Evenly spaced times, `start`, `start + step`, ... In milliseconds since the epoch. May be empty.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Grid {
    start: i64,
    step: i64,
    len: usize,
}

impl Grid {
    /// One step.
    pub(crate) fn single(at: i64) -> Self {
        Self {
            start: at,
            step: 0,
            len: 1,
        }
    }

    /// The steps from `start` up to and including `end`; `step` must be positive, else there is one step.
    pub(crate) fn range(start: i64, end: i64, step: i64) -> Self {
        if end < start {
            return Self { start, step, len: 0 };
        }
        if step <= 0 {
            return Self::single(start);
        }
        let steps = (end.saturating_sub(start) / step).saturating_add(1);
        Self {
            start,
            step,
            len: usize::try_from(steps).unwrap_or(usize::MAX),
        }
    }

    /// The multiples of `step` in `(from, to]`, as subqueries are evaluated.
    pub(crate) fn aligned_after(from: i64, to: i64, step: i64) -> Self {
        let step = step.max(1);
        let start = from.div_euclid(step).saturating_add(1).saturating_mul(step);
        Self::range(start, to, step)
    }

    /// The distance of the steps; 0 where there is one only.
    pub(crate) fn step(&self) -> i64 {
        self.step
    }

    pub(crate) fn len(&self) -> usize {
        self.len
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The time of step `index`.
    pub(crate) fn at(&self, index: usize) -> i64 {
        self.start + self.step * index as i64
    }

    pub(crate) fn start(&self) -> i64 {
        self.start
    }

    /// The time of the last step.
    pub(crate) fn end(&self) -> i64 {
        self.at(self.len.saturating_sub(1))
    }

    /// All times, ascending.
    pub(crate) fn times(self) -> impl Iterator<Item = i64> + Clone {
        (0..self.len).map(move |i| self.at(i))
    }

    /// Every time earlier by `by`, or by as much as leaves all of them times: nothing is stored at either end of time.
    pub(crate) fn earlier(&self, by: i64) -> Self {
        let latest = i64::MAX.saturating_sub(self.end().saturating_sub(self.start).max(0));
        Self {
            start: self.start.saturating_sub(by).min(latest),
            ..*self
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_include_their_end_where_a_step_falls_on_it() {
        assert_eq!(Grid::range(0, 10, 5).times().collect::<Vec<_>>(), [0, 5, 10]);
        assert_eq!(Grid::range(0, 9, 5).times().collect::<Vec<_>>(), [0, 5]);
        assert!(Grid::range(1, 0, 5).is_empty());
    }

    #[test]
    fn subquery_steps_are_multiples_and_exclude_the_left_edge() {
        assert_eq!(Grid::aligned_after(0, 120, 60).times().collect::<Vec<_>>(), [60, 120]);
        assert_eq!(Grid::aligned_after(-90, 0, 60).times().collect::<Vec<_>>(), [-60, 0]);
        assert_eq!(Grid::aligned_after(61, 179, 60).times().collect::<Vec<_>>(), [120]);
    }

    #[test]
    fn steps_that_are_moved_beyond_the_end_of_time_end_with_it() {
        let grid = Grid::range(i64::MAX - 100, i64::MAX - 40, 30).earlier(-50);
        assert_eq!(
            grid.times().collect::<Vec<_>>(),
            [i64::MAX - 60, i64::MAX - 30, i64::MAX]
        );
        assert_eq!(Grid::single(0).earlier(i64::MIN).end(), i64::MAX);
        let grid = Grid::range(i64::MIN, i64::MIN + 30, 30).earlier(5);
        assert_eq!(grid.times().collect::<Vec<_>>(), [i64::MIN, i64::MIN + 30]);
    }
}
