//! One value under one verb.

use cupola_model::go_quote;

use super::TooLong;
use super::float::format_float;
use crate::value::Value;

/// What stands between `%` and the verb.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Flags {
    pub sharp: bool,
    pub zero: bool,
    pub plus: bool,
    pub minus: bool,
    pub space: bool,
    pub sharp_v: bool,
    pub plus_v: bool,
    pub width: Option<usize>,
    pub precision: Option<usize>,
}

/// Collects text up to a limit; past it, nothing more is written and the end is [`TooLong`].
pub(super) struct Printer {
    out: String,
    limit: usize,
    is_full: bool,
    depth: usize,
    pub flags: Flags,
}

// Values nest no deeper than the executor allows, but objects may name each other.
const MAX_DEPTH: usize = 100;

impl Printer {
    pub fn new(limit: usize) -> Self {
        Self {
            out: String::new(),
            limit,
            is_full: false,
            depth: 0,
            flags: Flags::default(),
        }
    }

    pub fn is_full(&self) -> bool {
        self.is_full
    }

    pub fn finish(self) -> Result<String, TooLong> {
        if self.is_full { Err(TooLong) } else { Ok(self.out) }
    }

    pub fn push(&mut self, text: &str) {
        if self.is_full || self.out.len() + text.len() > self.limit {
            self.is_full = true;
        } else {
            self.out.push_str(text);
        }
    }

    pub fn push_char(&mut self, c: char) {
        self.push(c.encode_utf8(&mut [0; 4]));
    }

    // Pads `text` to the width: left with zeros only where `may_zero`.
    fn pad(&mut self, text: &str, may_zero: bool) {
        let width = self.flags.width.unwrap_or(0);
        let fill = width.saturating_sub(text.chars().count());
        if fill == 0 {
            self.push(text);
        } else if self.flags.minus {
            self.push(text);
            self.push(&" ".repeat(fill));
        } else {
            let with = if self.flags.zero && may_zero { "0" } else { " " };
            self.push(&with.repeat(fill));
            self.push(text);
        }
    }

    /// Prints `value` under `verb` with the current flags.
    pub fn print(&mut self, value: &Value, verb: char) {
        if self.is_full {
            return;
        }
        if self.depth > MAX_DEPTH {
            self.is_full = true;
            return;
        }
        self.depth += 1;
        match (value, verb) {
            (Value::Nil, 'T' | 'v') => self.pad("<nil>", true),
            (Value::Nil, _) => self.bad_verb(value, verb),
            (_, 'T') => self.string(&value.type_name(), 's', value),
            (_, 'p') => self.bad_verb(value, verb),
            (Value::Bool(flag), 't' | 'v') => self.pad(if *flag { "true" } else { "false" }, true),
            (Value::Int(number), _) => self.integer(number.unsigned_abs(), *number < 0, verb, value),
            (Value::Uint(number), 'v') if self.flags.sharp_v => {
                self.flags.sharp = true;
                self.integer(*number, false, 'x', value);
            }
            (Value::Uint(number), _) => self.integer(*number, false, verb, value),
            (Value::Float(number), _) => self.float(*number, verb, value),
            (Value::Str(text), _) => self.string(text, verb, value),
            (Value::List(list), _) => {
                let (open, close) = if self.flags.sharp_v { ("{", "}") } else { ("[", "]") };
                if self.flags.sharp_v {
                    self.push(&value.type_name());
                }
                let comma = if self.flags.sharp_v { ", " } else { " " };
                self.push(open);
                for (i, item) in list.items().iter().enumerate() {
                    if i > 0 {
                        self.push(comma);
                    }
                    self.inner(item, verb);
                }
                self.push(close);
            }
            (Value::Map(map), _) => {
                let (open, close) = if self.flags.sharp_v { ("{", "}") } else { ("map[", "]") };
                if self.flags.sharp_v {
                    self.push(&value.type_name());
                }
                let comma = if self.flags.sharp_v { ", " } else { " " };
                self.push(open);
                for (i, (key, item)) in map.entries().iter().enumerate() {
                    if i > 0 {
                        self.push(comma);
                    }
                    self.inner(&Value::Str(key.clone()), verb);
                    self.push(":");
                    self.inner(item, verb);
                }
                self.push(close);
            }
            (Value::Object(_), _) => self.object(value, verb),
            (Value::Bool(_) | Value::Func(_), _) => self.bad_verb(value, verb),
        }
        self.depth -= 1;
    }

