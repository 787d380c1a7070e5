//! Which files a data folder has.

use std::io;
use std::path::{Path, PathBuf};

use cupola_env::Vfs;

use crate::record::Source;
use crate::replay::Damage;

const CHECKPOINT: &str = "checkpoint.";

/// One numbered file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Numbered {
    pub(crate) source: Source,
    pub(crate) number: u64,
    pub(crate) path: PathBuf,
}

/// Files in the order in which they are read; behind them what cannot be read, because one is missing.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(crate) struct Row {
    pub(crate) files: Vec<Numbered>,
    pub(crate) gap: Option<Damage>,
}

/// The number that a name is. Nobody's log has four billion segments, so larger ones name something else.
fn number(name: &str) -> Option<u64> {
    let digits = name.bytes().all(|b| b.is_ascii_digit());
    name.parse::<u32>().ok().filter(|_| digits).map(u64::from)
}

/// The names in a folder; none where there is no folder.
fn names(vfs: &dyn Vfs, dir: &Path) -> io::Result<Vec<String>> {
    match vfs.list(dir) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        other => other.map_err(|error| at(dir, &error)),
    }
}

/// An error that says which file it was about.
pub(crate) fn at(path: &Path, error: &io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("{}: {error}", path.display()))
}

/// The files of `dir` whose name is a number from `first` on, ascending, up to the first one missing. `expected` is
/// whether the one of number `first` must be there if any is.
fn numbered(
    vfs: &dyn Vfs,
    (dir, names): (&Path, &[String]),
    source: Source,
    (first, expected): (u64, bool),
) -> io::Result<Row> {
    let mut files: Vec<_> = names
        .iter()
        .filter_map(|name| {
            Some(Numbered {
                source,
                number: number(name)?,
                path: dir.join(name),
            })
        })
        .filter(|file| file.number >= first)
        .collect();
    files.sort_by_key(|file| file.number);
    let begin = match files.first() {
        Some(file) if !expected => file.number,
        _ => first,
    };
    let row = files
        .iter()
        .zip(begin..)
        .take_while(|(file, number)| file.number == *number)
        .count();
    let behind = files.split_off(row);
    let gap = match behind.first() {
        None => None,
        Some(next) => Some(Damage {
            file: next.path.clone(),
            byte: 0,
            reason: format!("number {} is missing before it", begin + row as u64),
            unread_bytes: total(vfs, &behind)?,
        }),
    };
    Ok(Row { files, gap })
}

/// The bytes of all of them.
pub(crate) fn total(vfs: &dyn Vfs, files: &[Numbered]) -> io::Result<u64> {
    let mut total = 0;
    for file in files {
        total += vfs.len(&file.path).map_err(|error| at(&file.path, &error))?;
    }
    Ok(total)
}

/// `chunks_head/`.
pub(crate) fn head_chunks(vfs: &dyn Vfs, data: &Path) -> io::Result<Row> {
    let dir = data.join("chunks_head");
    let mut row = numbered(vfs, (&dir, &names(vfs, &dir)?), Source::HeadChunks, (0, false))?;
    // An empty last file is what a crash right after its creation leaves; upstream removes it.
    if row.gap.is_none()
        && let Some(last) = row.files.last()
        && total(vfs, std::slice::from_ref(last))? == 0
    {
        row.files.pop();
    }
    Ok(row)
}

/// `wal/`: the newest checkpoint, and the segments after it. The second value is the checkpoint's number.
pub(crate) fn wal(vfs: &dyn Vfs, data: &Path) -> io::Result<(Row, Option<u64>)> {
    let dir = data.join("wal");
    let in_dir = names(vfs, &dir)?;
    // A checkpoint being written has another name (`.tmp`), which is no number.
    let checkpoint = in_dir
        .iter()
        .filter_map(|name| Some((number(name.strip_prefix(CHECKPOINT)?)?, name)))
        .max();
    let Some((covered, name)) = checkpoint else {
        let row = numbered(vfs, (&dir, &in_dir), Source::Wal, (0, false))?;
        return Ok((row, None));
    };
    let folder = dir.join(name);
    let mut row = numbered(vfs, (&folder, &names(vfs, &folder)?), Source::Checkpoint, (0, true))?;
    let after = numbered(vfs, (&dir, &in_dir), Source::Wal, (covered + 1, true))?;
    match row.gap.as_mut() {
        Some(gap) => {
            gap.unread_bytes += total(vfs, &after.files)? + after.gap.map_or(0, |gap| gap.unread_bytes);
        }
        None => {
            row.files.extend(after.files);
            row.gap = after.gap;
        }
    }
    Ok((row, Some(covered)))
}

/// `wbl/`.
pub(crate) fn wbl(vfs: &dyn Vfs, data: &Path) -> io::Result<Row> {
    let dir = data.join("wbl");
    numbered(vfs, (&dir, &names(vfs, &dir)?), Source::Wbl, (0, false))
}
