//! `wayleave init genesis`: the file of a new ledger from the cards of its validators.

use super::{
    check::Summary,
    rules::{DISPUTE_EPOCHS, EPOCH_MIN, Lengths, TERM_MIN},
};
use crate::{
    cli::InitGenesis,
    devnet::accounts::{self, CHAIN_ID},
    keys::{Card, write_new},
    out,
};
use alloy_primitives::{Address, U256};
use anyhow::{Context as _, bail};
use consensus::{FirstValidator, Founding, Genesis};
use contracts::{GenesisConfig, GenesisNetwork, SEATS_MAX, SeatRules, UNBONDING_TERMS_MAX};
use protocol::{Micros, Ppm, Tokens, manifest::Manifest};
use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
    time::{SystemTime, UNIX_EPOCH},
};

/// The share of a contract's holdings that may leave it in a day.
const BREAKER_SHARE: Ppm = Ppm(250_000);
/// What may leave a contract in a day however little it holds.
const BREAKER_FLOOR: Micros = Micros(1_000_000_000);

/// Makes the file and says what it founds.
pub(super) fn run(arguments: &InitGenesis, json: bool) -> anyhow::Result<()> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).context("the clock is before 1970")?;
    let genesis = found(arguments, u64::try_from(now.as_millis())?)?;
    write_new(&arguments.out, &serde_json::to_vec_pretty(&genesis)?)?;
    let summary = Summary::of(&genesis)?;
    if json {
        return out::json(&summary);
    }
    out::line(format!("wrote {}", arguments.out.display()));
    summary.print();
    out::line(format!(
        "give the file to every validator; each runs `wayleave init check {} --card …` and all compare the digest",
        arguments.out.display()
    ));
    Ok(())
}

/// The genesis that the arguments ask for.
pub(super) fn found(arguments: &InitGenesis, timestamp_ms: u64) -> anyhow::Result<Genesis> {
    if arguments.chain_id == 0 || arguments.chain_id == CHAIN_ID {
        bail!("--chain-id {} is taken: choose a number that no ledger uses", arguments.chain_id);
    }
    let cards =
        arguments.cards.iter().map(|path| Card::read(path)).collect::<anyhow::Result<Vec<_>>>()?;
    distinct(&cards)?;
    let lengths =
        Lengths { epoch: arguments.epoch_length.blocks(arguments.pace), pace: arguments.pace };
    if lengths.epoch < EPOCH_MIN {
        bail!(
            "an epoch has at least {EPOCH_MIN} blocks, or votes on it take longer than it lasts: --epoch-length gives {}",
            lengths.epoch
        );
    }
    let guardian =
        cards.first().map(|card| card.account).context("give a card of each validator")?;
    let guardian = arguments.guardian.or(arguments.founder).unwrap_or(guardian);
    let allocations = allocations(arguments, &cards)?;
    let seats = seats(arguments)?;
    let bond = small(arguments.bond, "--bond")?;
    if bond < seats.bond_min {
        bail!("--bond is below --bond-min, with which nobody keeps a seat");
    }
    // Each card is one key and so one vote, whatever stands behind it; others register as many as they bond.
    let backed = bond.checked_div(seats.bond_min).unwrap_or(u128::MAX);
    if backed > 1 {
        bail!(
            "--bond is that of {backed} keys and each card has one, so whoever registers {backed} later has {backed} votes for as many coins: give the same as --bond-min, or leave that out"
        );
    }
    let first = |card: &Card| {
        let endpoint = card.endpoint.to_string();
        FirstValidator { seat: card.seat(), endpoint, bond }
    };
    let genesis = Genesis::found(Founding {
        chain_id: arguments.chain_id,
        timestamp_ms,
        term_length: seats.term_length,
        validators: cards.iter().map(first).collect(),
        allocations,
        contracts: GenesisConfig {
            clock: lengths.clock(),
            dispute_epochs: DISPUTE_EPOCHS,
            validators: Vec::new(),
            seats,
            guardian,
            pause_blocks_max: lengths.day(),
            breaker_window: lengths.day(),
            breaker_share: BREAKER_SHARE,
            breaker_floor: BREAKER_FLOOR,
            stablecoin: arguments.dollars.clone(),
            networks: network(arguments, &lengths)?.into_iter().collect(),
        },
    })?;
    Ok(genesis)
}

/// How later committees are elected.
fn seats(arguments: &InitGenesis) -> anyhow::Result<SeatRules> {
    let term_length = arguments.term_length.blocks(arguments.pace);
    if term_length < TERM_MIN {
        bail!("a term has at least {TERM_MIN} blocks: --term-length gives {term_length}");
    }
    let unbonding = arguments.unbonding.blocks(arguments.pace);
    let terms = unbonding.div_ceil(term_length).max(1);
    if terms > UNBONDING_TERMS_MAX || !(1..=SEATS_MAX).contains(&arguments.seats_max) {
        bail!(
            "a ledger has at most {SEATS_MAX} seats, and unbonding takes at most {UNBONDING_TERMS_MAX} terms, not {} and {terms}: see --unbonding",
            arguments.seats_max
        );
    }
    Ok(SeatRules {
        term_length,
        seats_max: arguments.seats_max,
        bond_min: small(arguments.bond_min.unwrap_or(arguments.bond), "--bond-min")?,
        unbonding_terms: terms,
    })
}

fn small(coins: U256, option: &str) -> anyhow::Result<u128> {
    u128::try_from(coins).with_context(|| format!("{option} is more than a ledger can count"))
}

/// Refuses what is most likely one card given twice.
fn distinct(cards: &[Card]) -> anyhow::Result<()> {
    let (mut keys, mut endpoints) = (BTreeSet::new(), BTreeSet::new());
    for card in cards {
        if !keys.insert(card.key) {
            bail!("the card of key {} is given twice", card.key);
        }
        if !endpoints.insert(card.endpoint) {
            bail!("two cards have the endpoint {}", card.endpoint);
        }
    }
    Ok(())
}

/// The coins of the first block.
fn allocations(arguments: &InitGenesis, cards: &[Card]) -> anyhow::Result<BTreeMap<Address, U256>> {
    let mut allocations = BTreeMap::new();
    for (account, coins) in &arguments.allocations {
        if allocations.insert(*account, *coins).is_some() {
            bail!("--allocate names {account} twice");
        }
    }
    for card in cards {
        allocations.entry(card.account).or_insert(arguments.validator_coins);
    }
    for account in allocations.keys().chain(&arguments.founder).chain(&arguments.guardian) {
        accounts::refuse_outside_devnet(*account, arguments.chain_id)?;
    }
    Ok(allocations)
}

/// The first network, if one is asked for.
fn network(arguments: &InitGenesis, lengths: &Lengths) -> anyhow::Result<Option<GenesisNetwork>> {
    let (Some(name), Some(symbol), Some(founder)) =
        (&arguments.name, &arguments.symbol, arguments.founder)
    else {
        return Ok(None);
    };
    let manifest = match &arguments.manifest {
        Some(path) => Manifest { name: name.clone(), ..manifest(path)? },
        None => lengths.manifest(name),
    };
    manifest.validate()?;
    Ok(Some(GenesisNetwork {
        founder,
        manifest,
        name: name.clone(),
        symbol: symbol.clone(),
        supply: Tokens::whole(arguments.supply),
    }))
}

fn manifest(path: &Path) -> anyhow::Result<Manifest> {
    let bytes = std::fs::read(path).with_context(|| format!("reading {}", path.display()))?;
    serde_json::from_slice(&bytes).with_context(|| format!("{} is no manifest", path.display()))
}
