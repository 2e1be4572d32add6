//! The options of `wayleave dissent` and `wayleave fine`.

use crate::{cli::Ledger, passphrase::Passphrase, units};
use alloy_primitives::U256;
use clap::Args;
use std::path::PathBuf;

/// `wayleave dissent`.
#[derive(Clone, Debug, Args)]
pub(crate) struct Dissent {
    /// The epoch.
    pub(crate) epoch: u64,
    /// Coin to bond: 1000 or 0.5. By default the least that the ledger takes.
    #[arg(long, value_name = "COINS", value_parser = units::parse_coins)]
    pub(crate) bond: Option<U256>,
    /// The archive's folder; the devnet's by default.
    #[arg(long, value_name = "FOLDER")]
    pub(crate) archive: Option<PathBuf>,
    /// The keystore of the account that bonds.
    #[arg(long, value_name = "FILE")]
    pub(crate) key_file: PathBuf,
    #[command(flatten)]
    pub(crate) passphrase: Passphrase,
    #[command(flatten)]
    pub(crate) ledger: Ledger,
}

/// `wayleave fine`.
#[derive(Clone, Debug, Args)]
pub(crate) struct Fine {
    /// The epoch whose first outcome was overruled.
    pub(crate) epoch: u64,
    /// The keystore of the account that sends the transactions.
    #[arg(long, value_name = "FILE")]
    pub(crate) key_file: PathBuf,
    #[command(flatten)]
    pub(crate) passphrase: Passphrase,
    #[command(flatten)]
    pub(crate) ledger: Ledger,
}
