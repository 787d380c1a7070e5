//! Label sets.

use std::cmp::Ordering;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

/// The label that holds a series' metric name.
pub const METRIC_NAME: &str = "__name__";
/// The label that holds an alert's name.
pub const ALERTNAME: &str = "alertname";

/// One name and value, borrowed from a [`Labels`].
pub type Label<'a> = (&'a str, &'a str);

/// A set of labels: names ascending by bytes, each once, no empty value. Cloning is one reference count.
///
/// Held as one text with a length before each name and value, so a set is a single allocation. (Prometheus does the
/// same in its `stringlabels` build.)
#[derive(Clone)]
pub struct Labels {
    text: Arc<str>,
}

impl Labels {
    /// The set without labels.
    #[must_use]
    pub fn empty() -> Self {
        Self { text: Arc::from("") }
    }

    /// The set of `pairs`; sorts them, the last of equal names wins, empty values are left out.
    pub fn from_pairs<N: AsRef<str>, V: AsRef<str>>(pairs: impl IntoIterator<Item = (N, V)>) -> Self {
        let mut pairs = pairs.into_iter();
        let mut text = String::with_capacity(256);
        // Where the last name lies in the text. Most sets come sorted: they are written as they come.
        let mut last = 0..0;
        while let Some((name, value)) = pairs.next() {
            let (name, value) = (name.as_ref(), value.as_ref());
            let follows = text.is_empty() || text.get(last.clone()).is_some_and(|last| last < name);
            if !follows || value.is_empty() {
                let mut builder = Self { text: text.into() }.to_builder();
                builder.set(name, value);
                for (name, value) in pairs {
                    builder.set(name.as_ref(), value.as_ref());
                }
                return builder.build();
            }
            push_text(&mut text, name);
            last = text.len() - name.len()..text.len();
            push_text(&mut text, value);
        }
        Self { text: text.into() }
    }

    /// The labels, names ascending.
    #[must_use]
    pub fn iter(&self) -> Iter<'_> {
        Iter { rest: &self.text }
    }

    /// The value of `name`, or `None` where the set lacks it.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&str> {
        self.iter().find(|(n, _)| *n == name).map(|(_, v)| v)
    }

    /// The value of `name`, `""` where the set lacks it: to PromQL the two are the same.
    #[must_use]
    pub fn value(&self, name: &str) -> &str {
        self.get(name).unwrap_or("")
    }

    /// The metric name, `""` where there is none.
    #[must_use]
    pub fn metric_name(&self) -> &str {
        self.value(METRIC_NAME)
    }

    /// Whether there is no label.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.text.is_empty()
    }

    /// How many labels there are. Costs a walk.
    #[must_use]
    pub fn len(&self) -> usize {
        self.iter().count()
    }

    /// A builder that starts with these labels.
    #[must_use]
    pub fn to_builder(&self) -> LabelsBuilder {
        LabelsBuilder {
            pairs: self.iter().map(|(n, v)| (n.to_owned(), v.to_owned())).collect(),
        }
    }

    /// Without the metric name.
    #[must_use]
    pub fn without_name(&self) -> Self {
        if self.get(METRIC_NAME).is_none() {
            self.clone()
        } else {
            self.filtered(|name| name != METRIC_NAME)
        }
    }

    /// Only the labels whose name `keep` accepts.
    #[must_use]
    pub fn filtered(&self, keep: impl Fn(&str) -> bool) -> Self {
        let mut text = String::with_capacity(self.text.len());
        for (name, value) in self {
            if keep(name) {
                push_text(&mut text, name);
                push_text(&mut text, value);
            }
        }
        Self { text: text.into() }
    }

    /// The labels whose name `keep` accepts, with those of `own` in place of what has their names; an empty value of
    /// `own` removes a label. The names of `own` ascend, each once.
    #[must_use]
    pub fn overlaid(&self, keep: impl Fn(&str) -> bool, own: &[Label<'_>]) -> Self {
        let mut text = String::with_capacity(self.text.len() + 64);
        let mut put = |(name, value): Label<'_>| {
            if !value.is_empty() {
                push_text(&mut text, name);
                push_text(&mut text, value);
            }
        };
        let mut own = own.iter().copied().peekable();
        for (name, value) in self {
            while let Some(before) = own.next_if(|(own_name, _)| *own_name < name) {
                put(before);
            }
            match own.next_if(|(own_name, _)| *own_name == name) {
                Some(instead) => put(instead),
                None if keep(name) => put((name, value)),
                None => {}
            }
        }
        own.for_each(put);
        Self { text: text.into() }
    }

    /// The labels named in `names`, as `by (...)` groups.
    #[must_use]
    pub fn keeping<S: AsRef<str>>(&self, names: &[S]) -> Self {
        self.filtered(|name| names.iter().any(|n| n.as_ref() == name))
    }

    /// The labels not named in `names` and not the metric name, as `without (...)` groups.
    #[must_use]
    pub fn dropping<S: AsRef<str>>(&self, names: &[S]) -> Self {
        self.filtered(|name| name != METRIC_NAME && !names.iter().any(|n| n.as_ref() == name))
    }

    /// FNV-1a 64 over name, 0xff, value, 0xff: Alertmanager's alert fingerprint (common/model `Fingerprint`).
    #[must_use]
    pub fn fingerprint(&self) -> u64 {
        let mut hash = 0xcbf2_9ce4_8422_2325_u64;
        let mut eat = |byte: u8| hash = (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3);
        for (name, value) in self {
            name.bytes().for_each(&mut eat);
            eat(0xff);
            value.bytes().for_each(&mut eat);
            eat(0xff);
        }
        hash
    }

    /// Bytes this set holds on the heap.
    #[must_use]
    pub fn heap_size(&self) -> usize {
        self.text.len() + 16
    }
}

