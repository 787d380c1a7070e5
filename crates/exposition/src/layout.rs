//! The series of a body in their order, kept from one scrape to the next: a target shows the same lines each time, and a
//! line that is where it was costs a comparison and no look at its labels.
//!
//! Series are kept as what they do not share with one before: a neighbour, which differs in a label or two, or one of
//! another family with the same labels. So a line is compared with another line of the same body, which was compared
//! before, and with the bytes that are its own: some twenty of two hundred. Of many own bytes a hash is kept instead.

use std::hash::BuildHasher as _;

use foldhash::HashMap;

use crate::cursor::find_byte;
use crate::{Entry, Format, ParseError, Parser};

// A longer series ends the layout: lines behind it are read as ever.
const LONGEST: usize = u16::MAX as usize;
// Labels that begin with as many equal bytes probably share more.
const BEGINNING: usize = 48;
// Of more own bytes than this only a hash is kept, in 16 bytes.
const MOST_KEPT: usize = 24;
const HASHED: usize = 16;
// A layout that was of no use twice in a row is not made again for so many bodies, at most.
const MOST_SKIPPED: u8 = 15;
// A series with so few own bytes is not looked at for fewer.
const FEW: u16 = 16;

/// What one series shares with another, front and back, and how long its own part between them is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Shape {
    // How many series before this one the other is; 0 where there is none.
    distance: u16,
    front: u16,
    own: u16,
    back: u16,
}

impl Shape {
    // How many bytes are kept of it.
    fn kept(self) -> usize {
        match usize::from(self.own) {
            own if own > MOST_KEPT => HASHED,
            own => own,
        }
    }

    fn of(raw: &[u8], other: &[u8], distance: u16) -> Self {
        let front = shared_front(raw, other);
        let (rest, other) = (raw.get(front..).unwrap_or(&[]), other.get(front..).unwrap_or(&[]));
        let back = shared_back(rest, other);
        // Each is at most the series' length, which fits.
        Self {
            distance,
            front: front as u16,
            own: (rest.len() - back) as u16,
            back: back as u16,
        }
    }
}

/// The series of one body in their order.
#[derive(Debug, Clone, Default)]
pub struct Layout {
    shapes: Vec<Shape>,
    own: Vec<u8>,
    hashers: (foldhash::quality::RandomState, foldhash::quality::RandomState),
    // A series was too long: what follows is not kept.
    is_cut: bool,
    // Whether a body was read along it, most of it at least.
    was_useful: bool,
    // For how many bodies it was not made since it was useful last, and for how many more it is not to be made.
    skipped: u8,
    to_skip: u8,
}

impl Layout {
    /// How many series it has.
    #[must_use]
    pub fn len(&self) -> usize {
        self.shapes.len()
    }

    /// Whether it has none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.shapes.is_empty()
    }

    /// Keeps the first `count` series.
    pub fn truncate(&mut self, count: usize) {
        self.shapes.truncate(count);
        let kept: usize = self.shapes.iter().map(|shape| shape.kept()).sum();
        self.own.truncate(kept);
        self.is_cut = false;
    }

    /// Reads `body` along the layout, which becomes that of this body as far as it is read.
    pub fn follow<'a, 'l>(&'l mut self, format: Format, body: &'a [u8]) -> Follower<'a, 'l> {
        let (is_following, expected) = (!self.is_empty(), self.len());
        if !is_following {
            self.is_cut = self.to_skip > 0;
            self.to_skip = self.to_skip.saturating_sub(1);
        }
        Follower {
            parser: if is_following {
                Parser::unchecked(format, body)
            } else {
                Parser::new(format, body)
            },
            layout: self,
            is_following,
            has_failed: false,
            raws: Vec::with_capacity(expected),
            likely: HashMap::default(),
            own_at: 0,
        }
    }

    /// Bytes of memory that it takes.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.shapes.capacity() * size_of::<Shape>() + self.own.capacity()
    }

    // Whether it is worth making for a body that it does not fit. Who shows other lines each time has no use for it, and the
    // longer that goes on, the less often it is tried.
    fn is_made_anew(&mut self) -> bool {
        if std::mem::take(&mut self.was_useful) {
            self.skipped = 0;
            return true;
        }
        self.skipped = (2 * self.skipped + 1).min(MOST_SKIPPED);
        self.to_skip = self.skipped - 1;
        false
    }

    // What is kept of many bytes.
    fn hash(&self, own: &[u8]) -> [u8; HASHED] {
        let (a, b) = (self.hashers.0.hash_one(own), self.hashers.1.hash_one(own));
        (u128::from(a) << 64 | u128::from(b)).to_le_bytes()
    }

    fn shrink(&mut self) {
        self.shapes.shrink_to_fit();
        self.own.shrink_to_fit();
    }
}

