//! `wayleave init check`: what a genesis file founds, read from the file alone.
//!
//! The state of the contracts is in the file as plain slots. They are read by the contracts' own functions,
//! as anybody will read them later, and compared with what the rest of the file says.

use crate::{cli::InitCheck, devnet::accounts::CHAIN_ID, exit::Failure, keys::Card, out, units};
use alloy_primitives::{Address, B256, U256};
use alloy_sol_types::SolCall;
use anyhow::Context as _;
use consensus::{Genesis, Peer, Validator};
use contracts::{
    abi::{IGuard, INetworks, ISettlements, IToken, IValidators},
    address,
};
use execution::call_at_genesis;
use protocol::{cbor, manifest::Manifest};
use serde::Serialize;
use std::{
    collections::BTreeMap,
    path::Path,
    time::{Duration, UNIX_EPOCH},
};

/// The largest genesis file, in bytes.
const GENESIS_MAX: u64 = 256 * 1024 * 1024;
/// The last moment whose date has a year of four digits, milliseconds since 1970.
const TIME_MAX: u64 = 253_402_300_799_999;

/// Checks a file and says what it founds.
pub(super) fn run(arguments: &InitCheck, json: bool) -> anyhow::Result<()> {
    let genesis = read(&arguments.genesis)?;
    let summary = Summary::of(&genesis)?;
    if let Some(path) = &arguments.card {
        let card = Card::read(path)?;
        if !genesis.validators.contains(&card.seat()) {
            let name = arguments.genesis.display();
            return Err(Failure::Check(format!("the seat of {} is not in {name}", card.key)).into());
        }
    }
    if json {
        return out::json(&summary);
    }
    summary.print();
    if arguments.card.is_some() {
        out::line("the card's seat is in it");
    }
    Ok(())
}

/// Reads a genesis file and checks what a ledger would refuse.
pub(crate) fn read(path: &Path) -> anyhow::Result<Genesis> {
    let name = path.display();
    let size = std::fs::metadata(path).with_context(|| format!("reading {name}"))?.len();
    if size > GENESIS_MAX {
        anyhow::bail!("{name} is no genesis file: it has {}", units::bytes(size));
    }
    let bytes = std::fs::read(path).with_context(|| format!("reading {name}"))?;
    let genesis: Genesis =
        serde_json::from_slice(&bytes).with_context(|| format!("{name} is no genesis file"))?;
    genesis.check().with_context(|| format!("{name} cannot be used"))?;
    Ok(genesis)
}

/// The first validators and where they are dialled, as far as the genesis says.
pub(crate) fn peers(genesis: &Genesis) -> anyhow::Result<Vec<Peer>> {
    let state = State(genesis);
    let mut peers = Vec::new();
    for validator in &genesis.validators {
        if let Ok(address) = state.seat(validator)?.endpoint.parse() {
            peers.push(Peer { key: validator.key.0, address });
        }
    }
    Ok(peers)
}

/// What a genesis founds.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Summary {
    /// What all validators compare.
    digest: B256,
    chain_id: u64,
    /// Time of the genesis block.
    made: String,
    /// Blocks of a settlement epoch, and of the grace after it.
    epoch_length: u64,
    epoch_grace: u64,
    /// Blocks of a committee's term.
    term_length: u64,
    /// Terms in which coin stays bound after it was asked back.
    unbonding_terms: u64,
    /// The least bond of a key, in whole coins.
    bond_min: String,
    /// Epochs in which a final root can be disputed.
    dispute_epochs: u64,
    guardian: Address,
    validators: Vec<Seat>,
    /// Coins in whole, by account.
    coins: BTreeMap<Address, String>,
    coins_total: String,
    /// Test dollars in circulation, in millionths.
    test_dollars: u64,
    networks: Vec<Network>,
}

#[derive(Debug, Serialize)]
struct Seat {
    key: B256,
    account: Address,
    endpoint: String,
    /// What its owner has bonded for all seats, in whole coins.
    bond: String,
}

#[derive(Debug, Serialize)]
struct Network {
    network: u64,
    name: String,
    symbol: String,
    founder: Address,
    /// The founder's tokens, in whole.
    supply: String,
    manifest: Manifest,
}

