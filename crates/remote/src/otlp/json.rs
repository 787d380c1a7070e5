//! OTLP's JSON, rewritten as protobuf while it is read: the one reader behind knows one form.
//!
//! What OpenTelemetry's own reader takes is taken: names in lowerCamelCase or as in the `.proto` files, numbers of 64
//! bits as text or as numbers, enumerations by number or by name, ids in hexadecimal digits; fields that are not known are
//! passed over. No more is in memory than the message that is made and the nested ones that are not finished.

use std::borrow::Cow;
use std::fmt;

use cupola_wire::{bytes, uvarint};
use serde::de::{DeserializeSeed, Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};

/// What a field holds, and how it is written.
#[derive(Clone, Copy)]
enum Kind {
    Text,
    Bool,
    /// 64 bits without a sign; fixed width.
    Fixed,
    /// 64 bits with a sign; fixed width.
    SignedFixed,
    /// 64 bits with a sign, as a varint.
    Int,
    /// 64 bits without a sign, as a varint.
    Unsigned,
    /// With a sign, zigzag.
    Zigzag,
    Double,
    /// In base64.
    Base64,
    /// In hexadecimal digits.
    Hex,
    Temporality,
    Message(&'static [Field]),
}

struct Field {
    /// As in JSON; the other name is made of it.
    name: &'static str,
    number: u8,
    kind: Kind,
    /// Whether it is a list; of numbers it is packed.
    is_list: bool,
}

const fn one(name: &'static str, number: u8, kind: Kind) -> Field {
    Field {
        name,
        number,
        kind,
        is_list: false,
    }
}

const fn list(name: &'static str, number: u8, kind: Kind) -> Field {
    Field {
        name,
        number,
        kind,
        is_list: true,
    }
}

use Kind::{Base64, Bool, Double, Fixed, Hex, Int, Message, SignedFixed, Temporality, Text, Unsigned, Zigzag};

static REQUEST: [Field; 1] = [list("resourceMetrics", 1, Message(&RESOURCE_METRICS))];
static RESOURCE_METRICS: [Field; 3] = [
    one("resource", 1, Message(&RESOURCE)),
    list("scopeMetrics", 2, Message(&SCOPE_METRICS)),
    one("schemaUrl", 3, Text),
];
static RESOURCE: [Field; 1] = [list("attributes", 1, Message(&KEY_VALUE))];
static KEY_VALUE: [Field; 2] = [one("key", 1, Text), one("value", 2, Message(&ANY_VALUE))];
static ANY_VALUE: [Field; 7] = [
    one("stringValue", 1, Text),
    one("boolValue", 2, Bool),
    one("intValue", 3, Int),
    one("doubleValue", 4, Double),
    one("arrayValue", 5, Message(&ARRAY)),
    one("kvlistValue", 6, Message(&KEY_VALUES)),
    one("bytesValue", 7, Base64),
];
static ARRAY: [Field; 1] = [list("values", 1, Message(&ANY_VALUE))];
static KEY_VALUES: [Field; 1] = [list("values", 1, Message(&KEY_VALUE))];
static SCOPE_METRICS: [Field; 3] = [
    one("scope", 1, Message(&SCOPE)),
    list("metrics", 2, Message(&METRIC)),
    one("schemaUrl", 3, Text),
];
static SCOPE: [Field; 3] = [
    one("name", 1, Text),
    one("version", 2, Text),
    list("attributes", 3, Message(&KEY_VALUE)),
];
static METRIC: [Field; 8] = [
    one("name", 1, Text),
    one("description", 2, Text),
    one("unit", 3, Text),
    one("gauge", 5, Message(&GAUGE)),
    one("sum", 7, Message(&SUM)),
    one("histogram", 9, Message(&HISTOGRAM)),
    one("exponentialHistogram", 10, Message(&EXPONENTIAL)),
    one("summary", 11, Message(&SUMMARY)),
];
static GAUGE: [Field; 1] = [list("dataPoints", 1, Message(&NUMBER_POINT))];
static SUM: [Field; 3] = [
    list("dataPoints", 1, Message(&NUMBER_POINT)),
    one("aggregationTemporality", 2, Temporality),
    one("isMonotonic", 3, Bool),
];
static HISTOGRAM: [Field; 2] = [
    list("dataPoints", 1, Message(&HISTOGRAM_POINT)),
    one("aggregationTemporality", 2, Temporality),
];
static EXPONENTIAL: [Field; 2] = [
    list("dataPoints", 1, Message(&EXPONENTIAL_POINT)),
    one("aggregationTemporality", 2, Temporality),
];
static SUMMARY: [Field; 1] = [list("dataPoints", 1, Message(&SUMMARY_POINT))];
static NUMBER_POINT: [Field; 7] = [
    list("attributes", 7, Message(&KEY_VALUE)),
    one("startTimeUnixNano", 2, Fixed),
    one("timeUnixNano", 3, Fixed),
    one("asDouble", 4, Double),
    one("asInt", 6, SignedFixed),
    list("exemplars", 5, Message(&EXEMPLAR)),
    one("flags", 8, Unsigned),
];
static HISTOGRAM_POINT: [Field; 9] = [
    list("attributes", 9, Message(&KEY_VALUE)),
    one("startTimeUnixNano", 2, Fixed),
    one("timeUnixNano", 3, Fixed),
    one("count", 4, Fixed),
    one("sum", 5, Double),
    list("bucketCounts", 6, Fixed),
    list("explicitBounds", 7, Double),
    list("exemplars", 8, Message(&EXEMPLAR)),
    one("flags", 10, Unsigned),
];
static EXPONENTIAL_POINT: [Field; 12] = [
    list("attributes", 1, Message(&KEY_VALUE)),
    one("startTimeUnixNano", 2, Fixed),
    one("timeUnixNano", 3, Fixed),
    one("count", 4, Fixed),
    one("sum", 5, Double),
    one("scale", 6, Zigzag),
    one("zeroCount", 7, Fixed),
    one("positive", 8, Message(&BUCKETS)),
    one("negative", 9, Message(&BUCKETS)),
    one("flags", 10, Unsigned),
    list("exemplars", 11, Message(&EXEMPLAR)),
    one("zeroThreshold", 14, Double),
];
static BUCKETS: [Field; 2] = [one("offset", 1, Zigzag), list("bucketCounts", 2, Unsigned)];
static SUMMARY_POINT: [Field; 7] = [
    list("attributes", 7, Message(&KEY_VALUE)),
    one("startTimeUnixNano", 2, Fixed),
    one("timeUnixNano", 3, Fixed),
    one("count", 4, Fixed),
    one("sum", 5, Double),
    list("quantileValues", 6, Message(&QUANTILE)),
    one("flags", 8, Unsigned),
];
static QUANTILE: [Field; 2] = [one("quantile", 1, Double), one("value", 2, Double)];
static EXEMPLAR: [Field; 6] = [
    list("filteredAttributes", 7, Message(&KEY_VALUE)),
    one("timeUnixNano", 2, Fixed),
    one("asDouble", 3, Double),
    one("asInt", 6, SignedFixed),
    one("spanId", 4, Hex),
    one("traceId", 5, Hex),
];

/// Rewrites an `ExportMetricsServiceRequest`.
///
/// # Errors
/// What is wrong with the text, with its line and column.
pub(super) fn to_protobuf(text: &[u8]) -> Result<Vec<u8>, serde_json::Error> {
    let mut out = Vec::with_capacity(text.len() / 2);
    let mut reader = serde_json::Deserializer::from_slice(text);
    Fields {
        fields: &REQUEST,
        out: &mut out,
    }
    .deserialize(&mut reader)?;
    reader.end()?;
    Ok(out)
}

// `name` as JSON has it, or with underscores.
fn is_named(field: &Field, name: &str) -> bool {
    if field.name == name {
        return true;
    }
    let mut rest = name.chars();
    for c in field.name.chars() {
        if c.is_ascii_uppercase() && rest.next() != Some('_') {
            return false;
        }
        if rest.next() != Some(c.to_ascii_lowercase()) {
            return false;
        }
    }
    rest.next().is_none()
}

// A message: its fields are written to `out`. `null` is an empty one.
struct Fields<'o> {
    fields: &'static [Field],
    out: &'o mut Vec<u8>,
}

