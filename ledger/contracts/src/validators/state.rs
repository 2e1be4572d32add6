//! The layout of the validators.
//!
//! ```text
//! 0 { uint64 length; uint64 seatsMax; uint64 unbondingTerms } rules   blocks; seats; terms
//! 1 uint128 bondMin                                      of a key, in the coin's smallest unit
//! 2 bytes32 genesis                                      hash of the genesis block, from block 1 on
//! 3 uint64 orders                                        keys ever registered
//! 4 { uint128 bonded; uint128 unbonding | uint128 locked } sums
//! 6 Active[] active                                      keys in use
//! 7 mapping(address => { uint128 bond; uint64 keys }) owners
//! 8 mapping(address => { uint128 amount; uint64 until }) requests   asked back, by owner
//! 9 mapping(bytes32 => Key) keys
//! 10 mapping(bytes32 => bytes32[3] | bytes32, uint128) seeds   seed key and possession, by key
//! 11 mapping(bytes32 => string) endpoints                by key
//! 12 mapping(uint64 => bytes32[]) committees             keys in ascending order, by term
//! 13 mapping(uint64 => mapping(address => uint64)) seats   by term and account
//! 14 mapping(uint64 => mapping(address => uint128)) backing   of each seat, by term and owner
//! 15 bytes32[] convicted                                 every key that was convicted
//! 16 mapping(bytes32 => Lock) locks                      by convicted key
//! 17 mapping(uint64 => uint64) convictions               by the term of the report
//! 18 mapping(uint64 => bytes32) mixes                    of the block that elected a committee, by its term
//! 19 mapping(bytes32 => mapping(uint64 => mapping(uint64 => uint128))) charged   by key, network and epoch
//! Active { bytes32 key | address owner; uint64 order }
//! Key    { address owner; uint64 order; bool retired; bool convicted | address account; uint64 index }
//! Lock   { uint128 amount; uint128 reward | uint64 since; uint64 seats; bool open }
//! ```

use crate::abi::IValidators::Seat;
use crate::address::VALIDATORS;
use crate::context::Context;
use crate::env::Failure;
use crate::storage::{List, Map, Place as _, Slot, Text, record};
use alloy_primitives::{Address, B256, U256};

/// Length of a seed key.
pub(super) const SEED_KEY_BYTES: usize = 96;
/// Length of a proof of possession.
pub(super) const POSSESSION_BYTES: usize = 48;

record! {
    /// What never changes.
    pub(crate) struct Rules {
        {
            /// Blocks a term; 0 if this ledger has no validators' contract.
            length: u64,
            /// The most seats of a committee.
            seats_max: u64,
            /// Terms after its own in which a double vote is heard.
            unbonding_terms: u64,
        }
    }
}

record! {
    /// All coin that this contract answers for.
    pub(crate) struct Sums {
        { bonded: u128, unbonding: u128 }
        { locked: u128 }
    }
}

record! {
    /// A key in use.
    pub(crate) struct Active {
        { key: B256 }
        {
            owner: Address,
            /// Its place in the order of registration.
            order: u64,
        }
    }
}

record! {
    /// What an owner has bonded, and for how many keys.
    pub(crate) struct Owner {
        { bond: u128, keys: u64 }
    }
}

record! {
    /// What is asked back, and the term from which it is paid.
    pub(crate) struct Request {
        { amount: u128, until: u64 }
    }
}

record! {
    /// A key that is or was in use. Its owner is zero if there is none.
    pub(crate) struct Key {
        { owner: Address, order: u64, retired: bool, convicted: bool }
        {
            account: Address,
            /// Its place among the keys in use, while it is.
            index: u64,
        }
    }
}

record! {
    /// A seed key and its possession.
    pub(crate) struct Seed {
        { first: B256 }
        { second: B256 }
        { third: B256 }
        { possession: B256 }
        { possession_end: u128 }
    }
}

impl Seed {
    pub(super) fn new(key: &[u8; SEED_KEY_BYTES], possession: &[u8; POSSESSION_BYTES]) -> Self {
        let word = |index: usize| B256::from_slice(&key[32 * index..32 * (index + 1)]);
        let mut end = [0; 16];
        end.copy_from_slice(&possession[32..]);
        Self {
            first: word(0),
            second: word(1),
            third: word(2),
            possession: B256::from_slice(&possession[..32]),
            possession_end: u128::from_be_bytes(end),
        }
    }

    /// The seed key's bytes.
    pub(super) fn key(&self) -> Vec<u8> {
        [self.first, self.second, self.third].concat()
    }

