//! The tree. Every node knows the bytes of the query it came from.

use cupola_model::Matcher;

/// A range of bytes in the query text; `end` is exclusive.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Hash)]
pub struct Span {
    /// First byte.
    pub start: usize,
    /// One past the last byte.
    pub end: usize,
}

/// What an expression evaluates to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ValueType {
    /// One number per step.
    Scalar,
    /// A set of series with one sample each per step ("instant vector").
    Vector,
    /// A set of series with a range of samples each ("range vector").
    Matrix,
    /// A text.
    String,
}

impl ValueType {
    /// The name the API uses: `scalar`, `vector`, `matrix`, `string`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Scalar => "scalar",
            Self::Vector => "vector",
            Self::Matrix => "matrix",
            Self::String => "string",
        }
    }

    /// The name error texts use: `scalar`, `instant vector`, `range vector`, `string`.
    #[must_use]
    pub fn documented(self) -> &'static str {
        match self {
            Self::Scalar => "scalar",
            Self::Vector => "instant vector",
            Self::Matrix => "range vector",
            Self::String => "string",
        }
    }
}

/// An expression with its place in the text.
#[derive(Debug, Clone, PartialEq)]
pub struct Expr {
    /// What it is.
    pub kind: ExprKind,
    /// Where it stands.
    pub span: Span,
}

/// The kinds of expression.
#[derive(Debug, Clone, PartialEq)]
pub enum ExprKind {
    /// `1.5`, `0x1f`, `Inf`, `5m` (a duration is its seconds).
    Number(NumberLiteral),
    /// `"text"`.
    String(String),
    /// `x{a="b"} offset 5m @ end()`.
    VectorSelector(VectorSelector),
    /// `x[5m]`. The modifiers of the text stand on the selector inside.
    MatrixSelector {
        /// The selector whose samples are taken.
        selector: VectorSelector,
        /// The bytes of the selector inside, without the range.
        selector_span: Span,
        /// The length of the window.
        range: DurationExpr,
    },
    /// `expr[5m:1m]`.
    Subquery(Box<Subquery>),
    /// `-x`, `+x`.
    Unary {
        /// `Sub` or `Add`.
        op: BinaryOp,
        /// The operand.
        expr: Box<Expr>,
    },
    /// `a + b`.
    Binary(Box<Binary>),
    /// `sum by (x) (y)`.
    Aggregate(Box<Aggregate>),
    /// `rate(x[5m])`.
    Call(Call),
    /// `(x)`.
    Paren(Box<Expr>),
}

/// A number and how it was written.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct NumberLiteral {
    /// The value; a duration's seconds.
    pub value: f64,
    /// Whether it was written as a duration (`5m`), and is printed as one.
    pub is_duration: bool,
}

/// Selects series.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct VectorSelector {
    /// The metric name written before the braces, if there is one. A name inside the braces (`{"foo"}`) is only a
    /// matcher, as in Prometheus.
    pub name: Option<String>,
    /// All conditions in their order, the one on `__name__` included; that of `name` comes last.
    pub matchers: Vec<Matcher>,
    /// `offset`, `@`.
    pub modifiers: Modifiers,
    /// `anchored` or `smoothed` (feature promql-extended-range-selectors).
    pub extended: Option<ExtendedRange>,
}

/// How a window takes the samples at its edges.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ExtendedRange {
    /// Takes the last sample before the window as its first.
    Anchored,
    /// Interpolates at both edges.
    Smoothed,
}

/// Moves a selection in time.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Modifiers {
    /// `offset 5m`; subtracted from the evaluation time. `offset 0s` is the same as none, as in Prometheus.
    pub offset: Option<DurationExpr>,
    /// `@ 123`, `@ start()`, `@ end()`.
    pub at: Option<At>,
}

/// The fixed time of `@`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum At {
    /// `@ 123.4`, in milliseconds since the epoch.
    Time(i64),
    /// `@ start()`: the query's start.
    Start,
    /// `@ end()`: the query's end.
    End,
}

