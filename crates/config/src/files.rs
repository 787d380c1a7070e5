//! Where configuration files come from: the disk, or a test's memory.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

use crate::error::ConfigErrors;

/// Reads files and lists folders. The only way this crate reaches the outside.
pub trait Files {
    /// The file's text.
    ///
    /// # Errors
    /// As the operating system says; [`io::ErrorKind::InvalidData`] where the text is not UTF-8.
    fn read(&self, path: &Path) -> io::Result<String>;

    /// The names in a folder, in any order.
    ///
    /// # Errors
    /// As the operating system says.
    fn list(&self, folder: &Path) -> io::Result<Vec<String>>;

    /// Whether there is such a file or folder.
    fn exists(&self, path: &Path) -> bool;

    /// The files that match a pattern, sorted; none is no error, and neither is a folder that does not exist. `*`,
    /// `?` and `[a-z]` stand for characters within one part of the path (Go: `filepath.Glob`).
    ///
    /// # Errors
    /// Where the pattern itself is malformed.
    fn glob(&self, pattern: &Path) -> io::Result<Vec<PathBuf>> {
        let mut found = vec![PathBuf::new()];
        for part in pattern.components() {
            let name = part.as_os_str().to_string_lossy();
            if !name.contains(['*', '?', '[', '\\']) {
                found.iter_mut().for_each(|path| path.push(part));
                continue;
            }
            let parsed = Pattern::parse(&name)
                .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidInput, "syntax error in pattern"))?;
            let mut next = Vec::new();
            for folder in found {
                // A folder that cannot be listed matches nothing, as in Go.
                let mut names = self.list(&folder).unwrap_or_default();
                names.sort();
                next.extend(
                    names
                        .iter()
                        .filter(|name| parsed.matches(name))
                        .map(|name| folder.join(name)),
                );
            }
            found = next;
        }
        found.retain(|path| self.exists(path));
        Ok(found)
    }
}

/// The operating system's files.
#[derive(Debug, Clone, Copy, Default)]
pub struct DiskFiles;

impl Files for DiskFiles {
    fn read(&self, path: &Path) -> io::Result<String> {
        std::fs::read_to_string(path)
    }

    fn list(&self, folder: &Path) -> io::Result<Vec<String>> {
        let folder = if folder.as_os_str().is_empty() {
            Path::new(".")
        } else {
            folder
        };
        let mut names = Vec::new();
        for entry in std::fs::read_dir(folder)? {
            // A name that is not UTF-8 cannot be written in a configuration.
            names.extend(entry?.file_name().into_string());
        }
        Ok(names)
    }

    fn exists(&self, path: &Path) -> bool {
        path.exists()
    }
}

/// Files in memory, for tests and for checking a configuration before it is written.
#[derive(Debug, Clone, Default)]
pub struct MemoryFiles(BTreeMap<PathBuf, String>);

impl MemoryFiles {
    /// The files of a list of path and text.
    pub fn new<P: Into<PathBuf>, T: Into<String>>(files: impl IntoIterator<Item = (P, T)>) -> Self {
        Self(
            files
                .into_iter()
                .map(|(path, text)| (path.into(), text.into()))
                .collect(),
        )
    }
}

impl Files for MemoryFiles {
    fn read(&self, path: &Path) -> io::Result<String> {
        self.0
            .get(path)
            .cloned()
            .ok_or_else(|| io::Error::new(io::ErrorKind::NotFound, "no such file or directory"))
    }

    fn list(&self, folder: &Path) -> io::Result<Vec<String>> {
        let below = self
            .0
            .keys()
            .filter_map(|path| path.strip_prefix(folder).ok()?.components().next());
        let mut names: Vec<String> = below
            .map(|part| part.as_os_str().to_string_lossy().into_owned())
            .collect();
        names.dedup();
        Ok(names)
    }

    fn exists(&self, path: &Path) -> bool {
        self.0.keys().any(|file| file.starts_with(path))
    }
}

/// Reads a file; why it cannot be read becomes a configuration error.
pub(crate) fn read_text(files: &dyn Files, path: &Path) -> Result<String, ConfigErrors> {
    files
        .read(path)
        .map_err(|error| ConfigErrors::whole_file(path, format!("cannot read the file: {error}")))
}

// One part of a path with wildcards (Go: `path.Match`).
struct Pattern(Vec<Piece>);