    /// The bytes of the proof of possession.
    pub(super) fn possession(&self) -> Vec<u8> {
        [self.possession.as_slice(), &self.possession_end.to_be_bytes()].concat()
    }
}

record! {
    /// What is held for a convicted key.
    pub(crate) struct Lock {
        {
            amount: u128,
            /// What the reporter got of it.
            reward: u128,
        }
        {
            /// The term of the report.
            since: u64,
            /// The seats of the committee in which the key voted.
            seats: u64,
            /// Whether it is still held.
            open: bool,
        }
    }
}

/// The state of all validators.
pub(crate) struct Validators {
    pub(crate) rules: Slot<Rules>,
    pub(crate) bond_min: Slot<u128>,
    pub(super) genesis: Slot<B256>,
    pub(super) orders: Slot<u64>,
    pub(super) sums: Slot<Sums>,
    pub(super) active: List<Active>,
    pub(super) owners: Map<Address, Slot<Owner>>,
    pub(super) requests: Map<Address, Slot<Request>>,
    pub(super) keys: Map<B256, Slot<Key>>,
    pub(super) seeds: Map<B256, Slot<Seed>>,
    pub(super) endpoints: Map<B256, Text>,
    pub(super) committees: Map<u64, List<B256>>,
    pub(super) seats: Map<u64, Map<Address, Slot<u64>>>,
    pub(super) backing: Map<u64, Map<Address, Slot<u128>>>,
    pub(super) convicted: List<B256>,
    pub(super) locks: Map<B256, Slot<Lock>>,
    pub(super) convictions: Map<u64, Slot<u64>>,
    pub(super) mixes: Map<u64, Slot<B256>>,
    pub(super) charged: Map<B256, Map<u64, Map<u64, Slot<u128>>>>,
}

impl Validators {
    pub(crate) fn new() -> Self {
        let slot = U256::from::<u8>;
        Self {
            rules: Slot::at(VALIDATORS, slot(0)),
            bond_min: Slot::at(VALIDATORS, slot(1)),
            genesis: Slot::at(VALIDATORS, slot(2)),
            orders: Slot::at(VALIDATORS, slot(3)),
            sums: Slot::at(VALIDATORS, slot(4)),
            active: List::at(VALIDATORS, slot(6)),
            owners: Map::at(VALIDATORS, slot(7)),
            requests: Map::at(VALIDATORS, slot(8)),
            keys: Map::at(VALIDATORS, slot(9)),
            seeds: Map::at(VALIDATORS, slot(10)),
            endpoints: Map::at(VALIDATORS, slot(11)),
            committees: Map::at(VALIDATORS, slot(12)),
            seats: Map::at(VALIDATORS, slot(13)),
            backing: Map::at(VALIDATORS, slot(14)),
            convicted: List::at(VALIDATORS, slot(15)),
            locks: Map::at(VALIDATORS, slot(16)),
            convictions: Map::at(VALIDATORS, slot(17)),
            mixes: Map::at(VALIDATORS, slot(18)),
            charged: Map::at(VALIDATORS, slot(19)),
        }
    }

    /// The term of this block.
    pub(crate) fn term(&self, cx: &mut Context<'_>) -> Result<u64, Failure> {
        let length = self.rules.get(cx)?.length;
        Ok(cx.height().checked_div(length).unwrap_or(0))
    }

    /// How many seats of a term's committee an account has.
    pub(crate) fn seats_of(
        &self,
        cx: &mut Context<'_>,
        term: u64,
        account: Address,
    ) -> Result<u64, Failure> {
        self.seats.get2(cx, term, account)
    }

    /// The seats of a term's committee; 0 if it is not elected yet or forgotten.
    pub(crate) fn all_seats(&self, cx: &mut Context<'_>, term: u64) -> Result<u64, Failure> {
        self.committees.at_key(cx, term)?.len(cx)
    }

    /// A term's committee by ascending key.
    pub(super) fn committee(&self, cx: &mut Context<'_>, term: u64) -> Result<Vec<Seat>, Failure> {
        let keys = self.committees.at_key(cx, term)?.all(cx)?;
        let seat = |key| {
            let account = self.keys.get(cx, key)?.account;
            let seed = self.seeds.get(cx, key)?;
            let (seed_key, possession) = (seed.key().into(), seed.possession().into());
            Ok(Seat { key, seedKey: seed_key, possession, account })
        };
        keys.into_iter().map(seat).collect()
    }
}
