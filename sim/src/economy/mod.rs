//! Evidence and settlement in a world: devices that prove what they hold, validators that take it in, carry
//! it in blocks and settle epochs from their own archives.
//!
//! What runs is the program's own: [`::agent::state::Agent`] with its journal, the kind `storage` with its
//! proofs, [`validator::intake::Intake`], [`evidence::Archive`] and its replay, [`settlement::settle`]. What
//! is the world's are the shells: who calls whom, and the epoch's inputs, which validators here make from
//! the chain's headers and a fleet that is given ([`Network`]) and not from contracts.
//!
//! Checked: all honest validators settle every epoch to the same statement and root, those that were away
//! as well; what devices promise is paid where nothing went wrong; settlement's own conservation holds.

pub mod desk;
pub mod device;

use self::{desk::Desk, device::Device};
use crate::{checkers::Broken, world::people::CHAIN};
use alloy_primitives::{Address, B256};
use consensus::{Finalized, Ledger};
use protocol::{
    Digest, Epoch, Height, Micros, NetworkId, Ppm, RailId, Tokens,
    clock::EpochClock,
    inputs::{self, Inputs},
    key::DeviceSecret,
    manifest::{Bootstrap, EvidenceRules, KindTerms, Manifest, Slashes, Split, Vesting},
    statement::Statement,
};
use rand::{RngExt as _, rngs::StdRng};
use std::{collections::BTreeMap, sync::Arc};

/// The network that devices serve.
pub const NETWORK: NetworkId = NetworkId(1);
/// Epochs of worlds with devices, in heights.
pub const CLOCK: EpochClock = EpochClock { length: 12, grace: 3 };
/// The fault by which agents lose power: this often, in steps of the world.
const AGENT_CRASHES: f64 = 0.002;

/// What never changes: rules, devices, and what they hold for whom.
#[derive(Clone, Debug)]
pub struct Network {
    roster: Vec<inputs::Device>,
    rails: Vec<inputs::Rail>,
    datasets: Vec<inputs::Dataset>,
}

impl Network {
    /// What an epoch begins with, by the last block before it and the latest settlement.
    pub fn inputs(&self, epoch: Epoch, mix: B256, latest_root: B256) -> Inputs {
        Inputs {
            version: 1,
            chain_id: CHAIN,
            network: NETWORK,
            epoch,
            clock: CLOCK,
            mix: mix.0,
            latest_root: latest_root.0,
            rails_contract: contracts::address::RAILS,
            treasury: Address::with_last_byte(7),
            manifest: manifest(),
            roster: self.roster.clone(),
            rails: self.rails.clone(),
            datasets: self.datasets.clone(),
            by_device: inputs::ByDevice::default(),
        }
    }
}

fn manifest() -> Manifest {
    Manifest {
        version: 1,
        name: "simulated".into(),
        split: Split::default(),
        beta: Ppm(500_000),
        vesting: Vesting { share: Ppm(750_000), epochs: 180 },
        bootstrap: Bootstrap { per_device: Tokens::whole(1), until: Epoch(100) },
        token_price: Micros(100_000),
        evidence: EvidenceRules {
            quota_bytes: 100_000,
            skew_ms: 30_000,
            slack: 3,
            absence_epochs: 10,
            unbonding_epochs: 4,
        },
        slashes: Slashes {
            conflicting_payloads: Ppm(200_000),
            false_proof: Ppm(500_000),
            selective_miss: Ppm(100_000),
            long_absence: Ppm(100_000),
        },
        tiers: [Ppm(250_000), Ppm(500_000), Ppm::ONE, Ppm::ONE],
        kinds: vec![KindTerms {
            kind: storage_kind::STORAGE,
            price: Micros(50_000),
            delivery_price: Micros(10_000),
            per_units: 1 << 30,
            stake_base: Tokens::whole(10),
            stake_per: Tokens::whole(5),
            positions: 2,
            window: 4,
        }],
    }
}

/// Devices, desks, and what was settled.
#[derive(Debug)]
pub struct Economy {
    network: Network,
    devices: Vec<Device>,
    desks: Vec<Desk>,
    /// What each epoch was settled to first, and where.
    settled: BTreeMap<Epoch, (usize, Statement)>,
}

