//! Times of the week, month and year, as Alertmanager's `time_intervals` describe them.

use std::ops::RangeInclusive;

use cupola_model::go_quote;
use jiff::Timestamp;
use jiff::tz::TimeZone;

use crate::read::{Reader, Section};
use crate::yaml::Node;

/// A time is inside where every field that is given has a part that holds it. `None` holds every time.
#[derive(Debug, Clone, PartialEq)]
pub struct TimeInterval {
    /// Minutes of the day.
    pub times: Option<Vec<TimeRange>>,
    /// 0 is Sunday.
    pub weekdays: Option<Vec<RangeInclusive<i8>>>,
    /// 1 to 31, or -1 to -31 from the month's end.
    pub days_of_month: Option<Vec<RangeInclusive<i8>>>,
    /// 1 to 12.
    pub months: Option<Vec<RangeInclusive<i8>>>,
    /// Calendar years.
    pub years: Option<Vec<RangeInclusive<i64>>>,
    /// Whose clock counts. UTC where none is given.
    pub location: TimeZone,
}

/// A piece of a day, in minutes since midnight.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TimeRange {
    /// First minute inside.
    pub start: u16,
    /// First minute outside; 1440 is the day's end.
    pub end: u16,
}

impl TimeInterval {
    /// Whether the instant, in seconds since the epoch, is inside. An instant outside of the calendar is not.
    #[must_use]
    pub fn contains(&self, unix_seconds: i64) -> bool {
        let Ok(instant) = Timestamp::from_second(unix_seconds) else {
            return false;
        };
        let local = instant.to_zoned(self.location.clone());
        let minute = u16::try_from(local.hour()).unwrap_or(0) * 60 + u16::try_from(local.minute()).unwrap_or(0);
        let (day, days) = (local.day(), local.days_in_month());
        let in_days = |range: &RangeInclusive<i8>| {
            let from_end = |day: i8| if day < 0 { days + day + 1 } else { day };
            let (begin, end) = (from_end(*range.start()), from_end(*range.end()));
            // A range that begins after the month's end is skipped; one that only ends there is cut.
            begin <= days && (begin.max(-days)..=end.min(days)).contains(&day)
        };
        holds(self.times.as_deref(), |range| {
            (range.start..range.end).contains(&minute)
        }) && holds(self.weekdays.as_deref(), |range| {
            range.contains(&local.weekday().to_sunday_zero_offset())
        }) && holds(self.days_of_month.as_deref(), in_days)
            && holds(self.months.as_deref(), |range| range.contains(&local.month()))
            && holds(self.years.as_deref(), |range| range.contains(&i64::from(local.year())))
    }
}

fn holds<T>(parts: Option<&[T]>, holds: impl Fn(&T) -> bool) -> bool {
    parts.is_none_or(|parts| parts.iter().any(holds))
}

const WEEKDAYS: [&str; 7] = [
    "sunday",
    "monday",
    "tuesday",
    "wednesday",
    "thursday",
    "friday",
    "saturday",
];
const MONTHS: [&str; 12] = [
    "january",
    "february",
    "march",
    "april",
    "may",
    "june",
    "july",
    "august",
    "september",
    "october",
    "november",
    "december",
];

/// Reads one interval.
pub(crate) fn read_time_interval(reader: &Reader<'_>, node: &Node) -> TimeInterval {
    let section = reader.section(node, "timeinterval.TimeInterval");
    let interval = TimeInterval {
        times: section.get("times").map(|node| {
            let items = reader.items(node, "[]timeinterval.TimeRange", "");
            items
                .into_iter()
                .filter_map(|node| read_time_range(reader, node))
                .collect()
        }),
        weekdays: read_ranges(&section, "weekdays", parse_weekdays),
        days_of_month: read_ranges(&section, "days_of_month", parse_days_of_month),
        months: read_ranges(&section, "months", parse_months),
        years: read_ranges(&section, "years", parse_years),
        location: read_location(&section),
    };
    section.finish();
    interval
}

fn read_location(section: &Section<'_>) -> TimeZone {
    match section.filled_text("location").as_deref() {
        None | Some("UTC") => TimeZone::UTC,
        Some("Local") => TimeZone::try_system().unwrap_or(TimeZone::UTC),
        Some(name) => TimeZone::get(name).unwrap_or_else(|_| {
            section.error_at("location", format!("unknown time zone {name}"));
            TimeZone::UTC
        }),
    }
}

