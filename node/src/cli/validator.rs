//! The options of `wayleave validator` and `wayleave send`.

use crate::{cli::Ledger, passphrase::Passphrase, units};
use alloy_primitives::{Address, B256, U256};
use clap::{Args, Subcommand};
use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
};

/// `wayleave validator`.
#[derive(Debug, Subcommand)]
pub(crate) enum Validator {
    /// Show the committees, this node's key, and what its owner has bonded.
    Status(ValidatorStatus),
    /// Bond coin: it counts from the next election on.
    Bond(Amount),
    /// Ask coin of the bond back; it is paid by `withdraw` when no vote can be held against it any more.
    Unbond(Amount),
    /// Take what was asked back and is free.
    Withdraw(Owner),
    /// Register this node's key for a seat.
    #[command(
        after_help = "The key of --dir needs a bond first: wayleave validator bond 1000 --dir /var/lib/wayleave\nIt is elected when the next term begins, and has its seat from the one after."
    )]
    Register(Owner),
    /// Put this node's key in the place of another one of the same owner, which is retired.
    #[command(
        after_help = "Example: a new folder with a new key and the owner's account\n  mkdir new && cp old/account.json new/\n  wayleave init key --dir new --endpoint 203.0.113.5:8549\n  wayleave validator replace 0x5c1f… --dir new"
    )]
    Replace(OfKey),
    /// Give a key up for good. Its node stays until the committees that it is in have ended.
    Retire(OfKey),
    /// Tell others under which address this node is dialled now.
    Endpoint(Endpoint),
}

/// Where a ledger answers to validators.
#[derive(Clone, Debug, Args)]
pub(crate) struct At {
    /// The ledger's JSON-RPC.
    #[arg(
        long,
        value_name = "URL",
        env = "WAYLEAVE_LEDGER",
        default_value = "http://127.0.0.1:8545"
    )]
    ledger: String,
    /// The ledger's chain id. Needed to send anything through an endpoint on another machine.
    #[arg(long, value_name = "ID")]
    chain_id: Option<u64>,
    /// The ledger's genesis file: what is read is proven by it, and the endpoint believed in nothing.
    #[arg(long, value_name = "FILE")]
    genesis: Option<PathBuf>,
}

impl At {
    /// The same for commands that read networks.
    pub(crate) fn ledger(&self) -> Ledger {
        // What was seen of the ledger is kept beside its genesis file.
        let beside = self.genesis.as_deref().and_then(Path::parent);
        let seen = beside.unwrap_or_else(|| Path::new("")).to_owned();
        Ledger {
            ledger: Some(self.ledger.clone()),
            chain_id: self.chain_id,
            validator: Vec::new(),
            network: 1,
            genesis: self.genesis.clone(),
            seen,
        }
    }
}

/// `wayleave send`.
#[derive(Clone, Debug, Args)]
pub(crate) struct Send {
    /// The account that gets them.
    pub(crate) to: Address,
    /// How many: 1000 or 0.5.
    #[arg(value_name = "AMOUNT", value_parser = units::parse_coins)]
    pub(crate) coins: U256,
    /// Sends tokens of this network instead of the ledger's coin.
    #[arg(long, value_name = "NETWORK")]
    pub(crate) tokens: Option<u64>,
    /// The keystore of the account that gives them.
    #[arg(long, value_name = "FILE")]
    pub(crate) key_file: PathBuf,
    #[command(flatten)]
    pub(crate) passphrase: Passphrase,
    #[command(flatten)]
    pub(crate) at: At,
}

/// `wayleave validator status`.
#[derive(Clone, Debug, Args)]
pub(crate) struct ValidatorStatus {
    #[command(flatten)]
    pub(crate) at: At,
    /// The folder of the node whose key is looked for.
    #[arg(long, value_name = "FOLDER")]
    pub(crate) dir: Option<PathBuf>,
    /// The owner, if it is not the account of the folder.
    #[arg(long, value_name = "ACCOUNT")]
    pub(crate) owner: Option<Address>,
}

/// Who acts: the owner of bonds and keys.
#[derive(Clone, Debug, Args)]
pub(crate) struct Owner {
    #[command(flatten)]
    pub(crate) at: At,
    /// The node's folder, with its key and account.
    #[arg(long, value_name = "FOLDER")]
    pub(crate) dir: PathBuf,
    /// The keystore of the owner, if it is not the account in the folder.
    #[arg(long, value_name = "FILE")]
    pub(crate) owner_key: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) passphrase: Passphrase,
}

/// An amount of the owner's coin.
#[derive(Clone, Debug, Args)]
pub(crate) struct Amount {
    /// In coins: 1000 or 0.5.
    #[arg(value_name = "COINS", value_parser = units::parse_coins)]
    pub(crate) coins: U256,
    #[command(flatten)]
    pub(crate) owner: Owner,
}

/// A key of the owner.
#[derive(Clone, Debug, Args)]
pub(crate) struct OfKey {
    /// The key, as `wayleave validator status` shows it.
    pub(crate) key: B256,
    #[command(flatten)]
    pub(crate) owner: Owner,
}

/// `wayleave validator endpoint`.
#[derive(Clone, Debug, Args)]
pub(crate) struct Endpoint {
    /// Where others dial the node.
    #[arg(value_name = "IP:PORT", value_parser = super::init::parse_endpoint)]
    pub(crate) endpoint: SocketAddr,
    #[command(flatten)]
    pub(crate) owner: Owner,
}