impl<'de> DeserializeSeed<'de> for Fields<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, reader: D) -> Result<(), D::Error> {
        reader.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Fields<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_unit<E: Error>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        while let Some(name) = map.next_key::<Cow<'_, str>>()? {
            match self.fields.iter().find(|field| is_named(field, &name)) {
                Some(field) if field.is_list => map.next_value_seed(List { field, out: self.out })?,
                Some(field) => map.next_value_seed(One {
                    kind: field.kind,
                    number: Some(field.number),
                    out: self.out,
                })?,
                None => {
                    map.next_value::<IgnoredAny>()?;
                }
            }
        }
        Ok(())
    }
}

// A list; of messages each is a field, numbers are packed into one.
struct List<'o> {
    field: &'static Field,
    out: &'o mut Vec<u8>,
}

impl<'de> DeserializeSeed<'de> for List<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, reader: D) -> Result<(), D::Error> {
        reader.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for List<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a list for {:?}", self.field.name)
    }

    fn visit_unit<E: Error>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut all: A) -> Result<(), A::Error> {
        let mut packed = Vec::new();
        let is_message = matches!(self.field.kind, Message(_));
        loop {
            let one = One {
                kind: self.field.kind,
                number: is_message.then_some(self.field.number),
                out: if is_message { &mut *self.out } else { &mut packed },
            };
            if all.next_element_seed(one)?.is_none() {
                break;
            }
        }
        if !packed.is_empty() {
            bytes(self.out, self.field.number, &packed);
        }
        Ok(())
    }
}

