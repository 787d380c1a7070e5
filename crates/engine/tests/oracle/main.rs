//! Random queries over random series, answered by the engine and by a naive evaluator that shares nothing with it but
//! the parser.
//!
//! The plain run takes the same 300 cases every time. `CUPOLA_PROPTEST_CASES=100000 cargo test --release -p
//! cupola-engine --test oracle` takes as many others as it says, from a seed of its own: a soak test.

#![allow(clippy::panic, reason = "a test's failure is a panic")]

mod calls;
mod combine;
mod compare;
mod eval;
mod generate;
mod numbers;
mod windows;

use proptest::collection::vec;
use proptest::prelude::any;
use proptest::test_runner::{Config, RngAlgorithm, TestCaseError, TestRng, TestRunner};

use compare::Case;
use generate::Tape;

// Enough for a deep expression.
const EXPRESSION_CHOICES: usize = 120;

fn runner() -> TestRunner {
    let asked = std::env::var("CUPOLA_PROPTEST_CASES").ok();
    let asked = asked.map(|cases| cases.parse::<u32>().expect("CUPOLA_PROPTEST_CASES is a number"));
    let config = Config {
        cases: asked.unwrap_or(300),
        failure_persistence: None,
        max_shrink_iters: 20_000,
        ..Config::default()
    };
    match asked {
        Some(_) => TestRunner::new(config),
        None => TestRunner::new_with_rng(config, TestRng::deterministic_rng(RngAlgorithm::ChaCha)),
    }
}

fn check(property: impl Fn(&Case) -> Result<(), String>) {
    let strategy = (
        vec(any::<u32>(), 0..EXPRESSION_CHOICES),
        vec(any::<u32>(), 0..4),
        vec(vec(any::<u32>(), 0..generate::SERIES_CHOICES), generate::SERIES),
    );
    let outcome = runner().run(&strategy, |(expression, times, series)| {
        let text = generate::query(&mut Tape::new(&expression));
        let data = generate::series(&series);
        let when = generate::when(&mut Tape::new(&times));
        let Some(case) = Case::new(text, data, when) else {
            return Err(TestCaseError::reject("not a query"));
        };
        property(&case).map_err(TestCaseError::fail)
    });
    if let Err(error) = outcome {
        panic!("{error}");
    }
}

#[test]
fn instant_queries_answer_as_the_naive_evaluator() {
    check(Case::check_instants);
}

#[test]
fn range_queries_answer_as_the_naive_evaluator() {
    check(Case::check_range);
}

#[test]
fn a_range_query_is_its_instant_queries_one_after_the_other() {
    check(|case| {
        if case.knows_its_range() {
            return Ok(());
        }
        case.check_engine_agrees_with_itself()
    });
}
