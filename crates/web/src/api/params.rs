//! Parameters of a request: the URL's query and, for POST, the form in the body.

use cupola_model::{go_quote, parse_duration};

use super::json::ApiError;

/// The parameters by name; a name may come several times.
#[derive(Debug, Clone, Default)]
pub(crate) struct Params(Vec<(String, String)>);

impl Params {
    /// Reads `a=b&c=d` with percent-encoding; the form of a POST comes before the URL's query, as in Go.
    pub(crate) fn parse(query: &str, form: &str) -> Self {
        let parts = form.split('&').chain(query.split('&')).filter(|p| !p.is_empty());
        let pair = |part: &str| {
            let (name, value) = part.split_once('=').unwrap_or((part, ""));
            (decode(name), decode(value))
        };
        Self(parts.map(pair).collect())
    }

    /// The first value of `name`; `""` where there is none.
    pub(crate) fn get(&self, name: &str) -> &str {
        self.0.iter().find(|(n, _)| n == name).map_or("", |(_, v)| v.as_str())
    }

    /// All values of `name`.
    pub(crate) fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        self.0.iter().filter(move |(n, _)| n == name).map(|(_, v)| v.as_str())
    }

    /// All names and values.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(n, v)| (n.as_str(), v.as_str()))
    }

    /// A time in milliseconds; `absent` where the parameter is not given.
    pub(crate) fn time(&self, name: &str, absent: i64) -> Result<i64, ApiError> {
        match self.get(name) {
            "" => Ok(absent),
            text => parse_time(text).ok_or_else(|| {
                let reason = format!("invalid time value for '{name}': {}", no_timestamp(text));
                ApiError::param(name, reason)
            }),
        }
    }

    /// A time in milliseconds that must be given.
    pub(crate) fn needed_time(&self, name: &str) -> Result<i64, ApiError> {
        let text = self.get(name);
        parse_time(text).ok_or_else(|| ApiError::param(name, no_timestamp(text)))
    }

    /// A duration in milliseconds that must be given.
    pub(crate) fn needed_duration(&self, name: &str) -> Result<i64, ApiError> {
        let text = self.get(name);
        parse_step(text).ok_or_else(|| ApiError::param(name, no_duration(text)))
    }

    /// A duration in milliseconds; `None` where the parameter is not given.
    pub(crate) fn duration(&self, name: &str) -> Result<Option<i64>, ApiError> {
        if self.get(name).is_empty() {
            Ok(None)
        } else {
            self.needed_duration(name).map(Some)
        }
    }

    /// A limit; 0 means none.
    pub(crate) fn limit(&self) -> Result<usize, ApiError> {
        let text = self.get("limit");
        if text.is_empty() {
            return Ok(0);
        }
        match parse_int(text) {
            Ok(limit) => usize::try_from(limit).map_err(|_| ApiError::param("limit", "limit must be non-negative")),
            Err(reason) => Err(ApiError::param("limit", reason)),
        }
    }
}

/// An integer; the error is Go's.
pub(crate) fn parse_int(text: &str) -> Result<i64, String> {
    text.parse::<i64>().map_err(|e| {
        let reason = match e.kind() {
            std::num::IntErrorKind::PosOverflow | std::num::IntErrorKind::NegOverflow => "value out of range",
            _ => "invalid syntax",
        };
        format!("strconv.Atoi: parsing {}: {reason}", go_quote(text))
    })
}

/// A truth value as Go's `strconv.ParseBool` reads it; the error is Go's.
pub(crate) fn parse_bool(text: &str) -> Result<bool, String> {
    match text {
        "1" | "t" | "T" | "true" | "TRUE" | "True" => Ok(true),
        "0" | "f" | "F" | "false" | "FALSE" | "False" => Ok(false),
        _ => Err(format!("strconv.ParseBool: parsing {}: invalid syntax", go_quote(text))),
    }
}

fn no_timestamp(text: &str) -> String {
    format!("cannot parse {} to a valid timestamp", go_quote(text))
}

fn no_duration(text: &str) -> String {
    format!("cannot parse {} to a valid duration", go_quote(text))
}

// Farther from the epoch than 280,000 years no time is taken, so that adding ranges and offsets cannot overflow.
const FARTHEST_MS: f64 = 9e15;

