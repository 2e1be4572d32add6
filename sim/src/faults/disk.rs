//! The disk of a machine: writes that fail, and what a power cut makes of those that were not synced.
//!
//! The deterministic runtime keeps files in memory and gives a file opened again only what was synced. That
//! is one outcome of a power cut, the kindest. Here every mutation since the last sync is remembered, and
//! at a crash each is kept, lost or torn (only a first part of it is kept), in their order and beside those
//! that were synced singly: any of that is what commonware's contract of a blob allows a disk to do.

use crate::world::machine::Life;
use bytes::Bytes;
use commonware_runtime::{
    Blob, BlobVersion, Error, Handle, IoBufs, IoBufsMut, ReadOptions, Storage as _, WriteOptions,
    deterministic::{self, Context},
};
use rand::{RngExt as _, rngs::StdRng};
use std::{
    collections::BTreeMap,
    io,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

/// What is wrong with a disk.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Trouble {
    /// Nothing.
    #[default]
    None,
    /// A sync fails, and what it was to make durable may or may not be.
    Sync,
    /// A write fails, and may have been done in part.
    Write,
    /// There is no space: whatever grows a file fails.
    Full,
    /// A sync does nothing and says it did. No program can live with that; it shows that the checkers see
    /// what is lost.
    Lies,
}

impl Trouble {
    /// As an error of the system, unless nothing is wrong.
    pub fn error(self) -> Option<io::Error> {
        match self {
            Self::None | Self::Lies => None,
            Self::Sync | Self::Write => Some(io::Error::other("simulated input/output error")),
            Self::Full => Some(io::Error::from(io::ErrorKind::StorageFull)),
        }
    }
}

/// How a machine ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Crash {
    /// The program is killed: the system writes on what was written.
    Program,
    /// The power goes.
    Power,
}

/// A change of a file.
#[derive(Clone, Debug)]
pub(crate) enum Mutation {
    /// Bytes at an offset, and whether they alone were synced.
    Write(u64, Bytes, bool),
    /// A new length.
    Resize(u64),
}

impl Mutation {
    /// What a crash leaves of it: all if only the program ended.
    pub(crate) fn survives(self, crash: Crash, rng: &mut StdRng) -> Option<Self> {
        match self {
            _ if crash == Crash::Program => Some(self),
            Self::Write(_, _, true) => Some(self),
            Self::Write(offset, bytes, false) => match rng.random_range(0..3u8) {
                0 => Some(Self::Write(offset, bytes, false)),
                1 => {
                    let kept = rng.random_range(0..=bytes.len());
                    Some(Self::Write(offset, bytes.slice(..kept), false))
                }
                _ => None,
            },
            Self::Resize(_) => rng.random_bool(0.5).then_some(self),
        }
    }
}

type File = (String, Vec<u8>);

/// A disk, across crashes of its machine.
#[derive(Debug, Default)]
pub struct Disk(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    trouble: Trouble,
    unsynced: BTreeMap<File, Vec<Mutation>>,
    /// Whether a trouble was felt in this life of the machine, be it over or not.
    failed: bool,
    /// After how many operations its power goes, if it does.
    power: Option<u64>,
}

impl Disk {
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Makes something wrong with it, or nothing.
    pub fn set(&self, trouble: Trouble) {
        let mut state = self.state();
        state.trouble = trouble;
    }

    /// Its power goes after so many operations, and all fail from then on; with nothing it has power again.
    pub fn cut_after(&self, operations: Option<u64>) {
        self.state().power = operations;
    }

    /// Whether its power is gone.
    pub fn is_dead(&self) -> bool {
        self.state().power == Some(0)
    }

    /// What is wrong with it now.
    pub fn trouble(&self) -> Trouble {
        self.state().trouble
    }

    /// Whether the program felt that something was wrong with it, since it began.
    pub fn failed(&self) -> bool {
        self.state().failed
    }

    /// Fails if what is wrong is one of these.
    pub(crate) fn attempt(&self, kinds: &[Trouble]) -> io::Result<()> {
        let mut state = self.state();
        match &mut state.power {
            Some(0) => return Err(io::Error::other("the power is gone")),
            Some(left) => *left -= 1,
            None => {}
        }
        match state.trouble.error() {
            Some(error) if kinds.contains(&state.trouble) => {
                state.failed = true;
                Err(error)
            }
            _ => Ok(()),
        }
    }

