//! The inputs file of an epoch: all that settlement and duties take from the ledger (design 9).
//!
//! It is built from the state at the last height before the epoch, written once to the archive in
//! this canonical form, and its BLAKE3 hash goes onto the ledger. Roster, rails and datasets are
//! sorted by id and hold no id twice ([`Inputs::validate`]).
//!
//! It also answers, for agent, ingest and replay alike, how many bytes of evidence a device may send in
//! the epoch ([`Inputs::quota`]): what it can owe, so that serving more rails never means more silence.
//! The manifest's quota is what every device has, and the most that one rail adds to it; between the two a
//! rail adds an envelope for its vouchers and [`DUTY_BYTES`] for each of its duties.

use crate::{
    Account, DeviceId, Digest, Epoch, Height, KindId, Micros, NetworkId, RailId, Tokens, cbor,
    clock::EpochClock,
    key::DeviceKey,
    manifest::{Manifest, ManifestError},
    seed::Seed,
};
use minicbor::{Decode, Encode};
use serde::{Deserialize, Serialize};
use std::sync::OnceLock;

/// What one duty may take of a device's quota, in bytes: the answer, at most two common envelopes long
/// for the kinds that exist, and the reports at both ends of its window.
pub const DUTY_BYTES: u64 = 12 * 1024;
/// What a rail may take of it beside its duties, in bytes: an envelope for what its customer signed.
pub const RAIL_BYTES: u64 = 4 * 1024;

/// A 20-byte account in our canonical encoding.
pub mod account {
    use crate::Account;
    use minicbor::{Decoder, Encoder};

    /// Encodes the 20 bytes.
    ///
    /// # Errors
    /// When the writer fails.
    pub fn encode<C, W: minicbor::encode::Write>(
        account: &Account,
        e: &mut Encoder<W>,
        _: &mut C,
    ) -> Result<(), minicbor::encode::Error<W::Error>> {
        e.bytes(account.as_slice())?.ok()
    }

    /// Decodes 20 bytes.
    ///
    /// # Errors
    /// When the item is not 20 bytes.
    pub fn decode<C>(d: &mut Decoder<'_>, _: &mut C) -> Result<Account, minicbor::decode::Error> {
        Account::try_from(d.bytes()?)
            .map_err(|_| minicbor::decode::Error::message("expected 20 bytes"))
    }
}

/// Everything settlement takes from the ledger for one network and epoch.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(array)]
pub struct Inputs {
    /// The format: 1.
    #[n(0)]
    pub version: u16,
    /// The chain.
    #[n(1)]
    pub chain_id: u64,
    /// The network.
    #[n(2)]
    pub network: NetworkId,
    /// The epoch.
    #[n(3)]
    pub epoch: Epoch,
    /// The ledger's clock.
    #[n(4)]
    pub clock: EpochClock,
    /// The header mix that the seed is made of.
    #[cbor(n(5), with = "minicbor::bytes")]
    pub mix: [u8; 32],
    /// The latest final settlement root when the epoch began; zero before the first.
    #[cbor(n(6), with = "minicbor::bytes")]
    pub latest_root: [u8; 32],
    /// The address of the rails contract, for vouchers' domain.
    #[cbor(n(7), with = "account")]
    pub rails_contract: Account,
    /// The account of the treasury.
    #[cbor(n(8), with = "account")]
    pub treasury: Account,
    /// The manifest in force.
    #[n(9)]
    pub manifest: Manifest,
    /// The devices enrolled, ascending by id.
    #[n(10)]
    pub roster: Vec<Device>,
    /// The rails open, and those that ended with the epoch before, whose last vouchers are paid once more;
    /// ascending by id.
    #[n(11)]
    pub rails: Vec<Rail>,
    /// The frozen datasets, ascending by rail.
    #[n(12)]
    pub datasets: Vec<Dataset>,
    /// Which rails a device serves; no part of the file.
    #[cbor(skip)]
    pub by_device: ByDevice,
}

/// The rails in the order of their devices, so that one device's are found without reading all.
///
/// Made when it is first asked for, and never again: rails must not be changed after that. A clone makes
/// its own, and two are equal whatever they know, since all of it follows from the rails.
#[derive(Debug, Default)]
pub struct ByDevice(OnceLock<Vec<usize>>);

impl ByDevice {
    /// The positions of `rails`, ascending by (device, rail).
    fn order(&self, rails: &[Rail]) -> &[usize] {
        self.0.get_or_init(|| {
            let mut order: Vec<_> = (0..rails.len()).collect();
            order.sort_by_key(|&at| rails[at].device);
            order
        })
    }
}

