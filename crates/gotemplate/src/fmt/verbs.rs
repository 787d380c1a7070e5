//! The format string of printf: flags, widths, precisions, argument numbers.

use super::print::{Flags, Printer};
use crate::value::Value;

// Go ignores widths and precisions past a million.
const MAX_NUMBER: i64 = 1_000_000;

/// Prints `args` as `format` says.
pub(super) fn run(printer: &mut Printer, format: &str, args: &[Value]) {
    let mut scan = Scan {
        rest: format,
        args,
        index: 0,
        is_reordered: false,
        is_good: true,
    };
    while !printer.is_full() {
        let Some(at) = scan.rest.find('%') else {
            printer.push(scan.rest);
            break;
        };
        printer.push(&scan.rest[..at]);
        scan.rest = &scan.rest[at + 1..];
        one(printer, &mut scan);
    }
    printer.flags = Flags::default();
    if !scan.is_reordered && scan.index < args.len() {
        printer.push("%!(EXTRA ");
        for (i, arg) in args.iter().enumerate().skip(scan.index) {
            if i > scan.index {
                printer.push(", ");
            }
            if matches!(arg, Value::Nil) {
                printer.push("<nil>");
            } else {
                printer.push(&arg.type_name());
                printer.push("=");
                printer.print(arg, 'v');
            }
        }
        printer.push(")");
    }
}

struct Scan<'a> {
    rest: &'a str,
    args: &'a [Value],
    index: usize,
    // Whether any verb of the whole format chose its argument by number.
    is_reordered: bool,
    // Whether the current verb's argument number was right.
    is_good: bool,
}

fn one(printer: &mut Printer, scan: &mut Scan<'_>) {
    let mut flags = Flags::default();
    loop {
        match scan.rest.as_bytes().first() {
            Some(b'#') => flags.sharp = true,
            Some(b'0') => flags.zero = true,
            Some(b'+') => flags.plus = true,
            Some(b'-') => flags.minus = true,
            Some(b' ') => flags.space = true,
            _ => break,
        }
        scan.rest = &scan.rest[1..];
    }
    scan.is_good = true;
    let mut after_index = scan.argument_number();
    if let Some(rest) = scan.rest.strip_prefix('*') {
        scan.rest = rest;
        match scan.number_argument() {
            Some(width) => {
                flags.minus |= width < 0;
                flags.width = usize::try_from(width.unsigned_abs()).ok();
            }
            None => printer.push("%!(BADWIDTH)"),
        }
        after_index = false;
    } else {
        flags.width = scan.number();
        if after_index && flags.width.is_some() {
            // "%[3]2d" is an error.
            scan.is_good = false;
        }
    }
    if let Some(rest) = scan.rest.strip_prefix('.') {
        scan.rest = rest;
        if after_index {
            scan.is_good = false;
        }
        after_index = scan.argument_number();
        if let Some(rest) = scan.rest.strip_prefix('*') {
            scan.rest = rest;
            match scan.number_argument() {
                // A negative precision is as none.
                Some(precision) => flags.precision = usize::try_from(precision).ok(),
                None => printer.push("%!(BADPREC)"),
            }
            after_index = false;
        } else {
            flags.precision = Some(scan.number().unwrap_or(0));
        }
    }
    if !after_index {
        scan.argument_number();
    }
    let Some(verb) = scan.rest.chars().next() else {
        printer.push("%!(NOVERB)");
        return;
    };
    scan.rest = &scan.rest[verb.len_utf8()..];
    if verb == '%' {
        printer.push("%");
        return;
    }
    if !scan.is_good {
        printer.push("%!");
        printer.push_char(verb);
        printer.push("(BADINDEX)");
        return;
    }
    let Some(arg) = scan.args.get(scan.index) else {
        printer.push("%!");
        printer.push_char(verb);
        printer.push("(MISSING)");
        return;
    };
    scan.index += 1;
    if verb == 'v' {
        // `%#v` and `%+v` are flags of their own: they do not make numbers sharp or signed.
        flags.sharp_v = std::mem::take(&mut flags.sharp);
        flags.plus_v = std::mem::take(&mut flags.plus);
    }
    printer.flags = flags;
    printer.print(arg, verb);
    printer.flags = Flags::default();
}

impl Scan<'_> {
    // `[n]`: chooses the next argument. Gives whether one stood here.
    fn argument_number(&mut self) -> bool {
        let Some(rest) = self.rest.strip_prefix('[') else {
            return false;
        };
        self.is_reordered = true;
        let Some((digits, after)) = rest.split_once(']') else {
            self.is_good = false;
            self.rest = rest;
            return false;
        };
        self.rest = after;
        match digits.parse::<usize>() {
            Ok(number) if number >= 1 && number <= self.args.len() => self.index = number - 1,
            _ => self.is_good = false,
        }
        true
    }

    fn number(&mut self) -> Option<usize> {
        let digits = self.rest.bytes().take_while(u8::is_ascii_digit).count();
        let (text, rest) = self.rest.split_at(digits);
        self.rest = rest;
        text.parse::<i64>()
            .ok()
            .filter(|n| *n <= MAX_NUMBER)
            .and_then(|n| usize::try_from(n).ok())
    }

    fn number_argument(&mut self) -> Option<i64> {
        let arg = self.args.get(self.index)?;
        self.index += 1;
        match arg.plain() {
            Value::Int(n) => Some(n),
            Value::Uint(n) => i64::try_from(n).ok(),
            _ => None,
        }
        .filter(|n| (-MAX_NUMBER..=MAX_NUMBER).contains(n))
    }
}
