//! The real disk: a folder in which files appear whole and durable, or not at all.
//!
//! A file is written under a name of its own in `tmp/`, synced, renamed to its place, and the folders
//! on the way to it are synced. What a crash leaves in `tmp/` is removed when the folder is opened.
//! Many files at once share the syncs of their folders, and their own syncs run side by side, so that
//! the file system joins them into few journal commits.
//!
//! Large files go around the system's page cache (`O_DIRECT`) where the file system allows it: they are
//! synced at once and seldom read soon, and copying them into the cache costs more than all else here.

use crate::store::is_full;
use protocol::disk::{Disk, DiskError};
use std::{
    collections::BTreeSet,
    fs::{self, File},
    io::{self, ErrorKind, Read, Seek, SeekFrom, Write},
    path::{Path, PathBuf},
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

/// How many files are synced side by side.
const SYNCING_MAX: usize = 8;
/// Files from this size on go around the page cache, bytes.
const DIRECT_MIN: usize = 256 << 10;
/// What is written around the page cache begins and ends at multiples of this, bytes.
const ALIGNED: usize = 4 << 10;
/// How much of it is written at once, bytes.
const DIRECT_CHUNK: usize = 1 << 20;
/// How many folders are remembered as existing.
const KNOWN_MAX: usize = 1 << 16;
/// The longest name of a file, in bytes.
const NAME_MAX: usize = 255;
/// Bytes of the file system that are never given to files, so that the index beside them can always
/// be written.
pub const RESERVE_BYTES: u64 = 64 << 20;
/// The folder of unfinished files.
const DRAFTS: &str = "tmp";

/// A folder of files.
#[derive(Debug)]
pub struct Folder {
    root: PathBuf,
    drafts: AtomicU64,
    /// Folders that are there and durable, relative to the root.
    known: Mutex<BTreeSet<PathBuf>>,
}

impl Folder {
    /// Opens the folder at `root`, makes it if need be, and removes what a crash left unfinished.
    ///
    /// # Errors
    /// When the system refuses.
    pub fn open(root: &Path) -> Result<Self, DiskError> {
        let failed = |source| io_error(root.display().to_string(), source);
        let drafts = root.join(DRAFTS);
        if drafts.exists() {
            fs::remove_dir_all(&drafts).map_err(failed)?;
        }
        fs::create_dir_all(&drafts).map_err(failed)?;
        sync_folder(root).map_err(failed)?;
        Ok(Self {
            root: root.to_owned(),
            drafts: AtomicU64::new(0),
            known: Mutex::new(BTreeSet::from([PathBuf::new()])),
        })
    }

    fn path(&self, name: &str) -> Result<PathBuf, DiskError> {
        let allowed = |byte: u8| {
            byte.is_ascii_lowercase() || byte.is_ascii_digit() || matches!(byte, b'_' | b'-')
        };
        let component = |part: &str| !part.is_empty() && part.bytes().all(allowed);
        if name.len() > NAME_MAX || !name.split('/').all(component) || name.starts_with(DRAFTS) {
            return Err(DiskError::Name(name.to_owned()));
        }
        Ok(self.root.join(name))
    }

    /// Makes the folder of `path` if it is not known to be there. The folders whose entries changed
    /// are added to `changed`.
    fn make_folder(&self, path: &Path, changed: &mut BTreeSet<PathBuf>) -> io::Result<()> {
        let Some(folder) = path.parent() else { return Ok(()) };
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let mut missing = folder;
        let relative =
            |at: &Path| at.strip_prefix(&self.root).map(Path::to_owned).unwrap_or_default();
        while !known.contains(&relative(missing)) {
            let Some(above) = missing.parent() else { break };
            changed.insert(above.to_owned());
            missing = above;
        }
        if missing != folder {
            fs::create_dir_all(folder)?;
            if known.len() < KNOWN_MAX {
                known.extend(folder.ancestors().take_while(|at| *at != missing).map(relative));
            }
        }
        changed.insert(folder.to_owned());
        Ok(())
    }

    fn draft(&self, contents: &[&[u8]]) -> io::Result<(PathBuf, File)> {
        let number = self.drafts.fetch_add(1, Ordering::Relaxed);
        let path = self.root.join(DRAFTS).join(number.to_string());
        let length: usize = contents.iter().map(|part| part.len()).sum();
        let direct = if length >= DIRECT_MIN { create_direct(&path) } else { None };
        let direct = direct.map(|file| write_direct(&file, contents).map(|()| file));
        let written = match direct {
            Some(Err(error)) if error.kind() == ErrorKind::InvalidInput => {
                // The file system aligns to more than this.
                fs::remove_file(&path).and_then(|()| write_cached(&path, contents))
            }
            Some(written) => written,
            None => write_cached(&path, contents),
        };
        match written {
            Ok(file) => Ok((path, file)),
            Err(error) => {
                // Best effort: opening the folder removes it otherwise.
                let _ = fs::remove_file(&path);
                Err(error)
            }
        }
    }

    fn place(&self, files: &[(&str, &[&[u8]])], paths: &[PathBuf]) -> Result<(), DiskError> {
        let mut drafts = Vec::with_capacity(files.len());
        let outcome = (|| {
            for (name, contents) in files {
                drafts.push(self.draft(contents).map_err(|source| io_error(*name, source))?);
            }
            sync_files(&drafts).map_err(|source| io_error(files[0].0, source))?;
            let mut changed = BTreeSet::new();
            for ((draft, _), (path, (name, _))) in drafts.iter().zip(paths.iter().zip(files)) {
                let failed = |source| io_error(*name, source);
                self.make_folder(path, &mut changed).map_err(failed)?;
                fs::rename(draft, path).map_err(failed)?;
            }
            // From the deepest up, so that no folder's entry is durable before what it leads to.
            for folder in changed.iter().rev() {
                sync_folder(folder).map_err(|source| io_error(files[0].0, source))?;
            }
            Ok(())
        })();
        if outcome.is_err() {
            for (draft, _) in &drafts {
                let _ = fs::remove_file(draft);
            }
        }
        outcome
    }
}

impl Disk for Folder {
    fn write(&self, files: &[(&str, &[&[u8]])]) -> Result<(), DiskError> {
        if files.is_empty() {
            return Ok(());
        }
        let paths: Vec<_> =
            files.iter().map(|(name, _)| self.path(name)).collect::<Result<_, _>>()?;
        self.place(files, &paths)
    }

    fn read(&self, name: &str, offset: u64, length: usize) -> Result<Vec<u8>, DiskError> {
        let path = self.path(name)?;
        let read = || {
            let mut file = File::open(&path)?;
            let held = file.metadata()?.len().saturating_sub(offset);
            let length = length.min(usize::try_from(held).unwrap_or(usize::MAX));
            file.seek(SeekFrom::Start(offset))?;
            let mut bytes = vec![0; length];
            file.read_exact(&mut bytes)?;
            Ok(bytes)
        };
        read().map_err(|source| missing_or(name, source))
    }

    fn length(&self, name: &str) -> Result<Option<u64>, DiskError> {
        match fs::metadata(self.path(name)?) {
            Ok(found) if found.is_file() => Ok(Some(found.len())),
            Ok(_) => Ok(None),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(source) => Err(io_error(name, source)),
        }
    }

    fn remove(&self, names: &[&str]) -> Result<(), DiskError> {
        let mut changed = BTreeSet::new();
        for name in names {
            let path = self.path(name)?;
            match fs::remove_file(&path) {
                Ok(()) => changed.extend(path.parent().map(Path::to_owned)),
                Err(error) if error.kind() == ErrorKind::NotFound => {}
                Err(source) => return Err(io_error(*name, source)),
            }
        }
        for folder in changed {
            sync_folder(&folder)
                .map_err(|source| io_error(folder.display().to_string(), source))?;
        }
        Ok(())
    }

    fn free(&self) -> Result<u64, DiskError> {
        free_bytes(&self.root)
            .map(|free| free.saturating_sub(RESERVE_BYTES))
            .map_err(|source| io_error(self.root.display().to_string(), source))
    }
}

/// The bytes that an ordinary user can still write on the file system of `path`.
///
/// # Errors
/// When the system cannot tell.
#[cfg(unix)]
pub fn free_bytes(path: &Path) -> io::Result<u64> {
    let found = rustix::fs::statvfs(path)?;
    Ok(found.f_bavail.saturating_mul(found.f_frsize))
}

/// The bytes that an ordinary user can still write on the file system of `path`.
///
/// # Errors
/// Always: this system cannot tell.
#[cfg(not(unix))]
pub fn free_bytes(_: &Path) -> io::Result<u64> {
    Err(ErrorKind::Unsupported.into())
}

fn write_cached(path: &Path, contents: &[&[u8]]) -> io::Result<File> {
    let mut file = File::create_new(path)?;
    contents.iter().try_for_each(|part| file.write_all(part))?;
    Ok(file)
}

/// Makes a file that goes around the page cache; nothing where that cannot be.
#[cfg(target_os = "linux")]
fn create_direct(path: &Path) -> Option<File> {
    use rustix::fs::{Mode, OFlags, open};
    let flags = OFlags::CREATE | OFlags::EXCL | OFlags::WRONLY | OFlags::CLOEXEC | OFlags::DIRECT;
    match open(path, flags, Mode::from_raw_mode(0o666)) {
        Ok(file) => Some(File::from(file)),
        Err(_) => {
            // Some file systems make the file and refuse the flag.
            let _ = fs::remove_file(path);
            None
        }
    }
}

/// Makes a file that goes around the page cache; nothing where that cannot be.
#[cfg(not(target_os = "linux"))]
fn create_direct(_: &Path) -> Option<File> {
    None
}

/// Writes through an aligned buffer, the last block filled up with zeros, which are then cut off.
fn write_direct(mut file: &File, contents: &[&[u8]]) -> io::Result<()> {
    let mut memory = vec![0; DIRECT_CHUNK + ALIGNED];
    let start = memory.as_ptr().align_offset(ALIGNED);
    let buffer = memory
        .get_mut(start..)
        .and_then(|rest| rest.get_mut(..DIRECT_CHUNK))
        .ok_or_else(|| io::Error::other("memory cannot be aligned"))?;
    let (mut used, mut total) = (0, 0);
    for part in contents {
        let mut left = *part;
        while !left.is_empty() {
            let (now, later) = left.split_at(left.len().min(DIRECT_CHUNK - used));
            buffer[used..used + now.len()].copy_from_slice(now);
            (used, total, left) = (used + now.len(), total + now.len(), later);
            if used == DIRECT_CHUNK {
                file.write_all(buffer)?;
                used = 0;
            }
        }
    }
    let end = used.next_multiple_of(ALIGNED);
    buffer[used..end].fill(0);
    file.write_all(&buffer[..end])?;
    file.set_len(u64::try_from(total).map_err(io::Error::other)?)
}

fn sync_files(drafts: &[(PathBuf, File)]) -> io::Result<()> {
    if let [(_, file)] = drafts {
        return file.sync_data();
    }
    let share = drafts.len().div_ceil(SYNCING_MAX);
    std::thread::scope(|scope| {
        let sync = |part: &'_ [(PathBuf, File)]| part.iter().try_for_each(|(_, f)| f.sync_data());
        let parts: Vec<_> =
            drafts.chunks(share).map(|part| scope.spawn(move || sync(part))).collect();
        parts.into_iter().try_for_each(|part| {
            part.join().unwrap_or_else(|_| Err(io::Error::other("a syncing thread panicked")))
        })
    })
}

/// Makes the name of a file durable.
pub(crate) fn sync_folder_of(path: &Path) -> io::Result<()> {
    path.parent().map_or(Ok(()), sync_folder)
}

#[cfg(unix)]
fn sync_folder(path: &Path) -> io::Result<()> {
    File::open(path)?.sync_all()
}

#[cfg(not(unix))]
fn sync_folder(_: &Path) -> io::Result<()> {
    Ok(())
}

fn missing_or(name: &str, source: io::Error) -> DiskError {
    if source.kind() == ErrorKind::NotFound {
        return DiskError::Missing(name.to_owned());
    }
    io_error(name, source)
}

fn io_error(name: impl Into<String>, source: io::Error) -> DiskError {
    if is_full(&source) {
        return DiskError::Full;
    }
    DiskError::Io { name: name.into(), source }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_written_read_and_removed() {
        let root = tempfile::tempdir().unwrap();
        let folder = Folder::open(root.path()).unwrap();
        let many: Vec<(String, Vec<u8>)> =
            (0..40).map(|i: u8| (format!("a/{}/{i}", i % 3), vec![i; 100])).collect();
        let parts: Vec<[&[u8]; 2]> =
            many.iter().map(|(_, bytes)| [&bytes[..30], &bytes[30..]]).collect();
        let files: Vec<_> =
            many.iter().zip(&parts).map(|((name, _), parts)| (name.as_str(), &parts[..])).collect();
        folder.write(&files).unwrap();
        folder.write(&[("one", &[b"whole"])]).unwrap();
        folder.write(&[("one", &[b"again"])]).unwrap();
        assert_eq!(folder.read("one", 0, 100).unwrap(), b"again");
        assert_eq!(folder.read("one", 2, 2).unwrap(), b"ai");
        assert_eq!(folder.read("one", 9, 2).unwrap(), b"");
        assert_eq!(folder.length("a/2/5").unwrap(), Some(100));
        assert_eq!(folder.length("a/2").unwrap(), None);
        assert_eq!(folder.length("none").unwrap(), None);
        assert!(matches!(folder.read("none", 0, 1), Err(DiskError::Missing(_))));
        folder.remove(&["a/2/5", "none"]).unwrap();
        assert_eq!(folder.length("a/2/5").unwrap(), None);
        assert!(folder.free().unwrap() > 0);

        let again = Folder::open(root.path()).unwrap();
        assert_eq!(again.read("a/1/1", 0, 200).unwrap(), vec![1; 100]);
    }

    #[test]
    fn large_files_come_back_as_they_were_given() {
        let root = tempfile::tempdir().unwrap();
        let folder = Folder::open(root.path()).unwrap();
        for length in [DIRECT_MIN, DIRECT_MIN + 1, DIRECT_CHUNK, 2 * DIRECT_CHUNK + ALIGNED + 77] {
            let bytes: Vec<u8> = (0..length).map(|at| (at % 251).to_le_bytes()[0]).collect();
            let (first, second) = bytes.split_at(length / 3);
            folder.write(&[("large", &[first, second, b""])]).unwrap();
            assert!(folder.read("large", 0, length + 1).unwrap() == bytes, "{length}");
        }
    }

    #[test]
    fn unfinished_files_are_gone_after_opening() {
        let root = tempfile::tempdir().unwrap();
        drop(Folder::open(root.path()).unwrap());
        fs::write(root.path().join("tmp/7"), b"half").unwrap();
        drop(Folder::open(root.path()).unwrap());
        assert_eq!(fs::read_dir(root.path().join("tmp")).unwrap().count(), 0);
    }

    #[test]
    fn names_cannot_leave_the_folder() {
        let root = tempfile::tempdir().unwrap();
        let folder = Folder::open(root.path()).unwrap();
        for bad in ["", "/a", "a/", "../a", "a/../b", "A", "a b", "a.b", "tmp/1", &"a".repeat(300)]
        {
            assert!(matches!(folder.write(&[(bad, &[b"x"])]), Err(DiskError::Name(_))), "{bad}");
            assert!(matches!(folder.read(bad, 0, 1), Err(DiskError::Name(_))), "{bad}");
        }
    }

    #[test]
    fn a_failed_write_leaves_nothing_behind() {
        let root = tempfile::tempdir().unwrap();
        let folder = Folder::open(root.path()).unwrap();
        folder.write(&[("file", &[b"x"])]).unwrap();
        // `file` is no folder, so nothing can be placed below it.
        assert!(folder.write(&[("good", &[b"y"]), ("file/below", &[b"z"])]).is_err());
        assert_eq!(fs::read_dir(root.path().join("tmp")).unwrap().count(), 0);
    }
}
