//! The journal: accepted envelopes on disk until a final block carries them.
//!
//! A validator answers an agent only after the envelope is in the journal, so that an acceptance
//! survives `kill -9`. One file an epoch (`{epoch:012}.journal`), appended to and synced once for each
//! group of envelopes, and removed when no block may carry the epoch's evidence any more. A record is
//!
//! ```text
//! length: u32 big-endian | first 8 bytes of BLAKE3 of the envelope | envelope
//! ```
//!
//! What a crash left half-written at the end of a file is cut off when the journal is opened: it was
//! never answered. When a write fails, for a full disk say, the file is cut back to where it was.

use protocol::Epoch;
use std::{
    collections::BTreeMap,
    fmt::Debug,
    fs::{self, File, OpenOptions},
    io::{self, Read as _, Seek as _, SeekFrom, Write as _},
    path::{Path, PathBuf},
};

/// Bytes before an envelope: its length and checksum.
const HEAD: usize = 12;
/// The largest record taken seriously when reading, in bytes.
const RECORD_MAX: usize = 1024 * 1024;

/// What makes written bytes durable: the system, or what a test puts in its place.
pub trait Medium: Send + Debug {
    /// Returns when all that was written to `file` would survive a loss of power.
    ///
    /// # Errors
    /// When it may not.
    fn sync(&self, file: &File) -> io::Result<()>;
}

/// The system's disk.
#[derive(Clone, Copy, Debug, Default)]
pub struct System;

impl Medium for System {
    fn sync(&self, file: &File) -> io::Result<()> {
        file.sync_data()
    }
}

/// Accepted envelopes on disk. All calls block.
#[derive(Debug)]
pub struct Journal {
    medium: Box<dyn Medium>,
    folder: PathBuf,
    files: BTreeMap<Epoch, Tail>,
}

/// An open file and how much of it is good.
#[derive(Debug)]
struct Tail {
    file: File,
    bytes: u64,
    /// Whether something not good may follow that.
    torn: bool,
}

/// The journal failed; nothing of the group may be answered.
#[derive(Debug, thiserror::Error)]
#[error("journal {path}: {source}")]
pub struct JournalError {
    /// The file or folder.
    pub path: String,
    /// What the system said.
    #[source]
    pub source: io::Error,
}

impl Journal {
    /// Opens the journal in `folder`, made if it is not there, and reads the envelopes that are in it,
    /// ascending by epoch and in the order of their acceptance.
    ///
    /// # Errors
    /// When the system refuses.
    pub fn open(folder: &Path) -> Result<(Self, Vec<Vec<u8>>), JournalError> {
        Self::open_on(folder, Box::new(System))
    }

    /// As [`Journal::open`], on another medium.
    ///
    /// # Errors
    /// When the system refuses.
    pub fn open_on(
        folder: &Path,
        medium: Box<dyn Medium>,
    ) -> Result<(Self, Vec<Vec<u8>>), JournalError> {
        fs::create_dir_all(folder).map_err(failed(folder))?;
        let mut journal = Self { medium, folder: folder.to_owned(), files: BTreeMap::new() };
        let mut epochs = Vec::new();
        for entry in fs::read_dir(folder).map_err(failed(folder))? {
            let name = entry.map_err(failed(folder))?.file_name();
            epochs.extend(name.to_str().and_then(epoch_of));
        }
        epochs.sort_unstable();
        let mut envelopes = Vec::new();
        for epoch in epochs {
            let path = journal.path(epoch);
            let tail = Tail::recover(&path, &mut envelopes).map_err(failed(&path))?;
            journal.files.insert(epoch, tail);
        }
        Ok((journal, envelopes))
    }

