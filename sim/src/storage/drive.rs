//! The files of a depot: `protocol::disk` in memory, with the disk's troubles.
//!
//! The program writes a file beside its place, syncs it, moves it there and syncs the folder. So a file is
//! there whole or not at all, and where the last step did not succeed it is seen, and a power cut keeps or
//! loses it; a file whose removal is not durable comes back or does not. Each of these steps can fail, and
//! be the one in whose midst the power goes.

use crate::faults::disk::{Crash, Disk, Trouble};
use bytes::Bytes;
use protocol::disk::{self, DiskError};
use rand::{RngExt as _, rngs::StdRng};
use std::{
    collections::BTreeMap,
    io,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

/// A folder of files. Clones share it; [`Drive::crash`] gives what a crash leaves.
#[derive(Clone, Debug)]
pub struct Drive {
    disk: Arc<Disk>,
    room: u64,
    contents: Arc<Mutex<Contents>>,
}

#[derive(Clone, Debug, Default)]
struct Contents {
    seen: BTreeMap<String, Bytes>,
    durable: BTreeMap<String, Bytes>,
    /// What became of which file since it was durable, in that order: it was placed, or removed.
    unsynced: Vec<(String, Option<Bytes>)>,
}

/// What becomes of a file.
fn change(files: &mut BTreeMap<String, Bytes>, name: &str, file: Option<Bytes>) {
    match file {
        Some(bytes) => files.insert(name.to_owned(), bytes),
        None => files.remove(name),
    };
}

impl Contents {
    fn change(&mut self, name: &str, file: Option<Bytes>) {
        change(&mut self.seen, name, file.clone());
        self.unsynced.push((name.to_owned(), file));
    }

    /// What became of these files is durable now.
    fn synced(&mut self, names: &[&str]) {
        let is_synced = |(name, _): &mut (String, _)| names.contains(&name.as_str());
        for (name, file) in self.unsynced.extract_if(.., is_synced) {
            change(&mut self.durable, &name, file);
        }
    }
}

impl Drive {
    /// An empty folder on a disk, with room for so many bytes of files.
    pub fn new(disk: Arc<Disk>, room: u64) -> Self {
        Self { disk, room, contents: Arc::default() }
    }

    fn contents(&self) -> MutexGuard<'_, Contents> {
        self.contents.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Another folder with what a crash leaves of this one.
    #[must_use]
    pub fn crash(&self, crash: Crash, rng: &mut StdRng) -> Self {
        let contents = self.contents();
        let mut left = contents.durable.clone();
        for (name, file) in &contents.unsynced {
            if crash == Crash::Program || rng.random_bool(0.5) {
                change(&mut left, name, file.clone());
            }
        }
        self.with(Arc::clone(&self.disk), left)
    }

    /// Another folder, on a disk that is well, with nothing but what is surely durable of this one.
    #[must_use]
    pub fn durable(&self) -> Self {
        self.with(Arc::default(), self.contents().durable.clone())
    }

    fn with(&self, disk: Arc<Disk>, files: BTreeMap<String, Bytes>) -> Self {
        let contents = Contents { seen: files.clone(), durable: files, unsynced: Vec::new() };
        Self { disk, room: self.room, contents: Arc::new(Mutex::new(contents)) }
    }

    /// The names of all files, ascending.
    pub fn names(&self) -> Vec<String> {
        self.contents().seen.keys().cloned().collect()
    }

    /// A bit of a file turns over, without a word. Nothing happens beyond its end.
    pub fn rot(&self, name: &str, at: usize) {
        let contents = &mut *self.contents();
        let rotten = |file: &mut Bytes| {
            let mut bytes = file.to_vec();
            bytes.iter_mut().skip(at).take(1).for_each(|byte| *byte ^= 1);
            *file = bytes.into();
        };
        [&mut contents.seen, &mut contents.durable]
            .into_iter()
            .filter_map(|files| files.get_mut(name))
            .for_each(rotten);
    }

    /// A file vanishes, without a word.
    pub fn lose(&self, name: &str) {
        let contents = &mut *self.contents();
        contents.seen.remove(name);
        contents.durable.remove(name);
        contents.unsynced.retain(|(of, _)| of != name);
    }

    fn attempt(&self, name: &str, kinds: &[Trouble]) -> Result<(), DiskError> {
        self.disk.attempt(kinds).map_err(|source| match source.kind() {
            io::ErrorKind::StorageFull => DiskError::Full,
            _ => DiskError::Io { name: name.to_owned(), source },
        })
    }

    /// Syncs the folders of these files.
    fn sync(&self, names: &[&str]) -> Result<(), DiskError> {
        self.attempt("folder", &[Trouble::Sync])?;
        if self.disk.trouble() != Trouble::Lies {
            self.contents().synced(names);
        }
        Ok(())
    }

    fn used(&self) -> u64 {
        self.contents().seen.values().map(|file| wide(file.len())).sum()
    }
}

impl disk::Disk for Drive {
    fn write(&self, files: &[(&str, &[&[u8]])]) -> Result<(), DiskError> {
        let mut used = self.used();
        for (name, contents) in files {
            check(name)?;
            self.attempt(name, &[Trouble::Write, Trouble::Full])?;
            used += contents.iter().map(|part| wide(part.len())).sum::<u64>();
            if used > self.room {
                return Err(DiskError::Full);
            }
        }
        self.attempt("file", &[Trouble::Sync])?;
        for (name, contents) in files {
            self.attempt(name, &[])?;
            self.contents().change(name, Some(contents.concat().into()));
        }
        let names: Vec<&str> = files.iter().map(|(name, _)| *name).collect();
        self.sync(&names)
    }

    fn read(&self, name: &str, offset: u64, length: usize) -> Result<Vec<u8>, DiskError> {
        check(name)?;
        let contents = self.contents();
        let file = contents.seen.get(name).ok_or_else(|| DiskError::Missing(name.to_owned()))?;
        let start = usize::try_from(offset).unwrap_or(usize::MAX).min(file.len());
        let end = start.saturating_add(length).min(file.len());
        Ok(file[start..end].to_vec())
    }

    fn length(&self, name: &str) -> Result<Option<u64>, DiskError> {
        check(name)?;
        Ok(self.contents().seen.get(name).map(|file| wide(file.len())))
    }

    fn remove(&self, names: &[&str]) -> Result<(), DiskError> {
        for name in names {
            check(name)?;
            self.attempt(name, &[Trouble::Write])?;
            let mut contents = self.contents();
            if contents.seen.contains_key(*name) {
                contents.change(name, None);
            }
        }
        self.sync(names)
    }

    /// What it has room for. A disk without space does not know yet: somebody else took it just now.
    fn free(&self) -> Result<u64, DiskError> {
        Ok(self.room.saturating_sub(self.used()))
    }
}

/// Refuses a name that the program's disk would refuse.
fn check(name: &str) -> Result<(), DiskError> {
    let allowed = |byte: u8| {
        byte.is_ascii_lowercase() || byte.is_ascii_digit() || matches!(byte, b'_' | b'-')
    };
    let component = |part: &str| !part.is_empty() && part.bytes().all(allowed);
    if name.split('/').all(component) { Ok(()) } else { Err(DiskError::Name(name.to_owned())) }
}

fn wide(bytes: usize) -> u64 {
    u64::try_from(bytes).unwrap_or(u64::MAX)
}
