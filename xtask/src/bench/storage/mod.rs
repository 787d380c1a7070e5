//! What the storage costs under the real server: writing, memory of a series, disk, restarts.
//!
//! - `message` makes messages of remote write, `fleet` starts the servers and sends them to each.
//! - `write` measures remote write, one sample of each series in a message; `backfill` a day of data, and what it takes
//!   on disk once blocks are cut and merged; `held` what two hours take in memory; `active` scraping of many series, new series and a restart after SIGKILL.
//!
//! All peers get the same bytes in the same run. The goals beside the figures are those that the project has set itself.

mod active;
mod backfill;
mod fleet;
mod held;
pub(super) mod message;
mod write;

pub(super) use fleet::{Fleet, send};
pub(super) use message::points;

use anyhow::{Context as _, Result};

use super::report::{Report, Table};
use super::{Bench, tell};

/// What one line of the table must be and should be.
#[derive(Debug, Clone, Copy)]
pub(super) struct Goal {
    must: &'static str,
    aim: &'static str,
}

impl Goal {
    const NONE: Self = Self::new("", "");

    const fn new(must: &'static str, aim: &'static str) -> Self {
        Self { must, aim }
    }
}

/// The table, line by line.
pub(super) struct Rows {
    table: Table,
    notes: Vec<String>,
}

impl Rows {
    /// Adds figures, one for each server.
    pub(super) fn add(&mut self, name: &str, goal: Goal, figures: Vec<Option<f64>>) {
        let notes = vec![goal.must.to_owned(), goal.aim.to_owned()];
        self.table.noted_row(name, figures, notes);
    }

    /// Says below the table how something was measured.
    pub(super) fn note(&mut self, note: String) {
        self.notes.push(note);
    }
}

type Part = fn(&Bench, &mut Rows) -> Result<()>;
const PARTS: [(&str, Part); 6] = [
    ("idle", idle),
    ("write", write::run),
    ("backfill", backfill::run),
    ("held", held::run),
    ("memory", active::small),
    ("million", active::large),
];

/// Measures everything, or what `--only` names.
pub(crate) fn run(bench: &Bench, report: &mut Report) -> Result<()> {
    let mut rows = Rows {
        table: Table::new("storage", &bench.contenders).with_notes(&["must", "aim"]),
        notes: Vec::new(),
    };
    let measured = parts(bench, &mut rows);
    // What there is before a failure is told.
    report.heading("Storage");
    report.table(&rows.table);
    for note in rows.notes {
        report.line(&note);
    }
    measured
}

fn parts(bench: &Bench, rows: &mut Rows) -> Result<()> {
    let only = bench.options.only.as_deref();
    for (name, part) in PARTS {
        if only.is_none_or(|only| name.contains(only)) {
            part(bench, rows).with_context(|| format!("measuring {name}"))?;
        }
    }
    tell("storage is done");
    Ok(())
}

// Nothing to do and no data.
fn idle(bench: &Bench, rows: &mut Rows) -> Result<()> {
    tell("idle servers");
    let fleet = fleet::Fleet::start(bench, "idle")?;
    std::thread::sleep(bench.options.idle);
    let mut rss = Vec::new();
    for running in &fleet.running {
        rss.push(Some(running.memory()?.rss as f64 / 1e6));
    }
    let name = format!("idle for {} s: RSS, MB", bench.options.idle.as_secs());
    rows.add(&name, Goal::new("30", "20"), rss);
    Ok(())
}