// One value; without a number it is one of those that are packed.
struct One<'o> {
    kind: Kind,
    number: Option<u8>,
    out: &'o mut Vec<u8>,
}

impl One<'_> {
    fn key(&mut self, wire: u8) {
        if let Some(number) = self.number {
            self.out.push(number << 3 | wire);
        }
    }

    fn varint(mut self, value: u64) {
        self.key(0);
        uvarint(self.out, value);
    }

    fn fixed(mut self, bits: u64) {
        self.key(1);
        self.out.extend(bits.to_le_bytes());
    }

    fn whole<E: Error>(self, value: i128) -> Result<(), E> {
        let out_of = || E::custom(format_args!("{value} is out of range"));
        match self.kind {
            Fixed => self.fixed(u64::try_from(value).map_err(|_| out_of())?),
            SignedFixed => self.fixed(i64::try_from(value).map_err(|_| out_of())? as u64),
            Int => self.varint(i64::try_from(value).map_err(|_| out_of())? as u64),
            Unsigned | Temporality => self.varint(u64::try_from(value).map_err(|_| out_of())?),
            Zigzag => {
                let value = i32::try_from(value).map_err(|_| out_of())?;
                self.varint(u64::from((value << 1 ^ value >> 31) as u32));
            }
            Double => self.fixed((value as f64).to_bits()),
            Text | Bool | Base64 | Hex | Message(_) => return Err(E::custom("a number is not expected here")),
        }
        Ok(())
    }
}

impl<'de> DeserializeSeed<'de> for One<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, reader: D) -> Result<(), D::Error> {
        match self.kind {
            Message(fields) => {
                let mut message = Vec::new();
                Fields {
                    fields,
                    out: &mut message,
                }
                .deserialize(reader)?;
                // An empty message is one all the same: a metric is known by it.
                bytes(self.out, self.number.unwrap_or(1), &message);
                Ok(())
            }
            _ => reader.deserialize_any(self),
        }
    }
}

