//! Columns as Go's tabwriter sets them: each cell two blanks wider than the widest of its column.

use std::io::{self, Write};

pub(super) fn print(out: &mut dyn Write, rows: &[Vec<String>]) -> io::Result<()> {
    let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
    let widths: Vec<usize> = (0..columns)
        .map(|column| {
            let cells = rows.iter().filter_map(|row| row.get(column));
            cells.map(|cell| cell.chars().count()).max().unwrap_or(0)
        })
        .collect();
    for row in rows {
        for (cell, width) in row.iter().zip(&widths) {
            let blanks = width + 2 - cell.chars().count();
            write!(out, "{cell}{:blanks$}", "")?;
        }
        writeln!(out)?;
    }
    Ok(())
}
