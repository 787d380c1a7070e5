//! `promtool tsdb list`, and the table of blocks that other commands print as well.

use std::io::{self, Write};

use cupola_block::Block;

use super::super::Io;
use super::{Failure, ListArgs, open_blocks};

const HEADER: [&str; 8] = [
    "BLOCK ULID",
    "MIN TIME",
    "MAX TIME",
    "DURATION",
    "NUM SAMPLES",
    "NUM CHUNKS",
    "NUM SERIES",
    "SIZE",
];

/// Prints all blocks that can be opened, oldest first. Where one cannot be, that is told behind the table, as a failure.
pub(super) fn list(args: &ListArgs, io: &mut Io<'_>) -> Result<(), Failure> {
    let (blocks, faults) = open_blocks(&args.path)?;
    table(&blocks, true, args.human_readable, io.out)?;
    if faults.is_empty() {
        Ok(())
    } else {
        Err(Failure::Told(faults.join("\n")))
    }
}

/// Prints one line for each block, in columns that are as wide as their widest cell and two blanks, at least 13.
pub(super) fn table(blocks: &[Block], has_header: bool, is_human: bool, out: &mut dyn Write) -> io::Result<()> {
    let mut rows: Vec<[String; 8]> = Vec::new();
    if has_header {
        rows.push(HEADER.map(str::to_owned));
    }
    rows.extend(blocks.iter().map(|block| row(block, is_human)));
    let mut widths = [13_usize; 8];
    for row in &rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.chars().count() + 2);
        }
    }
    for row in &rows {
        let (last, cells) = row.split_last().map_or(("", &row[..]), |(last, cells)| (last, cells));
        for (cell, width) in cells.iter().zip(widths) {
            write!(out, "{cell:width$}")?;
        }
        writeln!(out, "{last}")?;
    }
    Ok(())
}

fn row(block: &Block, is_human: bool) -> [String; 8] {
    let meta = block.meta();
    let time = |ms: i64| if is_human { date(ms) } else { ms.to_string() };
    [
        meta.ulid.to_string(),
        time(meta.min_time),
        time(meta.max_time),
        duration(meta.max_time.saturating_sub(meta.min_time)),
        meta.stats.num_samples.to_string(),
        meta.stats.num_chunks.to_string(),
        meta.stats.num_series.to_string(),
        if is_human {
            size(block.size_bytes())
        } else {
            block.size_bytes().to_string()
        },
    ]
}

// As Go prints a time in UTC: whole seconds, which are cut and not rounded.
fn date(ms: i64) -> String {
    match jiff::Timestamp::from_second(ms / 1000) {
        Ok(time) => format!("{} +0000 UTC", time.strftime("%Y-%m-%d %H:%M:%S")),
        // Beyond the year 9999.
        Err(_) => ms.to_string(),
    }
}

/// As Go prints a duration: `1h46m0.001s`, `1ms`, `0s`.
pub(super) fn duration(ms: i64) -> String {
    if ms.unsigned_abs() < 1000 {
        return if ms == 0 { "0s".to_owned() } else { format!("{ms}ms") };
    }
    let mut out = if ms < 0 { "-".to_owned() } else { String::new() };
    let all = ms.unsigned_abs();
    let (hours, minutes, rest) = (all / 3_600_000, all / 60_000 % 60, all % 60_000);
    if hours > 0 {
        out.push_str(&format!("{hours}h"));
    }
    if hours > 0 || minutes > 0 {
        out.push_str(&format!("{minutes}m"));
    }
    let fraction = format!("{:03}", rest % 1000);
    let fraction = fraction.trim_end_matches('0');
    out.push_str(&(rest / 1000).to_string());
    if !fraction.is_empty() {
        out.push_str(&format!(".{fraction}"));
    }
    out.push('s');
    out
}

// All parts that are not zero, the largest first: 2KiB71B.
fn size(bytes: u64) -> String {
    const UNITS: [&str; 7] = ["EiB", "PiB", "TiB", "GiB", "MiB", "KiB", "B"];
    let mut out = String::new();
    for (unit, shift) in UNITS.iter().zip([60, 50, 40, 30, 20, 10, 0]) {
        let part = bytes >> shift & if shift == 60 { u64::MAX } else { 1023 };
        if part > 0 {
            out.push_str(&format!("{part}{unit}"));
        }
    }
    if out.is_empty() { "0B".to_owned() } else { out }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_sizes_and_dates_are_printed_as_go_prints_them() {
        for (ms, text) in [
            (0, "0s"),
            (1, "1ms"),
            (999, "999ms"),
            (1_500, "1.5s"),
            (60_000, "1m0s"),
            (6_360_001, "1h46m0.001s"),
            (7_200_000, "2h0m0s"),
            (-61_010, "-1m1.01s"),
        ] {
            assert_eq!(duration(ms), text);
        }
        for (bytes, text) in [
            (0, "0B"),
            (1023, "1023B"),
            (2119, "2KiB71B"),
            (1 << 20, "1MiB"),
            (u64::MAX, "15EiB1023PiB1023TiB1023GiB1023MiB1023KiB1023B"),
        ] {
            assert_eq!(size(bytes), text);
        }
        assert_eq!(date(1_700_000_000_999), "2023-11-14 22:13:20 +0000 UTC");
        assert_eq!(date(i64::MAX), i64::MAX.to_string());
    }
}
