//! What devices say in an epoch, judged and settled.
//!
//! An input is the number of a small network ([`conformance::scene`]) and reports: which device, how many
//! blocks after the epoch's first the report is carried, the length of its body, and the body. The device's
//! own key signs it, so that what follows a signature is reached.

use crate::Target;
use conformance::scene::Scene;
use protocol::{
    Digest, Height, cbor,
    envelope::{Body, Envelope, Payload},
    inputs::Inputs,
    key::DeviceSecret,
    kind::{Carried, Kind},
    statement::Statement,
};
use settlement::{SettleError, settle};

/// Devices of a scene, at most.
const DEVICES: u64 = 8;

pub(super) const SETTLEMENT: Target = Target {
    name: "settlement",
    about: "an epoch with reports of anything, judged and settled",
    run: |bytes| {
        let Some((number, mut rest)) = bytes.split_first() else { return false };
        let Scene { inputs, mut evidence } = Scene::new(kind(), u64::from(*number));
        let (mut sequence, scripted) = (1_000, evidence.len());
        while let Some(([device, height, length], tail)) = rest.split_first_chunk::<3>() {
            let (body, after) = tail.split_at(usize::from(*length).min(tail.len()));
            evidence.extend(carried(&inputs, (*device, *height, sequence), body));
            (rest, sequence) = (after, sequence + 1);
        }
        let added = evidence.len() > scripted;
        let previous = Statement::genesis(inputs.chain_id, inputs.network);
        match settle(&inputs, &previous, evidence) {
            Ok(settled) => {
                let statement = settled.statement.to_bytes();
                assert_eq!(Statement::from_bytes(&statement).as_ref(), Ok(&settled.statement));
                added
            }
            Err(SettleError::Violation(violation)) => panic!("{violation}"),
            Err(_) => false,
        }
    },
    seeds: || (0..12).map(|number| [&[number][..], &reports(number)].concat()).collect(),
};

fn kind() -> &'static dyn Kind {
    registry::KINDS[0]
}

/// A report of a device of the roster, if the body is one item of its kind.
fn carried(
    inputs: &Inputs,
    (device, height, sequence): (u8, u8, u64),
    body: &[u8],
) -> Option<Carried> {
    let body: Body = cbor::from_slice(body).ok()?;
    let device = &inputs.roster[usize::from(device) % inputs.roster.len()];
    let secret = (0..DEVICES)
        .map(|number| DeviceSecret::from_seed(*Digest::of(&number.to_be_bytes()).as_bytes()))
        .find(|secret| secret.id() == device.id)?;
    let height = Height(inputs.first_height().0.saturating_add(u64::from(height)));
    let time_ms = height.0.saturating_mul(500);
    let (network, epoch) = (inputs.network, inputs.epoch);
    let envelope = Envelope::sign(&secret, &Payload { network, epoch, sequence, time_ms, body });
    let digest = envelope.digest();
    Some(Carried { envelope, digest, height, time_ms })
}

/// What the scene's devices say, once more: bodies short enough for one byte of length.
fn reports(number: u8) -> Vec<u8> {
    let Scene { evidence, inputs } = Scene::new(kind(), u64::from(number));
    let mut reports = Vec::new();
    let silent = Body { kind: kind().id(), item: cbor::Item::of(&0u64) };
    let said = evidence.iter().map(|carried| (carried.height, &carried.envelope.payload().body));
    for (height, body) in said.chain([(inputs.first_height(), &silent)]).take(24) {
        let body = cbor::to_vec(body);
        let after = height.0.saturating_sub(inputs.first_height().0);
        let (Ok(after), Ok(length)) = (u8::try_from(after), u8::try_from(body.len())) else {
            continue;
        };
        reports.extend_from_slice(&[number, after, length]);
        reports.extend_from_slice(&body);
    }
    reports
}
