//! The state of the system contracts before the first block.

use crate::address::{DOLLARS, SINGLETONS, STABLECOIN};
use crate::context::Context;
use crate::env::{Env, Failure, Fault};
use crate::guard::{Breaker, Guard};
use crate::networks::{Founding, Networks};
use crate::settlements::{Clock, Settlements};
use crate::tokens::Token;
use crate::validators::Validators;
use alloy_primitives::{Address, B256, FixedBytes, U256};
use protocol::clock::EpochClock;
use protocol::manifest::Manifest;
use protocol::{Epoch, Micros, NetworkId, Ppm, Tokens, cbor};

/// The decimals of dollars and of the stablecoin.
const DOLLAR_DECIMALS: u8 = 6;

/// One coin in its smallest unit.
const COIN: u128 = 1_000_000_000_000_000_000;

/// What the ledger begins with.
#[derive(Clone, Debug)]
pub struct GenesisConfig {
    /// Epochs in heights.
    pub clock: EpochClock,
    /// Epochs in which a final root can be disputed; every manifest's unbonding must be longer.
    pub dispute_epochs: u64,
    /// The validators of the first two terms, a seat each: at least one, each key once. The coin of their
    /// bonds ([`GenesisConfig::bonded`]) must be allocated to [`crate::address::VALIDATORS`].
    pub validators: Vec<GenesisValidator>,
    /// How later committees are elected.
    pub seats: SeatRules,
    /// Who may pause functions.
    pub guardian: Address,
    /// The longest pause of a function, in blocks.
    pub pause_blocks_max: u64,
    /// The window of the breakers on outflows, in blocks; at least 1.
    pub breaker_window: u64,
    /// The share of a contract's holdings that may leave it in a window.
    pub breaker_share: Ppm,
    /// What may leave a contract in a window however little it holds.
    pub breaker_floor: Micros,
    /// Balances of the test stablecoin.
    pub stablecoin: Vec<(Address, Micros)>,
    /// Networks that exist from the first block, numbered from 1 in this order; their manifests hold
    /// from epoch 0.
    pub networks: Vec<GenesisNetwork>,
}

impl GenesisConfig {
    /// The sum of all bonds, in the coin's smallest unit.
    pub fn bonded(&self) -> U256 {
        self.validators.iter().map(|validator| U256::from(validator.bond)).sum()
    }
}

/// A validator from the first block.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GenesisValidator {
    /// Ed25519 public key (RFC 8032).
    pub key: B256,
    /// BLS12-381 public key in the second group, compressed. Its possession is checked by who checks the
    /// genesis file.
    pub seed_key: FixedBytes<96>,
    /// Proof that the seed key's secret is held.
    pub possession: FixedBytes<48>,
    /// Who gets the seat's tips and votes in `Settlements`.
    pub account: Address,
    /// Who owns the bond; usually the account.
    pub owner: Address,
    /// The p2p address as `ip:port`, or empty.
    pub endpoint: String,
    /// What this seat adds to its owner's bond, in the coin's smallest unit.
    pub bond: u128,
}

/// How committees are elected (design 5).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SeatRules {
    /// Blocks of a term; at least 2.
    pub term_length: u64,
    /// The most seats of a committee: 1 to [`crate::SEATS_MAX`].
    pub seats_max: u64,
    /// The least bond of a key, in the coin's smallest unit; at least 1.
    pub bond_min: u128,
    /// Terms after its own in which a double vote is heard: 1 to [`crate::UNBONDING_TERMS_MAX`].
    pub unbonding_terms: u64,
}

impl Default for SeatRules {
    /// Terms of an hour at a block a second, 64 seats of at least a coin, and 14 days.
    fn default() -> Self {
        Self { term_length: 3_600, seats_max: 64, bond_min: COIN, unbonding_terms: 336 }
    }
}

/// A network that exists from the first block.
#[derive(Clone, Debug)]
pub struct GenesisNetwork {
    /// Who may amend it, and its first treasury.
    pub founder: Address,
    /// Its rules.
    pub manifest: Manifest,
    /// The name of its token.
    pub name: String,
    /// The symbol of its token.
    pub symbol: String,
    /// The founder's tokens.
    pub supply: Tokens,
}

/// Writes the state of all contracts into an empty environment at height 0, and returns the numbers of
/// the networks.
///
/// # Errors
/// [`Failure::Fault`] if the configuration makes no sense, and [`Failure::Revert`] if a contract refuses
/// part of it, such as an invalid manifest.
pub fn genesis(config: &GenesisConfig, env: &mut dyn Env) -> Result<Vec<NetworkId>, Failure> {
    let mut cx = Context::new(env, Address::ZERO, false);
    let cx = &mut cx;
    for contract in SINGLETONS {
        cx.mark(contract)?;
    }
    settlements(cx, config)?;
    Validators::new().found(cx, config)?;
    let guard = Guard::new();
    guard.guardian.set(cx, &config.guardian)?;
    let mut pauses = guard.pauses.get(cx)?;
    pauses.longest = config.pause_blocks_max;
    guard.pauses.set(cx, &pauses)?;
    guard.breaker.set(
        cx,
        &Breaker {
            window: config.breaker_window,
            share: u64::from(config.breaker_share.0),
            floor: config.breaker_floor.0,
        },
    )?;
    let kind = (DOLLAR_DECIMALS, false);
    Token::at(DOLLARS).create(cx, "Wayleave Dollar", "wUSD", kind)?;
    let stable = Token::at(STABLECOIN);
    stable.create(cx, "Test Dollar", "tUSD", kind)?;
    for (account, amount) in &config.stablecoin {
        stable.mint(cx, *account, U256::from(amount.0))?;
    }
    config.networks.iter().map(|network| found(cx, network)).collect()
}

fn settlements(cx: &mut Context<'_>, config: &GenesisConfig) -> Result<(), Failure> {
    if config.clock.length == 0 || config.breaker_window == 0 {
        return Err(invalid("an epoch and a breaker's window need at least one block"));
    }
    let settlements = Settlements::new();
    settlements.clock.set(
        cx,
        &Clock {
            length: config.clock.length,
            grace: config.clock.grace,
            dispute: config.dispute_epochs,
        },
    )
}

/// A configuration that makes no sense.
pub(crate) fn invalid(what: &str) -> Failure {
    Fault::Storage(format!("genesis: {what}")).into()
}

fn found(cx: &mut Context<'_>, network: &GenesisNetwork) -> Result<NetworkId, Failure> {
    Networks::new().found(
        cx,
        &Founding {
            founder: network.founder,
            manifest: &cbor::to_vec(&network.manifest),
            name: &network.name,
            symbol: &network.symbol,
            supply: U256::from(network.supply.0),
            start: Epoch(0),
        },
    )
}
