//! A file that a disk did not keep as it said: cut off, with holes, or with other bits.
//!
//! redb trusts its file. It walks the whole of it only to repair it, and of some damage it panics. So a file
//! is opened here behind a guard that turns a panic into [`HistoryError::Damaged`], which names the file and
//! the way out; and after the machine itself went down with the file open, which is when a disk's lies come
//! out, every page is compared with its checksum first. That takes as long as reading the file; after kill
//! -9 alone it is left out, since what was written is then in the system's memory whatever the disk did.
//!
//! The machine's run is told from others by Linux's boot id. Elsewhere every end without closing counts as a
//! machine that went down.

use super::{History, HistoryError};
use std::{
    any::Any,
    fs::File,
    io::{self, Read as _, Seek as _, Write as _},
    panic::{AssertUnwindSafe, catch_unwind},
    path::Path,
    sync::PoisonError,
};

/// Where Linux says which run of the machine this is.
const BOOT_ID: &str = "/proc/sys/kernel/random/boot_id";
/// The longest name of a run, in bytes.
const RUN_MAX: u64 = 64;

/// Runs what trusts a file.
///
/// # Errors
/// Its own; [`HistoryError::Damaged`] if it panics, or says that the file is none.
pub(super) fn guarded<T>(
    file: &Path,
    work: impl FnOnce() -> Result<T, HistoryError>,
) -> Result<T, HistoryError> {
    let damaged = |why: String| HistoryError::Damaged { file: file.to_owned(), why };
    // What panicked is dropped and never used again.
    match catch_unwind(AssertUnwindSafe(work)) {
        Ok(Err(HistoryError::File(error))) if is_damage(&error) => Err(damaged(error.to_string())),
        Ok(Err(HistoryError::Corrupt(what))) => Err(damaged(what.to_owned())),
        Ok(done) => done,
        Err(panic) => Err(damaged(text(&*panic))),
    }
}

/// Whether the file is at fault, and not the disk, the system or another process.
fn is_damage(error: &redb::Error) -> bool {
    use io::ErrorKind::{InvalidData, UnexpectedEof};
    match error {
        redb::Error::Io(error) => matches!(error.kind(), InvalidData | UnexpectedEof),
        redb::Error::DatabaseAlreadyOpen
        | redb::Error::PreviousIo
        | redb::Error::DatabaseClosed
        | redb::Error::LockPoisoned(_) => false,
        _ => true,
    }
}

fn text(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    text.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_default()
}

impl History {
    /// Compares every page with its checksum. `file` is its name for people.
    ///
    /// # Errors
    /// [`HistoryError::Damaged`].
    pub(crate) fn check(&self, file: &Path) -> Result<(), HistoryError> {
        let mut db = self.db.write().unwrap_or_else(PoisonError::into_inner);
        let found = guarded(file, || {
            let db = db.as_mut().ok_or(HistoryError::Closed)?;
            Ok(db.check_integrity()?)
        });
        if found.is_err() {
            // Closing what is damaged may panic once more; nothing is written to it.
            let broken = db.take();
            drop(catch_unwind(AssertUnwindSafe(|| drop(broken))));
        }
        if !found? {
            tracing::warn!(file = %file.display(), "the history was damaged and is repaired");
        }
        Ok(())
    }
}

/// Which run of the machine has the files open, kept in the lock file while they are.
#[derive(Debug)]
pub(crate) struct Session {
    lock: File,
    now: Option<String>,
    before: String,
}

impl Session {
    /// Reads who had the files open last. Whoever begins holds the lock.
    ///
    /// # Errors
    /// The lock file cannot be read.
    pub(crate) fn begin(mut lock: File) -> io::Result<Self> {
        let mut before = Vec::new();
        (&mut lock).take(RUN_MAX).read_to_end(&mut before)?;
        let before = String::from_utf8_lossy(&before).into_owned();
        Ok(Self { lock, now: run(), before })
    }

    /// Whether the files were left open by a run that is over.
    pub(crate) fn went_down(&self) -> bool {
        !self.before.is_empty() && self.now.as_ref() != Some(&self.before)
    }

    /// Notes that this run has them open: they were checked if they had to be.
    ///
    /// # Errors
    /// The lock file cannot be written.
    pub(crate) fn opened(&mut self) -> io::Result<()> {
        let now = self.now.clone();
        self.write(now.as_deref().unwrap_or("unknown"))
    }

    /// Notes that the files are closed, and gives up the lock.
    pub(crate) fn end(mut self) {
        // If this fails, the next start checks more than it must.
        drop(self.write(""));
    }

    fn write(&mut self, run: &str) -> io::Result<()> {
        self.lock.rewind()?;
        self.lock.set_len(0)?;
        self.lock.write_all(run.as_bytes())?;
        self.lock.sync_all()
    }
}

/// The name of this run of the machine, where there is one.
fn run() -> Option<String> {
    let id = std::fs::read_to_string(BOOT_ID).ok()?;
    let id = id.trim();
    (1..64).contains(&id.len()).then(|| id.to_owned())
}
