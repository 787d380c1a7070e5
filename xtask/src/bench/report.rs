//! Tables in markdown: a column for each server, and how Cupola stands to each peer.

use std::fs;
use std::path::Path;

use anyhow::{Context as _, Result};

use super::Bench;
use super::machine;
use super::server::{Contender, Kind};

/// A part of `BENCHMARKS.md` that is saved for itself, so that a run of some measures keeps the figures of the others.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Part {
    General,
    PromQl,
    Storage,
    Alerting,
    Edges,
}

impl Part {
    fn marks(self) -> (&'static str, &'static str) {
        match self {
            Self::General => (
                "<!-- figures: written by `make bench ARGS=--save` -->",
                "<!-- end of figures -->",
            ),
            Self::PromQl => (
                "<!-- promql figures: written by `make bench ARGS=\"promql --save\"` -->",
                "<!-- end of promql figures -->",
            ),
            Self::Storage => (
                "<!-- storage figures: written by `make bench ARGS=\"storage --save\"` -->",
                "<!-- end of storage figures -->",
            ),
            Self::Alerting => (
                "<!-- alerting figures: written by `make bench ARGS=\"rules alerts backtest --save\"` -->",
                "<!-- end of alerting figures -->",
            ),
            Self::Edges => (
                "<!-- edges figures: written by `make bench ARGS=\"parse json down --save\"` -->",
                "<!-- end of edges figures -->",
            ),
        }
    }
}

pub(crate) struct Report {
    part: Part,
    head: String,
    text: String,
}

impl Report {
    pub(crate) fn new(part: Part, bench: &Bench, args: &[String]) -> Self {
        let command = if args.is_empty() {
            "make bench".to_owned()
        } else {
            format!("make bench ARGS=\"{}\"", args.join(" "))
        };
        let names: Vec<String> = bench
            .contenders
            .iter()
            .map(|c| format!("{} {}", c.kind.name(), c.version))
            .collect();
        let head = format!(
            "Run of {}: `{command}`\n\nMachine: {}.\n\nServers: {}.\n",
            machine::date(machine::now_ms()),
            machine::name_tag(),
            names.join("; "),
        );
        let text = String::new();
        Self { part, head, text }
    }

    pub(crate) fn heading(&mut self, heading: &str) {
        self.text.push_str(&format!("\n### {heading}\n\n"));
    }

    pub(crate) fn line(&mut self, line: &str) {
        self.text.push_str(line);
        self.text.push_str("\n\n");
    }

    pub(crate) fn table(&mut self, table: &Table) {
        self.text.push_str(&table.text());
        self.text.push('\n');
    }

    /// What was measured and how; empty where nothing was.
    pub(crate) fn text(&self) -> String {
        if self.text.is_empty() {
            return String::new();
        }
        format!("{}{}", self.head, self.text)
    }

    /// Puts the report between its marks in `file`, in place of the one before; one without figures changes nothing.
    pub(crate) fn save(&self, file: &Path) -> Result<()> {
        let text = self.text();
        if text.is_empty() {
            return Ok(());
        }
        let old = fs::read_to_string(file).with_context(|| format!("cannot read {}", file.display()))?;
        let new = replaced(&old, &text, self.part.marks())
            .with_context(|| format!("{} has lost its marks", file.display()))?;
        fs::write(file, new).with_context(|| format!("cannot write {}", file.display()))
    }
}

fn replaced(old: &str, figures: &str, (begin, end): (&str, &str)) -> Option<String> {
    let (before, rest) = old.split_once(begin)?;
    let (_, after) = rest.split_once(end)?;
    Some(format!("{before}{begin}\n{}\n\n{end}{after}", figures.trim_end()))
}

/// One table. Each row has a figure for each server; where it is a cost, a ratio below 1 is in favour of Cupola.
pub(crate) struct Table {
    what: String,
    names: Vec<&'static str>,
    rows: Vec<Row>,
    has_ratios: bool,
    notes: Vec<String>,
}

struct Row {
    name: String,
    cells: Vec<String>,
    figures: Vec<Option<f64>>,
    notes: Vec<String>,
}

impl Table {
    /// A table whose first column is headed `what`.
    pub(crate) fn new(what: &str, contenders: &[Contender]) -> Self {
        let names: Vec<&'static str> = contenders.iter().map(|c| c.kind.name()).collect();
        Self::of(what, &names)
    }

