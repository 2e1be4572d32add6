//! Small networks with evidence, each made from one number and the same for ever.
//!
//! A scene has devices of the kind and one of another, rails that live and rails that do not, rails
//! to others, datasets, clocks and manifests of all proportions, and envelopes whose bodies are
//! reports, vouchers, the duties' own tasks thrown back, and noise, carried inside and outside the
//! epoch.

use protocol::{
    Account, DeviceId, Digest, Epoch, Height, KindId, Micros, NetworkId, RailId, Tokens,
    body::{COMMON, Common, Report},
    cbor::Item,
    clock::EpochClock,
    envelope::{Body, Envelope, Payload},
    fixtures,
    inputs::{Dataset, Device, Inputs, Rail},
    key::DeviceSecret,
    kind::{Carried, Duty, Kind},
    manifest::{EvidenceRules, KindTerms, Manifest},
    seed::{Draw, Seed},
    voucher::{SignedVoucher, Voucher},
};

/// A network, and what its devices said in one epoch.
#[derive(Clone, Debug)]
pub struct Scene {
    /// The epoch's inputs.
    pub inputs: Inputs,
    /// All envelopes, ascending by (height, device, sequence).
    pub evidence: Vec<Carried>,
}

/// The epoch in which scenes play.
pub const EPOCH: Epoch = Epoch(7);
/// How many envelopes one device sends at most.
const ENVELOPES_MAX: u64 = 24;

impl Scene {
    /// The scene of `number` for `kind`.
    pub fn new(kind: &dyn Kind, number: u64) -> Self {
        let seed = Seed(*Digest::of(&number.to_be_bytes()).as_bytes());
        let mut draw = seed.draw("wayleave/conformance/scene", &[]);
        let secrets = secrets(1 + draw.below(4));
        let inputs = inputs(kind.id(), &secrets, &mut draw);
        let mut evidence = Vec::new();
        for (device, secret) in inputs.roster.iter().zip(&secrets) {
            let duties = kind.duties(&inputs, device);
            for sequence in 0..draw.below(ENVELOPES_MAX) {
                let body = body(kind.id(), &inputs, &duties, &mut draw);
                let height = height(&inputs, &duties, &mut draw);
                evidence.push(carried(&inputs, secret, (sequence, height), body));
            }
        }
        evidence.sort_by_key(|carried| {
            let sequence = carried.envelope.payload().sequence;
            (carried.height, carried.envelope.device(), sequence)
        });
        Self { inputs, evidence }
    }

    /// The envelopes of one device.
    pub fn of(&self, device: DeviceId) -> impl Iterator<Item = &Carried> {
        self.evidence.iter().filter(move |carried| carried.envelope.device() == device)
    }
}

/// Secrets in the order of their device ids.
fn secrets(count: u64) -> Vec<DeviceSecret> {
    let secret =
        |number: u64| DeviceSecret::from_seed(*Digest::of(&number.to_be_bytes()).as_bytes());
    let mut secrets: Vec<DeviceSecret> = (0..=count).map(secret).collect();
    secrets.sort_by_key(DeviceSecret::id);
    secrets
}

fn inputs(kind: KindId, secrets: &[DeviceSecret], draw: &mut Draw) -> Inputs {
    let roster: Vec<Device> =
        (0..).zip(secrets).map(|(at, secret)| device(kind, at, secret, draw)).collect();
    let rails: Vec<Rail> = (1..=draw.below(12)).map(|id| rail(id, &roster, draw)).collect();
    let datasets = rails
        .iter()
        .filter(|_| draw.below(4) > 0)
        .map(|rail| Dataset {
            rail: rail.id,
            version: 1 + rail.id.0 % 3,
            root: Digest::of(&rail.id.0.to_be_bytes()),
            bytes: rail.id.0 % 5 * 1_000_003,
        })
        .collect();
    Inputs {
        version: 1,
        chain_id: 57_233,
        network: NetworkId(1),
        epoch: EPOCH,
        clock: EpochClock { length: 1 + draw.below(60), grace: draw.below(9) },
        mix: *Digest::of(&draw.below(u64::MAX).to_be_bytes()).as_bytes(),
        latest_root: [0; 32],
        rails_contract: Account::with_last_byte(1),
        treasury: Account::with_last_byte(2),
        manifest: manifest(kind, draw),
        roster,
        rails,
        datasets,
        by_device: Default::default(),
    }
}

fn device(kind: KindId, at: u8, secret: &DeviceSecret, draw: &mut Draw) -> Device {
    Device {
        id: secret.id(),
        key: secret.key(),
        owner: Account::with_last_byte(10 + at),
        maker: Account::ZERO,
        // The first is another kind's.
        kind: if at == 0 { KindId(kind.0.wrapping_add(1).max(1)) } else { kind },
        tier: u8::try_from(draw.below(4)).unwrap_or(0),
        cell: 0,
        capacity: draw.below(10_000_000),
        offer: Digest::of(&[at]),
        stake: Tokens::whole(draw.below(100)),
        netted: Tokens::ZERO,
    }
}

