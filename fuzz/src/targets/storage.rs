//! What services and storage agents say to one another, and what agents prove.

use crate::Target;
use protocol::{Digest, Micros, RailId, cbor};
use std::sync::LazyLock;
use storage_kind::{
    bao::{self, Outboard},
    body::{Evidence, Proof},
    dataset::{self, Dataset, Shard},
    wire::{Commit, Form, Get, Introduction, Put, Request, Response},
};

pub(super) const EVIDENCE: Target = Target {
    name: "storage-evidence",
    about: "a storage proof: its path in the dataset and its Bao slice",
    run: |bytes| {
        let Ok(evidence) = cbor::from_slice::<Evidence>(bytes) else { return false };
        assert_eq!(cbor::to_vec(&evidence), bytes);
        let Evidence::Proof(Proof { shard, path, slice, .. }) = evidence else { return true };
        if let Ok(chunk) = bao::verify(shard.hash, shard.bytes, 0, &slice) {
            // Whoever finds another slice of these bytes has broken BLAKE3.
            assert!(Digest::of(chunk) == shard.hash || shard.bytes > bao::CHUNK);
        }
        dataset::verify(proven().1, 4_000, 3_100, shard, &path).is_ok()
    },
    seeds: || vec![cbor::to_vec(&Evidence::Proof(proven().0))],
};

/// A proof that holds, and the root it leads to.
fn proven() -> (Proof, Digest) {
    let files: Vec<Vec<u8>> = (1..=4u8).map(|n| vec![n; 1_000]).collect();
    let shards = files.iter().map(|file| Shard { hash: Digest::of(file), bytes: 1_000 });
    let dataset = Dataset::build(shards).expect("four distinct shards");
    let place = dataset.locate(3_100).expect("a byte of the last shard");
    let shard = dataset.shards()[place.index];
    let file = files.iter().find(|file| Digest::of(file) == shard.hash).expect("one of them");
    let proof = Proof {
        rail: RailId(1),
        index: 0,
        version: 1,
        shard,
        path: dataset.proof(place.index).expect("it is there"),
        slice: bao::slice(file, 0).expect("the first chunk"),
    };
    (proof, dataset.root())
}

pub(super) const REQUEST: Target = Target {
    name: "storage-request",
    about: "what a service asks of an agent",
    run: |bytes| {
        let Ok(request) = Request::from_bytes(bytes) else { return false };
        assert_eq!(request.to_bytes(), bytes);
        true
    },
    seeds: || {
        let (rail, hash) = (RailId(5), Digest::of(b"a shard"));
        let shard = Shard { hash, bytes: 1_000 };
        let get =
            Get { rail, shard: hash, offset: 0, length: 10, form: Form::Slice, voucher: None };
        let commit = Commit { rail, base: 0, version: 1, added: vec![shard], removed: vec![hash] };
        let requests = [
            Request::Introduce(Introduction { signature: [1; 65] }),
            Request::Terms,
            Request::Put(Put { rail, shard }),
            Request::Get(get),
            Request::Holds(rail, vec![hash]),
            Request::Stat(rail),
            Request::Commit(commit),
        ];
        requests.iter().map(Request::to_bytes).collect()
    },
};

pub(super) const RESPONSE: Target = Target {
    name: "storage-response",
    about: "what an agent answers",
    run: |bytes| {
        let Ok(response) = Response::from_bytes(bytes) else { return false };
        assert_eq!(response.to_bytes(), bytes);
        true
    },
    seeds: || {
        use storage_kind::wire::Refusal;
        let responses = [
            Response::Welcome([7; 20].into()),
            Response::Stored,
            Response::Data(1_000),
            Response::Holds(vec![true, false]),
            Response::Refused(Refusal::NotHeld(Digest::of(b"a shard"))),
            Response::Refused(Refusal::LimitTooLow(Micros(5))),
        ];
        responses.iter().map(Response::to_bytes).collect()
    },
};

/// Length, offset and count stand before the slice, 8 bytes each.
pub(super) const SLICE: Target = Target {
    name: "bao-slice",
    about: "a Bao slice of any range of a file",
    run: |bytes| {
        let Some((numbers, slice)) = bytes.split_first_chunk::<24>() else { return false };
        let number = |at: usize| {
            let mut number = [0; 8];
            number.copy_from_slice(&numbers[at..at + 8]);
            u64::from_le_bytes(number)
        };
        let (file, hash) = &*FILE;
        let part = bao::decode(*hash, number(0), number(8), number(16), slice);
        let Ok(part) = part else { return false };
        let from = usize::try_from(number(8)).expect("within the file");
        assert_eq!(part, &file[from..from + part.len()], "a slice proved another file");
        true
    },
    seeds: || {
        let file = &FILE.0;
        let outboard = Outboard::of(file);
        let read = |offset: u64, length: usize| {
            let from = usize::try_from(offset).unwrap_or(usize::MAX);
            Ok::<_, std::convert::Infallible>(
                file.iter().skip(from).take(length).copied().collect(),
            )
        };
        let slice = outboard.encode(2_000, 3_000, read).expect("a range of the file");
        let length = u64::try_from(file.len()).expect("small");
        let numbers = [length, 2_000, 3_000].map(u64::to_le_bytes).concat();
        vec![[numbers, slice].concat()]
    },
};

/// A file of more than one group, and its hash.
static FILE: LazyLock<(Vec<u8>, Digest)> = LazyLock::new(|| {
    let file: Vec<u8> = (0..10_000u32).flat_map(u32::to_le_bytes).collect();
    let hash = Digest::of(&file);
    (file, hash)
});

pub(super) const OUTBOARD: Target = Target {
    name: "outboard",
    about: "the hashes an agent keeps beside a shard",
    run: |bytes| {
        let Some(outboard) = Outboard::from_bytes(bytes) else { return false };
        assert_eq!(outboard.to_bytes(), bytes);
        let _ = outboard.slice(0, |_, _| Err(()));
        true
    },
    seeds: || vec![Outboard::of(&FILE.0).to_bytes(), Outboard::of(b"small").to_bytes()],
};
