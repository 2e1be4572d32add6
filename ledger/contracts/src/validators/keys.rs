//! Registering, replacing and retiring keys.

use super::state::{Active, Key, Owner, POSSESSION_BYTES, SEED_KEY_BYTES, Seed, Validators};
use crate::abi::ISystem::TooMany;
use crate::abi::IValidators::{
    EndpointSet, Full, InsufficientBond, InvalidAccount, InvalidKey, InvalidSeedKey, KeyInUse,
    KeyRetired, NotOwner, Registered, Retired, TooManyKeys, keyInfoReturn, registerCall,
    replaceCall,
};
use crate::address::{VALIDATORS, is_system};
use crate::context::{Checked as _, Context};
use crate::env::{Failure, ensure};
use crate::signature;
use alloy_primitives::{Address, B256, U256};
use std::collections::BTreeMap;

/// The most keys in use.
pub(crate) const KEYS_MAX: u64 = 1_024;
/// The most keys in use of one owner: half of the largest committee.
pub(crate) const KEYS_PER_OWNER: u64 = 128;
/// The longest endpoint, in bytes: an IPv6 address with zone and port fits.
pub(super) const ENDPOINT_MAX: usize = 64;

/// Separates registrations from all else that a key signs.
pub const REGISTRATION_NAMESPACE: &[u8] = b"wayleave/validator/register/1";

/// What a key signs, in [`REGISTRATION_NAMESPACE`] (as commonware's signers frame it: the length of the
/// namespace, the namespace, this), so that its owner can register it with this account.
pub fn registration(chain_id: u64, owner: Address, account: Address, key: B256) -> Vec<u8> {
    [&chain_id.to_be_bytes()[..], owner.as_slice(), account.as_slice(), key.as_slice()].concat()
}

/// A key's place: who owns it, which place in the order it has, who gets what it earns.
#[derive(Clone, Copy)]
pub(super) struct Place {
    pub(super) owner: Address,
    pub(super) order: u64,
    pub(super) account: Address,
}

impl Validators {
    pub(super) fn register(
        &self,
        cx: &mut Context<'_>,
        call: &registerCall,
    ) -> Result<(), Failure> {
        let owner = cx.caller();
        let seed = self.check(cx, call)?;
        let Owner { bond, keys } = self.owners.get(cx, owner)?;
        ensure!(keys < KEYS_PER_OWNER, TooManyKeys { owner, limit: KEYS_PER_OWNER });
        let needed = U256::from(self.bond_min.get(cx)?) * U256::from(keys + 1);
        let error = InsufficientBond { owner, bond: U256::from(bond), needed };
        ensure!(U256::from(bond) >= needed, error);
        if self.active.len(cx)? >= KEYS_MAX {
            self.displace(cx, bond / u128::from(keys + 1))?;
        }
        let place = Place { owner, order: self.next_order(cx)?, account: call.account };
        self.insert(cx, call.key, place, &seed)?;
        self.announce(cx, owner, call)
    }

    pub(super) fn replace(&self, cx: &mut Context<'_>, call: replaceCall) -> Result<(), Failure> {
        let replaceCall { old, key, seedKey, possession, proof, account, endpoint } = call;
        let call = registerCall { key, seedKey, possession, proof, account, endpoint };
        let Key { owner, order, .. } = self.owned_by_caller(cx, old)?;
        let seed = self.check(cx, &call)?;
        self.remove(cx, old)?;
        // The new key stands where the old one stood, so that it gets the seat that was the old one's.
        self.insert(cx, key, Place { owner, order, account }, &seed)?;
        self.announce(cx, owner, &call)
    }

    pub(super) fn retire(&self, cx: &mut Context<'_>, key: B256) -> Result<(), Failure> {
        self.owned_by_caller(cx, key)?;
        self.remove(cx, key)
    }

    pub(super) fn set_endpoint(
        &self,
        cx: &mut Context<'_>,
        key: B256,
        endpoint: &str,
    ) -> Result<(), Failure> {
        self.owned_by_caller(cx, key)?;
        check_endpoint(endpoint)?;
        self.endpoints.at_key(cx, key)?.set(cx, endpoint.as_bytes())?;
        cx.emit(VALIDATORS, &EndpointSet { key, endpoint: endpoint.to_owned() })
    }

    pub(super) fn info(&self, cx: &mut Context<'_>, key: B256) -> Result<keyInfoReturn, Failure> {
        let Key { owner, retired, convicted, account, .. } = self.keys.get(cx, key)?;
        let seed = self.seeds.get(cx, key)?;
        Ok(keyInfoReturn {
            owner,
            account,
            seedKey: seed.key().into(),
            possession: seed.possession().into(),
            endpoint: self.endpoints.at_key(cx, key)?.get_string(cx)?,
            retired,
            convicted,
        })
    }

