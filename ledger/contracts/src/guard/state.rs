//! The layout of the guard.
//!
//! ```text
//! 0 address guardian
//! 1 { uint64 pauseBlocks; uint64 latest }                            longest pause; last height of any pause
//! 2 mapping(bytes32 => uint64) until                                by keccak256(target . selector)
//! 3 { uint64 window; uint64 share; uint64 floor } breaker           blocks; millionths; millionths of a dollar
//! 4 mapping(address => { uint64 window; uint128 amount }) outflows  by contract
//! ```

use crate::address::GUARD;
use crate::storage::{Map, Place as _, Slot, record};
use alloy_primitives::{Address, B256, U256};

record! {
    /// The rules of pausing.
    pub(crate) struct Pauses {
        {
            /// The longest pause, and the shortest time between two, in blocks.
            longest: u64,
            /// No function is paused at or after this height.
            latest: u64,
        }
    }
}

record! {
    /// The rules of the breakers.
    pub(crate) struct Breaker {
        {
            /// Blocks of a window; at least 1.
            window: u64,
            /// The share of a contract's holdings that may leave it in a window, in millionths.
            share: u64,
            /// What may leave in a window however little is held, in millionths of a dollar.
            floor: u64,
        }
    }
}

record! {
    /// What left a contract in a window.
    pub(crate) struct Outflow {
        {
            /// The number of the window: height divided by its length.
            window: u64,
            /// In millionths of a dollar.
            amount: u128,
        }
    }
}

/// The guard's state.
pub(crate) struct Guard {
    pub(crate) guardian: Slot<Address>,
    pub(crate) pauses: Slot<Pauses>,
    pub(super) until: Map<B256, Slot<u64>>,
    pub(crate) breaker: Slot<Breaker>,
    pub(super) outflows: Map<Address, Slot<Outflow>>,
}

impl Guard {
    pub(crate) fn new() -> Self {
        let slot = U256::from::<u8>;
        Self {
            guardian: Slot::at(GUARD, slot(0)),
            pauses: Slot::at(GUARD, slot(1)),
            until: Map::at(GUARD, slot(2)),
            breaker: Slot::at(GUARD, slot(3)),
            outflows: Map::at(GUARD, slot(4)),
        }
    }
}
