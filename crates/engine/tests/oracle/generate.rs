//! Random series and random expressions, grown from a tape of numbers: a shorter tape with smaller numbers gives a
//! simpler case, so proptest's shrinking of a list shrinks expressions and data.

use cupola_model::{Labels, STALE_NAN};

use super::eval::Points;

/// Where the samples begin: 29 February 2024, 23:56 UTC, so that days and months turn during the tests.
pub const BASE: i64 = 1_709_250_960_000;

/// Choices, read one after the other; all zero once they are used up.
pub struct Tape<'t> {
    numbers: &'t [u32],
    at: usize,
}

impl<'t> Tape<'t> {
    pub fn new(numbers: &'t [u32]) -> Self {
        Self { numbers, at: 0 }
    }

    /// A number below `bound`.
    pub fn below(&mut self, bound: usize) -> usize {
        let number = self.numbers.get(self.at).copied().unwrap_or(0);
        self.at += 1;
        number as usize % bound
    }

    fn is_empty(&self) -> bool {
        self.at >= self.numbers.len()
    }

    fn pick<T: Copy>(&mut self, options: &[T]) -> T {
        options[self.below(options.len())]
    }

    fn one_in(&mut self, odds: usize) -> bool {
        self.below(odds) == odds - 1
    }
}

// --- series ---------------------------------------------------------------------------------------------------------

/// How many series there are at most, and how many choices one takes.
pub const SERIES: usize = 19;
pub const SERIES_CHOICES: usize = 150;

/// A dozen series or two over about ten minutes. Every series has a tape of its own and is as long as that.
pub fn series(tapes: &[Vec<u32>]) -> Vec<(Labels, Points)> {
    let mut tapes = tapes.iter().map(|numbers| Tape::new(numbers));
    let mut tape = || tapes.next().unwrap_or_else(|| Tape::new(&[]));
    let mut out = vec![(
        Labels::from_pairs([("__name__", "s")]),
        points(&mut tape(), Kind::Gauge),
    )];
    for a in ["1", "2", "3"] {
        for b in ["x", "y"] {
            let labels = |name| Labels::from_pairs([("__name__", name), ("a", a), ("b", b)]);
            out.push((labels("g"), points(&mut tape(), Kind::Gauge)));
            out.push((labels("c_total"), points(&mut tape(), Kind::Counter)));
        }
        let labels = Labels::from_pairs([("__name__", "about"), ("a", a), ("c", "p-q")]);
        out.push((labels, points(&mut tape(), Kind::Gauge)));
        let counts = histogram(&mut tape());
        for (index, le) in ["1", "2.5", "1e1", "+Inf"].into_iter().enumerate() {
            let labels = Labels::from_pairs([("__name__", "h_bucket"), ("a", a), ("le", le)]);
            let column = counts.iter().map(|(at, counts)| (*at, counts[index]));
            out.push((labels, column.collect()));
        }
    }
    out.retain(|(_, points)| !points.is_empty());
    out.sort_by(|x, y| x.0.cmp(&y.0));
    out
}

#[derive(Clone, Copy, PartialEq)]
enum Kind {
    Counter,
    Gauge,
}

// Quarters are exact in binary: sums of them do not depend on their order.
fn quarters(tape: &mut Tape<'_>, bound: usize) -> f64 {
    tape.below(bound) as f64 / 4.0
}

// Scrapes of one target: every so often, some late, some missing, sometimes for long.
struct Clock {
    at: i64,
    every: i64,
    is_irregular: bool,
}

impl Clock {
    fn new(tape: &mut Tape<'_>) -> Self {
        Self {
            every: tape.pick(&[15_000, 10_000, 37_000]),
            is_irregular: tape.one_in(2),
            at: BASE + tape.below(4) as i64 * 5_000,
        }
    }

