//! The inputs kept in `fuzz/corpus/TARGET.inputs`: those that once failed, and those that reach code which no
//! other reaches.
//!
//! One file a target, since thousands of small ones are unkind to whoever clones:
//!
//! ```text
//! file  = "wayleave fuzz inputs 1\n" | input*
//! input = length of the name (1 byte) | name | length (4 bytes, big-endian) | bytes
//! ```
//! An input without a name was found by libFuzzer: the next search replaces it by others that reach as much.
//! One with a name was put there by a person ([`keep`]), and stays. Inputs stand in the order of names, lengths
//! and bytes, and none twice, so that a file changes only where its inputs do.
//!
//! libFuzzer wants a folder with one input a file: [`unpack`] makes it, [`pack`] takes what is left of it back.

use crate::Target;
use anyhow::{Context as _, ensure};
use std::{
    collections::BTreeSet,
    fs,
    io::ErrorKind,
    path::{Path, PathBuf},
};

/// The longest input that is kept, in bytes.
pub const INPUT_MAX: usize = 1 << 20;
/// What a file begins with.
const MAGIC: &[u8] = b"wayleave fuzz inputs 1\n";

/// An input that is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Input {
    /// What a person called it; empty for what libFuzzer found.
    pub name: String,
    /// What the target is given.
    pub bytes: Vec<u8>,
}

/// The folder of all targets' inputs.
pub fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus")
}

/// The name of the file with a target's inputs.
pub fn file_name(target: &str) -> String {
    format!("{target}.inputs")
}

/// All inputs of a target: those its encoders make, and those kept.
///
/// # Errors
/// When those kept cannot be read.
pub fn read(target: &Target) -> anyhow::Result<Vec<Vec<u8>>> {
    let mut inputs = (target.seeds)();
    inputs.extend(kept(target.name)?.into_iter().map(|input| input.bytes));
    Ok(inputs)
}

/// The inputs kept of a target.
///
/// # Errors
/// When the file cannot be read or is damaged. None is none.
pub fn kept(target: &str) -> anyhow::Result<Vec<Input>> {
    let path = folder().join(file_name(target));
    let bytes = match fs::read(&path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error).with_context(|| format!("reading {}", path.display())),
    };
    decode(&bytes).with_context(|| format!("{} is damaged", path.display()))
}

/// An input that a person named.
///
/// # Panics
/// When there is none: seeds that no encoder makes are part of the repository.
pub fn named(target: &str, name: &str) -> Vec<u8> {
    let kept = kept(target).expect("the inputs of a target can be read");
    let found = kept.into_iter().find(|input| input.name == name);
    found.unwrap_or_else(|| panic!("{target} has no input {name}")).bytes
}

/// Writes all inputs of a target into a folder, one a file.
///
/// # Errors
/// When a file cannot be read or written.
pub fn unpack(target: &Target, into: &Path) -> anyhow::Result<()> {
    fs::create_dir_all(into).with_context(|| format!("making {}", into.display()))?;
    for (number, input) in read(target)?.iter().enumerate() {
        let file = into.join(format!("kept-{number:05}"));
        fs::write(&file, input).with_context(|| format!("writing {}", file.display()))?;
    }
    Ok(())
}

/// Puts the inputs of a folder into the place of those that had no name, and says how many are kept now.
/// What encoders make, or has a name, is not kept twice.
///
/// # Errors
/// When a file cannot be read or written.
pub fn pack(target: &Target, from: &Path) -> anyhow::Result<usize> {
    let mut inputs = kept(target.name)?;
    inputs.retain(|input| !input.name.is_empty());
    let known: BTreeSet<Vec<u8>> = (target.seeds)()
        .into_iter()
        .chain(inputs.iter().map(|input| input.bytes.clone()))
        .collect();
    for entry in fs::read_dir(from).with_context(|| format!("reading {}", from.display()))? {
        let bytes = fs::read(entry?.path())?;
        if bytes.len() <= INPUT_MAX && !known.contains(&bytes) {
            inputs.push(Input { name: String::new(), bytes });
        }
    }
    write(target.name, inputs)
}

/// Keeps an input under its file's name, and says how many are kept now.
///
/// # Errors
/// When the file cannot be read, or is too long.
pub fn keep(target: &Target, file: &Path) -> anyhow::Result<usize> {
    let name = file.file_name().and_then(|name| name.to_str());
    let name = name.with_context(|| format!("{} has no name", file.display()))?.to_owned();
    let bytes = fs::read(file).with_context(|| format!("reading {}", file.display()))?;
    ensure!(bytes.len() <= INPUT_MAX, "{} bytes are more than {INPUT_MAX}", bytes.len());
    let mut inputs = kept(target.name)?;
    inputs.retain(|input| input.name != name);
    inputs.push(Input { name, bytes });
    write(target.name, inputs)
}

fn write(target: &str, mut inputs: Vec<Input>) -> anyhow::Result<usize> {
    let key = |input: &Input| (input.name.clone(), input.bytes.len(), input.bytes.clone());
    inputs.sort_by_cached_key(key);
    inputs.dedup();
    fs::create_dir_all(folder())?;
    let path = folder().join(file_name(target));
    fs::write(&path, encode(&inputs)?).with_context(|| format!("writing {}", path.display()))?;
    Ok(inputs.len())
}

fn encode(inputs: &[Input]) -> anyhow::Result<Vec<u8>> {
    let mut file = MAGIC.to_vec();
    for Input { name, bytes } in inputs {
        file.push(u8::try_from(name.len()).with_context(|| format!("{name} is too long"))?);
        file.extend_from_slice(name.as_bytes());
        file.extend_from_slice(&u32::try_from(bytes.len())?.to_be_bytes());
        file.extend_from_slice(bytes);
    }
    Ok(file)
}

fn decode(file: &[u8]) -> anyhow::Result<Vec<Input>> {
    let mut rest = file.strip_prefix(MAGIC).context("it begins otherwise")?;
    let mut inputs = Vec::new();
    while let Some((length, tail)) = rest.split_first() {
        let (name, tail) = tail.split_at_checked(usize::from(*length)).context("a name ends")?;
        let (length, tail) = tail.split_first_chunk::<4>().context("a length ends")?;
        let length = usize::try_from(u32::from_be_bytes(*length))?;
        ensure!(length <= INPUT_MAX, "an input of {length} bytes");
        let (bytes, tail) = tail.split_at_checked(length).context("an input ends")?;
        inputs.push(Input { name: std::str::from_utf8(name)?.to_owned(), bytes: bytes.to_vec() });
        rest = tail;
    }
    Ok(inputs)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_and_what_is_cut_is_refused() {
        let input = |name: &str, bytes: &[u8]| Input { name: name.into(), bytes: bytes.to_vec() };
        let inputs = [input("", b""), input("", &[7; 300]), input("devnet", b"bytes")];
        let file = encode(&inputs).unwrap();
        assert_eq!(decode(&file).unwrap(), inputs);
        assert_eq!(decode(MAGIC).unwrap(), []);
        let ends = [MAGIC.len(), MAGIC.len() + 5, MAGIC.len() + 310];
        for length in (0..file.len()).filter(|length| !ends.contains(length)) {
            assert!(decode(&file[..length]).is_err(), "{length} bytes");
        }
        assert!(encode(&[input(&"n".repeat(256), b"")]).is_err());
    }
}