/// A duration as written in ranges and offsets.
#[derive(Debug, Clone, PartialEq)]
pub struct DurationExpr {
    /// What it is.
    pub kind: DurationKind,
    /// Where it stands.
    pub span: Span,
}

/// The kinds of duration expression (Prometheus 3: stable in ranges and offsets).
#[derive(Debug, Clone, PartialEq)]
pub enum DurationKind {
    /// `5m`, or a plain number of seconds that stands alone, in milliseconds; negative where a sign was written.
    Literal(i64),
    /// A plain number inside arithmetic: `2` in `2 * 15m`. Seconds where it adds up with durations.
    Seconds(f64),
    /// `step()`: the query's step.
    Step,
    /// `range()`: the query's end minus its start.
    Range,
    /// `-d`. The parser drops a plus sign and folds the sign of a literal.
    Unary {
        /// `Sub` or `Add`.
        op: BinaryOp,
        /// The operand.
        expr: Box<DurationExpr>,
    },
    /// `a + b`, `a - b`, `a * b`, `a / b`, `a % b`, `a ^ b`; operands count in seconds.
    Binary {
        /// The operator.
        op: BinaryOp,
        /// Left operand.
        lhs: Box<DurationExpr>,
        /// Right operand.
        rhs: Box<DurationExpr>,
    },
    /// `min_of(a, b)`, `max_of(a, b)`.
    Choice {
        /// `min_of` or `max_of`.
        largest: bool,
        /// First argument.
        lhs: Box<DurationExpr>,
        /// Second argument.
        rhs: Box<DurationExpr>,
    },
    /// `(d)`.
    Paren(Box<DurationExpr>),
}

/// `expr[range:step]`.
#[derive(Debug, Clone, PartialEq)]
pub struct Subquery {
    /// Evaluated at each step of the range.
    pub expr: Expr,
    /// How far back.
    pub range: DurationExpr,
    /// `None` means the global evaluation interval.
    pub step: Option<DurationExpr>,
    /// `offset`, `@` written after the brackets.
    pub modifiers: Modifiers,
}

/// `lhs op rhs`.
#[derive(Debug, Clone, PartialEq)]
pub struct Binary {
    /// The operator.
    pub op: BinaryOp,
    /// The operator's place.
    pub op_span: Span,
    /// `bool`: a comparison gives 0 or 1 instead of filtering.
    pub return_bool: bool,
    /// How series of both sides pair up; `None` where a side is a scalar.
    pub matching: Option<VectorMatching>,
    /// Left operand.
    pub lhs: Expr,
    /// Right operand.
    pub rhs: Expr,
}

/// How series of both sides of an operator pair up.
#[derive(Debug, Clone, PartialEq)]
pub struct VectorMatching {
    /// How many of each side one group may have.
    pub card: MatchCard,
    /// Whether `labels` came with `on` (else `ignoring`).
    pub on: bool,
    /// The labels of `on` or `ignoring`.
    pub labels: Vec<String>,
    /// The extra labels that `group_left(...)` or `group_right(...)` copies from the "one" side.
    pub include: Vec<String>,
    /// `fill_left(x)`: stands in for missing series of the left side.
    pub fill_left: Option<f64>,
    /// `fill_right(x)`.
    pub fill_right: Option<f64>,
}

/// The cardinality of a vector match.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MatchCard {
    /// One series of each side.
    OneToOne,
    /// `group_left`.
    ManyToOne,
    /// `group_right`.
    OneToMany,
    /// `and`, `or`, `unless`.
    ManyToMany,
}

/// Binary operators.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[expect(missing_docs, reason = "the names are the operators")]
pub enum BinaryOp {
    Add,
    Sub,
    Mul,
    Div,
    Mod,
    Pow,
    Atan2,
    Eq,
    Ne,
    Lt,
    Le,
    Gt,
    Ge,
    /// `</`: keeps the part of a histogram below the bound.
    TrimUpper,
    /// `>/`: keeps the part of a histogram above the bound.
    TrimLower,
    And,
    Or,
    Unless,
}