    // An element of a list, map or struct: no value prints `<nil>` whatever the verb.
    fn inner(&mut self, value: &Value, verb: char) {
        if matches!(value, Value::Nil) {
            self.push(if self.flags.sharp_v {
                "interface {}(nil)"
            } else {
                "<nil>"
            });
        } else {
            self.print(value, verb);
        }
    }

    fn object(&mut self, value: &Value, verb: char) {
        let Value::Object(object) = value else { return };
        // Go asks the String method only for verbs that are good for strings.
        if matches!(verb, 'v' | 's' | 'x' | 'X' | 'q')
            && !self.flags.sharp_v
            && let Some(text) = object.text()
        {
            return self.string(&text, verb, value);
        }
        if let Some(plain) = object.underlying() {
            if self.flags.sharp_v && matches!(plain, Value::List(_) | Value::Map(_)) {
                // Only the name of the type differs: `template.KV{…}`.
                let before = self.out.len();
                self.print(&plain, verb);
                let skip = plain.type_name().len();
                if !self.is_full && self.out.is_char_boundary(before + skip) {
                    self.out.replace_range(before..before + skip, object.type_name());
                }
                return;
            }
            // A wrong verb names the object's type, not that of the plain value.
            match plain {
                Value::Int(number) => return self.integer(number.unsigned_abs(), number < 0, verb, value),
                Value::Str(text) => return self.string(&text, verb, value),
                Value::Float(number) => return self.float(number, verb, value),
                plain => return self.print(&plain, verb),
            }
        }
        if self.flags.sharp_v {
            self.push(object.type_name());
        }
        let comma = if self.flags.sharp_v { ", " } else { " " };
        self.push("{");
        for (i, field) in object.fields().iter().enumerate() {
            if i > 0 {
                self.push(comma);
            }
            if self.flags.plus_v || self.flags.sharp_v {
                self.push(field.name);
                self.push(":");
            }
            self.inner(&object.field(field.name).unwrap_or_default(), verb);
        }
        self.push("}");
    }

    fn bad_verb(&mut self, value: &Value, verb: char) {
        self.push("%!");
        self.push_char(verb);
        self.push("(");
        if matches!(value, Value::Nil) {
            self.push("<nil>");
        } else {
            self.push(&value.type_name());
            self.push("=");
            // A wrong verb on a value that cannot be printed at all would come back here.
            if matches!(value, Value::Func(_)) {
                self.push("func")
            } else {
                self.print(value, 'v')
            }
        }
        self.push(")");
    }

    fn integer(&mut self, size: u64, is_negative: bool, verb: char, value: &Value) {
        let (radix, is_upper) = match verb {
            'v' | 'd' => (10, false),
            'b' => (2, false),
            'o' | 'O' => (8, false),
            'x' => (16, false),
            'X' => (16, true),
            'c' | 'q' | 'U' => return self.character(size, is_negative, verb),
            _ => return self.bad_verb(value, verb),
        };
        let flags = self.flags;
        let mut digits = match radix {
            2 => format!("{size:b}"),
            8 => format!("{size:o}"),
            16 if is_upper => format!("{size:X}"),
            16 => format!("{size:x}"),
            _ => size.to_string(),
        };
        let has_sign = is_negative || flags.plus || flags.space;
        let least = match (flags.precision, flags.width) {
            // No precision, no value: only padding.
            (Some(0), _) if size == 0 => {
                self.flags.zero = false;
                self.pad("", false);
                self.flags = flags;
                return;
            }
            (Some(precision), _) => precision,
            (None, Some(width)) if flags.zero && !flags.minus => width.saturating_sub(usize::from(has_sign)),
            _ => 0,
        };
        if digits.len() < least {
            digits.insert_str(0, &"0".repeat(least - digits.len()));
        }
        if flags.sharp {
            match verb {
                'b' => digits.insert_str(0, "0b"),
                'o' if !digits.starts_with('0') => digits.insert(0, '0'),
                'x' => digits.insert_str(0, "0x"),
                'X' => digits.insert_str(0, "0X"),
                _ => {}
            }
        }
        if verb == 'O' {
            digits.insert_str(0, "0o");
        }
        if has_sign {
            digits.insert(
                0,
                if is_negative {
                    '-'
                } else if flags.plus {
                    '+'
                } else {
                    ' '
                },
            );
        }
        self.pad(&digits, false);
    }

