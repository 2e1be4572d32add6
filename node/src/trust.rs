//! What reading is checked against: a ledger's genesis file, and what was seen of the ledger since.
//!
//! What was seen (committees, the newest block) lies in a small file beside the state of whoever reads, named
//! by the genesis file's digest. It is replaced as a whole, and a damaged one stops the program: to begin
//! at the genesis again is for a person to decide.

use anyhow::{Context as _, bail};
use client::{
    Client, Options, RpcError,
    light::{Light, Origin},
};
use std::{
    fs, io,
    path::{Path, PathBuf},
    sync::atomic::{AtomicU64, Ordering},
};

/// The genesis file of the ledger that commands read, if it lies in the home folder.
pub(crate) const STORED: &str = "ledger.json";

/// A genesis file, and where is kept what was seen.
#[derive(Clone, Debug)]
pub(crate) struct Trust {
    origin: Origin,
    file: PathBuf,
    kept: Option<Vec<u8>>,
}

impl Trust {
    /// Reads a genesis file, and what was kept in `folder`.
    ///
    /// # Errors
    /// When one of the two cannot be read, or is damaged.
    pub(crate) fn read(genesis: &Path, folder: &Path) -> anyhow::Result<Self> {
        let bytes = fs::read(genesis).with_context(|| format!("reading {}", genesis.display()))?;
        let origin =
            Origin::read(&bytes).with_context(|| format!("reading {}", genesis.display()))?;
        let name: String = origin.digest.to_string().chars().skip(2).take(16).collect();
        let file = folder.join(format!("seen-{name}.json"));
        let kept = match fs::read(&file) {
            Ok(bytes) => Some(bytes),
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => {
                return Err(error).with_context(|| format!("reading {}", file.display()));
            }
        };
        if let Some(error) = kept.as_ref().and_then(|kept| Light::resume(&origin, kept).err()) {
            let path = file.display();
            bail!("{path} is damaged ({error}); remove it to trust the genesis file alone again");
        }
        Ok(Self { origin, file, kept })
    }

    /// A client of the ledger behind `url` that believes nothing else, once its head is proven.
    ///
    /// # Errors
    /// When the endpoint does not answer, or serves another ledger.
    pub(crate) async fn connect(&self, url: &str, options: Options) -> Result<Client, RpcError> {
        let trust = (&self.origin, self.kept.as_deref());
        let client = Client::connect_trusting(url, options, trust).await?;
        client.head().await?;
        if let Err(error) = self.keep(&client) {
            tracing::warn!(%error, file = %self.file.display(), "what was seen is not kept");
        }
        Ok(client)
    }

    /// Keeps what a client has seen.
    fn keep(&self, client: &Client) -> io::Result<()> {
        let Some(light) = client.trust() else { return Ok(()) };
        if let Some(folder) = self.file.parent() {
            fs::create_dir_all(folder)?;
        }
        replace(&self.file, &light.to_bytes())
    }
}

/// Replaces a file as a whole: who reads it finds what was there before or what is there now.
fn replace(file: &Path, bytes: &[u8]) -> io::Result<()> {
    static WRITES: AtomicU64 = AtomicU64::new(0);
    // Two commands at once write files of their own, as do two clients of one process; the later one stays.
    let write = WRITES.fetch_add(1, Ordering::Relaxed);
    let new = file.with_extension(format!("new-{}-{write}", std::process::id()));
    fs::write(&new, bytes)?;
    fs::File::open(&new)?.sync_all()?;
    fs::rename(&new, file)
}

#[cfg(test)]
mod tests {
    use super::*;

    const GENESIS: &str = r#"{"chainId":7,"termLength":9,"validators":[{
        "key":"0x3b6a27bcceb6a42d62a3a8d02a6f0d73653215771de243a63ac048a18b59da29",
        "seedKey":"KEY","account":"0x0000000000000000000000000000000000000001"}]}"#;

    #[test]
    fn a_damaged_memory_is_said_and_not_forgotten() {
        let folder = tempfile::tempdir().unwrap();
        let genesis = folder.path().join("genesis.json");
        assert!(Trust::read(&genesis, folder.path()).is_err(), "there is none");
        let key = format!("0x{}", "00".repeat(96));
        fs::write(&genesis, GENESIS.replace("KEY", &key)).unwrap();
        let trust = Trust::read(&genesis, folder.path()).unwrap();
        assert_eq!(trust.origin.chain_id, 7);
        fs::write(&trust.file, b"{}").unwrap();
        let error = Trust::read(&genesis, folder.path()).unwrap_err().to_string();
        assert!(error.contains("is damaged"), "{error}");
    }

    #[test]
    fn whoever_writes_at_once_leaves_a_whole_file() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("seen.json");
        let bytes = |n: u8| vec![n; 10_000];
        replace(&file, &bytes(0)).unwrap();
        std::thread::scope(|scope| {
            for n in 1..5 {
                let file = &file;
                scope.spawn(move || {
                    for _ in 0..50 {
                        replace(file, &bytes(n)).unwrap();
                        let read = fs::read(file).unwrap();
                        assert_eq!(read, bytes(read[0]));
                    }
                });
            }
        });
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }
}
