//! A small network for this crate's tests: devices, rails, real shards and their evidence.

use crate::{
    STORAGE, bao,
    body::{Evidence, Proof},
    dataset::{Dataset, Shard},
    duty, judge, proof,
};
use protocol::{
    Account, Digest, Epoch, Height, Micros, NetworkId, RailId, Tokens,
    body::{Common, Report},
    clock::EpochClock,
    envelope::{Body, Envelope, Payload},
    fixtures,
    inputs::{self, Device, Inputs, Rail},
    key::DeviceSecret,
    kind::{Carried, Case, Duty, Finding, Survey},
    manifest::Manifest,
};
use std::collections::BTreeMap;

pub(crate) const EPOCH: Epoch = Epoch(3);
pub(crate) const CLOCK: EpochClock = EpochClock { length: 30, grace: 4 };

pub(crate) fn manifest() -> Manifest {
    fixtures::manifest(STORAGE)
}

/// Bytes that differ with `seed`.
pub(crate) fn bytes(seed: u64, length: usize) -> Vec<u8> {
    let mut out = vec![0; length];
    blake3::Hasher::new().update(&seed.to_be_bytes()).finalize_xof().fill(&mut out);
    out
}

pub(crate) fn shard_of(data: &[u8]) -> Shard {
    Shard { hash: Digest::of(data), bytes: u64::try_from(data.len()).unwrap() }
}

/// What a device holds for a rail.
#[derive(Clone, Debug)]
pub(crate) struct Kept {
    pub(crate) dataset: Dataset,
    pub(crate) shards: BTreeMap<Digest, Vec<u8>>,
}

impl Kept {
    pub(crate) fn new(shards: impl IntoIterator<Item = Vec<u8>>) -> Self {
        let shards: BTreeMap<Digest, Vec<u8>> =
            shards.into_iter().map(|data| (Digest::of(&data), data)).collect();
        let dataset = Dataset::build(shards.values().map(|data| shard_of(data))).unwrap();
        Self { dataset, shards }
    }

    /// The proof of any duty on the dataset, without checking that it is this one's.
    pub(crate) fn proof(&self, duty: &Duty) -> Proof {
        proof::prove(duty, &self.dataset, |place, chunk| {
            bao::slice(&self.shards[&place.shard.hash], chunk).ok_or("no such chunk")
        })
        .unwrap()
    }
}

#[derive(Clone, Debug)]
pub(crate) struct World {
    pub(crate) inputs: Inputs,
    secrets: Vec<DeviceSecret>,
    pub(crate) kept: BTreeMap<RailId, Kept>,
}

impl World {
    /// A network of `devices` in which rail i+1 goes to device `rails[i].0` and pays for shards of
    /// the sizes `rails[i].1`. `seed` decides the epoch's seed and the shards' contents.
    pub(crate) fn new(seed: u64, devices: u8, rails: &[(usize, &[usize])]) -> Self {
        let mut secrets: Vec<DeviceSecret> =
            (1..=devices).map(|number| DeviceSecret::from_seed([number; 32])).collect();
        secrets.sort_by_key(DeviceSecret::id);
        let kept = (1u64..).zip(rails).map(|(rail, (_, sizes))| {
            let data = (0u64..).zip(*sizes).map(|(i, size)| bytes(seed ^ (rail << 32 | i), *size));
            (RailId(rail), Kept::new(data))
        });
        let kept: BTreeMap<RailId, Kept> = kept.collect();
        let mut inputs = Inputs {
            version: 1,
            chain_id: 57_233,
            network: NetworkId(1),
            epoch: EPOCH,
            clock: CLOCK,
            mix: *Digest::of(&seed.to_be_bytes()).as_bytes(),
            latest_root: [2; 32],
            rails_contract: Account::with_last_byte(6),
            treasury: Account::with_last_byte(7),
            manifest: manifest(),
            roster: (1u8..).zip(&secrets).map(|(owner, secret)| device(owner, secret)).collect(),
            rails: Vec::new(),
            datasets: Vec::new(),
            by_device: Default::default(),
        };
        inputs.rails = (1u64..)
            .zip(rails)
            .map(|(id, (device, _))| rail(id, &inputs.roster[*device]))
            .collect();
        inputs.datasets = kept
            .iter()
            .map(|(rail, kept)| inputs::Dataset {
                rail: *rail,
                version: 1,
                root: kept.dataset.root(),
                bytes: kept.dataset.bytes(),
            })
            .collect();
        inputs.validate().unwrap();
        Self { inputs, secrets, kept }
    }

