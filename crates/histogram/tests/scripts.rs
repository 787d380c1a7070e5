//! The evaluations of upstream's scripts that ask one function or operator of this crate.
//!
//! The scripts as a whole are run where the query engine is; here they tell at once which function is wrong.

#![allow(clippy::panic, reason = "a test")]

mod notation;

use std::collections::BTreeMap;

use cupola_histogram::{FloatHistogram, HistogramMean, HistogramSum};
use notation::{close, close_histograms, histogram, number};

/// Samples of one series by position, and the distance of two positions in seconds.
struct Series {
    step: f64,
    samples: Vec<Option<FloatHistogram>>,
}

impl Series {
    // The newest sample within five minutes.
    fn at(&self, time: f64) -> Option<&FloatHistogram> {
        let position = (time / self.step).floor();
        let newest = (0..=position as usize)
            .rev()
            .take_while(|&at| time - at as f64 * self.step < 300.0);
        newest.filter_map(|at| self.samples.get(at)?.as_ref()).next()
    }
}

#[derive(Debug)]
enum Value {
    Float(f64),
    Histogram(Box<FloatHistogram>),
}

fn seconds(text: &str) -> Option<f64> {
    if text == "0" {
        return Some(0.0);
    }
    let (digits, unit) = text.split_at(text.find(|c: char| !c.is_ascii_digit())?);
    Some(
        digits.parse::<f64>().ok()?
            * [("s", 1.0), ("m", 60.0), ("h", 3600.0)]
                .iter()
                .find(|(u, _)| *u == unit)?
                .1,
    )
}

/// `None` for what is not made of histograms only.
fn samples(text: &str) -> Option<Vec<Option<FloatHistogram>>> {
    let mut out = Vec::new();
    let mut rest = text.trim();
    while !rest.is_empty() {
        if let Some(after) = rest.strip_prefix('_') {
            let (times, next) = after.split_once(' ').unwrap_or((after, ""));
            let times = times.strip_prefix('x').map_or(Some(1), |n| n.parse().ok())?;
            out.extend(std::iter::repeat_n(None, times));
            rest = next.trim_start();
            continue;
        }
        let (first, after) = rest.strip_prefix("{{")?.split_once("}}")?;
        let mut current = histogram(first)?;
        let (step, after) = match after.split_at_checked(3) {
            Some((sign @ ("+{{" | "-{{"), after)) => {
                let (step, after) = after.split_once("}}")?;
                (Some((sign, histogram(step)?)), after)
            }
            _ => (None, after),
        };
        let (times, next) = after.split_once(' ').unwrap_or((after, ""));
        let times: usize = times.strip_prefix('x').map_or(Some(0), |n| n.parse().ok())?;
        out.push(Some(current.clone()));
        for _ in 0..times {
            match &step {
                Some(("+{{", step)) => current.add(step).map(drop).ok()?,
                Some((_, step)) => current.sub(step).map(drop).ok()?,
                None => {}
            }
            out.push(Some(current.clone()));
        }
        rest = next.trim_start();
    }
    Some(out)
}

#[derive(Default)]
struct Script {
    // By name without labels; all series of it.
    series: BTreeMap<String, Vec<Option<Series>>>,
    checked: BTreeMap<String, usize>,
}

impl Script {
    fn one(&self, name: &str, time: f64) -> Option<FloatHistogram> {
        match self.series.get(name.trim())?.as_slice() {
            [Some(series)] => series.at(time).cloned(),
            _ => None,
        }
    }

    fn all(&self, name: &str, time: f64) -> Option<Vec<FloatHistogram>> {
        let series = self.series.get(name.trim())?;
        series.iter().map(|series| series.as_ref()?.at(time).cloned()).collect()
    }

    /// The value of an expression this crate can compute by itself, its function, and a text for its annotation.
    fn eval(&self, text: &str, time: f64) -> Option<(Value, String, Option<&'static str>)> {
        let histogram = |h| Value::Histogram(Box::new(h));
        if let Some((function, arguments)) = text.strip_suffix(')').and_then(|text| text.split_once('(')) {
            let arguments: Vec<&str> = arguments.split(',').map(str::trim).collect();
            let name = function.trim();
            let (value, note) = match (name, arguments.as_slice()) {
                ("histogram_quantile", [q, h]) => {
                    let (value, note) = self.one(h, time)?.quantile(number(q)?);
                    (Value::Float(value), note.text())
                }
                ("histogram_fraction", [lower, upper, h]) => {
                    let (value, note) = self.one(h, time)?.fraction(number(lower)?, number(upper)?);
                    (Value::Float(value), note.text())
                }
                ("histogram_avg", [h]) => (Value::Float(self.one(h, time)?.avg()), None),
                ("histogram_stdvar", [h]) => (Value::Float(self.one(h, time)?.std_var()), None),
                ("histogram_stddev", [h]) => (Value::Float(self.one(h, time)?.std_dev()), None),
                ("sum", [h]) => {
                    let all = self.all(h, time)?;
                    let (first, rest) = all.split_first()?;
                    let mut sum = HistogramSum::new(first);
                    rest.iter().try_for_each(|h| sum.add(h).map(drop)).ok()?;
                    (histogram(sum.value()), None)
                }
                ("avg", [h]) => {
                    let all = self.all(h, time)?;
                    let (first, rest) = all.split_first()?;
                    let mut mean = HistogramMean::new(first);
                    rest.iter().try_for_each(|h| mean.add(h).map(drop)).ok()?;
                    (histogram(mean.value()), None)
                }
                _ => return None,
            };
            return Some((value, name.to_owned(), note));
        }
        if let Some(name) = text.strip_prefix('-') {
            let mut h = self.one(name, time)?;
            h.neg();
            return Some((histogram(h), "negation".to_owned(), None));
        }
        let [left, operator, right] = text.split_whitespace().collect::<Vec<_>>().try_into().ok()?;
        let mut h = self.one(left, time)?;
        h.trim(
            number(right)?,
            match operator {
                "</" => true,
                ">/" => false,
                _ => return None,
            },
        );
        Some((histogram(h), operator.to_owned(), None))
    }

