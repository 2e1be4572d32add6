//! The home folder: where each part of the program keeps its state.
//!
//! Everything lies under one folder, so that `wayleave remove` removes everything. It is made
//! readable by its owner alone, because keys lie in it.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

/// The home folder if none is given: `~/.wayleave`, or `.wayleave` here without a home.
pub(crate) fn default_root() -> PathBuf {
    std::env::var_os("HOME").map_or_else(PathBuf::new, PathBuf::from).join(".wayleave")
}

/// The folder of a devnet or of a node, and of its parts.
#[derive(Clone, Debug)]
pub(crate) struct Home {
    path: PathBuf,
    /// Who uses it, and the option that names another.
    user: (&'static str, &'static str),
}

impl Home {
    /// The devnet's part of the home folder `root`.
    pub(crate) fn devnet(root: &Path) -> Self {
        Self { path: root.join("devnet"), user: ("wayleave up", "--home FOLDER") }
    }

    /// The folder of a node of a ledger.
    pub(crate) fn node(folder: &Path) -> Self {
        Self { path: folder.to_owned(), user: ("wayleave node", "--dir FOLDER") }
    }

    /// The folder itself.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// The ledger's genesis file.
    pub(crate) fn genesis(&self) -> PathBuf {
        self.path.join("genesis.json")
    }

    /// The ledger's folder.
    pub(crate) fn ledger(&self) -> PathBuf {
        self.path.join("ledger")
    }

    /// The archive of evidence, inputs and statements.
    pub(crate) fn archive(&self) -> PathBuf {
        self.path.join("archive")
    }

    /// The validator worker's folder.
    pub(crate) fn validator(&self) -> PathBuf {
        self.path.join("validator")
    }

    /// The folder of one agent, numbered from 1.
    pub(crate) fn agent(&self, number: u8) -> PathBuf {
        self.path.join(format!("agent-{number}"))
    }

    /// The S3 service's folder.
    pub(crate) fn s3(&self) -> PathBuf {
        self.path.join("s3")
    }

    /// The file in which a running `up` says where it answers.
    pub(crate) fn running(&self) -> PathBuf {
        self.path.join("running.json")
    }

    /// Makes the folder, readable by its owner alone.
    pub(crate) fn create(&self) -> io::Result<()> {
        fs::create_dir_all(&self.path)?;
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt as _;
            fs::set_permissions(&self.path, fs::Permissions::from_mode(0o700))?;
        }
        Ok(())
    }

    /// Takes the folder for this process until the returned file is dropped.
    pub(crate) fn lock(&self) -> anyhow::Result<fs::File> {
        let file = fs::File::create(self.path.join("lock"))?;
        match file.try_lock() {
            Ok(()) => Ok(file),
            Err(fs::TryLockError::WouldBlock) => anyhow::bail!(
                "another `{}` is using {}: stop it (Ctrl-C), or use another folder ({})",
                self.user.0,
                self.path.display(),
                self.user.1
            ),
            Err(fs::TryLockError::Error(error)) => Err(error.into()),
        }
    }

    /// Whether a process holds the folder.
    pub(crate) fn is_running(&self) -> bool {
        fs::File::open(self.path.join("lock"))
            .is_ok_and(|file| matches!(file.try_lock(), Err(fs::TryLockError::WouldBlock)))
    }

    /// Removes everything in the folder but the lock.
    pub(crate) fn clear(&self) -> io::Result<()> {
        for entry in fs::read_dir(&self.path)? {
            let entry = entry?;
            if entry.file_name() == "lock" {
                continue;
            }
            if entry.file_type()?.is_dir() {
                fs::remove_dir_all(entry.path())?;
            } else {
                fs::remove_file(entry.path())?;
            }
        }
        Ok(())
    }

    /// Removes the folder with everything in it; nothing to remove is no error.
    pub(crate) fn remove(&self) -> io::Result<()> {
        match fs::remove_dir_all(&self.path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            result => result,
        }
    }
}