// Seconds since the epoch with a fraction, or RFC 3339, or the two bounds that Prometheus's own clients send.
fn parse_time(text: &str) -> Option<i64> {
    if let Ok(seconds) = text.parse::<f64>() {
        let ms = (seconds * 1000.0).round();
        return (ms.abs() <= FARTHEST_MS).then_some(ms as i64);
    }
    match text {
        "-292273086-05-16T16:47:06Z" => Some(-FARTHEST_MS as i64),
        "292277025-08-18T07:12:54.999999999Z" => Some(FARTHEST_MS as i64),
        _ => text
            .parse::<jiff::Timestamp>()
            .ok()
            .map(jiff::Timestamp::as_millisecond),
    }
}

fn parse_step(text: &str) -> Option<i64> {
    if let Ok(seconds) = text.parse::<f64>() {
        let ms = seconds * 1000.0;
        return (ms.abs() <= FARTHEST_MS).then_some(ms as i64);
    }
    parse_duration(text).ok()
}

/// Takes the percent-encoding off a part of a path, where a plus sign stands for itself.
pub(crate) fn decode_path(part: &str) -> String {
    decode(&part.replace('+', "%2B"))
}

fn decode(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        match byte {
            b'+' => bytes.push(b' '),
            b'%' => {
                let mut ahead = rest.clone();
                let digit = |b: Option<u8>| b.and_then(|b| char::from(b).to_digit(16));
                match (digit(ahead.next()), digit(ahead.next())) {
                    (Some(high), Some(low)) => {
                        bytes.push((high * 16 + low) as u8);
                        rest = ahead;
                    }
                    _ => bytes.push(b'%'),
                }
            }
            byte => bytes.push(byte),
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_are_decoded_and_the_form_comes_first() {
        let params = Params::parse("query=up&match[]=a&match%5B%5D=b", "query=sum%28x%29+%2B+1");
        assert_eq!(params.get("query"), "sum(x) + 1");
        assert_eq!(params.all("match[]").collect::<Vec<_>>(), ["a", "b"]);
        assert_eq!(params.get("nope"), "");
    }

    #[test]
    fn times_are_seconds_or_rfc3339() {
        let time = |text: &str| Params::parse(&format!("time={text}"), "").time("time", 7);
        assert_eq!(time("1.5").unwrap(), 1500);
        assert_eq!(time("1970-01-01T00:00:01Z").unwrap(), 1000);
        assert_eq!(Params::default().time("time", 7).unwrap(), 7);
        assert_eq!(
            time("abc").unwrap_err().message,
            "invalid parameter \"time\": invalid time value for 'time': cannot parse \"abc\" to a valid timestamp"
        );
    }

    #[test]
    fn steps_are_seconds_or_durations() {
        let step = |text: &str| Params::parse(&format!("step={text}"), "").duration("step");
        assert_eq!(step("15").unwrap(), Some(15_000));
        assert_eq!(step("1m30s").unwrap(), Some(90_000));
        assert_eq!(step("").unwrap(), None);
        for text in ["x", "NaN", "1e30", "-inf"] {
            let message = step(text).unwrap_err().message;
            assert_eq!(
                message,
                format!("invalid parameter \"step\": cannot parse \"{text}\" to a valid duration")
            );
        }
    }

    #[test]
    fn limits_are_whole_numbers_from_zero_on() {
        let limit = |text: &str| Params::parse(&format!("limit={text}"), "").limit();
        assert_eq!(limit("").unwrap(), 0);
        assert_eq!(limit("7").unwrap(), 7);
        assert_eq!(
            limit("-1").unwrap_err().message,
            "invalid parameter \"limit\": limit must be non-negative"
        );
        assert_eq!(
            limit("x").unwrap_err().message,
            "invalid parameter \"limit\": strconv.Atoi: parsing \"x\": invalid syntax"
        );
        assert_eq!(
            limit("99999999999999999999").unwrap_err().message,
            "invalid parameter \"limit\": strconv.Atoi: parsing \"99999999999999999999\": value out of range"
        );
    }

    #[test]
    fn any_bytes_make_parameters() {
        let corpus = [
            "query=up&time=1.5",
            "match%5B%5D=%7Ba%3D%22b%22%7D",
            "a=%&b=%zz&=&%=%",
            "start=-1e400&step=1h",
        ];
        let corpus: Vec<Vec<u8>> = corpus.iter().map(|s| s.as_bytes().to_vec()).collect();
        cupola_testkit::fuzz(
            20_000,
            &corpus,
            &["%", "&", "=", "time", "step", "limit", "+", "9e99"],
            |input| {
                let params = Params::parse(&String::from_utf8_lossy(input), "");
                let _ = (
                    params.time("time", 0),
                    params.duration("step"),
                    params.limit(),
                    params.needed_time("start"),
                );
                assert!(params.all("match[]").count() <= input.len());
            },
        );
    }
}
