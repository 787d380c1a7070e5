//! Go's time layouts: `Mon Jan 2 15:04:05 MST 2006` and its pieces.

mod civil;
mod format;
mod parse;

pub(crate) use civil::{Civil, days_in_month, unix_seconds};
pub(crate) use format::format;
pub(crate) use parse::{ParsedZone, parse};

pub(crate) const MONTHS: [&str; 12] = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
];
pub(crate) const WEEKDAYS: [&str; 7] = [
    "Sunday",
    "Monday",
    "Tuesday",
    "Wednesday",
    "Thursday",
    "Friday",
    "Saturday",
];

/// One piece of a layout.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Piece {
    LongMonth,
    Month,
    NumMonth,
    ZeroMonth,
    LongWeekday,
    Weekday,
    Day,
    UnderDay,
    ZeroDay,
    UnderYearDay,
    ZeroYearDay,
    Hour,
    Hour12,
    ZeroHour12,
    Minute,
    ZeroMinute,
    Second,
    ZeroSecond,
    LongYear,
    Year,
    UpperPm,
    LowerPm,
    ZoneName,
    /// An offset; `Z` for none where `is_iso`.
    Offset {
        is_iso: bool,
        colons: bool,
        parts: u8,
    },
    /// Digits after the point; trailing zeros are left out where `is_trimmed`.
    Fraction {
        digits: usize,
        is_trimmed: bool,
    },
}

// In the order in which they are tried at one place. Longer ones stand before their beginnings.
const WORDS: [(&str, Piece); 38] = [
    ("January", Piece::LongMonth),
    ("Jan", Piece::Month),
    ("Monday", Piece::LongWeekday),
    ("Mon", Piece::Weekday),
    ("MST", Piece::ZoneName),
    ("002", Piece::ZeroYearDay),
    ("01", Piece::ZeroMonth),
    ("02", Piece::ZeroDay),
    ("03", Piece::ZeroHour12),
    ("04", Piece::ZeroMinute),
    ("05", Piece::ZeroSecond),
    ("06", Piece::Year),
    ("15", Piece::Hour),
    ("1", Piece::NumMonth),
    ("2006", Piece::LongYear),
    ("2", Piece::Day),
    ("__2", Piece::UnderYearDay),
    ("_2", Piece::UnderDay),
    ("3", Piece::Hour12),
    ("4", Piece::Minute),
    ("5", Piece::Second),
    ("PM", Piece::UpperPm),
    ("pm", Piece::LowerPm),
    (
        "-070000",
        Piece::Offset {
            is_iso: false,
            colons: false,
            parts: 3,
        },
    ),
    (
        "-07:00:00",
        Piece::Offset {
            is_iso: false,
            colons: true,
            parts: 3,
        },
    ),
    (
        "-0700",
        Piece::Offset {
            is_iso: false,
            colons: false,
            parts: 2,
        },
    ),
    (
        "-07:00",
        Piece::Offset {
            is_iso: false,
            colons: true,
            parts: 2,
        },
    ),
    (
        "-07",
        Piece::Offset {
            is_iso: false,
            colons: false,
            parts: 1,
        },
    ),
    (
        "Z070000",
        Piece::Offset {
            is_iso: true,
            colons: false,
            parts: 3,
        },
    ),
    (
        "Z07:00:00",
        Piece::Offset {
            is_iso: true,
            colons: true,
            parts: 3,
        },
    ),
    (
        "Z0700",
        Piece::Offset {
            is_iso: true,
            colons: false,
            parts: 2,
        },
    ),
    (
        "Z07:00",
        Piece::Offset {
            is_iso: true,
            colons: true,
            parts: 2,
        },
    ),
    (
        "Z07",
        Piece::Offset {
            is_iso: true,
            colons: false,
            parts: 1,
        },
    ),
    (
        ".0",
        Piece::Fraction {
            digits: 1,
            is_trimmed: false,
        },
    ),
    (
        ",0",
        Piece::Fraction {
            digits: 1,
            is_trimmed: false,
        },
    ),
    (
        ".9",
        Piece::Fraction {
            digits: 1,
            is_trimmed: true,
        },
    ),
    (
        ",9",
        Piece::Fraction {
            digits: 1,
            is_trimmed: true,
        },
    ),
    ("_2006", Piece::LongYear),
];

// The literal text before the next piece, the piece with its text, and the rest.
fn next_piece(layout: &str) -> (&str, Option<(Piece, &str)>, &str) {
    for (at, _) in layout.char_indices() {
        let rest = &layout[at..];
        let Some((piece, len)) = piece_at(rest) else { continue };
        // `_2006` is a literal underscore and a year, not a day.
        let skip = usize::from(piece == Piece::LongYear && rest.starts_with('_'));
        return (&layout[..at + skip], Some((piece, &rest[skip..len])), &rest[len..]);
    }
    (layout, None, "")
}

fn piece_at(rest: &str) -> Option<(Piece, usize)> {
    if rest.starts_with("_2006") {
        return Some((Piece::LongYear, 5));
    }
    let (word, piece) = *WORDS.iter().find(|(word, _)| rest.starts_with(word))?;
    let after = rest.get(word.len()..).unwrap_or("");
    match piece {
        // "Janet" and "Monkey" are no months and days.
        Piece::Month | Piece::Weekday if after.starts_with(|c: char| c.is_ascii_lowercase()) => None,
        Piece::Fraction { is_trimmed, .. } => {
            let digit = if is_trimmed { b'9' } else { b'0' };
            let digits = rest.bytes().skip(1).take_while(|b| *b == digit).count();
            let is_longer = rest.as_bytes().get(1 + digits).is_some_and(u8::is_ascii_digit);
            (!is_longer).then_some((Piece::Fraction { digits, is_trimmed }, 1 + digits))
        }
        piece => Some((piece, word.len())),
    }
}
