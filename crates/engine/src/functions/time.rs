//! Dates, in UTC.

use cupola_promql::Call;

use crate::column::{Column, Vector};
use crate::error::QueryError;
use crate::eval::Evaluator;
use crate::grid::Grid;

/// A date and time in UTC.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Date {
    year: i64,
    month: i64,
    day: i64,
    // Days since the epoch, and the second of the day.
    days: i64,
    second: i64,
}

const SECONDS_A_DAY: i64 = 86_400;

// Go's calendar counts seconds from 292 billion years before, without a sign: what is earlier wraps around.
const FIRST_SECOND: i64 = -9_223_372_028_741_760_000;

impl Date {
    /// The date of a sample's value, seconds since the epoch. As Go converts on amd64: NaN and what does not fit is the
    /// smallest number there is.
    fn of_value(seconds: f64) -> Self {
        // 2^63.
        const END: f64 = 9_223_372_036_854_775_808.0;
        Self::of(if (-END..END).contains(&seconds) {
            seconds as i64
        } else {
            i64::MIN
        })
    }

    /// The date of `seconds` since the epoch.
    pub(crate) fn of(seconds: i64) -> Self {
        let (mut days, mut second) = (seconds.div_euclid(SECONDS_A_DAY), seconds.rem_euclid(SECONDS_A_DAY));
        if seconds < FIRST_SECOND {
            // 2^64 seconds are this many days and seconds.
            days += 213_503_982_334_601;
            second += 25_216;
            if second >= SECONDS_A_DAY {
                (days, second) = (days + 1, second - SECONDS_A_DAY);
            }
        }
        // Years are counted from March, so that the leap day is the last of the year; eras have 400 years.
        let shifted = days + 719_468;
        let era = shifted.div_euclid(146_097);
        let day_of_era = shifted.rem_euclid(146_097);
        let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
        let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
        let shifted_month = (5 * day_of_year + 2) / 153;
        let day = day_of_year - (153 * shifted_month + 2) / 5 + 1;
        let month = if shifted_month < 10 {
            shifted_month + 3
        } else {
            shifted_month - 9
        };
        let year = year_of_era + era * 400 + i64::from(month <= 2);
        Self {
            year,
            month,
            day,
            days,
            second,
        }
    }

    fn is_leap_year(self) -> bool {
        self.year % 4 == 0 && (self.year % 100 != 0 || self.year % 400 == 0)
    }

    fn days_in_month(self) -> i64 {
        match self.month {
            2 if self.is_leap_year() => 29,
            2 => 28,
            4 | 6 | 9 | 11 => 30,
            _ => 31,
        }
    }

    fn day_of_year(self) -> i64 {
        const BEFORE: [i64; 12] = [0, 31, 59, 90, 120, 151, 181, 212, 243, 273, 304, 334];
        let before = usize::try_from(self.month - 1)
            .ok()
            .and_then(|m| BEFORE.get(m))
            .copied()
            .unwrap_or(0);
        before + self.day + i64::from(self.month > 2 && self.is_leap_year())
    }
}

/// The part of a date that the function `name` gives.
pub(crate) fn part(name: &str) -> Option<fn(Date) -> i64> {
    Some(match name {
        "year" => |date| date.year,
        "month" => |date| date.month,
        "day_of_month" => |date| date.day,
        // The epoch was a Thursday; Sunday is 0.
        "day_of_week" => |date| (date.days + 4).rem_euclid(7),
        "day_of_year" => Date::day_of_year,
        "days_in_month" => Date::days_in_month,
        "hour" => |date| date.second / 3600,
        "minute" => |date| date.second % 3600 / 60,
        _ => return None,
    })
}

/// `2006-01-02T15:04:05Z`.
pub(crate) fn rfc3339(seconds: i64) -> String {
    let date = Date::of(seconds);
    let (hour, minute, second) = (date.second / 3600, date.second % 3600 / 60, date.second % 60);
    format!(
        "{:04}-{:02}-{:02}T{hour:02}:{minute:02}:{second:02}Z",
        date.year, date.month, date.day
    )
}

impl Evaluator<'_> {
    /// A part of the date of every value, or of the evaluation time where there is no argument.
    pub(crate) fn date(&mut self, call: &Call, grid: Grid, part: fn(Date) -> i64) -> Result<Vector, QueryError> {
        if call.args.is_empty() {
            let values = grid.times().map(|ms| part(Date::of(ms / 1000)) as f64).collect();
            return Ok(Self::single_row(Column::of(values)));
        }
        let mut vector = self.floats_arg(call, grid)?;
        for row in &mut vector.rows {
            row.column.map(|value| part(Date::of_value(value)) as f64);
            self.budget.work(grid.len())?;
        }
        self.drop_names(vector)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(seconds: i64, expected: [i64; 8]) {
        let names = [
            "year",
            "month",
            "day_of_month",
            "day_of_week",
            "day_of_year",
            "days_in_month",
            "hour",
            "minute",
        ];
        let got = names.map(|name| part(name).unwrap()(Date::of(seconds)));
        assert_eq!(got, expected, "{seconds}");
    }

    #[test]
    fn dates() {
        check(0, [1970, 1, 1, 4, 1, 31, 0, 0]);
        check(1_136_239_445, [2006, 1, 2, 1, 2, 31, 22, 4]);
        check(1_456_790_399, [2016, 2, 29, 1, 60, 29, 23, 59]);
        check(1_483_191_420, [2016, 12, 31, 6, 366, 31, 13, 37]);
        check(1_485_907_200, [2017, 2, 1, 3, 32, 28, 0, 0]);
        check(-1, [1969, 12, 31, 3, 365, 31, 23, 59]);
        // What is no date is one nevertheless, the same one as in Prometheus.
        let nonsense = Date::of(i64::MIN);
        for value in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY, 1e19, -1e300] {
            assert_eq!(Date::of_value(value), nonsense, "{value}");
        }
        check(i64::MIN, [292_277_026_596, 12, 4, 0, 339, 31, 15, 30]);
        assert_eq!(Date::of_value(-0.5), Date::of(0));
        assert_eq!(rfc3339(1_136_239_445), "2006-01-02T22:04:05Z");
    }
}
