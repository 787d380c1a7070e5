//! Go's `regexp/syntax` with the flags of `regexp.Compile`: what it accepts, and the words it refuses the rest with.

use super::tree::{Assertion, Class, ClassItem, Node};
use super::unicode::property;
use crate::RegexError;

// Go's bounds: one repetition, all nested ones together, height of the tree, instructions of the program.
const MAX_REPEAT: i64 = 1_000;
const MAX_HEIGHT: usize = 1_000;
const MAX_SIZE: u64 = (128 << 20) / 40;

/// A parsed pattern.
#[derive(Debug)]
pub(crate) struct Pattern {
    pub(crate) node: Node,
    /// The name of each capturing group in order; `None` where it has none.
    pub(crate) names: Vec<Option<String>>,
    /// About how many instructions Go's program has.
    pub(crate) size: u64,
    /// How many nodes lie between the root and the deepest leaf.
    pub(crate) height: usize,
}

/// Reads `pattern`; the dot matches newlines where `dot_matches_newline`.
///
/// # Errors
/// [`RegexError`] with Go's text.
pub(crate) fn parse(pattern: &str, dot_matches_newline: bool) -> Result<Pattern, RegexError> {
    let flags = Flags {
        dot_nl: dot_matches_newline,
        ..Flags::default()
    };
    let mut parser = Parser {
        whole: pattern,
        pos: 0,
        flags,
        names: Vec::new(),
        groups: vec![Group::new(flags, false)],
    };
    let built = parser.run()?;
    Ok(Pattern {
        node: built.node,
        names: parser.names,
        size: built.size,
        height: built.height,
    })
}

#[derive(Debug, Clone, Copy, Default)]
struct Flags {
    fold: bool,
    multi_line: bool,
    dot_nl: bool,
    ungreedy: bool,
}

// A node with what Go's bounds are about.
struct Built {
    node: Node,
    height: usize,
    size: u64,
    // The largest product of nested repetition counts.
    repeats: i64,
}

impl Built {
    fn leaf(node: Node) -> Self {
        Self {
            node,
            height: 1,
            size: 1,
            repeats: 1,
        }
    }
}

// What stands between a parenthesis, or the beginning, and the place being read.
struct Group {
    // As they were before the parenthesis.
    flags: Flags,
    captures: bool,
    branches: Vec<Built>,
    items: Vec<Built>,
}

impl Group {
    fn new(flags: Flags, captures: bool) -> Self {
        Self {
            flags,
            captures,
            branches: Vec::new(),
            items: Vec::new(),
        }
    }

    fn end_branch(&mut self) {
        let branch = concat(std::mem::take(&mut self.items));
        self.branches.push(branch);
    }

    fn finish(mut self) -> Built {
        self.end_branch();
        alternate(self.branches)
    }
}

fn concat(mut items: Vec<Built>) -> Built {
    if items.len() < 2 {
        return items.pop().unwrap_or_else(|| Built::leaf(Node::Empty));
    }
    let built = combine(&items);
    // Go keeps neighbouring literals in one node.
    let all_literal = items.iter().all(|item| matches!(item.node, Node::Literal { .. }));
    Built {
        height: if all_literal { 1 } else { built.height },
        node: Node::Concat(items.into_iter().map(|item| item.node).collect()),
        ..built
    }
}

fn alternate(mut branches: Vec<Built>) -> Built {
    if branches.len() < 2 {
        return branches.pop().unwrap_or_else(|| Built::leaf(Node::Empty));
    }
    let built = combine(&branches);
    let more = u64::try_from(branches.len() - 1).unwrap_or(u64::MAX);
    Built {
        size: built.size.saturating_add(more),
        node: Node::Alternate(branches.into_iter().map(|branch| branch.node).collect()),
        ..built
    }
}

fn combine(parts: &[Built]) -> Built {
    Built {
        node: Node::Empty,
        height: 1 + parts.iter().map(|part| part.height).max().unwrap_or(0),
        size: parts.iter().fold(0, |sum, part| sum.saturating_add(part.size)),
        repeats: parts.iter().map(|part| part.repeats).max().unwrap_or(1),
    }
}

