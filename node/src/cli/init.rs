//! The options of `wayleave init`.

use crate::{passphrase::Passphrase, units};
use alloy_primitives::{Address, U256};
use clap::{Args, Subcommand};
use protocol::Micros;
use std::{net::SocketAddr, path::PathBuf, time::Duration};

/// `wayleave init`.
#[derive(Debug, Subcommand)]
pub(crate) enum Init {
    /// Make the keys of a node and its public card.
    #[command(
        after_help = "Examples:\n  wayleave init key --dir /var/lib/wayleave --endpoint 203.0.113.5:8548\n  wayleave init key --dir node --endpoint 10.0.0.1:8548 --passphrase-file passphrase --json\n\nHand card.json to whoever makes the genesis. The keystores beside it stay where they are."
    )]
    Key(InitKey),
    /// Make the genesis of a new ledger from its validators' cards.
    #[command(
        after_help = "Examples:\n  wayleave init genesis --card ann.json --card bob.json --card eve.json --chain-id 71421 --out genesis.json\n  wayleave init genesis --card ann.json --card bob.json --card eve.json --chain-id 71421 \\\n      --name \"Valley Storage\" --symbol VAL --founder 0x7099… --supply 10000000 \\\n      --allocate 0x7099…=50000 --out genesis.json\n\nAll validators compare the digest that `wayleave init check genesis.json` prints before anyone starts."
    )]
    Genesis(Box<InitGenesis>),
    /// Check a genesis file and say what it founds.
    #[command(
        after_help = "Examples:\n  wayleave init check genesis.json\n  wayleave init check genesis.json --card card.json    and whether this seat is in it"
    )]
    Check(InitCheck),
}

/// `wayleave init key`.
#[derive(Clone, Debug, Args)]
pub(crate) struct InitKey {
    /// The node's folder; made if it is missing.
    #[arg(long, value_name = "FOLDER")]
    pub(crate) dir: PathBuf,
    /// Where other nodes dial this one (TCP): its public address and port.
    #[arg(long, value_name = "IP:PORT", value_parser = parse_endpoint)]
    pub(crate) endpoint: SocketAddr,
    #[command(flatten)]
    pub(crate) passphrase: Passphrase,
}

/// `wayleave init genesis`.
#[derive(Clone, Debug, Args)]
pub(crate) struct InitGenesis {
    /// The card of a validator; once for each seat.
    #[arg(long = "card", value_name = "FILE", required = true)]
    pub(crate) cards: Vec<PathBuf>,
    /// The ledger's EIP-155 id: a number that no other ledger uses.
    #[arg(long, value_name = "ID")]
    pub(crate) chain_id: u64,
    /// The file to write; never overwritten.
    #[arg(long, value_name = "FILE")]
    pub(crate) out: PathBuf,
    /// How long a settlement epoch is: blocks, or a time at the pace given.
    #[arg(long, value_name = "LENGTH", default_value = "24h", value_parser = Length::parse)]
    pub(crate) epoch_length: Length,
    /// How long a committee's term is: blocks, or a time at the pace given.
    #[arg(long, value_name = "LENGTH", default_value = "24h", value_parser = Length::parse)]
    pub(crate) term_length: Length,
    /// The time between two blocks; nodes are started with the same.
    #[arg(long, value_name = "TIME", default_value = "500ms", value_parser = units::parse_time)]
    pub(crate) pace: Duration,
    /// Coins of an account from the first block on; may be given many times.
    #[arg(long = "allocate", value_name = "ACCOUNT=COINS", value_parser = parse_coins)]
    pub(crate) allocations: Vec<(Address, U256)>,
    /// Coins of each validator's account that is not named by --allocate, for its transactions.
    #[arg(long, value_name = "COINS", default_value = "10000", value_parser = units::parse_coins)]
    pub(crate) validator_coins: U256,
    /// What each validator has bonded from the first block on, in coins.
    #[arg(long, value_name = "COINS", default_value = "1000", value_parser = units::parse_coins)]
    pub(crate) bond: U256,
    /// The least bond of a key, in coins: what a vote costs. By default the same as --bond, so that nobody who
    /// comes later has more votes than yours for as many coins.
    #[arg(long, value_name = "COINS", value_parser = units::parse_coins)]
    pub(crate) bond_min: Option<U256>,
    /// The most seats of a committee.
    #[arg(long, value_name = "NUMBER", default_value_t = 64)]
    pub(crate) seats_max: u64,
    /// How long coin stays bound after it was asked back, and double votes are heard.
    #[arg(long, value_name = "LENGTH", default_value = "14d", value_parser = Length::parse)]
    pub(crate) unbonding: Length,
    /// Test dollars of an account; may be given many times. They stand in for a stablecoin.
    #[arg(long = "test-dollars", value_name = "ACCOUNT=AMOUNT", value_parser = parse_dollars)]
    pub(crate) dollars: Vec<(Address, Micros)>,
    /// Who may pause functions for a limited time. By default the founder, or the first card's account.
    #[arg(long, value_name = "ACCOUNT")]
    pub(crate) guardian: Option<Address>,
    /// Found the ledger's first network, of storage, under this name.
    #[arg(long, value_name = "NAME", requires_all = ["symbol", "founder"])]
    pub(crate) name: Option<String>,
    /// The symbol of that network's token.
    #[arg(long, value_name = "SYMBOL", requires = "name")]
    pub(crate) symbol: Option<String>,
    /// Who may amend that network's rules, and holds its first tokens.
    #[arg(long, value_name = "ACCOUNT", requires = "name")]
    pub(crate) founder: Option<Address>,
    /// The founder's tokens.
    #[arg(long, value_name = "TOKENS", default_value = "10000000")]
    pub(crate) supply: u64,
    /// The network's rules as JSON, instead of the usual ones; `init check --json` shows such a document.
    #[arg(long, value_name = "FILE", requires = "name")]
    pub(crate) manifest: Option<PathBuf>,
}

