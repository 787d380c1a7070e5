//! Trees as JSON, as `/api/v1/parse_query` answers them: the fields and values of upstream's tree view.

use std::fmt::Write as _;

use cupola_model::{Matcher, fmt_f64};

use crate::{At, DurationExpr, DurationKind, Expr, ExprKind, ExtendedRange, MatchCard, Modifiers, Subquery, ValueType};
use crate::{VectorMatching, VectorSelector};

impl Expr {
    /// The tree as JSON, on one line.
    ///
    /// Times and durations are milliseconds; a duration that is not known before the query's step and range are
    /// (`[step() * 2]`) counts as 0, as upstream's does.
    #[must_use]
    pub fn to_json(&self) -> String {
        let mut out = Json::new(false);
        write_expr(self, &mut out);
        out.text
    }

    /// As [`Expr::to_json`], over several lines with two spaces per level.
    #[must_use]
    pub fn to_json_pretty(&self) -> String {
        let mut out = Json::new(true);
        write_expr(self, &mut out);
        out.text
    }
}

// Writes JSON from left to right.
struct Json {
    text: String,
    pretty: bool,
    level: usize,
    // Whether the next field or item is the first of its object or list.
    first: bool,
}

impl Json {
    fn new(pretty: bool) -> Self {
        Self {
            text: String::new(),
            pretty,
            level: 0,
            first: true,
        }
    }

    fn raw(&mut self, value: impl std::fmt::Display) {
        // Writing to a String cannot fail.
        let _ = write!(self.text, "{value}");
    }

    fn string(&mut self, value: &str) {
        self.text.push('"');
        for c in value.chars() {
            match c {
                '"' => self.text.push_str("\\\""),
                '\\' => self.text.push_str("\\\\"),
                '\n' => self.text.push_str("\\n"),
                '\r' => self.text.push_str("\\r"),
                '\t' => self.text.push_str("\\t"),
                '\0'..='\u{1f}' => self.raw(format_args!("\\u{:04x}", u32::from(c))),
                _ => self.text.push(c),
            }
        }
        self.text.push('"');
    }

    fn open(&mut self, bracket: char) {
        self.text.push(bracket);
        self.level += 1;
        self.first = true;
    }

    fn close(&mut self, bracket: char) {
        self.level -= 1;
        if !self.first {
            self.line();
        }
        self.text.push(bracket);
        self.first = false;
    }

    fn line(&mut self) {
        if self.pretty {
            self.text.push('\n');
            self.text.extend(std::iter::repeat_n("  ", self.level));
        }
    }

    fn item(&mut self) {
        if !self.first {
            self.text.push(',');
        }
        self.first = false;
        self.line();
    }

    fn field(&mut self, name: &str) {
        self.item();
        self.string(name);
        self.text.push_str(if self.pretty { ": " } else { ":" });
    }

    fn string_field(&mut self, name: &str, value: &str) {
        self.field(name);
        self.string(value);
    }

    fn raw_field(&mut self, name: &str, value: impl std::fmt::Display) {
        self.field(name);
        self.raw(value);
    }

    fn strings_field<'a>(&mut self, name: &str, values: impl IntoIterator<Item = &'a str>) {
        self.field(name);
        self.open('[');
        for value in values {
            self.item();
            self.string(value);
        }
        self.close(']');
    }

    fn expr_field(&mut self, name: &str, expr: Option<&Expr>) {
        self.field(name);
        match expr {
            Some(expr) => write_expr(expr, self),
            None => self.raw("null"),
        }
    }
}

