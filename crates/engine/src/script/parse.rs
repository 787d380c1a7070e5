//! Scripts as text: blocks of lines, each one command.

use cupola_goregex::Regex;
use cupola_model::parse_duration;
use thiserror::Error;

use super::series::{Line, SeriesLine, parse_line, unquote};
use super::values::{Item, number};

/// A script that cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("line {line}: {message}")]
pub struct ScriptError {
    /// The line, from 1.
    pub line: usize,
    /// What is wrong.
    pub message: String,
}

/// One command.
#[derive(Debug, Clone)]
pub enum Command {
    /// Forget all samples.
    Clear,
    /// Add samples, one position every `step_ms`.
    Load {
        /// The distance of two positions.
        step_ms: i64,
        /// Also as native histograms with custom buckets.
        with_nhcb: bool,
        /// The series.
        series: Vec<SeriesLine>,
    },
    /// Evaluate and compare.
    Eval(Box<Eval>),
}

/// When to evaluate. Milliseconds since the epoch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// At one time.
    Instant(i64),
    /// Over a range.
    Range {
        /// The first step.
        start: i64,
        /// The last step.
        end: i64,
        /// Their distance.
        step_ms: i64,
    },
}

/// How a text is compared.
#[derive(Debug, Clone)]
pub enum Wanted {
    /// Anything.
    Any,
    /// The whole text.
    Text(String),
    /// Some part of it.
    Pattern(Regex),
}

impl Wanted {
    /// Whether `text` is wanted.
    #[must_use]
    pub fn accepts(&self, text: &str) -> bool {
        match self {
            Self::Any => true,
            Self::Text(wanted) => wanted == text,
            Self::Pattern(regex) => regex.is_match(text),
        }
    }
}

/// Warnings or infos.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Level {
    /// Warnings.
    Warn,
    /// Infos.
    Info,
}

/// What an evaluation must give beside its rows.
#[derive(Debug, Clone)]
pub enum Expectation {
    /// It fails with such a text.
    Fail(Wanted),
    /// There is such a warning or info.
    Note(Level, Wanted),
    /// There is none.
    NoNote(Level),
    /// The rows come in the order written.
    Ordered,
    /// The result is this text.
    Text(String),
    /// The result is a range vector with these times.
    RangeVector {
        /// The time of the first position.
        start: i64,
        /// The time of the last position there may be.
        end: i64,
        /// The distance of positions.
        step_ms: i64,
    },
}

/// One evaluation.
#[derive(Debug, Clone)]
pub struct Eval {
    /// Its line, from 1.
    pub line: usize,
    /// When.
    pub mode: Mode,
    /// The query.
    pub query: String,
    /// What else must hold.
    pub expectations: Vec<Expectation>,
    /// The rows that must come out.
    pub series: Vec<SeriesLine>,
    /// The number that must come out.
    pub scalar: Option<f64>,
}

/// Reads a script.
///
/// # Errors
/// The first line that cannot be read.
pub fn parse(text: &str) -> Result<Vec<Command>, ScriptError> {
    let lines: Vec<(usize, &str)> = (1..)
        .zip(text.split('\n'))
        .map(|(number, line)| {
            let line = line.trim();
            (number, if line.starts_with('#') { "" } else { line })
        })
        .collect();
    let mut commands = Vec::new();
    for block in lines.split(|(_, line)| line.is_empty()) {
        let mut rest = block;
        while let Some(((line, head), body)) = rest.split_first() {
            let fail = |message: String| ScriptError { line: *line, message };
            let word = head.split_whitespace().next().unwrap_or_default().to_ascii_lowercase();
            if word == "clear" {
                commands.push(Command::Clear);
                rest = body;
            } else if word.starts_with("load") {
                commands.push(parse_load(head, body).map_err(fail)?);
                rest = &[];
            } else if word.starts_with("eval") {
                let (eval, used) = parse_eval(*line, head, body)?;
                commands.push(Command::Eval(Box::new(eval)));
                rest = body.get(used..).unwrap_or_default();
            } else {
                return Err(fail(format!("unknown command {head:?}")));
            }
        }
    }
    Ok(commands)
}

