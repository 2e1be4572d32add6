//! Validators, their keys, and the committee of a term.
//!
//! Invariants:
//! * every seat has one vote (simplex); stake acts through the number of seats (design 5);
//! * a committee is sorted by network key and holds no key twice, so its digest names it;
//! * every seed key in a committee was registered with a proof of possession;
//! * secrets appear in no log and no `Debug`.

use crate::{
    header::REVEAL_BYTES,
    seed::{KEY_BYTES, SeedKey, SeedSecret},
};
use alloy_primitives::{Address, B256, FixedBytes};
use commonware_codec::{Copying, DecodeExt as _, Encode as _};
use commonware_cryptography::{Hasher as _, Sha256, Signer as _, ed25519};
use commonware_utils::ordered::Set;
use contracts::{REGISTRATION_NAMESPACE, registration};
use protocol::key::DeviceSecret;
use serde::{Deserialize, Serialize};
use std::fmt;

/// Most seats in a committee.
pub const MAX_COMMITTEE: usize = 256;

/// The secret keys of one seat.
#[derive(Clone)]
pub struct ValidatorKeys {
    network: ed25519::PrivateKey,
    seed: SeedSecret,
}

impl fmt::Debug for ValidatorKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let public = B256::from(self.network_key());
        f.debug_struct("ValidatorKeys").field("network", &public).finish_non_exhaustive()
    }
}

/// Bytes that are no BLS secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the seed secret is zero or not below the order of the group")]
pub struct SecretError;

impl ValidatorKeys {
    /// Keys from stored secrets: an Ed25519 seed and a big-endian BLS scalar.
    ///
    /// # Errors
    /// The second is zero or outside the field.
    pub fn from_secrets(network: &[u8; 32], seed: &[u8; 32]) -> Result<Self, SecretError> {
        let network =
            ed25519::PrivateKey::decode(Copying(&network[..])).map_err(|_| SecretError)?;
        let seed = SeedSecret::from_bytes(seed).ok_or(SecretError)?;
        Ok(Self { network, seed })
    }

    /// Both keys from one secret of 32 random bytes, so that one backup holds all of a seat.
    pub fn derive(secret: &[u8; 32]) -> Self {
        let network = blake3::derive_key("wayleave 2026-11 validator network key", secret);
        let mut seed = blake3::derive_key("wayleave 2026-11 validator seed key", secret);
        loop {
            // 255 bits; nine in ten are below the order, so this ends after a round or two.
            seed[0] &= 0x7f;
            if let Ok(keys) = Self::from_secrets(&network, &seed) {
                return keys;
            }
            seed = *blake3::hash(&seed).as_bytes();
        }
    }

    /// The Ed25519 public key: the validator's name in consensus and on the network.
    pub fn network_key(&self) -> [u8; 32] {
        let mut bytes = [0; 32];
        bytes.copy_from_slice(self.network.public_key().as_ref());
        bytes
    }

    /// The network key as that of a batch's author: with it a validator signs what it promises to carry and
    /// what it carries, so that its bond answers for both. All else that the key signs begins with the length
    /// of a namespace, which the texts of evidence never do.
    pub fn author(&self) -> DeviceSecret {
        let mut seed = [0; 32];
        seed.copy_from_slice(&self.network.encode());
        DeviceSecret::from_seed(seed)
    }

    /// What the world may know of this seat, with the account its tips go to.
    pub fn validator(&self, account: Address) -> Validator {
        Validator {
            key: B256::from(self.network_key()),
            seed_key: FixedBytes(self.seed.public()),
            possession: FixedBytes(self.seed.possession()),
            account,
        }
    }

    /// The signature with which `owner` registers these keys for `account` in the contract `Validators` of
    /// the ledger `chain_id`.
    pub fn proof(&self, chain_id: u64, owner: Address, account: Address) -> [u8; 64] {
        let key = B256::from(self.network_key());
        let payload = registration(chain_id, owner, account, key);
        let mut bytes = [0; 64];
        bytes.copy_from_slice(&self.network.sign(REGISTRATION_NAMESPACE, &payload).encode());
        bytes
    }

    pub(crate) const fn signer(&self) -> &ed25519::PrivateKey {
        &self.network
    }

    pub(crate) const fn seed(&self) -> &SeedSecret {
        &self.seed
    }
}

/// A seat: its public keys and the account it earns for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Validator {
    /// Ed25519 public key (RFC 8032), which votes and names the peer.
    pub key: B256,
    /// BLS12-381 public key in the second group, compressed, which reveals the seed.
    pub seed_key: FixedBytes<KEY_BYTES>,
    /// Proof that the seed key's secret is held.
    pub possession: FixedBytes<REVEAL_BYTES>,
    /// Account that receives the tips of this seat's blocks.
    pub account: Address,
}

