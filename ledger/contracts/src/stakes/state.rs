//! The layout of the stakes.
//!
//! ```text
//! 0 mapping(bytes32 => uint128) bound                       by device
//! 1 mapping(bytes32 => { uint128 amount; uint64 epoch }) requests   by device
//! 2 mapping(uint64 => mapping(address => uint128)) netted   slashes taken, by network and owner
//! 3 mapping(uint64 => { uint128 held; uint128 netted }) totals      by network
//! ```

use crate::address::STAKES;
use crate::context::{Checked as _, Context};
use crate::env::Failure;
use crate::storage::{Map, Place as _, Slot, record};
use alloy_primitives::{Address, B256, U256};

record! {
    /// What is asked back, and since which epoch.
    pub(crate) struct Request {
        { amount: u128, epoch: u64 }
    }
}

record! {
    /// The sums of a network.
    pub(crate) struct Sums {
        {
            /// All stake, bound and asked back.
            held: u128,
            /// All slashes that were netted.
            netted: u128,
        }
    }
}

/// The state of all stakes.
pub(crate) struct Stakes {
    pub(super) bound: Map<B256, Slot<u128>>,
    pub(super) requests: Map<B256, Slot<Request>>,
    pub(super) netted: Map<u64, Map<Address, Slot<u128>>>,
    pub(crate) totals: Map<u64, Slot<Sums>>,
}

impl Stakes {
    pub(crate) fn new() -> Self {
        let slot = U256::from::<u8>;
        Self {
            bound: Map::at(STAKES, slot(0)),
            requests: Map::at(STAKES, slot(1)),
            netted: Map::at(STAKES, slot(2)),
            totals: Map::at(STAKES, slot(3)),
        }
    }

    /// All stake of a device, bound and asked back.
    pub(crate) fn held(&self, cx: &mut Context<'_>, device: B256) -> Result<u128, Failure> {
        let asked = self.requests.get(cx, device)?.amount;
        self.bound.get(cx, device)?.plus(asked)
    }
}
