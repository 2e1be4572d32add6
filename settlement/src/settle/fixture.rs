//! A network with a kind of its own for tests: a device says how many units it gave on which rail, and is
//! believed; it can also accuse itself of a fault.

use super::{SettleError, Settled, settle_with};
use alloy_signer::SignerSync as _;
use alloy_signer_local::PrivateKeySigner;
use minicbor::{Decode, Encode};
use protocol::{
    Account, AuthorKey, DeviceId, Digest, Epoch, Height, KindId, Micros, NetworkId, Ppm, RailId,
    Reason, Tokens,
    author::AuthorFault,
    body::{COMMON, Common, Report},
    cbor::Item,
    clock::EpochClock,
    envelope::{Body, Envelope, Payload},
    inputs::{Device, Inputs, Rail},
    key::DeviceSecret,
    kind::{Admission, Carried, Case, Duty, Finding, Kind, Offer, Survey, Usage, Use},
    manifest::{Bootstrap, EvidenceRules, KindTerms, Manifest, Slashes, Split, Vesting},
    statement::{Cause, Statement},
    voucher::{SignedVoucher, Voucher, domain},
};
use std::collections::BTreeMap;

pub(crate) const CHAIN: u64 = 0xDE91;
pub(crate) const NETWORK: NetworkId = NetworkId(3);
pub(crate) const ECHO: KindId = KindId(7);
pub(crate) const TREASURY: Account = Account::repeat_byte(0xee);
pub(crate) const RAILS: Account = Account::repeat_byte(0xaa);

/// What a device of the test kind says.
#[derive(Clone, Debug, Encode, Decode)]
pub(crate) enum Said {
    /// Units given on a rail.
    #[n(0)]
    Gave(#[n(0)] RailId, #[n(1)] u64),
    /// A fault of its own.
    #[n(1)]
    Fault(#[n(0)] Reason),
    /// Its quality.
    #[n(2)]
    Quality(#[n(0)] Ppm),
}

#[derive(Debug)]
struct Echo;

impl Kind for Echo {
    fn id(&self) -> KindId {
        ECHO
    }
    fn name(&self) -> &'static str {
        "echo"
    }
    fn unit(&self) -> &'static str {
        "echoes"
    }
    fn envelope_max(&self) -> usize {
        4096
    }
    fn admit(&self, offer: &Offer, manifest: &Manifest) -> Result<Admission, Reason> {
        let terms = manifest.terms(ECHO).ok_or(Reason::NotAdmitted)?;
        if offer.capacity == 0 {
            return Err(Reason::NotAdmitted);
        }
        Ok(Admission { stake: terms.stake(offer.capacity) })
    }
    fn duties(&self, inputs: &Inputs, device: &Device) -> Vec<Duty> {
        let (from, to) = (inputs.first_height(), inputs.clock.last(inputs.epoch));
        inputs
            .rails_of(device.id)
            .filter(|rail| inputs.is_live(rail))
            .map(|rail| Duty { rail: rail.id, index: 0, from, to, task: Item::of(&0u8) })
            .collect()
    }
    fn survey(&self, _: &Inputs, _: &[Carried]) -> Survey {
        Survey::empty()
    }
    fn judge(&self, case: &Case<'_>) -> Finding {
        assert!(case.evidence.is_sorted_by_key(|c| (c.height, c.envelope.payload().sequence)));
        let mut finding = Finding {
            device: case.device.id,
            quality: Ppm::ONE,
            uniqueness: Ppm::ONE,
            heard: !case.evidence.is_empty(),
            ..Finding::default()
        };
        let mut units: BTreeMap<RailId, u64> = BTreeMap::new();
        for carried in case.evidence {
            let body = &carried.envelope.payload().body;
            if body.kind != ECHO {
                continue;
            }
            match body.item.to() {
                Ok(Said::Gave(rail, gave)) => *units.entry(rail).or_default() += gave,
                Ok(Said::Fault(reason)) => finding
                    .faults
                    .push(Cause { evidence: vec![carried.digest], ..Cause::of(reason) }),
                Ok(Said::Quality(quality)) => finding.quality = quality,
                Err(_) => finding.causes.push(Cause::of(Reason::MalformedBody)),
            }
        }
        let due = u32::try_from(case.duties.len()).unwrap();
        let met = case.duties.iter().filter(|duty| units.contains_key(&duty.rail)).count();
        finding.duties = (due, u32::try_from(met).unwrap());
        for duty in case.duties.iter().filter(|duty| !units.contains_key(&duty.rail)) {
            let reason = if finding.heard { Reason::MissedDuty } else { Reason::Silent };
            finding.causes.push(Cause::on(reason, duty.rail));
        }
        finding.units = units.values().sum();
        finding.uses = units.into_iter().map(|(rail, units)| Use { rail, units }).collect();
        finding
    }
    fn price(&self, usage: &Usage, manifest: &Manifest) -> Micros {
        let Usage::Provided(units) = *usage else { return Micros::ZERO };
        manifest.terms(ECHO).map_or(Micros::ZERO, |terms| terms.dollars(units, terms.price))
    }
}

pub(crate) fn kinds(id: KindId) -> Option<&'static dyn Kind> {
    (id == ECHO).then_some(&Echo)
}

