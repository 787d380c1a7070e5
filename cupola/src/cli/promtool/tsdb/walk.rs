//! The samples of a file in OpenMetrics, piece by piece: files that are imported are often larger than the memory.

use std::fs::File;
use std::io::{self, Cursor, Read, Seek, SeekFrom};
use std::path::Path;

use cupola_exposition::{Entry, MetricType, SampleEntry, openmetrics};

use super::{Failure, io_text};

const PIECE_BYTES: usize = 1 << 20;

/// A file that can be read as often as needed.
pub(super) struct Input {
    source: Box<dyn Source>,
    piece_bytes: usize,
}

trait Source: Read + Seek {}

impl<T: Read + Seek> Source for T {}

impl Input {
    /// Opens the file. What cannot be read twice, such as a pipe, is read into memory.
    pub(super) fn open(path: &Path) -> Result<Self, Failure> {
        let told = |error: io::Error| Failure::Told(format!("open {}: {}", path.display(), io_text(&error)));
        let mut file = File::open(path).map_err(told)?;
        let source: Box<dyn Source> = if file.metadata().map_err(told)?.is_file() {
            Box::new(file)
        } else {
            let mut bytes = Vec::new();
            file.read_to_end(&mut bytes).map_err(told)?;
            Box::new(Cursor::new(bytes))
        };
        Ok(Self {
            source,
            piece_bytes: PIECE_BYTES,
        })
    }

    /// Hands each sample to `visit`, from the beginning on. Mistakes of the file are told behind `doing`, with their
    /// line.
    pub(super) fn samples(
        &mut self,
        doing: &str,
        mut visit: impl FnMut(&SampleEntry<'_>) -> Result<(), Failure>,
    ) -> Result<(), Failure> {
        let unreadable = |error: io::Error| Failure::Told(format!("{doing}: {}", io_text(&error)));
        self.source.seek(SeekFrom::Start(0)).map_err(unreadable)?;
        let mut kind = MetricType::Unknown;
        let mut lines_before = 0;
        let mut rest: Vec<u8> = Vec::new();
        let mut body: Vec<u8> = Vec::new();
        loop {
            let is_last = self.fill(&mut rest).map_err(unreadable)?;
            // Whole lines only, but never all there is: so there is always something behind the `# EOF` that is put
            // behind a piece which is not the last.
            let cut = match rest.split_last() {
                _ if is_last => rest.len(),
                Some((_, front)) => front.iter().rposition(|b| *b == b'\n').map_or(0, |at| at + 1),
                None => 0,
            };
            if cut == 0 && !is_last {
                // One line longer than a piece.
                self.piece_bytes = self.piece_bytes.saturating_mul(2);
                continue;
            }
            // What the last `# TYPE` said holds on.
            body.clear();
            body.extend_from_slice(format!("# TYPE piece {}\n", kind.name()).as_bytes());
            body.extend_from_slice(rest.get(..cut).unwrap_or_default());
            let lines = body.iter().filter(|b| **b == b'\n').count() - 1;
            if !is_last {
                body.extend_from_slice(b"# EOF\n");
            }
            for entry in openmetrics::Parser::new(&body) {
                match entry {
                    Ok(Entry::Type { kind: told, .. }) => kind = told,
                    Ok(Entry::Sample(sample)) => visit(&sample)?,
                    Ok(_) => {}
                    Err(error) => {
                        let line = lines_before + error.line.saturating_sub(1);
                        // The line that was put behind the piece is not the file's.
                        let excerpt = if is_last || error.line <= lines + 1 {
                            format!(": {}", cupola_model::go_quote(&error.excerpt))
                        } else {
                            String::new()
                        };
                        let message = &error.message;
                        return Err(Failure::Told(format!("{doing}: {message} (line {line}{excerpt})")));
                    }
                }
            }
            if is_last {
                return Ok(());
            }
            lines_before += lines;
            rest.drain(..cut);
        }
    }

    // Reads on until there is a piece, or the file is at its end: true.
    fn fill(&mut self, rest: &mut Vec<u8>) -> io::Result<bool> {
        let missing = self.piece_bytes.saturating_sub(rest.len());
        let read = self.source.by_ref().take(missing as u64).read_to_end(rest)?;
        Ok(read < missing)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // All samples as text, read in pieces of so many bytes.
    fn read(text: &str, piece_bytes: usize) -> String {
        let mut input = Input {
            source: Box::new(Cursor::new(text.as_bytes().to_vec())),
            piece_bytes,
        };
        let mut out = String::new();
        let done = input.samples("next", |sample| {
            let (labels, value) = (sample.series.labels(), sample.value);
            out.push_str(&format!("{labels} {value} {:?}\n", sample.timestamp_ms));
            Ok(())
        });
        if let Err(Failure::Told(text)) = done {
            // The excerpt of the line is shorter where a piece ends.
            out.push_str(text.split(": \"").next().unwrap_or_default().trim_end_matches(')'));
        }
        out
    }

    #[test]
    fn a_file_in_pieces_is_the_file() {
        let text = "# TYPE h histogram\nh_bucket{le=\"1\"} 1 1\nh_bucket{le=\"2\"} 2 1.5\n# TYPE g gauge\n\
                    # HELP g A long text that does not fit in one of the small pieces.\ng{le=\"1\"} 3 2\n# EOF\n";
        let bad = text.replace("g{le=\"1\"} 3 2", "g 3 x");
        let open = text.replace("# EOF\n", "");
        let twice = format!("{text}{text}");
        for text in [text, &bad, &open, &twice, "", "\n", "# EOF", "# EOF\n"] {
            let whole = read(text, 1 << 20);
            for piece_bytes in 1..text.len() + 2 {
                assert_eq!(read(text, piece_bytes), whole, "{piece_bytes}");
            }
        }
        assert!(read(text, 7).contains("le=\"1.0\"") && read(text, 7).contains("le=\"1\"} 3"));
        assert!(read(&bad, 7).contains("(line 6"), "{}", read(&bad, 7));
        assert!(read(&open, 7).contains("next: data does not end with # EOF (line 7"));
        assert!(read(&twice, 7).contains("unexpected data after # EOF (line 8"));
    }
}
