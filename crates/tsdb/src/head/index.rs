//! Which series have which labels.

use std::collections::BTreeMap;
use std::sync::Arc;

use cupola_model::{Labels, MatchOp, Matcher};
use hashbrown::HashMap;

type Postings = Vec<u32>;

/// Label name → value → the series that have it, ascending.
#[derive(Debug, Default)]
pub(crate) struct Index {
    names: HashMap<Arc<str>, BTreeMap<Arc<str>, Postings>, foldhash::fast::RandomState>,
    all: Postings,
}

impl Index {
    pub(crate) fn insert(&mut self, slot: u32, labels: &Labels) {
        for (name, value) in labels {
            if !self.names.contains_key(name) {
                self.names.insert(name.into(), BTreeMap::new());
            }
            let Some(values) = self.names.get_mut(name) else {
                continue;
            };
            match values.get_mut(value) {
                Some(postings) => insert(postings, slot),
                None => drop(values.insert(value.into(), vec![slot])),
            }
        }
        insert(&mut self.all, slot);
    }

    /// Forgets series; `gone` says which slots.
    pub(crate) fn remove(&mut self, removed: &[(u32, Labels)]) {
        let gone: std::collections::HashSet<u32> = removed.iter().map(|(slot, _)| *slot).collect();
        let touched: std::collections::BTreeSet<(&str, &str)> =
            removed.iter().flat_map(|(_, labels)| labels.iter()).collect();
        for (name, value) in touched {
            let Some(values) = self.names.get_mut(name) else {
                continue;
            };
            if let Some(postings) = values.get_mut(value) {
                postings.retain(|slot| !gone.contains(slot));
                if postings.is_empty() {
                    values.remove(value);
                }
            }
            if values.is_empty() {
                self.names.remove(name);
            }
        }
        self.all.retain(|slot| !gone.contains(slot));
    }

    /// The series that satisfy all matchers, ascending.
    pub(crate) fn select(&self, matchers: &[Matcher]) -> Postings {
        let mut included: Vec<std::borrow::Cow<'_, [u32]>> = Vec::new();
        let mut excluded: Vec<Postings> = Vec::new();
        for matcher in matchers {
            let values = self.names.get(matcher.name());
            // A series without the label counts as one with the value "". A matcher that accepts "" is answered by
            // taking away the series whose value it refuses.
            if matcher.matches_empty() {
                let Some(values) = values else { continue };
                excluded.push(union_where(values, matcher, false));
                continue;
            }
            let Some(values) = values else { return Postings::new() };
            let found = match matcher.op() {
                MatchOp::Equal => values.get(matcher.value()).map(|p| p.as_slice().into()),
                _ => Some(union_where(values, matcher, true).into()),
            };
            match found {
                Some(postings) => included.push(postings),
                None => return Postings::new(),
            }
        }
        included.sort_by_key(|p| p.len());
        let mut result = match included.first() {
            Some(first) => first.to_vec(),
            None => self.all.clone(),
        };
        for other in included.iter().skip(1) {
            result.retain(|slot| other.binary_search(slot).is_ok());
        }
        for other in &excluded {
            result.retain(|slot| other.binary_search(slot).is_err());
        }
        result
    }

    /// All label names, in no order.
    pub(crate) fn label_names(&self) -> impl Iterator<Item = &str> {
        self.names.keys().map(|n| &**n)
    }

    /// All values of a label, ascending, with the number of series that have each.
    pub(crate) fn label_values(&self, name: &str) -> impl Iterator<Item = (&str, usize)> {
        self.names.get(name).into_iter().flatten().map(|(v, p)| (&**v, p.len()))
    }
}

