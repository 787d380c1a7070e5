//! Which series have which labels.
//!
//! A label is kept once, as a *pair* of name and value with a number of its own and the list of series that have it. A
//! series is its pairs' numbers, in the order of their names: 4 bytes a label instead of its text.
//!
//! *Invariant:* a pair exists as long as a series has it; numbers of pairs and names that are gone are used again.

use std::borrow::Cow;
use std::hash::{BuildHasher as _, Hash as _, Hasher as _};

use cupola_model::{Labels, METRIC_NAME, MatchOp, Matcher};
use hashbrown::{HashMap, HashSet, HashTable};

use super::spread;

type Random = foldhash::fast::RandomState;

/// The labels of one series: numbers of pairs, in the order of their names.
pub(crate) type PairIds = Box<[u32]>;

#[derive(Default)]
pub(crate) struct Index {
    names: Vec<Name>,
    free_names: Vec<u32>,
    name_numbers: HashMap<Box<str>, u32, Random>,
    pairs: Vec<Pair>,
    free_pairs: Vec<u32>,
    pair_numbers: HashTable<u32>,
    hasher: Random,
    all: Vec<u32>,
    sorts_later: bool,
    // The number of `__name__`.
    metric_name: Option<u32>,
    // Of each pair of `__name__`, when its series last changed, as the clock below counts.
    changed: HashMap<u32, u64, Random>,
    clock: u64,
}

#[derive(Default)]
struct Name {
    text: Box<str>,
    values: Values,
}

#[derive(Default)]
struct Pair {
    name: u32,
    // Of name and value: the table of all grows without looking at the text.
    hash: u32,
    value: Box<str>,
    series: Postings,
}

/// The series that have a pair, ascending.
enum Postings {
    // Names of pods and their like: most pairs are those of a single series.
    One(u32),
    Many(Vec<u32>),
}

/// The pairs of one name.
#[derive(Default)]
struct Values {
    // Ascending by value.
    sorted: Vec<u32>,
    // Those that came since, in no order: putting each in its place would cost a move of all behind it.
    new: Vec<u32>,
}

// So many may be unsorted, and half as many as the sorted ones: sorting anew at each eighth was a fifth of the time that
// a million new series take.
const NEW_VALUES: usize = 64;

impl Index {
    /// The pairs of these labels, made where they are new. They belong to the series that is inserted next.
    pub(crate) fn intern(&mut self, labels: &Labels) -> PairIds {
        labels
            .iter()
            .map(|(name, value)| self.intern_pair(name, value))
            .collect()
    }

    /// The pairs of these labels; `None` where no series has one of them.
    pub(crate) fn find(&self, labels: &Labels) -> Option<PairIds> {
        labels.iter().map(|(name, value)| self.pair(name, value)).collect()
    }

    /// The labels of a series.
    pub(crate) fn labels(&self, ids: &[u32]) -> Labels {
        Labels::from_pairs(ids.iter().filter_map(|id| self.text(*id)))
    }

    /// Name and value of a pair.
    pub(crate) fn text(&self, id: u32) -> Option<(&str, &str)> {
        let pair = self.pairs.get(id as usize)?;
        Some((self.name_of(pair), &*pair.value))
    }

    /// The value of a label of a series.
    pub(crate) fn value(&self, ids: &[u32], name: &str) -> Option<&str> {
        let number = *self.name_numbers.get(name)?;
        let pairs = ids.iter().filter_map(|id| self.pairs.get(*id as usize));
        pairs
            .into_iter()
            .find(|pair| pair.name == number)
            .map(|pair| &*pair.value)
    }

    /// The label names of a series.
    pub(crate) fn names_of<'a>(&'a self, ids: &'a [u32]) -> impl Iterator<Item = &'a str> {
        ids.iter()
            .filter_map(|id| Some(self.name_of(self.pairs.get(*id as usize)?)))
    }

    /// How many series have this label.
    pub(crate) fn series_with(&self, name: &str, value: &str) -> usize {
        self.pair(name, value).map_or(0, |id| self.series_of(id).len())
    }

