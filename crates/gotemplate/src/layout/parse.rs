//! Text to times.

use cupola_model::go_quote;

use super::{MONTHS, Piece, WEEKDAYS, days_in_month, next_piece, unix_seconds};

/// What a text says about its zone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum ParsedZone {
    /// Nothing, `Z` or `UTC`.
    Utc,
    /// An offset in seconds, and a name where the text had one.
    Fixed(i32, String),
}

/// A time read from text: seconds since the epoch and nanoseconds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Parsed {
    pub seconds: i64,
    pub nanos: u32,
    pub zone: ParsedZone,
}

struct Fields {
    year: i64,
    month: Option<u32>,
    day: Option<u32>,
    year_day: Option<u32>,
    hour: u32,
    minute: u32,
    second: u32,
    nanos: u32,
    is_pm: Option<bool>,
    offset: Option<i32>,
    zone: String,
}

/// Reads `value` as `layout` says, as Go's `time.Parse`.
///
/// # Errors
/// In Go's words: what could not be read, as which piece of the layout.
pub(crate) fn parse(layout: &str, value: &str) -> Result<Parsed, String> {
    let whole = (layout, value);
    let bad = |rest: &str, piece: &str| {
        let (layout, value) = whole;
        format!(
            "parsing time {} as {}: cannot parse {} as {}",
            go_quote(value),
            go_quote(layout),
            go_quote(rest),
            go_quote(piece)
        )
    };
    let mut fields = Fields {
        year: 0,
        month: None,
        day: None,
        year_day: None,
        hour: 0,
        minute: 0,
        second: 0,
        nanos: 0,
        is_pm: None,
        offset: None,
        zone: String::new(),
    };
    let (mut layout, mut value) = whole;
    loop {
        let (literal, piece, after) = next_piece(layout);
        value = skip_literal(literal, value).ok_or_else(|| bad(value, literal))?;
        layout = after;
        let Some((piece, text)) = piece else {
            if value.is_empty() {
                break;
            }
            return Err(format!(
                "parsing time {}: extra text: {}",
                go_quote(whole.1),
                go_quote(value)
            ));
        };
        value = fields.take(piece, value, layout).ok_or_else(|| bad(value, text))?;
    }
    fields
        .finish()
        .map_err(|what| format!("parsing time {}: {what} out of range", go_quote(whole.1)))
}

// Spaces in the layout match any number of spaces.
fn skip_literal<'a>(literal: &str, value: &'a str) -> Option<&'a str> {
    let mut rest = value;
    let mut chars = literal.chars().peekable();
    while let Some(c) = chars.next() {
        if c == ' ' {
            if !rest.is_empty() && !rest.starts_with(' ') {
                return None;
            }
            while chars.peek() == Some(&' ') {
                chars.next();
            }
            rest = rest.trim_start_matches(' ');
        } else {
            rest = rest.strip_prefix(c)?;
        }
    }
    Some(rest)
}

// Between `least` and `most` digits.
fn digits(value: &str, least: usize, most: usize) -> Option<(u32, &str)> {
    let count = value.bytes().take(most).take_while(u8::is_ascii_digit).count();
    if count < least {
        return None;
    }
    let (text, rest) = value.split_at(count);
    Some((text.parse().ok()?, rest))
}

// One of `names`, in any case; gives its place.
fn name<'a>(names: &[&str], value: &'a str, len: Option<usize>) -> Option<(u32, &'a str)> {
    for (i, name) in names.iter().enumerate() {
        let name = &name[..len.unwrap_or(name.len()).min(name.len())];
        if value.get(..name.len()).is_some_and(|v| v.eq_ignore_ascii_case(name)) {
            return Some((u32::try_from(i).ok()?, &value[name.len()..]));
        }
    }
    None
}

