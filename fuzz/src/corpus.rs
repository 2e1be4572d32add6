//! The inputs kept in `fuzz/corpus/TARGET/`, one a file: those that once failed, and those that reach code
//! which no other reaches.

use crate::Target;
use std::{
    fs, io,
    path::{Path, PathBuf},
};

/// The longest input that is read, in bytes.
pub const INPUT_MAX: u64 = 1 << 20;

/// The folder of a target's inputs.
pub fn folder(target: &Target) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus").join(target.name)
}

/// All inputs of a target: those its encoders make, and those kept, by name.
///
/// # Errors
/// When a kept one cannot be read.
pub fn read(target: &Target) -> io::Result<Vec<Vec<u8>>> {
    let mut inputs = (target.seeds)();
    let folder = folder(target);
    if !folder.exists() {
        return Ok(inputs);
    }
    let mut files: Vec<PathBuf> =
        fs::read_dir(folder)?.map(|entry| Ok(entry?.path())).collect::<io::Result<_>>()?;
    files.sort();
    for file in files {
        if fs::metadata(&file)?.len() <= INPUT_MAX {
            inputs.push(fs::read(file)?);
        }
    }
    Ok(inputs)
}
