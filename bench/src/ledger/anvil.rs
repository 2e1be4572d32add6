//! Anvil, Foundry's development chain, from its npm package.

use super::{
    cpu,
    transactions::{CHAIN, COINS, SENDERS},
};
use crate::up::{free_port, wait_for_port};
use anyhow::{Context as _, ensure};
use std::{
    path::{Path, PathBuf},
    process::Stdio,
};
use tokio::process::{Child, Command};

/// What is installed.
const PACKAGES: [&str; 2] = ["@foundry-rs/anvil@1.7.1", "@openzeppelin/contracts@4.9.6"];

/// Installs anvil and the token's contract below `tools`, once.
pub(super) async fn install(tools: &Path) -> anyhow::Result<()> {
    if program(tools).exists() && artifact(tools).exists() {
        return Ok(());
    }
    let status = Command::new("npm")
        .args(["install", "--silent", "--no-audit", "--no-fund", "--prefix"])
        .arg(tools)
        .args(PACKAGES)
        .status()
        .await
        .context("npm does not start")?;
    ensure!(status.success(), "npm could not install {}", PACKAGES.join(" and "));
    Ok(())
}

/// The program itself: its wrapper in `.bin` would leave it running when it is stopped.
pub(super) fn program(tools: &Path) -> PathBuf {
    let machine = if cfg!(target_arch = "aarch64") { "arm64" } else { "amd64" };
    tools.join(format!("node_modules/@foundry-rs/anvil-linux-{machine}/bin/anvil"))
}

/// The compiled token.
pub(super) fn artifact(tools: &Path) -> PathBuf {
    tools.join("node_modules/@openzeppelin/contracts/build/contracts/ERC20PresetFixedSupply.json")
}

/// A running chain.
#[derive(Debug)]
pub(super) struct Anvil {
    port: u16,
    child: Child,
}

impl Anvil {
    /// Starts it with the senders' accounts, a block a second, and no limit of gas.
    pub(super) async fn start(tools: &Path) -> anyhow::Result<Self> {
        let port = free_port()?;
        let child = Command::new(program(tools))
            .args(["--port", &port.to_string(), "--chain-id", &CHAIN.to_string()])
            .args(["--accounts", &(SENDERS + 1).to_string(), "--balance", &COINS.to_string()])
            .args(["--block-time", "1", "--disable-block-gas-limit", "--silent"])
            .stdout(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .context("anvil does not start")?;
        wait_for_port(port).await?;
        Ok(Self { port, child })
    }

    pub(super) const fn port(&self) -> u16 {
        self.port
    }

    /// Seconds that it has computed.
    pub(super) fn cpu(&self) -> anyhow::Result<f64> {
        cpu::process(self.child.id().context("anvil ended")?)
    }
}
