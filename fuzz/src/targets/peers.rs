//! What nodes of the ledger say to one another, and what they keep of it.

use super::ledger::{CERTIFICATE, TRANSACTION, header};
use crate::Target;
use alloy_consensus::{Eip658Value, Receipt, ReceiptEnvelope, ReceiptWithBloom};
use alloy_eips::eip2718::Encodable2718 as _;
use alloy_primitives::{Address, Bloom, Log};
use bytes::Bytes;
use commonware_codec::Encode as _;
use consensus::{ValidatorKeys, fuzzing};

/// Bytes of the seed that decodes to one of each message.
pub(super) const JOIN: Target = Target {
    name: "join-message",
    about: "what nodes ask of one another in order to join and to follow",
    run: |bytes| whole(bytes, fuzzing::join_message(bytes)),
    seeds: || {
        let certificate = (CERTIFICATE.seeds)().swap_remove(0);
        let (header, tip) = (header(), [header(), certificate].concat());
        let seat = ValidatorKeys::derive(&[1; 32]).validator(Address::repeat_byte(1));
        let mut seats = vec![1];
        seats.extend_from_slice(seat.key.as_slice());
        seats.extend_from_slice(seat.seed_key.as_slice());
        seats.extend_from_slice(seat.possession.as_slice());
        seats.extend_from_slice(seat.account.as_slice());
        let height = 7u64.to_be_bytes();
        let bodies = [
            [&[0], &height[..]].concat(),
            [&[1], &height[..]].concat(),
            [&[2], &height[..]].concat(),
            [&[3], &height[..], &[1, 1], &tip].concat(),
            [&[3], &height[..], &[0, 0]].concat(),
            [&[4, 2], &tip[..], &seats, &tip, &[0]].concat(),
            [&[5], &header[..], &seats].concat(),
        ];
        // The number of the question stands first.
        bodies.map(|body| [&height[..], &body].concat()).to_vec()
    },
};

/// The first byte says of what: transactions if it is even, blobs otherwise.
pub(super) const GOSSIP: Target = Target {
    name: "gossip",
    about: "gossiped transactions and blobs",
    run: |bytes| {
        let Some((topic, message)) = bytes.split_first() else { return false };
        whole(
            message,
            match topic % 2 {
                0 => fuzzing::gossiped_transactions(message),
                _ => fuzzing::gossiped_blobs(message),
            },
        )
    },
    seeds: || {
        let transactions: Vec<Bytes> = (TRANSACTION.seeds)().into_iter().map(Bytes::from).collect();
        let blobs = vec![Bytes::from_static(b"a blob"), Bytes::from(vec![7; 300])];
        vec![[&[0], &transactions.encode()[..]].concat(), [&[1], &blobs.encode()[..]].concat()]
    },
};

pub(super) const RECEIPT: Target = Target {
    name: "kept-receipt",
    about: "a receipt in the history file",
    run: |bytes| {
        let Some(again) = fuzzing::kept_receipt(bytes) else { return false };
        // Without a created contract its place may hold anything, and is written as zero.
        assert_eq!(again.len(), bytes.len());
        assert_eq!(again[21..], bytes[21..], "what decodes encodes back to the same bytes");
        true
    },
    seeds: || {
        let log = Log::new_unchecked(Address::repeat_byte(1), vec![[2; 32].into()], "data".into());
        let receipt = Receipt {
            status: Eip658Value::Eip658(true),
            cumulative_gas_used: 21_000,
            logs: vec![log],
        };
        let receipt = ReceiptWithBloom { receipt, logs_bloom: Bloom::repeat_byte(3) };
        [ReceiptEnvelope::Legacy(receipt.clone()), ReceiptEnvelope::Eip1559(receipt)]
            .map(|envelope| [vec![0; 45], envelope.encoded_2718()].concat())
            .to_vec()
    },
};

/// Whether the bytes were taken; what decodes encodes back to the same.
fn whole(bytes: &[u8], again: Option<Vec<u8>>) -> bool {
    let Some(again) = again else { return false };
    assert_eq!(again, bytes, "what decodes encodes back to the same bytes");
    true
}