impl Summary {
    /// Reads what a file founds.
    ///
    /// # Errors
    /// [`Failure::Check`] if parts of the file contradict each other.
    pub(crate) fn of(genesis: &Genesis) -> anyhow::Result<Self> {
        let state = State(genesis);
        let clock = state.call(address::SETTLEMENTS, &ISettlements::clockCall {})?;
        state.agrees("the length of an epoch", clock.length, genesis.epoch_length)?;
        let terms = state.call(address::VALIDATORS, &IValidators::termsCall {})?;
        state.agrees("the length of a term", terms.length, genesis.term_length)?;
        if genesis.chain_id == CHAIN_ID {
            let text = "the chain id is the devnet's, whose keys everybody knows";
            return Err(Failure::Check(text.into()).into());
        }
        // What the contract holds are the bonds, which are told with the seats.
        let people = || genesis.allocations.iter().filter(|(at, _)| **at != address::VALIDATORS);
        let total = people().fold(U256::ZERO, |sum, (_, &coins)| sum + coins);
        if genesis.timestamp_ms > TIME_MAX {
            return Err(Failure::Check("it is dated after the year 9999".into()).into());
        }
        let made = UNIX_EPOCH + Duration::from_millis(genesis.timestamp_ms);
        let dollars = state.call(address::STABLECOIN, &IToken::totalSupplyCall {})?;
        let networks = state.call(address::NETWORKS, &INetworks::countCall {})?;
        Ok(Self {
            digest: genesis.digest(),
            chain_id: genesis.chain_id,
            made: httpdate::fmt_http_date(made),
            epoch_length: genesis.epoch_length,
            epoch_grace: clock.grace,
            term_length: genesis.term_length,
            unbonding_terms: terms.unbondingTerms,
            bond_min: units::coins(terms.bondMin),
            dispute_epochs: state
                .call(address::SETTLEMENTS, &ISettlements::disputeWindowCall {})?,
            guardian: state.call(address::GUARD, &IGuard::guardianCall {})?,
            validators: genesis
                .validators
                .iter()
                .map(|validator| state.seat(validator))
                .collect::<anyhow::Result<_>>()?,
            coins: people().map(|(&a, &c)| (a, units::coins(c))).collect(),
            coins_total: units::coins(total),
            test_dollars: u64::try_from(dollars).unwrap_or(u64::MAX),
            networks: (1..=networks).map(|n| state.network(n)).collect::<anyhow::Result<_>>()?,
        })
    }

    /// Prints it for people.
    pub(super) fn print(&self) {
        let fact = |name: &str, value: String| (name.to_owned(), value);
        let mut rows = vec![
            fact("digest", self.digest.to_string()),
            fact("chain id", self.chain_id.to_string()),
            fact("made", self.made.clone()),
            fact("epoch", format!("{} blocks, {} of grace", self.epoch_length, self.epoch_grace)),
            fact("term", format!("{} blocks", self.term_length)),
            fact("unbonding", format!("{} terms", self.unbonding_terms)),
            fact("guardian", self.guardian.to_string()),
        ];
        for Seat { key, account, endpoint, bond } in &self.validators {
            rows.push(fact("validator", format!("{key}@{endpoint}")));
            rows.push(fact("", format!("of {account}, who bonds {bond} coins")));
        }
        for (account, coins) in &self.coins {
            rows.push(fact("coins", format!("{coins} of {account}")));
        }
        for Network { network, name, symbol, founder, supply, .. } in &self.networks {
            let text = format!("{network}, {name:?}, {supply} {symbol} of {founder}");
            rows.push(fact("network", text));
        }
        out::table(&rows);
    }
}

/// The state that a file describes.
struct State<'a>(&'a Genesis);

impl State<'_> {
    fn call<C: SolCall>(&self, contract: Address, call: &C) -> anyhow::Result<C::Return> {
        let Genesis { chain_id, timestamp_ms, contracts, .. } = self.0;
        let when = (*chain_id, timestamp_ms / 1000);
        let output = call_at_genesis(
            &mut contracts.clone(),
            when,
            Address::ZERO,
            contract,
            &call.abi_encode(),
        )
        .map_err(|failure| {
            Failure::Check(format!("the genesis has no usable state: {}: {failure}", C::SIGNATURE))
        })?;
        Ok(C::abi_decode_returns_validate(&output)?)
    }

    fn agrees(&self, what: &str, found: u64, expected: u64) -> anyhow::Result<()> {
        if found == expected {
            return Ok(());
        }
        let text = format!("the contracts have {what} as {found}, the file says {expected}");
        Err(Failure::Check(text).into())
    }

    /// A validator, who must stand in the contract as it stands in the file.
    fn seat(&self, validator: &Validator) -> anyhow::Result<Seat> {
        let Validator { key, seed_key, possession, account } = *validator;
        let info = self.call(address::VALIDATORS, &IValidators::keyInfoCall { key })?;
        let same = info.account == account
            && *info.seedKey == seed_key.as_slice()
            && *info.possession == possession.as_slice()
            && !info.retired;
        if !same {
            let text = format!("the contracts know validator {key} otherwise than the file");
            return Err(Failure::Check(text).into());
        }
        let bond =
            self.call(address::VALIDATORS, &IValidators::bondOfCall { owner: info.owner })?;
        Ok(Seat { key, account, endpoint: info.endpoint, bond: units::coins(bond.amount) })
    }

    fn network(&self, network: u64) -> anyhow::Result<Network> {
        let info = self.call(address::NETWORKS, &INetworks::networkInfoCall { network })?;
        let bytes = self.call(address::NETWORKS, &INetworks::manifestCall { network, epoch: 0 })?;
        let supply = self.call(info.token, &IToken::totalSupplyCall {})?;
        Ok(Network {
            network,
            name: info.name,
            symbol: info.symbol,
            founder: info.founder,
            supply: units::coins(supply),
            manifest: cbor::from_slice(&bytes).context("a manifest that cannot be read")?,
        })
    }
}

#[cfg(test)]
mod tests;
