//! The history file of a machine: one file in memory below redb, with the disk's troubles.
//!
//! At a crash the writes since the last sync are kept, lost or torn, as in [`super::disk`].

use super::disk::{Crash, Disk, Mutation, Trouble};
use bytes::Bytes;
use rand::rngs::StdRng;
use redb::StorageBackend;
use std::{
    io,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

/// A file. Clones share it; [`HistoryFile::crash`] gives what a crash leaves.
#[derive(Clone, Debug)]
pub struct HistoryFile {
    disk: Arc<Disk>,
    contents: Arc<Mutex<Contents>>,
}

#[derive(Debug, Default)]
struct Contents {
    written: Vec<u8>,
    synced: Vec<u8>,
    unsynced: Vec<Mutation>,
}

fn apply(bytes: &mut Vec<u8>, mutation: Mutation) -> io::Result<()> {
    match mutation {
        Mutation::Write(offset, data, _) => {
            let start = usize::try_from(offset).map_err(io::Error::other)?;
            let end = start.checked_add(data.len()).ok_or(io::ErrorKind::InvalidInput)?;
            if bytes.len() < end {
                bytes.resize(end, 0);
            }
            bytes[start..end].copy_from_slice(&data);
        }
        Mutation::Resize(len) => bytes.resize(usize::try_from(len).map_err(io::Error::other)?, 0),
    }
    Ok(())
}

impl HistoryFile {
    /// An empty file on a disk.
    pub fn new(disk: Arc<Disk>) -> Self {
        Self { disk, contents: Arc::default() }
    }

    /// Another file with what a crash leaves of this one.
    ///
    /// # Errors
    /// The file is larger than memory can be.
    pub fn crash(&self, crash: Crash, rng: &mut StdRng) -> io::Result<Self> {
        let contents = self.contents();
        let mut left = contents.synced.clone();
        for mutation in &contents.unsynced {
            if let Some(mutation) = mutation.clone().survives(crash, rng) {
                apply(&mut left, mutation)?;
            }
        }
        let contents = Contents { written: left.clone(), synced: left, unsynced: Vec::new() };
        Ok(Self { disk: Arc::clone(&self.disk), contents: Arc::new(Mutex::new(contents)) })
    }

    /// Another file, on a disk that is well, with nothing but what is surely durable of this one.
    pub fn durable(&self) -> Self {
        let synced = self.contents().synced.clone();
        let contents = Contents { written: synced.clone(), synced, unsynced: Vec::new() };
        Self { disk: Arc::default(), contents: Arc::new(Mutex::new(contents)) }
    }

    /// A byte rots of every place where these bytes are. Returns whether there was one.
    pub fn rot(&self, bytes: &[u8], at: usize) -> bool {
        let mut contents = self.contents();
        let Contents { written, synced, .. } = &mut *contents;
        let [written, synced] = [written, synced].map(|file| {
            let windows = file.windows(bytes.len().max(1)).enumerate();
            let found = windows.filter(|(_, window)| *window == bytes).map(|(start, _)| start);
            let found: Vec<usize> = found.collect();
            found.iter().filter_map(|start| start.checked_add(at)).for_each(|place| {
                if let Some(byte) = file.get_mut(place) {
                    *byte ^= 1;
                }
            });
            !found.is_empty()
        });
        written | synced
    }

    fn contents(&self) -> MutexGuard<'_, Contents> {
        self.contents.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn change(&self, mutation: Mutation) -> io::Result<()> {
        let mut contents = self.contents();
        contents.unsynced.push(mutation.clone());
        apply(&mut contents.written, mutation)
    }
}

impl StorageBackend for HistoryFile {
    fn len(&self) -> io::Result<u64> {
        u64::try_from(self.contents().written.len()).map_err(io::Error::other)
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let contents = self.contents();
        let start = usize::try_from(offset).map_err(io::Error::other)?;
        let end = start.checked_add(out.len()).ok_or(io::ErrorKind::InvalidInput)?;
        let bytes = contents.written.get(start..end).ok_or(io::ErrorKind::UnexpectedEof)?;
        out.copy_from_slice(bytes);
        Ok(())
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.disk.attempt(&[Trouble::Full])?;
        self.change(Mutation::Resize(len))
    }

    fn sync_data(&self) -> io::Result<()> {
        self.disk.attempt(&[Trouble::Sync])?;
        if self.disk.trouble() == Trouble::Lies {
            return Ok(());
        }
        let contents = &mut *self.contents();
        for mutation in contents.unsynced.drain(..) {
            apply(&mut contents.synced, mutation)?;
        }
        Ok(())
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.disk.attempt(&[Trouble::Write, Trouble::Full])?;
        self.change(Mutation::Write(offset, Bytes::copy_from_slice(data), false))
    }
}
