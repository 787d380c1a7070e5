//! What answers have cost, so that those known to be cheap are computed where their request was read.

use std::hash::{Hash, Hasher};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use super::params::Params;

// A power of two.
const PLACES: usize = 1024;
const PLACES_MASK: u64 = PLACES as u64 - 1;

// The low bits of a place hold microseconds, the others tell whose they are.
const COST_BITS: u32 = 20;
const MOST_US: u64 = (1 << COST_BITS) - 1;

/// The last cost of each of the last questions; a question may be forgotten, because another took its place.
pub(crate) struct Costs(Box<[AtomicU64]>);

/// One question, whenever it is asked: a range moved on in time is the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Question(u64);

impl Question {
    pub(crate) fn new(path: &str, params: &Params) -> Self {
        let mut hasher = std::hash::DefaultHasher::new();
        path.hash(&mut hasher);
        for (name, value) in params.iter() {
            if !matches!(name, "start" | "end" | "time" | "_") {
                (name, value).hash(&mut hasher);
            }
        }
        // How long the range is does count. A wrong time is told by the handler.
        let (start, end) = (params.time("start", 0), params.time("end", 0));
        if let (Ok(start), Ok(end)) = (start, end) {
            end.wrapping_sub(start).hash(&mut hasher);
        }
        Self(hasher.finish())
    }
}

impl Costs {
    pub(crate) fn new() -> Self {
        Self((0..PLACES).map(|_| AtomicU64::new(0)).collect())
    }

    /// What the answer to `question` has cost when it was asked last, if that is known.
    pub(crate) fn of(&self, question: Question) -> Option<Duration> {
        let noted = self.place(question).load(Ordering::Relaxed);
        let is_same = (noted ^ question.0) >> COST_BITS == 0;
        is_same.then(|| Duration::from_micros(noted & MOST_US))
    }

    /// Notes what its answer has cost.
    pub(crate) fn note(&self, question: Question, cost: Duration) {
        let cost_us = u64::try_from(cost.as_micros()).unwrap_or(MOST_US).min(MOST_US);
        self.place(question)
            .store(question.0 & !MOST_US | cost_us, Ordering::Relaxed);
    }

    fn place(&self, question: Question) -> &AtomicU64 {
        // The hash's low bits: they are not among those that a place keeps.
        &self.0[(question.0 & PLACES_MASK) as usize]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ask(query: &str) -> Question {
        Question::new("/api/v1/query_range", &Params::parse(query, ""))
    }

    #[test]
    fn a_question_moved_in_time_is_the_same_and_a_longer_range_is_another() {
        let first = ask("query=up&start=1000&end=4600&step=15");
        assert_eq!(first, ask("query=up&start=1015.5&end=4615.5&step=15"));
        assert_ne!(first, ask("query=up&start=1000&end=87400&step=15"));
        assert_ne!(first, ask("query=up&start=1000&end=4600&step=30"));
        assert_ne!(first, ask("query=upp&start=1000&end=4600&step=15"));
        assert_ne!(
            ask("query=up&time=5"),
            Question::new("/api/v1/query", &Params::parse("query=up&time=5", ""))
        );
    }

    #[test]
    fn the_last_cost_is_known() {
        let (costs, question) = (Costs::new(), ask("query=up"));
        assert_eq!(costs.of(question), None);
        for cost in [Duration::from_micros(300), Duration::from_millis(3), Duration::ZERO] {
            costs.note(question, cost);
            assert_eq!(costs.of(question), Some(cost));
        }
        assert_eq!(costs.of(ask("query=down")), None);
        costs.note(question, Duration::from_hours(5));
        assert!(costs.of(question) >= Some(Duration::from_secs(1)));
    }
}