    // `None` once the tape is used up.
    fn next(&mut self, tape: &mut Tape<'_>) -> Option<i64> {
        let at = self.at;
        self.at += self.every;
        if self.is_irregular {
            self.at += tape.below(9_000) as i64 - 4_000;
        }
        if tape.one_in(14) {
            self.at += tape.pick(&[20_000, 60_000, 320_000]);
        }
        (!tape.is_empty()).then_some(at)
    }
}

fn points(tape: &mut Tape<'_>, kind: Kind) -> Points {
    let is_wild = kind == Kind::Gauge && tape.one_in(4);
    let mut clock = Clock::new(tape);
    let mut value = 0.0;
    let mut out = Points::new();
    while let Some(at) = clock.next(tape) {
        if kind == Kind::Counter {
            value = if tape.one_in(12) { 0.0 } else { value } + quarters(tape, 40);
        } else if !tape.one_in(5) {
            value = quarters(tape, 400);
            if tape.one_in(3) {
                value = -value;
            }
        }
        let special = if is_wild && tape.one_in(5) {
            tape.pick(&[f64::NAN, f64::INFINITY, f64::NEG_INFINITY, -0.0, 1e300, -1e-300])
        } else {
            value
        };
        let ends = tape.one_in(25);
        out.push((at, if ends { STALE_NAN } else { special }));
    }
    out
}

fn histogram(tape: &mut Tape<'_>) -> Vec<(i64, [f64; 4])> {
    let mut clock = Clock::new(tape);
    let mut counts = [0.0; 4];
    let mut out = Vec::new();
    while let Some(at) = clock.next(tape) {
        if tape.one_in(15) {
            counts = [0.0; 4];
        }
        let hit = tape.below(5);
        for (index, count) in counts.iter_mut().enumerate() {
            if index >= hit {
                *count += 1.0 + tape.below(2) as f64;
            }
        }
        let ends = tape.one_in(25);
        out.push((at, if ends { [STALE_NAN; 4] } else { counts }));
    }
    out
}

// --- times of a query -----------------------------------------------------------------------------------------------

/// When a case is evaluated. Milliseconds.
#[derive(Debug, Clone, Copy)]
pub struct When {
    pub start: i64,
    pub end: i64,
    pub step: i64,
    pub lookback: i64,
}

pub fn when(tape: &mut Tape<'_>) -> When {
    let start = BASE - 30_000 + 250 * tape.below(2_400) as i64;
    let step = tape.pick(&[15_000, 1_000, 7_500, 30_000, 60_000, 100_001]);
    let steps = tape.below(40) as i64;
    // An end that no step falls on.
    let slack = if tape.one_in(3) { step / 2 } else { 0 };
    When {
        start,
        end: start + steps * step + slack,
        step,
        lookback: tape.pick(&[300_000, 40_000]),
    }
}

// --- expressions ----------------------------------------------------------------------------------------------------

/// A query: a vector, seldom a scalar, and only here one that is sorted or picks the largest.
pub fn query(tape: &mut Tape<'_>) -> String {
    let depth = 1 + tape.below(4);
    match tape.below(20) {
        17 => {
            let pick = tape.pick(&["topk", "bottomk"]);
            let by = tape.pick(&["", " by (a)", " without (b)"]);
            let k = tape.pick(&["1", "2", "3", "0", "-1", "1.9", "NaN", "scalar(s)"]);
            format!("{pick}{by} ({k}, {})", vector(tape, depth - 1))
        }
        18 => format!("{}({})", tape.pick(&["sort", "sort_desc"]), vector(tape, depth - 1)),
        19 => scalar(tape, depth),
        _ => vector(tape, depth),
    }
}

