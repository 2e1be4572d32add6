//! What a node has on disk, by what it is for.

use std::{fs, io, os::unix::fs::MetadataExt as _, path::Path};

/// Bytes that the disk gives to each.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Files {
    /// The state, its tree and what proves it.
    pub(super) state: u64,
    /// Blocks, transactions and receipts, as JSON-RPC serves them.
    pub(super) history: u64,
    /// What consensus keeps: blocks and certificates for peers that lag, votes.
    pub(super) blocks: u64,
}

impl Files {
    /// Of the ledger in a node's folder.
    pub(super) fn of(folder: &Path) -> io::Result<Self> {
        let ledger = folder.join("ledger");
        let mut files = Self { history: bytes(&ledger.join("history.redb"))?, ..Self::default() };
        for entry in fs::read_dir(ledger.join("engine"))? {
            let entry = entry?;
            let name = entry.file_name();
            let of = if name.to_string_lossy().contains("-state-") {
                &mut files.state
            } else {
                &mut files.blocks
            };
            *of += bytes(&entry.path())?;
        }
        Ok(files)
    }
}

/// What a file or a folder takes on the disk. What is removed meanwhile takes nothing.
fn bytes(path: &Path) -> io::Result<u64> {
    let found = match fs::metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(0),
        found => found?,
    };
    if !found.is_dir() {
        // `stat(2)` counts blocks of 512 bytes.
        return Ok(found.blocks() * 512);
    }
    fs::read_dir(path)?.try_fold(0, |sum, entry| Ok(sum + bytes(&entry?.path())?))
}
