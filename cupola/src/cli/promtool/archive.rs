//! A compressed tar archive, written: what a few small files need of it (POSIX `ustar`).

use std::io::{self, Write};

use flate2::Compression;
use flate2::write::GzEncoder;

const BLOCK: usize = 512;

/// Writes files one after the other; [`TarGz::finish`] ends the archive.
pub(super) struct TarGz<W: Write>(GzEncoder<W>);

impl<W: Write> TarGz<W> {
    pub(super) fn new(out: W) -> Self {
        Self(GzEncoder::new(out, Compression::default()))
    }

    /// Adds a file. `name` has at most 100 bytes, as all of ours do.
    pub(super) fn add(&mut self, name: &str, body: &[u8], modified_s: u64) -> io::Result<()> {
        let mut header = [0_u8; BLOCK];
        put(&mut header, 0, name);
        put(&mut header, 100, "0000644\0");
        put(&mut header, 108, "0000000\0");
        put(&mut header, 116, "0000000\0");
        put(&mut header, 124, &format!("{:011o}\0", body.len()));
        put(&mut header, 136, &format!("{modified_s:011o}\0"));
        // The sum counts itself as blanks.
        put(&mut header, 148, "        ");
        put(&mut header, 156, "0");
        put(&mut header, 257, "ustar\x0000");
        let sum: u32 = header.iter().map(|byte| u32::from(*byte)).sum();
        put(&mut header, 148, &format!("{sum:06o}\0 "));
        self.0.write_all(&header)?;
        self.0.write_all(body)?;
        let rest = body.len() % BLOCK;
        let padding = if rest == 0 { 0 } else { BLOCK - rest };
        self.0.write_all(&[0; BLOCK][..padding])
    }

    pub(super) fn finish(mut self) -> io::Result<()> {
        self.0.write_all(&[0; 2 * BLOCK])?;
        self.0.finish()?.flush()
    }
}

fn put(header: &mut [u8; BLOCK], at: usize, text: &str) {
    for (place, byte) in header.iter_mut().skip(at).zip(text.bytes()) {
        *place = byte;
    }
}
