//! Who uses the ledger: a few people with coins, each sending one signed transaction after the other.
//!
//! Citizens move coins and test dollars. Owners of machines bond coin and register keys, where the plan says
//! that committees change. An informer reports double votes.
//!
//! A person waits until its transaction is final, and sends it again, to every machine, when that takes
//! long: machines keep what waits in memory only. So a crash loses nothing that a person was told is final,
//! and whatever was sent becomes final once the world is healed.

use crate::{
    checkers::chronicle::Chronicle,
    economy::{self, CLOCK, DEPOSIT},
    scenario::Plan,
};
use alloy_consensus::{SignableTransaction as _, TxEip1559};
use alloy_eips::eip2718::Encodable2718 as _;
use alloy_primitives::{Address, B256, Bytes, TxKind, U256, keccak256};
use alloy_signer::SignerSync as _;
use alloy_signer_local::PrivateKeySigner;
use alloy_sol_types::SolCall;
use commonware_codec::{Copying, DecodeExt as _};
use commonware_cryptography::{Signer as _, ed25519};
use consensus::{DoubleVote, Founding, Genesis, GenesisError, ValidatorKeys};
use contracts::{
    GenesisConfig, GenesisNetwork, SeatRules,
    abi::{IDollars, IToken, IValidators},
    address::{DOLLARS, STABLECOIN, VALIDATORS},
};
use protocol::{Micros, Ppm, Tokens, key::DeviceSecret};
use rand::{RngExt as _, rngs::StdRng};
use std::{
    collections::{BTreeSet, VecDeque},
    time::Duration,
};

/// EIP-155 id of simulated ledgers.
pub const CHAIN: u64 = 0x51;
/// People.
const PEOPLE: u8 = 5;
/// Number of the informer's wallet.
const INFORMER: u8 = 40;
/// Number of the first owner's wallet.
const OWNERS: u8 = 50;
/// Numbers of the founder's and the customer's wallets.
const FOUNDER: u8 = 41;
const CUSTOMER: u8 = 42;
/// Number of the wallet of who dissents.
const DISSENTER: u8 = 43;
/// Number of the wallet that the first machine's worker has if it does not vote.
const ONLOOKERS: u8 = 150;
const COIN: u128 = 1_000_000_000_000_000_000;
const COINS: u128 = 1_000_000 * COIN;
const STABLE: u64 = 5_000_000;
/// Begin of simulated time, in seconds since 1970.
pub const BEGIN: u64 = 1_800_000_000;
/// How long a person waits before sending again.
const PATIENCE: Duration = Duration::from_secs(6);

/// The secret of a machine's network key.
fn secret(machine: usize) -> Option<(u8, [u8; 32])> {
    let n = u8::try_from(machine).ok()?;
    Some((n, *blake3::hash(&[b's', n]).as_bytes()))
}

/// The key with which a machine's worker signs acceptances and batches: that of the network.
pub fn author(machine: usize) -> Option<DeviceSecret> {
    secret(machine).map(|(_, secret)| DeviceSecret::from_seed(secret))
}

/// The secrets of the seat on a machine.
pub fn seat(machine: usize) -> Option<(ValidatorKeys, ed25519::PrivateKey)> {
    let (n, network) = secret(machine)?;
    let mut seed = [0; 32];
    seed[31] = n.checked_add(1)?;
    let keys = ValidatorKeys::from_secrets(&network, &seed).ok()?;
    Some((keys, ed25519::PrivateKey::decode(Copying(&network[..])).ok()?))
}

/// The owner of a machine's bond, whose account votes on settlements.
pub fn owner(machine: usize) -> Option<PrivateKeySigner> {
    wallet(u8::try_from(machine).ok()?.checked_add(OWNERS)?)
}

/// An account without a seat or coins, for a machine's worker that must not vote.
pub fn onlooker(machine: usize) -> Option<PrivateKeySigner> {
    wallet(u8::try_from(machine).ok()?.checked_add(ONLOOKERS)?)
}

/// Who disputes what was decided.
pub fn dissenter() -> Option<PrivateKeySigner> {
    wallet(DISSENTER)
}

/// Who founded the network of a world with devices, and owns those.
pub fn founder() -> Option<PrivateKeySigner> {
    wallet(FOUNDER)
}

/// Who pays the devices.
pub fn customer() -> Option<PrivateKeySigner> {
    wallet(CUSTOMER)
}

fn wallet(person: u8) -> Option<PrivateKeySigner> {
    PrivateKeySigner::from_slice(&[person.saturating_add(1); 32]).ok()
}

/// Who provides and who pays, where there are devices.
fn providers(plan: &Plan) -> impl Iterator<Item = Address> + Clone + use<> {
    let numbers: &[u8] = if plan.devices > 0 { &[FOUNDER, CUSTOMER] } else { &[] };
    numbers.iter().copied().filter_map(wallet).map(|wallet| wallet.address())
}

