//! From matchers to series, by postings.
//!
//! A label that is absent counts as `""`. So a matcher that `""` fails needs the label: the union of the lists of the
//! values it accepts. A matcher that `""` satisfies accepts all series but those whose value it does not accept: their
//! lists are subtracted. (Prometheus: `PostingsForMatchers`.)

use cupola_goregex::Shape;
use cupola_model::{MatchOp, Matcher};

use crate::BlockError;
use crate::file::{WINDOW_MAX, Window};
use crate::index::postings::{intersect, subtract, unite};
use crate::index::read::Index;

// Lists that are no farther apart are read together.
const NEAR_BYTES: u64 = 8 << 10;

/// Series that may match: all those that satisfy every matcher but the `deferred` ones.
#[derive(Debug)]
pub(crate) struct Candidates<'m> {
    /// Ascending.
    pub(crate) series: Vec<u32>,
    /// To be checked on the labels of each series: cheaper than trying all values of the label when few series are
    /// left.
    pub(crate) deferred: Vec<&'m Matcher>,
}

/// Finds the series for `matchers`; none of them is all series.
pub(crate) fn candidates<'m>(index: &Index, matchers: &'m [Matcher]) -> Result<Candidates<'m>, BlockError> {
    let mut found: Option<Vec<u32>> = None;
    let mut deferred = Vec::new();
    let matchers = matchers.iter().filter(|m| !accepts_everything(m));
    // Exact values first, then what needs the label, then what takes away.
    let mut ordered: Vec<&Matcher> = matchers.collect();
    ordered.sort_by_key(|m| (m.matches_empty(), literals(m).is_none()));
    for matcher in ordered {
        if found.as_ref().is_some_and(Vec::is_empty) {
            return Ok(Candidates {
                series: Vec::new(),
                deferred: Vec::new(),
            });
        }
        let values = index.values(matcher.name());
        let is_dear = literals(matcher).is_none() && found.as_ref().is_some_and(|f| f.len() <= values.len());
        if is_dear {
            deferred.push(matcher);
            continue;
        }
        let takes_away = matcher.matches_empty();
        let lists = lists(index, matcher, takes_away)?;
        match (&mut found, takes_away) {
            (Some(found), false) => intersect(found, &lists),
            (found @ None, false) => *found = Some(lists),
            (Some(found), true) => subtract(found, &lists),
            (found @ None, true) => {
                let mut all = index.all_series()?;
                subtract(&mut all, &lists);
                *found = Some(all);
            }
        }
    }
    let series = match found {
        Some(found) => found,
        None => index.all_series()?,
    };
    Ok(Candidates { series, deferred })
}

fn accepts_everything(matcher: &Matcher) -> bool {
    matcher.op() == MatchOp::Regex && matcher.regex().is_some_and(|r| *r.shape() == Shape::Everything)
}

/// The values that alone decide: those accepted by `=` and `=~"a|b"`, those refused by `!=` and `!~"a|b"`.
fn literals(matcher: &Matcher) -> Option<Vec<&str>> {
    let literals = match matcher.op() {
        MatchOp::Equal | MatchOp::NotEqual => vec![matcher.value()],
        MatchOp::Regex | MatchOp::NotRegex => matcher.regex()?.set_matches()?.iter().map(String::as_str).collect(),
    };
    // Only where the listed values are the ones whose lists are wanted: what accepts "" takes away the refused values,
    // what refuses "" keeps the accepted ones.
    let lists_accepted = matches!(matcher.op(), MatchOp::Equal | MatchOp::Regex);
    (lists_accepted != matcher.matches_empty()).then_some(literals)
}

/// The union of the lists of the values that `matcher` accepts, or refuses where it `takes_away`.
fn lists(index: &Index, matcher: &Matcher, takes_away: bool) -> Result<Vec<u32>, BlockError> {
    let mut out = Vec::new();
    let mut window = Window::new(NEAR_BYTES, WINDOW_MAX);
    let values = index.values(matcher.name());
    if let Some(literals) = literals(matcher) {
        for offset in literals.into_iter().filter_map(|value| values.offset_of(value)) {
            index.postings(offset, &mut window, &mut out)?;
        }
    } else {
        // `a.+b` needs no look at values that begin otherwise, where the expression's own matches are wanted.
        let wants_matches = (matcher.op() == MatchOp::NotRegex) == takes_away;
        let values = match matcher.regex().map_or("", cupola_goregex::Regex::prefix) {
            prefix if wants_matches && !prefix.is_empty() => values.with_prefix(prefix),
            _ => values,
        };
        for (_, offset) in values.iter().filter(|(value, _)| matcher.matches(value) != takes_away) {
            index.postings(offset, &mut window, &mut out)?;
        }
    }
    unite(&mut out);
    Ok(out)
}