pub(crate) fn manifest() -> Manifest {
    Manifest {
        version: 1,
        name: "echo".into(),
        split: Split::default(),
        beta: Ppm(500_000),
        vesting: Vesting { share: Ppm(750_000), epochs: 10 },
        bootstrap: Bootstrap { per_device: Tokens::ZERO, until: Epoch(0) },
        token_price: Micros(250_000),
        evidence: EvidenceRules {
            quota_bytes: 65_536,
            skew_ms: 10_000,
            slack: 6,
            absence_epochs: 2,
            unbonding_epochs: 10,
        },
        slashes: Slashes {
            conflicting_payloads: Ppm(100_000),
            false_proof: Ppm(500_000),
            selective_miss: Ppm(50_000),
            long_absence: Ppm(10_000),
        },
        tiers: [Ppm(0), Ppm(500_000), Ppm(1_000_000), Ppm(1_000_000)],
        // A dollar for 1,000 units; 100 tokens of stake and one for each 10 units offered.
        kinds: vec![KindTerms {
            kind: ECHO,
            price: Micros(1_000_000),
            delivery_price: Micros(0),
            per_units: 1_000,
            stake_base: Tokens::whole(100),
            stake_per: Tokens::whole(100),
            positions: 1,
            window: 1,
        }],
    }
}

pub(crate) fn secret(n: u8) -> DeviceSecret {
    DeviceSecret::from_seed([n; 32])
}

pub(crate) fn device_id(n: u8) -> DeviceId {
    secret(n).id()
}

pub(crate) fn owner(n: u8) -> Account {
    Account::repeat_byte(n)
}

pub(crate) fn payer(n: u8) -> Account {
    Account::repeat_byte(0x80 + n)
}

/// The key that signs vouchers for rails of payer `n`.
pub(crate) fn signer(n: u8) -> PrivateKeySigner {
    PrivateKeySigner::from_slice(&[n + 1; 32]).unwrap()
}

/// Device `n` of owner `n`, offering 1,000 units, staked with 1,000 tokens; it needs 200.
pub(crate) fn device(n: u8) -> Device {
    Device {
        id: device_id(n),
        key: secret(n).key(),
        owner: owner(n),
        maker: Account::ZERO,
        kind: ECHO,
        tier: 2,
        cell: 0,
        capacity: 1_000,
        offer: Digest::default(),
        stake: Tokens::whole(1_000),
        netted: Tokens::ZERO,
    }
}

/// A rail of payer 0 to device `n` for at most $10, at most $1 an epoch, from epoch 5 to 100.
pub(crate) fn rail(id: u64, n: u8) -> Rail {
    Rail {
        id: RailId(id),
        payer: payer(0),
        payee: owner(n),
        signer: signer(0).address(),
        device: device_id(n),
        limit: Micros(10_000_000),
        rate: Micros(1_000_000),
        nonce: 50,
        opened: Epoch(4),
        expiry: Epoch(100),
        class: 0,
        presented: Micros::ZERO,
    }
}

