//! Go's package fmt: `print`, `println`, `printf` and what `{{ . }}` prints.

mod float;
mod print;
mod verbs;

use crate::value::Value;

pub(crate) use float::format_float;
use print::Printer;

/// The text grew past the limit it was given; what was written so far is no use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct TooLong;

/// `fmt.Sprint(args…)`: a space between operands where neither is a string.
pub(crate) fn sprint(args: &[Value], limit: usize) -> Result<String, TooLong> {
    let mut printer = Printer::new(limit);
    let mut was_string = true;
    for arg in args {
        let is_string = matches!(arg.plain(), Value::Str(_));
        if !is_string && !was_string {
            printer.push(" ");
        }
        printer.print(arg, 'v');
        was_string = is_string;
    }
    printer.finish()
}

/// `fmt.Sprintln(args…)`: spaces between all, a newline at the end.
pub(crate) fn sprintln(args: &[Value], limit: usize) -> Result<String, TooLong> {
    let mut printer = Printer::new(limit);
    for (i, arg) in args.iter().enumerate() {
        if i > 0 {
            printer.push(" ");
        }
        printer.print(arg, 'v');
    }
    printer.push("\n");
    printer.finish()
}

/// `fmt.Sprintf(format, args…)`.
pub(crate) fn sprintf(format: &str, args: &[Value], limit: usize) -> Result<String, TooLong> {
    let mut printer = Printer::new(limit);
    verbs::run(&mut printer, format, args);
    printer.finish()
}

/// What `{{ value }}` prints.
pub(crate) fn display(value: &Value, limit: usize) -> Result<String, TooLong> {
    match value {
        Value::Nil => Ok("<no value>".to_owned()),
        Value::Str(text) if text.len() <= limit => Ok(text.to_string()),
        _ => sprint(std::slice::from_ref(value), limit),
    }
}
