//! The layout of the settlements.
//!
//! ```text
//! 0 { uint64 length; uint64 grace; uint64 dispute } clock      blocks; blocks; epochs
//! 1 mapping(uint64 => mapping(uint64 => Round)) announcing   by network and epoch
//! 2 mapping(uint64 => mapping(uint64 => Round)) voting         by network and epoch
//! 3 mapping(uint64 => mapping(uint64 => Before)) befores       by network and final epoch
//! 4 mapping(uint64 => { bool any; uint64 epoch; uint128 spent }) finals   by network
//! 5 mapping(uint64 => mapping(uint64 => bytes32)) inputs       by network and epoch, once fixed
//! 6 mapping(uint64 => mapping(uint64 => Choices)) announced    by network and epoch
//! 7 mapping(uint64 => mapping(uint64 => Choices)) ballots      by network and epoch
//! 8 mapping(bytes32 => uint64) tallies                         seats, by ballot
//! 9 mapping(uint64 => mapping(uint64 => Outcome)) outcomes     by network and epoch, once final
//! 10 mapping(uint64 => mapping(address => Taken)) taken        by network and account
//! 11 mapping(uint64 => Taken) takenTotal                       by network
//! Round   { uint64 number; uint64 term }
//! Choices mapping(uint64 => mapping(address => bytes32))       by round and validator
//! Outcome { bytes32 inputs | bytes32 statement | bytes32 root
//!         | uint128 vested; uint128 slashed | uint128 cash; uint128 card
//!         | uint128 credit; uint128 spent | uint128 burned; uint64 decided; bool settled
//!         | uint128 toppedUp; uint128 bootstrapped }
//! Taken   { uint128 vested; uint128 cash }
//! Before  { bool any; uint64 epoch }
//! ```

use crate::abi;
use crate::address::SETTLEMENTS;
use crate::context::{Context, narrow};
use crate::env::Failure;
use crate::storage::{Map, Place as _, Slot, record};
use alloy_primitives::{Address, B256, U256};
use protocol::clock::EpochClock;
use protocol::{Epoch, Height, NetworkId};

record! {
    /// The clock of epochs.
    pub(crate) struct Clock {
        {
            /// Blocks an epoch; at least 1.
            length: u64,
            /// Blocks after an epoch in which its evidence still counts.
            grace: u64,
            /// Epochs in which a final root can be disputed.
            dispute: u64,
        }
    }
}

impl Clock {
    pub(super) const fn epochs(&self) -> EpochClock {
        EpochClock { length: self.length, grace: self.grace }
    }
}

record! {
    /// The newest final epoch of a network.
    pub(crate) struct Last {
        {
            /// Whether any epoch is final.
            any: bool,
            epoch: u64,
            /// All dollars spent, in millionths.
            spent: u128,
        }
    }
}

record! {
    /// A final outcome.
    pub(crate) struct Outcome {
        { inputs: B256 }
        { statement: B256 }
        { root: B256 }
        { vested: u128, slashed: u128 }
        { cash: u128, card: u128 }
        { credit: u128, spent: u128 }
        {
            burned: u128,
            /// The epoch in which it became final.
            decided: u64,
            /// Whether it is final.
            settled: bool,
        }
        { topped_up: u128, bootstrapped: u128 }
    }
}

impl Outcome {
    /// The outcome of a vote in the current epoch `decided`.
    pub(super) fn new(outcome: &abi::Outcome, decided: Epoch) -> Result<Self, Failure> {
        let totals = &outcome.totals;
        Ok(Self {
            inputs: outcome.inputs,
            statement: outcome.statement,
            root: outcome.root,
            vested: narrow(totals.vested)?,
            slashed: narrow(totals.slashed)?,
            cash: narrow(totals.cash)?,
            card: narrow(totals.card)?,
            credit: narrow(totals.credit)?,
            spent: narrow(totals.spent)?,
            burned: narrow(totals.burned)?,
            decided: decided.0,
            settled: true,
            topped_up: narrow(totals.toppedUp)?,
            bootstrapped: narrow(totals.bootstrapped)?,
        })
    }
}

impl From<Outcome> for abi::Outcome {
    fn from(outcome: Outcome) -> Self {
        Self {
            inputs: outcome.inputs,
            statement: outcome.statement,
            root: outcome.root,
            totals: abi::Totals {
                vested: U256::from(outcome.vested),
                cash: U256::from(outcome.cash),
                card: U256::from(outcome.card),
                credit: U256::from(outcome.credit),
                spent: U256::from(outcome.spent),
                burned: U256::from(outcome.burned),
                slashed: U256::from(outcome.slashed),
                toppedUp: U256::from(outcome.topped_up),
                bootstrapped: U256::from(outcome.bootstrapped),
            },
        }
    }
}

