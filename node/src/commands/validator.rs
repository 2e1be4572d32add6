//! `wayleave validator`: bonds, keys and seats, by transactions to the contract `Validators`.
//!
//! The account in a node's folder votes in settlements and by default also owns bond and keys. An owner
//! that should not lie on a machine that is online all day is another account, named by `--owner-key`.

use super::key;
use crate::{
    cli::{self, Validator},
    devnet::accounts,
    keys::{Card, KeyFiles},
    out, units,
};
use alloy_primitives::{Address, B256, U256};
use alloy_signer_local::PrivateKeySigner;
use anyhow::{Context as _, bail};
use client::{
    Client, Intent, Revert, SendError,
    abi::IValidators::{self, InsufficientBond, KeyInUse},
    address,
};
use serde::Serialize;
use serde_json::json;

/// The most registered keys that `status` looks at.
const KEYS_MAX: u64 = 1_024;

/// Runs a validator command.
pub(crate) async fn run(command: Validator, json: bool) -> anyhow::Result<()> {
    match command {
        Validator::Status(arguments) => status(&arguments, json).await,
        Validator::Bond(cli::Amount { coins, owner }) => {
            let intent = Intent::call(address::VALIDATORS, &IValidators::bondCall {});
            let acting = Acting::open(&owner).await?;
            let said = format!("bonded {}", units::coins(coins));
            acting.send(Intent { value: coins, ..intent }, &said, json).await
        }
        Validator::Unbond(cli::Amount { coins, owner }) => {
            let acting = Acting::open(&owner).await?;
            let call = IValidators::unbondCall { amount: coins };
            let said = format!("asked {} back", units::coins(coins));
            acting.send(Intent::call(address::VALIDATORS, &call), &said, json).await
        }
        Validator::Withdraw(owner) => {
            let call = Intent::call(address::VALIDATORS, &IValidators::withdrawCall {});
            Acting::open(&owner).await?.send(call, "withdrew what was free", json).await
        }
        Validator::Register(owner) => register(&owner, json).await,
        Validator::Replace(cli::OfKey { key, owner }) => replace(key, &owner, json).await,
        Validator::Retire(cli::OfKey { key, owner }) => {
            let call = Intent::call(address::VALIDATORS, &IValidators::retireCall { key });
            Acting::open(&owner).await?.send(call, &format!("retired {key}"), json).await
        }
        Validator::Endpoint(cli::Endpoint { endpoint, owner }) => {
            let key = Card::read(&KeyFiles::new(&owner.dir).card())?.key;
            let call = IValidators::setEndpointCall { key, endpoint: endpoint.to_string() };
            let said = format!("{key} is dialled at {endpoint}");
            let call = Intent::call(address::VALIDATORS, &call);
            Acting::open(&owner).await?.send(call, &said, json).await
        }
    }
}

/// The owner of bonds and keys, at a ledger.
struct Acting {
    ledger: Client,
    signer: PrivateKeySigner,
    passphrase: String,
}

impl Acting {
    async fn open(owner: &cli::Owner) -> anyhow::Result<Self> {
        let ledger = owner.at.ledger().connect().await?;
        let file = match &owner.owner_key {
            Some(file) => file.clone(),
            None => KeyFiles::new(&owner.dir).account(),
        };
        let passphrase = owner.passphrase.read()?;
        let signer = key::open(&file, &passphrase)?;
        accounts::refuse_outside_devnet(signer.address(), ledger.chain_id())?;
        Ok(Self { ledger, signer, passphrase })
    }

    async fn send(&self, intent: Intent, said: &str, json: bool) -> anyhow::Result<()> {
        let receipt = self.ledger.send_intent(&self.signer, intent).await.map_err(explain)?;
        let (transaction, height) = (receipt.transaction, receipt.height);
        if json {
            let owner = self.signer.address();
            let (done, height) = (said, height.0);
            return out::json(&json!({
                "owner": owner, "done": done, "transaction": transaction, "height": height,
            }));
        }
        out::line(format!("{said} in block {height}"));
        Ok(())
    }