impl Economy {
    /// So many devices and a desk for each machine.
    ///
    /// # Errors
    /// A folder for journals cannot be made.
    pub fn new(devices: u8, machines: usize) -> Result<Self, Broken> {
        let mut secrets: Vec<DeviceSecret> =
            (1..=devices).map(|number| DeviceSecret::from_seed([number; 32])).collect();
        secrets.sort_by_key(DeviceSecret::id);
        let validators = u64::try_from(machines).unwrap_or(1);
        let mut all = Vec::new();
        let mut network = Network { roster: Vec::new(), rails: Vec::new(), datasets: Vec::new() };
        for (id, secret) in (1u64..).zip(secrets) {
            let enrolled = enrolled(id, &secret);
            let device = Device::new(RailId(id), secret, validators)?;
            network.rails.push(rail(RailId(id), &enrolled));
            network.datasets.push(device.dataset());
            network.roster.push(enrolled);
            all.push(device);
        }
        let desks = (0..machines).map(Desk::new).collect::<Result<_, _>>()?;
        Ok(Self { network, devices: all, desks, settled: BTreeMap::new() })
    }

    /// A machine starts: its desk goes on where it stopped.
    ///
    /// # Errors
    /// It cannot.
    pub async fn boot(&mut self, machine: usize) -> Result<(), Broken> {
        self.desks[machine].boot().await
    }

    /// A machine ends.
    pub fn kill(&mut self, machine: usize) {
        self.desks[machine].kill();
    }

    /// A machine has a new final block: its desk archives it, settles what is due, and hands over batches.
    ///
    /// # Errors
    /// Its desk fails, or settled an epoch to something else than another.
    pub async fn block(
        &mut self,
        machine: usize,
        ledger: &Ledger,
        block: &Arc<Finalized>,
    ) -> Result<Option<String>, Broken> {
        let desk = &mut self.desks[machine];
        let statement = desk.block(&self.network, block).await?;
        for batch in desk.due() {
            // A full queue is found again: the intake hands a batch over until a block holds it.
            let _refused = ledger.submit_blob(batch);
        }
        let Some(statement) = statement else { return Ok(None) };
        let epoch = statement.epoch;
        if let Some((first, before)) = self.settled.get(&epoch) {
            return if *before == statement {
                Ok(None)
            } else {
                Err(Broken(format!(
                    "machines {first} and {machine} settle epoch {epoch} differently"
                )))
            };
        }
        let (due, met) = statement.rows.iter().fold((0u64, 0u64), |(due, met), row| {
            (due + u64::from(row.duties_due), met + u64::from(row.duties_met))
        });
        let root = statement.tree().root();
        self.settled.insert(epoch, (machine, statement));
        Ok(Some(format!("epoch {epoch} is settled to {root}, {met} of {due} duties met")))
    }

    /// Lets devices act at a true time.
    ///
    /// # Errors
    /// A device's journal is lost.
    pub fn step(&mut self, now_ms: u64, calm: bool, rng: &mut StdRng) -> Result<(), Broken> {
        for index in 0..self.devices.len() {
            let device = &mut self.devices[index];
            if !calm && rng.random_bool(AGENT_CRASHES) {
                device.crash(rng)?;
            }
            device.step(now_ms, &self.desks)?;
        }
        Ok(())
    }

    /// How many epochs are settled, how many duties were due in them, and how many were met.
    pub fn summary(&self) -> (u64, u64, u64) {
        let statements = self.settled.values().flat_map(|(_, statement)| &statement.rows);
        let (due, met) = statements.fold((0, 0), |(due, met), row| {
            (due + u64::from(row.duties_due), met + u64::from(row.duties_met))
        });
        (u64::try_from(self.settled.len()).unwrap_or(u64::MAX), due, met)
    }
}

fn enrolled(number: u64, secret: &DeviceSecret) -> inputs::Device {
    inputs::Device {
        id: secret.id(),
        key: secret.key(),
        owner: Address::left_padding_from(&(1_000 + number).to_be_bytes()),
        maker: Address::ZERO,
        kind: storage_kind::STORAGE,
        tier: 2,
        cell: 0,
        capacity: 1 << 30,
        offer: Digest::of(b"offer"),
        stake: Tokens::whole(100),
        netted: Tokens::ZERO,
    }
}

fn rail(id: RailId, device: &inputs::Device) -> inputs::Rail {
    inputs::Rail {
        id,
        payer: Address::with_last_byte(100),
        payee: device.owner,
        signer: Address::with_last_byte(102),
        device: device.id,
        limit: Micros(1_000_000),
        rate: Micros(1_000),
        nonce: 1,
        opened: Epoch(0),
        expiry: Epoch(1_000),
        class: 0,
        presented: Micros::ZERO,
    }
}

/// The height as evidence counts it.
const fn height(block: &Finalized) -> Height {
    Height(block.header.height)
}