/// Length of an encoded validator.
const VALIDATOR_BYTES: usize = 32 + KEY_BYTES + REVEAL_BYTES + 20;

impl Validator {
    /// Key, seed key, possession and account, one after the other.
    pub(crate) fn to_bytes(self) -> [u8; VALIDATOR_BYTES] {
        let mut bytes = [0; VALIDATOR_BYTES];
        let mut rest = &mut bytes[..];
        let parts: [&[u8]; 4] =
            [&self.key.0, &self.seed_key.0, &self.possession.0, &self.account.0.0];
        for part in parts {
            let (here, after) = rest.split_at_mut(part.len());
            here.copy_from_slice(part);
            rest = after;
        }
        bytes
    }

    /// Reads what [`Validator::to_bytes`] wrote. Nothing is checked.
    pub(crate) fn from_bytes(bytes: &[u8; VALIDATOR_BYTES]) -> Self {
        const SEED: usize = 32;
        const POSSESSION: usize = SEED + KEY_BYTES;
        const ACCOUNT: usize = POSSESSION + REVEAL_BYTES;
        Self {
            key: B256::from_slice(&bytes[..SEED]),
            seed_key: FixedBytes::from_slice(&bytes[SEED..POSSESSION]),
            possession: FixedBytes::from_slice(&bytes[POSSESSION..ACCOUNT]),
            account: Address::from_slice(&bytes[ACCOUNT..]),
        }
    }
}

/// A list of validators that is no committee.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CommitteeError {
    /// None, or more than [`MAX_COMMITTEE`].
    #[error("a committee has 1 to {MAX_COMMITTEE} seats, not {0}")]
    Size(usize),
    /// A network key that is no point, or that stands twice.
    #[error("validator key {0} is malformed or given twice")]
    Key(B256),
    /// A seed key that is no point or whose possession is not proven.
    #[error("the seed key of validator {0} is malformed or its possession is not proven")]
    SeedKey(B256),
}

#[derive(Clone, Debug)]
struct Seat {
    key: ed25519::PublicKey,
    seed: SeedKey,
    validator: Validator,
}

/// The validators of a term, checked and in order.
#[derive(Clone, Debug)]
pub struct Committee {
    seats: Vec<Seat>,
    digest: B256,
}

impl Committee {
    /// Checks and sorts `validators`.
    ///
    /// # Errors
    /// Too few, too many, malformed or repeated keys, or possession that is not proven.
    pub fn new(validators: &[Validator]) -> Result<Self, CommitteeError> {
        Self::of(validators, Seat::new)
    }

    /// As [`Committee::new`], but seats that this committee has too are not checked again: checking
    /// possession takes about a millisecond a seat.
    pub(crate) fn successor(&self, validators: &[Validator]) -> Result<Self, CommitteeError> {
        Self::of(validators, |validator| {
            let at = self.seats.binary_search_by_key(&validator.key, |seat| seat.validator.key);
            match at.ok().map(|at| &self.seats[at]) {
                Some(seat) if seat.validator == *validator => Ok(seat.clone()),
                _ => Seat::new(validator),
            }
        })
    }

    fn of(
        validators: &[Validator],
        seat: impl FnMut(&Validator) -> Result<Seat, CommitteeError>,
    ) -> Result<Self, CommitteeError> {
        if validators.is_empty() || validators.len() > MAX_COMMITTEE {
            return Err(CommitteeError::Size(validators.len()));
        }
        let mut seats = validators.iter().map(seat).collect::<Result<Vec<_>, _>>()?;
        seats.sort_by_key(|seat| seat.validator.key);
        if let Some(pair) =
            seats.windows(2).find(|pair| pair[0].validator.key == pair[1].validator.key)
        {
            return Err(CommitteeError::Key(pair[0].validator.key));
        }
        let mut bytes = b"wayleave/committee/1".to_vec();
        for Seat { validator, .. } in &seats {
            bytes.extend_from_slice(validator.key.as_slice());
            bytes.extend_from_slice(validator.seed_key.as_slice());
            bytes.extend_from_slice(validator.account.as_slice());
        }
        let digest = B256::from(Sha256::hash(&[&bytes]).0);
        Ok(Self { seats, digest })
    }

    /// SHA-256 over `"wayleave/committee/1"` and each seat's key, seed key and account, by key.
    pub const fn digest(&self) -> B256 {
        self.digest
    }

    /// The seats, sorted by key.
    pub fn validators(&self) -> impl Iterator<Item = &Validator> {
        self.seats.iter().map(|seat| &seat.validator)
    }