// The series whose value `matcher` accepts, or refuses where `accepted` is false.
fn union_where(values: &BTreeMap<Arc<str>, Postings>, matcher: &Matcher, accepted: bool) -> Postings {
    // Only where the expression's own matches are wanted can it tell more than yes or no.
    let regex = matcher.regex().filter(|_| (matcher.op() == MatchOp::Regex) == accepted);
    if let Some(texts) = regex.and_then(cupola_goregex::Regex::set_matches) {
        return union(
            texts
                .iter()
                .filter_map(|text| values.get(text.as_str()))
                .map(Vec::as_slice),
        );
    }
    // Without an expression, and without a known beginning, this is every value.
    let prefix = regex.map_or("", cupola_goregex::Regex::prefix);
    union(
        values
            .range::<str, _>((std::ops::Bound::Included(prefix), std::ops::Bound::Unbounded))
            .take_while(|(value, _)| value.starts_with(prefix))
            .filter(|(value, _)| matcher.matches(value) == accepted)
            .map(|(_, p)| p.as_slice()),
    )
}

// New slots are the largest in almost every case.
fn insert(postings: &mut Postings, slot: u32) {
    match postings.last() {
        Some(last) if *last >= slot => {
            if let Err(at) = postings.binary_search(&slot) {
                postings.insert(at, slot);
            }
        }
        _ => postings.push(slot),
    }
}

fn union<'a>(lists: impl Iterator<Item = &'a [u32]>) -> Postings {
    let mut all: Postings = lists.flatten().copied().collect();
    all.sort_unstable();
    all.dedup();
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    fn index() -> Index {
        let mut index = Index::default();
        for (slot, pairs) in [
            vec![("__name__", "up"), ("job", "a")],
            vec![("__name__", "up"), ("job", "b")],
            vec![("__name__", "up")],
            vec![("__name__", "down"), ("job", "ab")],
        ]
        .into_iter()
        .enumerate()
        {
            index.insert(slot as u32, &Labels::from_pairs(pairs));
        }
        index
    }

    #[track_caller]
    fn check(matchers: &[(&str, MatchOp, &str)], slots: &[u32]) {
        let matchers: Vec<_> = matchers
            .iter()
            .map(|(n, op, v)| Matcher::new(*n, *op, *v).unwrap())
            .collect();
        assert_eq!(index().select(&matchers), slots);
    }

    #[test]
    fn matchers_select_what_they_say() {
        use MatchOp::{Equal, NotEqual, NotRegex, Regex};
        check(&[("job", Equal, "a")], &[0]);
        check(&[("job", Equal, "")], &[2]);
        check(&[("job", NotEqual, "")], &[0, 1, 3]);
        check(&[("job", NotEqual, "a")], &[1, 2, 3]);
        check(&[("__name__", Equal, "up"), ("job", Regex, "a|b")], &[0, 1]);
        check(&[("__name__", Equal, "up"), ("job", Regex, "a?")], &[0, 2]);
        check(&[("job", Regex, "a.*")], &[0, 3]);
        check(&[("job", Regex, ".+")], &[0, 1, 3]);
        check(&[("job", NotRegex, ".+")], &[2]);
        check(&[("job", NotRegex, "a.*")], &[1, 2]);
        check(&[("job", Regex, "a(b|c)?")], &[0, 3]);
        check(&[("job", Regex, "a.+")], &[3]);
        check(&[("job", NotRegex, "a(b|c)")], &[0, 1, 2]);
        check(&[("job", NotRegex, "a?")], &[1, 3]);
        check(&[("job", NotRegex, "a.+|")], &[0, 1]);
        check(&[("nope", Equal, "x")], &[]);
        check(&[("nope", NotEqual, "x"), ("job", Equal, "a")], &[0]);
    }

    #[test]
    fn removed_series_leave_nothing_behind() {
        let mut index = index();
        index.remove(&[(3, Labels::from_pairs([("__name__", "down"), ("job", "ab")]))]);
        assert_eq!(index.select(&[]), [0, 1, 2]);
        assert_eq!(
            index.label_values("__name__").map(|(v, _)| v).collect::<Vec<_>>(),
            ["up"]
        );
    }
}
