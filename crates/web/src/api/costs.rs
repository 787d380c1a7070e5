//! What answers have cost, so that those known to be cheap are computed where their request was read.

use std::hash::{Hash, Hasher};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use super::params::Params;

// A power of two.
const PLACES: usize = 1024;
const PLACES_MASK: u64 = PLACES as u64 - 1;

// Up to this an answer is cheap: going to another thread and back costs 50 to 100 µs.
const CHEAP_US: u64 = 2_000;

// The low bits of a place hold microseconds, the others tell whose they are.
const COST_BITS: u32 = 20;
const MOST_US: u64 = (1 << COST_BITS) - 1;

/// The last cost of each of the last questions. A question that is forgotten, because another took its place, is not
/// known to be cheap.
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

    /// Whether `question` was cheap when it was asked last.
    pub(crate) fn is_cheap(&self, question: Question) -> bool {
        let noted = self.place(question).load(Ordering::Relaxed);
        let is_same = (noted ^ question.0) >> COST_BITS == 0;
        is_same && noted & MOST_US <= CHEAP_US
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
    fn only_what_was_cheap_the_last_time_is_cheap() {
        let (costs, question) = (Costs::new(), ask("query=up"));
        assert!(!costs.is_cheap(question), "unknown");
        costs.note(question, Duration::from_micros(300));
        assert!(costs.is_cheap(question));
        assert!(!costs.is_cheap(ask("query=down")));
        costs.note(question, Duration::from_millis(3));
        assert!(!costs.is_cheap(question));
        costs.note(question, Duration::from_hours(5));
        assert!(!costs.is_cheap(question));
    }
}
