//! The Solidity interfaces of all system contracts, as `wayleave.sol` beside this file declares them.
//!
//! One source for Rust, wallets and explorers: the structs, functions, events and errors below are
//! generated from the Solidity text, so that an encoding cannot differ between them. Amounts of
//! dollars are in millionths, amounts of tokens in units of 1e-18, times in heights or epochs.
//!
//! Invariants: a selector never changes its meaning; new functions are added, none is overloaded with
//! another meaning.

#![expect(
    clippy::too_many_arguments,
    reason = "the macro writes the functions; their arguments are those of the Solidity events and errors"
)]

pub mod errors;

alloy_sol_types::sol!(
    #![sol(all_derives)]
    "src/abi/wayleave.sol"
);

impl From<&protocol::leaf::Leaf> for Leaf {
    fn from(leaf: &protocol::leaf::Leaf) -> Self {
        use alloy_primitives::U256;
        Self {
            account: leaf.account,
            network: leaf.network.0,
            vested: U256::from(leaf.vested.0),
            cash: U256::from(leaf.earned.cash.0),
            card: U256::from(leaf.earned.card.0),
            credit: U256::from(leaf.earned.credit.0),
            spent: U256::from(leaf.spent.0),
            slashed: U256::from(leaf.slashed.0),
        }
    }
}

impl From<&protocol::author::AuthorLeaf> for AuthorLeaf {
    fn from(leaf: &protocol::author::AuthorLeaf) -> Self {
        Self {
            network: leaf.network.0,
            epoch: leaf.epoch.0,
            author: leaf.author.into(),
            size: leaf.bytes,
        }
    }
}

impl From<&protocol::statement::Totals> for Totals {
    fn from(totals: &protocol::statement::Totals) -> Self {
        use alloy_primitives::U256;
        Self {
            vested: U256::from(totals.vested.0),
            cash: U256::from(totals.earned.cash.0),
            card: U256::from(totals.earned.card.0),
            credit: U256::from(totals.earned.credit.0),
            spent: U256::from(totals.spent.0),
            burned: U256::from(totals.to_burn.0),
            slashed: U256::from(totals.slashed.0),
            toppedUp: U256::from(totals.topped_up.0),
            bootstrapped: U256::from(totals.bootstrapped.0),
        }
    }
}

impl From<&protocol::statement::Statement> for Outcome {
    fn from(statement: &protocol::statement::Statement) -> Self {
        Self {
            inputs: statement.inputs.into(),
            statement: statement.digest().into(),
            root: statement.tree().root(),
            totals: (&statement.totals).into(),
        }
    }
}
