//! The devnet's genesis: what has already happened when its first block is made.
//!
//! It is a list of ordinary contract calls by the devnet's accounts, run against empty state in
//! order, so that nothing exists here that a real network could not have made by transactions.

use super::accounts::{Accounts, CHAIN_ID, device};
use alloy_primitives::{Address, U256};
use alloy_sol_types::SolCall;
use anyhow::Context as _;
use consensus::{Founding, Genesis, ValidatorKeys};
use contracts::{
    GenesisConfig, GenesisNetwork, SeatRules,
    abi::{IDevices, IDollars, IRails, IStakes, IToken},
    address,
};
use execution::call_at_genesis;
use protocol::{
    Account, Epoch, KindId, Micros, NetworkId, Ppm, Tokens,
    clock::EpochClock,
    key::{DeviceSecret, registration_message},
    manifest::{Bootstrap, EvidenceRules, KindTerms, Manifest, Slashes, Split, Vesting},
};
use std::{
    net::SocketAddr,
    time::{SystemTime, UNIX_EPOCH},
};

/// Coins of each account, in wei: ten thousand.
const COINS: u128 = 10_000 * 1_000_000_000_000_000_000;
/// Test dollars of the founder and of the customer.
const STABLECOIN: Micros = Micros(1_000_000_000_000);
/// The devnet's one network.
pub(crate) const NETWORK: NetworkId = NetworkId(1);
/// What each agent offers, in bytes.
pub(crate) const CAPACITY: u64 = 4 << 30;
/// The network's token at genesis, in whole tokens, all of it the founder's.
const SUPPLY: u64 = 10_000_000;
/// Tokens each operator gets to stake from.
const OPERATOR_TOKENS: Tokens = Tokens::whole(1_000);
/// What the customer deposits for rails.
const DEPOSIT: Micros = Micros(400_000_000_000);
/// The most that one rail may pay.
const LIMIT: Micros = Micros(12_000_000_000);
/// The most that one rail pays an epoch.
const RATE: Micros = Micros(4_000_000);
/// The last epoch of the devnet's rails.
const EXPIRY: u64 = 1_000_000;

/// Where a devnet agent listens for services if the port is free (UDP).
pub(crate) fn endpoint(number: u8) -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], 8600 + u16::from(number)))
}

/// One call of the genesis.
#[derive(Clone, Debug)]
pub(crate) struct Call {
    /// Who calls.
    pub(crate) from: Account,
    /// The contract.
    pub(crate) to: Address,
    /// Selector and arguments.
    pub(crate) input: Vec<u8>,
}

/// The devnet's manifest: the defaults of the design, with prices high enough that pay for a few
/// megabytes and seconds can be seen.
pub(crate) fn manifest() -> Manifest {
    Manifest {
        version: 1,
        name: "Devnet Storage".into(),
        split: Split::default(),
        beta: Ppm(500_000),
        vesting: Vesting { share: Ppm(750_000), epochs: 40 },
        bootstrap: Bootstrap { per_device: Tokens(10_000_000_000_000_000), until: Epoch(240) },
        token_price: Micros(100_000),
        evidence: EvidenceRules {
            quota_bytes: 1 << 20,
            skew_ms: 10_000,
            slack: 3,
            absence_epochs: 40,
            unbonding_epochs: 8,
        },
        slashes: Slashes {
            conflicting_payloads: Ppm(200_000),
            false_proof: Ppm(500_000),
            selective_miss: Ppm(100_000),
            long_absence: Ppm(100_000),
        },
        tiers: [Ppm(250_000), Ppm(500_000), Ppm::ONE, Ppm::ONE],
        kinds: vec![KindTerms {
            kind: KindId(1),
            price: Micros(1_000_000),
            delivery_price: Micros(100_000),
            per_units: 1 << 30,
            stake_base: Tokens::whole(100),
            stake_per: Tokens::whole(10),
            positions: 5,
            window: 6,
        }],
    }
}

/// The stake of a devnet agent.
pub(crate) fn stake() -> Tokens {
    let manifest = manifest();
    manifest.kinds[0].stake(CAPACITY)
}

