//! What an anchored pattern comes to, so that most matchers never reach the engine and an index need not try every value.

use std::collections::BTreeSet;

use crate::syntax::{Assertion, Class, ClassItem, Node};

/// What a whole-text pattern comes to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Shape {
    /// `.*`: everything.
    Everything,
    /// `.+`: everything but the empty text.
    NonEmpty,
    /// `a|b|c`, `a(b|c)d`, `a[12]?`, or `a` alone: exactly these texts, ascending.
    Literals(Vec<String>),
    /// `a.*`: texts with this beginning.
    Prefix(String),
    /// `a.+b.*c`: these texts in this order, anything between them.
    Glob(Glob),
    /// `(?i)a|b`: these ASCII texts in any case, here in small letters and ascending.
    AnyCase(Vec<String>),
    /// Anything else.
    Other,
}

/// Literal texts in their order with gaps between them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Glob {
    /// How the text begins; may be empty.
    prefix: String,
    /// Each gap's fewest characters (0 for `.*`, 1 for `.+`), and the text behind it; only the last may be empty.
    rest: Vec<(usize, String)>,
}

impl Glob {
    /// Whether `text` has all parts in their order. Looks at every byte about once.
    #[must_use]
    pub fn is_match(&self, text: &str) -> bool {
        let Some(mut left) = text.strip_prefix(self.prefix.as_str()) else {
            return false;
        };
        let Some(((last_gap, suffix), middle)) = self.rest.split_last() else {
            return left.is_empty();
        };
        for (gap, part) in middle {
            // A part found as early as possible leaves the most to the others.
            let gap: usize = left.chars().take(*gap).map(char::len_utf8).sum();
            let behind = left.get(gap..).unwrap_or_default();
            let Some(at) = behind.find(part.as_str()) else {
                return false;
            };
            left = behind.get(at + part.len()..).unwrap_or_default();
        }
        left.strip_suffix(suffix.as_str())
            .is_some_and(|gap| gap.len() >= *last_gap)
    }
}

// What a pattern may be made of when it stands for finitely many texts: more than the pattern has bytes only while few.
const FEW_TEXTS: usize = 256;
const FEW_BYTES: usize = 16 << 10;

/// The shape of a tree that begins with `\A` and ends with `\z`, and a text that every match begins with.
pub(crate) fn shape(node: &Node, pattern_len: usize) -> (Shape, String) {
    let mut parts = Vec::new();
    flatten(node, &mut parts);
    // Without anchors of its own at both ends the tree may match a part of a text.
    let is_begin = |node: &&Node| matches!(node, Node::Assertion(Assertion::BeginText));
    let is_end = |node: &&Node| matches!(node, Node::Assertion(Assertion::EndText));
    let begins = parts.iter().take_while(|node| is_begin(node)).count();
    let ends = parts.iter().rev().take_while(|node| is_end(node)).count();
    if begins == 0 || ends == 0 {
        return (Shape::Other, String::new());
    }
    let inner = parts.get(begins..parts.len() - ends).unwrap_or_default();
    let mut limits = Limits {
        texts: FEW_TEXTS.max(pattern_len),
        bytes: FEW_BYTES.max(4 * pattern_len),
    };
    if let Some(texts) = finite_sequence(inner, &mut limits.clone(), &exact) {
        return (Shape::Literals(texts.into_iter().collect()), String::new());
    }
    if let Some(texts) = finite_sequence(inner, &mut limits, &any_case) {
        return (Shape::AnyCase(texts.into_iter().collect()), String::new());
    }
    let shape = glob(inner);
    let prefix = match &shape {
        Shape::Prefix(prefix) => prefix.clone(),
        _ => required_prefix(inner),
    };
    (shape, prefix)
}

// What stands one after the other; groups make no difference to what is matched.
fn flatten<'a>(node: &'a Node, parts: &mut Vec<&'a Node>) {
    match node {
        Node::Concat(items) => items.iter().for_each(|item| flatten(item, parts)),
        Node::Capture(sub) => flatten(sub, parts),
        Node::Empty => {}
        _ => parts.push(node),
    }
}

#[derive(Clone)]
struct Limits {
    texts: usize,
    // Of all texts made on the way, which bounds the work.
    bytes: usize,
}

impl Limits {
    fn allow(&mut self, texts: usize, bytes: usize) -> Option<()> {
        self.bytes = self.bytes.checked_sub(bytes)?;
        (texts <= self.texts).then_some(())
    }
}

type Texts = BTreeSet<String>;

// The character that a literal adds; `None` where it cannot be told so.
type Spell = dyn Fn(u32, bool) -> Option<char>;

fn exact(c: u32, fold: bool) -> Option<char> {
    let c = char::from_u32(c)?;
    let has_case = !c.is_ascii() || c.is_ascii_alphabetic();
    (!fold || !has_case).then_some(c)
}

fn any_case(c: u32, fold: bool) -> Option<char> {
    let c = char::from_u32(c).filter(char::is_ascii)?;
    (fold || !c.is_ascii_alphabetic()).then_some(c.to_ascii_lowercase())
}

fn finite_sequence(parts: &[&Node], limits: &mut Limits, spell: &Spell) -> Option<Texts> {
    let mut texts = Texts::from([String::new()]);
    // Neighbouring characters are added in one go, so that a long literal takes linear time.
    let mut run = String::new();
    for part in parts {
        if let Node::Literal { c, fold } = part {
            run.push(spell(*c, *fold)?);
            continue;
        }
        let next = finite(part, limits, spell)?;
        texts = product(&texts, &Texts::from([std::mem::take(&mut run)]), limits)?;
        texts = product(&texts, &next, limits)?;
    }
    product(&texts, &Texts::from([run]), limits)
}