    /// A table with these columns, of which Cupola may be one.
    pub(crate) fn of(what: &str, names: &[&'static str]) -> Self {
        Self {
            what: what.to_owned(),
            names: names.to_vec(),
            rows: Vec::new(),
            has_ratios: true,
            notes: Vec::new(),
        }
    }

    /// Adds columns of words behind the ratios; [`Self::noted_row`] fills them.
    pub(crate) fn with_notes(mut self, heads: &[&str]) -> Self {
        self.notes = heads.iter().map(|&head| head.to_owned()).collect();
        self
    }

    /// A table of words, in which Cupola has no ratio to its peers.
    pub(crate) fn of_words(what: &str, contenders: &[Contender]) -> Self {
        Self {
            has_ratios: false,
            ..Self::new(what, contenders)
        }
    }

    /// Adds a row with one figure for each server, in their order; None where it could not be had.
    pub(crate) fn row(&mut self, name: &str, figures: Vec<Option<f64>>) {
        self.noted_row(name, figures, Vec::new());
    }

    /// Adds a row with figures, and words for the columns of [`Self::with_notes`].
    pub(crate) fn noted_row(&mut self, name: &str, figures: Vec<Option<f64>>, notes: Vec<String>) {
        let cells = figures.iter().map(|f| f.map_or("-".to_owned(), rounded)).collect();
        let name = name.to_owned();
        self.rows.push(Row {
            name,
            cells,
            figures,
            notes,
        });
    }

    /// Adds a row of words.
    pub(crate) fn words(&mut self, name: &str, cells: Vec<String>) {
        let name = name.to_owned();
        self.rows.push(Row {
            name,
            cells,
            figures: Vec::new(),
            notes: Vec::new(),
        });
    }

    fn text(&self) -> String {
        let cupola = self
            .names
            .iter()
            .position(|name| *name == Kind::Cupola.name())
            .filter(|_| self.has_ratios);
        let peers: Vec<usize> = (0..self.names.len()).filter(|i| Some(*i) != cupola).collect();
        let peers = if cupola.is_some() { peers } else { Vec::new() };
        let names = self.names.iter().map(|&name| name.to_owned());
        let versus = peers
            .iter()
            .filter_map(|i| Some(format!("Cupola : {}", self.names.get(*i)?)));
        let mut heads: Vec<String> = names.chain(versus).collect();
        let mut lines = "--:|".repeat(heads.len());
        heads.extend(self.notes.iter().cloned());
        lines.push_str(&"---|".repeat(self.notes.len()));
        let mut out = format!("| {} | {} |\n|---|{lines}", self.what, heads.join(" | "));
        out.push('\n');
        for row in &self.rows {
            let figure = |index: usize| row.figures.get(index).copied().flatten();
            let ours = cupola.and_then(figure);
            let ratios = peers.iter().map(|peer| match (ours, figure(*peer)) {
                (Some(ours), Some(theirs)) if theirs > 0.0 => rounded(ours / theirs),
                _ => "-".to_owned(),
            });
            let notes = (0..self.notes.len()).map(|note| row.notes.get(note).cloned().unwrap_or_default());
            let cells: Vec<String> = row.cells.iter().cloned().chain(ratios).chain(notes).collect();
            out.push_str(&format!("| {} | {} |\n", row.name, cells.join(" | ")));
        }
        out
    }
}

/// Three digits say all that a benchmark knows.
pub(crate) fn rounded(value: f64) -> String {
    let magnitude = value.abs();
    if magnitude >= 100.0 || magnitude == 0.0 {
        return grouped(value.round() as i64);
    }
    let decimals = if magnitude >= 10.0 {
        1
    } else if magnitude >= 1.0 {
        2
    } else {
        3
    };
    format!("{value:.decimals$}")
}

// 1234567 as 1,234,567.
fn grouped(value: i64) -> String {
    let digits = value.unsigned_abs().to_string();
    let mut out = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    if value < 0 { format!("-{out}") } else { out }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_have_three_digits() {
        for (value, text) in [
            (0.0, "0"),
            (0.01234, "0.012"),
            (1.234, "1.23"),
            (12.34, "12.3"),
            (1234.4, "1,234"),
            (1_234_567.0, "1,234,567"),
            (-1234.0, "-1,234"),
        ] {
            assert_eq!(rounded(value), text);
        }
    }

    #[test]
    fn ratios_stand_beside_what_could_be_measured() {
        let mut table = Table {
            what: "measure".to_owned(),
            names: vec!["Cupola", "Prometheus"],
            rows: Vec::new(),
            has_ratios: true,
            notes: Vec::new(),
        };
        table.row("RSS, MB", vec![Some(20.0), Some(40.0)]);
        table.row("lost", vec![Some(0.0), None]);
        let expected = "| measure | Cupola | Prometheus | Cupola : Prometheus |\n|---|--:|--:|--:|\n\
            | RSS, MB | 20.0 | 40.0 | 0.500 |\n| lost | 0 | - | - |\n";
        assert_eq!(table.text(), expected);
    }

    #[test]
    fn a_report_replaces_the_one_before() {
        for part in [Part::General, Part::PromQl, Part::Storage, Part::Alerting, Part::Edges] {
            let marks @ (begin, end) = part.marks();
            let old = format!("a\n{begin}\nold\n{end}\nb\n");
            let new = replaced(&old, "new\n", marks).unwrap();
            assert_eq!(new, format!("a\n{begin}\nnew\n\n{end}\nb\n"));
            assert_eq!(replaced("no marks", "new", marks), None);
        }
    }
}
