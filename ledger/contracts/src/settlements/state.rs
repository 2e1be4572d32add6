//! The layout of the settlements.
//!
//! ```text
//! 0 { uint64 length; uint64 grace; uint64 dispute } clock      blocks; blocks; epochs
//! 1 mapping(uint64 => mapping(uint64 => Hearing)) hearings     of inputs, by network and epoch
//! 2 mapping(uint64 => mapping(uint64 => Round)) rounds         of votes, by network and epoch: the newest
//! 3 mapping(uint64 => uint64[]) finals                         the decided epochs of a network, ascending
//! 4 mapping(uint64 => Course) courses                          by network
//! 5 mapping(uint64 => mapping(uint64 => bytes32)) inputs       by network and epoch, once fixed
//! 6 mapping(uint64 => mapping(uint64 => mapping(uint64 => mapping(address => bytes32)))) announced
//!                                                              by network, epoch, hearing and validator
//! 7 mapping(uint64 => mapping(uint64 => mapping(uint64 => mapping(address => Vote)))) votes
//!                                                              by network, epoch, round and validator
//! 8 mapping(bytes32 => uint64) tallies                         seats, by hearing or round and choice
//! 9 mapping(uint64 => mapping(uint64 => Outcome)) outcomes     by network and epoch, as last decided
//! 10 mapping(uint64 => mapping(address => Taken)) taken        by network and account
//! 11 mapping(uint64 => Taken) takenTotal                       by network
//! 12 mapping(uint64 => uint64) approved                        newest epoch of a claim, by network
//! 13 mapping(uint64 => mapping(uint64 => Dispute)) disputes    by network and epoch: the last
//! 14 mapping(uint64 => mapping(uint64 => mapping(uint64 => Ruling))) rulings   by network, epoch and round
//! 15 mapping(bytes32 => bool) fined                            by round and key
//! Hearing { uint64 number; uint64 term }
//! Round   { uint64 number; uint64 term; uint64 opened; uint64 closed
//!         | uint64 seats; uint64 committed; uint64 revealed; uint64 best | uint64 dissents; bool decided }
//! Course  { uint64 shift; uint64 disputed; uint64 behind; bool open
//!         | uint64 since; uint64 stood; uint64 dissents }
//! Vote    { bytes32 ballot | bytes32 choice }
//! Outcome { bytes32 inputs | bytes32 statement | bytes32 root
//!         | uint128 vested; uint128 slashed | uint128 cash; uint128 card
//!         | uint128 credit; uint128 spent | uint128 burned; uint64 decided; uint64 index
//!         | uint128 toppedUp; uint128 bootstrapped }
//! Taken   { uint128 vested; uint128 cash }
//! Dispute { address dissenter; uint64 round | uint128 bond; uint64 term | bytes32 disputed | bytes32 choice }
//! Ruling  { address dissenter; uint64 term | bytes32 overruled | bytes32 choice }
//! ```

use crate::abi;
use crate::address::SETTLEMENTS;
use crate::context::{Context, narrow};
use crate::env::Failure;
use crate::storage::{List, Map, Place as _, Slot, record};
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
    /// What is so for all epochs of a network: what is disputed, and how its clocks are set back.
    pub(crate) struct Course {
        {
            /// Epochs for which an epoch stays open beyond its time (`course.rs`).
            shift: u64,
            /// The epoch of the open dispute.
            disputed: u64,
            /// The last epoch of those that dissent dropped; the clock of windows stands still before it.
            behind: u64,
            /// Whether a dispute is open.
            open: bool,
        }
        {
            /// The height at which the clock of windows was stopped; 0 while it runs.
            since: u64,
            /// The blocks in which it stood still before.
            stood: u64,
            /// How often anybody dissented.
            dissents: u64,
        }
    }
}

record! {
    /// What was decided.
    #[derive(Default)]
    pub(crate) struct Outcome {
        { inputs: B256 }
        { statement: B256 }
        { root: B256 }
        { vested: u128, slashed: u128 }
        { cash: u128, card: u128 }
        { credit: u128, spent: u128 }
        {
            burned: u128,
            /// Where its network's clock of windows stood when its window began, in blocks.
            decided: u64,
            /// The place of its epoch among the decided ones. If another stands there, it was dropped.
            index: u64,
        }
        { topped_up: u128, bootstrapped: u128 }
    }
}

