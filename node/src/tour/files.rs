//! Steps 1 to 3: store files through the S3 API, lose two agents, read everything back.

use super::{BUCKET, Tour, cast::Cast, cheat::PATIENCE};
use crate::units;
use anyhow::{Context as _, ensure};
use bytes::Bytes;
use protocol::Epoch;
use std::{fs, path::Path, time::Instant};

/// The size of the large file, in bytes.
const LARGE: usize = 64 << 20;
/// The name of the large file.
const LARGE_NAME: &str = "large/64-mib.bin";
/// The most of a folder of the user's own that the tour stores, in files and bytes.
const FOLDER_MAX: (usize, u64) = (200, 256 << 20);

/// A file to store.
#[derive(Clone, Debug)]
pub(crate) struct File {
    name: String,
    contents: Bytes,
}

/// The files of the tour: the user's folder or a folder of its own, and one large file.
pub(crate) fn load(folder: Option<&Path>) -> anyhow::Result<Vec<File>> {
    let mut files = match folder {
        Some(folder) => read(folder)?,
        None => own(),
    };
    files.push(File { name: LARGE_NAME.into(), contents: noise("large", LARGE) });
    Ok(files)
}

/// A small folder: notes, a table, and pictures' worth of noise.
fn own() -> Vec<File> {
    let mut files = vec![
        File {
            name: "letters/welcome.txt".into(),
            contents: "These bytes lie on the disks of people who do not know one another.\n"
                .into(),
        },
        File {
            name: "letters/right-of-way.txt".into(),
            contents: "A wayleave is the right to run infrastructure over someone's land.\n".into(),
        },
        File {
            name: "tables/readings.csv".into(),
            contents: (0..2_000)
                .map(|hour| format!("{hour},{}\n", (hour * 37) % 211))
                .collect::<String>()
                .into(),
        },
    ];
    files.extend((1..=9usize).map(|number| File {
        name: format!("pictures/{number}.raw"),
        contents: noise("picture", number * 100_000),
    }));
    files
}

/// Bytes that no compression shortens, the same at every run.
fn noise(name: &str, length: usize) -> Bytes {
    let mut bytes = vec![0; length];
    blake3::Hasher::new_derive_key("wayleave tour 2026-11")
        .update(name.as_bytes())
        .finalize_xof()
        .fill(&mut bytes);
    bytes.into()
}

fn read(folder: &Path) -> anyhow::Result<Vec<File>> {
    let (mut files, mut total, mut folders) = (Vec::new(), 0, vec![folder.to_owned()]);
    while let Some(next) = folders.pop() {
        let entries = fs::read_dir(&next).with_context(|| format!("reading {}", next.display()))?;
        for entry in entries {
            let path = entry?.path();
            if path.is_dir() {
                folders.push(path);
                continue;
            }
            total += fs::metadata(&path)?.len();
            ensure!(
                files.len() < FOLDER_MAX.0 && total <= FOLDER_MAX.1,
                "{} holds more than the tour stores ({} files, {}): choose a smaller folder",
                folder.display(),
                FOLDER_MAX.0,
                units::bytes(FOLDER_MAX.1)
            );
            let name = path.strip_prefix(folder)?.to_string_lossy().replace('\\', "/");
            files.push(File { name, contents: fs::read(&path)?.into() });
        }
    }
    files.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(files)
}

impl Tour {
    /// Stores all files.
    pub(super) async fn store(&self, files: &[File]) -> anyhow::Result<()> {
        self.s3.create().await?;
        let (large, small): (Vec<_>, Vec<_>) =
            files.iter().partition(|file| file.name == LARGE_NAME);
        for (what, group) in [("a folder", small), ("one 64 MiB file", large)] {
            let began = Instant::now();
            for file in &group {
                self.s3.put(&file.name, file.contents.clone()).await?;
            }
            let bytes: usize = group.iter().map(|file| file.contents.len()).sum();
            self.say(
                "Stored",
                format!(
                    "{what} into s3://{BUCKET}: {}, {}, in {:.2} s",
                    units::count(group.len(), "file"),
                    units::bytes(u64::try_from(bytes)?),
                    began.elapsed().as_secs_f32()
                ),
            );
        }
        self.more("encrypted, cut into 6 shards of which any 4 suffice, each with another owner");
        self.wait_for_last_shards().await
    }

    /// Waits until all shards are durable. Storing is acknowledged when 5 of 6 are; only with the sixth
    /// can any two agents go.
    async fn wait_for_last_shards(&self) -> anyhow::Result<()> {
        let deadline = Instant::now() + PATIENCE;
        while self.backlog().await?.queued > 0 {
            ensure!(Instant::now() < deadline, "some shards found no agent within {PATIENCE:?}");
            self.pause().await;
        }
        self.more("all 6 shards of everything are on disks");
        Ok(())
    }

    /// Stops two agents, reads everything back, and starts them again. Gives the epoch in which the
    /// first of them missed a duty.
    pub(super) async fn lose_two_agents(
        &self,
        files: &[File],
        cast: &Cast,
    ) -> anyhow::Result<Epoch> {
        let [first, second] = cast.stopped;
        for agent in cast.stopped {
            self.control(agent, "stop").await?;
        }
        let from = self.network.ledger.head().await?;
        self.say("Stopped", format!("agent-{first} and agent-{second}, as a power cut would"));
        let began = Instant::now();
        for file in files {
            let back = self.s3.get(&file.name).await?;
            ensure!(
                blake3::hash(&back) == blake3::hash(&file.contents),
                "{} came back with other bytes",
                file.name
            );
        }
        self.say(
            "Read back",
            format!(
                "all {} files with two agents gone, every hash equal, in {:.2} s",
                files.len(),
                began.elapsed().as_secs_f32()
            ),
        );
        let missed = self.wait_for_missed_windows(cast, from).await?;
        for agent in cast.stopped {
            self.control(agent, "start").await?;
        }
        self.say(
            "Started",
            format!("agent-{first} and agent-{second} again: they lose pay for what they missed, not stake"),
        );
        Ok(missed)
    }
}
