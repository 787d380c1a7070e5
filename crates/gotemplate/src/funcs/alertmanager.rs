//! The functions of notification templates, those of Alertmanager 0.34.

use std::sync::Arc;

use super::{Func, Funcs, MAX_TEXT, Param, any_arg, humanize, json, str_arg, text};
use crate::objects::{SafeHtml, Time, Zone};
use crate::value::Value;

/// The functions; `now` tells the time for `now` and `since`.
#[must_use]
pub fn funcs(now: impl Fn() -> Time + Send + Sync + 'static) -> Funcs {
    use Param::{Any, Str};
    let mut table = Funcs::default();
    table.add("toUpper", text::of_str(text::to_upper));
    table.add("toLower", text::of_str(text::to_lower));
    table.add("title", text::of_str(text::words_title));
    table.add("trimSpace", text::of_str(|t| t.trim().to_owned()));
    let safe = |args: &[Value]| Ok(Value::object(SafeHtml(str_arg(args, 0))));
    table.add("safeHtml", Func::new(&[Str], safe));
    table.add("safeUrl", text::of_str(str::to_owned));
    table.add("match", text::matches());
    table.add("reReplaceAll", text::re_replace_all());
    table.add("join", Func::new(&[Str, Any], join));
    let string_slice = |args: &[Value]| Ok(Value::strings(args.iter().filter_map(Value::as_str)));
    table.add("stringSlice", Func::variadic(&[], Str, string_slice));
    let unescape = |args: &[Value]| text::query_unescape(&str_arg(args, 0)).map(Value::from);
    table.add("urlUnescape", Func::new(&[Str], unescape));
    let duration = |args: &[Value]| {
        let seconds = humanize::to_float(&any_arg(args, 0))?;
        Ok(Value::from(humanize::humanize_duration(seconds)))
    };
    table.add("humanizeDuration", Func::new(&[Any], duration));
    table.add(
        "toJson",
        Func::new(&[Any], |args| json::to_json(&any_arg(args, 0)).map(Value::from)),
    );
    add_times(&mut table, Arc::new(now));
    add_lists(&mut table);
    add_base64(&mut table);
    table
}

fn time_arg(args: &[Value], at: usize) -> Result<Time, String> {
    let value = any_arg(args, at);
    value
        .downcast::<Time>()
        .cloned()
        .ok_or_else(|| format!("wrong type for value; expected time.Time; got {}", value.type_name()))
}

fn add_times(table: &mut Funcs, now: Arc<dyn Fn() -> Time + Send + Sync>) {
    use Param::{Any, Str};
    table.add(
        "date",
        Func::new(&[Str, Any], |args| {
            Ok(Value::from(time_arg(args, 1)?.format(&str_arg(args, 0))))
        }),
    );
    let tz = |args: &[Value]| {
        Ok(Value::object(
            time_arg(args, 1)?.in_zone(Zone::by_name(&str_arg(args, 0))?),
        ))
    };
    table.add("tz", Func::new(&[Str, Any], tz));
    let clock = now.clone();
    table.add(
        "since",
        Func::new(&[Any], move |args| {
            Ok(Value::object(clock().since(&time_arg(args, 0)?)))
        }),
    );
    table.add("now", Func::new(&[], move |_| Ok(Value::object(now()))));
    let to_date = |args: &[Value]| Time::parse(&str_arg(args, 0), &str_arg(args, 1));
    // A text that is no date gives the time that was never set.
    let lenient = move |args: &[Value]| Ok(Value::object(to_date(args).unwrap_or_else(|_| Time::zero())));
    table.add("toDate", Func::new(&[Str, Str], lenient));
    table.add(
        "mustToDate",
        Func::new(&[Str, Str], move |args| to_date(args).map(Value::object)),
    );
}

