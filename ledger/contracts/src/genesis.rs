//! The state of the system contracts before the first block.

use crate::address::{DOLLARS, SINGLETONS, STABLECOIN};
use crate::context::Context;
use crate::env::{Env, Failure, Fault};
use crate::guard::{Breaker, Guard};
use crate::networks::{Founding, Networks};
use crate::settlements::{Clock, Settlements};
use crate::tokens::Token;
use alloy_primitives::{Address, U256};
use protocol::clock::EpochClock;
use protocol::manifest::Manifest;
use protocol::{Epoch, Micros, NetworkId, Ppm, Tokens, cbor};

/// The decimals of dollars and of the stablecoin.
const DOLLAR_DECIMALS: u8 = 6;

/// What the ledger begins with.
#[derive(Clone, Debug)]
pub struct GenesisConfig {
    /// Epochs in heights.
    pub clock: EpochClock,
    /// Epochs in which a final root can be disputed; every manifest's unbonding must be longer.
    pub dispute_epochs: u64,
    /// The accounts of validators with their seats; at least one, each once, each with a seat.
    pub validators: Vec<(Address, u64)>,
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
    let invalid = |what: &str| Failure::from(Fault::Storage(format!("genesis: {what}")));
    if config.clock.length == 0 || config.breaker_window == 0 {
        return Err(invalid("an epoch and a breaker's window need at least one block"));
    }
    if config.validators.is_empty() {
        return Err(invalid("there is no validator"));
    }
    let settlements = Settlements::new();
    settlements.clock.set(
        cx,
        &Clock {
            length: config.clock.length,
            grace: config.clock.grace,
            dispute: config.dispute_epochs,
        },
    )?;
    let mut all = 0u64;
    for (validator, seats) in &config.validators {
        if *seats == 0 || settlements.seats.get(cx, *validator)? != 0 {
            return Err(invalid("a validator stands twice or has no seat"));
        }
        settlements.validators.push(cx, validator)?;
        settlements.seats.set(cx, *validator, seats)?;
        all = all.checked_add(*seats).ok_or_else(|| invalid("too many seats"))?;
    }
    settlements.all_seats.set(cx, &all)
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
