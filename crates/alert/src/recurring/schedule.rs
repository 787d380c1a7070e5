//! When a recurring silence is on: windows of the week in a time zone.

use jiff::Timestamp;
use jiff::civil::Date;
use jiff::tz::TimeZone;

// From any day every weekday comes within seven more; one for a window that began the day before.
const DAYS_LOOKED_AT: usize = 10;
const DAY_MINUTES: u16 = 24 * 60;

/// Windows that come every week.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Schedule {
    /// The days on which a window begins, Monday first.
    pub days: [bool; 7],
    /// When it begins, in minutes since midnight by the clock on the wall.
    pub from: u16,
    /// When it ends, likewise; where that is not after the beginning it is on the next day.
    pub to: u16,
    /// An IANA name, `Europe/Berlin`.
    pub time_zone: String,
    /// No window begins earlier; milliseconds since the epoch.
    pub starts_at: i64,
    /// Then it is over, milliseconds.
    pub ends_at: i64,
}

/// From when until when, milliseconds.
pub(crate) type Window = (i64, i64);

impl Schedule {
    /// What is wrong with it, in words.
    pub(crate) fn fault(&self) -> Option<String> {
        if !self.days.contains(&true) {
            return Some("it names no day of the week".to_owned());
        }
        if self.from >= DAY_MINUTES || self.to > DAY_MINUTES {
            return Some("a time of day must lie between 00:00 and 24:00".to_owned());
        }
        if self.starts_at >= self.ends_at {
            return Some("its end must be after its begin".to_owned());
        }
        match TimeZone::get(&self.time_zone) {
            Ok(_) => None,
            Err(_) => Some(format!(
                "there is no time zone {:?}; names are such as Europe/Berlin or UTC",
                self.time_zone
            )),
        }
    }

    /// The window that is on at `now`, if one is, and those that follow within a week.
    ///
    /// Where a change of the clock skips a time of day it is taken as much later; of one that comes twice the first
    /// counts. A window that the change swallows does not take place.
    pub(crate) fn windows(&self, now: i64) -> Vec<Window> {
        let Ok(zone) = TimeZone::get(&self.time_zone) else {
            return Vec::new();
        };
        let Ok(first) = Timestamp::from_millisecond(now.max(self.starts_at)) else {
            return Vec::new();
        };
        let Ok(mut day) = first.to_zoned(zone.clone()).date().yesterday() else {
            return Vec::new();
        };
        let mut windows = Vec::new();
        for _ in 0..DAYS_LOOKED_AT {
            if let Some((begin, end)) = self.window(day, &zone) {
                let (begin, end) = (begin.max(self.starts_at), end.min(self.ends_at));
                if begin < end && end > now {
                    windows.push((begin, end));
                }
            }
            let Ok(next) = day.tomorrow() else { break };
            day = next;
        }
        windows
    }

    fn window(&self, day: Date, zone: &TimeZone) -> Option<Window> {
        let weekday = usize::from(day.weekday().to_monday_zero_offset().unsigned_abs());
        if !*self.days.get(weekday)? {
            return None;
        }
        let last = if self.to <= self.from {
            day.tomorrow().ok()?
        } else {
            day
        };
        Some((at(day, self.from, zone)?, at(last, self.to, zone)?))
    }
}

