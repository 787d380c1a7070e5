//! Go's `time.Time`.

use jiff::Timestamp;
use jiff::tz::TimeZone;

use super::duration::{Duration, nanos_of};
use super::named::Named;
use crate::layout::{self, Civil, MONTHS, ParsedZone, WEEKDAYS, unix_seconds};
use crate::value::{Object, Value};

/// The zone a time is shown in.
#[derive(Debug, Clone, PartialEq)]
pub enum Zone {
    /// UTC.
    Utc,
    /// A zone of the tz database, with its name; the system's own is called "Local".
    Named(String, TimeZone),
    /// Seconds east of Greenwich, and a short name that may be empty.
    Fixed(i32, String),
}

impl Zone {
    /// The zone of this name in the tz database; "" and "UTC" are UTC, "Local" is the system's.
    ///
    /// # Errors
    /// Where there is no such zone.
    pub fn by_name(name: &str) -> Result<Self, String> {
        match name {
            "" | "UTC" => Ok(Self::Utc),
            "Local" => Ok(Self::local()),
            name => TimeZone::get(name)
                .map(|zone| Self::Named(name.to_owned(), zone))
                .map_err(|_| format!("unknown time zone {name}")),
        }
    }

    fn local() -> Self {
        Self::Named("Local".to_owned(), TimeZone::system())
    }

    fn name(&self) -> &str {
        match self {
            Self::Utc => "UTC",
            Self::Named(name, _) | Self::Fixed(_, name) => name,
        }
    }

    // Offset in seconds and short name at `seconds` since the epoch.
    fn at(&self, seconds: i64) -> (i32, String) {
        match self {
            Self::Utc => (0, "UTC".to_owned()),
            Self::Fixed(offset, name) => (*offset, name.clone()),
            Self::Named(_, zone) => match Timestamp::from_second(seconds) {
                Ok(timestamp) => {
                    let info = zone.to_offset_info(timestamp);
                    (info.offset().seconds(), info.abbreviation().to_owned())
                }
                // Beyond the years 9999 no zone has rules.
                Err(_) => (0, "UTC".to_owned()),
            },
        }
    }
}

/// A moment, with the zone it is shown in.
#[derive(Debug, Clone, PartialEq)]
pub struct Time {
    // Since the epoch.
    seconds: i64,
    nanos: u32,
    zone: Zone,
}

// The first of January of the year 1: what a Go time is that was never set.
const ZERO_SECONDS: i64 = -62_135_596_800;

impl Time {
    /// A moment of `seconds` and `nanos` (less than 10^9) since the epoch, in UTC.
    #[must_use]
    pub fn new(seconds: i64, nanos: u32) -> Self {
        Self {
            seconds,
            nanos: nanos.min(999_999_999),
            zone: Zone::Utc,
        }
    }

    /// A moment of `ms` milliseconds since the epoch, in UTC.
    #[must_use]
    pub fn from_unix_ms(ms: i64) -> Self {
        let nanos = u32::try_from(ms.rem_euclid(1000)).unwrap_or(0) * 1_000_000;
        Self::new(ms.div_euclid(1000), nanos)
    }

    /// The time that was never set: year 1, UTC.
    #[must_use]
    pub fn zero() -> Self {
        Self::new(ZERO_SECONDS, 0)
    }

    /// Reads `text` as Go's `time.Parse` does.
    ///
    /// # Errors
    /// In Go's words.
    pub fn parse(layout: &str, text: &str) -> Result<Self, String> {
        let parsed = layout::parse(layout, text)?;
        let zone = match parsed.zone {
            ParsedZone::Utc => Zone::Utc,
            ParsedZone::Fixed(offset, name) => Zone::Fixed(offset, name),
        };
        Ok(Self {
            seconds: parsed.seconds,
            nanos: parsed.nanos,
            zone,
        })
    }

    /// Whether this is [`Time::zero`].
    #[must_use]
    pub fn is_zero(&self) -> bool {
        self.seconds == ZERO_SECONDS && self.nanos == 0
    }

    /// The same moment shown in another zone.
    #[must_use]
    pub fn in_zone(&self, zone: Zone) -> Self {
        Self { zone, ..*self }
    }

    /// As Go's layout says.
    #[must_use]
    pub fn format(&self, layout: &str) -> String {
        let (offset, zone) = self.zone.at(self.seconds);
        layout::format(layout, &self.civil(), self.nanos, offset, &zone)
    }

    /// How long before this moment `earlier` was; the longest duration where it is longer (292 years).
    #[must_use]
    pub fn since(&self, earlier: &Self) -> Duration {
        let nanos = self.total_nanos() - earlier.total_nanos();
        let clamped = nanos.clamp(i128::from(i64::MIN), i128::from(i64::MAX));
        Duration::from_nanos(i64::try_from(clamped).unwrap_or(0))
    }