impl<'de> Visitor<'de> for One<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.kind {
            Text => "a text",
            Bool => "true or false",
            Base64 => "bytes in base64",
            Hex => "an id in hexadecimal digits",
            Temporality => "an aggregation temporality",
            _ => "a number",
        })
    }

    // As if it were not there.
    fn visit_unit<E: Error>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<(), E> {
        match self.kind {
            Bool => self.varint(value.into()),
            _ => return Err(E::custom("true and false are not expected here")),
        }
        Ok(())
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<(), E> {
        self.whole(value.into())
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<(), E> {
        self.whole(value.into())
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<(), E> {
        match self.kind {
            Double => self.fixed(value.to_bits()),
            _ => return Err(E::custom(format_args!("{value} is not a whole number"))),
        }
        Ok(())
    }

    fn visit_str<E: Error>(self, value: &str) -> Result<(), E> {
        let not = |what: &str| E::custom(format_args!("{value:?} is not {what}"));
        match self.kind {
            Text => bytes(self.out, self.number.unwrap_or(1), value.as_bytes()),
            Base64 => {
                let decoded = base64(value).ok_or_else(|| not("base64"))?;
                bytes(self.out, self.number.unwrap_or(1), &decoded);
            }
            Hex => {
                let decoded = hex(value).ok_or_else(|| not("an id in hexadecimal digits"))?;
                bytes(self.out, self.number.unwrap_or(1), &decoded);
            }
            Temporality => {
                let number = match value {
                    "AGGREGATION_TEMPORALITY_UNSPECIFIED" => 0,
                    "AGGREGATION_TEMPORALITY_DELTA" => 1,
                    "AGGREGATION_TEMPORALITY_CUMULATIVE" => 2,
                    _ => return Err(not("an aggregation temporality")),
                };
                self.varint(number);
            }
            Double => {
                let value = match value {
                    "Infinity" => f64::INFINITY,
                    "-Infinity" => f64::NEG_INFINITY,
                    "NaN" => f64::NAN,
                    text => text.parse().map_err(|_| not("a number"))?,
                };
                self.fixed(value.to_bits());
            }
            Fixed | SignedFixed | Int | Unsigned | Zigzag => {
                let number = value.parse().map_err(|_| not("a whole number"))?;
                return self.whole(number);
            }
            Bool | Message(_) => return Err(not("expected here")),
        }
        Ok(())
    }
}

fn hex(text: &str) -> Option<Vec<u8>> {
    let digits: Option<Vec<u8>> = text.chars().map(|c| c.to_digit(16).map(|digit| digit as u8)).collect();
    let (pairs, rest) = digits.as_deref()?.as_chunks::<2>();
    rest.is_empty()
        .then(|| pairs.iter().map(|[high, low]| high << 4 | low).collect())
}

// With or without padding, in either alphabet.
fn base64(text: &str) -> Option<Vec<u8>> {
    let text = text.trim_end_matches('=');
    let (mut word, mut bits) = (0_u32, 0);
    let mut out = Vec::with_capacity(text.len() / 4 * 3);
    for byte in text.bytes() {
        let digit = match byte {
            b'A'..=b'Z' => byte - b'A',
            b'a'..=b'z' => byte - b'a' + 26,
            b'0'..=b'9' => byte - b'0' + 52,
            b'+' | b'-' => 62,
            b'/' | b'_' => 63,
            _ => return None,
        };
        word = word << 6 | u32::from(digit);
        bits += 6;
        if bits >= 8 {
            bits -= 8;
            out.push((word >> bits) as u8);
        }
    }
    Some(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_known_by_both_names() {
        for name in ["timeUnixNano", "time_unix_nano"] {
            assert!(is_named(&NUMBER_POINT[2], name), "{name}");
        }
        for name in ["timeunixnano", "time_unix_nanos", "time_unix", "TimeUnixNano", ""] {
            assert!(!is_named(&NUMBER_POINT[2], name), "{name}");
        }
    }

    #[test]
    fn values_of_every_kind_become_those_of_protobuf() {
        let point = |json: &str| {
            let text = format!(
                "{{\"resourceMetrics\":[{{\"scopeMetrics\":[{{\"metrics\":[{{\"gauge\":{{\"dataPoints\":[{json}]}}}}]}}]}}]}}"
            );
            to_protobuf(text.as_bytes())
                .map(|bytes| bytes[10..].to_vec())
                .map_err(|error| error.to_string())
        };
        let word = |number: u8, bits: u64| [&[number << 3 | 1][..], &bits.to_le_bytes()].concat();
        for (json, expected) in [
            (r#"{"timeUnixNano":"5"}"#, word(3, 5)),
            (r#"{"time_unix_nano":5}"#, word(3, 5)),
            (r#"{"asInt":"-1"}"#, word(6, u64::MAX)),
            (r#"{"asDouble":1}"#, word(4, 1.0_f64.to_bits())),
            (r#"{"asDouble":"Infinity"}"#, word(4, f64::INFINITY.to_bits())),
            (r#"{"asDouble":null,"other":[{"a":1}],"flags":1}"#, vec![8 << 3, 1]),
            (
                r#"{"attributes":[{"key":"a","value":{"boolValue":true}}]}"#,
                vec![7 << 3 | 2, 7, 10, 1, b'a', 18, 2, 16, 1],
            ),
            (
                r#"{"exemplars":[{"spanId":"0AFF"}]}"#,
                vec![5 << 3 | 2, 4, 4 << 3 | 2, 2, 10, 255],
            ),
            (
                r#"{"attributes":[{"value":{"bytesValue":"YWI="}}]}"#,
                vec![7 << 3 | 2, 6, 18, 4, 58, 2, b'a', b'b'],
            ),
        ] {
            let got = point(json).unwrap();
            assert_eq!(got, expected, "{json}");
        }
        for (json, error) in [
            (r#"{"timeUnixNano":-1}"#, "-1 is out of range"),
            (r#"{"timeUnixNano":1.5}"#, "1.5 is not a whole number"),
            (r#"{"asInt":"x"}"#, "\"x\" is not a whole number"),
            (
                r#"{"attributes":{}}"#,
                "invalid type: map, expected a list for \"attributes\"",
            ),
            (
                r#"{"exemplars":[{"traceId":"0"}]}"#,
                "\"0\" is not an id in hexadecimal digits",
            ),
            (r#"{"attributes":[{"key":1}]}"#, "a number is not expected here"),
        ] {
            let told = point(json).unwrap_err();
            assert!(told.starts_with(error), "{json}: {told}");
            assert!(told.contains("line 1 column"), "{told}");
        }
        assert!(to_protobuf(b"{} x").is_err());
        assert_eq!(to_protobuf(b"{}").unwrap(), b"");
    }

    #[test]
    fn no_text_makes_it_panic() {
        let whole = br#"{"resourceMetrics":[{"resource":{"attributes":[{"key":"a","value":{"arrayValue":{"values":[{"intValue":"1"},{"kvlistValue":{"values":[{"key":"k","value":{"doubleValue":1e3}}]}}]}}}]},"scopeMetrics":[{"metrics":[{"name":"m","exponentialHistogram":{"aggregationTemporality":2,"dataPoints":[{"scale":-1,"count":"3","positive":{"offset":2,"bucketCounts":["1",2]}}]}}]}]}]}"#;
        cupola_testkit::fuzz(
            20_000,
            &[whole.to_vec()],
            &["\":", "null", "[", "{", "\"1\""],
            |bytes| {
                if let Ok(message) = to_protobuf(bytes) {
                    // Nothing is written but well-formed fields.
                    assert!(cupola_wire::Fields(&message).all(|field| field.is_ok()));
                }
            },
        );
    }
}