/// `wayleave init check`.
#[derive(Clone, Debug, Args)]
pub(crate) struct InitCheck {
    /// The genesis file.
    pub(crate) genesis: PathBuf,
    /// A card whose seat should be in it.
    #[arg(long, value_name = "FILE")]
    pub(crate) card: Option<PathBuf>,
}

/// A length in blocks, or a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Length {
    /// So many blocks.
    Blocks(u64),
    /// As many blocks as fit at the ledger's pace.
    Time(Duration),
}

impl Length {
    fn parse(text: &str) -> Result<Self, String> {
        if let Ok(blocks) = text.parse() {
            return Ok(Self::Blocks(blocks));
        }
        let time = units::parse_time(text);
        time.map(Self::Time).map_err(|_| format!("{text:?} is no length: write 172800 or 24h"))
    }

    /// In blocks, with one every `pace`.
    pub(crate) fn blocks(self, pace: Duration) -> u64 {
        match self {
            Self::Blocks(blocks) => blocks,
            Self::Time(time) => units::blocks(time, pace),
        }
    }
}

/// An address that others can dial.
pub(super) fn parse_endpoint(text: &str) -> Result<SocketAddr, String> {
    let address: SocketAddr = text.parse().map_err(|_| {
        format!("{text:?} is no IP:PORT such as 203.0.113.5:8548; nodes look up no names")
    })?;
    if address.ip().is_unspecified() || address.port() == 0 {
        return Err(format!("{text} is nothing that others can dial: give the public address"));
    }
    Ok(address)
}

fn split(text: &str) -> Result<(Address, &str), String> {
    let (account, amount) = text
        .split_once('=')
        .ok_or_else(|| format!("{text:?} is not of the form ACCOUNT=AMOUNT"))?;
    let account = account.parse().map_err(|_| format!("{account:?} is no account"))?;
    Ok((account, amount))
}

fn parse_coins(text: &str) -> Result<(Address, U256), String> {
    let (account, amount) = split(text)?;
    Ok((account, units::parse_coins(amount)?))
}

fn parse_dollars(text: &str) -> Result<(Address, Micros), String> {
    let (account, amount) = split(text)?;
    Ok((account, units::parse_dollars(amount)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_are_blocks_or_times() {
        let pace = Duration::from_millis(500);
        let blocks = |text: &str| Length::parse(text).map(|length| length.blocks(pace));
        assert_eq!(blocks("40"), Ok(40));
        assert_eq!(blocks("24h"), Ok(172_800));
        assert_eq!(blocks("15s"), Ok(30));
        assert!(blocks("a while").is_err());
    }

    #[test]
    fn endpoints_can_be_dialled_and_allocations_read() {
        assert!(parse_endpoint("203.0.113.5:8548").is_ok());
        for bad in ["0.0.0.0:8548", "[::]:1", "203.0.113.5:0", "node.example:8548", "203.0.113.5"] {
            assert!(parse_endpoint(bad).is_err(), "{bad}");
        }
        let account = Address::repeat_byte(7);
        let half = U256::from(500_000_000_000_000_000u64);
        assert_eq!(parse_coins(&format!("{account}=0.5")), Ok((account, half)));
        assert_eq!(parse_dollars(&format!("{account}=12.5")), Ok((account, Micros(12_500_000))));
        for bad in ["7", "x=7", &format!("{account}=-1"), &format!("{account}=")] {
            assert!(parse_coins(bad).is_err(), "{bad}");
        }
    }
}
