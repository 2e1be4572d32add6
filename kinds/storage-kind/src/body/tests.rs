use super::*;
use crate::{
    bao::CHUNK_SLICE_MAX,
    dataset::{PATH_MAX, Side},
    fixture::World,
};
use protocol::{Height, KindId, envelope::PROOF_MAX};

fn largest() -> Proof {
    let sibling = Sibling { side: Side::Right, hash: Digest([9; 32]), bytes: u64::MAX };
    Proof {
        rail: RailId(u64::MAX),
        index: u16::MAX,
        version: u64::MAX,
        shard: Shard { hash: Digest([1; 32]), bytes: u64::MAX },
        path: vec![sibling; PATH_MAX],
        slice: vec![7; CHUNK_SLICE_MAX],
    }
}

fn loss(count: u8) -> Loss {
    let shards = (0..count).map(|byte| Digest([byte; 32])).collect();
    Loss { rail: RailId(1), version: 2, shards }
}

#[test]
fn bodies_read_back() {
    for evidence in [Evidence::Proof(largest()), Evidence::Loss(loss(64)), Evidence::Loss(loss(0))]
    {
        let body = evidence.to_body();
        assert_eq!(protocol::cbor::check(body.item.as_bytes()), Ok(()));
        assert_eq!(Evidence::from_body(&body), Ok(evidence));
    }
}

#[test]
fn the_largest_proof_fits_its_envelope() {
    let world = World::new(1, 1, &[(0, &[10])]);
    let carried = world.proved(0, u64::MAX, largest(), Height(1 << 50));
    let bytes = carried.envelope.bytes().len();
    assert!(bytes <= PROOF_MAX);
    // The reports at both ends of its window have room beside it in what a duty adds to the quota.
    assert!(u64::try_from(bytes + 2 * 1024).unwrap() <= protocol::inputs::DUTY_BYTES);
}

#[test]
fn what_is_beyond_a_limit_or_out_of_order_is_malformed() {
    let refused = |evidence: Evidence| Evidence::from_body(&evidence.to_body()).is_err();
    let mut long_path = largest();
    long_path.path.push(long_path.path[0]);
    let mut long_slice = largest();
    long_slice.slice.push(0);
    let mut turned = loss(2);
    turned.shards.reverse();
    assert!(refused(Evidence::Proof(long_path)));
    assert!(refused(Evidence::Proof(long_slice)));
    assert!(refused(Evidence::Loss(loss(65))));
    assert!(refused(Evidence::Loss(turned)));
    let other = envelope::Body { kind: KindId(2), ..Evidence::Loss(loss(1)).to_body() };
    assert!(Evidence::from_body(&other).is_err());
}