fn at(day: Date, minutes: u16, zone: &TimeZone) -> Option<i64> {
    let (day, minutes) = match minutes.checked_sub(DAY_MINUTES) {
        Some(rest) => (day.tomorrow().ok()?, rest),
        None => (day, minutes),
    };
    let (hour, minute) = (i8::try_from(minutes / 60).ok()?, i8::try_from(minutes % 60).ok()?);
    let zoned = day.at(hour, minute, 0, 0).to_zoned(zone.clone()).ok()?;
    Some(zoned.timestamp().as_millisecond())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ms(text: &str) -> i64 {
        text.parse::<Timestamp>().unwrap().as_millisecond()
    }

    fn schedule(days: &[usize], from: &str, to: &str) -> Schedule {
        let minutes = |text: &str| {
            let (hours, minutes) = text.split_once(':').unwrap();
            hours.parse::<u16>().unwrap() * 60 + minutes.parse::<u16>().unwrap()
        };
        let mut all = [false; 7];
        for day in days {
            all[*day] = true;
        }
        Schedule {
            days: all,
            from: minutes(from),
            to: minutes(to),
            time_zone: "Europe/Berlin".to_owned(),
            starts_at: ms("2026-01-01T00:00:00Z"),
            ends_at: ms("2027-01-01T00:00:00Z"),
        }
    }

    #[track_caller]
    fn check(schedule: &Schedule, now: &str, expected: &[(&str, &str)]) {
        let text = |ms| Timestamp::from_millisecond(ms).unwrap().to_string();
        let found = schedule.windows(ms(now));
        let found: Vec<_> = found.into_iter().map(|(a, b)| (text(a), text(b))).collect();
        let expected: Vec<_> = expected
            .iter()
            .map(|(a, b)| ((*a).to_owned(), (*b).to_owned()))
            .collect();
        assert_eq!(found.get(..expected.len()), Some(expected.as_slice()), "{found:?}");
    }

    #[test]
    fn the_window_that_is_on_comes_first_and_the_next_ones_follow() {
        // 2026-11-26 is a Thursday; Berlin is one hour ahead.
        let nights = schedule(&[3, 5], "22:00", "02:30");
        check(
            &nights,
            "2026-11-26T22:00:00Z",
            &[
                ("2026-11-26T21:00:00Z", "2026-11-27T01:30:00Z"),
                ("2026-11-28T21:00:00Z", "2026-11-29T01:30:00Z"),
                ("2026-12-03T21:00:00Z", "2026-12-04T01:30:00Z"),
            ],
        );
        // After midnight the one of yesterday is still on.
        check(
            &nights,
            "2026-11-27T01:29:59.999Z",
            &[("2026-11-26T21:00:00Z", "2026-11-27T01:30:00Z")],
        );
        check(
            &nights,
            "2026-11-27T01:30:00Z",
            &[("2026-11-28T21:00:00Z", "2026-11-29T01:30:00Z")],
        );
    }

    #[test]
    fn a_whole_day_ends_at_midnight() {
        let sunday = schedule(&[6], "00:00", "24:00");
        check(
            &sunday,
            "2026-11-26T00:00:00Z",
            &[("2026-11-28T23:00:00Z", "2026-11-29T23:00:00Z")],
        );
        let again = schedule(&[6], "09:00", "09:00");
        check(
            &again,
            "2026-11-26T00:00:00Z",
            &[("2026-11-29T08:00:00Z", "2026-11-30T08:00:00Z")],
        );
    }

    #[test]
    fn the_clock_on_the_wall_counts_over_its_changes() {
        // Summer time began on 2026-03-29 at 2:00, which became 3:00, and ended on 2026-10-25 at 3:00, which became 2:00.
        let daily = schedule(&[0, 1, 2, 3, 4, 5, 6], "09:00", "10:00");
        check(
            &daily,
            "2026-03-28T07:00:00Z",
            &[
                ("2026-03-28T08:00:00Z", "2026-03-28T09:00:00Z"),
                ("2026-03-29T07:00:00Z", "2026-03-29T08:00:00Z"),
            ],
        );
        // 2:30 does not exist that night: as much later, 3:30.
        let skipped = schedule(&[6], "02:30", "04:00");
        check(
            &skipped,
            "2026-03-28T12:00:00Z",
            &[("2026-03-29T01:30:00Z", "2026-03-29T02:00:00Z")],
        );
        // A window over the change is an hour shorter or longer.
        let over = schedule(&[6], "01:00", "05:00");
        check(
            &over,
            "2026-03-28T12:00:00Z",
            &[("2026-03-29T00:00:00Z", "2026-03-29T03:00:00Z")],
        );
        check(
            &over,
            "2026-10-24T12:00:00Z",
            &[("2026-10-24T23:00:00Z", "2026-10-25T04:00:00Z")],
        );
        // 2:30 comes twice: the first.
        let twice = schedule(&[6], "02:30", "04:00");
        check(
            &twice,
            "2026-10-24T12:00:00Z",
            &[("2026-10-25T00:30:00Z", "2026-10-25T03:00:00Z")],
        );
        // 2:45 becomes 3:45, after the end: nothing remains of that window.
        let swallowed = schedule(&[6], "02:45", "03:30");
        check(
            &swallowed,
            "2026-03-28T12:00:00Z",
            &[("2026-04-05T00:45:00Z", "2026-04-05T01:30:00Z")],
        );
    }

    #[test]
    fn it_begins_and_ends_when_it_is_told_to() {
        let mut daily = schedule(&[0, 1, 2, 3, 4, 5, 6], "09:00", "10:00");
        daily.starts_at = ms("2026-11-26T08:30:00Z");
        daily.ends_at = ms("2026-11-27T08:15:00Z");
        let found = daily.windows(ms("2026-11-20T00:00:00Z"));
        assert_eq!(found.len(), 2);
        check(
            &daily,
            "2026-11-20T00:00:00Z",
            &[
                ("2026-11-26T08:30:00Z", "2026-11-26T09:00:00Z"),
                ("2026-11-27T08:00:00Z", "2026-11-27T08:15:00Z"),
            ],
        );
        assert!(daily.windows(daily.ends_at).is_empty());
    }

    #[test]
    fn what_makes_no_sense_is_said() {
        let good = schedule(&[0], "09:00", "10:00");
        assert_eq!(good.fault(), None);
        let fault = |change: fn(&mut Schedule)| {
            let mut bad = good.clone();
            change(&mut bad);
            bad.fault().unwrap()
        };
        assert!(fault(|s| s.days = [false; 7]).contains("no day"));
        assert!(fault(|s| s.from = DAY_MINUTES).contains("time of day"));
        assert!(fault(|s| s.to = DAY_MINUTES + 1).contains("time of day"));
        assert!(fault(|s| s.ends_at = s.starts_at).contains("after its begin"));
        assert!(fault(|s| s.time_zone = "Europe/Nowhere".into()).contains("Europe/Nowhere"));
    }
}
