//! What lies in a data folder.

use std::path::{Path, PathBuf};

use cupola_env::Vfs;

use crate::{BlockError, BlockMeta, Ulid, file, native};

/// The blocks of a data folder.
#[derive(Debug, Default)]
pub struct BlockList {
    /// Those whose meta can be read, oldest first, with their folders.
    pub blocks: Vec<(PathBuf, BlockMeta)>,
    /// Those whose meta cannot.
    pub broken: Vec<Broken>,
    /// Folders that an interrupted creation or deletion left: `.tmp-for-creation`, `.tmp-for-deletion`, and `.tmp` of
    /// old versions.
    pub leftovers: Vec<PathBuf>,
}

/// A folder that is named as a block and is none.
#[derive(Debug)]
pub struct Broken {
    /// The folder.
    pub dir: PathBuf,
    /// What is wrong with it.
    pub error: BlockError,
}

/// Reads the metas of all blocks in a data folder, of either format. Changes nothing, and one broken block hides no
/// other.
///
/// # Errors
/// [`BlockError::Io`] where the folder itself cannot be listed.
pub fn list_blocks(vfs: &dyn Vfs, dir: &Path) -> Result<BlockList, BlockError> {
    let mut out = BlockList::default();
    list_folder(vfs, dir, &mut out)?;
    out.blocks
        .sort_by_key(|(_, meta)| (meta.min_time, meta.max_time, meta.ulid));
    Ok(out)
}

fn list_folder(vfs: &dyn Vfs, dir: &Path, out: &mut BlockList) -> Result<(), BlockError> {
    for (name, is_dir) in file::list(vfs, dir)? {
        if !is_dir {
            continue;
        }
        let path = dir.join(&name);
        let is_left = [".tmp-for-creation", ".tmp-for-deletion", ".tmp"].iter().any(|suffix| {
            name.strip_suffix(suffix)
                .is_some_and(|ulid| ulid.parse::<Ulid>().is_ok())
        });
        if name == native::HOME {
            list_folder(vfs, &path, out)?;
        } else if is_left {
            out.leftovers.push(path);
        } else if name.parse::<Ulid>().is_ok() {
            match read_meta(vfs, &path) {
                Ok(meta) => out.blocks.push((path, meta)),
                Err(error) => out.broken.push(Broken { dir: path, error }),
            }
        }
    }
    Ok(())
}

/// Reads a block's meta. A folder that is named by a ULID must be named by that of its meta: deletion and compaction
/// go by it.
pub(crate) fn read_meta(vfs: &dyn Vfs, dir: &Path) -> Result<BlockMeta, BlockError> {
    let name = dir
        .file_name()
        .map_or_else(String::new, |n| n.to_string_lossy().into_owned());
    let broken = |reason: String| BlockError::Meta {
        block: name.as_str().into(),
        reason,
    };
    let bytes = file::read_if_there(vfs, &dir.join("meta.json"))?.ok_or_else(|| broken("is missing".to_owned()))?;
    let meta = BlockMeta::parse(&bytes).map_err(broken)?;
    if name.parse::<Ulid>().is_ok_and(|ulid| ulid != meta.ulid) {
        return Err(broken(format!("belongs to block {}", meta.ulid)));
    }
    Ok(meta)
}
