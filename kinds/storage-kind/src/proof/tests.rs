use super::*;
use crate::fixture::{Kept, World, bytes};
use protocol::cbor::Item;

#[test]
fn a_proof_answers_its_own_duty_alone() {
    let world = World::new(1, 1, &[(0, &[3_000, 70_000, 1])]);
    let duties = world.duties(0);
    for (at, duty) in duties.iter().enumerate() {
        let proof = world.proof(duty);
        let task = Task::of(duty).unwrap();
        assert_eq!(check(duty, &task, &proof), Ok(()));
        let other = &duties[(at + 1) % duties.len()];
        let error = check(other, &Task::of(other).unwrap(), &proof);
        assert_eq!(error, Err(ProofError::OtherDuty(duty.rail, duty.index)));
        let newer = Task { version: 2, ..task };
        assert_eq!(check(duty, &newer, &proof), Err(ProofError::OtherVersion(1)));
    }
}

#[test]
fn an_agent_without_the_frozen_dataset_or_the_shard_is_told_so() {
    let world = World::new(2, 1, &[(0, &[3_000])]);
    let duty = &world.duties(0)[0];
    let other = Kept::new([bytes(7, 3_000)]);
    let slice = |_: &Place, _: u64| Err::<Vec<u8>, _>("gone");
    let missing = prove(duty, &other.dataset, slice);
    assert!(matches!(missing, Err(ProveError::Dataset)));
    let gone = prove(duty, &world.kept[&duty.rail].dataset, slice);
    assert!(matches!(gone, Err(ProveError::Shard("gone"))));
    let foreign = Duty { task: Item::of(&1u8), ..duty.clone() };
    let unknown = prove(&foreign, &other.dataset, slice);
    assert!(matches!(unknown, Err(ProveError::Duty(_))));
}

#[test]
fn rot_is_seen_before_signing() {
    let world = World::new(3, 1, &[(0, &[3_000])]);
    let duty = &world.duties(0)[0];
    let mut proof = world.proof(duty);
    *proof.slice.last_mut().unwrap() ^= 1;
    let error = check(duty, &Task::of(duty).unwrap(), &proof);
    assert_eq!(error, Err(ProofError::Slice(bao::BaoError::Mismatch)));
}