pub(crate) fn inputs(epoch: u64, devices: Vec<Device>, rails: Vec<Rail>) -> Inputs {
    let mut roster = devices;
    roster.sort_unstable_by_key(|device| device.id);
    let inputs = Inputs {
        version: 1,
        chain_id: CHAIN,
        network: NETWORK,
        epoch: Epoch(epoch),
        clock: EpochClock { length: 30, grace: 4 },
        mix: [1; 32],
        latest_root: [0; 32],
        rails_contract: RAILS,
        treasury: TREASURY,
        manifest: manifest(),
        roster,
        rails,
        datasets: Vec::new(),
        by_device: Default::default(),
    };
    inputs.validate().unwrap();
    inputs
}

pub(crate) fn genesis() -> Statement {
    Statement::genesis(CHAIN, NETWORK)
}

/// An envelope of device `n`, carried at the epoch's height `at`.
pub(crate) fn said(n: u8, epoch: u64, sequence: u64, at: u64, body: Body) -> Carried {
    let time_ms = 1_700_000_000_000;
    let payload = Payload { network: NETWORK, epoch: Epoch(epoch), sequence, time_ms, body };
    let envelope = Envelope::sign(&secret(n), &payload);
    Carried { digest: envelope.digest(), envelope, height: Height(epoch * 30 + at), time_ms }
}

pub(crate) fn echo(said: &Said) -> Body {
    Body { kind: ECHO, item: Item::of(said) }
}

pub(crate) fn gave(n: u8, epoch: u64, sequence: u64, rail: u64, units: u64) -> Carried {
    said(n, epoch, sequence, 1, echo(&Said::Gave(RailId(rail), units)))
}

pub(crate) fn report(n: u8, epoch: u64, sequence: u64) -> Carried {
    said(
        n,
        epoch,
        sequence,
        1,
        Common::Report(Report { used: 0, free: 0, at: Height(epoch * 30) }).to_body(),
    )
}

pub(crate) fn voucher(by: u8, rail: u64, nonce: u64, amount: u64) -> SignedVoucher {
    let voucher = Voucher { network: NETWORK, rail: RailId(rail), nonce, amount: Micros(amount) };
    signed(by, voucher, CHAIN, RAILS)
}

pub(crate) fn signed(by: u8, voucher: Voucher, chain: u64, contract: Account) -> SignedVoucher {
    let hash = voucher.signing_hash(&domain(chain, contract));
    let signature = signer(by).sign_hash_sync(&hash).unwrap().as_bytes();
    SignedVoucher { voucher, signature }
}

pub(crate) fn presents(n: u8, epoch: u64, sequence: u64, vouchers: Vec<SignedVoucher>) -> Carried {
    let body = Common::Vouchers(vouchers).to_body();
    assert_eq!(body.kind, COMMON);
    said(n, epoch, sequence, 2, body)
}

pub(crate) fn run(
    inputs: &Inputs,
    previous: &Statement,
    carried: Vec<Carried>,
) -> Result<Settled, SettleError> {
    run_with(inputs, previous, carried, Vec::new())
}

pub(crate) fn run_with(
    inputs: &Inputs,
    previous: &Statement,
    carried: Vec<Carried>,
    faults: Vec<AuthorFault>,
) -> Result<Settled, SettleError> {
    settle_with(&kinds, inputs, previous, carried, faults)
}

pub(crate) fn statement(inputs: &Inputs, previous: &Statement, carried: Vec<Carried>) -> Statement {
    run(inputs, previous, carried).unwrap().statement
}

/// The reasons of a device's row, in the row's order.
pub(crate) fn reasons(statement: &Statement, n: u8) -> Vec<Reason> {
    statement.row(device_id(n)).unwrap().causes.iter().map(|cause| cause.reason).collect()
}

/// A forged envelope, numbered, in a batch of the author `n`.
pub(crate) fn fault(n: u8, number: u8) -> AuthorFault {
    AuthorFault {
        author: AuthorKey([n; 32]),
        envelope: Digest([number; 32]),
        height: Height(1),
        batch: Digest([number; 32]),
        reason: Reason::BadSignature,
        bytes: 100 + u64::from(number),
    }
}
