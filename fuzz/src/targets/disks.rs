//! What agents keep on their own disks.

use super::economy::envelope;
use crate::Target;
use agent::journal::{Kept, Purpose};
use protocol::{
    Account, DeviceId, Digest, Epoch, Height, KindId, Micros, NetworkId, RailId, Tokens, cbor,
    inputs::Rail,
    manifest::KindTerms,
    voucher::{SignedVoucher, Voucher},
};
use storage_agent::{fuzzing, tab::Tab};
use storage_kind::dataset::Shard;

/// A version of a dataset, as [`RAIL`] and [`CHANGE`] have it.
type Version = (u64, u64, Digest, u64, u64, Digest);

const VERSION: Version = (2, 1, Digest([3; 32]), 1_000, 1, Digest([4; 32]));

pub(super) const RAIL: Target = Target {
    name: "agent-rail",
    about: "what a storage agent's index knows of a rail",
    run: |bytes| whole(bytes, fuzzing::rail_record(bytes)),
    seeds: || {
        let terms = Rail {
            id: RailId(1),
            payer: Account::repeat_byte(1),
            payee: Account::repeat_byte(2),
            signer: Account::repeat_byte(3),
            device: DeviceId([4; 32]),
            limit: Micros(1_000_000),
            rate: Micros(1_000),
            nonce: 5,
            opened: Epoch(0),
            expiry: Epoch(9),
            class: 0,
            presented: Micros(0),
        };
        let earned = Some((Epoch(3), Micros(2_000)));
        vec![
            cbor::to_vec(&(terms, 2u64, VERSION, None::<Epoch>, earned)),
            cbor::to_vec(&(terms, 2u64, VERSION, Some(Epoch(4)), earned)),
        ]
    },
};

pub(super) const CHANGE: Target = Target {
    name: "agent-version",
    about: "a version of a dataset in a storage agent's index",
    run: |bytes| whole(bytes, fuzzing::change(bytes)),
    seeds: || {
        let shard = Shard { hash: Digest::of(b"a shard"), bytes: 1_000 };
        vec![cbor::to_vec(&(VERSION, vec![shard], vec![Digest([5; 32])]))]
    },
};

/// The first eight bytes are a price and what is delivered next.
pub(super) const TAB: Target = Target {
    name: "agent-tab",
    about: "what a storage agent's customer owes and promised, and what comes after",
    run: |bytes| {
        let Some((number, bytes)) = bytes.split_first_chunk::<8>() else { return false };
        let Ok(tab) = cbor::from_slice::<Tab>(bytes) else { return false };
        assert_eq!(cbor::to_vec(&tab), bytes);
        let number = u64::from_be_bytes(*number);
        let terms = KindTerms {
            kind: KindId(1),
            price: Micros(1),
            delivery_price: Micros(number.rotate_left(32)),
            per_units: number.rotate_left(17),
            stake_base: Tokens::ZERO,
            stake_per: Tokens::ZERO,
            positions: 1,
            window: 1,
        };
        let mut later = tab;
        if later.deliver(number, &terms, Micros(number)).is_ok() {
            assert!(later.delivered >= tab.delivered);
            later.withdraw(number, &terms);
        }
        let _ = later.exposed(&tab, number);
        true
    },
    seeds: || {
        let voucher =
            Voucher { network: NetworkId(1), rail: RailId(1), nonce: 5, amount: Micros(100) };
        let best = Some(SignedVoucher { voucher, signature: [1; 65] });
        let tab = Tab { delivered: 1_000, best, owed: None };
        [Tab::default(), tab].map(|tab| [&[1; 8], &cbor::to_vec(&tab)[..]].concat()).to_vec()
    },
};

/// The first byte is even for a file, and odd for the records of an entry, of which the file is made.
pub(super) const JOURNAL: Target = Target {
    name: "agent-journal",
    about: "the file of small shards that a storage agent's index does not have yet",
    run: |bytes| {
        let Some((records, bytes)) = bytes.split_first() else { return false };
        if records % 2 == 0 {
            return fuzzing::journal(bytes).is_some();
        }
        let file = fuzzing::journal_file(bytes).expect("a short entry");
        whole(bytes, fuzzing::journal(&file))
    },
    seeds: || {
        let bytes = minicbor::bytes::ByteVec::from(vec![7u8; 100]);
        let records = cbor::to_vec(&[(RailId(1), Digest::of(&bytes), &bytes)]);
        let file = fuzzing::journal_file(&records).expect("a short entry");
        vec![[&[0], &file[..]].concat(), [&[1], &records[..]].concat()]
    },
};

pub(super) const OUTBOX: Target = Target {
    name: "agent-outbox",
    about: "an envelope in an agent's journal",
    run: |bytes| {
        let Ok(kept) = cbor::from_slice::<Kept>(bytes) else { return false };
        assert_eq!(cbor::to_vec(&kept), bytes);
        true
    },
    seeds: || {
        let vouchers = vec![(RailId(1), Micros(5)), (RailId(2), Micros(6))];
        let purposes = [
            Purpose::Loss(RailId(1), 2),
            Purpose::Proof(RailId(1), 2),
            Purpose::Report,
            Purpose::Vouchers(vouchers),
        ];
        let kept = purposes.map(|purpose| Kept {
            epoch: Epoch(7),
            sequence: 1,
            purpose,
            made_at: Height(70),
            until: Height(76),
            size: 200,
            bytes: envelope(1),
            acceptance: Vec::new(),
        });
        kept.iter().map(cbor::to_vec).collect()
    },
};

/// Whether the bytes were taken; what decodes encodes back to the same.
fn whole(bytes: &[u8], again: Option<Vec<u8>>) -> bool {
    let Some(again) = again else { return false };
    assert_eq!(again, bytes, "what decodes encodes back to the same bytes");
    true
}