    fn changed(&self, file: &File, mutation: Mutation) {
        self.state().unsynced.entry(file.clone()).or_default().push(mutation);
    }

    fn synced(&self, file: &File) {
        self.state().unsynced.remove(file);
    }

    /// A file, or all of a partition, is gone.
    pub fn removed(&self, partition: &str, name: Option<&[u8]>) {
        let gone = |file: &File| file.0 == partition && name.is_none_or(|name| file.1 == name);
        self.state().unsynced.retain(|file, _| !gone(file));
    }

    /// Does what a crash does, once all that ran on the machine has ended.
    ///
    /// # Errors
    /// A file is still open.
    pub async fn crash(
        &self,
        context: &Context,
        crash: Crash,
        rng: &mut StdRng,
    ) -> Result<usize, Error> {
        let unsynced = {
            let mut state = self.state();
            state.failed = false;
            state.unsynced.clone()
        };
        let mut kept = 0;
        for ((partition, name), mutations) in unsynced {
            let versions = BlobVersion::new(0)..=BlobVersion::new(u16::MAX);
            let (blob, _, _) = context.open_versioned(&partition, &name, versions).await?;
            for mutation in mutations {
                match mutation.survives(crash, rng) {
                    Some(Mutation::Write(offset, bytes, _)) => {
                        blob.write_at(offset, bytes, WriteOptions::default()).await?;
                    }
                    Some(Mutation::Resize(len)) => blob.resize(len).await?,
                    None => continue,
                }
                kept += 1;
            }
            blob.sync().await?;
        }
        self.state().unsynced.clear();
        Ok(kept)
    }
}

/// A file on a machine's disk.
#[expect(missing_debug_implementations, reason = "the runtime's blob has none")]
pub struct DiskBlob {
    life: Arc<Life>,
    file: File,
    inner: deterministic::Blob,
}

impl DiskBlob {
    /// A file that was opened in a life of its machine.
    pub fn new(life: Arc<Life>, file: (&str, &[u8]), inner: deterministic::Blob) -> Self {
        Self { life, file: (file.0.to_owned(), file.1.to_vec()), inner }
    }
}

impl Blob for DiskBlob {
    async fn read_at_buf(
        &self,
        offset: u64,
        len: usize,
        bufs: impl Into<IoBufsMut> + Send,
        options: ReadOptions,
    ) -> Result<IoBufsMut, Error> {
        self.life.gate().await;
        self.inner.read_at_buf(offset, len, bufs, options).await
    }

    async fn read_at(
        &self,
        offset: u64,
        len: usize,
        options: ReadOptions,
    ) -> Result<IoBufsMut, Error> {
        self.life.gate().await;
        self.inner.read_at(offset, len, options).await
    }

    async fn write_at(
        &self,
        offset: u64,
        bufs: impl Into<IoBufs> + Send,
        options: WriteOptions,
    ) -> Result<(), Error> {
        self.life.gate().await;
        let bytes = Bytes::from(bufs.into().coalesce());
        let disk = &self.life.disk;
        if let Err(error) = disk.attempt(&[Trouble::Write, Trouble::Full]) {
            disk.changed(&self.file, Mutation::Write(offset, bytes, false));
            return Err(error.into());
        }
        let lies = disk.trouble() == Trouble::Lies;
        let durable = options.contains(WriteOptions::SYNC) && !lies;
        let options = if lies { options.without(WriteOptions::SYNC) } else { options };
        if durable {
            disk.attempt(&[Trouble::Sync])?;
        }
        self.inner.write_at(offset, bytes.clone(), options).await?;
        disk.changed(&self.file, Mutation::Write(offset, bytes, durable));
        Ok(())
    }

    async fn resize(&self, len: u64) -> Result<(), Error> {
        self.life.gate().await;
        self.life.disk.attempt(&[Trouble::Full])?;
        self.inner.resize(len).await?;
        self.life.disk.changed(&self.file, Mutation::Resize(len));
        Ok(())
    }

    async fn sync(&self) -> Result<(), Error> {
        self.life.gate().await;
        self.life.disk.attempt(&[Trouble::Sync])?;
        if self.life.disk.trouble() == Trouble::Lies {
            return Ok(());
        }
        self.inner.sync().await?;
        self.life.disk.synced(&self.file);
        Ok(())
    }

    async fn start_sync(&self) -> Handle<()> {
        Handle::ready(self.sync().await)
    }
}
