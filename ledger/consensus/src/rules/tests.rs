use super::*;
use crate::{
    committee::Committee,
    genesis::{GENESIS_FORMAT, Genesis},
};
use alloy_primitives::Address;
use std::{collections::BTreeMap, sync::Arc};

fn keys(n: u8) -> ValidatorKeys {
    ValidatorKeys::derive(&[n; 32])
}

fn genesis() -> Genesis {
    Genesis {
        format: GENESIS_FORMAT,
        chain_id: 0xDE91,
        timestamp_ms: 1_800_000_000_000,
        epoch_length: 30,
        term_length: 100,
        validators: vec![
            keys(1).validator(Address::repeat_byte(1)),
            keys(2).validator(Address::repeat_byte(2)),
        ],
        allocations: BTreeMap::new(),
        contracts: BTreeMap::new(),
    }
}

/// The rules, the seats of all terms, and the header of height 0.
fn chain() -> (Chain, Seats, Header) {
    let genesis = genesis();
    let committee = genesis.check().unwrap();
    let state =
        StateCommitment { root: B256::ZERO, ops_root: B256::ZERO, ops_start: 0, ops_end: 1 };
    let header = genesis.block(&committee, state).header().clone();
    let seats = Seats { named: committee.digest(), running: Arc::new(committee) };
    let (chain_id, epoch_length) = (genesis.chain_id, genesis.epoch_length);
    let term_length = NonZeroU64::new(genesis.term_length).unwrap();
    (Chain { chain_id, epoch_length, term_length }, seats, header)
}

fn draft(chain: &Chain, parent: (&Header, &Seats), now: u64) -> Header {
    let term = (parent.0.height + 1) / chain.term_length;
    chain.draft(parent, &keys(1), (term, View::new(1), View::zero()), now).unwrap()
}

#[test]
fn a_draft_keeps_every_rule() {
    let (chain, seats, mut parent) = chain();
    for height in 1..130 {
        let header = draft(&chain, (&parent, &seats), parent.timestamp_ms + 500);
        assert_eq!(chain.check(&header, &parent, &seats), Ok(()));
        assert_eq!(header.epoch, height / 30);
        parent = header;
    }
}

#[test]
fn every_broken_rule_is_named() {
    let (chain, seats, parent) = chain();
    let good = draft(&chain, (&parent, &seats), parent.timestamp_ms + 500);
    let changed = |change: fn(&mut Header)| {
        let mut header = good.clone();
        change(&mut header);
        chain.check(&header, &parent, &seats).unwrap_err()
    };
    assert_eq!(changed(|h| h.chain_id += 1), RuleError::ChainId);
    assert_eq!(changed(|h| h.height += 1), RuleError::Parent);
    assert_eq!(changed(|h| h.parent = B256::ZERO), RuleError::Parent);
    assert_eq!(changed(|h| h.term += 1), RuleError::Term);
    assert_eq!(changed(|h| h.timestamp_ms -= 500), RuleError::Time);
    assert_eq!(changed(|h| h.timestamp_ms += MAX_STEP_MS), RuleError::Time);
    assert_eq!(changed(|h| h.proposer = keys(3).signer().public_key()), RuleError::Proposer);
    assert_eq!(changed(|h| h.beneficiary = Address::ZERO), RuleError::Beneficiary);
    assert_eq!(changed(|h| h.epoch += 1), RuleError::Epoch);
    assert_eq!(changed(|h| h.gas_limit += 1), RuleError::Gas);
    assert_eq!(changed(|h| h.base_fee += 1), RuleError::Gas);
    assert_eq!(changed(|h| h.committee = B256::ZERO), RuleError::Committee);
    assert_eq!(changed(|h| h.reveal[5] ^= 1), RuleError::Reveal);
    assert_eq!(changed(|h| h.mix = B256::ZERO), RuleError::Mix);
    // Another seat's reveal does not do.
    let other =
        chain.draft((&parent, &seats), &keys(2), (0, View::new(1), View::zero()), 0).unwrap();
    let mut header = good;
    (header.reveal, header.mix) = (other.reveal, other.mix);
    assert_eq!(chain.check(&header, &parent, &seats), Err(RuleError::Reveal));
}