impl Clone for ByDevice {
    fn clone(&self) -> Self {
        Self::default()
    }
}

impl PartialEq for ByDevice {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl Eq for ByDevice {}

/// A device on the roster.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode, Serialize, Deserialize)]
#[cbor(array)]
pub struct Device {
    /// The device.
    #[n(0)]
    pub id: DeviceId,
    /// Its public key.
    #[n(1)]
    pub key: DeviceKey,
    /// Who owns it, is paid for it and answers for it.
    #[cbor(n(2), with = "account")]
    pub owner: Account,
    /// Who manufactured it; zero if unknown.
    #[cbor(n(3), with = "account")]
    pub maker: Account,
    /// Its kind.
    #[n(4)]
    pub kind: KindId,
    /// How well its key is known: 0 seen, 1 authenticated channel, 2 signing agent, 3 secure element.
    #[n(5)]
    pub tier: u8,
    /// The H3 cell it is in, or 0.
    #[n(6)]
    pub cell: u64,
    /// What it offers, in its kind's unit.
    #[n(7)]
    pub capacity: u64,
    /// The hash of the full offer.
    #[n(8)]
    pub offer: Digest,
    /// What is bound on it on the ledger, without what was asked back.
    #[n(9)]
    pub stake: Tokens,
    /// What withdrawals already took of its owner's slashes in the network, on whatever device: the same
    /// for all devices of one owner. What statements count beyond it is still owed.
    #[n(10)]
    pub netted: Tokens,
}

/// An open rail.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode, Serialize, Deserialize)]
#[cbor(array)]
pub struct Rail {
    /// The rail.
    #[n(0)]
    pub id: RailId,
    /// Who pays.
    #[cbor(n(1), with = "account")]
    pub payer: Account,
    /// Who is paid: the owner of the device, or a service.
    #[cbor(n(2), with = "account")]
    pub payee: Account,
    /// Who signs vouchers: the service's key.
    #[cbor(n(3), with = "account")]
    pub signer: Account,
    /// The device that serves; zero for a rail to a service.
    #[n(4)]
    pub device: DeviceId,
    /// All that this rail may ever pay.
    #[n(5)]
    pub limit: Micros,
    /// The most it pays for a proven epoch; zero for vouchers alone.
    #[n(6)]
    pub rate: Micros,
    /// The smallest voucher nonce.
    #[n(7)]
    pub nonce: u64,
    /// The epoch it was opened in; it counts from the next.
    #[n(8)]
    pub opened: Epoch,
    /// The last epoch it pays its rate for. Its vouchers are paid once more in the epoch after.
    #[n(9)]
    pub expiry: Epoch,
    /// The class of its dollars: 0 cash, 1 card, 2 token credit.
    #[n(10)]
    pub class: u8,
    /// The largest amount of a voucher that was presented by transaction; the ledger checked it.
    #[n(11)]
    pub presented: Micros,
}

/// A rail's frozen dataset: what its device must hold (design 11).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode, Serialize, Deserialize)]
#[cbor(array)]
pub struct Dataset {
    /// The rail.
    #[n(0)]
    pub rail: RailId,
    /// Ascends with every change.
    #[n(1)]
    pub version: u64,
    /// The root of the size-weighted tree.
    #[n(2)]
    pub root: Digest,
    /// The sum of its shards' sizes.
    #[n(3)]
    pub bytes: u64,
}

impl Dataset {
    /// What the device signs to agree to the dataset.
    pub fn signing_bytes(&self, chain_id: u64) -> Vec<u8> {
        [
            b"wayleave/dataset/1".as_slice(),
            &chain_id.to_be_bytes(),
            &self.rail.0.to_be_bytes(),
            &self.version.to_be_bytes(),
            self.root.as_bytes(),
            &self.bytes.to_be_bytes(),
        ]
        .concat()
    }
}

/// Why an inputs file is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InputsError {
    /// Not the canonical encoding of one.
    #[error("inputs file: {0}")]
    Decode(#[from] cbor::DecodeError),
    /// A format this version does not know.
    #[error("inputs version {0} is not 1")]
    Version(u16),
    /// Entries out of order or repeated.
    #[error("{0} are not strictly ascending")]
    Order(&'static str),
    /// A rail names a device, or a dataset names a rail, that is not there.
    #[error("{0} names something that is not in the file")]
    Dangling(&'static str),
    /// A device's id is not its key's.
    #[error("device {0} is not the thumbprint of its key")]
    Key(DeviceId),
    /// The manifest is invalid.
    #[error("manifest: {0}")]
    Manifest(#[from] ManifestError),
}

impl Inputs {
    /// The canonical bytes.
    pub fn to_bytes(&self) -> Vec<u8> {
        cbor::to_vec(self)
    }

    /// Reads canonical bytes and validates them.
    ///
    /// # Errors
    /// [`InputsError`] names the rule that is broken.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, InputsError> {
        let inputs: Self = cbor::from_slice(bytes)?;
        inputs.validate()?;
        Ok(inputs)
    }

    /// The hash that goes onto the ledger.
    pub fn digest(&self) -> Digest {
        Digest::of(&self.to_bytes())
    }

    /// The epoch's seed.
    pub fn seed(&self) -> Seed {
        crate::seed::epoch_seed(self.chain_id, self.epoch, self.mix, self.latest_root)
    }

    /// The first height of the epoch.
    pub const fn first_height(&self) -> Height {
        self.clock.first(self.epoch)
    }

    /// The device with this id.
    pub fn device(&self, id: DeviceId) -> Option<&Device> {
        self.roster.binary_search_by_key(&id, |device| device.id).ok().map(|at| &self.roster[at])
    }

    /// The rail with this id.
    pub fn rail(&self, id: RailId) -> Option<&Rail> {
        self.rails.binary_search_by_key(&id, |rail| rail.id).ok().map(|at| &self.rails[at])
    }

    /// The dataset of a rail.
    pub fn dataset(&self, rail: RailId) -> Option<&Dataset> {
        let at = self.datasets.binary_search_by_key(&rail, |dataset| dataset.rail).ok()?;
        Some(&self.datasets[at])
    }

    /// Whether a rail pays for this epoch: opened before it, not expired, and its payee still the owner
    /// of the device that serves it. Who buys a device owes nothing to the seller's customers.
    pub fn is_live(&self, rail: &Rail) -> bool {
        rail.opened < self.epoch && self.epoch <= rail.expiry && self.pays_owner(rail)
    }

    /// Whether the rail's device, if it has one, belongs to its payee.
    pub fn pays_owner(&self, rail: &Rail) -> bool {
        self.device(rail.device).is_none_or(|device| device.owner == rail.payee)
    }

    /// The rails served by a device, ascending: by [`ByDevice`], since duties ask for every device.
    pub fn rails_of(&self, device: DeviceId) -> impl Iterator<Item = &Rail> {
        let order = self.by_device.order(&self.rails);
        let first = order.partition_point(|&at| self.rails[at].device < device);
        let rails = order[first..].iter().map(|&at| &self.rails[at]);
        rails.take_while(move |rail| rail.device == device)
    }

    /// How many bytes of envelopes `device` may send in this epoch; none if it is not on the roster.
    ///
    /// The one rule for all who count (design 6): the agent before it signs, ingest before it accepts,
    /// replay before it lets an envelope count.
    pub fn quota(&self, device: DeviceId) -> u64 {
        let Some(device) = self.device(device) else { return 0 };
        let floor = u64::from(self.manifest.evidence.quota_bytes);
        let positions = self.manifest.terms(device.kind).map_or(0, |terms| terms.positions);
        let rail = u64::from(positions).saturating_mul(DUTY_BYTES).saturating_add(RAIL_BYTES);
        let live = self.rails_of(device.id).filter(|rail| self.is_live(rail));
        live.fold(floor, |sum, _| sum.saturating_add(rail.min(floor)))
    }

    /// Checks every rule above.
    ///
    /// # Errors
    /// The first rule that is broken.
    pub fn validate(&self) -> Result<(), InputsError> {
        if self.version != 1 {
            return Err(InputsError::Version(self.version));
        }
        self.manifest.validate()?;
        if !self.roster.is_sorted_by(|a, b| a.id < b.id) {
            return Err(InputsError::Order("devices"));
        }
        if !self.rails.is_sorted_by(|a, b| a.id < b.id) {
            return Err(InputsError::Order("rails"));
        }
        if !self.datasets.is_sorted_by(|a, b| a.rail < b.rail) {
            return Err(InputsError::Order("datasets"));
        }
        if let Some(device) = self.roster.iter().find(|device| device.key.id() != device.id) {
            return Err(InputsError::Key(device.id));
        }
        let known = |id: DeviceId| id == DeviceId::default() || self.device(id).is_some();
        if !self.rails.iter().all(|rail| known(rail.device)) {
            return Err(InputsError::Dangling("a rail"));
        }
        if !self.datasets.iter().all(|dataset| self.rail(dataset.rail).is_some()) {
            return Err(InputsError::Dangling("a dataset"));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
