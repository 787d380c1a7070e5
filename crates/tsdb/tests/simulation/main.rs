//! Random steps on a simulated disk under a clock that jumps, compared with a naive store: processes die in any write,
//! power fails, disks are full, read-only, or fail.
//!
//! What is promised: what was acknowledged is readable, also after a process died; after a power cut all that was synced,
//! and of the rest a prefix; a batch is seen whole or not at all; nothing refused or deleted is seen; nothing panics.
//!
//! A failure prints its seed. `CUPOLA_SIM_SEED=<seed>` runs that one again, with `CUPOLA_SIM_TRACE=1` step by step;
//! `CUPOLA_SIM_SECONDS=<n>` (`make soak`) runs fresh seeds for so long.

mod model;
mod run;
mod world;

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

fn number(name: &str) -> Option<u64> {
    let text = std::env::var(name).ok()?;
    Some(text.parse().expect("a number in CUPOLA_SIM_..."))
}

// Runs seeds on as many threads as there are cores until `next` has none left.
fn run_all(steps: u64, next: &(dyn Fn() -> Option<u64> + Sync)) -> u64 {
    let done = AtomicU64::new(0);
    let threads = std::thread::available_parallelism().map_or(2, usize::from);
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                while let Some(seed) = next() {
                    let failure = run::run(seed, steps).err();
                    let told = failure.iter().map(ToString::to_string).collect::<String>();
                    assert!(
                        failure.is_none(),
                        "seed {seed}: {told}\nto see it again: CUPOLA_SIM_SEED={seed}"
                    );
                    done.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
    });
    done.load(Ordering::Relaxed)
}

#[test]
fn the_database_is_as_a_naive_store_whatever_happens() {
    let steps = number("CUPOLA_SIM_STEPS").unwrap_or(2_500);
    let taken = AtomicU64::new(0);
    if let Some(seed) = number("CUPOLA_SIM_SEED") {
        let next = || (taken.fetch_add(1, Ordering::Relaxed) == 0).then_some(seed);
        assert_eq!(run_all(steps, &next), 1);
        return;
    }
    if let Some(seconds) = number("CUPOLA_SIM_SECONDS") {
        let first = u64::from(std::process::id()) << 32;
        let started = Instant::now();
        let next = || {
            let more = started.elapsed() < Duration::from_secs(seconds);
            more.then(|| first + taken.fetch_add(1, Ordering::Relaxed))
        };
        println!("{} runs of {steps} steps", run_all(steps, &next));
        return;
    }
    let next = || Some(taken.fetch_add(1, Ordering::Relaxed)).filter(|seed| *seed < 12);
    assert_eq!(run_all(steps, &next), 12);
}