enum Piece {
    Literal(char),
    Any,
    AnyRun,
    Class { negated: bool, ranges: Vec<(char, char)> },
}

impl Pattern {
    fn parse(text: &str) -> Option<Self> {
        let mut pieces = Vec::new();
        let mut chars = text.chars().peekable();
        while let Some(c) = chars.next() {
            pieces.push(match c {
                '*' => Piece::AnyRun,
                '?' => Piece::Any,
                '\\' => Piece::Literal(chars.next()?),
                '[' => {
                    let negated = chars.next_if_eq(&'^').is_some();
                    let mut ranges = Vec::new();
                    loop {
                        let mut low = chars.next()?;
                        if low == ']' && !ranges.is_empty() {
                            break;
                        }
                        if low == '\\' {
                            low = chars.next()?;
                        }
                        let mut high = low;
                        if chars.next_if_eq(&'-').is_some() {
                            high = chars.next().filter(|c| *c != ']')?;
                        }
                        ranges.push((low, high));
                    }
                    Piece::Class { negated, ranges }
                }
                c => Piece::Literal(c),
            });
        }
        Some(Self(pieces))
    }

    fn matches(&self, name: &str) -> bool {
        let chars: Vec<char> = name.chars().collect();
        // reached[i]: the pieces so far can match the first i characters.
        let mut reached = vec![false; chars.len() + 1];
        reached[0] = true;
        for piece in &self.0 {
            let mut next = vec![false; chars.len() + 1];
            match piece {
                Piece::AnyRun => {
                    let first = reached.iter().position(|r| *r).unwrap_or(reached.len());
                    next.iter_mut().skip(first).for_each(|r| *r = true);
                }
                one => {
                    for ((from, c), to) in reached.iter().zip(&chars).zip(next.iter_mut().skip(1)) {
                        *to = *from && one.matches(*c);
                    }
                }
            }
            reached = next;
        }
        reached.last().copied().unwrap_or(false)
    }
}

impl Piece {
    fn matches(&self, c: char) -> bool {
        match self {
            Self::Literal(literal) => *literal == c,
            Self::Any | Self::AnyRun => true,
            Self::Class { negated, ranges } => ranges.iter().any(|(low, high)| (*low..=*high).contains(&c)) != *negated,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_match_within_one_part() {
        let files =
            MemoryFiles::new(["/c/a.yml", "/c/b.yml", "/c/b.yaml", "/c/d/e.yml", "/c/x[1].yml"].map(|path| (path, "")));
        let glob = |pattern: &str| -> Vec<String> {
            let found = files.glob(Path::new(pattern)).unwrap();
            found.iter().map(|path| path.display().to_string()).collect()
        };
        assert_eq!(glob("/c/*.yml"), ["/c/a.yml", "/c/b.yml", "/c/x[1].yml"]);
        assert_eq!(glob("/c/[a-b].yml"), ["/c/a.yml", "/c/b.yml"]);
        assert_eq!(glob("/c/[^a].yml"), ["/c/b.yml"]);
        assert_eq!(glob("/c/?.ya*l"), ["/c/b.yaml"]);
        assert_eq!(glob("/*/*/e.yml"), ["/c/d/e.yml"]);
        assert_eq!(glob("/c/x\\[1].yml"), ["/c/x[1].yml"]);
        assert_eq!(glob("/c/a.yml"), ["/c/a.yml"]);
        assert_eq!(glob("/c/missing.yml"), Vec::<String>::new());
        assert_eq!(glob("/missing/*"), Vec::<String>::new());
        assert!(files.glob(Path::new("/c/[a")).is_err());
    }

    #[test]
    fn the_disk_is_read() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("b.yml"), "b").unwrap();
        std::fs::write(dir.path().join("a.yml"), "a").unwrap();
        let found = DiskFiles.glob(&dir.path().join("*.yml")).unwrap();
        assert_eq!(found, [dir.path().join("a.yml"), dir.path().join("b.yml")]);
        assert_eq!(DiskFiles.read(&found[0]).unwrap(), "a");
        let error = read_text(&DiskFiles, &dir.path().join("none.yml"))
            .unwrap_err()
            .to_string();
        assert!(
            error.contains("none.yml: cannot read the file: No such file"),
            "{error}"
        );
    }
}