    /// How many pairs there are.
    pub(crate) fn pair_count(&self) -> usize {
        self.pairs.len() - self.free_pairs.len()
    }

    fn name_of(&self, pair: &Pair) -> &str {
        self.names.get(pair.name as usize).map_or("", |name| &name.text)
    }

    fn hash(&self, name: u32, value: &str) -> u32 {
        let mut hash = self.hasher.build_hasher();
        name.hash(&mut hash);
        value.hash(&mut hash);
        hash.finish() as u32
    }

    fn pair(&self, name: &str, value: &str) -> Option<u32> {
        let name = *self.name_numbers.get(name)?;
        self.pair_of(name, value)
    }

    fn pair_of(&self, name: u32, value: &str) -> Option<u32> {
        self.pair_with(name, value, self.hash(name, value))
    }

    fn pair_with(&self, name: u32, value: &str, hash: u32) -> Option<u32> {
        let is_it = |id: &u32| {
            let pair = self.pairs.get(*id as usize);
            pair.is_some_and(|pair| pair.hash == hash && pair.name == name && *pair.value == *value)
        };
        self.pair_numbers.find(spread(hash), is_it).copied()
    }

    /// The pair of this name and value, made where it is new. It belongs to the series that is inserted next.
    pub(crate) fn intern_pair(&mut self, name: &str, value: &str) -> u32 {
        let name = match self.name_numbers.get(name) {
            Some(number) => *number,
            None => self.add_name(name),
        };
        let hash = self.hash(name, value);
        match self.pair_with(name, value, hash) {
            Some(id) => id,
            None => self.add_pair(name, value, hash),
        }
    }

    fn add_name(&mut self, text: &str) -> u32 {
        let name = Name {
            text: text.into(),
            values: Values::default(),
        };
        let number = put(&mut self.names, &mut self.free_names, name);
        if text == METRIC_NAME {
            self.metric_name = Some(number);
        }
        self.name_numbers.insert(text.into(), number);
        number
    }

    fn add_pair(&mut self, name: u32, value: &str, hash: u32) -> u32 {
        let pair = Pair {
            name,
            hash,
            value: value.into(),
            series: Postings::default(),
        };
        let id = put(&mut self.pairs, &mut self.free_pairs, pair);
        let hash_of = |id: &u32| self.pairs.get(*id as usize).map_or(0, |pair| spread(pair.hash));
        self.pair_numbers.insert_unique(spread(hash), id, hash_of);
        if let Some(name) = self.names.get_mut(name as usize) {
            name.values.new.push(id);
            if !self.sorts_later && name.values.new.len() > NEW_VALUES + name.values.sorted.len() / 2 {
                name.values.settle(&self.pairs);
            }
        }
        id
    }

    /// Adds a series with pairs that [`Index::intern`] gave.
    pub(crate) fn insert(&mut self, slot: u32, ids: &[u32]) {
        self.clock += 1;
        for id in ids {
            if let Some(pair) = self.pairs.get_mut(*id as usize) {
                pair.series.insert(slot);
                if Some(pair.name) == self.metric_name {
                    self.changed.insert(*id, self.clock);
                }
            }
        }
        insert(&mut self.all, slot);
    }

    /// Many series follow: values are put in order once, by [`Index::end_bulk`].
    pub(crate) fn begin_bulk(&mut self) {
        self.sorts_later = true;
    }

    pub(crate) fn end_bulk(&mut self) {
        self.sorts_later = false;
        for name in &mut self.names {
            name.values.settle(&self.pairs);
        }
    }

