//! The leaf of an account: what it gained and owes in one network since the beginning.
//!
//! All amounts are cumulative, so that a claim needs only the newest leaf, claiming twice pays once,
//! and the ledger stores one root an epoch however many devices there are (design 8).

use crate::{Account, Micros, NetworkId, Tokens, merkle};
use alloy_primitives::{B256, U256};
use alloy_sol_types::SolValue as _;
use minicbor::{Decode, Encode};
use serde::{Deserialize, Serialize};

/// What an account gained and owes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Leaf {
    /// The account.
    pub account: Account,
    /// The network.
    pub network: NetworkId,
    /// Tokens that vested.
    pub vested: Tokens,
    /// Dollars earned, by class.
    pub earned: Dollars,
    /// Dollars spent on rails.
    pub spent: Micros,
    /// Stake lost, in tokens.
    pub slashed: Tokens,
}

/// Dollars by class (design 8): classes never pay for one another.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Encode, Decode, Serialize, Deserialize)]
#[cbor(array)]
pub struct Dollars {
    /// Backed one to one by an approved stablecoin.
    #[n(0)]
    pub cash: Micros,
    /// Backed by a payment processor's signed deposit.
    #[n(1)]
    pub card: Micros,
    /// Made by burning this network's token.
    #[n(2)]
    pub credit: Micros,
}

impl Leaf {
    /// The ABI encoding: `(address, uint64, uint256 × 6)` in the order of the fields.
    pub fn abi_encode(&self) -> Vec<u8> {
        (
            self.account,
            self.network.0,
            U256::from(self.vested.0),
            U256::from(self.earned.cash.0),
            U256::from(self.earned.card.0),
            U256::from(self.earned.credit.0),
            U256::from(self.spent.0),
            U256::from(self.slashed.0),
        )
            .abi_encode()
    }

    /// The leaf's hash in the tree.
    pub fn hash(&self) -> B256 {
        merkle::leaf_hash(&self.abi_encode())
    }
}
