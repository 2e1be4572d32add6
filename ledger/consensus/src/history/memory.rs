//! A file in memory for simulation: what was written but not synced is lost in a crash.

use redb::StorageBackend;
use std::{
    io,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

/// A file in memory. Clones share it; [`MemoryFile::crash`] gives what a power cut would leave.
#[derive(Clone, Debug, Default)]
pub struct MemoryFile(Arc<Mutex<Contents>>);

#[derive(Debug, Default)]
struct Contents {
    written: Vec<u8>,
    synced: Vec<u8>,
}

impl MemoryFile {
    /// An empty file.
    pub fn new() -> Self {
        Self::default()
    }

    /// A file with these bytes, all of them synced.
    pub fn of(bytes: Vec<u8>) -> Self {
        Self(Arc::new(Mutex::new(Contents { written: bytes.clone(), synced: bytes })))
    }

    /// What was written.
    pub fn bytes(&self) -> Vec<u8> {
        self.contents().written.clone()
    }

    /// Another file with only what was synced here.
    pub fn crash(&self) -> Self {
        let synced = self.contents().synced.clone();
        Self(Arc::new(Mutex::new(Contents { written: synced.clone(), synced })))
    }

    fn contents(&self) -> MutexGuard<'_, Contents> {
        // A panic elsewhere leaves bytes, which are what a file has after a panic too.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The range of `length` bytes at `offset` within a file of `size` bytes.
fn span(offset: u64, length: usize, size: usize) -> io::Result<std::ops::Range<usize>> {
    usize::try_from(offset)
        .ok()
        .and_then(|start| Some(start..start.checked_add(length)?))
        .filter(|range| range.end <= size)
        .ok_or_else(|| io::Error::from(io::ErrorKind::UnexpectedEof))
}

impl StorageBackend for MemoryFile {
    fn len(&self) -> io::Result<u64> {
        u64::try_from(self.contents().written.len()).map_err(io::Error::other)
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let contents = self.contents();
        let range = span(offset, out.len(), contents.written.len())?;
        out.copy_from_slice(&contents.written[range]);
        Ok(())
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        let len = usize::try_from(len).map_err(io::Error::other)?;
        self.contents().written.resize(len, 0);
        Ok(())
    }

    fn sync_data(&self) -> io::Result<()> {
        let mut contents = self.contents();
        contents.synced = contents.written.clone();
        Ok(())
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        let mut contents = self.contents();
        let range = span(offset, data.len(), contents.written.len())?;
        contents.written[range].copy_from_slice(data);
        Ok(())
    }
}