/// The network that devices serve, if there are any.
fn networks(plan: &Plan) -> Vec<GenesisNetwork> {
    let network = |founder: PrivateKeySigner| GenesisNetwork {
        founder: founder.address(),
        manifest: economy::manifest(),
        name: "Simulated".to_owned(),
        symbol: "SIM".to_owned(),
        supply: Tokens::whole(1_000),
    };
    founder().filter(|_| plan.devices > 0).map(network).into_iter().collect()
}

/// The ledger of a plan. Each machine's owner has coins, and those with a seat from the beginning a bond.
///
/// # Errors
/// The numbers make no ledger.
pub fn genesis(plan: &Plan) -> Result<Genesis, GenesisError> {
    let citizens: Vec<Address> =
        (0..PEOPLE).filter_map(wallet).map(|wallet| wallet.address()).collect();
    let owners = (0..plan.machines).filter_map(owner).map(|wallet| wallet.address());
    let informer = wallet(INFORMER).map(|wallet| wallet.address());
    let dissenter = dissenter().filter(|_| plan.dissent.is_some()).map(|wallet| wallet.address());
    let (networks, provider) = (networks(plan), providers(plan));
    let people = citizens.iter().copied().chain(owners).chain(informer).chain(dissenter);
    let people = people.chain(provider.clone());
    let rich = provider.map(|person| (person, Micros(DEPOSIT)));
    let stable = citizens.iter().map(|person| (*person, Micros(STABLE))).chain(rich);
    let stable = stable.collect();
    let first = |machine: usize| Some(seat(machine)?.0.validator(owner(machine)?.address()).into());
    Genesis::found(Founding {
        chain_id: CHAIN,
        timestamp_ms: BEGIN * 1_000,
        term_length: plan.term_length,
        validators: (0..plan.seats).filter_map(first).collect(),
        allocations: people.map(|person| (person, U256::from(COINS))).collect(),
        contracts: GenesisConfig {
            clock: CLOCK,
            dispute_epochs: plan.dispute_epochs,
            validators: Vec::new(),
            seats: SeatRules {
                seats_max: plan.seats_max,
                unbonding_terms: 3,
                ..SeatRules::default()
            },
            guardian: Address::repeat_byte(0xB0),
            pause_blocks_max: 10,
            breaker_window: 20,
            breaker_share: Ppm::ONE,
            breaker_floor: Micros(0),
            stablecoin: stable,
            networks,
        },
    })
}

/// A transaction on its way.
#[derive(Clone, Debug)]
pub struct Sent {
    /// Its bytes.
    pub raw: Vec<u8>,
    hash: B256,
    at: Duration,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Role {
    /// Whether it has allowed `Dollars` to take its test dollars.
    Citizen(bool),
    /// Of which machine, and whether its bond is paid and its key registered.
    Owner(usize, bool, bool),
    Informer,
}

#[derive(Debug)]
struct Person {
    wallet: PrivateKeySigner,
    waits: Option<Sent>,
    role: Role,
}

/// All people.
#[derive(Debug)]
pub struct People {
    all: Vec<Person>,
    /// Double votes to be reported.
    reports: VecDeque<DoubleVote>,
    reported: BTreeSet<B256>,
}

/// What a transaction does: to whom, with how much coin, with what input.
pub type Act = (Address, U256, Bytes);

impl People {
    /// The people of a plan.
    pub fn new(plan: &Plan) -> Self {
        let person = |wallet, role| Person { wallet, waits: None, role };
        let citizens = (0..PEOPLE).filter_map(wallet);
        let mut all: Vec<_> = citizens.map(|wallet| person(wallet, Role::Citizen(false))).collect();
        all.extend(wallet(INFORMER).map(|wallet| person(wallet, Role::Informer)));
        let owners = if plan.rotation { plan.machines } else { 0 };
        all.extend((0..owners).filter_map(|machine| {
            let seated = machine < plan.seats;
            Some(person(owner(machine)?, Role::Owner(machine, seated, seated)))
        }));
        Self { all, reports: VecDeque::new(), reported: BTreeSet::new() }
    }

    /// All accounts that ever take part in a world of so many machines.
    pub fn accounts(&self, machines: usize) -> BTreeSet<Address> {
        let people = self.all.iter().map(|person| person.wallet.address());
        let owners = (0..machines).filter_map(owner).map(|wallet| wallet.address());
        let providers = [founder(), customer(), dissenter()].into_iter().flatten();
        let providers = providers.map(|wallet| wallet.address());
        people.chain(owners).chain(providers).collect()
    }

    /// Whom a censor censors.
    pub fn victim(&self) -> Address {
        self.all.first().map_or(Address::ZERO, |person| person.wallet.address())
    }

    /// How many wait for a transaction to become final.
    pub fn waiting(&self) -> usize {
        self.all.iter().filter(|person| person.waits.is_some()).count()
    }

    /// Has a double vote reported, one a key; says whether it is the first of its key.
    pub fn report(&mut self, vote: DoubleVote) -> bool {
        let new = self.reported.insert(vote.key);
        if new {
            self.reports.push_back(vote);
        }
        new
    }

