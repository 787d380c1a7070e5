//! Go's `time.Duration`.

use crate::value::{Object, Value};

/// A length of time in nanoseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Duration {
    /// Nanoseconds; may be negative.
    pub nanos: i64,
}

const SECOND: i64 = 1_000_000_000;

impl Duration {
    /// Of `nanos` nanoseconds.
    #[must_use]
    pub fn from_nanos(nanos: i64) -> Self {
        Self { nanos }
    }

    /// Of `ms` milliseconds; the longest duration where they are too many.
    #[must_use]
    pub fn from_ms(ms: i64) -> Self {
        Self {
            nanos: ms.saturating_mul(1_000_000),
        }
    }

    /// In seconds.
    #[must_use]
    pub fn seconds(self) -> f64 {
        self.nanos as f64 / 1e9
    }

    fn rounded_to(self, unit: i64, is_rounded: bool) -> Self {
        if unit <= 0 {
            return self;
        }
        let rest = self.nanos % unit;
        let down = self.nanos - rest;
        if !is_rounded || rest.unsigned_abs().saturating_mul(2) < unit.unsigned_abs() {
            return Self { nanos: down };
        }
        // Half is rounded away from zero.
        Self {
            nanos: down.saturating_add(if rest < 0 { -unit } else { unit }),
        }
    }
}

impl std::fmt::Display for Duration {
    /// As Go: `1h2m3.5s`, `1.5ms`, `0s`.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let size = self.nanos.unsigned_abs();
        let sign = if self.nanos < 0 { "-" } else { "" };
        let decimal = |value: u64, unit: u64| {
            let digits = unit.ilog10() as usize;
            let fraction = format!("{:0digits$}", value % unit);
            let fraction = if digits == 0 {
                ""
            } else {
                fraction.trim_end_matches('0')
            };
            let point = if fraction.is_empty() { "" } else { "." };
            format!("{}{point}{fraction}", value / unit)
        };
        let second = SECOND.unsigned_abs();
        match size {
            0 => f.write_str("0s"),
            1..1_000 => write!(f, "{sign}{size}ns"),
            1_000..1_000_000 => write!(f, "{sign}{}µs", decimal(size, 1_000)),
            _ if size < second => write!(f, "{sign}{}ms", decimal(size, 1_000_000)),
            _ => {
                let minutes = size / (60 * second);
                let seconds = decimal(size % (60 * second), second);
                match (minutes / 60, minutes % 60) {
                    (0, 0) => write!(f, "{sign}{seconds}s"),
                    (0, minutes) => write!(f, "{sign}{minutes}m{seconds}s"),
                    (hours, minutes) => write!(f, "{sign}{hours}h{minutes}m{seconds}s"),
                }
            }
        }
    }
}

/// The nanoseconds of an argument that is a duration or a whole number.
pub(super) fn nanos_of(value: &Value) -> Result<i64, String> {
    match value.plain() {
        Value::Int(nanos) => Ok(nanos),
        _ => Err(format!(
            "wrong type for value; expected time.Duration; got {}",
            value.type_name()
        )),
    }
}

impl Object for Duration {
    fn type_name(&self) -> &str {
        "time.Duration"
    }

    fn underlying(&self) -> Option<Value> {
        Some(Value::Int(self.nanos))
    }

    fn methods(&self) -> &[(&'static str, usize)] {
        &[
            ("Abs", 0),
            ("Hours", 0),
            ("Microseconds", 0),
            ("Milliseconds", 0),
            ("Minutes", 0),
            ("Nanoseconds", 0),
            ("Round", 1),
            ("Seconds", 0),
            ("String", 0),
            ("Truncate", 1),
        ]
    }

    fn call(&self, name: &str, args: &[Value]) -> Result<Value, String> {
        let unit = || args.first().map_or(Ok(0), nanos_of);
        Ok(match name {
            "Abs" => Value::object(Self {
                nanos: self.nanos.saturating_abs(),
            }),
            "Hours" => Value::Float(self.seconds() / 3600.0),
            "Minutes" => Value::Float(self.seconds() / 60.0),
            "Seconds" => Value::Float(self.seconds()),
            "Milliseconds" => Value::Int(self.nanos / 1_000_000),
            "Microseconds" => Value::Int(self.nanos / 1_000),
            "Nanoseconds" => Value::Int(self.nanos),
            "Round" => Value::object(self.rounded_to(unit()?, true)),
            "Truncate" => Value::object(self.rounded_to(unit()?, false)),
            _ => Value::from(self.to_string()),
        })
    }

    fn text(&self) -> Option<String> {
        Some(self.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_print_as_go_prints_them() {
        for (nanos, expected) in [
            (0, "0s"),
            (1, "1ns"),
            (1_500, "1.5µs"),
            (1_500_000, "1.5ms"),
            (1_800 * SECOND, "30m0s"),
            (3_661 * SECOND + 500_000_000, "1h1m1.5s"),
            (-90 * SECOND, "-1m30s"),
            (86_400 * SECOND, "24h0m0s"),
            (i64::MIN, "-2562047h47m16.854775808s"),
        ] {
            assert_eq!(Duration { nanos }.to_string(), expected);
        }
        let long = Duration {
            nanos: 90 * SECOND + 500_000_000,
        };
        assert_eq!(long.rounded_to(SECOND, true).to_string(), "1m31s");
        assert_eq!(long.rounded_to(60 * SECOND, false).to_string(), "1m0s");
    }
}
