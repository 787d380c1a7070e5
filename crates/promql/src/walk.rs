//! Ways through a tree: the type of an expression, its children, its selectors.

use crate::{Expr, ExprKind, ValueType, VectorSelector};

impl Expr {
    /// What the expression evaluates to. Walks down to where the type is certain.
    #[must_use]
    pub fn value_type(&self) -> ValueType {
        match &self.kind {
            ExprKind::Number(_) => ValueType::Scalar,
            ExprKind::String(_) => ValueType::String,
            ExprKind::VectorSelector(_) | ExprKind::Aggregate(_) => ValueType::Vector,
            ExprKind::MatrixSelector { .. } | ExprKind::Subquery(_) => ValueType::Matrix,
            ExprKind::Unary { expr, .. } | ExprKind::Paren(expr) => expr.value_type(),
            ExprKind::Call(call) => call.function.returns,
            ExprKind::Binary(binary) => {
                let scalar = |side: &Self| side.value_type() == ValueType::Scalar;
                if scalar(&binary.rhs) && scalar(&binary.lhs) {
                    ValueType::Scalar
                } else {
                    ValueType::Vector
                }
            }
        }
    }

    /// The expressions directly below, left to right as evaluated: an aggregation's vector comes before its parameter.
    pub fn children(&self) -> impl Iterator<Item = &Self> {
        let (first, rest) = match &self.kind {
            ExprKind::Number(_)
            | ExprKind::String(_)
            | ExprKind::VectorSelector(_)
            | ExprKind::MatrixSelector { .. } => (&[][..], &[][..]),
            ExprKind::Subquery(subquery) => (std::slice::from_ref(&subquery.expr), &[][..]),
            ExprKind::Unary { expr, .. } | ExprKind::Paren(expr) => (std::slice::from_ref(&**expr), &[][..]),
            ExprKind::Binary(binary) => (std::slice::from_ref(&binary.lhs), std::slice::from_ref(&binary.rhs)),
            ExprKind::Aggregate(aggregate) => (std::slice::from_ref(&aggregate.expr), aggregate.param.as_slice()),
            ExprKind::Call(call) => (&call.args[..], &[][..]),
        };
        first.iter().chain(rest)
    }

    /// As [`Expr::children`], to change them.
    pub fn children_mut(&mut self) -> impl Iterator<Item = &mut Self> {
        let (first, rest) = match &mut self.kind {
            ExprKind::Number(_)
            | ExprKind::String(_)
            | ExprKind::VectorSelector(_)
            | ExprKind::MatrixSelector { .. } => (&mut [][..], &mut [][..]),
            ExprKind::Subquery(subquery) => (std::slice::from_mut(&mut subquery.expr), &mut [][..]),
            ExprKind::Unary { expr, .. } | ExprKind::Paren(expr) => (std::slice::from_mut(&mut **expr), &mut [][..]),
            ExprKind::Binary(binary) => (
                std::slice::from_mut(&mut binary.lhs),
                std::slice::from_mut(&mut binary.rhs),
            ),
            ExprKind::Aggregate(aggregate) => (
                std::slice::from_mut(&mut aggregate.expr),
                aggregate.param.as_mut_slice(),
            ),
            ExprKind::Call(call) => (&mut call.args[..], &mut [][..]),
        };
        first.iter_mut().chain(rest)
    }

    /// Every expression of the tree, parents before children, left to right. Needs no stack for high trees.
    pub fn walk(&self) -> impl Iterator<Item = &Self> {
        let mut pending = vec![self];
        std::iter::from_fn(move || {
            let expr = pending.pop()?;
            let from = pending.len();
            pending.extend(expr.children());
            if let Some(added) = pending.get_mut(from..) {
                added.reverse();
            }
            Some(expr)
        })
    }

    /// The selectors of the tree, left to right, those inside ranges included.
    pub fn selectors(&self) -> impl Iterator<Item = &VectorSelector> {
        self.walk().filter_map(|expr| match &expr.kind {
            ExprKind::VectorSelector(selector) | ExprKind::MatrixSelector { selector, .. } => Some(selector),
            _ => None,
        })
    }

    /// The expression without the parentheses around it.
    #[must_use]
    pub fn unparenthesised(&self) -> &Self {
        let mut expr = self;
        while let ExprKind::Paren(inner) = &expr.kind {
            expr = inner;
        }
        expr
    }
}