// Lengths are written as text so that the whole set stays valid UTF-8: six bits a character, bit 6 set on all but the
// last.
fn push_text(out: &mut String, part: &str) {
    let mut len = part.len();
    while len >= 64 {
        out.push(char::from((len & 63) as u8 | 64));
        len >>= 6;
    }
    out.push(char::from(len as u8));
    out.push_str(part);
}

#[inline]
fn take_text<'a>(rest: &mut &'a str) -> Option<&'a str> {
    let first = *rest.as_bytes().first()?;
    if first & 64 == 0 {
        // Almost all are shorter than 64 bytes.
        let (part, after) = rest.get(1..)?.split_at_checked(usize::from(first))?;
        *rest = after;
        return Some(part);
    }
    take_long_text(rest)
}

#[cold]
fn take_long_text<'a>(rest: &mut &'a str) -> Option<&'a str> {
    let mut len = 0_usize;
    let mut shift = 0;
    let mut used = 0;
    for byte in rest.bytes() {
        used += 1;
        len |= usize::from(byte & 63) << shift;
        shift += 6;
        if byte & 64 == 0 {
            break;
        }
    }
    let part = rest.get(used..used + len)?;
    *rest = rest.get(used + len..)?;
    (used > 0).then_some(part)
}

/// Walks a [`Labels`], names ascending.
#[derive(Debug, Clone)]
pub struct Iter<'a> {
    rest: &'a str,
}

impl<'a> Iterator for Iter<'a> {
    type Item = Label<'a>;

    #[inline]
    fn next(&mut self) -> Option<Label<'a>> {
        if self.rest.is_empty() {
            return None;
        }
        Some((take_text(&mut self.rest)?, take_text(&mut self.rest)?))
    }
}

impl<'a> IntoIterator for &'a Labels {
    type Item = Label<'a>;
    type IntoIter = Iter<'a>;

    fn into_iter(self) -> Iter<'a> {
        self.iter()
    }
}

impl Default for Labels {
    fn default() -> Self {
        Self::empty()
    }
}

impl PartialEq for Labels {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.text, &other.text) || self.text == other.text
    }
}

impl Eq for Labels {}

impl Hash for Labels {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.text.hash(state);
    }
}

impl PartialOrd for Labels {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Labels {
    fn cmp(&self, other: &Self) -> Ordering {
        self.iter().cmp(other.iter())
    }
}

impl<N: AsRef<str>, V: AsRef<str>> FromIterator<(N, V)> for Labels {
    fn from_iter<I: IntoIterator<Item = (N, V)>>(pairs: I) -> Self {
        Self::from_pairs(pairs)
    }
}

/// As PromQL writes a set: `{a="1", b="x\"y"}`, names that need it quoted.
impl fmt::Display for Labels {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("{")?;
        for (i, (name, value)) in self.iter().enumerate() {
            if i > 0 {
                f.write_str(", ")?;
            }
            if is_valid_legacy_label_name(name) {
                write!(f, "{name}={}", crate::go_quote(value))?;
            } else {
                write!(f, "{}={}", crate::go_quote(name), crate::go_quote(value))?;
            }
        }
        f.write_str("}")
    }
}

impl fmt::Debug for Labels {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Changes a label set step by step, as relabelling does.
#[derive(Debug, Clone, Default)]
pub struct LabelsBuilder {
    // Ascending by name, each name once. Values may be empty until `build`.
    pairs: Vec<(String, String)>,
}

impl LabelsBuilder {
    /// Sets `name` to `value`; an empty value removes the label.
    pub fn set(&mut self, name: &str, value: &str) -> &mut Self {
        match self.pairs.binary_search_by(|(n, _)| n.as_str().cmp(name)) {
            Ok(at) if value.is_empty() => {
                self.pairs.remove(at);
            }
            Ok(at) => value.clone_into(&mut self.pairs[at].1),
            Err(_) if value.is_empty() => {}
            Err(at) => self.pairs.insert(at, (name.to_owned(), value.to_owned())),
        }
        self
    }

    /// Removes `name`.
    pub fn remove(&mut self, name: &str) -> &mut Self {
        self.set(name, "")
    }

    /// The value of `name`, `""` where it is not set.
    #[must_use]
    pub fn get(&self, name: &str) -> &str {
        self.pairs
            .binary_search_by(|(n, _)| n.as_str().cmp(name))
            .map_or("", |at| self.pairs[at].1.as_str())
    }

