//! Honest authors never have a fault, whatever devices send, proposers choose and power does.
//!
//! Authors take in what devices send, hear of blocks late, sign, and lose their memory but not their journal;
//! proposers carry any batch that was ever signed, at any height, as often as they like, those of a liar too.
//! Between the two epochs the roster loses a device and a rail ends.

use super::*;
use crate::{Head, Ingest, fixture::*, ingest::Limits, wire::Answer};
use proptest::prelude::*;
use protocol::{Epoch, envelope::Payload, key::DeviceSecret};
use std::sync::Arc;

const AUTHORS: usize = 3;
/// Five blocks before the first epoch.
const FIRST: u64 = 295;

#[derive(Clone, Debug)]
enum Step {
    Submit(usize, Sent),
    /// An author signs a batch.
    Sign(usize),
    /// A proposer carries these of the batches signed so far.
    Block(Vec<prop::sample::Index>),
    /// Blocks without anything.
    Pass(u64),
    /// An author hears of so many blocks more.
    Hear(usize, usize),
    /// An author dies and starts again.
    Crash(usize),
    /// A liar signs what it was sent, unchecked.
    Lie(Sent),
}

#[derive(Clone, Copy, Debug)]
struct Sent {
    device: u8,
    sequence: u64,
    used: u64,
    next: bool,
    what: u8,
}

impl Sent {
    fn bytes(self) -> Vec<u8> {
        let epoch = if self.next { EPOCH.next() } else { EPOCH };
        let sound = Payload { epoch, ..payload(self.sequence, self.used) };
        match self.what {
            0 => forged(&sign(self.device, &sound)),
            1 => sign(self.device, &Payload { network: NetworkId(2), ..sound }),
            2 => sign(self.device, &Payload { epoch: Epoch(12), ..sound }),
            3 => vec![self.device; 200],
            // Large ones, of which few fit into a quota.
            4..=12 => {
                let length = 500 + 700 * usize::try_from(self.used).unwrap();
                let item =
                    protocol::cbor::Item::of(&minicbor::bytes::ByteVec::from(vec![7; length]));
                let kind = if self.what == 4 { KindId(8) } else { KIND };
                let body = protocol::envelope::Body { kind, item };
                sign(self.device, &Payload { body, ..sound })
            }
            _ => sign(self.device, &sound),
        }
    }
}

fn sent() -> impl Strategy<Value = Sent> {
    (1u8..=3, 0u64..12, 0u64..4, prop::bool::weighted(0.3), 0u8..16).prop_map(
        |(device, sequence, used, next, what)| Sent { device, sequence, used, next, what },
    )
}

fn step() -> impl Strategy<Value = Step> {
    let author = 0..AUTHORS;
    prop_oneof![
        12 => (author.clone(), sent()).prop_map(|(author, sent)| Step::Submit(author, sent)),
        4 => author.clone().prop_map(Step::Sign),
        5 => proptest::collection::vec(any::<prop::sample::Index>(), 0..4).prop_map(Step::Block),
        1 => (1u64..4).prop_map(Step::Pass),
        4 => (author.clone(), 1usize..8).prop_map(|(author, blocks)| Step::Hear(author, blocks)),
        3 => author.prop_map(Step::Crash),
        1 => sent().prop_map(Step::Lie),
    ]
}

/// Both epochs: device 1 serves a rail in the first, device 2 is gone in the second.
fn both() -> [Arc<Inputs>; 2] {
    let (first, mut second) = (serving(), inputs_of(EPOCH.next()));
    second.roster.retain(|device| device.id != id(2));
    [first, second].map(Arc::new)
}

struct Author {
    secret: DeviceSecret,
    ingest: Ingest,
    journal: Vec<Vec<u8>>,
    heard: usize,
}

impl Author {
    fn new(number: usize) -> Self {
        let secret = secret(100 + u8::try_from(number).unwrap());
        let ingest = begun(&secret);
        Self { secret, ingest, journal: Vec::new(), heard: 0 }
    }

    fn hear(&mut self, blocks: &[BlockEvidence]) {
        for block in blocks {
            for batch in batches(block.blobs(), CHAIN, None) {
                self.ingest.carried(&batch);
            }
            self.ingest.advance(Head { height: block.height, time_ms: block.time_ms });
            self.heard += 1;
        }
    }

    fn crash(&mut self, blocks: &[BlockEvidence]) {
        let heard = std::mem::take(&mut self.heard);
        self.ingest = begun(&self.secret);
        self.hear(&blocks[..heard]);
        for bytes in &self.journal {
            self.ingest.restore(bytes);
        }
    }
}

fn begun(secret: &DeviceSecret) -> Ingest {
    let secret = DeviceSecret::from_seed(secret.seed());
    let mut ingest = Ingest::new(secret, CHAIN, sizes(), Limits::default());
    both().into_iter().for_each(|inputs| ingest.open(inputs));
    ingest.advance(Head { height: Height(FIRST - 1), time_ms: TIME });
    ingest
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn honest_authors_have_no_fault(steps in proptest::collection::vec(step(), 30..150)) {
        let liar = secret(150);
        let mut authors: Vec<_> = (0..AUTHORS).map(Author::new).collect();
        let (mut signed, mut blocks) = (Vec::<Vec<u8>>::new(), Vec::<BlockEvidence>::new());
        let carry = |blobs: Vec<Vec<u8>>, blocks: &mut Vec<BlockEvidence>| {
            let height = FIRST + u64::try_from(blocks.len()).unwrap();
            blocks.push(BlockEvidence::new(Height(height), TIME, blobs));
        };
        for step in steps {
            match step {
                Step::Submit(author, sent) => {
                    let (author, bytes) = (&mut authors[author], sent.bytes());
                    if matches!(author.ingest.submit(&bytes, TIME), Answer::Accepted(_)) {
                        author.journal.push(bytes);
                    }
                }
                Step::Sign(author) => {
                    let batch = authors[author].ingest.take().0;
                    signed.extend(batch.map(|batch| batch.to_bytes()));
                }
                Step::Block(picks) if signed.is_empty() => {
                    carry(vec![vec![0xff; picks.len()]], &mut blocks);
                }
                Step::Block(picks) => {
                    let picked = picks.iter().map(|pick| pick.get(&signed).clone()).collect();
                    carry(picked, &mut blocks);
                }
                Step::Pass(count) => (0..count).for_each(|_| carry(Vec::new(), &mut blocks)),
                Step::Hear(author, count) => {
                    let author = &mut authors[author];
                    let to = blocks.len().min(author.heard + count);
                    author.hear(&blocks[author.heard..to]);
                }
                Step::Crash(author) => authors[author].crash(&blocks),
                Step::Lie(sent) => {
                    let batch = Batch::sign(&liar, CHAIN, NETWORK, vec![sent.bytes()]);
                    signed.push(batch.to_bytes());
                }
            }
        }
        for inputs in both() {
            for fault in replay(&inputs, &sizes(), &blocks).faults {
                prop_assert_eq!(fault.author.0, liar.key().x(), "{:?}", fault);
            }
        }
    }
}