record! {
    /// The final epoch before one; void epochs lie between them.
    pub(crate) struct Before {
        { any: bool, epoch: u64 }
    }
}

record! {
    /// What was claimed.
    pub(crate) struct Taken {
        {
            /// Tokens, in units of 1e-18.
            vested: u128,
            /// Cash, in millionths of a dollar.
            cash: u128,
        }
    }
}

record! {
    /// A round in which one committee decides.
    pub(crate) struct Round {
        {
            /// Counted from 1; 0 before the first.
            number: u64,
            /// The term of the committee.
            term: u64,
        }
    }
}

/// Rounds by network and epoch.
pub(super) type Rounds = Map<u64, Map<u64, Slot<Round>>>;
/// Choices by network, epoch, round and validator.
pub(super) type Choices = Map<u64, Map<u64, Map<u64, Map<Address, Slot<B256>>>>>;

/// The state of all settlements.
pub(crate) struct Settlements {
    pub(crate) clock: Slot<Clock>,
    pub(super) announcing: Rounds,
    pub(super) voting: Rounds,
    pub(super) finals: Map<u64, Slot<Last>>,
    pub(super) inputs: Map<u64, Map<u64, Slot<B256>>>,
    pub(super) announced: Choices,
    pub(super) ballots: Choices,
    pub(super) tallies: Map<B256, Slot<u64>>,
    pub(super) outcomes: Map<u64, Map<u64, Slot<Outcome>>>,
    pub(super) taken: Map<u64, Map<Address, Slot<Taken>>>,
    pub(super) taken_total: Map<u64, Slot<Taken>>,
    pub(super) befores: Map<u64, Map<u64, Slot<Before>>>,
}

impl Settlements {
    pub(crate) fn new() -> Self {
        let slot = U256::from::<u8>;
        Self {
            clock: Slot::at(SETTLEMENTS, slot(0)),
            announcing: Map::at(SETTLEMENTS, slot(1)),
            voting: Map::at(SETTLEMENTS, slot(2)),
            finals: Map::at(SETTLEMENTS, slot(4)),
            inputs: Map::at(SETTLEMENTS, slot(5)),
            announced: Map::at(SETTLEMENTS, slot(6)),
            ballots: Map::at(SETTLEMENTS, slot(7)),
            tallies: Map::at(SETTLEMENTS, slot(8)),
            outcomes: Map::at(SETTLEMENTS, slot(9)),
            taken: Map::at(SETTLEMENTS, slot(10)),
            taken_total: Map::at(SETTLEMENTS, slot(11)),
            befores: Map::at(SETTLEMENTS, slot(3)),
        }
    }

    pub(crate) fn clock(&self, cx: &mut Context<'_>) -> Result<Clock, Failure> {
        self.clock.get(cx)
    }

    /// The epoch of this block.
    pub(crate) fn current_epoch(&self, cx: &mut Context<'_>) -> Result<Epoch, Failure> {
        Ok(self.clock(cx)?.epochs().epoch(Height(cx.height())))
    }

    /// The newest final epoch of a network.
    pub(crate) fn last_final(
        &self,
        cx: &mut Context<'_>,
        network: NetworkId,
    ) -> Result<Option<Epoch>, Failure> {
        let last = self.finals.get(cx, network.0)?;
        Ok(last.any.then_some(Epoch(last.epoch)))
    }

    /// All dollars that payers of a network spent, as settled, in millionths.
    pub(crate) fn spent(&self, cx: &mut Context<'_>, network: NetworkId) -> Result<u128, Failure> {
        Ok(self.finals.get(cx, network.0)?.spent)
    }

    /// The newest final outcome of a network; zeros before the first.
    pub(super) fn latest(
        &self,
        cx: &mut Context<'_>,
        network: NetworkId,
    ) -> Result<Outcome, Failure> {
        // Before the first final epoch this reads epoch 0, where nothing stands.
        let last = self.finals.get(cx, network.0)?;
        self.outcomes.get2(cx, network.0, last.epoch)
    }

    /// What all accounts of a network claimed.
    pub(crate) fn claimed(
        &self,
        cx: &mut Context<'_>,
        network: NetworkId,
    ) -> Result<Taken, Failure> {
        self.taken_total.get(cx, network.0)
    }
}
