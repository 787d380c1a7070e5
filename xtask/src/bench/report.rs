//! Tables in markdown: a column for each server, and how Cupola stands to each peer.

use std::fs;
use std::path::Path;

use anyhow::{Context as _, Result};

use super::Bench;
use super::machine;
use super::server::{Contender, Kind};

const BEGIN: &str = "<!-- figures: written by `make bench ARGS=--save` -->";
const END: &str = "<!-- end of figures -->";

pub(crate) struct Report {
    text: String,
}

impl Report {
    pub(crate) fn new(bench: &Bench, args: &[String]) -> Self {
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
        let text = format!(
            "Run of {}: `{command}`\n\nMachine: {}.\n\nServers: {}.\n",
            machine::date(machine::now_ms()),
            machine::name_tag(),
            names.join("; "),
        );
        Self { text }
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

    pub(crate) fn text(&self) -> &str {
        &self.text
    }

    /// Puts the report between the marks in `file`, in place of the one before.
    pub(crate) fn save(&self, file: &Path) -> Result<()> {
        let old = fs::read_to_string(file).with_context(|| format!("cannot read {}", file.display()))?;
        let new = replaced(&old, &self.text).with_context(|| format!("{} has lost its marks", file.display()))?;
        fs::write(file, new).with_context(|| format!("cannot write {}", file.display()))
    }
}

fn replaced(old: &str, figures: &str) -> Option<String> {
    let (before, rest) = old.split_once(BEGIN)?;
    let (_, after) = rest.split_once(END)?;
    Some(format!("{before}{BEGIN}\n{}\n\n{END}{after}", figures.trim_end()))
}

/// One table. Each row has a figure for each server; where it is a cost, a ratio below 1 is in favour of Cupola.
pub(crate) struct Table {
    what: String,
    kinds: Vec<Kind>,
    rows: Vec<Row>,
    has_ratios: bool,
}

struct Row {
    name: String,
    cells: Vec<String>,
    figures: Vec<Option<f64>>,
}

impl Table {
    /// A table whose first column is headed `what`.
    pub(crate) fn new(what: &str, contenders: &[Contender]) -> Self {
        Self {
            what: what.to_owned(),
            kinds: contenders.iter().map(|c| c.kind).collect(),
            rows: Vec::new(),
            has_ratios: true,
        }
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
        let cells = figures.iter().map(|f| f.map_or("-".to_owned(), rounded)).collect();
        let name = name.to_owned();
        self.rows.push(Row { name, cells, figures });
    }

    /// Adds a row of words.
    pub(crate) fn words(&mut self, name: &str, cells: Vec<String>) {
        let name = name.to_owned();
        self.rows.push(Row {
            name,
            cells,
            figures: Vec::new(),
        });
    }

    fn text(&self) -> String {
        let cupola = self
            .kinds
            .iter()
            .position(|k| *k == Kind::Cupola)
            .filter(|_| self.has_ratios);
        let peers: Vec<usize> = (0..self.kinds.len()).filter(|i| Some(*i) != cupola).collect();
        let peers = if cupola.is_some() { peers } else { Vec::new() };
        let names = self.kinds.iter().map(|k| k.name().to_owned());
        let versus = peers
            .iter()
            .filter_map(|i| Some(format!("Cupola : {}", self.kinds.get(*i)?.name())));
        let heads: Vec<String> = names.chain(versus).collect();
        let mut out = format!("| {} | {} |\n|---|", self.what, heads.join(" | "));
        out.push_str(&"--:|".repeat(heads.len()));
        out.push('\n');
        for row in &self.rows {
            let figure = |index: usize| row.figures.get(index).copied().flatten();
            let ours = cupola.and_then(figure);
            let ratios = peers.iter().map(|peer| match (ours, figure(*peer)) {
                (Some(ours), Some(theirs)) if theirs > 0.0 => rounded(ours / theirs),
                _ => "-".to_owned(),
            });
            let cells: Vec<String> = row.cells.iter().cloned().chain(ratios).collect();
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
            kinds: vec![Kind::Cupola, Kind::Prometheus],
            rows: Vec::new(),
            has_ratios: true,
        };
        table.row("RSS, MB", vec![Some(20.0), Some(40.0)]);
        table.row("lost", vec![Some(0.0), None]);
        let expected = "| measure | Cupola | Prometheus | Cupola : Prometheus |\n|---|--:|--:|--:|\n\
            | RSS, MB | 20.0 | 40.0 | 0.500 |\n| lost | 0 | - | - |\n";
        assert_eq!(table.text(), expected);
    }

    #[test]
    fn a_report_replaces_the_one_before() {
        let old = format!("a\n{BEGIN}\nold\n{END}\nb\n");
        let new = replaced(&old, "new\n").unwrap();
        assert_eq!(new, format!("a\n{BEGIN}\nnew\n\n{END}\nb\n"));
        assert_eq!(replaced("no marks", "new"), None);
    }
}
