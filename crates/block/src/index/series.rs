//! One series in the index: its labels as symbols, its chunks.

use crate::bytes::{Dec, Parsed, put_uvarint, put_varint};
use crate::chunks::ChunkMeta;

/// A series as it stands in the index. Reused from series to series.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Record {
    /// Symbols of names and values.
    pub(crate) labels: Vec<(u32, u32)>,
    /// Ascending in time.
    pub(crate) chunks: Vec<ChunkMeta>,
}

impl Record {
    /// Reads the body of an entry, which begins at `base` in the file. What follows the chunks is not looked at.
    pub(crate) fn parse(&mut self, body: &[u8], base: u64) -> Parsed<()> {
        self.labels.clear();
        self.chunks.clear();
        let mut dec = Dec::new(body, base);
        let labels = dec.uvarint()?;
        for _ in 0..labels {
            self.labels.push((dec.uvarint32()?, dec.uvarint32()?));
        }
        let chunks = dec.uvarint()?;
        let mut last = ChunkMeta {
            mint: 0,
            maxt: 0,
            chunk_ref: 0,
        };
        for i in 0..chunks {
            let at = dec.at();
            // Times wrap as they do upstream: a chunk that overlaps the one before has a delta below zero.
            let mint = if i == 0 {
                dec.varint()?
            } else {
                last.maxt.wrapping_add(dec.uvarint()? as i64)
            };
            let maxt = mint.wrapping_add(dec.uvarint()? as i64);
            let chunk_ref = if i == 0 {
                dec.uvarint()?
            } else {
                last.chunk_ref.wrapping_add(dec.varint()? as u64)
            };
            if maxt < mint {
                return Dec::new(body, at).fault(format!("chunk that begins at {mint} and ends at {maxt}"));
            }
            last = ChunkMeta { mint, maxt, chunk_ref };
            self.chunks.push(last);
        }
        Ok(())
    }
}

/// Appends the count and the chunk metas as an entry holds them behind its labels.
pub(crate) fn put_chunks(out: &mut Vec<u8>, chunks: &[ChunkMeta]) {
    put_uvarint(out, chunks.len() as u64);
    let mut last: Option<ChunkMeta> = None;
    for chunk in chunks {
        match last {
            None => put_varint(out, chunk.mint),
            Some(last) => put_uvarint(out, chunk.mint.wrapping_sub(last.maxt) as u64),
        }
        put_uvarint(out, chunk.maxt.wrapping_sub(chunk.mint) as u64);
        match last {
            None => put_uvarint(out, chunk.chunk_ref),
            Some(last) => put_varint(out, chunk.chunk_ref.wrapping_sub(last.chunk_ref) as i64),
        }
        last = Some(*chunk);
    }
}