fn read_time_range(reader: &Reader<'_>, node: &Node) -> Option<TimeRange> {
    let section = reader.section(node, "timeinterval.TimeRange");
    let (start, end) = (section.filled_text("start_time"), section.filled_text("end_time"));
    let (Some(start), Some(end)) = (start, end) else {
        reader.error(node.pos, "both start and end times must be provided");
        section.finish();
        return None;
    };
    let minute = |name: &str, text: &str| {
        let minute = parse_minute(text);
        if minute.is_none() {
            section.error_at(name, format!("couldn't parse timestamp {text}, invalid format"));
        }
        minute
    };
    let (start, end) = (minute("start_time", &start), minute("end_time", &end));
    if let (Some(start), Some(end)) = (start, end)
        && start >= end
    {
        section.error_at("start_time", "start time cannot be equal or greater than end time");
    }
    section.finish();
    Some(TimeRange {
        start: start?,
        end: end?,
    })
}

/// `HH:MM` from 00:00 to 24:00 as minutes.
fn parse_minute(text: &str) -> Option<u16> {
    let (hour, minute) = text.split_once(':')?;
    let two = |part: &str| {
        let is_two_digits = part.len() == 2 && part.bytes().all(|b| b.is_ascii_digit());
        if is_two_digits { part.parse::<u16>().ok() } else { None }
    };
    let (hour, minute) = (two(hour)?, two(minute)?);
    (hour < 24 && minute < 60 || (hour, minute) == (24, 0)).then_some(hour * 60 + minute)
}

fn read_ranges<T>(
    section: &Section<'_>,
    name: &'static str,
    parse: fn(&str, &str) -> Result<RangeInclusive<T>, String>,
) -> Option<Vec<RangeInclusive<T>>> {
    let reader = section.reader;
    let node = section.get(name)?;
    let mut ranges = Vec::new();
    for item in reader.items(node, "[]string", "") {
        let Some(text) = reader.text(item) else { continue };
        let text = text.to_lowercase();
        let mut parts = text.split(':');
        let parsed = match (parts.next(), parts.next(), parts.next()) {
            (Some(begin), None, _) => parse(begin, begin),
            (Some(begin), Some(end), None) => parse(begin, end),
            _ => Err(format!("couldn't parse range {text}, invalid format")),
        };
        match parsed {
            Ok(range) => ranges.push(range),
            Err(message) => reader.error(item.pos, message),
        }
    }
    Some(ranges)
}

fn parse_weekdays(begin: &str, end: &str) -> Result<RangeInclusive<i8>, String> {
    let day = |name: &str| {
        let at = WEEKDAYS.iter().position(|day| *day == name);
        at.and_then(|at| i8::try_from(at).ok())
            .ok_or_else(|| format!("{name} is not a valid weekday"))
    };
    let (begin, end) = (day(begin)?, day(end)?);
    if begin > end {
        Err("start day cannot be before end day".to_owned())
    } else {
        Ok(begin..=end)
    }
}

fn parse_days_of_month(begin: &str, end: &str) -> Result<RangeInclusive<i8>, String> {
    let day = |text: &str| {
        let day = parse_number(text)?;
        let is_valid = day != 0 && (-31..=31).contains(&day);
        i8::try_from(day)
            .ok()
            .filter(|_| is_valid)
            .ok_or_else(|| format!("{day} is not a valid day of the month: out of range"))
    };
    let (begin, end) = (day(begin)?, day(end)?);
    if begin < 0 && end > 0 {
        return Err("end day must be negative if start day is negative".to_owned());
    }
    // Days from the end are compared as in the shortest month.
    let in_february = |day: i8| if day < 0 { 28 + day } else { day };
    if in_february(begin) > in_february(end) {
        return Err(format!("end day {end} is always before start day {begin}"));
    }
    Ok(begin..=end)
}

fn parse_months(begin: &str, end: &str) -> Result<RangeInclusive<i8>, String> {
    let month = |name: &str| {
        let by_name = MONTHS.iter().position(|month| *month == name).map(|at| at as i64 + 1);
        let number = by_name
            .or_else(|| name.parse().ok())
            .filter(|number| (1..=12).contains(number));
        number
            .and_then(|n| i8::try_from(n).ok())
            .ok_or_else(|| format!("{name} is not a valid month"))
    };
    let (first, last) = (month(begin)?, month(end)?);
    if first > last {
        let name = |month: i8| {
            usize::try_from(month - 1)
                .ok()
                .and_then(|at| MONTHS.get(at))
                .copied()
                .unwrap_or("")
        };
        return Err(format!(
            "end month {} is before start month {}",
            name(last),
            name(first)
        ));
    }
    Ok(first..=last)
}

fn parse_years(begin: &str, end: &str) -> Result<RangeInclusive<i64>, String> {
    let (begin, end) = (parse_number(begin)?, parse_number(end)?);
    if begin > end {
        Err(format!("end year {end} is before start year {begin}"))
    } else {
        Ok(begin..=end)
    }
}

fn parse_number(text: &str) -> Result<i64, String> {
    text.parse()
        .map_err(|_| format!("strconv.Atoi: parsing {}: invalid syntax", go_quote(text)))
}