    /// What a registration of the folder's key says.
    fn registration(&self, files: &KeyFiles) -> anyhow::Result<IValidators::registerCall> {
        let card = Card::read(&files.card())?;
        let keys = files.open(&self.passphrase)?.consensus();
        let seat = card.seat();
        if keys.validator(card.account) != seat {
            bail!("{} is not the card of the seat beside it", files.card().display());
        }
        let (chain, owner) = (self.ledger.chain_id(), self.signer.address());
        Ok(IValidators::registerCall {
            key: seat.key,
            seedKey: seat.seed_key.to_vec().into(),
            possession: seat.possession.to_vec().into(),
            proof: keys.proof(chain, owner, seat.account).to_vec().into(),
            account: seat.account,
            endpoint: card.endpoint.to_string(),
        })
    }
}

/// Says of the commonest refusals what to do about them.
fn explain(error: SendError) -> anyhow::Error {
    let revert = error.revert().and_then(Revert::as_error::<IValidators::IValidatorsErrors>);
    let text = match revert {
        Some(IValidators::IValidatorsErrors::InsufficientBond(InsufficientBond {
            owner,
            bond,
            needed,
        })) => format!(
            "{owner} has bonded {} coins, and this needs {}: `wayleave validator bond COINS` bonds more",
            units::coins(U256::from(bond)),
            units::coins(U256::from(needed))
        ),
        Some(IValidators::IValidatorsErrors::KeyInUse(KeyInUse { key })) => {
            format!("{key} is registered already: `wayleave validator status` shows all keys")
        }
        _ => return error.into(),
    };
    anyhow::Error::msg(text)
}

async fn register(owner: &cli::Owner, json: bool) -> anyhow::Result<()> {
    let acting = Acting::open(owner).await?;
    let call = acting.registration(&KeyFiles::new(&owner.dir))?;
    let key = call.key;
    acting
        .send(Intent::call(address::VALIDATORS, &call), &format!("registered {key}"), json)
        .await?;
    if !json {
        let terms = acting.ledger.call(address::VALIDATORS, IValidators::termsCall {}).await?;
        // The election at the beginning of the next term is for the one after it.
        let from = terms.current.saturating_add(2);
        out::line(format!(
            "if its bond is enough for a seat, it has one from term {from} on, block {}; until then its node follows",
            from.saturating_mul(terms.length)
        ));
    }
    Ok(())
}

async fn replace(old: B256, owner: &cli::Owner, json: bool) -> anyhow::Result<()> {
    let acting = Acting::open(owner).await?;
    let IValidators::registerCall { key, seedKey, possession, proof, account, endpoint } =
        acting.registration(&KeyFiles::new(&owner.dir))?;
    let call = IValidators::replaceCall { old, key, seedKey, possession, proof, account, endpoint };
    let said = format!("{key} takes the place of {old}");
    acting.send(Intent::call(address::VALIDATORS, &call), &said, json).await
}

/// What `status` shows.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Status {
    height: u64,
    term: u64,
    /// Blocks of a term.
    term_length: u64,
    /// The first block of the next term.
    next_term_at: u64,
    /// Seats of the running committee and of the next.
    seats: usize,
    seats_next: usize,
    /// The least bond of a key, in whole coins.
    bond_min: String,
    owner: Option<Owner>,
    /// The folder's key, if nobody registered it.
    unregistered: Option<B256>,
    keys: Vec<Key>,
}

/// What an owner has bonded, in whole coins.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Owner {
    account: Address,
    bonded: String,
    /// Asked back, and the term from which it can be withdrawn.
    unbonding: String,
    free_from_term: u64,
}

/// A registered key.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Key {
    key: B256,
    owner: Address,
    account: Address,
    endpoint: String,
    /// Whether it has a seat in the running term and in the next.
    seat: bool,
    seat_next: bool,
    /// Whether it is the key of the folder.
    ours: bool,
    /// Whether it was retired, replaced or convicted: it keeps the seats to which it was elected.
    gone: bool,
}

async fn status(arguments: &cli::ValidatorStatus, json: bool) -> anyhow::Result<()> {
    let ledger = arguments.at.ledger().connect().await?;
    let card =
        arguments.dir.as_ref().map(|dir| Card::read(&KeyFiles::new(dir).card())).transpose()?;
    let owner = arguments.owner.or(card.as_ref().map(|card| card.account));
    let status = Status::read(&ledger, card.map(|card| card.key), owner).await?;
    if json {
        return out::json(&status);
    }
    status.print();
    Ok(())
}

/// A term that would end only here is meant never to: that of a devnet, whose validator stays.
const ENDLESS: u64 = u64::MAX / 4;

