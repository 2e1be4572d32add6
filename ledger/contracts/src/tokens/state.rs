//! The layout of a token, that of OpenZeppelin's ERC20 in its first five slots.
//!
//! ```text
//! 0 mapping(address => uint256) balances
//! 1 mapping(address => mapping(address => uint256)) allowances
//! 2 uint256 supply
//! 3 string name
//! 4 string symbol
//! 5 { bool created; bool votes; uint8 decimals } kind
//! 6 mapping(address => uint64) nonces
//! 7 mapping(address => address) delegates
//! 8 mapping(address => Checkpoint[]) votes by delegate
//! 9 Checkpoint[] supply over time
//! Checkpoint { uint64 height; uint128 amount }
//! ```

use crate::context::Context;
use crate::env::Failure;
use crate::storage::{List, Map, Place as _, Slot, Text, record};
use alloy_primitives::{Address, U256};

record! {
    /// What kind of token lives at an address.
    pub(crate) struct Kind {
        { created: bool, votes: bool, decimals: u8 }
    }
}

record! {
    /// An amount from a height on.
    pub(crate) struct Checkpoint {
        { height: u64, amount: u128 }
    }
}

/// A token.
pub(crate) struct Token {
    pub(crate) address: Address,
    pub(crate) balances: Map<Address, Slot<U256>>,
    pub(crate) allowances: Map<Address, Map<Address, Slot<U256>>>,
    pub(crate) supply: Slot<U256>,
    pub(crate) name: Text,
    pub(crate) symbol: Text,
    pub(super) kind: Slot<Kind>,
    pub(super) nonces: Map<Address, Slot<u64>>,
    pub(super) delegates: Map<Address, Slot<Address>>,
    pub(super) checkpoints: Map<Address, List<Checkpoint>>,
    pub(super) supplies: List<Checkpoint>,
}

impl Token {
    /// The token at `address`.
    pub(crate) fn at(address: Address) -> Self {
        let slot = U256::from::<u8>;
        Self {
            address,
            balances: Map::at(address, slot(0)),
            allowances: Map::at(address, slot(1)),
            supply: Slot::at(address, slot(2)),
            name: Text::at(address, slot(3)),
            symbol: Text::at(address, slot(4)),
            kind: Slot::at(address, slot(5)),
            nonces: Map::at(address, slot(6)),
            delegates: Map::at(address, slot(7)),
            checkpoints: Map::at(address, slot(8)),
            supplies: List::at(address, slot(9)),
        }
    }

    pub(crate) fn exists(&self, cx: &mut Context<'_>) -> Result<bool, Failure> {
        Ok(self.kind.get(cx)?.created)
    }

    pub(crate) fn kind(&self, cx: &mut Context<'_>) -> Result<Kind, Failure> {
        self.kind.get(cx)
    }

    pub(crate) fn balance(&self, cx: &mut Context<'_>, account: Address) -> Result<U256, Failure> {
        self.balances.get(cx, account)
    }
}