fn rail(id: u64, roster: &[Device], draw: &mut Draw) -> Rail {
    let choice = usize::try_from(draw.below(16)).unwrap_or(0);
    let (device, owner) =
        roster.get(choice % (roster.len() + 1)).map(|d| (d.id, d.owner)).unwrap_or_default();
    Rail {
        id: RailId(id),
        payer: Account::with_last_byte(100),
        payee: owner,
        signer: Account::with_last_byte(101),
        device,
        limit: Micros(1_000_000),
        rate: Micros(draw.below(1_000)),
        nonce: draw.below(3),
        opened: Epoch(EPOCH.0 - 3 + draw.below(5)),
        expiry: Epoch(EPOCH.0 - 1 + draw.below(5)),
        class: 0,
        presented: Micros::ZERO,
    }
}

fn manifest(kind: KindId, draw: &mut Draw) -> Manifest {
    let small = |draw: &mut Draw, below| u16::try_from(draw.below(below)).unwrap_or(0);
    let rules = fixtures::manifest(kind);
    Manifest {
        name: "conformance".into(),
        evidence: EvidenceRules {
            slack: small(draw, 10),
            absence_epochs: 3,
            unbonding_epochs: 3,
            ..rules.evidence
        },
        kinds: vec![KindTerms {
            kind,
            price: Micros(draw.below(1_000_000)),
            delivery_price: Micros(draw.below(1_000_000)),
            per_units: 1 + draw.below(1 << 31),
            stake_base: Tokens::whole(draw.below(100)),
            stake_per: Tokens::whole(draw.below(100)),
            positions: 1 + small(draw, 7),
            window: 1 + small(draw, 12),
        }],
        ..rules
    }
}

fn body(kind: KindId, inputs: &Inputs, duties: &[Duty], draw: &mut Draw) -> Body {
    let pick = |draw: &mut Draw, length: usize| {
        let bound = u64::try_from(length).unwrap_or(u64::MAX);
        usize::try_from(draw.below(bound)).unwrap_or(0)
    };
    let duty = (!duties.is_empty()).then(|| &duties[pick(draw, duties.len())]);
    let item = match (draw.below(8), duty) {
        (0..=2, _) => {
            let at = Height(inputs.first_height().0.saturating_add(draw.below(80)));
            return Common::Report(Report { used: 1, free: 2, at }).to_body();
        }
        (3, _) => return Common::Vouchers(vec![voucher(inputs, draw)]).to_body(),
        (4, Some(duty)) => duty.task.clone(),
        // The form of an enum's first and second variant about a duty that there is.
        (5, Some(duty)) => Item::of(&(draw.below(3), (duty.rail, duty.index, noise(draw)))),
        (6, _) => Item::of(&(draw.below(3), vec![noise(draw)])),
        _ => noise(draw),
    };
    let kinds = [kind, kind, kind, COMMON, KindId(u16::MAX)];
    Body { kind: kinds[pick(draw, kinds.len())], item }
}

/// One random deterministic CBOR item.
fn noise(draw: &mut Draw) -> Item {
    let number = draw.below(u64::MAX);
    let length = usize::try_from(draw.below(40)).unwrap_or(0);
    match draw.below(6) {
        0 => Item::of(&number),
        1 => Item::of(&vec![number; length]),
        2 => Item::of(&"x".repeat(length)),
        3 => Item::of(&Digest::of(&number.to_be_bytes())),
        4 => Item::of(&(number % 4, (1u64, 0u16, 1u64, (Digest::default(), number), vec![1u8]))),
        _ => Item::of(&(number % 4, vec![(number, vec![number])])),
    }
}

fn voucher(inputs: &Inputs, draw: &mut Draw) -> SignedVoucher {
    let voucher = Voucher {
        network: inputs.network,
        rail: RailId(draw.below(14)),
        nonce: draw.below(4),
        amount: Micros(draw.below(1_000)),
    };
    let byte = u8::try_from(draw.below(256)).unwrap_or(0);
    SignedVoucher { voucher, signature: [byte; 65] }
}

/// A height: half of the time about a duty's window, else about the epoch.
fn height(inputs: &Inputs, duties: &[Duty], draw: &mut Draw) -> Height {
    let first = inputs.first_height().0;
    let length = inputs.clock.length + inputs.clock.grace;
    let at = usize::try_from(draw.below(64)).unwrap_or(0);
    match duties.get(at) {
        Some(duty) => Height(duty.from.0.saturating_sub(2) + draw.below(20)),
        None => Height(first.saturating_sub(2) + draw.below(length + 4)),
    }
}

fn carried(
    inputs: &Inputs,
    secret: &DeviceSecret,
    (sequence, height): (u64, Height),
    body: Body,
) -> Carried {
    let time_ms = height.0.saturating_mul(500);
    let (network, epoch) = (inputs.network, inputs.epoch);
    let envelope = Envelope::sign(secret, &Payload { network, epoch, sequence, time_ms, body });
    let digest = envelope.digest();
    Carried { envelope, digest, height, time_ms }
}