/// Yields the entries of a body, each sample with its number in the layout as long as the body is as the one before.
///
/// Without a number a sample is new to the layout, and was added to it unless it is too long; see
/// [`Follower::is_kept`]. After an error the layout is of no use and should be truncated to nothing.
#[derive(Debug)]
pub struct Follower<'a, 'l> {
    parser: Parser<'a>,
    layout: &'l mut Layout,
    is_following: bool,
    has_failed: bool,
    // The series so far, as far as they are in the layout.
    raws: Vec<&'a [u8]>,
    // Where labels stood last, and beginnings of labels, by their hash. Only where the body is another one.
    likely: HashMap<u64, usize>,
    // Where the own bytes of the next series are.
    own_at: usize,
}

impl<'a> Follower<'a, '_> {
    /// Whether the layout takes further series.
    #[must_use]
    pub fn is_kept(&self) -> bool {
        !self.layout.is_cut
    }

    // Where the expected series would end if it stood at the beginning of `rest`; `None` where it does not.
    #[inline]
    fn expected(&self, rest: &[u8]) -> Option<(usize, usize)> {
        let number = self.raws.len();
        let shape = self.layout.shapes.get(number)?;
        let other = match shape.distance {
            0 => &[],
            distance => *self.raws.get(number.checked_sub(usize::from(distance))?)?,
        };
        let (front, own, back) = (
            usize::from(shape.front),
            usize::from(shape.own),
            usize::from(shape.back),
        );
        let line = rest.get(..front + own + back)?;
        let own_end = self.own_at + shape.kept();
        let (own_bytes, kept) = (
            line.get(front..front + own)?,
            self.layout.own.get(self.own_at..own_end)?,
        );
        let is_here = line.get(..front)? == other.get(..front)?
            && line.get(front + own..)? == other.get(other.len().checked_sub(back)?..)?
            && match own > MOST_KEPT {
                true => self.layout.hash(own_bytes) == *kept,
                false => own_bytes == kept,
            };
        is_here.then_some((line.len(), own_end))
    }

    #[inline]
    fn went_on(&mut self, raw: &'a [u8], own_end: usize) -> usize {
        self.raws.push(raw);
        self.own_at = own_end;
        self.raws.len() - 1
    }

    // From here on the body is another one.
    #[cold]
    fn leave(&mut self) {
        self.is_following = false;
        self.parser.cursor().check_rest();
        // Hashing all lines costs less than following some of them and keeping the others anew, unless most can be followed.
        self.layout.was_useful |= 4 * self.raws.len() >= 3 * self.layout.len();
        if !self.layout.is_made_anew() {
            self.layout.truncate(0);
            self.layout.is_cut = true;
            return;
        }
        self.layout.truncate(self.raws.len());
        self.likely.reserve(2 * self.raws.capacity());
        for (number, raw) in self.raws.iter().enumerate() {
            for key in keys(raw).into_iter().flatten() {
                self.likely.insert(key, number);
            }
        }
    }

    fn push(&mut self, raw: &'a [u8]) {
        let layout = &mut *self.layout;
        if layout.is_cut || raw.len() > LONGEST {
            layout.is_cut = true;
            return;
        }
        let number = self.raws.len();
        let against = |other: usize| {
            let distance = u16::try_from(number - other).ok()?;
            Some(Shape::of(raw, self.raws.get(other)?, distance))
        };
        // The same labels in another family are as much as there can be; else a neighbour, else what begins like it.
        let [labels, beginning] = keys(raw);
        let mut likely = |key: Option<u64>| {
            let other = self.likely.insert(key?, number)?;
            (other + 1 < number).then_some(other)
        };
        let same_labels = likely(labels);
        let mut best = same_labels.and_then(against);
        if best.is_none_or(|shape| shape.own > FEW) {
            let neighbour = number.checked_sub(1).and_then(against);
            let similar = likely(beginning).and_then(against);
            best = [best, neighbour, similar]
                .into_iter()
                .flatten()
                .min_by_key(|shape| shape.own);
        }
        let best = best.unwrap_or(Shape::of(raw, &[], 0));
        let from = usize::from(best.front);
        let own = raw.get(from..from + usize::from(best.own)).unwrap_or(&[]);
        if own.len() > MOST_KEPT {
            let hash = layout.hash(own);
            layout.own.extend_from_slice(&hash);
        } else {
            layout.own.extend_from_slice(own);
        }
        layout.shapes.push(best);
        self.raws.push(raw);
    }
}