    fn character(&mut self, size: u64, is_negative: bool, verb: char) {
        let code = u32::try_from(size)
            .ok()
            .filter(|_| !is_negative)
            .and_then(char::from_u32);
        let c = code.unwrap_or(char::REPLACEMENT_CHARACTER);
        match verb {
            'c' => self.pad(c.encode_utf8(&mut [0; 4]), true),
            'q' => {
                let quoted = match c {
                    '\'' => "'\\''".to_owned(),
                    '"' => "'\"'".to_owned(),
                    c => {
                        let quoted = go_quote(c.encode_utf8(&mut [0; 4]));
                        format!("'{}'", quoted.trim_start_matches('"').trim_end_matches('"'))
                    }
                };
                self.pad(&quoted, true);
            }
            _ => {
                // A negative number shows as the 64 bits that hold it.
                let bits = if is_negative { size.wrapping_neg() } else { size };
                let least = self.flags.precision.unwrap_or(4).max(4);
                let digits = format!("{bits:X}");
                let zeros = "0".repeat(least.saturating_sub(digits.len()));
                let is_shown =
                    self.flags.sharp && code.is_some() && !go_quote(c.encode_utf8(&mut [0; 4])).contains("\\");
                let shown = if is_shown { format!(" '{c}'") } else { String::new() };
                self.pad(&format!("U+{zeros}{digits}{shown}"), false);
            }
        }
    }

    fn float(&mut self, number: f64, verb: char, value: &Value) {
        let (shape, default) = match verb {
            'v' => ('g', None),
            'g' | 'G' | 'x' | 'X' | 'b' => (verb, None),
            'e' | 'E' | 'f' | 'F' => (verb, Some(6)),
            _ => return self.bad_verb(value, verb),
        };
        let flags = self.flags;
        let precision = flags.precision.or(default);
        let mut text = format_float(number, shape, precision);
        if flags.sharp && number.is_finite() && matches!(shape, 'e' | 'E' | 'f' | 'F' | 'g' | 'G') {
            text = with_point(&text, matches!(shape, 'g' | 'G').then(|| flags.precision.unwrap_or(6)));
        }
        let is_signed = text.starts_with(['-', '+']);
        if !is_signed && number.is_nan() && !flags.space && !flags.plus {
            return self.pad(&text, false);
        }
        if text.starts_with('+') && !flags.plus {
            // Infinity always shows its sign.
            if flags.space {
                text.replace_range(..1, " ");
            }
        } else if !is_signed {
            if flags.plus {
                text.insert(0, '+');
            } else if flags.space {
                text.insert(0, ' ');
            }
        }
        let width = flags.width.unwrap_or(0);
        let is_zeroed = flags.zero && !flags.minus && number.is_finite();
        if is_zeroed && text.starts_with(['-', '+', ' ']) && width > text.len() {
            // The sign stands before the zeros.
            let fill = width - text.len();
            text.insert_str(1, &"0".repeat(fill));
        }
        self.pad(&text, number.is_finite());
    }