fn write_expr(expr: &Expr, out: &mut Json) {
    out.open('{');
    match &expr.kind {
        ExprKind::Number(number) => {
            out.string_field("type", "numberLiteral");
            out.string_field("val", &fmt_f64(number.value));
        }
        ExprKind::String(text) => {
            out.string_field("type", "stringLiteral");
            out.string_field("val", text);
        }
        ExprKind::VectorSelector(selector) => {
            out.string_field("type", "vectorSelector");
            write_selector(selector, out);
        }
        ExprKind::MatrixSelector { selector, range, .. } => {
            out.string_field("type", "matrixSelector");
            out.raw_field("range", milliseconds(Some(range)));
            write_selector(selector, out);
        }
        ExprKind::Subquery(subquery) => write_subquery(subquery, out),
        ExprKind::Unary { op, expr } => {
            out.string_field("type", "unaryExpr");
            out.string_field("op", op.as_str());
            out.expr_field("expr", Some(expr));
        }
        ExprKind::Binary(binary) => {
            out.string_field("type", "binaryExpr");
            out.string_field("op", binary.op.as_str());
            out.raw_field("bool", binary.return_bool);
            out.field("matching");
            match &binary.matching {
                Some(matching) => write_matching(matching, out),
                None => out.raw("null"),
            }
            out.expr_field("lhs", Some(&binary.lhs));
            out.expr_field("rhs", Some(&binary.rhs));
        }
        ExprKind::Aggregate(aggregate) => {
            out.string_field("type", "aggregation");
            out.string_field("op", aggregate.op.as_str());
            out.strings_field("grouping", aggregate.grouping.iter().map(String::as_str));
            out.raw_field("without", aggregate.without);
            out.expr_field("param", aggregate.param.as_ref());
            out.expr_field("expr", Some(&aggregate.expr));
        }
        ExprKind::Call(call) => {
            out.string_field("type", "call");
            out.field("func");
            out.open('{');
            out.string_field("name", call.function.name);
            out.strings_field("argTypes", call.function.args.iter().map(|ty| ty.as_str()));
            out.raw_field("variadic", call.function.variadic);
            out.string_field("returnType", ValueType::as_str(call.function.returns));
            out.close('}');
            out.field("args");
            out.open('[');
            for arg in &call.args {
                out.item();
                write_expr(arg, out);
            }
            out.close(']');
        }
        ExprKind::Paren(inner) => {
            out.string_field("type", "parenExpr");
            out.expr_field("expr", Some(inner));
        }
    }
    out.close('}');
}

fn write_selector(selector: &VectorSelector, out: &mut Json) {
    out.string_field("name", selector.name.as_deref().unwrap_or_default());
    out.field("matchers");
    out.open('[');
    for matcher in &selector.matchers {
        out.item();
        write_matcher(matcher, out);
    }
    out.close(']');
    write_modifiers(&selector.modifiers, out);
    out.raw_field("anchored", selector.extended == Some(ExtendedRange::Anchored));
    out.raw_field("smoothed", selector.extended == Some(ExtendedRange::Smoothed));
}

fn write_matcher(matcher: &Matcher, out: &mut Json) {
    out.open('{');
    out.string_field("name", matcher.name());
    out.string_field("type", matcher.op().as_str());
    out.string_field("value", matcher.value());
    out.close('}');
}

fn write_subquery(subquery: &Subquery, out: &mut Json) {
    out.string_field("type", "subquery");
    out.raw_field("range", milliseconds(Some(&subquery.range)));
    out.raw_field("step", milliseconds(subquery.step.as_ref()));
    write_modifiers(&subquery.modifiers, out);
    out.expr_field("expr", Some(&subquery.expr));
}

fn write_modifiers(modifiers: &Modifiers, out: &mut Json) {
    out.raw_field("offset", milliseconds(modifiers.offset.as_ref()));
    let (timestamp, start_or_end) = match modifiers.at {
        None => (None, None),
        Some(At::Time(ms)) => (Some(ms), None),
        Some(At::Start) => (None, Some("start")),
        Some(At::End) => (None, Some("end")),
    };
    out.field("timestamp");
    match timestamp {
        Some(ms) => out.raw(ms),
        None => out.raw("null"),
    }
    out.field("startOrEnd");
    match start_or_end {
        Some(name) => out.string(name),
        None => out.raw("null"),
    }
}

fn write_matching(matching: &VectorMatching, out: &mut Json) {
    out.open('{');
    out.string_field(
        "card",
        match matching.card {
            MatchCard::OneToOne => "one-to-one",
            MatchCard::ManyToOne => "many-to-one",
            MatchCard::OneToMany => "one-to-many",
            MatchCard::ManyToMany => "many-to-many",
        },
    );
    out.strings_field("labels", matching.labels.iter().map(String::as_str));
    out.raw_field("on", matching.on);
    out.strings_field("include", matching.include.iter().map(String::as_str));
    out.field("fillValues");
    out.open('{');
    for (name, value) in [("lhs", matching.fill_left), ("rhs", matching.fill_right)] {
        out.field(name);
        // JSON has no number for NaN and infinity.
        match value.filter(|value| value.is_finite()) {
            Some(value) => out.raw(fmt_f64(value)),
            None => out.raw("null"),
        }
    }
    out.close('}');
    out.close('}');
}

fn milliseconds(duration: Option<&DurationExpr>) -> i64 {
    match duration.map(|duration| &duration.kind) {
        Some(DurationKind::Literal(ms)) => *ms,
        _ => 0,
    }
}