fn duration(text: &str) -> Result<i64, String> {
    parse_duration(text).map_err(|error| format!("{text:?}: {error}"))
}

fn parse_load(head: &str, body: &[(usize, &str)]) -> Result<Command, String> {
    let (word, step) = head.split_once(char::is_whitespace).ok_or("load needs a step")?;
    let with_nhcb = match word.to_ascii_lowercase().as_str() {
        "load" => false,
        "load_with_nhcb" => true,
        other => return Err(format!("unknown command {other:?}")),
    };
    let mut series = Vec::new();
    let mut started: Option<(cupola_model::Labels, Vec<Option<i64>>)> = None;
    for (number, line) in body {
        let mut line = match parse_line(line).map_err(|error| format!("line {number}: {error}"))? {
            Line::Starts(labels, starts) => {
                started = Some((labels, starts));
                continue;
            }
            Line::Series(line) => line,
        };
        if let Some((labels, starts)) = started.take() {
            if labels != line.labels || starts.len() != line.values.len() {
                return Err(format!(
                    "line {number}: the start timestamps above are those of {labels} with {} positions",
                    starts.len()
                ));
            }
            line.starts = starts;
        }
        series.push(line);
    }
    if let Some((labels, _)) = started {
        return Err(format!("start timestamps of {labels} without the series"));
    }
    Ok(Command::Load {
        step_ms: duration(step.trim())?,
        with_nhcb,
        series,
    })
}

// Takes the next word; what follows keeps its inner blanks.
fn word<'t>(rest: &mut &'t str) -> &'t str {
    let text = rest.trim_start();
    let end = text.find(char::is_whitespace).unwrap_or(text.len());
    let (word, after) = text.split_at(end);
    *rest = after.trim_start();
    word
}

fn expect_word(rest: &mut &str, wanted: &str) -> Result<(), String> {
    let got = word(rest);
    if got == wanted {
        Ok(())
    } else {
        Err(format!("expected {wanted:?}, found {got:?}"))
    }
}

fn parse_eval(line: usize, head: &str, body: &[(usize, &str)]) -> Result<(Eval, usize), ScriptError> {
    let fail = |line: usize, message: String| ScriptError { line, message };
    let mut rest = head;
    let kind = word(&mut rest).to_ascii_lowercase();
    let parsed = parse_mode(&mut rest).map_err(|message| fail(line, message))?;
    let mut eval = Eval {
        line,
        mode: parsed,
        query: rest.to_owned(),
        expectations: Vec::new(),
        series: Vec::new(),
        scalar: None,
    };
    match kind.strip_prefix("eval").unwrap_or_default() {
        "" => {}
        "_fail" => eval.expectations.push(Expectation::Fail(Wanted::Any)),
        "_warn" => eval.expectations.push(Expectation::Note(Level::Warn, Wanted::Any)),
        "_info" => eval.expectations.push(Expectation::Note(Level::Info, Wanted::Any)),
        "_ordered" => eval.expectations.push(Expectation::Ordered),
        _ => return Err(fail(line, format!("unknown command {kind:?}"))),
    }
    for (used, (number_of_line, text)) in body.iter().enumerate() {
        let parsed = parse_expectation(text).map_err(|message| fail(*number_of_line, message))?;
        if let Some(expectation) = parsed {
            // The old form's text comes on a line of its own.
            if matches!(expectation, Expectation::Fail(_)) {
                eval.expectations
                    .retain(|e| !matches!(e, Expectation::Fail(Wanted::Any)));
            }
            eval.expectations.push(expectation);
            continue;
        }
        if let Some(value) = number(text) {
            eval.scalar = Some(value);
            check_together(&eval).map_err(|message| fail(line, message))?;
            return Ok((eval, used + 1));
        }
        match parse_line(text).map_err(|message| fail(*number_of_line, message))? {
            Line::Series(line) => eval.series.push(with_one_value_at_least(line)),
            Line::Starts(..) => return Err(fail(*number_of_line, "a result has no start timestamps".to_owned())),
        }
    }
    check_together(&eval).map_err(|message| fail(line, message))?;
    Ok((eval, body.len()))
}