impl BinaryOp {
    /// The operator as written.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Add => "+",
            Self::Sub => "-",
            Self::Mul => "*",
            Self::Div => "/",
            Self::Mod => "%",
            Self::Pow => "^",
            Self::Atan2 => "atan2",
            Self::Eq => "==",
            Self::Ne => "!=",
            Self::Lt => "<",
            Self::Le => "<=",
            Self::Gt => ">",
            Self::Ge => ">=",
            Self::TrimUpper => "</",
            Self::TrimLower => ">/",
            Self::And => "and",
            Self::Or => "or",
            Self::Unless => "unless",
        }
    }

    /// `==`, `!=`, `<`, `<=`, `>`, `>=`.
    #[must_use]
    pub fn is_comparison(self) -> bool {
        matches!(self, Self::Eq | Self::Ne | Self::Lt | Self::Le | Self::Gt | Self::Ge)
    }

    /// `and`, `or`, `unless`.
    #[must_use]
    pub fn is_set(self) -> bool {
        matches!(self, Self::And | Self::Or | Self::Unless)
    }
}

/// `op by (grouping) (param, expr)`.
#[derive(Debug, Clone, PartialEq)]
pub struct Aggregate {
    /// The aggregation.
    pub op: AggregateOp,
    /// The argument of topk, bottomk, quantile, count_values, limitk, limit_ratio.
    pub param: Option<Expr>,
    /// What is aggregated.
    pub expr: Expr,
    /// The labels of `by` or `without`.
    pub grouping: Vec<String>,
    /// Whether the labels came with `without`.
    pub without: bool,
}

/// Aggregations.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[expect(missing_docs, reason = "the names are the aggregations")]
pub enum AggregateOp {
    Sum,
    Avg,
    Min,
    Max,
    Count,
    Group,
    Stddev,
    Stdvar,
    Topk,
    Bottomk,
    Quantile,
    CountValues,
    Limitk,
    LimitRatio,
}

impl AggregateOp {
    /// All, in the order of Prometheus's grammar.
    pub const ALL: [Self; 14] = [
        Self::Sum,
        Self::Avg,
        Self::Min,
        Self::Max,
        Self::Count,
        Self::Group,
        Self::Stddev,
        Self::Stdvar,
        Self::Topk,
        Self::Bottomk,
        Self::Quantile,
        Self::CountValues,
        Self::Limitk,
        Self::LimitRatio,
    ];

    /// The name as written.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Sum => "sum",
            Self::Avg => "avg",
            Self::Min => "min",
            Self::Max => "max",
            Self::Count => "count",
            Self::Group => "group",
            Self::Stddev => "stddev",
            Self::Stdvar => "stdvar",
            Self::Topk => "topk",
            Self::Bottomk => "bottomk",
            Self::Quantile => "quantile",
            Self::CountValues => "count_values",
            Self::Limitk => "limitk",
            Self::LimitRatio => "limit_ratio",
        }
    }

    /// Whether the aggregation takes a parameter before the vector.
    #[must_use]
    pub fn has_param(self) -> bool {
        matches!(
            self,
            Self::Topk | Self::Bottomk | Self::Quantile | Self::CountValues | Self::Limitk | Self::LimitRatio
        )
    }

    /// Whether it is behind the feature flag promql-experimental-functions.
    #[must_use]
    pub fn is_experimental(self) -> bool {
        matches!(self, Self::Limitk | Self::LimitRatio)
    }
}

/// `name(args)`.
#[derive(Debug, Clone, PartialEq)]
pub struct Call {
    /// The function, from the table in [`crate::functions`].
    pub function: &'static crate::Function,
    /// Arguments that were written; optional ones may be missing.
    pub args: Vec<Expr>,
}
