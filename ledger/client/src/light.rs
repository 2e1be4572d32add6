//! Light verification: header certificate → state root → slot proof (design 5).
//!
//! With the genesis hash alone, which names a ledger, [`Light`] checks what any endpoint says of it:
//! * the **genesis header** hashes to that name and commits to the first committee;
//! * a **certificate** of more than two thirds of a committee's seats is over a header's hash; a header
//!   without one is reached from a later one by parent hashes;
//! * a **proof** leads from what an account or slot holds, or from its absence, to the header's state
//!   root;
//! * a header whose committee field differs from the committee that certified it hands over to the next
//!   one ([`Light::hand_over`]).
//!
//! The formats are those of `ledger/consensus` (header, state proof) and `ledger/execution` (keys and
//! values of the state), read here on their own, so that a client links neither and the two readings
//! check one another in tests.
//!
//! What is trusted: that two thirds of the committee in force are honest. A committee long out of office
//! could sign another history; whoever comes back after a long time starts from a newer header that they
//! trust. With one seat it is the founder who is trusted, and nobody else.

mod committee;
mod header;
mod proof;

pub use committee::{Committee, CommitteeError, Seat};
pub use header::{HEADER_BYTES, Header};
pub use proof::{Account, VALUE_BYTES, account_key, slot_key, verify_value};

use crate::{
    Client,
    rpc::{RpcError, malformed},
};
use alloy_primitives::{Address, B256, Bytes, U64, U256};
use commonware_codec::{Copying, Decode as _};
use commonware_consensus::{
    Epochable as _,
    simplex::{scheme::ed25519::Scheme, types::Finalization},
};
use commonware_cryptography::{certificate::Verifier as _, sha256};
use commonware_parallel::Sequential;
use protocol::Height;
use serde::Deserialize;
use serde_json::json;
use std::ops::Deref;

/// How many later headers are looked at for a certificate of an earlier one.
pub const CERTIFICATE_DISTANCE_MAX: u64 = 64;

