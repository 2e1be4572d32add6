//! What validators take in, sign, and keep.

use super::{CHAIN, SECRET, economy::envelope};
use crate::Target;
use evidence::{
    Acceptance, Batch, BlockEvidence,
    wire::{Answer, Answers, Request, Response, Submit},
};
use protocol::{Digest, Epoch, Height, NetworkId, Reason, cbor, key::DeviceSecret};

pub(super) const BATCH: Target = Target {
    name: "batch",
    about: "a blob: a batch of envelopes and its author's signature",
    run: |bytes| {
        let Ok(batch) = Batch::from_bytes(bytes, CHAIN) else { return false };
        assert_eq!(batch.to_bytes(), bytes);
        assert!(batch.envelopes().len() > 0);
        true
    },
    seeds: || vec![batch()],
};

fn batch() -> Vec<u8> {
    let secret = DeviceSecret::from_seed(SECRET);
    Batch::sign(&secret, CHAIN, NetworkId(1), vec![envelope(1), envelope(2)]).to_bytes()
}

pub(super) const ACCEPTANCE: Target = Target {
    name: "acceptance",
    about: "a validator's signed acceptance of an envelope",
    run: |bytes| {
        let Ok(acceptance) = Acceptance::from_bytes(bytes) else { return false };
        assert_eq!(acceptance.to_bytes(), bytes);
        acceptance.verify(CHAIN).is_ok()
    },
    seeds: || vec![acceptance().to_bytes()],
};

fn acceptance() -> Acceptance {
    let secret = DeviceSecret::from_seed(SECRET);
    Acceptance::sign(&secret, CHAIN, Digest::of(b"x"), (NetworkId(1), Epoch(2)), Height(60))
}

pub(super) const BLOCK_EVIDENCE: Target = Target {
    name: "block-evidence",
    about: "the archive's file of one block's blobs",
    run: |bytes| {
        let Ok(evidence) = BlockEvidence::from_bytes(bytes) else { return false };
        assert_eq!(evidence.to_bytes(), bytes);
        !evidence::replay::batches(evidence.blobs(), CHAIN, None).is_empty()
    },
    seeds: || vec![BlockEvidence::new(Height(9), 1_795_000_000_000, [batch(), vec![1]]).to_bytes()],
};

/// The first byte says which message follows.
pub(super) const MESSAGES: Target = Target {
    name: "evidence-messages",
    about: "what agents and validators say to one another",
    run: |bytes| {
        let Some((kind, bytes)) = bytes.split_first() else { return false };
        let again = match kind % 4 {
            0 => Submit::from_bytes(bytes).ok().map(|message| message.to_bytes()),
            1 => Answers::from_bytes(bytes).ok().map(|message| message.to_bytes()),
            2 => Request::from_bytes(bytes).ok().map(|message| message.to_bytes()),
            _ => Response::from_bytes(bytes).ok().map(|message| message.to_bytes()),
        };
        assert!(again.as_ref().is_none_or(|again| again == bytes));
        again.is_some()
    },
    seeds: || {
        let answers = vec![
            Answer::Accepted(acceptance()),
            Answer::Replayed(acceptance()),
            Answer::Refused(Reason::ALL[0]),
        ];
        let request = Request::Inputs(NetworkId(1), Epoch(2));
        vec![
            [&[0], &Submit::new([envelope(1), envelope(2)]).to_bytes()[..]].concat(),
            [&[1], &Answers { answers }.to_bytes()[..]].concat(),
            [&[2], &cbor::to_vec(&request)[..]].concat(),
            [&[3], &cbor::to_vec(&Response::File)[..]].concat(),
        ]
    },
};
