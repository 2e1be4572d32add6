//! The layout of the rails.
//!
//! ```text
//! 0 uint64 count
//! 1 mapping(uint64 => Rail) rails
//! 2 mapping(address => { uint128 deposited; uint128 reserved }) purses
//! 3 mapping(address => mapping(uint64 => Account)) accounts   by payer and network
//! 4 mapping(uint64 => uint64[]) live                          rails not released, by network
//! 5 mapping(uint64 => Dataset) datasets                       by rail
//! 6 mapping(uint64 => uint128) backing                        sum of open and closed, by network
//! Rail    { address payer; uint64 network; bool released; bool late
//!         | address payee; uint64 end | address signer; uint64 opened | bytes32 device
//!         | uint64 limit; uint64 rate; uint64 nonce; uint64 presented | uint64 index }
//! Account { uint128 open; uint128 closed | uint64 epoch }
//! Dataset { uint64 version; uint64 size; uint64 frozen | bytes32 root }
//! ```

use crate::abi::IRails::{self, DatasetInfo, RailInfo};
use crate::address::RAILS;
use crate::storage::{List, Map, Place as _, Slot, record};
use alloy_primitives::{Address, B256, U256};

record! {
    /// A rail.
    pub(crate) struct Rail {
        {
            payer: Address,
            network: u64,
            /// Released for good: no inputs name it any more.
            released: bool,
            /// Released late: its limit is not reserved any more, but what was presented still counts.
            late: bool,
        }
        {
            payee: Address,
            /// The last epoch that counts.
            end: u64,
        }
        { signer: Address, opened: u64 }
        { device: B256 }
        { limit: u64, rate: u64, nonce: u64, presented: u64 }
        {
            /// The place in the network's list while not released.
            index: u64,
        }
    }
}

record! {
    /// A payer's deposit and what of it is reserved, over all networks.
    pub(crate) struct Purse {
        { deposited: u128, reserved: u128 }
    }
}

record! {
    /// A payer's account in a network.
    pub(crate) struct Account {
        {
            /// The limits of rails not released.
            open: u128,
            /// The most that released rails can have cost.
            closed: u128,
        }
        {
            /// A release needs a leaf of this epoch or a later one.
            epoch: u64,
        }
    }
}

record! {
    /// A frozen dataset.
    pub(crate) struct Dataset {
        { version: u64, size: u64, frozen: u64 }
        { root: B256 }
    }
}

impl From<Rail> for RailInfo {
    fn from(rail: Rail) -> Self {
        Self {
            network: rail.network,
            payer: rail.payer,
            payee: rail.payee,
            signer: rail.signer,
            device: rail.device,
            limit: rail.limit,
            rate: rail.rate,
            nonce: rail.nonce,
            opened: rail.opened,
            end: rail.end,
            presented: rail.presented,
            released: rail.released || rail.late,
        }
    }
}

impl From<Account> for IRails::Account {
    fn from(account: Account) -> Self {
        let (open, closed) = (U256::from(account.open), U256::from(account.closed));
        Self { open, closed, epoch: account.epoch }
    }
}

impl From<Dataset> for DatasetInfo {
    fn from(dataset: Dataset) -> Self {
        let Dataset { version, size, frozen, root } = dataset;
        Self { version, root, size, frozen }
    }
}

/// The state of all rails.
pub(crate) struct Rails {
    pub(crate) count: Slot<u64>,
    pub(super) rails: Map<u64, Slot<Rail>>,
    pub(super) purses: Map<Address, Slot<Purse>>,
    pub(super) accounts: Map<Address, Map<u64, Slot<Account>>>,
    pub(super) live: Map<u64, List<u64>>,
    pub(super) datasets: Map<u64, Slot<Dataset>>,
    pub(crate) backing: Map<u64, Slot<u128>>,
}

impl Rails {
    pub(crate) fn new() -> Self {
        let slot = U256::from::<u8>;
        Self {
            count: Slot::at(RAILS, slot(0)),
            rails: Map::at(RAILS, slot(1)),
            purses: Map::at(RAILS, slot(2)),
            accounts: Map::at(RAILS, slot(3)),
            live: Map::at(RAILS, slot(4)),
            datasets: Map::at(RAILS, slot(5)),
            backing: Map::at(RAILS, slot(6)),
        }
    }
}