// What no line can be wrong about on its own.
fn check_together(eval: &Eval) -> Result<(), String> {
    let count = |is: fn(&Expectation) -> bool| eval.expectations.iter().filter(|e| is(e)).count();
    if count(|e| matches!(e, Expectation::Fail(_))) > 1 {
        return Err("an evaluation fails in one way only".to_owned());
    }
    if eval.expectations.iter().any(|e| match e {
        Expectation::NoNote(level) => {
            let contradicts = |other: &Expectation| matches!(other, Expectation::Note(l, _) if l == level);
            eval.expectations.iter().any(contradicts)
        }
        _ => false,
    }) {
        return Err("an annotation cannot be expected and not be expected".to_owned());
    }
    let is_range = matches!(eval.mode, Mode::Range { .. });
    let vectors = |e: &Expectation| matches!(e, Expectation::Ordered | Expectation::RangeVector { .. });
    if is_range && count(vectors) > 0 {
        return Err("only instant queries have an order or give a range vector".to_owned());
    }
    let of_expectation = eval.expectations.iter().find_map(|e| match e {
        Expectation::RangeVector { start, end, step_ms } => Some((*start, *end, *step_ms)),
        _ => None,
    });
    let positions = match (of_expectation, eval.mode) {
        (Some(range), _) => range,
        (None, Mode::Range { start, end, step_ms }) => (start, end, step_ms),
        (None, Mode::Instant(_)) => return Ok(()),
    };
    let (start, end, step_ms) = positions;
    let last = |line: &&SeriesLine| i64::try_from(line.values.len()).unwrap_or(i64::MAX).saturating_sub(1);
    match eval
        .series
        .iter()
        .find(|line| start.saturating_add(last(line).saturating_mul(step_ms)) > end)
    {
        Some(line) => Err(format!("{} has more positions than the range has steps", line.labels)),
        None => Ok(()),
    }
}

// `metric` alone would be a series without positions.
fn with_one_value_at_least(mut line: SeriesLine) -> SeriesLine {
    if line.values.is_empty() {
        line.values.push(Item::Missing);
    }
    line
}

fn parse_mode(rest: &mut &str) -> Result<Mode, String> {
    match word(rest) {
        "instant" => {
            expect_word(rest, "at")?;
            Ok(Mode::Instant(duration(word(rest))?))
        }
        "range" => {
            expect_word(rest, "from")?;
            let start = duration(word(rest))?;
            expect_word(rest, "to")?;
            let end = duration(word(rest))?;
            expect_word(rest, "step")?;
            let step_ms = duration(word(rest))?;
            Ok(Mode::Range { start, end, step_ms })
        }
        other => Err(format!("expected \"instant\" or \"range\", found {other:?}")),
    }
}

fn parse_expectation(text: &str) -> Result<Option<Expectation>, String> {
    let mut rest = text;
    match word(&mut rest) {
        "expected_fail_message" => return Ok(Some(Expectation::Fail(Wanted::Text(rest.to_owned())))),
        "expected_fail_regexp" => return Ok(Some(Expectation::Fail(pattern(rest)?))),
        "expect" => {}
        _ => return Ok(None),
    }
    let kind = word(&mut rest);
    Ok(Some(match kind {
        "fail" => Expectation::Fail(wanted(rest)?),
        "warn" => Expectation::Note(Level::Warn, wanted(rest)?),
        "info" => Expectation::Note(Level::Info, wanted(rest)?),
        "no_warn" | "no_info" | "ordered" if !rest.is_empty() => {
            return Err(format!("expect {kind} takes no text, found {rest:?}"));
        }
        "no_warn" => Expectation::NoNote(Level::Warn),
        "no_info" => Expectation::NoNote(Level::Info),
        "ordered" => Expectation::Ordered,
        "string" => match unquote(rest) {
            Some((text, "")) => Expectation::Text(text),
            _ => return Err(format!("cannot read the text {rest}")),
        },
        "range" => {
            expect_word(&mut rest, "vector")?;
            expect_word(&mut rest, "from")?;
            let start = duration(word(&mut rest))?;
            expect_word(&mut rest, "to")?;
            let end = duration(word(&mut rest))?;
            expect_word(&mut rest, "step")?;
            Expectation::RangeVector {
                start,
                end,
                step_ms: duration(word(&mut rest))?,
            }
        }
        other => return Err(format!("unknown expectation {other:?}")),
    }))
}