#[test]
fn a_proposer_has_a_seat_in_the_running_term_and_names_who_certifies_next() {
    let (chain, seats, parent) = chain();
    // The second validator has left; the block before the next term names a third committee.
    let committee = |names: &[u8]| {
        let validators: Vec<_> =
            names.iter().map(|n| keys(*n).validator(Address::repeat_byte(*n))).collect();
        Arc::new(Committee::new(&validators).unwrap())
    };
    let later = Seats { running: committee(&[1]), named: committee(&[3]).digest() };
    let round = (0, View::new(1), View::zero());
    let header = chain.draft((&parent, &later), &keys(1), round, 0).unwrap();
    assert_eq!(header.committee, later.named);
    assert_eq!(chain.check(&header, &parent, &later), Ok(()));
    assert_eq!(chain.check(&header, &parent, &seats), Err(RuleError::Committee));
    assert!(chain.draft((&parent, &later), &keys(2), round, 0).is_none());
    let header = chain.draft((&parent, &seats), &keys(2), round, 0).unwrap();
    assert_eq!(chain.check(&header, &parent, &later), Err(RuleError::Proposer));
}

#[test]
fn time_goes_forward_whatever_the_clock_says() {
    let (chain, seats, parent) = chain();
    assert_eq!(draft(&chain, (&parent, &seats), 0).timestamp_ms, parent.timestamp_ms + 1);
    let late = draft(&chain, (&parent, &seats), u64::MAX);
    assert_eq!(late.timestamp_ms, parent.timestamp_ms + MAX_STEP_MS);
    assert_eq!(chain.check(&late, &parent, &seats), Ok(()));
}

#[test]
fn one_block_bridges_a_stop() {
    let (chain, seats, parent) = chain();
    let weekend = parent.timestamp_ms + 3 * 86_400_000;
    let header = draft(&chain, (&parent, &seats), weekend);
    assert_eq!(header.timestamp_ms, weekend);
    assert_eq!(chain.check(&header, &parent, &seats), Ok(()));
}

#[test]
fn strangers_draft_nothing() {
    let (chain, seats, parent) = chain();
    assert!(chain.draft((&parent, &seats), &keys(9), (0, View::new(1), View::zero()), 0).is_none());
}

#[test]
fn the_genesis_block_commits_to_the_file() {
    let digest = |change: fn(&mut Genesis)| {
        let mut genesis = genesis();
        change(&mut genesis);
        genesis.digest()
    };
    let changes: [fn(&mut Genesis); 6] = [
        |_| (),
        |g| g.chain_id += 1,
        |g| g.timestamp_ms += 1,
        |g| g.epoch_length += 1,
        |g| g.allocations.extend([(Address::ZERO, alloy_primitives::U256::from(1))]),
        |g| g.validators.truncate(1),
    ];
    let digests: std::collections::BTreeSet<_> = changes.into_iter().map(digest).collect();
    assert_eq!(digests.len(), 6);
    let json = serde_json::to_string_pretty(&genesis()).unwrap();
    assert_eq!(serde_json::from_str::<Genesis>(&json).unwrap().digest(), genesis().digest());
    assert_eq!(chain().2.parent, genesis().digest());
}

#[test]
fn bad_genesis_files_are_refused() {
    use crate::genesis::GenesisError;
    let error = |change: fn(&mut Genesis)| {
        let mut genesis = genesis();
        change(&mut genesis);
        genesis.check().unwrap_err()
    };
    assert_eq!(error(|g| g.format = 2), GenesisError::Format(2));
    assert_eq!(error(|g| g.term_length = 1), GenesisError::Length);
    assert_eq!(error(|g| g.epoch_length = 0), GenesisError::Length);
    assert_eq!(
        error(|g| g.allocations.extend([(Address::ZERO, alloy_primitives::U256::MAX)])),
        GenesisError::Supply
    );
    assert!(matches!(error(|g| g.validators.clear()), GenesisError::Committee(_)));
}
