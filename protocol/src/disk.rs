//! The disk as a state machine sees it: named files that appear whole or not at all.
//!
//! Names are relative paths of `[a-z0-9_-]` components. Implementations in shells use the real file
//! system; the simulator's injects torn writes, lost writes, failed syncs and a full disk.

use std::fmt::Debug;

/// Why the disk refused.
#[derive(Debug, thiserror::Error)]
pub enum DiskError {
    /// No such file.
    #[error("no such file: {0}")]
    Missing(String),
    /// No room is left; nothing was written.
    #[error("the disk is full")]
    Full,
    /// A name outside the allowed form.
    #[error("invalid file name: {0}")]
    Name(String),
    /// Anything else the system said.
    #[error("disk failed on {name}: {source}")]
    Io {
        /// The file.
        name: String,
        /// What the system said.
        source: std::io::Error,
    },
}

/// A folder of files. Calls block; shells run them where blocking is allowed.
pub trait Disk: Send + Sync + Debug {
    /// Writes files that are durable, contents and names, when this returns. After a crash each file
    /// is there whole or not at all. Many files at once share their syncs. Contents are given in parts,
    /// one after another.
    ///
    /// # Errors
    /// On any error none of the files may be relied on.
    fn write(&self, files: &[(&str, &[&[u8]])]) -> Result<(), DiskError>;

    /// Reads `length` bytes from `offset`, fewer at the end of the file.
    ///
    /// # Errors
    /// [`DiskError::Missing`] if there is no such file.
    fn read(&self, name: &str, offset: u64, length: usize) -> Result<Vec<u8>, DiskError>;

    /// The length of a file in bytes, if it exists.
    ///
    /// # Errors
    /// When the system cannot tell.
    fn length(&self, name: &str) -> Result<Option<u64>, DiskError>;

    /// Removes files, which do not come back after a crash once this returns; those that are missing
    /// already are no error.
    ///
    /// # Errors
    /// When the system refuses; files before the failing one are gone, or come back after a crash.
    fn remove(&self, names: &[&str]) -> Result<(), DiskError>;

    /// Bytes that can still be written.
    ///
    /// # Errors
    /// When the system cannot tell.
    fn free(&self) -> Result<u64, DiskError>;
}
