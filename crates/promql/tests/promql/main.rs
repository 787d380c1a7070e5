//! The language from outside: trees, errors, printing, the shared corpus, and hostile input.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test may fail loudly")]

mod corpus;
mod errors;
mod limits;
mod printing;
mod roundtrip;
mod syntax;
mod trees;

/// Upstream prints infinity as `+Inf`, and `+Inf ^ x` reads back with one sign more: such signs do not count.
fn settled(text: &str) -> String {
    let mut text = text.to_owned();
    while text.contains("+Inf") {
        text = text.replace("+Inf", "Inf");
    }
    text
}
