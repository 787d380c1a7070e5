//! The symbol table: every name and value once, ascending.

use crate::bytes::{Dec, Parsed};

/// All symbols as one text, and where each ends: 4 bytes a symbol beside the text.
#[derive(Debug, Default)]
pub(crate) struct Symbols {
    text: String,
    ends: Vec<u32>,
}

impl Symbols {
    /// Reads the body of the section, which begins at `base` in the file.
    pub(crate) fn parse(body: &[u8], base: u64) -> Parsed<Self> {
        let mut dec = Dec::new(body, base);
        let count = dec.be32()?;
        // Each symbol takes a byte at least, so a false count cannot ask for much memory.
        let mut ends = Vec::with_capacity((count as usize).min(body.len()));
        let mut text = String::with_capacity(body.len());
        let mut last = None;
        for _ in 0..count {
            let at = dec.at();
            let symbol = dec.text()?;
            if last.is_some_and(|last| last >= symbol) {
                return Dec::new(body, at).fault(format!("symbol {symbol:?} is out of order"));
            }
            last = Some(symbol);
            text.push_str(symbol);
            // The section's length is 32 bits wide, and the text is shorter than the section.
            ends.push(text.len() as u32);
        }
        Ok(Self { text, ends })
    }

    pub(crate) fn len(&self) -> usize {
        self.ends.len()
    }

    pub(crate) fn get(&self, id: u32) -> Option<&str> {
        let id = id as usize;
        let end = *self.ends.get(id)? as usize;
        let start = match id.checked_sub(1) {
            Some(before) => *self.ends.get(before)? as usize,
            None => 0,
        };
        self.text.get(start..end)
    }

    pub(crate) fn find(&self, symbol: &str) -> Option<u32> {
        self.find_between(symbol, 0, self.len())
    }

    /// As [`Symbols::find`] for a symbol at or behind `from`, quickest when it is close: the values of a label come in
    /// order.
    pub(crate) fn find_from(&self, symbol: &str, from: u32) -> Option<u32> {
        let from = from as usize;
        let mut step = 1;
        while from + step < self.len() && self.get((from + step) as u32)? < symbol {
            step *= 2;
        }
        self.find_between(symbol, from + step / 2, (from + step + 1).min(self.len()))
    }

    fn find_between(&self, symbol: &str, mut low: usize, mut high: usize) -> Option<u32> {
        while low < high {
            let middle = low + (high - low) / 2;
            match self.get(middle as u32)?.cmp(symbol) {
                std::cmp::Ordering::Less => low = middle + 1,
                std::cmp::Ordering::Equal => return Some(middle as u32),
                std::cmp::Ordering::Greater => high = middle,
            }
        }
        None
    }
}