impl<'a> Iterator for Follower<'a, '_> {
    type Item = Result<(Entry<'a>, Option<usize>), ParseError>;

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        if self.has_failed {
            return None;
        }
        if self.is_following {
            let rest = self.parser.cursor().rest();
            // A value follows, not a label block behind a blank, nor a second blank.
            if let Some((length, own_end)) = self.expected(rest)
                && rest.get(length) == Some(&b' ')
                && rest
                    .get(length + 1)
                    .is_some_and(|b| b.is_ascii_alphanumeric() || b"+-.".contains(b))
            {
                let end = self.parser.cursor().at + length;
                let number = self.went_on(rest.get(..length).unwrap_or(&[]), own_end);
                let entry = self.parser.known_sample(end);
                self.has_failed = entry.is_err();
                return Some(entry.map(|entry| (entry, Some(number))));
            }
        }
        let entry = match self.parser.next() {
            Some(Ok(entry)) => entry,
            Some(Err(error)) => {
                self.has_failed = true;
                return Some(Err(error));
            }
            None => {
                if self.is_following {
                    match self.raws.len() < self.layout.len() {
                        true => self.leave(),
                        false => self.layout.was_useful = !self.layout.is_empty(),
                    }
                }
                if !self.is_following {
                    self.layout.shrink();
                }
                return None;
            }
        };
        let Entry::Sample(sample) = &entry else {
            return Some(Ok((entry, None)));
        };
        let raw = sample.series.raw();
        if self.is_following {
            // The same series, only not written as usual.
            if let Some((length, own_end)) = self.expected(raw)
                && length == raw.len()
            {
                let number = self.went_on(raw, own_end);
                return Some(Ok((entry, Some(number))));
            }
            self.leave();
        }
        self.push(raw);
        Some(Ok((entry, None)))
    }
}

// Of all labels, and of their beginning.
fn keys(raw: &[u8]) -> [Option<u64>; 2] {
    let Some(labels) = find_byte(raw, b'{').and_then(|at| raw.get(at..)) else {
        return [None, None];
    };
    let hasher = foldhash::fast::FixedState::with_seed(0);
    let beginning = labels.get(..BEGINNING).map(|beginning| hasher.hash_one(beginning));
    [Some(hasher.hash_one(labels)), beginning]
}

fn shared_front(a: &[u8], b: &[u8]) -> usize {
    let (wide_a, wide_b) = (a.as_chunks::<8>().0, b.as_chunks::<8>().0);
    let same = wide_a.iter().zip(wide_b).take_while(|(a, b)| a == b).count() * 8;
    let rest = a.get(same..).unwrap_or(&[]).iter().zip(b.get(same..).unwrap_or(&[]));
    same + rest.take_while(|(a, b)| a == b).count()
}

