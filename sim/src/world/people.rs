//! Who uses the ledger: a few people with coins, each sending one signed transaction after the other.
//!
//! A person waits until its transaction is final, and sends it again, to every machine, when that takes
//! long: machines keep what waits in memory only. So a crash loses nothing that a person was told is final,
//! and whatever was sent becomes final once the world is healed.

use crate::checkers::chronicle::Chronicle;
use alloy_consensus::{SignableTransaction as _, TxEip1559};
use alloy_eips::eip2718::Encodable2718 as _;
use alloy_primitives::{Address, B256, Bytes, TxKind, U256, keccak256};
use alloy_signer::SignerSync as _;
use alloy_signer_local::PrivateKeySigner;
use alloy_sol_types::SolCall as _;
use commonware_codec::{Copying, DecodeExt as _};
use commonware_cryptography::ed25519;
use consensus::{Founding, Genesis, GenesisError, ValidatorKeys};
use contracts::{
    GenesisConfig,
    abi::{IDollars, IToken},
    address::{DOLLARS, STABLECOIN},
};
use protocol::{Micros, Ppm, clock::EpochClock};
use rand::{RngExt as _, rngs::StdRng};
use std::{collections::BTreeSet, time::Duration};

/// EIP-155 id of simulated ledgers.
pub const CHAIN: u64 = 0x51;
/// People.
const PEOPLE: u8 = 5;
const COIN: u128 = 1_000_000_000_000_000_000;
const COINS: u128 = 1_000 * COIN;
const STABLE: u64 = 5_000_000;
/// Begin of simulated time, in seconds since 1970.
pub const BEGIN: u64 = 1_800_000_000;
/// How long a person waits before sending again.
const PATIENCE: Duration = Duration::from_secs(6);

/// The secrets of the seat on a machine.
pub fn seat(machine: usize) -> Option<(ValidatorKeys, ed25519::PrivateKey)> {
    let n = u8::try_from(machine).ok()?;
    let network = *blake3::hash(&[b's', n]).as_bytes();
    let mut seed = [0; 32];
    seed[31] = n.checked_add(1)?;
    let keys = ValidatorKeys::from_secrets(&network, &seed).ok()?;
    Some((keys, ed25519::PrivateKey::decode(Copying(&network[..])).ok()?))
}

fn earner(machine: usize) -> Address {
    Address::repeat_byte(0xA0u8.wrapping_add(u8::try_from(machine).unwrap_or(u8::MAX)))
}

fn wallet(person: u8) -> Option<PrivateKeySigner> {
    PrivateKeySigner::from_slice(&[person.saturating_add(1); 32]).ok()
}

/// A ledger with one seat on each of `machines`.
///
/// # Errors
/// The numbers make no ledger.
pub fn genesis(machines: usize, term_length: u64) -> Result<Genesis, GenesisError> {
    let people: Vec<Address> =
        (0..PEOPLE).filter_map(wallet).map(|wallet| wallet.address()).collect();
    Genesis::found(Founding {
        chain_id: CHAIN,
        timestamp_ms: BEGIN * 1_000,
        term_length,
        validators: (0..machines)
            .filter_map(|machine| Some(seat(machine)?.0.validator(earner(machine))))
            .collect(),
        allocations: people.iter().map(|person| (*person, U256::from(COINS))).collect(),
        contracts: GenesisConfig {
            clock: EpochClock { length: 8, grace: 2 },
            dispute_epochs: 2,
            validators: Vec::new(),
            guardian: Address::repeat_byte(0xB0),
            pause_blocks_max: 10,
            breaker_window: 20,
            breaker_share: Ppm::ONE,
            breaker_floor: Micros(0),
            stablecoin: people.iter().map(|person| (*person, Micros(STABLE))).collect(),
            networks: Vec::new(),
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

#[derive(Debug)]
struct Person {
    wallet: PrivateKeySigner,
    waits: Option<Sent>,
    approved: bool,
}

/// All people.
#[derive(Debug)]
pub struct People(Vec<Person>);

impl Default for People {
    fn default() -> Self {
        let person = |wallet| Person { wallet, waits: None, approved: false };
        Self((0..PEOPLE).filter_map(wallet).map(person).collect())
    }
}

impl People {
    /// All accounts that ever take part in a world of so many machines.
    pub fn accounts(&self, machines: usize) -> BTreeSet<Address> {
        let people = self.0.iter().map(|person| person.wallet.address());
        people.chain((0..machines).map(earner)).chain([Address::ZERO]).collect()
    }

    /// Whom a censor censors.
    pub fn victim(&self) -> Address {
        self.0.first().map_or(Address::ZERO, |person| person.wallet.address())
    }

    /// How many wait for a transaction to become final.
    pub fn waiting(&self) -> usize {
        self.0.iter().filter(|person| person.waits.is_some()).count()
    }

    /// A new transaction of somebody who waits for none, or nothing.
    pub fn send(&mut self, now: Duration, chain: &Chronicle, rng: &mut StdRng) -> Option<Sent> {
        let index = rng.random_range(0..self.0.len());
        let whom = self.0[rng.random_range(0..self.0.len())].wallet.address();
        let person = &mut self.0[index];
        if person.waits.is_some() {
            return None;
        }
        let (to, value, input) = act(person, whom, rng);
        let nonce = chain.nonce(person.wallet.address());
        let raw = sign(&person.wallet, nonce, (to, value, input))?;
        let sent = Sent { hash: keccak256(&raw), raw, at: now };
        person.waits = Some(sent.clone());
        Some(sent)
    }

    /// Those who learn that their transaction is final stop waiting; gives what is to be sent again.
    pub fn hear(&mut self, now: Duration, chain: &Chronicle) -> Vec<Sent> {
        let mut again = Vec::new();
        for person in &mut self.0 {
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

/// What a person does next.
fn act(person: &mut Person, whom: Address, rng: &mut StdRng) -> (Address, U256, Bytes) {
    let amount = U256::from(rng.random_range(1..1_000u64));
    match rng.random_range(0..6u8) {
        0 | 1 => (whom, U256::from(COIN) / amount, Bytes::new()),
        2 => {
            let call = IToken::transferCall { to: whom, value: amount };
            (STABLECOIN, U256::ZERO, call.abi_encode().into())
        }
        // More than anybody has: it fails, and pays.
        3 => {
            let call = IToken::transferCall { to: whom, value: U256::MAX };
            (STABLECOIN, U256::ZERO, call.abi_encode().into())
        }
        4 if person.approved => {
            let call = IDollars::depositCall { stable: amount };
            (DOLLARS, U256::ZERO, call.abi_encode().into())
        }
        4 => {
            person.approved = true;
            let call = IToken::approveCall { spender: DOLLARS, value: U256::from(STABLE) };
            (STABLECOIN, U256::ZERO, call.abi_encode().into())
        }
        _ => (DOLLARS, U256::ZERO, IDollars::redeemCall { amount }.abi_encode().into()),
    }
}

fn sign(
    wallet: &PrivateKeySigner,
    nonce: u64,
    (to, value, input): (Address, U256, Bytes),
) -> Option<Vec<u8>> {
    let tx = TxEip1559 {
        chain_id: CHAIN,
        nonce,
        gas_limit: if input.is_empty() { 21_000 } else { 500_000 },
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