    /// A new transaction of somebody who waits for none, or nothing.
    pub fn send(&mut self, now: Duration, chain: &Chronicle, rng: &mut StdRng) -> Option<Sent> {
        let index = rng.random_range(0..self.all.len());
        let whom = self.all[rng.random_range(0..self.all.len())].wallet.address();
        let person = &mut self.all[index];
        if person.waits.is_some() {
            return None;
        }
        let act = match person.role {
            Role::Citizen(_) => citizen(person, whom, rng),
            Role::Owner(..) => bonds(person, rng)?,
            Role::Informer => accuse(self.reports.pop_front()?),
        };
        let raw = sign(&person.wallet, chain.nonce(person.wallet.address()), act)?;
        let sent = Sent { hash: keccak256(&raw), raw, at: now };
        person.waits = Some(sent.clone());
        Some(sent)
    }

    /// Those who learn that their transaction is final stop waiting; gives what is to be sent again.
    pub fn hear(&mut self, now: Duration, chain: &Chronicle) -> Vec<Sent> {
        let mut again = Vec::new();
        for person in &mut self.all {
            let Some(sent) = &mut person.waits else { continue };
            if chain.place(sent.hash).is_some() {
                person.waits = None;
            } else if now.saturating_sub(sent.at) > PATIENCE {
                sent.at = now;
                again.push(sent.clone());
            }
        }
        again
    }
}

/// Calls a contract.
pub fn call(to: Address, call: &impl SolCall) -> Act {
    (to, U256::ZERO, call.abi_encode().into())
}

/// What a citizen does next.
fn citizen(person: &mut Person, whom: Address, rng: &mut StdRng) -> Act {
    let amount = U256::from(rng.random_range(1..1_000u64));
    match rng.random_range(0..6u8) {
        0 | 1 => (whom, U256::from(COIN) / amount, Bytes::new()),
        2 => call(STABLECOIN, &IToken::transferCall { to: whom, value: amount }),
        // More than anybody has: it fails, and pays.
        3 => call(STABLECOIN, &IToken::transferCall { to: whom, value: U256::MAX }),
        4 if person.role == Role::Citizen(true) => {
            call(DOLLARS, &IDollars::depositCall { stable: amount })
        }
        4 => {
            person.role = Role::Citizen(true);
            call(STABLECOIN, &IToken::approveCall { spender: DOLLARS, value: U256::from(STABLE) })
        }
        _ => call(DOLLARS, &IDollars::redeemCall { amount }),
    }
}

/// What the owner of a machine does next.
fn bonds(person: &mut Person, rng: &mut StdRng) -> Option<Act> {
    let Role::Owner(machine, bonded, registered) = &mut person.role else { return None };
    let coins = U256::from(COIN) * U256::from(rng.random_range(1..400u64));
    let bond = |coins| (VALIDATORS, coins, IValidators::bondCall {}.abi_encode().into());
    if !*bonded {
        *bonded = true;
        return Some(bond(coins + U256::from(COIN) * U256::from(800)));
    }
    if !*registered {
        *registered = true;
        return Some(call(VALIDATORS, &register(*machine, person.wallet.address())?));
    }
    Some(match rng.random_range(0..4u8) {
        0 | 1 => bond(coins),
        2 => call(VALIDATORS, &IValidators::unbondCall { amount: coins }),
        _ => call(VALIDATORS, &IValidators::withdrawCall {}),
    })
}

/// Registers a machine's key for its owner.
fn register(machine: usize, owner: Address) -> Option<IValidators::registerCall> {
    let (keys, secret) = seat(machine)?;
    let validator = keys.validator(owner);
    let payload = contracts::registration(CHAIN, owner, owner, validator.key);
    let proof = secret.sign(contracts::REGISTRATION_NAMESPACE, &payload);
    Some(IValidators::registerCall {
        key: validator.key,
        seedKey: Bytes::copy_from_slice(validator.seed_key.as_slice()),
        possession: Bytes::copy_from_slice(validator.possession.as_slice()),
        proof: Bytes::copy_from_slice(proof.as_ref()),
        account: owner,
        endpoint: String::new(),
    })
}

/// Reports a double vote.
fn accuse(vote: DoubleVote) -> Act {
    call(
        VALIDATORS,
        &IValidators::accuseCall { first: vote.first.into(), second: vote.second.into() },
    )
}

/// The bytes of a transaction; nothing if it cannot be signed.
pub fn sign(wallet: &PrivateKeySigner, nonce: u64, (to, value, input): Act) -> Option<Vec<u8>> {
    let tx = TxEip1559 {
        chain_id: CHAIN,
        nonce,
        gas_limit: if input.is_empty() { 21_000 } else { 5_000_000 },
        max_fee_per_gas: 10_000_000_000,
        max_priority_fee_per_gas: 1_000_000_000,
        to: TxKind::Call(to),
        value,
        input,
        ..TxEip1559::default()
    };
    let signature = wallet.sign_hash_sync(&tx.signature_hash()).ok()?;
    Some(tx.into_signed(signature).encoded_2718())
}