impl Fields {
    // Reads one piece; gives the rest.
    fn take<'a>(&mut self, piece: Piece, value: &'a str, layout: &str) -> Option<&'a str> {
        let mut slot = 0;
        let (target, (number, rest)) = match piece {
            Piece::LongYear => {
                let (year, rest) = digits(value, 4, 4)?;
                self.year = i64::from(year);
                return Some(rest);
            }
            Piece::Year => {
                let (year, rest) = digits(value, 2, 2)?;
                self.year = i64::from(if year >= 69 { year + 1900 } else { year + 2000 });
                return Some(rest);
            }
            Piece::LongMonth | Piece::Month => {
                let len = (piece == Piece::Month).then_some(3);
                let (at, rest) = name(&MONTHS, value, len)?;
                self.month = Some(at + 1);
                return Some(rest);
            }
            Piece::LongWeekday => (&mut slot, name(&WEEKDAYS, value, None)?),
            Piece::Weekday => (&mut slot, name(&WEEKDAYS, value, Some(3))?),
            Piece::NumMonth | Piece::ZeroMonth => {
                let least = if piece == Piece::ZeroMonth { 2 } else { 1 };
                let (month, rest) = digits(value, least, 2)?;
                self.month = Some(month);
                return Some(rest);
            }
            Piece::Day | Piece::UnderDay | Piece::ZeroDay => {
                let value = if piece == Piece::UnderDay {
                    value.strip_prefix(' ').unwrap_or(value)
                } else {
                    value
                };
                let (day, rest) = digits(value, if piece == Piece::ZeroDay { 2 } else { 1 }, 2)?;
                self.day = Some(day);
                return Some(rest);
            }
            Piece::UnderYearDay | Piece::ZeroYearDay => {
                let trimmed = if piece == Piece::UnderYearDay {
                    value.trim_start_matches(' ')
                } else {
                    value
                };
                let (day, rest) = digits(trimmed, 3_usize.saturating_sub(value.len() - trimmed.len()), 3)?;
                self.year_day = Some(day);
                return Some(rest);
            }
            Piece::Hour => (&mut self.hour, digits(value, 2, 2)?),
            Piece::Hour12 => (&mut self.hour, digits(value, 1, 2)?),
            Piece::ZeroHour12 => (&mut self.hour, digits(value, 2, 2)?),
            Piece::Minute => (&mut self.minute, digits(value, 1, 2)?),
            Piece::ZeroMinute => (&mut self.minute, digits(value, 2, 2)?),
            Piece::Second | Piece::ZeroSecond => {
                let (second, rest) = digits(value, if piece == Piece::ZeroSecond { 2 } else { 1 }, 2)?;
                self.second = second;
                // A fraction may follow although the layout has none.
                let (_, next, _) = next_piece(layout);
                let is_planned = matches!(next, Some((Piece::Fraction { .. }, _)));
                let is_fraction = rest.starts_with(['.', ',']) && rest[1..].starts_with(|c: char| c.is_ascii_digit());
                return if is_fraction && !is_planned {
                    self.fraction(rest, None)
                } else {
                    Some(rest)
                };
            }
            Piece::UpperPm | Piece::LowerPm => {
                let names = if piece == Piece::UpperPm {
                    ["AM", "PM"]
                } else {
                    ["am", "pm"]
                };
                let at = names.iter().position(|n| value.starts_with(n))?;
                self.is_pm = Some(at == 1);
                return value.get(2..);
            }
            Piece::ZoneName => {
                let count = value.bytes().take_while(u8::is_ascii_uppercase).count();
                if !(3..=5).contains(&count) {
                    return None;
                }
                let (zone, rest) = value.split_at(count);
                if zone == "UTC" {
                    self.offset = Some(0);
                } else {
                    zone.clone_into(&mut self.zone);
                }
                return Some(rest);
            }
            Piece::Offset { is_iso: true, .. } if value.starts_with('Z') => {
                self.offset = Some(0);
                return value.get(1..);
            }
            Piece::Offset { colons, parts, .. } => return self.read_offset(value, colons, parts),
            Piece::Fraction { digits, is_trimmed } => {
                if is_trimmed && !value.starts_with(['.', ',']) {
                    return Some(value);
                }
                return self.fraction(value, (!is_trimmed).then_some(digits));
            }
        };
        *target = number;
        Some(rest)
    }

    fn read_offset<'a>(&mut self, value: &'a str, colons: bool, parts: u8) -> Option<&'a str> {
        let sign = match value.as_bytes().first()? {
            b'+' => 1,
            b'-' => -1,
            _ => return None,
        };
        let mut rest = value.get(1..)?;
        let mut total = 0;
        for (part, unit) in (0..parts).zip([3600, 60, 1]) {
            if part > 0 && colons {
                rest = rest.strip_prefix(':')?;
            }
            let (number, after) = digits(rest, 2, 2)?;
            if number > if part == 0 { 24 } else { 60 } {
                return None;
            }
            total += i32::try_from(number).ok()? * unit;
            rest = after;
        }
        self.offset = Some(sign * total);
        Some(rest)
    }

    // Point and digits; exactly `count` of them where that is said.
    fn fraction<'a>(&mut self, value: &'a str, count: Option<usize>) -> Option<&'a str> {
        let inner = value.strip_prefix(['.', ','])?;
        let have = inner.bytes().take_while(u8::is_ascii_digit).count();
        let take = count.unwrap_or(have);
        if have < take || take == 0 {
            return None;
        }
        let (text, rest) = inner.split_at(take);
        let nine: String = text.chars().chain(std::iter::repeat('0')).take(9).collect();
        self.nanos = nine.parse().ok()?;
        Some(rest)
    }

    fn finish(mut self) -> Result<Parsed, &'static str> {
        match self.is_pm {
            Some(true) if self.hour < 12 => self.hour += 12,
            Some(false) if self.hour == 12 => self.hour = 0,
            _ => {}
        }
        let (mut month, mut day) = (self.month.unwrap_or(1), self.day.unwrap_or(1));
        if !(1..=12).contains(&month) {
            return Err("month");
        }
        if let Some(year_day) = self.year_day {
            if year_day < 1 || year_day > 365 + u32::from(days_in_month(self.year, 2) == 29) {
                return Err("day-of-year");
            }
            if self.month.is_none() && self.day.is_none() {
                (month, day) = (1, year_day);
            }
        }
        if day < 1 || (self.year_day.is_none() && day > days_in_month(self.year, month)) {
            return Err("day");
        }
        if self.hour > 23 {
            return Err("hour");
        }
        if self.minute > 59 {
            return Err("minute");
        }
        if self.second > 59 {
            return Err("second");
        }
        let of_day = i64::from(self.hour * 3600 + self.minute * 60 + self.second);
        let offset = self.offset.unwrap_or(0);
        let seconds = unix_seconds(self.year, i64::from(month), i64::from(day), of_day) - i64::from(offset);
        let zone = if offset == 0 && self.zone.is_empty() {
            ParsedZone::Utc
        } else {
            ParsedZone::Fixed(offset, self.zone)
        };
        Ok(Parsed {
            seconds,
            nanos: self.nanos,
            zone,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(layout: &str, value: &str, seconds: i64, nanos: u32) {
        let parsed = parse(layout, value).unwrap();
        assert_eq!((parsed.seconds, parsed.nanos), (seconds, nanos), "{value}");
    }

    #[test]
    fn times_are_read() {
        check("2006-01-02", "2024-05-01", 1_714_521_600, 0);
        check(
            "2006-01-02T15:04:05Z07:00",
            "2024-05-01T12:00:00+02:00",
            1_714_557_600,
            0,
        );
        check(
            "2006-01-02T15:04:05Z07:00",
            "2024-05-01T10:00:00.25Z",
            1_714_557_600,
            250_000_000,
        );
        check(
            "Jan _2, 2006 at 3:04pm (MST)",
            "May  1, 2024 at 10:00am (UTC)",
            1_714_557_600,
            0,
        );
        check(
            "Monday, 02-Jan-06 15:04:05 MST",
            "Wednesday, 01-May-24 10:00:00 GMT",
            1_714_557_600,
            0,
        );
        check("2006 002", "2024 122", 1_714_521_600, 0);
        check("15:04:05.000", "00:00:01.500", -62_167_219_199, 500_000_000);
    }

    #[test]
    fn mistakes_are_told() {
        for (layout, value, expected) in [
            (
                "2006-01-02",
                "x",
                "parsing time \"x\" as \"2006-01-02\": cannot parse \"x\" as \"2006\"",
            ),
            (
                "2006-01-02",
                "2024-13-01",
                "parsing time \"2024-13-01\": month out of range",
            ),
            (
                "2006-01-02",
                "2023-02-29",
                "parsing time \"2023-02-29\": day out of range",
            ),
            (
                "2006-01-02",
                "2024-05-01x",
                "parsing time \"2024-05-01x\": extra text: \"x\"",
            ),
        ] {
            assert_eq!(parse(layout, value).unwrap_err(), expected);
        }
    }
}
