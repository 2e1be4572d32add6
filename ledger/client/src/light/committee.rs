//! A committee as a light client knows it: seats, and the digest by which headers name them.

use alloy_primitives::{Address, B256, FixedBytes};
use commonware_codec::{Copying, DecodeExt as _};
use commonware_cryptography::{Hasher as _, Sha256, ed25519};
use commonware_utils::ordered::Set;
use serde::{Deserialize, Serialize};

/// The most seats of a committee.
const SEATS_MAX: usize = 256;

/// A seat, in the form of the genesis file's `validators` (whose other members do not matter here).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Seat {
    /// The Ed25519 key that votes.
    pub key: B256,
    /// The BLS key that reveals the seed.
    pub seed_key: FixedBytes<96>,
    /// The account that earns.
    pub account: Address,
}

/// Seats that are no committee.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CommitteeError {
    /// None, or too many.
    #[error("a committee has 1 to {SEATS_MAX} seats, not {0}")]
    Size(usize),
    /// A key that is no point of its curve, or that stands twice.
    #[error("the seat key {0} is malformed or given twice")]
    Key(B256),
}

/// The seats that certify together.
#[derive(Clone, Debug)]
pub struct Committee {
    seats: Vec<Seat>,
    keys: Set<ed25519::PublicKey>,
    digest: B256,
}

impl Committee {
    /// Sorts and checks the seats.
    ///
    /// # Errors
    /// When there are none or too many, or a key is malformed or repeated.
    pub fn new(seats: &[Seat]) -> Result<Self, CommitteeError> {
        if seats.is_empty() || seats.len() > SEATS_MAX {
            return Err(CommitteeError::Size(seats.len()));
        }
        let mut seats = seats.to_vec();
        seats.sort_by_key(|seat| seat.key);
        if let Some(pair) = seats.windows(2).find(|pair| pair[0].key == pair[1].key) {
            return Err(CommitteeError::Key(pair[0].key));
        }
        let mut bytes = b"wayleave/committee/1".to_vec();
        let mut keys = Vec::with_capacity(seats.len());
        for seat in &seats {
            bytes.extend_from_slice(seat.key.as_slice());
            bytes.extend_from_slice(seat.seed_key.as_slice());
            bytes.extend_from_slice(seat.account.as_slice());
            let key = ed25519::PublicKey::decode(Copying(seat.key.as_slice()));
            keys.push(key.map_err(|_| CommitteeError::Key(seat.key))?);
        }
        let digest = B256::from(Sha256::hash(&[&bytes]).0);
        Ok(Self { seats, keys: Set::from_iter_dedup(keys), digest })
    }

    /// SHA-256 over `"wayleave/committee/1"` and each seat's key, seed key and account, by key.
    pub const fn digest(&self) -> B256 {
        self.digest
    }

    /// The seats, by key. One seat is *founder-trusted*.
    pub fn seats(&self) -> &[Seat] {
        &self.seats
    }

    pub(super) fn keys(&self) -> Set<ed25519::PublicKey> {
        self.keys.clone()
    }
}
