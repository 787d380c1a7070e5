//! The postings offset table: where the list of each label pair is.

use std::ops::Range;

use crate::bytes::{Dec, Fault, Parsed};
use crate::index::symbols::Symbols;

/// Label pairs by name and value: 12 bytes each, since the texts are in the symbol table.
#[derive(Debug, Default)]
pub(crate) struct PostingsTable {
    /// Where the list of all series is.
    all: Option<u64>,
    // Ascending by name.
    names: Vec<Name>,
    // Symbols of the values, ascending within a name.
    values: Vec<u32>,
    offsets: Vec<u64>,
}

#[derive(Debug)]
struct Name {
    name: String,
    pairs: Range<usize>,
}

/// The values of one label.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Values<'a> {
    symbols: &'a Symbols,
    values: &'a [u32],
    offsets: &'a [u64],
}

impl PostingsTable {
    /// Reads the body of the section, which begins at `base` in the file.
    pub(crate) fn parse(body: &[u8], base: u64, symbols: &Symbols) -> Parsed<Self> {
        let mut dec = Dec::new(body, base);
        let count = dec.be32()?;
        let mut out = Self::default();
        let room = (count as usize).min(body.len() / 4);
        out.values.reserve_exact(room);
        out.offsets.reserve_exact(room);
        let mut last = 0;
        for i in 0..count {
            let at = dec.at();
            let fault = |reason: String| Err(Fault::new(at, reason));
            let keys = dec.uvarint()?;
            if keys != 2 {
                return fault(format!("entry of {keys} keys, 2 expected"));
            }
            let (name, value, offset) = (dec.text()?, dec.text()?, dec.uvarint()?);
            if name.is_empty() {
                if i != 0 || !value.is_empty() {
                    return fault("label without a name".to_owned());
                }
                out.all = Some(offset);
                continue;
            }
            let is_new = match out.names.last() {
                Some(before) if before.name.as_str() > name => {
                    return fault(format!("label {name:?} is out of order"));
                }
                before => before.is_none_or(|before| before.name != name),
            };
            let from = if is_new { 0 } else { last + 1 };
            let Some(symbol) = symbols.find_from(value, from) else {
                return fault(format!(
                    "value {value:?} of label {name:?} is out of order or no symbol"
                ));
            };
            last = symbol;
            if is_new {
                out.names.push(Name {
                    name: name.to_owned(),
                    pairs: out.values.len()..out.values.len(),
                });
            }
            out.values.push(symbol);
            out.offsets.push(offset);
            if let Some(name) = out.names.last_mut() {
                name.pairs.end = out.values.len();
            }
        }
        Ok(out)
    }

    pub(crate) fn all(&self) -> Option<u64> {
        self.all
    }

    pub(crate) fn names(&self) -> impl Iterator<Item = &str> {
        self.names.iter().map(|n| n.name.as_str())
    }

    /// The values of `name`; none where no series has the label.
    pub(crate) fn values<'a>(&'a self, name: &str, symbols: &'a Symbols) -> Values<'a> {
        let found = self
            .names
            .binary_search_by(|n| n.name.as_str().cmp(name))
            .ok()
            .and_then(|i| self.names.get(i));
        let pairs = found.map_or(0..0, |n| n.pairs.clone());
        Values {
            symbols,
            values: self.values.get(pairs.clone()).unwrap_or_default(),
            offsets: self.offsets.get(pairs).unwrap_or_default(),
        }
    }
}

impl<'a> Values<'a> {
    pub(crate) fn len(&self) -> usize {
        self.values.len()
    }

    /// The values ascending, each with where its list is.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&'a str, u64)> + use<'a> {
        let symbols = self.symbols;
        self.values
            .iter()
            .zip(self.offsets)
            .map(move |(id, offset)| (symbols.get(*id).unwrap_or_default(), *offset))
    }

    /// Where the list of one value is.
    pub(crate) fn offset_of(&self, value: &str) -> Option<u64> {
        let at = self.values.binary_search(&self.symbols.find(value)?).ok()?;
        self.offsets.get(at).copied()
    }

    /// The values that begin with `prefix`.
    pub(crate) fn with_prefix(&self, prefix: &str) -> Self {
        let text = |id: &u32| self.symbols.get(*id).unwrap_or_default();
        let from = self.values.partition_point(|id| text(id) < prefix);
        let rest = self.values.get(from..).unwrap_or_default();
        let to = from + rest.partition_point(|id| text(id).starts_with(prefix));
        Self {
            symbols: self.symbols,
            values: self.values.get(from..to).unwrap_or_default(),
            offsets: self.offsets.get(from..to).unwrap_or_default(),
        }
    }
}