    fn string(&mut self, text: &str, verb: char, value: &Value) {
        let truncated = match self.flags.precision {
            Some(precision) => text.char_indices().nth(precision).map_or(text, |(at, _)| &text[..at]),
            None => text,
        };
        match verb {
            'v' if self.flags.sharp_v => self.quoted(truncated),
            'v' | 's' => self.pad(truncated, true),
            'q' => self.quoted(truncated),
            'x' | 'X' => {
                let bytes = text.as_bytes();
                let bytes = bytes
                    .get(..self.flags.precision.unwrap_or(bytes.len()))
                    .unwrap_or(bytes);
                if bytes.len() > self.limit {
                    self.is_full = true;
                    return;
                }
                let prefix = match (self.flags.sharp && !bytes.is_empty(), verb) {
                    (false, _) => "",
                    (true, 'x') => "0x",
                    (true, _) => "0X",
                };
                let mut hex = prefix.to_owned();
                for (i, byte) in bytes.iter().enumerate() {
                    if i > 0 && self.flags.space {
                        hex.push(' ');
                        hex.push_str(prefix);
                    }
                    hex.push_str(&if verb == 'x' {
                        format!("{byte:02x}")
                    } else {
                        format!("{byte:02X}")
                    });
                }
                self.pad(&hex, true);
            }
            _ => self.bad_verb(value, verb),
        }
    }

    fn quoted(&mut self, text: &str) {
        let can_backquote = !text.contains(|c: char| c == '`' || c == '\u{feff}' || (c.is_control() && c != '\t'));
        let quoted = if self.flags.sharp && can_backquote {
            format!("`{text}`")
        } else if self.flags.plus {
            ascii_only(&go_quote(text))
        } else {
            go_quote(text)
        };
        self.pad(&quoted, true);
    }
}

// `%+q`: everything beyond ASCII escaped.
fn ascii_only(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match u32::from(c) {
            code if code < 0x80 => out.push(c),
            code if code < 0x1_0000 => out.push_str(&format!("\\u{code:04x}")),
            code => out.push_str(&format!("\\U{code:08x}")),
        }
    }
    out
}

// The flag `#` on floats: always a point, and for %g (with `digits` significant ones) no trailing zeros removed.
fn with_point(text: &str, digits: Option<usize>) -> String {
    let (mantissa, exponent) = match text.find(['e', 'E']) {
        Some(at) => text.split_at(at),
        None => (text, ""),
    };
    let mut mantissa = mantissa.to_owned();
    if !mantissa.contains('.') {
        mantissa.push('.');
    }
    if let Some(digits) = digits {
        let significant = mantissa.trim_start_matches(['-', '+', '0', '.']);
        let have = significant
            .bytes()
            .filter(u8::is_ascii_digit)
            .count()
            .max(usize::from(significant.is_empty()));
        mantissa.push_str(&"0".repeat(digits.saturating_sub(have)));
    }
    mantissa + exponent
}

#[cfg(test)]
mod tests {
    use super::super::{display, sprint, sprintf};
    use super::*;

    #[track_caller]
    fn check(format: &str, args: &[Value], expected: &str) {
        assert_eq!(sprintf(format, args, 10_000).unwrap(), expected, "{format}");
    }

    // Recorded from Go 1.19 through amtool.
    #[test]
    fn verbs_print_as_go_prints_them() {
        let (f, i) = (Value::Float, Value::Int);
        check(
            "%08.3f|%+.2f|% f|%-10.2f|",
            &[f(2.71959), f(2.5), f(1.5), f(2.5)],
            "0002.720|+2.50| 1.500000|2.50      |",
        );
        check(
            "%010d|%+05d|%6d|%-6d|%06d",
            &[i(-42), i(42), i(12), i(12), i(-12)],
            "-000000042|+0042|    12|12    |-00012",
        );
        check(
            "%x|%X|%#x|% x|",
            &["hello".into(), "hi".into(), i(255), "abc".into()],
            "68656c6c6f|6869|0xff|61 62 63|",
        );
        check(
            "%#o|%O|%b|%e|%E",
            &[i(8), i(8), i(5), f(1.0), f(1.0)],
            "010|0o10|101|1.000000e+00|1.000000E+00",
        );
        check(
            "%U|%#U|%q|%c|%5c|%-5c|",
            &[i(128_578), i(128_578), i(65), i(65), i(66), i(67)],
            "U+1F642|U+1F642 '🙂'|'A'|A|    B|C    |",
        );
        check(
            "%#q|%+q|%q",
            &["a".into(), "é".into(), "q\"x".into()],
            "`a`|\"\\u00e9\"|\"q\\\"x\"",
        );
        check(
            "%.3d|%+.3d|%8.3d|%08.3d|%.0d|%5.0d",
            &[i(5), i(5), i(5), i(5), i(0), i(0)],
            "005|+005|     005|     005||     ",
        );
        check(
            "%05s|%-05s|%-05d|",
            &["ab".into(), "ab".into(), i(5)],
            "000ab|ab   |5    |",
        );
        check(
            "%.2s|%.2q|%.2x|%8.2s|",
            &vec![Value::from("hello"); 4],
            "he|\"he\"|6865|      he|",
        );
        check(
            "%#g %#.3g %G %#v %#v",
            &[f(1.5), f(2.0), f(1e-7), f(1.0), f(1e7)],
            "1.50000 2.00 1E-07 1 1e+07",
        );
        check(
            "%+v %#v %#v %#v",
            &["a".into(), i(1), Value::Bool(true), Value::string_map([("k", "v")])],
            "a 1 true map[string]string{\"k\":\"v\"}",
        );
        check(
            "%5v|%5t|%5T|%x",
            &["x".into(), Value::Bool(true), i(1), i(-255)],
            "    x| true|  int|-ff",
        );
        check("%6.2f%%", &[f(12.345)], " 12.35%");
        check(
            "%f %v % .1f %+.1f",
            &[f(f64::INFINITY), f(f64::NAN), f(f64::INFINITY), f(f64::NAN)],
            "+Inf NaN  Inf +NaN",
        );
    }

