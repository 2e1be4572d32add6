//! What a running `up` tells other commands: where it answers, in a file of the home folder.

use crate::{exit::Failure, home::Home, s3::Access};
use anyhow::Context as _;
use serde::{Deserialize, Serialize};
use std::{fs, io::Write as _};

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
        let path = home.running();
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
        Ok(())
    }

    /// Reads the file of a running devnet.
    ///
    /// # Errors
    /// [`Failure::Unreachable`] when none runs.
    pub(crate) fn read(home: &Home) -> anyhow::Result<Self> {
        if !home.is_running() {
            return Err(Failure::Unreachable(
                "no devnet runs here: start one in another terminal with `wayleave up`".into(),
            )
            .into());
        }
        let bytes = fs::read(home.running()).context("the devnet is still starting")?;
        Ok(serde_json::from_slice(&bytes)?)
    }
}
