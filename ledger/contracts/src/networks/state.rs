//! The layout of the networks.
//!
//! ```text
//! 0 uint64 count
//! 1 mapping(uint64 => Record) records           by network
//! 2 mapping(uint64 => Version[]) versions       by network, activations ascending
//! 3 mapping(uint64 => mapping(uint64 => bytes)) manifests  by network and version
//! Record  { address founder; uint64 created; | address treasury; uint64 start }
//! Version { uint64 activation | bytes32 digest }
//! ```

use crate::address::NETWORKS;
use crate::storage::{List, Map, Place as _, Slot, Text, record};
use alloy_primitives::{Address, B256, U256};

record! {
    /// A network.
    pub(crate) struct Network {
        { founder: Address, created: u64 }
        { treasury: Address, start: u64 }
    }
}

record! {
    /// From when a manifest holds, and its BLAKE3.
    pub(crate) struct VersionRecord {
        { activation: u64 }
        { digest: B256 }
    }
}

/// The state of all networks.
pub(crate) struct Networks {
    pub(super) count: Slot<u64>,
    pub(super) records: Map<u64, Slot<Network>>,
    pub(super) versions: Map<u64, List<VersionRecord>>,
    pub(super) manifests: Map<u64, Map<u64, Text>>,
}

impl Networks {
    pub(crate) fn new() -> Self {
        let slot = U256::from::<u8>;
        Self {
            count: Slot::at(NETWORKS, slot(0)),
            records: Map::at(NETWORKS, slot(1)),
            versions: Map::at(NETWORKS, slot(2)),
            manifests: Map::at(NETWORKS, slot(3)),
        }
    }
}