fn product(left: &Texts, right: &Texts, limits: &mut Limits) -> Option<Texts> {
    if left.len() == 1 && left.iter().all(String::is_empty) {
        let bytes = right.iter().map(String::len).sum();
        limits.allow(right.len(), bytes)?;
        return Some(right.clone());
    }
    let sum = |texts: &Texts| texts.iter().map(String::len).sum::<usize>();
    let count = left.len().checked_mul(right.len())?;
    let bytes = sum(left).checked_mul(right.len())? + sum(right).checked_mul(left.len())?;
    limits.allow(count, bytes + count)?;
    Some(
        left.iter()
            .flat_map(|a| right.iter().map(move |b| format!("{a}{b}")))
            .collect(),
    )
}

fn finite(node: &Node, limits: &mut Limits, spell: &Spell) -> Option<Texts> {
    match node {
        Node::Empty => Some(Texts::from([String::new()])),
        Node::Literal { c, fold } => Some(Texts::from([spell(*c, *fold)?.to_string()])),
        Node::Class(class) => class_characters(class, limits, spell),
        Node::Capture(_) | Node::Concat(_) => {
            let mut parts = Vec::new();
            flatten(node, &mut parts);
            finite_sequence(&parts, limits, spell)
        }
        Node::Alternate(branches) => {
            let mut texts = Texts::new();
            for branch in branches {
                texts.extend(finite(branch, limits, spell)?);
                limits.allow(texts.len(), 1)?;
            }
            Some(texts)
        }
        Node::Repeat {
            min,
            max: Some(max),
            sub,
            ..
        } => {
            let sub = finite(sub, limits, spell)?;
            let mut power = Texts::from([String::new()]);
            let mut texts = Texts::new();
            for times in 0..=*max {
                if times >= *min {
                    texts.extend(power.iter().cloned());
                    limits.allow(texts.len(), power.iter().map(String::len).sum::<usize>() + 1)?;
                }
                power = product(&power, &sub, limits)?;
                limits.allow(0, 1)?;
            }
            Some(texts)
        }
        Node::Repeat { max: None, .. } | Node::Any | Node::AnyButNewline | Node::Assertion(_) => None,
    }
}

fn class_characters(class: &Class, limits: &mut Limits, spell: &Spell) -> Option<Texts> {
    if class.negated {
        return None;
    }
    let mut texts = Texts::new();
    for item in &class.items {
        let ranges: &[(u32, u32)] = match item {
            ClassItem::Range(low, high) => &[(*low, *high)],
            ClassItem::Perl('d') => &[(0x30, 0x39)],
            _ => return None,
        };
        for (low, high) in ranges {
            limits.allow(usize::try_from(high - low).ok()? + 1, 0)?;
            for c in *low..=*high {
                texts.insert(spell(c, class.fold)?.to_string());
                limits.allow(texts.len(), 1)?;
            }
        }
    }
    Some(texts)
}

fn glob(parts: &[&Node]) -> Shape {
    let mut prefix = String::new();
    let mut rest: Vec<(usize, String)> = Vec::new();
    let mut behind_gap = false;
    for part in parts {
        match part {
            Node::Literal { c, fold } => {
                let Some(c) = exact(*c, *fold) else { return Shape::Other };
                rest.last_mut().map_or(&mut prefix, |(_, text)| text).push(c);
                behind_gap = false;
            }
            Node::Repeat {
                min: min @ (0 | 1),
                max: None,
                sub,
                ..
            } if matches!(**sub, Node::Any) => {
                let min = usize::from(*min == 1);
                match rest.last_mut().filter(|_| behind_gap) {
                    // `.*.+` is `.+`; two characters would have to be counted.
                    Some((gap, _)) if *gap + min <= 1 => *gap += min,
                    Some(_) => return Shape::Other,
                    None => rest.push((min, String::new())),
                }
                behind_gap = true;
            }
            _ => return Shape::Other,
        }
    }
    match rest.as_slice() {
        [(0, text)] if text.is_empty() && prefix.is_empty() => Shape::Everything,
        [(1, text)] if text.is_empty() && prefix.is_empty() => Shape::NonEmpty,
        [(0, text)] if text.is_empty() => Shape::Prefix(prefix),
        _ => Shape::Glob(Glob { prefix, rest }),
    }
}

// The literal characters at the beginning.
fn required_prefix(parts: &[&Node]) -> String {
    let mut prefix = String::new();
    for part in parts {
        match part {
            Node::Literal { c, fold } => match exact(*c, *fold) {
                Some(c) => prefix.push(c),
                None => break,
            },
            // One of `x` at least; what follows is unknown.
            Node::Repeat { min: 1.., sub, .. } => {
                let mut once = Vec::new();
                flatten(sub, &mut once);
                prefix.push_str(&required_prefix(&once));
                break;
            }
            Node::Alternate(branches) => {
                prefix.push_str(&common_prefix(branches));
                break;
            }
            _ => break,
        }
    }
    prefix
}

fn common_prefix(branches: &[Node]) -> String {
    let mut common: Option<String> = None;
    for branch in branches {
        let mut parts = Vec::new();
        flatten(branch, &mut parts);
        let own = required_prefix(&parts);
        common = Some(match common {
            None => own,
            Some(common) => {
                let same = common.chars().zip(own.chars()).take_while(|(a, b)| a == b);
                same.map(|(a, _)| a).collect()
            }
        });
    }
    common.unwrap_or_default()
}