fn add_lists(table: &mut Funcs) {
    use Param::Any;
    table.add("list", Func::variadic(&[], Any, |args| Ok(Value::list(args.to_vec()))));
    let append = |args: &[Value]| {
        let list = any_arg(args, 0);
        let mut items = match list.plain() {
            Value::List(list) => list.items().to_vec(),
            Value::Nil => Vec::new(),
            _ => {
                return Err(format!(
                    "wrong type for value; expected []interface {{}}; got {}",
                    list.type_name()
                ));
            }
        };
        items.extend(args.iter().skip(1).cloned());
        Ok(Value::list(items))
    };
    table.add("append", Func::variadic(&[Any], Any, append));
    let dict = |args: &[Value]| {
        if !args.len().is_multiple_of(2) {
            return Err("dict takes pairs of names and values, and got a name without a value".to_owned());
        }
        let mut entries = Vec::new();
        for pair in args.chunks(2) {
            let name = any_arg(pair, 0);
            let key = name
                .as_str()
                .ok_or_else(|| format!("dict keys must be strings; got {}", name.type_name()))?;
            entries.push((key, any_arg(pair, 1)));
        }
        Ok(Value::map(entries))
    };
    table.add("dict", Func::variadic(&[], Any, dict));
}

fn join(args: &[Value]) -> Result<Value, String> {
    let (separator, list) = (str_arg(args, 0), any_arg(args, 1));
    let Value::List(items) = list.plain() else {
        return Err(format!(
            "wrong type for value; expected []string; got {}",
            list.type_name()
        ));
    };
    let mut out = String::new();
    for (i, item) in items.items().iter().enumerate() {
        let text = item.as_str().ok_or_else(|| {
            format!(
                "wrong type for value; expected []string; got an item of type {}",
                item.type_name()
            )
        })?;
        if i > 0 {
            out.push_str(&separator);
        }
        out.push_str(&text);
        if out.len() > MAX_TEXT {
            return Err(format!("more than {MAX_TEXT} bytes of text"));
        }
    }
    Ok(Value::from(out))
}

// Go's base64.URLEncoding: padded, with - and _.
const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

fn add_base64(table: &mut Funcs) {
    table.add("base64encode", text::of_str(base64_encode));
    let decode = |args: &[Value]| base64_decode(&str_arg(args, 0)).map(Value::from);
    table.add("base64decode", Func::new(&[Param::Str], decode));
}

fn base64_encode(text: &str) -> String {
    let mut out = String::with_capacity(text.len().div_ceil(3) * 4);
    for chunk in text.as_bytes().chunks(3) {
        let byte = |at: usize| u32::from(chunk.get(at).copied().unwrap_or(0));
        let bits = (byte(0) << 16) | (byte(1) << 8) | byte(2);
        for place in 0..4 {
            let digit = ALPHABET[(bits >> (18 - 6 * place)) as usize & 63];
            out.push(if place > chunk.len() { '=' } else { char::from(digit) });
        }
    }
    out
}

fn base64_decode(text: &str) -> Result<String, String> {
    let illegal = |at: usize| format!("illegal base64 data at input byte {at}");
    let clean: Vec<u8> = text.bytes().filter(|b| !matches!(b, b'\r' | b'\n')).collect();
    let mut out = Vec::with_capacity(clean.len() / 4 * 3);
    let count = clean.chunks(4).count();
    for (i, chunk) in clean.chunks(4).enumerate() {
        let digits = chunk.iter().take_while(|b| **b != b'=').count();
        let is_padded = chunk.len() == 4 && chunk[digits..].iter().all(|b| *b == b'=');
        if digits < 2 || !is_padded || (digits < 4 && i + 1 < count) {
            return Err(illegal(i * 4 + digits));
        }
        let mut bits = 0_u32;
        for (at, byte) in chunk.iter().take(digits).enumerate() {
            let value = ALPHABET
                .iter()
                .position(|a| a == byte)
                .ok_or_else(|| illegal(i * 4 + at))?;
            bits |= u32::try_from(value).unwrap_or(0) << (18 - 6 * at);
        }
        let bytes = bits.to_be_bytes();
        out.extend_from_slice(&bytes[1..digits]);
    }
    Ok(String::from_utf8_lossy(&out).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base64_there_and_back() {
        for (plain, coded) in [
            ("", ""),
            ("f", "Zg=="),
            ("fo", "Zm8="),
            ("foo", "Zm9v"),
            ("flush>>", "Zmx1c2g-Pg=="),
        ] {
            assert_eq!(base64_encode(plain), coded);
            assert_eq!(base64_decode(coded).unwrap(), plain);
        }
        for wrong in ["Zg=", "Z", "Zg==Zg==", "Zm9*", "===="] {
            assert!(base64_decode(wrong).is_err(), "{wrong}");
        }
    }
}