    pub(crate) fn device(&self, at: usize) -> &Device {
        &self.inputs.roster[at]
    }

    pub(crate) fn duties(&self, at: usize) -> Vec<Duty> {
        duty::duties(&self.inputs, self.device(at))
    }

    pub(crate) fn proof(&self, duty: &Duty) -> Proof {
        self.kept[&duty.rail].proof(duty)
    }

    /// An envelope of the device, carried at `height`.
    pub(crate) fn carried(&self, at: usize, sequence: u64, body: Body, height: Height) -> Carried {
        let payload = Payload {
            network: self.inputs.network,
            epoch: self.inputs.epoch,
            sequence,
            time_ms: height.0 * 500,
            body,
        };
        let envelope = Envelope::sign(&self.secrets[at], &payload);
        let digest = envelope.digest();
        Carried { envelope, digest, height, time_ms: height.0 * 500 }
    }

    pub(crate) fn proved(&self, at: usize, sequence: u64, proof: Proof, height: Height) -> Carried {
        self.carried(at, sequence, Evidence::Proof(proof).to_body(), height)
    }

    /// A report that is carried by the block after the one at which it was signed.
    pub(crate) fn reported(&self, at: usize, sequence: u64, height: Height) -> Carried {
        self.signed(at, sequence, Height(height.0.saturating_sub(1)), height)
    }

    /// A report signed at one height and carried at another.
    pub(crate) fn signed(
        &self,
        at: usize,
        sequence: u64,
        signed: Height,
        carried: Height,
    ) -> Carried {
        let report = Report { used: 1, free: 2, at: signed };
        self.carried(at, sequence, Common::Report(report).to_body(), carried)
    }

    /// All that an honest device sends: each proof and both reports, one height after they were due.
    pub(crate) fn honest(&self, at: usize) -> Vec<Carried> {
        let mut sent = Vec::new();
        for duty in self.duties(at) {
            let next = |sent: &Vec<Carried>| u64::try_from(sent.len()).unwrap();
            let opened = Height(duty.from.0 + 1);
            sent.push(self.proved(at, next(&sent), self.proof(&duty), opened));
            for height in duty::reports(&duty) {
                sent.push(self.reported(at, next(&sent), Height(height.0 + 1)));
            }
        }
        sent
    }

    /// What it sends without its proofs on one rail: the cheat that goes on reporting.
    pub(crate) fn without_proofs(&self, at: usize, rail: RailId) -> Vec<Carried> {
        let mut sent = self.honest(at);
        sent.retain(|carried| {
            let body = &carried.envelope.payload().body;
            !matches!(Evidence::from_body(body), Ok(Evidence::Proof(proof)) if proof.rail == rail)
        });
        sent
    }

    pub(crate) fn judge(&self, at: usize, evidence: &[Carried]) -> Finding {
        judge::judge(&Case {
            inputs: &self.inputs,
            device: self.device(at),
            duties: &self.duties(at),
            evidence,
            survey: &Survey::empty(),
        })
    }
}

fn device(owner: u8, secret: &DeviceSecret) -> Device {
    Device {
        id: secret.id(),
        key: secret.key(),
        owner: Account::with_last_byte(owner),
        maker: Account::ZERO,
        kind: STORAGE,
        tier: 2,
        cell: 0,
        capacity: 1 << 30,
        offer: Digest::of(b"offer"),
        stake: Tokens::whole(100),
        netted: Tokens::ZERO,
    }
}

fn rail(id: u64, device: &Device) -> Rail {
    Rail {
        id: RailId(id),
        payer: Account::with_last_byte(100),
        payee: device.owner,
        signer: Account::with_last_byte(102),
        device: device.id,
        limit: Micros(1_000_000),
        rate: Micros(1_000),
        nonce: 1,
        opened: Epoch(1),
        expiry: Epoch(9),
        class: 0,
        presented: Micros::ZERO,
    }
}