    /// Forgets series: their slots and pairs.
    pub(crate) fn remove(&mut self, removed: &[(u32, PairIds)]) {
        if removed.is_empty() {
            return;
        }
        let gone: HashSet<u32, Random> = removed.iter().map(|(slot, _)| *slot).collect();
        let touched: HashSet<u32, Random> = removed.iter().flat_map(|(_, ids)| ids.iter().copied()).collect();
        let mut dead: HashSet<u32, Random> = HashSet::default();
        let mut names: HashSet<u32, Random> = HashSet::default();
        self.clock += 1;
        for id in touched {
            let Some(pair) = self.pairs.get_mut(id as usize) else {
                continue;
            };
            if Some(pair.name) == self.metric_name {
                self.changed.insert(id, self.clock);
            }
            if !pair.series.retain(|slot| !gone.contains(&slot)) {
                continue;
            }
            if let Ok(entry) = self.pair_numbers.find_entry(spread(pair.hash), |other| *other == id) {
                entry.remove();
            }
            names.insert(pair.name);
            dead.insert(id);
        }
        for number in names {
            let Some(name) = self.names.get_mut(number as usize) else {
                continue;
            };
            name.values.retain(|id| !dead.contains(&id));
            if name.values.is_empty() {
                self.name_numbers.remove(&name.text);
                self.metric_name.take_if(|metric_name| *metric_name == number);
                *name = Name::default();
                self.free_names.push(number);
            }
        }
        for id in dead {
            if let Some(pair) = self.pairs.get_mut(id as usize) {
                *pair = Pair::default();
            }
            self.changed.remove(&id);
            self.free_pairs.push(id);
        }
        self.all.retain(|slot| !gone.contains(slot));
        self.all.shrink_to(self.all.len() * 2);
    }

    /// The pair of the metric that these matchers name, when its series last changed, and how many there are: as long as that
    /// is the same, so are the series that satisfy the matchers. `None` where they name none that there is.
    pub(crate) fn metric_of(&self, matchers: &[Matcher]) -> Option<(u32, u64, usize)> {
        let names_one = |m: &&Matcher| m.name() == METRIC_NAME && m.op() == MatchOp::Equal && !m.value().is_empty();
        let matcher = matchers.iter().find(names_one)?;
        let pair = self.pair_of(self.metric_name?, matcher.value())?;
        Some((pair, *self.changed.get(&pair)?, self.series_of(pair).len()))
    }

    /// The series that satisfy all matchers, ascending.
    pub(crate) fn select(&self, matchers: &[Matcher]) -> Vec<u32> {
        let mut included: Vec<Cow<'_, [u32]>> = Vec::new();
        let mut excluded: Vec<Vec<u32>> = Vec::new();
        for matcher in matchers {
            let name = self.name_numbers.get(matcher.name()).copied();
            // A series without the label counts as one with the value "". A matcher that accepts "" is answered by
            // taking away the series whose value it refuses.
            if matcher.matches_empty() {
                let Some(name) = name else { continue };
                excluded.push(self.union_where(name, matcher, false));
                continue;
            }
            let Some(name) = name else { return Vec::new() };
            let found = match matcher.op() {
                MatchOp::Equal => self.pair_of(name, matcher.value()).map(|id| self.series_of(id).into()),
                _ => Some(self.union_where(name, matcher, true).into()),
            };
            match found {
                Some(series) => included.push(series),
                None => return Vec::new(),
            }
        }
        included.sort_by_key(|series| series.len());
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

    // The series whose value `matcher` accepts, or refuses where `accepted` is false.
    fn union_where(&self, name: u32, matcher: &Matcher, accepted: bool) -> Vec<u32> {
        // Only where the expression's own matches are wanted can it tell more than yes or no.
        let regex = matcher.regex().filter(|_| (matcher.op() == MatchOp::Regex) == accepted);
        if let Some(texts) = regex.and_then(cupola_goregex::Regex::set_matches) {
            let ids = texts.iter().filter_map(|text| self.pair_of(name, text));
            return union(ids.map(|id| self.series_of(id)));
        }
        // Without an expression, and without a known beginning, this is every value.
        let prefix = regex.map_or("", cupola_goregex::Regex::prefix);
        let ids = self.names.get(name as usize).into_iter();
        let ids = ids.flat_map(|name| name.values.beginning_with(prefix, &self.pairs));
        union(
            ids.filter(|id| matcher.matches(self.value_of(*id)) == accepted)
                .map(|id| self.series_of(id)),
        )
    }

    fn series_of(&self, id: u32) -> &[u32] {
        self.pairs.get(id as usize).map_or(&[], |pair| pair.series.as_slice())
    }

    fn value_of(&self, id: u32) -> &str {
        value_of(&self.pairs, id)
    }

    /// All label names, in no order.
    pub(crate) fn label_names(&self) -> impl Iterator<Item = &str> {
        self.name_numbers.keys().map(|name| &**name)
    }

    /// All values of a label, ascending, with the number of series that have each.
    pub(crate) fn label_values(&self, name: &str) -> impl Iterator<Item = (&str, usize)> {
        let number = self.name_numbers.get(name);
        let name = number.and_then(|number| self.names.get(*number as usize));
        let ids = name.map(|name| name.values.in_order(&self.pairs)).unwrap_or_default();
        ids.into_iter().map(|id| (self.value_of(id), self.series_of(id).len()))
    }
}

fn value_of(pairs: &[Pair], id: u32) -> &str {
    pairs.get(id as usize).map_or("", |pair| &pair.value)
}

// Puts `item` where something was taken away, or at the end. There are fewer than 2^32 of anything here: each takes
// more than a byte.
fn put<T>(all: &mut Vec<T>, free: &mut Vec<u32>, item: T) -> u32 {
    if let Some(number) = free.pop()
        && let Some(place) = all.get_mut(number as usize)
    {
        *place = item;
        return number;
    }
    all.push(item);
    (all.len() - 1) as u32
}

impl Default for Postings {
    fn default() -> Self {
        Self::Many(Vec::new())
    }
}

impl Postings {
    fn as_slice(&self) -> &[u32] {
        match self {
            Self::One(slot) => std::slice::from_ref(slot),
            Self::Many(slots) => slots,
        }
    }