    fn civil(&self) -> Civil {
        let (offset, _) = self.zone.at(self.seconds);
        Civil::from_seconds(self.seconds.saturating_add(i64::from(offset)))
    }

    fn total_nanos(&self) -> i128 {
        i128::from(self.seconds) * 1_000_000_000 + i128::from(self.nanos)
    }

    fn at_total(&self, total: i128) -> Self {
        let seconds = i64::try_from(total.div_euclid(1_000_000_000)).unwrap_or(0);
        let nanos = u32::try_from(total.rem_euclid(1_000_000_000)).unwrap_or(0);
        Self {
            seconds,
            nanos,
            zone: self.zone.clone(),
        }
    }

    // To a multiple of `unit` nanoseconds since the zero time, as Go's Truncate and Round.
    fn rounded_to(&self, unit: i64, is_rounded: bool) -> Self {
        if unit <= 0 {
            return self.clone();
        }
        let zero = i128::from(ZERO_SECONDS) * 1_000_000_000;
        let rest = (self.total_nanos() - zero).rem_euclid(i128::from(unit));
        let up = is_rounded && rest * 2 >= i128::from(unit);
        self.at_total(self.total_nanos() - rest + if up { i128::from(unit) } else { 0 })
    }

    fn add_date(&self, args: &[Value]) -> Result<Self, String> {
        let number = |at: usize| match args.get(at).map(Value::plain) {
            Some(Value::Int(n)) if n.abs() < 100_000_000 => Ok(n),
            _ => Err("AddDate takes three whole numbers: years, months, days".to_owned()),
        };
        let civil = self.civil();
        let of_day = i64::from(civil.hour * 3600 + civil.minute * 60 + civil.second);
        let (year, month) = (civil.year + number(0)?, i64::from(civil.month) + number(1)?);
        let wall = unix_seconds(year, month, i64::from(civil.day) + number(2)?, of_day);
        // The wall clock keeps its time where the offset changes between.
        let (before, _) = self.zone.at(self.seconds);
        let (after, _) = self.zone.at(wall - i64::from(before));
        Ok(Self {
            seconds: wall - i64::from(after),
            nanos: self.nanos,
            zone: self.zone.clone(),
        })
    }
}

impl std::fmt::Display for Time {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.format("2006-01-02 15:04:05.999999999 -0700 MST"))
    }
}

fn time_arg(args: &[Value]) -> Result<&Time, String> {
    let value = args.first().ok_or("missing argument")?;
    value
        .downcast::<Time>()
        .ok_or_else(|| format!("wrong type for value; expected time.Time; got {}", value.type_name()))
}

impl Object for Time {
    fn type_name(&self) -> &str {
        "time.Time"
    }

