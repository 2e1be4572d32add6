//! What a running `up` tells other commands: where it answers, in a file of the home folder.

use crate::{exit::Failure, home::Home, s3::Access};
use anyhow::{Context as _, bail};
use serde::{Deserialize, Serialize};
use std::{
    fs,
    io::{ErrorKind, Write as _},
    time::Duration,
};

/// How often a devnet that is starting is looked at.
const TRIES: u32 = 300;
/// How long between two looks.
const PAUSE: Duration = Duration::from_millis(100);

/// Where a running devnet answers.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Running {
    /// The ledger's JSON-RPC.
    pub(crate) rpc: String,
    /// The validator's HTTP.
    pub(crate) http: String,
    /// Metrics and controls.
    pub(crate) control: String,
    /// What control requests must carry, so that no web page can send them.
    pub(crate) token: String,
    /// S3.
    pub(crate) s3: Access,
    /// How many agents run.
    pub(crate) agents: u8,
}

impl Running {
    /// Writes the file, readable by its owner alone.
    pub(crate) fn write(&self, home: &Home) -> anyhow::Result<()> {
        let path = home.running().with_extension("new");
        let mut options = fs::OpenOptions::new();
        options.write(true).create(true).truncate(true);
        #[cfg(unix)]
        {
            use std::os::unix::fs::OpenOptionsExt as _;
            options.mode(0o600);
        }
        let mut file =
            options.open(&path).with_context(|| format!("writing {}", path.display()))?;
        file.write_all(&serde_json::to_vec_pretty(self)?)?;
        Ok(fs::rename(&path, home.running())?)
    }

    /// Reads the file of a running devnet.
    ///
    /// # Errors
    /// [`Failure::Unreachable`] when none runs.
    pub(crate) async fn read(home: &Home) -> anyhow::Result<Self> {
        for _ in 0..TRIES {
            if !home.is_running() {
                return Err(Failure::Unreachable(
                    "no devnet runs here: start one in another terminal with `wayleave up`".into(),
                )
                .into());
            }
            match fs::read(home.running()) {
                Ok(bytes) => return Ok(serde_json::from_slice(&bytes)?),
                // It is starting: the file comes last, and appears whole.
                Err(error) if error.kind() == ErrorKind::NotFound => {
                    tokio::time::sleep(PAUSE).await;
                }
                Err(error) => return Err(error).context("reading where the devnet answers"),
            }
        }
        bail!("the devnet is still starting after half a minute: see what `wayleave up` says")
    }

    /// The devnet that runs in a home folder now, if one does and is ready.
    pub(crate) fn here(home: &Home) -> Option<Self> {
        let file = fs::read(home.running()).ok().filter(|_| home.is_running())?;
        serde_json::from_slice(&file).ok()
    }

    /// The ports on which a running devnet answers; none if none runs.
    pub(crate) fn ports(home: &Home) -> Vec<u16> {
        let Some(Self { rpc, http, control, s3, .. }) = Self::here(home) else { return Vec::new() };
        [rpc, http, control, s3.url]
            .iter()
            .filter_map(|url| url.rsplit_once(':')?.1.parse().ok())
            .collect()
    }

    /// Forgets what an earlier run wrote.
    pub(crate) fn forget(home: &Home) -> anyhow::Result<()> {
        match fs::remove_file(home.running()) {
            Err(error) if error.kind() != ErrorKind::NotFound => Err(error.into()),
            _ => Ok(()),
        }
    }
}