    fn insert(&mut self, slot: u32) {
        match self {
            Self::Many(slots) if slots.is_empty() => *self = Self::One(slot),
            Self::Many(slots) => insert(slots, slot),
            Self::One(first) if *first == slot => {}
            Self::One(first) => *self = Self::Many(vec![slot.min(*first), slot.max(*first)]),
        }
    }

    // Whether nothing is left.
    fn retain(&mut self, keep: impl Fn(u32) -> bool) -> bool {
        match self {
            Self::One(slot) => !keep(*slot),
            Self::Many(slots) => {
                slots.retain(|slot| keep(*slot));
                slots.shrink_to(slots.len() * 2);
                slots.is_empty()
            }
        }
    }
}

impl Values {
    fn is_empty(&self) -> bool {
        self.sorted.is_empty() && self.new.is_empty()
    }

    fn retain(&mut self, keep: impl Fn(u32) -> bool) {
        self.sorted.retain(|id| keep(*id));
        self.new.retain(|id| keep(*id));
        self.sorted.shrink_to(self.sorted.len() * 2);
    }

    fn in_order(&self, pairs: &[Pair]) -> Vec<u32> {
        let mut all = Vec::with_capacity(self.sorted.len() + self.new.len());
        let mut sorted = self.sorted.iter().copied().peekable();
        for new in sort(&self.new, pairs) {
            let value = value_of(pairs, new);
            while let Some(before) = sorted.next_if(|id| value_of(pairs, *id) < value) {
                all.push(before);
            }
            all.push(new);
        }
        all.extend(sorted);
        all
    }

    fn settle(&mut self, pairs: &[Pair]) {
        if self.new.is_empty() {
            return;
        }
        self.sorted = self.in_order(pairs);
        self.new = Vec::new();
    }

    // The pairs whose value begins with `prefix`, in no order.
    fn beginning_with<'a>(&'a self, prefix: &'a str, pairs: &'a [Pair]) -> impl Iterator<Item = u32> + 'a {
        let first = self.sorted.partition_point(|id| value_of(pairs, *id) < prefix);
        let sorted = self.sorted.iter().skip(first).copied();
        let sorted = sorted.take_while(move |id| value_of(pairs, *id).starts_with(prefix));
        let new = self.new.iter().copied();
        sorted.chain(new.filter(move |id| value_of(pairs, *id).starts_with(prefix)))
    }
}