fn shared_back(a: &[u8], b: &[u8]) -> usize {
    let (wide_a, wide_b) = (a.as_rchunks::<8>().1, b.as_rchunks::<8>().1);
    let same = wide_a
        .iter()
        .rev()
        .zip(wide_b.iter().rev())
        .take_while(|(a, b)| a == b)
        .count()
        * 8;
    let front = |bytes: &'_ [u8]| bytes.len() - same;
    let (a, b) = (a.get(..front(a)).unwrap_or(&[]), b.get(..front(b)).unwrap_or(&[]));
    same + a.iter().rev().zip(b.iter().rev()).take_while(|(a, b)| a == b).count()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    // The numbers of the samples, `-` for those without; checks that the entries are the plain parser's.
    #[track_caller]
    fn follow(layout: &mut Layout, format: Format, body: &[u8]) -> String {
        let plain: Vec<_> = Parser::new(format, body).collect();
        let followed: Vec<_> = layout.follow(format, body).collect();
        let entries: Vec<_> = followed.iter().map(|one| one.clone().map(|(entry, _)| entry)).collect();
        // As text, in which NaN is NaN.
        assert_eq!(
            format!("{entries:?}"),
            format!("{plain:?}"),
            "{}",
            String::from_utf8_lossy(body)
        );
        let mut numbers = Vec::new();
        for one in &followed {
            if let Ok((Entry::Sample(_), number)) = one {
                numbers.push(number.map_or("-".to_owned(), |n| n.to_string()));
            }
        }
        if followed.iter().any(Result::is_err) {
            layout.truncate(0);
        }
        numbers.join(" ")
    }

    #[test]
    fn lines_that_stay_keep_their_numbers_and_others_are_new() {
        let mut layout = Layout::default();
        let mut check = |body: &str, numbers: &str| {
            assert_eq!(follow(&mut layout, Format::Text, body.as_bytes()), numbers, "{body}");
        };
        check(
            "# TYPE a gauge\na{x=\"1\",y=\"z\"} 1\na{x=\"2\",y=\"z\"} 2\nb 3\n",
            "- - -",
        );
        check(
            "# TYPE a gauge\na{x=\"1\",y=\"z\"} 4\na{x=\"2\",y=\"z\"} 5 77\nb 6\n",
            "0 1 2",
        );
        // Other metadata, blank lines and blanks change nothing.
        check(
            "# HELP a x\n\n a{x=\"1\",y=\"z\"}  4\na{x=\"2\",y=\"z\"}\t5\nb  NaN",
            "0 1 2",
        );
        // A line between the others, and everything behind it.
        check("a{x=\"1\",y=\"z\"} 1\nnew 1\na{x=\"2\",y=\"z\"} 2\nb 3\n", "0 - - -");
        check("a{x=\"1\",y=\"z\"} 1\nnew 1\na{x=\"2\",y=\"z\"} 2\nb 3\n", "0 1 2 3");
        check("a{x=\"1\",y=\"z\"} 1\nnew 1\n", "0 1");
        check("a{x=\"1\",y=\"z\"} 1\nnew 1\na{x=\"2\",y=\"z\"} 2\n", "0 1 -");
        check("", "");
        check("b 3\n", "-");
    }

    #[test]
    fn a_longer_name_or_a_label_block_behind_a_blank_is_another_series() {
        for (before, after) in [
            ("a 1\n", "ab 1\n"),
            ("a 1\n", "a {x=\"y\"} 1\n"),
            ("a 1\n", "a  {x=\"y\"} 1\n"),
            ("a{x=\"1\"} 1\n", "a{x=\"1\",} 1\n"),
            ("a{x=\"1\"} 1\n", "a{x=\"12\"} 1\n"),
            ("ab 1\n", "a 1\n"),
        ] {
            let mut layout = Layout::default();
            follow(&mut layout, Format::Text, before.as_bytes());
            assert_eq!(
                follow(&mut layout, Format::Text, after.as_bytes()),
                "-",
                "{before}{after}"
            );
        }
    }

    #[test]
    fn a_body_that_is_another_one_each_time_is_kept_ever_more_rarely_until_it_stays() {
        let mut layout = Layout::default();
        let bodies: Vec<String> = (0..66).map(|n| format!("n{n} 1\na 1\nb 2\n")).collect();
        let mut kept = Vec::new();
        for (n, body) in bodies.iter().enumerate() {
            assert_eq!(follow(&mut layout, Format::Text, body.as_bytes()), "- - -");
            if !layout.is_empty() {
                assert_eq!(layout.len(), 3);
                kept.push(n);
            }
        }
        // Each time it is found to be of no use by the body behind it.
        assert_eq!(kept, [0, 2, 6, 14, 30, 46, 62]);
        let same = b"a 1\nb 2\n";
        let followed = (0..20).find(|_| follow(&mut layout, Format::Text, same) == "0 1");
        assert_eq!(followed, Some(13), "within as many bodies as are skipped");
        // From then on a change costs one body.
        assert_eq!(follow(&mut layout, Format::Text, b"new 1\na 1\nb 2\n"), "- - -");
        assert_eq!(follow(&mut layout, Format::Text, b"new 1\na 1\nb 2\n"), "0 1 2");
    }

    #[test]
    fn a_body_whose_end_is_another_one_each_time_is_followed_up_to_there() {
        let mut layout = Layout::default();
        for n in 0..20 {
            let body = format!("a 1\nb 2\nc 3\nn{n} 4\n");
            let numbers = if n == 0 { "- - - -" } else { "0 1 2 -" };
            assert_eq!(follow(&mut layout, Format::Text, body.as_bytes()), numbers, "{n}");
        }
    }

    #[test]
    fn a_series_of_more_than_64_kib_ends_the_layout() {
        let body = format!("a 1\nb{{x=\"{}\"}} 2\nc 3\n", "y".repeat(70_000));
        let mut layout = Layout::default();
        assert_eq!(follow(&mut layout, Format::Text, body.as_bytes()), "- - -");
        assert_eq!(layout.len(), 1);
        assert_eq!(follow(&mut layout, Format::Text, body.as_bytes()), "0 - -");
    }

    #[test]
    fn openmetrics_is_followed_to_its_end() {
        let body = b"# TYPE a counter\na_total 1 # {t=\"u\"} 0.5\na_created 2 3.5\n# EOF\n";
        let mut layout = Layout::default();
        assert_eq!(follow(&mut layout, Format::OpenMetrics, body), "- -");
        assert_eq!(follow(&mut layout, Format::OpenMetrics, body), "0 1");
        assert_eq!(follow(&mut layout, Format::OpenMetrics, &body[..body.len() - 6]), "0 1");
    }

    proptest! {
        #[test]
        fn any_series_of_bodies_reads_as_without_a_layout(
            bodies in proptest::collection::vec(
                proptest::collection::vec("(a|ab|a\\{x=\"[12]{0,9}\",y=\"z\"\\}|# TYPE a gauge|) ?[0-9.]{0,2}", 0..8), 1..6
            ),
        ) {
            for format in [Format::Text, Format::OpenMetrics] {
                let mut layout = Layout::default();
                for body in &bodies {
                    let mut text = body.join("\n");
                    text.push('\n');
                    if format == Format::OpenMetrics {
                        text.push_str("# EOF\n");
                    }
                    follow(&mut layout, format, text.as_bytes());
                }
            }
        }
    }

    #[test]
    fn no_bytes_after_others_are_read_in_another_way() {
        let good: &[u8] = b"# TYPE a histogram\na_bucket{le=\"1\",x=\"\\\"\\\\\"} 1.5e3 12\na_bucket{le=\"2\",x=\"\\\"\\\\\"} 2\n{\"a.b\",c=\"d\"} NaN\n";
        cupola_testkit::fuzz(
            10_000,
            &[good.to_vec()],
            &["\n", "\"", "{", "} 1\n", "\u{20ac}"],
            |input| {
                let mut layout = Layout::default();
                follow(&mut layout, Format::Text, good);
                follow(&mut layout, Format::Text, input);
                follow(&mut layout, Format::Text, good);
            },
        );
    }
}