/// The genesis file of a devnet with these accounts.
///
/// # Errors
/// When a contract refuses one of the calls, which would be a fault of this file.
pub(crate) fn file(accounts: &Accounts, keys: &ValidatorKeys) -> anyhow::Result<Genesis> {
    let founder = accounts.founder.account();
    let now = SystemTime::now().duration_since(UNIX_EPOCH).context("the clock is before 1970")?;
    let timestamp_ms = u64::try_from(now.as_millis())?;
    let mut genesis = Genesis::found(Founding {
        chain_id: CHAIN_ID,
        timestamp_ms,
        term_length: u64::MAX / 2,
        validators: vec![keys.validator(founder).into()],
        allocations: accounts.all().map(|named| (named.account(), U256::from(COINS))).collect(),
        contracts: GenesisConfig {
            clock: EpochClock { length: 30, grace: 4 },
            // Pay can be claimed an epoch after it was decided: people watch.
            dispute_epochs: 1,
            validators: Vec::new(),
            seats: SeatRules::default(),
            guardian: founder,
            pause_blocks_max: 7_200,
            breaker_window: 7_200,
            breaker_share: Ppm(250_000),
            breaker_floor: Micros(1_000_000_000),
            stablecoin: vec![(accounts.customer.account(), STABLECOIN), (founder, STABLECOIN)],
            networks: vec![GenesisNetwork {
                founder,
                manifest: manifest(),
                name: "Devnet Token".into(),
                symbol: "DEV".into(),
                supply: Tokens::whole(SUPPLY),
            }],
        },
    })?;
    for call in calls(accounts) {
        call_at_genesis(
            &mut genesis.contracts,
            (CHAIN_ID, timestamp_ms / 1000),
            call.from,
            call.to,
            &call.input,
        )
        .map_err(|failure| {
            anyhow::anyhow!("genesis call by {} to {}: {failure}", call.from, call.to)
        })?;
    }
    genesis.check()?;
    Ok(genesis)
}

/// Everything that happened before the first block, in order.
fn calls(accounts: &Accounts) -> Vec<Call> {
    let founder = accounts.founder.account();
    let token = address::token(NETWORK);
    let mut calls = Vec::new();
    for (number, operator) in (1u8..).zip(&accounts.operators) {
        let owner = operator.account();
        let secret = device(number);
        let stake = U256::from(stake().0);
        calls.extend([
            call(
                founder,
                token,
                &IToken::transferCall { to: owner, value: U256::from(OPERATOR_TOKENS.0) },
            ),
            call(owner, address::DEVICES, &registration(&secret, owner)),
            call(
                owner,
                address::DEVICES,
                &IDevices::setEndpointCall {
                    device: secret.id().into(),
                    endpoint: endpoint(number).to_string(),
                },
            ),
            call(owner, token, &IToken::approveCall { spender: address::STAKES, value: stake }),
            call(
                owner,
                address::STAKES,
                &IStakes::stakeCall { device: secret.id().into(), amount: stake },
            ),
        ]);
    }
    calls.extend(customer(accounts));
    calls
}

/// The registration of a device that holds `secret`.
fn registration(secret: &DeviceSecret, owner: Account) -> IDevices::registerCall {
    let key = secret.key();
    let message = registration_message(CHAIN_ID, NETWORK, owner);
    IDevices::registerCall {
        network: NETWORK.0,
        kind: 1,
        alg: key.algorithm(),
        x: key.x().into(),
        y: key.y().into(),
        capacity: CAPACITY,
        cell: 0,
        offer: Vec::new().into(),
        proof: secret.sign(&message).to_vec().into(),
    }
}

/// The customer's deposit and its rail to each agent.
fn customer(accounts: &Accounts) -> Vec<Call> {
    let customer = accounts.customer.account();
    let amount = U256::from(DEPOSIT.0);
    let rails = (1u8..)
        .zip(&accounts.operators)
        .map(|(number, operator)| IRails::OpenRail {
            network: NETWORK.0,
            payee: operator.account(),
            signer: accounts.service.account(),
            device: device(number).id().into(),
            limit: LIMIT.0,
            rate: RATE.0,
            expiry: EXPIRY,
        })
        .collect();
    vec![
        call(
            customer,
            address::STABLECOIN,
            &IToken::approveCall { spender: address::DOLLARS, value: amount },
        ),
        call(customer, address::DOLLARS, &IDollars::depositCall { stable: amount }),
        call(customer, address::RAILS, &IRails::depositCall { amount }),
        call(customer, address::RAILS, &IRails::openManyCall { rails }),
    ]
}

fn call(from: Account, to: Address, call: &impl SolCall) -> Call {
    Call { from, to, input: call.abi_encode() }
}
