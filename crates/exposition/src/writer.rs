//! Writes families in the text format 0.0.4 (with quotes around names that need them, as 1.0 has it).

use std::collections::HashSet;
use std::hash::BuildHasher as _;

use cupola_model::{is_valid_legacy_label_name, is_valid_legacy_metric_name};

use foldhash::fast::FixedState;

use crate::MetricType;
use crate::number::write_float;

/// The `Content-Type` of what a [`Writer`] writes.
pub const TEXT_CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// Collects an exposition in one buffer, which it may be given and gives back.
///
/// A family's samples follow its [`Writer::family`] call at once; a family that gets no sample leaves no trace. That no
/// family comes twice and no series either is the caller's to see to, unless it says [`Writer::refuse_duplicates`].
#[derive(Debug, Default)]
pub struct Writer {
    out: Vec<u8>,
    // Where the current family's header begins, where its name stands in `out`, and whether it has a sample yet.
    header: usize,
    name: std::ops::Range<usize>,
    has_sample: bool,
    is_plain_name: bool,
    seen: Option<Seen>,
}

/// What was written since duplicates are refused, as hashes.
#[derive(Debug, Default)]
struct Seen {
    families: HashSet<u64, FixedState>,
    // Of the current family.
    series: HashSet<u64, FixedState>,
    is_known_family: bool,
    refused: usize,
}

impl Writer {
    /// A writer with a buffer of its own.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// A writer that appends to `buf`, so that a scrape can reuse the last one's memory.
    #[must_use]
    pub fn with_buffer(buf: Vec<u8>) -> Self {
        Self {
            header: buf.len(),
            has_sample: true,
            out: buf,
            ..Self::default()
        }
    }

    /// From now on drops a family whose name came before, and a series that came before in its family: one odd file of
    /// the kernel must not spoil the whole exposition. Costs some 30 ns a sample.
    pub fn refuse_duplicates(&mut self) {
        self.seen = Some(Seen::default());
    }

    /// Accepts duplicates again. Returns how many samples were dropped.
    pub fn accept_duplicates(&mut self) -> usize {
        self.seen.take().map_or(0, |seen| seen.refused)
    }

    /// Begins the family `name`. An empty `help` writes no HELP line.
    pub fn family(&mut self, name: &str, help: &str, kind: MetricType) -> &mut Self {
        self.drop_empty_family();
        self.header = self.out.len();
        self.has_sample = false;
        self.is_plain_name = is_valid_legacy_metric_name(name);
        if let Some(seen) = &mut self.seen {
            seen.series.clear();
            seen.is_known_family = !seen.families.insert(hash(name.as_bytes()));
        }
        if !help.is_empty() {
            self.out.extend_from_slice(b"# HELP ");
            self.metadata_name(name);
            self.out.push(b' ');
            escape(&mut self.out, help, false);
            self.out.push(b'\n');
        }
        self.out.extend_from_slice(b"# TYPE ");
        self.name = self.metadata_name(name);
        self.out.push(b' ');
        self.out.extend_from_slice(kind.text_name().as_bytes());
        self.out.push(b'\n');
        self
    }

    // Returns where the name stands, escaped but without its quotes.
    fn metadata_name(&mut self, name: &str) -> std::ops::Range<usize> {
        if self.is_plain_name {
            let from = self.out.len();
            self.out.extend_from_slice(name.as_bytes());
            return from..self.out.len();
        }
        self.out.push(b'"');
        let from = self.out.len();
        escape(&mut self.out, name, true);
        let to = self.out.len();
        self.out.push(b'"');
        from..to
    }

    /// A sample of the family.
    pub fn sample<N: AsRef<str>, V: AsRef<str>>(&mut self, labels: &[(N, V)], value: f64) -> &mut Self {
        self.sample_suffix("", labels, value)
    }

    /// A sample without labels.
    pub fn value(&mut self, value: f64) -> &mut Self {
        self.sample_suffix::<&str, &str>("", &[], value)
    }

    /// A sample of the family whose name goes on with `suffix`: `_bucket`, `_sum`, `_count`.
    pub fn sample_suffix<N: AsRef<str>, V: AsRef<str>>(
        &mut self,
        suffix: &str,
        labels: &[(N, V)],
        value: f64,
    ) -> &mut Self {
        let start = self.out.len();
        let mut separator: &[u8] = b"{";
        if self.is_plain_name {
            self.out.extend_from_within(self.name.clone());
            self.out.extend_from_slice(suffix.as_bytes());
        } else {
            self.out.extend_from_slice(b"{\"");
            self.out.extend_from_within(self.name.clone());
            escape(&mut self.out, suffix, true);
            self.out.push(b'"');
            separator = b",";
        }
        for (name, value) in labels {
            self.out.extend_from_slice(separator);
            separator = b",";
            let name = name.as_ref();
            if is_valid_legacy_label_name(name) {
                self.out.extend_from_slice(name.as_bytes());
            } else {
                self.out.push(b'"');
                escape(&mut self.out, name, true);
                self.out.push(b'"');
            }
            self.out.extend_from_slice(b"=\"");
            escape(&mut self.out, value.as_ref(), true);
            self.out.push(b'"');
        }
        if separator == b"," {
            self.out.push(b'}');
        }
        if let Some(seen) = &mut self.seen
            && (seen.is_known_family || !seen.series.insert(hash(self.out.get(start..).unwrap_or(&[]))))
        {
            seen.refused += 1;
            self.out.truncate(start);
            return self;
        }
        self.has_sample = true;
        self.out.push(b' ');
        write_float(&mut self.out, value);
        self.out.push(b'\n');
        self
    }

    /// A whole family of one sample without labels.
    pub fn single(&mut self, name: &str, help: &str, kind: MetricType, value: f64) -> &mut Self {
        self.family(name, help, kind).value(value)
    }

    fn drop_empty_family(&mut self) {
        if !self.has_sample {
            self.out.truncate(self.header);
        }
    }

    /// The exposition.
    #[must_use]
    pub fn finish(mut self) -> Vec<u8> {
        self.drop_empty_family();
        self.out
    }

    /// How many bytes there are so far, an open family's header included.
    #[must_use]
    pub fn len(&self) -> usize {
        self.out.len()
    }

    /// Whether nothing was written yet.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.out.is_empty()
    }
}

fn hash(bytes: &[u8]) -> u64 {
    FixedState::with_seed(0).hash_one(bytes)
}

// Backslash and line feed, within quotes the quote as well; runs without any are copied whole.
pub(crate) fn escape(out: &mut Vec<u8>, text: &str, quotes: bool) {
    let mut rest = text.as_bytes();
    while let Some(at) = rest
        .iter()
        .position(|b| matches!(b, b'\\' | b'\n') || (quotes && *b == b'"'))
    {
        let (before, from) = rest.split_at(at);
        out.extend_from_slice(before);
        let Some((special, after)) = from.split_first() else {
            break;
        };
        out.push(b'\\');
        out.push(if *special == b'\n' { b'n' } else { *special });
        rest = after;
    }
    out.extend_from_slice(rest);
}