    /// Appends a group of envelopes, durable when this returns.
    ///
    /// # Errors
    /// When the system refuses; then none of the group may be answered. A part of it may turn up when
    /// the journal is opened again, which is harmless: the agents send again.
    pub fn append<'a>(
        &mut self,
        group: impl IntoIterator<Item = (Epoch, &'a [u8])>,
    ) -> Result<(), JournalError> {
        let mut records: BTreeMap<Epoch, Vec<u8>> = BTreeMap::new();
        for (epoch, envelope) in group {
            let record = records.entry(epoch).or_default();
            let length = u32::try_from(envelope.len()).unwrap_or(u32::MAX);
            record.extend_from_slice(&length.to_be_bytes());
            record.extend_from_slice(&checksum(envelope));
            record.extend_from_slice(envelope);
        }
        for (epoch, bytes) in records {
            let path = self.path(epoch);
            let tail = match self.files.entry(epoch) {
                std::collections::btree_map::Entry::Occupied(there) => there.into_mut(),
                std::collections::btree_map::Entry::Vacant(place) => {
                    let tail = Tail::create(&path).map_err(failed(&path))?;
                    sync_folder(&self.folder).map_err(failed(&path))?;
                    place.insert(tail)
                }
            };
            tail.append(&bytes, self.medium.as_ref()).map_err(failed(&path))?;
        }
        Ok(())
    }

    /// Removes the files of all epochs before `epoch`.
    ///
    /// # Errors
    /// When the system refuses.
    pub fn forget_before(&mut self, epoch: Epoch) -> Result<(), JournalError> {
        let kept = self.files.split_off(&epoch);
        for old in std::mem::replace(&mut self.files, kept).into_keys() {
            let path = self.path(old);
            fs::remove_file(&path).map_err(failed(&path))?;
        }
        Ok(())
    }

    fn path(&self, epoch: Epoch) -> PathBuf {
        self.folder.join(format!("{:012}.journal", epoch.0))
    }
}

impl Tail {
    fn create(path: &Path) -> io::Result<Self> {
        let file =
            OpenOptions::new().read(true).write(true).create(true).truncate(true).open(path)?;
        Ok(Self { file, bytes: 0, torn: false })
    }

    /// Reads the good records of a file and cuts off what follows them.
    fn recover(path: &Path, envelopes: &mut Vec<Vec<u8>>) -> io::Result<Self> {
        let mut file = OpenOptions::new().read(true).write(true).open(path)?;
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes)?;
        let mut rest = bytes.as_slice();
        while let Some((envelope, after)) = record(rest) {
            envelopes.push(envelope.to_vec());
            rest = after;
        }
        let good = u64::try_from(bytes.len() - rest.len()).unwrap_or(u64::MAX);
        let mut tail = Self { file, bytes: good, torn: true };
        tail.cut()?;
        Ok(tail)
    }

    fn append(&mut self, bytes: &[u8], medium: &dyn Medium) -> io::Result<()> {
        if self.torn {
            // What is written behind garbage is not found again.
            self.cut()?;
        }
        self.torn = true;
        let written = self.file.write_all(bytes).and_then(|()| medium.sync(&self.file));
        if let Err(error) = written {
            // The first error is the one to report; a file that cannot be cut now is cut before it grows.
            let _ = self.cut();
            return Err(error);
        }
        self.torn = false;
        self.bytes = self.bytes.saturating_add(u64::try_from(bytes.len()).unwrap_or(u64::MAX));
        Ok(())
    }

    fn cut(&mut self) -> io::Result<()> {
        self.file.set_len(self.bytes)?;
        self.file.seek(SeekFrom::Start(self.bytes))?;
        self.torn = false;
        Ok(())
    }
}

/// The first record and what follows it, if it is whole.
fn record(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (head, rest) = bytes.split_at_checked(HEAD)?;
    let (length, sum) = head.split_at_checked(4)?;
    let length = usize::try_from(u32::from_be_bytes(length.try_into().ok()?)).ok()?;
    if length > RECORD_MAX {
        return None;
    }
    let (envelope, rest) = rest.split_at_checked(length)?;
    (checksum(envelope) == sum).then_some((envelope, rest))
}

fn checksum(bytes: &[u8]) -> [u8; 8] {
    let mut sum = [0; 8];
    sum.copy_from_slice(&blake3::hash(bytes).as_bytes()[..8]);
    sum
}

fn epoch_of(name: &str) -> Option<Epoch> {
    name.strip_suffix(".journal")?.parse().ok().map(Epoch)
}

fn sync_folder(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}

fn failed(path: &Path) -> impl Fn(io::Error) -> JournalError + '_ {
    |source| JournalError { path: path.display().to_string(), source }
}

#[cfg(test)]
mod tests;