    #[test]
    fn mistakes_print_as_go_prints_them() {
        let i = Value::Int;
        check("%!", &[], "%!!(MISSING)");
        check("%", &[], "%!(NOVERB)");
        check("%d %d", &[i(1)], "1 %!d(MISSING)");
        check("%d", &[i(1), i(2)], "1%!(EXTRA int=2)");
        check("%[2]d %[1]d", &[i(1), i(2)], "2 1");
        check("%[5]d", &[i(1)], "%!d(BADINDEX)");
        check("%*d|%*d", &[i(5), i(3), "a".into(), i(3)], "    3|%!(BADWIDTH)3");
        check("%.*f", &[i(2), Value::Float(2.71959)], "2.72");
        check("%[3]*.[2]*[1]f", &[Value::Float(12.0), i(2), i(6)], " 12.00");
        check(
            "%s %v %d",
            &[Value::Bool(true), Value::Float(1.5), Value::Float(2.5)],
            "%!s(bool=true) 1.5 %!d(float64=2.5)",
        );
        check(
            "%s %d %v",
            &[Value::Nil, Value::Nil, Value::Nil],
            "%!s(<nil>) %!d(<nil>) <nil>",
        );
        check(
            "%t %w %p %z",
            &[i(1), i(1), i(1), i(1)],
            "%!t(int=1) %!w(int=1) %!p(int=1) %!z(int=1)",
        );
    }

    #[test]
    fn lists_and_maps_take_the_verb_inside() {
        check("%q", &[Value::strings(["a", "b"])], "[\"a\" \"b\"]");
        check(
            "%v",
            &[Value::list(vec!["a".into(), Value::Int(1), Value::Nil])],
            "[a 1 <nil>]",
        );
        check(
            "%v",
            &[Value::map([("b", Value::Int(2)), ("a", Value::Int(1))])],
            "map[a:1 b:2]",
        );
        check(
            "%d",
            &[Value::string_map([("a", "b")])],
            "map[%!d(string=a):%!d(string=b)]",
        );
    }

    #[test]
    fn print_puts_spaces_between_operands_that_are_no_strings() {
        let args = [
            Value::Bool(true),
            Value::Float(1.5),
            "x".into(),
            Value::Int(2),
            Value::Int(3),
        ];
        assert_eq!(sprint(&args, 100).unwrap(), "true 1.5x2 3");
        assert_eq!(display(&Value::Nil, 100).unwrap(), "<no value>");
    }

    #[test]
    fn output_has_a_bound() {
        assert_eq!(
            sprintf("%1000000d%1000000d", &[Value::Int(1), Value::Int(1)], 1_500_000),
            Err(TooLong)
        );
        assert_eq!(sprint(&["abc".into()], 2), Err(TooLong));
    }
}