fn wanted(text: &str) -> Result<Wanted, String> {
    if let Some(text) = text.strip_prefix("msg:") {
        Ok(Wanted::Text(text.trim().to_owned()))
    } else if let Some(text) = text.strip_prefix("regex:") {
        pattern(text)
    } else if text.is_empty() {
        Ok(Wanted::Any)
    } else {
        Err(format!("expected \"msg:\" or \"regex:\", found {text:?}"))
    }
}

fn pattern(text: &str) -> Result<Wanted, String> {
    Regex::unanchored(text.trim())
        .map(Wanted::Pattern)
        .map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_script_is_read() {
        let script = "\
load 5m
  a{x=\"1\"} 0+10x2
  b _ 1

clear
# a comment ends a block
eval instant at 10m sum by (x) (a)
  expect warn msg: PromQL warning: x
  {x=\"1\"} 20

eval_fail instant at 0 a
  expected_fail_message no

eval range from 0 to 10m step 5m 1 + 1
  2
eval instant at 1m 3
  3
";
        let commands = parse(script).unwrap();
        assert_eq!(commands.len(), 6);
        let Command::Eval(first) = &commands[2] else {
            panic!("{commands:?}")
        };
        assert_eq!((first.line, first.query.as_str()), (7, "sum by (x) (a)"));
        assert_eq!((first.expectations.len(), first.series.len()), (1, 1));
        let Command::Eval(last) = &commands[5] else {
            panic!("{commands:?}")
        };
        assert_eq!((last.mode, last.scalar), (Mode::Instant(60_000), Some(3.0)));
    }

    proptest! {
        // Pieces of the language in any order: reading them gives commands or an error, never a panic.
        #[test]
        fn any_text_is_read_or_refused(
            pieces in prop::collection::vec(
                prop::sample::select(vec![
                    "load ", "load_with_nhcb ", "eval ", "eval_fail ", "eval_ordered ", "instant at ", "range from ",
                    " to ", " step ", "clear", "\n", "\n\n", "  ", "# x", "expect ", "warn", "fail", "string ", "range vector from ",
                    " msg: ", " regex: (", "expected_fail_message ", "m", "{", "}", "{{", "}}", "a=", "\"b\"", "'", "`", "\\", "\\x4",
                    "@st ", "_", "x", "x3", "x99999999999999999999", "+", "-", "1", "5m", "-1m", "300y", "0x1f", "NaN", "stale",
                    "schema:1 ", "count:", "buckets:[1 2]", "offset:", "custom_values:[1]", "counter_reset_hint:gauge", ",", "é",
                ]),
                0..24,
            )
        ) {
            // Either is fine.
            let _ = parse(&pieces.concat());
        }
    }

    #[test]
    fn mistakes_name_their_line() {
        for (script, line) in [
            ("foo", 1),
            ("clear\n\nload x\n a 1", 3),
            ("eval instant at 1m x\n  expect cake", 2),
            ("eval instant at 1m x\n  expect fail with x", 2),
            ("eval instant at 1m x\n  expect ordered please", 2),
            ("eval instant at 1m x\n  expect string \"a\" b", 2),
            ("eval instant at 1m x\n  expect fail regex: (", 2),
            // These are wrong as a whole.
            ("eval instant at 1m x\n  expect fail msg: a\n  expect fail msg: b", 1),
            ("eval instant at 1m x\n  expect warn\n  expect no_warn", 1),
            ("eval_info instant at 1m x\n  expect no_info\n  3", 1),
            ("eval_ordered range from 0 to 1m step 1m x", 1),
            ("eval range from 0 to 1m step 1m x\n  expect ordered", 1),
            ("eval range from 0 to 1m step 1m x\n  x 1 2 3", 1),
            (
                "eval instant at 1m x[1m]\n  expect range vector from 0 to 1m step 1m\n  x 1 2 _",
                1,
            ),
            ("eval instant at 1m x\n  1x 5", 2),
            ("load 1m\n  x 1\n  x@st -1m", 1),
        ] {
            assert_eq!(parse(script).unwrap_err().line, line, "{script}");
        }
    }
}