    /// Account and seed key of the seat with this network key.
    pub(crate) fn seat(&self, key: &ed25519::PublicKey) -> Option<(Address, &SeedKey)> {
        let seat = self.seats.iter().find(|seat| &seat.key == key)?;
        Some((seat.validator.account, &seat.seed))
    }

    /// The first seat by key, named as the proposer of genesis.
    pub(crate) fn first(&self) -> &ed25519::PublicKey {
        &self.seats[0].key
    }

    /// The voters as simplex wants them.
    pub(crate) fn participants(&self) -> Set<ed25519::PublicKey> {
        // The constructor refused duplicates.
        Set::from_iter_dedup(self.seats.iter().map(|seat| seat.key.clone()))
    }
}

impl Seat {
    fn new(validator: &Validator) -> Result<Self, CommitteeError> {
        let key = ed25519::PublicKey::decode(Copying(validator.key.as_slice()))
            .map_err(|_| CommitteeError::Key(validator.key))?;
        let seed = SeedKey::from_bytes(&validator.seed_key.0)
            .filter(|seed| seed.possessed(&validator.possession.0))
            .ok_or(CommitteeError::SeedKey(validator.key))?;
        Ok(Self { key, seed, validator: *validator })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seats(count: u8) -> Vec<Validator> {
        (0..count)
            .map(|n| ValidatorKeys::derive(&[n; 32]).validator(Address::repeat_byte(n)))
            .collect()
    }

    #[test]
    fn a_digest_names_a_committee_in_any_order() {
        let validators = seats(3);
        let committee = Committee::new(&validators).unwrap();
        let reversed: Vec<_> = validators.iter().rev().copied().collect();
        assert_eq!(Committee::new(&reversed).unwrap().digest(), committee.digest());
        assert_ne!(Committee::new(&validators[..2]).unwrap().digest(), committee.digest());
        let mut other = validators.clone();
        other[0].account = Address::ZERO.create(1);
        assert_ne!(Committee::new(&other).unwrap().digest(), committee.digest());
        let keys: Vec<_> = committee.validators().map(|v| v.key).collect();
        assert!(keys.is_sorted());
        assert_eq!(committee.participants().len(), 3);
    }

    #[test]
    fn a_successor_is_checked_where_it_differs() {
        let validators = seats(4);
        let committee = Committee::new(&validators[..3]).unwrap();
        let next = committee.successor(&validators[1..]).unwrap();
        assert_eq!(next.digest(), Committee::new(&validators[1..]).unwrap().digest());
        let rogue = Validator { possession: validators[0].possession, ..validators[1] };
        let error = committee.successor(&[validators[2], rogue]).unwrap_err();
        assert_eq!(error, CommitteeError::SeedKey(rogue.key));
        assert_eq!(committee.successor(&[]).unwrap_err(), CommitteeError::Size(0));
    }

    #[test]
    fn bad_committees_are_refused() {
        assert_eq!(Committee::new(&[]).unwrap_err(), CommitteeError::Size(0));
        let one = seats(1)[0];
        assert_eq!(Committee::new(&[one, one]).unwrap_err(), CommitteeError::Key(one.key));
        let many = vec![one; MAX_COMMITTEE + 1];
        assert_eq!(Committee::new(&many).unwrap_err(), CommitteeError::Size(MAX_COMMITTEE + 1));
        // A rogue key: another's seed key without its possession.
        let rogue = Validator { possession: seats(2)[1].possession, ..one };
        assert_eq!(Committee::new(&[rogue]).unwrap_err(), CommitteeError::SeedKey(one.key));
    }

    #[test]
    fn keys_are_derived_reproducibly_and_never_printed() {
        let keys = ValidatorKeys::derive(&[9; 32]);
        assert_eq!(keys.network_key(), ValidatorKeys::derive(&[9; 32]).network_key());
        assert_ne!(keys.network_key(), ValidatorKeys::derive(&[8; 32]).network_key());
        assert!(ValidatorKeys::from_secrets(&[1; 32], &[0; 32]).is_err());
        let printed =
            format!("{:?}", ValidatorKeys::from_secrets(&[0x41; 32], &[0x42; 32]).unwrap());
        assert!(!printed.contains("41414141") && !printed.contains("42424242"), "{printed}");
    }

    #[test]
    fn validators_are_readable_json() {
        let validator = seats(1)[0];
        let json = serde_json::to_string(&validator).unwrap();
        assert!(json.contains("seedKey"));
        assert_eq!(serde_json::from_str::<Validator>(&json).unwrap(), validator);
        assert_eq!(Validator::from_bytes(&validator.to_bytes()), validator);
    }
}