/// Why something the endpoint said is not believed.
#[derive(Debug, thiserror::Error)]
pub enum LightError {
    /// The bytes are no header of version 1.
    #[error("the header is malformed")]
    Header,
    /// The header is of another chain, height or hash than it must be.
    #[error("the header is another one: {0}")]
    WrongHeader(&'static str),
    /// The committee is not the one that the trusted header names.
    #[error("the committee {given} is not {named}, which the header names")]
    WrongCommittee {
        /// The digest of the seats given.
        given: B256,
        /// The digest in the header.
        named: B256,
    },
    /// The seats are no committee.
    #[error(transparent)]
    Committee(#[from] CommitteeError),
    /// The certificate is malformed, of another header, or not by two thirds of the committee.
    #[error("the certificate does not hold")]
    Certificate,
    /// Neither the header nor one of the next [`CERTIFICATE_DISTANCE_MAX`] has a certificate here.
    #[error("the endpoint has no certificate for height {0}; ask another, or for a newer height")]
    Uncertified(u64),
    /// The endpoint proves an older state than the one asked for.
    #[error("the endpoint proves the state of height {height}, older than {since}; ask another")]
    Old {
        /// Of which height the state is.
        height: Height,
        /// Of which it has to be at least.
        since: Height,
    },
    /// The proof is malformed or does not lead to the root.
    #[error("the proof does not lead to the state root")]
    Proof,
    /// The endpoint does not answer as it should.
    #[error(transparent)]
    Rpc(#[from] RpcError),
}

/// A header that is proven to be the ledger's: its genesis, one that a committee certified, or the ancestor
/// of one. Only [`Light`] makes them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Certified(Header);

impl Deref for Certified {
    type Target = Header;

    fn deref(&self) -> &Header {
        &self.0
    }
}

/// Checks what endpoints say of one ledger. Holds no connection.
#[derive(Clone, Debug)]
pub struct Light {
    genesis: Certified,
    namespace: Vec<u8>,
    committee: Committee,
}

impl Light {
    /// Begins with the encoded genesis header, which must hash to `genesis`, and the first committee,
    /// which it must name.
    ///
    /// # Errors
    /// When one of the two does not belong to the other.
    pub fn new(genesis: B256, header: &[u8], committee: Committee) -> Result<Self, LightError> {
        let header = Header::read(header)?;
        if header.hash != genesis {
            return Err(LightError::WrongHeader("its hash is not the genesis hash"));
        }
        named(&header, &committee)?;
        let namespace = [b"wayleave/ledger/1/", genesis.as_slice()].concat();
        Ok(Self { genesis: Certified(header), namespace, committee })
    }

    /// The genesis header.
    pub const fn genesis(&self) -> &Certified {
        &self.genesis
    }

    /// The committee whose certificates count now.
    pub const fn committee(&self) -> &Committee {
        &self.committee
    }

    /// Checks that the committee certified the header.
    ///
    /// # Errors
    /// When header or certificate are malformed, of another chain, or do not belong together.
    pub fn certified(&self, header: &[u8], certificate: &[u8]) -> Result<Certified, LightError> {
        let header = self.read(header)?;
        let scheme = Scheme::verifier(&self.namespace, self.committee.keys());
        let finalization = Finalization::<Scheme, sha256::Digest>::decode_cfg(
            Copying(certificate),
            &scheme.certificate_codec_config(),
        )
        .map_err(|_| LightError::Certificate)?;
        // A block may be proposed again in a later view of its term, so the view proves nothing.
        let same = finalization.proposal.payload.0 == header.hash.0
            && finalization.epoch().get() == header.term;
        if same && finalization.verify(&mut rand::rng(), &scheme, &Sequential) {
            Ok(Certified(header))
        } else {
            Err(LightError::Certificate)
        }
    }

    /// Checks that a header is the parent of one that is proven already.
    ///
    /// # Errors
    /// When it is not, or malformed.
    pub fn parent(&self, child: &Certified, header: &[u8]) -> Result<Certified, LightError> {
        let header = self.read(header)?;
        if header.hash == child.parent {
            Ok(Certified(header))
        } else {
            Err(LightError::WrongHeader("not the parent"))
        }
    }

    /// Goes over to the committee that `last` names for the height after it.
    ///
    /// # Errors
    /// When it names another one.
    pub fn hand_over(&mut self, last: &Certified, next: Committee) -> Result<(), LightError> {
        named(last, &next)?;
        self.committee = next;
        Ok(())
    }

    fn read(&self, bytes: &[u8]) -> Result<Header, LightError> {
        let header = Header::read(bytes)?;
        if header.chain_id != self.genesis.chain_id {
            return Err(LightError::WrongHeader("it is of another chain"));
        }
        Ok(header)
    }
}

fn named(header: &Header, committee: &Committee) -> Result<(), LightError> {
    let (given, named) = (committee.digest(), header.committee);
    if given == named { Ok(()) } else { Err(LightError::WrongCommittee { given, named }) }
}

#[derive(Deserialize)]
struct WireHeader {
    header: Bytes,
}

#[derive(Deserialize)]
struct WireFinalization {
    finalization: Option<Bytes>,
}

#[derive(Deserialize)]
struct WireProof {
    height: U64,
    account: WireEntry,
    slots: Vec<WireEntry>,
}

#[derive(Deserialize)]
struct WireEntry {
    proof: Bytes,
}

/// What an account holds, proven for one height.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Proven {
    /// The header whose state it is.
    pub header: Certified,
    /// The account; an empty one if it is proven not to exist.
    pub account: Account,
    /// The slots, in the order asked for; zero if proven to be absent.
    pub slots: Vec<U256>,
}

impl Client {
    /// Begins light verification of the ledger named `genesis`, with the seats of its genesis file.
    ///
    /// # Errors
    /// When the endpoint serves another ledger or the seats are not the ones it began with.
    pub async fn light(&self, genesis: B256, seats: &[Seat]) -> Result<Light, LightError> {
        let header = self.header_bytes(Height(0)).await?;
        Light::new(genesis, &header, Committee::new(seats)?)
    }

    /// The header at `height`, checked by its own certificate or by that of a later one.
    ///
    /// # Errors
    /// When it cannot be proven.
    pub async fn certified_header(
        &self,
        light: &Light,
        height: Height,
    ) -> Result<Certified, LightError> {
        let mut open = Vec::new();
        for distance in 0..=CERTIFICATE_DISTANCE_MAX {
            let at = Height(height.0.saturating_add(distance));
            tokio::time::timeout(self.options().confirm, self.wait_for(at))
                .await
                .map_err(|_| LightError::Uncertified(height.0))?;
            let bytes = self.header_bytes(at).await?;
            let Some(certificate) = self.certificate(at).await? else {
                open.push(bytes);
                continue;
            };
            let mut header = light.certified(&bytes, &certificate)?;
            for bytes in open.iter().rev() {
                header = light.parent(&header, bytes)?;
            }
            if header.height != height {
                return Err(LightError::WrongHeader("it is of another height"));
            }
            return Ok(header);
        }
        Err(LightError::Uncertified(height.0))
    }

    /// What an account and some of its slots hold in the newest state that the endpoint has, proven. It may
    /// be any state from the height `since` on: how new an honest endpoint's is, no proof can tell.
    ///
    /// # Errors
    /// When it cannot be proven, or is older than `since`.
    pub async fn proven(
        &self,
        light: &Light,
        (address, slots): (Address, &[U256]),
        since: Height,
    ) -> Result<Proven, LightError> {
        let method = "wayleave_proof";
        let wire: WireProof = self.request(method, &[json!(address), json!(slots)]).await?;
        if wire.slots.len() != slots.len() {
            return Err(malformed(method, "not every slot is answered").into());
        }
        let height = Height(wire.height.to());
        if height < since {
            return Err(LightError::Old { height, since });
        }
        let header = self.certified_header(light, height).await?;
        let root = header.state_root;
        let account = verify_value(root, account_key(address), &wire.account.proof)?;
        let values = slots.iter().zip(&wire.slots).map(|(slot, entry)| {
            let value = verify_value(root, slot_key(address, *slot), &entry.proof)?;
            Ok(value.map_or(U256::ZERO, |value| proof::slot(&value)))
        });
        Ok(Proven {
            header,
            account: account.as_ref().map(Account::read).unwrap_or_default(),
            slots: values.collect::<Result<_, LightError>>()?,
        })
    }

    async fn header_bytes(&self, height: Height) -> Result<Bytes, RpcError> {
        let params = [json!(U64::from(height.0))];
        Ok(self.request::<WireHeader>("wayleave_header", &params).await?.header)
    }

    async fn certificate(&self, height: Height) -> Result<Option<Bytes>, RpcError> {
        let params = [json!(U64::from(height.0))];
        let wire: WireFinalization = self.request("wayleave_finalization", &params).await?;
        Ok(wire.finalization)
    }
}
