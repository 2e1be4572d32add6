//! The options of `wayleave node`.

use crate::{metrics, passphrase::Passphrase, units};
use alloy_primitives::B256;
use clap::{Args, ValueEnum};
use consensus::{Peer, Trusted};
use std::{net::SocketAddr, path::PathBuf, time::Duration};

/// What a node is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Role {
    /// Takes part in consensus while its key has a seat, takes in evidence, settles and votes.
    Validator,
    /// Follows, replays every epoch and refuses a false root, serves JSON-RPC and files; never votes.
    Observer,
    /// An observer that keeps all blocks and their evidence for good.
    Archive,
}

/// `wayleave node`.
#[derive(Clone, Debug, Args)]
pub(crate) struct Node {
    /// What the node is for.
    #[arg(long, value_name = "ROLE")]
    pub(crate) role: Role,
    /// The ledger's genesis file.
    #[arg(long, value_name = "FILE")]
    pub(crate) genesis: PathBuf,
    /// The folder of the node's keys and data, as `wayleave init key` made it.
    #[arg(long, value_name = "FOLDER")]
    pub(crate) dir: PathBuf,
    /// Another node of the ledger; may be given many times. Its address here counts more than the one on
    /// the ledger. A node without a registered key has to be named so to those it connects to.
    #[arg(long, value_name = "KEY@IP:PORT", value_parser = parse_peer)]
    pub(crate) bootstrap: Vec<Peer>,
    /// A block that somebody you trust vouches for: a node that fetches the state begins its proof there
    /// instead of at genesis.
    #[arg(long, value_name = "HEIGHT@HASH", value_parser = parse_trust)]
    pub(crate) trust: Option<Trusted>,
    /// Where other nodes connect (TCP).
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:8548")]
    pub(crate) listen: SocketAddr,
    /// Where Ethereum wallets and tools connect.
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:8545")]
    pub(crate) rpc: SocketAddr,
    /// HTTP: inputs and statements, and of a validator evidence.
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:8546")]
    pub(crate) http: SocketAddr,
    /// Serve Prometheus metrics: an address, or a port of this machine alone. Off if not given.
    #[arg(long, value_name = "ADDR", value_parser = metrics::parse_address)]
    pub(crate) metrics: Option<SocketAddr>,
    /// Another validator's HTTP (http://host:port), from which files that were missed are fetched; may be
    /// given many times.
    #[arg(long, value_name = "URL")]
    pub(crate) others: Vec<String>,
    /// The least time between two blocks; the same on all validators.
    #[arg(long, value_name = "TIME", default_value = "500ms", value_parser = units::parse_time)]
    pub(crate) pace: Duration,
    /// How long evidence is kept once it can be disputed no more. An archive keeps all.
    #[arg(long, value_name = "TIME", default_value = "30d", value_parser = units::parse_time)]
    pub(crate) keep_evidence: Duration,
    #[command(flatten)]
    pub(crate) passphrase: Passphrase,
}

/// A node as `KEY@IP:PORT`.
fn parse_peer(text: &str) -> Result<Peer, String> {
    let form = || format!("{text:?} is not of the form KEY@IP:PORT; `wayleave init key` prints it");
    let (key, endpoint) = text.split_once('@').ok_or_else(form)?;
    let key: B256 = key.parse().map_err(|_| form())?;
    let address = super::init::parse_endpoint(endpoint)?;
    Ok(Peer { key: key.0, address })
}

/// A block as `HEIGHT@HASH`.
fn parse_trust(text: &str) -> Result<Trusted, String> {
    let read = |text: &str| {
        let (height, hash) = text.split_once('@')?;
        Some(Trusted { height: height.parse().ok()?, hash: hash.parse().ok()? })
    };
    read(text).ok_or_else(|| format!("{text:?} is not of the form HEIGHT@HASH"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn peers_are_keys_at_addresses() {
        let key = B256::repeat_byte(7);
        let peer = parse_peer(&format!("{key}@203.0.113.5:8548")).unwrap();
        assert_eq!((peer.key, peer.address.port()), (key.0, 8548));
        for bad in ["203.0.113.5:8548", "0x07@203.0.113.5:1", &format!("{key}@node.example:1"), ""]
        {
            assert!(parse_peer(bad).is_err(), "{bad}");
        }
    }
}
