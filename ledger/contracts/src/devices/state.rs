//! The layout of the devices.
//!
//! ```text
//! 0 mapping(bytes32 => Device) devices
//! 1 mapping(uint64 => bytes32[]) inService      by network
//! 2 mapping(uint64 => uint64) registered        by network, ever
//! 3 mapping(bytes32 => bytes) offers
//! 4 mapping(bytes32 => string) endpoints
//! 5 mapping(address => uint256) balances        devices by owner
//! 6 mapping(bytes32 => address) approved
//! 7 mapping(address => mapping(address => bool)) operators
//! Device { address owner; uint64 network; uint16 kind; int8 alg; uint8 tier
//!        | address maker; uint64 capacity
//!        | bytes32 x | bytes32 y | bytes32 offer
//!        | uint64 cell; uint64 registered; uint64 retired; uint64 index }
//! ```

use crate::abi::IDevices::Record;
use crate::address::DEVICES;
use crate::storage::{List, Map, Place as _, Slot, Text, record};
use alloy_primitives::{Address, B256, U256};
use protocol::key::DeviceKey;

/// The epoch of retirement of a device in service.
pub(crate) const IN_SERVICE: u64 = u64::MAX;

record! {
    /// A device.
    pub(crate) struct Device {
        {
            owner: Address,
            network: u64,
            kind: u16,
            /// The COSE algorithm, as the byte of its two's complement.
            alg: u8,
            tier: u8,
        }
        { maker: Address, capacity: u64 }
        { x: B256 }
        { y: B256 }
        { offer: B256 }
        {
            cell: u64,
            registered: u64,
            retired: u64,
            /// The place in the network's list while in service.
            index: u64,
        }
    }
}

impl Device {
    pub(crate) const fn algorithm(&self) -> i8 {
        self.alg.cast_signed()
    }

    /// The device's key; nothing for an algorithm that no device was registered with.
    pub(crate) const fn key(&self) -> Option<DeviceKey> {
        DeviceKey::from_parts(self.algorithm(), self.x.0, self.y.0)
    }

    pub(crate) const fn is_in_service(&self) -> bool {
        self.retired == IN_SERVICE
    }
}

impl From<Device> for Record {
    fn from(device: Device) -> Self {
        Self {
            network: device.network,
            kind: device.kind,
            alg: device.algorithm(),
            tier: device.tier,
            owner: device.owner,
            maker: device.maker,
            x: device.x,
            y: device.y,
            capacity: device.capacity,
            cell: device.cell,
            offer: device.offer,
            registered: device.registered,
            retired: device.retired,
        }
    }
}

/// The state of all devices.
pub(crate) struct Devices {
    pub(super) devices: Map<B256, Slot<Device>>,
    pub(super) in_service: Map<u64, List<B256>>,
    pub(crate) registered: Map<u64, Slot<u64>>,
    pub(super) offers: Map<B256, Text>,
    pub(super) endpoints: Map<B256, Text>,
    pub(super) balances: Map<Address, Slot<U256>>,
    pub(super) approved: Map<B256, Slot<Address>>,
    pub(super) operators: Map<Address, Map<Address, Slot<bool>>>,
}

impl Devices {
    pub(crate) fn new() -> Self {
        let slot = U256::from::<u8>;
        Self {
            devices: Map::at(DEVICES, slot(0)),
            in_service: Map::at(DEVICES, slot(1)),
            registered: Map::at(DEVICES, slot(2)),
            offers: Map::at(DEVICES, slot(3)),
            endpoints: Map::at(DEVICES, slot(4)),
            balances: Map::at(DEVICES, slot(5)),
            approved: Map::at(DEVICES, slot(6)),
            operators: Map::at(DEVICES, slot(7)),
        }
    }
}