    /// Keeps only the labels `keep` accepts.
    pub fn retain(&mut self, mut keep: impl FnMut(&str, &str) -> bool) -> &mut Self {
        self.pairs.retain(|(n, v)| keep(n, v));
        self
    }

    /// The labels so far, names ascending.
    pub fn iter(&self) -> impl Iterator<Item = Label<'_>> {
        self.pairs.iter().map(|(n, v)| (n.as_str(), v.as_str()))
    }

    /// The finished set.
    #[must_use]
    pub fn build(&self) -> Labels {
        let mut text = String::with_capacity(self.pairs.iter().map(|(n, v)| n.len() + v.len() + 4).sum());
        for (name, value) in &self.pairs {
            push_text(&mut text, name);
            push_text(&mut text, value);
        }
        Labels { text: text.into() }
    }
}

/// Whether `name` may name a label under the UTF-8 scheme (Prometheus 3's default): anything but empty.
#[must_use]
pub fn is_valid_label_name(name: &str) -> bool {
    !name.is_empty()
}

/// Whether `name` matches `[a-zA-Z_][a-zA-Z0-9_]*`, the only names that PromQL writes without quotes.
#[must_use]
pub fn is_valid_legacy_label_name(name: &str) -> bool {
    let mut bytes = name.bytes();
    bytes.next().is_some_and(|b| b.is_ascii_alphabetic() || b == b'_')
        && bytes.all(|b| b.is_ascii_alphanumeric() || b == b'_')
}

/// Whether `name` matches `[a-zA-Z_:][a-zA-Z0-9_:]*`.
#[must_use]
pub fn is_valid_legacy_metric_name(name: &str) -> bool {
    let mut bytes = name.bytes();
    bytes
        .next()
        .is_some_and(|b| b.is_ascii_alphabetic() || b == b'_' || b == b':')
        && bytes.all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b':')
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn labels_laid_over_others_take_the_place_of_those_of_their_names() {
        let sets = [
            vec![],
            vec![("a", "1")],
            vec![("Z", "1"), ("__name__", "old"), ("job", "x"), ("zone", "z")],
            vec![("__name__", "old"), ("a", "1"), ("b", "2"), ("c", "3")],
        ];
        let all = [
            vec![],
            vec![("__name__", "new")],
            vec![("A", "0"), ("__name__", "new"), ("b", ""), ("job", "y"), ("zz", "9")],
        ];
        for labels in sets.map(Labels::from_pairs) {
            for own in &all {
                for keep in [|_: &str| true, |name: &str| name != "a" && name != METRIC_NAME] {
                    let mut expected = labels.to_builder();
                    expected.retain(|name, _| keep(name));
                    for (name, value) in own {
                        expected.set(name, value);
                    }
                    assert_eq!(labels.overlaid(keep, own), expected.build(), "{labels} {own:?}");
                }
            }
        }
    }

    #[test]
    fn long_texts_come_back() {
        let long = |n: usize| "é".repeat(n);
        for n in [31, 32, 33, 63, 64, 2048, 5000] {
            let labels = Labels::from_pairs([("a", long(n).as_str()), (long(n).as_str(), "b")]);
            let back: Vec<_> = labels.iter().map(|(n, v)| (n.to_owned(), v.to_owned())).collect();
            assert_eq!(back, [("a".to_owned(), long(n)), (long(n), "b".to_owned())]);
        }
    }

    #[test]
    fn labels_are_sorted_and_empty_values_are_left_out() {
        let labels = Labels::from_pairs([("b", "2"), ("a", "1"), ("c", ""), ("a", "3")]);
        assert_eq!(labels.to_string(), r#"{a="3", b="2"}"#);
        assert_eq!(
            Labels::from_pairs([("a", "1"), ("a", "3"), ("b", "2"), ("c", "4"), ("c", "")]),
            labels
        );
        assert_eq!(labels.get("c"), None);
        assert_eq!(labels.value("b"), "2");
    }

    #[test]
    fn names_that_need_quotes_get_them() {
        assert_eq!(Labels::from_pairs([("a.b", "x\"y")]).to_string(), r#"{"a.b"="x\"y"}"#);
    }

    #[test]
    fn order_is_by_pairs_not_by_length() {
        let short = Labels::from_pairs([("a", "b")]);
        let long = Labels::from_pairs([("a", &"a".repeat(100))]);
        assert!(long < short);
        assert!(Labels::empty() < long);
    }

    #[test]
    fn fingerprint_of_the_empty_set_is_the_fnv_offset() {
        assert_eq!(format!("{:x}", Labels::empty().fingerprint()), "cbf29ce484222325");
    }

    proptest! {
        #[test]
        fn pairs_come_back_as_they_went_in(pairs in proptest::collection::btree_map(".{1,80}", ".{1,5000}", 0..8)) {
            let labels = Labels::from_pairs(&pairs);
            prop_assert_eq!(&labels, &Labels::from_pairs(pairs.iter().rev()));
            let back: Vec<_> = labels.iter().map(|(n, v)| (n.to_owned(), v.to_owned())).collect();
            prop_assert_eq!(back, pairs.into_iter().collect::<Vec<_>>());
        }
    }
}
