//! Times to text.

use super::{Civil, MONTHS, Piece, WEEKDAYS, next_piece};

/// Writes a time as `layout` says. `offset` is in seconds east of Greenwich, `zone` the zone's short name (empty where
/// it has none).
pub(crate) fn format(layout: &str, civil: &Civil, nanos: u32, offset: i32, zone: &str) -> String {
    let mut out = String::with_capacity(layout.len() + 10);
    let mut rest = layout;
    loop {
        let (literal, piece, after) = next_piece(rest);
        out.push_str(literal);
        let Some((piece, text)) = piece else { return out };
        rest = after;
        out.push_str(&one(piece, text, civil, nanos, offset, zone));
    }
}

fn name(names: &[&'static str], at: u32) -> &'static str {
    usize::try_from(at)
        .ok()
        .and_then(|at| names.get(at))
        .copied()
        .unwrap_or("")
}

fn one(piece: Piece, text: &str, civil: &Civil, nanos: u32, offset: i32, zone: &str) -> String {
    let hour12 = if civil.hour.is_multiple_of(12) {
        12
    } else {
        civil.hour % 12
    };
    let month = name(&MONTHS, civil.month.saturating_sub(1));
    let weekday = name(&WEEKDAYS, civil.weekday);
    match piece {
        Piece::LongMonth => month.to_owned(),
        Piece::Month => month.chars().take(3).collect(),
        Piece::NumMonth => civil.month.to_string(),
        Piece::ZeroMonth => format!("{:02}", civil.month),
        Piece::LongWeekday => weekday.to_owned(),
        Piece::Weekday => weekday.chars().take(3).collect(),
        Piece::Day => civil.day.to_string(),
        Piece::UnderDay => format!("{:2}", civil.day),
        Piece::ZeroDay => format!("{:02}", civil.day),
        Piece::UnderYearDay => format!("{:3}", civil.year_day),
        Piece::ZeroYearDay => format!("{:03}", civil.year_day),
        Piece::Hour => format!("{:02}", civil.hour),
        Piece::Hour12 => hour12.to_string(),
        Piece::ZeroHour12 => format!("{hour12:02}"),
        Piece::Minute => civil.minute.to_string(),
        Piece::ZeroMinute => format!("{:02}", civil.minute),
        Piece::Second => civil.second.to_string(),
        Piece::ZeroSecond => format!("{:02}", civil.second),
        Piece::LongYear => {
            let sign = if civil.year < 0 { "-" } else { "" };
            format!("{sign}{:04}", civil.year.unsigned_abs())
        }
        Piece::Year => format!("{:02}", civil.year.unsigned_abs() % 100),
        Piece::UpperPm => if civil.hour >= 12 { "PM" } else { "AM" }.to_owned(),
        Piece::LowerPm => if civil.hour >= 12 { "pm" } else { "am" }.to_owned(),
        Piece::ZoneName if zone.is_empty() => numeric_offset(offset, false, 2),
        Piece::ZoneName => zone.to_owned(),
        Piece::Offset { is_iso: true, .. } if offset == 0 => "Z".to_owned(),
        Piece::Offset { colons, parts, .. } => numeric_offset(offset, colons, parts),
        Piece::Fraction { digits, is_trimmed } => {
            let all = format!("{nanos:09}");
            let wanted = all.get(..digits.min(9)).unwrap_or(&all);
            let wanted = if is_trimmed {
                wanted.trim_end_matches('0')
            } else {
                wanted
            };
            // The layout's own point or comma.
            let point = text.get(..1).unwrap_or(".");
            if wanted.is_empty() {
                String::new()
            } else {
                format!("{point}{wanted}")
            }
        }
    }
}

fn numeric_offset(offset: i32, colons: bool, parts: u8) -> String {
    let sign = if offset < 0 { '-' } else { '+' };
    let size = offset.unsigned_abs();
    let colon = if colons { ":" } else { "" };
    let mut out = format!("{sign}{:02}", size / 3600);
    if parts > 1 {
        out.push_str(&format!("{colon}{:02}", size / 60 % 60));
    }
    if parts > 2 {
        out.push_str(&format!("{colon}{:02}", size % 60));
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(layout: &str, expected: &str) {
        let civil = Civil::from_seconds(1_714_557_600 + 7200 + 9);
        assert_eq!(format(layout, &civil, 120_000_000, 7200, "CEST"), expected, "{layout}");
    }

    #[test]
    fn layouts_are_those_of_go() {
        check(
            "2006-01-02 15:04:05.999999999 -0700 MST",
            "2024-05-01 12:00:09.12 +0200 CEST",
        );
        check("Monday, 2 January 2006", "Wednesday, 1 May 2024");
        check("Mon Jan _2 15:04:05 2006", "Wed May  1 12:00:09 2024");
        check("02/01/06 03:04PM 3:4:5 pm", "01/05/24 12:00PM 12:0:9 pm");
        check("2006-01-02T15:04:05Z07:00", "2024-05-01T12:00:09+02:00");
        check("-07 -07:00 -070000 Z0700", "+02 +02:00 +020000 +0200");
        check("15:04:05.000 .00x ,999", "12:00:09.120 .12x ,12");
        check("002 __2 _2006 Janet Mondays", "122 122 _2024 Janet Wednesdays");
        check("1.05 x.01", "5.09 x.05");
    }

    #[test]
    fn zones_without_a_name_show_their_offset() {
        let civil = Civil::from_seconds(0);
        assert_eq!(format("MST Z07:00", &civil, 0, 0, ""), "+0000 Z");
    }
}
