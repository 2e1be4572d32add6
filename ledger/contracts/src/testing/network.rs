//! A ledger's configuration with one network, and who is in it.

use super::SeatKeys;
use crate::abi::IDevices;
use crate::{GenesisConfig, GenesisNetwork, GenesisValidator, SeatRules};
use alloy_primitives::Address;
use protocol::clock::EpochClock;
use protocol::fixtures;
use protocol::key::{DeviceSecret, registration_message};
use protocol::manifest::{Bootstrap, EvidenceRules, KindTerms, Manifest, Slashes, Vesting};
use protocol::{Epoch, KindId, Micros, NetworkId, Ppm, Tokens};

/// The ledger.
pub const CHAIN: u64 = 0xDE91;
/// Its network.
pub const NETWORK: u64 = 1;
/// The heights of its epochs.
pub const CLOCK: EpochClock = EpochClock { length: 10, grace: 2 };
/// Epochs in which stake stays bound after it was asked back.
pub const UNBONDING: u16 = 3;
/// The founder of the network, who has all its tokens.
pub const FOUNDER: Address = Address::repeat_byte(0xf0);
/// The validator of the genesis.
pub const VALIDATOR: Address = Address::repeat_byte(0x7a);
/// Who may pause contracts.
pub const GUARDIAN: Address = Address::repeat_byte(0x6d);
/// Somebody with dollars.
pub const CUSTOMER: Address = Address::repeat_byte(0xc0);
/// Somebody with devices.
pub const OPERATOR: Address = Address::repeat_byte(0x0e);
/// Somebody else with dollars.
pub const STRANGER: Address = Address::repeat_byte(0x55);
/// What every customer has in the beginning, in millionths of a dollar.
pub const FUNDS: u64 = 1_000_000_000;
/// A coin, in wei.
pub const COIN: u128 = 1_000_000_000_000_000_000;
/// What each validator of the genesis has bonded: ten coins.
pub const BOND: u128 = 10 * COIN;
/// The longest pause, in blocks.
pub const PAUSE: u64 = 50;

/// The network's rules.
pub fn manifest() -> Manifest {
    let rules = fixtures::manifest(KindId(1));
    let terms = KindTerms {
        price: Micros(1_000),
        delivery_price: Micros(2_000),
        stake_per: Tokens::whole(1),
        ..rules.kinds[0]
    };
    Manifest {
        vesting: Vesting { epochs: 10, ..rules.vesting },
        bootstrap: Bootstrap { per_device: Tokens::whole(5), until: Epoch(1_000) },
        token_price: Micros(50_000),
        evidence: EvidenceRules {
            quota_bytes: 1 << 20,
            skew_ms: 10_000,
            slack: 6,
            absence_epochs: 3,
            unbonding_epochs: UNBONDING,
        },
        slashes: Slashes {
            conflicting_payloads: Ppm(500_000),
            selective_miss: Ppm(200_000),
            ..rules.slashes
        },
        kinds: vec![terms],
        ..rules
    }
}

/// The ledger's configuration.
pub fn config() -> GenesisConfig {
    GenesisConfig {
        clock: CLOCK,
        dispute_epochs: 2,
        validators: seats(&[(VALIDATOR, 1)]),
        seats: SeatRules::default(),
        guardian: GUARDIAN,
        pause_blocks_max: PAUSE,
        breaker_window: 20,
        breaker_share: Ppm::ONE,
        breaker_floor: Micros(0),
        stablecoin: vec![(CUSTOMER, Micros(FUNDS)), (STRANGER, Micros(FUNDS))],
        networks: vec![GenesisNetwork {
            founder: FOUNDER,
            manifest: manifest(),
            name: "Test Network".into(),
            symbol: "TEST".into(),
            supply: Tokens::whole(1_000_000),
        }],
    }
}

/// Validators of a genesis: accounts with their seats. The keys are numbered from 1.
pub fn seats(of: &[(Address, u64)]) -> Vec<GenesisValidator> {
    let accounts = of.iter().flat_map(|(account, count)| (0..*count).map(|_| *account));
    (1..).zip(accounts).map(|(n, account)| SeatKeys::derive(n).genesis(account, BOND)).collect()
}

/// What registers a device for an owner.
pub fn registration(owner: Address, secret: &DeviceSecret) -> IDevices::registerCall {
    let message = registration_message(CHAIN, NetworkId(NETWORK), owner);
    let key = secret.key();
    IDevices::registerCall {
        network: NETWORK,
        kind: 1,
        alg: key.algorithm(),
        x: key.x().into(),
        y: key.y().into(),
        capacity: 1 << 30,
        cell: 0,
        offer: b"an offer".into(),
        proof: secret.sign(&message).into(),
    }
}
