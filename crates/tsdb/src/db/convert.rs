//! Bringing the blocks of a stopped database into the other format.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use cupola_block::{Block, BlockError, BlockFormat, BlockMeta, BlockSpec, Ulid, list_blocks, merge_blocks};
use cupola_env::{Clock, Vfs};
use thiserror::Error;

use super::compact::{open_new, remove_block, superseded, sync_names};
use super::cut::new_ulid;
use super::{OpenError, lock};

/// What is to be converted.
#[derive(Debug, Clone, Copy)]
pub struct Conversion<'a> {
    /// The data folder.
    pub dir: &'a Path,
    /// The format that the blocks are to have.
    pub to: BlockFormat,
    /// The blocks; none for all.
    pub blocks: &'a [Ulid],
}

/// What became of a block.
#[derive(Debug)]
pub struct Converted {
    /// The block, which is gone now.
    pub from: Ulid,
    /// How large it was; bytes.
    pub from_bytes: u64,
    /// The block in its place and its size, or none where everything of it was deleted.
    pub into: Option<(Ulid, u64)>,
}

/// Why nothing, or a block, could not be converted.
#[derive(Debug, Error)]
pub enum ConvertError {
    /// The data folder is in use or cannot be read.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// There is no such block.
    #[error("data folder {dir}: there is no block {block}")]
    NotThere {
        /// The data folder.
        dir: PathBuf,
        /// The block.
        block: Ulid,
    },
    /// A block cannot be read or written; it stays as it is.
    #[error(transparent)]
    Block(#[from] BlockError),
    /// The new block is there, but the old one cannot be removed; the next start of the server tries that again.
    #[error("block {block}: cannot be removed, though it was converted: {source}")]
    Remove {
        /// The old block.
        block: Ulid,
        /// What the system said.
        #[source]
        source: io::Error,
    },
}

/// Brings the blocks of a data folder that no server has open into another format, one after the other, and hands each
/// outcome to `tell`. What is deleted of a block is not in the new one. Blocks that have the format already are passed
/// over.
///
/// A new block is on the device and open before the old one goes. After a crash in between both are there, and the next
/// start or conversion removes the old one, which the new one names as its parent.
///
/// # Errors
/// [`ConvertError`] where nothing was begun: another process holds the folder, it cannot be listed, or a block that was
/// asked for is not in it. What goes wrong with a block is told, and the others go on.
pub fn convert(
    conversion: Conversion<'_>,
    clock: &dyn Clock,
    vfs: &Arc<dyn Vfs>,
    tell: &mut dyn FnMut(Result<Converted, ConvertError>),
) -> Result<(), ConvertError> {
    let Conversion { dir, to, blocks } = conversion;
    // Looked at before the lock's file is made, which is not to be left in some other folder.
    list_blocks(&**vfs, dir)?;
    let _lock = lock(dir)?;
    let list = list_blocks(&**vfs, dir)?;
    for block in blocks {
        let is_there = list.blocks.iter().any(|(_, meta)| meta.ulid == *block);
        if !is_there {
            return Err(ConvertError::NotThere {
                dir: dir.to_path_buf(),
                block: *block,
            });
        }
    }
    sync_names(&**vfs, dir).map_err(|source| BlockError::Io {
        what: format!("sync folder {}", dir.display()),
        source,
    })?;
    let gone = superseded(list.blocks.iter().map(|(_, meta)| meta));
    for (path, meta) in &list.blocks {
        if gone.contains(&meta.ulid) {
            if let Err(error) = remove(&**vfs, path, meta.ulid) {
                tell(Err(error));
            }
            continue;
        }
        let is_wanted = blocks.is_empty() || blocks.contains(&meta.ulid);
        if is_wanted && meta.format() != to {
            tell(convert_one(path, meta, conversion, clock, vfs));
        }
    }
    Ok(())
}

fn convert_one(
    path: &Path,
    meta: &BlockMeta,
    Conversion { dir, to, .. }: Conversion<'_>,
    clock: &dyn Clock,
    vfs: &Arc<dyn Vfs>,
) -> Result<Converted, ConvertError> {
    let block = Block::open(vfs, path)?;
    let spec = BlockSpec::rewritten(new_ulid(clock.now_ms()), meta).in_format(to);
    let into = match merge_blocks(&[&block], vfs, dir, spec, &|| true)? {
        Some(meta) => Some((meta.ulid, open_new(vfs, &meta.dir_in(dir))?.size_bytes())),
        None => None,
    };
    let from_bytes = block.size_bytes();
    remove(&**vfs, path, meta.ulid)?;
    Ok(Converted {
        from: meta.ulid,
        from_bytes,
        into,
    })
}

fn remove(vfs: &dyn Vfs, path: &Path, block: Ulid) -> Result<(), ConvertError> {
    remove_block(vfs, path).map_err(|source| ConvertError::Remove { block, source })
}