impl Outcome {
    /// The outcome that somebody names, not decided yet.
    pub(super) fn new(outcome: &abi::Outcome) -> Result<Self, Failure> {
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
            decided: 0,
            index: 0,
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
    /// A round in which one committee fixes inputs.
    pub(crate) struct Hearing {
        {
            /// Counted from 1; 0 before the first.
            number: u64,
            /// The term of the committee.
            term: u64,
        }
    }
}

record! {
    /// A round of votes on an outcome.
    pub(crate) struct Round {
        {
            /// Counted from 1; 0 before the first.
            number: u64,
            /// The term of the committee.
            term: u64,
            /// The height of the first commit; 0 before it.
            opened: u64,
            /// The last height at which commits count.
            closed: u64,
        }
        {
            /// The seats of the committee.
            seats: u64,
            /// Those that committed.
            committed: u64,
            /// Those that revealed.
            revealed: u64,
            /// Those behind the choice that most of them revealed.
            best: u64,
        }
        {
            /// How often anybody had dissented in the network when it began.
            dissents: u64,
            /// Whether it decided.
            decided: bool,
        }
    }
}

record! {
    /// The vote of a validator in a round.
    pub(crate) struct Vote {
        { ballot: B256 }
        {
            /// Zero until it is revealed.
            choice: B256,
        }
    }
}

record! {
    /// The last dispute of an epoch.
    pub(crate) struct Dispute {
        {
            /// Zero if there was none.
            dissenter: Address,
            /// The round that decided what is disputed.
            round: u64,
        }
        {
            bond: u128,
            /// The term of that round's committee.
            term: u64,
        }
        { disputed: B256 }
        { choice: B256 }
    }
}

record! {
    /// What a round decided and another one overruled.
    pub(crate) struct Ruling {
        {
            /// Zero if there is none.
            dissenter: Address,
            /// The term of the round's committee.
            term: u64,
        }
        { overruled: B256 }
        {
            /// What was decided instead.
            choice: B256,
        }
    }
}

/// A mapping by network and epoch.
pub(super) type ByEpoch<V> = Map<u64, Map<u64, V>>;
/// What each validator said, by network, epoch, round and validator.
pub(super) type Said<T> = ByEpoch<Map<u64, Map<Address, Slot<T>>>>;

/// The state of all settlements.
pub(crate) struct Settlements {
    pub(crate) clock: Slot<Clock>,
    pub(super) hearings: ByEpoch<Slot<Hearing>>,
    pub(super) rounds: ByEpoch<Slot<Round>>,
    pub(super) finals: Map<u64, List<u64>>,
    pub(super) courses: Map<u64, Slot<Course>>,
    pub(super) inputs: ByEpoch<Slot<B256>>,
    pub(super) announced: Said<B256>,
    pub(super) votes: Said<Vote>,
    pub(super) tallies: Map<B256, Slot<u64>>,
    pub(super) outcomes: ByEpoch<Slot<Outcome>>,
    pub(super) taken: Map<u64, Map<Address, Slot<Taken>>>,
    pub(super) taken_total: Map<u64, Slot<Taken>>,
    pub(super) approved: Map<u64, Slot<u64>>,
    pub(super) disputes: ByEpoch<Slot<Dispute>>,
    pub(super) rulings: ByEpoch<Map<u64, Slot<Ruling>>>,
    pub(super) fined: Map<B256, Slot<bool>>,
}

impl Settlements {
    pub(crate) fn new() -> Self {
        let slot = U256::from::<u8>;
        Self {
            clock: Slot::at(SETTLEMENTS, slot(0)),
            hearings: Map::at(SETTLEMENTS, slot(1)),
            rounds: Map::at(SETTLEMENTS, slot(2)),
            finals: Map::at(SETTLEMENTS, slot(3)),
            courses: Map::at(SETTLEMENTS, slot(4)),
            inputs: Map::at(SETTLEMENTS, slot(5)),
            announced: Map::at(SETTLEMENTS, slot(6)),
            votes: Map::at(SETTLEMENTS, slot(7)),
            tallies: Map::at(SETTLEMENTS, slot(8)),
            outcomes: Map::at(SETTLEMENTS, slot(9)),
            taken: Map::at(SETTLEMENTS, slot(10)),
            taken_total: Map::at(SETTLEMENTS, slot(11)),
            approved: Map::at(SETTLEMENTS, slot(12)),
            disputes: Map::at(SETTLEMENTS, slot(13)),
            rulings: Map::at(SETTLEMENTS, slot(14)),
            fined: Map::at(SETTLEMENTS, slot(15)),
        }
    }

    pub(crate) fn clock(&self, cx: &mut Context<'_>) -> Result<Clock, Failure> {
        self.clock.get(cx)
    }

    /// The epoch of this block.
    pub(crate) fn current_epoch(&self, cx: &mut Context<'_>) -> Result<Epoch, Failure> {
        Ok(self.clock(cx)?.epochs().epoch(Height(cx.height())))
    }

    /// The newest decided epoch of a network.
    pub(crate) fn last_final(
        &self,
        cx: &mut Context<'_>,
        network: NetworkId,
    ) -> Result<Option<Epoch>, Failure> {
        Ok(self.finals.at_key(cx, network.0)?.last(cx)?.map(Epoch))
    }

    /// What stands for an epoch, if it is decided.
    pub(super) fn standing(
        &self,
        cx: &mut Context<'_>,
        network: NetworkId,
        epoch: Epoch,
    ) -> Result<Option<Outcome>, Failure> {
        let outcome = self.outcomes.get2(cx, network.0, epoch.0)?;
        let there = self.finals.at_key(cx, network.0)?.get(cx, outcome.index)?;
        Ok((there == Some(epoch.0)).then_some(outcome))
    }

    /// The newest outcome of a network; zeros before the first.
    pub(super) fn latest(
        &self,
        cx: &mut Context<'_>,
        network: NetworkId,
    ) -> Result<Outcome, Failure> {
        match self.last_final(cx, network)? {
            Some(epoch) => self.outcomes.get2(cx, network.0, epoch.0),
            None => Ok(Outcome::default()),
        }
    }

    /// All dollars that payers of a network spent by the newest outcome, claimable or not, in millionths:
    /// what has to stay backed.
    pub(crate) fn spent(&self, cx: &mut Context<'_>, network: NetworkId) -> Result<u128, Failure> {
        Ok(self.latest(cx, network)?.spent)
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