    fn methods(&self) -> &[(&'static str, usize)] {
        &[
            ("Add", 1),
            ("AddDate", 3),
            ("After", 1),
            ("Before", 1),
            ("Compare", 1),
            ("Day", 0),
            ("Equal", 1),
            ("Format", 1),
            ("Hour", 0),
            ("In", 1),
            ("IsZero", 0),
            ("Local", 0),
            ("Location", 0),
            ("Minute", 0),
            ("Month", 0),
            ("Nanosecond", 0),
            ("Round", 1),
            ("Second", 0),
            ("String", 0),
            ("Sub", 1),
            ("Truncate", 1),
            ("UTC", 0),
            ("Unix", 0),
            ("UnixMicro", 0),
            ("UnixMilli", 0),
            ("UnixNano", 0),
            ("Weekday", 0),
            ("Year", 0),
            ("YearDay", 0),
        ]
    }

    fn call(&self, name: &str, args: &[Value]) -> Result<Value, String> {
        let first = args.first().cloned().unwrap_or_default();
        let whole = |nanos: i128| Value::Int(i64::try_from(nanos).unwrap_or(i64::MAX));
        let named = |type_name, number: u32, base: u32, names: &[&'static str]| {
            let name = names.get((number - base) as usize).copied().unwrap_or("");
            Value::object(Named {
                type_name,
                number: i64::from(number),
                name: name.to_owned(),
            })
        };
        let civil = self.civil();
        Ok(match name {
            "Format" => match first.as_str() {
                Some(layout) => Value::from(self.format(&layout)),
                None => {
                    return Err(format!(
                        "wrong type for value; expected string; got {}",
                        first.type_name()
                    ));
                }
            },
            "Unix" => Value::Int(self.seconds),
            "UnixMilli" => whole(self.total_nanos().div_euclid(1_000_000)),
            "UnixMicro" => whole(self.total_nanos().div_euclid(1_000)),
            "UnixNano" => whole(self.total_nanos()),
            "Add" => Value::object(self.at_total(self.total_nanos() + i128::from(nanos_of(&first)?))),
            "AddDate" => Value::object(self.add_date(args)?),
            "Sub" => Value::object(self.since(time_arg(args)?)),
            "After" => Value::Bool(self.total_nanos() > time_arg(args)?.total_nanos()),
            "Before" => Value::Bool(self.total_nanos() < time_arg(args)?.total_nanos()),
            "Equal" => Value::Bool(self.total_nanos() == time_arg(args)?.total_nanos()),
            "Compare" => Value::Int(self.total_nanos().cmp(&time_arg(args)?.total_nanos()) as i64),
            "UTC" => Value::object(self.in_zone(Zone::Utc)),
            "Local" => Value::object(self.in_zone(Zone::local())),
            "In" => match first
                .as_str()
                .or_else(|| first.downcast::<Named>().map(|n| n.name.as_str().into()))
            {
                Some(zone) => Value::object(self.in_zone(Zone::by_name(&zone)?)),
                None => {
                    return Err(format!(
                        "wrong type for value; expected *time.Location; got {}",
                        first.type_name()
                    ));
                }
            },
            "Location" => {
                let name = self.zone.name().to_owned();
                Value::object(Named {
                    type_name: "*time.Location",
                    number: 1,
                    name,
                })
            }
            "IsZero" => Value::Bool(self.is_zero()),
            "Round" => Value::object(self.rounded_to(nanos_of(&first)?, true)),
            "Truncate" => Value::object(self.rounded_to(nanos_of(&first)?, false)),
            "Year" => Value::Int(civil.year),
            "Month" => named("time.Month", civil.month, 1, &MONTHS),
            "Weekday" => named("time.Weekday", civil.weekday, 0, &WEEKDAYS),
            "Day" => Value::Int(i64::from(civil.day)),
            "YearDay" => Value::Int(i64::from(civil.year_day)),
            "Hour" => Value::Int(i64::from(civil.hour)),
            "Minute" => Value::Int(i64::from(civil.minute)),
            "Second" => Value::Int(i64::from(civil.second)),
            "Nanosecond" => Value::Int(i64::from(self.nanos)),
            _ => Value::from(self.to_string()),
        })
    }

    fn text(&self) -> Option<String> {
        Some(self.to_string())
    }

    fn json(&self) -> Option<String> {
        Some(format!("\"{}\"", self.format("2006-01-02T15:04:05.999999999Z07:00")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_print_as_go_prints_them() {
        let time = Time::from_unix_ms(1_714_557_600_120);
        assert_eq!(time.to_string(), "2024-05-01 10:00:00.12 +0000 UTC");
        assert_eq!(Time::zero().to_string(), "0001-01-01 00:00:00 +0000 UTC");
        let brussels = time.in_zone(Zone::by_name("Europe/Brussels").unwrap());
        assert_eq!(brussels.format("15:04 MST -0700"), "12:00 CEST +0200");
        assert!(Zone::by_name("No/Where").is_err());
    }

    #[test]
    fn methods_follow_go() {
        let time = Time::parse("2006-01-02 15:04", "2024-01-31 10:30").unwrap();
        let call = |name: &str, args: &[Value]| format!("{:?}", time.call(name, args).unwrap().plain());
        let shown = |name: &str, args: &[Value]| match time.call(name, args).unwrap() {
            Value::Object(object) => object.text().unwrap(),
            other => panic!("{other:?}"),
        };
        assert_eq!(call("Unix", &[]), "1706697000");
        assert_eq!(shown("Month", &[]), "January");
        assert_eq!(shown("Weekday", &[]), "Wednesday");
        let one = [Value::Int(0), Value::Int(1), Value::Int(0)];
        assert_eq!(shown("AddDate", &one), "2024-03-02 10:30:00 +0000 UTC");
        assert_eq!(
            shown("Truncate", &[Value::Int(3_600_000_000_000)]),
            "2024-01-31 10:00:00 +0000 UTC"
        );
        assert_eq!(
            shown("Round", &[Value::Int(3_600_000_000_000)]),
            "2024-01-31 11:00:00 +0000 UTC"
        );
        assert_eq!(
            shown("Sub", &[Value::object(Time::from_unix_ms(1_706_696_940_000))]),
            "1m0s"
        );
        assert!(time.call("Sub", &[Value::Int(1)]).is_err());
    }
}
