//! What a parser allows beyond the stable language, and how large a query may be.

/// How deep parentheses, calls and signs may nest. Upstream has no bound; ours keeps the stack small.
pub const MAX_NESTING: usize = 256;

/// How high the tree may be; `a + b + c` is a tree of height 3. What walks the tree recursively can rely on it.
pub const MAX_HEIGHT: usize = 1_000;

/// The parser's part of `--enable-feature`. The default is the stable language of Prometheus 3.14, where duration
/// expressions, `@` and negative offsets are stable.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ParseOptions {
    /// `promql-experimental-functions`: also `limitk` and `limit_ratio`.
    pub experimental_functions: bool,
    /// `promql-extended-range-selectors`: `anchored` and `smoothed`.
    pub extended_range_selectors: bool,
    /// `promql-binop-fill-modifiers`: `fill`, `fill_left` and `fill_right`.
    pub binop_fill_modifiers: bool,
}

impl ParseOptions {
    /// Everything on.
    #[must_use]
    pub fn all() -> Self {
        Self {
            experimental_functions: true,
            extended_range_selectors: true,
            binop_fill_modifiers: true,
        }
    }

    /// Turns on what the name of `--enable-feature` stands for; false where it is none of the parser's.
    pub fn enable_feature(&mut self, name: &str) -> bool {
        match name {
            "promql-experimental-functions" => self.experimental_functions = true,
            "promql-extended-range-selectors" => self.extended_range_selectors = true,
            "promql-binop-fill-modifiers" => self.binop_fill_modifiers = true,
            // Stable since 3.14; the name is still accepted.
            "promql-duration-expr" => {}
            _ => return false,
        }
        true
    }
}