struct Parser<'a> {
    whole: &'a str,
    pos: usize,
    flags: Flags,
    names: Vec<Option<String>>,
    // Never empty: the first is the whole pattern.
    groups: Vec<Group>,
}

fn refused(kind: &str, shown: &str) -> RegexError {
    RegexError {
        reason: format!("{kind}: `{shown}`"),
    }
}

impl<'a> Parser<'a> {
    fn rest(&self) -> &'a str {
        self.whole.get(self.pos..).unwrap_or_default()
    }

    fn from(&self, start: usize) -> &'a str {
        self.whole.get(start..self.pos).unwrap_or_default()
    }

    fn peek(&self) -> Option<char> {
        self.rest().chars().next()
    }

    fn bump(&mut self) -> Option<char> {
        let c = self.peek()?;
        self.pos += c.len_utf8();
        Some(c)
    }

    fn take_if(&mut self, wanted: char) -> bool {
        let found = self.peek() == Some(wanted);
        if found {
            self.pos += wanted.len_utf8();
        }
        found
    }

    fn push(&mut self, built: Built) -> Result<(), RegexError> {
        if built.height > MAX_HEIGHT {
            return Err(refused("expression nests too deeply", self.whole));
        }
        if built.size > MAX_SIZE {
            return Err(refused("expression too large", self.whole));
        }
        if let Some(group) = self.groups.last_mut() {
            group.items.push(built);
        }
        Ok(())
    }

    fn push_leaf(&mut self, node: Node) -> Result<(), RegexError> {
        self.push(Built::leaf(node))
    }

    fn literal(&mut self, c: u32) -> Result<(), RegexError> {
        let fold = self.flags.fold;
        self.push_leaf(Node::Literal { c, fold })
    }

    fn assertion(&mut self, assertion: Assertion) -> Result<(), RegexError> {
        self.push_leaf(Node::Assertion(assertion))
    }

    fn run(&mut self) -> Result<Built, RegexError> {
        // Where the repetition right before this place begins.
        let mut last_repeat = None;
        while let Some(c) = self.peek() {
            let start = self.pos;
            let mut repeat = None;
            match c {
                '(' if self.rest().starts_with("(?") => self.flag_group()?,
                '(' => {
                    self.pos += 1;
                    self.open(Some(None));
                }
                '|' => {
                    self.pos += 1;
                    if let Some(group) = self.groups.last_mut() {
                        group.end_branch();
                    }
                }
                ')' => self.close()?,
                '^' => {
                    self.pos += 1;
                    self.assertion(if self.flags.multi_line {
                        Assertion::BeginLine
                    } else {
                        Assertion::BeginText
                    })?;
                }
                '$' => {
                    self.pos += 1;
                    self.assertion(if self.flags.multi_line {
                        Assertion::EndLine
                    } else {
                        Assertion::EndText
                    })?;
                }
                '.' => {
                    self.pos += 1;
                    self.push_leaf(if self.flags.dot_nl {
                        Node::Any
                    } else {
                        Node::AnyButNewline
                    })?;
                }
                '[' => self.class()?,
                '*' | '+' | '?' => {
                    self.pos += 1;
                    let (min, max) = match c {
                        '*' => (0, None),
                        '+' => (1, None),
                        _ => (0, Some(1)),
                    };
                    self.repeat(start, min, max, last_repeat)?;
                    repeat = Some(start);
                }
                '{' => match self.counts() {
                    None => {
                        self.pos += 1;
                        self.literal(u32::from('{'))?;
                    }
                    Some((min, max)) => {
                        let too_many = |n: i64| !(0..=MAX_REPEAT).contains(&n);
                        if too_many(min) || max.is_some_and(|max| too_many(max) || min > max) {
                            return Err(refused("invalid repeat count", self.from(start)));
                        }
                        let count = |n: i64| u32::try_from(n).unwrap_or(u32::MAX);
                        self.repeat(start, count(min), max.map(count), last_repeat)?;
                        repeat = Some(start);
                    }
                },
                '\\' => self.escape()?,
                _ => {
                    self.bump();
                    self.literal(u32::from(c))?;
                }
            }
            last_repeat = repeat;
        }
        let open = self.groups.len() > 1;
        match self.groups.pop() {
            Some(group) if !open => Ok(group.finish()),
            _ => Err(refused("missing closing )", self.whole)),
        }
    }

    // Opens a group; `captures` holds the name of a capturing one.
    fn open(&mut self, captures: Option<Option<String>>) {
        self.groups.push(Group::new(self.flags, captures.is_some()));
        self.names.extend(captures);
    }

    fn close(&mut self) -> Result<(), RegexError> {
        if self.groups.len() < 2 {
            return Err(refused("unexpected )", self.whole));
        }
        self.pos += 1;
        let Some(group) = self.groups.pop() else { return Ok(()) };
        self.flags = group.flags;
        let captures = group.captures;
        let built = group.finish();
        if !captures {
            return self.push(built);
        }
        self.push(Built {
            node: Node::Capture(Box::new(built.node)),
            height: built.height + 1,
            size: built.size.saturating_add(2),
            repeats: built.repeats,
        })
    }

    // Repeats what stands before `start`, where the operator begins that has just been read.
    fn repeat(
        &mut self,
        start: usize,
        min: u32,
        max: Option<u32>,
        last_repeat: Option<usize>,
    ) -> Result<(), RegexError> {
        let mut greedy = !self.flags.ungreedy;
        if self.take_if('?') {
            greedy = !greedy;
        }
        if let Some(last) = last_repeat {
            return Err(refused("invalid nested repetition operator", self.from(last)));
        }
        let Some(sub) = self.groups.last_mut().and_then(|group| group.items.pop()) else {
            return Err(refused("missing argument to repetition operator", self.from(start)));
        };
        let is_counted = self.whole.get(start..).is_some_and(|op| op.starts_with('{'));
        let most = i64::from(max.unwrap_or(min));
        let repeats = if is_counted {
            sub.repeats.saturating_mul(most.max(1))
        } else {
            sub.repeats
        };
        // `(a{1000}){2}` is as much as `a{2000}`.
        if is_counted && most >= 2 && repeats > MAX_REPEAT {
            return Err(refused("invalid repeat count", self.from(start)));
        }
        let times = |n: u32| sub.size.saturating_mul(u64::from(n));
        let size = match max {
            None => times(min.max(1)).saturating_add(2),
            Some(max) => times(max).saturating_add(u64::from(max - min.min(max))).max(1),
        };
        self.push(Built {
            node: Node::Repeat {
                min,
                max,
                greedy,
                sub: Box::new(sub.node),
            },
            height: sub.height + 1,
            size,
            repeats: if most == 0 && is_counted && max.is_some() {
                1
            } else {
                repeats
            },
        })
    }

    // `{n}`, `{n,}`, `{n,m}`; `None` where it is none, and then nothing is read. A number that is too large is -1.
    fn counts(&mut self) -> Option<(i64, Option<i64>)> {
        let (inner, _) = self.rest().strip_prefix('{')?.split_once('}')?;
        let number = |text: &str| {
            let plain = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
            let leading_zero = text.len() > 1 && text.starts_with('0');
            (plain && !leading_zero).then(|| {
                let value = text.parse().unwrap_or(i64::MAX);
                if value >= 1_000_000_000 { -1 } else { value }
            })
        };
        let counts = match inner.split_once(',') {
            None => {
                let n = number(inner)?;
                (n, Some(n))
            }
            Some((min, "")) => (number(min)?, None),
            Some((min, max)) => (number(min)?, Some(number(max)?)),
        };
        self.pos += inner.len() + 2;
        Some(counts)
    }

    // `(?P<name>`, `(?<name>`, `(?flags)`, `(?flags:`.
    fn flag_group(&mut self) -> Result<(), RegexError> {
        let whole = self.rest();
        let named = match whole {
            _ if whole.starts_with("(?P<") && whole.len() > 4 => Some(4),
            _ if whole.starts_with("(?<") && whole.len() > 3 => Some(3),
            _ => None,
        };
        if let Some(from) = named {
            let Some(end) = whole.find('>') else {
                return Err(refused("invalid named capture", whole));
            };
            let name = whole.get(from..end).unwrap_or_default();
            if name.is_empty() || !name.bytes().all(|b| b == b'_' || b.is_ascii_alphanumeric()) {
                return Err(refused("invalid named capture", whole.get(..=end).unwrap_or_default()));
            }
            self.pos += end + 1;
            self.open(Some(Some(name.to_owned())));
            return Ok(());
        }
        let start = self.pos;
        self.pos += 2;
        let mut flags = self.flags;
        let mut value = true;
        let mut saw_flag = false;
        while let Some(c) = self.bump() {
            match c {
                'i' => flags.fold = value,
                'm' => flags.multi_line = value,
                's' => flags.dot_nl = value,
                'U' => flags.ungreedy = value,
                '-' if value => {
                    value = false;
                    saw_flag = false;
                    continue;
                }
                ':' | ')' if value || saw_flag => {
                    if c == ':' {
                        self.open(None);
                    }
                    self.flags = flags;
                    return Ok(());
                }
                _ => break,
            }
            saw_flag = true;
        }
        Err(refused("invalid or unsupported Perl syntax", self.from(start)))
    }

    // A backslash outside brackets.
    fn escape(&mut self) -> Result<(), RegexError> {
        let start = self.pos;
        let assertion = match self.rest().chars().nth(1) {
            Some('A') => Some(Assertion::BeginText),
            Some('z') => Some(Assertion::EndText),
            Some('b') => Some(Assertion::WordBoundary),
            Some('B') => Some(Assertion::NotWordBoundary),
            Some('Q') => {
                let quoted = self.rest().get(2..).unwrap_or_default();
                let (text, len) = match quoted.split_once("\\E") {
                    Some((text, _)) => (text, text.len() + 2),
                    None => (quoted, quoted.len()),
                };
                self.pos += 2 + len;
                return text.chars().try_for_each(|c| self.literal(u32::from(c)));
            }
            // Go knows no single bytes.
            Some('C') => {
                self.pos += 2;
                return Err(refused("invalid escape sequence", self.from(start)));
            }
            _ => None,
        };
        if let Some(assertion) = assertion {
            self.pos += 2;
            return self.assertion(assertion);
        }
        if let Some(item) = self.class_escape()? {
            return self.push_leaf(Node::Class(Class {
                negated: false,
                fold: self.flags.fold,
                items: vec![item],
            }));
        }
        let c = self.character_escape()?;
        self.literal(c)
    }

    // `\d`, `\pL`, `\p{Greek}`; `None` where it is another escape, and then nothing is read.
    fn class_escape(&mut self) -> Result<Option<ClassItem>, RegexError> {
        let start = self.pos;
        let Some(rest) = self.rest().strip_prefix('\\') else {
            return Ok(None);
        };
        match rest.chars().next() {
            Some(c @ ('d' | 'D' | 's' | 'S' | 'w' | 'W')) => {
                self.pos += 2;
                Ok(Some(ClassItem::Perl(c)))
            }
            Some(c @ ('p' | 'P')) => {
                let whole = self.rest();
                self.pos += 2;
                let name = match self.bump() {
                    Some('{') => {
                        let Some(end) = whole.find('}') else {
                            return Err(refused("invalid character class range", whole));
                        };
                        self.pos = start + end + 1;
                        whole.get(3..end).unwrap_or_default()
                    }
                    _ => whole.get(2..self.pos - start).unwrap_or_default(),
                };
                let (name, caret) = name.strip_prefix('^').map_or((name, false), |name| (name, true));
                match property(name) {
                    Some(property) => Ok(Some(ClassItem::Unicode {
                        property,
                        negated: (c == 'P') != caret,
                    })),
                    None => Err(refused("invalid character class range", self.from(start))),
                }
            }
            _ => Ok(None),
        }
    }

    // An escape that is one character.
    fn character_escape(&mut self) -> Result<u32, RegexError> {
        let start = self.pos;
        self.pos += 1;
        let Some(c) = self.bump() else {
            return Err(refused("trailing backslash at end of expression", ""));
        };
        let octal = |c: Option<char>| c.and_then(|c| c.to_digit(8));
        let value = match c {
            // A single digit would be a back-reference, which Go does not have.
            '1'..='7' if octal(self.peek()).is_none() => None,
            '0'..='7' => {
                let mut value = octal(Some(c)).unwrap_or(0);
                for _ in 1..3 {
                    let Some(digit) = octal(self.peek()) else { break };
                    self.pos += 1;
                    value = value * 8 + digit;
                }
                Some(value)
            }
            'x' => self.hexadecimal(),
            'a' => Some(7),
            'f' => Some(12),
            'n' => Some(10),
            'r' => Some(13),
            't' => Some(9),
            'v' => Some(11),
            _ if c.is_ascii() && !c.is_ascii_alphanumeric() => Some(u32::from(c)),
            _ => None,
        };
        value.ok_or_else(|| refused("invalid escape sequence", self.from(start)))
    }

    // What follows `\x`: two digits, or any number in braces.
    fn hexadecimal(&mut self) -> Option<u32> {
        let first = self.bump()?;
        if first != '{' {
            let second = self.bump().and_then(|c| c.to_digit(16));
            return Some(first.to_digit(16)? * 16 + second?);
        }
        let mut value = 0;
        let mut digits = 0;
        loop {
            match self.bump()? {
                '}' => return (digits > 0).then_some(value),
                c => value = value * 16 + c.to_digit(16)?,
            }
            if value > u32::from(char::MAX) {
                return None;
            }
            digits += 1;
        }
    }

    fn class(&mut self) -> Result<(), RegexError> {
        let whole = self.rest();
        self.pos += 1;
        let mut class = Class {
            negated: self.take_if('^'),
            fold: self.flags.fold,
            items: Vec::new(),
        };
        let mut first = true;
        while first || self.peek() != Some(']') {
            first = false;
            let item = if let Some(name) = self.named_class()? {
                ClassItem::Posix(name)
            } else if let Some(item) = self.class_escape()? {
                item
            } else {
                let start = self.pos;
                let low = self.class_character(whole)?;
                let mut high = low;
                let rest = self.rest();
                // In `[a-]` the dash is itself.
                if rest.len() > 1 && rest.starts_with('-') && !rest.starts_with("-]") {
                    self.pos += 1;
                    high = self.class_character(whole)?;
                    if high < low {
                        return Err(refused("invalid character class range", self.from(start)));
                    }
                }
                ClassItem::Range(low, high)
            };
            class.items.push(item);
        }
        self.pos += 1;
        self.push_leaf(Node::Class(class))
    }

    fn class_character(&mut self, whole: &str) -> Result<u32, RegexError> {
        match self.peek() {
            None => Err(refused("missing closing ]", whole)),
            Some('\\') => self.character_escape(),
            Some(c) => {
                self.bump();
                Ok(u32::from(c))
            }
        }
    }

    // `[:alpha:]` inside brackets, as it is written.
    fn named_class(&mut self) -> Result<Option<String>, RegexError> {
        const NAMES: [&str; 14] = [
            "alnum", "alpha", "ascii", "blank", "cntrl", "digit", "graph", "lower", "print", "punct", "space", "upper",
            "word", "xdigit",
        ];
        let Some((name, _)) = self.rest().strip_prefix("[:").and_then(|rest| rest.split_once(":]")) else {
            return Ok(None);
        };
        let start = self.pos;
        self.pos += name.len() + 4;
        if !NAMES.contains(&name.strip_prefix('^').unwrap_or(name)) {
            return Err(refused("invalid character class range", self.from(start)));
        }
        Ok(Some(self.from(start).to_owned()))
    }
}