    fn run(&mut self, text: &str) {
        let lines: Vec<&str> = text.lines().map(str::trim).collect();
        let blocks = lines.split(|line| line.is_empty() || line.starts_with('#'));
        for block in blocks {
            match block.split_first() {
                Some((head, lines)) if head.starts_with("load") => self.load(head, lines),
                Some((head, lines)) if head.starts_with("eval instant") => self.check(head, lines),
                Some((&"clear", _)) => self.series.clear(),
                _ => {}
            }
        }
    }

    fn load(&mut self, head: &str, lines: &[&str]) {
        let step = head.strip_prefix("load ").and_then(|step| seconds(step.trim()));
        for line in lines {
            let Some(end) = line.find(['{', ' ']) else { continue };
            let (name, rest) = line.split_at(end);
            // Labels, if there are any.
            let rest = match rest.strip_prefix('{') {
                Some(labels) if !labels.starts_with('{') => labels.split_once('}').map_or("", |(_, rest)| rest),
                _ => rest,
            };
            let series = step.zip(samples(rest)).map(|(step, samples)| Series { step, samples });
            self.series.entry(name.to_owned()).or_default().push(series);
        }
    }

    fn check(&mut self, head: &str, lines: &[&str]) {
        let Some((time, expression)) = head
            .strip_prefix("eval instant at ")
            .and_then(|rest| rest.split_once(' '))
        else {
            return;
        };
        let expectations = lines.iter().filter(|line| line.starts_with("expect "));
        let results: Vec<&&str> = lines.iter().filter(|line| !line.starts_with("expect ")).collect();
        let Some(time) = seconds(time) else { return };
        let Some((value, function, note)) = self.eval(expression.trim(), time) else {
            return;
        };
        let [result] = results.as_slice() else { return };
        let infos: Vec<_> = expectations.filter(|line| line.contains(" info")).collect();
        if let Some(note) = note {
            assert!(
                infos.iter().any(|info| !info.contains("no_info")),
                "{head}: told {note}"
            );
        }
        for info in infos.iter().filter(|info| info.contains("NaN observations")) {
            assert!(
                note.is_some_and(|note| info.contains(note)),
                "{head}: {note:?} instead of {info}"
            );
        }
        let expected = match result.split_once("{{") {
            Some((_, text)) => {
                histogram(text.strip_suffix("}}").unwrap_or_default()).map(|h| Value::Histogram(Box::new(h)))
            }
            None => result
                .rsplit_once(' ')
                .and_then(|(_, value)| number(value))
                .map(Value::Float),
        };
        match (
            &value,
            expected.unwrap_or_else(|| panic!("{head}: cannot read {result}")),
        ) {
            (Value::Float(a), Value::Float(b)) => assert!(close(*a, b), "{head}: {a} instead of {b}"),
            (Value::Histogram(a), Value::Histogram(b)) => {
                assert!(
                    close_histograms(a, &b),
                    "{head}:\n{} instead of\n{}",
                    a.test_expression(),
                    b.test_expression()
                );
                // The other hints come from chunks, which there are none here.
                if result.contains("counter_reset_hint:gauge") {
                    assert_eq!(a.counter_reset_hint, b.counter_reset_hint, "{head}");
                }
            }
            (value, other) => panic!("{head}: {value:?} instead of {other:?}"),
        }
        *self.checked.entry(function).or_default() += 1;
    }
}

#[test]
fn functions_and_operators_give_what_the_scripts_expect() {
    let Some(dir) = cupola_testkit::conformance_dir("promql") else {
        return;
    };
    let mut checked: BTreeMap<String, usize> = BTreeMap::new();
    for file in [
        "native_histograms.test",
        "histograms.test",
        "functions.test",
        "aggregators.test",
    ] {
        let mut script = Script::default();
        script.run(&std::fs::read_to_string(dir.join(file)).expect("a script"));
        for (function, times) in script.checked {
            *checked.entry(function).or_default() += times;
        }
    }
    println!("{checked:?}");
    // A change of the reader must not make the test hollow.
    for (function, at_least) in [
        ("histogram_quantile", 40),
        ("histogram_fraction", 90),
        ("histogram_avg", 6),
        ("histogram_stdvar", 7),
        ("histogram_stddev", 7),
        ("</", 40),
        (">/", 35),
        ("sum", 5),
        ("avg", 5),
    ] {
        let times = checked.get(function).copied().unwrap_or(0);
        assert!(times >= at_least, "{function} checked {times} times");
    }
}