// By value. What tells most of them apart, the eight bytes behind what all begin with, is fetched once: the values
// themselves lie all over the memory.
fn sort(ids: &[u32], pairs: &[Pair]) -> Vec<u32> {
    let text = |id: u32| value_of(pairs, id).as_bytes();
    let first = ids.first().map_or(&[][..], |id| text(*id));
    let common = ids.iter().fold(first.len(), |common, id| {
        let same = first.iter().zip(text(*id)).take(common);
        same.take_while(|(a, b)| a == b).count()
    });
    let key = |id: u32| {
        let mut key = [0; 8];
        let rest = text(id).iter().skip(common);
        key.iter_mut().zip(rest).for_each(|(to, from)| *to = *from);
        u64::from_be_bytes(key)
    };
    let mut keyed: Vec<(u64, u32)> = ids.iter().map(|id| (key(*id), *id)).collect();
    keyed.sort_unstable_by(|a, b| a.0.cmp(&b.0).then_with(|| text(a.1).cmp(text(b.1))));
    keyed.into_iter().map(|(_, id)| id).collect()
}

// New slots are the largest in almost every case.
fn insert(slots: &mut Vec<u32>, slot: u32) {
    match slots.last() {
        Some(last) if *last >= slot => {
            if let Err(at) = slots.binary_search(&slot) {
                slots.insert(at, slot);
            }
        }
        _ => slots.push(slot),
    }
}

fn union<'a>(lists: impl Iterator<Item = &'a [u32]>) -> Vec<u32> {
    let mut all: Vec<u32> = lists.flatten().copied().collect();
    all.sort_unstable();
    all.dedup();
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    fn add(index: &mut Index, slot: u32, labels: &Labels) -> PairIds {
        let ids = index.intern(labels);
        index.insert(slot, &ids);
        ids
    }

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
            add(&mut index, slot as u32, &Labels::from_pairs(pairs));
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
        let down = Labels::from_pairs([("__name__", "down"), ("job", "ab")]);
        let ids = index.find(&down).unwrap();
        index.remove(&[(3, ids)]);
        assert_eq!(index.select(&[]), [0, 1, 2]);
        assert_eq!(index.label_values("__name__").collect::<Vec<_>>(), [("up", 3)]);
        assert_eq!(index.find(&down), None);
        assert_eq!(index.pair_count(), 3);
    }

    #[test]
    fn series_that_come_and_go_take_no_more_room_than_those_there_are() {
        let mut index = Index::default();
        let mut living: Vec<(u32, PairIds)> = Vec::new();
        for round in 0..20 {
            let labels = |n| {
                let (pod, name) = (format!("pod-{round}-{n}"), format!("name_{round}"));
                Labels::from_pairs([("__name__", "up"), ("pod", pod.as_str()), (name.as_str(), "x")])
            };
            let fresh: Vec<_> = (0..500)
                .map(|n| (n, add(&mut index, n + 500 * (round % 2), &labels(n))))
                .collect();
            index.remove(&living);
            living = fresh.into_iter().map(|(n, ids)| (n + 500 * (round % 2), ids)).collect();
            for (n, (_, ids)) in living.iter().enumerate() {
                assert_eq!(index.labels(ids), labels(n as u32));
            }
            let pods: Vec<_> = index.label_values("pod").map(|(pod, _)| pod.to_owned()).collect();
            assert!(pods.is_sorted());
            assert_eq!((pods.len(), index.label_names().count()), (500, 3));
            let matcher = Matcher::new("pod", MatchOp::Regex, format!("pod-{round}-4.*")).unwrap();
            assert_eq!(index.select(&[matcher]).len(), 111);
        }
        assert_eq!(index.pair_count(), 502);
        assert!(
            index.pairs.len() <= 1004 && index.names.len() <= 4,
            "{} pairs",
            index.pairs.len()
        );
    }
}