fn number(tape: &mut Tape<'_>) -> &'static str {
    tape.pick(&[
        "1", "2", "0", "0.5", "-1", "100", "1e3", "0.25", "NaN", "Inf", "-Inf", "-0.0",
    ])
}

fn scalar(tape: &mut Tape<'_>, depth: usize) -> String {
    if depth == 0 {
        return number(tape).to_owned();
    }
    match tape.below(7) {
        0 | 1 => number(tape).to_owned(),
        2 => "time()".to_owned(),
        3 => format!("scalar({})", vector(tape, depth - 1)),
        4 => "pi()".to_owned(),
        5 => {
            let op = tape.pick(&["+", "-", "*", "/", "%", "> bool", "== bool"]);
            format!("({} {op} {})", scalar(tape, depth - 1), scalar(tape, depth - 1))
        }
        _ => format!("-({})", scalar(tape, depth - 1)),
    }
}

fn quantile(tape: &mut Tape<'_>) -> String {
    tape.pick(&["0.5", "0.9", "0", "1", "-1", "2", "NaN", "scalar(s) / 10"])
        .to_owned()
}

fn matchers(tape: &mut Tape<'_>) -> &'static str {
    let some = [
        "",
        "",
        "{a=\"1\"}",
        "{a!=\"1\"}",
        "{a=~\"1|2\"}",
        "{a!~\"[12]\"}",
        "{b=\"\"}",
        "{b=~\".+\"}",
        "{a=\"1\",b=~\"x|y|\"}",
        "{b=\"x\"}",
        "{a=~\".*\",b!=\"y\"}",
        "{b=\"nothing\"}",
        "{a=\"2\",b=\"z\",a!=\"1\"}",
    ];
    tape.pick(&some)
}

fn modifiers(tape: &mut Tape<'_>) -> String {
    if !tape.one_in(4) {
        return String::new();
    }
    let at = BASE / 1000 + tape.pick(&[100_i64, 0, 300, 601, -50]);
    match tape.below(7) {
        0 => " offset 30s".to_owned(),
        1 => " offset 2m7s".to_owned(),
        2 => " offset -15s".to_owned(),
        3 => format!(" @ {at}.5"),
        4 => format!(" offset 1m @ {at}"),
        5 => " @ start()".to_owned(),
        _ => " @ end() offset -20s".to_owned(),
    }
}

fn selector(tape: &mut Tape<'_>) -> String {
    let name = tape.pick(&[
        "g",
        "c_total",
        "s",
        "about",
        "h_bucket",
        "{__name__=~\"g|c_total\"}",
        "nothing",
    ]);
    if name.starts_with('{') {
        return name.to_owned();
    }
    format!("{name}{}", matchers(tape))
}

fn range(tape: &mut Tape<'_>) -> &'static str {
    tape.pick(&["1m", "2m", "30s", "5m", "10s", "47s", "1s"])
}

fn matrix(tape: &mut Tape<'_>, depth: usize) -> String {
    if depth == 0 || !tape.one_in(3) {
        return format!("{}[{}]{}", selector(tape), range(tape), modifiers(tape));
    }
    let inner = if tape.one_in(6) {
        scalar(tape, depth - 1)
    } else {
        vector(tape, depth - 1)
    };
    let step = tape.pick(&["15s", "10s", "7s", "30s", ""]);
    format!("({inner})[{}:{step}]{}", range(tape), modifiers(tape))
}

fn vector(tape: &mut Tape<'_>, depth: usize) -> String {
    if depth == 0 {
        return format!("{}{}", selector(tape), modifiers(tape));
    }
    let below = depth - 1;
    match tape.below(26) {
        0 => format!("{}{}", selector(tape), modifiers(tape)),
        1..=5 => over_range(tape, below),
        6..=8 => aggregation(tape, below),
        9..=12 => matched(tape, below),
        13 | 14 => set(tape, below),
        15 | 16 => with_scalar(tape, below),
        17 | 18 => number_function(tape, below),
        19 => match tape.below(3) {
            0 => format!(
                "clamp({}, {}, {})",
                vector(tape, below),
                scalar(tape, below),
                scalar(tape, below)
            ),
            1 => format!("clamp_min({}, {})", vector(tape, below), scalar(tape, below)),
            _ => format!("clamp_max({}, {})", vector(tape, below), scalar(tape, below)),
        },
        20 => match tape.below(4) {
            0 => format!(
                "label_replace({}, \"a\", \"$1\", \"c\", \"(p).*\")",
                vector(tape, below)
            ),
            1 => format!(
                "label_replace({}, \"n\", \"${{1}}-$2\", \"__name__\", \"(.)(_total)?\")",
                vector(tape, below)
            ),
            2 => format!("label_replace({}, \"b\", \"\", \"a\", \"[12]\")", vector(tape, below)),
            _ => format!(
                "label_join({}, \"j\", \"-\", \"a\", \"none\", \"b\")",
                vector(tape, below)
            ),
        },
        21 => match tape.below(3) {
            0 => format!("absent({})", vector(tape, below)),
            1 => format!("absent_over_time({})", matrix(tape, below)),
            _ => format!("vector({})", scalar(tape, below)),
        },
        22 => match tape.below(4) {
            0 => format!("timestamp({})", vector(tape, below)),
            1 => format!("{}()", calendar(tape)),
            2 => format!("{}(timestamp({}))", calendar(tape), vector(tape, below)),
            _ => format!("-({})", vector(tape, below)),
        },
        23 | 24 => histogram_quantile(tape),
        // What is picked among equal values is nobody's promise; their number and sum is.
        _ => {
            let outer = tape.pick(&["count", "sum", "min", "max", "avg"]);
            let pick = tape.pick(&["topk", "bottomk"]);
            let by = tape.pick(&["", " by (a)", " without (b)"]);
            let k = tape.pick(&["1", "2", "0", "scalar(s)"]);
            format!("{outer}({pick}{by} ({k}, {}))", vector(tape, below))
        }
    }
}

fn calendar(tape: &mut Tape<'_>) -> &'static str {
    tape.pick(&[
        "hour",
        "minute",
        "month",
        "year",
        "day_of_month",
        "day_of_week",
        "day_of_year",
        "days_in_month",
    ])
}

fn over_range(tape: &mut Tape<'_>, depth: usize) -> String {
    let name = tape.pick(&[
        "rate",
        "increase",
        "delta",
        "irate",
        "idelta",
        "sum_over_time",
        "avg_over_time",
        "min_over_time",
        "max_over_time",
        "count_over_time",
        "present_over_time",
        "first_over_time",
        "last_over_time",
        "stddev_over_time",
        "stdvar_over_time",
        "quantile_over_time",
        "changes",
        "resets",
        "deriv",
        "predict_linear",
        "mad_over_time",
        "ts_of_first_over_time",
        "ts_of_last_over_time",
        "ts_of_min_over_time",
        "ts_of_max_over_time",
        "double_exponential_smoothing",
    ]);
    match name {
        "quantile_over_time" => format!("{name}({}, {})", quantile(tape), matrix(tape, depth)),
        "predict_linear" => format!("{name}({}, {})", matrix(tape, depth), tape.pick(&["60", "-30", "0"])),
        "double_exponential_smoothing" => format!("{name}({}, 0.5, 0.25)", matrix(tape, depth)),
        _ => format!("{name}({})", matrix(tape, depth)),
    }
}

fn aggregation(tape: &mut Tape<'_>, depth: usize) -> String {
    let name = tape.pick(&[
        "sum",
        "avg",
        "min",
        "max",
        "count",
        "group",
        "stddev",
        "stdvar",
        "quantile",
        "count_values",
    ]);
    let by = tape.pick(&[
        "",
        " by (a)",
        " by (a, b)",
        " without (b)",
        " without ()",
        " by (__name__)",
        " by (nothing)",
        " by (le)",
        " without (a, le)",
    ]);
    match name {
        "quantile" => format!("{name}{by} ({}, {})", quantile(tape), vector(tape, depth)),
        // Counts and samples have few digits: how others are rounded must not matter.
        "count_values" => {
            let label = tape.pick(&["v", "a"]);
            let counted = if tape.one_in(2) {
                format!("count by (b) ({})", selector(tape))
            } else {
                selector(tape)
            };
            format!("{name}{by} (\"{label}\", {counted})")
        }
        _ => format!("{name}{by} ({})", vector(tape, depth)),
    }
}

const ARITHMETIC: [&str; 7] = ["+", "-", "*", "/", "%", "^", "atan2"];
const COMPARISONS: [&str; 6] = ["==", "!=", "<", "<=", ">", ">="];

fn operator(tape: &mut Tape<'_>) -> String {
    if tape.one_in(2) {
        let bool = tape.pick(&["", " bool"]);
        format!("{}{bool}", tape.pick(&COMPARISONS))
    } else {
        tape.pick(&ARITHMETIC).to_owned()
    }
}

fn matched(tape: &mut Tape<'_>, depth: usize) -> String {
    let op = operator(tape);
    let how = tape.pick(&[
        "",
        "on (a)",
        "on (a, b)",
        "ignoring (b)",
        "ignoring (b, c, le)",
        "on (a) group_left ()",
        "on (a) group_left (c)",
        "on (a) group_right (c)",
        "ignoring (b, c) group_left (c)",
        "on () group_left ()",
        "on (a) group_left (b)",
        "ignoring (le) group_right ()",
        "on ()",
    ]);
    // Many-to-one mostly fails on random operands, so some are made to fit.
    let (lhs, rhs) = match (tape.below(3), how) {
        (0, _) => (vector(tape, depth), vector(tape, depth)),
        (_, how) if how.contains("group_right") => (format!("about{}", matchers(tape)), vector(tape, depth)),
        (_, how) if how.contains("group_left") && how.contains("(a)") => (vector(tape, depth), "about".to_owned()),
        (_, how) if how.contains("on ()") => (vector(tape, depth), format!("sum({})", vector(tape, depth.min(1)))),
        (1, "on (a)") => {
            let side = |v: String| format!("sum by (a) ({v})");
            (side(vector(tape, depth)), side(vector(tape, depth)))
        }
        _ => {
            let side = |v: String| format!("max by (a, b) ({v})");
            (vector(tape, depth), side(vector(tape, depth)))
        }
    };
    format!("({lhs} {op} {how} {rhs})")
}

fn set(tape: &mut Tape<'_>, depth: usize) -> String {
    let op = tape.pick(&["and", "or", "unless"]);
    let how = tape.pick(&["", "on (a)", "ignoring (b)", "on ()", "on (a, b)", "ignoring (le, c)"]);
    format!("({} {op} {how} {})", vector(tape, depth), vector(tape, depth))
}

fn with_scalar(tape: &mut Tape<'_>, depth: usize) -> String {
    let op = operator(tape);
    if tape.one_in(2) {
        format!("({} {op} {})", scalar(tape, depth), vector(tape, depth))
    } else {
        format!("({} {op} {})", vector(tape, depth), scalar(tape, depth))
    }
}

fn number_function(tape: &mut Tape<'_>, depth: usize) -> String {
    let name = tape.pick(&[
        "abs", "ceil", "floor", "exp", "sqrt", "ln", "log2", "log10", "sin", "cos", "tan", "asin", "acos", "atan",
        "sinh", "cosh", "tanh", "asinh", "acosh", "atanh", "rad", "deg", "sgn", "round",
    ]);
    match name {
        "round" if tape.one_in(2) => format!("round({}, {})", vector(tape, depth), number(tape)),
        _ => format!("{name}({})", vector(tape, depth)),
    }
}

fn histogram_quantile(tape: &mut Tape<'_>) -> String {
    let q = quantile(tape);
    let range = range(tape);
    let buckets = match tape.below(5) {
        0 => format!("h_bucket{}", modifiers(tape)),
        1 => format!("rate(h_bucket[{range}])"),
        2 => format!("sum by (le) (rate(h_bucket[{range}]))"),
        3 => format!("sum by (a, le) (increase(h_bucket[{range}]))"),
        _ => "h_bucket{le!=\"2.5\"} or c_total".to_owned(),
    };
    format!("histogram_quantile({q}, {buckets})")
}
