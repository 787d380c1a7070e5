//! The Gregorian calendar, before and after its invention, as Go counts it.

/// A day and time of day, without a zone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Civil {
    pub year: i64,
    /// 1 to 12.
    pub month: u32,
    /// 1 to 31.
    pub day: u32,
    pub hour: u32,
    pub minute: u32,
    pub second: u32,
    /// 0 is Sunday.
    pub weekday: u32,
    /// 1 to 366.
    pub year_day: u32,
}

const DAY: i64 = 86_400;
// Days from the first of March of the year 0 to the epoch; years counted from March end with their leap day.
const MARCH_0_TO_EPOCH: i64 = 719_468;
const DAYS_400_YEARS: i64 = 146_097;

impl Civil {
    /// The date and time of `seconds` since the epoch, the offset of the zone added already.
    pub fn from_seconds(seconds: i64) -> Self {
        let days = seconds.div_euclid(DAY);
        let of_day = u32::try_from(seconds.rem_euclid(DAY)).unwrap_or(0);
        let since_march_0 = days + MARCH_0_TO_EPOCH;
        let era = since_march_0.div_euclid(DAYS_400_YEARS);
        let in_era = since_march_0.rem_euclid(DAYS_400_YEARS);
        // Takes out the leap days before dividing by plain years.
        let year_of_era = (in_era - in_era / 1460 + in_era / 36_524 - in_era / 146_096) / 365;
        let from_march = in_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
        let month_from_march = (5 * from_march + 2) / 153;
        let day = from_march - (153 * month_from_march + 2) / 5 + 1;
        let month = if month_from_march < 10 {
            month_from_march + 3
        } else {
            month_from_march - 9
        };
        let year = year_of_era + era * 400 + i64::from(month <= 2);
        let month = u32::try_from(month).unwrap_or(1);
        let first = days_from_civil(year, 1, 1);
        Self {
            year,
            month,
            day: u32::try_from(day).unwrap_or(1),
            hour: of_day / 3600,
            minute: of_day / 60 % 60,
            second: of_day % 60,
            // The epoch was a Thursday.
            weekday: u32::try_from((days + 4).rem_euclid(7)).unwrap_or(0),
            year_day: u32::try_from(days - first + 1).unwrap_or(1),
        }
    }
}

fn days_from_civil(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let year_of_era = year.rem_euclid(400);
    let month_from_march = (month + 9) % 12;
    let from_march = (153 * month_from_march + 2) / 5 + day - 1;
    era * DAYS_400_YEARS + year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + from_march - MARCH_0_TO_EPOCH
}

/// Seconds since the epoch of a date and a time of day in UTC. Months and days beyond their range run over into the
/// next, as in Go's `time.Date`.
pub(crate) fn unix_seconds(year: i64, month: i64, day: i64, seconds_of_day: i64) -> i64 {
    let month0 = month - 1;
    let year = year.saturating_add(month0.div_euclid(12));
    // Beyond this no time can be told; keeps the sums below from overflowing.
    let year = year.clamp(-200_000_000, 200_000_000);
    let first = days_from_civil(year, month0.rem_euclid(12) + 1, 1);
    first
        .saturating_add(day - 1)
        .saturating_mul(DAY)
        .saturating_add(seconds_of_day)
}

/// How many days the month (1 to 12) has.
pub(crate) fn days_in_month(year: i64, month: u32) -> u32 {
    match month {
        2 if year % 4 == 0 && (year % 100 != 0 || year % 400 == 0) => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_and_seconds_agree() {
        for (seconds, year, month, day, weekday, year_day) in [
            (0, 1970, 1, 1, 4, 1),
            (951_782_400, 2000, 2, 29, 2, 60),
            (-62_135_596_800, 1, 1, 1, 1, 1),
            (1_714_557_600, 2024, 5, 1, 3, 122),
            (-1, 1969, 12, 31, 3, 365),
        ] {
            let civil = Civil::from_seconds(seconds);
            assert_eq!((civil.year, civil.month, civil.day), (year, month, day));
            assert_eq!((civil.weekday, civil.year_day), (weekday, year_day));
            let of_day = seconds.rem_euclid(86_400);
            assert_eq!(unix_seconds(year, i64::from(month), i64::from(day), of_day), seconds);
        }
        assert_eq!(unix_seconds(2024, 14, 31, 0), unix_seconds(2025, 3, 3, 0));
    }
}