impl Status {
    async fn read(
        ledger: &Client,
        ours: Option<B256>,
        owner: Option<Address>,
    ) -> anyhow::Result<Self> {
        // All of one height, and all keys in a few round trips.
        let height = ledger.head().await?;
        let at = address::VALIDATORS;
        let ask = |term| ledger.call_at(at, IValidators::committeeCall { term }, height);
        let terms = ledger.call_at(at, IValidators::termsCall {}, height).await?;
        let next = terms.current.saturating_add(1);
        let (seats, seats_next) = (ask(terms.current).await?, ask(next).await?);
        let has = |seats: &[IValidators::Seat], key| seats.iter().any(|seat| seat.key == key);
        let count = ledger.call_at(at, IValidators::keyCountCall {}, height).await?;
        let names: Vec<_> =
            (0..count.min(KEYS_MAX)).map(|index| IValidators::keyAtCall { index }).collect();
        let mut names = ledger.call_each(at, &names, height).await?;
        for seat in seats.iter().chain(&seats_next) {
            if !names.contains(&seat.key) {
                names.push(seat.key);
            }
        }
        let infos: Vec<_> = names.iter().map(|&key| IValidators::keyInfoCall { key }).collect();
        let infos = ledger.call_each(at, &infos, height).await?;
        let key = |(key, info): (B256, IValidators::keyInfoReturn)| Key {
            key,
            owner: info.owner,
            account: info.account,
            endpoint: info.endpoint,
            seat: has(&seats, key),
            seat_next: has(&seats_next, key),
            ours: ours == Some(key),
            gone: info.retired || info.convicted,
        };
        let mut keys: Vec<_> = names.into_iter().zip(infos).map(key).collect();
        keys.sort_by_key(|key| key.key);
        let unregistered = ours.filter(|ours| keys.iter().all(|key| key.key != *ours));
        Ok(Self {
            height: height.0,
            term: terms.current,
            term_length: terms.length,
            next_term_at: next.saturating_mul(terms.length),
            seats: seats.len(),
            seats_next: seats_next.len(),
            bond_min: units::coins(terms.bondMin),
            owner: match owner {
                Some(account) => Some(Owner::read(ledger, account).await?),
                None => None,
            },
            unregistered,
            keys,
        })
    }

    fn print(&self) {
        let fact = |name: &str, value: String| (name.to_owned(), value);
        let Self { height, term, next_term_at, seats, seats_next, bond_min, .. } = self;
        let ends = if *next_term_at >= ENDLESS {
            "which does not end".to_owned()
        } else {
            format!("the next begins at block {next_term_at}")
        };
        let mut rows = vec![
            fact("block", height.to_string()),
            fact("term", format!("{term}, {ends}")),
            fact("seats", format!("{seats}, in the next term {seats_next}")),
            fact("least bond", format!("{bond_min} coins a key, and so a vote")),
        ];
        if let Some(Owner { account, bonded, unbonding, free_from_term }) = &self.owner {
            rows.push(fact("owner", account.to_string()));
            rows.push(fact("bonded", format!("{bonded} coins")));
            if unbonding != "0" {
                let text = format!("{unbonding} coins, free from term {free_from_term} on");
                rows.push(fact("asked back", text));
            }
        }
        for Key { key, endpoint, seat, seat_next, ours, gone, .. } in &self.keys {
            let seated = match (seat, seat_next) {
                (true, true) => "has a seat",
                (true, false) => "has a seat until the next term",
                (false, true) => "has a seat from the next term on",
                (false, false) => "has no seat",
            };
            let name = if *ours { "this node" } else { "key" };
            let place = if endpoint.is_empty() { "" } else { "@" };
            let gone = if *gone { ", and is elected no more" } else { "" };
            rows.push(fact(name, format!("{key}{place}{endpoint} {seated}{gone}")));
        }
        if let Some(key) = self.unregistered {
            rows.push(fact("this node", format!("{key} is not registered")));
        }
        out::table(&rows);
    }
}

impl Owner {
    async fn read(ledger: &Client, account: Address) -> anyhow::Result<Self> {
        let bond = IValidators::bondOfCall { owner: account };
        let bond = ledger.call(address::VALIDATORS, bond).await.context("reading the bond")?;
        let asked = IValidators::unbondingCall { owner: account };
        let asked = ledger.call(address::VALIDATORS, asked).await?;
        Ok(Self {
            account,
            bonded: units::coins(U256::from(bond.amount)),
            unbonding: units::coins(U256::from(asked.amount)),
            free_from_term: asked.until,
        })
    }
}