    /// Checks all that does not depend on bonds, and gives the seed key to be kept.
    fn check(&self, cx: &mut Context<'_>, call: &registerCall) -> Result<Seed, Failure> {
        let (owner, key, account) = (cx.caller(), call.key, call.account);
        check_endpoint(&call.endpoint)?;
        let earns = !account.is_zero() && !is_system(account);
        ensure!(earns, InvalidAccount { account });
        ensure!(self.keys.get(cx, key)?.owner.is_zero(), KeyInUse { key });
        let payload = registration(cx.chain_id(), owner, account, key);
        let held = signature::validator_signed(
            cx,
            key,
            (REGISTRATION_NAMESPACE, &payload),
            call.proof.as_ref(),
        )?;
        ensure!(held, InvalidKey { key });
        let seed_key: Option<&[u8; SEED_KEY_BYTES]> = call.seedKey.as_ref().try_into().ok();
        let possession: Option<&[u8; POSSESSION_BYTES]> = call.possession.as_ref().try_into().ok();
        let (Some(seed_key), Some(possession)) = (seed_key, possession) else {
            return Err(InvalidSeedKey { key }.into());
        };
        let held = signature::seed_key_possessed(cx, seed_key, possession)?;
        ensure!(held, InvalidSeedKey { key });
        Ok(Seed::new(seed_key, possession))
    }

    /// The next place in the order of registration.
    pub(super) fn next_order(&self, cx: &mut Context<'_>) -> Result<u64, Failure> {
        let order = self.orders.get(cx)?.plus(1)?;
        self.orders.set(cx, &order)?;
        Ok(order)
    }

    /// Puts a checked key among those in use.
    pub(super) fn insert(
        &self,
        cx: &mut Context<'_>,
        key: B256,
        place: Place,
        seed: &Seed,
    ) -> Result<(), Failure> {
        let Place { owner, order, account } = place;
        let index = self.active.push(cx, &Active { key, owner, order })?;
        let record = Key { owner, order, retired: false, convicted: false, account, index };
        self.keys.set(cx, key, &record)?;
        self.seeds.set(cx, key, seed)?;
        let before = self.owners.get(cx, owner)?;
        self.owners.set(cx, owner, &Owner { keys: before.keys.plus(1)?, ..before })
    }

    /// Writes the endpoint and tells the world of a new key.
    fn announce(
        &self,
        cx: &mut Context<'_>,
        owner: Address,
        call: &registerCall,
    ) -> Result<(), Failure> {
        let registerCall { key, account, endpoint, .. } = call;
        if !endpoint.is_empty() {
            self.endpoints.at_key(cx, *key)?.set(cx, endpoint.as_bytes())?;
        }
        let (key, account, endpoint) = (*key, *account, endpoint.clone());
        cx.emit(VALIDATORS, &Registered { key, owner, account, endpoint })
    }

    /// Takes a key out of those in use.
    pub(super) fn remove(&self, cx: &mut Context<'_>, key: B256) -> Result<(), Failure> {
        let record = self.keys.get(cx, key)?;
        if let Some(moved) = self.active.swap_remove(cx, record.index)? {
            let other = self.keys.get(cx, moved.key)?;
            self.keys.set(cx, moved.key, &Key { index: record.index, ..other })?;
        }
        let owner = record.owner;
        self.keys.set(cx, key, &Key { retired: true, index: 0, ..record })?;
        let before = self.owners.get(cx, owner)?;
        self.owners.set(cx, owner, &Owner { keys: before.keys.minus(1)?, ..before })?;
        cx.emit(VALIDATORS, &Retired { key, owner })
    }

    /// Retires the newest key of the owner with the least bond a key, if that is less than `offer`.
    fn displace(&self, cx: &mut Context<'_>, offer: u128) -> Result<(), Failure> {
        let mut newest: BTreeMap<Address, (u64, B256)> = BTreeMap::new();
        for Active { key, owner, order } in self.active.all(cx)? {
            let entry = newest.entry(owner).or_insert((order, key));
            *entry = (*entry).max((order, key));
        }
        let mut cheapest: Option<(u128, B256)> = None;
        for (owner, (_, key)) in newest {
            let Owner { bond, keys } = self.owners.get(cx, owner)?;
            let each = bond / u128::from(keys.max(1));
            if cheapest.is_none_or(|(least, _)| each < least) {
                cheapest = Some((each, key));
            }
        }
        let (least, key) = cheapest.unwrap_or((u128::MAX, B256::ZERO));
        ensure!(offer > least, Full { limit: KEYS_MAX, cheapest: U256::from(least) });
        self.remove(cx, key)
    }

    /// The record of a key in use that the caller owns.
    fn owned_by_caller(&self, cx: &mut Context<'_>, key: B256) -> Result<Key, Failure> {
        let (record, caller) = (self.keys.get(cx, key)?, cx.caller());
        ensure!(record.owner == caller, NotOwner { key, caller });
        ensure!(!record.retired, KeyRetired { key });
        Ok(record)
    }
}

pub(super) fn check_endpoint(endpoint: &str) -> Result<(), Failure> {
    let (count, limit) = (U256::from(endpoint.len()), U256::from(ENDPOINT_MAX));
    ensure!(endpoint.len() <= ENDPOINT_MAX, TooMany { count, limit });
    Ok(())
}
